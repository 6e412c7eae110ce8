"""A chain under two versions of the rules, as an auditor meets it, and a rehearsal of it."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts import versions
from contracts.calls import PrescriptionCommit, ReadySignal
from contracts.dispatch import CODES
from contracts.genesis_json import signed_json
from contracts.versions import Agenda, Scheduled
from ledger.block import CommittedBlock
from ledger.entry import Outcome
from node.audit.rehearsal import rehearse
from node.audit.replay import verify_export
from node.cli.main import main
from node.errors import Exit
from tests import second
from tests.chainmaker import NEWCOMERS, SHOPS, Chain, export_of, found, some_bytes

NOT_BEFORE = 4
COMMIT = PrescriptionCommit(some_bytes("twice"))


def work(chain: Chain) -> CommittedBlock:
    """Make a block that commits to one prescription once more."""
    return chain.block(chain.transaction("shop-a", COMMIT))


def ready(chain: Chain, *labels: str, version: int = second.VERSION) -> CommittedBlock:
    return chain.block(*(chain.transaction(label, ReadySignal(version)) for label in labels))


def changed() -> Chain:
    """Return a chain whose validators change between their readiness and the height scheduled.

    Three of four are ready; one is replaced by a newcomer that is not, until block 6.
    """
    chain = Chain(found(others=(*SHOPS, *NEWCOMERS)))
    ready(chain, "operator", "insurer-a", "insurer-b")  # 1
    chain.block(chain.transaction("operator-b", chain.replacing("operator", "operator-b")))  # 2
    for _ in range(3):
        work(chain)  # 3 to 5: it could be announced from 4 on, were a quorum ready
    assert versions.agenda(chain.memory) == Agenda(1, Scheduled(2, NOT_BEFORE, None))
    ready(chain, "operator-b")  # 6
    for _ in range(4):
        work(chain)  # 7 announces it for 9
    return chain


def invoke(*args: str | Path) -> Result:
    words = [str(arg) for arg in args]
    return CliRunner().invoke(main, [*words, "--jobs", "1", "--json"])


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    """Version 2 is in force from block 9 on, of 10, and known here."""
    second.schedule(monkeypatch, NOT_BEFORE)
    second.know(monkeypatch)
    return changed()


def test_validators_that_change_before_it_must_be_ready_too(chain: Chain) -> None:
    assert [each.block.header.version for each in chain.blocks] == [1] * 8 + [2] * 2
    assert [each.outcomes[0].code == 0 for each in chain.blocks[2:]] == (
        [True, False, False, True, False, False, True, True]
    )


def test_a_chain_under_two_versions_is_verified_with_both(chain: Chain, tmp_path: Path) -> None:
    export = chain.export(tmp_path / "e")
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(chain.genesis))
    report = verify_export(export, chain.genesis, workers=1)
    assert report.versions == {1: 1, 2: 9}
    assert report.agenda == Agenda(2, None)
    assert report.calls["ReadySignal"] == 4
    done = CliRunner().invoke(
        main, ["audit", "verify", str(export), "--genesis", str(genesis), "--jobs", "1"]
    )
    assert "1 from block 1, 2 from block 9" in done.stdout


def test_who_does_not_know_the_second_verifies_up_to_it_and_says_so(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = chain.export(tmp_path / "e")
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(chain.genesis))
    monkeypatch.delitem(CODES, second.VERSION)
    done = invoke("audit", "verify", export, "--genesis", genesis)
    assert done.exit_code == Exit.OUTDATED
    assert json.loads(done.stdout) == {
        "verified": False,
        "verified_to": 8,
        "height": 9,
        "version": 2,
        "known": [1],
    }
    done = CliRunner().invoke(
        main, ["audit", "verify", str(export), "--genesis", str(genesis), "--jobs", "1"]
    )
    assert done.exit_code == Exit.OUTDATED
    assert "from block 9 on version 2 of the rules is in force" in done.stderr
    assert "blocks 1 to 8 are true" in done.stderr
    done = invoke("upgrade", "rehearse", export, "--genesis", genesis)
    assert done.exit_code == Exit.OUTDATED
    assert json.loads(done.stdout)["fault"]["verified_to"] == 8


def test_a_rehearsal_is_safe_where_all_executes_to_the_same(chain: Chain, tmp_path: Path) -> None:
    export = chain.export(tmp_path / "e")
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.OK
    told = json.loads(done.stdout)
    assert (told["safe"], told["reason"], told["known"]) == (True, "", [1, 2])
    assert told["report"]["height"] == 10
    assert "the genesis is the export's own" in done.stderr
    people = CliRunner().invoke(main, ["upgrade", "rehearse", str(export), "--jobs", "1"])
    assert people.stdout.startswith("Safe: a node may run with this software.")


def test_a_rehearsal_fails_at_the_block_whose_outcome_is_another(
    chain: Chain, tmp_path: Path
) -> None:
    """Height 10 commits again: applied by version 2. Another release refused it."""
    flipped = msgspec.structs.replace(chain.blocks[9], outcomes=(Outcome(10, (3,)),))
    export = tmp_path / "e"
    export.write_bytes(export_of(chain.genesis, [*chain.blocks[:9], flipped]))
    told = rehearse(export, chain.genesis, workers=1)
    assert not told.is_safe
    assert told.reason.startswith("block 10, transaction 0, call 0: outcome: expected applied")
    done = invoke("upgrade", "rehearse", export)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(done.stdout)["fault"]["height"] == 10
    people = CliRunner().invoke(main, ["upgrade", "rehearse", str(export), "--jobs", "1"])
    assert people.stdout.startswith("NOT safe: block 10, transaction 0")


def test_a_release_whose_rules_are_others_fails_its_rehearsal_and_names_the_height(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = chain.export(tmp_path / "e")
    monkeypatch.setitem(CODES, second.VERSION, CODES[1])  # 2 as 1 was
    told = rehearse(export, chain.genesis, workers=1)
    assert told.reason.startswith("block 9, transaction 0, call 0: outcome")


def test_a_rehearsal_tells_what_is_scheduled_and_not_known(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "e"
    export.write_bytes(export_of(chain.genesis, chain.blocks[:5]))
    assert rehearse(export, chain.genesis, workers=1).is_safe
    monkeypatch.delitem(CODES, second.VERSION)
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
