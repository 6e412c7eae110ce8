"""Who votes at which height: every validator set that the chain ever had, and from when on.

An era begins at the height from which a set votes; the last one may begin two blocks ahead. Eras
are numbered from 0, that of the genesis, so that one is found by bisection.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from contracts.state import Overlay, Reader
from ledger.encoding import U32_MAX, U63_MAX, Struct, decode, encode
from ledger.validators import ValidatorSet

_ERA: Final = b"v"  # + number u32 -> Era
_LAST: Final = b"n"  # -> number u32


class Era(Struct):
    """Heights at which one set votes."""

    number: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
    from_height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    validators: ValidatorSet


def start(state: Overlay, validators: ValidatorSet) -> None:
    """Begin with the validators of the genesis."""
    _save(state, Era(0, 0, validators))


def begin(state: Overlay, height: int, validators: ValidatorSet) -> None:
    """Let `validators` vote from `height` on, which is above where the last era begins."""
    last = latest(state)
    assert height > last.from_height
    _save(state, Era(last.number + 1, height, validators))


def latest(state: Reader) -> Era:
    """Return the era that began last, or will begin next."""
    found = state.get(_LAST)
    assert found is not None  # genesis wrote it
    return era(state, int.from_bytes(found))


def era(state: Reader, number: int) -> Era:
    """Return the era of this number, which must be there."""
    found = state.get(_ERA + number.to_bytes(4))
    assert found is not None
    return _parse(found)


def at(state: Reader, height: int) -> Era:
    """Return the era that `height` falls in, as far as the state knows."""
    last = latest(state)
    if height >= last.from_height:
        return last
    low, high = 0, last.number  # it is at or after `low`, before `high`
    while high - low > 1:
        middle = (low + high) // 2
        if era(state, middle).from_height <= height:
            low = middle
        else:
            high = middle
    return era(state, low)


def among(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Era]:
    """Yield the eras in a part of a state, which nobody vouches for yet; raise `Malformed`."""
    for key, value in pairs:
        if key.startswith(_ERA):
            yield decode(value, Era)


def validators_at(state: Reader, height: int) -> ValidatorSet:
    """Return who votes at `height`, as far as the state knows: up to two above its own."""
    return at(state, height).validators


def _save(state: Overlay, new: Era) -> None:
    number = new.number.to_bytes(4)
    state.put(_ERA + number, encode(new))
    state.put(_LAST, number)


# Large, few, and read by every block: what they encode is remembered.
@lru_cache(maxsize=64)
def _parse(data: bytes) -> Era:
    return decode(data, Era)
