"""Nodes of one network in one process: the real parts, over real TLS links and real files."""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from contracts.calls import Call, PrescriptionCommit, encode_call
from contracts.genesis import Genesis, SignedGenesis, assemble, sign
from contracts.parameters import Parameters
from contracts.registry import Family
from ledger import transaction as transactions
from ledger.keys import Role, Signer, key_id
from ledger.transaction import Transaction, Unsigned
from node import server, testnet
from node.api import Api
from node.config import Address, Config, Mode, Sync
from node.joining import Joined
from node.keystore import NodeKeys
from node.log import Level, Log
from node.mempool import Limits
from node.results import Committed, Pending
from node.sync import Head
from node.tokens import Grant, Scope, TokenBook, digest_of
from tests.chainmaker import VALIDATORS, founder, key_of, member_of, some_bytes

ROLES: Final = (Role.TRANSACTION, Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
LABELS: Final = tuple(label for label, _ in VALIDATORS)
ALONE: Final = LABELS[:1]  # a network of one
SHOPS: Final = (("shop-a", Family.OPTICIAN), ("shop-b", Family.OPTICIAN))
OBSERVER: Final = "observer"
DEADLINE_S: Final = 30.0  # of a condition: long, because machines are shared

T = TypeVar("T")


def make_genesis(labels: Sequence[str] = LABELS, **parameters: int) -> SignedGenesis:
    """Return a genesis of now with these validators, an observer and two shops."""
    families = dict(VALIDATORS)
    members = [founder(label, families[label], ROLES) for label in labels]
    members.append(founder(OBSERVER, Family.INSURER, (Role.TRANSACTION, Role.TLS)))
    members += [founder(label, family, (Role.TRANSACTION,)) for label, family in SHOPS]
    genesis = Genesis(
        1,
        b"cluster",
        int(time.time()),
        Parameters(**parameters),
        tuple(members),
        tuple(range(len(labels))),
    )
    return assemble(genesis, [sign(genesis, key_of(label, Role.CONSENSUS)) for label in labels])


def transaction_of(
    genesis: SignedGenesis, sender: str, *calls: Call, **changed: object
) -> Transaction:
    """Return calls signed by a member, or by `key`; `changed` replaces fields before signing."""
    key: Signer = changed.pop("key", None) or key_of(sender, Role.TRANSACTION)  # type: ignore[assignment]
    fields: dict[str, object] = {
        "version": transactions.VERSION,
        "chain_id": genesis.chain_id,
        "sender": member_of(sender),
        "key_id": key_id(Role.TRANSACTION, key.algorithm, key.public),
        "valid_until": genesis.genesis.time + 3600,  # the same at every call
        "nonce": some_bytes("nonce", sender, *map(encode_call, calls))[:16],
        "calls": tuple(map(encode_call, calls)),
    }
    return transactions.sign(Unsigned(**(fields | changed)), key)  # type: ignore[arg-type]


def prescription(genesis: SignedGenesis, name: object, sender: str = "shop-a") -> Transaction:
    """Return a transaction that commits to the prescription of that name."""
    return transaction_of(genesis, sender, PrescriptionCommit(some_bytes("prescription", name)))


class Node:
    """One node: its files stay when it stops."""

    def __init__(self, cluster: "Cluster", label: str) -> None:
        self.cluster, self.label = cluster, label
        self.data = cluster.folder / label
        self.log = io.StringIO()
        self.sync = Sync.BLOCKS
        self.parts: server.Node | None = None
        self._closing = contextlib.ExitStack()
        self._running: asyncio.Task[None] | None = None

    @property
    def running(self) -> server.Node:
        """The parts of the node, which must run."""
        assert self.parts is not None
        return self.parts

    @property
    def height(self) -> int:
        return self.running.chain.height

    @property
    def index(self) -> int:
        return self.cluster.labels.index(self.label)

    def config(self) -> Config:
        is_validator = self.label in self.cluster.labels
        return Config(
            home=self.data,
            mode=Mode.VALIDATOR if is_validator else Mode.OBSERVER,
            log_level=Level.DEBUG,
            genesis=self.data / "genesis.json",
            keys=self.data,
            tokens=self.data / "tokens.toml",
            data=self.data,
            p2p_listen=self.cluster.ports[self.label],
            peers={label: self.cluster.way(self.label, label) for label in self.cluster.labels},
            api_listen=Address("127.0.0.1", 1),
            admin_listen=Address("127.0.0.1", 1),
            mempool=Limits(),
            sync=self.sync,
            store_engine=None,
            store_cache_bytes=1 << 20,
            scrub_days=0,
            least_free_bytes=0,
        )

    def keys(self) -> NodeKeys:
        node, node_seed = (key_of(self.label, Role.TLS), seed_of(self.label, Role.TLS))
        if self.label not in self.cluster.labels:
            return NodeKeys(node, node_seed, None, None)
        consensus, checkpoint = (
            key_of(self.label, role) for role in (Role.CONSENSUS, Role.CHECKPOINT)
        )
        return NodeKeys(node, node_seed, consensus, checkpoint)

    def assemble(self) -> server.Node:
        """Make the parts over the files, without running them."""
        log = Log(Level.DEBUG, self.log)
        self.parts = server._assemble(
            self.config(), self.keys(), self.cluster.genesis, self._closing, log
        )
        return self.parts

    def start(self) -> None:
        """Run the node in the background; it begins again where it has joined by a snapshot."""
        self.assemble()

        async def run() -> None:
            while True:
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self.running.replica.run())
                        tasks.create_task(self.running.network.run())
                        tasks.create_task(self.running.join())
                        tasks.create_task(self.running.post.carrier.run())
                except BaseExceptionGroup as group:
                    if group.subgroup(Joined) is None:
                        raise
                    self._closing.close()
                    self.assemble()

        self._running = asyncio.get_running_loop().create_task(run())

    async def start_alone(self) -> None:
        """Run the node as if the others had told that they never heard it."""
        self.start()
        for label in self.cluster.labels:
            nothing = Head(0, self.cluster.genesis.chain_id, None)
            self.running.replica.take_head(key_of(label, Role.TLS).public, nothing)
        await until(lambda: not self.running.replica.is_fenced, "it does not sign")

    async def stop(self) -> None:
        """End the node and close its files; raise what it ended by itself with."""
        if self._running is not None:
            ended_itself = self._running.done()
            self._running.cancel()
            try:
                await self._running
            except asyncio.CancelledError:
                assert not ended_itself
            finally:
                self._running, self.parts = None, None
                self._closing.close()

    async def ended(self) -> BaseException:
        """Wait until the node ends by itself; return its error."""
        assert self._running is not None
        done, _ = await asyncio.wait([self._running], timeout=DEADLINE_S)
        assert done, "the node goes on"
        error = self._running.exception()
        assert error is not None
        self._running, self.parts = None, None
        self._closing.close()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error

    async def commit(self, *sent: Transaction) -> list[Committed]:
        """Submit transactions here and return what became of them, once all are in blocks."""
        admission = self.running.admission
        results = await admission.submit([each.raw for each in sent], gossip=True)
        assert all(isinstance(result, Pending) for result in results), results
        found = await admission.wait([each.id for each in sent], DEADLINE_S)
        committed = [found[each.id] for each in sent]
        assert all(isinstance(each, Committed) for each in committed), committed
        return [each for each in committed if isinstance(each, Committed)]

    def events(self) -> list[dict[str, Any]]:
        """Return what the node logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def said(self, event: str) -> bool:
        """Return whether the node logged this event."""
        return any(line["event"] == event for line in self.events())


class Cluster:
    """The nodes of one network."""

    def __init__(self, folder: Path, labels: Sequence[str] = LABELS, **parameters: int) -> None:
        self.folder, self.labels = folder, tuple(labels)
        self.genesis = make_genesis(labels, **parameters)
        everyone = (*labels, OBSERVER)
        self.ports = dict(zip(everyone, testnet._free_ports(len(everyone)), strict=True))
        (self.nowhere,) = testnet._free_ports(1)  # nothing listens there
        self.cut: list[set[str]] = []  # pairs of nodes that no wire joins
        self.nodes = {label: Node(self, label) for label in everyone}
        for label in labels:
            self.begin_journal(label)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop what still runs, however the test ends."""
        for node in self.up:
            await node.stop()

    def __getitem__(self, label: str) -> Node:
        return self.nodes[label]

    def way(self, label: str, other: str) -> Address:
        """Return where one node looks for another: nowhere, where their wire is cut."""
        is_cut = {label, other} in self.cut
        return self.nowhere if is_cut else self.ports[other]

    def begin_journal(self, label: str) -> None:
        """Make the journal of a validator that never signed, as `node init` does."""
        from node.initialise import _begin_journal  # noqa: PLC0415

        public = key_of(label, Role.CONSENSUS).public
        _begin_journal(self.folder / label, self.genesis.chain_id + public)

    @cached_property
    def observer(self) -> Node:
        return self.nodes[OBSERVER]

    @property
    def up(self) -> list[Node]:
        """The nodes that run."""
        return [node for node in self.nodes.values() if node.parts is not None]

    async def until_linked(self) -> None:
        """Wait until every running node is linked to all that it talks to."""
        validators = [node for node in self.up if node.label in self.labels]

        def is_linked(node: Node) -> bool:
            others = [
                each
                for each in validators
                if each is not node and {each.label, node.label} not in self.cut
            ]
            links = node.running.network.links
            return all(key_of(each.label, Role.TLS).public in links for each in others)

        await until(lambda: all(map(is_linked, self.up)), "not all are linked")

    async def until_signing(self) -> None:
        """Wait until every validator that runs has heard enough of the others to sign."""
        await until(
            lambda: not any(node.running.replica.is_fenced for node in self.up),
            "a validator signs nothing",
        )

    async def until_height(self, height: int, nodes: Iterable[Node] | None = None) -> None:
        """Wait until these nodes, or all that run, have that many blocks."""
        waited = self.up if nodes is None else list(nodes)
        await until(
            lambda: all(node.height >= height for node in waited),
            f"not all come to height {height}: {[(n.label, n.height) for n in waited]}",
        )

    async def until_level(self) -> int:
        """Wait until all running nodes have the same last block; return its height."""
        await until(
            lambda: len({node.running.chain.header.hash for node in self.up}) == 1,
            "not all come to one block",
        )
        return self.up[0].height


