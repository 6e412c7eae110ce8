"""Commitments: they open one way, they add up, and nothing else passes for a point."""

from hashlib import sha256

import nacl.bindings as sodium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import commitment
from contracts.calls import Leg, Part
from contracts.commitment import (
    IDENTITY,
    ORDER,
    TOTAL_MAX,
    H,
    Opening,
    blinding_from,
    commit,
    document_commitment,
    lock_of,
    mark_of,
    parse_point,
    payment_commitment,
    sum_openings,
    sum_points,
    verify_opening,
)
from contracts.errors import BadOpening, BadScalar, NotAPoint

P = 2**255 - 19
BASE_POINT = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
# Points of small order (RFC 8032's curve has eight): y = 0, 1, p - 1, and the two of order eight.
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"

amounts = st.integers(0, 2**32 - 1)
blindings = st.binary(min_size=64, max_size=64).map(blinding_from)
openings = st.builds(Opening, amounts, blindings)


def scalar(number: int) -> bytes:
    return (number % ORDER).to_bytes(32, "little")


def test_the_second_generator_is_the_hash_of_a_public_sentence() -> None:
    derived = sodium.crypto_core_ed25519_from_uniform(sha256(commitment.H_TAG).digest())
    assert derived == H
    assert sodium.crypto_core_ed25519_is_valid_point(H)
    assert H != BASE_POINT


def test_commitments_are_those_of_the_formula() -> None:
    assert commit(1, scalar(0)) == BASE_POINT
    assert commit(0, scalar(1)) == H
    assert commit(1, scalar(1)) == sodium.crypto_core_ed25519_add(BASE_POINT, H)
    assert commit(0, scalar(0)) == IDENTITY


def test_an_amount_of_zero_is_hidden_as_any_other() -> None:
    opening = Opening(0, scalar(12345))
    verify_opening(opening.commitment(), opening)
    assert opening.commitment() not in (IDENTITY, H, BASE_POINT)


@given(openings)
def test_an_opening_opens_its_commitment(opening: Opening) -> None:
    point = opening.commitment()
    verify_opening(point, opening)
    assert parse_point(point) == point
    assert point == IDENTITY or sodium.crypto_core_ed25519_is_valid_point(point)


@given(openings, st.integers(1, 2**32 - 1), blindings)
def test_nothing_else_opens_it(opening: Opening, more: int, other: bytes) -> None:
    point = opening.commitment()
    with pytest.raises(BadOpening):
        verify_opening(point, Opening(opening.amount + more, opening.blinding))
    if other != opening.blinding:
        with pytest.raises(BadOpening):
            verify_opening(point, Opening(opening.amount, other))


@given(st.lists(openings, min_size=1, max_size=8))
def test_the_sum_of_commitments_opens_to_the_sums(many: list[Opening]) -> None:
    total = sum_openings(many)
    verify_opening(sum_points(opening.commitment() for opening in many), total)
    assert total.amount == sum(opening.amount for opening in many)


def test_blindings_that_cancel_out_leave_the_amount_bare() -> None:
    pair = [Opening(3, scalar(7)), Opening(4, scalar(-7))]
    assert sum_openings(pair) == Opening(7, scalar(0))
    verify_opening(sum_points(opening.commitment() for opening in pair), sum_openings(pair))


def test_a_sum_of_what_is_no_point_is_refused() -> None:
    with pytest.raises(NotAPoint):
        sum_points([H, (2).to_bytes(32, "little")])  # no point has this y


def test_a_sum_of_nothing_is_the_identity() -> None:
    assert sum_points([]) == IDENTITY
    assert sum_openings([]).commitment() == IDENTITY


@pytest.mark.parametrize("amount", [-1, TOTAL_MAX + 1])
def test_an_amount_out_of_range_is_refused(amount: int) -> None:
    with pytest.raises(BadScalar):
        commit(amount, scalar(1))
    with pytest.raises(BadOpening):
        verify_opening(H, Opening(amount, scalar(1)))


@pytest.mark.parametrize(
    "blinding", [b"", bytes(31), bytes(33), ORDER.to_bytes(32, "little"), b"\xff" * 32]
)
def test_a_blinding_out_of_range_is_refused(blinding: bytes) -> None:
    with pytest.raises(BadScalar):
        commit(1, blinding)


def test_a_total_above_the_greatest_is_refused() -> None:
    with pytest.raises(BadScalar):
        sum_openings([Opening(TOTAL_MAX, scalar(1)), Opening(1, scalar(1))])


