"""What is met on the way up a chain: who did how much of what, who was refused, what looks odd.

Of what a chain may hold any number of, some is kept to be told one by one, and all is counted.
"""

import heapq
from collections import Counter
from typing import Any, Final, TypeAlias, get_args

from consensus.evidence import decode as decode_evidence
from contracts.calls import (
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    Propose,
    SetParameters,
    ValidatorJoin,
    ValidatorLeave,
    ValidatorReplace,
    ValidatorRotate,
    parse_call,
)
from contracts.execute import Executed
from contracts.genesis import Genesis
from ledger.block import Header
from ledger.entry import APPLIED, Entry
from ledger.plain import plain
from ledger.transaction import created_id
from node.audit.report import MAX_LISTED, call_name, refusal_name
from node.audit.words import deed_of

MAX_EVENTS: Final = 10_000
_GAP_S: Final = 3_600  # without a block; where nobody does anything there is none

# What changes who a member is to others: its keys, its delegates, its certificate, its validator.
_Event: TypeAlias = (
    KeyAdd
    | KeyRevoke
    | KeyRotate
    | DelegationGrant
    | DelegationWithdraw
    | CertificateBind
    | ValidatorJoin
    | ValidatorLeave
    | ValidatorReplace
    | ValidatorRotate
)
_EVENTS: Final[dict[str, type]] = {type_.__name__: type_ for type_ in get_args(_Event)}
_UNSAID: Final = frozenset(("possession", "signature"))  # long, and verified already


class Longest:
    """The largest of many numbers and the heights that they are of, and how many there were."""

    def __init__(self) -> None:
        self.count = 0
        self._heap: list[tuple[int, int]] = []

    def add(self, number: int, height: int) -> None:
        """Take in one more."""
        self.count += 1
        push = heapq.heappush if len(self._heap) < MAX_LISTED else heapq.heappushpop
        push(self._heap, (number, -height))  # of equal ones the lowest stay

    def largest(self) -> list[tuple[int, int]]:
        """Return them with their heights, the largest first."""
        return [(number, -height) for number, height in sorted(self._heap, reverse=True)]


class Chronicle:
    """Grows by one block at a time."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._time = genesis.time
        self._parameters = genesis.parameters
        self.calls: dict[bytes, Counter[tuple[str, bool]]] = {}  # member -> (call, applied)
        self.refusals: dict[bytes, Counter[str]] = {}  # member -> reason
        self.refused: list[dict[str, Any]] = []
        self.gaps, self.late = Longest(), Longest()
        self.deeds: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.event_count = 0
        self.changed: dict[bytes, dict[str, list[Any]]] = {}  # proposal -> name -> from, to

    def add(self, executed: Executed) -> None:
        """Take in a block."""
        header = executed.header
        if header.height > 1 and header.time - self._time >= _GAP_S:
            self.gaps.add(header.time - self._time, header.height)
        self._time = header.time
        if header.built_round:
            self.late.add(header.built_round, header.height)
        for data, accusation in zip(executed.body.evidence, executed.accusations, strict=True):
            self._accuse(data, accusation.member, header)
        for entry in executed.entries:
            self._enter(entry)
        self._parameters = executed.parameters

    def _accuse(self, data: bytes, member: bytes, header: Header) -> None:
        deed = deed_of(decode_evidence(data), member, self._genesis, header)
        self.deeds.append(
            {
                "id": deed.id,
                "kind": deed.kind,
                "member": deed.member,
                "organisation": deed.organisation,
                "height": deed.height,
                "says": deed.says,
                "recorded": header.height,
                "recorded_time": header.time,
            }
        )

    def _enter(self, entry: Entry) -> None:
        name, was_applied = call_name(entry.call), entry.outcome.code == APPLIED
        self.calls.setdefault(entry.sender, Counter())[name, was_applied] += 1
        if not was_applied:
            self._refuse(entry, name)
        elif name == Propose.__name__:
            self._propose(entry)
        elif name in _EVENTS:
            self.event_count += 1
            if len(self.events) < MAX_EVENTS:
                self.events.append(self._event(entry, name))

    def _refuse(self, entry: Entry, name: str) -> None:
        reason = refusal_name(entry.outcome.code)
        self.refusals.setdefault(entry.sender, Counter())[reason] += 1
        if len(self.refused) < MAX_LISTED:
            self.refused.append(
                {
                    "height": entry.height,
                    "index": entry.index,
                    "member": entry.sender.hex(),
                    "call": name,
                    "reason": reason,
                }
            )

    def _propose(self, entry: Entry) -> None:
        """Keep what a proposal to change parameters would change of those of its time."""
        call = parse_call(entry.call)
        if isinstance(call, Propose) and isinstance(call.subject, SetParameters):
            before, after = plain(self._parameters), plain(call.subject.parameters)
            self.changed[created_id(entry.transaction, entry.position)] = {
                name: [before[name], after[name]] for name in after if before[name] != after[name]
            }

    def _event(self, entry: Entry, name: str) -> dict[str, Any]:
        call = parse_call(entry.call)
        told = {key: value for key, value in plain(call).items() if key not in _UNSAID}
        return {
            "height": entry.height,
            "time": entry.time,
            "member": entry.sender.hex(),
            "call": name,
            "says": told.get("change", told),
        }
