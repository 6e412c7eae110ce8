"""Transactions that wait for a block: first come, first served, bounded in number and bytes."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.transaction import Transaction
from node.errors import NodeError

MAX_SHARE: Final = 2  # one sender may hold 1/MAX_SHARE of the room


class MempoolFull(NodeError):
    """There is no room for another transaction; nothing was dropped for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the mempool is full: {reason}", hint="send it again in a few seconds")


@dataclass(frozen=True)
class Limits:
    """What the mempool may hold."""

    transactions: int = 20_000
    bytes: int = 32 << 20


class Mempool:
    """Admitted transactions, by id and by the leaf hash that proposals name them by."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_id: OrderedDict[bytes, Transaction] = OrderedDict()
        self._by_leaf: dict[bytes, Transaction] = {}
        self._held: Counter[bytes] = Counter()  # bytes by sender
        self._counts: Counter[bytes] = Counter()  # transactions by sender
        self.bytes = 0
        self.added = 0  # ever

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._by_id)

    def __contains__(self, transaction_id: bytes) -> bool:
        """Return whether the transaction with this id waits here."""
        return transaction_id in self._by_id

    def get(self, transaction_id: bytes) -> Transaction | None:
        """Return the transaction with this id if it waits here."""
        return self._by_id.get(transaction_id)

    def require_room(self, transaction: Transaction) -> None:
        """Raise `MempoolFull` unless `transaction` fits."""
        size, limits = len(transaction.raw), self._limits
        if len(self._by_id) >= limits.transactions or self.bytes + size > limits.bytes:
            raise MempoolFull(f"{len(self._by_id)} transactions, {self.bytes} bytes")
        if self._counts[transaction.body.sender] >= limits.transactions // MAX_SHARE:
            raise MempoolFull("this member fills its share of it")
        if self._held[transaction.body.sender] + size > limits.bytes // MAX_SHARE:
            raise MempoolFull("this member fills its share of it")

    def add(self, transaction: Transaction) -> bool:
        """Add an admitted transaction; return False if it was here already."""
        if transaction.id in self._by_id:
            return False
        self.require_room(transaction)
        self._by_id[transaction.id] = transaction
        self._by_leaf[transaction.leaf] = transaction
        self._held[transaction.body.sender] += len(transaction.raw)
        self._counts[transaction.body.sender] += 1
        self.bytes += len(transaction.raw)
        self.added += 1
        return True

    def by_leaf(self, leaf: bytes) -> Transaction | None:
        """Return the transaction that a proposal names by this leaf hash."""
        return self._by_leaf.get(leaf)

    def oldest(self, *, calls: int, size: int) -> list[Transaction]:
        """Return the transactions that came first, of so many calls and bytes in all at most."""
        taken: list[Transaction] = []
        for transaction in self._by_id.values():
            calls -= len(transaction.body.calls)
            size -= len(transaction.raw)
            if taken and (calls < 0 or size < 0):
                break
            taken.append(transaction)
        return taken

    def remove(self, ids: Iterable[bytes]) -> None:
        """Forget these transactions: they are in a block, or can be in none any more."""
        for id_ in ids:
            transaction = self._by_id.pop(id_, None)
            if transaction is None:
                continue
            del self._by_leaf[transaction.leaf]
            sender, size = transaction.body.sender, len(transaction.raw)
            self.bytes -= size
            self._held[sender] -= size
            self._counts[sender] -= 1
            if not self._held[sender]:
                del self._held[sender], self._counts[sender]

    def expired(self, time: int) -> list[bytes]:
        """Return the ids of those whose last second was before `time`."""
        return [id_ for id_, held in self._by_id.items() if held.body.valid_until < time]
