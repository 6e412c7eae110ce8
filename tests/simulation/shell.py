"""A simulated node: what node/replica does, in virtual time, with a disk that may lose its end."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from consensus import promises
from consensus.core import Core
from consensus.errors import ConsensusError
from consensus.interface import (
    Ask,
    Build,
    Built,
    CancelTimer,
    Event,
    Expired,
    Fetch,
    Judge,
    Judged,
    Output,
    Pull,
    Ready,
    Received,
    SendDecided,
    SetTimer,
    Tick,
    Work,
)
from consensus.messages import Decided, Message, Prepare, Proposal, Status
from ledger.block import Header, Outline
from ledger.certificate import CommitCertificate
from ledger.hashing import NO_HASH, Hash
from tests.simulation.oracle import Violation
from tests.simulation.packets import Block, Gossip, Packet, PullWork, WantBlock

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK_MS = 1000
MIN_INTERVAL_MS = 20
MEMORY_PER_VALIDATOR = 60  # L10


class Crashed(Exception):
    """The node lost its power."""


@dataclass(frozen=True)
class Link:
    """One decided height on disk."""

    header: Header
    certificate: CommitCertificate
    outline: Outline


class Shell:
    """One honest node, or one twin of a faulty validator."""

    def __init__(self, world: "World", peer: int, key: int, core_type: type[Core] = Core) -> None:
        self.world, self.peer, self.key, self.core_type = world, peer, key, core_type
        self.public = world.publics[key]
        self.honest = self.public not in world.faulty
        # On disk:
        self.chain: list[Link] = []
        self.journal: list[bytes] = []
        self.bodies: dict[Hash, Outline] = {}
        self.fence = 0  # signs nothing at or below: its journal was lost
        # In memory:
        self.up = True
        self.life = 0  # answers and timers of an earlier life are void
        self.timer = 0
        self.rate = world.rng.choice([0.5, 1.0, 1.0, 2.0])
        self.known: dict[bytes, Outline] = {}  # bodies judged valid, not yet promised
        self.mempool: dict[bytes, None] = {}
        self.core = self._core(())
        self.timed = False

    @property
    def height(self) -> int:
        return len(self.chain) + 1

    def start(self) -> None:
        self.world.after(self.world.rng.randint(1, TICK_MS), self._tick, self.life)
        self._open(())

    # --- in -----------------------------------------------------------------------------------

    def receive(self, source: int, packet: Packet) -> None:
        if not self.up:
            return
        match packet:
            case Gossip(leaves):
                self.learn(leaves)
            case PullWork():
                self.send(source, Gossip(tuple(self.mempool)))
            case WantBlock(block_id):
                if (outline := self._outline(block_id)) is not None:
                    self.send(source, Block(outline))
            case Block(outline):
                if self.world.is_valid(outline) and outline.header.height == self.height:
                    self.known[outline.header.hash] = outline
                    self.handle(Judged(outline.header.hash, ok=True, outline=outline))
            case _:
                if self.world.verified(packet, self.height):
                    refusal = self.handle(Received(packet, source))
                    self._check_refusal(source, packet, refusal)

    def learn(self, leaves: tuple[bytes, ...]) -> None:
        done = {leaf for link in self.chain for leaf in link.outline.leaves}
        self.mempool.update(dict.fromkeys(leaf for leaf in leaves if leaf not in done))
        self.handle(Work(bool(self.mempool)))

    def submit(self, leaf: bytes) -> None:
        """Take work from outside, and tell everyone at once."""
        if self.up:
            self.learn((leaf,))
            self.broadcast(Gossip((leaf,)))

    def handle(self, event: Event) -> ConsensusError | None:
        """Give the core an event and do what it says; a crash may come between any two effects."""
        output = self.core.handle(event)
        self.world.inspect(self, output)
        try:
            self._carry_out(output)
        except Crashed:
            self.crash()
        return output.refusal

    # --- out ----------------------------------------------------------------------------------

    def _carry_out(self, output: Output) -> None:
        self._make_durable(output.promises)
        core, life = self.core, self.life
        if (decision := output.decided) is not None:
            outline = self._outline(decision.block_id)
            assert outline is not None
            self.chain.append(Link(outline.header, decision.certificate, outline))
            self.world.decided(self, outline, decision.certificate)
            for leaf in outline.leaves:
                self.mempool.pop(leaf, None)
        for outgoing in output.messages:
            self.world.maybe_crash(self)
            if outgoing.to is None:
                self.broadcast(outgoing.message)
            else:
                self.send(outgoing.to, outgoing.message)
        if output.decided is not None:
            self._open(core.future)
            return
        if output.timer is not None:
            self._set_timer(output.timer)
        for ask in output.asks:
            if self.life == life and self.core is core:
                self._ask(ask)

    def _make_durable(self, made: tuple[promises.Promise, ...]) -> None:
        if not made:
            return
        crash = self.world.crashes(self)
        # A crash before the fsync may still leave a prefix on disk.
        durable = made[: self.world.rng.randrange(len(made) + 1)] if crash else made
        for promise in durable:
            if isinstance(promise, promises.Said):
                message = promise.message
                if isinstance(message, Proposal | Prepare):
                    outline = self._outline(message.block_id)
                    assert outline is not None, "promised a block whose body is not known"
                    self.bodies[Hash(message.block_id)] = outline
                self.world.oracle.signed(self.public, message)
            self.journal.append(promises.encode(promise))
        if crash:
            raise Crashed

    def _set_timer(self, timer: SetTimer | CancelTimer) -> None:
        self.timer += 1
        self.timed = isinstance(timer, SetTimer)
        if isinstance(timer, SetTimer):
            delay_ms = max(1, int(timer.milliseconds * (1 if self.world.healed else self.rate)))
            event = Expired(self.core.height, timer.round)
            self.world.after(delay_ms, self._expire, self.life, self.timer, event)

    def _expire(self, life: int, timer: int, event: Expired) -> None:
        if (self.life, self.timer) == (life, timer):
            self.handle(event)

    def _ask(self, ask: Ask) -> None:
        match ask:
            case Judge(outline, source, fresh):
                self._later(partial(self._judge, outline, source, fresh=fresh))
            case Build(round_):
                self._later(partial(self._build, round_))
            case Fetch(block_id, holders):
                validators = self.world.validators(self.height)
                for holder in holders:
                    target = self.world.peer_of(validators.members[holder].consensus_key)
                    self.send(target, WantBlock(block_id))
            case SendDecided(to, height):
                if height <= len(self.chain):
                    link = self.chain[height - 1]
                    self.send(to, Decided(link.header, link.certificate))
            case Pull(validator):
                key = self.world.validators(self.height).members[validator].consensus_key
                self.send(self.world.peer_of(key), PullWork())

    def _judge(self, outline: Outline, source: int, *, fresh: bool) -> None:
        block_id = outline.header.hash
        if not self.world.is_valid(outline) or (fresh and self.world.is_untimely(self)):
            self.handle(Judged(block_id, ok=False))
        elif self._outline(block_id) is not None or all(
            leaf in self.mempool for leaf in outline.leaves
        ):
            self.known[block_id] = outline
            self.handle(Judged(block_id, ok=True))
        else:
            key = self.world.validators(self.height).members[source].consensus_key
            self.send(self.world.peer_of(key), WantBlock(block_id))

    def _build(self, round_: int) -> None:
        if round_ == 0 and not self.mempool:
            self.handle(Work(pending=False))
            return
        leaves = tuple(self.mempool)[:3]
        outline = self.world.block(self.height, round_, self.key, self.head, leaves)
        self.known[outline.header.hash] = outline
        self.handle(Built(outline))

    # --- life ---------------------------------------------------------------------------------

    @property
    def head(self) -> bytes:
        return self.chain[-1].header.hash if self.chain else NO_HASH

    def crash(self) -> None:
        self.up = False
        self.life += 1
        self.timed = False
        self.known.clear()
        self.mempool.clear()
        self.world.oracle.marks["crash"] += 1

    def lose_journal(self) -> None:
        """The disk comes back without its newest promises: observe up to D + 2."""
        self.journal.clear()
        self.bodies.clear()
        self.fence = max(len(shell.chain) for shell in self.world.honest) + 2
        self.world.oracle.marks["journal lost"] += 1

    def restart(self) -> None:
        if self.up:
            return
        self.up = True
        self._open(())
        self.world.after(self.world.rng.randint(1, TICK_MS), self._tick, self.life)

    def _open(self, heard: tuple[Message, ...]) -> None:
        """Begin the open height, with what was promised for it."""
        restored = [promises.decode(data) for data in self.journal]
        self.journal = [
            promises.encode(p) for p in restored if promises.height_of(p) >= self.height
        ]
        self.bodies = {k: v for k, v in self.bodies.items() if v.header.height >= self.height}
        self.known.clear()
        self.timer += 1
        self.timed = False
        core = self.core = self._core(tuple(restored))
        events: list[Event] = [Judged(k, ok=True, outline=v) for k, v in self.bodies.items()]
        events += [Received(message) for message in heard]
        events += [Tick(), Work(bool(self.mempool))]
        for event in events:
            if self.core is core and self.up:
                self.handle(event)
        self._after(MIN_INTERVAL_MS, self._ready, core)

    def _ready(self, core: Core) -> None:
        if self.core is core:
            self.handle(Ready())

    def _core(self, restored: tuple[promises.Promise, ...]) -> Core:
        validators = self.world.validators(self.height)
        me = validators.index_of(self.public) if self.height > self.fence else None
        sign = None if me is None else self.world.signer(self.key)
        return self.core_type(
            me, sign, self.world.chain_id, self.height, validators, restored, head=self.head
        )

    def _tick(self, life: int) -> None:
        if self.life != life:
            return
        self.world.after(TICK_MS + self.world.rng.randint(-100, 100), self._tick, life)
        self.handle(Tick())
        if self.mempool:
            self.broadcast(Gossip(tuple(self.mempool)))
        if self.mempool or self.timed or self.core.wish:
            self.broadcast(self.core.status())
        else:
            self.send(self.world.rng.randrange(self.world.peers), self.core.status())

    def _outline(self, block_id: bytes) -> Outline | None:
        found = self.known.get(block_id) or self.bodies.get(Hash(block_id))
        if found is None:
            found = next((x.outline for x in self.chain if x.header.hash == block_id), None)
        return found

    def broadcast(self, packet: Packet) -> None:
        for peer in range(self.world.peers):
            self.send(peer, packet)

    def send(self, target: int, packet: Packet) -> None:
        if target == self.peer:
            return
        if not isinstance(packet, Status | Gossip | PullWork):
            self.world.noise += 1
        self.world.network.send(self.peer, target, packet)

    def _later(self, action: Callable[[], None]) -> None:
        core = self.core

        def act() -> None:
            if self.core is core:
                action()

        self._after(self.world.rng.randint(1, 15), act)

    def _after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        life = self.life

        def act() -> None:
            if self.life == life:
                action(*arguments)

        self.world.after(delay_ms, act)

    def _check_refusal(self, source: int, packet: Packet, refusal: ConsensusError | None) -> None:
        """An honest message is never refused, so to refuse one is a fault of ours."""
        if refusal is not None and self.honest and self.world.is_honest(packet):
            raise Violation("L11", f"{self.peer} refused an honest message of {source}: {refusal}")
