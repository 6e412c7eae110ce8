"""Two files are one vault: at every death, on a full disk, at once, and when one is put back."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from nacl.pwhash import argon2id

from node.client import inventory, migration
from node.client.aead import NotOpened
from node.client.errors import (
    ClientError,
    DiskFull,
    KeyringMissing,
    NotReadable,
    VaultLocked,
    WrongKey,
)
from node.client.unlocking import Passphrase, Unlock
from node.client.vault import Kind, Vault
from node.client.vault_files import VaultFiles
from tests.crashes.killed import can_kill, deaths
from tests.node.client import vault_of_version_1

KEY = bytes(range(32))
OLD = [(Kind.CLAIM, b"one" * 50, "F-1"), (Kind.PRESCRIPTION, b"two" * 50, "ORD-1")]
killing = pytest.mark.skipif(not can_kill(), reason="no child may be traced here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "vault.sqlite"


@pytest.fixture
def fast() -> Iterator[Path]:
    """A vault in memory, where there is such a disk: thousands of syncs cost nothing there."""
    shared = Path("/dev/shm")  # noqa: S108
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        home = Path(folder, "home")
        home.mkdir()
        yield home / "vault.sqlite"


def keyring(path: Path) -> Path:
    return path.with_suffix(".keys")


def fill(path: Path) -> None:
    with Vault(path, KEY) as vault, vault.changes():
        for number in range(4):
            vault.add(Kind.CLAIM, b"content %d" % number, [f"F-{number}"])


def contents(path: Path) -> dict[str, bytes]:
    """Return what is found, by name; every record is read."""
    with Vault(path, KEY) as vault:
        everything = dict(vault.all(Kind.CLAIM))
        found = {name: vault.find(Kind.CLAIM, name) for name in ("F-0", "F-1", "F-2", "F-3", "F-9")}
        assert len(everything) == sum(each is not None for each in found.values())
        return {name: each[1] for name, each in found.items() if each}


def add(path: Path) -> None:
    with Vault(path, KEY) as vault, vault.changes():
        vault.add(Kind.CLAIM, b"added", ["F-9"])


def erase(path: Path) -> None:
    with Vault(path, KEY) as vault:
        with vault.changes():
            found = vault.find(Kind.CLAIM, "F-2")
            assert found
            vault.erase(found[0])
        vault.rotate()


@killing
@pytest.mark.parametrize("act", [add, erase])
def test_whoever_is_killed_leaves_all_of_a_commit_or_nothing(
    fast: Path, act: Callable[[Path], None]
) -> None:
    path = fast
    fill(path)
    before, after = contents(path), contents(path)
    if act is add:
        after["F-9"] = b"added"
    else:
        del after["F-2"]
    as_it_was = {each: each.read_bytes() for each in (path, keyring(path))}
    seen, torn = [], 0

    def prepare() -> None:
        for each in path.parent.iterdir():
            each.unlink()
        for each, content in as_it_was.items():
            each.write_bytes(content)

    for number in deaths(prepare, lambda: act(path), every=1 if act is add else 5):
        changed = [each.read_bytes() != content for each, content in as_it_was.items()]
        torn += changed == [True, False]  # killed between both files
        seen.append(contents(path))
        assert seen[-1] in (before, after), number
    assert seen[0] == before
    assert seen[-1] == after
    assert seen == sorted(seen, key=lambda each: each == after)  # one moment is the commit
    assert torn, "none was killed between the two files: nothing was shown"


@killing
def test_a_new_vault_is_whole_or_empty_wherever_it_is_killed(fast: Path) -> None:
    path = fast

    def prepare() -> None:
        shutil.rmtree(path.parent)
        path.parent.mkdir()

    count = 0
    for count in deaths(prepare, lambda: Vault(path, KEY).close(), every=3):  # noqa: B007
        add(path)
        assert contents(path) == {"F-9": b"added"}
    assert count > 10


def old(path: Path) -> None:
    vault_of_version_1.write(path, KEY, OLD)


def require_moved(path: Path) -> None:
    with Vault(path, KEY) as vault:
        assert vault.find(Kind.CLAIM, "F-1") == (1, OLD[0][1])
        assert vault.find(Kind.PRESCRIPTION, "ORD-1") == (2, OLD[1][1])
        assert [number for number, _ in vault.all(Kind.CLAIM)] == [1]
        with vault.changes():
            assert vault.add(Kind.CLAIM, b"new", ["F-2"]) == 3


def test_a_vault_of_version_1_becomes_one_of_version_2(path: Path) -> None:
    old(path)
    (wrapped,) = sqlite3.connect(path).execute("SELECT key FROM record").fetchone()
    require_moved(path)
    assert wrapped not in path.read_bytes()
    assert wrapped not in keyring(path).read_bytes()


def test_a_vault_of_version_1_opens_to_its_passphrase(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argon2id, "OPSLIMIT_MODERATE", 1)
    monkeypatch.setattr(argon2id, "MEMLIMIT_MODERATE", 8192)
    salt = bytes(range(16, 32))
    vault_of_version_1.write(path, argon2id.kdf(32, b"monture", salt, 1, 8192), OLD)
    for wrong in (Passphrase("verre"), KEY):
        with pytest.raises(WrongKey):
            Vault(path, wrong)
    Vault(path, Passphrase("monture")).close()
    with Vault(path, Passphrase("monture")) as vault:
        assert vault.find(Kind.CLAIM, "F-1") == (1, OLD[0][1])


@pytest.mark.parametrize("step", ["from_version_1", "_master"])
def test_who_comes_to_migrate_too_late_opens_what_the_other_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old(path)
    real = getattr(migration, step)

    def late(files: VaultFiles, unlock: Unlock, *heading: bytes) -> object:
        monkeypatch.setattr(migration, step, real)
        Vault(path, KEY).close()  # another command, after ours had read the version
        return real(files, unlock, *heading)

    monkeypatch.setattr(migration, step, late)
    require_moved(path)


def test_a_vault_of_version_1_takes_no_keyring_that_stands(path: Path) -> None:
    """Somebody put an old copy in the place of a vault that had become one of version 2."""
    fill(path)
    old(path.with_name("old.sqlite"))
    path.with_name("old.sqlite").replace(path)
    before = keyring(path).read_bytes()
    with pytest.raises(NotReadable, match="is a vault of version 1, and the keyring"):
        Vault(path, KEY)
    assert keyring(path).read_bytes() == before
    keyring(path).rename(path.with_name("elsewhere"))
    require_moved(path)


@killing
def test_a_migration_that_is_killed_leaves_a_vault_that_opens(fast: Path) -> None:
    path = fast

    def prepare() -> None:
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        old(path)

    count = 0
    for count in deaths(prepare, lambda: Vault(path, KEY).close(), every=6):  # noqa: B007
        require_moved(path)
    assert count > 20


def add_much(vault: Vault) -> None:
    with vault.changes():
        for number in range(400):
            vault.add(Kind.CLAIM, os.urandom(1000), [f"G-{number}"])


def test_a_full_disk_loses_nothing_and_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "none", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        path = disk / "vault.sqlite"
        fill(path)
        before = contents(path)
        with Vault(path, KEY) as vault:
            with pytest.raises(DiskFull) as refusal:
                add_much(vault)
            assert str(path) in str(refusal.value)
            with vault.changes():  # it goes on with what fits
                vault.add(Kind.CLAIM, b"added", ["F-9"])
        assert contents(path) == before | {"F-9": b"added"}
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("schema", ["main", "keyring"])
def test_either_file_may_be_the_one_without_room(path: Path, schema: str) -> None:
    fill(path)
    before = contents(path)
    with Vault(path, KEY) as vault:
        database = vault.files.database
        (pages,) = database.execute(f"PRAGMA {schema}.page_count").fetchone()
        database.execute(f"PRAGMA {schema}.max_page_count = {pages}").fetchall()
        with pytest.raises(DiskFull):
            add_much(vault)
        assert vault.find(Kind.CLAIM, "F-1") is not None
    assert contents(path) == before


WRITER = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from node.client.vault import Kind, Vault
path, who = Path(sys.argv[1]), sys.argv[2]
for number in range(12):
    with Vault(path, bytes(range(32))) as vault:
        with vault.changes():
            kept = vault.add(Kind.CLAIM, b"x" * 300, [f"{who}-{number}"])
            vault.add(Kind.CLAIM, b"passes", [f"{who}-gone-{number}"])
        found = vault.find(Kind.CLAIM, f"{who}-gone-{number}")
        with vault.changes():
            vault.erase(found[0])
        if number % 4 == 0:
            vault.rotate()
        assert vault.read(kept) == b"x" * 300
"""


