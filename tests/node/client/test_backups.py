"""What was erased does not come back from a backup; a dead disk loses nothing that was not."""

import os
import shutil
import sqlite3
from itertools import chain
from pathlib import Path

import pytest

from node.client import backups, inventory, keyring_copies
from node.client.aead import NotOpened, decrypt
from node.client.backups import InTheWay, Restored
from node.client.errors import (
    DiskFull,
    KeyringMissing,
    NotReadable,
    VaultDamaged,
    WrongKey,
)
from node.client.keyring_copies import State
from node.client.unlocking import Key
from node.client.vault import Kind, Vault
from tests.crashes.killed import deaths
from tests.node.client.test_vault_files import fast, killing

KEY = Key(bytes(range(32)))
CANARY = b"a content that is to be forgotten"

__all__ = ["fast"]  # a fixture


class Shop:
    """A vault, a disk for backups of its data, and a stick for copies of its keyring."""

    def __init__(self, folder: Path) -> None:
        self.home, self.disk, self.stick = (folder / name for name in ("home", "disk", "stick"))
        self.home.mkdir()
        self.path, self.keys = self.home / "vault.sqlite", self.home / "vault.keys"
        with self.vault() as vault, vault.changes():
            for number in range(5):
                vault.add(Kind.CLAIM, b"content %d" % number, [f"F-{number}"])
            vault.add(Kind.PRESCRIPTION, CANARY, ["ORD-1"])

    def vault(self) -> Vault:
        return Vault(self.path, KEY)

    def backup(self) -> None:
        with self.vault() as vault:
            made = backups.backup(vault, self.disk, self.stick)
        assert made.keyring == self.stick / "vault.keys"

    def restore(self, **options: object) -> Restored:
        given = {"data": self.disk / "vault.sqlite", "keys": None, "replaces": True} | options
        return backups.restore(self.path, self.keys, KEY, **given)  # type: ignore[arg-type]

    def erase(self) -> None:
        with self.vault() as vault:
            found = vault.find(Kind.PRESCRIPTION, "ORD-1")
            assert found
            with vault.changes():
                vault.erase(found[0])
            vault.rotate()

    def names(self) -> list[str]:
        with self.vault() as vault:
            named = [f"F-{number}" for number in range(6)]
            found = [name for name in named if vault.find(Kind.CLAIM, name)]
            return [*found, *(["ORD-1"] if vault.find(Kind.PRESCRIPTION, "ORD-1") else [])]


