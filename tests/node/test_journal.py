"""The journal on real files: what was durable comes back, what was torn goes, damage is refused."""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode
from ledger.errors import StoreDamaged
from node import journal as journals
from node import origin
from node.journal import MAGIC, UNKNOWN_FENCE, Journal, Kind, Record, read_kept

IDENTITY = b"chain id and consensus key".ljust(64, b".")
HEAD = len(MAGIC) + len(IDENTITY) + 8  # and the salt

kinds = st.sampled_from((Kind.PROMISE, Kind.BODY, Kind.KEPT))
batches = st.lists(
    st.tuples(
        st.integers(0, 2),  # how many heights further
        st.lists(st.tuples(kinds, st.binary(max_size=40)), min_size=1, max_size=3),
    ),
    max_size=6,
)


def batch(height: int, *parts: tuple[Kind, bytes]) -> list[Record]:
    return [Record(height, kind, data) for kind, data in parts]


def promise(height: int, data: bytes) -> list[Record]:
    return batch(height, (Kind.PROMISE, data))


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Journal]:
    journal = Journal.open(directory, IDENTITY)
    assert journal is not None
    yield journal
    journal.close()


def written(directory: Path, *all_records: Sequence[Record]) -> Path:
    """Write batches to a new journal; return its file."""
    journal = Journal.create(directory, IDENTITY)
    for records in all_records:
        journal.append(records)
    journal.close()
    return file_of(directory)


def file_of(directory: Path) -> Path:
    (path,) = directory.glob("*.journal")
    return path


def test_where_there_is_none_none_is_opened(tmp_path: Path) -> None:
    assert Journal.open(tmp_path / "journal", IDENTITY) is None
    assert not (tmp_path / "journal").exists()


def test_a_new_one_holds_its_fence_and_nothing_else(tmp_path: Path) -> None:
    Journal.create(tmp_path, IDENTITY, fence=UNKNOWN_FENCE).close()
    with opened(tmp_path) as journal:
        assert journal.fence == UNKNOWN_FENCE
        assert journal.promises(1) == journal.bodies(1) == journal.kept() == []
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600


@given(drawn=batches)
def test_what_was_appended_comes_back(drawn: list[tuple[int, list[tuple[Kind, bytes]]]]) -> None:
    with TemporaryDirectory() as name:
        journal = Journal.create(Path(name), IDENTITY)
        height, last = 1, 0
        open_records: list[Record] = []
        kept: dict[Record, None] = {}
        for steps, parts in drawn:
            height += steps
            records = batch(height, *parts)
            journal.append(records)
            open_records = [*(open_records if height == last else []), *records]
            kept |= dict.fromkeys(each for each in records if each.kind == Kind.KEPT)
            last = height
        journal.close()
        with opened(Path(name)) as again:
            for kind, found in ((Kind.PROMISE, again.promises), (Kind.BODY, again.bodies)):
                assert found(last) == [each.data for each in open_records if each.kind == kind]
            assert again.doubt == ""
            assert again.kept() == [each.data for each in kept]
            assert again.fence == again.truncated == 0


def test_cut_at_any_byte_it_holds_the_batches_before_the_cut(tmp_path: Path) -> None:
    batches = [batch(7, (Kind.PROMISE, bytes((n,)) * n), (Kind.BODY, b"body")) for n in range(4)]
    path = written(tmp_path, *batches)
    whole = path.read_bytes()
    ends, lengths = [HEAD], []
    while ends[-1] < len(whole):
        lengths.append(int.from_bytes(whole[ends[-1] + 8 : ends[-1] + 12]))
        ends.append(ends[-1] + 16 + lengths[-1])
    assert ends[-1] == len(whole)
    assert len(lengths) == 1 + len(batches)  # the first is the fence
    for cut in range(ends[1], len(whole) + 1):
        path = file_of(tmp_path)
        path.write_bytes(whole[:cut])
        with opened(tmp_path) as journal:
            held = sum(end <= cut for end in ends[2:])
            assert journal.promises(7) == [records[0].data for records in batches[:held]]
            assert journal.truncated == cut - max(end for end in ends if end <= cut)
            journal.append(promise(7, b"goes on"))
        with opened(tmp_path) as journal:
            assert journal.promises(7)[-1] == b"goes on"
            assert journal.truncated == 0


