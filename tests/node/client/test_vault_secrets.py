"""Commands as processes: what others see of them, and what they leave, holds nothing secret."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.client.records import ClaimRecord, PrescriptionRecord, every
from node.client.unlocking import Passphrase
from node.client.vault import Vault
from scripts.needles import Needles, Secret, unwrapped
from tests.node.client import cheap
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

ROOT = Path(__file__).parents[3]
WORDS = "monture verre axe pont"
NEW = "branche plaquette charniere"
WRONG = "lunettes de soleil cassees"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


@dataclass
class Watched:
    """A shop whose commands are processes, and all that was seen of them."""

    town: Town
    folder: Path
    seen: dict[str, bytes] = field(default_factory=dict)
    written: set[Path] = field(default_factory=set)

    def run(self, lines: str, *args: str | Path, code: int = 0, crash: bool = False) -> str:
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        words: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.node.client.observed",
            report,
            self.folder / "node",
        ]
        home = self.town.folder / "shop"
        done = subprocess.run(
            [*words, *(["--crash"] if crash else []), *args, "--home", home],
            input=lines.encode(),
            capture_output=True,
            check=False,
            cwd=ROOT,
            env=os.environ
            | {
                "TMPDIR": str(self.folder / "temporary"),
                "DEPOLI_DEBUG": "1" if crash else "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        name = " ".join(map(str, args[:2])) + f" {len(self.seen)}"
        assert done.returncode == code, done.stderr.decode()
        found = json.loads(report.read_text())
        for each in ("cmdline", "environ", "now"):
            self.seen[f"{name}: {each}"] = bytes.fromhex(found[each])
        self.seen[f"{name}: stderr"] = done.stderr
        (core,) = [line for line in found["limits"].splitlines() if "core file" in line]
        assert core.split()[4] == "0"  # the soft limit
        self.written |= {ROOT / each for each in found["written"] if each not in {"", "/dev/null"}}
        return done.stdout.decode()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    cheap.make_passphrases_cheap(monkeypatch)
    for name in ("town", "seen", "seen/temporary"):
        (tmp_path / name).mkdir()
    town = Town(tmp_path / "town", MemoryNode())
    path = town.folder / "shop" / "client.toml"
    path.write_text(path.read_text().replace('vault_key_file = "vault.key"\n', ""))
    return Watched(town, tmp_path / "seen")


def texts(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def secrets_of(watched: Watched) -> Iterator[Secret]:
    """Yield what nobody may see: what opens the vault, its keys, and what is in it."""
    for words in (WORDS, NEW, WRONG):
        yield Secret("a passphrase", words.encode())
    with Vault(watched.town.folder / "shop" / "vault.sqlite", Passphrase(NEW)) as vault:
        ring = vault._keyring
        yield from (Secret("a key", key) for key in (ring._key, ring._own, ring._names))
        for uid, wrapped in vault.files.database.execute("SELECT uid, wrapped FROM keyring.key"):
            yield Secret("a record's key", ring.unwrap(uid, wrapped))
        for _, claim in every(vault, ClaimRecord):
            yield Secret("a claim's document", claim.document.encode()[-400:])
            for insured in filter(None, (claim.insured, claim.authorisation)):
                yield Secret("a reference of the insured", insured.encode())
        for _, prescription in every(vault, PrescriptionRecord):
            yield Secret("the secret of marks", prescription.secret)
            for part in prescription.document.split("~")[1:-1]:  # each with its salt
                yield Secret("a disclosure of a document", part.encode())


def test_nothing_secret_is_seen_of_a_command_or_left_by_it(watched: Watched) -> None:
    town, out = watched.town, watched.folder
    typed = f"{WORDS}\n"
    claim = town.file("c.json", example(insured="ADH-40472499", authorisation="PEC-0618455"))
    other = town.file("d.json", example(4, reference="F2025-0009"))
    watched.run(typed, "claim", "submit", claim)
    shown = town.folder / "shown.json"
    watched.run(typed, "disclosure", "make", "F2025-0003", "--output", shown)
    watched.run(f"{WRONG}\n", "prescription", "list", code=12)
    watched.run(typed, "claim", "submit", other, code=1, crash=True)
    backup = ("vault", "backup", town.folder / "disk", "--keyring", town.folder / "stick")
    watched.run(typed, *backup)
    change = f"{WORDS}\n{NEW}\n{NEW}\n"
    watched.run(change, "vault", "rekey", "--passphrase", "--replace")
    found = list(secrets_of(watched))
    watched.run(f"{NEW}\n", "erase", "records", "F2025-0003", "--even-open", "--yes")
    found += secrets_of(watched)

    assert b"Broken: the node broke" in b"".join(watched.seen.values())  # a traceback was shown
    needles = Needles(found)
    assert needles.count > 500
    # It finds what is there: the payer of this world has no sealing key, and is shown in plain.
    assert any(list(needles.search(plain + bytes(8))) for plain in unwrapped(shown.read_bytes(), 1))
    places = dict(watched.seen)
    for path in town.folder.rglob("*"):
        if path.is_file() and path not in {claim, other, shown}:
            places[str(path)] = path.read_bytes()
    assert any(name.endswith("vault.sqlite") for name in places)
    for name, data in places.items():
        for plain in unwrapped(data, 1):
            assert not list(needles.search(plain + bytes(8))), name

    assert not list((out / "temporary").iterdir())
    mine = {path.parent for path in watched.written}
    assert all(path.is_relative_to(town.folder) for path in mine), mine
    cores = [*ROOT.glob("core*"), *town.folder.rglob("core*")]
    assert not cores