ALL = ["F-0", "F-1", "F-2", "F-3", "F-4", "ORD-1"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_what_was_erased_does_not_come_back(shop: Shop) -> None:
    shop.backup()
    (sealed,) = _one(shop.path, "SELECT content FROM record WHERE kind = 1")
    shop.erase()
    assert sealed in (shop.disk / "vault.sqlite").read_bytes()  # or nothing would be shown
    assert sealed not in shop.path.read_bytes()
    assert shop.restore() == Restored(5, 1, 0, [])
    assert shop.names() == ALL[:-1]
    assert sealed not in shop.path.read_bytes()
    # The same after a dead disk: the copy of the keyring was written anew by the erasure.
    shutil.rmtree(shop.home)
    shop.home.mkdir()
    assert shop.restore(keys=shop.stick / "vault.keys") == Restored(5, 1, 0, [])
    assert shop.names() == ALL[:-1]


def test_no_key_that_is_left_anywhere_opens_what_was_erased(shop: Shop) -> None:
    shop.backup()
    uid, sealed, identity = _one(
        shop.path, "SELECT uid, content, id FROM record, heading WHERE kind = 1"
    )
    with shop.vault() as vault:
        ring = vault._keyring
        (wrapped,) = _one(shop.keys, "SELECT wrapped FROM key WHERE uid = ?", uid)
        before = ring.unwrap(uid, wrapped)
    assert decrypt(sealed, before, identity + uid + b"\x01") == CANARY
    shop.erase()
    everything = b"".join(
        path.read_bytes() for path in shop.home.parent.rglob("*") if path.is_file()
    )
    assert before not in everything
    assert wrapped not in everything
    assert CANARY not in everything
    with shop.vault() as vault:
        for other, kept in sqlite3.connect(shop.keys).execute("SELECT uid, wrapped FROM key"):
            key = vault._keyring.unwrap(other, kept)
            with pytest.raises(NotOpened):
                decrypt(sealed, key, identity + uid + b"\x01")


def test_the_same_backup_with_a_keyring_that_somebody_copied_opens_everything(shop: Shop) -> None:
    """The residual risk that docs/attacks.md declares; and so that the tests above can fail."""
    shop.backup()
    shutil.copytree(shop.stick, shop.home.parent / "thief")
    shop.erase()
    shutil.rmtree(shop.home)
    shop.home.mkdir()
    shop.restore(keys=shop.home.parent / "thief" / "vault.keys")
    assert shop.names() == ALL


def test_a_backup_of_the_data_holds_no_key(shop: Shop) -> None:
    shop.backup()
    data = (shop.disk / "vault.sqlite").read_bytes()
    rows = sqlite3.connect(shop.keys).execute(
        "SELECT wrapped FROM key UNION SELECT vault_key FROM way UNION SELECT own_key FROM way"
        " UNION SELECT hash FROM name UNION SELECT names FROM heading"
    )
    assert not [row for row in chain.from_iterable(rows) if row in data]
    with pytest.raises(KeyringMissing):
        Vault(shop.disk / "vault.sqlite", KEY)


def test_a_dead_disk_loses_nothing_that_was_backed_up(shop: Shop) -> None:
    shop.backup()
    shutil.rmtree(shop.home)
    shop.home.mkdir()
    with pytest.raises(KeyringMissing):
        shop.restore()
    assert shop.restore(keys=shop.stick / "vault.keys") == Restored(6, 0, 0, [])
    assert shop.names() == ALL
    with shop.vault() as vault:  # which still knows where its copies are
        assert [copy.state for copy in vault.rotate().copies] == [State.CURRENT, State.BEHIND]


def test_a_lost_keyring_alone_is_put_back(shop: Shop) -> None:
    shop.backup()
    with shop.vault() as vault, vault.changes():
        vault.add(Kind.CLAIM, b"later", ["F-5"])
    shop.keys.unlink()
    assert shop.restore(data=None, keys=shop.stick / "vault.keys").records == 6
    assert shop.names() == ALL  # but for what was added later, whose key is lost
    with shop.vault() as vault, vault.changes():
        vault.add(Kind.CLAIM, b"again", ["F-5"])
    with shop.vault() as vault:
        assert inventory.take(vault).without_key == 1


def test_nothing_is_replaced_without_being_told(shop: Shop) -> None:
    shop.backup()
    with shop.vault() as vault, vault.changes():
        vault.add(Kind.CLAIM, b"later", ["F-5"])
    with pytest.raises(InTheWay, match="is there and would be replaced"):
        shop.restore(replaces=False)
    assert "F-5" in shop.names()
    assert shop.restore() == Restored(6, 0, 1, [])
    assert shop.names() == ALL
    with shop.vault() as vault, vault.changes():  # its name is free again
        vault.add(Kind.CLAIM, b"later", ["F-5"])


def test_a_good_keyring_is_not_replaced_by_its_copy(shop: Shop) -> None:
    shop.backup()
    shop.erase()
    with pytest.raises(InTheWay, match="bring back what was erased"):
        shop.restore(keys=shop.stick / "vault.keys")


def test_an_open_vault_sees_what_was_restored(shop: Shop) -> None:
    shop.backup()
    with shop.vault() as vault:
        with vault.changes():
            vault.replace(1, b"changed")
            vault.add(Kind.CLAIM, b"later", ["F-5"])
        shop.restore()
        assert vault.find(Kind.CLAIM, "F-0") == (1, b"content 0")
        assert vault.find(Kind.CLAIM, "F-5") is None


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(9000))


def _changed_record(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("UPDATE record SET content = zeroblob(80) WHERE number = 3")
    database.commit()
    database.close()


def _view(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript(
        "DROP TABLE record; CREATE VIEW record AS SELECT 1 number, 'x' uid, 'y' kind, NULL content;"
    )
    database.close()


def _other_vault(path: Path) -> None:
    path.unlink()
    Vault(path.parent / "made.sqlite", KEY).close()
    (path.parent / "made.sqlite").rename(path)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (Path.unlink, NotReadable),
        (_garbage, NotReadable),
        (_view, NotReadable),
        (_other_vault, NotReadable),
        (_changed_record, VaultDamaged),
    ],
)
def test_a_backup_that_is_bad_replaces_nothing(
    shop: Shop, spoil: object, error: type[Exception]
) -> None:
    shop.backup()
    assert callable(spoil)
    spoil(shop.disk / "vault.sqlite")
    if spoil is _view:  # a record without content opens nothing, and is not even taken
        database = sqlite3.connect(shop.keys)
        database.execute("INSERT INTO key VALUES ('x', x'00')")
        database.commit()
        database.close()
    before = shop.path.read_bytes()
    with pytest.raises(error):
        shop.restore()
    assert shop.path.read_bytes() == before
    assert shop.names() == ALL


