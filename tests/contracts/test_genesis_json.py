"""The genesis as JSON: for people to read, and no less strict than the bytes."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BadGenesis
from contracts.genesis import SignedGenesis, Table, assemble, sign
from contracts.genesis_json import (
    genesis_json,
    parse_genesis_json,
    parse_signature_json,
    parse_signed_json,
    signature_json,
    signed_json,
)
from contracts.parameters import Parameters
from contracts.reference import TableKind
from ledger.keys import Role
from tests.contracts.world import VALIDATORS, bytes32, genesis, key_of

GENESIS = msgspec.structs.replace(
    genesis(Parameters(min_interval_ms=7)),
    tables=(
        Table(TableKind.OPTICS_CODES, bytes32("codes")),
        Table(TableKind.OPTICS_RENEWAL, bytes32("renewal")),
    ),
)
SIGNED: SignedGenesis = assemble(
    GENESIS, [sign(GENESIS, key_of(name, Role.CONSENSUS)) for name in VALIDATORS]
)


def test_a_draft_reads_back() -> None:
    assert parse_genesis_json(genesis_json(GENESIS)) == GENESIS
    assert parse_genesis_json(genesis_json(GENESIS).encode()) == GENESIS


def test_a_signed_genesis_reads_back() -> None:
    found = parse_signed_json(signed_json(SIGNED))
    assert found == SIGNED
    assert found.chain_id == GENESIS.chain_id
    assert signed_json(found) == signed_json(SIGNED)


def test_a_signature_reads_back_for_its_chain_only() -> None:
    text = signature_json(GENESIS.chain_id, SIGNED.signatures[0])
    assert parse_signature_json(text, GENESIS.chain_id) == SIGNED.signatures[0]
    with pytest.raises(BadGenesis, match="was signed, and this draft is"):
        parse_signature_json(text, bytes(32))
    with pytest.raises(BadGenesis, match="format"):
        parse_signature_json(text.replace("signature/1", "signature/2"), GENESIS.chain_id)


def test_a_draft_is_not_taken_for_a_signed_genesis_nor_the_other_way() -> None:
    with pytest.raises(BadGenesis, match="draft"):
        parse_signed_json(genesis_json(GENESIS))
    with pytest.raises(BadGenesis, match="signatures"):
        parse_genesis_json(signed_json(SIGNED))


def test_the_order_of_fields_does_not_matter() -> None:
    value = json.loads(signed_json(SIGNED))
    assert parse_signed_json(json.dumps(dict(reversed(value.items())))) == SIGNED


Change = Callable[[dict[str, Any]], object]


CHANGES: list[Change] = [
    lambda g: g.update(format="depoli/genesis/2"),
    lambda g: g.update(comment="hello"),
    lambda g: g.pop("network"),
    lambda g: g.update(network="a network"),
    lambda g: g.update(network=1),
    lambda g: g.update(network="réseau"),
    lambda g: g.update(time=-1),
    lambda g: g.update(time=True),
    lambda g: g.update(time="1790000000"),
    lambda g: g.update(time=g["time"] + 1),
    lambda g: g.update(chain_id="00" * 32),
    lambda g: g.update(chain_id=g["chain_id"].upper()),
    lambda g: g.update(parameters=[]),
    lambda g: g["parameters"].pop("max_block_bytes"),
    lambda g: g["parameters"].update(gas_price=1),
    lambda g: g["parameters"].update(max_block_bytes=1),
    lambda g: g["parameters"].update(min_interval_ms=None),
    lambda g: g["parameters"].update(min_interval_ms=8),
    lambda g: g.update(members={}),
    lambda g: g.update(members=[]),
    lambda g: g["members"].append(g["members"][0]),
    lambda g: g["members"][0].update(id="00" * 16),
    lambda g: g["members"][0].update(label="someone"),
    lambda g: g["members"][0].update(label="operator"),
    lambda g: g["members"][0].update(family="bank"),
    lambda g: g["members"][0].update(family=1),
    lambda g: g["members"][0].update(country="FRA"),
    lambda g: g["members"][0].update(name="federation"),
    lambda g: g["members"][0].update(keys=[]),
    lambda g: g["members"][0]["keys"][0].update(role="root"),
    lambda g: g["members"][0]["keys"][0].update(algorithm="rsa"),
    lambda g: g["members"][0]["keys"][0].update(public="zz"),
    lambda g: g["members"][0]["keys"][0].update(public="00" * 32),
    lambda g: g["members"][0]["keys"][0].update(public="00" * 40),
    lambda g: g["members"][0]["keys"][0].pop("public"),
    lambda g: g["members"].__setitem__(0, None),
    lambda g: g.update(validators=g["validators"][::-1]),
    lambda g: g.update(validators=g["validators"][:3]),
    lambda g: g.update(validators=["nobody"]),
    lambda g: g.update(validators=[0, 1, 2, 3]),
    lambda g: g.update(validators=[]),
    lambda g: g.update(validators=None),
    lambda g: g["parameters"].update(min_interval_ms=1_000),
    lambda g: g.pop("tables"),
    lambda g: g.update(tables=[]),
    lambda g: g.update(tables=dict(reversed(g["tables"].items()))),
    lambda g: g["tables"].update({"optics-codes": "00" * 32}),
    lambda g: g["tables"].update({"optics-codes": "00" * 31}),
    lambda g: g["tables"].update({"optics-codes": 1}),
    lambda g: g["tables"].update({"optics-teeth": "00" * 32}),
    lambda g: g.update(signatures=g["signatures"][::-1]),
    lambda g: g.update(signatures=g["signatures"][:3]),
    lambda g: g.update(signatures=[]),
    lambda g: g["signatures"][0].update(signature="00" * 64),
    lambda g: g["signatures"][0].update(signature="00" * 63),
    lambda g: g["signatures"][0].update(validator="00" * 16),
    lambda g: g["signatures"][0].pop("validator"),
    lambda g: g["signatures"].__setitem__(0, "x"),
]


@pytest.mark.parametrize("change", CHANGES, ids=map(str, range(len(CHANGES))))
def test_what_was_changed_is_refused(change: Change) -> None:
    value = json.loads(signed_json(SIGNED))
    change(value)
    with pytest.raises(BadGenesis):
        parse_signed_json(json.dumps(value))


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_refused_with_our_own_error(text: str | bytes) -> None:
    for parse in (
        parse_signed_json,
        parse_genesis_json,
        lambda text: parse_signature_json(text, bytes(32)),
    ):
        with pytest.raises(BadGenesis):
            parse(text)


@given(st.data())
def test_a_changed_character_changes_nothing_that_is_believed(data: st.DataObject) -> None:
    text = signed_json(SIGNED)
    index = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = text[:index] + other + text[index + 1 :]
    try:
        found = parse_signed_json(changed)
    except BadGenesis:
        return
    assert found == SIGNED  # white space


def test_a_duplicate_field_is_refused() -> None:
    text = signed_json(SIGNED).replace('"network"', '"network": "other", "network"', 1)
    with pytest.raises(BadGenesis, match="twice"):
        parse_signed_json(text)
