"""A light node over real TLS: it follows, submits, proves, and names the peer that holds back."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from contracts.calls import ClaimAccept, ClaimSubmit, Leg, Mark, MarkLock, Part, PrescriptionCommit
from contracts.commitment import lock_of, mark_of
from ledger.encoding import encode
from ledger.keys import Role
from ledger.receipt import parse_json
from ledger.transaction import Transaction, created_id
from node.config import Address, Mode
from node.light import server
from node.light.messages import LightPull, LightReply, Told
from node.light.server import LightNode
from node.log import Level, Log
from node.releases import Releases
from node.tokens import Scope
from tests.chainmaker import amount_of, key_of, member_of, some_bytes
from tests.node.cluster import (
    OBSERVER,
    Cluster,
    book_of,
    prescription,
    run,
    running,
    transaction_of,
    until,
)

TOKENS = book_of(
    own=(OBSERVER, (Scope.READ, Scope.SUBMIT)),
    shop=("shop-a", (Scope.READ, Scope.SUBMIT)),
    auditor=(None, (Scope.AUDIT,)),
)


class Light:
    """The light node of the payer, with its HTTP API."""

    def __init__(self, cluster: Cluster, labels: tuple[str, ...] | None = None) -> None:
        self.cluster = cluster
        self.log = io.StringIO()
        whole = cluster[OBSERVER]
        known = cluster.labels if labels is None else labels
        peers = {label: cluster.ports[label] for label in known}
        self.config = replace(whole.config(), mode=Mode.LIGHT, peers=peers)
        self.keys = whole.keys()
        self.parts: LightNode | None = None

    @property
    def node(self) -> LightNode:
        assert self.parts is not None
        return self.parts

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Light"]:
        with contextlib.ExitStack() as closing:
            log = Log(Level.DEBUG, self.log)
            self.parts = server.assemble(self.config, self.keys, self.cluster.genesis, closing, log)
            runner = web.AppRunner(self.parts.api(b"{}", TOKENS).application(), access_log=None)
            await runner.setup()
            port = unused_port()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{port}"
            tasks = [
                asyncio.create_task(each)
                for each in (self.parts.follower.run(), self.parts.network.run())
            ]
            try:
                async with aiohttp.ClientSession() as self.session:
                    yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await runner.cleanup()

    async def ask(self, path: str, token: str = "own", **options: Any) -> tuple[int, Any, Any]:  # noqa: ANN401, S107
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        method = options.pop("method", "GET")
        async with self.session.request(
            method, self.url + path, headers=headers, **options
        ) as answer:
            return answer.status, await answer.json(), answer.headers

    async def submit(self, *sent: Transaction) -> tuple[int, Any]:
        body = encode(tuple(each.raw for each in sent))
        headers = {"Content-Type": "application/msgpack"}
        path = "/v1/transactions?wait=30"
        status, found, _ = await self.ask(path, method="POST", data=body, headers=headers)
        return status, found

    async def until_height(self, height: int) -> None:
        await until(
            lambda: self.node.record.height >= height,
            f"the light node does not come to {height}",
        )

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]


async def claim(cluster: Cluster, name: str) -> bytes:
    """Bring a claim of shop-a to the payer into the chain; return its id."""
    node, genesis = cluster[cluster.labels[0]], cluster.genesis
    commitment = some_bytes("prescription", name)
    mark = mark_of(some_bytes("secret", name), Leg.COMPLEMENTARY, Part.LENSES, 0)
    lock = lock_of(genesis.chain_id, member_of("shop-a"), mark)
    await node.commit(
        transaction_of(genesis, "shop-a", PrescriptionCommit(commitment), MarkLock(lock))
    )
    submit = ClaimSubmit(
        member_of(OBSERVER),
        Leg.COMPLEMENTARY,
        commitment,
        some_bytes("document", name),
        amount_of(name, 100),
        (Mark(Part.LENSES, mark),),
        None,
        None,
    )
    sent = transaction_of(genesis, "shop-a", submit)
    await node.commit(sent)
    return created_id(sent.id, 0)


def test_a_day_of_a_light_node(tmp_path: Path) -> None:
    """It follows what concerns its member, decides a claim, and gets the receipt of it."""

    async def test() -> None:
        async with running(tmp_path) as cluster:
            id_ = await claim(cluster, "one")
            before = cluster[cluster.labels[0]].height
            async with Light(cluster).running() as light:
                await light.until_height(before)
                status, shown, headers = await light.ask(f"/v1/claims/{id_.hex()}")
                assert (status, shown["state"]) == (200, "submitted")
                assert int(headers["Depoli-Height"]) >= before
                assert "Depoli-Stale" not in headers
                accept = transaction_of(cluster.genesis, OBSERVER, ClaimAccept(id_, None))
                status, sent = await light.submit(accept)
                assert status == 200, sent
                assert sent["transactions"][0]["outcomes"][0]["name"] == "APPLIED"
                _, shown, _ = await light.ask(f"/v1/claims/{id_.hex()}")
                assert (shown["state"], shown["decided_by"]) == ("accepted", None)
                _, listed, _ = await light.ask("/v1/claims")
                assert [each["id"] for each in listed["claims"]] == [id_.hex()]
                _, explained, _ = await light.ask(f"/v1/claims/{id_.hex()}/explanation")
                assert [each["call"] for each in explained["history"]] == [
                    "ClaimSubmit", "ClaimAccept",
                ]  # fmt: skip
                record = light.node.record
                await until(lambda: record.tip.placed == record.own, "no receipts come")
                _, receipt, _ = await light.ask(f"/v1/receipts/{accept.id.hex()}/0")
                founding = cluster.genesis.genesis
                parse_json(json.dumps(receipt)).verify(founding.chain_id, founding.validator_set)
                _, member, _ = await light.ask(f"/v1/members/{member_of('shop-a').hex()}")
                assert member["label"] == "shop-a"
                assert member["keys"]
                for path in ("/v1/members", "/v1/upgrade", "/v1/chain", "/tlog/checkpoint"):
                    status, problem, _ = await light.ask(path)
                    assert status == 501
                    assert "ask a whole node" in problem["detail"]
                status, problem, _ = await light.ask("/v1/claims", token="shop")
                assert status == 501
                assert member_of(OBSERVER).hex() in problem["detail"]
                status, told, _ = await light.ask("/v1/status")
                assert told["mode"] == "light"
                assert told["peers"] == sorted(cluster.labels)
                assert told["stale"] is None
            # What the peers said of it: it is in the way of nobody, and is sent nothing unasked.
            assert light.node.follower.downloaded < 200_000

    run(test())


@contextlib.contextmanager
def lying(monkeypatch: pytest.MonkeyPatch, liar: Releases) -> Any:  # noqa: ANN401
    """Let one node hold the last entry but one back from every answer."""
    honest = Releases.reply

    def reply(self: Releases, member: bytes, pull: LightPull) -> tuple[LightReply, float]:
        answer, cost = honest(self, member, pull)
        if self is liar and isinstance(answer, Told) and len(answer.own) > 1:
            kept = (*answer.own[:-2], answer.own[-1])
            answer = msgspec.structs.replace(answer, own=kept)
        return answer, cost

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "reply", reply)
        yield


def test_a_peer_that_holds_an_entry_back_is_named_and_another_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            ids = [await claim(cluster, name) for name in ("one", "two", "three")]
            height = await cluster.until_level()
            liar = cluster.labels[1]
            exchange = cluster[liar].running.replica.exchange
            with lying(monkeypatch, exchange._releases):
                async with Light(cluster, (liar,)).running() as light:  # it is asked alone
                    await until(lambda: bool(light.events("answer refused")), "the lie is believed")
                    assert light.node.record.height == 0
                    (told,) = light.events("answer refused")[:1]
                    assert told["peer"] == liar
                    assert "entries" in told["reason"]
                async with Light(cluster).running() as light:  # with the others it comes through
                    await light.until_height(height)
                    _, listed, _ = await light.ask("/v1/claims")
                    assert [each["id"] for each in listed["claims"]] == [i.hex() for i in ids]

    run(test())


def test_what_no_validator_would_take_is_refused_at_the_door(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await cluster[cluster.labels[0]].commit(prescription(cluster.genesis, "x"))
            async with Light(cluster).running() as light:
                await light.until_height(1)
                genesis = cluster.genesis
                call = ClaimAccept(bytes(32), None)
                other = key_of("shop-a", Role.TRANSACTION)
                for sent, said in (
                    (prescription(genesis, "y"), "its own member signed"),
                    (transaction_of(genesis, OBSERVER, call, key=other), "its own member signed"),
                    (transaction_of(genesis, OBSERVER, call, valid_until=1), "valid until"),
                    (transaction_of(genesis, OBSERVER, call, chain_id=bytes(32)), "chain"),
                ):
                    status, problem = await light.submit(sent)
                    assert (status, problem["title"]) == (422, "no transaction was admitted")
                    assert said in problem["detail"]
                refused = transaction_of(genesis, OBSERVER, call)
                status, found = await light.submit(refused)
                assert status == 200
                assert found["transactions"][0]["outcomes"][0]["name"] == "CLAIM_UNKNOWN"

    run(test())


def test_it_says_when_it_is_stale_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await claim(cluster, "one")
            height = await cluster.until_level()
            light = Light(cluster)
            light.config = replace(light.config, light_stale_s=1)
            async with light.running():
                await light.until_height(height)
                assert light.node.record.own
            light.config = replace(light.config, peers={"federation": Address("127.0.0.1", 1)})
            async with light.running():  # with nobody to ask
                assert light.node.record.height == height
                await until(lambda: bool(light.node.staleness.reason()), "it is never stale")
                _, told, headers = await light.ask("/v1/status")
                assert "no peer is linked" in told["stale"]
                assert headers["Depoli-Stale"] == told["stale"]
                assert not told["ready"]
                assert "no peer is linked" in light.node.staleness.not_ready()

    run(test())
