"""What can be wrong with a record, each error named for the fact it found."""


class LedgerError(Exception):
    """Base of every refusal of this package: the input is at fault, not the program."""


class Malformed(LedgerError):
    """Bytes are not the canonical encoding of the type asked for."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"malformed {kind}: {reason}")
        self.kind = kind
        self.reason = reason


class BadSignature(LedgerError):
    """A signature does not verify under the key that it names."""

    def __init__(self, what: str) -> None:
        super().__init__(f"signature of {what} does not verify")
        self.what = what


class BadKey(LedgerError):
    """A public key is of low order, not canonical, or of the wrong length."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"unusable public key: {reason}")
        self.reason = reason


class Mismatch(LedgerError):
    """A field does not hold what it must hold."""

    def __init__(self, field: str, expected: object, found: object) -> None:
        super().__init__(f"{field}: expected {_show(expected)}, found {_show(found)}")
        self.field = field
        self.expected = expected
        self.found = found


class BadProof(LedgerError):
    """A Merkle proof does not lead to the root."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"proof fails: {reason}")
        self.reason = reason


class NotEvidence(LedgerError):
    """What a block holds as evidence convicts nobody."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no evidence: {reason}")
        self.reason = reason


class NoQuorum(LedgerError):
    """Too few validators signed."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(f"{found} signatures where a quorum needs {needed}")
        self.found = found
        self.needed = needed


class OtherVoters(LedgerError):
    """Other validators than those that are known voted on a block."""

    def __init__(self, height: int, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"block {height} names validators {found.hex()}…,"
            f" but {expected.hex()}… vote as far as their changes are known"
        )
        self.height = height
        self.expected = expected  # how the hash of those known begins
        self.found = found


class StoreDamaged(LedgerError):
    """A file of the record is damaged where it may not be; nothing was changed.

    `height` is the block that is lost, where the file can tell.
    """

    def __init__(self, path: str, offset: int, reason: str, *, height: int | None = None) -> None:
        block = "" if height is None else f" (block {height})"
        super().__init__(f"{path}: damaged at byte {offset}{block}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason
        self.height = height


class StoreLocked(LedgerError):
    """Another process has this store open."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is in use by another process; stop it first")
        self.path = path


class NotKept(LedgerError):
    """A block is not in the files: it is not there yet, or not any more."""

    def __init__(self, height: int, first: int, last: int) -> None:
        kept = f"only blocks {first} to {last} are" if first <= last else "no block is"
        super().__init__(f"block {height} is not kept here: {kept}")
        self.height = height
        self.first = first
        self.last = last


class HashNotKept(LedgerError):
    """A hash of the log is not in the store, which began with a snapshot above it."""

    def __init__(self, level: int, index: int) -> None:
        super().__init__(f"hash {index} of level {level} of the log is not kept here")
        self.level = level
        self.index = index


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
