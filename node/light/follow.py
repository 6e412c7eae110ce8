"""A light node and its peers: whom it asks for what, whom it believes nothing, whom it names.

Every linked peer is asked for its newest header, each in turn for one that is ever so little newer;
the first with one that is higher and certified is asked for what concerns us before it. A peer
whose answer is refused is named in the log, dropped and held to it; who does not answer, answers
nothing new, or does not keep what we lack, is passed over for a while.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from contracts import eras
from contracts.errors import UnknownVersion
from ledger.encoding import encode
from ledger.errors import LedgerError, Mismatch, StoreDamaged
from ledger.validators import faulty
from node import budget, clock
from node.bell import Bell
from node.budget import Budgets
from node.errors import NodeError
from node.light.messages import (
    MAX_PROOFS,
    LightReply,
    MemberRecord,
    NewestHeader,
    Proofs,
    PullHeader,
    PullHistory,
    PullMember,
    PullProofs,
    Refusals,
    Told,
    parse_reply,
)
from node.light.outbox import Outbox
from node.light.record import Incomplete, Record
from node.link import Channel, Link, Peer, Ping
from node.log import Log
from node.p2p import Network
from node.penalties import Penalties

POLL_S: Final = 1.0
HASTE_S: Final = 0.1  # while something was sent just now
BEHIND: Final = 3  # blocks: who has no more than so many need not tell, but by turns
PATIENCE_S: Final = 10.0  # for an answer
AVOIDED_S: Final = 10.0  # at first, doubled each time
MAX_AVOIDED_S: Final = 300.0
BEAT_S: Final = 10.0  # links time out where nothing is said
VOUCHED_S: Final = 60.0  # what peers agree on is good for
MAX_INQUIRIES: Final = 1024
ASKED_AGAIN: Final = 8  # inquiries at a time: a peer leaves out what it has too much of

T = TypeVar("T")


@dataclass
class _Asked:
    key: bytes
    pull: PullHistory | PullProofs
    least: int  # height that the answer must lead to: the peer said that it is there
    until: float


@dataclass
class _Inquiry:
    """What peers say of a member: believed once so many validators say the same."""

    needed: int
    said: dict[bytes, MemberRecord] = field(default_factory=dict)
    agreed: asyncio.Event = field(default_factory=asyncio.Event)
    answer: MemberRecord | None = None
    at: float = 0.0
    waiting: int = 0  # for the answer


class RecordDamaged(NodeError):
    """The files of the record are not whole."""

    def __init__(self, error: StoreDamaged) -> None:
        super().__init__(str(error), hint="remove that folder and start: it is fetched anew")


class NotVouched(Exception):
    """Too few validators say the same of a member."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(f"{found} linked validators say the same, {needed} must")


class Post(Protocol):
    """The post between members."""

    def linked(self, link: Link) -> None:
        """Learn that a peer is there."""

    def unlinked(self, link: Link) -> None:
        """Learn that a peer is gone."""

    def received(self, link: Link, payload: bytes) -> None:
        """Take a frame of a peer. Raises `LedgerError`: the link is closed."""


