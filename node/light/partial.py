"""The part of the state that the entries of one member lead to.

Each entry's outcome was certified with it: what was applied needs no guard, which may ask of what
others keep to themselves, and is done to the state as its row in the contracts' own tables says.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from contracts import agenda, dispatch, eras, governance, membership, parameters
from contracts.calls import (
    Call,
    ReadySignal,
    Seating,
    ValidatorJoin,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    Vote,
    parse_call,
)
from contracts.context import Context
from contracts.errors import Inadmissible, Refused
from contracts.explanation import named
from contracts.governance import SeatCall
from contracts.life import Life
from contracts.registry import Family, Key
from contracts.state import Overlay
from ledger.encoding import Struct
from ledger.entry import APPLIED, Entry
from ledger.errors import LedgerError
from ledger.hashing import Hash
from ledger.keys import Algorithm, Role
from ledger.transaction import created_id
from ledger.validators import MemberId, ValidatorSet

# Which key signed stands in no entry. What a table keeps of it (`decided_by`) is not shown.
UNKNOWN_KEY: Final = Key(Role.TRANSACTION, Algorithm.ED25519, bytes(32), 0, None)


def _bare(life: Life[Any]) -> Life[Any]:
    """Return a life without what only decides whether a call is applied."""
    rows = (replace(row, guards=(), opens=None, closes=None) for row in life.rows)
    return replace(life, rows=tuple(rows))


# A call of two lives is made in that which dispatch asks, and moves the other from there.
_LIVES: Final[dict[type[Struct], Life[Any]]] = {
    call: _bare(life) for life in dispatch.LIVES for call in life.calls
}
_GOVERNANCE: Final = _bare(governance.LIFE)


class Partial:
    """Does to a partial state what entries did to the whole one."""

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id

    def run(
        self, state: Overlay, entries: Iterable[Entry], height: int
    ) -> Iterator[tuple[bytes, str]]:
        """Apply entries in the order of the log, and what takes effect up to after `height`.

        Yields each thing whose state cannot be told from here on, and why.
        """
        for entry in entries:
            _carry_out(state, entry.height)
            if entry.outcome.code == APPLIED:
                yield from self._apply(state, entry)
        _carry_out(state, height + 1)

    def _apply(self, state: Overlay, entry: Entry) -> Iterator[tuple[bytes, str]]:
        call = parse_call(entry.call)
        inner = Overlay(state)
        try:
            _do(self._context(inner, entry), call, entry.outcome.evidence)
        except (Refused, Inadmissible, LedgerError, AssertionError) as error:
            reason = f"{type(call).__name__} at height {entry.height}: {error!r}"
            for thing in named(call, created_id(entry.transaction, entry.position)):
                yield thing, reason
            return
        for key, value in inner.changes.items():
            if value is None:
                state.delete(key)
            else:
                state.put(key, value)

    def _context(self, state: Overlay, entry: Entry) -> Context:
        return Context(
            state,
            parameters.load(state),
            self._chain_id,
            entry.height,
            entry.time,
            MemberId(entry.sender),
            Family.OPTICIAN,  # guards ask it; the one left is of a lock, which only opticians make
            UNKNOWN_KEY,
            Hash(entry.transaction),
            entry.position,
        )


def _do(context: Context, call: Call, evidence: tuple[int, ...]) -> None:
    match call:
        case Vote():
            _vote(context, call, evidence)
        case ReadySignal():
            pass  # which version is in force each header says
        case ValidatorRotate():
            _seat(context, call)
        case ValidatorJoin() | ValidatorLeave() | ValidatorReplace():
            _GOVERNANCE.move(context, call.change.proposal, call)
            _seat(context, call)
        case _:
            life = _LIVES.get(type(call))
            if life is None:
                dispatch.rule_of(type(call)).apply(context, call)
            else:
                life.apply(context, call)


def _seat(context: Context, call: SeatCall | ValidatorRotate) -> None:
    """Let others vote two blocks later: what takes effect before may depend on it."""
    members = eras.latest(context.state).validators.members
    after = ValidatorSet(membership.seated(members, call))
    eras.begin(context.state, context.height + membership.EFFECT, after)


def _vote(context: Context, call: Vote, evidence: tuple[int, ...]) -> None:
    """Move a proposal to the state that the entry of the vote says."""
    proposal = governance.load(context.state, call.proposal)
    assert proposal is not None, "no such proposal is known here"
    after = governance.State(evidence[0])
    waits = isinstance(proposal.subject, Seating)  # for a call of its own, not on the agenda
    rows = [row for row in _GOVERNANCE.rows if row.call is Vote and row.after is after]
    passing = [row for row in rows if (governance.put_on_agenda in row.effects) != waits]
    row = (passing if after is governance.State.PASSED else rows)[0]
    _GOVERNANCE.take(context, call.proposal, proposal, row, call)


def _carry_out(state: Overlay, height: int) -> None:
    """Let everything take effect that was voted for a height up to this one."""
    while (due := agenda.next_height(state)) is not None and due <= height:
        governance.run_agenda(state, due)
