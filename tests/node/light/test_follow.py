"""Whom a light node asks, and what it makes of answers that are true and of no use."""

import asyncio
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from contracts.calls import ClaimAccept
from ledger.encoding import encode
from ledger.transaction import parse
from node import clock
from node.light.follow import Follower, NotVouched
from node.light.messages import (
    LightReply,
    MemberRecord,
    NewestHeader,
    Proofs,
    PullHeader,
    PullHistory,
    PullMember,
    PullProofs,
    Refusal,
    parse_pull,
)
from node.light.outbox import Outbox
from node.light.record import Record
from node.light.staleness import CLOCK_S, Staleness
from node.link import Channel, Link, Peer
from node.log import Level, Log
from node.p2p import Network
from tests.chainmaker import member_of
from tests.node.cluster import run
from tests.node.light.test_record import LIES, MADE, OPTICIAN, Shelf, Source


@dataclass
class Ear:
    """A link on which nothing is sent but kept."""

    peer: Peer
    pulls: list[Any] = field(default_factory=list)
    is_light: bool = False

    def send_pull(self, payload: bytes) -> None:
        self.pulls.append(parse_pull(payload))

    def asked(self, kind: type) -> list[Any]:
        found = [pull for pull in self.pulls if isinstance(pull, kind)]
        self.pulls = [pull for pull in self.pulls if not isinstance(pull, kind)]
        return found


