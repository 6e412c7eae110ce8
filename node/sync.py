"""What nodes ask of each other beside votes: transactions, blocks, and snapshots of the state."""

from typing import Annotated, Final, TypeAlias, cast

import msgspec

from consensus.messages import Statement
from contracts.errors import Inadmissible
from contracts.execute import Executed, Signatures
from ledger.block import MAX_EVIDENCE, CommittedBlock, Evidence, Height, Outline
from ledger.certificate import CommitCertificate
from ledger.encoding import U63_MAX, Struct, decode
from ledger.errors import LedgerError, Mismatch
from ledger.snapshot import MAX_CHUNKS, MAX_FILE_BYTES
from ledger.transaction import MAX_TRANSACTION_BYTES
from ledger.validators import Bytes32
from node.applied import Applied
from node.errors import NodeError
from node.health import Health, PullHealth

MAX_BLOCKS: Final = 256  # that are asked for at once; an answer may be shorter, by bytes
MAX_RECORD_BYTES: Final = 8 << 20
MAX_OFFER_BYTES: Final = (8 << 20) - 1024  # manifest and `Decided` of a snapshot, in one frame

ChunkNumber = Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHUNKS)]


class PullTransactions(Struct, tag=1):
    """Send the transactions with these leaf hashes."""

    leaves: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=4096)]


class PullCandidate(Struct, tag=2):
    """Send the outline of this block of the open height."""

    block_id: Bytes32


class PullBlocks(Struct, tag=3):
    """Send the decided blocks of these heights, or as many from the first as fit."""

    first: Height
    last: Height


class PullMempool(Struct, tag=4):
    """Send the transactions that wait at your node."""


class PullHead(Struct, tag=6):
    """Send how far you are, and what you last heard my consensus key sign."""


class PullSnapshot(Struct, tag=10):
    """Send what you offer as your newest snapshot that is not above this height."""

    most: Height


class PullChunk(Struct, tag=11):
    """Send one chunk of your snapshot of this height."""

    height: Height
    number: ChunkNumber


Pull: TypeAlias = (
    PullTransactions
    | PullCandidate
    | PullBlocks
    | PullMempool
    | PullHead
    | PullHealth
    | PullSnapshot
    | PullChunk
)


class Pulled(Struct, tag=1):
    """Transactions that were asked for."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TRANSACTION_BYTES)], ...],
        msgspec.Meta(max_length=4096),
    ]


class Candidate(Struct, tag=2):
    """A block of the open height; its transactions are pulled as those of a proposal."""

    outline: Outline


class Blocks(Struct, tag=3):
    """Encoded `CommittedBlock`s of consecutive heights from `first` on; none: it is not here.

    Blocks below `kept_from` are never here.
    """

    first: Height
    records: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)], ...],
        msgspec.Meta(max_length=MAX_BLOCKS),
    ]
    kept_from: Height = 1


class Head(Struct, tag=6):
    """The newest decided block here, and what was last heard of who asks."""

    height: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    block_id: Bytes32
    newest: Statement | None  # with its own signature: that is all that proves it


class Told(Struct, tag=8):
    """Evidence that waits for a block, which nobody asked for."""

    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(min_length=1, max_length=MAX_EVIDENCE)]


class Offer(Struct, tag=10):
    """A snapshot: its manifest, and the `Decided` by which it is trusted; both empty: none here."""

    most: Height  # as it was asked for
    manifest: Annotated[bytes, msgspec.Meta(max_length=MAX_OFFER_BYTES)]
    decided: Annotated[bytes, msgspec.Meta(max_length=MAX_OFFER_BYTES)]


class Chunk(Struct, tag=11):
    """A compressed chunk of a snapshot; empty: it is not here."""

    height: Height
    number: ChunkNumber
    data: Annotated[bytes, msgspec.Meta(max_length=MAX_FILE_BYTES)]


Reply: TypeAlias = Pulled | Candidate | Blocks | Head | Health | Told | Offer | Chunk


def parse_pull(payload: bytes) -> Pull:
    """Return what a peer asks for, or raise `Malformed`."""
    return decode(payload, cast("type[Pull]", Pull), kind="request")


def parse_reply(payload: bytes) -> Reply:
    """Return what a peer answers, or raise `Malformed`."""
    return decode(payload, cast("type[Reply]", Reply), kind="reply")


class Diverged(NodeError):
    """A quorum decided a block that this node executes to something else."""

    def __init__(self, height: int, reason: str) -> None:
        super().__init__(f"block {height}, which a quorum decided, is not valid here: {reason}")


def verified_block(
    chain: Applied, record: bytes, signatures: Signatures
) -> tuple[Executed, CommitCertificate] | None:
    """Return the next block of `chain` from a peer's `record`, or None where it has it already.

    The certificate is verified before anything is executed. Raises `LedgerError` where the record
    is not the next block, or not one that a quorum decided; `Diverged` where it is, and this node
    cannot follow.
    """
    committed = decode(record, CommittedBlock)
    header, certificate = committed.block.header, committed.certificate
    if header.height <= chain.height:
        return None
    if header.height != chain.height + 1:
        raise Mismatch("height", chain.height + 1, header.height)
    if (certificate.height, certificate.block_id) != (header.height, header.hash):
        raise Mismatch("certificate", header.hash, certificate.block_id)
    certificate.verify(chain.header.chain_id, chain.state.validators)
    committed.block.outline().verify()  # the body that was decided, not another
    try:
        chain.require_parent_commit(committed.block.body.parent_commit)
        executed = chain.execute(committed.block.body, header, signatures)
    except (LedgerError, Inadmissible) as error:
        raise Diverged(header.height, str(error)) from None
    if executed.outcomes != committed.outcomes:
        raise Mismatch("outcomes", len(executed.outcomes), len(committed.outcomes))
    return executed, certificate
