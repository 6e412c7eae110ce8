"""A claim and a prior agreement, brought into each state that they can be in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec

from contracts import authorisation, claim
from contracts.calls import (
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
    ClaimDispute,
    ClaimGround,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    Direction,
    Part,
    Reason,
    SettlementConfirm,
)
from contracts.parameters import Parameters
from ledger.hashing import Hash
from ledger.transaction import created_id
from tests.contracts.world import World, bytes32, mark, opening

SHOP, PAYER, STRANGER = "shop", "insurer", "rival"
WINDOW, DECISION, ANSWER, SETTLING, VALIDITY = 5_000, 100, 200, 300, 10_000
PARAMETERS: Final = Parameters(
    dispute_window_s=WINDOW,
    decision_due_s=DECISION,
    answer_due_s=ANSWER,
    settlement_due_s=SETTLING,
    authorisation_validity_s=VALIDITY,
)
NAME: Final = "glasses"
MARKS: Final = (mark(NAME), mark(NAME, Part.FRAME))
LESS: Final = opening(4_000, "less").commitment()

C, A = claim.State, authorisation.State
Step = Callable[[World, Hash], None]


@dataclass(frozen=True)
class Stage:
    """A chain on which one thing is in one state; nobody adds a block to it."""

    world: World
    id: Hash

    @property
    def time(self) -> int:
        """The time of the last block."""
        return self.world.chain.header.time


def submission(world: World) -> ClaimSubmit:
    """Return a claim of two marks."""
    return msgspec.structs.replace(world.submission(NAME), marks=MARKS)


def request(world: World) -> AuthorisationRequest:
    """Return the request of a prior agreement to that claim."""
    call = submission(world)
    return AuthorisationRequest(
        call.payer, call.leg, call.prescription, call.document, call.amount, call.marks
    )


def prepared() -> World:
    """Return a chain on which the prescription is committed and its marks are locked."""
    world = World(PARAMETERS)
    world.prescribe(SHOP, NAME)
    world.lock(SHOP, *MARKS)
    return world


def made(world: World, call: Call) -> Hash:
    """Let the shop make something; return its id."""
    transaction = world.transaction(SHOP, call)
    assert world.block(transaction).outcomes[0].code == 0
    return created_id(transaction.id, 0)


def _does(sender: str, call: Callable[[World, Hash], Call], *, after: int = 1) -> Step:
    def step(world: World, id_: Hash) -> None:
        assert world.call(sender, call(world, id_), after=after) == 0

    return step


def _disputes(sender: str, ground: ClaimGround, *, after: int = 1) -> Step:
    return _does(sender, lambda _, id_: ClaimDispute(id_, ground), after=after)


def _waits(seconds: int) -> Step:
    def step(world: World, _id: Hash) -> None:
        world.block(after=seconds)

    return step


def _settles(world: World, id_: Hash) -> None:
    world.settle(id_)


def _confirms(world: World, id_: Hash) -> None:
    found = claim.load(world.state, id_)
    assert found is not None
    assert found.settlement is not None
    assert world.call(SHOP, SettlementConfirm(found.settlement)) == 0


def _repays(world: World, id_: Hash) -> None:
    world.settle(id_, shop=PAYER, payer=SHOP, direction=Direction.REPAYMENT)


def _is_repaid(world: World, id_: Hash) -> None:
    settlement = loaded_claim(world, id_).settlement
    assert settlement is not None
    assert world.call(PAYER, SettlementConfirm(settlement)) == 0


def _resubmits(world: World, id_: Hash) -> None:
    made(world, msgspec.structs.replace(submission(world), prior=id_))


# state -> the one before, and the step from there.
CLAIM: Final[dict[claim.State, tuple[claim.State, Step]]] = {
    C.ACCEPTED: (C.SUBMITTED, _does(PAYER, lambda _, id_: ClaimAccept(id_, None))),
    C.ACCEPTED_IN_PART: (C.SUBMITTED, _does(PAYER, lambda _, id_: ClaimAccept(id_, LESS))),
    C.REJECTED: (
        C.SUBMITTED,
        _does(PAYER, lambda _, id_: ClaimReject(id_, Reason.FORMAT, automatic=False)),
    ),
    C.CANCELLED: (C.SUBMITTED, _does(SHOP, lambda _, id_: ClaimCancel(id_))),
    C.BATCHED: (C.ACCEPTED, _settles),
    C.SETTLED: (C.BATCHED, _confirms),
    C.REVERSED: (C.SETTLED, _does(SHOP, lambda _, id_: ClaimReverse(id_))),
    C.REPAYING: (C.REVERSED, _repays),
    C.REPAID: (C.REPAYING, _is_repaid),
    C.ABANDONED: (C.REJECTED, _does(SHOP, lambda _, id_: ClaimAbandon(id_))),
    C.RESUBMITTED: (C.REJECTED, _resubmits),
    C.LAPSED: (C.REJECTED, _waits(WINDOW + 1)),
    C.REJECTION_DISPUTED: (C.REJECTED, _disputes(SHOP, ClaimGround.REJECTION)),
    C.AMOUNT_DISPUTED: (C.ACCEPTED_IN_PART, _disputes(SHOP, ClaimGround.AMOUNT)),
    C.PAYMENT_DISPUTED: (C.SETTLED, _disputes(SHOP, ClaimGround.PAYMENT_NOT_FOUND)),
    C.ACCEPTANCE_DISPUTED: (C.ACCEPTED, _disputes(PAYER, ClaimGround.ACCEPTANCE)),
    C.RECOVERY_ASKED: (C.SETTLED, _does(PAYER, lambda _, id_: ClaimRecover(id_, Reason.OTHER))),
    C.RECOVERY_DISPUTED: (C.RECOVERY_ASKED, _disputes(SHOP, ClaimGround.RECOVERY)),
    C.CLOSED: (C.SETTLED, _does(PAYER, lambda _, id_: ClaimClose(id_), after=WINDOW + 1)),
}


def _grants(amount: bytes | None) -> Step:
    return _does(
        PAYER,
        lambda world, id_: AuthorisationGrant(id_, amount, world.chain.header.time + VALIDITY),
    )


def _consumes(world: World, id_: Hash) -> None:
    made(world, msgspec.structs.replace(submission(world), authorisation=id_))


AUTHORISATION: Final[dict[authorisation.State, tuple[authorisation.State, Step]]] = {
    A.INFO_REQUESTED: (
        A.REQUESTED,
        _does(PAYER, lambda _, id_: AuthorisationAsk(id_, bytes32("question"))),
    ),
    A.GRANTED: (A.REQUESTED, _grants(None)),
    A.GRANTED_IN_PART: (A.REQUESTED, _grants(LESS)),
    A.REFUSED: (
        A.REQUESTED,
        _does(PAYER, lambda _, id_: AuthorisationRefuse(id_, Reason.OTHER, automatic=True)),
    ),
    A.UNDER_REVIEW: (A.REFUSED, _does(SHOP, lambda _, id_: AuthorisationReview(id_))),
    A.CONSUMED: (A.GRANTED, _consumes),
    A.CANCELLED: (A.REQUESTED, _does(SHOP, lambda _, id_: AuthorisationCancel(id_))),
    A.EXPIRED: (A.GRANTED, _waits(VALIDITY + 1)),
}


def claim_in(state: claim.State) -> Stage:
    """Bring a claim into this state."""
    if state is C.SUBMITTED:
        world = prepared()
        return Stage(world, made(world, submission(world)))
    before, step = CLAIM[state]
    stage = claim_in(before)
    step(stage.world, stage.id)
    assert claim_state(stage.world, stage.id) is state
    return stage


def authorisation_in(state: authorisation.State) -> Stage:
    """Bring a prior agreement into this state."""
    if state is A.REQUESTED:
        world = prepared()
        return Stage(world, made(world, request(world)))
    before, step = AUTHORISATION[state]
    stage = authorisation_in(before)
    step(stage.world, stage.id)
    assert authorisation_state(stage.world, stage.id) is state
    return stage


# Made once: who tries one call on a stage executes it, and adds no block.
staged_claim = cache(claim_in)
staged_authorisation = cache(authorisation_in)


def claim_state(world: World, id_: bytes) -> claim.State:
    """Return where a claim stands."""
    return claim.state_of(world.state, loaded_claim(world, id_), world.chain.header.time)


def loaded_claim(world: World, id_: bytes) -> claim.Claim:
    """Return a claim."""
    found = claim.load(world.state, id_)
    assert found is not None
    return found


def authorisation_state(world: World, id_: bytes) -> authorisation.State:
    """Return where a prior agreement stands."""
    found = loaded_authorisation(world, id_)
    return authorisation.state_of(world.state, found, world.chain.header.time)


def loaded_authorisation(world: World, id_: bytes) -> authorisation.Authorisation:
    """Return a prior agreement."""
    found = authorisation.load(world.state, id_)
    assert found is not None
    return found