class Follower:
    """The receiver of a light node's links; `addresses` are by label or id, as configured."""

    def __init__(
        self,
        record: Record,
        outbox: Outbox,
        *,
        addresses: dict[str, tuple[str, int]],
        worker: Executor,
        log: Log,
    ) -> None:
        self._record, self._outbox = record, outbox
        self._addresses, self._worker, self._log = addresses, worker, log
        self.network: Network | None = None
        self.post: Post | None = None
        self.bell = Bell()  # rung when the record was changed
        self.downloaded = 0
        self.fault = ""  # why nothing is kept any more, "" where it is
        self._asked: _Asked | None = None
        self._turn = 0
        self._heights: dict[bytes, int] = {}  # of the newest true header that each peer told
        self._budgets = Budgets()
        self._avoided = Penalties(AVOIDED_S, MAX_AVOIDED_S)
        self._busy = asyncio.Lock()  # the record is changed by one answer at a time
        self._inquiries: dict[bytes, _Inquiry] = {}
        self._halted: asyncio.Future[None] | None = None

    @property
    def links(self) -> list[Link]:
        """The links that are up."""
        if self.network is None:
            return []
        peers = (self.network.link_to(key) for key in self.network.peers)
        return [link for link in peers if link is not None]

    def peers(self) -> list[Peer]:
        """Return the validators that the record knows, with where our operator says they listen."""
        labels: dict[bytes, str] = {m.id: m.label for m in self._record.genesis.members}
        state = self._record.state
        sets = {eras.latest(state).validators, self._record.tip.validators}
        found = {}
        for each in (each for voters in sets for each in voters.members):
            id_ = each.member.hex()
            label = labels.get(each.member, id_)
            address = self._addresses.get(label) or self._addresses.get(id_)
            found[each.node_key] = Peer(label, each.node_key, address)
        return list(found.values())

    async def run(self) -> None:
        """Follow the chain until cancelled. Raises `UnknownVersion` where it cannot go on."""
        self._halted = asyncio.get_running_loop().create_future()
        beat = clock.monotonic()
        while True:
            self._poll()
            if clock.monotonic() - beat > BEAT_S:
                beat = clock.monotonic()
                for link in self.links:
                    link.send_notice(Ping())
            self._outbox.send_again(self.links)
            await asyncio.wait([self._halted], timeout=HASTE_S if self._outbox.is_fresh else POLL_S)
            if self._halted.done():
                self._halted.result()

    # --- asking ------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Ask who is linked for newer headers, and give up on who is late."""
        now, asked, record = clock.monotonic(), self._asked, self._record
        if asked is not None and now > asked.until:
            self._asked = None
            self._avoid(asked.key, f"no answer within {PATIENCE_S:g} s")
        links = {link.peer.node_key: link for link in self.links}
        fit = [key for key in links if not self._avoided.left(key)] or list(links)
        if not fit:
            return
        self._turn += 1
        first = fit[self._turn % len(fit)]
        for key in fit:
            slack = 0 if key == first else BEHIND
            pull = PullHeader(record.height + slack, record.tip.changes)
            links[key].send_pull(encode(pull))
        if self._asked is None and record.tip.placed < record.own:
            self._ask(first, PullProofs(record.tip.placed, MAX_PROOFS, record.tip.changes))
        open_ = (pair for pair in self._inquiries.items() if pair[1].answer is None)
        for member, inquiry in islice(open_, ASKED_AGAIN):
            for key in links.keys() - inquiry.said.keys():
                links[key].send_pull(encode(PullMember(member)))

    def _ask(self, key: bytes, pull: PullHistory | PullProofs) -> None:
        link = None if self.network is None else self.network.link_to(key)
        if link is not None:
            least = self._heights.get(key, 0)
            if isinstance(pull, PullHistory) and pull.until:
                least = min(least, pull.until)
            self._asked = _Asked(key, pull, least, clock.monotonic() + PATIENCE_S)
            link.send_pull(encode(pull))

    def _ask_history(self, key: bytes, until: int = 0) -> None:
        record = self._record
        self._ask(key, PullHistory(record.own, record.everyone, until, record.tip.changes))

    def _ahead(self, last: bytes) -> bytes:
        """Return a peer that is above us, one that was not asked last where there is one."""
        keys = [link.peer.node_key for link in self.links]
        ahead = [key for key in keys if self._heights.get(key, 0) > self._record.height]
        fit = [key for key in ahead if key != last and not self._avoided.left(key)]
        return random.sample(fit, 1)[0] if fit else last

    def _avoid(self, key: bytes, reason: str) -> None:
        seconds = self._avoided.add(key, reason)
        label = self._label(key)
        self._log.warning("peer passed over", peer=label, reason=reason, seconds=seconds)

    def _label(self, key: bytes) -> str:
        known = None if self.network is None else self.network.peers.get(key)
        return key.hex() if known is None else known.label

    # --- hearing -----------------------------------------------------------------------------

    def linked(self, link: Link) -> None:
        """Learn that a peer is there: ask it at once, and give it what waits."""
        record = self._record
        link.send_pull(encode(PullHeader(record.height, record.tip.changes)))
        self._outbox.send_again([link], at_once=True)
        if self.post is not None:
            self.post.linked(link)
        for member, inquiry in self._inquiries.items():
            if inquiry.answer is None:
                link.send_pull(encode(PullMember(member)))

    def unlinked(self, link: Link) -> None:
        """Learn that a peer is gone: what it was asked for another is asked for."""
        key = link.peer.node_key
        if self._asked is not None and self._asked.key == key:
            self._asked = None
        self._heights.pop(key, None)
        if self.post is not None:
            self.post.unlinked(link)
        if self._halted is not None and not self._halted.done():
            self._poll()

    async def received(self, link: Link, channel: Channel, payload: bytes) -> None:
        """Take an answer. Raises `LedgerError` where it is not true: the peer is dropped."""
        self.downloaded += len(payload)
        spent = self._budgets.of(link.peer.node_key)
        await spent.wait()
        spent.spend(budget.FRAME_S + len(payload) * budget.BYTE_S)
        if channel is Channel.POST:
            if self.post is not None:
                self.post.received(link, payload)
            return
        if channel is not Channel.REPLY:
            if channel is Channel.HELLO or channel is Channel.PULL:
                raise Mismatch("frame to a light node", "an answer", channel.name)
            return  # it is not for us; an old node may send it
        try:
            reply = parse_reply(payload)
            async with self._busy:
                await self._take(link.peer.node_key, reply)
        except (StoreDamaged, UnknownVersion) as error:  # of our own files, or our software
            self._halt(RecordDamaged(error) if isinstance(error, StoreDamaged) else error)
        except LedgerError as error:
            label = link.peer.label
            self._log.warning("answer refused", peer=label, reason=str(error))
            self._avoid(link.peer.node_key, str(error))
            raise
        except OSError as error:  # the disk is full, say: nothing of the answer was kept
            self._log.error("record not written", error=str(error))
            self.fault = f"the record cannot be written: {error.strerror or error}"
        else:
            self.fault = ""

    def _halt(self, error: Exception) -> None:
        if self._halted is not None and not self._halted.done():
            self._halted.set_exception(error)

    async def _take(self, key: bytes, reply: LightReply) -> None:
        match reply:
            case NewestHeader():
                await self._take_header(key, reply)
            case Told():
                await self._take_history(key, reply)
            case Proofs():
                await self._take_proofs(key, reply)
            case MemberRecord():
                self._take_member(key, reply)
            case Refusals(refusals):
                self._outbox.doubted(key, refusals)

    async def _take_header(self, key: bytes, reply: NewestHeader) -> None:
        seen, record = reply.seen, self._record
        if seen is None or seen.header.height <= record.height:
            return
        self._budgets.of(key).spend(len(seen.certificate.seals) * budget.SIGNATURE_S)
        try:
            is_there = await self._in_worker(record.advance, seen)
        except Incomplete:
            self._changed()
            self._again(key)
            return
        self._changed()
        self._heights[key] = seen.header.height
        if is_there:
            self._outbox.arrived(())
        elif self._asked is None or isinstance(self._asked.pull, PullProofs):
            self._ask_history(key)

    def _again(self, key: bytes) -> None:
        """Ask for a header with the changes after those that are kept by now."""
        record = self._record
        link = None if self.network is None else self.network.link_to(key)
        if link is not None:
            link.send_pull(encode(PullHeader(record.height, record.tip.changes)))

    async def _take_history(self, key: bytes, told: Told) -> None:
        asked = self._asked
        if asked is None or asked.key != key or not isinstance(asked.pull, PullHistory):
            return  # it comes too late
        self._asked = None
        if told.seen is None:
            self._avoid(key, "it does not keep what we lack")
            return
        height = told.seen.header.height
        if height < max(asked.least, self._record.height + 1):  # an old answer, again and again
            self._avoid(key, f"it told up to block {height}, of {asked.least} that it has")
            return
        try:
            entries = await self._in_worker(self._record.take, told)
        except Incomplete as more:
            if asked.pull.until and more.until:
                raise Mismatch(
                    f"entries up to block {asked.pull.until}", "all", f"those up to {more.until}"
                ) from None
            self._changed()
            self._ask_history(key, more.until)
            return
        self._changed()
        self._outbox.arrived(entries)
        if asked.pull.until:  # there is more: of another peer, or one could dole it out for ever
            self._ask_history(self._ahead(key))
        elif self._record.tip.placed < self._record.own:
            record = self._record
            self._ask(key, PullProofs(record.tip.placed, MAX_PROOFS, record.tip.changes))

    async def _take_proofs(self, key: bytes, proofs: Proofs) -> None:
        asked = self._asked
        if asked is None or asked.key != key or not isinstance(asked.pull, PullProofs):
            return
        self._asked = None
        record = self._record
        if proofs.seen is None:
            self._avoid(key, "it does not know where our entries are in the log")
            return
        try:
            taken = await self._in_worker(record.take_proofs, proofs)
        except Incomplete:
            return
        if not taken:
            self._avoid(key, "it tells no place of our entries")
        elif record.tip.placed < record.own:
            self._ask(key, PullProofs(record.tip.placed, MAX_PROOFS, record.tip.changes))

    def _changed(self) -> None:
        """Tell who waits, and follow the validators, who are our peers."""
        self.bell.ring()
        if self.network is not None:
            peers = self.peers()
            if {each.node_key for each in peers} != self.network.peers.keys():
                self.network.set_peers(peers)

    async def _in_worker(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)

    # --- what is no member's secret ----------------------------------------------------------

    async def vouched(self, member: bytes, seconds: float) -> MemberRecord:
        """Return what one honest validator at least says of a member; raise `NotVouched`.

        The state has no proofs of single keys; so as many validators must say the same as cannot
        all be faulty, each on the link that its registered key vouches for.
        """
        inquiry = self._inquiries.get(member)
        if inquiry is not None and inquiry.answer is not None:
            if clock.monotonic() - inquiry.at < VOUCHED_S:
                return inquiry.answer
            inquiry = None
        if inquiry is None:
            inquiry = self._inquire(member)
        inquiry.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await inquiry.agreed.wait()
        except TimeoutError:
            raise NotVouched(_most(inquiry), inquiry.needed) from None
        finally:
            inquiry.waiting -= 1
            if not inquiry.waiting and inquiry.answer is None:
                del self._inquiries[member]
        assert inquiry.answer is not None  # that it is there is what was waited for
        return inquiry.answer

    def _inquire(self, member: bytes) -> _Inquiry:
        needed = faulty(len(self._record.tip.validators)) + 1
        if len(self._inquiries) >= MAX_INQUIRIES:
            answered = [key for key, each in self._inquiries.items() if each.answer is not None]
            if not answered:
                raise NotVouched(0, needed)
            del self._inquiries[answered[0]]
        inquiry = self._inquiries[member] = _Inquiry(needed)
        for link in self.links:
            link.send_pull(encode(PullMember(member)))
        return inquiry

    def _take_member(self, key: bytes, said: MemberRecord) -> None:
        inquiry = self._inquiries.get(said.member)
        voters = {each.node_key for each in self._record.tip.validators.members}
        if inquiry is None or inquiry.answer is not None or key not in voters:
            return
        inquiry.said[key] = said
        if list(inquiry.said.values()).count(said) >= inquiry.needed:
            inquiry.answer, inquiry.at = said, clock.monotonic()
            inquiry.agreed.set()


def _most(inquiry: _Inquiry) -> int:
    said = list(inquiry.said.values())
    return max(map(said.count, said), default=0)
