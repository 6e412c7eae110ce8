"""Settlements as their two parties see them: a batch that is built and told, and checked.

Every step is signed and kept before it is sent. A command that was interrupted is run again: what
was signed is sent again, what is in the batch is asked of the chain, and the rest is added.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.calls import (
    MAX_LISTED,
    MAX_SETTLED,
    Call,
    Direction,
    Ground,
    SettlementAdd,
    SettlementAnnounce,
    SettlementCancel,
    SettlementConfirm,
    SettlementDispute,
    SettlementInsist,
    SettlementOpen,
    SettlementRemove,
    SettlementWithdraw,
)
from contracts.commitment import SALT_BYTES, Opening, payment_commitment, sum_openings
from contracts.errors import Refusal
from ledger.encoding import decode, encode
from ledger.transaction import created_id
from node.client import lots, told
from node.client.client import CallOutcome, ClaimView, NodeClient, SettlementView
from node.client.errors import NotFound, NotVerified, Refused, Undecided
from node.client.records import (
    ClaimRecord,
    ReceivedRecord,
    SettlementRecord,
    Stage,
    every,
    find,
    keep,
    update,
)
from node.client.refusals import explain, refusal
from node.client.statements import SETTLEMENT, Payment, Statement
from node.client.transactions import Decided, Lapsed, Say, Sender, deliver, sign_and_keep
from node.client.vault import Vault

# States in which a claim can be put into a settlement.
READY: Final = {
    Direction.PAYMENT: ("accepted", "accepted_in_part"),
    Direction.REPAYMENT: ("reversed",),
}
CLOSED: Final = frozenset(("confirmed", "cancelled"))
_CALLS: Final = 7  # of 256 claims each: they fit in one transaction
_UNFIT: Final = frozenset(
    each.name
    for each in (Refusal.CLAIM_UNKNOWN, Refusal.CLAIM_OF_OTHERS, Refusal.CLAIM_NOT_SETTLEABLE)
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a payer wants settled."""

    beneficiary: bytes
    direction: Direction = Direction.PAYMENT
    claims: tuple[bytes, ...] | None = None  # None: all that can be
    reference: str | None = None  # of the payment
    announce: bool = True  # False: more is to be put in, or taken out


