"""Verify signatures ahead of execution, in other processes.

Execution asks for each signature where it needs it. What was verified ahead is not verified again;
what was not, or was bad, is verified there and then: so no verdict depends on the guess ahead.
"""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final, Self

from ledger import keys
from ledger.errors import BadSignature
from ledger.transaction import Transaction

Job = tuple[bytes, bytes, bytes]  # public key, message, signature

_BATCH: Final = 256  # signatures that a process verifies at a time: some 20 ms


class Ahead:
    """Signatures given to other processes; `verify` waits for the one that it needs."""

    def __init__(self, workers: int | None = None) -> None:
        count = workers if workers is not None else os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(count) if count > 1 else None
        self._jobs: list[Job] = []
        self._running: deque[tuple[Sequence[Job], Future[list[bool]]]] = deque()
        self._good: set[Job] = set()
        self.verified = 0  # signatures that were asked for and are good

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, job: Job) -> None:
        """Have this signature verified some time before it is asked for."""
        if self._pool is not None:
            self._jobs.append(job)
            if len(self._jobs) == _BATCH:
                self.flush()

    def flush(self) -> None:
        """Begin with what was added."""
        if self._pool is not None and self._jobs:
            self._running.append((self._jobs, self._pool.submit(_verify_all, self._jobs)))
            self._jobs = []

    def verify(self, transaction: Transaction, public: bytes) -> None:
        """Raise `BadSignature` unless the signature of `transaction` is by `public`."""
        job = public, transaction.signed_message, transaction.signature
        self.verify_job(job, what="the transaction")

    def verify_job(self, job: Job, *, what: str) -> None:
        """Raise `BadSignature` unless this signature verifies."""
        while job not in self._good and self._running:
            jobs, verdicts = self._running.popleft()
            pairs = zip(jobs, verdicts.result(), strict=True)
            self._good.update(done for done, is_good in pairs if is_good)
        if job in self._good:
            self._good.discard(job)
        else:
            keys.verify(*job, what=what)
        self.verified += 1


def _verify_all(jobs: Sequence[Job]) -> list[bool]:
    return [_is_good(*job) for job in jobs]


def _is_good(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(public, message, signature, what="it")
    except BadSignature:
        return False
    return True
