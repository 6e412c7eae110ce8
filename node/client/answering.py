"""What others ask us to erase of what they disclosed to us, and what we state of it on the chain.

Who asks must have disclosed it. What is not settled yet, or what the law has us keep, is erased
later: the latter is stated so, and then that it is gone.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from contracts.calls import ErasureOutcome, ErasureStatement
from contracts.errors import Refusal
from node.client import disclosure, doomed, holdings
from node.client.client import NodeClient
from node.client.doomed import OVER
from node.client.erasures import erasure_of, parse_message
from node.client.errors import NotFound, NotVerified
from node.client.holdings import Things
from node.client.records import (
    AskedRecord,
    ReceivedRecord,
    every,
    find,
    keep,
    read,
    renew,
    update,
)
from node.client.refusals import refusal
from node.client.transactions import Say, Sender, once
from node.client.vault import Vault

ERASED: Final = ErasureOutcome.ERASED
_HINT: Final = "was it asked just now, your node may not have the block: try again in a moment"


async def check(node: NodeClient, member: bytes, plain: bytes, name: str) -> AskedRecord:
    """Return what a message asks us to erase, as the chain says that it was asked.

    Raises `NotReadable`, `NotVerified`. `name` is the file's.
    """
    id_, wanted = parse_message(plain, name)
    try:
        view = await erasure_of(node, id_)
    except NotFound:
        raise NotVerified("erasure", "nobody asked for it on the chain", hint=_HINT) from None
    if (view.recipient, view.commitment) != (member.hex(), wanted.commitment.hex()):
        raise NotVerified("erasure", "another one was asked for on the chain")
    return AskedRecord(
        erasure=id_,
        requester=bytes.fromhex(view.requester),
        subject=wanted.subject,
        stays=wanted.stays,
    )


def keep_asked(vault: Vault, asked: AskedRecord) -> None:
    """Keep a request, unless it is kept; call it inside `vault.changes()`."""
    if find(vault, AskedRecord, asked.erasure.hex()) is None:
        keep(vault, asked, asked.erasure.hex())


class Answerer:
    """A member that was asked. Each step may be made again, and then does no harm.

    `keep_days` is how long the law has it keep what it was shown, from the day of the invoice.
    """

    def __init__(
        self,
        vault: Vault,
        node: NodeClient,
        sender: Sender,
        *,
        keep_days: int,
        wait_s: int,
        say: Say,
    ) -> None:
        self._vault, self._node, self._sender = vault, node, sender
        self._keep_days, self._wait_s, self._say = keep_days, wait_s, say

    async def go_on(self, today: str) -> None:
        """Erase what we were asked to erase and may, and state what became of each request.

        Raises what the node does, and `NetworkRefused`: the rest is done when it is run again.
        """
        said = {}
        for number, record in self._every():
            if record.subject is not None:
                outcome = await self._outcome(record, today)
                if outcome not in {None, record.outcome}:
                    said[number] = outcome
        if said:
            self._conclude(said)
        self._make_final()
        for number, record in self._every():
            if record.outcome is not None and not record.is_stated:
                await self._state(number, record)

    async def _outcome(self, record: AskedRecord, today: str) -> ErasureOutcome | None:
        """Return what is to be stated of a request today, None where it waits."""
        assert record.subject is not None  # the caller has looked
        found = self._received(record)
        if found is None:  # held before, it is gone since: by a retention date, say
            return ErasureOutcome.NOTHING_HELD if record.outcome is None else ERASED
        if record.stays is not None:
            return ERASED
        record.until = _law_ends(found[1], self._keep_days)
        if record.until > today and record.outcome is not None:
            return ErasureOutcome.HELD_BY_LAW  # as it was stated
        kind = doomed.kind_of(found[1])
        state = await doomed.state_of(self._node, kind, record.subject)
        if state not in OVER[kind]:
            self._say(f"{kind.name.lower()} {record.subject.hex()} is {state}: erased later")
            return None
        return ErasureOutcome.HELD_BY_LAW if record.until > today else ERASED

    def _received(self, record: AskedRecord) -> tuple[int, ReceivedRecord] | None:
        """Return what who asks has disclosed to us, None where it has not."""
        assert record.subject is not None  # it is dropped once there is nothing more to look for
        found = find(self._vault, ReceivedRecord, record.subject.hex())
        return found if found is not None and found[1].submitter == record.requester else None

    def _conclude(self, said: Mapping[int, ErasureOutcome | None]) -> None:
        """Erase what is to go, and note what we state of it, in one write."""
        with self._vault.changes():
            things = Things()
            for number, outcome in said.items():
                record = read(self._vault, AskedRecord, number)
                if record.subject is None:  # another command was quicker
                    continue
                found = self._received(record)
                if outcome is ERASED and found is not None:
                    if record.stays is None:
                        things.ids.add(record.subject)
                    elif disclosure.is_of(found[1].disclosure, record.stays):
                        renew(self._vault, *found)  # no old copy opens what stood there before
                    else:
                        self._vault.erase(found[0])
                record.outcome, record.is_stated = outcome, False
                if outcome is ErasureOutcome.HELD_BY_LAW and found is not None:
                    record.until = _law_ends(found[1], self._keep_days)
                    update(self._vault, number, record)
                else:
                    record.subject = record.stays = record.until = None
                    record.is_final = False
                    renew(self._vault, number, record)
            for number, held in list(holdings.of(self._vault, things)) if things.ids else ():
                holdings.destroy(self._vault, number, held, things)

    def _make_final(self) -> None:
        open_ = [
            each for each in self._every() if each[1].outcome is not None and not each[1].is_final
        ]
        if not open_:
            return
        for warning in self._vault.rotate().warnings():
            self._say(f"warning: {warning}")
        with self._vault.changes():
            for number, record in self._every():
                if (number, record) in open_:  # another command's change waits for the next time
                    record.is_final = True
                    update(self._vault, number, record)

    async def _state(self, number: int, record: AskedRecord) -> None:
        outcome = ErasureOutcome(record.outcome or 0)
        call = ErasureStatement(record.erasure, outcome)
        (said,) = await once(
            self._vault, self._node, self._sender, [call], wait_s=self._wait_s, say=self._say
        )
        if said.code == Refusal.ERASURE_IN_WRONG_STATE:  # by an earlier run that did not hear
            view = await erasure_of(self._node, record.erasure)
            if view.outcome is None:
                raise refusal(said, "the statement")
        elif said.code:
            raise refusal(said, "the statement")
        with self._vault.changes():
            now = read(self._vault, AskedRecord, number)
            if now.outcome == record.outcome:  # else another command has more to state
                now.is_stated = True
                update(self._vault, number, now)

    def _every(self) -> list[tuple[int, AskedRecord]]:
        return list(every(self._vault, AskedRecord))


def said(record: AskedRecord) -> str:
    """Return what became of what we were asked."""
    if record.outcome is None:
        return "open"
    return ErasureOutcome(record.outcome).name.lower()


def _law_ends(record: ReceivedRecord, days: int) -> str:
    """Return the first day on which the law lets go of what was disclosed."""
    invoiced = dt.date.fromisoformat(doomed.invoice_date_of(record))
    return (invoiced + dt.timedelta(days)).isoformat()
