"""Joining by a snapshot over real links: from peers that are honest, and from such as are not."""

import contextlib
import shutil
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import google_crc32c
import msgspec
import pytest

from contracts.execute import DirectSignatures
from ledger import snapshot as format_
from ledger.decided import Decided
from ledger.encoding import decode, encode
from ledger.keys import Role
from ledger.receipt import Change
from ledger.snapshot import Manifest, pack
from node import answers as module
from node import joining, peers, snapshots
from node.answers import Answers
from node.config import Sync
from node.link import Channel, Link
from node.rebuild import Rebuild
from node.sync import Chunk, Offer
from tests.chainmaker import key_of
from tests.node.cluster import LABELS, Cluster, Node, prescription, run, until
from tests.node.test_catchup_network import grow

BLOCKS = 24  # of the chain
NEWEST, OLDER = 20, 16  # blocks of the snapshots
CHUNK_BYTES = 512  # so that there are some
A, B, C, HONEST = LABELS
DOCUMENTS = ("manifest", "decided")

Reply = Callable[..., Awaitable[None]]


def keep_chain(cluster: Cluster, *heights: int) -> None:
    """Give every validator a chain, and snapshots at these heights of it."""
    first = cluster[A]
    chain = first.assemble().chain
    for height in (*heights, BLOCKS):
        grow(first, height - chain.height)
        if height != BLOCKS:
            take_snapshot(first)
    first.parts = None
    first._closing.close()
    for label in LABELS[1:]:
        for part in ("segments", "state", "snapshots"):
            shutil.copytree(first.data / part, cluster[label].data / part)


