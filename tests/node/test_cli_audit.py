"""`depoli audit`: what it prints, and how it ends."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.calls import MarkLock
from contracts.genesis_json import signed_json
from ledger.encoding import encode
from ledger.segments import Segments
from node.audit.guesses import Breadth
from node.cli.main import main
from node.config import write_config
from node.errors import Exit
from tests.chainmaker import Chain, export_of, found, story
from tests.forgeries import forgeries

CHAIN = story()


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *(str(arg) for arg in args)])


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_text(signed_json(CHAIN.genesis))
    return path


def test_a_true_chain_is_told_to_people_and_to_programs(genesis: Path, tmp_path: Path) -> None:
    export = CHAIN.export(tmp_path / "e")
    done = run("verify", export, "--genesis", genesis, "--jobs", "1")
    assert done.exit_code == Exit.OK, done.output
    assert done.stderr == ""
    assert CHAIN.chain_id.hex() in done.stdout
    assert "settlement in wrong state" in done.stdout
    done = run("verify", export, "--genesis", genesis, "--jobs", "1", "--json")
    assert json.loads(done.stdout)["height"] == 8


def test_a_lie_ends_with_its_block_and_code_4(genesis: Path, tmp_path: Path) -> None:
    forgery = next(one for one in forgeries(CHAIN) if one.name == "header: state_digest")
    export = tmp_path / "e"
    export.write_bytes(export_of(CHAIN.genesis, forgery.blocks))
    done = run("verify", export, "--genesis", genesis, "--jobs", "1")
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    assert done.stderr.startswith("error: block 8: state_digest: expected ")
    done = run("verify", export, "--genesis", genesis, "--jobs", "1", "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    told = json.loads(done.stdout)
    assert (told["verified"], told["height"], told["field"]) == (False, 8, "state_digest")


def test_an_export_must_hold_the_block_one_knows(genesis: Path, tmp_path: Path) -> None:
    export = CHAIN.export(tmp_path / "e")
    options = (export, "--genesis", genesis, "--jobs", "1", "--header")
    assert run("verify", *options, CHAIN.state.header.hash.hex()).exit_code == Exit.OK
    assert run("verify", *options, "00" * 32).exit_code == Exit.VERIFICATION_FAILED
    assert run("verify", *options, "xyz").exit_code == Exit.USAGE


def test_the_genesis_of_another_chain_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(signed_json(Chain(found(others=())).genesis))
    done = run("verify", CHAIN.export(tmp_path / "e"), "--genesis", other, "--jobs", "1")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "before the first block: genesis" in done.stderr


def test_a_stopped_node_is_exported(genesis: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(write_config({}, {}))
    segments = Segments.open(tmp_path / "data" / "segments", chain_id=CHAIN.chain_id)
    for block in CHAIN.blocks:
        segments.append(encode(block))
    output = tmp_path / "out"
    done = run("export", "--data", tmp_path, "-o", output)
    assert done.exit_code == Exit.LOCKED, done.output  # it is not stopped yet
    assert not [*tmp_path.glob("out*")]  # and nothing was read that would be kept
    segments.sync()
    segments.close()
    done = run("export", "--data", tmp_path, "-o", output, "--json")
    assert json.loads(done.stdout)["height"] == 8, done.output
    assert run("verify", output, "--genesis", genesis, "--jobs", "1").exit_code == Exit.OK


def test_one_source_must_be_named(tmp_path: Path) -> None:
    for options in ((), ("--node", "http://127.0.0.1:9", "--data", tmp_path)):
        done = run("export", *options, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
        assert "--token-file" in done.stderr
    done = run("export", "--node", "http://127.0.0.1:9", "-o", tmp_path / "out")
    assert done.exit_code == Exit.UNREACHABLE
    assert not (tmp_path / "out").exists()


# --- reports --------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "auditor.seed"
    path.write_text("07" * 32 + "\n")
    path.chmod(0o600)
    return path


def test_a_report_is_written_signed_printed_and_checked(
    genesis: Path, key: Path, tmp_path: Path
) -> None:
    export, report, html = CHAIN.export(tmp_path / "e"), tmp_path / "report", tmp_path / "page.html"
    options = ("--genesis", genesis, "--jobs", "1")
    written = ("-o", report, "--html", html, "--language", "fr", "--key", key, "--auditor", "A. B.")
    done = run("report", export, *options, *written, "--json")
    assert done.exit_code == Exit.OK, done.output
    told = json.loads(done.stdout)
    assert "Rapport d" in html.read_text()
    done = run("check-report", report, "--signer", told["signer"], "--json")
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["digest"] == told["digest"]
    done = run("check-report", report, "--export", export, *options)
    assert done.exit_code == Exit.OK, done.output
    assert told["signer"] in done.stdout


def test_a_report_by_another_or_of_another_chain_ends_with_code_4(
    genesis: Path, key: Path, tmp_path: Path
) -> None:
    export, report = CHAIN.export(tmp_path / "e"), tmp_path / "report"
    options = ("--genesis", genesis, "--jobs", "1")
    assert run("report", export, *options, "-o", report, "--key", key).exit_code == Exit.OK
    done = run("check-report", report, "--signer", "07" * 32)
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    assert "signer" in done.stderr
    shorter = tmp_path / "shorter"
    shorter.write_bytes(export_of(CHAIN.genesis, CHAIN.blocks[:5]))
    done = run("check-report", report, "--export", shorter, *options, "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(done.stdout)["field"].startswith("report.")
    changed = tmp_path / "changed"
    changed.write_text(report.read_text().replace("shop-a", "shop-b"))
    done = run("check-report", changed)
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")


def test_an_unsigned_report_says_so_and_is_believed_only_beside_the_export(
    genesis: Path, tmp_path: Path
) -> None:
    export, report = CHAIN.export(tmp_path / "e"), tmp_path / "report"
    options = ("--genesis", genesis, "--jobs", "1")
    done = run("report", export, *options, "-o", report)
    assert done.exit_code == Exit.OK
    assert "not signed" in done.stderr
    done = run("check-report", report)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "found none" in done.stderr
    assert run("check-report", report, "--export", export, *options).exit_code == Exit.OK


def test_a_false_chain_has_no_report(genesis: Path, tmp_path: Path) -> None:
    export, report = tmp_path / "e", tmp_path / "report"
    export.write_bytes(export_of(CHAIN.genesis, forgeries(CHAIN)[0].blocks))
    done = run("report", export, "--genesis", genesis, "--jobs", "1", "-o", report, "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(done.stdout)["verified"] is False
    assert not report.exists()


def test_what_a_hostile_report_says_does_nothing_to_a_terminal(
    genesis: Path, key: Path, tmp_path: Path
) -> None:
    export, report = CHAIN.export(tmp_path / "e"), tmp_path / "report"
    options = ("--genesis", genesis, "--jobs", "1")
    assert run("report", export, *options, "-o", report, "--key", key).exit_code == Exit.OK
    value = json.loads(report.read_text())
    value["report"]["chain"]["network"] = "\x1b[2J\ud800"
    value["report"]["counts"]["blocks"] = "8"
    value["signature"] = None
    report.write_text(json.dumps(value))
    done = run("check-report", report, "--export", export, *options)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert 'report.chain.network: expected "example", found "\\u001b[2J\\ud800"' in done.stderr
    value["report"]["chain"]["network"] = "example"
    report.write_text(json.dumps(value))
    done = run("check-report", report, "--export", export, *options, "--json")
    told = json.loads(done.stdout)
    assert (told["field"], told["expected"], told["found"]) == ("report.counts.blocks", "8", '"8"')


def test_a_report_is_of_the_bytes_that_were_verified_not_of_what_is_there_now(
    genesis: Path, tmp_path: Path
) -> None:
    content = export_of(CHAIN.genesis, CHAIN.blocks)
    report, pipe = tmp_path / "report", tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    done = run("report", pipe, "--genesis", genesis, "--jobs", "1", "-o", report)
    writer.join()
    assert done.exit_code == Exit.OK, done.output
    found = json.loads(report.read_text())["report"]["export"]
    assert found == {"bytes": len(content), "sha256": sha256(content).hexdigest()}


def test_who_ends_a_command_leaves_no_temporary_file(genesis: Path, tmp_path: Path) -> None:
    folder, pipe = tmp_path / "temporary", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)  # nobody writes to it: the command waits
    command = (sys.executable, "-m", "node.cli.main", "audit", "privacy", pipe, "--quick")
    with subprocess.Popen(
        (*command, "--genesis", genesis), env=os.environ | {"TMPDIR": str(folder)}
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not [*folder.iterdir()]:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)  # between two looks
            (made,) = folder.iterdir()
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert not [*folder.iterdir()]


def test_wrong_uses_of_reports_are_told(genesis: Path, tmp_path: Path) -> None:
    export, report = CHAIN.export(tmp_path / "e"), tmp_path / "report"
    options = ("--genesis", genesis, "--jobs", "1", "-o", report)
    assert run("report", export, *options, "--html", report).exit_code == Exit.USAGE
    assert run("report", export, *options, "--key", export).exit_code == Exit.LOCKED
    for wrong in (
        ("--html", tmp_path / "no" / "html"),
        ("--auditor", "A\n"),
        ("--auditor", "\udcff"),
    ):
        assert run("report", export, *options, *wrong).exit_code == Exit.USAGE
    assert run("report", export, *options[:4], "-o", tmp_path / "no" / "r").exit_code == Exit.USAGE
    assert not report.exists()
    assert run("check-report", report).exit_code == Exit.NOT_INITIALISED
    report.write_text("{}")
    assert run("check-report", report).exit_code == Exit.VERIFICATION_FAILED
    assert run("check-report", report, "--signer", "07").exit_code == Exit.USAGE
    assert run("check-report", report, "--export", export).exit_code == Exit.USAGE


def test_a_chain_is_looked_through(
    genesis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Breadth(1_00, 1_00, 90, 0, 1_00, (1984, 1985))
    monkeypatch.setattr("node.cli.privacy.QUICK", narrow)
    export = CHAIN.export(tmp_path / "e")
    options = ("--genesis", genesis, "--jobs", "1", "--quick")
    done = run("privacy", export, *options)
    assert done.exit_code == Exit.OK, done.output
    assert "nothing was found that chance does not explain" in done.stdout
    leaky = Chain()
    leaky.block(leaky.transaction("shop-a", MarkLock(b"DUPONT Jean-Pierre, 12/03/1984  ")))
    done = run("privacy", leaky.export(tmp_path / "leaky"), *options, "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    told = json.loads(done.stdout)
    assert {one["kind"] for one in told["findings"] if one["alarm"]} == {"name", "day", "text"}
    assert "DUPONT" not in done.output
    export.write_bytes(export_of(CHAIN.genesis, forgeries(CHAIN)[0].blocks))
    assert run("privacy", export, *options, "--json").exit_code == Exit.VERIFICATION_FAILED
