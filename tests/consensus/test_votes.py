"""The book: what it holds, what it lets go of, what it answers and what it reports."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consensus.evidence import DoubleVote
from consensus.messages import Commit, Prepare, Proposal, RoundChange, Signed, Status
from consensus.votes import PAST_ROUNDS, Book
from ledger.certificate import Seal
from ledger.hashing import NO_HASH
from tests.consensus.committee import HEIGHT, Committee

C = Committee(7)
ID, OTHER = C.outline().header.hash, C.outline(0, b"b").header.hash


def book(*messages: Signed) -> Book:
    made = Book(HEIGHT, C.validators)
    for message in messages:
        made.add(message)
    return made


def test_a_signer_counts_once() -> None:
    held = book(*[C.prepare(1, ID)] * 9, *[C.commit(1, ID)] * 9)
    assert held.prepared(0, ID) is None
    assert held.commit_quorum() is None
    assert len(held) == 2


def test_a_quorum_of_one_round_is_a_certificate_sorted_by_signer() -> None:
    votes = [C.prepare(i, ID, 2) for i in (6, 3, 0, 1, 5)]
    made = book(*votes).prepared(2, ID)
    assert made == C.prepared(ID, 2, (0, 1, 3, 5, 6))
    assert book(*votes).prepared(2, OTHER) is None


def test_votes_of_different_rounds_or_blocks_make_no_quorum() -> None:
    mixed = [C.commit(i, ID, i % 2) for i in range(7)]
    assert book(*mixed).commit_quorum() is None
    split = [C.commit(i, ID if i % 2 else OTHER) for i in range(7)]
    assert book(*split).commit_quorum() is None


def test_commits_of_any_round_decide() -> None:
    held = book(*(C.commit(i, ID, 4) for i in (0, 2, 4, 5, 6)))
    assert held.commit_quorum() == C.committed(ID, 4, (0, 2, 4, 5, 6))
    held.add(C.commit(1, ID, 4))
    held.advance(40)
    assert held.commit_quorum() == C.committed(ID, 4, (0, 2, 4, 5, 6))


def test_what_the_book_would_not_keep_is_not_worth_a_signature_check() -> None:
    held = book(C.prepare(1, ID, 3), C.change(2, 9), C.prepare(4, ID, 90))
    held.advance(8)
    for message, is_wanted in (
        (C.prepare(1, ID, 3), False),  # the same again
        (C.prepare(1, OTHER, 3), True),  # it proves something
        (C.prepare(1, ID, 8), True),
        (C.prepare(1, ID, 8 - PAST_ROUNDS - 1), False),  # too old
        (C.prepare(1, ID, 77), True),  # the highest of its signer so far
        (C.prepare(4, ID, 89), False),  # neither near nor the highest
        (C.prepare(4, ID, 91), True),
        (C.change(2, 9), False),
        (C.change(2, 10), True),
        (msgspec.structs.replace(C.prepare(1, ID), signer=99), True),  # verification refuses it
    ):
        assert held.wants(message, reported=False) is is_wanted, message
    assert not held.wants(C.prepare(1, OTHER, 3), reported=True)  # it proves nothing new


def test_the_first_message_of_a_slot_stays_and_the_second_is_evidence() -> None:
    first, second = C.prepare(1, ID), C.prepare(1, OTHER)
    held = book(first)
    [evidence] = held.conflicts(second)
    assert isinstance(evidence, DoubleVote)
    held.add(second)
    assert held.conflicts(first) == ()
    assert held.block_ids() == {ID}


def test_the_rank_of_wishes_counts_each_signer_by_his_highest() -> None:
    held = book(*(C.change(i, r) for i, r in ((0, 5), (1, 3), (1, 9), (2, 2))))
    assert [held.wish_rank(k) for k in (1, 2, 3, 4)] == [9, 5, 2, 0]
    assert held.wishes() == (5, 9, 2, 0, 0, 0, 0)


def test_round_changes_are_those_for_exactly_one_round() -> None:
    held = book(C.change(4, 1), C.change(2, 1), C.change(3, 2))
    assert held.round_changes(1) == (C.change(2, 1), C.change(4, 1))
    held.advance(2)
    assert held.round_changes(1) == ()
    assert held.wishes() == (0, 0, 1, 2, 1, 0, 0)


def test_old_votes_are_let_go_and_far_ones_but_the_farthest() -> None:
    held = book(*(C.prepare(1, ID, r) for r in (0, 1, 5, 9, 7)))
    assert {item.round for item in held.held()} == {0, 1, 9}
    held.advance(PAST_ROUNDS + 1)
    assert {item.round for item in held.held()} == {1, 9}


def test_proposals_come_highest_round_first() -> None:
    why = C.why(*(C.change(i, 1) for i in range(5)))
    low, high = C.proposal(), C.proposal(1, C.outline(1), why)
    assert book(low, high).proposals() == (high, low)


def status(held: Book, round_: int = 0, wish: int = 0) -> Status:
    return Status(HEIGHT, round_, wish, NO_HASH, held.held(), held.wishes())


def test_nothing_is_missing_between_equals() -> None:
    messages: list[Signed] = [C.proposal(), C.prepare(1, ID), C.commit(6, ID), C.change(3, 1)]
    held = book(*messages)
    assert list(held.missing(status(held), leads=True)) == []
    assert list(held.missing(status(book()), leads=True)) == [
        *(C.proposal(), C.change(3, 1), C.prepare(1, ID), C.commit(6, ID))
    ]


def test_only_what_the_other_would_take_is_offered() -> None:
    held = book(C.proposal(), C.prepare(1, ID), C.change(3, 1), C.commit(2, ID, 9))
    assert list(held.missing(status(book(), 1, 1), leads=True)) == [
        C.change(3, 1),
        C.prepare(1, ID),
    ]
    assert list(held.missing(status(book(), 0, 1), leads=False)) == [
        C.change(3, 1),
        C.prepare(1, ID),
    ]
    assert list(held.missing(status(book(), 30, 30), leads=True)) == []


def test_a_leader_is_sent_the_round_changes_that_it_lacks_and_no_other() -> None:
    held, leader = book(C.change(3, 1), C.change(4, 1)), book(C.change(4, 1))
    assert list(held.missing(status(leader, 1, 1), leads=True)) == [C.change(3, 1)]
    assert list(held.missing(status(leader, 1, 1), leads=False)) == []


def test_a_round_change_that_was_let_go_is_not_offered() -> None:
    held = book(C.change(3, 1))
    held.advance(2)
    assert list(held.missing(status(book()), leads=False)) == []


@pytest.mark.parametrize("wishes", [(), (0,) * 7, (9,) * 7])
def test_a_status_with_lists_of_the_wrong_length_is_no_error(wishes: tuple[int, ...]) -> None:
    held = book(C.change(3, 1))
    strange = Status(HEIGHT, 0, 0, NO_HASH, (), wishes)
    expected = [] if 9 in wishes else [C.change(3, 1)]
    assert list(held.missing(strange, leads=False)) == expected


ROUNDS = st.integers(0, 12) | st.integers(0, 1 << 31)
IDS = st.sampled_from([ID, OTHER])
SIGNERS = st.integers(0, 6)


class Bookkeeping(RuleBasedStateMachine):
    """The book against a list of everything that was ever said to it."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(HEIGHT, C.validators)
        self.base = 0
        self.first: dict[tuple[type[Signed], int, int], Signed] = {}
        self.certificate = False

    def take(self, message: Signed) -> None:
        self.first.setdefault((type(message), message.signer, message.round), message)
        self.book.add(message)

    @rule(kind=st.sampled_from([Prepare, Commit]), signer=SIGNERS, round_=ROUNDS, block_id=IDS)
    def vote(
        self, kind: type[Prepare] | type[Commit], signer: int, round_: int, block_id: bytes
    ) -> None:
        self.take(kind(HEIGHT, round_, block_id, signer, bytes(64)))

    @rule(signer=SIGNERS, round_=ROUNDS)
    def wish(self, signer: int, round_: int) -> None:
        self.take(RoundChange(HEIGHT, round_ + 1, -1, NO_HASH, None, signer, bytes(64)))

    @rule(round_=st.integers(0, 9))
    def propose(self, round_: int) -> None:
        self.take(Proposal(round_, C.outline(round_), None, C.leader(round_), bytes(64)))

    @precondition(lambda self: self.base < 9)
    @rule(by=st.integers(1, 8))
    def enter(self, by: int) -> None:
        self.base += by
        self.book.advance(self.base)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.book) <= 24 * 7

    @invariant()
    def holds_only_what_was_said_first(self) -> None:
        for round_ in range(self.base, self.base + 2):
            for block_id in (ID, OTHER):
                certificate = self.book.prepared(round_, block_id)
                expected = tuple(
                    Seal(signer, bytes(64))
                    for signer in range(7)
                    if isinstance(vote := self.first.get((Prepare, signer, round_)), Prepare)
                    and vote.block_id == block_id
                )
                if certificate is not None:
                    assert set(certificate.seals) <= set(expected)
                    assert len(certificate.seals) >= 5

    @invariant()
    def the_rank_is_of_the_highest_wishes(self) -> None:
        tops = [0] * 7
        for kind, signer, round_ in self.first:
            if kind is RoundChange:
                tops[signer] = max(tops[signer], round_)
        expected = sorted(tops, reverse=True)
        assert [self.book.wish_rank(k) for k in range(1, 8)] == expected

    @invariant()
    def a_status_of_its_own_lacks_nothing(self) -> None:
        own = Status(HEIGHT, self.base, self.base, NO_HASH, self.book.held(), self.book.wishes())
        assert list(self.book.missing(own, leads=True)) == []


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
