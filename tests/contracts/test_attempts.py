"""Nobody changes members, keys, validators, tables, parameters or versions without a passed vote.

Each attempt is made at each kind of change; what is in force is compared before and after, and the
refusal is named. All the validators of one family together are among those who try.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import pytest

from contracts import agenda, ballot, governance, parameters, registry
from contracts.calls import (
    AdmitMember,
    DelegationGrant,
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    NewKey,
    Possession,
    PrescriptionCommit,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    Replacing,
    ScheduleVersion,
    Seating,
    SetParameters,
    Subject,
    SuspendMember,
    ValidatorJoin,
    ValidatorLeave,
    ValidatorReplace,
    Vote,
    encode_call,
)
from contracts.errors import (
    AlreadySeen,
    BeyondDelegation,
    Inadmissible,
    KeyNotForTransactions,
    MalformedCall,
    Refusal,
    SenderNotAdmitted,
    UnknownKey,
    WrongChain,
    WrongSignature,
)
from contracts.governance import SeatCall, State
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family
from contracts.state import Overlay
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import Mismatch
from ledger.keys import Algorithm, Role, SigningKey, key_id
from ledger.transaction import Transaction, created_id, parse, sign
from tests.changes import Keys, prove, public
from tests.contracts.world import World, bytes32, key_of

OPTICIANS: Final = ("federation", "shop", "rival")  # three of the five validators
FIVE: Final = (*OPTICIANS, "operator", "insurer")
EFFECT: Final = 40
# Keys in the state that say what is in force: parameters, members and keys, validators, tables and
# versions. The rest is proposals, votes, and what claims leave.
IN_FORCE: Final = b"gmkuivnfh"
NEW: Final = SigningKey(bytes32("a newcomer"))
NEW_KEY: Final = NewKey(Algorithm.ED25519, NEW.public)

KINDS: Final[dict[str, Callable[[World], Subject]]] = {
    "admit": lambda _: AdmitMember(Family.INSURER, b"DE", NEW_KEY, None, None),
    "suspend": lambda w: SuspendMember(w.ids["mutual"]),
    "reinstate": lambda w: ReinstateMember(w.ids["doctor"]),
    "remove": lambda w: RemoveMember(w.ids["mutual"]),
    "rekey": lambda w: RekeyMember(w.ids["insurer"], NEW_KEY),
    "join": lambda w: JoinValidators(w.ids["auditor"]),
    "leave": lambda w: LeaveValidators(w.ids["insurer"]),
    "replace": lambda w: ReplaceValidator(w.ids["insurer"], w.ids["auditor"]),
    "table": lambda _: ReplaceTable(TableKind.OPTICS_CODES, bytes32("other codes")),
    "parameters": lambda _: SetParameters(Parameters(max_block_transactions=1)),
    "version": lambda _: ScheduleVersion(2),
}


@dataclass
class Trial(World):
    """Five validators, three of them opticians; one member is suspended."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.let_validate(*FIVE)
        suspended = self.propose(SuspendMember(self.ids["doctor"]), effect=20)
        self.vote(suspended, "federation", "shop", "operator")
        self.reach(21)
        consensus, checkpoint, node = (SigningKey(bytes32(f"{n}")) for n in range(3))
        self.new: Keys = (consensus, checkpoint, node)

    def in_force(self) -> dict[bytes, bytes]:
        return {key: value for key, value in self.state.pairs.items() if key[0] in IN_FORCE}

    def proposed(self, subject: Subject) -> bytes:
        return self.propose(subject, effect=EFFECT)

    def seated(self, subject: Seating, proposal: bytes) -> tuple[str, SeatCall]:
        """Return the call that makes a change of seats, and who sends it."""
        keys = public(self.new)
        match subject:
            case JoinValidators(member):
                join = Joining(member, keys, proposal)
                return "auditor", ValidatorJoin(join, self.possession(join))
            case LeaveValidators(member):
                return "federation", ValidatorLeave(Leaving(member, proposal))
            case ReplaceValidator(leaving, member):
                swap = Replacing(leaving, member, keys, proposal)
                return "auditor", ValidatorReplace(swap, self.possession(swap))

    def possession(self, change: Joining | Replacing) -> Possession:
        header = self.chain.header
        return prove(self.chain_id, change, header.height, header.hash, self.new)

    def refuses(self, *sent: Transaction) -> type[Inadmissible]:
        """Return why no block may hold transactions."""
        with pytest.raises(Inadmissible) as error:
            self.execute(sent)
        return type(error.value)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[[World], Subject]:
    return KINDS[request.param]


