"""Personal data and salts used twice are found wherever they are planted; chance is not."""

import random
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimReject,
    Leg,
    MarkLock,
    Part,
    PrescriptionCommit,
    Reason,
    parse_call,
)
from contracts.commitment import commit, mark_of
from contracts.nomenclature.codes import CodeTable
from contracts.nomenclature.tables import parse_table
from contracts.questions import Kind, Question
from contracts.reference import TableKind
from contracts.sd_jwt import make_disclosure
from ledger.hashing import Domain, hash_of
from ledger.transaction import created_id
from node.audit.guesses import Breadth, Guesses
from node.audit.leaks import ALARM, NUMBERED, SEARCHES, improbable, is_number
from node.audit.privacy import Finding, Privacy, look_through
from node.audit.shapes import FRESH, SHAPES, STANDS, leaves
from node.client.packaged import table_file
from tests.chainmaker import (
    Chain,
    claim_of,
    deliberation,
    some_bytes,
    story,
    upheaval,
)
from tests.lifelines import lives

TABLE = parse_table(table_file(TableKind.OPTICS_CODES), CodeTable)
GUESSES = Guesses(TABLE, Breadth(3_00, 1_00, 10, 1, 200, (1980, 1985)))
NUMBER = "1840375120005"
KEY = f"{97 - int(NUMBER) % 97:02d}"
NOISE = sha256(b"noise").digest()  # nothing is found in it


def packed(digits: str, nibble: int) -> bytes:
    """Return 32 bytes of noise, in which `digits` stand from this half byte on."""
    text = NOISE.hex()
    return bytes.fromhex(text[:nibble] + digits + text[nibble + len(digits) :])


def amid(data: bytes, place: int = 3) -> bytes:
    return (NOISE[:place] + data + NOISE[place:])[:32]


PLANTED: dict[str, tuple[str, bytes]] = {  # what -> how it is found, and the bytes
    "number": ("number in text", amid((NUMBER + KEY).encode())),
    "number without a key": ("number in text", amid(NUMBER.encode(), 17)),
    "number as it is printed": ("number in text", amid(b"1 84 03 75 120 005 " + KEY.encode())),
    "number from Corsica": ("number in text", amid(b"284032A120005", 9)),
    "number in a wrong place of its text": ("digits", amid(b"9840375120005")),
    "number packed to the left": ("number packed at an edge", packed(NUMBER + KEY, 0)),
    "number packed to the right": ("number packed at an edge", packed(NUMBER + KEY, 49)),
    "number packed and filled up": ("padding", bytes.fromhex(NUMBER + KEY + "f").ljust(32, b"\0")),
    "number as u64": ("number in binary", amid(int(NUMBER).to_bytes(8))),
    "number with its key as u64": ("number in binary", amid(int(NUMBER + KEY).to_bytes(8), 20)),
    "number as a little-endian u64": ("number in binary", amid(int(NUMBER).to_bytes(8, "little"))),
    "number in EBCDIC": ("digits", amid(NUMBER.encode("cp500"))),
    "name": ("name", amid(b"DUPONT JEAN")),
    "name, as it is spoken": ("name", amid(b"Anne-Marie Roy", 11)),
    "name that no list has": ("name", amid(b"QWERTY MZXCVBNM")),
    "name with accents": ("name", amid("BÉRÉNICE LEFÈVRE".encode())),
    "sentence": ("text", amid(b"voir le dossier n. 12, svp")),
    "wide text": ("wide text", amid("M. Roy".encode("utf-16-le"))),
    "day": ("day", amid(b"1984-03-12")),
    "day in French": ("day", amid(b"12/03/1984", 20)),
    "day in words": ("day", amid("12 février 84".encode())),
    "day in digits": ("day", amid(b"12031984", 24)),
    "sphere": ("correction", amid(b"-2.25")),
    "addition": ("correction", amid(b"+1,50", 27)),
    "text of a hash": ("digits of base 16", amid(sha256(b"x").hexdigest()[:20].encode())),
    "zeros": ("padding", bytes(32)),
    "codes": ("guessed", sha256(b"V01 V02 M01").digest()),
    "one code": ("guessed", sha256(b"VU1").digest()),
    "codes in our own domain": ("guessed", hash_of(Domain.LOCK, b"V01,V02")),
    "correction": ("guessed", sha256(b"-2.25 +0.50 90").digest()),
    "correction as it is written": ("guessed", sha256("(-0.75 à 10°) +1.00".encode()).digest()),
    "correction in our own domain": ("guessed", hash_of(Domain.MARK, b"-2.25 +0.50 90")),
    "mark of a correction": (
        "guessed",
        mark_of(sha256(b"-2.25 +0.50 90").digest(), Leg.BASE, Part.FRAME, 0),
    ),
    "spheres": ("guessed", sha256(b"-2.25/-2.50").digest()),
    "hash of a day": ("guessed", sha256(b"12/03/1984").digest()),
    "hash of an amount": ("guessed", sha256(b"1.20").digest()),
    "amount without a blinding": ("guessed", commit(120, bytes(32))),
    "field without a salt": (
        "guessed",
        sha256(make_disclosure(b"", "right_sphere", -225).text.encode()).digest(),
    ),
    "question without a salt": (
        "guessed",
        Question(bytes(32), Kind.EARLY_RENEWAL_QUALIFIES).commitment(),
    ),
    "mark without a secret": ("guessed", mark_of(bytes(32), Leg.BASE, Part.LENSES, 3)),
}


