"""`depoli tlog prove` and `verify`: an entry of a running node, in a file that proves it."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contracts.genesis_json import signed_json
from ledger.checkpoint import Note, parse_note, sign
from ledger.keys import SigningKey
from ledger.log_proof import parse
from node.cli.main import main
from node.errors import Exit
from node.witness import standing
from tests.chainmaker import found
from tests.node.cluster import prescription, run
from tests.node.test_api import served


def cli(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, args)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genesis, a receipt, proofs of it, and a witness that saw the log between."""
    folder = tmp_path_factory.mktemp("tlog")
    genesis, receipt = ("--genesis", folder / "genesis"), folder / "receipt"

    async def take() -> None:
        async with served(folder / "node") as door:
            (folder / "genesis").write_text(signed_json(door.genesis))
            log = (*genesis, "--log", f"{door.url}/tlog")
            sent = [prescription(door.genesis, number) for number in range(5)]
            await door.send(*sent)
            answer = await door.get(f"/v1/receipts/{sent[2].id.hex()}/0")
            receipt.write_bytes(answer.body)
            witness = ("--data", folder / "witness", "--name", "witness.example/w1", "--once")
            done = await asyncio.to_thread(cli, "witness", "run", *log, *witness)
            assert done.exit_code == Exit.OK, done.output
            (cosigned,) = (folder / "witness" / "public").glob("*/checkpoint")
            (folder / "cosigned").write_bytes(cosigned.read_bytes())
            await door.send(prescription(door.genesis, 6))
            prove = ("tlog", "prove", receipt, *log, "-o")
            done = await asyncio.to_thread(cli, *prove, folder / "plain", "--json")
            assert done.exit_code == Exit.OK, done.output
            assert json.loads(done.stdout)["log_size"] == 6
            again = await asyncio.to_thread(cli, *prove, folder / "plain")
            assert again.exit_code == Exit.FAILED
            seen = ("--cosigned", folder / "cosigned")
            done = await asyncio.to_thread(cli, *prove, folder / "witnessed", *seen)
            assert done.exit_code == Exit.OK, done.output
            text = (folder / "cosigned").read_text()
            for size, reason in (("7", "to 6"), ("2", "to 6"), ("4", "proof fails")):
                (folder / "false").write_text(text.replace("\n5\n", f"\n{size}\n"))
                wrong = ("--cosigned", folder / "false")
                done = await asyncio.to_thread(cli, *prove, folder / "wrong", *wrong)
                assert done.exit_code == Exit.VERIFICATION_FAILED, done.output
                assert reason in done.stderr
                assert not (folder / "wrong").exists()

    run(take())
    return folder


def test_a_proof_shows_the_entry_of_the_receipt(made: Path) -> None:
    options = ("--genesis", made / "genesis")
    done = cli("tlog", "verify", made / "plain", *options, "--json")
    assert done.exit_code == Exit.OK, done.output
    told = json.loads(done.stdout)
    receipt = json.loads((made / "receipt").read_text())
    for field in ("transaction", "position", "height"):
        assert told[field] == receipt["entry"][field]
    assert (told["applied"], told["log_size"], told["witnesses"]) == (True, 6, 0)
    assert told["entry"] == receipt["log_index"] == parse((made / "plain").read_bytes()).index


def test_a_witness_is_asked_for_and_found_or_not(made: Path) -> None:
    key = standing(made / "witness").cosigner.encode()
    options = ("--genesis", made / "genesis", "--witness", key)
    done = cli("tlog", "verify", made / "witnessed", *options)
    assert done.exit_code == Exit.OK, done.output
    assert done.stdout.endswith("verified\n")
    done = cli("tlog", "verify", made / "plain", *options)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "did not cosign" in done.stderr


def test_a_changed_proof_is_refused(made: Path, tmp_path: Path) -> None:
    text = (made / "plain").read_text()
    index = parse(text.encode()).index
    changed = tmp_path / "changed"
    changed.write_text(text.replace(f"index {index}\n", f"index {index ^ 1}\n"))
    done = cli("tlog", "verify", changed, "--genesis", made / "genesis")
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")


def test_what_several_witnesses_cosigned_is_one_note(made: Path, tmp_path: Path) -> None:
    options = ("--genesis", made / "genesis", "-o")
    note = parse_note((made / "cosigned").read_bytes())
    name, key = "witness.example/w2", SigningKey(bytes(32))
    other = tmp_path / "other"
    line = sign(note.text, name, key)
    other.write_bytes(Note(note.text, (line, *note.signatures[:1])).encode())
    done = cli("tlog", "join", other, made / "cosigned", *options, tmp_path / "joined", "--json")
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["log_size"] == 5
    joined = parse_note((tmp_path / "joined").read_bytes())
    assert joined.text == note.text
    assert set(joined.signatures) == {line, *note.signatures}
    assert joined.signatures[0].name == note.text.partition("\n")[0]

    other.write_bytes(Note(note.text.replace("\n5\n", "\n4\n"), (line,)).encode())
    done = cli("tlog", "join", made / "cosigned", other, *options, tmp_path / "x")
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert f"checkpoint in {other}" in done.stderr
    (tmp_path / "genesis").write_text(signed_json(found()))
    foreign = ("--genesis", tmp_path / "genesis", "-o", tmp_path / "x")
    done = cli("tlog", "join", made / "cosigned", *foreign)
    assert "chain of the checkpoint" in done.stderr
    done = cli("tlog", "join", made / "receipt", *options, tmp_path / "x")
    assert "malformed note" in done.stderr
    assert not (tmp_path / "x").exists()
