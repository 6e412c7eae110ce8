"""What a block does: the one dispatcher, and the one predicate of what a block may hold.

A proposer builds and a validator judges with the same `execute`: to judge is to execute the body
and to find the header that was proposed. Nothing here sees a clock: the block's time is handed in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final, Protocol

from contracts import (
    accusations,
    delegation,
    dispatch,
    eras,
    governance,
    parameters,
    recent,
    registry,
    seen,
    turns,
    versions,
)
from contracts.calls import Call, parse_call
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import (
    AlreadySeen,
    Expired,
    Inadmissible,
    MalformedCall,
    OverLimit,
    Refused,
    TooCostly,
    TooFarAhead,
    WrongChain,
    WrongSignature,
)
from contracts.parameters import Parameters
from contracts.registry import Key, Member
from contracts.state import Overlay, Reader
from ledger import heads, keys, merkle
from ledger.block import (
    MAX_EVIDENCE,
    Accusation,
    Block,
    Body,
    Header,
    evidence_root,
    parent_commit_hash,
)
from ledger.digest import StateDigest
from ledger.entry import APPLIED, Entry, Outcome
from ledger.errors import BadSignature, LedgerError, Malformed, Mismatch
from ledger.hashing import Hash
from ledger.heads import Head, Heads
from ledger.transaction import MAX_LIFETIME_S, Transaction, parse
from ledger.turns import Turns
from ledger.validators import MemberId, ValidatorSet

NOTHING_KNOWN: Final[Mapping[bytes, Transaction]] = MappingProxyType({})
_DONE: Final = Outcome(APPLIED)


class _Calls(list[Call]):
    """The calls of one transaction, parsed; it keeps them."""


class Signatures(Protocol):
    """How signatures of transactions are verified; a node remembers those it has verified."""

    def verify(self, transaction: Transaction, public: bytes) -> None:
        """Raise `ledger.errors.BadSignature` unless `transaction` is signed under `public`."""


class Judge(Protocol):
    """How evidence in a block is judged; `consensus.evidence.judge` is the one that does."""

    def __call__(
        self, data: bytes, chain_id: bytes, validators_at: Callable[[int], ValidatorSet | None], /
    ) -> Accusation:
        """Return whom `data` convicts of what; raise a `LedgerError` where it convicts nobody."""


class DirectSignatures:
    """Verifies every signature every time."""

    def verify(self, transaction: Transaction, public: bytes) -> None:
        """Raise `ledger.errors.BadSignature` unless `transaction` is signed under `public`."""
        message = transaction.signed_message
        keys.verify(public, message, transaction.signature, what="the transaction")


@dataclass(frozen=True)
class ChainState:
    """A chain after its last block: all that the next one is executed on."""

    header: Header  # of the last block, at height h
    log: merkle.Frontier
    heads: Heads
    digest: StateDigest
    validators: ValidatorSet  # of h + 1
    next_validators: ValidatorSet  # of h + 2
    turns: Turns  # at h + 1
    parameters: Parameters  # of h + 1
    state: Reader


@dataclass(frozen=True)
class Executed:
    """What a block does: its header, its entries, and what they change."""

    header: Header  # complete: every root computed
    body: Body
    accusations: tuple[Accusation, ...]  # one for each piece of evidence
    entries: tuple[Entry, ...]
    concerned: tuple[tuple[MemberId, ...], ...]  # by entry: its sender first
    reached: tuple[tuple[Head, ...], ...]  # by entry: the heads of those after it
    changes: dict[bytes, bytes | None]  # of the state; None: removed
    log_nodes: list[tuple[int, int, Hash]]  # (level, index, hash), all that the block completes
    skipped: tuple[tuple[Transaction, Inadmissible], ...]  # left out of a proposal
    log: merkle.Frontier
    heads: Heads
    digest: StateDigest
    validators: ValidatorSet  # of the next height
    next_validators: ValidatorSet  # of the one after
    turns: Turns  # at the next height
    parameters: Parameters  # of the next height

    @cached_property
    def block(self) -> Block:
        """The block."""
        return Block(self.header, self.body)

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of the entries, in their order."""
        return tuple(entry.outcome for entry in self.entries)

    def verify_header(self, header: Header) -> None:
        """Raise `ledger.errors.Mismatch` at the first field of `header` that is not as executed."""
        for field in Header.__struct_fields__:
            expected, found = getattr(self.header, field), getattr(header, field)
            if expected != found:
                raise Mismatch(field, expected, found)

    def chain(self, state: Reader) -> ChainState:
        """Return the chain after this block; `state` is the state with its changes."""
        return ChainState(
            self.header,
            self.log,
            self.heads,
            self.digest,
            self.validators,
            self.next_validators,
            self.turns,
            self.parameters,
            state,
        )


