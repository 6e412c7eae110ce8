"""The model of what members vote on, of which rules are in force, and of who runs validators."""

from dataclasses import dataclass, field

from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    Propose,
    ReadySignal,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    SetParameters,
    Subject,
    SuspendMember,
    Vote,
    Withdraw,
)
from contracts.errors import Refusal
from contracts.governance import State
from contracts.registry import Status
from ledger.hashing import Domain, hash_of
from ledger.keys import Algorithm, Role
from ledger.validators import quorum
from tests.contracts.machine.book import Held, Member, Now, Verdict, Why, everyone
from tests.contracts.machine.members import DAY, Members, is_usable

BY_QUORUM = (
    RemoveMember,
    RekeyMember,
    ReplaceTable,
    SetParameters,
    ScheduleVersion,
    JoinValidators,
    LeaveValidators,
    ReplaceValidator,
)
BY_CALL = (JoinValidators, LeaveValidators, ReplaceValidator)  # who may, once it was voted
STANDS = {
    SuspendMember: (Status.ADMITTED,),
    ReinstateMember: (Status.SUSPENDED,),
    RemoveMember: (Status.ADMITTED, Status.SUSPENDED),
    RekeyMember: (Status.ADMITTED, Status.SUSPENDED),
    JoinValidators: (Status.ADMITTED,),
    LeaveValidators: (Status.ADMITTED, Status.SUSPENDED),
    ReplaceValidator: (Status.ADMITTED,),
}
EEA = (  # and Switzerland is none
    b"AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK"
).split()


@dataclass
class Proposed:
    """A proposal and the votes on it."""

    number: int
    by: bytes
    subject: Subject
    deadline: int
    effect: int
    state: State = State.OPEN
    votes: dict[bytes, bool] = field(default_factory=dict)


