"""Claims as the shop's software hands them over: the examples, and what is wrong with others."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.client.errors import ClientError, NotReadable, Refused
from node.client.importing import read_entries
from node.client.request import ClaimRequest, parse_claim, parse_handed

ROOT = Path(__file__).parents[3]
DATA = ROOT / "scripts" / "data"
TODAY = "2026-11-23"
CLAIMS = sorted((DATA / "claims").glob("*.json"))
EXPECTED = json.loads((DATA / "refusals.json").read_text(encoding="utf-8"))
MODEL = json.loads((DATA / "claims" / "f2025-0003.json").read_text(encoding="utf-8"))


def spoilt(place: str, value: object) -> bytes:
    document: Any = copy.deepcopy(MODEL)
    *path, last = place.split(".")
    inner = document
    for step in path:
        inner = inner[step]
    inner[last] = value
    return json.dumps(document).encode()


def test_there_are_examples_of_every_kind() -> None:
    found = [parse_claim(path.read_bytes(), path.name, today=TODAY) for path in CLAIMS]
    assert len(found) >= 34
    assert len({claim.reference for claim in found}) == len(found)
    codes = [claim.codes for claim in found]
    assert any(each.right is None for each in codes)
    assert any(each.left is None for each in codes)
    assert any(each.frame is None for each in codes)
    assert {"M01", "M02", "M03", "M04"} <= {each.frame for each in codes}
    assert {"S01", "SV1", "SV2", "SV4", "MS1", "MS2"} <= {s for c in codes for s in c.supplements}
    assert any("V0" in str(c.right) and c.frame == "M03" for c in codes)
    assert {claim.leg for claim in found} == {0, 1}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_claim_is_refused_with_its_sentence(name: str) -> None:
    with pytest.raises(ClientError) as refusal:
        parse_claim((DATA / "bad" / name).read_bytes(), name, today=TODAY)
    assert str(refusal.value) == EXPECTED[name]


@pytest.mark.parametrize("form", ["day.csv", "day-r4.json", "day-r5.json"])
def test_other_forms_of_the_examples_hold_the_same_claims(form: str) -> None:
    path = DATA / "forms" / form
    entries = read_entries(path.read_bytes(), form, today=TODAY)
    assert len(entries) == 8
    same = {claim.reference: claim for claim in (parse(path) for path in CLAIMS)}
    for entry in entries:
        assert entry.found is not None, entry.fault
        assert entry.found == same[entry.found.reference]
        assert entry.left_out


def parse(path: Path) -> ClaimRequest:
    return parse_claim(path.read_bytes(), path.name, today=TODAY)


def test_the_examples_are_what_the_script_writes(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_claims.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    by_hand = DATA / "policy.toml"
    kept = {
        path.relative_to(DATA): path.read_bytes() for path in DATA.rglob("*.*") if path != by_hand
    }
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert made == kept


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("format", "other", "file.format"),
        ("claim.reference", "f-1", "claim.reference: must be 1 to 20 capital letters"),
        ("claim.reference", "F" * 21, "claim.reference: must be 1 to 20 capital letters"),
        ("claim.payer", "Insurer A", "claim.payer"),
        ("claim.leg", "third", "claim.leg: must be base or complementary"),
        ("claim.codes.right", 7, "codes.right: must be a grouping code"),
        ("claim.codes.right", "VM1", "codes.right: VM1 is multifocal, but no addition"),
        ("claim.amounts.lenses", 12.5, "amounts.lenses: must be a whole number of cents"),
        ("claim.amounts.lenses", -1, "amounts.lenses: must lie between 0"),
        ("claim.amounts.lenses", 10**9, "amounts.lenses: must lie between 0"),
        ("claim.amounts", {"lenses": 0, "frame": 0}, "amounts: nothing is claimed"),
        ("claim.amounts", {"lenses": 5}, "amounts.frame: is missing"),
        ("claim.amounts", {"lenses": 5, "frame": 5, "tip": 1}, "amounts: tip is not expected"),
        ("claim.codes.frame", None, "amounts.frame: an amount for a frame"),
        ("claim.invoice_date", "1899-12-31", "claim.invoice_date: must be a day such as"),
        ("claim.invoice_date", "2027-01-01", "claim.invoice_date: 2027-01-01 is still to come"),
        ("claim.insured", "J DUPONT", "claim.insured: must be 1 to 20"),
        ("secret", "00", "secret: must be 64"),
        ("prescription_reference", "à", "prescription_reference: must be"),
        ("claim", [], "claim: must be a JSON object"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(place: str, value: object, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_claim(spoilt(place, value), "claim.json", today=TODAY)
    assert reason in str(refusal.value)


def test_a_lens_for_an_eye_without_prescription_is_refused() -> None:
    document = copy.deepcopy(MODEL)
    del document["prescription"]["lensSpecification"][0]
    with pytest.raises(Refused) as refusal:
        parse_claim(json.dumps(document).encode(), "x", today=TODAY)
    assert "no right lens is prescribed" in str(refusal.value)


def test_a_prescription_is_handed_over_bare_or_with_its_secret() -> None:
    bare = json.dumps(MODEL["prescription"]).encode()
    handed = {
        "format": "depoli/prescription/1",
        "prescription": MODEL["prescription"],
        "reference": "ORD-1",
        "secret": "ab" * 32,
    }
    one = parse_handed(bare, "x", today=TODAY)
    other = parse_handed(json.dumps(handed).encode(), "x", today=TODAY)
    assert one.prescription == other.prescription
    assert (one.reference, one.secret) == (None, None)
    assert (other.reference, other.secret) == ("ORD-1", b"\xab" * 32)


def test_what_is_no_json_is_no_claim() -> None:
    with pytest.raises(NotReadable):
        parse_claim(b"%PDF-1.7", "scan.pdf", today=TODAY)
