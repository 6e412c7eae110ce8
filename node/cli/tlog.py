"""`depoli tlog`: the log in the formats of public transparency logs."""

import sys
from pathlib import Path

import click

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    Note,
    NoteKey,
    origin,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
)
from ledger.cosignature import parse_cosigner
from ledger.encoding import decode, encode
from ledger.entry import APPLIED, Entry
from ledger.errors import Mismatch
from ledger.keys import PublicKey
from ledger.log_proof import MAX_BYTES as MAX_PROOF_BYTES
from ledger.log_proof import LogProof
from ledger.log_proof import parse as parse_proof
from ledger.merkle import inclusion_proof, verify_inclusion
from ledger.receipt import MAX_JSON_LENGTH
from ledger.receipt import parse_json as parse_receipt
from ledger.tiles import node_reader
from ledger.validators import ValidatorSet
from node import files
from node.cli.auditor import FILE, load_genesis, read_bearer
from node.cli.output import Verbs, emit, fields, json_option
from node.log_source import LogSource
from node.mirror import mirror

_genesis = click.option(
    "--genesis", required=True, type=FILE, help="The signed genesis that you hold yourself."
)
_log = click.option(
    "--log",
    "url",
    required=True,
    metavar="URL",
    help="Where the log is served, such as http://127.0.0.1:7680/tlog.",
)


@click.group(cls=Verbs)
def tlog() -> None:
    """Take the log, or the proof of an entry, away in the formats of transparency logs."""


@tlog.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_log
@_genesis
@click.option("--entries", is_flag=True, help="The entries too, which are not for everybody.")
@click.option("--token-file", type=FILE, help="A token that may read the entries.")
@json_option
@click.pass_context
def export(
    context: click.Context,
    directory: Path,
    url: str,
    genesis: Path,
    *,
    entries: bool,
    token_file: Path | None,
) -> None:
    """Write checkpoint and tiles into DIR, verified; again, what is new since."""
    with (
        LogSource(url, read_bearer(token_file)) as source,
        click.progressbar(
            length=1, label="files", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):

        def show(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        made = mirror(source, directory, load_genesis(genesis), entries=entries, show=show)
    checkpoint = made.checkpoint
    result = {
        "directory": str(directory),
        "height": checkpoint.height,
        "log_size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "files": made.files,
        "written": made.written,
    }
    emit(
        context,
        result,
        f"{directory}: {checkpoint.size:,} entries up to block {checkpoint.height:,}, "
        f"{made.files:,} files, {made.written:,} of them new",
    )


@tlog.command()
@click.argument("receipt", type=FILE)
@_log
@_genesis
@click.option(
    "--cosigned", type=FILE, help="The checkpoint that a witness cosigned, instead of the last one."
)
@click.option("-o", "--output", required=True, type=FILE, help="New file: NAME.tlog-proof.")
@json_option
@click.pass_context
def prove(
    context: click.Context,
    receipt: Path,
    url: str,
    genesis: Path,
    cosigned: Path | None,
    output: Path,
) -> None:
    """Write the entry of RECEIPT and its place in the log as it is now, both verified."""
    chain_id, validators = _known(genesis)
    text = files.read_public(receipt, limit=MAX_JSON_LENGTH, hint="name a receipt that is there")
    found = parse_receipt(text.decode(errors="replace"))
    found.verify(chain_id, validators)
    with LogSource(url) as source:
        shown = source.committed(chain_id, validators)
        note = shown.note if cosigned is None else _read_note(cosigned)
        checkpoint = parse_checkpoint(note.text)
        size = checkpoint.size
        if not found.log_index < size <= shown.checkpoint.size:
            between = f"{found.log_index + 1} to {shown.checkpoint.size}"
            raise Mismatch("entries in the log of the checkpoint", between, size)
        node_at = node_reader(shown.checkpoint.size, source.tile)
        proof = inclusion_proof(found.log_index, size, node_at)
    verify_inclusion(checkpoint.root, size, found.log_index, found.entry.leaf(), proof)
    files.create(output, LogProof(encode(found.entry), found.log_index, proof, note).encode())
    result = {"file": str(output), "entry": found.log_index, "log_size": size}
    emit(context, result, lambda: fields(result))


@tlog.command()
@click.argument("notes", type=FILE, nargs=-1, required=True, metavar="NOTE...")
@_genesis
@click.option("-o", "--output", required=True, type=FILE, help="New file, for prove --cosigned.")
@json_option
@click.pass_context
def join(context: click.Context, notes: tuple[Path, ...], genesis: Path, output: Path) -> None:
    """Write what several witnesses cosigned, one checkpoint, into one note with all signatures."""
    chain_id, _ = _known(genesis)
    name = origin(chain_id)
    first, *others = [_read_note(path) for path in notes]
    checkpoint = parse_checkpoint(first.text)
    if checkpoint.chain_id != chain_id:
        raise Mismatch("chain of the checkpoint", chain_id, checkpoint.chain_id)
    for path, each in zip(notes[1:], others, strict=True):
        if each.text != first.text:
            raise Mismatch(f"checkpoint in {path}", first.text, each.text)
    lines = dict.fromkeys(line for each in (first, *others) for line in each.signatures)
    # Those of the log come first, as in what a log serves.
    joined = Note(first.text, tuple(sorted(lines, key=lambda line: line.name != name)))
    files.create(output, joined.encode())
    result = {
        "file": str(output),
        "height": checkpoint.height,
        "log_size": checkpoint.size,
        "signed_by": sorted({line.name for line in lines}),
    }
    emit(context, result, lambda: fields(result))


@tlog.command()
@click.argument("proof", type=FILE)
@_genesis
@click.option("--key", "keys", multiple=True, help="Verifier key of a later validator; each once.")
@click.option(
    "--witness", "witnesses", multiple=True, help="Verifier key of a witness; all must be there."
)
@json_option
@click.pass_context
def verify(
    context: click.Context,
    proof: Path,
    genesis: Path,
    keys: tuple[str, ...],
    witnesses: tuple[str, ...],
) -> None:
    """Verify the proof in a file: who signed a log with this entry. A receipt shows more."""
    chain_id, validators = _known(genesis)
    data = files.read_public(proof, limit=MAX_PROOF_BYTES, hint="name a proof that is there")
    name = origin(chain_id)
    logs = [NoteKey(name, PublicKey(each.checkpoint_key)) for each in validators.members]
    logs += [each for each in map(parse_verifier_key, keys) if each.name == name]
    found = parse_proof(data)
    checkpoint = found.verify(logs, map(parse_cosigner, witnesses))
    entry = decode(found.entry, Entry)
    result = {
        "entry": found.index,
        "transaction": entry.transaction.hex(),
        "position": entry.position,
        "height": entry.height,
        "applied": entry.outcome.code == APPLIED,
        "log_size": checkpoint.size,
        "witnesses": len(witnesses),
    }
    emit(context, result, lambda: f"{fields(result)}\nverified")


def _known(path: Path) -> tuple[bytes, ValidatorSet]:
    """Return the chain id of a genesis, and who votes first."""
    known = load_genesis(path)
    return known.chain_id, known.genesis.validator_set


def _read_note(path: Path) -> Note:
    hint = "a witness serves it, and has it in public/"
    return parse_note(files.read_public(path, limit=MAX_NOTE_BYTES, hint=hint))
