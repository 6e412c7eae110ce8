"""Versions of the rules: which is in force where, who is ready, and that nothing goes back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import dispatch, versions
from contracts.calls import Call, ClaimCancel, PrescriptionCommit, ReadySignal, SettlementConfirm
from contracts.errors import MalformedCall, Refusal, UnknownVersion
from contracts.execute import DirectSignatures, Executed, require_includable
from contracts.parameters import Parameters
from contracts.state import Overlay
from contracts.versions import NOTICE, Agenda, Scheduled
from ledger.block import Header
from ledger.errors import Mismatch
from ledger.validators import EVERYONE, ValidatorSet
from tests import second
from tests.contracts.world import VALIDATORS, World, bytes32

COMMIT = PrescriptionCommit(bytes32("prescription"))
AGAIN = int(Refusal.PRESCRIPTION_ALREADY_COMMITTED)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Software that knows the second version too."""
    monkeypatch.setitem(dispatch.CODES, second.VERSION, second.code())


def schedule(world: World, height: int, version: int = second.VERSION) -> None:
    """Schedule a version, as a vote does."""
    state = Overlay(world.state)
    versions.schedule(state, version, height)
    world.state.apply(state.changes)


def signal(world: World, *members: str, version: int = second.VERSION) -> Executed:
    """Let members signal in one block."""
    return world.block(*(world.transaction(each, ReadySignal(version)) for each in members))


def ready(world: World) -> tuple[int, ...]:
    return versions.readiness(world.state, world.chain.next_validators)


def in_force(executed: Executed) -> int:
    return executed.header.version


def until(world: World, height: int) -> list[int]:
    """Make empty blocks up to a height; return the versions of their headers."""
    made = []
    while world.chain.header.height < height:
        made.append(in_force(world.block()))
    return made


def call(world: World, sent: Call) -> Executed:
    return world.block(world.transaction("shop", sent))


# --- who is ready ---------------------------------------------------------------------------------


def test_the_first_version_is_in_force_and_costs_the_state_nothing() -> None:
    world = World()
    assert versions.agenda(world.state) == Agenda(1, None)
    assert in_force(world.block()) == 1
    assert not any(key.startswith(b"h") for key in world.state.pairs)


def test_who_runs_a_validator_signals_and_everybody_sees_it() -> None:
    world = World()
    executed = signal(world, "insurer")
    assert executed.outcomes[0].code == 0
    assert executed.concerned == ((world.ids["insurer"], EVERYONE),)
    assert ready(world) == (0, 0, 2, 0)
    (entry,) = executed.entries
    assert dispatch.concerned(world.state, entry) == executed.concerned[0]


def test_who_runs_none_is_refused_and_noted_nowhere() -> None:
    world = World()
    executed = signal(world, "shop", "auditor")
    assert [each.code for each in executed.outcomes] == [Refusal.NO_VALIDATOR] * 2
    for entry, member in zip(executed.entries, ("shop", "auditor"), strict=True):
        assert dispatch.concerned(world.state, entry) == (world.ids[member],)
    assert ready(world) == (0, 0, 0, 0)
    assert not any(key.startswith(b"h") for key in world.state.pairs)


def test_a_signal_is_renewed_raised_and_withdrawn() -> None:
    world = World()
    for version in (2, 2, 5, 1):
        assert signal(world, "mutual", version=version).outcomes[0].code == 0
        assert ready(world) == (0, 0, 0, version)


# --- from the schedule to the first block ---------------------------------------------------------


@pytest.mark.usefixtures("two")
def test_it_comes_into_force_two_blocks_after_a_quorum_is_ready_at_the_height_or_later() -> None:
    world = World()
    schedule(world, height=5)
    signal(world, *VALIDATORS[:3])  # height 1
    assert until(world, 4) == [1, 1, 1]
    assert versions.agenda(world.state).scheduled == Scheduled(2, 5, None)
    assert until(world, 5) == [1]
    assert versions.agenda(world.state).scheduled == Scheduled(2, 5, 5 + NOTICE)
    assert until(world, 9) == [1, 2, 2, 2]
    assert versions.agenda(world.state) == Agenda(2, None)


