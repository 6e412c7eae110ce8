"""FHIR claims, alone and in bundles: read as our own, or refused with all that is wrong."""

import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commitment import Opening
from contracts.nomenclature.correction import Correction, Prism
from ledger.encoding import encode
from node.client import fhir_export
from node.client.agreements import AuthorisationView
from node.client.client import ClaimView
from node.client.errors import ClientError, ManyRefused, NotReadable, Refused
from node.client.fhir import parse_prescription
from node.client.fhir_export import RELEASES, Release, Told
from node.client.importing import Entry, read_entries, read_prescriptions
from node.client.reading import parse_object
from node.client.records import AuthorisationRecord, ClaimRecord, PrescriptionRecord, Progress
from node.client.request import ClaimRequest, parse_claim

# JSON is dear to draw: any sample of it is as good.
share = settings(max_examples=max(10, settings().max_examples // 4))

ROOT = Path(__file__).parents[3]
TODAY = "2026-11-23"
VECTORS = json.loads((ROOT / "tests" / "vectors" / "fhir.json").read_text(encoding="utf-8"))
CLAIMS = [
    parse_claim(path.read_bytes(), path.name, today=TODAY)
    for path in sorted((ROOT / "scripts" / "data" / "claims").glob("*.json"))
]
PAYER = bytes(range(16))
INS = {
    "system": "urn:oid:1.2.250.1.213.1.4.8",
    "type": {"coding": [{"code": "INS-NIR"}]},
    "value": "180127512345642",
}


def record(request: ClaimRequest, **changes: Any) -> ClaimRecord:  # noqa: ANN401
    made = ClaimRecord(
        reference=request.reference,
        prescription_reference=request.prescription_reference,
        payer=PAYER,
        leg=request.leg,
        codes=request.codes,
        lenses_cents=request.lenses_cents,
        frame_cents=request.frame_cents,
        invoice_date=request.invoice_date,
        insured=request.insured,
        authorisation=request.authorisation,
        document="",
        commitment=bytes(32),
        blinding=(5).to_bytes(32, "little"),
        marks={},
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def told(request: ClaimRequest, view: ClaimView | None = None, **changes: Any) -> Told:  # noqa: ANN401
    assert request.prescribed is not None
    held = PrescriptionRecord(
        reference=request.prescription_reference,
        prescription=request.prescribed.prescription,
        secret=bytes(32),
        document="",
        commitment=bytes(32),
    )
    return Told(record(request, **changes), held, view)


def seen(state: str, **changes: Any) -> ClaimView:  # noqa: ANN401
    made: dict[str, Any] = {
        "id": "1" * 64,
        "submitter": "2" * 32,
        "payer": PAYER.hex(),
        "leg": "base",
        "prescription": "3" * 64,
        "document": "4" * 64,
        "amount": "5" * 64,
        "state": state,
        "marks": (),
        "time": 1_750_000_000,
    }
    return ClaimView(**made | changes)


def written(value: object) -> bytes:
    return json.dumps(value, default=float).encode()


@cache
def validator(type_: str, release: Release) -> jsonschema_rs.Validator:
    """Return what judges a resource by HL7's own definitions."""
    return jsonschema_rs.validator_for(
        {
            "$schema": "http://json-schema.org/draft-06/schema#",
            "$ref": f"#/definitions/{type_}",
            "definitions": VECTORS[release],
        }
    )


def validate(resource: dict[str, Any], release: Release) -> None:
    """Raise unless HL7's own definitions allow the resource."""
    validator(resource["resourceType"], release).validate(json.loads(written(resource)))
    # Elements that must be there, which the schema of R4 does not say of those of plain types.
    for name in ("status", "use", "created"):
        assert resource.get(name), name


def claim_of(number: int = 2, release: Release = "R4") -> dict[str, Any]:
    """Return an example as a FHIR Claim, as it comes out of JSON."""
    resource = fhir_export.claim_resource(told(CLAIMS[number]), "insurer-a", "shop-a", release)
    made: dict[str, Any] = json.loads(written(resource))
    return made


def read(document: object, **options: bool) -> list[Entry[ClaimRequest]]:
    return read_entries(written(document), "lot.json", today=TODAY, **options)


def faults(document: object, **options: bool) -> list[str]:
    (entry,) = read(document, **options)
    assert entry.fault is not None
    found = entry.fault.faults if isinstance(entry.fault, ManyRefused) else (entry.fault,)
    return [str(fault) for fault in found]


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_every_example_goes_out_as_fhir_and_comes_back_the_same(release: Release) -> None:
    every = [told(request) for request in CLAIMS]
    bundle = fhir_export.bundle(every, {PAYER: "insurer-a"}, "shop-a", release)
    entries = read(bundle)
    assert len(entries) == len(CLAIMS)
    for entry, request in zip(entries, CLAIMS, strict=True):
        assert entry.fault is None, entry.fault
        found = entry.found
        assert found is not None
        assert found.prescribed is not None
        assert request.prescribed is not None
        assert found.prescribed.prescription == request.prescribed.prescription
        for name in ClaimRequest.__slots__:
            if name not in {"prescribed", "left_out", "payer", "agreement"}:
                assert getattr(found, name) == getattr(request, name), name
        assert found.payer == "insurer-a"


@pytest.mark.parametrize("release", RELEASES)
def test_what_goes_out_is_fhir_by_its_own_definitions(release: Release) -> None:
    for request in CLAIMS:
        bundle = fhir_export.bundle([told(request)], {}, "shop-a", release)
        for entry in bundle["entry"]:
            validate(entry["resource"], release)


def test_the_definitions_refuse_what_is_of_the_other_release() -> None:
    for release, other in (RELEASES, RELEASES[::-1]):
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(claim_of(release=release), other)


# --- what became of it ---------------------------------------------------------------------------

ACCEPTED = Opening(4200, (7).to_bytes(32, "little"))
CENTS = CLAIMS[2].amount_cents


def response(view: ClaimView | None, release: Release = "R5", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    made = fhir_export.response_resource(
        told(CLAIMS[2], view, **changes), "insurer-a", "shop-a", release
    )
    validate(made, release)
    return made


def totals(resource: dict[str, Any]) -> dict[str, int]:
    return {
        each["category"]["coding"][0]["code"]: int(each["amount"]["value"] * 100)
        for each in resource.get("total", ())
    }


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("view", "changes", "outcome", "amounts"),
    [
        (None, {}, "queued", {}),
        (seen("submitted"), {}, "queued", {}),
        (seen("accepted"), {}, "complete", {"submitted": CENTS, "benefit": CENTS}),
        (seen("settled"), {}, "complete", {"submitted": CENTS, "benefit": CENTS}),
        (
            seen("accepted_in_part", accepted_amount=ACCEPTED.commitment().hex()),
            {"accepted": encode(ACCEPTED)},
            "partial",
            {"submitted": CENTS, "benefit": 4200},
        ),
        (
            seen("accepted_in_part", accepted_amount=ACCEPTED.commitment().hex()),
            {},
            "partial",
            {"submitted": CENTS},
        ),
        (
            seen("accepted_in_part", accepted_amount="6" * 64),
            {"accepted": encode(ACCEPTED)},
            "partial",
            {"submitted": CENTS},
        ),
        (
            seen("rejected", reason="RIGHTS_CLOSED"),
            {},
            "complete",
            {"submitted": CENTS, "benefit": 0},
        ),
        (seen("cancelled"), {}, "complete", {}),
        (
            None,
            {"progress": Progress.REFUSED, "refusal": "MARK_ALREADY_USED"},
            "error",
            {},
        ),
    ],
    ids=[
        *("unsent", "submitted", "accepted", "settled", "in part", "unopened", "opens another"),
        *("rejected", "cancelled", "refused"),
    ],
)
def test_each_state_has_its_outcome_and_amounts(
    view: ClaimView | None,
    changes: dict[str, Any],
    outcome: str,
    amounts: dict[str, int],
    release: Release,
) -> None:
    made = response(view, release, **changes)
    assert made["outcome"] == outcome
    assert totals(made) == amounts
    assert ("error" in made) is (outcome == "error")
    assert made["status"] == ("cancelled" if view and view.state == "cancelled" else "active")


def test_a_rejection_says_why_in_both_languages() -> None:
    made = response(seen("rejected", reason="RIGHTS_CLOSED"))
    assert [note["text"] for note in made["processNote"]] == ["rights closed", "droits fermés"]
    (why,) = made["adjudication"]
    assert why["reason"]["coding"][0]["code"] == "rights-closed"
    assert made["decision"]["coding"][0]["code"] == "denied"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("state", "granted", "outcome"),
    [
        ("REQUESTED", None, "queued"),
        ("INFO_REQUESTED", None, "queued"),
        ("GRANTED", None, "complete"),
        ("GRANTED_IN_PART", ACCEPTED, "partial"),
        ("REFUSED", None, "complete"),
    ],
)
def test_a_prior_agreement_is_a_preauthorization(
    state: str, granted: Opening | None, outcome: str, release: Release
) -> None:
    claim = record(CLAIMS[2], claim=b"\x07" * 32, authorisation=None)
    fields = {name: getattr(claim, name) for name in claim.__struct_fields__}
    asked = AuthorisationRecord(**fields)
    view = AuthorisationView(
        id="07" * 32,
        optician="2" * 32,
        payer=PAYER.hex(),
        leg="base",
        prescription="3" * 64,
        document="4" * 64,
        amount="5" * 64,
        marks=(),
        state=state,
        granted_amount=None if granted is None else granted.commitment().hex(),
        until=1_760_000_000 if state.startswith("GRANTED") else None,
    )
    made = fhir_export.agreed(asked, told(CLAIMS[2]).prescription, view)
    response_ = fhir_export.response_resource(made, "insurer-a", "shop-a", release)
    validate(response_, release)
    assert (response_["use"], response_["outcome"]) == ("preauthorization", outcome)
    assert response_.get("preAuthPeriod") == ({"end": "2025-10-09"} if view.until else None)
    assert ("preAuthRef" in response_) is (view.until is not None)
    claimed = fhir_export.claim_resource(made, "insurer-a", "shop-a", release)
    validate(claimed, release)
    (entry,) = read(json.loads(written(claimed)), agreements=True)
    assert entry.found == replace(CLAIMS[2], payer="insurer-a", authorisation=None)


def test_a_response_holds_no_correction() -> None:
    assert "VisionPrescription" not in json.dumps(response(seen("accepted")), default=str)


# --- how others write it -------------------------------------------------------------------------


def test_the_parts_of_a_claim_may_be_entries_of_a_bundle() -> None:
    claim = claim_of()
    prescription = claim.pop("contained")[0]
    del prescription["id"], prescription["prescriber"]
    number = CLAIMS[2].prescribed.prescription.prescriber  # type: ignore[union-attr]
    prescription["prescriber"] = {"reference": "PractitionerRole/7"}
    claim["prescription"] = {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}
    claim["insurer"] = {"reference": "https://example.org/fhir/Organization/2"}
    claim["insurance"] = [
        {"sequence": 1, "focal": False, "coverage": {"display": "AMO"}},
        {
            "sequence": 2,
            "focal": True,
            "coverage": {"reference": "https://example.org/fhir/Coverage/9"},
        },
    ]
    role = {
        "resourceType": "PractitionerRole",
        "id": "7",
        "practitioner": {"reference": "Practitioner/8"},
    }
    coverage: dict[str, Any] = {"resourceType": "Coverage", "id": "9", "subscriberId": "ADH-1"}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": {"resourceType": "MessageHeader"}},
            {"fullUrl": "urn:uuid:11111111-1cbf-4d64-b04d-cd9187a4c6e0", "resource": claim},
            {"fullUrl": claim["prescription"]["reference"], "resource": prescription},
            {"resource": role},
            {
                "resource": {
                    "resourceType": "Practitioner",
                    "id": "8",
                    "name": [{"family": "Sans-Nom"}],
                    "identifier": [{"value": "x"}, {"value": f"8{number}"}],
                }
            },
            {
                "fullUrl": "https://example.org/fhir/Organization/2",
                "resource": {
                    "resourceType": "Organization",
                    "identifier": [{"value": "insurer-b"}],
                },
            },
            {"resource": coverage},
            {"resource": {"resourceType": "Patient", "id": "1", "identifier": [INS]}},
        ],
    }
    (entry,) = read(bundle)
    assert entry.fault is None, entry.fault
    found = entry.found
    assert found is not None
    assert found.prescribed is not None
    assert found.prescribed.prescription.prescriber == number
    assert (found.payer, found.insured) == ("insurer-b", "ADH-1")
    assert "Patient" in entry.left_out
    coverage["subscriberId"] = [{"value": "ADH-2"}]  # as R5 writes it
    again = read(bundle)[0].found
    assert again is not None
    assert again.insured == "ADH-2"


