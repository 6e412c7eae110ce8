"""The log as static files: taken from a node, served by a web server, taken again from there."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.calls import PrescriptionCommit
from contracts.genesis_json import signed_json
from ledger.checkpoint import Note, parse_checkpoint, parse_note
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed, Mismatch
from ledger.keys import Role
from ledger.merkle import root_of_leaves
from ledger.tiles import Tile, bundles, parse_tile, tiles
from node import files, log_source
from node.audit.errors import Refused, Unreachable
from node.cli.auditor import load_genesis
from node.cli.main import main
from node.errors import Exit, Usage
from node.log_source import LogSource
from node.mirror import Mirrored, mirror
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import run, transaction_of
from tests.node.statics import dripping, serving
from tests.node.test_api import Door, served


async def grow(door: Door, name: str, *counts: int) -> None:
    """Bring transactions of so many calls into the chain."""
    await door.send(
        *(
            transaction_of(
                door.genesis,
                "shop-a",
                *(PrescriptionCommit(some_bytes(name, index, n)) for n in range(count)),
            )
            for index, count in enumerate(counts)
        )
    )


def export(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["tlog", "export", *map(str, args)])


def content(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def again(source: Path, target: Path, genesis: Path, *, entries: bool = True) -> Mirrored:
    """Take what a web server serves of a folder."""
    with serving(source) as url, LogSource(url) as log:
        known = load_genesis(genesis)
        return mirror(log, target, known, entries=entries, show=lambda _done, _of: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Exports of a node's log at 300 and at 590 entries, and the genesis."""
    folder = tmp_path_factory.mktemp("mirror")
    genesis, small, large, token = (folder / name for name in ("genesis", "300", "590", "token"))
    files.create(token, b"auditor\n", secret=True)

    async def take() -> None:
        async with served(folder / "node") as door:
            genesis.write_text(signed_json(door.genesis))
            options: Sequence[str | Path] = ("--log", f"{door.url}/tlog/", "--genesis", genesis)
            await grow(door, "first", 100, 100, 100)
            done = await asyncio.to_thread(export, small, *options)
            assert done.exit_code == Exit.OK, done.output
            assert "300 entries" in done.stdout
            assert not (small / "tile" / "entries").exists()
            done = await asyncio.to_thread(export, small, *options, "--entries")
            assert done.exit_code == Exit.FAILED, done.output
            assert "401" in done.stderr
            options = (*options, "--entries", "--token-file", token)
            done = await asyncio.to_thread(export, small, *options)
            assert "5 files, 2 of them new" in done.stdout, done.output
            await grow(door, "second", 100, 100, 90)
            shutil.copytree(small, large)
            done = await asyncio.to_thread(export, large, *options, "--json")
            told = json.loads(done.stdout)
            assert (told["log_size"], told["files"], told["written"]) == (590, 7, 5), told
            done = await asyncio.to_thread(export, large, *options, "--json")
            assert json.loads(done.stdout)["written"] == 0

    run(take())
    return genesis, small, large


Made = tuple[Path, Path, Path]


def test_an_export_holds_all_tiles_of_its_checkpoint_and_no_older_part(made: Made) -> None:
    _, _, large = made
    checkpoint = parse_checkpoint(parse_note((large / "checkpoint").read_bytes()).text)
    wanted = {tile.path for tile in (*tiles(590), *bundles(590))}
    kept = {name for name in content(large) if name.startswith("tile/")}
    assert wanted <= kept
    assert kept - wanted == {Tile(1, 0, 1).path}  # of the checkpoint before
    hashes: list[bytes] = []
    for tile in tiles(590):
        if tile.level == 0:
            hashes += parse_tile(tile, (large / tile.path).read_bytes())
    assert root_of_leaves(hashes) == checkpoint.root  # type: ignore[arg-type]


def test_a_copy_of_a_copy_is_the_same(made: Made, tmp_path: Path) -> None:
    genesis, small, large = made
    assert again(small, tmp_path, genesis).written == 5
    assert content(tmp_path) == content(small)
    assert again(large, tmp_path, genesis).written == 5
    assert content(tmp_path) == content(large)
    assert again(large, tmp_path, genesis).written == 0


def test_an_interrupted_export_is_gone_on_from_and_damage_is_mended(
    made: Made, tmp_path: Path
) -> None:
    genesis, _, large = made
    again(large, tmp_path, genesis)
    whole = content(tmp_path)
    (tmp_path / "checkpoint").unlink()
    (tmp_path / Tile(0, 1).path).unlink()
    spoilt = tmp_path / Tile(0, 0).path
    spoilt.write_bytes(bytes(32) + spoilt.read_bytes()[32:])
    torn = tmp_path / next(bundles(590)).path
    torn.write_bytes(torn.read_bytes()[:-1])
    (tmp_path / Tile(1, 0, 2).path).write_bytes(b"")
    assert again(large, tmp_path, genesis).written == 4
    assert content(tmp_path) == whole


