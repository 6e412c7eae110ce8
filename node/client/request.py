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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from contracts.nomenclature.codes import Codes
from node.client import nomenclature, screening
from node.client.errors import Refused
from node.client.faults import Faults
from node.client.fhir import Prescription, parse_prescription
from node.client.identity import without_identity
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
_HANDED: Final = frozenset(("format", "prescription", "reference", "secret", "ordinal"))
ORDINAL_MAX: Final = 1_000  # as documents have it
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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HandedPrescription:
    """A prescription, the shop's reference of it, and its secret where it came with one."""

    reference: str | None
    prescription: Prescription
    secret: bytes | None
    ordinal: int = 0  # of the marks that are used, where it came with a secret


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
    # Names of what stood in the document and did not enter.
    left_out: tuple[str, ...] = field(default=(), compare=False)

    @property
    def amount_cents(self) -> int:
        """What is claimed in all."""
        return self.lenses_cents + (self.frame_cents or 0)


def parse_claim(data: bytes, name: str, *, today: str) -> ClaimRequest:
    """Return the claim in a file's bytes; raise `NotReadable` or `Refused`. `name` is the file."""
    return claim_of(parse_object(data, name), today=today)


def parse_authorisation(data: bytes, name: str, *, today: str) -> ClaimRequest:
    """Return the request for a prior agreement in a file's bytes; raise as `parse_claim`.

    Its `invoice_date` is the date of the quote.
    """
    return authorisation_of(parse_object(data, name), today=today)


def claim_of(document: dict[str, Any], *, today: str) -> ClaimRequest:
    """Return the claim in a document of our format; raise `Refused`, or all of it at once."""
    document, left = without_identity(document)
    asked = _parse_top(document, FORMAT, "claim")
    faults = Faults()
    faults.take(None, require_names, document, _TOP, "file", required=frozenset())
    _require_names(asked, _CLAIM, "claim", faults)
    if asked.get("insured") is None and asked.get("authorisation") is None:
        faults.add(
            Refused(
                "claim.insured",
                "is missing, and so is an authorisation: the payer cannot know whose claim it is",
                hint="give the payer's own reference of the insured, or the number it authorised",
            )
        )
    return _parse_asked(document, asked, _Asked("claim", "invoice_date", today, left), faults)


def authorisation_of(document: dict[str, Any], *, today: str) -> ClaimRequest:
    """Return the request for a prior agreement in a document of our format; raise as `claim_of`."""
    document, left = without_identity(document)
    asked = _parse_top(document, AUTHORISATION_FORMAT, "authorisation")
    faults = Faults()
    faults.take(None, require_names, document, _ASKING, "file", required=frozenset())
    _require_names(asked, _ASKED, "authorisation", faults)
    if asked.get("insured") is None:
        faults.add(
            Refused(
                "authorisation.insured",
                "is missing: the payer cannot know whom it is asked for",
                hint="give the payer's own reference of the insured",
            )
        )
    return _parse_asked(document, asked, _Asked("authorisation", "quote_date", today, left), faults)


def _parse_top(document: dict[str, Any], format_: str, key: str) -> dict[str, Any]:
    """Return what stands under `key` in a document of this format; raise `Refused`."""
    screening.require_none(document)
    if document.get("format") != format_:
        raise Refused("file.format", f"must be {format_}")
    if key not in document:
        raise Refused(f"file.{key}", "is missing")
    return as_object(document[key], key)


