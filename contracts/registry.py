"""The members and their keys. They come from genesis until governance admits others."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import BadKey
from ledger.hashing import Domain, hash_of
from ledger.keys import Algorithm, KeyId, Role, key_id, parse_public_key
from ledger.validators import MEMBER_ID_BYTES, MemberId, quorum

_MEMBER: Final = b"m"  # + member -> Member
_KEY: Final = b"k"  # + member + key id -> Key
MAX_KEYS: Final = 1 << 20  # that are looked at: far more than members register
_USED: Final = b"u"  # + public key -> member; never removed: a key has one owner for ever
_OWNER: Final = b"i"  # + key id -> member; no two keys of the network have one id, ever

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


class Key(Struct):
    """A key of a member, by member and key id; in force at heights [from_height, until_height)."""

    role: Role
    algorithm: Algorithm
    public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=33)]
    from_height: Height
    until_height: Height | None


def member_id(transaction_key: bytes) -> MemberId:
    """Return the id of the member whose first transaction key this is."""
    return MemberId(hash_of(Domain.MEMBER, transaction_key)[:MEMBER_ID_BYTES])


def member(state: Reader, id_: bytes) -> Member | None:
    """Return the member with this id, None where there is none."""
    found = state.get(_MEMBER + id_)
    return None if found is None else _parse_member(found)


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
    found = state.get(_KEY + owner + id_)
    if found is None:
        raise UnknownKey(owner, id_)
    key = _parse_key(found)
    if not key.role.signs_transactions:
        raise KeyNotForTransactions(id_, key.role.name.lower())
    if height < key.from_height or (key.until_height is not None and height >= key.until_height):
        raise KeyNotInForce(id_, height)
    return key


def keys(state: Reader, role: Role) -> list[tuple[MemberId, Key]]:
    """Return every key of this role that was ever registered, with its member."""
    found = state.scan(_KEY, MAX_KEYS)
    owned = ((name[len(_KEY) :][:MEMBER_ID_BYTES], _parse_key(value)) for name, value in found)
    return [(MemberId(owner), key) for owner, key in owned if key.role is role]


def changes_keys(changes: Iterable[bytes]) -> bool:
    """Return whether a key of a member is among the keys of the state that a block wrote."""
    return any(name.startswith(_KEY) for name in changes)


def admit(state: Overlay, id_: MemberId, family: Family, country: bytes) -> None:
    """Make `id_` a member. It must not be one."""
    assert state.get(_MEMBER + id_) is None
    state.put(_MEMBER + id_, encode(Member(family, country, Status.ADMITTED)))


def register(
    state: Overlay, owner: MemberId, role: Role, algorithm: Algorithm, public: bytes, height: int
) -> KeyId:
    """Give `owner` a key, in force from `height` on; return the key's id.

    Raises `ledger.errors.BadKey` where it is of an algorithm that its role does not allow, not
    canonical or of low order, `KeyInUse` where anybody ever registered it for anything.
    """
    id_ = require_new(state, role, algorithm, public)
    state.put(_KEY + owner + id_, encode(Key(role, algorithm, public, height, None)))
    state.put(_USED + public, owner)
    state.put(_OWNER + id_, owner)
    return id_


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
    found = state.get(_KEY + owner + key_id(role, Algorithm.ED25519, public))
    return found is not None and _parse_key(found).until_height is None


def retire(state: Overlay, owner: bytes, role: Role, public: bytes, height: int) -> None:
    """Let a key of `owner` end: it is in force below `height`."""
    place = _KEY + owner + key_id(role, Algorithm.ED25519, public)
    found = state.get(place)
    assert found is not None  # whoever votes has its keys registered
    state.put(place, encode(msgspec.structs.replace(_parse_key(found), until_height=height)))


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


# Few values, read by every transaction: what they encode is remembered.


@lru_cache(maxsize=4096)
def _parse_member(data: bytes) -> Member:
    return decode(data, Member)


@lru_cache(maxsize=16384)
def _parse_key(data: bytes) -> Key:
    return decode(data, Key)
