"""The model of claims: what either side may say of one, in which state, until when."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from contracts import batch
from contracts.authorisation import State as Agreed
from contracts.calls import (
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
)
from contracts.claim import State
from contracts.errors import Refusal
from tests.contracts.machine.agreeing import Agreeing
from tests.contracts.machine.book import Now, Verdict, Why, in_time, wrong_state


class Side(IntEnum):
    """Who it is to a claim."""

    SHOP = 1
    PAYER = 2


Cells: TypeAlias = dict[tuple[State, Side], object]
S, SHOP, PAYER, G = State, Side.SHOP, Side.PAYER, ClaimGround

ACCEPTED = (S.ACCEPTED, S.ACCEPTED_IN_PART)
DEAD = (S.CANCELLED, S.ABANDONED, S.RESUBMITTED, S.LAPSED, S.REVERSED, S.REPAYING, S.REPAID)
# (state, side) -> grounds on which that side may say there that the other is wrong
DISPUTES: dict[tuple[State, Side], tuple[ClaimGround, ...]] = {
    (S.REJECTED, SHOP): (G.REJECTION,),
    (S.ACCEPTED, SHOP): (G.PAYMENT_NOT_FOUND,),
    (S.ACCEPTED, PAYER): (G.ACCEPTANCE,),
    (S.ACCEPTED_IN_PART, SHOP): (G.AMOUNT, G.PAYMENT_NOT_FOUND),
    (S.ACCEPTED_IN_PART, PAYER): (G.ACCEPTANCE,),
    (S.SETTLED, SHOP): (G.PAYMENT_NOT_FOUND,),
    (S.RECOVERY_ASKED, SHOP): (G.RECOVERY,),
}
DISPUTED = {
    G.REJECTION: S.REJECTION_DISPUTED,
    G.AMOUNT: S.AMOUNT_DISPUTED,
    G.PAYMENT_NOT_FOUND: S.PAYMENT_DISPUTED,
    G.ACCEPTANCE: S.ACCEPTANCE_DISPUTED,
    G.RECOVERY: S.RECOVERY_DISPUTED,
}
GROUND = {state: ground for ground, state in DISPUTED.items()}
ACCUSED = dict.fromkeys(GROUND, PAYER) | {S.ACCEPTANCE_DISPUTED: SHOP}
ANSWERS: Cells = dict.fromkeys(ACCUSED.items())
TAKEN_BACK: Cells = dict.fromkeys(
    (state, SHOP if side is PAYER else PAYER) for state, side in ACCUSED.items()
)
WITHDRAWALS: Cells = TAKEN_BACK | {(S.RECOVERY_ASKED, PAYER): None}


@dataclass
class Batch:
    """A settlement, as far as claims know it."""

    state: batch.State
    since: int


@dataclass
class Claimed:
    """A claim."""

    call: ClaimSubmit
    shop: bytes
    since: int
    state: State = State.SUBMITTED
    document: bytes = b""
    accepted: bytes | None = None  # the payer's own amount
    until: int = 0
    is_automatic: bool = False
    decided_by: bytes | None = None
    disputed: set[ClaimGround] = field(default_factory=set)
    settlement: bytes | None = None
    owed: int | None = None  # since when

    @property
    def due(self) -> bytes:
        return self.accepted or self.call.amount

    @property
    def accepted_state(self) -> State:
        return S.ACCEPTED if self.accepted is None else S.ACCEPTED_IN_PART

    @property
    def awaits_person(self) -> bool:
        if self.state is S.REJECTION_DISPUTED:
            return self.is_automatic
        return self.state is S.AMOUNT_DISPUTED

    def marks(self) -> list[bytes]:
        return [each.mark for each in self.call.marks]


@dataclass
class Claiming(Agreeing):
    """Claims."""

    claims: dict[bytes, Claimed] = field(default_factory=dict)
    batches: dict[bytes, Batch] = field(default_factory=dict)

    def claim_state(self, claim: Claimed, time: int) -> State:
        """Return where a claim stands at a time."""
        if claim.state is S.REJECTED and time > claim.until:
            return S.LAPSED
        if claim.state in (S.BATCHED, S.REPAYING):
            assert claim.settlement is not None
            pays = claim.state is S.BATCHED
            match self.batches[claim.settlement].state:
                case batch.State.CONFIRMED:
                    return S.SETTLED if pays else S.REPAID
                case batch.State.CANCELLED:
                    return claim.accepted_state if pays else S.REVERSED
                case _:
                    pass
        return claim.state

    def was_settled(self, claim: Claimed) -> bool:
        found = self.batches.get(claim.settlement or b"")
        return found is not None and found.state is batch.State.CONFIRMED

    def before_dispute(self, claim: Claimed) -> State:
        return S.SETTLED if self.was_settled(claim) else claim.accepted_state

    def side(self, sender: bytes, claim: Claimed) -> Side | None:
        return {claim.shop: SHOP, claim.call.payer: PAYER}.get(sender)

    def holders(self, time: int) -> dict[bytes, list[bytes]]:
        found = super().holders(time)
        for id_, claim in self.claims.items():
            if self.claim_state(claim, time) not in DEAD:
                for mark in claim.marks():
                    found.setdefault(mark, []).append(id_)
        return found

    # --- submitted ------------------------------------------------------------------------------

    def claim_submit(self, now: Now, call: ClaimSubmit) -> Verdict:
        why = self.why_not_ask(now, call)
        if call.prior is not None:
            why |= self._why_not_again(now, call)
        elif call.authorisation is not None:
            why |= self.why_not_on_agreement(now, call)
        else:
            why |= self.why_no_marks(now, call.marks)

        def then() -> None:
            if call.prior is not None:
                self._move(now, self.claims[call.prior], S.RESUBMITTED)
            elif call.authorisation is not None:
                self.agreements[call.authorisation].move(Agreed.CONSUMED)
            else:
                self.unlock(now, call.marks)
            new = Claimed(call, now.sender, now.time, document=call.document)
            self.claims[now.made] = new
            self.hold(new.marks(), now.made, None)

        return Verdict(why, then, frozenset((call.payer,)))

    def _why_not_again(self, now: Now, call: ClaimSubmit) -> Why:
        prior = self.claims.get(call.prior or b"")
        if prior is None or prior.shop != now.sender:
            return {Refusal.PRIOR_CLAIM_UNKNOWN: ()}
        state = self.claim_state(prior, now.time)
        if state is not S.REJECTED:
            return wrong_state(Refusal.PRIOR_CLAIM_IN_WRONG_STATE, state)
        before = prior.call
        same = [
            call.payer == before.payer,
            call.leg == before.leg,
            call.marks == before.marks,
            call.authorisation == before.authorisation,
        ]
        return {} if all(same) else {Refusal.PRIOR_CLAIM_DIFFERS: (same.index(False),)}

    # --- what either side may say ---------------------------------------------------------------

    def _may(
        self, now: Now, id_: bytes, cells: Cells
    ) -> tuple[Claimed, Side | None, State, Why] | None:
        """Return a claim, who the sender is to it, where it stands, and why it may not be so."""
        claim = self.claims.get(id_)
        if claim is None:
            return None
        side, state = self.side(now.sender, claim), self.claim_state(claim, now.time)
        why: Why = {}
        if all(who is not side for _, who in cells):
            why[Refusal.CLAIM_NOT_YOURS] = ()
        if all(where is not state for where, _ in cells):
            why[Refusal.CLAIM_IN_WRONG_STATE] = (state,)
        elif side is None or (state, side) not in cells:
            why[Refusal.CLAIM_NOT_YOURS] = ()
        return claim, side, state, why

    def _move(self, now: Now, claim: Claimed, state: State) -> None:
        claim.state, claim.since = state, now.time

    def _free(self, now: Now, claim: Claimed, state: State) -> None:
        self._move(now, claim, state)
        if state is S.REVERSED:
            claim.owed = now.time
        self.free(claim.marks())

    def _open_window(self, now: Now, claim: Claimed) -> None:
        claim.until = now.time + self.parameters.dispute_window_s

    def _reject(self, now: Now, id_: bytes, claim: Claimed) -> None:
        self._move(now, claim, S.REJECTED)
        self._open_window(now, claim)
        self.hold(claim.marks(), id_, claim.until)

    def _accept(self, now: Now, claim: Claimed, amount: bytes | None) -> None:
        claim.accepted, claim.is_automatic, claim.decided_by = amount, False, now.key
        claim.owed = now.time
        claim.disputed.clear()
        self._move(now, claim, claim.accepted_state)
        self._open_window(now, claim)

    def _simple(self, now: Now, id_: bytes, cells: Cells, after: State, *, frees: bool) -> Verdict:
        found = self._may(now, id_, cells)
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, _, why = found
        do = self._free if frees else self._move
        return self._both(why, lambda: do(now, claim, after), now, claim)

    def _both(self, why: Why, then: object, now: Now, claim: Claimed) -> Verdict:
        assert callable(then)
        return Verdict(why, then, frozenset((claim.shop, claim.call.payer)) - {now.sender})

    def claim_accept(self, now: Now, call: ClaimAccept) -> Verdict:
        found = self._may(now, call.claim, {(S.SUBMITTED, PAYER): None})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, _, why = found
        why |= self.why_no_point(call.amount)
        return self._both(why, lambda: self._accept(now, claim, call.amount), now, claim)

    def claim_reject(self, now: Now, call: ClaimReject) -> Verdict:
        found = self._may(now, call.claim, {(S.SUBMITTED, PAYER): None})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, _, why = found

        def then() -> None:
            claim.is_automatic, claim.decided_by = call.automatic, now.key
            self._reject(now, call.claim, claim)

        return self._both(why, then, now, claim)

    def claim_cancel(self, now: Now, call: ClaimCancel) -> Verdict:
        cells: Cells = dict.fromkeys((state, SHOP) for state in (S.SUBMITTED, *ACCEPTED))
        return self._simple(now, call.claim, cells, S.CANCELLED, frees=True)

    def claim_abandon(self, now: Now, call: ClaimAbandon) -> Verdict:
        cells: Cells = {(S.REJECTED, SHOP): None}
        return self._simple(now, call.claim, cells, S.ABANDONED, frees=True)

    def claim_reverse(self, now: Now, call: ClaimReverse) -> Verdict:
        cells: Cells = {(S.SETTLED, SHOP): None, (S.CLOSED, SHOP): None}
        return self._simple(now, call.claim, cells, S.REVERSED, frees=True)

    def claim_concede(self, now: Now, call: ClaimConcede) -> Verdict:
        cells: Cells = {(S.RECOVERY_ASKED, SHOP): None}
        return self._simple(now, call.claim, cells, S.REVERSED, frees=True)

    def claim_recover(self, now: Now, call: ClaimRecover) -> Verdict:
        found = self._may(now, call.claim, {(S.SETTLED, PAYER): None})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, _, why = found

        def then() -> None:
            claim.disputed.discard(G.RECOVERY)
            self._move(now, claim, S.RECOVERY_ASKED)

        return self._both(why, then, now, claim)

    def claim_close(self, now: Now, call: ClaimClose) -> Verdict:
        found = self._may(now, call.claim, {(S.SETTLED, PAYER): None})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, state, why = found
        if state is S.SETTLED:
            why |= in_time(now.time, opens=self.payment_window(claim) + 1)
        return self._both(why, lambda: self._move(now, claim, S.CLOSED), now, claim)

    def claim_supersede(self, now: Now, call: ClaimSupersede) -> Verdict:
        found = self._may(now, call.claim, {(S.SUBMITTED, SHOP): None})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, _, why = found
        if claim.document == call.document:
            why[Refusal.DOCUMENT_UNCHANGED] = ()

        def then() -> None:
            claim.document = call.document

        return self._both(why, then, now, claim)

    def payment_window(self, claim: Claimed) -> int:
        assert claim.settlement is not None
        return self.batches[claim.settlement].since + self.parameters.dispute_window_s

    # --- disputes -------------------------------------------------------------------------------

    def claim_dispute(self, now: Now, call: ClaimDispute) -> Verdict:
        found = self._may(now, call.claim, {**DISPUTES})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, side, state, why = found
        if not why:
            assert side is not None
            grounds = DISPUTES[state, side]
            if call.ground not in grounds:
                why[Refusal.GROUND_NOT_FITTING] = (grounds[-1],)
            ground = call.ground if call.ground in grounds else grounds[-1]
            why |= self._out_of_time(now, claim, state, ground)
            if call.ground in claim.disputed:
                why[Refusal.DISPUTED_BEFORE] = ()

        def then() -> None:
            claim.disputed.add(call.ground)
            self._move(now, claim, DISPUTED[call.ground])
            if call.ground is G.REJECTION:
                self.hold(claim.marks(), call.claim, None)

        return self._both(why, then, now, claim)

    def _out_of_time(self, now: Now, claim: Claimed, state: State, ground: ClaimGround) -> Why:
        if ground is G.RECOVERY:
            return {}
        if ground is not G.PAYMENT_NOT_FOUND:
            return in_time(now.time, closes=claim.until)
        if state is S.SETTLED:
            return in_time(now.time, closes=self.payment_window(claim))
        assert claim.owed is not None
        return in_time(now.time, opens=claim.owed + self.parameters.settlement_due_s)

    def claim_uphold(self, now: Now, call: ClaimUphold) -> Verdict:
        found = self._may(now, call.claim, {**ANSWERS})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, state, why = found
        if not why and claim.awaits_person:
            why |= self.why_no_person(now, claim.decided_by)

        def then() -> None:
            match state:
                case S.REJECTION_DISPUTED:
                    claim.is_automatic, claim.decided_by = False, now.key
                    self._reject(now, call.claim, claim)
                case S.RECOVERY_DISPUTED:
                    self._move(now, claim, S.RECOVERY_ASKED)
                case _:
                    self._move(now, claim, self.before_dispute(claim))

        return self._both(why, then, now, claim)

    def claim_overturn(self, now: Now, call: ClaimOverturn) -> Verdict:
        found = self._may(now, call.claim, {**ANSWERS})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, state, why = found
        if not why:
            if claim.awaits_person:
                why |= self.why_no_person(now, claim.decided_by)
            if state in (S.REJECTION_DISPUTED, S.AMOUNT_DISPUTED):
                why |= self.why_no_point(call.amount)
            elif call.amount is not None:
                why[Refusal.AMOUNT_NOT_WANTED] = ()

        def then() -> None:
            match state:
                case S.ACCEPTANCE_DISPUTED:
                    self._free(now, claim, S.CANCELLED)
                case S.PAYMENT_DISPUTED:
                    self._move(now, claim, self.before_dispute(claim))
                    claim.disputed.clear()
                case S.RECOVERY_DISPUTED:
                    self._move(now, claim, S.SETTLED)
                case _:
                    self._accept(now, claim, call.amount)

        return self._both(why, then, now, claim)

    def claim_withdraw(self, now: Now, call: ClaimWithdraw) -> Verdict:
        found = self._may(now, call.claim, {**WITHDRAWALS})
        if found is None:
            return Verdict({Refusal.CLAIM_UNKNOWN: ()}, lambda: None)
        claim, _, state, why = found

        def then() -> None:
            match state:
                case S.REJECTION_DISPUTED:
                    self._reject(now, call.claim, claim)
                case S.RECOVERY_DISPUTED:
                    self._move(now, claim, S.RECOVERY_ASKED)
                case _:
                    self._move(now, claim, self.before_dispute(claim))

        return self._both(why, then, now, claim)
