"""The vault keeps, finds and erases; nothing readable stands in its file."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.pwhash import argon2id

from node.client import vault_files
from node.client.errors import NotReadable, VaultDamaged, VaultLocked, WrongKey
from node.client.unlocking import Passphrase
from node.client.vault import Kind, Vault

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault.sqlite"


def test_what_is_kept_is_found_after_closing(path: Path) -> None:
    with Vault(path, KEY) as vault, vault.changes():
        number = vault.add(Kind.CLAIM, b"one", ["F-1", "id"])
        vault.name(number, Kind.CLAIM, ["later"])
    with Vault(path, KEY) as vault:
        assert vault.find(Kind.CLAIM, "F-1") == vault.find(Kind.CLAIM, "later") == (number, b"one")
        assert vault.find(Kind.PRESCRIPTION, "F-1") is None
        with vault.changes():
            vault.replace(number, b"two")
        assert list(vault.all(Kind.CLAIM)) == [(number, b"two")]


def test_nothing_readable_stands_in_the_file(path: Path) -> None:
    with Vault(path, KEY) as vault, vault.changes():
        vault.add(Kind.CLAIM, b"a content to look for", ["a-name-to-look-for"])
    data = path.read_bytes() + path.with_suffix(".keys").read_bytes()
    assert b"content to look" not in data
    assert b"name-to-look" not in data
    assert KEY not in data


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_only_its_owner_reads_the_file(path: Path) -> None:
    Vault(path, KEY).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".keys").stat().st_mode & 0o777 == 0o600


def test_what_another_process_erases_while_it_is_looked_for_is_not_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Vault(path, KEY) as one, Vault(path, KEY) as other:
        with one.changes():
            number = one.add(Kind.CLAIM, b"one", ["F-1"])
        read = one.read

        def late(wanted: int) -> bytes:
            with other.changes():
                other.erase(number)
            return read(wanted)

        monkeypatch.setattr(one, "read", late)
        assert one.find(Kind.CLAIM, "F-1") is None


def test_a_record_that_is_erased_leaves_nothing(path: Path) -> None:
    with Vault(path, KEY) as vault:
        with vault.changes():
            number = vault.add(Kind.CLAIM, b"x" * 500, ["F-1"])
        (sealed,) = sqlite3.connect(path).execute("SELECT content FROM record").fetchone()
        with vault.changes():
            vault.erase(number)
        assert vault.find(Kind.CLAIM, "F-1") is None
        with pytest.raises(KeyError):
            vault.read(number)
    assert sealed[:32] not in path.read_bytes()


def test_what_fails_leaves_nothing_half_written(path: Path) -> None:
    with Vault(path, KEY) as vault:
        with contextlib.suppress(ZeroDivisionError), vault.changes():
            vault.add(Kind.CLAIM, b"x", ["F-1"])
            raise ZeroDivisionError
        assert vault.find(Kind.CLAIM, "F-1") is None


def test_another_key_opens_nothing(path: Path) -> None:
    Vault(path, KEY).close()
    with pytest.raises(WrongKey) as refusal:
        Vault(path, bytes(32))
    assert "key file" in str(refusal.value)


def test_a_passphrase_opens_what_it_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2id, "OPSLIMIT_MODERATE", 1)  # the cost is not the point here
    monkeypatch.setattr(argon2id, "MEMLIMIT_MODERATE", 8192)
    with Vault(path, Passphrase("monture")) as vault, vault.changes():
        vault.add(Kind.CLAIM, b"x", ["F-1"])
    with Vault(path, Passphrase("monture")) as vault:
        assert vault.find(Kind.CLAIM, "F-1") is not None
    with pytest.raises(WrongKey):
        Vault(path, Passphrase("verre"))
    assert "monture" not in repr(Passphrase("monture"))


def test_who_writes_meanwhile_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_files, "BUSY_S", 0.01)
    with Vault(path, KEY) as one, Vault(path, KEY) as other, one.changes():
        attempt = other.changes()
        with pytest.raises(VaultLocked):
            attempt.__enter__()


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\x00" + bytes(5000)])
def test_another_file_is_no_vault(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(NotReadable):
        Vault(path, KEY)


def test_another_database_is_no_vault(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.close()
    with pytest.raises(NotReadable):
        Vault(path, KEY)


def test_a_vault_of_a_later_version_says_so(path: Path) -> None:
    Vault(path, KEY).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 3")
    database.commit()
    database.close()
    with pytest.raises(NotReadable) as refusal:
        Vault(path, KEY)
    assert "version 3" in str(refusal.value)


@pytest.mark.parametrize("column", ["key", "content", "uid", "kind"])
def test_a_record_put_in_the_place_of_another_is_noticed(path: Path, column: str) -> None:
    with Vault(path, KEY) as vault, vault.changes():
        number = vault.add(Kind.CLAIM, b"one", ["1"])
        vault.add(Kind.PRESCRIPTION, b"two", ["2"])
    data, keys = sqlite3.connect(path), sqlite3.connect(path.with_suffix(".keys"))
    if column == "key":
        (uid, _), (_, other) = keys.execute("SELECT uid, wrapped FROM key").fetchall()
        keys.execute("UPDATE key SET wrapped = ?", (other,))
        (number,) = data.execute("SELECT number FROM record WHERE uid = ?", (uid,)).fetchone()
    else:
        query = f"SELECT {column} FROM record WHERE number = 2"  # noqa: S608
        (other,) = data.execute(query).fetchone()
        if column == "uid":
            data.execute("DELETE FROM record WHERE number = 2")
        data.execute(f"UPDATE record SET {column} = ? WHERE number = 1", (other,))  # noqa: S608
    for database in (data, keys):
        database.commit()
        database.close()
    with Vault(path, KEY) as vault, pytest.raises(VaultDamaged):
        vault.read(number)


@settings(max_examples=25, deadline=None)  # a commit waits for the disk
@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=64)), max_size=8))
def test_a_vault_is_a_map(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, bytes]]
) -> None:
    model: dict[str, bytes] = {}
    with Vault(tmp_path_factory.mktemp("v") / "v", KEY) as vault:
        with vault.changes():
            for name, content in pairs:
                if (found := vault.find(Kind.RECEIVED, name)) is None:
                    vault.add(Kind.RECEIVED, content, [name])
                else:
                    vault.replace(found[0], content)
                model[name] = content
        for name, content in model.items():
            found = vault.find(Kind.RECEIVED, name)
            assert found is not None
            assert found[1] == content


def test_what_was_renewed_is_found_as_before_and_its_old_content_in_no_backup(
    path: Path, tmp_path: Path
) -> None:
    with Vault(path, KEY) as vault:
        with vault.changes():
            number = vault.add(Kind.CLAIM, b"before", ["F-1", "id"])
            other = vault.add(Kind.CLAIM, b"other", ["F-2"])
        old = tmp_path / "old.sqlite"
        shutil.copy(path, old)
        with vault.changes():
            vault.renew(number, b"after")
        vault.rotate()
        assert vault.find(Kind.CLAIM, "F-1") == vault.find(Kind.CLAIM, "id") == (number, b"after")
        with pytest.raises(KeyError), vault.changes():
            vault.renew(99, b"none")
        keyring = vault.files.keyring
    with sqlite3.connect(keyring) as database:
        (edition,) = database.execute("SELECT edition FROM heading").fetchone()
    with sqlite3.connect(old) as database:  # as a restoration makes it
        database.execute("UPDATE heading SET edition = ?", (edition,))
    with Vault(old, KEY, keyring) as restored:
        assert list(restored.all(Kind.CLAIM)) == [(other, b"other")]
