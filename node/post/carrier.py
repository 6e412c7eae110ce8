"""Post between nodes: what this one hands on, and what it takes from peers.

A peer has one frame of parcels at a time, and another only once it answered; what it answers for is
on its disk. What it sends costs it of a budget of its own, waits behind no other peer's, and where
it lies it is named.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ledger import envelope as envelopes
from ledger import mailbox
from ledger.encoding import encode
from ledger.envelope import Envelope
from ledger.errors import LedgerError, Mismatch
from ledger.mailbox import Mailbox
from node import budget, clock
from node.budget import Budget
from node.link import Link
from node.log import Log
from node.post import messages
from node.post.errors import NotInTime, NotTakenHere, PostRefused
from node.post.messages import Answer, Mailboxes, Parcels, Reached, Taken
from node.post.outside import Neighbours, Registry
from node.post.routes import Routes
from node.post.shelf import Shelf, now
from node.post.store import Letter, State

SLACK_S: Final = 86_400  # by which a peer's clock may differ
PATIENCE_S: Final = 30.0  # for the answer to parcels
MAX_QUEUED: Final = 16  # messages of one peer
TICK_S: Final = 1.0
SWEEP_S: Final = 60.0
TOLD_AGAIN_S: Final = 900.0  # all mailboxes, to every peer
RATE: Final = 0.08  # of a second each second, for one peer: 320 parcels, and a payer takes 200
BURST_S: Final = 1.0
PARCEL_S: Final = budget.SIGNATURE_S + 50e-6
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Out:
    """Parcels that a peer has not answered yet."""

    ids: frozenset[bytes]
    until: float
    is_answered: bool = False


@dataclass(slots=True)
class _In:
    """What a peer said and nobody has looked at yet."""

    link: Link
    queued: deque[messages.Message] = field(default_factory=deque)


class Carrier:
    """The post of one node, as its peers see it."""

    def __init__(
        self, shelf: Shelf, routes: Routes, registry: Registry, neighbours: Neighbours, log: Log
    ) -> None:
        self._shelf, self._routes, self._log = shelf, routes, log
        self._registry, self._neighbours = registry, neighbours
        self._reaching: tuple[bytes, ...] = ()  # as it was told last
        self._out: dict[bytes, _Out] = {}
        self._in: dict[bytes, _In] = {}
        self._budgets: dict[bytes, Budget] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._oldest: int | None = None

    @property
    def age_s(self) -> int:
        """How long the first of what waits has waited."""
        return 0 if self._oldest is None else max(0, now() - self._oldest)

    async def run(self) -> None:
        """Hand on, sweep and tell until cancelled."""
        swept = told = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                called = self._shelf.work.next
                with contextlib.suppress(PostRefused):  # the disk is full: it is tried again
                    await self._hand_on()
                    if clock.monotonic() - swept > SWEEP_S:
                        swept = clock.monotonic()
                        if expired := await self._shelf.do(self._shelf.store.sweep, now()):
                            self._log.warning("post expired", envelopes=expired)
                self._tell_reach()
                if clock.monotonic() - told > TOLD_AGAIN_S:
                    told = clock.monotonic()
                    for link in self._neighbours.linked():
                        self._tell_mailboxes(link, self._routes.mailboxes)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await called.wait()

    async def judge(self, envelope: Envelope, *, slack_s: int) -> bytes | None:
        """Return with which key an envelope must be signed; raise `PostRefused`.

        None where it cannot be told here.
        """
        body, today = envelope.body, now()
        if not today < body.expires <= today + envelopes.MAX_LIFETIME_S + slack_s:
            raise NotInTime(body.expires, today, envelopes.MAX_LIFETIME_S // _DAY_S)
        await self._registry.require_recipient(body.recipient)
        return await self._registry.signing_key(body.sender, body.key_id)

    # --- in ----------------------------------------------------------------------------------

    def received(self, link: Link, payload: bytes) -> None:
        """Take a frame of a peer. Raises `LedgerError`: the link is closed."""
        key, message = link.peer.node_key, messages.parse(payload)
        known = self._in.get(key)
        queued = [] if known is None else known.queued
        match message:
            case Reached(node_keys):  # it counts once we know who says so for a validator
                self._routes.reaches(key, frozenset(node_keys))
                self._shelf.work.ring()
            case Taken(answers):
                out = self._out.get(key)
                if out is None or out.is_answered:
                    return  # it comes too late
                if {each.id for each in answers} != out.ids or len(answers) != len(out.ids):
                    raise Mismatch("answer to parcels", "one for each", "another")
                self._out[key] = replace(out, is_answered=True)
                self._queue(link, message)
            case Parcels():
                if not any(isinstance(each, Parcels) for each in queued):
                    self._queue(link, message)  # who does not wait for an answer gets none
            case Mailboxes():
                if len(queued) < MAX_QUEUED:
                    self._queue(link, message)

    def _queue(self, link: Link, message: messages.Message) -> None:
        key = link.peer.node_key
        if self._tasks is None:
            return
        known = self._in.get(key)
        if known is None:
            known = self._in[key] = _In(link)
            known.queued.append(message)
            self._tasks.create_task(self._work_off(key, known))
        else:
            known.link = link
            known.queued.append(message)

    async def _work_off(self, key: bytes, said: _In) -> None:
        """Do what a peer's messages ask for, one after the other; the one at hand stays queued."""
        try:
            while said.queued:
                match said.queued[0]:
                    case Parcels(raws):
                        await self._take_parcels(said.link, raws)
                    case Mailboxes(raws):
                        await self._take_mailboxes(said.link, raws)
                    case Taken(answers):
                        await self._answered(key, answers)
                    case Reached():
                        pass  # that was taken at once
                said.queued.popleft()
        except PostRefused as error:  # the disk is full: the peer sends it again
            self._log.warning("post not written", error=str(error))
        finally:
            del self._in[key]

    async def _take_parcels(self, link: Link, raws: Sequence[bytes]) -> None:
        """Keep what a peer hands over, and answer once it is on the disk."""
        key = link.peer.node_key
        try:
            found = [envelopes.parse(raw) for raw in raws]
            is_relay = self._neighbours.is_relay(key)
            refusals = await self._refusals(key, found)
        except LedgerError as error:  # it has verified each, as we do
            self._neighbours.punish(key, f"post: {error}")
            return
        fit = [(each, is_relay) for each in found if each.id not in refusals]
        try:
            for (envelope, _), became in zip(fit, await self._shelf.keep(fit), strict=True):
                if isinstance(became, PostRefused):
                    refusals[envelope.id] = str(became)
        except PostRefused as error:
            refusals |= {envelope.id: str(error) for envelope, _ in fit}
        answers = {
            each.id: Answer(each.id, _short(refusals.get(each.id, ""))) for each in found
        }  # one that came twice is answered once
        link.send_post(encode(Taken(tuple(answers.values()))))

    async def _refusals(self, key: bytes, found: Sequence[Envelope]) -> dict[bytes, str]:
        """Return why envelopes of a peer are not taken now; raise `LedgerError` where it lied."""
        spent = self._budget(key)
        await spent.wait()  # nobody else does: its answer comes late, and with it its next parcels
        spent.spend(len(found) * PARCEL_S)
        refusals: dict[bytes, str] = {}
        signed: list[tuple[Envelope, bytes]] = []
        for each in found:
            if each.body.chain_id != self._registry.chain_id:
                raise Mismatch("chain id of an envelope", "ours", each.body.chain_id)
            try:
                if not self._routes.takes(each.body.recipient):
                    raise NotTakenHere(each.body.recipient)
                public = await self.judge(each, slack_s=SLACK_S)
            except PostRefused as error:
                refusals[each.id] = str(error)
            else:
                if public is not None:
                    signed.append((each, public))
        await self._shelf.do(_verify_all, signed, self._registry.chain_id)
        return refusals

    def _budget(self, key: bytes) -> Budget:
        found = self._budgets.get(key)
        if found is None:
            found = self._budgets[key] = Budget(RATE, BURST_S)
        return found

    async def _answered(self, key: bytes, answers: Sequence[Answer]) -> None:
        """Forget what a peer has on its disk, and put off what it does not take."""
        store, taken = self._shelf.store, [each.id for each in answers if not each.reason]
        refused = [
            (each.id, each.reason.decode(errors="replace")) for each in answers if each.reason
        ]
        try:
            if taken:
                await self._shelf.write(lambda: store.finish(taken, State.HANDED_ON))
            if refused:
                await self._shelf.write(lambda: store.put_off(refused, now()))
        finally:  # where the disk is full it is sent again, and known there
            self._out.pop(key, None)
        self._shelf.work.ring()

    async def _take_mailboxes(self, link: Link, raws: Sequence[bytes]) -> None:
        key = link.peer.node_key
        try:
            for found in map(mailbox.parse, raws):
                if self._routes.is_news(found) and self._budget(key).takes(PARCEL_S):
                    with contextlib.suppress(PostRefused):  # of a key that is in force no more, say
                        if await self._routes.take(found):
                            self.tell_mailbox(found, told_by=key)
        except LedgerError as error:
            self._neighbours.punish(key, f"post: {error}")

    # --- out ---------------------------------------------------------------------------------

    def tell_mailbox(self, found: Mailbox, *, told_by: bytes = b"") -> None:
        """Pass on where a member has its post brought now."""
        for link in self._neighbours.linked():
            if link.peer.node_key != told_by:
                self._tell_mailboxes(link, [found])

    def _tell_mailboxes(self, link: Link, known: Collection[Mailbox]) -> None:
        """Tell a peer where post is brought; a light node gives all to its validators anyway."""
        raws = [] if link.is_light else [each.raw for each in known]
        random.shuffle(raws)  # of very many it takes the first, another time others
        for first in range(0, len(raws), messages.MAX_MAILBOXES):
            part = tuple(raws[first : first + messages.MAX_MAILBOXES])
            link.send_post(encode(Mailboxes(part)))

    def _tell_reach(self, only: Link | None = None) -> None:
        """Tell validators which nodes that are none are linked here, where that has changed."""
        if not self._routes.relays():
            return
        links = self._neighbours.linked()
        keys = (link.peer.node_key for link in links)
        reaching = tuple(sorted(key for key in keys if not self._neighbours.is_relay(key)))
        if reaching != self._reaching:
            self._reaching, only = reaching[: messages.MAX_REACHED], None
        elif only is None:
            return
        for link in [only] if only is not None else links:
            if self._neighbours.is_relay(link.peer.node_key):
                link.send_post(encode(Reached(self._reaching)))

    def linked(self, link: Link) -> None:
        """Learn that a peer is there: what waits for it is tried now."""
        self._forget(link.peer.node_key)  # what was said on a link that this one replaces is void
        self._tell_mailboxes(link, self._routes.mailboxes)
        self._tell_reach(link)
        if self._tasks is not None:
            self._tasks.create_task(self._hasten())

    async def _hasten(self) -> None:
        with contextlib.suppress(PostRefused):
            reachable = [
                member
                for member in await self._shelf.do(self._shelf.store.recipients)
                if self._routes.hop(member) is not None
            ]
            if reachable:
                await self._shelf.do(self._shelf.store.hasten, reachable)
                self._shelf.work.ring()

    def unlinked(self, link: Link) -> None:
        """Learn that a peer is gone: what it has not answered is not handed over."""
        self._forget(link.peer.node_key)

    def _forget(self, key: bytes) -> None:
        self._routes.forget(key)
        if (out := self._out.get(key)) is not None and not out.is_answered:
            del self._out[key]

    async def _hand_on(self) -> None:
        """Give each peer that is free what it may have of what waits."""
        self._oldest = await self._shelf.do(self._shelf.store.oldest)
        if not self._shelf.store.waiting:
            return
        moment = clock.monotonic()
        late = [key for key, out in self._out.items() if moment > out.until and not out.is_answered]
        for key in late:
            out = self._out.pop(key)
            troubles = [(id_, f"no answer within {PATIENCE_S:g} s") for id_ in out.ids]
            await self._shelf.do(self._shelf.store.put_off, troubles, now())
        wanted: dict[bytes, tuple[Link, list[tuple[bytes, bool]]]] = {}
        for member in await self._shelf.do(self._shelf.store.recipients):
            hop = self._routes.hop(member)
            if hop is not None and hop[0].peer.node_key not in self._out:
                link, directly = hop
                wanted.setdefault(link.peer.node_key, (link, []))[1].append((member, directly))
        for key, (link, members) in wanted.items():
            letters = await self._shelf.do(self._due, members)
            if letters and self._neighbours.link(key) is link:
                ids = frozenset(letter.id for letter in letters)
                self._out[key] = _Out(ids, clock.monotonic() + PATIENCE_S)
                link.send_post(encode(Parcels(tuple(letter.raw for letter in letters))))

    def _due(self, members: Sequence[tuple[bytes, bool]]) -> list[Letter]:
        members = random.sample(members, len(members))
        found: list[Letter] = []
        most = messages.PARCELS_BYTES - envelopes.MAX_ENVELOPE_BYTES
        for member, directly in members:
            limit = messages.MAX_PARCELS - len(found)
            if limit <= 0 or most <= 0:
                break
            more = self._shelf.store.due(member, now(), limit=limit, most=most, directly=directly)
            most -= sum(len(letter.raw) for letter in more)
            found += more
        return found


def _verify_all(signed: Sequence[tuple[Envelope, bytes]], chain_id: bytes) -> None:
    for envelope, public in signed:
        envelope.verify(chain_id, public)


def _short(reason: str) -> bytes:
    return reason.encode()[: messages.MAX_REASON_BYTES]
