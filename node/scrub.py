"""Reads the sealed files of blocks again and again, slowly, while the node runs.

A disk forgets in silence. What it lost of an old block is noticed when somebody asks for it, or by
this: while other nodes still have it. A file is checked at a time, all of them within the period
that the operator chose; how far that came is remembered over restarts. Nothing is ever mended here.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from ledger import segments
from ledger.errors import LedgerError, StoreDamaged
from node import files
from node.chain import SEGMENTS, Chain
from node.log import Log
from node.metrics import Metrics

FILE_NAME: Final = "scrubbed"  # in the folder of the data: the first block of the last file checked
DAY_S: Final = 86_400.0
SETTLE_S: Final = 60.0  # after a start there is other work
PAUSE_S: Final = 0.05  # between slices: at most 20 MiB a second are read
SLICE_BYTES: Final = 1 << 20
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class _Sealed:
    path: Path
    first: int
    last: int


class Scrub:
    """One node's files of blocks, and which of them is next."""

    def __init__(
        self,
        data: Path,
        chain: Chain,
        days: int,
        *,
        metrics: Metrics,
        log: Log,
        reader: Executor,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._directory, self._memory = data / SEGMENTS, data / FILE_NAME
        self._chain, self._metrics, self._log, self._reader = chain, metrics, log, reader
        self._period_s, self._pause_s = days * DAY_S, pause_s

    async def run(self) -> None:
        """Check one file after the other for ever; return at once where that is not wanted."""
        if not self._period_s:
            return
        await asyncio.sleep(SETTLE_S)
        while True:
            count = await self.check_next()
            await asyncio.sleep(min(DAY_S, self._period_s / max(1, count)))

    async def check_next(self) -> int:
        """Check the next file; return how many there are."""
        starts = segments.first_heights(self._directory)
        sealed = [
            _Sealed(segments.segment_path(self._directory, first), first, following - 1)
            for first, following in pairwise(starts)
        ]
        if sealed:
            done = self._done()
            chosen = next((each for each in sealed if each.first > done), sealed[0])
            await self._check(chosen)
            with contextlib.suppress(OSError):  # a full disk is told by others
                files.replace(self._memory, b"%d\n" % chosen.first)
            self._metrics.disk.scrubbed_height.set(chosen.last)
        return len(sealed)

    async def _check(self, file: _Sealed) -> None:
        inode = _inode(file.path)
        damage = await self._damage(file)
        if damage is None or _inode(file.path) != inode:
            return  # it was pruned meanwhile: the next pass looks at what is there now
        self._chain.damage = f"{damage}; stop the node and run: depoli db heal"
        self._log.error("blocks damaged", reason=str(damage), height=damage.height)

    async def _damage(self, file: _Sealed) -> StoreDamaged | None:
        """Return what is not whole in a file, read slice by slice."""
        loop = asyncio.get_running_loop()
        pieces, height = segments.salvage(file.path, self._chain.header.chain_id), file.first
        try:
            while True:
                count, size, bad = await loop.run_in_executor(self._reader, _slice, pieces)
                height += count
                if bad is not None:
                    return _told(file, bad, height, "no whole record is there")
                if not size:
                    break
                self._metrics.disk.scrubbed_bytes.inc(size)
                await asyncio.sleep(self._pause_s)
        except LedgerError as error:
            return _told(file, 0, file.first, str(error))
        except OSError as error:
            return _told(file, 0, height, f"it cannot be read: {error.strerror or error}")
        if height != file.last + 1:
            return _told(file, file.path.stat().st_size, height, "a block is missing, or too many")
        return None

    def _done(self) -> int:
        """Return which file was checked last, 0 where that is not known: it begins anew then."""
        try:
            text = self._memory.read_bytes()[: _DIGITS + 1].strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0


def _slice(pieces: Iterator[tuple[int, bytes | None]]) -> tuple[int, int, int | None]:
    """Return how many records were whole, of how many bytes, and where one was not."""
    count = size = 0
    for offset, record in pieces:
        if record is None:
            return count, size, offset
        count, size = count + 1, size + len(record)
        if size >= SLICE_BYTES:
            break
    return count, size, None


def _told(file: _Sealed, offset: int, height: int, reason: str) -> StoreDamaged:
    return StoreDamaged(str(file.path), offset, reason, height=height)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
