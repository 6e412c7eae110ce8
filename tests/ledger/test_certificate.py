"""A certificate: a quorum of distinct validators, counted once each."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.certificate import (
    KIND_COMMIT,
    KIND_PREPARE,
    CommitCertificate,
    Seal,
    vote_signing_bytes,
)
from ledger.errors import BadSignature, Mismatch, NoQuorum
from tests.ledger.examples import CHAIN, certificate, header, validators

FOUR = validators(1, 2, 3, 4)


@pytest.mark.parametrize("signers", [(1, 2, 3), (1, 2, 4), (2, 3, 4), (1, 2, 3, 4)])
def test_any_quorum_commits(signers: tuple[int, ...]) -> None:
    certificate(header(5), signers, round_=2).verify(CHAIN, FOUR)


@pytest.mark.parametrize("signers", [(), (1,), (1, 2), (3, 4)])
def test_fewer_do_not(signers: tuple[int, ...]) -> None:
    with pytest.raises(NoQuorum, match=f"{len(signers)} signatures where a quorum needs 3"):
        certificate(header(5), signers).verify(CHAIN, FOUR)


@pytest.mark.parametrize("signers", [(1, 1, 1), (1, 2, 2), (2, 1, 3), (1, 2, 3, 3)])
def test_a_signer_counts_once_and_in_order(signers: tuple[int, ...]) -> None:
    with pytest.raises(Mismatch, match="seal order"):
        certificate(header(5), signers).verify(CHAIN, FOUR)


def test_a_stranger_does_not_count() -> None:
    with pytest.raises(BadSignature, match="validator 4 of 4"):
        certificate(header(5), (1, 2, 5)).verify(CHAIN, FOUR)
    good = certificate(header(5))
    posing = (*good.seals[:2], Seal(2, certificate(header(5), (5,)).seals[0].signature))
    with pytest.raises(BadSignature, match="signature of validator 2 does not verify"):
        msgspec.structs.replace(good, seals=posing).verify(CHAIN, FOUR)


@pytest.mark.parametrize(
    "change", [{"height": 6}, {"round": 1}, {"block_id": bytes(32)}], ids=lambda c: next(iter(c))
)
def test_what_was_signed_is_all_of_it(change: dict[str, object]) -> None:
    with pytest.raises(BadSignature):
        msgspec.structs.replace(certificate(header(5)), **change).verify(CHAIN, FOUR)


def test_signatures_for_another_chain_or_by_another_set_do_not_count() -> None:
    with pytest.raises(BadSignature):
        certificate(header(5)).verify(bytes(32), FOUR)
    with pytest.raises(BadSignature):
        certificate(header(5)).verify(CHAIN, validators(4, 3, 2, 1))


def test_who_prepared_has_not_committed() -> None:
    with pytest.raises(BadSignature):
        certificate(header(5), kind=KIND_PREPARE).verify(CHAIN, FOUR)


def test_the_signing_bytes_are_pinned() -> None:
    found = vote_signing_bytes(KIND_COMMIT, b"\x01" * 32, 5, 2, b"\x02" * 32)
    assert found == (
        b"depoli/consensus/1/commit\x00" + b"\x01" * 32 + bytes(7) + b"\x05" + bytes(3) + b"\x02"
        + b"\x02" * 32
    )  # fmt: skip


votes = st.tuples(
    st.sampled_from([KIND_PREPARE, KIND_COMMIT]),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=32, max_size=32),
)


@given(one=votes, other=votes)
def test_no_two_votes_have_the_same_signing_bytes(
    one: tuple[bytes, bytes, int, int, bytes], other: tuple[bytes, bytes, int, int, bytes]
) -> None:
    assert (vote_signing_bytes(*one) == vote_signing_bytes(*other)) == (one == other)


def test_two_certificates_for_one_block_have_two_hashes() -> None:
    one, other = certificate(header(5), (1, 2, 3)), certificate(header(5), (2, 3, 4))
    assert one.block_id == other.block_id
    assert one.hash != other.hash
    assert isinstance(one, CommitCertificate)
