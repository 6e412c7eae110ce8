"""Brings the claims of the vault onto the chain: one task, so that what waits travels together.

Whoever hands in a claim only wakes it, and waits if it likes. When the node is away it tries again,
later each time; what is in the vault is never lost, and a claim is submitted once whoever else
(`depoli lot submit`) works at the same vault.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from node.client import lots, queue
from node.client.errors import Undecided
from node.client.records import ClaimRecord, every
from node.gateway.desk import Desk
from node.gateway.troubles import REFUSALS
from node.log import Log

FIRST_PAUSE_S: Final = 1.0  # before another attempt, doubled each time that fails
LAST_PAUSE_S: Final = 60.0
_WAIT_S: Final = 30  # for a block, before the node is asked anew


class Courier:
    """Claims on their way; `run` must be running for any to move."""

    def __init__(self, desk: Desk, log: Log) -> None:
        self._desk, self._log = desk, log
        # References in the order in which they came; what an earlier run left is on its way too,
        # but for what waits for its window.
        self._waiting = dict.fromkeys(
            record.reference for _, record in every(desk.vault, ClaimRecord) if self._goes(record)
        )
        self._woken = asyncio.Event()
        self._moved = asyncio.Condition()
        self.trouble: Exception | None = None  # of the last attempt

    @property
    def waiting(self) -> int:
        """How many claims are on their way."""
        return len(self._waiting)

    def take(self, references: Iterable[str]) -> None:
        """Bring these prepared claims onto the chain, with whatever waits."""
        self._waiting |= dict.fromkeys(references)
        self._woken.set()

    async def wait(self, references: Iterable[str], seconds: float) -> None:
        """Return when none of these is on its way any more, or when the time is over."""
        wanted = set(references)
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: wanted.isdisjoint(self._waiting))
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Work until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            if not self._waiting:
                await self._woken.wait()
            self._woken.clear()
            try:
                await self._deliver()
            except REFUSALS as error:
                if not isinstance(error, Undecided):
                    self._log.warning("claims wait", claims=self.waiting, why=str(error))
                self.trouble = error
                await self._pause(pause)
                pause = min(2 * pause, LAST_PAUSE_S)
            else:
                self.trouble, pause = None, FIRST_PAUSE_S

    async def _deliver(self) -> None:
        """Submit what is on its way, and forget what is decided; raise as `lots.submit`."""
        desk = self._desk
        self._forget()
        try:
            async with desk.connect() as node:
                await lots.submit(
                    desk.vault,
                    node,
                    desk.sender,
                    list(self._waiting),
                    wait_s=_WAIT_S,
                    say=self._log.debug,
                )
        finally:
            self._forget()
            async with self._moved:
                self._moved.notify_all()

    def _forget(self) -> None:
        """Forget what is decided, what another command erased, and what now waits in the queue."""
        for reference in list(self._waiting):
            if not self._goes(lots.find_claim(self._desk.vault, reference)):
                del self._waiting[reference]

    def _goes(self, claim: ClaimRecord | None) -> bool:
        if claim is None or claim.progress not in lots.OPEN:
            return False
        return not queue.is_waiting(self._desk.vault, claim.reference)

    async def _pause(self, seconds: float) -> None:
        """Wait before another attempt; a claim that comes is a reason to try at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
