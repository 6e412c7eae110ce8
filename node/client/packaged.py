"""The files of reference tables that are packaged with the program."""

import importlib.resources

from contracts.reference import TableKind, table_hash
from ledger.hashing import Hash


def table_file(kind: TableKind) -> bytes:
    """Return the file of a table."""
    path = importlib.resources.files("contracts") / "tables" / f"{kind.subject}.json"
    return path.read_bytes()


def table_hashes() -> dict[TableKind, Hash]:
    """Return the hash of every table, by ascending kind."""
    return {kind: table_hash(table_file(kind)) for kind in TableKind}
