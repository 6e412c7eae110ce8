"""The door for transactions: what is let in, who is told, and what those who wait are answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from contracts import errors
from contracts.calls import PrescriptionCommit, SettlementConfirm
from ledger.encoding import decode
from ledger.errors import Malformed
from ledger.keys import Role
from ledger.transaction import Transaction
from node import admission as admissions
from node.admission import Admission
from node.link import Transactions
from node.mempool import Limits, Mempool, MempoolFull
from node.p2p import Network
from node.results import Pending, Refused
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import (
    ALONE,
    Cluster,
    Node,
    prescription,
    run,
    running,
    transaction_of,
    until,
    within,
)


class Peer:
    """A link that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Transactions] = []

    def send_transactions(self, payload: bytes) -> None:
        self.sent.append(decode(payload, Transactions))


class Peers:
    """A network of two links."""

    def __init__(self) -> None:
        self.links = {b"one": Peer(), b"two": Peer()}
        self.node_key = key_of(ALONE[0], Role.TLS).public

    def told(self) -> list[bytes]:
        one, two = (
            [raw for each in peer.sent for raw in each.raws] for peer in self.links.values()
        )
        assert one == two
        return one


@contextlib.asynccontextmanager
async def idle(folder: Path) -> AsyncIterator[tuple[Node, Admission, Peers]]:
    """A node of a network of one that makes no blocks, and two stand-ins for peers."""
    node = Cluster(folder, ALONE)[ALONE[0]]
    admission, peers = node.assemble().admission, Peers()
    admission.network = cast("Network", peers)
    yield node, admission, peers
    node._closing.close()


def raws_of(made: Sequence[Transaction]) -> list[bytes]:
    return [each.raw for each in made]


def test_what_may_be_included_is_let_in_and_told_once(tmp_path: Path) -> None:
    async def submit() -> None:
        async with idle(tmp_path) as (node, admission, peers):
            made = [prescription(node.cluster.genesis, n) for n in range(3)]
            results = await admission.submit(raws_of(made), gossip=True)
            assert results == [Pending(each.id) for each in made]
            assert peers.told() == raws_of(made)
            assert await admission.submit(raws_of(made[:1] * 2), gossip=True) == results[:1] * 2
            assert peers.told() == raws_of(made)
            assert len(node.running.mempool) == 3

    run(submit())


def test_what_peers_tell_is_not_told_on(tmp_path: Path) -> None:
    async def hear() -> None:
        async with idle(tmp_path) as (node, admission, peers):
            made = prescription(node.cluster.genesis, 1)
            await admission.submit([made.raw], gossip=False)
            assert made.id in node.running.mempool
            assert peers.told() == []

    run(hear())


@pytest.mark.parametrize("crowd", [0, admissions.JUDGED_HERE + 1], ids=["here", "in the worker"])
def test_each_refusal_names_its_reason_and_stands_in_its_place(tmp_path: Path, crowd: int) -> None:
    async def refuse() -> None:
        async with idle(tmp_path) as (node, admission, peers):
            genesis = node.cluster.genesis
            call = PrescriptionCommit(some_bytes("any"))

            def made(sender: str = "shop-a", **changed: object) -> bytes:
                return transaction_of(genesis, sender, call, **changed).raw

            good = prescription(genesis, "good")
            cases: list[tuple[bytes, type[Exception] | None]] = [
                (b"garbage", Malformed),
                (good.raw, None),
                (
                    transaction_of(genesis, "shop-a", call, chain_id=bytes(32)).raw,
                    errors.WrongChain,
                ),
                (transaction_of(genesis, "shop-a", call, valid_until=1).raw, errors.Expired),
                (
                    transaction_of(genesis, "shop-a", call, valid_until=1 << 40).raw,
                    errors.TooFarAhead,
                ),
                (transaction_of(genesis, "nobody", call).raw, errors.Inadmissible),
                (
                    transaction_of(genesis, "shop-a", call, calls=(b"call",)).raw,
                    errors.MalformedCall,
                ),
                (good.raw[:-1] + bytes((good.raw[-1] ^ 1,)), errors.WrongSignature),
            ]
            cases += [(prescription(genesis, n).raw, None) for n in range(crowd)]
            results = await admission.submit([raw for raw, _ in cases], gossip=True)
            for (_, expected), result in zip(cases, results, strict=True):
                if expected is None:
                    assert isinstance(result, Pending)
                else:
                    assert isinstance(result, Refused)
                    assert isinstance(result.error, expected)
                    assert (result.id is None) == (expected is Malformed)
            assert peers.told() == [raw for raw, expected in cases if expected is None]
            assert len(node.running.mempool) == 1 + crowd

    run(refuse())


