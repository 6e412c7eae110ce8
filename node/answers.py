"""What this node gives when peers ask: transactions, blocks, snapshots; each bounded."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final, Protocol

from ledger.encoding import encode
from ledger.errors import NotKept, StoreDamaged
from ledger.snapshot import MAX_FILE_BYTES
from ledger.transaction import Transaction
from node import budget, clock, snapshots
from node.budget import Budget, Budgets
from node.chain import Chain
from node.errors import NodeError
from node.files import read_public
from node.link import Link, Transactions
from node.mempool import Mempool
from node.sync import (
    MAX_BLOCKS,
    MAX_OFFER_BYTES,
    Blocks,
    Chunk,
    Offer,
    PullBlocks,
    PullChunk,
    Pulled,
    PullSnapshot,
    Reply,
)

MEMPOOL_S: Final = 1.0  # a mempool is sent to a peer no more often
REPLY_BYTES: Final = 4 << 20  # all transactions of a block
BULK_BYTES: Final = 1 << 20  # of blocks, or of a mempool: who wants more asks again
MAX_PULLED_CALLS: Final = 4096  # of a mempool: more come with the next blocks
MAX_UNDER_WAY: Final = 2  # answers of a kind that are read from the disk for one peer


class Source(Protocol):
    """Who knows the transactions of the open height."""

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits or that a block of the open height holds."""


class Answers:
    """The giving side of an exchange."""

    def __init__(
        self,
        *,
        chain: Chain,
        data: Path,
        mempool: Mempool,
        source: Source,
        budgets: Budgets,
        reader: Executor,
    ) -> None:
        self._chain, self._mempool, self._source = chain, mempool, source
        self._data, self._budgets, self._reader = data, budgets, reader
        self._mempool_sent: dict[bytes, float] = {}  # when a peer was last sent our mempool
        self._under_way: dict[asyncio.Task[None], tuple[bytes, type]] = {}  # for whom, what

    def send(self, link: Link, reply: Reply) -> None:
        """Send an answer, at the cost of who asked."""
        payload = encode(reply)
        self._budgets.of(link.peer.node_key).spend(len(payload) * budget.BYTE_S)
        link.send_reply(payload)

    def send_transactions(self, link: Link, leaves: Iterable[bytes]) -> None:
        """Send those transactions that are known here, if any is."""
        if raws := _raws(map(self._source.transaction, leaves)):
            self.send(link, Pulled(raws))

    def send_mempool(self, link: Link) -> None:
        """Send what waits longest, unless this peer had it within the second."""
        now, last = clock.monotonic(), self._mempool_sent.get(link.peer.node_key)
        if last is not None and now - last < MEMPOOL_S:
            return
        self._mempool_sent[link.peer.node_key] = now
        self._budgets.of(link.peer.node_key).spend(budget.MEMPOOL_S)
        if raws := _raws(self._mempool.oldest(calls=MAX_PULLED_CALLS, size=BULK_BYTES)):
            link.send_transactions(encode(Transactions(raws)))

    def pass_on(self, ids: Iterable[bytes], links: Sequence[Link], spent: Budget) -> None:
        """Give what waits to peers that its sender is not linked to, at the cost of the sender.

        As it waits here: with its id another, false signature may have come.
        """
        if not links:
            return
        raws = tuple(dict.fromkeys(each.raw for each in map(self._mempool.get, ids) if each))
        payload = encode(Transactions(raws))
        for link in links if raws else ():
            spent.spend(len(raws) * budget.RELAY_S + len(payload) * budget.BYTE_S)
            link.send_transactions(payload)

    def send_blocks(self, link: Link, first: int, last: int) -> None:
        """Send decided blocks, from the first on as many as fit, once they are read."""
        self._begin(link, PullBlocks, self.reply_blocks(link, first, last))

    def send_offer(self, link: Link, most: int) -> None:
        """Send the newest snapshot that is not above a height, once its manifest is read."""
        self._begin(link, PullSnapshot, self.reply_offer(link, most))

    def send_chunk(self, link: Link, height: int, number: int) -> None:
        """Send a chunk of the snapshot of a height, once it is read."""
        self._begin(link, PullChunk, self.reply_chunk(link, height, number))

    def _begin(self, link: Link, kind: type, doing: Coroutine[Any, Any, None]) -> None:
        """Answer a peer, unless it has not taken earlier answers of the kind yet."""
        asked = (link.peer.node_key, kind)
        if sum(each == asked for each in self._under_way.values()) >= MAX_UNDER_WAY:
            doing.close()
            return
        task = asyncio.get_running_loop().create_task(doing)
        self._under_way[task] = asked
        task.add_done_callback(self._under_way.pop)

    async def reply_blocks(self, link: Link, first: int, last: int) -> None:
        """Read decided blocks and send them; where the first is not here, or not whole, say so."""
        loop = asyncio.get_running_loop()
        records: list[bytes] = []
        size, first = 0, max(first, 1)
        top = min(last, self._chain.height, first + MAX_BLOCKS - 1)
        for height in range(first, top + 1):
            try:
                record = await loop.run_in_executor(self._reader, self._chain.record, height)
            except (NotKept, StoreDamaged):
                break  # of damage the operator is told by the chain; the peer asks another
            size += len(record)
            if records and size > BULK_BYTES:
                break
            records.append(record)
        self._budgets.of(link.peer.node_key).spend(len(records) * budget.RECORD_S)
        self.send(link, Blocks(first, tuple(records), self._chain.first_body))

    async def reply_offer(self, link: Link, most: int) -> None:
        """Read the documents of our newest snapshot up to a height and send them."""
        loop = asyncio.get_running_loop()
        documents = await loop.run_in_executor(self._reader, self._documents, most)
        self._budgets.of(link.peer.node_key).spend(budget.RECORD_S)
        self.send(link, Offer(most, *documents))

    async def reply_chunk(self, link: Link, height: int, number: int) -> None:
        """Read a chunk and send it, nothing where it is not here."""
        path = snapshots.chunk_of(snapshots.folder_of(self._data, height), number)
        content = await asyncio.get_running_loop().run_in_executor(
            self._reader, _content, path, MAX_FILE_BYTES
        )
        self._budgets.of(link.peer.node_key).spend(budget.RECORD_S)
        self.send(link, Chunk(height, number, content))

    def _documents(self, most: int) -> tuple[bytes, bytes]:
        for height in reversed(snapshots.heights(self._data)):
            if height <= most:
                folder = snapshots.folder_of(self._data, height)
                manifest = _content(folder / snapshots.MANIFEST, MAX_OFFER_BYTES)
                decided = _content(folder / snapshots.DECIDED, MAX_OFFER_BYTES - len(manifest))
                if manifest and decided:
                    return manifest, decided
        return b"", b""


def _content(path: Path, limit: int) -> bytes:
    """Return what is in a file, nothing where it is too long or not here: it may be removed."""
    try:
        return read_public(path, limit=limit, hint="")
    except (NodeError, OSError):
        return b""


def _raws(found: Iterable[Transaction | None]) -> tuple[bytes, ...]:
    """Return as many encoded transactions as one answer holds."""
    raws: list[bytes] = []
    size = 0
    for transaction in found:
        if transaction is not None:
            size += len(transaction.raw)
            if size > REPLY_BYTES:
                break
            raws.append(transaction.raw)
    return tuple(raws)
