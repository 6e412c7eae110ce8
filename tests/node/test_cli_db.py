"""`depoli db`: what it prints, and how it ends."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.errors import StoreDamaged
from node.audit.errors import Refused, Unreachable
from node.audit.records import frame
from node.chain import Chain
from node.cli.main import main
from node.config import write_config
from node.errors import Exit
from node.healing import from_export, from_node
from node.kept import FILE_NAME, KeptFile
from tests.node.test_rebuild import GENESIS, LAST, RECORDS, STORY, files, grown, spoil

SETTINGS = write_config({"store.engine": "sqlite"}, {})


def run(verb: str, home: Path, *args: str | Path) -> Result:
    return CliRunner().invoke(main, ["db", verb, "--config", str(home), *map(str, args)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    (home / "config.toml").write_text(SETTINGS)
    (home / "genesis.json").write_text(signed_json(STORY.genesis))
    grown(home / "data", "sqlite")
    return home


@pytest.fixture
def home(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "home"))


def test_sound_data_is_told_to_people_and_to_programs(home: Path) -> None:
    done = run("verify", home)
    assert (done.exit_code, done.stdout) == (Exit.OK, f"blocks 1 to {LAST} are true\n"), done.output
    done = run("verify", home, "--json")
    assert json.loads(done.stdout) == {
        "sound": True,
        "height": LAST,
        "damages": [],
        "state": "",
        "lost": [],
        "snapshot": 0,
    }


def test_damage_is_named_with_file_offset_height_and_the_command_that_heals_it(
    home: Path, tmp_path: Path
) -> None:
    path = files(home / "data")[-1]
    spoil(path, 100)
    first = int(path.stem.removeprefix("blocks-"))
    done = run("verify", home)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert f"{path}: damaged at byte 60 (block {first})" in done.stdout
    assert f"depoli db heal --config {home} --from" in done.stdout
    told = json.loads(run("verify", home, "--json").stdout)
    assert (told["sound"], told["height"]) == (False, first - 1)
    assert [(each["file"], each["offset"], each["height"]) for each in told["damages"]] == [
        (str(path), 60, first)
    ]
    with pytest.raises(StoreDamaged):  # the node does not start
        Chain.open(home / "data", GENESIS, DirectSignatures())
    done = run("reindex", home)
    assert done.exit_code == Exit.FAILED
    assert f"{path}: damaged at byte 60 (block {first})" in done.stderr
    assert "hint:  heal it with: depoli db heal --config FOLDER --from" in done.stderr
    export = STORY.export(tmp_path / "export")
    done = run("heal", home, "--from", export, "--json")
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["healed"] == [first]
    assert run("verify", home).exit_code == Exit.OK
    done = run("heal", home, "--from", export)
    assert "no block was damaged" in done.stderr
    assert done.stdout.splitlines()[-1].split() == ["healed", "none"]


def test_a_store_that_is_wrong_is_told_and_made_anew(home: Path) -> None:
    (home / "data" / "state" / "sqlite" / "store.sqlite").write_bytes(b"no database" * 500)
    done = run("verify", home)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert f"depoli db reindex --config {home}" in done.stdout
    done = run("reindex", home, "--json")
    assert json.loads(done.stdout)["height"] == LAST, done.output
    assert run("verify", home).exit_code == Exit.OK


def test_kept_proposals_that_are_damaged_are_told_beside_the_verdict(home: Path) -> None:
    folder = home / "data" / "journal"
    folder.mkdir()
    kept = KeptFile(folder, GENESIS.chain_id + bytes(32))
    kept.append([b"first", b"second"])
    kept.close()
    content = bytearray((folder / FILE_NAME).read_bytes())
    content[-1] ^= 1
    (folder / FILE_NAME).write_bytes(content)
    done = run("verify", home, "--json")
    assert done.exit_code == Exit.OK
    (told,) = json.loads(done.stdout)["lost"]
    assert told.startswith(f"{folder / FILE_NAME}: 14 bytes at byte")
    assert told in done.stderr


def test_a_page_of_the_store_that_nothing_else_reads_is_looked_at_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreDamaged("store.sqlite", 0, "as sqlite says")

    monkeypatch.setattr("node.rebuild.difference", refuse)
    done = run("verify", home)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "as sqlite says" in done.stdout


def test_the_hint_for_a_damaged_store_is_to_make_it_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(home / "data" / "state" / "leveldb")

    def refuse(*_: object, **__: object) -> None:
        raise StoreDamaged(path, 0, "as LevelDB says")

    monkeypatch.setattr("node.rebuild.Rebuild.__enter__", refuse)
    done = run("verify", home)
    assert done.exit_code == Exit.FAILED
    assert "hint:  make it anew from the blocks with: depoli db reindex" in done.stderr


def test_other_blocks_end_with_code_4(home: Path, tmp_path: Path) -> None:
    spoil(files(home / "data")[0], 100)
    short = tmp_path / "short"
    whole = STORY.export(tmp_path / "export").read_bytes()
    short.write_bytes(whole[: whole.index(frame(RECORDS[0]))])
    done = run("heal", home, "--from", short)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "the source does not give block 1" in done.stderr
    assert run("heal", home, "--from", tmp_path / "nothing").exit_code == Exit.FAILED
    assert run("heal", home, "--from", "http://127.0.0.1:9").exit_code == Exit.UNREACHABLE


def test_an_export_gives_the_blocks_asked_for(tmp_path: Path) -> None:
    blocks = from_export(STORY.export(tmp_path / "export"))
    assert list(blocks(3, 5)) == RECORDS[2:5]
    assert list(blocks(LAST, LAST + 5)) == RECORDS[-1:]
    assert list(blocks(1, LAST)) == RECORDS


def test_a_node_gives_the_blocks_asked_for() -> None:
    asked: list[tuple[str, str]] = []

    async def chain(request: web.Request) -> web.StreamResponse:
        first = int(request.query["from"])
        asked.append((request.query["from"], request.headers.get("Authorization", "")))
        if first == 99:
            raise web.HTTPForbidden
        response = web.StreamResponse()
        await response.prepare(request)
        for record in RECORDS[first - 1 :]:
            await response.write(frame(record)[:50])
            await response.write(frame(record)[50:])
        return response

    async def ask() -> None:
        application = web.Application()
        application.router.add_get("/v1/chain", chain)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        blocks = from_node(f"http://{host}:{port}", "secret")

        def read(first: int, last: int) -> list[bytes]:
            return list(blocks(first, last))

        assert await asyncio.to_thread(read, 3, 5) == RECORDS[2:5]
        assert await asyncio.to_thread(read, LAST, LAST + 50) == RECORDS[-1:]
        with pytest.raises(Refused):
            await asyncio.to_thread(read, 99, 99)
        await runner.cleanup()
        with pytest.raises(Unreachable):
            await asyncio.to_thread(read, 1, 1)

    asyncio.run(ask())
    assert asked[0] == ("3", "Bearer secret")


def test_a_light_node_has_no_blocks_to_verify(home: Path) -> None:
    (home / "config.toml").write_text(write_config({"mode": "light"}, {}))
    before = sorted(path.name for path in home.rglob("*"))
    for verb in ("verify", "reindex"):
        done = run(verb, home)
        assert done.exit_code == Exit.USAGE
        assert "a light node keeps no blocks" in done.output
    assert sorted(path.name for path in home.rglob("*")) == before
