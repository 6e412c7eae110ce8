"""What a validator may sign: proved heads, what others heard of it, and what is not its own."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from consensus.messages import Commit, Prepare, RoundChange, Statement, order, signing_bytes
from consensus.promises import Resumed, Said
from ledger.hashing import Hash
from ledger.keys import Role
from node.journal import UNKNOWN_FENCE, Journal
from node.metrics import Metrics
from node.pledges import QUIET_HEIGHTS, SAFE_HEIGHTS, Pledges
from node.sync import Head
from tests.chainmaker import key_of, some_bytes
from tests.node.cluster import LABELS, Node, prescription, run, running, until

ME, OTHERS = LABELS[0], LABELS[1:]


class Desk:
    """The pledges of one of four validators over a chain of one block and a journal."""

    def __init__(self, node: Node, *, fence: int = 0) -> None:
        self.key = key_of(node.label, Role.CONSENSUS)
        self.chain = node.assemble().chain
        identity = self.chain.header.chain_id + self.key.public
        self.journal = Journal.create(node.data / "another", identity, fence=fence)
        self.disk = ThreadPoolExecutor(1)
        self.make()

    def make(self) -> None:
        self.pledges = Pledges(self.key, self.journal, self.chain, Metrics(), self.disk)

    def tell(self, *labels: str, height: int, block_id: bytes | None = None) -> None:
        for label in labels:
            id_ = self.chain.header.hash if block_id is None else block_id
            self.pledges.take_head(key_of(label, Role.TLS).public, Head(height, id_, None))

    def signed(self, statement: Statement) -> Statement:
        signature = self.key.sign(signing_bytes(statement, self.chain.header.chain_id))
        return msgspec.structs.replace(statement, signature=signature)


@contextlib.asynccontextmanager
async def desk(folder: Path, *, fence: int = 0) -> AsyncIterator[Desk]:
    """Pledges over the chain that four validators made one block of."""
    async with running(folder) as cluster:
        await cluster[ME].commit(prescription(cluster.genesis, "one"))
        await cluster.until_level()
    made = Desk(cluster[ME], fence=fence)
    yield made
    made.journal.close()
    made.disk.shutdown()
    cluster[ME]._closing.close()


def prepare(height: int, name: str = "block", round_: int = 0) -> Prepare:
    return Prepare(height, round_, Hash(some_bytes(name)), 0, bytes(64))


def test_a_fence_is_two_above_the_highest_head_that_a_quorum_of_others_prove(
    tmp_path: Path,
) -> None:
    async def learn() -> None:
        async with desk(tmp_path, fence=UNKNOWN_FENCE) as at:
            pledges = at.pledges
            assert at.chain.height == 1
            assert await pledges.settle() is None
            assert "3 other validators have shown how far they are, and 0 have" in pledges.silence
            at.tell(*OTHERS[:2], height=1)
            at.tell(ME, height=1)  # who it is itself is no other
            at.tell(OTHERS[2], height=1, block_id=some_bytes("no block of this chain"))
            assert await pledges.settle() is None
            at.tell(OTHERS[2], height=1 << 40)  # what is not proved is ignored, and not waited for
            assert await pledges.settle() is None
            assert "and 2 have" in pledges.silence
            at.tell(OTHERS[2], height=0)
            first = 1 + SAFE_HEIGHTS + QUIET_HEIGHTS + 1
            assert await pledges.settle() == first
            assert at.journal.fence == 1 + SAFE_HEIGHTS
            assert f"nothing below height {first}" in pledges.silence
            assert pledges.signer() is None

    run(learn())


def test_nothing_is_signed_before_a_quorum_less_one_of_others_told_what_they_heard(
    tmp_path: Path,
) -> None:
    async def ask() -> None:
        async with desk(tmp_path) as at:
            for label in OTHERS[:2]:
                assert at.pledges.is_fenced
                assert len(at.pledges.unheard()) >= 2
                at.tell(label, height=0)  # how far they are does not matter
                await at.pledges.settle()
            assert at.pledges.silence == ""
            assert at.pledges.unheard() == []
            assert at.pledges.signer() is not None

    run(ask())


def test_what_is_told_from_behind_the_fence_does_not_count(tmp_path: Path) -> None:
    async def ask() -> None:
        async with desk(tmp_path, fence=0) as at:
            at.journal.set_fence(1)
            at.tell(*OTHERS, height=1)
            await at.pledges.settle()
            assert at.pledges.is_fenced
            assert len(at.pledges.unheard()) == 3  # asked again, at every height

    run(ask())


def test_only_what_our_journal_cannot_have_held_is_foreign(tmp_path: Path) -> None:
    async def judge() -> None:
        async with desk(tmp_path) as at:
            own = at.signed(prepare(2))
            assert isinstance(own, Prepare)
            assert at.pledges.is_foreign(own)
            await at.pledges.make_durable([Said(own)], lambda _: at.chain.block(1).block)
            for _ in ("now", "after a start"):
                is_foreign: Callable[[Statement], bool] = at.pledges.is_foreign
                assert not is_foreign(own)
                assert is_foreign(at.signed(prepare(2, "another")))
                assert is_foreign(at.signed(prepare(2, round_=1)))
                assert is_foreign(at.signed(prepare(3)))
                assert not is_foreign(at.signed(prepare(1)))  # what was signed there is gone
                assert not is_foreign(prepare(3))  # nobody signed it
                assert not is_foreign(msgspec.structs.replace(prepare(3), signature=own.signature))
                at.make()
            await at.pledges.doubt()
            assert at.journal.fence == UNKNOWN_FENCE
            assert not at.pledges.is_foreign(at.signed(prepare(3)))
            assert "not provably the newest" in at.pledges.silence
            at.tell(*OTHERS, height=1)
            await at.pledges.settle()
            assert not at.pledges.is_foreign(at.signed(prepare(3)))  # our own past may have
            assert at.pledges.is_foreign(at.signed(prepare(4)))  # this is no past of ours

    run(judge())


def test_in_the_second_height_after_a_ceremony_nothing_is_signed_below_round_2(
    tmp_path: Path,
) -> None:
    async def resume() -> None:
        async with desk(tmp_path, fence=UNKNOWN_FENCE) as at:
            at.journal.resume(0, SAFE_HEIGHTS, [])
            at.tell(*OTHERS, height=1)
            await at.pledges.settle()
            for _ in range(2):  # once: it is on disk then
                made, blocks = await at.pledges.restore()
                resumed, said = made
                assert (resumed, blocks) == (Resumed(2, 2), [])
                assert isinstance(said, Said)
                assert isinstance(said.message, RoundChange)
                assert (said.message.round, said.message.prepared_round) == (2, -1)
            assert len(at.journal.promises(2)) == 2

    run(resume())


def test_an_observer_pledges_nothing(tmp_path: Path) -> None:
    async def observe() -> None:
        async with desk(tmp_path) as at:
            pledges = Pledges(None, None, at.chain, Metrics(), at.disk)
            assert pledges.silence == ""
            assert (pledges.unheard(), await pledges.settle()) == ([], None)
            assert not pledges.is_foreign(at.signed(prepare(9)))
            keyed = Pledges(at.key, None, at.chain, Metrics(), at.disk)
            assert keyed.silence == "it has no journal"

    run(observe())


def test_statements_are_ordered_as_an_honest_validator_signs_them() -> None:
    change = RoundChange(2, 1, -1, bytes(32), None, 0, bytes(64))
    commit = Commit(2, 0, bytes(32), 0, bytes(64))
    signed: list[Statement] = [prepare(1), prepare(2), commit, change, prepare(2, round_=1)]
    assert sorted(set(signed), key=order) == signed


# --- whole validators -----------------------------------------------------------------------------


def put_back(node: Node, saved: Path) -> None:
    shutil.rmtree(node.data)
    shutil.copytree(saved, node.data)


def test_an_old_journal_that_looks_current_is_found_by_what_the_others_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the whole disk was put back: then no file can tell."""
    monkeypatch.setattr("node.origin.doubt", lambda *_: "")

    async def restore() -> None:
        async with running(tmp_path) as cluster:
            first, last = cluster[LABELS[0]], cluster[LABELS[3]]
            await first.commit(prescription(cluster.genesis, "before"))
            await cluster.until_level()
            await last.stop()
            shutil.copytree(last.data, tmp_path / "saved")
            last.start()
            await cluster.until_linked()
            await cluster.until_signing()
            for name in range(4):
                await first.commit(prescription(cluster.genesis, name))
            await cluster.until_level()
            await last.stop()
            put_back(last, tmp_path / "saved")
            last.start()
            await cluster.until_linked()
            foreign = "our key signed what our journal does not hold"
            await until(
                lambda: any(line["event"].startswith(foreign) for line in last.events()),
                "it does not notice",
            )
            await until(lambda: last.said("signing begins at a height"), "it learns no fence")
            for name in range(4, 9):
                await first.commit(prescription(cluster.genesis, name))
            await cluster.until_level()
            await cluster.until_signing()
            await cluster[LABELS[2]].stop()  # now nothing goes on without it
            await first.commit(prescription(cluster.genesis, "with its vote"))
            assert not any(node.said("contradiction") for node in cluster.up)

    run(restore())


