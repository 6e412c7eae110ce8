"""What stands in the cells of a shop's table, as French and English programs write it."""

import re
from decimal import Decimal
from typing import Final

from node.client.errors import Refused

_MINUS: Final = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"})
_SPACES: Final = re.compile(r"\s+")  # no-break ones too, which French programs write in numbers
_NUMBER: Final = re.compile(r"([+-]?\d{1,6})(?:[.,](\d{1,6}))?", re.ASCII)
_EUROS: Final = re.compile(r"(\d{1,7})(?:[.,](\d{1,2}))?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d{1,6}", re.ASCII)
_FRENCH_DAY: Final = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", re.ASCII)
_SHORT_YEAR: Final = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2}", re.ASCII)
_PLANO: Final = frozenset(("plan", "plano", "pl", "neutre"))
_BASES: Final = {
    **dict.fromkeys(("up", "haut", "h", "haute", "superieure"), "up"),
    **dict.fromkeys(("down", "bas", "b", "basse", "inferieure"), "down"),
    **dict.fromkeys(("in", "interne", "nasal", "nasale", "i", "n"), "in"),
    **dict.fromkeys(("out", "externe", "temporal", "temporale", "e", "t"), "out"),
}
_LEGS: Final = {
    **dict.fromkeys(("base", "amo", "ro", "obligatoire", "regime obligatoire"), "base"),
    **dict.fromkeys(
        ("complementary", "complementaire", "complémentaire", "amc", "rc"), "complementary"
    ),
}


def as_dioptres(text: str, field: str) -> Decimal:
    """Return a number of dioptres; raise `Refused`. "plan" is none."""
    text = _packed(text)
    if text.casefold() in _PLANO:
        return Decimal(0)
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise Refused(field, "must be a number of dioptres, such as -2,25")
    return Decimal(f"{found[1]}.{found[2] or 0}")


def as_degrees(text: str, field: str) -> int:
    """Return the degrees of an axis; raise `Refused`."""
    text = _packed(text).removesuffix("°")
    if not _WHOLE.fullmatch(text):
        raise Refused(field, "must be a whole number of degrees")
    return int(text)


def as_cents(text: str, field: str) -> int:
    """Return an amount in euros as cents; raise `Refused`."""
    text = _packed(text).removesuffix("€").removesuffix("EUR")
    found = _EUROS.fullmatch(text)
    if found is None:
        raise Refused(field, "must be an amount in euros, such as 118,00")
    return int(found[1]) * 100 + int(f"{found[2] or 0:0<2}")


def as_day(text: str, field: str) -> str:
    """Return a day written JJ/MM/AAAA or YYYY-MM-DD as the latter; raise `Refused`."""
    text = text.strip()
    if found := _FRENCH_DAY.fullmatch(text):
        return f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}"
    if _SHORT_YEAR.fullmatch(text):
        raise Refused(field, "write the year with four digits: 23/11/2026")
    return text  # the form and the day itself are judged with the claim


def as_base(text: str, field: str) -> str:
    """Return to where the base of a prism is; raise `Refused`."""
    found = _BASES.get(text.strip().casefold().replace("é", "e"))
    if found is None:
        raise Refused(field, "must be haut, bas, interne or externe (up, down, in, out)")
    return found


def as_leg(text: str, field: str) -> str:
    """Return for which insurance a claim is; raise `Refused`."""
    found = _LEGS.get(text.strip().casefold())
    if found is None:
        raise Refused(field, "must be base (AMO) or complementary (AMC)")
    return found


def as_codes(text: str) -> list[str]:
    """Return the grouping codes that stand in one cell."""
    return [code.upper() for code in re.split(r"[\s+,;/|]+", text) if code]


def as_name(text: str) -> str:
    """Return a reference, in capitals."""
    return text.strip().upper()


def as_number(text: str) -> str:
    """Return a number that people write in groups of digits."""
    return _packed(text)


def _packed(text: str) -> str:
    return _SPACES.sub("", text.translate(_MINUS))
