"""All that a vault holds about one person, in words: what the right of access asks for.

It is what an erasure of the same would take, so that nobody is told less than is kept. Left out are
the secrets that guard it (salts, blindings, keys, secrets of marks): they say nothing of anybody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from contracts import documents
from contracts.calls import Leg, Reason
from contracts.commitment import Opening
from contracts.documents import CLAIM
from contracts.nomenclature.correction import Correction
from ledger.encoding import decode
from node.client import disclosing, doomed, questions
from node.client.acts import asked_of
from node.client.client import NodeClient
from node.client.disclosing import Shown
from node.client.disclosure import AUTHORISATION, parse_disclosure
from node.client.doomed import NothingToErase, Selection
from node.client.errors import ClientError, NotFound
from node.client.events import EntryView
from node.client.explanations import EventView, explanation
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
)
from node.client.transactions import Say
from node.client.vault import Vault

FORMAT: Final = "depoli/subject/1"


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened on the chain to a claim, a prior agreement or a prescription."""

    kind: str
    id: bytes
    entry: EntryView


@dataclass(frozen=True, slots=True)
class Subject:
    """What is held about a person, by kind, and what happened to it."""

    held: dict[str, list[dict[str, Any]]]
    shown: list[Shown]  # who saw what, when
    history: list[Happened]
    is_whole: bool  # whether our node told all that happened


def find(vault: Vault, selection: Selection) -> Subject:
    """Return what is held, without what happened to it; raise `NotFound`, `ManyPeople`."""
    try:
        plan = doomed.plan(vault, selection)
    except NothingToErase:
        named = ", ".join(selection.references) or str(selection.insured)
        raise NotFound(
            f"nothing is kept here about {named}",
            hint="a prescription is found by your own reference, a person by --insured, the payer's"
            " reference; depoli erase status tells of what was erased",
        ) from None
    held: dict[str, list[dict[str, Any]]] = {}
    envelopes = set()
    for record in plan.destroyed.values():
        if isinstance(record, DeliveryRecord | AccessRecord):
            envelopes.add(record.id)
        elif (told := _TOLD[type(record)]) is not None:
            section, tell = told
            held.setdefault(section, []).append(tell(record))
    shown = [each for each in disclosing.log(vault) if each.envelope in envelopes]
    return Subject(held, shown, [], is_whole=False)


async def with_history(found: Subject, node: NodeClient, say: Say) -> Subject:
    """Return it with what our node tells of what happened to each claim and prior agreement."""
    things = [
        (kind, bytes.fromhex(item["id"]))
        for section, kind in (("claims", "claim"), ("authorisations", "authorisation"))
        for item in found.held.get(section, [])
        if item["id"] is not None
    ]
    things += [(item["of"], bytes.fromhex(item["id"])) for item in found.held.get("received", [])]
    history: list[Happened] = []
    is_whole = True
    for kind, id_ in dict.fromkeys(things):
        try:
            view = await explanation(node, kind, id_)
        except ClientError as error:
            say(f"what happened to {kind} {id_.hex()} is not told: {error}")
            is_whole = False
            continue
        is_whole = is_whole and not view.pruned
        history += [Happened(kind, id_, _entry(event, kind, id_)) for event in view.history]
    history.sort(key=lambda each: (each.entry.height, each.entry.position))
    return Subject(found.held, found.shown, history, is_whole)


def _entry(event: EventView, kind: str, id_: bytes) -> EntryView:
    fields = {"commitment" if kind == "prescription" else kind: id_.hex()}
    return EntryView(**msgspec.structs.asdict(event), count=0, number=None, fields=fields)


def _prescription(record: PrescriptionRecord) -> dict[str, Any]:
    given = record.prescription
    return {
        "reference": record.reference,
        "written": given.written,
        "prescriber": given.prescriber,
        "right": None if given.right is None else _eye(given.right),
        "left": None if given.left is None else _eye(given.left),
        "commitment": record.commitment.hex(),
        "is_committed": record.is_committed,
        "earlier_documents": len(record.earlier),
    }


def _eye(eye: Correction) -> dict[str, Any]:
    """Return a correction in dioptres, prism dioptres and degrees, as a prescriber writes them."""
    return {
        "sphere": _dioptres(eye.sphere),
        "cylinder": None if eye.cylinder is None else _dioptres(eye.cylinder),
        "axis": eye.axis,
        "addition": None if eye.addition is None else _dioptres(eye.addition),
        "prisms": [f"{_dioptres(prism.amount)} {prism.base}" for prism in eye.prisms],
    }


