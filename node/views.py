"""What the HTTP API shows of a record: its plain form, with names where the record has numbers."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, assert_never

from contracts import authorisation as authorisations
from contracts import settlement as settlements
from contracts.authorisation import Authorisation
from contracts.batch import Settlement
from contracts.calls import Mark, parse_call
from contracts.claim import Claim, state_of
from contracts.eras import Era
from contracts.erasure import Erasure
from contracts.errors import Refusal
from contracts.explanation import Explanation, Step
from contracts.parameters import Parameters
from contracts.prescription import Prescription
from contracts.state import Reader
from ledger import transaction as transactions
from ledger.block import BareBlock, CommittedBlock
from ledger.entry import APPLIED, Entry, Outcome
from ledger.plain import plain
from node import problems
from node.p2p import Twins
from node.results import Committed, Pending, Refused, Result


def result(what: Result) -> dict[str, Any]:
    """Return what became of a transaction."""
    match what:
        case Committed():
            return {
                "id": what.id.hex(),
                "status": "committed",
                "height": what.height,
                "time": what.time,
                "outcomes": [outcome(each) for each in what.outcomes],
                "pruned": what.sender is None,
            }
        case Pending():
            return {"id": what.id.hex(), "status": "pending"}
        case Refused():
            named = {} if what.id is None else {"id": what.id.hex()}
            return named | {"status": "rejected", "problem": problems.problem_of(what.error)}
        case _:
            assert_never(what)


def outcome(what: Outcome) -> dict[str, object]:
    """Return the outcome of a call: its name, and what a person reads."""
    if what.code == APPLIED:
        return {"code": APPLIED, "name": "APPLIED", "text": "", "evidence": []}
    refusal = Refusal(what.code)
    return {
        "code": what.code,
        "name": refusal.name,
        "text": refusal.text,
        "evidence": list(what.evidence),
    }


def claim(state: Reader, id_: bytes, record: Claim, *, time: int) -> dict[str, Any]:
    """Return a claim as it stands at this time; "settled" once its settlement is confirmed."""
    names = {
        "leg": record.leg.name.lower(),
        "state": state_of(state, record, time).name.lower(),
        "reason": None if record.reason is None else record.reason.name,
        "disputed": [ground.name for ground in record.disputed],
        "marks": _marks(record.marks),
    }
    return {"id": id_.hex(), **plain(record), **names}


def authorisation(state: Reader, id_: bytes, record: Authorisation, *, time: int) -> dict[str, Any]:
    """Return an authorisation as it stands at this time."""
    names = {
        "leg": record.leg.name.lower(),
        "state": authorisations.state_of(state, record, time).name.lower(),
        "reason": None if record.reason is None else record.reason.name,
        "marks": _marks(record.marks),
    }
    return {"id": id_.hex(), **plain(record), **names}


def prescription(member: bytes, id_: bytes, record: Prescription) -> dict[str, Any]:
    """Return whether a prescription of this member is in force, and nothing of when or why."""
    return {"id": id_.hex(), "member": member.hex(), "state": record.state.name.lower()}


def settlement(
    state: Reader, parameters: Parameters, id_: bytes, record: Settlement
) -> dict[str, Any]:
    """Return a settlement, and by when somebody has to answer; its claims are asked for apart."""
    rows = settlements.LIFE.open_rows(record.state)
    due = [row.due(state, record, parameters) for row in rows if row.due is not None]
    names = {
        "direction": record.direction.name.lower(),
        "state": record.state.name.lower(),
        "ground": None if record.ground is None else record.ground.name,
        "due": min(due, default=None),
    }
    return {"id": id_.hex(), **plain(record), **names}


def erasure(id_: bytes, record: Erasure) -> dict[str, Any]:
    """Return an erasure: who asked whom, and what became of it."""
    names = {
        "state": record.state.name.lower(),
        "outcome": None if record.outcome is None else record.outcome.name,
    }
    return {"id": id_.hex(), **plain(record), **names}


def explanation(
    kind: str,
    id_: bytes,
    found: Explanation | None,
    entries: Sequence[Entry],
    *,
    time: int,
    is_whole: bool = True,
) -> dict[str, Any]:
    """Return what the table says of a thing, None where every call that named it was refused.

    `is_whole` says whether the entries are all that there were.
    """
    thing = None if found is None else found.thing
    return {
        "kind": kind,
        "id": id_.hex(),
        "time": time,
        "state": None if found is None else _name(found.state),
        "parties": {} if found is None else {_name(p): m.hex() for p, m in found.parties},
        "marks": _held(found),
        "automatic": bool(getattr(thing, "automatic", False)),
        "disputed": [_name(ground) for ground in getattr(thing, "disputed", ())],
        "settlement": _hex(getattr(thing, "settlement", None)),
        "history": [event(entry) for entry in entries],
        "pruned": not is_whole,
        "steps": [] if found is None else [step(each, time) for each in found.steps],
    }


def _held(found: Explanation | None) -> dict[str, Any] | None:
    """Return whether a thing holds its marks, and until when; None where it has none."""
    if found is None or not hasattr(found.thing, "marks"):
        return None
    return {"held": found.holds is not None, "until": found.holds and found.holds.until}


def event(entry: Entry) -> dict[str, Any]:
    """Return an entry as what happened: the call, what of a closed list it says, its outcome."""
    call = parse_call(entry.call)
    values = {name: getattr(call, name) for name in call.__struct_fields__}
    return {
        "call": type(call).__name__,
        "sender": entry.sender.hex(),
        "height": entry.height,
        "time": entry.time,
        "transaction": entry.transaction.hex(),
        "position": entry.position,
        "says": {
            name: _name(value) if isinstance(value, IntEnum) else value
            for name, value in values.items()
            if isinstance(value, IntEnum | bool)
        },
        "gives": [name for name, value in values.items() if value is not None],
        "outcome": outcome(entry.outcome),
    }


def entry(count: int, number: int | None, what: Entry) -> dict[str, Any]:
    """Return an entry as the `count`th that concerns a member, with all that its call says.

    `number` is that in the log, None where it is not known.
    """
    fields = plain(parse_call(what.call))
    return {"count": count, "number": number, **event(what), "fields": fields}


def step(what: Step, time: int) -> dict[str, Any]:
    """Return what somebody may do next."""
    return {
        "call": what.call.__name__,
        "who": _name(what.who),
        "member": None if what.member is None else what.member.hex(),
        "after": _name(what.after),
        "condition": what.condition,
        "guards": list(what.guards),
        "opens": what.opens,
        "closes": what.closes,
        "due": what.due,
        "phase": _name(what.phase(time)),
        "overdue": what.is_overdue(time),
    }


def bare_block(head: BareBlock) -> dict[str, Any]:
    """Return a block of which the rest was pruned."""
    return {
        "hash": head.header.hash.hex(),
        "header": plain(head.header),
        "certificate": plain(head.certificate),
        "pruned": True,
    }


def block(committed: CommittedBlock, *, with_ids: bool) -> dict[str, Any]:
    """Return a block: header and certificate, and the ids of its transactions where asked for."""
    raws = committed.block.body.transactions
    head = BareBlock(committed.block.header, committed.certificate)
    seen = bare_block(head) | {"pruned": False, "transactions": len(raws)}
    if with_ids:
        seen["transaction_ids"] = [transactions.parse(raw).id.hex() for raw in raws]
    return seen


def era(what: Era) -> dict[str, object]:
    """Return who votes from which height on."""
    return {
        "number": what.number,
        "from_height": what.from_height,
        "members": [each.member.hex() for each in what.validators.members],
    }


def twins(what: Twins) -> dict[str, object]:
    """Return two live nodes with one key; `label` is None where the key is that of this node."""
    return {
        "label": what.label or None,
        "places": list(what.places),
        "told_by": what.reported_by or None,
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _name(value: IntEnum) -> str:
    return value.name.lower()


def _marks(marks: Sequence[Mark]) -> list[dict[str, str]]:
    return [{"part": each.part.name.lower(), "mark": each.mark.hex()} for each in marks]
