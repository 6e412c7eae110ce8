"""Post between nodes, frame by frame: what is handed to whom, and what a hostile peer gets."""

import asyncio
import contextlib
import io
import sqlite3
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import msgspec
import pytest

from ledger import envelope, mailbox
from ledger.encoding import encode
from ledger.envelope import Envelope
from ledger.errors import LedgerError, Mismatch
from ledger.keys import SigningKey
from ledger.mailbox import Mailbox
from node import clock
from node.link import Link, Peer
from node.log import Level, Log
from node.post import carrier as carriers
from node.post import messages
from node.post.carrier import Carrier
from node.post.errors import NoRoom, NoSuchRecipient, NotASender
from node.post.messages import Answer, Mailboxes, Message, Parcels, Reached, Taken
from node.post.office import PostOffice
from node.post.routes import Routes
from node.post.shelf import Shelf
from node.post.store import PostStore, State
from tests.chainmaker import some_bytes
from tests.node.cluster import run, until

CHAIN: Final = some_bytes("chain")
NOW: Final = clock.now_ms() // 1000
RELAY, OTHER_RELAY, OURS, THEIRS = (some_bytes("node", name) for name in range(4))


def id_of(name: str) -> bytes:
    return some_bytes("member", name)[:16]


def signer_of(name: str) -> SigningKey:
    return SigningKey(some_bytes("seed", name))


def made(sender: str, recipient: str, number: object, **changed: object) -> Envelope:
    body = envelope.Unsigned(
        1, CHAIN, id_of(sender), some_bytes("key", sender)[:8], id_of(recipient),
        some_bytes("nonce", number)[:16], NOW + 86_400, some_bytes(number),
    )  # fmt: skip
    return envelope.sign(msgspec.structs.replace(body, **changed), signer_of(sender))


def box(member: str, node: bytes, issued: int = NOW, *, by: str = "") -> Mailbox:
    body = mailbox.Unsigned(
        1, CHAIN, id_of(member), some_bytes("key", member)[:8], node, issued
    )  # fmt: skip
    return mailbox.sign(body, signer_of(by or member))


class Members:
    """Three members, of whom the payer has a node."""

    chain_id = CHAIN
    names = ("shop", "payer", "other")

    async def signing_key(self, sender: bytes, key_id: bytes) -> bytes:
        for name in self.names:
            if (sender, key_id) == (id_of(name), some_bytes("key", name)[:8]):
                return signer_of(name).public
        raise NotASender(cast("NotASender", "no such key"))  # type: ignore[arg-type]

    async def require_recipient(self, member: bytes) -> None:
        if member not in map(id_of, self.names):
            raise NoSuchRecipient(member)

    def owner_of(self, key_id: bytes) -> bytes | None:
        del key_id
        return None

    def is_signed(self, member: bytes, key_id: bytes) -> bool:
        return member in map(id_of, self.names) and key_id != bytes(8)

    def nodes_of(self, member: bytes) -> list[bytes]:
        return [THEIRS] if member == id_of("payer") else []


class FakeLink:
    """A link that keeps what is sent on it."""

    def __init__(self, key: bytes, *, is_light: bool = False) -> None:
        self.peer, self.is_light = Peer(key.hex()[:4], key, None), is_light
        self.sent: list[Message] = []

    def send_post(self, payload: bytes) -> None:
        self.sent.append(messages.parse(payload))

    def parcels(self) -> list[bytes]:
        return [raw for each in self.sent if isinstance(each, Parcels) for raw in each.raws]

    def answers(self) -> dict[bytes, str]:
        taken = [each for each in self.sent if isinstance(each, Taken)]
        return {a.id: a.reason.decode() for each in taken for a in each.answers}


@dataclass
class Around:
    """The nodes around ours."""

    links: dict[bytes, FakeLink] = field(default_factory=dict)
    punished: list[tuple[bytes, str]] = field(default_factory=list)

    def link(self, node_key: bytes) -> Link | None:
        return cast("Link | None", self.links.get(node_key))

    def linked(self) -> list[Link]:
        return cast("list[Link]", list(self.links.values()))

    def is_relay(self, node_key: bytes) -> bool:
        return node_key in {RELAY, OTHER_RELAY}

    def punish(self, node_key: bytes, fault: str) -> None:
        self.punished.append((node_key, fault))


