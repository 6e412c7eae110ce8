"""What a diagnosis says: findings by gravity, and where each node stands; for people and programs.

`depoli doctor --json` prints these values as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from node.errors import NodeError


class Verdict(StrEnum):
    """How things stand, in one word."""

    MOVING = "moving"  # blocks come, or one is being decided
    IDLE = "idle"  # nothing waits: that is why there is no block
    STOPPED = "stopped"  # something waits, or would, and no block comes
    DOWN = "down"  # the node itself does not answer


class Gravity(StrEnum):
    """How much a finding matters; the gravest first."""

    STOPS = "stops"  # it is why there is no block, or one of the reasons
    WARNS = "warns"  # blocks come in spite of it, with less to spare
    NOTE = "note"  # good to know


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    gravity: Gravity
    cause: str  # a stable name, for programs
    what: str  # one sentence
    whose: tuple[str, ...]  # labels of the nodes that it is about
    evidence: tuple[str, ...]  # what shows it
    remedy: str  # what to do


@dataclass(frozen=True, slots=True)
class Row:
    """Where one node stands; None for what is not known."""

    label: str
    is_here: bool  # the node that was asked
    link: str  # here, linked, silent or none
    height: int | None = None  # that it decides
    round: int | None = None
    prepared: bool | None = None  # in the round that the diagnosis speaks of
    committed: bool | None = None
    wants: int | None = None  # the highest round it asked for, above the one it is in
    clock_ms: int | None = None  # how far its clock is ahead of most
    version: str | None = None
    free_bytes: int | None = None
    fenced: bool | None = None
    waiting: int | None = None  # transactions


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a doctor says."""

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...] = ()
    height: int | None = None  # of the last block here
    round: int | None = None  # that the open height is in
    leader: str | None = None  # of that round


class NoDiagnosis(NodeError):
    """A node answered the question, but not in a way that this version reads."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the node's diagnosis cannot be read: {reason}",
            hint="use the depoli of the same version as the node",
        )


def by_gravity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with the gravest first, otherwise in their order."""
    order = list(Gravity)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.gravity)))


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as JSON holds it."""
    value: dict[str, Any] = msgspec.to_builtins(diagnosis)
    return value


def from_json(value: object) -> Diagnosis:
    """Return the diagnosis that `to_json` made, or raise `NoDiagnosis`."""
    try:
        return msgspec.convert(value, Diagnosis)
    except msgspec.ValidationError as error:
        raise NoDiagnosis(str(error)) from None