def test_a_restore_by_another_key_replaces_nothing(shop: Shop) -> None:
    shop.backup()
    before = shop.path.read_bytes()
    with pytest.raises(WrongKey):
        backups.restore(
            shop.path,
            shop.keys,
            Key(bytes(32)),
            data=shop.disk / "vault.sqlite",
            keys=None,
            replaces=True,
        )
    assert shop.path.read_bytes() == before


def test_what_is_damaged_is_kept_aside(shop: Shop) -> None:
    shop.backup()
    for path in (shop.path, shop.keys):
        _garbage(path)
    damaged = {path.read_bytes() for path in (shop.path, shop.keys)}
    found = shop.restore(keys=shop.stick / "vault.keys")
    assert {path.read_bytes() for path in found.aside} == damaged
    assert shop.names() == ALL


def test_what_was_put_aside_comes_back_when_the_restore_fails(shop: Shop) -> None:
    shop.backup()
    _garbage(shop.path)
    _changed_record(shop.disk / "vault.sqlite")
    before = shop.path.read_bytes()
    with pytest.raises(VaultDamaged):
        shop.restore()
    assert shop.path.read_bytes() == before


@pytest.mark.parametrize(
    "which", ["data in home", "keyring in home", "one folder", "inside", "around"]
)
def test_data_and_keys_never_lie_together(shop: Shop, which: str) -> None:
    data, keyring = {
        "data in home": (shop.home, shop.stick),
        "keyring in home": (shop.disk, shop.home),
        "one folder": (shop.disk, shop.disk),
        "inside": (shop.stick / "data", shop.stick),
        "around": (shop.disk, shop.disk / "keyring"),
    }[which]
    before = shop.path.read_bytes()
    with shop.vault() as vault, pytest.raises(InTheWay):
        backups.backup(vault, data, keyring)
    assert shop.path.read_bytes() == before


def test_the_backup_of_another_vault_is_not_overwritten(shop: Shop) -> None:
    shop.backup()
    other = shop.home.parent / "other"
    other.mkdir()
    with (
        Vault(other / "vault.sqlite", KEY) as vault,
        pytest.raises(InTheWay, match="no copy of this vault"),
    ):
        backups.backup(vault, shop.disk, None)
    shop.backup()  # its own is


def test_a_copy_that_is_away_is_called_stale_until_it_is_back(shop: Shop) -> None:
    shop.backup()
    shop.stick.rename(shop.home.parent / "drawer")
    shop.stick.mkdir()  # an empty mount point: nothing is written under it
    shop.erase()
    assert not list(shop.stick.iterdir())
    with shop.vault() as vault:
        (copy, _) = keyring_copies.known(vault.files)
        assert (copy.is_keyring, copy.state) == (True, State.STALE)
        assert "still opens what was erased" in inventory.take(vault).warnings()[0]
    shop.stick.rmdir()
    (shop.home.parent / "drawer").rename(shop.stick)
    shop.backup()
    with shop.vault() as vault:
        assert {copy.state for copy in keyring_copies.known(vault.files)} == {State.CURRENT}
        keyring_copies.forget(vault.files, shop.stick)
        assert len(keyring_copies.known(vault.files)) == 1


def test_a_backup_is_of_one_moment_while_another_writes(shop: Shop) -> None:
    shop.backup()
    with shop.vault() as one, shop.vault() as other, other.changes():
        other.add(Kind.CLAIM, b"later", ["F-5"])  # not committed yet
        with keyring_copies.standing_still(one.files):
            keyring_copies.copy_into(one.files, "main", shop.disk / "vault.sqlite")
            keyring_copies.copy_into(one.files, "keyring", shop.stick / "vault.keys")
    shutil.rmtree(shop.home)
    shop.home.mkdir()
    assert shop.restore(keys=shop.stick / "vault.keys") == Restored(6, 0, 0, [])


