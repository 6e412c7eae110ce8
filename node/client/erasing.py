"""Erasing in our own vault, and asking whoever was shown it to erase it too.

What is erased goes in one write, which leaves a note of whom to ask: from then on nothing can bring
it back, and whatever breaks, the same command goes on with the note. Then the vault's key is made
anew, the requests are put on the chain, and each recipient is told, sealed, what is meant.
"""

import copy
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from contracts.calls import ErasureRequest
from contracts.errors import Refusal
from ledger.transaction import MAX_CALLS, created_id
from node.client import doomed, erasures, holdings
from node.client.client import PAGE, NodeClient
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
from node.client.transactions import Decided, Lapsed, Say, Sender, deliver, sign_and_keep
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
                Request(recipient=recipient, commitment=wanted.commitment, wanted=wanted)
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
            for number, record in self._every():
                if (number, record) in open_:  # another command's change waits for the next time
                    record.is_final = True
                    update(self._vault, number, record)

    async def _ask(self) -> None:
        """Put on the chain what does not stand there yet."""
        for _ in range(2):  # one that expired on its way is signed anew
            self._sign()
            sent = {each.transaction for _, each in self._unasked() if each.transaction is not None}
            if not sent:
                return
            results = await deliver(
                self._vault, self._node, sorted(sent), wait_s=self._wait_s, say=self._say
            )
            await self._note(results)

    def _sign(self) -> None:
        """Sign what was not signed yet, as many requests as one transaction holds."""
        with self._vault.changes():
            records = self._every()
            new = [
                each
                for _, record in records
                for each in record.requests
                if each.is_unasked and each.transaction is None
            ]
            if not new:
                return
            self._say(f"asking {_recipients(new)} to erase it too")
            for at in range(0, len(new), MAX_CALLS):
                part = new[at : at + MAX_CALLS]
                calls = [ErasureRequest(each.recipient, each.commitment) for each in part]
                made = sign_and_keep(self._vault, self._sender, calls)
                for position, each in enumerate(part):
                    each.transaction, each.position = made.id, position
            for number, record in records:
                if not record.is_over:
                    update(self._vault, number, record)

    async def _note(self, results: Mapping[bytes, Decided | Lapsed]) -> None:
        """Note the id of each request that stands on the chain now, and which never will."""
        codes = {each.commitment: _code(each, results) for _, each in self._unasked()}
        standing = {}
        if Refusal.COMMITMENT_STANDS in codes.values():  # our vault is a backup's, from before
            standing = {
                bytes.fromhex(view.commitment): bytes.fromhex(view.id)
                async for view in erasures_of(self._node)
                if view.requester == self._sender.member.hex()
            }
        refused = []

        def learn(request: Request) -> None:
            result = results.get(request.transaction or b"")
            if not request.is_unasked or result is None:
                return
            if isinstance(result, Lapsed):
                request.transaction = None
                return
            outcome = result.outcome(request.position)
            request.erasure = standing.get(request.commitment)
            if outcome.code == Refusal.COUNTERPART_UNKNOWN:
                request.outcome = NOT_ASKED
            elif outcome.code == 0:
                request.erasure = created_id(result.id, request.position)
            elif request.erasure is None:
                refused.append(refusal(outcome, "the request to erase"))

        self._learn(learn)
        if refused:
            raise refused[0]

    async def _tell(self) -> None:
        """Hand over what says what is meant, to whom that was not told."""
        for _, record in self._every():
            told = set()
            try:
                for each in record.requests:
                    if each.wanted is not None and each.erasure is not None:
                        said = erasures.message(each.erasure, each.wanted)
                        if await self._deliver(each.recipient, each.erasure, said):
                            told.add(each.erasure)
            finally:
                self._note_told(told)

    def _note_told(self, told: Collection[bytes]) -> None:
        def learn(request: Request) -> None:
            if request.erasure in told:
                request.wanted = None

        if told:
            self._learn(learn)

    async def _hear(self) -> None:
        """Note what was stated on the chain."""
        waiting = [
            each.erasure
            for _, record in self._every()
            for each in record.requests
            if each.erasure is not None and not each.is_over
        ]
        if len(waiting) <= PAGE:
            views = [await erasure_of(self._node, id_) for id_ in waiting]
        else:
            views = [view async for view in erasures_of(self._node)]
        said = {bytes.fromhex(view.id): view for view in views if view.outcome is not None}

        def learn(request: Request) -> None:
            if request.erasure in said and not request.is_over:
                view = said[request.erasure]
                request.outcome, request.since = view.outcome, view.since

        self._learn(learn)

    def _unasked(self) -> list[tuple[int, Request]]:
        return [
            (number, each)
            for number, record in self._every()
            for each in record.requests
            if each.is_unasked
        ]

    def _learn(self, learn: Callable[[Request], None]) -> None:
        """Write what is new of requests, as they stand now; nothing is left of a dropped message.

        Another command may have learned something meanwhile, and finished with a record.
        """
        with self._vault.changes():
            for number, record in self._every():
                found = copy.deepcopy(record)
                for request in record.requests:
                    learn(request)
                    if request.outcome is not None:
                        request.wanted = None
                if found == record:
                    continue
                both = zip(found.requests, record.requests, strict=True)
                dropped = [after for before, after in both if before.wanted != after.wanted]
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


def _code(request: Request, results: Mapping[bytes, Decided | Lapsed]) -> int | None:
    """Return what the chain said to a request, None where it has not."""
    result = results.get(request.transaction or b"")
    return result.outcome(request.position).code if isinstance(result, Decided) else None


def _letter(recipient: bytes, erasure: bytes, message: bytes) -> Letter:
    return Letter(recipient, FORMAT, PURPOSE, erasure, b"", message)


def _recipients(requests: Sequence[Request]) -> str:
    count = len({each.recipient for each in requests})
    return "1 member" if count == 1 else f"{count} members"
