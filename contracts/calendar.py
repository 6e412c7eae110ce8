"""Days and spans of days, reckoned without a clock: who asks hands the dates in.

A `Day` counts from 1 January of the year 1, which is 1, in the Gregorian calendar, as
`datetime.date.toordinal` does.
"""

import re
from typing import Final, NewType

from contracts.errors import BadDay

Day = NewType("Day", int)

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2099  # that may be written; reckoning goes beyond
_BEFORE_MONTH: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_FORM: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_CYCLE_DAYS: Final = 146_097  # 400 years, after which the calendar repeats
_FROM_MARCH_0: Final = 305  # days from 1 March of the year 0 to the day before 1 January of 1
MONTHS: Final = 12
WEEKDAYS: Final = 7


def day_of(year: int, month: int, day: int) -> Day:
    """Return the day of a date; raise `BadDay` if there is no such date."""
    if not FIRST_YEAR <= year <= LAST_YEAR or not 1 <= month <= MONTHS:
        raise BadDay
    if not 1 <= day <= length_of(year, month):
        raise BadDay
    return _count(year, month, day)


def parse_day(text: str) -> Day:
    """Return the day that YYYY-MM-DD says; raise `BadDay`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise BadDay
    year, month, day = (int(part) for part in found.groups())
    return day_of(year, month, day)


def date_of(day: Day) -> tuple[int, int, int]:
    """Return year, month and day of the month (Hinnant, civil_from_days)."""
    # A year that begins in March has its leap day last, so that months need no exception.
    cycle, of_cycle = divmod(day + _FROM_MARCH_0, _CYCLE_DAYS)
    year = (of_cycle - of_cycle // 1_460 + of_cycle // 36_524 - of_cycle // 146_096) // 365
    of_year = of_cycle - (365 * year + year // 4 - year // 100)
    index = (5 * of_year + 2) // 153
    month = (index + 2) % MONTHS + 1
    is_next_year = month <= 2  # noqa: PLR2004 - January and February
    return year + 400 * cycle + is_next_year, month, of_year - (153 * index + 2) // 5 + 1


def text_of(day: Day) -> str:
    """Return YYYY-MM-DD."""
    year, month, number = date_of(day)
    return f"{year:04}-{month:02}-{number:02}"


def is_leap(year: int) -> bool:
    """Return whether February has 29 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def length_of(year: int, month: int) -> int:
    """Return how many days a month has."""
    return (31, 29 if is_leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def add_months(day: Day, months: int) -> Day:
    """Return the day of the same number so many months later, or the last one of that month.

    So the French code of civil procedure counts (article 641): a year from 29 February ends on 28
    February.
    """
    year, month, number = date_of(day)
    years, index = divmod(month - 1 + months, MONTHS)
    year, month = year + years, index + 1
    return _count(year, month, min(number, length_of(year, month)))


def weekday_of(day: Day) -> int:
    """Return 1 for Monday to 7 for Sunday."""
    return (day - 1) % WEEKDAYS + 1


def easter_of(year: int) -> Day:
    """Return Easter Sunday (the anonymous Gregorian algorithm; Meeus, chapter 8)."""
    golden = year % 19
    century, of_century = divmod(year, 100)
    leaps, rest = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leaps - correction + 15) % 30
    fourth, last = divmod(of_century, 4)
    weekday = (32 + 2 * rest + 2 * fourth - epact - last) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return _count(year, month, day + 1)


def _count(year: int, month: int, day: int) -> Day:
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400
    is_after_february = month > 2  # noqa: PLR2004 - February is the second month
    return Day(days + _BEFORE_MONTH[month - 1] + (is_leap(year) and is_after_february) + day)
