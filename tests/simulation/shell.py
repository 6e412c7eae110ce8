"""A simulated node: what node/replica does, in virtual time, with a disk that may lose its end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus import promises
from consensus.core import NOTHING, Core
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
from consensus.messages import Decided, Message, Prepare, Proposal, RoundChange
from ledger.block import Outline
from ledger.hashing import NO_HASH, Hash
from tests.simulation.disk import Damaged, Disk, Link
from tests.simulation.oracle import Violation
from tests.simulation.packets import (
    QUIET,
    Block,
    Burst,
    Gossip,
    Head,
    Packet,
    PullWork,
    WantBlock,
    WantHead,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK_MS = 1500
MAX_TICK_MS = 8000  # of long rounds: nothing is in a hurry then
MIN_INTERVAL_MS = 20
SAFE_HEIGHTS = 2  # above the highest decided one: as far as a lost journal may have signed
UNKNOWN = 1 << 40
MEASURED_EVERY = 64  # events: how often the memory of a machine is looked at
START = bytes(32)  # the state before the first block


class Crashed(Exception):
    """The node lost its power."""


class Shell:
    """One honest node, or one twin of a faulty validator."""

    def __init__(self, world: "World", peer: int, key: int, core_type: type[Core] = Core) -> None:
        self.world, self.peer, self.core_type = world, peer, core_type
        self.keys = world.keys_of.get(key, [key])  # it may change its key in place
        self.key = key
        self.public = world.publics[key]
        self.honest = self.public not in world.faulty
        self.disk = Disk()
        self.backup: Disk | None = None
        self.fence = 0  # signs nothing at or below: its journal was lost
        # In memory:
        self.up = True
        self.life = 0  # answers and timers of an earlier life are void
        self.timer = 0
        self.rate = world.rng.choice([0.5, 1.0, 1.0, 2.0])
        self.skew_ms = world.rng.randint(-world.plan.skew_ms, world.plan.skew_ms)
        self.known: dict[bytes, Outline] = {}  # bodies judged valid, not yet promised
        self.vouched: set[bytes] = set()  # a quorum signed that these are valid
        self.mempool: dict[bytes, None] = {}
        self.included: set[bytes] = set()
        self.heads: dict[int, int] = {}  # by key: how far other validators are, where it is asked
        self.told_work = False
        self.event: Event = Tick()  # what is being handled
        self.timeouts = 0  # of this height
        self.wishes: dict[int, int] = {}  # by signer: the highest round change heard of
        self.core = self._core(())
        self.timed = False

    @property
    def chain(self) -> list[Link]:
        return self.disk.chain

    @property
    def height(self) -> int:
        return len(self.disk.chain) + 1

    @property
    def head(self) -> bytes:
        chain = self.disk.chain
        return chain[-1].header.hash if chain else NO_HASH

    @property
    def now_ms(self) -> int:
        """What its clock says."""
        return self.world.now + (0 if self.world.healed else self.skew_ms)

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
                self._take_block(outline)
            case WantHead():
                newest = [Decided(x.header, x.certificate) for x in self.chain[-1:]]
                self.send(source, Head(newest[0] if newest else None))
            case Head(decided):
                self._take_head(source, decided)
            case Burst(messages):
                for message in messages:
                    self.receive(source, message)
            case _:
                if self.core.wants(packet) and self.world.verified(packet, self.height):
                    refusal = self.handle(Received(packet, source))
                    if refusal is not None:
                        self._check_refusal(source, packet, refusal)
                    elif isinstance(packet, RoundChange):
                        self._check_amplified(packet)

    def learn(self, leaves: tuple[bytes, ...]) -> None:
        for leaf in leaves:
            if leaf not in self.included:
                self.mempool[leaf] = None
        self._tell_work()

    def submit(self, leaf: bytes) -> None:
        """Take work from outside, and tell everyone at once."""
        if self.up:
            self.learn((leaf,))
            self.broadcast(Gossip((leaf,)))

    def handle(self, event: Event) -> ConsensusError | None:
        """Give the core an event and do what it says; a crash may come between any two effects."""
        self.event = event
        round_ = self.core.round
        output = self.core.handle(event)
        if output is NOTHING and self.world.events % MEASURED_EVERY:
            return None
        self.world.inspect(self, output, round_)
        try:
            self._carry_out(output)
        except Crashed:
            self.crash()
        return output.refusal

    # --- out ----------------------------------------------------------------------------------

    def _carry_out(self, output: Output) -> None:
        core, life, world = self.core, self.life, self.world
        if output.promises:
            self._make_durable(output.promises)
        if (decision := output.decided) is not None:
            if world.crashes(self):
                raise Crashed
            outline = self._outline(decision.block_id)
            assert outline is not None
            self.chain.append(Link(outline.header, decision.certificate, outline))
            world.decided(self, outline, decision.certificate)
            for leaf in outline.leaves:
                self.included.add(leaf)
                self.mempool.pop(leaf, None)
        for outgoing in output.messages:
            if world.crashes(self):
                world.oracle.marks["crash between promise and send"] += bool(output.promises)
                raise Crashed
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
        world, oracle, disk = self.world, self.world.oracle, self.disk
        crash = world.crashes(self)
        # A crash before the fsync may still leave a prefix on disk.
        durable = made[: world.rng.randrange(len(made) + 1)] if crash else made
        for promise in durable:
            if isinstance(promise, promises.Said):
                message = promise.message
                if isinstance(message, Proposal | Prepare):
                    outline = self._outline(message.block_id)
                    assert outline is not None, "promised a block whose body is not known"
                    disk.bodies[Hash(message.block_id)] = outline
                oracle.signed(self.public, message)
            disk.records.append(promise)
            if self.honest:
                oracle.promised(self.public, self.height)
        if crash:
            if len(durable) < len(made) and world.rng.random() < world.plan.torn_tail:
                disk.tear()
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
            self.timeouts += 1
            if self.timeouts == 2:
                self.world.oracle.marks["double timeout"] += 1
            self.handle(event)

    def _ask(self, ask: Ask) -> None:
        match ask:
            case Judge(outline, source, fresh):
                self._later(self._judge, outline, source, fresh)
            case Build(round_):
                self._later(self._build, round_)
            case Fetch(block_id, holders):
                self.vouched.add(block_id)
                for holder in holders:
                    self.send(self._peer(holder), WantBlock(block_id))
            case SendDecided(to, height):
                if height <= len(self.chain):
                    link = self.chain[height - 1]
                    self.send(to, Decided(link.header, link.certificate))
            case Pull(validator):
                self.send(self._peer(validator), PullWork())

    def _judge(self, outline: Outline, source: int, fresh: bool) -> None:  # noqa: FBT001
        block_id = outline.header.hash
        if not self._is_valid(outline) or (fresh and not self._is_timely(outline)):
            self.handle(Judged(block_id, ok=False))
        elif self._outline(block_id) is not None or all(
            leaf in self.mempool for leaf in outline.leaves
        ):
            self.known[block_id] = outline
            self.handle(Judged(block_id, ok=True))
        else:
            self.send(self._peer(source), WantBlock(block_id))
            self.send(self.world.rng.randrange(self.world.peers), WantBlock(block_id))

    def _build(self, round_: int) -> None:
        if round_ == 0 and not self.mempool:
            self.told_work = False
            self.handle(Work(pending=False))
            return
        leaves = tuple(self.mempool)[:3]
        time_s = self.now_ms // 1000
        outline = self.world.block(self.height, round_, self.key, self.head, leaves, time_s)
        self.known[outline.header.hash] = outline
        self.handle(Built(outline))

    # --- blocks -------------------------------------------------------------------------------

    def _take_block(self, outline: Outline) -> None:
        block_id = outline.header.hash
        if outline.header.height != self.height or not self.world.is_whole(outline):
            return
        if self._is_valid(outline):
            self.known[block_id] = outline
            self.handle(Judged(block_id, ok=True, outline=outline))
        elif block_id in self.vouched and self.honest and not self.world.oracle.forkable:
            raise Violation("L7", f"{self.peer} finds invalid what a quorum vouches for")

    def _is_valid(self, outline: Outline) -> bool:
        """Execute a block: is it what its header says, on this node's own head?"""
        header, chain = outline.header, self.chain
        return (
            header.parent == self.head
            and (not chain or header.time >= chain[-1].header.time)
            and header.next_validators_hash == self.world.validators(header.height + 1).hash
            and self.world.is_whole(outline)
            and header.state_digest == self.world.executed(self.state, outline.leaves)
        )

    @property
    def state(self) -> bytes:
        return self.chain[-1].header.state_digest if self.chain else START

    def _is_timely(self, outline: Outline) -> bool:
        """Proposer-based timestamps: clocks 500 ms apart, messages that take 2 s and growing."""
        world = self.world
        if not world.healed and self.honest and world.rng.random() < world.plan.untimely:
            return False
        off_ms = outline.header.time * 1000 - world.epoch_ms - self.now_ms
        patience_ms = 2000 + 200 * outline.header.built_round
        if off_ms > 500 or off_ms < -(patience_ms + 1500):
            world.oracle.marks["out of time"] += 1
            return False
        return True

    # --- life ---------------------------------------------------------------------------------

    def crash(self) -> None:
        self.up = False
        self.life += 1
        self.timed = False
        self.known.clear()
        self.mempool.clear()
        self.world.oracle.marks["crash"] += 1

    def lose_journal(self) -> None:
        """The disk comes back without its newest promises: observe up to D + 2."""
        self.disk.lose_journal()
        self._seek_fence()
        self.world.oracle.marks["journal lost"] += 1

    def restore_backup(self) -> None:
        """The disk is one of an earlier day, chain and journal: its promises are not the newest."""
        assert self.backup is not None
        self.disk = self.backup.copy()
        self._seek_fence()
        self.world.oracle.marks["backup restored"] += 1

    def restart(self) -> None:
        if self.up:
            return
        try:
            if self.disk.open():
                self.world.oracle.marks["torn tail cut"] += 1
        except Damaged:  # it refuses to start, until somebody says that the journal is lost
            self.world.oracle.marks["damage refused"] += 1
            self.lose_journal()
        self.up = True
        self.included = {leaf for link in self.chain for leaf in link.outline.leaves}
        self._open(())
        self.world.after(self.world.rng.randint(1, TICK_MS), self._tick, self.life)

    def _seek_fence(self) -> None:
        self.fence = UNKNOWN
        self.heads.clear()

    def _take_head(self, source: int, decided: Decided | None) -> None:
        """Bound what a lost journal may have signed, by what a quorum of others has decided."""
        if self.fence != UNKNOWN or (decided and not self.world.is_proved(decided)):
            return
        self.heads[source] = decided.height if decided else 0
        top = max(len(self.chain), *self.heads.values())
        validators = self.world.validators(top + 1)
        found = {
            index
            for peer in self.heads
            if (index := self.world.index_of(peer, validators)) is not None
        }
        if len(found) >= validators.quorum:
            self.fence = top + SAFE_HEIGHTS
            self.world.oracle.marks["fence learnt"] += 1

    def _open(self, heard: tuple[Message, ...]) -> None:
        """Begin the open height, with what was promised for it."""
        world = self.world
        if world.plan.restore_old and self.backup is None and world.rng.random() < 0.5:
            self.backup = self.disk.copy()
        decode = world.rng.random() < 0.1
        restored = self.disk.restore(self.height, decode=decode) if self.disk.records else []
        self.known.clear()
        self.vouched.clear()
        self.timer += 1
        self.timed = False
        self.timeouts = 0
        self.wishes.clear()
        core = self.core = self._core(tuple(restored))
        for block_id, outline in list(self.disk.bodies.items()):
            self._feed(core, Judged(block_id, ok=True, outline=outline))
        for message in heard:
            self._feed(core, Received(message))
        self._feed(core, Tick())
        self.told_work = bool(self.mempool)
        if self.told_work:
            self._feed(core, Work(pending=True))
        self._after(MIN_INTERVAL_MS, self._ready, core)

    def _feed(self, core: Core, event: Event) -> None:
        if self.core is core and self.up:
            self.handle(event)

    def _ready(self, core: Core) -> None:
        if self.core is core:
            self.handle(Ready())

    def _core(self, restored: tuple[promises.Promise, ...]) -> Core:
        validators = self.world.validators(self.height)
        me = None
        for key in self.keys:
            if (index := validators.index_of(self.world.publics[key])) is not None:
                me, self.key, self.public = index, key, self.world.publics[key]
        if self.height <= self.fence:
            me = None
        sign = None if me is None else self.world.signer(self.key)
        return self.core_type(
            me,
            sign,
            self.world.chain_id,
            self.height,
            validators,
            restored,
            turns=self.world.turns[self.head],
            head=self.head,
        )

    def _tick(self, life: int) -> None:
        if self.life != life:
            return
        world = self.world
        patience = TICK_MS
        if not world.plan.faults.cut:  # round a cut, what is said travels by ticks
            patience = min(MAX_TICK_MS, TICK_MS << max(0, self.core.wish - 1))
        world.after(patience + world.rng.randint(-100, 100), self._tick, life)
        self.handle(Tick())
        if not self.up:
            return
        if self.fence == UNKNOWN:
            self.broadcast(WantHead())
        if self.mempool:
            gossip = Gossip(tuple(self.mempool))
            for _ in range(2):
                self.send(world.rng.randrange(world.peers), gossip)
        status = self.core.status()
        fanout = world.plan.fanout if self.mempool or self.timed or self.core.wish else 1
        if fanout >= world.peers:
            self.broadcast(status)
        else:
            for _ in range(fanout):
                self.send(world.rng.randrange(world.peers), status)

    def _tell_work(self) -> None:
        if bool(self.mempool) != self.told_work:
            self.told_work = bool(self.mempool)
            self.handle(Work(self.told_work))

    def _outline(self, block_id: bytes) -> Outline | None:
        found = self.known.get(block_id) or self.disk.bodies.get(Hash(block_id))
        if found is None:
            for link in reversed(self.chain):
                if link.header.hash == block_id:
                    return link.outline
        return found

    def _peer(self, validator: int) -> int:
        members = self.world.validators(self.height).members
        return self.world.peer_of(members[validator].consensus_key)

    def broadcast(self, packet: Packet) -> None:
        world, source = self.world, self.peer
        send = world.network.send
        if type(packet).__name__ not in QUIET:
            world.noise += world.peers - 1
        for peer in world.everyone:
            if peer != source:
                send(source, peer, packet)

    def send(self, target: int, packet: Packet) -> None:
        if target == self.peer:
            return
        if type(packet).__name__ not in QUIET:
            self.world.noise += 1
        self.world.network.send(self.peer, target, packet)

    def _later(self, action: Callable[..., None], *arguments: object) -> None:
        core = self.core

        def act() -> None:
            if self.core is core:
                action(*arguments)

        self._after(self.world.rng.randint(1, 15), act)

    def _after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        life = self.life

        def act() -> None:
            if self.life == life:
                action(*arguments)

        self.world.after(delay_ms, act)

    def _check_amplified(self, change: RoundChange) -> None:
        """L13: who hears f + 1 that want a round, one of them honest, has wanted it by now."""
        core = self.core
        if change.height != core.height or core._me is None or not self.up:
            return
        if change.round > self.wishes.get(change.signer, 0):
            self.wishes[change.signer] = change.round
            n = len(self.world.validators(core.height))
            wanted = sorted(self.wishes.values(), reverse=True)[(n - 1) // 3 :][:1]
            if wanted and wanted[0] > core.wish:
                raise Violation("L13", f"{self.peer} heard f + 1 want {wanted[0]} and does not")

    def _check_refusal(self, source: int, packet: Packet, refusal: ConsensusError) -> None:
        """L11: an honest message is never refused, so to refuse one is a fault of ours.

        Where more are faulty than the protocol bears there may be two chains, and what is honest
        on one of them is out of turn on the other.
        """
        if self.honest and not self.world.oracle.forks and self.world.is_honest(packet):
            raise Violation("L11", f"{self.peer} refused an honest message of {source}: {refusal}")
