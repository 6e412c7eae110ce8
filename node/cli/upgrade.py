"""`depoli upgrade`: which rules are to come, whether we can run them, and that we are ready."""

import time
from pathlib import Path
from typing import Any, Final

import click

from contracts.calls import ReadySignal
from ledger.entry import APPLIED
from node.audit.errors import UnknownRules
from node.audit.rehearsal import Rehearsal, genesis_of, rehearse
from node.cli.auditor import FILE, Meter, load_genesis
from node.cli.output import Verbs, emit, fields, json_option, note, table
from node.cli.person import Person, at_home, run, wait_option
from node.client.client import UpgradeView
from node.client.refusals import refusal
from node.client.transactions import decide
from node.errors import Exit, Usage

_SAFE: Final = "depoli upgrade status shows whether it was said; sending again is safe"


@click.group(cls=Verbs)
def upgrade() -> None:
    """See which rules are to come, try them on an export, and say that we are ready."""


@upgrade.command()
@at_home
@json_option
@click.pass_context
def status(context: click.Context, person: Person) -> None:
    """Show which version of the rules is in force, which is to come, and who is ready."""

    async def ask() -> UpgradeView:
        async with person.node() as node:
            return await node.upgrade()

    view = run(ask())
    emit(context, _described(person, view), lambda: _words(_described(person, view)))


@upgrade.command()
@click.option(
    "--version",
    "version",
    type=click.IntRange(1, (1 << 16) - 1),
    help="The highest version that our node knows; a lower one withdraws. If not said: its own.",
)
@wait_option
@at_home
@json_option
@click.pass_context
def ready(context: click.Context, person: Person, version: int | None) -> None:
    """Say for our member that its validator's node knows a version of the rules.

    The node in client.toml is asked first, and it must be our validator's: what it does not know
    is not signalled.
    """

    async def send() -> tuple[int, int]:
        async with person.node() as node:
            view = await node.upgrade()
            wanted = max(view.known) if version is None else version
            _require_possible(person, view, wanted)
            if version is None and view.scheduled is not None:
                _require_known(view, view.scheduled.version)
            made = person.sender.sign([ReadySignal(wanted)], now=int(time.time()))
            decided = await decide(node, made, wait_s=person.wait_s, hint=_SAFE)
            if decided.outcome(0).code != APPLIED:
                raise refusal(decided.outcome(0), "the signal")
            return wanted, decided.height

    signalled, height = run(send())
    result = {"member": person.home.label, "version": signalled, "height": height}
    emit(
        context,
        result,
        f"{person.home.label} is ready for version {signalled}: said in block {height}",
    )


@upgrade.command("rehearse")
@click.argument("export", type=FILE)
@click.option("--genesis", type=FILE, help="The signed genesis that you hold yourself.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes; as many as cores if not said."
)
@json_option
@click.pass_context
def rehearse_export(
    context: click.Context, export: Path, genesis: Path | None, jobs: int | None
) -> int:
    """Execute the chain in EXPORT by this software, and say whether a node may run with it."""
    if genesis is None:
        signed = genesis_of(export)
        note("the genesis is the export's own; compare its chain id, or name yours: --genesis")
    else:
        signed = load_genesis(genesis)
    show = Meter("rehearsed")
    found = rehearse(export, signed, workers=jobs, show=show)
    show.end()
    emit(context, found.to_json(), lambda: _told(found))
    if found.is_safe:
        return Exit.OK
    outdated = found.fault is None or isinstance(found.fault, UnknownRules)
    return Exit.OUTDATED if outdated else Exit.VERIFICATION_FAILED


def _require_possible(person: Person, view: UpgradeView, version: int) -> None:
    """Raise `Usage` where our validator's node does not run, or does not know what is signalled."""
    if person.home.member.hex() not in {each.member for each in view.validators}:
        raise Usage(
            f"{person.home.label} runs no validator, so nobody waits for it",
            hint="depoli validator list shows who does",
        )
    _require_known(view, version)


def _require_known(view: UpgradeView, version: int) -> None:
    if version > max(view.known):
        known = ", ".join(map(str, view.known))
        raise Usage(
            f"the node in client.toml knows {known} of the rules, not version {version}",
            hint=f"install a release that knows version {version} there, and start it, first",
        )


def _described(person: Person, view: UpgradeView) -> dict[str, Any]:
    coming, label = view.scheduled, person.members.label_of
    needed = view.in_force if coming is None else coming.version
    ready_for = {label(bytes.fromhex(each.member)): each.version for each in view.validators}
    return {
        "height": view.height,
        "in_force": view.in_force,
        "scheduled": None if coming is None else coming.version,
        "not_before": None if coming is None else coming.not_before,
        "from_height": None if coming is None else coming.from_height,
        "quorum": view.quorum,
        "ready": sum(version >= needed for version in ready_for.values()),
        "validators": ready_for,
        "missing": [
            name for name, version in ready_for.items() if coming is not None and version < needed
        ],
        "known_here": list(view.known),
        "says": _sentence(view),
    }


def _sentence(view: UpgradeView) -> str:
    coming = view.scheduled
    if coming is None:
        return f"version {view.in_force} is in force, and none is scheduled"
    if coming.from_height is not None:
        return f"version {coming.version} is in force from block {coming.from_height} on"
    ready_for = sum(each.version >= coming.version for each in view.validators)
    if ready_for >= view.quorum:
        return f"a quorum is ready: version {coming.version} waits for block {coming.not_before}"
    lacking = view.quorum - ready_for
    more = "validator has" if lacking == 1 else "validators have"
    return (
        f"version {coming.version} comes into force when {lacking} more {more} said that they are"
        f" ready, from block {coming.not_before} on"
    )


def _words(result: dict[str, Any]) -> str:
    known = result["known_here"]
    shown = {
        "open block": result["height"],
        "rules in force": f"version {result['in_force']}",
        "scheduled": "none"
        if result["scheduled"] is None
        else f"version {result['scheduled']}, not before block {result['not_before']}",
        "this node knows": ", ".join(map(str, known)),
    }
    if result["scheduled"] is not None:
        shown["ready"] = (
            f"{result['ready']} of {len(result['validators'])}, {result['quorum']} needed"
        )
        if result["scheduled"] not in known:
            shown["to do here"] = f"install a release that knows version {result['scheduled']}"
    rows = [
        (
            name,
            version or "–",
            "missing" if name in result["missing"] else "ready" if result["scheduled"] else "",
        )
        for name, version in result["validators"].items()
    ]
    says: str = result["says"]
    return "\n\n".join(
        (
            f"{says[:1].upper()}{says[1:]}.",
            fields(shown),
            table(("validator", "signalled", ""), rows),
        )
    )


def _told(found: Rehearsal) -> str:
    known = ", ".join(map(str, found.known))
    if found.report is None:
        return f"NOT safe: {found.reason}.\n\n{fields({'this software knows': known})}"
    report, coming = found.report, found.scheduled
    spans = [f"{version} from block {first}" for version, first in report.versions.items()]
    shown = {
        "chain": report.chain_id,
        "blocks": f"1 to {report.header.height}, all executed to the same",
        "last block": report.header.hash,
        "rules": ", ".join(spans) or "no block yet",
        "scheduled": "none" if coming is None else f"version {coming.version}",
        "this software knows": known,
        "took": f"{report.seconds:.1f} s",
    }
    said = "Safe: a node may run with this software." if found.is_safe else (
        f"NOT safe: {found.reason}."
    )  # fmt: skip
    return f"{said}\n\n{fields(shown)}"
