"""What the members that run validators vote, cell by cell: who may, how many it takes, what comes.

That nothing changes without a vote stands in test_attempts.
"""

from collections.abc import Callable

import msgspec
import pytest

from contracts import (
    agenda,
    ballot,
    dispatch,
    governance,
    parameters,
    reference,
    registry,
    versions,
)
from contracts.ballot import THRESHOLDS, Threshold
from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    NewKey,
    PrescriptionCommit,
    Propose,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    SetParameters,
    Subject,
    SuspendMember,
    Vote,
    Withdraw,
    encode_call,
    parse_call,
    parse_subject,
)
from contracts.errors import Inadmissible, Refusal, SenderNotAdmitted
from contracts.governance import State
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family, Status
from contracts.state import Nothing, Overlay
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import Malformed
from ledger.keys import Algorithm, Role, SigningKey, key_id
from ledger.validators import EVERYONE, MAX_VALIDATORS, MemberId
from tests.contracts.world import TIME, VALIDATORS, World, bytes32, key_of

SHOP_OF_FIVE = ("federation", "shop", "rival", "operator", "insurer")  # three opticians of five
DONE = Outcome(0)
NEW = SigningKey(bytes32("a newcomer"))
NEW_MEMBER = registry.member_id(NEW.public)
NOTICE = 10


def newcomer(**other: object) -> AdmitMember:
    key = NewKey(Algorithm.ED25519, NEW.public)
    made = AdmitMember(Family.OPTICIAN, b"BE", key, None, None)
    return msgspec.structs.replace(made, **other)


def suspend(world: World, name: str = "shop") -> SuspendMember:
    return SuspendMember(world.ids[name])


def refused(why: Refusal, *evidence: int) -> Outcome:
    return Outcome(why, evidence)


def said(state: State, agree: int, needed: int = 3) -> Outcome:
    return Outcome(0, (state, agree, needed))


def state_of(world: World, proposal: bytes) -> State:
    return governance._known(governance.load(world.state, proposal)).state


def standing_of(world: World, name: str) -> Status:
    found = registry.member(world.state, world.ids[name])
    assert found is not None
    return found.status


# --- the life of a proposal -----------------------------------------------------------------------


def test_a_change_is_proposed_voted_and_made_at_its_height() -> None:
    world = World()
    id_ = world.propose(suspend(world), effect=20)
    assert world.vote(id_, "federation") == said(State.OPEN, 1)
    assert world.vote(id_, "operator") == said(State.OPEN, 2)
    assert world.vote(id_, "mutual") == said(State.PASSED, 3)
    world.reach(19)
    assert world.call("shop", PrescriptionCommit(bytes32("the last"))) == 0  # at height 19
    assert state_of(world, id_) is State.ENACTED
    assert standing_of(world, "shop") is Status.SUSPENDED
    with pytest.raises(SenderNotAdmitted):
        world.execute([world.transaction("shop", PrescriptionCommit(bytes32("one more")))])


def test_votes_and_proposals_concern_everyone() -> None:
    world = World()
    sent = world.transaction("operator", world.proposing(suspend(world)))
    executed = world.block(sent)
    assert executed.concerned == ((world.ids["operator"], EVERYONE),)
    assert dispatch.concerned(world.state, executed.entries[0]) == executed.concerned[0]
    assert world.chain.heads.get(EVERYONE).count == 1  # type: ignore[union-attr]


def test_a_proposal_fails_as_soon_as_it_can_no_longer_pass() -> None:
    world = World()
    id_ = world.propose(suspend(world))
    assert world.vote(id_, "federation", agrees=False) == said(State.OPEN, 0)
    assert world.vote(id_, "insurer") == said(State.OPEN, 1)
    assert world.vote(id_, "operator", agrees=False) == said(State.FAILED, 1)
    closed = refused(Refusal.PROPOSAL_IN_WRONG_STATE, State.FAILED)
    assert world.vote(id_, "mutual") == closed


