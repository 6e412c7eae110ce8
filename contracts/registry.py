"""The members and their keys: who they are, where they stood when, which key was good when.

They come from genesis, and by votes after it. Nothing is ever deleted: a key that ends and a member
that goes stay written, so that what was signed at any height can be judged at any later one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from contracts.errors import (
    KeyInUse,
    KeyNotForTransactions,
    KeyNotInForce,
    SenderNotAdmitted,
    UnknownKey,
    UnknownSender,
)
from contracts.state import Overlay, Reader
from ledger.encoding import U32_MAX, U63_MAX, Struct, decode, encode
from ledger.errors import BadKey
from ledger.hashing import Domain, hash_of
from ledger.keys import KEY_ID_BYTES, Algorithm, KeyId, Role, key_id, parse_public_key
from ledger.validators import MEMBER_ID_BYTES, MemberId, quorum

_MEMBER: Final = b"m"  # + member -> Member; + u32 after that -> Standing, from 0
_KEY: Final = b"k"  # + member + key id -> Key
MAX_KEYS: Final = 1 << 20  # that are looked at: far more than members register
_USED: Final = b"u"  # + public key -> member; never removed: a key has one owner for ever
_OWNER: Final = b"i"  # + key id -> member; no two keys of the network have one id, ever
_LIVE: Final = b"i"  # + member -> key ids, joined: its keys, but for some that have ended

FAMILY_RULE_FROM: Final = 4  # validators

Height = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
Country = Annotated[bytes, msgspec.Meta(min_length=2, max_length=2)]  # ISO 3166-1 alpha-2, ASCII


class Family(IntEnum):
    """What kind of organisation a member is."""

    OPTICIAN = 1
    OPERATOR = 2  # of third-party payment
    INSURER = 3
    AUDITOR = 4
    PRESCRIBER = 5


class Status(IntEnum):
    """Where a member stands."""

    ADMITTED = 1
    SUSPENDED = 2
    REMOVED = 3


class Member(Struct):
    """A member, by its id."""

    family: Family
    country: Country
    status: Status
    since: Height = 0  # when it came to stand there
    changes: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)] = 0  # since it was admitted


class Standing(Struct):
    """Where a member stood from a height on, until it stood elsewhere."""

    height: Height
    status: Status


class Key(Struct):
    """A key of a member, by member and key id; in force at heights [from_height, until_height)."""

    role: Role
    algorithm: Algorithm
    public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=33)]
    from_height: Height
    until_height: Height | None

    def is_in_force(self, height: int) -> bool:
        """Return whether the key is good at `height`."""
        return self.from_height <= height and not self.has_ended(height)

    def has_ended(self, height: int) -> bool:
        """Return whether the key is not good at `height`, nor ever after."""
        return self.until_height is not None and self.until_height <= height


def member_id(transaction_key: bytes) -> MemberId:
    """Return the id of the member whose first transaction key this is."""
    return MemberId(hash_of(Domain.MEMBER, transaction_key)[:MEMBER_ID_BYTES])


def member(state: Reader, id_: bytes) -> Member | None:
    """Return the member with this id, None where there is none."""
    found = state.get(_MEMBER + id_)
    return None if found is None else _parse_member(found)


def members(state: Reader) -> list[tuple[MemberId, Member]]:
    """Return every member that there ever was."""
    found = state.scan(_MEMBER, MAX_KEYS)
    whole = len(_MEMBER) + MEMBER_ID_BYTES
    return [
        (MemberId(name[len(_MEMBER) :]), _parse_member(value))
        for name, value in found
        if len(name) == whole
    ]


def admitted(state: Reader, id_: bytes) -> Member | None:
    """Return the member with this id if it is in good standing."""
    found = member(state, id_)
    return found if found is not None and found.status is Status.ADMITTED else None


def sender(state: Reader, id_: bytes) -> Member:
    """Return the member who sends a transaction; raise `UnknownSender`, `SenderNotAdmitted`."""
    found = member(state, id_)
    if found is None:
        raise UnknownSender(id_)
    if found.status is not Status.ADMITTED:
        raise SenderNotAdmitted(id_, found.status.name.lower())
    return found


def transaction_key(state: Reader, owner: bytes, id_: bytes, height: int) -> Key:
    """Return the key that signs a transaction of `owner` at `height`.

    Raises `UnknownKey`, `KeyNotForTransactions`, `KeyNotInForce`.
    """
    found = key(state, owner, id_)
    if found is None:
        raise UnknownKey(owner, id_)
    require_signing(found, id_, height)
    return found


def require_signing(found: Key, id_: bytes, height: int) -> None:
    """Raise `KeyNotForTransactions` or `KeyNotInForce` unless a key may sign at `height`."""
    if not found.role.signs_transactions:
        raise KeyNotForTransactions(id_, found.role.name.lower())
    if not found.is_in_force(height):
        raise KeyNotInForce(id_, height)


def key(state: Reader, owner: bytes, id_: bytes) -> Key | None:
    """Return the key of `owner` with this id, None where it never had one."""
    found = state.get(_KEY + owner + id_)
    return None if found is None else _parse_key(found)


def keys_of(state: Reader, owner: bytes) -> list[tuple[KeyId, Key]]:
    """Return every key that `owner` ever had, with its id."""
    found = state.scan(_KEY + owner, MAX_KEYS)
    return [(KeyId(name[-KEY_ID_BYTES:]), _parse_key(value)) for name, value in found]


def live_keys(state: Reader, owner: bytes, height: int) -> list[tuple[KeyId, Key]]:
    """Return the keys of `owner` that have not ended at `height`, the oldest first."""
    ids = state.get(_LIVE + owner) or b""
    found = []
    for place in range(0, len(ids), KEY_ID_BYTES):
        id_ = KeyId(ids[place : place + KEY_ID_BYTES])
        held = key(state, owner, id_)
        assert held is not None  # what is listed was registered
        if not held.has_ended(height):
            found.append((id_, held))
    return found


def keys(state: Reader, role: Role, height: int) -> list[tuple[MemberId, Key]]:
    """Return every key of this role that has not ended at `height`, with its member.

    Keys that have ended, of which a member may pile up any number, are not looked at.
    """
    return [
        (owner, held)
        for owner, _ in members(state)
        for _, held in live_keys(state, owner, height)
        if held.role is role
    ]


def changes_keys(changes: Mapping[bytes, bytes | None], role: Role) -> bool:
    """Return whether a key of this role is among what a block wrote into the state."""
    return any(
        name.startswith(_KEY) and value is not None and _parse_key(value).role is role
        for name, value in changes.items()
    )


def pairs_of(state: Reader, id_: bytes) -> list[tuple[bytes, bytes]]:
    """Return all that the state says of a member and its keys, as it stands there."""
    own = state.get(_LIVE + id_)
    listed = [] if own is None else [(_LIVE + id_, own)]
    owned = [(_OWNER + key_id, bytes(id_)) for key_id, _ in keys_of(state, id_)]
    found = (state.scan(prefix + id_, MAX_KEYS) for prefix in (_MEMBER, _KEY))
    return [pair for pairs in (*found, listed, owned) for pair in pairs]


def standings(state: Reader, id_: bytes) -> list[Standing]:
    """Return where a member stood from when on, the first height first."""
    found = state.scan(_MEMBER + id_, MAX_KEYS)
    return [decode(value, Standing) for name, value in found if len(name) > len(_MEMBER + id_)]


def admit(state: Overlay, id_: MemberId, family: Family, country: bytes, height: int) -> None:
    """Make `id_` a member from `height` on. It must not be one, nor have been."""
    assert state.get(_MEMBER + id_) is None
    _stand(state, id_, Member(family, country, Status.ADMITTED, height))


def suspend(state: Overlay, id_: bytes, height: int) -> None:
    """Let a member stand aside from `height` on; one that is not admitted stays as it is."""
    _move(state, id_, (Status.ADMITTED,), Status.SUSPENDED, height)


def reinstate(state: Overlay, id_: bytes, height: int) -> None:
    """Admit a suspended member again; any other stays as it is."""
    _move(state, id_, (Status.SUSPENDED,), Status.ADMITTED, height)


def remove(state: Overlay, id_: bytes, height: int) -> None:
    """Let a member go for ever, and end all its keys; one that is gone stays gone."""
    _move(state, id_, (Status.ADMITTED, Status.SUSPENDED), Status.REMOVED, height)
    for each, _ in live_keys(state, id_, height):
        end(state, id_, each, height)


def rekey(state: Overlay, id_: MemberId, algorithm: Algorithm, public: bytes, height: int) -> KeyId:
    """End all keys by which a member signs transactions, and give it a new one; return its id.

    Raises `ledger.errors.BadKey`, `KeyInUse`, and changes nothing then.
    """
    require_new(state, Role.TRANSACTION, algorithm, public)
    for each, held in live_keys(state, id_, height):
        if held.role.signs_transactions:
            end(state, id_, each, height)
    return register(state, id_, Role.TRANSACTION, algorithm, public, height)


def register(
    state: Overlay,
    owner: MemberId,
    role: Role,
    algorithm: Algorithm,
    public: bytes,
    height: int,
    until: int | None = None,
) -> KeyId:
    """Give `owner` a key, in force from `height` on and below `until`; return the key's id.

    Raises `ledger.errors.BadKey` where it is of an algorithm that its role does not allow, not
    canonical or of low order, `KeyInUse` where anybody ever registered it for anything.
    """
    id_ = require_new(state, role, algorithm, public)
    state.put(_KEY + owner + id_, encode(Key(role, algorithm, public, height, until)))
    state.put(_USED + public, owner)
    state.put(_OWNER + id_, owner)
    state.put(_LIVE + owner, (state.get(_LIVE + owner) or b"") + id_)
    return id_


def forget_ended(state: Overlay, owner: bytes, height: int) -> None:
    """Shorten the list of an owner's live keys by those that have ended at `height`."""
    live = (each for each, _ in live_keys(state, owner, height))
    state.put(_LIVE + owner, b"".join(live))


