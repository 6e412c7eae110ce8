"""Hashes that nobody may put on the chain, because they can be guessed: of codes, of corrections.

A hash without a salt hides nothing that can be listed. What an optician writes down can: every
grouping code and what the rules let stand together, and every sphere, cylinder and axis. All of it
is hashed here, as it is and as our own domains would have it, and looked for in the chain. The
guesses are kept as bits of a filter, of one size whatever the chain, and made once more for what
seems to be among them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from itertools import chain, combinations_with_replacement, product
from typing import Final

import nacl.bindings as sodium

from contracts.calls import Leg, Part
from contracts.commitment import SALT_BYTES, SCALAR_BYTES, mark_of
from contracts.nomenclature.codes import Codes, CodeTable
from contracts.nomenclature.errors import Objected
from contracts.questions import Kind, Question
from contracts.sd_jwt import make_disclosure
from ledger.hashing import Domain, hash_of

# What hashes something that is chosen, salted, in our own ways: here without the salt.
_DOMAINS: Final = (Domain.MARK, Domain.LOCK, Domain.PAYMENT, Domain.QUESTION, Domain.ANSWER)
_NO_SALTS: Final = (b"", bytes(SALT_BYTES))
_JOINTS: Final = (" ", ",", "", ", ", ";", "-", "/", "|")  # the first three in our domains, too
_STEP: Final = 25  # hundredths of a dioptre
_ORDINALS: Final = 20
_FILTER_BITS: Final = 28  # 32 MiB, for nine million guesses


@dataclass(frozen=True, slots=True)
class Breadth:
    """How far the lists go."""

    sphere: int  # hundredths of a dioptre, of either sign
    cylinder: int
    axis_step: int  # degrees
    supplements: int  # that stand together
    cents: int
    years: tuple[int, int]


FULL: Final = Breadth(20_00, 6_00, 1, 2, 1_000_00, (1900, 2040))
QUICK: Final = Breadth(10_00, 4_00, 10, 1, 300_00, (1920, 2040))


class Guesses:
    """All guesses, as a filter: what it has not is none of them."""

    def __init__(self, table: CodeTable, breadth: Breadth = FULL) -> None:
        self._table, self._breadth = table, breadth
        self._bits = bytearray(1 << (_FILTER_BITS - 3))
        self.counts: dict[str, int] = {}  # what is guessed -> how many guesses
        for what, values in self:
            self.counts[what] = self._add(values)

    def __iter__(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Yield what is guessed, and the 32 bytes that each guess would be on the chain."""
        table, breadth = self._table, self._breadth
        cents = (str(each) for each in range(breadth.cents + 1))
        yield "grouping codes", _hashes(_codes(table, breadth.supplements, _JOINTS))
        yield (
            "grouping codes, in our domains",
            _in_domains(_codes(table, breadth.supplements, _JOINTS[:3])),
        )
        yield "a correction of one eye", _hashes(_corrections(breadth))
        yield "a correction of one eye, in our domains", _in_domains(_plain_corrections(breadth))
        yield "a mark whose secret is a hashed correction", _marks_of(_plain_corrections(breadth))
        yield "the spheres of two eyes", _hashes(_spheres(breadth))
        yield "a day", _hashes(_days(breadth))
        yield "an amount", _hashes(_amounts(breadth))
        yield "an amount, in our domains", _in_domains(cents)
        yield "an amount without a blinding", _points(breadth.cents)
        yield "a field of a document without a salt", _fields(table, breadth)
        yield "a mark without a secret", _empty_marks()
        yield "a question without a salt", _empty_questions()

    def may_have(self, value: bytes) -> bool:
        """Return whether 32 bytes may be a guess; of others, one in a thousand seems to be."""
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in _places(value))

    def _add(self, values: Iterable[bytes]) -> int:
        bits, count = self._bits, 0
        for value in values:
            count += 1
            for place in _places(value):
                bits[place >> 3] |= 1 << (place & 7)
        return count


def _places(value: bytes) -> tuple[int, int, int]:
    number, mask = int.from_bytes(value[:12]), (1 << _FILTER_BITS) - 1
    return number & mask, number >> 32 & mask, number >> 64 & mask


