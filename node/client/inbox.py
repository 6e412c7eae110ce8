"""What others hand us as files: disclosures of claims, and statements of sums and part amounts.

Each is unsealed, parsed, verified against the chain by our own node, and kept in the vault.
"""

from dataclasses import dataclass
from time import time
from typing import Any

from contracts.commitment import Opening
from ledger.encoding import decode, encode
from node.client import disclosure, sealing, settling
from node.client.agreements import authorisation_of
from node.client.client import NodeClient
from node.client.disclosure import Asked, Disclosed
from node.client.errors import NotVerified
from node.client.members import Members
from node.client.reading import parse_object
from node.client.records import AuthorisationRecord, ClaimRecord, ReceivedRecord, find, keep, update
from node.client.statements import ACCEPTANCE, AGREEMENT, Statement, parse_statement
from node.client.vault import Vault


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: our member id, the network we know, and the key that files are sealed to."""

    member: bytes
    members: Members
    sealing_seed: bytes | None


async def take(
    vault: Vault, node: NodeClient, reader: Reader, data: bytes, name: str
) -> Disclosed | Statement:
    """Return what a file proves, after keeping it. `name` is the file's.

    Raises `NotReadable`, `NotVerified` naming the false fact, `NotFound` for a claim or settlement
    that the chain does not show us.
    """
    plain = sealing.unseal(data, name, reader.sealing_seed)
    if parse_object(plain, name).get("format") == disclosure.FORMAT:
        return await _take_disclosure(vault, node, reader, plain, name)
    statement = parse_statement(plain, name)
    if statement.beneficiary != reader.member:
        raise NotVerified("beneficiary", "this statement is for another member, not for you")
    if statement.format == ACCEPTANCE:
        await _take_acceptance(vault, node, statement)
    elif statement.format == AGREEMENT:
        await _take_agreement(vault, node, statement)
    else:
        await settling.check(vault, node, statement)
    return statement


def known(vault: Vault, claim: bytes) -> dict[str, Any]:
    """Return what was disclosed to us of a claim, as it is shown; nothing where nothing was."""
    found = find(vault, ReceivedRecord, claim.hex())
    if found is None:
        return {"disclosed": False}
    record = found[1]
    shown = {"disclosed": True, "claimed_cents": decode(record.opening, Opening).amount}
    if record.accepted is not None:
        shown["accepted_cents"] = decode(record.accepted, Opening).amount
    return shown


async def _take_disclosure(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> Disclosed:
    parsed = disclosure.parse_disclosure(plain, name)
    view: Asked
    if parsed.purpose == disclosure.AUTHORISATION:
        view = await authorisation_of(node, parsed.claim)
    else:
        view = await node.claim(parsed.claim)
    submitter = await node.member(bytes.fromhex(view.submitter))
    disclosed = disclosure.verify(parsed, view, submitter, recipient=reader.member, now=int(time()))
    with vault.changes():
        found = find(vault, ReceivedRecord, view.id)
        if found is None:
            record = ReceivedRecord(
                claim=disclosed.claim,
                submitter=disclosed.submitter,
                disclosure=plain,
                opening=encode(disclosed.opening),
            )
            keep(vault, record, view.id)
        else:  # of a document that was rectified since, perhaps
            found[1].disclosure = plain
            update(vault, *found)
    return disclosed


async def _take_acceptance(vault: Vault, node: NodeClient, statement: Statement) -> None:
    view = await node.claim(statement.id)
    if view.accepted_amount is None:
        raise NotVerified("accepted amount", "the claim was not accepted in part")
    statement.verify(bytes.fromhex(view.accepted_amount))
    with vault.changes():
        found = find(vault, ClaimRecord, view.id)
        if found is not None:
            number, record = found
            record.accepted = encode(statement.opening)
            update(vault, number, record)


async def _take_agreement(vault: Vault, node: NodeClient, statement: Statement) -> None:
    view = await authorisation_of(node, statement.id)
    if view.granted_amount is None:
        raise NotVerified("agreed amount", "it was not agreed to in part")
    statement.verify(bytes.fromhex(view.granted_amount))
    with vault.changes():
        found = find(vault, AuthorisationRecord, view.id)
        if found is not None:
            found[1].accepted = encode(statement.opening)
            update(vault, *found)
