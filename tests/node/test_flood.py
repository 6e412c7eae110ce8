"""A flood of what looks valid changes nothing: sizes stay flat, and honest work goes on."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from consensus.interface import Received
from ledger.keys import Role
from node import budget, p2p, turnstile
from tests.chainmaker import key_of
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, seed_of, until
from tests.node.flooder import Flooder

HONEST, LIAR = LABELS[:3], LABELS[3]
SECONDS = 4.0


def journal_bytes(node: Node) -> int:
    return sum(path.stat().st_size for path in (node.data / "journal").rglob("*"))


def flooder(cluster: Cluster) -> Flooder:
    return Flooder(
        seed=seed_of(LIAR, Role.TLS),
        key=key_of(LIAR, Role.CONSENSUS),
        index=LABELS.index(LIAR),
        chain_id=cluster.genesis.chain_id,
    )


class Watch:
    """How large the parts of the honest nodes ever were."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.events = self.core = self.journal = self.strangers = 0
        self.heard = {node.label: 0 for node in nodes}  # of the liar
        for node in nodes:
            self._count(node)

    def _count(self, node: Node) -> None:
        exchange = node.running.replica.exchange
        hear, liar = exchange._machine.hear, LABELS.index(LIAR)

        async def count(event: Received) -> None:
            self.heard[node.label] += event.sender == liar
            await hear(event)

        exchange._machine.hear = count  # type: ignore[method-assign]

    async def look(self) -> None:
        while True:
            for node in self.nodes:
                replica = node.running.replica
                self.events = max(self.events, len(replica._events))
                self.core = max(self.core, len(replica._core))
                self.journal = max(self.journal, journal_bytes(node))
                self.strangers = max(self.strangers, len(node.running.network._strangers))
            await asyncio.sleep(0.02)  # between two looks


def test_a_byzantine_validator_and_strangers_flood_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "PEER_BURST_S", 0.1)
    monkeypatch.setattr(turnstile, "HOST_BURST", 10.0)
    monkeypatch.setattr(turnstile, "HOST_RATE", 5.0)

    async def flood() -> None:
        async with Cluster(tmp_path) as cluster:
            nodes = [cluster[label] for label in HONEST]
            for node in nodes:
                node.start()
            await cluster.until_linked()
            first = prescription(cluster.genesis, "first")
            await nodes[0].commit(first)
            before, evil, watch = journal_bytes(nodes[0]), flooder(cluster), Watch(nodes)
            loop = asyncio.get_running_loop()
            tasks = [asyncio.create_task(watch.look())]
            for node in nodes:
                place = (cluster.ports[node.label], key_of(node.label, Role.TLS).public)
                tasks.append(asyncio.create_task(evil.flood(*place, first)))
                tasks.append(asyncio.create_task(evil.knock(*place)))
            try:
                liar_key = key_of(LIAR, Role.TLS).public
                await until(
                    lambda: any(liar_key in node.running.network.links for node in nodes),
                    "the flood does not get in",
                )
                began, number = loop.time(), 0
                while loop.time() - began < SECONDS or number < 5:
                    number += 1
                    await nodes[number % 3].commit(prescription(cluster.genesis, number))
                took = loop.time() - began
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            await cluster.until_level()
            # The cheapest that is heard costs its frame and what its sender lacks.
            price = budget.FRAME_S + budget.MESSAGE_S + min(budget.STATUS_S, budget.SIGNATURE_S)
            most = 2 * (budget.PEER_BURST_S + budget.PEER_SHARE * (took + 2)) / price
            assert 0 < max(watch.heard.values()) < most
            assert evil.sent > 3 * max(watch.heard.values())
            assert watch.events < 500
            assert watch.core <= 40 * len(LABELS)
            assert watch.journal < max(2 * before, 1 << 16)
            assert watch.strangers <= p2p.MAX_STRANGERS
            assert any(node.running.network._turnstile.turned_away for node in nodes)
            for node in nodes:
                links = node.running.network.links
                assert all(key_of(n.label, Role.TLS).public in links for n in nodes if n != node)
                assert node.log.getvalue().count("\n") < 200 + 40 * number

    run(flood())


def test_who_signs_what_does_not_verify_is_shut_out_and_let_in_again(tmp_path: Path) -> None:
    async def forge() -> None:
        async with Cluster(tmp_path) as cluster:
            node = cluster[HONEST[0]]
            node.start()
            evil = flooder(cluster)
            evil._key = key_of(HONEST[1], Role.CONSENSUS)  # not the one that its votes name
            key = key_of(LIAR, Role.TLS).public
            place = (cluster.ports[node.label], key_of(node.label, Role.TLS).public)
            task = asyncio.create_task(evil.flood(*place))
            try:
                await until(
                    lambda: node.log.getvalue().count("peer penalised") > 3,
                    "it is not shut out, or not let in again",
                )
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            assert "signature" in node.running.network.penalties.reason(key)
            refused = [each for each in node.events() if each["event"] == "peer penalised"]
            held = [float(each["seconds"]) for each in refused[:4]]
            assert held == [0.5, 1.0, 2.0, 4.0]

    run(forge())
