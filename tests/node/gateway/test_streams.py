"""Streams of events that are open for long: what they take from others, and how they end."""

import asyncio
import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.client.client import Head
from node.gateway.streams import MAX_STREAMS
from node.tokens import remove_grant
from tests.node.gateway.doorstep import BEATS, AwayNode, Gateway, open_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with open_gateway(tmp_path) as made:
        yield made
        made.node.speaks.set()  # or its threads wait


@contextlib.contextmanager
def stream(gateway: Gateway, token: str) -> Iterator[http.client.HTTPResponse]:
    """Open a stream, on which the node gave one sign of life."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {gateway.tokens[token]}"}
        connection.request("GET", "/v1/events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline() == b":\n"
        yield answer


def test_as_many_streams_as_may_be_open_take_no_thread_from_what_asks_the_node(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def head(_: AwayNode) -> Head:
        return await asyncio.to_thread(Head, 7, "00" * 32)

    monkeypatch.setattr(AwayNode, "head", head)
    with contextlib.ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(stream(gateway, "both"))
        assert gateway.get("/v1/status").body["height"] == 7
        assert gateway.get("/v1/events").status == 429


def test_a_stream_ends_when_its_token_is_removed(gateway: Gateway) -> None:
    with stream(gateway, "both") as goes_on, stream(gateway, "reads") as ends:
        assert remove_grant(gateway.folder / "gateway.toml", "reads")
        gateway.node.speaks.set()
        # What came before, and no more.
        assert [ends.readline() for _ in range(3)] == [b"\n", b"", b""]
        assert [goes_on.readline() for _ in range(BEATS)] == [b"\n", b":\n"] * (BEATS // 2)


def test_a_stream_ends_when_nobody_can_be_let_in(gateway: Gateway) -> None:
    with stream(gateway, "both") as ends:
        (gateway.folder / "gateway.toml").write_text("[[token]]\n")
        gateway.node.speaks.set()
        assert [ends.readline() for _ in range(3)] == [b"\n", b"", b""]
