"""What is left on the chain of what was erased opens to nothing that anybody still has.

Whoever searches has every disk: both vaults with their keys and sealing keys, keyrings and their
copies, backups of the data that were made before, what nodes hold, what was said in logs. He knows
what he looks for: the true amount, the ids. Before the erasure he opens all of it.
"""

import base64
import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from contracts import erasure as on_chain
from contracts.calls import Leg, Part
from contracts.commitment import Opening, erasure_commitment, mark_of
from contracts.errors import BadScalar
from contracts.sd_jwt import parse as parse_sd_jwt
from node.client import keyring_copies, lots, prescriptions, sealing
from node.client.acts import Acts
from node.client.client import ClaimView
from node.client.doomed import Selection
from node.client.errors import ClientError
from node.client.keyring_copies import standing_still
from tests.node.client import desk
from tests.node.client.burglary import forced
from tests.node.client.street import run
from tests.node.client.test_erasing import ONE
from tests.node.client.test_erasing_by_post import FILES, Forgetting

_WORD = re.compile(rb"[A-Za-z0-9+/_=-]{40,88}")
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TEXT = re.compile(rb"[A-Za-z0-9_-]{20,4000}")


@dataclass(frozen=True)
class Left:
    """What stands on the chain for ever of one claim, and what the searcher knows of it."""

    view: ClaimView
    cents: int
    erasures: tuple[bytes, ...]  # commitments
    digests: frozenset[str]  # of the fields of both documents, from the documents as they were


def opened(left: Left, found: bytes) -> set[str]:
    """Return what opens with anything in these bytes."""
    jwts = {sha256(each).hexdigest() for each in _JWT.findall(found)}
    names = {left.view.prescription: "prescription", left.view.document: "document"}
    result = {name for commitment, name in names.items() if commitment in jwts}
    texts = (sha256(each).digest() for each in _TEXT.findall(found))
    if left.digests & {base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in texts}:
        result.add("field")
    marks = {mark.mark for mark in left.view.marks}
    for value in _values(found):
        try:
            if Opening(left.cents, value).commitment().hex() == left.view.amount:
                result.add("amount")
        except BadScalar:
            pass
        if marks & {mark_of(value, leg, part, 0).hex() for leg in Leg for part in Part}:
            result.add("mark")
        if erasure_commitment(value, bytes.fromhex(left.view.id)) in left.erasures:
            result.add("erasure")
    return result


def _values(found: bytes) -> Iterator[bytes]:
    """Yield every 32 bytes that stand there in hexadecimal or base64."""
    seen = set()
    for word in set(_WORD.findall(found)):
        for size, decode in ((64, bytes.fromhex), (44, base64.b64decode), (43, _base64url)):
            for at in range(len(word) - size + 1) if len(word) < 80 else ():
                try:
                    value = decode(word[at : at + size].decode())
                except ValueError:
                    continue
                if len(value) == 32:
                    seen.add(value)
    yield from seen


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=")


def everything(two: Forgetting, *backups: Path) -> bytes:
    """Return all that is on any disk, opened with every key that anybody has."""
    parts = [path.read_bytes() for path in two.folder.rglob("*") if path.is_file()]
    for file in FILES.values():
        keyring = two.folder / f"{file}.keys"
        datas = [two.folder / f"{file}.sqlite", *(each / f"{file}.sqlite" for each in backups)]
        rings = [keyring, *(each / f"{file}.keys" for each in backups)]
        for data in datas:
            for ring in rings:
                if data.exists() and ring.exists():
                    parts += _told(data, ring, two.folder / "forced")
    for raw in two.node.box.waiting.values():
        parts += _unsealed(raw[1])
    parts += [
        *two.node.raws.values(),
        *(v for pair in two.node.world.state.pairs.items() for v in pair),
    ]
    parts += [each.encode() for each in two.said]
    return b"\n".join(parts)


def _told(data: Path, ring: Path, work: Path) -> Iterator[bytes]:
    """Yield what data and a keyring say, and what was sealed in it."""
    for content in forced(data, ring, work):
        yield content
        value = json.loads(content)
        for held in ("disclosure", "envelope"):
            yield from _unsealed(base64.b64decode(value.get(held) or ""))


