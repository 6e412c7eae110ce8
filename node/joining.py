"""Joining by a snapshot: how a node without data comes to have all of one, and begins with it.

Its chunks are asked of all who offer it, at once, and each is what the manifest says or is thrown
away. Only when the whole leads to the header that a quorum certified is anything believed; a
manifest that was false costs time, and its peers their turn.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import LedgerError
from ledger.validators import ValidatorSet
from node import clock
from node.audit.report import Progress
from node.errors import NodeError
from node.log import Log
from node.offers import Offered, Offers
from node.part import Part
from node.peers import LinkDown, NoAnswer, Peers, Reply
from node.snapshots import DECIDED, BadSnapshot, Show

GATHER_S: Final = 10.0  # from the first link on: for other peers to link, and say what they offer
PATIENCE_S: Final = 30.0  # for a chunk at most, over a slow line
HASTE_S: Final = 3.0  # none is late before
SLOWER: Final = 8  # times slower than the quickest is slow
AT_ONCE: Final = 2  # chunks that one peer is asked for: one is on its way while one is written
STALLED_S: Final = 30.0  # without anybody to ask for a chunk, and what is offered is looked at anew
LOOK_S: Final = 0.5  # between two looks at who is to be asked
REPORT_S: Final = 10.0
COMPLAIN_S: Final = 60.0  # between two errors that say that nothing can be fetched

_ASKS: Final = "asks its peers what they offer"
_FETCHES: Final = "fetches a snapshot"
_INSTALLS: Final = "verifies the snapshot and installs it"
_NO_TRUE_ONE: Final = "no peer offers a true snapshot"
_NO_ANSWER: Final = "no peer says whether it has a snapshot"


class Joined(NodeError):
    """A snapshot is installed: the node begins again, over it."""

    def __init__(self, height: int) -> None:
        super().__init__(f"the snapshot of block {height} is installed", hint="start the node")
        self.height = height


class _Ended(Exception):
    """The node ends while a snapshot is installed."""


@dataclass(frozen=True, slots=True)
class JoinProgress:
    """How far a node that joins by a snapshot has come."""

    doing: str
    height: int | None  # of the snapshot, None: none is chosen yet
    chunks: int  # that are here
    of: int
    fetched_bytes: int  # since the start of the node
    left_s: int | None  # None: not known yet
    peers: tuple[str, ...]  # that are asked now
    avoided: dict[str, str]  # by label: why


class Joining:
    """The fetching of one snapshot, for a node that has no data.

    `install` makes what is whole the state of this node, and raises `BadSnapshot` where it is not
    what its header says; it shows how far it is to who may raise to end it.
    """

    def __init__(
        self,
        peers: Peers,
        *,
        data: Path,
        chain_id: bytes,
        validators: ValidatorSet,
        own: bytes,
        install: Callable[[Part, Show], None],
        shortage: Callable[[], str],  # of room on the disk, in words
        log: Log,
    ) -> None:
        self._peers, self._data, self._install, self._log = peers, data, install, log
        self._shortage = shortage
        self._news = asyncio.Event()
        self._offers = Offers(
            peers, chain_id=chain_id, validators=validators, own=own, news=self._news.set
        )
        self._asked: dict[asyncio.Task[bool], tuple[bytes, int]] = {}  # peer, number of the chunk
        self._pace_s: float | None = None  # of the quickest chunk
        self._linked: float | None = None  # since when anybody was
        self._doing = _ASKS
        self._bytes = self._fetched = 0  # the latter: chunks since `_since`
        self._began = self._since = self._told = 0.0
        self._is_over = False

    # --- what peers say ----------------------------------------------------------------------

    def linked(self, key: bytes) -> None:
        """Learn that a link is up."""
        self.unlinked(key)  # what was said on a link that this one replaces is void
        self._peers.linked(key)

    def unlinked(self, key: bytes) -> None:
        """Learn that a link is down: what its peer was asked for is asked of others."""
        self._peers.unlinked(key)
        self._offers.forget(key)
        self._news.set()

    def came(self, key: bytes, reply: Reply) -> bool:
        """Take an answer; return whether this node waits for it."""
        return self._peers.came(key, reply)

    # --- the whole of it ---------------------------------------------------------------------

    async def run(self) -> None:
        """Raise `Joined` when a snapshot is installed; return where nobody offers one."""
        self._began = clock.monotonic()
        try:
            self._offers.begun = await asyncio.to_thread(Part.resume, self._data)
            while (offered := await self._chosen()) is not None:
                self._offers.begun = part = await asyncio.to_thread(self._part_of, offered)
                if await self._fetch_all(part):
                    await self._finish(offered, part)
        finally:
            self._is_over = True
            self._offers.close()
            for task in self._asked:
                task.cancel()
        self._log.warning(
            "no peer offers a snapshot: all blocks from the genesis on are executed",
            hint="a peer makes one with: depoli snapshot create",
        )

    async def _chosen(self) -> Offered | None:
        """Return what to fetch, None where peers have answered and none of them offers anything.

        Where something is offered and all of it is false, or nobody answers, it goes on asking.
        """
        self._doing = _ASKS
        offers = self._offers
        while True:
            offers.inquire()
            now, best = clock.monotonic(), offers.best()
            if self._linked is None and self._peers.links:
                self._linked = now
            is_late = self._linked is not None and now - self._linked >= GATHER_S
            if best is not None and (is_late or offers.is_complete or offers.is_vouched(best)):
                return best
            if best is None and (is_late or offers.is_complete):
                if offers.is_empty:
                    return None
                self._complain(now)
            await self._look()

    def _complain(self, now: float) -> None:
        """Say that nothing can be fetched, and what to do, now and then; then all are asked."""
        faults = self._peers.faults
        doing = _NO_TRUE_ONE if faults else _NO_ANSWER
        if doing is self._doing and now - self._told < COMPLAIN_S:
            return
        self._doing, self._told = doing, now
        self._log.error(
            doing,
            faults=faults,
            hint="nothing is installed; name other peers in config.toml, or execute all blocks "
            'with sync.mode = "blocks"',
        )
        self._offers.forget_empty()

    def _part_of(self, offered: Offered) -> Part:
        """Return the part that is here of what was chosen, or a new one."""
        begun = self._offers.begun
        if begun is None or begun.id != offered.id:
            return Part.begin(self._data, *offered.documents)
        begun.keep(*offered.documents)
        return begun

    async def _finish(self, offered: Offered, part: Part) -> None:
        """Install what is whole. Raises `Joined`; returns where it is not what its header says."""
        self._doing = _INSTALLS
        try:
            await asyncio.to_thread(self._install, part, self._show)
        except BadSnapshot as error:
            fault = f"its snapshot of block {offered.height} is false: {error}"
            if not await asyncio.to_thread(self._is_as_it_came, offered, part):
                self._log.warning("snapshot damaged on our disk", reason=str(error))
            elif error.path.name == DECIDED:  # the chunks may be true all the same
                self._offers.refute(offered.documents[1], fault)
            else:
                self._offers.begun = None
                await asyncio.to_thread(part.give_up)
                self._offers.refute(offered.documents[0], fault)
            return
        seconds = round(clock.monotonic() - self._began, 1)
        self._log.info("joined by snapshot", height=part.height, seconds=seconds, bytes=self._bytes)
        raise Joined(part.height)

    def _is_as_it_came(self, offered: Offered, part: Part) -> bool:
        """Return whether the disk kept what it was given; what it did not is fetched again."""
        was_there = part.keep(*offered.documents)
        part.look()
        return was_there and not part.missing

    def _show(self, progress: Progress) -> None:
        """Learn in another thread how far the installing is; end it where the node ends."""
        if self._is_over:
            raise _Ended
        self._doing = f"{_INSTALLS} ({100 * progress.done // (progress.total or 1)} %)"

    # --- chunks ------------------------------------------------------------------------------

    async def _fetch_all(self, part: Part) -> bool:
        """Return whether all chunks came; not where there is nobody to ask for them any more."""
        self._doing, self._fetched = _FETCHES, 0
        self._since = moved = clock.monotonic()
        missing = deque(part.missing)
        self._told = 0.0  # what is fetched is told at once
        while missing or self._asked:
            self._offers.inquire()
            if self._has_room():
                self._ask_chunks(part, missing)
            else:
                moved = clock.monotonic()
            self._report()
            if self._asked:
                moved = clock.monotonic()
                done, _ = await asyncio.wait(
                    self._asked, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    _, number = self._asked.pop(task)
                    if not task.result():
                        missing.appendleft(number)
            elif clock.monotonic() - moved < STALLED_S:
                await self._look()
            else:
                self._log.warning("nobody gives the snapshot any more", height=part.height)
                return False
        return True

    def _has_room(self) -> bool:
        """Return whether more may be written; say so where that has changed."""
        short = self._shortage()
        if short and self._doing is _FETCHES:
            self._log.error("no room for the snapshot", reason=short)
        self._doing = f"{_FETCHES}, and waits for room: {short}" if short else _FETCHES
        return not short

    def _ask_chunks(self, part: Part, missing: deque[int]) -> None:
        """Ask every idle peer that offers this snapshot for the next chunks."""
        busy = Counter(key for key, _ in self._asked.values())
        for turn in range(AT_ONCE):
            for key in sorted(self._offers.holders(part.id)):
                if missing and busy[key] <= turn:
                    number = missing.popleft()
                    busy[key] += 1
                    task = asyncio.get_running_loop().create_task(self._fetch(part, key, number))
                    self._asked[task] = (key, number)

    async def _fetch(self, part: Part, key: bytes, number: int) -> bool:
        """Return whether a peer gave this chunk, and it is on the disk."""
        began = clock.monotonic()
        try:
            content = await self._peers.chunk(key, part.height, number, self._patience_s())
            if not content:
                self._offers.forget(key)  # it may offer another by now
                self._peers.avoid(key, f"it has no chunk {number} of what it offered")
                return False
            self._bytes += len(content)
            await asyncio.to_thread(part.put, number, content)
        except LinkDown:
            return False
        except NoAnswer as error:
            self._peers.avoid(key, f"chunk {number} of snapshot {part.height}: {error}")
            return False
        except LedgerError as error:
            fault = f"its chunk of snapshot {part.height} is false: {error}"
            self._offers.forget(key)
            self._peers.lies(key, fault)
            return False
        took = clock.monotonic() - began
        self._pace_s = took if self._pace_s is None else min(took, self._pace_s)
        self._fetched += 1
        return True

    def _patience_s(self) -> float:
        """Return how long a chunk may take."""
        if self._pace_s is None:
            return PATIENCE_S
        return min(PATIENCE_S, max(HASTE_S, SLOWER * self._pace_s))

    async def _look(self) -> None:
        """Wait until something is learnt, or a little."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._news.wait()

    # --- how far it has come -----------------------------------------------------------------

    def progress(self) -> JoinProgress:
        """Return how far this node has come."""
        part, left_s = self._offers.begun, None
        here, of = (0, 0) if part is None else (part.count, len(part.manifest.chunks))
        if self._fetched and self._doing is _FETCHES:
            left_s = round((of - here) * (clock.monotonic() - self._since) / self._fetched)
        return JoinProgress(
            self._doing,
            None if part is None else part.height,
            here,
            of,
            self._bytes,
            left_s,
            tuple(sorted({self._peers.label(key) for key, _ in self._asked.values()})),
            self._peers.avoided,
        )

    @property
    def words(self) -> str:
        """Why this node does not take part yet."""
        progress = self.progress()
        here = f", of block {progress.height}: {progress.chunks} of {progress.of} chunks are here"
        return f"joins by a snapshot: {self._doing}{'' if progress.height is None else here}"

    def _report(self) -> None:
        now = clock.monotonic()
        if now - self._told >= REPORT_S:
            self._told = now
            progress = self.progress()
            self._log.info(
                "snapshot is fetched",
                height=progress.height,
                chunks=progress.of,
                here=progress.chunks,
                left_s=progress.left_s,
                peers=list(progress.peers),
            )
