"""What this node may sign, and what it has promised: the shell's side of the journal."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

from consensus import promises
from consensus.messages import Prepare, Proposal
from consensus.promises import Promise
from ledger.block import Block
from ledger.encoding import decode, encode
from ledger.keys import SigningKey
from node.chain import Chain
from node.journal import UNKNOWN_FENCE, Journal, Kind, Record
from node.metrics import Metrics

SAFE_HEIGHTS: Final = 2  # above the highest decided one: as far as a lost journal may have signed


class Pledges:
    """The promises of one node; an observer has no key and no journal, and makes none."""

    def __init__(
        self,
        key: SigningKey | None,
        journal: Journal | None,
        chain: Chain,
        metrics: Metrics,
        disk: Executor,
    ) -> None:
        self._key, self._journal, self._chain = key, journal, chain
        self._metrics, self._disk = metrics, disk
        self._bodies: set[bytes] = set()  # of the open height, in the journal already

    @property
    def index(self) -> int | None:
        """The index of this node among the validators of the open height, None if it is none."""
        return (
            None if self._key is None else self._chain.state.validators.index_of(self._key.public)
        )

    @property
    def is_fenced(self) -> bool:
        """Whether this is a validator that may not sign at the open height."""
        return self.index is not None and not self._may_sign()

    @property
    def is_validator(self) -> bool:
        """Whether this node is set up to vote."""
        return self._key is not None

    @property
    def fence(self) -> int | None:
        """The height up to which this validator signs nothing, None where it may sign."""
        if self._journal is None or not self.is_fenced:
            return None
        return max(self._journal.fence, self._journal.height - 1)

    def signer(self) -> tuple[int, Callable[[bytes], bytes]] | None:
        """Return by which index and how this node signs at the open height, None if not at all."""
        index = self.index
        if index is None or self._key is None or not self._may_sign():
            return None
        return index, self._key.sign

    def restore(self) -> tuple[list[Promise], list[Block]]:
        """Return what was promised for the open height, and the blocks that it was promised for."""
        self._bodies.clear()
        if self._journal is None or not self._may_sign():
            return [], []
        height = self._chain.height + 1
        made = [promises.decode(data) for data in self._journal.promises(height)]
        blocks = [decode(data, Block) for data in self._journal.bodies(height)]
        self._bodies.update(block.header.hash for block in blocks)
        return made, blocks

    async def make_durable(self, made: Sequence[Promise], block: Callable[[bytes], Block]) -> None:
        """Return when `made` is on disk, with the blocks that it is about, by one fdatasync.

        Raises OSError: then nothing that depends on it may leave.
        """
        if not made:
            return
        assert self._journal is not None
        height = self._chain.height + 1
        records: list[Record] = []
        for promise in made:
            match promise:
                case promises.Said(Proposal() | Prepare() as said) if (
                    said.block_id not in self._bodies
                ):
                    self._bodies.add(said.block_id)
                    records.append(Record(height, Kind.BODY, encode(block(said.block_id))))
                case _:
                    pass
            data = promises.encode(promise)
            records.append(Record(height, Kind.PROMISE, data))
            if promises.is_forever(promise):
                records.append(Record(height, Kind.KEPT, data))
        with self._metrics.journal_seconds.time():
            await self._on_disk(self._journal.append, records)

    async def learn_fence(self, heights: Mapping[bytes, int]) -> int | None:
        """Bound what a lost journal may have signed, once a quorum of others shows how far it is.

        `heights` says at which height each linked peer is, by node key. Nobody signs above the
        height that follows the last decided one: so when q others are at our height or below, what
        was signed is at most two above the last one. Returns the fence, None where none was set.
        """
        journal = self._journal
        if journal is None or journal.fence != UNKNOWN_FENCE:
            return None
        validators = self._chain.state.validators
        found = [heights[v.node_key] for v in validators.members if v.node_key in heights]
        # Some q others suffice: one that claims to be far ahead has no veto.
        if len(found) < validators.quorum:
            return None
        if sorted(found)[validators.quorum - 1] > self._chain.height + 1:
            return None
        fence = self._chain.height + SAFE_HEIGHTS
        await self._on_disk(journal.set_fence, fence)
        return fence

    def _may_sign(self) -> bool:
        """Return whether nothing that this key signed at the open height can be forgotten.

        Below the journal's height its promises are gone: a chain that was lost, and is fetched
        again, passes through heights at which this validator has voted.
        """
        if self._journal is None:
            return False
        height = self._chain.height + 1
        return height > self._journal.fence and height >= self._journal.height

    async def _on_disk(self, doing: Callable[..., None], argument: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, doing, argument)
