"""What the vault keeps: one type per kind of record, as JSON inside its encryption.

`keep`, `find` and `update` are the only ways in and out, so that what is read is what was written.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar, Final, TypeVar

import msgspec

from contracts.calls import ErasureOutcome
from contracts.commitment import erasure_commitment
from contracts.nomenclature.codes import Codes
from node.client.errors import VaultDamaged
from node.client.fhir import Prescription
from node.client.vault import Kind, Vault


class Progress(StrEnum):
    """How far a claim has come; each is written before the next step is tried."""

    PREPARED = "prepared"  # documents are made, nothing was sent
    LOCKED = "locked"  # prescription and marks stand on the chain
    SUBMITTED = "submitted"  # the claim's transaction is signed, and perhaps sent
    COMMITTED = "committed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    ENDED = "ended"  # given up, reversed, repaid or replaced: it uses its marks no more


class Stage(StrEnum):
    """How far a settlement has come for us; each is written before the next step is tried."""

    OPENING = "opening"  # signed, and perhaps sent
    OPEN = "open"
    ANNOUNCED = "announced"
    TOLD = "told"  # the statement was written, or given to us
    CLOSED = "closed"


class Standing(StrEnum):
    """What is still to be done of a disclosed claim; each is written before it is tried."""

    NEW = "new"  # it came, and nobody looked at it
    REVIEW = "review"  # a person decides
    CHOSEN = "chosen"  # to be signed
    SIGNED = "signed"  # and perhaps sent
    TELLING = "telling"  # accepted in part: the shop is to be told how much
    ACCEPTED = "accepted"  # to be settled


class Record(msgspec.Struct, kw_only=True):
    """Base of what is kept."""

    KIND: ClassVar[Kind]


class PrescriptionRecord(Record):
    """A prescription that the shop holds."""

    KIND = Kind.PRESCRIPTION
    reference: str
    prescription: Prescription
    secret: bytes  # of its marks; travels with the prescription
    document: str  # SD-JWT with every field disclosed, and so every salt
    commitment: bytes
    is_committed: bool = False
    earlier: dict[str, str] = {}  # commitment in hexadecimal -> document that was, before this one
    ordinal: int = 0  # of the marks: how many reimbursements under the secret went before
    renewed: list[str] = []  # what proved each of those: a proof or a claim, by our reference

    def document_of(self, commitment: bytes | None) -> str:
        """Return the document with this commitment; the present one for None."""
        return (
            self.document
            if commitment is None
            else self.earlier.get(commitment.hex(), self.document)
        )


class ClaimRecord(Record):
    """A claim of the shop, from the file it came in to what became of it."""

    KIND = Kind.CLAIM
    reference: str
    prescription_reference: str
    payer: bytes
    leg: int
    codes: Codes
    lenses_cents: int
    frame_cents: int | None
    invoice_date: str
    insured: str | None
    authorisation: str | None
    document: str  # SD-JWT with every field disclosed, and so every salt
    commitment: bytes
    blinding: bytes
    marks: dict[int, bytes]  # part -> mark
    ordinal: int = 0
    progress: Progress = Progress.PREPARED
    lock_transaction: bytes | None = None
    transaction: bytes | None = None
    claim: bytes | None = None  # its id, once the transaction is signed
    height: int | None = None
    position: int | None = None  # in its transaction
    refusal: str | None = None  # name of the refusal, in whichever transaction it was
    refusal_text: str | None = None
    accepted: bytes | None = None  # encoded Opening of what the payer accepts instead
    agreement: bytes | None = None  # id of the prior agreement that it consumes
    prior: bytes | None = None  # id of the rejected claim that it replaces
    prescription: bytes | None = None  # commitment of the document that it rests on
    until: int | None = None  # last second of the prior agreement, as our node said
    lapsed: list[tuple[bytes, int]] = []  # transactions that came too late, and its position there
    is_rectified: bool = False  # and its payer may hold the document that it had before

    @property
    def amount_cents(self) -> int:
        """What is claimed in all."""
        return self.lenses_cents + (self.frame_cents or 0)


class AuthorisationRecord(ClaimRecord):
    """A request for a prior agreement, which is kept as a claim is; `claim` is its id.

    `invoice_date` is that of the quote; `accepted` opens what the payer grants instead.
    """

    KIND = Kind.AUTHORISATION


class QuestionRecord(Record):
    """A question about a prior agreement, asked by us or of us, and its answer."""

    KIND = Kind.QUESTION
    authorisation: bytes
    question: bytes  # encoded, as its commitment stands on the chain
    answer: bytes | None = None  # encoded
    proof: bytes | None = None  # of what the answer says
    control: int = 0  # of 1,000 that are attested, so many are looked into


class ProofRecord(Record):
    """The proof of the day of a reimbursement: of our own making, or brought by its patient."""

    KIND = Kind.PROOF
    issuer: bytes
    day: str
    document: str  # SD-JWT; brought to us, it discloses the day alone
    holder: bytes  # seed of the key that shows it
    claim: bytes | None = None  # of which it speaks, where we made it


class Facts(msgspec.Struct, frozen=True):
    """What was typed to ask whether an early renewal qualifies; it never leaves the shop."""

    last: str  # day that the period is counted from
    on: str
    age: int
    has_frame: bool
    by_ophthalmologist: bool = False
    is_degraded: bool = False
    listed_situation: bool = False


class Opened(msgspec.Struct, frozen=True):
    """That somebody was shown the prescriptions of an attestation."""

    member: bytes | None  # None: whoever stood at the terminal, in the shop
    at: int  # unix seconds


class ControlRecord(Record):
    """An attestation that was given by us or to us; `before` is ours alone."""

    KIND = Kind.CONTROL
    authorisation: bytes
    attestation: bytes
    answer: bytes | None = None  # commitment of the answer that it came with
    before: str | None = None  # our references of both prescriptions
    after: str | None = None
    facts: Facts | None = None
    opened: list[Opened] = []
    verdict: bytes | None = None


class TransactionRecord(Record):
    """A transaction that was signed here: kept before it is sent, so that it can be sent again."""

    KIND = Kind.TRANSACTION
    id: bytes
    raw: bytes
    valid_until: int


class QueuedRecord(Record):
    """A claim that waits for its window, under its reference; deleted some days after its end."""

    KIND = Kind.QUEUED
    reference: str
    window: int  # when the window in which it was queued ends, unix seconds as the next four
    due: int  # when it leaves, the same for all of its window; at random in the next one
    no_later: int | None = None  # it leaves before its prior agreement ends, its window or not
    retry_at: int | None = None  # after a failure
    ended: int | None = None  # when it was decided, or found to be too late
    tries: int = 0  # that failed
    trouble: str | None = None  # why the last one did
    hint: str = ""
    is_late: bool = False  # it was not sent, because it came too late


class SettlementRecord(Record):
    """A settlement that we pay, or one whose statement we were given as its beneficiary."""

    KIND = Kind.SETTLEMENT
    id: bytes
    counterpart: bytes
    direction: int = 0
    is_ours: bool = True  # we pay
    count: int = 0  # claims in it
    stage: Stage = Stage.OPENING
    in_flight: list[bytes] = []  # ids of transactions of which we have not heard yet
    cents: int | None = None  # the total, once announced
    blinding: bytes | None = None  # opens the sum with it; deleted when the settlement is closed
    reference: str | None = None  # of the payment
    salt: bytes | None = None  # of the commitment to that


class ReceivedRecord(Record):
    """What a shop disclosed to us, and what we decided to pay of it."""

    KIND = Kind.RECEIVED
    claim: bytes
    submitter: bytes
    disclosure: bytes  # the file, as it came
    opening: bytes  # encoded Opening of the amount claimed
    accepted: bytes | None = None  # encoded Opening of our own amount, if we accept in part
    offered: bytes | None = None  # the same, of a call of which we have not heard yet
    leg: int | None = None  # this and the next two as disclosed
    insured: str | None = None
    invoice_date: str | None = None
    received: int | None = None  # unix seconds, as the next
    decided: int | None = None  # when our inbox heard that the chain took our decision
    decision: str | None = None  # accepted, accepted in part or rejected
    reason: int | None = None  # of a rejection
    is_automatic: bool = False  # no person looked
    policy: str | None = None  # which file decided
    settlement: bytes | None = None  # into which our inbox put it


class ReviewRecord(Record):
    """A disclosed claim of which something is still to be done; it is erased when that is done."""

    KIND = Kind.REVIEW
    claim: bytes
    submitter: bytes
    document: bytes  # commitment of the document that was verified
    cents: int  # claimed
    received: int  # unix seconds
    standing: Standing
    action: str = ""  # what is proposed, or was chosen: accept, part or refuse
    policy: str = ""
    part_cents: int | None = None
    reason: int | None = None
    is_automatic: bool = False  # chosen by the policy alone
    findings: list[str] = []
    transaction: bytes | None = None  # of the decision, once it is signed
    position: int = 0  # in it
    decided: int = 0  # unix seconds


class TallyRecord(Record):
    """What a payer's machine decided in a day, which bounds what it decides yet."""

    KIND = Kind.TALLY
    day: str
    accepted: int = 0
    accepted_cents: int = 0
    refused: int = 0
    shops: dict[str, int] = {}  # member in hexadecimal -> cents


