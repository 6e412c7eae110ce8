"""The entries of a member over HTTP: page by page and as they come, from real nodes."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.calls import ClaimAccept, ClaimCancel
from ledger.validators import EVERYONE
from node import events, testnet
from node.chain import SEGMENTS
from node.listener import serve_http
from node.tokens import Scope
from tests.chainmaker import member_of
from tests.node.cluster import (
    ALONE,
    api_of,
    book_of,
    prescription,
    run,
    running,
    transaction_of,
    until,
    within,
)
from tests.node.light.test_light import Light, claim
from tests.node.test_api import FEDERATION, PAYER, SHOP, served
from tests.node.test_pruned import prune_all


class Stream:
    """A reader of a stream, as a browser is one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last_id = ""

    async def event(self) -> tuple[str, Any]:
        """Return the next event, its name and its data; ("", comment) for one that is none."""
        name, data, comment = "message", "", ""
        while line := (await within(self._answer.content.readline())).decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "":
                if line != "\n":
                    comment = value
                    continue
                return (name, json.loads(data)) if data else ("", comment)
        raise EOFError

    async def rest(self) -> list[Any]:
        """Return what comes before the stream ends, but for comments."""
        found: list[Any] = []
        with contextlib.suppress(EOFError):
            while True:
                name, data = await self.event()
                found += [data] if name else []
        return found

    async def entries(self, number: int) -> list[dict[str, Any]]:
        """Return the next entries; comments are skipped."""
        found: list[dict[str, Any]] = []
        while len(found) < number:
            name, data = await self.event()
            if name:
                assert name == "message", data
                assert self.last_id == str(data["count"])
                found.append(data)
        return found


@contextlib.asynccontextmanager
async def opened(
    url: str,
    query: str = "",
    token: str = "shop_a",  # noqa: S107
    **headers: str,
) -> AsyncIterator[Stream]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{url}/v1/events{query}", headers=named) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)


