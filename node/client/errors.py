"""What can go wrong on the people's side: each error says what is wrong and what to do about it.

No message holds a salt, a blinding, a key, or what looks like a social security number.
"""

from collections.abc import Sequence
from typing import ClassVar, Self

FAILED = 1
USAGE = 2
PENDING = 3
VERIFICATION_FAILED = 4
NOT_FOUND = 5
REJECTED = 6
LOCKED = 11
WRONG_PASSPHRASE = 12
UNREACHABLE = 13


class ClientError(Exception):
    """Base of this package's refusals; `exit_code` is how a command ends that meets it."""

    exit_code: ClassVar[int] = FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotReadable(ClientError):
    """A file is not what its name or place says."""

    exit_code = USAGE


class Refused(ClientError):
    """A rule refuses what was typed, before anything is kept or sent; `field` is where."""

    exit_code = REJECTED

    def __init__(self, field: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{field}: {reason}", hint=hint)
        self.field = field
        self.reason = reason


class ManyRefused(Refused):
    """Several rules refuse what was typed; `faults` are all of them, in the order of the file."""

    def __init__(self, faults: Sequence[Refused]) -> None:
        first = faults[0]
        hint = next((fault.hint for fault in faults if fault.hint), "")
        super().__init__(first.field, first.reason, hint=hint)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        """Return all of it, in one line."""
        return "; ".join(map(str, self.faults))


class SocialSecurityNumber(Refused):
    """A field holds what reads as a social security number; the number is not repeated."""

    def __init__(self, field: str) -> None:
        super().__init__(
            field,
            "this reads as a social security number, which never enters",
            hint="use your own or the payer's reference; a row of 13 digits that only looks like"
            " such a number must be broken by a letter",
        )


class NotVerified(ClientError):
    """A document does not prove what it claims; `fact` names what is false."""

    exit_code = VERIFICATION_FAILED

    def __init__(self, fact: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{fact}: {reason}", hint=hint)
        self.fact = fact


class NotFound(ClientError):
    """There is no such thing here, or it is not for the asker to see."""

    exit_code = NOT_FOUND


class Pruned(ClientError):
    """It was there, and the node keeps it no more."""

    exit_code = NOT_FOUND


class NetworkRefused(ClientError):
    """The network refused a transaction or a call in it."""

    exit_code = REJECTED


class Undecided(ClientError):
    """Sent, and not decided within the time given."""

    exit_code = PENDING


class Unreachable(ClientError):
    """Nobody answers at the node's address."""

    exit_code = UNREACHABLE


class VaultLocked(ClientError):
    """Another process writes to the vault, or its key is missing."""

    exit_code = LOCKED


class KeyringMissing(VaultLocked):
    """The file with the keys of the vault's records is not there."""

    def __init__(self, vault: object, keyring: object) -> None:
        super().__init__(
            f"{keyring} is missing, the keyring of {vault}: without it nobody reads the vault",
            hint="put it back, or take the copy: depoli vault restore --keyring FOLDER",
        )


class DiskFull(ClientError):
    """The vault's disk has no room; nothing of what was to be written is there."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"no room is left on the disk of {path}; the vault is as it was before",
            hint="free some space, and run the same command again",
        )


class WrongKey(ClientError):
    """The key or passphrase does not open the vault."""

    exit_code = WRONG_PASSPHRASE

    @classmethod
    def of(cls, vault: object, tried: str, known: Sequence[str]) -> Self:
        """Return the error of having tried one way where there are others."""
        others = ", ".join(sorted({each for each in known if each != tried}))
        return cls(
            f"this {tried} does not open {vault}",
            hint=f"it also opens by: {others}"
            if others
            else f"each vault has its own {tried}; without it nobody can read the vault",
        )


class VaultDamaged(ClientError):
    """A record of the vault was changed, moved or cut by something else than this program."""
