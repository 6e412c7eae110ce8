"""What a payer and a shop decide of a claim: accept, reject, cancel.

Each decision is one transaction, kept before it is sent. What a payer accepts it has verified
before: without a verified disclosure in the vault nothing is accepted.
"""

import secrets
import time
from collections.abc import Sequence

from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimCancel,
    ClaimReject,
    Reason,
)
from contracts.claim import State
from contracts.commitment import Opening, blinding_from
from contracts.errors import Refusal
from ledger.encoding import decode, encode
from node.client import disclosure, past
from node.client.client import CallOutcome, NodeClient
from node.client.errors import ClientError, NotFound, Refused, Undecided
from node.client.lots import release
from node.client.records import (
    ClaimRecord,
    Progress,
    ReceivedRecord,
    ReviewRecord,
    Standing,
    find,
    update,
)
from node.client.refusals import refusal
from node.client.statements import ACCEPTANCE, Statement
from node.client.transactions import Decided, Say, Sender, deliver, sign_and_keep
from node.client.vault import Vault


class Office:
    """A member at work: its vault, its node, its key."""

    def __init__(
        self, vault: Vault, node: NodeClient, sender: Sender, *, wait_s: int, say: Say
    ) -> None:
        self._vault, self._node, self._sender = vault, node, sender
        self._wait_s, self._say = wait_s, say

    async def accept(self, claims: Sequence[bytes], cents: int | None = None) -> list[CallOutcome]:
        """Accept claims, or the one claim for `cents` only; return what became of each.

        Raises `Refused` where one was not verified here as it is now, or where `cents` are not less
        than what is claimed.
        """
        for claim in claims:
            await self._require_seen(claim)
        with self._vault.changes():
            calls: list[Call] = []
            for claim in claims:
                number, received = self._received(claim)
                amount = None
                if cents is not None:
                    own = own_opening(received, cents)
                    received.accepted = encode(own)
                    update(self._vault, number, received)
                    amount = own.commitment()
                calls.append(ClaimAccept(claim, amount))
            made = sign_and_keep(self._vault, self._sender, calls)
        outcomes = await self._outcomes(made.id)
        if cents is not None and outcomes[0].code:
            await self._forget_unless_accepted(claims[0])
        self._note(claims, outcomes, "accepted" if cents is None else "accepted_in_part")
        return outcomes

    async def _require_seen(self, claim: bytes) -> None:
        """Raise `Refused` unless the document that we verified is the one that stands now."""
        received = self._received(claim)[1]
        document = bytes.fromhex((await self._node.claim(claim)).document)
        if not disclosure.is_of(received.disclosure, document):
            raise Refused(
                "claim",
                f"{claim.hex()} was rectified since its disclosure was verified",
                hint="ask the shop for a new one, and: depoli disclosure verify FILE",
            )

    async def _forget_unless_accepted(self, claim: bytes) -> None:
        """Forget our own amount, unless an earlier run of ours had it accepted: only we open it."""
        on_chain = (await self._node.claim(claim)).accepted_amount
        with self._vault.changes():
            number, received = self._received(claim)
            if received.accepted is None or on_chain is None:
                kept = False
            else:
                kept = decode(received.accepted, Opening).commitment().hex() == on_chain
            if not kept:  # what was not accepted may be accepted for another amount
                received.accepted = None
                update(self._vault, number, received)

    async def reject(
        self, claims: Sequence[bytes], reason: Reason, *, automatic: bool
    ) -> list[CallOutcome]:
        """Reject claims for one reason; return what became of each."""
        outcomes = await self._decide([ClaimReject(claim, reason, automatic) for claim in claims])
        self._note(claims, outcomes, "rejected", reason=reason, automatic=automatic)
        return outcomes

    def _note(
        self,
        claims: Sequence[bytes],
        outcomes: Sequence[CallOutcome],
        decision: str,
        *,
        reason: Reason | None = None,
        automatic: bool = False,
    ) -> None:
        """Write what was decided, for the accounts; it waits in the inbox no more."""
        with self._vault.changes():
            for claim, outcome in zip(claims, outcomes, strict=True):
                found = find(self._vault, ReceivedRecord, claim.hex())
                if outcome.code or found is None:
                    continue
                found[1].decision, found[1].decided = decision, int(time.time())
                found[1].reason, found[1].is_automatic = reason, automatic
                update(self._vault, *found)
                if reason is None:
                    past.note_paid(self._vault, *found)
                elif not automatic:
                    past.note_rejected(self._vault, *found)
                waiting = find(self._vault, ReviewRecord, claim.hex())
                if waiting is not None and waiting[1].standing in {Standing.NEW, Standing.REVIEW}:
                    self._vault.erase(waiting[0])

    async def cancel(self, claim: bytes) -> CallOutcome:
        """Take a claim back, which frees its marks here and on the chain."""
        (outcome,) = await self._decide([ClaimCancel(claim)])
        found = find(self._vault, ClaimRecord, claim.hex())
        # Cancelled before, by a command that did not hear of it: that is done all the same.
        before = (Refusal.CLAIM_IN_WRONG_STATE, (State.CANCELLED,))
        if (outcome.code, outcome.evidence) == before:
            outcome = CallOutcome(0, "APPLIED")
        if outcome.code == 0 and found is not None:
            number, record = found
            with self._vault.changes():
                record.progress = Progress.CANCELLED
                release(self._vault, record)
                update(self._vault, number, record)
        return outcome

    def acceptance(self, claim: bytes) -> Statement:
        """Return what opens the amount that we accepted in part; raise `NotFound`."""
        _, received = self._received(claim)
        if received.accepted is None:
            raise NotFound("this claim was not accepted in part here")
        opening = decode(received.accepted, Opening)
        return Statement(ACCEPTANCE, claim, self._sender.member, received.submitter, opening)

    async def _decide(self, calls: Sequence[Call]) -> list[CallOutcome]:
        with self._vault.changes():
            made = sign_and_keep(self._vault, self._sender, calls)
        return await self._outcomes(made.id)

    async def _outcomes(self, transaction_id: bytes) -> list[CallOutcome]:
        results = await deliver(
            self._vault, self._node, [transaction_id], wait_s=self._wait_s, say=self._say
        )
        result = results[transaction_id]
        if not isinstance(result, Decided):
            raise Undecided("it was not taken into a block in time", hint="run it again")
        return list(result.outcomes)

    def _received(self, claim: bytes) -> tuple[int, ReceivedRecord]:
        found = find(self._vault, ReceivedRecord, claim.hex())
        if found is None:
            raise Refused(
                "claim",
                f"no disclosure of {claim.hex()} was verified here",
                hint="depoli disclosure verify FILE, with the file that the shop handed over",
            )
        return found


