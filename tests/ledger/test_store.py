"""The store: two engines, one behaviour, and nothing that is damaged passes for true."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import store
from ledger.errors import Mismatch, StoreDamaged, StoreLocked
from ledger.lock import DirectoryLock
from ledger.store import Store, open_store
from tests.ledger.examples import disk_full_at

needs_plyvel = pytest.mark.skipif(find_spec("plyvel") is None, reason="plyvel has no wheel here")
ENGINES: Final = [pytest.param("leveldb", marks=needs_plyvel), "sqlite"]
each_engine = pytest.mark.parametrize("engine", ENGINES)

keys = st.binary(max_size=3) | st.lists(st.sampled_from([0, 1, 254, 255]), max_size=4).map(bytes)
changes = st.dictionaries(keys, st.none() | st.binary(max_size=20), max_size=12)

Open = Callable[[], Store]


@pytest.fixture(params=ENGINES)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return what closes the store, if it is open, and opens it."""
    held: list[Store] = []

    def again() -> Store:
        while held:
            held.pop().close()
        held.append(open_store(tmp_path / "state", request.param, write_buffer_bytes=1 << 20))
        return held[0]

    yield again
    while held:
        held.pop().close()


def test_what_was_written_is_read_and_stays(reopen: Open) -> None:
    kept = reopen()
    assert kept.get(b"key") is None
    kept.write({b"key": b"value", b"": b"empty key", b"empty value": b"", b"gone": b"soon"})
    kept.write({b"key": b"another", b"gone": None, b"never there": None})
    for _ in range(2):
        expected = [(b"", b"empty key"), (b"empty value", b""), (b"key", b"another")]
        assert kept.scan(b"", 10) == expected
        assert [kept.get(key) for key, _ in expected] == [value for _, value in expected]
        assert kept.get(b"gone") is None
        assert isinstance(kept.get(b"empty value"), bytes)
        kept = reopen()
    kept.write({})


