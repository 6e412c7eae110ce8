"""When glasses may be renewed: in due time, or before for a reason that stays inside.

Outside goes one bit, that an early renewal qualifies; which rule says so would tell of the eyes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from contracts.calendar import Day, add_months
from contracts.errors import BadTable
from contracts.nomenclature.correction import Correction, turn_between
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.tables import (
    Age,
    Dioptres,
    FromAge,
    Months,
    Name,
    Row,
    Table,
    require_age,
    require_ages,
    row_of_age,
)
from contracts.reference import TableKind

_COUNT = msgspec.Meta(min_length=1, max_length=16)
Threshold = Annotated[int, msgspec.Meta(ge=1, le=100_00)]  # hundredths of a dioptre
Eyes = tuple[Correction | None, Correction | None]  # right and left


class Period(FromAge, frozen=True, kw_only=True):
    """How long glasses must serve."""

    months: Months
    months_outgrown: Months | None = None  # where the frame no longer fits the child's face


class ChangeCase(Row, frozen=True, kw_only=True):
    """A change of power: by so much on one lens, or by less on both."""

    name: Name
    is_on: bool
    quantities: Annotated[tuple[Literal["sphere", "cylinder", "addition"], ...], _COUNT]
    of: Literal["any", "sum"]  # whether one of them must change so much, or all taken together
    one_lens: Threshold
    both_lenses: Threshold

    def is_met(self, before: Eyes, after: Eyes) -> bool:
        """Return whether the sight changed so much. A lens without a former one says nothing."""
        changes = [
            self._change(old, new)
            for old, new in zip(before, after, strict=True)
            if old is not None and new is not None
        ]
        if any(change >= self.one_lens for change in changes):
            return True
        return len(changes) == len(after) and min(changes) >= self.both_lenses

    def _change(self, old: Correction, new: Correction) -> int:
        found = [
            abs((getattr(new, name) or 0) - (getattr(old, name) or 0)) for name in self.quantities
        ]
        return max(found) if self.of == "any" else sum(found)


class AxisCase(Row, frozen=True, kw_only=True):
    """A turn of the axis, for new cylinders within bounds."""

    name: Name
    is_on: bool
    cylinder_from: Dioptres
    cylinder_to: Dioptres | None = None
    over_degrees: Annotated[int, msgspec.Meta(ge=0, lt=90)]

    def is_met(self, before: Eyes, after: Eyes) -> bool:
        """Return whether the axis of one lens turned so far."""
        return any(
            old is not None and new is not None and self._is_turned(old, new)
            for old, new in zip(before, after, strict=True)
        )

    def _is_turned(self, old: Correction, new: Correction) -> bool:
        if old.axis is None or new.axis is None or new.cylinder is None:
            return False
        is_within = self.cylinder_from <= new.cylinder and (
            self.cylinder_to is None or new.cylinder <= self.cylinder_to
        )
        return is_within and turn_between(old.axis, new.axis) > self.over_degrees


class Early(Row, frozen=True, kw_only=True):
    """From which age, and how long after the last glasses, a change of sight counts."""

    from_age: Age
    min_months: Months


class Children(Row, frozen=True, kw_only=True):
    """Lenses alone, for a degradation that an ophthalmologist found and prescribes for."""

    below_age: Age
    min_months: Months


class ListedSituation(Row, frozen=True, kw_only=True):
    """One of those that the decree lists, with a new prescription by an ophthalmologist.

    Which one is nobody's business but the prescriber's: neither this table nor the program names
    them.
    """

    min_months: Months


class RenewalTable(Table, frozen=True, kw_only=True):
    """Periods by age, and when they need not be waited for."""

    KIND = TableKind.OPTICS_RENEWAL

    # The date that periods are counted from; of glasses in several parts, that of the last.
    anchor: Literal["acquisition_date", "invoice_date", "payment_date"]
    # How many days after the day of the same number renewal is first due.
    days_after: Annotated[int, msgspec.Meta(ge=0, le=31)]
    periods: Annotated[tuple[Period, ...], _COUNT]
    early: Early
    changes: Annotated[tuple[ChangeCase, ...], _COUNT]
    turns: Annotated[tuple[AxisCase, ...], _COUNT]
    children: Children
    listed_situation: ListedSituation
    undecided: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)]  # cases without a rule yet

    def require_sound(self) -> None:
        """Raise `BadTable` unless ages rise from 0 and every case has a name of its own."""
        require_ages(self.periods)
        names = [*(case.name for case in self.cases), *self.undecided]
        if len(set(names)) != len(names):
            raise BadTable("two cases have one name")
        for case in self.changes:
            quantities = len(set(case.quantities))
            if quantities != len(case.quantities) or (case.of == "sum" and quantities == 1):
                raise BadTable(f"{case.name} counts a quantity twice, or a sum of one")

    @property
    def cases(self) -> tuple[ChangeCase | AxisCase, ...]:
        """The changes of sight that count, in the order in which they are looked at."""
        return (*self.changes, *self.turns)

    def anchor_day(self, dates: Mapping[str, Day]) -> Day:
        """Return the one of the dates of the last glasses that counts; raise `Objected`."""
        found = dates.get(self.anchor)
        if found is None:
            raise Objected(Objection.ANCHOR_ABSENT, self.anchor)
        return found

    def due_on(self, last: Day, age: int, *, is_outgrown: bool = False) -> Day:
        """Return the first day on which renewal is due without any reason; raise `Objected`.

        `last` is the anchor's day, `age` the wearer's in whole years at the new glasses. Outgrown:
        the frame no longer fits the child's face, and the lenses lose their effect.
        """
        period = row_of_age(self.periods, age)
        months = period.months
        if is_outgrown and period.months_outgrown is not None:
            months = period.months_outgrown
        return self.months_after(last, months)

    def is_due(self, last: Day, on: Day, age: int, *, is_outgrown: bool = False) -> bool:
        """Return whether renewal is due at a date; once it is, it stays so. Raises `Objected`."""
        _require_order(last, on)
        return on >= self.due_on(last, age, is_outgrown=is_outgrown)

    def months_after(self, last: Day, months: int) -> Day:
        """Return the first day of the time that follows so many months from `last`."""
        return Day(add_months(last, months) + self.days_after)


@dataclass(frozen=True, slots=True)
class EarlyRequest:
    """What an early renewal is asked on; it never leaves the vault."""

    last: Day  # the anchor's
    on: Day
    age: int  # of the wearer, in whole years
    has_frame: bool  # whether a frame is claimed too
    before: Eyes
    after: Eyes
    by_ophthalmologist: bool = False  # who prescribed
    is_degraded: bool = False  # the prescriber found it by measuring
    listed_situation: bool = False

    @property
    def eyes(self) -> tuple[Eyes, Eyes]:
        """What was prescribed before, and what is prescribed after."""
        return self.before, self.after


def early_ground(table: RenewalTable, request: EarlyRequest) -> str | None:
    """Return the name of the first rule by which a renewal before its time qualifies, or None.

    It is for the vault alone: `qualifies_early` is what may be told. Raises `Objected`.
    """
    _require_order(request.last, request.on)
    require_age(request.age)

    def is_after(months: int) -> bool:
        return request.on >= table.months_after(request.last, months)

    by_doctor = request.by_ophthalmologist
    if by_doctor and request.listed_situation and is_after(table.listed_situation.min_months):
        return "LISTED_SITUATION"
    if (
        by_doctor
        and request.is_degraded
        and not request.has_frame
        and request.age < table.children.below_age
        and is_after(table.children.min_months)
    ):
        return "CHILD"
    if request.age < table.early.from_age or not is_after(table.early.min_months):
        return None
    met = (case.name for case in table.cases if case.is_on and case.is_met(*request.eyes))
    return next(met, None)


def qualifies_early(table: RenewalTable, request: EarlyRequest) -> bool:
    """Return whether a renewal before its time qualifies: all that anybody else may learn."""
    return early_ground(table, request) is not None


def _require_order(last: Day, on: Day) -> None:
    if on < last:
        raise Objected(Objection.DATE_BEFORE, "on")
