"""A FHIR R4 `VisionPrescription` judged at the door and brought into one canonical form.

Canonical: positive cylinder, hundredths of a dioptre, axis 1 to 180. Names, notes, brands and
whatever else is free text or about the patient is left out here and never kept.
Source: hl7.org/fhir/R4/visionprescription.html; FHIR ties no axis to a cylinder, this does.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from contracts.identifiers import passes_luhn
from contracts.nomenclature.correction import Correction, Prism, canonical
from node.client import screening
from node.client.errors import Refused
from node.client.reading import as_choice, as_date, as_integer, as_list, as_object

STEP: Final = 25  # hundredths of a dioptre: lenses are made in quarters
# Wider than any lens that is made, narrow enough that a comma in the wrong place shows.
SPHERE_MAX: Final = 40_00
CYLINDER_MAX: Final = 15_00
ADDITION_MAX: Final = 12_00
PRISM_MAX: Final = 40_00
AXIS_MAX: Final = 180  # degrees; FHIR counts from -180, a frame from 1
_DIGITS: Final = 8
_BASES: Final = ("up", "down", "in", "out")
_KEPT: Final = frozenset(
    ("resourceType", "status", "dateWritten", "prescriber", "lensSpecification")
)
_KEPT_OF_LENS: Final = frozenset(("product", "eye", "sphere", "cylinder", "axis", "prism", "add"))
_RPPS: Final = re.compile(r"\d{11}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Prescription:
    """A prescription in canonical form."""

    written: str  # day, YYYY-MM-DD
    prescriber: str  # RPPS number
    right: Correction | None
    left: Correction | None
    # Names of fields that did not enter; two that differ in these are one prescription.
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def correction(self, side: str) -> Correction | None:
        """Return the correction of the "right" or "left" eye."""
        return self.right if side == "right" else self.left


def parse_prescription(value: object, field: str = "prescription") -> Prescription:
    """Return the prescription in a FHIR R4 VisionPrescription; raise `Refused`."""
    screening.require_none(value, field)
    resource = as_object(value, field)
    if resource.get("resourceType") != "VisionPrescription":
        raise Refused(f"{field}.resourceType", "must be VisionPrescription (FHIR R4)")
    if resource.get("status") != "active":
        raise Refused(f"{field}.status", "must be active; a draft or cancelled one serves nothing")
    moment = resource.get("dateWritten")
    written = moment[:10] if isinstance(moment, str) and "T" in moment else moment
    lenses = as_list(resource.get("lensSpecification"), f"{field}.lensSpecification", limit=4)
    if not lenses:
        raise Refused(f"{field}.lensSpecification", "there is no lens")
    eyes: dict[str, Correction] = {}
    left_out = [name for name in resource if name not in _KEPT]
    for index, item in enumerate(lenses):
        inside = f"{field}.lensSpecification[{index}]"
        lens = as_object(item, inside)
        eye = as_choice(lens.get("eye"), f"{inside}.eye", ("right", "left"))
        if eye in eyes:
            raise Refused(f"{inside}.eye", f"the {eye} eye stands twice")
        _require_spectacle_lens(lens.get("product"), f"{inside}.product")
        eyes[eye] = _parse_correction(lens, f"{eye} eye")
        left_out += [f"lensSpecification.{name}" for name in lens if name not in _KEPT_OF_LENS]
    return Prescription(
        as_date(written, f"{field}.dateWritten"),
        _parse_prescriber(resource.get("prescriber"), f"{field}.prescriber"),
        eyes.get("right"),
        eyes.get("left"),
        tuple(sorted({name for name in left_out if name.replace(".", "").isidentifier()})),
    )


def _require_spectacle_lens(value: object, field: str) -> None:
    codings = as_object(value, field).get("coding")
    for coding in as_list(codings, f"{field}.coding", limit=8):
        code = as_object(coding, f"{field}.coding").get("code")
        if code == "lens":
            return
        if code == "contact":
            raise Refused(field, "contact lenses are not claimed here, only spectacle lenses")
    raise Refused(field, "must be coded lens")


def _parse_correction(lens: dict[str, Any], field: str) -> Correction:
    sphere = 0  # a neutral lens has none
    cylinder = axis = addition = None
    if lens.get("sphere") is not None:
        sphere = _parse_dioptres(lens["sphere"], f"{field}, sphere", SPHERE_MAX)
    if lens.get("cylinder") is not None:
        cylinder = _parse_dioptres(lens["cylinder"], f"{field}, cylinder", CYLINDER_MAX)
    if lens.get("axis") is not None:
        axis = as_integer(lens["axis"], f"{field}, axis", unit="degrees")
        if abs(axis) > AXIS_MAX:
            raise Refused(
                f"{field}, axis",
                f"{str(axis)[:_DIGITS]} degrees; an axis lies between 1 and {AXIS_MAX}",
            )
    if cylinder and axis is None:
        raise Refused(f"{field}, axis", "is missing, and a cylinder needs its axis")
    if axis is not None and cylinder is None:
        raise Refused(f"{field}, cylinder", "is missing, and an axis needs its cylinder")
    if lens.get("add") is not None:
        addition = _parse_dioptres(lens["add"], f"{field}, add", ADDITION_MAX, least=STEP)
    prisms = tuple(
        _parse_prism(item, f"{field}, prism {index + 1}")
        for index, item in enumerate(as_list(lens.get("prism", []), f"{field}, prism", limit=2))
    )
    return Correction(*canonical(sphere, cylinder, axis), addition, prisms)


def _parse_prism(value: object, field: str) -> Prism:
    prism = as_object(value, field)
    return Prism(
        _parse_dioptres(prism.get("amount"), f"{field}, amount", PRISM_MAX, least=STEP),
        as_choice(prism.get("base"), f"{field}, base", _BASES),
    )


def _parse_dioptres(value: object, field: str, most: int, *, least: int | None = None) -> int:
    """Return a decimal number of dioptres as hundredths; raise `Refused`."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Refused(field, "must be a number of dioptres, such as -2.25")
    number = Decimal(value)
    low = -most if least is None else least
    if not Decimal(low) / 100 <= number <= Decimal(most) / 100:
        raise Refused(field, f"must lie between {_shown(low)} and {_shown(most)} dioptres")
    short = len(number.as_tuple().digits) <= _DIGITS  # beyond, Decimal would round
    if not short or (number * 4) % 1:
        shown = f"{number:f}" if len(str(number)) <= _DIGITS else "this"
        raise Refused(field, f"{shown} is no step of a quarter of a dioptre (0.25)")
    return int(number * 4) * STEP