def _dioptres(hundredths: int) -> str:
    sign = "+" if hundredths > 0 else "-" if hundredths < 0 else ""
    return f"{sign}{abs(hundredths) // 100}.{abs(hundredths) % 100:02}"


def _claim(record: ClaimRecord) -> dict[str, Any]:
    accepted = None if record.accepted is None else decode(record.accepted, Opening).amount
    codes = record.codes
    return {
        "reference": record.reference,
        "prescription": record.prescription_reference,
        "id": None if record.claim is None else record.claim.hex(),
        "payer": record.payer.hex(),
        "leg": Leg(record.leg).name.lower(),
        "codes": [each for each in (codes.right, codes.left, codes.frame) if each is not None],
        "supplements": list(codes.supplements),
        "lenses_cents": record.lenses_cents,
        "frame_cents": record.frame_cents,
        "cents": record.amount_cents,
        "accepted_cents": accepted,
        "date": record.invoice_date,
        "insured": record.insured,
        "authorisation": record.authorisation,
        "state": record.progress.value,
        "refusal": record.refusal,
    }


def _received(record: ReceivedRecord) -> dict[str, Any]:
    parsed = parse_disclosure(record.disclosure, "what was disclosed")
    _, values = documents.parse(parsed.claim_document, CLAIM)
    accepted = None if record.accepted is None else decode(record.accepted, Opening).amount
    frame = [] if values["frame"] is None else [values["frame"]]
    return {
        "of": "authorisation" if parsed.purpose == AUTHORISATION else "claim",
        "id": record.claim.hex(),
        "submitter": record.submitter.hex(),
        "leg": Leg(values["leg"]).name.lower(),
        "codes": [each for each in (values["right_lens"], values["left_lens"]) if each] + frame,
        "supplements": values["supplements"] or [],
        "lenses_cents": values["lenses_cents"],
        "frame_cents": values["frame_cents"],
        "cents": parsed.opening.amount,
        "accepted_cents": accepted,
        "date": values["invoice_date"],
        "insured": values["insured"],
        "authorisation": values["authorisation"],
        "decision": record.decision,
        "reason": None if record.reason is None else Reason(record.reason).name.lower(),
        "is_automatic": record.is_automatic,
        "received": record.received,
        "decided": record.decided,
        "settlement": None if record.settlement is None else record.settlement.hex(),
    }


def _question(record: QuestionRecord) -> dict[str, Any]:
    asked = asked_of(record)
    return {
        "authorisation": record.authorisation.hex(),
        "question": questions.name_of(asked.question.kind),
        "answer": None if asked.answer is None else questions.said(asked.answer),
        "has_proof": record.proof is not None,
    }


def _proof(record: ProofRecord) -> dict[str, Any]:
    return {
        "day": record.day,
        "issuer": record.issuer.hex(),
        "claim": None if record.claim is None else record.claim.hex(),
    }


def _control(record: ControlRecord) -> dict[str, Any]:
    return {
        "authorisation": record.authorisation.hex(),
        "before": record.before,
        "after": record.after,
        "facts": None if record.facts is None else msgspec.structs.asdict(record.facts),
        "opened": [
            {"member": None if each.member is None else each.member.hex(), "time": each.at}
            for each in record.opened
        ],
        "has_verdict": record.verdict is not None,
    }


def _review(record: ReviewRecord) -> dict[str, Any]:
    return {
        "claim": record.claim.hex(),
        "submitter": record.submitter.hex(),
        "cents": record.cents,
        "received": record.received,
        "standing": record.standing.name.lower(),
        "action": record.action or None,
        "part_cents": record.part_cents,
    }


def _queued(record: QueuedRecord) -> dict[str, Any]:
    return {"reference": record.reference, "due": record.due, "trouble": record.trouble}


# What is told of each kind of record, and under which heading; None: nothing that its claim does
# not say, and what was sent and received, which is told as who saw what.
_TOLD: Final[Mapping[type[Record], tuple[str, Callable[[Any], dict[str, Any]]] | None]] = {
    PrescriptionRecord: ("prescriptions", _prescription),
    ClaimRecord: ("claims", _claim),
    AuthorisationRecord: ("authorisations", _claim),
    ReceivedRecord: ("received", _received),
    QuestionRecord: ("questions", _question),
    ProofRecord: ("proofs", _proof),
    ControlRecord: ("controls", _control),
    ReviewRecord: ("reviews", _review),
    QueuedRecord: ("queued", _queued),
    TransactionRecord: None,
    DeliveryRecord: None,
    AccessRecord: None,
}