@dataclass
class Council(Members):
    """Proposals and versions."""

    proposals: dict[bytes, Proposed] = field(default_factory=dict)
    tables: dict[int, bytes] = field(default_factory=dict)
    version: int = 1
    # (version, height from which it may be announced, height at which it is in force)
    scheduled: tuple[int, int, int | None] | None = None
    ready: dict[bytes, int] = field(default_factory=dict)

    # --- blocks ---------------------------------------------------------------------------------

    def begin(self, height: int, time: int) -> None:
        super().begin(height, time)
        if self.scheduled is None:
            return
        version, not_before, at = self.scheduled
        if at is None:
            ready = sum(self.ready.get(each.member, 0) >= version for each in self.coming)
            if height >= not_before and ready >= quorum(len(self.coming)):
                self.scheduled = version, not_before, height + 2
        elif height >= at:
            self.version, self.scheduled = version, None

    def end(self) -> None:
        super().end()
        due = [
            each
            for each in self.proposals.values()
            if each.state is State.PASSED
            and each.effect == self.height + 1
            and not isinstance(each.subject, BY_CALL)
        ]
        for each in sorted(due, key=lambda proposed: proposed.number):
            if self.why_senseless(each.subject, self.height + 1):
                each.state = State.MOOT
            else:
                each.state = State.ENACTED
                self.enact(each.subject, self.height + 1)

    def version_at(self, height: int) -> int:
        """Return which rules are in force in the block at `height`, which has begun."""
        coming = self.scheduled
        return coming[0] if coming and coming[2] and height >= coming[2] else self.version

    def why_senseless(self, subject: Subject, height: int) -> Why:
        """Return why a change could do nothing, or must not be."""
        why: Why = {}
        match subject:
            case AdmitMember(country=country, key=key, sealing=sealing):
                if country not in EEA:
                    why[Refusal.COUNTRY_NOT_IN_EEA] = ()
                if hash_of(Domain.MEMBER, key.public)[:16] in self.members:
                    why[Refusal.ALREADY_MEMBER] = ()
                why |= self._why_no_key(0, Role.TRANSACTION, key.algorithm, key.public)
                if sealing is not None:
                    found = self._why_no_key(1, Role.SEALING, Algorithm.ED25519, sealing)
                    why = found | why
                if sealing == key.public:  # both would be new, and the second taken by the first
                    why.setdefault(Refusal.KEY_TAKEN, (1,))
            case ReplaceTable(kind=kind, hash=hash_):
                if self.tables.get(kind) == hash_:
                    why[Refusal.NOTHING_WOULD_CHANGE] = ()
            case SetParameters(parameters=wanted):
                if self.parameters == wanted:
                    why[Refusal.NOTHING_WOULD_CHANGE] = ()
            case ScheduleVersion(version=version):
                is_announced = self.scheduled is not None and self.scheduled[2] is not None
                if version < self.version or is_announced:
                    why[Refusal.VERSION_CANNOT_FOLLOW] = (self.version,)
                if version == self.version and self.scheduled is None:
                    why[Refusal.NOTHING_WOULD_CHANGE] = ()
            case _:
                why |= self._why_no_member(subject, height)
        return why

    def _why_no_member(
        self,
        subject: SuspendMember
        | ReinstateMember
        | RemoveMember
        | RekeyMember
        | JoinValidators
        | LeaveValidators
        | ReplaceValidator,
        height: int,
    ) -> Why:
        member = self.members.get(subject.member)
        if member is None:
            return {Refusal.MEMBER_UNKNOWN: ()}
        why: Why = {}
        if member.status not in STANDS[type(subject)]:
            why[Refusal.MEMBER_STANDS_OTHERWISE] = (member.status,)
        if isinstance(subject, RemoveMember):
            both = (*self.validators(height), *self.coming)
            if any(each.member == member.id for each in both):
                why[Refusal.MEMBER_VALIDATES] = ()
        if isinstance(subject, SuspendMember):
            seats = [each.member for each in self.coming]
            others = [each for each in seats if each != member.id]
            if member.id in seats and not self.is_enough(others, len(seats)):
                why[Refusal.NOBODY_COULD_DECIDE] = ()
        if isinstance(subject, RekeyMember):
            key = subject.key
            why |= self._why_no_key(0, Role.TRANSACTION, key.algorithm, key.public)
        return why

    def is_enough(self, voters: list[bytes], n: int) -> bool:
        """Return whether those of these who are admitted could reinstate one of `n` in all."""
        able = [each for each in voters if self.admitted(each) is not None]
        return len(able) > n / 2 and (n < 4 or len(set(self.families(able))) >= 2)

    def _why_no_key(self, index: int, role: Role, algorithm: Algorithm, public: bytes) -> Why:
        if not is_usable(role, algorithm, public):
            return {Refusal.KEY_UNUSABLE: (index,)}
        return {Refusal.KEY_TAKEN: (index,)} if self.is_used(public) else {}

    def enact(self, subject: Subject, height: int) -> None:
        match subject:
            case AdmitMember(family=family, key=key, sealing=sealing):
                new = Member(hash_of(Domain.MEMBER, key.public)[:16], family)
                new.keys.append(Held(Role.TRANSACTION, key.public, height))
                if sealing is not None:
                    new.keys.append(Held(Role.SEALING, sealing, height))
                self.members[new.id] = new
            case SuspendMember(member):
                self.members[member].status = Status.SUSPENDED
            case ReinstateMember(member):
                self.members[member].status = Status.ADMITTED
            case RemoveMember(member):
                self.members[member].status = Status.REMOVED
                for held in self.members[member].keys:
                    held.stop(height)
            case RekeyMember(member, key):
                for held in self.members[member].keys:
                    if held.signs:
                        held.stop(height)
                self.members[member].keys.append(Held(Role.TRANSACTION, key.public, height))
            case ReplaceTable(kind, hash_):
                self.tables[kind] = hash_
            case SetParameters(wanted):
                self.parameters = wanted
            case ScheduleVersion(version):
                self.scheduled = None if version == self.version else (version, height, None)
            case _:
                raise AssertionError("a call makes this change")

    # --- proposals ------------------------------------------------------------------------------

    def propose(self, now: Now, call: Propose) -> Verdict:
        why = self.why_senseless(call.subject, now.height)
        if now.sender not in self.voters(now.height):
            why[Refusal.NOT_GOVERNING] = ()
        if not now.time <= call.deadline <= now.time + 90 * DAY:
            why[Refusal.DEADLINE_OUT_OF_BOUNDS] = (now.time,)
        why |= self._why_too_near(now, call.effect)
        if call.effect > now.height + (1 << 24):
            why[Refusal.EFFECT_TOO_FAR] = (now.height + (1 << 24),)
        open_ = [each for each in self.proposals.values() if self._is_open(now, each)]
        own = [each for each in open_ if each.by == now.sender]
        share = min(8, 128 // len(self.voters(now.height)))
        if len(open_) >= 128:
            why[Refusal.TOO_MANY_OPEN] = (128,)
        elif len(own) >= share:
            why[Refusal.TOO_MANY_OPEN] = (share,)
        same = [each.number for each in own if each.subject == call.subject]
        if same:
            why[Refusal.ALREADY_PROPOSED] = (same[0],)
        new = Proposed(len(self.proposals), now.sender, call.subject, call.deadline, call.effect)

        def then() -> None:
            self.proposals[now.made] = new

        return Verdict(why, then, everyone())

    def _why_too_near(self, now: Now, effect: int) -> Why:
        earliest = now.height + self.parameters.notice_blocks
        return {Refusal.EFFECT_TOO_NEAR: (earliest,)} if effect < earliest else {}

    def _is_open(self, now: Now, proposed: Proposed) -> bool:
        is_over = proposed.deadline < now.time or self._why_too_near(now, proposed.effect)
        return proposed.state is State.OPEN and not is_over

    def outcome(self, height: int, proposed: Proposed, votes: dict[bytes, bool]) -> State:
        """Return what these votes come to among those who run validators."""
        voters = self.voters(height)
        needed = quorum(len(voters)) if isinstance(proposed.subject, BY_QUORUM) else None
        needed = needed or len(voters) // 2 + 1
        said = {each: votes.get(each) for each in voters if self.admitted(each) is not None}
        yes = [each for each, agrees in said.items() if agrees]
        still = [each for each in voters if said.get(each) is not False]
        for group, state in ((yes, State.PASSED), (still, State.OPEN)):
            is_shared = len(voters) < 4 or len(set(self.families(group))) >= 2
            if len(group) >= needed and is_shared:
                return state
        return State.FAILED

    def vote(self, now: Now, call: Vote) -> Verdict:
        proposed = self.proposals.get(call.proposal)
        if proposed is None:
            return Verdict({Refusal.PROPOSAL_UNKNOWN: ()}, lambda: None)
        why = self._why_too_near(now, proposed.effect)
        after = self.outcome(now.height, proposed, {**proposed.votes, now.sender: call.agrees})
        if proposed.state is not State.OPEN:
            why[Refusal.PROPOSAL_IN_WRONG_STATE] = (proposed.state,)
        if now.time > proposed.deadline:
            why[Refusal.TOO_LATE] = (proposed.deadline,)
        if now.sender not in self.voters(now.height):
            why[Refusal.NOT_GOVERNING] = ()
        if now.sender in proposed.votes:
            why[Refusal.ALREADY_VOTED] = None
        due = [
            each
            for each in self.proposals.values()
            if each.state is State.PASSED and not isinstance(each.subject, BY_CALL)
        ]
        is_full = sum(each.effect == proposed.effect for each in due) >= 16
        if after is State.PASSED and is_full and not isinstance(proposed.subject, BY_CALL):
            why[Refusal.AGENDA_FULL] = ()

        def then() -> None:
            proposed.votes[now.sender] = call.agrees
            proposed.state = after

        return Verdict(why, then, everyone())

    def withdraw(self, now: Now, call: Withdraw) -> Verdict:
        proposed = self.proposals.get(call.proposal)
        if proposed is None:
            return Verdict({Refusal.PROPOSAL_UNKNOWN: ()}, lambda: None)
        why: Why = {}
        if proposed.by != now.sender:
            why[Refusal.PROPOSAL_NOT_YOURS] = ()
        if proposed.state is not State.OPEN:
            why[Refusal.PROPOSAL_IN_WRONG_STATE] = (proposed.state,)

        def then() -> None:
            proposed.state = State.WITHDRAWN

        return Verdict(why, then, everyone())

    def ready_signal(self, now: Now, call: ReadySignal) -> Verdict:
        why: Why = {}
        if all(each.member != now.sender for each in self.coming):
            why[Refusal.NO_VALIDATOR] = ()

        def then() -> None:
            self.ready[now.sender] = call.version

        return Verdict(why, then, everyone())
