"""Signatures that this node has verified, so that none is verified twice.

Verifying releases the interpreter's lock, so many are verified in a worker thread while the event
loop goes on.
"""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from threading import Lock
from typing import Final, TypeAlias

from ledger import keys
from ledger.transaction import Transaction

REMEMBERED: Final = 200_000  # a key takes some 150 bytes: 30 MB at most

Triple: TypeAlias = tuple[bytes, bytes, bytes]  # public key, message, signature


class VerifiedSignatures:
    """A bounded memory of good signatures; bad ones are verified, and refused, every time."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()  # the event loop and the workers share it

    def verify(self, transaction: Transaction, public: bytes) -> None:
        """Raise `BadSignature` unless `transaction` is signed under `public`."""
        self.verify_raw(public, transaction.signed_message, transaction.signature, "transaction")

    def verify_all(self, triples: Iterable[Triple], what: str) -> None:
        """Raise `BadSignature` unless every (public key, message, signature) verifies."""
        for public, message, signature in triples:
            self.verify_raw(public, message, signature, what)

    def unknown(self, triples: Iterable[Triple]) -> list[Triple]:
        """Return those that are not known to verify."""
        return [each for each in triples if _name(*each) not in self._good]

    def verify_raw(self, public: bytes, message: bytes, signature: bytes, what: str) -> None:
        """Raise `BadSignature` unless `signature` is of `message` under `public`."""
        name = _name(public, message, signature)
        if name in self._good:
            return
        keys.verify(public, message, signature, what=what)
        with self._lock:
            self._good[name] = None
            if len(self._good) > self._remembered:
                self._good.popitem(last=False)


def _name(public: bytes, message: bytes, signature: bytes) -> bytes:
    # A signature has 64 bytes; a key may have 32 or 33, so its length is said.
    return sha256(bytes((len(public),)) + public + signature + message).digest()
