"""Two nodes, two exports or one of each: the first thing in which they differ is named."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.calls import PrescriptionCommit, parse_call
from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.encoding import encode
from ledger.lock import DirectoryLock
from ledger.segments import Segments
from ledger.store import open_store
from ledger.transaction import parse
from node.audit.errors import FalseFact, NoBlocks
from node.chain import Chain as NodeChain
from node.cli.main import main
from node.comparison import Comparison, Difference, compare
from node.config import write_config
from node.errors import Exit
from node.recordings import recording
from node.stored import STATE
from tests.chainmaker import Chain, chain_of, export_of, some_bytes, story, upheaval

STORY = story()
GENESIS = STORY.genesis
LAST = len(STORY.blocks)
SIGNATURES = DirectSignatures()


def grown(data: Path, chain: Chain, last: int = LAST, engine: str = "sqlite") -> Path:
    """Write the first blocks of a chain as a node would, and stop."""
    node = NodeChain.open(data, chain.genesis.genesis, SIGNATURES, engine=engine)
    for committed in chain.blocks[:last]:
        executed = node.execute(committed.block.body, committed.block.header, SIGNATURES)
        node.commit(executed, committed.certificate)
    node.close()
    return data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("whole") / "one", STORY)


@pytest.fixture
def one(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "one"))


@pytest.fixture
def other(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "other"))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return STORY.export(tmp_path / "export")


def compared(one: Path, other: Path) -> Comparison:
    with recording(one, GENESIS) as first, recording(other, GENESIS) as second:
        return compare((first, second), GENESIS)


def difference(one: Path, other: Path) -> Difference:
    found = compared(one, other).difference
    assert found is not None
    return found


def change(data: Path, key: bytes, value: bytes | None) -> None:
    store = open_store(data / "state")
    store.write({key: value})
    store.close()


def prescription_of(height: int) -> bytes:
    """Return the key of the first prescription that a block committed."""
    for entry in STORY.executed[height - 1].entries:
        call = parse_call(entry.call)
        if isinstance(call, PrescriptionCommit):
            return b"p" + entry.sender + call.commitment
    raise AssertionError(height)


def test_nodes_that_hold_the_same_do_not_differ_whatever_their_engines(
    one: Path, tmp_path: Path
) -> None:
    other = grown(tmp_path / "other", STORY, engine="leveldb")
    found = compared(one, other)
    assert found == Comparison(1, LAST, states=(LAST,))
    assert found.to_json()["equal"] is True


def test_exports_that_hold_the_same_do_not_differ_and_one_may_go_on(
    export: Path, tmp_path: Path
) -> None:
    shorter = tmp_path / "shorter"
    shorter.write_bytes(export_of(GENESIS, STORY.blocks[:5]))
    found = compared(shorter, export)
    assert (found.difference, found.last, found.longer) == (None, 5, "export")
    assert found.why_not


def test_two_certificates_of_one_block_are_no_difference(export: Path, tmp_path: Path) -> None:
    block = STORY.blocks[3]
    others = STORY.certify(4, block.block.header.hash, 0, (1, 2, 3))
    certified = [*STORY.blocks]
    certified[3] = msgspec.structs.replace(block, certificate=others)
    path = tmp_path / "other"
    path.write_bytes(export_of(GENESIS, certified))
    found = compared(export, path)
    assert (found.difference, found.last, found.certificates) == (None, LAST, 1)


def test_nodes_that_hold_other_certificates_do_not_differ(tmp_path: Path) -> None:
    chain = upheaval()
    folders = []
    for name, first in (("one", 0), ("other", 1)):
        certified = chain_of(chain.genesis, chain.blocks)
        certified.voting = chain.voting
        certified.blocks = [
            msgspec.structs.replace(
                block, certificate=certified.certify(height, block.block.header.hash, 0, signers)
            )
            for height, block in enumerate(chain.blocks, 1)
            for voters in (chain.validators_at(height),)
            for signers in (range(first, first + voters.quorum),)
        ]
        folders.append(grown(tmp_path / name, certified, len(chain.blocks)))
    with (
        recording(folders[0], chain.genesis) as one,
        recording(folders[1], chain.genesis) as other,
    ):
        found = compare((one, other), chain.genesis)
    assert (found.difference, found.certificates) == (None, len(chain.blocks))
    assert found.states == (len(chain.blocks),)


def test_a_node_that_is_behind_is_compared_at_its_own_height(one: Path, tmp_path: Path) -> None:
    behind = grown(tmp_path / "behind", STORY, 5)
    found = compared(one, behind)
    assert (found.difference, found.last, found.longer) == (None, 5, "one")
    assert found.states == (5, LAST)


def test_a_node_is_compared_with_an_export_that_is_longer_or_shorter(
    one: Path, export: Path, tmp_path: Path
) -> None:
    behind = grown(tmp_path / "behind", STORY, 5)
    assert compared(behind, export).states == (5,)
    export.write_bytes(export_of(GENESIS, STORY.blocks[:5]))
    found = compared(export, one)
    assert (found.difference, found.states, found.longer) == (None, (LAST,), "one")


def prune(data: Path) -> None:
    segments = Segments.open(data / "segments", chain_id=STORY.chain_id)
    segments.seal()
    assert list(segments.prune(5))
    segments.close()


def test_a_node_that_pruned_its_blocks_is_compared_by_what_it_kept(
    one: Path, other: Path, export: Path, tmp_path: Path
) -> None:
    prune(other)
    assert compared(one, other) == Comparison(1, LAST, states=(LAST,))
    assert compared(export, other).states == (LAST,)
    change(other, STATE + prescription_of(1), b"other")
    assert difference(one, other).wrong == ("other",)
    prune(one)
    found = difference(one, other)
    assert (found.key, found.wrong, found.written) == (prescription_of(1), (), None)
    behind = grown(tmp_path / "behind", STORY, 6)
    prune(behind)
    assert "no source has all blocks" in compared(one, behind).why_not


def test_headers_agree_and_states_do_not(one: Path, other: Path) -> None:
    key = prescription_of(2)
    change(other, STATE + key, b"other")
    found = difference(one, other)
    assert (found.where, found.height, found.key) == ("state", LAST, key)
    assert found.values[1] == b"other".hex()
    assert found.wrong == ("other",)
    assert (found.written, found.transaction) == (2, 0)
    assert found.transaction_id == STORY.executed[1].entries[0].transaction
    assert found.to_json()["kind"] == "a prescription"
    assert difference(other, one).values[0] == b"other".hex()


@pytest.mark.parametrize(("key", "value"), [(prescription_of(1), None), (b"zz", b"more")])
def test_a_pair_too_few_or_too_many_is_named(
    key: bytes, value: bytes | None, one: Path, other: Path, export: Path
) -> None:
    change(other, STATE + key, value)
    for first, second in ((one, other), (other, one), (export, other), (other, export)):
        found = difference(first, second)
        assert (found.where, found.key, found.wrong) == ("state", key, ("other",))
        assert "none" in found.values
        assert found.written == (1 if value is None else None)


def test_of_two_states_that_are_both_wrong_both_are_named(one: Path, other: Path) -> None:
    key = prescription_of(1)
    change(one, STATE + key, b"this")
    change(other, STATE + key, b"that")
    assert difference(one, other).wrong == ("one", "other")


def test_a_derived_row_that_differs_is_named_as_one(one: Path, other: Path) -> None:
    change(other, b"zzz", b"row")
    found = difference(one, other)
    assert (found.where, found.key, found.values) == ("index", b"zzz", ("none", b"row".hex()))
    prune(one)  # rows of what it no longer has may be gone
    assert compared(one, other).difference is None


def test_what_no_transaction_wrote_the_block_itself_did(one: Path, other: Path) -> None:
    body = next(each for each in reversed(STORY.executed) if each.body.transactions)
    height = body.header.height
    key = next(key for key in body.changes if key[:1] == b"r")
    change(other, STATE + key, b"other")
    found = difference(one, other)
    assert (found.key, found.written, found.transaction, found.wrong) == (
        key,
        height,
        None,
        ("other",),
    )


def test_the_first_block_that_differs_is_named_with_its_transaction(
    export: Path, tmp_path: Path
) -> None:
    forked = chain_of(GENESIS, STORY.blocks[:2])
    good = forked.transaction("shop-a", PrescriptionCommit(some_bytes("elsewhere")))
    forked.block(good)
    path = forked.export(tmp_path / "forked")
    found = difference(export, path)
    assert (found.where, found.height, found.transaction) == ("block", 3, 0)
    assert found.values[1] == good.id.hex()
    assert "transactions_root" in found.headers
    node = grown(tmp_path / "node", forked, 3)
    assert difference(node, export).height == 3


def test_a_transaction_too_many_and_a_header_alone_are_named(export: Path, tmp_path: Path) -> None:
    path = tmp_path / "other"
    block = STORY.blocks[4]
    fewer = block.block.body.transactions[:-1]
    body = msgspec.structs.replace(block.block.body, transactions=fewer)
    shorter = msgspec.structs.replace(block, block=msgspec.structs.replace(block.block, body=body))
    path.write_bytes(export_of(GENESIS, [*STORY.blocks[:4], shorter]))
    found = difference(export, path)
    assert (found.field, found.transaction, found.values[1]) == ("transaction", 2, "none")
    header = msgspec.structs.replace(block.block.header, state_digest=bytes(32))
    late = msgspec.structs.replace(block, block=msgspec.structs.replace(block.block, header=header))
    path.write_bytes(export_of(GENESIS, [*STORY.blocks[:4], late]))
    found = difference(export, path)
    assert (found.field, found.height, found.headers) == ("state_digest", 5, ("state_digest",))


def test_an_outcome_that_differs_is_named_with_its_call(export: Path, tmp_path: Path) -> None:
    block = STORY.blocks[4]
    *first, last = block.outcomes
    changed = msgspec.structs.replace(
        block, outcomes=(*first, msgspec.structs.replace(last, code=0))
    )
    path = tmp_path / "other"
    path.write_bytes(export_of(GENESIS, [*STORY.blocks[:4], changed]))
    found = difference(export, path)
    assert (found.field, found.transaction, found.call) == ("outcome", 2, 0)
    assert found.values == ("mark not locked [0]", "applied")


def changed_at_5(path: Path, *, outcomes: int | None = None, **body: tuple[bytes, ...]) -> Path:
    """Write an export of the story whose block 5 has another body, or some of its outcomes."""
    replace = msgspec.structs.replace
    block = STORY.blocks[4]
    inner = replace(block.block, body=replace(block.block.body, **body))
    block = replace(block, block=inner, outcomes=block.outcomes[:outcomes])
    path.write_bytes(export_of(GENESIS, [*STORY.blocks[:4], block]))
    return path


def test_what_is_no_transaction_is_told_apart_from_none(export: Path, tmp_path: Path) -> None:
    first, *rest = STORY.blocks[4].block.body.transactions
    path = changed_at_5(tmp_path / "other", transactions=(b"garbage", *rest))
    found = difference(export, path)
    assert (found.field, found.transaction) == ("transaction", 0)
    assert found.values == (parse(first).id.hex(), "7 bytes that are no transaction")
    fewer = changed_at_5(tmp_path / "fewer", transactions=(b"garbage", *rest), outcomes=0)
    found = difference(path, fewer)
    assert (found.field, found.transaction, found.values[1]) == ("outcome", None, "none")


def test_another_signature_of_a_transaction_is_named(export: Path, tmp_path: Path) -> None:
    first, *rest = STORY.blocks[4].block.body.transactions
    again = first[:-1] + bytes((first[-1] ^ 1,))
    found = difference(export, changed_at_5(tmp_path / "other", transactions=(again, *rest)))
    assert (found.field, found.transaction) == ("signature", 0)
    assert found.values[0] == parse(first).signature.hex() != found.values[1]


def test_evidence_that_differs_is_named_by_its_digest(export: Path, tmp_path: Path) -> None:
    one, other = (
        changed_at_5(tmp_path / name, evidence=(b"same", name.encode())) for name in ("a", "b")
    )
    found = difference(one, other)
    assert found.values == (sha256(b"a").hexdigest(), sha256(b"b").hexdigest())
    assert difference(export, one).values == ("none", sha256(b"same").hexdigest())


def test_what_is_false_is_said_of_the_file_it_is_in(one: Path, export: Path) -> None:
    export.write_bytes(export.read_bytes()[:-1])
    with pytest.raises(FalseFact, match="export: block 8"):
        compared(one, export)


def test_a_folder_without_blocks_is_refused(one: Path, tmp_path: Path) -> None:
    with pytest.raises(NoBlocks):
        compared(one, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoBlocks):
        compared(tmp_path / "empty", one)


def test_a_store_that_was_removed_is_no_state(one: Path, other: Path) -> None:
    shutil.rmtree(other / "state")
    found = compared(one, other)
    assert (found.difference, found.states) == (None, (LAST,))
    assert not (other / "state").exists()


# --- as people type it ----------------------------------------------------------------------------


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_text(signed_json(GENESIS))
    return path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", "compare", *map(str, args)])


def test_a_difference_ends_with_code_4_and_says_what_mends_it(
    one: Path, other: Path, genesis: Path, tmp_path: Path
) -> None:
    done = run(one, other, "--genesis", genesis)
    assert (done.exit_code, done.stderr) == (Exit.OK, ""), done.output
    assert "no difference was found" in done.stdout
    change(other, STATE + prescription_of(1), b"other")
    done = run(one, other, "--genesis", genesis)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "other: this state is not what the blocks lead to" in done.stdout
    assert "written last in block 1, by transaction 0" in done.stdout
    done = run(one, other, "--genesis", genesis, "--json")
    told = json.loads(done.stdout)
    assert (told["equal"], told["difference"]["wrong"]) == (False, ["other"])
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(write_config({}, {}))
    one.rename(home / "data")
    assert run(home, other, "--genesis", genesis).exit_code == Exit.VERIFICATION_FAILED


def test_wrong_uses_are_told(one: Path, other: Path, export: Path, genesis: Path) -> None:
    assert run(one, one, "--genesis", genesis).exit_code == Exit.USAGE
    assert run(one, one / "nothing", "--genesis", genesis).exit_code == Exit.USAGE
    lock = DirectoryLock(other)
    assert run(one, other, "--genesis", genesis).exit_code == Exit.LOCKED
    lock.release()
    export.write_bytes(b"depoli/export/1\n" + encode(1))
    done = run(one, export, "--genesis", genesis, "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(done.stdout)["verified"] is False
