"""A witness: what it cosigns, what it refuses, and that it never contradicts itself."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.calls import PrescriptionCommit
from contracts.genesis_json import signed_json
from ledger.checkpoint import Checkpoint, parse_note
from ledger.errors import BadProof, LedgerError, Malformed, Mismatch, StoreLocked
from ledger.keys import SigningKey
from ledger.split_view import SplitView, parse_json
from ledger.tiles import Tile
from node import files, keystore
from node.cli.main import main
from node.errors import Exit, Usage
from node.log_source import LogSource
from node.witness import SEED_FILE, STATE_FILE, Sight, SplitViewKept, Witness, load, standing
from tests.chainmaker import Chain, found, some_bytes
from tests.node.statics import publish, serving

GENESIS = found()
NAME = "witness.example/w1"
NOW = 1_800_000_100


def grown(*blocks: tuple[str, int], on: Chain | None = None) -> Chain:
    """Return a chain with blocks of so many entries, which differ where the names do."""
    chain = Chain(GENESIS) if on is None else copy.deepcopy(on)
    for name, count in blocks:
        calls = [PrescriptionCommit(some_bytes(name, number)) for number in range(count)]
        chain.block(*(() if not calls else (chain.transaction("shop-a", *calls),)))
    return chain


FIRST = grown(("one", 3), ("two", 200))
LATER = grown(("three", 100), ("four", 5), on=FIRST)
OTHER = grown(("drei", 100), ("vier", 5), on=FIRST)


class Post:
    """A witness, and the place where it looks."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.shown = folder, url, folder / "shown"
        self.data = folder / "witness"

    def look(self, time: int = NOW) -> Sight:
        with Witness(self.data, NAME, GENESIS.genesis) as witness, LogSource(self.url) as source:
            return witness.look(source, time=time)

    def show(self, chain: Chain) -> None:
        publish(chain, self.shown)

    @property
    def public(self) -> Path:
        (path,) = (self.data / "public").glob("*/checkpoint")
        return path

    def cosigned(self) -> tuple[Checkpoint, int]:
        """Return what anybody may read, once it is verified."""
        note = parse_note(self.public.read_bytes())
        at = standing(self.data)
        assert at.checkpoint is not None
        assert note.text == at.checkpoint.encode()
        return at.checkpoint, at.cosigner.verify(note)

    def evidence(self) -> SplitView:
        (path,) = standing(self.data).split_views
        return parse_json(path.read_text())


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    (tmp_path / "shown").mkdir()
    with serving(tmp_path / "shown") as url:
        yield Post(tmp_path, url)


def test_it_cosigns_what_a_quorum_committed_and_what_continues_it(post: Post) -> None:
    post.show(FIRST)
    assert post.look() is Sight.COSIGNED
    assert post.cosigned() == (Checkpoint.of(FIRST.state.header), NOW)
    assert post.look(NOW + 5) is Sight.UNCHANGED
    post.show(LATER)
    assert post.look(NOW + 10) is Sight.COSIGNED
    assert post.cosigned() == (Checkpoint.of(LATER.state.header), NOW + 10)


def test_a_block_without_entries_is_cosigned_too(post: Post) -> None:
    post.show(FIRST)
    post.look()
    post.show(grown(("nothing", 0), on=FIRST))
    assert post.look() is Sight.COSIGNED


def test_it_says_no_time_before_the_last_it_said(post: Post) -> None:
    post.show(FIRST)
    post.look()
    post.show(LATER)
    post.look(NOW - 1000)
    assert post.cosigned()[1] == NOW


def test_what_is_behind_is_not_cosigned(post: Post) -> None:
    post.show(LATER)
    post.look()
    post.show(FIRST)
    assert post.look() is Sight.BEHIND
    assert post.cosigned()[0] == Checkpoint.of(LATER.state.header)


