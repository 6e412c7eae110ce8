"""How a node ends: told to by a signal, or by what it cannot go on from."""

import asyncio
import contextlib
import signal

from contracts.errors import UnknownVersion
from node.log import Log


def log_end(log: Log, error: BaseException) -> None:
    """Log why the node cannot go on; what rules it lacks in numbers, for the doctor."""
    lacks = {}
    if isinstance(error, UnknownVersion):
        lacks = {"version": error.version, "height": error.height, "known": list(error.known)}
    log.error("node halts", reason=str(error) or type(error).__name__, **lacks)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group, however deep."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


async def told_to_stop() -> None:
    """Return when this process is told to end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends it otherwise
            loop.add_signal_handler(number, stop.set)
    await stop.wait()
