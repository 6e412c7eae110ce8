"""`depoli receipt print`: one page in two languages, of what verifies only."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import msgspec
import pytest
import segno
from click.testing import CliRunner, Result

from contracts.calls import ClaimGround, Ground, Reason
from contracts.calls.marks import Leg
from contracts.errors import Refusal
from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from contracts.registry import Family
from ledger.receipt import to_json
from ledger.transaction import created_id
from node.chain import Chain
from node.cli import printing
from node.cli.main import main
from node.cli.qr import TooLongForQr
from node.cli.receipt_page import Page, page
from node.client import french
from node.client.client import CallOutcome
from node.client.events import EntryView
from node.client.words import DEEDS
from node.errors import Exit
from tests import chainmaker

SIGNATURES: Final = DirectSignatures()
APPLIED: Final = CallOutcome(0, "APPLIED")
TX: Final = "cd" * 32
MADE: Final = created_id(bytes.fromhex(TX), 0).hex()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genesis and the receipt of each kind of call, by its name and outcome."""
    folder = tmp_path_factory.mktemp("printed")
    story = chainmaker.story()
    (folder / "genesis").write_text(signed_json(story.genesis))
    other = chainmaker.found(others=(("shop-z", Family.OPTICIAN),))
    (folder / "other").write_text(signed_json(other))
    chain = Chain.open(folder / "data", story.genesis.genesis, SIGNATURES)
    for committed in story.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    for executed in story.executed:
        for entry in executed.entries:
            view = printing.view_of(entry, 0)
            receipt = chain.receipt(entry.transaction, entry.position)
            assert receipt is not None
            (folder / f"{view.call}.{view.outcome.name}").write_text(to_json(receipt))
    chain.close()
    return folder


def cli(kept: Path, file: Path, output: Path, *more: str | Path) -> Result:
    line = ["receipt", "print", str(file), "-o", str(output), *map(str, more)]
    if "--genesis" not in more:
        line += ["--genesis", str(kept / "genesis")]
    done = CliRunner().invoke(main, line)
    assert "fault of depoli" not in done.output
    return done


def refused(done: Result, code: Exit, words: str) -> None:
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr


def plain(text: str) -> str:
    """Return what a reader sees."""
    seen = html.unescape(re.sub(r"<[^>]*>", " ", text)).replace("\N{NARROW NO-BREAK SPACE}", " ")
    return re.sub(r"\s+", " ", seen)


