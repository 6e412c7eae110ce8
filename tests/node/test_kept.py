"""What outlives its height survives a torn write, and is neither rewritten nor repeated."""

from pathlib import Path

from consensus import promises
from ledger.encoding import decode, encode
from node.journal import Kind, Record, read_kept
from node.kept import FILE_NAME, MAGIC, KeptFile
from node.pledges import proposals_of

IDENTITY = b"chain id and consensus key".ljust(64, b".")


def test_nothing_is_kept_and_no_file_made_before_something_is_appended(tmp_path: Path) -> None:
    assert KeptFile(tmp_path, IDENTITY).read() == []
    assert not (tmp_path / FILE_NAME).exists()


def test_behind_every_torn_tail_the_file_grows_on(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path, IDENTITY)
    kept.append([b"first"])
    whole = len((tmp_path / FILE_NAME).read_bytes())
    kept.append([b"second", b""])
    kept.close()
    content = (tmp_path / FILE_NAME).read_bytes()
    for end in range(len(content) + 1):
        (tmp_path / FILE_NAME).write_bytes(content[:end])
        again = KeptFile(tmp_path, IDENTITY)
        assert again.read()[:1] == ([b"first"] if end >= whole else [])
        again.append([b"third"])
        again.close()
        assert again.read()[-1] == b"third"


def test_zeros_that_a_crash_left_are_no_item(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path, IDENTITY)
    kept.append([b"first"])
    kept.close()
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(bytes(64))
    kept.append([b"second", b"second"])
    kept.close()
    assert kept.read() == [b"first", b"second"]


def test_a_damaged_item_takes_no_other_with_it_and_nothing_is_deleted(tmp_path: Path) -> None:
    items = [b"%d" % number * 9 for number in range(4)]
    kept = KeptFile(tmp_path, IDENTITY)
    kept.append(items)
    kept.close()
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    begin, size = whole.index(items[1]) - 8, len(items[1]) + 8
    for place in range(begin, begin + size):
        for bits in (0x01, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= bits
            path.write_bytes(damaged)
            again = KeptFile(tmp_path, IDENTITY)
            again.append([b"later"])
            again.close()
            assert again.read() == [items[0], *items[2:], b"later"]
            assert path.read_bytes().startswith(damaged)


def test_what_looks_like_an_item_inside_a_damaged_one_is_no_promise(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path / "other", IDENTITY)
    (tmp_path / "other").mkdir()
    kept.append([b"no record", encode(Record(1, Kind.KEPT, b"no promise"))])
    kept.close()
    forged = (tmp_path / "other" / FILE_NAME).read_bytes()[len(MAGIC) + len(IDENTITY) :]
    good = encode(Record(1, Kind.KEPT, promises.encode(promises.Resumed(1, 1))))
    kept = KeptFile(tmp_path, IDENTITY)
    kept.append([b"x" + forged, good])
    kept.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"x" + forged, b"y" + forged))
    assert len(KeptFile(tmp_path, IDENTITY).read()) == 3
    assert read_kept(tmp_path) == [b"no promise", decode(good, Record).data]
    assert proposals_of(read_kept(tmp_path)) == []


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path, IDENTITY)
    for write in (kept.append, kept.replace):
        write([b"item"])
        assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    kept.close()


def test_what_is_of_no_whole_item_is_told(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path, IDENTITY)
    assert kept.lost() == []
    kept.append([b"first", b"second", b"third"])
    kept.close()
    assert kept.lost() == []
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    second = whole.index(b"second")
    spoiled = bytearray(whole)
    spoiled[second] ^= 1
    path.write_bytes(spoiled)
    assert kept.lost() == [f"14 bytes at byte {second - 8} are of no whole item"]
    path.write_bytes(whole + b"torn")
    assert kept.lost() == [f"4 bytes at byte {len(whole)} are of no whole item"]
    spoiled = bytearray(whole)
    spoiled[0] ^= 1
    path.write_bytes(spoiled)
    assert kept.lost() == ["another beginning"]
    assert KeptFile(tmp_path, IDENTITY[:40].ljust(64, b"!")).lost() == ["another beginning"]
    path.write_bytes(whole)
    assert KeptFile(tmp_path, IDENTITY[:40].ljust(64, b"!")).lost() == []  # of another key
