"""The blocks of the open height at this node: assembled from their transactions, executed, kept."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from contracts.errors import Inadmissible
from contracts.execute import NOTHING_KNOWN, Executed
from ledger.block import MAX_BLOCK_BYTES, Body, Outline
from ledger.errors import LedgerError
from ledger.transaction import Transaction, parse
from node import clock
from node.chain import Chain
from node.evidence import EvidencePool
from node.mempool import Mempool
from node.metrics import Metrics
from node.signatures import VerifiedSignatures
from node.sync import PullTransactions

PULL_AFTER_S: Final = 0.1  # transactions of a proposal mostly come by gossip meanwhile
PULL_AGAIN_S: Final = 1.0
# A block is built by one validator, then executed by all the others: twice this, with the votes, is
# to stay well below the base timeout, or a loaded network would change rounds instead of deciding.
BLOCK_S: Final = 0.2
MIN_BLOCK_CALLS: Final = 64

T = TypeVar("T")


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


class Candidates:
    """Blocks that may be decided at the open height.

    `pull` asks a validator for transactions, and returns whether there is a link to ask on.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        mempool: Mempool,
        evidence: EvidencePool,
        signatures: VerifiedSignatures,
        metrics: Metrics,
        worker: Executor,
        pull: Callable[[int, PullTransactions], bool],
    ) -> None:
        self._chain, self._mempool, self._evidence = chain, mempool, evidence
        self._signatures, self._metrics = signatures, metrics
        self._worker, self._pull = worker, pull
        self._valid: dict[bytes, Candidate] = {}
        self._raws: dict[bytes, bytes] = {}  # transactions of valid blocks, by leaf
        self._assemblies: dict[Outline, _Assembly] = {}
        self._call_s = 0.0002  # smoothed

    def clear(self) -> None:
        """Forget everything: another height begins."""
        self._valid.clear()
        self._raws.clear()
        self._assemblies.clear()

    def get(self, block_id: bytes) -> Candidate | None:
        """Return a block that is valid, None where it is not known to be."""
        return self._valid.get(block_id)

    def keep(self, candidate: Candidate) -> None:
        """Keep a valid block until the height is over."""
        self._valid[candidate.outline.header.hash] = candidate
        self._raws.update(
            zip(candidate.outline.leaves, candidate.executed.body.transactions, strict=True)
        )

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits, or that a block of the open height holds."""
        if (waiting := self._mempool.by_leaf(leaf)) is not None:
            return waiting
        for assembly in self._assemblies.values():
            if (found := assembly.found.get(leaf)) is not None:
                return found
        raw = self._raws.get(leaf)  # of a block that the journal kept, for one
        return None if raw is None else parse(raw)

    def take_transaction(self, transaction: Transaction) -> None:
        """Give a transaction to the blocks that need it."""
        for assembly in self._assemblies.values():
            if transaction.leaf in assembly.missing:
                assembly.missing.discard(transaction.leaf)
                assembly.found[transaction.leaf] = transaction
                if not assembly.missing:
                    assembly.complete.set()

    async def assemble(self, outline: Outline, source: int) -> Candidate:
        """Return the block of `outline`, executed, once its transactions are here.

        `source` is the validator that is asked first for those that do not come by themselves.
        Raises `LedgerError` or `Inadmissible` where the block is invalid.
        """
        outline.verify()
        assembly = self._assembly(outline)
        patience_s = PULL_AFTER_S
        while assembly.missing:
            try:
                async with asyncio.timeout(patience_s):
                    await assembly.complete.wait()
            except TimeoutError:
                source = self._ask(assembly, source) + 1
                patience_s = PULL_AGAIN_S
        transactions = [assembly.found[leaf] for leaf in outline.leaves]
        raws = tuple(each.raw for each in transactions)
        body = Body(outline.parent_commit, outline.evidence, raws)
        known = {each.raw: each for each in transactions}
        return await self._in_worker(self.execute, outline, body, known)

    async def build(
        self, proposer: bytes, round_: int
    ) -> tuple[Candidate, Sequence[tuple[Transaction, Inadmissible]]]:
        """Return a block of ours on the last one, and what can be in no block any more."""
        offered = self._evidence.oldest()
        candidate, skipped = await self._in_worker(self._build, proposer, round_, offered)
        self._evidence.left_out(offered, candidate.outline.evidence)
        return candidate, skipped

    def execute(
        self, outline: Outline, body: Body, known: Mapping[bytes, Transaction] = NOTHING_KNOWN
    ) -> Candidate:
        """Execute a block on the last one; raise where it is invalid. Runs in the worker."""
        with self._metrics.execute_seconds.time():
            self._chain.require_parent_commit(body.parent_commit)
            began = clock.monotonic()
            executed = self._chain.execute(body, outline.header, self._signatures, known)
            self._learn_pace(executed, clock.monotonic() - began)
        return Candidate(outline, executed)

    def _build(
        self, proposer: bytes, round_: int, evidence: Sequence[bytes]
    ) -> tuple[Candidate, Sequence[tuple[Transaction, Inadmissible]]]:
        with self._metrics.execute_seconds.time():
            calls = max(MIN_BLOCK_CALLS, int(BLOCK_S / self._call_s))
            waiting = self._mempool.oldest(calls=calls, size=MAX_BLOCK_BYTES)
            began = clock.monotonic()
            executed, skipped = self._chain.build(
                waiting,
                time=max(clock.now_ms() // 1000, self._chain.header.time),
                proposer=proposer,
                built_round=round_,
                signatures=self._signatures,
                evidence=evidence,
            )
            self._learn_pace(executed, clock.monotonic() - began)
        return Candidate(executed.block.outline(), executed), skipped

    def _learn_pace(self, executed: Executed, seconds: float) -> None:
        """Learn how long a call takes here, so that blocks of ours are no larger than is good."""
        if len(executed.entries) >= MIN_BLOCK_CALLS:
            self._call_s += (seconds / len(executed.entries) - self._call_s) / 4

    def _assembly(self, outline: Outline) -> _Assembly:
        # By the whole outline: one header can be shown with other leaves, which lead nowhere.
        assembly = self._assemblies.get(outline)
        if assembly is None:
            assembly = self._assemblies[outline] = _Assembly({}, set())
            for leaf in outline.leaves:
                if (transaction := self._mempool.by_leaf(leaf)) is not None:
                    assembly.found[leaf] = transaction
                else:
                    assembly.missing.add(leaf)
        return assembly

    def _ask(self, assembly: _Assembly, source: int) -> int:
        """Ask the first validator from `source` on that is linked; return which."""
        n = len(self._chain.state.validators)
        wanted = PullTransactions(tuple(sorted(assembly.missing)))
        for asked in range(source, source + n):
            if self._pull(asked % n, wanted):
                return asked
        return source

    async def _in_worker(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)


def require_timely(outline: Outline, now_ms: int, *, precision_ms: int, delay_ms: int) -> None:
    """Raise `Untimely` unless a fresh block's time is near `now_ms`, when it was received.

    Bounds of proposer-based timestamps: clocks differ by `precision_ms`, messages take `delay_ms`
    and a tenth more in each round, because a wrong constant could stop the chain for ever
    (CometBFT issue 2184).
    """
    off_ms = outline.header.time * 1000 - now_ms
    delay_ms += delay_ms * outline.header.built_round // 10
    if off_ms > precision_ms or off_ms < -(delay_ms + precision_ms + 1000):
        raise Untimely(off_ms)
