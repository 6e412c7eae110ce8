"""A node's folder is made from a genesis and keys that belong to it, once."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.keys import Role
from node import ceremony
from node.card import Runs, create_card
from node.ceremony import NoSuchMember
from node.config import Address, Mode, load_config
from node.files import Exposed, Missing
from node.initialise import (
    NotInGenesis,
    OtherSettings,
    Settings,
    UnknownPeer,
    initialise,
)
from node.journal import Journal
from node.process import read_token
from node.tokens import Scope, parse_tokens

FOUNDERS = {"federation": "optician", "operator": "operator", "a": "insurer", "b": "insurer"}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with genesis.json, each founder's keys and those of an observer."""
    folder = tmp_path_factory.mktemp("founded")
    for label, family in FOUNDERS.items():
        create_card(folder / label, label=label, family=family, country="FR", runs=Runs.VALIDATOR)
    create_card(
        folder / "watcher", label="watcher", family="insurer", country="FR", runs=Runs.OBSERVER
    )
    create_card(
        folder / "stranger", label="stranger", family="insurer", country="FR", runs=Runs.VALIDATOR
    )
    create_card(folder / "shop", label="shop", family="optician", country="FR", runs=Runs.NOTHING)
    members = [folder / label for label in (*FOUNDERS, "watcher", "shop")]
    ceremony.write_draft(folder / "draft.json", members, list(FOUNDERS), network="testing")
    signatures = [folder / f"{label}.json" for label in FOUNDERS]
    for label, out in zip(FOUNDERS, signatures, strict=True):
        ceremony.write_signature(folder / "draft.json", folder / label, out)
    ceremony.write_genesis(folder / "draft.json", signatures, folder / "genesis.json")
    return folder


