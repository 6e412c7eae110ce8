"""One process at a time."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import StoreLocked
from ledger.lock import DirectoryLock


def test_a_second_holder_is_refused_and_the_next_let_in(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "with parents"
    lock = DirectoryLock(directory)
    with pytest.raises(StoreLocked, match="in use by another process") as refused:
        DirectoryLock(directory)
    assert refused.value.path == str(directory)
    lock.release()
    lock.release()
    DirectoryLock(directory).release()


def test_a_directory_that_it_makes_is_its_owners_alone(tmp_path: Path) -> None:
    DirectoryLock(tmp_path / "data").release()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_another_process_is_refused_and_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ledger.lock import DirectoryLock;"
        "lock = DirectoryLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked):
            DirectoryLock(tmp_path)
        holder.kill()
        holder.wait()
        DirectoryLock(tmp_path).release()


def test_a_file_system_without_locks_is_not_taken_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none here: what such a system answers is put in its place."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks available"):
        DirectoryLock(tmp_path)
