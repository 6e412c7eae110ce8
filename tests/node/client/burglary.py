"""What somebody reads who has the files of a vault, of different days perhaps, and its key."""

import shutil
import sqlite3
from pathlib import Path

from node.client.vault import Kind, Vault
from tests.node.client.desk import KEY


def forced(data: Path, ring: Path, work: Path) -> list[bytes]:
    """Open data with a keyring, though they are of different days."""
    work.mkdir(exist_ok=True)
    mine, keys = work / "v.sqlite", work / "v.keys"
    shutil.copy(data, mine)
    shutil.copy(ring, keys)
    try:
        with sqlite3.connect(keys) as database:
            (edition,) = database.execute("SELECT edition FROM heading").fetchone()
        database.close()
        with sqlite3.connect(mine) as database:
            database.execute("UPDATE heading SET edition = ?", (edition,))
        database.close()
        with Vault(mine, KEY, keys) as vault:
            return [content for kind in Kind for _, content in vault.all(kind)]
    finally:
        shutil.rmtree(work)
