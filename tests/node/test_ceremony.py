"""A genesis comes from cards, a draft and signatures by keys that stay where they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.errors import ContractsError
from contracts.genesis import Table
from contracts.reference import TableKind
from ledger.errors import LedgerError
from node import ceremony
from node.card import BadCard, Card, Runs, create_card, load_card
from node.ceremony import BadFile, NoSuchMember, UnknownValidator
from node.client.packaged import table_hashes
from node.errors import NodeError, Usage
from node.files import AlreadyThere

FOUNDERS = {"federation": "optician", "operator": "operator", "a": "insurer", "b": "insurer"}
REFUSALS = (NodeError, ContractsError, LedgerError)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of four validators and of a shop."""
    folder = tmp_path_factory.mktemp("keys")
    for label, family in FOUNDERS.items():
        make(folder, label, family, Runs.VALIDATOR)
    make(folder, "shop", "optician", Runs.NOTHING)
    return folder


def make(folder: Path, label: str, family: str, runs: Runs) -> Card:
    return create_card(folder / label, label=label, family=family, country="FR", runs=runs)


def draft(keys: Path, out: Path) -> Path:
    members = [keys / label for label in (*FOUNDERS, "shop")]
    ceremony.write_draft(out, members, list(FOUNDERS), network="testing")
    return out


