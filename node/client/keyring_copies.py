"""Copies of a vault's files elsewhere, and which of them still hold keys that were destroyed.

The vault remembers where it put copies of its keyring, and a rotation writes each anew. One that is
not there then (a stick in a drawer) stays *stale*: it opens what was erased since, if somebody has
an old copy of the data too. That a copy will be there is written down before it is: whoever is
killed meanwhile leaves none that nobody knows of.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from node.client.errors import ClientError, DiskFull
from node.client.files import remove_leftovers, replacing
from node.client.vault_files import VaultFiles

_BEGUN: Final = -1  # in place of an edition: a copy is being made, or never was


class State(StrEnum):
    """How a copy stands to the vault."""

    CURRENT = "current"
    BEHIND = "behind"  # it lacks what was added since
    STALE = "stale"  # it holds keys of what was erased since
    GONE = "gone"  # nothing is there now; what was there may be elsewhere


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that the vault made, in a folder."""

    folder: Path
    is_keyring: bool
    made: int  # unix seconds
    state: State
    was_made: bool = True  # it was begun, otherwise, and nobody knows


def copy_into(files: VaultFiles, name: str, target: Path) -> None:
    """Put a copy of `main` or `keyring` in the place of `target`, whole or not at all."""
    with replacing(target) as fresh:
        out = sqlite3.connect(fresh, isolation_level=None)
        try:
            out.execute("PRAGMA journal_mode = OFF").fetchall()  # what fails is thrown away
            out.execute("PRAGMA synchronous = OFF")
            files.database.backup(out, name=name)
        except sqlite3.OperationalError as error:
            raise DiskFull(target) if "full" in str(error) else error from None
        finally:
            out.close()


@contextlib.contextmanager
def standing_still(files: VaultFiles) -> Iterator[int]:
    """Keep both files as they are, for whoever reads; yields their edition."""
    with files.guarded():
        files.database.execute("BEGIN")
        try:
            edition: int = files.database.execute(
                "SELECT k.edition FROM heading m, keyring.heading k"
            ).fetchone()[0]
            yield edition
        finally:
            files.database.execute("COMMIT")


def begin(files: VaultFiles, folder: Path) -> None:
    """Write down that a copy of the keyring is about to be in a folder."""
    with files.guarded():
        files.database.execute(
            "INSERT OR IGNORE INTO copy VALUES (?, 1, ?, ?)",
            (str(folder), int(time.time()), _BEGUN),
        )


def remember(files: VaultFiles, folder: Path, edition: int, *, is_keyring: bool) -> None:
    """Write down that a copy of this edition is there."""
    with files.guarded():
        files.database.execute(
            "INSERT OR REPLACE INTO copy VALUES (?, ?, ?, ?)",
            (str(folder), is_keyring, int(time.time()), edition),
        )


def forget(files: VaultFiles, folder: Path) -> None:
    """Look no more after the copies in a folder: they were destroyed."""
    with files.guarded():
        files.database.execute("DELETE FROM copy WHERE path = ?", (str(folder),))


def known(files: VaultFiles) -> list[Copy]:
    """Return the copies that the vault made, with their states."""
    with files.guarded():
        rows = files.database.execute(
            "SELECT c.path, c.is_keyring, c.made, c.edition, k.edition, k.rotated"
            " FROM copy c, keyring.heading k ORDER BY c.is_keyring DESC, c.path"
        ).fetchall()
    found = []
    for path, is_keyring, made, edition, now, rotated in rows:
        folder = Path(path)
        name = files.keyring.name if is_keyring else files.path.name
        is_there = os.path.exists(folder / name)  # noqa: PTH110 - a drive that is off is no error
        if is_keyring and edition < rotated and (is_there or edition != _BEGUN):
            state = State.STALE
        elif not is_there:
            state = State.GONE
        else:
            state = State.CURRENT if edition == now else State.BEHIND
        found.append(Copy(folder, bool(is_keyring), made, state, edition != _BEGUN))
    return found


def rewrite(files: VaultFiles) -> list[Copy]:
    """Write every copy of the keyring anew that can be reached; return all of them, as they are."""
    for copy in known(files):
        if not copy.is_keyring:
            continue
        target = copy.folder / files.keyring.name
        with contextlib.suppress(OSError, sqlite3.Error, ClientError):  # its state tells it
            remove_leftovers(target)
            # An empty mount point is not the stick, nor is the stick of another vault.
            if target.exists() and identity_in(target) == files.identity():
                copy_keyring(files, copy.folder)
    return known(files)


def identity_in(path: Path) -> bytes | None:
    """Return of which vault a file is that is there; None of what is no half of one."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            found: tuple[bytes] | None = database.execute("SELECT id FROM heading").fetchone()
    except sqlite3.DatabaseError:
        return None
    return found and found[0]


def copy_keyring(files: VaultFiles, folder: Path) -> None:
    """Copy the keyring into a folder, and remember it; raise `OSError`, or as `guarded`."""
    with standing_still(files) as edition:
        copy_into(files, "keyring", folder / files.keyring.name)
    remember(files, folder, edition, is_keyring=True)
