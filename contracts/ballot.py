"""Who may vote, how many it takes, and how a vote stands."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

import msgspec

from contracts import eras, registry
from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    SetParameters,
    SuspendMember,
)
from contracts.registry import FAMILY_RULE_FROM, Family
from contracts.state import Overlay, Reader
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.validators import MemberId, quorum

_BALLOT: Final = b"z"  # + proposal + member -> Ballot
MAX_BALLOTS: Final = 1 << 16  # of one proposal that are looked at: far more than members there are
FAMILIES: Final = 2  # that must agree, where the rule on families holds


class Threshold(Enum):
    """How many of the electors must agree."""

    MAJORITY = "more than half"
    QUORUM = "a quorum"

    def of(self, electors: int) -> int:
        """Return how many of so many."""
        return quorum(electors) if self is Threshold.QUORUM else electors // 2 + 1


THRESHOLDS: Final[Mapping[type[Struct], Threshold]] = {
    AdmitMember: Threshold.MAJORITY,
    SuspendMember: Threshold.MAJORITY,
    ReinstateMember: Threshold.MAJORITY,
    RemoveMember: Threshold.QUORUM,
    RekeyMember: Threshold.QUORUM,
    JoinValidators: Threshold.QUORUM,
    LeaveValidators: Threshold.QUORUM,
    ReplaceValidator: Threshold.QUORUM,
    ReplaceTable: Threshold.QUORUM,
    SetParameters: Threshold.QUORUM,
    ScheduleVersion: Threshold.QUORUM,
}


class Ballot(Struct):
    """What one member voted, and in which block."""

    agrees: bool
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]


@dataclass(frozen=True, slots=True)
class Tally:
    """How a vote stands."""

    electors: int  # members that run validators now
    needed: int  # that agree
    yes: frozenset[Family]  # of those who agree
    agree: int
    open: frozenset[Family]  # of those who have not declined
    declined: int

    @property
    def passes(self) -> bool:
        """Whether enough agree."""
        return self.agree >= self.needed and self._are_shared(self.yes)

    @property
    def is_lost(self) -> bool:
        """Whether these electors can no longer let it pass."""
        left = self.electors - self.declined
        return left < self.needed or not self._are_shared(self.open)

    def _are_shared(self, families: frozenset[Family]) -> bool:
        return _are_shared(self.electors, families)


def electors(state: Reader, height: int) -> tuple[MemberId, ...]:
    """Return the members that run validators at a height; each has one vote."""
    members = eras.validators_at(state, height).members
    return tuple(MemberId(validator.member) for validator in members)


def could_decide(state: Reader, voters: Collection[bytes], without: bytes | None = None) -> bool:
    """Return whether those of these electors who are admitted could let a vote pass by themselves.

    Where they could not, nobody could reinstate the others, nor change anything ever after.
    """
    found = (registry.admitted(state, voter) for voter in voters if voter != without)
    families = [member.family for member in found if member is not None]
    needed = Threshold.MAJORITY.of(len(voters))
    return len(families) >= needed and _are_shared(len(voters), frozenset(families))


def ballot(state: Reader, proposal: bytes, member: bytes) -> Ballot | None:
    """Return what a member voted, None where it has not."""
    found = state.get(_BALLOT + proposal + member)
    return None if found is None else decode(found, Ballot)


def ballots(state: Reader, proposal: bytes) -> dict[MemberId, Ballot]:
    """Return what everybody voted on a proposal, by ascending member."""
    prefix = _BALLOT + proposal
    found = state.scan(prefix, MAX_BALLOTS)
    return {MemberId(key[len(prefix) :]): decode(value, Ballot) for key, value in found}


def cast(state: Overlay, proposal: bytes, member: bytes, ballot: Ballot) -> None:
    """Write what a member votes."""
    state.put(_BALLOT + proposal + member, encode(ballot))


def tally(
    state: Reader,
    height: int,
    proposal: bytes,
    threshold: Threshold,
    also: Mapping[MemberId, bool] | None = None,
) -> Tally:
    """Return how a vote stands among the electors of a height, were these votes cast `also`.

    A member that is suspended has no say, and still counts among those of whom so many must agree:
    or suspending some would make the others more.
    """
    voters = electors(state, height)
    yes, open_, agree, declined = set(), set(), 0, 0
    for voter in voters:
        member = registry.member(state, voter)
        assert member is not None  # whoever runs a validator is a member
        cast_ = ballot(state, proposal, voter)
        says = (also or {}).get(voter) if cast_ is None else cast_.agrees
        if member.status is not registry.Status.ADMITTED:
            says = None
        if says is False:
            declined += 1
            continue
        open_.add(member.family)
        if says:
            agree += 1
            yes.add(member.family)
    needed = threshold.of(len(voters))
    return Tally(len(voters), needed, frozenset(yes), agree, frozenset(open_), declined)


def _are_shared(electors: int, families: frozenset[Family]) -> bool:
    """Return whether so many families may decide: with few validators one may."""
    return electors < FAMILY_RULE_FROM or len(families) >= FAMILIES
