"""Several ways open one vault, each alone; one that is removed opens it no more."""

import multiprocessing
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from node.client.errors import ClientError, Refused, VaultDamaged, WrongKey
from node.client.token_key import Token, TokenTrouble
from node.client.unlocking import Key, Passphrase, Unlock, WayKind
from node.client.vault import Kind, Vault
from tests.node.client import cheap

KEY = Key(bytes(range(32)))
CREDENTIAL = Key(bytes(range(32, 64)), WayKind.CREDENTIAL)
WORDS = Passphrase("monture verre axe")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cheap.make_passphrases_cheap(monkeypatch)
    path = tmp_path / "vault.sqlite"
    with Vault(path, KEY) as vault, vault.changes():
        vault.add(Kind.CLAIM, b"content", ["F-1"])
    return path


def reads(path: Path, unlock: Unlock) -> bool:
    with Vault(path, unlock) as vault:
        return vault.find(Kind.CLAIM, "F-1") == (1, b"content")


def test_each_way_opens_it_alone_and_outlives_a_rotation_by_another(path: Path) -> None:
    with Vault(path, KEY) as vault:
        ways, _ = vault.rekey({"words": WORDS, "service": CREDENTIAL})
        assert [(way.kind, way.label, way.is_ours) for way in ways] == [
            (WayKind.KEY_FILE, "key file", True),
            (WayKind.PASSPHRASE, "words", False),
            (WayKind.CREDENTIAL, "service", False),
        ]
    for by in (WORDS, CREDENTIAL, KEY):
        with Vault(path, by) as vault:
            vault.rotate()
        assert reads(path, KEY)
        assert reads(path, WORDS)
        assert reads(path, CREDENTIAL)


def test_a_way_that_is_removed_opens_nothing_but_the_old_copy(path: Path) -> None:
    with Vault(path, KEY) as vault:
        vault.rekey({"words": WORDS})
    old = path.parent / "old"
    old.mkdir()
    for name in ("vault.sqlite", "vault.keys"):
        shutil.copy(path.parent / name, old)
    with Vault(path, WORDS) as vault:
        ways, _ = vault.rekey({}, [1])
        assert [way.number for way in ways] == [2]
        assert vault.find(Kind.CLAIM, "F-1")
    with pytest.raises(WrongKey) as refusal:
        Vault(path, KEY)
    assert refusal.value.hint == "it also opens by: passphrase"
    assert reads(path, WORDS)
    assert reads(old / "vault.sqlite", KEY)  # which is why copies are declared a risk


def test_what_is_open_by_a_way_that_another_command_removed_reads_no_more(path: Path) -> None:
    with Vault(path, KEY) as vault:
        vault.rekey({"words": WORDS})
        with Vault(path, WORDS) as other:
            other.rekey({"again": WORDS}, [1])
        with pytest.raises(WrongKey, match="no longer opens"):
            vault.find(Kind.CLAIM, "F-1")


@pytest.mark.parametrize(
    ("add", "remove", "says"),
    [
        ({}, [1], "the last one stays"),
        ({}, [7], "none with the number 7"),
        ({str(n): CREDENTIAL for n in range(8)}, [], "at most 8"),
    ],
)
def test_a_rekeying_that_would_lock_out_is_refused_and_changes_nothing(
    path: Path, add: dict[str, Unlock], remove: list[int], says: str
) -> None:
    before = path.with_suffix(".keys").read_bytes()
    with Vault(path, KEY) as vault:
        with pytest.raises(Refused, match=says):
            vault.rekey(add, remove)
        assert vault.find(Kind.CLAIM, "F-1")
    assert path.with_suffix(".keys").read_bytes() == before
    assert reads(path, KEY)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE way SET detail = x'7fffffffffffffff7fffffffffffffff'",  # a cost nobody has
        "UPDATE way SET detail = x'00000000000000014000000000000000'",
        "UPDATE way SET detail = x'40000000000000000000000000002000'",
        "UPDATE way SET detail = x'00'",
        "UPDATE way SET salt = zeroblob(16)",
        "UPDATE way SET vault_key = zeroblob(72)",
        "UPDATE way SET detail = x'00000000000000000000000000002000'",
        "UPDATE way SET detail = x'00000000000000010000000000000001'",
        "UPDATE way SET detail = 'sixteen letters.'",
        "UPDATE way SET salt = x'00'",
        "UPDATE way SET salt = 'sixteen letters.'",
        "UPDATE way SET label = x'00'",
        "UPDATE way SET own_key = 1",
        "UPDATE way SET kind = 99",
        "UPDATE heading SET edition = 'many'",
        "UPDATE heading SET unswept = 'much'",
        "UPDATE way SET kind = 2",
        "UPDATE heading SET names = zeroblob(72)",
        "DELETE FROM way",
    ],
)
def test_a_keyring_that_was_changed_opens_to_nobody(path: Path, change: str) -> None:
    with Vault(path, KEY) as vault:
        vault.rekey({"words": WORDS}, [1])
    database = sqlite3.connect(path.with_suffix(".keys"))
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises((WrongKey, VaultDamaged)):
        Vault(path, WORDS)


