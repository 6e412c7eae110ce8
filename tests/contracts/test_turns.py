"""Whose turn it is stands in the state only while somebody is absent."""

from contracts import turns
from contracts.state import Nothing, Overlay
from ledger.turns import Absence, Turns
from tests.chainmaker import Chain, found


def test_absences_are_saved_and_forgotten() -> None:
    state = Overlay(Nothing())
    assert turns.load(state) == Turns()
    absent = Turns((Absence(2, 1, 9),))
    turns.save(state, absent)
    assert turns.load(state) == absent
    turns.save(state, Turns())
    assert turns.load(state) == Turns()
    assert state.difference() == ([], [])


def test_a_block_of_a_round_above_0_is_bound_into_the_state() -> None:
    chain = Chain(found())
    chain.block(built_round=1)
    n = len(chain.state.validators)
    absent = Turns().leader(n, 1, 0)
    assert turns.load(chain.memory).absences == (Absence(absent, 1, 2 + 2 * n),)
    assert chain.state.turns == turns.load(chain.memory)
    while turns.load(chain.memory).absences:  # until it builds a block again
        chain.block()
        assert chain.state.header.height <= 2 + 3 * n
