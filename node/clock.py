"""The one place that tells the time."""

import time


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970, as header times are judged by."""
    return time.time_ns() // 1_000_000


def thread_s() -> float:
    """Return the seconds of processor that this thread has used, for what its work cost."""
    return time.thread_time()


def monotonic() -> float:
    """Return seconds that only ever grow, for durations."""
    return time.monotonic()
