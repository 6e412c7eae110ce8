"""What one does to a claim or a prior agreement on the chain: each a call of its own, made once."""

from typing import Final, TypeAlias

from contracts import authorisation as authorisations
from contracts import claim as claims
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    Call,
    ClaimAbandon,
    ClaimConcede,
    ClaimOverturn,
    ClaimReverse,
    ClaimSupersede,
)
from contracts.commitment import Opening
from contracts.errors import Refusal
from contracts.questions import Kind, parse_answer, parse_question
from ledger.encoding import decode, encode
from node.client import documents, lots, questions
from node.client.agreements import authorisation_of
from node.client.client import CallOutcome, NodeClient
from node.client.decisions import offered_opening
from node.client.errors import NotFound, Refused
from node.client.explanations import explanation
from node.client.questions import Asked
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    Progress,
    QuestionRecord,
    ReceivedRecord,
    find,
    keep,
    update,
)
from node.client.request import ClaimRequest
from node.client.statements import ACCEPTANCE, AGREEMENT, Statement
from node.client.transactions import Say, Sender, once
from node.client.vault import Vault

APPLIED: Final = CallOutcome(0, "APPLIED")
_WRONG_STATE: Final = {
    Refusal.CLAIM_IN_WRONG_STATE: "claim",
    Refusal.AUTHORISATION_IN_WRONG_STATE: "authorisation",
    Refusal.PRESCRIPTION_NOT_IN_FORCE: "prescription",
}
GivingUp: TypeAlias = ClaimAbandon | ClaimReverse | ClaimConcede | AuthorisationCancel
# In these states a thing holds no mark any more, whoever brought it there.
_FREE: Final[dict[str, frozenset[int]]] = {
    "claim": frozenset(
        (
            claims.State.CANCELLED,
            claims.State.ABANDONED,
            claims.State.LAPSED,
            claims.State.REVERSED,
            claims.State.REPAYING,
            claims.State.REPAID,
        )
    ),
    "authorisation": frozenset((authorisations.State.CANCELLED, authorisations.State.EXPIRED)),
}


