"""The door for transactions: into the mempool, and word of what became of them."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from contracts import seen
from contracts.errors import AlreadySeen, Expired, Inadmissible, UnknownVersion
from contracts.execute import ChainState, Executed, require_includable
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import LedgerError
from ledger.hashing import Hash
from ledger.transaction import Transaction
from node import clock
from node.bell import Bell
from node.errors import NodeError
from node.link import Transactions
from node.mempool import Mempool, MempoolFull
from node.metrics import Metrics
from node.p2p import Network
from node.results import MAX_BATCH, Committed, Pending, Refused, Result
from node.signatures import VerifiedSignatures

JUDGED_HERE: Final = 16  # at about 0.1 ms each: fewer cost less than handing them to a thread
GOSSIP_BYTES: Final = 1 << 20  # of one frame: well below p2p's limit
RELAYS: Final = 2  # who pass on to validators that are not linked here; one of them may not
MAX_WAITING: Final = 100_000  # ids that clients wait for


@dataclass(slots=True)
class _Arrival:
    """A transaction that came, and what is found wrong with it."""

    transaction: Transaction
    index: int  # among those that came with it
    gossip: bool  # from a client: the other validators do not have it
    error: LedgerError | Inadmissible | NodeError | None = None


class Admission:
    """Takes what may be included, tells the other validators, and answers who waits."""

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
        self._arrived: list[tuple[list[_Arrival], asyncio.Future[None]]] = []
        self._judging: asyncio.Task[None] | None = None
        self._is_released = False
        self.bell = Bell()  # rung after each block
        self.network: Network | None = None

    async def submit(self, raws: Sequence[bytes], *, gossip: bool) -> list[Result]:
        """Admit what may be included; one result each, in order: `Pending` or `Refused`.

        A transaction that waits already is `Pending` again; one in the chain is refused as seen.
        """
        results: list[Result] = []
        fresh: list[_Arrival] = []
        for raw in raws:
            try:
                transaction = transactions.parse(raw)
            except LedgerError as error:
                results.append(self._refused(None, error))
                continue
            results.append(Pending(transaction.id))
            if transaction.id not in self._mempool:
                fresh.append(_Arrival(transaction, len(results) - 1, gossip=gossip))
        if fresh:
            judged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._arrived.append((fresh, judged))
            if self._judging is None:
                self._judging = asyncio.create_task(self._judge_arrived())
            await judged
            for arrival in fresh:
                if arrival.error is not None:
                    refused = self._refused(arrival.transaction.id, arrival.error)
                    results[arrival.index] = refused
        return results

    async def _judge_arrived(self) -> None:
        """Judge what has arrived, all at once: so the busier a node, the larger its batches."""
        loop = asyncio.get_running_loop()
        try:
            while self._arrived:
                batch, self._arrived = self._arrived, []
                arrivals = [arrival for fresh, _ in batch for arrival in fresh]
                height = self._state().header.height
                try:
                    if len(arrivals) > JUDGED_HERE:
                        await loop.run_in_executor(self._worker, self._judge, arrivals)
                    else:
                        self._judge(arrivals)
                    self._admit(arrivals, height)
                except BaseException as error:
                    for _, judged in batch:
                        if not judged.done():
                            judged.set_exception(error)
                    if not isinstance(error, UnknownVersion):  # before which the node stops
                        raise
                for _, judged in batch:
                    if not judged.done():
                        judged.set_result(None)
        finally:
            self._judging = None

    def _admit(self, arrivals: Sequence["_Arrival"], height: int) -> None:
        """Put what was judged fit at `height` into the mempool, and tell the others."""
        admitted: list[Transaction] = []
        told: list[Transaction] = []
        has_grown = self._state().header.height != height
        for arrival in arrivals:
            transaction = arrival.transaction
            try:
                if has_grown and seen.is_seen(self._state().state, transaction):
                    raise AlreadySeen(transaction.id)
                if arrival.error is None and self._mempool.add(transaction):
                    admitted.append(transaction)
                    if arrival.gossip:
                        told.append(transaction)
            except (MempoolFull, Inadmissible) as error:
                arrival.error = error
        if admitted:
            self._added(admitted)
        if told:
            self._gossip(told)

    async def wait(self, ids: Iterable[bytes], seconds: float) -> dict[bytes, Result]:
        """Return what became of each of `ids`, all pending, once all are known or time is up."""
        loop = asyncio.get_running_loop()
        futures: list[tuple[bytes, asyncio.Future[Result]]] = []
        if not seconds or self._is_released:
            return {}
        for id_ in ids:
            if id_ in self._mempool and len(self._waiting) < MAX_WAITING:
                future: asyncio.Future[Result] = loop.create_future()
                self._waiting.setdefault(id_, []).append(future)
                futures.append((id_, future))
        if not futures:
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

    def release(self) -> None:
        """Answer all who wait that it is still pending, now and from now on: the node stops."""
        self._is_released = True
        for id_ in list(self._waiting):
            self._answer(Pending(Hash(id_)))

    def decided(self, executed: Executed) -> None:
        """Learn what a decided block held: forget its transactions, answer who waits for them."""
        header = executed.header
        outcomes: dict[tuple[bytes, bytes], list[Outcome]] = {}
        for entry in executed.entries:
            outcomes.setdefault((entry.transaction, entry.sender), []).append(entry.outcome)
        self._mempool.remove(id_ for id_, _ in outcomes)
        for (id_, sender), codes in outcomes.items():
            if id_ in self._waiting:
                self._answer(Committed(Hash(id_), sender, header.height, header.time, tuple(codes)))
        self.bell.ring()

    def dropped(self, refused: Iterable[tuple[Transaction, LedgerError | Inadmissible]]) -> None:
        """Learn that transactions that were admitted can be included no more."""
        for transaction, error in refused:
            self._mempool.remove([transaction.id])
            self._answer(self._refused(transaction.id, error))

    def drop_expired(self) -> None:
        """Drop what is too late for any block."""
        time = self._state().header.time
        late = [self._mempool.get(id_) for id_ in self._mempool.expired(time)]
        self.dropped((each, Expired(each.body.valid_until, time)) for each in late if each)

    def _answer(self, result: Result) -> None:
        if result.id is None:
            return
        for future in self._waiting.pop(result.id, ()):
            if not future.done():
                future.set_result(result)

    def _judge(self, arrivals: Sequence["_Arrival"]) -> None:
        """Say of each why it may not be included. Runs in the worker where they are many."""
        state = self._state()
        time = max(clock.now_ms() // 1000, state.header.time)
        for arrival in arrivals:
            try:
                require_includable(arrival.transaction, state, time, self._signatures)
            except (LedgerError, Inadmissible) as error:
                arrival.error = error

    def _refused(self, id_: Hash | None, error: LedgerError | Inadmissible | NodeError) -> Refused:
        self._metrics.rejected.labels(type(error).__name__).inc()
        return Refused(id_, error)

    def _gossip(self, admitted: list[Transaction]) -> None:
        if self.network is None:
            return
        links, own = self.network.links, self.network.node_key
        keys = [each.node_key for each in self._state().validators.members]
        missing = tuple(key for key in keys if key not in links and key != own)
        able = [key for key in keys if key in links]
        relays = random.sample(able, min(RELAYS, len(able))) if missing else []
        for payload in _frames(admitted, ()):
            for key, link in links.items():
                if key not in relays:
                    link.send_transactions(payload)
        if relays:
            for payload in _frames(admitted, missing):
                for key in relays:
                    links[key].send_transactions(payload)


def _frames(admitted: list[Transaction], relay: tuple[bytes, ...]) -> Iterable[bytes]:
    raws: list[bytes] = []
    size = 0
    for transaction in admitted:
        if len(raws) == MAX_BATCH or (raws and size + len(transaction.raw) > GOSSIP_BYTES):
            yield encode(Transactions(tuple(raws), relay))
            raws, size = [], 0
        raws.append(transaction.raw)
        size += len(transaction.raw)
    yield encode(Transactions(tuple(raws), relay))
