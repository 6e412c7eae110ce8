"""What a light node keeps, in a small store: what it verified, and nothing else.

Everything of one answer is written in one batch with the header that it leads to: a crash leaves
the record at one height or the other.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts import dispatch
from contracts.beginning import start
from contracts.errors import UnknownVersion
from contracts.genesis import Genesis
from contracts.state import Overlay
from ledger import merkle
from ledger.block import Header
from ledger.certificate import CommitCertificate
from ledger.encoding import Struct, decode, encode
from ledger.entry import Entry
from ledger.errors import LedgerError, Mismatch
from ledger.heads import Head
from ledger.history import verify_entries
from ledger.receipt import Change, Receipt, Voters
from ledger.store import Store
from ledger.validators import EVERYONE, ValidatorSet
from node.index import thing_rows
from node.light.messages import MAX_CHANGES, Proofs, Seen, Told
from node.light.partial import Partial
from node.stored import STATE, StoredState

_TIP: Final = b"tip"  # -> encoded Tip
_CHANGE: Final = b"v"  # + number u32 -> encoded Change
_ENTRY: Final = b"E"  # + order u64 -> encoded Entry
_OWN: Final = b"w"  # + count u64 -> order u64 of an entry that concerns the member
_ALL: Final = b"*"  # + count u64 -> order u64 of an entry that concerns everyone
_CALL: Final = b"y"  # + transaction + position u8 -> order u64
_PLACE: Final = b"R"  # + order u64 -> encoded Placed
_HEADER: Final = b"H"  # + height u64 -> encoded Decision: what places are proved by
_UNTOLD: Final = b"?"  # + thing -> why its state cannot be told
_RECENT: Final = 4096  # keys of the state at hand


class Tip(Struct):
    """Where the record stands, and whom it trusts from there."""

    member: bytes
    header: Header
    certificate: CommitCertificate | None  # None: of the genesis
    above: int  # the last change of validators that is kept was made by this block
    validators: ValidatorSet
    changes: int  # that are kept
    own: Head | None
    everyone: Head | None
    placed: int = 0  # entries of the member whose place in the log is kept


class Decision(Struct):
    """A header and its certificate."""

    header: Header
    certificate: CommitCertificate


class Placed(Struct):
    """Where in the log an entry is, as proved under the header of a height."""

    number: int
    proof: tuple[bytes, ...]
    height: int


class Incomplete(Exception):
    """An answer holds not all; up to `until` it can."""

    def __init__(self, until: int) -> None:
        super().__init__(f"there is more, ask up to block {until}")
        self.until = until


class OtherMember(LedgerError):
    """The record that is kept is of another member, or another chain."""

    def __init__(self, what: str, kept: bytes, asked: bytes) -> None:
        super().__init__(f"the data is of the {what} {kept.hex()}, not {asked.hex()}")


class Record:
    """The verified record of one member. One thread at a time changes it."""

    def __init__(self, founding: Genesis, member: bytes, store: Store) -> None:
        """Open what is kept in `store`, or begin with the genesis. Raises `OtherMember`."""
        self.genesis, self.member, self.store = founding, member, store
        self.state = StoredState(store, _RECENT)
        self._partial = Partial(founding.chain_id)
        kept = store.get(_TIP)
        if kept is None:
            beginning = start(founding)
            validators = founding.validator_set
            self.tip = Tip(member, beginning.header, None, 0, validators, 0, None, None)
            self._write({STATE + key: value for key, value in beginning.changes.items()})
        else:
            self.tip = decode(kept, Tip)
            if self.tip.header.chain_id != founding.chain_id:
                raise OtherMember("chain", self.tip.header.chain_id, founding.chain_id)
            if self.tip.member != member:
                raise OtherMember("member", self.tip.member, member)

    @property
    def height(self) -> int:
        """The height up to which everything is kept."""
        return self.tip.header.height

    @property
    def own(self) -> int:
        """How many entries concern the member."""
        return _count(self.tip.own)

    @property
    def everyone(self) -> int:
        """How many entries concern everyone."""
        return _count(self.tip.everyone)

    # --- taking ------------------------------------------------------------------------------

    def advance(self, seen: Seen) -> bool:
        """Go on to a header; return False where entries that concern us come before it.

        Raises `LedgerError` where it is not the chain's, and `UnknownVersion` where the software
        is too old for it.
        """
        own, everyone = self._verified(seen)
        if seen.header.height <= self.height:
            return True
        if (own, everyone) != (self.tip.own, self.tip.everyone):
            return False
        self._append((), seen, own, everyone)
        return True

    def take(self, told: Told) -> tuple[Entry, ...]:
        """Keep what concerns us up to a header; return the entries that are new.

        Raises `LedgerError` where an entry was withheld, altered, added or moved; `Incomplete`
        where not all is in it, which it does not hide; and as `advance`.
        """
        seen = told.seen
        assert seen is not None  # the asker has looked
        own, everyone = self._verified(seen)
        if seen.header.height <= self.height:
            return ()
        self._require_whole(told, own, everyone)
        verify_entries(self.tip.own, told.own, own)
        verify_entries(self.tip.everyone, told.everyone, everyone)
        return self._append(told.own, seen, own, everyone, also=told.everyone)

    def take_proofs(self, proofs: Proofs) -> int:
        """Keep places of our entries in the log; return how many. Raises `LedgerError`."""
        seen = proofs.seen
        if seen is None or proofs.after != self.tip.placed:
            return 0
        self._verified(seen)
        header = seen.header
        rows: dict[bytes, bytes | None] = {}
        for count, place in enumerate(proofs.places, proofs.after + 1):
            order = self.store.get(_OWN + count.to_bytes(8))
            if order is None:
                break  # it is newer than what we have
            leaf = self._entry(order).leaf()
            merkle.verify_inclusion(
                header.log_root, header.log_size, place.number, leaf, place.proof
            )
            rows[_PLACE + order] = encode(Placed(place.number, place.proof, header.height))
        if rows:
            kept = Decision(header, seen.certificate)
            rows[_HEADER + header.height.to_bytes(8)] = encode(kept)
            placed = self.tip.placed + len(rows) - 1
            self._write(rows, placed=placed)
            return len(rows) - 1
        return 0

    def _verified(self, seen: Seen) -> tuple[Head | None, Head | None]:
        """Return both heads under a header that a quorum committed.

        Changes that are true are kept at once, whatever the rest is: there may be more of them than
        one answer holds.
        """
        tip, chain_id = self.tip, self.genesis.chain_id
        voters = Voters(tip.above, tip.validators)
        if seen.changes and seen.changes[0].header.height > tip.above:
            voters = voters.follow(chain_id, seen.changes)
            self._keep_changes(voters, seen.changes)
            is_other = voters.validators.hash != seen.header.validators_hash
            if len(seen.changes) == MAX_CHANGES and is_other:
                raise Incomplete(0)
        voters = self._voters_of(seen.header.height, voters)
        voters.require_signed(seen.header, seen.certificate, chain_id)
        if seen.header.version not in dispatch.known():
            raise UnknownVersion(seen.header.version, seen.header.height, dispatch.known())
        same = seen.header.height == self.height
        if same and seen.header.hash != self.tip.header.hash:
            raise Mismatch("block of this height", self.tip.header.hash, seen.header.hash)
        root = seen.header.heads_root
        own = seen.own.verify(root, self.member)
        return own, seen.everyone.verify(root, EVERYONE)

    def _voters_of(self, height: int, newest: Voters) -> Voters:
        """Return who votes at a height that may be below the newest change."""
        if height > newest.above:
            return newest
        if known := self.changes(height):
            return Voters(known[-1].header.height, known[-1].validators)
        return Voters(0, self.genesis.validator_set)

    def _keep_changes(self, voters: Voters, changes: Sequence[Change]) -> None:
        first = self.tip.changes
        self._write(
            {
                _CHANGE + number.to_bytes(4): encode(change)
                for number, change in enumerate(changes, first)
            },
            above=voters.above,
            validators=voters.validators,
            changes=first + len(changes),
        )

    def _require_whole(self, told: Told, own: Head | None, everyone: Head | None) -> None:
        """Raise `Incomplete` where a part ends before its head, and does so openly."""
        ends = [
            part[-1].height
            for part, before, head in (
                (told.own, self.own, own),
                (told.everyone, self.everyone, everyone),
            )
            if part and before + len(part) < _count(head)
        ]
        if ends:
            raise Incomplete(min(ends))

    def _append(
        self,
        entries: tuple[Entry, ...],
        seen: Seen,
        own: Head | None,
        everyone: Head | None,
        *,
        also: tuple[Entry, ...] = (),
    ) -> tuple[Entry, ...]:
        """Keep verified entries, what follows from them, and the header that they lead to."""
        rows: dict[bytes, bytes | None] = {}
        for count, entry in enumerate(entries, self.own + 1):
            rows[_OWN + count.to_bytes(8)] = _order(entry)
        for count, entry in enumerate(also, self.everyone + 1):
            rows[_ALL + count.to_bytes(8)] = _order(entry)
        ours, whole = set(map(_order, entries)), {_order(each): each for each in (*entries, *also)}
        in_order = [whole[order] for order in sorted(whole)]
        for order, entry in sorted(whole.items()):
            rows[_ENTRY + order] = encode(entry)
            rows[_CALL + entry.transaction + entry.position.to_bytes(1)] = order
            members = (self.member,) if order in ours else ()
            rows |= thing_rows(int.from_bytes(order), entry, members)
        state = Overlay(self.state)
        for thing, reason in self._partial.run(state, in_order, seen.header.height):
            rows[_UNTOLD + thing] = reason.encode()[:500]
        self._write(
            rows | _of_state(state),
            header=seen.header,
            certificate=seen.certificate,
            own=own,
            everyone=everyone,
        )
        self.state.written(state.changes)
        return tuple(in_order)

    def _write(self, rows: dict[bytes, bytes | None], **changed: object) -> None:
        tip = msgspec.structs.replace(self.tip, **changed)
        self.store.write(rows | {_TIP: encode(tip)})
        self.tip = tip

    # --- telling -----------------------------------------------------------------------------

    def changes(self, height: int) -> tuple[Change, ...]:
        """Return the changes of validators that were announced below `height`, from genesis on."""
        found = self.store.scan(_CHANGE, self.tip.changes)
        changes = (decode(value, Change) for _, value in found)
        return tuple(each for each in changes if each.header.height < height)

    def entry(self, transaction_id: bytes, position: int) -> Entry | None:
        """Return the entry of a call, None where it is not kept."""
        order = self.store.get(_CALL + transaction_id + position.to_bytes(1))
        return None if order is None else self._entry(order)

    def entries_of(self, transaction_id: bytes) -> list[Entry]:
        """Return the entries of a transaction that are kept: of our own, all."""
        return [self._entry(order) for _, order in self.store.scan(_CALL + transaction_id, 256)]

    def entries_concerning(
        self, member: bytes, *, after: int, limit: int
    ) -> list[tuple[int | None, Entry]]:
        """Return entries that concern the member or everyone, in order, from its `after`th on.

        Each with its number in the log, None where its place is not proved here.
        """
        prefix = _ALL if member == EVERYONE else _OWN
        found = self.store.scan(prefix, limit, after=prefix + after.to_bytes(8))
        return [(self._number(order), self._entry(order)) for _, order in found]

    def _number(self, order: bytes) -> int | None:
        kept = self.store.get(_PLACE + order)
        return None if kept is None else decode(kept, Placed).number

    def receipt(self, transaction_id: bytes, position: int) -> Receipt | None:
        """Return the receipt of a call, None where its place in the log is not proved here yet."""
        order = self.store.get(_CALL + transaction_id + position.to_bytes(1))
        kept = None if order is None else self.store.get(_PLACE + order)
        if order is None or kept is None:
            return None
        placed = decode(kept, Placed)
        under = self.store.get(_HEADER + placed.height.to_bytes(8))
        assert under is not None  # written with the place
        decision = decode(under, Decision)
        return Receipt(
            self._entry(order),
            placed.number,
            placed.proof,
            decision.header,
            decision.certificate,
            self.changes(placed.height),
        )

    def untold(self, thing: bytes) -> str:
        """Return why the state of a thing cannot be told, "" where it can."""
        return (self.store.get(_UNTOLD + thing) or b"").decode(errors="replace")

    def _entry(self, order: bytes) -> Entry:
        kept = self.store.get(_ENTRY + order)
        assert kept is not None  # written with what names it
        return decode(kept, Entry)


def _of_state(state: Overlay) -> dict[bytes, bytes | None]:
    return {STATE + key: value for key, value in state.changes.items()}


def _order(entry: Entry) -> bytes:
    """Return what orders entries as the log does."""
    return ((entry.height << 32) | entry.index).to_bytes(8)


def _count(head: Head | None) -> int:
    return 0 if head is None else head.count
