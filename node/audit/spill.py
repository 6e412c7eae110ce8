"""Values of a chain sorted into files by what they are, so that equal ones meet in little memory.

Equal values land in one file of many, whatever the values are; each file is then read by itself.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

_FILES: Final = 256
_BUFFER_BYTES: Final = 1 << 15  # of each file, before it is written to: 8 MiB in all
_HEAD: Final = struct.Struct(">HHQHHIB")


@dataclass(frozen=True, slots=True)
class Use:
    """A value, and where it stands."""

    value: bytes
    field: int  # number of its path
    height: int
    transaction: int  # within the block
    call: int  # within the transaction
    sender: int  # number of the member
    was_applied: bool = True
    follows: bool = False  # it says itself what it takes the place of


class Spill:
    """Uses of values in files of a folder that is empty, to be read in another order."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{number:03d}" for number in range(_FILES)]
        self._buffers = [bytearray() for _ in range(_FILES)]

    def add(self, use: Use) -> None:
        """Keep one more."""
        number = blake2b(use.value, digest_size=1).digest()[0]
        buffer = self._buffers[number]
        flags = use.was_applied + 2 * use.follows
        buffer += _HEAD.pack(
            len(use.value), use.field, use.height, use.transaction, use.call, use.sender, flags
        )
        buffer += use.value
        if len(buffer) >= _BUFFER_BYTES:
            self._write(number)

    def groups(self) -> Iterator[Iterator[Use]]:
        """Yield groups of uses, all of one value in one group, in the order they were added."""
        for number, path in enumerate(self._paths):
            self._write(number)
            yield self._read(path)
            path.unlink()

    def _write(self, number: int) -> None:
        with self._paths[number].open("ab") as file:
            file.write(self._buffers[number])
        self._buffers[number].clear()

    @staticmethod
    def _read(path: Path) -> Iterator[Use]:
        with path.open("rb") as file:
            while head := file.read(_HEAD.size):
                size, field, height, transaction, call, sender, flags = _HEAD.unpack(head)
                value = file.read(size)
                yield Use(
                    value, field, height, transaction, call, sender, bool(flags & 1), flags > 1
                )
