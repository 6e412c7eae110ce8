"""Disclosures over the gateway: show a claim to its payer by post, and see who saw what, when."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from aiohttp import web

from node.asking import parse_number
from node.client import disclosing, lots
from node.client.disclosing import Shown
from node.client.records import Way
from node.gateway.desk import Desk
from node.gateway.operations import AFTER, LIMIT, MAX_COUNT, MAX_PAGE, NAME, Operation, answer
from node.gateway.shapes import Disclosed, Disclosures
from node.tokens import Scope

_TAKEN: Final = frozenset((Way.ACKNOWLEDGED, Way.REFUSED))


class DisclosureDesk:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> Sequence[Operation]:
        """Return what can be asked of disclosures."""
        return (
            Operation(
                "POST",
                "/v1/claims/{name}/disclosure",
                "discloseClaim",
                "Show a claim to its payer. What it may see is sealed to it, and sent until it has"
                " signed for it; asked again, nothing is shown twice.",
                self.disclose,
                Scope.SUBMIT,
                Disclosed,
                statuses=(200, 202),
                refusals=(404, 422),
                parameters=(NAME,),
            ),
            Operation(
                "GET",
                "/v1/disclosures",
                "listDisclosures",
                "List who was shown what, in both directions, the oldest first.",
                self.page,
                Scope.READ,
                Disclosures,
                parameters=(AFTER, LIMIT),
            ),
        )

    async def disclose(self, request: web.Request) -> web.Response:
        """Send it; 200 once the payer signed for it, or refused it."""
        desk = self._desk
        record = lots.load(desk.vault, request.match_info["name"])[1]
        letter = disclosing.letter_of(desk.vault, record, now=desk.now())
        async with desk.connect() as node:
            (sent,) = await desk.post(node).send([letter])
        shown = self._shown(disclosing.line_of(sent, record.reference))
        return answer(shown, 200 if sent.state in _TAKEN else 202)

    async def page(self, request: web.Request) -> web.Response:
        """List the log of the vault."""
        after = parse_number(request, "after", 0, 0, MAX_COUNT)
        limit = parse_number(request, "limit", MAX_PAGE, 1, MAX_PAGE)
        found = list(islice(disclosing.log(self._desk.vault), after, after + limit))
        cursor = after + limit if len(found) == limit else None
        shown = tuple(map(self._shown, found))
        return answer(Disclosures(disclosures=shown, cursor=cursor))

    def _shown(self, line: Shown) -> Disclosed:
        return Disclosed(
            direction=line.direction,
            time=line.time,
            member=self._desk.members.label_of(line.counterpart),
            purpose=line.purpose,
            subject=line.subject.hex(),
            reference=line.reference,
            state=line.state,
            reason=line.reason,
            acknowledged=line.acknowledged,
            expires=line.expires,
        )
