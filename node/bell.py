"""What tells those who wait that something is new: rung on the event loop, heard by all."""

import asyncio


class Bell:
    """A bell that many may wait for."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What is set when the bell is rung: taken before one looks, it misses nothing after."""
        return self._next

    def ring(self) -> None:
        """Wake who waits."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()
