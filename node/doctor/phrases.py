"""Figures and names as a person reads them."""

from collections.abc import Iterable
from typing import Final

_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES: Final = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
MAX_CHARACTERS: Final = 200  # of what somebody else wrote


def span(milliseconds: int) -> str:
    """Return a length of time: two units at most."""
    seconds = milliseconds // 1000
    for unit, name in _SPANS:
        if seconds >= unit:
            whole, rest = divmod(seconds, unit)
            smaller, small_name = {"d": (3_600, "h"), "h": (60, "min"), "min": (1, "s")}[name]
            below = rest // smaller
            return f"{whole} {name} {below} {small_name}" if below else f"{whole} {name}"
    if milliseconds < 1000:  # noqa: PLR2004
        return f"{milliseconds} ms"
    return f"{milliseconds / 1000:.1f} s"


def size(count: int) -> str:
    """Return a number of bytes."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count // unit} {name}"
    return f"{count} bytes"


def names(labels: Iterable[str]) -> str:
    """Return names as they stand in a sentence; nothing where there are none."""
    *most, last = list(labels) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def printable(text: str | bytes) -> str:
    """Return what somebody else wrote, in one line that does nothing to a terminal.

    Of a long text the middle is left out: it begins with what failed, and ends with why.
    """
    text = text.decode("ascii", errors="replace") if isinstance(text, bytes) else text
    text = " ".join(text.split())
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2 - 2
        text = f"{text[:half]} … {text[-half:]}"
    return "".join(character if character.isprintable() else "�" for character in text)


def sentence_of(text: str) -> str:
    """Return text that begins with a capital and ends with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
