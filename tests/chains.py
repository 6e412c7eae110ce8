"""Chains in which, together, every kind of call is applied, and many are refused.

`scripts/determinism` and `scripts/costs` execute them; whoever adds a kind of call adds to them.
"""

from contracts.calls import ReadySignal
from tests.chainmaker import Chain, deliberation, story, upheaval
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
