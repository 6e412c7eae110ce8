"""Which keys of a member count: those that sign for it, and the one that files are sealed to.

Our own node says so, and it may be another organisation's. What it says of a signing key is judged
by the chain too; the sealing key is taken from the genesis document, which every validator signed,
where it stands there.
"""

from contracts.genesis import Genesis
from ledger.keys import Role, algorithm_of
from ledger.keys import key_id as id_of_key
from node.client.client import KeyView, MemberView, NodeClient
from node.client.errors import NotFound, NotVerified


async def sealing_key(node: NodeClient, genesis: Genesis, member: bytes) -> bytes | None:
    """Return the key that files for a member are sealed to, None where it has none.

    Raises `NotFound` where nobody knows the member.
    """
    founder = genesis.member(member)
    public: bytes | None = None if founder is None else founder.key(Role.SEALING)
    return (await node.member(member)).sealing_key if public is None else public


async def signing_key(
    node: NodeClient, member: bytes, key_id: bytes, told: bytes | None = None
) -> bytes:
    """Return the key of this id, with which a member signs now.

    Whose key it is that signs for another member is nobody's business but theirs and our node's:
    it has `told` us the key then. Raises `NotVerified` where the member has no such key, or not any
    more.
    """
    try:
        view = await node.member(member)
    except NotFound:
        raise NotVerified("sender", "no member of this network has this id") from None
    for key in view.keys:
        if key.id == key_id.hex():
            return _in_force(key, view)
    if told is not None and _id_of(told) == key_id:
        return told
    raise NotVerified("key", "it is signed by a key that the sender never had")


def _in_force(key: KeyView, view: MemberView) -> bytes:
    if not Role[key.role.upper()].signs_transactions:
        raise NotVerified("key", f"a {key.role} key signs no post")
    if not key.is_in_force(view.height):
        raise NotVerified(
            "key",
            "it is signed by a key that the sender has no more",
            hint="the sender sends it again, signed with its present key",
        )
    return bytes.fromhex(key.public)


def _id_of(public: bytes) -> bytes:
    return id_of_key(Role.TRANSACTION, algorithm_of(public), public)