def test_entries_are_listed_page_by_page_with_what_their_calls_say(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            _, id_ = await door.claim("one")
            accept = door.made(PAYER, ClaimAccept(bytes.fromhex(id_), None))
            await door.send(accept)
            await door.send(door.made("shop-b", ClaimCancel(bytes.fromhex(id_))))  # refused
            found = (await door.get("/v1/entries", "shop_a")).json
            assert (found["member"], found["total"], found["cursor"]) == (SHOP, 4, None)
            calls = ["PrescriptionCommit", "MarkLock", "ClaimSubmit", "ClaimAccept"]
            assert [each["call"] for each in found["entries"]] == calls
            assert [each["count"] for each in found["entries"]] == [1, 2, 3, 4]
            last = found["entries"][-1]
            assert last["fields"] == {"claim": id_, "amount": None}
            assert last["transaction"] == accept.id.hex()
            assert (last["position"], last["outcome"]["name"]) == (0, "APPLIED")
            assert last["sender"] == member_of(PAYER).hex()
            receipt = (await door.get(f"/v1/receipts/{accept.id.hex()}/0", "payer")).json
            assert receipt["log_index"] == last["number"]
            paged, after = [], 0
            while after is not None:
                page = (await door.get(f"/v1/entries?after={after}&limit=2", "shop_a")).json
                paged += page["entries"]
                after = page["cursor"]
            assert paged == found["entries"]
            assert (await door.get("/v1/entries?after=99", "shop_a")).json["entries"] == []
            (refused,) = (await door.get("/v1/entries", "shop_b")).json["entries"]
            assert refused["outcome"]["code"] != 0

    run(ask())


def test_who_may_read_whose(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            for path in ("/v1/entries", "/v1/events"):
                for token, query, status in (
                    (None, "", 401),
                    ("nobody", "", 401),
                    ("sender", "", 403),
                    ("operator", "", 403),
                    ("auditor", "", 403),  # it must say whose
                    ("shop_b", f"?member={SHOP}", 403),
                    ("shop_a", "?member=x", 400),
                    ("shop_a", "?after=-1", 400),
                    ("shop_a", "?after=1x", 400),
                ):
                    assert (await door.get(path + query, token)).status == status, (token, query)
            assert (await door.get("/v1/entries?limit=101", "shop_a")).status == 400
            bad = {"headers": {"Last-Event-ID": "one"}}
            assert (await door.ask("GET", "/v1/events", "shop_a", **bad)).status == 400
            assert (await door.ask("HEAD", "/v1/entries", "shop_a")).status == 200
            for token in ("shop_b", "auditor"):
                assert (await door.get("/v1/entries?member=*", token)).json["member"] == "*"
            (entry,) = (await door.get(f"/v1/entries?member={SHOP}")).json["entries"]
            async with opened(door.url, f"?member={SHOP}", "auditor") as stream:
                assert await stream.entries(1) == [entry]

    run(ask())


def test_a_stream_begins_where_it_is_told_and_tells_what_comes(tmp_path: Path) -> None:
    async def follow() -> None:
        async with served(tmp_path) as door:
            await door.send(*(prescription(door.genesis, n) for n in range(3)))
            async with (
                opened(door.url, "?after=1") as stream,
                opened(door.url, "?after=1", Last_Event_ID="2") as resumed,
            ):
                assert [each["count"] for each in await stream.entries(2)] == [2, 3]
                assert [each["count"] for each in await resumed.entries(1)] == [3]
                await door.send(prescription(door.genesis, "other", "shop-b"))
                await door.send(prescription(door.genesis, "new"))
                (new,) = await stream.entries(1)
                assert [new] == await resumed.entries(1)
                listed = (await door.get("/v1/entries?after=3", "shop_a")).json["entries"]
                assert listed == [new]

    run(follow())


def test_a_quiet_stream_shows_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.05)

    async def follow() -> None:
        async with served(tmp_path) as door, opened(door.url) as stream:
            assert [await stream.event() for _ in range(3)] == [("", "block 0")] * 3

    run(follow())


def test_over_restarts_of_the_node_no_entry_is_lost_and_none_told_twice(tmp_path: Path) -> None:
    """The stream ends with the node, at once; what comes meanwhile is told by the next one."""

    async def follow() -> None:
        tokens = book_of(shop_a=("shop-a", (Scope.READ,)))
        address = testnet._free_ports(1)[0]
        url, last, seen = f"http://{address}", "0", list[int]()
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[FEDERATION]
            for turn in range(3):
                if node.parts is None:
                    await node.start_alone()
                application = api_of(node, tokens).application()
                serving = asyncio.create_task(serve_http(application, address, key="api.listen"))
                await until_open(address)
                await node.commit(prescription(cluster.genesis, (turn, "before")))
                async with opened(url, Last_Event_ID=last) as stream:
                    new = await stream.entries(2 if turn else 1)
                    seen += [each["count"] for each in new]
                    await node.commit(prescription(cluster.genesis, (turn, "while")))
                    seen += [each["count"] for each in await stream.entries(1)]
                    last = stream.last_id
                    serving.cancel()
                    assert await stream.rest() == []
                    with contextlib.suppress(asyncio.CancelledError):
                        await serving
                await node.commit(prescription(cluster.genesis, (turn, "after")))
                await node.stop()
        assert seen == list(range(1, 9))

    run(follow())


async def until_open(address: tuple[str, int]) -> None:
    """Wait until something listens there."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            return
        await asyncio.sleep(0.005)


def test_so_many_streams_and_no_more_and_who_left_leaves_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_OF_ONE", 2)
    monkeypatch.setattr(events, "MAX_STREAMS", 3)

    async def follow() -> None:
        async with served(tmp_path) as door, contextlib.AsyncExitStack() as stack:

            async def refused(token: str) -> str:
                answer = await door.get("/v1/events", token)
                assert answer.status == 429
                assert answer.json["type"] == "urn:depoli:problem:too-many-streams"
                return str(answer.json["title"])

            await stack.enter_async_context(opened(door.url))
            async with opened(door.url):
                assert "this token has 2" in await refused("shop_a")
                await stack.enter_async_context(opened(door.url, token="shop_b"))
                assert "this node has 3" in await refused("payer")

            streams = door.api._events._streams
            await until(
                lambda: sum(each.transport is not None for each in streams) == 2,
                "the node does not hear that he left",
            )
            await stack.enter_async_context(opened(door.url))
            await until(lambda: len(streams) == 3, "who left is not forgotten")
            assert "this token has 2" in await refused("shop_a")

    run(follow())


def test_a_reader_who_takes_nothing_is_cut_off_and_goes_on_where_he_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STALL_S", 0.2)

    async def follow() -> None:
        async with served(tmp_path) as door:
            await door.send(*(prescription(door.genesis, n) for n in range(20)))
            chain = door.node.running.chain
            told = chain.entries_concerning(member_of("shop-a"), after=0, limit=20)
            feed = "node.feed.ChainFeed"  # as of a chain that has very many of them
            monkeypatch.setattr(f"{feed}.entries_concerning", lambda *_, **__: told)
            monkeypatch.setattr(f"{feed}.concerning", lambda *_: 1 << 40)
            host, port = door.url.removeprefix("http://").split(":")
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(lazy, (host, int(port)))
            request = "GET /v1/events HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer shop_a\r\n\r\n"
            await loop.sock_sendall(lazy, request.encode())
            await until(lambda: door.node.said("reader of events cut off"), "he is not cut off")
            with contextlib.suppress(ConnectionError):
                while await within(loop.sock_recv(lazy, 1 << 16)):
                    pass  # what was under way; then the end
            lazy.close()
            monkeypatch.undo()
            async with opened(door.url, "?after=18") as stream:
                assert [each["count"] for each in await stream.entries(2)] == [19, 20]

    run(follow())


def test_where_entries_were_pruned_it_is_said_and_what_is_left_is_told(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(*(prescription(door.genesis, n) for n in range(3)))
            prune_all(door)
            gone = await door.get("/v1/entries", "shop_a")
            assert (gone.status, gone.json["type"]) == (410, "urn:depoli:problem:pruned")
            assert gone.json["after"] == 3
            assert "ask a node that keeps more" in gone.json["detail"]
            assert (await door.get("/v1/entries?after=3", "shop_a")).json["entries"] == []
            async with opened(door.url) as stream:
                await stream.event()  # where the node stands
                assert await stream.event() == ("pruned", gone.json)
                assert stream.last_id == "3"
                await door.send(prescription(door.genesis, "new"))
                (new,) = await stream.entries(1)
            assert new["count"] == 4
            assert (await door.get("/v1/entries", "shop_a")).json["after"] == 3
            assert (await door.get("/v1/entries?after=3", "shop_a")).json["entries"] == [new]
            assert (await door.get("/v1/entries", "shop_b")).json["total"] == 0

    run(ask())


def test_of_damage_a_stream_says_that_it_ends(tmp_path: Path) -> None:
    async def ask() -> None:
        async with served(tmp_path) as door:
            await door.send(prescription(door.genesis, 1))
            files = (door.node.data / SEGMENTS).iterdir()
            path = max(files, key=lambda path: path.stat().st_size)
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            async with opened(door.url) as stream:
                await stream.event()
                name, problem = await stream.event()
                assert (name, problem["status"]) == ("failed", 500)
                with pytest.raises(EOFError):
                    await stream.event()
            assert door.node.said("events not read")

    run(ask())


def test_a_light_node_tells_its_member_the_same_entries(tmp_path: Path) -> None:
    async def follow() -> None:
        async with running(tmp_path) as cluster:
            id_ = await claim(cluster, "one")
            async with Light(cluster).running() as light:
                whole = api_of(cluster[cluster.labels[0]], book_of(auditor=(None, (Scope.AUDIT,))))
                feed, payer = whole._events._feed, member_of(PAYER)
                async with opened(light.url, token="own") as stream:
                    (made,) = await stream.entries(1)
                    assert made["call"] == "ClaimSubmit"
                    assert made["number"] in {None, 2}  # not before its place is proved
                    accept = transaction_of(cluster.genesis, PAYER, ClaimAccept(id_, None))
                    await light.submit(accept)
                    (accepted,) = await stream.entries(1)
                    assert accepted["transaction"] == accept.id.hex()
                record = light.node.record
                await until(lambda: record.tip.placed == record.own, "no receipts come")
                for member in (payer, EVERYONE):
                    found = feed.entries_concerning(member, after=0, limit=9)
                    kept = record.entries_concerning(member, after=0, limit=9)
                    assert [each[1] for each in found] == [each[1] for each in kept]
                    if member == payer:
                        assert found == kept
                status, page, headers = await light.ask("/v1/entries?after=1")
                assert status == 200
                assert int(headers["Depoli-Height"]) >= 3
                assert [each["count"] for each in page["entries"]] == [2]
                assert page["entries"][0] == accepted | {"number": page["entries"][0]["number"]}
                for path in ("/v1/entries", "/v1/events"):
                    for token, query in (("shop", ""), ("auditor", f"?member={SHOP}")):
                        status, problem, _ = await light.ask(path + query, token)
                        assert status == 501
                        assert payer.hex() in problem["detail"]

    run(follow())
