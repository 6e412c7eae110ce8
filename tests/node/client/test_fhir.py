"""Prescriptions at the door: what is refused, and the one form of what is accepted."""

import contextlib
import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.nomenclature.correction import Correction, Prism, canonical
from node.client.errors import NotReadable, Refused, SocialSecurityNumber
from node.client.fhir import parse_prescription
from node.client.reading import parse_object

# JSON is dear to draw: any sample of it is as good.
share = settings(max_examples=max(10, settings().max_examples // 4))

LENS = {"coding": [{"code": "lens"}]}
MODEL: dict[str, Any] = {
    "resourceType": "VisionPrescription",
    "status": "active",
    "created": "2025-01-02",
    "patient": {"reference": "Patient/1"},
    "dateWritten": "2025-01-02",
    "prescriber": {"identifier": {"value": "10000000009"}},
    "lensSpecification": [
        {
            "product": LENS,
            "eye": "right",
            "sphere": Decimal("-2.50"),
            "cylinder": Decimal("-1.75"),
            "axis": 165,
        },
        {"product": LENS, "eye": "left", "sphere": Decimal("1.25"), "add": Decimal(2)},
    ],
}


def changed(name: str, value: object) -> dict[str, Any]:
    resource = copy.deepcopy(MODEL)
    if value is None:
        del resource["lensSpecification"][0][name]
    else:
        resource["lensSpecification"][0][name] = value
    return resource


@pytest.mark.parametrize(
    ("typed", "made"),
    [  # domain notes, 2.6
        ((-250, -175, 165), (-425, 175, 75)),
        ((-225, -125, 10), (-350, 125, 100)),
        ((-200, -100, 20), (-300, 100, 110)),
        ((-200, -100, 90), (-300, 100, 180)),
        ((100, 50, 0), (100, 50, 180)),
        ((100, 50, -10), (100, 50, 170)),
        ((100, 0, 45), (100, None, None)),
        ((100, None, None), (100, None, None)),
    ],
)
def test_a_cylinder_becomes_positive(
    typed: tuple[int, int | None, int | None], made: tuple[int, int | None, int | None]
) -> None:
    assert canonical(*typed) == made


@given(st.integers(-160, 160), st.integers(-60, 60).filter(bool), st.integers(-180, 180))
def test_either_way_of_writing_a_lens_gives_the_same_lens(s: int, c: int, axis: int) -> None:
    sphere, cylinder = 25 * s, 25 * c
    once = canonical(sphere, cylinder, axis)
    assert once == canonical(sphere + cylinder, -cylinder, axis + 90)
    assert once == canonical(*once)
    assert once[1] is not None
    assert once[1] > 0
    assert once[2] in range(1, 181)


def test_a_prescription_is_read_in_hundredths() -> None:
    found = parse_prescription(MODEL)
    assert found.right == Correction(-425, 175, 75)
    assert found.left == Correction(125, addition=200)
    assert (found.written, found.prescriber) == ("2025-01-02", "10000000009")
    assert found.left_out == ("created", "patient")


def test_one_eye_alone_is_read() -> None:
    resource = copy.deepcopy(MODEL)
    del resource["lensSpecification"][0]
    assert parse_prescription(resource).right is None


def test_free_text_does_not_enter() -> None:
    resource = changed("note", [{"text": "cliente pressée"}])
    resource["lensSpecification"][0] |= {"brand": "X", "color": "vert"}
    found = parse_prescription(resource)
    assert "vert" not in repr(found)
    assert set(found.left_out) >= {f"lensSpecification.{n}" for n in ("note", "brand", "color")}


def test_a_prism_is_read() -> None:
    found = parse_prescription(changed("prism", [{"amount": Decimal("1.5"), "base": "in"}]))
    assert found.right is not None
    assert found.right.prisms == (Prism(150, "in"),)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("axis", 900, "right eye, axis: 900 degrees; an axis lies between 1 and 180"),
        ("axis", Decimal("90.0"), "right eye, axis: must be a whole number of degrees"),
        ("axis", True, "right eye, axis: must be a whole number of degrees"),
        ("axis", None, "right eye, axis: is missing, and a cylinder needs its axis"),
        ("cylinder", None, "right eye, cylinder: is missing, and an axis needs its cylinder"),
        ("sphere", Decimal("1.13"), "right eye, sphere: 1.13 is no step of a quarter"),
        ("sphere", Decimal("1.25" + 40 * "0" + "1"), "right eye, sphere: this is no step"),
        ("sphere", Decimal(-225), "right eye, sphere: must lie between -40.00 and 40.00"),
        ("sphere", Decimal("1E+999999"), "right eye, sphere: must lie between"),
        ("sphere", Decimal("1E-999999"), "right eye, sphere: this is no step"),
        ("sphere", "-2.50", "right eye, sphere: must be a number of dioptres"),
        ("add", Decimal(0), "right eye, add: must lie between 0.25 and 12.00"),
        ("prism", [{"amount": Decimal(1), "base": "sideways"}], "right eye, prism 1, base: must"),
        ("eye", "both", "prescription.lensSpecification[0].eye: must be right or left"),
        ("eye", "left", "prescription.lensSpecification[1].eye: the left eye stands twice"),
        ("product", {"coding": [{"code": "contact"}]}, "contact lenses are not claimed here"),
    ],
)
def test_a_lens_that_cannot_be_is_refused(name: str, value: object, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_prescription(changed(name, value))
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("status", "draft", "prescription.status"),
        ("dateWritten", "2025-02-30", "prescription.dateWritten"),
        ("dateWritten", "2025", "prescription.dateWritten"),
        ("resourceType", "Claim", "prescription.resourceType"),
        ("lensSpecification", [], "prescription.lensSpecification"),
        (
            "prescriber",
            {"identifier": {"value": "10000000008"}},
            "prescription.prescriber.identifier.value",
        ),
        ("prescriber", {"display": "Dr X"}, "prescription.prescriber.identifier"),
    ],
)
def test_a_prescription_that_serves_nothing_is_refused(
    name: str, value: object, field: str
) -> None:
    with pytest.raises(Refused) as refusal:
        parse_prescription(MODEL | {name: value})
    assert refusal.value.field == field


