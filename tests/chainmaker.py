"""Make small real chains in process: real keys, real execution, real certificates.

Everything follows from the labels, so the same calls make the same bytes. `Chain.block` executes
and commits a block; `story` makes a chain in which calls are applied, and some refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec

from consensus.evidence import BadProposal, contradiction, judge
from consensus.messages import (
    UNPREPARED,
    BareProposal,
    Commit,
    Justification,
    Prepare,
    RoundChange,
    justification_hash,
    signing_bytes,
)
from contracts import eras
from contracts.beginning import start
from contracts.calls import (
    AdmitMember,
    Call,
    Change,
    ClaimAbandon,
    ClaimAccept,
    ClaimReject,
    ClaimSubmit,
    Direction,
    Ground,
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    Leg,
    Mark,
    MarkLock,
    NewKey,
    Part,
    Possession,
    PrescriptionCommit,
    Propose,
    Reason,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    Replacing,
    Rotating,
    ScheduleVersion,
    SetParameters,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
    Subject,
    SuspendMember,
    ValidatorJoin,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Vote,
    Withdraw,
    encode_call,
)
from contracts.commitment import blinding_from, commit, lock_of, mark_of, sum_points
from contracts.execute import ChainState, DirectSignatures, Executed, execute
from contracts.genesis import Founder, Genesis, MemberKey, SignedGenesis, assemble, sign
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family
from ledger import transaction as transactions
from ledger.block import Block, Body, CommittedBlock
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.hashing import NO_HASH, Hash
from ledger.keys import Algorithm, P256SigningKey, Role, Signer, SigningKey, key_id
from ledger.transaction import Transaction, Unsigned, created_id
from ledger.validators import MemberId, ValidatorSet, quorum
from node.audit.records import MAGIC, frame
from node.audit.state import Memory
from tests.changes import Keys, prove, public

T = TypeVar("T")
StatementT = TypeVar("StatementT", Commit, Prepare, RoundChange, BareProposal)

TIME = 1_800_000_000  # of genesis
VALIDATORS = (
    ("federation", Family.OPTICIAN),
    ("operator", Family.OPERATOR),
    ("insurer-a", Family.INSURER),
    ("insurer-b", Family.INSURER),
)
SHOPS = (("shop-a", Family.OPTICIAN), ("shop-b", Family.OPTICIAN))
_ROLES = (Role.TRANSACTION, Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)


def some_bytes(*name: object) -> bytes:
    """Return 32 bytes that stand for something random, always the same for one name."""
    return sha256("/".join(map(str, name)).encode()).digest()


def key_of(label: str, role: Role) -> SigningKey:
    """Return a member's key."""
    return SigningKey(some_bytes("key", label, role.name))


def member_of(label: str) -> MemberId:
    """Return a member's id."""
    return founder(label, Family.OPTICIAN, (Role.TRANSACTION,)).id


def founder(label: str, family: Family, roles: Sequence[Role]) -> Founder:
    """Return a member of the genesis with one key for each role."""
    keys = tuple(MemberKey(role, Algorithm.ED25519, key_of(label, role).public) for role in roles)
    return Founder(label.encode(), family, b"FR", keys)


def found(
    validators: Sequence[tuple[str, Family]] = VALIDATORS,
    others: Sequence[tuple[str, Family]] = SHOPS,
    parameters: Parameters | None = None,
    people: Sequence[str] = (),
) -> SignedGenesis:
    """Return a genesis that every validator signed; a person has a key of some of them."""
    members = [
        founder(label, family, (*_ROLES, Role.HUMAN) if label in people else _ROLES)
        for label, family in validators
    ]
    members += [founder(label, family, (Role.TRANSACTION,)) for label, family in others]
    genesis = Genesis(
        1,
        b"example",
        TIME,
        parameters or Parameters(),
        tuple(members),
        tuple(range(len(validators))),
    )
    return assemble(
        genesis, [sign(genesis, key_of(label, Role.CONSENSUS)) for label, _ in validators]
    )


