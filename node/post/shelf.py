"""The file of envelopes, as the event loop uses it: what comes together is written together."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ledger.envelope import Envelope
from node import clock
from node.bell import Bell
from node.post.errors import NoRoom, PostRefused
from node.post.store import PostStore, State

T = TypeVar("T")


@dataclass(slots=True)
class _Arrival:
    """Envelopes on their way to the disk, and what became of each once they are there."""

    envelopes: list[tuple[Envelope, bool]]
    became: list[State | PostRefused] = field(default_factory=list)
    error: PostRefused | None = None


class Shelf:
    """What waits here, and bells for who waits for it."""

    def __init__(self, store: PostStore, disk: Executor, shortage: Callable[[], str]) -> None:
        self.store: Final = store
        self._shortage = shortage  # why the disk is to be spared, "" where there is room
        self.work = Bell()  # rung when something may be handed on
        self._disk = disk
        self._arrivals: list[_Arrival] = []
        self._bells: dict[bytes, Bell] = {}  # of members that somebody waits for

    def bell_of(self, member: bytes) -> asyncio.Event:
        """Return what is set when the next envelope for a member is here."""
        return self._bells.setdefault(member, Bell()).next

    def ring_all(self) -> None:
        """Let everybody who waits look."""
        for bell in self._bells.values():
            bell.ring()

    async def keep(self, found: list[tuple[Envelope, bool]]) -> list[State | PostRefused]:
        """Put envelopes on the disk, each with whether a relay brought it; raise `NoRoom`.

        What comes while the disk writes is written next, together.
        """
        if reason := self._shortage():
            raise NoRoom(reason)
        arrival = _Arrival(found)
        self._arrivals.append(arrival)
        await self.do(self._write_arrivals)
        if arrival.error is not None:
            raise arrival.error
        for envelope, _ in found:
            if (bell := self._bells.get(envelope.body.recipient)) is not None:
                bell.ring()
        self.work.ring()
        return arrival.became

    def _write_arrivals(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        if not arrivals:
            return  # the job before this one took them along
        found = [each for arrival in arrivals for each in arrival.envelopes]
        try:
            became = iter(self.store.add(found, now()))
        except PostRefused as error:
            for arrival in arrivals:
                arrival.error = error
            return
        for arrival in arrivals:
            arrival.became = [next(became) for _ in arrival.envelopes]

    async def do(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        """Return what `doing` returns, in the thread of the file; raise `NoRoom`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, doing, *arguments)
        except sqlite3.Error as error:
            raise NoRoom(str(error)) from None


def now() -> int:
    """Return the wall clock in unix seconds, by which envelopes expire."""
    return clock.now_ms() // 1000
