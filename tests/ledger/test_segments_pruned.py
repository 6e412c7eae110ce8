"""Segment files whose old blocks are bare: headers stay, bodies are gone from the bytes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import segments
from ledger.block import BareBlock, Block, Body, CommittedBlock, bare, is_bare
from ledger.encoding import decode, encode
from ledger.errors import NotKept, StoreDamaged
from ledger.segments import Pruned, Segments, segment_path
from tests.ledger.examples import certificate, disk_full_at, header

SMALL: Final = 3000  # bytes of a file: a few of the records below
CHAIN: Final = b"\x05" * 32


def _canary(height: int) -> bytes:
    return Random(height).randbytes(60 + height * 37 % 200)


def _record(height: int) -> bytes:
    body = Body(certificate(header(height)), (), (_canary(height),))
    return encode(CommittedBlock(Block(header(height), body), certificate(header(height)), ()))


@contextmanager
def _opened(directory: Path, *, first: int = 1) -> Iterator[Segments]:
    kept = Segments.open(directory, chain_id=CHAIN, segment_bytes=SMALL, first_height=first)
    try:
        yield kept
    finally:
        kept.close()


def _write(kept: Segments, last: int) -> None:
    for height in range(kept.last_height + 1, last + 1):
        kept.append(_record(height))
    kept.sync()


def _require(kept: Segments, limit: int, last: int) -> None:
    """Blocks below the limit are bare, all others whole, and no file holds what was pruned."""
    assert (kept.first_whole, kept.last_height) == (limit, last)
    files = b"".join(path.read_bytes() for path in kept._directory.iterdir())
    for height in range(kept.first_height, last + 1):
        record = kept.read(height)
        assert bare(record) == BareBlock(header(height), certificate(header(height)))
        assert is_bare(record) == (height < limit)
        assert (_canary(height) in files) == (height >= limit)
        if height >= limit:
            assert record == _record(height)
        else:
            assert record == encode(decode(record, BareBlock))


def test_blocks_below_a_height_become_bare_and_their_bodies_are_in_no_file(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 40)
        before = sum(path.stat().st_size for path in tmp_path.iterdir())
        starts = segments.first_heights(tmp_path)
        limit = starts[2] + 1  # within a file
        told = list(kept.prune(limit))
        assert [each.height for each in told] == [starts[1] - 1, starts[2] - 1, limit - 1]
        after = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert sum(each.freed for each in told) == before - after > 0
        _require(kept, limit, 40)
        assert list(kept.prune(limit)) == list(kept.prune(3)) == []
        _write(kept, 45)
        _require(kept, limit, 45)
    with _opened(tmp_path) as again:
        _require(again, limit, 45)


def test_only_sealed_files_are_pruned_and_the_last_can_be_sealed(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        kept.seal()  # there is nothing in it to seal
        _write(kept, 2)
        assert list(kept.prune(3)) == []
        kept.seal()
        kept.seal()
        assert segments.first_heights(tmp_path) == [1, 3]
        assert [each.height for each in kept.prune(9)] == [2]
        _require(kept, 3, 2)
        with pytest.raises(NotKept, match="block 3 is not kept here"):
            kept.read(3)
    with _opened(tmp_path) as again:
        _require(again, 3, 2)
        _write(again, 5)
        _require(again, 3, 5)


def test_blocks_that_begin_above_one_are_pruned_alike(tmp_path: Path) -> None:
    with _opened(tmp_path, first=100) as kept:
        assert kept.first_whole == 100
        _write(kept, 130)
        kept.seal()
        assert list(kept.prune(100)) == []
        list(kept.prune(120))
        _require(kept, 120, 130)


@settings(
    max_examples=max(10, settings().max_examples // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(steps=st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 3)), max_size=8))
def test_whatever_is_written_sealed_and_pruned_bare_blocks_lie_below_whole_ones(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    limit, last = 1, 0
    for count, is_sealed, keep in steps:
        with _opened(folder) as kept:
            assert (kept.first_whole, kept.last_height) == (limit, last)
            last += count
            _write(kept, last)
            if is_sealed:
                kept.seal()
            before = last + 1 - keep
            files = kept.prune(before)
            if next(files, None) is not None and keep % 2:
                list(files)  # or it ends after the first file
            open_from = segments.first_heights(folder)[-1]
            assert limit <= kept.first_whole <= max(limit, min(before, open_from))
            limit = kept.first_whole
            _require(kept, limit, last)


def test_readers_see_every_header_while_a_node_writes_and_prunes(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 30)
        ended, wrong = threading.Event(), []

        def read(seed: int) -> None:
            rng = Random(seed)
            while not ended.is_set():
                height = rng.randint(1, kept.last_height)
                found = bare(kept.read(height)).header
                if found != header(height):
                    wrong.append(height)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
        for reader in readers:
            reader.start()
        pruner = threading.Thread(
            target=lambda: [list(kept.prune(limit)) for limit in range(2, 31, 4)]
        )
        pruner.start()
        _write(kept, 60)
        pruner.join()
        ended.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        _require(kept, 30, 60)


def test_a_file_that_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 30)
    starts = segments.first_heights(tmp_path)
    path = segment_path(tmp_path, starts[1])
    spoilt = bytearray(path.read_bytes())
    spoilt[-3] ^= 1  # in the last block of it
    path.write_bytes(spoilt)
    with _opened(tmp_path) as kept:
        told = kept.prune(30)
        assert next(told) == Pruned(starts[1] - 1, _freed(range(1, starts[1])))
        with pytest.raises(StoreDamaged, match="checksum"):
            next(told)
        assert path.read_bytes() == spoilt
        assert kept.first_whole == starts[1]
        assert not list(tmp_path.glob("*.new"))


def _freed(heights: range) -> int:
    return sum(len(_record(n)) - len(encode(bare(_record(n)))) for n in heights)


def test_damage_among_bare_blocks_keeps_nobody_from_the_rest(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 40)
        list(kept.prune(35))
        limit = kept.first_whole
    starts = segments.first_heights(tmp_path)
    for start in (starts[0], starts[1]):
        path = segment_path(tmp_path, start)
        spoilt = bytearray(path.read_bytes())
        spoilt[70 if start == 1 else 3] ^= 1  # the first record, or the head of the file
        path.write_bytes(spoilt)
    with _opened(tmp_path) as kept:
        assert kept.first_whole <= limit
        assert kept.read(limit) == _record(limit)
        assert is_bare(kept.read(limit - 1))
        for height in (1, starts[1]):
            with pytest.raises(StoreDamaged):
                kept.read(height)


def test_damage_within_the_file_where_whole_blocks_begin_is_told_when_it_is_read(
    tmp_path: Path,
) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 40)
        starts = segments.first_heights(tmp_path)
        list(kept.prune(starts[1] + 1))
    path = segment_path(tmp_path, starts[1])
    spoilt = bytearray(path.read_bytes())
    spoilt[-3] ^= 1
    path.write_bytes(spoilt)
    with _opened(tmp_path) as kept:
        assert starts[1] < kept.first_whole <= starts[2]
        with pytest.raises(StoreDamaged):
            kept.read(starts[2] - 1)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        _write(kept, 20)
        for room in (0, 100):
            with disk_full_at(room), pytest.raises(OSError, match="File too large"):
                list(kept.prune(10))
            _require(kept, 1, 20)
        list(kept.prune(10))
        _require(kept, 10, 20)


def test_each_replaced_file_is_durable_before_the_next_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_replace, real_sync = Path.replace, segments._sync_directory

    def replace(path: Path, target: Path) -> Path:
        done.append(f"replace {target.name}")
        return real_replace(path, target)

    def sync(directory: Path) -> None:
        done.append(f"sync {'segments' if directory == tmp_path else 'parent'}")
        real_sync(directory)

    with _opened(tmp_path) as kept:
        _write(kept, 20)
        names = [path.name for path in sorted(tmp_path.glob("blocks-*.seg"))]
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(segments, "_sync_directory", sync)
        told = kept.prune(20)
        for name in names[:2]:
            next(told)
            assert done == [f"replace {name}", "sync segments", "sync parent"]
            done.clear()