def take_snapshot(node: Node) -> Path:
    with contextlib.closing(node.running.chain.view()) as view:
        return snapshots.create(view, node.data, node.running.chain.genesis)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Validators that have a chain and snapshots, and do not run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_, "CHUNK_BYTES", CHUNK_BYTES)
        patch.setattr(joining, "HASTE_S", 30.0)  # a busy machine makes nobody slow
        cluster = Cluster(tmp_path_factory.mktemp("full"))
        keep_chain(cluster, OLDER, NEWEST)
        cluster.observer.sync = Sync.SNAPSHOT
        yield cluster


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for who does not come."""
    monkeypatch.setattr(joining, "GATHER_S", 1.0)
    monkeypatch.setattr(joining, "PATIENCE_S", 3.0)
    monkeypatch.setattr(joining, "HASTE_S", 1.0)
    monkeypatch.setattr(peers, "AVOIDED_S", 0.5)


@asynccontextmanager
async def arriving(full: Cluster, bend: Callable[[], None] = lambda: None) -> AsyncIterator[Node]:
    """The validators, bent, and an observer without data, which begins."""
    late = full.observer
    shutil.rmtree(late.data, ignore_errors=True)
    late.log.truncate(0)
    late.log.seek(0)
    try:
        for label in LABELS:
            full[label].start()
        bend()
        late.start()
        yield late
    finally:
        for node in full.up:
            await node.stop()


def answers(node: Node) -> Answers:
    return node.running.replica.exchange.answers


def bent(node: Node, kind: str, reply: Reply) -> None:
    """Let a node answer in its own way when it is asked for an "offer" or a "chunk"."""
    setattr(answers(node), f"reply_{kind}", partial(reply, getattr(answers(node), f"reply_{kind}")))


def offering(node: Node, manifest: Manifest, decided: Decided) -> None:
    """Let a node offer this, whatever it has."""

    async def offer(_: Reply, link: Link, most: int) -> None:
        link.send_reply(encode(Offer(most, encode(manifest), encode(decided))))

    bent(node, "offer", offer)


def giving(node: Node, content: Callable[[int], bytes]) -> None:
    """Let a node give this for each chunk."""

    async def give(_: Reply, link: Link, height: int, number: int) -> None:
        link.send_reply(encode(Chunk(height, number, content(number))))

    bent(node, "chunk", give)


def documents(node: Node, height: int) -> tuple[Manifest, Decided]:
    """Return what a node knows of its snapshot of a height."""
    folder = snapshots.folder_of(node.data, height)
    manifest = decode((folder / "manifest").read_bytes(), Manifest)
    return manifest, decode((folder / "decided").read_bytes(), Decided)


def told(node: Node, event: str) -> list[dict[str, object]]:
    return [each for each in node.events() if each["event"] == event]


def avoided(node: Node) -> dict[str, str]:
    """Return whom a node avoided, and all the reasons."""
    found: dict[str, str] = {}
    for each in told(node, "peer avoided in joining"):
        peer = str(each["peer"])
        found[peer] = f"{found.get(peer, '')} {each['reason']}"
    return found


def liars(node: Node) -> set[str]:
    """Return whom a node found to have sent what is false."""
    return {peer for peer, reasons in avoided(node).items() if "is false" in reasons}


def require_joined(full: Cluster, late: Node, height: int = NEWEST) -> None:
    """Fail unless a node has come to the chain of the others by the snapshot of a height."""
    chain = late.running.chain
    assert chain.header == full[HONEST].running.chain.header
    assert chain.first_height == height + 1
    assert [each["height"] for each in told(late, "joined by snapshot")] == [height]


def test_an_observer_joins_and_follows(full: Cluster) -> None:
    async def join() -> None:
        asked: list[tuple[str, int]] = []

        async def count(label: str, honest: Reply, link: Link, height: int, number: int) -> None:
            asked.append((label, number))
            await honest(link, height, number)

        def bend() -> None:
            for label in LABELS:
                bent(full[label], "chunk", partial(count, label))

        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            manifest, _ = documents(full[A], NEWEST)
            assert sorted(number for _, number in asked) == list(range(len(manifest.chunks)))
            assert len({label for label, _ in asked}) > 1  # of several at once
            assert avoided(late) == {}
            assert late.running.replica.exchange.joining is None
            assert snapshots.heights(late.data) == [NEWEST]  # which it can offer to others
            mine = snapshots.folder_of(late.data, NEWEST)
            theirs = snapshots.folder_of(full[A].data, NEWEST)
            assert {each.name for each in mine.iterdir()} == {e.name for e in theirs.iterdir()}
            assert not told(late, "sync.mode changes nothing: the node has data")
            await late.stop()
            with Rebuild(late.data, full.genesis.genesis, DirectSignatures()) as stopped:
                verdict = stopped.verify()
            assert verdict.is_sound
            assert verdict.snapshot == NEWEST

    run(join())


def test_a_node_that_has_all_blocks_says_that_it_begins_with_no_snapshot(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full[A], "sync", Sync.SNAPSHOT)

    async def begin() -> None:
        full[A].start()
        await full[A].stop()

    run(begin())
    (line,) = told(full[A], "sync.mode changes nothing: the node has data")
    assert line["height"] == BLOCKS


def test_what_is_here_is_not_fetched_again(full: Cluster) -> None:
    """The node ends in the middle; one chunk that it had the disk damages meanwhile."""
    total = len(documents(full[A], NEWEST)[0].chunks)
    asked: list[int] = []
    enough = 3

    async def some(honest: Reply, link: Link, height: int, number: int) -> None:
        if number < enough:
            await honest(link, height, number)

    async def count(honest: Reply, link: Link, height: int, number: int) -> None:
        asked.append(number)
        await honest(link, height, number)

    async def join() -> None:
        async with arriving(full, lambda: bend(some)) as late:
            part = snapshots.folder_of(late.data, NEWEST).with_suffix(".part")

            def progress() -> tuple[int | None, int, int]:
                joining = late.running.replica.exchange.joining
                assert joining is not None
                told = joining.progress()
                return told.height, told.chunks, told.of

            await until(lambda: progress() == (NEWEST, enough, total), "it is given nothing")
            reasons = late.running.replica.not_ready()
            wanted = f"fetches a snapshot, of block {NEWEST}: {enough} of {total} chunks are here"
            assert f"joins by a snapshot: {wanted}" in reasons
            await late.stop()
            (part / "000001.chunk").write_bytes(b"torn")
            (part / ".000007.chunk.1234").write_bytes(b"as a crash leaves it")
            (part / "decided").write_bytes(b"torn too")
            bend(count)
            late.start()
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            assert sorted(asked) == [1, *range(enough, total)]

    def bend(reply: Reply) -> None:
        for label in LABELS:
            answers(full[label]).__dict__.pop("reply_chunk", None)
            bent(full[label], "chunk", reply)

    run(join())


@pytest.mark.usefixtures("hasty")
def test_false_chunks_and_none_are_named_and_stop_nobody(full: Cluster) -> None:
    stream = zlib.compress(bytes(64 << 20), 9)
    checksum: int = google_crc32c.value(stream)
    bomb = checksum.to_bytes(4) + stream

    def bend() -> None:
        async def say_nothing(*_: object) -> None: ...

        after(full, HONEST, lambda: {A, B} <= liars(full.observer) and C in avoided(full.observer))
        giving(full[A], lambda number: pack(((b"key", number.to_bytes(2)),))[1])
        giving(full[B], lambda _: bomb)
        bent(full[C], "chunk", say_nothing)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            found = avoided(late)
            assert "is false: chunk" in found[A]
            assert "SHA-256" in found[A]
            assert "not one zlib stream of at most 512 bytes" in found[B]
            assert "no answer within" in found[C]
            assert liars(late) == {A, B}
            assert {each["peer"] for each in told(late, "peer penalised")} >= {A, B}

    run(join())


@pytest.mark.usefixtures("hasty")
def test_who_has_no_chunk_of_what_it_offers_is_passed_over_and_is_no_liar(full: Cluster) -> None:
    def bend() -> None:
        for label in (A, B, C):
            giving(full[label], lambda _: b"")
        after(full, HONEST, lambda: {A, B, C} <= avoided(full.observer).keys())

    async def join() -> None:
        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            assert "it has no chunk 0 of what it offered" in "".join(avoided(late).values())
            assert liars(late) == set()

    run(join())


def test_an_offer_that_fits_in_no_frame_is_not_made(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one is, if it is shorter; and what is not here is told at once."""
    sizes = [
        sum((snapshots.folder_of(full[A].data, n) / name).stat().st_size for name in DOCUMENTS)
        for n in (OLDER, NEWEST)
    ]
    replies: list[bytes] = []
    node = full[A]
    node.assemble()
    try:
        for limit in (sizes[1], sizes[0], 100):
            monkeypatch.setattr(module, "MAX_OFFER_BYTES", limit)
            replies.append(answers(node)._documents(NEWEST)[0])
        assert answers(node)._documents(OLDER - 1) == (b"", b"")
    finally:
        node.parts = None
        node._closing.close()
    newest, older = (encode(documents(node, n)[0]) for n in (NEWEST, OLDER))
    assert sizes[0] < sizes[1]
    assert replies == [newest, older, b""]