def test_another_log_does_not_hide_by_staying_behind(post: Post, tmp_path: Path) -> None:
    post.show(grown(("five", 1), on=LATER))
    behind = tmp_path / "behind"
    publish(FIRST, behind)
    with (
        serving(behind) as url,
        Witness(post.data, NAME, GENESIS.genesis) as witness,
        LogSource(post.url) as source,
    ):

        def look_behind(chain: Chain) -> Sight:
            publish(chain, behind)
            with LogSource(url) as other:
                return witness.look(other, time=NOW)

        assert witness.look(source, time=NOW) is Sight.COSIGNED
        assert look_behind(FIRST) is Sight.BEHIND
        assert look_behind(LATER) is Sight.BEHIND
        with pytest.raises(SplitViewKept):
            look_behind(OTHER)
    kept = post.evidence()
    kept.verify(GENESIS.chain_id, GENESIS.genesis.validator_set)
    assert kept.first.header == OTHER.state.header


def test_it_finds_whom_to_compare_with_after_a_restart(post: Post, tmp_path: Path) -> None:
    post.show(grown(("five", 1), on=LATER))
    post.look()
    publish(OTHER, tmp_path / "behind")
    with (
        serving(tmp_path / "behind") as url,
        Witness(post.data, NAME, GENESIS.genesis) as witness,
        LogSource(post.url) as source,
        LogSource(url) as other,
    ):
        assert witness.look(other, time=NOW) is Sight.BEHIND  # it has nobody's tiles yet
        assert witness.look(source, time=NOW) is Sight.UNCHANGED
        with pytest.raises(SplitViewKept):
            witness.look(other, time=NOW)


def split(post: Post) -> SplitView:
    """Look at what contradicts; return the evidence, which a stranger verifies."""
    before = post.public.read_bytes()
    with pytest.raises(SplitViewKept, match="contradict each other"):
        post.look()
    found = post.evidence()
    found.verify(GENESIS.chain_id, GENESIS.genesis.validator_set)
    assert post.public.read_bytes() == before
    post.show(FIRST)
    with pytest.raises(SplitViewKept):  # whatever it is shown from now on
        post.look()
    return found


def test_a_log_that_does_not_continue_the_one_it_saw_is_kept_and_refused(post: Post) -> None:
    post.show(LATER)
    post.look()
    post.show(grown(("fuenf", 7), on=OTHER))
    kept = split(post)
    assert kept.root == OTHER.state.header.log_root
    assert kept.first.header == LATER.state.header


def test_two_blocks_of_one_height_are_a_split_view(post: Post) -> None:
    post.show(LATER)
    post.look()
    post.show(OTHER)
    assert split(post).second.header == OTHER.state.header


def test_a_later_log_that_is_shorter_is_a_split_view(post: Post) -> None:
    post.show(LATER)
    post.look()
    post.show(grown(*((f"little {number}", 1) for number in range(5)), on=FIRST))
    split(post)


def test_false_tiles_convict_nobody(post: Post) -> None:
    post.show(FIRST)
    post.look()
    for tile, reason in ((Tile(0, 0), "another root|leads"), (Tile(1, 0, 1), "another root")):
        post.show(LATER)
        path = post.shown / tile.path
        path.write_bytes(bytes(32) + path.read_bytes()[32:])
        with pytest.raises(BadProof, match=reason):
            post.look()
        assert standing(post.data).split_views == ()
    assert post.cosigned()[0] == Checkpoint.of(FIRST.state.header)
    post.show(LATER)
    assert post.look() is Sight.COSIGNED


def test_what_no_quorum_committed_is_refused(post: Post) -> None:
    chain = grown(("five", 1), on=FIRST)
    header = chain.state.header
    lacking = chain.certify(header.height, header.hash, signers=(0, 1))
    chain.blocks[-1] = type(chain.blocks[-1])(
        chain.blocks[-1].block, lacking, chain.blocks[-1].outcomes
    )
    post.show(chain)
    with pytest.raises(LedgerError, match="quorum"):
        post.look()
    assert standing(post.data).checkpoint is None


