"""What shops and payers might do about prescriptions, marks and prior agreements."""

from itertools import product

from contracts.authorisation import State as A
from contracts.calls import (
    AuthorisationAnswer,
    AuthorisationAsk,
    AuthorisationCancel,
    AuthorisationGrant,
    AuthorisationRefuse,
    AuthorisationRequest,
    AuthorisationReview,
    ClaimSubmit,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
    PrescriptionRevoke,
    PrescriptionSupersede,
    Reason,
)
from contracts.commitment import mark_of
from contracts.prescription import State as P
from contracts.registry import Family
from tests.contracts.machine.agreeing import GRANTED, OVER, WAITS, Agreeing
from tests.contracts.machine.members import DAY
from tests.contracts.machine.moves_seats import SeatsMoves
from tests.contracts.machine.stage import Draw, Intent, Unfit
from tests.contracts.world import bytes32, opening

AMOUNTS = tuple(opening(amount, f"blinding {amount}") for amount in (0, 1, 4_999, 10_000, 36_000))
POINTS = {each.commitment(): each for each in AMOUNTS}
NO_POINT = b"\xff" * 32
PAPERS = tuple(bytes32(f"prescription {name}") for name in "abc")
SECRETS = tuple(bytes32(f"secret {name}") for name in "abc")
# What two shops may try to be paid twice.
ITEMS = tuple(
    tuple(Mark(part, mark_of(secret, leg, part, 0)) for part in Part)
    for secret, leg in product(SECRETS, Leg)
)
LEGS = dict(zip(ITEMS, (leg for _ in SECRETS for leg in Leg), strict=True))
PARTS = ((0, 1), (0,), (1,))
PARTS_OF = {
    tuple(item[place] for place in places): LEGS[item] for item in ITEMS for places in PARTS
}


