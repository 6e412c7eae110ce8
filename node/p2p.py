"""Links between nodes: framed messages over mutually authenticated TLS, every queue bounded.

Of two validators the one with the lower node key dials. An observer dials every validator. What a
peer has not yet been sent is state, not a queue: votes by their slot, transactions up to a bound;
so that a slow peer costs a bounded amount of memory and is caught up by `Status`, not by a backlog.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, Protocol

import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import LedgerError
from ledger.transaction import MAX_TRANSACTION_BYTES
from ledger.validators import Bytes32
from node import tls
from node.errors import CannotListen
from node.log import Log

PROTOCOL_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 8 << 20  # a whole block of 4 MiB with its certificate, and room
MAX_CONSENSUS_BYTES: Final = 1 << 20
MAX_SMALL_BYTES: Final = 256 << 10
MAX_QUEUED_TRANSACTION_BYTES: Final = 16 << 20  # per peer, the oldest are dropped: they are pulled
MAX_QUEUED_VOTE_BYTES: Final = 8 << 20  # per peer, the oldest are dropped: Status brings them
MAX_QUEUED_REPLIES: Final = 4
MAX_STRANGERS: Final = 64  # callers who have not yet said who they are
BACKLOG: Final = 128
HANDSHAKE_S: Final = 10
SEND_S: Final = 30  # a peer that takes nothing for so long is disconnected
IDLE_S: Final = 30  # heartbeats come every few seconds
REDIAL_S: Final = (0.1, 0.2, 0.5)  # then the last for ever: a quorum may wait for this peer


class Channel(IntEnum):
    """What a frame holds."""

    HELLO = 0
    CONSENSUS = 1
    TRANSACTIONS = 2
    PULL = 3  # asks for transactions, outlines or blocks
    REPLY = 4


_LIMITS: Final = {
    Channel.HELLO: 1024,
    Channel.CONSENSUS: MAX_CONSENSUS_BYTES,
    Channel.TRANSACTIONS: MAX_FRAME_BYTES,
    Channel.PULL: MAX_SMALL_BYTES,
    Channel.REPLY: MAX_FRAME_BYTES,
}


class Hello(Struct):
    """The first frame each way; a link counts as up when it has come (TLS 1.3 clients cannot tell
    otherwise whether the server accepted their certificate)."""  # noqa: D205, D209

    version: int
    chain_id: Bytes32
    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Transactions(Struct):
    """Transactions, gossiped once by the node they entered at, or pulled."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TRANSACTION_BYTES)], ...],
        msgspec.Meta(max_length=4096),
    ]


@dataclass(frozen=True)
class Peer:
    """A node that we talk to: its name for people, its key, where it listens (None: it dials)."""

    label: str
    node_key: bytes
    address: tuple[str, int] | None


class Receiver(Protocol):
    """Who gets what comes in."""

    async def received(self, link: "Link", channel: Channel, payload: bytes) -> None:
        """Take a frame. What it raises of `LedgerError` closes the link and is logged."""

    def linked(self, link: "Link") -> None:
        """Learn that a link is up."""

    def unlinked(self, link: "Link") -> None:
        """Learn that a link is down."""


