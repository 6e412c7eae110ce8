"""A directory that one process at a time may open."""

import sys
from pathlib import Path
from typing import Final

from ledger.errors import StoreLocked

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE_NAME: Final = "lock"


class DirectoryLock:
    """Held from the moment it is made until `release`, or until the process ends however it ends.

    Raises `StoreLocked` where somebody else holds it, be it in this same process. The file stays:
    who unlinks a lock lets two others hold it at once.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (directory / FILE_NAME).open("ab")
        try:
            if sys.platform == "win32":
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            if isinstance(error, BlockingIOError | PermissionError):
                raise StoreLocked(str(directory)) from None
            raise  # a file system without locks: nothing would keep a second process out

    def release(self) -> None:
        """Let others in; once more changes nothing."""
        self._file.close()  # and the lock goes with the last descriptor
