"""Claims come in over the gateway, in any form that is read: alone, in lots, or to be judged."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import web

from node.asking import parse_wait
from node.client import importing, intake, lots, nomenclature, prescriptions, queue
from node.client.doubts import doubts as doubts_of
from node.client.errors import NotReadable
from node.client.intake import Document, Judged
from node.client.request import ClaimRequest, require_prescribed
from node.gateway import schemas
from node.gateway.claims import shown_claim
from node.gateway.courier import Courier
from node.gateway.desk import Desk
from node.gateway.operations import FHIR, JSON, WAIT, Operation, Parameter, answer, read_body
from node.gateway.shapes import Claim, Item, Lot, Problem, Verdict
from node.gateway.troubles import problem_of
from node.problems import Problem as Refused
from node.tokens import Scope

T = TypeVar("T")

CSV: Final = "text/csv"
_BODY: Final = "the body"
_NOW, _WINDOW = "now", "window"
_WHEN: Final = Parameter(
    "when",
    "`now`, or `window`: with all that comes in this window of time, at a moment of the next one"
    " that tells nothing of a customer.",
    {"enum": [_NOW, _WINDOW], "default": _NOW},
)


class _Lot(msgspec.Struct, forbid_unknown_fields=True):
    claims: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=schemas.MAX_LOT)]


class IntakeDesk:
    """The handlers."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._desk, self._courier = desk, courier

    def operations(self) -> Sequence[Operation]:
        """Return what can be handed in."""
        return (
            Operation(
                "POST",
                "/v1/claims",
                "submitClaim",
                "Hand in a claim. It is judged whole, kept, and brought onto the chain, now or when"
                " the node answers again. The same reference again changes nothing.",
                self.submit,
                Scope.SUBMIT,
                Claim,
                statuses=(200, 202),
                refusals=(404, 422),
                parameters=(WAIT, _WHEN),
                bodies={JSON: schemas.CLAIM, FHIR: schemas.RESOURCE},
            ),
            Operation(
                "POST",
                "/v1/lots",
                "submitLot",
                "Hand in many claims: a list, a FHIR bundle, or a table (CSV). Each is judged by"
                " itself; those that are taken travel under one signature. The same lot again"
                " submits nothing twice.",
                self.submit_lot,
                Scope.SUBMIT,
                Lot,
                statuses=(200, 202),
                parameters=(WAIT, _WHEN),
                bodies={JSON: schemas.LOT, FHIR: schemas.RESOURCE, CSV: {"type": "string"}},
            ),
            Operation(
                "POST",
                "/v1/check",
                "checkClaim",
                "Judge a claim. Nothing is kept and nothing sent.",
                self.check,
                Scope.READ,
                Verdict,
                refusals=(404, 422),
                bodies={JSON: schemas.CLAIM, FHIR: schemas.RESOURCE},
            ),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Take a claim; answer when it is decided, or `wait` seconds are over."""
        body = await read_body(request, JSON, FHIR)
        found = await self._take(request, [_document(_BODY, body)], is_one=True)
        shown = self._shown(found[0])
        return answer(shown, 202 if shown.progress in lots.OPEN else 200)

    async def submit_lot(self, request: web.Request) -> web.Response:
        """Take what holds of a lot; answer likewise, for each."""
        body = await read_body(request, JSON, FHIR, CSV)
        documents = _documents(body) if request.content_type == JSON else [_document(_BODY, body)]
        found = await self._take(request, documents)
        items = [
            Item(
                number=number,
                place=each.name,
                claim=None if each.error else self._shown(each),
                problem=_problem(each),
            )
            for number, each in enumerate(found)
        ]
        is_open = any(item.claim and item.claim.progress in lots.OPEN for item in items)
        return answer(Lot(items=tuple(items)), 202 if is_open else 200)

    async def check(self, request: web.Request) -> web.Response:
        """Judge a claim by itself, and by the prescription that it names where that is kept."""
        body = await read_body(request, JSON, FHIR)
        today = self._desk.today()
        (entry,) = _one(await asyncio.to_thread(importing.read_entries, body, _BODY, today=today))
        if entry.fault is not None:
            raise entry.fault
        asked = entry.found
        assert asked is not None  # it is that, or a fault
        self._desk.members.id_of(asked.payer)
        return answer(
            Verdict(
                reference=asked.reference,
                category=nomenclature.category(asked.codes),
                doubts=tuple(self._doubts(asked)),
                left_out=entry.left_out,
            )
        )

    async def _take(
        self, request: web.Request, documents: Sequence[Document], *, is_one: bool = False
    ) -> list[Judged]:
        """Keep the claims of documents and bring them on their way; return what became of each."""
        wait, desk = parse_wait(request), self._desk
        when = request.query.get("when", _NOW)
        if when not in {_NOW, _WINDOW}:
            raise Refused(400, "malformed", f"when must be {_NOW} or {_WINDOW}")
        now = desk.now()

        def then(asked: ClaimRequest) -> None:
            if when == _WINDOW:
                queue.put(desk.vault, asked.reference, desk.windows, now)

        # A long table is read beside the others' questions, and kept between them.
        judged = await asyncio.to_thread(intake.read, documents, today=desk.today())
        found: list[Judged] = []
        try:
            for kept in intake.keep_each(
                desk.vault, desk.sender, judged, desk.members.id_of, all_or_none=is_one, then=then
            ):
                found += kept
                await asyncio.sleep(0)
        finally:  # what is kept goes on its way, also where the vault took no more
            at_once = [
                str(each.reference)
                for each in found
                if each.error is None and not queue.is_waiting(desk.vault, str(each.reference))
            ]
            self._courier.take(filter(self._is_open, at_once))
        if is_one:
            (only,) = _one(found)
            if only.error is not None:
                raise only.error
        if not found:
            raise NotReadable("the body holds no claim")
        if documents[0].name == _BODY and isinstance(found[0].error, NotReadable):
            raise found[0].error  # of the whole of it
        if wait:
            await self._courier.wait(at_once, wait)
        return found

    def _is_open(self, reference: str) -> bool:
        return lots.load(self._desk.vault, reference)[1].progress in lots.OPEN

    def _shown(self, judged: Judged) -> Claim:
        record = lots.load(self._desk.vault, str(judged.reference))[1]
        shown = shown_claim(record, self._desk)
        return msgspec.structs.replace(shown, doubts=judged.doubts, left_out=judged.left_out)

    def _doubts(self, asked: ClaimRequest) -> list[str]:
        """Return what looks wrong in a claim that is not kept; raise `NotFound`, `Refused`."""
        if asked.prescribed is not None:
            return doubts_of(asked, asked.prescribed.prescription)
        kept = prescriptions.load(self._desk.vault, asked.prescription_reference)[1].prescription
        require_prescribed(asked, kept)
        return doubts_of(asked, kept)


def _problem(judged: Judged) -> Problem | None:
    if judged.error is None:
        return None
    return msgspec.convert(problem_of(judged.error).body, Problem)


def _document(name: str, content: bytes) -> Document:
    return Document(name, lambda: content)


def _documents(body: bytes) -> list[Document]:
    """Return the documents of a list, each yet to be judged; raise `Problem`."""
    try:
        found = msgspec.json.decode(body, type=_Lot).claims
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "malformed", "the body is no lot", str(error)[:200]) from None
    return [_document(f"claims[{number}]", bytes(each)) for number, each in enumerate(found)]


def _one(found: Sequence[T]) -> Sequence[T]:
    """Return the one claim of a body; raise `NotReadable` where it holds another number."""
    if len(found) != 1:
        raise NotReadable(f"the body holds {len(found)} claims", hint="POST /v1/lots takes many")
    return found
