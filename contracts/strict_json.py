"""JSON (RFC 8259) read strictly: one object, every name once, whole numbers, nothing endless."""

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn

_DIGITS_MAX: Final = 18  # what is longer is out of every range here


def parse(text: str | bytes, error: Callable[[str], Exception], *, limit: int) -> Any:  # noqa: ANN401
    """Return what `text` says; raise `error(reason)` where it is not strict JSON in UTF-8.

    `limit` bounds its length. Floats, NaN, repeated names and lone surrogates are refused.
    """
    if len(text) > limit:
        raise error(f"it is longer than {limit}")

    def refuse(found: str) -> NoReturn:
        raise error(f"{found[:32]} is no whole number")

    def whole(digits: str) -> int:
        return refuse(digits) if len(digits.lstrip("-")) > _DIGITS_MAX else int(digits)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(found)
        if len(names) != len(found):
            raise error("a name stands twice in an object")
        return names

    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=pairs,
            parse_float=refuse,
            parse_int=whole,
            parse_constant=refuse,
        )
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate encodes to nothing
    except (ValueError, RecursionError):  # with UnicodeError and JSONDecodeError
        raise error("it is not JSON") from None
    return value


def require_fields(
    value: object, names: tuple[str, ...], error: Callable[[str], Exception], what: str
) -> dict[str, Any]:
    """Return `value` as an object that has exactly the fields `names`, or raise `error(reason)`."""
    if not isinstance(value, dict):
        raise error(f"{what} must be an object")
    for name in names:
        if name not in value:
            raise error(f"{what} lacks {name}")
    for name in value:
        if name not in names:
            raise error(f"{what} has no field {name[:64]!r}")
    return value


def compact(value: object) -> str:
    """Return `value` as JSON without spaces, in ASCII."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def indented(value: object) -> str:
    """Return `value` as JSON for people, a line each, ending in a newline."""
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def canonical(value: object) -> bytes:
    """Return `value` in the one form of a file that is named by its hash: as `jq -S .` writes it.

    Names sorted, a line each, ASCII, ending in a newline.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
    return text.encode("ascii")
