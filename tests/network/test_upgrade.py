"""A version of the rules comes into force among processes that are upgraded one by one."""

import json
import re
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from contracts.calls import PrescriptionCommit, Propose, ScheduleVersion, Vote
from ledger.transaction import created_id
from node.cli.main import main
from node.config import load_config
from node.errors import Exit
from node.process import request
from tests import second
from tests.chainmaker import some_bytes
from tests.network.altered.sitecustomize import KNOWS
from tests.network.faultnet import FaultNetwork, changed_python, until
from tests.network.test_processes import refusal


def upgrade(net: FaultNetwork, label: str, *words: str) -> tuple[int, Any]:
    """Run `depoli upgrade` at an organisation's home; return its exit code and result."""
    home = next(each.home for each in net.network.validators if each.label == label)
    options = [*words, "--home", str(home), "--json"]
    done = CliRunner().invoke(main, ["upgrade", *options])
    return done.exit_code, json.loads(done.stdout) if done.stdout else done.stderr


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


def vote(net: FaultNetwork) -> None:
    """Let the validators schedule version 2 for a block that is near."""
    voters = [net.network.organisation(label) for label in net.labels]
    via, effect = net.labels[0], net.height(net.labels[0]) + 6
    subject = ScheduleVersion(second.VERSION)
    made = net.submit(via, Propose(subject, int(time.time()) + 3600, effect), sender=voters[0])
    assert made.code == 0
    for voter in voters[:3]:
        agreed = Vote(created_id(made.id, 0), agrees=True)
        assert net.submit(via, agreed, sender=voter).code == 0
    net.drive(lambda: upgrade(net, via, "status")[1]["scheduled"] == 2, via)


def test_four_nodes_are_upgraded_one_by_one_under_load_and_the_old_one_stops_in_time(
    tmp_path: Path,
) -> None:
    with FaultNetwork.create(tmp_path / "net", notice_blocks=2) as net:
        a, b, c, last = net.labels
        net.start()
        assert code_of(net, a, "twice") == 0
        assert code_of(net, a, "twice") != 0  # as version 1 says
        vote(net)
        net.until_level()
        require_warned(net, last)
        code, said = upgrade(net, a, "ready")
        assert code == Exit.USAGE, said  # nobody says what his node does not know
        require_safe_with_the_new_release_alone(net, c, tmp_path / "export")
        with net.loaded(a, last):
            for label in (c, a, b):
                net.process(label).stop()
                with changed_python(**{KNOWS: "1"}):
                    net.start(label)
                net.until_ready(label)
                code, said = upgrade(net, label, "ready")
                assert (code, said["version"]) == (Exit.OK, 2), said
                if label != b:
                    assert upgrade(net, label, "status")[1]["from_height"] is None
            until(lambda: net.process(last).pid() is None, "the old node goes on")
            require_told(net, last)
            with changed_python(**{KNOWS: "1"}):
                net.start(last)  # so that what was sent through it is acknowledged
        net.until_ready()
        require_stopped_in_time(net, last)
        assert code_of(net, last, "twice") == 0  # as version 2 says
        assert upgrade(net, last, "status")[1]["in_force"] == 2
        net.require_whole()
        assert net.process(last).stop()
        with second.known():
            code, told = rehearse(net, last, tmp_path / "export")
        assert code == Exit.OK
        assert [each["version"] for each in told["report"]["versions"]] == [1, 2]


def require_safe_with_the_new_release_alone(net: FaultNetwork, label: str, export: Path) -> None:
    """Stop a node, and fail unless a rehearsal of its chain asks for the release."""
    assert net.process(label).stop()
    code, told = rehearse(net, label, export)
    assert (code, told["safe"], told["fault"]) == (Exit.OUTDATED, False, None)
    assert "version 2 is scheduled, and this software knows 1" in told["reason"]
    with second.known():
        code, told = rehearse(net, label, export)
    assert (code, told["safe"]) == (Exit.OK, True)


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


def require_told(net: FaultNetwork, label: str) -> None:
    """Fail unless a node that stopped is refused in a sentence, and the doctor knows why."""
    home = net.process(label).home
    code, lines = refusal(home)
    assert code == Exit.OUTDATED
    assert len(lines) == 2
    assert lines[0].endswith("install a release that knows version 2")
    found = CliRunner().invoke(main, ["doctor", "--config", str(home), "--json"])
    assert found.exit_code == Exit.UNREACHABLE
    assert "upgrade" in {each["cause"] for each in json.loads(found.stdout)["findings"]}


def require_stopped_in_time(net: FaultNetwork, label: str) -> None:
    """Fail unless a node ended below the first block under version 2, naming it."""
    (ended,) = net.logged(label, "node halts")
    height = int(ended["height"])
    assert ended["version"] == 2
    assert net.block(label, height)["header"]["version"] == 2
    assert net.block(label, height - 1)["header"]["version"] == 1
    log = net.process(label).log.read_text("utf-8")
    assert re.search(f"error: from block {height} on version 2 of the rules is in force", log)
