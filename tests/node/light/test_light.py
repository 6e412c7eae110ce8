"""A light node over real TLS: it follows, submits, proves, and names the peer that holds back."""

import asyncio
import contextlib
import errno
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port

from contracts.calls import ClaimAccept, ClaimSubmit, Leg, Mark, MarkLock, Part, PrescriptionCommit
from contracts.commitment import lock_of, mark_of
from ledger.encoding import encode
from ledger.errors import StoreDamaged
from ledger.keys import Role
from ledger.receipt import parse_json
from ledger.transaction import Transaction, created_id
from node.cli.node import status_text
from node.config import Address, Mode
from node.light import api, follow, outbox, server
from node.light.follow import RecordDamaged
from node.light.messages import (
    LightPull,
    LightReply,
    MemberRecord,
    NewestHeader,
    PullHistory,
    Told,
)
from node.light.record import Record
from node.light.server import LightNode
from node.log import Level, Log
from node.releases import Releases
from node.tokens import Scope
from tests.chainmaker import amount_of, key_of, member_of, some_bytes
from tests.node.cluster import (
    ALONE,
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
            self.tasks = [
                asyncio.create_task(each)
                for each in (
                    self.parts.follower.run(),
                    self.parts.network.run(),
                    self.parts.post.carrier.run(),
                )
            ]
            try:
                async with aiohttp.ClientSession() as self.session:
                    yield self
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.wait(self.tasks)
                await runner.cleanup()

    async def ask(self, path: str, token: str = "own", **options: Any) -> tuple[int, Any, Any]:  # noqa: ANN401, S107
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        method = options.pop("method", "GET")
        async with self.session.request(
            method, self.url + path, headers=headers, **options
        ) as answer:
            return answer.status, await answer.json(), answer.headers

    async def submit(self, *sent: Transaction, wait: int = 30) -> tuple[int, Any]:
        body = encode(tuple(each.raw for each in sent))
        headers = {"Content-Type": "application/msgpack"}
        path = f"/v1/transactions?wait={wait}"
        status, found, _ = await self.ask(path, method="POST", data=body, headers=headers)
        return status, found

    async def query(self, *ids: bytes) -> Any:  # noqa: ANN401
        headers = {"Content-Type": "application/msgpack"}
        path = "/v1/claims/query"
        _, found, _ = await self.ask(path, method="POST", data=encode(ids), headers=headers)
        return found

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
                queried = await light.query(id_)
                assert queried == {"claims": [shown]}
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
                assert "light" in status_text(told).splitlines()[0]
                assert told["peers"] == sorted(cluster.labels)
                assert told["stale"] is None
            # What the peers said of it: it is in the way of nobody, and is sent nothing unasked.
            assert light.node.follower.downloaded < 200_000

    run(test())


Lie = Callable[[LightReply], LightReply]


@contextlib.contextmanager
def lying(monkeypatch: pytest.MonkeyPatch, lies: Mapping[Releases, Lie]) -> Iterator[None]:
    """Let nodes answer light nodes otherwise than is true."""
    honest = Releases.reply

    def reply(self: Releases, member: bytes, pull: LightPull) -> tuple[LightReply, float]:
        answer, cost = honest(self, member, pull)
        return (lies[self](answer) if self in lies else answer), cost

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "reply", reply)
        yield


def releases_of(cluster: Cluster, label: str) -> Releases:
    return cluster[label].running.replica.exchange._releases


def without_one(answer: LightReply) -> LightReply:
    """Hold the last entry but one back."""
    if isinstance(answer, Told) and len(answer.own) > 1:
        return msgspec.structs.replace(answer, own=(*answer.own[:-2], answer.own[-1]))
    return answer


def without_news(answer: LightReply) -> LightReply:
    """Say that there is no newer block."""
    return NewestHeader(None) if isinstance(answer, NewestHeader) else answer


def with_another_key(answer: LightReply) -> LightReply:
    """Say of members that they have other keys."""
    if isinstance(answer, MemberRecord) and answer.pairs:
        key, value = answer.pairs[-1]
        return MemberRecord(answer.member, (*answer.pairs[:-1], (key, bytes(len(value)))))
    return answer