@pytest.mark.usefixtures("hasty")
def test_offers_that_no_quorum_certified_are_named(full: Cluster, tmp_path: Path) -> None:
    """One whose certificate one validator signed alone, one of another chain, and a stale one."""
    other = Cluster(tmp_path)
    keep_chain(other, OLDER, NEWEST)

    def bend() -> None:
        manifest, decided = documents(full[A], NEWEST)
        first = decided.certificate.seals[0]
        seals = tuple(
            msgspec.structs.replace(each, signature=first.signature)
            for each in decided.certificate.seals
        )
        certificate = msgspec.structs.replace(decided.certificate, seals=seals)
        offering(full[A], manifest, msgspec.structs.replace(decided, certificate=certificate))
        offering(full[B], *documents(other[A], NEWEST))
        offering(full[C], *documents(full[C], OLDER))
        after(full, HONEST, lambda: {A, B} <= liars(full.observer))
        after(full, C, lambda: is_anything_offered(full.observer))

    async def join() -> None:
        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            found = avoided(late)
            assert "its snapshot is false: signature of validator 1 does not verify" in found[A]
            assert "its snapshot is false: chain id of the header" in found[B]
            assert liars(late) == {A, B}  # to be behind is no lie

    run(join())


def after(full: Cluster, label: str, condition: Callable[[], bool]) -> None:
    """Let a node say what it offers when a condition holds, not before."""

    async def wait(answer: Reply, link: Link, most: int) -> None:
        await until(condition, f"{label} has nothing to wait for")
        await answer(link, most)

    bent(full[label], "offer", wait)


