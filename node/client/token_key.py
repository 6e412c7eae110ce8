"""A way to unlock that needs a PKCS#11 token: an AES key that never leaves it.

The token encrypts a random key, which the keyring keeps so; only that token, given its PIN, makes
it plain again. The mechanism is AES-CBC over two whole blocks, which every token has; that what
comes back is right, the authenticated encryption of the keyring shows.
"""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node.client.aead import KEY_BYTES, keyed_hash
from node.client.errors import ClientError, WrongKey
from node.client.unlocking import BadWay, WayKind

_IV_BYTES: Final = 16
_DETAIL_BYTES: Final = _IV_BYTES + KEY_BYTES
_AES_BITS: Final = 256


class TokenTrouble(ClientError):
    """The token, its module or the key in it does not do what is needed."""


@dataclass(frozen=True, slots=True)
class Token:
    """An AES key in a token. It never prints the PIN."""

    module: Path  # the library of whoever made the token
    token: str  # label of the token
    key: str  # label of the key in it
    pin: str = field(repr=False)
    kind: WayKind = WayKind.TOKEN

    def enrol(self) -> bytes:
        """Return a new random key as the token encrypted it; the AES key is made if there is none.

        Raises `TokenTrouble`, `WrongKey`.
        """
        iv = secrets.token_bytes(_IV_BYTES)
        with self._aes(is_made=True) as (aes, mechanism):
            sealed: bytes = aes.encrypt(
                secrets.token_bytes(KEY_BYTES), mechanism=mechanism, mechanism_param=iv
            )
        return iv + sealed

    def derive(self, salt: bytes, detail: bytes) -> bytes:
        """Return the way's key; raise `BadWay`, `TokenTrouble`, `WrongKey`."""
        if len(detail) != _DETAIL_BYTES:
            raise BadWay
        iv, sealed = detail[:_IV_BYTES], detail[_IV_BYTES:]
        with self._aes(is_made=False) as (aes, mechanism):
            plain = aes.decrypt(sealed, mechanism=mechanism, mechanism_param=iv)
        return keyed_hash(b"", key=plain, salt=salt, person=b"vault way")

    @contextlib.contextmanager
    def _aes(self, *, is_made: bool) -> Iterator[tuple[Any, Any]]:
        """Yield the AES key in an open session, and the mechanism; the session ends after."""
        try:
            import pkcs11  # noqa: PLC0415 - an extra, and slow
            from pkcs11 import exceptions as refusals  # noqa: PLC0415
        except ImportError:
            raise TokenTrouble(
                "the vault opens by a token, and python-pkcs11 is not installed",
                hint="pip install 'depoli[pkcs11]'",
            ) from None
        named = f"the token {self.token}"
        try:
            module = pkcs11.lib(str(self.module))
        except (refusals.PKCS11Error, RuntimeError):
            raise TokenTrouble(
                f"{self.module} is no PKCS#11 module",
                hint="pkcs11_module in client.toml names the library of the token's maker",
            ) from None
        try:
            token = module.get_token(token_label=self.token)
            with token.open(rw=is_made, user_pin=self.pin) as session:
                yield self._found(pkcs11, session, is_made=is_made), pkcs11.Mechanism.AES_CBC
        except refusals.PinLocked:
            raise TokenTrouble(
                f"{named} is locked: its PIN was wrong too often", hint="unlock it with its SO PIN"
            ) from None
        except (refusals.PinIncorrect, refusals.PinLenRange, refusals.PinInvalid):
            raise WrongKey(
                f"this PIN does not open {named}", hint="a token locks after a few wrong ones"
            ) from None
        except refusals.NoSuchToken:
            raise TokenTrouble(f"{named} is not there", hint="plug it in") from None
        except refusals.NoSuchKey:
            raise TokenTrouble(
                f"{named} holds no AES key {self.key}",
                hint="depoli vault rekey --token makes one, where another way opens the vault",
            ) from None
        except refusals.PKCS11Error as error:
            raise TokenTrouble(
                f"{named} refuses: {type(error).__name__}", hint="see its maker's manual"
            ) from None

    def _found(self, pkcs11: Any, session: Any, *, is_made: bool) -> Any:  # noqa: ANN401
        """Return the AES key of our label, made where it may be and is not there."""
        wanted = {"object_class": pkcs11.ObjectClass.SECRET_KEY, "key_type": pkcs11.KeyType.AES}
        try:
            return session.get_key(label=self.key, **wanted)
        except pkcs11.NoSuchKey:
            if not is_made:
                raise
        attribute = pkcs11.Attribute
        template = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False}
        return session.generate_key(
            pkcs11.KeyType.AES, _AES_BITS, label=self.key, store=True, template=template
        )
