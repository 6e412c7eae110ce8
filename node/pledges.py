"""What this node may sign, and what it has promised: the shell's side of the journal.

Before it signs anything a validator hears from a quorum less one of the others what they last heard
it sign: what its journal does not hold shows that the journal is old, or that another instance runs
with its key. A journal that is not provably current is bound by a *fence*: nothing is signed up to
two heights above the highest head that a quorum of others prove, and nothing in the one after that,
in which another instance would be heard.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

import msgspec

from consensus import messages, promises
from consensus.errors import ConsensusError
from consensus.messages import (
    UNPREPARED,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    Statement,
    signing_bytes,
)
from consensus.promises import Promise
from ledger.block import Block
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.hashing import NO_HASH
from ledger.keys import SIGNATURE_BYTES, SigningKey, verify
from node.chain import Chain
from node.journal import UNKNOWN_FENCE, Journal, Kind, Record
from node.metrics import Metrics
from node.sync import Head

SAFE_HEIGHTS: Final = 2  # above the highest decided one: as far as a lost journal may have signed
SECOND_ROUND: Final = 2  # of the second height after a ceremony: nobody had come so far there
QUIET_HEIGHTS: Final = 1  # above a fence: what is heard of our own there is not of our past


T = TypeVar("T")


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
        self._heads: dict[bytes, Head] = {}  # what others answered last, by node key
        self._proved: set[bytes] = set()  # whose heads our own chain holds
        self._is_cleared = False  # enough others answered, and know nothing that we do not
        self._height = 0  # of the newest promises
        self._signed: set[bytes] = set()  # what was signed at that height
        if journal is not None:
            self._note(journal.height, map(promises.decode, journal.promises(journal.height)))

    @property
    def key(self) -> bytes | None:
        """The public key that this node signs with, None for an observer."""
        return None if self._key is None else self._key.public

    @property
    def index(self) -> int | None:
        """The index of this node among the validators of the open height, None if it is none."""
        return (
            None if self._key is None else self._chain.state.validators.index_of(self._key.public)
        )

    @property
    def is_fenced(self) -> bool:
        """Whether this is a validator that may not sign at the open height."""
        return bool(self.silence)

    @property
    def silence(self) -> str:
        """Why this validator signs nothing at the open height, "" where it may or is none."""
        if self.index is None:
            return ""
        if self._journal is None:
            return "it has no journal"
        height = self._chain.height + 1
        if self._journal.fence == UNKNOWN_FENCE:
            return (
                "its journal is not provably the newest: it waits until "
                f"{self._chain.state.validators.quorum} other validators have shown how far they "
                f"are, and {self._count(self._is_proved)} have"
            )
        if height < self._first:
            return f"its journal was not current: it signs nothing below height {self._first}"
        if height < self._journal.height:
            return f"what it signed below height {self._journal.height} is no longer in its journal"
        if not self._is_cleared:
            return (
                f"before it signs, {self._chain.state.validators.quorum - 1} other validators tell "
                f"it what they heard of it, and {self._count(self._is_late_enough)} have"
            )
        return ""

    @property
    def is_validator(self) -> bool:
        """Whether this node is set up to vote."""
        return self._key is not None

    def signer(self) -> tuple[int, Callable[[bytes], bytes]] | None:
        """Return by which index and how this node signs at the open height, None if not at all."""
        index = self.index
        if index is None or self._key is None or self.is_fenced:
            return None
        return index, self._key.sign

    async def restore(self) -> tuple[list[Promise], list[Block]]:
        """Return what was promised for the open height, and the blocks that it was promised for."""
        self._bodies.clear()
        signer = self.signer()
        if self._journal is None or signer is None:
            return [], []
        height = self._chain.height + 1
        if self._journal.resumed == height - 2 and not self._journal.promises(height):
            # Before the ceremony it may have signed here too, in the rounds below this one.
            opening = opened_above(self._chain, SECOND_ROUND, *signer)
            await self.make_durable(opening, self._no_block)
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
        self._note(height, made)
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

    async def kept_proposals(self) -> list[bytes]:
        """Return the encoded proposals of rounds above 0 that this validator made or prepared."""
        if self._journal is None:
            return []
        journal = self._journal  # no promise waits for it meanwhile
        return await asyncio.to_thread(lambda: proposals_of(journal.kept()))

    # --- what others know of us -----------------------------------------------------------------

    def unheard(self) -> list[bytes]:
        """Return the node keys of those whose answer is still needed before anything is signed."""
        is_done = self._is_proved if self._has_unknown_fence() else self._is_late_enough
        if self._is_cleared or self._journal is None:
            return []
        return [key for key in self._others() if key not in self._heads or not is_done(key)]

    def take_head(self, node_key: bytes, head: Head) -> None:
        """Take what was asked of a peer; what it heard of us is to be judged by `is_foreign`."""
        if node_key in self.unheard():
            self._heads[node_key] = head
            self._proved.discard(node_key)

    async def settle(self) -> int | None:
        """Begin to sign, or learn the fence, where the others have said enough.

        Returns the first height that a fence allows, None where none was set.

        *Why two above.* Whoever signs at height h has the decision of h − 1, which a quorum
        committed; and each honest one of them had the decision of h − 2. A quorum of others shares
        one of these with it. So h is at most two above the highest head that they prove. A head is
        proved once our own chain, whose every block a quorum decided, holds it: what cannot be
        proved does not count, and is not waited for beyond a quorum.
        """
        journal, quorum = self._journal, self._chain.state.validators.quorum
        if journal is None:
            return None
        learnt = None
        if self._has_unknown_fence():
            proved = [self._heads[key].height for key in self._others() if self._is_proved(key)]
            if len(proved) < quorum:
                return None
            await self._on_disk(journal.set_fence, max(proved) + SAFE_HEIGHTS)
            learnt = self._first
        if self._chain.height + 1 >= self._first:
            self._is_cleared |= self._count(self._is_late_enough) >= quorum - 1
        return learnt

    def is_foreign(self, statement: Statement) -> bool:
        """Return whether our key signed this and it was not by a promise of this journal.

        What was signed behind a fence, or below the newest promises, cannot be told.
        """
        if self._journal is None or self._key is None:
            return False
        if statement.height <= self._journal.fence or statement.height < self._height:
            return False
        signed = signing_bytes(statement, self._chain.header.chain_id)
        if statement.height == self._height and signed in self._signed:
            return False
        try:
            verify(self._key.public, signed, statement.signature, what="own signature")
        except LedgerError:
            return False
        return True

    async def doubt(self) -> None:
        """Bind this validator as one whose journal was lost: what it holds is not all it signed."""
        assert self._journal is not None
        self._is_cleared = False
        self._heads.clear()  # what they say from now on counts
        self._proved.clear()
        await self._on_disk(self._journal.set_fence, UNKNOWN_FENCE)

    @staticmethod
    def _no_block(block_id: bytes) -> Block:
        raise AssertionError(f"no block is promised: {block_id.hex()}")

    # --- small things ---------------------------------------------------------------------------

    @property
    def _first(self) -> int:
        """The first height that the fence allows."""
        assert self._journal is not None
        if self._journal.resumed is not None:
            return self._journal.resumed + 1
        return self._journal.fence + 1 + (QUIET_HEIGHTS if self._journal.fence else 0)

    def _has_unknown_fence(self) -> bool:
        return self._journal is not None and self._journal.fence == UNKNOWN_FENCE

    def _others(self) -> list[bytes]:
        """Return the node keys of the other validators of the open height."""
        members = self._chain.state.validators.members
        return [each.node_key for number, each in enumerate(members) if number != self.index]

    def _count(self, is_done: Callable[[bytes], bool]) -> int:
        return sum(map(is_done, self._others()))

    def _is_proved(self, node_key: bytes) -> bool:
        """Return whether our own chain holds the head that this node said it has."""
        if node_key in self._proved:
            return True
        head = self._heads.get(node_key)
        if head is None or not self._chain.has(head.height, head.block_id):
            return False
        self._proved.add(node_key)
        return True

    def _is_late_enough(self, node_key: bytes) -> bool:
        """Return whether this node answered, and from above what the fence hides."""
        head = self._heads.get(node_key)
        return head is not None and head.height >= self._first - 1

    def _note(self, height: int, made: Iterable[Promise]) -> None:
        if height > self._height:
            self._height = height
            self._signed.clear()
        for promise in made:
            if isinstance(promise, promises.Said):
                self._signed.add(signing_bytes(promise.message, self._chain.header.chain_id))

    async def _on_disk(self, doing: Callable[[T], None], argument: T) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, doing, argument)


def proposals_of(kept: Iterable[bytes]) -> list[bytes]:
    """Return the encoded proposals in encoded promises, each once, as exports carry them.

    What is no promise was found where the disk had damaged one.
    """
    found: dict[bytes, None] = {}
    for data in kept:
        with contextlib.suppress(ConsensusError):
            match promises.decode(data):
                case promises.Said(Proposal() as proposal) | promises.Kept(proposal):
                    found[messages.encode(proposal)] = None
                case _:
                    pass
    return list(found)


def opened_above(
    chain: Chain,
    round_: int,
    me: int,
    sign: Callable[[bytes], bytes],
    lock: PreparedCertificate | None = None,
) -> list[Promise]:
    """Return the promises of the open height of one who asks for `round_` and lost what is below.

    `lock` is the highest that anybody is known to have, and counts as its own.
    """
    header = chain.header
    claim = (UNPREPARED, NO_HASH) if lock is None else (lock.round, lock.block_id)
    change = RoundChange(header.height + 1, round_, *claim, lock, me, bytes(SIGNATURE_BYTES))
    signature = sign(signing_bytes(change, header.chain_id))
    said = promises.Said(msgspec.structs.replace(change, signature=signature))
    locked: list[Promise] = [] if lock is None else [promises.Locked(lock)]
    return [promises.Resumed(header.height + 1, round_), *locked, said]