@dataclass
class Chain:
    """A chain that grows by blocks of the transactions that a test wants."""

    genesis: SignedGenesis = field(default_factory=found)
    blocks: list[CommittedBlock] = field(default_factory=list)
    executed: list[Executed] = field(default_factory=list)

    def __post_init__(self) -> None:
        beginning = start(self.genesis.genesis)
        self.memory = Memory()
        self.memory.apply(beginning.changes)
        self.state: ChainState = beginning.chain(self.memory)
        self.labels = [
            self.genesis.genesis.members[index].label for index in self.genesis.genesis.validators
        ]
        self.beginning = beginning.header
        self.voting: dict[bytes, SigningKey] = {  # by public key
            key.public: key for key in (key_of(label, Role.CONSENSUS) for label in self.labels)
        }
        self.transactions: list[Transaction] = []
        self.voted: dict[Subject, bytes] = {}  # the proposal of each change that passed

    @property
    def chain_id(self) -> Hash:
        """The chain's id."""
        return self.genesis.chain_id

    def transaction(
        self,
        sender: str,
        *calls: Call,
        valid_for: int = 3600,
        key: Signer | None = None,
        role: Role = Role.TRANSACTION,
        **changed: object,
    ) -> Transaction:
        """Return calls signed by a member; `changed` replaces fields before signing."""
        key = key or key_of(sender, role)
        fields: dict[str, object] = {
            "version": 1,
            "chain_id": self.chain_id,
            "sender": member_of(sender),
            "key_id": key_id(role, key.algorithm, key.public),
            "valid_until": self.state.header.time + valid_for,
            "nonce": some_bytes("nonce", len(self.transactions))[:16],
            "calls": tuple(encode_call(call) for call in calls),
        }
        self.transactions.append(transactions.sign(Unsigned(**(fields | changed)), key))  # type: ignore[arg-type]
        return self.transactions[-1]

    def block(
        self,
        *batch: Transaction,
        evidence: Sequence[bytes] = (),
        seconds: int = 1,
        built_round: int = 0,
        committed_in: int = 0,
    ) -> CommittedBlock:
        """Execute and commit a block of these transactions, `seconds` after the last one."""
        last = self.blocks[-1].certificate if self.blocks else None
        height = self.state.header.height + 1
        leader = self.state.turns.leader(len(self.state.validators), height, built_round)
        executed = execute(
            self.state,
            Body(last, tuple(evidence), tuple(one.raw for one in batch)),
            time=self.state.header.time + seconds,
            proposer=self.state.validators.members[leader].member,
            built_round=built_round,
            signatures=DirectSignatures(),
            judge=judge,
        )
        certificate = self.certify(height, executed.header.hash, committed_in)
        block = Block(executed.header, executed.body)
        self.blocks.append(CommittedBlock(block, certificate, executed.outcomes))
        self.executed.append(executed)
        self.memory.apply(executed.changes)
        self.state = executed.chain(self.memory)
        return self.blocks[-1]

    def certify(
        self,
        height: int,
        block_id: bytes,
        round_: int = 0,
        signers: Sequence[int] | None = None,
    ) -> CommitCertificate:
        """Return the certificate by a quorum, or by these validators, whatever they sign."""
        validators = self.validators_at(height)
        message = vote_signing_bytes(KIND_COMMIT, self.chain_id, height, round_, block_id)
        seals = tuple(
            Seal(index, self.voting[validators.members[index].consensus_key].sign(message))
            for index in (range(validators.quorum) if signers is None else signers)
        )
        return CommitCertificate(height, round_, Hash(block_id), seals)

    def double_vote(self, signer: int, height: int = 1, *, round_: int = 0) -> bytes:
        """Return evidence: a validator committed two blocks in one round."""
        pair = []
        for block_id in (some_bytes("a block"), some_bytes("another block")):
            vote = Commit(height, round_, block_id, signer, bytes(64))
            pair.append(self.signed(vote))
        found = contradiction(*pair)
        assert found is not None
        return encode(found)

    def bad_proposal(self, signer: int, height: int, why: Justification | None) -> bytes:
        """Return evidence: a validator proposed a block of before in round 1, with this reason."""
        header = self.blocks[height - 1].block.header
        hashes = (some_bytes("an outline"), justification_hash(why))
        bare = self.signed(BareProposal(height, 1, header.hash, *hashes, signer, bytes(64)))
        return encode(BadProposal(header, 1, hashes[0], why, signer, bare.signature))

    def signed(self, said: StatementT) -> StatementT:
        """Return a statement signed by the validator that it names."""
        voter = self.validators_at(said.height).members[said.signer]
        signature = self.voting[voter.consensus_key].sign(signing_bytes(said, self.chain_id))
        return msgspec.structs.replace(said, signature=signature)

    def validators_at(self, height: int) -> ValidatorSet:
        """Return who votes at a height, up to two above the last block's."""
        return eras.validators_at(self.memory, height)

    def joining(self, label: str) -> ValidatorJoin:
        """Return the call by which a member becomes a validator, proved; `agree` has voted it."""
        keys, member = self.seat(label), member_of(label)
        change = Joining(member, public(keys), self.voted[JoinValidators(member)])
        return ValidatorJoin(change, self._possession(change, keys))

    def leaving(self, label: str) -> ValidatorLeave:
        """Return the call by which a validator leaves, voted."""
        member = member_of(label)
        return ValidatorLeave(Leaving(member, self.voted[LeaveValidators(member)]))

    def replacing(self, old: str, label: str) -> ValidatorReplace:
        """Return the call by which a member takes a validator's place, voted and proved."""
        keys, leaving, member = self.seat(label), member_of(old), member_of(label)
        voted = self.voted[ReplaceValidator(leaving, member)]
        change = Replacing(leaving, member, public(keys), voted)
        return ValidatorReplace(change, self._possession(change, keys))

    def rotating(self, label: str) -> ValidatorRotate:
        """Return the call by which a member changes its validator's keys, proved."""
        keys = self.seat(label)
        change = Rotating(member_of(label), public(keys))
        return ValidatorRotate(change, self._possession(change, keys))

    def proposing(self, subject: Subject, *, effect: int = 0) -> Propose:
        """Return the call that proposes a change, `effect` blocks ahead or as soon as it may."""
        height = self.state.header.height + 1
        effect = height + (effect or self.state.parameters.notice_blocks + len(self.labels))
        return Propose(subject, self.state.header.time + 86_400, effect)

    def propose(self, label: str, subject: Subject, *, effect: int = 0) -> Hash:
        """Let a member propose a change, in a block of its own; return the proposal."""
        sent = self.transaction(label, self.proposing(subject, effect=effect))
        assert self.block(sent).outcomes == (Outcome(0),)
        return created_id(sent.id, 0)

    def agree(self, *subjects: Subject, beside: Sequence[Transaction] = ()) -> None:
        """Let the validators vote changes in two blocks; they may be made from the fourth on."""
        until, height = self.state.header.time + 30 * 86_400, self.state.header.height + 4
        sent = [
            self.transaction(label, *(Propose(each, until, height) for each in few))
            for label, few in zip(self.labels, batched(subjects, 8), strict=False)
        ]
        self.block(*sent, *beside)
        made = [created_id(one.id, index) for one in sent for index in range(len(one.body.calls))]
        self.voted |= dict(zip(subjects, made, strict=True))
        votes = [Vote(each, agrees=True) for each in made]
        needed = quorum(len(self.labels))
        self.block(*(self.transaction(label, *votes) for label in self.labels[:needed]))

    def enact(self, *subjects: Subject, beside: Sequence[Transaction] = ()) -> None:
        """Let the validators agree to changes of one height, and go on until they are made.

        What stands `beside` the last vote is in its block.
        """
        label = self.labels[0]
        height = self.state.header.height + self.state.parameters.notice_blocks + 5
        until = self.state.header.time + 86_400
        sent = self.transaction(label, *(Propose(each, until, height) for each in subjects))
        self.block(sent)
        votes = [Vote(created_id(sent.id, index), agrees=True) for index in range(len(subjects))]
        *voters, last = self.labels[:-1]
        for voter in voters:
            self.block(self.transaction(voter, *votes))
        self.block(self.transaction(last, *votes), *beside)
        while self.state.header.height < height - 1:
            self.block(built_round=1)

    def seat(self, label: str) -> Keys:
        """Return new keys for a validator; whoever has them can vote for it."""
        name = f"{label}/{len(self.voting)}"
        roles = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
        consensus, checkpoint, node = (key_of(name, role) for role in roles)
        self.voting[consensus.public] = consensus
        return consensus, checkpoint, node

    def _possession(self, change: Change, keys: Keys) -> Possession:
        header = self.state.header
        return prove(self.chain_id, change, header.height, header.hash, keys)

    def export(self, path: Path) -> Path:
        """Write the chain as an export."""
        path.write_bytes(export_of(self.genesis, self.blocks))
        return path


