"""Write the example claims of scripts/data: the same files at every run, and nobody real in them.

    scripts/make_claims.py [FOLDER]        the default is the folder `data` beside this file

`claims/` holds claims that are to be accepted at the shop's door, `bad/` claims that are to be
refused there, with the sentence expected for each in `refusals.json`. `forms/` holds some of the
former once more as other programs write them: a table, and FHIR of two releases.
"""

import copy
import csv
import datetime as dt
import io
import json
import random
import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

SEED = 2018_12_03  # the day of the decree whose cases these are
PAYERS = ("insurer-a", "insurer-b", "payment-operator")  # of `depoli testnet create`
PARTS = ("lenses", "frame")
INS_NIR = "urn:oid:1.2.250.1.213.1.4.8"
SOCIAL_SECURITY_NUMBER = "180127512345642"  # the published test number, of nobody
# What a pair costs, in euros: capped for class A, what the shop asks for class B.
PRICES_A = {"a": 75, "c": 120, "f": 185}
PRICES_B = {"a": 110, "c": 215, "f": 295}

IN_FORMS = (0, 2, 4, 11, 20, 22, 29, 34)  # one and two lenses, with and without cylinder, a frame

Eye = tuple[str, str | None, int | None, str | None] | None
Eyes = tuple[Eye, Eye]

# Right eye, left eye: (sphere, cylinder, axis, addition) in dioptres and degrees; None: no lens.
# Prescribers write cylinders of either sign; what is sold is one and the same lens.
ADULTS: tuple[Eyes, ...] = (
    (("-2.00", None, None, None), ("-2.25", None, None, None)),
    (("-1.25", "-0.50", 10, None), ("-1.00", "-0.75", 170, None)),
    (("-2.50", "-1.75", 165, None), ("-2.25", "-1.25", 10, None)),
    (("+1.50", None, None, None), ("+1.75", None, None, None)),
    (("+1.25", "+0.75", 90, None), ("+1.50", "+0.50", 85, None)),
    (("-6.50", None, None, None), ("-7.00", None, None, None)),
    (("-3.00", "+4.50", 95, None), ("-2.75", "+4.25", 80, None)),
    (("-9.25", "-1.00", 20, None), ("-8.50", "-0.75", 160, None)),
    (("+5.00", "+1.75", 100, None), ("+4.75", "+1.50", 75, None)),
    (("+0.50", None, None, "2.00"), ("+0.75", None, None, "2.00")),
    (("-1.50", "-0.50", 15, "1.75"), ("-1.75", "-0.75", 165, "1.75")),
    (("+2.00", "+0.50", 95, "2.25"), ("+2.25", "+0.25", 90, "2.25")),
    (("-4.75", None, None, "2.50"), ("-5.00", None, None, "2.50")),
    (("-3.00", "+4.25", 100, "2.00"), ("-2.50", "+4.50", 85, "2.00")),
    (("-8.50", "+0.75", 110, "1.50"), ("-9.00", "+0.50", 70, "1.50")),
    (("+7.00", "+1.50", 90, "3.00"), ("+6.75", "+1.75", 95, "3.00")),
    (("-0.75", None, None, None), ("-6.75", None, None, None)),  # simple and complex
    (("+0.25", None, None, "2.25"), ("-4.50", None, None, "2.25")),  # complex and very complex
    (("0.00", None, None, "1.00"), ("0.00", None, None, "1.00")),
    (("-2.00", "-1.00", 20, None), None),  # one lens replaced
    (None, ("+3.25", "+0.50", 5, None)),
    (None, ("-5.50", None, None, "2.75")),
)
CHILDREN: tuple[Eyes, ...] = (
    (("+3.50", None, None, None), ("+3.75", None, None, None)),
    (("+4.25", "+1.00", 90, None), ("+4.50", "+1.25", 90, None)),
    (("-1.75", None, None, None), ("-1.50", "-0.25", 180, None)),
    (("-4.00", "-1.50", 5, None), ("-4.25", "-1.75", 175, None)),
    (("+6.50", None, None, None), ("+6.25", None, None, None)),
    (("+2.00", None, None, None), None),
)


