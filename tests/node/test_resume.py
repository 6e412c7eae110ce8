"""The ceremony that lets wiped validators sign again: what it takes, and what it refuses."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from consensus import promises
from consensus.messages import Prepare, PreparedCertificate, RoundChange
from contracts.genesis_json import signed_json
from ledger.certificate import KIND_PREPARE, Seal, vote_signing_bytes
from ledger.encoding import decode, encode
from ledger.keys import Role
from node import resume as resumes
from node.errors import NodeError
from node.journal import UNKNOWN_FENCE, Journal, Kind, Record
from node.pledges import SAFE_HEIGHTS
from node.resume import (
    DOMAIN,
    UNKNOWN_ROUND,
    BadTestimony,
    Behind,
    NotAllTestify,
    NothingToResume,
    OtherHeight,
    Outdated,
    Resumption,
    Signed,
)
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import ALONE, LABELS, Cluster, Node, prescription, run, running, until

WIPED, INTACT = LABELS[:2], LABELS[2:]


class Table:
    """Four validators that stand still after one block, and what they testified."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.files = {label: folder / f"{label}.testimony" for label in LABELS}

    def node(self, label: str) -> Node:
        return self.cluster[label]

    def testify(self, *labels: str) -> None:
        for label in labels or LABELS:
            self.files[label].unlink(missing_ok=True)
            key = key_of(label, Role.CONSENSUS)
            resumes.testify(self.node(label).config(), key, self.files[label])

    def said(self, label: str) -> resumes.Testimony:
        return decode(self.files[label].read_bytes(), Signed).testimony

    def change(self, label: str, **fields: object) -> None:
        """Let a validator testify something else."""
        made = msgspec.structs.replace(self.said(label), **fields)
        signature = key_of(label, Role.CONSENSUS).sign(DOMAIN + encode(made))
        self.files[label].write_bytes(encode(Signed(made, signature)))

    def resume(self, label: str, *files: Path, height: int = 1) -> Resumption:
        key = key_of(label, Role.CONSENSUS)
        return resumes.resume(
            self.node(label).config(), key, files or tuple(self.files.values()), height
        )

    def journal(self, label: str) -> Journal:
        identity = self.cluster.genesis.chain_id + key_of(label, Role.CONSENSUS).public
        journal = Journal.open(self.node(label).data / "journal", identity)
        assert journal is not None
        journal.close()
        return journal

    def lock(self, round_: int, name: str = "block") -> PreparedCertificate:
        """Return what shows that three of four prepared a block of height 2."""
        block_id, chain_id = some_bytes(name), self.cluster.genesis.chain_id
        signed = vote_signing_bytes(KIND_PREPARE, chain_id, 2, round_, block_id)
        seals = (
            Seal(index, key_of(LABELS[index], Role.CONSENSUS).sign(signed)) for index in range(3)
        )
        return PreparedCertificate(2, round_, block_id, tuple(seals))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Cluster(tmp_path)

    async def one_block() -> None:
        async with made:
            for label in LABELS:
                made[label].start()
            await made.until_linked()
            await made[LABELS[0]].commit(prescription(made.genesis, "one"))
            await made.until_level()

    run(one_block())
    for label in LABELS:
        data = made[label].data
        (data / "genesis.json").write_bytes(signed_json(made.genesis).encode())
    for label in WIPED:
        shutil.rmtree(made[label].data / "journal")
    found = Table(made, tmp_path)
    found.testify()
    return found


def promised(journal: Journal, height: int) -> list[promises.Promise]:
    return [promises.decode(data) for data in journal.promises(height)]


def test_a_wiped_validator_begins_above_what_anybody_came_to(table: Table) -> None:
    assert [table.said(label).is_current for label in LABELS] == [False, False, True, True]
    table.change(INTACT[0], round=4)
    found = table.resume(WIPED[0])
    assert (found.height, found.round, found.lock) == (1, 6, None)
    assert found.resuming == WIPED
    journal = table.journal(WIPED[0])
    assert (journal.resumed, journal.fence) == (1, 1 + SAFE_HEIGHTS)
    resumed, said = promised(journal, 2)
    assert resumed == promises.Resumed(2, 6)
    assert isinstance(said, promises.Said)
    assert isinstance(said.message, RoundChange)
    assert (said.message.round, said.message.prepared_round) == (6, -1)