def examine(chain: Chain, folder: Path) -> Privacy:
    path = chain.export(folder / "export")
    return look_through(path, chain.genesis, GUESSES, workers=1)


def alarms(found: Privacy) -> set[str]:
    return {each.kind for each in found.findings if each.is_alarm}


def only(found: Privacy, kind: str) -> Finding:
    return next(each for each in found.findings if each.kind == kind)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Privacy:
    """Return what was found in a chain with all that is planted, each in a block of its own."""
    chain = Chain()
    for _, data in PLANTED.values():
        chain.block(chain.transaction("shop-a", MarkLock(data)))
    return examine(chain, tmp_path_factory.mktemp("leaky"))


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_found_where_it_stands(what: str, leaky: Privacy) -> None:
    kind, height = PLANTED[what][0], list(PLANTED).index(what) + 1
    places = [place for each in leaky.findings if each.kind == kind for place in each.places]
    assert (height, 0, 0, "MarkLock.lock") in [
        (place.height, place.transaction, place.call, place.field) for place in places
    ]


def test_every_kind_that_was_planted_is_an_alarm_and_none_is_shown_in_clear(leaky: Privacy) -> None:
    assert alarms(leaky) >= {kind for kind, _ in PLANTED.values()}
    assert not leaky.is_clean
    told = str(leaky.to_json())
    for secret in (NUMBER, "DUPONT", "1984", "-2.25", "V01"):
        assert secret not in told


def test_a_leak_is_found_in_a_field_of_any_call_and_in_a_call_that_was_refused(
    tmp_path: Path,
) -> None:
    chain = Chain()
    chain.block(
        chain.transaction("shop-a", PrescriptionCommit(some_bytes("fine"))),
        chain.transaction(
            "shop-a",
            MarkLock(some_bytes("fine, too")),
            ClaimAccept(amid(b"DUPONT JEAN"), None),  # of no claim, by no payer
            ClaimAccept(sha256(b"VU1").digest(), None),
            nonce=b"Paul Dupond 1984",
        ),
    )
    assert [outcome.code == 0 for outcome in chain.blocks[0].outcomes] == [True, True, False, False]
    (guessed,) = only(found := examine(chain, tmp_path), "guessed").places
    assert (guessed.call, guessed.field) == (2, "ClaimAccept.claim")
    assert {(one.transaction, one.call, one.field) for one in only(found, "name").places} == {
        (1, 1, "ClaimAccept.claim"),
        (1, 0, "transaction.nonce"),
    }


