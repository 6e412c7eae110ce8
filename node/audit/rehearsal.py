"""Rehearse an upgrade: execute a whole chain by this software before it runs in a node.

What was decided by another release must execute here to the same outcomes, roots and digests, block
by block, and what is scheduled must be known here. Then this software can take a node's place.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import dispatch
from contracts.genesis import SignedGenesis
from contracts.versions import Scheduled
from ledger.encoding import decode
from ledger.plain import plain
from node.audit.errors import FalseFact, UnknownRules
from node.audit.reading import naming
from node.audit.records import Records
from node.audit.replay import Show, verify_export
from node.audit.report import Report


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it."""

    known: tuple[int, ...]  # versions of the rules, to this software
    report: Report | None  # of the whole chain, None where it does not execute to the same
    fault: FalseFact | UnknownRules | None  # where it does not

    @property
    def scheduled(self) -> Scheduled | None:
        """The version that is to follow after the last block."""
        agenda = None if self.report is None else self.report.agenda
        return None if agenda is None else agenda.scheduled

    @property
    def is_safe(self) -> bool:
        """Whether a node may run with this software."""
        coming = self.scheduled
        return self.fault is None and (coming is None or coming.version in self.known)

    @property
    def reason(self) -> str:
        """Why it is not safe, "" where it is."""
        if self.fault is not None:
            return str(self.fault)
        if self.is_safe or self.scheduled is None:
            return ""
        here = ", ".join(map(str, self.known))
        return f"version {self.scheduled.version} is scheduled, and this software knows {here}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        coming = self.scheduled
        return {
            "safe": self.is_safe,
            "reason": self.reason,
            "known": list(self.known),
            "scheduled": None if coming is None else plain(coming),
            "fault": None if self.fault is None else self.fault.to_json(),
            "report": None if self.report is None else self.report.to_json(),
        }


def genesis_of(path: Path) -> SignedGenesis:
    """Return the genesis that an export begins with, not yet verified; raise `FalseFact`."""
    with path.open("rb") as file, naming(None):
        records = Records(file)
        records.read_magic()
        return decode(next(records, b""), SignedGenesis, kind="genesis")


def rehearse(
    path: Path, genesis: SignedGenesis, *, workers: int | None = None, show: Show = lambda _: None
) -> Rehearsal:
    """Return whether the chain in an export executes here as it did, and goes on here.

    `BadGenesis` where the genesis founds no chain, OSError where the file cannot be read.
    """
    try:
        report = verify_export(path, genesis, workers=workers, show=show)
    except (FalseFact, UnknownRules) as fault:
        return Rehearsal(dispatch.known(), None, fault)
    return Rehearsal(dispatch.known(), report, None)
