"""What validators say to each other, and the bytes that they sign.

A message is encoded as canonical MessagePack, but signed over a fixed layout of its own, so that
nothing depends on how it was encoded:

    "depoli/consensus/1/" kind NUL chain_id(32) height(u64) round(u32) ...

Every signed fact, alone or embedded in a certificate or a justification, is a *statement*; all
checks of signatures go through `statements`, so no embedded signature can be forgotten.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Final, TypeAlias, assert_never, cast

import msgspec

from consensus.errors import MalformedMessage, UnknownSigner
from ledger import encoding
from ledger.block import Header, Outline
from ledger.certificate import (
    KIND_COMMIT,
    KIND_PREPARE,
    CommitCertificate,
    Seals,
    vote_signing_bytes,
)
from ledger.encoding import U32_MAX, U63_MAX, Struct
from ledger.errors import Malformed
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import SIGNATURE_BYTES
from ledger.validators import MAX_VALIDATORS, Bytes32, ValidatorSet

KIND_PROPOSAL: Final = b"proposal"
KIND_ROUND_CHANGE: Final = b"round-change"
UNPREPARED: Final = -1  # the prepared round of a validator that is not locked
MAX_MESSAGE_BYTES: Final = 2 << 20  # an outline's evidence may take 1 MiB, its leaves 136 KiB
# A book keeps eight rounds around its base, and one above for each signer and kind of vote.
MAX_STATUS_ROUNDS: Final = 9 + 4 * MAX_VALIDATORS

Height = Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]
Round = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
Signer = Annotated[int, msgspec.Meta(ge=0, lt=MAX_VALIDATORS)]  # index in the set of the height
SignatureBytes = Annotated[
    bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
]
Bitmap = Annotated[bytes, msgspec.Meta(max_length=(MAX_VALIDATORS + 7) // 8)]


class PreparedCertificate(Struct):
    """A quorum prepared this block in this round."""

    height: Height
    round: Round
    block_id: Bytes32
    seals: Seals


class RoundChange(Struct, tag=4):
    """Its signer asks for `round`, and signs nothing below it any more.

    It says what its signer is locked on. `certificate` proves that and is not signed; a *bare*
    round change has none.
    """

    height: Height
    round: Annotated[int, msgspec.Meta(ge=1, le=U32_MAX)]
    prepared_round: Annotated[int, msgspec.Meta(ge=UNPREPARED, le=U32_MAX)]
    prepared_id: Bytes32  # zeros where nothing is prepared
    certificate: PreparedCertificate | None
    signer: Signer
    signature: SignatureBytes

    def bare(self) -> "RoundChange":
        """Return the signed part alone, as justifications and evidence carry it."""
        return msgspec.structs.replace(self, certificate=None)


class Justification(Struct):
    """Why a leader may propose this block in a round above 0."""

    round_changes: Annotated[
        tuple[RoundChange, ...], msgspec.Meta(min_length=1, max_length=MAX_VALIDATORS)
    ]  # bare, of exactly that round, by increasing signer
    prepared: PreparedCertificate | None  # for the highest prepared round among them


class Proposal(Struct, tag=1, dict=True):
    """The leader of the round proposes this block."""

    round: Round
    outline: Outline
    justification: Justification | None  # none in round 0
    signer: Signer
    signature: SignatureBytes

    @property
    def height(self) -> int:
        """The height of the block."""
        return self.outline.header.height

    @property
    def block_id(self) -> Hash:
        """The hash of the header."""
        return self.outline.header.hash

    @cached_property
    def outline_hash(self) -> Hash:
        """What is signed of the outline besides its header.

        The header's root alone does not fix the leaves: an inner node of the tree passes for one.
        """
        return hash_of(Domain.OUTLINE, encoding.encode(self.outline))

    @cached_property
    def justification_hash(self) -> Hash:
        """What is signed of the justification."""
        return justification_hash(self.justification)

    def bare(self) -> "BareProposal":
        """Return the signed part alone."""
        return BareProposal(
            self.height,
            self.round,
            self.block_id,
            self.outline_hash,
            self.justification_hash,
            self.signer,
            self.signature,
        )


class BareProposal(Struct, tag=7):
    """What the leader signed of a proposal; it travels only in evidence."""

    height: Height
    round: Round
    block_id: Bytes32
    outline_hash: Bytes32
    justification_hash: Bytes32
    signer: Signer
    signature: SignatureBytes


class Prepare(Struct, tag=2):
    """Its signer has the block, found it valid, and accepts it in this round."""

    height: Height
    round: Round
    block_id: Bytes32
    signer: Signer
    signature: SignatureBytes


class Commit(Struct, tag=3):
    """Its signer saw a quorum of prepares for the block in this round and is locked on it."""

    height: Height
    round: Round
    block_id: Bytes32
    signer: Signer
    signature: SignatureBytes


class Decided(Struct, tag=5):
    """The height is decided; the certificate proves it, whoever says so."""

    header: Header
    certificate: CommitCertificate

    @property
    def height(self) -> int:
        """The height that is decided."""
        return self.certificate.height


class Held(Struct):
    """What a validator holds of one round; bit i of a bitmap is validator i, lowest bit first."""

    round: Round
    proposal: bool
    prepares: Bitmap
    commits: Bitmap
    round_changes: Bitmap  # for exactly this round


class Status(Struct, tag=6):
    """What its sender knows, so that others send what it lacks. Not signed: a link vouches."""

    height: Height  # the height being decided
    round: Round
    wish: Round
    head: Bytes32  # id of the block below
    held: Annotated[tuple[Held, ...], msgspec.Meta(max_length=MAX_STATUS_ROUNDS)]
    wishes: Annotated[
        tuple[Round, ...], msgspec.Meta(max_length=MAX_VALIDATORS)
    ]  # highest round that each validator was heard to ask for, 0 for none


Message: TypeAlias = Proposal | Prepare | Commit | RoundChange | Decided | Status
Signed: TypeAlias = Proposal | Prepare | Commit | RoundChange  # what a validator can promise
Statement: TypeAlias = BareProposal | Prepare | Commit | RoundChange  # one signature each
_ORDER: Final[tuple[type[Statement], ...]] = (RoundChange, BareProposal, Prepare, Commit)


def encode(message: Message) -> bytes:
    """Return the one encoding of `message`."""
    return encoding.encode(message)


def decode(data: bytes) -> Message:
    """Return the message whose encoding is `data`, or raise `MalformedMessage`."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedMessage("message", f"{len(data)} bytes, more than {MAX_MESSAGE_BYTES}")
    try:
        return encoding.decode(data, cast("type[Message]", Message), kind="message")
    except Malformed as error:
        raise MalformedMessage("message", error.reason) from None


