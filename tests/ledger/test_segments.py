"""Segment files: what was durable is there or is said to be damaged, whatever happens."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import google_crc32c
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import segments
from ledger.errors import Mismatch, NotKept, StoreDamaged, StoreLocked
from ledger.lock import DirectoryLock
from ledger.segments import MAX_RECORD_BYTES, Segments, TornTail
from tests.ledger.examples import disk_full_at

HEAD: Final = 60
SMALL: Final = 400  # bytes of a file: three or four of the records below
CHAIN: Final = b"\x05" * 32


def _record(height: int) -> bytes:
    return Random(height).randbytes(40 + height * 7 % 60)


def _written(directory: Path, count: int, *, segment_bytes: int = SMALL) -> list[Path]:
    """Write blocks 1 to `count`; return the files."""
    with _opened(directory, segment_bytes=segment_bytes) as kept:
        for height in range(kept.last_height + 1, count + 1):
            kept.append(_record(height))
            kept.sync()
    return _files(directory)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("blocks-*.seg"))


@contextmanager
def _opened(directory: Path, *, segment_bytes: int = SMALL) -> Iterator[Segments]:
    kept = Segments.open(directory, chain_id=CHAIN, segment_bytes=segment_bytes)
    try:
        yield kept
    finally:
        kept.close()


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _ends(path: Path) -> list[int]:
    """Return where the records of a whole file end, by their lengths."""
    data, ends = path.read_bytes(), [HEAD]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 8 + int.from_bytes(data[ends[-1] : ends[-1] + 4]))
    return ends


def test_blocks_are_read_by_height_and_in_order(tmp_path: Path) -> None:
    _written(tmp_path, 30)
    assert len(_files(tmp_path)) > 6  # more than are kept open at once
    assert all(path.stat().st_size <= SMALL for path in _files(tmp_path))
    with _opened(tmp_path) as kept:
        assert (kept.first_height, kept.last_height, kept.torn_tail) == (1, 30, None)
        heights = [*range(1, 31), *Random(1).choices(range(1, 31), k=60)]
        assert [kept.read(height) for height in heights] == [_record(h) for h in heights]
        assert list(kept.iterate(1)) == [_record(height) for height in range(1, 31)]
        assert list(kept.iterate(29)) == [_record(29), _record(30)]
        assert list(kept.iterate(31)) == []
    names = [path.name for path in _files(tmp_path)]
    assert names[0] == "blocks-000000000001.seg"


def test_a_file_is_a_header_and_framed_records(tmp_path: Path) -> None:
    (path,) = _written(tmp_path, 2)
    data = path.read_bytes()
    assert data[:52] == b"depolisg" + b"\x00\x00\x00\x01" + CHAIN + (1).to_bytes(8)
    salt = data[52:56]
    assert google_crc32c.value(data[:56]) == int.from_bytes(data[56:60])
    expected = b"".join(
        len(record).to_bytes(4) + google_crc32c.value(salt + record).to_bytes(4) + record
        for record in (_record(1), _record(2))
    )
    assert data[HEAD:] == expected
    assert google_crc32c.value(b"123456789") == 0xE3069283  # CRC32C: RFC 3720, B.4 and its kin


def test_a_block_is_there_when_it_is_durable(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        assert kept.last_height == 0
        kept.append(_record(1))
        assert kept.last_height == 0
        with pytest.raises(NotKept, match="block 1 is not kept here: no block is"):
            kept.read(1)
        kept.sync()
        kept.sync()
        assert kept.last_height == 1
        assert kept.read(1) == _record(1)


def test_the_block_before_is_durable_before_the_next_is_written(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        kept.append(_record(1))
        kept.append(_record(2))
        assert kept.last_height == 1


def test_an_iteration_goes_on_to_what_was_added_meanwhile(tmp_path: Path) -> None:
    _written(tmp_path, 3)
    with _opened(tmp_path) as kept:
        blocks = kept.iterate(3)
        assert next(blocks) == _record(3)
        kept.append(_record(4))
        kept.sync()
        assert list(blocks) == [_record(4)]


def test_blocks_may_begin_later_than_one(tmp_path: Path) -> None:
    for _ in range(2):  # the second time the files say where they begin
        kept = Segments.open(tmp_path, first_height=1000, chain_id=CHAIN)
        assert (kept.first_height, kept.last_height) == (1000, 999)
        kept.close()
    kept = Segments.open(tmp_path, chain_id=CHAIN)
    kept.append(b"block 1000")
    kept.sync()
    assert kept.read(1000) == b"block 1000"
    for height in (999, 1001, -1):
        with pytest.raises(NotKept, match=f"block {height} is not kept here: only blocks 1000 to"):
            kept.read(height)
    kept.close()


def test_a_record_larger_than_a_file_has_one_to_itself(tmp_path: Path) -> None:
    with _opened(tmp_path) as kept:
        for record in (b"a", b"b" * SMALL * 2, b"c"):
            kept.append(record)
        kept.sync()
        assert list(kept.iterate(1)) == [b"a", b"b" * SMALL * 2, b"c"]
    assert len(_files(tmp_path)) == 3


@pytest.mark.parametrize("length", [0, MAX_RECORD_BYTES + 1])
def test_a_record_has_its_bounds(tmp_path: Path, length: int) -> None:
    with _opened(tmp_path) as kept, pytest.raises(AssertionError):
        kept.append(bytes(length))


def test_a_large_record_is_read_back(tmp_path: Path) -> None:
    record = Random(1).randbytes(MAX_RECORD_BYTES)
    with _opened(tmp_path, segment_bytes=segments.SEGMENT_BYTES) as kept:
        kept.append(record)
        kept.append(b"next")
        kept.sync()
    with _opened(tmp_path) as kept:
        assert list(kept.iterate(1)) == [record, b"next"]


def test_a_torn_tail_of_any_length_is_cut_off_and_told(tmp_path: Path) -> None:
    (path,) = _written(tmp_path, 3)
    *_, begin, end = _ends(path)
    for size in range(end - 1, begin, -1):
        _written(tmp_path, 3)
        _cut(path, size)
        with _opened(tmp_path) as kept:
            assert kept.torn_tail == TornTail(path, begin, size - begin, 3)
            assert list(kept.iterate(1)) == [_record(1), _record(2)]
        assert path.stat().st_size == begin
        with _opened(tmp_path) as kept:
            assert kept.torn_tail is None


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(bytes(1), id="a zero"),
        pytest.param(bytes(8), id="a frame of zeros"),
        pytest.param(bytes(100_000), id="pages of zeros, as a file system may leave them"),
        pytest.param(b"\xff" * 5_000, id="ones"),
        pytest.param(Random(2).randbytes(200_000), id="chance"),
    ],
)
def test_a_tail_of_anything_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = _written(tmp_path, 5)[-1]
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(tail)
    with _opened(tmp_path) as kept:
        assert kept.torn_tail == TornTail(path, size, len(tail), 6)
        assert kept.last_height == 5
        kept.append(_record(6))
        kept.sync()
    _written(tmp_path, 8)
    with _opened(tmp_path) as kept:
        assert list(kept.iterate(1)) == [_record(height) for height in range(1, 9)]


def _frame(path: Path, payload: bytes, *, salted: bool) -> bytes:
    checksum: int = google_crc32c.value((path.read_bytes()[52:56] if salted else b"") + payload)
    return len(payload).to_bytes(4) + checksum.to_bytes(4) + payload


def test_a_block_whose_content_poses_as_a_record_is_torn_like_any_other(tmp_path: Path) -> None:
    """Its author cannot know the salt; with it, this would look like damage."""
    path = _written(tmp_path, 2)[-1]
    whole = path.read_bytes()
    for salted in (False, True):
        posing = _frame(path, b"one of 32 bytes that he may pick", salted=salted)
        record = _frame(path, b"begin" + posing + b"\x00 the end", salted=True)
        path.write_bytes(whole + record[:-3])
        if salted:
            with pytest.raises(StoreDamaged), _opened(tmp_path):
                pass
        else:
            with _opened(tmp_path) as kept:
                assert kept.torn_tail == TornTail(path, len(whole), len(record) - 3, 3)


def test_every_file_has_a_salt_of_its_own(tmp_path: Path) -> None:
    salts = {path.read_bytes()[52:56] for path in _written(tmp_path, 12)}
    assert len(salts) == len(_files(tmp_path)) > 2


@pytest.mark.parametrize("at", ["length", "checksum", "payload"])
def test_damage_with_a_good_record_behind_it_refuses(tmp_path: Path, at: str) -> None:
    path = _written(tmp_path, 6)[-1]
    begin, _, *rest = _ends(path)
    assert rest
    first = int(path.stem.removeprefix("blocks-"))
    before = path.read_bytes()
    for new in (b"\x00", b"\x01", b"\xff"):
        offset = begin + {"length": 3, "checksum": 5, "payload": 20}[at]
        path.write_bytes(before)
        if before[offset : offset + 1] == new:
            continue
        _overwrite(path, offset, new)
        damaged = path.read_bytes()
        with pytest.raises(StoreDamaged, match="a good one behind it") as refused:
            Segments.open(tmp_path, chain_id=CHAIN)
        error = refused.value
        assert (error.path, error.offset, error.height) == (str(path), begin, first)
        assert f"damaged at byte {begin} (block {first})" in str(error)
        assert path.read_bytes() == damaged  # nothing was changed
        DirectoryLock(tmp_path).release()  # nor held


def test_damage_and_a_torn_tail_at_once_refuse(tmp_path: Path) -> None:
    path = _written(tmp_path, 3, segment_bytes=1 << 20)[-1]
    _overwrite(path, _ends(path)[0] + 12, b"XX")
    _cut(path, path.stat().st_size - 4)
    with pytest.raises(StoreDamaged), _opened(tmp_path):
        pass


def test_damage_in_a_sealed_file_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = _written(tmp_path, 12)[0]
    begin = _ends(path)[1]
    _overwrite(path, begin + 30, b"XX")
    with _opened(tmp_path) as kept:
        assert kept.read(1) == _record(1)
        with pytest.raises(StoreDamaged, match="the checksum does not match") as refused:
            kept.read(2)
        assert (refused.value.path, refused.value.offset) == (str(path), begin)
        assert refused.value.height == 2
        with pytest.raises(StoreDamaged):
            list(kept.iterate(1))
        assert kept.read(12) == _record(12)


def test_a_sealed_file_that_is_short_long_or_gone_refuses(tmp_path: Path) -> None:
    first, second = _written(tmp_path, 12)[:2]
    whole, between = first.read_bytes(), int(second.stem.removeprefix("blocks-"))
    last_begin = _ends(first)[-2]
    for data, offset, height in (
        (whole[:-1], last_begin, between - 1),
        (whole[:last_begin], last_begin, between - 1),
        (whole[: last_begin + 5], last_begin, between - 1),
        (whole + bytes(5), len(whole), between),
    ):
        first.write_bytes(data)
        with _opened(tmp_path) as kept:
            with pytest.raises(StoreDamaged) as refused:
                kept.read(1)
            assert (refused.value.offset, refused.value.height) == (offset, height)
    first.write_bytes(whole)
    second.unlink()
    with _opened(tmp_path) as kept, pytest.raises(StoreDamaged, match="no record begins"):
        kept.read(between)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_byte_is_changed_no_wrong_block_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("segments")
    path = data.draw(st.sampled_from(_written(directory, 10)))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    new = data.draw(st.binary(min_size=1, max_size=3))
    _overwrite(path, at, new)
    _judge(directory, changed=path.read_bytes() != before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wherever_a_file_is_cut_no_wrong_block_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("segments")
    path = data.draw(st.sampled_from(_written(directory, 10)))
    size = path.stat().st_size
    cut = data.draw(st.integers(0, size - 1))
    whole_records = cut in _ends(path) and path == _files(directory)[-1]
    _cut(path, cut)
    _judge(directory, changed=not whole_records)


def _judge(directory: Path, *, changed: bool) -> None:
    """Every block is right or refused; and a change is noticed, in the end, by somebody."""
    try:
        kept = Segments.open(directory, chain_id=CHAIN, segment_bytes=SMALL)
    except (StoreDamaged, Mismatch):
        assert changed
        return
    noticed = kept.torn_tail is not None
    for height in range(1, kept.last_height + 1):
        try:
            assert kept.read(height) == _record(height)
        except (StoreDamaged, Mismatch):
            noticed = True
    assert noticed == changed
    kept.close()


def test_a_file_of_another_chain_version_or_name_is_refused(tmp_path: Path) -> None:
    (path,) = _written(tmp_path, 1)
    with pytest.raises(Mismatch, match="chain id: expected 0000"):
        Segments.open(tmp_path, chain_id=bytes(32))
    whole = path.read_bytes()
    for at, new, reason in ((0, b"X", "magic"), (11, b"\x02", "version"), (51, b"\x02", "height")):
        path.write_bytes(whole)
        _overwrite(path, at, new)
        with pytest.raises(StoreDamaged, match="header of the file"):
            Segments.open(tmp_path, chain_id=CHAIN)
        _overwrite(path, 56, google_crc32c.value(path.read_bytes()[:56]).to_bytes(4))
        with pytest.raises(Mismatch, match=reason):
            Segments.open(tmp_path, chain_id=CHAIN)
    path.write_bytes(whole)
    with _opened(tmp_path) as kept:
        assert kept.read(1) == _record(1)


def test_a_directory_is_open_once(tmp_path: Path) -> None:
    with _opened(tmp_path), pytest.raises(StoreLocked):
        Segments.open(tmp_path, chain_id=CHAIN)


def test_a_file_whose_making_was_interrupted_is_made_again(tmp_path: Path) -> None:
    _written(tmp_path, 3)
    (tmp_path / "blocks-000000000004.new").write_bytes(b"depol")
    with _opened(tmp_path) as kept:
        assert kept.last_height == 3
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("room", [0, 3, 8, 20])
def test_a_full_disk_takes_nothing_and_later_goes_on(tmp_path: Path, room: int) -> None:
    (path,) = _written(tmp_path, 2)
    size = path.stat().st_size
    with _opened(tmp_path) as kept:
        with disk_full_at(size + room), pytest.raises(OSError, match="File too large"):
            kept.append(_record(3))
        assert path.stat().st_size == size
        assert kept.last_height == 2
        kept.append(_record(3))
        kept.sync()
        assert list(kept.iterate(1)) == [_record(1), _record(2), _record(3)]
    with _opened(tmp_path) as kept:
        assert (kept.last_height, kept.torn_tail) == (3, None)


def test_a_full_disk_that_takes_no_new_file_keeps_the_old_ones(tmp_path: Path) -> None:
    _written(tmp_path, 3)
    with _opened(tmp_path) as kept:
        with disk_full_at(10), pytest.raises(OSError, match="File too large"):
            kept.append(bytes(SMALL))
        assert not list(tmp_path.glob("*.new"))
        kept.append(bytes(SMALL))
        kept.sync()
        assert kept.read(4) == bytes(SMALL)


def _refuse(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_after_a_sync_that_failed_nothing_is_written_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No disk here fails on demand: what the system answers is put in its place."""
    _written(tmp_path, 2)
    with _opened(tmp_path) as kept:
        kept.append(_record(3))
        with monkeypatch.context() as patched:
            patched.setattr(segments, "_sync_data", _refuse)
            with pytest.raises(OSError, match="Input/output error"):
                kept.sync()
        for write in (kept.sync, lambda: kept.append(_record(3))):
            with pytest.raises(OSError, match="an earlier write failed"):
                write()
        assert kept.last_height == 2
        assert kept.read(2) == _record(2)
    with _opened(tmp_path) as kept:
        assert (kept.last_height, kept.torn_tail) == (2, None)


