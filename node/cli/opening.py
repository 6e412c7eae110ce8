"""How this home's vault is opened: by what `client.toml` names, or by a passphrase.

Where a service was given the credential, by that; else by the key file; else by the token; else
somebody is asked. No secret is read from an argument or from the environment.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Final

import click

from node import files
from node.cli.home import MAX_PIN_BYTES, Home, TokenKey, read_vault_key
from node.client.aead import KEY_BYTES
from node.client.token_key import Token
from node.client.unlocking import Key, Passphrase, Unlock, WayKind
from node.errors import Usage

_LEAST_CHARACTERS: Final = 12  # for whoever guesses at a stolen keyring, half a second each


def way_of(home: Home, *, is_new: bool = False) -> Unlock:
    """Return what opens the vault of a home; a passphrase for a new one is asked for twice."""
    if home.vault_credential is not None and (folder := os.environ.get("CREDENTIALS_DIRECTORY")):
        path = Path(folder, home.vault_credential)
        if path.exists():
            return Key(read_vault_key(path, credential=True), WayKind.CREDENTIAL)
    if (key := home.vault_key()) is not None:
        return Key(key)
    if home.token_key is not None:
        return token_of(home.token_key)
    if is_new and sys.stdin.isatty():
        return new_passphrase()
    return Passphrase(_ask("passphrase of the vault"))


def token_of(named: TokenKey) -> Token:
    """Return the key in a token, with the PIN from its file, the terminal or standard input."""
    if named.pin_file is None:
        pin = _ask(f"PIN of the token {named.token}")
    else:
        text = files.read_secret(named.pin_file, limit=MAX_PIN_BYTES, hint="write the PIN there")
        pin = text.decode(errors="replace").strip()
    return Token(named.module, named.token, named.key, pin)


def new_passphrase() -> Passphrase:
    """Return a passphrase that was typed twice; raise `Usage` of a short or mistyped one."""
    first = _ask("new passphrase of the vault")
    if len(first) < _LEAST_CHARACTERS:
        raise Usage(
            f"the new passphrase is shorter than {_LEAST_CHARACTERS} characters",
            hint="take four or five words that nobody would put together",
        )
    if _ask("the same once more") != first:
        raise Usage("the new passphrase was not the same twice", hint="nothing was changed")
    return Passphrase(first)


def key_in(path: Path, kind: WayKind) -> Key:
    """Return the key in a file that only we read; a file that is not there is made."""
    if not path.exists():
        files.create(path, secrets.token_hex(KEY_BYTES).encode() + b"\n", secret=True)
    return Key(read_vault_key(path), kind)


def _ask(what: str) -> str:
    """Return a secret from the terminal, or from a line of standard input."""
    if sys.stdin.isatty():
        typed: str = click.prompt(what, hide_input=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")
