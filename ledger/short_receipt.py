"""The short form of a receipt, which fits in a QR code: what follows from the rest is left out.

Left out are the changes of validators, what the header says that its reader knows (the chain, who
votes), the root of the log, to which the proof leads, and the block id. Who has the genesis and,
where validators have changed, their changes from any other file makes the receipt from it again;
then the whole receipt is verified, so that nothing is believed that it leaves out.

As text: `DEPOLI1:` and decimal digits, 17 for each 7 bytes, which a QR code holds without loss.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from ledger.block import Header, Height, Round, Version
from ledger.certificate import CommitCertificate, Seal
from ledger.encoding import U32_MAX, U63_MAX, Struct, decode, encode
from ledger.entry import Entry, Outcome
from ledger.errors import Malformed, Mismatch, OtherVoters
from ledger.hashing import HASH_BYTES, Hash
from ledger.merkle import EMPTY_ROOT, included_root
from ledger.receipt import Change, Receipt
from ledger.transaction import Call
from ledger.validators import MAX_VALIDATORS, Bytes16, Bytes32, ValidatorSet

PREFIX: Final = "DEPOLI1:"
MAX_TEXT: Final = 1 << 16  # a receipt of the longest call with all hashes and signatures has 61,000
_KIND: Final = "short receipt"
_BEGINNING: Final = 4  # bytes of a hash that tell whether another chain or set is meant
_GROUP: Final = 7  # bytes
_DIGITS: Final = (0, 3, 5, 8, 10, 13, 15, 17)  # that hold 0 to 7 bytes
_SIGNATURE: Final = 64
_SPACES: Final = dict.fromkeys(b" \t\r\n")  # that do not count in its text

_Bytes4 = Annotated[bytes, msgspec.Meta(min_length=_BEGINNING, max_length=_BEGINNING)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=MAX_VALIDATORS)]


class Older(Struct):
    """The block of an entry, where the header is of a later one."""

    height: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class ShortReceipt(Struct):
    """A receipt without what follows from the rest; made by `shorten` only."""

    chain: _Bytes4  # how the chain id begins
    voters: _Bytes4  # how validators_hash begins
    version: Version
    height: Height
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    parent: Bytes32
    transactions_root: Bytes32
    log_size: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    heads_root: Bytes32
    state_digest: Bytes32
    next_validators_hash: Bytes32 | None  # None: the same go on
    proposer: _Index
    built_round: Round
    parent_commit_hash: Bytes32
    evidence_root: Bytes32 | None  # None: there is no evidence
    round: Round
    signers: Annotated[tuple[_Index, ...], msgspec.Meta(max_length=MAX_VALIDATORS)]
    signatures: Annotated[bytes, msgspec.Meta(max_length=MAX_VALIDATORS * _SIGNATURE)]  # joined
    older: Older | None  # None: the entry is of this block
    index: Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
    sender: Bytes16
    transaction: Bytes32
    position: Annotated[int, msgspec.Meta(ge=0, le=255)]
    call: Call
    outcome: Outcome
    log_index: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    proof: Annotated[bytes, msgspec.Meta(max_length=63 * HASH_BYTES)]  # joined

    def expand(
        self, chain_id: bytes, validators: ValidatorSet, changes: Sequence[Change] = ()
    ) -> Receipt:
        """Return the receipt, which is not verified yet; raise `LedgerError` where it is none.

        `validators` are those of height 1; `changes` of them are all up to its block, or more.
        Raises `OtherVoters` where the block was not voted on by those that these lead to.
        """
        if chain_id[:_BEGINNING] != self.chain:
            raise Mismatch("beginning of the chain id", chain_id[:_BEGINNING], self.chain)
        known = tuple(each for each in changes if each.header.height < self.height)
        voters = known[-1].validators if known else validators
        if voters.hash[:_BEGINNING] != self.voters:
            raise OtherVoters(self.height, voters.hash[:_BEGINNING], self.voters)
        if self.proposer >= len(voters):
            raise Mismatch("proposer", f"below {len(voters)}", self.proposer)
        older = self.older or Older(self.height, self.time)
        entry = Entry(
            older.height,
            self.index,
            older.time,
            self.sender,
            self.transaction,
            self.position,
            self.call,
            self.outcome,
        )
        proof = tuple(map(Hash, _split(self.proof, HASH_BYTES)))
        header = Header(
            version=self.version,
            chain_id=chain_id,
            height=self.height,
            time=self.time,
            parent=self.parent,
            transactions_root=self.transactions_root,
            log_size=self.log_size,
            log_root=included_root(self.log_size, self.log_index, entry.leaf(), proof),
            heads_root=self.heads_root,
            state_digest=self.state_digest,
            validators_hash=voters.hash,
            next_validators_hash=self.next_validators_hash or voters.hash,
            proposer=voters.members[self.proposer].member,
            built_round=self.built_round,
            parent_commit_hash=self.parent_commit_hash,
            evidence_root=self.evidence_root or EMPTY_ROOT,
        )
        signatures = _split(self.signatures, _SIGNATURE)
        if len(signatures) != len(self.signers):
            raise Malformed(_KIND, f"{len(self.signers)} signers, {len(signatures)} signatures")
        seals = tuple(map(Seal, self.signers, signatures))
        certificate = CommitCertificate(self.height, self.round, header.hash, seals)
        receipt = Receipt(entry, self.log_index, proof, header, certificate, known)
        if shorten(receipt, voters) != self:
            raise Malformed(_KIND, "it holds what follows from the rest")
        return receipt


def shorten(receipt: Receipt, voters: ValidatorSet) -> ShortReceipt:
    """Return the short form of a receipt that verifies; `voters` voted on its header.

    Raises `Mismatch` where none of them proposed it, which no quorum of correct ones signs.
    """
    entry, header, certificate = receipt.entry, receipt.header, receipt.certificate
    is_older = (entry.height, entry.time) != (header.height, header.time)
    members = [each.member for each in voters.members]
    if header.proposer not in members:
        raise Mismatch("proposer", "one of the validators", header.proposer)
    evidence, then = header.evidence_root, header.next_validators_hash
    return ShortReceipt(
        chain=header.chain_id[:_BEGINNING],
        voters=header.validators_hash[:_BEGINNING],
        version=header.version,
        height=header.height,
        time=header.time,
        parent=header.parent,
        transactions_root=header.transactions_root,
        log_size=header.log_size,
        heads_root=header.heads_root,
        state_digest=header.state_digest,
        next_validators_hash=None if then == header.validators_hash else then,
        proposer=members.index(header.proposer),
        built_round=header.built_round,
        parent_commit_hash=header.parent_commit_hash,
        evidence_root=None if evidence == EMPTY_ROOT else evidence,
        round=certificate.round,
        signers=tuple(seal.validator for seal in certificate.seals),
        signatures=b"".join(seal.signature for seal in certificate.seals),
        older=Older(entry.height, entry.time) if is_older else None,
        index=entry.index,
        sender=entry.sender,
        transaction=entry.transaction,
        position=entry.position,
        call=entry.call,
        outcome=entry.outcome,
        log_index=receipt.log_index,
        proof=b"".join(receipt.proof),
    )


def to_text(short: ShortReceipt) -> str:
    """Return it as the text of a QR code."""
    data = encode(short)
    groups = (data[at : at + _GROUP] for at in range(0, len(data), _GROUP))
    digits = (f"{int.from_bytes(group):0{_DIGITS[len(group)]}}" for group in groups)
    return PREFIX + "".join(digits)


def parse_text(text: str) -> ShortReceipt:
    """Return what `to_text` wrote, or raise `Malformed`; `_SPACES` do not count."""
    if len(text) > MAX_TEXT:
        raise Malformed(_KIND, f"{len(text)} characters, at most {MAX_TEXT}")
    text = text.translate(_SPACES)
    digits = text.removeprefix(PREFIX)
    if digits in {text, ""} or digits.strip("0123456789"):
        raise Malformed(_KIND, f"not {PREFIX} and digits")
    most = _DIGITS[_GROUP]
    return decode(
        b"".join(_bytes(digits[at : at + most]) for at in range(0, len(digits), most)),
        ShortReceipt,
        kind=_KIND,
    )


def _bytes(digits: str) -> bytes:
    """Return the bytes of a group of digits, or raise `Malformed`."""
    try:
        return int(digits).to_bytes(_DIGITS.index(len(digits)))
    except (ValueError, OverflowError):
        raise Malformed(_KIND, "digits are missing, or are not those of bytes") from None


def _split(data: bytes, size: int) -> list[bytes]:
    if len(data) % size:
        raise Malformed(_KIND, f"{len(data)} bytes where each part has {size}")
    return [data[at : at + size] for at in range(0, len(data), size)]
