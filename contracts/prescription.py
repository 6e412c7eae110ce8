"""Prescriptions: that a member holds one, by the hash of its signed document.

No date of it stands here. How long it is valid depends on the age of whom it is for, so that an
end would tell the age, and when the doctor was seen: whoever is shown the document checks both.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts.calls import PrescriptionCommit, PrescriptionRevoke, PrescriptionSupersede
from contracts.context import Context
from contracts.errors import Refusal, Refused
from contracts.life import Life, Row
from contracts.registry import Family
from contracts.state import Reader
from ledger.encoding import U63_MAX, Struct
from ledger.validators import Bytes16, Bytes32

_HOLDERS: Final = frozenset((Family.OPTICIAN, Family.PRESCRIBER))


class State(IntEnum):
    """Where a prescription stands."""

    COMMITTED = 1
    SUPERSEDED = 2  # a rectified document stands in its place
    REVOKED = 3


class Party(IntEnum):
    """A sender's part in a prescription."""

    HOLDER = 1


class Prescription(Struct):
    """A prescription, by the member that holds it and its commitment."""

    member: Bytes16
    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # at which it was committed
    since: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time: when it came to its state
    state: State = State.COMMITTED
    successor: Bytes32 | None = None  # once superseded


def _make(context: Context, _call: object) -> Prescription:
    return Prescription(context.sender, context.height, context.time)


def sender_holds_prescriptions(
    context: Context, _prescription: Prescription | None, _call: PrescriptionCommit
) -> None:
    """Require that the sender is an optician or a prescriber."""
    if context.family not in _HOLDERS:
        raise Refused(Refusal.SENDER_NOT_ELIGIBLE)


def commitment_is_new(
    context: Context, _prescription: Prescription | None, call: PrescriptionCommit
) -> None:
    """Require that the sender did not commit it before."""
    _require_new(context, call.commitment)


def successor_is_new(
    context: Context, _prescription: Prescription | None, call: PrescriptionSupersede
) -> None:
    """Require that the sender did not commit the successor before."""
    _require_new(context, call.successor)


def commit_successor(
    context: Context, _id: bytes, prescription: Prescription, call: PrescriptionSupersede
) -> Prescription:
    """Commit the successor, and name it."""
    LIFE.save(context.state, context.sender + call.successor, _make(context, call))
    return msgspec.structs.replace(prescription, successor=call.successor)


def require_in_force(context: Context, commitment: bytes) -> None:
    """Raise `Refused` unless the sender committed this prescription, and nothing undid that."""
    found = of(context.state, context.sender, commitment)
    if found is None:
        raise Refused(Refusal.PRESCRIPTION_NOT_COMMITTED)
    if found.state is not State.COMMITTED:
        raise Refused(Refusal.PRESCRIPTION_NOT_IN_FORCE, found.state)


def of(state: Reader, member: bytes, commitment: bytes) -> Prescription | None:
    """Return what `member` committed so, None if it did not."""
    return LIFE.load(state, member + commitment)


def _require_new(context: Context, commitment: bytes) -> None:
    found = of(context.state, context.sender, commitment)
    if found is not None:
        raise Refused(Refusal.PRESCRIPTION_ALREADY_COMMITTED, found.height)


# Under the member, so that nobody can burn a commitment that he sees on its way.
LIFE: Final[Life[Prescription]] = Life(
    name="prescription",
    thing=Prescription,
    prefix=b"p",  # + member + commitment
    parties={Party.HOLDER: "member"},
    unknown=Refusal.PRESCRIPTION_NOT_COMMITTED,
    not_yours=Refusal.PRESCRIPTION_NOT_COMMITTED,  # another's is not found at all
    wrong_state=Refusal.PRESCRIPTION_NOT_IN_FORCE,
    make=_make,
    subject="commitment",
    by_member=True,
    rows=(
        Row(
            None,
            PrescriptionCommit,
            Party.HOLDER,
            State.COMMITTED,
            guards=(sender_holds_prescriptions, commitment_is_new),
        ),
        Row(
            State.COMMITTED,
            PrescriptionSupersede,
            Party.HOLDER,
            State.SUPERSEDED,
            guards=(successor_is_new,),
            effects=(commit_successor,),
        ),
        Row(State.COMMITTED, PrescriptionRevoke, Party.HOLDER, State.REVOKED),
    ),
)
