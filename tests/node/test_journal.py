"""The journal on real files: what was durable comes back, what was torn goes, damage is refused."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import StoreDamaged
from node import journal as journals
from node.journal import MAGIC, UNKNOWN_FENCE, Journal, Kind, Record

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
            distinct = list(dict.fromkeys(open_records))
            for kind, found in ((Kind.PROMISE, again.promises), (Kind.BODY, again.bodies)):
                assert found(last) == [each.data for each in distinct if each.kind == kind]
            assert again.kept() == [each.data for each in kept]
            assert again.fence == again.truncated == 0


def test_cut_at_any_byte_it_holds_the_batches_before_the_cut(tmp_path: Path) -> None:
    batches = [batch(7, (Kind.PROMISE, bytes((n,)) * n), (Kind.BODY, b"body")) for n in range(4)]
    path = written(tmp_path, *batches)
    whole = path.read_bytes()
    ends, lengths = [HEAD], []
    while ends[-1] < len(whole):
        lengths.append(int.from_bytes(whole[ends[-1] : ends[-1] + 4]))
        ends.append(ends[-1] + 8 + lengths[-1])
    assert ends[-1] == len(whole)
    assert len(lengths) == 1 + len(batches)  # the first is the fence
    for cut in range(ends[1], len(whole) + 1):
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
    whole = bytearray(path.read_bytes())
    whole[size : size + 4096] = bytes(4096)  # its later pages were written, its first was not
    path.write_bytes(whole)
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]


def test_a_flipped_byte_before_a_good_batch_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, promise(3, b"first"), promise(3, b"second"), promise(3, b"third"))
    whole = path.read_bytes()
    last = whole.rindex(b"third") - 20
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


def test_the_journal_of_another_key_is_refused(tmp_path: Path) -> None:
    written(tmp_path, promise(1, b"said"))
    with pytest.raises(StoreDamaged, match="not the journal of this chain and consensus key"):
        Journal.open(tmp_path, IDENTITY[::-1])


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
    path.with_name("000000000009.new").write_bytes(b"half of a journal")
    with opened(tmp_path) as journal:
        assert journal.promises(1) == [b"said"]
        monkeypatch.setattr(journals, "ROTATE_BYTES", 0)
        journal.append(promise(2, b"goes on"))
    with opened(tmp_path) as journal:
        assert journal.promises(2) == [b"goes on"]


def test_a_damaged_file_that_was_left_behind_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, promise(1, b"said"))
    newer = path.with_name("000000000002.journal")
    newer.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreDamaged, match="sealed journal"):
        Journal.open(tmp_path, IDENTITY)


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
