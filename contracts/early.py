"""That an early renewal qualifies: one bit, attested over two prescriptions that stay closed.

What is attested names both prescriptions by their commitments and the table by which it was judged,
and neither the rule that is met nor anything that another rule would write otherwise: whichever it
is, an attestation has the same bytes in number. How it is proved is a union, for a proof without
knowledge to take the place of signatures one day.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec

from contracts.errors import BadDocument
from contracts.reimbursement import MAX_PROOF_BYTES
from ledger.encoding import Struct, decode, encode
from ledger.errors import BadSignature, Malformed
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import KEY_ID_BYTES, SIGNATURE_BYTES, Role, Signer, key_id
from ledger.keys import verify as verify_signature
from ledger.validators import Bytes16, Bytes32

PER_THOUSAND: Final = 1_000
_TIME_MIN: Final = 1 << 16  # so that every time of this century has five bytes
_TIME_MAX: Final = (1 << 32) - 1


class How(IntEnum):
    """How an attestation is proved; the numbers never change."""

    SIGNATURES = 1


class Qualifies(Struct):
    """What is attested: these two prescriptions qualify under this table, and nothing else."""

    chain_id: Bytes32
    optician: Bytes16
    recipient: Bytes16
    authorisation: Bytes32
    question: Bytes32  # commitment of the question that it answers
    before: Bytes32  # commitments of the optician's, on the chain
    after: Bytes32
    table: Bytes32  # hash of the table of renewals
    control: Annotated[int, msgspec.Meta(ge=0, le=PER_THOUSAND)]  # of 1,000, so many are looked at
    expires: Annotated[int, msgspec.Meta(ge=_TIME_MIN, le=_TIME_MAX)]  # unix seconds
    salt: Bytes32

    def message(self) -> bytes:
        """Return what is signed."""
        return Domain.QUALIFIES + encode(self)


class Signed(Struct):
    """Who signed, with which of its keys."""

    member: Bytes16
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    signature: Annotated[
        bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
    ]

    def verify(self, message: bytes, public: bytes) -> None:
        """Raise `BadDocument` unless this key signed `message`."""
        try:
            verify_signature(public, message, self.signature, what="the attestation")
        except BadSignature:
            raise BadDocument("its signature does not verify") from None


class _Signatures(Struct):
    # The optician's, then that of the prescriber where there is one.
    signed: Annotated[tuple[Signed, ...], msgspec.Meta(min_length=1, max_length=2)]


class Attestation(Struct):
    """What is attested, and the proof of it."""

    says: Qualifies
    how: Annotated[int, msgspec.Meta(ge=0, le=255)]
    proof: Annotated[bytes, msgspec.Meta(max_length=MAX_PROOF_BYTES)]

    def signatures(self) -> tuple[Signed, ...]:
        """Return the optician's signature, and then a prescriber's; raise `BadDocument`."""
        if self.how != How.SIGNATURES:
            raise BadDocument(f"it is proved in a way that is not known here, {self.how}")
        try:
            found = decode(self.proof, _Signatures).signed
        except Malformed as error:
            raise BadDocument(str(error)) from None
        if found[0].member != self.says.optician:
            raise BadDocument("the first signature must be the optician's")
        if len({each.member for each in found}) != len(found):
            raise BadDocument("one member signed twice")
        return found


def sign(message: bytes, member: bytes, key: Signer, role: Role = Role.TRANSACTION) -> Signed:
    """Return the signature of a member."""
    id_ = key_id(role, key.algorithm, key.public)
    return Signed(member, id_, key.sign(message))


def attest(says: Qualifies, *signed: Signed) -> Attestation:
    """Return the attestation with these signatures, the optician's first."""
    return Attestation(says, How.SIGNATURES, encode(_Signatures(signed)))


def parse_attestation(data: bytes) -> Attestation:
    """Return the attestation that `data` encodes, or raise `BadDocument`."""
    try:
        return decode(data, Attestation)
    except Malformed as error:
        raise BadDocument(str(error)) from None


def attestation_id(attestation: Attestation) -> Hash:
    """Return what names an attestation: the hash of what it says."""
    return hash_of(Domain.QUALIFIES, encode(attestation.says))
