"""Erasing in our own vault, and asking whoever was shown it to erase it too.

What is erased goes in one write, which leaves a note of whom to ask: from then on nothing can bring
it back, and whatever breaks, the same command goes on with the note. Then the vault's key is made
anew, the requests are put on the chain, and each recipient is told, sealed, what is meant.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from contracts.calls import ErasureRequest
from contracts.errors import Refusal
from ledger.transaction import MAX_CALLS
from node.client import doomed, erasures, holdings
from node.client.client import NodeClient
from node.client.deliveries import Letter, NoSealingKey
from node.client.doomed import NothingToErase, Open, Plan, Selection, StillOpen
from node.client.erasures import FORMAT, erasure_of, erasures_of
from node.client.errors import Undecided
from node.client.post import Post
from node.client.records import (
    DeliveryRecord,
    ErasureRecord,
    Request,
    Way,
    every,
    find,
    keep,
    renew,
    update,
)
from node.client.refusals import refusal
from node.client.transactions import Say, Sender, once
from node.client.vault import Vault

PURPOSE: Final = "erasure"
NOT_ASKED: Final = "NO_MEMBER"  # the outcome where nobody is there to ask
# Hands a message for a recipient about an erasure to our post; says whether he acknowledged it.
Deliver = Callable[[bytes, bytes, bytes], Awaitable[bool]]


def by_post(post: Post, say: Say) -> Deliver:
    """Return how messages go by our post; who has no sealing key is reached by hand."""

    async def deliver(recipient: bytes, erasure: bytes, message: bytes) -> bool:
        letter = _letter(recipient, erasure, message)
        try:
            (record,) = await post.send([letter])
        except NoSealingKey as error:
            say(str(error))
            return False
        return record.state is Way.ACKNOWLEDGED

    return deliver


class Eraser:
    """A member that erases. Each step may be made again, and then does no harm."""

    def __init__(
        self,
        vault: Vault,
        node: NodeClient,
        sender: Sender,
        deliver: Deliver,
        *,
        wait_s: int,
        say: Say,
    ) -> None:
        self._vault, self._node, self._sender = vault, node, sender
        self._deliver, self._wait_s, self._say = deliver, wait_s, say

    async def plan(self, selection: Selection) -> tuple[Plan, list[Open]]:
        """Return what would be erased, and what of it is open; raise `NothingToErase`."""
        open_ = await doomed.still_open(self._vault, self._node, selection)
        if not selection.earlier:
            return doomed.plan(self._vault, selection), open_
        return doomed.plan(self._vault, selection, {each.name for each in open_}), open_

    def erase(self, selection: Selection, plan: Plan, day: str) -> ErasureRecord:
        """Erase what was planned, and return the note of it; `go_on` does the rest.

        Raises `Undecided` where the vault changed since the plan was made.
        """
        note = ErasureRecord(day=day, count=plan.count)
        for recipient, subject, stays in plan.told:
            wanted = erasures.want(subject, stays)
            note.requests.append(
                Request(recipient=recipient, commitment=wanted.commitment, message=wanted.to_json())
            )
        with self._vault.changes():
            if doomed.plan(self._vault, selection, plan.blocked) != plan:
                raise Undecided("the vault changed meanwhile", hint="run it again")
            for number, record in plan.renewed.items():
                renew(self._vault, number, record)
            for number, doomed_record in plan.destroyed.items():
                holdings.destroy(self._vault, number, doomed_record, plan.things)
            for name in selection.names:
                self._vault.unname(ErasureRecord.KIND, name)
            keep(self._vault, note, *selection.names)
        return note

    async def run(
        self,
        selection: Selection,
        day: str,
        *,
        even_open: bool = False,
        confirm: Callable[[Plan, list[Open]], None] = lambda _plan, _open: None,
    ) -> int:
        """Erase what is chosen, have it erased elsewhere, and return how many records went.

        Begun before, it goes on, and none. `confirm` raises where nothing is to be done. Raises
        `NothingToErase`, `StillOpen`, and what `erase` and `go_on` do.
        """
        try:
            plan, open_ = await self.plan(selection)
        except NothingToErase:
            if not self.was_begun(selection):
                raise
            await self.go_on()
            return 0
        if open_ and not even_open and not selection.earlier:
            raise StillOpen(open_)
        confirm(plan, open_)
        self.erase(selection, plan, day)
        await self.go_on()
        return plan.count

    def was_begun(self, selection: Selection) -> bool:
        """Return whether this was erased before, and something of it is left to do or to hear."""
        return any(find(self._vault, ErasureRecord, name) for name in selection.names)

    async def go_on(self) -> None:
        """Do what is left to do of every erasure, and hear who has answered.

        Raises what the node does, and `NetworkRefused`: the rest is done when it is run again.
        """
        self._make_final()
        await self._ask()
        await self._tell()
        await self._hear()
        self._finish()
        self._make_final()

    def _make_final(self) -> None:
        """Let no key of what was erased be left, in the vault or in copies of its keyring."""
        open_ = [each for each in self._every() if not each[1].is_final]
        if not open_:
            return
        self._say("making the vault's key anew, so that no older copy opens what was erased")
        for warning in self._vault.rotate().warnings():
            self._say(f"warning: {warning}")
        with self._vault.changes():
            for number, record in open_:
                record.is_final = True
                update(self._vault, number, record)

    async def _ask(self) -> None:
        """Put on the chain what does not stand there yet."""
        await self._find_out()
        pending = [
            request
            for _, record in self._every()
            for request in record.requests
            if request.erasure is None and not request.is_over
        ]
        if not pending:
            return
        self._say(f"asking {_recipients(pending)} to erase it too")
        refused: set[bytes] = set()
        for at in range(0, len(pending), MAX_CALLS):
            part = pending[at : at + MAX_CALLS]
            calls = [ErasureRequest(each.recipient, each.commitment) for each in part]
            outcomes = await once(
                self._vault, self._node, self._sender, calls, wait_s=self._wait_s, say=self._say
            )
            for request, outcome in zip(part, outcomes, strict=False):
                if outcome.code == Refusal.COUNTERPART_UNKNOWN:
                    refused.add(request.commitment)
                elif outcome.code not in {0, Refusal.COMMITMENT_STANDS}:
                    raise refusal(outcome, "the request to erase")
        await self._find_out(refused)

    async def _find_out(self, refused: frozenset[bytes] | set[bytes] = frozenset()) -> None:
        """Note the id of each request that stands on the chain, and which never will."""
        wanted = {
            request.commitment
            for _, record in self._every()
            for request in record.requests
            if request.erasure is None and not request.is_over
        }
        if not wanted:
            return
        ours = self._sender.member.hex()
        known = {
            bytes.fromhex(view.commitment): bytes.fromhex(view.id)
            async for view in erasures_of(self._node)
            if view.requester == ours and bytes.fromhex(view.commitment) in wanted
        }
        for number, record in self._every():
            for request in record.requests:
                if request.erasure is None:
                    request.erasure = known.get(request.commitment)
                    if request.commitment in refused:
                        request.outcome = NOT_ASKED
            self._keep(number, record)

    async def _tell(self) -> None:
        """Hand over what says what is meant, to whom that was not told."""
        for number, record in self._every():
            for request in record.requests:
                if request.message is not None and request.erasure is not None:
                    told = await self._deliver(request.recipient, request.erasure, request.message)
                    if told:
                        request.message = None
            self._keep(number, record)

    async def _hear(self) -> None:
        """Note what was stated on the chain."""
        for number, record in self._every():
            for request in record.requests:
                if request.erasure is not None and not request.is_over:
                    view = await erasure_of(self._node, request.erasure)
                    request.outcome = view.outcome
                    request.since = None if view.outcome is None else view.since
            self._keep(number, record)

    def _keep(self, number: int, record: ErasureRecord) -> None:
        """Write what is new of a record; of a message that is dropped nothing is left."""
        with self._vault.changes():
            found = dict(self._every()).get(number)
            if found is None or found == record:
                return
            for request in record.requests:
                if request.outcome is not None:
                    request.message = None
            both = zip(found.requests, record.requests, strict=True)
            dropped = [after for before, after in both if before.message != after.message]
            if dropped:
                record.is_final = False
                renew(self._vault, number, record)
                for request in dropped:
                    self._forget_letter(request)
            else:
                update(self._vault, number, record)

    def _forget_letter(self, request: Request) -> None:
        """Destroy what was sent, sealed: its recipient's key opens it."""
        if request.erasure is not None:
            name = _letter(request.recipient, request.erasure, b"").name
            if sent := find(self._vault, DeliveryRecord, name):
                self._vault.erase(sent[0])

    def _finish(self) -> None:
        """Forget under which name something was erased, once all have answered."""
        with self._vault.changes():
            for number, record in self._every():
                if not record.is_over and all(each.is_over for each in record.requests):
                    record.is_over, record.is_final = True, False
                    self._vault.erase(number)
                    keep(self._vault, record)

    def _every(self) -> list[tuple[int, ErasureRecord]]:
        return list(every(self._vault, ErasureRecord))


def _letter(recipient: bytes, erasure: bytes, message: bytes) -> Letter:
    return Letter(recipient, FORMAT, PURPOSE, erasure, b"", message)


def _recipients(requests: Sequence[Request]) -> str:
    count = len({each.recipient for each in requests})
    return "1 member" if count == 1 else f"{count} members"
