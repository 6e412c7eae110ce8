"""What concerns a member, as its node tells it: page by page, or by a stream that is resumed."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import msgspec

from node.client.client import NodeClient
from node.client.errors import ClientError, Unreachable
from node.client.explanations import EventView, Name

EVERYONE: Final = "*"  # for a member: what concerns everyone
FIRST_PAUSE_S: Final = 0.5  # before connecting again, doubled each time that fails
LAST_PAUSE_S: Final = 30.0


class EntryView(EventView, frozen=True, kw_only=True):
    """An entry: the `count`th that concerns the member."""

    count: int
    number: int | None  # in the log, None where the node does not know it
    fields: dict[Name, Any]


class PrunedView(msgspec.Struct, frozen=True):
    """What the node says where it does not keep the entries up to a count any more."""

    after: int


class _Page(msgspec.Struct, frozen=True):
    entries: tuple[EntryView, ...]
    cursor: int | None


async def entries(node: NodeClient, member: str, after: int) -> AsyncIterator[EntryView]:
    """Yield the entries that concern a member above its `after`th; raise as `NodeClient.get`."""
    cursor: int | None = after
    while cursor is not None:
        page = await node.get("/entries", _Page, {"member": member, "after": str(cursor)})
        for entry in page.entries:
            yield entry
        if page.cursor is not None and page.cursor <= cursor:
            return  # a node that goes in circles is not followed
        cursor = page.cursor


def follow(
    node: NodeClient, member: str, after: int, gone: Callable[[], None]
) -> Iterator[EntryView | PrunedView]:
    """Yield the same and go on with what comes, for ever; `gone` hears when the node is.

    Raises `Unreachable` where it was not there to begin with, and what it refuses.
    """
    pause, was_there = FIRST_PAUSE_S, False
    while True:
        try:
            for each in told(node, member, after):
                pause, was_there = FIRST_PAUSE_S, True
                if each is None:
                    continue
                count = each.count if isinstance(each, EntryView) else each.after
                if count > after:  # or it is of a node that tells twice
                    after = count
                    yield each
        except Unreachable:
            if not was_there:
                raise
            if pause == 2 * FIRST_PAUSE_S:  # it did not only restart in a moment
                gone()
        time.sleep(pause)  # before the next attempt, each longer than the last; Ctrl-C ends it
        pause = min(2 * pause, LAST_PAUSE_S)


def told(node: NodeClient, member: str, after: int) -> Iterator[EntryView | PrunedView | None]:
    """Yield what one connection tells, None for a sign of life, until it ends; raise as `follow`.

    It blocks; `NodeClient.hang_up` ends it from another thread.
    """
    for event, data in node.stream("/events", {"member": member}, last_id=str(after)):
        match event:
            case "message":
                yield node.parse(data, EntryView)
            case "pruned":
                yield node.parse(data, PrunedView)
            case "failed":
                raise ClientError(
                    "the node failed to read its own record",
                    hint="its operator finds the reason in its log",
                )
            case _:
                yield None