def main() -> int:
    """Write all files anew."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "data"
    claims = list(make_claims())
    for name in ("claims", "bad", "forms"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    for document in claims:
        name = f"{document['claim']['reference'].lower()}.json"
        write(folder / "claims" / name, document)
    some = [claims[number] for number in IN_FORMS]
    (folder / "forms" / "day.csv").write_bytes(as_table(some).encode("cp1252"))
    write(folder / "forms" / "day-r4.json", as_bundle(some, "R4"))
    write(folder / "forms" / "day-r5.json", as_bundle(some, "R5"))
    expected = {}
    for name, document, sentence in make_bad(claims):
        write(folder / "bad" / f"{name}.json", document)
        expected[f"{name}.json"] = sentence
    write(folder / "refusals.json", expected)
    print(f"wrote {len(claims)} claims and {len(expected)} bad ones to {folder}")
    return 0


def write(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write one file; decimals as JSON numbers with the digits they have."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=lambda d: f"\x00{d}\x00")
    path.write_text(text.replace('"\\u0000', "").replace('\\u0000"', "") + "\n", encoding="utf-8")


def make_claims() -> Iterator[dict[str, Any]]:
    """Yield the claims that are to be accepted."""
    chance = random.Random(SEED)  # noqa: S311 - data, not keys
    number = 0
    for wearers, child in ((ADULTS, False), (CHILDREN, True)):
        for index, eyes in enumerate(wearers):
            # Class A, class B, and both mixed (the frame of one, the lenses of the other).
            lens_class, frame_class = (("A", "A"), ("B", "B"), ("A", "B"), ("B", "A"))[index % 4]
            number += 1
            yield make_claim(chance, number, eyes, lens_class, frame_class, child=child)
    # The two legs of one pair of glasses: one prescription, two payers.
    for index in (1, 10, 14):
        eyes = ADULTS[index]
        reference = f"ORD-2025-{9000 + index}"
        shared = prescription(eyes, 9000 + index, "2024-11-18", chance)
        for leg in ("base", "complementary"):
            number += 1
            claim = make_claim(chance, number, eyes, "B", "B", child=False)
            claim["prescription_reference"] = reference
            claim["prescription"] = shared
            claim["claim"]["leg"] = leg
            if leg == "base":
                claim["claim"]["payer"] = "payment-operator"
                claim["claim"]["amounts"] = {"lenses": 6, "frame": 3}  # 60 % of 0.05 € each
            yield claim
    # Lenses alone, into a frame that the wearer has.
    for index in (0, 11, 6, 13):
        number += 1
        claim = make_claim(chance, number, ADULTS[index], "AB"[index % 2], "A", child=False)
        del claim["claim"]["codes"]["frame"], claim["claim"]["amounts"]["frame"]
        yield claim


def make_claim(
    chance: random.Random,
    number: int,
    eyes: Eyes,
    lens_class: str,
    frame_class: str,
    *,
    child: bool,
) -> dict[str, Any]:
    """Return one claim with its prescription."""
    codes: dict[str, Any] = {}
    lenses_cents = 0
    for side, eye in zip(("right", "left"), eyes, strict=True):
        if eye is not None:
            code, kind = grouping_code(eye, lens_class)
            codes[side] = code
            lenses_cents += 100 * (PRICES_A if lens_class == "A" else PRICES_B)[kind] // 2
    codes["frame"] = {("A", False): "M01", ("A", True): "M02", ("B", False): "M03"}.get(
        (frame_class, child), "M04"
    )
    frame_cents = 30_00 if frame_class == "A" else chance.randrange(45_00, 100_01, 50)
    supplements = []
    if number % 5 == 0:
        supplements.append("S01" if lens_class == "A" else "SV1")
        lenses_cents += 10_00
    if number % 7 == 0:
        supplements.append("SV4")
        lenses_cents += 8_00
    if lens_class == "A" and number % 9 == 0:
        supplements.append("SV2")
        lenses_cents += 5_00
    if child and number % 2:
        supplements.append("MS1" if frame_class == "A" else "MS2")
        frame_cents += 20_00
    codes["supplements"] = supplements
    written = dt.date(2024, 6, 3) + dt.timedelta(days=chance.randrange(200))
    invoiced = dt.date(2025, 1, 6) + dt.timedelta(days=chance.randrange(150))
    claim: dict[str, Any] = {
        "reference": f"F2025-{number:04}",
        "payer": PAYERS[number % 2],
        "leg": "complementary",
        "codes": codes,
        "amounts": {"lenses": lenses_cents, "frame": frame_cents},
        "invoice_date": invoiced.isoformat(),
        "insured": f"ADH-{chance.randrange(10**6):06}",
    }
    if number % 4 == 0:
        claim["authorisation"] = f"PEC-{chance.randrange(10**5):05}"
    return {
        "format": "depoli/claim/1",
        "prescription": prescription(eyes, number, written.isoformat(), chance),
        "claim": claim,
    }


def prescription(
    eyes: Eyes,
    number: int,
    written: str,
    chance: random.Random,
) -> dict[str, Any]:
    """Return a FHIR R4 VisionPrescription, with such text as real software puts into one."""
    lenses = []
    for side, eye in zip(("right", "left"), eyes, strict=True):
        if eye is None:
            continue
        sphere, cylinder, axis, addition = eye
        lens: dict[str, Any] = {
            "product": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/ex-visionprescriptionproduct",
                        "code": "lens",
                    }
                ]
            },
            "eye": side,
            "sphere": Decimal(sphere),
        }
        if cylinder is not None:
            lens |= {"cylinder": Decimal(cylinder), "axis": axis}
        if addition is not None:
            lens["add"] = Decimal(addition)
        if number % 11 == 0:
            lens["prism"] = [{"amount": Decimal("1.50"), "base": "in"}]
        if number % 6 == 0:
            lens |= {"brand": "Exemple", "note": [{"text": "amincis si possible"}]}
        lenses.append(lens)
    return {
        "resourceType": "VisionPrescription",
        "status": "active",
        "created": written,
        "patient": {"reference": f"Patient/fictif-{number}"},
        "dateWritten": written,
        "prescriber": {
            "identifier": {
                "system": "urn:oid:1.2.250.1.71.4.2.1",
                "value": rpps(9_900_000_000 + chance.randrange(40)),
            }
        },
        "lensSpecification": lenses,
    }


def as_table(claims: list[dict[str, Any]]) -> str:
    """Return claims as a French program exports them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";")
    eye = ("Sphère {}", "Cylindre {}", "Axe {}", "Addition {}", "Code {}")
    writer.writerow(
        [
            *("N° facture", "Payeur", "Part", "Date facture", "N° adhérent", "N° PEC"),
            *("Ordonnance", "Date ordonnance", "N° RPPS"),
            *(name.format(side) for side in ("OD", "OG") for name in eye),
            *("Code monture", "Suppléments", "Montant verres", "Montant monture"),
            *("Nom du client", "Remarque"),
        ]
    )
    for document in claims:
        claim, held = document["claim"], document["prescription"]
        lenses = {lens["eye"]: lens for lens in held["lensSpecification"]}
        codes, amounts = claim["codes"], claim["amounts"]
        cells: list[Any] = [
            *(claim["reference"], claim["payer"], "AMC" if claim["leg"][0] == "c" else "AMO"),
            *(day(claim["invoice_date"]), claim["insured"], claim.get("authorisation")),
            *(document.get("prescription_reference"), day(held["dateWritten"])),
            held["prescriber"]["identifier"]["value"],
        ]
        for side in ("right", "left"):
            lens = lenses.get(side, {})
            cells += [comma(lens.get(name)) for name in ("sphere", "cylinder", "axis", "add")]
            cells.append(codes.get(side))
        cells += [codes.get("frame"), " ".join(codes["supplements"])]
        cells += [
            comma(Decimal(amounts[part]) / 100) if part in amounts else None for part in PARTS
        ]
        writer.writerow([*cells, "DURAND Fictif", "rappeler après 18 h"])
    return out.getvalue()


