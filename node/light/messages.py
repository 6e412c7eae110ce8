"""What a light node asks of its peers, and what they answer: nothing but what concerns its member.

The tags are those of one table with `node.sync`; on a light link only these are spoken.
"""

from typing import Annotated, Final, TypeAlias, cast

import msgspec

from ledger.block import Header, Height
from ledger.certificate import CommitCertificate
from ledger.encoding import U63_MAX, Struct, decode
from ledger.entry import Entry
from ledger.heads import HeadProof
from ledger.history import MAX_ENTRIES
from ledger.receipt import Change
from ledger.validators import Bytes16, Bytes32

MAX_CHANGES: Final = 16  # of validators in one answer: who lacks more asks again
MAX_PROOFS: Final = 256
MAX_MEMBER_PAIRS: Final = 4096

Count = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
StateBytes = Annotated[bytes, msgspec.Meta(max_length=4096)]
Entries = Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MAX_ENTRIES)]


class PullHistory(Struct, tag=12):
    """Send what concerns my member, and everyone, after so many entries of each that I have.

    Up to the block at `until`, 0: up to the newest; and the changes of validators after so many.
    """

    own: Count
    everyone: Count
    until: Height
    changes: Count


class PullHeader(Struct, tag=13):
    """Send your newest header if it is above this height, and how my member stands under it."""

    above: Height
    changes: Count


class PullProofs(Struct, tag=14):
    """Send where in the log so many entries that concern my member are, after so many."""

    after: Count
    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_PROOFS)]
    changes: Count


class PullMember(Struct, tag=15):
    """Send what the state says of a member and its keys: it is no secret among members."""

    member: Bytes16


LightPull: TypeAlias = PullHistory | PullHeader | PullProofs | PullMember


class Seen(Struct):
    """A header of the chain, how to come to trust it, and two heads under it."""

    header: Header
    certificate: CommitCertificate
    own: HeadProof  # of the asker's member
    everyone: HeadProof
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # in order


class Told(Struct, tag=12):
    """Entries that were asked for: all up to `seen`, or as many as fit, from the first on.

    `seen` is None where some of them are not kept here.
    """

    seen: Seen | None
    own: Entries
    everyone: Entries


class NewestHeader(Struct, tag=13):
    """The newest header here, None where it is not above what the asker has."""

    seen: Seen | None


class Place(Struct):
    """Where an entry stands in the log."""

    number: Count
    proof: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=63)]


class Proofs(Struct, tag=14):
    """Places of the asker's entries in the log of one header; none: they are not here."""

    seen: Seen | None
    after: Count
    places: Annotated[tuple[Place, ...], msgspec.Meta(max_length=MAX_PROOFS)]


class MemberRecord(Struct, tag=15):
    """The pairs of the state that say who a member is and which keys it has."""

    member: Bytes16
    pairs: Annotated[
        tuple[tuple[StateBytes, StateBytes], ...], msgspec.Meta(max_length=MAX_MEMBER_PAIRS)
    ]


class Refusal(Struct):
    """Why a transaction of the asker's is in no block that this node makes."""

    transaction: Bytes32
    text: Annotated[bytes, msgspec.Meta(max_length=300)]  # for people


class Refusals(Struct, tag=16):
    """What was handed in and not admitted, which nobody asked for."""

    refusals: Annotated[tuple[Refusal, ...], msgspec.Meta(max_length=1024)]


LightReply: TypeAlias = Told | NewestHeader | Proofs | MemberRecord | Refusals


def parse_pull(payload: bytes) -> LightPull:
    """Return what a light node asks for, or raise `Malformed`."""
    return decode(payload, cast("type[LightPull]", LightPull), kind="request of a light node")


def parse_reply(payload: bytes) -> LightReply:
    """Return what a peer answers a light node, or raise `Malformed`."""
    return decode(payload, cast("type[LightReply]", LightReply), kind="reply to a light node")
