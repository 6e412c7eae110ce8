"""Days without a clock: they agree with Python's own calendar, which the rules may not import."""

import datetime as dt
import itertools
from calendar import monthrange

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calendar import (
    Day,
    add_months,
    date_of,
    day_of,
    easter_of,
    length_of,
    parse_day,
    text_of,
    weekday_of,
)
from contracts.errors import BadDay
from tests.contracts.optics_vectors import VECTORS

days = st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31))


def test_every_day_of_four_centuries_is_that_of_the_gregorian_calendar() -> None:
    first = dt.date(1800, 1, 1).toordinal()
    for number in range(first, first + 146_097 + 366):
        date = dt.date.fromordinal(number)
        assert date_of(Day(number)) == (date.year, date.month, date.day)


def test_every_month_has_its_length() -> None:
    for year, month in itertools.product((1900, 2000, 2023, 2024), range(1, 13)):
        length = monthrange(year, month)[1]
        assert length_of(year, month) == length
        assert (
            day_of(year, month, length) + 1
            == dt.date(year + month // 12, month % 12 + 1, 1).toordinal()
        )
        with pytest.raises(BadDay):
            day_of(year, month, length + 1)


@given(days)
def test_a_day_is_written_and_read(date: dt.date) -> None:
    day = parse_day(date.isoformat())
    assert day == date.toordinal() == day_of(date.year, date.month, date.day)
    assert text_of(day) == date.isoformat()
    assert weekday_of(day) == date.isoweekday()


@given(days, st.integers(0, 1_200))
def test_months_later_is_the_same_number_or_the_last_of_the_month(date: dt.date, more: int) -> None:
    year, month, number = date_of(add_months(Day(date.toordinal()), more))
    assert 12 * year + month == 12 * date.year + date.month + more
    assert number == min(date.day, length_of(year, month))


@given(days, days, st.integers(0, 1_200))
def test_who_begins_later_ends_no_earlier(one: dt.date, other: dt.date, more: int) -> None:
    first, second = sorted((Day(one.toordinal()), Day(other.toordinal())))
    assert add_months(first, more) <= add_months(second, more)
    assert add_months(first, more) <= add_months(first, more + 1)


@pytest.mark.parametrize(
    ("begun", "months", "over"),
    [
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2096-02-29", 48, "2100-02-28"),  # 2100 is no leap year
        ("2000-02-29", 12, "2001-02-28"),
        ("2023-08-31", 6, "2024-02-29"),
        ("2023-12-31", 2, "2024-02-29"),
        ("2023-02-28", 12, "2024-02-28"),
        ("2023-05-31", 1, "2023-06-30"),
        ("2023-05-31", 0, "2023-05-31"),
    ],
)
def test_a_period_that_no_day_of_its_number_ends(begun: str, months: int, over: str) -> None:
    assert text_of(add_months(parse_day(begun), months)) == over


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29",
        "1900-02-29",
        "2024-02-30",
        "2024-04-31",
        "2024-00-10",
        "2024-13-01",
        "2024-01-00",
        "1899-12-31",
        "2100-01-01",
        "2024-1-1",
        "2024-01-01 ",
        "2024-01-01\n",
        "20240101",
        "",
        "٢٠٢٤-01-01",
        "-024-01-01",
    ],
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(BadDay):
        parse_day(text)


@pytest.mark.parametrize("date", VECTORS["easter"])
def test_easter_falls_on_its_day(date: str) -> None:
    assert text_of(easter_of(int(date[:4]))) == date


def test_easter_is_what_gauss_reckons() -> None:
    for year in range(1583, 3000):
        century = year // 100
        moon = (15 + century - century // 4 - (8 * century + 13) // 25) % 30
        sunday = (4 + century - century // 4) % 7
        full = (19 * (year % 19) + moon) % 30
        after = (2 * (year % 4) + 4 * (year % 7) + 6 * full + sunday) % 7
        march = 22 + full + after
        if full == 29 and after == 6:
            march = 50
        if full == 28 and after == 6 and (11 * moon + 11) % 30 < 19:
            march = 49
        assert easter_of(year) == dt.date(year, 3, 1).toordinal() + march - 1