def day(text: str) -> str:
    """Return a day as people in France write it."""
    return "/".join(reversed(text.split("-")))


def comma(number: Decimal | int | None) -> str | None:
    """Return a number as people in France write it."""
    return None if number is None else str(number).replace(".", ",")


def as_bundle(claims: list[dict[str, Any]], release: str) -> dict[str, Any]:
    """Return claims as a program writes them that speaks FHIR: every resource an entry."""
    entries: list[dict[str, Any]] = []
    for number, document in enumerate(claims, start=1):
        urls = [f"urn:uuid:00000000-0000-4000-8000-{number:06}{kind:06}" for kind in range(4)]
        held = copy.deepcopy(document["prescription"])
        doctor = {
            "resourceType": "Practitioner",
            "identifier": [held["prescriber"].pop("identifier")],
            "name": [{"family": "Exemple"}],
        }
        held["prescriber"]["reference"] = urls[2]
        held["patient"] = {"reference": urls[3]}
        held["identifier"] = [
            {"value": document.get("prescription_reference", document["claim"]["reference"])}
        ]
        person = {
            "resourceType": "Patient",
            "identifier": [{"system": INS_NIR, "value": SOCIAL_SECURITY_NUMBER}],
            "name": [{"family": "DURAND", "given": ["Fictif"]}],
        }
        claim = as_claim(document["claim"], release)
        claim |= {"prescription": {"reference": urls[1]}, "patient": {"reference": urls[3]}}
        entries += [
            {"fullUrl": url, "resource": resource}
            for url, resource in zip(urls, (claim, held, doctor, person), strict=True)
        ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def as_claim(claim: dict[str, Any], release: str) -> dict[str, Any]:
    """Return a FHIR Claim, without the prescription and the patient that it refers to."""
    codes, amounts = claim["codes"], dict(claim["amounts"])
    lines: list[tuple[str, str | None]] = [
        (codes[side], side) for side in ("right", "left") if side in codes
    ]
    lines += [(code, None) for code in (codes.get("frame"), *codes["supplements"]) if code]
    items = []
    for sequence, (code, side) in enumerate(lines, start=1):
        item: dict[str, Any] = {
            "sequence": sequence,
            "productOrService": {"coding": [{"code": code}]},
        }
        if side:
            site = {"coding": [{"code": side}]}
            item["bodySite"] = site if release == "R4" else [{"site": [{"concept": site}]}]
        part = "frame" if code[0] == "M" else "lenses"
        if part in amounts:
            item["net"] = {"value": Decimal(amounts.pop(part)) / 100, "currency": "EUR"}
        items.append(item)
    insurance = {
        "sequence": 1,
        "focal": True,
        "coverage": {"identifier": {"value": claim["insured"]}},
    }
    if "authorisation" in claim:
        insurance["preAuthRef"] = [claim["authorisation"]]
    return {
        "resourceType": "Claim",
        "identifier": [{"value": claim["reference"]}],
        "status": "active",
        "type": {"coding": [{"code": "vision"}]},
        "subType": {"coding": [{"code": claim["leg"]}]},
        "use": "claim",
        "created": claim["invoice_date"],
        "insurer": {"identifier": {"value": claim["payer"]}},
        "provider": {"display": "shop-a"},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [insurance],
        "item": items,
    }


def grouping_code(
    eye: tuple[str, str | None, int | None, str | None], class_: str
) -> tuple[str, str]:
    """Return the grouping code of a lens and its kind, as R. 871-2 CSS sorts lenses."""
    sphere, cylinder = Decimal(eye[0]), Decimal(eye[1] or 0)
    if cylinder < 0:
        sphere, cylinder = sphere + cylinder, -cylinder
    multifocal = eye[3] is not None
    spherical_max, sphere_min, sum_max = (4, -8, 8) if multifocal else (6, -6, 6)
    if not cylinder:
        place = 1 if abs(sphere) <= spherical_max else 4
    elif sphere > 0:
        place = 3 if sphere + cylinder <= sum_max else 7
    elif sphere < sphere_min:
        place = 6
    else:
        place = 2 if cylinder <= 4 else 5  # noqa: PLR2004
    simple = place <= 3  # noqa: PLR2004
    kind = ("c" if simple else "f") if multifocal else ("a" if simple else "c")
    if class_ == "B":
        return f"V{'M' if multifocal else 'U'}{place}", kind
    return {("a", False): "V01", ("c", False): "V02", ("c", True): "V03"}.get(
        (kind, multifocal), "V04"
    ), kind


def rpps(first_digits: int) -> str:
    """Return a number with its check digit; real ones do not begin with 99."""
    doubled = [
        sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit)
        for place, digit in enumerate(reversed(str(first_digits)))
    ]
    return f"{first_digits}{-sum(doubled) % 10}"


