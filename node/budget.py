"""What one peer may cost this node: so much a second, and some more at once.

A bucket of seconds of this node's time. Who has used it up is not refused: its next frame waits, so
that its own connection fills up and nobody else's does.
"""

import asyncio
from typing import Final

from node import clock

PEER_SHARE: Final = 0.03  # of a second each second; an honest peer of 25 needs a third of it
PEER_BURST_S: Final = 0.25  # hundreds of votes: what a node that was away is told at once

# Prices in seconds, as measured on one core and rounded up.
FRAME_S: Final = 100e-6  # to read it, decode it, and let others have their turn
BYTE_S: Final = 3e-9  # to read, decode and compare
SIGNATURE_S: Final = 200e-6
MESSAGE_S: Final = 150e-6  # in the machine, with what it changes there
STATUS_S: Final = 200e-6  # to find what its sender lacks
TRANSACTION_S: Final = 10e-6  # one looked at in vain: new ones fill the share of their sender
RELAY_S: Final = 5e-6  # one transaction passed on to one peer
LOOKUP_S: Final = 2e-6  # one transaction asked for by its leaf
RECORD_S: Final = 100e-6  # one block read from the disk
MEMPOOL_S: Final = 5e-3


class Budget:
    """So much a second of whatever it counts."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, clock.monotonic()

    def spend(self, amount: float) -> None:
        """Use some; more than there is makes a debt."""
        self._left = self.left - amount
        self._at = clock.monotonic()

    def takes(self, amount: float) -> bool:
        """Use some if there is so much; return whether there was."""
        if self.left < amount:
            return False
        self.spend(amount)
        return True

    @property
    def left(self) -> float:
        """What there is now; below zero: a debt."""
        return min(self._burst, self._left + (clock.monotonic() - self._at) * self._rate)

    async def wait(self) -> None:
        """Wait until the debt of now is paid."""
        if (debt := -self.left) > 0:
            await asyncio.sleep(debt / self._rate)


class Budgets:
    """The budget of each peer, by node key; it outlives the links."""

    def __init__(self) -> None:
        self._known: dict[bytes, Budget] = {}

    def of(self, node_key: bytes) -> Budget:
        """Return what a peer may cost."""
        found = self._known.get(node_key)
        if found is None:
            found = self._known[node_key] = Budget(PEER_SHARE, PEER_BURST_S)
        return found
