"""Claims on their way while others work at the vault, and while something beside them fails."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.client import intake, lots
from node.client.errors import NetworkRefused, VaultLocked
from node.client.mail import MailboxView
from node.client.records import ClaimRecord
from node.errors import Usage
from tests.node.client import desk as desks
from tests.node.client.desk import example
from tests.node.gateway.doorstep import AwayNode, Gateway, open_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with open_gateway(tmp_path) as made:
        yield made


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def progress(gateway: Gateway, number: int) -> str:
    return str(gateway.get(f"/v1/claims/F2025-{number:04}").body["progress"])


def test_a_claim_that_another_command_erased_holds_up_no_other(gateway: Gateway) -> None:
    gateway.node.is_away = True
    for number in (3, 4):
        assert gateway.post("/v1/claims", example(number)).status == 202
    with desks.open_vault(gateway.folder, "shop") as vault, vault.changes():
        number, claim = lots.load(vault, "F2025-0003")
        lots.release(vault, claim)
        vault.erase(number)
    gateway.node.is_away = False
    assert gateway.post("/v1/claims?wait=30", example(5)).body["progress"] == "committed"
    assert progress(gateway, 4) == "committed"
    assert gateway.get("/v1/status").body["waiting"] == 0


def test_a_fault_of_ours_ends_nothing_and_its_words_are_not_logged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("what a patient is called")

    monkeypatch.setattr(gateway.node, "submit", fail)
    assert gateway.post("/v1/claims", example(3)).status == 202
    log = gateway.folder / "log"
    until(lambda: "the claims failed" in log.read_text())
    assert gateway.get("/v1/claims/F2025-0003").body["progress"] == "prepared"
    assert "patient" not in log.read_text()


def test_a_claim_that_waits_for_its_window_after_all_is_not_sent_now(gateway: Gateway) -> None:
    gateway.node.is_away = True
    assert gateway.post("/v1/claims", example(3)).status == 202
    assert gateway.post("/v1/claims?when=window", example(3)).body["leaves"] > time.time()
    gateway.node.is_away = False
    assert gateway.post("/v1/claims?wait=30", example(4)).body["progress"] == "committed"
    assert progress(gateway, 3) == "prepared"
    assert gateway.get("/v1/status").body["waiting"] == 0


@pytest.mark.parametrize(
    "error", [NetworkRefused("this token takes no post"), Usage("no token file")]
)
def test_a_node_that_takes_no_post_takes_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def mailbox(_: AwayNode) -> MailboxView:
        raise error

    monkeypatch.setattr(AwayNode, "mailbox", mailbox)
    with open_gateway(tmp_path) as gateway:
        until(lambda: str(error) in (gateway.folder / "log").read_text())
        assert gateway.post("/v1/claims?wait=30", example(3)).body["progress"] == "committed"


def test_a_courier_that_was_refused_says_why_and_tries_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AwayNode, "submit", _refusing)
        assert gateway.post("/v1/claims", example(3)).status == 202
        until(lambda: gateway.get("/v1/status").body["trouble"] is not None)
        trouble = gateway.get("/v1/status").body["trouble"]
        assert trouble == {"title": "the token file is gone", "hint": "put it back"}
    assert gateway.post("/v1/claims?wait=30", example(3)).body["progress"] == "committed"


async def _refusing(*_: object, wait: int) -> None:
    del wait
    raise Usage("the token file is gone", hint="put it back")


def test_what_was_kept_of_a_lot_goes_on_its_way_where_the_vault_takes_no_more(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = lots.prepare

    def locked(vault: Any, sender: Any, request: Any, payer_of: Any) -> int:  # noqa: ANN401
        if request.reference == "F2025-0004":
            raise VaultLocked("another command is writing")
        return prepare(vault, sender, request, payer_of)

    monkeypatch.setattr(intake, "AT_ONCE", 1)
    monkeypatch.setattr(lots, "prepare", locked)
    lot = {"claims": [example(number) for number in (3, 4, 5)]}
    assert gateway.post("/v1/lots", lot).status == 503
    until(lambda: progress(gateway, 3) == "committed")
    assert gateway.get("/v1/claims/F2025-0004").status == 404


def test_of_what_nobody_thought_of_the_log_says_the_place_and_no_word(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_(*_: object) -> ClaimRecord:
        raise ValueError("sphere -7.25")

    monkeypatch.setattr(lots, "load", break_)
    answer = gateway.get("/v1/claims/F2025-0003")
    assert (answer.status, answer.body["type"]) == (500, "urn:depoli:problem:internal")
    lines = [json.loads(line) for line in (gateway.folder / "log").read_text().splitlines()]
    (failed,) = [line for line in lines if line["event"] == "request failed"]
    assert (failed["error"], failed["at"].partition(":")[0]) == ("ValueError", "test_courier.py")
    assert "7.25" not in str(lines) + str(answer.body)
