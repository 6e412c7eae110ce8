"""What a chain should hold, in plain Python: written from what is wanted, apart from the rules.

A part of the model judges a call by a method that is named as the call: it returns every reason not
to make it, whom it concerns, and what is otherwise so after it. Which of several reasons is told is
no business of the model's; that it is one of them, is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from contracts.errors import Refusal
from contracts.parameters import Parameters
from contracts.registry import Family, Status
from ledger.keys import Algorithm, Role, key_id
from ledger.validators import EVERYONE, Validator, quorum

# Why a call must be refused -> what the entry must tell with it, None where that is not modelled.
Why: TypeAlias = dict[Refusal, tuple[int, ...] | None]


@dataclass(frozen=True)
class Now:
    """A call's surroundings."""

    height: int
    time: int
    sender: bytes
    key: bytes  # id of the key that signed
    is_human: bool
    made: bytes  # id of what the call makes, if it makes something


@dataclass(frozen=True)
class Verdict:
    """What must become of a call."""

    why: Why  # empty: it is made
    then: Callable[[], None]  # lets the model be as it is after the call
    also: frozenset[bytes] = frozenset()  # whom it concerns besides its sender


@dataclass
class Held:
    """A key of a member."""

    role: Role
    public: bytes
    first: int  # height
    end: int | None = None  # height at which it is good no more

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm.P256 if len(self.public) == 33 else Algorithm.ED25519

    @property
    def id(self) -> bytes:
        return key_id(self.role, self.algorithm, self.public)

    @property
    def signs(self) -> bool:
        return self.role in (Role.TRANSACTION, Role.HUMAN)

    def has_ended(self, height: int) -> bool:
        return self.end is not None and height >= self.end

    def is_good(self, height: int) -> bool:
        return self.first <= height and not self.has_ended(height)

    def stop(self, height: int) -> None:
        if self.end is None or self.end > height:
            self.end = height


@dataclass
class Member:
    """A member and all its keys."""

    id: bytes
    family: Family
    status: Status = Status.ADMITTED
    keys: list[Held] = field(default_factory=list)

    def key(self, id_: bytes) -> Held | None:
        return next((each for each in self.keys if each.id == id_), None)


@dataclass
class Book:
    """What every part of the model needs of the others."""

    chain_id: bytes
    parameters: Parameters
    members: dict[bytes, Member] = field(default_factory=dict)
    # (first height, who votes from there on), the last of which may be to come
    eras: list[tuple[int, tuple[Validator, ...]]] = field(default_factory=list)
    term: int = 0
    height: int = 0  # of the last block
    time: int = 0
    seen: dict[bytes, int] = field(default_factory=dict)  # transaction -> its last second

    def admitted(self, id_: bytes) -> Member | None:
        found = self.members.get(id_)
        return found if found is not None and found.status is Status.ADMITTED else None

    def owner(self, key: bytes) -> Member | None:
        return next((each for each in self.members.values() if each.key(key)), None)

    def is_used(self, public: bytes) -> bool:
        return any(key.public == public for each in self.members.values() for key in each.keys)

    def validators(self, height: int) -> tuple[Validator, ...]:
        return next(voters for first, voters in reversed(self.eras) if first <= height)

    @property
    def coming(self) -> tuple[Validator, ...]:
        """Who votes as far ahead as is known."""
        return self.eras[-1][1]

    def voters(self, height: int) -> list[bytes]:
        return [validator.member for validator in self.validators(height)]

    def families(self, members: list[bytes]) -> list[Family]:
        return [self.members[each].family for each in members]

    def is_shared(self, voters: tuple[Validator, ...]) -> bool:
        """Whether no family decides alone: below four there are too few to share."""
        families = self.families([each.member for each in voters])
        n = len(families)
        return n < 4 or all(families.count(each) < quorum(n) for each in families)

    def begin(self, height: int, time: int) -> None:
        """Note that a block begins."""
        self.height, self.time = height, time

    def end(self) -> None:
        """Note that a block is over: what is due is carried out."""

    def check(self) -> None:
        """Fail where what may never be is so in the model itself."""
        for (first, _), (second, _) in pairwise(self.eras):
            assert first < second
        for _, voters in self.eras:
            assert self.is_shared(voters)
        assert len(self.coming) >= 4  # there were four in the beginning


def everyone() -> frozenset[bytes]:
    return frozenset((EVERYONE,))


def wrong_state(refusal: Refusal, state: int) -> Why:
    return {refusal: (int(state),)}


def in_time(time: int, *, opens: int | None = None, closes: int | None = None) -> Why:
    """Return why it is too early or too late, if it is."""
    if opens is not None and time < opens:
        return {Refusal.TOO_EARLY: (opens,)}
    if closes is not None and time > closes:
        return {Refusal.TOO_LATE: (closes,)}
    return {}
