"""All pairs of a state under a prefix, of which there may be more than memory holds."""

from collections.abc import Iterator
from typing import Final

from contracts.state import Reader

_AT_ONCE: Final = 1_024


def pairs(state: Reader, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield every pair whose key begins with `prefix`, by ascending key; no key is empty."""
    if prefix:
        found = state.scan(prefix, _AT_ONCE)
        if len(found) < _AT_ONCE:
            yield from found
            return
        if found[0][0] == prefix:
            yield found[0]
    for byte in range(256):
        yield from pairs(state, prefix + bytes((byte,)))