def test_a_backup_that_does_not_fit_says_where_and_leaves_the_one_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.backup()
    before = (shop.disk / "vault.sqlite").read_bytes()

    def no_room(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with shop.vault() as vault:
        database = vault.files.database

        class Full:
            """A connection whose backups find no room."""

            backup = staticmethod(no_room)

            def __getattr__(self, name: str) -> object:
                return getattr(database, name)

        monkeypatch.setattr(vault.files, "database", Full())
        with pytest.raises(DiskFull) as refusal:
            backups.backup(vault, shop.disk, shop.stick)
    assert str(shop.disk) in str(refusal.value)
    assert (shop.disk / "vault.sqlite").read_bytes() == before
    assert [each.name for each in shop.disk.iterdir()] == ["vault.sqlite"]


@killing
def test_a_restore_that_is_killed_leaves_the_old_or_the_new(fast: Path) -> None:
    fast.parent.rmdir()
    shop = Shop(fast.parent.parent)
    shop.backup()
    with shop.vault() as vault, vault.changes():
        vault.add(Kind.CLAIM, b"later", ["F-5"])
    before = {each: each.read_bytes() for each in (shop.path, shop.keys)}
    old, seen = shop.names(), []

    def prepare() -> None:
        for each in shop.home.iterdir():
            each.unlink()
        for each, content in before.items():
            each.write_bytes(content)

    for number in deaths(prepare, shop.restore, every=4):
        seen.append(shop.names())
        assert seen[-1] in (old, ALL), number
    assert seen[0] == old
    assert seen[-1] == ALL


@killing
def test_a_backup_that_is_killed_leaves_no_keys_that_an_erasure_does_not_reach(fast: Path) -> None:
    fast.parent.rmdir()
    shop = Shop(fast.parent.parent)
    before = {each: each.read_bytes() for each in (shop.path, shop.keys)}
    with shop.vault() as vault:
        uid = _one(shop.path, "SELECT uid FROM record WHERE kind = ?", Kind.PRESCRIPTION)[0]
        assert uid in vault.files.keyring.read_bytes()
    halves = wholes = 0

    def prepare() -> None:
        for folder in (shop.home, shop.disk, shop.stick):
            for each in folder.iterdir() if folder.exists() else ():
                each.unlink()
        for each, content in before.items():
            each.write_bytes(content)

    for number in deaths(prepare, shop.backup, every=2):
        left = list(shop.stick.iterdir()) if shop.stick.exists() else []
        wholes += any(each.name == "vault.keys" for each in left)
        halves += any(each.name != "vault.keys" for each in left)
        shop.erase()
        for each in shop.stick.iterdir() if shop.stick.exists() else ():
            assert each.name == "vault.keys", number
            assert uid not in each.read_bytes(), number
    assert halves, "none was killed while the copy was made: nothing was shown"
    assert wholes, "none was killed when the copy was there: nothing was shown"


def test_a_rotation_that_was_stopped_is_finished_by_the_next_to_open_it(shop: Shop) -> None:
    shop.backup()
    with shop.vault() as vault, vault.changes():
        vault._renew(lambda _: None)  # and is killed: nothing is swept, no copy written
    with shop.vault() as vault:
        assert keyring_copies.known(vault.files)[0].state is State.CURRENT


def test_the_stick_of_another_vault_is_not_overwritten(shop: Shop) -> None:
    shop.backup()
    other = shop.home.parent / "other"
    other.mkdir()
    with Vault(other / "vault.sqlite", KEY):
        pass
    theirs = (other / "vault.keys").read_bytes()
    (shop.stick / "vault.keys").write_bytes(theirs)
    shop.erase()
    assert (shop.stick / "vault.keys").read_bytes() == theirs
    with shop.vault() as vault:
        assert keyring_copies.known(vault.files)[0].state is State.STALE


@pytest.mark.parametrize("which", ["disk", "stick"])
def test_a_disk_that_is_not_there_is_not_taken_for_an_empty_one(shop: Shop, which: str) -> None:
    shop.backup()
    folder = getattr(shop, which)
    for each in folder.iterdir():
        each.unlink()
    with pytest.raises(InTheWay, match="is not there: is its disk") as refusal:
        shop.backup()
    assert f"depoli vault forget {folder}" in refusal.value.hint
    assert not list(folder.iterdir())
    with shop.vault() as vault:
        keyring_copies.forget(vault.files, folder)
    shop.backup()


def _one(path: Path, query: str, *given: object) -> tuple[bytes, ...]:
    row: tuple[bytes, ...] = sqlite3.connect(path).execute(query, given).fetchone()
    return row
