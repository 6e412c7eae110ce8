"""What the chain tells to belong together, of a shop's real transactions: what the page says, only.

Two visits are compared field by field, and byte by byte with those of a stranger at the same shop
with the same payer: eight bytes in a row that two visits share, and that the stranger's have not,
tell that they belong together, wherever they stand and whatever they mean.
"""

import itertools
import re
import secrets
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.calls import ClaimReject, Reason, parse_call
from ledger.transaction import parse
from node.audit.shapes import STANDS, Stands, leaves
from node.client import lots, prescriptions, transactions
from node.client.acts import Acts
from node.client.client import CallOutcome
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, as_request, example
from tests.node.client.street import run

LINK: Final = 8  # bytes in a row that chance does not repeat
PAGE: Final = Path(__file__).parents[3] / "docs" / "attacks.md"
# Two people who are made up, as a shop's software may number them.
PERSON, ANOTHER = (sha256(name).digest() for name in (b"one", b"another"))
# What all claims of a shop share, whoever they are of.
OF_ALL: Final = frozenset((Stands.MEMBER, Stands.KEY_NAME, Stands.COUNTRY))


@dataclass
class Counter:
    """A shop, which serves one customer after another."""

    vault: Vault
    node: MemoryNode = field(default_factory=MemoryNode)

    def serve(self, document: dict[str, Any], prior: str | None = None) -> Sequence[bytes]:
        """Submit a claim as the shop does; return the transactions of it."""
        request, sender, before = (
            as_request(document),
            desk.sender("shop", self.node),
            len(self.node.sent),
        )
        with self.vault.changes():
            earlier = None if prior is None else lots.load(self.vault, prior)[1]
            lots.prepare(self.vault, sender, request, MEMBERS.id_of, prior=earlier)
        asked = lots.submit(
            self.vault, self.node, sender, [request.reference], wait_s=5, say=desk.silent
        )
        assert [each.refusal for each in run(asked)] == [None]
        return self.since(before)

    def acts(self, name: str) -> Acts:
        sender = desk.sender(name, self.node)
        return Acts(self.vault, self.node, sender, wait_s=5, say=desk.silent)

    def made(self, doing: Coroutine[Any, Any, CallOutcome]) -> Sequence[bytes]:
        """Do something; return the transactions of it."""
        before = len(self.node.sent)
        assert run(doing).code == 0
        return self.since(before)

    def since(self, before: int) -> Sequence[bytes]:
        """Return everything that came onto the chain since then."""
        return [self.node.raws[each] for each in self.node.sent[before:]]


class Chance:
    """Draws what it was given where so many bytes are asked for, and else what chance draws."""

    def __init__(self, chosen: bytes) -> None:
        self._chosen = chosen

    def token_bytes(self, size: int) -> bytes:
        return self._chosen if size == len(self._chosen) else secrets.token_bytes(size)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    with desk.open_vault(tmp_path, "shop") as vault:
        yield Counter(vault)