@dataclass
class Desk:
    """Our node's post."""

    around: Around
    store: PostStore
    routes: Routes
    carrier: Carrier
    office: PostOffice
    relays: bool = False

    def joins(self, key: bytes, *, is_light: bool = False) -> FakeLink:
        link = self.around.links[key] = FakeLink(key, is_light=is_light)
        self.carrier.linked(cast("Link", link))
        return link

    def leaves(self, key: bytes) -> None:
        self.carrier.unlinked(cast("Link", self.around.links.pop(key)))

    def says(self, link: FakeLink, message: Message | bytes) -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        self.carrier.received(cast("Link", link), payload)

    async def quiet(self) -> None:
        """Wait until all that peers said is dealt with."""
        await until(lambda: not self.carrier._in, "a peer's message is not dealt with")


@contextlib.asynccontextmanager
async def desk(folder: Path, *, relays: bool = False) -> AsyncIterator[Desk]:
    around, members = Around(), Members()
    store = PostStore(folder, CHAIN, NOW)
    with contextlib.closing(store), ThreadPoolExecutor(1) as disk:
        shelf = Shelf(store, disk, lambda: "")
        routes = Routes(shelf, members, around, own_key=OURS, relays=lambda: relays)
        carrier = Carrier(shelf, routes, members, around, Log(Level.DEBUG, io.StringIO()))
        office = PostOffice(shelf, routes, members, carrier)
        running = asyncio.create_task(carrier.run())
        await asyncio.sleep(0)  # it has its tasks
        try:
            yield Desk(around, store, routes, carrier, office)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def parcels(*sent: Envelope) -> Parcels:
    return Parcels(tuple(each.raw for each in sent))


def taken(*sent: Envelope, reason: bytes = b"") -> Taken:
    return Taken(tuple(Answer(each.id, reason) for each in sent))


def test_post_goes_to_the_recipients_own_node_and_to_nobody_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            stranger, relay = at.joins(some_bytes("a stranger")), at.joins(RELAY)
            sent = made("shop", "payer", 1)
            await at.office.post(sent)
            theirs = at.joins(THEIRS)
            await until(lambda: theirs.parcels() == [sent.raw], "it is not handed over")
            at.says(theirs, taken(sent))
            await at.quiet()
            found = await at.office.look_up(sent.id)
            assert found is not None
            assert found.state is State.HANDED_ON
            assert stranger.parcels() == relay.parcels() == []
            assert at.around.punished == []

    run(test())


def test_it_goes_where_the_recipient_signed_and_not_where_a_peer_says(tmp_path: Path) -> None:
    async def test() -> None:
        liar, home = some_bytes("a liar"), some_bytes("home")
        async with desk(tmp_path, relays=True) as at:
            link, right, theirs = at.joins(liar), at.joins(home), at.joins(THEIRS)
            at.says(link, Mailboxes((box("payer", liar, by="shop").raw,)))
            await at.quiet()
            ((who, why),) = at.around.punished
            assert who == liar
            assert "signature of mailbox" in why
            at.says(link, Mailboxes((box("payer", home).raw,)))  # anybody may pass a true one on
            await at.quiet()
            sent = made("shop", "payer", 1)
            await at.office.post(sent)
            await until(lambda: right.parcels() == [sent.raw], "it is not handed over")
            assert link.parcels() == theirs.parcels() == []
            told = [each for each in theirs.sent if isinstance(each, Mailboxes)]
            assert told == [Mailboxes((box("payer", home).raw,))]
            assert not any(isinstance(each, Mailboxes) for each in link.sent)  # it has it

            at.says(link, Mailboxes((box("payer", liar, NOW - 1).raw,)))  # of before
            at.says(link, Mailboxes((box("payer", liar, NOW + 3600).raw,)))  # of tomorrow
            await at.quiet()
            assert at.routes.nodes_of(id_of("payer")) == [home]
            at.says(link, Mailboxes((box("payer", OURS, NOW + 1).raw,)))
            await at.quiet()
            assert at.routes.hop(id_of("payer")) is None  # it is brought here

    run(test())


def test_a_node_that_is_no_relay_gives_what_it_cannot_bring_to_validators_by_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "PATIENCE_S", -1.0)  # who does not answer is given up at once
    monkeypatch.setattr(carriers, "TICK_S", 0.01)
    monkeypatch.setattr("node.post.store.FIRST_RETRY_S", 0)

    async def test() -> None:
        async with desk(tmp_path) as at:
            first, second = at.joins(RELAY), at.joins(OTHER_RELAY)
            sent = made("shop", "other", 1)
            await at.office.post(sent)
            await until(
                lambda: bool(first.parcels()) and bool(second.parcels()), "one is never given it"
            )
            found = await at.office.look_up(sent.id)
            assert found is not None
            assert (found.state, "no answer" in found.trouble) == (State.WAITING, True)

    run(test())