def test_whoever_proposed_may_withdraw_until_it_is_decided() -> None:
    world = World()
    id_ = world.propose(suspend(world), "operator")
    assert world.make("federation", Withdraw(id_)) == refused(Refusal.PROPOSAL_NOT_YOURS)
    assert world.make("operator", Withdraw(id_)) == DONE
    assert state_of(world, id_) is State.WITHDRAWN
    gone = refused(Refusal.PROPOSAL_IN_WRONG_STATE, State.WITHDRAWN)
    assert world.vote(id_, "mutual") == world.make("operator", Withdraw(id_)) == gone
    passed = world.propose(suspend(world), "operator")
    world.vote(passed, *VALIDATORS[:3])
    assert world.make("operator", Withdraw(passed)) == refused(
        Refusal.PROPOSAL_IN_WRONG_STATE, State.PASSED
    )


def test_everybody_sees_what_each_voted_and_when() -> None:
    world = World()
    id_, other = world.propose(suspend(world)), world.propose(suspend(world, "rival"))
    world.vote(other, "federation")
    world.vote(id_, "operator", agrees=False)
    world.vote(id_, "federation")
    last = world.chain.header.height
    assert ballot.ballots(world.state, id_) == {
        world.ids["operator"]: ballot.Ballot(agrees=False, height=last - 1),
        world.ids["federation"]: ballot.Ballot(agrees=True, height=last),
    }
    assert ballot.ballots(world.state, bytes(32)) == {}


def test_a_vote_stands_and_its_proposal_must() -> None:
    world = World()
    id_ = world.propose(suspend(world))
    world.vote(id_, "operator", agrees=False)
    voted = refused(Refusal.ALREADY_VOTED, world.chain.header.height)
    assert world.vote(id_, "operator") == voted
    assert world.vote(id_, "operator", agrees=False) == voted
    assert world.vote(bytes(32), "operator") == refused(Refusal.PROPOSAL_UNKNOWN)


def test_one_votes_until_the_last_second() -> None:
    world = World()
    id_ = world.propose(suspend(world), days=1)
    last = world.chain.header.time + 86_399
    assert world.make("operator", Vote(id_, agrees=True), after=86_399) == said(State.OPEN, 1)
    assert world.chain.header.time == last
    assert world.make("mutual", Vote(id_, agrees=True)) == refused(Refusal.TOO_LATE, last)


def test_one_votes_while_there_is_notice_and_no_longer() -> None:
    world = World()
    id_ = world.propose(suspend(world), effect=14)  # at height 1
    world.vote(id_, "federation", "operator")  # 2 and 3
    world.block()  # 4, the last at which a vote counts
    late = refused(Refusal.EFFECT_TOO_NEAR, 5 + NOTICE)
    assert world.vote(id_, "mutual") == late
    found = governance._known(governance.load(world.state, id_))
    standing = [governance.standing(found, height, TIME, NOTICE) for height in (4, 5)]
    assert standing == [State.OPEN, State.EXPIRED]
    assert governance.standing(found, 4, found.deadline + 1, NOTICE) is State.EXPIRED


def test_a_passed_change_of_seats_waits_for_a_call_until_its_last_second() -> None:
    world = World()
    id_ = world.propose(LeaveValidators(world.ids["mutual"]), effect=14)
    assert world.vote(id_, *VALIDATORS[:3]) == said(State.PASSED, 3)
    world.reach(14)
    found = governance._known(governance.load(world.state, id_))
    standing = [governance.standing(found, 99, found.deadline + late, NOTICE) for late in (0, 1)]
    assert standing == [State.PASSED, State.EXPIRED]


OUTSIDERS = ("shop", "auditor")


