"""Evidence in real nodes: it is found, told, put on the chain once, and lost by no crash."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from consensus import messages
from consensus.evidence import BadProposal, DoubleVote, decode, encode, judge, offence_key
from consensus.messages import BareProposal, Message, Prepare, justification_hash
from contracts.calls import PrescriptionCommit, Rotating, ValidatorRotate
from ledger.errors import LedgerError, NotEvidence
from ledger.keys import SigningKey
from node import evidence as pools
from node.chain import Chain
from node.evidence import FILE_NAME, EvidencePool
from node.kept import KeptFile
from node.log import Level, Log
from node.metrics import Metrics
from node.signatures import VerifiedSignatures
from tests import chainmaker, changes
from tests.chainmaker import member_of, some_bytes
from tests.node.cluster import (
    LABELS,
    Cluster,
    Node,
    prescription,
    run,
    running,
    transaction_of,
    until,
)
from tests.node.evil import crossed, double_prepare, signature

EVIL = LABELS[2]


def lie(node: Node) -> None:
    """Let a running validator prepare another block beside each that it prepares."""
    exchange, genesis = node.running.replica.exchange, node.cluster.genesis
    send = exchange.send

    def send_both(message: Message, to: int | None) -> None:
        send(message, to)
        if isinstance(message, Prepare) and message.signer == node.index:
            other = msgspec.structs.replace(message, block_id=some_bytes("another"))
            other = msgspec.structs.replace(other, signature=signature(genesis, node.label, other))
            payload = messages.encode(other)
            for link in exchange.links.values():
                link.send_consensus(("lie", message.height, message.round), payload)

    exchange.send = send_both  # type: ignore[method-assign]


def recorded(node: Node) -> list[tuple[bytes, int, bytes]]:
    """Return who is recorded for which height, and the offence."""
    found = node.running.chain.accusations(limit=500)
    return [(each.member, each.height, each.offence) for each in found]


def of_evil(node: Node, height: int) -> int:
    """Return how often the deed of the liar at a height is recorded."""
    return sum((member, at) == (member_of(EVIL), height) for member, at, _ in recorded(node))


async def until_recorded(nodes: Sequence[Node], height: int) -> None:
    await until(
        lambda: all(of_evil(node, height) for node in nodes),
        f"not recorded everywhere: {[recorded(node) for node in nodes]}",
    )


def in_blocks(node: Node) -> list[bytes]:
    """Return all evidence in the blocks of a node, in order."""
    chain = node.running.chain
    return [
        data
        for height in range(1, chain.height + 1)
        for data in chain.block(height).block.body.evidence
    ]


def test_a_validator_that_signs_twice_is_on_every_chain_once_for_ever(tmp_path: Path) -> None:
    async def test() -> None:
        async with Cluster(tmp_path) as cluster:
            for label in LABELS[:3]:  # nothing is decided without the liar: all hear both votes
                cluster[label].start()
            await cluster.until_linked()
            lie(cluster[EVIL])
            honest = [cluster[label] for label in LABELS[:2]]
            await honest[0].commit(prescription(cluster.genesis, 1))
            await until_recorded(honest, 1)  # without any transaction: evidence is work
            cluster[EVIL].running.replica.exchange.__dict__.pop("send")  # it repents
            cluster[LABELS[3]].start()
            await until_recorded(cluster.up, 1)
            await until(lambda: not any(len(node.running.evidence) for node in honest), "it waits")
            await cluster.until_level()
            before = in_blocks(honest[0])
            assert len({offence_key(decode(data)) for data in before}) == len(before)
            assert {member for member, _, _ in recorded(honest[0])} == {member_of(EVIL)}
            for node in list(cluster.up):  # and after a restart of everybody
                await node.stop()
            for label in LABELS:
                cluster[label].start()
            await cluster.until_linked()
            again = EvidencePoolView(cluster[LABELS[0]])
            await again.hear(before[0])  # the same deed is told again: nobody wants it
            await cluster[LABELS[0]].commit(prescription(cluster.genesis, 3))
            await cluster.until_level()
            for node in cluster.up:
                assert in_blocks(node) == before
                assert len(node.running.evidence) == 0

    run(test())


class EvidencePoolView:
    """The pool of a running node, spoken to as a peer would."""

    def __init__(self, node: Node) -> None:
        self._pool, self._judging = node.running.evidence, node.running.reader

    async def hear(self, data: bytes) -> None:
        await self._pool.heard(data, self._judging)


def test_what_one_node_hears_of_an_old_deed_comes_onto_every_chain(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            cluster.observer.start()
            await cluster.until_linked()
            for number in range(3):
                await cluster[LABELS[0]].commit(prescription(cluster.genesis, number))
            await cluster.until_level()
            # An observer proposes nothing: it must tell the others.
            data = double_prepare(cluster.genesis, EVIL, 2)
            await EvidencePoolView(cluster.observer).hear(data)
            await until_recorded(cluster.up, 2)
            await cluster.until_level()
            for node in cluster.up:
                assert in_blocks(node) == [data]

    run(test())


def test_a_deed_outlives_the_keys_and_the_height_that_it_was_done_with(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            first, genesis = cluster[LABELS[0]], cluster.genesis
            await first.commit(prescription(genesis, 1))
            await cluster.until_level()
            await cluster[EVIL].stop()  # its keys are changed; the other three are a quorum
            names = ("consensus", "checkpoint", "node")
            keys = tuple(SigningKey(some_bytes("new", name)) for name in names)
            assert len(keys) == 3
            change = Rotating(member_of(EVIL), changes.public(keys))
            header = first.running.chain.header
            proved = changes.prove(genesis.chain_id, change, header.height, header.hash, keys)
            rotated = transaction_of(genesis, EVIL, ValidatorRotate(change, proved))
            (done,) = await first.commit(rotated)
            assert [outcome.code for outcome in done.outcomes] == [0]
            for number in (2, 3):  # it takes effect two heights later
                await first.commit(prescription(genesis, number))
            await cluster.until_level()
            chain = first.running.chain
            assert chain.validators_at(1) != chain.state.validators
            new = double_prepare(genesis, EVIL, chain.height + 1)
            with pytest.raises(LedgerError):  # by keys that are none of this height
                await EvidencePoolView(first).hear(new)
            old = double_prepare(genesis, EVIL, 1)
            await EvidencePoolView(first).hear(old)
            await until_recorded(cluster.up, 1)
            await cluster.until_level()
            assert {tuple(in_blocks(node)) for node in cluster.up} == {(old,)}

    run(test())


def test_a_node_that_tells_lies_of_others_loses_its_link(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cluster:
            liar, victim = cluster[EVIL], cluster[LABELS[0]]
            await victim.commit(prescription(cluster.genesis, 1))
            data = double_prepare(cluster.genesis, LABELS[1], 1)
            true = decode(data)
            assert isinstance(true, DoubleVote)
            first = msgspec.structs.replace(true.first, signature=bytes(64))
            forged = encode(msgspec.structs.replace(true, first=first))
            accusation = judge(data, cluster.genesis.chain_id, victim.running.chain.validators_at)
            # With this before it opens a height it leads, it would leave it out there, and drop it.
            await until(lambda: liar.running.replica.status().height == 2, "it does not follow")
            pool = liar.running.evidence
            pool._waiting[accusation.offence] = pools.Waiting(forged, accusation)
            await until(
                lambda: any("evidence" in str(line.get("error")) for line in victim.events()),
                "the lie goes unnoticed",
            )
            assert recorded(victim) == []
            assert len(victim.running.evidence) == 0
            pool._waiting.clear()

    run(test())


def test_a_crash_before_the_block_loses_no_evidence(tmp_path: Path) -> None:
    async def test() -> None:
        async with Cluster(tmp_path) as cluster:
            alone = cluster[LABELS[0]]
            alone.start()  # no quorum: no block can be made
            data = double_prepare(cluster.genesis, EVIL, 1)
            await EvidencePoolView(alone).hear(data)
            assert in_blocks(alone) == []
            await alone.stop()
            for label in LABELS:
                cluster[label].start()
            await until_recorded(cluster.up, 1)
            await cluster.until_level()
            assert {tuple(in_blocks(node)) for node in cluster.up} == {(data,)}

    run(test())


# --- the pool alone -------------------------------------------------------------------------------


class Bench:
    """A pool over a chain of two blocks, with files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = chainmaker.Chain()
        for number in range(2):
            call = PrescriptionCommit(some_bytes("prescription", number))
            self.made.block(self.made.transaction("shop-a", call))
        self.chain = Chain.open(folder / "chain", self.made.genesis.genesis, VerifiedSignatures())
        for committed in self.made.blocks:
            executed = self.chain.execute(
                committed.block.body, committed.block.header, VerifiedSignatures()
            )
            self.chain.commit(executed, committed.certificate)
        self.disk = ThreadPoolExecutor(1)
        self.log = io.StringIO()
        self.pool = self.open()

    def open(self) -> EvidencePool:
        file = KeptFile(self.folder, self.chain.header.chain_id, FILE_NAME)
        log = Log(Level.DEBUG, self.log)
        return EvidencePool.open(self.chain, file, metrics=Metrics(), log=log, disk=self.disk)

    def hear(self, *pieces: bytes) -> None:
        async def hear() -> None:
            for data in pieces:
                await self.pool.heard(data, self.disk)

        asyncio.run(hear())

    def close(self) -> None:
        self.disk.shutdown()
        self.pool._file.close()
        self.chain.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_what_waits_is_there_again_after_a_crash(bench: Bench) -> None:
    pieces = [bench.made.double_vote(signer, height) for signer, height in ((0, 1), (2, 3))]
    bench.hear(*pieces, pieces[0])
    assert [each.data for each in bench.pool.waiting()] == pieces
    again = bench.open()  # nothing was closed
    assert again.oldest() == pieces
    accusations = [each.accusation for each in again.waiting()]
    again.recorded(accusations[:1])
    assert again.oldest() == pieces[1:]