def visit(reference: str, sphere: float = -2.5, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a claim on a new prescription, of one person unless it says otherwise."""
    document = example(3, **{"reference": reference, "insured": "ADH-327828"} | changes)
    document["prescription"]["lensSpecification"][0]["sphere"] = sphere
    return document


def again(reference: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a claim on the prescription of the first."""
    document = visit(reference, **changes) | {"prescription_reference": "F1"}
    del document["prescription"]
    return document


def fields(raws: Sequence[bytes]) -> Iterator[tuple[Stands, bytes]]:
    """Yield all bytes of some transactions, each with what it stands for."""
    for raw in raws:
        body = parse(raw).body
        yield from ((Stands.MEMBER, body.sender), (Stands.KEY_NAME, body.key_id))
        yield Stands.NONCE, body.nonce
        for call in map(parse_call, body.calls):
            for leaf in leaves(call, type(call).__name__):
                if isinstance(leaf.value, bytes):
                    yield STANDS[leaf.path], leaf.value


def windows(values: Sequence[bytes], size: int = LINK) -> set[bytes]:
    return {data[at : at + size] for data in values for at in range(len(data) - size + 1)}


def shared(one: Sequence[bytes], other: Sequence[bytes]) -> set[Stands]:
    """Return of which kinds those fields of `other` are that stand in `one`, in part at least."""
    before = windows(one)
    found = {kind for kind, data in fields(other) if not before.isdisjoint(windows([data]))}
    return found - OF_ALL


def links(one: Sequence[bytes], other: Sequence[bytes], stranger: Sequence[bytes]) -> set[bytes]:
    """Return all that is in both visits, anywhere in their bytes, and not in the stranger's."""
    usual = windows(stranger, LINK // 2)
    return windows([piece for raw in one for piece in unusual(raw, usual)]) & windows(other)


def unusual(raw: bytes, usual: set[bytes]) -> list[bytes]:
    """Return what is left of a transaction without what others have too."""
    size = LINK // 2
    covered = bytearray(len(raw))
    for at in range(len(raw) - size + 1):
        if raw[at : at + size] in usual:
            covered[at : at + size] = b"\1" * size
    runs = itertools.groupby(enumerate(raw), key=lambda each: covered[each[0]])
    return [bytes(byte for _, byte in run) for is_covered, run in runs if not is_covered]


def three(counter: Counter) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Return two visits of one person, and that of a stranger between them."""
    one = counter.serve(visit("F1"))
    stranger = counter.serve(visit("F2", 1.5, insured="ADH-9"))
    return one, counter.serve(visit("F3", -2.75)), stranger


def test_two_prescriptions_of_one_person_are_not_linked(counter: Counter) -> None:
    one, other, stranger = three(counter)
    assert len(one) == len(other) == 2
    assert {kind for kind, _ in fields(one)} > {Stands.MARK, Stands.AMOUNT, Stands.DOCUMENT}
    assert shared(one, other) == set() == shared(other, one)
    assert links(one, other, stranger) == set()


def test_a_link_that_a_program_plants_in_a_nonce_is_found(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight bytes of sixteen, wherever in them they stand."""
    visits = []
    for reference, who, start in (("F1", PERSON, 0), ("F2", ANOTHER, 3), ("F3", PERSON, 5)):
        noise = secrets.token_bytes(16 - LINK)
        nonce = noise[:start] + who[:LINK] + noise[start:]
        monkeypatch.setattr(transactions, "secrets", Chance(nonce))
        visits.append(counter.serve(visit(reference)))
    one, stranger, other = visits
    assert shared(one, other) == {Stands.NONCE}
    assert PERSON[:LINK] in links(one, other, stranger)
    assert PERSON[:LINK] not in links(one, stranger, other)


def test_a_blinding_that_is_used_again_for_the_same_amount_is_found(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = []
    for reference, who in (("F1", PERSON), ("F2", ANOTHER), ("F3", PERSON)):
        monkeypatch.setattr(lots, "secrets", Chance(who * 2))
        visits.append(counter.serve(visit(reference)))
    one, stranger, other = visits
    assert shared(one, other) == {Stands.AMOUNT}
    assert shared(one, stranger) == set()
    assert links(one, other, stranger)


def test_what_links_is_what_the_page_says(counter: Counter) -> None:
    first = counter.serve(visit("F1"))
    claim = lots.load(counter.vault, "F1")[1]
    assert claim.claim is not None
    found = {"both legs of one prescription": shared(first, counter.serve(again("F2", leg="base")))}

    mended, shop = as_request(again("F1", insured="ADH-9")), counter.acts("shop")
    supersession = counter.made(shop.supersede("F1", mended, claim.payer))
    found["a claim and its rectification"] = shared([*first, claim.claim], supersession)

    reject = ClaimReject(claim.claim, Reason.FORMAT, automatic=False)
    decision = counter.made(counter.acts("insurer").make(reject))
    found["a claim and the decision on it"] = shared([*first, claim.claim], decision)

    resubmission = counter.serve(again("F4"), prior="F1")
    found["a rejected claim and its resubmission"] = shared([*first, claim.claim], resubmission)

    kept = prescriptions.load(counter.vault, "F1")[1].prescription
    other = replace(kept, written="2024-06-13")
    rectified = prescriptions.supersede(
        counter.vault, shop, desk.sender("shop", counter.node), "F1", other
    )
    found["a prescription and its rectification"] = shared(first, counter.made(rectified))

    page = PAGE.read_text(encoding="utf-8")
    assert {what: {each.value for each in kinds} for what, kinds in found.items()} == {
        what: set(by.split(", "))
        for what, by in re.findall(r"^ *\| ([^|]+) \| by: ([^|]+) \|$", page, re.MULTILINE)
    }