@pytest.mark.parametrize("name", OUTSIDERS)
def test_only_who_runs_a_validator_proposes_and_votes(name: str) -> None:
    world = World()
    outsider = refused(Refusal.NOT_GOVERNING)
    assert world.make(name, world.proposing(suspend(world, "rival"))) == outsider
    id_ = world.propose(suspend(world, "rival"))
    assert world.vote(id_, name) == outsider


def while_one_is_announced(world: World) -> Propose:
    """Propose a version when the second is announced, by no vote at all."""
    world.state.apply({b"h": encode((1, (2, 0, 99)))})
    return world.proposing(ScheduleVersion(3))


REFUSED: dict[str, tuple[Callable[[World], Propose], Refusal, tuple[int, ...]]] = {
    "a deadline that is over": (
        lambda w: Propose(suspend(w), w.chain.header.time, 100),
        Refusal.DEADLINE_OUT_OF_BOUNDS, (TIME + 1,),
    ),
    "a deadline after 90 days": (
        lambda w: Propose(suspend(w), w.chain.header.time + 2 + 90 * 86_400, 100),
        Refusal.DEADLINE_OUT_OF_BOUNDS, (TIME + 1,),
    ),
    "no notice": (
        lambda w: w.proposing(suspend(w), effect=NOTICE), Refusal.EFFECT_TOO_NEAR, (NOTICE + 1,)
    ),
    "a height that never comes": (
        lambda w: w.proposing(suspend(w), effect=2 + (1 << 24)),
        Refusal.EFFECT_TOO_FAR, (1 + (1 << 24),),
    ),
    "to let nobody validate": (
        lambda w: w.proposing(JoinValidators(bytes(16))), Refusal.MEMBER_UNKNOWN, ()
    ),
    "to suspend nobody": (
        lambda w: w.proposing(SuspendMember(bytes(16))), Refusal.MEMBER_UNKNOWN, ()
    ),
    "to reinstate who is in": (
        lambda w: w.proposing(ReinstateMember(w.ids["shop"])),
        Refusal.MEMBER_STANDS_OTHERWISE, (Status.ADMITTED,),
    ),
    "to remove who validates": (
        lambda w: w.proposing(RemoveMember(w.ids["mutual"])), Refusal.MEMBER_VALIDATES, ()
    ),
    "to admit a member": (
        lambda w: w.proposing(
            newcomer(key=NewKey(Algorithm.ED25519, key_of("shop").public))
        ),
        Refusal.ALREADY_MEMBER, (),
    ),
    "to admit one from elsewhere": (
        lambda w: w.proposing(newcomer(country=b"CH")), Refusal.COUNTRY_NOT_IN_EEA, ()
    ),
    "to admit with another's key": (
        lambda w: w.proposing(
            newcomer(key=NewKey(Algorithm.ED25519, key_of("insurer", Role.TLS).public))
        ),
        Refusal.KEY_TAKEN, (0,),
    ),
    "to admit with another's sealing key": (
        lambda w: w.proposing(newcomer(sealing=key_of("shop").public)), Refusal.KEY_TAKEN, (1,)
    ),
    "to admit with one key for both": (  # or its first would take it when the vote is carried out
        lambda w: w.proposing(newcomer(sealing=newcomer().key.public)), Refusal.KEY_TAKEN, (1,)
    ),
    "to admit with a key of low order": (
        lambda w: w.proposing(newcomer(key=NewKey(Algorithm.ED25519, b"\x01" + bytes(31)))),
        Refusal.KEY_UNUSABLE, (0,),
    ),
    "to give another's key": (
        lambda w: w.proposing(
            RekeyMember(w.ids["shop"], NewKey(Algorithm.ED25519, key_of("rival").public))
        ),
        Refusal.KEY_TAKEN, (0,),
    ),
    "the version that is": (
        lambda w: w.proposing(ScheduleVersion(1)), Refusal.NOTHING_WOULD_CHANGE, ()
    ),
    "a version while one is announced": (
        while_one_is_announced, Refusal.VERSION_CANNOT_FOLLOW, (1,),
    ),
    "the parameters that are": (
        lambda w: w.proposing(SetParameters(w.parameters)), Refusal.NOTHING_WOULD_CHANGE, ()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_proposed_says_why(name: str) -> None:
    world = World()
    case, why, evidence = REFUSED[name]
    assert world.make("operator", case(world)) == refused(why, *evidence)
    assert governance.docket(world.state) == governance.Docket()


def test_one_change_is_proposed_once_at_a_time() -> None:
    world = World()
    id_ = world.propose(suspend(world))
    world.propose(suspend(world, "rival"))
    again = world.proposing(suspend(world))
    assert world.make("federation", again) == refused(Refusal.ALREADY_PROPOSED, 0)
    world.make("federation", Withdraw(id_))
    assert world.make("federation", again) == DONE
    assert governance.numbered(world.state, 0) == id_
    assert governance.numbered(world.state, 3) is None


def test_nobody_keeps_others_from_a_change_by_proposing_it_for_never() -> None:
    world = World()
    never = world.proposing(LeaveValidators(world.ids["mutual"]), effect=1 << 24)
    assert world.make("mutual", never) == DONE
    soon = world.propose(LeaveValidators(world.ids["mutual"]), "operator")
    assert world.vote(soon, "federation", "operator", "insurer") == said(State.PASSED, 3)


@pytest.mark.parametrize(("voters", "most"), [(4, 8), (16, 8), (17, 7), (64, 2), (100, 1)])
def test_there_is_room_for_proposals_of_everyone(
    voters: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = tuple(MemberId(bytes([number]) * 16) for number in range(voters - 1))
    world = World()
    electors = (world.ids["operator"], *everyone)
    monkeypatch.setattr(ballot, "electors", lambda *_: electors)
    for number in range(most):
        world.propose(table(number), "operator", effect=999)
    full = refused(Refusal.TOO_MANY_OPEN, most)
    assert world.make("operator", world.proposing(table(most))) == full
    assert most * voters <= governance.MAX_OPEN
    assert governance.MAX_OPEN >= MAX_VALIDATORS


def table(number: int) -> ReplaceTable:
    return ReplaceTable(TableKind.OPTICS_CODES, bytes32(f"table {number}"))


def test_few_are_open_and_what_expires_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for number in range(8):
        world.propose(table(number), days=1, effect=999)
    full = refused(Refusal.TOO_MANY_OPEN, 8)
    assert world.make("federation", world.proposing(table(8))) == full
    for number in (8, 9):
        world.propose(table(number), "operator", effect=999)
    monkeypatch.setattr(governance, "MAX_OPEN", 10)  # there were fewer voters when they came
    assert world.make("operator", world.proposing(table(10))) == refused(Refusal.TOO_MANY_OPEN, 10)
    world.block(after=86_400)
    assert world.make("federation", world.proposing(table(0))) == DONE
    assert len(governance.docket(world.state).slots) == 3


def test_few_changes_take_effect_at_one_height(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "MAX_ITEMS", 2)
    world = World()
    made = [world.propose(table(number), effect=40) for number in range(3)]
    for id_ in made[:2]:
        assert world.vote(id_, *VALIDATORS[:3]) == said(State.PASSED, 3)
    assert world.vote(made[2], *VALIDATORS[:3]) == refused(Refusal.AGENDA_FULL)
    world.reach(40)
    assert [state_of(world, id_) for id_ in made] == [State.ENACTED, State.ENACTED, State.OPEN]
    # In the order in which they were proposed: the last one of a kind stands.
    assert reference.in_force(world.state, TableKind.OPTICS_CODES) == bytes32("table 1")


# --- how many it takes ----------------------------------------------------------------------------

WANTED: dict[str, tuple[Subject, Threshold]] = {
    "admit": (newcomer(), Threshold.MAJORITY),
    "suspend": (SuspendMember(bytes(16)), Threshold.MAJORITY),
    "reinstate": (ReinstateMember(bytes(16)), Threshold.MAJORITY),
    "remove": (RemoveMember(bytes(16)), Threshold.QUORUM),
    "give keys": (RekeyMember(bytes(16), newcomer().key), Threshold.QUORUM),
    "join the validators": (JoinValidators(bytes(16)), Threshold.QUORUM),
    "leave the validators": (LeaveValidators(bytes(16)), Threshold.QUORUM),
    "replace a validator": (ReplaceValidator(bytes(16), bytes(16)), Threshold.QUORUM),
    "replace a table": (table(0), Threshold.QUORUM),
    "schedule a version": (ScheduleVersion(2), Threshold.QUORUM),
    "set parameters": (SetParameters(Parameters()), Threshold.QUORUM),
}


@pytest.mark.parametrize("name", WANTED)
def test_each_kind_of_change_has_its_threshold(name: str) -> None:
    subject, threshold = WANTED[name]
    assert THRESHOLDS[type(subject)] is threshold


def test_every_kind_of_change_is_in_the_table() -> None:
    assert {type(subject) for subject, _ in WANTED.values()} == THRESHOLDS.keys()


@pytest.mark.parametrize(
    ("electors", "majority", "quorum"),
    [(1, 1, 1), (2, 2, 2), (3, 2, 2), (4, 3, 3), (5, 3, 4), (6, 4, 4), (7, 4, 5), (100, 51, 67)],
)
def test_a_majority_is_more_than_half_and_a_quorum_more_than_two_thirds(
    electors: int, majority: int, quorum: int
) -> None:
    assert Threshold.MAJORITY.of(electors) == majority
    assert Threshold.QUORUM.of(electors) == quorum


def test_of_five_three_admit_and_four_remove() -> None:
    for subject, needed in ((newcomer(), 3), (RemoveMember(World().ids["doctor"]), 4)):
        world = World()
        world.let_validate("federation", "operator", "insurer", "mutual", "auditor")
        id_ = world.propose(subject)
        voters = ("federation", "operator", "insurer", "mutual")[:needed]
        assert world.vote(id_, *voters[:-1]) == said(State.OPEN, needed - 1, needed)
        assert world.vote(id_, voters[-1]) == said(State.PASSED, needed, needed)


def test_one_family_does_not_decide_alone() -> None:
    world = World()
    world.let_validate(*SHOP_OF_FIVE)
    id_ = world.propose(newcomer())
    assert world.vote(id_, "federation", "shop", "rival") == said(State.OPEN, 3)
    assert world.vote(id_, "insurer", agrees=False) == said(State.OPEN, 3)
    assert world.vote(id_, "operator") == said(State.PASSED, 4)


def test_a_change_that_one_family_alone_wants_fails() -> None:
    world = World()
    world.let_validate(*SHOP_OF_FIVE)
    id_ = world.propose(newcomer())
    world.vote(id_, "federation", "shop", "rival")
    world.vote(id_, "insurer", agrees=False)
    assert world.vote(id_, "operator", agrees=False) == said(State.FAILED, 3)


def test_where_there_are_less_than_four_one_family_may_decide() -> None:
    world = World()
    world.let_validate("federation", "shop", "rival")
    id_ = world.propose(newcomer())
    assert world.vote(id_, "federation", "shop") == said(State.PASSED, 2, 2)


def test_who_has_left_no_longer_counts_and_who_came_does() -> None:
    world = World()
    id_ = world.propose(suspend(world))
    world.vote(id_, "federation", "operator")
    world.let_validate("insurer", "mutual", "auditor", "doctor")
    assert world.vote(id_, "federation") == refused(Refusal.NOT_GOVERNING)
    assert world.vote(id_, "insurer", "mutual") == said(State.OPEN, 2)
    assert world.vote(id_, "doctor") == said(State.PASSED, 3)


def test_a_suspended_member_has_no_say_and_still_counts_among_all() -> None:
    world = World()
    id_ = world.propose(table(0))
    world.vote(id_, "mutual")
    world.enact(SuspendMember(world.ids["mutual"]))
    assert standing_of(world, "mutual") is Status.SUSPENDED
    soon = world.propose(table(1))
    world.vote(soon, "operator")
    with pytest.raises(SenderNotAdmitted):
        world.vote(soon, "mutual")
    assert world.vote(soon, "insurer") == said(State.OPEN, 2)
    found = ballot.tally(world.state, 1, id_, Threshold.QUORUM)
    assert (found.electors, found.needed, found.agree, found.declined) == (4, 3, 0, 0)


# --- what is carried out --------------------------------------------------------------------------


def test_an_admitted_member_sends_from_its_height_on() -> None:
    world = World()
    id_ = world.propose(newcomer(sealing=SigningKey(bytes32("seals")).public))
    world.vote(id_, *VALIDATORS[:3])
    effect = governance._known(governance.load(world.state, id_)).effect
    found = key_id(Role.TRANSACTION, Algorithm.ED25519, NEW.public)
    world.reach(effect - 1)
    assert registry.member(world.state, NEW_MEMBER) is None
    world.block()
    assert registry.member(world.state, NEW_MEMBER) == registry.Member(
        Family.OPTICIAN, b"BE", Status.ADMITTED, effect
    )
    assert registry.transaction_key(world.state, NEW_MEMBER, found, effect).public == NEW.public
    (sealing,) = registry.keys(world.state, Role.SEALING, effect)
    assert sealing[0] == NEW_MEMBER
    assert sealing[1].from_height == effect


def test_a_member_is_suspended_reinstated_and_removed() -> None:
    world = World()
    member = world.ids["shop"]
    for subject, after in (
        (SuspendMember(member), Status.SUSPENDED),
        (ReinstateMember(member), Status.ADMITTED),
        (RemoveMember(member), Status.REMOVED),
    ):
        world.enact(subject)
        assert standing_of(world, "shop") is after
    for again in (ReinstateMember(member), RemoveMember(member), suspend(world)):
        assert world.make("operator", world.proposing(again)) == refused(
            Refusal.MEMBER_STANDS_OTHERWISE, Status.REMOVED
        )


def test_a_suspended_member_may_be_removed() -> None:
    world = World()
    world.enact(suspend(world))
    world.enact(RemoveMember(world.ids["shop"]))
    assert standing_of(world, "shop") is Status.REMOVED


def test_a_member_that_lost_its_keys_gets_one_and_the_old_end() -> None:
    world = World()
    member = world.ids["insurer"]
    world.enact(RekeyMember(member, NewKey(Algorithm.ED25519, NEW.public)))
    height = world.chain.header.height + 1
    old = key_id(Role.TRANSACTION, Algorithm.ED25519, key_of("insurer").public)
    new = key_id(Role.TRANSACTION, Algorithm.ED25519, NEW.public)
    assert registry.transaction_key(world.state, member, old, height - 1).until_height == height
    assert registry.transaction_key(world.state, member, new, height).from_height == height
    for id_, when in ((old, height), (new, height - 1)):
        with pytest.raises(Inadmissible):
            registry.transaction_key(world.state, member, id_, when)
    assert registry.holds(
        world.state, member, Role.CONSENSUS, key_of("insurer", Role.CONSENSUS).public
    )


def test_a_table_is_in_force_from_its_height_and_history_stays() -> None:
    world = World()
    kind = TableKind.OPTICS_RENEWAL
    assert reference.in_force(world.state, kind) is None
    heights = []
    for number in (1, 2):
        world.enact(ReplaceTable(kind, bytes32(f"{number}")))
        heights.append(world.chain.header.height + 1)
    assert reference.versions(world.state, kind) == [
        (heights[0], bytes32("1")),
        (heights[1], bytes32("2")),
    ]
    assert reference.in_force(world.state, kind, heights[0] - 1) is None
    assert reference.in_force(world.state, kind, heights[1] - 1) == bytes32("1")
    assert reference.in_force(world.state, kind) == bytes32("2")
    assert world.make("operator", world.proposing(ReplaceTable(kind, bytes32("2")))) == refused(
        Refusal.NOTHING_WOULD_CHANGE
    )


def test_parameters_hold_from_their_height_on() -> None:
    world = World()
    wanted = Parameters(max_block_transactions=1)
    id_ = world.propose(SetParameters(wanted))
    world.vote(id_, *VALIDATORS[:3])
    effect = governance._known(governance.load(world.state, id_)).effect
    world.reach(effect - 1)

    def commits() -> list[object]:
        return [
            world.transaction("shop", PrescriptionCommit(bytes32(f"{world.nonce}")))
            for _ in range(2)
        ]

    assert len(world.block(*commits()).entries) == 2  # type: ignore[arg-type]
    assert world.chain.parameters == parameters.load(world.state) == wanted
    assert world.chain.header.height == effect - 1
    assert len(world.execute(commits(), skip_invalid=True).entries) == 1  # type: ignore[arg-type]


def test_a_version_is_scheduled_and_taken_back() -> None:
    world = World()
    world.enact(ScheduleVersion(2))
    height = world.chain.header.height + 1
    assert versions.agenda(world.state).scheduled == versions.Scheduled(2, height, None)
    world.enact(ScheduleVersion(1))
    assert versions.agenda(world.state).scheduled is None


def test_what_has_become_pointless_does_nothing() -> None:
    world = World()
    subjects = (RemoveMember(world.ids["shop"]), suspend(world), newcomer())
    made = [world.propose(subject, effect=40) for subject in subjects]
    for id_ in made:
        world.vote(id_, *VALIDATORS[:3])
    key = NewKey(Algorithm.ED25519, NEW.public)
    early = world.propose(RekeyMember(world.ids["rival"], key), effect=30)
    world.vote(early, *VALIDATORS[:3])
    world.reach(40)
    assert [state_of(world, id_) for id_ in (early, *made)] == [
        State.ENACTED,
        State.ENACTED,
        State.MOOT,  # it is removed already
        State.MOOT,  # somebody has the key
    ]
    assert standing_of(world, "shop") is Status.REMOVED


def test_who_runs_a_validator_by_then_is_not_removed() -> None:
    world = World()
    id_ = world.propose(RemoveMember(world.ids["doctor"]))
    world.vote(id_, *VALIDATORS[:3])
    world.let_validate(*VALIDATORS, "doctor")
    world.reach(governance._known(governance.load(world.state, id_)).effect)
    assert state_of(world, id_) is State.MOOT
    assert standing_of(world, "doctor") is Status.ADMITTED


# --- their bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WANTED)
def test_every_subject_has_one_encoding(name: str) -> None:
    call = Propose(WANTED[name][0], 1, 2)
    assert parse_call(encode_call(call)) == call
    assert parse_subject(encode(call.subject)) == call.subject
    with pytest.raises(Malformed):
        parse_subject(encode(call.subject) + b"\0")


@pytest.mark.parametrize(
    ("why", "most", "more"),
    [
        (
            "rounds would be over before a block may be made",
            {"min_interval_ms": 999},
            {"min_interval_ms": 1_000},
        ),
        (
            "rounds would be over before a full block is executed",
            {"base_timeout_ms": 100, "max_block_cost": 100_000},
            {"base_timeout_ms": 100, "max_block_cost": 100_001},
        ),
        (
            "a change would wait for more than 30 days after its vote",
            {"min_interval_ms": 2_500, "base_timeout_ms": 3_000, "notice_blocks": 1_036_800},
            {"min_interval_ms": 2_500, "base_timeout_ms": 3_000, "notice_blocks": 1_036_801},
        ),
        (
            "nodes would always make snapshots: snapshot_blocks: 0, or 100 at least",
            {"snapshot_blocks": 100},
            {"snapshot_blocks": 99},
        ),
        (
            "snapshot_blocks: 0, or 100 at least",
            {"snapshot_blocks": 0},
            {"snapshot_blocks": 1},
        ),
        (
            "who was away could not catch up: retention_blocks: 0, or 1,000 at least",
            {"retention_blocks": 1_000},
            {"retention_blocks": 999},
        ),
        (
            "retention_blocks: 0, or 1,000 at least",
            {"retention_blocks": 0},
            {"retention_blocks": 1},
        ),
    ],
)
def test_parameters_that_contradict_one_another_are_no_call(
    why: str, most: dict[str, int], more: dict[str, int]
) -> None:
    """No vote sets what no later vote could set right."""
    default = msgspec.structs.asdict(Parameters())
    for wanted, is_known in ((most, True), (more, False)):
        data = encode((220, (10, tuple((default | wanted).values())), 1, 2))
        if is_known:
            assert isinstance(parse_call(data), Propose)
        else:
            with pytest.raises(Malformed, match=why):
                parse_call(data)


def test_what_is_looked_at_again_and_again_is_paid_for() -> None:
    assert Propose(table(0), 1, 2).cost == Withdraw(bytes(32)).cost == 64
    assert Vote(bytes(32), agrees=True).cost == 256


# --- that there is always somebody who can decide -------------------------------------------------


def test_who_is_needed_to_decide_anything_is_not_suspended() -> None:
    """Both are voted while both may vote; with both, nobody could reinstate anybody, ever."""
    world = World()
    made = [world.propose(suspend(world, name), effect=40) for name in ("insurer", "mutual")]
    assert world.vote(made[0], "federation", "operator", "mutual") == said(State.PASSED, 3)
    assert world.vote(made[1], "federation", "operator", "insurer") == said(State.PASSED, 3)
    world.reach(40)
    assert [state_of(world, id_) for id_ in made] == [State.ENACTED, State.MOOT]
    assert standing_of(world, "mutual") is Status.ADMITTED
    again = world.proposing(suspend(world, "mutual"))
    assert world.make("operator", again) == refused(Refusal.NOBODY_COULD_DECIDE)
    votes = ("federation", "operator", "mutual")
    world.enact_by(suspend(world, "shop"), *votes)  # which runs no validator
    back = world.propose(ReinstateMember(world.ids["insurer"]))
    assert world.vote(back, *votes) == said(State.PASSED, 3)


def test_one_family_is_not_left_alone() -> None:
    world = World()
    world.let_validate("federation", "shop", "rival", "insurer", "mutual")
    world.enact_by(suspend(world, "mutual"), "federation", "shop", "insurer")
    last = world.proposing(suspend(world, "insurer"))  # three of five are left, of one family
    assert world.make("shop", last) == refused(Refusal.NOBODY_COULD_DECIDE)


@pytest.mark.parametrize("names", [("insurer",), ("insurer", "mutual")])
def test_where_one_or_two_vote_none_of_them_is_suspended(names: tuple[str, ...]) -> None:
    world = World()
    world.let_validate(*names)
    own = world.proposing(suspend(world, "insurer"))
    assert world.make("insurer", own) == refused(Refusal.NOBODY_COULD_DECIDE)


def test_what_takes_effect_next_is_the_lowest_height() -> None:
    state = Overlay(Nothing())
    assert agenda.next_height(state) is None
    for height, number in ((300, 0), (9, 1), (9, 2)):
        agenda.put(state, height, number, bytes((number,)) * 32)
    assert agenda.next_height(state) == 9
    assert len(agenda.take(state, 9)) == 2
    assert agenda.next_height(state) == 300
