"""Who votes, and who broke the rules: two verifiers without common code name every lie."""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.evidence import Amnesia, CrossVote, DoubleVote, Evidence, bad_proposal, encode, judge
from consensus.messages import Commit, Justification, Prepare, Proposal, RoundChange, Statement
from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.errors import LedgerError, NotEvidence
from ledger.receipt import Receipt, to_json
from ledger.validators import ValidatorSet
from node.audit.errors import FalseFact
from node.audit.replay import verify_export
from node.chain import Chain
from tests.chainmaker import export_of, member_of, upheaval
from tests.consensus.committee import CHAIN_ID, HEIGHT
from tests.consensus.test_evidence import FORGED, HIGHER, ID, LOCK, OTHER, PAIRS, A, B, C
from tests.forgeries import Forgery
from tests.scripts.test_recheck import check, recheck
from tests.uprisings import uprisings

CHAIN = upheaval()
LIES = uprisings(CHAIN)


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    path.write_text(signed_json(CHAIN.genesis))
    return path


def test_a_true_chain_is_accepted_by_both(genesis: Path, tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, CHAIN.blocks)
    told = check(tmp_path / "e", content, genesis)
    assert told["header"] == CHAIN.state.header.hash
    assert told["offences"] == 7
    report = verify_export(tmp_path / "e", CHAIN.genesis, workers=1)
    assert report.header == CHAIN.state.header
    assert report.accused.total() == 7
    assert report.accused[member_of("insurer-a")] == 2


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_lie_is_named_by_both(lie: Forgery, genesis: Path, tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, lie.blocks)
    with pytest.raises(recheck.FalseFact) as second:
        check(tmp_path / "e", content, genesis)
    assert (second.value.field, second.value.height) == (lie.recheck, lie.height)
    with pytest.raises(FalseFact) as first:
        verify_export(tmp_path / "e", CHAIN.genesis, workers=1)
    assert (first.value.field, first.value.height) == (lie.audit, lie.height)


# --- evidence -------------------------------------------------------------------------------------

VOTERS = tuple(
    recheck.validator.type(v.member, v.consensus_key, v.checkpoint_key, v.node_key)
    for v in C.validators.members
)


def _offered(one: Statement, other: Statement) -> Iterator[Evidence]:
    """Yield all that somebody may try to make of two statements."""
    yield DoubleVote(one, other)
    match one, other:
        case Commit(), RoundChange():
            yield Amnesia(one, other.bare())
            yield Amnesia(one, other)
        case Prepare(), Commit():
            yield CrossVote(one, other)
        case _:
            pass


def _proposals() -> Iterator[Proposal]:
    """Yield proposals, honest and not: the rules of justification, each broken once."""
    plain = [C.change(signer, 2) for signer in range(3)]
    locked = [C.change(0, 2), C.change(1, 2, LOCK), C.change(2, 2)]
    why = C.why(*locked)
    fresh = C.outline(2)
    seals = LOCK.seals
    replace = msgspec.structs.replace
    yield from (C.proposal(), C.proposal(0, C.outline(empty=True)), C.proposal(1, C.outline(1)))
    yield C.proposal(1, C.outline(1), FORGED)
    yield C.proposal(0, A, why)
    yield C.proposal(0, B, signer=(C.leader(0) + 1) % 4)
    reasons = [
        C.why(*plain),
        C.why(*plain[:2]),
        why,
        replace(C.why(*plain), prepared=LOCK),
        replace(why, prepared=None),
        replace(why, prepared=HIGHER),
        replace(why, prepared=C.prepared(OTHER, 1)),
        replace(why, prepared=replace(LOCK, height=HEIGHT + 1)),
        replace(why, prepared=replace(LOCK, seals=seals[:2])),
        replace(why, prepared=replace(LOCK, seals=(seals[1], seals[0], seals[2]))),
        replace(why, prepared=replace(LOCK, seals=(*seals[:2], replace(seals[2], validator=9)))),
        replace(
            why, prepared=replace(LOCK, seals=(*seals[:2], replace(seals[2], signature=bytes(64))))
        ),
        Justification(tuple(locked), LOCK),  # not bare
        Justification(tuple(reversed(plain)), None),
        Justification((*plain[:2], plain[1]), None),
        Justification((*plain[:2], C.change(2, 3)), None),
        Justification((*plain[:2], replace(plain[2], signer=9)), None),
        Justification((*plain[:2], replace(plain[2], height=HEIGHT + 1)), None),
        Justification((*plain[:2], C.signed(replace(plain[2], prepared_id=ID))), None),
        Justification((*plain[:2], C.signed(replace(plain[2], prepared_round=2))), None),
    ]
    for reason in reasons:
        yield C.proposal(2, A, reason)
        yield C.proposal(2, B, reason)
        yield C.proposal(2, fresh, reason)
    for header in (
        replace(fresh.header, chain_id=bytes(32)),
        replace(fresh.header, validators_hash=bytes(32)),
        replace(fresh.header, proposer=bytes(16)),
        replace(fresh.header, built_round=1),
        replace(fresh.header, height=HEIGHT + 1),
    ):
        yield C.proposal(2, replace(fresh, header=header), C.why(*plain))


