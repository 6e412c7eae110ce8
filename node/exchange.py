"""What this node says to its peers and hears from them: votes, transactions, blocks, heights."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from consensus import messages
from consensus.errors import ConsensusError
from consensus.interface import Received
from consensus.messages import Message, Status
from contracts.errors import WrongSignature
from contracts.execute import Executed
from ledger.block import Outline
from ledger.encoding import decode, encode
from ledger.errors import Malformed, Mismatch
from ledger.keys import SIGNATURE_BYTES
from ledger.transaction import Transaction, parse
from node import budget, clock
from node.admission import Admission
from node.answers import Answers
from node.budget import Budgets
from node.catchup import Catchup, Held
from node.chain import Chain
from node.evidence import EvidencePool, Telling
from node.health import Health, PullHealth
from node.joining import Joining
from node.link import Channel, Link, Transactions
from node.log import Log
from node.mempool import Mempool
from node.metrics import Metrics
from node.p2p import Network, Twins
from node.releases import Releases
from node.results import Pending, Refused
from node.roster import Roster
from node.signatures import VerifiedSignatures
from node.standing import Standing
from node.sync import (
    Blocks,
    Candidate,
    Chunk,
    Head,
    Offer,
    Pull,
    PullBlocks,
    PullCandidate,
    PullChunk,
    Pulled,
    PullHead,
    PullMempool,
    PullSnapshot,
    PullTransactions,
    Told,
    parse_pull,
    parse_reply,
)

STATUS_ACTIVE_S: Final = 0.25  # at most so often, where something changed
OFFER_AFTER_S: Final = 3.0  # without a block
STATUS_IDLE_S: Final = 5.0  # a heartbeat; links time out after node.p2p.IDLE_S
BEHIND_AFTER_S: Final = 0.1  # one block behind is mostly a certificate under way
VERIFIED_AT_ONCE: Final = 2  # signatures that are cheaper to verify here than in a thread

T = TypeVar("T")


class Machine(Protocol):
    """What the exchange asks of the replica."""

    standing: Standing

    def wants(self, message: Message) -> bool:
        """Return whether a message can change anything, before it is verified."""

    async def hear(self, event: Received) -> None:
        """Take a verified message, when there is room for it."""

    def take_blocks(self, held: Held) -> None:
        """Take decided blocks that were asked for; `Exchange.blocks_taken` is told the end."""

    def peer_lost(self) -> None:
        """Learn that a link is down."""

    def take_candidate(self, outline: Outline) -> None:
        """Take a block of the open height that was asked for."""

    def take_transaction(self, transaction: Transaction) -> None:
        """Take a transaction that a block of the open height needs."""

    def candidate(self, block_id: bytes) -> Outline | None:
        """Return a valid block of the open height."""

    def transaction(self, leaf: bytes) -> Transaction | None:
        """Return a transaction that waits or that a block of the open height holds."""

    def status(self) -> Status:
        """Return where agreement stands at this node."""

    def take_head(self, node_key: bytes, head: Head) -> None:
        """Take how far a peer is, and what it heard of us."""


class Checkup(Protocol):
    """What says how this node is, and takes what peers say of themselves."""

    def health(self) -> Health:
        """Return how this node is now."""

    def take(self, link: Link, health: Health) -> None:
        """Take a peer's answer; one that nobody asked for changes nothing."""


class Post(Protocol):
    """The post between members."""

    def linked(self, link: Link) -> None:
        """Learn that a peer is there."""

    def unlinked(self, link: Link) -> None:
        """Learn that a peer is gone."""

    def received(self, link: Link, payload: bytes) -> None:
        """Take a frame of a peer. Raises `LedgerError`: the link is closed."""


