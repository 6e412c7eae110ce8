"""What either side might say of a claim."""

from collections.abc import Mapping

import msgspec

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
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    Reason,
)
from contracts.claim import State
from tests.contracts.machine.claiming import (
    ACCEPTED,
    ANSWERS,
    DISPUTES,
    PAYER,
    SHOP,
    WITHDRAWALS,
    Claiming,
    Side,
)
from tests.contracts.machine.moves_agreeing import AgreeingMoves
from tests.contracts.machine.stage import Draw, Intent


class ClaimingMoves(AgreeingMoves):
    """Makes calls about claims."""

    model: Claiming

    def _claim(
        self, draw: Draw, cells: Mapping[tuple[State, Side], object]
    ) -> tuple[bytes, bytes, State | None, Side]:
        """Return a claim, who may say something of it there, its state, and which side he is."""
        every, time = self.model.claims, self.model.time + 1
        good = [
            (id_, side)
            for state, side in cells
            for id_, each in every.items()
            if self.model.claim_state(each, time) is state
        ]
        sides = list(dict.fromkeys(side for _, side in cells))
        any_ = [(id_, draw.one_of(sides)) for id_ in (*every, self.fresh())]
        id_, side = draw.target(good, any_)
        claim = every.get(id_)
        if claim is None:
            return id_, self.someone(draw), None, side
        sender = claim.shop if side is SHOP else claim.call.payer
        if draw.once_in(8):
            sender = self.someone(draw, sender)
        return id_, sender, self.model.claim_state(claim, time), side

    def claim_submit(self, draw: Draw) -> Intent:
        return Intent(*self.what_is_asked(draw))

    def claim_again(self, draw: Draw) -> Intent:
        """Submit what was rejected, or perhaps something else in its name."""
        id_, sender, state, _ = self._claim(draw, {(State.REJECTED, SHOP): None})
        _, other = self.what_is_asked(draw) if state is None else (b"", None)
        call = other or self.model.claims[id_].call
        again = msgspec.structs.replace(
            call,
            prior=id_,
            document=self.fresh(),
            amount=self.an_amount(draw),
            marks=draw.value(call.marks, call.marks[:1]),
            authorisation=draw.value(call.authorisation, self.fresh()),
            payer=draw.value(call.payer, self.someone(draw)),
        )
        return Intent(sender, again)

    def claim_accept(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.SUBMITTED, PAYER): None})
        return Intent(sender, ClaimAccept(id_, self.my_amount(draw)))

    def claim_reject(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.SUBMITTED, PAYER): None})
        call = ClaimReject(id_, draw.one_of(list(Reason)), not draw.once_in(3))
        return Intent(sender, call, by_person=draw.once_in(4))

    def claim_cancel(self, draw: Draw) -> Intent:
        cells = dict.fromkeys((state, SHOP) for state in (State.SUBMITTED, *ACCEPTED))
        id_, sender, *_ = self._claim(draw, cells)
        return Intent(sender, ClaimCancel(id_))

    def claim_abandon(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.REJECTED, SHOP): None})
        return Intent(sender, ClaimAbandon(id_))

    def claim_supersede(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.SUBMITTED, SHOP): None})
        found = self.model.claims.get(id_)
        before = found.document if found else bytes(32)
        return Intent(sender, ClaimSupersede(id_, draw.value(self.fresh(), before)))

    def claim_reverse(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(
            draw, {(State.SETTLED, SHOP): None, (State.CLOSED, SHOP): None}
        )
        return Intent(sender, ClaimReverse(id_))

    def claim_recover(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.SETTLED, PAYER): None})
        return Intent(sender, ClaimRecover(id_, draw.one_of(list(Reason))))

    def claim_concede(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.RECOVERY_ASKED, SHOP): None})
        return Intent(sender, ClaimConcede(id_))

    def claim_close(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, {(State.SETTLED, PAYER): None})
        return Intent(sender, ClaimClose(id_))

    def claim_dispute(self, draw: Draw) -> Intent:
        id_, sender, state, side = self._claim(draw, DISPUTES)
        good = DISPUTES.get((state, side), tuple(ClaimGround)) if state else tuple(ClaimGround)
        ground = draw.value(draw.one_of(good), *ClaimGround)
        return Intent(sender, ClaimDispute(id_, ground))

    def _must_be_person(self, draw: Draw, id_: bytes) -> bool:
        found = self.model.claims.get(id_)
        is_one = found is not None and found.awaits_person
        return draw.value(is_one, not is_one)

    def claim_uphold(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, ANSWERS)
        return Intent(sender, ClaimUphold(id_), by_person=self._must_be_person(draw, id_))

    def claim_overturn(self, draw: Draw) -> Intent:
        id_, sender, state, _ = self._claim(draw, ANSWERS)
        accepts = state in (State.REJECTION_DISPUTED, State.AMOUNT_DISPUTED)
        amount = self.my_amount(draw) if accepts else draw.value(None, self.an_amount(draw))
        call = ClaimOverturn(id_, amount)
        return Intent(sender, call, by_person=self._must_be_person(draw, id_))

    def claim_withdraw(self, draw: Draw) -> Intent:
        id_, sender, *_ = self._claim(draw, WITHDRAWALS)
        return Intent(sender, ClaimWithdraw(id_))
