"""What an auditor is told: what is false and where, or why there is nothing to judge yet."""

from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar


class AuditError(Exception):
    """Base of this package's refusals: one sentence of what is wrong, `hint` of what to do."""

    exit_code: ClassVar[int] = 1  # as node.errors.Exit numbers them

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FalseFact(AuditError):
    """The first thing in an export that is not so: where, which field, what should be there."""

    exit_code = 4

    def __init__(
        self,
        field: str,
        expected: object,
        found: object,
        *,
        height: int | None,
        place: str = "",
        transaction: int | None = None,  # within the block
        call: int | None = None,  # within the transaction
        file: str | None = None,
    ) -> None:
        self.height, self.transaction, self.call, self.file = height, transaction, call, file
        self.field, self._expected, self._found, self._inside = field, expected, found, place
        self.expected, self.found = _shown(expected), _shown(found)
        where = "before the first block" if height is None else f"block {height}"
        parts = [where if file is None else f"{file}: {where}"]
        parts += [] if transaction is None else [f"transaction {transaction}"]
        parts += [] if call is None else [f"call {call}"]
        parts += [place] if place else []
        self.place = ", ".join(parts)
        super().__init__(f"{self.place}: {field}: expected {self.expected}, found {self.found}")

    def within(self, file: str) -> "FalseFact":
        """Return the same fact, told of one of several files."""
        return FalseFact(
            self.field,
            self._expected,
            self._found,
            height=self.height,
            place=self._inside,
            transaction=self.transaction,
            call=self.call,
            file=file,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fact as JSON values."""
        return {
            "verified": False,
            "file": self.file,
            "height": self.height,
            "transaction": self.transaction,
            "call": self.call,
            "place": self.place,
            "field": self.field,
            "expected": self.expected,
            "found": self.found,
        }


class BadReport(AuditError):
    """A report is not signed as it should be, or says something else than the export does."""

    exit_code = 4

    def __init__(self, field: str, expected: object, found: object) -> None:
        self.field, self.expected, self.found = field, _shown(expected), _shown(found)
        super().__init__(f"the report: {field}: expected {self.expected}, found {self.found}")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verified": False,
            "field": self.field,
            "expected": self.expected,
            "found": self.found,
        }


class UnknownRules(AuditError):
    """From a height on the chain is under rules that this software does not know."""

    exit_code = 14

    def __init__(self, version: int, height: int, known: tuple[int, ...], last: int) -> None:
        here = ", ".join(map(str, known))
        below = f"blocks 1 to {last} are true" if last else "there is no block before"
        super().__init__(
            f"from block {height} on version {version} of the rules is in force, and this software"
            f" knows {here}; {below}",
            hint=f"verify it with a release that knows version {version}",
        )
        self.version, self.height, self.known, self.last = version, height, known, last

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verified": False,
            "verified_to": self.last,
            "height": self.height,
            "version": self.version,
            "known": list(self.known),
        }


class NoBlocks(AuditError):
    """The folder named holds no blocks."""

    exit_code = 10

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} does not exist: there are no blocks", hint="name the folder of a node"
        )


class Pruned(AuditError):
    """The blocks that an export goes on with are not in the folder any more.

    An export that began later would prove nothing: it is verified from the genesis on.
    """

    def __init__(self, height: int, first: int) -> None:
        super().__init__(
            f"block {height} is not there any more: whole blocks begin with {first}",
            hint="extend an export that reaches so far, or take a node that keeps all",
        )


class NoEvidence(AuditError):
    """The evidence named is not there."""

    exit_code = 5

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no evidence {id_}", hint="depoli evidence list shows all")


class OtherChain(AuditError):
    """The file to extend is no export of the chain that is offered."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the file is no export of this chain: {reason}", hint="choose another file with -o"
        )


class BadStream(AuditError):
    """A node sent something else than the chain."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the node did not send its chain: {reason}", hint="what was read is kept; try again"
        )


class Refused(AuditError):
    """A node answers, but not to this token; or it keeps no more what is asked for."""

    def __init__(self, status: int, detail: str) -> None:
        is_gone = status == HTTPStatus.GONE
        super().__init__(
            f"the node refuses ({status}): {detail}",
            hint="take a node that keeps all, or extend an export that was made before"
            if is_gone
            else "name with --token-file a token of this node with the scope audit",
        )


class Unreachable(AuditError):
    """Nobody answers at the address, or the line broke."""

    exit_code = 13

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url}: {reason}",
            hint="see that the node runs, and try again; an export keeps what was read",
        )


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
