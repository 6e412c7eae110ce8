"""The operator's door: alive, ready or why not, and figures that hold nothing of any claim."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node import health, testnet
from node.admin import admin_application
from node.errors import CannotListen
from node.listener import serve_http
from tests.node.cluster import (
    ALONE,
    LABELS,
    Cluster,
    Node,
    prescription,
    run,
    running,
    until,
    within,
)


@contextlib.asynccontextmanager
async def door_of(node: Node) -> AsyncIterator[tuple[tuple[str, int], aiohttp.ClientSession]]:
    """The admin port of a node, and a session to ask it."""
    address = testnet._free_ports(1)[0]
    application = admin_application(node.running.replica, node.running.metrics)
    serving = asyncio.create_task(serve_http(application, address, key="admin.listen"))
    try:
        async with aiohttp.ClientSession(f"http://{address}") as session:
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    await ask(session, "/livez")
                    break
                assert not serving.done()
                await asyncio.sleep(0.005)
            yield address, session
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def ask(session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with session.get(path) as answer:
        return answer.status, await answer.text()


async def figures(session: aiohttp.ClientSession) -> dict[str, float]:
    """Return what /metrics says: name and labels -> value."""
    _, text = await ask(session, "/metrics")
    return {
        "".join((sample.name, *(f" {value}" for value in sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_network_that_runs_is_alive_and_ready(tmp_path: Path) -> None:
    async def look() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (_, session),
        ):
            assert await ask(session, "/livez") == (200, "alive\n")
            assert await ask(session, "/readyz") == (200, "ready\n")
            status, _ = await ask(session, "/version")
            assert status == 200
            assert (await ask(session, "/"))[0] == 404

    run(look())


def test_a_node_whose_disk_is_nearly_full_says_so_and_takes_no_more_work(tmp_path: Path) -> None:
    async def look() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (_, session),
        ):
            replica = cluster[ALONE[0]].running.replica
            replica._shortage = lambda: health.shortage(tmp_path, 1 << 60)
            status, text = await ask(session, "/readyz")
            assert status == 503
            needed = f"MiB free on the disk of {tmp_path}, {1 << 40} needed\n"
            assert re.fullmatch(rf"\d+ {re.escape(needed)}", text)
            replica._shortage = lambda: health.shortage(tmp_path, 1)
            assert await ask(session, "/readyz") == (200, "ready\n")

    run(look())


def test_the_members_say_how_much_must_be_free_and_an_operator_may_want_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1 << 30
    monkeypatch.setattr(health, "free_bytes", lambda _: free)

    async def look(own_mb: int, governed_mb: int, expected: tuple[int, str]) -> None:
        folder = tmp_path / f"{own_mb}-{governed_mb}"
        async with Cluster(folder, ALONE, least_free_mb=governed_mb) as cluster:
            node = cluster[ALONE[0]]
            config = replace(node.config(), least_free_bytes=own_mb << 20)
            monkeypatch.setattr(node, "config", lambda: config)
            node.start()
            async with door_of(node) as (_, session):
                least = node.running.checkup.health().least_bytes
                assert least == max(own_mb, governed_mb) << 20
                assert await ask(session, "/readyz") == expected

    for own_mb, governed_mb in ((0, 2_000), (2_000, 0), (2_000, 5)):
        data = tmp_path / f"{own_mb}-{governed_mb}" / ALONE[0]
        needed = f"1024 MiB free on the disk of {data}, 2000 needed\n"
        run(look(own_mb, governed_mb, (503, needed)))
    run(look(1_000, 1_024, (200, "ready\n")))


def test_a_validator_without_a_quorum_of_links_says_so(tmp_path: Path) -> None:
    async def look() -> None:
        async with Cluster(tmp_path) as cluster:
            first, second = (cluster[label] for label in LABELS[:2])
            for node in (first, second):
                node.start()
            await cluster.until_linked()
            async with door_of(first) as (_, session):
                reason = "2 of 4 validators linked, 3 needed\n"
                assert await ask(session, "/readyz") == (503, reason)
                assert await ask(session, "/livez") == (200, "alive\n")
                cluster[LABELS[2]].start()
                await cluster.until_linked()
                assert await ask(session, "/readyz") == (200, "ready\n")

    run(look())


def test_the_figures_are_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.replica.TICK_S", 0.02)

    async def count() -> None:
        async with running(tmp_path) as cluster, door_of(cluster[LABELS[0]]) as (_, session):
            node = cluster[LABELS[0]]
            for number in range(3):
                await node.commit(prescription(cluster.genesis, number))
            await node.running.admission.submit([b"garbage"], gossip=True)
            found: dict[str, float] = {}

            async def linked() -> None:
                nonlocal found
                while (
                    found.get("depoli_peers_linked") != 3
                    or found["depoli_mempool_transactions"] != 0
                ):
                    found = await figures(session)

            await within(linked())
            assert found["depoli_height"] == node.height == 3
            assert found["depoli_transactions_total"] == 3
            assert found["depoli_entries_total applied"] == 3
            assert found["depoli_entries_total refused"] == 0
            assert found["depoli_transactions_rejected_total Malformed"] == 1
            assert found["depoli_mempool_transactions"] == found["depoli_mempool_bytes"] == 0
            assert found["depoli_fenced"] == found["depoli_round"] == 0
            assert found["depoli_commit_seconds_count"] == 3
            assert found["depoli_journal_seconds_count"] >= 3
            assert found["depoli_execute_seconds_count"] >= 3
            assert found["depoli_late_blocks_total"] == 0
            assert found["depoli_evidence_waiting"] == 0
            assert found["depoli_ready"] == 1
            assert found["depoli_validators"] == found["depoli_validators_linked"] == 4
            assert found["depoli_validators_quorum"] == 3
            assert all(name.startswith("depoli_") for name in found)

    run(count())


def test_connections_that_ask_nothing_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.listener.MAX_CONNECTIONS", 8)

    async def crowd() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (address, session),
        ):
            silent = [await asyncio.open_connection(*address) for _ in range(30)]
            for _, writer in silent:
                writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
            assert await ask(session, "/livez") == (200, "alive\n")
            assert await within(silent[0][0].read()) == b""  # the oldest had to go
            for _, writer in silent:
                writer.transport.abort()

    run(crowd())


def test_where_all_connections_are_in_use_one_more_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.listener.MAX_CONNECTIONS", 3)

    async def crowd() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (address, _),
        ):
            busy = [await asyncio.open_connection(*address) for _ in range(2)]
            for reader, writer in busy:  # and the session holds one
                writer.write(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n")
                await within(reader.readuntil(b"alive\n"))
            reader, writer = await asyncio.open_connection(*address)
            assert await within(reader.read()) == b""
            for _, each in (*busy, (reader, writer)):
                each.transport.abort()

    run(crowd())


def test_a_connection_that_asks_nothing_is_closed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.listener.FIRST_REQUEST_S", 0.05)

    async def wait() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (address, session),
        ):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /livez HTT")
            assert await within(reader.read()) == b""
            writer.transport.abort()
            assert (await ask(session, "/livez"))[0] == 200  # one that asked stays

    run(wait())


def test_an_address_in_use_is_named_with_its_key(tmp_path: Path) -> None:
    async def collide() -> None:
        async with (
            running(tmp_path, ALONE) as cluster,
            door_of(cluster[ALONE[0]]) as (address, _),
        ):
            parts = cluster[ALONE[0]].running
            application = admin_application(parts.replica, parts.metrics)
            with pytest.raises(CannotListen, match="Address already in use") as caught:
                await serve_http(application, address, key="admin.listen")
            assert "admin.listen" in caught.value.hint

    run(collide())


def test_a_node_that_is_cancelled_stops_within_its_height(tmp_path: Path) -> None:
    async def stop() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]
            made = [prescription(cluster.genesis, n) for n in range(50)]
            await node.running.admission.submit([each.raw for each in made], gossip=True)
            await node.stop()  # in the middle of it: the files are closed after the threads
            node.start()
            await until(lambda: node.running.replica.not_ready() == [], "it does not come back")
            await node.commit(prescription(cluster.genesis, "after"))

    run(stop())
