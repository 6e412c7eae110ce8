"""What is looked up by transaction, member and thing: derived from the entries of each block."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from contracts import calls
from contracts.execute import Executed
from contracts.explanation import named
from ledger.block import CommittedBlock
from ledger.encoding import Struct, decode, encode
from ledger.entry import APPLIED, Entry
from ledger.errors import NotKept
from ledger.hashing import Hash
from ledger.heads import Head, Leaf
from ledger.store import Store, View
from ledger.transaction import Transaction, created_id, id_of, parse
from ledger.validators import MEMBER_ID_BYTES

_TRANSACTION: Final = b"t"  # + id -> encoded Place
_CLAIM: Final = b"c"  # + member + entry number u64 -> id of a claim that concerns the member
_AUTHORISATION: Final = b"a"  # the same, of an authorisation
_SETTLEMENT: Final = b"b"  # + member + entry number u64 -> id of a settlement, likewise
_ERASURE: Final = b"d"  # the same, of an erasure that was asked for
_THING: Final = b"g"  # + id + _APPLIED or sender + number u64 -> transaction + position u8
_CONCERNS: Final = b"m"  # + member + count u64 -> entry number u64 + hash of the head after it
# ... or, of the last entry of a member below a snapshot, that hash alone
_ENDS: Final = b"e"  # + log size after a block that has entries u64 -> its height u64
OFFENCE: Final = b"o"  # + height u64 + index u8 of the evidence -> offence
_APPLIED: Final = bytes(MEMBER_ID_BYTES)  # stands where of a refused entry its sender does
_HASH_BYTES: Final = 32
HISTORY: Final = (  # of blocks: what is below a snapshot cannot be made of it
    *(_TRANSACTION, _CLAIM, _AUTHORISATION, _SETTLEMENT, _ERASURE, _THING, _CONCERNS, _ENDS),
    OFFENCE,
)
_NEWEST_FIRST: Final = (1 << 64) - 1  # less a number: the last refused is found first
_LISTED: Final[dict[type[Struct], bytes]] = {
    calls.ClaimSubmit: _CLAIM,
    calls.AuthorisationRequest: _AUTHORISATION,
    calls.SettlementOpen: _SETTLEMENT,
    calls.ErasureRequest: _ERASURE,
}


class Place(Struct):
    """Where a transaction is: its height and the number in the log of its first entry."""

    height: int
    first: int


class Index:
    """The index in a store; `block` reads a block."""

    def __init__(self, store: Store, block: Callable[[int], CommittedBlock]) -> None:
        self._store, self._block = store, block

    def place(self, transaction_id: bytes) -> Place | None:
        """Return where a transaction is in the chain, None where it is not."""
        found = self._store.get(_TRANSACTION + transaction_id)
        return None if found is None else decode(found, Place)

    def claims_of(self, member: bytes, *, after: int, limit: int) -> list[tuple[int, Hash]]:
        """Return (entry number, id) of claims that concern `member`, in order, above `after`."""
        return self._made(_CLAIM + member, after, limit)

    def authorisations_of(self, member: bytes, *, after: int, limit: int) -> list[tuple[int, Hash]]:
        """Return the same of authorisations."""
        return self._made(_AUTHORISATION + member, after, limit)

    def settlements_of(self, member: bytes, *, after: int, limit: int) -> list[tuple[int, Hash]]:
        """Return (entry number, id) of settlements that concern `member`, likewise."""
        return self._made(_SETTLEMENT + member, after, limit)

    def erasures_of(self, member: bytes, *, after: int, limit: int) -> list[tuple[int, Hash]]:
        """Return (entry number, id) of erasures that concern `member`, likewise."""
        return self._made(_ERASURE + member, after, limit)

    def _made(self, prefix: bytes, after: int, limit: int) -> list[tuple[int, Hash]]:
        start = prefix if after < 0 else prefix + after.to_bytes(8)  # no key is the prefix alone
        found = self._store.scan(prefix, limit, after=start)
        return [(int.from_bytes(key[-8:]), Hash(value)) for key, value in found]

    def height_of(self, number: int) -> int | None:
        """Return the height of the block that holds an entry; None where that was never here."""
        found = self._store.scan(_ENDS, 1, after=_ENDS + number.to_bytes(8))
        return int.from_bytes(found[0][1]) if found else None

    def concerning(self, member: bytes, *, after: int, limit: int) -> list[int]:
        """Return the numbers of entries that concern `member`, in order, from its `after`th on."""
        prefix = _CONCERNS + member
        found = self._store.scan(prefix, limit, after=prefix + after.to_bytes(8))
        return [_number(value) for _, value in found]

    def head_at(self, member: bytes, newest: Head, log_size: int) -> Head | None:
        """Return the head of `member` when the log had this size, None where it had none.

        `newest` is the head that it had then, or one that it had later.
        """

        def row(count: int) -> bytes:
            return self._store.get(_CONCERNS + member + count.to_bytes(8)) or b""

        if _number(row(newest.count)) < log_size:
            return newest  # as of most members: nothing concerned them since
        counts = range(1, newest.count)
        count = bisect_left(counts, log_size, key=lambda count: _number(row(count)))
        return Head(count, row(count)[-_HASH_BYTES:]) if count else None

    def applied_on(self, thing: bytes, limit: int) -> list[Entry | None]:
        """Return the oldest applied entries that name a thing, in their order.

        None stands for one that was pruned.
        """
        found = self._store.scan(_THING + thing + _APPLIED, limit)
        return [self.entry(value[:-1], value[-1]) for _, value in found]

    def refused_on(self, thing: bytes, sender: bytes | None, limit: int) -> list[Entry | None]:
        """Return the newest refused entries likewise: those of `sender`, or of all."""
        prefix = _THING + thing
        after = prefix + _APPLIED + _NEWEST_FIRST.to_bytes(8)
        found = self._store.scan(prefix + (sender or b""), limit, after=after)
        return [self.entry(value[:-1], value[-1]) for _, value in found]

    def entry(self, transaction_id: bytes, position: int) -> Entry | None:
        """Return the entry of a call that the index names, None where it was pruned."""
        place = self.place(transaction_id)
        assert place is not None, "the index names a transaction that is not in the chain"
        try:
            block = self._block(place.height)
        except NotKept:
            return None
        return entries_of(block, transaction_id, place.first)[position]


def rows(executed: Executed, first: int) -> dict[bytes, bytes]:
    """Return what a block adds to the index; `first` is the number of its first entry."""
    found: dict[bytes, bytes] = {}
    height = executed.header.height
    for index, accusation in enumerate(executed.accusations):
        found[OFFENCE + height.to_bytes(8) + index.to_bytes(1)] = accusation.offence
    if executed.entries:
        found[_ENDS + executed.header.log_size.to_bytes(8)] = height.to_bytes(8)
    entries = zip(executed.entries, executed.concerned, executed.reached, strict=True)
    for number, (entry, members, heads) in enumerate(entries, first):
        if entry.position == 0:
            found[_TRANSACTION + entry.transaction] = encode(Place(height, number))
        for member, head in zip(members, heads, strict=True):
            row = _CONCERNS + member + head.count.to_bytes(8)
            found[row] = number.to_bytes(8) + head.hash
        found |= thing_rows(number, entry, members)
    return found


def thing_rows(number: int, entry: Entry, members: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return what an entry that concerns `members` adds to the lists of things and what names them.

    `number` orders entries as the log does.
    """
    found: dict[bytes, bytes] = {}
    applied = entry.outcome.code == APPLIED
    call = calls.parse_call(entry.call)
    made = created_id(entry.transaction, entry.position)
    listed = _LISTED.get(type(call)) if applied else None
    if listed is not None:
        for member in members:
            found[listed + member + number.to_bytes(8)] = made
    reader, order = (_APPLIED, number) if applied else (entry.sender, _NEWEST_FIRST - number)
    where = entry.transaction + entry.position.to_bytes(1)
    for thing in named(call, made):
        found[_THING + thing + reader + order.to_bytes(8)] = where
    return found


