"""`depoli lot`: many claims under one signature, at once or in windows of time."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from node import files
from node.cli.claim import own_view
from node.cli.course import Course
from node.cli.output import Verbs, emit, json_option, moment, note, table
from node.cli.person import Person, at_home, run, today, wait_option
from node.client import intake, lots, queue
from node.client.errors import NotReadable, Refused
from node.client.importing import MAX_IMPORT_BYTES
from node.client.intake import Document, Judged
from node.client.queue import Flushed
from node.client.records import ClaimRecord
from node.client.refusals import told
from node.client.standing import Standing, State, standings, standings_of
from node.client.vault import Vault
from node.errors import NodeError, Usage

_paths = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
_all_or_none = click.option(
    "--all-or-none", is_flag=True, help="Where one is refused at the door, keep and send none."
)
_HEADINGS = ("reference", "state", "block", "claim")


@click.group(cls=Verbs)
def lot() -> None:
    """Submit many claims under one signature, now or in windows of time."""


@lot.command()
@_paths
@_all_or_none
@wait_option
@at_home
@json_option
@click.pass_context
def submit(
    context: click.Context, person: Person, paths: Sequence[Path], *, all_or_none: bool
) -> None:
    """Submit the claims in FILEs, or in the *.json and *.csv of a folder, now.

    A document that is refused does not stop the others. Run again after a failure, it goes on where
    it stopped, and sends nothing twice.
    """
    with person.vault() as vault, Course() as course:
        judged = _judge(vault, person, paths, course, all_or_none=all_or_none)
        references = [each.request.reference for each in judged if each.request and not each.error]
        course.say(f"{len(references)} claims are ready")

        async def go() -> list[ClaimRecord]:
            async with person.node() as node:
                return await lots.submit(
                    vault,
                    node,
                    person.sender,
                    references,
                    wait_s=person.wait_s,
                    say=course.say,
                    advance=course.advance,
                )

        records = run(go()) if references else []
        found = standings_of(vault, records, int(time.time()))
    _show(context, person, found, judged)
    _require_all(found, judged)


@lot.command("queue")
@_paths
@_all_or_none
@at_home
@json_option
@click.pass_context
def queue_(
    context: click.Context, person: Person, paths: Sequence[Path], *, all_or_none: bool
) -> None:
    """Judge the claims in FILEs and keep them until their window; no network is needed.

    What is queued in one window leaves in the next, together, in an order and at a moment drawn by
    chance: depoli lot flush.
    """
    now, windows = int(time.time()), queue.Windows(60 * person.home.window_minutes)
    with person.vault() as vault, Course() as course:
        judged = _judge(
            vault,
            person,
            paths,
            course,
            all_or_none=all_or_none,
            then=lambda request: queue.put(vault, request.reference, windows, now),
        )
        good = [each.request.reference for each in judged if each.request and not each.error]
        records = [lots.load(vault, reference)[1] for reference in good]
        found = standings_of(vault, records, now)
    _show(context, person, found, judged)
    _require_all(found, judged)


@lot.command()
@click.option("--now", "at_once", is_flag=True, help="Send all that waits, its window or not.")
@click.option("--watch", "goes_on", is_flag=True, help="Go on until interrupted.")
@wait_option
@at_home
@json_option
@click.pass_context
def flush(context: click.Context, person: Person, *, at_once: bool, goes_on: bool) -> None:
    """Submit the queued claims that are due; what fails is tried again, later each time.

    With --now the chain tells to the second when you sent them.
    """
    if at_once and goes_on:
        raise Usage("--now is for once, and --watch goes on", hint="give one of them")
    with person.vault() as vault, Course() as course:

        def tell(flushed: Flushed) -> None:
            _tell(context, person, vault, flushed)

        async def once() -> Flushed:
            async with person.node() as node:
                return await queue.flush(
                    vault,
                    node,
                    person.sender,
                    clock=_now,
                    at_once=at_once,
                    wait_s=person.wait_s,
                    say=course.say,
                    advance=course.advance,
                )

        if goes_on:
            run(
                queue.watch(
                    vault,
                    person.node,
                    person.sender,
                    clock=_now,
                    rest=asyncio.sleep,
                    wait_s=person.wait_s,
                    say=course.say,
                    tell=tell,
                )
            )
        flushed = run(once())
        found = _tell(context, person, vault, flushed)
    if flushed.error is not None:
        raise flushed.error
    _require_all(found, [])


@lot.command()
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@at_home
@json_option
@click.pass_context
def remove(context: click.Context, person: Person, references: Sequence[str]) -> None:
    """Take queued claims back, named by your REFERENCEs, of which nothing was sent.

    Mended, they may be queued again under the same reference.
    """
    with person.vault() as vault, vault.changes():
        for reference in references:
            queue.remove(vault, reference)
    emit(context, {"removed": list(references)}, f"removed {', '.join(references)}")


@lot.command()
@at_home
@json_option
@click.pass_context
def status(context: click.Context, person: Person) -> None:
    """Show what waits in the queue, and what became of what left it in the last days."""
    with person.vault() as vault:
        _show(context, person, standings(vault, _now()), [])


def _judge(
    vault: Vault,
    person: Person,
    paths: Sequence[Path],
    course: Course,
    *,
    all_or_none: bool,
    then: intake.Keep = intake.nothing_more,
) -> list[Judged]:
    """Judge the files, say what is wrong with which, and keep the good ones."""
    judged = intake.judge(
        vault,
        person.sender,
        _documents(paths),
        person.members.id_of,
        today=today(),
        all_or_none=all_or_none,
        then=then,
        advance=course.advance,
    )
    for each in judged:
        if each.error is not None:
            course.say(f"{each.name}: {each.error}")
        for doubt in each.doubts:
            course.say(f"{each.name}: look again: {doubt}")
    if left := sorted({name for each in judged for name in each.left_out}):
        course.say(f"left out, and not kept: {', '.join(left)}")
    refused = intake.refused(judged)
    if refused and all_or_none:
        raise Refused(
            "lot",
            f"{len(refused)} of {len(judged)} claims are refused, and nothing was kept or sent",
            hint="mend the files named above, or leave out --all-or-none to send the others",
        )
    return judged


def _documents(paths: Sequence[Path]) -> Iterator[Document]:
    found: dict[Path, Path] = {}  # resolved, so that one that is named twice is read once
    for path in paths:
        inside = [*path.glob("*.json"), *path.glob("*.csv")] if path.is_dir() else [path]
        for file in sorted(inside):
            found.setdefault(file.resolve(), file)
    if not found:
        raise Usage("there is no *.json or *.csv file in this folder")
    for file in found.values():
        yield Document(file.name, lambda file=file: _read(file))  # type: ignore[misc]


def _read(file: Path) -> bytes:
    try:
        return files.read_public(file, limit=MAX_IMPORT_BYTES, hint="split it")
    except NodeError as error:
        raise NotReadable(str(error), hint=error.hint) from None


def _tell(context: click.Context, person: Person, vault: Vault, flushed: Flushed) -> list[Standing]:
    records = [lots.find_claim(vault, reference) for reference in flushed.references]
    found = standings_of(vault, [each for each in records if each is not None], _now())
    _show(context, person, found, [])
    return found


def _show(
    context: click.Context, person: Person, found: Sequence[Standing], judged: Sequence[Judged]
) -> None:
    """Print one row for each claim, and one for each document that was refused."""
    files = {each.reference: each.name for each in judged if each.error is None}
    refused = [
        {
            "file": each.name,
            "reference": each.reference,
            "error": str(each.error),
            "to_do": each.error.hint,
        }
        for each in judged
        if each.error is not None
    ]
    claims = [_view(each, person) | {"file": files.get(each.reference)} for each in found]
    rows: list[Sequence[object]] = [
        (each.reference, each.state.value, each.claim.height, _about(each)) for each in found
    ]
    rows += [(row["reference"] or row["file"], "refused", None, row["error"]) for row in refused]
    emit(context, {"claims": claims, "refused": refused}, lambda: table(_HEADINGS, rows))
    for hint in sorted({each.to_do for each in found if each.to_do}):
        note(f"hint:  {hint}")


def _view(standing: Standing, person: Person) -> dict[str, Any]:
    return own_view(standing.claim, person) | {
        "state": standing.state.value,
        "at": standing.at,
        "trouble": standing.trouble or None,
        "to_do": standing.to_do or None,
        "doubts": list(standing.doubts),
    }


def _about(standing: Standing) -> str:
    """Return what stands in the last column: the claim's id, or why there is none yet."""
    match standing:
        case Standing(state=State.RETRY, at=int(at)):
            return f"again at {moment(at)}: {standing.trouble}"
        case Standing(at=int(at)):
            return f"leaves at {moment(at)}"
        case Standing(trouble=str(trouble)) if trouble:
            return trouble
        case _:
            return "" if standing.claim.claim is None else standing.claim.claim.hex()


def _require_all(found: Sequence[Standing], judged: Sequence[Judged]) -> None:
    """Raise for the first that was refused, by the chain or at the door."""
    failed = [each for each in found if each.state in {State.REFUSED, State.TOO_LATE}]
    if failed:
        note(f"{len(failed)} of {len(found)} claims were refused; the first:")
        first = failed[0]
        raise told(str(first.claim.refusal), str(first.claim.refusal_text), first.reference)
    refused = intake.refused(judged)
    if refused:
        raise Refused(
            "lot",
            f"{len(refused)} of {len(judged)} documents are refused; the others are not",
            hint="mend the files named above, and run the same again: nothing is sent twice",
        )


def _now() -> int:
    return int(time.time())
