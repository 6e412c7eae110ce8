"""Links on real sockets: who may speak, what may be said, and that every peer's cost is bounded."""

import asyncio
import contextlib
import io
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import pytest

from ledger.encoding import encode
from ledger.errors import Malformed
from ledger.keys import Role
from node import link as links
from node import p2p, testnet, tls
from node.errors import CannotListen
from node.link import (
    PROTOCOL_VERSION,
    BadFrame,
    Channel,
    Hello,
    Link,
    Listening,
    Peer,
    Ping,
    Pong,
    Reason,
    Refusal,
    Twin,
    parse_notice,
)
from node.log import Level, Log
from node.p2p import Network
from tests.chainmaker import key_of
from tests.node.cluster import run, seed_of, until, within

CHAIN = b"c" * 32


def hello_of(
    instance: bytes = b"i" * 16, *, version: int = PROTOCOL_VERSION, chain: bytes = CHAIN
) -> Hello:
    return Hello(version, chain, 7, instance, b"1.2.3", None)


HELLO = hello_of()
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


def heard(node: Running) -> bool:
    return node.heard.frames != []


def is_told(node: Running) -> bool:
    return node.network.twins != []


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


@pytest.mark.parametrize("caller", [LOW, HIGH])
def test_whoever_knows_the_address_dials(caller: str) -> None:
    async def dial() -> None:
        at = addresses()
        other = HIGH if caller == LOW else LOW
        async with (
            listening(other, caller, at={other: at[other]}) as called,
            listening(caller, other, at=at) as calling,
        ):
            await until(lambda: calling.is_linked(other) and called.is_linked(caller), "no link")
            assert calling.link(other).dialled
            assert not called.link(caller).dialled

    run(dial())


def test_of_two_links_the_one_that_the_lower_key_dialled_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(p2p, "HIGHER_WAITS_S", 0.0)  # so that both dial at once, again and again

    async def dial() -> None:
        for _ in range(5):
            at = addresses()
            async with listening(LOW, HIGH, at=at) as low, listening(HIGH, LOW, at=at) as high:

                def is_settled(low: Running = low, high: Running = high) -> bool:
                    return (
                        low.is_linked(HIGH)
                        and high.is_linked(LOW)
                        and low.link(HIGH).dialled
                        and not high.link(LOW).dialled
                    )

                await until(is_settled, "they do not agree on a link")
                low.link(HIGH).send_pull(b"here")
                await until(partial(heard, high), "nothing gets through")

    run(dial())


def test_who_is_not_dialled_learns_where_the_caller_listens_and_dials_it_later() -> None:
    async def learn() -> None:
        at = addresses()
        low_key = key_of(LOW, Role.TLS).public
        where = Listening(b"0.0.0.0", at[LOW][1])
        says = Hello(PROTOCOL_VERSION, CHAIN, 7, b"l" * 16, b"", where)
        async with listening(HIGH, LOW, at={HIGH: at[HIGH]}) as high:
            assert "has to dial" in high.network.trouble[low_key]
            async with listening(LOW, HIGH, at=at, hello=lambda: says):
                await until(lambda: high.is_linked(LOW), "no link")
                assert high.network.trouble == {}
            await until(lambda: not high.is_linked(LOW), "it is not missed")
            async with listening(LOW, HIGH, at={LOW: at[LOW]}, hello=lambda: says):  # dials nobody
                await until(lambda: high.is_linked(LOW), "it is not dialled")
                assert high.link(LOW).dialled

    run(learn())


