"""Calls about a member's keys, who may act for it, and the certificate of its organisation."""

from enum import IntEnum
from typing import Annotated, ClassVar, Final

import msgspec

from contracts.calls.costs import SIGNATURE_COST
from ledger.encoding import U63_MAX, Struct
from ledger.keys import P256_KEY_BYTES, SIGNATURE_BYTES, Algorithm, Role
from ledger.validators import Bytes16, Bytes32

MAX_LIVE_KEYS: Final = 32  # of a member, that have not ended, when it adds one
MAX_ROTATING_KEYS: Final = 2 * MAX_LIVE_KEYS  # when it rotates one: each may be on its way out
RSA_BYTES: Final = (256, 384, 512)  # moduli of 2048, 3072 and 4096 bits
_RSA_COST: Final = 72  # a power modulo 4096 bits
_KEY_COST: Final = 8 + MAX_LIVE_KEYS  # the pairs of a key, and a look at those that are live

Height = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
KeyIdBytes = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
PublicBytes = Annotated[bytes, msgspec.Meta(min_length=32, max_length=33)]
SignatureBytes = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Scope(IntEnum):
    """What a delegate may do, a bit for each group of calls; the numbers never change."""

    CLAIMS = 1  # prescriptions, marks and claims, and what was disclosed of them
    AUTHORISATIONS = 2
    SETTLEMENTS = 4  # confirming them
    DISPUTES = 8


ALL_SCOPES: Final = 15
_OF_VALIDATORS: Final = (Role.CONSENSUS, Role.CHECKPOINT)


class KeyAdd(Struct, tag=200):
    """The sender gets one more key, which signs that it is held."""

    KIND: ClassVar[int] = 200
    cost: ClassVar[int] = _KEY_COST + SIGNATURE_COST
    role: Role
    algorithm: Algorithm
    public: PublicBytes
    from_height: Height  # the next block, where it is not above that
    until_height: Height | None
    possession: SignatureBytes  # over contracts.keyring.possession_bytes

    def __post_init__(self) -> None:
        if self.role in _OF_VALIDATORS:
            raise ValueError("keys of a validator change by the calls on validators")


class KeyRevoke(Struct, tag=201):
    """A key of the sender ends at a height."""

    KIND: ClassVar[int] = 201
    cost: ClassVar[int] = _KEY_COST
    key_id: KeyIdBytes
    height: Height  # the next block, where it is not above that


class KeyRotate(Struct, tag=202):
    """A key of the sender ends at a height, and another of its role begins there."""

    KIND: ClassVar[int] = 202
    cost: ClassVar[int] = _KEY_COST + SIGNATURE_COST
    key_id: KeyIdBytes  # of the key that ends
    role: Role  # of both
    algorithm: Algorithm  # of the new one, as what follows
    public: PublicBytes
    height: Height  # the next block, where it is not above that
    possession: SignatureBytes

    def __post_init__(self) -> None:
        if self.role in _OF_VALIDATORS:
            raise ValueError("keys of a validator change by the calls on validators")


class DelegationGrant(Struct, tag=203):
    """A member may act for the sender, in a scope, until a time; in place of what it might."""

    KIND: ClassVar[int] = 203
    cost: ClassVar[int] = 3
    delegate: Bytes16
    scope: Annotated[int, msgspec.Meta(ge=1, le=ALL_SCOPES)]  # bits of `Scope`
    until: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # block time, its last second


class DelegationWithdraw(Struct, tag=204):
    """A member may act for the sender no more."""

    KIND: ClassVar[int] = 204
    cost: ClassVar[int] = 2
    delegate: Bytes16


class CertificateBind(Struct, tag=205):
    """An organisation's certificate vouches for a transaction key of the sender.

    Of the certificate the chain holds its hash and its key, RSA (the modulus, e is 65537) or P-256,
    which signs; whether it is a good certificate, people check before they rely on it.
    """

    KIND: ClassVar[int] = 205
    key_id: KeyIdBytes
    certificate: Bytes32  # SHA-256 of its DER
    public: Annotated[bytes, msgspec.Meta(min_length=33, max_length=512)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=512)]

    def __post_init__(self) -> None:
        size = len(self.public)
        if size == P256_KEY_BYTES:
            fits = len(self.signature) == SIGNATURE_BYTES
        else:
            fits = size in RSA_BYTES and self.public[0] >> 7 == 1 and len(self.signature) == size
        if not fits:
            raise ValueError("a certificate's key is P-256, or RSA of 2048, 3072 or 4096 bits")

    @property
    def cost(self) -> int:
        """What it costs a block."""
        is_short = len(self.public) == P256_KEY_BYTES
        return 4 + (SIGNATURE_COST if is_short else _RSA_COST)
