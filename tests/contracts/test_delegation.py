"""Acting for another member: in what was granted, until it ends, and never beyond."""

from typing import get_args

import pytest

from contracts import delegation, dispatch, registry
from contracts.calls import (
    AuthorisationCancel,
    Call,
    ClaimCancel,
    ClaimWithdraw,
    DelegationGrant,
    DelegationWithdraw,
    ErasureOutcome,
    ErasureStatement,
    KeyAdd,
    KeyRevoke,
    MarkLock,
    PrescriptionCommit,
    Scope,
    SettlementConfirm,
    SettlementWithdraw,
    encode_call,
)
from contracts.calls.registry import ALL_SCOPES
from contracts.delegation import MAX_AHEAD_S
from contracts.errors import (
    BeyondDelegation,
    KeyNotForTransactions,
    KeyNotInForce,
    NotDelegated,
    Refusal,
    SenderNotAdmitted,
)
from contracts.state import Overlay
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import Transaction
from tests.contracts.test_keyring import P256, adding, id_of
from tests.contracts.world import World, bytes32, key_of

DELEGATE = key_of("operator")
COMMIT = PrescriptionCommit(bytes32("one"))


def delegated(world: World, *sent: Call) -> Transaction:
    """Return calls in the shop's name, signed by the operator."""
    return world.transaction("shop", *sent, key=DELEGATE)


def granted(scope: int = ALL_SCOPES, seconds: int = 3_600) -> World:
    world = World()
    until = world.chain.header.time + 1 + seconds
    assert world.call("shop", DelegationGrant(world.ids["operator"], scope, until)) == 0
    return world


def test_a_delegate_acts_in_the_name_of_the_principal() -> None:
    world = granted(Scope.CLAIMS)
    executed = world.block(delegated(world, COMMIT, MarkLock(bytes32("lock"))))
    assert [each.code for each in executed.outcomes] == [0, 0]
    assert executed.entries[0].sender == world.ids["shop"]
    assert executed.concerned == ((world.ids["shop"],),) * 2


def test_nobody_acts_for_another_without_being_told_so() -> None:
    world = World()
    with pytest.raises(NotDelegated):
        world.execute([delegated(world, COMMIT)])
    world = granted()
    with pytest.raises(NotDelegated):  # it is no mutual agreement
        world.execute([world.transaction("operator", COMMIT, key=key_of("shop"))])
    with pytest.raises(NotDelegated):  # nor one with everybody
        world.execute([world.transaction("shop", COMMIT, key=key_of("rival"))])


def test_a_grant_and_a_withdrawal_concern_the_delegate() -> None:
    world = World()
    grant = DelegationGrant(world.ids["operator"], 1, world.chain.header.time + 9)
    withdraw = DelegationWithdraw(world.ids["operator"])
    executed = world.block(world.transaction("shop", grant, withdraw))
    assert executed.concerned == ((world.ids["shop"], world.ids["operator"]),) * 2
    for entry, members in zip(executed.entries, executed.concerned, strict=True):
        assert dispatch.concerned(world.state, entry) == members


def test_a_delegation_ends_when_it_is_withdrawn() -> None:
    world = granted()
    world.block(delegated(world, COMMIT))
    withdraw = DelegationWithdraw(world.ids["operator"])
    assert world.call("shop", withdraw) == 0
    with pytest.raises(NotDelegated):
        world.execute([delegated(world, COMMIT)])
    assert world.call("shop", withdraw) == Refusal.DELEGATION_UNKNOWN
    found = delegation.between(world.state, world.ids["shop"], world.ids["operator"])
    assert found is not None
    assert found.is_withdrawn


def test_a_delegation_ends_by_itself() -> None:
    world = granted(seconds=10)
    world.block(delegated(world, COMMIT), after=10)
    with pytest.raises(NotDelegated):
        world.execute([delegated(world, COMMIT)], after=1)
    withdraw = DelegationWithdraw(world.ids["operator"])
    assert world.call("shop", withdraw) == Refusal.DELEGATION_UNKNOWN


def test_another_grant_takes_the_place_of_the_one_before() -> None:
    world = granted(Scope.CLAIMS)
    until = world.chain.header.time + 100
    narrower = DelegationGrant(world.ids["operator"], Scope.SETTLEMENTS, until)
    assert world.call("shop", narrower) == 0
    with pytest.raises(BeyondDelegation):
        world.execute([delegated(world, COMMIT)])
    world.block(delegated(world, SettlementConfirm(bytes32("none"))))


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (Scope.CLAIMS, COMMIT),
        (Scope.CLAIMS, ClaimCancel(bytes32("a claim"))),
        (Scope.CLAIMS, ErasureStatement(bytes32("an erasure"), ErasureOutcome.ERASED)),
        (Scope.AUTHORISATIONS, AuthorisationCancel(bytes32("an authorisation"))),
        (Scope.DISPUTES, ClaimWithdraw(bytes32("a claim"))),
        (Scope.DISPUTES, SettlementWithdraw(bytes32("a settlement"))),
        (Scope.SETTLEMENTS, SettlementConfirm(bytes32("a settlement"))),
    ],
)
def test_every_call_of_a_delegate_is_within_the_scope(scope: Scope, allowed: Call) -> None:
    world = granted(scope)
    world.block(delegated(world, allowed))
    world = granted(ALL_SCOPES - scope)
    other = COMMIT if scope is not Scope.CLAIMS else SettlementConfirm(bytes32("none"))
    with pytest.raises(BeyondDelegation, match="call 1, of the kind"):
        world.execute([delegated(world, other, allowed)])


