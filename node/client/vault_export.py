"""Everything in a vault as plain JSON, for moving to other software. Nothing protects the file."""

import base64
import json
import os
from pathlib import Path
from typing import Any, Final

from node.client.errors import ClientError
from node.client.files import replacing
from node.client.vault import Kind, Vault

FORMAT: Final = "depoli/vault-export/1"


class ExportInTheWay(ClientError):
    """Something is where the export would be; it was left as it is."""


def write(vault: Vault, path: Path) -> int:
    """Write every record into a new file that only its owner reads; return how many.

    The file is there whole or not at all. Raises `ExportInTheWay`, `OSError`, as `Vault.read`.
    """
    if path.exists():
        raise ExportInTheWay(f"{path} is there and is not overwritten", hint="name a new file")
    count = 0
    with replacing(path) as fresh, fresh.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"format": FORMAT, "vault": vault.identity.hex()})[:-1])
        out.write(', "records": [')
        for kind in Kind:
            for number, content in vault.all(kind):
                record = {"number": number, "kind": kind.name.lower(), "content": _plain(content)}
                out.write((",\n" if count else "\n") + json.dumps(record, ensure_ascii=False))
                count += 1
        out.write("\n]}\n")
        out.flush()
        os.fsync(out.fileno())
    return count


def _plain(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON the record is
    try:
        return json.loads(content)
    except ValueError:  # a record that is no JSON
        return {"base64": base64.b64encode(content).decode()}
