"""`depoli receipt print`: a receipt for people, on paper."""

from pathlib import Path

import click
import msgspec
import segno

from contracts.calls import parse_call
from ledger.entry import Entry
from ledger.receipt import Receipt, parse_json
from ledger.short_receipt import shorten, to_text
from node import files, views
from node.cli.output import emit, fields, json_option
from node.cli.qr import LARGE, MODULE_MM, QUIET, TooLongForQr, draw, voters_of
from node.cli.receipt import FILE, genesis_option, load_members, proved, read_text
from node.cli.receipt_page import Page, page, shortened
from node.client.events import EntryView
from node.client.members import Members
from node.errors import Usage


@click.command("print")
@click.argument("file", type=FILE)
@genesis_option
@click.option(
    "-o", "--output", required=True, type=FILE, help="New file to write the page into: NAME.html."
)
@json_option
@click.pass_context
def print_(context: click.Context, file: Path, genesis: Path, output: Path) -> None:
    """Write the receipt in FILE as a page for people, verified before it is written.

    It is one A4 page in French and English that says what is proved, what is not, and how to check
    it, with the QR code of the short form where one holds it.
    """
    if output.suffix.lower() not in {".html", ".htm"}:
        raise Usage(f"{output} must end with .html, which is what is written")
    members = load_members(genesis)
    receipt = parse_json(read_text(file, "receipt"))
    result = proved(receipt, members)
    code = _code(receipt, members)
    files.create(output, page(_told(receipt, members, code)).encode())
    version = None if code is None else int(code.version)
    written: dict[str, object] = {"file": str(output), "version": version}
    hint = ""
    if version is None:
        hint = "\nno QR code holds this receipt: hand out its file with the page"
    elif version > LARGE:
        hint = "\nthis is a large code: print it sharp, and try it"
    facts = {name: result[name] for name in ("call", "outcome", "sender", "height")}
    emit(context, written | facts, f"{fields(facts | written)}{hint}")


def page_of(receipt: Receipt, members: Members) -> str:
    """Return the page of a receipt that verifies."""
    return page(_told(receipt, members, _code(receipt, members)))


def _code(receipt: Receipt, members: Members) -> segno.QRCode | None:
    """Return the QR code of the short form, None where none holds it."""
    try:
        return draw(to_text(shorten(receipt, voters_of(receipt, members))))
    except TooLongForQr:
        return None


def _told(receipt: Receipt, members: Members, code: segno.QRCode | None) -> Page:
    """Return what the page tells of a receipt that verifies."""
    entry, header = receipt.entry, receipt.header
    call = parse_call(entry.call)
    other = getattr(call, "payer", None) or getattr(call, "beneficiary", None)
    return Page(
        network=members.genesis.network.decode("ascii"),
        chain=header.chain_id.hex(),
        entry=view_of(entry, receipt.log_index),
        sender=_label(members, entry.sender),
        payee=None if other is None else _label(members, other),
        header=header.hash.hex(),
        height=header.height,
        log_size=header.log_size,
        signed=len(receipt.certificate.seals),
        of=len(voters_of(receipt, members)),
        are_changed=bool(receipt.changes),
        svg=None
        if code is None
        else code.svg_inline(scale=MODULE_MM, unit="mm", border=QUIET, light="#fff"),
    )


def view_of(entry: Entry, number: int) -> EntryView:
    """Return an entry as a node tells it."""
    return msgspec.convert(views.entry(0, number, entry), EntryView)


def _label(members: Members, member: bytes) -> str:
    found = members.label_of(member)
    return shortened(found) if found == member.hex() else found
