"""A second version of the rules, as a later release would bring it; version 1 is what it was.

Under version 2 a prescription may be committed again, a claim's cancelling costs a block more, and
there is no call that confirms a settlement. Real nodes find it by tests/network/altered.
"""

from typing import Final

import pytest

from contracts import genesis, prescription, versions
from contracts.calls import ClaimCancel, PrescriptionCommit, SettlementConfirm
from contracts.context import NOBODY_ELSE, Concerned, Context
from contracts.dispatch import CODES, Code
from contracts.errors import Refused
from contracts.genesis import Genesis
from contracts.life import Rule
from contracts.state import Overlay

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


def know(patch: pytest.MonkeyPatch) -> None:
    """Let this software know version 2."""
    patch.setitem(CODES, VERSION, code())


def schedule(patch: pytest.MonkeyPatch, height: int) -> None:
    """Let every chain begin with version 2 scheduled, as if it had been voted before."""
    begin = genesis._initial_state

    def scheduled(founding: Genesis) -> Overlay:
        state = begin(founding)
        versions.schedule(state, VERSION, height)
        return state

    patch.setattr(genesis, "_initial_state", scheduled)