class Way(StrEnum):
    """How far something that we sent has come."""

    WAITING = "waiting"  # kept, and not known to have left our node
    HANDED_ON = "handed on"  # to the recipient's node
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # by the recipient
    EXPIRED = "expired"  # nobody acknowledged it in time
    WRITTEN = "written to a file"  # that was handed over by hand: nobody here knows what became

    @property
    def is_open(self) -> bool:
        """Whether it is still sent."""
        return self in {Way.WAITING, Way.HANDED_ON}


class DeliveryRecord(Record):
    """Something that we sent to a member: what was shown to whom for what, and what became of it.

    What was sent is dropped once it is sent no more; its id is the hash of it, and stays.
    """

    KIND = Kind.DELIVERY
    id: bytes  # of the first envelope
    recipient: bytes
    format: str
    purpose: str
    subject: bytes  # id of the claim, the prior agreement, the settlement
    version: bytes  # of what is sent: of a rectified claim it is another
    envelope: bytes  # the last one
    created: int  # unix seconds, as all times here
    expires: int
    attempts: int = 0  # in its present state
    due: int = 0  # when it is sent again
    state: Way = Way.WAITING
    reason: str | None = None  # why it was refused; or what our node said last
    acknowledgement: bytes | None = None  # the file, signed by the recipient
    acknowledged: int | None = None  # when it came, by our clock


