"""What the blocks of a chain have led to, in a store: it is derived, and can be made anew.

The store follows the blocks without being synced, with the height that it has applied in the same
batch; blocks above that are executed again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Final

from consensus.evidence import judge
from contracts import parameters, turns
from contracts.execute import NOTHING_KNOWN, ChainState, Executed, Signatures, execute
from contracts.genesis import Genesis, start
from ledger import merkle
from ledger.block import Body, Header
from ledger.certificate import CommitCertificate
from ledger.digest import StateDigest
from ledger.encoding import Struct, decode, encode
from ledger.errors import Mismatch
from ledger.hashing import Hash
from ledger.heads import Head, Heads
from ledger.receipt import Change
from ledger.store import Store
from ledger.transaction import Transaction
from ledger.validators import MEMBER_ID_BYTES, MemberId, ValidatorSet
from node.index import rows
from node.stored import STATE, StoredState

_NODE: Final = b"n"  # + level u8 + index u64 -> node of the log
_HEAD: Final = b"h"  # + member -> encoded Head
_CHANGE: Final = b"v"  # + height u64 -> encoded Change of validators
_TIP: Final = b"tip"  # -> encoded Tip


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
        tip = store.get(_TIP)
        if tip is None:
            self.apply(beginning, None)
        else:
            self._load(decode(tip, Tip))

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

    def log_node(self, level: int, index: int) -> Hash:
        """Return the root of a perfect subtree of the log, which must have it."""
        found = self._store.get(_node_key(level, index))
        assert found is not None, "a log node is missing from the store"
        return Hash(found)

    def changes(self, height: int) -> tuple[Change, ...]:
        """Return the changes of validators that were announced below `height`, from genesis on."""
        known = self._known_changes
        start = _change_key(known[-1].header.height) if known else b""
        found = _scan_all(self._store, _CHANGE, after=start)
        self._known_changes = known = (*known, *(decode(value, Change) for _, value in found))
        return known[: bisect_left(known, height, key=lambda change: change.header.height)]

    def _load(self, tip: Tip) -> None:
        if tip.header.chain_id != self.state.header.chain_id:
            raise Mismatch("chain id", self.state.header.chain_id, tip.header.chain_id)
        heads = {
            MemberId(key[-MEMBER_ID_BYTES:]): decode(value, Head)
            for key, value in _scan_all(self._store, _HEAD)
        }
        self.certificate, self._signers = tip.certificate, tip.signers
        self.state = ChainState(
            header=tip.header,
            log=merkle.Frontier(tip.header.log_size, tuple(Hash(peak) for peak in tip.peaks)),
            heads=Heads(heads),
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
        batch |= {_node_key(level, index): node for level, index, node in executed.log_nodes}
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


def _node_key(level: int, index: int) -> bytes:
    return _NODE + level.to_bytes(1) + index.to_bytes(8)


def _change_key(height: int) -> bytes:
    return _CHANGE + height.to_bytes(8)


def _scan_all(store: Store, prefix: bytes, after: bytes = b"") -> Iterable[tuple[bytes, bytes]]:
    while found := store.scan(prefix, 4096, after=after):
        yield from found
        after = found[-1][0]


def tip_of(store: Store) -> int:
    """Return the height that a store has applied, 0 where there is none yet."""
    tip = store.get(_TIP)
    return 0 if tip is None else decode(tip, Tip).header.height


def difference(first: Store, second: Store) -> bytes | None:
    """Return the lowest key in which two stores differ, None where there is none."""
    for one, other in zip_longest(_scan_all(first, b""), _scan_all(second, b"")):
        if one != other:
            return min(pair[0] for pair in (one, other) if pair is not None)
    return None