class Link:
    """One authenticated connection to a peer."""

    def __init__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.peer = peer
        self.hello: Hello | None = None
        self._reader, self._writer = reader, writer
        self._votes: OrderedDict[object, bytes] = OrderedDict()
        self._vote_bytes = 0
        self._replies: deque[bytes] = deque()
        self._pulls: deque[bytes] = deque(maxlen=64)
        self._transactions: deque[bytes] = deque()
        self._transaction_bytes = 0
        self._wake = asyncio.Event()
        self.sent_bytes = self.received_bytes = 0

    def send_consensus(self, slot: object, payload: bytes) -> None:
        """Send a consensus message; one of the same slot that is not yet sent is replaced."""
        self._vote_bytes += len(payload) - len(self._votes.pop(slot, b""))
        self._votes[slot] = payload
        while self._vote_bytes > MAX_QUEUED_VOTE_BYTES:
            self._vote_bytes -= len(self._votes.popitem(last=False)[1])
        self._wake.set()

    def send_transactions(self, payload: bytes) -> None:
        """Send an encoded `Transactions`; the oldest are dropped where a peer is slow."""
        self._transactions.append(payload)
        self._transaction_bytes += len(payload)
        while self._transaction_bytes > MAX_QUEUED_TRANSACTION_BYTES:
            self._transaction_bytes -= len(self._transactions.popleft())
        self._wake.set()

    def send_pull(self, payload: bytes) -> None:
        """Ask the peer for something; asked again where no answer comes."""
        self._pulls.append(payload)
        self._wake.set()

    def send_reply(self, payload: bytes) -> bool:
        """Send what was asked for; False where the peer has not yet taken earlier replies."""
        if len(self._replies) >= MAX_QUEUED_REPLIES:
            return False
        self._replies.append(payload)
        self._wake.set()
        return True

    def close(self) -> None:
        """Close the connection at once; its tasks end by themselves."""
        self._writer.transport.abort()  # to close in order would wait for a peer that takes nothing

    async def write_loop(self) -> None:
        """Write frames, votes before answers before transactions, until the link is closed."""
        while True:
            frame = self._next()
            if frame is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._write(*frame)
            if self._writer.transport.get_write_buffer_size() > 256 << 10:
                async with asyncio.timeout(SEND_S):
                    await self._writer.drain()

    async def read(self) -> tuple[Channel, bytes]:
        """Return the next frame; raise `LedgerError` for one that is not allowed."""
        head = await self._reader.readexactly(5)
        length, number = int.from_bytes(head[:4]), head[4]
        try:
            channel = Channel(number)
        except ValueError:
            raise BadFrame(f"channel {number} is unknown") from None
        if length > _LIMITS[channel]:
            raise BadFrame(f"{length} bytes on {channel.name}, at most {_LIMITS[channel]}")
        self.received_bytes += 5 + length
        return channel, await self._reader.readexactly(length)

    async def greet(self, hello: Hello) -> None:
        """Exchange hellos; raise `BadFrame` where the peer is of another chain or version."""
        self._write(Channel.HELLO, encode(hello))
        await self._writer.drain()
        channel, payload = await self.read()
        theirs = decode(payload, Hello)
        if channel != Channel.HELLO or theirs.version != hello.version:
            raise BadFrame(f"speaks version {theirs.version} of the protocol, not {hello.version}")
        if theirs.chain_id != hello.chain_id:
            raise BadFrame(f"is of the chain {theirs.chain_id.hex()}, not {hello.chain_id.hex()}")
        self.hello = theirs

    def _write(self, channel: Channel, payload: bytes) -> None:
        self._writer.writelines((len(payload).to_bytes(4), bytes((channel,)), payload))
        self.sent_bytes += 5 + len(payload)

    def _next(self) -> tuple[Channel, bytes] | None:
        if self._votes:
            payload = self._votes.popitem(last=False)[1]
            self._vote_bytes -= len(payload)
            return Channel.CONSENSUS, payload
        if self._pulls:
            return Channel.PULL, self._pulls.popleft()
        if self._replies:
            return Channel.REPLY, self._replies.popleft()
        if self._transactions:
            payload = self._transactions.popleft()
            self._transaction_bytes -= len(payload)
            return Channel.TRANSACTIONS, payload
        return None


class BadFrame(LedgerError):
    """A peer sent what the protocol does not allow."""


