"""How long a peer that offended is not spoken to: longer each time, never for ever.

A validator may be needed for the quorum, so no penalty exceeds `MAX_S`. Penalties outlive links:
who reconnects has not paid (nim-libp2p issue 402).
"""

from dataclasses import dataclass
from typing import Final

from node import clock

FIRST_S: Final = 0.5
MAX_S: Final = 20.0
FORGIVEN_S: Final = 600.0  # without an offence, and the next one is the first again


@dataclass(frozen=True)
class _Record:
    offences: int
    last: float
    until: float
    reason: str


class Penalties:
    """What peers are held to, by node key."""

    def __init__(self, first_s: float = FIRST_S, max_s: float = MAX_S) -> None:
        self._first_s, self._max_s = first_s, max_s
        self._records: dict[bytes, _Record] = {}

    def add(self, key: bytes, reason: str) -> float:
        """Hold an offence against a peer; return for how many seconds."""
        now, known = clock.monotonic(), self._records.get(key)
        before = 0 if known is None or now - known.last > FORGIVEN_S else known.offences
        seconds = min(self._first_s * 2.0 ** min(before, 32), self._max_s)
        self._records[key] = _Record(before + 1, now, now + seconds, reason)
        return seconds

    def left(self, key: bytes) -> float:
        """Return for how many seconds more a peer is not spoken to; 0 where it is."""
        known = self._records.get(key)
        return 0.0 if known is None else max(0.0, known.until - clock.monotonic())

    def reason(self, key: bytes) -> str:
        """Return what a peer last did, in words; nothing where it never offended."""
        known = self._records.get(key)
        return "" if known is None else known.reason

    def __len__(self) -> int:
        """Return how many are known: only registered peers ever offend by name."""
        return len(self._records)
