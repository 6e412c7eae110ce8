"""Committing to a prescription by itself, rectifying, renewing and revoking it."""

from collections.abc import Sequence
from typing import Final

from contracts.calls import PrescriptionCommit, PrescriptionRevoke, PrescriptionSupersede
from contracts.errors import Refusal
from ledger.transaction import MAX_CALLS
from node.client import day_proofs, documents, lots, screening
from node.client.acts import APPLIED, Acts
from node.client.client import CallOutcome, NodeClient
from node.client.decisions import require_applied
from node.client.errors import NotFound, Refused, Undecided
from node.client.fhir import Prescription
from node.client.reading import as_reference
from node.client.records import PrescriptionRecord, find, update
from node.client.transactions import Decided, Say, Sender, deliver, once, sign_and_keep
from node.client.vault import Vault

_STANDS: Final = (0, Refusal.PRESCRIPTION_ALREADY_COMMITTED)


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
        found = load(vault, reference)
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


async def commit_all(
    vault: Vault,
    node: NodeClient,
    sender: Sender,
    references: Sequence[str],
    *,
    wait_s: int,
    say: Say,
) -> None:
    """Commit to kept prescriptions, many under one signature; what was done is not done again.

    Raises `NotFound`, `NetworkRefused`, and what `once` raises.
    """
    found = [load(vault, reference) for reference in references]
    todo = [each for each in found if not each[1].is_committed]
    for start in range(0, len(todo), MAX_CALLS):
        batch = todo[start : start + MAX_CALLS]
        say(f"committing to {len(batch)} prescriptions")
        calls = [PrescriptionCommit(record.commitment) for _, record in batch]
        outcomes = await once(vault, node, sender, calls, wait_s=wait_s, say=say)
        with vault.changes():
            for (number, record), outcome in zip(batch, outcomes, strict=True):
                if outcome.code in _STANDS:
                    record.is_committed = True
                    update(vault, number, record)
        for outcome in outcomes:
            if outcome.code not in _STANDS:
                require_applied(outcome)


async def supersede(
    vault: Vault,
    acts: Acts,
    sender: Sender,
    reference: str,
    prescription: Prescription,
) -> CallOutcome:
    """Put a rectified prescription in the place of a kept one, with the same secret and marks.

    What was claimed rests on the earlier document, which is kept for that. The same again, after
    it was done, changes nothing. Raises `NotFound`, and what `Acts.make` raises.
    """
    found = load(vault, reference)
    number, record = found
    if record.prescription == prescription:
        return APPLIED
    document = documents.issue_prescription(prescription, record.secret, sender.key, record.ordinal)
    outcome = await acts.make(PrescriptionSupersede(record.commitment, document.commitment))
    if outcome.code == 0:
        record.earlier = {**record.earlier, record.commitment.hex(): record.document}
        record.prescription, record.document = prescription, str(document)
        record.commitment = document.commitment
        with vault.changes():
            update(vault, number, record)
    return outcome


async def revoke(vault: Vault, acts: Acts, reference: str) -> CallOutcome:
    """Withdraw a prescription that we committed; raise as `supersede`."""
    return await acts.make(PrescriptionRevoke(load(vault, reference)[1].commitment))


async def renew(
    vault: Vault,
    node: NodeClient,
    sender: Sender,
    reference: str,
    *,
    proof: str | None = None,
    claim: str | None = None,
) -> PrescriptionRecord:
    """Let the next claim of a prescription use its next marks; return it.

    That takes the day of the last reimbursement: the proof that its patient brought, or the claim
    of ours on the marks before, accepted by its payer; each counts once. The chain sees another
    prescription, which nothing on it links to this one. Raises `NotFound`, `Refused`.
    """
    ground = f"proof {proof}" if claim is None else f"claim {claim}"
    if claim is not None:
        await _require_reimbursed(vault, node, reference, claim)
    elif proof is not None:
        day_proofs.carried_of(vault, proof)
    with vault.changes():
        number, record = load(vault, reference)
        if ground in record.renewed:
            return record
        if not record.is_committed:
            raise Refused("prescription", f"{reference} is not on the chain, and was not claimed")
        document = documents.issue_prescription(
            record.prescription, record.secret, sender.key, record.ordinal + 1
        )
        record.earlier = {**record.earlier, record.commitment.hex(): record.document}
        record.document, record.commitment = str(document), document.commitment
        record.ordinal, record.renewed = record.ordinal + 1, [*record.renewed, ground]
        record.is_committed = False
        update(vault, number, record)
    return record


async def _require_reimbursed(vault: Vault, node: NodeClient, reference: str, name: str) -> None:
    """Raise `Refused` unless this claim of ours used the marks of now, and was accepted."""
    claim, held = lots.load(vault, name)[1], load(vault, reference)[1]
    if f"claim {name}" in held.renewed:
        return
    if (claim.prescription_reference, claim.ordinal) != (reference, held.ordinal):
        raise Refused("claim", f"{name} is not the last claim on {reference}")
    state = "not on the chain" if claim.claim is None else (await node.claim(claim.claim)).state
    if state not in day_proofs.ACCEPTED:
        raise Refused("claim", f"{name} is {state}: nothing was reimbursed")


def load(vault: Vault, reference: str) -> tuple[int, PrescriptionRecord]:
    """Return number and prescription of this reference; raise `NotFound`."""
    found = find(vault, PrescriptionRecord, reference)
    if found is None:
        raise NotFound(
            f"the vault holds no prescription {reference}", hint="depoli prescription list"
        )
    return found
