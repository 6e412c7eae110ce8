"""What peers send each other: bad frames close the link, answers are bounded, the late catch up."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from consensus import messages
from consensus.interface import Received
from consensus.messages import Message, Prepare, Status
from contracts.execute import DirectSignatures
from ledger.certificate import KIND_COMMIT, CommitCertificate, Seal, vote_signing_bytes
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.keys import Role
from node import answers, budget
from node.catchup import FIRST_RANGE, Held
from node.exchange import Exchange
from node.light.messages import (
    MemberRecord,
    NewestHeader,
    Proofs,
    PullHeader,
    PullHistory,
    PullMember,
    PullProofs,
    Told,
)
from node.light.messages import parse_reply as parse_light_reply
from node.link import Channel, Hello, Link, Peer, Transactions
from node.p2p import Network
from node.sync import (
    Blocks,
    Head,
    PullBlocks,
    PullCandidate,
    Pulled,
    PullMempool,
    PullTransactions,
    parse_pull,
    parse_reply,
)
from tests.chainmaker import key_of, member_of
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, until, within
from tests.node.evil import double_prepare

ME, PEER, THIRD = LABELS[:3]


def greeting(chain_id: bytes, height: int) -> Hello:
    return Hello(1, chain_id, height, bytes(16), b"", None)


class FakeLink:
    """A link that keeps what is sent on it, for a validator's node key."""

    is_light = False

    def __init__(self, cluster: Cluster, label: str, height: int = 0) -> None:
        self.peer = Peer(label, key_of(label, Role.TLS).public, None)
        self.hello = greeting(cluster.genesis.chain_id, height)
        self.consensus: list[bytes] = []
        self.replies: list[bytes] = []
        self.pulls: list[bytes] = []
        self.transactions: list[bytes] = []

    def send_consensus(self, slot: object, payload: bytes) -> None:
        del slot
        self.consensus.append(payload)

    def send_reply(self, payload: bytes) -> bool:
        self.replies.append(payload)
        return True

    def send_pull(self, payload: bytes) -> None:
        self.pulls.append(payload)

    def send_transactions(self, payload: bytes) -> None:
        self.transactions.append(payload)

    def close(self) -> None: ...


class FakeNetwork:
    """The links of a node, as its exchange sees them."""

    def __init__(self, *links: FakeLink) -> None:
        self.links = {link.peer.node_key: link for link in links}

    def link_to(self, node_key: bytes) -> FakeLink | None:
        return self.links.get(node_key)


class Ear:
    """What a replica is told."""

    def __init__(self, exchange: Exchange) -> None:
        self.heard: list[Received] = []
        self.blocks: list[tuple[bytes, ...]] = []
        self.lost = 0
        self.to_ask: list[bytes] = []  # for their heads
        self._machine = exchange._machine

    async def hear(self, event: Received) -> None:
        self.heard.append(event)

    def take_blocks(self, held: Held) -> None:
        self.blocks.append(held.records)

    def peer_lost(self) -> None:
        self.lost += 1

    @property
    def standing(self) -> "Ear":
        return self

    def unheard(self) -> list[bytes]:
        return self.to_ask

    def __getattr__(self, name: str) -> object:
        return getattr(self._machine, name)


