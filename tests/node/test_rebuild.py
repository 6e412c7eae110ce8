"""A store made anew, and blocks made whole again: all that is there afterwards was verified."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from contracts.execute import DirectSignatures
from ledger.block import CommittedBlock
from ledger.certificate import CommitCertificate
from ledger.encoding import encode
from ledger.errors import StoreDamaged, StoreLocked
from ledger.lock import DirectoryLock
from ledger.segments import Segments, first_heights, salvage, segment_path, write_file
from ledger.store import open_store
from node.applied import difference
from node.chain import REBUILT, Chain, state_folder
from node.rebuild import REPLACED, FalseSource, Rebuild
from tests.chainmaker import story

SIGNATURES = DirectSignatures()
STORY = story(story())
GENESIS = STORY.genesis.genesis
RECORDS = [encode(block) for block in STORY.blocks]
LAST = len(RECORDS)
FILE_BYTES = 3 * max(map(len, RECORDS))  # five files or six
ENGINES = ("leveldb", "sqlite")


def opened(data: Path, engine: str | None = None) -> Chain:
    return Chain.open(data, GENESIS, SIGNATURES, engine=engine, segment_bytes=FILE_BYTES)


def grown(data: Path, engine: str | None = None) -> Path:
    """Write the whole story in several files."""
    chain = opened(data, engine)
    for committed in STORY.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    chain.close()
    return data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def data(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def rebuild(data: Path, engine: str | None = None) -> Rebuild:
    return Rebuild(data, GENESIS, SIGNATURES, engine=engine)


def files(data: Path) -> list[Path]:
    return sorted((data / "segments").glob("blocks-*.seg"))


def from_story(first: int, last: int) -> Iterator[bytes]:
    yield from RECORDS[first - 1 : last]


def from_nobody(first: int, last: int) -> Iterator[bytes]:
    raise AssertionError(f"asked for blocks {first} to {last}")


def contents(data: Path) -> list[tuple[bytes, bytes]]:
    store = open_store(data / "state")
    found = store.scan(b"", 1 << 20)
    store.close()
    return found


def require_whole(data: Path, whole: Path) -> None:
    """Everything is as if nothing had happened, and nothing is left over."""
    with rebuild(data) as found:
        verdict = found.verify()
    assert (verdict.is_sound, verdict.height) == (True, LAST)
    chain = opened(data)
    assert list(chain.records(1)) == RECORDS
    chain.close()
    assert contents(data) == contents(whole)
    assert {path.name for path in data.iterdir()} == {"lock", "segments", "state"}
    assert not list((data / "segments").glob("*.new"))


def spoil(path: Path, offset: int, count: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(count)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in before))


def test_the_story_fills_several_files(whole: Path) -> None:
    assert len(files(whole)) > 4
    assert first_heights(whole / "segments")[0] == 1


def test_what_is_whole_is_found_whole(data: Path, whole: Path) -> None:
    require_whole(data, whole)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("before", ENGINES)
def test_a_store_is_made_anew_with_either_engine(tmp_path: Path, before: str, engine: str) -> None:
    first = grown(tmp_path / "first", before)
    expected = contents(first)
    with rebuild(first, engine) as found:
        made = found.reindex()
    assert (made.height, made.block_id, made.healed) == (LAST, STORY.state.header.hash, ())
    assert (first / "state" / engine).is_dir()
    assert contents(first) == expected
    chain = opened(first)
    assert chain.state.digest.hash == STORY.state.digest.hash
    chain.close()


@pytest.mark.parametrize("loss", ["a key", "a value", "all keys", "the folder", "the files"])
def test_a_store_that_is_not_what_the_blocks_lead_to_is_told_and_made_anew(
    data: Path, whole: Path, loss: str
) -> None:
    if loss == "the folder":
        shutil.rmtree(data / "state")
    elif loss == "the files":
        for path in (data / "state" / "leveldb").iterdir():
            path.write_bytes(b"nonsense")
    else:
        store = open_store(data / "state")
        pairs = [pair for pair in store.scan(b"", 1 << 20) if pair[0] != b"tip"]
        key, value = pairs[len(pairs) // 2]
        changes: dict[str, dict[bytes, bytes | None]] = {
            "a key": {key: None},
            "a value": {key: value + b"\x00"},
            "all keys": {each: None for each, _ in pairs},
        }
        store.write(changes[loss])
        store.close()
    with rebuild(data) as found:
        verdict = found.verify()
    assert verdict.state
    assert (verdict.damages, verdict.height) == ((), LAST)
    with rebuild(data) as found:
        found.reindex()
    require_whole(data, whole)


def test_an_index_that_an_older_version_did_not_keep_is_there_after_a_rebuild(
    data: Path, whole: Path
) -> None:
    store = open_store(data / "state")
    index = [key for key, _ in store.scan(b"g", 1 << 20)]
    store.write(dict.fromkeys(index))
    store.close()
    assert index
    with rebuild(data) as found:
        assert found.verify().state.endswith(f"key {index[0].hex()}")
    with rebuild(data) as found:
        found.reindex()
    require_whole(data, whole)


def test_stores_differ_where_either_has_more(tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "1"), open_store(tmp_path / "2", "sqlite")
    assert difference(first, second) is None
    first.write({b"a": b"1", b"b": b"2"})
    second.write({b"a": b"1"})
    assert difference(first, second) == difference(second, first) == b"b"
    second.write({b"aa": b"1"})
    assert difference(first, second) == b"aa"
    first.close()
    second.close()


def test_a_store_behind_the_blocks_is_sound_and_one_before_them_is_not(
    data: Path, whole: Path
) -> None:
    kept = Segments.open(data / "segments", chain_id=GENESIS.chain_id)
    kept.close()
    shutil.rmtree(data / "state")
    shutil.copytree(whole / "state", data / "state")
    last = files(data)[-1]
    last.unlink()  # blocks that were durable are gone
    lost = int(last.stem.removeprefix("blocks-"))
    with rebuild(data) as found:
        verdict = found.verify()
    assert [each.height for each in verdict.damages] == [lost]
    assert verdict.height == lost - 1
    with rebuild(data) as found, pytest.raises(StoreDamaged, match="blocks are gone"):
        found.reindex()
    with rebuild(data) as found:
        assert found.heal(from_story).healed == tuple(range(lost, LAST + 1))
    require_whole(data, whole)


def test_a_block_that_a_later_start_will_cut_off_is_no_damage(data: Path) -> None:
    with files(data)[-1].open("ab") as file:
        file.write(b"\x00\x00\x00\x50torn")
    with rebuild(data) as found:
        assert found.verify().is_sound
        assert found.reindex().height == LAST
    chain = opened(data)
    assert chain.torn_tail is not None
    chain.close()


@pytest.mark.parametrize("number", [0, 2, -1])
@pytest.mark.parametrize("at", ["head", "length", "payload", "gone", "short", "long", "zeros"])
def test_damage_anywhere_is_named_and_healed(data: Path, whole: Path, number: int, at: str) -> None:
    kept = files(data)
    path = kept[number]
    first = int(path.stem.removeprefix("blocks-"))
    held = [offset for offset, _ in salvage(path, GENESIS.chain_id)]
    lost = {first + 1}
    match at:
        case "head":
            spoil(path, 20)
            lost = {first + n for n in range(len(held))}
        case "length":
            spoil(path, held[1], 2)
        case "payload":
            spoil(path, held[1] + 40)
        case "gone":
            path.unlink()
            lost = {first + n for n in range(len(held))}
        case "short":
            with path.open("r+b") as file:
                file.truncate(held[-1] + 10)
            lost = {first + len(held) - 1}
        case "long":
            with path.open("ab") as file:
                file.write(bytes(3))
            lost = set()
        case _:
            size = path.stat().st_size
            path.write_bytes(bytes(size))
            lost = {first + n for n in range(len(held))}
    if at == "long" and number == -1:
        return  # a torn tail
    with rebuild(data) as found:
        (damage,) = found.verify().damages
    named = kept[number - 1] if at == "gone" and number else path
    assert damage.path == named  # a file that is gone lacks at the end of the one before
    assert damage.height == min(lost, default=first + len(held))
    if at in {"length", "payload"}:
        assert damage.offset == held[1]
    with rebuild(data) as found, pytest.raises(StoreDamaged) as refused:
        found.reindex()
    assert (refused.value.path, refused.value.height) == (str(named), damage.height)
    if at in {"length", "payload"} and number == -1:
        with pytest.raises(StoreDamaged):  # the node itself refuses to start
            opened(data)
    with rebuild(data) as found:
        assert set(found.heal(from_story).healed) == lost
    require_whole(data, whole)


def test_any_bytes_of_any_files_are_healed(data: Path, whole: Path) -> None:
    rng = Random(5)
    for _ in range(25):
        for path in rng.sample(files(data), 3):
            spoil(path, rng.randrange(path.stat().st_size - 4), rng.randrange(1, 5))
        with rebuild(data) as found:
            damages = found.verify().damages
        assert damages
        with rebuild(data) as found:
            found.heal(from_story)
    require_whole(data, whole)


def test_what_is_whole_asks_nobody(data: Path) -> None:
    with rebuild(data) as found:
        assert found.heal(from_nobody).healed == ()


def replaced(data: Path, height: int, record: bytes) -> None:
    """Put another block with a right checksum in the place of one."""
    start = max(first for first in first_heights(data / "segments") if first <= height)
    path = segment_path(data / "segments", start)
    records = [each for _, each in salvage(path, GENESIS.chain_id) if each is not None]
    records[height - start] = record
    write_file(data / "segments", start, GENESIS.chain_id, records)


def forged(height: int) -> bytes:
    """Return a block with a certificate that one signer is missing in."""
    block = STORY.blocks[height - 1]
    few = CommitCertificate(
        block.certificate.height,
        block.certificate.round,
        block.certificate.block_id,
        block.certificate.seals[:2],
    )
    return encode(CommittedBlock(block.block, few, block.outcomes))


@pytest.mark.parametrize("other", ["another block", "too few signers", "no block"])
def test_a_whole_block_that_was_never_decided_is_named_and_healed(
    data: Path, whole: Path, other: str
) -> None:
    record = {"another block": RECORDS[2], "too few signers": forged(6), "no block": b"\x00ab"}
    replaced(data, 6, record[other])
    with rebuild(data) as found:
        (damage,) = found.verify().damages
    assert (damage.height, "not true" in damage.reason) == (6, True)
    with rebuild(data) as found, pytest.raises(StoreDamaged, match=r"block 6.*not true"):
        found.reindex()
    with rebuild(data) as found:
        assert found.heal(from_story).healed == (6,)
    require_whole(data, whole)


def test_a_source_that_lies_or_ends_is_named_and_nothing_of_it_kept(
    data: Path, whole: Path
) -> None:
    path = files(data)[1]
    height = int(path.stem.removeprefix("blocks-"))
    spoil(path, 100)
    before = path.read_bytes()
    for given in ([forged(height)], [RECORDS[height]], [RECORDS[height - 2]], [b"no block"], []):
        with rebuild(data) as found, pytest.raises(FalseSource) as refused:
            found.heal(lambda *_, given=given: iter(given))
        assert refused.value.height == height
        assert path.read_bytes() == before
    with rebuild(data) as found:
        assert found.heal(from_story).healed == (height,)
    require_whole(data, whole)


def test_data_that_a_node_has_open_is_left_alone(data: Path) -> None:
    for folder in (data, data / "segments"):
        lock = DirectoryLock(folder)
        with pytest.raises(StoreLocked), rebuild(data):
            pass
        lock.release()
    with rebuild(data):
        pass


def test_a_store_that_a_crash_kept_from_its_place_is_moved_there(data: Path, whole: Path) -> None:
    (data / "state").rename(data / REBUILT)
    (data / REPLACED).mkdir()
    chain = opened(data)
    assert chain.height == LAST
    chain.close()
    assert state_folder(data) == data / "state"
    with rebuild(data):
        pass
    require_whole(data, whole)


def test_a_node_without_a_block_is_rebuilt_too(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with rebuild(tmp_path) as found:
        assert found.verify().is_sound
        assert found.reindex().height == 0
    shutil.rmtree(tmp_path / "segments")
    with rebuild(tmp_path) as found:
        assert found.heal(from_nobody).height == 0
    opened(tmp_path).close()