def test_two_lenses_alike_may_be_one_item() -> None:
    claim = claim_of(0)
    right, _left, *others = claim["item"]
    del right["bodySite"]
    claim["item"] = [right | {"quantity": {"value": 2}}, *others]
    found = read(claim)[0].found
    assert found is not None
    assert found.codes == CLAIMS[0].codes
    del right["net"]
    claim["item"][0] = right | {"quantity": {"value": 2}, "unitPrice": {"value": 37.5}}
    assert read(claim)[0].found == found


def test_a_kept_prescription_is_named_by_its_identifier() -> None:
    claim = claim_of()
    del claim["contained"], claim["prescription"]["reference"]
    found = read(claim)[0].found
    assert found is not None
    assert found.prescribed is None
    assert found.prescription_reference == CLAIMS[2].prescription_reference


def test_a_prescription_may_be_among_what_supports_a_claim() -> None:
    claim = claim_of()
    claim["supportingInfo"] = [{"sequence": 1}, {"valueReference": {"reference": "#prescription"}}]
    claim.pop("prescription")
    found = read(claim)[0].found
    assert found is not None
    assert found.prescribed is not None


def test_a_preauthorization_is_a_request_for_a_prior_agreement() -> None:
    claim = claim_of() | {"use": "preauthorization"}
    found = read(claim, agreements=True)[0].found
    assert found is not None
    assert found.invoice_date == CLAIMS[2].invoice_date
    assert faults(claim) == ["Claim.use: must be claim"]
    assert faults(claim_of(), agreements=True) == ["Claim.use: must be preauthorization"]


