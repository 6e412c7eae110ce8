"""Bearer tokens of the HTTP API: who they speak for and what they may do.

`tokens.toml` holds the SHA-256 of each token, so that a copy of the file opens nothing. Tokens are
256 random bits: a plain hash of them is not to be guessed.
"""

import hmac
import re
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeGuard

from ledger.validators import MEMBER_ID_BYTES, MemberId
from node import files
from node.errors import Usage

TOKEN_BYTES: Final = 32
PREFIX: Final = "depoli_"  # so that scanners of leaked secrets know one
MAX_TOKENS: Final = 10_000
MAX_FILE_BYTES: Final = 4 << 20
MAX_LABEL_CHARACTERS: Final = 80
_FIELDS: Final = {"sha256", "member", "scopes", "label"}
_HEADING: Final = "# Who may use the HTTP API of this node. Made by: depoli node token new\n"


class BadTokenFile(Usage):
    """`tokens.toml` says something that cannot be meant."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", hint="remove that token and make a new one")


class BadLabel(Usage):
    """A label cannot stand in the file."""

    def __init__(self) -> None:
        super().__init__(f"a label has at most {MAX_LABEL_CHARACTERS} printable characters")


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"  # what concerns its member
    SUBMIT = "submit"  # transactions, which are signed anyway
    AUDIT = "audit"  # reads everything
    ADMIN = "admin"  # of the node


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of a token may do."""

    digest: bytes  # SHA-256 of the token
    member: MemberId | None  # whose entries it reads
    scopes: frozenset[Scope]
    label: str  # for the operator's eyes

    def __post_init__(self) -> None:
        if len(self.label) > MAX_LABEL_CHARACTERS or not self.label.isprintable():
            raise BadLabel

    def allows(self, scope: Scope) -> bool:
        """Return whether this grant holds `scope`."""
        return scope in self.scopes


NOBODY: Final = Grant(b"", None, frozenset(), "nobody")  # who has no token, and no scope


class TokenBook:
    """All grants of a node."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._by_prefix = {grant.digest[:8]: grant for grant in grants}

    def __len__(self) -> int:
        """Return how many tokens there are."""
        return len(self._by_prefix)

    def lookup(self, token: str) -> Grant | None:
        """Return what the bearer of `token` may do; None where nobody gave it.

        The time it takes tells nothing of a token: it is found by its hash, then compared whole.
        """
        digest = sha256(token.encode(errors="replace")).digest()
        grant = self._by_prefix.get(digest[:8])
        return grant if grant and hmac.compare_digest(grant.digest, digest) else None


def new_token() -> str:
    """Return a token that nobody else has."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """Return what `tokens.toml` holds of a token."""
    return sha256(token.encode()).digest()


def parse_tokens(path: Path) -> TokenBook:
    """Return the grants in a file; none where there is no file.

    Raises `BadTokenFile`, `Exposed`, `Foreign`, `NotPlain`, `TooLong`.
    """
    return TokenBook(load_grants(path))


def load_grants(path: Path) -> list[Grant]:
    """Return the grants in a file in their order; raise as `parse_tokens` does."""
    try:
        text = files.read_secret(path, limit=MAX_FILE_BYTES, hint="")
    except files.Missing:
        return []
    try:
        tables = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadTokenFile(path, f"not a TOML file: {error}") from None
    items = tables.pop("token", [])
    if tables or not isinstance(items, list) or len(items) > MAX_TOKENS:
        raise BadTokenFile(path, f"must hold [[token]] tables only, at most {MAX_TOKENS}")
    grants = [_parse_grant(path, number, item) for number, item in enumerate(items, 1)]
    if len({grant.digest[:8] for grant in grants}) != len(grants):
        raise BadTokenFile(path, "two tokens are the same")
    return grants


def add_grant(path: Path, grant: Grant) -> None:
    """Add a grant to a file, which is made where it is missing."""
    grants = [*load_grants(path), grant]
    content = _HEADING + "".join(map(_table, grants))
    files.replace(path, content.encode(), secret=True)


def remove_grant(path: Path, label: str) -> bool:
    """Remove the grants of this label from a file; return whether there were any."""
    grants = load_grants(path)
    kept = [grant for grant in grants if grant.label != label]
    if len(kept) < len(grants):
        files.replace(path, (_HEADING + "".join(map(_table, kept))).encode(), secret=True)
    return len(kept) < len(grants)


def _parse_grant(path: Path, number: int, item: Any) -> Grant:  # noqa: ANN401
    def fail(reason: str) -> BadTokenFile:
        return BadTokenFile(path, f"token {number}: {reason}")

    if not isinstance(item, dict):
        raise fail("is not a table")
    if unknown := sorted(item.keys() - _FIELDS):
        raise fail(f"there is no key {unknown[0][:64]}")
    digest, member = item.get("sha256"), item.get("member")
    scopes, label = item.get("scopes"), item.get("label", "")
    if not _is_hex(digest, 32):
        raise fail("sha256 must be 64 hexadecimal digits")
    if member is not None and not _is_hex(member, MEMBER_ID_BYTES):
        raise fail("member must be 32 hexadecimal digits")
    if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(Scope):
        raise fail(f"scopes must be a list of some of {', '.join(Scope)}")
    if not isinstance(label, str) or len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
        raise fail(f"label must be at most {MAX_LABEL_CHARACTERS} printable characters")
    if Scope.READ in scopes and member is None:
        raise fail("the scope read needs a member: it reads what concerns that member")
    return Grant(
        bytes.fromhex(digest),
        MemberId(bytes.fromhex(member)) if member is not None else None,
        frozenset(map(Scope, scopes)),
        label,
    )


def _is_hex(value: object, size: int) -> TypeGuard[str]:
    return isinstance(value, str) and bool(re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value))


def _table(grant: Grant) -> str:
    escaped = grant.label.replace("\\", "\\\\").replace('"', '\\"')
    scopes = ", ".join(f'"{scope}"' for scope in sorted(grant.scopes))
    member = f'member = "{grant.member.hex()}"\n' if grant.member is not None else ""
    return (
        f'\n[[token]]\nlabel = "{escaped}"\nsha256 = "{grant.digest.hex()}"\n'
        f"{member}scopes = [{scopes}]\n"
    )