def test_the_highest_lock_that_anybody_has_becomes_its_own(table: Table) -> None:
    table.change(INTACT[0], lock=table.lock(1), round=2)
    table.change(INTACT[1], lock=table.lock(2, "later"), round=2)
    found = table.resume(WIPED[1])
    assert found.lock == table.lock(2, "later")
    _, locked, said = promised(table.journal(WIPED[1]), 2)
    assert locked == promises.Locked(table.lock(2, "later"))
    assert isinstance(said, promises.Said)
    assert isinstance(said.message, RoundChange)
    assert (said.message.round, said.message.prepared_round) == (4, 2)
    assert said.message.certificate == table.lock(2, "later")


def test_where_nobody_knows_how_far_rounds_came_it_begins_far_above(table: Table) -> None:
    for label in INTACT:
        shutil.rmtree(table.node(label).data / "journal")
    table.testify()
    assert table.resume(INTACT[0]).round == UNKNOWN_ROUND


def test_a_second_ceremony_of_all_begins_above_the_first(table: Table) -> None:
    for label in INTACT:
        shutil.rmtree(table.node(label).data / "journal")
    for round_ in (UNKNOWN_ROUND, UNKNOWN_ROUND + 2):
        table.testify()
        assert table.resume(INTACT[0]).round == round_


def test_what_was_signed_since_the_testimony_is_never_forgotten(table: Table) -> None:
    resumed = table.resume(WIPED[0])
    with pytest.raises(Outdated, match="not what we testified"):
        table.resume(WIPED[0])  # the same files once more
    assert len(promised(table.journal(WIPED[0]), 2)) == 2
    table.testify()
    assert table.resume(WIPED[0]).round == resumed.round + 2  # above what it may have signed there


def test_the_body_of_a_locked_block_outlives_a_ceremony(table: Table) -> None:
    """All were copied to other disks while one block was prepared: they alone have it."""
    identity = table.cluster.genesis.chain_id + key_of(WIPED[0], Role.CONSENSUS).public
    journal = Journal.create(table.node(WIPED[0]).data / "journal", identity, fence=UNKNOWN_FENCE)
    locked = promises.encode(promises.Locked(table.lock(1)))
    journal.append([Record(2, Kind.BODY, b"block"), Record(2, Kind.PROMISE, locked)])
    journal.close()
    table.testify()
    assert table.resume(WIPED[0]).lock == table.lock(1)
    assert table.journal(WIPED[0]).bodies(2) == [b"block"]


def test_who_has_passed_its_fence_but_must_still_look_on_counts_as_lost(table: Table) -> None:
    identity = table.cluster.genesis.chain_id + key_of(WIPED[0], Role.CONSENSUS).public
    journal = Journal.create(table.node(WIPED[0]).data / "journal", identity, fence=1)
    journal.close()
    table.testify(WIPED[0])
    assert not table.said(WIPED[0]).is_current
    assert table.resume(WIPED[0]).resuming == WIPED


@pytest.mark.parametrize("fence", [0, 4])
def test_a_journal_that_shows_a_higher_block_testifies_nothing(table: Table, fence: int) -> None:
    identity = table.cluster.genesis.chain_id + key_of(WIPED[0], Role.CONSENSUS).public
    journal = Journal.create(table.node(WIPED[0]).data / "journal", identity, fence=fence)
    if not fence:
        journal.append([Record(3, Kind.PROMISE, promises.encode(promises.Resumed(3, 1)))])
    journal.close()
    with pytest.raises(Behind, match="the highest that anybody has is 2"):
        table.testify(WIPED[0])


def test_what_an_old_journal_still_holds_counts_too(table: Table) -> None:
    identity = table.cluster.genesis.chain_id + key_of(WIPED[0], Role.CONSENSUS).public
    journal = Journal.create(table.node(WIPED[0]).data / "journal", identity, fence=UNKNOWN_FENCE)
    prepare = Prepare(2, 7, some_bytes("block"), 0, bytes(64))
    journal.append([Record(2, Kind.PROMISE, promises.encode(promises.Said(prepare)))])
    journal.close()
    table.testify(WIPED[0])
    assert (table.said(WIPED[0]).is_current, table.said(WIPED[0]).round) == (False, 7)
    assert table.resume(WIPED[1]).round == 9


def forged(table: Table) -> tuple[Path, ...]:
    signed = decode(table.files[INTACT[0]].read_bytes(), Signed)
    testimony = msgspec.structs.replace(signed.testimony, round=9)
    table.files[INTACT[0]].write_bytes(encode(Signed(testimony, signed.signature)))
    return ()


def of_another_chain(table: Table) -> tuple[Path, ...]:
    table.change(INTACT[0], chain_id=some_bytes("another"))
    return ()


