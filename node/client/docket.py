"""A payer's queue: disclosed claims of which something is still to be done, step by step.

Each function changes the vault in one transaction, or not at all. Two programs may work on one
queue: who changes a record reads it inside the same transaction, and leaves what is not as it was.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from contracts.calls import Call, ClaimAccept, ClaimReject, Reason
from contracts.claim import State
from contracts.errors import Refusal
from ledger.encoding import encode
from ledger.transaction import MAX_CALLS
from node.client import past
from node.client.client import CallOutcome
from node.client.decisions import own_opening
from node.client.errors import ClientError
from node.client.inbox import UNDECIDED
from node.client.judging import ACCEPT, PART, REFUSE
from node.client.letters import Letter
from node.client.records import (
    ReceivedRecord,
    ReviewRecord,
    Standing,
    every,
    find,
    update,
)
from node.client.refusals import explain
from node.client.transactions import Decided, Lapsed, Sender, sign_and_keep
from node.client.vault import Vault

_NEVER_IN_PART: Final = frozenset(
    (
        State.SUBMITTED,
        State.ACCEPTED,
        State.REJECTED,
        State.CANCELLED,
        State.ABANDONED,
        State.LAPSED,
    )
)


def pending(vault: Vault) -> list[ReviewRecord]:
    """Return all of the queue, oldest first."""
    return [record for _, record in every(vault, ReviewRecord)]


class Unread:
    """What came, by post or by hand, and was not weighed yet, as letters: they are in the vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._waiting: deque[ReviewRecord] = deque()  # as they stood at the last look

    def letters(self, most: int) -> list[Letter]:
        """Return the next ones, oldest first."""
        found: list[Letter] = []
        while self._waiting and len(found) < most:
            waiting = self._waiting.popleft()
            name = waiting.claim.hex()
            received = find(self._vault, ReceivedRecord, name)
            if received is not None:  # it was not erased
                found.append(Letter(name, received[1].disclosure, document=waiting.document))
        return found

    def look_again(self) -> None:
        """See what is there now."""
        self._waiting = deque(
            each for each in pending(self._vault) if each.standing is Standing.NEW
        )

    def later(self, letter: Letter) -> None:
        """Leave it for the next look."""

    def taken(self, letter: Letter) -> None:
        """Do nothing: what was weighed is not new any more."""

    def refused(self, letter: Letter, fact: str, reason: str) -> None:
        """Let it wait no more: it was verified once, and does not hold now."""
        del fact, reason
        with self._vault.changes():
            found = find(self._vault, ReviewRecord, letter.name)
            if found is not None and found[1].standing is Standing.NEW:
                self._vault.erase(found[0])


def choose(
    vault: Vault, claim: bytes, action: str, *, cents: int | None, reason: Reason | None
) -> ReviewRecord | None:
    """Write what a person decided of a claim; None where it does not wait for one."""
    with vault.changes():
        found = find(vault, ReviewRecord, claim.hex())
        if found is None or found[1].standing not in {Standing.NEW, Standing.REVIEW}:
            return None
        number, record = found
        record.action, record.part_cents = action, cents
        record.reason = None if reason is None else int(reason)
        record.is_automatic, record.standing = False, Standing.CHOSEN
        update(vault, number, record)
    return record


def sign(vault: Vault, sender: Sender, claims: Iterable[bytes]) -> list[bytes]:
    """Sign what was chosen of these claims, as many as fit under one signature; return the ids."""
    ids: list[bytes] = []
    with vault.changes():
        todo = [
            found
            for claim in claims
            if (found := find(vault, ReviewRecord, claim.hex())) is not None
            and found[1].standing is Standing.CHOSEN
        ]
        for start in range(0, len(todo), MAX_CALLS):
            part = todo[start : start + MAX_CALLS]
            signed = [(each, call) for each in part if (call := _call(vault, *each)) is not None]
            if not signed:
                continue
            made = sign_and_keep(vault, sender, [call for _, call in signed])
            ids.append(made.id)
            for position, ((number, record), _) in enumerate(signed):
                record.standing = Standing.SIGNED
                record.transaction, record.position = made.id, position
                update(vault, number, record)
    return ids


def heard(
    vault: Vault,
    result: Decided | Lapsed,
    claims: Iterable[bytes],
    *,
    now: int,
) -> list[tuple[ReviewRecord, str]]:
    """Write what became of a signed transaction; return each claim in it with a word on it.

    The words: done, again (it was too late, and is to be signed anew), closed (it was decided or
    taken back otherwise), or what the chain said, for a person.
    """
    told = []
    with vault.changes():
        for claim in claims:
            found = find(vault, ReviewRecord, claim.hex())
            if found is None or found[1].transaction != result.id:
                continue  # another program heard it
            if found[1].standing is not Standing.SIGNED:
                continue
            told.append((found[1], _heard(vault, *found, result, now=now)))
    return told


