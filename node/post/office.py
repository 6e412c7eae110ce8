"""The post office of a node, as members see it: envelopes in, post out, and how it stands."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, TypeAlias

from ledger.envelope import Envelope
from ledger.errors import LedgerError
from ledger.mailbox import Mailbox
from node import clock
from node.post.carrier import Carrier
from node.post.errors import NotTheNewest, PostRefused
from node.post.outside import Registry
from node.post.routes import Routes
from node.post.shelf import Shelf
from node.post.store import Kept, Letter

SLACK_S: Final = 300  # by which a client's clock may be ahead

Became: TypeAlias = Kept | PostRefused | LedgerError


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
        became = (await self.post_all([envelope]))[0]
        if not isinstance(became, Kept):
            raise became
        return became

    async def post_all(self, envelopes: Sequence[Envelope]) -> list[Became]:
        """Keep what a client hands in together; return how each stands, or why it is not kept.

        What is kept is on the disk. Raises `NoRoom`: then none is.
        """
        public = await asyncio.gather(*map(self._signing_key, envelopes))
        pairs = list(zip(envelopes, public, strict=True))
        refused = await self._shelf.do(_verify_each, pairs, self.registry.chain_id)
        fit = [each for each, why in zip(envelopes, refused, strict=True) if why is None]
        became: dict[bytes, Became] = {}
        if fit:
            states = await self._shelf.keep([(each, False) for each in fit])
            for each, state in zip(fit, states, strict=True):
                if isinstance(state, PostRefused):
                    became[each.id] = state
            store = self._shelf.store
            for kept in await self._shelf.do(lambda: [store.look_up(each.id) for each in fit]):
                if kept is not None:
                    became.setdefault(kept.id, kept)
        return [
            became[each.id] if why is None else why
            for each, why in zip(envelopes, refused, strict=True)
        ]

    async def _signing_key(self, envelope: Envelope) -> bytes | PostRefused | None:
        try:
            return await self._carrier.judge(envelope, slack_s=SLACK_S)
        except PostRefused as error:
            return error

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

    async def collected(self, ids: Sequence[bytes], member: bytes) -> list[bytes]:
        """Forget what its recipient has in its vault; return what was never here for it."""
        return await self._shelf.write(lambda: self._shelf.store.collect(ids, member))

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


def _verify_each(
    pairs: Sequence[tuple[Envelope, bytes | PostRefused | None]], chain_id: bytes
) -> list[PostRefused | LedgerError | None]:
    """Return why each is not to be kept; without a key whoever takes it on looks at it."""
    refused: list[PostRefused | LedgerError | None] = []
    for envelope, public in pairs:
        why: PostRefused | LedgerError | None = None
        if isinstance(public, PostRefused):
            why = public
        elif public is not None:
            try:
                envelope.verify(chain_id, public)
            except LedgerError as error:
                why = error
        refused.append(why)
    return refused