def test_what_was_agreed_and_what_is_replaced_are_told_apart() -> None:
    claim = claim_of()
    agreed = {"resourceType": "Claim", "id": "p", "use": "preauthorization"}
    agreed["identifier"] = [{"value": "PEC-1"}]  # type: ignore[assignment]
    claim["contained"].append(agreed)
    claim["related"] = [{"claim": {"reference": "#p"}}]
    found = read(claim)[0].found
    assert found is not None
    assert found.agreement == "PEC-1"
    prior = {"coding": [{"code": "prior"}]}
    claim["related"] = [{"claim": {"identifier": {"value": "F-1"}}, "relationship": prior}]
    assert faults(claim) == ["Claim.related: this is to take the place of an earlier claim"]
    assert read(claim, replacing=True)[0].fault is None


def test_a_declared_health_identity_is_left_out_and_any_other_is_refused() -> None:
    claim = claim_of()
    claim["patient"] = {"identifier": INS}
    claim["contained"].append({"resourceType": "Patient", "id": "1", "identifier": [INS]})
    assert read(claim)[0].fault is None
    claim["item"][0]["detail"] = [{"note": "1 80 12 75 123 456 42"}]
    (fault,) = faults(claim)
    assert fault.startswith("Claim.item[0].detail[0].note: this reads as a social security number")
    prescription = copy.deepcopy(VECTORS["visionprescription-example"])
    prescription |= {"prescriber": {"identifier": {"value": "10000000009"}}}
    prescription |= {"patient": {"identifier": INS}}
    found = parse_prescription(parse_object(written(prescription), "x"))
    assert "identifier (INS)" in found.left_out


