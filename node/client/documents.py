"""The documents that a shop signs: what it typed, in the fields of `contracts.documents`."""

import secrets

from contracts import documents
from contracts.documents import CLAIM, PRESCRIPTION, SALT_BYTES, DocumentType, Value
from contracts.nomenclature.correction import Correction
from contracts.sd_jwt import SdJwt
from ledger.keys import Role, Signer, key_id
from node.client.fhir import Prescription
from node.client.request import ClaimRequest


def issue_prescription(
    prescription: Prescription, secret: bytes, key: Signer, ordinal: int = 0
) -> SdJwt:
    """Return a signed prescription with the marks of this reimbursement; salts are drawn."""
    values: dict[str, Value] = {
        "date_written": prescription.written,
        "prescriber": prescription.prescriber,
        **_eye("right", prescription.right),
        **_eye("left", prescription.left),
        **documents.mark_fields(secret, ordinal),
    }
    return _issue(PRESCRIPTION, values, key)


def issue_claim(request: ClaimRequest, prescription: bytes, key: Signer) -> SdJwt:
    """Return a signed claim on the prescription with this commitment; salts are drawn."""
    values: dict[str, Value] = {
        "right_lens": request.codes.right,
        "left_lens": request.codes.left,
        "frame": request.codes.frame,
        "supplements": list(request.codes.supplements) or None,
        "lenses_cents": request.lenses_cents,
        "frame_cents": request.frame_cents,
        "invoice_date": request.invoice_date,
        "leg": request.leg,
        "prescription": prescription.hex(),
        "insured": request.insured,
        "authorisation": request.authorisation,
    }
    return _issue(CLAIM, values, key)


def _issue(type_: DocumentType, values: dict[str, Value], key: Signer) -> SdJwt:
    salts = [secrets.token_bytes(SALT_BYTES) for _ in type_.fields]
    id_ = key_id(Role.TRANSACTION, key.algorithm, key.public)
    return documents.issue(type_, values, salts, key_id=id_, key=key)


def _eye(side: str, correction: Correction | None) -> dict[str, Value]:
    if correction is None:
        return {}
    return {
        f"{side}_sphere": correction.sphere,
        f"{side}_cylinder": correction.cylinder,
        f"{side}_axis": correction.axis,
        f"{side}_add": correction.addition,
        f"{side}_prism": [[prism.amount, prism.base] for prism in correction.prisms] or None,
    }
