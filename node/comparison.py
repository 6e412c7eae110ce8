"""Where two nodes differ: the first height, the transaction, and the key of the state.

Blocks are compared first, byte by byte, as far as both have them; then the states, pair by pair,
where a node has one. Where headers agree and states do not, the blocks are executed again up to the
height of each state, and it is said whose state is not what the blocks lead to, and which
transaction wrote last what is not there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import zip_longest
from typing import Any, Final

from consensus.evidence import judge
from contracts.execute import DirectSignatures, Executed, execute
from contracts.genesis import SignedGenesis
from ledger.block import BareBlock, Body, CommittedBlock, Header, bare, is_bare
from ledger.encoding import decode
from ledger.errors import LedgerError
from ledger.transaction import Transaction, parse
from node.applied import facts_in, state_in
from node.audit.pairs import pairs
from node.audit.reading import each_of, naming, within
from node.audit.replay import Replay
from node.audit.report import Progress, outcome_name
from node.audit.signatures import Ahead
from node.recordings import Recording

Show = Callable[[Progress], None]
Both = tuple[Recording, Recording]
# What the first byte of a key of the state says it is of, for people.
_KINDS: Final = {
    b"a": "a prior agreement",
    b"b": "a settlement",
    b"c": "a claim",
    b"C": "a certificate of a key",
    b"d": "a delegation",
    b"e": "which ids of transactions are forgotten",
    b"f": "a reference table",
    b"g": "the parameters",
    b"h": "the version of the rules",
    b"i": "keys by their owner",
    b"j": "the agenda",
    b"k": "a key of a member",
    b"l": "a lock of a mark",
    b"m": "a member",
    b"n": "the number of the last validators",
    b"o": "an offence",
    b"p": "a prescription",
    b"q": "a claim in a settlement",
    b"r": "a recent block",
    b"s": "the id of a transaction",
    b"t": "whose turn it is",
    b"u": "the owner of a public key",
    b"v": "a set of validators",
    b"w": "a proposal",
    b"x": "a mark",
    b"y": "when a validator's keys changed",
    b"z": "a vote",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that differs, and what each of the two says."""

    where: str  # "block", "state", "index"
    height: int
    field: str
    values: tuple[str, str]  # of the first, of the second
    transaction: int | None = None  # within the block
    transaction_id: bytes | None = None
    call: int | None = None
    key: bytes | None = None
    headers: tuple[str, ...] = ()  # fields of the two headers that differ
    written: int | None = None  # height of the block that wrote this key last
    wrong: tuple[str, ...] = ()  # whose state is not what the blocks lead to

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        kind = "what is derived from blocks" if self.where == "index" else None
        if self.where == "state" and self.key is not None:
            kind = _KINDS.get(self.key[:1], "something else")
        return {
            "where": self.where,
            "height": self.height,
            "field": self.field,
            "values": list(self.values),
            "transaction": self.transaction,
            "transaction_id": None if self.transaction_id is None else self.transaction_id.hex(),
            "call": self.call,
            "key": None if self.key is None else self.key.hex(),
            "kind": kind,
            "headers": list(self.headers),
            "written": self.written,
            "wrong": list(self.wrong),
        }


@dataclass
class Comparison:
    """What came of it."""

    first: int  # the lowest height that both have
    last: int = 0  # the highest height up to which both have the same blocks
    longer: str | None = None  # which goes on above that
    certificates: int = 0  # blocks that other validators certify in the two: no difference
    states: tuple[int, ...] = ()  # heights at which a state was compared
    why_not: str = ""  # why no state was
    difference: Difference | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "equal": self.difference is None,
            "from_height": self.first,
            "to_height": self.last,
            "longer": self.longer,
            "other_certificates": self.certificates,
            "states_compared_at": list(self.states),
            "states_not_compared": self.why_not,
            "difference": None if self.difference is None else self.difference.to_json(),
        }


def compare(both: Both, genesis: SignedGenesis, show: Show = lambda _: None) -> Comparison:
    """Return the first thing in which two recordings differ.

    Raises `FalseFact` where one holds something false that both would have to agree on.
    """
    first = max(one.first for one in both)
    found = Comparison(first, first - 1)
    found.difference = _blocks(both, found, show)
    if found.difference is None:
        found.difference = _states(both, found, genesis, show)
    return found


# --- blocks ---------------------------------------------------------------------------------------


def _blocks(both: Both, found: Comparison, show: Show) -> Difference | None:
    left, right = (each_of(one.name, one.records(found.first)) for one in both)
    for one, other in zip_longest(left, right):
        if one is None or other is None:
            found.longer = both[0 if one is not None else 1].name
            return None
        height = found.last + 1
        if one != other:
            different = _differ(both, one, other, height)
            if different is not None:
                return different
            found.certificates += not (is_bare(one) or is_bare(other))
        found.last = height
        show(Progress(height, height))
    return None