def no_testimony(table: Table) -> tuple[Path, ...]:
    table.files[INTACT[0]].write_bytes(b"nothing")
    return ()


def without_one(table: Table) -> tuple[Path, ...]:
    return tuple(table.files.values())[1:]


def one_twice(table: Table) -> tuple[Path, ...]:
    return (*table.files.values(), table.files[INTACT[0]])


def enough_are_current(table: Table) -> tuple[Path, ...]:
    table.change(WIPED[1], is_current=True)
    return ()


def somebody_is_ahead(table: Table) -> tuple[Path, ...]:
    table.change(INTACT[1], height=2, block_id=some_bytes("next"))
    return ()


def somebody_is_behind(table: Table) -> tuple[Path, ...]:
    table.change(INTACT[1], height=0, block_id=table.cluster.genesis.chain_id)
    return ()


def a_fork(table: Table) -> tuple[Path, ...]:
    table.change(INTACT[1], block_id=some_bytes("another"))
    return ()


def a_lock_that_is_none(table: Table) -> tuple[Path, ...]:
    lock = table.lock(1)
    table.change(INTACT[1], lock=msgspec.structs.replace(lock, seals=lock.seals[:2]), round=1)
    return ()


def a_lock_with_a_bad_signature(table: Table) -> tuple[Path, ...]:
    lock = msgspec.structs.replace(table.lock(1), block_id=some_bytes("another"))
    table.change(INTACT[1], lock=lock, round=1)
    return ()


REFUSED: tuple[tuple[Callable[[Table], tuple[Path, ...]], type[NodeError]], ...] = (
    (forged, BadTestimony),
    (of_another_chain, BadTestimony),
    (no_testimony, BadTestimony),
    (without_one, NotAllTestify),
    (one_twice, NotAllTestify),
    (enough_are_current, NothingToResume),
    (a_fork, NothingToResume),
    (a_lock_that_is_none, NothingToResume),
    (a_lock_with_a_bad_signature, NothingToResume),
    (somebody_is_ahead, Behind),
    (somebody_is_behind, Behind),
)


def test_whatever_does_not_show_that_it_is_safe_is_refused(table: Table) -> None:
    whole = {label: path.read_bytes() for label, path in table.files.items()}
    for spoil, error in REFUSED:
        files = spoil(table)
        with pytest.raises(error):
            table.resume(WIPED[0], *files)
        for label, content in whole.items():
            table.files[label].write_bytes(content)
    with pytest.raises(OtherHeight):
        table.resume(WIPED[0], height=2)
    with pytest.raises(NothingToResume, match="is current"):
        table.resume(INTACT[0])
    written = (table.node(WIPED[0]).data / "journal").glob("*.journal")
    assert not list(written)
    table.resume(WIPED[0])


def test_all_go_on_and_nothing_is_contradicted(table: Table) -> None:
    for label in WIPED:
        table.resume(label)

    async def go_on() -> None:
        async with table.cluster as cluster:
            for label in LABELS:
                cluster[label].start()
            await cluster.until_linked()
            for name in range(4):
                await cluster[LABELS[name]].commit(prescription(cluster.genesis, ("on", name)))
            await cluster.until_level()
            await cluster.until_signing()
            assert not any(node.said("contradiction") for node in cluster.up)
            assert not any(node.running.metrics.foreign._value.get() for node in cluster.up)

    run(go_on())


def test_a_lone_validator_that_lost_its_journal_has_its_operator_alone(tmp_path: Path) -> None:
    label = ALONE[0]

    async def lose() -> Cluster:
        async with running(tmp_path, ALONE) as cluster:
            await cluster[label].commit(prescription(cluster.genesis, "before"))
        shutil.rmtree(cluster[label].data / "journal")
        async with cluster:
            cluster[label].start()
            await until(lambda: cluster[label].running.replica.is_fenced, "it votes")
            assert "not provably the newest" in cluster[label].running.replica.standing.silence
        return cluster

    cluster = asyncio.run(lose())
    (cluster[label].data / "genesis.json").write_bytes(signed_json(cluster.genesis).encode())
    table, key = Table(cluster, tmp_path), key_of(label, Role.CONSENSUS)
    table.testify(label)
    resumed = resumes.resume(cluster[label].config(), key, [table.files[label]], 1)
    assert (resumed.height, resumed.round) == (1, UNKNOWN_ROUND)

    async def go_on() -> None:
        async with cluster:
            cluster[label].start()
            await cluster[label].commit(prescription(cluster.genesis, "after"))

    run(go_on())
