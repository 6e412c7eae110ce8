"""An asyncio loop whose clock jumps to the next thing to do, and disks that lose power.

Nothing here waits: between two callbacks no time passes but what is asked for. Worker threads are
calls that take a drawn time, so a crash may come before, between or after what they do.
"""

import asyncio
import os
import selectors
import stat
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from random import Random
from typing import Any, Final

from node import origin
from node.journal import MAGIC

HEAD_BYTES: Final = len(MAGIC) + 64 + 8  # of a journal: magic, identity, salt


class PowerLost(BaseException):
    """The machine is off: whatever runs there does not go on."""


class _NoWaiting(selectors.SelectSelector):
    """Let time pass instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order of their virtual times."""

    def __init__(self, rng: Random) -> None:
        self.virtual = _NoWaiting()
        super().__init__(self.virtual)
        self.rng = rng
        self.faults: list[BaseException] = []
        self.set_exception_handler(self._take_fault)

    def time(self) -> float:
        return self.virtual.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: object
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()
        assert isinstance(executor, Desk)

        def work() -> None:
            if not executor.power.is_on:
                return
            try:
                result = func(*args)
            except PowerLost:
                return
            except Exception as error:  # noqa: BLE001  # it is whoever waits that judges it
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(self.rng.random() * executor.slow_s, work)
        return future

    def _take_fault(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, PowerLost):
            self.faults.append(error)


class Power:
    """Whether one machine is on; `fails` draws, at each effect, whether it goes off."""

    def __init__(self, rng: Random, chance: float, lost: Callable[[], None]) -> None:
        self.is_on = False
        self.chance, self._rng, self._lost = chance, rng, lost

    def may_fail(self) -> None:
        """Raise `PowerLost` if the machine is off, or goes off now."""
        if self.is_on and self._rng.random() < self.chance:
            self.is_on = False
            self._lost()
        if not self.is_on:
            raise PowerLost


class Desk(Executor):
    """A worker of one machine: work on it takes some time of the loop's."""

    def __init__(self, power: Power, slow_s: float) -> None:
        self.power, self.slow_s = power, slow_s

    def submit(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        raise AssertionError("only the loop hands work to a desk")


class Disk:
    """Stands for `os` where journals are written: it knows what is durable, and what is not."""

    def __init__(self, power: Power, synced: Callable[[bytes], None], reserved: int) -> None:
        self.power, self.reserved = power, reserved
        self._synced = synced  # is told what has become durable
        self._durable: dict[int, int] = {}  # inode: bytes
        self._unnamed = b""  # of a new file: durable, and lost with its name all the same

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever else os has
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        status = os.fstat(descriptor)
        if status.st_size == 0:  # a new file: its inode may have been another's
            self._durable.pop(status.st_ino, None)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        try:
            self.power.may_fail()
        except PowerLost:
            os.write(descriptor, data[: self.power._rng.randrange(len(data) + 1)])
            raise
        return os.write(descriptor, data)

    def fdatasync(self, descriptor: int) -> None:
        self.power.may_fail()
        status = os.fstat(descriptor)
        before = self._durable.get(status.st_ino, 0)
        if stat.S_ISDIR(status.st_mode):  # now the new file has its name
            unnamed, self._unnamed = self._unnamed, b""
            self._synced(unnamed)
        elif status.st_size > before:
            content = os.pread(descriptor, status.st_size - before, before)
            self._durable[status.st_ino] = status.st_size
            if content.startswith(MAGIC):
                self._unnamed = content[HEAD_BYTES:]
            else:
                self._synced(content)
        self.power.may_fail()

    fsync = fdatasync

    def lose_power(self, folder: Path, rng: Random) -> None:
        """Leave of what was not durable nothing, a part, or something else."""
        self._unnamed = b""
        for path in folder.glob("*"):
            status = path.stat()
            durable = self._durable.get(status.st_ino, 0)
            if status.st_size <= durable:
                continue
            with path.open("r+b") as file:
                match rng.randrange(4):
                    case 0:
                        file.truncate(durable)
                    case 1:
                        file.truncate(rng.randint(durable, status.st_size))
                    case 2:
                        file.seek(rng.randrange(durable, status.st_size))
                        file.write(rng.randbytes(1))
                    case _:
                        pass  # it was written all the same
                file.flush()
                origin._reserve(file.fileno(), self.reserved)  # which a power cut leaves alone
