"""Catching up: only the next block that a quorum decided is taken, whoever sends it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.execute import DirectSignatures
from ledger.block import CommittedBlock
from ledger.encoding import decode, encode
from ledger.entry import Outcome
from ledger.errors import LedgerError, Malformed, Mismatch, NoQuorum
from ledger.store import open_store
from node.chain import Chain
from node.sync import (
    Blocks,
    Diverged,
    PullBlocks,
    PullCandidate,
    Pulled,
    PullMempool,
    PullTransactions,
    parse_pull,
    parse_reply,
    verified_block,
)
from tests.chainmaker import some_bytes, story

SIGNATURES = DirectSignatures()
STORY = story()
SECOND, THIRD = STORY.blocks[1:3]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A chain with the first block of the story."""
    chain = Chain.open(tmp_path, STORY.genesis.genesis, SIGNATURES)
    follow(chain, STORY.blocks[0])
    yield chain
    chain.close()


def follow(chain: Chain, block: CommittedBlock) -> None:
    taken = verified_block(chain, encode(block), SIGNATURES)
    assert taken is not None
    chain.commit(*taken)


def changed(committed: CommittedBlock, **fields: object) -> bytes:
    return encode(msgspec.structs.replace(committed, **fields))


def test_a_chain_grows_by_what_peers_send(chain: Chain) -> None:
    for block in STORY.blocks[1:]:
        follow(chain, block)
    assert chain.header == STORY.state.header
    assert chain.record(3) == encode(THIRD)


def test_a_block_that_is_here_already_is_passed_over(chain: Chain) -> None:
    assert verified_block(chain, encode(STORY.blocks[0]), SIGNATURES) is None


def test_a_block_above_the_next_is_refused(chain: Chain) -> None:
    with pytest.raises(Mismatch, match="height"):
        verified_block(chain, encode(THIRD), SIGNATURES)


def test_what_no_quorum_decided_is_refused(chain: Chain) -> None:
    block_id = SECOND.block.header.hash
    for certificate, error in (
        (STORY.certify(2, block_id, signers=(0, 1)), NoQuorum),
        (THIRD.certificate, Mismatch),
        (STORY.certify(3, block_id), Mismatch),
        (STORY.certify(2, bytes(32)), Mismatch),
    ):
        with pytest.raises(error):
            verified_block(chain, changed(SECOND, certificate=certificate), SIGNATURES)
    assert chain.height == 1


def test_a_body_that_was_not_decided_is_the_senders_fault(chain: Chain) -> None:
    for body in (
        msgspec.structs.replace(SECOND.block.body, transactions=()),
        msgspec.structs.replace(SECOND.block.body, parent_commit=None),
        msgspec.structs.replace(SECOND.block.body, evidence=(b"evidence",)),
    ):
        block = msgspec.structs.replace(SECOND.block, body=body)
        with pytest.raises(LedgerError):  # and not Diverged, which would stop this node
            verified_block(chain, changed(SECOND, block=block), SIGNATURES)


def test_outcomes_that_are_not_those_of_the_block_are_refused(chain: Chain) -> None:
    for outcomes in ((), (*SECOND.outcomes[:-1], Outcome(0, (1,)))):
        with pytest.raises(Mismatch, match="outcomes"):
            verified_block(chain, changed(SECOND, outcomes=outcomes), SIGNATURES)


def test_a_decided_block_that_is_invalid_here_means_that_we_diverged(tmp_path: Path) -> None:
    chain = Chain.open(tmp_path, STORY.genesis.genesis, SIGNATURES)
    for block in STORY.blocks[:2]:
        follow(chain, block)
    chain.close()
    store = open_store(tmp_path / "state")
    commits = [
        pair for pair in store.scan(b"s", 9999) if some_bytes("prescription", "one") in pair[0]
    ]
    assert commits
    store.write(dict.fromkeys((key for key, _ in commits), None))
    store.close()
    chain = Chain.open(tmp_path, STORY.genesis.genesis, SIGNATURES)
    with pytest.raises(Diverged, match="block 3, which a quorum decided, is not valid here"):
        verified_block(chain, encode(THIRD), SIGNATURES)
    chain.close()


@given(place=st.integers(0, len(encode(SECOND)) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    chain = Chain.open(tmp_path_factory.mktemp("c"), STORY.genesis.genesis, SIGNATURES)
    follow(chain, STORY.blocks[0])
    damaged = bytearray(encode(SECOND))
    damaged[place] ^= 1 << bit
    try:
        assert verified_block(chain, bytes(damaged), SIGNATURES) is None  # of a lower height
    except LedgerError:
        pass
    finally:
        chain.close()


@pytest.mark.parametrize(
    "request_",
    [
        PullTransactions((bytes(32),)),
        PullCandidate(bytes(32)),
        PullBlocks(1, 2),
        PullMempool(),
    ],
)
def test_a_request_is_read_as_it_was_written(request_: PullTransactions) -> None:
    assert parse_pull(encode(request_)) == request_


def test_a_reply_is_read_as_it_was_written() -> None:
    for reply in (Pulled((b"raw",)), Blocks(2, (encode(SECOND),)), Blocks(9, ())):
        assert parse_reply(encode(reply)) == reply
    assert decode(encode(SECOND), CommittedBlock) == SECOND


@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for parse in (parse_pull, parse_reply):
        try:
            message = parse(data)
        except Malformed:
            continue
        assert encode(message) == data


@pytest.mark.parametrize(
    "too_much",
    [
        PullTransactions(()),
        PullTransactions((bytes(32),) * 4097),
        PullTransactions((bytes(31),)),
        PullBlocks(-1, 2),
    ],
)
def test_a_request_for_too_much_is_refused(too_much: PullTransactions) -> None:
    with pytest.raises(Malformed):
        parse_pull(encode(too_much))
