"""What can go wrong outside the record: each error says what is wrong and what to do about it."""

import os
from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """How a command ends; scripts rely on these numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3
    VERIFICATION_FAILED = 4
    NOT_FOUND = 5
    REJECTED = 6
    NOT_INITIALISED = 10
    LOCKED = 11
    WRONG_PASSPHRASE = 12
    UNREACHABLE = 13
    OUTDATED = 14


class NodeError(Exception):
    """Base of this package's refusals: one sentence of what is wrong, `hint` of what to do.

    Neither holds a secret, because both are printed and logged.
    """

    exit_code: ClassVar[Exit] = Exit.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Usage(NodeError):
    """What was asked for makes no sense, whatever the state of the world."""

    exit_code = Exit.USAGE


class Pending(NodeError):
    """Sent, but not decided within the time given."""

    exit_code = Exit.PENDING


class VerificationFailed(NodeError):
    """Something does not prove what it claims."""

    exit_code = Exit.VERIFICATION_FAILED


class NotFound(NodeError):
    """The thing named does not exist, or is not for the asker to see."""

    exit_code = Exit.NOT_FOUND


class Rejected(NodeError):
    """The network, or a rule, refused it."""

    exit_code = Exit.REJECTED


class NotInitialised(NodeError):
    """A folder or file that must be made first is missing."""

    exit_code = Exit.NOT_INITIALISED


class Locked(NodeError):
    """Another process holds it, or a key to it is missing."""

    exit_code = Exit.LOCKED


class WrongPassphrase(NodeError):
    """The passphrase does not open it."""

    exit_code = Exit.WRONG_PASSPHRASE


class Unreachable(NodeError):
    """Nobody answers at an address."""

    exit_code = Exit.UNREACHABLE


class HistoryTooLong(NodeError):
    """More entries concern a member between two heights than are handed out at once."""

    def __init__(self, number: int, most: int) -> None:
        super().__init__(
            f"{number} entries concern the member between these heights, more than {most}",
            hint="ask for the history in parts, each up to where the next begins",
        )


class CannotListen(NodeError):
    """An address at which something should answer cannot be taken; `key` says where it is set."""

    def __init__(self, key: str, address: tuple[str, int], error: OSError) -> None:
        number = error.errno or 0  # below 0 for a host name that is not found
        reason = os.strerror(number) if number > 0 else error.strerror
        where = key if key.startswith("--") else f"{key} in config.toml"
        super().__init__(
            f"cannot listen on {address[0]}:{address[1]}: {reason}",
            hint=f"stop what listens there, or choose another {where}",
        )
