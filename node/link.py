"""One link: frames over an authenticated connection, everything it holds back bounded.

What a peer has not yet been sent is state, not a queue: votes by their slot, transactions up to a
bound; so that a slow peer costs a bounded amount of memory and is caught up by `Status`, not by a
backlog. What links say about themselves (`Ping`, `Twin`, `Refusal`) goes first of all.
"""

import asyncio
import contextlib
import ipaddress
import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, TypeAlias, cast

import msgspec

from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import LedgerError, Malformed
from ledger.transaction import MAX_TRANSACTION_BYTES
from ledger.validators import MAX_VALIDATORS, Bytes16, Bytes32
from node.budget import Budget

PROTOCOL_VERSION: Final = 4
MAX_FRAME_BYTES: Final = 8 << 20  # a whole block of 4 MiB with its certificate, and room
MAX_CONSENSUS_BYTES: Final = 1 << 20
MAX_SMALL_BYTES: Final = 256 << 10
MAX_QUEUED_TRANSACTION_BYTES: Final = 16 << 20  # per peer, the oldest are dropped: they are pulled
MAX_QUEUED_VOTE_BYTES: Final = 8 << 20  # per peer, the oldest are dropped: Status brings them
MAX_QUEUED_POST_BYTES: Final = 4 << 20  # per peer, the newest are dropped: they are sent again
MAX_QUEUED_REPLIES: Final = 4
MAX_QUEUED_NOTICES: Final = 8
NOTICE_RATE: Final = 5.0  # a second; more wait, with all that comes after them
NOTICE_BURST: Final = 20.0
SEND_S: Final = 30  # a peer that takes nothing for so long is disconnected
LEAVE_S: Final = 1.0  # for the last notice to get through
PROBE_S: Final = 2.0  # a peer that lives answers within

_HOST: Final = re.compile(r"[A-Za-z0-9.:-]{1,255}")


class Channel(IntEnum):
    """What a frame holds."""

    HELLO = 0
    CONSENSUS = 1
    TRANSACTIONS = 2
    PULL = 3  # asks for transactions, outlines or blocks
    REPLY = 4
    NOTICE = 5  # about the link itself
    POST = 6  # between members; nodes hand it on


LIMITS: Final = {
    Channel.HELLO: 1024,
    Channel.CONSENSUS: MAX_CONSENSUS_BYTES,
    Channel.TRANSACTIONS: MAX_FRAME_BYTES,
    Channel.PULL: MAX_SMALL_BYTES,
    Channel.REPLY: MAX_FRAME_BYTES,
    Channel.NOTICE: 1024,
    Channel.POST: 640 << 10,
}


class Listening(Struct):
    """Where a node listens; a host that is no address of its own is replaced by where it calls."""

    host: Annotated[bytes, msgspec.Meta(min_length=1, max_length=255)]
    port: Annotated[int, msgspec.Meta(ge=1, lt=1 << 16)]

    def reached_from(self, called_from: str) -> tuple[str, int] | None:
        """Return where to dial who says so and calls from there; None where it cannot be meant."""
        host = self.host.decode("ascii", errors="replace")
        if not _HOST.fullmatch(host) or host.lower() == "localhost":
            return None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host, self.port
        if address.is_unspecified:
            return (called_from, self.port) if called_from else None
        if address.is_loopback and not ipaddress.ip_address(called_from).is_loopback:
            return None  # its loopback, not ours
        return host, self.port


class Hello(Struct):
    """The first frame each way; a link counts as up when it has come (TLS 1.3 clients cannot tell
    otherwise whether the server accepted their certificate)."""  # noqa: D205, D209

    version: int  # of the protocol; first for ever, so that other versions can be told apart
    chain_id: Bytes32
    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    instance: Bytes16  # by chance at each start: two at once are twins
    software: Annotated[bytes, msgspec.Meta(max_length=64)]
    listening: Listening | None
    is_light: bool = False  # asks for what concerns its member, and is to be told nothing else


class Reason(IntEnum):
    """Why a link is refused or ended."""

    DUPLICATE = 1  # another link to the same instance stays
    TWIN = 2  # another live instance of the caller is linked
    VERSION = 3
    CHAIN = 4
    PENALTY = 5  # for what the caller sent before; it passes
    UNREGISTERED = 6  # the key is no longer one of the network's


class Ping(Struct, tag=1):
    """Asks whether the peer is there."""


class Pong(Struct, tag=2):
    """Says that it is."""


class Twin(Struct, tag=3):
    """Another live instance speaks with your node key, from there."""

    instance: Bytes16
    place: Annotated[bytes, msgspec.Meta(max_length=300)]


class Refusal(Struct, tag=4):
    """The link ends here, and why."""

    reason: Reason
    detail: Annotated[bytes, msgspec.Meta(max_length=300)]  # for people


Notice: TypeAlias = Ping | Pong | Twin | Refusal


class Transactions(Struct):
    """Transactions, gossiped once by the node they entered at, or pulled.

    `relay` names peers that their sender is not linked to: who is passes them on, once.
    """

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TRANSACTION_BYTES)], ...],
        msgspec.Meta(max_length=4096),
    ]
    relay: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_VALIDATORS)] = ()


class BadFrame(LedgerError):
    """A peer sent what the protocol does not allow."""


class Refused(LedgerError):
    """One side does not want this link; `by_peer` says which."""

    def __init__(self, reason: Reason, detail: str, *, by_peer: bool) -> None:
        super().__init__(f"refused us: {detail}" if by_peer else detail)
        self.reason, self.detail, self.by_peer = reason, detail, by_peer


@dataclass(frozen=True)
class Peer:
    """A node that we talk to: its name for people, its key, where it listens (None: it dials)."""

    label: str
    node_key: bytes
    address: tuple[str, int] | None


