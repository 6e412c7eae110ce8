"""A validator that lies: a real node with real keys, whose words are changed before they leave.

It runs in this process over the folder of a validator whose own process is stopped, speaks the real
protocol over real TLS, and keeps up with the chain as any other. A `Lie` is asked for every message
that it would send to a peer, and says what is sent instead.
"""

import asyncio
import contextlib
import io
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Self, TypeAlias, TypeVar

from msgspec.structs import replace

from consensus import messages
from consensus.messages import Commit, Message, Prepare, Proposal, Signed
from contracts.execute import Executed
from ledger.keys import SigningKey
from ledger.lock import DirectoryLock
from ledger.transaction import Transaction
from node import ceremony, server
from node.config import load_config
from node.keystore import NodeKeys, load_node_keys
from node.link import Hello, Link
from node.log import Level, Log
from node.process import Process
from node.sync import PullTransactions, parse_pull

Lie: TypeAlias = Callable[["Liar", Message, int], Iterable[Message | bytes]]
S = TypeVar("S", bound=Signed)
T = TypeVar("T")

CLOSED_S: Final = 20.0  # within which its parts end
AHEAD: Final = 1000  # blocks that it claims to have and has not


def truth(_liar: "Liar", message: Message, _peer: int) -> Iterable[Message]:
    """Say what an honest validator says."""
    return (message,)


def nothing(_leaf: bytes) -> bool:
    """Hide nothing."""
    return False


