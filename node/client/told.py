"""Statements of settlements that we were given and checked, kept until we confirm or dispute."""

from contracts.calls import Direction
from contracts.commitment import Opening
from node.client.client import SettlementView
from node.client.errors import NotFound
from node.client.records import SettlementRecord, Stage, find, keep
from node.client.statements import SETTLEMENT, Payment, Statement
from node.client.vault import Vault


def keep_statement(vault: Vault, view: SettlementView, statement: Statement) -> None:
    """Keep what a statement told us that was checked. Call it inside `vault.changes()`."""
    if find(vault, SettlementRecord, view.id) is not None:
        return
    payment = statement.payment
    record = SettlementRecord(
        id=statement.id,
        counterpart=statement.payer,
        direction=Direction[view.direction.upper()],
        is_ours=False,
        count=view.count,
        cents=statement.opening.amount,
        blinding=statement.opening.blinding,
        reference=None if payment is None else payment.reference,
        salt=None if payment is None else payment.salt,
        stage=Stage.TOLD,
    )
    keep(vault, record, view.id)


def statement_of(vault: Vault, settlement: bytes, beneficiary: bytes) -> Statement:
    """Return the statement that we were given of a settlement; raise `NotFound`."""
    found = find(vault, SettlementRecord, settlement.hex())
    record = None if found is None else found[1]
    if record is None or record.is_ours or record.cents is None or record.blinding is None:
        raise NotFound(
            f"no statement of {settlement.hex()} is kept here",
            hint="depoli post run fetches what the payer sent; or name the file that it gave you",
        )
    opening = Opening(record.cents, record.blinding)
    payment = None
    if record.reference is not None and record.salt is not None:
        payment = Payment(record.reference, record.salt)
    return Statement(SETTLEMENT, settlement, record.counterpart, beneficiary, opening, payment)
