"""One-use marks: no item of a prescription is reimbursed twice.

A mark is locked before it is used, in an earlier block, so that nobody who sees it on its way can
burn it: by then it is too late for his own lock. A claim or a prior agreement holds its marks as
long as it lives, and for some time after it was rejected; nothing sweeps what that time is over
for. A lock that nobody uses stays: it tells nothing, takes nothing from anybody, and is a tenth of
what the entry that made it takes in the log for ever.

Two secrets made from one paper are two marks. A mark stops who was handed one prescription with
its secret from claiming it twice; it does not stop two shops that each typed the same paper.
"""

from typing import Annotated, Final

import msgspec

from contracts.calls import Mark, MarkLock
from contracts.commitment import lock_of
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.errors import Refusal, Refused
from contracts.life import Rule, Rules
from contracts.registry import Family
from contracts.state import Overlay, Reader
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.hashing import Hash
from ledger.validators import Bytes32

_LOCK: Final = b"l"  # + lock -> height u64; removed when the mark is used
_MARK: Final = b"x"  # + mark -> Held


class Held(Struct):
    """Who uses a mark."""

    holder: Bytes32  # id of a claim or of an authorisation
    until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)] | None  # last second; None: no end yet


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


def held(state: Reader, mark: bytes, time: int) -> Held | None:
    """Return who uses `mark` at this time and until when, None where nobody does."""
    found = state.get(_MARK + mark)
    if found is None:
        return None
    known = decode(found, Held)
    return known if known.until is None or time <= known.until else None


def holder(state: Reader, mark: bytes, time: int) -> bytes | None:
    """Return the id of what uses `mark` at this time, None where nothing does."""
    found = held(state, mark, time)
    return None if found is None else found.holder


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
        if holder(context.state, mark.mark, context.time) is not None:
            raise Refused(Refusal.MARK_ALREADY_USED)


def unlock(context: Context, marks: tuple[Mark, ...]) -> None:
    """Consume the sender's locks of `marks`."""
    for mark in marks:
        context.state.delete(_LOCK + _lock_of(context, mark))


def hold(state: Overlay, marks: tuple[Mark, ...], holder: bytes, until: int | None) -> None:
    """Let `holder` hold `marks` until this second, or without an end yet."""
    value = encode(Held(holder, until))
    for mark in marks:
        state.put(_MARK + mark.mark, value)


def free(state: Overlay, marks: tuple[Mark, ...]) -> None:
    """Take `marks` from what held them."""
    for mark in marks:
        state.delete(_MARK + mark.mark)


def _lock_of(context: Context, mark: Mark) -> Hash:
    return lock_of(context.chain_id, context.sender, mark.mark)


def _concerned(_state: Reader, _call: MarkLock, _made: bytes) -> Concerned:
    return NOBODY_ELSE


RULES: Final[Rules] = {MarkLock: Rule(lock, _concerned)}
