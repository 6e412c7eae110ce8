"""The file of envelopes, as the event loop uses it: what comes together is written together."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ledger.envelope import Envelope
from node import clock
from node.bell import Bell
from node.post.errors import NoRoom, PostRefused
from node.post.store import PostStore, State

T = TypeVar("T")


@dataclass(slots=True)
class _Change:
    """What is on its way to the disk, and what it returned once it is there."""

    doing: Callable[[], Any]
    returned: Any = None
    error: Exception | None = None  # nothing of it is on the disk


class Shelf:
    """What waits here, and bells for who waits for it."""

    def __init__(self, store: PostStore, disk: Executor, shortage: Callable[[], str]) -> None:
        self.store: Final = store
        self._shortage = shortage  # why the disk is to be spared, "" where there is room
        self.work = Bell()  # rung when something may be handed on
        self._disk = disk
        self._changes: list[_Change] = []
        self._bells: dict[bytes, Bell] = {}  # of members that somebody waits for

    def bell_of(self, member: bytes) -> asyncio.Event:
        """Return what is set when the next envelope for a member is here."""
        return self._bells.setdefault(member, Bell()).next

    def ring_all(self) -> None:
        """Let everybody who waits look."""
        for bell in self._bells.values():
            bell.ring()

    async def keep(self, found: list[tuple[Envelope, bool]]) -> list[State | PostRefused]:
        """Put envelopes on the disk, each with whether a relay brought it; raise `NoRoom`."""
        if reason := self._shortage():
            raise NoRoom(reason)
        became = await self.write(lambda: self.store.add(found, now()))
        for envelope, _ in found:
            if (bell := self._bells.get(envelope.body.recipient)) is not None:
                bell.ring()
        self.work.ring()
        return became

    async def write(self, doing: Callable[[], T]) -> T:
        """Return what a change returns, once it is on the disk; raise `NoRoom`.

        What comes while the disk writes is written next, together.
        """
        change = _Change(doing)
        self._changes.append(change)
        await self.do(self._write)
        if change.error is not None:
            raise change.error
        returned: T = change.returned
        return returned

    def _write(self) -> None:
        changes, self._changes = self._changes, []
        if not changes:
            return  # the job before this one took them along
        try:
            with self.store.together():
                for each in changes:
                    each.returned = each.doing()
        except Exception as error:  # noqa: BLE001 - whoever waits for a change raises it
            for each in changes:
                each.error = error

    async def do(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        """Return what `doing` returns, in the thread of the file; raise `NoRoom`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, doing, *arguments)
        except sqlite3.Error as error:
            raise NoRoom(str(error)) from None


def now() -> int:
    """Return the wall clock in unix seconds, by which envelopes expire."""
    return clock.now_ms() // 1000
