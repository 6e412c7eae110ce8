"""What the HTTP API shows of a record: its plain form, with names where the record has numbers."""

from typing import Any, assert_never

from contracts.claim import Claim
from contracts.errors import Refusal
from contracts.settlement import Settlement, is_settled
from contracts.state import Reader
from ledger import transaction as transactions
from ledger.block import CommittedBlock
from ledger.entry import APPLIED, Outcome
from ledger.plain import plain
from node import problems
from node.admission import Pending, Refused, Result
from node.catchup import Progress
from node.chain import Committed
from node.p2p import Twins


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


def claim(state: Reader, id_: bytes, record: Claim) -> dict[str, Any]:
    """Return a claim; "settled" once the beneficiary confirmed its settlement."""
    settled = is_settled(state, record)
    names = {
        "leg": record.leg.name.lower(),
        "state": "settled" if settled else record.state.name.lower(),
        "reason": None if record.reason is None else record.reason.name,
        "marks": [
            {"part": each.part.name.lower(), "mark": each.mark.hex()} for each in record.marks
        ],
    }
    return {"id": id_.hex(), **plain(record), **names}


def settlement(id_: bytes, record: Settlement) -> dict[str, Any]:
    """Return a settlement."""
    return {"id": id_.hex(), **plain(record), "state": record.state.name.lower()}


def block(committed: CommittedBlock, *, with_ids: bool) -> dict[str, Any]:
    """Return a block: header and certificate, and the ids of its transactions where asked for."""
    raws = committed.block.body.transactions
    seen = {
        "hash": committed.block.header.hash.hex(),
        "header": plain(committed.block.header),
        "certificate": plain(committed.certificate),
        "transactions": len(raws),
    }
    if with_ids:
        seen["transaction_ids"] = [transactions.parse(raw).id.hex() for raw in raws]
    return seen


def twins(what: Twins) -> dict[str, object]:
    """Return two live nodes with one key; `label` is None where the key is that of this node."""
    return {
        "label": what.label or None,
        "places": list(what.places),
        "told_by": what.reported_by or None,
    }


def sync(progress: Progress | None) -> dict[str, object] | None:
    """Return how far a node that is behind has come; None where it is not."""
    if progress is None:
        return None
    return {
        "height": progress.height,
        "target": progress.target,
        "blocks_per_s": progress.blocks_per_s,
        "left_s": progress.left_s,
        "peers": list(progress.peers),
        "avoided": progress.avoided,
    }
