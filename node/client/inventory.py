"""What a vault holds, by counts and sizes: nothing that it says is read, unless it is verified."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.client import keyring_copies
from node.client.keyring import Way
from node.client.keyring_copies import Copy, State
from node.client.vault import Kind, Rotation, Vault
from node.client.vault_files import SCHEMA_VERSION

_SERVING: Final = {State.CURRENT, State.BEHIND}


@dataclass(frozen=True, slots=True)
class Held:
    """The records of one kind."""

    kind: str
    count: int
    size: int  # bytes of ciphertext


@dataclass(frozen=True, slots=True)
class Inventory:
    """What `depoli vault status` says."""

    version: int
    edition: int  # commits that changed keys
    rotated: int  # the edition of the newest rotation
    held: list[Held]
    without_key: int  # records that nobody can read any more
    without_record: int  # keys of records that a restored backup did not hold
    is_swept: bool
    ways: list[Way]
    copies: list[Copy]

    @property
    def last_backup(self) -> int | None:
        """When the newest copy of the data was made, in unix seconds."""
        return max((copy.made for copy in self.copies if not copy.is_keyring), default=None)

    def warnings(self) -> list[str]:
        """Return what somebody should do something about, in sentences."""
        told = Rotation(0, self.is_swept, self.copies).warnings()
        keyrings = [copy for copy in self.copies if copy.is_keyring]
        if not any(copy.state in _SERVING for copy in keyrings):
            told.append("there is no copy of the keyring: if this disk dies, nobody reads a backup")
        if self.last_backup is None:
            told.append("there is no backup of the data: depoli vault backup FOLDER")
        if self.without_key:
            told.append(f"{self.without_key} records have no key: nobody reads them any more")
        if not self.is_swept:
            told.append("old wrapped keys are not overwritten yet: any next command tries again")
        return told


def take(vault: Vault) -> Inventory:
    """Return what the vault holds; raise as its reading."""
    files = vault.files
    with keyring_copies.standing_still(files) as edition:
        one = files.database.execute
        rows = one("SELECT kind, count(*), sum(length(content)) FROM record GROUP BY kind")
        held = [Held(_name_of(kind), count, size) for kind, count, size in rows]
        (without_key,) = one(
            "SELECT count(*) FROM record WHERE uid NOT IN (SELECT uid FROM keyring.key)"
        ).fetchone()
        (without_record,) = one(
            "SELECT count(*) FROM keyring.key WHERE uid NOT IN (SELECT uid FROM record)"
        ).fetchone()
        rotated, unswept = one("SELECT rotated, unswept FROM keyring.heading").fetchone()
    return Inventory(
        version=SCHEMA_VERSION,
        edition=edition,
        rotated=rotated,
        held=held,
        without_key=without_key,
        without_record=without_record,
        is_swept=not unswept,
        ways=vault.ways(),
        copies=keyring_copies.known(files),
    )


def verify(vault: Vault, progress: Callable[[int], None]) -> int:
    """Read every record; return how many there are, or raise `VaultDamaged`."""
    done = 0
    for kind in Kind:
        for _ in vault.all(kind):
            done += 1
            progress(done)
    return done


def age(made: int) -> str:
    """Return how long ago that was, as people say it."""
    hours = max(0, int(time.time()) - made) // 3600
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004 - two days


def _name_of(kind: int) -> str:
    try:
        return Kind(kind).name.lower()
    except ValueError:  # of a newer version
        return f"kind {kind}"
