"""`depoli receipt` offline: the file, its short form, and the code that is drawn of it."""

import json
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.calls import PrescriptionCommit
from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from contracts.registry import Family
from ledger.entry import Outcome
from ledger.receipt import Receipt, to_json
from ledger.short_receipt import PREFIX, shorten, to_text
from ledger.validators import ValidatorSet
from node.chain import Chain
from node.cli.main import main
from node.cli.qr import QUIET, TooLongForQr, draw
from node.errors import Exit
from tests import chainmaker

SIGNATURES: Final = DirectSignatures()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genesis, and receipts from before and after its validators changed."""
    folder = tmp_path_factory.mktemp("receipts")
    story = chainmaker.upheaval()
    (folder / "genesis").write_text(signed_json(story.genesis))
    other = chainmaker.found(others=(("shop-z", Family.OPTICIAN),))
    (folder / "other").write_text(signed_json(other))
    chain = Chain.open(folder / "data", story.genesis.genesis, SIGNATURES)
    for committed in story.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    entries = [entry for executed in story.executed for entry in executed.entries]
    for name, entry in (("early", entries[0]), ("late", entries[-1])):
        receipt = chain.receipt(entry.transaction, entry.position)
        assert receipt is not None
        (folder / name).write_text(to_json(receipt))
        (folder / f"{name}.text").write_text(to_text(shorten(receipt, voters(receipt, story))))
    chain.close()
    return folder


def voters(receipt: Receipt, story: chainmaker.Chain) -> ValidatorSet:
    if receipt.changes:
        return receipt.changes[-1].validators
    return story.genesis.genesis.validator_set


def cli(kept: Path, *args: str | Path, text: str | None = None) -> Result:
    line = ["receipt", *map(str, args)]
    if "--genesis" not in args:
        line += ["--genesis", str(kept / "genesis")]
    done = CliRunner().invoke(main, line, input=text)
    assert "fault of depoli" not in done.output
    return done


def refused(done: Result, code: Exit, words: str) -> None:
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr


@pytest.mark.parametrize("name", ["early", "late"])
def test_the_short_form_says_what_the_receipt_says(kept: Path, name: str) -> None:
    whole = cli(kept, "verify", kept / name, "--json")
    assert whole.exit_code == Exit.OK, whole.stderr
    text = (kept / f"{name}.text").read_text()
    more = () if name == "early" else ("--changes", kept / "late")
    short = cli(kept, "verify", kept / f"{name}.text", *more, "--json")
    assert short.exit_code == Exit.OK, short.stderr
    assert json.loads(short.stdout) == json.loads(whole.stdout)
    piped = cli(kept, "verify", "-", *more, text=f"\n{text[:50]}\n{text[50:]}\n")
    assert piped.exit_code == Exit.OK, piped.stderr
    assert piped.stdout.endswith("verified\n")


def test_a_short_form_from_after_a_change_wants_the_changes(kept: Path) -> None:
    for more in ((), ("--changes", kept / "early")):
        done = cli(kept, "verify", kept / "late.text", *more)
        refused(done, Exit.VERIFICATION_FAILED, "vote as far as their changes are known")
        assert (
            "hint:  name any later receipt, proof or decided block: --changes FILE" in done.stderr
        )


def test_a_short_form_of_another_chain_is_refused(kept: Path) -> None:
    done = cli(kept, "verify", kept / "early.text", "--genesis", kept / "other")
    refused(done, Exit.VERIFICATION_FAILED, "beginning of the chain id: expected")


def test_what_is_no_short_form_is_refused(kept: Path, tmp_path: Path) -> None:
    text = (kept / "early.text").read_text()
    changed = text[:600] + str(9 - int(text[600])) + text[601:]
    for wrong in (PREFIX, f"{PREFIX}12x", text[:-1], text + "0", changed):
        (tmp_path / "wrong").write_text(wrong)
        done = cli(kept, "verify", tmp_path / "wrong")
        assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    (tmp_path / "wrong").write_bytes(b"\xff" + text.encode())
    refused(cli(kept, "verify", tmp_path / "wrong"), Exit.VERIFICATION_FAILED, "not text in UTF-8")
    refused(cli(kept, "verify", tmp_path / "none"), Exit.NOT_INITIALISED, "does not exist")


def test_changes_are_for_a_short_form_and_must_be_some(kept: Path, tmp_path: Path) -> None:
    done = cli(kept, "verify", kept / "late", "--changes", kept / "late")
    refused(done, Exit.USAGE, "a receipt in JSON has its changes itself")
    for wrong, reason in (("[]", "no changes of validators"), ("{", "malformed file")):
        (tmp_path / "wrong").write_text(wrong)
        done = cli(kept, "verify", kept / "late.text", "--changes", tmp_path / "wrong")
        refused(done, Exit.VERIFICATION_FAILED, reason)


def test_what_rules_to_come_have_made_is_told(kept: Path, tmp_path: Path) -> None:
    """A quorum signed it, so there are rules by which it is a call; they are not known here."""
    story = chainmaker.Chain()
    story.block(story.transaction("shop-a", PrescriptionCommit(bytes(32))))
    entry = story.executed[0].entries[0]
    for change in ({"call": b"\x91\xcd\xff\xff"}, {"outcome": Outcome(65_535)}):
        later = msgspec.structs.replace(entry, **change)
        head = msgspec.structs.replace(story.blocks[0].block.header, log_root=later.leaf())
        receipt = Receipt(later, 0, (), head, story.certify(1, head.hash), ())
        (tmp_path / "genesis").write_text(signed_json(story.genesis))
        (tmp_path / "later").write_text(to_json(receipt))
        done = cli(kept, "verify", tmp_path / "later", "--genesis", tmp_path / "genesis")
        refused(done, Exit.VERIFICATION_FAILED, "not known to this software: it is of version 1")


@pytest.mark.parametrize("name", ["early", "late"])
def test_a_code_is_drawn_of_what_verifies(kept: Path, name: str, tmp_path: Path) -> None:
    drawn = tmp_path / "code.svg"
    done = cli(kept, "qr", kept / name, "-o", drawn, "--json")
    assert done.exit_code == Exit.OK, done.stderr
    told = json.loads(done.stdout)
    assert told["text"] == (kept / f"{name}.text").read_text()
    assert told["modules"] == 17 + 4 * told["version"] + 2 * QUIET
    root = ET.fromstring(drawn.read_text())  # noqa: S314 - our own
    assert root.attrib["width"] == f"{told['modules'] / 2}mm"
    again = cli(kept, "qr", kept / name, "-o", drawn)
    refused(again, Exit.FAILED, "is not overwritten")


def test_a_code_is_shown_and_its_text_printed(kept: Path) -> None:
    done = cli(kept, "qr", kept / "early")
    assert done.exit_code == Exit.OK, done.stderr
    lines = done.stdout.splitlines()
    side = len(lines[0])
    assert set(lines[0]) == {"█"}
    assert [len(line) for line in lines[: (side + 1) // 2]] == [side] * ((side + 1) // 2)
    printed = cli(kept, "qr", kept / "early", "--text")
    assert printed.stdout == (kept / "early.text").read_text() + "\n"


def test_nothing_is_drawn_of_what_does_not_verify(kept: Path, tmp_path: Path) -> None:
    other = ("--genesis", kept / "other")
    done = cli(kept, "qr", kept / "early", "-o", tmp_path / "code.svg", *other)
    refused(done, Exit.VERIFICATION_FAILED, "chain id of the header")
    assert not (tmp_path / "code.svg").exists()
    done = cli(kept, "qr", kept / "early.text")
    refused(done, Exit.VERIFICATION_FAILED, "malformed receipt")


def test_a_code_is_drawn_to_an_svg_or_its_text_printed(kept: Path, tmp_path: Path) -> None:
    refused(cli(kept, "qr", kept / "early", "-o", tmp_path / "x.png"), Exit.USAGE, "end with .svg")
    both = cli(kept, "qr", kept / "early", "-o", tmp_path / "x.svg", "--text")
    refused(both, Exit.USAGE, "leave out one")


def test_what_fits_in_no_code_says_what_to_hand_out_instead() -> None:
    assert draw(PREFIX + "1" * 7_000).version == 40
    with pytest.raises(TooLongForQr, match="no QR code holds the 8,008 characters") as told:
        draw(PREFIX + "1" * 8_000)
    assert told.value.hint == ("hand out the JSON file, or the text: depoli receipt qr --text")


def test_a_code_holds_prefix_and_digits_each_in_its_mode() -> None:
    # 3,030 digits in numeric mode beside the prefix: version 25, which letters alone would pass.
    assert draw(PREFIX + "1" * 3_030).designator == "25-L"
