"""Fetch the chain of a running node over its HTTP API.

Apart from `export`, since an auditor who verifies a file needs no web client.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from ledger.errors import LedgerError
from node.audit.errors import BadStream, Refused, Unreachable
from node.audit.export import Show, Writer
from node.audit.records import split_frames
from node.audit.report import Progress

MAX_GENESIS_BYTES: Final = 4 << 20
_CHUNK_BYTES: Final = 256 << 10
_LINE_SILENT_S: Final = 60  # a node that says nothing for so long is gone


async def fetch_chain(session: aiohttp.ClientSession, url: str, writer: Writer, show: Show) -> None:
    """Append what the node at `url` has now.

    Raises `BadStream`, `OtherChain`, `Refused`, `Unreachable`; what was read until then is kept.
    """
    async with _get(session, f"{url}/v1/chain?from={writer.height + 1}") as response:
        last, buffer = response.headers.get("Depoli-Height", ""), b""
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            try:
                payloads, buffer = split_frames(buffer + chunk)
            except LedgerError as error:
                raise BadStream(str(error)) from None
            for payload in payloads:
                writer.append(payload)
                show(Progress(writer.height, writer.size))
    if buffer or str(writer.height) != last:
        raise BadStream(f"it ends after block {writer.height} of {last or 'an unknown number'}")


async def fetch_genesis(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the genesis document that the node at `url` serves, as JSON. Raises as above."""
    async with _get(session, f"{url}/v1/genesis") as response:
        content = await response.content.read(MAX_GENESIS_BYTES + 1)
        while content and not response.content.at_eof() and len(content) <= MAX_GENESIS_BYTES:
            content += await response.content.read(MAX_GENESIS_BYTES + 1)
    if len(content) > MAX_GENESIS_BYTES:
        raise BadStream("its genesis document is too long")
    return content


def open_session(token: str) -> aiohttp.ClientSession:
    """Return a session that shows `token`; close it after use."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_LINE_SILENT_S)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return aiohttp.ClientSession(headers=headers, timeout=timeout)


@asynccontextmanager
async def _get(session: aiohttp.ClientSession, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise Refused(response.status, _words(await response.content.read(2048)))
            yield response
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(url, str(error) or type(error).__name__) from None


def _words(problem: bytes) -> str:
    """Return what RFC 9457 problem details say, or the text that came instead."""
    try:
        value = json.loads(problem)
        title, detail = value["title"], value.get("detail")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return problem.decode(errors="replace")
    return f"{title}: {detail}" if detail else str(title)
