"""Acting for another member: who may, in what, until when.

A shop's software vendor, or an operator, sends transactions in the shop's name and signs them with
its own key: the sender is the principal, the key that of the delegate. What a delegate may never do
is whatever stands in no scope: keys, delegations, votes, validators, settling.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from contracts import registry
from contracts.calls import Call
from contracts.calls.registry import ALL_SCOPES, DelegationGrant, DelegationWithdraw, Scope
from contracts.context import Concerned, Context
from contracts.errors import (
    BeyondDelegation,
    KeyNotForTransactions,
    NotDelegated,
    Refusal,
    Refused,
    UnknownKey,
)
from contracts.life import Rule, Rules
from contracts.registry import Key
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.keys import Role
from ledger.validators import MEMBER_ID_BYTES, MemberId

MAX_AHEAD_S: Final = (2 * 365 + 1) * 86_400  # two years, one of them a leap year
_DELEGATION: Final = b"d"  # + principal + delegate -> Delegation
MAX_DELEGATES: Final = 1 << 16  # that are looked at

# By the number of a call. One that is not here no delegate may make.
SCOPES: Final = {
    **dict.fromkeys((10, 11, 12, 20), Scope.CLAIMS),
    **dict.fromkeys((30, 31, 32, 33, 130, 131, 132, 133, 138, 139), Scope.CLAIMS),
    **dict.fromkeys((180, 181, 182), Scope.CLAIMS),
    **dict.fromkeys((100, 101, 102, 103, 104, 105, 106), Scope.AUTHORISATIONS),
    41: Scope.SETTLEMENTS,
    **dict.fromkeys((134, 135, 136, 137, 174, 176), Scope.DISPUTES),
}


class Delegation(Struct):
    """What a member lets another one do in its name; the last word on it, for each two."""

    scope: Annotated[int, msgspec.Meta(ge=1, le=ALL_SCOPES)]
    since: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, unix seconds
    until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # its last second
    is_withdrawn: bool = False

    def is_in_force(self, time: int) -> bool:
        """Return whether it is good in a block of this time."""
        return not self.is_withdrawn and time <= self.until


def grant(context: Context, call: DelegationGrant) -> Concerned:
    """Let a member act for the sender, or raise `Refused`. It concerns that member."""
    if call.delegate == context.sender:
        raise Refused(Refusal.DELEGATE_IS_SENDER)
    if registry.admitted(context.state, call.delegate) is None:
        raise Refused(Refusal.DELEGATE_UNKNOWN)
    if not context.time <= call.until <= context.time + MAX_AHEAD_S:
        raise Refused(Refusal.DELEGATION_NOT_IN_TIME, context.time + MAX_AHEAD_S)
    made = Delegation(call.scope, context.time, call.until)
    context.state.put(_DELEGATION + context.sender + call.delegate, encode(made))
    return (MemberId(call.delegate),)


def withdraw(context: Context, call: DelegationWithdraw) -> Concerned:
    """Let a member act for the sender no more, or raise `Refused`. It concerns that member."""
    found = between(context.state, context.sender, call.delegate)
    if found is None or not found.is_in_force(context.time):
        raise Refused(Refusal.DELEGATION_UNKNOWN)
    ended = msgspec.structs.replace(found, is_withdrawn=True)
    context.state.put(_DELEGATION + context.sender + call.delegate, encode(ended))
    return (MemberId(call.delegate),)


def between(state: Reader, principal: bytes, delegate: bytes) -> Delegation | None:
    """Return what `principal` last let `delegate` do, in force or not, None if it never did."""
    found = state.get(_DELEGATION + principal + delegate)
    return None if found is None else decode(found, Delegation)


def given_by(state: Reader, principal: bytes) -> list[tuple[MemberId, Delegation]]:
    """Return to whom `principal` ever delegated, in force or not."""
    found = state.scan(_DELEGATION + principal, MAX_DELEGATES)
    return [(MemberId(name[-MEMBER_ID_BYTES:]), decode(value, Delegation)) for name, value in found]


def signing_key(
    state: Reader, sender: bytes, key_id: bytes, *, height: int, time: int
) -> tuple[Key, int | None]:
    """Return the key that signs a transaction in `sender`'s name, and the scope it is bound to.

    The sender's own keys are bound to none. Raises as `registry.transaction_key`; and where the
    key is of another member, `NotDelegated`, or `SenderNotAdmitted` of that one.
    """
    own = registry.key(state, sender, key_id)
    if own is not None:
        registry.require_signing(own, key_id, height)
        return own, None
    owner = registry.owner_of(state, key_id)
    if owner is None:
        raise UnknownKey(sender, key_id)
    found = between(state, sender, owner)
    if found is None or not found.is_in_force(time):
        raise NotDelegated(sender, owner)
    registry.sender(state, owner)
    key = registry.transaction_key(state, owner, key_id, height)
    if key.role is not Role.TRANSACTION:
        raise KeyNotForTransactions(key_id, key.role.name.lower())
    return key, found.scope


def require_within(scope: int | None, calls: Sequence[Call]) -> None:
    """Raise `BeyondDelegation` at the first call that a key bound to `scope` may not sign."""
    if scope is not None:
        for position, call in enumerate(calls):
            if not scope & SCOPES.get(call.KIND, 0):
                raise BeyondDelegation(position, call.KIND)


def _concerned(
    _state: Reader, call: DelegationGrant | DelegationWithdraw, _made: bytes
) -> Concerned:
    return (MemberId(call.delegate),)


RULES: Final[Rules] = {
    DelegationGrant: Rule(grant, _concerned),
    DelegationWithdraw: Rule(withdraw, _concerned),
}
