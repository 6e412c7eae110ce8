"""The snapshots that a running node makes by itself, at the heights that the members want."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError
from ledger.store import View
from node import clock
from node.chain import Chain
from node.log import Log
from node.metrics import Metrics
from node.snapshots import create, heights, keep_newest

SHARE: Final = 4  # one part works, three are left to what others wait for
_SLICE_S: Final = 0.002  # of work between two pauses: no vote waits long for it


class GivenUp(Exception):
    """A snapshot is not finished, for a reason that is no fault of the store."""


class Album:
    """The newest snapshots of one node, made one at a time in a thread of its own.

    None of them is needed to go on: where one cannot be made, `failure` says why, and it is tried
    again at the next height. `then` is done after each, in the same thread, with a function that
    it calls often to rest, and which raises `GivenUp` where the node stops.
    """

    def __init__(
        self,
        data: Path,
        chain: Chain,
        metrics: Metrics,
        log: Log,
        shortage: Callable[[], str],
        then: Callable[[Callable[[], None]], None] = lambda _: None,
    ) -> None:
        self._data, self._chain, self._shortage, self._then = data, chain, shortage, then
        self._metrics, self._log = metrics, log
        self._thread = ThreadPoolExecutor(1, "snapshot")
        self._stopping = threading.Event()
        self._making: Future[None] | None = None
        self.failure = ""  # of the last one that was due, in words
        self._metrics.snapshots.height.set(self.height)

    @property
    def height(self) -> int:
        """The height of the newest snapshot, 0 where there is none."""
        return max(heights(self._data), default=0)

    def block_added(self) -> None:
        """Begin a snapshot where one is due; called after each block, before there is another."""
        height, every = self._chain.height, self._chain.state.parameters.snapshot_blocks
        if every == 0 or height % every:
            return
        if self._making is not None:
            if not self._making.done():
                self._fail(height, "the one before is still being made")
                return
            self._making.result()  # raises what nobody foresaw
        try:
            view = self._chain.view()
        except (LedgerError, OSError) as error:
            self._fail(height, error)
            return
        self._making = self._thread.submit(self._make, view, height)

    def close(self) -> None:
        """End before the store is closed; what is being made is given up."""
        self._stopping.set()
        self._thread.shutdown()

    def _make(self, view: View, height: int) -> None:
        if self._made(view, height):
            with suppress(GivenUp):
                self._then(_Pause(self._stopping, lambda: ""))

    def _made(self, view: View, height: int) -> bool:
        try:
            pause = _Pause(self._stopping, self._shortage)
            began = clock.monotonic()
            create(view, self._data, self._chain.genesis, pause)
            keep_newest(self._data, height)
            self.failure = ""
            self._metrics.snapshots.height.set(height)
            seconds = round(clock.monotonic() - began, 1)
            self._log.info("snapshot made", height=height, seconds=seconds)
        except (GivenUp, LedgerError, OSError) as error:
            if not self._stopping.is_set():
                self._fail(height, error)
            return False
        finally:
            view.close()
        return True

    def _fail(self, height: int, reason: object) -> None:
        self.failure = f"block {height}: {reason}"
        self._metrics.snapshots.failures.inc()
        self._log.error("no snapshot made", height=height, reason=str(reason))


class _Pause:
    """Keeps work in the background to its share of a processor."""

    def __init__(self, stopping: threading.Event, shortage: Callable[[], str]) -> None:
        self._stopping, self._shortage = stopping, shortage
        self._began = clock.monotonic()

    def __call__(self) -> None:
        """Wait for as long as others are due. Raises `GivenUp`."""
        worked = clock.monotonic() - self._began
        if worked < _SLICE_S:
            return
        if reason := self._shortage():
            raise GivenUp(reason)
        if self._stopping.wait(worked * (SHARE - 1)):
            raise GivenUp("the node stops")
        self._began = clock.monotonic()
