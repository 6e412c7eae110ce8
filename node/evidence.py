"""Evidence that waits for a block: found here or heard of, on disk until the chain holds it.

Each piece is judged before it is kept, and kept once for each offence. Who lies can make evidence
against himself as fast as he signs; so of each member only so much waits, and after so many deeds
on the chain one more is not offered: what he is, is then known.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from consensus.errors import ConsensusError
from consensus.evidence import Evidence, decode, encode, height_of, judge, offence_key
from ledger.block import MAX_EVIDENCE, Accusation
from ledger.encoding import encode as encode_struct
from ledger.errors import LedgerError, Malformed
from node.chain import Chain
from node.kept import KeptFile
from node.link import Link
from node.log import Log
from node.metrics import Metrics
from node.sync import Told

FILE_NAME: Final = "waiting.evidence"
MAX_WAITING: Final = 8  # pieces of one member, of at most 64 KiB each
MAX_RECORDED: Final = 100  # offences of one member, after which this node offers no more
# A proposal carries the evidence itself, and must fit into a frame with its leaves.
MAX_OFFERED_BYTES: Final = 256 << 10
COMPACT_BYTES: Final = 4 << 20  # that were appended, before the file is written anew
_PAGE: Final = 500


@dataclass(frozen=True)
class Waiting:
    """Evidence that is true and stands in no block yet."""

    data: bytes
    accusation: Accusation


class EvidencePool:
    """What waits. `added` is called when there is more than before."""

    def __init__(
        self, chain: Chain, file: KeptFile, *, metrics: Metrics, log: Log, disk: Executor
    ) -> None:
        self._chain, self._file = chain, file
        self._metrics, self._log, self._disk = metrics, log, disk
        self._waiting: dict[bytes, Waiting] = {}  # by offence, the oldest first
        self._held: Counter[bytes] = Counter()  # pieces that wait, by member
        self._recorded: Counter[bytes] = Counter()  # offences on the chain, by member
        self._later: list[bytes] = []  # on disk, of heights that a lost chain is not at again
        self._appended = 0
        self.added: Callable[[], None] = lambda: None
        metrics.evidence.waiting.set_function(self.__len__)

    @classmethod
    def open(
        cls, chain: Chain, file: KeptFile, *, metrics: Metrics, log: Log, disk: Executor
    ) -> "EvidencePool":
        """Return what waited when the node stopped, as far as it still does. Raises OSError."""
        pool = cls(chain, file, metrics=metrics, log=log, disk=disk)
        after = (0, 0)
        while page := chain.accusations(after=after, limit=_PAGE):
            pool._recorded.update(each.member for each in page)
            after = page[-1].cursor
        kept = pool._file.read()
        for data in kept:
            if pool._is_early(data):
                pool._later.append(data)
                continue
            try:
                waiting = pool._judged(data)
            except LedgerError as error:
                log.warning("kept evidence does not hold", reason=str(error))
            else:
                if pool._is_wanted(waiting):
                    pool._keep(waiting)
        if len(pool) + len(pool._later) < len(kept):
            pool._file.replace(pool._on_disk())
        return pool

    def __len__(self) -> int:
        """Return how many pieces wait."""
        return len(self._waiting)

    def offences(self) -> Counter[bytes]:
        """Return how many offences of each member are proved, in blocks or waiting for one."""
        return self._recorded + self._held

    def waiting(self) -> list[Waiting]:
        """Return all that waits, the oldest first."""
        return list(self._waiting.values())

    def oldest(self) -> list[bytes]:
        """Return what the next block of ours is to hold."""
        offered: list[bytes] = []
        size = 0
        for each in self._waiting.values():
            size += len(each.data)
            if offered and (size > MAX_OFFERED_BYTES or len(offered) == MAX_EVIDENCE):
                break
            offered.append(each.data)
        return offered

    async def found(self, evidence: Sequence[Evidence]) -> None:
        """Keep what this node found; return when it is on disk. Raises OSError."""
        for each in evidence:
            kind = type(each).__name__
            self._metrics.evidence.found.labels(kind).inc()
            self._log.warning("contradiction", kind=kind, height=height_of(each))
            try:
                await self._add(self._judged(encode(each)))
            except LedgerError as error:  # too long, or a fault of ours: it must convict nobody
                self._log.error("evidence does not hold", kind=kind, reason=str(error))

    async def heard(self, data: bytes, judging: Executor) -> bool:
        """Keep what a peer sent, unless it is known, or of a height that is not open here.

        Returns whether it had to be judged. Raises `LedgerError` where it convicts nobody: then
        the peer lied.
        """
        try:
            evidence = decode(data)
        except ConsensusError as error:
            raise Malformed("evidence", str(error)) from None
        if height_of(evidence) > self._chain.height + 1 or self._knows(offence_key(evidence)):
            return False
        loop = asyncio.get_running_loop()
        waiting = await loop.run_in_executor(judging, self._judged, data)
        try:
            await self._add(waiting)
        except OSError as error:
            self._log.error("evidence not on disk", reason=str(error))
        return True

    def recorded(self, accusations: Iterable[Accusation]) -> None:
        """Learn what the last block recorded: it waits no longer."""
        for each in accusations:
            self._recorded[each.member] += 1
            self._drop(each.offence)

    def left_out(self, offered: Sequence[bytes], included: Sequence[bytes]) -> None:
        """Forget what can be in no block."""
        for data in set(offered) - set(included):
            self._drop(offence_key(decode(data)))

    def _judged(self, data: bytes) -> Waiting:
        return Waiting(data, judge(data, self._chain.header.chain_id, self._chain.validators_at))

    def _is_early(self, data: bytes) -> bool:
        """Return whether this can be judged only when the chain has come further."""
        try:
            return height_of(decode(data)) > self._chain.height + 1
        except ConsensusError:
            return False

    def _on_disk(self) -> list[bytes]:
        return [*self._later, *(each.data for each in self.waiting())]

    def _knows(self, offence: bytes) -> bool:
        return offence in self._waiting or self._chain.accusation(offence) is not None

    def _is_wanted(self, new: Waiting) -> bool:
        member = new.accusation.member
        return (
            not self._knows(new.accusation.offence)
            and self._held[member] < MAX_WAITING
            and self._held[member] + self._recorded[member] < MAX_RECORDED
        )

    async def _add(self, new: Waiting) -> None:
        if not self._is_wanted(new):
            return
        self._keep(new)
        self._appended += len(new.data)
        loop = asyncio.get_running_loop()
        if self._appended > COMPACT_BYTES:
            self._appended = 0
            await loop.run_in_executor(self._disk, self._file.replace, self._on_disk())
        else:
            await loop.run_in_executor(self._disk, self._file.append, [new.data])
        self.added()

    def _keep(self, new: Waiting) -> None:
        self._waiting[new.accusation.offence] = new
        self._held[new.accusation.member] += 1

    def _drop(self, offence: bytes) -> None:
        gone = self._waiting.pop(offence, None)
        if gone is not None:
            self._held[gone.accusation.member] -= 1


class Telling:
    """Which peer was told of which evidence."""

    def __init__(self, pool: EvidencePool) -> None:
        self._pool = pool
        self._told: dict[bytes, set[bytes]] = {}  # offences, by node key

    def tell(self, links: Mapping[bytes, Link], heights: Mapping[bytes, int]) -> None:
        """Tell each peer what it was not told, once it decides a height that it can judge it at."""
        waiting = self._pool.waiting()
        for key, link in links.items() if waiting else ():
            told = self._told.setdefault(key, set())
            told &= {each.accusation.offence for each in waiting}
            height = heights.get(key, 0)
            new = [
                each
                for each in waiting
                if each.accusation.offence not in told and each.accusation.height <= height
            ][:MAX_EVIDENCE]
            if new and link.send_reply(encode_struct(Told(tuple(each.data for each in new)))):
                told.update(each.accusation.offence for each in new)

    def forget(self, node_key: bytes) -> None:
        """Learn that a link is down: on the next one everything is told again."""
        self._told.pop(node_key, None)
