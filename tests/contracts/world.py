"""A small network to try the rules on: seeds, a genesis, a chain in memory."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from contracts import batch, calls, eras, governance, marks
from contracts.beginning import start
from contracts.calls import (
    Call,
    ClaimSubmit,
    Direction,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
    Propose,
    SettlementAdd,
    SettlementAnnounce,
    SettlementOpen,
    Subject,
    Vote,
)
from contracts.commitment import Opening, blinding_from, lock_of, mark_of
from contracts.execute import ChainState, DirectSignatures, Executed, execute
from contracts.genesis import Founder, Genesis, MemberKey
from contracts.parameters import Parameters
from contracts.registry import Family
from contracts.state import Overlay
from ledger.block import Accusation, Body
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import NotEvidence
from ledger.hashing import Hash
from ledger.keys import Algorithm, Role, Signer, SigningKey, key_id
from ledger.transaction import Transaction, Unsigned, created_id, sign
from ledger.validators import MemberId, Validator, ValidatorSet

TIME: Final = 1_790_000_000
VALIDATOR_ROLES: Final = (Role.TRANSACTION, Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
FAMILIES: Final = {
    "federation": Family.OPTICIAN,
    "operator": Family.OPERATOR,
    "insurer": Family.INSURER,
    "mutual": Family.INSURER,
    "shop": Family.OPTICIAN,
    "rival": Family.OPTICIAN,
    "auditor": Family.AUDITOR,
    "doctor": Family.PRESCRIBER,
}
PEOPLE: Final = {"insurer": ("anne", "bruno")}  # who have a key of their own at a member
VALIDATORS: Final = ("federation", "operator", "insurer", "mutual")


class Memory:
    """A state in memory."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.pairs.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        ordered = sorted(self.pairs)
        first = bisect_left(ordered, prefix)
        found = [key for key in ordered[first : first + limit] if key.startswith(prefix)]
        return [(key, self.pairs[key]) for key in found]

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                del self.pairs[key]  # a removal of what is not there is a fault
            else:
                self.pairs[key] = value


def judge(
    data: bytes, _chain_id: bytes, validators_at: Callable[[int], ValidatorSet | None]
) -> Accusation:
    """Judge what stands for evidence here: "height/validator/deed", or raise `NotEvidence`.

    Contracts never see what evidence is; what they do with a verdict is tried with this one.
    """
    height, index, _deed = data.split(b"/")
    validators = validators_at(int(height))
    if validators is None or int(index) >= len(validators):
        raise NotEvidence("of nobody")
    member = validators.members[int(index)].member
    return Accusation(member, int(height), sha256(data).digest())


def key_of(name: str, role: Role = Role.TRANSACTION) -> SigningKey:
    return SigningKey(sha256(f"{name}/{role.name}".encode()).digest())


def id_of(name: str) -> MemberId:
    found = next(member for member in genesis().members if member.label == name)
    return found.id


def founder(name: str) -> Founder:
    roles = VALIDATOR_ROLES if name in VALIDATORS else (Role.TRANSACTION,)
    keys = [(role, key_of(name, role)) for role in roles]
    keys += [(Role.HUMAN, key_of(person, Role.HUMAN)) for person in PEOPLE.get(name, ())]
    members = tuple(MemberKey(role, Algorithm.ED25519, key.public) for role, key in keys)
    return Founder(name.encode(), FAMILIES[name], b"FR", members)


def genesis(parameters: Parameters | None = None) -> Genesis:
    names = tuple(FAMILIES)
    return Genesis(
        version=1,
        network=b"test",
        time=TIME,
        parameters=parameters or Parameters(),
        members=tuple(founder(name) for name in names),
        validators=tuple(names.index(name) for name in VALIDATORS),
    )


def opening(amount: int, name: str) -> Opening:
    uniform = sha256(name.encode()).digest() + sha256(name.encode()[::-1]).digest()
    return Opening(amount, blinding_from(uniform))