@pytest.mark.parametrize("zeros", [1, 8, 4096])
def test_a_tail_of_zeros_is_cut_off(tmp_path: Path, zeros: int) -> None:
    path = written(tmp_path, promise(1, b"said"))
    with path.open("ab") as file:
        file.write(bytes(zeros))
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]
        assert journal.truncated == zeros


def test_a_torn_batch_is_cut_off_whatever_part_of_it_reached_the_disk(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    size = path.stat().st_size
    with opened(tmp_path) as journal:
        journal.append(batch(1, (Kind.PROMISE, bytes(5000)), (Kind.PROMISE, b"second")))
        path = file_of(tmp_path)
        whole = bytearray(path.read_bytes())
    whole[size : size + 4096] = bytes(4096)  # its later pages were written, its first was not
    path.write_bytes(whole)
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]


def test_a_flipped_byte_before_a_good_batch_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, promise(3, b"first"), promise(3, b"second"), promise(3, b"third"))
    whole = path.read_bytes()
    last = whole.rindex(b"third") - 28
    for place in range(last):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(StoreDamaged) as caught:
            Journal.open(tmp_path, IDENTITY)
        assert caught.value.path == str(path)
        assert path.read_bytes() == damaged  # nothing was mended in silence


def test_a_file_that_ends_within_its_first_batch_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for cut in range(len(whole)):  # it was durable before the file had its name
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreDamaged):
            Journal.open(tmp_path, IDENTITY)


def test_the_journal_of_another_chain_is_refused(tmp_path: Path) -> None:
    written(tmp_path, promise(1, b"said"))
    with pytest.raises(StoreDamaged, match="not the journal of this chain and consensus key"):
        Journal.open(tmp_path, bytes(32) + IDENTITY[32:])


def test_a_file_that_is_given_the_name_of_another_key_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    other = IDENTITY[:32] + bytes(32)
    path.rename(path.with_name(f"{bytes(8).hex()}-000000000001.journal"))
    with pytest.raises(StoreDamaged, match="not the journal of this chain and consensus key"):
        Journal.open(tmp_path, other)


def test_another_key_begins_a_journal_beside_that_of_the_key_before(tmp_path: Path) -> None:
    other = IDENTITY[:32] + bytes(32)
    path = written(tmp_path, promise(7, b"said"), batch(7, (Kind.KEPT, b"kept")))
    before = path.read_bytes()
    assert Journal.is_in(tmp_path, IDENTITY)
    assert not Journal.is_in(tmp_path, other)
    assert Journal.open(tmp_path, other) is None

    journal = Journal.create(tmp_path, other, fence=UNKNOWN_FENCE)
    assert journal.promises(7) == []  # it says nothing of what the other key signed
    journal.append(promise(8, b"by the other key"))
    journal.append(batch(8, (Kind.KEPT, b"kept by the other key")))
    assert journal.kept() == read_kept(tmp_path) == [b"kept", b"kept by the other key"]
    journal.close()
    assert Journal.is_in(tmp_path, other)
    assert path.read_bytes() == before

    with opened(tmp_path) as journal:  # the key before is as bound as it was
        assert (journal.promises(7), journal.fence, journal.doubt) == ([b"said"], 0, "")


def test_the_journal_of_another_version_is_refused_as_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    path.write_bytes(MAGIC[:-1] + b"1" + path.read_bytes()[len(MAGIC) :])
    with pytest.raises(StoreDamaged, match="not a journal as this version of depoli writes it"):
        Journal.open(tmp_path, IDENTITY)


