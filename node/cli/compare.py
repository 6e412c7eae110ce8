"""`depoli audit compare`: the first thing in which two nodes differ."""

from pathlib import Path
from typing import Any

import click

from node.audit.errors import FalseFact, UnknownRules
from node.cli.auditor import GENESIS, Meter, load_genesis
from node.cli.output import emit, is_json, json_option
from node.errors import Exit, Usage

_SOURCE = click.Path(path_type=Path, exists=True)
_LONG = 200  # characters of a value, where people read


@click.command()
@click.argument("first", type=_SOURCE)
@click.argument("second", type=_SOURCE)
@GENESIS
@json_option
@click.pass_context
def compare(context: click.Context, first: Path, second: Path, genesis: Path) -> int:
    """Compare two exports, or folders of stopped nodes: name the first thing that differs."""
    from node import comparison  # noqa: PLC0415  (brings the whole node)
    from node.recordings import recording  # noqa: PLC0415

    if first.resolve() == second.resolve():
        raise Usage("these are one and the same", hint="name two exports, or two nodes' folders")
    show = Meter("compared")
    signed = load_genesis(genesis)
    signed.verify()
    is_told_apart = first.name != second.name
    names = [path.name if is_told_apart else str(path) for path in (first, second)]
    try:
        with (
            recording(first, signed, names[0]) as one,
            recording(second, signed, names[1]) as other,
        ):
            found = comparison.compare((one, other), signed, show)
    except (FalseFact, UnknownRules) as fact:
        show.end()
        if not is_json(context):
            raise
        emit(context, fact.to_json(), "")
        return fact.exit_code
    show.end()
    told = {"compared": names, **found.to_json()}
    emit(context, told, lambda: _human(told))
    return Exit.OK if found.difference is None else Exit.VERIFICATION_FAILED


def _human(told: dict[str, Any]) -> str:
    first, last = told["from_height"], told["to_height"]
    lines = [f"the same blocks from {first} to {last}" if last >= first else "no block is the same"]
    if count := told["other_certificates"]:
        lines.append(f"{count} of them are certified by other validators, which is no difference")
    if told["longer"] is not None:
        lines.append(f"{told['longer']} goes on from there")
    if heights := told["states_compared_at"]:
        lines.append(f"states were compared after block {' and block '.join(map(str, heights))}")
    elif told["states_not_compared"]:
        lines.append(f"no state was compared: {told['states_not_compared']}")
    if told["difference"] is None:
        return "\n".join([*lines, "no difference was found"])
    return "\n".join([*lines, *_difference(told["difference"], told["compared"])])


def _difference(told: dict[str, Any], names: list[str]) -> list[str]:
    is_block = told["where"] == "block"
    place = f"block {told['height']}" if is_block else f"the {told['where']} after {told['height']}"
    if is_block and told["transaction"] is not None:
        place += f", transaction {told['transaction']}"
    if told["call"] is not None:
        place += f", call {told['call']}"
    lines = [f"they differ first in {place}: {told['field']}"]
    lines += [
        f"  {name}: {value[:_LONG]}{'…' * (len(value) > _LONG)}"
        for name, value in zip(names, told["values"], strict=True)
    ]
    if told["headers"]:
        lines.append(f"  fields of the headers that differ: {', '.join(told['headers'])}")
    if told["key"] is not None:
        lines.append(f"  key {told['key']}, of {told['kind']}")
    if told["written"] is not None:
        by = f"transaction {told['transaction']}" if told["transaction_id"] else "the block itself"
        lines.append(f"  written last in block {told['written']}, by {by}")
    if told["wrong"]:
        wrong = " and ".join(told["wrong"])
        lines.append(
            f"{wrong}: this state is not what the blocks lead to; depoli db reindex mends it"
        )
    elif is_block:
        lines.append(
            "depoli audit fork says whether both were decided, and who contradicted himself"
        )
    return lines
