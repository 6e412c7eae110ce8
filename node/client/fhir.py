"""A FHIR `VisionPrescription`, of R4 or R5, judged at the door and brought into one canonical form.

Canonical: positive cylinder, hundredths of a dioptre, axis 1 to 180. Names, notes, brands and
whatever else is free text or about the patient is left out here and never kept. All that is wrong
is said at once. The fields are those of both releases, which differ in none that is kept.
Source: hl7.org/fhir/visionprescription.html; FHIR ties no axis to a cylinder, this does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from contracts.identifiers import passes_luhn
from contracts.nomenclature.correction import Correction, Prism, canonical
from node.client import screening
from node.client.errors import Refused
from node.client.faults import Faults
from node.client.identity import without_identity
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
_ADELI: Final = re.compile(r"\d{9}", re.ASCII)  # of those who have no RPPS number yet
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,39}(\.[A-Za-z_]\w{0,39})?|identifier \(INS\)", re.ASCII)
# The national identifier of a professional (IdNat_PS): a digit that tells which number follows.
_NATIONAL: Final = re.compile(r"8(\d{11})|0(\d{9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Prescription:
    """A prescription in canonical form."""

    written: str  # day, YYYY-MM-DD
    prescriber: str  # RPPS number, or that of ADELI
    right: Correction | None
    left: Correction | None
    # Names of fields that did not enter; two that differ in these are one prescription.
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def correction(self, side: str) -> Correction | None:
        """Return the correction of the "right" or "left" eye."""
        return self.right if side == "right" else self.left


def parse_prescription(value: object, field: str = "prescription") -> Prescription:
    """Return the prescription in a VisionPrescription; raise `Refused`, or all of it at once."""
    value, persons = without_identity(value)
    screening.require_none(value, field)
    resource = as_object(value, field)
    if resource.get("resourceType") != "VisionPrescription":
        raise Refused(f"{field}.resourceType", "must be VisionPrescription (FHIR R4 or R5)")
    faults = Faults()
    if resource.get("status") != "active":
        why = "must be active; a draft or cancelled one serves nothing"
        faults.add(Refused(f"{field}.status", why))
    moment = resource.get("dateWritten")
    written = moment[:10] if isinstance(moment, str) and "T" in moment else moment
    day = faults.take("", as_date, written, f"{field}.dateWritten")
    prescriber = faults.take("", _parse_prescriber, resource, f"{field}.prescriber")
    inside = f"{field}.lensSpecification"
    lenses = faults.take(None, as_list, resource.get("lensSpecification"), inside, limit=4)
    if lenses is not None and not lenses:
        faults.add(Refused(inside, "there is no lens"))
    eyes: dict[str, Correction] = {}
    left_out = [*persons, *(name for name in resource if name not in _KEPT)]
    for index, item in enumerate(lenses or ()):
        faults.take(None, _parse_lens, item, f"{inside}[{index}]", eyes)
        if isinstance(item, dict):
            left_out += [f"lensSpecification.{name}" for name in item if name not in _KEPT_OF_LENS]
    faults.require_none()
    return Prescription(
        day, prescriber, eyes.get("right"), eyes.get("left"), _fit_to_show(left_out)
    )


def _fit_to_show(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of fields that did not enter, each once; what is no name is not repeated."""
    return tuple(sorted({name for name in names if _NAME.fullmatch(name)}))


def _parse_lens(value: object, inside: str, eyes: dict[str, Correction]) -> None:
    """Put the correction of a lens among those of the other eyes; raise `Refused`."""
    lens = as_object(value, inside)
    eye = as_choice(lens.get("eye"), f"{inside}.eye", ("right", "left"))
    if eye in eyes:
        raise Refused(f"{inside}.eye", f"the {eye} eye stands twice")
    faults = Faults()
    faults.take(None, _require_spectacle_lens, lens.get("product"), f"{inside}.product")
    found = faults.take(None, _parse_correction, lens, f"{eye} eye")
    faults.require_none()
    assert found is not None  # otherwise there was a fault
    eyes[eye] = found


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
    faults = Faults()

    def dioptres(name: str, most: int, *, least: int | None = None) -> int | None:
        value = lens.get(name)
        if value is None:
            return None
        where = f"{field}, {name}"
        return faults.take(None, _parse_dioptres, value, where, most, least=least)

    sphere = dioptres("sphere", SPHERE_MAX) or 0  # a neutral lens has none
    cylinder = dioptres("cylinder", CYLINDER_MAX)
    addition = dioptres("add", ADDITION_MAX, least=STEP)
    axis: int | None = None
    if lens.get("axis") is not None:
        axis = faults.take(None, _parse_axis, lens["axis"], f"{field}, axis")
    if lens.get("cylinder") is None and lens.get("axis") is not None:
        why = "is missing, and an axis needs its cylinder"
        faults.add(Refused(f"{field}, cylinder", why))
    if cylinder and lens.get("axis") is None:
        faults.add(Refused(f"{field}, axis", "is missing, and a cylinder needs its axis"))
    items = faults.take([], as_list, lens.get("prism", []), f"{field}, prism", limit=2)
    prisms = [
        faults.take(None, _parse_prism, item, f"{field}, prism {index + 1}")
        for index, item in enumerate(items)
    ]
    faults.require_none()
    return Correction(
        *canonical(sphere, cylinder, axis), addition, tuple(each for each in prisms if each)
    )


def _parse_axis(value: object, field: str) -> int:
    axis = as_integer(value, field, unit="degrees")
    if abs(axis) > AXIS_MAX:
        shown = str(axis)[:_DIGITS]
        raise Refused(field, f"{shown} degrees; an axis lies between 1 and {AXIS_MAX}")
    return axis


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


def _parse_prescriber(resource: dict[str, Any], field: str) -> str:
    """Return the number of a prescriber, RPPS or ADELI; only the number is kept."""
    prescriber = as_object(resource.get("prescriber"), field)
    found = prescriber.get("identifier") or _contained_identifiers(resource, prescriber)
    field = f"{field}.identifier"
    if found is None:
        raise Refused(field, "is missing: the prescriber's RPPS number, 11 digits")
    identifiers = found if isinstance(found, list) else [as_object(found, field)]
    numbers = [
        _NATIONAL.sub(r"\1\2", value) if _NATIONAL.fullmatch(value) else value
        for each in identifiers
        if isinstance(each, dict) and isinstance(value := each.get("value"), str)
    ]
    # Of several numbers the one of the national directory speaks.
    number = next((each for each in numbers if _RPPS.fullmatch(each)), "")
    number = number or next((each for each in numbers if _ADELI.fullmatch(each)), "")
    if not number:
        raise Refused(
            f"{field}.value",
            "must be the prescriber's RPPS number, 11 digits, or that of ADELI, 9",
            hint="annuaire.sante.fr tells the RPPS number of a prescriber",
        )
    if _RPPS.fullmatch(number) and not passes_luhn(number):
        raise Refused(f"{field}.value", "the last digit of the RPPS number does not fit the others")
    return number


def _contained_identifiers(resource: dict[str, Any], prescriber: dict[str, Any]) -> object:
    """Return the identifiers of the resource within this one that `prescriber` refers to."""
    found = _contained(resource, prescriber)
    if isinstance(role := found.get("practitioner"), dict):  # of a PractitionerRole
        return role.get("identifier") or _contained(resource, role).get("identifier")
    return found.get("identifier")


def _contained(resource: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    contained = resource.get("contained")
    for each in contained if isinstance(contained, list) else ():
        if isinstance(each, dict) and reference.get("reference") == f"#{each.get('id')}":
            return each
    return {}


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
