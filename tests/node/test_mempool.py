"""The mempool: first come, first served, and bounded whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import PrescriptionCommit
from ledger.transaction import Transaction
from node.mempool import Limits, Mempool, MempoolFull
from tests.chainmaker import some_bytes
from tests.node.cluster import ALONE, make_genesis, transaction_of

GENESIS = make_genesis(ALONE)
SIZE = 237  # of a transaction of one call


def made(name: object, sender: str = "shop-a", calls: int = 1, **changed: object) -> Transaction:
    commits = [PrescriptionCommit(some_bytes(name, n)) for n in range(calls)]
    return transaction_of(GENESIS, sender, *commits, **changed)


SOME = [made(n, sender) for n in range(6) for sender in ("shop-a", "shop-b", "federation")]


def test_it_gives_back_what_it_holds_by_either_name() -> None:
    pool = Mempool(Limits())
    one, other = SOME[:2]
    assert pool.add(one)
    assert not pool.add(one)
    assert one.id in pool
    assert pool.get(one.id) is one
    assert pool.by_leaf(one.leaf) is one
    assert other.id not in pool
    assert pool.get(other.id) is pool.by_leaf(other.leaf) is None
    assert (len(pool), pool.bytes) == (1, len(one.raw))


def test_those_that_came_first_are_given_first() -> None:
    pool = Mempool(Limits())
    for each in SOME:
        pool.add(each)
    assert pool.oldest(calls=5, size=1 << 20) == SOME[:5]
    size = sum(len(each.raw) for each in SOME[:3])
    assert pool.oldest(calls=100, size=size) == SOME[:3]
    assert pool.oldest(calls=100, size=size - 1) == SOME[:2]


def test_one_that_is_larger_than_what_is_asked_for_is_given_alone() -> None:
    pool = Mempool(Limits())
    lot = made("lot", calls=20)
    pool.add(lot)
    pool.add(SOME[0])
    assert pool.oldest(calls=10, size=1) == [lot]  # it would wait for ever otherwise


def test_a_full_one_refuses_and_drops_nothing() -> None:
    pool = Mempool(Limits(transactions=2))
    for each in SOME[:2]:
        pool.add(each)
    with pytest.raises(MempoolFull, match="2 transactions"):
        pool.add(SOME[2])
    assert pool.oldest(calls=9, size=1 << 20) == SOME[:2]
    assert not pool.add(SOME[0])  # it is here already


def test_no_sender_takes_the_room_of_all() -> None:
    room = 20 * len(SOME[0].raw)
    pool = Mempool(Limits(bytes=room))
    for n in range(10):
        pool.add(made(n))
    with pytest.raises(MempoolFull, match="share"):
        pool.add(made(10))
    assert pool.bytes <= room // 2
    assert pool.add(made("mine", "shop-b"))
    pool.remove([pool.oldest(calls=1, size=1 << 20)[0].id])
    assert pool.add(made("again"))  # its share is given back


def test_what_is_too_late_is_named() -> None:
    pool = Mempool(Limits())
    early, late = made("early", valid_until=100), made("late", valid_until=101)
    pool.add(early)
    pool.add(late)
    assert pool.expired(100) == []
    assert pool.expired(101) == [early.id]
    assert pool.expired(102) == [early.id, late.id]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(SOME)), max_size=60))
def test_its_counts_are_true_after_anything(steps: list[tuple[bool, Transaction]]) -> None:
    pool = Mempool(Limits(transactions=8, bytes=8 * SIZE))
    expected: list[Transaction] = []
    for is_added, transaction in steps:
        if is_added:
            try:
                is_new = pool.add(transaction)
            except MempoolFull:
                continue
            assert is_new == (transaction not in expected)
            expected += [transaction] * is_new
        else:
            pool.remove([transaction.id, bytes(32)])
            expected = [each for each in expected if each is not transaction]
    assert len(pool) == len(expected)
    assert pool.bytes == sum(len(each.raw) for each in expected) <= 8 * SIZE
    assert all(pool.by_leaf(each.leaf) is each for each in expected)
    assert len(pool._by_leaf) == len(expected)
    assert set(pool._held) == {each.body.sender for each in expected}
