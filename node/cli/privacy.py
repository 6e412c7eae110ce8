"""`depoli audit privacy`: whether something stands on the chain that must not."""

from pathlib import Path

import click

from contracts.nomenclature.codes import CodeTable
from contracts.nomenclature.tables import parse_table
from contracts.reference import TableKind
from node.audit.errors import FalseFact, UnknownRules
from node.audit.guesses import FULL, QUICK, Guesses
from node.audit.privacy import CANNOT, Finding, Privacy, look_through
from node.cli.auditor import FILE, GENESIS, JOBS, Meter, load_genesis
from node.cli.output import emit, fields, is_json, json_option, table
from node.client.packaged import table_file
from node.errors import Exit

_SHOWN = 5  # places of one finding, where people read


@click.command()
@click.argument("file", type=FILE)
@GENESIS
@click.option("--quick", is_flag=True, help="Guess fewer corrections: some seconds less.")
@JOBS
@json_option
@click.pass_context
def privacy(
    context: click.Context, file: Path, genesis: Path, *, quick: bool, jobs: int | None
) -> int:
    """Look through the chain in FILE for personal data, salts used twice and guessable hashes."""
    show = Meter("read")
    codes = parse_table(table_file(TableKind.OPTICS_CODES), CodeTable)
    signed = load_genesis(genesis)
    show.say("hashing what can be guessed")
    guesses = Guesses(codes, QUICK if quick else FULL)
    try:
        found = look_through(file, signed, guesses, workers=jobs, show=show)
    except (FalseFact, UnknownRules) as fact:
        show.end()
        if not is_json(context):
            raise
        emit(context, fact.to_json(), "")
        return fact.exit_code
    show.end()
    emit(context, found.to_json(), lambda: _human(found))
    return Exit.OK if found.is_clean else Exit.VERIFICATION_FAILED


def _human(found: Privacy) -> str:
    lines = [
        fields(
            {
                "chain": found.chain_id,
                "blocks": f"1 to {found.header.height}, all true"
                if found.header.height
                else "none",
                "fields": f"{found.fields.total():,} of {len(found.fields)} kinds on the list",
                "values": f"{found.values:,} different ones searched",
                "text": f"{len(found.names)} names in the genesis; --json lists them",
                "guesses": f"{sum(found.guesses.values()):,} hashes that nobody may use",
            }
        ),
        "",
        table(
            ("looked for", "found", "by chance", "alarm"),
            [
                (
                    each.kind,
                    each.count,
                    f"{each.expected:.1g}" if each.expected else "–",
                    each.is_alarm,
                )
                for each in found.findings
            ],
        ),
    ]
    for each in (*found.findings, *found.remarks):
        if each.count:
            lines += ["", *_places(each)]
    lines += ["", "What this cannot show:", *(f"  {each}" for each in CANNOT)]
    verdict = "nothing was found that chance does not explain"
    alarms = [each for each in found.findings if each.is_alarm]
    if alarms:
        verdict = f"found what must not be there: {', '.join(each.kind for each in alarms)}"
    return "\n".join([*lines, "", verdict])


def _places(finding: Finding) -> list[str]:
    lines = [f"{finding.says}: {finding.count:,}"]
    lines += [
        f"  block {each.height}, transaction {each.transaction}, call {each.call}: {each.field}"
        for each in finding.places[:_SHOWN]
    ]
    if finding.count > _SHOWN:
        lines.append(f"  and {finding.count - _SHOWN:,} more; --json has the first hundred")
    return lines
