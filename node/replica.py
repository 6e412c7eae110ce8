"""The shell around the agreement machine: it does what `consensus.core` asks, in that order.

One task hands events to the core of the open height, makes its promises durable, commits what is
decided, and only then sends. Executing and syncing to disk happen in worker threads, so that the
event loop goes on reading; their results come back as events.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar

from consensus import promises
from consensus.core import Core
from consensus.interface import (
    Ask,
    Build,
    Built,
    CancelTimer,
    Event,
    Expired,
    Fetch,
    Judge,
    Judged,
    Output,
    Pull,
    Ready,
    Received,
    SendDecided,
    SetTimer,
    Tick,
    Work,
)
from consensus.messages import Message, Prepare, Proposal, Status
from contracts.errors import Inadmissible
from contracts.execute import ChainState, Executed
from ledger.block import MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, Block, Body, Outline
from ledger.certificate import CommitCertificate
from ledger.encoding import decode, encode
from ledger.errors import LedgerError, Mismatch
from ledger.keys import SigningKey
from ledger.transaction import Transaction
from node import clock, sync
from node.admission import Admission
from node.chain import Chain
from node.errors import NodeError
from node.exchange import Exchange
from node.journal import UNKNOWN_FENCE, Journal, Kind, Record
from node.log import Log
from node.mempool import Mempool
from node.metrics import Metrics
from node.p2p import Link
from node.signatures import VerifiedSignatures

TICK_S: Final = 1.0
PULL_AFTER_S: Final = 0.1  # transactions of a proposal mostly come by gossip meanwhile
PRECISION_MS: Final = 500  # how far clocks may be apart
MESSAGE_DELAY_MS: Final = 2000  # grows by a tenth with every round
MAX_EVENTS: Final = 10_000  # links wait while so many are to be handled
MAX_CANDIDATES: Final = 8  # executed blocks of one height
SAFE_HEIGHTS: Final = 2  # above the highest decided one, where a lost journal may have voted

P = ParamSpec("P")
T = TypeVar("T")


class Halted(NodeError):
    """This node cannot go on without breaking a promise or contradicting the chain."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, hint="do not restart it before the cause is known; ask the others")


class Untimely(LedgerError):
    """A fresh proposal's time is too far from our clock."""

    def __init__(self, off_ms: int) -> None:
        super().__init__(f"the block's time is {off_ms} ms off")
        self.off_ms = off_ms


@dataclass(frozen=True)
class Candidate:
    """A valid block of the open height, executed."""

    outline: Outline
    executed: Executed


@dataclass
class _Assembly:
    """A block whose transactions are being collected."""

    found: dict[bytes, Transaction]
    missing: set[bytes]
    complete: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Synced:
    """Decided blocks that a peer sent; they take their turn among the events."""

    link: Link
    records: tuple[bytes, ...]


