"""Two nodes that no wire joins, for ever: what one says or has reaches the other by the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from ledger.keys import Role
from tests.chainmaker import key_of
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, until

A, B, C, D = LABELS


@asynccontextmanager
async def cut(folder: Path, **parameters: int) -> AsyncIterator[Cluster]:
    """A cluster whose nodes may all sign; A and B know no way to each other."""
    async with Cluster(folder, LABELS, **parameters) as cluster:
        cluster.cut.append({A, B})
        for label in LABELS:
            cluster[label].start()
        await cluster.until_linked()
        signing = [node.running.replica.standing for node in cluster.up]
        await until(lambda: all(each.is_signing for each in signing), "not all may sign")
        yield cluster
        for here, there in ((A, B), (B, A)):  # it stayed so
            assert key_of(there, Role.TLS).public not in cluster[here].running.network.links


def leaders(node: Node) -> set[bytes]:
    """Return who made the blocks of a node's chain."""
    chain = node.running.chain
    return {chain.block(n).block.header.proposer for n in range(1, chain.height + 1)}


def test_nobody_stops_where_two_never_speak(tmp_path: Path) -> None:
    async def go_on() -> None:
        async with cut(tmp_path) as cluster:
            for number in range(8):  # everybody's turn comes, and each is asked
                await cluster[LABELS[number % 4]].commit(prescription(cluster.genesis, number))
            assert await cluster.until_level() >= 8
            assert len(leaders(cluster[A])) >= 3

    run(go_on())


def test_a_transaction_of_one_is_work_of_the_other_at_once(tmp_path: Path) -> None:
    async def pass_on() -> None:
        async with cut(tmp_path, min_interval_ms=3000, base_timeout_ms=3100) as cluster:
            for here, there in ((A, B), (B, A)):
                made, heard = prescription(cluster.genesis, here), cluster[there].running
                commit = asyncio.create_task(cluster[here].commit(made))
                await until(partial(heard.mempool.__contains__, made.id), "it does not come")
                # Not by a round change, after which it would be pulled.
                assert [node.running.replica.status().wish for node in cluster.up] == [0] * 4
                await commit

    run(pass_on())


def test_three_of_four_decide_though_two_of_them_never_speak(tmp_path: Path) -> None:
    async def go_on() -> None:
        async with cut(tmp_path) as cluster:
            await cluster[D].stop()  # each of the three is needed now: A and B hear each other by C
            for number in range(6):
                await cluster[(A, B, C)[number % 3]].commit(prescription(cluster.genesis, number))
            height = await cluster.until_level()
            assert height >= 6
            chain = cluster[A].running.chain
            rounds = [chain.block(n).block.header.built_round for n in range(1, height + 1)]
            assert max(rounds) > 0  # D had its turn: rounds change too

    run(go_on())
