"""Members of all kinds make calls of all kinds, in any order; a model says what becomes of each.

`scripts/campaign` does the same for as long as one likes.
"""

from hypothesis import settings

from tests.contracts.machine.network import Network

TestNetwork = Network.TestCase
TestNetwork.settings = settings(
    max_examples=8 if settings.default is None else max(8, settings.default.max_examples // 8),
    stateful_step_count=50,
    deadline=None,
)
