"""One seeded run of a whole cluster in virtual time: chaos, then healing, then silence.

    World(Plan.draw(seed)).run()

raises `oracle.Violation` where a lemma breaks. Everything that is drawn comes from the seed; the
adversary has its own source of chance, so that a change to it does not shift the network's.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import blake2b, sha256
from random import Random

from consensus.core import Core
from consensus.errors import ConsensusError
from consensus.interface import Output
from consensus.messages import (
    Commit,
    Prepare,
    Proposal,
    RoundChange,
    Status,
    decode,
    encode,
    signatures,
)
from ledger.block import Header, Outline, evidence_root, parent_commit_hash
from ledger.certificate import CommitCertificate
from ledger.hashing import NO_HASH, Hash
from ledger.merkle import root_of_leaves
from ledger.validators import Validator, ValidatorSet, faulty
from tests.simulation.adversary import Evil, TwinCore
from tests.simulation.network import Faults, Network
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.packets import Block, Gossip, Packet, PullWork, WantBlock
from tests.simulation.shell import MEMORY_PER_VALIDATOR, TICK_MS, Crashed, Shell

CHAIN_ID = sha256(b"simulation").digest()
CHAOS_MS = 30_000
SILENCE_MS = 8_000
SILENCE_TRIES = 30
MAX_AHEAD = 3  # heights that the fastest may decide while others are stuck
SLACK_MS = 12_000
TIME = 1_700_000_000


@dataclass
class Plan:
    """What a seed draws."""

    seed: int
    n: int = 4
    heights: int = 3
    evil: int = 0  # validators that send whatever they like
    twins: int = 0  # validators that run twice under one key
    faults: Faults = field(default_factory=Faults)
    crash: float = 0.0  # chance at each effect
    dead: int = 0  # honest validators that never come back
    lose_journal: bool = False
    untimely: float = 0.0
    change: int = 0  # the height from which another set of validators decides; 0 for never
    chaos_ms: int = CHAOS_MS
    torn: bool = False  # two halves that never hear each other, with one of each twin in both

    @classmethod
    def draw(cls, seed: int, *, forkable: bool = False) -> "Plan":
        rng = Random(f"plan {seed}")
        n = rng.choice([4, 4, 4, 5, 6, 7])
        f = faulty(n)
        bad = min(2 * f, n - 1) if forkable else rng.choice([0, f, f])
        evil = 0 if forkable else rng.choice([0, bad, bad])
        change = rng.choice([0, 0, 2, 3])
        plan = cls(
            seed,
            n,
            evil=evil,
            twins=bad - evil,
            torn=forkable and rng.random() < 0.9,
            faults=Faults.draw(rng, n + 1 + bad - evil),
            crash=rng.choice([0.0, 0.0, 0.002, 0.02]),
            dead=rng.randint(0, f - bad) if not forkable and rng.random() < 0.3 else 0,
            untimely=rng.choice([0.0, 0.0, 0.1, 0.5]),
            change=0 if forkable else change,
            chaos_ms=rng.choice([3_000, 10_000, CHAOS_MS]),
        )
        plan.lose_journal = bad + plan.dead < f and plan.crash > 0 and rng.random() < 0.3
        return plan


class World:
    """The clock, the keys, the peers, and who is told what."""

    def __init__(self, plan: Plan, core_type: type[Core] = Core) -> None:
        self.plan = plan
        self.rng = Random(f"world {plan.seed}")
        self.chain_id = CHAIN_ID
        self.now = 0
        self.healed = False
        self.noise = 0  # messages besides heartbeats
        self.lowest = 0  # heights that all honest nodes have decided
        self._queue: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._sequence = 0
        self._signed: set[tuple[bytes, bytes, bytes]] = set()
        self._invalid: set[bytes] = set()
        self._pending_crashes = 3

        universe = self.universe = plan.n + 1  # one may join
        self.secrets = [sha256(b"secret %d" % key).digest() for key in range(universe)]
        self.publics = [sha256(b"public" + secret).digest() for secret in self.secrets]
        self._secret_of = dict(zip(self.publics, self.secrets, strict=True))
        bad = self.rng.sample(range(plan.n), plan.evil + plan.twins)
        self.evil_keys, self.twin_keys = bad[: plan.evil], bad[plan.evil :]
        self.faulty = frozenset(self.publics[key] for key in bad)
        self.validators = cache(self._validators)
        forkable = len(bad) > faulty(plan.n)
        self.oracle = Oracle(
            CHAIN_ID, self.validators, self.is_signature, faulty=self.faulty, forkable=forkable
        )
        self.peers = universe + plan.twins
        self.network = Network(self, Random(f"network {plan.seed}"), plan.faults)
        self.shells = [
            Shell(self, key, key, core_type) for key in range(universe) if key not in bad
        ]
        self.honest = list(self.shells)
        twins = [(key, key) for key in self.twin_keys]
        twins += [(universe + i, key) for i, key in enumerate(self.twin_keys)]
        self.shells += [Shell(self, peer, key, TwinCore) for peer, key in twins]
        self.evil = [Evil(self, key, Random(f"evil {plan.seed} {key}")) for key in self.evil_keys]
        self._by_peer: dict[int, Shell | Evil] = {shell.peer: shell for shell in self.shells}
        self._by_peer.update({evil.peer: evil for evil in self.evil})
        self.dead = set(self.rng.sample([s.peer for s in self.honest if s.key < plan.n], plan.dead))

    # --- time ---------------------------------------------------------------------------------

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sequence, action, arguments))

    def run_until(self, end_ms: int, stop: Callable[[], bool] = lambda: False) -> None:
        while self._queue and self._queue[0][0] <= end_ms and not stop():
            self.now, _, action, arguments = heapq.heappop(self._queue)
            action(*arguments)
        if not stop():
            self.now = end_ms

    def run(self) -> Oracle:
        """Chaos, healing, the demand that everything is decided, and silence."""
        self.network.start()
        for peer in self._by_peer.values():
            peer.start()
        self.after(1, self._give_work)
        for dead in self.dead:
            self.after(self.rng.randint(1, self.plan.chaos_ms), self._kill, dead)
        self.run_until(self.plan.chaos_ms, self._all_done)
        if not self.oracle.forkable:
            self._heal()
            self._demand_decisions()
            self._demand_silence()
        self.oracle.close()
        return self.oracle

    def _give_work(self) -> None:
        """Keep one thing to do until the last height is decided; anyone may be told of it."""
        ahead = max(len(shell.chain) for shell in self.honest)
        if not self._all_done() and ahead < self.plan.heights + MAX_AHEAD:
            leaf = sha256(b"work %d" % self._sequence).digest()
            self.rng.choice(self._alive()).submit(leaf)
        self.after(self.rng.randint(50, 4000), self._give_work)

    def _kill(self, peer: int) -> None:
        shell = self._by_peer[peer]
        assert isinstance(shell, Shell)
        if shell.up:
            shell.crash()

    def _heal(self) -> None:
        self.healed = True
        self.network.heal()
        for shell in self.shells:
            if shell.peer not in self.dead:
                shell.restart()

    def _demand_decisions(self) -> None:
        """L9: every height within the timeouts of f + 2 rounds above the highest that is wished."""
        while not self._all_done():
            before = self.lowest
            wish = max(shell.core.wish for shell in self._alive())
            # Rounds that are too short for a slow network do not count.
            while timeout_ms(wish) < 8 * self.network.faults.delta_ms:
                wish += 1
            last = wish + faulty(self.plan.n) + 2
            bound = sum(map(timeout_ms, range(wish, last + 1)))
            deadline = self.now + bound + SLACK_MS + 8 * self.network.faults.delta_ms
            self.run_until(deadline, partial(self._above, before))
            if self.lowest <= before:
                state = [(s.peer, s.height, s.core.round, s.core.wish) for s in self._alive()]
                raise Violation("L9", f"no decision within {bound} ms: {state}")

    def _demand_silence(self) -> None:
        """L10: nobody says anything, and no timer runs, when there is nothing to do."""
        for evil in self.evil:
            evil.quiet = True
        for shell in self.shells:
            shell.mempool.clear()
        # What was sent before the healing may come long after, and bring work with it.
        self.run_until(max(self.now, self.network.latest_ms) + TICK_MS)
        before = 0
        for _ in range(SILENCE_TRIES):
            before = self.noise
            self.run_until(self.now + SILENCE_MS)
            if self.noise == before:
                if any(shell.timed for shell in self._alive()):
                    raise Violation("L10", "a timer runs while there is nothing to do")
                return
            # Who alone wants a new round says so until the height is decided.
            waiting = any(shell.core.wish > shell.core.round for shell in self.shells if shell.up)
            if waiting or self.twin_keys:
                return
        raise Violation("L10", f"{self.noise - before} messages of an idle network")

    def _above(self, height: int) -> bool:
        return self.lowest > height

    def _alive(self) -> list[Shell]:
        return [shell for shell in self.honest if shell.peer not in self.dead]

    def _all_done(self) -> bool:
        return self.lowest >= self.plan.heights

    # --- packets ------------------------------------------------------------------------------

    def deliver(self, source: int, target: int, packet: Packet) -> None:
        self._by_peer[target].receive(source, packet)

    def watch(self, packet: Packet) -> None:
        """Whatever is sent, the adversary hears."""
        for evil in self.evil:
            evil.overhear(packet)

    def verified(self, packet: Packet, height: int) -> bool:
        """Check the signatures as a node does; messages far above are dropped."""
        if isinstance(packet, Status | Gossip | PullWork | WantBlock | Block):
            return True
        if packet.height > height + 1:
            return False
        if self.rng.random() < 0.01:
            assert decode(encode(packet)) == packet
        try:
            wanted = signatures(packet, CHAIN_ID, self.validators(packet.height))
        except ConsensusError:
            return False
        return all(self.is_signature(*one) for one in wanted)

    def is_honest(self, packet: Packet) -> bool:
        if not isinstance(packet, Proposal | Prepare | Commit | RoundChange):
            return False
        validators = self.validators(packet.height)
        return validators.members[packet.signer].consensus_key not in self.faulty

    # --- signatures ---------------------------------------------------------------------------

    def signer(self, key: int) -> Callable[[bytes], bytes]:
        secret = self.secrets[key]
        return lambda message: blake2b(message, key=secret).digest()

    def is_signature(self, public: bytes, message: bytes, signature: bytes) -> bool:
        one = (public, message, signature)
        if one in self._signed:
            return True
        real = blake2b(message, key=self._secret_of[public]).digest() == signature
        if real:
            self._signed.add(one)
        return real

    # --- validators and blocks ----------------------------------------------------------------

    def _validators(self, height: int) -> ValidatorSet:
        keys = list(range(self.plan.n))
        if self.plan.change and height >= self.plan.change:
            keys = [*keys[1:], self.plan.n]  # one leaves, one joins, everyone moves
        return ValidatorSet(
            tuple(
                Validator(sha256(b"%d" % key).digest()[:16], self.publics[key], *_others(key))
                for key in keys
            )
        )

    def peer_of(self, public: bytes) -> int:
        """Return a peer with this key: for a twin, either."""
        key = self.publics.index(public)
        peers = [shell.peer for shell in self.shells if shell.key == key]
        return self.rng.choice(peers) if peers else key

    def block(
        self, height: int, round_: int, key: int, parent: bytes, leaves: tuple[bytes, ...]
    ) -> Outline:
        """Return a block that every honest node judges valid on that parent."""
        validators = self.validators(height)
        proposer = validators.index_of(self.publics[key])
        header = Header(
            1,
            CHAIN_ID,
            height,
            TIME + self.now // 1000,
            parent,
            root_of_leaves([Hash(leaf) for leaf in leaves]),
            height,
            NO_HASH,
            NO_HASH,
            NO_HASH,
            validators.hash,
            self.validators(height + 1).hash,
            validators.members[proposer or 0].member,
            round_,
            parent_commit_hash(None),
            evidence_root(()),
        )
        outline = Outline(header, None, (), leaves)
        self.oracle.built(header)
        return outline

    def spoil(self, outline: Outline) -> Outline:
        """Make a block invalid: as if executing it gave another state."""
        self._invalid.add(outline.header.hash)
        return outline

    def is_valid(self, outline: Outline) -> bool:
        height = outline.header.height
        parent = self.oracle.decided.get(height - 1, NO_HASH)
        fine = self.oracle.forkable or outline.header.parent == parent
        return fine and outline.header.hash not in self._invalid

    def is_untimely(self, shell: Shell) -> bool:
        return not self.healed and self.rng.random() < self.plan.untimely and shell.honest

    # --- what nodes report ----------------------------------------------------------------------

    def inspect(self, shell: Shell, output: Output) -> None:
        n = len(self.validators(shell.height))
        if self._sequence % 8 == 0 and len(shell.core) > MEMORY_PER_VALIDATOR * n:
            raise Violation("L10", f"{len(shell.core)} things held for {n} validators")
        if shell.honest:
            for evidence in output.evidence:
                self.oracle.accused(evidence, self.validators(shell.height))

    def decided(self, shell: Shell, outline: Outline, certificate: CommitCertificate) -> None:
        if shell.honest:
            self.oracle.decides(outline.header, certificate)
            self.lowest = min(len(alive.chain) for alive in self._alive())

    # --- crashes --------------------------------------------------------------------------------

    def crashes(self, shell: Shell) -> bool:
        """Draw whether the power fails here; and if so, when it comes back."""
        if self.healed or self.rng.random() >= self.plan.crash:
            return False
        self.after(self.rng.randint(1, 8_000), self._restart, shell)
        return True

    def maybe_crash(self, shell: Shell) -> None:
        if self.crashes(shell):
            raise Crashed

    def _restart(self, shell: Shell) -> None:
        if shell.peer in self.dead or shell.up:
            return
        if self.plan.lose_journal and shell.honest:
            self.plan.lose_journal = False
            shell.lose_journal()
        shell.restart()


def timeout_ms(round_: int) -> int:
    """Return how long a round should take: the rulebook's figure, not the code's."""
    return int(1000 * 2 ** min(round_, 6))


def _others(key: int) -> tuple[bytes, bytes]:
    return sha256(b"checkpoint %d" % key).digest(), sha256(b"node %d" % key).digest()
