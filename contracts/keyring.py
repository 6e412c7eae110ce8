"""A member's own keys: it adds, ends and changes them itself, and never loses its last one.

Heights are announced: a key begins and ends at one that everybody knows before. The keys by which a
validator votes are not touched here (`contracts.membership`).
"""

from typing import Final

from contracts import eras, registry
from contracts.calls.registry import (
    MAX_LIVE_KEYS,
    MAX_ROTATING_KEYS,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
)
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import KeyInUse, Refusal, Refused
from contracts.life import Rule, Rules
from contracts.registry import Key
from contracts.state import Reader
from ledger import keys
from ledger.errors import BadKey, BadSignature
from ledger.keys import Algorithm, Role


def possession_bytes(
    chain_id: bytes, member: bytes, role: Role, algorithm: Algorithm, public: bytes
) -> bytes:
    """Return what a new key of `member` signs, to show that it is held.

    A key for sealing signs too, this once: or anybody could take as its own, and so spoil for ever,
    a key that another member is about to register.
    """
    return b"depoli/sign/key/1\x00" + chain_id + member + bytes((role, algorithm)) + public


def add(context: Context, call: KeyAdd) -> Concerned:
    """Give the sender one more key, or raise `Refused`."""
    first = _effect(context, call.from_height)
    if call.until_height is not None and call.until_height <= first:
        raise Refused(Refusal.KEY_NEVER_IN_FORCE, first)
    _require_fewer(context, MAX_LIVE_KEYS)
    _require_new(context, call)
    _register(context, call, first, call.until_height)
    return NOBODY_ELSE


def revoke(context: Context, call: KeyRevoke) -> Concerned:
    """End a key of the sender, or raise `Refused`."""
    last = _effect(context, call.height)
    held = _require_endable(context, call.key_id, last)
    if held.role is Role.TRANSACTION and not _has_another(context, call.key_id, last):
        raise Refused(Refusal.LAST_KEY)
    registry.end(context.state, context.sender, call.key_id, last)
    return NOBODY_ELSE


def rotate(context: Context, call: KeyRotate) -> Concerned:
    """End a key of the sender and give it another, or raise `Refused`."""
    last = _effect(context, call.height)
    held = _require_endable(context, call.key_id, last)
    if held.role is not call.role:
        raise Refused(Refusal.KEY_OF_ANOTHER_ROLE, held.role)
    _require_fewer(context, MAX_ROTATING_KEYS)
    _require_new(context, call)
    registry.end(context.state, context.sender, call.key_id, last)
    _register(context, call, last, None)
    return NOBODY_ELSE


def _effect(context: Context, height: int) -> int:
    """Return where a change that is announced for `height` takes effect: not in this block."""
    return max(height, context.height + 1)


def _require_fewer(context: Context, limit: int) -> None:
    """Require that few keys of the sender are live: a key that ends far ahead is until then."""
    if len(registry.live_keys(context.state, context.sender, context.height)) >= limit:
        raise Refused(Refusal.TOO_MANY_KEYS, limit)


def _require_new(context: Context, call: KeyAdd | KeyRotate) -> None:
    """Require that the key is usable and new, and signed by who holds it."""
    try:
        registry.require_new(context.state, call.role, call.algorithm, call.public)
    except BadKey:
        raise Refused(Refusal.NEW_KEY_UNUSABLE) from None
    except KeyInUse:
        raise Refused(Refusal.NEW_KEY_TAKEN) from None
    message = possession_bytes(
        context.chain_id, context.sender, call.role, call.algorithm, call.public
    )
    try:
        keys.verify(call.public, message, call.possession, what="it")
    except BadSignature:
        raise Refused(Refusal.NEW_KEY_NOT_PROVED) from None


def _register(context: Context, call: KeyAdd | KeyRotate, first: int, until: int | None) -> None:
    state, sender = context.state, context.sender
    registry.forget_ended(state, sender, context.height)
    registry.register(state, sender, call.role, call.algorithm, call.public, first, until)


def _require_endable(context: Context, id_: bytes, height: int) -> Key:
    """Return a key of the sender that may end at `height`, or raise `Refused`."""
    held = registry.key(context.state, context.sender, id_)
    if held is None:
        raise Refused(Refusal.KEY_UNKNOWN)
    if held.until_height is not None and held.until_height <= height:
        raise Refused(Refusal.KEY_ENDED, held.until_height)
    if held.role in (Role.CONSENSUS, Role.CHECKPOINT) or _is_of_validator(context, held):
        raise Refused(Refusal.KEY_OF_VALIDATOR)
    return held


def _is_of_validator(context: Context, held: Key) -> bool:
    """Return whether this is the node's key of a validator, now or soon."""
    sets = (
        eras.validators_at(context.state, context.height),
        eras.latest(context.state).validators,
    )
    return any(held.public == each.node_key for voters in sets for each in voters.members)


def _has_another(context: Context, id_: bytes, height: int) -> bool:
    """Return whether the sender has another transaction key, from `height` on and for ever."""
    return any(
        held.role is Role.TRANSACTION and held.until_height is None and held.from_height <= height
        for each, held in registry.live_keys(context.state, context.sender, height)
        if each != id_
    )


def _concerned(_state: Reader, _call: object, _made: bytes) -> Concerned:
    return NOBODY_ELSE


RULES: Final[Rules] = {
    KeyAdd: Rule(add, _concerned),
    KeyRevoke: Rule(revoke, _concerned),
    KeyRotate: Rule(rotate, _concerned),
}