def test_a_peer_that_holds_an_entry_back_is_named_and_another_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            ids = [await claim(cluster, name) for name in ("one", "two", "three")]
            height = await cluster.until_level()
            liar = cluster.labels[1]
            with lying(monkeypatch, {releases_of(cluster, liar): without_one}):
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


def test_what_the_validators_keep_out_is_rejected_with_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a key that the light node takes for good; one validator alone is not believed."""

    async def test() -> None:
        async with running(tmp_path) as cluster:
            monkeypatch.setattr(outbox.Outbox, "_require_fit", lambda *_: None)
            other = transaction_of(cluster.genesis, OBSERVER, ClaimAccept(bytes(32), None),
                                   key_id=bytes(8))  # fmt: skip
            async with Light(cluster, cluster.labels[:1]).running() as light:
                await until(lambda: bool(light.node.follower.links), "no peer is linked")
                status, sent = await light.submit(other, wait=1)
                assert (status, sent["transactions"][0]["status"]) == (202, "pending")
            async with Light(cluster).running() as light:
                await until(lambda: len(light.node.follower.links) == 4, "not all are linked")
                status, problem = await light.submit(other)
                assert status == 422, problem
                (told,) = problem["transactions"]
                assert told["status"] == "rejected"
                assert "key" in told["problem"]["title"]
                _, again, _ = await light.ask(f"/v1/transactions/{other.id.hex()}")
                assert again["status"] == "rejected"

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


def test_a_block_that_one_peer_keeps_back_comes_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await claim(cluster, "one")
            liars = {releases_of(cluster, label): without_news for label in cluster.labels[:3]}
            with lying(monkeypatch, liars):
                async with Light(cluster).running() as light:
                    await light.until_height(await cluster.until_level())
                    await claim(cluster, "two")
                    await claim(cluster, "three")
                    await until(lambda: light.node.record.own == 3, "what is new does not come")

    run(test())


def test_a_peer_that_does_not_answer_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await claim(cluster, "one")
            height = await cluster.until_level()
            monkeypatch.setattr(follow, "PATIENCE_S", 0.2)
            honest = Releases._history
            asked: list[Releases] = []

            def silent(self: Releases, member: bytes, pull: PullHistory) -> Told:
                asked.append(self)
                if self is asked[0]:
                    raise ValueError("it fails")  # as a node with a fault
                return honest(self, member, pull)

            monkeypatch.setattr(Releases, "_history", silent)
            async with Light(cluster).running() as light:
                await light.until_height(height)
                (told,) = light.events("peer passed over")
                assert "no answer" in told["reason"]
                assert len(set(asked)) == 2

    run(test())


def test_keys_of_members_are_those_that_enough_validators_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await claim(cluster, "one")
            path = f"/v1/members/{member_of('shop-a').hex()}"
            monkeypatch.setattr(api, "VOUCH_S", 0.5)
            one = {releases_of(cluster, cluster.labels[0]): with_another_key}
            with lying(monkeypatch, one):
                async with Light(cluster).running() as light:
                    await light.until_height(1)
                    await until(lambda: len(light.node.follower.links) == 4, "not all are linked")
                    status, found, _ = await light.ask(path)
                    assert status == 200
                    own = key_of("shop-a", Role.TRANSACTION).public.hex()
                    assert own in {key["public"] for key in found["keys"]}
                    status, _, _ = await light.ask(f"/v1/members/{'0' * 32}")
                    assert status == 404
            async with Light(cluster, cluster.labels[:1]).running() as light:  # it alone
                await until(lambda: bool(light.node.follower.links), "no peer is linked")
                status, problem, _ = await light.ask(path)
                assert (status, problem["type"]) == (503, "urn:depoli:problem:not-vouched")
                assert "1 linked validators say the same, 2 must" in problem["detail"]

    run(test())


def test_what_the_record_cannot_tell_is_said_and_not_guessed(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            id_ = await claim(cluster, "one")
            async with Light(cluster).running() as light:
                await light.until_height(await cluster.until_level())
                record = light.node.record
                record.store.write({b"?" + id_: b"an entry on it could not be followed"})
                for path in ("", "/explanation"):
                    status, problem, _ = await light.ask(f"/v1/claims/{id_.hex()}{path}")
                    assert status == 501
                    assert "could not be followed; ask a whole node" in problem["detail"]
                queried = await light.query(id_)
                assert queried == {"claims": []}
                nothing = "0" * 64
                for path, expected in (
                    (f"/v1/claims?member={record.member.hex()}", 501),  # one of them cannot be told
                    (f"/v1/authorisations?member={record.member.hex()}", 200),
                    (f"/v1/claims?member={member_of('shop-a').hex()}", 501),
                    (f"/v1/claims/{nothing}", 501),  # another's, perhaps
                    (f"/v1/transactions/{nothing}", 501),
                    (f"/v1/members/{'0' * 32}", 404),
                    ("/v1/blocks/999999", 404),
                ):
                    status, _, _ = await light.ask(path, token="auditor")
                    assert status == expected, path
                for path, expected in (
                    (f"/v1/claims/{nothing}", 404),
                    (f"/v1/transactions/{nothing}", 404),
                    (f"/v1/receipts/{nothing}/0", 404),
                    (f"/v1/receipts/{nothing}/999", 404),
                    (f"/v1/proposals/{nothing}/explanation", 501),
                    ("/v1/blocks/latest", 200),
                    (f"/v1/blocks/{record.height}", 200),
                    ("/v1/blocks/1", 501),
                    ("/v1/blocks/999999", 404),
                    ("/v1/validators", 200),
                    ("/v1/genesis", 200),
                ):
                    status, _, _ = await light.ask(path)
                    assert status == expected, path
                status, _, _ = await light.ask("/v1/status", token="unknown")
                assert status == 401

    run(test())


def test_the_operators_door_says_how_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            light = Light(cluster)
            async with light.running():
                door = TestClient(TestServer(server.admin(light.node)))
                async with door:
                    await until(lambda: bool(light.node.follower.links), "no peer is linked")
                    assert (await door.get("/livez")).status == 200
                    ready = await door.get("/readyz")
                    assert (ready.status, await ready.text()) == (
                        503, "no block was heard of yet\n",
                    )  # fmt: skip
                    await claim(cluster, "one")
                    await light.until_height(2)
                    assert (await door.get("/readyz")).status == 200
                    assert (await (await door.get("/version")).json())["rules"] == [1]
                    metrics = await (await door.get("/metrics")).text()
                    assert f"depoli_light_height {light.node.record.height}\n" in metrics

    run(test())


def test_a_node_of_nobody_known_is_told_what_to_configure(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    light = Light(cluster)
    stranger = key_of("shop-a", Role.TRANSACTION)
    keys = replace(light.keys, node=stranger)
    founding = cluster.genesis.genesis
    with pytest.raises(server.WhoseNode) as refused:
        server.member_of(founding, keys, "")
    assert "light.member" in refused.value.hint
    assert server.member_of(founding, keys, "shop-a") == member_of("shop-a")
    assert server.member_of(founding, light.keys, "") == member_of(OBSERVER)


def test_a_full_disk_is_ours_and_no_peers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            await claim(cluster, "one")
            light = Light(cluster)
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            honest = Record.advance

            def refuse(*_: object) -> bool:
                raise full

            monkeypatch.setattr(Record, "advance", refuse)
            async with light.running():
                staleness = light.node.staleness
                await until(lambda: bool(light.node.follower.fault), "it does not say")
                fault = "the record cannot be written: No space left on device"
                assert fault in staleness.not_ready()
                assert light.events("record not written")
                assert not light.events("answer refused")
                monkeypatch.setattr(Record, "advance", honest)
                await light.until_height(2)
                await until(lambda: not staleness.not_ready(), "it is never ready again")

    run(test())


def test_damaged_files_end_the_node_and_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path, ALONE) as cluster:
            await claim(cluster, "one")
            damage = StoreDamaged("data/light", 0, "malformed database")

            def damaged(*_: object) -> bool:
                raise damage

            monkeypatch.setattr(Record, "advance", damaged)
            light = Light(cluster)
            async with light.running():
                done, _ = await asyncio.wait(light.tasks, return_when="FIRST_COMPLETED", timeout=30)
                (ended,) = done
                error = ended.exception()
                assert isinstance(error, RecordDamaged)
                assert "fetched anew" in error.hint
                assert not light.events("answer refused")

    run(test())