def test_between_validators_what_one_brought_goes_to_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            giver, other = at.joins(RELAY), at.joins(OTHER_RELAY)
            relayed, own = made("shop", "payer", 1), made("shop", "payer", 2)
            at.says(giver, parcels(relayed))
            await at.quiet()
            assert giver.answers() == {relayed.id: ""}
            await at.office.post(own)
            stranger = at.joins(some_bytes("a stranger"))
            at.says(stranger, Reached((THEIRS,)))
            assert at.routes.hop(id_of("payer")) is None  # no validator says so
            at.says(other, Reached((THEIRS,)))
            await until(lambda: other.parcels() == [own.raw], "it is not relayed")
            at.says(other, taken(own))
            await at.quiet()
            assert at.store.waiting == 1
            theirs = at.joins(THEIRS)
            await until(lambda: theirs.parcels() == [relayed.raw], "it is not handed over")
            assert other.parcels() == [own.raw]
            assert stranger.parcels() == []
            assert Reached(tuple(sorted((THEIRS, some_bytes("a stranger"))))) in giver.sent
            at.leaves(OTHER_RELAY)
            at.leaves(THEIRS)
            assert at.routes.hop(id_of("payer")) is None

    run(test())


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (made("shop", "payer", 1, chain_id=bytes(32)).raw, "chain id"),
        (made("shop", "payer", 1).raw[:-1] + b"\x00", "signature of envelope"),
        (b"\x92", "malformed envelope"),
    ],
)
def test_who_hands_over_what_its_sender_did_not_sign_is_named(
    tmp_path: Path, raw: bytes, why: str
) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            link = at.joins(THEIRS)
            at.says(link, Parcels((made("shop", "payer", "good").raw, raw)))
            await at.quiet()
            ((who, fault),) = at.around.punished
            assert who == THEIRS
            assert why in fault
            assert (at.store.waiting, link.answers()) == (0, {})

    run(test())


def test_of_another_chain_nothing_is_taken_though_nobody_can_tell_who_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot_tell(_: Members, sender: bytes, key_id: bytes) -> None:
        del sender, key_id

    monkeypatch.setattr(Members, "signing_key", cannot_tell)

    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            link, good = at.joins(THEIRS), made("shop", "payer", 1)
            at.says(link, parcels(good))
            await at.quiet()
            assert link.answers() == {good.id: ""}  # the recipient looks at the chain
            at.says(link, parcels(made("shop", "payer", 2, chain_id=bytes(32))))
            await at.quiet()
            ((_, fault),) = at.around.punished
            assert "chain id" in fault

    run(test())


def test_what_may_be_true_elsewhere_is_refused_and_nobody_named(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as at:
            at.says(at.joins(RELAY), Mailboxes((box("other", OURS).raw,)))
            await at.quiet()
            link = at.around.links[RELAY]
            good = made("shop", "other", "good")
            refused = {
                made("shop", "other", 1, expires=NOW - 1): "has expired",
                made("shop", "other", 2, expires=NOW + 92 * 86_400): "more than 90 days",
                made("shop", "other", 3, key_id=bytes(8)): "may not write",
                made("shop", "payer", 4): "is not brought here",
            }
            at.says(link, parcels(good, *refused))
            await at.quiet()
            answers = link.answers()
            assert answers.pop(good.id) == ""
            assert all(refused[each] in answers.pop(each.id) for each in list(refused))
            assert answers == {}
            assert (at.around.punished, at.store.waiting) == ([], 1)
            assert at.routes.hop(id_of("other")) is None  # it is brought here, and not on
            assert at.routes.hop(id_of("payer")) is not None

    run(test())


def test_a_flood_costs_its_sender_and_waits_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "BURST_S", 10 * carriers.PARCEL_S)
    monkeypatch.setattr(carriers, "RATE", 1e-9)

    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            flooder, honest = at.joins(RELAY), at.joins(OTHER_RELAY)
            first = [made("shop", "payer", n) for n in range(20)]  # makes a debt
            more = [made("shop", "payer", n) for n in range(100, 109)]
            at.says(flooder, parcels(*first))
            at.says(flooder, parcels(*more))  # before the answer: dropped, whatever it holds
            assert len(at.carrier._in[RELAY].queued) == 1
            await at.quiet()
            assert flooder.answers() == {each.id: "" for each in first}
            at.says(flooder, parcels(*more))  # this waits
            news = [Mailboxes((box("shop", THEIRS, NOW - n).raw,)) for n in range(100)]
            for each in news:
                at.says(flooder, each)
            assert len(at.carrier._in[RELAY].queued) <= carriers.MAX_QUEUED
            at.says(honest, parcels(more[0]))
            await until(lambda: honest.answers() == {more[0].id: ""}, "another is made to wait")
            assert flooder.answers().keys() == {each.id for each in first}
            assert at.around.punished == []

    run(test())