def make_bad(claims: list[dict[str, Any]]) -> Iterator[tuple[str, Any, str]]:
    """Yield name, document and expected sentence of the claims that are to be refused."""
    model = next(c for c in claims if "axis" in c["prescription"]["lensSpecification"][0])

    def spoilt(*path: str | int, value: Any) -> dict[str, Any]:  # noqa: ANN401
        document = copy.deepcopy(model)
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return document

    right = ("prescription", "lensSpecification", 0)
    number = "this reads as a social security number, which never enters"
    yield (
        "axis-900",
        spoilt(*right, "axis", value=900),
        "right eye, axis: 900 degrees; an axis lies between 1 and 180",
    )
    yield (
        "sphere-1.13",
        spoilt(*right, "sphere", value=Decimal("1.13")),
        "right eye, sphere: 1.13 is no step of a quarter of a dioptre (0.25)",
    )
    yield (
        "sphere-225",
        spoilt(*right, "sphere", value=Decimal(-225)),
        "right eye, sphere: must lie between -40.00 and 40.00 dioptres",
    )
    yield (
        "cylinder-without-axis",
        spoilt(*right, "axis", value=None),
        "right eye, axis: is missing, and a cylinder needs its axis",
    )
    yield (
        "axis-without-cylinder",
        spoilt(*right, "cylinder", value=None),
        "right eye, cylinder: is missing, and an axis needs its cylinder",
    )
    yield (
        "unknown-code",
        spoilt("claim", "codes", "right", value="VU9"),
        "codes.right: VU9 is no grouping code of optics",
    )
    yield (
        "closed-code",
        spoilt("claim", "codes", "right", value="OP1"),
        "codes.right: the grouping code OP1 was closed on 2019-12-31",
    )
    yield (
        "supplement-of-the-other-class",
        spoilt("claim", "codes", "supplements", value=["S01"]),
        "codes.supplements: S01 goes with a lens of class A, and there is none",
    )
    yield (
        "social-security-number",
        spoilt("claim", "insured", value=SOCIAL_SECURITY_NUMBER),
        f"claim.insured: {number}",
    )
    yield (
        "social-security-number-in-a-note",
        spoilt(*right, "note", value=[{"text": "NIR 1 80 12 75 123 456 42"}]),
        f"prescription.lensSpecification[0].note[0].text: {number}",
    )
    yield (
        "social-security-number-in-base64",
        spoilt("prescription", "patient", value={"reference": "Patient/MTgwMTI3NTEyMzQ1NjQy"}),
        f"prescription.patient.reference: {number}",
    )
    yield (
        "prescriber-digit",
        spoilt("prescription", "prescriber", "identifier", "value", value="99000000001"),
        (
            "prescription.prescriber.identifier.value: the last digit of the RPPS number does not"
            " fit the others"
        ),
    )
    yield (
        "free-text",
        spoilt("claim", "comment", value="cliente pressée"),
        "claim: comment is not expected here",
    )
    yield (
        "invoice-before-prescription",
        spoilt("claim", "invoice_date", value="2019-05-02"),
        (
            "claim.invoice_date: is before the prescription, written"
            f" {model['prescription']['dateWritten']}"
        ),
    )
    yield (
        "nobody-insured",
        spoilt("claim", "insured", value=None),
        (
            "claim.insured: is missing, and so is an authorisation: the payer cannot know whose"
            " claim it is"
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
