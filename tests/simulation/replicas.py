"""Whole nodes in virtual time: the real replica, journal, pledges, chain and exchange of each.

    Replicas(Plan.draw(seed), folder).run()

Only what is outside a node is not real: the loop's clock, the threads, the links, and the power.
Every byte that a node sends is compared with what its files held at that moment; what has become
durable goes to the oracle of the lemmas. Faults: loss, delay and disorder on the links, nodes cut
off, power that fails between any two effects with an unsynced end lost, torn or damaged, a journal
that is lost or put back from a copy, a store that is lost, transactions that not all heard of.
"""

import asyncio
import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

from consensus import messages, promises
from consensus.messages import Decided, Prepare, Proposal, Status
from contracts.execute import Executed
from ledger import keys
from ledger.block import Block, Header
from ledger.certificate import CommitCertificate
from ledger.encoding import decode
from ledger.errors import LedgerError
from ledger.keys import Role
from ledger.turns import Turns
from ledger.validators import ValidatorSet
from node import clock, server
from node.config import Address, Config, Mode, Sync
from node.initialise import _begin_journal
from node.journal import Kind, Record
from node.keystore import NodeKeys
from node.link import Channel, Hello, Peer
from node.log import Level, Log
from node.mempool import Limits
from tests.chainmaker import VALIDATORS, key_of
from tests.node.cluster import make_genesis, prescription, seed_of
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.virtual import Desk, Disk, Power, PowerLost, VirtualLoop

LABELS: Final = tuple(label for label, _ in VALIDATORS)
BACK_S: Final = 4.0  # a node that lost its power is back within this
HEAL_S: Final = 90.0  # L9: blocks come within this after healing
SETTLE_S: Final = 40.0
SILENCE_S: Final = 12.0
DEAF_S: Final = 3.0  # so long that the first answers to who asks for a transaction are lost too
ROTATE_BYTES: Final = 2048  # so that files are begun anew now and then
RESERVED_BYTES: Final = 1 << 16
MORE: Final = 2  # blocks after healing
REFUSALS: Final = ("message refused", "invalid proposal", "fetched block is not whole")


SPOILS: Final = ("journal lost", "journal old", "all old", "store lost")


@dataclass
class Plan:
    """What a seed draws."""

    seed: int
    loss: float = 0.0
    delay_s: float = 0.01  # mean
    crash: float = 0.0  # chance at each effect
    cut: float = 0.0  # share of the time that one node is cut off
    spoil: str = ""  # what befalls one disk, once
    deaf: str = ""  # a kind of message that one node hardly hears
    rumour: float = 1.0  # chance that a node hears of a transaction by gossip
    mute: bool = False  # in the end a journal is lost
    chaos_s: float = 12.0
    skew_ms: int = 0

    @classmethod
    def draw(cls, seed: int) -> "Plan":
        rng = Random(f"replicas {seed}")
        if seed % 4 == 3:  # what chance alone brings about too seldom
            return cls(
                seed,
                crash=0.03,
                delay_s=rng.choice([0.005, 0.1]),
                spoil="journal lost",
                rumour=0.0,
                mute=True,
                chaos_s=6.0,
            )
        plan = cls(
            seed,
            loss=rng.choice([0.0, 0.0, 0.05, 0.3]),
            delay_s=rng.choice([0.005, 0.02, 0.1, 0.4]),
            crash=rng.choice([0.0, 0.002, 0.01, 0.03]),
            cut=rng.choice([0.0, 0.0, 0.3]),
            deaf=rng.choice(["", "", "Commit", "Prepare", "Proposal"]),
            rumour=rng.choice([1.0, 0.5, 0.0]),
            chaos_s=rng.choice([6.0, 12.0, 20.0]),
            skew_ms=rng.choice([0, 0, 300]),
        )
        if plan.crash:
            plan.spoil = rng.choice(
                ["", "", "journal lost", "journal old", "all old", "store lost"]
            )
        return plan


