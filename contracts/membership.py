"""Who runs a validator, and with which keys: what a call may change of it.

A change in the block at h takes effect at h + 2, at most one in a block. To join, leave or replace
takes a proposal that passed, which is used up by it. A member changes the keys of its own validator
alone, without any vote.
"""

from collections.abc import Sequence
from typing import Final

from contracts import ballot, eras, governance, recent, registry
from contracts.calls import (
    Change,
    Possession,
    ValidatorJoin,
    ValidatorKeys,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
)
from contracts.context import Concerned, Context
from contracts.eras import Era
from contracts.errors import KeyInUse, Refusal, Refused
from contracts.governance import SeatCall
from contracts.life import Rule, Rules
from contracts.state import Reader
from ledger import keys
from ledger.encoding import encode
from ledger.errors import BadKey, BadSignature
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import Algorithm, Role
from ledger.validators import (
    EVERYONE,
    MAX_VALIDATORS,
    MemberId,
    Validator,
    ValidatorSet,
)

EFFECT: Final = 2  # blocks from a change to the first that others sign
LEAST: Final = 4  # validators: once there, they never become fewer
ROTATION_S: Final = 86_400  # between two changes of keys that a member makes alone
_ROTATED: Final = b"y"  # + member -> u64 time of the block

_ROLES: Final = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)


def change_id(chain_id: bytes, change: Change) -> Hash:
    """Return the hash that names a change on one chain."""
    return hash_of(Domain.CHANGE, chain_id, encode(change))


def possession_bytes(chain_id: bytes, change: Change, height: int, block_id: bytes) -> bytes:
    """Return what each new key signs, with a block that is recent when the change is made."""
    head = b"depoli/sign/possession/1\x00" + change_id(chain_id, change)
    return head + height.to_bytes(8) + block_id


def join(context: Context, call: ValidatorJoin) -> Concerned:
    """Let the sender run a validator, or raise `Refused`. It concerns everyone."""
    change, era = call.change, _era(context)
    _require_sender(context, change.member)
    governance.require_passed(context, call)
    members = era.validators.members
    if _place(era, change.member) is not None:
        raise Refused(Refusal.ALREADY_VALIDATOR)
    if len(members) == MAX_VALIDATORS:
        raise Refused(Refusal.TOO_MANY_VALIDATORS)
    after = seated(members, call)
    _require_shared(context.state, after)
    kept = _kept_of_newcomer(context, change.keys)
    _require_keys(context, change.keys, kept)
    _require_possession(context, change, change.keys, call.possession)
    _register(context, change.keys, kept)
    _begin(context, after)
    governance.use_up(context, call)
    return (EVERYONE,)


def leave(context: Context, call: ValidatorLeave) -> Concerned:
    """Take a validator out, or raise `Refused`. It concerns its member, and everyone."""
    change, era = call.change, _era(context)
    if _place(era, context.sender) is None:
        raise Refused(Refusal.CHANGE_NOT_YOURS)
    governance.require_passed(context, call)
    place = _require_place(era, change.member)
    members = era.validators.members
    after = seated(members, call)
    if not after or len(after) < LEAST <= len(members):
        raise Refused(Refusal.TOO_FEW_VALIDATORS, len(after))
    _require_shared(context.state, after)
    _retire(context, members[place])
    _begin(context, after)
    governance.use_up(context, call)
    return _beside(context, change.member)


def replace(context: Context, call: ValidatorReplace) -> Concerned:
    """Put the sender in another's place, or raise `Refused`. It concerns both, and everyone.

    The place may be its own: so it gets other keys sooner than it may change them alone.
    """
    change, era = call.change, _era(context)
    _require_sender(context, change.member)
    governance.require_passed(context, call)
    place = _require_place(era, change.leaving)
    is_own = change.leaving == change.member
    if not is_own and _place(era, change.member) is not None:
        raise Refused(Refusal.ALREADY_VALIDATOR)
    members = era.validators.members
    before = members[place]
    after = seated(members, call)
    _require_shared(context.state, after)
    kept = _kept_of_newcomer(context, change.keys)
    _require_keys(context, change.keys, kept)
    _require_possession(context, change, change.keys, call.possession)
    _retire(context, before, (False, False, not is_own or change.keys.node == before.node_key))
    _register(context, change.keys, kept)
    _begin(context, after)
    governance.use_up(context, call)
    return _beside(context, change.leaving)


def rotate(context: Context, call: ValidatorRotate) -> Concerned:
    """Give the sender's validator other keys, or raise `Refused`. It concerns everyone."""
    change, era = call.change, _era(context)
    _require_sender(context, change.member)
    place = _require_place(era, change.member)
    before = era.validators.members[place]
    kept = [
        new == old for new, old in zip(_listed(change.keys), _listed(keys_of(before)), strict=True)
    ]
    if all(kept):
        raise Refused(Refusal.KEYS_UNCHANGED)
    state, since = context.state, rotated_at(context.state, context.sender)
    if since is not None and context.time < since + ROTATION_S:
        raise Refused(Refusal.KEYS_CHANGED_LATELY, since)
    _require_keys(context, change.keys, kept)
    _require_possession(context, change, change.keys, call.possession)
    _retire(context, before, kept)
    _register(context, change.keys, kept)
    state.put(_ROTATED + context.sender, context.time.to_bytes(8))
    _begin(context, seated(era.validators.members, call))
    return (EVERYONE,)


def seated(members: Sequence[Validator], call: SeatCall | ValidatorRotate) -> tuple[Validator, ...]:
    """Return who runs validators after `members`, once a change was made that may be."""
    new: tuple[Validator, ...] = ()
    leaving = call.change.member
    if not isinstance(call, ValidatorLeave):
        new = (_validator(leaving, call.change.keys),)
    if isinstance(call, ValidatorJoin):
        return (*members, *new)
    if isinstance(call, ValidatorReplace):
        leaving = call.change.leaving
    place = next(index for index, each in enumerate(members) if each.member == leaving)
    return (*members[:place], *new, *members[place + 1 :])


