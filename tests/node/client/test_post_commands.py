"""What people type to show things by post, and to see who saw what; two homes, one node each."""

import json
from pathlib import Path

import pytest

from node.cli.person import Person
from node.client.errors import Unreachable
from node.errors import Exit
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import example
from tests.node.client.letterbox import Fate, Letterbox, PostedNode, give_sealing_keys
from tests.node.client.test_commands import Town

CLAIMS = (3, 4, 5)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = PostedNode()
    node.box, node.fate = Letterbox(), Fate()
    give_sealing_keys(node.world, "shop", "insurer")
    monkeypatch.setattr(Person, "node", lambda person: node.of(person.home.label))
    made = Town(tmp_path, node)
    for name in ("shop", "insurer"):
        home = tmp_path / name
        (home / "sealing.key").touch(0o600)
        (home / "sealing.key").write_text(desk.seed_of(name).hex())
        with (home / "client.toml").open("a") as file:
            file.write('sealing_key_file = "sealing.key"\n')
    return made


def submit(town: Town, number: int = 3) -> str:
    document = town.file(f"c{number}.json", example(number))
    claim: str = town.does("shop", "claim", "submit", document)["claim"]
    return claim


def test_claims_are_shown_by_post_and_both_sides_tell_who_saw_what(town: Town) -> None:
    claims = [submit(town, number) for number in CLAIMS]
    assert "nothing" not in town.call("shop", "disclosure", "send", "F2025-0003").stdout
    sent = town.once("shop", "disclosure", "send", "--all")
    assert [item["reference"] for item in sent] == ["F2025-0004", "F2025-0005"]
    assert "nothing is left" in town.call("shop", "disclosure", "send", "--all").stdout
    assert town.once("shop", "post", "status")["sent"] == {"handed on": 3}
    assert len(town.once("shop", "post", "status")["open"]) == 3
    took = town.once("insurer", "post", "run", "--once")
    assert {item["subject"] for item in took} == set(claims)
    assert {item["verdict"] for item in took} == {"taken"}
    signed = town.call("shop", "post", "run", "--once")
    assert signed.stdout.count("insurer signed for reimbursement of") == 3
    assert town.once("shop", "post", "run", "--once") == []

    (mine,) = town.does("shop", "disclosure", "list", "--claim", "F2025-0004")
    assert (mine["direction"], mine["member"], mine["state"]) == ("sent", "insurer", "acknowledged")
    assert mine["acknowledged"] >= mine["time"]
    theirs = town.does("insurer", "disclosure", "list", "--member", "shop")
    assert {item["subject"] for item in theirs} == set(claims)
    (same,) = [item for item in theirs if item["subject"] == mine["subject"]]
    assert same["envelope"] == mine["envelope"]
    assert town.does("insurer", "disclosure", "list", "--claim", "F2025-0004") == []
    assert town.does("shop", "disclosure", "list", "--state", "refused") == []
    none = town.call("shop", "disclosure", "list", "--claim", "F-99").stdout
    assert none == "nothing of that was shown\n"
    shown = town.call("shop", "disclosure", "list").stdout
    assert shown.count("acknowledged") == 4  # the heading too
    on = town.does("shop", "disclosure", "list", "--prescription", "F2025-0003")
    assert [item["reference"] for item in on] == ["F2025-0003"]

    (accepted,) = town.once("insurer", "claim", "accept", claims[0])
    assert accepted["outcome"] == "accepted"


def test_all_that_follows_a_decision_goes_by_post_too(town: Town) -> None:
    claim = submit(town)
    town.once("shop", "disclosure", "send", "F2025-0003")
    town.once("insurer", "post", "run", "--once")
    said = town.call("insurer", "claim", "accept", claim, "--amount", "9000").stderr
    assert "sent to shop by post" in said
    town.once("shop", "post", "run", "--once")
    settle = ("settlement", "create", "--beneficiary", "shop", "--all", "--payment", "VIR 1")
    settled = town.once("insurer", *settle)
    assert settled["cents"] == 9000
    id_ = settled["settlement"]
    missing = town.refuses(Exit.NOT_FOUND, "shop", "settlement", "confirm", id_)
    assert "depoli post run" in missing
    town.once("shop", "post", "run", "--once")
    confirmed = town.once("shop", "settlement", "confirm", id_)
    assert (confirmed["cents"], confirmed["payment"]) == (9000, "VIR 1")
    town.once("insurer", "post", "run", "--once")
    states = {item["purpose"]: item["state"] for item in town.does("insurer", "disclosure", "list")}
    assert states == {
        "reimbursement": "taken",
        "acceptance": "acknowledged",
        "settlement": "acknowledged",
    }