def is_anything_offered(node: Node) -> bool:
    """Return whether a joining node knows of an offer that counts."""
    exchange = node.running.replica.exchange
    return exchange.joining is None or bool(exchange.joining._offers._known)


def offering_junk(node: Node) -> None:
    """Let a node offer a snapshot whose header is certified, and whose chunks are made up."""
    taken = take_snapshot(node)
    manifest, decided = documents(node, BLOCKS)
    shutil.rmtree(taken)
    packed = [pack(((bytes((number,)), bytes(400)),)) for number in range(3)]
    hashes = tuple(hash_ for hash_, _ in packed)
    offering(node, msgspec.structs.replace(manifest, chunks=hashes, pairs=3), decided)
    giving(node, lambda number: packed[number][1])


async def nothing(_: Reply, link: Link, most: int) -> None:
    """Answer that there is no snapshot."""
    link.send_reply(encode(Offer(most, b"", b"")))


def test_a_manifest_that_is_found_false_at_the_end_is_given_up(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of a newer block, and what it says of the state is made up."""

    def bend() -> None:
        offering_junk(full[A])
        for label in (B, C):
            bent(full[label], "offer", nothing)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await until(lambda: A in liars(late), "it is not named")
            monkeypatch.setattr(joining, "GATHER_S", 0.0)  # it need not come back
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            found = avoided(late)
            assert f"its snapshot of block {BLOCKS} is false" in found[A]
            assert "state digest" in found[A]
            assert liars(late) == {A}
            assert snapshots.heights(late.data) == [NEWEST]
            assert list((late.data / "snapshots").glob("*.part")) == []

    run(join())


def test_what_more_validators_offer_than_may_lie_comes_before_what_is_newer(full: Cluster) -> None:
    """And one of those that offer it is gone whenever it is asked for a chunk."""

    def bend() -> None:
        async def vanish(_: Reply, link: Link, *__: int) -> None:
            link.close()

        offering_junk(full[A])
        bent(full[B], "offer", nothing)
        bent(full[C], "chunk", vanish)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            assert avoided(late) == {}

    run(join())


def test_who_adds_to_the_changes_of_validators_is_named_and_no_chunk_is_fetched_again(
    full: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sends verifies from the genesis on; only the state knows that nobody changed."""
    asked: list[int] = []

    def bend() -> None:
        async def count(honest: Reply, link: Link, height: int, number: int) -> None:
            asked.append(number)
            await honest(link, height, number)

        manifest, decided = documents(full[A], NEWEST)
        chain = full[A].running.chain
        early = chain.decided(5)
        change = Change(early.header, early.certificate, chain.state.validators)
        offering(full[A], manifest, msgspec.structs.replace(decided, changes=(change,)))
        after(full, A, lambda: is_anything_offered(full.observer))  # so that it is taken from it
        for label in (B, C):
            bent(full[label], "offer", nothing)
        for label in LABELS:
            bent(full[label], "chunk", count)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await until(lambda: A in liars(late), "it is not named")
            monkeypatch.setattr(joining, "GATHER_S", 0.0)  # it need not come back
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            found = avoided(late)
            assert liars(late) == {A}
            assert "change of validators" in found[A]
            assert len(asked) == len(set(asked))

    run(join())


def test_it_waits_for_room_on_the_disk(full: Cluster) -> None:
    short = "no room"

    async def join() -> None:
        async with arriving(full) as late:
            joining = late.running.replica.exchange.joining
            assert joining is not None
            joining._shortage = lambda: short
            await until(lambda: late.said("no room for the snapshot"), "it is not said")
            assert "waits for room: no room" in joining.words
            assert joining.progress().chunks == 0
            joining._shortage = str
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)

    run(join())


