"""What a claim and a request for a prior agreement require alike: both ask a payer to pay."""

from typing import Final, TypeAlias

from contracts import marks, prescription, registry
from contracts.calls import (
    AuthorisationGrant,
    AuthorisationRequest,
    ClaimAccept,
    ClaimOverturn,
    ClaimSubmit,
)
from contracts.commitment import parse_point
from contracts.context import Context
from contracts.errors import NotAPoint, Refusal, Refused
from contracts.registry import Family
from ledger.keys import KeyId, key_id

_PAYERS: Final = frozenset((Family.INSURER, Family.OPERATOR))

Asking: TypeAlias = ClaimSubmit | AuthorisationRequest
Naming: TypeAlias = Asking | ClaimAccept | ClaimOverturn | AuthorisationGrant  # an amount, perhaps


def sender_is_optician(context: Context, _thing: object, _call: Asking) -> None:
    """Require that the sender is an optician."""
    if context.family is not Family.OPTICIAN:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)


def payer_pays(context: Context, _thing: object, call: Asking) -> None:
    """Require that the payer is an admitted insurer or operator."""
    payer = registry.admitted(context.state, call.payer)
    if payer is None:
        raise Refused(Refusal.PAYER_UNKNOWN)
    if payer.family not in _PAYERS:
        raise Refused(Refusal.PAYER_NOT_ELIGIBLE)


def prescription_is_in_force(context: Context, _thing: object, call: Asking) -> None:
    """Require that the sender committed the prescription, and neither rectified nor revoked it."""
    prescription.require_in_force(context, call.prescription)


def marks_are_locked_and_free(context: Context, _thing: object, call: Asking) -> None:
    """Require that the sender locked its marks in an earlier block and nothing uses one."""
    marks.require_usable(context, call.marks)


def amount_is_point(_context: Context, _thing: object, call: Naming) -> None:
    """Require that the amount is a point, canonically encoded."""
    assert call.amount is not None  # the row's condition, of calls that need not name one
    try:
        parse_point(call.amount)
    except NotAPoint:
        raise Refused(Refusal.AMOUNT_NOT_A_POINT) from None


def names_amount(_context: Context, _thing: object, call: Naming) -> bool:
    """Return whether it is for an amount of the payer's own."""
    return call.amount is not None


def signer(context: Context) -> KeyId:
    """Return the id of the key that signed."""
    key = context.key
    return key_id(key.role, key.algorithm, key.public)


def require_person(context: Context, decided_by: bytes | None) -> None:
    """Raise `Refused` unless a person signed, with another key than decided before."""
    if not context.is_human:
        raise Refused(Refusal.PERSON_NEEDED)
    if signer(context) == decided_by:
        raise Refused(Refusal.OTHER_PERSON_NEEDED)