def test_what_waits_outlives_the_loss_of_the_chain(bench: Bench, tmp_path: Path) -> None:
    pieces = [bench.made.double_vote(signer, height) for signer, height in ((0, 1), (2, 3))]
    bench.hear(*pieces)
    whole = bench.chain
    bench.chain = Chain.open(tmp_path / "lost", bench.made.genesis.genesis, VerifiedSignatures())
    file = KeptFile(tmp_path, whole.header.chain_id, FILE_NAME)
    for _ in range(2):
        file.append([b"no evidence"])  # so that the file is written anew
        assert bench.open().oldest() == pieces[:1]  # height 1 is open again, 3 is not
        file.close()
    bench.chain.close()
    bench.chain = whole
    assert bench.open().oldest() == pieces[::-1]


def test_one_deed_waits_once_in_whatever_variant(bench: Bench) -> None:
    bench.hear(*(bench.made.double_vote(1, 2, round_=number) for number in range(5)))
    assert len(bench.pool) == 1


def test_what_convicts_nobody_is_refused(bench: Bench) -> None:
    true = bench.made.double_vote(1, 2)
    for false in (b"", b"\xc0", true[:-1] + bytes((true[-1] ^ 1,)), bytes(70_000)):
        with pytest.raises(LedgerError):
            bench.hear(false)
    assert len(bench.pool) == 0