def test_bytes_that_look_like_a_batch_do_not_pass_for_one(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    whole = path.read_bytes()
    forged = whole[HEAD:]  # good batches of another file, whose salt is another
    other = tmp_path / "other"
    path = written(other, promise(1, forged))
    assert path.read_bytes()[:HEAD] != whole[:HEAD]
    path.write_bytes(path.read_bytes()[:-1])  # its last batch is torn, and holds the forged ones
    with opened(other) as journal:
        assert journal.promises(1) == []


def test_a_torn_block_does_not_keep_a_start_busy_whatever_is_in_it(tmp_path: Path) -> None:
    """Any four bytes may be a length: without a mark each of them would be summed up."""
    path = written(tmp_path, promise(1, b"said"), batch(1, (Kind.BODY, b"\0\2\0\0" * (1 << 16))))
    path.write_bytes(path.read_bytes()[:-1])
    tried: list[int] = []
    real = Journal._batch_at

    def counted(journal: Journal, content: bytes, offset: int) -> object:
        tried.append(offset)
        return real(journal, content, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "_batch_at", counted)
        with opened(tmp_path) as journal:
            assert journal.promises(1) == [b"said"]
    assert len(tried) < 10


def test_rotation_keeps_what_outlives_a_height(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROTATE_BYTES", 1000)
    journal = Journal.create(tmp_path, IDENTITY, fence=2)
    journal.append(batch(3, (Kind.KEPT, b"for ever"), (Kind.PROMISE, b"for ever")))
    first = file_of(tmp_path)
    journal.append(batch(3, (Kind.BODY, bytes(2000))))
    assert file_of(tmp_path) == first  # the height is not over
    journal.append(promise(4, b"of the next height"))
    second = file_of(tmp_path)
    assert second != first
    assert second.stat().st_size < 1000
    for each in (journal, None):
        with opened(tmp_path) if each is None else contextlib.nullcontext(each) as found:
            assert found.kept() == [b"for ever"]
            assert found.promises(4) == [b"of the next height"]
            assert found.promises(3) == found.bodies(3) == []
            assert found.fence == 2
    journal.close()


def test_what_was_promised_long_ago_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROTATE_HEIGHTS", 10)
    journal = Journal.create(tmp_path, IDENTITY)
    journal.append(batch(3, (Kind.BODY, b"of an old block"), (Kind.PROMISE, b"about it")))
    for height in range(4, 30):
        journal.append(promise(height, b"said"))
        assert (b"of an old block" in file_of(tmp_path).read_bytes()) == (height < 10)
    journal.close()


def test_a_crash_before_the_old_file_is_deleted_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROTATE_BYTES", 0)
    journal = Journal.create(tmp_path, IDENTITY)
    journal.append(batch(1, (Kind.KEPT, b"kept"), (Kind.PROMISE, b"old")))
    old = file_of(tmp_path)
    saved = old.read_bytes()
    journal.append(promise(2, b"new"))
    journal.close()
    old.write_bytes(saved)  # as if it had not been deleted
    with opened(tmp_path) as again:
        assert again.kept() == [b"kept"]
        assert again.promises(2) == [b"new"]
        assert again.promises(1) == []
        again.append(promise(3, b"newest"))
    with opened(tmp_path) as again:
        assert file_of(tmp_path) != old  # and now it is gone
        assert (again.kept(), again.promises(3)) == ([b"kept"], [b"newest"])


def test_a_crash_before_the_new_file_has_its_name_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, promise(1, b"said"))
    path.with_name(path.name.replace("1.journal", "2.new")).write_bytes(b"half of a journal")
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]
        monkeypatch.setattr(journals, "ROTATE_BYTES", 0)
        journal.append(promise(2, b"goes on"))
    with opened(tmp_path) as journal:
        assert journal.promises(2) == [b"goes on"]


def test_what_a_crash_left_behind_the_newest_file_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    older = path.name.replace("000000000001", "000000000000")
    path.with_name(older).write_bytes(b"older, and nobody needs it")
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]
    assert len(list(tmp_path.glob("*.journal"))) == 1


def test_a_fence_that_is_set_survives_and_keeps_what_outlives_a_height(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, IDENTITY, fence=UNKNOWN_FENCE)
    journal.append(batch(1, (Kind.KEPT, b"kept")))
    journal.set_fence(41)
    assert journal.fence == 41
    journal.close()
    with opened(tmp_path) as again:
        assert again.fence == 41
        assert again.kept() == [b"kept"]


def test_after_a_failed_write_nothing_more_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(tmp_path, IDENTITY)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="No space"):
            journal.append(promise(1, b"said"))
    with pytest.raises(AssertionError):
        journal.append(promise(1, b"more"))


