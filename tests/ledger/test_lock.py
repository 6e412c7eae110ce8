"""One process at a time."""

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
