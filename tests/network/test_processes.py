"""Nodes as processes that are treated badly: each refusal is a sentence, nothing told is lost."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from node import testnet
from node.config import load_config
from node.process import Process, request
from node.testnet import LocalNetwork
from scripts import kills
from scripts.kills import Load

STOP_S = 5.0
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A network of one validator and a shop, which runs."""
    made = testnet.create(tmp_path / "net", validators=1, shops=1)
    kills.give_tokens(made)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def process(network: LocalNetwork) -> Process:
    return network.processes[0]


def run_node(home: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "node", "run", "--config", str(home)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509  (no threads here)
    )


def refusal(home: Path) -> tuple[int, list[str]]:
    """Run a node that cannot run; return its exit code and what is no log of its last lines."""
    with run_node(home) as ended:
        _, text = ended.communicate(timeout=30)
    return ended.returncode, said(text)


def said(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("{")]


@asynccontextmanager
async def loaded(network: LocalNetwork, rate: int = 100) -> AsyncIterator[Load]:
    """A load on the network, until all of it is acknowledged."""
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        load = Load(network, session, rate)
        group.create_task(load.run())
        try:
            yield load
        finally:
            load.end()


async def until(condition: Callable[[], bool], fault: str) -> None:
    await kills.until(condition, 30, fault)


def require_whole(network: LocalNetwork, load: Load) -> None:
    """Fail unless every acknowledged transaction stands in the chain once, where it was told."""
    found = kills.read_chain(network, network.validators[0].label)
    assert load.acknowledged
    for id_, height in load.acknowledged.items():
        assert found[id_] == [height]


def test_a_second_node_over_the_same_data_is_refused(process: Process) -> None:
    code, lines = refusal(process.home)
    assert code == 11
    assert len(lines) == 2
    assert "in use by another process" in lines[0]
    assert process.not_ready() == ""


@pytest.mark.parametrize("key", ["p2p", "api", "admin"])
def test_a_port_in_use_is_named(network: LocalNetwork, process: Process, key: str) -> None:
    network.stop()
    config = load_config(process.home)
    address = {"p2p": config.p2p_listen, "api": config.api_listen, "admin": config.admin_listen}
    with socket.create_server(address[key]):
        code, lines = refusal(process.home)
    assert code == 1
    assert lines == [
        f"error: cannot listen on {address[key]}: Address already in use",
        f"hint:  stop what listens there, or choose another {key}.listen in config.toml",
    ]


def test_a_damaged_journal_is_refused_in_a_sentence(
    network: LocalNetwork, process: Process
) -> None:
    network.stop()
    (path,) = (process.home / "data" / "journal").glob("*.journal")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    code, lines = refusal(process.home)
    assert code == 1
    assert len(lines) == 2
    assert str(path) in lines[0]


def test_data_that_cannot_be_written_is_said_so(network: LocalNetwork, process: Process) -> None:
    network.stop()
    (process.home / "data").rename(process.home / "moved")
    (process.home / "data").write_text("a file where a folder must be")
    code, lines = refusal(process.home)
    assert code == 1
    assert 1 <= len(lines) <= 2
    assert str(process.home / "data") in lines[0]


def test_sigterm_under_load_ends_it_cleanly_and_loses_nothing(
    network: LocalNetwork, process: Process
) -> None:
    async def stop() -> Load:
        async with loaded(network) as load:
            await until(lambda: len(load.acknowledged) > 50, "nothing is committed")
            pid = process.pid()
            assert pid is not None
            start = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            _, code = await asyncio.to_thread(os.waitpid, pid, 0)
            assert code == 0
            assert time.monotonic() - start < STOP_S
            process.start()
            before = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > before + 50, "it does not come back")
        return load

    load = asyncio.run(stop())
    assert load.acknowledged.keys() == load.offered
    require_whole(network, load)


def test_a_disk_that_takes_no_more_stops_the_node_and_loses_nothing(
    network: LocalNetwork, process: Process
) -> None:
    network.stop()

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    async def load_until_full() -> Load:
        with run_node(process.home, fill) as small:
            async with loaded(network) as load:
                await until(lambda: small.poll() is not None, "it goes on")
                assert small.stderr is not None
                lines = said(small.stderr.read())
                assert small.returncode == 1
                assert 1 <= len(lines) <= 2
                assert "File too large" in lines[0]
                process.start()  # where there is room
        return load

    load = asyncio.run(load_until_full())
    require_whole(network, load)


def test_garbage_on_every_port_changes_nothing(process: Process) -> None:
    config = load_config(process.home)
    for address in (config.p2p_listen, config.api_listen, config.admin_listen):
        for garbage in (b"", b"\0" * 5000, b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n"):
            with socket.create_connection(address) as connection:
                connection.sendall(garbage)
    assert request(config.admin_listen, "/readyz") == (200, b"ready\n")
    assert process.status()["ready"]
    assert not any('"level": "error"' in line for line in process.tail(100))


def test_a_body_without_end_is_not_read(process: Process) -> None:
    address = load_config(process.home).api_listen
    with socket.create_connection(address, timeout=20) as connection:
        head = "POST /v1/transactions HTTP/1.1\r\nHost: node\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 401 " in connection.recv(100).partition(b"\r\n")[0]
