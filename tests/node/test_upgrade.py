"""A node and rules to come: it says what it lacks, stops in time, goes on when it has it."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.calls import PrescriptionCommit, Propose, ReadySignal, ScheduleVersion, Vote
from contracts.errors import UnknownVersion
from contracts.execute import DirectSignatures
from contracts.versions import Scheduled
from ledger.keys import Role
from ledger.transaction import Transaction, created_id
from node.audit.errors import UnknownRules
from node.audit.rehearsal import rehearse
from node.audit.replay import verify_export
from node.chain import Chain
from node.journal import Journal
from node.upgrade import outlook
from tests import second
from tests.chainmaker import export_of, key_of, some_bytes
from tests.node.cluster import ALONE, Cluster, Node, run, running, transaction_of

(ME,) = ALONE
NOT_BEFORE, FIRST = 4, 6  # block from which version 2 may be announced, and its first


@contextlib.asynccontextmanager
async def scheduled(folder: Path) -> AsyncIterator[tuple[Cluster, Node]]:
    """A network of one, which voted for version 2: its last block is the one before `NOT_BEFORE`.

    Its member is ready, so that nothing holds the version up.
    """
    async with running(folder, ALONE, notice_blocks=2) as cluster:
        node, genesis = cluster[ME], cluster.genesis
        until = genesis.genesis.time + 3_600
        proposal = transaction_of(
            genesis, ME, Propose(ScheduleVersion(second.VERSION), until, NOT_BEFORE)
        )
        vote = Vote(created_id(proposal.id, 0), agrees=True)
        for sent in (
            proposal,
            transaction_of(genesis, ME, vote),
            transaction_of(genesis, ME, ReadySignal(second.VERSION)),
        ):
            (made,) = await node.commit(sent)
            assert made.outcomes[0].code == 0
        assert node.height == NOT_BEFORE - 1
        yield cluster, node


def commits(cluster: Cluster, name: str, n: int = 0) -> Transaction:
    """Return a transaction that commits to the prescription of that name for the nth time."""
    nonce = some_bytes("nonce", name, n)[:16]
    return transaction_of(
        cluster.genesis, "shop-a", PrescriptionCommit(some_bytes(name)), nonce=nonce
    )


async def until_it_stops(cluster: Cluster, node: Node) -> UnknownVersion:
    """Make blocks up to the last one under version 1; return why the node ended."""
    await node.commit(commits(cluster, "a"))
    (again,) = await node.commit(commits(cluster, "a", 1))
    assert again.outcomes[0].code != 0
    error = await node.ended()
    assert isinstance(error, UnknownVersion)
    return error


def test_a_node_stops_before_rules_that_it_does_not_know_and_goes_on_when_it_does(
    tmp_path: Path,
) -> None:
    async def live() -> None:
        async with scheduled(tmp_path) as (cluster, node):
            error = await until_it_stops(cluster, node)
            assert (error.version, error.height) == (2, FIRST)
            require_nothing_signed(node, FIRST)
            with pytest.raises(UnknownVersion):
                node.start()  # before it has an ear, or a voice
            node._closing.close()
            require_nothing_signed(node, FIRST)
            with second.known():
                await go_on(cluster, node)
                require_replayed(cluster, node)
            require_refused(cluster, node)

    run(live())


async def go_on(cluster: Cluster, node: Node) -> None:
    """Start the node that stopped; it decides what version 2 allows, also after another start."""
    for n, height in enumerate((FIRST, FIRST + 1)):
        node.start()
        await cluster.until_signing()
        (again,) = await node.commit(commits(cluster, "a", 2 + n))
        assert (again.height, again.outcomes[0].code) == (height, 0)
        await node.stop()


def require_nothing_signed(node: Node, height: int) -> None:
    """Fail unless a stopped validator's journal is whole and holds nothing of a height."""
    identity = node.cluster.genesis.chain_id + key_of(node.label, Role.CONSENSUS).public
    journal = Journal.open(node.data / "journal", identity)
    assert journal is not None
    assert (journal.doubt, journal.truncated) == ("", 0)
    assert journal.height < height
    journal.close()


def require_replayed(cluster: Cluster, node: Node) -> None:
    """Fail unless a chain under both versions is made again from its blocks: index and audit."""
    genesis, signatures = cluster.genesis, DirectSignatures()
    chain = Chain.open(node.data, genesis.genesis, signatures)
    before = chain.header
    chain.close()
    shutil.rmtree(node.data / "state")
    chain = Chain.open(node.data, genesis.genesis, signatures)
    assert (chain.header, chain.state.digest.hash) == (before, before.state_digest)
    blocks = [chain.block(height) for height in range(1, chain.height + 1)]
    chain.close()
    versions = [block.block.header.version for block in blocks]
    assert versions == [1] * (FIRST - 1) + [2] * 2
    export = node.data / "export"
    export.write_bytes(export_of(genesis, blocks))
    report = verify_export(export, genesis, workers=1)
    assert (report.header, report.versions) == (before, {1: 1, 2: FIRST})
    assert rehearse(export, genesis, workers=1).is_safe


def require_refused(cluster: Cluster, node: Node) -> None:
    """Fail unless who does not know version 2 neither opens that chain nor verifies it whole."""
    genesis, signatures = cluster.genesis, DirectSignatures()
    with pytest.raises(UnknownRules) as caught:
        verify_export(node.data / "export", genesis, workers=1)
    assert (caught.value.height, caught.value.last) == (FIRST, FIRST - 1)
    shutil.rmtree(node.data / "state")
    with pytest.raises(UnknownVersion):
        Chain.open(node.data, genesis.genesis, signatures)


def test_one_that_catches_up_takes_all_blocks_below_the_rules_that_it_lacks(
    tmp_path: Path,
) -> None:
    async def follow() -> None:
        async with scheduled(tmp_path) as (cluster, node):
            with second.known():
                for n in range(4):
                    await node.commit(commits(cluster, "a", n))
            assert node.height == FIRST + 1  # it serves its blocks, and executes no more
            cluster.observer.start()
            error = await cluster.observer.ended()
            assert isinstance(error, UnknownVersion)
            assert error.height == FIRST
            chain = Chain.open(cluster.observer.data, cluster.genesis.genesis, DirectSignatures())
            assert chain.header == node.running.chain.block(FIRST - 1).block.header
            chain.close()
            with second.known():
                cluster.observer.start()
                await cluster.until_height(FIRST + 1)
                await cluster.observer.stop()

    run(follow())


def test_from_the_schedule_on_a_node_that_lacks_the_version_says_so_once(tmp_path: Path) -> None:
    async def live() -> None:
        async with scheduled(tmp_path) as (cluster, node):
            seen = outlook(node.running.chain.state)
            assert (seen.in_force, seen.scheduled) == (1, Scheduled(2, NOT_BEFORE, None))
            assert seen.warning.startswith(
                "version 2 of the rules is scheduled for block 4 or later, and this software knows"
            )
            text = node.running.metrics.text()
            for line in (
                b"depoli_version 1.0",
                b"depoli_version_scheduled 2.0",
                b"depoli_version_height 4.0",
                b"depoli_upgrade_needed 1.0",
            ):
                assert line in text
            said = [each for each in node.events() if each["event"] == "upgrade needed"]
            assert [each["reason"] for each in said] == [seen.warning]
            error = await until_it_stops(cluster, node)
            said = [each for each in node.events() if each["event"] == "upgrade needed"]
            assert len(said) == 2
            assert f"is in force from block {error.height} on" in said[1]["reason"]

    run(live())
