"""Prescriptions over the gateway: keep one and commit to it, and see what the vault keeps."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from aiohttp import web

from node.asking import parse_number, parse_wait
from node.client import fhir, lots, prescriptions
from node.client.errors import NotReadable, Undecided, Unreachable
from node.client.records import PrescriptionRecord, every
from node.client.request import parse_handed
from node.gateway import schemas
from node.gateway.desk import Desk
from node.gateway.operations import (
    AFTER,
    FHIR,
    JSON,
    LIMIT,
    MAX_COUNT,
    MAX_PAGE,
    REFERENCE,
    WAIT,
    Operation,
    Parameter,
    answer,
    read_body,
)
from node.gateway.shapes import Prescription, Prescriptions
from node.tokens import Scope

_GIVEN: Final = Parameter(
    "reference",
    "Your reference of it, where the document has none.",
    {"type": "string", "pattern": "^[A-Z0-9-]{1,20}$"},
)


class PrescriptionDesk:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> Sequence[Operation]:
        """Return what can be asked of prescriptions."""
        return (
            Operation(
                "POST",
                "/v1/prescriptions",
                "keepPrescription",
                "Keep a prescription in the vault. With `wait` it is also committed to on the"
                " chain; else the first claim on it does that.",
                self.keep,
                Scope.SUBMIT,
                Prescription,
                statuses=(200, 202),
                refusals=(409, 422),
                parameters=(_GIVEN, WAIT),
                bodies={JSON: schemas.PRESCRIPTION, FHIR: schemas.PRESCRIPTION},
            ),
            Operation(
                "GET",
                "/v1/prescriptions",
                "listPrescriptions",
                "List the prescriptions of the vault, without what they say.",
                self.page,
                Scope.READ,
                Prescriptions,
                parameters=(AFTER, LIMIT),
            ),
            Operation(
                "GET",
                "/v1/prescriptions/{reference}",
                "showPrescription",
                "Show a prescription, as a FHIR VisionPrescription of nobody.",
                self.show,
                Scope.READ,
                Prescription,
                refusals=(404,),
                parameters=(REFERENCE,),
            ),
        )

    async def keep(self, request: web.Request) -> web.Response:
        """Keep one; with ?wait, commit to it too, 202 where that is not done in time."""
        wait = parse_wait(request)
        body = await read_body(request, JSON, FHIR)
        desk = self._desk
        handed = parse_handed(body, "the body", today=desk.today())
        name = request.query.get("reference", handed.reference)
        if name is None:
            raise NotReadable("the prescription has no reference", hint="add ?reference=ORD-17")
        name = prescriptions.parse_reference(name)
        with desk.vault.changes():
            lots.add_prescription(desk.vault, desk.sender, handed, name)
        late = False
        if wait:
            try:
                async with desk.connect() as node:
                    await prescriptions.commit(
                        desk.vault, node, desk.sender, name, wait_s=wait, say=lambda _: None
                    )
            except (Undecided, Unreachable):
                late = True
        record = prescriptions.load(desk.vault, name)[1]
        left_out = handed.prescription.left_out
        return answer(_shown(record, left_out=left_out), 202 if late else 200)

    async def page(self, request: web.Request) -> web.Response:
        """List what the vault keeps."""
        after = parse_number(request, "after", 0, 0, MAX_COUNT)
        limit = parse_number(request, "limit", MAX_PAGE, 1, MAX_PAGE)
        found = list(islice(every(self._desk.vault, PrescriptionRecord, after=after), limit))
        cursor = found[-1][0] if len(found) == limit else None
        shown = tuple(_shown(record) for _, record in found)
        return answer(Prescriptions(prescriptions=shown, cursor=cursor))

    async def show(self, request: web.Request) -> web.Response:
        """Show one with what it says."""
        record = prescriptions.load(self._desk.vault, request.match_info["reference"])[1]
        return answer(_shown(record, is_whole=True))


def _shown(
    record: PrescriptionRecord, *, left_out: tuple[str, ...] = (), is_whole: bool = False
) -> Prescription:
    return Prescription(
        reference=record.reference,
        written=record.prescription.written,
        commitment=record.commitment.hex(),
        committed=record.is_committed,
        left_out=left_out,
        resource=fhir.as_resource(record.prescription) if is_whole else None,
    )
