"""How a claim of the shop stands, in one word, and what to do where there is something to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.errors import Refusal
from node.client.doubts import doubts
from node.client.queue import is_due, leaves_at, waiting
from node.client.records import (
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    QueuedRecord,
    find,
)
from node.client.refusals import told
from node.client.vault import Vault


class State(StrEnum):
    """Where a claim is between the shop's software and the chain."""

    QUEUED = "queued"  # its window is open
    WAITING = "waiting"  # for the moment of its window
    DUE = "due"  # leaves with the next flush
    SENDING = "sending"  # its marks are being locked; goes on by itself
    RETRY = "retry"  # something failed, and it is tried again
    SUBMITTED = "submitted"  # signed and sent, and not known to be in a block
    COMMITTED = "committed"
    REFUSED = "refused"
    TOO_LATE = "too late"
    CANCELLED = "cancelled"
    ENDED = "ended"


_FINAL: Final = {
    Progress.COMMITTED: State.COMMITTED,
    Progress.CANCELLED: State.CANCELLED,
    Progress.ENDED: State.ENDED,
}
_LATE: Final = frozenset((Refusal.TOO_LATE.name, Refusal.AUTHORISATION_IN_WRONG_STATE.name))


@dataclass(frozen=True, slots=True)
class Standing:
    """A claim with its state; `trouble` and `to_do` are empty where all is well."""

    reference: str
    state: State
    claim: ClaimRecord
    at: int | None = None  # when it leaves, or is tried again
    trouble: str = ""
    to_do: str = ""
    doubts: tuple[str, ...] = ()


def standing_of(
    vault: Vault, claim: ClaimRecord, queued: QueuedRecord | None, now: int
) -> Standing:
    """Return how a claim stands at this time, by our own clock."""
    state, at = _state(claim, queued, now)
    trouble = to_do = ""
    match state:
        case State.REFUSED | State.TOO_LATE if claim.refusal is not None:
            error = told(claim.refusal, str(claim.refusal_text))
            trouble, to_do = str(error), error.hint
        case State.TOO_LATE:
            trouble = "its prior agreement has ended by this machine's clock"
            to_do = "ask for another: depoli authorisation request FILE; is the clock right?"
        case State.RETRY if queued is not None:
            trouble, to_do = str(queued.trouble), queued.hint
    kept = find(vault, PrescriptionRecord, claim.prescription_reference)
    found = () if kept is None else tuple(doubts(claim, kept[1].prescription))
    return Standing(claim.reference, state, claim, at, trouble, to_do, found)


def standings(vault: Vault, now: int) -> list[Standing]:
    """Return how all that was queued stands, by reference: in no order that tells of customers."""
    found = [standing_of(vault, claim, queued, now) for queued, claim in waiting(vault)]
    return sorted(found, key=lambda each: each.reference)


def standings_of(vault: Vault, claims: Iterable[ClaimRecord], now: int) -> list[Standing]:
    """Return how these claims stand, in the same order."""
    result = []
    for claim in claims:
        queued = find(vault, QueuedRecord, claim.reference)
        result.append(standing_of(vault, claim, None if queued is None else queued[1], now))
    return result


def _state(claim: ClaimRecord, queued: QueuedRecord | None, now: int) -> tuple[State, int | None]:
    if claim.progress in _FINAL:
        return _FINAL[claim.progress], None
    is_over = claim.until is not None and claim.until < now
    if claim.progress is Progress.REFUSED:
        is_late = (queued is not None and queued.is_late) or (is_over and claim.refusal in _LATE)
        return State.TOO_LATE if is_late else State.REFUSED, None
    if queued is not None and queued.trouble is not None and queued.ended is None:
        return State.RETRY, leaves_at(queued)
    if claim.progress is Progress.SUBMITTED:
        return State.SUBMITTED, None
    if claim.lock_transaction is not None:
        return State.SENDING, None
    if is_over:
        return State.TOO_LATE, None
    if queued is None or queued.ended is not None or is_due(queued, now):
        return State.DUE, None
    return State.QUEUED if now < queued.window else State.WAITING, leaves_at(queued)
