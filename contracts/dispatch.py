"""Which contract judges which call: every call that there is stands here once."""

from typing import Any, Final

from contracts import claim, marks, membership, prescription, settlement
from contracts.calls import Call, parse_call
from contracts.context import Concerned, Context
from contracts.life import Rule, Rules
from contracts.state import Reader
from ledger.encoding import Struct
from ledger.entry import APPLIED, Entry
from ledger.transaction import created_id
from ledger.validators import MemberId

LIVES: Final = (claim.LIFE, settlement.LIFE)
_RULES: Final[Rules] = {
    **prescription.RULES,
    **marks.RULES,
    **claim.LIFE.rules,
    **settlement.LIFE.rules,
    **membership.RULES,
}


def apply(context: Context, call: Call) -> Concerned:
    """Let a call change the state; return whom else it concerns, or raise `Refused`."""
    return rule_of(type(call)).apply(context, call)


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
    """Return how calls of this type are judged."""
    return _RULES[call]