class Settlements:
    """A member's settlements, of which it pays some and is paid others."""

    def __init__(
        self, vault: Vault, node: NodeClient, sender: Sender, *, wait_s: int, say: Say
    ) -> None:
        self._vault, self._node, self._sender = vault, node, sender
        self._wait_s, self._say = wait_s, say

    # --- the payer -------------------------------------------------------------------------------

    async def create(self, order: Order) -> SettlementRecord:
        """Open a settlement, put claims in, announce it; go on with one that is not finished.

        Raises `Refused` for a claim that cannot be settled, `NotVerified` where its amount is not
        known here, `NetworkRefused` with the chain's reason.
        """
        found = self._unfinished(order)
        if found is None:
            views = await self._candidates(order, ())
            if not views:
                raise Refused("claims", f"none of this member's is {READY[order.direction][0]}")
            found = self._begin(order)
        number, record = found
        if not await self._opened(number, record):
            return await self.create(order)
        await self._resend(number, record)
        if record.stage is Stage.CLOSED:
            self._say("it was closed meanwhile; another is begun")
            return await self.create(order)
        if record.stage is Stage.OPEN:
            await self._fill(number, record, order)
            if order.announce:
                await self._announce(number, record, order.reference)
        return record

    async def add(self, settlement: bytes, claims: Sequence[bytes] | None) -> SettlementRecord:
        """Put more claims into an open settlement of ours: these, or all that can be."""
        number, record = await self._open(settlement)
        listed = None if claims is None else tuple(claims)
        order = Order(record.counterpart, Direction(record.direction), listed)
        await self._fill(number, record, order, beside=True)
        return record

    async def remove(self, settlement: bytes, claims: Sequence[bytes]) -> SettlementRecord:
        """Take claims out of an open settlement of ours."""
        number, record = await self._open(settlement)
        calls = [SettlementRemove(settlement, part) for part in _parts(claims)]
        for start in range(0, len(calls), _CALLS):
            for outcome in await self._send(number, record, calls[start : start + _CALLS]):
                if outcome.code:
                    raise refusal(outcome)
        record.count = (await self._node.settlement(settlement)).count
        with self._vault.changes():
            update(self._vault, number, record)
        return record

    async def announce(self, settlement: bytes, reference: str | None) -> SettlementRecord:
        """Seal an open settlement of ours, or find it sealed by a run that was interrupted."""
        number, record = await self._ours(settlement)
        if record.stage is Stage.ANNOUNCED and record.reference == reference:
            return record
        _require_open(record)
        await self._announce(number, record, reference)
        return record

    def statement(self, settlement: bytes) -> Statement:
        """Return what opens the sum of a settlement that we announced; raise `NotFound`."""
        found = find(self._vault, SettlementRecord, settlement.hex())
        if found is None or not found[1].is_ours:
            raise NotFound(f"the vault holds no settlement {settlement.hex()} of ours")
        record = found[1]
        if record.stage is Stage.CLOSED:
            raise NotFound(f"{settlement.hex()} is closed: what opened its sum was deleted")
        # One that is open may have a total all the same: that of an announcement that failed.
        announced = record.stage in {Stage.ANNOUNCED, Stage.TOLD}
        if not announced or record.cents is None or record.blinding is None:
            raise NotFound(
                f"{settlement.hex()} is not announced yet: it has no total",
                hint="depoli settlement announce, also where that was interrupted",
            )
        return Statement(
            SETTLEMENT,
            settlement,
            self._sender.member,
            record.counterpart,
            Opening(record.cents, record.blinding),
            Payment(record.reference, record.salt) if record.reference and record.salt else None,
        )

    def told(self, settlement: bytes) -> None:
        """Note that its statement was written: a later `create` begins another settlement."""
        with self._vault.changes():
            found = find(self._vault, SettlementRecord, settlement.hex())
            if found is not None and found[1].stage is Stage.ANNOUNCED:
                found[1].stage = Stage.TOLD
                update(self._vault, *found)

    async def cancel(self, settlement: bytes) -> CallOutcome:
        """Give a settlement of ours up; its claims can be settled anew."""
        return await self._close(settlement, SettlementCancel(settlement), "cancelled")

    async def insist(self, settlement: bytes) -> CallOutcome:
        """Answer a dispute: the settlement stands."""
        return await self._one(SettlementInsist(settlement))

    # --- the beneficiary -------------------------------------------------------------------------

    async def confirm(self, statement: Statement, *, sum_only: bool = False) -> CallOutcome:
        """Confirm a settlement, once its statement was checked; raise as `check` does."""
        view = await check(self._vault, self._node, statement, sum_only=sum_only)
        with self._vault.changes():
            told.keep_statement(self._vault, view, statement)
        return await self._close(statement.id, SettlementConfirm(statement.id), "confirmed")

    async def dispute(self, settlement: bytes, ground: Ground) -> CallOutcome:
        """Dispute what was announced to us."""
        return await self._one(SettlementDispute(settlement, ground))

    async def withdraw(self, settlement: bytes) -> CallOutcome:
        """Take a dispute back."""
        return await self._one(SettlementWithdraw(settlement))

    # --- both ------------------------------------------------------------------------------------

    def known(self, view: SettlementView) -> SettlementRecord | None:
        """Return what we keep of a settlement; what opened the sum is deleted once it is closed."""
        found = find(self._vault, SettlementRecord, view.id)
        if found is None:
            return None
        if view.state in CLOSED and found[1].stage is not Stage.CLOSED:
            self._forget(view.id)
            return self.known(view)
        return found[1]

    async def _close(self, settlement: bytes, call: Call, after: str) -> CallOutcome:
        outcome = await self._one(call)
        state = (await self._node.settlement(settlement)).state
        if state in CLOSED:
            self._forget(settlement.hex())
        # Closed before, by a command that did not hear of it: that is done all the same.
        return CallOutcome(0, "APPLIED") if state == after else outcome

    def _forget(self, settlement: str) -> None:
        """Keep the total, and destroy what ties it to the commitment on the chain."""
        with self._vault.changes():
            found = find(self._vault, SettlementRecord, settlement)
            if found is not None:
                found[1].blinding = found[1].salt = None
                found[1].stage = Stage.CLOSED
                update(self._vault, *found)

    async def _one(self, call: Call) -> CallOutcome:
        with self._vault.changes():
            made = sign_and_keep(self._vault, self._sender, [call])
        return (await self._decided(made.id)).outcome(0)

    # --- a batch under way -----------------------------------------------------------------------

    def _unfinished(self, order: Order) -> tuple[int, SettlementRecord] | None:
        wanted = (order.beneficiary, order.direction)
        for number, record in every(self._vault, SettlementRecord):
            unfinished = record.is_ours and record.stage not in {Stage.TOLD, Stage.CLOSED}
            if unfinished and (record.counterpart, record.direction) == wanted:
                self._say(f"going on with settlement {record.id.hex()}")
                return number, record
        return None

    def _begin(self, order: Order) -> tuple[int, SettlementRecord]:
        with self._vault.changes():
            call = SettlementOpen(order.beneficiary, order.direction)
            made = sign_and_keep(self._vault, self._sender, [call])
            record = SettlementRecord(
                id=created_id(made.id, 0),
                counterpart=order.beneficiary,
                direction=order.direction,
                in_flight=[made.id],
            )
            return keep(self._vault, record, record.id.hex()), record

    async def _opened(self, number: int, record: SettlementRecord) -> bool:
        """Return whether the settlement stands on the chain; one whose time was over is undone."""
        if record.stage is not Stage.OPENING:
            return True
        result = await self._delivered(record.in_flight[0])
        outcome = result.outcome(0) if isinstance(result, Decided) else None
        with self._vault.changes():
            if outcome is None or outcome.code:
                self._vault.erase(number)
            else:
                record.stage, record.in_flight = Stage.OPEN, []
                update(self._vault, number, record)
        if outcome is not None and outcome.code:
            raise refusal(outcome)
        return outcome is not None

    async def _open(self, settlement: bytes) -> tuple[int, SettlementRecord]:
        """Return an open settlement of ours, nothing of it under way any more."""
        number, record = await self._ours(settlement)
        _require_open(record)
        return number, record

    async def _ours(self, settlement: bytes) -> tuple[int, SettlementRecord]:
        """Return a settlement that we pay, nothing of it under way any more."""
        found = find(self._vault, SettlementRecord, settlement.hex())
        if found is None or not found[1].is_ours:
            raise NotFound(f"the vault holds no settlement {settlement.hex()} of ours")
        number, record = found
        if not await self._opened(number, record):
            raise NotFound(f"{settlement.hex()} was never opened: its time was over")
        await self._resend(number, record)
        return found

    async def _resend(self, number: int, record: SettlementRecord) -> None:
        """See what became of what an earlier run signed, and of the settlement itself."""
        for id_ in record.in_flight:
            await self._delivered(id_)
        state = (await self._node.settlement(record.id)).state
        with self._vault.changes():
            record.in_flight = []
            if state in CLOSED:
                record.stage, record.blinding, record.salt = Stage.CLOSED, None, None
            elif state != "open" and record.stage is Stage.OPEN:
                record.stage = Stage.ANNOUNCED
            update(self._vault, number, record)

    async def _fill(
        self, number: int, record: SettlementRecord, order: Order, *, beside: bool = False
    ) -> None:
        """Put the claims of an order in; `beside` whatever else is in it."""
        inside = {bytes.fromhex(view.id) async for view in self._node.settlement_claims(record.id)}
        views = await self._candidates(order, inside)
        if not beside and order.claims is not None and not inside <= set(order.claims):
            raise Refused(
                "claims",
                f"settlement {record.id.hex()} was begun with others and is still open",
                hint="depoli settlement announce, or cancel, ends it",
            )
        waiting = sorted(bytes.fromhex(view.id) for view in views)
        room = MAX_SETTLED - len(inside)
        if len(waiting) > room:
            if order.claims is not None:
                raise Refused("claims", f"a settlement is of {MAX_SETTLED} claims at most")
            self._say(f"{len(waiting) - room} claims are left for another settlement")
            del waiting[room:]
        total = len(inside) + len(waiting)
        while waiting:
            parts = _parts(waiting)[:_CALLS]
            outcomes = await self._send(
                number, record, [SettlementAdd(record.id, part) for part in parts]
            )
            for part, outcome in zip(parts, outcomes, strict=True):
                done = set(part)
                if outcome.code:
                    done = {self._left_out(part, outcome, order)}
                    total -= 1
                waiting = [id_ for id_ in waiting if id_ not in done]
            self._say(f"{total - len(waiting)} of {total} claims are in the settlement")
        record.count = total
        with self._vault.changes():
            update(self._vault, number, record)

    def _left_out(self, part: Sequence[bytes], outcome: CallOutcome, order: Order) -> bytes:
        """Return the claim for which a part was refused, where it need not be in it."""
        index = outcome.evidence[0] if outcome.evidence else len(part)
        if order.claims is not None or outcome.name not in _UNFIT or index >= len(part):
            raise refusal(outcome)
        self._say(f"left out {part[index].hex()}: {explain(outcome)}")
        return part[index]

    async def _candidates(self, order: Order, inside: Collection[bytes]) -> list[ClaimView]:
        """Return the claims of an order that are not in the settlement yet, all known here."""
        ready = READY[order.direction]
        pair = (self._sender.member.hex(), order.beneficiary.hex())
        if order.direction is Direction.REPAYMENT:
            pair = pair[::-1]
        found: list[ClaimView] = []
        if order.claims is None:
            for state in ready:
                async for view in self._node.claims(state):
                    if (view.payer, view.submitter) != pair:
                        continue
                    if known_opening(self._vault, view) is None:
                        self._say(f"left out {view.id}: nothing kept here opens what is due of it")
                    else:
                        found.append(view)
            return found
        views = await self._node.claims_by_id(order.claims)
        for id_ in dict.fromkeys(order.claims):
            view = views.get(id_) or await self._node.claim(id_)  # which says why
            if (view.payer, view.submitter) != pair:
                raise Refused("claims", f"{view.id} is not of the two whom the settlement is of")
            if id_ in inside:
                continue
            if view.state not in ready:
                raise Refused("claims", f"{view.id} is {view.state}, and must be {ready[0]}")
            self._due(view)
            found.append(view)
        return found

    async def _announce(self, number: int, record: SettlementRecord, reference: str | None) -> None:
        openings = [self._due(view) async for view in self._node.settlement_claims(record.id)]
        if not openings:
            raise Refused("claims", "none is in the settlement")
        total = sum_openings(openings)
        salt = None if reference is None else secrets.token_bytes(SALT_BYTES)
        payment = None
        if reference is not None and salt is not None:
            payment = payment_commitment(salt, reference.encode())
        record.count, record.cents, record.blinding = len(openings), total.amount, total.blinding
        record.reference, record.salt = reference, salt
        call = SettlementAnnounce(record.id, total.commitment(), payment)
        (outcome,) = await self._send(number, record, [call])
        if outcome.code:
            raise refusal(outcome)
        with self._vault.changes():
            record.stage = Stage.ANNOUNCED
            update(self._vault, number, record)

    async def _send(
        self, number: int, record: SettlementRecord, calls: Sequence[Call]
    ) -> tuple[CallOutcome, ...]:
        """Sign calls, note them in the record, and return what became of them."""
        with self._vault.changes():
            made = sign_and_keep(self._vault, self._sender, calls)
            record.in_flight = [made.id]
            update(self._vault, number, record)
        outcomes = (await self._decided(made.id)).outcomes
        with self._vault.changes():
            record.in_flight = []
            update(self._vault, number, record)
        return outcomes

    async def _decided(self, transaction_id: bytes) -> Decided:
        result = await self._delivered(transaction_id)
        if isinstance(result, Lapsed):
            raise Undecided("it was not taken into a block in time", hint="run it again")
        return result

    async def _delivered(self, transaction_id: bytes) -> Decided | Lapsed:
        results = await deliver(
            self._vault, self._node, [transaction_id], wait_s=self._wait_s, say=self._say
        )
        return results[transaction_id]

    def _due(self, view: ClaimView) -> Opening:
        found = known_opening(self._vault, view)
        if found is None:
            raise NotVerified(
                "accepted amount",
                f"nothing kept here opens what is due of {view.id}",
                hint="it was accepted in part from another vault: settle it from there",
            )
        return found