def test_a_smaller_log_does_not_replace_a_larger_one(made: Made, tmp_path: Path) -> None:
    genesis, small, large = made
    again(large, tmp_path, genesis)
    whole = content(tmp_path)
    with pytest.raises(Mismatch, match="590 at least"):
        again(small, tmp_path, genesis)
    assert content(tmp_path) == whole


def _lies(large: Path) -> dict[str, bytes]:
    """Return files that a liar serves in the place of the true ones."""
    lies = {}
    for tile in (*tiles(590), *bundles(590)):
        data = (large / tile.path).read_bytes()
        lies[tile.path] = data[:-1] + bytes((data[-1] ^ 1,))
    return lies


@pytest.mark.parametrize("number", range(7))
def test_no_false_tile_or_entry_is_taken(made: Made, tmp_path: Path, number: int) -> None:
    genesis, _, large = made
    lying = tmp_path / "lying"
    shutil.copytree(large, lying)
    path, lie = list(_lies(large).items())[number]
    (lying / path).write_bytes(lie)
    target = tmp_path / "target"
    with pytest.raises(BadProof):
        again(lying, target, genesis)
    assert content(target).get(path) != lie
    assert not (target / "checkpoint").exists()
    again(large, target, genesis)
    assert content(target)["checkpoint"] == content(large)["checkpoint"]


def _resigned(large: Path, label: str) -> bytes:
    """Return the checkpoint as signed by another key."""
    text = parse_note((large / "checkpoint").read_bytes()).text
    line = parse_checkpoint(text).sign(key_of(label, Role.CHECKPOINT))
    return Note(text, (line,)).encode()


def test_a_checkpoint_that_nobody_decided_or_signed_is_refused(made: Made, tmp_path: Path) -> None:
    genesis, small, large = made
    true = (large / "checkpoint").read_bytes()
    height = parse_checkpoint(parse_note(true).text).height
    commit = (large / "commit" / str(height)).read_bytes()
    cases: tuple[tuple[bytes, bytes, type[LedgerError], str], ...] = (
        (_resigned(large, "shop-b"), commit, BadSignature, "none of the known"),
        (true.replace(b"\n590\n", b"\n591\n"), commit, Mismatch, "checkpoint"),
        (true.replace(b"\n590\n", b"\n590 \n"), commit, Malformed, "checkpoint"),
        (b"x" * (70 << 10), commit, Malformed, "more than"),
        (true, commit.replace(b'"height": ', b'"height": 1'), LedgerError, ""),
        (true, b"\xff", Malformed, "UTF-8"),
    )
    lying = tmp_path / "lying"
    for note, decided, error, reason in cases:
        shutil.rmtree(lying, ignore_errors=True)
        shutil.copytree(large, lying)
        (lying / "checkpoint").write_bytes(note)
        (lying / "commit" / str(height)).write_bytes(decided)
        with pytest.raises(error, match=reason or None):
            again(lying, tmp_path / "target", genesis)
    assert not content(tmp_path / "target")
    assert small.exists()


def test_a_part_of_a_tile_is_taken_from_the_full_one_where_it_was_dropped(made: Made) -> None:
    _, _, large = made
    with serving(large) as url, LogSource(url) as source:
        full = source.tile(Tile(0, 0))
        assert not (large / Tile(0, 0, 7).path).exists()
        assert source.tile(Tile(0, 0, 7)) == full[: 7 * 32]
        for absent in (Tile(0, 9), Tile(0, 9, 7)):
            with pytest.raises(Refused, match=absent.path.partition(".p")[0]):
                source.tile(absent)


def test_who_answers_nothing_or_nothing_of_use_is_named(made: Made, tmp_path: Path) -> None:
    genesis, _, _ = made
    for url in ("ftp://localhost/", "here", "http://localhost:port/", "http:///tlog"):
        with pytest.raises(Usage, match="no address"):
            LogSource(url)
    with pytest.raises(Refused, match="404"):
        again(tmp_path, tmp_path / "target", genesis)
    with serving(tmp_path) as url:
        pass
    with LogSource(url) as gone, pytest.raises(Unreachable):
        gone.committed(b"", load_genesis(genesis).genesis.validator_set)


def test_who_sends_a_byte_now_and_then_keeps_nobody_waiting(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, _, _ = made
    known = load_genesis(genesis)
    monkeypatch.setattr(log_source, "ANSWER_S", 0.3)
    with (
        dripping() as url,
        LogSource(url) as source,
        pytest.raises(Unreachable, match="did not come within"),
    ):
        source.committed(known.chain_id, known.genesis.validator_set)