def justification_hash(justification: Justification | None) -> Hash:
    """Return the hash that a proposal signs."""
    return hash_of(Domain.JUSTIFICATION, encoding.encode(justification))


def order(statement: Statement) -> tuple[int, int, int]:
    """Return a key that sorts what one honest validator signed as it signed it."""
    return statement.height, statement.round, _ORDER.index(type(statement))


def signing_bytes(statement: Signed | Statement, chain_id: bytes) -> bytes:
    """Return the bytes that the signer of `statement` signs."""
    height, round_ = statement.height, statement.round
    match statement:
        case Prepare():
            return vote_signing_bytes(KIND_PREPARE, chain_id, height, round_, statement.block_id)
        case Commit():
            return vote_signing_bytes(KIND_COMMIT, chain_id, height, round_, statement.block_id)
        case RoundChange():
            prepared = statement.prepared_round.to_bytes(8, signed=True)
            head = vote_signing_bytes(KIND_ROUND_CHANGE, chain_id, height, round_, prepared)
            return head + statement.prepared_id
        case Proposal() | BareProposal():
            head = vote_signing_bytes(KIND_PROPOSAL, chain_id, height, round_, statement.block_id)
            return head + statement.outline_hash + statement.justification_hash
        case _:
            assert_never(statement)


def statements(message: Message) -> Iterator[Statement]:
    """Yield every signed statement in `message`, itself and those that it embeds."""
    match message:
        case Prepare() | Commit():
            yield message
        case RoundChange():
            yield message.bare()
            yield from _prepares(message.certificate)
        case Proposal():
            yield message.bare()
            yield from justification_statements(message.justification)
        case Decided():
            yield from commits(message.certificate)
        case Status():
            return
        case _:
            assert_never(message)


def justification_statements(justification: Justification | None) -> Iterator[Statement]:
    """Yield every signed statement in `justification`."""
    if justification is not None:
        for change in justification.round_changes:
            yield change.bare()
            yield from _prepares(change.certificate)
        yield from _prepares(justification.prepared)


def commits(certificate: CommitCertificate) -> Iterator[Commit]:
    """Yield the commits of which `certificate` was made."""
    height, round_, block_id = certificate.height, certificate.round, certificate.block_id
    for seal in certificate.seals:
        yield Commit(height, round_, block_id, seal.validator, seal.signature)


def signatures(
    message: Message, chain_id: bytes, validators: ValidatorSet
) -> list[tuple[bytes, bytes, bytes]]:
    """Return (public key, signed bytes, signature) of all that must verify before `message` counts.

    `validators` are those of the height of the message. Raises `UnknownSigner`.
    """
    return [
        (
            consensus_key(validators, statement.signer),
            signing_bytes(statement, chain_id),
            statement.signature,
        )
        for statement in statements(message)
    ]


def consensus_key(validators: ValidatorSet, signer: int) -> bytes:
    """Return the key of a validator by its index, or raise `UnknownSigner`."""
    if signer >= len(validators):
        raise UnknownSigner(signer, len(validators))
    return validators.members[signer].consensus_key


def _prepares(certificate: PreparedCertificate | None) -> Iterator[Prepare]:
    if certificate is not None:
        height, round_, block_id = certificate.height, certificate.round, certificate.block_id
        for seal in certificate.seals:
            yield Prepare(height, round_, block_id, seal.validator, seal.signature)