@pytest.mark.usefixtures("two")
def test_without_a_quorum_the_rules_stay_and_the_chain_goes_on_until_there_is_one() -> None:
    world = World()
    schedule(world, height=1)
    signal(world, *VALIDATORS[:2])
    assert until(world, 20) == [1] * 19
    signal(world, VALIDATORS[3])  # height 21
    assert until(world, 25) == [1, 1, 2, 2]


@pytest.mark.usefixtures("two")
def test_readiness_that_is_withdrawn_in_time_counts_no_more() -> None:
    world = World()
    schedule(world, height=4)
    signal(world, *VALIDATORS[:3])
    signal(world, VALIDATORS[0], version=1)
    assert until(world, 10) == [1] * 8
    assert versions.agenda(world.state).scheduled == Scheduled(2, 4, None)


@pytest.mark.usefixtures("two")
def test_what_is_announced_is_held_up_by_nothing() -> None:
    world = World()
    schedule(world, height=1)
    signal(world, *VALIDATORS)  # height 1
    assert until(world, 2) == [1]  # announces height 4
    assert not versions.may_schedule(world.state, 3)
    schedule(world, height=100, version=3)
    schedule(world, height=100, version=1)
    assert in_force(signal(world, *VALIDATORS, version=1)) == 1
    assert until(world, 6) == [2, 2, 2]
    assert versions.agenda(world.state) == Agenda(2, None)


@pytest.mark.usefixtures("two")
def test_it_is_those_who_vote_next_that_must_be_ready() -> None:
    """Readiness of three of four: one leaves, another takes its place, who never signalled."""
    world = World()
    schedule(world, height=3)
    signal(world, *VALIDATORS[:3])
    one, other, third, silent = world.chain.validators.members
    newcomer = msgspec.structs.replace(third, member=world.ids["auditor"])
    for voters, enough in (
        ((one, other, third, silent), True),
        ((one, other, newcomer, silent), False),
        ((one, other, third), True),
        ((one, newcomer, silent), False),
    ):
        state = Overlay(world.state)
        versions.step(state, 3, ValidatorSet(voters))
        coming = versions.agenda(state).scheduled
        assert coming is not None
        assert (coming.from_height is not None) is enough


def test_a_vote_replaces_what_is_not_announced_and_takes_it_back() -> None:
    world = World()
    schedule(world, 7)
    schedule(world, 9, version=4)
    assert versions.agenda(world.state).scheduled == Scheduled(4, 9, None)
    schedule(world, 9, version=1)
    assert versions.agenda(world.state) == Agenda(1, None)


@pytest.mark.usefixtures("two")
def test_no_version_below_that_in_force_comes_again() -> None:
    world = World()
    schedule(world, 1)
    signal(world, *VALIDATORS)
    until(world, 5)
    assert not versions.may_schedule(world.state, 1)
    schedule(world, 1, version=1)
    assert versions.agenda(world.state) == Agenda(2, None)


def test_where_nothing_is_scheduled_a_block_reads_one_key() -> None:
    world = World()
    signal(world, *VALIDATORS)
    read: list[bytes] = []

    class Counting:
        def get(self, key: bytes) -> bytes | None:
            read.append(key)
            return world.state.get(key)

        def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
            raise AssertionError((prefix, limit))

    assert versions.step(Overlay(Counting()), 2, world.chain.next_validators) == 1
    assert read == [b"h"]
    schedule(world, 3)
    read.clear()
    versions.step(Overlay(Counting()), 2, world.chain.next_validators)
    assert len(read) == 1 + len(VALIDATORS)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9)), max_size=30))
def test_versions_never_fall_and_each_is_announced_two_blocks_ahead(
    deeds: list[tuple[int, int, int]],
) -> None:
    """Deeds: a validator signals a version, or (as validator 3) a vote schedules it."""
    world = World()
    state, voters = Overlay(world.state), world.chain.validators
    before, announced = 1, dict[int, int]()
    for height, (who, version, ahead) in enumerate(deeds, 1):
        found = versions.step(state, height, voters)
        assert found == versions.at(state, height)  # the same before and after the step
        assert found >= before
        if found != before:
            assert announced[found] + NOTICE == height
        before, coming = found, versions.agenda(state).scheduled
        if coming is not None and coming.from_height is not None:
            announced.setdefault(coming.version, coming.from_height - NOTICE)
        if who == 3:
            versions.schedule(state, version, height + ahead)
        for member in voters.members[: 3 if who == 3 else who]:
            state.put(b"h" + member.member, version.to_bytes(2))