def chain_of(genesis: SignedGenesis, blocks: Sequence[CommittedBlock]) -> Chain:
    """Return a chain that has these blocks, and may go on from there."""
    chain = Chain(genesis)
    for committed in blocks:
        header = committed.block.header
        executed = execute(
            chain.state,
            committed.block.body,
            time=header.time,
            proposer=header.proposer,
            built_round=header.built_round,
            signatures=DirectSignatures(),
            judge=judge,
        )
        executed.verify_header(header)
        chain.blocks.append(committed)
        chain.executed.append(executed)
        chain.memory.apply(executed.changes)
        chain.state = executed.chain(chain.memory)
    return chain


def export_of(genesis: SignedGenesis, blocks: Sequence[CommittedBlock]) -> bytes:
    """Return the bytes of an export, true or not."""
    records = [encode(genesis), *(encode(block) for block in blocks)]
    return MAGIC + b"".join(frame(record) for record in records)


def batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return items in groups of at most so many."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def amount_of(name: str, cents: int) -> bytes:
    """Return a commitment to an amount."""
    return commit(cents, blinding_from(some_bytes(name, 1) + some_bytes(name, 2)))


def claim_of(chain: Chain, sender: str, payer: str, name: str) -> tuple[list[Call], ClaimSubmit]:
    """Return what comes before a claim, in an earlier block, and the claim."""
    secret, prescription = some_bytes("secret", name), some_bytes("prescription", name)
    marks = tuple(
        Mark(part, mark_of(secret, Leg.COMPLEMENTARY, part, 0))
        for part in (Part.LENSES, Part.FRAME)
    )
    locks = [MarkLock(lock_of(chain.chain_id, member_of(sender), each.mark)) for each in marks]
    claim = ClaimSubmit(
        member_of(payer),
        Leg.COMPLEMENTARY,
        prescription,
        some_bytes("document", name),
        amount_of(name, 12_345),
        marks,
        None,
        None,
    )
    return [PrescriptionCommit(prescription), *locks], claim