class Desk:
    """One node that does not run, its exchange, and two links to it."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder)
        self.node: Node = self.cluster[ME]
        self.exchange = self.node.assemble().replica.exchange
        self.ear = Ear(self.exchange)
        self.exchange._machine = self.ear  # type: ignore[assignment]
        self.link, self.other = FakeLink(self.cluster, PEER), FakeLink(self.cluster, THIRD)
        self.exchange.network = cast("Network", FakeNetwork(self.link, self.other))
        self.exchange.post = None  # tests/node/post

    async def receive(self, channel: Channel, payload: bytes) -> None:
        await within(self.exchange.received(cast("Link", self.link), channel, payload))

    def vote(self, height: int, signer: str = PEER, by: str = PEER) -> Prepare:
        index = self.cluster.labels.index(signer)
        bare = Prepare(height, 0, b"b" * 32, index, bytes(64))
        text = messages.signing_bytes(bare, self.cluster.genesis.chain_id)
        signature = key_of(by, Role.CONSENSUS).sign(text)
        return Prepare(height, 0, b"b" * 32, index, signature)

    def grow(self, blocks: int) -> None:
        """Let the chain grow by blocks that a quorum decided."""
        for number in range(blocks):
            made = prescription(self.cluster.genesis, number)
            chain = self.node.running.chain
            executed, _ = chain.build(
                [made],
                time=self.cluster.genesis.genesis.time,
                proposer=self.cluster.genesis.genesis.members[0].id,
                built_round=0,
                signatures=DirectSignatures(),
            )
            header = executed.header
            chain.commit(executed, certificate(self.cluster, header.height, header.hash))


def certificate(cluster: Cluster, height: int, block_id: bytes) -> CommitCertificate:
    text = vote_signing_bytes(KIND_COMMIT, cluster.genesis.chain_id, height, 0, block_id)
    seals = (Seal(n, key_of(LABELS[n], Role.CONSENSUS).sign(text)) for n in range(3))
    return CommitCertificate(height, 0, block_id, tuple(seals))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.node._closing.close()


def status(height: int) -> Status:
    return Status(height, 0, 0, bytes(32), (), ())


def test_a_verified_vote_is_heard_from_whom_it_came(desk: Desk) -> None:
    async def vote() -> None:
        for height in (1, 2):  # the open one and the next
            await desk.receive(Channel.CONSENSUS, encode(desk.vote(height)))
        relayed = desk.vote(1, signer=THIRD, by=THIRD)
        await desk.receive(Channel.CONSENSUS, encode(relayed))
        assert [event.message for event in desk.ear.heard] == [
            desk.vote(1),
            desk.vote(2),
            relayed,
        ]
        assert {event.sender for event in desk.ear.heard} == {LABELS.index(PEER)}

    run(vote())


@pytest.mark.parametrize("height", [1, 2])
def test_a_vote_that_its_signer_did_not_sign_closes_the_link(desk: Desk, height: int) -> None:
    async def forge() -> None:
        forged = encode(desk.vote(height, signer=THIRD, by=PEER))
        with pytest.raises(LedgerError, match="signature"):
            await desk.receive(Channel.CONSENSUS, forged)
        assert desk.ear.heard == []

    run(forge())


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        (Channel.CONSENSUS, b""),
        (Channel.CONSENSUS, b"garbage"),
        (Channel.CONSENSUS, encode((2, 1, 0, bytes(32), 200, bytes(64)))),
        (Channel.TRANSACTIONS, b"garbage"),
        (Channel.PULL, b"garbage"),
        (Channel.PULL, encode(Pulled(()))),
        (Channel.REPLY, b"garbage"),
        (Channel.REPLY, encode(Pulled((b"no transaction",)))),
        (Channel.HELLO, encode(greeting(bytes(32), 0))),
    ],
)
def test_what_is_malformed_closes_the_link(desk: Desk, channel: Channel, payload: bytes) -> None:
    async def receive() -> None:
        with pytest.raises(LedgerError):
            await desk.receive(channel, payload)
        assert desk.ear.heard == []

    run(receive())


def test_a_vote_far_above_is_not_heard_but_tells_that_we_are_behind(desk: Desk) -> None:
    async def far() -> None:
        desk.exchange.linked(cast("Link", desk.link))
        await desk.receive(Channel.CONSENSUS, encode(desk.vote(9, by=THIRD)))  # unverified
        assert desk.ear.heard == []
        (asked,) = map(parse_pull, desk.link.pulls)
        assert asked == PullBlocks(1, 8)

    run(far())


def test_a_vote_below_is_heard_unverified_and_only_answered(desk: Desk) -> None:
    async def old() -> None:
        desk.grow(2)
        await desk.receive(Channel.CONSENSUS, encode(desk.vote(1, by=THIRD)))
        (event,) = desk.ear.heard
        assert event.message.height == 1

    run(old())


def test_gossiped_transactions_are_admitted_and_who_forwards_bad_ones_is_dropped(
    desk: Desk,
) -> None:
    async def gossip() -> None:
        good = prescription(desk.cluster.genesis, 1)
        forged = bytearray(prescription(desk.cluster.genesis, 2).raw)
        forged[-1] ^= 1
        for bad in (b"bad", bytes(forged)):
            payload = encode(Transactions((bad, good.raw)))
            with pytest.raises(LedgerError, match="transaction"):  # its sender verifies, as we do
                await desk.receive(Channel.TRANSACTIONS, payload)
            assert good.id in desk.node.running.mempool
            assert len(desk.node.running.mempool) == 1
        assert desk.other.transactions == []  # told by who it entered at

    run(gossip())


def test_transactions_are_passed_on_to_whom_their_sender_cannot_reach(desk: Desk) -> None:
    async def relay() -> None:
        good = prescription(desk.cluster.genesis, 1)
        there, nowhere = desk.other.peer.node_key, bytes(32)
        told = Transactions((good.raw,), (there, nowhere))
        await desk.receive(Channel.TRANSACTIONS, encode(told))
        assert [decode(each, Transactions) for each in desk.other.transactions] == [
            Transactions((good.raw,))  # and no further
        ]
        assert desk.link.transactions == []

    run(relay())


def test_a_false_signature_is_not_passed_on_with_the_id_of_what_waits(desk: Desk) -> None:
    async def frame() -> None:
        good = prescription(desk.cluster.genesis, 1)
        await desk.receive(Channel.TRANSACTIONS, encode(Transactions((good.raw,))))
        forged = bytearray(good.raw)
        forged[-1] ^= 1
        relay = (desk.other.peer.node_key,) * 3
        told = Transactions((bytes(forged), good.raw), relay)
        await desk.receive(Channel.TRANSACTIONS, encode(told))
        assert [decode(each, Transactions) for each in desk.other.transactions] == [
            Transactions((good.raw,))  # what would have cost us the link does not get there
        ]

    run(frame())


def test_what_is_asked_for_and_what_nobody_asked_for_is_at_the_cost_of_the_peer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.clock.monotonic", lambda: 1000.0)

    async def cost(channel: Channel, payload: bytes) -> float:
        spent = desk.exchange._budgets.of(desk.link.peer.node_key)
        before = spent.left
        await desk.receive(channel, payload)
        return before - spent.left

    async def ask() -> None:
        made = [prescription(desk.cluster.genesis, n) for n in range(100)]
        raws = tuple(each.raw for each in made)
        await desk.receive(Channel.TRANSACTIONS, encode(Transactions(raws)))
        asked = encode(PullTransactions(tuple(each.leaf for each in made)))
        assert await cost(Channel.PULL, asked) > sum(map(len, raws)) * budget.BYTE_S
        junk = encode(Blocks(7, (bytes(1 << 20),)))
        assert await cost(Channel.REPLY, junk) > (1 << 20) * budget.BYTE_S
        desk.exchange.catchup.heard(desk.link.peer.node_key, 9, is_status=True)
        desk.exchange.catchup.check()
        wanted = encode(Blocks(1, (bytes(1 << 20),)))
        assert await cost(Channel.REPLY, wanted) < (1 << 20) * budget.BYTE_S

    run(ask())


def test_transactions_are_given_by_leaf_and_the_mempool_as_a_whole(desk: Desk) -> None:
    async def pull() -> None:
        made = [prescription(desk.cluster.genesis, n) for n in range(3)]
        raws = tuple(each.raw for each in made)
        await desk.receive(Channel.TRANSACTIONS, encode(Transactions(raws)))
        leaves = (made[2].leaf, bytes(32), made[0].leaf)
        await desk.receive(Channel.PULL, encode(PullTransactions(leaves)))
        assert parse_reply(desk.link.replies.pop()) == Pulled((made[2].raw, made[0].raw))
        await desk.receive(Channel.PULL, encode(PullTransactions((bytes(32),))))
        assert desk.link.replies == []  # nothing to say
        await desk.receive(Channel.PULL, encode(PullMempool()))
        assert decode(desk.link.transactions.pop(), Transactions).raws == raws
        await desk.receive(Channel.PULL, encode(PullCandidate(bytes(32))))
        assert desk.link.replies == []

    run(pull())


def test_blocks_are_given_as_far_as_they_fit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pull(first: int, last: int) -> list[bytes]:
        await desk.receive(Channel.PULL, encode(PullBlocks(first, last)))
        await until(lambda: not desk.exchange.answers._under_way, "it does not answer")
        reply = parse_reply(desk.link.replies.pop())
        assert isinstance(reply, Blocks)
        assert reply.first == max(first, 1)
        return list(reply.records)

    async def ask() -> None:
        desk.grow(6)
        records = list(desk.node.running.chain.records(1))
        assert await pull(1, 6) == records
        assert await pull(3, 1 << 60) == records[2:]
        assert await pull(0, 2) == records[:2]
        assert await pull(7, 9) == []
        assert await pull(4, 2) == []
        monkeypatch.setattr(answers, "BULK_BYTES", len(records[0]) + len(records[1]))
        assert await pull(1, 6) == records[:2]
        monkeypatch.setattr(answers, "BULK_BYTES", 1)
        assert await pull(2, 6) == records[1:2]  # one always, or nobody ever came further

    run(ask())


def test_who_asks_for_what_was_pruned_is_told_from_where_on_blocks_are_kept(desk: Desk) -> None:
    async def ask() -> None:
        desk.grow(4)
        chain = desk.node.running.chain
        chain.segments.seal()
        list(chain.segments.prune(3))
        for first, records in ((1, ()), (2, ()), (3, tuple(chain.records(3)))):
            await desk.receive(Channel.PULL, encode(PullBlocks(first, 4)))
            await until(lambda: not desk.exchange.answers._under_way, "it does not answer")
            assert parse_reply(desk.link.replies.pop()) == Blocks(first, records, 3)

    run(ask())


def test_a_light_node_is_told_what_it_asks_for_and_nothing_else(desk: Desk) -> None:
    async def follow() -> None:
        desk.grow(3)
        link = desk.link
        link.is_light = True
        desk.exchange.linked(cast("Link", link))
        assert (link.consensus, link.pulls) == ([], [])
        releases = desk.exchange._releases
        for pull, kind in (
            (PullHeader(0, 0), NewestHeader),
            (PullHeader(3, 0), NewestHeader),
            (PullHistory(0, 0, 2, 0), Told),
            (PullProofs(0, 9, 0), Proofs),
            (PullMember(member_of("shop-a")), MemberRecord),
        ):
            await desk.receive(Channel.PULL, encode(pull))
            await until(lambda: not releases._under_way, "it does not answer")
            assert isinstance(parse_light_reply(link.replies.pop()), kind)
        for _ in range(1000):
            await desk.receive(Channel.PULL, encode(PullHistory(0, 0, 0, 0)))
            assert len(releases._under_way) <= answers.MAX_UNDER_WAY
        await until(lambda: not releases._under_way, "it answers for ever")
        for channel, payload in (
            (Channel.CONSENSUS, encode(desk.vote(4))),
            (Channel.REPLY, encode(Blocks(1, ()))),
            (Channel.PULL, encode(PullBlocks(1, 3))),  # it may not ask as a whole node does
        ):
            with pytest.raises(LedgerError):
                await desk.receive(channel, payload)
        desk.exchange.unlinked(cast("Link", link))
        assert desk.ear.lost == 0  # it was none of those who agree

    run(follow())


def test_what_was_pruned_is_not_released_to_a_light_node_either(desk: Desk) -> None:
    desk.grow(4)
    chain = desk.node.running.chain
    chain.segments.seal()
    list(chain.segments.prune(3))
    releases, shop = desk.exchange._releases, member_of("shop-a")
    assert releases.reply(shop, PullHistory(0, 0, 0, 0))[0] == Told(None, (), ())
    told, _ = releases.reply(shop, PullHistory(2, 0, 0, 0))
    assert isinstance(told, Told)
    assert [entry.height for entry in told.own] == [3, 4]


def test_no_more_answers_are_made_at_once_than_links_can_take(desk: Desk) -> None:
    async def flood() -> None:
        desk.grow(3)
        for _ in range(1000):
            await desk.receive(Channel.PULL, encode(PullBlocks(1, 3)))
            assert len(desk.exchange.answers._under_way) <= answers.MAX_UNDER_WAY
        await until(lambda: not desk.exchange.answers._under_way, "it answers for ever")

    run(flood())


def test_blocks_that_came_are_executed_and_the_next_are_asked_for(desk: Desk) -> None:
    async def fall_behind() -> None:
        exchange = desk.exchange
        desk.link.hello = greeting(desk.cluster.genesis.chain_id, 90)
        exchange.linked(cast("Link", desk.link))
        assert [parse_pull(each) for each in desk.link.pulls] == [PullBlocks(1, FIRST_RANGE)]
        blocks = (b"one", b"two")
        await desk.receive(Channel.REPLY, encode(Blocks(1, blocks)))
        assert desk.ear.blocks == [blocks]
        assert parse_pull(desk.link.pulls[-1]) == PullBlocks(3, 2 + 2 * FIRST_RANGE)
        exchange.unlinked(cast("Link", desk.link))
        assert desk.ear.lost == 1

    run(fall_behind())


def test_a_link_that_replaces_another_begins_anew(desk: Desk) -> None:
    async def replace() -> None:
        key, genesis = desk.link.peer.node_key, desk.cluster.genesis
        evidence = desk.node.running.evidence
        await evidence.heard(double_prepare(genesis, THIRD, 1), desk.node.running.reader)
        desk.exchange._telling.tell({key: cast("Link", desk.link)}, {key: 1})
        assert len(desk.link.replies) == 1
        for height in (9, 7):  # it started again after a power cut
            desk.link.hello = greeting(genesis.chain_id, height)
            desk.exchange.linked(cast("Link", desk.link))
            assert len(desk.link.pulls) == 1  # asked for blocks, not avoided as one who lied
            desk.link.pulls.clear()
        desk.exchange._telling.tell({key: cast("Link", desk.link)}, {key: 1})
        assert len(desk.link.replies) == 2

    run(replace())


def test_a_head_that_is_said_again_and_again_gives_the_replica_nothing_to_do(desk: Desk) -> None:
    async def tell() -> None:
        replica, header = desk.node.running.replica, desk.node.running.chain.header
        before = len(replica._events)
        for _ in range(100):
            await desk.receive(Channel.REPLY, encode(Head(header.height, header.hash, None)))
        assert len(replica._events) == before + 1  # the first was wanted

    run(tell())


def test_what_a_status_says_is_remembered_and_heard(desk: Desk) -> None:
    async def tell() -> None:
        await desk.receive(Channel.CONSENSUS, encode(status(5)))
        assert desk.exchange.heights()[desk.link.peer.node_key] == 5
        assert desk.ear.heard == [Received(status(5), LABELS.index(PEER))]

    run(tell())


def test_an_observer_is_no_validator(desk: Desk) -> None:
    async def observe() -> None:
        desk.link.peer = Peer("observer", key_of("observer", Role.TLS).public, None)
        desk.exchange.network = cast("Network", FakeNetwork(desk.link, desk.other))
        await desk.receive(Channel.CONSENSUS, encode(status(1)))
        (event,) = desk.ear.heard
        assert event.sender is not None
        assert event.sender < 0
        desk.exchange.send(status(1), event.sender)
        assert len(desk.link.consensus) == 1
        assert desk.other.consensus == []

    run(observe())


def test_messages_go_to_all_or_to_one(desk: Desk) -> None:
    async def send() -> None:
        message: Message = desk.vote(1)
        desk.exchange.send(message, None)
        assert desk.link.consensus == desk.other.consensus == [encode(message)]
        desk.exchange.send(message, LABELS.index(THIRD))
        assert len(desk.other.consensus) == 2
        assert len(desk.link.consensus) == 1
        desk.exchange.send(message, LABELS.index(LABELS[3]))  # who is not linked
        assert desk.exchange.pull(LABELS.index(THIRD), PullMempool())
        assert not desk.exchange.pull(LABELS.index(LABELS[3]), PullMempool())

    run(send())


def test_a_block_that_was_missed_is_sent_by_who_is_asked(desk: Desk) -> None:
    async def help_() -> None:
        desk.grow(2)
        desk.exchange.send_block(LABELS.index(PEER), 2)
        await until(lambda: bool(desk.link.replies), "it does not help")
        reply = parse_reply(desk.link.replies[0])
        assert reply == Blocks(2, (desk.node.running.chain.record(2),))
        await until(lambda: not desk.exchange.answers._under_way, "it helps on")
        desk.exchange.send_block(LABELS.index(PEER), 3)  # which is not there yet
        assert not desk.exchange.answers._under_way

    run(help_())
