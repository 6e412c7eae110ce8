"""The client of the stream of events, of nodes that answer as no node should; and its words."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from ledger.transaction import created_id
from node.client import client as clients
from node.client import events
from node.client.client import BadAnswer, CallOutcome
from node.client.errors import ClientError, NetworkRefused, Unreachable
from node.client.events import EntryView, PrunedView, entries, follow
from node.client.words import tell_entry
from tests.node.client.test_client import serving

Answer = Callable[[web.Request, web.StreamResponse], Awaitable[None]]
ME, OTHER = bytes(16), b"\1" * 16
ID = "ab" * 32


def entry(count: int, call: str = "ClaimAccept", **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "count": count,
        "number": None,
        "call": call,
        "sender": ME.hex(),
        "height": 1,
        "time": 0,
        "transaction": "0" * 64,
        "position": 0,
        "says": {},
        "gives": [],
        "fields": fields or {"claim": ID},
        "outcome": {"code": 0, "name": "APPLIED"},
    }


def event(data: object, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def followed(*connections: bytes, number: int) -> list[EntryView | PrunedView]:
    """Return what one hears of a node that says this on each connection, from 1 on."""
    asked: list[str] = []
    found: list[EntryView | PrunedView] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers["Last-Event-ID"])
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(connections[len(asked) - 1])
        return response

    async def go() -> None:
        async with serving(handler) as client:
            heard = follow(client, "*", 1, lambda: None)
            found.extend(await asyncio.to_thread(lambda: list(itertools.islice(heard, number))))

    asyncio.run(go())
    counts = [each.count if isinstance(each, EntryView) else each.after for each in found]
    assert counts == sorted(set(counts))
    assert asked[0] == "1"
    return found


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE_S", 0.0)


def test_what_a_node_tells_twice_is_heard_once() -> None:
    first = b": block 1\n\n" + event(entry(1)) + event(entry(2)) + event(entry(2))
    second = event({"after": 1}, "pruned") + event({"after": 9}, "pruned") + event(entry(10))
    two, gone, ten = followed(first, second, number=3)
    assert isinstance(two, EntryView)
    assert isinstance(ten, EntryView)
    assert (two.count, gone, ten.count) == (2, PrunedView(9), 10)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (event({}, "failed"), ClientError, "failed to read its own record"),
        (event({"count": 2}), BadAnswer, "answers what no node"),
        (event(entry(2) | {"call": "\x1b[2J"}), BadAnswer, "answers what no node"),
        (b"data: \xff\n\n", BadAnswer, "answers what no node"),
        (b"data: " + b"x" * 999, BadAnswer, "an event of more than 900 bytes"),
    ],
)
def test_what_no_node_says_ends_it(
    said: bytes, error: type[ClientError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_EVENT_BYTES", 900)
    with pytest.raises(error, match=words):
        followed(said, number=1)


def test_who_has_too_many_streams_is_told_to_close_one() -> None:
    async def handler(_: web.Request) -> web.Response:
        problem = {"title": "8 streams", "type": "urn:depoli:problem:too-many-streams"}
        return web.json_response(problem, status=429)

    async def go() -> None:
        async with serving(handler) as client:
            await asyncio.to_thread(next, follow(client, "*", 0, lambda: None))

    with pytest.raises(NetworkRefused, match="8 streams") as refused:
        asyncio.run(go())
    assert "close another" in refused.value.hint


def test_a_node_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "QUIET_S", 0.1)
    over = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async def go() -> None:
        async with serving(handler) as client:
            try:
                await asyncio.to_thread(next, follow(client, "*", 0, lambda: None))
            finally:
                over.set()

    with pytest.raises(Unreachable, match="it took too long"):
        asyncio.run(go())


def test_a_node_that_leads_in_circles_is_not_followed() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"entries": [entry(1)], "cursor": 1})

    async def go() -> list[EntryView]:
        async with serving(handler) as client:
            return [each async for each in entries(client, "*", 0)]

    assert len(asyncio.run(go())) == 2


MADE = created_id(bytes(32), 0).hex()


@pytest.mark.parametrize(
    ("call", "fields", "said"),
    [
        ("ClaimAccept", {"claim": ID}, f"claim {ID}: you accepted it"),
        ("ClaimSubmit", {"authorisation": ID}, f"claim {MADE}: you submitted it"),
        ("AuthorisationCancel", {"authorisation": ID}, f"authorisation {ID}: you cancelled it"),
        ("PrescriptionRevoke", {"commitment": ID}, f"prescription {ID}: you revoked it"),
        ("SettlementAdd", {"settlement": ID}, f"settlement {ID}: you put claims into it"),
        ("Vote", {"proposal": ID}, f"proposal {ID}: you voted on it"),
        (
            "ValidatorJoin",
            {"change": {"proposal": ID}},
            f"proposal {ID}: you began to run a validator",
        ),
        ("ValidatorRotate", {"change": {}}, "you made the call ValidatorRotate"),
        ("KeyAdd", {"role": 1}, "you made the call KeyAdd"),
        ("ClaimAccept", {"claim": "\x1b"}, "you accepted it"),
    ],
)
def test_an_entry_in_one_line(call: str, fields: dict[str, Any], said: str) -> None:
    view = msgspec.convert(entry(1, call, **fields), EntryView)
    assert tell_entry(view, ME, lambda id_: id_.hex()) == said
    others = tell_entry(view, OTHER, lambda _: "shop-a")
    assert others == said.replace("you ", "shop-a ")


def test_a_refused_call_is_told_with_its_reason() -> None:
    data = entry(1) | {"outcome": {"code": 1, "name": "UNKNOWN_CLAIM"}}
    view = msgspec.convert(data, EntryView)
    assert view.outcome == CallOutcome(1, "UNKNOWN_CLAIM")
    assert "you tried to accept it: " in tell_entry(view, ME, bytes.hex)