def require_includable(
    transaction: Transaction, chain: ChainState, time: int, signatures: Signatures
) -> None:
    """Raise `Inadmissible` unless the next block, of this time, may hold `transaction`.

    The one predicate of inclusion validity: at admission, at proposal, at validation, at replay.
    """
    _judged(transaction, chain, time, signatures)


def execute(
    chain: ChainState,
    body: Body,
    *,
    time: int,
    proposer: bytes,
    built_round: int,
    signatures: Signatures,
    judge: Judge,
    skip_invalid: bool = False,
    known: Mapping[bytes, Transaction] = NOTHING_KNOWN,
) -> Executed:
    """Return what `body` does as the next block of `chain`.

    `body.parent_commit` is verified by the caller. With `skip_invalid`, for a proposer, what is no
    longer includable is skipped, and the block ends before what would overfill it. Otherwise raises
    `Inadmissible`, or what `judge` raises for evidence that convicts nobody. Raises `Malformed` for
    a transaction that does not parse, `Mismatch` for a time before the last block's, and
    `UnknownVersion` where the rules of this height are not known here. `known` holds transactions
    parsed before, by their bytes.
    """
    if time < chain.header.time:
        raise Mismatch("time", f"at least {chain.header.time}", time)
    execution = _Execution(chain, time, signatures, judge)
    proofs: list[bytes] = []
    for data in body.evidence:
        try:
            execution.convict(data)
        except (LedgerError, Inadmissible):
            if not skip_invalid:
                raise
        else:
            proofs.append(data)
            if len(proofs) == MAX_EVIDENCE:
                break
    kept: list[bytes] = []
    skipped: list[tuple[Transaction, Inadmissible]] = []
    for raw in body.transactions:
        transaction = known.get(raw) or parse(raw)
        try:
            execution.add(transaction)
        except OverLimit:
            if not skip_invalid:
                raise
            break
        except Inadmissible as error:
            if not skip_invalid:
                raise
            skipped.append((transaction, error))
        else:
            kept.append(raw)
    body = Body(body.parent_commit, tuple(proofs), tuple(kept))
    return execution.finish(body, proposer, built_round, tuple(skipped))


class _Execution:
    """A block under way."""

    def __init__(self, chain: ChainState, time: int, signatures: Signatures, judge: Judge) -> None:
        self._before, self._time, self._signatures = chain, time, signatures
        self._judge, self._height = judge, chain.header.height + 1
        self._state = Overlay(chain.state)
        self._inside = replace(chain, state=self._state)  # sees what this block did so far
        self._accusations: list[Accusation] = []
        self._entries: list[Entry] = []
        self._concerned: list[tuple[MemberId, ...]] = []
        self._reached: list[tuple[Head, ...]] = []
        self._leaves: list[Hash] = []  # of the log
        self._transactions: list[Hash] = []  # leaves of their root
        self._heads: dict[MemberId, Head] = {}
        self._bytes = self._cost = 0
        self._version = versions.step(self._state, self._height, chain.next_validators)
        self._code = dispatch.code(self._version, self._height)
        recent.note(self._state, chain.header)
        seen.clear(self._state, time, chain.parameters.max_expired_removals)

    def convict(self, data: bytes) -> None:
        """Record what one more piece of evidence proves, or raise and change nothing."""
        accusation = self._judge(data, self._before.header.chain_id, self._validators_at)
        accusations.record(self._state, accusation, self._height, len(self._accusations))
        self._accusations.append(accusation)

    def add(self, transaction: Transaction) -> None:
        """Execute one more transaction, or raise `Inadmissible` and change nothing."""
        sender, key, calls, cost = _judged(transaction, self._inside, self._time, self._signatures)
        self._make_room(transaction, cost)
        body = transaction.body
        seen.remember(self._state, transaction)
        self._transactions.append(transaction.leaf)
        context = Context(
            self._state,
            self._before.parameters,
            self._before.header.chain_id,
            self._height,
            self._time,
            MemberId(body.sender),
            sender.family,
            key,
            transaction.id,
            0,
        )
        for position, call in enumerate(calls):
            context.begin(position)
            try:
                others = self._code.apply(context, call)
                outcome = Outcome(APPLIED, context.said) if context.said else _DONE
            except Refused as error:
                outcome, others = Outcome(int(error.refusal), error.evidence), NOBODY_ELSE
            self._enter(context, body.calls[position], outcome, others)

    def finish(
        self,
        body: Body,
        proposer: bytes,
        built_round: int,
        skipped: tuple[tuple[Transaction, Inadmissible], ...],
    ) -> Executed:
        """Return what all this does, `body` being what was added."""
        before = self._before
        next_turns = _turns_after(before, self._height, built_round)
        if next_turns != before.turns:
            turns.save(self._state, next_turns)
        governance.run_agenda(self._state, self._height + 1)
        nodes: list[tuple[int, int, Hash]] = []
        log = before.log.append(
            self._leaves, lambda level, index, hash_: nodes.append((level, index, hash_))
        )
        heads_after = before.heads.updated(self._heads)
        removed, added = self._state.difference()
        digest = before.digest.updated(removed, added)
        changes: dict[bytes, bytes | None] = dict.fromkeys(key for key, _ in removed)
        changes.update(added)
        header = Header(
            version=self._version,
            chain_id=before.header.chain_id,
            height=self._height,
            time=self._time,
            parent=before.header.hash,
            transactions_root=merkle.root_of_leaves(self._transactions),
            log_size=log.size,
            log_root=log.root,
            heads_root=heads_after.root,
            state_digest=digest.hash,
            validators_hash=before.validators.hash,
            next_validators_hash=before.next_validators.hash,
            proposer=proposer,
            built_round=built_round,
            parent_commit_hash=parent_commit_hash(body.parent_commit),
            evidence_root=evidence_root(body.evidence),
        )
        return Executed(
            header=header,
            body=body,
            accusations=tuple(self._accusations),
            entries=tuple(self._entries),
            concerned=tuple(self._concerned),
            reached=tuple(self._reached),
            changes=changes,
            log_nodes=nodes,
            skipped=skipped,
            log=log,
            heads=heads_after,
            digest=digest,
            validators=before.next_validators,
            next_validators=eras.latest(self._state).validators,
            turns=next_turns,
            parameters=parameters.load(self._state),
        )

    def _validators_at(self, height: int) -> ValidatorSet | None:
        """Return who votes at a height that evidence in this block may be of."""
        if not 1 <= height <= self._height:
            return None
        return eras.validators_at(self._before.state, height)

    def _make_room(self, transaction: Transaction, cost: int) -> None:
        limits = self._before.parameters
        size = self._bytes + len(transaction.raw)
        total = self._cost + cost
        for what, found, limit in (
            ("bytes", size, limits.max_block_bytes),
            ("transactions", len(self._transactions) + 1, limits.max_block_transactions),
            ("calls", len(self._entries) + len(transaction.body.calls), limits.max_block_calls),
            ("units of cost", total, limits.max_block_cost),
        ):
            if found > limit:
                raise OverLimit(what, found, limit)
        self._bytes, self._cost = size, total

    def _enter(self, context: Context, call: bytes, outcome: Outcome, others: Concerned) -> None:
        """Put an entry into the log and into the chains of the members that it concerns."""
        entry = Entry(
            context.height,
            len(self._entries),
            context.time,
            context.sender,
            context.transaction,
            context.position,
            call,
            outcome,
        )
        leaf = entry.leaf()
        concerned = (context.sender, *others)
        self._entries.append(entry)
        self._concerned.append(concerned)
        self._leaves.append(leaf)
        reached: list[Head] = []
        for member in concerned:
            head = self._heads.get(member) or self._before.heads.get(member)
            after = heads.first(leaf) if head is None else head.extend(leaf)
            self._heads[member] = after
            reached.append(after)
        self._reached.append(tuple(reached))


