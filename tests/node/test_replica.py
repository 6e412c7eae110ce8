"""Replicas in one process, over real links and files: they agree, catch up, and keep faith."""

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from consensus import messages, promises
from consensus.interface import Received, SetTimer
from consensus.messages import Commit, Message, Prepare, Proposal, RoundChange
from ledger.block import Outline
from ledger.keys import Role
from ledger.store import open_store
from node import clock
from node.candidates import Untimely, require_timely
from node.journal import UNKNOWN_FENCE, Journal
from node.pledges import QUIET_HEIGHTS, SAFE_HEIGHTS
from node.replica import UNREACHABLE_SHARE, Halted
from node.sync import Blocks
from tests.chainmaker import key_of, member_of, some_bytes
from tests.node.cluster import ALONE, LABELS, Cluster, Node, prescription, run, running, until

LEADER = LABELS[1]  # of height 1
FENCED = "signing begins at a height"  # in the log


def promised(node: Node, height: int) -> dict[tuple[str, int, int], bytes]:
    """Return what a stopped validator's journal says it signed: kind, height, round -> message."""
    identity = node.cluster.genesis.chain_id + key_of(node.label, Role.CONSENSUS).public
    journal = Journal.open(node.data / "journal", identity)
    assert journal is not None
    journal.close()
    found = {}
    for data in journal.promises(height):
        match promises.decode(data):
            case promises.Said(message):
                found[type(message).__name__, message.height, message.round] = messages.encode(
                    message
                )
            case _:
                pass
    return found


def overheard(node: Node) -> dict[tuple[str, int, int], set[bytes]]:
    """Return a dict that fills with what a node says of its own, as `promised` names it."""
    said: dict[tuple[str, int, int], set[bytes]] = {}
    exchange = node.running.replica.exchange
    send = exchange.send

    def listen(message: Message, to: int | None) -> None:
        if isinstance(message, Proposal | Prepare | Commit | RoundChange):
            slot = (type(message).__name__, message.height, message.round)
            if message.signer == node.index:
                said.setdefault(slot, set()).add(messages.encode(message))
        send(message, to)

    exchange.send = listen  # type: ignore[method-assign]
    return said


def proposal_of(node: Node, leader: str, time: int, *names: object) -> Proposal:
    """Return what the leader of the next height would propose on a node's chain."""
    chain, cluster = node.running.chain, node.cluster
    executed, skipped = chain.build(
        [prescription(cluster.genesis, name) for name in names],
        time=time,
        proposer=member_of(leader),
        built_round=0,
        signatures=_Trusting(),
    )
    assert not skipped
    return signed(cluster, leader, executed.block.outline())


def signed(cluster: Cluster, leader: str, outline: Outline) -> Proposal:
    bare = Proposal(0, outline, None, cluster.labels.index(leader), bytes(64))
    text = messages.signing_bytes(bare, cluster.genesis.chain_id)
    return msgspec.structs.replace(bare, signature=key_of(leader, Role.CONSENSUS).sign(text))


class _Trusting:
    def verify(self, transaction: object, public: bytes) -> None:
        """Take every signature for good."""


def test_all_commit_the_same_blocks_whoever_is_asked(tmp_path: Path) -> None:
    async def agree() -> None:
        async with running(tmp_path) as cluster:
            sent = [prescription(cluster.genesis, n) for n in range(40)]
            nodes = [cluster[label] for label in LABELS]
            await asyncio.gather(*(node.commit(*sent[n::4]) for n, node in enumerate(nodes)))
            height = await cluster.until_level()
            for h in range(1, height + 1):
                blocks = [node.running.chain.block(h) for node in nodes]
                assert all(each.block == blocks[0].block for each in blocks)
                for each in blocks:  # of one block nodes may hold different certificates
                    validators = nodes[0].running.chain.state.validators
                    each.certificate.verify(cluster.genesis.chain_id, validators)
            for one in sent:
                places = {repr(node.running.chain.index.place(one.id)) for node in nodes}
                assert len(places) == 1
                assert None not in places

    run(agree())


