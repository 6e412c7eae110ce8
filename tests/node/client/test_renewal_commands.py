"""What people type for the two proofs and their control: shop, payers, prescriber."""

import json
from pathlib import Path

import pytest

from contracts.reference import TableKind, put_in_force
from contracts.state import Overlay
from node.cli.person import Person
from node.client.packaged import table_hashes
from node.errors import Exit
from tests.node.client import desk
from tests.node.client.desk import example
from tests.node.client.letterbox import Fate, Letterbox, PostedNode, give_sealing_keys
from tests.node.client.test_commands import Town
from tests.node.client.test_deeds import asking
from tests.node.client.test_proofs import Proofs

PEC = "PEC-1"
DAY = "2025-02-23"  # of the example's invoice
NAMES = ("shop", "insurer", "mutual", "doctor")
ATTEST = ("--before", "OLD", "--last", "2023-01-10", "--on", "2025-03-01", "--age", "40")


class Street(Town):
    """The same, with another payer, a prescriber, and post between them."""

    def settle(self, name: str) -> None:
        self._settle(name)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Street:
    node = PostedNode()
    node.box, node.fate = Letterbox(), Fate()
    give_sealing_keys(node.world, *NAMES)
    overlay = Overlay(node.world.state)
    table = table_hashes()[TableKind.OPTICS_RENEWAL]
    put_in_force(overlay, TableKind.OPTICS_RENEWAL, table, node.world.height)
    node.world.state.apply(overlay.changes)
    monkeypatch.setattr(Person, "node", lambda person: node.of(person.home.label))
    made = Street(tmp_path, node)
    for name in ("mutual", "doctor"):
        made.settle(name)
    for name in NAMES:
        home = tmp_path / name
        (home / "sealing.key").touch(0o600)
        (home / "sealing.key").write_text(desk.seed_of(name).hex())
        with (home / "client.toml").open("a") as file:
            file.write('sealing_key_file = "sealing.key"\n')
    return made


def accepted(town: Street, payer: str) -> str:
    """Let the shop claim of a payer, and that accept it; return the claim's id."""
    document = example(payer=payer, reference="EARLIER") | {"prescription_reference": "ORD-0"}
    claim: str = town.does("shop", "claim", "submit", town.file("e.json", document))["claim"]
    shown = town.folder / "e.shown.json"
    town.once("shop", "disclosure", "make", "EARLIER", "--output", shown)
    town.does(payer, "disclosure", "verify", shown)
    town.once(payer, "claim", "accept", claim)
    return claim


def asked(town: Street, question: str, *more: str) -> str:
    """Let the insurer ask by post; return the id of the prior agreement."""
    request = town.file("pec.json", asking())
    id_: str = town.does("shop", "authorisation", "request", request)["authorisation"]
    town.once("insurer", "authorisation", "ask", id_, "--question", question, *more)
    town.once("shop", "post", "run", "--once")
    return id_


def older(town: Street) -> None:
    """Let the shop keep an earlier prescription that differs enough."""
    document = example()["prescription"] | {"dateWritten": "2022-01-05"}
    document["lensSpecification"][0]["sphere"] = 0
    file = town.file("old.json", document)
    town.once("shop", "prescription", "add", file, "--reference", "OLD")


def taken(town: Street, name: str, purpose: str) -> str:
    """Let a member take its post; return what became of the one letter of this purpose."""
    came = town.once(name, "post", "run", "--once")
    (verdict,) = [each["verdict"] for each in came if each.get("purpose") == purpose]
    return str(verdict)


def move(town: Street, blocks: int = 2) -> None:
    """Let others make blocks."""
    for _ in range(blocks):
        executed = town.node.world.block()
        town.node.headers[executed.header.height] = executed.header.hash.hex()