def test_an_answer_that_nobody_asked_for_changes_nothing_and_a_false_one_ends_the_link(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            link, sent, other = at.joins(THEIRS), made("shop", "payer", 1), made("shop", "other", 2)
            await at.office.post(other)
            at.says(link, taken(other))
            await at.office.post(sent)
            await until(lambda: bool(link.parcels()), "it is not handed over")
            for false in (taken(other), taken(sent, other), taken(sent, sent)):
                with pytest.raises(Mismatch, match="one for each"):
                    at.says(link, false)
            for junk in (b"", b"\x93", encode(Taken(()))):
                with pytest.raises(LedgerError):
                    at.says(link, junk)
            assert at.store.waiting == 2
            at.says(link, taken(sent, reason=b"it is full"))
            at.says(link, taken(sent))  # too late
            await at.quiet()
            found = await at.office.look_up(sent.id)
            assert found is not None
            assert (found.state, found.trouble) == (State.WAITING, "it is full")

    run(test())


def test_where_the_disk_is_full_nothing_is_answered_for_and_nothing_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            link, sent = at.joins(RELAY), made("shop", "other", 1, content=bytes(60_000))
            mine = made("shop", "payer", 2)
            await at.office.post(mine)
            pages = at.store._database.execute("PRAGMA page_count").fetchone()[0]
            at.store._database.execute(f"PRAGMA max_page_count={pages}")
            at.says(link, parcels(sent))
            await at.quiet()
            assert "cannot be written" in link.answers()[sent.id]
            at.store._database.execute("PRAGMA max_page_count=100000")
            link.sent.clear()
            at.says(link, parcels(sent))
            await at.quiet()
            assert link.answers() == {sent.id: ""}
            assert at.store.waiting == 2

    run(test())


def test_a_mailbox_that_was_not_written_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            placed = box("payer", OURS)
            with monkeypatch.context() as full:
                full.setattr(at.store, "_database", sqlite3.connect(":memory:"))
                for _ in range(2):
                    with pytest.raises(NoRoom):
                        await at.office.place(placed)
                at.store._database.close()
            await at.office.place(placed)
            assert at.store.mailboxes() == [placed.raw]

    run(test())


def test_what_waits_for_the_disk_is_written_together(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            shelf, statements, goes_on = at.office._shelf, list[str](), threading.Event()
            old, new = made("shop", "payer", 1), [made("shop", "payer", n) for n in range(2, 5)]
            await at.office.post(old)
            at.store._database.set_trace_callback(statements.append)
            busy = asyncio.create_task(shelf.do(goes_on.wait))
            waiting = [asyncio.create_task(shelf.keep([(each, False)])) for each in new]
            gone = asyncio.create_task(at.office.collected([old.id], id_of("payer")))
            await until(lambda: len(shelf._changes) == 4, "they do not wait")
            goes_on.set()
            assert await busy
            assert await asyncio.gather(*waiting) == [[State.WAITING]] * 3
            assert await gone == []
            assert statements.count("COMMIT") == 1
            assert at.store.waiting == 3

            def fails() -> None:
                at.store._database.execute("INSERT INTO nothing VALUES (1)")

            found = await asyncio.gather(
                shelf.keep([(made("shop", "payer", 9), False)]), shelf.write(fails),
                return_exceptions=True,
            )  # fmt: skip
            assert [type(each) for each in found] == [NoRoom, NoRoom]  # nobody is told that it is
            assert at.store.waiting == 3
            at.store._database.set_trace_callback(None)

    run(test())


def test_a_link_that_goes_takes_no_post_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            sent = made("shop", "payer", 1)
            await at.office.post(sent)
            seen: list[FakeLink] = []
            for _ in range(4):
                seen.append(at.joins(THEIRS))
                await until(lambda: bool(seen[-1].parcels()), "it is not handed over")
                if len(seen) < 4:
                    at.leaves(THEIRS)
            at.says(seen[-1], taken(sent))
            await at.quiet()
            assert at.store.waiting == 0

    run(test())


def test_a_light_node_is_told_no_mailboxes(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path, relays=True) as at:
            await at.office.place(box("shop", OURS))
            light, whole = at.joins(THEIRS, is_light=True), at.joins(RELAY)
            assert not any(isinstance(each, Mailboxes) for each in light.sent)
            assert Mailboxes((box("shop", OURS).raw,)) in whole.sent

    run(test())