def settings(keys: Path, mode: Mode = Mode.VALIDATOR) -> Settings:
    return Settings(
        mode=mode,
        keys=keys,
        p2p_listen=Address("127.0.0.1", 7600),
        api_listen=Address("127.0.0.1", 7680),
        admin_listen=Address("127.0.0.1", 7690),
        peers={"b": Address("b.example", 7600)},
        first_start=True,
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_node_is_made_and_the_same_again_changes_nothing(founded: Path, tmp_path: Path) -> None:
    chosen = settings(founded / "a")
    made = initialise(tmp_path / "n", founded / "genesis.json", chosen)
    assert made.is_new
    assert made.label == "a"
    before = files_in(tmp_path / "n")
    again = initialise(tmp_path / "n", founded / "genesis.json", chosen)
    assert not again.is_new
    assert files_in(tmp_path / "n") == before
    config = load_config(tmp_path / "n")
    assert config.mode is Mode.VALIDATOR
    assert config.peers == chosen.peers
    assert config.keys == founded / "a"


def test_the_operator_has_a_token(founded: Path, tmp_path: Path) -> None:
    initialise(tmp_path, founded / "genesis.json", settings(founded / "a"))
    grant = parse_tokens(load_config(tmp_path).tokens).lookup(
        read_token(tmp_path / "operator.token")
    )
    assert grant is not None
    assert grant.scopes == {Scope.ADMIN, Scope.AUDIT}


def test_only_a_first_start_makes_a_journal_that_may_sign(founded: Path, tmp_path: Path) -> None:
    chosen = settings(founded / "a")
    made = initialise(tmp_path / "1", founded / "genesis.json", chosen)
    genesis = ceremony.load_genesis(founded / "genesis.json").genesis
    consensus = ceremony.find(genesis, "a").key(Role.CONSENSUS)
    assert consensus is not None
    journal = Journal.open(tmp_path / "1" / "data" / "journal", made.chain_id + consensus)
    assert journal is not None
    assert journal.fence == 0
    journal.close()
    later = replace(chosen, first_start=False)
    initialise(tmp_path / "2", founded / "genesis.json", later)
    assert not (tmp_path / "2" / "data").exists()


def test_a_journal_that_was_lost_is_not_begun_again_by_the_same_command(
    founded: Path, tmp_path: Path
) -> None:
    chosen = settings(founded / "a")
    initialise(tmp_path, founded / "genesis.json", chosen)
    shutil.rmtree(tmp_path / "data" / "journal")
    assert not initialise(tmp_path, founded / "genesis.json", chosen).is_new
    assert not (tmp_path / "data" / "journal").exists()


def test_an_observer_is_made_of_a_node_key_alone(founded: Path, tmp_path: Path) -> None:
    made = initialise(
        tmp_path, founded / "genesis.json", settings(founded / "watcher", Mode.OBSERVER)
    )
    assert made.label == "watcher"
    assert not (tmp_path / "data").exists()


def test_other_settings_are_refused_and_change_nothing(founded: Path, tmp_path: Path) -> None:
    chosen = settings(founded / "a")
    initialise(tmp_path, founded / "genesis.json", chosen)
    before = files_in(tmp_path)
    with pytest.raises(OtherSettings):
        initialise(
            tmp_path,
            founded / "genesis.json",
            replace(chosen, api_listen=Address("127.0.0.1", 1)),
        )
    assert files_in(tmp_path) == before


def test_keys_of_nobody_in_the_genesis_are_refused(founded: Path, tmp_path: Path) -> None:
    with pytest.raises(NotInGenesis, match="node key") as caught:
        initialise(tmp_path / "n", founded / "genesis.json", settings(founded / "stranger"))
    assert caught.value.exit_code == 4
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("name", ["consensus", "checkpoint"])
def test_keys_of_two_members_mixed_are_refused(founded: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(founded / "a", tmp_path / "mixed")
    shutil.copy(founded / "b" / f"{name}.seed", tmp_path / "mixed" / f"{name}.seed")
    with pytest.raises(NotInGenesis, match=f"{name} key"):
        initialise(tmp_path / "n", founded / "genesis.json", settings(tmp_path / "mixed"))


@pytest.mark.parametrize("name", ["a", "nobody"])
def test_a_peer_is_another_member(founded: Path, tmp_path: Path, name: str) -> None:
    chosen = replace(settings(founded / "a"), peers={name: Address("x", 1)})
    with pytest.raises(UnknownPeer) as caught:
        initialise(tmp_path / "n", founded / "genesis.json", chosen)
    assert "federation" in caught.value.hint


def test_a_member_that_was_voted_in_later_has_a_node_and_is_a_peer_by_its_id(
    founded: Path, tmp_path: Path
) -> None:
    genesis, late = founded / "genesis.json", "ab" * 16
    chosen = replace(settings(founded / "stranger"), member=late)
    made = initialise(tmp_path / "n", genesis, chosen)
    assert (made.member, made.label) == (bytes.fromhex(late), late)
    with pytest.raises(UnknownPeer):
        initialise(tmp_path / "m", genesis, replace(chosen, peers={late: Address("x", 1)}))
    peers = {late: Address("x", 1)}
    initialise(tmp_path / "a", genesis, replace(settings(founded / "a"), peers=peers))
    assert load_config(tmp_path / "a").peers == peers


def test_a_peer_may_be_a_member_that_had_no_node_when_the_chain_began(
    founded: Path, tmp_path: Path
) -> None:
    chosen = replace(settings(founded / "a"), peers={"shop": Address("x", 1)})
    initialise(tmp_path / "n", founded / "genesis.json", chosen)
    assert load_config(tmp_path / "n").peers == chosen.peers


def test_exposed_keys_are_refused(founded: Path, tmp_path: Path) -> None:
    shutil.copytree(founded / "a", tmp_path / "keys")
    (tmp_path / "keys" / "consensus.seed").chmod(0o640)
    with pytest.raises(Exposed):
        initialise(tmp_path / "n", founded / "genesis.json", settings(tmp_path / "keys"))


def test_a_missing_genesis_is_refused(founded: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing):
        initialise(tmp_path / "n", tmp_path / "genesis.json", settings(founded / "a"))


def test_a_member_that_is_named_may_have_keys_that_are_newer_than_the_genesis(
    founded: Path, tmp_path: Path
) -> None:
    chosen = replace(settings(founded / "stranger"), member="watcher")
    made = initialise(tmp_path / "n", founded / "genesis.json", chosen)
    assert made.label == "watcher"
    other = replace(chosen, member="stranger")
    with pytest.raises(NoSuchMember):
        initialise(tmp_path / "m", founded / "genesis.json", other)
