"""Whether a light node's record is fit to be relied on, in words where it is not."""

from collections.abc import Callable
from typing import Final

from node import clock
from node.light.follow import Follower
from node.light.record import Record

CLOCK_S: Final = 60  # by which clocks may differ


class Staleness:
    """Compares what is kept with the time of this machine."""

    def __init__(
        self,
        record: Record,
        follower: Follower,
        limit_s: int,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        self._record, self._follower = record, follower
        self._limit_s, self._now_ms = limit_s, now_ms

    @property
    def age_s(self) -> int:
        """How long ago the newest block was made, by the clock here."""
        return max(0, self._now_ms() // 1000 - self._record.tip.header.time)

    def reason(self) -> str:
        """Return why the record may be behind, "" where its newest header is new enough."""
        if self._record.tip.certificate is None:
            return "no block was heard of yet"
        ahead = self._record.tip.header.time - self._now_ms() // 1000
        if ahead > CLOCK_S:  # or nothing would ever seem old
            return f"the clock here is {ahead} s behind the newest block, whose age is unknown"
        if self.age_s <= self._limit_s:
            return ""
        if not self._follower.links:
            return f"the newest block is {self.age_s} s old, and no peer is linked"
        return f"the newest block is {self.age_s} s old: no more is known"

    def not_ready(self) -> list[str]:
        """Return why a shop should not rely on this node now; nothing where it may."""
        reasons = [] if self._follower.links else ["no peer is linked"]
        return [*reasons, *filter(None, (self._follower.fault, self.reason()))]
