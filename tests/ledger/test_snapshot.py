"""Chunks and a manifest: one form of each state, and nothing believed that the header denies."""

import zlib
from collections.abc import Sequence
from hashlib import sha256

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import snapshot
from ledger.decided import Decided
from ledger.digest import Pair, StateDigest
from ledger.encoding import decode, encode
from ledger.errors import LedgerError, Malformed, Mismatch
from ledger.heads import Head, Heads, Leaf, first
from ledger.merkle import Frontier, leaf_hash
from ledger.snapshot import FORMAT, Assembly, Manifest, chunked, pack, unpack
from ledger.validators import MemberId
from tests.ledger.examples import CHAIN, certificate, header, spoiled, validators

VOTERS = validators(1, 2, 3, 4)
LOG = Frontier().append([leaf_hash(bytes([number])) for number in range(11)])
HEADS = [Leaf(bytes([number] * 16), first(bytes([number] * 32))) for number in (1, 7, 9)]
ROOT = Heads({MemberId(leaf.member): leaf.head for leaf in HEADS}).root
STATE = [(b"%04d" % number, b"value %d" % number) for number in range(300)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "CHUNK_BYTES", 1_000)


def made(pairs: Sequence[Pair] = STATE) -> tuple[Manifest, Decided, list[bytes]]:
    """Return a snapshot of this state, and its files."""
    sum_ = StateDigest().updated((), pairs)
    head = header(
        5, log_size=11, log_root=LOG.root, heads_root=ROOT, state_digest=sum_.hash, time=7
    )
    packed = [pack(chunk) for chunk in chunked(pairs)]
    hashes, files = [hash_ for hash_, _ in packed], [file for _, file in packed]
    manifest = Manifest(
        FORMAT, head, LOG.peaks, tuple(HEADS), sum_.to_bytes(), len(pairs), tuple(hashes)
    )
    return manifest, Decided(head, certificate(head), ()), files


def read(manifest: Manifest, files: Sequence[bytes]) -> list[Pair]:
    assembly = Assembly(manifest)
    found = [pair for file in files for pair in assembly.take(file)]
    assembly.finish()
    return found


def test_a_state_is_read_back() -> None:
    manifest, decided, files = made()
    assert manifest.verify(decided, CHAIN, VOTERS) == VOTERS
    assert len(files) > 5
    assert read(manifest, files) == STATE
    assert decode(encode(manifest), Manifest) == manifest


@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=400), min_size=1, max_size=60))
def test_each_state_has_one_form(state: dict[bytes, bytes]) -> None:
    pairs = sorted(state.items())
    chunks = list(chunked(pairs))
    assert [pair for chunk in chunks for pair in chunk] == pairs
    sizes = [sum(16 + len(key) + len(value) for key, value in chunk) for chunk in chunks]
    assert all(len(encode(chunk)) <= size for chunk, size in zip(chunks, sizes, strict=True))
    assert all(size <= 1_000 for size in sizes)
    manifest, _, files = made(pairs)
    assert read(manifest, files) == pairs
    if len(pairs) > 1:  # any other cut is refused, though each hash is right
        other = [pack(tuple(pairs[:1])), pack(tuple(pairs[1:]))]
        if [hash_ for hash_, _ in other] != list(manifest.chunks):
            cut = replace(manifest, chunks=tuple(hash_ for hash_, _ in other))
            with pytest.raises(Malformed, match=r"would have fitted|more than fits|not one zlib"):
                read(cut, [file for _, file in other])


def test_a_state_of_nothing_has_no_chunk() -> None:
    assert list(chunked([])) == []


def test_a_chunk_of_its_hash_must_be_in_order_whole_and_not_empty() -> None:
    def refusal(*chunks: tuple[Pair, ...]) -> str:
        packed = [pack(chunk) for chunk in chunks]
        manifest = replace(made()[0], chunks=tuple(hash_ for hash_, _ in packed))
        with pytest.raises(LedgerError) as refused:
            read(manifest, [file for _, file in packed])
        return str(refused.value)

    long = bytes(900)
    one, other, big = (b"a", long), (b"b", long), (b"c", bytes(960))
    assert "chunk 0: the keys do not ascend" in refusal(((b"b", b""), (b"a", b"")))
    assert "chunk 0: the keys do not ascend" in refusal(((b"a", b""), (b"a", b"")))
    assert "chunk 1: the keys do not ascend" in refusal((other,), (one,))
    assert "chunk 1: the keys do not ascend" in refusal((one,), (one,))
    assert "chunk 0: it is empty" in refusal(())
    assert "chunk 0: it holds more than fits" in refusal((*((bytes([n]), b"") for n in range(60)),))
    assert "number of pairs: expected 300, found 2" in refusal((one,), (other,))
    assert "number of pairs: expected 300, found 1" in refusal((big,))