def test_processes_that_write_and_rotate_at_once_lose_nothing(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, who], stderr=subprocess.PIPE)
        for who in ("a", "b")
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said.decode()
    with Vault(path, KEY) as vault:
        assert len(list(vault.all(Kind.CLAIM))) == 24
        assert all(vault.find(Kind.CLAIM, f"{who}-11") for who in "ab")
        assert not vault.find(Kind.CLAIM, "a-gone-3")


def test_an_open_vault_follows_the_rotation_of_another(path: Path) -> None:
    fill(path)
    with Vault(path, KEY) as one, Vault(path, KEY) as other:
        assert other.rotate().rewrapped == 4
        assert one.find(Kind.CLAIM, "F-1") is not None
        with one.changes():
            one.add(Kind.CLAIM, b"added", ["F-9"])
        assert other.find(Kind.CLAIM, "F-9") is not None


def leave_in_a_page(path: Path, content: bytes) -> None:
    """Let a file hold what a table does not: SQLite moves rows, and overwrites what it deletes."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA secure_delete = OFF")
    database.execute("CREATE TABLE passing (content BLOB)")
    database.execute("INSERT INTO passing VALUES (?)", (content,))
    database.commit()
    database.execute("DROP TABLE passing")
    database.commit()
    database.close()
    assert content[:72] in path.read_bytes()


def test_a_rotation_leaves_nothing_in_the_pages_of_a_keyring(path: Path) -> None:
    fill(path)
    left = os.urandom(72)
    leave_in_a_page(keyring(path), left)
    with Vault(path, KEY) as vault:
        assert vault.rotate().is_swept
    assert left not in keyring(path).read_bytes()
    assert len(contents(path)) == 4


def test_a_migration_leaves_nothing_in_the_pages_of_an_old_vault(path: Path) -> None:
    old(path)
    left = [os.urandom(72) for _ in range(500)]  # more pages than the new tables take
    leave_in_a_page(path, b"".join(left))
    require_moved(path)
    data = path.read_bytes()
    assert not any(each in data for each in left)


def test_the_old_key_opens_nothing_in_a_keyring_that_was_rotated(path: Path) -> None:
    fill(path)
    with Vault(path, KEY) as vault:
        old_key = vault._keyring._key
        vault.rotate()
        ring = vault._keyring
        uids = sqlite3.connect(keyring(path)).execute("SELECT uid, wrapped FROM key").fetchall()
        assert len(uids) == 4
        for uid, wrapped in uids:
            assert ring.unwrap(uid, wrapped)
        ring._key = old_key
        for uid, wrapped in uids:
            with pytest.raises(NotOpened):
                ring.unwrap(uid, wrapped)


def test_what_could_not_be_swept_is_swept_by_the_next_to_open_it(path: Path) -> None:
    fill(path)
    with Vault(path, KEY) as vault, Vault(path, KEY) as reader:
        vault.files.database.execute("PRAGMA busy_timeout = 1")
        rows = reader.files.database.execute("SELECT hash FROM keyring.name, record")
        with pytest.raises(VaultLocked):  # while another reads nothing is written
            vault.rotate()
        rows.close()
        real = vault._sweep
        vault._sweep = lambda: False  # type: ignore[method-assign]
        assert not vault.rotate().is_swept
        vault._sweep = real  # type: ignore[method-assign]
        assert not inventory.take(vault).is_swept
    with Vault(path, KEY) as vault:
        assert inventory.take(vault).is_swept


def test_an_old_keyring_opens_nothing_that_was_written_after_a_rotation(path: Path) -> None:
    fill(path)
    shutil.copy(keyring(path), path.parent / "copied")
    erase(path)
    new = keyring(path).read_bytes()
    database = sqlite3.connect(path.parent / "copied")
    for (wrapped,) in database.execute(
        "SELECT wrapped FROM key UNION SELECT vault_key FROM way UNION SELECT own_key FROM way"
        " UNION SELECT names FROM heading"
    ):
        assert wrapped not in new


def test_a_rotation_that_fails_leaves_the_key_that_was(path: Path) -> None:
    fill(path)
    with Vault(path, KEY) as vault:

        def fail(_done: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            vault.rotate(fail)
        assert vault.find(Kind.CLAIM, "F-1") is not None
        with vault.changes():
            vault.add(Kind.CLAIM, b"added", ["F-9"])
    assert len(contents(path)) == 5


def _remove(path: Path) -> None:
    keyring(path).unlink()


def _damage(path: Path) -> None:
    keyring(path).write_bytes(os.urandom(8192))


def _empty(path: Path) -> None:
    keyring(path).write_bytes(b"")


def _another(path: Path) -> None:
    fill(path.parent / "other.sqlite")
    shutil.copy(path.parent / "other.keys", keyring(path))


def _older_keys(path: Path) -> None:
    copy = keyring(path).read_bytes()
    add(path)
    keyring(path).write_bytes(copy)


def _older_data(path: Path) -> None:
    copy = path.read_bytes()
    add(path)
    path.write_bytes(copy)


def _data_gone(path: Path) -> None:
    path.unlink()


def _data_empty(path: Path) -> None:
    path.write_bytes(b"")


def _the_data_itself(path: Path) -> None:
    shutil.copy(path, keyring(path))


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (_remove, KeyringMissing, "is missing, the keyring of"),
        (_empty, KeyringMissing, "is missing, the keyring of"),
        (_damage, NotReadable, "vault.keys is no keyring, or is damaged"),
        (_another, NotReadable, "is the keyring of another vault"),
        (_older_keys, NotReadable, "vault.keys is older than its other half"),
        (_older_data, NotReadable, "vault.sqlite is older than its other half"),
        (_data_gone, NotReadable, "vault.sqlite is gone, and its keyring"),
        (_data_empty, NotReadable, "vault.sqlite is gone, and its keyring"),
        (_the_data_itself, NotReadable, "vault.keys is no keyring"),
    ],
)
def test_a_half_that_is_not_the_other_says_what_to_do(
    path: Path, spoil: Callable[[Path], None], error: type[ClientError], says: str
) -> None:
    fill(path)
    spoil(path)
    left = {each: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(error) as refusal:
        Vault(path, KEY)
    assert says in str(refusal.value)
    assert "depoli vault restore" in refusal.value.hint or "put the right one" in refusal.value.hint
    assert left == {each: each.read_bytes() for each in path.parent.iterdir()}
