"""Tokens are kept as hashes, and each grants what its file says and no more."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.validators import MemberId
from node import files
from node.tokens import (
    BadTokenFile,
    Grant,
    Scope,
    TokenBook,
    add_grant,
    digest_of,
    new_token,
    parse_tokens,
)

MEMBER = MemberId(bytes(range(16)))
DIGEST = "ab" * 32


def write(path: Path, text: str) -> Path:
    files.create(path, text.encode(), secret=True)
    return path


def test_a_token_that_was_added_grants_its_scopes(tmp_path: Path) -> None:
    path, token = tmp_path / "tokens.toml", new_token()
    shop = Grant(
        digest_of(token), MEMBER, frozenset({Scope.READ, Scope.SUBMIT}), 'a "shop" \\ café'
    )
    add_grant(path, shop)
    audit = Grant(digest_of(new_token()), None, frozenset({Scope.AUDIT}), "")
    add_grant(path, audit)
    book = parse_tokens(path)
    assert len(book) == 2
    assert book.lookup(token) == shop
    assert shop.allows(Scope.SUBMIT)
    assert not shop.allows(Scope.AUDIT)
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert len(parse_tokens(tmp_path / "tokens.toml")) == 0


@given(st.text(max_size=80))
def test_any_other_token_grants_nothing(token: str) -> None:
    given_out = new_token()
    book = TokenBook([Grant(digest_of(given_out), None, frozenset({Scope.ADMIN}), "")])
    assert book.lookup(given_out) is not None
    assert book.lookup(token) is None


def test_a_token_whose_hash_only_begins_alike_grants_nothing() -> None:
    token = new_token()
    near = digest_of(token)[:8] + bytes(24)
    assert TokenBook([Grant(near, None, frozenset({Scope.ADMIN}), "")]).lookup(token) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 3", "must hold"),
        ("token = 3", "must hold"),
        ("token = [3]", "token 1: is not a table"),
        ("[[token]]\nscope = 3", "token 1: there is no key scope"),
        (f'[[token]]\nscopes = ["audit"]\nsha256 = "{DIGEST[1:]}"', "64 hexadecimal"),
        (f'[[token]]\nscopes = ["audit"]\nsha256 = "{DIGEST.upper()}"', "64 hexadecimal"),
        (f'[[token]]\nscopes = ["all"]\nsha256 = "{DIGEST}"', "scopes must be"),
        (f'[[token]]\nscopes = []\nsha256 = "{DIGEST}"', "scopes must be"),
        (f'[[token]]\nscopes = "audit"\nsha256 = "{DIGEST}"', "scopes must be"),
        (f'[[token]]\nscopes = [["audit"]]\nsha256 = "{DIGEST}"', "scopes must be"),
        (f'[[token]]\nscopes = ["read"]\nsha256 = "{DIGEST}"', "needs a member"),
        (f'[[token]]\nscopes = ["read"]\nmember = "ab"\nsha256 = "{DIGEST}"', "member must be"),
        (f'[[token]]\nscopes = ["audit"]\nlabel = "a\\nb"\nsha256 = "{DIGEST}"', "label must be"),
        (f'[[token]]\nscopes = ["audit"]\nsha256 = "{DIGEST}"\n' * 2, "two tokens are the same"),
        ("[[token", "not a TOML file"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadTokenFile, match=reason):
        parse_tokens(write(tmp_path / "tokens.toml", text))


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens.toml", "")
    path.chmod(0o622)
    with pytest.raises(files.Exposed):
        parse_tokens(path)