class Acts:
    """A member at its vault and its node, with a key."""

    def __init__(
        self, vault: Vault, node: NodeClient, sender: Sender, *, wait_s: int, say: Say
    ) -> None:
        self.vault, self._node, self._sender = vault, node, sender
        self._wait_s, self._say = wait_s, say

    async def make(self, call: Call) -> CallOutcome:
        """Make a call and return what became of it; done before, by us, it is done."""
        (outcome,) = await once(
            self.vault, self._node, self._sender, [call], wait_s=self._wait_s, say=self._say
        )
        kind = _WRONG_STATE.get(Refusal(outcome.code)) if outcome.code else None
        return APPLIED if kind is not None and await self._was_last(kind, call) else outcome

    async def give_up(self, call: GivingUp) -> CallOutcome:
        """Make a call that frees marks, and let other claims of ours use them."""
        outcome = await self.make(call)
        kind, id_ = "claim", b""
        type_: type[ClaimRecord] = ClaimRecord
        if isinstance(call, AuthorisationCancel):
            kind, id_, type_ = "authorisation", call.authorisation, AuthorisationRecord
        else:
            id_ = call.claim
        if outcome.code and _WRONG_STATE.get(Refusal(outcome.code)) == kind:
            is_free = any(each in _FREE[kind] for each in outcome.evidence[:1])
            outcome = APPLIED if is_free else outcome
        if outcome.code == 0:
            with self.vault.changes():
                found = find(self.vault, type_, id_.hex())
                if found is not None:
                    lots.release(self.vault, found[1])
                    found[1].progress = Progress.ENDED
                    update(self.vault, *found)
        return outcome

    async def supersede(self, name: str, request: ClaimRequest, payer: bytes) -> CallOutcome:
        """Put the document of `request` in the place of a claim's, which proves nothing then.

        Raises `Refused` where more than a code, a date or a reference is another: payer, leg and
        amounts stay.
        """
        number, record = lots.load(self.vault, name)
        if record.claim is None:
            raise Refused("claim", f"{record.reference} is not on the chain yet")
        asked = (request.reference, request.leg, request.lenses_cents, request.frame_cents, payer)
        kept = (record.reference, record.leg, record.lenses_cents, record.frame_cents, record.payer)
        if asked != kept:
            raise Refused(
                "claim",
                "a rectified document keeps reference, payer, leg and amounts",
                hint=f"cancel it, and submit another: depoli claim cancel {record.reference}",
            )
        prescription = lots.prescription_of(self.vault, record)
        document = documents.issue_claim(request, prescription.commitment, self._sender.key)
        outcome = await self.make(ClaimSupersede(record.claim, document.commitment))
        if outcome.code == 0:
            record.document, record.commitment = str(document), document.commitment
            record.codes, record.invoice_date = request.codes, request.invoice_date
            record.insured, record.authorisation = request.insured, request.authorisation
            record.is_rectified = True
            with self.vault.changes():
                update(self.vault, number, record)
        return outcome

    async def overturn(self, claim: bytes, cents: int | None) -> CallOutcome:
        """Give way in a dispute; with `cents`, accept so much, and more than before."""
        if cents is None:
            return await self.make(ClaimOverturn(claim, None))
        own = self._offer(claim, cents)
        outcome = await self.make(ClaimOverturn(claim, own.commitment()))
        self._conclude(claim, own, (await self._node.claim(claim)).accepted_amount)
        return outcome

    async def grant(self, authorisation: bytes, cents: int | None, until: int) -> CallOutcome:
        """Agree beforehand, or for `cents` only; what was disclosed must have been verified."""
        self._received(authorisation)
        if cents is None:
            return await self.make(AuthorisationGrant(authorisation, None, until))
        own = self._offer(authorisation, cents)
        outcome = await self.make(AuthorisationGrant(authorisation, own.commitment(), until))
        view = await authorisation_of(self._node, authorisation)
        self._conclude(authorisation, own, view.granted_amount)
        return outcome

    async def ask(
        self, authorisation: bytes, kind: Kind, control: int = questions.CONTROL
    ) -> tuple[CallOutcome, Asked]:
        """Ask one of the two questions; return it for the other side, to be sealed.

        Of a thousand renewals that are attested, `control` are looked into (contracts.control).
        """
        asked = questions.new_question(authorisation, kind, control)
        name = questions.name_of_record(asked)
        found = find(self.vault, QuestionRecord, name)
        if found is not None:
            asked = asked_of(found[1])
        else:
            with self.vault.changes():
                record = QuestionRecord(
                    authorisation=authorisation, question=asked.question.encode(), control=control
                )
                keep(self.vault, record, name)
        call = AuthorisationAsk(authorisation, asked.question.commitment())
        return await self.make(call), asked

    async def answer(
        self, asked: Asked, text: str, proof: bytes | None = None
    ) -> tuple[CallOutcome, Asked]:
        """Answer a question that was put to us; the same again is the same answer."""
        name = questions.name_of_record(asked)
        given = questions.new_answer(asked, text, proof)
        reply = given.answer
        assert reply is not None  # it was just made
        with self.vault.changes():
            found = find(self.vault, QuestionRecord, name)
            before = None if found is None else asked_of(found[1])
            if before is not None and before.answer is not None:
                if before.answer.value != reply.value:
                    raise Refused(
                        "answer", f"{questions.said(before.answer)} was answered before, for good"
                    )
                given, reply = before, before.answer
            else:
                record = QuestionRecord(
                    authorisation=asked.authorisation,
                    question=asked.question.encode(),
                    answer=reply.encode(),
                    proof=proof,
                    control=asked.control,
                )
                if found is None:
                    keep(self.vault, record, name)
                else:  # what was asked came by post, and is kept
                    update(self.vault, found[0], record)
        call = AuthorisationAnswer(asked.authorisation, reply.commitment())
        return await self.make(call), given

    def statement(self, id_: bytes, *, of_claim: bool) -> Statement:
        """Return what opens the amount of our own, for the other side; raise `NotFound`."""
        received = self._received(id_)[1]
        if received.accepted is None:
            raise NotFound("nothing was accepted in part here")
        format_ = ACCEPTANCE if of_claim else AGREEMENT
        opening = decode(received.accepted, Opening)
        return Statement(format_, id_, self._sender.member, received.submitter, opening)

    def _offer(self, id_: bytes, cents: int) -> Opening:
        """Return the opening of an amount of our own, which is kept before it is told."""
        with self.vault.changes():
            number, received = self._received(id_)
            own = offered_opening(received, cents)
            received.offered = encode(own)
            update(self.vault, number, received)
        return own

    def _conclude(self, id_: bytes, own: Opening, on_chain: str | None) -> None:
        """Keep what we offered as accepted where the chain has it, and forget it where not."""
        with self.vault.changes():
            number, received = self._received(id_)
            if on_chain == own.commitment().hex():
                received.accepted = encode(own)
            received.offered = None
            update(self.vault, number, received)

    def _received(self, id_: bytes) -> tuple[int, ReceivedRecord]:
        found = find(self.vault, ReceivedRecord, id_.hex())
        if found is None:
            raise Refused(
                "disclosure",
                f"none of {id_.hex()} was verified here",
                hint="depoli disclosure verify FILE, with the file that the shop handed over",
            )
        return found

    async def _was_last(self, kind: str, call: Call) -> bool:
        """Return whether the last thing that happened is this call of ours."""
        id_: bytes = getattr(call, "commitment" if kind == "prescription" else kind)
        view = await explanation(self._node, kind, id_)
        applied = [event for event in view.history if event.outcome.code == 0]
        last = applied[-1] if applied else None
        ours = self._sender.member.hex()
        return last is not None and (last.call, last.sender) == (type(call).__name__, ours)


def asked_of(record: QuestionRecord) -> Asked:
    """Return what the vault keeps of a question."""
    question = parse_question(record.question)
    answer = None if record.answer is None else parse_answer(question, record.answer)
    return Asked(record.authorisation, question, answer, record.proof, record.control)