def test_a_scan_ends_with_the_prefix_the_limit_or_the_last_key(reopen: Open) -> None:
    kept = reopen()
    every = [b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\x00", b"\xff\xff"]
    kept.write({key: b"of " + key for key in every})

    def found(prefix: bytes, limit: int = 99, after: bytes = b"") -> list[bytes]:
        pairs = kept.scan(prefix, limit, after=after)
        assert all(value == b"of " + key for key, value in pairs)
        return [key for key, _ in pairs]

    assert found(b"") == every
    assert found(b"a") == every[:4]
    assert found(b"a\xff") == every[2:4]
    assert found(b"\xff") == every[5:]
    assert found(b"\xff\xff") == every[7:]
    assert found(b"c") == []
    assert found(b"a", 2) == every[:2]
    assert found(b"a", 2, b"a\x00") == every[2:4]
    assert found(b"a", 99, b"a") == every[1:4]
    assert found(b"a", 99, b"A") == every[:4]
    assert found(b"a", 99, b"a\x00\x00") == every[2:4]
    assert found(b"a", 99, b"b") == []
    assert found(b"", 99, b"\xff\xff") == []
    assert found(b"", 99, b"a") == every[1:]
    assert found(b"", 0) == found(b"", -1) == []


@each_engine
@settings(max_examples=max(10, settings().max_examples // 4))
@given(batches=st.lists(changes, max_size=4), prefix=keys, after=keys, limit=st.integers(0, 9))
def test_it_does_what_a_sorted_dictionary_does(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,
    batches: list[dict[bytes, bytes | None]],
    prefix: bytes,
    after: bytes,
    limit: int,
) -> None:
    kept = open_store(tmp_path_factory.mktemp("state"), engine, write_buffer_bytes=1 << 16)
    model: dict[bytes, bytes] = {}
    for batch in batches:
        kept.write(batch)
        merged = model | batch
        model = {key: value for key, value in merged.items() if value is not None}
    pairs = sorted(model.items())
    assert kept.scan(b"", 99) == pairs
    wanted = [pair for pair in pairs if pair[0].startswith(prefix)]
    assert kept.scan(prefix, limit) == wanted[:limit]
    behind = [pair for pair in wanted if pair[0] > after]
    assert kept.scan(prefix, limit, after=after) == (behind if after else wanted)[:limit]
    for batch in batches:
        assert all(kept.get(key) == model.get(key) for key in batch)
    kept.close()


def test_a_batch_that_cannot_be_written_leaves_nothing(reopen: Open) -> None:
    kept = reopen()
    kept.write({b"a": b"old"})
    broken: Any = {b"a": b"new", b"b": object()}
    with pytest.raises(Exception, match=r"."):
        kept.write(broken)
    assert kept.scan(b"", 9) == [(b"a", b"old")]
    kept.write({b"a": None})
    assert kept.scan(b"", 9) == []


def test_readers_see_a_batch_whole_or_not_at_all(reopen: Open) -> None:
    kept = reopen()
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                values = {value for _, value in kept.scan(b"k", 50)}
                if len(values) > 1:
                    wrong.append(values)
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(200):
        kept.write({b"k%02d" % key: b"%d" % number for key in range(50)})
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert kept.get(b"k07") == b"199"


def test_a_view_stays_as_it_was_while_others_write(reopen: Open) -> None:
    kept = reopen()
    empty = kept.view()
    kept.write({b"k%03d" % number: b"old" for number in range(300)})
    view = kept.view()
    kept.write({b"k%03d" % number: b"new" for number in range(0, 400, 2)})
    kept.write({b"k001": None, b"another": b"new"})
    assert empty.scan(b"", 9) == []
    assert view.scan(b"", 999) == [(b"k%03d" % number, b"old") for number in range(300)]
    assert view.scan(b"k1", 2, after=b"k100") == [(b"k101", b"old"), (b"k102", b"old")]
    assert (view.get(b"k001"), view.get(b"another")) == (b"old", None)
    assert (kept.get(b"k001"), kept.get(b"k000")) == (None, b"new")
    for each in (view, empty):
        each.close()
    assert kept.view().get(b"another") == b"new"


def test_a_view_is_read_in_another_thread_than_the_one_that_writes(reopen: Open) -> None:
    kept = reopen()
    kept.write({b"k%02d" % key: b"first" for key in range(50)})
    view = kept.view()
    seen: list[set[bytes]] = []
    reader = threading.Thread(
        target=lambda: seen.extend({v for _, v in view.scan(b"k", 50)} for _ in range(50))
    )
    reader.start()
    for number in range(50):
        kept.write({b"k%02d" % key: b"%d" % number for key in range(50)})
    reader.join()
    assert seen == [{b"first"}] * 50
    view.close()


@each_engine
def test_a_store_is_open_once(tmp_path: Path, engine: str) -> None:
    kept = open_store(tmp_path, engine)
    with pytest.raises(StoreLocked):
        open_store(tmp_path)
    kept.close()
    open_store(tmp_path).close()


OPENED: Final = """
import sys
from pathlib import Path
import plyvel
from ledger.errors import StoreLocked
from ledger.store import open_store
path = Path(sys.argv[1])
try:
    open_store(path)
    print("ours opened")
except StoreLocked:
    print("ours refused")
try:
    plyvel.DB(str(path / "leveldb"))
    print("LevelDB opened")
except plyvel.IOError:
    print("LevelDB refused")
"""


def test_our_lock_holds_where_that_of_leveldb_fails_open(tmp_path: Path) -> None:
    """It locks by fcntl: a second open that fails closes the file, and the lock is gone with it."""

    def another_process() -> list[str]:
        command = [sys.executable, "-c", OPENED, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    plyvel = pytest.importorskip("plyvel")
    kept = open_store(tmp_path, "leveldb")
    assert another_process() == ["ours refused", "LevelDB refused"]
    with pytest.raises(plyvel.IOError, match="lock"):
        plyvel.DB(str(tmp_path / "leveldb"))
    assert another_process() == ["ours refused", "LevelDB opened"]
    with pytest.raises(StoreLocked):
        open_store(tmp_path)
    assert another_process()[0] == "ours refused"  # a failed second open of ours changes nothing
    kept.close()


@needs_plyvel
def test_the_engine_that_is_there_is_taken_and_another_refused(tmp_path: Path) -> None:
    for engine, other in (("leveldb", "sqlite"), ("sqlite", "leveldb")):
        kept = open_store(tmp_path / engine, engine)
        kept.write({b"key": engine.encode()})
        kept.close()
        with pytest.raises(Mismatch, match=f"engine of the store: expected {other}"):
            open_store(tmp_path / engine, other)
        kept = open_store(tmp_path / engine)
        assert kept.get(b"key") == engine.encode()
        kept.close()


@needs_plyvel
def test_leveldb_is_taken_where_there_is_a_choice(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    assert (tmp_path / "leveldb").is_dir()


def test_without_plyvel_sqlite_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "plyvel", None)
    open_store(tmp_path / "new").close()
    assert (tmp_path / "new" / "sqlite").is_dir()
    (tmp_path / "old" / "leveldb").mkdir(parents=True)
    with pytest.raises(Mismatch, match="expected leveldb, found no plyvel here"):
        open_store(tmp_path / "old")
    with pytest.raises(Mismatch):
        open_store(tmp_path / "other", "leveldb")


def test_an_engine_that_nobody_knows_is_a_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        open_store(tmp_path, "rocksdb")


def _fill(path: Path, engine: str) -> dict[bytes, bytes]:
    content = {b"%06d" % n: b"value %06d" % n * 10 for n in range(3_000)}
    for _ in range(2):  # at the second opening LevelDB moves its log into a table
        kept = open_store(path, engine)
        kept.write(content)
        kept.close()
    return content


def _read_all(path: Path, content: dict[bytes, bytes]) -> None:
    """Raise `StoreDamaged`, or assert that whatever is read is right."""
    kept = open_store(path)
    try:
        for key, value in content.items():
            assert kept.get(key) == value
        assert kept.scan(b"", len(content) + 1) == sorted(content.items())
    finally:
        kept.close()


@needs_plyvel
def test_a_table_of_leveldb_that_was_damaged_is_refused(tmp_path: Path) -> None:
    content = _fill(tmp_path, "leveldb")
    _read_all(tmp_path, content)
    tables = sorted((tmp_path / "leveldb").glob("*.ldb"))
    assert tables
    for table in tables:
        data = bytearray(table.read_bytes())
        for at in range(100, len(data) - 100, 97):
            data[at] ^= 0xFF
        table.write_bytes(data)
    with pytest.raises(StoreDamaged) as refused:
        _read_all(tmp_path, content)
    assert refused.value.path == str(tmp_path / "leveldb")
    DirectoryLock(tmp_path).release()


@needs_plyvel
def test_a_leveldb_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    content = _fill(tmp_path, "leveldb")
    for table in (tmp_path / "leveldb").glob("*.ldb"):
        table.unlink()
    with pytest.raises((StoreDamaged, OSError)):
        _read_all(tmp_path, content)
    DirectoryLock(tmp_path).release()


def test_an_sqlite_that_was_damaged_is_refused(tmp_path: Path) -> None:
    content = _fill(tmp_path, "sqlite")
    _read_all(tmp_path, content)
    path = tmp_path / "sqlite" / "store.sqlite"
    whole = path.read_bytes()
    pages = bytearray(whole)
    for at in range(4096, len(pages), 4096):
        pages[at : at + 100] = b"\xff" * 100
    for data in (b"this is no database at all" * 40, bytes(pages)):
        path.write_bytes(data)
        with pytest.raises(StoreDamaged) as refused:
            _read_all(tmp_path, content)
        assert refused.value.path == str(path)
        DirectoryLock(tmp_path).release()


@each_engine
def test_a_disk_that_is_full_is_an_error_of_the_system(tmp_path: Path, engine: str) -> None:
    kept = open_store(tmp_path, engine)
    kept.write({b"before": b"the limit"})
    with disk_full_at(1 << 20), pytest.raises(OSError, match=r"(?i)large|full|disk") as refused:
        kept.write({b"%d" % number: bytes(1 << 16) for number in range(64)})
    assert str(refused.value.filename).startswith(str(tmp_path / engine))
    kept.close()
    kept = open_store(tmp_path)
    assert kept.get(b"before") == b"the limit"
    kept.close()


KILLED: Final = """
import sys
from pathlib import Path
from ledger.store import open_store
kept = open_store(Path(sys.argv[1]), sys.argv[2], write_buffer_bytes=1 << 16)
number = int(kept.get(b"number") or b"0")
while True:
    number += 1
    kept.write({b"number": b"%d" % number, b"k%d" % (number % 50): b"%d" % number * 500})
    print(number, flush=True)
"""


@each_engine
def test_a_killed_writer_leaves_whole_batches(tmp_path: Path, engine: str) -> None:
    told = 0
    for kill in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), engine], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(20 + 60 * kill):
                told = int(writer.stdout.readline())
            writer.kill()
            writer.wait()
        kept = open_store(tmp_path)
        number = int(kept.get(b"number") or b"0")
        assert number >= told  # a killed process loses nothing, a power cut may
        for one in range(max(1, number - 49), number + 1):
            assert kept.get(b"k%d" % (one % 50)) == b"%d" % one * 500
        kept.close()


@pytest.mark.parametrize("value", ["text", 7, 1.5])
def test_an_sqlite_whose_bytes_became_something_else_is_damaged(
    tmp_path: Path, value: object
) -> None:
    """A bit of the type of a value, which sqlite itself does not notice."""
    _fill(tmp_path, "sqlite")
    database = sqlite3.connect(tmp_path / "sqlite" / "store.sqlite")
    database.execute("UPDATE pairs SET value = ?", (value,))
    database.commit()
    (key,) = database.execute("SELECT key FROM pairs").fetchone()
    database.close()
    with contextlib.closing(open_store(tmp_path)) as kept:
        with pytest.raises(StoreDamaged, match="something else than bytes"):
            kept.get(key)
        with pytest.raises(StoreDamaged, match="something else than bytes"):
            kept.scan(b"", 10)
