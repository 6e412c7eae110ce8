"""The last 32 blocks, so that somebody can show that he is near the head."""

from typing import Final

from contracts.state import Overlay, Reader
from ledger.block import Header

BLOCKS: Final = 32
_BLOCK: Final = b"r"  # + height mod BLOCKS -> height u64 + block id


def note(state: Overlay, header: Header) -> None:
    """Remember the block below the one under way."""
    state.put(_key(header.height), header.height.to_bytes(8) + header.hash)


def is_recent(state: Reader, height: int, block_id: bytes) -> bool:
    """Return whether this is one of the last blocks below the one under way."""
    return state.get(_key(height)) == height.to_bytes(8) + block_id


def _key(height: int) -> bytes:
    return _BLOCK + (height % BLOCKS).to_bytes(1)
