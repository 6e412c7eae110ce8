"""The model of prescriptions, of one-use marks, and of prior agreements."""

from dataclasses import dataclass, field

from contracts.authorisation import State as AgreementState
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
    ClaimSubmit,
    Mark,
    MarkLock,
    PrescriptionCommit,
    PrescriptionRevoke,
    PrescriptionSupersede,
)
from contracts.commitment import lock_of
from contracts.errors import Refusal
from contracts.prescription import State as PrescriptionState
from contracts.registry import Family
from tests.contracts.machine.book import Now, Verdict, Why, wrong_state
from tests.contracts.machine.seats import Seats

A, P = AgreementState, PrescriptionState
WAITS = (A.REQUESTED, A.INFO_REQUESTED, A.UNDER_REVIEW)  # for a decision
GRANTED = (A.GRANTED, A.GRANTED_IN_PART)
OVER = (A.CONSUMED, A.CANCELLED, A.EXPIRED)


@dataclass
class Agreement:
    """A prior agreement."""

    call: AuthorisationRequest
    shop: bytes
    state: AgreementState = A.REQUESTED
    until: int | None = None
    asked: int = 0
    is_automatic: bool = False
    decided_by: bytes | None = None

    def move(self, state: AgreementState, until: int | None = None) -> None:
        self.state, self.until = state, until

    def stands(self, time: int) -> AgreementState:
        return A.EXPIRED if self.until is not None and time > self.until else self.state

    def marks(self) -> list[bytes]:
        return [each.mark for each in self.call.marks]


