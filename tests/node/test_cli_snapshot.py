"""`depoli snapshot`: what it prints, and how it ends."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.lock import DirectoryLock
from ledger.store import open_store
from node.chain import Chain
from node.cli.main import main
from node.config import write_config
from node.errors import Exit
from tests.chainmaker import found, story

STORY = story()
GENESIS = STORY.genesis.genesis
LAST = len(STORY.blocks)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["snapshot", *map(str, args)])


def grow(home: Path, height: int) -> None:
    with contextlib.closing(Chain.open(home / "data", GENESIS, DirectSignatures())) as chain:
        for committed in STORY.blocks[chain.height : height]:
            header = committed.block.header
            executed = chain.execute(committed.block.body, header, DirectSignatures())
            chain.commit(executed, committed.certificate)


def state_pairs(data: Path) -> int:
    with contextlib.closing(open_store(data / "state")) as store:
        return len(store.scan(b"s", 1 << 20))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(write_config({}, {}))
    (tmp_path / "genesis.json").write_text(signed_json(STORY.genesis))
    return tmp_path


def test_one_is_made_listed_and_verified(home: Path) -> None:
    for height in (2, 3):
        grow(home, height)
        assert run("create", "--config", home).exit_code == Exit.OK
    grow(home, LAST)
    made = json.loads(run("create", "--config", home, "--json").stdout)
    folder = home / "data" / "snapshots" / f"{LAST:012}"
    assert (made["folder"], made["height"]) == (str(folder), LAST)
    assert made["block"] == STORY.state.header.hash.hex()
    assert made["state_digest"] == STORY.state.digest.hash.hex()
    assert made["pairs"] == state_pairs(home / "data")
    listed = json.loads(run("list", "--config", home, "--json").stdout)["snapshots"]
    assert [(each["height"], each["fault"]) for each in listed] == [(3, ""), (LAST, "")]
    assert listed[-1] == made | {"fault": ""}
    verified = run("verify", folder, "--genesis", home / "genesis.json", "--json")
    assert verified.exit_code == Exit.OK
    assert json.loads(verified.stdout) == made
    for people in (
        run("list", "--config", home),
        run("verify", folder, "--genesis", home / "genesis.json"),
    ):
        assert people.exit_code == Exit.OK
        assert str(folder) in people.stdout
        assert " UTC" in people.stdout


def test_what_is_false_is_named_and_told_apart(home: Path, tmp_path: Path) -> None:
    grow(home, 4)
    run("create", "--config", home)
    folder = home / "data" / "snapshots" / "000000000004"
    chunk = folder / "000000.chunk"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + b"\0")
    done = run("verify", folder, "--genesis", home / "genesis.json")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert f"{chunk}: malformed chunk 0: its checksum does not match" in done.stderr
    assert "hint:  remove the snapshot" in done.stderr
    chunk.write_bytes(whole)
    other = tmp_path / "other.json"
    other.write_text(signed_json(found((("federation", GENESIS.members[0].family),))))
    done = run("verify", folder, "--genesis", other)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "chain id" in done.stderr
    shutil.copyfile(folder / "decided", folder / "manifest")
    done = run("list", "--config", home)
    assert done.exit_code == Exit.OK
    assert f"block 4: {folder / 'manifest'}: malformed manifest" in done.stdout


def test_of_a_node_that_runs_none_is_made_by_hand(home: Path) -> None:
    grow(home, 2)
    lock = DirectoryLock(home / "data")  # as the node holds it
    for told in ("there is none yet", "the newest is of block 2"):
        done = run("create", "--config", home)
        assert done.exit_code == Exit.LOCKED
        assert f"the node runs, and makes snapshots by itself; {told}" in done.stderr
        lock.release()
        assert run("create", "--config", home).exit_code == Exit.OK
        lock = DirectoryLock(home / "data")
    assert run("list", "--config", home).exit_code == Exit.OK
    lock.release()


def test_where_there_is_nothing_it_says_so(home: Path) -> None:
    done = run("list", "--config", home)
    assert (done.exit_code, done.stdout) == (Exit.OK, "none yet\n")
    done = run("create", "--config", home)
    assert done.exit_code == Exit.NOT_FOUND
    assert "state does not exist" in done.stderr
    assert not (home / "data" / "state").exists()
    grow(home, 0)
    done = run("create", "--config", home)
    assert done.exit_code == Exit.NOT_FOUND
    assert "the chain has no block yet" in done.stderr
