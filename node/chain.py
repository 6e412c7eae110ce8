"""The chain on this node's disk: segment files that are the truth, and a store derived from them.

A block is durable when its record is in the segments; the store follows without being synced, with
the height that it has applied in the same batch, and blocks above that are executed again at start.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.evidence import judge
from contracts import accusations, registry
from contracts.errors import Inadmissible
from contracts.execute import Executed, Signatures, execute
from contracts.genesis import Genesis
from ledger import merkle
from ledger.block import BareBlock, Body, CommittedBlock, bare, is_bare
from ledger.certificate import CommitCertificate
from ledger.decided import Decided
from ledger.encoding import decode, encode
from ledger.entry import Entry
from ledger.errors import NotKept, StoreDamaged
from ledger.hashing import Hash
from ledger.heads import Head, Heads
from ledger.history import MAX_ENTRIES, History, Standing
from ledger.receipt import Receipt
from ledger.segments import SEGMENT_BYTES, Segments, TornTail
from ledger.store import CACHE_BYTES, Store, open_store
from ledger.transaction import Transaction
from ledger.validators import MemberId
from node.applied import Applied
from node.errors import HistoryTooLong
from node.index import OFFENCE, Index, entries_in, entries_of, transaction_in
from node.installing import settle
from node.results import Committed

SEGMENTS: Final = "segments"  # folder of the blocks in the node's data
STATE: Final = "state"  # folder of the store
BUILDING: Final = "state.new"  # of one that is not whole yet
REBUILT: Final = "state.made"  # of one that was made anew and is whole, to take its place
MAX_HISTORY_BYTES: Final = 16 << 20  # of calls: a block has a quarter, and JSON doubles them
_PAGE: Final = 256  # rows of the index at once
_ALL: Final = 1 << 62  # entries


@dataclass(frozen=True)
class Accused:
    """An offence that is recorded in the chain, with who did it and where the evidence is."""

    offence: Hash
    member: MemberId
    height: int  # of the offence
    included: int  # height of the block that holds the evidence
    index: int  # of the evidence in its body

    @property
    def cursor(self) -> tuple[int, int]:
        """What to name to have those after it listed."""
        return self.included, self.index


class Chain(Applied):
    """A chain that grows by one committed block at a time."""

    def __init__(self, genesis: Genesis, segments: Segments, store: Store) -> None:
        super().__init__(genesis, store)
        self.segments = segments
        self.index = Index(store, self.block)
        self.block_added: Callable[[], None] = lambda: None  # told of each, before the next
        self.damage = ""  # of a block that was read and is not whole, and what to do

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        signatures: Signatures,
        *,
        engine: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> "Chain":
        """Return the chain in `directory`, made from `genesis` where there is none yet.

        Blocks that the store has not applied are executed again. Raises `StoreDamaged`,
        `StoreLocked`, and `Mismatch` where the store is of another chain or a block executes to
        something else than its header says; `HasBlocks` where it has blocks and a snapshot too.
        """
        settle(directory)
        with contextlib.ExitStack() as closing:
            segments = Segments.open(
                directory / SEGMENTS, chain_id=genesis.chain_id, segment_bytes=segment_bytes
            )
            closing.callback(segments.close)
            store = open_store(state_folder(directory), engine, cache_bytes=cache_bytes)
            closing.callback(store.close)
            chain = cls(genesis, segments, store)
            chain._catch_up(directory, signatures)
            closing.pop_all()
        return chain

    @property
    def first_height(self) -> int:
        """The height of the first block in the files: above 1 where a snapshot came before it."""
        return self.segments.first_height

    @property
    def first_body(self) -> int:
        """The lowest height whose whole block is kept; the next one where none is."""
        return self.segments.first_whole

    @property
    def torn_tail(self) -> TornTail | None:
        """What was cut off the segments at opening: a block whose writing was interrupted."""
        return self.segments.torn_tail

    def build(
        self,
        transactions: Sequence[Transaction],
        *,
        time: int,
        proposer: bytes,
        built_round: int,
        signatures: Signatures,
        evidence: Sequence[bytes] = (),
    ) -> tuple[Executed, Sequence[tuple[Transaction, Inadmissible]]]:
        """Return a block on the last one, and what could not be in it and why.

        Evidence that is recorded already, or convicts nobody, is left out.
        """
        raws = tuple(each.raw for each in transactions)
        executed = execute(
            self.state,
            Body(self.certificate, tuple(evidence), raws),
            time=time,
            proposer=proposer,
            built_round=built_round,
            signatures=signatures,
            judge=judge,
            skip_invalid=True,
            known={each.raw: each for each in transactions},
        )
        return executed, executed.skipped

    def commit(self, executed: Executed, certificate: CommitCertificate) -> None:
        """Make a decided block durable, then apply it. Raises OSError: then it is not decided."""
        record = CommittedBlock(executed.block, certificate, executed.outcomes)
        self.segments.append(encode(record))
        self.segments.sync()
        self.apply(executed, certificate)
        self.block_added()

    def has(self, height: int, block_id: bytes) -> bool:
        """Return whether this block is known to be in the chain."""
        if height == self.height:
            return self.header.hash == block_id
        if height == 0:
            return True  # every node of this chain has the genesis
        if not self.first_height - 1 <= height < self.height:
            return False  # what is not kept cannot be compared
        return self.head(height + 1).header.parent == block_id

    def close(self) -> None:
        """Close the files."""
        self._store.close()
        self.segments.close()

    def record(self, height: int) -> bytes:
        """Return the encoded `CommittedBlock` at `height`, which must have been decided.

        Raises `NotKept` where its body was pruned, and `StoreDamaged`, which `damage` tells from
        then on.
        """
        record = self._record(height)
        if is_bare(record):
            raise NotKept(height, self.first_body, self.height)
        return record

    def head(self, height: int) -> BareBlock:
        """Return header and certificate at `height`, also of a pruned block. Raises the same."""
        header, certificate = self.header, self.certificate  # not of one block while one is applied
        if certificate is not None and header.height == certificate.height == height:
            return BareBlock(header, certificate)  # in no file where it is a snapshot's
        return bare(self._record(height))

    def _record(self, height: int) -> bytes:
        try:
            return self.segments.read(height)
        except StoreDamaged as error:
            self.damage = what_to_do(error)
            raise

    def records(self, first: int) -> Iterator[bytes]:
        """Yield the encoded `CommittedBlock`s from height `first` to what was last when asked."""
        for height in range(first, self.height + 1):
            yield self.record(height)

    def block(self, height: int) -> CommittedBlock:
        """Return the block at `height`, which must have been decided. Raises as `record`."""
        return decode(self.record(height), CommittedBlock)

    def committed(self, transaction_id: bytes) -> Committed | None:
        """Return what became of a transaction in the chain, None where it is not.

        Of one that was pruned only its block is known.
        """
        place = self.index.place(transaction_id)
        if place is None:
            return None
        try:
            block = self.block(place.height)
        except NotKept:
            header = self.head(place.height).header
            return Committed(Hash(transaction_id), None, header.height, header.time, ())
        entries = entries_of(block, transaction_id, place.first)
        first = entries[0]
        outcomes = tuple(entry.outcome for entry in entries)
        return Committed(Hash(transaction_id), first.sender, first.height, first.time, outcomes)

    def accusations(self, *, after: tuple[int, int] = (0, 0), limit: int) -> list[Accused]:
        """Return offences in the order in which they were recorded, those above a cursor."""
        height, index = after
        start = OFFENCE + height.to_bytes(8) + index.to_bytes(1) if height else OFFENCE
        found = self._store.scan(OFFENCE, limit, after=start)
        # A reader beside the writer may see the index a moment before what is remembered of the
        # state: the offence of a block that is being applied is listed when that is done.
        listed = (self.accusation(offence) for _, offence in found)
        return [each for each in listed if each is not None]

    def accusation(self, offence: bytes) -> Accused | None:
        """Return what is recorded of an offence, None where nothing is."""
        found = accusations.conviction(self._reader, offence)
        if found is None:
            return None
        member = MemberId(found.member)
        return Accused(Hash(offence), member, found.height, found.included, found.index)

    def proof(self, accused: Accused) -> bytes:
        """Return the encoded evidence that convicted. Raises as `record`."""
        return self.block(accused.included).block.body.evidence[accused.index]

    @property
    def _lost(self) -> NotKept:
        """What is said of what only the blocks say whose bodies are not here."""
        return NotKept(self.first_body - 1, self.first_body, self.height)

    def receipt(self, transaction_id: bytes, position: int) -> Receipt | None:
        """Return the receipt of one call of a transaction, None where it is not in the chain.

        Raises as `record`.
        """
        place = self.index.place(transaction_id)
        if place is None:
            return None
        committed = self.block(place.height)
        header = committed.block.header
        entries = entries_of(committed, transaction_id, place.first)
        if position >= len(entries):
            return None
        index = place.first + position
        proof = merkle.inclusion_proof(index, header.log_size, self.log_node)
        return Receipt(
            entry=entries[position],
            log_index=index,
            proof=proof,
            header=header,
            certificate=committed.certificate,
            changes=self.changes(header.height),
        )

    def signed_by(self, transaction_id: bytes) -> bytes | None:
        """Return the public key that signed a transaction, None where it is not in the chain.

        Or not any more. It is one of its sender, or of whom the sender lets act for him.
        """
        place = self.index.place(transaction_id)
        if place is None:
            return None
        try:
            block = self.block(place.height)
        except NotKept:
            return None
        id_ = transaction_in(block, transaction_id).body.key_id
        owner = registry.owner_of(self._reader, id_)
        assert owner is not None  # or it would be in no block
        found = registry.key(self._reader, owner, id_)
        assert found is not None  # no key is ever removed
        return found.public

    def decided(self, height: int) -> Decided:
        """Return the header at `height`, and how to come to trust it. Raises as `record`."""
        head = self.head(height)
        return Decided(head.header, head.certificate, self.changes(height))

    def entries(self, first: int, count: int) -> list[Entry]:
        """Return entries of the log from number `first` on, all of which were decided.

        Raises as `record`.
        """
        found: list[Entry] = []
        while len(found) < count:
            number = first + len(found)
            begins, entries = self._entries_around(number)
            found += entries[number - begins :]
        return found[:count]

    def _entries_around(self, number: int) -> tuple[int, list[Entry]]:
        """Return the entries of the block that holds one, and the number of the first."""
        height = self.index.height_of(number)
        if height is None:
            raise self._lost
        committed = self.block(height)
        entries = entries_in(committed)
        begins = committed.block.header.log_size - len(entries)
        if number < begins:  # it is of a block below the snapshot with which the node began
            raise self._lost
        return begins, entries

    def entries_concerning(
        self, member: bytes, *, after: int, limit: int
    ) -> list[tuple[int, Entry]]:
        """Return entries that concern `member`, each with its number, from its `after`th on.

        Raises as `record`.
        """
        return list(self.each_concerning(member, after=after, limit=limit))

    def each_concerning(
        self, member: bytes, *, after: int, limit: int, most_read: int = _ALL
    ) -> Iterator[tuple[int, Entry]]:
        """Yield the same one by one, as they are read; raise the same.

        Each may be in a block of its own: no further block is read once those that were held
        `most_read` entries, of whomever.
        """
        begins, entries, read = 0, list[Entry](), 0
        last = after + limit
        while numbers := self.index.concerning(member, after=after, limit=min(last - after, _PAGE)):
            for number in numbers:
                if number >= begins + len(entries):
                    if read >= most_read:
                        return
                    begins, entries = self._entries_around(number)
                    read += len(entries)
                yield number, entries[number - begins]
            after += len(numbers)

    def heads_at(self, height: int) -> Heads:
        """Return the heads of all members after the block at `height`. Raises as `record`."""
        newest = self.state.heads
        header = self.head(height).header
        changed: dict[MemberId, Head] = {}
        gone: set[MemberId] = set()
        for member, head in newest.items():
            then = self.index.head_at(member, head, header.log_size)
            if then is None:
                gone.add(member)
            elif then is not head:
                changed[member] = then
        older = newest.updated(changed)
        if gone:
            older = Heads({m: head for m, head in older.items() if m not in gone})
        if older.root != header.heads_root:  # it is of below a snapshot that the store began with
            raise self._lost
        return older

    def history(self, member: bytes, start: int, end: int, *, most: int = MAX_ENTRIES) -> History:
        """Return all entries that concern `member` in the blocks above `start` and up to `end`.

        `start` is below `end`, which must be there. Raises `NotKept` where a block is not here, and
        `HistoryTooLong` where it would be of more entries than `most`, or of more bytes than fit.
        """
        if start == 0 and self.first_height > 1:
            raise NotKept(1, self.first_height, self.height)
        before = self._standing(member, start) if start else None
        after = self._standing(member, end)
        first = _count(before, member)
        number = _count(after, member) - first
        if number > most:
            raise HistoryTooLong(number, most)
        entries, size = list[Entry](), 0
        for _, entry in self.each_concerning(member, after=first, limit=number):
            size += len(entry.call)
            if size > MAX_HISTORY_BYTES:
                raise HistoryTooLong(number, len(entries))
            entries.append(entry)
        return History(member, before, after, tuple(entries), self.changes(end))

    def _standing(self, member: bytes, height: int) -> Standing:
        head = self.head(height)
        return Standing(head.header, head.certificate, self.heads_at(height).prove(member))

    def _catch_up(self, directory: Path, signatures: Signatures) -> None:
        """Apply the blocks that the store has not applied."""
        first, last = self.first_body, self.segments.last_height
        if self.height + 1 < first:  # the snapshot that came before the blocks is not in the store
            lost = f"it is at block {self.height}, and the blocks that are kept begin with {first}"
            raise StoreDamaged(str(directory / STATE), 0, lost)
        if self.height > last:  # blocks that were durable are gone
            gone = f"blocks {last + 1} to {self.height} are gone that were there"
            raise StoreDamaged(str(directory / SEGMENTS), 0, gone, height=last + 1)
        for height in range(self.height + 1, last + 1):
            committed = self.block(height)
            executed = self.execute(committed.block.body, committed.block.header, signatures)
            self.apply(executed, committed.certificate)


def _count(standing: Standing | None, member: bytes) -> int:
    """Return how many entries concerned `member`, as this proof, which is our own, says."""
    leaf = None if standing is None else standing.proof.found
    return leaf.head.count if leaf is not None and leaf.member == member else 0


def what_to_do(damage: StoreDamaged) -> str:
    """Return what an operator is told of damage that was met while the node runs."""
    return f"{damage}; stop the node and run: depoli db heal"


def state_folder(directory: Path) -> Path:
    """Return the folder of the store; one that a crash kept from its place is moved there."""
    state, rebuilt = directory / STATE, directory / REBUILT
    if rebuilt.is_dir() and not state.exists():
        rebuilt.rename(state)
    return state