def test_a_way_that_somebody_plants_gets_no_key(path: Path) -> None:
    """Who may write the keyring, and not read it, must not be let in by the next rotation."""
    planted = path.parent / "planted.sqlite"
    with Vault(planted, WORDS):
        pass
    database = sqlite3.connect(path.with_suffix(".keys"))
    database.execute("ATTACH ? AS other", (str(planted.with_suffix(".keys")),))
    database.execute(
        "INSERT INTO way SELECT 2, kind, label, salt, detail, vault_key, own_key FROM other.way"
    )
    database.commit()
    database.close()
    with Vault(path, KEY) as vault, pytest.raises(ClientError):
        vault.rotate()
    with pytest.raises(WrongKey):
        Vault(path, WORDS)
    assert reads(path, KEY)


def apart(do: Callable[..., None], *given: object) -> None:
    """Do it in a process of its own: a PKCS#11 module is loaded once, for one configuration."""
    process = multiprocessing.get_context("spawn").Process(target=do, args=given)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def use_token(path: Path) -> None:
    token = Token(cheap.MODULE, "shop", "vault", cheap.PIN)
    with Vault(path, KEY) as vault:
        vault.rekey({"card": token}, [1])
    with Vault(path, token) as vault:
        vault.rotate()
        assert vault.find(Kind.CLAIM, "F-1")
    with pytest.raises(WrongKey) as refusal:
        Vault(path, Token(cheap.MODULE, "shop", "vault", "000000"))
    assert "PIN" in str(refusal.value)
    assert "000000" not in str(refusal.value)
    for other, says in (
        (Token(cheap.MODULE, "drawer", "vault", cheap.PIN), "drawer is not there"),
        (Token(cheap.MODULE, "shop", "lost", cheap.PIN), "holds no AES key lost"),
        (Token(path, "shop", "vault", cheap.PIN), "is no PKCS#11 module"),
    ):
        with pytest.raises(TokenTrouble, match=says):
            Vault(path, other)
    assert cheap.PIN not in repr(token)


def use_another_token(path: Path) -> None:
    """The key of the same label in another token is another key."""
    with Vault(path.parent / "other.sqlite", Token(cheap.MODULE, "spare", "vault", cheap.PIN)):
        pass
    with pytest.raises(WrongKey) as refusal:
        Vault(path, Token(cheap.MODULE, "spare", "vault", cheap.PIN))
    assert "this token does not open" in str(refusal.value)


def require_unextractable() -> None:
    import pkcs11  # noqa: PLC0415 - where it is

    token = pkcs11.lib(str(cheap.MODULE)).get_token(token_label="shop")
    with token.open(user_pin=cheap.PIN) as session:
        key = session.get_key(label="vault")
        assert key[pkcs11.Attribute.EXTRACTABLE] is False
        assert key[pkcs11.Attribute.SENSITIVE] is True
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_token_opens_it_and_never_lets_its_key_out(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap.make_token(tmp_path, monkeypatch, "shop", "spare")
    apart(use_token, path)
    apart(use_another_token, path)
    apart(require_unextractable)


def test_without_its_library_a_token_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with Vault(path, KEY) as vault, pytest.raises(TokenTrouble) as refusal:
        vault.rekey({"card": Token(cheap.MODULE, "shop", "vault", "")})
    assert "pip install 'depoli[pkcs11]'" in refusal.value.hint


def test_no_way_prints_its_secret() -> None:
    shown = repr([WORDS, KEY, CREDENTIAL, Token(cheap.MODULE, "shop", "vault", "4321")])
    for secret in (WORDS.text, str(KEY.secret), KEY.secret.hex(), "4321"):
        assert secret not in shown
