"""Reference tables by kind and hash: the chain says which are in force, the files hold them.

What the law or a contract may change is data. A table is a canonical JSON file (`contracts/tables/`
holds those of this version); nobody's decision needs its text on the chain.
"""

from enum import IntEnum
from hashlib import sha256
from typing import Final

from contracts.state import Overlay, Reader
from ledger.hashing import Hash

_TABLE: Final = b"f"  # + kind u8 + height u64 from which it is in force -> hash
MAX_VERSIONS: Final = 1 << 16  # of one table that are looked at: far more than there will be
MAX_TABLE_BYTES: Final = 1 << 18  # the longest has some ten thousand


class TableKind(IntEnum):
    """What a table is about; the numbers stand in the record and never change."""

    OPTICS_CODES = 1
    OPTICS_CATEGORIES = 2
    OPTICS_RENEWAL = 3
    OPTICS_PRESCRIPTIONS = 4

    @property
    def subject(self) -> str:
        """What its files call it: `optics-codes`."""
        return self.name.lower().replace("_", "-")


def table_hash(data: bytes) -> Hash:
    """Return the SHA-256 of a table's file, as `sha256sum` says it."""
    return Hash(sha256(data).digest())


def put_in_force(state: Overlay, kind: TableKind, table: bytes, height: int) -> None:
    """Let the table with this hash be in force from `height` on."""
    state.put(_TABLE + bytes((kind,)) + height.to_bytes(8), table)


def versions(state: Reader, kind: TableKind) -> list[tuple[int, Hash]]:
    """Return from which height on which table of a kind is in force, by ascending height."""
    prefix = _TABLE + bytes((kind,))
    found = state.scan(prefix, MAX_VERSIONS)
    return [(int.from_bytes(key[len(prefix) :]), Hash(table)) for key, table in found]


def in_force(state: Reader, kind: TableKind, height: int | None = None) -> Hash | None:
    """Return which table of a kind is in force at a height, or last; None where none is."""
    found = [table for first, table in versions(state, kind) if height is None or first <= height]
    return found[-1] if found else None
