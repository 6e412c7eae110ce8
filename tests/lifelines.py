"""A chain in which every call on a prior agreement, a claim and a prescription is applied once."""

from typing import Final

import msgspec

from contracts import batch
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
    Call,
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimGround,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    Direction,
    DisclosureAcknowledge,
    ErasureOutcome,
    ErasureRequest,
    ErasureStatement,
    PrescriptionRevoke,
    PrescriptionSupersede,
    Reason,
    SettlementAdd,
    SettlementAnnounce,
    SettlementConfirm,
    SettlementOpen,
)
from contracts.errors import Refusal
from contracts.parameters import DEFAULTS
from contracts.questions import Answer, Kind, Question
from ledger.hashing import Hash
from ledger.keys import Role
from ledger.transaction import created_id
from tests.chainmaker import (
    Chain,
    amount_of,
    claim_of,
    found,
    member_of,
    some_bytes,
)

SHOP: Final = "shop-a"
PAYER: Final = "insurer-a"
PERSON: Final = "a person of the payer"


class _Lives:
    def __init__(self) -> None:
        self.chain = Chain(found(people=(PAYER,)))

    def by(self, sender: str, *calls: Call, refused: Refusal | None = None) -> Hash:
        """Make calls in one transaction; return the id of what the first one may make."""
        role = Role.HUMAN if sender == PERSON else Role.TRANSACTION
        sender = PAYER if sender == PERSON else sender
        made = self.chain.transaction(sender, *calls, role=role)
        codes = {outcome.code for outcome in self.chain.block(made).outcomes}
        assert codes == {0 if refused is None else refused}
        return created_id(made.id, 0)

    def prepare(self, name: str) -> ClaimSubmit:
        """Return a claim, everything before it done."""
        before, claim = claim_of(self.chain, SHOP, PAYER, name)
        self.by(SHOP, *before)
        return claim

    def request(self, name: str) -> tuple[ClaimSubmit, Hash]:
        """Return a claim and the id of the prior agreement asked for it."""
        claim = self.prepare(name)
        asked = AuthorisationRequest(
            claim.payer, claim.leg, claim.prescription, claim.document, claim.amount, claim.marks
        )
        return claim, self.by(SHOP, asked)

    def settle(self, *claims: bytes) -> None:
        """Accept and settle claims."""
        self.by(PAYER, *(ClaimAccept(claim, None) for claim in claims))
        made = self.by(PAYER, SettlementOpen(member_of(SHOP), Direction.PAYMENT))
        self.by(PAYER, SettlementAdd(made, claims))
        settlement = batch.load(self.chain.state.state, made)
        assert settlement is not None
        self.by(PAYER, SettlementAnnounce(made, settlement.sum, None))
        self.by(SHOP, SettlementConfirm(made))


def lives() -> Chain:
    """Return the chain."""
    lives = _Lives()
    _agreements(lives)
    _rejections(lives)
    _payments(lives)
    _erasures(lives)
    return lives.chain


def _agreements(lives: _Lives) -> None:
    claim, asked = lives.request("agreed")
    question = Question(some_bytes("salt", 1), Kind.LAST_REIMBURSEMENT_DATE)
    answer = Answer(question.commitment(), some_bytes("salt", 2), question.kind, None)
    lives.by(PAYER, AuthorisationAsk(asked, question.commitment()))
    lives.by(SHOP, AuthorisationAnswer(asked, answer.commitment()))
    lives.by(PAYER, AuthorisationRefuse(asked, Reason.RENEWAL_NOT_DUE, automatic=True))
    lives.by(SHOP, AuthorisationReview(asked))
    until = lives.chain.state.header.time + 86_400
    grant = AuthorisationGrant(asked, amount_of("agreed", 9_000), until)
    lives.by(PAYER, grant, refused=Refusal.PERSON_NEEDED)
    lives.by(PERSON, grant)
    other = msgspec.structs.replace(claim, authorisation=asked, marks=claim.marks[:1])
    lives.by(SHOP, other, refused=Refusal.AUTHORISATION_DIFFERS)
    lives.by(SHOP, msgspec.structs.replace(claim, authorisation=asked))
    _, given_up = lives.request("given up")
    lives.by(PAYER, AuthorisationGrant(given_up, None, until))
    lives.by(SHOP, AuthorisationCancel(given_up))


def _rejections(lives: _Lives) -> None:
    claim = lives.prepare("rejected")
    id_ = lives.by(SHOP, claim)
    lives.by(SHOP, ClaimSupersede(id_, some_bytes("document", "rectified")))
    lives.by(PAYER, ClaimReject(id_, Reason.FORMAT, automatic=True))
    again = msgspec.structs.replace(claim, prior=id_)
    id_ = lives.by(SHOP, again)
    lives.by(PAYER, ClaimReject(id_, Reason.DUPLICATE, automatic=True))
    lives.by(SHOP, ClaimDispute(id_, ClaimGround.REJECTION))
    lives.by(PAYER, ClaimUphold(id_), refused=Refusal.PERSON_NEEDED)
    lives.by(PERSON, ClaimUphold(id_))
    lives.by(SHOP, ClaimAbandon(id_))
    id_ = lives.by(SHOP, lives.prepare("wronged"))
    lives.by(PAYER, ClaimReject(id_, Reason.OTHER, automatic=False))
    lives.by(SHOP, ClaimDispute(id_, ClaimGround.REJECTION))
    lives.by(PAYER, ClaimOverturn(id_, amount_of("wronged", 5_000)))
    lives.by(SHOP, ClaimCancel(id_))
    prescription = some_bytes("prescription", "wronged")
    lives.by(SHOP, PrescriptionSupersede(prescription, some_bytes("prescription", "right")))
    lives.by(SHOP, PrescriptionRevoke(some_bytes("prescription", "right")))


def _payments(lives: _Lives) -> None:
    ids = [lives.by(SHOP, lives.prepare(name)) for name in ("kept", "returned", "undue")]
    lives.settle(*ids)
    kept, returned, undue = ids
    lives.by(SHOP, ClaimDispute(kept, ClaimGround.PAYMENT_NOT_FOUND))
    lives.by(SHOP, ClaimWithdraw(kept))
    lives.by(SHOP, ClaimReverse(returned))
    lives.by(PAYER, ClaimRecover(undue, Reason.DUPLICATE))
    lives.by(SHOP, ClaimConcede(undue))
    lives.chain.block(seconds=DEFAULTS.dispute_window_s, built_round=1)
    lives.by(PAYER, ClaimClose(kept))


def _erasures(lives: _Lives) -> None:
    told = DisclosureAcknowledge(member_of(SHOP), some_bytes("acknowledged"))
    lives.by(PAYER, told)
    lives.by(PAYER, told, refused=Refusal.COMMITMENT_STANDS)
    gone, kept = (
        lives.by(SHOP, ErasureRequest(member_of(PAYER), some_bytes("erase", name)))
        for name in ("gone", "kept")
    )
    lives.by(SHOP, ErasureStatement(gone, ErasureOutcome.ERASED), refused=Refusal.ERASURE_NOT_YOURS)
    lives.by(PAYER, ErasureStatement(gone, ErasureOutcome.NOTHING_HELD))
    lives.by(PAYER, ErasureStatement(kept, ErasureOutcome.HELD_BY_LAW))
    lives.by(PAYER, ErasureStatement(kept, ErasureOutcome.ERASED))
