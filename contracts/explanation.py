"""What the table of its life says of one thing: where it stands, and what may happen to it next.

Words for people are made of this elsewhere; here are the facts, and nothing is stored of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

from contracts import dispatch, marks
from contracts.life import Life, Moment, Row
from contracts.marks import Held
from contracts.parameters import Parameters
from contracts.state import Reader
from ledger.encoding import Struct
from ledger.validators import MemberId

_ALSO: Final = (
    "prior",
    "successor",
)  # field of a call that names a thing beside the one that it is about


class Phase(IntEnum):
    """Where a step stands in time."""

    NOT_YET = 1
    OPEN = 2
    OVER = 3


@dataclass(frozen=True, slots=True)
class Step:
    """A call that a row of the table provides for, who makes it, and when; times in unix seconds.

    Of several steps of one call and party the first whose condition holds is the one taken.
    """

    call: type[Struct]
    who: IntEnum
    member: MemberId | None  # None: whoever is one of many, of whom the thing names none
    after: IntEnum
    condition: str | None  # name of the function in the table
    guards: tuple[str, ...]  # names of those functions
    opens: int | None
    closes: int | None
    due: int | None

    def phase(self, time: int) -> Phase:
        """Return whether it may be made at this time, so far as time decides."""
        if self.opens is not None and time < self.opens:
            return Phase.NOT_YET
        return Phase.OVER if self.closes is not None and time > self.closes else Phase.OPEN

    def is_overdue(self, time: int) -> bool:
        """Return whether it should have been made before, and still may be."""
        return self.due is not None and time > self.due and self.phase(time) is Phase.OPEN


@dataclass(frozen=True, slots=True)
class Explanation:
    """One thing at one time."""

    name: str  # of its kind
    id: bytes
    thing: Struct
    state: IntEnum
    time: int  # of the block that it is read at
    parties: tuple[tuple[IntEnum, MemberId], ...]
    steps: tuple[Step, ...]  # in the order of the table; none at the end of a life
    holds: Held | None  # by which it holds its marks; None where it has, or holds, none

    @property
    def overdue(self) -> tuple[Step, ...]:
        """What should have been done before."""
        return tuple(step for step in self.steps if step.is_overdue(self.time))


def explain(
    life: Life[Any], state: Reader, id_: bytes, *, time: int, parameters: Parameters
) -> Explanation | None:
    """Return what `life` says of the thing with this id, None where there is none."""
    thing = life.load(state, id_)
    if thing is None:
        return None
    now = life.state_of(state, thing, time)
    parties = tuple(_parties(life, thing))
    members = dict(parties)
    steps = tuple(
        _step(row, members.get(row.who), state, thing, parameters)
        for row in life.open_rows(now)
        if row.who in members or row.who is life.crowd
    )
    holds = _holds(state, id_, thing, time)
    return Explanation(life.name, id_, thing, now, time, parties, steps, holds)


def named(call: Struct, made: bytes) -> tuple[bytes, ...]:
    """Return the ids of the things that a call names; `made` is the id of what it may make."""
    fields, makes = _named(type(call))
    found: list[bytes | None] = [made] if makes else []
    for field in fields:
        value = getattr(call, field)
        found += value if isinstance(value, tuple) else [value]
    return tuple(dict.fromkeys(each for each in found if each is not None))


@cache
def _named(call: type[Struct]) -> tuple[tuple[str, ...], bool]:
    """Return the fields of a type of call that name things, and whether it makes one."""
    lives = [life for life in dispatch.LIVES if call in life.calls]
    makes = any(row.before is None and row.call is call for life in lives for row in life.rows)
    subjects = [life.subject or life.name for life in dispatch.LIVES] if lives else []
    wanted = {*subjects, *(f"{each}s" for each in subjects), *_ALSO}
    return tuple(field for field in call.__struct_fields__ if field in wanted), makes


def _parties(life: Life[Any], thing: Struct) -> Iterator[tuple[IntEnum, MemberId]]:
    for party, holder in life.parties.items():
        member = getattr(thing, holder)
        if member is not None:
            yield party, MemberId(member)


def _holds(state: Reader, id_: bytes, thing: Struct, time: int) -> Held | None:
    """Return how it holds its marks: all of them alike."""
    for mark in getattr(thing, "marks", ()):
        found = marks.held(state, mark.mark, time)
        if found is not None and found.holder == id_:
            return found
    return None


def _step(
    row: Row[Any], member: MemberId | None, state: Reader, thing: Struct, parameters: Parameters
) -> Step:
    def at(moment: Moment[Any] | None) -> int | None:
        return None if moment is None else moment(state, thing, parameters)

    return Step(
        row.call,
        row.who,
        member,
        row.after,
        None if row.when is None else row.when.__name__,
        tuple(guard.__name__ for guard in row.guards),
        at(row.opens),
        at(row.closes),
        at(row.due),
    )