class Wire:
    """What a node sees of its link to a peer: `node.link.Link` without a connection."""

    is_light = False

    def __init__(self, world: "Replicas", source: "Machine", target: "Machine") -> None:
        self._world, self._source, self._target = world, source, target
        self.peer = Peer(target.label, target.node_key, None)
        self.hello: Hello = target.hello()
        self.life = (source.life, target.life)
        self.dialled = False
        self.sent_bytes = self.received_bytes = 0

    def send_consensus(self, _: object, payload: bytes) -> None:
        self._send(Channel.CONSENSUS, payload)

    def send_transactions(self, payload: bytes) -> None:
        if self._world.rng.random() < self._world.rumour:
            self._send(Channel.TRANSACTIONS, payload)

    def send_pull(self, payload: bytes) -> None:
        self._send(Channel.PULL, payload)

    def send_reply(self, payload: bytes) -> bool:
        self._send(Channel.REPLY, payload)
        return True

    def send_post(self, payload: bytes) -> None:
        """Nobody writes letters here; what nodes say of whom they reach is lost."""

    def close(self) -> None:
        self._world.unlink(self._source, self._target)

    def _send(self, channel: Channel, payload: bytes) -> None:
        self._world.carry(self, self._source, self._target, channel, payload)


class Wires:
    """Stands for `node.p2p.Network`: the links that one node has."""

    def __init__(
        self,
        *,
        node_key: bytes,
        receiver: Any,  # noqa: ANN401
        hello: Callable[[], Hello],
        **_: object,
    ) -> None:
        self.node_key, self.receiver, self.hello = node_key, receiver, hello
        self.links: dict[bytes, Wire] = {}
        self.peers: dict[bytes, Peer] = {}
        self.trouble: dict[bytes, str] = {}
        self.twins: list[object] = []

    def link_to(self, key: bytes) -> Wire | None:
        return self.links.get(key)

    def set_peers(self, peers: object) -> None:
        """Nobody joins or leaves here."""

    def penalise(self, key: bytes, offence: str) -> None:
        """Everybody here is honest, so this would be a fault of ours."""
        raise Violation("L11", f"an honest peer is penalised: {offence}, {key.hex()}")