def bytes32(name: str) -> bytes:
    return sha256(name.encode()).digest()


@dataclass
class World:
    """A chain that grows by the blocks one gives it."""

    parameters: Parameters = field(default_factory=Parameters)

    def __post_init__(self) -> None:
        beginning = start(genesis(self.parameters))
        self.state = Memory()
        self.state.apply(beginning.changes)
        self.chain: ChainState = beginning.chain(self.state)
        self.nonce = 0
        self.ids = {name: id_of(name) for name in FAMILIES}

    @property
    def chain_id(self) -> bytes:
        return self.chain.header.chain_id

    def transaction(
        self,
        sender: str,
        *sent: Call,
        valid_for: int = 3600,
        nonce: bytes | None = None,
        key: Signer | None = None,
        role: Role = Role.TRANSACTION,
    ) -> Transaction:
        self.nonce += 1
        member = sender
        for each, people in PEOPLE.items():
            if sender in people:  # who signs for the member, with a key of his own
                member, role = each, Role.HUMAN
        key = key or key_of(sender, role)
        body = Unsigned(
            1,
            self.chain_id,
            self.ids[member],
            key_id(role, key.algorithm, key.public),
            self.chain.header.time + valid_for,
            nonce or self.nonce.to_bytes(16),
            tuple(calls.encode_call(call) for call in sent),
        )
        return sign(body, key)

    def execute(
        self,
        transactions: Sequence[Transaction],
        *,
        after: int = 1,
        skip_invalid: bool = False,
        evidence: Sequence[bytes] = (),
    ) -> Executed:
        body = Body(None, tuple(evidence), tuple(transaction.raw for transaction in transactions))
        return execute(
            self.chain,
            body,
            time=self.chain.header.time + after,
            proposer=self.ids["federation"],
            built_round=0,
            signatures=DirectSignatures(),
            judge=judge,
            skip_invalid=skip_invalid,
        )

    def block(
        self, *transactions: Transaction, after: int = 1, evidence: Sequence[bytes] = ()
    ) -> Executed:
        executed = self.execute(transactions, after=after, evidence=evidence)
        self.state.apply(executed.changes)
        self.chain = executed.chain(self.state)
        return executed

    @property
    def height(self) -> int:
        """The height of the next block."""
        return self.chain.header.height + 1

    def call(self, sender: str, call: Call, *, after: int = 1, key: Signer | None = None) -> int:
        """Put one call into a block of its own; return the code of its outcome."""
        transaction = self.transaction(sender, call, key=key, valid_for=after + 600)
        return self.block(transaction, after=after).outcomes[0].code

    def let_validate(self, *names: str) -> None:
        """Let these members run the validators from the next block on, by no vote at all."""
        state = Overlay(self.state)
        voters = tuple(
            Validator(self.ids[name], *(key_of(name, role).public for role in VALIDATOR_ROLES[1:]))
            for name in names
        )
        eras.begin(state, self.chain.header.height + 1, ValidatorSet(voters))
        self.state.apply(state.changes)
        self.block()

    def make(self, sender: str, call: Call, *, after: int = 1) -> Outcome:
        """Put one call into a block of its own; return its outcome."""
        sent = self.transaction(sender, call, valid_for=after + 600)
        return self.block(sent, after=after).outcomes[0]

    def proposing(self, subject: Subject, *, effect: int | None = None, days: int = 7) -> Propose:
        """Return the call that proposes a change, which is in force as soon as it may be."""
        soon = self.chain.header.height + 8 + self.parameters.notice_blocks
        return Propose(subject, self.chain.header.time + days * 86_400, effect or soon)

    def propose(self, subject: Subject, sender: str = VALIDATORS[0], **how: int) -> Hash:
        """Propose a change; return the proposal's id."""
        sent = self.transaction(sender, self.proposing(subject, **how))
        assert self.block(sent).outcomes == (Outcome(0),)
        return created_id(sent.id, 0)

    def passed(self, subject: Subject, *, effect: int = 1, days: int = 2) -> bytes:
        """Return a proposal that passed, by no vote at all."""
        self.nonce += 1
        id_, height = bytes32(f"proposal {self.nonce}"), self.chain.header.height
        made = governance.Proposal(
            self.nonce,
            self.ids["operator"],
            subject,
            self.chain.header.time + days * 86_400,
            effect,
            max(height, 1),
            self.chain.header.time,
            governance.State.PASSED,
        )
        self.state.pairs[b"w" + id_] = encode(made)
        return id_

    def vote(self, proposal: bytes, *names: str, agrees: bool = True) -> Outcome:
        """Let members vote, each in a block of its own; return the last outcome."""
        outcomes = [self.make(name, Vote(proposal, agrees)) for name in names]
        return outcomes[-1]

    def reach(self, height: int) -> None:
        """Make empty blocks until the one below `height`, where what is due is carried out."""
        while self.chain.header.height < height - 1:
            self.block()

    def enact(self, subject: Subject) -> Hash:
        """Let everyone who must agree to a change, and make it; return the proposal."""
        return self.enact_by(subject, *VALIDATORS[:3])

    def enact_by(self, subject: Subject, *names: str) -> Hash:
        """Let these members, whose votes are enough, make a change; return the proposal."""
        id_ = self.propose(subject)
        self.vote(id_, *names)
        self.reach(governance._known(governance.load(self.state, id_)).effect)
        return id_

    def prescribe(self, shop: str, name: str) -> bytes:
        """Commit a prescription; return its commitment."""
        commitment = bytes32(name)
        assert self.call(shop, PrescriptionCommit(commitment)) == 0
        return commitment

    def lock(self, shop: str, *marks: Mark) -> None:
        locks = [MarkLock(lock_of(self.chain_id, self.ids[shop], mark.mark)) for mark in marks]
        executed = self.block(self.transaction(shop, *locks))
        assert all(outcome.code == 0 for outcome in executed.outcomes)

    def holder(self, mark: bytes) -> bytes | None:
        """Return the id of what uses this mark now."""
        return marks.holder(self.state, mark, self.chain.header.time)

    def submission(self, name: str, *, payer: str = "insurer", amount: int = 10_000) -> ClaimSubmit:
        """Return the call of a claim named `name`; nothing is committed or locked yet."""
        return ClaimSubmit(
            self.ids[payer],
            Leg.COMPLEMENTARY,
            bytes32(name),
            bytes32("document of " + name),
            opening(amount, name).commitment(),
            (mark(name),),
            None,
            None,
        )

    def submit(self, name: str, *, shop: str = "shop", payer: str = "insurer") -> Hash:
        """Bring a claim into the chain; return its id."""
        self.prescribe(shop, name)
        self.lock(shop, mark(name))
        transaction = self.transaction(shop, self.submission(name, payer=payer))
        executed = self.block(transaction)
        assert executed.outcomes[0].code == 0
        return created_id(transaction.id, 0)

    def settle(
        self,
        *claims: bytes,
        shop: str = "shop",
        payer: str = "insurer",
        direction: Direction = Direction.PAYMENT,
    ) -> Hash:
        """Bring claims into a settlement that is announced; return its id."""
        transaction = self.transaction(payer, SettlementOpen(self.ids[shop], direction))
        assert self.block(transaction).outcomes[0].code == 0
        id_ = created_id(transaction.id, 0)
        assert self.call(payer, SettlementAdd(id_, claims), after=0) == 0
        found = batch.load(self.state, id_)
        assert found is not None
        assert self.call(payer, SettlementAnnounce(id_, found.sum, None), after=0) == 0
        return id_


def mark(name: str, part: Part = Part.LENSES) -> Mark:
    return Mark(part, mark_of(bytes32("secret of " + name), Leg.COMPLEMENTARY, part, 0))