class Network:
    """All links of this node: it listens, dials, greets, and hands frames to its receiver."""

    def __init__(
        self,
        *,
        seed: bytes,
        node_key: bytes,
        listen: tuple[str, int] | None,
        peers: Iterable[Peer],
        hello: Callable[[], Hello],
        receiver: Receiver,
        log: Log,
    ) -> None:
        self._node_key, self._listen = node_key, listen
        self._peers = {peer.node_key: peer for peer in peers if peer.node_key != node_key}
        self._hello, self._receiver, self._log = hello, receiver, log
        self._server_tls = tls.context(server=True, seed=seed, trusted=self._peers)
        self._client_tls = tls.context(server=False, seed=seed, trusted=self._peers)
        self.links: dict[bytes, Link] = {}  # by node key: one link a peer
        self._strangers: dict[socket.socket, asyncio.Task[None]] = {}  # who called, oldest first

    async def run(self) -> None:
        """Keep a link to every peer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._listen is not None:
                tasks.create_task(self._accept(*self._listen))
            for peer in self._peers.values():
                if peer.address is not None and self._dials(peer):
                    tasks.create_task(self._dial(peer, *peer.address))

    def link_to(self, node_key: bytes) -> Link | None:
        """Return the link to the node with this key, None where it is down."""
        return self.links.get(node_key)

    def _dials(self, peer: Peer) -> bool:
        """Return whether this node calls `peer`: of two that listen, the one with the lower key."""
        return self._listen is None or self._node_key < peer.node_key

    async def _accept(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            server = socket.create_server((host, port), family=found[0][0], backlog=BACKLOG)
        except OSError as error:
            raise CannotListen("p2p.listen", (host, port), error) from None
        with server as listening:
            listening.settimeout(0)  # as the loop needs it
            async with asyncio.TaskGroup() as calls:
                while True:
                    try:
                        connection, _ = await loop.sock_accept(listening)
                    except OSError as error:  # no descriptor is left, or the caller is gone
                        self._log.warning("connection not accepted", error=str(error))
                        await asyncio.sleep(REDIAL_S[-1])
                        continue
                    calls.create_task(self._accepted(connection))

    async def _dial(self, peer: Peer, host: str, port: int) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    reader, writer = await asyncio.open_connection(host, port, ssl=self._client_tls)
                if await self._serve(reader, writer):
                    failures = 0
            except (OSError, TimeoutError, ssl.SSLError) as error:
                if failures == len(REDIAL_S):  # once, not at every try
                    self._log.warning("peer unreachable", peer=peer.label, error=str(error))
            await asyncio.sleep(REDIAL_S[min(failures, len(REDIAL_S) - 1)])
            failures += 1

    async def _accepted(self, connection: socket.socket) -> None:
        """Speak with who calls. Of too many who have not said who they are, the oldest must go."""
        loop = asyncio.get_running_loop()
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.pop(next(iter(self._strangers))).cancel()
        task = asyncio.current_task()
        assert task is not None
        self._strangers[connection] = task
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._server_tls,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            await self._serve(reader, writer, greeted=lambda: self._strangers.pop(connection, None))
        except OSError as error:  # TLS errors too: a scanner, or a node that is none of ours
            self._log.debug("caller refused", error=str(error))
        finally:
            self._strangers.pop(connection, None)
            connection.close()

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        greeted: Callable[[], object] = lambda: None,
    ) -> bool:
        """Speak with the peer until the link is down; return whether it was ever up."""
        peer = self._peers.get(tls.peer_key(writer.get_extra_info("ssl_object")))
        if peer is None:  # TLS lets only our peers through
            writer.close()
            return False
        link = Link(peer, reader, writer)
        up = False
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await link.greet(self._hello())
            greeted()
            previous = self.links.get(peer.node_key)
            if previous is not None:
                previous.close()  # it died and we have not noticed yet
            self.links[peer.node_key] = link
            up = True
            self._log.info("peer linked", peer=peer.label)
            self._receiver.linked(link)
            await self._exchange(link)
        except (asyncio.IncompleteReadError, OSError, TimeoutError, ssl.SSLError):
            pass  # it went away; the dialling side comes back
        except LedgerError as error:
            self._log.warning("peer dropped", peer=peer.label, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, it does not end this node
            self._log.error("link failed", peer=peer.label, error=repr(error))
        finally:
            link.close()
            if self.links.get(peer.node_key) is link:
                del self.links[peer.node_key]
                self._log.info("peer unlinked", peer=peer.label)
                self._receiver.unlinked(link)
        return up

    async def _exchange(self, link: Link) -> None:
        writing = asyncio.create_task(link.write_loop())
        writing.add_done_callback(lambda _: link.close())  # where the peer takes nothing
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    channel, payload = await link.read()
                await self._receiver.received(link, channel, payload)
                await asyncio.sleep(0)  # frames that are here already do not keep others waiting
        finally:
            link.close()
            writing.cancel()
            await asyncio.wait([writing])  # which raises our own cancellation only, never its error
            failure = None if writing.cancelled() else writing.exception()
            if failure is not None and not isinstance(failure, OSError):
                raise failure