class AccessRecord(Record):
    """Something that a member sent us, and our signed word on it; what it said is kept elsewhere.

    Signature and key prove that the sender signed what has this id.
    """

    KIND = Kind.ACCESS
    id: bytes  # of the envelope
    sender: bytes
    key: bytes  # public, that signed it
    signature: bytes
    expires: int
    received: int  # unix seconds by our clock
    purpose: str  # empty where it was refused, as is the next one
    subject: bytes
    verdict: str
    acknowledgement: bytes  # the file, signed by us
    is_committed: bool = False  # the chain holds the commitment to the acknowledgement


HELD: Final = ErasureOutcome.HELD_BY_LAW.name


class Wanted(msgspec.Struct, frozen=True):
    """What a member is asked to erase of what we disclosed to it."""

    subject: bytes  # id of the claim or of the prior agreement that it is about
    stays: bytes | None  # commitment of the document that was put in the place of what is erased
    salt: bytes

    @property
    def commitment(self) -> bytes:
        """What stands on the chain."""
        return erasure_commitment(self.salt, self.subject)


class Request(msgspec.Struct, kw_only=True):
    """That a member was asked to erase something: what, it alone is told."""

    recipient: bytes
    commitment: bytes
    wanted: Wanted | None  # what; dropped once it was handed over, or answered
    transaction: bytes | None = None  # that asks for it
    position: int = 0  # in that
    erasure: bytes | None = None  # id on the chain, once it stands there
    outcome: str | None = None  # what the recipient stated on the chain; or why it cannot be asked
    since: int | None = None  # block time of that

    @property
    def is_unasked(self) -> bool:
        """Whether it does not stand on the chain yet, so far as is known."""
        return self.erasure is None and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.outcome is not None and self.outcome != HELD


class ErasureRecord(Record):
    """That something was erased, without a word of what; and who was asked to erase it too."""

    KIND = Kind.ERASURE
    day: str
    count: int  # records that were destroyed or written anew
    is_final: bool = False  # no key of what was erased is left here
    is_over: bool = False  # and all have answered
    requests: list[Request] = []


class AskedRecord(Record):
    """That a member asked us to erase what it disclosed to us; what, only until that is done."""

    KIND = Kind.ASKED
    erasure: bytes  # id on the chain
    requester: bytes
    subject: bytes | None  # id of the claim or prior agreement
    stays: bytes | None = None  # commitment of the document that was put in its place
    outcome: int | None = None  # what we state, once it is so
    until: str | None = None  # day to which the law has us keep it
    is_final: bool = False  # no key of what was erased is left here
    is_stated: bool = False  # the outcome stands on the chain


R = TypeVar("R", bound=Record)
_json: Final = msgspec.json.Encoder()


def keep(vault: Vault, record: Record, *names: str) -> int:
    """Keep a new record under names that no other of its kind has; return its number."""
    return vault.add(record.KIND, _json.encode(record), names)


def update(vault: Vault, number: int, record: Record) -> None:
    """Put a record in the place of its older self."""
    vault.replace(number, _json.encode(record))


def renew(vault: Vault, number: int, record: Record) -> None:
    """Put a record in the place of its older self, which no backup brings back after `rotate`."""
    vault.renew(number, _json.encode(record))


def find(vault: Vault, type_: type[R], name: str) -> tuple[int, R] | None:
    """Return number and record of that name, None where there is none."""
    found = vault.find(type_.KIND, name)
    return None if found is None else (found[0], _parse(found[1], type_))


def every(vault: Vault, type_: type[R], *, after: int = 0) -> Iterator[tuple[int, R]]:
    """Yield number and record of a type, oldest first, those with a number above `after`."""
    for number, content in vault.all(type_.KIND, after=after):
        yield number, _parse(content, type_)


def read(vault: Vault, type_: type[R], number: int) -> R:
    """Return the record of a number; raise `KeyError` where it was erased."""
    return _parse(vault.read(number), type_)


def _parse(content: bytes, type_: type[R]) -> R:
    try:
        return msgspec.json.decode(content, type=type_)
    except msgspec.MsgspecError:
        # Its message could quote the content: it is left out.
        raise VaultDamaged(f"a {type_.__name__} in the vault is of another version") from None