def rotated_at(state: Reader, member: bytes) -> int | None:
    """Return the block time at which `member` last changed its validator's keys, or None."""
    found = state.get(_ROTATED + member)
    return None if found is None else int.from_bytes(found)


def keys_of(validator: Validator) -> ValidatorKeys:
    """Return the keys that a validator has."""
    return ValidatorKeys(validator.consensus_key, validator.checkpoint_key, validator.node_key)


def _era(context: Context) -> Era:
    """Return the era that a change in this block would follow."""
    era = eras.latest(context.state)
    if era.from_height == context.height + EFFECT:
        raise Refused(Refusal.CHANGE_UNDER_WAY)
    return era


def _place(era: Era, member: bytes) -> int | None:
    """Return the index of the validator that `member` runs, None if it runs none."""
    for index, validator in enumerate(era.validators.members):
        if validator.member == member:
            return index
    return None


def _require_place(era: Era, member: bytes) -> int:
    place = _place(era, member)
    if place is None:
        raise Refused(Refusal.NO_VALIDATOR)
    return place


def _require_sender(context: Context, member: bytes) -> None:
    if context.sender != member:
        raise Refused(Refusal.CHANGE_NOT_YOURS)


def _require_shared(state: Reader, after: Sequence[Validator]) -> None:
    """Refuse a set of which one family would have a quorum alone, or that could decide nothing."""
    families = []
    for validator in after:
        member = registry.member(state, validator.member)
        assert member is not None  # nobody becomes a validator who is no member
        families.append(member.family)
    if (family := registry.ruling_family(families)) is not None:
        raise Refused(Refusal.FAMILY_WOULD_DECIDE, family)
    if not ballot.could_decide(state, [validator.member for validator in after]):
        raise Refused(Refusal.NOBODY_COULD_DECIDE)


def _kept_of_newcomer(context: Context, wanted: ValidatorKeys) -> list[bool]:
    """Return which keys are registered already: a node that follows may keep its TLS key."""
    return [False, False, registry.holds(context.state, context.sender, Role.TLS, wanted.node)]


def _require_keys(context: Context, wanted: ValidatorKeys, kept: Sequence[bool]) -> None:
    each = zip(_ROLES, _listed(wanted), kept, strict=True)
    for index, (role, public, stays) in enumerate(each):
        try:
            if not stays:
                registry.require_new(context.state, role, Algorithm.ED25519, public)
        except BadKey:
            raise Refused(Refusal.KEY_UNUSABLE, index) from None
        except KeyInUse:
            raise Refused(Refusal.KEY_TAKEN, index) from None


def _require_possession(
    context: Context, change: Change, wanted: ValidatorKeys, proof: Possession
) -> None:
    if not recent.is_recent(context.state, proof.height, proof.block_id):
        raise Refused(Refusal.BLOCK_NOT_RECENT)
    message = possession_bytes(context.chain_id, change, proof.height, proof.block_id)
    signatures = (proof.consensus, proof.checkpoint, proof.node)
    for index, (public, signature) in enumerate(zip(_listed(wanted), signatures, strict=True)):
        if not _is_signed(public, message, signature):
            raise Refused(Refusal.POSSESSION_NOT_PROVED, index)


def _is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(public, message, signature, what="it")
    except BadSignature:
        return False
    return True


def _register(context: Context, wanted: ValidatorKeys, kept: Sequence[bool]) -> None:
    """Give the sender the new keys, in force when they are used."""
    first = context.height + EFFECT
    registry.forget_ended(context.state, context.sender, context.height)
    for role, public, stays in zip(_ROLES, _listed(wanted), kept, strict=True):
        if not stays:
            registry.register(context.state, context.sender, role, Algorithm.ED25519, public, first)


def _retire(
    context: Context, validator: Validator, kept: Sequence[bool] = (False, False, True)
) -> None:
    """End the keys of a validator; one that leaves keeps its node, which follows."""
    last = context.height + EFFECT
    for role, public, stays in zip(_ROLES, _listed(keys_of(validator)), kept, strict=True):
        if not stays:
            registry.retire(context.state, validator.member, role, public, last)


def _begin(context: Context, after: tuple[Validator, ...]) -> None:
    eras.begin(context.state, context.height + EFFECT, ValidatorSet(after))


def _beside(context: Context, member: bytes) -> Concerned:
    """Return whom a change concerns besides its sender: a member, and everyone."""
    others = () if member == context.sender else (MemberId(member),)
    return (*others, EVERYONE)


def _validator(member: bytes, wanted: ValidatorKeys) -> Validator:
    return Validator(member, wanted.consensus, wanted.checkpoint, wanted.node)


def _listed(wanted: ValidatorKeys) -> tuple[bytes, bytes, bytes]:
    return wanted.consensus, wanted.checkpoint, wanted.node


def _concerned(
    _state: Reader, call: ValidatorLeave | ValidatorReplace, _created: bytes
) -> Concerned:
    return MemberId(
        call.change.member if isinstance(call, ValidatorLeave) else call.change.leaving
    ), EVERYONE


def _concerned_everyone(_state: Reader, _call: object, _created: bytes) -> Concerned:
    return (EVERYONE,)


RULES: Final[Rules] = {
    ValidatorJoin: Rule(join, _concerned_everyone),
    ValidatorLeave: Rule(leave, _concerned),
    ValidatorReplace: Rule(replace, _concerned),
    ValidatorRotate: Rule(rotate, _concerned_everyone),
}
