"""A snapshot: the state at one height in chunks, and what else it takes to go on from there.

Of one block there is one manifest, the same bytes whoever makes it. Nothing in it is believed for
itself: it must lead to the header that a quorum signed, and the pairs of all chunks together to the
state digest there. Until the last chunk is in, a chunk is only what the manifest says it is.
"""

import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

import google_crc32c
import msgspec

from ledger.block import Header
from ledger.decided import Decided
from ledger.digest import SUM_BYTES, Pair, StateDigest
from ledger.encoding import U63_MAX, Struct, decode, encode
from ledger.errors import Malformed, Mismatch
from ledger.hashing import Hash
from ledger.heads import Heads, Leaf
from ledger.merkle import Frontier
from ledger.validators import Bytes32, MemberId, ValidatorSet

FORMAT: Final = 1
CHUNK_BYTES: Final = 1 << 20  # of an encoded chunk: one is in memory at a time
MAX_FILE_BYTES: Final = CHUNK_BYTES + (4 << 10)  # what zlib makes of bytes that do not compress
MAX_CHUNKS: Final = 1 << 16  # 64 GiB of state; their hashes take 2 MiB
MAX_HEADS: Final = 1 << 16  # members that anything ever concerned; they take 4 MiB
MAX_MANIFEST_BYTES: Final = 7 << 20
MAX_DECIDED_BYTES: Final = 32 << 20  # 1,024 changes of a hundred validators
_PAIR_BYTES: Final = 16  # weighed beside key and value: more than the encoding of a pair adds
_CHECKSUM_BYTES: Final = 4
_LEVEL: Final = 6  # of zlib; who reads takes any

Pairs = tuple[Pair, ...]


class Manifest(Struct):
    """What a snapshot consists of."""

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)]
    header: Header
    peaks: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=63)]  # of the log, largest first
    heads: Annotated[tuple[Leaf, ...], msgspec.Meta(max_length=MAX_HEADS)]  # by ascending member
    state_sum: Annotated[bytes, msgspec.Meta(min_length=SUM_BYTES, max_length=SUM_BYTES)]
    pairs: Annotated[int, msgspec.Meta(ge=1, le=U63_MAX)]  # of the state
    chunks: Annotated[
        tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_CHUNKS)
    ]  # SHA-256 of each as it is before compression

    @property
    def frontier(self) -> Frontier:
        """The right edge of the log."""
        return Frontier(self.header.log_size, tuple(map(Hash, self.peaks)))

    def heads_map(self) -> Heads:
        """Return the heads of all members."""
        return Heads({MemberId(leaf.member): leaf.head for leaf in self.heads})

    def verify(self, decided: Decided, chain_id: bytes, validators: ValidatorSet) -> ValidatorSet:
        """Return who voted on the block; raise `LedgerError` naming the first false fact.

        `validators` are those of height 1. What is in the chunks is not known by this.
        """
        signers = decided.verify(chain_id, validators)
        if self.header != decided.header:
            raise Mismatch("block of the manifest", decided.header.hash, self.header.hash)
        peaks = self.header.log_size.bit_count()
        if len(self.peaks) != peaks:
            raise Mismatch("peaks of the log", peaks, len(self.peaks))
        if any(one.member >= other.member for one, other in pairwise(self.heads)):
            raise Malformed("manifest", "the heads are not by ascending member")
        for field, expected, found in (
            ("log root", self.header.log_root, self.frontier.root),
            ("heads root", self.header.heads_root, self.heads_map().root),
            ("state digest", self.header.state_digest, StateDigest.parse(self.state_sum).hash),
        ):
            if found != expected:
                raise Mismatch(field, expected, found)
        return signers


class Assembly:
    """The state of a snapshot as its chunks come, in their order."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._sum = StateDigest()
        self._pairs = 0
        self._last: bytes | None = None  # key
        self._weight = 0  # of the chunk before
        self.taken = 0  # chunks

    def take(self, file: bytes) -> Pairs:
        """Return the pairs of the next chunk, in order; raise `LedgerError`: then nothing came."""
        what = f"chunk {self.taken}"
        pairs = unpack(file, self._manifest.chunks[self.taken], what)
        keys = [] if self._last is None else [self._last]
        keys += [key for key, _ in pairs]
        if any(one >= other for one, other in pairwise(keys)):
            raise Malformed(what, "the keys do not ascend")
        weight = sum(map(_weight, pairs))
        if weight > CHUNK_BYTES and len(pairs) > 1:
            raise Malformed(what, "it holds more than fits")
        if self.taken and self._weight + _weight(pairs[0]) <= CHUNK_BYTES:
            raise Malformed(what, "its first pair would have fitted into the chunk before")
        self._sum = self._sum.updated((), pairs)
        self._pairs += len(pairs)
        self._last, self._weight = keys[-1], weight
        self.taken += 1
        return pairs

    def finish(self) -> None:
        """Raise `Mismatch` unless this was the whole state, and the one that the header names."""
        manifest = self._manifest
        for field, expected, found in (
            ("number of chunks", len(manifest.chunks), self.taken),
            ("number of pairs", manifest.pairs, self._pairs),
            ("state digest", manifest.header.state_digest, self._sum.hash),
        ):
            if found != expected:
                raise Mismatch(field, expected, found)


def chunked(pairs: Iterable[Pair]) -> Iterator[Pairs]:
    """Yield the chunks of the state whose pairs these are, by ascending key."""
    chunk: list[Pair] = []
    weight = 0
    for pair in pairs:
        weight += _weight(pair)
        if weight > CHUNK_BYTES and chunk:
            yield tuple(chunk)
            chunk, weight = [], _weight(pair)
        chunk.append(pair)
    if chunk:
        yield tuple(chunk)


def pack(chunk: Pairs) -> tuple[Hash, bytes]:
    """Return the hash of a chunk, and the file that holds it."""
    encoded = encode(chunk)
    assert len(encoded) <= CHUNK_BYTES  # no value of the state is near that long
    stream = zlib.compress(encoded, _LEVEL)
    checksum: int = google_crc32c.value(stream)
    return Hash(sha256(encoded).digest()), checksum.to_bytes(_CHECKSUM_BYTES) + stream


def unpack(file: bytes, expected: bytes, what: str) -> Pairs:
    """Return the pairs in the file of the chunk of this hash, or raise `LedgerError`.

    Where they are not in order only an `Assembly` says so.
    """
    if len(file) > MAX_FILE_BYTES:
        raise Malformed(what, f"longer than {MAX_FILE_BYTES} bytes")
    stream = file[_CHECKSUM_BYTES:]
    # zlib does not look at the last bits of its own last byte.
    if google_crc32c.value(stream) != int.from_bytes(file[:_CHECKSUM_BYTES]):
        raise Malformed(what, "its checksum does not match")
    inflating = zlib.decompressobj()
    try:
        encoded = inflating.decompress(stream, CHUNK_BYTES + 1)
    except zlib.error as error:
        raise Malformed(what, str(error)) from None
    if not inflating.eof or inflating.unused_data or len(encoded) > CHUNK_BYTES:
        raise Malformed(what, f"not one zlib stream of at most {CHUNK_BYTES} bytes")
    if (found := sha256(encoded).digest()) != expected:
        raise Mismatch(f"{what}: its SHA-256, or that in the manifest", expected, found)
    pairs: Pairs = decode(encoded, Pairs, kind=what)
    if not pairs:
        raise Malformed(what, "it is empty")
    return pairs


def _weight(pair: Pair) -> int:
    return _PAIR_BYTES + len(pair[0]) + len(pair[1])
