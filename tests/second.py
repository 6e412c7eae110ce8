"""A second version of the rules, as a later release would bring it; version 1 is what it was.

Under version 2 a prescription may be committed again, a claim's cancelling costs a block more, and
there is no call that confirms a settlement. Real nodes find it by tests/network/altered.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from contracts import prescription
from contracts.calls import ClaimCancel, PrescriptionCommit, SettlementConfirm
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.dispatch import CODES, Code
from contracts.errors import Refused
from contracts.life import Rule

VERSION: Final = 2
CANCEL_COST: Final = 40


def commit_again(context: Context, call: PrescriptionCommit) -> Concerned:
    """Commit a prescription, or do nothing where it is committed already."""
    try:
        return prescription.LIFE.apply(context, call)
    except Refused:
        return NOBODY_ELSE


def code() -> Code:
    """Return the rules of version 2."""
    rules = dict(CODES[1].rules)
    del rules[SettlementConfirm]
    rules[PrescriptionCommit] = Rule(commit_again, rules[PrescriptionCommit].concerned)
    return Code(rules, {ClaimCancel: lambda _: CANCEL_COST})


@contextmanager
def known() -> Iterator[None]:
    """While it lasts, this software knows version 2."""
    CODES[VERSION] = code()
    try:
        yield
    finally:
        del CODES[VERSION]
