"""Every wrong use answers in one or two lines what is wrong and what to do, with the right code."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from contracts import errors as rules
from contracts.errors import BadGenesis, ContractsError
from ledger import errors
from ledger.errors import Malformed, StoreLocked
from node.cli import output
from node.cli.main import _RECORD_CODES, main
from node.errors import Exit, NodeError

ROOT = Path(__file__).parents[2]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def refused(code: Exit, *args: str | Path) -> str:
    result = run(*args)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2, result.stderr
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint:  ") for line in lines[1:])
    assert "Traceback" not in result.stderr
    assert "fault of depoli" not in result.stderr
    return result.stderr


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


def verbs() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for path in commands(main):
        found: click.Command = main
        for name in path:
            assert isinstance(found, click.Group)
            inner = found.get_command(click.Context(found), name)
            assert inner is not None
            found = inner
        if not isinstance(found, click.Group):
            yield path, found


def test_every_command_refuses_an_option_that_it_does_not_have() -> None:
    for path in commands(main):
        assert "--no-such" in refused(Exit.USAGE, *path, "--no-such")


def test_every_command_has_help() -> None:
    for path in commands(main):
        result = run(*path, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.stdout
        assert not re.search(r"[a-z]\.\.\.$", result.stdout, re.MULTILINE), "a sentence is cut off"


def test_every_command_that_has_a_result_has_it_in_json() -> None:
    run_on = {("node", "run"), ("witness", "run"), ("gateway", "run")}  # end only when told to
    for path, command in verbs():
        names = {name for parameter in command.params for name in parameter.opts}
        assert path in run_on or "--json" in names, path


def test_every_option_says_what_it_is_for() -> None:
    for path, command in verbs():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or isinstance(parameter.type, click.Choice), (path, parameter)


def test_an_unknown_noun_names_the_nearest() -> None:
    assert "did you mean 'claim'?" in refused(Exit.USAGE, "clam")


def test_an_unknown_noun_like_none_lists_them() -> None:
    assert "testnet" in refused(Exit.USAGE, "xyzzy")


def test_an_unknown_verb_is_refused() -> None:
    assert "sing" in refused(Exit.USAGE, "genesis", "sing")


def test_nothing_at_all_shows_the_help_and_is_wrong_use() -> None:
    result = run()
    assert result.exit_code == Exit.USAGE
    assert "testnet" in result.output


@pytest.mark.parametrize(
    "args",
    [
        ("keys", "new", "{}/k"),
        ("keys", "new", "{}/k", "--label", "a", "--family", "shop"),
        ("keys", "new", "{}/k", "--label", "A b", "--family", "insurer"),
        ("keys", "new", "{}/k", "--label", "a", "--family", "insurer", "--country", "fr"),
        ("genesis", "draft", "--network", "n"),
        ("genesis", "assemble", "{}/draft.json"),
        ("node", "init", "--data", "{}/n", "--genesis", "g", "--keys", "k", "--api", "nowhere"),
        ("node", "init", "--data", "{}/n", "--genesis", "g", "--keys", "k", "--peer", "a"),
        ("node", "token", "new", "--config", "{}", "--scope", "read", "--output", "{}/t"),
        ("testnet", "create", "{}/n", "--validators", "0"),
        ("testnet", "create", "{}/n", "--validators", "many"),
        ("testnet", "create", "{}/n", "--shops", "-1"),
        ("testnet", "stop", "{}/n", "--kill"),
    ],
)
def test_what_makes_no_sense_is_wrong_use(args: tuple[str, ...], tmp_path: Path) -> None:
    if args[:2] == ("testnet", "stop"):
        pytest.importorskip("node.testnet").create(tmp_path / "n", shops=0)
    refused(Exit.USAGE, *(arg.format(tmp_path) for arg in args))


@pytest.mark.parametrize(
    "args",
    [
        ("keys", "show", "{}/k"),
        ("genesis", "verify", "{}/genesis.json"),
        ("genesis", "show", "{}/draft.json"),
        ("genesis", "sign", "{}/draft.json", "--keys", "{}"),
        ("node", "init", "--data", "{}/n", "--genesis", "{}/g", "--keys", "{}"),
        ("node", "run", "--config", "{}"),
        ("node", "status", "--config", "{}"),
        ("testnet", "start", "{}"),
        ("testnet", "stop", "{}"),
        ("testnet", "status", "{}"),
    ],
)
def test_what_was_not_made_yet_says_how_to_make_it(args: tuple[str, ...], tmp_path: Path) -> None:
    said = refused(Exit.NOT_INITIALISED, *(arg.format(tmp_path) for arg in args))
    assert "hint:" in said


@pytest.mark.parametrize("verb", ["verify", "show"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"[" * 5000, b"null"])
def test_a_file_that_is_no_genesis_is_refused(verb: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    result = run("genesis", verb, tmp_path / "x.json")
    assert result.exit_code in {Exit.USAGE, Exit.VERIFICATION_FAILED}
    assert "fault of depoli" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_folder_where_a_file_is_needed_is_refused(tmp_path: Path) -> None:
    refused(Exit.USAGE, "genesis", "verify", tmp_path)


def test_the_errors_of_the_record_that_are_told_by_name_exist() -> None:
    for name in _RECORD_CODES:
        found = getattr(errors, name, None) or getattr(rules, name)
        assert issubclass(found, errors.LedgerError | ContractsError)


@click.command()
@click.argument("kind")
def failing(kind: str) -> None:
    """Fail in some way."""
    if kind == "fault":
        raise RuntimeError("first line\nsecond\x1b[31m line")
    if kind == "group":
        raise ExceptionGroup("several", [ExceptionGroup("inner", [NodeError("it", hint="do")])])
    if kind == "system":
        raise PermissionError(13, "Permission denied", "some/file")
    if kind == "locked":
        raise StoreLocked("data")
    if kind == "record":
        raise Malformed("block", "it is torn")
    if kind == "rule":
        raise BadGenesis("it was not signed")
    if kind == "interrupt":
        raise KeyboardInterrupt


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_command(_group: object, _context: object, name: str) -> click.Command | None:
        return failing if name == "keys" else None

    monkeypatch.setattr(type(main), "get_command", get_command)


@pytest.mark.usefixtures("broken")
class TestWhatACommandMayRaise:
    def test_a_fault_of_ours_is_one_line_and_how_to_report_it(self) -> None:
        result = run("keys", "fault")
        assert result.exit_code == Exit.FAILED
        first, second = result.stderr.splitlines()
        assert "RuntimeError: first line second�[31m line" in first
        assert "DEPOLI_DEBUG=1" in second

    def test_it_is_raised_where_one_asks_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEPOLI_DEBUG", "1")
        assert isinstance(run("keys", "fault").exception, RuntimeError)

    def test_of_a_group_the_first_error_is_told(self) -> None:
        assert refused(Exit.FAILED, "keys", "group") == "error: it\nhint:  do\n"

    def test_an_error_of_the_system_names_the_file(self) -> None:
        said = refused(Exit.FAILED, "keys", "system")
        assert said.startswith("error: some/file: Permission denied\nhint:  ")

    def test_a_record_in_use_is_locked(self) -> None:
        assert "another process" in refused(Exit.LOCKED, "keys", "locked")

    def test_what_does_not_hold_does_not_verify(self) -> None:
        assert "torn" in refused(Exit.VERIFICATION_FAILED, "keys", "record")
        assert "signed" in refused(Exit.VERIFICATION_FAILED, "keys", "rule")

    def test_an_interrupt_ends_as_shells_expect(self) -> None:
        assert run("keys", "interrupt").exit_code == 130


def test_optimised_python_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "node.cli.main", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.FAILED
    assert "-O" in done.stderr
    assert done.stdout == ""


def test_the_version_and_the_help_import_no_part_of_the_node() -> None:
    code = (
        "import sys; from node.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'nacl', 'aiohttp', 'asyncio', 'plyvel', 'cryptography', 'msgspec'}\n"
        "bad = heavy & set(sys.modules)\n"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_output_into_a_closed_pipe_is_no_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "node.cli.main", "--help"],
            cwd=ROOT,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == Exit.FAILED
    assert done.stderr == ""


def test_what_others_wrote_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.note("a\x1b[2Jb\rc\nd")
    assert capsys.readouterr().err == "a�[2Jb�c\nd\n"
