"""What a person can type is written where a person looks for it."""

from collections.abc import Iterator
from pathlib import Path

import click

from node.cli.main import main

ROOT = Path(__file__).resolve().parent.parent


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that does something."""
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None, name
        if not found.hidden:
            yield from commands(found, (*words, name))


def test_every_command_is_in_the_readme_or_in_the_page_of_the_command_line() -> None:
    pages = [ROOT / "README.md", ROOT / "docs" / "cli.md"]
    text = " ".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    text = " ".join(text.split())
    missing = [
        " ".join(words) for words in commands(main, ("depoli",)) if " ".join(words) not in text
    ]
    assert not missing
