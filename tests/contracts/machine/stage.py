"""A chain and its model side by side: what is sent to one is judged by the other, call by call."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, TypeVar

from hypothesis import note

from contracts import dispatch
from contracts.calls import Call, encode_call, parse_call
from contracts.errors import Inadmissible, Refusal
from contracts.execute import Executed
from contracts.seen import _key as seen_key
from ledger import merkle
from ledger.digest import StateDigest
from ledger.entry import APPLIED, Entry
from ledger.errors import Malformed
from ledger.hashing import Hash
from ledger.heads import Head, Heads, first
from ledger.keys import Role, Signer
from ledger.transaction import Transaction, Unsigned, created_id, parse, sign
from ledger.validators import MemberId
from tests.contracts.machine.book import Held, Now, Verdict
from tests.contracts.machine.seats import Seats
from tests.contracts.world import World, bytes32

T = TypeVar("T")


class Unfit(Exception):
    """Nothing is there with which this would make sense."""


class Draw:
    """Chance, and whether what it makes is to make sense.

    A step draws one number, and all its choices from that: so they are even, as those of
    Hypothesis are not, and a step is dropped whole when a failure is made shorter.
    """

    def __init__(self, seed: int) -> None:
        self.random, self.fits = Random(seed), True

    def one_of(self, among: Sequence[T]) -> T:
        return self.random.choice(among)

    def number(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def once_in(self, n: int) -> bool:
        return self.random.randrange(n) == 0

    def slips(self) -> bool:
        """Return whether this is to be wrong, though all else may be right."""
        return not self.fits or self.once_in(20)

    def target(self, good: Sequence[T], every: Sequence[T]) -> T:
        """Return one with which a call makes sense, or any."""
        among = every if self.slips() else good
        if not among:
            raise Unfit
        return self.one_of(among)

    def value(self, good: T, *bad: T) -> T:
        """Return what makes sense, or perhaps what does not."""
        return self.one_of((good, *bad)) if self.slips() else good


@dataclass(frozen=True)
class Intent:
    """A call that somebody might make."""

    sender: bytes
    call: Call
    by_person: bool = False


@dataclass
class Tally:
    """What a campaign has seen."""

    steps: int = 0
    blocks: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # by call
    refusals: Counter[str] = field(default_factory=Counter)  # by reason
    inadmissible: Counter[str] = field(default_factory=Counter)


def words(name: str) -> str:
    """Return the name of a call's class as that of a method: ClaimSubmit, claim_submit."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Stage:
    """A chain, its model, and what was sent so far."""

    tally: ClassVar[Tally] = Tally()

    def __init__(self, world: World, model: Seats, signers: dict[bytes, Signer]) -> None:
        self.world, self.model, self.signers = world, model, signers
        self.sent: list[Transaction] = []
        self.leaves: list[Hash] = []
        self.heads: dict[MemberId, Head] = {}
        self.made: Counter[str] = Counter()  # what made sense, by kind
        self.is_whole = True  # no block is half-way, as after something that failed
        self.serial = 0

    def fresh(self) -> bytes:
        """Return 32 bytes that were nowhere yet."""
        self.serial += 1
        return bytes32(f"serial {self.serial}")

    def sign(
        self,
        sender: bytes,
        key: Held,
        calls: Sequence[Call | bytes],
        *,
        valid_until: int,
        chain_id: bytes | None = None,
    ) -> Transaction:
        raw = tuple(each if isinstance(each, bytes) else encode_call(each) for each in calls)
        nonce = self.fresh()[:16]
        chain = chain_id or self.model.chain_id
        body = Unsigned(1, chain, sender, key.id, valid_until, nonce, raw)
        return sign(body, self.signers[key.public])

    def send(self, *transactions: Transaction, after: int = 1) -> Executed:
        """Make a block of these, and compare what becomes of them with the model."""
        model, height = self.model, self.model.height + 1
        self.is_whole = False
        model.begin(height, model.time + after)
        executed = self.world.execute(transactions, after=after, skip_invalid=True)
        assert executed.header.version == model.version_at(height)
        note(
            (
                height,
                model.time,
                [(each.body.sender.hex(), calls_of(each)) for each in transactions],
            )
        )
        entries = list(zip(executed.entries, executed.concerned, strict=True))
        skipped = list(executed.skipped)
        for each in transactions:
            calls = calls_of(each)
            why = model.may_not_be_included(each, calls)
            if why:
                self._skip(each, why, skipped)
                continue
            model.seen[each.id] = each.body.valid_until
            self.sent.append(each)
            for position, call in enumerate(calls or ()):
                self._enter(each, position, call, *entries.pop(0))
        assert not entries
        assert not skipped
        self._refused_changes_nothing(executed, after)
        model.end()
        self.world.state.apply(executed.changes)
        self.world.chain = executed.chain(self.world.state)
        model.blocks[height] = executed.header.hash
        for entry, concerned in zip(executed.entries, executed.concerned, strict=True):
            assert dispatch.concerned(self.world.state, entry) == concerned
        self.tally.blocks += 1
        self.is_whole = True
        return executed

    def _skip(
        self,
        sent: Transaction,
        why: set[type[Inadmissible]],
        skipped: list[tuple[Transaction, Inadmissible]],
    ) -> None:
        assert skipped, f"included, though {why}"
        left_out, error = skipped.pop(0)
        assert left_out == sent
        assert type(error) in why, f"{error!r} where {why}"
        self.tally.inadmissible[type(error).__name__] += 1

    def _enter(
        self,
        sent: Transaction,
        position: int,
        call: Call,
        entry: Entry,
        concerned: tuple[MemberId, ...],
    ) -> None:
        """Compare an entry with what the model says of its call, and let the model follow."""
        body, model = sent.body, self.model
        assert (entry.transaction, entry.position) == (sent.id, position)
        assert (entry.sender, entry.call) == (body.sender, body.calls[position])
        assert (entry.height, entry.time) == (model.height, model.time)
        owner = model.owner(body.key_id)
        held = owner.key(body.key_id) if owner else None
        now = Now(
            model.height,
            model.time,
            body.sender,
            body.key_id,
            held is not None and held.role is Role.HUMAN,
            created_id(sent.id, position),
        )
        name = type(call).__name__
        verdict: Verdict = getattr(model, words(name))(now, call)
        code = entry.outcome.code
        if verdict.why:
            assert code != APPLIED, f"{call} was made, though {verdict.why}"
            refusal = Refusal(code)
            assert refusal in verdict.why, f"{call}: {refusal!r} where {verdict.why}"
            evidence = verdict.why[refusal]
            assert evidence is None or entry.outcome.evidence == evidence, (call, entry, evidence)
            assert refusal.text  # a person is told, too
            assert concerned == (body.sender,)
            self.tally.refused[name] += 1
            self.tally.refusals[refusal.name] += 1
        else:
            assert code == APPLIED, f"{call}: {Refusal(code)!r}, though nothing is against it"
            verdict.then()
            assert len(set(concerned)) == len(concerned)
            assert concerned[0] == body.sender
            assert set(concerned) == {body.sender} | verdict.also
            self.tally.applied[name] += 1
        leaf = entry.leaf()
        self.leaves.append(leaf)
        for member in {MemberId(body.sender), *concerned}:
            before = self.heads.get(member)
            self.heads[member] = first(leaf) if before is None else before.extend(leaf)

    def _refused_changes_nothing(self, executed: Executed, after: int) -> None:
        """Require that a block in which all is refused changes what an empty one does."""
        if not executed.entries or any(each.code == APPLIED for each in executed.outcomes):
            return
        empty = self.world.execute((), after=after)
        seen = {seen_key(parse(raw)) for raw in executed.body.transactions}
        kept = {key: value for key, value in executed.changes.items() if key not in seen}
        assert kept == empty.changes

    def finish(self) -> None:
        """Require that the last header has the roots of the whole state and of all entries."""
        header = self.world.chain.header
        state = StateDigest().updated((), self.world.state.pairs.items())
        assert header.state_digest == state.hash
        assert header.heads_root == Heads(self.heads).root
        assert header.log_root == merkle.root_of_leaves(self.leaves)
        assert header.log_size == len(self.leaves)


def calls_of(sent: Transaction) -> tuple[Call, ...] | None:
    """Return the calls in a transaction, None where one is no call."""
    try:
        return tuple(parse_call(data) for data in sent.body.calls)
    except Malformed:
        return None
