"""JSON that people's software writes, read strictly: exact decimals, bounded, no name twice."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from contracts.calendar import parse_day
from contracts.errors import BadDay
from node.client.errors import NotReadable, Refused
from node.client.faults import Faults

MAX_FILE_BYTES: Final = 1 << 20  # a claim has about two thousand
MAX_DEPTH: Final = 48  # a FHIR resource has about ten
REFERENCE: Final = re.compile(r"[A-Z0-9-]{1,20}")
_SHOWN: Final = 40  # characters of a name in a message


def parse_object(data: bytes, name: str, *, limit: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the JSON object in `data`, numbers exact; raise `NotReadable`. `name` is the file."""
    if len(data) > limit:
        raise NotReadable(f"{name} is longer than {limit} bytes")
    try:
        value = json.loads(
            data.decode("utf-8-sig"),  # Windows programs like to write the mark
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_pairs,
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise NotReadable(f"{name} is not a JSON file: {_reason(error)}") from None
    if _is_deeper(value, MAX_DEPTH):
        raise NotReadable(f"{name} is not a JSON file: nested more than {MAX_DEPTH} deep")
    if not isinstance(value, dict):
        raise NotReadable(f"{name} holds no JSON object")
    return value


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError() | _Strict():
            return str(error)
        case UnicodeDecodeError():
            return "not UTF-8"
        case _:
            return "nested too deep, or with a number out of all range"


def _is_deeper(value: object, most: int) -> bool:
    """Return whether lists and objects stand in each other more than `most` times."""
    level = [value]
    for _ in range(most):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = inner
    return any(isinstance(each, dict | list) for each in level)


class _Strict(ValueError):
    """JSON that Python would read and others read otherwise."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Strict(f"{name} is no number of JSON")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Strict("a name stands twice in one object")
    return result


def require_names(
    value: Mapping[str, object], known: frozenset[str], field: str, *, required: frozenset[str]
) -> None:
    """Raise `Refused`, of all at once, if names are unknown or required ones are missing."""
    faults = Faults()
    for name in value:
        if name not in known:
            shown = name if name.isidentifier() and len(name) <= _SHOWN else "a name"
            hint = f"known: {', '.join(sorted(known))}"
            faults.add(Refused(field, f"{shown} is not expected here", hint=hint))
    for name in sorted(required - value.keys()):
        faults.add(Refused(f"{field}.{name}", "is missing"))
    faults.require_none()


def as_object(value: object, field: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else raise `Refused`."""
    if not isinstance(value, dict):
        raise Refused(field, "must be a JSON object")
    return value


def as_list(value: object, field: str, *, limit: int) -> list[Any]:
    """Return `value` if it is a JSON array of at most `limit` items, else raise `Refused`."""
    if not isinstance(value, list):
        raise Refused(field, "must be a list")
    if len(value) > limit:
        raise Refused(field, f"has {len(value)} items, at most {limit}")
    return value


def as_integer(value: object, field: str, *, unit: str) -> int:
    """Return `value` if it is a whole number, else raise `Refused`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(field, f"must be a whole number of {unit}")
    return value


def as_choice(value: object, field: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`, else raise `Refused`."""
    if not isinstance(value, str) or value not in choices:
        raise Refused(field, f"must be {' or '.join(choices)}")
    return value


def as_reference(value: object, field: str) -> str:
    """Return `value` if it is 1 to 20 of A-Z, 0-9 and -, else raise `Refused`."""
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        raise Refused(field, "must be 1 to 20 capital letters, digits and dashes")
    return value


def as_date(value: object, field: str) -> str:
    """Return `value` if it is a day of 1900 to 2099 written YYYY-MM-DD, else raise `Refused`."""
    text = value if isinstance(value, str) else ""
    try:
        parse_day(text)
    except BadDay:
        raise Refused(field, "must be a day such as 2026-11-23") from None
    return text
