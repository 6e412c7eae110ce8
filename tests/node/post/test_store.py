"""The file of envelopes: durable, bounded, and never in the way of a start."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from ledger import envelope
from ledger.envelope import Envelope
from node.post import store
from node.post.errors import ManyWait, NoRoom
from node.post.store import PostStore, State
from tests.chainmaker import some_bytes
from tests.ledger.examples import key

CHAIN: Final = b"\x01" * 32
NOW: Final = 1_800_000_000
LETTER: Final = envelope.Unsigned(
    1, CHAIN, b"s" * 16, b"k" * 8, b"r" * 16, bytes(16), NOW + 86_400, b"sealed"
)
ROOT: Final = Path(__file__).parents[3]


def made(name: object, **changed: object) -> Envelope:
    body = msgspec.structs.replace(LETTER, nonce=some_bytes(name)[:16], **changed)
    return envelope.sign(body, key(1))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[PostStore]:
    opened = PostStore(tmp_path, CHAIN, NOW)
    yield opened
    opened.close()


def reopened(kept: PostStore, now: int = NOW) -> PostStore:
    kept.close()
    kept.__init__(kept._path.parent, CHAIN, now)  # type: ignore[misc] # the fixture closes it
    return kept


def ids(kept: PostStore, **asked: int) -> list[bytes]:
    found = kept.letters(b"r" * 16, after=0, limit=100, most=1 << 20, **asked)
    return [letter.id for letter in found]


def test_what_is_kept_is_there_after_a_start_and_numbers_go_on(kept: PostStore) -> None:
    first, second = made(1), made(2)
    assert kept.add([(first, False)], NOW) == [State.WAITING]
    weight = kept.bytes
    reopened(kept)
    assert (kept.bytes, kept.waiting) == (weight, 1)
    kept.add([(second, False)], NOW)
    assert ids(kept) == [first.id, second.id]
    numbers = [letter.number for letter in kept.letters(b"r" * 16, after=0, limit=9, most=1)]
    assert len(numbers) == 1  # one at least, however large
    (rest,) = kept.letters(b"r" * 16, after=numbers[0], limit=9, most=1)
    assert rest.id == second.id
    assert kept.recipients() == [b"r" * 16]


def test_the_same_again_changes_nothing(kept: PostStore) -> None:
    sent = made(1)
    assert kept.add([(sent, False), (sent, True)], NOW) == [State.WAITING, State.WAITING]
    assert (ids(kept), kept.waiting) == ([sent.id], 1)


def test_what_was_handed_on_waits_again_and_what_was_collected_does_not(kept: PostStore) -> None:
    sent = made(1)
    kept.add([(sent, False)], NOW)
    assert kept.finish([sent.id], State.HANDED_ON) == 1
    assert (kept.bytes, kept.waiting, ids(kept)) == (0, 0, [])
    assert kept.finish([sent.id], State.COLLECTED) == 0  # only what waits
    assert kept.add([(sent, False)], NOW) == [State.WAITING]
    assert ids(kept) == [sent.id]
    kept.finish([sent.id], State.COLLECTED)
    assert kept.add([(sent, False)], NOW) == [State.COLLECTED]
    assert ids(kept) == []
    assert kept.bytes == 0


def test_bounds_hold_for_each_sender_for_each_recipient_and_in_all(
    kept: PostStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(made(0).raw) + store.ROW_BYTES
    monkeypatch.setattr(store, "MAX_SENDER_BYTES", 2 * size)
    monkeypatch.setattr(store, "MAX_RECIPIENT_BYTES", 3 * size)
    monkeypatch.setattr(store, "MAX_BYTES", 4 * size)

    def refused(*sent: Envelope) -> list[str]:
        became = kept.add([(each, False) for each in sent], NOW)
        return ["" if isinstance(each, State) else str(each) for each in became]

    assert refused(made(1), made(2)) == ["", ""]
    assert "of this sender" in refused(made(3))[0]
    assert refused(made(4, sender=b"t" * 16)) == [""]
    assert "for this recipient" in refused(made(5, sender=b"t" * 16))[0]
    assert refused(made(6, sender=b"t" * 16, recipient=b"q" * 16)) == [""]
    assert "of everyone" in refused(made(7, sender=b"u" * 16, recipient=b"p" * 16))[0]
    reopened(kept)
    assert isinstance(kept.add([(made(3), False)], NOW)[0], ManyWait)
    kept.finish([made(1).id], State.HANDED_ON)
    assert refused(made(3)) == [""]


def test_who_fetches_nothing_stops_what_is_sent_to_nobody_else(
    kept: PostStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(made(0).raw) + store.ROW_BYTES
    monkeypatch.setattr(store, "MAX_BETWEEN_BYTES", 2 * size)
    sent = [made(number) for number in range(3)]
    became = kept.add([(each, False) for each in sent], NOW)
    assert became[:2] == [State.WAITING] * 2
    assert "of this sender for this recipient" in str(became[2])
    other = made(4, recipient=b"q" * 16)
    assert kept.add([(other, False)], NOW) == [State.WAITING]
    reopened(kept)
    assert isinstance(kept.add([(sent[2], False)], NOW)[0], ManyWait)
    kept.finish([sent[0].id], State.COLLECTED)
    assert kept.add([(sent[2], False)], NOW) == [State.WAITING]


def test_what_failed_is_tried_later_and_later_and_at_once_when_the_taker_is_back(
    kept: PostStore,
) -> None:
    sent = made(1)
    kept.add([(sent, False)], NOW)

    def due(at: int) -> int:
        return len(kept.due(b"r" * 16, at, limit=9, most=1 << 20, directly=True))

    pauses = []
    at = NOW
    for _ in range(14):
        assert due(at) == 1
        kept.put_off([(sent.id, "it is full")], at)
        assert due(at) == 0
        pause = next(step for step in range(1, 4000) if due(at + step))
        pauses.append(pause)
        at += pause
        if at >= LETTER.expires - 4000:
            break
    assert pauses[:3] == [2, 4, 8]
    assert pauses[-1] == store.MAX_RETRY_S
    found = kept.look_up(sent.id)
    assert found is not None
    assert (found.tries, found.trouble) == (len(pauses), "it is full")
    kept.put_off([(sent.id, "")], at)
    kept.hasten([b"r" * 16])
    assert due(at) == 1


def test_what_a_relay_brought_goes_to_no_other_relay(kept: PostStore) -> None:
    kept.add([(made(1), True), (made(2), False)], NOW)
    to_relay = kept.due(b"r" * 16, NOW, limit=9, most=1 << 20, directly=False)
    assert [letter.id for letter in to_relay] == [made(2).id]
    assert len(kept.due(b"r" * 16, NOW, limit=9, most=1 << 20, directly=True)) == 2


def test_what_has_expired_is_swept_and_ids_are_forgotten_in_the_end(
    kept: PostStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, gone = made(1), made(2)
    kept.add([(sent, False), (gone, False)], NOW)
    kept.finish([gone.id], State.HANDED_ON)
    assert kept.sweep(LETTER.expires - 1) == 0
    assert kept.sweep(LETTER.expires) == 1
    found = kept.look_up(sent.id)
    assert found is not None
    assert found.state is State.EXPIRED
    assert (kept.bytes, kept.oldest()) == (0, None)
    assert kept.add([(sent, False)], LETTER.expires) == [State.EXPIRED]
    kept.sweep(LETTER.expires + store.REMEMBERED_S)
    assert kept.look_up(sent.id) is kept.look_up(gone.id) is None

    monkeypatch.setattr(store, "MAX_REMEMBERED", 3)
    many = [made(n) for n in range(10, 16)]
    kept.add([(each, False) for each in many], NOW)
    kept.finish([each.id for each in many[:5]], State.HANDED_ON)
    kept.sweep(NOW)
    left = [each for each in many if kept.look_up(each.id) is not None]
    assert left == many[2:]  # the newest three that are gone, and what waits


def test_a_full_disk_refuses_and_changes_nothing(kept: PostStore) -> None:
    kept.add([(made(1), False)], NOW)
    before = (kept.bytes, kept.waiting)
    pages = kept._database.execute("PRAGMA page_count").fetchone()[0]
    kept._database.execute(f"PRAGMA max_page_count={pages}")  # as SQLite sees a full disk
    with pytest.raises(NoRoom, match="full"):
        kept.add([(made(3), False), (made(2, content=bytes(60_000)), False)], NOW)
    assert (kept.bytes, kept.waiting) == before
    assert ids(kept) == [made(1).id]
    kept._database.execute("PRAGMA max_page_count=1000000")
    assert kept.add([(made(2, content=bytes(60_000)), False)], NOW) == [State.WAITING]


@pytest.mark.parametrize("damage", ["noise", "chain", "version"])
def test_a_file_that_is_not_ours_is_put_aside_and_numbers_still_grow(
    tmp_path: Path, damage: str
) -> None:
    first = PostStore(tmp_path, CHAIN, NOW)
    first.add([(made(1), False)], NOW)
    (before,) = first.letters(b"r" * 16, after=0, limit=1, most=1)
    if damage == "chain":
        first._database.execute("UPDATE chain SET id = x'00'")
    elif damage == "version":
        first._database.execute("PRAGMA user_version=99")
    first.close()
    path = tmp_path / store.FILE_NAME
    if damage == "noise":
        path.write_bytes(os.urandom(8192))
    second = PostStore(tmp_path, CHAIN, NOW + 1)
    assert Path(second.set_aside) == tmp_path / "post.damaged"
    second.add([(made(2), False)], NOW)
    (after,) = second.letters(b"r" * 16, after=0, limit=1, most=1)
    assert after.number > before.number
    assert (path.stat().st_mode & 0o777) == 0o600
    second.close()


def test_mailboxes_are_kept_one_for_each_member(kept: PostStore) -> None:
    kept.keep_mailbox(b"m" * 16, b"first")
    kept.keep_mailbox(b"m" * 16, b"second")
    kept.keep_mailbox(b"n" * 16, b"third")
    assert sorted(reopened(kept).mailboxes()) == [b"second", b"third"]


def test_nothing_that_was_answered_for_is_lost_by_kill_9(tmp_path: Path) -> None:
    """A process writes and says what is on the disk; it is killed while it goes on."""
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from node.post.store import PostStore, State
        from tests.node.post.test_store import CHAIN, NOW, made
        kept = PostStore(Path({str(tmp_path)!r}), CHAIN, NOW)
        number = 0
        while True:
            number += 1
            kept.add([(made(number), False)], NOW)
            if number % 3 == 0:
                kept.finish([made(number).id], State.HANDED_ON)
            print(number, flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 40:
                writer.send_signal(signal.SIGKILL)
                break
        said = 40 + len(writer.stdout.read().split())
    kept = PostStore(tmp_path, CHAIN, NOW)
    assert kept.set_aside == ""
    for number in range(1, said + 1):
        found = kept.look_up(made(number).id)
        assert found is not None, number
        assert found.state is (State.WAITING if number % 3 else State.HANDED_ON)
    kept.close()


def test_what_was_dropped_is_in_no_byte_of_the_file(kept: PostStore) -> None:
    secret = some_bytes("content") * 200
    sent = made(1, content=secret)
    kept.add([(sent, False), (made(2), False)], NOW)
    kept.finish([sent.id], State.COLLECTED)
    folder = kept._path.parent
    kept.close()
    assert all(secret[:32] not in path.read_bytes() for path in folder.iterdir())
    kept.__init__(folder, CHAIN, NOW)  # type: ignore[misc] # the fixture closes it


def test_a_file_that_cannot_be_written_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", fails)
    with pytest.raises(NoRoom, match="unable to open"):
        PostStore(tmp_path, CHAIN, NOW)


def test_nobody_but_its_recipient_has_an_envelope_forgotten(kept: PostStore) -> None:
    sent = made(1)
    kept.add([(sent, False)], NOW)
    assert kept.collect([sent.id, b"u" * 32], b"q" * 16) == [sent.id, b"u" * 32]
    assert ids(kept) == [sent.id]
    assert kept.collect([sent.id], b"r" * 16) == []
    assert ids(kept) == []
    assert kept.collect([sent.id], b"r" * 16) == []
