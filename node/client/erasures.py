"""Erasures as a node shows them, and the message that says to one member what it is to erase.

The chain holds a salted commitment; the message, sealed, opens it. Both sides destroy the salt once
it is done, and then nothing tells of what was asked.
"""

import json
import re
import secrets
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from contracts.commitment import SALT_BYTES
from node.client.client import PAGE, Hex16, Hex32, NodeClient
from node.client.errors import NotReadable
from node.client.explanations import Name
from node.client.reading import parse_object
from node.client.records import Wanted

FORMAT: Final = "depoli/erasure/1"
_FIELDS: Final = {"format", "erasure", "subject", "stays", "salt"}
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class ErasureView(msgspec.Struct, frozen=True):
    """An erasure as it stands on the chain, bytes in hexadecimal."""

    id: Hex32
    requester: Hex16
    recipient: Hex16
    commitment: Hex32
    time: int
    since: int
    state: Name
    outcome: Name | None = None


class _Page(msgspec.Struct, frozen=True):
    erasures: tuple[ErasureView, ...]
    cursor: int | None = None


def want(subject: bytes, stays: bytes | None = None) -> Wanted:
    """Return what is wanted, with a salt of its own."""
    return Wanted(subject, stays, secrets.token_bytes(SALT_BYTES))


def message(erasure: bytes, wanted: Wanted) -> bytes:
    """Return what says what is to be erased, as a file. It tells of whom: seal it."""
    value = {
        "format": FORMAT,
        "erasure": erasure.hex(),
        "subject": wanted.subject.hex(),
        "stays": None if wanted.stays is None else wanted.stays.hex(),
        "salt": wanted.salt.hex(),
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def parse_message(data: bytes, name: str) -> tuple[bytes, Wanted]:
    """Return the id of an erasure and what it is of; raise `NotReadable`. `name` is the file's."""
    value = parse_object(data, name)
    if value.get("format") != FORMAT or value.keys() != _FIELDS:
        raise NotReadable(f"{name} asks for no erasure")
    for field in sorted(_FIELDS - {"format"}):
        text = value[field]
        is_absent = field == "stays" and text is None
        if not is_absent and not (isinstance(text, str) and _HEX.fullmatch(text)):
            raise NotReadable(f"{name}: {field} must be 64 hexadecimal digits")
    stays = None if value["stays"] is None else bytes.fromhex(value["stays"])
    wanted = Wanted(bytes.fromhex(value["subject"]), stays, bytes.fromhex(value["salt"]))
    return bytes.fromhex(value["erasure"]), wanted


async def erasure_of(node: NodeClient, id_: bytes) -> ErasureView:
    """Return an erasure; raise `NotFound`."""
    return await node.get(f"/erasures/{id_.hex()}", ErasureView)


async def erasures_of(node: NodeClient, state: str | None = None) -> AsyncIterator[ErasureView]:
    """Yield those that concern the token's member, oldest first; of one state, or all."""
    query = {"limit": str(PAGE)} | ({} if state is None else {"state": state})
    while True:
        page = await node.get("/erasures", _Page, query)
        for each in page.erasures:
            yield each
        if page.cursor is None:
            return
        query["cursor"] = str(page.cursor)
