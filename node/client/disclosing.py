"""Who was shown what: what is still to be shown to a payer, and the log of all that was.

The log is of both directions: what we sent and whether the recipient signed for it, and what others
sent us and what we signed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from node.client import disclosure, inbox, lots, questions
from node.client.deliveries import Letter, letter_name
from node.client.errors import NotFound
from node.client.questions import Asked
from node.client.records import (
    AccessRecord,
    AuthorisationRecord,
    ClaimRecord,
    DeliveryRecord,
    PrescriptionRecord,
    Progress,
    Way,
    every,
    find,
)
from node.client.statements import Statement
from node.client.vault import Vault

_SHOWABLE: Final = frozenset((Progress.COMMITTED,))


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the log: something went from one member to another."""

    direction: Literal["sent", "received"]
    time: int  # unix seconds, by our clock
    counterpart: bytes
    purpose: str  # empty where it could not be read
    subject: bytes  # id of the claim, the prior agreement, the settlement; empty likewise
    reference: str | None  # what we call that
    state: str
    reason: str | None
    acknowledged: int | None  # by our clock
    envelope: bytes  # its id
    expires: int


def letter_of(vault: Vault, record: ClaimRecord, *, now: int) -> Letter:
    """Return what the payer of a claim or of a request for an agreement is to be shown.

    Raises `NotFound` where it was not submitted, or its prescription was erased.
    """
    if record.claim is None:
        raise NotFound(
            f"{record.reference} was not submitted: it is {record.progress.value}",
            hint="submit the same file again: it goes on where it stopped",
        )
    prescription = find(vault, PrescriptionRecord, record.prescription_reference)
    if prescription is None:
        raise NotFound(f"the prescription of {record.reference} was erased")
    made = disclosure.make(record, prescription[1], lots.opening_of(record), now=now)
    return Letter(
        recipient=record.payer,
        format=disclosure.FORMAT,
        purpose=made.purpose,
        subject=record.claim,
        version=record.commitment,
        plain=made.to_json(),
    )


def letter_of_statement(statement: Statement, purpose: str) -> Letter:
    """Return what the beneficiary of a statement is to be told."""
    return Letter(
        recipient=statement.beneficiary,
        format=statement.format,
        purpose=purpose,
        subject=statement.id,
        version=statement.opening.commitment(),
        plain=statement.to_json(),
    )


def letter_of_question(asked: Asked, recipient: bytes) -> Letter:
    """Return a question about a prior agreement for the shop, or its answer for the payer."""
    said = asked.question if asked.answer is None else asked.answer
    return Letter(
        recipient=recipient,
        format=questions.FORMAT,
        purpose=inbox.ASKED if asked.answer is None else inbox.ANSWERED,
        subject=asked.authorisation,
        version=said.commitment(),
        plain=asked.to_json(),
    )


def unshown(vault: Vault, type_: type[ClaimRecord]) -> Iterator[ClaimRecord]:
    """Yield what stands on the chain and was not shown to its payer yet.

    What a payer refused to take is not among it: somebody has to look why.
    """
    purpose = disclosure.AUTHORISATION if type_ is AuthorisationRecord else disclosure.REIMBURSEMENT
    for _, record in every(vault, type_):
        if record.claim is not None and record.progress in _SHOWABLE:
            name = letter_name(purpose, record.claim, record.payer, record.commitment)
            found = find(vault, DeliveryRecord, name)
            if found is None or found[1].state is Way.EXPIRED:
                yield record


def log(vault: Vault) -> list[Shown]:
    """Return the whole log, oldest first."""
    names = _references(vault)
    sent = [line_of(each, names.get(each.subject)) for _, each in every(vault, DeliveryRecord)]
    received = [
        Shown(
            direction="received",
            time=each.received,
            counterpart=each.sender,
            purpose=each.purpose,
            subject=each.subject,
            reference=names.get(each.subject),
            state="taken" if each.verdict == "taken" else "refused",
            reason=None if each.verdict == "taken" else each.verdict,
            acknowledged=each.received,
            envelope=each.id,
            expires=each.expires,
        )
        for _, each in every(vault, AccessRecord)
    ]
    return sorted(sent + received, key=lambda each: each.time)


def line_of(sent: DeliveryRecord, reference: str | None) -> Shown:
    """Return the line of what we sent; `reference` is what we call what it is about."""
    return Shown(
        direction="sent",
        time=sent.created,
        counterpart=sent.recipient,
        purpose=sent.purpose,
        subject=sent.subject,
        reference=reference,
        state=sent.state.value,
        reason=sent.reason,
        acknowledged=sent.acknowledged,
        envelope=sent.id,
        expires=sent.expires,
    )


def ids_named(vault: Vault, name: str) -> set[bytes]:
    """Return the ids of what is called so: by its id, or by our reference."""
    if re.fullmatch("[0-9a-f]{64}", name):
        return {bytes.fromhex(name)}
    return {id_ for id_, reference in _references(vault).items() if reference == name}


def ids_on(vault: Vault, prescription: str) -> set[bytes]:
    """Return the ids of the claims and prior agreements on a prescription of ours."""
    return {
        record.claim
        for type_ in (ClaimRecord, AuthorisationRecord)
        for _, record in every(vault, type_)
        if record.claim is not None and record.prescription_reference == prescription
    }


def _references(vault: Vault) -> dict[bytes, str]:
    """Return what we call what has an id."""
    return {
        record.claim: record.reference
        for type_ in (ClaimRecord, AuthorisationRecord)
        for _, record in every(vault, type_)
        if record.claim is not None
    }
