"""A claim as the shop's software hands it over: one file with prescription, codes and amounts.

`{"format": "depoli/claim/1", "prescription": …, "prescription_reference": …, "secret": …,
"claim": {"reference", "payer", "leg", "codes": {"right", "left", "frame", "supplements"},
"amounts": {"lenses", "frame"}, "invoice_date", "insured", "authorisation"},
"authorisation_reference": …}`

The prescription is a FHIR R4 VisionPrescription, left out where one is kept under its reference,
which is the shop's own, and that of the claim where it is not given; so is the reference of a prior
agreement that the claim consumes. A request for one is alike ("depoli/authorisation/1",
"authorisation", "quote_date" in the place of the invoice's). The secret has 64 hexadecimal
digits and stands where it came with the prescription. Amounts are cents.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from contracts.nomenclature.codes import Codes
from node.client import nomenclature, screening
from node.client.errors import Refused
from node.client.fhir import Prescription, parse_prescription
from node.client.reading import (
    as_choice,
    as_date,
    as_integer,
    as_list,
    as_object,
    as_reference,
    parse_object,
    require_names,
)

FORMAT: Final = "depoli/claim/1"
PRESCRIPTION_FORMAT: Final = "depoli/prescription/1"
LEGS: Final = ("base", "complementary")  # in the order of their numbers on the chain
AMOUNT_MAX: Final = 10_000_00  # cents; more than any pair of glasses costs
SECRET_BYTES: Final = 32
AUTHORISATION_FORMAT: Final = "depoli/authorisation/1"
_PRESCRIBED: Final = frozenset(("format", "prescription", "prescription_reference", "secret"))
_TOP: Final = _PRESCRIBED | {"claim", "authorisation_reference"}
_ASKING: Final = _PRESCRIBED | {"authorisation"}
_HANDED: Final = frozenset(("format", "prescription", "reference", "secret"))
_CLAIM: Final = frozenset(
    (
        "reference",
        "payer",
        "leg",
        "codes",
        "amounts",
        "invoice_date",
        "insured",
        "authorisation",
    )
)
_ASKED: Final = _CLAIM - {"invoice_date", "authorisation"} | {"quote_date"}
_CODES: Final = frozenset(("right", "left", "frame", "supplements"))
_AMOUNTS: Final = frozenset(("lenses", "frame"))
_PAYER: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")  # a label, or an id in hex


@dataclass(frozen=True, slots=True)
class HandedPrescription:
    """A prescription, the shop's reference of it, and its secret where it came with one."""

    reference: str | None
    prescription: Prescription
    secret: bytes | None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One claim that may be submitted: every rule at the door holds."""

    reference: str
    prescription_reference: str
    prescribed: HandedPrescription | None  # None: the one kept under that reference
    payer: str  # label or member id in hexadecimal
    leg: int  # 0 base, 1 complementary
    codes: Codes
    lenses_cents: int
    frame_cents: int | None  # None where no frame is claimed
    invoice_date: str  # YYYY-MM-DD
    insured: str | None  # the payer's own reference of the insured
    authorisation: str | None  # number the payer gave
    agreement: str | None = None  # our own reference of the prior agreement that it consumes

    @property
    def amount_cents(self) -> int:
        """What is claimed in all."""
        return self.lenses_cents + (self.frame_cents or 0)


def parse_claim(data: bytes, name: str, *, today: str) -> ClaimRequest:
    """Return the claim in a file's bytes; raise `NotReadable` or `Refused`. `name` is the file."""
    document, claim = _parse_top(data, name, FORMAT, "claim", _TOP, _CLAIM)
    request = _parse_asked(document, claim, "claim", "invoice_date", today)
    if request.insured is None and request.authorisation is None:
        raise Refused(
            "claim.insured",
            "is missing, and so is an authorisation: the payer cannot know whose claim it is",
            hint="give the payer's own reference of the insured, or the number it authorised",
        )
    return request


def parse_authorisation(data: bytes, name: str, *, today: str) -> ClaimRequest:
    """Return the request for a prior agreement in a file's bytes; raise as `parse_claim`.

    Its `invoice_date` is the date of the quote.
    """
    document, asked = _parse_top(data, name, AUTHORISATION_FORMAT, "authorisation", _ASKING, _ASKED)
    request = _parse_asked(document, asked, "authorisation", "quote_date", today)
    if request.insured is None:
        raise Refused(
            "authorisation.insured",
            "is missing: the payer cannot know whom it is asked for",
            hint="give the payer's own reference of the insured",
        )
    return request


