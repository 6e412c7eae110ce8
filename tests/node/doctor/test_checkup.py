"""Nodes that tell each other how they are, over real links."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from consensus.evidence import decode
from ledger.encoding import encode
from ledger.errors import Malformed
from node.doctor import checkup as checkups
from node.doctor.diagnosis import diagnose
from node.doctor.findings import Verdict
from node.health import MAX_VERSION_BYTES, Health, PullHealth, free_bytes, is_set
from node.sync import parse_pull, parse_reply
from tests.node.cluster import LABELS, Cluster, prescription, run, running, until
from tests.node.evil import double_prepare

ME, PEER = LABELS[:2]


def health_of(cluster: Cluster, label: str = ME) -> Health:
    return cluster[label].running.checkup.health()


def test_every_linked_peer_is_asked_and_answers(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            cluster.observer.start()
            await cluster.until_linked()
            before = time.time_ns() // 1_000_000
            facts = await cluster[ME].running.checkup.facts()
            after = time.time_ns() // 1_000_000
            assert [(node.label, node.index) for node in facts.nodes] == [
                *((label, index) for index, label in enumerate(LABELS)),
                (cluster.observer.label, None),
            ]
            for node in facts.nodes:
                assert node.said is not None
                assert before <= node.said.clock_ms <= after
                assert node.round_trip_ms <= after - before
                assert node.said.free_bytes == pytest.approx(free_bytes(tmp_path), rel=0.1)
                assert node.said.signs_as == node.index
                assert node.said.is_validator is (node.index is not None)
            found = diagnose(facts)
            assert (found.verdict, found.findings) == (Verdict.IDLE, ())
            seen = diagnose(await cluster.observer.running.checkup.facts())
            assert (seen.verdict, seen.findings) == (Verdict.IDLE, ())
            assert seen.rows[0].label == cluster.observer.label

    run(test())


def test_who_is_proved_to_have_contradicted_itself_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            deed = double_prepare(cluster.genesis, PEER, 1)
            await cluster[ME].running.evidence.found([decode(deed)])
            found = diagnose(await cluster[ME].running.checkup.facts())
            assert ("contradiction", (PEER,)) in [(f.cause, f.whose) for f in found.findings]
            await cluster.until_height(1)  # evidence is work
            found = diagnose(await cluster[LABELS[2]].running.checkup.facts())
            assert ("contradiction", (PEER,)) in [(f.cause, f.whose) for f in found.findings]

    run(test())


def test_a_node_says_what_is_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await cluster[ME].commit(prescription(cluster.genesis, 1))
            await cluster.until_level()
            said = health_of(cluster)
            assert said.status.height == cluster[ME].height + 1
            assert said.block_time == cluster[ME].running.chain.header.time
            assert said.waiting == 0
            assert [is_set(said.linked, index) for index in range(4)] == [False, True, True, True]
            await cluster[PEER].stop()
            await until(lambda: not is_set(health_of(cluster).linked, 1), "the link stays")

    run(test())


def test_a_lost_journal_shows_as_a_fence(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            await cluster[PEER].stop()
            for path in (tmp_path / PEER / "journal").iterdir():
                path.unlink()
            cluster[PEER].start()
            await cluster.until_linked()
            assert health_of(cluster, PEER).silence
            found = diagnose(await cluster[ME].running.checkup.facts())
            assert [(each.cause, each.whose) for each in found.findings] == [("fenced", (PEER,))]

    run(test())


def test_who_does_not_answer_in_time_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            monkeypatch.setattr(checkups, "ANSWER_S", 0.2)
            cluster[PEER].running.replica.exchange.checkup = None  # it hangs, so to speak
            facts = await cluster[ME].running.checkup.facts()
            assert [node.label for node in facts.nodes if node.said is None] == [PEER]
            assert [each.cause for each in diagnose(facts).findings] == ["silent"]

    run(test())


def test_who_asks_meanwhile_gets_the_same_answers(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            checkup = cluster[ME].running.checkup
            asked = await asyncio.gather(*(checkup.facts() for _ in range(5)))
            answers = {tuple(node.heard_ms for node in facts.nodes[1:]) for facts in asked}
            assert len(answers) == 1
            again = await checkup.facts()
            assert {tuple(node.heard_ms for node in again.nodes[1:])} != answers

    run(test())


def test_an_answer_that_nobody_asked_for_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            liar = cluster[PEER].running
            lie = msgspec.structs.replace(liar.checkup.health(), version=b"lie")
            for link in liar.network.links.values():
                for _ in range(4):
                    link.send_reply(encode(lie))
            await cluster[ME].commit(prescription(cluster.genesis, 1))  # it is read by then
            facts = await cluster[ME].running.checkup.facts()
            assert all(node.said and node.said.version != b"lie" for node in facts.nodes)
            assert len(cluster[ME].running.network.links) == 3

    run(test())


def test_health_is_bounded(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    said = cluster[ME].assemble().checkup.health()
    cluster[ME]._closing.close()
    cluster[ME].parts = None
    assert parse_reply(encode(said)) == said
    assert parse_pull(encode(PullHealth())) == PullHealth()
    assert len(encode(said)) < 300
    for changed in (
        {"version": b"x" * (MAX_VERSION_BYTES + 1)},
        {"linked": bytes(14)},
        {"signs_as": 100},
        {"clock_ms": -1},
        {"silence": bytes(201)},
    ):
        with pytest.raises(Malformed):
            parse_reply(encode(msgspec.structs.replace(said, **changed)))
