"""`depoli upgrade`: what people are told of rules to come, and what they say of their nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import versions
from contracts.state import Overlay
from node.cli.person import Person
from node.errors import Exit
from tests import second
from tests.contracts.world import VALIDATORS
from tests.node.client.desk import MemoryNode
from tests.node.client.test_validator_commands import Council


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Council:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Council(tmp_path, node)


@pytest.fixture
def _second() -> Iterator[None]:
    """Software that knows the second version."""
    with second.known():
        yield


def schedule(town: Council, height: int) -> None:
    state = Overlay(town.node.world.state)
    versions.schedule(state, second.VERSION, height)
    town.node.world.state.apply(state.changes)


def until(town: Council, height: int) -> None:
    world = town.node.world
    while world.chain.header.height < height:
        world.block()


def test_where_nothing_is_scheduled_status_says_so(town: Council) -> None:
    said = town.call("shop", "upgrade", "status")
    assert said.exit_code == Exit.OK, said.stderr
    assert said.stdout.startswith("Version 1 is in force, and none is scheduled.")
    told = town.once("shop", "upgrade", "status")
    assert (told["in_force"], told["scheduled"], told["missing"]) == (1, None, [])
    assert told["validators"] == dict.fromkeys(VALIDATORS, 0)


def test_what_our_node_does_not_know_is_not_said_of_it(town: Council) -> None:
    schedule(town, 3)
    said = town.call("shop", "upgrade", "status")
    assert "install a release that knows version 2" in said.stdout
    for options in ((), ("--version", "2")):
        refused = town.call("insurer", "upgrade", "ready", *options)
        assert refused.exit_code == Exit.USAGE
        assert "knows 1 of the rules, not version 2" in refused.stderr
    assert town.node.sent == []


def test_who_runs_no_validator_is_told_so_before_anything_is_sent(town: Council) -> None:
    refused = town.call("shop", "upgrade", "ready")
    assert refused.exit_code == Exit.USAGE
    assert "shop runs no validator" in refused.stderr
    assert town.node.sent == []


@pytest.mark.usefixtures("_second")
def test_each_says_when_it_is_ready_and_all_see_who_is_missing(town: Council) -> None:
    schedule(town, 7)
    for name in VALIDATORS[:2]:
        result = town.once(name, "upgrade", "ready")
        assert (result["member"], result["version"]) == (name, 2)
    said = town.call("shop", "upgrade", "status").stdout
    assert said.startswith(
        "Version 2 comes into force when 1 more validator has said that they are ready"
    )
    assert "2 of 4, 3 needed" in said
    told = town.once("shop", "upgrade", "status")
    assert (told["ready"], told["missing"]) == (2, list(VALIDATORS[2:]))
    done = town.call(VALIDATORS[2], "upgrade", "ready")
    assert done.stdout.startswith(f"{VALIDATORS[2]} is ready for version 2: said in block")
    waits = town.once("shop", "upgrade", "status")
    assert waits["says"] == "a quorum is ready: version 2 waits for block 7"
    until(town, 7)
    comes = town.once("shop", "upgrade", "status")
    assert (comes["says"], comes["from_height"]) == ("version 2 is in force from block 9 on", 9)
    until(town, 9)
    assert town.once("shop", "upgrade", "status")["in_force"] == 2


@pytest.mark.usefixtures("_second")
def test_a_lower_version_withdraws_what_was_said(town: Council) -> None:
    schedule(town, 100)
    town.once("mutual", "upgrade", "ready")
    assert town.once("mutual", "upgrade", "ready", "--version", "1")["version"] == 1
    told = town.once("shop", "upgrade", "status")
    assert told["validators"]["mutual"] == 1
    assert "mutual" in told["missing"]
