"""The rules: one validator at one height, as a machine that is handed events and returns outputs.

Rules are level-triggered: after every event the first enabled one fires, until none is enabled. So
no order of arrival is special, and nothing is lost that was learnt too early. They are named as in
docs/protocol.md:

    decide    a quorum committed one block in one round: it is decided
    commit    a quorum prepared what I accepted in this round: lock it and say so
    prepare   the leader's justified, valid proposal: accept it and say so
    amplify   f + 1 want a higher round, one of them honest: want it too
    enter     a quorum wants a higher round: it begins
    propose   it is my turn and I may
    timeout   the round took too long: want the next one
    resend    say again what may have been lost
"""

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Final, assert_never

import msgspec

from consensus.errors import ConsensusError, Impersonated, NotLeader, UnknownSigner
from consensus.evidence import DoubleVote, Evidence, bad_proposal, offence
from consensus.interface import (
    Ask,
    Build,
    Built,
    CancelTimer,
    Decision,
    Event,
    Expired,
    Fetch,
    Judge,
    Judged,
    Outgoing,
    Output,
    Pull,
    Ready,
    Received,
    SendDecided,
    SetTimer,
    Tick,
    Work,
)
from consensus.justify import Context, highest, require, require_justified, require_turn
from consensus.messages import (
    UNPREPARED,
    BareProposal,
    Commit,
    Decided,
    Justification,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Signed,
    Statement,
    Status,
    signing_bytes,
    statements,
)
from consensus.promises import Kept, Locked, Promise, Said, Slot, restore
from consensus.votes import PAST_ROUNDS, Book
from ledger.block import Outline
from ledger.certificate import CommitCertificate
from ledger.hashing import NO_HASH, Hash
from ledger.turns import Turns
from ledger.validators import ValidatorSet, faulty

RULES: Final = ("decide", "commit", "prepare", "amplify", "enter", "propose")
BASE_TIMEOUT_MS: Final = 1000  # above batch interval + build + dissemination + validation
MAX_DOUBLINGS: Final = 6  # a round never takes more than 64 times the base timeout
NOBODY_ABSENT: Final = Turns()
NOTHING: Final = Output()  # what most events lead to
_NO_SIGNATURE: Final = bytes(64)


def timeout_ms(round_: int, base_ms: int = BASE_TIMEOUT_MS) -> int:
    """Return how long a round may take.

    The clamp is inside the exponent: a capped product overflows elsewhere (GoQuorum issue 1664).
    """
    return base_ms << min(round_, MAX_DOUBLINGS)


