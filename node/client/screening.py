"""Refuse social security numbers (NIR, and the NIA of the same form) wherever they are typed.

A second defence: the first is that nothing on the chain has room for text. Source of the form: the
identifier rules of INSEE (13 digits and a key of two, 97 less the number modulo 97; 2A counts as
19 and 2B as 18). Numbers spelled in hexadecimal or base64 are found too.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from contracts.identifiers import NIR_FORM, nir_key
from node.client.errors import SocialSecurityNumber
from node.client.faults import Faults

_SEPARATORS: Final = re.compile(r"[\s.\-_/]+")
_NUMBER: Final = re.compile(rf"(?=({NIR_FORM})(\d\d)?)", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z0-9+/_\-]{16,}={0,2}")  # base64 of 13 characters has 18
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){13,}")
# Random identifiers hold 13 digits in a row by chance, one in a few hundred; in hexadecimal they
# are looked at all the same.
_IDENTIFIER: Final = re.compile(
    r"(urn:uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{32}|[0-9a-f]{64}"
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")


def holds_number(text: str) -> bool:
    """Return whether `text` holds a social security number, plain or in hexadecimal or base64."""
    return any(_holds_plain(reading) for reading in _readings(text))


def require_none(value: object, field: str = "") -> None:
    """Raise `SocialSecurityNumber` if a string, number or name anywhere in `value` holds one.

    Where several do, raise `ManyRefused` with a fault for each.
    """
    faults = Faults()
    for place in _places(value, field):
        faults.add(SocialSecurityNumber(place))
    faults.require_none()


def _places(value: object, field: str) -> Iterator[str]:
    match value:
        case dict():
            for name, item in value.items():
                shown = name if _PLAIN_NAME.fullmatch(name) else "…"
                inside = f"{field}.{shown}" if field else shown
                if holds_number(name):
                    yield inside
                yield from _places(item, inside)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _places(item, f"{field}[{index}]")
        case str():
            if holds_number(value):
                yield field
        case int() | Decimal():
            if holds_number(str(value)):
                yield field
        case _:
            pass


def _readings(text: str) -> Iterator[str]:
    if not _IDENTIFIER.fullmatch(text):
        yield text
    for word in _HEX.findall(text):
        yield bytes.fromhex(word).decode("ascii", errors="replace")
    for word in _WORD.findall(text):
        plain = word.rstrip("=").translate(str.maketrans("-_", "+/"))
        for start in range(min(4, len(plain))):  # it may begin inside a word
            part = plain[start:]
            part = part[: len(part) - 1] if len(part) % 4 == 1 else part
            try:
                decoded = base64.b64decode(part + "=" * (-len(part) % 4))
            except binascii.Error:  # pragma: no cover - the alphabet was checked
                continue
            yield decoded.decode("ascii", errors="replace")


def _holds_plain(text: str) -> bool:
    """Return whether a number stands in `text`, written with separators or between them."""
    text = text.upper()
    rows = {_SEPARATORS.sub("", text), *_SEPARATORS.split(text)}
    return any(_holds_row(row) for row in rows)


def _holds_row(text: str) -> bool:
    for match in _NUMBER.finditer(text):
        number, key = match[1], match[2]
        start, end = match.start(), match.start() + len(number)
        if key is not None and nir_key(number) == int(key):
            return True
        # Thirteen digits that stand alone are the number without its key. In a longer row of
        # digits (a SIRET has 14) only the key tells.
        alone = not text[start - 1 : start].isdigit() and not text[end : end + 1].isdigit()
        if alone:
            return True
    return False
