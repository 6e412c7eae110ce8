"""Files of every form at the commands: checked, submitted, imported, and given out again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.main import main
from node.cli.person import Person
from node.client.importing import read_entries
from node.errors import Exit
from tests.node.client import desk
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

FORMS = desk.EXAMPLES.parent / "forms"
HEAD = (
    "N° facture;Payeur;Part;Date facture;N° adhérent;Ordonnance;Date ordonnance;N° RPPS;"
    "Sphère OD;Cylindre OD;Axe OD;Code OD;Montant verres\r\n"
)
ROW = "{};insurer;AMC;09/05/2025;ADH-1;{};02/01/2025;10000000009;{};-1,75;165;VU2;118,00\r\n"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Town(tmp_path, node)


def sheet(town: Town, *rows: tuple[str, str, str]) -> Path:
    path = town.folder / "day.csv"
    path.write_bytes((HEAD + "".join(ROW.format(*row) for row in rows)).encode("cp1252"))
    return path


def test_files_of_every_form_are_checked_without_a_home() -> None:
    files = [str(path) for path in sorted(FORMS.iterdir())]
    result = CliRunner().invoke(main, ["claim", "check", *files, "--json"])
    assert result.exit_code == Exit.OK, result.stderr
    rows = json.loads(result.stdout)
    assert len(rows) == 24
    assert not any(row["faults"] for row in rows)
    assert {row["reference"] for row in rows[:8]} == {row["reference"] for row in rows[8:16]}


def test_all_that_is_wrong_is_shown_and_ends_as_refused(town: Town) -> None:
    bad = sheet(town, ("F-1", "O-1", "-2,50"), ("F-2", "O-2", "-2,13"), ("f/3", "O-3", "1"))
    none = town.file("none.json", {"resourceType": "Patient"})
    result = CliRunner().invoke(main, ["claim", "check", str(bad), str(none)])
    assert result.exit_code == Exit.REJECTED
    assert "day.csv, row 2  F-1" in result.stdout
    for line in (
        'day.csv, row 3: column "Sphère OD": -2.13 is no step of a quarter of a dioptre (0.25)',
        'day.csv, row 4: column "N° facture": must be 1 to 20 capital letters, digits and dashes',
        "none.json: none.json holds none",
    ):
        assert line in result.stdout
    assert "3 of 4 are refused" in result.stderr


def test_each_fault_of_a_claim_has_its_line(town: Town) -> None:
    document = example(insured="X Y", invoice_date="2025")
    document["prescription"]["lensSpecification"][0]["axis"] = 900
    result = town.call("shop", "claim", "submit", town.file("c.json", document))
    assert result.exit_code == Exit.REJECTED
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1].strip() for line in errors] == [
        "right eye, axis",
        "claim.invoice_date",
        "claim.insured",
    ]


def test_a_claim_of_a_table_goes_out_again_as_fhir_and_as_a_table(town: Town) -> None:
    path = sheet(town, ("F-1", "O-1", "-2,50"))
    claim = town.does("shop", "claim", "submit", path)
    assert claim["progress"] == "committed"
    out = town.folder / "out.json"
    town.once("shop", "claim", "export", "F-1", "--format", "fhir", "--output", out)
    (again,) = read_entries(out.read_bytes(), "out.json", today=desk.TODAY)
    (first,) = read_entries(path.read_bytes(), "day.csv", today=desk.TODAY)
    assert again.found == first.found
    bundle = json.loads(out.read_text())
    assert [each["resource"]["resourceType"] for each in bundle["entry"]] == [
        *("Claim", "ClaimResponse")
    ]
    assert bundle["entry"][1]["resource"]["outcome"] == "queued"
    shown = town.call("shop", "claim", "export", "--all", "--format", "csv")
    assert shown.exit_code == Exit.OK, shown.stderr
    (row,) = read_entries(shown.stdout_bytes, "t.csv", today=desk.TODAY)
    assert row.found is not None
    assert (row.found.reference, row.found.lenses_cents) == ("F-1", 11_800)
    assert "submitted" in shown.stdout
    assert not any(each in shown.stdout for each in ("4,25", "2,50", "1,75", "165"))
    town.refuses(Exit.USAGE, "shop", "claim", "export", "--format", "csv")
    town.refuses(Exit.NOT_FOUND, "shop", "claim", "export", "F-9", "--format", "csv")


def test_one_document_is_not_taken_for_many(town: Town) -> None:
    path = sheet(town, ("F-1", "O-1", "1"), ("F-2", "O-2", "1"))
    stderr = town.refuses(Exit.USAGE, "shop", "claim", "submit", path)
    assert "day.csv holds 2 documents, where one is wanted" in stderr
    assert "depoli lot submit" in stderr


def test_prescriptions_are_imported_many_at_once_and_once(town: Town) -> None:
    path = sheet(town, ("F-1", "ORD-1", "-2,50"), ("F-2", "ORD-2", "1"))
    calls = ("prescription", "import", path)
    assert [row["new"] for row in town.once("shop", *calls)] == [True, True]
    assert [row["new"] for row in town.once("shop", *calls)] == [False, False]
    listed = town.does("shop", "prescription", "list")
    assert [(row["reference"], row["committed"]) for row in listed] == [
        ("ORD-1", True),
        ("ORD-2", True),
    ]
    fhir = town.file("ord.json", json.loads((FORMS / "day-r4.json").read_text()))
    assert len(town.once("shop", "prescription", "import", fhir)) == 8
    checked = CliRunner().invoke(main, ["prescription", "check", str(fhir), "--json"])
    assert [row["faults"] for row in json.loads(checked.stdout)] == [[]] * 8


def test_of_bad_prescriptions_none_is_kept(town: Town) -> None:
    path = sheet(town, ("F-1", "ORD-1", "-2,50"), ("F-2", "ORD-2", "-2,13"))
    stderr = town.refuses(Exit.REJECTED, "shop", "prescription", "import", path)
    assert 'day.csv, row 3, column "Sphère OD": -2.13 is no step' in stderr
    assert town.does("shop", "prescription", "list") == []
    bare = town.file("bare.json", example()["prescription"])
    stderr = town.refuses(Exit.USAGE, "shop", "prescription", "import", bare)
    assert "no reference of yours" in stderr


def test_a_prior_agreement_goes_out_as_a_preauthorization(town: Town) -> None:
    path = sheet(town, ("PEC-1", "O-1", "-2,50"))
    town.does("shop", "authorisation", "request", path)
    out = town.folder / "out.json"
    export = ("claim", "export", "--authorisation", "--all", "--format", "fhir", "--output", out)
    town.once("shop", *export)
    claim, response = (each["resource"] for each in json.loads(out.read_text())["entry"])
    assert (claim["use"], response["use"]) == ("preauthorization", "preauthorization")
    assert response["outcome"] == "queued"
    (again,) = read_entries(out.read_bytes(), "out.json", today=desk.TODAY, agreements=True)
    assert again.found is not None
    assert again.found.reference == "PEC-1"
