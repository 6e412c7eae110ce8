"""`depoli audit`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.genesis_json import signed_json
from ledger.encoding import encode
from ledger.segments import Segments
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