@pytest.mark.parametrize("make", [story, deliberation, upheaval, lives])
def test_an_honest_chain_raises_no_alarm(make: Callable[[], Chain], tmp_path: Path) -> None:
    found = examine(make(), tmp_path)
    assert found.is_clean, [each for each in found.findings if each.is_alarm]
    assert found.values > 40
    assert {"example", "federation", "shop-a"} <= set(found.to_json()["names"])


def test_who_holds_anothers_prescription_is_told_and_is_no_alarm(tmp_path: Path) -> None:
    found = examine(story(), tmp_path)
    assert [(one.height, one.transaction) for one in found.remarks[0].places] == [(2, 2)]


def test_bytes_that_must_be_new_are_found_where_they_stand_again(tmp_path: Path) -> None:
    chain = Chain()
    prepared = [claim_of(chain, "shop-a", "insurer-a", name) for name in ("one", "two")]
    chain.block(*(chain.transaction("shop-a", *before) for before, _ in prepared))
    (_, one), (_, two) = prepared
    two = msgspec.structs.replace(two, document=one.document, amount=one.amount)
    chain.block(chain.transaction("shop-a", one), chain.transaction("shop-a", two))
    assert [outcome.code for outcome in chain.blocks[-1].outcomes] == [0, 0]
    found = examine(chain, tmp_path)
    assert alarms(found) == {"used twice"}
    assert {
        (one.height, one.transaction, one.field) for one in only(found, "used twice").places
    } == {
        (2, 1, "ClaimSubmit.document"),
        (2, 1, "ClaimSubmit.amount"),
    }


def test_what_was_refused_or_replaces_something_may_say_the_same_again(tmp_path: Path) -> None:
    chain = Chain()
    before, claim = claim_of(chain, "shop-a", "insurer-a", "one")
    chain.block(chain.transaction("shop-a", *before))
    refused, sent = chain.transaction("shop-b", claim), chain.transaction("shop-a", claim)
    chain.block(refused, sent)
    first = created_id(sent.id, 0)
    reject = ClaimReject(first, Reason.FORMAT, automatic=False)
    chain.block(chain.transaction("insurer-a", reject))
    again = msgspec.structs.replace(claim, prior=first)
    chain.block(chain.transaction("shop-a", again))
    assert [outcome.code == 0 for block in chain.blocks[1:] for outcome in block.outcomes] == [
        False,
        True,
        True,
        True,
    ]
    assert examine(chain, tmp_path).is_clean


def test_the_same_bytes_for_two_kinds_of_things_are_found(tmp_path: Path) -> None:
    chain = Chain()
    both = some_bytes("both")
    chain.block(chain.transaction("shop-a", PrescriptionCommit(both), MarkLock(both)))
    found = examine(chain, tmp_path)
    assert alarms(found) == {"of two kinds"}


def test_a_number_in_packed_digits_within_a_field_counts_where_it_stands_twice(
    tmp_path: Path,
) -> None:
    chain = Chain()
    one, other = packed(NUMBER + KEY, 11), packed(NUMBER + KEY, 30)
    chain.block(chain.transaction("shop-a", MarkLock(one), MarkLock(other)))
    found = examine(chain, tmp_path)
    assert only(found, "number packed inside").count == 2
    assert "a number again" in alarms(found)


def test_chance_raises_no_alarm_and_finds_about_what_is_expected() -> None:
    chance = random.Random(1)
    values = [chance.randbytes(32) for _ in range(20_000)]
    for search in SEARCHES:
        seen = sum(next(search.find(value), None) is not None for value in values)
        assert not improbable(seen, len(values) * search.chance(32)), search.name


