"""Validators that break the rules: twins, evil leaders and evil voters.

An evil validator hears everything that anyone sends. When it leads it proposes with exactly one
defect, because a proposal with two is refused for the wrong reason; otherwise it votes for whatever
is known, claims what it likes, and sends what no encoding forbids. It signs only with its own key.
"""

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, TypeVar

import msgspec

from consensus.core import Core
from consensus.messages import (
    UNPREPARED,
    Commit,
    Decided,
    Held,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    Statement,
    Status,
    signing_bytes,
)
from ledger.block import Outline
from ledger.certificate import CommitCertificate, Seal
from ledger.hashing import NO_HASH
from tests.simulation.packets import Block, Burst, Head, Packet, WantBlock, WantHead

if TYPE_CHECKING:
    from tests.simulation.world import World

M = TypeVar("M", bound=Proposal | Prepare | Commit | RoundChange)
NO_SIGNATURE = bytes(64)
ACT_EVERY_MS = 400
MAX_PAUSE_MS = 8_000
SPAM = 0.05
OUT_OF_TURN = 0.3  # chance that it leads though it is not its turn
FLOOD = 200


class TwinCore(Core):
    """The honest rules, twice under one key: it does not mind what its twin signed."""

    def _recognise(self, statement: Statement) -> None:
        pass


class Library:
    """All that was said at one height."""

    def __init__(self, quorum: int) -> None:
        self.quorum = quorum
        self.outlines: dict[bytes, Outline] = {}
        self.prepares: dict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
        self.commits: dict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
        self.changes: dict[int, dict[int, list[RoundChange]]] = defaultdict(dict)
        self.quorums: set[tuple[int, bytes]] = set()  # what a quorum prepared, and in which round
        self.led: set[int] = set()  # rounds in which the adversary has begun to lead
        self.top = 0

    def take(self, message: Message) -> None:
        match message:
            case Proposal():
                self.outlines[message.block_id] = message.outline
            case Prepare():
                place = (message.round, message.block_id)
                voters = self.prepares[place]
                voters[message.signer] = message.signature
                if len(voters) >= self.quorum:
                    self.quorums.add(place)
            case Commit():
                self.commits[(message.round, message.block_id)][message.signer] = message.signature
            case RoundChange():
                mine = self.changes[message.round].setdefault(message.signer, [])
                if message not in mine:
                    mine.append(message)
            case _:
                return
        if message.round < 1000:
            self.top = max(self.top, message.round)

    def prepared(self, height: int) -> list[PreparedCertificate]:
        """Return a true certificate for everything that a quorum prepared, lowest round first."""
        return [
            PreparedCertificate(height, *place, _seals(self.prepares[place]))
            for place in sorted(self.quorums)
        ]


