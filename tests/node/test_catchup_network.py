"""Catching up on real links from peers that lie, stall, dawdle and shrink, and from one honest."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from consensus.messages import Status
from contracts.execute import DirectSignatures
from ledger.block import CommittedBlock
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.encoding import decode, encode
from ledger.keys import Role
from node import catchup, exchange
from node.answers import Answers
from node.link import Link
from node.sync import Blocks, verified_block
from tests.chainmaker import key_of, upheaval
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, until

BLOCKS = 150
LIAR, SLOW, SILENT, HONEST = LABELS

Reply = Callable[[Link, int, int], Awaitable[None]]


def grow(node: Node, count: int) -> None:
    """Let a node's chain grow by blocks that a quorum decided."""
    cluster, chain = node.cluster, node.running.chain
    for _ in range(count):
        executed, _ = chain.build(
            [prescription(cluster.genesis, chain.height)],
            time=cluster.genesis.genesis.time,
            proposer=cluster.genesis.genesis.members[0].id,
            built_round=0,
            signatures=DirectSignatures(),
        )
        header = executed.header
        text = vote_signing_bytes(KIND_COMMIT, header.chain_id, header.height, 0, header.hash)
        seals = (Seal(n, key_of(LABELS[n], Role.CONSENSUS).sign(text)) for n in range(3))
        chain.commit(executed, CommitCertificate(header.height, 0, header.hash, tuple(seals)))


