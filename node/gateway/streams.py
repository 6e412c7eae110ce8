"""What concerns us on the chain, as server-sent events: the node's stream, in the shop's words.

A reader that lost its connection says `Last-Event-ID` and goes on after it. When the node is away
the stream stays open and says so in a comment; nothing is left out when it is back.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

import msgspec
from aiohttp import web

from node.asking import parse_digits, parse_number
from node.client.client import NodeClient
from node.client.errors import ClientError, Unreachable
from node.client.events import FIRST_PAUSE_S, LAST_PAUSE_S, EntryView, PrunedView
from node.client.events import told as told_by
from node.client.words import about, tell_entry
from node.gateway.claims import reference_of
from node.gateway.desk import Desk
from node.gateway.doors import Doors
from node.gateway.operations import AFTER, MAX_COUNT, Operation
from node.gateway.shapes import Event
from node.problems import Problem
from node.tokens import Scope

MAX_STREAMS: Final = 16
_LAST_ID: Final = "Last-Event-ID"


class StreamDesk:
    """The handler."""

    def __init__(self, desk: Desk, doors: Doors) -> None:
        self._desk, self._doors = desk, doors
        self._streams: list[web.Request] = []

    def operations(self) -> Sequence[Operation]:
        """Return what can be asked of events."""
        return (
            Operation(
                "GET",
                "/v1/events",
                "followEvents",
                "Follow what concerns us on the chain. Server-sent events: each has an `id`, which"
                " `after` and the header Last-Event-ID take, and JSON data (`Event`).",
                self.follow,
                Scope.READ,
                "text/event-stream",
                refusals=(429,),
                parameters=(AFTER,),
            ),
        )

    async def end(self, _: web.Application) -> None:
        """End the streams, when the gateway stops."""
        for request in list(self._streams):
            if request.transport is not None:
                request.transport.close()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Stream until the reader goes, or is let in no more."""
        after = parse_number(request, "after", 0, 0, MAX_COUNT)
        if (seen := request.headers.get(_LAST_ID)) is not None:
            after = parse_digits(seen, _LAST_ID)
        if len(self._streams) == MAX_STREAMS:
            raise Problem(
                429, "too-many-streams", f"{MAX_STREAMS} streams are open", "close one of them"
            )
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type, response.charset = "text/event-stream", "utf-8"
        self._streams.append(request)
        try:
            await response.prepare(request)
            async with contextlib.aclosing(self._told(after)) as told:
                async for text in told:
                    if not self._doors.still_admits(request):
                        break  # its token was removed
                    await response.write(text.encode())
        except ConnectionError:
            pass  # the reader has gone
        finally:
            self._streams.remove(request)
        return response

    async def _told(self, after: int) -> AsyncGenerator[str]:
        pause = FIRST_PAUSE_S
        while True:
            node = self._desk.connect()
            try:
                async for each in self._stream(node, after):
                    pause = FIRST_PAUSE_S
                    match each:
                        case EntryView() if each.count > after:
                            after = each.count
                            yield self._text(each)
                        case PrunedView() if each.after > after:
                            after = each.after
                            yield f'event: pruned\nid: {after}\ndata: {{"after": {after}}}\n\n'
                        case _:
                            yield ":\n\n"
            except Unreachable:
                yield ": the node does not answer\n\n"
            except ClientError as error:
                data = msgspec.json.encode({"title": str(error), "detail": error.hint}).decode()
                yield f"event: failed\ndata: {data}\n\n"
                return
            finally:
                node.hang_up()
            await asyncio.sleep(pause)  # before connecting again, each longer than the last
            pause = min(2 * pause, LAST_PAUSE_S)

    async def _stream(
        self, node: NodeClient, after: int
    ) -> AsyncIterator[EntryView | PrunedView | None]:
        """Yield what one connection tells; whoever leaves it hangs up, which ends its thread."""
        told = told_by(node, self._desk.sender.member.hex(), after)
        while (each := await asyncio.to_thread(next, told, _END)) is not _END:
            yield each  # type: ignore[misc]  # no object but _END is none of these

    def _text(self, entry: EntryView) -> str:
        desk = self._desk
        kind, id_ = about(entry)
        event = Event(
            count=entry.count,
            height=entry.height,
            time=entry.time,
            call=entry.call,
            outcome=entry.outcome.name,
            sender=desk.members.label_of(bytes.fromhex(entry.sender)),
            kind=kind,
            id=id_,
            reference=reference_of(desk, id_) if kind == "claim" else None,
            said=tell_entry(entry, desk.sender.member, desk.members.label_of),
        )
        return f"id: {entry.count}\ndata: {msgspec.json.encode(event).decode()}\n\n"


_END: Final = object()
