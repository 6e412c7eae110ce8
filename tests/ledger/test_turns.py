"""Whose turn it is: round robin, past those that missed their turns, and never past more than f."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.turns import MAX_PASSED_OVER, Absence, Turns
from ledger.validators import faulty

sizes = st.integers(1, 13)
blocks = st.lists(st.integers(0, 20), max_size=60)  # the built round of each block


def fold(n: int, built_rounds: list[int]) -> Turns:
    """Return the turns after these blocks."""
    turns = Turns()
    for height, built_round in enumerate(built_rounds, 1):
        turns = turns.after(n, height, built_round)
    return turns


def test_the_leader_moves_on_with_every_height_and_every_round() -> None:
    turns = Turns()
    assert [turns.leader(4, height, 0) for height in range(1, 6)] == [1, 2, 3, 0, 1]
    assert [turns.leader(4, 2, round_) for round_ in range(5)] == [2, 3, 0, 1, 2]


def test_who_missed_its_turn_is_passed_over_for_twice_n_blocks() -> None:
    turns = Turns().after(4, 1, 1)  # validator 1 should have built block 1
    assert turns.absences == (Absence(1, 1, 1 + 1 + 8),)
    assert [turns.leader(4, height, 0) for height in range(2, 10)] == [3, 0, 2, 3, 0, 2, 3, 0]
    assert turns.leader(4, 13, 0) == 1


def test_who_goes_on_missing_is_passed_over_twice_as_long_each_time_up_to_a_bound() -> None:
    turns, missed_at = Turns(), []
    for height in range(1, 5_000):
        missed = turns.leader(4, height, 0) == 2
        if missed:
            missed_at.append(height)
        turns = turns.after(4, height, int(missed))
    gaps = [later - earlier for earlier, later in pairwise(missed_at)]
    for gap, passed_over in zip(gaps, [8, 16, 32, 64, 128, 256, 512, 1024, 1024], strict=False):
        assert passed_over < gap <= passed_over + 4
    assert len(missed_at) < 15  # of the 1,250 turns that it would have had


def test_a_block_of_its_own_ends_the_absence() -> None:
    turns = fold(4, [1] + [0] * 11)
    assert turns.absences
    assert turns.leader(4, 13, 0) == 1
    assert turns.after(4, 13, 0) == Turns()


def test_of_too_many_those_that_missed_most_are_passed_over() -> None:
    turns = Turns((Absence(0, 1, 100), Absence(1, 3, 100), Absence(2, 3, 100), Absence(3, 2, 100)))
    assert turns.passed_over(4, 50) == (1,)
    assert turns.passed_over(7, 50) == (1, 2)
    assert turns.passed_over(4, 100) == ()


def test_a_block_of_a_huge_round_is_judged_at_once_and_counts_one_miss_each() -> None:
    turns = Turns().after(4, 8, (1 << 32) - 1)  # led by validator 3
    assert turns.absences == tuple(Absence(index, 1, 17) for index in (0, 1, 2))


@given(sizes, blocks, st.integers(0, 50))
def test_f_plus_1_rounds_in_a_row_are_led_by_as_many_validators(
    n: int, built_rounds: list[int], round_: int
) -> None:
    turns, height = fold(n, built_rounds), len(built_rounds) + 1
    passed_over = turns.passed_over(n, height)
    assert len(passed_over) <= faulty(n)
    leaders = [turns.leader(n, height, round_ + i) for i in range(n - len(passed_over))]
    assert sorted((*leaders, *passed_over)) == list(range(n))


@given(sizes, blocks)
def test_they_are_encoded_and_bounded(n: int, built_rounds: list[int]) -> None:
    turns = fold(n, built_rounds)
    assert decode(encode(turns), Turns) == turns
    indices = [absence.validator for absence in turns.absences]
    assert indices == sorted(set(indices))
    for absence in turns.absences:
        assert absence.until <= len(built_rounds) + 1 + MAX_PASSED_OVER


@given(sizes, st.integers(0, 60))
def test_while_nobody_misses_a_turn_nothing_is_kept(n: int, count: int) -> None:
    assert fold(n, [0] * count) == Turns()