class AgreeingMoves(SeatsMoves):
    """Makes calls about prescriptions, marks and prior agreements."""

    model: Agreeing

    def of_family(self, *families: Family) -> list[bytes]:
        return [id_ for id_, each in self.model.members.items() if each.family in families]

    def a_shop(self, draw: Draw) -> bytes:
        return self.someone(draw, *self.of_family(Family.OPTICIAN))

    def an_amount(self, draw: Draw) -> bytes:
        return draw.value(draw.one_of(tuple(POINTS)), NO_POINT)

    def my_amount(self, draw: Draw) -> bytes | None:
        return draw.one_of((None, self.an_amount(draw)))

    # --- prescriptions and marks ----------------------------------------------------------------

    def papers_of(self, member: bytes) -> list[bytes]:
        every = self.model.prescriptions.items()
        return [paper for (who, paper), found in every if (who, found[0]) == (member, P.COMMITTED)]

    def prescription_commit(self, draw: Draw) -> Intent:
        sender = self.someone(draw, *self.of_family(Family.OPTICIAN, Family.PRESCRIBER))
        new = [each for each in PAPERS if (sender, each) not in self.model.prescriptions]
        return Intent(sender, PrescriptionCommit(draw.target([*new, self.fresh()], PAPERS)))

    def _a_paper(self, draw: Draw, shop: bytes) -> bytes:
        every = (*PAPERS, *(paper for _, paper in self.model.prescriptions))
        return draw.target(self.papers_of(shop), every)

    def prescription_supersede(self, draw: Draw) -> Intent:
        shop = self.a_shop(draw)
        paper = self._a_paper(draw, shop)
        return Intent(shop, PrescriptionSupersede(paper, draw.value(self.fresh(), *PAPERS)))

    def prescription_revoke(self, draw: Draw) -> Intent:
        shop = self.a_shop(draw)
        if draw.fits and len(self.papers_of(shop)) < 2:
            raise Unfit  # something is left to claim for
        return Intent(shop, PrescriptionRevoke(self._a_paper(draw, shop)))

    def mark_lock(self, draw: Draw) -> Intent:
        shop, model = self.a_shop(draw), self.model
        every = [each.mark for item in ITEMS for each in item]
        free = [each for each in every if model.lock_of(shop, each) not in model.locks]
        mark = draw.target(free, every)
        return Intent(shop, MarkLock(model.lock_of(shop, mark)))

    def marks_for(self, draw: Draw, shop: bytes) -> tuple[Mark, ...]:
        """Return marks of one item which `shop` may use now, or any."""
        model = self.model

        def is_usable(mark: Mark) -> bool:
            is_locked = model.lock_of(shop, mark.mark) in model.locks
            return is_locked and model.holder(mark.mark, model.time + 1) is None

        every = list(PARTS_OF)
        return draw.target([each for each in every if all(map(is_usable, each))], every)

    # --- prior agreements -----------------------------------------------------------------------

    def what_is_asked(self, draw: Draw) -> tuple[bytes, ClaimSubmit]:
        """Return a shop and a claim of it, on no agreement."""
        shop = self.a_shop(draw)
        marks = self.marks_for(draw, shop)
        payers = self.of_family(Family.INSURER, Family.OPERATOR)
        payer = self.someone(draw, *payers)
        payer = draw.value(payer, bytes(16))
        call = ClaimSubmit(
            payer,
            PARTS_OF[marks],
            self._a_paper(draw, shop),
            self.fresh(),
            self.an_amount(draw),
            marks,
            None,
            None,
        )
        return shop, call

    def authorisation_request(self, draw: Draw) -> Intent:
        shop, call = self.what_is_asked(draw)
        fields = (call.payer, call.leg, call.prescription, call.document, call.amount, call.marks)
        return Intent(shop, AuthorisationRequest(*fields))

    def _agreement(self, draw: Draw, *states: A, by_shop: bool) -> tuple[bytes, bytes]:
        """Return an agreement in such a state, and who may act on it then."""
        every, time = self.model.agreements, self.model.time + 1
        good = [id_ for id_, each in every.items() if each.stands(time) in states]
        id_ = draw.target(good, (*every, self.fresh()))
        if id_ not in every:
            return id_, self.someone(draw)
        found = every[id_]
        proper = found.shop if by_shop else found.call.payer
        if draw.once_in(3):
            return id_, self.someone(draw, proper)
        return id_, proper

    def authorisation_ask(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, A.REQUESTED, by_shop=False)
        return Intent(sender, AuthorisationAsk(id_, self.fresh()))

    def authorisation_answer(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, A.INFO_REQUESTED, by_shop=True)
        return Intent(sender, AuthorisationAnswer(id_, self.fresh()))

    def _by_person(self, draw: Draw, id_: bytes) -> bool:
        found = self.model.agreements.get(id_)
        is_reviewed = found is not None and found.state is A.UNDER_REVIEW
        return draw.value(is_reviewed, not is_reviewed)

    def authorisation_grant(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, *WAITS, by_shop=False)
        time = self.model.time
        until = time + draw.value(draw.number(2, 80) * DAY, -1, 5_000 * DAY)
        call = AuthorisationGrant(id_, self.my_amount(draw), until)
        return Intent(sender, call, by_person=self._by_person(draw, id_))

    def authorisation_refuse(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, *WAITS, by_shop=False)
        by_person = self._by_person(draw, id_)
        automatic = not by_person and not draw.once_in(3)
        reason = draw.one_of(list(Reason))
        call = AuthorisationRefuse(id_, reason, draw.value(automatic, not automatic))
        return Intent(sender, call, by_person=by_person)

    def authorisation_review(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, A.REFUSED, by_shop=True)
        return Intent(sender, AuthorisationReview(id_))

    def authorisation_cancel(self, draw: Draw) -> Intent:
        states = [each for each in A if each not in OVER]
        id_, sender = self._agreement(draw, *states, by_shop=True)
        return Intent(sender, AuthorisationCancel(id_))

    def claim_on_agreement(self, draw: Draw) -> Intent:
        id_, sender = self._agreement(draw, *GRANTED, by_shop=True)
        found = self.model.agreements.get(id_)
        if found is None:
            raise Unfit
        asked = found.call
        call = ClaimSubmit(
            draw.value(asked.payer, self.someone(draw)),
            draw.value(asked.leg, Leg.BASE),
            draw.value(asked.prescription, *PAPERS),
            self.fresh(),
            self.an_amount(draw),
            draw.value(asked.marks, asked.marks[:1]),
            draw.value(id_, self.fresh()),
            None,
        )
        return Intent(sender, call)
