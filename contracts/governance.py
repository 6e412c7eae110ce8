"""Proposals: what the members that run validators vote on, and what came of it.

A proposal announces from which height its change is in force. The vote that lets it pass puts it on
the agenda, and what is due is carried out at the end of the block below that height: whoever looks
at the state after a block sees what holds for the next one.
"""

from enum import IntEnum
from typing import Annotated, Final, TypeAlias

import msgspec

from contracts import agenda, amendments, ballot
from contracts.ballot import THRESHOLDS, Ballot, Tally
from contracts.calls import (
    Propose,
    Seating,
    Subject,
    ValidatorJoin,
    ValidatorLeave,
    ValidatorReplace,
    Vote,
    Withdraw,
)
from contracts.context import Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row, Rule, Rules
from contracts.parameters import Parameters
from contracts.state import Overlay, Reader
from ledger.encoding import U32_MAX, U63_MAX, Struct, decode, encode
from ledger.hashing import Domain, Hash, hash_of
from ledger.validators import EVERYONE, Bytes16, Bytes32

SeatCall: TypeAlias = ValidatorJoin | ValidatorLeave | ValidatorReplace  # they use a proposal up

MAX_OPEN: Final = (
    128  # proposals that one may vote on: one at least for each validator there may be
)
MAX_OPEN_OF_MEMBER: Final = 8  # and no more than its share
MAX_AHEAD_S: Final = 90 * 86_400  # from a proposal to its deadline
MAX_AHEAD_BLOCKS: Final = 1 << 24  # and to its effect: half a year of a block each second
_DOCKET: Final = b"w"  # -> Docket
_NUMBER: Final = b"w"  # + number u32 -> proposal


class State(IntEnum):
    """Where a proposal stands. Whether an open one has expired follows from time and height."""

    OPEN = 1
    PASSED = 2
    FAILED = 3  # it could no longer pass
    WITHDRAWN = 4
    ENACTED = 5
    MOOT = 6  # when its height came there was nothing to do
    EXPIRED = 7  # never stored


class Party(IntEnum):
    """A sender's part in a proposal."""

    PROPOSER = 1
    MEMBER = 2  # anyone: guards say who may


class Proposal(Struct):
    """A proposal, by its id."""

    number: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]  # of all that were ever made
    proposer: Bytes16
    subject: Subject
    deadline: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
    effect: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # height
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # at which it was made
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds
    state: State = State.OPEN
    decided: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)] = 0  # height of the vote that did

    @property
    def change(self) -> Hash:
        """What tells one change from another."""
        return _change(self.subject)


class _Slot(Struct):
    """One open proposal."""

    id: Bytes32
    number: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
    proposer: Bytes16
    change: Bytes32
    deadline: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    effect: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]


class Docket(Struct):
    """How many proposals there ever were, and which may be open."""

    made: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)] = 0
    slots: Annotated[tuple[_Slot, ...], msgspec.Meta(max_length=MAX_OPEN)] = ()


def _make(context: Context, call: Propose) -> Proposal:
    number = docket(context.state).made
    return Proposal(
        number,
        context.sender,
        call.subject,
        call.deadline,
        call.effect,
        context.height,
        context.time,
    )


# --- guards and conditions ------------------------------------------------------------------------


def sender_governs(context: Context, _proposal: Proposal | None, _call: object) -> None:
    """Require that the sender runs a validator now."""
    if context.sender not in ballot.electors(context.state, context.height):
        raise Refused(Refusal.NOT_GOVERNING)


def deadline_is_near(context: Context, _proposal: Proposal | None, call: Propose) -> None:
    """Require that the deadline lies ahead, and at most 90 days."""
    if not context.time <= call.deadline <= context.time + MAX_AHEAD_S:
        raise Refused(Refusal.DEADLINE_OUT_OF_BOUNDS, context.time)


def effect_is_announced(context: Context, proposal: Proposal | None, call: Propose | Vote) -> None:
    """Require that it takes effect no sooner than after the notice that the parameters set."""
    effect = call.effect if isinstance(call, Propose) else _known(proposal).effect
    earliest = context.height + context.parameters.notice_blocks
    if effect < earliest:
        raise Refused(Refusal.EFFECT_TOO_NEAR, earliest)
    if effect > context.height + MAX_AHEAD_BLOCKS:
        raise Refused(Refusal.EFFECT_TOO_FAR, context.height + MAX_AHEAD_BLOCKS)


def change_is_sensible(context: Context, _proposal: Proposal | None, call: Propose) -> None:
    """Require that the change could be made as things stand."""
    amendments.require_sensible(context.state, call.subject, context.height)


