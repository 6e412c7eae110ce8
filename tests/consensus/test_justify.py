"""The predicates, one defect at a time, and against a reference written from the rulebook."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import (
    BadCertificate,
    BadOutline,
    BadRoundChange,
    ConsensusError,
    NotLeader,
    Unjustified,
    UnknownSigner,
    WrongHeight,
)
from consensus.justify import highest, require
from consensus.messages import (
    Justification,
    Message,
    PreparedCertificate,
    Proposal,
    RoundChange,
    Status,
)
from ledger.block import Outline
from ledger.hashing import NO_HASH
from tests.consensus.committee import HEIGHT, Committee

C = Committee()
OLD, NEW = C.outline(0), C.outline(1, b"new")
OLD_LOCK, NEW_LOCK = C.prepared(OLD.header.hash, 0), C.prepared(NEW.header.hash, 1)
UNLOCKED = tuple(C.change(i, 2) for i in (0, 1, 3))
LOCKED = (C.change(0, 2, OLD_LOCK), C.change(1, 2), C.change(3, 2, NEW_LOCK))
FRESH = C.outline(2, b"fresh")


def altered(outline: Outline, **fields: object) -> Outline:
    header = msgspec.structs.replace(outline.header, **fields)
    return msgspec.structs.replace(outline, header=header)


def test_what_an_honest_validator_sends_is_accepted() -> None:
    for message in (
        C.proposal(),
        C.proposal(2, FRESH, C.why(*UNLOCKED)),
        C.proposal(2, C.outline(2, empty=True), C.why(*UNLOCKED)),
        C.proposal(2, NEW, C.why(*LOCKED)),
        C.proposal(2, FRESH, C.why(*UNLOCKED, C.change(2, 2))),  # more than a quorum
        C.prepare(0, NO_HASH),
        C.commit(3, NO_HASH, 9),
        C.change(1, 1),
        C.change(1, 2, NEW_LOCK),
        C.decided(OLD),
        Status(HEIGHT, 0, 0, NO_HASH, (), ()),
    ):
        require(message, C.context)


REFUSED: dict[str, tuple[Message, type[ConsensusError]]] = {
    "of another leader": (C.proposal(0, OLD, signer=2), NotLeader),
    "of a stranger": (C.proposal(0, OLD, signer=4), UnknownSigner),
    "of another height": (C.proposal(0, altered(OLD, height=HEIGHT + 1)), WrongHeight),
    "of another chain": (C.proposal(0, altered(OLD, chain_id=NO_HASH)), WrongHeight),
    "for other validators": (C.proposal(0, altered(OLD, validators_hash=NO_HASH)), BadOutline),
    "built in another round": (C.proposal(0, altered(OLD, built_round=1)), BadOutline),
    "built by another": (C.proposal(0, altered(OLD, proposer=bytes(16))), BadOutline),
    "empty in round 0": (C.proposal(0, C.outline(empty=True)), BadOutline),
    "justified in round 0": (C.proposal(0, OLD, C.why(*UNLOCKED)), Unjustified),
    "bare above round 0": (C.proposal(2, FRESH), Unjustified),
    "one round change short": (C.proposal(2, FRESH, C.why(*UNLOCKED[:2])), Unjustified),
    "a signer twice": (C.proposal(2, FRESH, C.why(*UNLOCKED[:2], UNLOCKED[0])), Unjustified),
    "out of order": (
        C.proposal(2, FRESH, Justification(UNLOCKED[::-1], None)),
        Unjustified,
    ),
    "a stranger's round change": (
        C.proposal(2, FRESH, C.why(*UNLOCKED, C.change(4, 2))),
        UnknownSigner,
    ),
    "round changes of another round": (
        C.proposal(2, FRESH, C.why(*(C.change(i, 1) for i in (0, 1, 3)))),
        BadRoundChange,
    ),
    "round changes of another height": (
        C.proposal(2, FRESH, C.why(*(Committee(4, 4).change(i, 2) for i in (0, 1, 3)))),
        WrongHeight,
    ),
    "not bare": (
        C.proposal(2, NEW, Justification(LOCKED, NEW_LOCK)),
        BadRoundChange,
    ),
    "fresh though locked": (C.proposal(2, FRESH, C.why(*LOCKED)), Unjustified),
    "the lower lock": (
        C.proposal(2, OLD, msgspec.structs.replace(C.why(*LOCKED), prepared=OLD_LOCK)),
        Unjustified,
    ),
    "no certificate": (
        C.proposal(2, NEW, msgspec.structs.replace(C.why(*LOCKED), prepared=None)),
        Unjustified,
    ),
    "a certificate of another round": (
        C.proposal(
            2, NEW, msgspec.structs.replace(C.why(*LOCKED), prepared=C.prepared(NEW.header.hash, 0))
        ),
        BadCertificate,
    ),
    "a certificate of another block": (
        C.proposal(
            2, NEW, msgspec.structs.replace(C.why(*LOCKED), prepared=C.prepared(OLD.header.hash, 1))
        ),
        BadCertificate,
    ),
    "a certificate of nobody's lock": (
        C.proposal(2, FRESH, msgspec.structs.replace(C.why(*UNLOCKED), prepared=OLD_LOCK)),
        Unjustified,
    ),
    "an old block afresh": (C.proposal(2, OLD, C.why(*UNLOCKED)), BadOutline),
    "a prepare of a stranger": (C.prepare(4, NO_HASH), UnknownSigner),
    "a commit of another height": (Committee(4, 4).commit(1, NO_HASH), WrongHeight),
    "a lock without certificate": (C.change(1, 2, NEW_LOCK).bare(), BadRoundChange),
    "a certificate without lock": (
        msgspec.structs.replace(C.change(1, 2), certificate=OLD_LOCK),
        BadRoundChange,
    ),
    "a lock of its own round": (C.change(1, 1, NEW_LOCK), BadRoundChange),
    "a block without lock": (
        msgspec.structs.replace(C.change(1, 1), prepared_id=OLD.header.hash),
        BadRoundChange,
    ),
    "a lock below none": (
        msgspec.structs.replace(C.change(1, 1), prepared_round=-2),
        BadRoundChange,
    ),
    "a lock of another height": (
        C.change(1, 2, Committee(4, 4).prepared(OLD.header.hash)),
        WrongHeight,
    ),
    "a short certificate": (C.change(1, 2, C.prepared(OLD.header.hash, 0, (0, 1))), BadCertificate),
    "a doubled certificate": (
        C.change(1, 2, C.prepared(OLD.header.hash, 0, (0, 1, 1))),
        BadCertificate,
    ),
    "a stranger's certificate": (
        C.change(1, 2, C.prepared(OLD.header.hash, 0, (0, 1, 4))),
        BadCertificate,
    ),
    "decided on another block": (
        msgspec.structs.replace(C.decided(OLD), header=NEW.header),
        BadCertificate,
    ),
    "decided by too few": (C.decided(OLD, 0, (0, 1)), BadCertificate),
    "decided elsewhere": (Committee(4, 4).decided(OLD), WrongHeight),
    "a status of another height": (Status(4, 0, 0, NO_HASH, (), ()), WrongHeight),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_defect_is_enough_to_refuse(name: str) -> None:
    message, error = REFUSED[name]
    with pytest.raises(error):
        require(message, C.context)


def test_five_validators_need_four_round_changes() -> None:
    five = Committee(5)
    fresh = five.outline(1)
    changes = [five.change(i, 1) for i in range(4)]
    require(five.proposal(1, fresh, five.why(*changes)), five.context)
    with pytest.raises(Unjustified):
        require(five.proposal(1, fresh, five.why(*changes[:3])), five.context)


def test_the_highest_lock_counts_whatever_the_others_are() -> None:
    assert highest(UNLOCKED) is None
    assert highest(LOCKED) == LOCKED[2]


# --- against a reference --------------------------------------------------------------------------

BLOCKS = (OLD, NEW, FRESH, C.outline(2, b"fresh two"))
LOCKS = (None, OLD_LOCK, NEW_LOCK, C.prepared(OLD.header.hash, 1), C.prepared(NEW.header.hash, 0))
FALSE = (
    C.prepared(FRESH.header.hash, 1, (0, 1)),
    C.prepared(FRESH.header.hash, 1, (0, 0, 1)),
)


def is_justified(proposal: Proposal) -> bool:
    """Say whether the round changes justify the block, straight from the rulebook."""
    why, header = proposal.justification, proposal.outline.header
    if proposal.signer != C.leader(proposal.round) or header.height != HEIGHT or why is None:
        return False
    changes = why.round_changes
    if list({c.signer: c for c in changes}.values()) != list(changes):
        return False
    return len(changes) >= C.quorum and _justifies(changes, proposal)


def _justifies(changes: tuple[RoundChange, ...], proposal: Proposal) -> bool:
    assert proposal.justification is not None
    header, certificate = proposal.outline.header, proposal.justification.prepared
    if any(c.round != proposal.round or c.prepared_round >= c.round for c in changes):
        return False
    top = max(c.prepared_round for c in changes)
    if top == -1:
        by_leader = header.proposer == C.validators.members[C.leader(proposal.round)].member
        return certificate is None and by_leader and header.built_round == proposal.round
    claimed = next(c.prepared_id for c in changes if c.prepared_round == top)
    return header.hash == claimed and certificate is not None and _shows(certificate, top, claimed)


def _shows(certificate: PreparedCertificate, round_: int, block_id: bytes) -> bool:
    signers = [seal.validator for seal in certificate.seals]
    return (
        (certificate.round, certificate.block_id) == (round_, block_id)
        and len(set(signers)) == len(signers) >= C.quorum
        and signers == sorted(signers)
    )


@given(st.data())
def test_a_proposal_is_justified_exactly_when_the_reference_says_so(data: st.DataObject) -> None:
    round_ = data.draw(st.sampled_from([2, 2, 2, 1]))
    signers = data.draw(st.sampled_from([c for k in (2, 3, 4) for c in combinations(range(4), k)]))
    changes = []
    for signer in signers:
        lock = data.draw(st.sampled_from(LOCKS + FALSE[:1]))
        of = data.draw(st.sampled_from([2, 2, 2, 2, 3]))
        changes.append(C.change(signer, of, lock).bare())
    why = Justification(tuple(changes), data.draw(st.sampled_from(LOCKS + FALSE)))
    outline = data.draw(st.sampled_from(BLOCKS))
    proposal = C.proposal(round_, outline, why, data.draw(st.sampled_from([3, 3, 3, 2])))
    try:
        require(proposal, C.context)
    except ConsensusError:
        assert not is_justified(proposal)
    else:
        assert is_justified(proposal)