def first_rows(heads: Iterable[Leaf]) -> dict[bytes, bytes]:
    """Return what stands for the entries below a snapshot: each member's head after them."""
    return {_CONCERNS + leaf.member + leaf.head.count.to_bytes(8): leaf.head.hash for leaf in heads}


def is_same_head(key: bytes, row: bytes, longer: bytes) -> bool:
    """Return whether a row is what `first_rows` gives where the entry is not known."""
    is_head = key.startswith(_CONCERNS) and len(row) == _HASH_BYTES
    return is_head and longer[-_HASH_BYTES:] == row


def first_block(view: View) -> int | None:
    """Return the lowest height at which a store was given an entry, None where it was none."""
    found = view.scan(_ENDS, 1)
    return int.from_bytes(found[0][1]) if found else None


def _number(row: bytes) -> int:
    """Return the number of the entry; where it is not known, it is of before what is asked for."""
    return int.from_bytes(row[:-_HASH_BYTES])


def entries_of(committed: CommittedBlock, transaction_id: bytes, first: int) -> list[Entry]:
    """Return the entries of one transaction, made again from its block.

    `first` is the number in the log of the first of them.
    """
    before = committed.block.header.log_size - len(committed.outcomes)
    return _entries(committed, transaction_in(committed, transaction_id), first - before)


def transaction_in(committed: CommittedBlock, transaction_id: bytes) -> Transaction:
    """Return one transaction of a block."""
    for raw in committed.block.body.transactions:
        if id_of(raw) == transaction_id:  # to parse each of hundreds takes four times as long
            return parse(raw)
    raise AssertionError("the store names a transaction that its block does not hold")


def entries_in(committed: CommittedBlock) -> list[Entry]:
    """Return all entries of a block, made again from it."""
    made: list[Entry] = []
    for raw in committed.block.body.transactions:
        made += _entries(committed, parse(raw), len(made))
    return made


def _entries(committed: CommittedBlock, transaction: Transaction, first: int) -> list[Entry]:
    header = committed.block.header
    return [
        Entry(
            header.height,
            first + position,
            header.time,
            transaction.body.sender,
            transaction.id,
            position,
            call,
            committed.outcomes[first + position],
        )
        for position, call in enumerate(transaction.body.calls)
    ]
