"""Who may change the validators, and that nobody else can, whatever he replays or forges."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import dispatch, eras, membership, registry
from contracts.calls import (
    Call,
    Change,
    Joining,
    JoinValidators,
    LeaveValidators,
    Leaving,
    Possession,
    ReplaceValidator,
    Replacing,
    Rotating,
    Subject,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    parse_call,
)
from contracts.errors import Refusal
from contracts.execute import Executed
from contracts.governance import State
from contracts.registry import Family
from contracts.state import Overlay
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.errors import Malformed
from ledger.keys import Algorithm, Role, SigningKey, key_id
from ledger.validators import EVERYONE, Validator, ValidatorSet, quorum
from tests.changes import Keys, prove, public
from tests.contracts.world import FAMILIES, TIME, VALIDATOR_ROLES, VALIDATORS, World, key_of

replace = msgspec.structs.replace
DAY = membership.ROTATION_S


@dataclass
class Council(World):
    """A chain whose validators change; it knows the keys of everybody."""

    made: int = 0

    def new_keys(self, *, keep: Validator | None = None, kept: Sequence[int] = ()) -> Keys:
        """Return keys that nobody has, but for those of a validator that are kept."""
        self.made += 1
        seeds = [sha256(b"%d/%d" % (self.made, index)).digest() for index in range(3)]
        keys = [SigningKey(seed) for seed in seeds]
        for index in kept:
            assert keep is not None
            keys[index] = self.known[list_of(keep)[index]]
        consensus, checkpoint, node = keys
        self.known |= {key.public: key for key in keys}
        return consensus, checkpoint, node

    def __post_init__(self) -> None:
        super().__post_init__()
        every = [key_of(name, role) for name in VALIDATORS for role in VALIDATOR_ROLES]
        self.known: dict[bytes, SigningKey] = {key.public: key for key in every}
        self.names = {id_: name for name, id_ in self.ids.items()}

    def voters(self) -> list[str]:
        """Return who runs validators at the height after next, in order."""
        return [self.names[v.member] for v in self.chain.next_validators.members]  # type: ignore[index]

    def known_keys(self, call: ValidatorJoin) -> Keys:
        named = call.change.keys
        return self.known[named.consensus], self.known[named.checkpoint], self.known[named.node]

    def prove(self, change: Change, keys: Keys) -> Possession:
        header = self.chain.header
        return prove(self.chain_id, change, header.height, header.hash, keys)

    def joining(self, name: str, keys: Keys | None = None) -> ValidatorJoin:
        keys = keys or self.new_keys()
        voted = self.passed(JoinValidators(self.ids[name]))
        change = Joining(self.ids[name], public(keys), voted)
        return ValidatorJoin(change, self.prove(change, keys))

    def leaving(self, name: str) -> ValidatorLeave:
        voted = self.passed(LeaveValidators(self.ids[name]))
        return ValidatorLeave(Leaving(self.ids[name], voted))

    def replacing(self, old: str, name: str, keys: Keys | None = None) -> ValidatorReplace:
        keys = keys or self.new_keys()
        voted = self.passed(ReplaceValidator(self.ids[old], self.ids[name]))
        change = Replacing(self.ids[old], self.ids[name], public(keys), voted)
        return ValidatorReplace(change, self.prove(change, keys))

    def rotating(self, name: str, keys: Keys | None = None) -> ValidatorRotate:
        keys = keys or self.new_keys()
        change = Rotating(self.ids[name], public(keys))
        return ValidatorRotate(change, self.prove(change, keys))


def list_of(validator: Validator) -> tuple[bytes, bytes, bytes]:
    return validator.consensus_key, validator.checkpoint_key, validator.node_key


DONE = Outcome(0)


def refused(why: Refusal, *evidence: int) -> Outcome:
    return Outcome(why, evidence)


def test_a_change_takes_effect_two_blocks_later_and_is_announced_one_before() -> None:
    world = Council()
    before = world.chain.validators
    assert world.make("shop", world.joining("shop")) == DONE  # in block 1
    first = world.chain.header
    assert first.next_validators_hash == before.hash
    assert world.chain.validators == before
    second = world.block().header
    after = world.chain.validators
    assert (second.validators_hash, second.next_validators_hash) == (before.hash, after.hash)
    assert [v.member for v in after.members] == [v.member for v in before.members] + [
        world.ids["shop"]
    ]
    assert world.block().header.validators_hash == after.hash
    assert [eras.validators_at(world.state, height) for height in range(5)] == [
        before,
        before,
        before,
        after,
        after,
    ]


def test_a_newcomers_keys_are_in_force_when_it_votes_and_end_when_it_leaves() -> None:
    world = Council()
    keys = world.new_keys()
    world.make("shop", world.joining("shop", keys))
    member = world.ids["shop"]
    roles = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)

    def found(key: SigningKey, role: Role) -> registry.Key:
        id_ = key_id(role, Algorithm.ED25519, key.public)
        return registry._parse_key(world.state.pairs[b"k" + member + id_])

    for key, role in zip(keys, roles, strict=True):
        assert (found(key, role).from_height, found(key, role).until_height) == (3, None)
    assert world.make("federation", world.leaving("shop")) == DONE  # in block 2
    ends = [found(key, role).until_height for key, role in zip(keys, roles, strict=True)]
    assert ends == [4, 4, None]  # its node goes on following
    again = (*world.new_keys()[:2], keys[2])
    assert world.make("shop", world.joining("shop", again)) == DONE
    assert found(keys[2], Role.TLS).until_height is None


def test_one_replaces_another_at_its_place() -> None:
    world = Council()
    executed = world.block(world.transaction("rival", world.replacing("federation", "rival")))
    assert executed.outcomes == (DONE,)
    assert world.voters() == ["rival", *VALIDATORS[1:]]
    concerned = (world.ids["rival"], world.ids["federation"], EVERYONE)
    assert executed.concerned == (concerned,)
    assert dispatch.concerned(world.state, executed.entries[0]) == concerned


@pytest.mark.parametrize("keeps_node", [True, False])
def test_by_a_vote_keys_change_again_on_the_same_day(*, keeps_node: bool) -> None:
    world = Council()
    assert world.make("insurer", world.rotating("insurer")) == DONE
    before = world.chain.next_validators.members[2]
    keys = world.new_keys(keep=before, kept=(2,) if keeps_node else ())
    executed = world.block(
        world.transaction("insurer", world.replacing("insurer", "insurer", keys))
    )
    assert executed.outcomes == (DONE,)
    concerned = (world.ids["insurer"], EVERYONE)
    assert executed.concerned == (concerned,)
    assert dispatch.concerned(world.state, executed.entries[0]) == concerned
    assert list_of(world.chain.next_validators.members[2]) == tuple(key.public for key in keys)
    held = registry.holds(world.state, world.ids["insurer"], Role.TLS, before.node_key)
    assert held is keeps_node
    assert not registry.holds(
        world.state, world.ids["insurer"], Role.CONSENSUS, before.consensus_key
    )
    assert world.voters() == list(VALIDATORS)


@pytest.mark.parametrize("kept", [(), (0, 1), (0, 2), (1, 2)], ids=str)
def test_keys_change_in_place_without_anybodys_leave(kept: tuple[int, ...]) -> None:
    world = Council()
    pending = world.joining("shop")
    before = world.chain.validators.members[2]
    keys = world.new_keys(keep=before, kept=kept)
    assert world.make("insurer", world.rotating("insurer", keys)) == DONE
    after = world.chain.next_validators.members[2]
    assert list_of(after) == tuple(key.public for key in keys)
    assert [old == new for old, new in zip(list_of(before), list_of(after), strict=True)] == [
        index in kept for index in range(3)
    ]
    assert world.voters() == list(VALIDATORS)
    pending = replace(pending, possession=world.prove(pending.change, world.known_keys(pending)))
    assert world.make("shop", pending) == DONE  # what was approved before is good still


def test_a_member_changes_its_keys_once_a_day() -> None:
    world = Council()
    assert world.make("insurer", world.rotating("insurer")) == DONE
    since = world.chain.header.time
    lately = refused(Refusal.KEYS_CHANGED_LATELY, since)
    assert world.make("insurer", world.rotating("insurer"), after=DAY - 1) == lately
    assert world.make("mutual", world.rotating("mutual"), after=0) == DONE
    assert world.make("insurer", world.rotating("insurer")) == DONE
    assert membership.rotated_at(world.state, world.ids["insurer"]) == since + DAY


def test_what_concerns_the_validators_concerns_everyone() -> None:
    world = Council()
    calls: list[tuple[str, Callable[[], Call]]] = [
        ("shop", lambda: world.joining("shop")),
        ("shop", lambda: world.leaving("shop")),
        ("insurer", lambda: world.rotating("insurer")),
        ("shop", lambda: world.joining("insurer")),  # refused
    ]
    made = [world.block(world.transaction(sender, call())) for sender, call in calls]
    concerned = [executed.concerned[0] for executed in made]
    assert concerned == [dispatch.concerned(world.state, each.entries[0]) for each in made]
    shop, insurer = world.ids["shop"], world.ids["insurer"]
    assert concerned == [(shop, EVERYONE), (shop, EVERYONE), (insurer, EVERYONE), (shop,)]
    assert world.chain.heads.get(EVERYONE).count == 3  # type: ignore[union-attr]


# --- refusals -------------------------------------------------------------------------------------


def changed(call: Call, **fields: object) -> Call:
    """Return a call whose change says something else than what was proved."""
    return replace(call, change=replace(call.change, **fields))  # type: ignore[union-attr]


def resigned(world: Council, call: ValidatorJoin, **fields: object) -> ValidatorJoin:
    """Return a join whose change says something else, proved as it stands."""
    change = replace(call.change, **fields)
    keys = world.known_keys(call)
    return ValidatorJoin(change, world.prove(change, keys))


def stale_block(world: Council) -> tuple[str, Call]:
    call = world.joining("shop")
    for _ in range(32):
        world.block()
    return "shop", call


def stolen(world: Council, index: int, public_key: bytes) -> tuple[str, Call]:
    call = world.joining("shop")
    name = ("consensus", "checkpoint", "node")[index]
    return "shop", changed(call, keys=replace(call.change.keys, **{name: public_key}))


def unproved(world: Council, name: str) -> tuple[str, Call]:
    call = world.joining("shop")
    return "shop", replace(call, possession=replace(call.possession, **{name: bytes(64)}))


def voted(world: Council, subject: Subject, *, effect: int = 1) -> tuple[str, Call]:
    """Return a join that names a proposal of something else, or of later."""
    call = world.joining("shop")
    return "shop", resigned(world, call, proposal=world.passed(subject, effect=effect))


def replayed(world: Council) -> tuple[str, Call]:
    """Return a leave that is sent again when its member has come back."""
    world.make("shop", world.joining("shop"))
    call = world.leaving("shop")
    world.make("federation", call)
    world.make("shop", world.joining("shop"))
    return "federation", call


def too_late(world: Council) -> tuple[str, Call]:
    call = world.joining("shop")
    world.block(after=2 * DAY)
    return "shop", resigned(world, call)


def only_open(world: Council) -> tuple[str, Call]:
    id_ = world.propose(JoinValidators(world.ids["shop"]))
    world.vote(id_, "federation", "operator")
    return "shop", resigned(world, world.joining("shop"), proposal=id_)


def rejoin_with_old_keys(world: Council) -> tuple[str, Call]:
    keys = world.new_keys()
    world.make("shop", world.joining("shop", keys))
    world.make("federation", world.leaving("shop"))
    return "shop", world.joining("shop", keys)


CASES: dict[str, tuple[Callable[[Council], tuple[str, Call]], Outcome]] = {
    "sent by another": (
        lambda w: ("rival", w.joining("shop")), refused(Refusal.CHANGE_NOT_YOURS)
    ),
    "a leave by one without a vote": (
        lambda w: ("shop", w.leaving("mutual")), refused(Refusal.CHANGE_NOT_YOURS)
    ),
    "a rotation of another's keys": (
        lambda w: ("federation", w.rotating("insurer")), refused(Refusal.CHANGE_NOT_YOURS)
    ),
    "a replacement by another": (
        lambda w: ("federation", w.replacing("federation", "rival")),
        refused(Refusal.CHANGE_NOT_YOURS),
    ),
    "a leave once more": (
        replayed, refused(Refusal.PROPOSAL_IN_WRONG_STATE, State.ENACTED)
    ),
    "after its last second": (too_late, refused(Refusal.TOO_LATE, TIME + 2 * DAY)),
    "before its height": (
        lambda w: voted(w, JoinValidators(w.ids["shop"]), effect=3),
        refused(Refusal.NOT_IN_EFFECT_YET, 3),
    ),
    "on what has not passed": (
        only_open, refused(Refusal.PROPOSAL_IN_WRONG_STATE, State.OPEN)
    ),
    "on another's vote": (
        lambda w: voted(w, JoinValidators(w.ids["rival"])),
        refused(Refusal.PROPOSAL_OF_ANOTHER_CHANGE),
    ),
    "on a vote to leave": (
        lambda w: voted(w, LeaveValidators(w.ids["shop"])),
        refused(Refusal.PROPOSAL_OF_ANOTHER_CHANGE),
    ),
    "on no vote": (
        lambda w: ("shop", changed(w.joining("shop"), proposal=bytes(32))),
        refused(Refusal.PROPOSAL_UNKNOWN),
    ),
    "a join of a validator": (
        lambda w: ("insurer", w.joining("insurer")), refused(Refusal.ALREADY_VALIDATOR)
    ),
    "a replacement by a validator": (
        lambda w: ("insurer", w.replacing("mutual", "insurer")),
        refused(Refusal.ALREADY_VALIDATOR),
    ),
    "a leave of a member without": (
        lambda w: ("insurer", w.leaving("shop")), refused(Refusal.NO_VALIDATOR)
    ),
    "a replacement of a member without": (
        lambda w: ("rival", w.replacing("shop", "rival")), refused(Refusal.NO_VALIDATOR)
    ),
    "a rotation without a validator": (
        lambda w: ("shop", w.rotating("shop")), refused(Refusal.NO_VALIDATOR)
    ),
    "below four": (
        lambda w: ("insurer", w.leaving("mutual")), refused(Refusal.TOO_FEW_VALIDATORS, 3)
    ),
    "a family that would decide": (
        lambda w: ("rival", w.replacing("operator", "rival"))
        if w.make("shop", w.replacing("mutual", "shop")) == DONE
        else ("", w.rotating("shop")),
        refused(Refusal.FAMILY_WOULD_DECIDE, Family.OPTICIAN),
    ),
    "a consensus key of somebody": (
        lambda w: stolen(w, 0, key_of("insurer", Role.TRANSACTION).public),
        refused(Refusal.KEY_TAKEN, 0),
    ),
    "another's node key": (
        lambda w: stolen(w, 2, key_of("insurer", Role.TLS).public), refused(Refusal.KEY_TAKEN, 2)
    ),
    "its keys of before": (rejoin_with_old_keys, refused(Refusal.KEY_TAKEN, 0)),
    "a key of low order": (
        lambda w: stolen(w, 1, b"\x01" + bytes(31)), refused(Refusal.KEY_UNUSABLE, 1)
    ),
    "far from the head": (stale_block, refused(Refusal.BLOCK_NOT_RECENT)),
    "no consensus key": (
        lambda w: unproved(w, "consensus"), refused(Refusal.POSSESSION_NOT_PROVED, 0)
    ),
    "no checkpoint key": (
        lambda w: unproved(w, "checkpoint"), refused(Refusal.POSSESSION_NOT_PROVED, 1)
    ),
    "no node key": (lambda w: unproved(w, "node"), refused(Refusal.POSSESSION_NOT_PROVED, 2)),
    "nothing new": (
        lambda w: (
            "insurer",
            w.rotating(
                "insurer", w.new_keys(keep=w.chain.validators.members[2], kept=(0, 1, 2))
            ),
        ),
        refused(Refusal.KEYS_UNCHANGED),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_says_why_and_changes_nothing(name: str) -> None:
    world = Council()
    case, expected = CASES[name]
    sender, call = case(world)
    world.block(after=0)
    before, validators = eras.latest(world.state), world.chain.next_validators
    assert world.make(sender, call) == expected
    assert eras.latest(world.state) == before
    assert world.chain.next_validators == validators
    for key in keys_named(call):  # what was refused takes no key out of use
        if key not in world.known or expected.code == Refusal.KEY_TAKEN:
            continue
        taken = world.state.get(b"u" + key)
        assert taken is None or key in {k for v in validators.members for k in list_of(v)}


def keys_named(call: Call) -> tuple[bytes, ...]:
    match call:
        case (
            ValidatorJoin(change=change)
            | ValidatorReplace(change=change)
            | ValidatorRotate(change=change)
        ):
            return change.keys.consensus, change.keys.checkpoint, change.keys.node
        case _:
            return ()


def test_of_two_changes_in_a_block_the_second_is_refused() -> None:
    world = Council()
    executed = world.block(
        world.transaction("shop", world.joining("shop")),
        world.transaction("insurer", world.rotating("insurer")),
        world.transaction("rival", world.joining("rival")),
    )
    under_way = refused(Refusal.CHANGE_UNDER_WAY)
    assert executed.outcomes == (DONE, under_way, under_way)
    assert len(world.chain.next_validators) == 5
    assert world.make("insurer", world.rotating("insurer")) == DONE


def test_a_hundred_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Council()
    monkeypatch.setattr(membership, "MAX_VALIDATORS", 4)
    assert world.make("shop", world.joining("shop")) == refused(Refusal.TOO_MANY_VALIDATORS)


def test_a_network_of_few_shrinks_to_one_and_not_further() -> None:
    world = Council()
    members = world.chain.validators.members
    state = Overlay(world.state)
    eras.begin(state, 1, ValidatorSet(members[:2]))
    world.state.apply(state.changes)
    world.block()
    assert world.make("operator", world.leaving("federation")) == DONE
    assert world.make("operator", world.leaving("operator")) == refused(
        Refusal.TOO_FEW_VALIDATORS, 0
    )


def test_a_validators_keys_are_three() -> None:
    world = Council()
    call = world.joining("shop")
    keys = call.change.keys
    twice = (keys.consensus, keys.consensus, keys.node)
    change = call.change
    raw = encode((50, (50, change.member, twice, change.proposal), call.possession))
    with pytest.raises(Malformed):
        parse_call(raw)


def test_what_costs_signatures_is_paid_for() -> None:
    world = Council()
    join, leave, rotation = world.joining("shop"), world.leaving("mutual"), world.rotating("mutual")
    assert join.cost == world.replacing("mutual", "shop").cost == rotation.cost == 64 + 18 * 3
    assert leave.cost == 64


def test_signed_bytes_bind_the_chain_and_tell_kinds_apart() -> None:
    world = Council()
    join = world.joining("shop")
    rotation = world.rotating("mutual")
    proved = {
        membership.possession_bytes(chain, change, height, block)
        for change in (join.change, rotation.change)
        for chain in (world.chain_id, bytes(32))
        for height in (1, 2)
        for block in (bytes(32), bytes(31) + b"\x01")
    }
    assert len(proved) == 16


# --- any sequence ---------------------------------------------------------------------------------

NAMES = list(FAMILIES)
Step = tuple[str, str, str, bool]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("join", "leave", "replace", "rotate", "nothing")),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.booleans(),  # in the block of the step before
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_whatever_is_asked_the_validators_stay_sound(
    steps: list[tuple[str, str, str, bool]],
) -> None:
    world = Council()
    history = [world.chain.validators] * 3  # by height: of 0, 1 and 2
    batch: list[tuple[str, Call]] = []

    def close() -> None:
        sent = [world.transaction(*each, valid_for=DAY) for each in batch]
        executed = world.block(*sent, after=DAY)
        batch.clear()
        before = history[-1]
        history.append(world.chain.next_validators)
        check(executed, world, before)

    for kind, name, other, together in steps:
        if not together:
            close()
        match kind:
            case "join":
                batch.append((name, world.joining(name)))
            case "leave":
                batch.append((other, world.leaving(name)))
            case "replace":
                batch.append((other, world.replacing(name, other)))
            case "rotate":
                batch.append((name, world.rotating(name)))
            case _:
                pass
    close()
    for height, validators in enumerate(history):
        assert eras.validators_at(world.state, height) == validators


def check(executed: Executed, world: Council, before: object) -> None:
    applied = sum(outcome.code == 0 for outcome in executed.outcomes)
    after = world.chain.next_validators
    assert applied <= 1
    assert (after != before) == (applied == 1)
    n = len(after)
    assert n >= membership.LEAST
    families = Counter(FAMILIES[world.names[v.member]] for v in after.members)  # type: ignore[index]
    assert max(families.values()) < quorum(n)
    keys = [key for validator in after.members for key in list_of(validator)]
    assert len(set(keys)) == 3 * n
    for validator in after.members:
        for key in list_of(validator):
            assert world.state.get(b"u" + key) == validator.member


def test_validator_keys_are_what_their_set_shows() -> None:
    validator = World().chain.validators.members[0]
    assert membership.keys_of(validator) == ValidatorKeys(*list_of(validator))


def test_those_who_are_left_can_still_reinstate_the_others() -> None:
    """Five of whom two are suspended: a fourth of them who goes, or is replaced, must be one."""
    world = Council()
    world.let_validate(*VALIDATORS, "shop")
    state = Overlay(world.state)
    for name in ("insurer", "mutual"):
        registry.suspend(state, world.ids[name], world.height)
    world.state.apply(state.changes)
    unable = refused(Refusal.NOBODY_COULD_DECIDE)
    assert world.make("shop", world.leaving("operator")) == unable
    assert world.make("rival", world.replacing("operator", "rival")) == unable  # one family is left
    assert world.make("shop", world.leaving("insurer")) == DONE
    assert world.make("auditor", world.joining("auditor")) == DONE
