"""Links between nodes: mutually authenticated TLS, one a peer; peers may change meanwhile.

Any node that knows a peer's address dials it while no link is up. Of two links to one instance the
one that the lower node key dialled stays; so the higher key waits a little before it dials. Where
another instance of a linked key calls, the link that is up is asked whether it lives: if it does,
there are two nodes with one key, both are told, and the newcomer is refused.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.errors import LedgerError
from node import clock, tls
from node.budget import Budget
from node.errors import CannotListen
from node.link import (
    Channel,
    Hello,
    Link,
    Peer,
    Ping,
    Pong,
    Reason,
    Refusal,
    Refused,
    Twin,
    parse_notice,
)
from node.log import Log
from node.penalties import Penalties
from node.turnstile import Turnstile

MAX_STRANGERS: Final = 64  # callers who have not yet said who they are
BACKLOG: Final = 128
HANDSHAKE_S: Final = 10
IDLE_S: Final = 30  # heartbeats come every few seconds
REDIAL_S: Final = (0.1, 0.2, 0.5)  # then the last for ever: a quorum may wait for this peer
REFUSED_S: Final = 5.0  # until who refused us is dialled again
TURNED_S: Final = 0.002  # for each caller that is turned away
HIGHER_WAITS_S: Final = 0.5  # for the link that the lower key dials
_LINKED_FROM: Final = "linked from "  # and the place, at the end of a refusal of a twin
TWIN_LOG_S: Final = 60.0  # between two warnings of one pair of twins
TWIN_FORGOTTEN_S: Final = 600.0  # after it was last seen
CALL_RATE: Final = 0.5  # a second, of one peer: what it calls more often counts as a stranger's
CALL_BURST: Final = 20.0


@dataclass(frozen=True)
class Twins:
    """Two live instances with one node key."""

    label: str  # of the peer, or "" for this node itself
    places: tuple[str, ...]  # where each speaks from; for this node: where the other one does
    reported_by: str  # the peer that says so, or "" where it was seen here
    seen: float  # by clock.monotonic, last


class Receiver(Protocol):
    """Who gets what comes in."""

    async def received(self, link: Link, channel: Channel, payload: bytes) -> None:
        """Take a frame. What it raises of `LedgerError` closes the link and is logged."""

    def linked(self, link: Link) -> None:
        """Learn that a link is up."""

    def unlinked(self, link: Link) -> None:
        """Learn that a link is down."""


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
        self._seed, self.node_key, self._listen = seed, node_key, listen
        self._hello, self._receiver, self._log = hello, receiver, log
        self._peers: dict[bytes, Peer] = {}
        self._learnt: dict[bytes, tuple[str, int]] = {}  # where peers say that they listen
        self._dials: dict[bytes, asyncio.Task[None]] = {}
        self._missing: dict[bytes, asyncio.Event] = {}  # set while no link is up
        self._twins: dict[bytes, Twins] = {}
        self._strangers: dict[socket.socket, asyncio.Task[None]] = {}  # who called, oldest first
        self._tasks: asyncio.TaskGroup | None = None
        self._turnstile = Turnstile()
        self._calls: dict[bytes, Budget] = {}  # of peers, by node key
        self.penalties = Penalties()
        self._links: dict[bytes, Link] = {}  # by node key: one link a peer
        self.trouble: dict[bytes, str] = {}  # why a peer is not linked, as last seen, in words
        self._server_tls, self._client_tls = self._trust(())
        self.set_peers(peers)

    async def run(self) -> None:
        """Keep a link to every peer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            if self._listen is not None:
                tasks.create_task(self._accept(*self._listen))
            for key in self._peers:
                self._keep_dialling(key)

    @property
    def links(self) -> dict[bytes, Link]:
        """The links that are up to nodes that follow the whole chain, by node key."""
        return {key: link for key, link in self._links.items() if not link.is_light}

    def link_to(self, node_key: bytes) -> Link | None:
        """Return the link to the node with this key, None where it is down."""
        return self._links.get(node_key)

    @property
    def peers(self) -> dict[bytes, Peer]:
        """Whom this node talks to, by node key."""
        return self._peers

    @property
    def twins(self) -> list[Twins]:
        """Node keys with which two live instances spoke lately."""
        now = clock.monotonic()
        return [each for each in self._twins.values() if now - each.seen < TWIN_FORGOTTEN_S]

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Talk to these from now on, and to nobody else; links to those who stay stay up."""
        wanted = {peer.node_key: peer for peer in peers if peer.node_key != self.node_key}
        before, self._peers = self._peers, wanted
        if before.keys() != wanted.keys():
            self._server_tls, self._client_tls = self._trust(wanted)
        for key in before.keys() - wanted.keys():
            if (link := self._links.get(key)) is not None:
                link.leave(Reason.UNREGISTERED, "this node key is no longer registered")
            if (dial := self._dials.pop(key, None)) is not None:
                dial.cancel()
            for known in (self._learnt, self._missing, self._twins, self.trouble):
                known.pop(key, None)
        for key, peer in wanted.items():
            self._missing.setdefault(key, asyncio.Event())
            if key not in self._links:
                self._missing[key].set()
                nowhere = peer.address is None and key not in self._learnt
                reason = "its address is not known here: it has to dial" if nowhere else "not yet"
                self.trouble.setdefault(key, reason)
            self._keep_dialling(key)

    def penalise(self, node_key: bytes, offence: str) -> None:
        """Talk to a peer no more for a while, the longer the more often it offended."""
        peer = self._peers.get(node_key)
        if peer is None:
            return  # it is a peer no more, and its link about to end
        seconds = self.penalties.add(node_key, offence)
        self._log.warning("peer penalised", peer=peer.label, seconds=seconds, reason=offence)
        if (link := self._links.get(node_key)) is not None:
            self.trouble[node_key] = f"penalised for {seconds:g} s: {offence}"
            link.leave(Reason.PENALTY, f"penalised for {seconds:g} s: {offence}")

    def _trust(self, keys: Iterable[bytes]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        trusted = tuple(keys)
        server = tls.context(server=True, seed=self._seed, trusted=trusted)
        return server, tls.context(server=False, seed=self._seed, trusted=trusted)

    # --- dialling ----------------------------------------------------------------------------

    def _address(self, key: bytes) -> tuple[str, int] | None:
        """Return where a peer listens: as our operator says, else as the peer itself does."""
        return self._peers[key].address or self._learnt.get(key)

    def _keep_dialling(self, key: bytes) -> None:
        """Dial a peer whose address is known, whenever it is not linked."""
        if self._tasks is not None and self._address(key) is not None and key not in self._dials:
            self._dials[key] = self._tasks.create_task(self._dial(key))

    async def _dial(self, key: bytes) -> None:
        failures, is_higher = 0, self._listen is not None and self.node_key > key
        while True:
            if not self._missing[key].is_set():
                failures = 0
                await self._missing[key].wait()
            waits_s = HIGHER_WAITS_S if is_higher and not failures else 0.0
            await asyncio.sleep(max(self.penalties.left(key), waits_s))
            if (address := self._address(key)) is None or key in self._links:
                await asyncio.sleep(REDIAL_S[-1])
                continue
            host, port = address
            pause_s = REDIAL_S[min(failures, len(REDIAL_S) - 1)]
            failures += 1
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    reader, writer = await asyncio.open_connection(host, port, ssl=self._client_tls)
            except (OSError, UnicodeError) as error:  # the latter: of a name that can be none
                self.trouble[key] = _words(error, f"{host}:{port}")
            else:
                ended = await self._serve(reader, writer, dialled=True)
                if isinstance(ended, LedgerError):
                    is_spare = isinstance(ended, Refused) and ended.reason is Reason.DUPLICATE
                    pause_s = pause_s if is_spare else REFUSED_S
            if failures == len(REDIAL_S) + 1 and key not in self._links:  # once, not at every try
                label, reason = self._peers[key].label, self.trouble.get(key, "")
                self._log.warning("peer unreachable", peer=label, reason=reason)
            await asyncio.sleep(pause_s)

    # --- listening ---------------------------------------------------------------------------

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
                        connection, caller = await loop.sock_accept(listening)
                    except OSError as error:  # no descriptor is left, or the caller is gone
                        self._log.warning("connection not accepted", error=str(error))
                        await asyncio.sleep(REDIAL_S[-1])
                        continue
                    if self._turnstile.lets_in(caller[0]):
                        calls.create_task(self._accepted(connection, caller[0]))
                    else:
                        connection.close()
                        await asyncio.sleep(TURNED_S)  # the backlog fills up instead of our time

    async def _accepted(self, connection: socket.socket, host: str) -> None:
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
            await self._serve(
                reader,
                writer,
                dialled=False,
                greeted=lambda key: self._greeted(connection, host, key),
            )
        except OSError as error:  # TLS errors too: a scanner, or a node that is none of ours
            self._log.debug("caller refused", error=str(error))
        finally:
            self._strangers.pop(connection, None)
            connection.close()

    def _greeted(self, connection: socket.socket, host: str, key: bytes) -> None:
        """Learn that who called is a peer: its handshake was no stranger's, unless it calls often.

        A handshake costs more than any frame, and no budget of a link counts it.
        """
        self._strangers.pop(connection, None)
        if self._calls.setdefault(key, Budget(CALL_RATE, CALL_BURST)).takes(1):
            self._turnstile.give_back(host)

    # --- a link ------------------------------------------------------------------------------

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        dialled: bool,
        greeted: Callable[[bytes], object] = lambda _: None,
    ) -> Exception | None:
        """Speak with the peer until the link is down; return why it never was up, None if it was.

        Once a link is up what ended it is in `trouble` alone.
        """
        key = tls.peer_key(writer.get_extra_info("ssl_object"))
        peer = self._peers.get(key)
        if peer is None:  # TLS let it through while it was a peer
            writer.close()
            return Refused(Reason.UNREGISTERED, "its node key is not registered", by_peer=False)
        link = Link(peer, reader, writer, dialled=dialled)
        never: Exception | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._greet(link, greeted)
            self._up(link)
            self._receiver.linked(link)
            await self._exchange(link)
        except (asyncio.IncompleteReadError, OSError, TimeoutError) as error:
            never = error  # it went away; who dials comes back
            # asyncio closes without the alert that would say so (RFC 8446, 6.2)
            unknown = dialled and link.hello is None and isinstance(error, EOFError)
            hint = f"{link.place} does not greet: it seems not to accept our node key"
            self._note(link, hint if unknown else _words(error, link.place))
        except Refused as error:
            never = error
            if not error.by_peer:
                link.leave(error.reason, error.detail)
            if error.reason is not Reason.DUPLICATE:
                is_news = self.trouble.get(key) != str(error)
                self._note(link, str(error))
                if is_news and error.reason is not Reason.PENALTY:
                    self._log.warning("peer refused", peer=peer.label, reason=str(error))
            if error.by_peer and error.reason is Reason.TWIN:
                self._own_twin(link, error.detail.rpartition(_LINKED_FROM)[2])
        except LedgerError as error:
            never = error
            self._note(link, f"dropped: {error}")
            self._log.warning("peer dropped", peer=peer.label, error=str(error))
            self.penalise(key, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, it does not end this node
            never = error
            self._note(link, "a fault of this node, see its log")
            self._log.error("link failed", peer=peer.label, error=repr(error))
        finally:
            link.close()
            was_up = self._down(link)
            await link.gone()
        return None if was_up else never

    async def _greet(self, link: Link, greeted: Callable[[bytes], object]) -> None:
        """Exchange hellos; who is called answers once it wants the caller. Raises `Refused`."""
        own = self._hello()
        if link.dialled:
            await link.say_hello(own)
        await link.hear_hello(own)
        greeted(link.peer.node_key)
        await self._require_wanted(link)
        if not link.dialled:
            await link.say_hello(own)

    async def _require_wanted(self, link: Link) -> None:
        """Raise `Refused` unless `link` is better than the one that is up, if one is."""
        key = link.peer.node_key
        if seconds := self.penalties.left(key):
            reason = self.penalties.reason(key)
            raise Refused(
                Reason.PENALTY, f"penalised for {seconds:.0f} s more: {reason}", by_peer=False
            )
        while (known := self._links.get(key)) is not None:
            if known.instance == link.instance:
                by_lower = self.node_key < key  # whether the lower key's links are those we dial
                if known.dialled != link.dialled:
                    if known.dialled == by_lower:
                        raise Refused(Reason.DUPLICATE, "there is a better link", by_peer=False)
                    return
                if await known.is_alive():
                    raise Refused(Reason.DUPLICATE, "there is a link that lives", by_peer=False)
            elif await known.is_alive():
                self._saw_twins(known, link)
                detail = f"another instance of this node key is {_LINKED_FROM}{known.place}"
                raise Refused(Reason.TWIN, detail, by_peer=False)
            if self._links.get(key) is known:
                return  # it died and we had not noticed

    def _up(self, link: Link) -> None:
        key = link.peer.node_key
        if key not in self._peers:
            raise Refused(Reason.UNREGISTERED, "its node key is not registered", by_peer=False)
        if (previous := self._links.get(key)) is not None:
            previous.leave(Reason.DUPLICATE, "there is a better link")
        self._links[key] = link
        self.trouble.pop(key, None)
        self._missing[key].clear()
        self._learn_address(link)
        hello = link.hello
        assert hello is not None
        software = hello.software.decode("ascii", errors="replace")
        self._log.info("peer linked", peer=link.peer.label, software=software, at=link.place)

    def _down(self, link: Link) -> bool:
        """Forget a link; return whether it was ever up."""
        key = link.peer.node_key
        if self._links.get(key) is link:
            del self._links[key]
            if key in self._missing:
                self._missing[key].set()
            reason = self.trouble.get(key, "")
            self._log.info("peer unlinked", peer=link.peer.label, reason=reason)
            self._receiver.unlinked(link)
            return True
        return False

    def _note(self, link: Link, trouble: str) -> None:
        """Remember why a peer is not linked, unless it is: a second link may fail."""
        key = link.peer.node_key
        if key in self._peers and self._links.get(key) in {None, link}:
            if self._links.get(key) is link and key in self.trouble:
                return  # we ended it, and said why
            self.trouble[key] = trouble

    def _learn_address(self, link: Link) -> None:
        """Remember where a peer says that it listens, where our operator did not say."""
        key, hello = link.peer.node_key, link.hello
        if link.peer.address is not None or hello is None or hello.listening is None:
            return
        address = hello.listening.reached_from(link.place.rpartition(":")[0])
        if address is None:
            return
        self._learnt[key] = address
        self._keep_dialling(key)

    async def _exchange(self, link: Link) -> None:
        writing = asyncio.create_task(link.write_loop())
        writing.add_done_callback(lambda _: link.close())  # where the peer takes nothing
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    channel, payload = await link.read()
                link.is_handling = True
                if channel is Channel.NOTICE:
                    await link.notices.wait()
                    link.notices.spend(1)
                    self._take_notice(link, payload)
                else:
                    await self._receiver.received(link, channel, payload)
                link.is_handling = False
                await asyncio.sleep(0)  # frames that are here already do not keep others waiting
        finally:
            link.close()
            writing.cancel()
            await asyncio.wait([writing])  # which raises our own cancellation only, never its error
            failure = None if writing.cancelled() else writing.exception()
            if failure is not None and not isinstance(failure, OSError):
                raise failure

    def _take_notice(self, link: Link, payload: bytes) -> None:
        match parse_notice(payload):
            case Ping():
                link.send_notice(Pong())
            case Pong():
                pass  # that it came is all it says
            case Twin(_, place):
                self._own_twin(link, _text(place))
            case Refusal(reason, detail):
                raise Refused(reason, _text(detail), by_peer=True)

    # --- twins -------------------------------------------------------------------------------

    def _saw_twins(self, known: Link, link: Link) -> None:
        """Note that two instances of a peer live, and tell the one that is linked."""
        key = known.peer.node_key
        known.send_notice(Twin(link.instance, link.place.encode()[:300]))
        places = (known.place, link.place)
        if self._is_news(key):
            self._log.warning("two nodes with one key", peer=known.peer.label, places=list(places))
        self._twins[key] = Twins(known.peer.label, places, "", clock.monotonic())

    def _own_twin(self, link: Link, place: str) -> None:
        """Note that a peer says that another instance of this very node lives."""
        if self._is_news(self.node_key):
            self._log.error("another node runs with our key", told_by=link.peer.label, at=place)
        self._twins[self.node_key] = Twins("", (place,), link.peer.label, clock.monotonic())

    def _is_news(self, key: bytes) -> bool:
        known = self._twins.get(key)
        return known is None or clock.monotonic() - known.seen > TWIN_LOG_S


def _words(error: Exception, place: str) -> str:
    """Return in words why there is no link."""
    match error:
        case asyncio.IncompleteReadError():
            return f"{place} closed the connection"
        case TimeoutError():
            return f"{place} says nothing"
        case ssl.SSLCertVerificationError():
            return f"{place} shows a node key that is not a registered one"
        case ssl.SSLError():
            return f"{place} does not speak TLS as we do: {error.reason or error}"
        case UnicodeError():
            return f"{place} is no name of a machine"
        case OSError(errno=number) if number is not None and number > 0:
            return f"{place}: {os.strerror(number)}"  # its own text repeats the place
        case _:
            return f"{place}: {error}"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
