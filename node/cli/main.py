"""The entry point: finds commands, and turns every error into a sentence and an exit code."""

import contextlib
import difflib
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from node.errors import Exit, NodeError

# Noun -> what it is about. A noun lives in node/cli/<noun>.py under its own name and is imported
# when it is used, so that `depoli --version` loads neither libsodium nor a web server.
_NOUNS: Final = {
    "keys": "Make an organisation's keys and show their public parts.",
    "genesis": "Agree on how a chain begins: draft, sign, assemble, verify.",
    "member": "Look at members; keep our keys, let others act for us, bind certificates.",
    "proposal": "Propose what is to change, and vote on it.",
    "validator": "See who runs validators; join, leave, replace, and change keys.",
    "node": "Initialise, run and look at a node.",
    "db": "Check, rebuild and heal the data of a stopped node.",
    "snapshot": "Make, list and verify snapshots of the state.",
    "backup": "Keep the record of a node elsewhere, prove that copy, restore it.",
    "doctor": "Say in words why there is no block, and what to do.",
    "testnet": "A whole network on this machine, for trying things.",
    "codes": "Ask the tables of optics: codes, categories, ceilings, renewals.",
    "vault": "See what the vault holds; back it up, restore it, change what opens it, export it.",
    "prescription": "Keep a prescription in the vault and commit to it.",
    "authorisation": "Ask a payer to agree before you claim, and answer what is asked.",
    "renewal": "Prove the day of the last reimbursement, or that an early renewal qualifies.",
    "control": "See which attestations are drawn, open them to a health professional, judge.",
    "claim": "Submit, decide, dispute, reverse and show claims.",
    "explain": "Say what happened to a thing, and who may do what next until when.",
    "events": "Show what concerns us on the chain, entry by entry, as it comes.",
    "lot": "Submit many claims under one signature.",
    "disclosure": "Show a payer what it may see of a claim, verify it, and see who saw what.",
    "post": "Send what is to be sent until it is signed for, and take what comes.",
    "erase": "Erase a prescription or a person, and have who was shown it erase it too.",
    "gateway": "Serve shop software on this machine: claims, receipts, events by HTTP.",
    "inbox": "Decide what shops disclose to us: by policy, and by people.",
    "settlement": "Settle a batch of accepted claims, and confirm it.",
    "receipt": "Export and verify the proof that an entry is on the chain.",
    "proof": "Prove that the log only grew, or that of a member's entries none is missing.",
    "audit": "Export the chain and verify it from genesis.",
    "tlog": "Take the log, or the proof of an entry, away in the formats of transparency logs.",
    "witness": "Follow a chain without a vote in it, and cosign what it shows.",
    "evidence": "List, export and verify what convicts a validator of contradicting itself.",
    "upgrade": "See which rules are to come, try them on an export, and say that we are ready.",
}
_SYSTEM_HINTS: Final = {
    errno.ENOENT: "name a file that is there",
    errno.EADDRINUSE: "stop what listens there, or choose another port in config.toml",
    errno.EACCES: "run it as the user that may, or give that user the right",
    errno.EROFS: "mount that file system for writing",
    errno.ENOSPC: "free some space; what was written so far is whole",
    errno.EFBIG: "allow longer files: ulimit -f, or LimitFSIZE of the service",
    errno.EMFILE: "allow more open files: ulimit -n",
}
_RECORD_CODES: Final = {  # errors of the record by name: importing them here would be slow
    "StoreLocked": (Exit.LOCKED, "only one process at a time may use a node's data"),
    "StoreDamaged": (Exit.FAILED, "docs/operator.md says how to heal it"),  # or see _REMEDIES
    "UnknownVersion": (Exit.OUTDATED, "nothing is lost: install it, and start again"),
}
_REMEDIES: Final = {  # by the folder in which a file is damaged
    "segments": "heal it with: depoli db heal --config FOLDER --from http://PEER:7680|EXPORT",
    "state": "make it anew from the blocks with: depoli db reindex --config FOLDER",
}
_INTERRUPTED: Final = 130  # as shells report Ctrl-C, which click makes an Abort
_MESSAGE_CHARACTERS: Final = 600  # a message may quote input; a screen is not to be flooded


class UnknownCommand(click.UsageError):
    """There is no such noun or verb; the nearest one is named."""

    def __init__(self, name: str, known: Sequence[str], context: click.Context) -> None:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
        super().__init__(f"there is no command '{name}'; {guess}", context)


