"""Whose turn it is, as the state holds it, so that a snapshot says it and every digest binds it."""

from typing import Final

from contracts.state import Overlay, Reader
from ledger.encoding import decode, encode
from ledger.turns import Turns

_TURNS: Final = b"t"  # -> Turns; absent while nobody has missed a turn


def load(state: Reader) -> Turns:
    """Return who leads at the next height."""
    found = state.get(_TURNS)
    return Turns() if found is None else decode(found, Turns)


def save(state: Overlay, turns: Turns) -> None:
    """Set who leads at the next height."""
    if turns.absences:
        state.put(_TURNS, encode(turns))
    else:
        state.delete(_TURNS)