def _turns_after(chain: ChainState, height: int, built_round: int) -> Turns:
    """Return whose turn it is after the block at `height`; other validators begin anew."""
    if chain.next_validators != chain.validators:
        return Turns()
    return chain.turns.after(len(chain.validators), height, built_round)


def _judged(
    transaction: Transaction, chain: ChainState, time: int, signatures: Signatures
) -> tuple[Member, Key, list[Call], int]:
    """Return sender, key, calls and cost of what may be included; the cheap checks come first."""
    body = transaction.body
    if body.chain_id != chain.header.chain_id:
        raise WrongChain(chain.header.chain_id, body.chain_id)
    if body.valid_until < time:
        raise Expired(body.valid_until, time)
    if body.valid_until > time + MAX_LIFETIME_S:
        raise TooFarAhead(body.valid_until, time + MAX_LIFETIME_S)
    sender = registry.sender(chain.state, body.sender)
    height = chain.header.height + 1
    key, scope = delegation.signing_key(
        chain.state, body.sender, body.key_id, height=height, time=time
    )
    if seen.is_seen(chain.state, transaction):
        raise AlreadySeen(transaction.id)
    calls = _parse_calls(transaction)
    delegation.require_within(scope, calls)
    code = dispatch.code(versions.at(chain.state, height), height)
    cost = sum(code.cost(call, position) for position, call in enumerate(calls))
    if cost > chain.parameters.max_block_cost:
        raise TooCostly(cost, chain.parameters.max_block_cost)
    try:
        signatures.verify(transaction, key.public)
    except BadSignature:
        raise WrongSignature(transaction.id) from None
    return sender, key, calls, cost


def _parse_calls(transaction: Transaction) -> "_Calls":
    if isinstance(transaction.parsed_calls, _Calls):
        return transaction.parsed_calls
    calls = _Calls()
    for position, data in enumerate(transaction.body.calls):
        try:
            calls.append(parse_call(data))
        except Malformed as error:
            raise MalformedCall(position, error.reason) from None
    transaction.parsed_calls = calls
    return calls
