"""Files are written whole or not at all; secrets are read only where nobody else reads them."""

import os
from pathlib import Path

import pytest

from node import files
from tests.ledger.examples import disk_full_at


def test_a_new_file_is_not_written_over_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.create(path, b"first", secret=True)
    with pytest.raises(files.AlreadyThere):
        files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_to_nowhere_is_not_followed_when_writing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(files.AlreadyThere):
        files.create(tmp_path / "link", b"x")
    assert not (tmp_path / "target").exists()


def test_replacing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.replace(path, b"1", secret=True)
    files.replace(path, b"2", secret=True)
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208


def test_of_a_file_that_does_not_fit_the_name_is_told(tmp_path: Path) -> None:
    with disk_full_at(1 << 10), pytest.raises(OSError, match="large") as error:
        files.create(tmp_path / "a", bytes(1 << 11))
    assert error.value.filename == str(tmp_path / "a")


def test_no_other_user_enters_a_folder_on_the_way_to_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o755)
    (tmp_path / "old").chmod(0o755)
    files.make_folder(tmp_path / "old" / "a" / "b" / "c")
    files.make_folder(tmp_path / "old" / "a" / "b" / "c")
    modes = [
        (tmp_path / "old" / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/c", ".")
    ]
    assert modes == [0o700, 0o700, 0o700, 0o755]


def test_a_folder_is_not_made_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            files.make_folder(path)


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        files.replace(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208


def test_a_public_file_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    assert files.read_public(tmp_path / "a", limit=10, hint="") == bytes(10)
    with pytest.raises(files.TooLong):
        files.read_public(tmp_path / "a", limit=9, hint="")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644])
def test_a_secret_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(files.Exposed, match=f"mode {mode:04o}") as caught:
        files.read_secret(path, limit=9, hint="")
    assert caught.value.hint.startswith("chmod 600")


def test_a_credential_may_show_the_mask_of_its_access_list(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    path.chmod(0o440)
    assert files.read_secret(path, limit=9, hint="", credential=True) == b"x"
    path.chmod(0o444)
    with pytest.raises(files.Exposed):
        files.read_secret(path, limit=9, hint="", credential=True)


def test_a_secret_behind_a_link_is_refused(tmp_path: Path) -> None:
    files.create(tmp_path / "a", b"x", secret=True)
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(files.NotPlain):
        files.read_secret(tmp_path / "link", limit=9, hint="")


@pytest.mark.timeout(10)
def test_a_pipe_in_the_place_of_a_secret_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(files.NotPlain):
        files.read_secret(tmp_path / "pipe", limit=9, hint="")


def test_a_folder_in_the_place_of_a_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(files.NotPlain):
        files.read_secret(tmp_path / "folder", limit=9, hint="")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    files.create(tmp_path / "a", b"x", secret=True)
    os.chown(tmp_path / "a", 12345, 12345)
    with pytest.raises(files.Foreign):
        files.read_secret(tmp_path / "a", limit=9, hint="")
