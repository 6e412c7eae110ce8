"""What concerns a member, entry by entry over HTTP: page by page, or as it comes.

A stream holds no queue. It knows the count up to which its reader was told, and reads on when the
reader has taken that; who takes nothing is cut off, and resumes with the last count that it saw.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol, TypeVar

from aiohttp import web

from ledger.entry import Entry
from ledger.errors import LedgerError, NotKept
from ledger.validators import EVERYONE
from node import problems, views
from node.asking import GRANT, may_read, parse_digits, parse_member, parse_number, require
from node.bell import Bell
from node.log import Log
from node.problems import Problem
from node.tokens import Grant, Scope

MAX_ENTRIES: Final = 100  # in a page: for each a block may be read
MAX_STREAMS: Final = 200
MAX_OF_ONE: Final = 8  # streams with one token
BEAT_S: Final = 15.0  # between comments that show that a quiet stream lives
STALL_S: Final = 30.0  # for a reader that takes nothing
RETRY_MS: Final = 2000  # before a reader connects again
LAST_ID: Final = "Last-Event-ID"
ANYBODY: Final = "*"  # for a member: what concerns everybody
_AT_ONCE: Final = 32  # entries that are read for a stream together
_MAX_COUNT: Final = 1 << 62

T = TypeVar("T")


class Feed(Protocol):
    """Where the entries of members are read."""

    def concerning(self, member: bytes) -> int:
        """Return how many entries concern `member` by now; raise `Problem` where none is kept."""

    def entries_concerning(
        self, member: bytes, *, after: int, limit: int
    ) -> Sequence[tuple[int | None, Entry]]:
        """Return entries that concern `member`, with their numbers, from its `after`th on.

        Raises `NotKept`.
        """

    def pruned(self, member: bytes) -> int:
        """Return how many of the first entries of `member` are not here any more."""

    def standing(self) -> str:
        """Return where the chain stands here, in one line."""


class Events:
    """The handlers, over a feed; `bell` is rung when it may have grown."""

    def __init__(self, feed: Feed, bell: Bell, reader: Executor, log: Log) -> None:
        self._feed, self._bell, self._reader, self._log = feed, bell, reader, log
        self._streams: list[web.Request] = []
        self._is_over = False

    def add_to(self, application: web.Application) -> None:
        """Add ours to an application, which ends the streams when it shuts down."""
        application.router.add_get("/v1/entries", self.entries)
        application.router.add_get("/v1/events", self.events, allow_head=False)
        application.on_shutdown.append(self._end)

    async def _end(self, _: web.Application) -> None:
        self._is_over = True
        self._bell.ring()

    async def entries(self, request: web.Request) -> web.Response:
        """List entries that concern a member, above its `after`th, the oldest first."""
        member = _member(request)
        after = parse_number(request, "after", 0, 0, _MAX_COUNT)
        limit = parse_number(request, "limit", MAX_ENTRIES, 1, MAX_ENTRIES)

        def page() -> dict[str, Any]:
            total = self._feed.concerning(member)
            try:
                found = self._feed.entries_concerning(member, after=after, limit=limit)
            except NotKept as error:
                raise _gone(error, self._feed.pruned(member)) from None
            shown = [views.entry(*each) for each in _counted(found, after)]
            cursor = after + len(found) if len(found) == limit else None
            return {"member": _name(member), "total": total, "entries": shown, "cursor": cursor}

        return web.json_response(await self._in_reader(page))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream the same from a count on, and what comes, until the reader goes or we do."""
        member = _member(request)
        after = parse_number(request, "after", 0, 0, _MAX_COUNT)
        if (seen := request.headers.get(LAST_ID)) is not None:
            after = parse_digits(seen, LAST_ID)
        self._feed.concerning(member)  # it is kept here, or that is said now
        with self._place(request):
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            response = web.StreamResponse(headers=headers)
            response.content_type, response.charset = "text/event-stream", "utf-8"
            await response.prepare(request)
            try:
                async with contextlib.aclosing(self._told(request, member, after)) as told:
                    async for text in told:
                        async with asyncio.timeout(STALL_S):
                            await response.write(text.encode())
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                self._log.warning("reader of events cut off", token=request[GRANT].label)
            except ConnectionError:
                pass  # the reader has gone
        return response

    @contextlib.contextmanager
    def _place(self, request: web.Request) -> Iterator[None]:
        """Count a stream while it is there; raise `Problem` where there are too many."""
        grant: Grant = request[GRANT]
        there = [each for each in self._streams if each.transport is not None]
        if len(there) < len(self._streams):
            self._bell.ring()  # the others find out that they ended
        if sum(each[GRANT].digest == grant.digest for each in there) >= MAX_OF_ONE:
            raise _too_many("this token has", MAX_OF_ONE)
        if len(there) >= MAX_STREAMS:
            raise _too_many("this node has", MAX_STREAMS)
        self._streams.append(request)
        try:
            yield
        finally:
            self._streams.remove(request)

    async def _told(
        self, request: web.Request, member: bytes, after: int
    ) -> AsyncGenerator[str, None]:
        """Yield what a stream says, until it is over."""
        yield f"retry: {RETRY_MS}\n: {self._feed.standing()}\n\n"
        while not self._is_over and request.transport is not None:
            heard = self._bell.next
            if self._feed.concerning(member) > after:
                try:
                    found = await self._in_reader(self._read, member, after)
                except NotKept as error:
                    try:
                        gone = await self._in_reader(self._feed.pruned, member)
                    except NotKept:
                        continue  # more was pruned meanwhile
                    assert gone > after, "what is not here is below what is"
                    after = gone
                    yield _event(_gone(error, gone).body, id_=gone, event="pruned")
                    continue
                except LedgerError as error:
                    self._log.error("events not read", error=str(error))
                    title = "the node failed to read on; its log says why"
                    yield _event(Problem(500, "internal", title).body, event="failed")
                    return
                for count, number, entry in _counted(found, after):
                    yield _event(views.entry(count, number, entry), id_=count)
                after += len(found)
                if found:
                    continue
            try:
                async with asyncio.timeout(BEAT_S):
                    await heard.wait()
            except TimeoutError:
                yield f": {self._feed.standing()}\n\n"

    def _read(self, member: bytes, after: int) -> Sequence[tuple[int | None, Entry]]:
        return self._feed.entries_concerning(member, after=after, limit=_AT_ONCE)

    async def _in_reader(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._reader, doing, *arguments)


