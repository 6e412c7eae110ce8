"""What became of a claim, for the shop's own software: a FHIR `Claim` and its `ClaimResponse`.

R4 or R5. They go to nobody but the shop, whose prescription is in them; of the patient they say
that it is masked, for the vault does not know who that is. Every text in them is of a closed list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from contracts.calls import Leg, Reason
from contracts.commitment import Opening
from ledger.encoding import decode
from node.client import nomenclature
from node.client.agreements import AuthorisationView
from node.client.client import ClaimView
from node.client.fhir import as_resource
from node.client.french import SAYS
from node.client.records import AuthorisationRecord, ClaimRecord, PrescriptionRecord, Progress

Release = Literal["R4", "R5"]
RELEASES: Final[tuple[Release, ...]] = ("R4", "R5")
_Resource = dict[str, Any]

# Names of ours for what FHIR leaves to each country; nothing is to be fetched from them.
GROUPING_CODES: Final = "urn:depoli:grouping-code"
LEG: Final = "urn:depoli:leg"
SIDE: Final = "urn:depoli:eye"
REASON: Final = "urn:depoli:reason"
STATE: Final = "urn:depoli:claim-state"
REFUSAL: Final = "urn:depoli:refusal"
MEMBER: Final = "urn:depoli:member"
_HL7: Final = "http://terminology.hl7.org/CodeSystem"
_MASKED: Final = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }
    ]
}
# States of a claim, or of a prior agreement, in which the payer has not decided, or has said no.
_WAITING: Final = frozenset(("submitted", "requested", "info_requested", "under_review"))
_REJECTED: Final = frozenset(
    ("rejected", "lapsed", "abandoned", "resubmitted", "rejection_disputed", "refused")
)
_WITHDRAWN: Final = frozenset(("cancelled", "reversed", "repaying", "repaid"))
Outcome = Literal["queued", "complete", "error", "partial"]


@dataclass(frozen=True, slots=True)
class Told:
    """A claim of ours, the prescription that it rests on, and what our node says of it."""

    claim: ClaimRecord
    prescription: PrescriptionRecord | None  # None where it was erased
    view: ClaimView | None  # None where it is not on the chain
    until: int | None = None  # a prior agreement may be used until then

    @property
    def use(self) -> str:
        """What it is in FHIR: a claim, or the request for a prior agreement."""
        return "preauthorization" if isinstance(self.claim, AuthorisationRecord) else "claim"

    @property
    def accepted_cents(self) -> int | None:
        """What the payer accepts, as far as we know: what is not opened to us we do not know."""
        view = self.view
        if view is None or view.state in _WAITING | _REJECTED | _WITHDRAWN:
            return None
        if view.accepted_amount is None:
            return self.claim.amount_cents
        if self.claim.accepted is None:
            return None
        opening = decode(self.claim.accepted, Opening)
        return opening.amount if opening.commitment().hex() == view.accepted_amount else None

    @property
    def outcome(self) -> Outcome:
        """How far its adjudication is, in FHIR's words."""
        if self.claim.progress is Progress.REFUSED:
            return "error"
        if self.view is None or self.view.state in _WAITING:
            return "queued"
        return "partial" if self.view.accepted_amount is not None else "complete"


def agreed(
    claim: AuthorisationRecord, prescription: PrescriptionRecord | None, view: AuthorisationView
) -> Told:
    """Return a prior agreement as a claim is told, which it is like."""
    as_claim = ClaimView(
        id=view.id,
        submitter=view.optician,
        payer=view.payer,
        leg=view.leg,
        prescription=view.prescription,
        document=view.document,
        amount=view.amount,
        state=view.state.lower(),
        marks=view.marks,
        accepted_amount=view.granted_amount,
        reason=view.reason,
    )
    return Told(claim, prescription, as_claim, view.until)


def bundle(
    told: Sequence[Told], labels: Mapping[bytes, str], us: str, release: Release
) -> _Resource:
    """Return a Bundle with the Claim and the ClaimResponse of each; `labels` are the members'."""
    entries = []
    for each in told:
        payer = labels.get(each.claim.payer, each.claim.payer.hex())
        for resource in (
            claim_resource(each, payer, us, release),
            response_resource(each, payer, us, release),
        ):
            url = f"urn:depoli:{resource['resourceType'].lower()}:{each.claim.reference}"
            entries.append({"fullUrl": url, "resource": resource})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def claim_resource(told: Told, payer: str, us: str, release: Release) -> _Resource:
    """Return the Claim as the shop made it, which `importing.read_entries` reads as the same."""
    claim = told.claim
    insurance: _Resource = {
        "sequence": 1,
        "focal": True,
        "coverage": {"identifier": {"value": claim.insured}} if claim.insured else dict(_MASKED),
    }
    if claim.authorisation is not None:
        insurance["preAuthRef"] = [claim.authorisation]
    prescription: _Resource = {"identifier": {"value": claim.prescription_reference}}
    resource: _Resource = {"resourceType": "Claim", "id": claim.reference}
    if told.prescription is not None:
        prescription["reference"] = "#prescription"
        resource["contained"] = [_prescription(told.prescription)]
    is_withdrawn = claim.progress is Progress.CANCELLED
    resource |= {
        "identifier": [{"value": claim.reference}],
        "status": "cancelled" if is_withdrawn else "active",
        "type": _coded(f"{_HL7}/claim-type", "vision"),
        "subType": _coded(LEG, Leg(claim.leg).name.lower()),
        "use": told.use,
        "patient": dict(_MASKED),
        "created": claim.invoice_date,
        "insurer": _member(payer),
        "provider": _member(us),
        "priority": _coded(f"{_HL7}/processpriority", "normal"),
        "prescription": prescription,
        "insurance": [insurance],
        "item": _items(claim, release),
        "total": _money(claim.amount_cents),
    }
    return resource