def require_new(state: Reader, role: Role, algorithm: Algorithm, public: bytes) -> KeyId:
    """Return the id that a key would have; raise `ledger.errors.BadKey`, `KeyInUse`."""
    if not role.allows(algorithm):
        raise BadKey(f"a {role.name.lower()} key is Ed25519")
    parse_public_key(algorithm, public)
    id_ = key_id(role, algorithm, public)
    if state.get(_USED + public) is not None or state.get(_OWNER + id_) is not None:
        raise KeyInUse(public)
    return id_


def owner_of(state: Reader, id_: bytes) -> MemberId | None:
    """Return whose key has or had this id, None where none ever had."""
    found = state.get(_OWNER + id_)
    return None if found is None else MemberId(found)


def holds(state: Reader, owner: bytes, role: Role, public: bytes) -> bool:
    """Return whether this is a key of `owner`, of this role, that is not to end."""
    found = key(state, owner, key_id(role, Algorithm.ED25519, public))
    return found is not None and found.until_height is None


def retire(state: Overlay, owner: bytes, role: Role, public: bytes, height: int) -> None:
    """Let a key of a validator end: it is in force below `height`."""
    end(state, owner, key_id(role, Algorithm.ED25519, public), height)


def end(state: Overlay, owner: bytes, id_: bytes, height: int) -> None:
    """Let a key of `owner` end: it is in force below `height`, or less long if it was to be."""
    found = key(state, owner, id_)
    assert found is not None  # the caller has looked, or it is that of a validator
    if not found.has_ended(height):
        ended = msgspec.structs.replace(found, until_height=height)
        state.put(_KEY + owner + id_, encode(ended))


def ruling_family(families: Sequence[Family]) -> Family | None:
    """Return the family that has a quorum of these validators alone, where that is forbidden.

    With fewer than four validators there are not enough families to share.
    """
    n = len(families)
    if n >= FAMILY_RULE_FROM:
        for family, count in Counter(families).items():
            if count >= quorum(n):
                return family
    return None


def _move(
    state: Overlay, id_: bytes, before: tuple[Status, ...], after: Status, height: int
) -> None:
    found = member(state, id_)
    assert found is not None  # nobody votes on a stranger's standing
    if found.status in before:
        changed = msgspec.structs.replace(
            found, status=after, since=height, changes=found.changes + 1
        )
        _stand(state, id_, changed)


def _stand(state: Overlay, id_: bytes, after: Member) -> None:
    state.put(_MEMBER + id_, encode(after))
    number = after.changes.to_bytes(4)
    state.put(_MEMBER + id_ + number, encode(Standing(after.since, after.status)))


# Few values, read by every transaction: what they encode is remembered.


@lru_cache(maxsize=4096)
def _parse_member(data: bytes) -> Member:
    return decode(data, Member)


@lru_cache(maxsize=16384)
def _parse_key(data: bytes) -> Key:
    return decode(data, Key)