def test_an_idle_network_makes_no_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.replica.TICK_S", 0.02)

    async def idle() -> None:
        async with running(tmp_path) as cluster:
            await cluster[LABELS[0]].commit(prescription(cluster.genesis, 1))
            height = await cluster.until_level()
            replicas = [node.running.replica for node in cluster.up]
            said = [overheard(node) for node in cluster.up]
            ticks = [0] * len(replicas)
            for place, replica in enumerate(replicas):

                def count(place: int = place) -> None:
                    ticks[place] += 1

                replica.exchange.catchup.check = count  # type: ignore[method-assign]
            await until(lambda: min(ticks) > 20, "time stands still")
            assert [node.height for node in cluster.up] == [height] * 4
            assert all(replica._timer is None for replica in replicas)
            assert said == [{}] * 4

    run(idle())


def test_one_validator_alone_is_a_network(tmp_path: Path) -> None:
    async def alone() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]
            for name in range(3):
                (committed,) = await node.commit(prescription(cluster.genesis, name))
                assert committed.height == name + 1

    run(alone())


def test_one_that_was_away_catches_up_and_votes_again(tmp_path: Path) -> None:
    async def be_away() -> None:
        async with running(tmp_path) as cluster:
            first, last = cluster[LABELS[0]], cluster[LABELS[3]]
            await first.commit(prescription(cluster.genesis, "before"))
            await last.stop()
            for name in range(6):
                await first.commit(prescription(cluster.genesis, name))
            last.start()
            await cluster.until_linked()
            await cluster.until_level()
            await cluster[LABELS[2]].stop()  # now nothing goes on without the one that was away
            await first.commit(prescription(cluster.genesis, "after"))
            await cluster.until_level()

    run(be_away())


def test_an_observer_follows_and_hands_transactions_on(tmp_path: Path) -> None:
    async def observe() -> None:
        async with running(tmp_path) as cluster:
            await cluster[LABELS[0]].commit(prescription(cluster.genesis, "before"))
            cluster.observer.start()
            await cluster.until_linked()
            await cluster.until_level()
            await cluster.observer.commit(prescription(cluster.genesis, "by the observer"))
            assert await cluster.until_level() == cluster.observer.height
            assert not cluster.observer.running.replica.is_fenced
            assert cluster.observer.running.replica.not_ready() == []

    run(observe())


def asked(said: Mapping[tuple[str, int, int], object]) -> bool:
    """Return whether a higher round was asked for."""
    return any(kind == "RoundChange" for kind, *_ in said)


def test_a_restarted_validator_says_again_what_it_said_and_nothing_else(tmp_path: Path) -> None:
    async def restart() -> None:
        async with Cluster(tmp_path) as cluster:
            leader, other, third = (cluster[each] for each in (LEADER, LABELS[0], LABELS[2]))
            for node in (leader, other, third):
                node.start()
            first_said = {node.label: overheard(node) for node in (leader, other)}
            await cluster.until_linked()
            await cluster.until_signing()  # which takes answers of two others
            await third.stop()
            first = prescription(cluster.genesis, "first")
            await leader.running.admission.submit([first.raw], gossip=True)
            # Two of four propose and prepare, ask for a round, and decide nothing.
            for node in (leader, other):  # what was sent was durable before
                await until(lambda n=node: asked(first_said[n.label]), "no round is asked for")  # type: ignore[misc]
            for node in (leader, other):
                await node.stop()
            before = {node.label: promised(node, 1) for node in (leader, other)}
            assert {kind for kind, *_ in before[LEADER]} >= {"Proposal", "Prepare", "RoundChange"}
            leader.start()
            other.start()
            said = {node.label: overheard(node) for node in (leader, other)}
            second = prescription(
                cluster.genesis, "second"
            )  # must not get into another first block
            await leader.running.admission.submit([second.raw], gossip=True)
            await cluster.until_linked()
            assert not any(said.values())  # too few others say what they heard of it
            assert "2 other validators tell it" in leader.running.replica.standing.silence
            for label in LABELS[2:]:
                cluster[label].start()
            await cluster.until_linked()
            for node in (leader, other):
                again = said[node.label]
                await until(lambda a=again: asked(a), "it does not ask for its round again")  # type: ignore[misc]
            await cluster.until_height(1)
            for node in (leader, other):
                for slot, bytes_ in said[node.label].items():
                    assert slot not in before[node.label] or bytes_ == {before[node.label][slot]}
            assert not any(node.said("contradiction") for node in cluster.up)

    run(restart())