def test_a_blinding_needs_64_bytes_of_chance() -> None:
    assert int.from_bytes(blinding_from(b"\xff" * 64), "little") == (2**512 - 1) % ORDER
    with pytest.raises(BadScalar):
        blinding_from(bytes(32))


def test_no_error_repeats_what_is_secret() -> None:
    with pytest.raises(BadScalar) as caught:
        commit(1, b"\xff" * 32)
    assert "ff" not in str(caught.value).replace("blinding", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(31),
        bytes(33),
        b"\xff" * 32,
        (P).to_bytes(32, "little"),  # 0, written a second way
        (P + 1).to_bytes(32, "little"),  # the identity, written a second way
        (1 | 1 << 255).to_bytes(32, "little"),  # the identity with a sign that x = 0 has not
        (2).to_bytes(32, "little"),  # no point has this y
        (P - 1 | 1 << 255).to_bytes(32, "little"),
    ],
    ids=lambda data: data.hex()[:16] + f"-{len(data)}",
)
def test_what_is_no_point_or_written_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(NotAPoint):
        parse_point(data)


def test_a_point_of_small_order_is_a_point_that_nothing_opens() -> None:
    small = parse_point(bytes.fromhex(ORDER_8))
    mixed = sum_points([small, Opening(5, scalar(9)).commitment()])
    assert parse_point(mixed) == mixed
    with pytest.raises(BadOpening):
        verify_opening(mixed, Opening(5, scalar(9)))


@given(
    st.binary(min_size=32, max_size=32)
    | st.integers(P - 40, 2**255 - 1).map(lambda y: y.to_bytes(32, "little"))
    | st.integers(0, 40).map(lambda y: (y | 1 << 255).to_bytes(32, "little"))
)
def test_any_32_bytes_are_the_one_form_of_a_point_or_refused(data: bytes) -> None:
    try:
        accepted = parse_point(data) == data
    except NotAPoint:
        accepted = False
    assert accepted == _is_point(data)


def _is_point(data: bytes) -> bool:
    """RFC 8032, 5.1.3: y below p, x² = (y² - 1) / (d·y² + 1) a square, and no sign where x = 0."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    d = -121665 * pow(121666, -1, P)
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    is_square = square == 0 or pow(square, (P - 1) // 2, P) == 1
    return y < P and is_square and not (square == 0 and sign)


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(Leg),
    st.sampled_from(Part),
    st.integers(0, 2**32 - 1),
)
def test_marks_of_other_things_are_other_marks(
    secret: bytes, leg: Leg, part: Part, ordinal: int
) -> None:
    mark = mark_of(secret, leg, part, ordinal)
    expected = sha256(
        b"depoli/mark/1\x00" + secret + bytes((leg, part)) + ordinal.to_bytes(4)
    ).digest()
    assert mark == expected
    assert mark_of(secret, Leg(1 - leg), part, ordinal) != mark
    assert mark_of(secret, leg, Part(1 - part), ordinal) != mark
    assert mark_of(secret, leg, part, ordinal ^ 1) != mark


def test_a_mark_needs_a_whole_secret_and_an_ordinal_in_range() -> None:
    with pytest.raises(BadScalar):
        mark_of(bytes(31), Leg.BASE, Part.LENSES, 0)
    with pytest.raises(BadScalar):
        mark_of(bytes(32), Leg.BASE, Part.LENSES, 2**32)


def test_a_lock_is_of_one_chain_one_member_and_one_mark() -> None:
    chain, member, mark = bytes(32), bytes(16), bytes(32)
    assert lock_of(chain, member, mark) == sha256(b"depoli/lock/1\x00" + bytes(80)).digest()
    others = [
        lock_of(b"\x01" * 32, member, mark),
        lock_of(chain, b"\x01" * 16, mark),
        lock_of(chain, member, b"\x01" * 32),
    ]
    assert len({lock_of(chain, member, mark), *others}) == 4


def test_a_document_is_committed_by_its_plain_sha_256() -> None:
    assert document_commitment(b"abc").hex() == sha256(b"abc").hexdigest()


def test_a_payment_is_committed_with_a_salt_of_32_bytes() -> None:
    salt, reference = bytes(range(32)), b"VIR 7"
    expected = sha256(b"depoli/payment/1\x00" + salt + reference).digest()
    assert payment_commitment(salt, reference) == expected
    with pytest.raises(BadScalar):
        payment_commitment(salt[:-1], reference)