def test_a_deed_of_a_height_that_is_not_open_here_is_not_judged(bench: Bench) -> None:
    bench.hear(bench.made.double_vote(1, 4), bench.made.double_vote(1, 1 << 40))
    assert len(bench.pool) == 0


def test_a_proposal_below_the_first_height_convicts_nobody(bench: Bench) -> None:
    header = msgspec.structs.replace(bench.made.blocks[0].block.header, height=0)
    hashes = header.hash, some_bytes("an outline"), justification_hash(None)
    said = bench.made.signed(BareProposal(0, 1, *hashes, 1, bytes(64)))
    bad = BadProposal(header, 1, hashes[1], None, 1, said.signature)
    with pytest.raises(NotEvidence):  # no block can hold it, so it must not wait for one
        bench.hear(encode(bad))
    assert len(bench.pool) == 0


def test_who_makes_evidence_against_himself_crowds_out_nobody(bench: Bench) -> None:
    mine = double_prepares(bench, 1)
    bench.hear(*mine, bench.made.double_vote(2, 1))
    waiting = bench.pool.waiting()
    members = [each.accusation.member for each in waiting]
    assert members.count(member_of(LABELS[1])) == min(len(mine), pools.MAX_WAITING)
    assert members.count(member_of(LABELS[2])) == 1


