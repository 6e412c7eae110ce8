"""The ids of transactions in the chain, kept until they expire, so that none is included twice.

They lie in the state by the second in which they expire. Every block clears the seconds that have
passed, from a mark it keeps, up to a limit; what stays a little longer does no harm, because an
expired transaction is refused as expired.
"""

from typing import Final

from contracts.state import Overlay, Reader
from ledger.transaction import Transaction

_SEEN: Final = b"s"  # + valid_until u64 + transaction -> nothing
_CLEARED: Final = b"e"  # -> u64: no id that expires in a second below is left
_VALUE: Final = b""
_SECONDS_MAX: Final = 64  # looked at per block
_LAG_S: Final = 60  # behind by more, empty seconds are jumped over


def start(state: Overlay, time: int) -> None:
    """Remember from `time` on."""
    state.put(_CLEARED, time.to_bytes(8))


def remember(state: Overlay, transaction: Transaction) -> None:
    """Keep the id of `transaction`."""
    state.put(_key(transaction), _VALUE)


def is_seen(state: Reader, transaction: Transaction) -> bool:
    """Return whether `transaction`, which has not expired, is in the chain."""
    return state.get(_key(transaction)) is not None


def clear(state: Overlay, time: int, limit: int) -> None:
    """Remove ids that expired before `time`, at most `limit` of them."""
    found = state.get(_CLEARED)
    assert found is not None  # genesis wrote it
    first = second = int.from_bytes(found)
    for _ in range(_SECONDS_MAX):
        if second >= time:
            break
        pairs = state.scan(_SEEN + second.to_bytes(8), limit + 1)
        for key, _value in pairs[:limit]:
            state.delete(key)
        if len(pairs) > limit:
            break
        limit -= len(pairs)
        second += 1
        # Not every time: a store steps over all that was removed to find what is left.
        if not pairs and second < time - _LAG_S:
            rest = state.scan(_SEEN, 1)
            second = min(time, _second_of(rest[0][0]) if rest else time)
    if second != first:
        state.put(_CLEARED, second.to_bytes(8))


def _key(transaction: Transaction) -> bytes:
    return _SEEN + transaction.body.valid_until.to_bytes(8) + transaction.id


def _second_of(key: bytes) -> int:
    return int.from_bytes(key[len(_SEEN) :][:8])