class Link:
    """One authenticated connection to a peer."""

    def __init__(
        self,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        dialled: bool = False,
    ) -> None:
        self.peer = peer
        self.dialled = dialled  # by us
        self.hello: Hello | None = None
        self.is_handling = False  # a frame of this peer: it has said something
        self.notices = Budget(NOTICE_RATE, NOTICE_BURST)  # that the peer may send
        self._reader, self._writer = reader, writer
        name = writer.get_extra_info("peername")  # gone when the connection is
        self.place = f"{name[0]}:{name[1]}" if name else "?"
        self._notices: deque[bytes] = deque(maxlen=MAX_QUEUED_NOTICES)
        self._votes: OrderedDict[object, bytes] = OrderedDict()
        self._vote_bytes = 0
        self._replies: deque[bytes] = deque()
        self._pulls: deque[bytes] = deque(maxlen=64)
        self._transactions: deque[bytes] = deque()
        self._transaction_bytes = 0
        self._post: deque[bytes] = deque()
        self._post_bytes = 0
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()
        self._is_leaving = False
        self.sent_bytes = self.received_bytes = 0

    @property
    def instance(self) -> bytes:
        """Which start of the peer's process this is; the link must be up."""
        assert self.hello is not None
        return self.hello.instance

    def send_notice(self, notice: Notice) -> None:
        """Say something about the link."""
        self._notices.append(encode(notice))
        self._wake.set()

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

    def send_post(self, payload: bytes) -> None:
        """Send a message of post; dropped where a peer is slow: who sent it sends it again."""
        if self._post_bytes + len(payload) <= MAX_QUEUED_POST_BYTES:
            self._post.append(payload)
            self._post_bytes += len(payload)
            self._wake.set()

    def close(self) -> None:
        """Close the connection at once, but for a last notice; its tasks end by themselves."""
        if not self._is_leaving:
            self._writer.transport.abort()  # in order, it would wait for a peer that takes nothing

    def leave(self, reason: Reason, detail: str) -> None:
        """Close the connection, telling the peer why."""
        if self._is_leaving or self._writer.transport.is_closing():
            return
        self._is_leaving = True
        self._write(Channel.NOTICE, encode(Refusal(reason, detail.encode()[:300])))
        self._writer.transport.close()

    async def gone(self) -> None:
        """Wait until the connection is closed; not for long where the peer does not take it."""
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._writer.wait_closed()
        finally:
            self._writer.transport.abort()

    @property
    def is_light(self) -> bool:
        """Whether the peer is a light node; the link must be up."""
        assert self.hello is not None
        return self.hello.is_light

    async def is_alive(self) -> bool:
        """Return whether the peer says anything when it is asked to."""
        self._heard.clear()
        self.send_notice(Ping())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_S):
                await self._heard.wait()
        return (self._heard.is_set() or self.is_handling) and not self._is_closing()

    def _is_closing(self) -> bool:
        return self._writer.transport.is_closing()

    async def write_loop(self) -> None:
        """Write frames until the link is closed: votes, answers, transactions, then post."""
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
        if length > LIMITS[channel]:
            raise BadFrame(f"{length} bytes on {channel.name}, at most {LIMITS[channel]}")
        self.received_bytes += 5 + length
        payload = await self._reader.readexactly(length)
        self._heard.set()
        return channel, payload

    async def say_hello(self, hello: Hello) -> None:
        """Say who we are."""
        self._write(Channel.HELLO, encode(hello))
        await self._writer.drain()

    async def hear_hello(self, own: Hello) -> None:
        """Take the peer's hello. Raises `Refused` where it says why not, or where we do not talk.

        `BadFrame` or `Malformed` where it is none.
        """
        channel, payload = await self.read()
        if channel == Channel.NOTICE:
            notice = parse_notice(payload)
            if isinstance(notice, Refusal):
                detail = notice.detail.decode(errors="replace")
                raise Refused(notice.reason, detail, by_peer=True)
        if channel != Channel.HELLO:
            raise BadFrame(f"greets on {channel.name}")
        theirs = _parse_hello(payload, own)
        if theirs.chain_id != own.chain_id:
            raise Refused(
                Reason.CHAIN,
                f"is of the chain {theirs.chain_id.hex()}, not {own.chain_id.hex()}",
                by_peer=False,
            )
        self.hello = theirs

    def _write(self, channel: Channel, payload: bytes) -> None:
        self._writer.writelines((len(payload).to_bytes(4), bytes((channel,)), payload))
        self.sent_bytes += 5 + len(payload)

    def _next(self) -> tuple[Channel, bytes] | None:
        if self._notices:
            return Channel.NOTICE, self._notices.popleft()
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
        if self._post:
            payload = self._post.popleft()
            self._post_bytes -= len(payload)
            return Channel.POST, payload
        return None


def parse_notice(payload: bytes) -> Notice:
    """Return what a peer says of the link, or raise `Malformed`."""
    return decode(payload, cast("type[Notice]", Notice), kind="notice")


def _parse_hello(payload: bytes, own: Hello) -> Hello:
    """Return a hello of our version; raise `Refused` for one of another, `Malformed` for none."""
    try:
        theirs = decode(payload, Hello)
    except Malformed:
        with contextlib.suppress(msgspec.MsgspecError):
            match msgspec.msgpack.decode(payload):
                case [int(version), *_] if version != own.version:
                    raise _other_version(version, own) from None
        raise
    if theirs.version != own.version:
        raise _other_version(theirs.version, own)
    return theirs


def _other_version(version: int, own: Hello) -> Refused:
    detail = f"speaks version {version} of the protocol, not {own.version}"
    return Refused(Reason.VERSION, detail, by_peer=False)
