"""One seeded run of a whole cluster in virtual time: chaos, then healing, then silence.

    World(Plan.draw(seed)).run()

raises `oracle.Violation` where a lemma breaks. Everything that is drawn comes from the seed; the
adversary has its own source of chance, so that a change to it does not shift the network's.
"""

import heapq
from collections.abc import Callable
from functools import cache
from hashlib import blake2b, sha256
from random import Random

import msgspec

from consensus.core import Core
from consensus.errors import ConsensusError
from consensus.interface import Expired, Fetch, Output, Received
from consensus.messages import (
    Commit,
    Decided,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Status,
    decode,
    encode,
    signatures,
)
from consensus.promises import Said
from ledger.block import Header, Outline, evidence_root, parent_commit_hash
from ledger.certificate import CommitCertificate
from ledger.hashing import NO_HASH, Hash
from ledger.merkle import root_of_leaves
from ledger.turns import Turns
from ledger.validators import Validator, ValidatorSet, faulty
from tests.simulation.adversary import Evil, TwinCore
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.packets import Packet
from tests.simulation.plan import Plan
from tests.simulation.shell import MEASURED_EVERY, START, TICK_MS, Shell
from tests.simulation.trace import Trace

__all__ = ["Plan", "World"]

CHAIN_ID = sha256(b"simulation").digest()
SILENCE_MS = 3_000
SILENCE_TRIES = 30
MAX_AHEAD = 3  # heights that the fastest may decide while others are stuck
SLACK_MS = 12_000
TIME = 1_700_000_000
MEMORY_PER_VALIDATOR = 45  # L10
NO_PARENT_COMMIT = parent_commit_hash(None)
NO_EVIDENCE = evidence_root(())

Action = Callable[..., None]