def test_all_chunks_must_come_and_lead_to_the_digest() -> None:
    manifest, _, files = made()
    with pytest.raises(Mismatch, match="number of chunks"):
        read(manifest, files[:-1])
    with pytest.raises(Mismatch, match="SHA-256"):
        read(manifest, files[1:])
    other, _, others = made([*STATE[:-1], (STATE[-1][0], b"another")])
    with pytest.raises(Mismatch, match="state digest"):
        read(replace(manifest, chunks=other.chunks), others)
    with pytest.raises(Mismatch, match="number of pairs"):
        read(replace(manifest, pairs=299), files)


def test_a_refused_chunk_changes_nothing() -> None:
    manifest, _, files = made()
    assembly = Assembly(manifest)
    assembly.take(files[0])
    for _ in range(3):
        with pytest.raises(LedgerError):
            assembly.take(files[2])
    for file in files[1:]:
        assembly.take(file)
    assert assembly.taken == len(files)
    assembly.finish()


def test_a_manifest_says_nothing_that_the_header_does_not() -> None:
    manifest, decided, _ = made()
    other = header(6)
    for false, reason in (
        (replace(manifest, header=other), "block of the manifest"),
        (replace(manifest, peaks=manifest.peaks[:-1]), "peaks of the log"),
        (replace(manifest, peaks=(*manifest.peaks, bytes(32))), "peaks of the log"),
        (replace(manifest, peaks=manifest.peaks[::-1]), "log root"),
        (replace(manifest, heads=manifest.heads[::-1]), "ascending"),
        (replace(manifest, heads=(*manifest.heads, manifest.heads[-1])), "ascending"),
        (replace(manifest, heads=manifest.heads[:-1]), "heads root"),
        (replace(manifest, heads=(Leaf(bytes(16), Head(1, bytes(32))), *HEADS)), "heads root"),
        (replace(manifest, state_sum=bytes(2048)), "state digest"),
    ):
        with pytest.raises(LedgerError, match=reason):
            false.verify(decided, CHAIN, VOTERS)
    unsigned = replace(decided, certificate=certificate(decided.header, (1, 2)))
    with pytest.raises(LedgerError):
        manifest.verify(unsigned, CHAIN, VOTERS)
    with pytest.raises(LedgerError):
        manifest.verify(decided, bytes(32), VOTERS)
    with pytest.raises(Malformed):
        decode(encode(manifest).replace(b"\x01", b"\x02", 1), Manifest)  # another format


def framed(stream: bytes) -> bytes:
    checksum: int = google_crc32c.value(stream)
    return checksum.to_bytes(4) + stream


@given(data=st.data())
def test_a_spoiled_file_is_refused_or_says_the_same(data: st.DataObject) -> None:
    chunk = tuple(STATE[:30])
    hash_, file = pack(chunk)
    spoilt = data.draw(spoiled(file) | spoiled(file[4:]).map(framed))
    try:
        assert unpack(spoilt, hash_, "it") == chunk
    except LedgerError:
        return


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_chunk_or_refused(data: bytes) -> None:
    for file in (data, framed(data), framed(zlib.compress(data))):
        with pytest.raises(LedgerError):
            unpack(file, sha256(data).digest(), "it")


def test_every_flipped_bit_of_a_file_is_noticed() -> None:
    """Also those that zlib does not look at."""
    hash_, file = pack(tuple(STATE[:3]))
    for place in range(8 * len(file)):
        changed = bytearray(file)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(Malformed, match="checksum"):
            unpack(bytes(changed), hash_, "it")


def test_what_would_inflate_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self._real = real()

        def decompress(self, stream: bytes, most: int) -> bytes:
            found = self._real.decompress(stream, most)
            largest.append(len(found))
            return found

        eof = property(lambda self: self._real.eof)
        unused_data = property(lambda self: self._real.unused_data)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    bomb = zlib.compress(bytes(4 << 20), 9)
    with pytest.raises(Malformed, match="not one zlib stream of at most 1000 bytes"):
        unpack(framed(bomb), bytes(32), "it")
    assert largest == [1_001]
    for tail in (b"\0", framed(bomb)):
        with pytest.raises(Malformed, match="not one zlib stream"):
            unpack(framed(zlib.compress(b"little") + tail), bytes(32), "it")
    for size, expected in ((1_000, "SHA-256"), (1_001, "not one zlib")):
        with pytest.raises(LedgerError, match=expected):
            unpack(framed(zlib.compress(bytes(size))), bytes(32), "it")


def test_a_file_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(Malformed, match="longer than"):
        unpack(bytes(snapshot.MAX_FILE_BYTES + 1), bytes(32), "it")


def test_the_bounds_fit_one_another() -> None:
    worst = zlib.compress(b"", 0)
    assert len(zlib.compress(bytes(1 << 20), 0)) + 4 + len(worst) <= snapshot.MAX_FILE_BYTES
    heads = len(encode(Leaf(bytes(16), Head((1 << 63) - 1, bytes(32)))))
    hashes = len(encode(bytes(32)))
    rest = len(encode(made()[0])) + 63 * hashes
    most = snapshot.MAX_HEADS * heads + snapshot.MAX_CHUNKS * hashes + rest
    assert most <= snapshot.MAX_MANIFEST_BYTES