class Replica:
    """One node's part in agreement; `key` is None for an observer."""

    def __init__(
        self,
        *,
        key: SigningKey | None,
        chain: Chain,
        journal: Journal | None,
        mempool: Mempool,
        signatures: VerifiedSignatures,
        metrics: Metrics,
        log: Log,
        worker: Executor,
        disk: Executor,
    ) -> None:
        self._key, self._chain, self._journal = key, chain, journal
        self._mempool, self._signatures = mempool, signatures
        self._metrics, self._log = metrics, log
        self._worker, self._disk = worker, disk
        self._events: deque[Event | _Synced] = deque()
        self._come = asyncio.Event()  # there are events
        self._room = asyncio.Event()  # there is room for more
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._failed: asyncio.Future[None] | None = None
        # Of the open height:
        self._core = self._new_core(())
        self._candidates: dict[bytes, Candidate] = {}
        self._assemblies: dict[bytes, _Assembly] = {}
        self._under_way: set[object] = set()
        self._bodies_kept: set[bytes] = set()
        self._has_work = False
        self._exchange: Exchange | None = None
        self._admission: Admission | None = None

    def connect(self, exchange: Exchange, admission: Admission) -> None:
        """Learn of the parts that know this one."""
        self._exchange, self._admission = exchange, admission

    @property
    def exchange(self) -> Exchange:
        """What speaks to the peers."""
        assert self._exchange is not None
        return self._exchange

    @property
    def admission(self) -> Admission:
        """The door for transactions."""
        assert self._admission is not None
        return self._admission

    @property
    def state(self) -> ChainState:
        """What the next block builds on."""
        return self._chain.state

    # --- what others ask of it ---------------------------------------------------------------

    def status(self) -> Status:
        """Return where agreement stands at this node."""
        return self._core.status()

    @property
    def round(self) -> int:
        """The round that the open height is in."""
        return self._core.round

    @property
    def is_fenced(self) -> bool:
        """Whether this validator may not sign at the open height."""
        return self._index() is not None and not self._may_sign()

    def not_ready(self) -> list[str]:
        """Return why this node should get no traffic; nothing where it is ready."""
        reasons: list[str] = []
        validators, links = self.state.validators, self.exchange.links
        own = self._index() is not None
        linked = own + sum(v.node_key in links for v in validators.members)
        if linked < validators.quorum:
            reasons.append(f"{linked} of {len(validators)} validators linked, {validators.quorum} needed")
        ahead = max(self.exchange.heights().values(), default=0) - self._chain.height - 1
        if ahead > 1:
            reasons.append(f"{ahead} blocks behind")
        return reasons

    def transactions_added(self, added: Sequence[Transaction]) -> None:
        """Learn of transactions that came into the mempool."""
        for transaction in added:
            self.take_transaction(transaction)
        if not self._has_work:
            self._put_work()

    def take_transaction(self, transaction: Transaction) -> None:
        """Give a transaction to the blocks of the open height that need it."""
        for assembly in self._assemblies.values():
            if transaction.leaf in assembly.missing:
                assembly.missing.discard(transaction.leaf)
                assembly.found[transaction.leaf] = transaction
                if not assembly.missing:
                    assembly.complete.set()

    def candidate(self, block_id: bytes) -> Outline | None:
        """Return the outline of a valid block of the open height."""
        found = self._candidates.get(block_id)
        return None if found is None else found.outline

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits, or that a block of the open height holds."""
        if (waiting := self._mempool.by_leaf(leaf)) is not None:
            return waiting
        for assembly in self._assemblies.values():
            if (found := assembly.found.get(leaf)) is not None:
                return found
        return None

    async def hear(self, event: Received) -> None:
        """Take a verified message, when there is room for it."""
        await self._wait_for_room()
        self._put(event)

    async def take_blocks(self, link: Link, records: tuple[bytes, ...]) -> None:
        """Take decided blocks that a peer was asked for, when there is room for them."""
        await self._wait_for_room()
        self._put(_Synced(link, records))

    def take_candidate(self, outline: Outline) -> None:
        """Take a block that was fetched because a quorum vouches for it."""
        if outline.header.height == self._chain.height + 1:
            self._once(("candidate", outline.header.hash), self._judge_fetched(outline))

    # --- the loop ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part until cancelled. Raises `Halted`, or OSError from the disk."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            await self._open_height(())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._handle_events())
                tasks.create_task(self._tick())
                tasks.create_task(self.exchange.heartbeat())
                tasks.create_task(self._watch(self._failed))
        finally:
            self._set_timer(CancelTimer())
            for task in self._tasks:
                task.cancel()

    async def _watch(self, failed: "asyncio.Future[None]") -> None:
        await failed

    async def _handle_events(self) -> None:
        while True:
            if not self._events:
                self._come.clear()
                await self._come.wait()
            event = self._events.popleft()
            if isinstance(event, _Synced):
                await self._take_blocks(event)
            else:
                outputs = [self._core.handle(event)]
                # One fsync for all that came meanwhile; a decision ends the height, and the batch.
                while outputs[-1].decided is None and self._events:
                    if isinstance(self._events[0], _Synced):
                        break
                    following = self._events.popleft()
                    assert not isinstance(following, _Synced)
                    outputs.append(self._core.handle(following))
                await self._carry_out(outputs)
            if len(self._events) < MAX_EVENTS:
                self._room.set()

    async def _carry_out(self, outputs: Sequence[Output]) -> None:
        """Do what the core asks; the order of the steps is the protocol's."""
        core = self._core
        await self._make_durable([promise for output in outputs for promise in output.promises])
        decided = outputs[-1].decided
        if decided is not None:
            candidate = self._candidates[decided.block_id]
            await self._commit(candidate.executed, decided.certificate)
        for output in outputs:
            for outgoing in output.messages:
                self.exchange.send(outgoing.message, outgoing.to)
            for evidence in output.evidence:
                self._metrics.evidence.labels(type(evidence).__name__).inc()
                self._log.warning("contradiction", kind=type(evidence).__name__)
            if output.refusal is not None:
                self._log.warning("message refused", reason=str(output.refusal))
        if decided is not None:
            await self._open_height(core.future)
            return
        for output in outputs:
            if output.timer is not None:
                self._set_timer(output.timer)
            for ask in output.asks:
                self._start(ask)

    async def _open_height(self, heard: Sequence[Message]) -> None:
        """Make the core of the next height, and tell it what is known of it."""
        height = self._chain.height + 1
        for known in (self._candidates, self._assemblies, self._under_way, self._bodies_kept):
            known.clear()
        self._set_timer(CancelTimer())
        restored = [promises.decode(data) for data in self._promised(height)]
        self._core = self._new_core(restored)
        first: list[Event] = []
        if restored and self._journal is not None:
            for data in self._journal.bodies(height):
                first += await self._judge_again(decode(data, Block))
            first.append(Tick())
        first += [Received(message) for message in heard]
        self._has_work = len(self._mempool) > 0
        first.append(Work(self._has_work))
        for event in reversed(first):
            self._events.appendleft(event)
        self._come.set()
        delay_s = self.state.parameters.min_interval_ms / 1000
        asyncio.get_running_loop().call_later(delay_s, self._ready, height)

    def _ready(self, height: int) -> None:
        if height == self._chain.height + 1:
            self._put(Ready())

    async def _judge_again(self, block: Block) -> list[Event]:
        """Return the event for a block whose body a promise of this height needs."""
        outline = block.outline()
        try:
            candidate = await self._in_worker(self._execute, outline, block.body)
        except (LedgerError, Inadmissible) as error:
            raise Halted(f"a block in the journal is invalid: {error}") from None
        self._keep(candidate)
        self._bodies_kept.add(outline.header.hash)
        return [Judged(outline.header.hash, ok=True, outline=outline)]

    async def _make_durable(self, made: Sequence[promises.Promise]) -> None:
        if not made:
            return
        assert self._journal is not None
        height = self._chain.height + 1
        records: list[Record] = []
        for promise in made:
            match promise:
                case promises.Said(Proposal() | Prepare() as said):
                    if said.block_id not in self._bodies_kept:
                        self._bodies_kept.add(said.block_id)
                        block = self._candidates[said.block_id].executed.block
                        records.append(Record(height, Kind.BODY, encode(block)))
                case _:
                    pass
            data = promises.encode(promise)
            records.append(Record(height, Kind.PROMISE, data))
            if promises.is_forever(promise):
                records.append(Record(height, Kind.KEPT, data))
        with self._metrics.journal_seconds.time():
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._disk, self._journal.append, records)

    async def _commit(self, executed: Executed, certificate: CommitCertificate) -> None:
        with self._metrics.commit_seconds.time():
            await self._in_worker(self._chain.commit, executed, certificate)
        self._metrics.count_block(executed)
        self.admission.decided(executed)

    # --- asks --------------------------------------------------------------------------------

    def _start(self, ask: Ask) -> None:
        match ask:
            case Judge(outline, source, fresh):
                self._once(("judge", outline.header.hash), self._judge(outline, source, fresh=fresh))
            case Build(round_):
                self._once(("build", round_), self._build(round_))
            case Fetch(block_id, holders):
                for holder in holders:
                    self.exchange.pull(holder, sync.PullCandidate(block_id))
            case SendDecided(to, height):
                self.exchange.send_block(to, height)
            case Pull(validator):
                self.exchange.pull(validator, sync.PullMempool())

    def _once(self, name: object, doing: Coroutine[Any, Any, None]) -> None:
        """Start `doing` unless it is under way at this height; when it fails, so does the node."""
        if name in self._under_way:
            doing.close()
            return
        self._under_way.add(name)
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        core = self._core

        def done(ended: "asyncio.Task[None]") -> None:
            self._tasks.discard(ended)
            if self._core is core:
                self._under_way.discard(name)
            if not ended.cancelled() and (error := ended.exception()) is not None:
                assert self._failed is not None
                if not self._failed.done():
                    self._failed.set_exception(error)

        task.add_done_callback(done)

    async def _judge(self, outline: Outline, source: int, *, fresh: bool) -> None:
        """Assemble and execute a proposed block, and tell the core whether it is valid."""
        block_id, core = outline.header.hash, self._core
        now_ms = clock.now_ms()
        candidate = self._candidates.get(block_id)
        if candidate is None:
            try:
                if fresh:
                    require_timely(outline, now_ms)
                candidate = await self._assemble(outline, source)
            except (LedgerError, Inadmissible) as error:
                self._log.warning("invalid proposal", proposer=source, reason=str(error))
        if core is self._core:
            if candidate is not None:
                self._keep(candidate)
            self._put(Judged(block_id, ok=candidate is not None))

    async def _judge_fetched(self, outline: Outline) -> None:
        """Judge a block for which a quorum vouches: that it is invalid means that we diverged."""
        block_id, core = outline.header.hash, self._core
        if block_id not in self._candidates:
            try:
                candidate = await self._assemble(outline, None)
            except (LedgerError, Inadmissible) as error:
                self._log.warning("fetched block is invalid", block=block_id, reason=str(error))
                return
            if core is not self._core:
                return
            self._keep(candidate)
        self._put(Judged(block_id, ok=True, outline=outline))

    async def _assemble(self, outline: Outline, source: int | None) -> Candidate:
        """Return the block of `outline`, executed. Raises where it is invalid; waits for its parts."""
        outline.verify()
        block_id = outline.header.hash
        assembly = self._assemblies.get(block_id)
        if assembly is None:
            found = {leaf: self._mempool.by_leaf(leaf) for leaf in outline.leaves}
            assembly = self._assemblies[block_id] = _Assembly(
                {leaf: transaction for leaf, transaction in found.items() if transaction},
                {leaf for leaf, transaction in found.items() if transaction is None},
            )
        asked, patience_s = source or 0, PULL_AFTER_S
        while assembly.missing:
            try:
                async with asyncio.timeout(patience_s):
                    await assembly.complete.wait()
            except TimeoutError:
                wanted = sync.PullTransactions(tuple(sorted(assembly.missing)))
                for _ in range(len(self.state.validators)):
                    if self.exchange.pull(asked % len(self.state.validators), wanted):
                        break
                    asked += 1
                asked, patience_s = asked + 1, TICK_S
        raws = tuple(assembly.found[leaf].raw for leaf in outline.leaves)
        body = Body(outline.parent_commit, outline.evidence, raws)
        return await self._in_worker(self._execute, outline, body)

    def _execute(self, outline: Outline, body: Body) -> Candidate:
        """Execute a block on the last one; raise where it is invalid. Runs in the worker."""
        with self._metrics.execute_seconds.time():
            self._chain.require_parent_commit(body.parent_commit)
            if body.evidence:
                raise Mismatch("evidence", "none", len(body.evidence))
            executed = self._chain.execute(body, outline.header, self._signatures)
        return Candidate(outline, executed)

    async def _build(self, round_: int) -> None:
        """Make a block of ours and hand it to the core."""
        core = self._core
        candidate, skipped = await self._in_worker(self._built, round_)
        self.admission.dropped(skipped)
        if core is not self._core:
            return
        if round_ == 0 and candidate.executed.body.is_empty():
            self._put_work()
            return
        self._keep(candidate)
        self._put(Built(candidate.outline))

    def _built(self, round_: int) -> tuple[Candidate, Sequence[tuple[Transaction, Inadmissible]]]:
        """Return a block on the last one, and what could not be in it. Runs in the worker."""
        index = self._index()
        assert index is not None
        with self._metrics.execute_seconds.time():
            waiting = self._mempool.oldest(MAX_BLOCK_TRANSACTIONS, MAX_BLOCK_BYTES)
            executed, skipped = self._chain.build(
                [transaction.raw for transaction in waiting],
                time=max(clock.now_ms() // 1000, self.state.header.time),
                proposer=self.state.validators.members[index].member,
                built_round=round_,
                signatures=self._signatures,
            )
        return Candidate(executed.block.outline(), executed), skipped

    def _keep(self, candidate: Candidate) -> None:
        self._candidates[candidate.outline.header.hash] = candidate

    # --- blocks that others decided ------------------------------------------------------------

    async def _take_blocks(self, synced: _Synced) -> None:
        """Verify, execute and commit what a peer sent; a liar loses its link."""
        before, heard = self._chain.height, self._core.future
        try:
            for record in synced.records:
                taken = await self._in_worker(
                    sync.verified_block, self._chain, record, self._signatures
                )
                if taken is not None:
                    await self._commit(*taken)
        except (LedgerError, Inadmissible) as error:
            peer = synced.link.peer.label
            self._log.warning("peer sent a bad block", peer=peer, reason=str(error))
            synced.link.close()
        if (height := self._chain.height) > before:
            self._log.info("caught up", height=height, blocks=height - before)
            await self._open_height(heard if height == before + 1 else ())
        self.exchange.blocks_came(synced.link)

    # --- time --------------------------------------------------------------------------------

    def _set_timer(self, timer: SetTimer | CancelTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(timer, SetTimer):
            self._metrics.round.set(timer.round)
            expired = Expired(self._chain.height + 1, timer.round)
            delay_s = timer.milliseconds / 1000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._put, expired)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            self._put(Tick())
            self.exchange.check_behind()
            await self._learn_fence()
            self._mempool.remove(self._mempool.expired(self.state.header.time))
            self._metrics.mempool.set(len(self._mempool))
            self._metrics.mempool_bytes.set(self._mempool.bytes)
            self._metrics.fenced.set(self.is_fenced)
            self._metrics.peers.set(len(self.exchange.links))

    # --- what may be signed --------------------------------------------------------------------

    def _new_core(self, restored: Sequence[promises.Promise]) -> Core:
        state = self._chain.state
        signs = self._key is not None and self._may_sign()
        return Core(
            self._index() if signs else None,
            self._key.sign if signs and self._key is not None else None,
            state.header.chain_id,
            state.header.height + 1,
            state.validators,
            restored,
        )

    def _promised(self, height: int) -> list[bytes]:
        if self._journal is None or not self._may_sign():
            return []
        return self._journal.promises(height)

    def _index(self) -> int | None:
        return None if self._key is None else self.state.validators.index_of(self._key.public)

    def _may_sign(self) -> bool:
        if self._journal is None or self._index() is None:
            return False
        return self._chain.height + 1 > self._journal.fence

    async def _learn_fence(self) -> None:
        """Bound what a lost journal may have signed, once a quorum of others shows how far it is.

        Nobody signs above the height after the last decided one. So when q others are at our
        height or below, what was signed is at most two above it.
        """
        journal = self._journal
        if journal is None or journal.fence != UNKNOWN_FENCE:
            return
        heights, own = self.exchange.heights(), self._chain.height + 1
        others = [
            heights[validator.node_key]
            for validator in self.state.validators.members
            if validator.node_key in heights
        ]
        if len(others) >= self.state.validators.quorum and max(others) <= own:
            fence = self._chain.height + SAFE_HEIGHTS
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._disk, journal.set_fence, fence)
            self._log.warning("signing begins above", height=fence)

    # --- small things ------------------------------------------------------------------------

    def _put(self, event: Event | _Synced) -> None:
        self._events.append(event)
        self._come.set()

    def _put_work(self) -> None:
        self._has_work = len(self._mempool) > 0
        self._put(Work(self._has_work))

    async def _wait_for_room(self) -> None:
        while len(self._events) >= MAX_EVENTS:
            self._room.clear()
            await self._room.wait()

    async def _in_worker(
        self, doing: Callable[P, T], *arguments: P.args, **_: P.kwargs
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)


def require_timely(outline: Outline, now_ms: int) -> None:
    """Raise `Untimely` unless a fresh block's time is near `now_ms`, when it was received.

    Bounds of proposer-based timestamps; the delay that is allowed grows with the round, because a
    wrong constant could stop the chain for ever (CometBFT #2184).
    """
    time_ms = outline.header.time * 1000
    delay_ms = MESSAGE_DELAY_MS * 11 ** min(outline.header.built_round, 30) // 10 ** min(
        outline.header.built_round, 30
    )
    if time_ms > now_ms + PRECISION_MS:
        raise Untimely(time_ms - now_ms)
    if time_ms < now_ms - delay_ms - PRECISION_MS - 1000:
        raise Untimely(time_ms - now_ms)