def test_what_cannot_be_taken_back_stops_the_writer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = _written(tmp_path, 2)
    size = path.stat().st_size
    with _opened(tmp_path) as kept:
        with monkeypatch.context() as patched, disk_full_at(size + 20):
            patched.setattr(segments._File, "truncate_after", _refuse)
            with pytest.raises(OSError, match="File too large"):
                kept.append(_record(3))
        with pytest.raises(OSError, match="an earlier write failed"):
            kept.append(_record(3))
    with _opened(tmp_path) as kept:
        assert kept.torn_tail == TornTail(path, size, 20, 3)


def test_a_file_that_cannot_be_synced_at_the_start_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written(tmp_path, 2)
    monkeypatch.setattr(segments, "_sync_data", _refuse)
    with pytest.raises(OSError, match="Input/output error"):
        Segments.open(tmp_path, chain_id=CHAIN)
    DirectoryLock(tmp_path).release()


def test_readers_see_whole_blocks_while_a_writer_writes(tmp_path: Path) -> None:
    wrong: list[object] = []
    with _opened(tmp_path) as kept:
        done = threading.Event()

        def read(seed: int) -> None:
            chance = Random(seed)
            while not done.is_set():
                last = kept.last_height
                height = chance.randint(max(1, last - 20), max(1, last))
                try:
                    if last and kept.read(height) != _record(height):
                        wrong.append(height)
                except Exception as error:  # noqa: BLE001 - shown by the assertion below
                    wrong.append(error)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
        for reader in readers:
            reader.start()
        for height in range(1, 301):
            kept.append(_record(height))
            kept.sync()
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []


