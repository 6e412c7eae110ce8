"""Lives as tables: which call takes a thing from which state to which, by whom, on what conditions.

A contract declares its life once, as rows. The engine here runs it; the same rows are drawn in
docs/lives.md, tried cell by cell by the tests, and answer what may happen next to one thing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from contracts.context import Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.parameters import Parameters
from contracts.state import Overlay, Reader
from ledger.encoding import Struct, decode, encode
from ledger.validators import MemberId

ThingT = TypeVar("ThingT", bound=Struct)

# Each is a named function; the first line of its docstring is what tables and diagrams say of it:
# "Require that …" of a guard, "Return whether …" of a condition, "Return when …" of a moment.
# Calls are `Any`: the row that names a function names the type of its call too.
Guard: TypeAlias = Callable[[Context, ThingT | None, Any], None]  # raises Refused; writes nothing
When: TypeAlias = Callable[[Context, ThingT | None, Any], bool]
Make: TypeAlias = Callable[[Context, Any], ThingT]
Effect: TypeAlias = Callable[[Context, bytes, ThingT, Any], ThingT]  # cannot fail
Moment: TypeAlias = Callable[[Reader, ThingT, Parameters], int]  # block time, unix seconds


@dataclass(frozen=True, slots=True)
class Row(Generic[ThingT]):
    """One row: in state `before`, `call` by `who` leads to `after`.

    Of several rows for one state, call and party the first whose `when` holds is taken. The call is
    refused before `opens` and after `closes`. `due` is by when `who` should have made it: nothing
    happens at that time, being overdue is derived from it.
    """

    before: IntEnum | None  # None: the call makes the thing
    call: type[Struct]
    who: IntEnum
    after: IntEnum
    when: When[ThingT] | None = None
    guards: tuple[Guard[ThingT], ...] = ()
    effects: tuple[Effect[ThingT], ...] = ()
    opens: Moment[ThingT] | None = None
    closes: Moment[ThingT] | None = None
    due: Moment[ThingT] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How one call is judged, and whom it concerned once it was applied."""

    apply: Callable[[Context, Any], Concerned]  # raises Refused
    # (state now, call, id of what it may have made) -> members, the sender perhaps among them
    concerned: Callable[[Reader, Any, bytes], Concerned]


Rules: TypeAlias = Mapping[type[Struct], Rule]


def stored_state(_state: Reader, thing: Struct, _time: int) -> IntEnum:
    """Return the state that stands in a thing."""
    found: IntEnum = thing.state  # type: ignore[attr-defined] # every thing with a life has one
    return found


