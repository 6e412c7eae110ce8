"""What the blocks of a chain have led to, in a store: it is derived, and can be made anew.

The store follows the blocks without being synced, with the height that it has applied in the same
batch; blocks above that are executed again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from msgspec import structs

from consensus.evidence import judge
from contracts import dispatch, eras, parameters, turns
from contracts.beginning import start
from contracts.eras import Era
from contracts.execute import NOTHING_KNOWN, ChainState, Executed, Signatures, execute
from contracts.genesis import Genesis
from ledger import merkle
from ledger.block import Body, Header
from ledger.certificate import CommitCertificate
from ledger.digest import Pair, StateDigest
from ledger.encoding import Struct, decode, encode
from ledger.entry import Entry
from ledger.errors import HashNotKept, Mismatch
from ledger.hashing import Hash
from ledger.heads import Head, Heads, Leaf
from ledger.receipt import Change
from ledger.store import Store, View
from ledger.transaction import Transaction
from ledger.validators import MEMBER_ID_BYTES, MemberId, ValidatorSet
from node.index import HISTORY, first_rows, is_same_head, rows
from node.stored import STATE, StoredState

_NODE: Final = b"n"  # + level u8 + index u64 -> node of the log
_HEAD: Final = b"h"  # + member -> encoded Head
_CHANGE: Final = b"v"  # + height u64 -> encoded Change of validators
_TIP: Final = b"tip"  # -> encoded Tip
_PAGE: Final = 256  # rows read at once: some are long, and others wait meanwhile


class Tip(Struct):
    """What the store has applied, and what execution goes on from."""

    header: Header
    certificate: CommitCertificate | None
    peaks: tuple[bytes, ...]
    state_sum: bytes
    signers: ValidatorSet  # of the last block
    validators: ValidatorSet  # of the next height
    next_validators: ValidatorSet  # of the one after


class Applied:
    """A store that grows by one executed block at a time, from the genesis on."""

    def __init__(self, genesis: Genesis, store: Store) -> None:
        """Load what the store has applied; an empty one is given the genesis."""
        self.genesis = genesis
        self._store = store
        self._reader = StoredState(store)
        self.certificate: CommitCertificate | None = None  # of the last block
        self._known_changes: tuple[Change, ...] = ()  # of validators, from the first on
        beginning = start(genesis)
        self.state = beginning.chain(self._reader)
        self._signers = self.state.validators  # of the last block
        tip = tip_in(store)
        if tip is None:
            self.apply(beginning, None)
        else:
            self._load(tip)

    @property
    def header(self) -> Header:
        """The header of the last block."""
        return self.state.header

    @property
    def height(self) -> int:
        """The height of the last block, 0 before the first."""
        return self.state.header.height

    def execute(
        self,
        body: Body,
        header: Header,
        signatures: Signatures,
        known: Mapping[bytes, Transaction] = NOTHING_KNOWN,
    ) -> Executed:
        """Return what `body` does on top of the last block; `known` as in `contracts.execute`.

        Raises `Mismatch` where that is not what `header` says, `Inadmissible` where a transaction
        may not be in it.
        """
        executed = execute(
            self.state,
            body,
            time=header.time,
            proposer=header.proposer,
            built_round=header.built_round,
            signatures=signatures,
            judge=judge,
            known=known,
        )
        executed.verify_header(header)
        return executed

    def require_parent_commit(self, certificate: CommitCertificate | None) -> None:
        """Raise unless `certificate` is one of the last block: it need not be the one held here."""
        parent = self.header
        if certificate == self.certificate:
            return
        if certificate is None or self.certificate is None:
            raise Mismatch(
                "parent certificate", self.certificate is not None, certificate is not None
            )
        if (certificate.height, certificate.block_id) != (parent.height, parent.hash):
            raise Mismatch("parent certificate", parent.hash, certificate.block_id)
        certificate.verify(parent.chain_id, self._signers)

    def validators_at(self, height: int) -> ValidatorSet | None:
        """Return who votes at `height`: from 1, and known up to two above the last block."""
        if not 1 <= height <= self.height + 2:
            return None
        return eras.validators_at(self._reader, height)

    def eras(self, first: int, limit: int) -> list[Era]:
        """Return who votes from which height on, from era `first`: the last may not have begun."""
        last = eras.latest(self._reader).number
        return [eras.era(self._reader, n) for n in range(first, min(first + limit, last + 1))]

    def concerned(self, entry: Entry) -> tuple[bytes, ...]:
        """Return whom an entry concerns: its sender and, where it was applied, its counterparty."""
        return dispatch.concerned(self._reader, entry)

    def log_node(self, level: int, index: int) -> Hash:
        """Return the root of a perfect subtree of the log, which must be so long.

        Raises `HashNotKept` where it is below the snapshot with which the store began.
        """
        found = self._store.get(node_key(level, index))
        if found is None:
            raise HashNotKept(level, index)
        return Hash(found)

    def view(self) -> View:
        """Return what the store holds now; closed before the store is."""
        return self._store.view()

    def changes(self, height: int) -> tuple[Change, ...]:
        """Return the changes of validators that were announced below `height`, from genesis on."""
        known = self._known_changes
        start = _change_key(known[-1].header.height) if known else b""
        self._known_changes = known = (*known, *changes_in(self._store, after=start))
        return known[: bisect_left(known, height, key=lambda change: change.header.height)]

    def _load(self, tip: Tip) -> None:
        if tip.header.chain_id != self.state.header.chain_id:
            raise Mismatch("chain id", self.state.header.chain_id, tip.header.chain_id)
        self.certificate, self._signers = tip.certificate, tip.signers
        self.state = ChainState(
            header=tip.header,
            log=merkle.Frontier(tip.header.log_size, tuple(Hash(peak) for peak in tip.peaks)),
            heads=Heads(heads_in(self._store)),
            digest=StateDigest.parse(tip.state_sum),
            validators=tip.validators,
            next_validators=tip.next_validators,
            turns=turns.load(self._reader),
            parameters=parameters.load(self._reader),
            state=self._reader,
        )

    def apply(self, executed: Executed, certificate: CommitCertificate | None) -> None:
        """Add what a block did; who calls it has the block on disk."""
        after, signers = executed.chain(self._reader), self.state.validators
        batch: dict[bytes, bytes | None] = {
            STATE + key: value for key, value in executed.changes.items()
        }
        batch |= {node_key(level, index): node for level, index, node in executed.log_nodes}
        batch |= {
            _HEAD + member: encode(head)
            for member in dict.fromkeys(m for group in executed.concerned for m in group)
            if (head := after.heads.get(member)) is not None
        }
        batch |= rows(executed, after.log.size - len(executed.entries))
        if certificate is not None and after.validators != signers:
            change = Change(after.header, certificate, after.validators)
            batch[_change_key(after.header.height)] = encode(change)
        batch[_TIP] = encode(
            Tip(
                after.header,
                certificate,
                after.log.peaks,
                after.digest.to_bytes(),
                signers,
                after.validators,
                after.next_validators,
            )
        )
        self._store.write(batch)
        self._reader.written(executed.changes)
        self.state, self.certificate, self._signers = after, certificate, signers


def node_key(level: int, index: int) -> bytes:
    """Return where the store holds a node of the log."""
    return _NODE + level.to_bytes(1) + index.to_bytes(8)


def _change_key(height: int) -> bytes:
    return _CHANGE + height.to_bytes(8)


def tip_in(view: View) -> Tip | None:
    """Return what a store has applied, None where it is empty."""
    found = view.get(_TIP)
    return None if found is None else decode(found, Tip)


def heads_in(view: View) -> dict[MemberId, Head]:
    """Return the heads of all members that have one, by ascending member."""
    return {
        MemberId(key[-MEMBER_ID_BYTES:]): decode(value, Head)
        for key, value in scan_all(view, _HEAD)
    }


def changes_in(view: View, after: bytes = b"") -> Iterator[Change]:
    """Yield the changes of validators in their order; `after` as in `View.scan`."""
    for _, value in scan_all(view, _CHANGE, after=after):
        yield decode(value, Change)


def state_in(view: View) -> Iterator[Pair]:
    """Yield the pairs of the state, by ascending key."""
    for key, value in scan_all(view, STATE):
        yield key[len(STATE) :], value


def put_state(store: Store, pairs: Iterable[Pair]) -> None:
    """Put these pairs of the state of another node into a store that is made anew."""
    store.write({STATE + key: value for key, value in pairs})


def put_tip(store: Store, tip: Tip, heads: Sequence[Leaf], changes: Iterable[Change]) -> None:
    """Let a store that holds a state begin there; of the log it gets what the next entries need."""
    batch: dict[bytes, bytes | None] = {_HEAD + leaf.member: encode(leaf.head) for leaf in heads}
    batch |= first_rows(heads)
    batch |= {_change_key(change.header.height): encode(change) for change in changes}
    size, first = tip.header.log_size, 0
    levels = (level for level in reversed(range(size.bit_length())) if size >> level & 1)
    for level, peak in zip(levels, tip.peaks, strict=True):
        batch[node_key(level, first >> level)] = peak
        first += 1 << level
    store.write({**batch, _TIP: encode(tip)})


def scan_all(store: View, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield all pairs whose keys begin with a prefix, ascending; `after` as in `View.scan`."""
    while found := store.scan(prefix, _PAGE, after=after):
        yield from found
        after = found[-1][0]