def story(chain: Chain | None = None) -> Chain:
    """Return a chain of eight blocks with many kinds of calls, and some that are refused."""
    chain = chain or Chain()
    names = ("one", "two", "three", "four")
    prepared = [claim_of(chain, "shop-a", "insurer-a", name) for name in names]
    chain.block(*(chain.transaction("shop-a", *before) for before, _ in prepared[:2]))
    late = chain.transaction("shop-a", *prepared[3][0], prepared[3][1])  # locked in this very block
    chain.block(
        chain.transaction("shop-a", *prepared[2][0]),
        late,
        chain.transaction("shop-b", *prepared[0][0]),
    )
    lot = chain.transaction("shop-a", *(claim for _, claim in prepared[:3]))
    chain.block(lot, seconds=0)
    one, two, three = (created_id(lot.id, position) for position in range(3))
    chain.block(
        chain.transaction("insurer-a", ClaimAccept(one, None)),
        chain.transaction("insurer-a", ClaimAccept(two, amount_of("part", 10_000))),
        chain.transaction("insurer-b", ClaimAccept(three, None)),  # not its claim
        chain.transaction("insurer-a", ClaimReject(three, Reason.RIGHTS_CLOSED, automatic=True)),
        built_round=2,
        committed_in=3,
    )
    opened = chain.transaction("insurer-a", SettlementOpen(member_of("shop-a"), Direction.PAYMENT))
    settlement = created_id(opened.id, 0)
    filled = chain.transaction(
        "insurer-a",
        SettlementAdd(settlement, (one, two)),
        SettlementRemove(settlement, (two,)),
        SettlementAdd(settlement, (two, three)),  # that one was rejected
        SettlementAdd(settlement, (two,)),
        SettlementAnnounce(
            settlement,
            sum_points((amount_of("one", 12_345), amount_of("part", 10_000))),
            some_bytes("payment"),
        ),
    )
    chain.block(opened, filled, chain.transaction("shop-b", prepared[0][1]), seconds=2)
    chain.block(built_round=1)  # work that vanished: an empty block after a round change
    given_up = chain.transaction(
        "insurer-a", SettlementOpen(member_of("shop-b"), Direction.REPAYMENT)
    )
    chain.block(
        chain.transaction("shop-a", SettlementDispute(settlement, Ground.PAYMENT_NOT_FOUND)),
        chain.transaction("insurer-a", SettlementInsist(settlement)),
        chain.transaction(
            "shop-a",
            SettlementWithdraw(settlement),
            SettlementConfirm(settlement),
            ClaimAbandon(three),
        ),
        given_up,
        chain.transaction("insurer-a", SettlementCancel(created_id(given_up.id, 0))),
    )
    again = chain.transaction("shop-a", SettlementConfirm(settlement), valid_for=86_400)
    chain.block(again, seconds=86_400)  # ids of the blocks before are forgotten
    return chain