def double_prepares(bench: Bench, signer: int) -> list[bytes]:
    """Return more deeds of one validator than a pool keeps."""
    label, genesis = LABELS[signer], bench.made.genesis
    pieces = [double_prepare(genesis, label, height) for height in (1, 2, 3)]
    pieces += [bench.made.double_vote(signer, height) for height in (1, 2, 3)]
    pieces += [crossed(genesis, label, height) for height in (1, 2, 3)]
    return pieces


def test_after_enough_deeds_on_the_chain_no_more_are_offered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MAX_RECORDED", 2)
    pieces = double_prepares(bench, 1)
    bench.hear(pieces[0])
    bench.pool.recorded([each.accusation for each in bench.pool.waiting()])
    bench.hear(*pieces[1:], bench.made.double_vote(2, 1))
    assert [each.accusation.member for each in bench.pool.waiting()].count(
        member_of(LABELS[1])
    ) == 1
    assert len(bench.pool) == 2


def test_a_block_is_offered_no_more_than_a_frame_holds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = double_prepares(bench, 1)[:3]
    bench.hear(*pieces)
    monkeypatch.setattr(pools, "MAX_OFFERED_BYTES", len(pieces[0]) + len(pieces[1]))
    assert bench.pool.oldest() == pieces[:2]
    monkeypatch.setattr(pools, "MAX_OFFERED_BYTES", 1)
    assert bench.pool.oldest() == pieces[:1]  # never none: it would wait for ever


def test_what_no_block_can_hold_is_forgotten(bench: Bench) -> None:
    pieces = double_prepares(bench, 1)[:3]
    bench.hear(*pieces)
    bench.pool.left_out(pieces, pieces[1:])
    assert bench.pool.oldest() == pieces[1:]


def test_a_file_that_grew_is_written_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "COMPACT_BYTES", 600)
    pieces = double_prepares(bench, 1)[:6]
    for data in pieces:
        bench.hear(data)
        if data != pieces[-1]:
            bench.pool.recorded([each.accusation for each in bench.pool.waiting()])
    file = bench.folder / FILE_NAME
    assert file.stat().st_size < sum(map(len, pieces))
    assert pieces[-1] in [each.data for each in bench.open().waiting()]


def test_a_disk_that_refuses_is_told_of_and_the_evidence_still_offered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(bench.pool._file, "append", refuse)
    bench.hear(bench.made.double_vote(1, 1))
    assert "evidence not on disk" in bench.log.getvalue()
    assert len(bench.pool) == 1


def test_what_waited_and_was_recorded_meanwhile_is_dropped_at_the_start(bench: Bench) -> None:
    data = bench.made.double_vote(3, 2)
    bench.hear(data, bench.made.double_vote(2, 2))
    block = bench.made.block(evidence=[data])
    executed = bench.chain.execute(block.block.body, block.block.header, VerifiedSignatures())
    bench.chain.commit(executed, block.certificate)
    again = bench.open()
    assert again.oldest() == [bench.made.double_vote(2, 2)]
    assert bench.open().oldest() == again.oldest()  # from the file that was written anew
    bench.hear(data)
    assert data in [each.data for each in bench.pool.waiting()]  # the first pool was not told
