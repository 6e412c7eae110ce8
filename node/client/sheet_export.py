"""What became of claims, as a table that spreadsheets and shops' programs read.

`;` between cells, decimal commas, UTF-8 with its mark: what a French spreadsheet opens by itself.
The first columns are those that `node.client.sheets` reads; no correction is in it.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from contracts.calls import Leg
from node.client.fhir_export import Told
from node.client.french import SAYS

_HEADINGS: Final = (
    *("N° facture", "Payeur", "Part", "Date facture", "N° adhérent", "N° PEC", "Ordonnance"),
    *("Code OD", "Code OG", "Code monture", "Suppléments", "Montant verres", "Montant monture"),
    *("État", "Montant accepté", "Motif", "Refus", "Règlement", "Bloc", "Demande"),
)
_LEGS: Final = {Leg.BASE: "AMO", Leg.COMPLEMENTARY: "AMC"}


def table(told: Sequence[Told], labels: Mapping[bytes, str]) -> bytes:
    """Return a row for each claim; `labels` are the members'."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";")
    writer.writerow(_HEADINGS)
    writer.writerows(_row(each, labels) for each in told)
    return out.getvalue().encode("utf-8-sig")


def _row(told: Told, labels: Mapping[bytes, str]) -> tuple[str, ...]:
    claim, view = told.claim, told.view
    reason = None if view is None or view.reason is None else SAYS[view.reason]
    cells: tuple[object, ...] = (
        *(claim.reference, labels.get(claim.payer, claim.payer.hex()), _LEGS[Leg(claim.leg)]),
        *(_day(claim.invoice_date), claim.insured, claim.authorisation),
        *(claim.prescription_reference, claim.codes.right, claim.codes.left, claim.codes.frame),
        *(" ".join(claim.codes.supplements), _euros(claim.lenses_cents)),
        *(_euros(claim.frame_cents), claim.progress.value if view is None else view.state),
        *(_euros(told.accepted_cents), reason, claim.refusal),
        *(None if view is None else view.settlement, claim.height),
        None if claim.claim is None else claim.claim.hex(),
    )
    return tuple("" if cell is None else str(cell) for cell in cells)


def _euros(cents: int | None) -> str | None:
    return None if cents is None else f"{cents // 100},{cents % 100:02}"


def _day(text: str) -> str:
    year, month, day = text.split("-")
    return f"{day}/{month}/{year}"
