"""Deliberate bugs, one at a time: what the simulation must catch. Each is a patch of one rule."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import ledger.validators
from consensus import core, evidence, justify, votes
from consensus.core import Core
from consensus.errors import ConsensusError
from consensus.interface import Built, CancelTimer, Output
from consensus.justify import Context
from consensus.messages import (
    UNPREPARED,
    Commit,
    Justification,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Status,
)
from consensus.promises import Locked, Promise, Restored, restore
from ledger.block import Header, Outline
from ledger.certificate import Seal
from ledger.errors import NoQuorum
from ledger.validators import ValidatorSet, faulty
from tests.simulation.shell import Shell
from tests.simulation.world import World

Patches = Sequence[tuple[object, str, Any]]


def _count_seals(seals: tuple[Seal, ...], validators: ValidatorSet) -> None:
    if len(seals) < validators.quorum:
        raise NoQuorum(len(seals), validators.quorum)


def _lowest(changes: tuple[RoundChange, ...]) -> RoundChange | None:
    prepared = [change for change in changes if change.prepared_round != UNPREPARED]
    return min(prepared, key=lambda change: change.prepared_round, default=None)


def _without(*errors: str) -> Callable[..., None]:
    """Return `require_justified` that forgives what these errors say."""
    real = justify.require_justified

    def lenient(
        header: Header,
        round_: int,
        justification: Justification | None,
        signer: int,
        context: Context,
    ) -> None:
        try:
            real(header, round_, justification, signer, context)
        except ConsensusError as error:
            if not any(text in f"{type(error).__name__} {error}" for text in errors):
                raise

    return lenient


def _claim_of_any_round(change: RoundChange, _: int, context: Context) -> None:
    _real_claim(change, change.round, context)


_real_claim = justify._require_claim
_real_height = justify._require_height


def _any_height(part: str, height: int, context: Context) -> None:
    if part != "round change":
        _real_height(part, height, context)


class AlwaysCommits(Core):
    def commit(self) -> bool:
        wish, self.wish = self.wish, self.round
        fired = super().commit()
        self.wish = wish
        return fired


class AlwaysPrepares(Core):
    def prepare(self) -> bool:
        wish, self.wish = self.wish, self.round
        fired = super().prepare()
        self.wish = max(wish, self.round)
        return fired


class Forgetful(Core):
    def _want(self, round_: int) -> None:
        self.prepared = None
        super()._want(round_)


def _no_locks(promises: Sequence[Promise], height: int) -> Restored:
    return restore([p for p in promises if not isinstance(p, Locked)], height)


def _no_votes(promises: Sequence[Promise], height: int) -> Restored:
    return restore([p for p in promises if isinstance(p, Locked)], height)


class Silent(Core):
    def resend(self) -> None:
        pass

    def _answer(self, status: Status, sender: int) -> None:
        if status.height < self.height:
            super()._answer(status, sender)


class Unarmed(Core):
    def _set_timer(self) -> None:
        super()._set_timer()
        if self.round > 0 and self._draft.timer is not None:
            self._draft.timer = CancelTimer()


class Restless(Core):
    def _set_timer(self) -> None:
        self._work, work = self._ready, self._work
        super()._set_timer()
        self._work = work


class Alone(Core):
    def amplify(self) -> bool:
        return False


class Rebuilding(Core):
    def _propose_again(self, _: RoundChange, changes: tuple[RoundChange, ...]) -> bool:
        return self._propose_fresh(changes)


class Unhelpful(Core):
    def _help(self, peer: int, height: int) -> None:
        pass


class Drifting(Core):
    """Rounds that advance alone: a timer that waits for nobody."""

    def timeout(self, height: int, round_: int) -> None:
        super().timeout(height, round_)
        self._enter(self.wish)


class Narrow(Core):
    """Counts only commits of its own round."""

    def decide(self) -> bool:
        certificate = self._book.commit_quorum()
        if certificate is not None and certificate.round != self.round:
            return False
        return super().decide()


class Bodiless(Core):
    """Prepares before the block was judged."""

    def _is_valid(self, proposal: Proposal) -> bool:
        super()._is_valid(proposal)
        self._valid.add(proposal.block_id)
        return True


class Rejudging(Core):
    """Judges the time of a block again when it is proposed again."""

    def _is_valid(self, proposal: Proposal) -> bool:
        return proposal.block_id not in self._untimely and super()._is_valid(proposal)


class Unlocked(Core):
    """Commits what was prepared in the round, though it accepted something else."""

    def commit(self) -> bool:
        accepted = self.accepted
        for (round_, block_id), _ in sorted(_tally(self).items()):
            if round_ == self.round:
                self.accepted = block_id
        fired = super().commit()
        self.accepted = accepted
        return fired


def _tally(machine: Core) -> dict[tuple[int, Any], int]:
    seen: dict[tuple[int, Any], int] = {}
    for rounds in machine._book._rounds(Prepare):
        for vote in rounds.values():
            seen[(vote.round, vote.block_id)] = seen.get((vote.round, vote.block_id), 0) + 1
    return seen


def _seals_of_any_round(
    self: votes.Book, kind: type[Prepare | Commit], _: int, block_id: bytes
) -> tuple[Seal, ...]:
    return tuple(
        Seal(signer, vote.signature)
        for signer, rounds in enumerate(self._slots[kind])
        for vote in list(rounds.values())[:1]
        if isinstance(vote, Prepare | Commit) and vote.block_id == block_id
    )


def _send_first(self: Shell, output: Output) -> None:
    for outgoing in output.messages:
        if outgoing.to is None:
            self.broadcast(outgoing.message)
    _real_carry_out(self, output)


def _first_set(self: Shell, restored: tuple[Promise, ...]) -> Core:
    world, real = self.world, self.world.validators
    world.validators = lambda _: real(1)  # type: ignore[assignment]
    try:
        return _real_core(self, restored)
    finally:
        world.validators = real


class Unjudged(Core):
    """Proposes whatever its shell built, unjudged."""

    def _offer(self, outline: Outline, justification: Justification | None) -> bool:
        with patch.object(core, "require_justified", lambda *_: None):
            return super()._offer(outline, justification)


def _build_empty(self: Shell, round_: int) -> None:
    """A shell that errs: it builds though there is nothing to include."""
    outline = self.world.block(self.height, round_, self.key, self.head, (), self.now_ms // 1000)
    self.known[outline.header.hash] = outline
    self.handle(Built(outline))


def _twice(
    self: votes.Book, kind: type[Prepare | Commit], round_: int, block_id: bytes
) -> tuple[Seal, ...]:
    seals = _real_seals(self, kind, round_, block_id)  # type: ignore[type-var]
    return seals + seals[:1]


def _by_another_set(self: World, packet: Message, height: int) -> bool:
    real = self.validators
    self.validators = lambda h: real(h + 1)  # type: ignore[assignment]
    try:
        return _real_verified(self, packet, height)
    finally:
        self.validators = real


_real_seals = votes.Book._seals
_real_verified = World.verified
_real_carry_out = Shell._carry_out
_real_core = Shell._core

BAD_CORES: dict[str, type[Core]] = {
    "commit_after_rc": AlwaysCommits,
    "prepare_after_rc": AlwaysPrepares,
    "drop_lock": Forgetful,
    "no_resend": Silent,
    "no_arm": Unarmed,
    "no_skip": Alone,
    "rebuild_block": Rebuilding,
    "no_help_late": Unhelpful,
    "free_rounds": Drifting,
    "commits_of_my_round": Narrow,
    "no_body": Bodiless,
    "rejudge": Rejudging,
    "commit_unaccepted": Unlocked,
    "timer_when_idle": Restless,
    "own_unjudged": Unjudged,
}
BAD_PARTS: dict[str, Patches] = {
    "q_f1": [(ledger.validators, "quorum", lambda n: faulty(n) + 1)],
    "q_2f1": [(ledger.validators, "quorum", lambda n: 2 * faulty(n) + 1)],
    "cert_dups": [(justify, "verify_signers", _count_seals)],
    "short_cert": [(justify, "verify_signers", lambda *_: None)],
    "trust_cert": [(justify, "require_prepared", lambda *_: None)],
    "lowest_prepared": [(justify, "highest", _lowest), (core, "highest", _lowest)],
    "any_prepared": [
        (part, "require_justified", _without("not the block with", "another block", "of round"))
        for part in (justify, core)
    ],
    "no_justification": [
        (part, "require_justified", _without("no round changes")) for part in (justify, core)
    ],
    "cherry": [
        (part, "require_justified", _without("no certificate", "not the block with"))
        for part in (justify, core)
    ],
    "short_justification": [
        (part, "require_justified", _without("round changes")) for part in (justify, core)
    ],
    "rc_any_round": [(justify, "_require_claim", _claim_of_any_round)],
    "no_height_check": [(justify, "_require_height", _any_height)],
    "any_leader": [(part, "require_turn", lambda *_: None) for part in (justify, core)],
    "empty_round_0": [
        (part, "require_justified", _without("an empty block")) for part in (justify, core)
    ],
    "no_persist_lock": [(core, "restore", _no_locks)],
    "forget_votes": [(core, "restore", _no_votes)],
    "send_first": [(Shell, "_carry_out", _send_first)],
    "no_growth": [(core, "MAX_DOUBLINGS", 0)],
    "valset_now": [(Shell, "_core", _first_set)],
    "unbounded": [(votes.Book, "_trim", lambda *_: None)],
    "framing": [
        (evidence, "_forgets", lambda commit, change: change.prepared_round < commit.round)
    ],
    "dup_signers": [(votes.Book, "_seals", _twice)],
    "cert_of_another_set": [(World, "verified", _by_another_set)],
    "own_unjudged": [(Shell, "_build", _build_empty)],
    "mixed_rounds": [(votes.Book, "_seals", _seals_of_any_round)],
}
MUTANTS = tuple(dict.fromkeys((*BAD_CORES, *BAD_PARTS)))


@contextmanager
def mutated(name: str) -> Iterator[type[Core]]:
    """Plant one bug; yield the core to run."""
    with ExitStack() as stack:
        for target, attribute, value in BAD_PARTS.get(name, ()):
            stack.enter_context(patch.object(target, attribute, value))
        yield BAD_CORES.get(name, Core)
