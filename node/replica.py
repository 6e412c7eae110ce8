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
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from consensus import promises
from consensus.core import Core
from consensus.errors import Impersonated
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
from consensus.messages import Message, Statement, Status
from contracts.errors import Inadmissible
from contracts.execute import ChainState, Executed
from ledger.block import Block, Outline
from ledger.certificate import CommitCertificate
from ledger.errors import LedgerError
from ledger.transaction import Transaction
from ledger.validators import faulty
from node import clock, sync
from node.admission import Admission
from node.budget import Budget
from node.candidates import Candidate, Candidates, require_timely
from node.catchup import Held
from node.chain import Chain
from node.errors import NodeError
from node.evidence import EvidencePool
from node.exchange import Exchange
from node.log import Log
from node.mempool import Mempool
from node.metrics import Metrics
from node.pledges import Pledges
from node.signatures import VerifiedSignatures
from node.standing import Standing
from node.upgrade import Lookout

TICK_S: Final = 1.0
UNREACHABLE_SHARE: Final = 4  # of a round's time is given to a leader that is not linked
MAX_EVENTS: Final = 10_000  # links wait while so many are to be handled

P = ParamSpec("P")
T = TypeVar("T")


class Halted(NodeError):
    """This node cannot go on without breaking a promise or contradicting the chain."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, hint="do not restart it before the cause is known; ask the others")


class _Review:
    """Something was learnt of what this validator may sign."""


@dataclass(frozen=True)
class _Foreign:
    """Our own key signed what our journal does not hold; `source` says where that was seen."""

    statement: Statement
    source: str


class Replica:
    """One node's part in agreement."""

    def __init__(
        self,
        *,
        chain: Chain,
        pledges: Pledges,
        mempool: Mempool,
        evidence: EvidencePool,
        signatures: VerifiedSignatures,
        metrics: Metrics,
        log: Log,
        worker: Executor,
        shortage: Callable[[], str],  # of room on the disk, in words
    ) -> None:
        self._chain, self._pledges = chain, pledges
        self._mempool, self._evidence, self._signatures = mempool, evidence, signatures
        self._metrics, self._log, self._worker, self._shortage = metrics, log, worker, shortage
        self.standing = Standing(chain, pledges, metrics, log)
        self._lookout = Lookout(metrics, log)
        self._events: deque[Event | Held | _Review | _Foreign] = deque()
        self._come = asyncio.Event()  # there are events
        self._room = asyncio.Event()  # there is room for more
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timed: SetTimer | None = None  # what the timer was set for
        self._failed: asyncio.Future[None] | None = None
        # Of the open height:
        self._core = self._new_core(())
        self._candidates = Candidates(
            chain=chain,
            mempool=mempool,
            evidence=evidence,
            signatures=signatures,
            metrics=metrics,
            worker=worker,
            pull=self._pull,
        )
        self._under_way: set[object] = set()
        self._fetching: set[bytes] = set()  # blocks that a quorum vouches for and we lack
        self._has_work = False
        self._told = Budget(1, 20)  # lines a second, and at once, of what peers sent in vain
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
        return self._pledges.is_fenced

    def take_head(self, node_key: bytes, head: sync.Head) -> None:
        """Take how far a peer is, and what it heard of us."""
        was_asked = node_key in self.standing.unheard()
        self._put_foreign(self.standing.take_head(node_key, head), "told by a peer")
        if was_asked:
            self._put(_Review())

    def not_ready(self) -> list[str]:
        """Return why this node should get no traffic; nothing where it is ready."""
        joining, validators = self.exchange.joining, self.state.validators
        reasons = [] if joining is None else [joining.words]
        linked = self.standing.reached(self.exchange.links)
        if linked < validators.quorum:
            links_said = f"{linked} of {len(validators)} validators linked"
            reasons.append(f"{links_said}, {validators.quorum} needed")
        known = self.exchange.heights()
        heights = sorted(known.get(v.node_key, 0) for v in validators.members)
        # f of them may say anything: one more is ahead of us in truth.
        ahead = heights[-1 - faulty(len(validators))] - self._chain.height - 1
        if ahead > 1:
            reasons.append(f"{ahead} blocks behind")
        return [*reasons, *filter(None, [self._chain.damage, self._shortage()])]

    def transactions_added(self, added: Sequence[Transaction]) -> None:
        """Learn of transactions that came into the mempool."""
        for transaction in added:
            self.take_transaction(transaction)
        if not self._has_work:
            self._put_work()

    def take_transaction(self, transaction: Transaction) -> None:
        """Give a transaction to the blocks of the open height that need it."""
        self._candidates.take_transaction(transaction)

    def candidate(self, block_id: bytes) -> Outline | None:
        """Return the outline of a valid block of the open height."""
        found = self._candidates.get(block_id)
        return None if found is None else found.outline

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits, or that a block of the open height holds."""
        return self._candidates.transaction(leaf)

    def wants(self, message: Message) -> bool:
        """Return whether a message of a peer can change anything, before it is verified."""
        return self._core.wants(message)

    async def hear(self, event: Received) -> None:
        """Take a verified message, when there is room for it."""
        await self._wait_for_room()
        self._put_foreign(self.standing.overhear(event.message), "heard")
        self._put(event)

    def take_blocks(self, held: Held) -> None:
        """Take decided blocks that a peer was asked for."""
        self._put(held)

    def peer_lost(self) -> None:
        """Learn that a link is down: where its peer leads the round, that is soon given up."""
        if self._timer is None or self._timed is None:
            return
        delay_s = self._patience_s(self._timed)
        if self._timer.when() > asyncio.get_running_loop().time() + delay_s:
            self._timer.cancel()
            self._arm(self._timed.round, delay_s)

    def take_candidate(self, outline: Outline) -> None:
        """Take a block that was asked for because a quorum vouches for it."""
        if outline.header.hash in self._fetching:
            self._once(("candidate", outline), self._judge_fetched(outline))

    # --- the loop ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part until cancelled. Raises `Halted`, `UnknownVersion`, OSError from the disk."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            await self._open_height(())
            self._put(_Review())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._handle_events())
                tasks.create_task(self._tick())
                tasks.create_task(self.exchange.heartbeat())
                tasks.create_task(asyncio.wait_for(self._failed, None))
        finally:
            self._set_timer(CancelTimer())
            for task in self._tasks:
                task.cancel()

    async def _handle_events(self) -> None:
        while True:
            if not self._events:
                self._come.clear()
                await self._come.wait()
            event = self._events.popleft()
            if isinstance(event, Held):
                await self._take_blocks(event)
            elif isinstance(event, _Review):
                await self._review()
            elif isinstance(event, _Foreign):
                await self.standing.suspect(event.statement, event.source)
                await self._open_height(self._core.heard)
            else:
                outputs = [self._core.handle(event)]
                # One fsync for all that came meanwhile; a decision ends the height, and the batch.
                while outputs[-1].decided is None and self._events:
                    following = self._events[0]
                    if isinstance(following, Held | _Review | _Foreign):
                        break
                    self._events.popleft()
                    outputs.append(self._core.handle(following))
                await self._carry_out(outputs)
            if len(self._events) < MAX_EVENTS:
                self._room.set()

    async def _carry_out(self, outputs: Sequence[Output]) -> None:
        """Do what the core asks; the order of the steps is the protocol's."""
        core = self._core
        await self._pledges.make_durable(
            [promise for output in outputs for promise in output.promises],
            lambda block_id: self._known(block_id).executed.block,
        )
        await self._evidence.found([each for output in outputs for each in output.evidence])
        decided = outputs[-1].decided
        if decided is not None:
            candidate = self._known(decided.block_id)
            await self._commit(candidate.executed, decided.certificate)
        for output in outputs:
            for outgoing in output.messages:
                self.exchange.send(outgoing.message, outgoing.to)
            if output.refusal is not None:
                self._metrics.refused_messages.inc()
                if self._told.takes(1):  # who floods us does not flood the log
                    self._log.warning("message refused", reason=str(output.refusal))
            if isinstance(output.refusal, Impersonated):  # so this core signs nothing more
                where = (output.refusal.statement, core.height, output.refusal.round)
                await self.standing.cease(*where, "inside a message")
        if decided is not None:
            await self._open_height(core.future)
            return
        for output in outputs:
            if output.timer is not None:
                self._set_timer(output.timer)
            for ask in output.asks:
                self._start(ask)

    async def _open_height(self, heard: Sequence[Message]) -> None:
        """Make the core of the next height, whose rules are known, and tell it what is known."""
        height = self._chain.height + 1
        self._lookout.look(self.state)
        self._candidates.clear()
        for task in self._tasks:
            task.cancel()  # nobody waits for blocks of another height, whose parts may never come
        self._under_way.clear()
        self._fetching.clear()
        self._set_timer(CancelTimer())
        made, blocks = await self._pledges.restore()
        self._core = self._new_core(made)
        first: list[Event] = [await self._judge_again(block) for block in blocks]
        if self.is_fenced:
            self._put(_Review())  # what others answered may be proved by now
            self.exchange.ask_heads()
        if made:
            first.append(Tick())  # say again what may have been lost
        first += [Received(message) for message in heard]
        self._has_work = len(self._mempool) + len(self._evidence) > 0
        first.append(Work(self._has_work))
        for event in reversed(first):
            self._events.appendleft(event)
        self._come.set()
        delay_s = self.state.parameters.min_interval_ms / 1000
        asyncio.get_running_loop().call_later(delay_s, self._ready, height)

    def _ready(self, height: int) -> None:
        if height == self._chain.height + 1:
            self._put(Ready())

    async def _review(self) -> None:
        """Begin to sign as soon as enough others have said what they know of us."""
        was_silent = self._pledges.is_fenced
        first = await self._pledges.settle()
        if first is not None:
            self._log.warning("signing begins at a height", height=first)
        if was_silent and not self._pledges.is_fenced:
            self._log.info("signing begins", height=self._chain.height + 1)
            await self._open_height(self._core.heard)

    async def _judge_again(self, block: Block) -> Judged:
        """Return the event for a block that a promise of this height is about."""
        outline = block.outline()
        try:
            candidate = await self._in_worker(self._candidates.execute, outline, block.body)
        except (LedgerError, Inadmissible) as error:
            raise Halted(f"a block in the journal is invalid: {error}") from None
        self._candidates.keep(candidate)
        return Judged(outline.header.hash, ok=True, outline=outline)

    async def _commit(self, executed: Executed, certificate: CommitCertificate) -> None:
        await self.standing.decided(certificate)
        with self._metrics.commit_seconds.time():
            await self._in_worker(self._chain.commit, executed, certificate)
        self._metrics.count_block(executed)
        self.admission.decided(executed)
        self.exchange.committed(executed)

    # --- asks --------------------------------------------------------------------------------

    def _start(self, ask: Ask) -> None:
        match ask:
            case Judge(outline, source, fresh):
                self._once(("judge", outline), self._judge(outline, source, fresh=fresh))
            case Build(round_):
                self._once(("build", round_), self._build(round_))
            case Fetch(block_id, holders):
                self._fetching.add(block_id)
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
                    parameters = self.state.parameters
                    require_timely(
                        outline,
                        now_ms,
                        precision_ms=parameters.clock_precision_ms,
                        delay_ms=parameters.message_delay_ms,
                    )
                candidate = await self._candidates.assemble(outline, source)
            except (LedgerError, Inadmissible) as error:
                self._log.warning("invalid proposal", proposer=source, reason=str(error))
        if core is self._core:
            if candidate is not None:
                self._candidates.keep(candidate)
            self._put(Judged(block_id, ok=candidate is not None, outline=outline))

    async def _judge_fetched(self, outline: Outline) -> None:
        """Execute a block for which a quorum vouches. Raises `Halted` where it is invalid here."""
        block_id, core = outline.header.hash, self._core
        if self._candidates.get(block_id) is None:
            try:
                outline.verify()
            except LedgerError as error:
                if self._told.takes(1):
                    self._log.warning("fetched block is not whole", reason=str(error))
                return
            try:
                candidate = await self._candidates.assemble(outline, 0)
            except (LedgerError, Inadmissible) as error:
                if outline.header.height != self._chain.height + 1:
                    return  # blocks that a peer sent decided it meanwhile
                raise Halted(f"a quorum vouches for an invalid block: {error}") from None
            if core is not self._core:
                return
            self._candidates.keep(candidate)
        self._put(Judged(block_id, ok=True, outline=outline))

    async def _build(self, round_: int) -> None:
        """Make a block of ours and hand it to the core."""
        core = self._core
        index = self._pledges.index
        assert index is not None  # only a validator is asked to build
        proposer = self.state.validators.members[index].member
        candidate, skipped = await self._candidates.build(proposer, round_)
        self.admission.dropped(skipped)
        if core is not self._core:
            return
        if round_ == 0 and candidate.executed.body.is_empty():
            self._put_work()
            return
        self._candidates.keep(candidate)
        self._put(Built(candidate.outline))

    def _known(self, block_id: bytes) -> Candidate:
        """Return a block that the core acts on: it was judged valid."""
        found = self._candidates.get(block_id)
        assert found is not None
        return found

    def _pull(self, validator: int, wanted: sync.PullTransactions) -> bool:
        return self.exchange.pull(validator, wanted)

    # --- blocks that others decided ------------------------------------------------------------

    async def _take_blocks(self, held: Held) -> None:
        """Verify, execute and commit what a peer sent; who sent it is told where it is at fault."""
        before, heard = self._chain.height, self._core.future
        fault: str | None = None
        try:
            for record in held.records:
                taken = await self._in_worker(
                    sync.verified_block, self._chain, record, self._signatures
                )
                if taken is not None:
                    await self._commit(*taken)
        except sync.Diverged as error:
            raise Halted(str(error)) from None
        except (LedgerError, Inadmissible) as error:
            fault = f"bad block {self._chain.height + 1}: {error}"
        if (height := self._chain.height) > before:
            await self._open_height(heard if height == before + 1 else ())
        self.exchange.blocks_taken(fault)

    # --- time --------------------------------------------------------------------------------

    def _set_timer(self, timer: SetTimer | CancelTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = timer if isinstance(timer, SetTimer) else None
        if self._timed is not None:
            self._metrics.round.set(self._timed.round)
            self._arm(self._timed.round, self._patience_s(self._timed))

    def _arm(self, round_: int, delay_s: float) -> None:
        expired = Expired(self._chain.height + 1, round_)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._put, expired)

    def _patience_s(self, timer: SetTimer) -> float:
        """Return how long a round may take: less where it waits for a leader that is unreachable.

        When a round is given up is never a matter of safety; and it still grows with the rounds.
        """
        validators = self.state.validators
        leader = self.state.turns.leader(len(validators), self._chain.height + 1, timer.round)
        node_key = validators.members[leader].node_key
        is_here = leader == self._pledges.index or node_key in self.exchange.links
        has_led = self._core.accepted is not None or any(
            isinstance(name, tuple) and name[0] == "judge" for name in self._under_way
        )
        return timer.milliseconds / 1000 / (1 if is_here or has_led else UNREACHABLE_SHARE)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            self._put(Tick())
            self.exchange.catchup.check()
            if self.is_fenced:
                self._put(_Review())
                self.exchange.ask_heads()
            self.admission.drop_expired()
            self._metrics.count_waiting(self._mempool, len(self._events), fenced=self.is_fenced)
            self.exchange.count(self._metrics)

    # --- small things ------------------------------------------------------------------------

    def _put(self, event: Event | Held | _Review | _Foreign) -> None:
        self._events.append(event)
        self._come.set()

    def _put_foreign(self, statement: Statement | None, source: str) -> None:
        if statement is not None:
            self._put(_Foreign(statement, source))

    def _put_work(self) -> None:
        self._has_work = len(self._mempool) + len(self._evidence) > 0
        self._put(Work(self._has_work))

    async def _wait_for_room(self) -> None:
        while len(self._events) >= MAX_EVENTS:
            self._room.clear()
            await self._room.wait()

    def _new_core(self, made: Sequence[promises.Promise]) -> Core:
        state, signer = self._chain.state, self._pledges.signer()
        me, sign = (None, None) if signer is None else signer
        return Core(
            me,
            sign,
            state.header.chain_id,
            state.header.height + 1,
            state.validators,
            made,
            turns=state.turns,
            head=state.header.hash,
            base_timeout_ms=state.parameters.base_timeout_ms,
        )

    async def _in_worker(self, doing: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)