def room_is_left(context: Context, _proposal: Proposal | None, call: Propose) -> None:
    """Require that few are open, few of the sender's, and none of these for the same change.

    What a member proposes leaves room for every other one, and stands in nobody's way: or a few
    could keep all from voting, and one could put off its own leaving by proposing it for never.
    """
    slots = _open_slots(context)
    if len(slots) == MAX_OPEN:
        raise Refused(Refusal.TOO_MANY_OPEN, MAX_OPEN)
    own = [slot for slot in slots if slot.proposer == context.sender]
    share = MAX_OPEN // len(ballot.electors(context.state, context.height))
    if len(own) >= (most := min(share, MAX_OPEN_OF_MEMBER)):
        raise Refused(Refusal.TOO_MANY_OPEN, most)
    for slot in own:
        if slot.change == _change(call.subject):
            raise Refused(Refusal.ALREADY_PROPOSED, slot.number)


def sender_has_not_voted(context: Context, _proposal: Proposal | None, call: Vote) -> None:
    """Require that the sender votes for the first time."""
    before = ballot.ballot(context.state, call.proposal, context.sender)
    if before is not None:
        raise Refused(Refusal.ALREADY_VOTED, before.height)


def agenda_has_room(context: Context, proposal: Proposal | None, _call: Vote) -> None:
    """Require that few changes take effect at its height."""
    if agenda.is_full(context.state, _known(proposal).effect):
        raise Refused(Refusal.AGENDA_FULL)


def change_is_this(_context: Context, proposal: Proposal | None, call: SeatCall) -> None:
    """Require that this very change was voted."""
    if call.change.subject != _known(proposal).subject:
        raise Refused(Refusal.PROPOSAL_OF_ANOTHER_CHANGE)


def its_height_has_come(context: Context, proposal: Proposal | None, _call: object) -> None:
    """Require that the height which it announced has come."""
    if context.height < _known(proposal).effect:
        raise Refused(Refusal.NOT_IN_EFFECT_YET, _known(proposal).effect)


def lets_seats_change(context: Context, proposal: Proposal | None, call: Vote) -> bool:
    """Return whether with this vote enough agree to change who runs validators."""
    return isinstance(_known(proposal).subject, Seating) and lets_it_pass(context, proposal, call)


def lets_it_pass(context: Context, proposal: Proposal | None, call: Vote) -> bool:
    """Return whether with this vote enough agree."""
    return _tally(context, proposal, call).passes


def lets_it_fail(context: Context, proposal: Proposal | None, call: Vote) -> bool:
    """Return whether with this vote it can no longer pass."""
    return _tally(context, proposal, call).is_lost


def deadline(_state: Reader, proposal: Proposal, _parameters: Parameters) -> int:
    """Return when voting ends."""
    return proposal.deadline


# --- effects --------------------------------------------------------------------------------------


def open_it(context: Context, id_: bytes, proposal: Proposal, _call: Propose) -> Proposal:
    """List it among those that one may vote on."""
    slot = _Slot(
        id_,
        proposal.number,
        proposal.proposer,
        proposal.change,
        proposal.deadline,
        proposal.effect,
    )
    _save(context.state, Docket(proposal.number + 1, (*_open_slots(context), slot)))
    context.state.put(_NUMBER + proposal.number.to_bytes(4), id_)
    return proposal


def count_vote(context: Context, id_: bytes, proposal: Proposal, call: Vote) -> Proposal:
    """Count the vote."""
    ballot.cast(context.state, id_, context.sender, Ballot(call.agrees, context.height))
    return proposal


def close_it(context: Context, id_: bytes, proposal: Proposal, _call: object) -> Proposal:
    """Take it off the list, and note when."""
    before = docket(context.state)
    left = tuple(slot for slot in before.slots if slot.id != id_)
    _save(context.state, Docket(before.made, left))
    return msgspec.structs.replace(proposal, decided=context.height)


def put_on_agenda(context: Context, id_: bytes, proposal: Proposal, _call: Vote) -> Proposal:
    """Put the change on the agenda of its height."""
    agenda.put(context.state, proposal.effect, proposal.number, id_)
    return proposal


