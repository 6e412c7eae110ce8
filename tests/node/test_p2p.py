"""Links on real sockets: who may speak, what may be said, and that every peer's cost is bounded."""

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from ledger.encoding import encode
from ledger.errors import Malformed
from ledger.keys import Role
from node import p2p, testnet, tls
from node.errors import CannotListen
from node.log import Level, Log
from node.p2p import BadFrame, Channel, Hello, Link, Network, Peer
from tests.chainmaker import key_of
from tests.node.cluster import run, seed_of, until, within

CHAIN = b"c" * 32
HELLO = Hello(p2p.PROTOCOL_VERSION, CHAIN, 7)
LOW, HIGH = sorted(("federation", "operator"), key=lambda label: key_of(label, Role.TLS).public)


@dataclass
class Receiver:
    """Notes what comes; a frame of these bytes is refused."""

    frames: list[tuple[str, Channel, bytes]] = field(default_factory=list)
    linked_with: list[str] = field(default_factory=list)
    unlinked_from: list[str] = field(default_factory=list)
    error: Exception | None = None

    async def received(self, link: Link, channel: Channel, payload: bytes) -> None:
        self.frames.append((link.peer.label, channel, payload))
        if self.error is not None:
            raise self.error

    def linked(self, link: Link) -> None:
        self.linked_with.append(link.peer.label)

    def unlinked(self, link: Link) -> None:
        self.unlinked_from.append(link.peer.label)


@dataclass
class Running:
    """A network that runs, and what it heard and logged."""

    network: Network
    heard: Receiver
    log: io.StringIO
    address: tuple[str, int]

    def link(self, label: str) -> Link:
        link = self.network.link_to(key_of(label, Role.TLS).public)
        assert link is not None
        return link

    def is_linked(self, label: str) -> bool:
        return self.network.link_to(key_of(label, Role.TLS).public) is not None


def addresses() -> dict[str, tuple[str, int]]:
    """Return where two nodes can listen."""
    return dict(zip((LOW, HIGH), testnet._free_ports(2), strict=True))


@contextlib.asynccontextmanager
async def listening(
    label: str,
    *peers: str,
    at: dict[str, tuple[str, int]] | None = None,
    hello: Callable[[], Hello] = lambda: HELLO,
) -> AsyncIterator[Running]:
    """A node that listens, and dials the peers whose address it knows and whose key is higher."""
    known: dict[str, tuple[str, int]] = dict(at or {})
    known.setdefault(label, testnet._free_ports(1)[0])
    heard, log = Receiver(), io.StringIO()
    network = Network(
        seed=seed_of(label, Role.TLS),
        node_key=key_of(label, Role.TLS).public,
        listen=known[label],
        peers=[Peer(p, key_of(p, Role.TLS).public, known.get(p)) for p in peers],
        hello=hello,
        receiver=heard,
        log=Log(Level.DEBUG, log),
    )
    task = asyncio.create_task(network.run())
    try:
        yield Running(network, heard, log, known[label])
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_listening(address: tuple[str, int]) -> None:
    async def try_() -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return

    await within(try_())


