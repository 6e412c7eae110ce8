"""What a person is told is all that is kept about him, and everybody who saw it; and no secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.calls import Reason
from node.cli.person import Person
from node.client import doomed, holdings, subject
from node.client.errors import Unreachable
from node.client.records import ReceivedRecord, find, update
from node.errors import Exit
from tests.node.client import desk
from tests.node.client.desk import example
from tests.node.client.letterbox import PostedNode
from tests.node.client.test_commands import Town
from tests.node.client.test_post_commands import submit, town

__all__ = ["town"]


def walked(town: Town) -> str:
    """Let a claim be shown and accepted in part; return its id."""
    claim = submit(town)
    submit(town, 4)
    town.once("shop", "disclosure", "send", "--all")
    town.once("insurer", "post", "run", "--once")
    town.call("insurer", "claim", "accept", claim, "--amount", "9000")
    town.once("shop", "post", "run", "--once")
    town.once("insurer", "post", "run", "--once")
    return claim


def export(town: Town, name: str, *args: str) -> tuple[dict[str, Any], str]:
    output = town.folder / f"{name}-subject"
    line: list[str | Path] = ["vault", "subject", "export", *args, "--output", output]
    assert town.call(name, *line).exit_code == Exit.OK
    for path in (output.with_suffix(".json"), output.with_suffix(".html")):
        assert path.stat().st_mode & 0o777 == 0o600
    return json.loads(output.with_suffix(".json").read_text()), output.with_suffix(
        ".html"
    ).read_text()


def test_the_shop_tells_what_it_keeps_and_who_saw_it(town: Town) -> None:
    claim = walked(town)
    told, page = export(town, "shop", "F2025-0003")
    (given,) = told["prescriptions"]
    document = example()["prescription"]
    assert given["written"] == document["dateWritten"][:10]
    eye = document["lensSpecification"][0]
    assert eye["cylinder"] < 0  # what is kept is the same with a positive cylinder
    assert given["right"]["sphere"] == f"{eye['sphere'] + eye['cylinder']:+.2f}"
    assert given["right"]["cylinder"] == f"{-eye['cylinder']:+.2f}"
    (claimed,) = told["claims"]
    assert (claimed["id"], claimed["cents"], claimed["accepted_cents"]) == (claim, 13_000, 9000)
    seen = {(item["direction"], item["purpose"]): item["state"] for item in told["who_saw_what"]}
    assert seen == {("sent", "reimbursement"): "acknowledged", ("received", "acceptance"): "taken"}
    assert [item["call"] for item in told["what_happened"]] == ["ClaimSubmit", "ClaimAccept"]
    assert told["history_is_whole"]
    assert "F2025-0004" not in json.dumps(told)
    for words in (given["right"]["sphere"], "insurer", "130,00", "90,00", "Who saw what"):
        assert words in page
    assert "a accepté la demande de remboursement" in page
    assert "insurer accepted it" in page


def test_the_payer_tells_of_its_insured(town: Town) -> None:
    claim = walked(town)
    insured = example()["claim"].get("insured") or example(4)["claim"]["insured"]
    told, page = export(town, "insurer", "--insured", insured)
    assert claim in {item["id"] for item in told["received"]}
    assert {item["insured"] for item in told["received"]} == {insured}
    assert "prescriptions" not in told
    assert {item["subject"] for item in told["who_saw_what"]} == {
        item["id"] for item in told["received"]
    }
    assert insured in page


def test_a_person_reads_what_was_decided_why_and_whether_a_machine_did(town: Town) -> None:
    claim = walked(town)
    with desk.open_vault(town.folder / "insurer", "vault") as vault:
        found = find(vault, ReceivedRecord, claim)
        assert found is not None
        found[1].decision, found[1].reason = "rejected", Reason.DUPLICATE
        found[1].is_automatic = True
        with vault.changes():
            update(vault, *found)
    insured = example()["claim"]["insured"]
    told, page = export(town, "insurer", "--insured", insured)
    (received,) = [each for each in told["received"] if each["id"] == claim]
    assert (received["reason"], received["is_automatic"]) == ("duplicate", True)
    for words in ("rejeté · rejected", "doublon · duplicate", "par un automate · by a machine"):
        assert words in page


def test_two_payers_may_call_two_people_the_same(town: Town) -> None:
    for number, payer, insured in ((3, "insurer", "ADH-1"), (4, "mutual", "ADH-1")):
        document = example(number, payer=payer, insured=insured)
        town.does("shop", "claim", "submit", town.file(f"c{number}.json", document))
    line = ("--insured", "ADH-1")
    asked = ("vault", "subject", "export", *line, "--output", town.folder / "x")
    assert "several payers" in town.refuses(Exit.USAGE, "shop", *asked)
    assert "several payers" in town.refuses(Exit.USAGE, "shop", "erase", *line, "--dry-run")
    told, _ = export(town, "shop", *line, "--payer", "mutual")
    assert [item["reference"] for item in told["prescriptions"]] == ["F2025-0004"]
    planned = town.does("shop", "erase", "records", *line, "--payer", "insurer", "--dry-run")
    assert planned["prescriptions"] == ["F2025-0003"]
    alone = ("vault", "subject", "export", "F2025-0003", "--payer", "mutual")
    town.refuses(Exit.USAGE, "shop", *alone, "--output", town.folder / "y")
    town.refuses(Exit.USAGE, "shop", "erase", "F2025-0003", "--payer", "mutual", "--dry-run")


def test_two_payers_of_one_prescription_know_the_same_person(town: Town) -> None:
    for number, payer in ((3, "insurer"), (4, "insurer"), (5, "mutual")):
        document = example(number, payer=payer, insured="ADH-1")
        document["claim"]["leg"] = "complementary" if payer == "mutual" else "base"
        if payer == "mutual":
            document |= {"prescription_reference": "F2025-0003"}
            del document["prescription"]
        town.does("shop", "claim", "submit", town.file(f"c{number}.json", document))
    told, _ = export(town, "shop", "--insured", "ADH-1")
    assert len(told["prescriptions"]) == 2
    assert len(told["claims"]) == 3


def test_a_person_is_found_by_a_number_that_its_payer_gave(town: Town) -> None:
    document = example(3, authorisation="PEC-1")
    del document["claim"]["insured"]
    claim = town.does("shop", "claim", "submit", town.file("c.json", document))["claim"]
    submit(town, 4)
    town.once("shop", "disclosure", "send", "--all")
    town.once("insurer", "post", "run", "--once")
    told, _ = export(town, "insurer", "--insured", "PEC-1")
    assert [item["id"] for item in told["received"]] == [claim]
    told, _ = export(town, "shop", "--insured", "PEC-1")
    assert [item["id"] for item in told["claims"]] == [claim]


def test_no_secret_is_told(town: Town) -> None:
    walked(town)
    told, page = export(town, "shop", "F2025-0003")
    with desk.open_vault(town.folder / "shop", "vault") as vault:
        plan = doomed.plan(vault, doomed.Selection(("F2025-0003",)))
        record: Any
        for record in plan.destroyed.values():
            for name in ("secret", "blinding", "document", "envelope"):
                value = getattr(record, name, None)
                text = value.hex() if isinstance(value, bytes) else value
                assert not text or text not in json.dumps(told)
                assert not text or text not in page


def test_every_kind_that_an_erasure_takes_is_told_of() -> None:
    assert set(subject._TOLD) == set(holdings.ABOUT)


def test_without_a_node_the_rest_is_told_and_that_it_is_not_whole(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(town)

    async def gone(*_: object, **__: object) -> None:
        raise Unreachable("nobody answers")

    monkeypatch.setattr(PostedNode, "get", gone)
    told, page = export(town, "shop", "F2025-0003")
    assert told["what_happened"] == []
    assert not told["history_is_whole"]
    assert "was not read whole" in page


def test_offline_no_node_is_asked(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    walked(town)
    monkeypatch.delattr(Person, "node")
    told, _ = export(town, "shop", "F2025-0003", "--offline")
    assert told["claims"]


def test_a_wrong_use_is_told(town: Town, tmp_path: Path) -> None:
    line = ("vault", "subject", "export")
    assert "--insured" in town.refuses(Exit.USAGE, "shop", *line, "--output", tmp_path / "x")
    nothing = town.refuses(Exit.NOT_FOUND, "shop", *line, "NONE", "--output", tmp_path / "x")
    assert "nothing is kept here about NONE" in nothing
    (tmp_path / "x.html").touch()
    town.refuses(Exit.USAGE, "shop", *line, "NONE", "--output", tmp_path / "x.json")
