"""The envelopes that wait at a node, in a file of their own; what is answered for is on disk.

A commit is durable when a function returns. Where the disk is full, nothing changed. What was
handed on or collected leaves its id behind for a while, so that a replay is known as one. A file
that is damaged is put aside: whoever wrote has every envelope until it is acknowledged.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from ledger.envelope import Envelope
from node.post.errors import ManyWait, NoRoom, PostRefused

FILE_NAME: Final = "post.sqlite"
SCHEMA: Final = 1
ROW_BYTES: Final = 1024  # what an envelope costs beside its own bytes; so rows are bounded too
MAX_SENDER_BYTES: Final = 64 << 20  # thousands of envelopes that nobody fetches
# Of these for one recipient: who has answers sent and fetches none stops them for nobody else.
MAX_BETWEEN_BYTES: Final = 16 << 20
MAX_RECIPIENT_BYTES: Final = 512 << 20
MAX_BYTES: Final = 1 << 30
MAX_REMEMBERED: Final = 200_000  # ids of what is gone, the oldest forgotten first
REMEMBERED_S: Final = 30 * 86_400  # for so long after it expired nobody asks
FIRST_RETRY_S: Final = 2
MAX_RETRY_S: Final = 1800

_TABLES: Final = """
CREATE TABLE envelope (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  sender BLOB NOT NULL,
  recipient BLOB NOT NULL,
  expires INTEGER NOT NULL,
  arrived INTEGER NOT NULL,
  state INTEGER NOT NULL,
  relayed INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  due INTEGER NOT NULL DEFAULT 0,
  trouble TEXT NOT NULL DEFAULT '',
  size INTEGER NOT NULL,
  raw BLOB
);
CREATE INDEX waiting ON envelope (recipient, number) WHERE raw IS NOT NULL;
CREATE INDEX due ON envelope (recipient, due) WHERE raw IS NOT NULL;
CREATE INDEX expiry ON envelope (expires);
CREATE INDEX remembered ON envelope (number) WHERE raw IS NULL;
CREATE TABLE mailbox (member BLOB PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE chain (id BLOB NOT NULL);
"""


class State(IntEnum):
    """What became of an envelope, as far as this node knows."""

    WAITING = 1
    HANDED_ON = 2
    COLLECTED = 3  # by the recipient, here
    EXPIRED = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an envelope, without its bytes."""

    number: int
    id: bytes
    sender: bytes
    recipient: bytes
    expires: int
    state: State
    tries: int
    trouble: str  # why the last try failed


@dataclass(frozen=True, slots=True)
class Letter:
    """An envelope that waits."""

    number: int
    id: bytes
    raw: bytes


class PostStore:
    """The file; one thread at a time uses it."""

    def __init__(self, folder: Path, chain_id: bytes, now: int) -> None:
        """Open the file, or make one; `set_aside` is where a damaged one went. Raises `NoRoom`."""
        self._path, self.set_aside = folder / FILE_NAME, ""
        self._is_together = False
        try:
            self._database = self._opened(chain_id, now)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise NoRoom(str(error)) from None
            self.set_aside = str(self._put_aside())
            self._database = self._opened(chain_id, now)

    def _opened(self, chain_id: bytes, now: int) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")  # a commit is on disk when it returns
            database.execute("PRAGMA secure_delete=ON")
            database.execute("PRAGMA journal_size_limit=4194304")
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                database.execute("BEGIN IMMEDIATE")
                for statement in filter(str.strip, _TABLES.split(";")):
                    database.execute(statement)
                database.execute("INSERT INTO chain VALUES (?)", (chain_id,))
                # Numbers grow even where a file before this one was lost: who reads on misses none.
                database.execute("INSERT INTO sqlite_sequence VALUES ('envelope', ?)", (now << 20,))
                database.execute(f"PRAGMA user_version={SCHEMA}")
                database.execute("COMMIT")
            _require_ours(database, chain_id)
            self._count(database)
        except BaseException:
            database.close()
            raise
        self._path.chmod(0o600)
        return database

    def _count(self, database: sqlite3.Connection) -> None:
        self._of, self._for = Counter[bytes](), Counter[bytes]()
        self._between = Counter[tuple[bytes, bytes]]()
        self.bytes = self.waiting = 0
        rows = database.execute(
            "SELECT sender, recipient, SUM(size), COUNT(*) FROM envelope"
            " WHERE raw IS NOT NULL GROUP BY sender, recipient"
        )
        for sender, recipient, size, count in rows:
            self._add(sender, recipient, size, count)

    def _add(self, sender: bytes, recipient: bytes, size: int, count: int) -> None:
        self._of[sender] += size
        self._for[recipient] += size
        self._between[sender, recipient] += size
        self.bytes += size
        self.waiting += count

    def _put_aside(self) -> Path:
        """Move a file that cannot be used away, with what belongs to it; the newest one stays."""
        aside = self._path.with_suffix(".damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return aside

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Put all that is changed inside on the disk at once, or nothing; raise `NoRoom`."""
        with self._changes():
            self._is_together = True
            try:
                yield
            finally:
                self._is_together = False

    @contextlib.contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        """Change all of it or nothing; raise `NoRoom`."""
        if self._is_together:
            yield self._database
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self._count(self._database)
            if isinstance(error, sqlite3.Error):
                raise NoRoom(str(error)) from None
            raise

    # --- in ----------------------------------------------------------------------------------

    def add(
        self, envelopes: Sequence[tuple[Envelope, bool]], now: int
    ) -> list[State | PostRefused]:
        """Keep envelopes, each with whether a relay brought it; say of each in which state it is.

        One that was handed on before waits again: whoever sends it twice had no answer. One that
        was collected stays so. Raises `NoRoom`: then none is kept.
        """
        with self._changes() as database:
            return [
                self._add_one(database, envelope, now, relayed=relayed)
                for envelope, relayed in envelopes
            ]

    def _add_one(
        self, database: sqlite3.Connection, envelope: Envelope, now: int, *, relayed: bool
    ) -> State | PostRefused:  # fmt: skip
        body, size = envelope.body, len(envelope.raw) + ROW_BYTES
        found = database.execute("SELECT state FROM envelope WHERE id = ?", (envelope.id,))
        state = None if (row := found.fetchone()) is None else State(row[0])
        if state in (State.WAITING, State.COLLECTED, State.EXPIRED):
            return state
        between = self._between[body.sender, body.recipient]
        for whose, has, most in (
            ("of this sender for this recipient", between, MAX_BETWEEN_BYTES),
            ("of this sender", self._of[body.sender], MAX_SENDER_BYTES),
            ("for this recipient", self._for[body.recipient], MAX_RECIPIENT_BYTES),
            ("of everyone", self.bytes, MAX_BYTES),
        ):
            if has + size > most:
                return ManyWait(whose, most)
        if state is None:
            database.execute(
                "INSERT INTO envelope (id, sender, recipient, expires, arrived, state, relayed,"
                " size, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (envelope.id, body.sender, body.recipient, body.expires, now, State.WAITING,
                 relayed, size, envelope.raw),
            )  # fmt: skip
        else:
            database.execute(
                "UPDATE envelope SET state = ?, due = 0, relayed = ?, raw = ? WHERE id = ?",
                (State.WAITING, relayed, envelope.raw, envelope.id),
            )
        self._add(body.sender, body.recipient, size, 1)
        return State.WAITING

    # --- out ---------------------------------------------------------------------------------

    def letters(self, recipient: bytes, *, after: int, limit: int, most: int) -> list[Letter]:
        """Return what waits for a member above number `after`, in their order, up to `most` bytes.

        One at least, where there is one.
        """
        rows = self._database.execute(
            "SELECT number, id, raw FROM envelope WHERE recipient = ? AND number > ?"
            " AND raw IS NOT NULL ORDER BY number LIMIT ?",
            (recipient, after, limit),
        )
        return _up_to(rows, most)

    def due(
        self, recipient: bytes, now: int, *, limit: int, most: int, directly: bool
    ) -> list[Letter]:
        """Return what waits for a member and is to be tried now; not `directly`: on to a relay.

        What a relay brought goes to no other relay.
        """
        rows = self._database.execute(
            "SELECT number, id, raw FROM envelope WHERE recipient = ? AND due <= ?"
            " AND expires > ? AND raw IS NOT NULL AND relayed <= ? ORDER BY due, number LIMIT ?",
            (recipient, now, now, directly, limit),
        )
        return _up_to(rows, most)

    def look_up(self, id_: bytes) -> Kept | None:
        """Return what is known of an envelope, None where nothing is."""
        row = self._database.execute(
            "SELECT number, id, sender, recipient, expires, state, tries, trouble FROM envelope"
            " WHERE id = ?",
            (id_,),
        ).fetchone()
        if row is None:
            return None
        number, found, sender, recipient, expires, state, tries, trouble = row
        return Kept(number, found, sender, recipient, expires, State(state), tries, trouble)

    def recipients(self) -> list[bytes]:
        """Return for whom something waits."""
        return [member for member, size in self._for.items() if size > 0]

    def oldest(self) -> int | None:
        """Return when the first of what waits arrived, unix seconds, None where nothing does."""
        row = self._database.execute("SELECT MIN(arrived) FROM envelope WHERE raw IS NOT NULL")
        found: int | None = row.fetchone()[0]
        return found

    # --- what became of it -------------------------------------------------------------------

    def finish(self, ids: Collection[bytes], state: State) -> int:
        """Forget the bytes of what waits and has come so far; return how much that was."""
        with self._changes() as database:
            return sum(self._finish(database, id_, state) for id_ in ids)

    def collect(self, ids: Sequence[bytes], member: bytes) -> list[bytes]:
        """Forget what its recipient has in its vault; return what was never here for it."""
        with self._changes() as database:
            found = [self.look_up(id_) for id_ in ids]
            for each in found:
                if each is not None and each.recipient == member:
                    self._finish(database, each.id, State.COLLECTED)
        return [
            id_
            for id_, each in zip(ids, found, strict=True)
            if each is None or each.recipient != member
        ]

    def _finish(self, database: sqlite3.Connection, id_: bytes, state: State) -> int:
        row = database.execute(
            "SELECT sender, recipient, size FROM envelope WHERE id = ? AND raw IS NOT NULL", (id_,)
        ).fetchone()
        if row is None:
            return 0
        database.execute(
            "UPDATE envelope SET raw = NULL, state = ?, trouble = '' WHERE id = ?", (state, id_)
        )
        sender, recipient, size = row
        self._add(sender, recipient, -size, -1)
        return 1

    def put_off(self, troubles: Sequence[tuple[bytes, str]], now: int) -> None:
        """Try these again later, the later the more often it failed already."""
        with self._changes() as database:
            for id_, trouble in troubles:
                database.execute(
                    "UPDATE envelope SET tries = tries + 1, trouble = ?,"
                    " due = ? + MIN(?, ? << MIN(tries, 16)) WHERE id = ? AND raw IS NOT NULL",
                    (trouble[:200], now, MAX_RETRY_S, FIRST_RETRY_S, id_),
                )

    def hasten(self, recipients: Collection[bytes]) -> None:
        """Let what waits for these be tried now: who takes it is there again."""
        with self._changes() as database:
            for recipient in recipients:
                database.execute(
                    "UPDATE envelope SET due = 0 WHERE recipient = ? AND due > 0"
                    " AND raw IS NOT NULL",
                    (recipient,),
                )

    def sweep(self, now: int) -> int:
        """Forget what has expired, and the oldest of what is gone; return how many expired."""
        with self._changes() as database:
            rows = database.execute(
                "SELECT id FROM envelope WHERE expires <= ? AND raw IS NOT NULL LIMIT 1000", (now,)
            ).fetchall()
            expired = sum(self._finish(database, id_, State.EXPIRED) for (id_,) in rows)
            database.execute(
                "DELETE FROM envelope WHERE raw IS NULL AND expires <= ?", (now - REMEMBERED_S,)
            )
            database.execute(
                "DELETE FROM envelope WHERE raw IS NULL AND number <= (SELECT number FROM envelope"
                " WHERE raw IS NULL ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (MAX_REMEMBERED,),
            )
        return expired

    # --- mailboxes ---------------------------------------------------------------------------

    def mailboxes(self) -> list[bytes]:
        """Return the mailboxes that are kept, encoded."""
        return [raw for (raw,) in self._database.execute("SELECT raw FROM mailbox")]

    def keep_mailbox(self, member: bytes, raw: bytes) -> None:
        """Keep a member's mailbox instead of the one before."""
        with self._changes() as database:
            database.execute("INSERT OR REPLACE INTO mailbox VALUES (?, ?)", (member, raw))


def _require_ours(database: sqlite3.Connection, chain_id: bytes) -> None:
    found = database.execute("SELECT id FROM chain").fetchone()
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if found != (chain_id,) or version != SCHEMA:
        raise sqlite3.DatabaseError("of another chain or version")


def _up_to(rows: sqlite3.Cursor, most: int) -> list[Letter]:
    found: list[Letter] = []
    for row in rows:
        letter = Letter(*row)
        most -= len(letter.raw)
        if found and most < 0:
            break
        found.append(letter)
    return found


def _is_damage(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF not in {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM,
    }  # fmt: skip
