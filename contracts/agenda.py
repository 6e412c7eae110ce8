"""What takes effect at which height: passed proposals wait here, and are carried out unasked."""

from typing import Final

from contracts.state import Overlay, Reader
from ledger.hashing import Hash

_ITEM: Final = b"j"  # + height u64 + number of the proposal u32 -> proposal
MAX_ITEMS: Final = 16  # of one height: each may give a member keys


def is_full(state: Reader, height: int) -> bool:
    """Return whether no more may take effect at a height."""
    return len(state.scan(_ITEM + height.to_bytes(8), MAX_ITEMS)) == MAX_ITEMS


def put(state: Overlay, height: int, number: int, proposal: bytes) -> None:
    """Let a proposal take effect at a height, after those with smaller numbers."""
    state.put(_ITEM + height.to_bytes(8) + number.to_bytes(4), proposal)


def next_height(state: Reader) -> int | None:
    """Return the lowest height at which something takes effect, None where nothing waits."""
    found = state.scan(_ITEM, 1)
    return int.from_bytes(found[0][0][len(_ITEM) :][:8]) if found else None


def take(state: Overlay, height: int) -> list[Hash]:
    """Take off what takes effect at a height; return it in its order."""
    found = state.scan(_ITEM + height.to_bytes(8), MAX_ITEMS)
    for key, _ in found:
        state.delete(key)
    return [Hash(proposal) for _, proposal in found]
