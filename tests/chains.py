"""Chains in which, together, every kind of call is applied, and many are refused.

`scripts/determinism` and `scripts/costs` execute them; whoever adds a kind of call adds to them.
"""

from contracts.calls import PrescriptionCommit, ReadySignal, ReplaceValidator, ScheduleVersion
from contracts.parameters import Parameters
from ledger.block import CommittedBlock
from ledger.transaction import Transaction
from tests import second
from tests.chainmaker import (
    NEWCOMERS,
    SHOPS,
    Chain,
    deliberation,
    found,
    member_of,
    some_bytes,
    story,
    upheaval,
)
from tests.housekeeping import housekeeping
from tests.lifelines import lives


def chains() -> list[Chain]:
    """Return them; of what happens a second time in one, most is refused."""
    changed = story(upheaval())
    changed.block(
        changed.transaction("operator", ReadySignal(1)),
        changed.transaction("shop-a", ReadySignal(1)),  # refused: it runs no validator
    )
    return [story(story()), changed, deliberation(), housekeeping()[0], lives()]


NOT_BEFORE, FIRST = 9, 15  # block from which version 2 may be announced, and its first


def two_versions() -> Chain:
    """Return a chain of 16 blocks, the last two of which are under the rules of `tests.second`.

    Three of four validators are ready before the vote; one of them is then replaced by a newcomer,
    which holds it up until it is ready too. One prescription is committed again and again.
    """
    chain = Chain(found(others=(*SHOPS, *NEWCOMERS), parameters=Parameters(notice_blocks=2)))

    def work() -> CommittedBlock:
        commit = PrescriptionCommit(some_bytes("twice"))
        return chain.block(chain.transaction("shop-a", commit))

    def ready(*labels: str) -> list[Transaction]:
        signal = ReadySignal(second.VERSION)
        return [chain.transaction(label, signal) for label in labels]

    with second.known():
        seats = ReplaceValidator(member_of("insurer-b"), member_of("operator-b"))
        chain.agree(seats, beside=ready("operator", "insurer-a", "insurer-b"))
        replace = chain.transaction("operator-b", chain.replacing("insurer-b", "operator-b"))
        chain.enact(ScheduleVersion(second.VERSION), beside=[replace])  # blocks 3 to 8
        for _ in range(3):
            work()  # 9 to 11
        chain.block(*ready("operator-b"))
        for _ in range(4):
            work()  # 13 announces version 2
    return chain
