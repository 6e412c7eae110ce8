"""How long a prescription serves, and when an optician's adaptation of one counts as agreed."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec

from contracts.calendar import MONTHS, Day, add_months, date_of, day_of, easter_of, weekday_of
from contracts.errors import BadDay, BadTable
from contracts.nomenclature.errors import Objected, Objection
from contracts.nomenclature.tables import (
    FromAge,
    Months,
    Row,
    Table,
    require_ages,
    row_of_age,
)
from contracts.reference import TableKind

_SEARCH_DAYS: Final = 366  # holds the longest count of working days many times over
_LEAP_YEAR: Final = 2000

Month = Annotated[int, msgspec.Meta(ge=1, le=MONTHS)]
DayOfMonth = Annotated[int, msgspec.Meta(ge=1, le=31)]


class Validity(FromAge, frozen=True, kw_only=True):
    """How long a prescription serves."""

    months: Months


class Adaptation(Row, frozen=True, kw_only=True):
    """Silence for so many working days agrees."""

    working_days: Annotated[int, msgspec.Meta(ge=1, le=30)]
    # Monday is 1.
    rest_days: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=7)], ...], msgspec.Meta(max_length=2)
    ]


class Holidays(Row, frozen=True, kw_only=True):
    """The public holidays of every year."""

    fixed: Annotated[tuple[tuple[Month, DayOfMonth], ...], msgspec.Meta(max_length=24)]
    after_easter: Annotated[  # days after Easter Sunday
        tuple[Annotated[int, msgspec.Meta(ge=-60, le=120)], ...], msgspec.Meta(max_length=8)
    ]


class PrescriptionTable(Table, frozen=True, kw_only=True):
    """What is said of prescriptions for lenses."""

    KIND = TableKind.OPTICS_PRESCRIPTIONS

    validity: Annotated[tuple[Validity, ...], msgspec.Meta(min_length=1, max_length=16)]
    adaptation: Adaptation
    holidays: Holidays
    # Whether detailed codes may be shown to a payer; the law on it is in motion. This program has
    # no place for them, so a table that allows them needs another.
    allow_detailed_codes: Literal[False]

    def require_sound(self) -> None:
        """Raise `BadTable` unless ages rise from 0 and holidays are days."""
        require_ages(self.validity)
        for month, day in self.holidays.fixed:
            try:
                day_of(_LEAP_YEAR, month, day)
            except BadDay:
                raise BadTable(f"there is no day {month}-{day}") from None

    def valid_until(self, written: Day, age: int) -> Day:
        """Return the last day on which a prescription serves; raise `Objected`.

        `age` is the patient's in whole years when it was written.
        """
        return add_months(written, row_of_age(self.validity, age).months)

    def is_valid(self, written: Day, on: Day, age: int) -> bool:
        """Return whether a prescription serves at a date; raise `Objected`."""
        return written <= on <= self.valid_until(written, age)

    def is_working(self, day: Day) -> bool:
        """Return whether a day is neither one of rest nor a public holiday."""
        year, month, number = date_of(day)
        return (
            weekday_of(day) not in self.adaptation.rest_days
            and (month, number) not in self.holidays.fixed
            and day - easter_of(year) not in self.holidays.after_easter
        )

    def tacit_from(self, asked: Day) -> Day:
        """Return the first day on which silence since `asked` counts as agreement.

        The day of asking does not count, and the last working day belongs to the prescriber.
        """
        days = (Day(asked + after) for after in range(1, _SEARCH_DAYS))
        working = [day for day in days if self.is_working(day)]
        return Day(working[self.adaptation.working_days - 1] + 1)

    def adaptation_at(self, asked: Day, on: Day, answer: "Answer | None" = None) -> "Adapted":
        """Return how an adaptation stands at a date, by the prescriber's answer if there is one.

        A refusal that comes when silence has agreed changes nothing. Raises `Objected`.
        """
        for field, day in (("on", on), ("answer", asked if answer is None else answer.day)):
            if day < asked:
                raise Objected(Objection.DATE_BEFORE, field)
        tacit = self.tacit_from(asked)
        if answer is not None and answer.day <= on and answer.day < tacit:
            return Adapted.AGREED if answer.agrees else Adapted.REFUSED
        return Adapted.TACITLY_AGREED if on >= tacit else Adapted.REQUESTED


@dataclass(frozen=True, slots=True)
class Answer:
    """What a prescriber said to an adaptation, and when."""

    agrees: bool
    day: Day


class Adapted(IntEnum):
    """How an adaptation stands."""

    REQUESTED = 1
    AGREED = 2
    TACITLY_AGREED = 3
    REFUSED = 4