def test_a_question_and_its_answer_go_by_post(town: Town) -> None:
    document = desk.example(3)
    asked = document.pop("claim")
    asked["quote_date"] = asked.pop("invoice_date")
    asked.pop("authorisation", None)
    asked.setdefault("insured", "ADH-1")
    document |= {"format": "depoli/authorisation/1", "authorisation": asked}
    request = ("authorisation", "request", town.file("a.json", document))
    id_ = town.does("shop", *request)["authorisation"]
    (sent,) = town.once("shop", "disclosure", "send", "--all", "--authorisation")
    assert sent["state"] == "handed on"
    (took,) = town.once("insurer", "post", "run", "--once")
    assert took["purpose"] == "authorisation"
    ask = ("authorisation", "ask", id_, "--question", "last-reimbursement-date")
    assert "sent to shop by post" in town.call("insurer", *ask).stderr
    town.once("shop", "post", "run", "--once")
    assert [item["purpose"] for item in town.does("shop", "disclosure", "list")] == [
        "authorisation",
        "question",
    ]


def test_without_a_node_it_is_kept_and_the_command_says_so(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(town)

    async def gone(*_: object) -> None:
        raise Unreachable("nobody answers at http://127.0.0.1:9")

    with monkeypatch.context() as patch:
        patch.setattr(PostedNode, "post", gone)
        said = town.refuses(Exit.PENDING, "shop", "disclosure", "send", "--all")
    assert "1 of 1 are kept" in said
    town.call("shop", "post", "run", "--once")
    assert town.once("shop", "post", "status")["sent"] == {"handed on": 1}


def test_a_wrong_use_is_told(town: Town) -> None:
    assert "--all" in town.refuses(Exit.USAGE, "shop", "disclosure", "send")
    assert "--all" in town.refuses(Exit.USAGE, "shop", "disclosure", "send", "F-1", "--all")
    assert "holds no claim" in town.refuses(Exit.NOT_FOUND, "shop", "disclosure", "send", "F-1")
    town.refuses(Exit.NOT_FOUND, "shop", "disclosure", "list", "--member", "nobody")
    assert "acknowledged" in town.refuses(Exit.USAGE, "shop", "disclosure", "list", "--state", "x")


def test_a_payer_without_a_sealing_key_keeps_nothing_from_the_others(town: Town) -> None:
    document = town.file("c4.json", example(4, payer="mutual"))
    town.does("shop", "claim", "submit", document)
    submit(town)
    said = town.call("shop", "disclosure", "send", "--all", "--json")
    assert said.exit_code == Exit.USAGE
    assert "mutual has no sealing key" in said.stderr
    assert "depoli disclosure make" in said.stderr
    states = {item["reference"]: item["state"] for item in json.loads(said.stdout)}
    assert states == {"F2025-0003": "handed on", "F2025-0004": "not sent"}
    town.once("insurer", "post", "run", "--once")
    town.once("shop", "post", "run", "--once")
    (left,) = json.loads(town.call("shop", "disclosure", "send", "--all", "--json").stdout)
    assert (left["reference"], left["reason"]) == ("F2025-0004", "the payer has no sealing key")
    town.once("shop", "disclosure", "make", "F2025-0004", "--output", town.folder / "d.json")
    town.once("shop", "disclosure", "make", "F2025-0004", "--output", town.folder / "e.json")
    (shown,) = town.does("shop", "disclosure", "list", "--member", "mutual")
    assert (shown["state"], shown["reference"]) == ("written to a file", "F2025-0004")
    assert shown["acknowledged"] is None
    assert town.once("shop", "disclosure", "send", "--all") == []
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", town.folder / "f.json")
    (sent,) = town.does("shop", "disclosure", "list", "--member", "insurer")
    assert sent["state"] == "acknowledged"  # by post it was shown too
    give_sealing_keys(town.node.world, "mutual")
    (sent,) = town.once("shop", "disclosure", "send", "F2025-0004")
    assert sent["state"] == "handed on"
    assert len(town.does("shop", "disclosure", "list", "--member", "mutual")) == 2


def test_to_who_has_no_sealing_key_a_file_is_handed_over(town: Town) -> None:
    submit(town)
    home = town.folder / "shop" / "client.toml"
    home.write_text(home.read_text().replace('sealing_key_file = "sealing.key"\n', ""))
    said = town.refuses(Exit.USAGE, "shop", "disclosure", "send", "F2025-0003")
    assert "has no sealing key" in said
    assert "--output FILE" in said
    made = town.folder / "d.json"
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", made)
    assert json.loads(made.read_text())["format"] == "depoli/sealed/1"
    assert id_of("insurer").hex() in made.read_text()