@dataclass
class Agreeing(Seats):
    """Prescriptions, marks, agreements."""

    prescriptions: dict[tuple[bytes, bytes], tuple[PrescriptionState, int]] = field(
        default_factory=dict
    )
    locks: dict[bytes, int] = field(default_factory=dict)
    held: dict[bytes, tuple[bytes, int | None]] = field(default_factory=dict)
    agreements: dict[bytes, Agreement] = field(default_factory=dict)
    points: set[bytes] = field(default_factory=set)  # all else that is used as one is none

    # --- prescriptions --------------------------------------------------------------------------

    def prescription_commit(self, now: Now, call: PrescriptionCommit) -> Verdict:
        why: Why = self._why_not_new(now.sender, call.commitment)
        if self.members[now.sender].family not in (Family.OPTICIAN, Family.PRESCRIBER):
            why[Refusal.SENDER_NOT_ELIGIBLE] = ()
        return Verdict(why, lambda: self._commit(now, call.commitment))

    def prescription_supersede(self, now: Now, call: PrescriptionSupersede) -> Verdict:
        why = self._why_not_in_force(now.sender, call.commitment)
        why |= self._why_not_new(now.sender, call.successor)

        def then() -> None:
            self._undo(now, call.commitment, P.SUPERSEDED)
            self._commit(now, call.successor)

        return Verdict(why, then)

    def prescription_revoke(self, now: Now, call: PrescriptionRevoke) -> Verdict:
        why = self._why_not_in_force(now.sender, call.commitment)
        return Verdict(why, lambda: self._undo(now, call.commitment, P.REVOKED))

    def _commit(self, now: Now, commitment: bytes) -> None:
        self.prescriptions[now.sender, commitment] = P.COMMITTED, now.height

    def _undo(self, now: Now, commitment: bytes, state: PrescriptionState) -> None:
        _, height = self.prescriptions[now.sender, commitment]
        self.prescriptions[now.sender, commitment] = state, height

    def _why_not_new(self, member: bytes, commitment: bytes) -> Why:
        found = self.prescriptions.get((member, commitment))
        return {} if found is None else {Refusal.PRESCRIPTION_ALREADY_COMMITTED: (found[1],)}

    def _why_not_in_force(self, member: bytes, commitment: bytes) -> Why:
        found = self.prescriptions.get((member, commitment))
        if found is None:
            return {Refusal.PRESCRIPTION_NOT_COMMITTED: ()}
        if found[0] is not P.COMMITTED:
            return wrong_state(Refusal.PRESCRIPTION_NOT_IN_FORCE, found[0])
        return {}

    # --- marks ----------------------------------------------------------------------------------

    def mark_lock(self, now: Now, call: MarkLock) -> Verdict:
        why: Why = {}
        if self.members[now.sender].family is not Family.OPTICIAN:
            why[Refusal.SENDER_NOT_ELIGIBLE] = ()
        if call.lock in self.locks:
            why[Refusal.MARK_ALREADY_LOCKED] = (self.locks[call.lock],)

        def then() -> None:
            self.locks[call.lock] = now.height

        return Verdict(why, then)

    def lock_of(self, member: bytes, mark: bytes) -> bytes:
        return lock_of(self.chain_id, member, mark)

    def holder(self, mark: bytes, time: int) -> bytes | None:
        holder, until = self.held.get(mark, (None, None))
        return holder if until is None or time <= until else None

    def hold(self, marks: list[bytes], holder: bytes, until: int | None) -> None:
        for mark in marks:
            self.held[mark] = holder, until

    def free(self, marks: list[bytes]) -> None:
        for mark in marks:
            del self.held[mark]

    def unlock(self, now: Now, marks: tuple[Mark, ...]) -> None:
        for each in marks:
            del self.locks[self.lock_of(now.sender, each.mark)]

    def holders(self, time: int) -> dict[bytes, list[bytes]]:
        """Return by mark what is alive and has it; at most one may."""
        found: dict[bytes, list[bytes]] = {}
        for id_, each in self.agreements.items():
            if each.stands(time) not in OVER:
                for mark in each.marks():
                    found.setdefault(mark, []).append(id_)
        return found

    def why_no_marks(self, now: Now, marks: tuple[Mark, ...]) -> Why:
        """Return why these marks cannot be used: that one is used, only to who locked it before."""
        for index, each in enumerate(marks):
            height = self.locks.get(self.lock_of(now.sender, each.mark))
            if height is None:
                return {Refusal.MARK_NOT_LOCKED: (index,)}
            if height == now.height:
                return {Refusal.MARK_LOCKED_TOO_LATE: (index,)}
        if any(self.holder(each.mark, now.time) for each in marks):
            return {Refusal.MARK_ALREADY_USED: ()}
        return {}

    # --- prior agreements -----------------------------------------------------------------------

    def why_no_point(self, amount: bytes | None) -> Why:
        is_one = amount is None or amount in self.points
        return {} if is_one else {Refusal.AMOUNT_NOT_A_POINT: ()}

    def why_no_person(self, now: Now, decided_by: bytes | None) -> Why:
        why: Why = {}
        if not now.is_human:
            why[Refusal.PERSON_NEEDED] = ()
        if now.key == decided_by:
            why[Refusal.OTHER_PERSON_NEEDED] = ()
        return why

    def why_not_ask(self, now: Now, call: ClaimSubmit | AuthorisationRequest) -> Why:
        why = self._why_not_in_force(now.sender, call.prescription)
        why |= self.why_no_point(call.amount)
        if self.members[now.sender].family is not Family.OPTICIAN:
            why[Refusal.SENDER_NOT_ELIGIBLE] = ()
        payer = self.admitted(call.payer)
        if payer is None:
            why[Refusal.PAYER_UNKNOWN] = ()
        elif payer.family not in (Family.INSURER, Family.OPERATOR):
            why[Refusal.PAYER_NOT_ELIGIBLE] = ()
        return why

    def why_not_on_agreement(self, now: Now, call: ClaimSubmit) -> Why:
        found = self.agreements.get(call.authorisation or b"")
        if found is None:
            return {Refusal.AUTHORISATION_UNKNOWN: ()}
        why: Why = {}
        if found.shop != now.sender:
            why[Refusal.AUTHORISATION_NOT_YOURS] = ()
        if found.stands(now.time) not in GRANTED:
            why[Refusal.AUTHORISATION_IN_WRONG_STATE] = (found.stands(now.time),)
        asked = found.call
        same = [
            call.payer == asked.payer,
            call.leg == asked.leg,
            call.prescription == asked.prescription,
            call.marks == asked.marks,
        ]
        if not all(same):
            why[Refusal.AUTHORISATION_DIFFERS] = (same.index(False),)
        return why

    def authorisation_request(self, now: Now, call: AuthorisationRequest) -> Verdict:
        why = self.why_not_ask(now, call) | self.why_no_marks(now, call.marks)

        def then() -> None:
            self.unlock(now, call.marks)
            self.agreements[now.made] = Agreement(call, now.sender)
            self._stay(now, now.made, A.REQUESTED)

        return Verdict(why, then, frozenset((call.payer,)))

    def _stay(self, now: Now, id_: bytes, state: AgreementState) -> None:
        """Let it wait, its marks held as long as it could at most be valid."""
        self._keep(id_, state, now.time + self.parameters.authorisation_validity_s)

    def _keep(self, id_: bytes, state: AgreementState, until: int | None) -> None:
        found = self.agreements[id_]
        found.move(state, until)
        self.hold(found.marks(), id_, until)

    def _of(
        self, now: Now, id_: bytes, states: tuple[AgreementState, ...], *, by_shop: bool
    ) -> tuple[Agreement, Why] | None:
        found = self.agreements.get(id_)
        if found is None:
            return None
        why: Why = {}
        if now.sender != (found.shop if by_shop else found.call.payer):
            why[Refusal.AUTHORISATION_NOT_YOURS] = ()
        state = found.stands(now.time)
        if state not in states:
            why[Refusal.AUTHORISATION_IN_WRONG_STATE] = (state,)
        return found, why

    def _both_of(self, now: Now, found: Agreement) -> frozenset[bytes]:
        return frozenset((found.shop, found.call.payer)) - {now.sender}

    def authorisation_ask(self, now: Now, call: AuthorisationAsk) -> Verdict:
        known = self._of(now, call.authorisation, (A.REQUESTED,), by_shop=False)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known
        if found.asked == 2:
            why[Refusal.TOO_MANY_QUESTIONS] = (2,)

        def then() -> None:
            found.asked += 1
            self._stay(now, call.authorisation, A.INFO_REQUESTED)

        return Verdict(why, then, self._both_of(now, found))

    def authorisation_answer(self, now: Now, call: AuthorisationAnswer) -> Verdict:
        known = self._of(now, call.authorisation, (A.INFO_REQUESTED,), by_shop=True)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known
        then = lambda: self._stay(now, call.authorisation, A.REQUESTED)  # noqa: E731
        return Verdict(why, then, self._both_of(now, found))

    def authorisation_grant(self, now: Now, call: AuthorisationGrant) -> Verdict:
        known = self._of(now, call.authorisation, WAITS, by_shop=False)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known
        why |= self.why_no_point(call.amount)
        latest = now.time + self.parameters.authorisation_validity_s
        if not now.time <= call.valid_until <= latest:
            why[Refusal.VALIDITY_NOT_POSSIBLE] = (now.time, latest)
        if found.state is A.UNDER_REVIEW:
            why |= self.why_no_person(now, found.decided_by)

        def then() -> None:
            found.is_automatic, found.decided_by = False, now.key
            state = A.GRANTED if call.amount is None else A.GRANTED_IN_PART
            self._keep(call.authorisation, state, call.valid_until)

        return Verdict(why, then, self._both_of(now, found))

    def authorisation_refuse(self, now: Now, call: AuthorisationRefuse) -> Verdict:
        known = self._of(now, call.authorisation, WAITS, by_shop=False)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known
        if found.state is A.UNDER_REVIEW:
            why |= self.why_no_person(now, found.decided_by)
            if call.automatic:
                why[Refusal.PERSON_NEEDED] = ()

        def then() -> None:
            found.is_automatic, found.decided_by = call.automatic, now.key
            until = now.time + self.parameters.dispute_window_s
            self._keep(call.authorisation, A.REFUSED, until)

        return Verdict(why, then, self._both_of(now, found))

    def authorisation_review(self, now: Now, call: AuthorisationReview) -> Verdict:
        known = self._of(now, call.authorisation, (A.REFUSED,), by_shop=True)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known
        if not found.is_automatic:
            why[Refusal.DECIDED_BY_A_PERSON] = ()
        then = lambda: self._keep(call.authorisation, A.UNDER_REVIEW, None)  # noqa: E731
        return Verdict(why, then, self._both_of(now, found))

    def authorisation_cancel(self, now: Now, call: AuthorisationCancel) -> Verdict:
        states = (*WAITS, *GRANTED, A.REFUSED)
        known = self._of(now, call.authorisation, states, by_shop=True)
        if known is None:
            return Verdict({Refusal.AUTHORISATION_UNKNOWN: ()}, lambda: None)
        found, why = known

        def then() -> None:
            found.move(A.CANCELLED)
            self.free(found.marks())

        return Verdict(why, then, self._both_of(now, found))