def _shown(hundredths: int) -> str:
    return f"{Decimal(hundredths) / 100:.2f}"


def _parse_prescriber(value: object, field: str) -> str:
    """Return the RPPS number of a prescriber; only the number is kept."""
    identifier = as_object(as_object(value, field).get("identifier"), f"{field}.identifier")
    number = identifier.get("value")
    field = f"{field}.identifier.value"
    if not isinstance(number, str) or not _RPPS.fullmatch(number):
        raise Refused(field, "must be the prescriber's RPPS number, 11 digits")
    if not passes_luhn(number):
        raise Refused(field, "the last digit of the RPPS number does not fit the others")
    return number


def as_text(correction: Correction | None) -> str | None:
    """Return a correction as opticians write it: `-4.25 (+1.75) 75° Add 2.00`; None for none."""
    if correction is None:
        return None
    text = f"{correction.sphere / 100:+.2f}"
    if correction.cylinder is not None:
        text += f" ({correction.cylinder / 100:+.2f}) {correction.axis}°"
    if correction.addition is not None:
        text += f" Add {_shown(correction.addition)}"
    for prism in correction.prisms:
        text += f" prism {_shown(prism.amount)} {prism.base}"
    return text


def as_resource(prescription: Prescription) -> dict[str, Any]:
    """Return a VisionPrescription that `parse_prescription` reads as this; of nobody."""
    lenses = []
    for side in ("right", "left"):
        correction = prescription.correction(side)
        if correction is None:
            continue
        lens: dict[str, Any] = {
            "product": {"coding": [{"code": "lens"}]},
            "eye": side,
            "sphere": Decimal(correction.sphere) / 100,
        }
        if correction.cylinder is not None:
            lens |= {"cylinder": Decimal(correction.cylinder) / 100, "axis": correction.axis}
        if correction.addition is not None:
            lens["add"] = Decimal(correction.addition) / 100
        if correction.prisms:
            lens["prism"] = [
                {"amount": Decimal(prism.amount) / 100, "base": prism.base}
                for prism in correction.prisms
            ]
        lenses.append(lens)
    return {
        "resourceType": "VisionPrescription",
        "status": "active",
        "dateWritten": prescription.written,
        "prescriber": {"identifier": {"value": prescription.prescriber}},
        "lensSpecification": lenses,
    }
