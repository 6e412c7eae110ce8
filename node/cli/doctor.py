"""`depoli doctor`: why there is no block, in words."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from node.cli.output import emit, json_option, table
from node.config import load_config
from node.doctor.findings import Diagnosis, Finding, Gravity, Row, Verdict, from_json, to_json
from node.doctor.phrases import size, span
from node.errors import Exit
from node.process import NoAnswer, Process

WIDTH: Final = 80
LABEL_CHARACTERS: Final = 16
DEFAULT: Final = "/var/lib/depoli"
_HEADINGS: Final = {
    Gravity.STOPS: ("Why", "red"),
    Gravity.WARNS: ("To mend", "yellow"),
    Gravity.NOTE: ("Noted", "cyan"),
}
_COLOURS: Final = {
    Verdict.MOVING: "green",
    Verdict.IDLE: "green",
    Verdict.STOPPED: "red",
    Verdict.DOWN: "red",
}


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT,
    show_default=True,
    help="config.toml, or the node's folder.",
)
@json_option
@click.pass_context
def doctor(context: click.Context, config: Path) -> int:
    """Ask the node and all its peers, and say in words why there is no block.

    Ends with 0 where all is well, 1 where a cause was found, 13 where the node does not answer.
    """
    settings = load_config(config)
    try:
        diagnosis = from_json(Process("", settings.home).ask("/v1/diagnosis"))
    except NoAnswer as no_answer:
        from node.doctor.autopsy import examine  # noqa: PLC0415  (brings the contracts)

        diagnosis = examine(settings, no_answer)
    emit(context, to_json(diagnosis), lambda: told(diagnosis))
    return exit_code(diagnosis)


def exit_code(diagnosis: Diagnosis) -> Exit:
    """Return how the command ends."""
    if diagnosis.verdict is Verdict.DOWN:
        return Exit.UNREACHABLE
    grave = any(finding.gravity is not Gravity.NOTE for finding in diagnosis.findings)
    return Exit.FAILED if grave or diagnosis.verdict is Verdict.STOPPED else Exit.OK


def told(diagnosis: Diagnosis) -> str:
    """Return a diagnosis for a person before a terminal of 80 columns."""
    summary = diagnosis.summary
    if not diagnosis.findings:
        summary += " Nothing is wrong."
    parts = [click.style(textwrap.fill(summary, WIDTH), bold=True, fg=_COLOURS[diagnosis.verdict])]
    number = 0
    for gravity, (heading, colour) in _HEADINGS.items():
        found = [finding for finding in diagnosis.findings if finding.gravity is gravity]
        if found:
            blocks = [_told(number + position, each) for position, each in enumerate(found, 1)]
            number += len(found)
            parts.append(click.style(heading, bold=True, fg=colour) + "\n" + "\n\n".join(blocks))
    if diagnosis.rows:
        parts.append(_table(diagnosis.rows))
        parts.append("\n".join(_filled("", line) for line in _legend(diagnosis)))
    return "\n\n".join(parts)


def _told(number: int, finding: Finding) -> str:
    lines = [_filled(f"{number:>2}  ", finding.what)]
    lines += [_filled("      – ", line) for line in finding.evidence]
    if finding.remedy:
        lines.append(_filled("    → ", finding.remedy))
    return "\n".join(lines)


def _filled(head: str, text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )


def _table(rows: Sequence[Row]) -> str:
    headings = ("node", "link", "height", "round", "votes", "clock", "version", "free")
    return table(headings, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[object, ...]:
    label = row.label
    if len(label) > LABEL_CHARACTERS:
        label = label[: LABEL_CHARACTERS - 1] + "…"
    clock = None
    if row.clock_ms is not None:
        clock = f"{'-' if row.clock_ms < 0 else '+'}{span(abs(row.clock_ms))}"
    return (
        label,
        row.link,
        row.height,
        row.round,
        _votes(row),
        clock,
        row.version,
        None if row.free_bytes is None else size(row.free_bytes),
    )


def _votes(row: Row) -> str | None:
    if row.prepared is None:
        return None
    said = ["P" if row.prepared else "", "C" if row.committed else ""]
    said += ["" if row.wants is None else f"→{row.wants}", "fenced" if row.fenced else ""]
    return " ".join(filter(None, said)) or "–"


def _legend(diagnosis: Diagnosis) -> Iterator[str]:
    if any(row.prepared or row.committed or row.wants for row in diagnosis.rows):
        yield (
            f"votes in round {diagnosis.round}, which {diagnosis.leader} leads: "
            "P prepared, C committed, →n wants round n"
        )
    yield "height: that a node decides; clock: ahead of most; free: on the disk of its data"