def _unsealed(data: bytes) -> list[bytes]:
    """Return what was sealed to either of them, wherever it stands in these bytes."""
    found = [data]
    for at in re.finditer(rb'\{\s*"format": "depoli/sealed/1".*?\}', data, re.DOTALL):
        for name in FILES:
            try:
                found.append(sealing.unseal(at[0], "x", desk.seed_of(name)))
            except ClientError:
                continue
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Forgetting:
    return Forgetting.of(tmp_path_factory.mktemp("before"))


def test_what_was_erased_opens_to_nothing_that_is_left_anywhere(
    before: Forgetting, tmp_path: Path
) -> None:
    two = before.again(tmp_path / "two")
    claim = two.claims[0]
    record = lots.load(two.vaults["shop"], claim.hex())[1]
    papers = (record.document, lots.prescription_of(two.vaults["shop"], record).document)
    digests = frozenset(each.digest for text in papers for each in parse_sd_jwt(text).disclosures)
    view = run(two.node.claim(claim))
    other = run(two.node.claim(two.claims[1]))
    others_cents = lots.load(two.vaults["shop"], other.id)[1].amount_cents

    def left() -> Left:
        pairs = two.node.world.state.pairs
        found = [on_chain.load(two.node.world.state, key[1:]) for key in pairs if key[:1] == b"E"]
        return Left(
            view,
            record.amount_cents,
            tuple(each.commitment for each in found if each is not None),
            digests,
        )

    # Data that was backed up, and a copy of the keyring that the program knows of, each apart.
    data, ring, stolen, later = (tmp_path / name for name in ("data", "ring", "stolen", "later"))
    for folder in (data, ring, stolen, later):
        folder.mkdir()
    for name, file in FILES.items():
        shutil.copy(two.folder / f"{file}.sqlite", data)
        shutil.copy(two.folder / f"{file}.keys", stolen)
        files = two.vaults[name].files
        keyring = ring / f"{file}.keys"
        with standing_still(files) as edition:
            keyring_copies.copy_into(files, "keyring", keyring)
        keyring_copies.remember(files, ring, edition, is_keyring=True)
    all_of_it = {"prescription", "document", "field", "amount", "mark"}
    assert opened(left(), everything(two, data, ring)) == all_of_it

    two.erase()
    # The payer has what it was shown until it answers; the secret of the marks it never had.
    held = opened(left(), everything(two, data, ring))
    assert held == all_of_it - {"mark"} | {"erasure"}
    run(two.post("insurer").collect())
    for file in FILES.values():
        shutil.copy(two.folder / f"{file}.sqlite", later)
    two.answer()
    run(two.post("shop").collect())
    two.erase()
    remains = everything(two, data, ring, later)
    assert opened(left(), remains) == set()
    assert ONE.encode() not in remains
    assert base64.b64encode(claim) not in remains  # as vaults write ids, and nobody else

    # He who searches would find it: what was not erased opens, by the old backup as well.
    living = Left(other, others_cents, (), frozenset())
    assert opened(living, remains) >= {"prescription", "document", "amount", "mark"}
    # A keyring that somebody copied, and the data of its day: what no program can help against.
    assert opened(left(), everything(two, data, stolen)) >= all_of_it
    two.close()


def test_the_document_before_a_rectification_opens_no_more(
    before: Forgetting, tmp_path: Path
) -> None:
    two = before.again(tmp_path / "two")
    vault, us = two.vaults["shop"], desk.sender("shop", two.node)
    view = run(two.node.claim(two.claims[0]))
    held = prescriptions.load(vault, ONE)[1]
    digests = frozenset(each.digest for each in parse_sd_jwt(held.document).disclosures)
    old = Left(view, -1, (), digests)
    acts = Acts(vault, two.node, us, wait_s=5, say=desk.silent)
    mended = dataclasses.replace(held.prescription, right=held.prescription.left)
    assert run(prescriptions.supersede(vault, acts, us, ONE, mended)).code == 0
    backup = tmp_path / "backup"
    backup.mkdir()
    shutil.copy(two.folder / "shop.sqlite", backup)
    assert opened(old, everything(two, backup)) >= {"prescription", "field"}
    two.erase(Selection((ONE,), earlier=True))
    two.answer()
    remains = everything(two, backup)
    # The claim stays, and the secret goes on with the rectified prescription.
    assert opened(old, remains) == {"document", "mark"}
    assert prescriptions.load(vault, ONE)[1].document.encode() in remains
    two.close()