def test_a_lost_journal_keeps_a_validator_silent_until_it_is_safe(tmp_path: Path) -> None:
    async def lose() -> None:
        async with running(tmp_path) as cluster:
            first, last = cluster[LABELS[0]], cluster[LABELS[3]]
            await first.commit(prescription(cluster.genesis, "before"))
            await cluster.until_level()
            await last.stop()
            shutil.rmtree(last.data / "journal")
            last.start()
            replica = last.running.replica
            assert replica._pledges._journal is not None
            assert replica._pledges._journal.fence == UNKNOWN_FENCE
            assert replica.is_fenced
            said = overheard(last)
            await cluster.until_linked()
            await until(lambda: last.said("signing begins at a height"), "it learns no fence")
            (first_height,) = (
                e["height"] for e in last.events() if e["event"] == "signing begins at a height"
            )
            assert first_height == last.height + SAFE_HEIGHTS + QUIET_HEIGHTS + 1
            assert f"nothing below height {first_height}" in replica.standing.silence
            name = 0
            while replica.is_fenced:
                assert not said
                name += 1
                await first.commit(prescription(cluster.genesis, name))
                await cluster.until_level()
                if last.height + 1 >= first_height:
                    await until(lambda: not replica.is_fenced, "it never signs again")
            assert last.height + 1 == first_height
            await cluster[LABELS[2]].stop()
            await first.commit(prescription(cluster.genesis, "with its vote"))
            await cluster.until_level()
            assert said
            await last.stop()
            for height in range(1, first_height):
                assert promised(last, height) == {}

    run(lose())