def _require_names(asked: dict[str, Any], fields: frozenset[str], key: str, faults: Faults) -> None:
    required = fields - {"insured", "authorisation"}
    faults.take(None, require_names, asked, fields, key, required=required)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for, and when."""

    key: str  # under which it stands
    date: str  # name of its date
    today: str
    left_out: tuple[str, ...]


def _parse_asked(
    document: dict[str, Any], asked: dict[str, Any], what: _Asked, faults: Faults
) -> ClaimRequest:
    """Return what is asked; raise `Refused` for every fault, with those that were found before."""
    key = what.key

    def given(name: str, instead: T, parse: Callable[..., T], *extra: object) -> T:
        """Return a field; `instead` where it is missing, which was said."""
        value = asked.get(name)
        if value is None and name not in asked:
            return instead
        return faults.take(instead, parse, value, f"{key}.{name}", *extra)

    reference = given("reference", "", as_reference)
    prescription_reference, handed = faults.take(("", None), _parse_prescribed, document, reference)
    codes, with_frame = Codes(), False
    if "codes" in asked:
        codes = faults.take(codes, _parse_codes, asked["codes"])
        with_frame = isinstance(asked["codes"], dict) and asked["codes"].get("frame") is not None
    lenses_cents, frame_cents = 0, None
    if "amounts" in asked:
        lenses_cents, frame_cents = faults.take(
            (0, None), _parse_amounts, asked["amounts"], with_frame=with_frame
        )
    day = given(what.date, "", as_date)
    if day > what.today:
        faults.add(Refused(f"{key}.{what.date}", f"{day} is still to come"))
    insured, authorisation = (
        faults.take(None, as_reference, asked[each], f"{key}.{each}")
        if asked.get(each) is not None
        else None
        for each in ("insured", "authorisation")
    )
    payer = given("payer", "", _parse_payer)
    leg = given("leg", LEGS[0], as_choice, LEGS)
    agreement = document.get("authorisation_reference")
    if agreement is not None:
        where = "authorisation_reference"
        agreement = faults.take(None, as_reference, agreement, where)
    request = ClaimRequest(
        reference,
        prescription_reference,
        handed,
        payer,
        LEGS.index(leg),
        codes,
        lenses_cents,
        frame_cents,
        day,
        insured,
        authorisation,
        agreement,
        tuple(sorted({*what.left_out, *(handed.prescription.left_out if handed else ())})),
    )
    if handed is not None and day and codes != Codes():
        faults.take(None, require_prescribed, request, handed.prescription)
    faults.require_none()
    return request


def _parse_payer(value: object, field: str) -> str:
    if not isinstance(value, str) or not _PAYER.fullmatch(value):
        raise Refused(field, "must be the payer's label, or its id of 32 digits")
    return value


def parse_handed(data: bytes, name: str, *, today: str) -> HandedPrescription:
    """Return the prescription in a file: a bare VisionPrescription, or one with its secret.

    Raises `NotReadable`, `Refused`.
    """
    return handed_of(parse_object(data, name), today=today)


def handed_of(document: dict[str, Any], *, today: str) -> HandedPrescription:
    """Return the prescription in a document, as `parse_handed`; raise `Refused`."""
    document, left = without_identity(document)
    screening.require_none(document)
    faults = Faults()
    reference = secret = None
    ordinal = 0
    resource: object = document
    if document.get("format") == PRESCRIPTION_FORMAT:
        required = frozenset(("format", "prescription"))
        require_names(document, _HANDED, "file", required=required)
        resource = document["prescription"]
        secret = faults.take(None, _parse_secret, document.get("secret"))
        ordinal = faults.take(0, _parse_ordinal, document.get("ordinal", 0))
        if document.get("reference") is not None:
            reference = faults.take(None, as_reference, document["reference"], "reference")
    prescription = faults.take(None, parse_prescription, resource)
    if prescription is not None and prescription.written > today:
        why = f"{prescription.written} is still to come"
        faults.add(Refused("prescription.dateWritten", why))
    faults.require_none()
    assert prescription is not None  # otherwise there was a fault
    if left:
        names = tuple(sorted({*prescription.left_out, *left}))
        prescription = replace(prescription, left_out=names)
    return HandedPrescription(reference, prescription, secret, ordinal)


def _parse_ordinal(value: object) -> int:
    ordinal = as_integer(value, "ordinal", unit="reimbursements")
    if not 0 <= ordinal <= ORDINAL_MAX:
        raise Refused("ordinal", f"must lie between 0 and {ORDINAL_MAX}")
    return ordinal


def _parse_prescribed(
    document: dict[str, Any], reference: str
) -> tuple[str, HandedPrescription | None]:
    """Return the shop's reference of the prescription, and what stands in the file of it."""
    faults = Faults()
    name = reference
    given = document.get("prescription_reference")
    if given is not None:
        name = faults.take("", as_reference, given, "prescription_reference")
    handed = None
    if "prescription" in document:
        secret = faults.take(None, _parse_secret, document.get("secret"))
        prescription = faults.take(None, parse_prescription, document["prescription"])
        if prescription is not None:
            handed = HandedPrescription(name, prescription, secret)
    elif given is None:
        faults.add(
            Refused(
                "prescription",
                "is missing",
                hint="put it in, or give the prescription_reference of one that is kept",
            )
        )
    faults.require_none()
    return name, handed