class Liar:
    """One validator's node, which may lie."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._config = load_config(process.home)
        self._keys: NodeKeys = load_node_keys(self._config.keys, self._config.mode)
        self._log = io.StringIO()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="liar", daemon=True)
        self._closing = contextlib.ExitStack()
        self._running: asyncio.Task[None] | None = None
        self._parts: server.Node | None = None
        self.lie: Lie = truth
        self.hides: Callable[[bytes], bool] = nothing  # transactions that it hands to nobody
        self.keeps_blocks = False  # that others lack, though it says that it has even more
        self.lied = 0  # messages that were not said as they should have been
        self.heard: list[Message] = []  # from others, the newest last

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def label(self) -> str:
        return self._process.label

    @property
    def parts(self) -> server.Node:
        """The parts of its node: to be looked at, or used in its own thread."""
        assert self._parts is not None
        return self._parts

    @property
    def key(self) -> SigningKey:
        """The key that it signs with."""
        assert self._keys.consensus is not None
        return self._keys.consensus

    @property
    def index(self) -> int:
        """Which validator it is."""
        found = self.parts.chain.state.validators.index_of(self.key.public)
        assert found is not None
        return found

    @property
    def height(self) -> int:
        return self.parts.chain.height

    @contextlib.contextmanager
    def telling(self, lie: Lie, hides: Callable[[bytes], bool] = nothing) -> Iterator[None]:
        """Lie for a while, and count how often."""
        self.lied, self.lie, self.hides = 0, lie, hides
        try:
            yield
        finally:
            self.lie, self.hides = truth, nothing

    def signed(self, statement: S) -> S:
        """Return a statement as this validator signs it, whatever it says."""
        to_sign = messages.signing_bytes(statement, self.parts.chain.header.chain_id)
        return replace(statement, signer=self.index, signature=self.key.sign(to_sign))

    def is_own(self, message: Message) -> bool:
        """Whether this validator signed a message."""
        return getattr(message, "signer", None) == self.index

    def other_block(self, proposal: Proposal, *hidden: Transaction) -> Executed:
        """Return another block of the height: of these transactions, or of all but the last."""
        chain, header = self.parts.chain, proposal.outline.header
        known = map(self.parts.replica.transaction, proposal.outline.leaves)
        wanted = [each for each in known if each is not None]
        executed, skipped = chain.build(
            hidden or wanted[:-1],
            time=header.time,
            proposer=header.proposer,
            built_round=header.built_round,
            signatures=self.parts.replica._signatures,
        )
        assert not skipped
        return executed

    @property
    def linked(self) -> list[str]:
        """The peers to which there is a link."""
        return [link.peer.label for link in list(self.parts.network.links.values())]

    def throw(self, frame: bytes, to: str) -> None:
        """Write bytes to a peer in the place of a frame, where it is linked."""

        async def write() -> None:
            for link in self.parts.network.links.values():
                if link.peer.label == to:
                    link._writer.write(frame)

        self._await(write)

    def say(self, *said: Message) -> None:
        """Say messages to every peer, unchanged."""

        async def speak() -> None:
            for link in self.parts.network.links.values():
                for message in said:
                    link.send_consensus(object(), messages.encode(message))

        self._await(speak)

    # --- in its own thread -----------------------------------------------------------------------

    async def _start(self) -> None:
        self._closing.callback(DirectoryLock(self._config.data).release)
        text = ceremony.read(self._config.genesis)
        genesis = ceremony.parse_genesis(text, self._config.genesis)
        log = Log(Level.DEBUG, self._log)
        parts = server._assemble(self._config, self._keys, genesis, self._closing, log)
        self._parts = parts
        exchange = parts.replica.exchange
        honest_answer, honest_take = exchange._answer, exchange._take_message
        honest_blocks, honest_hello = exchange.answers.reply_blocks, parts.network._hello

        def send(message: Message, to: int | None) -> None:
            """Say to each peer what the lie makes of a message."""
            links = list(exchange.links.values())
            if to is not None:
                links = [link for link in links if link is exchange._link_of(to)]
            for link in links:
                said = tuple(self.lie(self, message, exchange._sender(link)))
                self.lied += said != (message,)
                for number, each in enumerate(said):
                    payload = each if isinstance(each, bytes) else messages.encode(each)
                    signer, round_ = (getattr(message, name, 0) for name in ("signer", "round"))
                    slot = (type(message).__name__, message.height, signer, round_, number)
                    link.send_consensus(slot, payload)

        def answer(link: Link, payload: bytes) -> None:
            pull = parse_pull(payload)
            if isinstance(pull, PullTransactions) and any(map(self.hides, pull.leaves)):
                self.lied += 1
                return
            honest_answer(link, payload)

        async def take_message(link: Link, payload: bytes) -> None:
            self.heard.append(messages.decode(payload))
            del self.heard[:-1000]
            await honest_take(link, payload)

        async def reply_blocks(link: Link, first: int, last: int) -> None:
            if self.keeps_blocks:
                self.lied += 1
                return
            await honest_blocks(link, first, last)

        def hello() -> Hello:
            said = honest_hello()
            return replace(said, height=said.height + AHEAD) if self.keeps_blocks else said

        exchange.answers.reply_blocks = reply_blocks  # type: ignore[method-assign]
        parts.network._hello = hello
        exchange.send = send  # type: ignore[method-assign]
        exchange._answer = answer  # type: ignore[method-assign]
        exchange._take_message = take_message  # type: ignore[method-assign]

        async def run() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(parts.replica.run())
                tasks.create_task(parts.network.run())

        self._running = self._loop.create_task(run())

    async def _stop(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running], timeout=CLOSED_S)
        self._closing.close()

    def _await(self, doing: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await doing()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(CLOSED_S)


# --- lies -----------------------------------------------------------------------------------------


def frozen(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
    """Propose nothing, and do all else."""
    return () if isinstance(message, Proposal) and liar.is_own(message) else (message,)


def silent(_liar: Liar, _message: Message, _peer: int) -> Iterable[Message]:
    """Neither propose nor vote, over links that are up."""
    return ()


def wrong(**changed: object) -> Lie:
    """Propose blocks whose headers say something else."""

    def lie(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
        if not isinstance(message, Proposal) or not liar.is_own(message):
            return (message,)
        header = message.outline.header
        values = {
            name: value(getattr(header, name)) if callable(value) else value
            for name, value in changed.items()
        }
        outline = replace(message.outline, header=replace(header, **values))
        return (liar.signed(replace(message, outline=outline)),)

    return lie


def unjustified(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
    """Propose in round 1 what nobody has asked a round for."""
    if not isinstance(message, Proposal) or not liar.is_own(message):
        return (message,)
    return (liar.signed(replace(message, round=1)),)


def forged(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
    """Say beside each vote of its own one that another validator never signed."""
    if not isinstance(message, Prepare | Commit) or not liar.is_own(message):
        return (message,)
    return (message, replace(message, signer=(liar.index + 1) % 4))


def two_faced(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
    """Vote for two blocks in one round, and let everyone know."""
    if not isinstance(message, Prepare | Commit) or not liar.is_own(message):
        return (message,)
    return (message, liar.signed(replace(message, block_id=bytes(32))))


class Forking:
    """Propose two valid blocks, one to each half of the peers, and vote for both."""

    def __init__(self) -> None:
        self.others: dict[bytes, Executed] = {}  # by the id of the block that is shown to the rest

    def __call__(self, liar: Liar, message: Message, peer: int) -> Iterable[Message]:
        if not liar.is_own(message) or peer % 2:
            return (message,)
        if isinstance(message, Proposal):
            if message.block_id not in self.others:
                self.others[message.block_id] = liar.other_block(message)
            outline = self.others[message.block_id].block.outline()
            return (liar.signed(replace(message, outline=outline)),)
        if isinstance(message, Prepare | Commit) and message.block_id in self.others:
            other = self.others[message.block_id].header.hash
            return (liar.signed(replace(message, block_id=other)),)
        return (message,)


def proposing(*transactions: Transaction) -> Lie:
    """Propose blocks of transactions that nobody else has."""

    def lie(liar: Liar, message: Message, _peer: int) -> Iterable[Message]:
        if not isinstance(message, Proposal) or not liar.is_own(message) or message.round:
            return (message,)
        outline = liar.other_block(message, *transactions).block.outline()
        return (liar.signed(replace(message, outline=outline)),)

    return lie