def test_a_whole_network_that_stops_at_once_is_back_at_once(tmp_path: Path) -> None:
    async def restart() -> None:
        async with running(tmp_path) as cluster:
            await cluster[ME].commit(prescription(cluster.genesis, "before"))
            for label in LABELS:
                await cluster[label].stop()
            for label in LABELS:
                cluster[label].start()
            await cluster[ME].commit(prescription(cluster.genesis, "after"))
            assert not any(node.said("journal not current") for node in cluster.up)
            assert not any(node.said("signing begins at a height") for node in cluster.up)

    run(restart())


def test_a_chain_that_was_put_back_makes_no_journal_forget(tmp_path: Path) -> None:
    async def restore() -> None:
        async with running(tmp_path) as cluster:
            first, last = cluster[LABELS[0]], cluster[LABELS[3]]
            for name in range(4):
                await first.commit(prescription(cluster.genesis, name))
            await cluster.until_level()
            await last.stop()
            for part in ("segments", "state"):
                shutil.rmtree(last.data / part)
            last.start()
            heights: list[int] = []
            signer = last.running.replica._pledges.signer

            def watch() -> object:
                found = signer()
                if found is not None:
                    heights.append(last.height + 1)
                return found

            last.running.replica._pledges.signer = watch  # type: ignore[method-assign,assignment]
            await cluster.until_linked()
            await cluster.until_level()
            await cluster[LABELS[2]].stop()
            await first.commit(prescription(cluster.genesis, "after"))
            assert heights
            assert min(heights) >= 4  # its last promises
            assert not last.said("journal not current")
            assert not any(node.said("contradiction") for node in cluster.up)

    run(restore())