class Tags(HTMLParser):
    """What is opened and not closed, and what leads elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.leads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.leads += [name for name, _ in attrs if name in {"href", "src", "action"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in {"meta", "br"}:
            self.open.pop()


def told(call: str, outcome: CallOutcome = APPLIED, **says: str | bool) -> Page:
    entry = EntryView(
        call,
        "ab" * 16,
        1_234,
        1_800_000_000,
        TX,
        0,
        says,
        (),
        outcome,
        count=0,
        number=5,
        fields={"claim": "12" * 32},
    )
    return Page(
        network="example",
        chain="ef" * 32,
        entry=entry,
        sender="shop-a",
        payee=None,
        header="01" * 32,
        height=1_240,
        log_size=6,
        signed=3,
        of=4,
        are_changed=False,
        svg="<svg></svg>",
    )


def test_a_receipt_is_printed_in_both_languages_with_its_code(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    done = cli(kept, kept / "ClaimSubmit.APPLIED", out, "--json")
    assert done.exit_code == Exit.OK, done.stderr
    result = json.loads(done.stdout)
    assert (result["file"], result["sender"]) == (str(out), "shop-a")
    text = out.read_text()
    tags = Tags()
    tags.feed(text)
    assert (tags.open, tags.leads) == ([], [])
    assert "svg" in tags.seen
    assert "script" not in tags.seen
    assert not re.search(r"https?://(?!www\.w3\.org/)|url\(|@import", text)
    seen = plain(text)
    proof = msgspec.json.decode((kept / "ClaimSubmit.APPLIED").read_bytes())["entry"]
    made = created_id(bytes.fromhex(proof["transaction"]), proof["position"]).hex()
    for words in (
        f"shop-a a déposé la demande de remboursement {made[:16]}… Destinataire : insurer-a.",
        f"Claim {made[:16]}…: shop-a submitted it: complementary. Addressed to insurer-a.",
        "inscrit et pris en compte dans le registre « example »",
        'recorded, and took effect, in the ledger "example"',
        "3 validateurs sur 4 ont signé",
        "Cette page seule n'est pas une preuve",
        "This page alone is no proof",
        made,
        proof["transaction"],
    ):
        assert words in seen
    commands = [plain(each).strip() for each in re.findall(r"<li>.*?<code>(.*?)</code>", text)]
    assert [re.sub(" +", " ", each) for each in commands] == 2 * [
        "depoli genesis verify genesis.json",
        "depoli receipt verify receipt.json --genesis genesis.json",
        "depoli receipt verify scanned.txt --genesis genesis.json",
    ]


def test_every_call_of_a_chain_can_be_printed(kept: Path, tmp_path: Path) -> None:
    files = [path for path in kept.iterdir() if "." in path.name]
    assert len(files) > 15
    for path in files:
        out = tmp_path / f"{path.name}.html"
        done = cli(kept, path, out)
        assert done.exit_code == Exit.OK, done.stderr
        is_refused = not path.name.endswith(".APPLIED")
        assert ("inscrit comme refusé (sans effet)" in plain(out.read_text())) is is_refused


def test_what_is_false_or_of_another_chain_is_not_printed(kept: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "receipt.html", kept / "ClaimAccept.APPLIED"
    done = cli(kept, file, out, "--genesis", kept / "other")
    refused(done, Exit.VERIFICATION_FAILED, "chain id of the header")
    found = json.loads(file.read_text())
    found["entry"]["time"] += 1
    (tmp_path / "false").write_text(json.dumps(found))
    done = cli(kept, tmp_path / "false", out)
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    assert not out.exists()


def test_a_page_takes_no_place_of_another_file(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    out.write_text("ours")
    file = kept / "ClaimAccept.APPLIED"
    refused(cli(kept, file, out), Exit.FAILED, "is not overwritten")
    assert out.read_text() == "ours"
    refused(cli(kept, file, tmp_path / "receipt.json"), Exit.USAGE, "must end with .html")


def test_a_receipt_that_no_code_holds_is_printed_without(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(text: str) -> segno.QRCode:
        raise TooLongForQr(len(text))

    monkeypatch.setattr(printing, "draw", draw)
    out = tmp_path / "receipt.html"
    done = cli(kept, kept / "ClaimAccept.APPLIED", out)
    assert done.exit_code == Exit.OK, done.stderr
    assert "no QR code holds this receipt: hand out its file with the page" in done.stdout
    text = out.read_text()
    assert "<svg" not in text
    assert "scanned.txt" not in text
    assert "trop long pour un QR code : demandez-en le fichier." in plain(text)
    assert "too long for a QR code: ask for its file." in plain(text)


def test_whatever_a_name_says_is_no_markup() -> None:
    evil = "<script>alert(1)</script>&\"'"
    outcome = CallOutcome(1, evil, (), evil)
    for of in (told("ClaimAccept"), told("ClaimAccept", outcome), told(evil, outcome)):
        text = page(replace(of, network=evil, sender=evil, payee=evil, chain=evil, header=evil))
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_what_is_said_of_patients_is_said_where_there_are_some() -> None:
    for call, is_private in (("ClaimAccept", True), ("AddKey", False)):
        seen = plain(page(told(call)))
        assert ("l'identité du patient, la correction, les codes et" in seen) is is_private
        assert ("who the patient is, the correction, codes" in seen) is is_private


def test_after_a_change_of_validators_a_scanned_code_wants_more() -> None:
    seen = plain(page(replace(told("ClaimAccept"), are_changed=True)))
    assert seen.count("receipt verify scanned.txt --genesis genesis.json --changes later.json") == 2
    assert "un récépissé récent du réseau (later.json)" in seen


def test_every_deed_has_its_words_in_french() -> None:
    assert french.ACTS.keys() == DEEDS.keys()
    for grounds in (Reason, ClaimGround, Ground):
        assert {each.name for each in grounds} <= french.SAYS.keys()


def test_what_was_decided_is_said_with_its_reason() -> None:
    for page_, words in (
        (
            told("ClaimReject", reason="RIGHTS_CLOSED", automatic=True),
            (
                f"shop-a a rejeté la demande de remboursement {'12' * 8}… (droits fermés,"
                " décision prise par une machine)."
            ),
        ),
        (
            told("ClaimSubmit", CallOutcome(23, Refusal.MARK_ALREADY_USED.name), leg=Leg(1).name),
            (
                f"shop-a a voulu déposer la demande de remboursement {MADE[:16]}…,"
                " ce qui a été refusé : cet équipement de l'ordonnance fait déjà l'objet"
                " d'une demande, ici ou chez un autre opticien (MARK_ALREADY_USED)."
            ),
        ),
        (
            told("ReadySignal", CallOutcome(1, "UNHEARD_OF")),
            "shop-a a voulu inscrire l'acte ReadySignal, ce qui a été refusé (UNHEARD_OF).",
        ),
        (
            told("MarkLock", CallOutcome(20, "MARK_ALREADY_LOCKED")),
            (
                "shop-a a voulu réserver une marque à usage unique,"
                " ce qui a été refusé (MARK_ALREADY_LOCKED)."
            ),
        ),
    ):
        assert words in plain(page(page_))


def test_a_vote_says_what_it_was() -> None:
    vote = told("Vote", agrees=False)
    entry = msgspec.structs.replace(vote.entry, fields={"proposal": "12" * 32})
    seen = plain(page(replace(vote, entry=entry)))
    assert "shop-a a voté sur la proposition 1212121212121212… (contre)." in seen
    assert "Proposal 1212121212121212…: shop-a voted on it: no." in seen
