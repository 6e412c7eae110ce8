"""What personal data looks like in bytes that should be random, and how often chance looks so.

A field of 32 random bytes may look like anything, seldom. Each search says how often chance would
be found by it, so that an auditor can tell a leak from luck: what is found counts where chance
would find so much in less than one audit in a thousand.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

ALARM: Final = 1e-3  # how seldom chance must find as much as was found
_KEY_MODULUS: Final = 97
# Of 10^13 numbers, those with a sex of 1 or 2, a month of 01 to 12 and a place that may be.
_NUMBERS: Final = 2 * 100 * 12 * 98 * 999 * 999
# In packed digits chance is not seldom, so the months that stand for an unknown one are left out.
_MONTH: Final = "(?:0[1-9]|1[0-2])"


@dataclass(frozen=True, slots=True)
class Search:
    """A way to look at a value, and what chance makes of it."""

    name: str
    says: str  # what was found, of a place
    chance: Callable[[int], float]  # length of a value -> how often it is found in a random one
    find: Callable[[bytes], Iterator[bytes]]  # what tells one number from another, where it matters


def improbable(seen: int, expected: float) -> bool:
    """Return whether chance finds so many in less than one audit in a thousand."""
    if seen <= expected:
        return False
    # P(X >= seen) of a Poisson X, from its largest term on.
    term = math.exp(seen * math.log(expected) - expected - math.lgamma(seen + 1))
    total, at = 0.0, seen
    while term > total * 1e-9:
        total += term
        at += 1
        term *= expected / at
    return total < ALARM


def _pattern(*expressions: bytes) -> Callable[[bytes], Iterator[bytes]]:
    compiled = re.compile(b"|".join(expressions), re.DOTALL)

    def find(value: bytes) -> Iterator[bytes]:
        if (found := compiled.search(value)) is not None:
            yield found[0]

    return find


def _run(length: int, of_256: int) -> Callable[[int], float]:
    """Return how often a run of so many bytes, each one of some, stands in a random value."""
    return lambda size: max(0, size - length + 1) * (of_256 / 256) ** length


# --- social security numbers ----------------------------------------------------------------------


def is_number(digits: str, *, with_key: bool) -> bool:
    """Return whether 13 digits may be a social security number, and its key, of two, fits."""
    number = digits[:13].lower().replace("2a", "19", 1).replace("2b", "18", 1)
    if not number.isdigit() or digits[7:10] == "000" or digits[10:13] == "000":
        return False
    department = number[5:7]
    if department == "00" or digits[3:5] == "00":
        return False
    return not with_key or int(digits[13:15]) == _KEY_MODULUS - int(number) % _KEY_MODULUS


_GAP: Final = rb"[ .\-\xa0]?"
_IN_TEXT: Final = re.compile(
    rb"(?=([123478]%s\d\d%s(?:0[1-9]|1[0-2]|[2-9]\d)%s(?:\d\d|2[ABab])%s\d{3}%s\d{3}))"
    % ((_GAP,) * 5)
)


def _number_in_text(value: bytes) -> Iterator[bytes]:
    for found in _IN_TEXT.finditer(value):
        digits = re.sub(rb"[^0-9ABab]", b"", found[1]).decode("ascii")
        if is_number(digits, with_key=False):
            yield digits[:13].encode()


_PACKED: Final = re.compile(rf"(?=([12]\d\d{_MONTH}(?:\d\d|2[ab])\d{{8}}))")
_PACKED_ODDS: Final = (10 / 16) ** 15 * (2 / 10) * (12 / 100) / 100  # a place may be any: nearly
_NIBBLES: Final = 15


def _packed(value: bytes) -> Iterator[tuple[int, bytes]]:
    text = value.hex()
    for found in _PACKED.finditer(text):
        if found[1].isalnum() and is_number(found[1], with_key=True):
            yield found.start(), found[1][:13].encode()


def _places(size: int) -> int:
    """Return at how many half bytes of so many bytes a number may begin."""
    return max(0, 2 * size - _NIBBLES + 1)


def _at_edge(start: int, size: int) -> bool:
    return start <= 1 or start + _NIBBLES >= 2 * size - 1


def _packed_at_edge(value: bytes) -> Iterator[bytes]:
    return (number for start, number in _packed(value) if _at_edge(start, len(value)))


def _packed_inside(value: bytes) -> Iterator[bytes]:
    return (number for start, number in _packed(value) if not _at_edge(start, len(value)))


_U64: Final = 8
# As u64 a number has two bytes of zeros, or nearly, before it; behind it where the low byte leads.
_BINARY: Final = re.compile(rb"(?=(\x00[\x00-\x03].{6}))|(?=(.{6}[\x00-\x03]\x00))", re.DOTALL)


def _binary(value: bytes) -> Iterator[bytes]:
    for found in _BINARY.finditer(value):
        number = int.from_bytes(found[1]) if found[1] else int.from_bytes(found[2], "little")
        for digits, with_key in ((f"{number:013d}", False), (f"{number:015d}", True)):
            if (
                len(digits) == (15 if with_key else 13)
                and digits[0] in "12"
                and 1 <= int(digits[3:5]) <= 12  # noqa: PLR2004 - months
                and is_number(digits, with_key=with_key)
            ):
                yield digits[:13].encode()


# --- names, days, corrections ---------------------------------------------------------------------

_MONTHS: Final = "janv|fevr|févr|mars|avril|mai|juin|juil|aout|août|sept|octob|novem|décem|decem"
_DAY: Final = rb"(?:0[1-9]|[12]\d|3[01])"
_MONTH_TEXT: Final = rb"(?:0[1-9]|1[0-2])"
_YEAR: Final = rb"(?:19|20)\d\d"
_SEPARATOR: Final = rb"[-/. ]"
_TWO_DIGITS: Final = re.compile(rb"[0-9]{2}")  # every day has them, and few random values
_ANY_DAY: Final = _pattern(
    _YEAR + _SEPARATOR + _MONTH_TEXT + _SEPARATOR + _DAY,
    _DAY + _SEPARATOR + _MONTH_TEXT + _SEPARATOR + rb"(?:19|20)?\d\d",
    _YEAR + _MONTH_TEXT + _DAY,
    _DAY + _MONTH_TEXT + _YEAR,
    _DAY + rb"? ?(?i:" + _MONTHS.encode() + rb")[a-z]{0,5}\.? ?(?:19|20)?\d\d",
)


def _day(value: bytes) -> Iterator[bytes]:
    return _ANY_DAY(value) if _TWO_DIGITS.search(value) is not None else iter(())


_SIGN: Final = rb"(?:[-+]|\xe2\x88\x92)"  # the minus that typographers use, too
_CORRECTION: Final = _pattern(_SIGN + rb"[0-9]{1,2}[.,](?:00|25|50|75)")

# The given names that are most frequent in France among those that live, by INSEE's list, and
# some; of four letters at least, since chance spells shorter ones.
_GIVEN: Final = (
    "adam adele adrien agathe agnes alain albert alex alice aline amandine ambre amelie ana andre "
    "andree angel angele anna anne annick annie antoine arnaud arthur audrey aurelie axel baptiste "
    "beatrice benjamin benoit bernadette bernard brigitte bruno camille carole caroline catherine "
    "cecile celine chantal charles charlotte chloe christelle christian christiane christine "
    "christophe claire claude claudine clement colette corinne cyril damien daniel danielle david "
    "delphine denis denise didier dominique edouard eliane elisabeth elodie emilie emma emmanuel "
    "enzo eric estelle evelyne fabien fabienne fabrice fatima florence florian france francis "
    "franck francois francoise frederic gabriel genevieve georges gerard germaine gilbert gilles "
    "ginette gregory guillaume guy helene henri herve hugo ines isabelle jacqueline jacques jade "
    "jean jeanne jeannine jeremy jerome joel jonathan joseph josette julie julien juliette karine "
    "kevin laetitia laura laurence laurent lea leo liam lina lola louis louise lucas lucie lucien "
    "ludovic madeleine manon marc marcel margot marguerite maria marie marine marion martin "
    "martine mathieu maurice maxime melanie michel michele michelle mohamed monique morgane "
    "myriam nadine nathalie nathan nicolas nicole noah odette olivier pascal pascale patrice "
    "patricia patrick paul paulette pauline philippe pierre quentin rachid raphael raymond "
    "raymonde regine rene renee richard robert roger roland romain sabrina samuel sandra sandrine "
    "sarah sebastien serge simone solange sophie stephane stephanie suzanne sylvain sylvie "
    "thierry thomas valerie veronique victor vincent virginie viviane xavier yann yves yvette "
    "yvonne zoe"
)
_SHORTEST_GIVEN: Final = 4
_NAMES: Final = [name for name in _GIVEN.split() if len(name) >= _SHORTEST_GIVEN]
_LINK: Final = rb"[ '\-.]"
_UPPER, _LOWER = rb"(?:[A-Z]|\xc3[\x80-\x9e])", rb"(?:[a-z]|\xc3[\x9f-\xbf])"
_WORD: Final = rb"(?:%s%s+|%s+|%s+)" % (_UPPER, _LOWER, _UPPER, _LOWER)
_RUN: Final = re.compile(rb"%s(?:%s%s)*" % (_WORD, _LINK, _WORD))
_NAME_RUN: Final = 12
_SHORT_RUN: Final = 8  # with a given name in it
_KNOWN: Final = re.compile("|".join(_NAMES), re.IGNORECASE)


def _name(value: bytes) -> Iterator[bytes]:
    for found in _RUN.finditer(value):
        run = found[0]
        if len(run) >= _NAME_RUN or (
            len(run) >= _SHORT_RUN and _KNOWN.search(run.decode("utf-8", "replace")) is not None
        ):
            yield run
            return


def _runs(length: int) -> float:
    """Return how often so many random bytes are words, each in one case, or with a capital."""
    letters, links = 26 / 256, 5 / 256
    # How often they end: in one capital, in several, in small letters after one, after none; in
    # what joins words.
    one, more, title, small, joint = letters, 0.0, 0.0, letters, 0.0
    for _ in range(length - 1):
        one, more, title, small, joint = (
            joint * letters,
            (one + more) * letters,
            (one + title) * letters,
            (small + joint) * letters,
            (one + more + title + small) * links,
        )
    return one + more + title + small + joint


def _name_odds(size: int) -> float:
    known = sum(
        3 * (_SHORT_RUN - len(name) + 1) * 256.0 ** -len(name) * _runs(_SHORT_RUN)
        / _runs(len(name))
        for name in _NAMES
        if len(name) <= _SHORT_RUN
    )  # fmt: skip
    long = max(0, size - _NAME_RUN + 1) * _runs(_NAME_RUN)
    return long + max(0, size - _SHORT_RUN + 1) * known


_PRINTABLE: Final = 95
_DIGITS, _HEX, _TEXT, _SAME, _WIDE = 8, 14, 22, 6, 5

SEARCHES: Final[tuple[Search, ...]] = (
    Search(
        "number in text",
        "digits that are a social security number",
        lambda size: 2 * _run(13, 10)(size),
        _number_in_text,
    ),
    Search(
        "number packed at an edge",
        "four bits a digit, at an end of the field: a social security number with its key",
        lambda size: min(4, _places(size)) * _PACKED_ODDS,
        _packed_at_edge,
    ),
    Search(
        "number packed inside",
        "four bits a digit, within the field: a social security number with its key",
        lambda size: max(0, _places(size) - 4) * _PACKED_ODDS,
        _packed_inside,
    ),
    Search(
        "number in binary",
        "eight bytes whose number is a social security number",
        lambda size: max(0, size - _U64 + 1) * 4 * _NUMBERS / 2**64,
        _binary,
    ),
    Search(
        "digits",
        f"{_DIGITS} digits or more in text",
        lambda size: 2 * _run(_DIGITS, 10)(size),
        _pattern(rb"[0-9]{8,}", rb"[\xf0-\xf9]{8,}"),  # ASCII, EBCDIC
    ),
    Search(
        "day",
        "text that is a day of the calendar",
        lambda size: max(0, size - 7) * 3 * 31 * 12 * 100 * 4 * 4 / 256.0**8,
        _day,
    ),
    Search(
        "correction",
        "text that is a correction in dioptres",
        lambda size: max(0, size - 4) * 1.1 * 2 * 10 * 2 * 4 / 256.0**5,
        _CORRECTION,
    ),
    Search("name", "text that reads like a name", _name_odds, _name),
    Search(
        "text",
        f"{_TEXT} characters of text or more",
        _run(_TEXT, _PRINTABLE),
        _pattern(rb"[ -~]{22,}"),
    ),
    Search(
        "wide text",
        f"{_WIDE} characters or more of two bytes each",
        lambda size: 2 * max(0, size - 2 * _WIDE + 1) * (_PRINTABLE / 65_536) ** _WIDE,
        _pattern(rb"(?:[ -~]\x00){5,}", rb"(?:\x00[ -~]){5,}"),
    ),
    Search(
        "digits of base 16",
        f"{_HEX} digits of base 16 or more in text",
        lambda size: 2 * _run(_HEX, 16)(size),
        _pattern(rb"[0-9a-f]{14,}", rb"[0-9A-F]{14,}"),
    ),
    Search(
        "padding",
        f"{_SAME} equal bytes or more in a row: what is random has none",
        lambda size: max(0, size - _SAME + 1) / 256.0 ** (_SAME - 1),
        _pattern(rb"(.)\1{5,}"),
    ),
)
# Of these chance finds some in a long chain; that it finds one number in two values, it does not.
NUMBERED: Final = frozenset(
    ("number packed at an edge", "number packed inside", "number in binary")
)