def test_a_social_security_number_anywhere_is_refused_and_not_repeated() -> None:
    resource = changed("note", [{"text": "1 80 12 75 123 456 42"}])
    with pytest.raises(SocialSecurityNumber) as refusal:
        parse_prescription(resource)
    assert refusal.value.field == "prescription.lensSpecification[0].note[0].text"
    assert not any(digit * 3 in str(refusal.value) for digit in ("123", "456"))
    assert "12345" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[]",
        '"x"',
        "{",
        '{"a": 1e9999999999999999999}',
        "[" * 100_000,
        '{"a": ' + "1" * 5000 + "}",
        "\xff",
    ],
)
def test_what_is_no_sound_json_is_refused(text: str) -> None:
    with pytest.raises(NotReadable):
        parse_object(text.encode("latin-1"), "claim.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@share
@given(st.dictionaries(st.sampled_from([*MODEL]), JSON))
def test_any_resource_is_read_or_refused(parts: dict[str, Any]) -> None:
    with contextlib.suppress(Refused):
        parse_prescription(copy.deepcopy(MODEL) | parts)


@share
@given(
    st.dictionaries(st.sampled_from(["sphere", "cylinder", "axis", "add", "prism", "eye"]), JSON)
)
def test_any_lens_is_read_or_refused(parts: dict[str, Any]) -> None:
    resource = copy.deepcopy(MODEL)
    resource["lensSpecification"][0] |= parts
    try:
        found = parse_prescription(resource)
    except Refused:
        return
    assert found.right is not None
    assert found.right.sphere % 25 == 0


def test_the_bytes_of_a_file_are_read_with_their_decimals() -> None:
    text = json.dumps(MODEL, default=float).encode()
    assert parse_prescription(parse_object(b"\xef\xbb\xbf" + text, "x")).right == Correction(
        -425, 175, 75
    )