WRITER: Final = """
import sys
from pathlib import Path
from random import Random
from ledger.segments import Segments
kept = Segments.open(Path(sys.argv[1]), chain_id=bytes(32), segment_bytes=100_000)
height = kept.last_height
while True:
    height += 1
    kept.append(Random(height).randbytes(100 + height * 997 % 9_000))
    kept.sync()
    print(height, flush=True)
"""


def test_what_a_killed_writer_called_durable_is_there(tmp_path: Path) -> None:
    told = 0
    for kill in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5 + 7 * kill):
                told = int(writer.stdout.readline())
            writer.kill()  # wherever it is just now
            rest = writer.stdout.read().split(b"\n")[:-1]
            told = int(rest[-1]) if rest else told
        kept = Segments.open(tmp_path, chain_id=bytes(32), segment_bytes=100_000)
        assert told <= kept.last_height <= told + 1
        for height in range(1, kept.last_height + 1):
            assert kept.read(height) == Random(height).randbytes(100 + height * 997 % 9_000)
        kept.close()
    assert len(_files(tmp_path)) > 1


def test_files_and_directory_are_synced_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is durable after its content, and a block when `sync` returns."""
    calls: list[str] = []
    for owner, name in ((os, "fsync"), (segments, "_sync_data")):
        real = getattr(owner, name)

        def spy(descriptor: int, name: str = name, real: Callable[[int], None] = real) -> None:
            target = Path(f"/proc/self/fd/{descriptor}").readlink()
            calls.append(f"{name} {target.name}")
            real(descriptor)

        monkeypatch.setattr(owner, name, spy)
    with _opened(tmp_path) as kept:
        kept.append(_record(1))
        kept.sync()
    assert calls == [
        "fsync blocks-000000000001.new",
        f"fsync {tmp_path.name}",
        f"fsync {tmp_path.parent.name}",
        "_sync_data blocks-000000000001.seg",
        "_sync_data blocks-000000000001.seg",
    ]
