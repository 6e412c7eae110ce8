"""Messages: one encoding, one layout to sign, and no embedded signature forgotten."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import messages
from consensus.errors import ConsensusError, MalformedMessage, UnknownSigner
from consensus.messages import (
    MAX_MESSAGE_BYTES,
    BareProposal,
    Commit,
    Held,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Signed,
    Status,
    decode,
    encode,
    signatures,
    signing_bytes,
    statements,
)
from ledger import encoding
from ledger.block import Outline
from ledger.keys import verify
from tests.consensus.committee import CHAIN_ID, HEIGHT, Committee, key

C = Committee()
BLOCK = C.outline()
ID = BLOCK.header.hash
LOCK = C.prepared(ID)
CHANGES = (C.change(0, 1), C.change(2, 1, LOCK), C.change(3, 1))
SAMPLES: tuple[Message, ...] = (
    C.proposal(),
    C.proposal(1, BLOCK, C.why(*CHANGES)),
    C.prepare(1, ID),
    C.commit(2, ID, 7),
    C.change(3, 1),
    C.change(3, 1, LOCK),
    C.decided(BLOCK),
    Status(HEIGHT, 1, 2, ID, (Held(0, True, b"\3", b"", b"\0"),), (0, 1, 0, 9)),  # noqa: FBT003
)

hashes = st.binary(min_size=32, max_size=32)
rounds = st.integers(0, (1 << 32) - 1)
heights = st.integers(1, (1 << 63) - 1)
signers = st.integers(0, 99)
seals = st.binary(min_size=64, max_size=64)
votes = st.builds(Prepare, heights, rounds, hashes, signers, seals) | st.builds(
    Commit, heights, rounds, hashes, signers, seals
)
changes = st.builds(
    RoundChange,
    heights,
    st.integers(1, (1 << 32) - 1),
    st.integers(-1, (1 << 32) - 1),
    hashes,
    st.none() | st.just(LOCK),
    signers,
    seals,
)
helds = st.builds(Held, rounds, st.booleans(), *[st.binary(max_size=13)] * 3)
statuses = st.builds(
    Status,
    heights,
    rounds,
    rounds,
    hashes,
    st.lists(helds, max_size=16).map(tuple),
    st.lists(rounds, max_size=100).map(tuple),
)


@pytest.mark.parametrize("message", SAMPLES, ids=range(len(SAMPLES)))
def test_a_message_survives_its_encoding(message: Message) -> None:
    data = encode(message)
    assert decode(data) == message
    assert encode(decode(data)) == data


@given(votes | changes | statuses)
def test_every_message_survives_its_encoding(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = decode(data)
    except ConsensusError:
        return
    assert encode(message) == data


@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_message_is_another_one_or_refused(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(raw))
    except MalformedMessage:
        return
    assert found != message
    assert encode(found) == bytes(raw)


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(MalformedMessage, match="more than"):
        decode(bytes(MAX_MESSAGE_BYTES + 1))


def test_what_is_signed_starts_with_the_kind_and_binds_chain_height_and_round() -> None:
    prepare, commit = C.prepare(1, ID, 3), C.commit(1, ID, 3)
    change, proposal = C.change(1, 3, LOCK), C.proposal(3)
    fixed = CHAIN_ID + HEIGHT.to_bytes(8, "big") + (3).to_bytes(4, "big")
    start = b"depoli/consensus/1/"
    assert signing_bytes(prepare, CHAIN_ID) == start + b"prepare\0" + fixed + ID
    assert signing_bytes(commit, CHAIN_ID) == start + b"commit\0" + fixed + ID
    lock = bytes(8) + ID
    assert signing_bytes(change, CHAIN_ID) == start + b"round-change\0" + fixed + lock
    nothing = b"\xff" * 8 + bytes(32)
    unlocked = signing_bytes(C.change(1, 3), CHAIN_ID)
    assert unlocked == start + b"round-change\0" + fixed + nothing
    assert signing_bytes(proposal, CHAIN_ID) == (
        start
        + b"proposal\0"
        + fixed
        + proposal.block_id
        + proposal.outline_hash
        + proposal.justification_hash
    )


def test_no_two_kinds_sign_the_same_bytes() -> None:
    every: list[Signed] = [C.prepare(1, ID), C.commit(1, ID), C.change(1, 1), C.proposal()]
    assert len({signing_bytes(m, CHAIN_ID) for m in every}) == len(every)


def test_a_proposal_signs_its_leaves_and_its_justification() -> None:
    proposal = C.proposal(1, BLOCK, C.why(*CHANGES))
    bytes_ = signing_bytes(proposal, CHAIN_ID)
    split = Outline(BLOCK.header, None, (), (bytes(32), bytes(32)))
    other: Proposal
    for other in (
        msgspec.structs.replace(proposal, outline=split),
        msgspec.structs.replace(proposal, justification=None),
    ):
        assert signing_bytes(other, CHAIN_ID) != bytes_
        assert other.block_id == proposal.block_id


@pytest.mark.parametrize("message", SAMPLES, ids=range(len(SAMPLES)))
def test_every_signature_in_a_message_is_listed_and_verifies(message: Message) -> None:
    listed = signatures(message, CHAIN_ID, C.validators)
    for public, signed, signature in listed:
        verify(public, signed, signature, what="a statement")
    blobs = {signature for _, _, signature in listed}
    assert blobs == _signatures_within(msgspec.to_builtins(message, builtin_types=(bytes,)))


def _signatures_within(value: object) -> set[bytes]:
    """Find by shape what might be a signature: a blob of 64 bytes."""
    if isinstance(value, bytes):
        return {value} if len(value) == 64 else set()
    if isinstance(value, list | tuple):
        return set().union(*map(_signatures_within, value))
    return set()


def test_the_number_of_statements_of_each_message() -> None:
    assert [len(list(statements(m))) for m in SAMPLES] == [1, 1 + 3 + 3, 1, 1, 1, 1 + 3, 3, 0]


def test_a_justification_with_certificates_where_none_belong_hides_no_signature() -> None:
    why = msgspec.structs.replace(C.why(*CHANGES), round_changes=CHANGES)
    assert len(list(statements(C.proposal(1, BLOCK, why)))) == 1 + 3 + 3 + 3


def test_a_signer_that_the_height_does_not_have_is_named() -> None:
    with pytest.raises(UnknownSigner, match="signer 4 of 4"):
        signatures(C.prepare(4, ID), CHAIN_ID, C.validators)


def test_the_bare_parts_sign_the_same_bytes() -> None:
    proposal, change = C.proposal(1, BLOCK, C.why(*CHANGES)), C.change(3, 1, LOCK)
    assert isinstance(proposal.bare(), BareProposal)
    assert signing_bytes(proposal.bare(), CHAIN_ID) == signing_bytes(proposal, CHAIN_ID)
    bare = change.bare()
    assert signing_bytes(bare, CHAIN_ID) == signing_bytes(change, CHAIN_ID)
    assert bare.certificate is None


def test_only_the_union_decodes() -> None:
    bare = encoding.encode(C.proposal().bare())
    with pytest.raises(MalformedMessage):
        decode(bare)
    assert isinstance(decode(encode(C.proposal())), Proposal)
    assert messages.consensus_key(C.validators, 2) == key(2).public
