"""What each kind of change does once it is voted, and what makes it pointless."""

from typing import Final

from contracts import ballot, eras, parameters, reference, registry, versions
from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    NewKey,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    Seating,
    SetParameters,
    Subject,
    SuspendMember,
)
from contracts.countries import is_in_eea
from contracts.errors import KeyInUse, Refusal, Refused
from contracts.registry import Status
from contracts.state import Overlay, Reader
from ledger.errors import BadKey
from ledger.keys import Algorithm, Role
from ledger.validators import MemberId

# Where a member must stand for its standing to become another.
_FROM: Final = {
    SuspendMember: (Status.ADMITTED,),
    ReinstateMember: (Status.SUSPENDED,),
    RemoveMember: (Status.ADMITTED, Status.SUSPENDED),
    RekeyMember: (Status.ADMITTED, Status.SUSPENDED),
    # Who runs a validator by then is judged when the change is made, which a call does.
    JoinValidators: (Status.ADMITTED,),
    LeaveValidators: (Status.ADMITTED, Status.SUSPENDED),
    ReplaceValidator: (Status.ADMITTED,),
}


def require_sensible(state: Reader, subject: Subject, height: int) -> None:
    """Raise `Refused` where a change at `height` could do nothing, or must not be."""
    match subject:
        case AdmitMember(country=country, key=key, sealing=sealing):
            if not is_in_eea(country):
                raise Refused(Refusal.COUNTRY_NOT_IN_EEA)
            if registry.member(state, registry.member_id(key.public)) is not None:
                raise Refused(Refusal.ALREADY_MEMBER)
            _require_new(state, 0, Role.TRANSACTION, key)
            if sealing == key.public:  # its own first key takes it
                raise Refused(Refusal.KEY_TAKEN, 1)
            if sealing is not None:
                _require_new(state, 1, Role.SEALING, NewKey(Algorithm.ED25519, sealing))
        case ReplaceTable(kind=kind, hash=hash_):
            if reference.in_force(state, kind) == hash_:
                raise Refused(Refusal.NOTHING_WOULD_CHANGE)
        case SetParameters(parameters=wanted):
            if parameters.load(state) == wanted:
                raise Refused(Refusal.NOTHING_WOULD_CHANGE)
        case ScheduleVersion(version=version):
            known = versions.agenda(state)
            if not versions.may_schedule(state, version):
                raise Refused(Refusal.VERSION_CANNOT_FOLLOW, known.in_force)
            if version == known.in_force and known.scheduled is None:
                raise Refused(Refusal.NOTHING_WOULD_CHANGE)
        case _:
            found = registry.member(state, subject.member)
            if found is None:
                raise Refused(Refusal.MEMBER_UNKNOWN)
            if found.status not in _FROM[type(subject)]:
                raise Refused(Refusal.MEMBER_STANDS_OTHERWISE, found.status)
            if isinstance(subject, RemoveMember) and _validates(state, subject.member, height):
                raise Refused(Refusal.MEMBER_VALIDATES)
            if isinstance(subject, SuspendMember) and _is_needed(state, subject.member):
                raise Refused(Refusal.NOBODY_COULD_DECIDE)
            if isinstance(subject, RekeyMember):
                _require_new(state, 0, Role.TRANSACTION, subject.key)


def carry_out(state: Overlay, subject: Subject, height: int) -> bool:
    """Make a change that is in force from `height` on; return whether there was anything to do."""
    assert not isinstance(subject, Seating)  # no agenda holds one: calls of their own make them
    try:
        require_sensible(state, subject, height)
    except Refused:
        return False
    match subject:
        case AdmitMember(family, country, key, sealing):
            member = registry.member_id(key.public)
            registry.admit(state, member, family, country, height)
            registry.register(state, member, Role.TRANSACTION, key.algorithm, key.public, height)
            if sealing is not None:
                registry.register(state, member, Role.SEALING, Algorithm.ED25519, sealing, height)
        case SuspendMember(member):
            registry.suspend(state, member, height)
        case ReinstateMember(member):
            registry.reinstate(state, member, height)
        case RemoveMember(member):
            registry.remove(state, member, height)
        case RekeyMember(member, key):
            registry.rekey(state, MemberId(member), key.algorithm, key.public, height)
        case ReplaceTable(kind, hash_):
            reference.put_in_force(state, kind, hash_, height)
        case SetParameters(wanted):
            parameters.save(state, wanted)
        case _:
            versions.schedule(state, subject.version, height)
    return True


def _require_new(state: Reader, index: int, role: Role, key: NewKey) -> None:
    try:
        registry.require_new(state, role, key.algorithm, key.public)
    except BadKey:
        raise Refused(Refusal.KEY_UNUSABLE, index) from None
    except KeyInUse:
        raise Refused(Refusal.KEY_TAKEN, index) from None


def _is_needed(state: Reader, member: bytes) -> bool:
    """Return whether those who run validators could decide nothing more without a member."""
    voters = [voter.member for voter in eras.latest(state).validators.members]
    return member in voters and not ballot.could_decide(state, voters, without=member)


def _validates(state: Reader, member: bytes, height: int) -> bool:
    sets = (eras.validators_at(state, height), eras.latest(state).validators)
    return any(member == validator.member for voters in sets for validator in voters.members)
