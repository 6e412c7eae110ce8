"""A node and rules to come: it says what it lacks, stops in time, goes on when it has it."""

import shutil
from pathlib import Path

import pytest

from contracts.calls import PrescriptionCommit, ReadySignal
from contracts.dispatch import CODES
from contracts.errors import UnknownVersion
from contracts.execute import DirectSignatures
from contracts.versions import Scheduled
from ledger.keys import Role
from ledger.transaction import Transaction
from node.audit.errors import UnknownRules
from node.audit.rehearsal import rehearse
from node.audit.replay import verify_export
from node.chain import Chain
from node.journal import Journal
from node.upgrade import outlook
from tests import second
from tests.chainmaker import export_of, key_of, some_bytes
from tests.node.cluster import ALONE, Cluster, Node, prescription, run, running, transaction_of

(ME,) = ALONE
FIRST = 4  # block under version 2: the signal in block 1 is seen in block 2


@pytest.fixture(autouse=True)
def _scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    second.schedule(monkeypatch, 1)


def commits(cluster: Cluster, name: str, n: int = 0) -> Transaction:
    """Return a transaction that commits to the prescription of that name for the nth time."""
    nonce = some_bytes("nonce", name, n)[:16]
    return transaction_of(
        cluster.genesis, "shop-a", PrescriptionCommit(some_bytes(name)), nonce=nonce
    )


async def until_it_stops(cluster: Cluster, node: Node) -> UnknownVersion:
    """Signal and make blocks up to the last one under version 1; return why the node ended."""
    await node.commit(transaction_of(cluster.genesis, ME, ReadySignal(second.VERSION)))
    await node.commit(commits(cluster, "a"))
    (again,) = await node.commit(commits(cluster, "a", 1))
    assert again.outcomes[0].code != 0
    error = await node.ended()
    assert isinstance(error, UnknownVersion)
    return error


def test_a_node_stops_before_rules_that_it_does_not_know_and_goes_on_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ME]
            error = await until_it_stops(cluster, node)
            assert (error.version, error.height) == (2, FIRST)
            require_nothing_signed(node, FIRST)
            with pytest.raises(UnknownVersion):
                node.start()  # before it has an ear, or a voice
            node._closing.close()
            require_nothing_signed(node, FIRST)
            second.know(monkeypatch)
            node.start()
            await cluster.until_signing()
            (again,) = await node.commit(commits(cluster, "a", 2))
            assert (again.height, again.outcomes[0].code) == (FIRST, 0)
            await node.commit(prescription(cluster.genesis, "b"))
            await node.stop()
            node.start()  # once more, above the change
            await cluster.until_signing()
            await node.commit(prescription(cluster.genesis, "c"))
            await node.stop()
            require_replayed(cluster, node, monkeypatch)

    run(live())


def require_nothing_signed(node: Node, height: int) -> None:
    """Fail unless a stopped validator's journal is whole and holds nothing of a height."""
    identity = node.cluster.genesis.chain_id + key_of(node.label, Role.CONSENSUS).public
    journal = Journal.open(node.data / "journal", identity)
    assert journal is not None
    assert (journal.doubt, journal.truncated) == ("", 0)
    assert journal.height < height
    journal.close()


def require_replayed(cluster: Cluster, node: Node, patch: pytest.MonkeyPatch) -> None:
    """Fail unless a chain under both versions is made again: index, audit, rehearsal."""
    genesis, signatures = cluster.genesis, DirectSignatures()
    chain = Chain.open(node.data, genesis.genesis, signatures)
    before, digest = chain.header, chain.state.digest.hash
    chain.close()
    shutil.rmtree(node.data / "state")
    chain = Chain.open(node.data, genesis.genesis, signatures)
    assert (chain.header, chain.state.digest.hash) == (before, digest)
    blocks = [chain.block(height) for height in range(1, chain.height + 1)]
    chain.close()
    versions = [block.block.header.version for block in blocks]
    assert versions == [1] * (FIRST - 1) + [2] * (len(blocks) - FIRST + 1)
    export = node.data / "export"
    export.write_bytes(export_of(genesis, blocks))
    report = verify_export(export, genesis, workers=1)
    assert (report.header, report.versions) == (before, {1: 1, 2: FIRST})
    assert rehearse(export, genesis, workers=1).is_safe
    patch.delitem(CODES, second.VERSION)
    with pytest.raises(UnknownRules) as caught:
        verify_export(export, genesis, workers=1)
    assert (caught.value.height, caught.value.last) == (FIRST, FIRST - 1)
    shutil.rmtree(node.data / "state")
    with pytest.raises(UnknownVersion):
        Chain.open(node.data, genesis.genesis, signatures)


def test_from_the_schedule_on_a_node_that_lacks_the_version_says_so_once(tmp_path: Path) -> None:
    async def live() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ME]
            seen = outlook(node.running.chain.state)
            assert (seen.in_force, seen.scheduled) == (1, Scheduled(2, 1, None))
            assert seen.warning.startswith(
                "version 2 of the rules is scheduled for block 1 or later, and this software knows"
            )
            for name in "ab":
                await node.commit(prescription(cluster.genesis, name))
            text = node.running.metrics.text()
            for line in (
                b"depoli_version 1.0",
                b"depoli_version_scheduled 2.0",
                b"depoli_version_height 1.0",
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