def test_what_chance_is_said_to_do_is_what_it_does() -> None:
    """Of bytes that are all packed digits, so that chance finds what it else finds too seldom."""
    search = next(each for each in SEARCHES if each.name == "number packed inside")
    chance = random.Random(1)
    values = [bytes.fromhex("".join(chance.choices("0123456789", k=64))) for _ in range(5_000)]
    seen = sum(1 for value in values for _ in search.find(value))
    expected = len(values) * search.chance(32) / (10 / 16) ** 15
    assert 0.7 * expected < seen < 1.3 * expected


@pytest.mark.parametrize("size", [*range(8, 12), 16, 64])
def test_a_number_has_a_chance_wherever_it_may_stand(size: int) -> None:
    """In a name of a key, of eight bytes, as well."""
    seen = Counter[str]()
    for start in range(2 * size - len(NUMBER + KEY) + 1):
        value = bytes.fromhex((NUMBER + KEY).rjust(start + 15, "f").ljust(2 * size, "f"))
        seen.update(each.name for each in SEARCHES if [*each.find(value)])
    odds = {each.name: each.chance(size) for each in SEARCHES if each.name in seen}
    one = odds["number packed at an edge"] / seen["number packed at an edge"]
    for name in ("number packed at an edge", "number packed inside"):
        assert odds.get(name, 0.0) == pytest.approx(seen[name] * one)


def test_as_many_as_chance_finds_are_no_alarm_and_many_more_are() -> None:
    assert not improbable(0, 0.0)
    assert improbable(1, ALARM / 2)
    assert not improbable(1, ALARM * 2)
    assert not improbable(1_000, 1_000.0)
    assert improbable(1_200, 1_000.0)
    assert not improbable(1, 5_000.0)
    assert {search.name for search in SEARCHES} > NUMBERED


def test_a_key_that_does_not_fit_makes_no_number() -> None:
    assert is_number(NUMBER + KEY, with_key=True)
    assert not is_number(NUMBER + f"{(int(KEY) + 1) % 97:02d}", with_key=True)
    assert is_number("284032A120005", with_key=False)
    for wrong in ("1840375000005", "1840375120000", "1840300120005", "1840075120005"):
        assert not is_number(wrong, with_key=False)


def test_every_field_of_every_call_is_on_the_list_and_every_bytes_is_thought_about() -> None:
    assert {path for path, shape in SHAPES.items() if shape.bytes_ is not None} == set(STANDS)
    assert set(STANDS) >= FRESH
    assert {path.partition(".")[0] for path in SHAPES} == {
        call.__name__ for call in get_args(Call) if call.__struct_fields__
    }


def test_every_field_of_chains_that_hold_all_calls_is_on_the_list() -> None:
    met = set()
    for chain in (story(), deliberation(), upheaval(), lives()):
        for executed in chain.executed:
            for entry in executed.entries:
                call = parse_call(entry.call)
                for leaf in leaves(call, type(call).__name__):
                    assert SHAPES[leaf.path].allows(leaf.value), leaf
                    met.add(leaf.path)
    assert len(met) > 100


@pytest.mark.parametrize(
    ("path", "value", "is_allowed"),
    [
        ("ClaimSubmit.document", bytes(32), True),
        ("ClaimSubmit.document", bytes(31), False),
        ("ClaimSubmit.document", None, False),
        ("ClaimSubmit.prior", None, True),
        ("ClaimSubmit.leg", 1, True),
        ("ClaimSubmit.leg", 2, False),
        ("ClaimSubmit.leg", True, False),
        ("ClaimSubmit.leg", "text", False),
        ("ClaimReject.automatic", True, True),
        ("ClaimReject.automatic", 1, False),
        ("AuthorisationGrant.valid_until", 1 << 63, False),
        ("AuthorisationGrant.valid_until", 0, True),
        ("KeyAdd.until_height", None, True),
        ("KeyAdd.public", bytes(33), True),
    ],
)
def test_a_shape_allows_what_the_type_does(path: str, value: object, *, is_allowed: bool) -> None:
    assert SHAPES[path].allows(value) is is_allowed
    assert str(SHAPES[path])
