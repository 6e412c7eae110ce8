"""`depoli codes`: what the tables say, to whoever types a code, a price or a date."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.reference import TableKind
from node.cli.main import main
from node.cli.person import Person, today
from node.client.packaged import table_file
from node.errors import Exit
from tests.node.client.desk import MemoryNode
from tests.node.client.test_commands import Town


def says(line: str) -> Any:  # noqa: ANN401 - a list or an object
    words = ["codes", *line.split()]
    assert CliRunner().invoke(main, words).exit_code == Exit.OK
    result = CliRunner().invoke(main, [*words, "--json"])
    return json.loads(result.stdout)


def refuses(line: str, code: Exit = Exit.REJECTED) -> str:
    result = CliRunner().invoke(main, ["codes", *line.split()])
    assert result.exit_code == code, result.output
    return result.stderr


def test_the_tables_are_shown_by_the_hash_that_anybody_recomputes() -> None:
    shown = {each["kind"]: each for each in says("tables")}
    for kind in TableKind:
        assert shown[kind]["hash"] == sha256(table_file(kind)).hexdigest()
        assert {fact["mark"] for fact in shown[kind]["facts"].values()} <= set("SMIU") | {"S2"}


def test_a_code_is_shown_with_what_it_needs() -> None:
    assert len(says("show")) == 29
    row = says("show MS1")
    assert (row["frame"], row["age_below"], row["c2s"]) == ("M02", 6, 5128)
    assert "did you mean V01?" in refuses("show VO1")
    assert "was closed on 2019-12-31" in refuses("show OP1")


def test_two_lenses_have_a_category_and_its_limits() -> None:
    found = says("check V01 V02 --frame M01 --supplement SV4")
    assert found == {
        "category": "b",
        "floor_cents": 125_00,
        "ceiling_cents": 560_00,
        "collective_floor_cents": 150_00,
        "frame_cap_cents": 100_00,
    }
    assert says("check V01")["category"] is None
    assert says("check V01 V01 --c2s --age 4")["category"] == "a"


def test_prices_say_what_may_be_borne() -> None:
    line = "check VU1 VM4 --frame M03 --lens-price 30000 --lens-price 25000 --frame-price 12000"
    found = says(line)
    assert found["together_most_cents"] == 610_00
    assert (found["lenses_most_cents"], found["frame_most_cents"]) == (550_00, 100_00)
    # 60 % of three times five cents
    assert (found["basic_cents"], found["complementary_most_cents"]) == (9, 609_91)
    capped = says(f"{line} --cap 40000 --basic 100")
    assert (capped["together_most_cents"], capped["complementary_most_cents"]) == (400_00, 399_00)
    mixed = says("check VU1 VU1 --frame M01 --lens-price 1 --lens-price 1 --frame-price 4000")
    assert (mixed["frame_most_cents"], mixed["basic_cents"]) == (30_00, None)
    alone = says("check VU1 --lens-price 20000")
    assert alone["together_most_cents"] is None
    assert "complementary_most_cents" not in alone


@pytest.mark.parametrize(
    "line",
    [
        "check V01 V01 --lens-price 100",
        "check V01 --frame-price 100",
        "check V01 --frame M01 --lens-price 100",
        "check V01 --lens-price 100 --frame-price 100",
        "check V01 V01 V01",
        "check V01 --lens-price 1000001",
        "check V01 --age 151",
        "prescription --written 2024-01-01 --age 30 --agreed 2024-02-01",
        "prescription --written 2024-01-01 --age 9 --asked 2024-02-01 --agreed x --opposed x",
    ],
)
def test_what_makes_no_sense_is_said(line: str) -> None:
    assert "error: " in refuses(line, Exit.USAGE)


def test_codes_that_do_not_go_together_are_refused() -> None:
    assert "SV1 goes with a lens of class B" in refuses("check V01 V01 --supplement SV1")
    assert "MS1 is for wearers below 6" in refuses(
        "check V01 V01 --frame M02 --supplement MS1 --age 6"
    )
    assert "has no code VU1" in refuses("check VU1 --c2s")


def test_a_renewal_is_due_on_its_day() -> None:
    eve = says("renewal --last 2024-02-29 --on 2026-02-27 --age 40")
    assert eve == {"due": False, "due_on": "2026-02-28", "counted_from": "invoice_date"}
    assert says("renewal --last 2024-02-29 --on 2026-02-28 --age 40")["due"]
    child = says("renewal --last 2026-01-10 --on 2026-07-10 --age 3 --outgrown")
    assert (child["due"], child["due_on"]) == (True, "2026-07-10")
    assert says(f"renewal --last {today()} --age 40")["due"] is False
    assert "last: must be a day" in refuses("renewal --last 2024-02-30 --age 40")
    assert "on: is before" in refuses("renewal --last 2026-02-28 --on 2026-02-27 --age 40")


def test_a_prescription_serves_and_an_adaptation_is_agreed_by_silence() -> None:
    line = "prescription --written 2024-02-29 --age 30 --on 2026-09-22"
    assert says(line) == {"serves": True, "until": "2029-02-28"}
    asked = f"{line} --asked 2026-09-07"
    assert says(asked)["adaptation"] == "tacitly_agreed"
    assert says(asked)["silence_agrees_from"] == "2026-09-22"
    assert says(f"{asked} --agreed 2026-09-08")["adaptation"] == "agreed"
    assert says(f"{asked} --opposed 2026-09-08")["adaptation"] == "refused"
    assert "answer: is before" in refuses(f"{asked} --opposed 2026-09-06")


def lens(eye: str, sphere: float) -> dict[str, Any]:
    return {"product": {"coding": [{"code": "lens"}]}, "eye": eye, "sphere": sphere}


def test_an_early_renewal_is_answered_by_one_bit_from_the_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    town = Town(tmp_path, node)
    for reference, sphere in (("ORD-1", -2.0), ("ORD-2", -2.25), ("ORD-3", -2.5)):
        resource = {
            "resourceType": "VisionPrescription",
            "status": "active",
            "dateWritten": "2025-01-02",
            "prescriber": {"identifier": {"value": "10000000009"}},
            "lensSpecification": [lens("right", sphere), lens("left", -1.0)],
        }
        town.once(
            "shop",
            "prescription",
            "add",
            town.file(f"{reference}.json", resource),
            "--reference",
            reference,
        )
    dates = ("--last", "2024-01-10", "--on", "2025-06-10", "--age", "40", "--with-frame")

    def asks(before: str, after: str, *more: str) -> Any:  # noqa: ANN401
        return town.does("shop", "codes", "early", before, after, *dates, *more)

    assert asks("ORD-1", "ORD-2") == {"qualifies": False}  # a quarter on one lens
    assert asks("ORD-1", "ORD-3") == {"qualifies": True}  # a half
    assert asks("ORD-1", "ORD-1", "--listed-situation") == {"qualifies": False}
    for more in (("--listed-situation",), ("--degraded", "--listed-situation")):
        assert asks("ORD-1", "ORD-1", *more, "--ophthalmologist") == {"qualifies": True}
    line = ("codes", "early", "ORD-1", "ORD-9", *dates)
    assert "holds no prescription ORD-9" in town.refuses(Exit.NOT_FOUND, "shop", *line)
