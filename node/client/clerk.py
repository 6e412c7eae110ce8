"""A payer's clerk: takes disclosures in, decides what the policy lets it, and sends that in lots.

What was verified is written together with what is to be done of it: nothing is decided that was
not verified, and no letter twice. While one lot is on its way into a block, the next is verified.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

from contracts.calls import Direction
from node.client import docket, inbox, past, weighing
from node.client.errors import (
    ClientError,
    NetworkRefused,
    NotFound,
    NotReadable,
    NotVerified,
    Refused,
)
from node.client.gathering import Gathering
from node.client.inbox import OPEN, Reader
from node.client.letters import Found, Intake, Later, Letter, Other, Verified, Wrong, wrong
from node.client.policy import Policy
from node.client.records import ReviewRecord, Standing
from node.client.sending import BATCH, Desk, Sending
from node.client.settling import READY

IN_FLIGHT: Final = 8  # lots that may be on their way before no more is taken in
_READY: Final = READY[Direction.PAYMENT]


class Source(Protocol):
    """Where letters come from; what is done with goes away, and never comes again."""

    def letters(self, most: int) -> list[Letter]: ...  # noqa: D102
    def look_again(self) -> None: ...  # noqa: D102
    def later(self, letter: Letter) -> None: ...  # noqa: D102
    def taken(self, letter: Letter) -> None: ...  # noqa: D102
    def refused(self, letter: Letter, fact: str, reason: str) -> None: ...  # noqa: D102


class Clerk:
    """Works by one policy at one desk."""

    def __init__(self, desk: Desk, reader: Reader, policy: Policy) -> None:
        self._desk, self._reader, self._policy = desk, reader, policy
        self._report = desk.report
        self._intake = Intake(desk.node, reader)
        self._sending = Sending(desk)

    async def resume(self) -> None:
        """Take up what an earlier run left unfinished."""
        await self._sending.resume()

    async def work(self, source: Source) -> None:
        """Take in what there is now, until nothing is left, and send every decision."""
        source.look_again()
        on_its_way: asyncio.Task[None] | None = None
        try:
            while letters := source.letters(BATCH):
                await self._take(source, letters)
                if on_its_way is not None and (
                    on_its_way.done() or self._sending.lots >= IN_FLIGHT
                ):
                    await on_its_way
                    on_its_way = None
                if on_its_way is None and self._sending.lots:
                    on_its_way = asyncio.create_task(self._sending.deliver())
            if on_its_way is not None:
                await on_its_way
        except BaseException:
            if on_its_way is not None:
                on_its_way.cancel()
                await asyncio.gather(on_its_way, return_exceptions=True)
            raise
        await self._sending.finish()

    async def rehearse(self, source: Source) -> None:
        """Say what would be done with what there is; keep, send and move nothing."""
        source.look_again()
        today = weighing.today()
        tally = weighing.tally_of(self._desk.vault, today)
        while letters := source.letters(BATCH):
            found = await self._intake.verify(letters)
            states = await self._states(found)
            for each in found:
                if isinstance(each, Verified) and each.view.state == OPEN:
                    verdict, _ = weighing.decide(
                        self._desk.vault, self._policy, each, states, tally, today
                    )
                    self._report.event(
                        each.letter.name,
                        f"would-{verdict.action}" if verdict.is_machines else "would-review",
                        claim=each.disclosed.claim,
                        proposal=verdict.action,
                        cents=verdict.part_cents,
                        reason=verdict.reason,
                        why=list(verdict.why),
                    )
                else:
                    self._tell_plainly(each)
                source.later(each.letter)  # which leaves it where it is

    async def settle(self, settlements: Gathering) -> None:
        """Put accepted claims into settlements, where the policy says that it is time."""
        wanted = self._policy.settle
        by_shop: dict[bytes, list[ReviewRecord]] = {}
        for record in docket.pending(self._desk.vault):
            if record.standing is Standing.ACCEPTED:
                by_shop.setdefault(record.submitter, []).append(record)
        for shop, records in by_shop.items():
            claims = [each.claim for each in records]
            if wanted is None:  # people see to that
                docket.settled(self._desk.vault, claims, None)
                continue
            cents = sum(
                each.cents if each.part_cents is None else each.part_cents for each in records
            )
            age = time.time() - min(each.decided for each in records)
            is_many = len(records) >= wanted.count or cents >= wanted.cents
            if is_many or age >= wanted.days * 86_400:
                try:
                    await self._gather(settlements, shop, claims)
                except (NetworkRefused, NotFound, NotVerified, Refused) as error:
                    # People see to it, and other shops do not wait for that.
                    self._desk.say(f"nothing more is settled with {shop.hex()}: {error}")

    async def _gather(self, settlements: Gathering, shop: bytes, claims: list[bytes]) -> None:
        views = await self._desk.node.claims_by_id(claims)
        ready = [each for each in claims if each in views and views[each].state in _READY]
        # What is in a settlement already, or was taken back, is none of ours to put into one.
        docket.settled(self._desk.vault, set(views) - set(ready), None)
        if not ready:
            return
        record = await settlements.gather(shop, ready)
        docket.settled(self._desk.vault, ready, record.id)
        self._report.event(
            "", "settlement", settlement=record.id, beneficiary=shop, claims=len(ready)
        )

    async def _take(self, source: Source, letters: Sequence[Letter]) -> None:
        """Verify a batch, write what is to be done of it, sign what the policy chose."""
        vault, report = self._desk.vault, self._report
        found = await self._intake.verify(letters)
        states = await self._states(found)
        opened = [each for each in found if isinstance(each, Verified) and each.view.state == OPEN]
        now, today = int(time.time()), weighing.today()
        results = weighing.put(vault, self._policy, opened, states, now=now, today=today)
        for each, record in zip(opened, results, strict=True):
            source.taken(each.letter)
            if record is None:
                report.event(each.letter.name, "known", claim=each.disclosed.claim)
            elif record.standing is Standing.REVIEW:
                report.record(record, "review", each.letter.name)
        for other in found:
            if isinstance(other, Verified):
                if other.view.state != OPEN:
                    self._keep_decided(source, other)
            elif isinstance(other, Other):
                await self._take_other(source, other.letter)
            else:
                self._set_aside(source, other)
        self._sending.sign(
            [each.claim for each in results if each and each.standing is Standing.CHOSEN]
        )

    async def _states(self, found: Sequence[Found]) -> dict[bytes, str]:
        """Return the states of the claims of a batch, and of what they may be duplicates of."""
        verified = [each for each in found if isinstance(each, Verified)]
        states = {each.disclosed.claim: each.view.state for each in verified}
        known = {past.same_as(self._desk.vault, each.disclosed) for each in verified}
        if others := [each for each in known if each is not None and each not in states]:
            views = await self._desk.node.claims_by_id(others)
            states |= {id_: view.state for id_, view in views.items()}
        return states

    def _keep_decided(self, source: Source, each: Verified) -> None:
        """Keep the disclosure of a claim that is decided already: its settlement needs it."""
        weighing.closed(self._desk.vault, each, now=int(time.time()))
        source.taken(each.letter)
        self._tell_plainly(each)

    def _set_aside(self, source: Source, each: Wrong | Later) -> None:
        if isinstance(each, Wrong):
            source.refused(each.letter, each.fact, each.reason)
        else:
            source.later(each.letter)
        self._tell_plainly(each)

    async def _take_other(self, source: Source, letter: Letter) -> None:
        """Keep a statement, or the disclosure of a prior agreement: people answer those."""
        desk = self._desk
        try:
            await inbox.take(desk.vault, desk.node, self._reader, letter.data, letter.name)
        except NotFound as error:
            self._set_aside(source, Later(letter, str(error)))
        except ClientError as error:
            if not isinstance(error, NotVerified | NotReadable):
                raise  # it says nothing of this letter
            self._set_aside(source, wrong(letter, error))
        else:
            source.taken(letter)
            self._report.event(letter.name, "kept")

    def _tell_plainly(self, each: Found) -> None:
        name, event = each.letter.name, self._report.event
        match each:
            case Wrong():
                event(name, "refused-file", fact=each.fact, words=each.reason)
            case Later():
                event(name, "later", words=each.reason)
            case Verified():
                words = f"it is {each.view.state}"
                event(name, "closed", claim=each.disclosed.claim, words=words)
            case Other():
                event(name, "other")
