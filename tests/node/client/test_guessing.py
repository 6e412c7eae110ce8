"""Who holds the whole chain and a list of all that may have been typed learns nothing of it.

The attacker is given more than anybody has: the key that signed the documents, the day, the
prescriber, the reference, the amounts' parts and one of the two eyes. Only salts, blindings and the
marks' secret are kept from it. That its attack works is shown on the same shop without those.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from contracts import documents as contract
from contracts.documents import SALT_BYTES
from contracts.nomenclature.codes import Codes, CodeTable
from contracts.nomenclature.correction import Correction
from contracts.nomenclature.tables import parse_table
from contracts.reference import TableKind
from ledger.hashing import HASH_BYTES
from node.audit.guesses import Breadth, Guesses
from node.client import documents, lots
from node.client.packaged import table_file
from node.client.records import ClaimRecord, Progress
from node.client.request import ClaimRequest
from tests.contracts.world import key_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, request
from tests.node.client.street import run

TABLE: Final = parse_table(table_file(TableKind.OPTICS_CODES), CodeTable)
LISTED: Final = Breadth(3_00, 1_00, 30, 0, 140_00, (2024, 2026))  # hashes of single things
NOTHING: Final = bytes(32)
issue: Final = contract.issue


def unsalted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    """Issue a document whose salts anybody knows: the numbers of its fields."""
    type_, values, salts = args
    known = [bytes((number,)) * SALT_BYTES for number in range(len(salts))]
    return issue(type_, values, known, **kwargs)


def leave_out_chance(patch: pytest.MonkeyPatch) -> None:
    """Let what a shop makes follow from what was typed, and its keys, alone."""
    patch.setattr(contract, "issue", unsalted)
    patch.setattr(lots, "secrets", SimpleNamespace(token_bytes=bytes))  # marks and blindings


def submitted(folder: Path) -> tuple[MemoryNode, ClaimRecord]:
    """Return a chain with one claim, and what the shop's vault keeps of it."""
    node = MemoryNode()
    sender = desk.sender("shop", node)
    folder.mkdir()
    with desk.open_vault(folder, "shop") as vault:
        with vault.changes():
            lots.prepare(vault, sender, request(), MEMBERS.id_of)
        asked = lots.submit(vault, node, sender, ["F2025-0003"], wait_s=5, say=desk.silent)
        (record,) = run(asked)
    assert record.progress is Progress.COMMITTED
    return node, record


def everything(node: MemoryNode) -> set[bytes]:
    """Return all 32 bytes in a row that stand anywhere in the transactions or in the state."""
    held = [*node.raws.values(), *(key + value for key, value in node.world.state.pairs.items())]
    return {
        data[start : start + HASH_BYTES]
        for data in held
        for start in range(len(data) - HASH_BYTES + 1)
    }


def corrections() -> Iterator[Correction]:
    """Yield what a right eye may need: among it is what was typed."""
    spheres, cylinders, axes = range(-600, 601, 25), range(25, 201, 25), range(15, 181, 15)
    for sphere in spheres:
        yield Correction(sphere)
        for cylinder, axis in product(cylinders, axes):
            yield Correction(sphere, cylinder, axis)


def codes() -> Iterator[Codes]:
    """Yield two lenses of any code, with a frame of any or none."""
    lenses, frames = (
        [row.code for row in TABLE.codes if row.type == type_] for type_ in ("lens", "frame")
    )
    for right, left, frame in product(lenses, lenses, (None, *frames)):
        yield Codes(right, left, frame, ())


class Attacker:
    """Makes every document that may have been made, by the code that makes them, without salts."""

    def __init__(self, known: ClaimRequest) -> None:
        self._known, self._key = known, key_of("shop")
        self._listed = Guesses(TABLE, LISTED)
        assert known.prescribed is not None
        typed = known.prescribed.prescription
        self._prescriptions: dict[bytes, Correction] = {}
        for eye in corrections():
            document = documents.issue_prescription(replace(typed, right=eye), NOTHING, self._key)
            self._prescriptions[document.commitment] = eye

    def learns(self, seen: set[bytes], prescription: bytes) -> dict[str, object]:
        """Return what is found out of a chain; which prescription a claim rests on, it tells."""
        assert prescription in seen
        found: dict[str, object] = {}
        for commitment in seen & self._prescriptions.keys():
            found["correction"] = self._prescriptions[commitment]
        for each in codes():
            claim = replace(self._known, codes=each)
            if documents.issue_claim(claim, prescription, self._key).commitment in seen:
                found["codes"] = each
        suspects = {value for value in seen if self._listed.may_have(value)}
        for what, values in self._listed:
            if suspects and not suspects.isdisjoint(values):
                found[what] = True
        return found


def test_a_chain_is_not_guessed_and_the_same_without_salts_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, kept = submitted(tmp_path / "salted")
    assert kept.prescription is not None
    with monkeypatch.context() as patch:
        leave_out_chance(patch)
        bare_node, bare = submitted(tmp_path / "bare")
        assert bare.prescription is not None
        attacker = Attacker(request())
        learned = attacker.learns(everything(bare_node), bare.prescription)
        assert attacker.learns(everything(node), kept.prescription) == {}
    typed = request()
    assert typed.prescribed is not None
    assert learned == {
        "correction": typed.prescribed.prescription.right,
        "codes": typed.codes,
        "an amount without a blinding": True,
        "a mark without a secret": True,
    }