def _differ(both: Both, one: bytes, other: bytes, height: int) -> Difference | None:
    """Return in what two records of a height differ, None where it is no fact of the chain."""
    bares: list[BareBlock] = []
    for source, record in zip(both, (one, other), strict=True):
        with within(source.name), naming(height):
            bares.append(bare(record))
    first, second = (each.header for each in bares)
    names = [
        name for name in Header.__struct_fields__ if getattr(first, name) != getattr(second, name)
    ]
    place = None
    if not is_bare(one) and not is_bare(other):
        place = _inside(decode(one, CommittedBlock), decode(other, CommittedBlock), height)
    if place is None and names:
        values = getattr(first, names[0]), getattr(second, names[0])
        place = Difference("block", height, names[0], _shown(*values))
    return None if place is None else replace(place, headers=tuple(names))


def _inside(one: CommittedBlock, other: CommittedBlock, height: int) -> Difference | None:
    """Return the first transaction, evidence or outcome in which two whole blocks differ."""
    bodies = one.block.body, other.block.body
    place = _transactions(*bodies, height)
    if place is None:
        place = _evidence(*bodies, height)
    return place or _outcomes(one, other, height)


def _transactions(one: Body, other: Body, height: int) -> Difference | None:
    for number, (raw, also) in enumerate(zip_longest(one.transactions, other.transactions)):
        if raw == also:
            continue
        first, second = _parsed(raw), _parsed(also)
        known = first or second
        id_ = None if known is None else known.id
        field, values = "transaction", (_told_of(raw, first), _told_of(also, second))
        if first is not None and second is not None and first.id == second.id:
            field, values = "signature", _shown(first.signature, second.signature)
        return Difference("block", height, field, values, number, id_)
    return None


def _evidence(one: Body, other: Body, height: int) -> Difference | None:
    for pair in zip_longest(one.evidence, other.evidence):
        if pair[0] != pair[1]:
            digests = (None if raw is None else sha256(raw).digest() for raw in pair)
            return Difference("block", height, "SHA-256 of evidence", _shown(*digests))
    return None


def _outcomes(one: CommittedBlock, other: CommittedBlock, height: int) -> Difference | None:
    for place, pair in enumerate(zip_longest(one.outcomes, other.outcomes)):
        if pair[0] != pair[1]:
            shown = tuple("none" if each is None else outcome_name(each) for each in pair)
            number, id_, call = _call_at(one.block.body.transactions, place)
            return Difference("block", height, "outcome", (shown[0], shown[1]), number, id_, call)
    return None


def _call_at(
    transactions: tuple[bytes, ...], place: int
) -> tuple[int, bytes, int] | tuple[None, None, None]:
    """Return the transaction, its id and the call that an outcome is of, if there is such a one."""
    for number, raw in enumerate(transactions):
        transaction = _parsed(raw)
        if transaction is None:
            break
        if place < len(transaction.body.calls):
            return number, transaction.id, place
        place -= len(transaction.body.calls)
    return None, None, None


def _parsed(raw: bytes | None) -> Transaction | None:
    """Return the transaction that these bytes are; None where they are none: nobody verified it."""
    if raw is None:
        return None
    try:
        return parse(raw)
    except LedgerError:
        return None


def _told_of(raw: bytes | None, transaction: Transaction | None) -> str:
    if transaction is not None:
        return transaction.id.hex()
    return "none" if raw is None else f"{len(raw)} bytes that are no transaction"


# --- states ---------------------------------------------------------------------------------------


def _states(both: Both, found: Comparison, genesis: SignedGenesis, show: Show) -> Difference | None:
    one, other = both
    if one.state is None and other.state is None:
        found.why_not = "these are exports: the states follow from equal blocks"
        return None
    if one.state is not None and other.state is not None and one.state_height == other.state_height:
        found.states = (one.state_height,)
        unequal = _first_unequal(state_in(one.state), state_in(other.state))
        if unequal is None:
            return _index(one, other)
        return _blamed(both, unequal, one.state_height, genesis, show)
    source = _whole(both)
    if source is None:
        found.why_not = "the states are of two heights, and no source has all blocks to execute"
        return None
    with Ahead(1) as ahead, Replay(genesis, ahead) as replay:
        for record in each_of(source.name, source.records()):
            _add(source, replay, record)
            show(Progress(replay.header.height, replay.header.height))
            for side in both:
                if side.state is None or side.state_height != replay.header.height:
                    continue
                found.states = (*found.states, side.state_height)
                unequal = _first_unequal(pairs(replay.state), state_in(side.state))
                if unequal is not None:
                    return _told(both, side, unequal, genesis)
    return None


def _index(one: Recording, other: Recording) -> Difference | None:
    """Return the first row in which two stores differ beside the state.

    A node that joined by a snapshot, or pruned, lacks rows that others have.
    """
    assert one.state is not None
    assert other.state is not None
    if max(one.first_whole, other.first_whole) > 1:
        return None
    unequal = _first_unequal(facts_in(one.state), facts_in(other.state))
    if unequal is None:
        return None
    field, values = "a row that follows from the blocks", _shown(unequal.first, unequal.second)
    return Difference("index", one.state_height, field, values, key=unequal.key)


