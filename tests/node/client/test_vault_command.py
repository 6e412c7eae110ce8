"""`depoli vault`: what people type, and what they read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli.home import BadHome, load_home
from node.cli.main import main
from node.cli.person import Person
from node.errors import Exit
from tests.node.client import cheap
from tests.node.client.desk import MemoryNode, example
from tests.node.client.test_commands import Town

WORDS = "monture verre axe"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    cheap.make_passphrases_cheap(monkeypatch)
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    town = Town(tmp_path, node)
    town.once("shop", "claim", "submit", town.file("c.json", example()))
    return town


def typed(town: Town, lines: str, *args: str | Path) -> Result:
    line = [*map(str, args), "--home", str(town.folder / "shop")]
    return CliRunner().invoke(main, line, input=lines)


def settings(town: Town, old: str, new: str) -> None:
    path = town.folder / "shop" / "client.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def keep_copies(town: Town) -> tuple[Path, Path]:
    data, stick = town.folder / "disk", town.folder / "stick"
    settings(town, 'vault = "', f'keyring_copy = "{stick}"\nvault = "')
    return data, stick


def status(town: Town) -> Any:  # noqa: ANN401
    return town.does("shop", "vault", "status", "--verify")


def test_the_status_says_what_is_held_and_what_is_missing(town: Town) -> None:
    found = status(town)
    assert found["version"] == 2
    assert found["records"]["claim"]["count"] == 1
    assert found["records"]["prescription"]["bytes"] > 500
    assert found["verified"] == sum(each["count"] for each in found["records"].values())
    assert [way["kind"] for way in found["ways"]] == ["key file"]
    assert len(found["warnings"]) == 2
    said = town.call("shop", "vault", "status")
    assert "warning: there is no backup of the data" in said.stderr
    assert "F2025" not in said.output


def test_a_backup_and_a_dead_disk(town: Town) -> None:
    data, stick = keep_copies(town)
    made = town.does("shop", "vault", "backup", data)
    assert made["keyring"] == str(stick / "vault.keys")
    assert status(town)["warnings"] == []
    for name in ("vault.sqlite", "vault.keys"):
        (town.folder / "shop" / name).unlink()
    assert "KeyError" not in town.refuses(Exit.LOCKED, "shop", "vault", "restore", data)
    back = town.once("shop", "vault", "restore", data, "--keyring", stick)
    assert (back["records"], back["without_key"]) == (made["records"], 0)
    assert town.once("shop", "claim", "show", "F2025-0003")
    assert "would be replaced" in town.refuses(Exit.FAILED, "shop", "vault", "restore", data)
    again = town.call("shop", "vault", "restore", data, "--replace")
    assert f"{made['records']} records are in the vault" in again.stdout
    town.refuses(Exit.USAGE, "shop", "vault", "restore")


def test_a_backup_without_a_keyring_says_what_it_is_worth(town: Town) -> None:
    said = town.call("shop", "vault", "backup", town.folder / "disk")
    assert said.exit_code == Exit.OK
    assert "nobody reads this backup" in said.stderr


def test_a_copy_that_is_not_there_is_told_and_forgotten(town: Town) -> None:
    data, stick = keep_copies(town)
    town.once("shop", "vault", "backup", data)
    shutil.rmtree(stick)
    key = town.folder / "second.key"
    said = town.call("shop", "vault", "rekey", "--key-file", key)
    assert "could not be rewritten" in said.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert "still opens what was erased" in status(town)["warnings"][0]
    town.once("shop", "vault", "forget", stick)
    town.refuses(Exit.USAGE, "shop", "vault", "forget", stick)
    assert not status(town)["keyring_copies"]


def test_a_passphrase_takes_the_place_of_the_key_file_and_changes(town: Town) -> None:
    rekey = ("vault", "rekey", "--passphrase", "--replace", "--json")
    assert typed(town, f"{WORDS}\n{WORDS}\n", *rekey).exit_code == Exit.OK
    town.refuses(Exit.WRONG_PASSPHRASE, "shop", "prescription", "list")
    settings(town, 'vault_key_file = "vault.key"\n', "")
    new = "branche pont plaquette"
    for lines, says in (
        ("verres\n", "this passphrase does not open"),
        (f"{WORDS}\nlunettes\nlunettes\n", "shorter than 12"),
        (f"{WORDS}\n{new}\nloupe nez charniere\n", "not the same twice"),
    ):
        refused = typed(town, lines, *rekey)
        assert refused.exit_code != Exit.OK
        assert says in refused.stderr
        assert not [each for each in lines.split() if each in refused.output]
    assert typed(town, f"{WORDS}\n{new}\n{new}\n", *rekey).exit_code == Exit.OK
    assert typed(town, f"{WORDS}\n", "vault", "status").exit_code == Exit.WRONG_PASSPHRASE
    found = json.loads(typed(town, f"{new}\n", "vault", "status", "--json").stdout)
    assert [(way["number"], way["kind"]) for way in found["ways"]] == [(3, "passphrase")]


def test_a_service_opens_it_by_its_credential(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    town.once("shop", "vault", "rekey", "--credential", credentials / "vault", "--remove", "1")
    town.refuses(Exit.WRONG_PASSPHRASE, "shop", "vault", "status")
    settings(town, 'vault_key_file = "vault.key"\n', 'vault_credential = "vault"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    (credentials / "vault").chmod(0o440)  # as systemd shows it by an ACL
    assert [way["used"] for way in status(town)["ways"]] == [True]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert typed(town, "a passphrase\n", "vault", "status").exit_code == Exit.WRONG_PASSPHRASE


def test_a_token_opens_it_with_a_pin_from_a_file_or_a_line(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap.make_token(tmp_path, monkeypatch, "shop")
    town.refuses(Exit.USAGE, "shop", "vault", "rekey", "--token")
    settings(
        town,
        'vault_key_file = "vault.key"\n',
        f'vault_key_file = "vault.key"\npkcs11_module = "{cheap.MODULE}"\npkcs11_token = "shop"\n'
        'pkcs11_key = "vault"\n',
    )
    pin = f"{cheap.PIN}\n"
    assert typed(town, pin, "vault", "rekey", "--token", "--replace").exit_code == Exit.OK
    settings(town, 'vault_key_file = "vault.key"\n', "")
    assert typed(town, pin, "vault", "status").exit_code == Exit.OK
    wrong = typed(town, "161803\n", "vault", "status")
    assert wrong.exit_code == Exit.WRONG_PASSPHRASE
    assert "161803" not in wrong.output
    settings(town, "pkcs11_key", 'pkcs11_pin_file = "pin"\npkcs11_key')
    (town.folder / "shop" / "pin").touch(0o600)
    (town.folder / "shop" / "pin").write_text(pin)
    assert [way["kind"] for way in status(town)["ways"]] == ["token"]


def test_an_export_is_asked_for_and_private(town: Town) -> None:
    out = town.folder / "everything.json"
    assert typed(town, "n\n", "vault", "export", out).exit_code != Exit.OK
    assert not out.exists()
    assert typed(town, "y\n", "vault", "export", out).exit_code == Exit.OK
    assert out.stat().st_mode & 0o777 == 0o600
    written = json.loads(out.read_text())
    assert written["format"] == "depoli/vault-export/1"
    (claim,) = [each["content"] for each in written["records"] if each["kind"] == "claim"]
    assert (claim["reference"], claim["lenses_cents"]) == ("F2025-0003", 7_500)
    assert "not overwritten" in town.refuses(Exit.FAILED, "shop", "vault", "export", "--yes", out)


def test_the_keyring_may_be_on_another_disk(town: Town) -> None:
    place = town.folder / "elsewhere" / "shop.keys"
    place.parent.mkdir()
    (town.folder / "shop" / "vault.keys").rename(place)
    town.refuses(Exit.LOCKED, "shop", "vault", "status")
    settings(town, 'vault = "', f'keyring = "{place}"\nvault = "')
    assert status(town)["keyring"] == str(place)
    assert not (town.folder / "shop" / "vault.keys").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('pkcs11_token = "shop"', "pkcs11_token needs pkcs11_key"),
        ('vault_credential = "../secret"', "no path"),
    ],
)
def test_a_home_that_cannot_be_meant_is_refused(town: Town, line: str, says: str) -> None:
    settings(town, 'vault = "', f'{line}\nvault = "')
    with pytest.raises(BadHome, match=says):
        load_home(town.folder / "shop")
