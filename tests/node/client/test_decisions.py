"""What payers and beneficiaries decide, against the real rules."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.calls import Reason
from contracts.commitment import Opening
from node.client import inbox, lots
from node.client.decisions import require_applied
from node.client.errors import NotFound, NotVerified, Refused
from node.client.records import Progress
from node.client.statements import Statement
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS
from tests.node.client.street import Street, run


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    made = Street.of(tmp_path)
    yield made
    made.close()


def test_nothing_is_accepted_unseen(street: Street) -> None:
    sent = len(street.node.sent)
    with pytest.raises(Refused) as refusal:
        run(street.office("insurer").accept(street.claims))
    assert "no disclosure" in str(refusal.value)
    assert len(street.node.sent) == sent


def test_what_was_verified_is_accepted(street: Street) -> None:
    for claim in street.claims:
        street.take(street.file(claim))
    outcomes = run(street.office("insurer").accept(street.claims))
    assert [outcome.code for outcome in outcomes] == [0, 0, 0]
    assert {street.state(claim) for claim in street.claims} == {"accepted"}


def test_a_disclosure_that_fails_is_not_kept(street: Street) -> None:
    value = json.loads(street.file(street.claims[0])) | {"cents": 1}
    with pytest.raises(NotVerified):
        street.take(json.dumps(value).encode())
    assert inbox.known(street.payer_vault, street.claims[0]) == {"disclosed": False}


def test_a_part_is_accepted_and_the_shop_sees_how_much(street: Street) -> None:
    claim = street.claims[0]
    street.take(street.file(claim))
    office = street.office("insurer")
    with pytest.raises(Refused):
        run(office.accept([claim], street.record(claim).amount_cents))
    require_applied(run(office.accept([claim], 5_000))[0])
    statement = office.acceptance(claim)
    street.take(statement.to_json(), "shop")
    kept = street.record(claim).accepted
    assert kept is not None
    assert inbox.known(street.payer_vault, claim)["accepted_cents"] == 5_000
    false = dataclasses.replace(statement, opening=Opening(5_001, statement.opening.blinding))
    with pytest.raises(NotVerified) as refusal:
        street.take(false.to_json(), "shop")
    assert refusal.value.fact == "accepted amount"


def test_a_part_that_the_chain_refused_may_be_another_part(street: Street) -> None:
    claim = street.claims[0]
    street.take(street.file(claim))
    run(street.office("shop").cancel(claim))
    assert run(street.office("insurer").accept([claim], 5_000))[0].code
    with pytest.raises(NotFound):
        street.office("insurer").acceptance(claim)


def test_a_whole_claim_accepted_has_no_part_to_state(street: Street) -> None:
    street.take(street.file(street.claims[0]))
    run(street.office("insurer").accept(street.claims[:1]))
    with pytest.raises(NotVerified):
        street.take(
            Statement(
                "depoli/acceptance/1",
                street.claims[0],
                id_of("insurer"),
                id_of("shop"),
                Opening(1, bytes(32)),
            ).to_json(),
            "shop",
        )


def test_a_claim_is_rejected_for_a_reason(street: Street) -> None:
    run(street.office("insurer").reject(street.claims[:1], Reason.DUPLICATE, automatic=True))
    view = run(street.node.claim(street.claims[0]))
    assert (view.state, view.reason) == ("rejected", "DUPLICATE")


def test_a_claim_that_is_cancelled_frees_its_marks_here_and_there(street: Street) -> None:
    claim = street.claims[0]
    assert run(street.office("shop").cancel(claim)).code == 0
    assert street.record(claim).progress is Progress.CANCELLED
    document = desk.example(3, reference="AGAIN")
    document["prescription_reference"] = "F2025-0003"
    sender = desk.sender("shop", street.node)
    with street.shop_vault.changes():
        lots.prepare(street.shop_vault, sender, desk.as_request(document), MEMBERS.id_of)
    (record,) = run(
        lots.submit(street.shop_vault, street.node, sender, ["AGAIN"], wait_s=5, say=desk.silent)
    )
    assert record.progress is Progress.COMMITTED
