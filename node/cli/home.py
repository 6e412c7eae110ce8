"""A person's home: `client.toml`, which says who one is and where one's node, keys and vault are.

Relative paths start at the folder of the file. Unknown keys are refused.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.keys import Signer
from ledger.validators import MEMBER_ID_BYTES, MemberId
from node import files, keystore
from node.card import Card, load_card
from node.errors import Usage

FILE_NAME: Final = "client.toml"
MEMBERS: Final = "members"
DEFAULT: Final = "~/.depoli"
MAX_HOME_BYTES: Final = 64 << 10
MAX_TOKEN_BYTES: Final = 512
MAX_GENESIS_BYTES: Final = 16 << 20
VAULT_KEY_BYTES: Final = 32
MAX_WINDOW_MINUTES: Final = 24 * 60
_REQUIRED: Final = {"node", "member", "label", "key_file", "token_file", "vault", "genesis"}
_OPTIONAL: Final = {
    *("vault_credential", "keyring", "keyring_copy"),
    *("pkcs11_module", "pkcs11_token", "pkcs11_key", "pkcs11_pin_file"),
    *("vault_key_file", "sealing_key_file", "human_key_file", "window_minutes", "keep_days"),
    "acknowledge_on_chain",
}
_TOKEN: Final = {"pkcs11_module", "pkcs11_token", "pkcs11_key"}  # all three or none
MAX_PIN_BYTES: Final = 256
MAX_KEEP_DAYS: Final = 36_525
_HINT: Final = (
    "name the folder with --home or DEPOLI_HOME; `depoli testnet create` makes homes for trying"
)


class BadHome(Usage):
    """`client.toml` says something that cannot be meant."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", hint=_HINT)


class BadVaultKey(Usage):
    """The vault's key file holds something else than a key; what it holds is not shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds no vault key: {2 * VAULT_KEY_BYTES} hexadecimal digits, lower case",
            hint="put the file back from its backup; without it the vault opens to nobody",
        )


class NoPerson(Usage):
    """What is to be done is a person's to do, and no person's key is here."""

    def __init__(self) -> None:
        super().__init__(
            "a person must sign this, and client.toml names no human_key_file",
            hint="depoli member add-key --role human makes one",
        )


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Which key in which PKCS#11 token opens the vault."""

    module: Path
    token: str
    key: str
    pin_file: Path | None  # None: somebody is asked


@dataclass(frozen=True, slots=True)
class Home:
    """Who one is and where one's things are; paths are absolute or start at the working folder."""

    folder: Path  # with client.toml
    node: str  # URL of the node's HTTP API
    member: MemberId
    label: str
    key_file: Path  # seed of the member's transaction key
    token_file: Path
    vault: Path
    vault_key_file: Path | None  # None: the vault opens by another way, or a passphrase
    genesis: Path
    members: Path  # folder with the member.json of those that were admitted after it
    sealing_key_file: Path | None = None  # seed of the key that others seal messages to
    human_key_file: Path | None = None  # secret of the key that a person holds
    window_minutes: int = 60  # of the windows in which queued claims leave together
    keyring: Path | None = None  # None: beside the vault
    keyring_copy: Path | None = None  # folder where `depoli vault backup` puts a copy of it
    vault_credential: str | None = None  # name of a systemd credential that opens the vault
    token_key: TokenKey | None = None  # what in a PKCS#11 token opens it
    acknowledge_on_chain: bool = False  # a commitment to each acknowledgement of ours
    keep_days: int = 0  # that the law has us keep what others disclosed, from its invoice on

    def key(self) -> Signer:
        """Return the transaction key; raise as `keystore.read_signer`."""
        return keystore.read_signer(self.key_file)

    def human_key(self) -> Signer:
        """Return the key that a person here holds; raise `NoPerson`, or as `read_signer`."""
        if self.human_key_file is None:
            raise NoPerson
        return keystore.read_signer(self.human_key_file)

    def token(self) -> str:
        """Return the bearer token of the node's API; raise as `files.read_secret`."""
        hint = "ask the node's operator for one: depoli node token new"
        text = files.read_secret(self.token_file, limit=MAX_TOKEN_BYTES, hint=hint)
        return text.decode("ascii", errors="replace").strip()

    def vault_key(self) -> bytes | None:
        """Return the key in the vault's key file, None where there is none; raise `BadVaultKey`."""
        return None if self.vault_key_file is None else read_vault_key(self.vault_key_file)

    def cards(self) -> list[Card]:
        """Return the cards of members that were admitted after genesis; raise as `load_card`."""
        return [load_card(path) for path in sorted(self.members.glob("*.json"))]

    def genesis_bytes(self) -> bytes:
        """Return the genesis document as it stands on disk; raise as `files.read_public`."""
        hint = "ask the node's operator for the genesis document, and compare its chain id"
        return files.read_public(self.genesis, limit=MAX_GENESIS_BYTES, hint=hint)


