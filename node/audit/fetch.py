"""Fetch the chain of a running node over its HTTP API.

Apart from `export`, since an auditor who verifies a file needs no web client.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec

from ledger.errors import LedgerError
from ledger.receipt import MAX_JSON_LENGTH
from node.audit.errors import BadStream, Refused, Unreachable
from node.audit.export import Show, Writer
from node.audit.records import split_frames
from node.audit.report import Progress
from node.audit.words import Deed

MAX_GENESIS_BYTES: Final = 4 << 20
MAX_LIST_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 256 << 10
_LINE_SILENT_S: Final = 60  # a node that says nothing for so long is gone


class _Page(msgspec.Struct):
    """A part of a list."""

    evidence: list[Deed]
    cursor: int | None


async def fetch_chain(session: aiohttp.ClientSession, url: str, writer: Writer, show: Show) -> None:
    """Append what the node at `url` has now: its blocks, and the proposals that it kept.

    Raises `BadStream`, `OtherChain`, `Refused`, `Unreachable`; what was read until then is kept.
    """
    async with _get(session, f"{url}/v1/chain?from={writer.height + 1}") as response:
        last = response.headers.get("Depoli-Height", "")
        await _append_all(response, writer, show)
    if str(writer.height) != last:
        raise BadStream(f"it ends after block {writer.height} of {last or 'an unknown number'}")
    async with _get(session, f"{url}/v1/proposals") as response:
        await _append_all(response, writer, show)


async def _append_all(response: aiohttp.ClientResponse, writer: Writer, show: Show) -> None:
    buffer = b""
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        try:
            payloads, buffer = split_frames(buffer + chunk)
        except LedgerError as error:
            raise BadStream(str(error)) from None
        for payload in payloads:
            writer.append(payload)
            show(Progress(writer.height, writer.size))
    if buffer:
        raise BadStream(f"it ends within a record, after block {writer.height}")


async def fetch_blocks(
    session: aiohttp.ClientSession, url: str, first: int, last: int
) -> list[bytes]:
    """Return encoded blocks of these heights, or as many as the node at `url` has. Raises as above.

    Nothing of them is verified.
    """
    found: list[bytes] = []
    buffer = b""
    async with _get(session, f"{url}/v1/chain?from={first}") as response:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            try:
                payloads, buffer = split_frames(buffer + chunk)
            except LedgerError as error:
                raise BadStream(str(error)) from None
            found += payloads
            if len(found) > last - first:
                break
    return found[: last - first + 1]


async def fetch_evidence(session: aiohttp.ClientSession, url: str) -> list[Deed]:
    """Return what evidence the node at `url` has. Raises as above."""
    deeds: list[Deed] = []
    cursor: int | None = 0
    while cursor is not None:
        text = await _fetch_document(session, f"{url}/v1/evidence?cursor={cursor}", MAX_LIST_BYTES)
        try:
            page = msgspec.json.decode(text, type=_Page)
        except (msgspec.DecodeError, RecursionError):
            raise BadStream("it sent no list of evidence") from None
        if page.cursor is not None and page.cursor <= cursor:
            raise BadStream("its list of evidence turns in a circle")
        deeds += page.evidence
        cursor = page.cursor
    return deeds


async def fetch_conviction(session: aiohttp.ClientSession, url: str, id_: bytes) -> bytes:
    """Return the file of evidence that the node at `url` makes. Raises as above."""
    return await _fetch_document(session, f"{url}/v1/evidence/{id_.hex()}", MAX_JSON_LENGTH)


async def fetch_genesis(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the genesis document that the node at `url` serves, as JSON. Raises as above."""
    return await _fetch_document(session, f"{url}/v1/genesis", MAX_GENESIS_BYTES)


def open_session(token: str) -> aiohttp.ClientSession:
    """Return a session that shows `token`; close it after use."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_LINE_SILENT_S)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return aiohttp.ClientSession(headers=headers, timeout=timeout)


async def _fetch_document(session: aiohttp.ClientSession, url: str, limit: int) -> bytes:
    async with _get(session, url) as response:
        content = await response.content.read(limit + 1)
        while content and not response.content.at_eof() and len(content) <= limit:
            content += await response.content.read(limit + 1)
    if len(content) > limit:
        raise BadStream(f"what it sends for {url} is too long")
    return content


@asynccontextmanager
async def _get(session: aiohttp.ClientSession, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise Refused(response.status, _words(await response.content.read(2048)))
            yield response
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise Unreachable(url, "this is no address like http://127.0.0.1:7680") from None
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno or 0  # negative where the name of a machine is not found
        reason = os.strerror(number) if number > 0 else str(error.os_error.strerror)
        raise Unreachable(url, f"no node answers there: {reason}") from None
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
