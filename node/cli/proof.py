"""`depoli proof`: that nothing in the log changed between two blocks, that nothing is missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from contracts.calls import parse_call
from contracts.errors import Refusal
from ledger import consistency, decided, history, receipt, split_view
from ledger.block import Header
from ledger.consistency import Consistency
from ledger.decided import Decided
from ledger.entry import APPLIED, Entry
from ledger.errors import Malformed
from ledger.history import History
from ledger.plain import parse_one_of
from ledger.receipt import MAX_JSON_LENGTH, Receipt, Voters
from ledger.split_view import SplitView
from ledger.validators import EVERYONE
from node.cli.output import Verbs, emit, fields, json_option, moment, table
from node.cli.receipt import genesis_option, load_members, proved, read_text
from node.client.members import Members

Proof: TypeAlias = Receipt | Consistency | History | Decided | SplitView
FORMATS: Final[Mapping[str, type[Proof]]] = {
    receipt.FORMAT: Receipt,
    consistency.FORMAT: Consistency,
    history.FORMAT: History,
    decided.FORMAT: Decided,
    split_view.FORMAT: SplitView,
}
_ASKED: Final = "node.cli.proving"


@click.group(cls=Verbs, elsewhere={"consistency": _ASKED, "history": _ASKED})
def proof() -> None:
    """Prove that the log only grew, or that of a member's entries none is missing."""


@proof.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@genesis_option
@click.option("--list", "with_list", is_flag=True, help="Show each entry of a history.")
@json_option
@click.pass_context
def verify(context: click.Context, file: Path, genesis: Path, *, with_list: bool) -> None:
    """Verify the proof in FILE, of whatever kind, with nothing but the genesis document.

    A history or a consistency proof, a receipt, a decided block, or a split view that a witness
    kept.
    """
    members = load_members(genesis)
    text = read_text(file, "proof")
    found = parse_one_of(text, FORMATS, kind="proof", max_length=MAX_JSON_LENGTH)
    result = shown(found, members)
    emit(context, result, lambda: f"{told(result, with_list=with_list)}\nverified")


def shown(found: Proof, members: Members) -> dict[str, Any]:
    """Return what a proof proves; raise `LedgerError` naming the first false fact."""
    chain_id, beginning = members.genesis.chain_id, members.genesis.validator_set
    match found:
        case Receipt():
            return {"proves": "an entry", **proved(found, members)}
        case Consistency(first, second):
            found.verify(chain_id, Voters(0, beginning))
            return {
                "proves": "that the log of one block begins that of another",
                "from": first.header.height,
                "log_size_from": first.header.log_size,
                "header_from": first.header.hash.hex(),
                **_block(second.header),
            }
        case History(member, start, end):
            found.verify(chain_id, Voters(0, beginning))
            return {
                "proves": "all entries that concern a member",
                "member": "everyone" if member == EVERYONE else members.label_of(member),
                "from": 0 if start is None else start.header.height,
                **_block(end.header),
                "entries": len(found.entries),
                "list": [_entry(entry, members) for entry in found.entries],
            }
        case Decided():
            found.verify(chain_id, beginning)
            return {"proves": "that a quorum committed a block", **_block(found.header)}
        case SplitView(first, second):
            found.verify(chain_id, beginning)
            return {
                "proves": "that validators signed two logs that contradict each other",
                "from": first.header.height,
                "header_from": first.header.hash.hex(),
                **_block(second.header),
            }


def told(result: Mapping[str, Any], *, with_list: bool) -> str:
    """Return what is proved, for people."""
    rows = result.get("list", ()) if with_list else ()
    facts = {name: value for name, value in result.items() if name not in {"list", "fields"}}
    text = fields(facts | {"time": moment(facts["time"])})
    if not rows:
        return text
    headings = ("height", "index", "time", "sender", "call", "outcome")
    cells = [[*map((row | {"time": moment(row["time"])}).get, headings)] for row in rows]
    return f"{text}\n\n{table(headings, cells)}\n"


def _block(head: Header) -> dict[str, Any]:
    return {
        "to": head.height,
        "time": head.time,
        "log_size": head.log_size,
        "header": head.hash.hex(),
    }


def _entry(entry: Entry, members: Members) -> dict[str, Any]:
    """Return an entry as it is listed; what rules to come have made is shown by its number."""
    try:
        call = type(parse_call(entry.call)).__name__
    except Malformed:
        call = "not known here"
    code = entry.outcome.code
    known = {refusal.value: refusal.name for refusal in Refusal}
    return {
        "height": entry.height,
        "index": entry.index,
        "time": entry.time,
        "sender": members.label_of(entry.sender),
        "call": call,
        "outcome": "applied" if code == APPLIED else known.get(code, f"refused, code {code}"),
        "transaction": entry.transaction.hex(),
        "position": entry.position,
    }
