"""The connection to a node, against servers that rest, drip and say too much."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from node.client.connection import Connection

Behaviour = Callable[[socket.socket, int], None]  # a visitor, and which one it is


@contextmanager
def server(behave: Behaviour) -> Iterator[tuple[str, list[int]]]:
    """Yield the URL of a server and the numbers of those who came."""
    came: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    visitor, _ = listening.accept()
                except OSError:
                    return
                came.append(len(came))
                with visitor:
                    behave(visitor, came[-1])

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def answer(visitor: socket.socket, body: bytes, length: int | None = None) -> None:
    visitor.recv(65_536)
    size = len(body) if length is None else length
    visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body))


async def ask(connection: Connection, *, seconds: float = 5, limit: int = 100) -> tuple[int, bytes]:
    return await connection.exchange(
        "GET", "/v1/status", {}, data=None, headers={}, seconds=seconds, limit=limit
    )


def test_a_connection_that_the_node_closed_while_it_rested_is_opened_anew() -> None:
    def behave(visitor: socket.socket, number: int) -> None:
        answer(visitor, b"%d" % number)  # and closes, without having said so

    async def go(url: str) -> list[tuple[int, bytes]]:
        connection = Connection(url, {}, connect_s=5)
        found = [await ask(connection), await ask(connection)]
        connection.close()
        return found

    with server(behave) as (url, came):
        assert asyncio.run(go(url)) == [(200, b"0"), (200, b"1")]
        assert came == [0, 1]


def test_a_connection_is_kept() -> None:
    def behave(visitor: socket.socket, _number: int) -> None:
        answer(visitor, b"first")
        answer(visitor, b"second")

    async def go(url: str) -> list[tuple[int, bytes]]:
        connection = Connection(url, {}, connect_s=5)
        found = [await ask(connection), await ask(connection)]
        connection.close()
        return found

    with server(behave) as (url, came):
        assert asyncio.run(go(url)) == [(200, b"first"), (200, b"second")]
        assert came == [0]


def test_what_is_given_up_is_not_asked_again_by_the_thread_that_waits() -> None:
    asked = threading.Event()

    def behave(visitor: socket.socket, number: int) -> None:
        del number
        answer(visitor, b"first")
        visitor.recv(65_536)
        asked.set()
        visitor.recv(65_536)  # until whoever asked has hung up

    async def go(url: str) -> None:
        connection = Connection(url, {}, connect_s=5)
        await ask(connection)
        waiting = asyncio.create_task(ask(connection))
        assert await asyncio.to_thread(asked.wait, 5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with server(behave) as (url, came):
        asyncio.run(go(url))  # which waits for the thread
        assert came == [0]


def test_a_node_that_drips_is_left_when_time_is_up() -> None:
    over = threading.Event()

    def behave(visitor: socket.socket, _number: int) -> None:
        answer(visitor, b"", length=100_000)
        while not over.wait(0.01):  # each byte in time, the whole never
            try:
                visitor.sendall(b"x")
            except OSError:
                return

    async def go(url: str) -> None:
        connection = Connection(url, {}, connect_s=5)
        with pytest.raises(TimeoutError):
            await ask(connection, seconds=0.2, limit=200_000)

    with server(behave) as (url, _):
        began = time.monotonic()
        asyncio.run(go(url))  # waits for its threads too
        assert time.monotonic() - began < 3
        over.set()


def test_one_byte_more_than_is_taken_is_read_so_that_it_shows() -> None:
    async def go(url: str) -> tuple[int, bytes]:
        return await ask(Connection(url, {}, connect_s=5), limit=10)

    with server(lambda visitor, _: answer(visitor, b"x" * 5000)) as (url, _):
        assert asyncio.run(go(url)) == (200, b"x" * 11)


def test_a_header_that_would_be_two_is_refused() -> None:
    async def go(url: str) -> None:
        await ask(Connection(url, {"Authorization": "Bearer a\r\nX: y"}, connect_s=5))

    with (
        server(lambda visitor, _: answer(visitor, b"")) as (url, _),
        pytest.raises(ValueError, match="Invalid header"),
    ):
        asyncio.run(go(url))


def test_the_commands_of_people_load_no_web_framework() -> None:
    program = (
        "import sys, node.cli.claim, node.cli.lot, node.cli.settlement, node.cli.disclosure\n"
        "assert 'aiohttp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
