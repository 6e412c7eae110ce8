"""Commitments to what we acknowledged, on the chain: that something came, and nothing of what.

Each is of the same form whatever was acknowledged, hidden by a salt that both sides keep. It is off
unless a member wants it: the acknowledgement itself, signed and kept by the sender, proves as much.
"""

from collections.abc import Iterator, Sequence

from contracts.calls import DisclosureAcknowledge
from contracts.errors import Refusal
from ledger.transaction import MAX_CALLS
from node.client.acknowledgement import Verdict, parse_acknowledgement
from node.client.client import CallOutcome, NodeClient
from node.client.records import AccessRecord, every, read, update
from node.client.refusals import explain
from node.client.transactions import Say, Sender, once
from node.client.vault import Vault

_DONE = frozenset((0, Refusal.COMMITMENT_STANDS))  # by an earlier run that did not hear of it


class Commitments:
    """What we took and have not committed to yet."""

    def __init__(
        self, vault: Vault, node: NodeClient, us: Sender, *, wait_s: int, say: Say
    ) -> None:
        self._vault, self._node, self._us = vault, node, us
        self._wait_s, self._say = wait_s, say
        self._after = 0  # no record up to this one is to be committed to
        self._refused: set[int] = set()  # by the chain: not asked again before we start anew

    async def commit(self) -> int:
        """Commit to all of it; return how many that were.

        Raises what `transactions.once` does; doing it again does no harm.
        """
        due = list(self._due())
        for start in range(0, len(due), MAX_CALLS):
            await self._commit(due[start : start + MAX_CALLS])
        return len(due)

    def _due(self) -> Iterator[tuple[int, AccessRecord]]:
        is_first = True
        for number, record in every(self._vault, AccessRecord, after=self._after):
            is_taken = record.verdict == Verdict.TAKEN.words
            if is_taken and not record.is_committed and number not in self._refused:
                is_first = False
                yield number, record
            elif is_first:
                self._after = number

    async def _commit(self, part: Sequence[tuple[int, AccessRecord]]) -> None:
        calls = [
            DisclosureAcknowledge(record.sender, self._commitment(record)) for _, record in part
        ]
        outcomes = await once(
            self._vault, self._node, self._us, calls, wait_s=self._wait_s, say=self._say
        )
        with self._vault.changes():
            for (number, _), outcome in zip(part, outcomes, strict=True):
                self._settle(number, outcome)

    def _settle(self, number: int, outcome: CallOutcome) -> None:
        if outcome.code not in _DONE:
            self._refused.add(number)
            self._say(f"an acknowledgement was not committed to: {explain(outcome)}")
            return
        try:
            record = read(self._vault, AccessRecord, number)
        except KeyError:  # it was erased meanwhile
            return
        record.is_committed = True
        update(self._vault, number, record)

    def _commitment(self, record: AccessRecord) -> bytes:
        word = parse_acknowledgement(
            record.acknowledgement, "our acknowledgement", self._us.chain_id
        )
        return word.commitment