@pytest.mark.parametrize(
    ("host", "called_from", "dialled"),
    [
        (b"10.1.2.3", "10.9.9.9", "10.1.2.3"),
        (b"node.example", "10.9.9.9", "node.example"),
        (b"0.0.0.0", "10.9.9.9", "10.9.9.9"),
        (b"::", "10.9.9.9", "10.9.9.9"),
        (b"127.0.0.1", "10.9.9.9", None),
        (b"127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (b"localhost", "10.9.9.9", None),
        (b"a host", "10.9.9.9", None),
        (b"\xff", "10.9.9.9", None),
    ],
)
def test_where_a_peer_says_that_it_listens_is_believed_as_far_as_it_makes_sense(
    host: bytes, called_from: str, dialled: str | None
) -> None:
    found = Listening(host, 7600).reached_from(called_from)
    assert found == (None if dialled is None else (dialled, 7600))


@pytest.mark.parametrize("host", [b"a..b", b"a" * 64])
def test_a_peer_that_says_it_listens_at_what_is_no_name_ends_nothing(host: bytes) -> None:
    async def learn() -> None:
        async with listening("federation", "operator") as node:
            key = key_of("operator", Role.TLS).public
            _, writer = await call("operator", "federation", node.address)
            where = Listening(host, 7600)
            await say(writer, Hello(PROTOCOL_VERSION, CHAIN, 7, b"l" * 16, b"", where))
            await until(lambda: node.is_linked("operator"), "no link")
            writer.close()
            await until(lambda: "is no name" in node.network.trouble.get(key, ""), "not dialled")
            _, writer = await call("operator", "federation", node.address)
            await say(writer)
            await until(lambda: node.is_linked("operator"), "no link again")
            writer.close()

    run(learn())


def test_what_is_said_of_a_link_again_and_again_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "NOTICE_RATE", 1e-6)
    monkeypatch.setattr(links, "NOTICE_BURST", 3.0)

    async def flood() -> None:
        async with listening("federation", "operator", "insurer-a") as node:
            reader, writer = await call("operator", "federation", node.address)
            await say(writer)
            writer.write(frame(Channel.NOTICE, encode(Ping())) * 100)
            assert (await read_frame(reader))[0] is Channel.HELLO
            for _ in range(4):
                assert parse_notice((await read_frame(reader))[1]) == Pong()
            writer.write(frame(Channel.PULL, b"after them"))
            _, other = await call("insurer-a", "federation", node.address)
            await say(other)
            other.write(frame(Channel.PULL, b"no flood"))
            await until(lambda: bool(node.heard.frames), "others wait too")
            assert node.heard.frames == [("insurer-a", Channel.PULL, b"no flood")]
            writer.close()
            other.close()

    run(flood())


def test_a_peer_that_calls_again_and_again_counts_as_a_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(p2p, "CALL_RATE", 1e-6)
    monkeypatch.setattr(p2p, "CALL_BURST", 2.0)

    async def call_often() -> None:
        async with listening("federation", "operator") as node:
            forgiven: list[str] = []
            monkeypatch.setattr(node.network._turnstile, "give_back", forgiven.append)
            for _ in range(4):
                _, writer = await call("operator", "federation", node.address)
                await say(writer)
                await until(lambda: node.is_linked("operator"), "no link")
                writer.close()
                await until(lambda: not node.is_linked("operator"), "it is not missed")
            assert forgiven == ["127.0.0.1"] * 2

    run(call_often())


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
        frame(Channel.HELLO, encode(hello_of(chain=b"d" * 32))),
        frame(Channel.HELLO, encode(hello_of(version=PROTOCOL_VERSION + 1))),
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
            said = ("peer dropped", "peer refused")
            await until(lambda: any(map(node.log.getvalue().count, said)), "nobody is told")
            assert node.network.trouble[key_of("operator", Role.TLS).public]
            writer.close()

    run(greet())


@pytest.mark.parametrize("channel", [c for c in Channel if c is not Channel.HELLO])
def test_a_frame_that_is_too_long_is_refused_before_it_is_read(channel: Channel) -> None:
    async def flood() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            limit = links.LIMITS[channel]
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


async def say(writer: asyncio.StreamWriter, hello: Hello = HELLO) -> None:
    writer.write(frame(Channel.HELLO, encode(hello)))
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> tuple[Channel, bytes]:
    head = await within(reader.readexactly(5))
    return Channel(head[4]), await within(reader.readexactly(int.from_bytes(head[:4])))


def test_a_second_link_replaces_one_that_died_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PROBE_S", 0.1)

    async def again() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            calls, readers = [writer], [reader]
            await say(writer)
            await until(lambda: node.is_linked("operator"), "no link")
            first = node.link("operator")
            for hello in (HELLO, hello_of(b"another instance")):  # the first answers nothing
                latest, writer = await call("operator", "federation", node.address)
                calls.append(writer)
                readers.append(latest)
                before = node.link("operator")
                await say(writer, hello)

                def is_replaced(before: Link = before) -> bool:
                    return node.link("operator") is not before

                await until(is_replaced, "it stays")
            assert await is_closed(reader)
            assert not readers[-1].at_eof()
            writer.write(frame(Channel.PULL, b"still here"))
            await until(lambda: len(node.heard.frames) == 1, "the last is closed too")
            assert node.heard.unlinked_from == []  # the peer was never gone
            assert node.link("operator") is not first
            assert node.network.twins == []
            for each in calls:
                each.close()

    run(again())


