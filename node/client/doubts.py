"""What looks wrong in a claim and is not refused, because the tables are not that sure of it.

Which lens a correction makes, and how long prescriptions serve, are facts that a person must still
verify (`depoli codes tables --json`). Whoever types sees the doubt; no dioptre is in it.
"""

from typing import Final, TypeAlias

from contracts.calendar import parse_day, text_of
from contracts.identifiers import passes_luhn
from node.client import nomenclature
from node.client.fhir import Prescription
from node.client.records import ClaimRecord
from node.client.request import ClaimRequest

ADELI_DIGITS: Final = 9
Claimed: TypeAlias = ClaimRequest | ClaimRecord  # before it is kept, and after


def doubts(request: Claimed, prescription: Prescription) -> list[str]:
    """Return a sentence for each thing that looks wrong in what is claimed of a prescription."""
    return [
        *_lenses(request, prescription),
        *_age(request, prescription),
        *_prescriber(prescription),
    ]


def _lenses(request: Claimed, prescription: Prescription) -> list[str]:
    found = []
    for side, lens in nomenclature.lenses(request.codes).items():
        correction = prescription.correction(side)
        assert correction is not None  # a lens that is not prescribed was refused
        assert lens.design is not None  # a table whose lenses have none is refused
        with nomenclature.in_words():
            clause = nomenclature.current().categories.clause(correction, lens.design)
        made = (clause.class_a,) if lens.class_ == "A" else clause.class_b
        if lens.code not in made:
            found.append(
                f"codes.{side}: {lens.code} is claimed, and what is prescribed makes"
                f" {' or '.join(made)}"
            )
    return found


def _age(request: Claimed, prescription: Prescription) -> list[str]:
    rules = nomenclature.current().prescriptions
    written = parse_day(prescription.written)
    last = max(rules.valid_until(written, row.from_age) for row in rules.validity)
    if parse_day(request.invoice_date) <= last:
        return []
    return [f"claim.invoice_date: at no age did the prescription serve after {text_of(last)}"]


def _prescriber(prescription: Prescription) -> list[str]:
    """Say where the key of an ADELI number does not fit, whose rule nobody has verified here."""
    number = prescription.prescriber
    if len(number) != ADELI_DIGITS or passes_luhn(number):
        return []
    return ["prescription.prescriber: the last digit of the ADELI number does not fit the others"]
