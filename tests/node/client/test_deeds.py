"""The commands of what follows decisions, and what they say where something is wrong."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger.keys import Role
from node.cli.person import Person
from node.errors import Exit
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

PEC = "PEC-1"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Town(tmp_path, node)


def asking() -> dict[str, Any]:
    document = example()
    asked = document.pop("claim")
    asked["quote_date"] = asked.pop("invoice_date")
    asked.pop("authorisation", None)
    asked |= {"reference": PEC, "insured": "ADH-1"}
    document |= {"format": "depoli/authorisation/1", "prescription_reference": "ORD-1"}
    return document | {"authorisation": asked}


def requested(town: Town) -> str:
    """Ask for a prior agreement and show it to the payer; return its id."""
    asked = town.does("shop", "authorisation", "request", town.file("pec.json", asking()))
    shown = town.folder / "shown.json"
    make = ("disclosure", "make", PEC, "--authorisation", "--output", shown)
    town.once("shop", *make)
    (seen,) = town.does("insurer", "disclosure", "verify", shown)
    assert seen["cents"] == 13_000
    return str(asked["authorisation"])


def employ(town: Town) -> None:
    """Give the payer's home the key of a person."""
    home = town.folder / "insurer"
    (home / "human").touch(0o600)
    (home / "human").write_text(sha256(f"anne/{Role.HUMAN.name}".encode()).hexdigest())
    with (home / "client.toml").open("a") as config:
        config.write('human_key_file = "human"\n')


def claimed(town: Town, **changes: Any) -> str:  # noqa: ANN401
    file = town.file("c.json", example(**changes) | {"prescription_reference": "ORD-1"})
    return str(town.once("shop", "claim", "submit", file)["claim"])


def test_a_prior_agreement_is_asked_about_answered_and_granted(town: Town) -> None:
    id_ = requested(town)
    question, answer, agreed = (town.folder / f"{name}.json" for name in "qap")
    kind = ("--question", "early-renewal-qualifies", "--output", question)
    assert "asked" in town.once("insurer", "authorisation", "ask", id_, *kind)["outcome"]
    read = town.does("shop", "authorisation", "answer", question)
    assert (read["question"], read["answer"]) == ("early-renewal-qualifies", None)
    given = ("--answer", "not-provable-here", "--output", answer)
    town.once("shop", "authorisation", "answer", question, *given)
    assert town.does("insurer", "authorisation", "answer", answer)["answer"] == "not-provable-here"
    part = ("--amount", "5000", "--output", agreed)
    town.once("insurer", "authorisation", "grant", id_, *part)
    assert town.does("shop", "disclosure", "verify", agreed)[0]["cents"] == 5_000
    assert town.does("shop", "authorisation", "show", PEC)["chain"]["state"] == "granted_in_part"
    (listed,) = town.does("shop", "authorisation", "list", "--state", "granted_in_part")
    assert (listed["reference"], listed["questions"], listed["answers"]) == (PEC, 1, 1)
    told = town.call("shop", "explain", "authorisation", PEC).stdout
    assert "insurer granted it in part" in told
    assert "depoli authorisation cancel PEC-1" in told
    town.does("shop", "authorisation", "cancel", PEC)
    assert town.does("shop", "authorisation", "show", PEC)["chain"]["state"] == "cancelled"


def test_a_refused_one_is_looked_at_by_a_person_who_has_a_key(town: Town) -> None:
    id_ = requested(town)
    refuse = ("authorisation", "refuse", id_, "--reason", "rights-closed")
    town.does("insurer", *refuse, "--automatic")
    town.does("shop", "authorisation", "review", PEC)
    said = town.refuses(Exit.REJECTED, "insurer", "authorisation", "grant", id_)
    assert "PERSON_NEEDED" in said
    assert "--human" in said
    said = town.refuses(Exit.USAGE, "insurer", "authorisation", "grant", id_, "--human")
    assert "human_key_file" in said