@contextlib.asynccontextmanager
async def running(
    folder: Path, labels: Sequence[str] = LABELS, **parameters: int
) -> AsyncIterator[Cluster]:
    """A cluster whose validators run and are linked; what still runs at the end is stopped."""
    async with Cluster(folder, labels, **parameters) as cluster:
        for label in labels:
            cluster[label].start()
        await cluster.until_linked()
        await cluster.until_signing()
        yield cluster


def api_of(node: Node, tokens: TokenBook) -> Api:
    """Return the HTTP API over a running node."""
    return Api(node.running, genesis=node.cluster.genesis, genesis_json=b"{}", tokens=tokens)


def book_of(**grants: tuple[str | None, Iterable[Scope]]) -> TokenBook:
    """Return a token book: by token, the member's label and the scopes."""
    return TokenBook(
        Grant(
            digest_of(token),
            None if label is None else member_of(label),
            frozenset(scopes),
            "",
        )
        for token, (label, scopes) in grants.items()
    )


def seed_of(label: str, role: Role) -> bytes:
    """Return the seed of a member's key."""
    return some_bytes("key", label, role.name)


async def until(condition: Callable[[], bool], fault: str, seconds: float = DEADLINE_S) -> None:
    """Wait for a condition; fail where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, fault
        await asyncio.sleep(0.005)  # between two looks at the condition


async def within(doing: Awaitable[T], seconds: float = DEADLINE_S) -> T:
    """Return what `doing` returns; fail where it takes too long."""
    async with asyncio.timeout(seconds):
        return await doing


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous test; warnings of the loop are errors of the test."""
    asyncio.run(test, debug=False)