def test_all_that_is_wrong_with_a_claim_is_said_at_once() -> None:
    claim = claim_of(1)
    claim |= {"status": "draft", "insurer": {"identifier": {"value": "Mutuelle X"}}}
    claim["subType"] = {"coding": [{"code": "third"}]}
    claim["total"] = {"value": 1, "currency": "USD"}
    claim["item"][0]["productOrService"] = {"coding": [{"code": "2263927"}]}
    del claim["item"][1]["bodySite"]
    claim["item"][2]["net"] = {"value": 12.345}
    claim["contained"][0]["lensSpecification"][0]["sphere"] = 1.13
    assert faults(claim) == [
        "Claim.insurer: must be the payer's label, or its id of 32 digits",
        "Claim.subType: must be coded base (amo) or complementary (amc)",
        "Claim.status: must be active; a draft or cancelled one is not submitted",
        "Claim.item[0].productOrService: 2263927 is no grouping code of optics",
        "Claim.item[1].bodySite: does not say of which eye the lens is",
        "Claim.item[2].net.value: must be whole cents",
        "right eye, sphere: 1.13 is no step of a quarter of a dioptre (0.25)",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": {"coding": [{"code": "oral"}]}}, "Claim.type: must be vision"),
        ({"total": {"value": 1}}, "Claim.total: is not the sum of the items, "),
        ({"insurance": [{}, {}]}, "Claim.insurance: exactly one of several must be focal"),
        ({"prescription": {"reference": "VisionPrescription/1"}}, "refers to what is not in the"),
        ({"subType": None}, "Claim.subType: is missing"),
        ({"created": "2027-01-01"}, "Claim.billablePeriod: 2027-01-01 is still to come"),
        ({"identifier": [{"value": "f/1"}]}, "Claim.identifier: must be 1 to 20 capital letters"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(change: dict[str, Any], reason: str) -> None:
    assert any(reason in fault for fault in faults(claim_of() | change))


# --- prescriptions -------------------------------------------------------------------------------


def test_the_official_example_of_a_prescription_is_read() -> None:
    example = VECTORS["visionprescription-example"]
    doctor = {
        "resourceType": "Practitioner",
        "id": "example",
        "identifier": [{"value": "10000000009"}],
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": example}, {"resource": doctor}],
    }
    (entry,) = read_prescriptions(written(bundle), "b", today=TODAY)
    assert entry.found is not None
    assert entry.found.reference == "15013"
    held = entry.found.prescription
    assert held.right == Correction(-200, addition=200, prisms=(Prism(50, "down"),))
    assert held.left == Correction(-150, 50, 90, 200, (Prism(50, "up"),))
    assert {"text", "patient", "meta"} <= {*entry.left_out}
    (alone,) = read_prescriptions(written(example), "b", today=TODAY)
    assert "is missing: the prescriber's RPPS number" in str(alone.fault)


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("810000000009", "10000000009"),  # national identifier with an RPPS number
        ("0759350123", "759350123"),  # with one of ADELI
        ("759350123", "759350123"),
    ],
)
def test_a_prescriber_is_known_by_rpps_or_adeli(number: str, kept: str) -> None:
    example = VECTORS["visionprescription-example"]
    found = parse_prescription(
        parse_object(written(example | {"prescriber": {"identifier": {"value": number}}}), "x")
    )
    assert found.prescriber == kept


