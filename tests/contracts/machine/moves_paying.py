"""What payers and beneficiaries might do about settlements."""

from collections.abc import Iterator

from contracts.batch import State
from contracts.calls import (
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
from contracts.calls.settlement import Ground
from contracts.claim import State as ClaimState
from tests.contracts.machine.claiming import ACCEPTED
from tests.contracts.machine.moves_claiming import ClaimingMoves
from tests.contracts.machine.paying import TO_ANSWER, Paying, Settled
from tests.contracts.machine.stage import Draw, Intent, Unfit


class PayingMoves(ClaimingMoves):
    """Makes calls about settlements."""

    model: Paying

    def _payable(self) -> dict[tuple[bytes, bytes, Direction], list[bytes]]:
        """Return by payer, beneficiary and direction which claims may be in a settlement."""
        found: dict[tuple[bytes, bytes, Direction], list[bytes]] = {}
        for id_, claim in self.model.claims.items():
            state = self.model.claim_state(claim, self.model.time + 1)
            if state in ACCEPTED:
                parties = (claim.call.payer, claim.shop, Direction.PAYMENT)
            elif state is ClaimState.REVERSED:
                parties = (claim.shop, claim.call.payer, Direction.REPAYMENT)
            else:
                continue
            found.setdefault(parties, []).append(id_)
        return found

    def settlement_open(self, draw: Draw) -> Intent:
        everyone = list(self.model.members)
        good = list(self._payable())
        any_ = [(draw.one_of(everyone), bytes(16), Direction.PAYMENT)]
        payer, beneficiary, direction = draw.target(good, good + any_)
        return Intent(self.someone(draw, payer), SettlementOpen(beneficiary, direction))

    def steps_of_settlement(self, draw: Draw) -> Iterator[list[Intent]]:
        """Yield by block what it takes to pay what can be paid between two."""
        payable = {
            parties: claims
            for parties, claims in self._payable().items()
            if self.model.admitted(parties[0]) and self.model.admitted(parties[1])
        }
        if not payable:
            return
        payer, beneficiary, direction = draw.one_of(list(payable))
        before = len(self.model.batches)
        yield [Intent(payer, SettlementOpen(beneficiary, direction))]
        made = list(self.model.batches)[before:]
        for id_ in made:  # one, unless it was refused
            listed = tuple(payable[payer, beneficiary, direction])
            yield [Intent(payer, SettlementAdd(id_, listed))]
            total = draw.value(self._total(self.model.batches[id_]), self.an_amount(draw))
            yield [Intent(payer, SettlementAnnounce(id_, total, self.fresh()))]
            yield [Intent(beneficiary, SettlementConfirm(id_))]

    def _one(self, draw: Draw, *states: State, by_payer: bool) -> tuple[bytes, bytes]:
        """Return a settlement in such a state, and who may act on it then."""
        every = self.model.batches
        good = [id_ for id_, each in every.items() if each.state in states]
        id_ = draw.target(good, (*every, self.fresh()))
        if id_ not in every:
            return id_, self.someone(draw)
        proper = every[id_].payer if by_payer else every[id_].beneficiary
        if draw.once_in(6):
            return id_, self.someone(draw, proper)
        return id_, proper

    def _some(self, draw: Draw, among: list[bytes], every: list[bytes]) -> tuple[bytes, ...]:
        if draw.fits and not among:
            raise Unfit
        chosen = among if draw.fits else [*among, *every, self.fresh()]
        several = [draw.one_of(chosen) for _ in range(draw.number(1, 4))]
        return tuple(dict.fromkeys(several)) if draw.fits else tuple(several)

    def settlement_add(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.OPEN, by_payer=True)
        found = self.model.batches.get(id_)
        parties = (found.payer, found.beneficiary, found.direction) if found else None
        good = self._payable().get(parties, []) if parties else []
        return Intent(sender, SettlementAdd(id_, self._some(draw, good, list(self.model.claims))))

    def settlement_remove(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.OPEN, by_payer=True)
        found = self.model.batches.get(id_)
        good = list(found.claims) if found else []
        call = SettlementRemove(id_, self._some(draw, good, list(self.model.claims)))
        return Intent(sender, call)

    def settlement_announce(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.OPEN, by_payer=True)
        found = self.model.batches.get(id_)
        if draw.fits and not (found and found.claims):
            raise Unfit
        total = self._total(found)
        wrong = self.an_amount(draw)
        return Intent(sender, SettlementAnnounce(id_, draw.value(total, wrong), None))

    def _total(self, found: Settled | None) -> bytes:
        return self.model.total(found).commitment() if found and found.claims else bytes(32)

    def settlement_confirm(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, *TO_ANSWER, by_payer=False)
        return Intent(sender, SettlementConfirm(id_))

    def settlement_dispute(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.ANNOUNCED, by_payer=False)
        return Intent(sender, SettlementDispute(id_, draw.one_of(list(Ground))))

    def settlement_insist(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.DISPUTED, by_payer=True)
        return Intent(sender, SettlementInsist(id_))

    def settlement_withdraw(self, draw: Draw) -> Intent:
        id_, sender = self._one(draw, State.DISPUTED, State.UPHELD, by_payer=False)
        return Intent(sender, SettlementWithdraw(id_))

    def settlement_cancel(self, draw: Draw) -> Intent:
        states: tuple[State, ...] = (State.OPEN, *TO_ANSWER)
        if draw.once_in(2):
            states = (State.ANNOUNCED, State.DISPUTED, State.UPHELD)
        id_, sender = self._one(draw, *states, by_payer=not draw.once_in(3))
        return Intent(sender, SettlementCancel(id_))
