"""Claims come in over the gateway: alone, in lots, or to be judged only."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from aiohttp import web

from node.asking import parse_wait
from node.client import lots, nomenclature, prescriptions
from node.client.doubts import doubts as doubts_of
from node.client.errors import ClientError
from node.client.request import ClaimRequest, parse_claim, require_prescribed
from node.gateway import schemas
from node.gateway.claims import shown_claim
from node.gateway.courier import Courier
from node.gateway.desk import Desk
from node.gateway.operations import WAIT, Operation, answer, read_body
from node.gateway.shapes import Claim, Item, Lot, Problem, Verdict
from node.gateway.troubles import problem_of
from node.problems import Problem as Refused
from node.tokens import Scope

_BODY: Final = "the body"


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
                parameters=(WAIT,),
                body=schemas.CLAIM,
            ),
            Operation(
                "POST",
                "/v1/lots",
                "submitLot",
                "Hand in many claims. Each is judged by itself; those that are taken travel"
                " under one signature. The same lot again submits nothing twice.",
                self.submit_lot,
                Scope.SUBMIT,
                Lot,
                statuses=(200, 202),
                parameters=(WAIT,),
                body=schemas.LOT,
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
                body=schemas.CLAIM,
            ),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Take a claim; answer when it is decided, or `wait` seconds are over."""
        wait = parse_wait(request)
        body = await read_body(request)
        with self._desk.vault.changes():
            asked, doubts = self._prepare(body, _BODY)
        await self._bring([asked.reference], wait)
        shown = self._own(asked.reference, doubts, asked)
        return answer(shown, 202 if self._is_open(asked.reference) else 200)

    async def submit_lot(self, request: web.Request) -> web.Response:
        """Take what holds of a lot; answer likewise, for each."""
        wait = parse_wait(request)
        documents = _documents(await read_body(request))
        taken: dict[int, tuple[ClaimRequest, list[str]]] = {}
        refused: dict[int, Problem] = {}
        with self._desk.vault.changes():
            for number, document in enumerate(documents):
                try:
                    taken[number] = self._prepare(bytes(document), f"claims[{number}]")
                except ClientError as error:
                    refused[number] = msgspec.convert(problem_of(error).body, Problem)
        references = [asked.reference for asked, _ in taken.values()]
        await self._bring(references, wait)
        items = [
            Item(number=number, problem=refused[number])
            if number in refused
            else Item(
                number=number,
                claim=self._own(taken[number][0].reference, taken[number][1], taken[number][0]),
            )
            for number in range(len(documents))
        ]
        return answer(Lot(items=tuple(items)), 202 if any(map(self._is_open, references)) else 200)

    async def check(self, request: web.Request) -> web.Response:
        """Judge a claim by itself, and by the prescription that it names where that is kept."""
        asked = parse_claim(await read_body(request), _BODY, today=self._desk.today())
        self._desk.members.id_of(asked.payer)
        return answer(
            Verdict(
                reference=asked.reference,
                category=nomenclature.category(asked.codes),
                doubts=tuple(self._doubts(asked)),
                left_out=_left_out(asked),
            )
        )

    def _prepare(self, data: bytes, name: str) -> tuple[ClaimRequest, list[str]]:
        """Judge and keep a claim; return it with what looks wrong in it. Raise as `prepare`."""
        desk = self._desk
        asked = parse_claim(data, name, today=desk.today())
        lots.prepare(desk.vault, desk.sender, asked, desk.members.id_of)
        return asked, lots.doubts_of(desk.vault, asked)

    async def _bring(self, references: Sequence[str], wait: int) -> None:
        self._courier.take(filter(self._is_open, references))
        if wait:
            await self._courier.wait(references, wait)

    def _is_open(self, reference: str) -> bool:
        return lots.load(self._desk.vault, reference)[1].progress in lots.OPEN

    def _own(self, reference: str, doubts: Sequence[str], asked: ClaimRequest) -> Claim:
        record = lots.load(self._desk.vault, reference)[1]
        shown = shown_claim(record, self._desk)
        return msgspec.structs.replace(shown, doubts=tuple(doubts), left_out=_left_out(asked))

    def _doubts(self, asked: ClaimRequest) -> list[str]:
        """Return what looks wrong in a claim that is not kept; raise `NotFound`, `Refused`."""
        if asked.prescribed is not None:
            return doubts_of(asked, asked.prescribed.prescription)
        kept = prescriptions.load(self._desk.vault, asked.prescription_reference)[1].prescription
        require_prescribed(asked, kept)
        return doubts_of(asked, kept)


def _documents(body: bytes) -> list[msgspec.Raw]:
    """Return the documents of a lot, each yet to be judged; raise `Problem`."""
    try:
        return msgspec.json.decode(body, type=_Lot).claims
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "malformed", "the body is no lot", str(error)[:200]) from None


def _left_out(asked: ClaimRequest) -> tuple[str, ...]:
    return () if asked.prescribed is None else asked.prescribed.prescription.left_out