def give_back(vault: Vault, claim: bytes, document: bytes | None, finding: str) -> str | None:
    """See to a claim that is no more as it was verified, before it is signed.

    `document` is the one that stands now, None where the claim is not open any more: then it is
    closed, otherwise a person looks. Return the word on it, None where it is as it was.
    """
    with vault.changes():
        found = find(vault, ReviewRecord, claim.hex())
        if found is None or found[1].standing not in UNDECIDED:
            return None
        number, record = found
        if document is None:
            vault.erase(number)
            return "closed"
        if document == record.document:
            return None
        record.standing, record.is_automatic = Standing.REVIEW, False
        record.findings.append(finding)
        update(vault, number, record)
    return finding


def told(vault: Vault, claim: bytes) -> None:
    """Write that the shop was told how much of a claim was accepted."""
    with vault.changes():
        found = find(vault, ReviewRecord, claim.hex())
        if found is not None and found[1].standing is Standing.TELLING:
            found[1].standing = Standing.ACCEPTED
            update(vault, *found)


def settled(vault: Vault, claims: Iterable[bytes], settlement: bytes | None) -> None:
    """Write into which settlement claims were put; None: into none of ours."""
    with vault.changes():
        for claim in claims:
            found = find(vault, ReviewRecord, claim.hex())
            if found is None or found[1].standing is not Standing.ACCEPTED:
                continue
            vault.erase(found[0])
            if settlement is None:
                continue
            received = find(vault, ReceivedRecord, claim.hex())
            if received is not None:
                received[1].settlement = settlement
                update(vault, *received)


def _call(vault: Vault, number: int, record: ReviewRecord) -> Call | None:
    """Return the call that says what was chosen; None where a person must look after all."""
    if record.action == REFUSE:
        assert record.reason is not None  # both are written together
        return ClaimReject(record.claim, Reason(record.reason), record.is_automatic)
    received = find(vault, ReceivedRecord, record.claim.hex())
    if received is None:  # it was erased meanwhile
        vault.erase(number)
        return None
    if record.action == ACCEPT:
        return ClaimAccept(record.claim, None)
    assert record.part_cents is not None  # PART has them
    try:
        own = own_opening(received[1], record.part_cents)
    except ClientError as error:
        record.standing, record.is_automatic = Standing.REVIEW, False
        record.findings.append(str(error)[:200])
        update(vault, number, record)
        return None
    received[1].accepted = encode(own)
    update(vault, *received)
    return ClaimAccept(record.claim, own.commitment())


def _heard(
    vault: Vault,
    number: int,
    record: ReviewRecord,
    result: Decided | Lapsed,
    *,
    now: int,
) -> str:
    outcome = _outcome(result, record.position)
    if outcome is None:
        record.standing, record.transaction = Standing.CHOSEN, None
        update(vault, number, record)
        return "again"
    received = find(vault, ReceivedRecord, record.claim.hex())
    if outcome.code:
        if received is not None and record.action == PART and not _may_be_in_part(outcome):
            received[1].accepted = None
            update(vault, *received)
        if outcome.name == Refusal.CLAIM_IN_WRONG_STATE.name:
            vault.erase(number)
            return "closed"
        record.standing, record.is_automatic = Standing.REVIEW, False
        record.findings.append(outcome.name)
        update(vault, number, record)
        return explain(outcome)
    record.decided = now
    if received is not None:
        kept = received[1]
        kept.decided, kept.is_automatic, kept.policy = now, record.is_automatic, record.policy
        kept.decision = {ACCEPT: "accepted", PART: "accepted_in_part"}.get(
            record.action, "rejected"
        )
        kept.reason = record.reason
        update(vault, received[0], kept)
        if record.action != REFUSE:
            past.note_paid(vault, *received)
        elif not record.is_automatic:
            past.note_rejected(vault, *received)
    if record.action == REFUSE or received is None:
        vault.erase(number)
    else:
        record.standing = Standing.TELLING if record.action == PART else Standing.ACCEPTED
        update(vault, number, record)
    return "done"


def _may_be_in_part(outcome: CallOutcome) -> bool:
    """Return whether a claim may stand accepted for our amount, by another decision of ours.

    A person who decided while ours was under way made it with the same opening, and only we have
    that.
    """
    state = next(iter(outcome.evidence), None)
    return outcome.name == Refusal.CLAIM_IN_WRONG_STATE.name and state not in _NEVER_IN_PART


def _outcome(result: Decided | Lapsed, position: int) -> CallOutcome | None:
    return None if isinstance(result, Lapsed) else result.outcome(position)
