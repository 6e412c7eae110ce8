"""Snapshots on disk: the same whoever makes them, whole or not there, true or named as false."""

import argparse
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from contracts.calls import JoinValidators, LeaveValidators
from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from contracts.parameters import Parameters
from ledger import snapshot as format_
from ledger.block import BareBlock, bare
from ledger.decided import Decided
from ledger.encoding import decode, encode
from ledger.entry import Outcome
from ledger.errors import Malformed, Mismatch
from ledger.receipt import Change
from ledger.snapshot import Manifest
from ledger.store import Store, open_store
from node import snapshots
from node.applied import difference, tip_in
from node.chain import Chain
from node.foundation import Below
from node.installing import HasBlocks, settle
from node.snapshots import BadSnapshot, NoBlockYet, Snapshot
from scripts import recheck
from tests.chainmaker import NEWCOMERS, SHOPS, found, member_of, story, upheaval
from tests.chainmaker import Chain as Story

SIGNATURES = DirectSignatures()
STORY = story(upheaval())  # of several changes of validators
GENESIS = STORY.genesis.genesis
ENGINES = ("leveldb", "sqlite")
each_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small state take several chunks."""
    monkeypatch.setattr(format_, "CHUNK_BYTES", 8 << 10)


def grown(data: Path, height: int, engine: str | None = None, of: Story = STORY) -> Chain:
    chain = Chain.open(data, of.genesis.genesis, SIGNATURES, engine=engine)
    follow(chain, height, of)
    return chain


def follow(chain: Chain, height: int, of: Story = STORY) -> None:
    for committed in of.blocks[chain.height : height]:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)


def made(data: Path, height: int, engine: str | None = None) -> Path:
    """Return the snapshot of a node at `height`."""
    with contextlib.closing(grown(data, height, engine)) as chain:
        return taken(chain, data)


def taken(chain: Chain, data: Path) -> Path:
    with contextlib.closing(chain.view()) as view:
        return snapshots.create(view, data, GENESIS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a snapshot that nobody changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_, "CHUNK_BYTES", 8 << 10)
        return made(tmp_path_factory.mktemp("whole"), len(STORY.blocks))


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


@each_engine
@pytest.mark.parametrize("height", [1, 9, 12, 13, len(STORY.blocks)])
def test_a_node_that_begins_with_one_goes_on_as_the_others(
    tmp_path: Path, engine: str, height: int
) -> None:
    folder = made(tmp_path / "old", height, next(each for each in ENGINES if each != engine))
    snapshots.install(tmp_path / "new", folder, GENESIS, engine=engine)
    with (
        contextlib.closing(grown(tmp_path / "new", height)) as new,
        contextlib.closing(grown(tmp_path / "old", height)) as old,
    ):
        assert new.height == height
        assert new.first_height == height + 1
        for _ in range(2):
            assert new.header == old.header
            assert new.certificate == old.certificate
            for one, other in (
                (new.state.digest.hash, old.state.digest.hash),
                (new.state.log, old.state.log),
                (list(new.state.heads.items()), list(old.state.heads.items())),
                (new.state.validators, old.state.validators),
                (new.state.next_validators, old.state.next_validators),
                (new.state.turns, old.state.turns),
                (new.state.parameters, old.state.parameters),
                (new.changes(new.height + 1), old.changes(old.height + 1)),
                (new.decided(new.height), old.decided(old.height)),
            ):
                assert one == other
            follow(new, len(STORY.blocks))
            follow(old, len(STORY.blocks))
        assert new.header == STORY.state.header
        for later in range(height + 1, new.height + 1):
            assert new.heads_at(later).root == old.heads_at(later).root
            assert new.heads_at(later).root == new.head(later).header.heads_root
        for executed in STORY.executed[height:]:
            for entry in executed.entries:
                receipt = new.receipt(entry.transaction, entry.position)
                assert receipt is not None
                assert receipt == old.receipt(entry.transaction, entry.position)
                receipt.verify(GENESIS.chain_id, GENESIS.validator_set)


def test_every_node_makes_the_same_one(tmp_path: Path) -> None:
    folders = [made(tmp_path / engine, 12, engine) for engine in ENGINES]
    snapshots.install(tmp_path / "joined", made(tmp_path / "early", 5), GENESIS)
    folders.append(made(tmp_path / "joined", 12))
    one, *others = (sorted(path.name for path in folder.iterdir()) for folder in folders)
    assert len(one) > 3  # of two chunks at least
    assert others == [one, one]
    for name in one:
        assert len({(folder / name).read_bytes() for folder in folders}) == 1, name


@each_engine
def test_it_is_of_one_height_while_the_chain_goes_on(tmp_path: Path, engine: str) -> None:
    with contextlib.closing(grown(tmp_path / "busy", 5, engine)) as chain:
        with contextlib.closing(chain.view()) as view:
            blocks = iter(range(6, len(STORY.blocks) + 1))
            folder = snapshots.create(
                view, tmp_path / "busy", GENESIS, lambda: follow(chain, next(blocks, chain.height))
            )
        assert chain.height > 7
        Snapshot.open(folder, GENESIS).verify()
    quiet = made(tmp_path / "quiet", 5)
    assert folder.name == quiet.name == "000000000005"
    assert (folder / "manifest").read_bytes() == (quiet / "manifest").read_bytes()


def test_one_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    with contextlib.closing(grown(tmp_path, 5)) as chain:
        for number in range(1, 4):
            calls = iter(range(number))

            def pause(calls: Iterator[int] = calls) -> None:
                if next(calls, None) is None:
                    raise Enough

            with contextlib.closing(chain.view()) as view, pytest.raises(Enough):
                snapshots.create(view, tmp_path, GENESIS, pause)
            assert list((tmp_path / "snapshots").iterdir()) == []
        assert taken(chain, tmp_path).is_dir()
        assert snapshots.heights(tmp_path) == [5]


def test_there_is_none_of_the_genesis(tmp_path: Path) -> None:
    with contextlib.closing(grown(tmp_path, 0)) as chain, pytest.raises(NoBlockYet):
        taken(chain, tmp_path)
    store = open_store(tmp_path / "other")
    with contextlib.closing(store), pytest.raises(NoBlockYet):
        snapshots.create(store, tmp_path, GENESIS)
    assert snapshots.heights(tmp_path) == []


def test_a_store_that_is_not_what_its_header_says_gives_none(tmp_path: Path) -> None:
    with contextlib.closing(grown(tmp_path, 5)) as chain:
        chain._store.write({b"s" + b"one key more": b""})
        with pytest.raises(Mismatch, match="state digest of the store"):
            taken(chain, tmp_path)
    assert list((tmp_path / "snapshots").iterdir()) == []


def _put_peaks(store: Store) -> None:
    tip = tip_in(store)
    assert tip is not None
    peaks = (*tip.peaks[:-1], bytes(32))
    store.write({b"tip": encode(msgspec.structs.replace(tip, peaks=peaks))})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda store: store.write({store.scan(b"h", 1)[0][0]: None}), "heads root"),
        (_put_peaks, "log root"),
        (lambda store: store.write(dict.fromkeys(k for k, _ in store.scan(b"v", 9))), "validators"),
    ],
)
def test_one_that_would_not_verify_is_not_made(
    tmp_path: Path, changed: Callable[[Store], None], reason: str
) -> None:
    """For its sake older ones would go."""
    with contextlib.closing(grown(tmp_path, len(STORY.blocks))) as chain:
        changed(chain._store)
        with pytest.raises(Mismatch, match=reason):
            taken(chain, tmp_path)
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_a_damaged_one_of_the_same_block_is_made_anew(tmp_path: Path) -> None:
    with contextlib.closing(grown(tmp_path, 5)) as chain:
        folder = taken(chain, tmp_path)
        whole = {path.name: path.read_bytes() for path in folder.iterdir()}
        before = folder.stat().st_ino
        assert taken(chain, tmp_path) == folder
        assert folder.stat().st_ino == before  # a whole one stays
        for name in whole:
            (folder / name).write_bytes(whole[name][:-1])
            assert taken(chain, tmp_path) == folder
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_is_more_than_a_snapshot_holds_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [STORY.blocks[0].certificate] * 1_025
    header, voters = STORY.blocks[0].block.header, GENESIS.validator_set
    changes = [Change(header, certificate, voters) for certificate in many]
    with contextlib.closing(grown(tmp_path, 5)) as chain:
        monkeypatch.setattr(snapshots, "changes_in", lambda _: changes)
        with pytest.raises(Malformed, match=r"malformed decided: .*1024"):
            taken(chain, tmp_path)
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    with contextlib.closing(grown(tmp_path, 0)) as chain:
        folders = []
        for height in (2, 3, 5, 7):
            follow(chain, height)
            folders.append(taken(chain, tmp_path))
            (tmp_path / "snapshots" / "000000000001.new").mkdir()  # what a crash left
            snapshots.keep_newest(tmp_path, height)
        assert snapshots.heights(tmp_path) == [5, 7]
        assert len(list((tmp_path / "snapshots").iterdir())) == 2
        assert taken(chain, tmp_path) == folders[-1]  # once more changes nothing


def test_none_goes_for_the_sake_of_one_that_was_not_made_here(tmp_path: Path) -> None:
    with contextlib.closing(grown(tmp_path, 3)) as chain:
        true = [taken(chain, tmp_path)]
        for height in (8, 9):
            shutil.copytree(true[0], snapshots.folder_of(tmp_path, height))
        follow(chain, 5)
        true.append(taken(chain, tmp_path))
        snapshots.keep_newest(tmp_path, 5)
    assert snapshots.heights(tmp_path) == [3, 5, 8, 9]
    for folder in true:
        Snapshot.open(folder, GENESIS).verify()


def test_a_node_that_has_blocks_is_not_begun_anew(tmp_path: Path, whole: Path) -> None:
    grown(tmp_path / "old", 3).close()
    before = sorted(path.name for path in (tmp_path / "old").iterdir())
    with pytest.raises(HasBlocks, match=r"blocks-000000000001\.seg holds blocks"):
        snapshots.install(tmp_path / "old", whole, GENESIS)
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == before
    grown(tmp_path / "empty", 0).close()
    snapshots.install(tmp_path / "empty", whole, GENESIS)
    shutil.rmtree(tmp_path / "empty" / "segments")
    shutil.copytree(tmp_path / "old" / "segments", tmp_path / "empty" / "segments")
    with pytest.raises(HasBlocks):  # nor later
        grown(tmp_path / "empty", 3)
    grown(tmp_path / "old", 4).close()


def test_all_that_was_restored_is_what_the_blocks_lead_to(tmp_path: Path, whole: Path) -> None:
    """But for the index and the older nodes of the log, which are not of the state."""
    snapshots.install(tmp_path / "new", whole, GENESIS)
    settle(tmp_path / "new")
    grown(tmp_path / "old", len(STORY.blocks)).close()
    with (
        contextlib.closing(open_store(tmp_path / "new" / "state")) as new,
        contextlib.closing(open_store(tmp_path / "old" / "state")) as old,
    ):
        pairs = [pair for pair in new.scan(b"", 1 << 20) if pair[0][:1] != b"m"]
        assert all(old.get(key) == value for key, value in pairs)
        for prefix in (b"s", b"h", b"v", b"tip"):
            assert new.scan(prefix, 1 << 20) == old.scan(prefix, 1 << 20)
        assert difference(new, old) is not None


def test_each_block_below_one_is_of_who_voted_then(whole: Path) -> None:
    """Also where it announces others: it is voted on by those before."""
    below = Below(Snapshot.open(whole, GENESIS), GENESIS, None)
    for height, committed in enumerate(STORY.blocks, 1):
        for record in (encode(committed), encode(bare(encode(committed)))):
            below.verify(height, record, is_ours=True)
            with pytest.raises(Mismatch, match="height"):
                below.verify(height + 1, record, is_ours=True)


def test_the_block_of_one_is_not_another_that_a_quorum_signed(whole: Path) -> None:
    below = Below(Snapshot.open(whole, GENESIS), GENESIS, None)
    header = msgspec.structs.replace(STORY.blocks[-1].block.header, state_digest=bytes(32))
    forked = BareBlock(header, STORY.certify(header.height, header.hash))
    with pytest.raises(Mismatch, match="block of the snapshot"):
        below.verify(header.height, encode(forked), is_ours=True)


# --- what is false --------------------------------------------------------------------------------


def test_a_whole_one_is_true(whole: Path) -> None:
    seen: list[int] = []
    snapshot = Snapshot.open(whole, GENESIS)
    snapshot.verify(lambda progress: seen.append(progress.done))
    assert snapshot.height == len(STORY.blocks)
    assert seen[-1] == snapshot.size == sum(path.stat().st_size for path in whole.glob("*.chunk"))


def refusal(folder: Path) -> BadSnapshot:
    with pytest.raises(BadSnapshot) as refused:
        Snapshot.open(folder, GENESIS).verify()
    return refused.value


def test_each_byte_that_is_flipped_is_named_by_its_file(copied: Path) -> None:
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        step = max(1, len(content) // 20)
        places = {*range(0, len(content), step), *range(8), len(content) - 1}
        for at in places:
            for bit in (0x01, 0x80):
                changed = bytearray(content)
                changed[at] ^= bit
                path.write_bytes(changed)
                refused = refusal(copied)
                named = {path} if path.suffix else {copied / "manifest", copied / "decided"}
                is_named = refused.path in named or (
                    # A hash in the manifest is only found out by the chunk that it is of.
                    path.name in str(refused) and refused.path.suffix
                )
                assert is_named, (path, at, refused)
        path.write_bytes(content)
    Snapshot.open(copied, GENESIS).verify()


def _as_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_a_link(path: Path) -> None:
    path.rename(path.parent.with_name("elsewhere"))
    path.symlink_to(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("name", ["manifest", "decided", "000000.chunk", "000001.chunk"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(Path.unlink, "missing", id="missing"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size - 1), "", id="shorter"),
        pytest.param(lambda path: os.truncate(path, 3), "", id="cut off"),
        pytest.param(lambda path: os.truncate(path, 0), "", id="empty"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size + 1), "", id="longer"),
        pytest.param(lambda path: os.truncate(path, 33 << 20), "longer than", id="endless"),
        pytest.param(_as_a_pipe, "not a plain file", id="pipe"),
        pytest.param(_as_a_link, "not a plain file", id="link"),
    ],
)
def test_a_file_that_is_not_whole_is_named(
    copied: Path, name: str, change: Callable[[Path], object], reason: str
) -> None:
    change(copied / name)
    refused = refusal(copied)
    assert refused.path.name == name
    assert reason in str(refused)


def test_a_file_too_many_is_named(copied: Path) -> None:
    extra = copied / f"{len(list(copied.glob('*.chunk'))):06}.chunk"
    extra.write_bytes((copied / "000000.chunk").read_bytes())
    refused = refusal(copied)
    assert refused.path == extra
    assert "no part of the snapshot" in str(refused)


def test_one_of_another_chain_is_refused(copied: Path, tmp_path: Path) -> None:
    other = found(parameters=Parameters(notice_blocks=77)).genesis
    with pytest.raises(BadSnapshot, match="chain id"):
        Snapshot.open(copied, other)
    with pytest.raises(BadSnapshot, match="chain id"):
        snapshots.install(tmp_path / "other", copied, other)
    assert list((tmp_path / "other").iterdir()) == []


def test_a_false_manifest_is_found_out_by_the_last_chunk_at_the_latest(
    copied: Path, tmp_path: Path
) -> None:
    """Whoever makes it: the header that a quorum signed says what the state must sum up to."""
    path = copied / "manifest"
    true = decode(path.read_bytes(), Manifest)
    pairs = [pair for chunk in Snapshot.open(copied, GENESIS).chunks() for pair in chunk]
    key, value = pairs[len(pairs) // 2]
    for changed, reason in (
        ([pair for pair in pairs if pair[0] != key], "state digest"),
        (sorted({**dict(pairs), key: value + b"\0"}.items()), "state digest"),
        (sorted({**dict(pairs), key + b"\0": value}.items()), "state digest"),
    ):
        for old in copied.glob("*.chunk"):
            old.unlink()
        packed = [format_.pack(chunk) for chunk in format_.chunked(changed)]
        for number, (_, file) in enumerate(packed):
            snapshots.chunk_of(copied, number).write_bytes(file)
        hashes = tuple(hash_ for hash_, _ in packed)
        false = msgspec.structs.replace(true, pairs=len(changed), chunks=hashes)
        path.write_bytes(encode(false))
        refused = refusal(copied)
        assert refused.path == path
        assert reason in str(refused)
        with pytest.raises(BadSnapshot):
            snapshots.install(tmp_path / "new", copied, GENESIS)
        with contextlib.closing(grown(tmp_path / "new2", 0)) as chain:
            assert chain.height == 0
        assert list((tmp_path / "new").iterdir()) == []


def test_no_change_of_validators_is_kept_back_or_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where those who vote now once voted before, so that each signature verifies."""
    story_ = Story(found(others=(*SHOPS, *NEWCOMERS), parameters=Parameters(notice_blocks=2)))
    new = "operator-b"
    for subject, made in (
        (JoinValidators(member_of(new)), story_.joining),
        (LeaveValidators(member_of(new)), story_.leaving),
    ):
        story_.agree(subject)
        story_.block(built_round=1)
        assert story_.block(story_.transaction(new, made(new))).outcomes == (Outcome(0),)
        for _ in range(3):
            story_.block(built_round=1)
        story_.labels.append(new)  # so that as many vote as are needed now
    genesis, height = story_.genesis.genesis, len(story_.blocks)
    with contextlib.closing(grown(tmp_path / "old", height, of=story_)) as chain:
        folder = taken(chain, tmp_path / "old")
    path = folder / "decided"
    true = decode(path.read_bytes(), Decided)
    assert len(true.changes) == 2
    assert true.changes[-1].validators == genesis.validator_set
    Snapshot.open(folder, genesis).verify()
    (tmp_path / "genesis.json").write_text(signed_json(story_.genesis))
    options = argparse.Namespace(file=folder, genesis=tmp_path / "genesis.json")
    monkeypatch.setattr(recheck, "MEBIBYTE", format_.CHUNK_BYTES)
    second_opinion: Callable[[argparse.Namespace], object] = recheck.check_snapshot
    second_opinion(options)
    first, second = true.changes
    block = story_.blocks[second.header.height]  # the next one, which changed nothing
    extra = Change(block.block.header, block.certificate, second.validators)
    begun = story_.blocks[0]
    early = Change(begun.block.header, begun.certificate, genesis.validator_set)
    for changes, words in (
        ((), f"it lacks the change of validators in block {first.header.height},"),
        ((*true.changes, extra), f"a change of validators in block {extra.header.height} that"),
        ((early, *true.changes), "it has a change of validators in block 1 that the state has not"),
    ):
        path.write_bytes(encode(msgspec.structs.replace(true, changes=changes)))
        bad = Snapshot.open(folder, genesis)  # all that it says is true
        for taken_by in (bad.verify, partial(snapshots.install, tmp_path / "new", folder, genesis)):
            with pytest.raises(BadSnapshot, match=words) as refused:
                taken_by()
            assert refused.value.path == path
        with pytest.raises(recheck.FalseFact, match="changes of validators"):
            second_opinion(options)


def test_the_certificate_of_another_block_does_not_vouch(copied: Path) -> None:
    path = copied / "decided"
    true = decode(path.read_bytes(), Decided)
    before = STORY.blocks[-2]
    replace = msgspec.structs.replace
    for changed in (
        replace(true, header=before.block.header, certificate=before.certificate),  # of another
        replace(true, certificate=before.certificate),
        replace(true, changes=true.changes[:-1]),
        replace(true, changes=()),
    ):
        path.write_bytes(encode(changed))
        assert refusal(copied).path in (path, copied / "manifest")
