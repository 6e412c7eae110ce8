"""The two proofs and their control: their bytes, what they say and how little, and the draw."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import early
from contracts.control import DELAY, Finding, drawn_at, is_drawn, judge, parse_verdict
from contracts.early import (
    Attestation,
    How,
    Qualifies,
    Signed,
    attestation_id,
    parse_attestation,
)
from contracts.errors import BadDocument
from contracts.reimbursement import (
    LastReimbursement,
    Source,
    binding_to,
    parse_last_reimbursement,
    salt_of,
)
from ledger.encoding import encode
from ledger.hashing import Domain, hash_of
from ledger.keys import P256SigningKey, Role, SigningKey, key_id
from tests.contracts.test_key_binding import BINDING, shown

KEY = SigningKey(bytes(range(32)))
SHOP, DOCTOR, PAYER = (bytes((number,)) * 16 for number in (1, 2, 3))
bytes32 = st.binary(min_size=32, max_size=32)


def says(**changes: bytes | int) -> Qualifies:
    fields = ("chain_id", "authorisation", "question", "before", "after", "table", "salt")
    values: dict[str, bytes | int] = {name: sha256(name.encode()).digest() for name in fields}
    values |= {"optician": SHOP, "recipient": PAYER, "control": 50, "expires": 1_790_000_000}
    return Qualifies(**(values | changes))  # type: ignore[arg-type]


def attested(member: bytes = SHOP) -> Attestation:
    return early.attest(says(), early.sign(says().message(), member, KEY))


# --- the day --------------------------------------------------------------------------------------


def test_a_day_is_proved_by_a_payer_or_by_an_earlier_claim() -> None:
    for source, of in ((Source.PAYER, PAYER), (Source.CLAIM, bytes(32))):
        proof = LastReimbursement(source, of, shown().encode())
        assert parse_last_reimbursement(encode(proof)) == proof
        assert proof.parsed().binding == BINDING


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode((3, PAYER, b"")),
        encode(LastReimbursement(Source.PAYER, bytes(32), b"")),
        encode(LastReimbursement(Source.CLAIM, PAYER, b"")),
        encode((1, PAYER, b"", b"more")),
    ],
)
def test_what_is_no_proof_of_a_day_is_refused(data: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_last_reimbursement(data)


@pytest.mark.parametrize("presentation", [b"\xff", b"", b"x~y.z"])
def test_a_proof_without_a_showing_is_refused(presentation: bytes) -> None:
    with pytest.raises(BadDocument):
        LastReimbursement(Source.PAYER, PAYER, presentation).parsed()


def test_a_showing_is_bound_to_chain_payer_authorisation_and_question() -> None:
    one = binding_to(bytes(32), PAYER, b"\1" * 32, b"\2" * 32, issued=1, expires=2)
    assert one.audience == f"{'00' * 32}.{'03' * 16}"
    assert one.nonce == f"{'01' * 32}.{'02' * 32}"
    assert (one.issued, one.expires) == (1, 2)


def test_an_answer_stands_for_its_proof() -> None:
    assert salt_of(b"proof") == hash_of(Domain.PROOF, b"proof")
    assert salt_of(b"proof") != salt_of(b"proof\0")


# --- one bit --------------------------------------------------------------------------------------


def test_an_attestation_is_parsed_to_itself_and_verifies() -> None:
    made = attested()
    found = parse_attestation(encode(made))
    assert found == made
    (signed,) = found.signatures()
    signed.verify(found.says.message(), KEY.public)
    assert signed.key_id == key_id(Role.TRANSACTION, KEY.algorithm, KEY.public)
    assert attestation_id(found) == hash_of(Domain.QUALIFIES, encode(found.says))
    with pytest.raises(BadDocument, match="does not verify"):
        signed.verify(says(control=51).message(), KEY.public)
    with pytest.raises(BadDocument, match="does not verify"):
        signed.verify(found.says.message(), P256SigningKey(bytes(range(1, 33))).public)


def test_a_prescriber_signs_after_the_optician() -> None:
    message = says().message()
    shop, doctor = (early.sign(message, each, KEY) for each in (SHOP, DOCTOR))
    made = early.attest(says(), shop, doctor)
    assert [each.member for each in made.signatures()] == [SHOP, DOCTOR]
    with pytest.raises(BadDocument, match="the optician's"):
        early.attest(says(), doctor, shop).signatures()
    with pytest.raises(BadDocument, match="twice"):
        early.attest(says(), shop, shop).signatures()
    with pytest.raises(BadDocument, match="the optician's"):
        attested(DOCTOR).signatures()


@pytest.mark.parametrize("proof", [b"", encode(((),)), encode(((1, 2),))])
def test_a_proof_without_signatures_is_refused(proof: bytes) -> None:
    with pytest.raises(BadDocument):
        Attestation(says(), How.SIGNATURES, proof).signatures()


def test_another_kind_of_proof_has_its_place_and_is_not_believed_yet() -> None:
    made = Attestation(says(), 2, bytes(10_000))
    assert parse_attestation(encode(made)) == made
    with pytest.raises(BadDocument, match="not known here, 2"):
        made.signatures()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_attestation_or_refused(data: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_attestation(data)
    with pytest.raises(BadDocument):
        parse_verdict(data)


def test_an_attestation_has_these_fields_and_no_other() -> None:
    assert Qualifies.__struct_fields__ == (
        "chain_id",
        "optician",
        "recipient",
        "authorisation",
        "question",
        "before",
        "after",
        "table",
        "control",
        "expires",
        "salt",
    )
    assert Attestation.__struct_fields__ == ("says", "how", "proof")
    assert Signed.__struct_fields__ == ("member", "key_id", "signature")


@given(bytes32, bytes32, bytes32, st.integers(1 << 16, (1 << 32) - 1))
def test_whatever_is_attested_has_one_length(
    before: bytes, after: bytes, salt: bytes, expires: int
) -> None:
    one = says(before=before, after=after, salt=salt, expires=expires)
    made = early.attest(one, early.sign(one.message(), SHOP, KEY))
    assert len(encode(made)) == len(encode(attested()))


# --- control --------------------------------------------------------------------------------------


def test_the_block_after_next_draws() -> None:
    assert drawn_at(7) == 7 + DELAY == 9


@given(bytes32, bytes32)
def test_all_or_nothing_is_drawn_at_the_ends(header: bytes, answer: bytes) -> None:
    assert is_drawn(header, answer, 1_000)
    assert not is_drawn(header, answer, 0)


@given(bytes32, bytes32, st.integers(0, 999))
def test_who_is_drawn_at_a_rate_is_drawn_at_every_higher_one(
    header: bytes, answer: bytes, control: int
) -> None:
    assert not is_drawn(header, answer, control) or is_drawn(header, answer, control + 1)


@pytest.mark.parametrize("control", [50, 500])
def test_blocks_draw_evenly_whatever_the_answer_and_the_header(control: int) -> None:
    """Of 20,000 pairs, within five standard deviations of what the rate says."""
    count = 20_000
    one = sha256(b"one").digest()
    many = [sha256(number.to_bytes(4)).digest() for number in range(count)]
    expected = count * control / 1_000
    margin = 5 * (expected * (1 - control / 1_000)) ** 0.5
    assert abs(sum(is_drawn(each, one, control) for each in many) - expected) < margin
    assert abs(sum(is_drawn(one, each, control) for each in many) - expected) < margin


def test_an_answer_drawn_by_one_block_is_as_rarely_drawn_by_the_next() -> None:
    """Nobody chooses an answer that is never drawn: each block draws anew."""
    answers = [sha256(number.to_bytes(4)).digest() for number in range(4_000)]
    first, second = sha256(b"first").digest(), sha256(b"second").digest()
    left = [each for each in answers if not is_drawn(first, each, 500)]
    drawn = sum(is_drawn(second, each, 500) for each in left)
    assert abs(drawn - len(left) / 2) < 5 * (len(left) / 4) ** 0.5


def test_a_verdict_says_one_word() -> None:
    finding = Finding(bytes(32), SHOP, PAYER, bytes(32), attestation_id(attested()), conform=False)
    verdict = judge(finding, DOCTOR, KEY, Role.HUMAN)
    found = parse_verdict(encode(verdict))
    assert found == verdict
    found.signed.verify(finding.message(), KEY.public)
    assert found.signed.key_id == key_id(Role.HUMAN, KEY.algorithm, KEY.public)
    other = Finding(bytes(32), SHOP, PAYER, bytes(32), attestation_id(attested()), conform=True)
    assert len(encode(judge(other, DOCTOR, KEY, Role.HUMAN))) == len(encode(verdict))
    with pytest.raises(BadDocument, match="does not verify"):
        found.signed.verify(other.message(), KEY.public)