def test_a_claim_is_rejected_disputed_and_the_dispute_withdrawn(town: Town) -> None:
    id_ = claimed(town)
    town.once("insurer", "claim", "reject", id_, "--reason", "insured-unknown")
    town.does("shop", "claim", "dispute", "F2025-0003", "--ground", "rejection")
    told = town.call("insurer", "explain", "claim", id_).stdout
    assert f"depoli claim overturn {id_}\n" in told  # a person rejected: any key answers
    town.does("shop", "claim", "withdraw", "F2025-0003")
    town.does("shop", "claim", "abandon", "F2025-0003")
    assert "nothing more may happen to it" in town.call("shop", "explain", "claim", id_).stdout
    again = town.file(
        "again.json", example(reference="AGAIN") | {"prescription_reference": "ORD-1"}
    )
    assert town.does("shop", "claim", "submit", again)["progress"] == "committed"


def test_a_rejected_claim_is_resubmitted(town: Town) -> None:
    id_ = claimed(town)
    town.once("insurer", "claim", "reject", id_, "--reason", "insured-unknown")
    mended = example(reference="MENDED", insured="ADH-2") | {"prescription_reference": "ORD-1"}
    file = town.file("mended.json", mended)
    done = town.does("shop", "claim", "resubmit", "F2025-0003", file)
    assert (done["progress"], done["prior"]) == ("committed", "F2025-0003")
    told = town.call("shop", "explain", "claim", "F2025-0003").stdout
    assert "you submitted another in its place" in told
    assert "claim F2025-0003: resubmitted" in told


def test_what_a_node_keeps_no_more_is_said_to_be_missing(town: Town) -> None:
    id_ = claimed(town)
    forgotten = "what happened before, this node keeps no more: ask one that keeps all"
    assert forgotten not in town.call("shop", "explain", "claim", id_).stdout
    town.node.forgets = len(town.node.entries)
    town.once("insurer", "claim", "reject", id_, "--reason", "insured-unknown")
    told = town.call("shop", "explain", "claim", id_).stdout
    assert forgotten in told
    assert "claim F2025-0003: rejected" in told
    assert [each["call"] for each in town.does("shop", "explain", "claim", id_)["history"]] == [
        "ClaimReject"
    ]


def test_a_dispute_over_a_rejection_ends_in_a_part_that_only_the_two_know(town: Town) -> None:
    id_ = claimed(town)
    shown, part = town.folder / "d.json", town.folder / "part.json"
    town.once("shop", "disclosure", "make", id_, "--output", shown)
    town.does("insurer", "disclosure", "verify", shown)
    town.once("insurer", "claim", "reject", id_, "--reason", "other")
    town.does("shop", "claim", "dispute", id_, "--ground", "rejection")
    overturn = ("claim", "overturn", id_, "--amount", "700", "--output", part)
    town.once("insurer", *overturn)
    assert town.does("shop", "disclosure", "verify", part)[0]["cents"] == 700
    assert town.does("shop", "claim", "show", id_)["chain"]["state"] == "accepted_in_part"
    town.does("shop", "claim", "dispute", id_, "--ground", "amount")
    assert "PERSON_NEEDED" in town.refuses(Exit.REJECTED, "insurer", "claim", "uphold", id_)
    employ(town)
    town.does("insurer", "claim", "uphold", id_, "--human")


def test_a_payer_that_gives_way_over_an_amount_accepts_more_and_both_can_settle_it(
    town: Town,
) -> None:
    id_ = claimed(town)
    shown, part, more = (town.folder / f"{name}.json" for name in ("d", "part", "more"))
    town.once("shop", "disclosure", "make", id_, "--output", shown)
    town.does("insurer", "disclosure", "verify", shown)
    town.once("insurer", "claim", "accept", id_, "--amount", "700", "--output", part)
    town.does("shop", "disclosure", "verify", part)
    said = town.refuses(Exit.REJECTED, "shop", "claim", "dispute", id_, "--ground", "rejection")
    assert "cannot be disputed on this ground" in said
    assert "depoli explain" in said
    town.does("shop", "claim", "dispute", id_, "--ground", "amount")
    employ(town)
    overturn = ("claim", "overturn", id_, "--human", "--amount")
    said = town.refuses(Exit.REJECTED, "insurer", *overturn, "600", "--output", more)
    assert "700 cents were accepted before" in said
    town.once("insurer", *overturn, "900", "--output", more)
    assert town.does("shop", "disclosure", "verify", more)[0]["cents"] == 900
    statement = town.folder / "statement.json"
    pay = ("--beneficiary", "shop", "--all", "--output", statement)
    town.once("insurer", "settlement", "create", *pay)
    assert town.does("shop", "settlement", "confirm", statement)["cents"] == 900


