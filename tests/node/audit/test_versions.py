"""A chain under two versions of the rules, as an auditor meets it, and a rehearsal of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.dispatch import CODES
from contracts.genesis_json import signed_json
from contracts.versions import Agenda
from ledger.entry import Outcome
from node.audit.rehearsal import rehearse
from node.audit.replay import verify_export
from node.cli.main import main
from node.errors import Exit
from tests import second
from tests.chainmaker import export_of
from tests.chains import FIRST, NOT_BEFORE, two_versions

CHAIN = two_versions()


def invoke(*args: str | Path) -> Result:
    words = [str(arg) for arg in args]
    return CliRunner().invoke(main, [*words, "--jobs", "1", "--json"])


@pytest.fixture
def _second() -> Iterator[None]:
    """Software that knows the second version."""
    with second.known():
        yield


def test_validators_that_change_before_it_must_be_ready_too() -> None:
    assert [each.block.header.version for each in CHAIN.blocks] == [1] * 14 + [2] * 2
    commits = [CHAIN.blocks[height - 1].outcomes[0].code == 0 for height in (9, 10, 13, 14, 15, 16)]
    assert commits == [True, False, False, False, True, True]


@pytest.mark.usefixtures("_second")
def test_a_chain_under_two_versions_is_verified_with_both(tmp_path: Path) -> None:
    export = CHAIN.export(tmp_path / "e")
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(CHAIN.genesis))
    report = verify_export(export, CHAIN.genesis, workers=1)
    assert report.versions == {1: 1, 2: FIRST}
    assert report.agenda == Agenda(2, None)
    assert report.calls["ReadySignal"] == 4
    done = CliRunner().invoke(
        main, ["audit", "verify", str(export), "--genesis", str(genesis), "--jobs", "1"]
    )
    assert "1 from block 1, 2 from block 15" in done.stdout


def test_who_does_not_know_the_second_verifies_up_to_it_and_says_so(tmp_path: Path) -> None:
    export = CHAIN.export(tmp_path / "e")
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(CHAIN.genesis))
    done = invoke("audit", "verify", export, "--genesis", genesis)
    assert done.exit_code == Exit.OUTDATED
    assert json.loads(done.stdout) == {
        "verified": False,
        "verified_to": 14,
        "height": 15,
        "version": 2,
        "known": [1],
    }
    done = CliRunner().invoke(
        main, ["audit", "verify", str(export), "--genesis", str(genesis), "--jobs", "1"]
    )
    assert done.exit_code == Exit.OUTDATED
    assert "from block 15 on version 2 of the rules is in force" in done.stderr
    assert "blocks 1 to 14 are true" in done.stderr
    done = invoke("upgrade", "rehearse", export, "--genesis", genesis)
    assert done.exit_code == Exit.OUTDATED
    assert json.loads(done.stdout)["fault"]["verified_to"] == 14


@pytest.mark.usefixtures("_second")
def test_a_rehearsal_is_safe_where_all_executes_to_the_same(tmp_path: Path) -> None:
    export = CHAIN.export(tmp_path / "e")
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.OK
    told = json.loads(done.stdout)
    assert (told["safe"], told["reason"], told["known"]) == (True, "", [1, 2])
    assert told["report"]["height"] == 16
    assert "the genesis is the export's own" in done.stderr
    people = CliRunner().invoke(main, ["upgrade", "rehearse", str(export), "--jobs", "1"])
    assert people.stdout.startswith("Safe: a node may run with this software.")


@pytest.mark.usefixtures("_second")
def test_a_rehearsal_fails_at_the_block_whose_outcome_is_another(tmp_path: Path) -> None:
    """Height 16 commits again: applied by version 2. Another release refused it."""
    flipped = msgspec.structs.replace(CHAIN.blocks[15], outcomes=(Outcome(10, (3,)),))
    export = tmp_path / "e"
    export.write_bytes(export_of(CHAIN.genesis, [*CHAIN.blocks[:15], flipped]))
    told = rehearse(export, CHAIN.genesis, workers=1)
    assert not told.is_safe
    assert told.reason.startswith("block 16, transaction 0, call 0: outcome: expected applied")
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(done.stdout)["fault"]["height"] == 16
    people = CliRunner().invoke(main, ["upgrade", "rehearse", str(export), "--jobs", "1"])
    assert people.stdout.startswith("NOT safe: block 16, transaction 0")


def test_a_release_whose_rules_are_others_fails_its_rehearsal_and_names_the_height(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = CHAIN.export(tmp_path / "e")
    monkeypatch.setitem(CODES, second.VERSION, CODES[1])  # 2 as 1 was
    told = rehearse(export, CHAIN.genesis, workers=1)
    assert told.reason.startswith("block 15, transaction 0, call 0: outcome")


def test_a_rehearsal_tells_what_is_scheduled_and_not_known(tmp_path: Path) -> None:
    export = tmp_path / "e"
    export.write_bytes(export_of(CHAIN.genesis, CHAIN.blocks[:10]))
    with second.known():
        assert rehearse(export, CHAIN.genesis, workers=1).is_safe
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.OUTDATED
    told = json.loads(done.stdout)
    assert told["reason"] == "version 2 is scheduled, and this software knows 1"
    assert told["scheduled"] == {"version": 2, "not_before": NOT_BEFORE, "from_height": None}
    assert told["fault"] is None
    people = CliRunner().invoke(main, ["upgrade", "rehearse", str(export), "--jobs", "1"])
    assert people.exit_code == Exit.OUTDATED
    assert people.stdout.startswith("NOT safe: version 2 is scheduled")


@pytest.mark.parametrize("content", [b"", b"depoli/export/1\n", b"another\n"])
def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    export = tmp_path / "e"
    export.write_bytes(content)
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "before the first block" in done.stderr
