"""The second opinion on snapshots: it agrees with ours about what is true and what is not."""

import argparse
import contextlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import google_crc32c
import msgspec
import pytest

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger import snapshot as format_
from ledger.decided import Decided
from ledger.digest import StateDigest
from ledger.encoding import decode, encode
from ledger.snapshot import Manifest
from node import snapshots
from node.chain import Chain
from node.snapshots import BadSnapshot, Snapshot
from tests.chainmaker import some_bytes, upheaval
from tests.scripts.test_recheck import recheck

STORY = upheaval()
GENESIS = STORY.genesis.genesis
SIZE = 4 << 10


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    """Let a small state take several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_, "CHUNK_BYTES", SIZE)
        patch.setattr(recheck, "MEBIBYTE", SIZE)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_chunks: None) -> Path:
    del small_chunks
    data = tmp_path_factory.mktemp("data")
    with contextlib.closing(Chain.open(data, GENESIS, DirectSignatures())) as chain:
        for committed in STORY.blocks:
            header = committed.block.header
            executed = chain.execute(committed.block.body, header, DirectSignatures())
            chain.commit(executed, committed.certificate)
        with contextlib.closing(chain.view()) as view:
            return snapshots.create(view, data, GENESIS)


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_text(signed_json(STORY.genesis))
    return Path(shutil.copytree(whole, tmp_path / "snapshot"))


def check(folder: Path) -> dict[str, Any]:
    options = argparse.Namespace(file=folder, genesis=folder.parent / "genesis.json")
    told: dict[str, Any] = recheck.check_snapshot(options)
    return told


def require_refused(folder: Path) -> str:
    """Return what the second opinion says is false; ours says the same is."""
    with pytest.raises(recheck.FalseFact) as refused:
        check(folder)
    with pytest.raises(BadSnapshot):
        Snapshot.open(folder, GENESIS).verify()
    return str(refused.value.field)


def test_a_true_one_is_accepted(copied: Path) -> None:
    told = check(copied)
    assert told["height"] == len(STORY.blocks)
    assert told["state_digest"] == STORY.state.digest.hash
    assert len(list(copied.glob("*.chunk"))) > 2


def test_flipped_bytes_are_refused_by_both(copied: Path) -> None:
    rng = Random(5)
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        for _ in range(4):
            changed = bytearray(content)
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            require_refused(copied)
        path.write_bytes(content)
    check(copied)


def rewritten(
    copied: Path, change: Callable[[list[tuple[bytes, bytes]]], list[Any]], **fields: object
) -> None:
    """Make another snapshot of the pairs in this one, with a manifest that fits it."""
    pairs = [pair for chunk in Snapshot.open(copied, GENESIS).chunks() for pair in chunk]
    for path in copied.glob("*.chunk"):
        path.unlink()
    hashes = []
    for number, chunk in enumerate(change(pairs)):
        hash_, file = format_.pack(tuple(chunk))
        snapshots.chunk_of(copied, number).write_bytes(file)
        hashes.append(hash_)
    path = copied / "manifest"
    manifest = decode(path.read_bytes(), Manifest)
    path.write_bytes(encode(msgspec.structs.replace(manifest, chunks=tuple(hashes), **fields)))


CHUNKED = format_.chunked


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(lambda pairs: [*CHUNKED(pairs[1:])], "pairs", id="one pair less"),
        pytest.param(
            lambda pairs: [*CHUNKED([(pairs[0][0], b"another"), *pairs[1:]])],
            "state_digest",
            id="another value",
        ),
        pytest.param(
            lambda pairs: [[pairs[1], pairs[0]], *list(CHUNKED(pairs))[1:]],
            "key in 000000.chunk",
            id="out of order",
        ),
        pytest.param(
            lambda pairs: [pairs[:1], *CHUNKED(pairs[1:])],
            "000001.chunk begins where one had to",
            id="cut elsewhere",
        ),
        pytest.param(
            lambda pairs: [*CHUNKED(pairs)][::-1], "key in 000001.chunk", id="chunks reversed"
        ),
        pytest.param(
            lambda pairs: [next(CHUNKED(pairs)), [], *list(CHUNKED(pairs))[1:]],
            "000001.chunk",
            id="an empty one",
        ),
    ],
)
def test_a_snapshot_of_other_pairs_is_refused_by_both(
    copied: Path, change: Callable[[list[tuple[bytes, bytes]]], list[Any]], field: str
) -> None:
    rewritten(copied, change)
    assert require_refused(copied) == field


def test_more_than_fits_into_a_chunk_is_refused_by_both(copied: Path) -> None:
    def short(pairs: list[tuple[bytes, bytes]]) -> list[Any]:
        many = [(bytes([number]), b"") for number in range(SIZE // 17 + 1)]
        assert len(encode(tuple(many))) < SIZE < len(many) * 17
        return [many[:256], *CHUNKED(pairs)]

    rewritten(copied, short)
    assert require_refused(copied) == "000000.chunk takes no more than fits"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("peaks", (), "number of peaks"),
        ("peaks", "reversed", "log_root"),
        ("heads", "reversed", "members of the heads, each once, ascending"),
        ("heads", (), "heads_root"),
        ("state_sum", bytes(2048), "state_sum"),
        ("pairs", 7, "pairs"),
        ("header", "before", "header in the manifest"),
    ],
)
def test_a_manifest_that_is_false_is_refused_by_both(
    copied: Path, field: str, value: object, named: str
) -> None:
    path = copied / "manifest"
    manifest = decode(path.read_bytes(), Manifest)
    if value == "reversed":
        value = getattr(manifest, field)[::-1]
    elif value == "before":
        value = STORY.blocks[-2].block.header
    path.write_bytes(encode(msgspec.structs.replace(manifest, **{field: value})))
    assert require_refused(copied) == named


def test_files_and_decisions_of_others_are_refused_by_both(copied: Path) -> None:
    def framed(stream: bytes) -> bytes:
        checksum: int = google_crc32c.value(stream)
        return checksum.to_bytes(4) + stream

    path = copied / "000001.chunk"
    content = path.read_bytes()
    for changed, named in (
        (framed(content[4:] + b"more"), "000001.chunk"),
        (framed(zlib.compress(bytes(SIZE + 1))), "000001.chunk"),
        (framed(content[4:-1]), "000001.chunk"),
        (framed(b"no zlib"), "000001.chunk"),
        (framed(zlib.compress(b"another")), "SHA-256 of 000001.chunk"),
        (bytes(SIZE + 4_097), "bytes of 000001.chunk"),
    ):
        path.write_bytes(changed)
        if len(changed) > SIZE + 4_096:  # ours reads so much only of chunks of a mebibyte
            with pytest.raises(recheck.FalseFact, match=named):
                check(copied)
        else:
            assert require_refused(copied) == named
    path.unlink()
    assert require_refused(copied) == "files"
    path.write_bytes(content)
    (copied / "more").write_bytes(b"")
    assert require_refused(copied) == "files"
    (copied / "more").unlink()
    decided = decode((copied / "decided").read_bytes(), Decided)
    short = msgspec.structs.replace(decided, changes=decided.changes[:-1])
    (copied / "decided").write_bytes(encode(short))
    require_refused(copied)


def test_both_sum_up_a_state_alike() -> None:
    for count in (0, 1, 2, 40):
        pairs = [(some_bytes("key", n)[: n % 33], some_bytes("value", n)) for n in range(count)]
        assert StateDigest().updated([], pairs).hash == recheck.state_digest(pairs)
