"""What a shop shows a payer of one claim, and how the payer verifies it against the chain.

Shown: the grouping codes, what each part costs, what opens the amount, the invoice date, the
payer's own reference of the insured or the number it authorised, and the marks that the claim uses.
Never shown: anything else of the prescription.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from contracts import documents
from contracts.calls import Leg, Part
from contracts.commitment import AMOUNT_MAX, Opening, verify_opening
from contracts.documents import CLAIM, PRESCRIPTION, DocumentType, Value
from contracts.errors import BadDocument, BadOpening
from contracts.nomenclature.codes import Codes
from contracts.sd_jwt import parse as parse_sd_jwt
from ledger.keys import Role, algorithm_of, key_id
from node.client import nomenclature, screening
from node.client.agreements import AuthorisationView
from node.client.client import ClaimView, MemberView
from node.client.errors import NotReadable, NotVerified, Refused
from node.client.reading import parse_object
from node.client.records import AuthorisationRecord, ClaimRecord, PrescriptionRecord

Asked: TypeAlias = ClaimView | AuthorisationView
FORMAT: Final = "depoli/disclosure/1"
REIMBURSEMENT: Final = "reimbursement"  # of this claim
AUTHORISATION: Final = "authorisation"  # of what is asked for beforehand; `claim` is its id then
LIFETIME_S: Final = 90 * 86_400  # a shop's default: as long as decisions take
_FIELDS: Final = {
    "format",
    "claim",
    "recipient",
    "purpose",
    "expires",
    "claim_document",
    "prescription_document",
    "cents",
    "blinding",
}
_SHOWN: Final = tuple(CLAIM.fields)  # every field of a claim's document is for its payer
_EXPIRES_MAX: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What is handed over for one claim, parsed and not yet verified."""

    claim: bytes
    recipient: bytes
    purpose: str
    expires: int  # unix seconds
    claim_document: str
    prescription_document: str
    opening: Opening

    def to_json(self) -> bytes:
        """Return the disclosure as a file. It holds health data: seal it."""
        value = {
            "format": FORMAT,
            "claim": self.claim.hex(),
            "recipient": self.recipient.hex(),
            "purpose": self.purpose,
            "expires": self.expires,
            "claim_document": self.claim_document,
            "prescription_document": self.prescription_document,
            "cents": self.opening.amount,
            "blinding": self.opening.blinding.hex(),
        }
        return json.dumps(value, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What a payer knows of a claim once its disclosure is verified."""

    claim: bytes
    submitter: bytes
    codes: Codes
    category: str | None  # of the equipment, a to f; None for one lens
    leg: Leg
    lenses_cents: int
    frame_cents: int | None
    invoice_date: str
    insured: str | None
    authorisation: str | None
    opening: Opening
    purpose: str = REIMBURSEMENT  # or AUTHORISATION: `claim` is the id of that then


def make(
    claim: ClaimRecord, prescription: PrescriptionRecord, opening: Opening, *, now: int
) -> Disclosure:
    """Return what the payer of `claim` may see of it; the claim has been submitted."""
    assert claim.claim is not None  # the caller has looked
    leg = Leg(claim.leg)
    marks = [documents.mark_field(leg, Part(part)) for part in sorted(claim.marks)]
    return Disclosure(
        claim.claim,
        claim.payer,
        AUTHORISATION if isinstance(claim, AuthorisationRecord) else REIMBURSEMENT,
        now + LIFETIME_S,
        str(documents.present(parse_sd_jwt(claim.document), _SHOWN)),
        str(documents.present(parse_sd_jwt(prescription.document_of(claim.prescription)), marks)),
        opening,
    )


def parse_disclosure(data: bytes, name: str) -> Disclosure:
    """Return the disclosure in a file; raise `NotReadable`. `name` is the file's."""
    return parse_value(parse_object(data, name), name)


def parse_value(value: Mapping[str, Any], name: str) -> Disclosure:
    """Return the disclosure that a JSON object is; raise `NotReadable`."""
    if value.get("format") != FORMAT or value.keys() != _FIELDS:
        raise NotReadable(f"{name} is no disclosure of a claim")
    for field, size in (("claim", 32), ("recipient", 16), ("blinding", 32)):
        text = value[field]
        if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise NotReadable(f"{name}: {field} must be {2 * size} hexadecimal digits")
    for field, most in (("expires", _EXPIRES_MAX), ("cents", AMOUNT_MAX)):
        number = value[field]
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
            raise NotReadable(f"{name}: {field} must be a whole number from 0 to {most}")
    for field in ("purpose", "claim_document", "prescription_document"):
        if not isinstance(value[field], str):
            raise NotReadable(f"{name}: {field} must be text")
    return Disclosure(
        bytes.fromhex(value["claim"]),
        bytes.fromhex(value["recipient"]),
        value["purpose"],
        value["expires"],
        value["claim_document"],
        value["prescription_document"],
        Opening(value["cents"], bytes.fromhex(value["blinding"])),
    )


def claim_in(plain: bytes, name: str) -> bytes | None:
    """Return of which claim a file is a disclosure, None where it is none; raise `NotReadable`."""
    value = parse_object(plain, name)
    if (value.get("format"), value.get("purpose")) != (FORMAT, REIMBURSEMENT):
        return None
    return parse_value(value, name).claim


def is_of(plain: bytes, document: bytes) -> bool:
    """Return whether a disclosure that was verified shows this document, by its commitment."""
    shown = parse_disclosure(plain, "what was disclosed").claim_document
    return documents.parse(shown, CLAIM)[0].commitment == document


def told(plain: bytes) -> dict[str, Any]:
    """Return what a disclosure that was verified says, for people and their programs."""
    values = documents.parse(parse_disclosure(plain, "what was disclosed").claim_document, CLAIM)[1]
    names = {"right_lens": "right", "left_lens": "left"}
    shown = {names.get(name, name): values[name] for name in CLAIM.fields}
    codes = Codes(shown["right"], shown["left"], shown["frame"], tuple(shown["supplements"] or ()))
    del shown["prescription"]
    leg = Leg(shown["leg"]).name.lower()
    return shown | {"leg": leg, "category": nomenclature.category(codes)}


def verify(
    disclosure: Disclosure, claim: Asked, submitter: MemberView, *, recipient: bytes, now: int
) -> Disclosed:
    """Return what the disclosure says, every word of it bound to `claim` as it is on the chain.

    `submitter` is the claim's, with every key that it ever had. Raises `NotVerified` naming the
    first false fact.
    """
    if disclosure.recipient != recipient:
        raise NotVerified("recipient", "this disclosure is for another member, not for you")
    purpose = AUTHORISATION if isinstance(claim, AuthorisationView) else REIMBURSEMENT
    if disclosure.purpose != purpose:
        raise NotVerified("purpose", f"must be {purpose}")
    if now > disclosure.expires:
        raise NotVerified("expiry", "the disclosure has expired", hint="ask the shop for a new one")
    if disclosure.claim.hex() != claim.id:
        raise NotVerified("claim", f"this disclosure is of another claim than {claim.id}")
    if claim.payer != recipient.hex():
        raise NotVerified("payer", "the claim is addressed to another payer")
    if submitter.id != claim.submitter:
        raise NotVerified("submitter", "these are the keys of another member than the submitter")
    signers = _signers(claim, submitter)
    values = _verify_document(
        "claim document", disclosure.claim_document, CLAIM, claim.document, signers
    )
    marks = _verify_document(
        "prescription",
        disclosure.prescription_document,
        PRESCRIPTION,
        claim.prescription,
        signers,
    )
    if missing := sorted(CLAIM.fields.keys() - values.keys()):
        raise NotVerified("claim document", f"the field {missing[0]} is not disclosed")
    if values["prescription"] != claim.prescription:
        raise NotVerified("claim document", "it names another prescription than the claim")
    if values["leg"] != Leg[claim.leg.upper()]:
        raise NotVerified("claim document", "it is of another leg than the claim")
    _verify_amount(disclosure.opening, values, claim)
    codes = _verify_codes(values)
    _verify_marks(marks, codes, claim)
    _verify_references(values)
    return _disclosed(disclosure, claim, values, codes)


def verified_before(disclosure: Disclosure, claim: Asked) -> Disclosed:
    """Return what a disclosure says that was verified when it came, and kept where none changes it.

    `claim` has still the document that it had then: the caller has looked.
    """
    values = documents.parse(disclosure.claim_document, CLAIM)[1]
    return _disclosed(disclosure, claim, values, _verify_codes(values))


def _disclosed(
    disclosure: Disclosure, claim: Asked, values: Mapping[str, Value], codes: Codes
) -> Disclosed:
    return Disclosed(
        disclosure.claim,
        bytes.fromhex(claim.submitter),
        codes,
        nomenclature.category(codes),
        Leg[claim.leg.upper()],
        values["lenses_cents"] or 0,
        values["frame_cents"],
        values["invoice_date"],
        values["insured"],
        values["authorisation"],
        disclosure.opening,
        disclosure.purpose,
    )


def verify_claim_document(
    text: str, claim: ClaimView, submitter: MemberView
) -> Mapping[str, Value]:
    """Return the fields that are disclosed of a claim's document on the chain; `NotVerified`."""
    signers = _signers(claim, submitter)
    return _verify_document("claim document", text, CLAIM, claim.document, signers)


def _signers(claim: Asked, submitter: MemberView) -> dict[str, bytes]:
    """Return by whose keys, by id, the documents of a claim may be signed.

    Those of the submitter, and the one that signed the claim itself: the chain took it for him.
    """
    keys = [(Role[key.role.upper()], bytes.fromhex(key.public)) for key in submitter.keys]
    if claim.signed_by is not None:
        keys.append((Role.TRANSACTION, bytes.fromhex(claim.signed_by)))
    return {
        key_id(role, algorithm_of(public), public).hex(): public
        for role, public in keys
        if role.signs_transactions
    }


def _verify_document(
    what: str, text: str, type_: DocumentType, commitment: str, signers: Mapping[str, bytes]
) -> Mapping[str, Value]:
    """Return the disclosed fields of a document that stands on the chain, signed by one of them."""
    try:
        document, values = documents.parse(text, type_)
        public = signers.get(document.key_id)
        if public is not None:
            documents.require(document, public=public, commitment=bytes.fromhex(commitment))
            return values
    except BadDocument as error:
        raise NotVerified(what, str(error)) from None
    raise NotVerified(
        what,
        "signed by a key that the submitter never had, and that did not sign the claim",
        hint="who acts for a shop signs the claim and its documents with one key",
    )


def _verify_amount(opening: Opening, values: Mapping[str, Value], claim: Asked) -> None:
    try:
        verify_opening(bytes.fromhex(claim.amount), opening)
    except BadOpening:
        raise NotVerified(
            "amount", "the amount and its blinding do not open the commitment on the chain"
        ) from None
    if (values["lenses_cents"] or 0) + (values["frame_cents"] or 0) != opening.amount:
        raise NotVerified("amount", "what lenses and frame cost does not add up to it")


def _verify_codes(values: Mapping[str, Value]) -> Codes:
    codes = Codes(
        values["right_lens"],
        values["left_lens"],
        values["frame"],
        tuple(values["supplements"] or ()),
    )
    try:
        nomenclature.require_valid(codes)
    except Refused as error:
        raise NotVerified("grouping codes", str(error)) from None
    return codes


def _verify_marks(disclosed: Mapping[str, Value], codes: Codes, claim: Asked) -> None:
    """Raise unless the marks of the claimed parts, and nothing else, are opened and used."""
    leg = Leg[claim.leg.upper()]
    parts = {Part.LENSES} if codes.frame is None else {Part.LENSES, Part.FRAME}
    wanted = {documents.mark_field(leg, part) for part in parts}
    if beyond := sorted(disclosed.keys() - wanted):
        raise NotVerified("prescription", f"the field {beyond[0]} is no business of a payer")
    shown = {(part.name.lower(), disclosed.get(documents.mark_field(leg, part))) for part in parts}
    if shown != {(mark.part, mark.mark) for mark in claim.marks}:
        raise NotVerified("mark", "the claim uses another mark than the prescription holds")


def _verify_references(values: Mapping[str, Value]) -> None:
    if values["insured"] is None and values["authorisation"] is None:
        raise NotVerified("insured", "nothing says whose claim it is")
    for field in ("insured", "authorisation"):
        if values[field] is not None and screening.holds_number(values[field]):
            raise NotVerified(field, "it reads as a social security number, which may not be shown")
