"""The simulated network: what is lost, doubled, late, split, and heard again much later."""

from collections import deque
from dataclasses import dataclass, field
from math import log
from random import Random
from typing import TYPE_CHECKING

from consensus.messages import Commit, Prepare, RoundChange
from tests.simulation.packets import Packet

if TYPE_CHECKING:
    from tests.simulation.world import World

SCARCITY = 0.6
RECENT = 100  # packets that may be replayed
ANCIENT = 50  # and so many of all that were ever sent
CUT_FOR_EVER_MS = 4000  # how long a message takes that must go round a link that is cut
KINDS = ("Proposal", "Prepare", "Commit", "RoundChange", "Decided", "Status", "Block")


@dataclass
class Faults:
    """What goes wrong until the network heals; drawn per seed, each kind on or off (swarm)."""

    drop: float = 0.0
    duplicate: float = 0.0
    replay: float = 0.0
    delay_ms: float = 20.0  # mean of an exponential: so messages overtake each other
    split_every_ms: int = 0
    directed: frozenset[tuple[int, int]] = frozenset()  # (from, to) that never passes
    deaf: frozenset[tuple[str, int]] = frozenset()  # (kind of message, to) that is never heard
    lonely: int = 0  # of each round only one peer hears the prepares, and is not heard in the next
    scarce: str = ""  # a kind of message that mostly gets lost, whoever it is for
    delta_ms: int = 30  # bound on delay after healing
    cut: frozenset[tuple[int, int]] = frozenset()  # a link that is never mended, both ways

    @classmethod
    def draw(cls, rng: Random, peers: int) -> "Faults":
        def maybe(chance: float) -> bool:
            return rng.random() < chance

        pairs = [(a, b) for a in range(peers) for b in range(peers) if a != b]
        kinds = ["Prepare", "Prepare", "Commit", *KINDS]
        deaf = [(rng.choice(KINDS), rng.randrange(peers)) for _ in range(rng.randrange(1, 4))]
        one, other = rng.choice(pairs)
        return cls(
            drop=rng.choice([0.05, 0.2, 0.5]) if maybe(0.5) else 0.0,
            duplicate=0.2 if maybe(0.3) else 0.0,
            replay=0.05 if maybe(0.3) else 0.0,
            delay_ms=rng.choice([5.0, 50.0, 500.0, 2000.0]),
            split_every_ms=rng.choice([700, 3000]) if maybe(0.4) else 0,
            directed=frozenset(rng.sample(pairs, len(pairs) // 4)) if maybe(0.2) else frozenset(),
            deaf=frozenset(deaf) if maybe(0.4) else frozenset(),
            lonely=rng.randrange(1, 100) if maybe(0.15) else 0,
            scarce=rng.choice(kinds) if maybe(0.4) else "",
            delta_ms=rng.choice([10, 100, 1500]) if maybe(0.4) else 30,
            cut=frozenset({(one, other), (other, one)}) if maybe(0.15) else frozenset(),
        )

    @property
    def after_healing_ms(self) -> int:
        """How long a message takes at most, round whatever is cut."""
        return max(self.delta_ms, CUT_FOR_EVER_MS if self.cut else 0)


@dataclass
class Network:
    """Delivers packets to peers by number; `world.deliver` takes them."""

    world: "World"
    rng: Random
    faults: Faults
    healed: bool = False
    sides: list[int] = field(default_factory=list)
    bridge: int = -1  # hears both sides of a split
    mute: frozenset[int] = frozenset()  # heard by nobody, though the rest has healed
    deaf: frozenset[int] = frozenset()  # hears nobody
    recent: deque[tuple[int, int, Packet]] = field(default_factory=lambda: deque(maxlen=RECENT))
    ancient: list[tuple[int, int, Packet]] = field(default_factory=list)
    sent: int = 0
    latest_ms: int = 0  # when the last packet arrives that is under way
    _last: Packet | None = None

    def start(self) -> None:
        self.sides = [0] * self.world.peers
        if self.world.plan.torn:
            twins = self.world.plan.twins
            self.sides = [peer % 2 for peer in range(self.world.peers)]
            for key, second in zip(self.world.twin_keys, range(-twins, 0), strict=True):
                self.sides[second] = 1 - self.sides[key]
        elif self.faults.split_every_ms:
            self._split()

    def send(self, source: int, target: int, packet: Packet) -> None:
        self.sent += 1
        if packet is not self._last:  # a broadcast is one packet, many times
            self._last = packet
            self.world.watch(packet)
        random, faults = self.rng.random, self.faults
        if (source, target) in faults.cut:
            return
        if self.healed:
            if source not in self.mute and target not in self.deaf:
                self._schedule(source, target, packet, 1 + int(random() * faults.delta_ms))
            return
        if faults.replay:
            self._remember(source, target, packet)
        if self._is_cut(source, target, packet):
            return
        mean = faults.delay_ms
        self._schedule(source, target, packet, 1 - int(log(1.0 - random()) * mean))
        if faults.duplicate and random() < faults.duplicate:
            self._schedule(source, target, packet, 1 - int(log(1.0 - random()) * mean))

    def heal(self) -> None:
        self.healed = True

    def _is_cut(self, source: int, target: int, packet: Packet) -> bool:
        faults, random = self.faults, self.rng.random
        if faults.drop and random() < faults.drop:
            return True
        sides = self.sides
        if sides[source] != sides[target] and self.bridge not in (source, target):
            return True
        if faults.directed and (source, target) in faults.directed:
            return True
        if faults.lonely and self._hides(source, target, packet):
            return True
        if faults.deaf or faults.scarce:
            kind = type(packet).__name__
            if (kind, target) in faults.deaf:
                return True
            if kind == faults.scarce:
                return random() < SCARCITY
        return False

    def _hides(self, source: int, target: int, packet: Packet) -> bool:
        """Make locks that few know of: what tells a right choice among them from a wrong one."""
        if not isinstance(packet, Prepare | Commit | RoundChange):
            return False
        round_ = packet.round - isinstance(packet, RoundChange)
        chosen = (self.faults.lonely + 3 * packet.height + 5 * round_) % self.world.peers
        match packet:
            case Prepare():
                return target != chosen
            case Commit():
                return self.rng.random() < SCARCITY
            case _:
                return source == chosen and self.rng.random() < SCARCITY

    def _remember(self, source: int, target: int, packet: Packet) -> None:
        """Keep what may be heard again: recent packets, and some of every height."""
        rng = self.rng
        self.recent.append((source, target, packet))
        if len(self.ancient) < ANCIENT:
            self.ancient.append((source, target, packet))
        elif rng.random() * self.sent < ANCIENT:
            self.ancient[rng.randrange(ANCIENT)] = (source, target, packet)
        if rng.random() < self.faults.replay:
            a, b, again = rng.choice(self.ancient if rng.random() < 0.3 else self.recent)
            self._schedule(a, b, again, rng.randint(1, 5000))

    def _schedule(self, source: int, target: int, packet: Packet, delay_ms: int) -> None:
        at_ms = self.world.arrive(delay_ms, source, target, packet)
        self.latest_ms = max(self.latest_ms, at_ms)

    def _split(self) -> None:
        """Split in two, with or without a bridge, isolate one, or mend; and again later."""
        rng, peers = self.rng, self.world.peers
        alone = rng.randrange(peers)
        self.sides = rng.choice(
            [
                [0] * peers,
                [rng.randrange(2) for _ in range(peers)],
                [int(peer == alone) for peer in range(peers)],
            ]
        )
        self.bridge = rng.randrange(peers) if rng.random() < 0.3 else -1
        if self.bridge == alone:
            self.bridge = -1
        if not self.healed:
            self.world.after(rng.randint(1, 2 * self.faults.split_every_ms), self._split)
