"""What a seed draws: who is there, what goes wrong and for how long. Swarm: each kind on or off."""

from dataclasses import dataclass, field
from random import Random

from ledger.validators import faulty
from tests.simulation.network import Faults

CHAOS_MS = 30_000
LARGE = 0.01  # share of clusters of ten: they take six times as long
CHANGES = ("join", "leave", "replace", "rotate", "turn")


@dataclass
class Plan:
    """One run. The names of the fields are what a reader of a failing seed is told."""

    seed: int
    n: int = 4
    heights: int = 3
    evil: int = 0  # validators that send whatever they like
    twins: int = 0  # validators that run twice under one key
    faults: Faults = field(default_factory=Faults)
    crash: float = 0.0  # chance at each effect
    torn_tail: float = 0.0  # chance that a crash leaves half a record
    dead: int = 0  # honest validators that never come back
    outside: int = 0  # honest validators that the healing does not reach
    lose_journal: bool = False
    rot: bool = False  # a record in the middle of a journal is damaged
    restore_old: bool = False  # a node comes back from a backup
    untimely: float = 0.0  # chance that a fresh block comes too late
    skew_ms: int = 0  # how far clocks are off
    changes: tuple[tuple[int, str], ...] = ()  # (height from which other validators vote, how)
    chaos_ms: int = CHAOS_MS
    torn: bool = False  # two halves that never hear each other, with one of each twin in both
    silence: bool = True  # in the end there is nothing to do, and nobody may talk
    spam: bool = False  # an evil validator floods
    fanout: int = 99  # peers that are told at each tick what a busy node holds
    observers: int = 1  # nodes that are no validators, or will join

    @classmethod
    def draw(cls, seed: int, *, forkable: bool = False) -> "Plan":
        rng = Random(f"plan {seed}")
        forkable = forkable or rng.random() < 0.04
        n = 10 if rng.random() < LARGE else rng.choice([4, 4, 4, 5, 6, 7])
        f = faulty(n)
        bad = min(2 * f, n - 1) if forkable else rng.choice([0, f, f])
        evil = 0 if forkable else rng.choice([0, bad, bad])
        heights = rng.choice([2, 3, 3, 4])
        observers = 1 + (rng.random() < 0.2)
        plan = cls(
            seed,
            n,
            heights,
            evil=evil,
            twins=bad - evil,
            torn=forkable and rng.random() < 0.9,
            faults=Faults.draw(rng, n + observers + bad - evil),
            crash=rng.choice([0.0, 0.0, 0.002, 0.02]),
            torn_tail=rng.choice([0.0, 0.5, 1.0]),
            untimely=rng.choice([0.0, 0.0, 0.1, 0.5]),
            skew_ms=rng.choice([0, 0, 200, 3000]),
            chaos_ms=rng.choice([3_000, 10_000, CHAOS_MS]),
            spam=evil > 0 and rng.random() < 0.3,
            silence=rng.random() < 0.5,
            fanout=rng.choice([2, 2, 2, 99]),
            observers=observers,
        )
        if plan.faults.cut:
            plan.fanout = 99
        if forkable:
            plan.heights, plan.chaos_ms, plan.crash = 2, CHAOS_MS, plan.crash / 10
            if rng.random() < 0.8:  # what forks a chain most easily
                plan.faults, plan.untimely = Faults(delay_ms=rng.choice([5.0, 50.0, 500.0])), 0.0
            return plan
        if rng.random() < 0.5:
            at = sorted(rng.sample(range(2, heights + 2), rng.randint(1, min(3, heights))))
            plan.changes = tuple((height, rng.choice(CHANGES)) for height in at)
        spare = f - bad
        if spare and rng.random() < 0.6:
            kind = rng.choice(["dead", "outside", "lost", "rot", "old", "old"])
            plan.dead = int(kind == "dead")
            plan.outside = int(kind == "outside")
            plan.lose_journal, plan.rot = kind == "lost", kind == "rot"
            plan.restore_old = kind == "old"
            if kind in {"lost", "rot", "old"}:
                plan.crash = max(plan.crash, 0.03)
        return plan

    @property
    def unable(self) -> int:
        """How many validators, besides the faulty ones, may be of no help."""
        return self.dead + self.outside + (self.lose_journal or self.rot or self.restore_old)
