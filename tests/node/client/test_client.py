"""The HTTP client against a server that answers as nodes do, and as no node should."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from ledger.encoding import decode
from node.client import client as clients
from node.client.client import BadAnswer, NodeClient, Sent
from node.client.errors import ClientError, NetworkRefused, NotFound, Unreachable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> Any:  # noqa: ANN401
    application = web.Application()
    application.router.add_route("*", "/v1/{path:.*}", handler)
    async with (
        TestServer(application) as server,
        NodeClient(str(server.make_url("")), "secret-token") as client,
    ):
        yield client


def answering(status: int, body: Any = None, text: str | None = None) -> Handler:  # noqa: ANN401
    async def handler(_request: web.Request) -> web.Response:
        if text is not None:
            return web.Response(status=status, text=text)
        return web.json_response(body, status=status)

    return handler


def ask(handler: Handler, what: Callable[[NodeClient], Awaitable[Any]]) -> Any:  # noqa: ANN401
    async def go() -> Any:  # noqa: ANN401
        async with serving(handler) as client:
            return await what(client)

    return asyncio.run(go())


def test_transactions_are_sent_with_the_token_in_as_many_requests_as_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "MAX_BATCH", 2)
    seen: list[tuple[bytes, ...]] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret-token"
        assert request.content_type == "application/msgpack"
        assert request.query["wait"] == "7"
        seen.append(decode(await request.read(), tuple[bytes, ...]))
        sent = [{"id": raw.hex(), "status": "pending"} for raw in seen[-1]]
        return web.json_response({"transactions": sent}, status=202)

    answers = ask(handler, lambda client: client.submit([b"a", b"b", b"c"], wait=7))
    assert seen == [(b"a", b"b"), (b"c",)]
    assert [answer.id for answer in answers] == ["61", "62", "63"]


def test_rejections_are_results_and_not_errors() -> None:
    problem = {"title": "expired", "status": 422, "type": "urn:depoli:problem:expired"}
    body = problem | {"transactions": [{"id": "00", "status": "rejected", "problem": problem}]}
    (answer,) = ask(answering(422, body), lambda client: client.submit([b"a"]))
    assert isinstance(answer, Sent)
    assert answer.problem is not None
    assert answer.problem.type.endswith("expired")


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, ClientError, "refuses: t: d"),
        (401, ClientError, "does not know this token"),
        (403, ClientError, "refuses"),
        (404, NotFound, "t: d"),
        (413, ClientError, "t: d"),
        (422, NetworkRefused, "t: d"),
        (429, NetworkRefused, "queue is full"),
        (500, ClientError, "refuses"),
        (503, Unreachable, "is not ready: d"),
        (302, ClientError, "refuses"),
    ],
)
def test_a_problem_is_told_in_its_words(status: int, error: type[ClientError], words: str) -> None:
    body = {"title": "t", "detail": "d", "status": status}
    with pytest.raises(error) as refusal:
        ask(answering(status, body), lambda client: client.submit([b"a"]))
    assert words in str(refusal.value)
    assert "secret-token" not in f"{refusal.value} {refusal.value.hint}"


@pytest.mark.parametrize(
    "text", ["", "<html>", "[]", '{"transactions": []}', '{"transactions": [{"status": "no"}]}']
)
def test_what_no_node_answers_is_said(text: str) -> None:
    with pytest.raises(BadAnswer):
        ask(answering(200, text=text), lambda client: client.submit([b"a"]))


def test_a_claim_whose_ids_are_no_ids_is_refused() -> None:
    view = dict.fromkeys(("id", "submitter", "payer", "prescription", "document", "amount"), "zz")
    body = view | {"leg": "base", "state": "submitted", "marks": []}
    with pytest.raises(BadAnswer):
        ask(answering(200, body), lambda client: client.claim(bytes(32)))


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(BadAnswer) as refusal:
        ask(answering(200, text="x" * 100_000), lambda client: client.status())
    assert "more than 1000 bytes" in str(refusal.value)


def test_nobody_there_is_said_with_what_to_do() -> None:
    async def go() -> None:
        async with NodeClient(f"http://127.0.0.1:{unused_port()}", "t") as client:
            await client.status()

    with pytest.raises(Unreachable) as refusal:
        asyncio.run(go())
    assert refusal.value.exit_code == 13
    assert "start it" in refusal.value.hint


def test_claims_come_page_by_page() -> None:
    def view(number: int) -> dict[str, object]:
        ids = dict.fromkeys(("prescription", "document", "amount"), "00" * 32)
        return ids | {
            "id": f"{number:064x}",
            "submitter": "00" * 16,
            "payer": "00" * 16,
            "leg": "base",
            "state": "submitted",
            "marks": [{"part": "lenses", "mark": "00" * 32}],
            "added_later": True,
        }

    async def handler(request: web.Request) -> web.Response:
        first = int(request.query.get("cursor", "0"))
        assert request.query["state"] == "submitted"
        cursor = first + 1 if first < 2 else None
        return web.json_response({"claims": [view(first)], "cursor": cursor})

    async def collect(client: NodeClient) -> list[str]:
        return [claim.id async for claim in client.claims("submitted")]

    assert ask(handler, collect) == [f"{number:064x}" for number in range(3)]