def keep_chain(cluster: Cluster, blocks: int) -> None:
    """Give every validator a chain of so many blocks."""
    first = cluster[LABELS[0]]
    first.assemble()
    grow(first, blocks)
    first.parts = None
    first._closing.close()
    for label in LABELS[1:]:
        for part in ("segments", "state"):
            shutil.copytree(first.data / part, cluster[label].data / part)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Validators that have a chain, and do not run."""
    cluster = Cluster(tmp_path_factory.mktemp("full"))
    keep_chain(cluster, BLOCKS)
    return cluster


def honest(node: Node) -> Reply:
    return partial(Answers.reply_blocks, node.running.replica.exchange.answers)


def answers(node: Node, reply: Reply) -> None:
    """Let a node answer in its own way when it is asked for blocks."""
    node.running.replica.exchange.answers.reply_blocks = reply  # type: ignore[method-assign, assignment]


def forged(record: bytes) -> bytes:
    """Return a block whose certificate one validator signed in the name of all."""
    committed = decode(record, CommittedBlock)
    first = committed.certificate.seals[0].signature
    seals = tuple(Seal(each.validator, first) for each in committed.certificate.seals)
    certificate = msgspec.structs.replace(committed.certificate, seals=seals)
    return encode(msgspec.structs.replace(committed, certificate=certificate))


@asynccontextmanager
async def behind(full: Cluster, bend: Callable[[], None]) -> AsyncIterator[Node]:
    """The validators, bent, and an observer without a block, which begins."""
    shutil.rmtree(full.observer.data, ignore_errors=True)
    full.observer.log.truncate(0)
    full.observer.log.seek(0)
    try:
        for label in LABELS:
            full[label].start()
        bend()
        full.observer.start()
        yield full.observer
    finally:
        for node in full.up:
            await node.stop()


def avoided(node: Node) -> dict[str, str]:
    """Return whom a node avoided, and why."""
    said = [each for each in node.events() if each["event"] == "peer avoided in catching up"]
    return {each["peer"]: each["reason"] for each in said}


def test_ranges_come_from_several_peers_at_once(full: Cluster) -> None:
    async def follow() -> None:
        asked: list[str] = []

        def bend() -> None:
            for label in LABELS:
                node = full[label]

                async def count(link: Link, first: int, last: int, node: Node = node) -> None:
                    asked.append(node.label)
                    await honest(node)(link, first, last)

                answers(node, count)

        async with behind(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            assert late.running.chain.header == full[HONEST].running.chain.header
            assert len(set(asked)) > 1
            busy = ("slow: ", "no block ")  # as each may be on a machine that has other work
            assert all(reason.startswith(busy) for reason in avoided(late).values())
            await until(lambda: late.said("caught up"), "it is not told")
            (told,) = [each for each in late.events() if each["event"] == "caught up"]
            assert told["blocks"] == BLOCKS
            assert late.running.replica.exchange.catchup.progress() is None

    run(follow())


def test_a_liar_a_slow_and_a_silent_peer_are_named_and_stop_nobody(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "FIRST_RANGE", 4)
    monkeypatch.setattr(catchup._Standing, "size", 4)
    monkeypatch.setattr(catchup, "MAX_BLOCKS", 8)  # many answers, so that each is asked in time
    monkeypatch.setattr(catchup, "PATIENCE_S", 1.5)
    monkeypatch.setattr(catchup, "HASTE_S", 0.8)
    monkeypatch.setattr(catchup, "AVOIDED_S", 0.2)

    async def follow() -> None:
        def bend() -> None:
            async def lie(link: Link, first: int, last: int) -> None:
                chain = full[LIAR].running.chain
                blocks = tuple(forged(chain.record(n)) for n in range(first, last + 1))
                link.send_reply(encode(Blocks(first, blocks)))

            async def dawdle(link: Link, first: int, last: int) -> None:
                del last
                await asyncio.sleep(1.0)  # this is the fault
                await honest(full[SLOW])(link, first, first)

            async def say_nothing(*_: object) -> None: ...

            for label, reply in ((LIAR, lie), (SLOW, dawdle), (SILENT, say_nothing)):
                answers(full[label], reply)

        async with behind(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            assert late.running.chain.header == full[HONEST].running.chain.header
            found = avoided(late)
            assert "bad block" in found[LIAR]
            assert found[SLOW].startswith(("slow", "no block"))
            assert found[SILENT].startswith("no block")
            assert HONEST not in found
            assert late.said("peer penalised")
            progress = [each for each in late.events() if each["event"] == "catching up"]
            assert progress[0]["target"] == BLOCKS

    run(follow())


def test_blocks_of_another_chain_falling_heights_and_heights_that_never_come(
    full: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup._Standing, "size", 4)
    monkeypatch.setattr(catchup, "MAX_BLOCKS", 8)
    monkeypatch.setattr(catchup, "PATIENCE_S", 1.5)
    monkeypatch.setattr(exchange, "STATUS_IDLE_S", 0.2)
    other = Cluster(tmp_path)
    stranger, shrinker, boaster = LIAR, SLOW, SILENT

    async def follow() -> None:
        node = other[stranger]
        node.assemble()
        grow(node, 12)
        foreign = list(node.running.chain.records(1))
        node.parts = None
        node._closing.close()

        def bend() -> None:
            async def of_another_chain(link: Link, first: int, last: int) -> None:
                blocks = tuple(foreign[(n - 1) % 12] for n in range(first, last + 1))
                link.send_reply(encode(Blocks(first, blocks)))

            answers(full[stranger], of_another_chain)
            replicas = {label: full[label].running.replica for label in LABELS}
            heights = iter(range(BLOCKS, 0, -1))

            def falling() -> Status:
                status = replicas[shrinker]._core.status()
                return msgspec.structs.replace(status, height=next(heights, 1))

            def boasting() -> Status:
                status = replicas[boaster]._core.status()
                return msgspec.structs.replace(status, height=10**9)

            replicas[shrinker].status = falling  # type: ignore[method-assign]
            replicas[boaster].status = boasting  # type: ignore[method-assign]

        async with behind(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            assert late.running.chain.header == full[HONEST].running.chain.header

            def all_named() -> bool:
                found = avoided(late)
                return (
                    "bad block" in found.get(stranger, "")
                    and "its height fell" in found.get(shrinker, "")
                    and "has no block 151" in found.get(boaster, "")
                )

            await until(all_named, str(avoided(late)))
            assert HONEST not in avoided(late)
            assert late.running.replica.not_ready() == []

    run(follow())


def test_nobody_is_avoided_for_ever_a_liar_that_repents_is_enough(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "AVOIDED_S", 0.2)

    async def follow() -> None:
        lies = dict.fromkeys(LABELS, 2)

        def bend() -> None:
            for label in LABELS:

                async def lie(link: Link, first: int, last: int, label: str = label) -> None:
                    if lies[label]:
                        lies[label] -= 1
                        link.send_reply(encode(Blocks(first, (b"garbage",))))
                    else:
                        await honest(full[label])(link, first, last)

                answers(full[label], lie)

        async with behind(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            assert avoided(late).keys() <= set(LABELS)
            assert avoided(late)

    run(follow())


def test_the_validators_change_within_the_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup._Standing, "size", 2)
    monkeypatch.setattr(catchup, "MAX_BLOCKS", 2)  # so that ranges begin on both sides of changes
    made = upheaval()  # they join, leave, are replaced and change keys
    last = len(made.blocks)
    cluster = Cluster(tmp_path)
    cluster.genesis = made.genesis
    full, late = [cluster[label] for label in ("federation", "operator")], cluster["insurer-b"]
    for node in (*full, late):  # whose node keys are in force to the end
        shutil.rmtree(node.data)
        cluster.begin_journal(node.label)
    for node in full:
        parts = node.assemble()
        for block in made.blocks:
            taken = verified_block(parts.chain, encode(block), parts.replica._signatures)
            assert taken is not None
            parts.chain.commit(*taken)
        node.parts = None
        node._closing.close()

    async def follow() -> None:
        asked: set[str] = set()
        for node in full:
            node.start()

            async def count(link: Link, first: int, last: int, node: Node = node) -> None:
                asked.add(node.label)
                await honest(node)(link, first, last)

            answers(node, count)
        late.start()
        try:
            await cluster.until_height(last, [late])
            assert late.running.chain.header == made.state.header
            assert late.running.chain.state.validators == made.state.validators
            assert asked == {"federation", "operator"}
            assert avoided(late) == {}
        finally:
            for node in cluster.up:
                await node.stop()

    run(follow())