class Core:
    """One height. `me` is the index of this validator, or None for an observer, who signs nothing.

    `sign` is pure and deterministic: the same promise is signed to the same bytes after a crash.
    `promises` are those that the journal holds; `turns` tells who leads; `head` is the id of the
    block below.
    """

    def __init__(
        self,
        me: int | None,
        sign: Callable[[bytes], bytes] | None,
        chain_id: bytes,
        height: int,
        validators: ValidatorSet,
        promises: Sequence[Promise] = (),
        *,
        turns: Turns = NOBODY_ABSENT,
        head: bytes = NO_HASH,
        base_timeout_ms: int = BASE_TIMEOUT_MS,
    ) -> None:
        assert (me is None) == (sign is None)
        assert me is None or me < len(validators)
        self.height = height
        self.decision: Decision | None = None
        self._me = me
        self._sign = sign
        self._context = Context(chain_id, height, validators, turns)
        self._validators = validators
        self._honest_one = faulty(len(validators)) + 1  # so many, and one of them is honest
        self._head = head
        self._base_timeout_ms = base_timeout_ms
        self._rules: tuple[Callable[[], bool], ...] = tuple(getattr(self, rule) for rule in RULES)

        restored = restore(promises, height)
        self.round = restored.round  # entered
        self.wish = restored.wish  # highest round asked for; never below the round
        self.accepted = restored.accepted  # block prepared in this round
        self.prepared = restored.prepared  # the lock
        self._said = restored.said
        self._lost = restored.lost
        self._book = Book(height, validators)
        self._book.advance(self.round)
        for message in (*restored.proposals.values(), *restored.said.values()):
            self._book.add(message)

        self._outlines: dict[Hash, Outline] = {
            proposal.block_id: proposal.outline for proposal in restored.proposals.values()
        }
        self._valid: set[Hash] = set()  # judged valid; the shell can make the body durable
        self._untimely: set[Hash] = set()  # refused afresh; a re-proposal is judged anew
        self._certificate: CommitCertificate | None = None
        self._built: Outline | None = None
        self._work = False
        self._ready = False
        self._timer: tuple[int, Hash | None] | None = None  # what it was last set for
        self._reported: set[tuple[str, int, str]] = set()  # one piece of evidence for each
        self._recent: set[Slot] = set()  # said since the last tick
        self._done: set[object] = set()  # asked or answered since the last tick
        self._future: dict[tuple[int, type[Signed]], Signed] = {}
        self._draft = _Draft()

    # --- what a shell calls ---------------------------------------------------------------------

    def handle(self, event: Event) -> Output:
        """Return what to do about `event`, in the order of the fields of `Output`.

        Every promise stands in this output or an earlier one than the message that depends on it.
        """
        self._draft = _Draft()
        match event:
            case Received(message, sender):
                if not self._receive(message, sender):
                    return self._draft.output()  # no rule looks at what it changed
            case Judged(block_id, ok, outline):
                self._judged(block_id, outline, ok=ok)
            case Built(outline):
                self._take_built(outline)
            case Expired(height, round_):
                self.timeout(height, round_)
            case Work(pending):
                self._work = pending
                if not pending:
                    self._done.discard((Build, 0))
            case Ready():
                self._ready = True
            case Tick():
                self._done.clear()
                self.resend()
            case _:
                assert_never(event)
        while self.decision is None:
            for rule in self._rules:
                if rule():
                    break
            else:
                break
        self._set_timer()
        return self._draft.output()

    def wants(self, message: Message) -> bool:
        """Return whether `message`, if it is signed as it says, can change anything here.

        A shell asks before it verifies signatures: so a flood costs what it takes to look at it.
        """
        if isinstance(message, Status) or message.height < self.height:
            return True  # it is only answered
        if isinstance(message, Decided):
            return message.height == self.height and self._certificate is None
        if message.height == self.height:
            statement = BareProposal if isinstance(message, Proposal) else type(message)
            deed = (DoubleVote.__name__, message.signer, statement.__name__)
            if self._book.wants(message, reported=deed in self._reported):
                return True
            pulls = isinstance(message, RoundChange) and not self._work
            return pulls and (Pull, message.signer) not in self._done  # what came may be lost
        return message.height == self.height + 1 and self._is_for_later(message)

    def status(self) -> Status:
        """Return what this validator holds, for its peers to compare."""
        return Status(
            self.height,
            self.round,
            self.wish,
            self._head,
            self._book.held(),
            self._book.wishes(),
        )

    @property
    def future(self) -> tuple[Message, ...]:
        """What came for the next height: at most one message per signer and kind."""
        return tuple(
            message
            for _, message in sorted(
                self._future.items(), key=lambda item: (item[0][0], item[0][1].__name__)
            )
        )

    @property
    def heard(self) -> tuple[Message, ...]:
        """What is held of this height and the next: another core of this height can go on."""
        return (*self._book.messages(), *self.future)

    def __len__(self) -> int:
        """Return how many messages, blocks and verdicts are held: bounded by c · n."""
        held: tuple[Sized, ...] = (
            self._book,
            self._said,
            self._outlines,
            self._valid,
            self._untimely,
            self._reported,
            self._future,
        )
        return sum(len(part) for part in held)

    # --- the rules: each returns whether it fired ------------------------------------------------

    def decide(self) -> bool:
        """Decide the block that a quorum committed in one round, whichever round."""
        certificate = self._certificate = self._certificate or self._book.commit_quorum()
        if certificate is None:
            return False
        block_id = Hash(certificate.block_id)
        if block_id not in self._valid:
            holders = tuple(seal.validator for seal in certificate.seals)
            self._ask((Fetch, block_id), Fetch(block_id, holders))
            return False
        self.decision = self._draft.decided = Decision(block_id, certificate)
        return True

    def commit(self) -> bool:
        """Lock the accepted block once a quorum prepared it in this round, and commit it.

        Never below a round that this validator has asked for.
        """
        if self._me is None or self.accepted is None or self.wish > self.round:
            return False
        certificate = self._book.prepared(self.round, self.accepted)
        if certificate is None or self._has_said(Commit, self.round):
            return False
        self.prepared = certificate
        self._draft.promises.append(Locked(certificate))
        self._say(Commit(self.height, self.round, self.accepted, self._me, _NO_SIGNATURE))
        return True

    def prepare(self) -> bool:
        """Accept the leader's justified and valid proposal; it carries a late node into its round.

        Never below a round that this validator has asked for, and once in a round.
        """
        if self._me is None:
            return False
        for proposal in self._book.proposals():
            late = proposal.round < self.wish or self._has_said(Prepare, proposal.round)
            if late or not self._is_valid(proposal):
                continue
            self._enter(proposal.round)
            self.accepted = proposal.block_id
            if proposal.round > 0 and proposal.signer != self._me:
                self._draft.promises.append(Kept(proposal))
            self._say(Prepare(self.height, proposal.round, self.accepted, self._me, _NO_SIGNATURE))
            return True
        return False

    def amplify(self) -> bool:
        """Ask for the round that f + 1 validators ask for: one of them is honest."""
        wanted = self._book.wish_rank(self._honest_one)
        if self._me is None or wanted <= self.wish:
            return False
        self._want(wanted)
        return True

    def enter(self) -> bool:
        """Begin the round that a quorum asks for."""
        wanted = self._book.wish_rank(self._validators.quorum)
        if wanted <= self.round:
            return False
        self._enter(wanted)
        return True

    def propose(self) -> bool:
        """Propose where it is my turn: again what may be committed, else a block of mine."""
        if self._me is None or self.wish > self.round or self._has_said(Proposal, self.round):
            return False
        may = self.round > 0 or (self._work and self._ready)
        if not may or self._me != self._context.leader(self.round):
            return False
        if self.round == 0:
            return self._propose_fresh(None)
        changes = self._book.round_changes(self.round)
        if len(changes) < self._validators.quorum:
            return False
        top = highest(changes)
        return self._propose_fresh(changes) if top is None else self._propose_again(top, changes)

    def timeout(self, height: int, round_: int) -> None:
        """Ask for the next round, if it is this round's timer that ran out and it is still set."""
        if height == self.height and self._timer is not None and self._timer[0] == round_:
            self._want(round_ + 1)

    def resend(self) -> None:
        """Say again what this round rests on; what was said since the last tick is on its way."""
        lock = UNPREPARED if self.prepared is None else self.prepared.round
        slots: tuple[Slot, ...] = (
            (RoundChange, self.wish),
            (Commit, lock),
            (Proposal, self.round),
            (Prepare, self.round),
            (Commit, self.round),
        )
        if self.decision is None:
            for slot in dict.fromkeys(slots):
                if slot in self._said and slot not in self._recent:
                    self._draft.messages.append(Outgoing(self._said[slot]))
        self._recent.clear()

    # --- events ---------------------------------------------------------------------------------

    def _receive(self, message: Message, sender: int | None) -> bool:
        """Return whether a rule may be enabled now that was not."""
        if isinstance(message, Status):
            if sender is not None:
                self._answer(message, sender)
        elif message.height < self.height:
            if not isinstance(message, Decided):
                self._help(message.signer if sender is None else sender, message.height)
        elif message.height == self.height + 1:
            if not isinstance(message, Decided):
                self._keep_for_later(message)
        elif message.height == self.height and self.decision is None:
            try:
                is_enabling = self._take(message)
            except ConsensusError as error:
                self._draft.refusal = error
                return True
            if isinstance(message, RoundChange) and not self._work:
                self._ask((Pull, message.signer), Pull(message.signer))
            return is_enabling
        return False

    def _take(self, message: Proposal | Prepare | Commit | RoundChange | Decided) -> bool:
        if not isinstance(message, Decided) and self._book.holds(message):
            return False  # most of what is heard is said again
        try:
            require(message, self._context)
        except (NotLeader, UnknownSigner):
            raise
        except ConsensusError:
            if isinstance(message, Proposal):
                self._report((bad_proposal(message),))
            raise
        for statement in statements(message):
            self._recognise(statement)
            self._report(self._book.conflicts(statement))
        if isinstance(message, Decided):
            self._certificate = self._certificate or message.certificate
            return True
        new = self._book.add(message)
        if new and isinstance(message, Proposal):
            self._outlines.setdefault(message.block_id, message.outline)
        return new

    def _recognise(self, statement: Statement) -> None:
        """Raise `Impersonated`, and sign nothing more, if I signed this and do not know it."""
        if statement.signer != self._me:
            return
        if statement.round < max(self._lost, self.round - PAST_ROUNDS):
            return
        kind = Proposal if isinstance(statement, BareProposal) else type(statement)
        said = self._said.get((kind, statement.round))
        if said is None or signing_bytes(said, b"") != signing_bytes(statement, b""):
            self._me = None
            raise Impersonated(type(statement).__name__, statement.round)

    def _answer(self, status: Status, sender: int) -> None:
        """Send a peer what it lacks; each thing at most once between two ticks."""
        behind = status.height == self.height and self.decision is not None
        if behind or status.height < self.height:
            self._help(sender, status.height)
        elif status.height == self.height:
            leads = sender == self._context.leader(status.round)
            for message in self._book.missing(status, leads=leads):
                key = (sender, type(message), message.round, message.signer)
                if key not in self._done:
                    self._done.add(key)
                    self._draft.messages.append(Outgoing(message, sender))

    def _help(self, peer: int, height: int) -> None:
        self._ask((SendDecided, peer), SendDecided(peer, height))

    def _is_for_later(self, message: Signed) -> bool:
        known = self._future.get((message.signer, type(message)))
        return known is None or known.round < message.round

    def _keep_for_later(self, message: Signed) -> None:
        if self._is_for_later(message):
            self._future[message.signer, type(message)] = message

    def _judged(self, block_id: Hash, outline: Outline | None, *, ok: bool) -> None:
        if not ok:
            self._untimely.add(block_id)
            return
        self._valid.add(block_id)
        if outline is not None:
            self._outlines[block_id] = outline

    def _take_built(self, outline: Outline) -> None:
        if outline.header.built_round == self.round:
            self._built = outline
            self._judged(outline.header.hash, outline, ok=True)

    # --- what the rules are made of -------------------------------------------------------------

    def _has_said(self, kind: type[Signed], round_: int) -> bool:
        return (kind, round_) in self._said

    def _is_valid(self, proposal: Proposal) -> bool:
        """Return whether the block was judged valid; ask where that is not known."""
        block_id = proposal.block_id
        if block_id in self._valid:
            return True
        # Only a fresh proposal is judged on its time: what a quorum prepared was in time for f + 1
        # honest validators, and to refuse it later would stop the height (indy-plenum issue 1488).
        fresh = proposal.outline.header.built_round == proposal.round
        if not (fresh and block_id in self._untimely):
            ask = Judge(proposal.outline, proposal.signer, fresh)
            self._ask((Judge, block_id, fresh), ask)
        return False

    def _enter(self, round_: int) -> None:
        if round_ > self.round:
            self.round = round_
            self.wish = max(self.wish, round_)
            self.accepted = None
            self._book.advance(round_)
            self._forget()

    def _want(self, round_: int) -> None:
        """Ask for `round_`, telling the lock: from now on nothing below it is signed."""
        assert self._me is not None  # an observer has no timer and amplifies nothing
        self.wish = round_
        lock = self.prepared
        self._say(
            RoundChange(
                self.height,
                round_,
                UNPREPARED if lock is None else lock.round,
                NO_HASH if lock is None else lock.block_id,
                lock,
                self._me,
                _NO_SIGNATURE,
            )
        )

    def _propose_fresh(self, changes: tuple[RoundChange, ...] | None) -> bool:
        built = self._built
        if built is None or built.header.built_round != self.round:
            self._ask((Build, self.round), Build(self.round))
            return False
        justification = None
        if changes is not None:
            justification = _justification(changes[: self._validators.quorum])
        return self._offer(built, justification)

    def _propose_again(self, top: RoundChange, changes: tuple[RoundChange, ...]) -> bool:
        assert top.certificate is not None  # the book holds none that lacks it
        block_id = Hash(top.prepared_id)
        outline = self._outlines.get(block_id)
        if outline is None or block_id not in self._valid:
            holders = tuple(seal.validator for seal in top.certificate.seals)
            self._ask((Fetch, block_id), Fetch(block_id, holders))
            return False
        others = [change for change in changes if change is not top]
        return self._offer(outline, _justification((top, *others[: self._validators.quorum - 1])))

    def _offer(self, outline: Outline, justification: Justification | None) -> bool:
        """Propose, unless the predicates that judge others refuse it: then our shell erred."""
        assert self._me is not None
        header = outline.header
        try:
            require_turn(self.round, self._me, self._context)
            require_justified(header, self.round, justification, self._me, self._context)
        except ConsensusError as error:
            self._draft.refusal = error
            self._built = None
            return False
        self._say(Proposal(self.round, outline, justification, self._me, _NO_SIGNATURE))
        return True

    def _say(self, message: Signed) -> None:
        """Sign, promise, count and send one message: the only place where anything is signed."""
        assert self._sign is not None
        slot = (type(message), message.round)
        assert slot not in self._said  # one content for each kind and round, for ever
        signature = self._sign(signing_bytes(message, self._context.chain_id))
        signed = msgspec.structs.replace(message, signature=signature)
        self._said[slot] = signed
        self._recent.add(slot)
        self._book.add(signed)
        self._draft.promises.append(Said(signed))
        self._draft.messages.append(Outgoing(signed))

    def _ask(self, key: object, ask: Ask) -> None:
        if key not in self._done:
            self._done.add(key)
            self._draft.asks.append(ask)

    def _report(self, evidence: Iterable[Evidence]) -> None:
        for item in evidence:
            kind, _, _, signer, statement = offence(item)
            if (kind, signer, statement) not in self._reported:
                self._reported.add((kind, signer, statement))
                self._draft.evidence.append(item)

    def _set_timer(self) -> None:
        """Keep the one timer as the state wants it; idle and waiting validators have none.

        Round 0 is timed once there is work to do or a proposal accepted, others once entered. Who
        has asked for a higher round waits for a quorum, however long: rounds do not run away.
        """
        wanted: tuple[int, Hash | None] | None = None
        if self._me is not None and self.decision is None and self.wish == self.round:
            busy = self.round > 0 or self.accepted is not None or (self._work and self._ready)
            wanted = (self.round, self.accepted) if busy else None
        if wanted == self._timer:
            return
        self._timer = wanted
        if wanted is None:
            self._draft.timer = CancelTimer()
        else:
            self._draft.timer = SetTimer(self.round, timeout_ms(self.round, self._base_timeout_ms))

    def _forget(self) -> None:
        """Let go of blocks, verdicts and own messages that no rule can ask for any more."""
        wanted = self._book.block_ids()
        for certificate in (self.prepared, self._certificate):
            if certificate is not None:
                wanted.add(certificate.block_id)
        self._outlines = {key: value for key, value in self._outlines.items() if key in wanted}
        self._valid = {key for key in self._valid if key in wanted}
        self._untimely = {key for key in self._untimely if key in wanted}
        lock = self.round if self.prepared is None else self.prepared.round
        oldest = self.round - PAST_ROUNDS
        self._said = {
            slot: message
            for slot, message in self._said.items()
            if slot[1] >= oldest or slot[1] == lock
        }


class _Draft:
    """An `Output` in the making."""

    __slots__ = ("asks", "decided", "evidence", "messages", "promises", "refusal", "timer")

    def __init__(self) -> None:
        self.promises: list[Promise] = []
        self.decided: Decision | None = None
        self.messages: list[Outgoing] = []
        self.timer: SetTimer | CancelTimer | None = None
        self.asks: list[Ask] = []
        self.evidence: list[Evidence] = []
        self.refusal: ConsensusError | None = None

    def output(self) -> Output:
        if not (self.promises or self.messages or self.asks or self.evidence) and not (
            self.decided or self.timer or self.refusal
        ):
            return NOTHING
        return Output(
            tuple(self.promises),
            self.decided,
            tuple(self.messages),
            self.timer,
            tuple(self.asks),
            tuple(self.evidence),
            self.refusal,
        )


def _justification(changes: tuple[RoundChange, ...]) -> Justification:
    top = highest(changes)
    return Justification(
        tuple(change.bare() for change in sorted(changes, key=lambda change: change.signer)),
        None if top is None else top.certificate,
    )
