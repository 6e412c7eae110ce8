"""One-use marks: no item of a prescription is reimbursed twice.

A mark is locked before it is used, in an earlier block, so that nobody who sees it on its way can
burn it: by then it is too late for his own lock. The claim that uses it holds it as long as it
lives; a claim that was rejected lives until its submitter gives it up.
"""

from typing import Final

from contracts.calls import Mark, MarkLock
from contracts.commitment import lock_of
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.registry import Family
from contracts.state import Overlay, Reader
from ledger.hashing import Hash

_LOCK: Final = b"l"  # + lock -> height u64; removed when the mark is used
_MARK: Final = b"x"  # + mark -> id of the live claim that uses it


def lock(context: Context, call: MarkLock) -> Concerned:
    """Record a lock, whose mark only its owner knows, or raise `Refused`."""
    if context.family is not Family.OPTICIAN:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)
    since = locked_at(context.state, call.lock)
    if since is not None:
        raise Refused(Refusal.MARK_ALREADY_LOCKED, since)
    context.state.put(_LOCK + call.lock, context.height.to_bytes(8))
    return NOBODY_ELSE


def locked_at(state: Reader, lock: bytes) -> int | None:
    """Return the height since which this lock stands, None where it does not."""
    found = state.get(_LOCK + lock)
    return None if found is None else int.from_bytes(found)


def holder(state: Reader, mark: bytes) -> bytes | None:
    """Return the id of the live claim that uses `mark`, None where none does."""
    return state.get(_MARK + mark)


def require_usable(context: Context, marks: tuple[Mark, ...]) -> None:
    """Raise `Refused` where one of these marks may not be used now by the sender.

    That a mark is used is told only to who has locked it, and so knew it.
    """
    for number, mark in enumerate(marks):
        since = locked_at(context.state, _lock_of(context, mark))
        if since is None:
            raise Refused(Refusal.MARK_NOT_LOCKED, number)
        if since >= context.height:
            raise Refused(Refusal.MARK_LOCKED_TOO_LATE, number)
    for mark in marks:
        if holder(context.state, mark.mark) is not None:
            raise Refused(Refusal.MARK_ALREADY_USED)


def use(context: Context, marks: tuple[Mark, ...], claim: bytes) -> None:
    """Give usable `marks` to `claim` and consume the sender's locks."""
    for mark in marks:
        context.state.delete(_LOCK + _lock_of(context, mark))
        context.state.put(_MARK + mark.mark, claim)


def free(state: Overlay, marks: tuple[Mark, ...]) -> None:
    """Take `marks` from the claim that held them."""
    for mark in marks:
        state.delete(_MARK + mark.mark)


def _lock_of(context: Context, mark: Mark) -> Hash:
    return lock_of(context.chain_id, context.sender, mark.mark)


def _concerned(_state: Reader, _call: MarkLock, _made: bytes) -> Concerned:
    return NOBODY_ELSE


RULES: Final[Rules] = {MarkLock: Rule(lock, _concerned)}