def _hashes(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        yield sha256(text.encode()).digest()


def _in_domains(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        for domain in _DOMAINS:
            yield hash_of(domain, text.encode())


def _codes(table: CodeTable, most: int, joints: Iterable[str]) -> Iterator[str]:
    """Yield what may stand together in a claim, joined in these ways."""
    lenses, frames, supplements = (
        [row.code for row in table.codes if row.type == type_]
        for type_ in ("lens", "frame", "supplement")
    )
    yield from (*lenses, *frames, *supplements)
    extras = chain.from_iterable(
        combinations_with_replacement(supplements, count) for count in range(most + 1)
    )
    for extra, frame in product(extras, (None, *frames)):
        for right, left in product((None, *lenses), repeat=2):
            parts = tuple(filter(None, (right, left, frame, *extra)))
            if len(parts) > 1 and _may_stand(table, Codes(right, left, frame, extra)):
                for joint in joints:
                    yield joint.join(parts)


def _may_stand(table: CodeTable, codes: Codes) -> bool:
    if not codes.supplements:
        return codes.right is not None or codes.left is not None
    try:
        table.require_valid(codes)
    except Objected:
        return False
    return True


def _corrections(breadth: Breadth) -> Iterator[str]:
    """Yield sphere, cylinder and axis of one eye, in the ways that people write them."""
    axes = range(breadth.axis_step, 181, breadth.axis_step)
    for sphere in _steps(-breadth.sphere, breadth.sphere):
        ball = _dioptres(sphere)
        yield ball
        yield ball.replace(".", ",")
        yield str(sphere)
        for cylinder in _steps(_STEP, breadth.cylinder):
            for sign in (cylinder, -cylinder):
                bar = _dioptres(sign)
                comma = f"{ball} {bar} ".replace(".", ",")
                for axis in axes:
                    yield f"{ball} {bar} {axis}"
                    yield f"{ball};{bar};{axis}"
                    yield f"({bar} à {axis}°) {ball}"
                    yield f"{comma}{axis}"
            for axis in axes:
                yield f"[{sphere},{cylinder},{axis}]"


def _plain_corrections(breadth: Breadth) -> Iterator[str]:
    """Yield corrections of one eye in one way, to be hashed in many."""
    for sphere in _steps(-breadth.sphere, breadth.sphere):
        yield _dioptres(sphere)
        for cylinder in _steps(_STEP, breadth.cylinder):
            for axis in range(10, 181, 10):
                yield f"{_dioptres(sphere)} {_dioptres(cylinder)} {axis}"


def _spheres(breadth: Breadth) -> Iterator[str]:
    every = [_dioptres(sphere) for sphere in _steps(-breadth.sphere, breadth.sphere)]
    for right, left in product(every, repeat=2):
        for joint in _JOINTS:
            yield right + joint + left


def _days(breadth: Breadth) -> Iterator[str]:
    for day in _calendar(breadth):
        for form in ("%Y-%m-%d", "%d/%m/%Y", "%Y%m%d", "%d%m%Y"):
            yield day.strftime(form)


def _calendar(breadth: Breadth) -> Iterator[date]:
    first, last = (date(year, 1, 1) for year in breadth.years)
    return (first + timedelta(days) for days in range((last - first).days))


def _amounts(breadth: Breadth) -> Iterator[str]:
    for cents in range(breadth.cents + 1):
        yield str(cents)
        yield f"{cents // 100}.{cents % 100:02d}"
        yield f"{cents // 100},{cents % 100:02d}"


def _points(cents: int) -> Iterator[bytes]:
    """Yield Pedersen commitments whose blinding is zero: multiples of the base point."""
    base = sodium.crypto_scalarmult_ed25519_base_noclamp((1).to_bytes(SCALAR_BYTES, "little"))
    point = base
    for _ in range(cents):
        yield point
        point = sodium.crypto_core_ed25519_add(point, base)


def _fields(table: CodeTable, breadth: Breadth) -> Iterator[bytes]:
    """Yield the digests of fields of an SD-JWT whose salt is empty, or all zeros."""
    spheres = list(_steps(-breadth.sphere, breadth.sphere))
    cylinders = list(_steps(_STEP, breadth.cylinder))
    values: list[tuple[str, Iterable[object]]] = []
    for eye in ("right", "left"):
        values += [
            (f"{eye}_sphere", spheres),
            (f"{eye}_cylinder", cylinders),
            (f"{eye}_axis", range(1, 181)),
            (f"{eye}_add", _steps(_STEP, 4_00)),
            (f"{eye}_lens", [row.code for row in table.codes]),
        ]
    days = [day.isoformat() for day in _calendar(breadth) if day.year > 2015]  # noqa: PLR2004
    values += [("frame", [row.code for row in table.codes])]
    values += [(name, days) for name in ("date_written", "valid_until", "invoice_date")]
    for salt, (name, held) in product(_NO_SALTS, values):
        for value in held:
            text = make_disclosure(salt, name, value).text
            yield sha256(text.encode("ascii")).digest()


def _marks_of(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        secret = sha256(text.encode()).digest()
        for leg, part in product(Leg, Part):
            yield mark_of(secret, leg, part, 0)


def _empty_marks() -> Iterator[bytes]:
    for secret in (bytes(SALT_BYTES), b"\xff" * SALT_BYTES):
        for leg, part, ordinal in product(Leg, Part, range(_ORDINALS)):
            yield mark_of(secret, leg, part, ordinal)


def _empty_questions() -> Iterator[bytes]:
    for kind in Kind:
        yield Question(bytes(SALT_BYTES), kind).commitment()


def _steps(low: int, high: int) -> range:
    return range(low, high + 1, _STEP)


def _dioptres(hundredths: int) -> str:
    return f"{hundredths / 100:+.2f}"