def test_nothing_is_signed_where_promises_are_gone(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal", IDENTITY)
    journal.append([Record(100, Kind.PROMISE, b"promise")])
    assert journal.height == 100
    with pytest.raises(AssertionError):
        journal.append([Record(50, Kind.PROMISE, b"below")])
    journal.close()
    again = Journal.open(tmp_path / "journal", IDENTITY)
    assert again is not None
    assert again.height == 100
    again.close()


# --- which file it is -----------------------------------------------------------------------------


def test_a_start_changes_nothing_but_the_file(tmp_path: Path) -> None:
    first = written(tmp_path, batch(7, (Kind.PROMISE, b"said"), (Kind.BODY, b"body")))
    for _ in range(3):
        with opened(tmp_path) as journal:
            assert (journal.doubt, journal.fence, journal.height) == ("", 0, 7)
            assert (journal.promises(7), journal.bodies(7)) == ([b"said"], [b"body"])
    assert file_of(tmp_path) != first


def test_the_disk_that_a_journal_takes_is_bounded_however_long_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ROTATE_BYTES", 20_000)
    monkeypatch.setattr(journals, "RESERVED_BYTES", 64 << 10)
    journal = Journal.create(tmp_path, IDENTITY)
    sizes = set()
    for height in range(1, 400):
        journal.append(promise(height, bytes(500)))
        journal.append(promise(height, bytes(100)))
        sizes.add(file_of(tmp_path).stat().st_size)
        assert file_of(tmp_path).stat().st_blocks * 512 <= (64 << 10) + 4096
    journal.close()
    assert max(sizes) < 22_000
    assert len(list(tmp_path.iterdir())) == 1


def over(saved: Path, live: Path) -> None:
    """Write a saved folder over the live one, file by file, as `cp -a saved/. live/` does."""
    subprocess.run(["cp", "-a", f"{saved}/.", str(live)], check=True)


def anew(saved: Path, live: Path) -> None:
    """Put a saved folder in the place of the live one."""
    shutil.rmtree(live)
    subprocess.run(["cp", "-a", str(saved), str(live)], check=True)


def unpacked(saved: Path, live: Path) -> None:
    """Unpack an archive over the live folder: tar deletes each file first."""
    archive = live.with_suffix(".tar")
    subprocess.run(["tar", "-C", saved, "-cf", archive, "."], check=True)
    subprocess.run(["tar", "-C", live, "-xf", archive], check=True)


def shortened(saved: Path, live: Path) -> None:
    """Cut the live file at a length that it had."""
    os.truncate(file_of(live), file_of(saved).stat().st_size)


@pytest.mark.parametrize("put_back", [over, anew, unpacked, shortened])
def test_an_older_state_that_is_put_back_is_not_current(
    tmp_path: Path, put_back: Callable[[Path, Path], None]
) -> None:
    live, saved = tmp_path / "live", tmp_path / "saved"
    journal = Journal.create(live, IDENTITY)
    journal.append(promise(7, b"said"))
    subprocess.run(["cp", "-a", str(live), str(saved)], check=True)
    journal.append(promise(8, b"forgotten"))
    journal.close()
    put_back(saved, live)
    with opened(live) as again:
        assert again.doubt
        assert again.fence == UNKNOWN_FENCE
        assert again.promises(8) == []
    with opened(live) as again:  # and it stays so, though this file is its own
        assert (again.doubt, again.fence) == ("", UNKNOWN_FENCE)


def test_a_fence_is_never_below_what_was_promised(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, IDENTITY)
    journal.append(promise(9, b"said"))
    journal.set_fence(5)
    assert journal.fence == 9
    journal.close()


def test_a_copy_of_a_journal_that_resumed_has_not_resumed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "live", IDENTITY, fence=UNKNOWN_FENCE)
    journal.resume(7, 9, [b"said"])
    assert (journal.resumed, journal.fence, journal.promises(8)) == (7, 9, [b"said"])
    journal.close()
    subprocess.run(["cp", "-a", str(tmp_path / "live"), str(tmp_path / "copy")], check=True)
    for name, expected in (("live", (7, 9)), ("copy", (None, UNKNOWN_FENCE))):
        with opened(tmp_path / name) as again:
            assert (again.resumed, again.fence) == expected


def test_a_copy_is_not_current_and_the_original_is(tmp_path: Path) -> None:
    written(tmp_path / "live", promise(7, b"said"))
    subprocess.run(["cp", "-a", str(tmp_path / "live"), str(tmp_path / "copy")], check=True)
    with opened(tmp_path / "copy") as copy:
        assert copy.fence == UNKNOWN_FENCE
    with opened(tmp_path / "live") as live:
        assert (live.doubt, live.fence) == ("", 0)


