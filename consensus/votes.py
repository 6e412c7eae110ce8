"""The bounded book of the messages of one height: it answers questions and reports conflicts.

One slot per signer, kind and round holds the first message that came; another content in the same
slot is evidence and is not stored. (Which of two contradicting votes counts makes no difference to
safety: a faulty validator's vote may count on both sides of every quorum argument.)

Per signer the book holds votes of the rounds base - 6 to base + 1, round changes and proposals of
base and base + 1, and of each kind the one with the highest round above; nothing else. To drop old
rounds is safe: a quorum of commits leaves f + 1 honest validators whose round changes carry the
lock on.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from consensus.evidence import Evidence, contradiction
from consensus.messages import (
    BareProposal,
    Commit,
    Held,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    Signed,
    Statement,
    Status,
    signing_bytes,
)
from ledger.certificate import CommitCertificate, Seal
from ledger.validators import ValidatorSet

PAST_ROUNDS: Final = 6  # votes of older rounds than this many below the base are dropped
_KINDS: Final[tuple[type[Signed], ...]] = (Proposal, Prepare, Commit, RoundChange)
_OLDEST: Final[dict[type[Signed], int]] = {
    Proposal: 0,
    Prepare: PAST_ROUNDS,
    Commit: PAST_ROUNDS,
    RoundChange: 0,
}
# What a statement may contradict.
_RIVALS: Final[dict[type[Statement], tuple[type[Signed], ...]]] = {
    BareProposal: (Proposal,),
    Prepare: (Prepare, Commit),
    Commit: (Prepare, Commit, RoundChange),
    RoundChange: (Commit, RoundChange),
}

M = TypeVar("M", Proposal, Prepare, Commit, RoundChange)
V = TypeVar("V", Prepare, Commit)


class Book:
    """What was said at one height. Messages must have passed `justify.require`."""

    def __init__(self, height: int, validators: ValidatorSet) -> None:
        self._height = height
        self._validators = validators
        self._base = 0
        self._slots: dict[type[Signed], list[dict[int, Signed]]] = {
            kind: [{} for _ in validators.members] for kind in _KINDS
        }
        self._wishes = [0] * len(validators)  # highest round change seen of each signer
        self._ranked = self._wishes  # the same, highest first
        self._committed: CommitCertificate | None = None
        self._proposals: tuple[Proposal, ...] = ()  # highest round first
        self._held: tuple[Held, ...] | None = None  # None when it must be made anew

    def __len__(self) -> int:
        """Return how many messages are held: at most 24 for each validator."""
        return sum(len(rounds) for signers in self._slots.values() for rounds in signers)

    def advance(self, round_: int) -> None:
        """Let go of what a validator in `round_` needs no more."""
        self._base = max(self._base, round_)
        for kind, signers in self._slots.items():
            for rounds in signers:
                self._trim(kind, rounds)
        self._held = None
        self._order_proposals()

    def add(self, message: Signed) -> bool:
        """Take `message` in, if its slot is free and there is room; return if the slot was free."""
        rounds = self._slots[type(message)][message.signer]
        if message.round in rounds:
            return False
        rounds[message.round] = message
        self._trim(type(message), rounds)
        self._held = None
        if isinstance(message, Proposal):
            self._order_proposals()
        elif isinstance(message, RoundChange):
            self._wishes[message.signer] = max(self._wishes[message.signer], message.round)
            self._ranked = sorted(self._wishes, reverse=True)
        elif isinstance(message, Commit) and self._committed is None:
            seals = self._seals(Commit, message.round, message.block_id)
            if len(seals) >= self._validators.quorum:
                self._committed = CommitCertificate(
                    self._height, message.round, message.block_id, seals
                )
        return True

    def messages(self) -> Iterator[Signed]:
        """Yield all that is held."""
        for signers in self._slots.values():
            for rounds in signers:
                yield from rounds.values()

    def wants(self, message: Signed, *, reported: bool) -> bool:
        """Return whether `message` would be kept, or proves something that is not yet `reported`.

        No signature need be verified to know; a stranger's are left to who verifies them.
        """
        if message.signer >= len(self._validators):
            return True
        rounds = self._slots[type(message)][message.signer]
        if (known := rounds.get(message.round)) is not None:
            return not reported and signing_bytes(known, b"") != signing_bytes(message, b"")
        oldest = self._base - _OLDEST[type(message)]
        is_near = message.round <= self._base + 1
        return message.round >= oldest and (is_near or message.round > max(rounds, default=-1))

    def holds(self, message: Signed) -> bool:
        """Return whether just this was taken in before, and is still held."""
        signers = self._slots[type(message)]
        if message.signer >= len(signers):
            return False
        held = signers[message.signer].get(message.round)
        return held is message or held == message

    def conflicts(self, statement: Statement) -> tuple[Evidence, ...]:
        """Return what `statement` and the messages that are held prove against its signer."""
        found = []
        for kind in _RIVALS[type(statement)]:
            rounds = self._slots[kind][statement.signer]
            if (kind is RoundChange) == isinstance(statement, RoundChange):
                same = rounds.get(statement.round)
                suspects = [] if same is None or same == statement else [same]
            else:  # a commit and a round change contradict each other across rounds
                suspects = [known for _, known in sorted(rounds.items())]
            for known in suspects:
                said = known.bare() if isinstance(known, Proposal | RoundChange) else known
                if (evidence := contradiction(said, statement)) is not None:
                    found.append(evidence)
        return tuple(found)

    def proposals(self) -> tuple[Proposal, ...]:
        """Return the proposals held, highest round first."""
        return self._proposals

    def prepared(self, round_: int, block_id: bytes) -> PreparedCertificate | None:
        """Return the certificate that a quorum prepared this block in this round, if one did."""
        seals = self._seals(Prepare, round_, block_id)
        if len(seals) < self._validators.quorum:
            return None
        return PreparedCertificate(self._height, round_, block_id, seals)

    def commit_quorum(self) -> CommitCertificate | None:
        """Return the certificate of a block that a quorum committed in one round, any round."""
        return self._committed

    def round_changes(self, round_: int) -> tuple[RoundChange, ...]:
        """Return the round changes for exactly this round, by signer."""
        return tuple(rounds[round_] for rounds in self._rounds(RoundChange) if round_ in rounds)

    def block_ids(self) -> set[bytes]:
        """Return the ids of all blocks that the messages held speak of."""
        return {
            message.prepared_id if isinstance(message, RoundChange) else message.block_id
            for signers in self._slots.values()
            for rounds in signers
            for message in rounds.values()
        }

    def wish_rank(self, k: int) -> int:
        """Return the k-th highest of the signers' highest wishes; 0 if fewer than k wish."""
        return self._ranked[k - 1]

    def held(self) -> tuple[Held, ...]:
        """Return what is held of each round, as a `Status` says it."""
        if self._held is None:
            self._held = self._survey()
        return self._held

    def _survey(self) -> tuple[Held, ...]:
        bits: dict[int, list[int]] = {}
        for place, kind in enumerate(_KINDS):
            for signer, rounds in enumerate(self._slots[kind]):
                for round_ in rounds:
                    bits.setdefault(round_, [0] * len(_KINDS))[place] |= 1 << signer
        size = (len(self._validators) + 7) // 8
        return tuple(
            Held(round_, bool(proposals), *(one.to_bytes(size, "little") for one in others))
            for round_, (proposals, *others) in sorted(bits.items())
        )

    def wishes(self) -> tuple[int, ...]:
        """Return the highest round that each validator asked for, 0 for none."""
        return tuple(self._wishes)

    def missing(self, status: Status, *, leads: bool) -> Iterator[Signed]:
        """Yield what is held here, its sender lacks, and its sender's book would take.

        `leads` says that the sender leads its round, and so needs the round changes for it.
        """
        if status.held == self.held() and status.wishes == self.wishes():
            return
        held = {item.round: item for item in status.held}
        nothing = Held(0, proposal=False, prepares=b"", commits=b"", round_changes=b"")
        proposals = self.proposals()
        if proposals:
            lacking = all(
                not item.proposal or item.round < proposals[0].round for item in held.values()
            )
            if lacking and proposals[0].round >= max(status.round, status.wish):
                yield proposals[0]
        for signer, wish in enumerate(self._wishes):
            theirs = status.wishes[signer] if signer < len(status.wishes) else 0
            rounds = self._slots[RoundChange][signer]
            if wish > max(theirs, status.round) and wish in rounds:
                yield rounds[wish]
        if leads:
            theirs_now = held.get(status.round, nothing).round_changes
            for change in self.round_changes(status.round):
                if not _bit(theirs_now, change.signer):
                    yield change
        for mine in self.held():
            if not status.round - PAST_ROUNDS <= mine.round <= status.round + 1:
                continue
            item = held.get(mine.round, nothing)
            for kind, ours, other in (
                (Prepare, mine.prepares, item.prepares),
                (Commit, mine.commits, item.commits),
            ):
                for signer, rounds in enumerate(self._slots[kind] if ours != other else ()):
                    if mine.round in rounds and not _bit(other, signer):
                        yield rounds[mine.round]

    def _rounds(self, kind: type[M]) -> list[dict[int, M]]:
        return self._slots[kind]  # type: ignore[return-value]  # each list holds one kind

    def _seals(self, kind: type[V], round_: int, block_id: bytes) -> tuple[Seal, ...]:
        return tuple(
            Seal(signer, vote.signature)
            for signer, rounds in enumerate(self._rounds(kind))
            if (vote := rounds.get(round_)) is not None and vote.block_id == block_id
        )

    def _order_proposals(self) -> None:
        held = [message for rounds in self._rounds(Proposal) for message in rounds.values()]
        self._proposals = tuple(sorted(held, key=lambda proposal: -proposal.round))

    def _trim(self, kind: type[Signed], rounds: dict[int, Signed]) -> None:
        if rounds:
            oldest, newest, top = self._base - _OLDEST[kind], self._base + 1, max(rounds)
            for round_ in [r for r in rounds if r < oldest or newest < r < top]:
                del rounds[round_]


def _bit(bitmap: bytes, index: int) -> bool:
    return index // 8 < len(bitmap) and bool(bitmap[index // 8] >> index % 8 & 1)