def test_what_a_delegate_never_does_is_in_no_scope() -> None:
    """Keys, delegations, votes, validators and settling are beyond the widest delegation."""
    for call in get_args(Call):
        pays = call.KIND in {40, 170, 171, 172, 173, 175, 177}
        is_beyond = pays or 50 <= call.KIND <= 72 or call.KIND >= 200
        assert (call.KIND not in delegation.SCOPES) == is_beyond, call
    world = granted(ALL_SCOPES)
    for call in (
        adding(world, P256),
        KeyRevoke(id_of(key_of("shop")), 0),
        DelegationGrant(world.ids["operator"], ALL_SCOPES, world.chain.header.time + 9),
        DelegationWithdraw(world.ids["operator"]),
    ):
        with pytest.raises(BeyondDelegation):
            world.execute([delegated(world, COMMIT, call)])


def test_every_number_in_a_scope_is_that_of_a_call() -> None:
    kinds = {call.KIND for call in get_args(Call)}
    assert delegation.SCOPES.keys() <= kinds
    assert set(delegation.SCOPES.values()) <= set(Scope)
    assert sum(Scope) == ALL_SCOPES


def test_a_delegate_in_no_good_standing_acts_for_nobody() -> None:
    world = granted()
    changes = Overlay(world.state)
    registry.suspend(changes, world.ids["operator"], world.height)
    world.state.apply(changes.changes)
    with pytest.raises(SenderNotAdmitted):
        world.execute([delegated(world, COMMIT)])


def test_a_delegate_signs_by_a_transaction_key_in_force() -> None:
    world = granted()
    human = key_of("operator", Role.HUMAN)
    message = b"depoli/sign/key/1\0" + world.chain_id + world.ids["operator"] + b"\x06\x01"
    proof = human.sign(message + human.public)
    add = KeyAdd(Role.HUMAN, Algorithm.ED25519, human.public, 0, None, proof)
    assert world.call("operator", add) == 0
    with pytest.raises(KeyNotForTransactions, match="human"):
        world.execute([world.transaction("shop", COMMIT, key=human, role=Role.HUMAN)])
    consensus = key_of("operator", Role.CONSENSUS)
    with pytest.raises(KeyNotForTransactions, match="consensus"):
        world.execute([world.transaction("shop", COMMIT, key=consensus, role=Role.CONSENSUS)])
    changes = Overlay(world.state)
    id_ = key_id(Role.TRANSACTION, Algorithm.ED25519, DELEGATE.public)
    registry.end(changes, world.ids["operator"], id_, world.height)
    world.state.apply(changes.changes)
    with pytest.raises(KeyNotInForce):
        world.execute([delegated(world, COMMIT)])


@pytest.mark.parametrize("who", ["shop", "nobody", "suspended"])
def test_a_delegate_is_another_admitted_member(who: str) -> None:
    world = World()
    delegate = bytes(16) if who == "nobody" else world.ids["shop" if who == "shop" else "rival"]
    if who == "suspended":
        changes = Overlay(world.state)
        registry.suspend(changes, delegate, 0)
        world.state.apply(changes.changes)
    grant = DelegationGrant(delegate, 1, world.chain.header.time + 9)
    expected = Refusal.DELEGATE_IS_SENDER if who == "shop" else Refusal.DELEGATE_UNKNOWN
    assert world.call("shop", grant) == expected


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (-1, Refusal.DELEGATION_NOT_IN_TIME),
        (0, 0),
        (MAX_AHEAD_S, 0),
        (MAX_AHEAD_S + 1, Refusal.DELEGATION_NOT_IN_TIME),
    ],
)
def test_a_delegation_lasts_two_years_at_most(ahead: int, code: int) -> None:
    world = World()
    time = world.chain.header.time + 1
    grant = DelegationGrant(world.ids["operator"], 1, time + ahead)
    executed = world.block(world.transaction("shop", grant))
    assert executed.outcomes[0].code == code
    if code:
        assert executed.outcomes[0].evidence == (time + MAX_AHEAD_S,)


def test_a_delegate_has_not_the_principal_s_key_nor_its_family_s_limits() -> None:
    """A prescriber's delegate is judged as the prescriber, not as what it is itself."""
    world = World()
    until = world.chain.header.time + 100
    assert world.call("doctor", DelegationGrant(world.ids["operator"], 1, until)) == 0
    executed = world.block(
        world.transaction("doctor", COMMIT, MarkLock(bytes32("lock")), key=DELEGATE)
    )
    assert [each.code for each in executed.outcomes] == [0, Refusal.SENDER_NOT_ELIGIBLE]


def test_to_whom_a_member_delegated_is_listed() -> None:
    world = granted(Scope.DISPUTES)
    listed = delegation.given_by(world.state, world.ids["shop"])
    assert [(member, found.scope) for member, found in listed] == [
        (world.ids["operator"], Scope.DISPUTES)
    ]
    assert delegation.given_by(world.state, world.ids["operator"]) == []


def test_a_grant_is_a_few_bytes() -> None:
    assert len(encode_call(DelegationGrant(bytes(16), 15, 2_000_000_000))) == 27
