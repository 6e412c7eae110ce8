"""What a person can type is written where a person looks for it."""

import re
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


def examples() -> Iterator[tuple[str, list[str]]]:
    """Yield the page and the words of every `depoli` command in a block of shell."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(
            r"^ *```sh\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split()
                if words[:1] == ["depoli"]:
                    yield page.name, words[1:]


def test_the_examples_use_commands_and_options_that_exist() -> None:
    found = list(examples())
    assert len(found) > 20
    for page, words in found:
        command: click.Command = main
        rest = words
        while isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), rest[0])
            assert inner is not None, (page, words)
            command, rest = inner, rest[1:]
        options = {name for parameter in command.params for name in parameter.opts}
        unknown = [word for word in rest if word.startswith("-") and word not in options]
        assert not unknown, (page, words, unknown)
