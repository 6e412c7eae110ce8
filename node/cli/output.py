"""What commands print: results on standard output, everything else on standard error."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

_JSON: Final = "depoli.json"
F = TypeVar("F", bound=Callable[..., Any])


class Verbs(click.Group):
    """The verbs of a noun; its help says what each does in a whole sentence.

    Verbs that are `elsewhere` are imported from the module that is named when they are asked for,
    so that one that works offline does not wait for what asks a node.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        elsewhere: Mapping[str, str] | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **extra)
        self._elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in alphabetical order."""
        return sorted({*super().list_commands(ctx), *self._elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb, imported where it is elsewhere."""
        module = self._elsewhere.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        verbs = vars(importlib.import_module(module))
        command = verbs.get(cmd_name) or verbs[f"{cmd_name}_"]  # where Python has the name itself
        assert isinstance(command, click.Command)  # each module has the verbs that it is named for
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each verb with the first paragraph of its help, however long that is."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        shown = [(name, (verb and verb.help) or "") for name, verb in found.items()]
        with formatter.section("Commands"):
            formatter.write_dl([(name, text.partition("\n\n")[0]) for name, text in shown])


def json_option(command: F) -> F:
    """Give a command `--json`; `emit` obeys it, the command itself need not look."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
        context.meta[_JSON] = value

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print the result as one JSON value.",
    )(command)


def is_json(context: click.Context) -> bool:
    """Return whether the result is to be JSON."""
    return bool(context.meta.get(_JSON, False))


def emit(context: click.Context, value: object, human: str | Callable[[], str]) -> None:
    """Print `value` as JSON where `--json` was given, otherwise `human`. Bytes appear as hex."""
    if is_json(context):
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))
    else:
        click.echo(human if isinstance(human, str) else human())


def note(text: str) -> None:
    """Say something that is not the result, on standard error."""
    click.echo("\n".join(map(visible, text.split("\n"))), err=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows under their headings, in columns as wide as they need; numbers to the right."""
    cells = [list(map(_cell, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[index], int) or row[index] is None for row in rows)
        for index in range(len(headings))
    ]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.rjust(width) if number else value.ljust(width)
            for value, width, number in zip(values, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(headings)), *map(line, cells)])


def fields(values: Mapping[str, object]) -> str:
    """Return one `name  value` line per item, aligned."""
    width = max(map(len, values), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {_cell(value)}".rstrip() for name, value in values.items()
    )


def moment(seconds: int) -> str:
    """Return unix seconds as people read them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def visible(text: str) -> str:
    """Return what somebody else wrote, so that it does nothing to a terminal or to a table."""
    return "".join(each if each.isprintable() else "�" for each in text)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return visible(", ".join(value))
    return value.hex() if isinstance(value, bytes) else visible(str(value))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)  # tidy: what json.dumps expects of a default
