"""Many documents at the door: each judged by itself, kept once, or all held back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.client import intake
from node.client.errors import NotReadable, Refused
from node.client.intake import Document, Judged
from node.client.records import ClaimRecord, PrescriptionRecord, every, find
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, TODAY, MemoryNode, example

BAD = (desk.EXAMPLES.parent / "bad" / "axis-900.json").read_bytes()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with desk.open_vault(tmp_path, "shop") as opened:
        yield opened


def document(name: str, content: dict[str, Any] | bytes) -> Document:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Document(name, lambda: data)


def judge(vault: Vault, *documents: Document, **options: Any) -> list[Judged]:  # noqa: ANN401
    sender = desk.sender("shop", MemoryNode())
    return intake.judge(vault, sender, documents, MEMBERS.id_of, today=TODAY, **options)


def kept(vault: Vault) -> list[str]:
    return [record.reference for _, record in every(vault, ClaimRecord)]


def test_one_bad_document_does_not_stop_the_others(vault: Vault) -> None:
    judged = judge(
        vault, document("3", example(3)), document("bad", BAD), document("4", example(4))
    )
    assert [each.error is None for each in judged] == [True, False, True]
    assert "axis" in str(judged[1].error)
    assert kept(vault) == ["F2025-0003", "F2025-0004"]


@pytest.mark.parametrize("place", [0, 2])
def test_all_or_none_keeps_nothing_of_a_lot_with_a_bad_document(vault: Vault, place: int) -> None:
    documents = [document("3", example(3)), document("4", example(4))]
    documents.insert(place, document("bad", BAD))
    judged = judge(vault, *documents, all_or_none=True)
    assert [each.name for each in intake.refused(judged)] == ["bad"]
    assert not list(every(vault, PrescriptionRecord))


def test_all_or_none_keeps_nothing_where_only_the_vault_knows_what_is_wrong(vault: Vault) -> None:
    judge(vault, document("3", example(3)))
    other = example(3, reference="OTHER") | {"prescription_reference": "F2025-0003"}
    judged = judge(vault, document("4", example(4)), document("other", other), all_or_none=True)
    assert [each.name for each in intake.refused(judged)] == ["other"]
    assert kept(vault) == ["F2025-0003"]


def test_a_refused_claim_leaves_no_prescription_behind(vault: Vault) -> None:
    refused = example(3, payer="insurre")
    refused["authorisation_reference"] = "NONE"
    judge(vault, document("3", example(4)))
    judged = judge(vault, document("3", refused))
    again = example(4, reference="F2025-0004", insured="OTHER-1")
    again["prescription_reference"] = "NEW"
    judged += judge(vault, document("again", again))
    assert [type(each.error) for each in judged][1:] == [Refused]
    found = [record.reference for _, record in every(vault, PrescriptionRecord)]
    assert found == ["F2025-0004"]
    assert find(vault, PrescriptionRecord, "NEW") is None


def test_a_reference_that_stands_twice_is_refused_the_second_time(vault: Vault) -> None:
    judged = judge(vault, document("one", example(3)), document("two", example(3)))
    assert [each.error is None for each in judged] == [True, False]
    assert "stands twice" in str(judged[1].error)


def test_a_document_that_cannot_be_read_is_an_error_of_it_alone(vault: Vault) -> None:
    def gone() -> bytes:
        raise NotReadable("it is gone")

    judged = judge(vault, Document("gone", gone), document("3", example(3)))
    assert [each.error is None for each in judged] == [False, True]


def test_documents_given_again_are_kept_once_and_what_is_left_out_is_told(vault: Vault) -> None:
    content = example(3)
    content["prescription"]["note"] = [{"text": "blue, please"}]
    for _ in range(2):
        (judged,) = judge(vault, document("3", content))
        assert judged.error is None
        assert "note" in judged.left_out
    assert kept(vault) == ["F2025-0003"]


def test_how_far_it_has_come_is_told_commit_by_commit(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "AT_ONCE", 2)
    told: list[tuple[str, int, int]] = []
    documents = [document(str(number), example(number)) for number in (3, 4, 5)]
    judge(vault, *documents, advance=lambda *step: told.append(step))
    assert told == [("judged", 2, 3), ("judged", 3, 3)]
