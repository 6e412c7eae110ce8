"""`depoli evidence` and `depoli audit fork`: what they print, and how they end."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from contracts.genesis_json import signed_json
from node.cli.main import main
from node.errors import Exit
from tests.chainmaker import Chain, story
from tests.node.audit.forked import Forked, forked

CHAIN = story()
CHAIN.block(evidence=[CHAIN.double_vote(3, 2), CHAIN.double_vote(1, 9)])
SAYS = "insurer-b signed two different commits at height 2, round 0"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_text(signed_json(CHAIN.genesis))
    return path


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return CHAIN.export(tmp_path / "chain.depoli")


def test_evidence_is_listed_exported_and_verified_offline(
    genesis: Path, export: Path, tmp_path: Path
) -> None:
    done = run("evidence", "list", "--export", export, "--genesis", genesis)
    assert done.exit_code == Exit.OK, done.output
    assert SAYS in done.stdout
    assert "operator signed two different commits at height 9, round 0" in done.stdout
    done = run("evidence", "list", "--export", export, "--genesis", genesis, "--json")
    first, second = json.loads(done.stdout)["evidence"]
    assert (first["organisation"], first["height"]) == ("insurer-b", 2)
    assert second["recorded"] == {"height": 9, "time": CHAIN.state.header.time}

    file = tmp_path / "evidence.json"
    options = ("--export", export, "--genesis", genesis, "-o", file)
    done = run("evidence", "export", first["id"][:10], *options)
    assert done.exit_code == Exit.OK, done.output
    assert f"wrote {file}" in done.stdout
    done = run("evidence", "verify", file, "--genesis", genesis)
    assert done.exit_code == Exit.OK, done.output
    assert done.stdout.startswith(SAYS)
    assert "block 9, " in done.stdout
    done = run("evidence", "verify", file, "--genesis", genesis, "--json")
    assert json.loads(done.stdout) == first
    assert run("evidence", "export", first["id"], *options).exit_code == Exit.FAILED  # it is there


def test_false_evidence_ends_with_code_4(genesis: Path, export: Path, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    options = ("--export", export, "--genesis", genesis)
    listed = json.loads(run("evidence", "list", *options, "--json").stdout)["evidence"]
    assert run("evidence", "export", listed[0]["id"], *options, "-o", file).exit_code == Exit.OK
    false = tmp_path / "false.json"
    for old, new in (("insurer-b", "insurer-a"), (listed[0]["member"], listed[1]["member"])):
        false.write_text(file.read_text().replace(old, new))
        done = run("evidence", "verify", false, "--genesis", genesis)
        assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    false.write_bytes(b"\xff")
    assert run("evidence", "verify", false, "--genesis", genesis).exit_code == 4


def test_what_is_not_there_or_not_meant_is_told(
    genesis: Path, export: Path, tmp_path: Path
) -> None:
    options = ("--export", export, "--genesis", genesis, "-o", tmp_path / "out")
    assert run("evidence", "export", "0" * 64, *options).exit_code == Exit.NOT_FOUND
    assert run("evidence", "export", "xyz", *options).exit_code == Exit.USAGE
    assert run("evidence", "export", "", *options).exit_code == Exit.USAGE
    assert run("evidence", "list", "--genesis", genesis).exit_code == Exit.USAGE
    none = Chain().export(tmp_path / "none")
    done = run("evidence", "list", "--export", none, "--genesis", genesis)
    assert done.stdout == "nobody was convicted of anything\n"
    assert not (tmp_path / "out").exists()


# --- from a node ----------------------------------------------------------------------------------


def serve(*pages: object) -> Iterator[str]:
    """Serve one answer to every question after another, in a thread."""
    loop = asyncio.new_event_loop()
    answers = iter(pages)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(next(answers))

    async def begin() -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_get("/{tail:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, url = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    yield url
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_node_that_sends_no_list_is_told_of(genesis: Path) -> None:
    pages: tuple[object, ...] = ({"evidence": 1}, [], {"evidence": [], "cursor": 0})
    for page in pages:
        for url in serve(page):
            done = run("evidence", "list", "--node", url, "--genesis", genesis)
            assert done.exit_code == Exit.FAILED
            assert "the node did not send its chain" in done.stderr


def test_what_a_hostile_node_lists_does_nothing_to_a_terminal(genesis: Path) -> None:
    says = "\x1b[2J\x1b]0;owned\x07\nnobody was convicted \u202e"
    deed = {"id": "00" * 32, "kind": "", "member": "", "organisation": "", "height": 1}
    page = {"evidence": [deed | {"says": says, "recorded": None}], "cursor": None}
    (done,) = [run("evidence", "list", "--node", url, "--genesis", genesis) for url in serve(page)]
    assert done.exit_code == Exit.OK, done.output
    assert "nobody was convicted" in done.stdout
    headings, row = done.stdout.splitlines()
    assert headings.isprintable()
    assert row.isprintable()


# --- forks ----------------------------------------------------------------------------------------


def amnesia() -> Forked:
    return next(each for each in map(forked, range(99)) if each.kept)


def test_a_fork_is_told_in_words_and_files(tmp_path: Path) -> None:
    fork = amnesia()
    genesis = tmp_path / "genesis.json"
    genesis.write_text(signed_json(fork.genesis))
    one, two = fork.export(tmp_path / "one", 0, ()), fork.export(tmp_path / "two", 1, ())
    full = fork.export(tmp_path / "full", 1, fork.kept.values())
    options = ("--genesis", genesis, "--jobs", "1")
    done = run("audit", "fork", one, two, *options)
    assert done.exit_code == Exit.VERIFICATION_FAILED, done.output
    assert f"fork at height {fork.height}" in done.stdout
    assert "missing: the proposal of block" in done.stdout
    assert "--also" in done.stdout

    folder = tmp_path / "evidence"
    done = run("audit", "fork", one, two, "--also", full, "-o", folder, *options, "--json")
    assert done.exit_code == Exit.VERIFICATION_FAILED, done.output
    told = json.loads(done.stdout)
    assert told["missing"] is None
    assert len(told["culprits"]) >= told["culprits_at_least"]
    guilty = {fork.label(index) for index in fork.evil}
    assert {each["organisation"] for each in told["culprits"]} <= guilty
    assert len(list(folder.iterdir())) == len(told["evidence"])
    for each in told["evidence"]:
        done = run("evidence", "verify", each["file"], "--genesis", genesis)
        assert done.exit_code == Exit.OK, done.output
        assert done.stdout.startswith(each["says"])
        assert "not on this chain" in done.stdout
    done = run("audit", "fork", one, full, *options, "-o", folder)
    assert "missing" not in done.stdout
    assert f"{len(told['culprits'])} convicted" in done.stdout


def test_no_fork_is_told(genesis: Path, export: Path, tmp_path: Path) -> None:
    same = CHAIN.export(tmp_path / "same")
    done = run("audit", "fork", export, same, "--genesis", genesis, "--jobs", "1")
    assert (done.exit_code, done.stdout) == (
        Exit.OK,
        "no fork: both have the same blocks up to height 9\n",
    )
    short = Chain().export(tmp_path / "short")
    done = run("audit", "fork", short, export, "--genesis", genesis, "--jobs", "1", "--json")
    assert json.loads(done.stdout)["longer"] == str(export)
    done = run("audit", "fork", short, export, "--genesis", genesis, "--jobs", "1")
    assert f"{export} goes on from there" in done.stdout


def test_the_export_that_lies_is_named(genesis: Path, export: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(export.read_bytes()[:-3])
    done = run("audit", "fork", export, torn, "--genesis", genesis, "--jobs", "1")
    assert (done.exit_code, done.stdout) == (Exit.VERIFICATION_FAILED, "")
    assert "torn: block 9" in done.stderr