# --- whatever else there is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"resourceType": "Bundle", "type": "history"}, "is a Bundle of another type"),
        ({"resourceType": "Bundle", "type": "collection"}, "holds none"),
        ({"resourceType": "Bundle", "type": "collection", "entry": {}}, "has no list of at most"),
        ({"resourceType": "Patient"}, "holds none"),
        (VECTORS["visionprescription-example"], "holds none"),
    ],
)
def test_a_file_without_claims_is_told_so(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotReadable) as refusal:
        read(document)
    assert reason in str(refusal.value)


def test_a_document_of_our_own_is_never_as_long_as_a_bundle_may_be() -> None:
    with pytest.raises(NotReadable, match="is longer than 1048576 bytes"):
        read({"format": "depoli/claim/1", "note": "x" * (1 << 20)})
    claim = claim_of() | {"text": "x" * (1 << 20)}
    assert read(claim)[0].fault is None


def test_what_is_nested_too_deep_is_refused() -> None:
    deepest = b'{"resourceType": "Claim", "x": ' + b"[" * 47 + b"]" * 47 + b"}"
    assert read_entries(deepest, "x", today=TODAY)
    deep = b'{"resourceType": "Claim", "x": ' + b"[" * 48 + b"]" * 48 + b"}"
    with pytest.raises(NotReadable, match="nested more than 48 deep"):
        read_entries(deep, "x", today=TODAY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


@share
@given(st.dictionaries(st.sampled_from([*claim_of(), "related", "billablePeriod"]), JSON))
def test_any_claim_is_read_or_refused(parts: dict[str, Any]) -> None:
    with contextlib.suppress(ClientError):
        read(claim_of() | parts)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where each value in what JSON holds stands."""
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = [*value.items()]
    elif isinstance(value, list):
        pairs = [*enumerate(value)]
    for name, inner in pairs:
        yield (*path, name)
        yield from places(inner, (*path, name))


def test_whatever_stands_in_any_place_of_a_bundle_is_read_or_refused() -> None:
    patient = {"resourceType": "Patient", "identifier": [INS]}
    coded = {name: INS[name] for name in ("type", "value")}  # and of no system
    wrongs: list[Any] = [[[]], {"a": 1}, None, True, 7, "x"]
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"resource": claim_of() | {"contained": [{"identifier": [coded]}]}}, patient],
    }
    for path in places(bundle):
        for wrong in wrongs:
            document: Any = copy.deepcopy(bundle)
            within = document
            for name in path[:-1]:
                within = within[name]
            within[path[-1]] = wrong
            with contextlib.suppress(Refused, NotReadable):
                read(document)


@share
@given(st.lists(JSON, max_size=3))
def test_any_items_and_entries_are_read_or_refused(items: list[Any]) -> None:
    for document in (
        claim_of() | {"item": items},
        claim_of() | {"insurance": items},
        claim_of() | {"contained": items},
        {"resourceType": "Bundle", "type": "batch", "entry": items},
    ):
        with contextlib.suppress(Refused, NotReadable):
            read(document)


@share
@given(
    st.sampled_from(CLAIMS),
    st.sampled_from(RELEASES),
    st.integers(1, 10_000_00),
    st.text("ABCXYZ019-", min_size=1, max_size=20),
)
def test_whatever_is_claimed_goes_out_and_comes_back(
    request: ClaimRequest, release: Release, cents: int, reference: str
) -> None:
    asked = replace(request, lenses_cents=cents, reference=reference, insured=reference)
    out = fhir_export.claim_resource(told(asked), "insurer-a", "shop-a", release)
    (entry,) = read(json.loads(written(out)))
    assert entry.found is not None, entry.fault
    assert entry.found == replace(asked, payer="insurer-a")
