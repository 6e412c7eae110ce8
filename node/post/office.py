"""The post office of a node, as members see it: envelopes in, post out, and how it stands."""

import asyncio
import contextlib
from typing import Final

from ledger.envelope import Envelope
from ledger.mailbox import Mailbox
from node import clock
from node.post.carrier import Carrier
from node.post.errors import NotTheNewest, PostRefused
from node.post.outside import Registry
from node.post.routes import Routes
from node.post.shelf import Shelf
from node.post.store import Kept, Letter, State

SLACK_S: Final = 300  # by which a client's clock may be ahead


class PostOffice:
    """The post of one node."""

    def __init__(self, shelf: Shelf, routes: Routes, registry: Registry, carrier: Carrier) -> None:
        self.routes: Final = routes
        self.registry: Final = registry
        self._shelf, self._carrier = shelf, carrier
        self._is_over = False

    @property
    def waiting(self) -> int:
        """How many envelopes wait here."""
        return self._shelf.store.waiting

    @property
    def weight(self) -> int:
        """How many bytes they weigh."""
        return self._shelf.store.bytes

    @property
    def age_s(self) -> int:
        """How long the first of them has waited."""
        return self._carrier.age_s

    def stop_waiting(self) -> None:
        """Let everybody who waits for post go."""
        self._is_over = True
        self._shelf.ring_all()

    async def post(self, envelope: Envelope) -> Kept:
        """Keep what a client hands in; return how it stands, once it is on the disk.

        Raises `PostRefused`, or `LedgerError` where it is not of this chain or not signed so.
        """
        public = await self._carrier.judge(envelope, slack_s=SLACK_S)
        if public is not None:
            envelope.verify(self.registry.chain_id, public)
        became = (await self._shelf.keep([(envelope, False)]))[0]
        if isinstance(became, PostRefused):
            raise became
        kept = await self.look_up(envelope.id)
        assert kept is not None  # it was just written
        return kept

    async def look_up(self, id_: bytes) -> Kept | None:
        """Return how an envelope stands, None where it was never here, or is forgotten."""
        return await self._shelf.do(self._shelf.store.look_up, id_)

    async def mail(
        self, member: bytes, *, after: int, limit: int, most: int, wait_s: float
    ) -> list[Letter]:
        """Return what waits for a member above number `after`, once there is something."""
        store, until = self._shelf.store, clock.monotonic() + wait_s
        while True:
            called = self._shelf.bell_of(member)
            found = await self._shelf.do(
                lambda: store.letters(member, after=after, limit=limit, most=most)
            )
            left = until - clock.monotonic()
            if found or left <= 0 or self._is_over:
                return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await called.wait()

    async def collected(self, id_: bytes, member: bytes) -> bool:
        """Forget what its recipient has in its vault; return whether it was ever here for it."""
        kept = await self.look_up(id_)
        if kept is None or kept.recipient != member:
            return False
        await self._shelf.do(self._shelf.store.finish, [id_], State.COLLECTED)
        return True

    async def place(self, placed: Mailbox) -> None:
        """Bring a member's post to where it says now, and tell the others.

        Raises `PostRefused`, or `LedgerError` where it is not of this chain or not signed so.
        """
        if await self.routes.take(placed):
            self._carrier.tell_mailbox(placed)
        else:
            current = self.routes.mailbox_of(placed.body.member)
            if current is None or current.hash != placed.hash:
                raise NotTheNewest