def deliberation() -> Chain:
    """Return a chain whose validators vote: on members, keys, a table, parameters, a version."""
    chain = Chain()
    shop, rival = member_of("shop-a"), member_of("shop-b")
    key = NewKey(Algorithm.P256, P256SigningKey(some_bytes("another key")).public)
    admit = AdmitMember(
        Family.OPTICIAN,
        b"BE",
        NewKey(Algorithm.ED25519, key_of("shop-c", Role.TRANSACTION).public),
        SigningKey(some_bytes("seals")).public,
        None,
    )
    chain.enact(admit, SuspendMember(shop))
    chain.block(chain.transaction("shop-c", PrescriptionCommit(some_bytes("by a newcomer"))))
    table = ReplaceTable(TableKind.OPTICS_CODES, some_bytes("a table"))
    chain.enact(ReinstateMember(shop), RekeyMember(rival, key), table)
    chain.block(
        chain.transaction("shop-a", PrescriptionCommit(some_bytes("again"))),
        chain.transaction(
            "shop-b",
            PrescriptionCommit(some_bytes("by another key")),
            key=P256SigningKey(some_bytes("another key")),
        ),
    )
    small = Parameters(max_block_transactions=2, notice_blocks=3)
    chain.enact(SetParameters(small), ScheduleVersion(2), ScheduleVersion(1), RemoveMember(rival))
    moot = chain.propose("operator", SuspendMember(shop), effect=12)
    remove = chain.propose("operator", RemoveMember(shop), effect=11)
    for label in ("federation", "operator", "insurer-b"):
        chain.block(chain.transaction(label, Vote(moot, agrees=True), Vote(remove, agrees=True)))
    lost = chain.propose("federation", table_of("another table"))
    taken = chain.propose("insurer-a", table_of("a third table"))
    for label in ("federation", "insurer-b"):
        chain.block(chain.transaction(label, Vote(lost, agrees=False)))
    chain.block(chain.transaction("insurer-a", Withdraw(taken), Vote(lost, agrees=True)))
    for _ in range(9):
        chain.block(built_round=1)
    return chain


