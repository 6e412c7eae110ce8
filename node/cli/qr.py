"""`depoli receipt qr`: the short form of a receipt, drawn for paper or for a screen."""

import io
from pathlib import Path
from typing import Final

import click
import segno

from ledger.receipt import Receipt, parse_json
from ledger.short_receipt import PREFIX, shorten, to_text
from ledger.validators import ValidatorSet
from node import files
from node.cli.output import emit, fields, is_json, json_option
from node.cli.receipt import FILE, genesis_option, load_members, proved, read_text
from node.client.members import Members
from node.errors import NodeError, Usage

MODULE_MM: Final = 0.5  # a phone reads the largest code from paper at this
LARGE: Final = 25  # versions above are larger than 65 mm at this: not every camera reads them
QUIET: Final = 4  # modules of margin that the standard wants


class TooLongForQr(NodeError):
    """The short form is longer than the largest QR code holds."""

    def __init__(self, characters: int) -> None:
        super().__init__(
            f"no QR code holds the {characters:,} characters of this receipt's short form",
            hint="hand out the JSON file, or the text: depoli receipt qr --text",
        )


@click.command()
@click.argument("file", type=FILE)
@genesis_option
@click.option("-o", "--output", type=FILE, help="New file to draw it into: NAME.svg.")
@click.option("--text", "as_text", is_flag=True, help="Print the short form's text, not the code.")
@json_option
@click.pass_context
def qr(
    context: click.Context, file: Path, genesis: Path, output: Path | None, *, as_text: bool
) -> None:
    """Draw the short form of the receipt in FILE as a QR code, verified before it is drawn.

    Who reads it needs the genesis document, and the changes of validators since where there were
    any: `depoli receipt verify` says so.
    """
    if as_text and output is not None:
        raise Usage("--text prints on standard output: leave out one of --text and --output")
    if output is not None and output.suffix.lower() != ".svg":
        raise Usage(f"{output} must end with .svg, which is what is drawn")
    members = load_members(genesis)
    receipt = parse_json(read_text(file, "receipt"))
    proved(receipt, members)
    text = to_text(shorten(receipt, voters_of(receipt, members)))
    if as_text and not is_json(context):
        click.echo(text)
        return
    code = draw(text)
    version = int(code.version)
    side = code.symbol_size(border=QUIET)[0]
    result: dict[str, object] = {
        "text": text,
        "version": version,
        "correction": code.error,
        "modules": side,
        "print_mm": round(side * MODULE_MM),
    }
    if output is not None:
        files.create(output, svg(code))
        result["file"] = str(output)
    facts = fields({name: value for name, value in result.items() if name != "text"})
    hard = "\nthis is a large code: print it sharp, and try it" if version > LARGE else ""
    shown = blocks(code) if output is None else ""
    emit(context, result, f"{shown}{facts}{hard}")


def voters_of(receipt: Receipt, members: Members) -> ValidatorSet:
    """Return who voted on the header of a receipt that verifies."""
    changes = receipt.changes
    return changes[-1].validators if changes else members.genesis.validator_set


def draw(text: str) -> segno.QRCode:
    """Return the code of a short form's text; raise `TooLongForQr`.

    Its prefix and its digits are written each in the mode that takes least room.
    """
    parts = (PREFIX, text.removeprefix(PREFIX))
    try:
        return segno.make(parts, error="l", micro=False)  # type: ignore[arg-type] # parts are taken
    except segno.DataOverflowError:
        raise TooLongForQr(len(text)) from None


def svg(code: segno.QRCode) -> bytes:
    """Return a drawing, black on white, of the size at which it is to be printed."""
    out = io.BytesIO()
    code.save(out, kind="svg", scale=MODULE_MM, unit="mm", border=QUIET, light="#fff")
    return out.getvalue()


def blocks(code: segno.QRCode) -> str:
    """Return the code in half blocks, light on dark, for a terminal."""
    out = io.StringIO()
    code.terminal(out, border=QUIET, compact=True)
    return out.getvalue()