def test_an_amount_that_the_chain_refused_does_not_bind(town: Town) -> None:
    id_ = requested(town)
    agreed = town.folder / "agreed.json"
    grant = ("authorisation", "grant", id_, "--output", agreed, "--amount")
    said = town.refuses(Exit.REJECTED, "insurer", *grant, "5000", "--days", "3000")
    assert "VALIDITY_NOT_POSSIBLE" in said
    town.once("insurer", *grant, "4000")
    assert town.does("shop", "disclosure", "verify", agreed)[0]["cents"] == 4_000


def test_what_replaces_a_claim_has_a_reference_of_its_own(town: Town) -> None:
    id_ = claimed(town)
    town.once("insurer", "claim", "reject", id_, "--reason", "insured-unknown")
    same = town.file("c.json", example() | {"prescription_reference": "ORD-1"})
    said = town.refuses(Exit.REJECTED, "shop", "claim", "resubmit", "F2025-0003", same)
    assert "a reference of its own" in said


def test_a_prescription_is_rectified_and_revoked_and_claims_stand(town: Town) -> None:
    id_ = claimed(town)
    other = example()["prescription"]
    other["lensSpecification"][0]["sphere"] += 0.25
    file = town.file("ordonnance.json", other)
    town.does("shop", "prescription", "supersede", "ORD-1", file)
    shown = town.folder / "d.json"
    town.once("shop", "disclosure", "make", id_, "--output", shown)
    town.does("insurer", "disclosure", "verify", shown)  # it rests on the document before
    town.does("shop", "prescription", "revoke", "ORD-1")
    told = town.call("shop", "explain", "prescription", "ORD-1").stdout
    assert "prescription ORD-1: revoked" in told
    late = example(reference="LATE", leg="base") | {"prescription_reference": "ORD-1"}
    late.pop("prescription")
    said = town.refuses(Exit.REJECTED, "shop", "claim", "submit", town.file("late.json", late))
    assert "the prescription is revoked" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("claim", "dispute", "F2025-0003", "--ground", "anger"), "payment-not-found"),
        (("claim", "recover", "F2025-0003", "--reason", "anger"), "rights-closed"),
        (("claim", "overturn", "F2025-0003", "--amount", "7"), "--output"),
        (("authorisation", "grant", "0" * 64, "--output", "x"), "--amount"),
    ],
)
def test_what_is_typed_wrong_is_said(town: Town, line: tuple[str, ...], says: str) -> None:
    claimed(town)
    assert says in town.refuses(Exit.USAGE, "shop", *line)


def test_there_is_no_third_question(town: Town) -> None:
    id_ = requested(town)
    ask = ("authorisation", "ask", id_, "--question", "who-is-it", "--output", "q.json")
    said = town.refuses(Exit.REJECTED, "insurer", *ask)
    assert "last-reimbursement-date and early-renewal-qualifies" in said


def test_what_is_not_there_is_not_found(town: Town) -> None:
    for kind, name in (("claim", "F-9"), ("authorisation", "PEC-9"), ("prescription", "ORD-9")):
        assert name in town.refuses(Exit.NOT_FOUND, "shop", "explain", kind, name)


def test_an_explanation_in_json_has_the_facts_and_who_is_who(town: Town) -> None:
    id_ = claimed(town)
    told = town.does("shop", "explain", "claim", id_)
    assert (told["state"], told["history"][0]["label"]) == ("submitted", "shop")
    steps = {(step["label"], step["call"]): step for step in told["steps"]}
    assert steps["insurer", "ClaimAccept"]["due"] > told["time"]
    assert json.dumps(told)