async def call(
    label: str, server: str, address: tuple[str, int]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as `label` would."""
    await until_listening(address)
    trusted = [key_of(server, Role.TLS).public]
    context = tls.context(server=False, seed=seed_of(label, Role.TLS), trusted=trusted)
    return await asyncio.open_connection(*address, ssl=context)


def frame(channel: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(4) + bytes((channel,)) + payload


GREETING = frame(Channel.HELLO, encode(HELLO))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Read whatever comes until the other side has closed."""
    with contextlib.suppress(OSError):
        while await within(reader.read(1 << 16)):
            pass
    return True


def test_two_nodes_link_and_speak() -> None:
    async def speak() -> None:
        at = addresses()
        async with (
            listening(LOW, HIGH, at=at) as low,
            listening(HIGH, LOW, at=at) as high,
        ):
            await until(lambda: low.is_linked(HIGH) and high.is_linked(LOW), "no link")
            low.link(HIGH).send_transactions(b"transactions")
            low.link(HIGH).send_pull(b"pull")
            assert low.link(HIGH).send_reply(b"reply")
            low.link(HIGH).send_consensus("slot", b"vote")
            await until(lambda: len(high.heard.frames) == 4, "not all came")
            assert [(channel, payload) for _, channel, payload in high.heard.frames] == [
                (Channel.CONSENSUS, b"vote"),  # what cannot wait goes first
                (Channel.PULL, b"pull"),
                (Channel.REPLY, b"reply"),
                (Channel.TRANSACTIONS, b"transactions"),
            ]
            assert {label for label, _, _ in high.heard.frames} == {LOW}
            hello = high.link(LOW).hello
            assert hello == HELLO

    run(speak())


def test_of_two_that_listen_the_one_with_the_lower_key_dials() -> None:
    async def dial() -> None:
        at = addresses()
        async with listening(HIGH, LOW, at=at) as high:
            await until_listening(high.address)
            assert not high.network._dials(high.network._peers[key_of(LOW, Role.TLS).public])
            async with listening(LOW, HIGH, at=at) as low:
                await until(lambda: low.is_linked(HIGH), "no link")
                assert low.network._dials(low.network._peers[key_of(HIGH, Role.TLS).public])

    run(dial())


def test_a_stranger_is_not_let_in() -> None:
    async def knock() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("stranger", "federation", node.address)
            with contextlib.suppress(OSError):
                writer.write(GREETING)
                await writer.drain()
            assert await is_closed(reader)
            assert node.heard.linked_with == []
            writer.close()

    run(knock())


@pytest.mark.parametrize(
    "first",
    [
        frame(Channel.HELLO, encode(Hello(p2p.PROTOCOL_VERSION, b"d" * 32, 7))),
        frame(Channel.HELLO, encode(Hello(p2p.PROTOCOL_VERSION + 1, CHAIN, 7))),
        frame(Channel.HELLO, b"garbage"),
        frame(Channel.CONSENSUS, encode(HELLO)),
        frame(Channel.HELLO, encode(HELLO) + bytes(2000)),
        frame(9, b""),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["chain", "version", "garbage", "channel", "too long", "unknown channel", "http"],
)
def test_who_greets_wrongly_is_dropped(first: bytes) -> None:
    async def greet() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            writer.write(first)
            assert await is_closed(reader)
            assert node.heard.linked_with == []
            await until(lambda: "peer dropped" in node.log.getvalue(), "nobody is told")
            writer.close()

    run(greet())


@pytest.mark.parametrize("channel", [c for c in Channel if c is not Channel.HELLO])
def test_a_frame_that_is_too_long_is_refused_before_it_is_read(channel: Channel) -> None:
    async def flood() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            limit = p2p._LIMITS[channel]
            writer.write(GREETING + (limit + 1).to_bytes(4) + bytes((channel,)))
            assert await is_closed(reader)  # though not one byte of it was sent
            assert node.heard.frames == []
            await until(lambda: node.heard.unlinked_from == ["operator"], "it is still linked")
            assert str(limit) in node.log.getvalue()
            writer.close()

    run(flood())


def test_a_frame_that_the_receiver_refuses_closes_the_link() -> None:
    async def refuse() -> None:
        async with listening("federation", "operator") as node:
            node.heard.error = Malformed("thing", "because")
            reader, writer = await call("operator", "federation", node.address)
            writer.write(GREETING + frame(Channel.PULL, b"?"))
            assert await is_closed(reader)
            await until(lambda: "because" in node.log.getvalue(), "nobody is told why")
            writer.close()

    run(refuse())


def test_a_fault_of_ours_that_a_frame_finds_ends_its_link_and_not_the_node() -> None:
    async def stumble() -> None:
        async with listening("federation", "operator", "insurer-a") as node:
            node.heard.error = KeyError("a fault")
            reader, writer = await call("operator", "federation", node.address)
            writer.write(GREETING + frame(Channel.PULL, b"?"))
            assert await is_closed(reader)
            node.heard.error = None
            _, other = await call("insurer-a", "federation", node.address)
            other.write(GREETING)
            await until(lambda: node.is_linked("insurer-a"), "the node does not go on")
            assert '"level": "error"' in node.log.getvalue()
            for each in (writer, other):
                each.close()

    run(stumble())


def test_a_second_link_replaces_the_first() -> None:
    async def again() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            writer.write(GREETING)
            await until(lambda: node.is_linked("operator"), "no link")
            first = node.link("operator")
            _, second = await call("operator", "federation", node.address)
            second.write(GREETING)
            await until(lambda: node.link("operator") is not first, "it is not replaced")
            assert await is_closed(reader)
            second.write(frame(Channel.PULL, b"still here"))
            await until(lambda: len(node.heard.frames) == 1, "the second is closed too")
            assert node.heard.unlinked_from == []  # the peer was never gone
            writer.close()
            second.close()

    run(again())


def test_a_peer_that_comes_back_is_dialled_again() -> None:
    async def come_back() -> None:
        at = addresses()
        async with listening(LOW, HIGH, at=at) as low:
            for times in (1, 2):
                async with listening(HIGH, LOW, at=at):
                    await until(lambda: low.is_linked(HIGH), "it is not dialled")
                await until(lambda: not low.is_linked(HIGH), "it is not missed")
                assert low.heard.unlinked_from == [HIGH] * times

    run(come_back())


def test_a_network_ends_when_it_is_told_to_though_a_link_is_just_dying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def die() -> None:
        leaving, may_leave = asyncio.Event(), asyncio.Event()

        async def linger(_: Link) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                leaving.set()
                await may_leave.wait()

        monkeypatch.setattr(Link, "write_loop", linger)
        at = addresses()
        async with listening(HIGH, LOW, at=at) as high:
            await until_listening(high.address)
            network = Network(
                seed=seed_of(LOW, Role.TLS),
                node_key=key_of(LOW, Role.TLS).public,
                listen=None,
                peers=[Peer(HIGH, key_of(HIGH, Role.TLS).public, at[HIGH])],
                hello=lambda: HELLO,
                receiver=Receiver(),
                log=Log(Level.DEBUG, io.StringIO()),
            )
            task = asyncio.create_task(network.run())
            await until(lambda: high.is_linked(LOW), "no link")
            high.link(LOW).close()
            await within(leaving.wait())
            task.cancel()
            await asyncio.sleep(0)
            may_leave.set()
            done, _ = await asyncio.wait([task], timeout=5)
            assert done, "it dials on"
            assert task.cancelled()

    run(die())


def test_a_peer_that_takes_nothing_costs_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p2p, "SEND_S", 0.2)

    async def stall() -> None:
        async with listening("federation", "operator") as node:
            _, writer = await call("operator", "federation", node.address)
            writer.write(GREETING)
            await until(lambda: node.is_linked("operator"), "no link")
            link = node.link("operator")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            for number in range(3000):
                link.send_consensus(number, bytes(10_000))
                link.send_consensus("status", number.to_bytes(8))
                link.send_transactions(bytes(100_000))
                link.send_pull(bytes(32))
            taken = [link.send_reply(bytes(100)) for _ in range(10)]
            assert taken.count(True) == p2p.MAX_QUEUED_REPLIES
            assert link._vote_bytes == sum(map(len, link._votes.values()))
            assert link._vote_bytes <= p2p.MAX_QUEUED_VOTE_BYTES
            assert list(link._votes)[-1] == "status"  # the newest are kept
            assert sum(slot == "status" for slot in link._votes) == 1
            assert link._transaction_bytes <= p2p.MAX_QUEUED_TRANSACTION_BYTES
            assert len(link._pulls) <= 64
            await until(lambda: not node.is_linked("operator"), "it is waited for for ever")
            writer.transport.abort()

    run(stall())


def test_who_calls_and_says_nothing_makes_room_for_who_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(p2p, "MAX_STRANGERS", 4)

    async def crowd() -> None:
        async with listening("federation", "operator") as node:
            await until_listening(node.address)
            silent = [await asyncio.open_connection(*node.address) for _ in range(12)]
            await until(lambda: len(node.network._strangers) == 4, "there are not so many")
            _, writer = await call("operator", "federation", node.address)
            writer.write(GREETING)
            await until(lambda: node.is_linked("operator"), "no room for a peer")
            assert len(node.network._strangers) <= 4
            assert await is_closed(silent[0][0])
            for _, each in (*silent, (None, writer)):
                each.close()

    run(crowd())


def test_garbage_at_the_door_changes_nothing() -> None:
    async def scan() -> None:
        async with listening("federation", "operator") as node:
            await until_listening(node.address)
            for garbage in (b"", b"\x16\x03\x01", b"GET / HTTP/1.0\r\n\r\n", bytes(5000)):
                reader, writer = await asyncio.open_connection(*node.address)
                writer.write(garbage)
                writer.write_eof()
                assert await is_closed(reader)
                writer.close()
            _, writer = await call("operator", "federation", node.address)
            writer.write(GREETING)
            await until(lambda: node.is_linked("operator"), "it listens no more")
            await until(lambda: not node.network._strangers, "somebody is still at the door")
            writer.close()

    run(scan())


def test_an_address_in_use_is_named() -> None:
    async def collide() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = taken.getsockname()
            network = Network(
                seed=seed_of("federation", Role.TLS),
                node_key=key_of("federation", Role.TLS).public,
                listen=address,
                peers=[],
                hello=lambda: HELLO,
                receiver=Receiver(),
                log=Log(Level.DEBUG, io.StringIO()),
            )
            with pytest.RaisesGroup(CannotListen) as caught:
                await network.run()
            (error,) = caught.value.exceptions
            assert isinstance(error, CannotListen)
            assert str(error) == f"cannot listen on 127.0.0.1:{address[1]}: Address already in use"
            assert "p2p.listen" in error.hint

    run(collide())


def test_a_read_frame_is_what_was_written() -> None:
    async def read() -> None:
        async def from_bytes(data: bytes) -> tuple[Channel, bytes]:
            reader = asyncio.StreamReader()
            reader.feed_data(data)
            reader.feed_eof()
            link = Link(Peer("p", bytes(32), None), reader, None)  # type: ignore[arg-type]
            return await link.read()

        assert await from_bytes(frame(Channel.REPLY, b"abc")) == (Channel.REPLY, b"abc")
        with pytest.raises(asyncio.IncompleteReadError):
            await from_bytes(frame(Channel.REPLY, b"abc")[:-1])
        with pytest.raises(BadFrame):
            await from_bytes(frame(77, b""))

    run(read())
