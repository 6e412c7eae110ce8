"""Why a node does not answer: each thing that keeps it from starting is found, none is changed."""

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.keys import Role
from ledger.lock import DirectoryLock
from node import ceremony, testnet
from node.config import Config, load_config
from node.doctor import autopsy
from node.doctor.findings import Diagnosis, Gravity, Verdict
from node.initialise import JOURNAL_FOLDER
from node.journal import Journal
from node.keystore import create_keys, load_node_keys
from node.process import LOG_FILE, NoAnswer
from node.testnet import LocalNetwork

NOBODY = "Connection refused"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LocalNetwork:
    """A network that never runs."""
    return testnet.create(tmp_path_factory.mktemp("autopsy") / "net", validators=1, shops=0)


@pytest.fixture
def config(made: LocalNetwork, tmp_path: Path) -> Config:
    """A node that would start, were it told to."""
    shutil.copytree(made.directory, tmp_path / "net")
    home = tmp_path / "net" / made.validators[0].label / "node"
    settings = load_config(home)
    text = (home / "config.toml").read_text("utf-8")
    own = tmp_path / "net" / made.validators[0].label / "keys"
    (home / "config.toml").write_text(text.replace(str(settings.keys), str(own)), "utf-8")
    config = load_config(home)
    journal = config.data / JOURNAL_FOLDER
    shutil.rmtree(journal)  # a copy, which is not current
    consensus = load_node_keys(config.keys, config.mode).consensus
    assert consensus is not None
    identity = ceremony.load_genesis(config.genesis).chain_id + consensus.public
    Journal.create(journal, identity).close()
    return config


def examined(config: Config) -> Diagnosis:
    found = autopsy.examine(config, NoAnswer(config.api_listen, NOBODY))
    assert found.verdict is Verdict.DOWN
    for finding in found.findings:
        assert finding.what
        assert finding.remedy
        assert all(line.isprintable() for line in finding.evidence)
    return found


def causes(config: Config) -> list[str]:
    return [finding.cause for finding in examined(config).findings]