class Exchange:
    """The receiver of all links."""

    def __init__(
        self,
        *,
        chain: Chain,
        data: Path,
        mempool: Mempool,
        admission: Admission,
        evidence: EvidencePool,
        machine: Machine,
        signatures: VerifiedSignatures,
        roster: Roster,
        worker: Executor,
        reader: Executor,
        log: Log,
    ) -> None:
        self._chain, self._mempool, self._admission = chain, mempool, admission
        self._roster = roster
        self._machine, self._signatures, self._evidence = machine, signatures, evidence
        self._worker, self._log = worker, log
        self.catchup = Catchup(
            height=lambda: chain.height,
            validators=lambda: chain.state.validators,
            ask=self.ask_of,
            take=self._hand_over,
            punish=self.punish,
            label=self.label,
            log=log,
        )
        self._budgets = Budgets()
        self.answers = Answers(
            chain=chain,
            data=data,
            mempool=mempool,
            source=machine,
            budgets=self._budgets,
            reader=reader,
        )
        self._releases = Releases(
            chain, owner=roster.member_of, budgets=self._budgets, reader=reader
        )
        self._waiting_since = 0.0
        self._telling = Telling(evidence)
        self.network: Network | None = None
        self.checkup: Checkup | None = None
        self.post: Post | None = None
        self.joining: Joining | None = None  # while it lasts nothing else is taken from peers

    @property
    def links(self) -> dict[bytes, Link]:
        """The links that are up to nodes that follow the whole chain, by node key."""
        return {} if self.network is None else self.network.links

    @property
    def twins(self) -> list[Twins]:
        """Node keys with which two live nodes speak."""
        return [] if self.network is None else self.network.twins

    @property
    def trouble(self) -> dict[str, str]:
        """Why peers are not linked, by label."""
        if self.network is None:
            return {}
        peers = self.network.peers
        return {peers[key].label: reason for key, reason in self.network.trouble.items()}

    def count(self, metrics: Metrics) -> None:
        """Show how this node is linked, and how far it is behind."""
        metrics.peers.set(len(self.links))
        metrics.twins.set(len(self.twins))
        metrics.count_progress(self.catchup.progress(), self._chain.height)
        metrics.count_joining(None if self.joining is None else self.joining.progress())

    def heights(self) -> dict[bytes, int]:
        """Return the height that each linked peer is deciding, by node key."""
        return {key: last + 1 for key, last in self.catchup.claims.items()}

    def committed(self, executed: Executed) -> None:
        """Learn of a block of ours: it may change who the peers are, and records evidence."""
        self._evidence.recorded(executed.accusations)
        if self.network is not None and self._roster.has_changed(executed):
            self.network.set_peers(self._roster.peers())

    # --- out ---------------------------------------------------------------------------------

    def send(self, message: Message, to: int | None) -> None:
        """Send a message to everyone, or to the peer that a `Received` named."""
        payload = messages.encode(message)
        signer, round_ = getattr(message, "signer", None), getattr(message, "round", 0)
        slot = (type(message).__name__, signer, message.height, round_)
        links = self.links.values() if to is None else filter(None, [self._link_of(to)])
        for link in links:
            link.send_consensus(slot, payload)

    def pull(self, validator: int, pull: Pull) -> bool:
        """Ask a validator for something; return whether there is a link to ask on."""
        link = self._link_of(validator)
        if link is None:
            return False
        link.send_pull(encode(pull))
        return True

    def ask_heads(self) -> None:
        """Ask those whose answer this validator needs before it signs."""
        for node_key in self._machine.standing.unheard():
            if (link := self.links.get(node_key)) is not None:
                link.send_pull(encode(PullHead()))

    def send_block(self, to: int, height: int) -> None:
        """Send a decided block to a peer that is behind."""
        link = self._link_of(to)
        if link is not None and height <= self._chain.height:
            self.answers.send_blocks(link, height, height)

    async def heartbeat(self) -> None:
        """Tell peers where agreement stands where it is slow to move on, and now and then.

        While heights follow each other quickly nobody lacks anything: peers would only be sent
        again what is on its way.
        """
        last, sent, height = b"", 0.0, 0
        while True:
            await asyncio.sleep(STATUS_ACTIVE_S)
            self._telling.tell(self.links, self.heights())
            moving, height = height != self._chain.height, self._chain.height
            idle = clock.monotonic() - sent > STATUS_IDLE_S
            self._offer_mempool(moving=moving)
            status = messages.encode(self._machine.status())
            if idle or (status != last and not moving):
                last, sent = status, clock.monotonic()
                for link in self.links.values():
                    link.send_consensus("status", status)

    def _offer_mempool(self, *, moving: bool) -> None:
        """Tell everyone what waits here without a block.

        Who signs nothing asks for no round, and so nobody pulls what it alone may have heard of.
        """
        now = clock.monotonic()
        if moving or not len(self._mempool) or self._machine.standing.is_signing:
            self._waiting_since = now
        elif now - self._waiting_since > OFFER_AFTER_S:
            self._waiting_since = now
            for link in self.links.values():
                self.answers.send_mempool(link)

    # --- in ----------------------------------------------------------------------------------

    def linked(self, link: Link) -> None:
        """Learn that a peer is there: tell it where we are. A light node asks for what it wants."""
        assert link.hello is not None
        if self.post is not None:
            self.post.linked(link)
        if link.is_light:
            return
        key = link.peer.node_key
        self.catchup.unlinked(key)  # what was said on a link that this one replaces is void
        self._telling.forget(key)
        self.catchup.heard(key, link.hello.height, is_status=True)
        link.send_consensus("status", messages.encode(self._machine.status()))
        self.ask_heads()
        self.catchup.check()
        if self.joining is not None:
            self.joining.linked(key)

    def unlinked(self, link: Link) -> None:
        """Learn that a peer is gone."""
        if self.post is not None:
            self.post.unlinked(link)
        if link.is_light:
            return
        self.catchup.unlinked(link.peer.node_key)
        self._telling.forget(link.peer.node_key)
        self._machine.peer_lost()
        if self.joining is not None:
            self.joining.unlinked(link.peer.node_key)

    async def received(self, link: Link, channel: Channel, payload: bytes) -> None:
        """Take a frame of a peer. Raises `LedgerError`: the link is closed."""
        spent = self._budgets.of(link.peer.node_key)
        await spent.wait()
        spent.spend(budget.FRAME_S + len(payload) * budget.BYTE_S)
        match channel:
            case Channel.POST:
                if self.post is not None:
                    self.post.received(link, payload)
            case Channel.PULL if link.is_light:
                self._releases.answer(link, payload)
            case Channel.CONSENSUS | Channel.REPLY if link.is_light:
                raise Mismatch("frame of a light node", "a question or transactions", channel.name)
            case Channel.CONSENSUS:
                await self._take_message(link, payload)
            case Channel.TRANSACTIONS if self.joining is not None:
                pass  # they are judged by a state that is not here
            case Channel.TRANSACTIONS:
                await self._take_transactions(link, decode(payload, Transactions))
            case Channel.PULL:
                self._answer(link, payload)
            case Channel.REPLY:
                await self._take_reply(link, payload)
            case Channel.HELLO | Channel.NOTICE:
                raise Mismatch("frame", "no second hello", channel.name)

    async def _take_transactions(self, link: Link, told: Transactions) -> None:
        """Admit what a peer forwards; it has verified each, as we do. Raises where it has not."""
        raws, before = told.raws, self._mempool.added
        results = await self._admission.submit(raws, gossip=False)
        in_vain = max(0, len(raws) - (self._mempool.added - before))
        spent = self._budgets.of(link.peer.node_key)
        spent.spend(in_vain * budget.TRANSACTION_S)
        for result in results:
            if isinstance(result, Refused) and isinstance(result.error, Malformed | WrongSignature):
                raise Mismatch("transaction", "one that its sender signed", str(result.error))
        if link.is_light:
            self._releases.tell_refused(link, results)
        waiting = (result.id for result in results if isinstance(result, Pending))
        links = [self.links[key] for key in dict.fromkeys(told.relay) if key in self.links]
        self.answers.pass_on(waiting, links, spent)

    async def _take_message(self, link: Link, payload: bytes) -> None:
        try:
            message = messages.decode(payload)
            sender = self._sender(link)
            if isinstance(message, Status):
                self._budgets.of(link.peer.node_key).spend(budget.STATUS_S)
                self._learn_height(link, message.height, is_status=True)
            if self.joining is not None:
                return
            if not isinstance(message, Status) and not await self._verified(link, message):
                return
        except ConsensusError as error:
            raise Mismatch("consensus message", "a well-formed one", str(error)) from None
        self._budgets.of(link.peer.node_key).spend(budget.MESSAGE_S)
        await self._machine.hear(Received(message, sender))

    async def _verified(self, link: Link, message: Message) -> bool:
        """Return whether a message is of a height that matters; raise where it is not signed so."""
        state = self._chain.state
        height = state.header.height + 1
        if message.height > height:
            self._learn_height(link, message.height, is_status=False)
        if message.height not in (height, height + 1):
            return message.height < height  # it is only answered
        if not self._machine.wants(message):
            return False
        validators = state.validators if message.height == height else state.next_validators
        triples = self._signatures.unknown(
            messages.signatures(message, state.header.chain_id, validators)
        )
        self._budgets.of(link.peer.node_key).spend(len(triples) * budget.SIGNATURE_S)
        if len(triples) > VERIFIED_AT_ONCE:
            await self._in_worker(self._signatures.verify_all, triples, "consensus message")
        else:
            self._signatures.verify_all(triples, "consensus message")
        return True

    async def _take_reply(self, link: Link, payload: bytes) -> None:
        spent = self._budgets.of(link.peer.node_key)
        match parse_reply(payload):
            case Pulled(raws):
                spent.spend(len(raws) * budget.TRANSACTION_S)
                for raw in raws:
                    self._machine.take_transaction(parse(raw))
            case Head() as head:
                spent.spend(budget.SIGNATURE_S)
                self._machine.take_head(link.peer.node_key, head)
            case Candidate(outline):
                spent.spend(len(outline.leaves) * budget.LOOKUP_S)
                self._machine.take_candidate(outline)
            case Health() as health:
                if self.checkup is not None:
                    self.checkup.take(link, health)
            case Blocks(first, records, kept_from):
                if self.catchup.came(link.peer.node_key, first, records, kept_from):
                    spent.spend(-len(payload) * budget.BYTE_S)  # it serves us
            case Offer() | Chunk() as reply:
                if self.joining is not None and self.joining.came(link.peer.node_key, reply):
                    spent.spend(-len(payload) * budget.BYTE_S)
            case Told() if self.joining is not None:
                pass
            case Told(evidence):
                for data in evidence:  # of a signature's length each, at the most
                    if await self._evidence.heard(data, self._worker):
                        spent.spend(len(data) // SIGNATURE_BYTES * budget.SIGNATURE_S)

    def _answer(self, link: Link, payload: bytes) -> None:
        match parse_pull(payload):
            case PullTransactions(leaves):
                self._budgets.of(link.peer.node_key).spend(len(leaves) * budget.LOOKUP_S)
                self.answers.send_transactions(link, leaves)
            case PullCandidate(block_id):
                if (outline := self._machine.candidate(block_id)) is not None:
                    self.answers.send(link, Candidate(outline))
            case PullBlocks(first, last):
                self.answers.send_blocks(link, first, last)
            case PullSnapshot(most):
                self.answers.send_offer(link, most)
            case PullChunk(height, number):
                self.answers.send_chunk(link, height, number)
            case PullHealth():
                if self.checkup is not None:
                    self._budgets.of(link.peer.node_key).spend(budget.STATUS_S)
                    self.answers.send(link, self.checkup.health())
            case PullHead():
                header = self._chain.header
                newest = self._machine.standing.newest_of(link.peer.node_key)
                self.answers.send(link, Head(header.height, header.hash, newest))
            case PullMempool():
                self.answers.send_mempool(link)

    # --- who is ahead ------------------------------------------------------------------------

    def _learn_height(self, link: Link, height: int, *, is_status: bool) -> None:
        """Learn which height a peer decides."""
        key, own = link.peer.node_key, self._chain.height + 1
        known = self.catchup.claims.get(key, 0) + 1
        self.catchup.heard(key, height - 1, is_status=is_status)
        if height > own + 1:
            self.catchup.check()
        elif height > own and height > known:
            asyncio.get_running_loop().call_later(BEHIND_AFTER_S, self.catchup.check)

    def blocks_taken(self, fault: str | None) -> None:
        """Learn that the blocks handed out are executed, or at which fault that ended."""
        self.catchup.taken(fault)

    def ask_of(self, key: bytes, wanted: Pull) -> bool:
        """Ask a peer for something; return whether there is a link to ask on."""
        link = self.links.get(key)
        if link is not None:
            link.send_pull(encode(wanted))
        return link is not None

    def _hand_over(self, held: Held) -> None:
        self._machine.take_blocks(held)

    def punish(self, key: bytes, fault: str) -> None:
        """End the link to a peer that lied, and talk to it no more for a while."""
        if self.network is not None:
            self.network.penalise(key, fault)

    def label(self, key: bytes) -> str:
        """Return what people call a peer."""
        known = None if self.network is None else self.network.peers.get(key)
        return key.hex() if known is None else known.label

    async def _in_worker(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)

    # --- names -------------------------------------------------------------------------------

    def _sender(self, link: Link) -> int:
        """Return the index of the validator behind `link`; a negative number for an observer."""
        for index, validator in enumerate(self._chain.state.validators.members):
            if validator.node_key == link.peer.node_key:
                return index
        return -1 - int.from_bytes(link.peer.node_key[:4])

    def _link_of(self, sender: int) -> Link | None:
        for link in self.links.values():
            if self._sender(link) == sender:
                return link
        return None