def _member(request: web.Request) -> bytes:
    """Return whose entries are asked for: those of the token, if not said; raise `Problem`."""
    grant = require(request, Scope.READ, Scope.AUDIT)
    named = request.query.get("member")
    member = EVERYONE if named == ANYBODY else parse_member(request) or grant.member
    if member is None or not may_read(grant, member):
        raise Problem(403, "forbidden", "name a ?member= that this token may read")
    return member


def _counted(
    found: Sequence[tuple[int | None, Entry]], after: int
) -> Iterator[tuple[int, int | None, Entry]]:
    for count, (number, entry) in enumerate(found, after + 1):
        yield count, number, entry


def _name(member: bytes) -> str:
    return ANYBODY if member == EVERYONE else member.hex()


def _event(data: object, *, id_: int | None = None, event: str = "") -> str:
    head = f"event: {event}\n" if event else ""
    head += "" if id_ is None else f"id: {id_}\n"
    return f"{head}data: {json.dumps(data)}\n\n"


def _gone(error: NotKept, count: int) -> Problem:
    detail = f"{problems.PRUNED}; what is left here begins after={count}"
    return Problem(410, "pruned", str(error), detail, after=count)


def _too_many(who: str, number: int) -> Problem:
    detail = "close one, or read /v1/entries page by page"
    return Problem(429, "too-many-streams", f"{who} {number} streams of events already", detail)
