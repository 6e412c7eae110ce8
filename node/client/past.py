"""What a payer's own file says beside a claim: what was claimed, paid and rejected before.

Whoever decided, a machine or a person, and however it came here: it is found by a name of what it
is about. A name is of one claim at a time.
"""

import hashlib

from contracts import documents
from contracts.documents import PRESCRIPTION
from node.client.client import ClaimView
from node.client.disclosure import Disclosed, parse_disclosure
from node.client.records import ReceivedRecord, find
from node.client.vault import Kind, Vault


def same_as(vault: Vault, disclosed: Disclosed) -> bytes | None:
    """Return the id of another claim that we know of the same, None where there is none."""
    found = find(vault, ReceivedRecord, _same(disclosed))
    return None if found is None or found[1].claim == disclosed.claim else found[1].claim


def remember(vault: Vault, number: int, disclosed: Disclosed, *, is_first: bool) -> None:
    """Let others be held against this claim; where it is not the first, only if none is there."""
    name = _same(disclosed)
    if is_first:
        vault.unname(Kind.RECEIVED, name)
    if find(vault, ReceivedRecord, name) is None:
        vault.name(number, Kind.RECEIVED, [name])


def last_paid(vault: Vault, disclosed: Disclosed) -> str | None:
    """Return the invoice date of what was last accepted under the same reference."""
    if disclosed.insured is None:
        return None
    found = find(vault, ReceivedRecord, _paid(disclosed.leg, disclosed.insured))
    return None if found is None else found[1].invoice_date


def note_paid(vault: Vault, number: int, record: ReceivedRecord) -> None:
    """Note that this is what was accepted last under its reference."""
    if record.leg is None or record.insured is None:
        return
    name = _paid(record.leg, record.insured)
    vault.unname(Kind.RECEIVED, name)
    vault.name(number, Kind.RECEIVED, [name])


def note_rejected(vault: Vault, number: int, record: ReceivedRecord) -> None:
    """Note that a person rejected what these marks stand for: no machine decides it after that."""
    shown = parse_disclosure(record.disclosure, "what was disclosed").prescription_document
    for mark in documents.parse(shown, PRESCRIPTION)[1].values():
        vault.unname(Kind.RECEIVED, _rejected(mark))
        vault.name(number, Kind.RECEIVED, [_rejected(mark)])


def was_rejected(vault: Vault, view: ClaimView) -> bool:
    """Return whether a person rejected a claim on one of these marks, perhaps this one's prior."""
    names = (_rejected(each.mark) for each in view.marks)
    return any(find(vault, ReceivedRecord, name) is not None for name in names)


def _rejected(mark: str) -> str:
    return f"rejected {mark}"


def _paid(leg: int, insured: str) -> str:
    return f"paid {int(leg)} {insured}"


def _same(shown: Disclosed) -> str:
    """Return what two claims have in common that are of the same."""
    codes = shown.codes
    parts = (
        str(int(shown.leg)),  # from whichever shop
        shown.insured or shown.authorisation or "",
        shown.invoice_date,
        codes.right or "",
        codes.left or "",
        codes.frame or "",
        str(shown.opening.amount),
    )
    return "same " + hashlib.sha256("\0".join(parts).encode()).hexdigest()
