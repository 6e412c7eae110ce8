"""How one node is, in numbers: what it tells a peer whose operator asks why there is no block.

Nothing in it is secret and nothing is of any claim. It is not signed: the link vouches for who says
it, nothing for whether it is true.
"""

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from consensus.messages import Bitmap, Signer, Status
from ledger.encoding import U63_MAX, Struct

MAX_VERSION_BYTES: Final = 32
MAX_SILENCE_BYTES: Final = 200

Count = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class PullHealth(Struct, tag=9):
    """Say how you are."""


class Health(Struct, tag=9):
    """How a node is."""

    version: Annotated[bytes, msgspec.Meta(max_length=MAX_VERSION_BYTES)]  # of the software
    clock_ms: Count  # its wall clock when it answered
    up_ms: Count  # since it started
    free_bytes: Count  # on the disk of its data
    least_bytes: Count  # below which it says that the disk is nearly full
    is_validator: bool  # it is set up to vote, whether or not it may
    signs_as: Signer | None  # which of the validators of its open height has its consensus key
    silence: Annotated[
        bytes, msgspec.Meta(max_length=MAX_SILENCE_BYTES)
    ]  # why it signs nothing now
    block_time: Count  # of its last block, unix seconds
    waiting: Count  # transactions in its mempool
    linked: Bitmap  # the validators of its open height that it has a link to
    status: Status  # where agreement stands there


def software_version() -> bytes:
    """Return the version of the software that runs here."""
    try:
        version = importlib.metadata.version("depoli")
    except importlib.metadata.PackageNotFoundError:  # a source tree that is not installed
        version = "source"
    return version.encode()[:MAX_VERSION_BYTES]


def free_bytes(folder: Path) -> int:
    """Return how much this user can still write on the disk of `folder`.

    Nothing where no file can be made any more: a disk can be read-only, or out of names before it
    is full.
    """
    if not hasattr(os, "statvfs"):  # Windows
        return shutil.disk_usage(folder).free
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY or (found.f_files and not found.f_favail):
        return 0
    return found.f_bavail * found.f_frsize


def shortage(folder: Path, least_bytes: int) -> str:
    """Return that the disk of `folder` is nearly full, "" where so much is free."""
    free = free_bytes(folder)
    if free >= least_bytes:
        return ""
    return f"{free >> 20} MiB free on the disk of {folder}, {least_bytes >> 20} needed"


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on the disk of a node's data, and how much must be."""

    folder: Path
    own_bytes: int  # that its operator wants
    voted_mb: Callable[[], int]  # that the members want

    def free_bytes(self) -> int:
        """Return how much can still be written."""
        return free_bytes(self.folder)

    def least_bytes(self) -> int:
        """Return how much must be free: the stricter of what both want."""
        return max(self.own_bytes, self.voted_mb() << 20)

    def shortage(self) -> str:
        """Return that less is free than must be, "" where it is not so."""
        return shortage(self.folder, self.least_bytes())


def is_set(bitmap: bytes, index: int) -> bool:
    """Return bit `index` of a bitmap, lowest bit first; a bitmap may be shorter."""
    return index // 8 < len(bitmap) and bool(bitmap[index // 8] >> index % 8 & 1)


def bitmap_of(bits: list[bool]) -> bytes:
    """Return the bitmap of these bits."""
    return sum(1 << index for index, bit in enumerate(bits) if bit).to_bytes(
        (len(bits) + 7) // 8, "little"
    )
