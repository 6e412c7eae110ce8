"""What the gateway answers, over real HTTP on loopback, to software that asks well or badly."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.client import lots
from node.client.records import ClaimRecord, Progress, every
from node.gateway import courier
from node.gateway.doors import NotLoopback, require_loopback
from node.tokens import remove_grant
from tests.node.client import desk as desks
from tests.node.client.desk import example
from tests.node.client.test_sheets import FRENCH, table
from tests.node.gateway.doorstep import Gateway, open_gateway


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.01)
    with open_gateway(tmp_path) as made:
        yield made


def test_a_claim_is_taken_decided_and_shown_as_it_stands_on_the_chain(gateway: Gateway) -> None:
    taken = gateway.post("/v1/claims?wait=30", example(3))
    assert taken.status == 200
    assert taken.body["progress"] == "committed"
    assert taken.headers["cache-control"] == "no-store"
    shown = gateway.get("/v1/claims/F2025-0003").body
    assert shown["chain"]["state"] == "submitted"
    assert gateway.get(f"/v1/claims/{shown['claim']}").body == shown


def test_the_same_claim_again_changes_nothing(gateway: Gateway) -> None:
    first = gateway.post("/v1/claims?wait=30", example(3)).body
    sent = len(gateway.node.sent)
    again = gateway.post("/v1/claims?wait=30", example(3))
    assert (again.status, again.body) == (200, first)
    assert len(gateway.node.sent) == sent


def test_another_claim_of_the_same_reference_is_refused(gateway: Gateway) -> None:
    assert gateway.post("/v1/claims", example(3)).status == 202
    refused = gateway.post("/v1/claims", example(3, insured="OTHER-1"))
    assert refused.status == 422
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert refused.body["type"] == "urn:depoli:problem:refused"


def test_a_claim_waits_for_a_node_that_is_away_and_goes_by_itself(gateway: Gateway) -> None:
    gateway.node.is_away = True
    taken = gateway.post("/v1/claims?wait=1", example(3))
    assert (taken.status, taken.body["progress"]) == (202, "prepared")
    status = gateway.get("/v1/status").body
    assert (status["height"], status["waiting"]) == (None, 1)
    assert status["trouble"] == {"title": "no node answers", "hint": "start it"}
    gateway.node.is_away = False
    assert gateway.post("/v1/claims?wait=30", example(3)).body["progress"] == "committed"
    status = gateway.get("/v1/status").body
    assert (status["waiting"], status["trouble"]) == (0, None)


def test_what_an_earlier_run_left_goes_on_its_way(tmp_path: Path) -> None:
    with open_gateway(tmp_path) as first:
        first.node.is_away = True
        assert first.post("/v1/claims", example(3)).status == 202
    with open_gateway(tmp_path) as second:
        assert second.post("/v1/claims?wait=30", example(3)).body["progress"] == "committed"


def test_an_answer_that_was_lost_makes_no_second_claim(gateway: Gateway) -> None:
    gateway.node.lose_answers = 2
    assert gateway.post("/v1/claims?wait=30", example(3)).body["progress"] == "committed"
    assert len({*gateway.node.sent}) == 2  # what locks, and the claim


def test_a_lot_says_of_each_what_became_of_it(gateway: Gateway) -> None:
    wrong = example(4)
    wrong["claim"]["codes"]["right"] = "OP1"
    answer = gateway.post("/v1/lots?wait=30", {"claims": [example(3), wrong, example(5), []]})
    assert answer.status == 200
    items = answer.body["items"]
    assert [item["number"] for item in items] == [0, 1, 2, 3]
    assert [item["claim"] and item["claim"]["progress"] for item in items] == [
        "committed", None, "committed", None,
    ]  # fmt: skip
    assert "OP1" in items[1]["problem"]["title"]
    assert items[3]["problem"]["status"] == 400
    # The two that were taken travelled under one signature.
    transactions = {item["claim"]["transaction"] for item in items if item["claim"]}
    assert len(transactions) == 1


def test_a_page_ends_where_the_next_begins(gateway: Gateway) -> None:
    gateway.post("/v1/lots", {"claims": [example(number) for number in (3, 4, 5)]})
    first = gateway.get("/v1/claims?limit=2").body
    second = gateway.get(f"/v1/claims?limit=2&after={first['cursor']}").body
    assert second["cursor"] is None
    shown = [each["reference"] for each in first["claims"] + second["claims"]]
    assert shown == ["F2025-0003", "F2025-0004", "F2025-0005"]


def test_what_is_checked_is_not_kept(gateway: Gateway) -> None:
    verdict = gateway.post("/v1/check", example(3))
    assert verdict.status == 200
    assert verdict.body["reference"] == "F2025-0003"
    assert gateway.get("/v1/claims").body["claims"] == []
    assert gateway.get("/v1/prescriptions").body["prescriptions"] == []
    assert not gateway.node.sent
    nobody = gateway.post("/v1/check", example(3, payer="nobody"))
    assert nobody.status == 404


def test_a_claim_is_taken_back(gateway: Gateway) -> None:
    gateway.post("/v1/claims?wait=30", example(3))
    cancelled = gateway.post("/v1/claims/F2025-0003/cancel")
    assert (cancelled.status, cancelled.body["chain"]["state"]) == (200, "cancelled")
    assert gateway.post("/v1/claims/F2025-0003/cancel").status == 200  # it is so already
    assert gateway.post("/v1/claims/F2025-9999/cancel").status == 404


def test_a_prescription_is_kept_and_committed_to(gateway: Gateway) -> None:
    resource = example(3)["prescription"]
    assert gateway.post("/v1/prescriptions", resource).status == 400  # it has no reference
    kept = gateway.post("/v1/prescriptions?reference=ORD-17&wait=30", resource)
    assert (kept.status, kept.body["committed"]) == (200, True)
    shown = gateway.get("/v1/prescriptions/ORD-17").body
    assert shown["resource"]["resourceType"] == "VisionPrescription"
    assert "patient" not in shown["resource"]
    listed = gateway.get("/v1/prescriptions").body["prescriptions"]
    assert [(each["reference"], each["resource"]) for each in listed] == [("ORD-17", None)]
    gateway.node.is_away = True
    late = gateway.post("/v1/prescriptions?reference=ORD-18&wait=1", example(4)["prescription"])
    assert (late.status, late.body["committed"]) == (202, False)


def test_a_receipt_is_there_once_the_claim_is(gateway: Gateway) -> None:
    gateway.node.is_away = True
    gateway.post("/v1/claims", example(3))
    early = gateway.get("/v1/claims/F2025-0003/receipt")
    assert (early.status, early.body["detail"]) == (404, "there is a receipt once it is committed")


def test_a_social_security_number_is_refused_and_not_repeated(gateway: Gateway) -> None:
    number = "255081416802538"
    answer = gateway.post("/v1/claims", example(3, insured=number))
    assert answer.status == 422
    assert answer.body["type"] == "urn:depoli:problem:social-security-number"
    assert number not in str(answer.body)
    assert number not in (gateway.folder / "log").read_text()


def test_a_claim_may_wait_for_its_window(gateway: Gateway) -> None:
    before = time.time()
    queued = gateway.post("/v1/claims?when=window&wait=5", example(3))
    assert (queued.status, queued.body["progress"]) == (202, "prepared")
    assert before < queued.body["leaves"] < before + 2 * 3600
    assert not gateway.node.sent
    assert gateway.get("/v1/status").body["waiting"] == 0
    # Whoever hands it in again does not send it now either: it waits.
    assert gateway.post("/v1/claims?wait=5", example(3)).body["progress"] == "prepared"
    assert gateway.post("/v1/claims?when=soon", example(3)).status == 400


def test_a_table_and_a_bundle_are_lots_too(gateway: Gateway) -> None:
    unread = gateway.post("/v1/lots", b"a;b;c\n1;2;3\n", **{"Content-Type": "text/csv"})
    assert unread.status == 400
    right = FRENCH | {"Payeur": "insurer"}
    wrong = right | {"N° facture": "F-2", "Ordonnance": "ORD-2", "Axe OD": "900"}
    body = table(right, wrong).encode("cp1252")
    answer = gateway.post("/v1/lots?wait=30", body, **{"Content-Type": "text/csv"})
    assert answer.status == 200
    first, second = answer.body["items"]
    assert (first["place"], first["claim"]["progress"]) == ("the body, row 2", "committed")
    assert (second["place"], second["claim"]) == ("the body, row 3", None)
    assert "Axe OD" in second["problem"]["title"]


# --- who comes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"token": None}, 401),
        ({"token": "depoli_guessed"}, 401),
        ({"Origin": "https://example.org"}, 403),
        ({"Host": "rebound.example.org"}, 403),
        ({"Host": "127.0.0.1.example.org"}, 403),
        ({"Host": "192.168.1.7"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8470"}, 200),
        ({"Host": "127.8.8.8"}, 200),  # it may be told to listen there
    ],
)
def test_who_comes_in(gateway: Gateway, options: dict[str, str | None], status: int) -> None:
    assert gateway.get("/v1/status", **options).status == status


def test_a_token_that_only_reads_hands_nothing_in(gateway: Gateway) -> None:
    assert gateway.get("/v1/claims", token="reads").status == 200
    for path in ("/v1/claims", "/v1/lots", "/v1/prescriptions", "/v1/claims/F2025-0003/cancel"):
        assert gateway.post(path, example(3), token="reads").status == 403
    assert gateway.get("/v1/claims").body["claims"] == []


def test_a_token_that_is_removed_opens_nothing_more(gateway: Gateway) -> None:
    assert gateway.get("/v1/status", token="reads").status == 200
    assert remove_grant(gateway.folder / "gateway.toml", "reads")
    assert gateway.get("/v1/status", token="reads").status == 401
    assert gateway.get("/v1/status").status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_it_listens_to_this_machine(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gateway.local"])  # noqa: S104
def test_it_listens_to_no_other(host: str) -> None:
    with pytest.raises(NotLoopback, match="other machines"):
        require_loopback(host)


def test_a_body_of_another_kind_or_too_long_is_refused(gateway: Gateway) -> None:
    asked = {"Content-Type": "text/plain"}
    assert gateway.post("/v1/claims", b"{}", **asked).status == 415
    assert gateway.post("/v1/claims", b"{").status == 400
    assert gateway.post("/v1/lots", b'{"claims":' + b"[" * 100_000).status == 400
    assert gateway.post("/v1/lots", bytes(9 << 20)).status == 413
    assert gateway.post("/v1/lots", {"claims": [{}] * 501}).status == 400


def test_another_command_at_the_same_vault_is_no_trouble(gateway: Gateway) -> None:
    gateway.post("/v1/claims?wait=30", example(3))
    with desks.open_vault(gateway.folder, "shop") as vault:
        with vault.changes():
            sender = desks.sender("shop", gateway.node)
            lots.prepare(vault, sender, desks.request(4), desks.MEMBERS.id_of)
        kept = {record.reference: record.progress for _, record in every(vault, ClaimRecord)}
    assert kept == {"F2025-0003": Progress.COMMITTED, "F2025-0004": Progress.PREPARED}
    assert gateway.post("/v1/claims?wait=30", example(4)).body["progress"] == "committed"
