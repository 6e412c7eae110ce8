"""Where post goes from a node: whom a member has it brought to, and who brings it nearer.

To the node that the member named with its own signature (`Mailbox`), else to its own nodes, as
registered. Where none of them is linked, a validator relays: any for a node that is none itself,
and between validators the one that is linked to it. A relay is told the outside of an envelope,
and nobody else is.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

from ledger import mailbox
from ledger.errors import LedgerError
from ledger.mailbox import Mailbox
from node.link import Link
from node.post.outside import Neighbours, Registry
from node.post.shelf import Shelf, now

AHEAD_S: Final = 300  # of our clock, a mailbox may be issued


class Routes:
    """What is known of where members have their post brought."""

    def __init__(
        self,
        shelf: Shelf,
        registry: Registry,
        neighbours: Neighbours,
        *,
        own_key: bytes,
        relays: Callable[[], bool],
    ) -> None:
        self.own_key: Final = own_key
        self.relays: Final = relays  # whether this node takes post for everybody, as validators do
        self._shelf, self._registry, self._neighbours = shelf, registry, neighbours
        self._mailboxes: dict[bytes, Mailbox] = {}
        self._taking = asyncio.Lock()
        self._reached: dict[bytes, frozenset[bytes]] = {}  # by the validator that says so
        for raw in shelf.store.mailboxes():
            with contextlib.suppress(LedgerError):
                found = mailbox.parse(raw)
                self._mailboxes[found.body.member] = found

    @property
    def mailboxes(self) -> list[Mailbox]:
        """All that are known."""
        return list(self._mailboxes.values())

    def mailbox_of(self, member: bytes) -> Mailbox | None:
        """Return where a member has its post brought, as it said itself; None: it did not."""
        found = self._mailboxes.get(member)
        if found is None or not self._registry.is_signed(member, found.body.key_id):
            return None
        return found

    def is_news(self, found: Mailbox) -> bool:
        """Return whether a mailbox, if it is true, counts instead of what is known."""
        current = self._mailboxes.get(found.body.member)
        is_newer = current is None or _age(found) > _age(current)
        return is_newer and found.body.issued <= now() + AHEAD_S

    async def take(self, found: Mailbox) -> bool:
        """Keep a mailbox that is newer than what is known; return whether it is.

        Raises `PostRefused`, or `LedgerError` where it is not of this chain or not signed so.
        """
        body = found.body
        public = await self._registry.signing_key(body.member, body.key_id)
        if public is None:
            return False
        found.verify(self._registry.chain_id, public)
        async with self._taking:  # what is on the disk is the newest too
            if not self.is_news(found):
                return False
            await self._shelf.do(self._shelf.store.keep_mailbox, body.member, found.raw)
            self._mailboxes[body.member] = found
        await self._shelf.do(self._shelf.store.hasten, [body.member])
        self._shelf.work.ring()
        return True

    def nodes_of(self, member: bytes) -> list[bytes]:
        """Return to which nodes a member's post may be brought, and to none else."""
        placed = self.mailbox_of(member)
        return self._registry.nodes_of(member) if placed is None else [placed.body.node_key]

    def takes(self, member: bytes) -> bool:
        """Return whether this node takes a member's post from others."""
        return self.relays() or self.own_key in self.nodes_of(member)

    def reaches(self, validator: bytes, node_keys: frozenset[bytes]) -> None:
        """Learn which nodes are linked to a validator."""
        self._reached[validator] = node_keys

    def forget(self, node_key: bytes) -> None:
        """Forget what a peer said of whom it reaches: it is gone."""
        self._reached.pop(node_key, None)

    def hop(self, member: bytes) -> tuple[Link, bool] | None:
        """Return to whom a member's post goes from here, and whether what a relay brought may too.

        None where it is brought here, or nobody is linked who would bring it nearer.
        """
        nodes = self.nodes_of(member)
        if self.own_key in nodes:
            return None
        for key in nodes:
            if (link := self._neighbours.link(key)) is not None:
                return link, True
        relays = [
            link
            for link in self._neighbours.linked()
            if self._neighbours.is_relay(link.peer.node_key)
            and (
                not self.relays()
                or not self._reached.get(link.peer.node_key, frozenset()).isdisjoint(nodes)
            )
        ]
        # One that keeps all to itself keeps some: who writes sends again, by another.
        return (random.choice(relays), not self.relays()) if relays else None  # noqa: S311


def _age(found: Mailbox) -> tuple[int, bytes]:
    return found.body.issued, found.hash