class Machine:
    """One node, its files and its power."""

    def __init__(self, world: "Replicas", label: str) -> None:
        self.world, self.label = world, label
        self.folder = world.folder / label
        self.key = key_of(label, Role.CONSENSUS)
        self.node_key = key_of(label, Role.TLS).public
        self.rng = Random(f"machine {world.plan.seed} {label}")
        self.power = Power(self.rng, world.plan.crash, self._off)
        self.disk = Disk(self.power, self.durable, RESERVED_BYTES)
        self.skew_ms = self.rng.randint(-world.plan.skew_ms, world.plan.skew_ms)
        self.life = 0
        # What was durable at some time. (What was lost since may come back from others, to whom it
        # was sent, and be passed on.)
        self.promised: set[bytes] = set()
        self.bodies: set[bytes] = set()
        self.log = io.StringIO()
        self.parts: server.Node | None = None
        self.height = 0
        self._closing = contextlib.ExitStack()
        self._running: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Make its folder, as `node init` does for a validator that never signed."""
        self.power.is_on, self.power.chance = True, 0.0
        _begin_journal(self.folder, self.world.genesis.chain_id + self.key.public)
        self.power.chance = self.world.plan.crash

    @property
    def wires(self) -> Wires:
        assert self.parts is not None
        network: Any = self.parts.network
        assert isinstance(network, Wires)
        return network

    def hello(self) -> Hello:
        return self.wires.hello()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Run what is called with the disk and the clock of this machine."""
        before = self.world.inside
        self.world.inside = self
        try:
            yield
        finally:
            self.world.inside = before

    # --- power --------------------------------------------------------------------------------

    def start(self) -> None:
        self.life += 1
        self.power.is_on = True
        chance, self.power.chance = self.power.chance, 0.0  # it fails while it runs
        with self.inside():
            config, log = self._config(), Log(Level.WARNING, self.log)
            self.parts = server._assemble(
                config, self._keys(), self.world.genesis, self._closing, log
            )
            self.power.chance = chance
            self._watch_commits(self.parts)
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self.parts.replica.run())
        self._running.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or not self.power.is_on:
            return
        error: BaseException | None = task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None and not isinstance(error, PowerLost):
            self.world.fail(error)

    def _off(self) -> None:
        asyncio.get_running_loop().call_soon(self.world.power_lost, self)

    def stop(self, *, lose: bool) -> None:
        """Leave the files as a power cut does; or, without `lose`, as they were."""
        self.power.is_on = False
        self.life += 1
        if self._running is not None:
            self._running.cancel()
            for task in self.parts.replica._tasks if self.parts is not None else ():
                task.cancel()
        self._running, self.parts = None, None
        with self.inside():
            self._closing.close()
        if lose:
            self.disk.lose_power(self.folder / "journal", self.rng)

    def spoil(self, kind: str) -> None:
        """Do to the disk what a bad day does."""
        copy = self.world.folder / "copy"
        match kind:
            case "journal lost":
                shutil.rmtree(self.folder / "journal")
            case "journal old" if copy.exists():
                shutil.rmtree(self.folder / "journal")
                shutil.copytree(copy / "journal", self.folder / "journal")
            case "all old" if copy.exists():
                shutil.rmtree(self.folder)
                shutil.copytree(copy, self.folder)
            case "store lost":
                for path in self.folder.glob("state*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            case _:
                pass

    # --- what becomes durable -------------------------------------------------------------------

    def durable(self, content: bytes) -> None:
        """Learn what a sync has made durable: batches of records."""
        offset = 0
        while (start := offset + 16) <= len(content):  # salt, length, checksum
            offset = start + int.from_bytes(content[start - 8 : start - 4])
            payload = content[start:offset]
            try:
                records = decode(payload, tuple[Record, ...], kind="batch")
            except LedgerError:
                return  # not a journal: what is kept for ever has another form
            for record in records:
                self._record(record)

    def _record(self, record: Record) -> None:
        if record.kind == Kind.BODY:
            block = decode(record.data, Block)
            self.bodies.add(block.header.hash)
            self.world.oracle.built(block.header)
        elif record.kind == Kind.PROMISE and record.data not in self.promised:
            self.promised.add(record.data)
            promise = promises.decode(record.data)
            if isinstance(promise, promises.Said):
                if isinstance(promise.message, Proposal):
                    self.world.oracle.built(promise.message.outline.header)
                self.world.oracle.signed(self.key.public, promise.message)

    def check_sent(self, payload: bytes) -> None:
        """L14: what leaves was durable before, and the body of what is prepared too."""
        message = messages.decode(payload)
        if isinstance(message, Status):
            return
        self.world.noise += 1
        if isinstance(message, Decided) or message.signer != self.world.index(self):
            return
        if promises.encode(promises.Said(message)) not in self.promised:
            raise Violation("L14", f"{self.label} sends a {type(message).__name__} not yet durable")
        if isinstance(message, Proposal | Prepare) and message.block_id not in self.bodies:
            raise Violation("L14", f"{self.label} vouches for a block that is not on its disk")

    def read_log(self) -> None:
        """Everybody is honest: nothing is refused, invalid, or a contradiction."""
        lines = self.log.getvalue().splitlines()
        self.log.seek(0)
        self.log.truncate()
        for line in map(json.loads, lines):
            is_late = "ms off" in line.get("reason", "")
            if line["event"] == "contradiction":
                raise Violation("L8", f"{self.label} accuses an honest validator: {line}")
            if line["event"] in REFUSALS and not is_late:
                raise Violation("L11", f"{self.label} refuses what an honest node said: {line}")

    def _watch_commits(self, parts: server.Node) -> None:
        commit = parts.chain.commit
        self.height = parts.chain.height

        def committed(executed: Executed, certificate: CommitCertificate) -> None:
            self.power.may_fail()
            commit(executed, certificate)
            self.height = executed.header.height
            self.world.decided(executed.header, certificate)
            self.power.may_fail()

        parts.chain.commit = committed  # type: ignore[method-assign]

    # --- what it is made of ---------------------------------------------------------------------

    def _config(self) -> Config:
        nowhere = Address("127.0.0.1", 1)
        return Config(
            home=self.folder,
            mode=Mode.VALIDATOR,
            log_level=Level.ERROR,
            genesis=self.folder / "genesis.json",
            keys=self.folder,
            tokens=self.folder / "tokens.toml",
            data=self.folder,
            p2p_listen=nowhere,
            peers={},
            api_listen=nowhere,
            admin_listen=nowhere,
            mempool=Limits(),
            sync=Sync.BLOCKS,
            store_engine="sqlite",
            store_cache_bytes=1 << 20,
            scrub_days=0,
            least_free_bytes=0,
        )

    def _keys(self) -> NodeKeys:
        node, seed = key_of(self.label, Role.TLS), seed_of(self.label, Role.TLS)
        return NodeKeys(node, seed, self.key, key_of(self.label, Role.CHECKPOINT))


class Replicas:
    """The machines, what is between them, and what must hold."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.rng = Random(f"links {plan.seed}")
        self.loop = VirtualLoop(Random(f"threads {plan.seed}"))
        self.inside: Machine | None = None
        self.machines: list[Machine] = []
        self.healed = False
        self.rumour = plan.rumour
        self.noise = 0
        self.decisions = 0
        self.fault: BaseException | None = None
        self._cut: Machine | None = None
        self._spoilt = False
        self._sent = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def index(self, machine: Machine) -> int | None:
        return self._validators.index_of(machine.key.public)

    def run(self) -> Oracle:
        """Chaos, healing, blocks, and silence. Raises `Violation`."""
        asyncio.set_event_loop(self.loop)
        try:
            with contextlib.ExitStack() as stack:
                for replaced in self._patches():
                    stack.enter_context(replaced)
                self.loop.run_until_complete(self._run())
        finally:
            self._close()
        return self.oracle

    def _close(self) -> None:
        for machine in self.machines:
            machine.stop(lose=False)
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        asyncio.set_event_loop(None)
        self.loop.close()

    def _patches(self) -> "Iterator[contextlib.AbstractContextManager[object]]":
        def desk(_: int, name: str) -> Desk:
            assert self.inside is not None
            return Desk(self.inside.power, 0.004 if name == "disk" else 0.002)

        yield patch.object(server, "ThreadPoolExecutor", desk)
        yield patch.object(server, "Network", Wires)
        yield patch("node.journal.os", _InsideDisk(self))
        yield patch("node.kept.os", _InsideDisk(self))
        yield patch("node.files.os", _InsideDisk(self))  # names are made durable there
        yield patch("node.journal.ROTATE_BYTES", ROTATE_BYTES)
        yield patch("node.journal.RESERVED_BYTES", RESERVED_BYTES)
        yield patch("node.journal.secrets.token_bytes", self.rng.randbytes)
        yield patch("node.replica.random.uniform", self.rng.uniform)
        yield patch("node.admission.random.sample", self.rng.sample)
        yield patch.object(clock, "now_ms", self._now_ms)
        yield patch.object(clock, "monotonic", self.loop.time)
        yield patch.object(keys, "verify", _verify)
        yield patch("time.time", lambda: 1_800_000_000)

    def _now_ms(self) -> int:
        return 1_800_000_000_000 + int(self.loop.time() * 1000)

    async def _run(self) -> None:
        self.genesis = make_genesis()
        self.machines = [Machine(self, label) for label in LABELS]
        for machine in self.machines:
            machine.prepare()
            machine.start()
        state = self.machines[0].parts
        assert state is not None
        genesis = state.chain.header
        self._validators: ValidatorSet = state.chain.state.validators
        self._turns: dict[bytes, Turns] = {genesis.hash: Turns()}
        self.oracle = Oracle(
            genesis.chain_id,
            lambda _: self._validators,
            self._leader,
            _is_signature,
            faulty=frozenset(),
        )
        self.oracle.decided[0] = genesis.hash
        for machine in self.machines:
            self._link(machine)
        await self._chaos()
        await self._heal()
        await self._demand_blocks()
        await self._demand_hearing()
        await self._demand_silence()
        self.oracle.close()

    # --- phases -------------------------------------------------------------------------------

    async def _chaos(self) -> None:
        plan, rng = self.plan, self.rng
        while self.loop.time() < plan.chaos_s:
            await self._pause(rng.uniform(0.05, 1.5))
            if rng.random() < 0.8:
                await self._submit(rng.choice(self.machines))
            if plan.spoil.endswith("old") and not (self.folder / "copy").exists():
                self._copy(self._victim)
            self._cut = rng.choice(self.machines) if rng.random() < plan.cut else None

    async def _heal(self) -> None:
        self.healed, self._cut, self.rumour = True, None, 1.0
        for machine in self.machines:
            machine.power.chance = 0.0
        await self._pause(BACK_S + 1)

    async def _demand_blocks(self) -> None:
        """L9: the chain grows, and every node with it."""
        goal = max(machine.height for machine in self.machines) + MORE
        end = self.loop.time() + HEAL_S
        while min(machine.height for machine in self.machines) < goal:
            if self.loop.time() > end:
                told = [(m.label, m.height, self._where(m)) for m in self.machines]
                raise Violation("L9", f"no {MORE} blocks within {HEAL_S:g} s: {told}")
            for machine in self.machines[:: self.rng.choice([1, -1])]:
                await self._submit(machine)
            await self._pause(1.0)

    async def _demand_hearing(self) -> None:
        """Give one node what no other hears of; it may be one that signs nothing for a while.

        That a block takes it is demanded next.
        """
        victim = self._victim
        if self.plan.mute:
            for other in self.machines:
                self.unlink(other, victim)
            victim.stop(lose=False)
            victim.spoil("journal lost")
            self._back(victim)
            await self._pause(2.0)
        self.rumour = 0.0
        await self._submit(victim)
        await self._pause(DEAF_S)
        self.rumour = 1.0

    async def _demand_silence(self) -> None:
        """L10: with nothing to do nobody speaks, no timer runs, no block is made."""
        end = self.loop.time() + SETTLE_S
        while any(len(machine.parts.mempool) for machine in self.machines if machine.parts):
            if self.loop.time() > end:
                raise Violation("L9", "transactions wait, and no block takes them")
            await self._pause(0.5)
        await self._pause(3.0)  # what is under way comes in
        noise, heights = self.noise, [machine.height for machine in self.machines]
        await self._pause(SILENCE_S)
        if self.noise != noise or heights != [machine.height for machine in self.machines]:
            raise Violation("L10", f"{self.noise - noise} messages of an idle network")
        for machine in self.machines:
            if machine.parts is not None and machine.parts.replica._timer is not None:
                raise Violation("L10", "a timer runs while there is nothing to do")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for error in (self.fault, *self.loop.faults):
            if error is not None:
                raise error
        for machine in self.machines:
            machine.read_log()

    async def _submit(self, machine: Machine) -> None:
        if machine.parts is None or not machine.power.is_on:
            return
        self._sent += 1
        raw = prescription(self.genesis, (self.plan.seed, self._sent)).raw
        self._start(self._admit(machine, raw))

    def _start(self, doing: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, machine: Machine, raw: bytes) -> None:
        assert machine.parts is not None
        with contextlib.suppress(PowerLost):
            await machine.parts.admission.submit([raw], gossip=True)

    # --- crashes ------------------------------------------------------------------------------

    @property
    def _victim(self) -> Machine:
        return self.machines[self.plan.seed % len(self.machines)]

    def _copy(self, machine: Machine) -> None:
        if machine.parts is not None and machine.height > 0:
            shutil.copytree(machine.folder, self.folder / "copy")

    def power_lost(self, machine: Machine) -> None:
        """Take a machine down, and bring it back a little later."""
        self.oracle.marks["crash"] += 1
        for other in self.machines:
            self.unlink(other, machine)
        machine.stop(lose=True)
        if self.plan.spoil and not self._spoilt and machine is self._victim:
            self._spoilt = True
            machine.spoil(self.plan.spoil)
        self.loop.call_later(self.rng.uniform(0.05, BACK_S), self._back, machine)

    def _back(self, machine: Machine) -> None:
        try:
            machine.start()
        except Exception as error:  # noqa: BLE001  # a start that fails is a finding
            self.fail(error)
            return
        self._link(machine)

    def fail(self, error: BaseException) -> None:
        """Keep the first thing that went wrong."""
        self.fault = self.fault or error

    # --- links --------------------------------------------------------------------------------

    def _link(self, machine: Machine) -> None:
        for other in self.machines:
            if other is not machine and other.power.is_on and machine.power.is_on:
                for one, two in ((machine, other), (other, machine)):
                    wire = Wire(self, one, two)
                    one.wires.links[two.node_key] = wire
                for one, two in ((machine, other), (other, machine)):
                    self._call(one, one.wires.receiver.linked, one.wires.links[two.node_key])

    def unlink(self, one: Machine, two: Machine) -> None:
        """Take both ends of a link down."""
        for near, far in ((one, two), (two, one)):
            wire = None if near.parts is None else near.wires.links.pop(far.node_key, None)
            if wire is not None and near.power.is_on:
                self._call(near, near.wires.receiver.unlinked, wire)

    def _call(self, machine: Machine, doing: Callable[..., None], *arguments: object) -> None:
        try:
            with machine.inside():
                doing(*arguments)
        except PowerLost:
            pass

    def carry(
        self, wire: Wire, source: Machine, target: Machine, channel: Channel, payload: bytes
    ) -> None:
        """Take a frame from a node; perhaps it arrives."""
        if not source.power.is_on or wire.life[0] != source.life:
            return
        try:
            source.power.may_fail()
            if channel is Channel.CONSENSUS:
                source.check_sent(payload)
        except PowerLost:
            return
        except Violation as error:
            self.fail(error)
            return
        delay_s = 0.001 + self.rng.expovariate(1 / self.plan.delay_s)
        if self.healed:
            delay_s = min(delay_s, 0.02)
        elif self._is_lost(source, target, channel, payload):
            return
        self.loop.call_later(delay_s, self._arrive, wire, source, target, channel, payload)

    def _is_lost(self, source: Machine, target: Machine, channel: Channel, payload: bytes) -> bool:
        if self._cut in (source, target) or self.rng.random() < self.plan.loss:
            return True
        deaf = self.plan.deaf and channel is Channel.CONSENSUS and target is self._victim
        return bool(deaf) and type(messages.decode(payload)).__name__ == self.plan.deaf

    def _arrive(
        self, wire: Wire, source: Machine, target: Machine, channel: Channel, payload: bytes
    ) -> None:
        if wire.life != (source.life, target.life) or not target.power.is_on:
            return
        back = target.wires.links.get(source.node_key)
        if back is not None:
            self._start(self._receive(target, back, channel, payload))

    async def _receive(self, target: Machine, link: Wire, channel: Channel, payload: bytes) -> None:
        if target.parts is None:
            return
        try:
            await target.wires.receiver.received(link, channel, payload)
        except PowerLost:
            pass
        except LedgerError as error:
            self.fail(Violation("L11", f"{target.label} refuses an honest {channel.name}: {error}"))

    # --- what the oracle asks -------------------------------------------------------------------

    def decided(self, header: Header, certificate: CommitCertificate) -> None:
        """Learn of a block that a node made durable."""
        parent = self._turns[header.parent]
        n = len(self._validators)
        self._turns[header.hash] = parent.after(n, header.height, header.built_round)
        self.oracle.built(header)
        try:
            self.oracle.decides(header, certificate)
        except Violation as error:
            self.fail(error)

    def _leader(self, header: Header, round_: int) -> int:
        turns = self._turns[header.parent]
        return turns.leader(len(self._validators), header.height, round_)

    def _where(self, machine: Machine) -> object:
        if machine.parts is None:
            return "off"
        replica = machine.parts.replica
        core = replica._core
        return core.round, core.wish, replica._pledges.silence


class _InsideDisk:
    """Stands for `os`: what concerns a journal goes to the disk of its machine."""

    def __init__(self, world: Replicas) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever else os has
        if name not in {"open", "write", "fdatasync", "fsync"}:
            return getattr(os, name)

        def acted(what: Path | int, *rest: Any) -> Any:  # noqa: ANN401
            path = what if isinstance(what, Path) else Path(f"/proc/self/fd/{what}").readlink()
            for machine in self._world.machines:
                if path.is_relative_to(machine.folder / "journal"):
                    return getattr(machine.disk, name)(what, *rest)
            return getattr(os, name)(what, *rest)

        return acted


_real_verify = keys.verify


@cache
def _verdict(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        _real_verify(public, message, signature, what="")
    except LedgerError:
        return False
    return True


def _verify(public: bytes, message: bytes, signature: bytes, *, what: str) -> None:
    """Verify as `ledger.keys` does, each signature once in a process."""
    if not _verdict(public, message, signature):
        _real_verify(public, message, signature, what=what)


def _is_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    return _verdict(public, message, signature)