def tip_of(store: Store) -> int:
    """Return the height that a store has applied, 0 where there is none yet."""
    tip = tip_in(store)
    return 0 if tip is None else tip.header.height


def facts_in(view: View) -> Iterator[Pair]:
    """Yield all rows, without the certificates: two nodes that agree may hold others of a block."""
    for key, value in scan_all(view, b""):
        if key == _TIP:
            yield key, encode(structs.replace(decode(value, Tip), certificate=None))
        elif key.startswith(_CHANGE):
            change = decode(value, Change)
            yield key, encode((change.header, change.validators))
        else:
            yield key, value


def difference(first: Store, second: Store, *, is_longer: bool = False) -> bytes | None:
    """Return the lowest key in which two stores differ, None where there is none.

    Where `is_longer`, the second knows more than the first of what its blocks led to below the
    height at which the first began: that is no difference.
    """
    others = scan_all(second, b"")
    if is_longer:
        seen = (_seen_by(first, pair) for pair in others)
        others = (pair for pair in seen if pair is not None)
    for one, other in zip_longest(scan_all(first, b""), others):
        if one != other:
            return min(pair[0] for pair in (one, other) if pair is not None)
    return None


def _seen_by(first: Store, pair: Pair) -> Pair | None:
    """Return what a store that began above a block must have of a pair, None for nothing."""
    key, value = pair
    if not key.startswith((_NODE, *HISTORY)):
        return pair
    seen = first.get(key)
    if seen is None:
        return None
    return (key, seen) if is_same_head(key, seen, value) else pair
