"""`depoli inbox` and `settlement reconcile`: from files that shops put there to the accounts."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from node.cli.person import Person
from node.client.accounts import safe
from node.client.errors import NotReadable
from node.client.reconciling import Columns, Match, parse_bank, reconcile
from node.client.records import SettlementRecord
from node.errors import Exit
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

EXAMPLE = Path(__file__).parents[3] / "scripts" / "data" / "policy.toml"
DAYS = ("--from", "2026-01-01", "--to", "2999-12-31")


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    made = Town(tmp_path, node)
    (tmp_path / "insurer" / "inbox").mkdir()
    return made


def policy(town: Town, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text().replace("invoice_days = 365", "invoice_days = 36500")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = town.folder / "policy.toml"
    path.write_text(text)
    return path


def disclose(town: Town, number: int) -> str:
    """Submit an example, put its disclosure into the insurer's folder, return the claim's id."""
    claim: str = town.once("shop", "claim", "submit", town.file("c.json", example(number)))["claim"]
    path = town.folder / "insurer" / "inbox" / f"{number}.json"
    town.once("shop", "disclosure", "make", f"F2025-{number:04}", "--output", path)
    os.utime(path, (1, 1))
    return claim


def ran(town: Town, *args: str | Path) -> list[dict[str, Any]]:
    """Run the inbox once; return its events."""
    result = town.call("insurer", "inbox", "run", "--once", *args, "--json")
    assert result.exit_code == Exit.OK, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_day_at_a_payer(town: Town) -> None:
    rules = policy(town, ("a = { total_cents = 20000", "a = { total_cents = 13500"))
    one, part = disclose(town, 3), disclose(town, 4)
    rehearsed = ran(town, "--policy", rules, "--dry-run")
    assert [each["event"] for each in rehearsed] == ["would-accept", "would-part", "summary"]
    events = ran(town, "--policy", rules)
    assert {(each["event"], each.get("claim")) for each in events} == {
        ("accepted", one), ("accepted-in-part", part), ("summary", None),
    }  # fmt: skip
    (told,) = (town.folder / "insurer" / "outbox").iterdir()
    assert part in told.name
    town.once("shop", "disclosure", "verify", told)
    assert ran(town, "--policy", rules) == [{"event": "summary"}]
    human = town.call("insurer", "inbox", "run", "--once", "--policy", rules)
    assert human.stdout == "nothing came\n"

    settle = ("settlement", "create", "--beneficiary", "shop", "--all", "--payment", "VIR 7")
    settled = town.once("insurer", *settle, "--output", town.folder / "s.json")
    assert settled["cents"] == 26_500
    bank = town.folder / "bank.csv"
    bank.write_text("date;amount;reference\n30/11/2026;-265,00;vir  7\n")
    found = town.does("insurer", "settlement", "reconcile", bank)
    assert (found["counts"]["matched"], len(found["settlements"])) == (1, 1)
    bank.write_text("date;amount;reference\n30/11/2026;-265,01;VIR 7\n")
    result = town.call("insurer", "settlement", "reconcile", bank)
    assert result.exit_code == Exit.FAILED
    assert "differing" in result.stdout
    bank.write_text("date;amount;reference\n1/12;-265,00;VIR 7\n2/12;265,01;VIR 7\n")  # came back
    result = town.call("insurer", "settlement", "reconcile", bank)
    assert "double" in result.stdout
    assert "265,00 €, -265,01 €" in result.stdout


def test_people_decide_what_waits_for_them(town: Town) -> None:
    rules = policy(town, ('mode = "decide"', 'mode = "propose"'))
    one, two, three = (disclose(town, number) for number in (3, 4, 5))
    ran(town, "--policy", rules)
    waiting = town.does("insurer", "inbox", "list")
    assert {each["claim"] for each in waiting} == {one, two, three}
    shown = town.does("insurer", "inbox", "show", one)
    assert (shown["right"], shown["category"], shown["insured"]) == ("V01", "a", "ADH-327828")
    assert shown["findings"] == ["policy-proposes-only"]
    decide = ("inbox", "decide")
    (done,) = town.once("insurer", *decide, one, "--as-proposed")
    assert (done["event"], done["automatic"]) == ("accepted", False)
    (done,) = town.once("insurer", *decide, two, "--reject", "rights-closed")
    assert (done["event"], done["automatic"]) == ("rejected", False)
    (done,) = town.once("insurer", *decide, three, "--amount", "5000")
    assert done["event"] == "accepted-in-part"
    assert town.does("insurer", "inbox", "list") == []
    town.refuses(Exit.NOT_FOUND, "insurer", *decide, two, "--accept")
    town.refuses(Exit.USAGE, "insurer", *decide, two)
    town.refuses(Exit.USAGE, "insurer", *decide, two, "--accept", "--amount", "5")
    town.refuses(Exit.USAGE, "insurer", *decide, one, two, "--amount", "5")
    town.refuses(Exit.USAGE, "insurer", *decide, two, "--reject", "too-dear")


def test_what_was_verified_by_hand_waits_in_the_inbox_too(town: Town) -> None:
    one, two = disclose(town, 3), disclose(town, 4)
    files = sorted((town.folder / "insurer" / "inbox").iterdir())
    town.once("insurer", "disclosure", "verify", *files)
    for file in files:
        file.unlink()
    assert [each["standing"] for each in town.does("insurer", "inbox", "list")] == ["new", "new"]
    town.once("insurer", "claim", "reject", one, "--reason", "duplicate")
    assert [each["claim"] for each in town.does("insurer", "inbox", "list")] == [two]
    assert ran(town, "--policy", policy(town))[0]["event"] == "accepted"
    assert town.does("insurer", "inbox", "list") == []


def test_what_no_policy_weighed_is_not_decided_as_proposed(town: Town) -> None:
    one, two = disclose(town, 3), disclose(town, 4)
    town.once("insurer", "disclosure", "verify", *(town.folder / "insurer" / "inbox").iterdir())
    decide = ("insurer", "inbox", "decide")
    said = town.refuses(Exit.REJECTED, *decide, one, "--as-proposed")
    assert "has not weighed" in said
    # Of several, nothing is chosen where one of them cannot be.
    town.refuses(Exit.NOT_FOUND, *decide, two, "ab" * 32, "--accept")
    assert [each["standing"] for each in town.does("insurer", "inbox", "list")] == ["new", "new"]
    assert [each["event"] for each in town.once(*decide, one, "--accept")] == ["accepted"]


def test_a_wrong_policy_decides_nothing_and_is_named(town: Town) -> None:
    claim = disclose(town, 3)
    rules = policy(town, ("accept_up_to_cents", "accept_upto_cents"))
    for command in (("check", rules), ("run", "--once", "--policy", rules)):
        said = town.refuses(Exit.USAGE, "insurer", "inbox", *command)
        assert "accept_upto_cents" in said
        assert "line" in said
    assert town.once("insurer", "claim", "show", claim)["chain"]["state"] == "submitted"
    right = town.does("insurer", "inbox", "check", policy(town))
    assert (right["mode"], right["refuses"]) == (
        "decide", ["shop-not-listed", "authorisation-missing"],
    )  # fmt: skip


def test_where_there_is_no_folder_that_is_said(town: Town) -> None:
    elsewhere = ("--folder", town.folder / "nowhere", "--policy", policy(town))
    said = town.refuses(Exit.USAGE, "insurer", "inbox", "run", "--once", *elsewhere)
    assert "there is no folder" in said


# --- accounts -------------------------------------------------------------------------------------


def test_what_was_decided_is_exported(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = policy(town, ("a = { total_cents = 20000", "a = { total_cents = 13500"))
    disclose(town, 3), disclose(town, 4)
    ran(town, "--policy", rules)
    third = disclose(town, 5)
    ran(town, "--policy", policy(town, ('mode = "decide"', 'mode = "propose"')))
    town.once("insurer", "inbox", "decide", third, "--reject", "other")
    file = town.folder / "out.csv"
    made = town.once("insurer", "inbox", "export", *DAYS, "--output", file)
    assert made["claims"] == 3
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [(row["decision"], row["claimed_cents"], row["accepted_cents"]) for row in rows] == [
        ("accepted", "13000", "13000"),
        ("accepted_in_part", "14000", "13500"),
        ("rejected", "11500", "0"),
    ]
    assert [(row["accepted_eur"], row["automatic"]) for row in rows] == [
        ("130.00", "yes"), ("135.00", "yes"), ("0.00", "no"),
    ]  # fmt: skip
    assert rows[0]["invoice_date"] == "2025-02-23"
    assert (rows[0]["submitter_label"], rows[2]["reason"]) == ("shop", "other")
    town.refuses(Exit.FAILED, "insurer", "inbox", "export", *DAYS, "--output", file)  # it is there
    none = ("--from", "2020-01-01", "--to", "2020-01-02", "--output", town.folder / "none.csv")
    assert town.once("insurer", "inbox", "export", *none)["claims"] == 0
    wrong = ("--from", "2020-01-03", "--to", "2020-01-02", "--output", town.folder / "x.csv")
    town.refuses(Exit.USAGE, "insurer", "inbox", "export", *wrong)

    parquet = pytest.importorskip("pyarrow.parquet")
    file = town.folder / "out.parquet"
    arguments = ("inbox", "export", "--format", "parquet", *DAYS, "--output", file)
    assert town.once("insurer", *arguments)["claims"] == 3
    table = parquet.read_table(file)
    assert table.column("accepted_cents").to_pylist() == [13_000, 13_500, 0]
    assert str(table.schema.field("claimed_eur").type) == "decimal128(18, 2)"
    assert [str(each) for each in table.column("claimed_eur").to_pylist()] == [
        "130.00", "140.00", "115.00",
    ]  # fmt: skip
    file.unlink()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = town.refuses(Exit.FAILED, "insurer", *arguments)
    assert "pip install 'depoli[parquet]'" in said
    assert not file.exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"])
def test_no_text_is_a_formula(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert safe(f"A{text}") == f"A{text}"


# --- the bank -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("12", 1_200),
        ("-12,50", 1_250),  # what was paid
        ("+12.50", 1_250),
        ("1 234,50", 123_450),
        ("1 234,50 €", 123_450),
        ("1.234,50", 123_450),
        ("1,234.50", 123_450),
        ("1234567.89", 123_456_789),
        ("0.00 EUR", 0),
    ],
)
def test_an_amount_is_read_as_banks_write_it(amount: str, cents: int) -> None:
    (line,) = parse_bank(f"date;amount;reference\nd;{amount};r\n".encode(), "b.csv", Columns())
    assert line.cents == cents


@pytest.mark.parametrize("amount", ["1.234", "1,234", "12.5", "1e3", "12,345,6", "--1", "1 2,00"])
def test_an_amount_that_could_be_another_is_refused_with_its_line(amount: str) -> None:
    data = f"date;amount;reference\nd;1,00;r\nd;{amount};r\n".encode()
    with pytest.raises(NotReadable, match=r"b\.csv, line 3: "):
        parse_bank(data, "b.csv", Columns())


def test_columns_are_as_the_bank_calls_them() -> None:
    text = 'Libellé,Débit,Crédit,Date\nVIR 1,"12,00",,30/11\nVIR 2,,"9,00",30/11\n'
    lines = parse_bank(text.encode("cp1252"), "b.csv", Columns("Date", "Débit", "Libellé"))
    assert [(line.reference, line.cents, line.date) for line in lines] == [
        ("VIR 1", 1_200, "30/11")
    ]
    with pytest.raises(NotReadable, match="no column date"):
        parse_bank(text.encode(), "b.csv", Columns())
    with pytest.raises(NotReadable, match="other columns"):
        parse_bank(b"date;amount;reference\nd;1,00\n", "b.csv", Columns())


def settlement(number: int, reference: str | None, cents: int | None = 100) -> SettlementRecord:
    return SettlementRecord(
        id=bytes((number,)) * 32, counterpart=bytes(16), cents=cents, reference=reference
    )


def test_each_payment_and_each_settlement_is_found_or_missed() -> None:
    paid = (
        ("-1,00", "good"),
        ("-2,00", "DEAR"),
        ("1,00", "CAME IN"),
        ("1,00", "TWICE"),
        ("-1,00", "TWICE"),
        ("-1,00", "GIVEN UP"),
        ("-1,00", "BOTH"),
        ("-7,00", "RENT"),
        ("7,00", "VIR 9"),
    )
    text = "date;amount;reference\n" + "".join(f"d;{cents};{name}\n" for cents, name in paid)
    ours = [
        (settlement(1, "GOOD"), "confirmed"),
        (settlement(2, "DEAR"), "announced"),
        (settlement(12, "CAME IN"), "announced"),
        (settlement(3, "TWICE"), "announced"),
        (settlement(4, "GIVEN UP"), "cancelled"),
        (settlement(5, "NOT PAID"), "disputed"),
        (settlement(6, "BOTH"), "announced"),
        (settlement(7, "BOTH"), "announced"),
        (settlement(8, "GIVEN UP TOO"), "cancelled"),
        (settlement(9, None), "announced"),
        (settlement(10, "OPEN", None), "open"),
        (settlement(11, "GOOD"), "cancelled"),  # its reference was used again
    ]
    found = reconcile(ours, parse_bank(text.encode(), "b.csv", Columns()))
    assert [(each.match, each.reference) for each in found] == [
        (Match.UNTIED, ""),
        (Match.MATCHED, "GOOD"),
        (Match.DIFFERING, "DEAR"),
        (Match.DIFFERING, "CAME IN"),
        (Match.DOUBLE, "TWICE"),
        (Match.CANCELLED, "GIVEN UP"),
        (Match.MISSING, "NOT PAID"),
        (Match.UNTIED, "BOTH"),
        (Match.UNTIED, "BOTH"),
        (Match.UNKNOWN, "RENT"),
        (Match.UNKNOWN, "VIR 9"),
    ]
    only = reconcile([], parse_bank(text.encode(), "b.csv", Columns()), prefix="vir")
    assert [each.reference for each in only] == ["VIR 9"]
