"""Committing to a prescription by itself, before any claim is made of it."""

from contracts.calls import PrescriptionCommit
from contracts.errors import Refusal
from node.client import screening
from node.client.client import NodeClient
from node.client.decisions import require_applied
from node.client.errors import NotFound, Undecided
from node.client.reading import as_reference
from node.client.records import PrescriptionRecord, find, update
from node.client.transactions import Decided, Say, Sender, deliver, sign_and_keep
from node.client.vault import Vault


def parse_reference(text: str) -> str:
    """Return a reference of the shop's own; raise `Refused`."""
    screening.require_none(text, "reference")
    return as_reference(text, "reference")


async def commit(
    vault: Vault, node: NodeClient, sender: Sender, reference: str, *, wait_s: int, say: Say
) -> None:
    """Commit to a kept prescription, unless that was done; doing it twice changes nothing.

    Raises `NotFound`, `NetworkRefused`, and what `deliver` raises.
    """
    with vault.changes():
        found = find(vault, PrescriptionRecord, reference)
        if found is None:
            raise NotFound(f"the vault holds no prescription {reference}")
        if found[1].is_committed:
            return
        made = sign_and_keep(vault, sender, [PrescriptionCommit(found[1].commitment)])
    results = await deliver(vault, node, [made.id], wait_s=wait_s, say=say)
    result = results[made.id]
    if not isinstance(result, Decided):
        raise Undecided("it was not taken into a block in time", hint="run it again")
    outcome = result.outcome(0)
    if outcome.code != Refusal.PRESCRIPTION_ALREADY_COMMITTED:
        require_applied(outcome)
    with vault.changes():
        number, record = find(vault, PrescriptionRecord, reference) or found
        record.is_committed = True
        update(vault, number, record)
