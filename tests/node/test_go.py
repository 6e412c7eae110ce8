"""Go's own libraries of transparency logs read our log; it runs where Go is."""

import json
import os
import shutil
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.calls import PrescriptionCommit
from ledger.checkpoint import Checkpoint, Note, NoteKey, origin
from ledger.cosignature import Cosigner, cosign
from ledger.encoding import encode
from ledger.hashing import Hash
from ledger.keys import Role
from ledger.merkle import Frontier, consistency_proof, inclusion_proof, root_at
from ledger.tiles import Tile, bundles, encode_bundle
from tests.chainmaker import Chain, key_of, some_bytes
from tests.node.statics import publish

GO: Final = shutil.which("go")
SOURCE: Final = Path(__file__).parent.parent / "go" / "main.go"
WITNESS: Final = "witness.example/w1"
INDICES: Final = (0, 1, 255, 256, 300, 511, 512, 598, 599)
OLDER: Final = (1, 2, 255, 256, 257, 511, 512, 599, 600)


@dataclass
class Verifier:
    """The program, an export of a log, and what is expected of it."""

    program: Path
    export: Path
    facts: dict[str, Any]

    def run(self) -> subprocess.CompletedProcess[str]:
        path = self.export.parent / "facts.json"
        path.write_text(json.dumps(self.facts))
        command = [self.program, self.export, path]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _built(folder: Path) -> Path:
    """Return the program, built with the libraries that come with the toolchain."""
    assert GO is not None
    command = [GO, "env", "GOROOT", "GOVERSION"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    root, version = asked.stdout.split()
    language = ".".join(version.removeprefix("go").split(".")[:2])  # the library's own
    library = Path(root, "src/cmd/vendor/golang.org/x/mod/sumdb")
    for name in ("note", "tlog"):
        shutil.copytree(library / name, folder / "mod" / "sumdb" / name)
    (folder / "mod" / "go.mod").write_text(f"module golang.org/x/mod\n\ngo {language}\n")
    (folder / "go.mod").write_text(
        f"module verify\n\ngo {language}\n\nrequire golang.org/x/mod v0.0.0\n\n"
        "replace golang.org/x/mod => ./mod\n"
    )
    shutil.copy(SOURCE, folder)
    environment = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    subprocess.run([GO, "build", "-o", "verify", "."], cwd=folder, env=environment, check=True)
    return folder / "verify"


def _facts(chain: Chain, nodes: dict[tuple[int, int], Hash], cosigner: Cosigner) -> dict[str, Any]:
    size = chain.state.header.log_size

    def node_at(level: int, index: int) -> Hash:
        return nodes[level, index]

    def text(*hashes: bytes) -> list[str]:
        return [b64encode(each).decode() for each in hashes]

    return {
        "validators": [
            NoteKey(origin(chain.chain_id), key_of(label, Role.CHECKPOINT).public).encode()
            for label in chain.labels
        ],
        "cosigner": cosigner.encode(),
        "inclusion": [
            {"index": index, "proof": text(*inclusion_proof(index, size, node_at))}
            for index in INDICES
        ],
        "consistency": [
            {
                "old": old,
                "root": text(root_at(old, node_at))[0],
                "proof": text(*consistency_proof(old, size, node_at)),
            }
            for old in OLDER
        ],
    }


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    if GO is None:
        pytest.skip("there is no Go here")
    folder = tmp_path_factory.mktemp("go")
    (folder / "source").mkdir()
    chain = Chain()
    for number in range(3):
        calls = [PrescriptionCommit(some_bytes(number, each)) for each in range(200)]
        chain.block(chain.transaction("shop-a", *calls))
    export = publish(chain, folder / "export")
    entries = [encode(entry) for executed in chain.executed for entry in executed.entries]
    for bundle in bundles(len(entries)):
        path = export / bundle.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(entries[bundle.first : bundle.first + bundle.width]))
    checkpoint, key = Checkpoint.of(chain.state.header), key_of("witness", Role.CHECKPOINT)
    signed = [checkpoint.sign(key_of(label, Role.CHECKPOINT)) for label in chain.labels]
    signed.append(cosign(checkpoint.encode(), WITNESS, key, time=1_800_000_000))
    (export / "checkpoint").write_bytes(Note(checkpoint.encode(), tuple(signed)).encode())
    nodes: dict[tuple[int, int], Hash] = {}
    leaves = [entry.leaf() for executed in chain.executed for entry in executed.entries]
    Frontier().append(leaves, lambda level, index, node: nodes.update({(level, index): node}))
    facts = _facts(chain, nodes, Cosigner(WITNESS, key.public))
    return Verifier(_built(folder / "source"), export, facts)


def test_go_verifies_our_notes_tiles_entries_and_proofs(verifier: Verifier) -> None:
    done = verifier.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "600 entries, 9 and 9 proofs\n"


@pytest.mark.parametrize(
    "path",
    ["checkpoint", Tile(0, 0).path, Tile(0, 2, 88).path, Tile(1, 0, 2).path, "tile/entries/001"],
)
def test_go_refuses_what_was_changed(verifier: Verifier, path: str) -> None:
    changed = verifier.export / path
    true = changed.read_bytes()
    changed.write_bytes(true[:40] + bytes((true[40] ^ 1,)) + true[41:])
    try:
        assert verifier.run().returncode == 1
    finally:
        changed.write_bytes(true)


def test_go_refuses_another_proof_or_another_signer(verifier: Verifier) -> None:
    facts = verifier.facts
    other = Cosigner(WITNESS, key_of("shop-a", Role.CHECKPOINT).public).encode()
    first = facts["inclusion"][0]
    short = {**first, "proof": first["proof"][:-1]}
    moved = {**facts["consistency"][3], "old": 255}
    for wrong in ({"cosigner": other}, {"inclusion": [short]}, {"consistency": [moved]}):
        done = Verifier(verifier.program, verifier.export, {**facts, **wrong}).run()
        assert done.returncode == 1, wrong
