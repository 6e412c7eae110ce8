"""Claims over the gateway: see how they stand, take one back, fetch the receipt of one."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec
from aiohttp import web

from contracts.calls import Leg
from contracts.commitment import Opening
from ledger.encoding import decode
from node.asking import parse_number
from node.client import lots
from node.client.client import ClaimView
from node.client.decisions import Office, require_applied
from node.client.errors import NotFound, Unreachable
from node.client.queue import leaves_at
from node.client.records import ClaimRecord, QueuedRecord, every, find
from node.client.refusals import told
from node.gateway.desk import Desk
from node.gateway.operations import (
    AFTER,
    LIMIT,
    MAX_COUNT,
    MAX_PAGE,
    NAME,
    Operation,
    answer,
)
from node.gateway.shapes import Claim, Claims, OnChain, Refusal
from node.tokens import Scope

_CANCEL_S: Final = 30


class ClaimDesk:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> Sequence[Operation]:
        """Return what can be asked of claims."""
        return (
            Operation(
                "GET",
                "/v1/claims",
                "listClaims",
                "List our claims, in the order in which they came.",
                self.page,
                Scope.READ,
                Claims,
                parameters=(AFTER, LIMIT),
            ),
            Operation(
                "GET",
                "/v1/claims/{name}",
                "showClaim",
                "Show a claim. Where the node answers, also how it stands on the chain.",
                self.show,
                Scope.READ,
                Claim,
                refusals=(404,),
                parameters=(NAME,),
            ),
            Operation(
                "POST",
                "/v1/claims/{name}/cancel",
                "cancelClaim",
                "Take a claim back before it is settled. Its marks are free again.",
                self.cancel,
                Scope.SUBMIT,
                Claim,
                refusals=(404, 409, 503, 504),
                parameters=(NAME,),
            ),
            Operation(
                "GET",
                "/v1/claims/{name}/receipt",
                "claimReceipt",
                "Fetch the receipt of a claim. It is verified, and proves without us that the"
                " claim was made.",
                self.receipt,
                Scope.READ,
                "application/json",
                refusals=(404, 410, 503),
                parameters=(NAME,),
            ),
            Operation(
                "GET",
                "/v1/claims/{name}/receipt/page",
                "claimReceiptPage",
                "Fetch the receipt as a page for people. It is one sheet in French and English.",
                self.receipt_page,
                Scope.READ,
                "text/html",
                refusals=(404, 410, 503),
                parameters=(NAME,),
            ),
        )

    async def page(self, request: web.Request) -> web.Response:
        """List what the vault keeps."""
        after = parse_number(request, "after", 0, 0, MAX_COUNT)
        limit = parse_number(request, "limit", MAX_PAGE, 1, MAX_PAGE)
        found = list(islice(every(self._desk.vault, ClaimRecord, after=after), limit))
        cursor = found[-1][0] if len(found) == limit else None
        shown = tuple(shown_claim(record, self._desk) for _, record in found)
        return answer(Claims(claims=shown, cursor=cursor))

    async def show(self, request: web.Request) -> web.Response:
        """Show one, as the vault and the chain have it."""
        record = lots.load(self._desk.vault, request.match_info["name"])[1]
        return answer(await self._whole(record))

    async def cancel(self, request: web.Request) -> web.Response:
        """Take one back."""
        desk = self._desk
        record = lots.load(desk.vault, request.match_info["name"])[1]
        if record.claim is None:
            raise NotFound(
                f"{record.reference} is not on the chain yet", hint="ask again when it is"
            )
        async with desk.connect() as node:
            office = Office(desk.vault, node, desk.sender, wait_s=_CANCEL_S, say=_silent)
            require_applied(await office.cancel(record.claim))
        return answer(await self._whole(lots.load(desk.vault, record.reference)[1]))

    async def receipt(self, request: web.Request) -> web.Response:
        """Hand out the file."""
        content = await self._receipt(request.match_info["name"])
        return web.Response(body=content, content_type="application/json")

    async def receipt_page(self, request: web.Request) -> web.Response:
        """Hand out the page."""
        content = await self._receipt(request.match_info["name"])
        return web.Response(text=self._desk.page_of(content), content_type="text/html")

    async def _receipt(self, name: str) -> bytes:
        """Return the receipt of a claim, which verifies; raise what it is refused by."""
        record = lots.load(self._desk.vault, name)[1]
        if record.transaction is None or record.position is None or record.height is None:
            raise NotFound(
                f"{record.reference} is not on the chain: it is {record.progress.value}",
                hint="there is a receipt once it is committed",
            )
        async with self._desk.connect() as node:
            content = await node.receipt(record.transaction, record.position)
        await asyncio.to_thread(self._desk.verify_receipt, content)
        return content

    async def _whole(self, record: ClaimRecord) -> Claim:
        shown = shown_claim(record, self._desk)
        if record.height is None or record.claim is None:
            return shown
        try:
            async with self._desk.connect() as node:
                view = await node.claim(record.claim)
        except Unreachable:
            return shown
        return msgspec.structs.replace(shown, chain=_on_chain(view, record))


def _silent(_: str) -> None:
    pass


def shown_claim(record: ClaimRecord, desk: Desk) -> Claim:
    """Return what the vault knows of a claim."""
    refusal = None
    if record.refusal is not None:
        text = str(record.refusal_text)
        hint = told(record.refusal, text).hint
        refusal = Refusal(name=record.refusal, text=text, hint=hint)
    return Claim(
        reference=record.reference,
        progress=record.progress,
        payer=desk.members.label_of(record.payer),
        leg="base" if record.leg == Leg.BASE else "complementary",
        amount_cents=record.amount_cents,
        claim=_hex(record.claim),
        transaction=_hex(record.transaction),
        position=record.position,
        height=record.height,
        refusal=refusal,
        leaves=_leaves(record, desk),
    )


def _leaves(record: ClaimRecord, desk: Desk) -> int | None:
    found = find(desk.vault, QueuedRecord, record.reference)
    return None if found is None or found[1].ended is not None else leaves_at(found[1])


def reference_of(desk: Desk, claim: str) -> str | None:
    """Return our reference of a claim, None where it is not ours."""
    found = find(desk.vault, ClaimRecord, claim)
    return None if found is None else found[1].reference


def _on_chain(view: ClaimView, record: ClaimRecord) -> OnChain | None:
    if view.height is None or view.time is None:
        return None
    opening = None if record.accepted is None else decode(record.accepted, Opening)
    return OnChain(
        state=view.state,
        reason=view.reason,
        accepted_in_part=view.accepted_amount is not None,
        accepted_cents=None if opening is None else opening.amount,
        settlement=view.settlement,
        height=view.height,
        time=view.time,
    )


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