def table_of(name: str) -> ReplaceTable:
    """Return the change to a table that is no real one."""
    return ReplaceTable(TableKind.OPTICS_CODES, some_bytes(name))


NEWCOMERS = (
    ("operator-b", Family.OPERATOR),
    ("auditor-a", Family.AUDITOR),
    ("prescriber-a", Family.PRESCRIBER),
)


def upheaval() -> Chain:
    """Return a chain whose validators join, leave, are replaced, change keys and are convicted."""
    chain = Chain(found(others=(*SHOPS, *NEWCOMERS), parameters=Parameters(notice_blocks=2)))
    label = member_of
    chain.agree(
        JoinValidators(label("operator-b")),
        JoinValidators(label("auditor-a")),
        LeaveValidators(label("operator")),
        LeaveValidators(label("federation")),
        ReplaceValidator(label("insurer-b"), label("prescriber-a")),
        ReplaceValidator(label("operator-b"), label("operator-b")),
        # What nobody makes; others try to, in `uprisings`.
        JoinValidators(label("insurer-b")),
        JoinValidators(label("operator")),
        LeaveValidators(label("shop-a")),
    )
    open_ = Propose(JoinValidators(label("shop-b")), chain.state.header.time + 86_400, 99)
    sent = chain.transaction("operator", open_)
    chain.voted[open_.subject] = created_id(sent.id, 0)
    chain.block(sent)

    def work() -> Transaction:
        name = f"work {len(chain.transactions)}"
        return chain.transaction("shop-a", PrescriptionCommit(some_bytes(name)))

    chain.block(work())
    chain.block(chain.transaction("operator-b", chain.joining("operator-b")))
    chain.block(evidence=[chain.double_vote(2), chain.double_vote(0, 2)])
    chain.block(work(), chain.transaction("insurer-a", chain.rotating("insurer-a")))
    chain.block(built_round=1)
    chain.block(
        chain.transaction("auditor-a", chain.joining("auditor-a")),
        chain.transaction("insurer-b", chain.rotating("insurer-b")),  # refused: in this very block
        chain.transaction("shop-b", chain.leaving("operator")),  # refused: it has no vote
    )
    chain.block(work())
    chain.block(chain.transaction("operator", chain.leaving("federation")), committed_in=1)
    # One that has other keys now, one that has come since, one that is about to go.
    chain.block(
        evidence=[chain.double_vote(2, 8), chain.double_vote(5, 11), chain.double_vote(0, 12)]
    )
    chain.block(chain.transaction("prescriber-a", chain.replacing("insurer-b", "prescriber-a")))
    unsigned = tuple(
        RoundChange(12, 1, UNPREPARED, NO_HASH, None, signer, bytes(64)) for signer in range(4)
    )
    chain.block(
        work(),
        evidence=[
            chain.bad_proposal(1, 8, None),
            chain.bad_proposal(3, 12, Justification(unsigned, None)),
        ],
    )
    chain.block(work(), built_round=2, committed_in=3)
    chain.block(chain.transaction("operator-b", chain.rotating("operator-b")), seconds=3_600)
    own = chain.replacing("operator-b", "operator-b")  # other keys again, as was voted
    chain.block(work(), chain.transaction("operator-b", own))
    chain.block(work())
    return chain