_VOTE_GUARDS: Final = (sender_governs, sender_has_not_voted, effect_is_announced)
LIFE: Final = Life(
    name="proposal",
    thing=Proposal,
    prefix=b"w",
    parties={Party.PROPOSER: "proposer"},
    crowd=Party.MEMBER,
    unknown=Refusal.PROPOSAL_UNKNOWN,
    not_yours=Refusal.PROPOSAL_NOT_YOURS,
    wrong_state=Refusal.PROPOSAL_IN_WRONG_STATE,
    make=_make,
    rows=(
        Row(
            None,
            Propose,
            Party.MEMBER,
            State.OPEN,
            guards=(
                sender_governs,
                deadline_is_near,
                effect_is_announced,
                change_is_sensible,
                room_is_left,
            ),
            effects=(open_it,),
        ),
        Row(
            State.OPEN,
            Vote,
            Party.MEMBER,
            State.PASSED,
            when=lets_seats_change,
            guards=_VOTE_GUARDS,
            effects=(count_vote, close_it),
            closes=deadline,
        ),
        Row(
            State.OPEN,
            Vote,
            Party.MEMBER,
            State.PASSED,
            when=lets_it_pass,
            guards=(*_VOTE_GUARDS, agenda_has_room),
            effects=(count_vote, close_it, put_on_agenda),
            closes=deadline,
        ),
        Row(
            State.OPEN,
            Vote,
            Party.MEMBER,
            State.FAILED,
            when=lets_it_fail,
            guards=_VOTE_GUARDS,
            effects=(count_vote, close_it),
            closes=deadline,
        ),
        Row(
            State.OPEN,
            Vote,
            Party.MEMBER,
            State.OPEN,
            guards=_VOTE_GUARDS,
            effects=(count_vote,),
            closes=deadline,
        ),
        Row(State.OPEN, Withdraw, Party.PROPOSER, State.WITHDRAWN, effects=(close_it,)),
        *(
            Row(
                State.PASSED,
                call,
                Party.MEMBER,
                State.ENACTED,
                guards=(change_is_this, its_height_has_come),
                closes=deadline,
            )
            for call in (ValidatorJoin, ValidatorLeave, ValidatorReplace)
        ),
    ),
)
load = LIFE.load


def apply(context: Context, call: Propose | Vote | Withdraw) -> Concerned:
    """Make a call, or raise `Refused`. It concerns everyone.

    The entry of a vote says in which state the proposal is with it, how many agree, and how many
    must.
    """
    LIFE.apply(context, call)
    if isinstance(call, Vote):
        proposal = _known(load(context.state, call.proposal))
        found = tally(context.state, context.height, call.proposal, proposal)
        context.say(proposal.state, found.agree, found.needed)
    return (EVERYONE,)


def require_passed(context: Context, call: SeatCall) -> None:
    """Raise `Refused` unless the proposal that a change names passed, for it, and is in time."""
    proposal = load(context.state, call.change.proposal)
    if proposal is None:
        raise Refused(Refusal.PROPOSAL_UNKNOWN)
    LIFE.row(context, proposal, call)


def use_up(context: Context, call: SeatCall) -> None:
    """Let the proposal of a change that `require_passed` let through be good for no other."""
    id_ = call.change.proposal
    proposal = _known(load(context.state, id_))
    LIFE.take(context, id_, proposal, LIFE.row(context, proposal, call), call)


def run_agenda(state: Overlay, height: int) -> None:
    """Carry out what takes effect at `height`: it was voted, and nothing can stop it."""
    for id_ in agenda.take(state, height):
        proposal = _known(load(state, id_))
        is_done = amendments.carry_out(state, proposal.subject, height)
        after = State.ENACTED if is_done else State.MOOT
        LIFE.save(state, id_, msgspec.structs.replace(proposal, state=after))


def docket(state: Reader) -> Docket:
    """Return which proposals may be open; some may have expired since."""
    found = state.get(_DOCKET)
    return Docket() if found is None else decode(found, Docket)


def numbered(state: Reader, number: int) -> Hash | None:
    """Return the id of the proposal that was made as number so many, None where none was yet."""
    found = state.get(_NUMBER + number.to_bytes(4))
    return None if found is None else Hash(found)


def tally(state: Reader, height: int, id_: bytes, proposal: Proposal) -> Tally:
    """Return how the vote on a proposal stands among the electors of a height."""
    return ballot.tally(state, height, id_, THRESHOLDS[type(proposal.subject)])


def standing(proposal: Proposal, height: int, time: int, notice: int) -> State:
    """Return where a proposal stands in a block of this height and time."""
    is_over = proposal.deadline < time
    match proposal.state:
        case State.OPEN if is_over or proposal.effect < height + notice:
            return State.EXPIRED
        case State.PASSED if is_over and isinstance(proposal.subject, Seating):
            return State.EXPIRED
        case state:
            return state


def _tally(context: Context, proposal: Proposal | None, call: Vote) -> Tally:
    """Return how it would stand with this vote."""
    threshold = THRESHOLDS[type(_known(proposal).subject)]
    also = {context.sender: call.agrees}
    return ballot.tally(context.state, context.height, call.proposal, threshold, also)


def _open_slots(context: Context) -> tuple[_Slot, ...]:
    earliest = context.height + context.parameters.notice_blocks
    return tuple(
        slot
        for slot in docket(context.state).slots
        if slot.deadline >= context.time and slot.effect >= earliest
    )


def _save(state: Overlay, new: Docket) -> None:
    state.put(_DOCKET, encode(new))


def _change(subject: Subject) -> Hash:
    return hash_of(Domain.CHANGE, encode(subject))


def _known(proposal: Proposal | None) -> Proposal:
    assert proposal is not None  # the row is of a proposal that exists
    return proposal


def _concerned(_state: Reader, _call: object, _created: bytes) -> Concerned:
    return (EVERYONE,)


RULES: Final[Rules] = dict.fromkeys((Propose, Vote, Withdraw), Rule(apply, _concerned))