@pytest.mark.usefixtures("hasty")
def test_where_all_lie_nothing_is_installed_until_one_repents(full: Cluster) -> None:
    kept: dict[str, Reply] = {}

    def bend() -> None:
        manifest, decided = documents(full[A], NEWEST)
        few = msgspec.structs.replace(manifest, heads=manifest.heads[1:])
        for label in LABELS:
            kept[label] = answers(full[label]).reply_offer
            offering(full[label], few, decided)

        async def oversized(_: Reply, link: Link, most: int) -> None:
            link._write(Channel.REPLY, encode(Offer(most, bytes(9 << 20), b"")))

        bent(full[B], "offer", oversized)
        mixed = msgspec.structs.replace(manifest, peaks=manifest.peaks[::-1])
        offering(full[C], mixed, decided)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await until(lambda: late.said("no peer offers a true snapshot"), "it is not said")
            (said, *_) = told(late, "no peer offers a true snapshot")
            assert said["level"] == "error"
            assert 'sync.mode = "blocks"' in str(said["hint"])
            assert late.height == 0
            assert not (late.data / "joined").exists()
            assert snapshots.heights(late.data) == []
            reasons = late.running.replica.not_ready()
            assert any(each.startswith("joins by a snapshot") for each in reasons)
            answers(full[HONEST]).reply_offer = kept[HONEST]  # type: ignore[method-assign, assignment]
            await full.until_height(BLOCKS, [late])
            require_joined(full, late)
            found = avoided(late)
            assert "its snapshot is false: heads root" in found[A]
            assert "its snapshot is false: log root" in found[C]
            dropped = told(late, "peer dropped")
            assert any(each["peer"] == B and "at most" in str(each["error"]) for each in dropped)

    run(join())


def test_where_nobody_offers_one_it_is_said_and_blocks_are_executed(full: Cluster) -> None:
    def bend() -> None:
        for label in LABELS:
            bent(full[label], "offer", nothing)

    async def join() -> None:
        async with arriving(full, bend) as late:
            await full.until_height(BLOCKS, [late])
            assert late.running.chain.first_height == 1
            (said,) = [
                each for each in late.events() if "no peer offers a snapshot" in each["event"]
            ]
            assert said["level"] == "warning"
            assert avoided(late) == {}

    run(join())


@asynccontextmanager
async def quorum(folder: Path) -> AsyncIterator[Cluster]:
    """Three validators of four that made a chain by themselves, and a snapshot of it each."""
    async with Cluster(folder) as cluster:
        three = [cluster[label] for label in (A, B, C)]
        for node in three:
            node.start()
        await cluster.until_linked()
        await cluster.until_signing()
        for number in range(4):
            await three[0].commit(prescription(cluster.genesis, number))
        height = await cluster.until_level()
        for node in three:
            assert take_snapshot(node).name == f"{height:012}"
        await three[0].commit(prescription(cluster.genesis, "above"))
        cluster[HONEST].sync = Sync.SNAPSHOT
        yield cluster


def test_a_validator_joins_and_votes(tmp_path: Path) -> None:
    """It never ran before, and then it is needed."""

    async def join() -> None:
        async with quorum(tmp_path) as cluster:
            late = cluster[HONEST]
            late.start()
            await until(lambda: late.said("joined by snapshot"), "it does not join")
            await cluster.until_level()
            await cluster.until_linked()
            await cluster.until_signing()
            await cluster[A].stop()
            (committed,) = await cluster[B].commit(prescription(cluster.genesis, "after"))
            await cluster.until_height(committed.height)
            assert await cluster.until_level() == committed.height
            public = key_of(HONEST, Role.CONSENSUS).public
            certificate = cluster[B].running.chain.certificate
            assert certificate is not None
            seats = {each.validator for each in certificate.seals}
            assert late.running.chain.state.validators.index_of(public) in seats

    run(join())


def test_a_validator_that_lost_its_journal_keeps_silent_first(tmp_path: Path) -> None:
    async def join() -> None:
        async with quorum(tmp_path) as cluster:
            late = cluster[HONEST]
            shutil.rmtree(late.data)
            late.start()
            await until(lambda: late.said("joined by snapshot"), "it does not join")
            joined = await cluster.until_level()
            assert late.running.replica.is_fenced
            number = 0
            while late.running.replica.is_fenced:  # until the chain is past what it may have signed
                await cluster[A].commit(prescription(cluster.genesis, ("more", number)))
                number += 1
                await cluster.until_level()
                assert number < 20
            (begun,) = told(late, "signing begins at a height")
            first = begun["height"]
            assert isinstance(first, int)
            assert first >= joined + 3

    run(join())
