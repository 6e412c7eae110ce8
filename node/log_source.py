"""A log in the C2SP formats, read over HTTP from a node or from wherever an export of it lies.

Its checkpoint is verified from the genesis; its tiles are not, but their length is bounded. No
redirect is followed.
"""

import asyncio
import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Note,
    NoteKey,
    origin,
    parse_checkpoint,
    parse_note,
)
from ledger.decided import Decided, parse_json
from ledger.errors import Malformed, Mismatch
from ledger.hashing import HASH_BYTES
from ledger.keys import PublicKey
from ledger.receipt import MAX_JSON_LENGTH
from ledger.tiles import ENTRIES, MAX_BUNDLE_BYTES, WIDTH, Tile
from ledger.validators import ValidatorSet
from node.audit.errors import Refused, Unreachable
from node.client.connection import Connection
from node.errors import Usage

_CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0  # all of an answer: who sends a byte now and then keeps nobody waiting
_MAX_PROBLEM_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Committed:
    """A checkpoint that a quorum committed."""

    checkpoint: Checkpoint
    note: Note  # as one of those who voted on it signed it
    decided: Decided


class LogSource:
    """The log at an address such as `http://127.0.0.1:7680/tlog`. Use it as a context.

    Its methods raise `Unreachable` and `Refused`, and `Malformed` where it sent something else.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        try:
            is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number
            is_address = False
        if not is_address:
            raise Usage(f"{url} is no address like http://127.0.0.1:7680/tlog")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._connection = Connection(self.url, headers, connect_s=_CONNECT_S)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()
        self._runner.close()

    def committed(self, chain_id: bytes, validators: ValidatorSet) -> Committed:
        """Return the checkpoint that is shown now; raise `LedgerError` naming the first false fact.

        A quorum committed its block, and one of those who voted there signed it. `validators` are
        those of height 1.
        """
        note = parse_note(self._read("checkpoint", MAX_NOTE_BYTES))
        checkpoint = parse_checkpoint(note.text)
        try:
            text = self._read(f"commit/{checkpoint.height}", MAX_JSON_LENGTH).decode()
        except UnicodeDecodeError:
            raise Malformed("decided block", "not UTF-8") from None
        decided = parse_json(text)
        voters = decided.verify(chain_id, validators)
        expected = Checkpoint.of(decided.header)
        if checkpoint != expected:
            raise Mismatch("checkpoint", " ".join(expected.encode().split("\n")), note.text)
        name = origin(chain_id)
        note.verify_any(NoteKey(name, PublicKey(each.checkpoint_key)) for each in voters.members)
        return Committed(checkpoint, note, decided)

    def tile(self, tile: Tile) -> bytes:
        """Return what a tile or a bundle is said to hold.

        A partial tile may have been dropped for the full one, whose beginning it is.
        """
        if tile.level == ENTRIES:
            return self._read(tile.path, MAX_BUNDLE_BYTES)
        limit = tile.width * HASH_BYTES
        try:
            return self._read(tile.path, limit)
        except Refused:
            if tile.is_full:
                raise
        full = Tile(tile.level, tile.index)
        return self._read(full.path, WIDTH * HASH_BYTES)[:limit]

    def _read(self, path: str, limit: int) -> bytes:
        asked = self._connection.exchange(
            "GET", f"/{path}", {}, data=None, headers={}, seconds=ANSWER_S, limit=limit
        )
        try:
            status, body = self._runner.run(asked)
        except TimeoutError:
            raise Unreachable(self.url, f"{path} did not come within {ANSWER_S} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from None
        if status != http.client.OK:
            raise Refused(status, f"{path}: {_words(body[:_MAX_PROBLEM_BYTES])}")
        if len(body) > limit:
            raise Malformed(path, f"more than {limit} bytes")
        return body


def _words(problem: bytes) -> str:
    """Return what RFC 9457 problem details say, or the text that came instead."""
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        return str(json.loads(problem)["title"])
    return problem.decode(errors="replace")