def test_two_live_instances_of_one_key_are_named_and_the_newcomer_cannot_take_the_link() -> None:
    async def double() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            await say(writer)
            assert (await read_frame(reader))[0] is Channel.HELLO
            first = node.link("operator")

            async def live() -> list[Twin]:
                """Answer as a living peer does; return what it is told of twins."""
                told: list[Twin] = []
                while len(told) < 3:
                    channel, payload = await read_frame(reader)
                    assert channel is Channel.NOTICE
                    if isinstance(notice := parse_notice(payload), Twin):
                        told.append(notice)
                    else:
                        writer.write(frame(Channel.NOTICE, encode(Pong())))
                return told

            living = asyncio.create_task(live())
            for _ in range(3):  # it flaps
                other, another = await call("operator", "federation", node.address)
                await say(another, hello_of(b"another instance"))
                channel, payload = await read_frame(other)
                refusal = parse_notice(payload)
                assert channel is Channel.NOTICE
                assert isinstance(refusal, Refusal)
                assert refusal.reason is Reason.TWIN
                assert await is_closed(other)
                another.close()
            assert {twin.instance for twin in await within(living)} == {b"another instance"}
            assert node.link("operator") is first
            (twins,) = node.network.twins
            assert twins.label == "operator"
            assert len(set(twins.places)) == 2
            assert node.log.getvalue().count("two nodes with one key") == 1  # not at every try
            writer.close()

    run(double())


def test_both_instances_learn_that_the_other_lives() -> None:
    async def double() -> None:
        at = addresses()
        async with (
            listening(HIGH, LOW, at={HIGH: at[HIGH]}) as high,
            listening(LOW, HIGH, at={HIGH: at[HIGH]}) as one,
        ):
            await until(lambda: high.is_linked(LOW) and one.is_linked(HIGH), "no link")
            clone = hello_of(b"another instance")
            async with listening(LOW, HIGH, at={HIGH: at[HIGH]}, hello=lambda: clone) as two:
                for each in (one, two):
                    await until(partial(is_told, each), "it is not told")
                    (twins,) = each.network.twins
                    assert (twins.label, twins.reported_by) == ("", HIGH)
                    (place,) = twins.places
                    assert re.fullmatch(r"127\.0\.0\.1:\d+", place)
                    assert "another node runs with our key" in each.log.getvalue()
                assert one.is_linked(HIGH)
                key = key_of(HIGH, Role.TLS).public
                assert "another instance of this node key" in two.network.trouble[key]

    run(double())


def test_peers_come_and_go_while_it_runs() -> None:
    async def change() -> None:
        at = addresses()
        high_key = key_of(HIGH, Role.TLS).public
        async with (
            listening(LOW, at=at) as low,
            listening(HIGH, LOW, at={HIGH: at[HIGH]}) as high,
        ):
            await until_listening(low.address)
            assert low.network.links == {}
            low.network.set_peers([Peer(HIGH, high_key, at[HIGH])])
            await until(lambda: low.is_linked(HIGH) and high.is_linked(LOW), "no link")
            link = low.link(HIGH)
            others = [Peer("observer", key_of("observer", Role.TLS).public, None)]
            low.network.set_peers([*others, Peer("renamed", high_key, at[HIGH])])
            assert low.link(HIGH) is link  # who stays is not disturbed
            low.network.set_peers(others)
            low.network.penalise(high_key, "what it sent last")  # its link is about to end
            assert high_key not in low.network.trouble
            await until(lambda: not low.is_linked(HIGH), "the link stays")
            await until(lambda: not high.is_linked(LOW), "the link stays")
            trouble = high.network.trouble[key_of(LOW, Role.TLS).public]
            assert "no longer registered" in trouble
            _, writer = await call(HIGH, LOW, low.address)
            await say(writer)
            assert low.network.links == {}
            assert low.network.trouble.keys() == {others[0].node_key}
            writer.close()

    run(change())


