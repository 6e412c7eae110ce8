"""Transactions on their way: given to every peer again and again until they are in the record."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from contracts import registry
from contracts.calls import parse_call
from contracts.errors import (
    Expired,
    Inadmissible,
    MalformedCall,
    TooFarAhead,
    WrongChain,
    WrongSignature,
)
from ledger import keys, transaction
from ledger.encoding import encode
from ledger.entry import Entry
from ledger.errors import BadSignature, LedgerError
from ledger.hashing import Hash
from ledger.transaction import MAX_LIFETIME_S, Transaction
from ledger.validators import faulty
from node import clock
from node.errors import NodeError
from node.light.messages import Refusal
from node.light.record import Record
from node.link import Link, Transactions
from node.results import Committed, Pending, Refused, Result

MAX_WAITING: Final = 1024
AGAIN_S: Final = 10.0
FRESH_S: Final = 30.0  # what waits longer is in no haste
RELAYS: Final = 2  # who pass on to validators that we are not linked to


class OutboxFull(NodeError):
    """Too many transactions are on their way."""

    def __init__(self) -> None:
        super().__init__(
            f"{MAX_WAITING} transactions are on their way already",
            hint="wait until they are in blocks, and send again",
        )


class OtherSender(NodeError):
    """Our peers would refuse it, or we cannot tell whether they would."""

    def __init__(self) -> None:
        super().__init__(
            "a light node takes transactions that a key of its own member signed",
            hint="send it to a whole node: one with mode observer or validator",
        )


class RefusedByValidators(NodeError):
    """More validators than may be faulty say that the rules keep it out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, hint="the validators say so")


class Outbox:
    """What was submitted here and is in no block that is known."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: dict[bytes, Transaction] = {}
        self._doubts: dict[bytes, dict[bytes, str]] = {}  # of what waits: node key -> why not
        self._refused: OrderedDict[bytes, NodeError | Inadmissible] = OrderedDict()
        self._changed = asyncio.Event()
        self._sent = self._added = 0.0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def is_fresh(self) -> bool:
        """Whether something waits that was submitted just now."""
        return bool(self._waiting) and clock.monotonic() - self._added < FRESH_S

    def get(self, id_: bytes) -> Transaction | None:
        """Return one that waits."""
        return self._waiting.get(id_)

    def submit(self, raws: Sequence[bytes], links: Sequence[Link]) -> list[Result]:
        """Take what our peers would take; one result each, in order."""
        results: list[Result] = []
        fresh: list[Transaction] = []
        for raw in raws:
            id_: Hash | None = None
            try:
                given = transaction.parse(raw)
                id_ = given.id
                found = self.committed(id_)
                if found is None and id_ not in self._waiting:
                    self._require_fit(given)
                    self._waiting[id_] = given
                    self._refused.pop(id_, None)
                    fresh.append(given)
                results.append(found or Pending(id_))
            except (LedgerError, Inadmissible, NodeError) as error:
                results.append(Refused(id_, error))
        if fresh:
            self._added = clock.monotonic()
            self._send(fresh, links)
        return results

    def committed(self, id_: bytes) -> Committed | None:
        """Return what became of a transaction of ours, None where it is in no block we have."""
        entries = self._record.entries_of(id_)
        if not entries or entries[0].sender != self._record.member:
            return None
        first = entries[0]
        outcomes = tuple(entry.outcome for entry in entries)
        return Committed(Hash(id_), first.sender, first.height, first.time, outcomes)

    def refused(self, id_: bytes) -> Refused | None:
        """Return why a transaction is in no block, None where that is not known."""
        found = self._refused.get(id_)
        return None if found is None else Refused(Hash(id_), found)

    def doubted(self, node_key: bytes, refusals: Iterable[Refusal]) -> None:
        """Learn what a validator does not admit: once more say so than may be faulty, it is so.

        Of one that is too late they say no more than that: it may be in a block that we lack.
        """
        voters = self._record.tip.validators
        if node_key not in {each.node_key for each in voters.members}:
            return
        for each in refusals:
            waiting = self._waiting.get(each.transaction)
            if waiting is not None and waiting.body.valid_until >= clock.now_ms() // 1000:
                doubts = self._doubts.setdefault(each.transaction, {})
                doubts[node_key] = each.text.decode(errors="replace")
                if len(doubts) > faulty(len(voters)):
                    self._end(each.transaction, RefusedByValidators(doubts[node_key]))
        self._changed.set()

    def _drop(self, id_: bytes) -> None:
        self._waiting.pop(id_, None)
        self._doubts.pop(id_, None)

    def _end(self, id_: bytes, error: NodeError | Inadmissible) -> None:
        """Let a transaction wait no more, and remember why, of the last ones."""
        self._drop(id_)
        self._refused[id_] = error
        if len(self._refused) > MAX_WAITING:
            self._refused.popitem(last=False)

    async def wait(self, ids: Iterable[bytes], seconds: float) -> None:
        """Wait until none of these is on its way any more, or time is up."""
        wanted = set(ids)
        try:
            async with asyncio.timeout(seconds):
                while wanted & self._waiting.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    def arrived(self, entries: Iterable[Entry]) -> None:
        """Learn which entries are in the record, and what has expired by its time."""
        for entry in entries:
            self._drop(entry.transaction)
        now = self._record.tip.header.time
        late = [each for each in self._waiting.values() if each.body.valid_until < now]
        for each in late:
            self._end(each.id, Expired(each.body.valid_until, now))
        self._changed.set()

    def send_again(self, links: Sequence[Link], *, at_once: bool = False) -> None:
        """Give what waits to our peers, unless they had it a moment ago."""
        if self._waiting and (at_once or clock.monotonic() - self._sent > AGAIN_S):
            self._send(list(self._waiting.values()), links)

    def _send(self, given: Sequence[Transaction], links: Sequence[Link]) -> None:
        self._sent = clock.monotonic()
        linked = {link.peer.node_key for link in links}
        voters = (each.node_key for each in self._record.tip.validators.members)
        missing = tuple(key for key in voters if key not in linked)
        for number, link in enumerate(links):
            relay = missing if number < RELAYS else ()
            for each in given:
                link.send_transactions(encode(Transactions((each.raw,), relay)))

    def _require_fit(self, given: Transaction) -> None:
        """Raise unless a validator would take it: one that it refuses could cost us the link."""
        record, body = self._record, given.body
        now = max(clock.now_ms() // 1000, record.tip.header.time)
        if body.chain_id != record.genesis.chain_id:
            raise WrongChain(record.genesis.chain_id, body.chain_id)
        if body.sender != record.member:
            raise OtherSender
        if body.valid_until < now:
            raise Expired(body.valid_until, now)
        if body.valid_until > now + MAX_LIFETIME_S:
            raise TooFarAhead(body.valid_until, now + MAX_LIFETIME_S)
        for position, call in enumerate(body.calls):
            try:
                parse_call(call)
            except LedgerError as error:
                raise MalformedCall(position, str(error)) from None
        key = registry.key(record.state, body.sender, body.key_id)
        if key is None:
            raise OtherSender
        registry.require_signing(key, body.key_id, record.height + 1)
        try:
            keys.verify(key.public, given.signed_message, given.signature, what="the transaction")
        except BadSignature:
            raise WrongSignature(given.id) from None
        if len(self._waiting) >= MAX_WAITING:
            raise OutboxFull
