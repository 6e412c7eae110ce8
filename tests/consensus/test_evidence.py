"""Evidence: every contradiction convicts its signer, and nothing else convicts anybody."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import BadEvidence, ConsensusError, MalformedMessage
from consensus.evidence import (
    Amnesia,
    CrossVote,
    DoubleVote,
    Evidence,
    audit,
    bad_proposal,
    contradiction,
    culprit,
    decode,
    encode,
    evidence_id,
    height_of,
    judge,
    offence,
    offence_key,
    verify,
)
from consensus.messages import Message, Proposal, Statement
from ledger.block import MAX_EVIDENCE_BYTES
from ledger.errors import NotEvidence
from ledger.validators import ValidatorSet
from tests.consensus.committee import CHAIN_ID, HEIGHT, Committee

C = Committee()
A, B = C.outline(), C.outline(0, b"b")
ID, OTHER = A.header.hash, B.header.hash
LOCK, HIGHER = C.prepared(ID, 1), C.prepared(ID, 2)
FORGED = msgspec.structs.replace(
    C.why(C.change(0, 1), C.change(1, 1), C.change(2, 1)),
    round_changes=tuple(
        msgspec.structs.replace(C.change(i, 1), signature=bytes(64)) for i in range(3)
    ),
)

PAIRS: dict[str, tuple[Statement, Statement, type[Evidence] | None]] = {
    "two prepares": (C.prepare(1, ID), C.prepare(1, OTHER), DoubleVote),
    "two commits": (C.commit(1, ID), C.commit(1, OTHER), DoubleVote),
    "two wishes of one round": (C.change(1, 3, LOCK), C.change(1, 3), DoubleVote),
    "two proposals": (C.proposal().bare(), C.proposal(0, B).bare(), DoubleVote),
    "a lock forgotten": (C.commit(1, ID, 1), C.change(1, 3), Amnesia),
    "a lower lock": (C.commit(1, ID, 2), C.change(1, 3, LOCK), Amnesia),
    "another lock of that round": (
        C.commit(1, OTHER, 1),
        C.change(1, 3, LOCK),
        Amnesia,
    ),
    "prepared one, committed another": (C.prepare(1, ID), C.commit(1, OTHER), CrossVote),
    "the same twice": (C.prepare(1, ID), C.prepare(1, ID), None),
    "different rounds": (C.prepare(1, ID), C.prepare(1, OTHER, 1), None),
    "different signers": (C.prepare(1, ID), C.prepare(2, OTHER), None),
    "different heights": (C.prepare(1, ID), Committee(4, 9).prepare(1, OTHER), None),
    "prepared and committed": (C.prepare(1, ID), C.commit(1, ID), None),
    "committed later what was not prepared first": (
        C.prepare(1, ID),
        C.commit(1, OTHER, 1),
        None,
    ),
    "the lock told": (C.commit(1, ID, 1), C.change(1, 3, LOCK), None),
    "a higher lock": (C.commit(1, OTHER, 1), C.change(1, 3, HIGHER), None),
    "a wish before the commit of its round": (C.commit(1, ID, 3), C.change(1, 3), None),
    "a wish below": (C.commit(1, ID, 3), C.change(1, 2), None),
    "a prepare and a wish": (C.prepare(1, ID, 1), C.change(1, 3), None),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_two_statements_prove(name: str) -> None:
    one, other, expected = PAIRS[name]
    found = contradiction(one, other)
    assert contradiction(other, one) == found
    if expected is None:
        assert found is None
        return
    assert isinstance(found, expected)
    assert culprit(found) == 1
    assert height_of(found) == HEIGHT
    verify(found, CHAIN_ID, C.validators)
    assert decode(encode(found)) == found
    with pytest.raises(BadEvidence):  # the same words on another chain were signed by nobody
        verify(found, bytes(32), C.validators)
    with pytest.raises(BadEvidence):  # and with the validators of another height by somebody else
        verify(found, CHAIN_ID, _rotated())


def test_a_judge_names_the_member_and_the_deed_without_its_round() -> None:
    deeds = {}
    for round_ in (0, 4):
        found = contradiction(C.commit(1, ID, round_), C.commit(1, OTHER, round_))
        assert found is not None
        accusation = judge(encode(found), CHAIN_ID, lambda _: C.validators)
        assert accusation.member == C.validators.members[1].member
        assert accusation.height == HEIGHT
        assert accusation.offence == offence_key(found)
        deeds[round_] = accusation.offence
    assert deeds[0] == deeds[4]
    others = [found for one, other, _ in PAIRS.values() if (found := contradiction(one, other))]
    kinds = {(type(found), type(_first(found))) for found in others}
    assert len({offence_key(found) for found in others}) == len(kinds)


def _first(found: Evidence) -> object:
    return found.first if isinstance(found, DoubleVote) else found


@pytest.mark.parametrize("data", [b"\xc0", encode(bad_proposal(C.proposal(0, A)))])
def test_a_judge_refuses_what_convicts_nobody(data: bytes) -> None:
    with pytest.raises(NotEvidence):
        judge(data, CHAIN_ID, lambda _: C.validators)


def test_a_judge_refuses_a_height_whose_validators_are_not_known() -> None:
    found = contradiction(C.commit(1, ID), C.commit(1, OTHER))
    assert found is not None
    with pytest.raises(NotEvidence):
        judge(encode(found), CHAIN_ID, lambda height: C.validators if height > HEIGHT else None)


def _rotated() -> ValidatorSet:
    members = C.validators.members
    return ValidatorSet(members[1:] + members[:1])


@pytest.mark.parametrize(
    "proposal",
    [
        C.proposal(1, C.outline(1), None),
        C.proposal(0, C.outline(empty=True)),
        C.proposal(1, C.outline(1), FORGED),
        C.proposal(1, A, C.why(C.change(0, 1), C.change(1, 1), C.change(2, 1))),
    ],
    ids=["bare", "empty", "forged", "unlocked"],
)
def test_a_proposal_that_is_not_justified_convicts_its_signer(proposal: Proposal) -> None:
    evidence = bad_proposal(proposal)
    verify(evidence, CHAIN_ID, C.validators)
    assert height_of(evidence) == HEIGHT
    assert decode(encode(evidence)) == evidence
    assert offence(evidence)[0] == "BadProposal"


def test_an_honest_proposal_convicts_nobody() -> None:
    changes = [C.change(0, 2), C.change(1, 2, LOCK), C.change(2, 2)]
    for honest in (C.proposal(), C.proposal(2, A, C.why(*changes))):
        with pytest.raises(BadEvidence, match="is justified"):
            verify(bad_proposal(honest), CHAIN_ID, C.validators)


def test_a_proposal_that_its_leader_did_not_sign_convicts_nobody() -> None:
    evidence = msgspec.structs.replace(
        bad_proposal(C.proposal(1, C.outline(1))), signature=bytes(64)
    )
    with pytest.raises(BadEvidence, match="validator 2"):
        verify(evidence, CHAIN_ID, C.validators)


def test_evidence_is_refused_unless_it_is_the_one_that_its_statements_prove() -> None:
    one, other = C.prepare(1, ID), C.prepare(1, OTHER)
    real = contradiction(one, other)
    assert isinstance(real, DoubleVote)
    for false in (
        DoubleVote(real.second, real.first),  # the other order would be a second piece
        DoubleVote(one, one),
        DoubleVote(one, C.prepare(2, OTHER)),
        CrossVote(one, C.commit(1, ID)),
        Amnesia(C.commit(1, ID, 1), C.change(1, 3, LOCK)),
        Amnesia(C.commit(1, ID, 2), C.change(1, 3, LOCK)),  # not bare: the certificate is no part
    ):
        with pytest.raises(BadEvidence):
            verify(false, CHAIN_ID, C.validators)


def test_a_stranger_is_not_convicted() -> None:
    two = Committee(5)
    evidence = contradiction(two.prepare(4, ID), two.prepare(4, OTHER))
    assert evidence is not None
    with pytest.raises(BadEvidence, match="signer 4 of 4"):
        verify(evidence, CHAIN_ID, C.validators)


def test_one_deed_in_many_variants_is_one_offence() -> None:
    deeds = [contradiction(C.commit(1, ID, 1), C.change(1, r)) for r in (2, 3, 4)]
    assert len({offence(deed) for deed in deeds if deed is not None}) == 1
    assert len({evidence_id(deed) for deed in deeds if deed is not None}) == 3


@given(st.binary(max_size=200))
def test_any_bytes_are_evidence_or_refused(data: bytes) -> None:
    try:
        evidence = decode(data)
    except ConsensusError:
        return
    assert encode(evidence) == data


def test_too_many_bytes_are_no_evidence() -> None:
    with pytest.raises(MalformedMessage):
        decode(bytes(MAX_EVIDENCE_BYTES + 1))


def test_a_proposal_of_a_hundred_validators_fits_as_evidence() -> None:
    many = Committee(100)
    lock = many.prepared(many.outline().header.hash, 0, tuple(range(100)))
    changes = [many.change(i, 1, lock) for i in range(100)]
    proposal = many.proposal(1, many.outline(), many.why(*changes))
    assert len(encode(bad_proposal(proposal))) <= MAX_EVIDENCE_BYTES


# --- the audit of many messages -------------------------------------------------------------------


def test_two_quorums_of_one_round_name_all_that_signed_both() -> None:
    fork = [C.decided(A, 0, (0, 1, 2)), C.decided(B, 0, (1, 2, 3))]
    assert {culprit(evidence) for evidence in audit(fork)} == {1, 2}


def test_a_fork_over_rounds_is_amnesia_by_the_certificates_and_the_proposal_between() -> None:
    # A was committed in round 0 by 0, 1, 2; round 1 decides B, because 1 and 2 forgot.
    fresh = C.outline(1, b"fresh")
    proposal = C.proposal(1, fresh, C.why(*(C.change(i, 1) for i in (1, 2, 3))))
    found = audit([C.decided(A), proposal, C.decided(fresh, 1, (1, 2, 3))])
    assert {culprit(evidence) for evidence in found} == {1, 2}
    assert {type(evidence) for evidence in found} == {Amnesia}
    for evidence in found:
        verify(evidence, CHAIN_ID, C.validators)


def test_a_lock_on_another_block_of_the_same_round_is_a_cross_vote() -> None:
    lock = C.prepared(OTHER, 0, (1, 2, 3))
    changes = (C.change(1, 1), C.change(2, 1), C.change(3, 1, lock))
    proposal = C.proposal(1, B, C.why(*changes))
    found = audit([C.decided(A), proposal, C.decided(B, 1, (1, 2, 3))])
    crossed = {culprit(evidence) for evidence in found if isinstance(evidence, CrossVote)}
    assert crossed == {1, 2}


def test_the_order_of_the_messages_does_not_matter_to_the_audit() -> None:
    messages: list[Message] = [C.prepare(1, ID), C.prepare(1, OTHER)]
    messages += [C.commit(1, OTHER), C.change(1, 3)]
    assert set(audit(messages)) == set(audit(messages[::-1]))
    assert len(audit(messages)) == 3


def test_an_honest_history_convicts_nobody() -> None:
    history: list[Message] = [
        C.proposal(),
        *(C.prepare(i, ID) for i in range(4)),
        *(C.commit(i, ID) for i in (0, 1)),
    ]
    history += [C.change(i, 1, C.prepared(ID)) for i in range(4)]
    again = C.proposal(1, A, C.why(*(C.change(i, 1, C.prepared(ID)) for i in (0, 1, 2))))
    history += [again, *(C.commit(i, ID, 1) for i in range(4))]
    assert audit(history) == ()


def test_every_contradicting_pair_is_found_among_the_rest() -> None:
    statements = [C.prepare(1, i, r) for i, r in product((ID, OTHER), (0, 1))]
    pairs = {
        offence(evidence)
        for one, other in product(statements, statements)
        if (evidence := contradiction(one, other)) is not None
    }
    assert {offence(evidence) for evidence in audit(statements)} == pairs
