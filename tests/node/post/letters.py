"""Letters of the members of the test networks, and who hands them over."""

import time
from typing import Final

import msgspec

from contracts.genesis import SignedGenesis
from ledger import envelope, mailbox
from ledger.envelope import Envelope
from ledger.keys import Role, key_id
from ledger.mailbox import Mailbox
from node.post.office import PostOffice
from node.post.store import Letter, State
from tests.chainmaker import key_of, member_of, some_bytes
from tests.node.cluster import Node, until

SHOP: Final = "shop-a"
WEEK_S: Final = 7 * 86_400


def letter(
    genesis: SignedGenesis, sender: str, recipient: str, name: object, /, **changed: object
) -> Envelope:
    """Return an envelope of that name; `changed` replaces fields before signing."""
    key = key_of(sender, Role.TRANSACTION)
    body = envelope.Unsigned(
        envelope.VERSION,
        genesis.chain_id,
        member_of(sender),
        key_id(Role.TRANSACTION, key.algorithm, key.public),
        member_of(recipient),
        some_bytes("letter", name)[:16],
        int(time.time()) + WEEK_S,
        some_bytes("content", name),
    )
    return envelope.sign(msgspec.structs.replace(body, **changed), key)


def box(genesis: SignedGenesis, member: str, node: str, *, issued: int | None = None) -> Mailbox:
    """Return where a member has its post brought: to the node of another, say."""
    key = key_of(member, Role.TRANSACTION)
    body = mailbox.Unsigned(
        mailbox.VERSION,
        genesis.chain_id,
        member_of(member),
        key_id(Role.TRANSACTION, key.algorithm, key.public),
        key_of(node, Role.TLS).public,
        int(time.time()) if issued is None else issued,
    )
    return mailbox.sign(body, key)


def office(node: Node) -> PostOffice:
    """Return the post office of a node that runs."""
    return node.running.post.office


async def mail(at: PostOffice, member: str, *, wait_s: float = 0.0) -> list[Letter]:
    """Return what waits for a member at a node."""
    return await at.mail(member_of(member), after=0, limit=100, most=1 << 20, wait_s=wait_s)


async def until_state(at: PostOffice, id_: bytes, state: State) -> None:
    """Wait until an envelope stands so at a node."""
    found: list[State | None] = []

    def is_so() -> bool:
        kept = at._shelf.store.look_up(id_)  # of a file that several threads may read
        found[:] = [None if kept is None else kept.state]
        return found == [state]

    await until(is_so, f"the envelope does not become {state.name}: {found}")
