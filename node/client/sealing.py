"""Sealing a file to a member: only who holds its sealing key reads it (libsodium's sealed box).

Sealing keys are registered as Ed25519 points, as every key is, and used on the curve that is
birationally the same (X25519). Where a member registered none, the file stays plain and is to be
handed over by a way that is private itself.
"""

import base64
import binascii
import json
from functools import lru_cache
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from contracts.genesis import Founder
from ledger.keys import Role, SigningKey
from node.client.errors import NotReadable, NotVerified
from node.client.reading import parse_object

FORMAT: Final = "depoli/sealed/1"
_FIELDS: Final = {"format", "recipient", "sealed"}


def seal(plain: bytes, recipient: Founder) -> bytes:
    """Return `plain` as a file that only `recipient` reads; plain itself where it has no key."""
    return seal_to(plain, recipient.id, recipient.key(Role.SEALING))


def seal_to(plain: bytes, recipient: bytes, public: bytes | None) -> bytes:
    """Return `plain` as a file that only the member with this sealing key reads; plain if None."""
    if public is None:
        return plain
    curve = _curve_of(public)
    sealed = base64.b64encode(sodium.crypto_box_seal(plain, curve)).decode()
    value = {"format": FORMAT, "recipient": recipient.hex(), "sealed": sealed}
    return json.dumps(value, indent=2).encode() + b"\n"


def unseal(data: bytes, name: str, seed: bytes | None, *, must_be: bool = False) -> bytes:
    """Return what a file holds, unsealed with the key of this seed where it is sealed.

    Raises `NotVerified` where it is sealed to another key, `NotReadable` where it is no file of
    ours, or is not sealed and `must_be`. `name` is the file's.
    """
    value = parse_object(data, name)
    if value.get("format") != FORMAT:
        if must_be:
            raise NotReadable(f"{name} is not sealed")
        return data
    text = value.get("sealed")
    if value.keys() != _FIELDS or not isinstance(text, str):
        raise NotReadable(f"{name} is no sealed file")
    try:
        sealed = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise NotReadable(f"{name} is no sealed file") from None
    if seed is None:
        raise NotVerified(
            "seal",
            "this file is sealed, and there is no sealing key here",
            hint="client.toml names it",
        )
    public, secret = _on_the_curve(seed)
    try:
        plain: bytes = sodium.crypto_box_seal_open(sealed, public, secret)
    except (CryptoError, ValueError, TypeError):
        raise NotVerified("seal", "this file is sealed to another key, or was changed") from None
    return plain


@lru_cache(maxsize=256)  # whoever answers hundreds a second answers few members
def _curve_of(public: bytes) -> bytes:
    """Return the key on the curve for sealing to who has this one."""
    curve: bytes = sodium.crypto_sign_ed25519_pk_to_curve25519(public)
    return curve


@lru_cache(maxsize=4)  # whoever takes in hundreds a second has one key
def _on_the_curve(seed: bytes) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a seed, for opening boxes."""
    key = SigningKey(seed)
    secret: bytes = sodium.crypto_sign_ed25519_sk_to_curve25519(seed + key.public)
    public: bytes = sodium.crypto_sign_ed25519_pk_to_curve25519(key.public)
    return public, secret