# --- what a version changes -----------------------------------------------------------------------


def changed(world: World) -> None:
    """Let version 2 be in force from height 4 on."""
    schedule(world, 1)
    signal(world, *VALIDATORS)
    until(world, 3)


@pytest.mark.usefixtures("two")
def test_each_version_judges_by_its_own_guards() -> None:
    world = World()
    schedule(world, 1)
    world.block(
        *(world.transaction(each, ReadySignal(2)) for each in VALIDATORS),
        world.transaction("shop", COMMIT),
    )
    codes = [call(world, COMMIT).outcomes[0].code for _ in range(4)]  # heights 2 to 5
    assert codes == [AGAIN, AGAIN, 0, 0]


@pytest.mark.usefixtures("two")
def test_a_call_that_a_version_has_not_is_in_none_of_its_blocks() -> None:
    world = World()
    gone = world.transaction("shop", COMMIT, SettlementConfirm(bytes32("settlement")))
    assert len(world.execute([gone]).entries) == 2
    changed(world)
    with pytest.raises(MalformedCall, match="call 1: SettlementConfirm is no call of this version"):
        world.execute([gone])
    with pytest.raises(MalformedCall):
        require_includable(gone, world.chain, world.chain.header.time, DirectSignatures())
    executed = world.execute([gone], skip_invalid=True)
    assert executed.body.transactions == ()
    assert [type(error) for _, error in executed.skipped] == [MalformedCall]


def test_a_call_that_a_later_version_brings_is_in_none_of_the_blocks_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = dispatch.CODES[1]
    monkeypatch.setitem(dispatch.CODES, 1, second.code())
    monkeypatch.setitem(dispatch.CODES, 2, both)
    world = World()
    new = world.transaction("shop", SettlementConfirm(bytes32("settlement")))
    schedule(world, 1)
    signal(world, *VALIDATORS)
    for _ in range(2):  # heights 2 and 3
        with pytest.raises(MalformedCall):
            world.execute([new])
        world.block()
    (outcome,) = world.block(new).outcomes
    assert outcome.code == Refusal.SETTLEMENT_UNKNOWN


@pytest.mark.usefixtures("two")
def test_each_version_counts_its_own_costs() -> None:
    world = World(Parameters(max_block_cost=1 << 14))
    sent = [ClaimCancel(bytes32("claim"))] * 256
    per_block = (1 << 14) // (256 * second.CANCEL_COST)
    offered = [world.transaction("shop", *sent) for _ in range(per_block + 1)]
    assert len(world.execute(offered, skip_invalid=True).body.transactions) == per_block + 1
    changed(world)
    assert len(world.execute(offered, skip_invalid=True).body.transactions) == per_block


@pytest.mark.usefixtures("two")
def test_a_header_says_the_version_in_force_and_no_other() -> None:
    world = World()
    executed = world.execute([])
    with pytest.raises(Mismatch, match="version"):
        executed.verify_header(msgspec.structs.replace(executed.header, version=2))
    changed(world)
    executed = world.execute([])
    assert in_force(executed) == 2
    with pytest.raises(Mismatch, match="version"):
        executed.verify_header(msgspec.structs.replace(executed.header, version=1))


@pytest.mark.parametrize("version", [0, 1 << 16])
def test_no_header_is_of_a_version_outside_16_bits(version: int) -> None:
    header = World().chain.header
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.structs.asdict(header), "version": version}, Header)


def test_software_that_does_not_know_a_version_executes_and_admits_nothing_under_it() -> None:
    world = World()
    before = world.transaction("shop", COMMIT)
    changed(world)
    chain = world.chain
    dispatch.require_known(world.state, 3)
    with pytest.raises(UnknownVersion) as caught:
        dispatch.require_known(world.state, 4)
    assert (caught.value.version, caught.value.height, caught.value.known) == (2, 4, (1,))
    assert str(caught.value) == (
        "from block 4 on version 2 of the rules is in force, and this software knows 1: "
        "install a release that knows version 2"
    )
    with pytest.raises(UnknownVersion):
        world.execute([])
    with pytest.raises(UnknownVersion):
        require_includable(before, chain, chain.header.time, DirectSignatures())