@dataclass(frozen=True)
class Life(Generic[ThingT]):
    """The life of one kind of thing, and how it is kept."""

    name: str  # as people say it: "claim"
    thing: type[ThingT]  # a struct with `state`, and perhaps `since`: when it came to it
    prefix: bytes  # of its keys in the state, + id
    parties: Mapping[IntEnum, str]  # who has a part in it -> the field that holds his id
    unknown: Refusal  # there is no such thing
    not_yours: Refusal  # the sender's part in it does not allow the call
    wrong_state: Refusal  # its state, whose number is the evidence, does not allow the call
    make: Make[ThingT]
    rows: tuple[Row[ThingT], ...]
    # What stands in the thing, unless the time or another thing decides it too.
    state_of: Callable[[Reader, ThingT, int], IntEnum] = stored_state
    subject: str = ""  # field of calls that names the thing; its name unless told
    crowd: IntEnum | None = None  # the part that everybody has: guards say who may
    by_member: bool = False  # its id is its member's and that field: nobody else's concern

    @cached_property
    def calls(self) -> tuple[type[Struct], ...]:
        """The calls of this life, in the order of their rows."""
        return tuple(dict.fromkeys(row.call for row in self.rows))

    @cached_property
    def rules(self) -> Rules:
        """How each of its calls is judged."""
        return dict.fromkeys(self.calls, Rule(self.apply, self.concerned))

    @cached_property
    def _cells(self) -> dict[tuple[IntEnum | None, type[Struct]], tuple[Row[ThingT], ...]]:
        cells: dict[tuple[IntEnum | None, type[Struct]], tuple[Row[ThingT], ...]] = {}
        for row in self.rows:
            cells[row.before, row.call] = (*cells.get((row.before, row.call), ()), row)
        return cells

    @cached_property
    def _who(self) -> dict[type[Struct], frozenset[IntEnum]]:
        return {
            call: frozenset(row.who for row in self.rows if row.call is call) for call in self.calls
        }

    @cached_property
    def _notes_time(self) -> bool:
        return "since" in self.thing.__struct_fields__

    @cached_property
    def _subject(self) -> Callable[[Any], bytes]:
        return attrgetter(self.subject or self.name)

    def apply(self, context: Context, call: Any) -> Concerned:  # noqa: ANN401 - any call of its rows
        """Make a call and return whom it concerns besides its sender, or raise `Refused`."""
        created = self._cells.get((None, type(call)))
        if created is not None:
            return self._create(context, call, created)
        id_ = self._subject(call)
        return self._others(context.sender, self.move(context, self._own(context, id_), call))

    def judge(self, context: Context, id_: bytes, call: Any) -> tuple[ThingT, Row[ThingT]]:  # noqa: ANN401
        """Return the thing with this id and the row that a call takes, or raise `Refused`."""
        thing = self.load(context.state, id_)
        if thing is None:
            raise Refused(self.unknown)
        return thing, self.row(context, thing, call)

    def move(self, context: Context, id_: bytes, call: Any) -> ThingT:  # noqa: ANN401
        """Let a call do to the thing with this id what its row says, or raise `Refused`.

        A contract whose call moves a thing of another life judges it as a guard, and moves it then.
        """
        thing, row = self.judge(context, id_, call)
        return self.take(context, id_, thing, row, call)

    def row(self, context: Context, thing: ThingT, call: Any) -> Row[ThingT]:  # noqa: ANN401
        """Return the row that a call by the sender takes, its guards passed, or raise `Refused`."""
        parts = self.parts(context.sender, thing)
        if not parts & self._who[type(call)]:
            raise Refused(self.not_yours)
        state = self.state_of(context.state, thing, context.time)
        rows = self._cells.get((state, type(call)))
        if rows is None:
            raise Refused(self.wrong_state, state)
        mine = tuple(row for row in rows if row.who in parts)
        if not mine:
            raise Refused(self.not_yours)
        row = _first(context, thing, call, mine)
        for guard in row.guards:
            guard(context, thing, call)
        _require_in_time(context, row, thing)  # last: no time makes good what can never be
        return row

    def take(
        self,
        context: Context,
        id_: bytes,
        thing: ThingT,
        row: Row[ThingT],
        call: Any,  # noqa: ANN401
    ) -> ThingT:
        """Write what a row does to a thing, whose guards have passed, and return it."""
        for effect in row.effects:
            thing = effect(context, id_, thing, call)
        if row.after is not row.before:
            since = {"since": context.time} if self._notes_time else {}
            thing = msgspec.structs.replace(thing, state=row.after, **since)
        self.save(context.state, id_, thing)
        return thing

    def parts(self, member: bytes, thing: ThingT) -> frozenset[IntEnum]:
        """Return what `member` is in a thing."""
        mine = (p for p, holder in self.parties.items() if getattr(thing, holder) == member)
        return frozenset(mine if self.crowd is None else (*mine, self.crowd))

    def load(self, state: Reader, id_: bytes) -> ThingT | None:
        """Return the thing with this id, None where there is none."""
        found = state.get(self.prefix + id_)
        return None if found is None else decode(found, self.thing)

    def save(self, state: Overlay, id_: bytes, thing: ThingT) -> None:
        """Write a thing."""
        state.put(self.prefix + id_, encode(thing))

    def concerned(self, state: Reader, call: Any, created: bytes) -> tuple[MemberId, ...]:  # noqa: ANN401
        """Return who has a part in the thing of an applied call; `created` is what it may make."""
        if self.by_member:
            return ()
        id_ = created if (None, type(call)) in self._cells else self._subject(call)
        thing = self.load(state, id_)
        return () if thing is None else self._members(thing)

    def open_rows(self, state: IntEnum) -> tuple[Row[ThingT], ...]:
        """Return what may happen in `state`."""
        return tuple(row for row in self.rows if row.before is state)

    def _create(
        self,
        context: Context,
        call: Any,  # noqa: ANN401
        rows: tuple[Row[ThingT], ...],
    ) -> Concerned:
        row = _first(context, None, call, rows)
        for guard in row.guards:
            guard(context, None, call)
        thing = self.make(context, call)
        id_ = self._own(context, self._subject(call)) if self.by_member else context.new_id()
        for effect in row.effects:
            thing = effect(context, id_, thing, call)
        thing = msgspec.structs.replace(thing, state=row.after)
        assert row.who in self.parts(context.sender, thing)  # as the row says of its maker
        self.save(context.state, id_, thing)
        return self._others(context.sender, thing)

    def _own(self, context: Context, id_: bytes) -> bytes:
        return context.sender + id_ if self.by_member else id_

    def _members(self, thing: ThingT) -> tuple[MemberId, ...]:
        held = (getattr(thing, holder) for holder in self.parties.values())
        return tuple(dict.fromkeys(MemberId(each) for each in held if each is not None))

    def _others(self, sender: MemberId, thing: ThingT) -> Concerned:
        return tuple(each for each in self._members(thing) if each != sender)


def _first(
    context: Context, thing: ThingT | None, call: Struct, rows: tuple[Row[ThingT], ...]
) -> Row[ThingT]:
    """Return the first row whose condition holds; the last of a cell has none."""
    for row in rows:
        if row.when is None or row.when(context, thing, call):
            return row
    raise AssertionError("the last row of a cell has a condition")


def _require_in_time(context: Context, row: Row[ThingT], thing: ThingT) -> None:
    if row.opens is not None:
        first = row.opens(context.state, thing, context.parameters)
        if context.time < first:
            raise Refused(Refusal.TOO_EARLY, first)
    if row.closes is not None:
        last = row.closes(context.state, thing, context.parameters)
        if context.time > last:
            raise Refused(Refusal.TOO_LATE, last)
