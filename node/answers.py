"""What this node gives when peers ask: transactions, its mempool, decided blocks; each bounded."""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Final, Protocol

from ledger.encoding import encode
from ledger.errors import NotKept, StoreDamaged
from ledger.transaction import Transaction
from node import budget, clock
from node.budget import Budget, Budgets
from node.chain import Chain
from node.link import Link, Transactions
from node.mempool import Mempool
from node.sync import MAX_BLOCKS, Blocks, Pulled, Reply

MEMPOOL_S: Final = 1.0  # a mempool is sent to a peer no more often
REPLY_BYTES: Final = 4 << 20  # all transactions of a block
BULK_BYTES: Final = 1 << 20  # of blocks, or of a mempool: who wants more asks again
MAX_PULLED_CALLS: Final = 4096  # of a mempool: more come with the next blocks
MAX_UNDER_WAY: Final = 2  # answers that are read from the disk for one peer


class Source(Protocol):
    """Who knows the transactions of the open height."""

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits or that a block of the open height holds."""


class Answers:
    """The giving side of an exchange."""

    def __init__(
        self, *, chain: Chain, mempool: Mempool, source: Source, budgets: Budgets, reader: Executor
    ) -> None:
        self._chain, self._mempool, self._source = chain, mempool, source
        self._budgets, self._reader = budgets, reader
        self._mempool_sent: dict[bytes, float] = {}  # when a peer was last sent our mempool
        self._under_way: dict[asyncio.Task[None], bytes] = {}  # for whom

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
        key = link.peer.node_key
        if sum(each == key for each in self._under_way.values()) >= MAX_UNDER_WAY:
            return  # it has not taken those yet
        task = asyncio.get_running_loop().create_task(self.reply_blocks(link, first, last))
        self._under_way[task] = key
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