EVERY = [
    encode(made)
    for made in (
        *(made for one, other, _ in PAIRS.values() for made in _offered(one, other)),
        *(made for one, other, _ in PAIRS.values() for made in _offered(other, one)),
        *map(bad_proposal, _proposals()),
    )
]


def judged(data: bytes) -> tuple[bytes, int, bytes] | None:
    try:
        found = judge(data, CHAIN_ID, lambda _: C.validators)
    except NotEvidence:
        return None
    return found.offence, found.height, found.member


def judged_again(data: bytes) -> tuple[bytes, int, bytes] | None:
    try:
        found: tuple[bytes, int, bytes] = recheck.check_evidence(data, CHAIN_ID, lambda _: VOTERS)
    except recheck.FalseFact:
        return None
    return found


def test_both_judge_evidence_alike() -> None:
    verdicts = [judged(data) for data in EVERY]
    assert verdicts == [judged_again(data) for data in EVERY]
    assert sum(verdict is None for verdict in verdicts) > len(EVERY) // 4
    assert sum(verdict is not None for verdict in verdicts) > len(EVERY) // 4


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EVERY), st.data())
def test_both_judge_damaged_evidence_alike(data: bytes, chance: st.DataObject) -> None:
    at = chance.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + bytes((data[at] ^ 1 << chance.draw(st.integers(0, 7)),)) + data[at + 1 :]
    assert judged(damaged) == judged_again(damaged)


# --- receipts -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    opened = Chain.open(folder, CHAIN.genesis.genesis, DirectSignatures())
    for committed in CHAIN.blocks:
        header = committed.block.header
        opened.require_parent_commit(committed.block.body.parent_commit)
        executed = opened.execute(committed.block.body, header, DirectSignatures())
        opened.commit(executed, committed.certificate)
    yield opened
    opened.close()


def test_a_receipt_follows_the_validators_from_genesis(
    chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    path = tmp_path / "receipt.json"
    changes = []
    for executed in CHAIN.executed:
        for entry in executed.entries:
            receipt = chain.receipt(entry.transaction, entry.position)
            assert receipt is not None
            receipt.verify(CHAIN.chain_id, CHAIN.genesis.genesis.validator_set)
            path.write_text(to_json(receipt))
            options = argparse.Namespace(file=path, genesis=genesis, changes=None)
            assert recheck.check_receipt(options)["height"] == entry.height
            changes.append([change.header.height for change in receipt.changes])
    assert changes[0] == []
    assert changes[-1] == [6, 8, 10, 12, 14, 17][: len(changes[-1])]
    assert max(map(len, changes)) == 6


@pytest.mark.parametrize("forgery", ["left out", "another set", "swapped", "twice"])
def test_a_receipt_with_false_changes_is_refused_by_both(
    forgery: str, chain: Chain, genesis: Path, tmp_path: Path
) -> None:
    last = CHAIN.executed[-1].entries[0]
    receipt = chain.receipt(last.transaction, 0)
    assert receipt is not None
    forged = msgspec.structs.replace(receipt, changes=_forged(forgery, receipt))
    with pytest.raises(LedgerError):
        forged.verify(CHAIN.chain_id, CHAIN.genesis.genesis.validator_set)
    path = tmp_path / "receipt.json"
    path.write_text(to_json(forged))
    with pytest.raises(recheck.FalseFact):
        recheck.check_receipt(argparse.Namespace(file=path, genesis=genesis, changes=None))


def _forged(forgery: str, receipt: Receipt) -> object:
    one, two, *rest = receipt.changes
    match forgery:
        case "left out":
            return (two, *rest)
        case "swapped":
            return (two, one, *rest)
        case "twice":
            return (one, one, two, *rest)
        case _:
            fewer = ValidatorSet(one.validators.members[:4])
            return (msgspec.structs.replace(one, validators=fewer), two, *rest)


def test_a_node_knows_who_voted_when(chain: Chain) -> None:
    for height in range(1, chain.height + 3):
        assert chain.validators_at(height) == CHAIN.validators_at(height)
    assert chain.validators_at(0) is None  # nobody voted on the genesis
    assert chain.validators_at(chain.height + 3) is None
    assert len(chain.accusations(limit=100)) == 7


def test_a_chain_goes_on_after_any_block_though_its_state_is_lost(tmp_path: Path) -> None:
    genesis, signatures = CHAIN.genesis.genesis, DirectSignatures()
    for committed in CHAIN.blocks:
        opened = Chain.open(tmp_path, genesis, signatures)
        body = committed.block.body
        opened.require_parent_commit(body.parent_commit)
        opened.commit(
            opened.execute(body, committed.block.header, signatures), committed.certificate
        )
        opened.close()
    shutil.rmtree(tmp_path / "state")
    again = Chain.open(tmp_path, genesis, signatures)
    assert again.header == CHAIN.state.header
    assert again.state.next_validators == CHAIN.state.next_validators
    assert [each.number for each in again.eras(0, 3)] == [0, 1, 2]
    assert again.eras(6, 9)[-1].validators == again.state.validators
    again.close()
