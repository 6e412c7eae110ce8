"""Whose signature counts now: keys of a member that the chain has in force."""

from collections.abc import Mapping
from typing import Final

from ledger.keys import Role, algorithm_of, key_id
from node.client.client import MemberView
from node.client.errors import NotVerified

_SIGNING: Final = frozenset(role.name.lower() for role in Role if role.signs_transactions)


def in_force(member: MemberView, also: str | None = None) -> Mapping[bytes, bytes]:
    """Return the keys by which `member` signs now, by their ids; none of who is not admitted.

    `also` is the key that signed in its name on the chain, where who acts for it did. Keys that
    were revoked or replaced count no more, whatever they signed before: nothing tells when.
    """
    if member.status != "admitted":
        return {}
    held = [key for key in member.keys if key.role in _SIGNING]
    good = {
        bytes.fromhex(key.id): bytes.fromhex(key.public)
        for key in held
        if key.is_in_force(member.height)
    }
    if also is not None and all(key.public != also for key in held):
        public = bytes.fromhex(also)
        good[key_id(Role.TRANSACTION, algorithm_of(public), public)] = public
    return good


def key_in_force(what: str, member: MemberView, id_: bytes, also: str | None = None) -> bytes:
    """Return the key of this id; raise `NotVerified` naming `what` it signed."""
    found = in_force(member, also).get(id_)
    if found is None:
        raise NotVerified(
            what,
            "it is signed by a key that is no key of its member, or no longer",
            hint="ask for a new one, signed by the key that is registered now",
        )
    return found
