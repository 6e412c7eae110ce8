"""Who votes when: what is found is what was begun last before, however many eras there are."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from contracts import eras
from contracts.state import Nothing, Overlay
from ledger.validators import ValidatorSet
from tests.contracts.world import genesis

MEMBERS = genesis().validator_set.members
SETS = [ValidatorSet(MEMBERS[:n]) for n in range(1, 5)]


@given(st.lists(st.integers(1, 60), unique=True, max_size=20).map(sorted))
def test_an_era_is_found_by_any_of_its_heights(begins: list[int]) -> None:
    state = Overlay(Nothing())
    eras.start(state, SETS[0])
    for number, height in enumerate(begins, 1):
        eras.begin(state, height, SETS[number % 4])
    for height in range(70):
        number = bisect_right(begins, height)
        found = eras.at(state, height)
        assert found.number == number
        assert found.from_height == (begins[number - 1] if number else 0)
        assert eras.validators_at(state, height) == SETS[number % 4]
    assert eras.latest(state).number == len(begins)


def test_the_eras_among_other_pairs_are_found_in_their_order() -> None:
    state = Overlay(Nothing())
    eras.start(state, SETS[0])
    eras.begin(state, 5, SETS[1])
    pairs = [(b"e", bytes(8)), *state.scan(b"n", 9), *state.scan(b"v", 9), (b"w", b"")]
    assert list(eras.among(pairs)) == [eras.Era(0, 0, SETS[0]), eras.Era(1, 5, SETS[1])]