def read_vault_key(path: Path, *, credential: bool = False) -> bytes:
    """Return the 32 bytes in a key file or a credential; raise `BadVaultKey`, or as `files`."""
    hint = "put it back from its backup; without it the vault opens by its other ways only"
    limit = 2 * VAULT_KEY_BYTES + 1
    text = files.read_secret(path, limit=limit, hint=hint, credential=credential)
    if not re.fullmatch(rb"[0-9a-f]{%d}\n?" % (2 * VAULT_KEY_BYTES), text):
        raise BadVaultKey(path)
    return bytes.fromhex(text.decode())


def load_home(folder: Path) -> Home:
    """Return the home in `folder`; raise `Missing`, `TooLong`, `BadHome`."""
    path = folder / FILE_NAME
    table = _parse(path)

    def place(name: str) -> Path:
        return folder / Path(table[name]).expanduser()

    def place_if(name: str) -> Path | None:
        return place(name) if name in table else None

    return Home(
        folder=folder,
        node=table["node"].rstrip("/"),
        member=MemberId(bytes.fromhex(table["member"])),
        label=table["label"],
        key_file=place("key_file"),
        token_file=place("token_file"),
        vault=place("vault"),
        vault_key_file=place_if("vault_key_file"),
        genesis=place("genesis"),
        members=folder / MEMBERS,
        sealing_key_file=place_if("sealing_key_file"),
        human_key_file=place_if("human_key_file"),
        window_minutes=int(table.get("window_minutes", "60")),
        acknowledge_on_chain=table.get("acknowledge_on_chain") == "yes",
        keep_days=int(table.get("keep_days", "0")),
        keyring=place_if("keyring"),
        keyring_copy=place_if("keyring_copy"),
        vault_credential=table.get("vault_credential"),
        token_key=TokenKey(
            module=place("pkcs11_module"),
            token=table["pkcs11_token"],
            key=table["pkcs11_key"],
            pin_file=place_if("pkcs11_pin_file"),
        )
        if table.keys() >= _TOKEN
        else None,
    )


def _parse(path: Path) -> dict[str, str]:
    """Return the keys of the file, of which each can be meant; raise as `load_home`."""
    text = files.read_public(path, limit=MAX_HOME_BYTES, hint=_HINT)
    try:
        table = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadHome(path, f"not a TOML file: {error}") from None
    if unknown := sorted(table.keys() - _REQUIRED - _OPTIONAL):
        raise BadHome(path, f"there is no key {unknown[0][:64]}")
    if missing := sorted(_REQUIRED - table.keys()):
        raise BadHome(path, f"the key {missing[0]} is missing")
    for name, value in table.items():
        if not isinstance(value, str) or not value:
            raise BadHome(path, f"{name} must be a text")
    if not re.fullmatch(f"[0-9a-f]{{{2 * MEMBER_ID_BYTES}}}", table["member"]):
        raise BadHome(path, f"member must be {2 * MEMBER_ID_BYTES} hexadecimal digits")
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", table["node"]):
        raise BadHome(path, "node must be a URL such as http://127.0.0.1:8100")
    minutes = table.get("window_minutes", "60")
    if not re.fullmatch("[1-9][0-9]{0,3}", minutes) or int(minutes) > MAX_WINDOW_MINUTES:
        raise BadHome(
            path, f'window_minutes must be a text such as "60", 1 to {MAX_WINDOW_MINUTES}'
        )
    if table.get("acknowledge_on_chain", "no") not in {"yes", "no"}:
        raise BadHome(path, "acknowledge_on_chain must be yes or no")
    days = table.get("keep_days", "0")
    if not re.fullmatch("[0-9]{1,5}", days) or int(days) > MAX_KEEP_DAYS:
        raise BadHome(path, f"keep_days must be a number of days, at most {MAX_KEEP_DAYS}")
    if (given := _TOKEN & table.keys()) and given != _TOKEN:
        raise BadHome(path, f"{min(given)} needs {min(_TOKEN - given)}")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", table.get("vault_credential", "-")):
        raise BadHome(path, "vault_credential must be the name of a credential: no path")
    return table
