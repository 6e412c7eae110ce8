"""Verify signatures ahead of execution, in other processes.

Execution asks for each signature where it needs it; what was verified ahead is not verified again,
and what was not, or failed, is verified there and then. So nothing depends on the guess ahead.
"""

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from ledger import keys
from ledger.errors import BadSignature
from ledger.transaction import Transaction

Job = tuple[bytes, bytes, bytes]  # public key, message, signature

_BATCH: Final = 256  # signatures a process verifies at a time: some 20 ms


class Ahead:
    """Signatures given to other processes; `verify` waits for the one that it needs."""

    def __init__(self, workers: int | None = None) -> None:
        count = workers if workers is not None else os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(count) if count > 1 else None
        self._jobs: list[Job] = []
        self._running: deque[tuple[Sequence[Job], Future[list[bool]]]] = deque()
        self._verified: set[Job] = set()
        self.count = 0  # signatures asked for

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def add(self, public: bytes, message: bytes, signature: bytes) -> None:
        """Have this signature verified some time before it is asked for."""
        if self._pool is None:
            return
        self._jobs.append((public, message, signature))
        if len(self._jobs) == _BATCH:
            self.flush()

    def flush(self) -> None:
        """Start on what was added."""
        if self._pool is not None and self._jobs:
            self._running.append((self._jobs, self._pool.submit(_verify_all, self._jobs)))
            self._jobs = []

    def verify(self, transaction: Transaction, public: bytes) -> None:
        """Raise `BadSignature` unless the signature of `transaction` is by `public`."""
        self.verify_job((public, transaction.signed_message, transaction.signature), "transaction")

    def verify_job(self, job: Job, what: str) -> None:
        """Raise `BadSignature` unless this signature verifies."""
        self.count += 1
        while job not in self._verified and self._running:
            jobs, result = self._running.popleft()
            self._verified.update(
                done for done, good in zip(jobs, result.result(), strict=True) if good
            )
        if job in self._verified:
            self._verified.discard(job)
        else:
            keys.verify(*job, what=what)


def _verify_all(jobs: Sequence[Job]) -> list[bool]:
    return [_is_good(*job) for job in jobs]


def _is_good(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        keys.verify(public, message, signature, what="")
    except BadSignature:
        return False
    return True
