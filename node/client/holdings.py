"""What a vault holds of which claim, prior agreement or prescription: so that nothing is forgotten.

Whoever adds a kind of record says here what it is about; a test asks it of every kind.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.calls import MarkLock, PrescriptionCommit, parse_call
from contracts.commitment import lock_of
from contracts.explanation import named
from ledger.transaction import created_id, parse
from node.client.records import (
    AccessRecord,
    AuthorisationRecord,
    ClaimRecord,
    ControlRecord,
    DeliveryRecord,
    PrescriptionRecord,
    ProofRecord,
    QuestionRecord,
    QueuedRecord,
    ReceivedRecord,
    Record,
    ReviewRecord,
    TransactionRecord,
    every,
    find,
    renew,
)
from node.client.vault import Vault

ERASED: Final = "erased"  # purpose of what came, once it is


@dataclass(slots=True)
class Things:
    """What is to be erased: our references, and ids and commitments as they stand on the chain."""

    prescriptions: set[str] = field(default_factory=set)
    claims: set[str] = field(default_factory=set)  # of claims and of prior agreements
    ids: set[bytes] = field(default_factory=set)
    marks: set[bytes] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)  # our references of what they were renewed by
    shown: list[bytes] = field(default_factory=list)  # these, and what their answers came with
    before: str | None = None  # a day: proofs that patients brought, of days before it
    _locks: dict[tuple[bytes, bytes], frozenset[bytes]] = field(default_factory=dict, compare=False)

    def locks(self, chain_id: bytes, member: bytes) -> frozenset[bytes]:
        """Return the locks of the marks, as this member makes them."""
        known = self._locks.get((chain_id, member))
        if known is None:
            made = frozenset(lock_of(chain_id, member, mark) for mark in self.marks)
            known = self._locks[chain_id, member] = made
        return known

    def add_prescription(self, record: PrescriptionRecord) -> None:
        """Add a prescription, with every document that it had."""
        self.prescriptions.add(record.reference)
        self.ids |= {record.commitment, *map(bytes.fromhex, record.earlier)}
        grounds = (each.partition(" ") for each in record.renewed)
        self.proofs |= {name for kind, _, name in grounds if kind == "proof"}

    def add_claim(self, record: ClaimRecord) -> None:
        """Add a claim or a request for a prior agreement."""
        self.claims.add(record.reference)
        self.marks |= set(record.marks.values())
        if record.claim is not None:
            self.ids.add(record.claim)
        self.ids |= {created_id(transaction, place) for transaction, place in record.lapsed}


# What a record is about, of the kinds that hold something of a person.
ABOUT: Final[dict[type[Record], Callable[[Any, Things], bool]]] = {
    PrescriptionRecord: lambda record, things: record.reference in things.prescriptions,
    ClaimRecord: lambda record, things: record.prescription_reference in things.prescriptions,
    AuthorisationRecord: lambda record, things: (
        record.prescription_reference in things.prescriptions
    ),
    QuestionRecord: lambda record, things: _is_asked_of(record, things),  # noqa: PLW0108
    ControlRecord: lambda record, things: (
        record.authorisation in things.ids
        or not things.prescriptions.isdisjoint((record.before, record.after))
    ),
    ProofRecord: lambda record, things: _is_proof_of(record, things),  # noqa: PLW0108
    ReceivedRecord: lambda record, things: record.claim in things.ids,
    ReviewRecord: lambda record, things: record.claim in things.ids,
    QueuedRecord: lambda record, things: record.reference in things.claims,
    DeliveryRecord: lambda record, things: record.subject in things.ids,
    AccessRecord: lambda record, things: record.subject in things.ids,
    TransactionRecord: lambda record, things: _says_nothing_else(record, things),  # noqa: PLW0108
}


def of(vault: Vault, things: Things) -> Iterator[tuple[int, Record]]:
    """Yield number and record of everything that is about these things and no other."""
    for name in things.proofs:
        found = find(vault, ProofRecord, name)
        things.shown += [] if found is None else [found[1].document.encode()]
    for type_, is_about in ABOUT.items():
        for number, record in every(vault, type_):
            if is_about(record, things):
                if isinstance(record, QuestionRecord) and record.proof is not None:
                    things.shown.append(record.proof)
                yield number, record


def destroy(vault: Vault, number: int, record: Record, things: Things) -> None:
    """Destroy a record with its key; call it inside `vault.changes()`, and `vault.rotate` after.

    Of an envelope it stays known that it came, and nothing else: nobody may send it again.
    """
    if isinstance(record, AccessRecord):
        record.subject, record.purpose = b"", ERASED
        renew(vault, number, record)
    elif isinstance(record, QuestionRecord) and record.authorisation not in things.ids:
        record.proof = None  # it showed one of these, for another that stays
        renew(vault, number, record)
    else:
        vault.erase(number)


def _is_asked_of(record: QuestionRecord, things: Things) -> bool:
    """Return whether it was asked of a prior agreement of these, or one of these proved it."""
    proof = record.proof or b""
    return record.authorisation in things.ids or any(id_ in proof for id_ in things.ids)


def _is_proof_of(record: ProofRecord, things: Things) -> bool:
    """Return whether a proof is of a claim of these; one that was brought to us, shown for them."""
    if record.claim is not None:
        return record.claim in things.ids
    signed = record.document.partition("~")[0].encode()
    is_old = things.before is not None and record.day < things.before
    return is_old or any(signed in each for each in things.shown)


def _says_nothing_else(record: TransactionRecord, things: Things) -> bool:
    """Return whether every call of a transaction of ours is about these things."""
    body = parse(record.raw).body
    locks = things.locks(body.chain_id, body.sender)
    for position, data in enumerate(body.calls):
        call = parse_call(data)
        match call:
            case MarkLock():
                ids = {call.lock}
            case PrescriptionCommit():
                ids = {call.commitment}
            case _:
                ids = {*named(call, created_id(record.id, position))}
        if not ids or not ids <= things.ids | locks:
            return False
    return True
