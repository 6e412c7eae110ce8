"""Decisions on their way: signed in lots, sent, and what became of each written and reported.

Each step is written before it is tried, so that a run that was killed anywhere is begun again and
goes on: nothing is decided twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any, Final, TypeAlias

from contracts.calls import Reason
from node.client import docket
from node.client.client import NodeClient
from node.client.decisions import Office
from node.client.errors import ClientError
from node.client.inbox import OPEN
from node.client.judging import ACCEPT, PART, REFUSE
from node.client.records import ReviewRecord, Standing
from node.client.statements import Statement
from node.client.transactions import Say, Sender, deliver
from node.client.vault import Vault

BATCH: Final = 256  # disclosures that are verified and written together, and fit one transaction
_DONE: Final = {ACCEPT: "accepted", PART: "accepted-in-part", REFUSE: "rejected"}

Event: TypeAlias = dict[str, Any]
Tell: TypeAlias = Callable[[Event], None]


@dataclass
class Report:
    """What became of each thing, as it happens, and how many of each."""

    tell: Tell
    counts: Counter[str] = field(default_factory=Counter)

    def record(self, record: ReviewRecord, event: str, name: str = "") -> None:
        """Report what became of a claim of the queue."""
        reason = None if record.reason is None else Reason(record.reason)
        self.event(
            name,
            event,
            claim=record.claim,
            proposal=record.action,
            cents=record.part_cents,
            reason=reason,
            why=list(record.findings),
            automatic=record.is_automatic,
        )

    def event(self, name: str, event: str, **facts: object) -> None:
        """Report something; `name` is that of the letter that it is about."""
        self.counts[event] += 1
        shown: Event = {"event": event} | ({"file": name} if name else {})
        for key, value in facts.items():
            if isinstance(value, Reason):
                shown[key] = value.name.lower().replace("_", "-")
            elif value is not None:
                shown[key] = value.hex() if isinstance(value, bytes) else value
        self.tell(shown)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where decisions are made: whose vault, which node, which key."""

    vault: Vault
    node: NodeClient  # that is asked
    outgoing: NodeClient  # the same node, by a connection that waits for blocks
    sender: Sender
    wait_s: int
    say: Say  # how far it is, for people
    report: Report
    hand_over: Callable[[Statement], Awaitable[None]]  # to a shop, how much of a claim was accepted


class Sending:
    """Signs what was chosen, and sees it into blocks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lots: dict[bytes, list[bytes]] = {}  # transaction -> its claims
        self._again: list[bytes] = []  # claims to be signed anew
        self._telling: list[bytes] = []

    @property
    def lots(self) -> int:
        """How many transactions are on their way."""
        return len(self._lots)

    async def resume(self) -> None:
        """Take up what an earlier run left, or one that failed: chosen, signed, or not told yet."""
        self._lots, self._again, self._telling = {}, [], []  # all of it is in the vault
        chosen: list[bytes] = []
        for record in docket.pending(self._desk.vault):
            match record.standing:
                case Standing.CHOSEN:
                    chosen.append(record.claim)
                case Standing.SIGNED:
                    assert record.transaction is not None  # both were written together
                    self._lots.setdefault(record.transaction, []).append(record.claim)
                case Standing.TELLING:
                    self._telling.append(record.claim)
                case _:
                    pass
        if chosen or self._lots:
            signed = sum(map(len, self._lots.values()))
            self._desk.say(f"going on with {len(chosen)} chosen and {signed} signed decisions")
        await self.sign_after_a_look(chosen)
        await self.finish()

    async def finish(self) -> None:
        """Send until nothing is on its way any more."""
        await self.deliver()
        while self._lots or self._again:
            again, self._again = self._again, []
            await self.sign_after_a_look(again)
            await self.deliver()

    def sign(self, claims: Sequence[bytes]) -> None:
        """Sign what was chosen of claims that were verified just now."""
        for start in range(0, len(claims), BATCH):
            part = list(claims[start : start + BATCH])
            self._lots |= dict.fromkeys(
                docket.sign(self._desk.vault, self._desk.sender, part), part
            )

    async def sign_after_a_look(self, claims: Sequence[bytes]) -> None:
        """Sign what was chosen before this run, as far as it still is as it was verified."""
        views = await self._desk.node.claims_by_id(claims) if claims else {}
        good = []
        for claim in claims:
            view = views.get(claim)
            if view is None:
                continue  # our node does not know it now; another run looks again
            document = bytes.fromhex(view.document) if view.state == OPEN else None
            word = docket.give_back(self._desk.vault, claim, document, "rectified-since")
            if word is None:
                good.append(claim)
            else:
                self._desk.report.event("", word, claim=claim)
        self.sign(good)

    async def deliver(self) -> None:
        """Send what was signed until all of it is decided, and write what became of it."""
        desk = self._desk
        if lots := dict(self._lots):
            results = await deliver(
                desk.vault, desk.outgoing, list(lots), wait_s=desk.wait_s, say=desk.say
            )
            for id_, result in results.items():
                self._hear(docket.heard(desk.vault, result, lots[id_], now=int(time())))
                del self._lots[id_]
        await self._tell_shops()

    def _hear(self, told: Sequence[tuple[ReviewRecord, str]]) -> None:
        report = self._desk.report
        for record, word in told:
            match word:
                case "done":
                    report.record(record, _DONE[record.action])
                    if record.standing is Standing.TELLING:
                        self._telling.append(record.claim)
                case "again":
                    self._again.append(record.claim)
                case "closed":
                    report.record(record, "closed")
                case _:
                    report.record(record, "review")

    async def _tell_shops(self) -> None:
        """Hand over what opens the amounts that were accepted in part."""
        desk = self._desk
        office = Office(desk.vault, desk.outgoing, desk.sender, wait_s=desk.wait_s, say=desk.say)
        while self._telling:
            claim = self._telling[0]
            try:
                statement = office.acceptance(claim)
            except ClientError:
                desk.say(
                    f"{claim.hex()}: what was accepted of it was erased, and is told to nobody"
                )
            else:
                await desk.hand_over(statement)
            docket.told(desk.vault, claim)
            self._telling.pop(0)