class Place:
    """A follower with a link to each validator, on which the test answers."""

    def __init__(self, source: Source, worker: ThreadPoolExecutor) -> None:
        self.source, self.log = source, io.StringIO()
        self.record = Record(source.made.genesis.genesis, member_of(OPTICIAN), Shelf())
        self.outbox = Outbox(self.record)
        self.follower = Follower(
            self.record,
            self.outbox,
            addresses={},
            worker=worker,
            log=Log(Level.DEBUG, self.log),
        )
        self.peers = {each.node_key: each for each in self.follower.peers()}
        self.ears = [Ear(each) for each in self.peers.values()]
        self.follower.network = cast("Network", self)

    def link_to(self, key: bytes) -> Link | None:
        return next((cast("Link", ear) for ear in self.ears if ear.peer.node_key == key), None)

    def set_peers(self, peers: Any) -> None:  # noqa: ANN401
        self.peers = {each.node_key: each for each in peers}

    async def answer(self, ear: Ear, reply: LightReply) -> None:
        await self.follower.received(cast("Link", ear), Channel.REPLY, encode(reply))

    async def tell_newest(self, ear: Ear) -> None:
        await self.answer(ear, self.source.newest(self.record))

    def passed_over(self) -> list[str]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [line["reason"] for line in lines if line["event"] == "peer passed over"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    source = Source(tmp_path, MADE[LIES])
    source.grow(len(source.made.blocks))
    with ThreadPoolExecutor(1) as worker:
        yield Place(source, worker)
    source.close()


def test_an_old_answer_is_no_answer(place: Place) -> None:
    """It is true; who gives it again and again would keep all others from being asked."""

    async def test() -> None:
        first, second = place.ears[:2]
        await place.tell_newest(first)
        assert len(first.asked(PullHistory)) == 1
        old = place.source.told(place.record, until=place.source.chain.height - 1)
        await place.answer(first, old)
        assert place.record.height == 0
        (reason,) = place.passed_over()
        height = place.source.chain.height
        assert reason == f"it told up to block {height - 1}, of {height} that it has"
        await place.tell_newest(second)
        assert len(second.asked(PullHistory)) == 1
        await place.answer(second, place.source.told(place.record))
        assert place.record.height == place.source.chain.height

    run(test())


def test_who_tells_no_place_of_our_entries_is_passed_over(place: Place) -> None:
    async def test() -> None:
        place.source.follow(place.record)
        place.follower._poll()
        (asked,) = [ear for ear in place.ears if ear.asked(PullProofs)]
        proofs = place.source.reply(place.record, PullProofs(0, 9, 0))
        assert isinstance(proofs, Proofs)
        await place.answer(asked, msgspec.structs.replace(proofs, places=()))
        assert place.passed_over() == ["it tells no place of our entries"]
        place.follower._poll()
        (other,) = [ear for ear in place.ears if ear.asked(PullProofs)]
        assert other is not asked
        await place.answer(other, proofs)
        assert place.record.tip.placed == 9

    run(test())


def test_each_peer_in_turn_is_asked_for_whatever_is_newer(place: Place) -> None:
    """Or one alone could keep the last blocks back, for as long as no more are made."""

    async def test() -> None:
        for _ in place.ears:
            place.follower._poll()
        for ear in place.ears:
            slack = sorted(pull.above for pull in ear.asked(PullHeader))
            assert slack[0] == 0
            assert slack[1:] == [3] * (len(place.ears) - 1)

    run(test())


def test_all_who_ask_of_a_member_at_once_are_told(place: Place) -> None:
    async def test() -> None:
        member = member_of("shop-b")
        asking = [
            asyncio.create_task(place.follower.vouched(member, seconds)) for seconds in (0.01, 30)
        ]
        asking.append(asyncio.create_task(place.follower.vouched(member, 30)))
        with pytest.raises(NotVouched):
            await asking[0]
        assert all(len(ear.asked(PullMember)) == 1 for ear in place.ears)
        said = place.source.reply(place.record, PullMember(member))
        assert isinstance(said, MemberRecord)
        await place.answer(place.ears[0], said)
        place.follower._poll()  # again to who said nothing: it may have had too much to do
        assert [len(ear.asked(PullMember)) for ear in place.ears] == [0, 1, 1, 1]
        await place.answer(place.ears[1], said)
        assert [await each for each in asking[1:]] == [said, said]
        assert await place.follower.vouched(member, 0.01) == said

    run(test())


def test_of_too_many_members_no_more_are_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.light.follow.MAX_INQUIRIES", 1)

    async def test() -> None:
        first, second = (member_of(label) for label in ("shop-a", "shop-b"))
        asking = asyncio.create_task(place.follower.vouched(first, 30))
        await asyncio.sleep(0)
        with pytest.raises(NotVouched):
            await place.follower.vouched(second, 30)
        said = place.source.reply(place.record, PullMember(first))
        for ear in place.ears:
            await place.answer(ear, said)
        assert await asking == said
        with pytest.raises(NotVouched):  # in the place of what was answered
            await place.follower.vouched(second, 0)
        assert not place.follower._inquiries

    run(test())


def test_what_comes_in_parts_ends_where_it_was_asked_to(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.releases.MOST_READ", 1)

    async def test() -> None:
        ear = place.ears[0]
        await place.tell_newest(ear)
        assert len(ear.asked(PullHistory)) == 1
        await place.answer(ear, place.source.told(place.record))
        (part,) = ear.asked(PullHistory)
        assert 0 < part.until < place.source.chain.height
        await place.answer(ear, place.source.told(place.record, part.until))
        assert place.record.height == part.until
        assert not place.passed_over()

    run(test())


def test_none_but_validators_are_believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: 0)  # what is sent is in time

    async def test() -> None:
        member, strangers = member_of("shop-b"), [bytes((n,)) * 32 for n in range(4)]
        asking = asyncio.create_task(place.follower.vouched(member, 30))
        await asyncio.sleep(0)
        said = place.source.reply(place.record, PullMember(member))
        assert isinstance(said, MemberRecord)
        sent = parse(place.source.made.transaction(OPTICIAN, ClaimAccept(bytes(32), None)).raw)
        place.outbox._waiting[sent.id] = sent
        for key in strangers:
            place.follower._take_member(key, MemberRecord(member, ()))
            place.outbox.doubted(key, [Refusal(sent.id, b"no")])
        for ear in place.ears:
            await place.answer(ear, said)
        assert await asking == said
        assert place.outbox.refused(sent.id) is None

    run(test())


def test_whatever_a_peer_sends_it_pays_for(place: Place) -> None:
    async def test() -> None:
        ear = place.ears[0]
        spent = place.follower._budgets.of(ear.peer.node_key)
        before = spent.left
        for channel in (Channel.CONSENSUS, Channel.TRANSACTIONS):
            await place.follower.received(cast("Link", ear), channel, bytes(1 << 20))
        assert spent.left < before
        await place.answer(ear, NewestHeader(None))
        assert place.record.height == 0

    run(test())


def test_what_is_too_late_may_be_in_a_block_that_is_not_here(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peers that are ahead say that it is too late; whether it came in time the entries say."""
    made = place.source.made
    sent = parse(made.transaction(OPTICIAN, ClaimAccept(bytes(32), None)).raw)
    end = sent.body.valid_until
    place.outbox._waiting[sent.id] = sent
    refusal = Refusal(sent.id, b"it was valid until then")
    for time, is_over in ((end + 1, False), (end, True)):
        monkeypatch.setattr(clock, "now_ms", lambda time=time: time * 1000)
        for ear in place.ears:
            place.outbox.doubted(ear.peer.node_key, [refusal])
        assert (place.outbox.refused(sent.id) is not None) == is_over


def test_a_clock_that_is_behind_makes_nothing_new(place: Place) -> None:
    place.source.follow(place.record)
    made = place.record.tip.header.time
    for now, said in (
        (made - CLOCK_S, ""),
        (made - CLOCK_S - 1, f"the clock here is {CLOCK_S + 1} s behind the newest block"),
        (made + 10, ""),
        (made + 11, "the newest block is 11 s old"),
    ):
        staleness = Staleness(place.record, place.follower, 10, partial(int, now * 1000))
        assert staleness.reason()[: len(said) or None] == said