def test_owner_mode_time_place_and_power_cut_change_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "live", promise(7, b"said"))
    path.chmod(0o640)
    os.chown(path, os.getuid(), os.getgid())
    os.utime(path, (1, 1))
    with path.open("ab") as file:
        file.write(b"torn")
    (tmp_path / "live").rename(tmp_path / "moved")
    with opened(tmp_path / "moved") as journal:
        assert (journal.doubt, journal.fence, journal.truncated) == ("", 0, 4)
        assert journal.promises(7) == [b"said"]


def test_where_the_file_system_tells_nothing_an_inode_must_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "_libc", lambda: None)
    written(tmp_path / "live", promise(7, b"said"))
    subprocess.run(["cp", "-a", str(tmp_path / "live"), str(tmp_path / "copy")], check=True)
    for name, fence in (("live", 0), ("copy", UNKNOWN_FENCE)):
        with opened(tmp_path / name) as journal:
            assert journal.fence == fence


@pytest.mark.parametrize(
    ("numbers", "fails"),
    [((errno.EINTR, errno.EINTR), False), ((errno.EOPNOTSUPP,), False), ((errno.ENOSPC,), True)],
)
def test_room_that_is_not_reserved_at_once_is_asked_for_again_missed_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...], *, fails: bool
) -> None:
    left = list(numbers)

    class Library:
        @staticmethod
        def fallocate(*_: object) -> int:
            if left:
                ctypes.set_errno(left.pop(0))
                return -1
            return 0

    monkeypatch.setattr(origin, "_libc", Library)
    with pytest.raises(OSError, match="No space") if fails else contextlib.nullcontext():
        written(tmp_path, promise(7, b"said"))
    assert not left


def test_a_file_that_does_not_say_which_it_is_is_not_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(journals, "encode", lambda value: encode(without_origin(value)))
        written(tmp_path, promise(7, b"said"))
    with opened(tmp_path) as journal:
        assert journal.doubt == "it does not say which file it is"


