"""A file of evidence: what it proves offline, and each thing that it must not."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import ConsensusError
from consensus.evidence import Evidence, contradiction, decode, encode, offence_key
from ledger.errors import BadProof, BadSignature, LedgerError, Malformed, Mismatch
from node.audit.conviction import Decision, convict, standing_of, to_json, verify_json
from node.audit.errors import FalseFact, NoEvidence
from node.audit.recorded import conviction_in, evidence_in
from node.audit.words import deed_of, sentence
from node.chain import Chain as NodeChain
from node.convictions import conviction as node_conviction
from node.signatures import VerifiedSignatures
from tests.chainmaker import Chain, export_of, member_of, story, upheaval
from tests.consensus.committee import Committee

CHAIN: Final = story()
PROOFS: Final = [CHAIN.double_vote(signer, height) for signer, height in ((3, 2), (1, 8))]
CHAIN.block(evidence=PROOFS)
CHAIN.block(evidence=[CHAIN.double_vote(0, 3)])
GENESIS: Final = CHAIN.genesis.genesis


def text_of(folder: Path, data: bytes = PROOFS[0]) -> str:
    id_ = offence_key(decode(data))
    conviction = conviction_in(CHAIN.export(folder / "e"), CHAIN.genesis, id_, workers=1)
    return to_json(conviction, GENESIS)


def test_what_stands_in_an_export_is_found_and_proves_itself(tmp_path: Path) -> None:
    found = evidence_in(CHAIN.export(tmp_path / "e"), CHAIN.genesis, workers=1)
    assert [encode(each.evidence) for each in found] == [*PROOFS, CHAIN.double_vote(0, 3)]
    assert [each.header.height for each in found] == [9, 9, 10]
    for each in found:
        verified = verify_json(text_of(tmp_path, encode(each.evidence)), GENESIS)
        assert (verified.id, verified.member) == (each.id, each.member)
        assert verified.recorded == each.header
    with pytest.raises(NoEvidence):
        conviction_in(tmp_path / "e", CHAIN.genesis, bytes(32), workers=1)


def test_across_changes_of_validators_those_of_the_height_judge(tmp_path: Path) -> None:
    chain = upheaval()
    genesis = chain.genesis.genesis
    found = evidence_in(chain.export(tmp_path / "e"), chain.genesis, workers=1)
    node = NodeChain.open(tmp_path / "node", genesis, VerifiedSignatures())
    for committed in chain.blocks:
        body, header = committed.block.body, committed.block.header
        node.commit(node.execute(body, header, VerifiedSignatures()), committed.certificate)
    changes: set[int] = set()
    for each in found:
        conviction = conviction_in(tmp_path / "e", chain.genesis, each.id, workers=1)
        accused = node.accusation(each.id)
        assert accused is not None
        assert node_conviction(node, accused) == conviction  # a node makes the same file
        verified = verify_json(to_json(conviction, genesis), genesis)
        assert (verified.member, verified.recorded) == (each.member, each.header)
        changes.add(len(conviction.changes))
        for number in range(len(conviction.changes)):  # and no change may be left out
            fewer = conviction.changes[:number] + conviction.changes[number + 1 :]
            lacking = msgspec.structs.replace(conviction, changes=fewer)
            with pytest.raises((LedgerError, ConsensusError)):
                lacking.verify(chain.chain_id, genesis.validator_set)
    assert len(found) == 7
    assert len(changes) > 1
    node.close()


def test_nothing_is_taken_from_an_export_that_lies(tmp_path: Path) -> None:
    blocks = list(CHAIN.blocks)
    blocks[4] = msgspec.structs.replace(blocks[4], outcomes=())
    (tmp_path / "e").write_bytes(export_of(CHAIN.genesis, blocks))
    with pytest.raises(FalseFact):
        evidence_in(tmp_path / "e", CHAIN.genesis, workers=1)


def test_the_file_names_who_did_what(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    assert json.loads(text)["organisation"] == "insurer-b"
    verified = verify_json(text, GENESIS)
    deed = deed_of(verified.evidence, verified.member, GENESIS, verified.recorded)
    assert deed.says == "insurer-b signed two different commits at height 2, round 0"
    assert deed.recorded is not None
    assert deed.recorded.height == 9


def changed(text: str, *path: str | int, to: object) -> str:
    value = json.loads(text)
    inner: Any = value
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return json.dumps(value)


OTHER: Final = CHAIN.double_vote(2, 2)
LIES: Final[list[tuple[tuple[str | int, ...], object, type[Exception]]]] = [
    (("format",), "depoli/evidence/2", Malformed),
    (("organisation",), "insurer-a", Mismatch),
    (("organisation",), None, Mismatch),
    (("member",), member_of("insurer-a").hex(), Mismatch),
    (("evidence",), OTHER.hex(), BadProof),  # true, but it does not stand there
    (("evidence",), "c0", ConsensusError),
    (("standing", "index"), 1, BadProof),
    (("standing", "count"), 1, BadProof),
    (("standing", "proof"), [], BadProof),
    (("standing", "block", "header", "evidence_root"), "00" * 32, Mismatch),
    (("standing", "block", "certificate", "height"), 8, Mismatch),
    (("witness", "header", "height"), 3, Mismatch),
    (("witness", "certificate", "seals", 0, "signature"), "00" * 64, BadSignature),
    (("changes",), None, Malformed),
]  # fmt: skip


@pytest.mark.parametrize(("path", "to", "error"), LIES, ids=lambda part: str(part)[:40])
def test_a_lie_in_the_file_is_named(
    path: tuple[str | int, ...], to: object, error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        verify_json(changed(text_of(tmp_path), *path, to=to), GENESIS)


def test_it_stands_on_no_chain_where_it_does_not_say_so(tmp_path: Path) -> None:
    verified = verify_json(changed(text_of(tmp_path), "standing", to=None), GENESIS)
    assert verified.recorded is None


def test_it_cannot_stand_below_the_deed() -> None:
    late = CHAIN.double_vote(1, 10)
    early = Decision(CHAIN.blocks[8].block.header, CHAIN.blocks[8].certificate)
    witness = Decision(CHAIN.blocks[9].block.header, CHAIN.blocks[9].certificate)
    standing = standing_of(PROOFS[0], tuple(PROOFS), early)
    conviction = convict(decode(late), GENESIS.validator_set, witness, (), standing)
    with pytest.raises(Mismatch, match="above 9"):
        conviction.verify(CHAIN.chain_id, GENESIS.validator_set)


def test_the_witness_must_be_of_the_height_of_the_deed() -> None:
    other = Decision(CHAIN.blocks[4].block.header, CHAIN.blocks[4].certificate)
    conviction = convict(decode(PROOFS[0]), GENESIS.validator_set, other, ())
    with pytest.raises(Mismatch, match="height of the witness"):
        conviction.verify(CHAIN.chain_id, GENESIS.validator_set)


def test_evidence_of_another_chain_convicts_nobody_here(tmp_path: Path) -> None:
    other = Chain()
    other.genesis = CHAIN.genesis
    text = text_of(tmp_path)
    genesis = msgspec.structs.replace(GENESIS, time=GENESIS.time + 1)
    with pytest.raises((LedgerError, ConsensusError)):
        verify_json(text, genesis)


@given(st.text(max_size=200))
def test_any_text_is_evidence_or_refused(text: str) -> None:
    with pytest.raises((LedgerError, ConsensusError)):
        verify_json(text, GENESIS)


# --- words ----------------------------------------------------------------------------------------

C = Committee()
ID, NEXT = C.outline().header.hash, C.outline(0, b"b").header.hash


def pair(one: Any, other: Any) -> Evidence:  # noqa: ANN401
    found = contradiction(one, other)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            pair(C.prepare(1, ID, 2), C.prepare(1, NEXT, 2)),
            "x signed two different prepares at height 5, round 2",
        ),
        (
            pair(C.change(1, 3, C.prepared(ID)), C.change(1, 3)),
            "x signed two different round changes at height 5, round 3",
        ),
        (
            pair(C.prepare(1, ID), C.commit(1, NEXT)),
            "x signed a prepare of one block and a commit of another at height 5, round 0",
        ),
        (
            pair(C.commit(1, ID), C.change(1, 3)),
            "x signed a commit at height 5, round 0, and asked for round 3 claiming no lock",
        ),
        (
            pair(C.commit(1, NEXT), C.change(1, 3, C.prepared(ID))),
            "x signed a commit at height 5, round 0, and asked for round 3 claiming another lock",
        ),
        (
            pair(C.commit(1, ID, 2), C.change(1, 3, C.prepared(ID))),
            "x signed a commit at height 5, round 2, and asked for round 3 claiming an older lock",
        ),
    ],
)  # fmt: skip
def test_every_deed_has_its_words(evidence: Evidence, words: str) -> None:
    assert sentence(evidence, "x") == words
