"""Passphrases at next to no cost, and a token in software: how slow they are is not tested."""

import subprocess
from pathlib import Path
from typing import Final

import pytest
from nacl.pwhash import argon2id

MODULE: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN: Final = "271828"


def make_passphrases_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2id, "OPSLIMIT_MODERATE", 1)
    monkeypatch.setattr(argon2id, "MEMLIMIT_MODERATE", 8192)


def cheap_passphrases() -> None:
    """Make them cheap for good, in a process of a test's own."""
    argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE = 1, 8192


def make_token(folder: Path, monkeypatch: pytest.MonkeyPatch, *labels: str) -> None:
    """Make tokens of these labels in SoftHSM, or skip where it is not."""
    pytest.importorskip("pkcs11")
    if not MODULE.exists():
        pytest.skip("softhsm2 is not installed")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    for label in labels:
        words = ["softhsm2-util", "--init-token", "--free", "--label", label]
        subprocess.run(
            [*words, "--pin", PIN, "--so-pin", "31415926"], check=True, capture_output=True
        )