def response_resource(told: Told, payer: str, us: str, release: Release) -> _Resource:
    """Return the ClaimResponse, as far as the payer has decided and the vault knows of it."""
    claim, view = told.claim, told.view
    resource: _Resource = {
        "resourceType": "ClaimResponse",
        "id": claim.reference,
        "identifier": [{"value": claim.claim.hex() if claim.claim else claim.reference}],
        "status": "cancelled" if view is not None and view.state in _WITHDRAWN else "active",
        "type": _coded(f"{_HL7}/claim-type", "vision"),
        "subType": _coded(LEG, Leg(claim.leg).name.lower()),
        "use": told.use,
        "patient": dict(_MASKED),
        "created": claim.invoice_date if view is None or view.time is None else _day(view.time),
        "insurer": _member(payer),
        "requestor": _member(us),
        "request": {"identifier": {"value": claim.reference}},
        "outcome": told.outcome,
        "disposition": claim.progress.value if view is None else view.state.replace("_", " "),
    }
    if claim.authorisation is not None:
        resource["preAuthRef"] = claim.authorisation
    elif told.until is not None and claim.claim is not None:
        resource["preAuthRef"] = claim.claim.hex()
        resource["preAuthPeriod"] = {"end": _day(told.until)}
    if told.outcome == "error":
        code = claim.refusal or "unknown"
        resource["error"] = [{"code": _coded(REFUSAL, code)}]
    is_decided = told.outcome in {"complete", "partial"} and resource["status"] == "active"
    if view is not None and is_decided:
        resource |= _adjudicated(told, view, release)
    return resource


def _adjudicated(told: Told, view: ClaimView, release: Release) -> _Resource:
    """Return what the payer decided: amounts, and its reason with a note in both languages."""
    is_rejected = view.state in _REJECTED
    benefit = 0 if is_rejected else told.accepted_cents
    amounts = [("submitted", told.claim.amount_cents)]
    if benefit is not None:  # otherwise the payer accepted in part, and has not opened how much
        amounts.append(("benefit", benefit))
    found: _Resource = {
        "total": [
            {"category": _coded(f"{_HL7}/adjudication", name), "amount": _money(cents)}
            for name, cents in amounts
        ]
    }
    if view.reason is not None:
        reason = Reason[view.reason.upper().replace("-", "_")]
        code = reason.name.lower().replace("_", "-")
        category = _coded(f"{_HL7}/adjudication", "benefit")
        found["adjudication"] = [
            {"category": category, "reason": _coded(REASON, code), "amount": _money(benefit or 0)}
        ]
        found["processNote"] = [
            _note(1, code.replace("-", " "), "en", release),
            _note(2, SAYS[reason.name], "fr", release),
        ]
    if release == "R5":
        decision = "denied" if is_rejected else told.outcome.replace("complete", "approved")
        found["decision"] = _coded("http://hl7.org/fhir/claim-decision", decision)
    return found


def _note(number: int, text: str, language: str, release: Release) -> _Resource:
    kind: object = "display"
    if release == "R5":  # was a code, and is a concept there
        kind = _coded("http://hl7.org/fhir/note-type", "display")
    note = {"number": number, "type": kind, "text": text}
    return note | {"language": _coded("urn:ietf:bcp:47", language)}


def _items(claim: ClaimRecord, release: Release) -> list[_Resource]:
    """Return an item for each code; the first of lenses and of frame has the amount of all."""
    codes = claim.codes
    lines: list[tuple[str, str | None]] = [
        (code, side) for side in ("right", "left") if (code := getattr(codes, side))
    ]
    lines += [(code, None) for code in (codes.frame, *codes.supplements) if code is not None]
    amounts = {"lenses": claim.lenses_cents, "frame": claim.frame_cents}
    items = []
    for number, (code, side) in enumerate(lines, start=1):
        row = nomenclature.known([code], "codes")
        item: _Resource = {"sequence": number, "productOrService": _coded(GROUPING_CODES, code)}
        if side is not None:
            site = _coded(SIDE, side)
            item["bodySite"] = site if release == "R4" else [{"site": [{"concept": site}]}]
        part = "frame" if row.type == "frame" or row.per == "frame" else "lenses"
        if (cents := amounts.pop(part, None)) is not None:
            item["net"] = _money(cents)
        items.append(item)
    return items


def _prescription(record: PrescriptionRecord) -> _Resource:
    held = record.prescription
    return as_resource(held) | {
        "id": "prescription",
        "identifier": [{"value": record.reference}],
        "created": held.written,
        "patient": dict(_MASKED),
    }


def _coded(system: str, code: str) -> _Resource:
    return {"coding": [{"system": system, "code": code}]}


def _member(label: str) -> _Resource:
    return {"identifier": {"system": MEMBER, "value": label}}


def _money(cents: int) -> _Resource:
    return {"value": Decimal(cents) / 100, "currency": "EUR"}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
