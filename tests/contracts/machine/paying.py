"""The model of settlements: which claims are in which, for what sum, and what was paid."""

from collections import Counter
from dataclasses import dataclass, field

from contracts.batch import State
from contracts.calls import (
    ClaimGround,
    Direction,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.claim import State as ClaimState
from contracts.commitment import Opening, sum_openings
from contracts.errors import Refusal
from tests.contracts.machine.book import Now, Verdict, Why, in_time
from tests.contracts.machine.claiming import ACCEPTED, Claiming

TO_ANSWER = (State.ANNOUNCED, State.DISPUTED, State.UPHELD)


@dataclass
class Settled:
    """A settlement."""

    payer: bytes
    beneficiary: bytes
    direction: Direction
    since: int
    state: State = State.OPEN
    claims: dict[bytes, bytes] = field(default_factory=dict)  # -> what was due of it then

    @property
    def pays(self) -> bool:
        return self.direction is Direction.PAYMENT


@dataclass
class Paying(Claiming):
    """Settlements."""

    batches: dict[bytes, Settled] = field(default_factory=dict)  # type: ignore[assignment]
    openings: dict[bytes, Opening] = field(default_factory=dict)
    paid: Counter[bytes] = field(default_factory=Counter)  # claims
    repaid: Counter[bytes] = field(default_factory=Counter)

    def total(self, found: Settled) -> Opening:
        """Return what is due of all that is in it, as the two who know amounts know it."""
        return sum_openings([self.openings[each] for each in found.claims.values()])

    def settlement_open(self, now: Now, call: SettlementOpen) -> Verdict:
        why: Why = {}
        if self.admitted(call.beneficiary) is None:
            why[Refusal.BENEFICIARY_UNKNOWN] = ()
        new = Settled(now.sender, call.beneficiary, call.direction, now.time)

        def then() -> None:
            self.batches[now.made] = new

        return Verdict(why, then, frozenset((call.beneficiary,)) - {now.sender})

    def _settlement(
        self, now: Now, id_: bytes, states: tuple[State, ...], *, by_payer: bool
    ) -> tuple[Settled, Why] | None:
        found = self.batches.get(id_)
        if found is None:
            return None
        why: Why = {}
        if now.sender != (found.payer if by_payer else found.beneficiary):
            why[Refusal.SETTLEMENT_NOT_YOURS] = ()
        if found.state not in states:
            why[Refusal.SETTLEMENT_IN_WRONG_STATE] = (found.state,)
        return found, why

    def _become(
        self,
        now: Now,
        id_: bytes,
        after: State,
        states: tuple[State, ...],
        *,
        by_payer: bool,
    ) -> Verdict:
        known = self._settlement(now, id_, states, by_payer=by_payer)
        if known is None:
            return Verdict({Refusal.SETTLEMENT_UNKNOWN: ()}, lambda: None)
        found, why = known

        def then() -> None:
            found.state, found.since = after, now.time
            if after is State.CONFIRMED:
                (self.paid if found.pays else self.repaid).update(list(found.claims))

        return Verdict(why, then, frozenset((found.payer, found.beneficiary)) - {now.sender})

    def settlement_announce(self, now: Now, call: SettlementAnnounce) -> Verdict:
        verdict = self._become(now, call.settlement, State.ANNOUNCED, (State.OPEN,), by_payer=True)
        found = self.batches.get(call.settlement)
        if found is not None and not found.claims:
            verdict.why[Refusal.SETTLEMENT_EMPTY] = ()
        elif found is not None and call.sum != self.total(found).commitment():
            verdict.why[Refusal.SUM_DIFFERS] = ()
        return verdict

    def settlement_confirm(self, now: Now, call: SettlementConfirm) -> Verdict:
        return self._become(now, call.settlement, State.CONFIRMED, TO_ANSWER, by_payer=False)

    def settlement_dispute(self, now: Now, call: SettlementDispute) -> Verdict:
        states = (State.ANNOUNCED,)
        return self._become(now, call.settlement, State.DISPUTED, states, by_payer=False)

    def settlement_insist(self, now: Now, call: SettlementInsist) -> Verdict:
        states = (State.DISPUTED,)
        return self._become(now, call.settlement, State.UPHELD, states, by_payer=True)

    def settlement_withdraw(self, now: Now, call: SettlementWithdraw) -> Verdict:
        states = (State.DISPUTED, State.UPHELD)
        return self._become(now, call.settlement, State.ANNOUNCED, states, by_payer=False)

    def settlement_cancel(self, now: Now, call: SettlementCancel) -> Verdict:
        found = self.batches.get(call.settlement)
        parameters = self.parameters
        by_payer, waits = True, {State.ANNOUNCED: parameters.confirmation_due_s}
        # Its payer may; its beneficiary once it waited for the payer in vain.
        if found is not None and now.sender == found.beneficiary != found.payer:
            by_payer, waits = (
                found.state is State.UPHELD or found.state is State.ANNOUNCED,
                {
                    State.OPEN: parameters.settlement_due_s,
                    State.DISPUTED: parameters.answer_due_s,
                },
            )
        states = (State.OPEN, *TO_ANSWER)
        verdict = self._become(now, call.settlement, State.CANCELLED, states, by_payer=by_payer)
        if found is not None and found.state in waits:
            opens = found.since + waits[found.state]
            verdict.why.update(in_time(now.time, opens=opens))
        return verdict

    # --- claims in and out ----------------------------------------------------------------------

    def settlement_add(self, now: Now, call: SettlementAdd) -> Verdict:
        known = self._settlement(now, call.settlement, (State.OPEN,), by_payer=True)
        if known is None:
            return Verdict({Refusal.SETTLEMENT_UNKNOWN: ()}, lambda: None)
        found, why = known
        if not why:
            why = self._why_not_in(now, found, call.claims)

        def then() -> None:
            after = ClaimState.BATCHED if found.pays else ClaimState.REPAYING
            for each in call.claims:
                claim = self.claims[each]
                claim.state, claim.since, claim.settlement = after, now.time, call.settlement
                claim.disputed.discard(ClaimGround.PAYMENT_NOT_FOUND)
                found.claims[each] = claim.due

        return Verdict(why, then, frozenset((found.payer, found.beneficiary)) - {now.sender})

    def _why_not_in(self, now: Now, found: Settled, claims: tuple[bytes, ...]) -> Why:
        for index, id_ in enumerate(claims):
            claim = self.claims.get(id_)
            if id_ in claims[:index]:
                return {Refusal.CLAIM_LISTED_TWICE: (index,)}
            if claim is None:
                return {Refusal.CLAIM_UNKNOWN: (index,)}
            parties = (claim.call.payer, claim.shop)
            if parties != (
                (found.payer, found.beneficiary) if found.pays else (found.beneficiary, found.payer)
            ):
                return {Refusal.CLAIM_OF_OTHERS: (index,)}
            state = self.claim_state(claim, now.time)
            if state not in (ACCEPTED if found.pays else (ClaimState.REVERSED,)):
                return {Refusal.CLAIM_NOT_SETTLEABLE: (index, state)}
        return {}

    def settlement_remove(self, now: Now, call: SettlementRemove) -> Verdict:
        known = self._settlement(now, call.settlement, (State.OPEN,), by_payer=True)
        if known is None:
            return Verdict({Refusal.SETTLEMENT_UNKNOWN: ()}, lambda: None)
        found, why = known
        if not why:
            for index, id_ in enumerate(call.claims):
                if id_ in call.claims[:index]:
                    why[Refusal.CLAIM_LISTED_TWICE] = (index,)
                elif id_ not in found.claims:
                    why[Refusal.CLAIM_NOT_IN_SETTLEMENT] = (index,)
                if why:
                    break

        def then() -> None:
            for each in call.claims:
                claim = self.claims[each]
                claim.state = claim.accepted_state if found.pays else ClaimState.REVERSED
                claim.since, claim.settlement = now.time, None
                del found.claims[each]

        return Verdict(why, then, frozenset((found.payer, found.beneficiary)) - {now.sender})

    def check(self) -> None:
        """Nothing is paid twice, or repaid twice, or repaid that was not paid, or less or more."""
        super().check()
        assert all(count == 1 for count in (*self.paid.values(), *self.repaid.values()))
        assert self.repaid.keys() <= self.paid.keys()
        for found in self.batches.values():
            if found.state is not State.CANCELLED:
                assert all(self.claims[id_].due == due for id_, due in found.claims.items())
