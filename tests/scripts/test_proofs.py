"""Node and second opinion judge alike what people keep: short receipts, and proofs of the log."""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from contracts.calls import PrescriptionCommit
from contracts.execute import DirectSignatures
from contracts.genesis import Genesis
from contracts.genesis_json import signed_json
from ledger import consistency, decided, history, merkle, split_view
from ledger.checkpoint import Checkpoint, Note
from ledger.decided import Decided
from ledger.encoding import encode
from ledger.errors import LedgerError
from ledger.hashing import Hash
from ledger.keys import Role
from ledger.plain import parse_one_of
from ledger.receipt import MAX_JSON_LENGTH, Receipt, to_json
from ledger.short_receipt import PREFIX, ShortReceipt, parse_text, shorten, to_text
from ledger.split_view import SplitView
from ledger.validators import EVERYONE
from node.chain import Chain
from node.cli.proof import FORMATS, shown
from node.client.members import Members
from node.proofs import prove_consistency
from tests.chainmaker import Chain as Grown
from tests.chainmaker import key_of, member_of, upheaval
from tests.scripts.test_recheck import recheck

STORY: Final = upheaval()
GENESIS: Final = STORY.genesis.genesis
CHANCE: Final = random.Random(11)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    opened = Chain.open(tmp_path_factory.mktemp("chain"), GENESIS, DirectSignatures())
    for committed in STORY.blocks:
        header = committed.block.header
        executed = opened.execute(committed.block.body, header, DirectSignatures())
        opened.commit(executed, committed.certificate)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    path.write_text(signed_json(STORY.genesis))
    return path


def receipts(chain: Chain) -> list[Receipt]:
    entries = [entry for executed in STORY.executed for entry in executed.entries]
    found = [chain.receipt(entry.transaction, entry.position) for entry in entries]
    return [each for each in found if each is not None]


def short_of(receipt: Receipt) -> ShortReceipt:
    changes = receipt.changes
    return shorten(receipt, changes[-1].validators if changes else GENESIS.validator_set)


def second(path: Path, genesis: Path, text: str, changes: Path) -> dict[str, Any]:
    path.write_text(text)
    options = argparse.Namespace(file=path, genesis=genesis, changes=changes)
    told: dict[str, Any] = recheck.check_receipt(options)
    return told