def test_who_offended_is_refused_for_a_while_also_when_it_comes_back() -> None:
    async def offend() -> None:
        async with listening("federation", "operator") as node:
            key = key_of("operator", Role.TLS).public
            node.heard.error = Malformed("thing", "because")
            for _ in range(2):
                reader, writer = await call("operator", "federation", node.address)
                await say(writer)
                writer.write(frame(Channel.PULL, b"?"))
                assert await is_closed(reader)
                writer.close()
                await until(lambda: node.network.penalties.left(key) > 0, "it is not penalised")
                reader, writer = await call("operator", "federation", node.address)
                await say(writer)
                _, payload = await read_frame(reader)
                refusal = parse_notice(payload)
                assert isinstance(refusal, Refusal)
                assert refusal.reason is Reason.PENALTY
                assert b"because" in refusal.detail
                writer.close()
                assert "because" in node.network.trouble[key]
                await until(lambda: not node.network.penalties.left(key), "it never ends")
            node.heard.error = None
            _, writer = await call("operator", "federation", node.address)
            await say(writer)
            await until(lambda: node.is_linked("operator"), "it is banned for ever")
            writer.close()

    run(offend())


@pytest.mark.parametrize(
    ("hello", "reason", "words"),
    [
        (encode(hello_of(chain=b"d" * 32)), Reason.CHAIN, b"is of the chain"),
        (encode(hello_of(version=2)), Reason.VERSION, b"speaks version 2"),
        (encode((9, b"of another", b"shape")), Reason.VERSION, b"speaks version 9"),
    ],
)
def test_who_is_refused_is_told_why(hello: bytes, reason: Reason, words: bytes) -> None:
    async def refuse() -> None:
        async with listening("federation", "operator") as node:
            reader, writer = await call("operator", "federation", node.address)
            writer.write(frame(Channel.HELLO, hello))
            channel, payload = await read_frame(reader)
            refusal = parse_notice(payload)
            assert channel is Channel.NOTICE
            assert isinstance(refusal, Refusal)
            assert refusal.reason is reason
            assert words in refusal.detail
            writer.close()

    run(refuse())


def test_why_a_peer_is_not_linked_is_known_in_words() -> None:
    async def fail() -> None:
        at = addresses()
        key = key_of(HIGH, Role.TLS).public
        async with listening(LOW, HIGH, at=at) as low:
            trouble = low.network.trouble
            await until(lambda: "Connection refused" in trouble[key], trouble[key])
            await until(lambda: "peer unreachable" in low.log.getvalue(), "nobody is told")
            async with listening(HIGH, "insurer-a", at=at):  # which does not know LOW
                await until(
                    lambda: "seems not to accept our node key" in trouble[key], trouble[key]
                )
        other = {HIGH: at[HIGH]}
        async with (
            listening("insurer-a", LOW, at={"insurer-a": at[HIGH]}),
            listening(LOW, HIGH, at=other) as low,
        ):
            wrong = "shows a node key that is not a registered one"
            await until(lambda: wrong in low.network.trouble[key], low.network.trouble[key])

    run(fail())


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
    monkeypatch.setattr(links, "SEND_S", 0.2)

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
            assert taken.count(True) == links.MAX_QUEUED_REPLIES
            assert link._vote_bytes == sum(map(len, link._votes.values()))
            assert link._vote_bytes <= links.MAX_QUEUED_VOTE_BYTES
            assert list(link._votes)[-1] == "status"  # the newest are kept
            assert sum(slot == "status" for slot in link._votes) == 1
            assert link._transaction_bytes <= links.MAX_QUEUED_TRANSACTION_BYTES
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
            writer = SimpleNamespace(get_extra_info=lambda _: None)
            link = Link(Peer("p", bytes(32), None), reader, writer)  # type: ignore[arg-type]
            return await link.read()

        assert await from_bytes(frame(Channel.REPLY, b"abc")) == (Channel.REPLY, b"abc")
        with pytest.raises(asyncio.IncompleteReadError):
            await from_bytes(frame(Channel.REPLY, b"abc")[:-1])
        with pytest.raises(BadFrame):
            await from_bytes(frame(77, b""))

    run(read())
