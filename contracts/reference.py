"""Reference tables by kind and hash: the chain says which are in force, the files hold them.

What the law or a contract may change is data. A table is a canonical JSON file (`contracts/tables/`
holds those of this version); nobody's decision needs its text on the chain.
"""

from enum import IntEnum
from hashlib import sha256
from typing import Final

from ledger.hashing import Hash

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