class Evil:
    """One validator that sends whatever may hurt."""

    def __init__(self, world: "World", key: int, rng: Random) -> None:
        self.world, self.key, self.peer, self.rng = world, key, key, rng
        self.public = world.publics[key]
        self._libraries: dict[int, Library] = {}
        self.withheld: set[bytes] = set()
        self.quiet = False
        self.pause_ms = 2 * ACT_EVERY_MS

    def library(self, height: int) -> Library:
        found = self._libraries.get(height)
        if found is None:
            found = self._libraries[height] = Library(self._quorum(height))
        return found

    def start(self) -> None:
        self.world.after(self.rng.randint(1, ACT_EVERY_MS), self._act)

    def overhear(self, packet: Packet) -> None:
        if isinstance(packet, Proposal | Prepare | Commit | RoundChange):
            library = self.library(packet.height)
            library.take(packet)
            if isinstance(packet, RoundChange) and not self.quiet:
                self._await_turn(library, packet.height, packet.round)
        elif isinstance(packet, Block):
            outline = packet.outline
            self.library(outline.header.height).outlines[outline.header.hash] = outline

    def receive(self, source: int, packet: Packet) -> None:
        if isinstance(packet, WantBlock) and packet.block_id not in self.withheld:
            for library in self._libraries.values():
                if (outline := library.outlines.get(packet.block_id)) is not None:
                    if self.rng.random() < 0.1:  # another body under the same header
                        outline = msgspec.structs.replace(outline, leaves=(bytes(32),) * 2)
                    self._send(source, Block(outline))
        elif isinstance(packet, WantHead):  # a lie that is true: some certificate, or none
            known = [d for d in self.world.oracle.certificates if self.rng.random() < 0.5]
            self._send(source, Head(self.rng.choice([None, *known])))

    # --- what it does -------------------------------------------------------------------------

    def _act(self) -> None:
        if self.quiet:
            return
        self.world.after(self.rng.randint(1, self.pause_ms), self._act)
        if self.world.healed:  # rounds are long by then
            self.pause_ms = min(self.pause_ms * 5 // 4, MAX_PAUSE_MS)
        height = self.rng.choice(self.world.honest).height
        if self.rng.random() < 0.05:
            height = max(1, height + self.rng.choice([-1, 1]))
        index = self.world.validators(height).index_of(self.public)
        if index is None:
            return
        actions = [self._vote, self._change, self._lead, self._lie]
        for action in self.rng.sample(actions, self.rng.choice([1, 1, 2])):
            action(height, index)
        if self.world.plan.spam and self.rng.random() < SPAM:
            self._flood(height, index)

    def _await_turn(self, library: Library, height: int, round_: int) -> None:
        """Attack as soon as a quorum wants a round that is mine."""
        heard = len(library.changes.get(round_, ()))
        if heard < library.quorum - 1 or round_ in library.led:
            return
        index = self.world.validators(height).index_of(self.public)
        if index is not None and self.world.leads(index, height, round_):
            library.led.add(round_)
            self.world.after(self.rng.randint(1, 100), self._attack, height, index, round_)

    def begin(self, height: int) -> None:
        """Attack as soon as a height begins whose first round is mine."""
        index = self.world.validators(height).index_of(self.public)
        if index is not None and not self.quiet and self.world.leads(index, height, 0):
            self.world.after(self.rng.randint(1, 100), self._attack, height, index, 0)

    def _vote(self, height: int, index: int) -> None:
        library = self.library(height)
        known = [*library.outlines]
        if not known:
            return
        for _ in range(self.rng.randint(1, 3)):
            block_id = self.rng.choice(known)
            round_ = self.rng.randint(0, library.top + 1)
            kind = (Prepare, Commit)[self.rng.randrange(2)]
            self._scatter(self._signed(kind(height, round_, block_id, index, NO_SIGNATURE)))

    def _change(self, height: int, index: int) -> None:
        library, rng = self.library(height), self.rng
        far = rng.randrange(2, 1 << 31)
        round_ = rng.choice([library.top, library.top + 1, rng.randint(1, library.top + 2), far])
        self._scatter(self._claim(height, index, max(1, round_)))

    def _flood(self, height: int, index: int) -> None:
        """Vote in more rounds than anybody can remember."""
        far = self.rng.randrange(2, 1 << 31)
        kind = (Prepare, Commit)[self.rng.randrange(2)]
        votes = (
            self._sign(kind(height, round_, NO_HASH, index, NO_SIGNATURE))
            for round_ in range(far, far + FLOOD)
        )
        self._send(self.rng.choice(self.world.honest).peer, Burst(tuple(votes)))
        self.world.oracle.marks["flood"] += 1

    def _claim(self, height: int, index: int, round_: int) -> RoundChange:
        """Ask for a round, locked on nothing, on something true, or on a lie."""
        library, rng = self.library(height), self.rng
        true = [c for c in library.prepared(height) if c.round < round_]
        certificate = None
        match rng.randrange(4):
            case 0 if true:
                certificate = rng.choice(true)
            case 1 if library.outlines:
                certificate = self._forged(height, index, rng.randrange(round_))
            case _:
                pass
        lock = UNPREPARED if certificate is None else certificate.round
        block_id = NO_HASH if certificate is None else certificate.block_id
        return self._signed(
            RoundChange(height, round_, lock, block_id, certificate, index, NO_SIGNATURE)
        )

    def _forged(self, height: int, index: int, round_: int) -> PreparedCertificate:
        """Return a certificate whose every signature is real, and which shows no quorum."""
        library, rng = self.library(height), self.rng
        block_id = rng.choice([*library.outlines])
        mine = self._signed(Prepare(height, round_, block_id, index, NO_SIGNATURE))
        quorum = self._quorum(height)
        if rng.random() < 0.5:  # the same signer again and again
            seals = (Seal(index, mine.signature),) * quorum
        elif rng.random() < 0.5:  # too few
            seals = _seals(library.prepares[(round_, block_id)] | {index: mine.signature})
            seals = seals[: quorum - 1]
        elif rng.random() < 0.5:  # a quorum, of several rounds
            found: dict[int, bytes] = {}
            for (_, about), signatures in library.prepares.items():
                if about == block_id:
                    found.update(signatures)
            seals = _seals(found | {index: mine.signature})
        else:  # a quorum, for something else
            other = rng.choice(library.prepared(height) or [None])
            if other is not None:
                return other
            seals = (Seal(index, mine.signature),)
        return PreparedCertificate(height, round_, block_id, seals)

    def _lie(self, height: int, index: int) -> None:
        """Claim to know nothing, or too much; say that something is decided that is not."""
        library, rng = self.library(height), self.rng
        bits = bytes([rng.randrange(256)])
        held = Held(rng.randrange(8), proposal=False, prepares=bits, commits=b"", round_changes=b"")
        status = Status(
            max(1, height + rng.choice([-1, 0, 0, 1, 9])),
            rng.randrange(library.top + 2),
            0,
            NO_HASH,
            (held,),
            (),
        )
        self._scatter(status)
        if library.outlines:
            outline = rng.choice([*library.outlines.values()])
            block_id, round_ = outline.header.hash, rng.randint(0, library.top)
            mine = self._signed(Commit(height, round_, block_id, index, NO_SIGNATURE))
            known = library.commits[(round_, block_id)] | {index: mine.signature}
            quorum = self._quorum(height)
            seals = _seals(known)[: quorum - 1]
            if rng.random() < 0.5:
                seals = tuple(sorted((*seals, *(seals * quorum)), key=lambda s: s.validator))
            seals = seals[: self.world.plan.n]
            certificate = CommitCertificate(height, round_, block_id, seals)
            self._scatter(Decided(outline.header, certificate))

    def _lead(self, height: int, index: int) -> None:
        library = self.library(height)
        rounds = [r for r in range(library.top + 2) if self.world.leads(index, height, r)]
        if self.rng.random() < OUT_OF_TURN:
            rounds = [self.rng.randint(0, library.top + 1)]  # though it is not its turn
        if rounds:
            self._attack(height, index, self.rng.choice(rounds[-2:]))

    def _attack(self, height: int, index: int, round_: int) -> None:
        for _ in range(self.rng.choice([1, 2, 3])):
            proposal = self._proposal(height, index, round_)
            if proposal is not None:
                self._scatter(proposal)
                vote = Prepare(height, round_, proposal.block_id, index, NO_SIGNATURE)
                self._scatter(self._signed(vote))

    def _proposal(self, height: int, index: int, round_: int) -> Proposal | None:
        rng, library, world = self.rng, self.library(height), self.world
        quorum = self._quorum(height)
        parent = world.oracle.decided.get(height - 1, NO_HASH)
        leaves = (rng.randbytes(32),) * rng.randint(0, 1)
        time_s = world.now // 1000 + rng.choice([0, 0, 0, -60, 60])
        fresh = world.block(height, round_, self.key, parent, leaves, time_s)
        match rng.randrange(6):
            case 0:
                fresh = world.spoiled(fresh, rng)
            case 1:
                self.withheld.add(fresh.header.hash)
            case _:
                pass
        library.outlines[fresh.header.hash] = fresh
        if round_ == 0:
            return self._offer(index, 0, fresh, None)
        changes = self._changes(height, index, round_)
        claimed = [c for c in changes if c.prepared_round != UNPREPARED]
        true = library.prepared(height)
        top = max(claimed, key=lambda c: c.prepared_round, default=None)
        certificate = None if top is None else top.certificate
        outline = fresh if top is None else library.outlines.get(top.prepared_id)
        past = self.library(height - 1).changes.get(round_, {})
        defects = ["none", "none", "bare", "rounds", "cherry", "short", "doubled", "fresh", "any"]
        defects += ["forged"] if library.outlines else []
        defects += ["heights"] * 4 if len(past) >= quorum else []
        defects += ["lowest"] * 4 if len({c.prepared_round for c in claimed}) > 1 else []
        defect = rng.choice(defects)
        match defect:
            case "bare":
                return self._offer(index, round_, fresh, None)
            case "rounds":
                other = rng.choice([r for r in library.changes if r != round_] or [round_])
                changes = self._changes(height, index, other, own=False)
                outline, certificate = fresh, None
            case "heights":
                changes = [theirs[0] for theirs in past.values()]
                outline, certificate = fresh, None
            case "cherry":
                changes = sorted(changes, key=lambda c: c.prepared_round)[:quorum]
                outline, certificate = fresh, None
            case "lowest":
                low = min(claimed, key=lambda c: c.prepared_round)
                outline, certificate = library.outlines.get(low.prepared_id), low.certificate
            case "any" if true:
                certificate = rng.choice(true)
                outline = library.outlines.get(certificate.block_id)
            case "forged":
                forged = self._forged(height, index, rng.randrange(round_))
                lie = RoundChange(
                    height, round_, forged.round, forged.block_id, None, index, NO_SIGNATURE
                )
                changes = [c for c in changes if c.signer != index] + [self._signed(lie)]
                outline, certificate = library.outlines.get(forged.block_id), forged
            case "short":
                changes = changes[: quorum - 1]
            case "doubled":
                changes = (changes[: quorum - 1] * quorum)[:quorum]
            case "fresh":
                outline, certificate = fresh, None
            case _:
                pass
        if not changes or outline is None:
            return None
        bare = tuple(c.bare() for c in sorted(changes, key=lambda c: c.signer))
        return self._offer(index, round_, outline, Justification(bare, certificate))

    def _changes(
        self, height: int, index: int, round_: int, *, own: bool = True
    ) -> list[RoundChange]:
        theirs = self.library(height).changes.get(round_, {})
        chosen = {signer: self.rng.choice(all_) for signer, all_ in sorted(theirs.items())}
        if own:
            chosen[index] = self._claim(height, index, round_)
        return [*chosen.values()]

    def _offer(
        self, index: int, round_: int, outline: Outline, why: Justification | None
    ) -> Proposal:
        return self._signed(Proposal(round_, outline, why, index, NO_SIGNATURE))

    # --- how ----------------------------------------------------------------------------------

    def _sign(self, message: M) -> M:
        sign = self.world.signer(self.key)
        signature = sign(signing_bytes(message, self.world.chain_id))
        return msgspec.structs.replace(message, signature=signature)

    def _signed(self, message: M) -> M:
        signed = self._sign(message)
        self.world.oracle.signed(self.public, signed)
        self.overhear(signed)
        return signed

    def _scatter(self, packet: Packet) -> None:
        """Send to some, not to others."""
        for shell in self.world.shells:
            if self.rng.random() < 0.7:
                self._send(shell.peer, packet)

    def _send(self, target: int, packet: Packet) -> None:
        self.world.network.send(self.peer, target, packet)

    def _quorum(self, height: int) -> int:
        return self.world.validators(height).quorum


def _seals(signatures: dict[int, bytes]) -> tuple[Seal, ...]:
    return tuple(Seal(signer, signature) for signer, signature in sorted(signatures.items()))