@pytest.mark.parametrize("suffix", ["json", "txt"])
def test_a_patient_carries_a_day_from_one_payer_to_the_next(town: Street, suffix: str) -> None:
    claim = accepted(town, "mutual")
    paper = town.folder / f"proof.{suffix}"
    assert town.once("mutual", "renewal", "prove", claim, "--output", paper)["day"] == DAY
    brought = town.does("shop", "renewal", "import", paper, "--reference", "PROOF-1")
    assert brought == {"reference": "PROOF-1", "day": DAY, "by": "mutual"}
    id_ = asked(town, "last-reimbursement-date")
    show = ("authorisation", "show", id_)
    assert town.does("insurer", *show)["asked"] == {"last-reimbursement-date": None}
    answered = town.once("shop", "renewal", "answer", PEC, "--proof", "PROOF-1")
    assert answered["authorisation"] == id_
    assert taken(town, "insurer", "answer") == "taken"
    assert town.does("insurer", *show)["asked"] == {"last-reimbursement-date": DAY}
    assert f"last-reimbursement-date  {DAY}" in town.call("insurer", *show).stdout


def test_a_day_of_an_earlier_claim_goes_by_file(town: Street) -> None:
    accepted(town, "insurer")
    asked(town, "last-reimbursement-date")
    file = town.folder / "answer.json"
    town.once("shop", "renewal", "answer", PEC, "--claim", "EARLIER", "--output", file)
    read = town.does("insurer", "authorisation", "answer", file)
    assert (read["answer"], read["by"]) == (DAY, "shop")


def test_the_page_for_a_patient_tells_the_day_and_nothing_of_the_claim(town: Street) -> None:
    claim = accepted(town, "mutual")
    paper = town.folder / "proof.html"
    town.once("mutual", "renewal", "prove", claim, "--output", paper)
    text = paper.read_text()
    assert "facture du 23/02/2025. Attesté par mutual." in text
    assert f"invoice of {DAY}. Stated by mutual." in text.replace("\N{NON-BREAKING HYPHEN}", "-")
    assert "<svg" in text
    for secret in (claim, "V01", "EARLIER", "13000", "130"):
        assert secret not in text.split("<svg")[0]


def test_a_wrong_use_is_said_and_nothing_is_answered(town: Street) -> None:
    refuses = town.refuses
    asked(town, "last-reimbursement-date")
    assert "one of the two" in refuses(Exit.USAGE, "shop", "renewal", "answer", PEC)
    said = refuses(Exit.NOT_FOUND, "shop", "renewal", "answer", PEC, "--proof", "NONE")
    assert "depoli renewal import" in said
    said = refuses(Exit.NOT_FOUND, "shop", "renewal", "attest", PEC, *ATTEST)
    assert "nobody asked that" in said
    bad = town.folder / "bad.json"
    bad.write_text("{}")
    refuses(Exit.USAGE, "shop", "renewal", "import", bad, "--reference", "X")
    refuses(Exit.USAGE, "shop", "renewal", "countersign", bad)
    refuses(Exit.USAGE, "insurer", "control", "verify", bad)
    assert town.does("shop", "authorisation", "show", PEC)["chain"]["answers"] == 0


def test_that_it_qualifies_is_attested_drawn_opened_and_judged(town: Street) -> None:
    older(town)
    id_ = asked(town, "early-renewal-qualifies", "--control", "1000")
    town.once("shop", "renewal", "attest", PEC, *ATTEST)
    assert taken(town, "insurer", "answer") == "taken"
    files = (town.folder / "opened.json", town.folder / "verdict.json")
    opening = ("control", "open", PEC, "--to", "doctor", "--output", files[0])
    assert "is not made yet" in town.refuses(Exit.REJECTED, "shop", *opening)
    move(town)
    (mine,), (theirs,) = (town.does(name, "control", "draw") for name in ("shop", "insurer"))
    assert mine | {"reference": None} == theirs
    assert theirs["drawn"] is True
    said = town.refuses(
        Exit.USAGE, "shop", "control", "open", PEC, "--to", "mutual", "--output", files[0]
    )
    assert "no prescriber" in said
    town.once("shop", *opening)
    for other in ("insurer", "mutual"):
        assert "sealed" in town.refuses(
            Exit.VERIFICATION_FAILED, other, "control", "sign", files[0]
        )
    looked = town.does("doctor", "control", "sign", files[0])
    assert looked["before: right"] != looked["after: right"]
    town.once("doctor", "control", "sign", files[0], "--not-conform", "--output", files[1])
    found = town.does("insurer", "control", "verify", files[1])
    assert found == {"authorisation": id_, "verdict": "not conform", "by": "doctor"}
    (after,) = town.does("insurer", "control", "draw", id_)
    assert after["verdict"] == "not conform"
    sealed = files[1].read_bytes()
    assert b"sphere" not in sealed


