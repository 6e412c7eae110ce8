"""Which contract judges which call, by version of the rules: every call there is stands here.

A number keeps its meaning for ever: a call whose fields change gets another number, and a version
says which calls it has, how it judges them and what they cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contracts import (
    authorisation,
    certificates,
    claim_life,
    delegation,
    disclosure,
    erasure,
    governance,
    keyring,
    marks,
    membership,
    prescription,
    settlement,
    versions,
)
from contracts.calls import Call, parse_call
from contracts.context import Concerned, Context
from contracts.errors import MalformedCall, UnknownVersion
from contracts.life import Life, Rule, Rules
from contracts.state import Reader
from ledger.encoding import Struct
from ledger.entry import APPLIED, Entry
from ledger.transaction import created_id
from ledger.validators import MemberId

LIVES: Final[tuple[Life[Any], ...]] = (
    prescription.LIFE,
    authorisation.LIFE,
    claim_life.LIFE,
    settlement.LIFE,
    erasure.LIFE,
    governance.LIFE,
)


@dataclass(frozen=True, slots=True)
class Code:
    """The rules of one version."""

    rules: Rules  # of each call that it has
    # Of calls whose cost is not what their class says.
    costs: Mapping[type[Struct], Callable[[Any], int]] = field(default_factory=dict)

    def apply(self, context: Context, call: Call) -> Concerned:
        """Let a call change the state; return whom else it concerns, or raise `Refused`."""
        return self.rules[type(call)].apply(context, call)

    def cost(self, call: Call, position: int) -> int:
        """Return what a call costs a block; raise `MalformedCall` where this version has it not."""
        kind = type(call)
        if kind not in self.rules:
            raise MalformedCall(position, f"{kind.__name__} is no call of this version")
        own = self.costs.get(kind)
        return call.cost if own is None else own(call)


# Version -> its rules; this is all that a release adds to know one more.
CODES: Final[dict[int, Code]] = {
    1: Code(
        {
            **prescription.LIFE.rules,
            **marks.RULES,
            # A call that moves things of two lives is judged by the one that stands below.
            **authorisation.LIFE.rules,
            **claim_life.LIFE.rules,
            **settlement.LIFE.rules,
            **disclosure.RULES,
            **erasure.LIFE.rules,
            **membership.RULES,
            **keyring.RULES,
            **delegation.RULES,
            **certificates.RULES,
            **versions.RULES,
            **governance.RULES,
        }
    ),
}


def known() -> tuple[int, ...]:
    """Return the versions that this software knows, ascending."""
    return tuple(sorted(CODES))


def code(version: int, height: int) -> Code:
    """Return the rules in force at `height`; raise `UnknownVersion`."""
    found = CODES.get(version)
    if found is None:
        raise UnknownVersion(version, height, known())
    return found


def require_known(state: Reader, height: int) -> None:
    """Raise `UnknownVersion` unless this software knows the rules of `height`, the next one."""
    code(versions.at(state, height), height)


def concerned(state: Reader, entry: Entry) -> tuple[MemberId, ...]:
    """Return whom an entry concerns: its sender first and, where it was applied, the others."""
    sender = MemberId(entry.sender)
    if entry.outcome.code != APPLIED:
        return (sender,)
    call: Any = parse_call(entry.call)
    made = created_id(entry.transaction, entry.position)
    others = rule_of(type(call)).concerned(state, call, made)
    return (sender, *(each for each in others if each != sender))


def rule_of(call: type[Struct]) -> Rule:
    """Return how calls of this type are judged by the newest version that has them."""
    return next(CODES[each].rules[call] for each in reversed(known()) if call in CODES[each].rules)