class World:
    """The clock, the keys, the peers, and who is told what."""

    def __init__(
        self, plan: Plan, core_type: type[Core] = Core, *, trace: Trace | None = None
    ) -> None:
        self.plan, self.trace = plan, trace
        self.rng = Random(f"world {plan.seed}")
        self.chain_id = CHAIN_ID
        self.now = 0
        self.epoch_ms = TIME * 1000
        self.healed = False
        self.noise = 0  # messages besides heartbeats
        self.lowest = 0  # heights that all honest nodes of the core have decided
        self.events = 0
        self._goal = plan.heights
        self._queue: list[tuple[int, int, Action, tuple[object, ...]]] = []
        self._sequence = 0
        self._signed: set[tuple[bytes, bytes, bytes]] = set()
        self._checked: dict[int, tuple[object, bool]] = {}  # by identity: is its signature good?
        self.turns: dict[bytes, Turns] = {NO_HASH: Turns()}  # on each block
        self._states: dict[bytes, bytes] = {NO_HASH: START}
        self._times: dict[bytes, int] = {NO_HASH: 0}

        self.nodes = plan.n + plan.observers
        bad = self.rng.sample(range(plan.n), plan.evil + plan.twins)
        self.evil_keys, self.twin_keys = bad[: plan.evil], bad[plan.evil :]
        good = [key for key in range(plan.n) if key not in bad]
        unable = self.rng.sample(good, plan.dead + plan.outside)
        self.dead, self.outside = set(unable[: plan.dead]), set(unable[plan.dead :])
        self.keys_of: dict[int, list[int]] = {}  # node: its keys, one after the other
        self.changed: dict[int, str] = {}  # height from which others vote: how
        self._sets = self._draw_sets(bad, unable)
        universe = self.nodes + sum(len(keys) - 1 for keys in self.keys_of.values())
        self.secrets = [sha256(b"secret %d" % key).digest() for key in range(universe)]
        self.publics = [sha256(b"public" + secret).digest() for secret in self.secrets]
        self.validators = cache(self._validators)
        self.faulty = frozenset(self.publics[key] for key in bad)
        self.oracle = Oracle(
            CHAIN_ID,
            self.validators,
            self._leader,
            self.is_signature,
            faulty=self.faulty,
            forkable=len(bad) > faulty(plan.n),
        )
        self.peers = self.nodes + plan.twins
        self.everyone = range(self.peers)
        self.network = Network(self, Random(f"network {plan.seed}"), plan.faults)
        self.shells = [Shell(self, k, k, core_type) for k in range(self.nodes) if k not in bad]
        self.honest = list(self.shells)
        twins = [(key, key) for key in self.twin_keys]
        twins += [(self.nodes + i, key) for i, key in enumerate(self.twin_keys)]
        self.shells += [Shell(self, peer, key, TwinCore) for peer, key in twins]
        self.evil = [Evil(self, key, Random(f"evil {plan.seed} {key}")) for key in self.evil_keys]
        self._by_peer: dict[int, Shell | Evil] = {shell.peer: shell for shell in self.shells}
        self._by_peer.update({evil.peer: evil for evil in self.evil})
        self._peers_of: dict[bytes, list[int]] = {}
        for shell in self.shells:
            for key in shell.keys:
                self._peers_of.setdefault(self.publics[key], []).append(shell.peer)
        for evil in self.evil:
            self._peers_of[evil.public] = [evil.peer]
        self._core = [s for s in self.honest if s.peer not in self.dead | self.outside]
        self._spoils = plan.lose_journal or plan.rot or plan.restore_old  # one disk, once

    # --- time ---------------------------------------------------------------------------------

    def after(self, delay_ms: int, action: Action, *arguments: object) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sequence, action, arguments))

    def arrive(self, delay_ms: int, source: int, target: int, packet: Packet) -> int:
        """Deliver a packet after this time; return when."""
        self._sequence += 1
        at_ms = self.now + delay_ms
        receive: Action = self._by_peer[target].receive
        arguments: tuple[object, ...] = (source, packet)
        if self.trace is not None:
            receive, arguments = self._traced, (self.now, source, target, packet)
        heapq.heappush(self._queue, (at_ms, self._sequence, receive, arguments))
        return at_ms

    def _traced(self, sent_ms: int, source: int, target: int, packet: Packet) -> None:
        assert self.trace is not None
        self.trace.arrow(sent_ms, self.now, source, target, packet)
        self._by_peer[target].receive(source, packet)

    def run_until(self, end_ms: int, stop: Callable[[], bool] | None = None) -> None:
        """Go on until then, or until the goal is reached or `stop` says so."""
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= end_ms:
            if self.lowest >= self._goal or (stop is not None and stop()):
                return
            self.now, _, action, arguments = pop(queue)
            self.events += 1
            action(*arguments)
        self.now = end_ms

    def run(self) -> Oracle:
        """Chaos, healing, the demand that everything is decided, and silence."""
        self.start()
        self.run_until(self.plan.chaos_ms)
        if not self.oracle.forkable:
            self._heal()
            self._demand_decisions()
            if self.plan.silence:
                self._demand_silence()
        self.oracle.close()
        return self.oracle

    def start(self) -> None:
        self.network.start()
        for peer in self._by_peer.values():
            peer.start()
        self.after(1, self._give_work)
        for dead in self.dead:
            self.after(self.rng.randint(1, self.plan.chaos_ms), self._kill, dead)

    def _give_work(self) -> None:
        """Keep one thing to do until the last height is decided; anyone may be told of it."""
        if self.lowest < self.plan.heights:
            ahead = max(len(shell.chain) for shell in self.honest)
            if ahead < self.plan.heights + MAX_AHEAD:
                leaf = sha256(b"work %d" % self._sequence).digest()
                self.rng.choice(self._core).submit(leaf)
            self.after(self.rng.randint(50, 3000), self._give_work)

    def _kill(self, peer: int) -> None:
        shell = self._by_peer[peer]
        assert isinstance(shell, Shell)
        if shell.up:
            shell.crash()

    def _heal(self) -> None:
        """All but the dead come back; a few may be heard by nobody, or hear nobody, or both."""
        self.healed = True
        self.network.heal()
        kind = self.rng.choice([(True, False), (False, True), (True, True)])
        self.network.mute = frozenset(self.outside) if kind[0] else frozenset()
        self.network.deaf = frozenset(self.outside) if kind[1] else frozenset()
        self.note("the network heals")
        for shell in self.shells:
            if shell.peer not in self.dead:
                shell.restart()

    def _demand_decisions(self) -> None:
        """L9: every height within the timeouts of f + 2 rounds above the highest that is wished."""
        delta_ms = self.plan.faults.after_healing_ms
        while self.lowest < self.plan.heights:
            before, self._goal = self.lowest, self.lowest + 1
            wish = max(shell.core.wish for shell in self._core)
            # Rounds that are too short for a slow network do not count.
            while timeout_ms(wish) < 8 * delta_ms:
                wish += 1
            last = wish + faulty(self.plan.n) + 2
            bound = sum(map(timeout_ms, range(wish, last + 1)))
            self.run_until(self.now + bound + SLACK_MS + 8 * delta_ms)
            if self.lowest <= before:
                state = [(s.peer, s.height, s.core.round, s.core.wish) for s in self._core]
                raise Violation("L9", f"no decision within {bound} ms: {state}")

    def _demand_silence(self) -> None:
        """L10: nobody says anything, and no timer runs, when there is nothing to do."""
        self._goal = UNREACHABLE
        for evil in self.evil:
            evil.quiet = True
        for peer in self.outside:
            self._kill(peer)
        for shell in self.shells:
            shell.mempool.clear()
        # What was sent before the healing may come long after, and bring work with it.
        self.run_until(max(self.now, self.network.latest_ms) + TICK_MS)
        for _ in range(SILENCE_TRIES):
            before = self.noise
            self.run_until(self.now + SILENCE_MS)
            quiet = self.noise == before
            timed = [shell for shell in self._core if shell.timed]
            if quiet and any(
                shell.core.round == 0 and shell.core.accepted is None and not shell.mempool
                for shell in timed
            ):
                raise Violation("L10", "a timer runs while there is nothing to do")
            if quiet and not timed:
                self.oracle.marks["silence"] += 1
                return
            # Who alone wants a new round says so until the height is decided.
            waiting = any(shell.core.wish > shell.core.round for shell in self.shells if shell.up)
            if waiting or self.twin_keys:
                return
        raise Violation("L10", "an idle network talks, or waits for something")

    def note(self, what: str) -> None:
        if self.trace is not None:
            self.trace.note(self.now, what)

    # --- packets ------------------------------------------------------------------------------

    def watch(self, packet: Packet) -> None:
        """Whatever is sent, the adversary hears."""
        for evil in self.evil:
            evil.overhear(packet)

    def verified(self, message: Message, height: int) -> bool:
        """Check the signatures as a node does; messages far above are dropped."""
        if isinstance(message, Status):
            return True
        if message.height > height + 1:
            return False
        known = self._checked.get(id(message))
        if known is None:
            known = (message, self._are_good(message))
            self._checked[id(message)] = known  # which keeps it, and so its identity
        return known[1]

    def _are_good(self, message: Message) -> bool:
        if self.rng.random() < 0.02:
            assert decode(encode(message)) == message
        try:
            wanted = signatures(message, CHAIN_ID, self.validators(message.height))
        except ConsensusError:
            return False
        return all(one in self._signed for one in wanted)

    def is_proved(self, decided: Decided) -> bool:
        """Return whether a quorum of the height signed this."""
        validators = self.validators(decided.height)
        signers = {seal.validator for seal in decided.certificate.seals}
        return len(signers) >= validators.quorum and self.verified(decided, decided.height)

    def is_honest(self, packet: Packet) -> bool:
        if not isinstance(packet, Proposal | Prepare | Commit | RoundChange):
            return False
        validators = self.validators(packet.height)
        return validators.members[packet.signer].consensus_key not in self.faulty

    # --- signatures ---------------------------------------------------------------------------

    def signer(self, key: int) -> Callable[[bytes], bytes]:
        """Return an ideal signer: what it did not sign is no signature, whatever it looks like."""
        secret, public, signed = self.secrets[key], self.publics[key], self._signed

        def sign(message: bytes) -> bytes:
            signature = blake2b(message, key=secret).digest()
            signed.add((public, message, signature))
            return signature

        return sign

    def is_signature(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return (public, message, signature) in self._signed

    # --- validators and blocks ----------------------------------------------------------------

    def _draw_sets(self, bad: list[int], unable: list[int]) -> list[list[int]]:
        """Return the keys that vote at each height; f must bear all who are no help at each."""
        plan, rng = self.plan, self.rng
        keys = list(range(plan.n))
        joiners = list(range(plan.n, self.nodes))
        spare = plan.unable - len(unable)  # drawn later, among any
        sets = [keys] * plan.heights + [keys] * (MAX_AHEAD + 3)
        fresh = self.nodes
        for height, how in plan.changes:
            kind, keys = how, list(sets[height - 1])
            honest = [k for k in keys if k < self.nodes and k not in bad and k not in unable]
            place = rng.randrange(len(keys))
            if kind == "join" and joiners:
                keys.append(joiners.pop(0))
            elif kind == "leave" and len(keys) > 4:
                del keys[place]
            elif kind == "replace" and joiners:
                keys[place] = joiners.pop(0)
            elif kind == "rotate" and honest:
                node = rng.choice(honest)
                self.keys_of.setdefault(node, [node]).append(fresh)
                keys[keys.index(node)] = fresh
                fresh += 1
            else:
                kind, keys = "turn", [*keys[1:], keys[0]]  # everyone moves
            useless = sum(key in bad or key in unable for key in keys) + spare
            if useless <= faulty(len(keys)) or len(bad) > faulty(plan.n):
                self.changed[height] = kind
                sets[height:] = [keys] * (len(sets) - height)
        return sets

    def _validators(self, height: int) -> ValidatorSet:
        owner = {key: node for node, keys in self.keys_of.items() for key in keys}
        return ValidatorSet(
            tuple(
                Validator(
                    sha256(b"%d" % owner.get(key, key)).digest()[:16],
                    self.publics[key],
                    sha256(b"checkpoint %d" % key).digest(),
                    sha256(b"node %d" % key).digest(),
                )
                for key in self._sets[min(height, len(self._sets) - 1)]
            )
        )

    def _leader(self, header: Header, round_: int) -> int:
        """Return who leads this round of the height of `header`, on its parent."""
        n = len(self.validators(header.height))
        return self.turns[header.parent].leader(n, header.height, round_)

    def leads(self, index: int, height: int, round_: int) -> bool:
        turns = self.turns[self.oracle.decided.get(height - 1, NO_HASH)]
        return turns.leader(len(self.validators(height)), height, round_) == index

    def index_of(self, peer: int, validators: ValidatorSet) -> int | None:
        for public, peers in self._peers_of.items():
            if peer in peers and (index := validators.index_of(public)) is not None:
                return index
        return None

    def peer_of(self, public: bytes) -> int:
        """Return a peer with this key: for a twin, either."""
        peers = self._peers_of[public]
        return peers[0] if len(peers) == 1 else self.rng.choice(peers)

    def executed(self, state: bytes, leaves: tuple[bytes, ...]) -> bytes:
        """Return the state after these."""
        return sha256(state + b"".join(leaves)).digest()

    def block(
        self,
        height: int,
        round_: int,
        key: int,
        parent: bytes,
        leaves: tuple[bytes, ...],
        time_s: int,
    ) -> Outline:
        """Return a block that every honest node judges valid on that parent."""
        validators = self.validators(height)
        proposer = validators.index_of(self.publics[key])
        header = Header(
            1,
            CHAIN_ID,
            height,
            max(TIME + time_s, self._times[parent]),
            parent,
            root_of_leaves([Hash(leaf) for leaf in leaves]),
            height,
            NO_HASH,
            NO_HASH,
            self.executed(self._states[parent], leaves),
            validators.hash,
            self.validators(height + 1).hash,
            validators.members[proposer or 0].member,
            round_,
            NO_PARENT_COMMIT,
            NO_EVIDENCE,
        )
        return self._known(Outline(header, None, (), leaves))

    def spoiled(self, outline: Outline, rng: Random) -> Outline:
        """Return a block that no honest node may judge valid."""
        field = rng.choice(["state_digest", "transactions_root", "time", "next_validators_hash"])
        wrong: object = 1 if field == "time" else rng.randbytes(32)
        header = msgspec.structs.replace(outline.header, **{field: wrong})
        return self._known(msgspec.structs.replace(outline, header=header))

    def _known(self, outline: Outline) -> Outline:
        header = outline.header
        self._states[header.hash] = header.state_digest
        self._times[header.hash] = header.time
        height, voters = header.height, self.validators(header.height)
        turns = self.turns[header.parent].after(len(voters), height, header.built_round)
        same = self.validators(height + 1) == voters
        self.turns[header.hash] = turns if same else Turns()
        self.oracle.built(header)
        return outline

    def is_whole(self, outline: Outline) -> bool:
        """Return whether these leaves are those of the header."""
        leaves = [Hash(leaf) for leaf in outline.leaves]
        return outline.header.transactions_root == root_of_leaves(leaves)

    # --- what nodes report ----------------------------------------------------------------------

    def inspect(self, shell: Shell, output: Output, round_before: int) -> None:
        """Look at what one event led to."""
        if self.events % MEASURED_EVERY == 0:
            n = len(self.validators(shell.height))
            if len(shell.core) > MEMORY_PER_VALIDATOR * n:
                raise Violation("L10", f"{len(shell.core)} things held for {n} validators")
        if not shell.honest:
            return
        for evidence in output.evidence:
            self.oracle.accused(evidence, self.validators(shell.height))
            self.oracle.marks[type(evidence).__name__] += 1  # found by a machine, not by the audit
        for promise in output.promises:
            if isinstance(promise, Said):
                self._mark_promise(shell, promise.message, round_before)
        for ask in output.asks:
            if isinstance(ask, Fetch):
                why = "to propose again" if shell.core._certificate is None else "when decided"
                self.oracle.marks[f"body missing {why}"] += 1
        if output.decided is not None:
            self._mark_decision(shell, output.decided.certificate)

    def _mark_promise(self, shell: Shell, message: Message, round_before: int) -> None:
        marks = self.oracle.marks
        event = shell.event
        if isinstance(message, RoundChange):
            if not (isinstance(event, Expired) and event.round + 1 == message.round):
                marks["amplify"] += 1
            if message.prepared_round >= 0:
                marks["round change with a lock"] += 1
        elif isinstance(message, Prepare) and message.round > round_before:
            book = shell.core._book
            if book.wish_rank(self.validators(message.height).quorum) < message.round:
                marks["jump by proposal"] += 1

    def _mark_decision(self, shell: Shell, certificate: CommitCertificate) -> None:
        marks, event, height = self.oracle.marks, shell.event, shell.height
        if certificate.round != shell.core.round:
            marks["decided by another round's commits"] += 1
        if isinstance(event, Received) and isinstance(event.message, Decided):
            marks["decided by certificate"] += 1
        if certificate.round > 0 and self.validators(height) != self.validators(height - 1):
            marks["change of validators under round change"] += 1
        if shell.core._me is None:
            marks["decided by an observer"] += 1
        if self.turns[shell.head].passed_over(len(self.validators(height)), height):
            marks["an absent leader is passed over"] += 1

    def decided(self, shell: Shell, outline: Outline, certificate: CommitCertificate) -> None:
        if shell.honest:
            self.note(f"{shell.peer} decides height {certificate.height} in {certificate.round}")
            below = shell.chain[-2].header.state_digest if len(shell.chain) > 1 else START
            if outline.header.state_digest != self.executed(below, outline.leaves):
                raise Violation("L7", f"{shell.peer} decides another state than it comes to")
            is_first = certificate.height not in self.oracle.decided
            self.oracle.decides(outline.header, certificate)
            if is_first:
                self._begin(certificate.height + 1)
            self.lowest = min(len(alive.chain) for alive in self._core)

    def _begin(self, height: int) -> None:
        """Somebody decided the height below."""
        if (how := self.changed.get(height - 1)) is not None:
            self.oracle.marks[f"validators {how}"] += 1
        for evil in self.evil:
            evil.begin(height)

    # --- crashes --------------------------------------------------------------------------------

    def crashes(self, shell: Shell) -> bool:
        """Draw whether the power fails here; and if so, when it comes back."""
        if not self.plan.crash or self.healed or self.rng.random() >= self.plan.crash:
            return False
        self.after(self.rng.randint(1, 8_000), self._restart, shell)
        self.note(f"{shell.peer} loses its power")
        return True

    def _restart(self, shell: Shell) -> None:
        if shell.peer in self.dead or shell.up:
            return
        if shell.honest and self._spoils and shell.peer not in self.outside:
            self._spoil(shell)
        self.note(f"{shell.peer} starts again")
        shell.restart()

    def _spoil(self, shell: Shell) -> None:
        """Harm one disk, once."""
        plan = self.plan
        if plan.lose_journal:
            shell.lose_journal()
        elif plan.restore_old:
            if shell.backup is None:
                return
            shell.restore_backup()
        elif not shell.disk.rot(self.rng):
            return
        self._spoils = False


UNREACHABLE = 1 << 30


def timeout_ms(round_: int) -> int:
    """Return how long a round should take: the rulebook's figure, not the code's."""
    return int(1000 * 2 ** min(round_, 6))
