"""The simulated network: what is lost, doubled, late, split, and heard again much later."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.packets import Packet

if TYPE_CHECKING:
    from tests.simulation.world import World

SCARCITY = 0.6
REMEMBERED = 200  # messages that may be replayed


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
    scarce: str = ""  # a kind of message that mostly gets lost, whoever it is for
    delta_ms: int = 30  # bound on delay after healing

    @classmethod
    def draw(cls, rng: Random, peers: int) -> "Faults":
        def maybe(chance: float) -> bool:
            return rng.random() < chance

        kinds = ["Proposal", "Prepare", "Commit", "RoundChange", "Decided", "Status", "Block"]
        pairs = [(a, b) for a in range(peers) for b in range(peers) if a != b]
        return cls(
            drop=rng.choice([0.05, 0.2, 0.5]) if maybe(0.5) else 0.0,
            duplicate=0.2 if maybe(0.3) else 0.0,
            replay=0.05 if maybe(0.3) else 0.0,
            delay_ms=rng.choice([5.0, 50.0, 500.0, 2000.0]),
            split_every_ms=rng.choice([700, 3000]) if maybe(0.4) else 0,
            directed=frozenset(rng.sample(pairs, len(pairs) // 4)) if maybe(0.2) else frozenset(),
            deaf=frozenset(
                (rng.choice(kinds), rng.randrange(peers)) for _ in range(rng.randrange(1, 4))
            )
            if maybe(0.4)
            else frozenset(),
            scarce=rng.choice(["Prepare", "Prepare", "Commit", *kinds]) if maybe(0.4) else "",
            delta_ms=rng.choice([10, 100, 1500]) if maybe(0.4) else 30,
        )


@dataclass
class Network:
    """Delivers packets to peers by number; `world.deliver` takes them."""

    world: "World"
    rng: Random
    faults: Faults
    healed: bool = False
    sides: list[int] = field(default_factory=list)
    old: deque[tuple[int, int, Packet]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    sent: int = 0
    latest_ms: int = 0  # when the last packet arrives that is under way

    def start(self) -> None:
        self.sides = [0] * self.world.peers
        if self.world.plan.torn:
            twins = self.world.peers - self.world.universe
            self.sides = [peer % 2 for peer in range(self.world.peers)]
            for key, second in zip(self.world.twin_keys, range(-twins, 0), strict=True):
                self.sides[second] = 1 - self.sides[key]
        elif self.faults.split_every_ms:
            self._split()

    def send(self, source: int, target: int, packet: Packet) -> None:
        self.sent += 1
        self.world.watch(packet)
        if self.healed:
            self._schedule(source, target, packet, self.rng.randint(1, self.faults.delta_ms))
            return
        faults, rng = self.faults, self.rng
        self.old.append((source, target, packet))
        if rng.random() < faults.replay:
            a, b, again = rng.choice(self.old)
            self._schedule(a, b, again, rng.randint(1, 5000))
        cut = (
            self.sides[source] != self.sides[target]
            or (source, target) in faults.directed
            or (type(packet).__name__, target) in faults.deaf
            or (type(packet).__name__ == faults.scarce and rng.random() < SCARCITY)
            or rng.random() < faults.drop
        )
        if not cut:
            for _ in range(2 if rng.random() < faults.duplicate else 1):
                self._schedule(
                    source, target, packet, 1 + int(rng.expovariate(1 / faults.delay_ms))
                )

    def heal(self) -> None:
        self.healed = True

    def _schedule(self, source: int, target: int, packet: Packet, delay_ms: int) -> None:
        self.latest_ms = max(self.latest_ms, self.world.now + delay_ms)
        self.world.after(delay_ms, self.world.deliver, source, target, packet)

    def _split(self) -> None:
        """Split in two, isolate one, or mend; and again a little later."""
        rng, peers = self.rng, self.world.peers
        self.sides = rng.choice(
            [
                [0] * peers,
                [rng.randrange(2) for _ in range(peers)],
                [int(peer == rng.randrange(peers)) for peer in range(peers)],
            ]
        )
        if not self.healed:
            self.world.after(rng.randint(1, 2 * self.faults.split_every_ms), self._split)