def _parse_secret(value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * SECRET_BYTES}}}", value):
        return bytes.fromhex(value)
    raise Refused("secret", f"must be {2 * SECRET_BYTES} hexadecimal digits, lower case")


def _parse_codes(value: object) -> Codes:
    """Return the codes, which may stand together; raise `Refused`."""
    codes = as_object(value, "codes")
    faults = Faults()
    faults.take(None, require_names, codes, _CODES, "codes", required=frozenset())
    supplements = faults.take(
        [], as_list, codes.get("supplements") or [], "codes.supplements", limit=16
    )

    def code(item: object, field: str) -> str:
        if not isinstance(item, str):
            raise Refused(field, "must be a grouping code such as VU2")
        nomenclature.require_known(item, field)
        return item

    right, left, frame = (
        faults.take(None, code, codes[key], f"codes.{key}") if codes.get(key) is not None else None
        for key in ("right", "left", "frame")
    )
    others = [faults.take("", code, item, "codes.supplements") for item in supplements]
    faults.require_none()
    found = Codes(right, left, frame, tuple(sorted(others)))
    nomenclature.require_valid(found)
    return found


def require_prescribed(request: ClaimRequest, prescription: Prescription) -> None:
    """Raise `Refused` if what is claimed is not what the prescription calls for."""
    faults = Faults()
    if request.invoice_date < prescription.written:
        why = f"is before the prescription, written {prescription.written}"
        faults.add(Refused("claim.invoice_date", why))
    for side, lens in nomenclature.lenses(request.codes).items():
        correction = prescription.correction(side)
        if correction is None:
            why = f"{lens.code} is claimed, but no {side} lens is prescribed"
            faults.add(Refused(f"codes.{side}", why))
        elif lens.design == "multifocal" and correction.addition is None:
            why = f"{lens.code} is multifocal, but no addition is prescribed"
            faults.add(Refused(f"codes.{side}", why))
    faults.require_none()


def _parse_amounts(value: object, *, with_frame: bool) -> tuple[int, int | None]:
    amounts: dict[str, Any] = as_object(value, "amounts")
    required = _AMOUNTS if with_frame else frozenset(("lenses",))
    faults = Faults()
    faults.take(None, require_names, amounts, _AMOUNTS, "amounts", required=required)
    if not with_frame and amounts.get("frame") is not None:
        faults.add(Refused("amounts.frame", "an amount for a frame, but no code of a frame"))
    cents = {
        part: faults.take(None, _parse_cents, amounts[part], f"amounts.{part}")
        for part in sorted(required & amounts.keys())
    }
    if not faults.found and not sum(amount or 0 for amount in cents.values()):
        faults.add(Refused("amounts", "nothing is claimed: they add up to 0"))
    faults.require_none()
    return cents["lenses"] or 0, cents.get("frame")


def _parse_cents(value: object, field: str) -> int:
    amount = as_integer(value, field, unit="cents")
    if not 0 <= amount <= AMOUNT_MAX:
        raise Refused(field, f"must lie between 0 and {AMOUNT_MAX} cents")
    return amount
