"""Encryption under one key, bound to its place: XChaCha20-Poly1305, and BLAKE2b with a key.

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) is libsodium's, BLAKE2b (RFC 7693) the standard
library's. A nonce of 24 random bytes stands before what it made.
"""

import secrets
from hashlib import blake2b
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

KEY_BYTES: Final = 32
_NONCE: Final = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES


class NotOpened(Exception):
    """Another key, another place, or changed bytes: which one cannot be told."""


def encrypt(plain: bytes, key: bytes, bound: bytes) -> bytes:
    """Return `plain` so that only `key` opens it, and only in the place `bound`."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)


def decrypt(sealed: bytes, key: bytes, bound: bytes) -> bytes:
    """Return what `encrypt` was given, or raise `NotOpened`."""
    try:
        plain: bytes = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[_NONCE:], bound, sealed[:_NONCE], key
        )
    except (CryptoError, ValueError, TypeError):
        raise NotOpened from None
    return plain


def keyed_hash(data: bytes, *, key: bytes, salt: bytes = b"", person: bytes = b"") -> bytes:
    """Return 32 bytes that nobody without `key` computes or guesses `data` by."""
    person = person.ljust(16, b"\x00")
    return blake2b(data, digest_size=KEY_BYTES, key=key, salt=salt, person=person).digest()