def without_origin(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(record for record in value if record.kind != Kind.ORIGIN)
    return value


# --- a disk that fails ----------------------------------------------------------------------------

CALLS: Final = ("open", "write", "fsync", "fdatasync", "rename", "unlink", "close")


class FaultyDisk:
    """Counts what is asked of the disk, and fails from one call on, as a full or broken one does.

    A write that fails may have written a part. What was not synced may be lost in the crash.
    """

    def __init__(self, directory: Path, fails_at: int, number: int, share: float) -> None:
        self.calls = 0
        self._directory = directory
        self._fails_at, self._number, self._share = fails_at, number, share
        self._synced = {  # length that is safe, by inode
            path.stat().st_ino: path.stat().st_size for path in directory.iterdir()
        }
        self._renamed: tuple[Any, ...] = ()  # from, to: not yet durable

    def __enter__(self) -> Self:
        self._patch = pytest.MonkeyPatch()
        for name in CALLS:
            self._patch.setattr(os, name, partial(self._call, name, getattr(os, name)))
        reserve = origin._reserve
        self._patch.setattr(origin, "_reserve", partial(self._call, "fallocate", reserve))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _call(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.calls += 1
        if name != "close" and self.calls >= self._fails_at:
            if name == "write":
                real(args[0], args[1][: int(len(args[1]) * self._share)])
            raise OSError(self._number, os.strerror(self._number))
        result = real(*args, **kwargs)
        if name in {"fsync", "fdatasync"}:
            status = os.fstat(args[0])
            self._synced[status.st_ino] = status.st_size
            if stat.S_ISDIR(status.st_mode):
                self._renamed = ()
        elif name == "rename":
            self._renamed = args
        elif name == "open" and args[1] & os.O_EXCL:
            self._synced.pop(os.fstat(result).st_ino, None)  # the number of a deleted file
        return result

    def crash(self) -> None:
        """Lose what was not synced, as a power cut may."""
        if self._renamed:
            Path(self._renamed[1]).rename(self._renamed[0])
        for path in self._directory.iterdir():
            status = path.stat()
            if (safe := self._synced.get(status.st_ino, 0)) < status.st_size:
                with path.open("r+b") as file:
                    file.truncate(safe)
                    origin._reserve(file.fileno(), journals.RESERVED_BYTES)


def live(directory: Path, durable: list[bytes]) -> None:
    """Open a journal, promise, pass heights, rotate, set a fence; note what is durable."""
    journal = Journal.open(directory, IDENTITY)
    assert journal is not None
    try:
        for height in (8, 9, 10):
            for name in (b"a", b"b"):
                data = b"%d" % height + name
                journal.append(batch(height, (Kind.PROMISE, data), (Kind.BODY, bytes(400))))
                durable.append(data)
        journal.append(batch(10, (Kind.KEPT, b"kept"), (Kind.PROMISE, b"10kept")))
        durable.append(b"10kept")
    finally:
        failed = journal._descriptor < 0
        journal.close()
    assert not failed


@pytest.mark.parametrize(
    ("number", "share"), [(errno.EIO, 0.0), (errno.ENOSPC, 0.5), (errno.EIO, 1.0)]
)
@pytest.mark.parametrize("loses", [False, True])
def test_whatever_call_fails_what_was_durable_is_there_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, share: float, *, loses: bool
) -> None:
    monkeypatch.setattr(journals, "ROTATE_BYTES", 1000)
    monkeypatch.setattr(journals, "RESERVED_BYTES", 16 << 10)
    points = 0
    while True:
        directory = tmp_path / str(points)
        durable = [b"7a"]
        written(directory, promise(7, b"7a"))
        with FaultyDisk(directory, points + 1, number, share) as disk:
            try:
                live(directory, durable)
            except OSError as error:
                assert error.errno == number  # noqa: PT017 - the loop ends where none comes
            else:
                break
        if loses:
            disk.crash()
        with opened(directory) as again:
            last = max(int(data.rstrip(b"abkept")) for data in durable)
            expected = [data for data in durable if data.startswith(b"%d" % last)]
            assert again.height in {last, last + 1}  # the batch that failed may be there
            if again.height == last:
                assert again.promises(last)[: len(expected)] == expected
            assert (again.doubt, again.fence) == ("", 0)
            again.append(promise(20, b"goes on"))
        points += 1
    assert points > 35


def test_after_a_failure_nothing_more_is_promised_whichever_call_failed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, IDENTITY)
    for records in (promise(1, b"said"), batch(1, (Kind.KEPT, b"kept"))):
        with FaultyDisk(tmp_path, 1, errno.EIO, 0.5), pytest.raises(OSError, match="Input/output"):
            journal.append(records)
        with pytest.raises(AssertionError):
            journal.append(promise(1, b"more"))
        journal = Journal.open(tmp_path, IDENTITY)  # type: ignore[assignment]
    journal.close()


def test_one_sync_a_batch_and_one_more_where_something_outlives_its_height(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, IDENTITY)
    journal.append(batch(1, (Kind.KEPT, b"makes its file")))
    synced: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _, name=name: synced.append(name))
        journal.append(batch(1, (Kind.PROMISE, b"a"), (Kind.BODY, b"b"), (Kind.PROMISE, b"c")))
        assert synced == ["fdatasync"]
        synced.clear()
        journal.append(batch(2, (Kind.PROMISE, b"a"), (Kind.KEPT, b"b"), (Kind.KEPT, b"c")))
        assert synced == ["fdatasync"] * 2
    journal.close()


def test_a_new_folder_survives_a_power_cut_by_its_name(tmp_path: Path) -> None:
    synced: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "sync_folder", synced.append)
        Journal.create(tmp_path / "data" / "journal", IDENTITY).close()
    assert {tmp_path, tmp_path / "data", tmp_path / "data" / "journal"} <= set(synced)


def until_full(journal: Journal) -> int:
    """Promise until the disk takes no more; return how many promises are durable."""
    for count in range(1000):
        try:
            journal.append(promise(1, count.to_bytes(4096)))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - which comes when is the question
            return count
    raise AssertionError("the disk is never full")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_full_in_truth_is_said_so_and_heals(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", tmp_path], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            Journal.create(tmp_path / "none", IDENTITY)  # there is not even room to reserve
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journals, "RESERVED_BYTES", 32 << 10)
            journal = Journal.create(tmp_path / "journal", IDENTITY)
            count = until_full(journal)
            journal.close()
            subprocess.run(["mount", "-o", "remount,size=1m", tmp_path], check=True)
            with opened(tmp_path / "journal") as again:
                assert len(again.promises(1)) == count > 10
                assert again.doubt == ""
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
