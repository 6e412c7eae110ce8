"""Whatever a member sends, the post of its recipient goes on: it is refused by a name, or taken."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.commitment import Opening
from contracts.questions import Kind
from node.client import inbox, questions
from node.client.errors import NetworkRefused, NotFound, NotReadable, NotVerified, Refused
from node.client.inbox import Reader
from node.client.mail import PostView
from node.client.statements import ACCEPTANCE, AGREEMENT, SETTLEMENT, Statement
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS
from tests.node.client.letterbox import Correspondence, PostedNode
from tests.node.client.street import run

REFUSALS = (NotReadable, NotVerified, NotFound, Refused)
TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates too
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | TEXT | st.just("é" * 40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Correspondence]:
    made = Correspondence.of(tmp_path_factory.mktemp("poison"))
    yield made
    made.close()


def letters(two: Correspondence) -> list[dict[str, Any]]:
    """Return one of each kind of file that travels, which may hold or not."""
    claim, shop, payer = two.claims[0], id_of("shop"), id_of("insurer")
    opening = Opening(1, bytes(32))
    statements = [
        Statement(format_, claim, shop, payer, opening)
        for format_ in (ACCEPTANCE, AGREEMENT, SETTLEMENT)
    ]
    asked = questions.new_question(claim, Kind.LAST_REIMBURSEMENT_DATE)
    plains = [two.letter().plain, asked.to_json(), *(each.to_json() for each in statements)]
    erase = {"format": "depoli/erase/1", "erasure": "00" * 32}
    return [*map(json.loads, plains), erase]


def check(two: Correspondence, plain: bytes) -> None:
    """Let the payer judge it: refused by a name that the sender is told, or good."""
    reader = Reader(id_of("insurer"), MEMBERS, desk.seed_of("insurer"))
    node = two.node.of("insurer")
    with contextlib.suppress(*REFUSALS):
        run(inbox.check(two.vaults["insurer"], node, reader, plain, "it", id_of("shop")))


@settings(deadline=None)
@given(st.data())
def test_a_file_with_anything_in_any_place_is_refused_by_name(
    two: Correspondence, data: st.DataObject
) -> None:
    value = dict(data.draw(st.sampled_from(letters(two))))
    name = data.draw(st.sampled_from(sorted(value.keys() - {"format"})))
    value[name] = data.draw(ANYTHING)
    check(two, json.dumps(value).encode())


@settings(deadline=None)
@given(st.data())
def test_a_document_with_anything_in_it_is_refused_by_name(
    two: Correspondence, data: st.DataObject
) -> None:
    value = json.loads(two.letter().plain)
    field = data.draw(st.sampled_from(("claim_document", "prescription_document")))
    parts = value[field].split("~")
    at = data.draw(st.integers(0, len(parts) - 1))
    inner = json.dumps(data.draw(ANYTHING)).encode()
    parts[at] = data.draw(
        st.sampled_from(
            [
                base64.urlsafe_b64encode(inner).decode().rstrip("="),
                ".".join([base64.urlsafe_b64encode(inner).decode().rstrip("=")] * 3),
                inner.decode(errors="replace"),
            ]
        )
    )
    check(two, json.dumps(value | {field: "~".join(parts)}).encode())


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"")
@example(b"[]")
@example(b'{"format": []}')
@example(b'{"format": {"a": 1}}')
@example(b"\xff\xfe")
@example(b"[" * 5000)
def test_any_bytes_are_refused_by_name(two: Correspondence, data: bytes) -> None:
    check(two, data)


def test_a_sender_who_cannot_be_answered_stops_nobody_else(
    two: Correspondence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = two.again(tmp_path / "both")
    both.send(both.letter(), both.letter(1))

    async def refuses(*_: object) -> PostView:
        raise NetworkRefused("the recipient is suspended")

    with monkeypatch.context() as patch:
        patch.setattr(PostedNode, "post", refuses)
        assert len(both.collect().taken) == 2
    assert "shop is told nothing: the recipient is suspended" in both.said
    assert both.node.box.waiting == {}
    both.close()