def require_applied(outcome: CallOutcome) -> None:
    """Raise `NetworkRefused` with the chain's reason unless the call was applied."""
    if outcome.code:
        raise refusal(outcome)


def own_opening(received: ReceivedRecord, cents: int) -> Opening:
    """Return the opening of an amount of our own; the same one if it was made before."""
    _require_less(received, cents)
    if received.accepted is not None:
        before = decode(received.accepted, Opening)
        if before.amount == cents:
            return before
        raise ClientError(
            f"{before.amount} cents were accepted of this claim before",
            hint="depoli claim show tells how it stands on the chain",
        )
    return _new_opening(cents)


def offered_opening(received: ReceivedRecord, cents: int) -> Opening:
    """Return the opening of an amount that we may accept instead of a lesser one before."""
    _require_less(received, cents)
    if received.offered is not None:
        offered = decode(received.offered, Opening)
        if offered.amount == cents:
            return offered
        raise ClientError(
            f"whether {offered.amount} cents were taken into a block is not known yet",
            hint="run it again with that amount first",
        )
    if received.accepted is not None:
        accepted = decode(received.accepted, Opening)
        if accepted.amount == cents:
            return accepted
        if accepted.amount > cents:
            raise Refused("amount", f"{accepted.amount} cents were accepted before, which is more")
    return _new_opening(cents)


def _require_less(received: ReceivedRecord, cents: int) -> None:
    claimed = decode(received.opening, Opening).amount
    if not 0 <= cents < claimed:
        raise Refused(
            "amount",
            f"must be less than what is claimed, {claimed} cents",
            hint="without --amount all of it is accepted",
        )


def _new_opening(cents: int) -> Opening:
    return Opening(cents, blinding_from(secrets.token_bytes(64)))
