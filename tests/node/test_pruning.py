"""Pruning a stopped node: what must be there first, what is gone, and what still works."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.block import CommittedBlock, bare, is_bare
from ledger.encoding import decode, encode
from ledger.entry import Outcome
from ledger.errors import Mismatch, NotKept, StoreDamaged, StoreLocked
from ledger.segments import Segments, first_heights, segment_path, write_file
from ledger.store import open_store
from ledger.transaction import parse
from node import carried, pruning, snapshots
from node.applied import tip_in
from node.chain import SEGMENTS, Chain
from node.cli.main import main
from node.config import write_config
from node.errors import Exit, NotFound, Usage
from node.foundation import Below, NoFoundation, Unproven
from node.pruning import NotApplied, NotCovered, Pruning
from node.rebuild import FalseSource, Rebuild
from tests.chainmaker import Chain as Story
from tests.chainmaker import member_of
from tests.node.test_rebuild import (
    ENGINES,
    FILE_BYTES,
    GENESIS,
    LAST,
    RECORDS,
    SIGNATURES,
    STORY,
    contents,
    from_nobody,
    from_story,
    opened,
)

SNAPSHOT = LAST - 3
BEFORE = SNAPSHOT - 1


def grown(data: Path, engine: str, *, at: int = SNAPSHOT) -> Path:
    """Write the whole story, with a snapshot on the way."""
    chain = opened(data, engine)
    for committed in STORY.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
        if chain.height == at:
            with contextlib.closing(chain.view()) as view:
                snapshots.create(view, data, GENESIS)
    chain.close()
    return data


@pytest.fixture(scope="module", params=ENGINES)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("whole") / "data", request.param)


@pytest.fixture
def data(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def prune(data: Path, before: int = BEFORE) -> pruning.Plan:
    with Pruning(data, GENESIS, segment_bytes=FILE_BYTES) as found:
        return found.run(found.plan(before))


def rebuild(data: Path) -> Rebuild:
    return Rebuild(data, GENESIS, SIGNATURES)


def signatures_of(first: int, last: int) -> list[bytes]:
    """Return what stands on a disk only where the bodies of these blocks do."""
    blocks = STORY.blocks[first - 1 : last]
    return [parse(raw).signature for each in blocks for raw in each.block.body.transactions]


def bytes_of(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())


def records_of(data: Path) -> list[bytes]:
    with contextlib.closing(Segments.open(data / SEGMENTS, chain_id=STORY.chain_id)) as kept:
        return list(kept.iterate(kept.first_height))


def require_pruned(data: Path, before: int = BEFORE) -> None:
    """Nothing is there of the bodies below, everything else is, and the node goes on."""
    found = bytes_of(data)
    assert not any(each in found for each in signatures_of(1, before - 1))
    assert all(each in found for each in signatures_of(before, LAST))
    records = records_of(data)
    assert [is_bare(each) for each in records] == [n < before for n in range(1, LAST + 1)]
    assert records[before - 1 :] == RECORDS[before - 1 :]
    with rebuild(data) as run:
        verdict = run.verify()
    assert (verdict.is_sound, verdict.height, verdict.snapshot) == (True, LAST, SNAPSHOT), verdict
    chain = opened(data)
    assert (chain.height, chain.first_body) == (LAST, before)
    assert chain.header == STORY.state.header
    chain.close()


def test_bodies_are_gone_from_every_byte_of_the_folder(data: Path) -> None:
    assert all(each in bytes_of(data) for each in signatures_of(1, LAST))
    before = contents(data)
    with Pruning(data, GENESIS, segment_bytes=FILE_BYTES) as found:
        plan = found.plan(BEFORE)
        assert all(each in bytes_of(data) for each in signatures_of(1, LAST))  # it is only a plan
        done = found.run(plan)
    assert done == plan
    assert (done.first, done.before, done.blocks) == (1, BEFORE, BEFORE - 1)
    assert done.snapshot == SNAPSHOT
    assert contents(data) == before
    require_pruned(data)
    again = prune(data)
    assert (again.first, again.before, again.blocks, again.freed) == (BEFORE, BEFORE, 0, 0)


def test_in_the_last_file_too_and_step_by_step(tmp_path: Path) -> None:
    data = grown(tmp_path / "data", "sqlite", at=LAST)
    with Pruning(data, GENESIS) as found:  # whose files are larger
        found.run(found.plan(3))
    for before in (4, LAST):
        assert prune(data, before).before == before
    found_bytes = bytes_of(data)
    assert not any(each in found_bytes for each in signatures_of(1, LAST - 1))
    chain = opened(data)
    assert chain.first_body == LAST
    chain.close()


def test_a_snapshot_must_stand_for_what_goes(data: Path) -> None:
    before = bytes_of(data / SEGMENTS)
    with Pruning(data, GENESIS) as found:
        assert found.plan(SNAPSHOT + 1).blocks == SNAPSHOT
        with pytest.raises(NotCovered, match=f"the newest is of block {SNAPSHOT}") as refused:
            found.plan(SNAPSHOT + 2)
        assert "depoli snapshot create" in refused.value.hint
        assert f"--before {SNAPSHOT + 1} at most" in refused.value.hint
        with pytest.raises(Usage, match=f"the last block is {LAST}"):
            found.plan(LAST + 1)
    (chunk, *_) = sorted(snapshots.folder_of(data, SNAPSHOT).glob("*.chunk"))
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    with Pruning(data, GENESIS) as found, pytest.raises(NotCovered, match="none is there"):
        found.plan(BEFORE)
    chunk.write_bytes(whole)
    assert bytes_of(data / SEGMENTS) == before


def test_a_store_must_have_executed_what_goes(data: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(data / "state")
    with Pruning(data, GENESIS) as found, pytest.raises(NotApplied, match="it is at block 0"):
        found.plan(BEFORE)


def test_where_there_are_no_blocks_none_are_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no blocks"), Pruning(tmp_path, GENESIS):
        pass
    assert not list(tmp_path.iterdir())


def test_nobody_else_has_the_data_open(data: Path) -> None:
    chain = opened(data)
    with pytest.raises(StoreLocked), Pruning(data, GENESIS):
        pass
    chain.close()
    with Pruning(data, GENESIS), pytest.raises(StoreLocked):
        opened(data)
    with Pruning(data, GENESIS):
        pass


def test_the_store_is_durable_before_the_first_file_is_replaced(data: Path) -> None:
    done: list[str] = []
    real = Segments.prune

    def spy(kept: Segments, before: int) -> Iterator[object]:
        done.append("prune")
        yield from real(kept, before)

    with (
        patch.object(pruning, "sync_tree", lambda folder: done.append(f"sync {folder.name}")),
        patch.object(Segments, "prune", spy),
    ):
        prune(data)
    assert done == ["sync state", "prune"]


# --- what can still be made anew ------------------------------------------------------------------


def test_a_lost_store_is_made_anew_from_the_snapshot(data: Path) -> None:
    prune(data)
    expected = contents(data)
    shutil.rmtree(data / "state")
    with pytest.raises(StoreDamaged, match=f"the blocks that are kept begin with {BEFORE}"):
        opened(data)
    with rebuild(data) as found:
        verdict = found.verify()
        assert not verdict.is_sound
        assert verdict.state == f"it is at block 0, and snapshot {SNAPSHOT} was begun with"
        assert (verdict.height, verdict.damages) == (LAST, ())
        made = found.reindex()
    assert (made.height, made.block_id) == (LAST, STORY.state.header.hash)
    require_pruned(data)
    # What only the old blocks could tell is not there; the state is.
    kept = dict(contents(data))
    assert {key: kept[key] for key, _ in expected if key[:1] == b"s"} == {
        key: value for key, value in expected if key[:1] == b"s"
    }


def test_heads_that_are_not_known_any_more_are_not_made_up(data: Path) -> None:
    prune(data)
    shutil.rmtree(data / "state")
    with rebuild(data) as found:
        found.reindex()
    with contextlib.closing(opened(data)) as chain:
        for height in range(SNAPSHOT, LAST + 1):
            assert chain.heads_at(height).root == chain.head(height).header.heads_root
        for height in range(BEFORE - 1, SNAPSHOT):
            with pytest.raises(NotKept):
                chain.heads_at(height)
            with pytest.raises(NotKept):
                chain.history(member_of("shop-a"), height, LAST)


def test_a_store_that_can_be_read_hands_on_what_the_blocks_cannot_tell_any_more(data: Path) -> None:
    prune(data)
    expected = contents(data)
    with rebuild(data) as found:
        found.reindex()
    assert contents(data) == expected
    require_pruned(data)


def test_a_false_hash_of_the_log_is_found_and_not_handed_on(data: Path) -> None:
    prune(data)
    key, true = next((k, v) for k, v in contents(data) if k == b"n\0" + bytes(8))
    with contextlib.closing(open_store(data / "state")) as store:
        store.write({key: bytes(32)})
    with rebuild(data) as found:
        assert found.verify().state.endswith(f"under key {key.hex()}")
        found.reindex()
    kept = dict(contents(data))
    assert kept.get(key, true) == true
    require_pruned(data)


def test_a_false_state_is_found(data: Path) -> None:
    prune(data)
    key = next(k for k, _ in contents(data) if k[:1] == b"s")
    with contextlib.closing(open_store(data / "state")) as store:
        store.write({key: b"false"})
    with rebuild(data) as found:
        assert found.verify().state.endswith(f"under key {key.hex()}")
        found.reindex()
    require_pruned(data)


def test_without_a_snapshot_it_is_said_that_nothing_can_be_made_anew(data: Path) -> None:
    prune(data)
    shutil.move(data / "snapshots", data.with_name("elsewhere"))
    with rebuild(data) as found:
        for doing in (found.verify, found.reindex):
            with pytest.raises(NoFoundation, match=f"whole blocks begin with {BEFORE}") as refused:
                doing()
            assert "snapshots/" in refused.value.hint
    shutil.move(data.with_name("elsewhere"), data / "snapshots")
    require_pruned(data)


def test_where_one_snapshot_is_damaged_another_serves(data: Path) -> None:
    chain = opened(data)
    with contextlib.closing(chain.view()) as view:
        snapshots.create(view, data, GENESIS)
    chain.close()
    prune(data)
    shutil.rmtree(data / "state")
    spoilt = snapshots.folder_of(data, SNAPSHOT) / "000000.chunk"
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    with rebuild(data) as found:
        assert found.reindex().height == LAST
    shutil.rmtree(snapshots.folder_of(data, SNAPSHOT))
    with rebuild(data) as found:
        verdict = found.verify()
    assert (verdict.is_sound, verdict.snapshot) == (True, LAST)


def test_another_block_that_a_quorum_signed_is_not_that_of_the_snapshot(data: Path) -> None:
    fork = Story()
    for _ in range(SNAPSHOT):
        fork.block()
    found = snapshots.Snapshot.open(snapshots.folder_of(data, SNAPSHOT), GENESIS)
    below = Below(found, GENESIS, None)
    below.verify(SNAPSHOT, encode(bare(RECORDS[SNAPSHOT - 1])), is_ours=True)
    with pytest.raises(Mismatch, match="block of the snapshot"):
        below.verify(SNAPSHOT, encode(bare(encode(fork.blocks[-1]))), is_ours=True)


@pytest.mark.parametrize("height", [2, BEFORE - 1, BEFORE, LAST])
def test_damage_is_healed_and_nothing_that_was_pruned_comes_back(data: Path, height: int) -> None:
    prune(data)
    starts = first_heights(data / SEGMENTS)
    start = max(each for each in starts if each <= height)
    path = segment_path(data / SEGMENTS, start)
    content = bytearray(path.read_bytes())
    with contextlib.closing(Segments.open(data / SEGMENTS, chain_id=STORY.chain_id)) as kept:
        place = content.index(kept.read(height))
    content[place + 100] ^= 1
    path.write_bytes(content)
    with rebuild(data) as found:
        assert [damage.height for damage in found.verify().damages] == [height]
        with pytest.raises(StoreDamaged):
            found.reindex()
        with pytest.raises(FalseSource):
            found.heal(lambda first, _: iter((RECORDS[first % LAST],)))
        assert found.heal(from_story).healed == (height,)
        assert found.heal(from_nobody).healed == ()
    if height == BEFORE - 1:  # whether it was bare nobody can tell: between a bare and a whole one
        require_pruned(data, BEFORE - 1)
        prune(data)
    require_pruned(data)


def with_other_outcome(record: bytes) -> bytes:
    """Return a block that says of its first call that it was refused: no hash in it binds that."""
    block = decode(record, CommittedBlock)
    outcomes = (Outcome(1), *block.outcomes[1:])
    return encode(msgspec.structs.replace(block, outcomes=outcomes))


def put(data: Path, height: int, record: bytes) -> None:
    """Put a block in the place of another one, with a checksum that is true."""
    starts = [*first_heights(data / SEGMENTS), LAST + 1]
    first = max(each for each in starts if each <= height)
    records = records_of(data)
    records[height - 1] = record
    following = starts[starts.index(first) + 1]
    write_file(data / SEGMENTS, first, STORY.chain_id, records[first - 1 : following - 1])


def test_an_outcome_below_the_snapshot_is_the_one_that_was_decided(data: Path) -> None:
    """There blocks are not executed: the hashes of the log say what became of a call."""
    prune(data)
    false = with_other_outcome(RECORDS[BEFORE - 1])
    short = decode(RECORDS[BEFORE - 1], CommittedBlock)
    for record in (
        false,
        encode(msgspec.structs.replace(short, outcomes=short.outcomes[:-1])),
        encode(msgspec.structs.replace(short, outcomes=(*short.outcomes, short.outcomes[0]))),
    ):
        put(data, BEFORE, record)
        with rebuild(data) as found:
            (damage,) = found.verify().damages
            assert damage.height == BEFORE
            assert "the block is whole, but not true: outcome" in damage.reason
            with pytest.raises(FalseSource, match=f"block {BEFORE} .*outcome"):
                found.heal(lambda *_, record=record: iter((record,)))
            assert found.heal(from_story).healed == (BEFORE,)
    require_pruned(data)


def test_what_nobody_can_prove_any_more_is_not_taken_from_others(data: Path) -> None:
    prune(data)
    shutil.rmtree(data / "state")
    put(data, BEFORE, RECORDS[BEFORE])  # another block
    with rebuild(data) as found, pytest.raises(Unproven, match=f"block {BEFORE}"):
        found.heal(from_story)
    put(data, BEFORE, RECORDS[BEFORE - 1])
    with rebuild(data) as found:
        assert found.reindex().height == LAST
    require_pruned(data)


def test_a_bare_block_that_was_never_decided_is_named(data: Path) -> None:
    prune(data)
    other = records_of(data)
    other[1] = other[2]
    directory, start = data / SEGMENTS, first_heights(data / SEGMENTS)
    pieces = other[: start[1] - 1]
    write_file(directory, 1, STORY.chain_id, pieces)
    with rebuild(data) as found:
        (damage,) = found.verify().damages
        assert damage.height == 2
        assert "the block is whole, but not true: height" in damage.reason
        assert found.heal(from_story).healed == (2,)
    require_pruned(data)


def test_a_file_of_bare_blocks_that_is_gone_is_made_again_without_bodies(data: Path) -> None:
    prune(data)
    segment_path(data / SEGMENTS, 1).unlink()
    with rebuild(data) as found:
        (damage,) = found.verify().damages
        assert (damage.height, damage.reason) == (1, "the file is gone")
        assert found.heal(from_story).healed
    require_pruned(data)


def test_a_node_that_began_with_a_snapshot_is_checked_and_made_anew(
    data: Path, tmp_path: Path
) -> None:
    fresh = tmp_path / "fresh"
    folder = Path(
        shutil.copytree(snapshots.folder_of(data, SNAPSHOT), snapshots.folder_of(fresh, SNAPSHOT))
    )
    snapshots.install(fresh, folder, GENESIS)
    with rebuild(fresh) as found:
        verdict = found.verify()
        assert (verdict.is_sound, verdict.height, verdict.snapshot) == (True, SNAPSHOT, SNAPSHOT)
        assert found.reindex().height == SNAPSHOT
    chain = opened(fresh)
    assert (chain.first_height, chain.first_body) == (SNAPSHOT + 1, SNAPSHOT + 1)
    for committed in STORY.blocks[SNAPSHOT:]:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    chain.close()
    with rebuild(fresh) as found:
        verdict = found.verify()
        assert (verdict.is_sound, verdict.height, verdict.snapshot) == (True, LAST, SNAPSHOT)
        assert found.reindex().height == LAST
        assert found.heal(from_nobody).healed == ()
    assert first_heights(fresh / SEGMENTS)[0] == SNAPSHOT + 1


def test_what_is_carried_over_leads_to_the_log_that_was_decided(data: Path) -> None:
    store = open_store(data / "state")
    tip = tip_in(store)
    assert tip is not None
    assert carried.false_node(store, tip.header) is None
    key = b"n\0" + bytes(8)
    leaf = store.get(key)
    store.write({key: None})
    assert carried.false_node(store, tip.header) is None  # what is not there is not false
    store.write({key: bytes(32)})
    assert carried.false_node(store, tip.header) == key
    store.write({key: leaf})
    store.close()


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, data: Path) -> Path:
    assert data.parent == tmp_path
    (tmp_path / "config.toml").write_text(write_config({}, {}))
    (tmp_path / "genesis.json").write_text(signed_json(STORY.genesis))
    return tmp_path


def run(home: Path, *args: str | int) -> Result:
    words = ["db", "prune", "--config", str(home), "--before", *map(str, args)]
    return CliRunner().invoke(main, words)


def test_the_command_says_what_is_lost_and_asks_for_a_yes(home: Path) -> None:
    before = bytes_of(home / "data" / SEGMENTS)
    done = run(home, BEFORE)
    assert done.exit_code == Exit.USAGE
    assert "does not come back" in done.stderr
    assert "let auditors export the chain before" in done.stderr
    done = run(home, BEFORE, "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert told == {
        "from": 1,
        "before": BEFORE,
        "blocks": BEFORE - 1,
        "freed_bytes": told["freed_bytes"],
        "snapshot": SNAPSHOT,
        "pruned": False,
    }
    assert bytes_of(home / "data" / SEGMENTS) == before
    size = sum(path.stat().st_size for path in (home / "data" / SEGMENTS).iterdir())
    pruned = json.loads(run(home, BEFORE, "--yes", "--json").stdout)
    assert pruned == told | {"pruned": True}
    after = sum(path.stat().st_size for path in (home / "data" / SEGMENTS).iterdir())
    # Where the last file was ended, another began.
    assert size - after in (told["freed_bytes"], told["freed_bytes"] - 60)
    require_pruned(home / "data")
    done = run(home, BEFORE, "--yes")
    assert done.stdout == f"nothing to prune: bodies begin with block {BEFORE}\n"


def test_the_command_tells_people_and_refuses_without_a_snapshot(home: Path) -> None:
    done = run(home, BEFORE, "--dry-run")
    assert f"the bodies of blocks 1 to {BEFORE - 1} would be gone: " in done.stdout
    done = run(home, SNAPSHOT + 2, "--yes")
    assert done.exit_code == Exit.FAILED
    assert "depoli snapshot create" in done.stderr
    done = run(home, BEFORE, "--yes")
    assert f"the bodies of blocks 1 to {BEFORE - 1} are gone: " in done.stdout
    words = ["db", "verify", "--config", str(home)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == Exit.OK
    assert f"the snapshot of block {SNAPSHOT} is true" in done.stdout


def test_a_chain_opens_with_signatures_that_are_verified_anew(data: Path) -> None:
    prune(data)
    chain = Chain.open(data, GENESIS, DirectSignatures())
    assert chain.height == LAST
    chain.close()
