"""Prescriptions: that a member holds one, by the hash of its signed document."""

from typing import Final

from contracts.calls import PrescriptionCommit
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.registry import Family
from contracts.state import Reader

# Under the member, so that nobody can burn a commitment that he sees on its way.
_PRESCRIPTION: Final = b"p"  # + member + commitment -> height u64
_HOLDERS: Final = frozenset((Family.OPTICIAN, Family.PRESCRIBER))


def commit(context: Context, call: PrescriptionCommit) -> Concerned:
    """Record that the sender holds this prescription, or raise `Refused`."""
    if context.family not in _HOLDERS:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)
    since = committed_at(context.state, context.sender, call.commitment)
    if since is not None:
        raise Refused(Refusal.PRESCRIPTION_ALREADY_COMMITTED, since)
    key = _PRESCRIPTION + context.sender + call.commitment
    context.state.put(key, context.height.to_bytes(8))
    return NOBODY_ELSE


def committed_at(state: Reader, member: bytes, commitment: bytes) -> int | None:
    """Return the height at which `member` committed this prescription, None if it did not."""
    found = state.get(_PRESCRIPTION + member + commitment)
    return None if found is None else int.from_bytes(found)


def _concerned(_state: Reader, _call: PrescriptionCommit, _made: bytes) -> Concerned:
    return NOBODY_ELSE


RULES: Final[Rules] = {PrescriptionCommit: Rule(commit, _concerned)}