def _parse_top(
    data: bytes, name: str, format_: str, key: str, top: frozenset[str], fields: frozenset[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a file's document and what stands in it under `key`."""
    document = parse_object(data, name)
    screening.require_none(document)
    require_names(document, top, "file", required=frozenset(("format", key)))
    if document["format"] != format_:
        raise Refused("file.format", f"must be {format_}")
    asked = as_object(document[key], key)
    optional = {"insured", "authorisation"}
    require_names(asked, fields, key, required=fields - optional)
    return document, asked


def _parse_asked(
    document: dict[str, Any], asked: dict[str, Any], key: str, date: str, today: str
) -> ClaimRequest:
    reference = as_reference(asked["reference"], f"{key}.reference")
    prescription_reference, handed = _parse_prescribed(document, reference)
    codes = _parse_codes(asked["codes"])
    nomenclature.require_valid(codes)
    lenses_cents, frame_cents = _parse_amounts(asked["amounts"], with_frame=codes.frame is not None)
    day = as_date(asked[date], f"{key}.{date}")
    if day > today:
        raise Refused(f"{key}.{date}", f"{day} is still to come")
    insured, authorisation = (
        as_reference(asked[each], f"{key}.{each}") if asked.get(each) is not None else None
        for each in ("insured", "authorisation")
    )
    payer = asked["payer"]
    if not isinstance(payer, str) or not _PAYER.fullmatch(payer):
        raise Refused(f"{key}.payer", "must be the payer's label, or its id of 32 digits")
    agreement = document.get("authorisation_reference")
    request = ClaimRequest(
        reference,
        prescription_reference,
        handed,
        payer,
        LEGS.index(as_choice(asked["leg"], f"{key}.leg", LEGS)),
        codes,
        lenses_cents,
        frame_cents,
        day,
        insured,
        authorisation,
        None if agreement is None else as_reference(agreement, "authorisation_reference"),
    )
    if handed is not None:
        require_prescribed(request, handed.prescription)
    return request


def parse_handed(data: bytes, name: str, *, today: str) -> HandedPrescription:
    """Return the prescription in a file: a bare VisionPrescription, or one with its secret.

    Raises `NotReadable`, `Refused`.
    """
    document = parse_object(data, name)
    screening.require_none(document)
    reference = secret = None
    resource: object = document
    if document.get("format") == PRESCRIPTION_FORMAT:
        required = frozenset(("format", "prescription"))
        require_names(document, _HANDED, "file", required=required)
        resource = document["prescription"]
        secret = _parse_secret(document.get("secret"))
        if document.get("reference") is not None:
            reference = as_reference(document["reference"], "reference")
    prescription = parse_prescription(resource)
    if prescription.written > today:
        raise Refused("prescription.dateWritten", f"{prescription.written} is still to come")
    return HandedPrescription(reference, prescription, secret)


def _parse_prescribed(
    document: dict[str, Any], reference: str
) -> tuple[str, HandedPrescription | None]:
    """Return the shop's reference of the prescription, and what stands in the file of it."""
    given = document.get("prescription_reference")
    name = as_reference(reference if given is None else given, "prescription_reference")
    if "prescription" in document:
        prescription = parse_prescription(document["prescription"])
        return name, HandedPrescription(name, prescription, _parse_secret(document.get("secret")))
    if given is None:
        raise Refused(
            "prescription",
            "is missing",
            hint="put it in, or give the prescription_reference of one that is kept",
        )
    return name, None


def _parse_secret(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * SECRET_BYTES}}}", value):
        return bytes.fromhex(value)
    raise Refused("secret", f"must be {2 * SECRET_BYTES} hexadecimal digits, lower case")


def _parse_codes(value: object) -> Codes:
    codes = as_object(value, "codes")
    require_names(codes, _CODES, "codes", required=frozenset())
    supplements = as_list(codes.get("supplements") or [], "codes.supplements", limit=16)

    def code(item: object, field: str) -> str:
        if not isinstance(item, str):
            raise Refused(field, "must be a grouping code such as VU2")
        return item

    right, left, frame = (
        code(codes[key], f"codes.{key}") if codes.get(key) is not None else None
        for key in ("right", "left", "frame")
    )
    return Codes(
        right, left, frame, tuple(sorted(code(item, "codes.supplements") for item in supplements))
    )


def require_prescribed(request: ClaimRequest, prescription: Prescription) -> None:
    """Raise `Refused` if what is claimed is not what the prescription calls for."""
    if request.invoice_date < prescription.written:
        raise Refused(
            "claim.invoice_date", f"is before the prescription, written {prescription.written}"
        )
    for side, lens in nomenclature.lenses(request.codes).items():
        correction = prescription.correction(side)
        if correction is None:
            raise Refused(
                f"codes.{side}", f"{lens.code} is claimed, but no {side} lens is prescribed"
            )
        if lens.design == "multifocal" and correction.addition is None:
            raise Refused(
                f"codes.{side}", f"{lens.code} is multifocal, but no addition is prescribed"
            )


def _parse_amounts(value: object, *, with_frame: bool) -> tuple[int, int | None]:
    amounts: dict[str, Any] = as_object(value, "amounts")
    required = _AMOUNTS if with_frame else frozenset(("lenses",))
    require_names(amounts, _AMOUNTS, "amounts", required=required)
    if not with_frame and amounts.get("frame") is not None:
        raise Refused("amounts.frame", "an amount for a frame, but no code of a frame")
    cents = {part: as_integer(amounts[part], f"amounts.{part}", unit="cents") for part in required}
    for part, amount in cents.items():
        if not 0 <= amount <= AMOUNT_MAX:
            raise Refused(f"amounts.{part}", f"must lie between 0 and {AMOUNT_MAX} cents")
    if not sum(cents.values()):
        raise Refused("amounts", "nothing is claimed: they add up to 0")
    return cents["lenses"], cents.get("frame")