def test_who_looks_in_the_shop_signs_a_slip_without_prescriptions(town: Street) -> None:
    older(town)
    asked(town, "early-renewal-qualifies", "--control", "1000")
    town.once("shop", "renewal", "attest", PEC, *ATTEST)
    town.once("insurer", "post", "run", "--once")
    move(town)
    slip = town.folder / "slip.json"
    shown = town.once("shop", "control", "open", PEC, "--output", slip)
    assert "sphere" in shown["before: right"]
    assert json.loads(slip.read_text())["before"] is None
    town.once("doctor", "control", "sign", slip, "--conform")
    assert taken(town, "insurer", "verdict") == "taken"
    (after,) = town.does("insurer", "control", "draw")
    assert after["verdict"] == "conform"


def test_what_is_not_drawn_is_opened_to_nobody(town: Street) -> None:
    older(town)
    asked(town, "early-renewal-qualifies", "--control", "0")
    town.once("shop", "renewal", "attest", PEC, *ATTEST)
    move(town)
    file = town.folder / "slip.json"
    said = town.refuses(Exit.REJECTED, "shop", "control", "open", PEC, "--output", file)
    assert "nobody may look into it" in said
    assert not file.exists()


def test_a_prescriber_signs_what_it_was_shown(town: Street) -> None:
    older(town)
    asked(town, "early-renewal-qualifies")
    draft, signed = town.folder / "draft.json", town.folder / "signed.json"
    make = ("renewal", "attest", PEC, *ATTEST, "--prescriber", "doctor")
    town.refuses(Exit.USAGE, "shop", *make)
    for other in ("insurer", "mutual"):
        wrong = ("renewal", "attest", PEC, *ATTEST, "--prescriber", other, "--output", draft)
        assert "nobody else is shown prescriptions" in town.refuses(Exit.USAGE, "shop", *wrong)
    assert not draft.exists()
    town.once("shop", *make, "--output", draft)
    assert "after: left" in town.does("doctor", "renewal", "countersign", draft)
    town.once("doctor", "renewal", "countersign", draft, "--output", signed)
    answer = town.folder / "answer.json"
    given = ("renewal", "attest", PEC, *ATTEST, "--signed", signed, "--output", answer)
    town.once("shop", *given)
    read = town.does("insurer", "authorisation", "answer", answer)
    assert (read["answer"], read["by"]) == ("yes", "shop, doctor")


def test_what_its_payer_would_refuse_is_not_answered(town: Street) -> None:
    """An answer is given once: a shop learns before it, and not after, that a proof is none."""
    claim = accepted(town, "mutual")
    paper = town.folder / "proof.json"
    town.once("mutual", "renewal", "prove", claim, "--output", paper)
    town.once("shop", "renewal", "import", paper, "--reference", "PROOF-1")
    asked(town, "last-reimbursement-date")
    Proofs(town.node, {}).revoke("mutual")  # the page holds no longer than its key
    answer = ("renewal", "answer", PEC, "--proof", "PROOF-1")
    assert "issuer" in town.refuses(Exit.VERIFICATION_FAILED, "shop", *answer)
    assert town.does("shop", "authorisation", "show", PEC)["chain"]["answers"] == 0
