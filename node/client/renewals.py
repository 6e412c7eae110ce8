"""Whether glasses may be renewed before their time, judged in the vault where the sight is known.

What leaves it is one bit. That no earlier prescription is at hand is no answer of "no": it says so.
"""

from contracts.nomenclature.renewal import EarlyRequest, Eyes, qualifies_early
from node.client import nomenclature
from node.client.errors import NotFound
from node.client.fhir import Prescription
from node.client.records import PrescriptionRecord, find
from node.client.vault import Vault


def eyes_of(prescription: Prescription) -> Eyes:
    """Return what a prescription says of both eyes."""
    return prescription.right, prescription.left


def load_eyes(vault: Vault, reference: str) -> Eyes:
    """Return what the prescription kept under a reference says of both eyes; raise `NotFound`."""
    found = find(vault, PrescriptionRecord, reference)
    if found is None:
        raise NotFound(
            f"the vault holds no prescription {reference}", hint="depoli prescription list"
        )
    return eyes_of(found[1].prescription)


def qualifies(request: EarlyRequest) -> bool:
    """Return whether an early renewal qualifies; which rule says so stays here. Raise `Refused`."""
    with nomenclature.in_words():
        return qualifies_early(nomenclature.current().renewal, request)
