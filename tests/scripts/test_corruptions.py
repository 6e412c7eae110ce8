"""The campaign of changed bytes in its short form, and that it would notice what it looks for."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import snapshots
from node.kept import KeptFile
from node.rebuild import Rebuild, Verdict
from scripts import corruptions, recheck
from scripts.corruptions import FAILED, Campaign

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("segments", "state", "segments", "state", "snapshots", "journal", "kept", "pruned")
SHORT = 4 * len(PARTS)  # each part, with each engine; as many exports, half of them mended


def seed_of(part: str) -> int:
    """Return the seed of a corruption of a part of the data."""
    return 4 * PARTS.index(part) + 1


def test_every_changed_byte_is_noticed_or_means_nothing() -> None:
    command = [sys.executable, "scripts/corruptions.py", "--seeds", f"1000-{999 + SHORT}", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["failed"], told["failures"]) == (0, 0, []), done.stderr
    assert told["corruptions"] == SHORT == told["detected"] + told["harmless"]
    assert told["harmless"] < SHORT // 8


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("seed", [0, 2])
def test_an_export_that_nobody_looks_at_is_a_failure(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recheck, "check_chain", lambda _: None)
        assert campaign.run(seed).verdict == FAILED  # the second opinion says nothing
    monkeypatch.setattr(corruptions, "verify_export", lambda *_, **__: None)
    assert campaign.run(seed).verdict == FAILED


def test_damage_that_is_not_named_is_a_failure(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: object) -> Iterator[str]:
        return iter(())

    monkeypatch.setattr(Rebuild, "verify", lambda _: Verdict(1, (), ""))
    monkeypatch.setattr(KeptFile, "lost", lambda _: [])
    monkeypatch.setattr(snapshots.Snapshot, "verify", nothing)
    monkeypatch.setattr(snapshots.Snapshot, "open", lambda *_: _Blind())
    for part in ("segments", "snapshots", "kept"):
        told = campaign.run(seed_of(part))
        assert told.verdict == FAILED, told
        assert "Unnoticed" in told.said


class _Blind:
    def verify(self) -> None:
        pass


def test_a_verifier_that_ends_with_a_traceback_is_a_failure(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(_: Rebuild) -> Verdict:
        raise ZeroDivisionError

    monkeypatch.setattr(Rebuild, "verify", fall)
    told = campaign.run(seed_of("state"))
    assert (told.verdict, "ZeroDivisionError" in told.said) == (FAILED, True)


def test_another_state_is_never_harmless(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rebuild, "verify", lambda _: Verdict(1, (), ""))
    monkeypatch.setattr(corruptions, "_contents", lambda _: [(b"another", b"state")])
    assert campaign.run(seed_of("state")).verdict == FAILED
