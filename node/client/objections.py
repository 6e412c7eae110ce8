"""What stands against a claim before it is prepared, because of another that is kept."""

from contracts.calls import Leg
from node.client.errors import Refused
from node.client.records import ClaimRecord
from node.client.request import ClaimRequest


def require_inherits(before: ClaimRecord, payer: bytes, leg: Leg) -> None:
    """Raise `Refused` unless `before` is on the chain, with the same payer and leg."""
    if before.claim is None:
        raise Refused("claim", f"{before.reference} is not on the chain yet")
    if (before.payer, before.leg) != (payer, leg):
        raise Refused("claim", f"{before.reference} is of another payer or leg")


def require_replaces(kept: ClaimRecord, prior: ClaimRecord | None) -> None:
    """Raise `Refused` where what is kept replaces another claim than `prior`."""
    if prior is not None and kept.prior != prior.claim:
        raise Refused(
            "claim.reference",
            f"another claim was made under {kept.reference}",
            hint=f"what takes the place of {prior.reference} has a reference of its own",
        )


def require_same(
    kept: ClaimRecord, request: ClaimRequest, payer: bytes, prescription_reference: str
) -> None:
    """Raise `Refused` unless a request says what is kept under its reference."""
    asked = (
        request.leg,
        request.codes,
        request.lenses_cents,
        request.frame_cents,
        request.invoice_date,
        request.insured,
        request.authorisation,
    )
    known = (
        kept.leg,
        kept.codes,
        kept.lenses_cents,
        kept.frame_cents,
        kept.invoice_date,
        kept.insured,
        kept.authorisation,
    )
    if (asked, payer, prescription_reference) != (known, kept.payer, kept.prescription_reference):
        raise Refused(
            "claim.reference",
            f"another claim was made under {kept.reference}",
            hint="give this one a reference of its own",
        )