def _told(both: Both, side: Recording, unequal: "_Unequal", genesis: SignedGenesis) -> Difference:
    """Return that the state of one side is not what the blocks lead to."""
    values = _shown(unequal.first, unequal.second)
    if side is both[0]:
        values = values[1], values[0]
    written = _written(both, unequal.key, side.state_height, genesis)
    return Difference(
        "state", side.state_height, "value", values, written.transaction, written.id,
        key=unequal.key, written=written.height, wrong=(side.name,),
    )  # fmt: skip


def _blamed(
    both: Both, unequal: "_Unequal", height: int, genesis: SignedGenesis, show: Show
) -> Difference:
    """Return where two states of one height differ, and whose is not what the blocks lead to."""
    wrong: tuple[str, ...] = ()
    source = _whole(both)
    if source is not None:
        with Ahead(1) as ahead, Replay(genesis, ahead) as replay:
            for record in each_of(source.name, source.records()):
                _add(source, replay, record)
                show(Progress(replay.header.height, replay.header.height))
                if replay.header.height == height:
                    break
            true = replay.state.get(unequal.key)
        values = unequal.first, unequal.second
        wrong = tuple(side.name for side, value in zip(both, values, strict=True) if value != true)
    written = _written(both, unequal.key, height, genesis)
    return Difference(
        "state", height, "value", _shown(unequal.first, unequal.second), written.transaction,
        written.id, key=unequal.key, written=written.height, wrong=wrong,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Unequal:
    key: bytes
    first: bytes | None
    second: bytes | None


@dataclass(frozen=True, slots=True)
class _Written:
    """Which block wrote a key last, and which of its transactions; None where it is not known."""

    height: int | None = None
    transaction: int | None = None
    id: bytes | None = None


def _first_unequal(
    first: Iterator[tuple[bytes, bytes]], second: Iterator[tuple[bytes, bytes]]
) -> _Unequal | None:
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if one == other:
            one, other = next(first, None), next(second, None)
        elif other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            return _Unequal(one[0], one[1], None)
        elif one is None or other[0] < one[0]:
            return _Unequal(other[0], None, other[1])
        else:
            return _Unequal(one[0], one[1], other[1])
    return None


def _written(both: Both, key: bytes, height: int, genesis: SignedGenesis) -> _Written:
    """Return what wrote `key` last, in blocks up to a height, by executing them again."""
    source = _whole(both)
    if source is None:
        return _Written()
    last = 0
    with Ahead(1) as ahead, Replay(genesis, ahead) as replay:
        for record in each_of(source.name, source.records()):
            executed = _add(source, replay, record)
            if key in executed.changes:
                last = executed.header.height
            if executed.header.height == height:
                break
    if last == 0:
        return _Written()
    with Ahead(1) as ahead, Replay(genesis, ahead) as replay:
        for record in each_of(source.name, source.records()):
            if replay.header.height == last - 1:
                return _writer(replay, decode(record, CommittedBlock), key)
            _add(source, replay, record)
    return _Written(last)


def _writer(replay: Replay, committed: CommittedBlock, key: bytes) -> _Written:
    """Return which transaction of the next block gave `key` the value that it has after it."""
    header, body = committed.block.header, committed.block.body

    def value_after(count: int) -> bytes | None:
        part = Body(body.parent_commit, body.evidence, body.transactions[:count])
        executed = execute(
            replay.chain,
            part,
            time=header.time,
            proposer=header.proposer,
            built_round=header.built_round,
            signatures=DirectSignatures(),
            judge=judge,
        )
        return executed.changes[key] if key in executed.changes else replay.state.get(key)

    low, high = 0, len(body.transactions)
    final = value_after(high)
    if value_after(0) == final:
        return _Written(header.height)  # the block itself did, whatever stands in it
    while high - low > 1:  # after `low` it is another one, after `high` that
        middle = (low + high) // 2
        low, high = (low, middle) if value_after(middle) == final else (middle, high)
    return _Written(header.height, low, parse(body.transactions[low]).id)


def _add(source: Recording, replay: Replay, record: bytes) -> Executed:
    with within(source.name):
        return replay.add(record)


def _whole(both: Both) -> Recording | None:
    """Return which source has all blocks that a state of the two follows from; None where none."""
    height = max(one.state_height for one in both)
    for one in both:
        if one.first == one.first_whole == 1 and one.last >= height:
            return one
    return None


# --- pieces ---------------------------------------------------------------------------------------


def _shown(one: object, other: object) -> tuple[str, str]:
    first, second = (
        "none" if value is None else value.hex() if isinstance(value, bytes) else str(value)
        for value in (one, other)
    )
    return first, second