@pytest.fixture
def signed(keys: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A draft, and a signature of each validator."""
    drafted = draft(keys, tmp_path / "draft.json")
    signatures = [tmp_path / f"{label}.signature.json" for label in FOUNDERS]
    for label, out in zip(FOUNDERS, signatures, strict=True):
        ceremony.write_signature(drafted, keys / label, out)
    return drafted, signatures


def test_a_genesis_that_everyone_signed_verifies(
    signed: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    drafted, signatures = signed
    made = ceremony.write_genesis(drafted, signatures, tmp_path / "genesis.json")
    loaded = ceremony.load_genesis(tmp_path / "genesis.json")
    assert loaded == made
    described = ceremony.describe(loaded.genesis)
    assert described["chain_id"] == made.chain_id
    assert [each["label"] for each in described["members"]] == [*FOUNDERS, "shop"]
    assert [each["validates"] for each in described["members"]] == [True] * 4 + [False]
    tables = {each["subject"]: each["hash"] for each in described["tables"]}
    assert tables == {kind.subject: digest for kind, digest in table_hashes().items()}
    assert all(each["packaged"] for each in described["tables"])


def test_who_signs_sees_that_a_table_is_not_the_packaged_one(keys: Path, tmp_path: Path) -> None:
    drafted = draft(keys, tmp_path / "draft.json")
    other = msgspec.structs.replace(
        ceremony.load_draft(drafted), tables=(Table(TableKind.OPTICS_RENEWAL, bytes(32)),)
    )
    (described,) = ceremony.describe(other)["tables"]
    assert described == {"subject": "optics-renewal", "hash": bytes(32), "packaged": False}


def test_the_order_of_the_signatures_does_not_matter(
    signed: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    drafted, signatures = signed
    one = ceremony.write_genesis(drafted, signatures, tmp_path / "1.json")
    two = ceremony.write_genesis(drafted, signatures[::-1], tmp_path / "2.json")
    assert one == two
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_members_are_those_of_their_cards(keys: Path, tmp_path: Path) -> None:
    loaded = ceremony.load_either(draft(keys, tmp_path / "draft.json"))
    for founder in loaded.members:
        card = load_card(keys / founder.label)
        assert founder.id == card.member
        assert ceremony.find(loaded, founder.label) is founder
        assert ceremony.find(loaded, card.member.hex()) is founder
    with pytest.raises(NoSuchMember):
        ceremony.find(loaded, "nobody")
    with pytest.raises(ceremony.NoSuchMember):
        ceremony.id_of(loaded, "nobody")
    assert ceremony.id_of(loaded, loaded.members[0].label) == loaded.members[0].id
    assert ceremony.id_of(loaded, "ab" * 16) == b"\xab" * 16  # of one who came later


def test_a_signature_that_is_missing_is_named(
    signed: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    drafted, signatures = signed
    with pytest.raises(BadFile, match="not signed yet by federation"):
        ceremony.write_genesis(drafted, signatures[1:], tmp_path / "genesis.json")
    assert not (tmp_path / "genesis.json").exists()


def test_a_forged_signature_is_refused(signed: tuple[Path, list[Path]], tmp_path: Path) -> None:
    drafted, signatures = signed
    value = json.loads(signatures[0].read_text())
    value["signature"] = json.loads(signatures[1].read_text())["signature"]
    signatures[0].write_text(json.dumps(value))
    with pytest.raises(BadFile, match="federation does not verify"):
        ceremony.write_genesis(drafted, signatures, tmp_path / "genesis.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"format": "x"}', b"[" * 3000])
def test_a_file_that_is_no_signature_is_refused(
    signed: tuple[Path, list[Path]], tmp_path: Path, content: bytes
) -> None:
    drafted, signatures = signed
    signatures[0].write_bytes(content)
    with pytest.raises(BadFile):
        ceremony.write_genesis(drafted, signatures, tmp_path / "genesis.json")


def test_a_signature_of_another_draft_is_refused(
    signed: tuple[Path, list[Path]], keys: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    ceremony.write_draft(
        other, [keys / label for label in FOUNDERS], list(FOUNDERS), network="other"
    )
    with pytest.raises(BadFile, match="was signed, and this draft is"):
        ceremony.write_genesis(other, signed[1], tmp_path / "genesis.json")


def test_who_does_not_validate_signs_nothing(keys: Path, tmp_path: Path) -> None:
    drafted = draft(keys, tmp_path / "draft.json")
    make(tmp_path, "stranger", "insurer", Runs.VALIDATOR)
    with pytest.raises(BadFile, match="no validator"):
        ceremony.write_signature(drafted, tmp_path / "stranger", tmp_path / "s.json")


def test_a_signature_is_not_written_over_another(
    signed: tuple[Path, list[Path]], keys: Path
) -> None:
    with pytest.raises(AlreadyThere):
        ceremony.write_signature(signed[0], keys / "a", signed[1][2])


def test_a_validator_must_be_a_member(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownValidator, match="nobody"):
        ceremony.write_draft(tmp_path / "d", [keys / "a"], ["a", "nobody"], network="testing")


def test_a_validator_must_have_the_keys_of_one(keys: Path, tmp_path: Path) -> None:
    members = [keys / label for label in (*FOUNDERS, "shop")]
    with pytest.raises(UnknownValidator, match="shop"):
        ceremony.write_draft(tmp_path / "d", members, [*FOUNDERS, "shop"], network="testing")


def test_no_family_may_hold_a_quorum(keys: Path, tmp_path: Path) -> None:
    make(tmp_path, "c", "insurer", Runs.VALIDATOR)
    members = [keys / "a", keys / "b", tmp_path / "c", keys / "federation"]
    with pytest.raises(REFUSALS, match="would decide alone"):
        ceremony.write_draft(
            tmp_path / "d", members, ["a", "b", "c", "federation"], network="testing"
        )


def test_two_members_of_one_name_are_refused(keys: Path, tmp_path: Path) -> None:
    make(tmp_path, "a", "insurer", Runs.VALIDATOR)
    members = [*(keys / label for label in FOUNDERS), tmp_path / "a"]
    with pytest.raises(REFUSALS, match="name a"):
        ceremony.write_draft(tmp_path / "d", members, list(FOUNDERS), network="testing")


@pytest.mark.parametrize("network", ["", "Net", "a b", "é", "x" * 33, "-a"])
def test_the_name_of_a_network_is_short_and_plain(keys: Path, tmp_path: Path, network: str) -> None:
    with pytest.raises(REFUSALS):
        ceremony.write_draft(
            tmp_path / "d", [keys / label for label in FOUNDERS], list(FOUNDERS), network=network
        )


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    match value:
        case dict():
            for key, inner in value.items():
                yield from leaves(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from leaves(inner, (*path, index))
        case _:
            yield path


def changed(value: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401
    copy = json.loads(json.dumps(value))
    place = copy
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    place[path[-1]] = (
        old + 1 if isinstance(old, int) else f"{'1' if old[0] == '0' else '0'}{old[1:]}"
    )
    return copy


def test_any_changed_value_is_refused(signed: tuple[Path, list[Path]], tmp_path: Path) -> None:
    drafted, signatures = signed
    ceremony.write_genesis(drafted, signatures, tmp_path / "genesis.json")
    value = json.loads((tmp_path / "genesis.json").read_text())
    for path in leaves(value):
        forged = tmp_path / "forged.json"
        forged.write_text(json.dumps(changed(value, path)))
        with pytest.raises(REFUSALS):
            ceremony.load_genesis(forged)


def test_keys_that_are_not_those_of_the_card_sign_nothing(keys: Path, tmp_path: Path) -> None:
    made = make(tmp_path, "c", "insurer", Runs.VALIDATOR)
    members = [*(keys / label for label in FOUNDERS), tmp_path / "c"]
    ceremony.write_draft(tmp_path / "d", members, [*FOUNDERS, made.label], network="testing")
    (tmp_path / "c" / "consensus.seed").write_text("0" * 64)
    with pytest.raises(NodeError):
        ceremony.write_signature(tmp_path / "d", tmp_path / "c", tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "x"}, "format"),
        ({"label": "A"}, "label"),
        ({"label": "a" * 33}, "label"),
        ({"label": 3}, "label"),
        ({"family": "bank"}, "family"),
        ({"country": "FRA"}, "country"),
        ({"country": "\ud800"}, "country"),
        ({"keys": []}, "keys"),
        ({"keys": [{}]}, "a key has"),
        ({"extra": 1}, "no field extra"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(
    keys: Path, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    value = json.loads((keys / "a" / "member.json").read_text())
    (tmp_path / "member.json").write_text(json.dumps(value | change))
    with pytest.raises(BadCard, match=reason):
        load_card(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"label": "Bad Label"}, "^a label is"),
        ({"family": "bank"}, "^a family is"),
        ({"country": "CH"}, "^a country is"),
    ],
)
def test_what_no_member_can_be_called_is_said_and_nothing_is_made(
    tmp_path: Path, wrong: dict[str, str], reason: str
) -> None:
    named = {"label": "shop", "family": "optician", "country": "FR"} | wrong
    with pytest.raises(Usage, match=reason):
        create_card(
            tmp_path / "new",
            label=named["label"],
            family=named["family"],
            country=named["country"],
            runs=Runs.NOTHING,
        )
    assert not (tmp_path / "new").exists()


def test_a_card_with_a_key_of_low_order_is_refused(keys: Path, tmp_path: Path) -> None:
    value = json.loads((keys / "a" / "member.json").read_text())
    value["keys"][1]["public"] = "01" + "00" * 31
    (tmp_path / "member.json").write_text(json.dumps(value))
    with pytest.raises(BadCard, match="prime-order"):
        load_card(tmp_path)