def digest(folder: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_node_that_was_not_started_is_to_be_started(config: Config) -> None:
    before = digest(config.home)
    found = examined(config)
    (finding,) = found.findings
    assert finding.cause == "not-running"
    assert NOBODY in finding.evidence[0]
    assert finding.remedy.startswith("Start it: depoli node run")
    assert digest(config.home) == before


def test_what_its_log_ends_with_is_told(config: Config) -> None:
    lines = ['{"level": "error", "event": "node halts", "reason": "a quorum vouches"}']
    (config.home / LOG_FILE).write_text("\n".join(lines), "utf-8")
    assert examined(config).findings[0].evidence[1] == "its log ends: node halts: a quorum vouches"
    lines += ["error: a quorum\x1b vouches", "hint:  ask the others"]
    (config.home / LOG_FILE).write_text("\n".join(lines), "utf-8")
    assert examined(config).findings[0].evidence[1:] == ("its log ends: a quorum� vouches",)
    lines += ['{"level": "info"}', "[]", "{", "text"]
    (config.home / LOG_FILE).write_text("\n".join(lines), "utf-8")
    assert len(examined(config).findings[0].evidence) == 1  # it has run since


@pytest.mark.parametrize("key", ["p2p", "api", "admin"])
def test_a_port_that_is_taken_is_named(config: Config, key: str) -> None:
    address = {"p2p": config.p2p_listen, "api": config.api_listen, "admin": config.admin_listen}[
        key
    ]
    with socket.create_server(address):
        found = examined(config)
    assert [each.cause for each in found.findings] == ["not-running", "port"]
    assert f"{key}.listen" in found.findings[1].what
    assert "in use by another program" in found.findings[1].what
    assert found.findings[0].remedy.startswith("Mend what is said below, then start it")


def test_a_seed_that_others_can_read_is_named(config: Config) -> None:
    (config.keys / "node.seed").chmod(0o644)
    found = examined(config)
    assert [each.cause for each in found.findings] == ["not-running", "keys"]
    assert "others can read" in found.findings[1].evidence[0]
    assert found.findings[1].remedy.startswith("chmod 600")


def test_a_seed_that_is_gone_is_named(config: Config) -> None:
    (config.keys / "consensus.seed").unlink()
    assert causes(config) == ["not-running", "keys"]


def test_keys_of_somebody_else_are_worth_a_note_and_have_no_journal(
    config: Config, tmp_path: Path
) -> None:
    create_keys(tmp_path / "other", [Role.CONSENSUS])
    (config.keys / "consensus.seed").unlink()
    shutil.copy(tmp_path / "other" / "consensus.seed", config.keys)
    found = examined(config)
    causes_found = [each.cause for each in found.findings]
    assert causes_found == ["not-running", "no-journal", "keys-of-nobody"]
    folder = config.data / JOURNAL_FOLDER
    assert found.findings[1].evidence[0] == f"{folder} holds none of this key"
    assert found.findings[2].gravity is Gravity.NOTE


def test_a_genesis_that_is_none_is_named(config: Config) -> None:
    config.genesis.write_text("{", "utf-8")
    assert causes(config) == ["not-running", "genesis"]
    config.genesis.unlink()
    assert causes(config) == ["not-running", "genesis"]


def test_a_genesis_of_another_chain_is_told_by_the_journal(config: Config, tmp_path: Path) -> None:
    other = testnet.create(tmp_path / "other", validators=1, shops=0)
    shutil.copy(other.genesis, config.genesis)
    assert causes(config) == ["not-running", "journal", "keys-of-nobody"]


def test_tokens_that_make_no_sense_are_named(config: Config) -> None:
    config.tokens.write_text("[[token]]\nsha256 = 1\n", "utf-8")
    assert causes(config) == ["not-running", "tokens"]


def test_a_damaged_journal_is_named_and_left_as_it_is(config: Config) -> None:
    (path,) = (config.data / JOURNAL_FOLDER).glob("*.journal")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    before = digest(config.data)
    found = examined(config)
    assert [each.cause for each in found.findings] == ["not-running", "journal"]
    assert str(path) in found.findings[1].evidence[0]
    assert digest(config.data) == before


def test_a_journal_that_was_copied_is_told_and_left_as_it_is(config: Config) -> None:
    folder = config.data / JOURNAL_FOLDER
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    before = digest(config.data)
    found = examined(config)
    assert [each.cause for each in found.findings] == ["not-running", "journal"]
    assert found.findings[1].gravity is Gravity.WARNS
    assert "it is a copy" in found.findings[1].evidence[0]
    assert digest(config.data) == before


def test_a_full_disk_does_not_make_a_good_journal_bad(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.origin.mark", full)
    assert causes(config) == ["not-running"]


def test_a_journal_that_is_lost_is_told_with_what_will_happen(config: Config) -> None:
    shutil.rmtree(config.data / JOURNAL_FOLDER)
    found = examined(config)
    assert [each.cause for each in found.findings] == ["not-running", "no-journal"]
    assert found.findings[1].gravity is Gravity.WARNS
    assert found.findings[0].remedy.startswith("Start it")


def test_a_disk_with_little_room_is_named(config: Config) -> None:
    config = replace(config, least_free_bytes=1 << 60)
    assert causes(config) == ["not-running", "disk"]


@pytest.fixture
def held(config: Config) -> Iterator[Config]:
    """A node whose data somebody has open."""
    lock = DirectoryLock(config.data)
    yield config
    lock.release()


def test_a_process_that_has_the_data_and_does_not_answer_hangs_or_starts(held: Config) -> None:
    found = examined(held)
    (finding,) = found.findings
    assert finding.cause == "no-answer"
    assert str(held.data) in finding.what
    assert str(held.admin_listen) in finding.evidence[1]


def test_a_look_leaves_the_data_to_whoever_starts_next(config: Config) -> None:
    DirectoryLock(config.data).release()
    assert causes(config) == ["not-running"]
    DirectoryLock(config.data).release()
    assert os.listdir(config.data).count("lock") == 1  # noqa: PTH208


def test_one_that_stopped_before_rules_that_it_does_not_know_is_told_what_to_install(
    config: Config,
) -> None:
    line = (
        '{"level": "error", "event": "node halts", "reason": "version 2 is in force"'
        ', "version": 2, "height": 9, "known": [1]}'
    )
    lines = [line, "error: from block 9 on version 2 is in force", "hint:  install it"]
    (config.home / LOG_FILE).write_text("\n".join(lines), "utf-8")
    finding = examined(config).findings[1]
    assert (finding.cause, finding.gravity) == ("upgrade", Gravity.STOPS)
    assert "before block 9, which is under version 2" in finding.what
    assert "a release that knows version 2" in finding.remedy
