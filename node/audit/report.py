"""What a verified chain holds, in counts that an auditor can compare with what he was told."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, get_args

from contracts.calls import Call
from contracts.errors import Refusal
from contracts.execute import Executed
from contracts.versions import Agenda
from ledger.block import Header
from ledger.entry import APPLIED, Outcome
from ledger.validators import EVERYONE

MAX_LISTED: Final = 100  # of what looks odd, that is told one by one; all is counted

_CALL_NAMES: Final[dict[int, str]] = {type_.KIND: type_.__name__ for type_ in get_args(Call)}

_U8: Final = 0xCC  # begins a number above 127

_REFUSAL_NAMES: Final = {int(one): one.name.lower().replace("_", " ") for one in Refusal}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export or a verification is."""

    height: int
    done: int  # bytes of the file
    total: int = 0  # bytes of the file, 0 where that is not known
    calls: int = 0  # executed


@dataclass
class Activity:
    """What one member did, what came of it, and how much concerned it."""

    label: str
    transactions: int = 0
    applied: int = 0
    refused: int = 0
    concerned: int = 0  # entries in its own chain, made by itself or by others
    proposed: int = 0  # blocks


@dataclass
class Report:
    """Counts over the blocks that were verified."""

    chain_id: bytes
    header: Header  # of the last block verified
    members: dict[bytes, Activity]
    first_time: int = 0  # unix seconds
    transactions: int = 0
    entries: int = 0
    signatures: int = 0
    seconds: float = 0.0  # that the verification took
    export_bytes: int = 0
    export_digest: bytes = b""  # SHA-256 of the file, as it was read
    calls: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    accused: Counter[bytes] = field(default_factory=Counter)  # member -> offences recorded
    versions: dict[int, int] = field(default_factory=dict)  # of the rules -> first block under it
    agenda: Agenda | None = None  # of the rules, after the last block
    late: int = 0  # blocks built in a round above 0
    first_late: list[int] = field(default_factory=list)  # the lowest heights of them

    def add(self, executed: Executed) -> None:
        """Count a block."""
        self.header = header = executed.header
        self.first_time = self.first_time or header.time
        self.versions.setdefault(header.version, header.height)
        self.transactions += len(executed.body.transactions)
        self.entries += len(executed.entries)
        if header.built_round:
            self.late += 1
            if len(self.first_late) < MAX_LISTED:
                self.first_late.append(header.height)
        self._of(header.proposer).proposed += 1
        self.accused.update(accusation.member for accusation in executed.accusations)
        for entry, concerned in zip(executed.entries, executed.concerned, strict=True):
            self.calls[call_name(entry.call)] += 1
            sender = self._of(entry.sender)
            sender.transactions += entry.position == 0
            if entry.outcome.code == APPLIED:
                sender.applied += 1
            else:
                sender.refused += 1
                self.refusals[refusal_name(entry.outcome.code)] += 1
            for member in concerned:
                self._of(member).concerned += 1

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "verified": True,
            "chain_id": self.chain_id.hex(),
            "height": self.header.height,
            "header": self.header.hash.hex(),
            "first_time": self.first_time,
            "last_time": self.header.time,
            "log_size": self.header.log_size,
            "log_root": self.header.log_root.hex(),
            "state_digest": self.header.state_digest.hex(),
            "transactions": self.transactions,
            "entries": self.entries,
            "signatures": self.signatures,
            "seconds": round(self.seconds, 3),
            "calls": dict(sorted(self.calls.items())),
            "refusals": dict(sorted(self.refusals.items())),
            "versions": [
                {"version": version, "from_height": height}
                for version, height in self.versions.items()
            ],
            "exceptions": {
                "late_blocks": {"count": self.late, "first": self.first_late},
                "accused": {member.hex(): count for member, count in sorted(self.accused.items())},
            },
            "members": [
                {
                    "member": member.hex(),
                    "label": activity.label,
                    "transactions": activity.transactions,
                    "applied": activity.applied,
                    "refused": activity.refused,
                    "concerned": activity.concerned,
                    "proposed": activity.proposed,
                }
                for member, activity in sorted(self.members.items())
            ],
        }

    def _of(self, member: bytes) -> Activity:
        label = "everyone" if member == EVERYONE else ""
        return self.members.setdefault(member, Activity(label))


def when(time: int) -> str:
    """Return unix seconds as people read them."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def call_name(call: bytes) -> str:
    """Return what an encoded call is called; its number stands behind the length of the array."""
    return _CALL_NAMES[call[2] if call[1] == _U8 else call[1]]


def outcome_name(outcome: Outcome) -> str:
    """Return an outcome as people read it: applied, or refused and why, with its evidence."""
    if outcome.code == APPLIED:
        return "applied"
    name = refusal_name(outcome.code)
    return f"{name} {list(outcome.evidence)}" if outcome.evidence else name


def refusal_name(code: int) -> str:
    """Return what a refusal is called."""
    return _REFUSAL_NAMES.get(code, f"refusal {code}")
