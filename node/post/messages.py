"""What nodes say to each other about post: the frames of one channel, each bounded."""

from typing import Annotated, Final, TypeAlias, cast

import msgspec

from ledger.encoding import Struct, decode
from ledger.envelope import MAX_ENVELOPE_BYTES
from ledger.mailbox import MAX_MAILBOX_BYTES
from ledger.validators import Bytes32

MAX_PARCELS: Final = 64
PARCELS_BYTES: Final = 512 << 10  # of one frame: read at once, and no vote waits for long
MAX_MAILBOXES: Final = 512
MAX_REACHED: Final = 1024  # nodes that are no validators
MAX_REASON_BYTES: Final = 200


class Parcels(Struct, tag=1):
    """Envelopes that the peer may keep, and bring nearer to whom they are for."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_ENVELOPE_BYTES)], ...],
        msgspec.Meta(min_length=1, max_length=MAX_PARCELS),
    ]


class Answer(Struct):
    """What became of one envelope: without a reason it is on the answerer's disk."""

    id: Bytes32
    reason: Annotated[bytes, msgspec.Meta(max_length=MAX_REASON_BYTES)]  # for people


class Taken(Struct, tag=2):
    """The answer to `Parcels`, one for each; no other parcels are sent before it."""

    answers: Annotated[tuple[Answer, ...], msgspec.Meta(min_length=1, max_length=MAX_PARCELS)]


class Mailboxes(Struct, tag=3):
    """Where members have their post brought, each signed by its member: anybody may say it."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_MAILBOX_BYTES)], ...],
        msgspec.Meta(min_length=1, max_length=MAX_MAILBOXES),
    ]


class Reached(Struct, tag=4):
    """Which nodes that are no validators are linked to the validator that says so."""

    node_keys: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_REACHED)]


Message: TypeAlias = Parcels | Taken | Mailboxes | Reached


def parse(payload: bytes) -> Message:
    """Return what a peer says of post, or raise `Malformed`."""
    return decode(payload, cast("type[Message]", Message), kind="message of post")