def test_both_make_the_same_receipt_of_a_short_form(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    every = receipts(chain)
    latest = tmp_path / "latest.json"
    latest.write_text(to_json(every[-1]))
    assert len(every[-1].changes) == 6
    for each in every:
        short = parse_text(to_text(short_of(each)))
        assert short.expand(STORY.chain_id, GENESIS.validator_set, every[-1].changes) == each
    for each in (every[0], every[len(every) // 2], every[-1]):  # a signature takes it milliseconds
        told = second(tmp_path / "short", genesis, to_text(short_of(each)), latest)
        path = tmp_path / "whole.json"
        path.write_text(to_json(each))
        whole = argparse.Namespace(file=path, genesis=genesis, changes=None)
        assert told == recheck.check_receipt(whole)


def test_both_refuse_a_short_form_with_any_bit_changed(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    each = receipts(chain)[-1]
    latest = tmp_path / "latest.json"
    latest.write_text(to_json(each))
    encoded = encode(short_of(each))
    for place in CHANCE.sample(range(8 * len(encoded)), 30):
        near = bytearray(encoded)
        near[place // 8] ^= 1 << place % 8
        groups = [bytes(near[at : at + 7]) for at in range(0, len(near), 7)]
        text = PREFIX + "".join(
            f"{int.from_bytes(group):0{recheck.DIGITS[len(group)]}}" for group in groups
        )
        with pytest.raises(LedgerError):
            parse_text(text).expand(STORY.chain_id, GENESIS.validator_set, each.changes).verify(
                STORY.chain_id, GENESIS.validator_set
            )
        with pytest.raises(recheck.FalseFact):
            second(tmp_path / "short", genesis, text, latest)


@pytest.mark.parametrize(
    "text", [PREFIX, f"{PREFIX}1", f"{PREFIX}{'0' * 16}", f"{PREFIX}256", f"{PREFIX}12x"]
)
def test_both_refuse_digits_that_are_none(text: str, genesis: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        parse_text(text)
    with pytest.raises(recheck.FalseFact):
        second(tmp_path / "short", genesis, text, genesis)


# --- between two blocks ---------------------------------------------------------------------------


def text_of(chain: Chain, kind: str, first: int, last: int) -> str:
    if kind == "consistency":
        return consistency.to_json(prove_consistency(chain, first, last))
    if kind == "decided":
        return decided.to_json(chain.decided(last))
    if kind == "everyone":
        return history.to_json(chain.history(EVERYONE, first, last))
    return history.to_json(chain.history(member_of("shop-a"), first, last))


def is_true(text: str, genesis: Genesis = GENESIS) -> bool:
    """Return what the node says of a proof."""
    try:
        found = parse_one_of(text, FORMATS, kind="proof", max_length=MAX_JSON_LENGTH)
        shown(found, Members(genesis))
    except LedgerError:
        return False
    return True


def is_true_again(path: Path, genesis: Path, text: str) -> bool:
    """Return what the second opinion says of it."""
    path.write_text(text)
    try:
        recheck.check_proof(argparse.Namespace(file=path, genesis=genesis))
    except recheck.FalseFact:
        return False
    return True


KINDS: Final = ("consistency", "shop", "everyone", "decided")


@pytest.mark.parametrize("kind", KINDS)
def test_both_believe_what_a_node_proves(
    chain: Chain, genesis: Path, tmp_path: Path, kind: str
) -> None:
    last = chain.height
    for first, end in ((1, 2), (6, 7), (7, last), (9, 14), (last - 1, last)):
        text = text_of(chain, kind, first, end)
        assert is_true(text)
        assert is_true_again(tmp_path / "proof", genesis, text)
    if kind in {"shop", "everyone"}:
        whole = text_of(chain, kind, 0, last)
        assert is_true(whole)
        assert is_true_again(tmp_path / "proof", genesis, whole)
        told = recheck.check_proof(argparse.Namespace(file=tmp_path / "proof", genesis=genesis))
        assert told["entries"] == len(json.loads(whole)["entries"]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_both_refuse_a_proof_with_any_digit_changed(
    chain: Chain, genesis: Path, tmp_path: Path, kind: str
) -> None:
    text = text_of(chain, kind, 5, 9)
    digits = [place for place, letter in enumerate(text) if letter in "23456789abcdef"]
    for place in CHANCE.sample(digits, 25):
        near = text[:place] + "1" + text[place + 1 :]
        assert not is_true(near)
        assert not is_true_again(tmp_path / "proof", genesis, near)


@pytest.mark.parametrize("kind", ["consistency", "shop"])
def test_both_refuse_a_proof_from_a_block_to_itself(
    chain: Chain, genesis: Path, tmp_path: Path, kind: str
) -> None:
    proof = json.loads(text_of(chain, kind, 5, 9))
    first, second = ("first", "second") if kind == "consistency" else ("start", "end")
    height = proof[second]["header"]["height"]
    changes = [each for each in proof["changes"] if each["header"]["height"] < height]
    same = proof | {first: proof[second], "changes": changes}
    same |= {"proof": []} if kind == "consistency" else {"entries": []}
    assert not is_true(json.dumps(same))
    assert not is_true_again(tmp_path / "proof", genesis, json.dumps(same))


@pytest.mark.parametrize(
    "change",
    ["one withheld", "one twice", "another member", "turned", "no changes", "another start"],
)
def test_both_refuse_a_history_that_is_not_whole(
    chain: Chain, genesis: Path, tmp_path: Path, change: str
) -> None:
    last = chain.height
    true = chain.history(member_of("shop-a"), 5, last)
    assert true.start is not None
    other = chain.history(member_of("shop-a"), 7, last)
    entries = true.entries
    changed: dict[str, dict[str, object]] = {
        "one withheld": {"entries": entries[:-1]},
        "one twice": {"entries": (*entries, entries[-1])},
        "another member": {"member": member_of("shop-b")},
        "turned": {"start": true.end, "end": true.start, "entries": ()},
        "no changes": {"changes": ()},
        "another start": {"start": other.start},
    }
    false = msgspec.structs.replace(true, **changed[change])
    text = history.to_json(false)
    assert not is_true(text)
    assert not is_true_again(tmp_path / "proof", genesis, text)


def test_a_member_that_nothing_concerned_has_an_empty_history(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    text = history.to_json(chain.history(bytes(16), 3, 9))
    assert is_true(text)
    assert is_true_again(tmp_path / "proof", genesis, text)
    told = recheck.check_proof(argparse.Namespace(file=tmp_path / "proof", genesis=genesis))
    assert told["entries"] == 0


def split_of(*, first: int, second: int, size: int | None = None) -> tuple[Grown, SplitView]:
    """Return a chain, and two committed blocks of it; the second of a log of this size."""
    chain = Grown()
    for number in range(second):
        chain.block(chain.transaction("shop-a", PrescriptionCommit(bytes((number,)) * 32)))
    at = [Decided(each.block.header, each.certificate, ()) for each in chain.blocks]
    leaves = [entry.leaf() for executed in chain.executed for entry in executed.entries]
    if size is None:  # the log of the second began with something else
        leaves[0] = Hash(bytes(32))
        root = merkle.root_of_leaves(leaves)
    else:
        root = merkle.root_of_leaves(leaves[:size])
    head = msgspec.structs.replace(
        at[second - 1].header, log_root=root, log_size=second if size is None else size
    )
    other = Decided(head, chain.certify(second, head.hash), ())
    nodes: dict[tuple[int, int], Hash] = {}
    merkle.Frontier().append(leaves, lambda level, index, it: nodes.update({(level, index): it}))
    proof = merkle.consistency_proof(first, second, lambda level, index: nodes[level, index])
    begins = merkle.root_of_leaves(leaves[:first])
    return chain, SplitView(at[first - 1], other, begins, proof if size is None else ())


@pytest.mark.parametrize(
    ("view", "convicts"),
    [
        ({"first": 3, "second": 5}, True),
        ({"first": 4, "second": 5, "size": 2}, True),
        ({"first": 5, "second": 5, "size": 5}, False),
        ({"first": 5, "second": 5, "size": 4}, True),
    ],
    ids=["rewritten", "shorter", "one block", "two blocks"],
)
def test_both_judge_a_split_view_alike(
    tmp_path: Path, view: dict[str, int], *, convicts: bool
) -> None:
    chain, found = split_of(**view)
    (tmp_path / "genesis").write_text(signed_json(chain.genesis))
    for each, expected in (
        (found, convicts),
        (msgspec.structs.replace(found, first=found.second, second=found.first), False),
    ):
        text = split_view.to_json(each)
        if found.first.header.height == found.second.header.height:
            expected = convicts  # noqa: PLW2901 - of two blocks of one height either comes first
        assert is_true(text, chain.genesis.genesis) is expected
        assert is_true_again(tmp_path / "proof", tmp_path / "genesis", text) is expected


@pytest.mark.parametrize(
    "text",
    ["{}", '{"format": 1}', '{"format": "depoli/receipt/2"}', '{"format": "depoli/decided/1"}'],
)
def test_both_refuse_what_is_no_proof(genesis: Path, tmp_path: Path, text: str) -> None:
    assert not is_true(text)
    assert not is_true_again(tmp_path / "proof", genesis, text)


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_is_believed_beside_its_block_and_no_other(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    block, other = tmp_path / "block", tmp_path / "other"
    block.write_text(decided.to_json(chain.decided(9)))
    other.write_text(decided.to_json(chain.decided(7)))
    checkpoint = Checkpoint.of(chain.decided(9).header)
    key = key_of("insurer-b", Role.CHECKPOINT)
    stranger = key_of("shop-a", Role.TRANSACTION)
    true = Note(checkpoint.encode(), (checkpoint.sign(stranger), checkpoint.sign(key))).encode()

    def told(note: bytes, beside: Path = block) -> dict[str, Any]:
        (tmp_path / "note").write_bytes(note)
        options = argparse.Namespace(file=tmp_path / "note", genesis=genesis, decided=beside)
        found: dict[str, Any] = recheck.check_checkpoint(options)
        return found

    assert told(true)["signed_by"] == "insurer-b"
    assert told(true)["log_root"] == checkpoint.root
    false = (
        true.replace(b"\n9 ", b"\n8 ").replace(b"block 9", b"block 8"),
        Note(checkpoint.encode(), (checkpoint.sign(stranger),)).encode(),
        true[:-10] + b"AAAA" + true[-6:],
        true[:-10] + b"!!!!" + true[-6:],
        checkpoint.encode().encode(),
        b"",
    )
    for note in false:
        with pytest.raises(recheck.FalseFact):
            told(note)
    with pytest.raises(recheck.FalseFact, match="text of the checkpoint"):
        told(true, other)
