"""A local network: each organisation's folder is its own, and its nodes really start and stop."""

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.keys import Role, SigningKey
from ledger.validators import quorum
from node import testnet
from node.card import Runs, load_card
from node.cli.home import load_home
from node.config import load_config
from node.keystore import read_seed
from node.process import NodeDied
from node.testnet import LocalNetwork
from node.tokens import Scope, parse_tokens


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of four validators and two shops; its nodes are stopped at the end."""
    made = testnet.create(tmp_path_factory.mktemp("local") / "net")
    yield made
    made.stop()


@pytest.mark.parametrize("validators", range(4, testnet.MAX_VALIDATORS + 1))
def test_no_family_holds_a_quorum_of_any_size(validators: int) -> None:
    plan = list(testnet._plan(validators, 3))
    families = Counter(family for _, family, runs in plan if runs is Runs.VALIDATOR)
    assert families.total() == validators
    assert max(families.values()) < quorum(validators)
    assert len({label for label, _, _ in plan}) == len(plan)


def test_it_is_run_by_the_organisations_that_one_would_meet(network: LocalNetwork) -> None:
    assert [(each.label, each.family) for each in network.validators] == list(testnet.FOUNDERS)
    assert [each.label for each in network.shops] == ["shop-1", "shop-2"]
    assert network.auditor.family == "auditor"
    assert testnet.load(network.directory) == network


def test_every_secret_is_its_owners_alone(network: LocalNetwork) -> None:
    secret = ("*.seed", "*token", "tokens.toml", "vault.key")
    found = [path for pattern in secret for path in network.directory.rglob(pattern)]
    assert len(found) == 4 * 6 + 3 * 3 + 7 + 7 + 4 + 4
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for organisation in network.organisations:
        assert stat.S_IMODE(organisation.keys.stat().st_mode) == 0o700


def test_no_two_nodes_listen_on_one_port(network: LocalNetwork) -> None:
    configs = [load_config(each.node) for each in network.validators]
    ports = [
        address.port
        for config in configs
        for address in (config.p2p_listen, config.api_listen, config.admin_listen)
    ]
    assert len(set(ports)) == 12
    assert all(port in testnet.PORTS for port in ports)
    for config in configs:
        others = {each.p2p_listen for each in configs if each is not config}
        assert set(config.peers.values()) == others


def test_ports_that_were_found_are_found_by_nobody_else_before_something_listens() -> None:
    kept = testnet._share()
    mine = [*testnet._free_ports(100), *testnet._free_ports(100)]
    testnet._share.cache_clear()  # as another process begins, while our share is held in `kept`
    theirs = testnet._free_ports(100)
    assert len({*mine, *theirs}) == 300
    kept[0].close()


def test_everybody_has_a_home_whose_token_opens_the_right_node(network: LocalNetwork) -> None:
    for organisation in network.organisations:
        home = load_home(organisation.home)
        assert home.member == organisation.member
        card = load_card(organisation.keys)
        assert home.key().public == card.keys[Role.TRANSACTION]
        assert home.sealing_key_file is not None
        assert SigningKey(read_seed(home.sealing_key_file)).public == card.keys[Role.SEALING]
        assert home.vault_key() is not None
        used = organisation if organisation.runs_node else network.validators[0]
        assert home.node == network.api(used.label)
        grant = parse_tokens(load_config(used.node).tokens).lookup(home.token())
        assert grant is not None
        assert grant.member == organisation.member
        assert grant.allows(Scope.AUDIT) == (organisation is network.auditor)
        assert grant.allows(Scope.SUBMIT) == (organisation is not network.auditor)


def test_it_is_not_made_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(testnet.NotEmpty):
        testnet.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"chain_id": 3}', "[]"])
def test_a_folder_without_a_network_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / testnet.FILE_NAME).write_text(content)
    with pytest.raises(testnet.NoNetwork):
        testnet.load(tmp_path)


def test_an_unknown_node_is_refused_by_naming_the_known(network: LocalNetwork) -> None:
    with pytest.raises(testnet.UnknownLabel) as caught:
        network.start("shop-1")
    assert "insurer-a" in caught.value.hint


def test_nodes_start_stop_and_start_again(network: LocalNetwork) -> None:
    labels = [process.label for process in network.processes]
    assert network.start() == labels
    assert network.start() == []  # nothing was down
    pids = {process.label: process.pid() for process in network.processes}
    assert None not in pids.values()
    for state in network.status():
        assert state["pid"] == pids[state["label"]]
        assert "error" not in state
        assert isinstance(state["height"], int)

    network.kill("insurer-b")
    assert network.process("insurer-b").pid() is None
    assert network.stop("insurer-a") == {"insurer-a": True}
    assert [state["pid"] is None for state in network.status()] == [False, False, True, True]
    assert network.start("insurer-b") == ["insurer-b"]
    assert network.start() == ["insurer-a"]
    assert network.process("federation").pid() == pids["federation"]

    assert network.stop() == dict.fromkeys(labels, True)
    assert network.stop() == {}
    assert network.start("insurer-a") == ["insurer-a"]  # alone: it answers, and is not ready
    assert "validators linked" in network.process("insurer-a").not_ready()
    assert network.stop() == {"insurer-a": True}


def test_a_node_that_cannot_start_is_told_with_the_end_of_its_log(network: LocalNetwork) -> None:
    process = network.process("insurer-b")
    genesis = process.home / "genesis.json"
    good = genesis.read_bytes()
    genesis.write_bytes(good[:-20])
    try:
        with pytest.raises(NodeDied, match="genesis") as caught:
            network.start("insurer-b")
        assert any(line.startswith("error: ") for line in caught.value.tail)
        assert not any("Traceback" in line for line in caught.value.tail)
        assert process.pid() is None
    finally:
        genesis.write_bytes(good)