def test_the_checkpoint_of_another_block_is_refused(post: Post) -> None:
    post.show(FIRST)
    height = FIRST.state.header.height
    commit = (post.shown / "commit" / str(height)).read_bytes()
    post.show(grown(("zwei", 200), on=grown(("one", 3))))
    (post.shown / "commit" / str(height)).write_bytes(commit)
    with pytest.raises(Mismatch, match="checkpoint"):
        post.look()


def test_what_it_signs_is_durable_before_it_signs(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.show(FIRST)
    post.look()
    first = post.public.read_bytes()
    post.show(LATER)
    replaced = files.replace

    def crash(path: Path, content: bytes, *, secret: bool = False) -> None:
        if path.name == "checkpoint":
            raise OSError(5, "the machine goes down")
        replaced(path, content, secret=secret)

    monkeypatch.setattr(files, "replace", crash)
    with pytest.raises(OSError, match="goes down"):
        post.look()
    monkeypatch.undo()
    decided = load(post.data).decided
    assert decided is not None
    assert decided.header == LATER.state.header
    assert post.public.read_bytes() == first
    post.show(OTHER)
    with pytest.raises(SplitViewKept):
        post.look()


def test_what_was_not_published_before_a_crash_is_published_after_it(post: Post) -> None:
    post.show(FIRST)
    post.look()
    post.public.unlink()
    assert post.look(NOW + 9) is Sight.COSIGNED
    assert post.cosigned()[1] == NOW + 9


def test_one_key_has_one_name_and_one_chain_and_one_memory(tmp_path: Path) -> None:
    data = tmp_path / "witness"
    with Witness(data, NAME, GENESIS.genesis), pytest.raises(StoreLocked):
        Witness(data, NAME, GENESIS.genesis)
    for name in ("", "a b", "a+b"):
        with pytest.raises(Usage, match="no name"):
            Witness(data, name, GENESIS.genesis)
    with pytest.raises(Usage, match="another witness"):
        Witness(data, "witness.example/w2", GENESIS.genesis)
    with pytest.raises(Usage, match="another chain"):
        Witness(data, NAME, found(others=()).genesis)
    state = (data / STATE_FILE).read_bytes()
    for spoilt in (b"", b"\xff", b"[]", b'{"format": "depoli/witness/1"}'):
        (data / STATE_FILE).write_bytes(spoilt)
        with pytest.raises(Malformed):
            Witness(data, NAME, GENESIS.genesis)
    (data / STATE_FILE).unlink()
    with pytest.raises(files.AlreadyThere):
        Witness(data, NAME, GENESIS.genesis)
    (data / STATE_FILE).write_bytes(state)
    seed = keystore.read_seed(data / SEED_FILE)
    with Witness(data, NAME, GENESIS.genesis):
        assert standing(data).cosigner.public == SigningKey(seed).public


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["witness", *map(str, args)])


def test_it_is_run_and_asked_from_the_command_line(post: Post) -> None:
    genesis = post.folder / "genesis.json"
    genesis.write_text(signed_json(GENESIS))
    options = ("--data", post.data, "--name", NAME, "--genesis", genesis, "--log", post.url)
    post.show(LATER)
    done = run("run", *options, "--once")
    assert done.exit_code == Exit.OK, done.output
    assert done.stderr.endswith(": cosigned\n")
    told = json.loads(run("status", "--data", post.data, "--json").stdout)
    assert (told["height"], told["log_size"], told["split_views"]) == (4, 308, [])
    assert told["verifier_key"] == standing(post.data).cosigner.encode()
    (post.shown / "checkpoint").unlink()
    assert run("run", *options, "--once").exit_code == Exit.FAILED
    post.show(OTHER)
    done = run("run", *options)  # which would go on for ever
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "split-view-" in done.stderr
    done = run("status", "--data", post.data)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "split-view-" in done.stdout