def test_a_fresh_proposal_with_a_wrong_time_is_refused(tmp_path: Path) -> None:
    async def mistime() -> None:
        async with Cluster(tmp_path) as cluster:
            node = cluster[LABELS[0]]
            await node.start_alone()
            proposal = proposal_of(node, LEADER, clock.now_ms() // 1000 + 60, "early")
            await node.running.replica.hear(Received(proposal, cluster.labels.index(LEADER)))
            await until(lambda: node.said("invalid proposal"), "it is not refused")
            await node.stop()
            assert promised(node, 1) == {}

    run(mistime())


def test_a_proposal_in_time_is_prepared_once_its_transactions_are_here(tmp_path: Path) -> None:
    async def prepare() -> None:
        async with Cluster(tmp_path) as cluster:
            node = cluster[LABELS[0]]
            await node.start_alone()
            proposal = proposal_of(node, LEADER, clock.now_ms() // 1000, "known")
            said = overheard(node)
            await node.running.replica.hear(Received(proposal, cluster.labels.index(LEADER)))
            await until(lambda: bool(node.running.replica._candidates._assemblies), "not judged")
            assert not said
            raw = prescription(cluster.genesis, "known").raw
            await node.running.admission.submit([raw], gossip=False)
            await until(lambda: ("Prepare", 1, 0) in said, "it is not prepared")
            await node.stop()
            assert ("Prepare", 1, 0) in promised(node, 1)

    run(prepare())


def test_nobody_waits_for_the_parts_of_a_block_when_its_height_is_over(tmp_path: Path) -> None:
    async def withhold() -> None:
        async with running(tmp_path) as cluster:
            evil = cluster[LEADER]
            await evil.stop()
            others = cluster.up
            proposal = proposal_of(others[0], LEADER, clock.now_ms() // 1000, "never sent")
            for node in others:
                await node.running.replica.hear(Received(proposal, evil.index))
                replica = node.running.replica
                await until(lambda r=replica: bool(r._tasks), "it is not judged")  # type: ignore[misc]
            await others[0].commit(prescription(cluster.genesis, "goes on"))
            await cluster.until_height(1)
            await until(
                lambda: not any(node.running.replica._tasks for node in others), "tasks go on"
            )

    run(withhold())


def test_a_block_that_nobody_asked_for_is_not_taken(tmp_path: Path) -> None:
    async def push() -> None:
        async with Cluster(tmp_path) as cluster:
            node = cluster[LABELS[0]]
            await node.start_alone()
            raw = prescription(cluster.genesis, "pushed").raw
            await node.running.admission.submit([raw], gossip=False)
            late = proposal_of(node, LEADER, clock.now_ms() // 1000 + 60, "pushed")
            node.running.replica.take_candidate(late.outline)
            assert not node.running.replica._tasks
            await node.running.replica.hear(Received(late, cluster.labels.index(LEADER)))
            await until(lambda: node.said("invalid proposal"), "its time is not judged")
            await node.stop()

    run(push())


def test_a_validator_that_cannot_follow_a_quorum_stops(tmp_path: Path) -> None:
    async def diverge() -> None:
        async with running(tmp_path) as cluster:
            first, last = cluster[LABELS[0]], cluster[LABELS[3]]
            await first.commit(prescription(cluster.genesis, "one"))
            await cluster.until_level()
            await last.stop()
            store = open_store(last.data / "state")
            ((key, value),) = [
                pair
                for pair in store.scan(b"s", 10_000)
                if some_bytes("prescription", "one") in pair[0]
            ]
            other = key.replace(
                some_bytes("prescription", "one"), some_bytes("prescription", "two")
            )
            store.write({other: value})  # as a fault of its disk or of its code would
            store.close()
            last.start()
            await cluster.until_linked()
            await first.commit(prescription(cluster.genesis, "two"))
            error = await last.ended()
            assert isinstance(error, Halted)
            assert "not valid here" in str(error) or "invalid block" in str(error)

    run(diverge())


def test_a_damaged_block_is_given_to_nobody_and_named_to_the_operator(tmp_path: Path) -> None:
    async def damage() -> None:
        async with running(tmp_path) as cluster:
            node, other = cluster[LABELS[0]], cluster[LABELS[1]]
            await node.commit(prescription(cluster.genesis, 1))
            # Who is behind would ask for the block in the midst of this.
            await until(
                lambda: all(cluster[each].height >= 1 for each in LABELS),
                "somebody does not follow",
            )
            path = next((node.data / "segments").glob("*.seg"))
            content = bytearray(path.read_bytes())
            content[100] ^= 1
            assert node.running.chain.damage == ""
            path.write_bytes(content)
            link = next(iter(node.running.network.links.values()))
            sent: list[object] = []
            answers = node.running.replica.exchange.answers
            with patch.object(answers, "send", lambda _, reply: sent.append(reply)):
                await answers.reply_blocks(link, 1, 1)
            # What a peer asked for before may have been read before the damage, and sent now.
            assert sent[-1] == Blocks(1, ())
            (reason,) = node.running.replica.not_ready()
            assert f"{path}: damaged at byte 60 (block 1)" in reason
            assert reason.endswith("stop the node and run: depoli db heal")
            await other.commit(prescription(cluster.genesis, 2))  # and it goes on
            await until(lambda: node.height >= 2, "the damaged one does not follow")

    run(damage())


DISK_ERRORS = [errno.ENOSPC, errno.EROFS, errno.EIO]


@pytest.mark.parametrize("number", DISK_ERRORS)
def test_a_validator_that_cannot_write_stops_and_says_nothing(tmp_path: Path, number: int) -> None:
    async def fill() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]
            journal = node.running.replica._pledges._journal
            said = overheard(node)

            def refuse(_: object) -> None:
                raise OSError(number, os.strerror(number))

            journal.append = refuse  # type: ignore[union-attr,method-assign]
            raw = prescription(cluster.genesis, 1).raw
            await node.running.admission.submit([raw], gossip=True)
            error = await node.ended()
            assert isinstance(error, OSError)
            assert error.errno == number
            assert not said

    run(fill())


@pytest.mark.parametrize("number", DISK_ERRORS)
def test_a_block_that_the_disk_refuses_stops_the_node_which_has_it_after_a_start(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was decided; what was promised for it is in the journal, and binds after the start."""

    async def refuse_once() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]

            def refuse(_: int) -> None:
                raise OSError(number, os.strerror(number))

            transaction = prescription(cluster.genesis, 1)
            with monkeypatch.context() as patch:
                patch.setattr("ledger.segments._sync_data", refuse)
                await node.running.admission.submit([transaction.raw], gossip=True)
                error = await node.ended()
            assert isinstance(error, OSError)
            assert error.errno == number
            await node.stop()
            node.start()
            assert node.height == 0
            await node.commit(transaction)
            assert node.height >= 1

    run(refuse_once())


def test_a_round_whose_leader_is_not_linked_is_given_up_sooner(tmp_path: Path) -> None:
    async def wait() -> None:
        async with running(tmp_path, base_timeout_ms=60_000) as cluster:
            node, leader = cluster[LABELS[0]], cluster[LEADER]
            replica, loop = node.running.replica, asyncio.get_running_loop()
            replica._set_timer(SetTimer(0, 60_000))
            assert replica._timer is not None
            assert replica._timer.when() > loop.time() + 50
            await leader.stop()
            soon = 60 / UNREACHABLE_SHARE
            await until(
                lambda: replica._timer is not None and replica._timer.when() <= loop.time() + soon,
                "it waits for a leader that is away",
            )
            proposal = proposal_of(node, LEADER, clock.now_ms() // 1000, "known")
            await replica.hear(Received(proposal, leader.index))
            await until(lambda: bool(replica._tasks), "it is not judged")
            replica._set_timer(SetTimer(0, 60_000))  # who has led already need not be there
            assert replica._timer is not None
            assert replica._timer.when() > loop.time() + 50
            replica._set_timer(SetTimer(1, 120_000))  # whose leader is there
            assert replica._timer.when() > loop.time() + 100
            assert soon < 50

    run(wait())


def test_no_single_validator_can_make_the_others_unready(tmp_path: Path) -> None:
    async def boast() -> None:
        async with running(tmp_path) as cluster:
            node = cluster[LABELS[0]]
            claims = node.running.replica.exchange.catchup.claims
            liar, honest = (key_of(label, Role.TLS).public for label in LABELS[1:3])
            claims[liar] = 1 << 40
            assert node.running.replica.not_ready() == []
            claims[honest] = 9
            assert node.running.replica.not_ready() == ["9 blocks behind"]

    run(boast())


@pytest.mark.parametrize(
    ("off_ms", "round_", "is_timely"),
    [
        (0, 0, True),
        (500, 0, True),
        (501, 0, False),
        (-3_500, 0, True),
        (-3_501, 0, False),
        (-5_500, 10, True),  # the delay that is allowed doubles in ten rounds
        (-5_501, 10, False),
    ],
)
def test_time_is_judged_by_precision_delay_and_round(
    tmp_path: Path, off_ms: int, round_: int, *, is_timely: bool
) -> None:
    async def judge() -> None:
        async with Cluster(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]
            node.start()
            time = cluster.genesis.genesis.time
            outline = proposal_of(node, ALONE[0], time, "any").outline
            header = msgspec.structs.replace(outline.header, built_round=round_)
            outline = msgspec.structs.replace(outline, header=header)
            await node.stop()
            now_ms = 1000 * time - off_ms
            expected = pytest.raises(Untimely, match=str(abs(off_ms)))
            with contextlib.nullcontext() if is_timely else expected:
                require_timely(outline, now_ms, precision_ms=500, delay_ms=2_000)

    run(judge())
