"""A version of the rules comes into force among processes that are upgraded one by one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.calls import PrescriptionCommit
from node.cli.main import main
from node.config import load_config
from node.errors import Exit
from node.process import request
from tests import second
from tests.chainmaker import some_bytes
from tests.network.altered.sitecustomize import KNOWS, SCHEDULED
from tests.network.faultnet import FaultNetwork, changed_python, until

NOT_BEFORE = 5


def upgrade(net: FaultNetwork, label: str, *words: str) -> tuple[int, Any]:
    """Run `depoli upgrade` at an organisation's home; return its exit code and result."""
    home = next(each.home for each in net.network.validators if each.label == label)
    options = [*words, "--home", str(home), "--json"]
    done = CliRunner().invoke(main, ["upgrade", *options])
    return done.exit_code, json.loads(done.stdout) if done.stdout else str(done.exception)


def rehearse(net: FaultNetwork, label: str, export: Path) -> tuple[int, Any]:
    """Export the chain of a stopped node, and rehearse it by the software of this test."""
    export.unlink(missing_ok=True)
    home = net.process(label).home
    done = CliRunner().invoke(main, ["audit", "export", "--data", str(home), "-o", str(export)])
    assert done.exit_code == Exit.OK, done.output
    genesis = str(home / "genesis.json")
    words = ["upgrade", "rehearse", str(export), "--genesis", genesis, "--jobs", "1", "--json"]
    done = CliRunner().invoke(main, words)
    return done.exit_code, json.loads(done.stdout)


def code_of(net: FaultNetwork, via: str, name: str) -> int:
    """Commit to the prescription of that name; return what became of it."""
    return net.submit(via, PrescriptionCommit(some_bytes(name))).code


def test_four_nodes_are_upgraded_one_by_one_under_load_and_the_old_one_stops_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second.schedule(monkeypatch, NOT_BEFORE)  # here too: the auditor follows the same chain
    old, new = {SCHEDULED: str(NOT_BEFORE)}, {SCHEDULED: str(NOT_BEFORE), KNOWS: "1"}
    with FaultNetwork.create(tmp_path / "net") as net:
        a, b, c, last = net.labels
        with changed_python(**old):
            net.start()
        assert code_of(net, a, "twice") == 0
        assert code_of(net, a, "twice") != 0  # as version 1 says
        require_warned(net, last)

        code, said = upgrade(net, a, "ready")
        assert code == Exit.USAGE, said  # nobody says what his node does not know
        net.until_level()
        assert net.process(c).stop()
        code, told = rehearse(net, c, tmp_path / "export")
        assert (code, told["safe"], told["fault"]) == (Exit.OUTDATED, False, None)
        assert "version 2 is scheduled, and this software knows 1" in told["reason"]
        second.know(monkeypatch)  # the new release, on the auditor's machine first
        code, told = rehearse(net, c, tmp_path / "export")
        assert (code, told["safe"], told["report"]["height"]) == (Exit.OK, True, net.height(a))

        with net.loaded(a, last):
            for label in (c, a, b):
                net.process(label).stop()
                with changed_python(**new):
                    net.start(label)
                net.until_ready(label)
                code, said = upgrade(net, label, "ready")
                assert (code, said["version"]) == (Exit.OK, 2), said
                if label != b:
                    assert upgrade(net, label, "status")[1]["from_height"] is None
            until(lambda: net.process(last).pid() is None, "the old node goes on")
            with changed_python(**new):
                net.start(last)  # so that what was sent through it is acknowledged
        net.until_ready()
        require_stopped_in_time(net, last)
        assert code_of(net, last, "twice") == 0  # as version 2 says
        assert upgrade(net, last, "status")[1]["in_force"] == 2
        net.require_whole()
        assert net.process(last).stop()
        code, told = rehearse(net, last, tmp_path / "export")
        assert code == Exit.OK
        assert [each["version"] for each in told["report"]["versions"]] == [1, 2]


def require_warned(net: FaultNetwork, label: str) -> None:
    """Fail unless a node that lacks the version says so wherever an operator looks."""
    config = load_config(net.process(label).home)
    status, text = request(config.admin_listen, "/readyz")
    assert (status, text.splitlines()[0]) == (200, b"ready")
    assert b"install a release that knows version 2" in text
    assert b"depoli_upgrade_needed 1.0" in request(config.admin_listen, "/metrics")[1]
    assert json.loads(request(config.admin_listen, "/version")[1])["rules"] == [1]
    assert net.status(label)["version"] == 1
    found = CliRunner().invoke(main, ["doctor", "--config", str(config.home), "--json"])
    causes = {each["cause"] for each in json.loads(found.stdout)["findings"]}
    assert {"upgrade", "upgrade-waits"} <= causes


def require_stopped_in_time(net: FaultNetwork, label: str) -> None:
    """Fail unless a node ended below the first block under version 2, naming it."""
    (ended,) = net.logged(label, "node halts")
    height = int(ended["height"])
    assert ended["version"] == 2
    assert net.block(label, height)["header"]["version"] == 2
    assert net.block(label, height - 1)["header"]["version"] == 1
    log = net.process(label).log.read_text("utf-8")
    assert re.search(f"error: from block {height} on version 2 of the rules is in force", log)
