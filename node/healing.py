"""Where the blocks come from that take the place of damaged ones: a node's API, or an export.

Nothing of them is believed: who uses them verifies each (node.rebuild).
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.audit.fetch import fetch_blocks, open_session
from node.audit.records import Records, is_proposal
from node.rebuild import Source

_AT_ONCE: Final = 32  # blocks that are asked for at once: a few dozen MiB where they are large


def from_node(url: str, token: str) -> Source:
    """Return blocks of the running node at `url`; `token` may read the whole chain."""

    def read(first: int, last: int) -> Iterator[bytes]:
        for start in range(first, last + 1, _AT_ONCE):
            found = asyncio.run(_fetch(url, token, start, min(last, start + _AT_ONCE - 1)))
            if not found:
                return
            yield from found

    return read


def from_export(path: Path) -> Source:
    """Return blocks of the export at `path`. Reading raises `Malformed`, `Mismatch`, OSError."""

    def read(first: int, last: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            records = Records(file)
            records.read_magic()
            next(records, None)  # the genesis: blocks of another one do not verify
            blocks = (payload for payload in records if not is_proposal(payload))
            for height, payload in enumerate(blocks, 1):
                if height > last:
                    return
                if height >= first:
                    yield payload

    return read


async def _fetch(url: str, token: str, first: int, last: int) -> list[bytes]:
    async with open_session(token) as session:
        return await fetch_blocks(session, url, first, last)