def test_what_is_in_the_chain_is_refused_as_seen(tmp_path: Path) -> None:
    async def again() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node, made = cluster[ALONE[0]], prescription(cluster.genesis, 1)
            await node.commit(made)
            (result,) = await node.running.admission.submit([made.raw], gossip=True)
            assert isinstance(result, Refused)
            assert isinstance(result.error, errors.AlreadySeen)
            assert result.error.transaction_id == made.id
            assert len(node.running.mempool) == 0

    run(again())


def test_a_full_mempool_refuses(tmp_path: Path) -> None:
    async def fill() -> None:
        async with idle(tmp_path) as (node, admission, peers):
            admission._mempool = Mempool(Limits(transactions=4))  # one sender: half of it
            made = [prescription(node.cluster.genesis, n) for n in range(3)]
            *let_in, refused = await admission.submit(raws_of(made), gossip=True)
            assert let_in == [Pending(each.id) for each in made[:2]]
            assert isinstance(refused, Refused)
            assert isinstance(refused.error, MempoolFull)
            assert peers.told() == raws_of(made[:2])

    run(fill())


def test_gossip_comes_in_frames_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gossip() -> None:
        async with idle(tmp_path) as (node, admission, peers):
            made = [prescription(node.cluster.genesis, n) for n in range(7)]
            monkeypatch.setattr(admissions, "GOSSIP_BYTES", 3 * len(made[0].raw))
            await admission.submit(raws_of(made), gossip=True)
            frames = [len(each.raws) for each in peers.links[b"one"].sent]
            assert frames == [3, 3, 1]
            assert peers.told() == raws_of(made)

    run(gossip())


def test_who_waits_is_answered_by_the_block(tmp_path: Path) -> None:
    async def wait() -> None:
        async with running(tmp_path, ALONE) as cluster:
            node = cluster[ALONE[0]]
            first = prescription(cluster.genesis, 1)
            again = transaction_of(
                cluster.genesis,
                "shop-b",
                SettlementConfirm(some_bytes("no settlement")),
                PrescriptionCommit(some_bytes("prescription", 2)),
            )
            one, other = await node.commit(first, again)
            assert [outcome.code == 0 for outcome in one.outcomes] == [True]
            assert [outcome.code == 0 for outcome in other.outcomes] == [False, True]
            assert one.height == other.height == node.height == 1
            assert not node.running.admission._waiting

    run(wait())


def test_who_waits_in_vain_leaves_no_trace(tmp_path: Path) -> None:
    async def wait() -> None:
        async with idle(tmp_path) as (node, admission, _):
            made = prescription(node.cluster.genesis, 1)
            await admission.submit([made.raw], gossip=True)
            assert await admission.wait([made.id], 0) == {}
            assert not admission._waiting
            assert await admission.wait([made.id], 0.01) == {}
            assert not admission._waiting
            gone = asyncio.create_task(admission.wait([made.id], 60))
            await until(lambda: bool(admission._waiting), "nobody waits")
            gone.cancel()
            await until(gone.done, "it waits on")
            assert not admission._waiting
            assert await within(admission.wait([bytes(32)], 60)) == {}  # there is nothing to await

    run(wait())


def test_who_waits_is_told_when_the_node_stops(tmp_path: Path) -> None:
    async def stop() -> None:
        async with idle(tmp_path) as (node, admission, _):
            made = prescription(node.cluster.genesis, 1)
            await admission.submit([made.raw], gossip=True)
            waiting = asyncio.create_task(admission.wait([made.id], 60))
            await until(lambda: bool(admission._waiting), "nobody waits")
            admission.release()
            assert await within(waiting) == {made.id: Pending(made.id)}
            assert await within(admission.wait([made.id], 60)) == {}

    run(stop())


def test_who_waits_for_what_expires_is_told(tmp_path: Path) -> None:
    async def expire() -> None:
        async with idle(tmp_path) as (node, admission, _):
            made = prescription(node.cluster.genesis, 1)
            await admission.submit([made.raw], gossip=True)
            waiting = asyncio.create_task(admission.wait([made.id], 60))
            await until(lambda: bool(admission._waiting), "nobody waits")
            admission.drop_expired()
            assert made.id in node.running.mempool
            state: Any = _Later(made.body.valid_until + 1)
            admission._state = lambda: state
            admission.drop_expired()
            (answer,) = (await within(waiting)).values()
            assert isinstance(answer, Refused)
            assert isinstance(answer.error, errors.Expired)
            assert made.id not in node.running.mempool

    run(expire())


class _Later:
    """A chain whose last block is of this time."""

    def __init__(self, time: int) -> None:
        self.header, self.time = self, time
