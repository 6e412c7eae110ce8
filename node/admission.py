"""The door for transactions: from clients and peers into the mempool, and word of what became of them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from contracts.errors import Inadmissible
from contracts.execute import ChainState, Executed, require_includable
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import LedgerError
from ledger.hashing import Hash
from ledger.transaction import Transaction
from node import clock
from node.chain import Committed
from node.errors import NodeError
from node.mempool import Mempool, MempoolFull
from node.metrics import Metrics
from node.p2p import Network, Transactions
from node.signatures import VerifiedSignatures

MAX_BATCH: Final = 1024
GOSSIP_BYTES: Final = 1 << 20  # of one frame: well below p2p's limit
MAX_WAITING: Final = 100_000  # ids that clients wait for


@dataclass(frozen=True)
class Pending:
    """A transaction waits for a block."""

    id: Hash


@dataclass(frozen=True)
class Refused:
    """A transaction may not be in any block; `id` is None where it could not even be read."""

    id: Hash | None
    error: LedgerError | Inadmissible | NodeError


Result = Committed | Pending | Refused


class Admission:
    """Takes transactions that may be included, tells the other validators, and answers who waits."""

    def __init__(
        self,
        *,
        mempool: Mempool,
        state: Callable[[], ChainState],
        signatures: VerifiedSignatures,
        metrics: Metrics,
        worker: Executor,
        added: Callable[[Sequence[Transaction]], None],
    ) -> None:
        self._mempool, self._state, self._signatures = mempool, state, signatures
        self._metrics, self._worker, self._added = metrics, worker, added
        self._waiting: dict[bytes, list[asyncio.Future[Result]]] = {}
        self.network: Network | None = None

    async def submit(self, raws: Sequence[bytes], *, gossip: bool) -> list[Result]:
        """Admit what may be included; one result each, in order: `Pending` or `Refused`.

        A transaction that waits already is `Pending` again. One that is in the chain is refused as
        seen: the caller looks there first.
        """
        results: list[Result] = []
        fresh: list[tuple[int, Transaction]] = []
        for raw in raws:
            try:
                transaction = transactions.parse(raw)
            except LedgerError as error:
                results.append(self._refused(None, error))
                continue
            results.append(Pending(transaction.id))
            if transaction.id not in self._mempool:
                fresh.append((len(results) - 1, transaction))
        if not fresh:
            return results
        judged = await asyncio.get_running_loop().run_in_executor(
            self._worker, self._judge, [transaction for _, transaction in fresh]
        )
        admitted: list[Transaction] = []
        for (index, transaction), error in zip(fresh, judged, strict=True):
            if error is not None:
                results[index] = self._refused(transaction.id, error)
                continue
            try:
                if self._mempool.add(transaction):
                    admitted.append(transaction)
            except MempoolFull as full:
                results[index] = self._refused(transaction.id, full)
        if admitted:
            self._added(admitted)
            if gossip:
                self._gossip(admitted)
        return results

    async def wait(self, ids: Iterable[bytes], seconds: float) -> dict[bytes, Result]:
        """Return what became of each of `ids`, all pending, once all are known or time is up."""
        loop = asyncio.get_running_loop()
        futures: list[tuple[bytes, asyncio.Future[Result]]] = []
        for id_ in ids:
            if id_ in self._mempool and len(self._waiting) < MAX_WAITING:
                future: asyncio.Future[Result] = loop.create_future()
                self._waiting.setdefault(id_, []).append(future)
                futures.append((id_, future))
        if not futures or not seconds:
            return {}
        try:
            await asyncio.wait([future for _, future in futures], timeout=seconds)
        finally:
            for id_, future in futures:
                if not future.done():
                    self._waiting[id_].remove(future)
                    if not self._waiting[id_]:
                        del self._waiting[id_]
        return {id_: future.result() for id_, future in futures if future.done()}

    def decided(self, executed: Executed) -> None:
        """Learn what a decided block held: forget its transactions, answer who waits for them."""
        header = executed.header
        outcomes: dict[tuple[bytes, bytes], list[Outcome]] = {}
        for entry in executed.entries:
            outcomes.setdefault((entry.transaction, entry.sender), []).append(entry.outcome)
        self._mempool.remove(id_ for id_, _ in outcomes)
        for (id_, sender), codes in outcomes.items():
            if id_ in self._waiting:
                self._answer(
                    Committed(Hash(id_), sender, header.height, header.time, tuple(codes))
                )

    def dropped(self, refused: Iterable[tuple[Transaction, LedgerError | Inadmissible]]) -> None:
        """Learn that transactions that were admitted can be included no more."""
        for transaction, error in refused:
            self._mempool.remove([transaction.id])
            self._answer(self._refused(transaction.id, error))

    def _answer(self, result: Committed | Refused) -> None:
        if result.id is None:
            return
        for future in self._waiting.pop(result.id, ()):
            if not future.done():
                future.set_result(result)

    def _judge(self, fresh: list[Transaction]) -> list[LedgerError | Inadmissible | None]:
        """Return for each why it may not be included, None where it may. Runs in the worker."""
        state, time = self._state(), clock.now_ms() // 1000
        judged: list[LedgerError | Inadmissible | None] = []
        for transaction in fresh:
            try:
                at = max(time, state.header.time)
                require_includable(transaction, state, at, self._signatures)
                judged.append(None)
            except (LedgerError, Inadmissible) as error:
                judged.append(error)
        return judged

    def _refused(self, id_: Hash | None, error: LedgerError | Inadmissible | NodeError) -> Refused:
        self._metrics.rejected.labels(type(error).__name__).inc()
        return Refused(id_, error)

    def _gossip(self, admitted: list[Transaction]) -> None:
        if self.network is None:
            return
        for payload in _frames(admitted):
            for link in list(self.network.links.values()):
                link.send_transactions(payload)


def _frames(admitted: list[Transaction]) -> Iterable[bytes]:
    raws: list[bytes] = []
    size = 0
    for transaction in admitted:
        if raws and size + len(transaction.raw) > GOSSIP_BYTES:
            yield encode(Transactions(tuple(raws)))
            raws, size = [], 0
        raws.append(transaction.raw)
        size += len(transaction.raw)
    yield encode(Transactions(tuple(raws)))