async def check(
    vault: Vault, node: NodeClient, statement: Statement, *, sum_only: bool = False
) -> SettlementView:
    """Return the settlement whose statement holds against the chain and against what we know.

    The sum must be what is stated, and that of the amounts that this vault knows of the claims in
    it; `sum_only` where the vault does not know them all. Raises `NotVerified` naming the fact.
    """
    view = await node.settlement(statement.id)
    if view.state == "open":
        raise NotVerified(
            "settlement",
            "it is not announced yet: what is in it may still be changed",
            hint="look again once it is: depoli settlement list",
        )
    if (view.payer, view.beneficiary) != (statement.payer.hex(), statement.beneficiary.hex()):
        raise NotVerified("parties", "the settlement on the chain is of two others")
    statement.verify(bytes.fromhex(view.sum))
    statement.verify_payment(None if view.payment is None else bytes.fromhex(view.payment))
    if sum_only:
        return view
    openings: list[Opening] = []
    async for claim in node.settlement_claims(statement.id):
        opening = known_opening(vault, claim)
        if opening is None:
            raise NotVerified(
                "claims",
                f"nothing kept here opens what is due of {claim.id}, which is in the settlement",
                hint="if it was accepted in part: depoli disclosure verify FILE, with what the"
                " payer handed over; is it not yours: depoli settlement dispute",
            )
        openings.append(opening)
    if len(openings) != view.count or sum_openings(openings) != statement.opening:
        raise NotVerified(
            "claims",
            "those that the node lists do not come to the total that is stated",
            hint="depoli settlement dispute, or ask another node",
        )
    return view


def known_opening(vault: Vault, claim: ClaimView) -> Opening | None:
    """Return what opens the commitment to what is due of a claim, where it is kept here."""
    encoded: list[bytes | None] = []
    if (received := find(vault, ReceivedRecord, claim.id)) is not None:
        encoded += [received[1].opening, received[1].accepted, received[1].offered]
    if (own := find(vault, ClaimRecord, claim.id)) is not None:
        encoded += [encode(lots.opening_of(own[1])), own[1].accepted]
    openings = (decode(each, Opening) for each in encoded if each is not None)
    return next((each for each in openings if each.commitment().hex() == claim.due), None)


def _require_open(record: SettlementRecord) -> None:
    stage = Stage.ANNOUNCED if record.stage is Stage.TOLD else record.stage
    if stage is not Stage.OPEN:
        raise Refused("settlement", f"it is {stage.value}, and no more open")


def _parts(claims: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Return claims in parts that one call lists each."""
    return [tuple(claims[at : at + MAX_LISTED]) for at in range(0, len(claims), MAX_LISTED)]
