"""What is whole in the segment files of a stopped node, file by file, and what is not.

Nothing is changed, and nothing of a block is judged but its checksum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ledger import segments
from ledger.block import bare, is_bare
from ledger.errors import LedgerError, StoreDamaged


@dataclass(frozen=True, slots=True)
class Damage:
    """A place that does not hold what it must."""

    path: Path
    offset: int
    height: int  # of the first block that is lost there
    reason: str

    @property
    def error(self) -> StoreDamaged:
        """The same to raise."""
        return StoreDamaged(str(self.path), self.offset, self.reason, height=self.height)


@dataclass(frozen=True, slots=True)
class Part:
    """One file: which blocks it must hold, and why it does not."""

    path: Path
    first: int
    last: int
    size: int  # in bytes
    damages: tuple[Damage, ...]
    last_bare: int = 0  # the last block in it whose body was pruned, 0 without any

    def read(self, chain_id: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield the whole blocks in the file, each behind its offset and its height."""
        if self.path.exists():
            for offset, height, payload in _located(self.path, self.first, chain_id):
                if payload is not None:
                    yield offset, height, payload


def survey(directory: Path, chain_id: bytes, tip: int, *, lowest: int = 1) -> list[Part]:
    """Return the files in `directory`, which once held the blocks `lowest` to `tip` at least.

    What a crash tore at the end of the last one is no damage. Raises `Mismatch`, OSError.
    """
    starts = segments.first_heights(directory)
    if tip or starts:
        starts = sorted({lowest, *starts})
    parts = []
    for first, following in pairwise([*starts, None]):
        assert first is not None  # only the end is
        parts.append(_examined(directory, chain_id, first, following, tip))
    return parts


def _examined(
    directory: Path, chain_id: bytes, first: int, following: int | None, tip: int
) -> Part:
    path, damages, heights = segments.segment_path(directory, first), [], set[int]()
    last_bare = 0
    last = -1 if following is None else following - 1
    if not path.exists():
        damages.append(Damage(path, 0, first, "the file is gone"))
    else:
        for offset, height, payload in _located(path, first, chain_id):
            if payload is None:
                damages.append(Damage(path, offset, height, "no whole record is there"))
            elif following is not None and height > last:
                damages.append(Damage(path, offset, height, "a block of a later file is there"))
            else:
                heights.add(height)
                last_bare = height if is_bare(payload) else last_bare
    if following is None:
        last = max(tip, first - 1, *heights)
        if damages and damages[-1].height > last and damages[-1].offset:
            damages.pop()  # the torn tail: nothing whole is behind it, nor was it ever durable
    missing = min(set(range(first, last + 1)) - heights, default=None)
    if missing is not None and not damages:
        damages.append(
            Damage(path, path.stat().st_size, missing, "blocks are gone that were there")
        )
    size = path.stat().st_size if path.exists() else 0
    return Part(path, first, last, size, tuple(damages), last_bare)


def _located(path: Path, first: int, chain_id: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield offset, height and block of each record; behind what is damaged each says its own."""
    height, is_known = first, True
    for offset, payload in segments.salvage(path, chain_id):
        if payload is not None and not is_known:
            found = _height_of(payload)
            is_known = height <= found <= height + offset  # each that is lost took a byte at least
            height = found if is_known else height
        is_known = is_known and payload is not None
        yield offset, height, payload if is_known else None
        height += is_known


def _height_of(record: bytes) -> int:
    """Return the height that a block says it has, -1 where it is none."""
    try:
        return bare(record).header.height
    except LedgerError:
        return -1
