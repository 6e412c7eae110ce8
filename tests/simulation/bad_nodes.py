"""Deliberate bugs around the machine, one at a time: in the journal, the pledges, the replica.

Left out, because another path does the same and nothing is to be seen: a replica that fetches no
block by its id, or answers no message of an old height (catching up brings both); that asks for the
transactions of a block once only (the next round asks anew); that never ticks (`Status` brings what
is lacking, and the next round says all anew; `no_resend` is the same without that); that judges the
time of a proposal again (who lacks the block of a lock is never needed for it; `rejudge` is the
same in the machine).
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from consensus import core, promises
from consensus.interface import Ask, Built, Judge, Judged, Pull
from consensus.messages import Message, RoundChange
from consensus.promises import Promise, Restored, restore
from ledger.block import Block, Outline
from node import journal, kept, server
from node.exchange import Exchange
from node.journal import Journal, Kind, Record
from node.pledges import Pledges
from node.replica import Replica
from tests.simulation.mutants import Patches

_real: dict[str, Any] = {
    "append": Journal.append,
    "begin": Journal._begin_file,
    "durable": Pledges.make_durable,
    "restore": Pledges.restore,
    "start": Replica._start,
    "wants": core.Core.wants,
}


def _no_sync(self: Journal, data: bytes) -> None:
    kept.write_all(self._descriptor, data)
    self._size += len(data)


def _without_bodies(self: Journal, records: Sequence[Record]) -> None:
    _real["append"](self, [record for record in records if record.kind != Kind.BODY])


def _any_damage(self: Journal, _: Path, content: bytes, offset: int) -> tuple[list[Record], int]:
    records: list[Record] = []
    while (batch := self._batch_at(content, offset)) is not None:
        records += batch[0]
        offset = batch[1]
    return records, offset


def _delete_first(self: Journal, records: Sequence[Record]) -> None:
    for number in self._numbers():
        self._path(number).unlink()
    _real["begin"](self, records)


def _all_promises(self: Journal, _: int) -> list[bytes]:
    return [record.data for record in self._records if record.kind == Kind.PROMISE]


def _of_any_height(made: Sequence[Promise], height: int) -> Restored:
    return restore(made, promises.height_of(made[0]) if made else height)


async def _sooner_or_later(
    self: Pledges, made: Sequence[Promise], block: Callable[[bytes], Block]
) -> None:
    """Let the messages go while the disk is at work."""
    task = asyncio.ensure_future(_real["durable"](self, made, block))
    self.__dict__.setdefault("late", set()).add(task)


async def _no_promises(_: Pledges) -> tuple[list[Promise], list[Block]]:
    return [], []


async def _no_blocks(self: Pledges) -> tuple[list[Promise], list[Block]]:
    return (await _real["restore"](self))[0], []


def _wants_news(self: core.Core, message: Message) -> bool:
    """Let go of a wish that is said again, though what was pulled for it be lost."""
    is_known = isinstance(message, RoundChange) and self._book.holds(message)
    return not is_known and bool(_real["wants"](self, message))


def _never(_: Pledges, __: object) -> bool:
    return False


def _unless(*kinds: type[Ask]) -> Callable[[Replica, Ask], None]:
    def start(self: Replica, ask: Ask) -> None:
        if not isinstance(ask, kinds):
            _real["start"](self, ask)

    return start


async def _believe(self: Replica, outline: Outline, _: int, *, fresh: bool) -> None:  # noqa: ARG001
    """Call a block valid without having it."""
    self._put(Judged(outline.header.hash, ok=True, outline=outline))


async def _build_anything(self: Replica, round_: int) -> None:
    """Neither look whether there is anything, nor judge what is built."""
    index = self._pledges.index
    assert index is not None
    proposer = self.state.validators.members[index].member
    candidate, _ = await self._candidates.build(proposer, 0)
    self._candidates.keep(candidate)
    self._put(Built(candidate.outline))
    del round_


FORGIVING: Final[Patches] = [  # a node that does not ask what others heard of it
    (Pledges, "_count", lambda *_: 99),
    (Pledges, "is_foreign", _never),
]
JOURNALS: Final[dict[str, Patches]] = {
    "torn_accepted": [(Journal, "_checksum", lambda *_: bytes(4))],
    "damage_accepted": [(Journal, "_parse", _any_damage)],
    "old_file_first": [(Journal, "_begin_file", _delete_first)],
    "fence_forgotten": [(Journal, "_lasting", lambda _: [])],
    "copy_accepted": [(journal, "_doubt", lambda *_: "")],
}
NODES: Final[dict[str, Patches]] = {
    "no_fsync": [(Journal, "_write", _no_sync)],
    "sent_before_durable": [(Pledges, "make_durable", _sooner_or_later)],
    "body_not_on_disk": [(Journal, "append", _without_bodies)],
    "journal_of_another_height": [
        (Journal, "promises", _all_promises),
        (core, "restore", _of_any_height),
    ],
    "promises_not_restored": [(Pledges, "restore", _no_promises)],
    "blocks_not_restored": [(Pledges, "restore", _no_blocks)],
    "backup_votes": [(journal, "_doubt", lambda *_: ""), *FORGIVING],
    "lost_journal_votes": [(server, "UNKNOWN_FENCE", 0), *FORGIVING],
    "no_timer": [(Replica, "_arm", lambda *_: None)],
    "nothing_pulled": [(Replica, "_start", _unless(Pull))],
    "pulled_once": [(core.Core, "wants", _wants_news)],
    "nothing_judged": [(Replica, "_start", _unless(Judge))],
    "nothing_offered": [(Exchange, "_offer_mempool", lambda *_, **__: None)],
    "believed_unseen": [(Replica, "_judge", _believe)],
    "builds_anything": [(Replica, "_build", _build_anything)],
}


@contextmanager
def planted(patches: Patches) -> Iterator[None]:
    """Plant one bug."""
    with ExitStack() as stack:
        for target, attribute, value in patches:
            stack.enter_context(patch.object(target, attribute, value))
        yield