class CommandMissing(NodeError):
    """A command is listed, but its module is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the command '{name}' is missing from this installation",
            hint="install the whole package again",
        )


class Nouns(click.Group):
    """The group of all commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns in the order in which one meets them."""
        del ctx
        return list(_NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of a noun; None where there is no such noun."""
        del ctx
        if cmd_name not in _NOUNS:
            return None
        module = f"node.cli.{cmd_name}"
        try:
            command = getattr(importlib.import_module(module), cmd_name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise CommandMissing(cmd_name) from None
        assert isinstance(command, click.Command)  # each module exports its noun
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the noun, or raise `UnknownCommand`."""
        if args[0] not in _NOUNS and not args[0].startswith("-"):
            raise UnknownCommand(args[0], list(_NOUNS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each noun is about without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_NOUNS.items()))

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> NoReturn:
        """Run a command and exit; no traceback reaches a person unless DEPOLI_DEBUG=1."""
        if not __debug__:
            _fail("Python's -O switches off checks this program relies on", "run it without -O")
        _leave_no_core()
        extra["standalone_mode"] = False
        try:
            result = super().main(args, prog_name or "depoli", **extra)
        except Exception as error:
            if os.environ.get("DEPOLI_DEBUG") == "1":
                raise
            _explain(error)
        sys.exit(result if isinstance(result, int) else Exit.OK)


def _leave_no_core() -> None:
    """Let no crash write the memory of this process, with the keys in it, to a disk."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource  # noqa: PLC0415

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _explain(error: BaseException) -> NoReturn:
    """Say what is wrong and what to do, in two lines at most, and exit with the right code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case click.exceptions.Exit():
            sys.exit(error.exit_code)
        case click.Abort():
            sys.exit(_INTERRUPTED)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            sys.exit(Exit.USAGE)
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "depoli"
            _fail(error.format_message(), f"{command} --help", Exit.USAGE)
        case click.ClickException():
            _fail(error.format_message(), "", error.exit_code)
        case OSError(errno=errno.EPIPE):
            # Who read our output has gone; nothing may be written to it when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(Exit.FAILED)
        case OSError() if not hasattr(error, "exit_code"):
            where = f"{error.filename}: " if error.filename else ""
            hint = _SYSTEM_HINTS.get(error.errno or 0, "")
            _fail(f"{where}{error.strerror or error}", hint, Exit.FAILED)
        case _:
            pass
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):  # of this package, or of the client's or the auditor's
        for fault in getattr(error, "faults", ())[:-1]:  # of many, each has a line of its own
            click.echo(f"error: {_one_line(str(fault))}", err=True)
        last = (getattr(error, "faults", ()) or (error,))[-1]
        _fail(str(last), getattr(error, "hint", ""), code)
    if type(error).__module__.partition(".")[0] in {"ledger", "contracts", "consensus"}:
        code, hint = _RECORD_CODES.get(type(error).__name__, (Exit.VERIFICATION_FAILED, ""))
        if isinstance(path := getattr(error, "path", None), str) and code is Exit.FAILED:
            folders = Path(path).parts[-3:]
            hint = next((_REMEDIES[each] for each in folders if each in _REMEDIES), hint)
        _fail(str(error), hint, code)  # in general: what was read does not hold
    _fail(
        f"this is a fault of depoli: {type(error).__name__}: {error}",
        "run it again with DEPOLI_DEBUG=1 and report what it prints",
    )


def _fail(message: str, hint: str, code: int = Exit.FAILED) -> NoReturn:
    click.echo(f"error: {_one_line(message)}", err=True)
    if hint:
        click.echo(f"hint:  {_one_line(hint)}", err=True)
    sys.exit(int(code))


def _one_line(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= _MESSAGE_CHARACTERS else text[:_MESSAGE_CHARACTERS] + "…"


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if not value:
        return
    from importlib import metadata  # noqa: PLC0415 - costs a tenth of a second

    try:
        version = metadata.version("depoli")
    except metadata.PackageNotFoundError:
        version = "from a source tree that is not installed"
    click.echo(f"depoli {version}")
    context.exit()


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Prove that a reimbursement is due; no prescription leaves the shop."""


if __name__ == "__main__":
    main()
