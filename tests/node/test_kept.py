"""What outlives its height survives a torn write, and is neither rewritten nor repeated."""

from pathlib import Path

from node.kept import FILE_NAME, KeptFile

IDENTITY = b"chain id and consensus key".ljust(64, b".")


def test_nothing_is_kept_and_no_file_made_before_something_is_appended(tmp_path: Path) -> None:
    assert KeptFile(tmp_path, IDENTITY).read() == []
    assert not (tmp_path / FILE_NAME).exists()


def test_every_torn_tail_is_cut_off_and_the_file_grows_on(tmp_path: Path) -> None:
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
