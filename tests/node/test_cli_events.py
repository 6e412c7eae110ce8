"""`depoli events` against a node that restarts: one line for each entry, none lost, none twice."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from click.testing import CliRunner

from contracts.genesis_json import signed_json
from node import testnet
from node.cli.main import main
from node.errors import Exit
from node.listener import serve_http
from node.tokens import Scope
from tests.chainmaker import member_of
from tests.node.cluster import (
    ALONE,
    Cluster,
    api_of,
    book_of,
    prescription,
    run,
    running,
    within,
)
from tests.node.test_api import FEDERATION, served
from tests.node.test_pruned import prune_all

TOKENS = book_of(secret=("shop-a", (Scope.READ,)))


def home_in(folder: Path, cluster: Cluster, url: str, token: str = "secret") -> Path:  # noqa: S107
    """Make the home of shop-a, with nothing in it but what this command needs."""
    folder.mkdir()
    (folder / "genesis.json").write_text(signed_json(cluster.genesis))
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    named = {name: name for name in ("key_file", "vault")}
    table = {"node": url, "member": member_of("shop-a").hex(), "label": "shop-a"} | named
    table |= {"token_file": "token", "genesis": "genesis.json"}
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in table.items())
    (folder / "client.toml").write_text("".join(lines))
    return folder


# Who is started in the background of a script ignores Ctrl-C, and so does what it starts.
HEEDS_SIGINT = """import signal
from node.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()"""


@contextlib.asynccontextmanager
async def typed(home: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a person runs it."""
    environment = {**os.environ, "DEPOLI_HOME": str(home)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HEEDS_SIGINT, "events", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def typed_here(home: Path, *arguments: str) -> tuple[int, str, str]:
    """The same in this process: exit code, output and errors."""
    done = CliRunner().invoke(main, ["events", *arguments, "--home", str(home)])
    return done.exit_code, done.stdout, done.stderr


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, err = await within(process.communicate())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def counts(process: asyncio.subprocess.Process, number: int) -> list[int]:
    """Return the counts of the next entries that it prints."""
    assert process.stdout is not None
    lines = [await within(process.stdout.readline()) for _ in range(number)]
    return [json.loads(line)["count"] for line in lines]


@contextlib.asynccontextmanager
async def door_of(cluster: Cluster, address: tuple[str, int]) -> AsyncIterator[None]:
    application = api_of(cluster[FEDERATION], TOKENS).application()
    serving = asyncio.create_task(serve_http(application, address, key="api.listen"))
    try:
        yield
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def test_it_follows_over_a_restart_of_the_node(tmp_path: Path) -> None:
    async def follow() -> None:
        address = testnet._free_ports(1)[0]
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[FEDERATION]
            home = home_in(tmp_path / "home", cluster, f"http://{address}")
            await node.commit(*(prescription(cluster.genesis, n) for n in range(3)))
            async with contextlib.AsyncExitStack() as stack:
                async with door_of(cluster, address):
                    command = typed(home, "--follow", "--json", "--after", "1")
                    process = await stack.enter_async_context(command)
                    assert await counts(process, 2) == [2, 3]
                    await node.commit(prescription(cluster.genesis, "while"))
                    assert await counts(process, 1) == [4]
                assert process.stderr is not None
                said = (await within(process.stderr.readline())).decode()
                assert "no node answers at" in said
                assert "connecting again" in said
                await node.commit(prescription(cluster.genesis, "meanwhile"))
                await node.stop()
                await node.start_alone()
                async with door_of(cluster, address):
                    await node.commit(prescription(cluster.genesis, "after"))
                    assert await counts(process, 2) == [5, 6]
                    process.send_signal(signal.SIGINT)
                    code, out, _ = await ended(process)
                    assert (code, out) == (130, "")

    run(follow())


def test_a_person_reads_a_line_for_each_and_errors_say_what_to_do(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            made, id_ = await door.claim("one")

            async def typing(*arguments: str, token: str = "shop_a") -> tuple[int, str, str]:  # noqa: S107
                home = tmp_path / f"home-{token}"
                if not home.exists():
                    home_in(home, door.node.cluster, door.url, token)
                return await asyncio.to_thread(typed_here, home, *arguments)

            lines: Sequence[str]
            code, out, err = await typing("--after", "1")
            assert (code, err) == (Exit.OK, "")
            lines = out.splitlines()
            assert [line.split()[0] for line in lines] == ["2", "3"]
            assert lines[0].endswith("  you locked a one-use mark")
            assert lines[1].endswith(f"UTC  claim {id_}: you submitted it: complementary")
            code, out, _ = await typing("--json", "--after", "2")
            (entry,) = json.loads(out)["entries"]
            assert (entry["transaction"], entry["label"]) == (made.id.hex(), "shop-a")
            assert (await typing("--everyone"))[:2] == (Exit.OK, "nothing yet\n")
            code, _, err = await typing("--member", "shop-b", "--follow")
            assert (code, "name a ?member= that this token may read" in err) == (Exit.FAILED, True)
            code, _, err = await typing(token="unknown")
            assert (code, "does not know this token" in err) == (Exit.FAILED, True)
            prune_all(door)
            code, _, err = await typing()
            assert code == Exit.NOT_FOUND
            assert "what is left here begins after=3" in err
            nowhere = home_in(tmp_path / "nowhere", door.node.cluster, "http://127.0.0.1:1")
            code, _, err = await asyncio.to_thread(typed_here, nowhere, "--follow")
            assert (code, "no node answers" in err) == (Exit.UNREACHABLE, True)

    run(ask())