def unchanged(world: Trial, subject: Subject, proposal: bytes) -> None:
    """Require that nothing is in force when the height has come, whoever tries to make it so."""
    before = world.in_force()
    world.reach(EFFECT)
    if isinstance(subject, Seating):
        sender, call = world.seated(subject, proposal)
        outcome = world.make(sender, call)
        assert outcome == Outcome(Refusal.PROPOSAL_IN_WRONG_STATE, (State.OPEN,))
    world.block()
    assert world.in_force() == before


def test_without_a_vote(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    unchanged(world, subject, world.proposed(subject))


def test_with_too_few_votes(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    world.vote(id_, "federation", "operator")
    unchanged(world, subject, id_)


def test_with_the_votes_of_one_family(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    outcome = world.vote(id_, *OPTICIANS)
    assert outcome.evidence[:2] == (State.OPEN, 3)  # which would be a majority
    unchanged(world, subject, id_)


def test_with_one_voter_again_and_again(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    world.vote(id_, "operator")
    for _ in range(3):
        assert world.vote(id_, "operator").code == Refusal.ALREADY_VOTED
    unchanged(world, subject, id_)


def test_by_members_who_do_not_govern(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    assert world.make("auditor", world.proposing(subject)).code == Refusal.NOT_GOVERNING
    id_ = world.proposed(subject)
    world.vote(id_, "federation", "operator")
    for name in ("mutual", "auditor"):
        assert world.vote(id_, name).code == Refusal.NOT_GOVERNING
    unchanged(world, subject, id_)


def test_by_a_suspended_member(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    vote = world.transaction("doctor", Vote(id_, agrees=True))
    propose = world.transaction("doctor", world.proposing(subject))
    assert world.refuses(vote) is world.refuses(propose) is SenderNotAdmitted
    unchanged(world, subject, id_)


def test_after_the_deadline(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    world.vote(id_, *OPTICIANS)
    late = Vote(id_, agrees=True)
    world.block(after=8 * 86_400)
    for name in ("operator", "insurer"):
        assert world.make(name, late).code == Refusal.TOO_LATE
    before = world.in_force()
    world.reach(EFFECT + 1)
    assert world.in_force() == before


def test_without_notice(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    soon = world.proposing(subject, effect=world.chain.header.height + 2)
    assert world.make("operator", soon).code == Refusal.EFFECT_TOO_NEAR
    id_ = world.proposed(subject)
    world.vote(id_, *OPTICIANS)
    world.reach(EFFECT - 9)
    for name in ("operator", "insurer"):
        assert world.vote(id_, name).code == Refusal.EFFECT_TOO_NEAR
    unchanged(world, subject, id_)


def test_before_the_announced_height(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject, before = kind(world), world.in_force()
    id_ = world.proposed(subject)
    assert world.vote(id_, *FIVE[:4]).evidence[0] == State.PASSED
    world.reach(EFFECT - 1)
    if isinstance(subject, Seating):
        sender, call = world.seated(subject, id_)
        assert world.make(sender, call) == Outcome(Refusal.NOT_IN_EFFECT_YET, (EFFECT,))
        assert world.in_force() == before
    else:
        assert world.in_force() == before
        world.block()  # the one below it, after which it holds
        assert (world.in_force() == before) == (id_ in moot(world, id_))


def moot(world: Trial, id_: bytes) -> set[bytes]:
    """Return the proposal where there was nothing to do."""
    found = governance._known(governance.load(world.state, id_))
    return {id_} if found.state is State.MOOT else set()


def test_by_sending_the_same_again(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    propose = world.transaction("operator", world.proposing(subject, effect=EFFECT))
    world.block(propose)
    id_ = created_id(propose.id, 0)
    vote = world.transaction("operator", Vote(id_, agrees=True))
    world.block(vote)
    for sent in (propose, vote):
        assert world.refuses(sent) is AlreadySeen
    unchanged(world, subject, id_)


def test_by_a_delegate(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    everything = DelegationGrant(world.ids["auditor"], 15, world.chain.header.time + 86_400)
    assert world.make("insurer", everything).code == 0
    for call in (Vote(id_, agrees=True), world.proposing(subject)):
        honest = world.transaction("insurer", call)
        key = key_of("auditor")
        body = msgspec.structs.replace(
            honest.body, key_id=key_id(Role.TRANSACTION, key.algorithm, key.public)
        )
        assert world.refuses(sign(body, key)) is BeyondDelegation
    unchanged(world, subject, id_)


@pytest.mark.parametrize("role", [Role.CONSENSUS, Role.CHECKPOINT, Role.TLS])
def test_by_a_key_of_another_role(role: Role) -> None:
    world = Trial()
    subject = KINDS["parameters"](world)
    id_ = world.proposed(subject)
    key = key_of("insurer", role)
    honest = world.transaction("insurer", Vote(id_, agrees=True))
    for name, why in ((role, KeyNotForTransactions), (Role.TRANSACTION, UnknownKey)):
        id_of_key = key_id(name, Algorithm.ED25519, key.public)
        body = msgspec.structs.replace(honest.body, key_id=id_of_key)
        assert world.refuses(sign(body, key)) is why
    assert world.refuses(sign(honest.body, key)) is WrongSignature
    unchanged(world, subject, id_)


def test_by_votes_of_another_chain(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    honest = world.transaction("operator", Vote(id_, agrees=True))
    foreign = msgspec.structs.replace(honest.body, chain_id=bytes(32))
    assert world.refuses(sign(foreign, key_of("operator"))) is WrongChain
    unchanged(world, subject, id_)


# --- what a proposer of blocks may try ------------------------------------------------------------


def test_a_proposer_that_alters_a_vote(kind: Callable[[World], Subject]) -> None:
    world = Trial()
    subject = kind(world)
    id_ = world.proposed(subject)
    honest = world.transaction("insurer", Vote(id_, agrees=False))
    turned = msgspec.structs.replace(honest.body, calls=(encode_call(Vote(id_, agrees=True)),))
    forged = encode((encode(turned), honest.signature))
    assert world.refuses(parse(forged)) is WrongSignature
    unsigned = encode((encode(turned), bytes(64)))
    assert world.refuses(parse(unsigned)) is WrongSignature
    unchanged(world, subject, id_)


@pytest.mark.parametrize("what", ["the agenda", "the votes", "the parameters", "a member"])
def test_a_proposer_that_alters_the_state(what: str) -> None:
    """What it builds on that is no validator's but its own: nobody else finds its header."""
    world = Trial()
    id_ = world.proposed(KINDS["parameters"](world))
    state, next_ = Overlay(world.state), world.chain.header.height + 2
    match what:
        case "the agenda":
            agenda.put(state, next_, 9, id_)
        case "the votes":
            for name in FIVE:
                ballot.cast(state, id_, world.ids[name], ballot.Ballot(agrees=True, height=1))
        case "the parameters":
            parameters.save(state, Parameters(max_block_transactions=1))
        case _:
            registry.remove(state, world.ids["mutual"], next_)
    vote = world.transaction("insurer", Vote(id_, agrees=True))
    sent = [vote, world.transaction("mutual", PrescriptionCommit(bytes32("a commitment")))]
    honest = world.execute(sent)
    mine = dataclasses.replace(world.chain, state=state, parameters=parameters.load(state))
    world.chain, before = mine, world.chain
    forged = world.execute(sent, skip_invalid=True)
    world.chain = before
    with pytest.raises(Mismatch):
        honest.verify_header(forged.header)


def test_a_change_of_no_known_kind() -> None:
    world = Trial()
    honest = world.transaction("insurer", world.proposing(KINDS["version"](world)))
    for subject in ((0, b"all power"), (12, 1), (4, bytes(15)), (6, bytes(16), True)):
        call = encode((220, subject, world.chain.header.time + 60, EFFECT))
        body = msgspec.structs.replace(honest.body, calls=(call,))
        assert world.refuses(sign(body, key_of("insurer"))) is MalformedCall
