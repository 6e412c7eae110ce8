"""Backups: whole or not at all, only what is new, no secret, and restored over nothing."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from click.testing import CliRunner, Result

from contracts.execute import DirectSignatures
from contracts.genesis_json import signed_json
from ledger.errors import StoreDamaged, StoreLocked
from ledger.lock import DirectoryLock
from ledger.segments import Segments, first_heights, write_file
from node import snapshots
from node.backup import manifest as manifests
from node.backup.create import create
from node.backup.errors import (
    BadBackup,
    Behind,
    Inside,
    InTheWay,
    NoBackup,
    NoRoom,
    NoSnapshot,
    NothingThere,
    NotOurs,
    OtherBlocks,
)
from node.backup.restore import restore, verify
from node.chain import Chain
from node.cli.main import main
from node.config import write_config
from node.errors import Exit
from node.installing import UNFINISHED, HalfRestored
from node.journal import Journal, Kind, Record
from node.kept import KeptFile
from tests.chainmaker import Chain as Story
from tests.chainmaker import found
from tests.node.test_rebuild import FILE_BYTES, GENESIS, LAST, RECORDS, STORY, contents, files

SIGNATURES = DirectSignatures()
SECRET = b"a secret that a comment holds"
TOKEN = b"depoli_operator_token_of_a_test"


def grow(home: Path, last: int, engine: str | None = "sqlite") -> None:
    """Let the chain of a home have that many blocks, in several files."""
    chain = Chain.open(home / "data", GENESIS, SIGNATURES, engine=engine, segment_bytes=FILE_BYTES)
    for committed in STORY.blocks[chain.height : last]:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    chain.close()


def make_home(home: Path, genesis: Story = STORY) -> Path:
    home.mkdir()
    settings = write_config({"store.engine": "sqlite", "data": "data"}, {})
    (home / "config.toml").write_text(settings + f"# {SECRET.decode()}\n")
    (home / "genesis.json").write_text(signed_json(genesis.genesis))
    return home


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_home(tmp_path_factory.mktemp("whole") / "home")
    grow(home, LAST)
    return home


@pytest.fixture
def home(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    folder = tmp_path_factory.mktemp("made") / "backup"
    create(whole, folder)
    return folder


@pytest.fixture
def backup(tmp_path: Path, made: Path) -> Path:
    """A backup that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "backup"))


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and size of all files: one that was copied again has another."""
    return {path.name: (path.stat().st_ino, path.stat().st_size) for path in folder.iterdir()}


def file_inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and size of all files of blocks."""
    return inodes(folder / "segments")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["backup", *map(str, words)])


# --- making -----------------------------------------------------------------------------------


def test_a_backup_is_the_chain_and_restores_to_it(home: Path, folder: Path, tmp_path: Path) -> None:
    copied = create(home, folder)
    assert (copied.manifest.height, copied.manifest.block) == (
        LAST,
        STORY.state.header.hash.hex(),
    )
    assert len(copied.manifest.segments) == len(first_heights(home / "data" / "segments")) > 4
    proved = verify(folder, home / "genesis.json", tmp_path)
    assert proved.state_digest == STORY.state.digest.hash
    assert not list(tmp_path.glob("depoli-backup-*"))
    restore(folder, tmp_path / "again", None, is_home=True)
    chain = Chain.open(tmp_path / "again" / "data", GENESIS, SIGNATURES)
    assert list(chain.records(1)) == RECORDS
    chain.close()
    assert contents(tmp_path / "again" / "data") == contents(home / "data")


def test_a_second_one_copies_only_what_is_new(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "home")
    grow(home, LAST // 2)
    create(home, folder)
    before = file_inodes(folder)
    again = create(home, folder)
    assert (again.copied, file_inodes(folder)) == (0, before)
    grow(home, LAST)
    more = create(home, folder)
    after = file_inodes(folder)
    sealed = [each.name.removeprefix("segments/") for each in more.manifest.segments if each.sealed]
    kept = [name for name in sealed if name in before]
    assert len(kept) >= 2
    assert all(after[name] == before[name] for name in kept)
    assert more.copied == more.manifest.size - sum(before[name][1] for name in kept) - (
        (folder / "genesis.json").stat().st_size
    )
    assert verify(folder, None, tmp_path).manifest.height == LAST
    named = {each.name for each in more.manifest.files}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == named | {"manifest.json", "lock"}


def test_a_record_that_is_being_written_is_left_for_the_next_one(home: Path, folder: Path) -> None:
    last = files(home / "data")[-1]
    with last.open("ab") as file:
        file.write(RECORDS[-1][:100])
    assert create(home, folder).manifest.height == LAST
    assert (folder / create(home, folder).manifest.segments[-1].name).stat().st_size < (
        last.stat().st_size
    )


def test_a_file_that_was_just_begun_is_left_for_the_next_one(home: Path, folder: Path) -> None:
    write_file(home / "data" / "segments", LAST + 1, GENESIS.chain_id)
    copied = create(home, folder)
    assert copied.manifest.height == LAST
    assert all(each.sealed for each in copied.manifest.segments)
    again = create(home, folder).manifest
    assert again.segments == copied.manifest.segments
    assert again.block == STORY.state.header.hash.hex()


def test_it_is_made_beside_whoever_has_the_blocks_open(home: Path, folder: Path) -> None:
    chain = Chain.open(home / "data", GENESIS, SIGNATURES, segment_bytes=FILE_BYTES)
    node = DirectoryLock(home / "data")  # as a node that runs
    assert create(home, folder).manifest.height == LAST
    node.release()
    chain.close()


def test_no_secret_is_in_it(home: Path, folder: Path) -> None:
    """Not the seeds, not the tokens nor their hashes, not the journal, not a comment."""
    seeds = home / "keys"
    seeds.mkdir()
    secrets = [SECRET, TOKEN]
    for role in ("node", "consensus", "checkpoint", "transaction", "sealing", "human"):
        seed = os.urandom(32)
        (seeds / f"{role}.seed").write_text(seed.hex())
        secrets += [seed, seed.hex().encode()]
    (home / "operator.token").write_bytes(TOKEN)
    (home / "tokens.toml").write_bytes(b"[[token]]\nsha256 = '" + b"ab" * 32 + b"'\n")
    secrets.append(b"ab" * 32)
    journal = Journal.create(home / "data" / "journal", bytes(64))
    promise = b"what this validator promised"
    journal.append([Record(1, Kind.PROMISE, promise), Record(1, Kind.KEPT, b"what is kept")])
    journal.close()
    secrets.append(promise)
    create(home, folder)
    everything = b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    assert b"what is kept" in everything  # this search finds what is there
    assert [secret for secret in secrets if secret in everything] == []
    assert {path.suffix for path in folder.rglob("*")} == {"", ".json", ".seg", ".proposals"}
    for path in [folder, *folder.rglob("*")]:  # and nobody else reads it
        assert path.name == "lock" or path.stat().st_mode & 0o077 == 0, path


def test_the_kept_proposals_come_back(home: Path, folder: Path, tmp_path: Path) -> None:
    kept = KeptFile(home / "data" / "journal", bytes(64))
    (home / "data" / "journal").mkdir()
    kept.append([b"first"])
    first = create(home, folder)
    kept.append([b"second"])
    kept.close()
    second = create(home, folder)
    assert first.manifest.other("kept-") != second.manifest.other("kept-")
    assert len(list(folder.glob("kept-*"))) == 1
    restore(folder, tmp_path / "again", None, is_home=True)
    assert KeptFile(tmp_path / "again" / "data" / "journal", bytes(64)).read() == [
        b"first",
        b"second",
    ]
    assert not list((tmp_path / "again" / "data" / "journal").glob("*.journal"))


def test_damage_at_the_node_is_named_and_nothing_is_made_of_it(home: Path, folder: Path) -> None:
    create(home, folder)
    before = (folder / "manifest.json").read_bytes()
    for path in (files(home / "data")[-1], files(home / "data")[0]):
        content = path.read_bytes()
        path.write_bytes(content[:100] + bytes((content[100] ^ 1,)) + content[101:])
        with pytest.raises(StoreDamaged, match=path.name):
            create(home, path.parent.parent.parent.parent / "new")
        path.write_bytes(content)
    broken = patch("node.backup.create.segments.pieces", side_effect=OSError(errno.EIO, "broken"))
    with broken, pytest.raises(OSError, match="broken"):
        create(home, folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_missing_file_is_damage_too(home: Path, folder: Path) -> None:
    files(home / "data")[1].unlink()
    with pytest.raises(StoreDamaged, match="no whole record"):
        create(home, folder)


def test_two_at_once_are_refused(home: Path, backup: Path) -> None:
    first = DirectoryLock(backup)
    with pytest.raises(StoreLocked):
        create(home, backup)
    with pytest.raises(StoreLocked):
        verify(backup, None, None)
    assert run("create", backup, "--config", home).exit_code == Exit.LOCKED
    first.release()


def test_a_backup_of_another_chain_is_left_as_it_is(backup: Path, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other", Story(found(others=())))
    before = file_inodes(backup)
    with pytest.raises(OtherBlocks, match="it is a backup of the chain"):
        create(other, backup)
    with pytest.raises(OtherBlocks, match="not that of"):
        verify(backup, other / "genesis.json", None)
    assert file_inodes(backup) == before


def test_a_node_that_is_behind_does_not_shorten_a_backup(backup: Path, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    grow(home, LAST - 1)
    before = file_inodes(backup)
    with pytest.raises(Behind, match=f"up to {LAST}, and the node only up to {LAST - 1}"):
        create(home, backup)
    assert file_inodes(backup) == before


def test_other_blocks_of_the_same_chain_are_refused(home: Path, backup: Path) -> None:
    before = manifests.load(backup)
    manifests.save(backup, msgspec.structs.replace(before, block="00" * 32))
    with pytest.raises(OtherBlocks, match=f"block {LAST} is not the node's"):
        create(home, backup)


def test_folders_that_hold_something_else_are_refused(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "pictures"
    other.mkdir()
    (other / "holiday.jpg").touch()
    with pytest.raises(NotOurs, match=r"holiday\.jpg"):
        create(home, other)
    with pytest.raises(NotOurs):
        create(home, home)
    with pytest.raises(Inside):
        create(home, home / "data" / "backup")
    assert not (home / "data" / "backup").exists()


def test_a_node_without_blocks_has_no_backup(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "home")
    with pytest.raises(NothingThere):
        create(home, folder)
    grow(home, 0)
    with pytest.raises(NothingThere):
        create(home, folder)


def test_where_there_is_no_room_nothing_is_begun(
    home: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("create", "restore"):
        monkeypatch.setattr(f"node.backup.{where}.free_bytes", lambda _: 1000)
    with pytest.raises(NoRoom):
        create(home, tmp_path / "new")
    assert not list((tmp_path / "new" / "segments").iterdir())
    with pytest.raises(NoRoom):
        restore(backup, tmp_path / "again", None, is_home=True)
    assert not list((tmp_path / "again").iterdir())


def full_after(count: int) -> Iterator[OSError | None]:
    yield from [None] * count
    while True:
        yield OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_leaves_the_backup_that_was_there(tmp_path: Path, folder: Path) -> None:
    home = make_home(tmp_path / "home")
    grow(home, LAST // 2)
    create(home, folder)
    grow(home, LAST)
    real, answers = os.write, full_after(3)

    def write(descriptor: int, data: bytes) -> int:
        if (answer := next(answers)) is not None:
            raise answer
        return real(descriptor, data)

    with patch("os.write", write), pytest.raises(OSError, match="No space left") as full:
        create(home, folder)
    assert Path(full.value.filename).parent == folder / "segments"
    assert verify(folder, None, tmp_path).manifest.height == LAST // 2
    assert not list(folder.rglob("*.new"))
    assert create(home, folder).manifest.height == LAST


def test_what_an_interrupted_one_had_copied_is_not_copied_again(home: Path, folder: Path) -> None:
    interrupted = patch("node.backup.manifest.save", side_effect=KeyboardInterrupt)
    with interrupted, pytest.raises(KeyboardInterrupt):
        create(home, folder)
    (folder / "segments" / "blocks-000000000001.new").write_bytes(b"torn")
    before = {name: each for name, each in file_inodes(folder).items() if name.endswith(".seg")}
    with pytest.raises(NoBackup):
        verify(folder, None, None)
    assert create(home, folder).copied == 0
    assert file_inodes(folder) == before


# --- proving ----------------------------------------------------------------------------------


def spoiled(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_damage_in_a_backup_is_named_and_nothing_is_restored(backup: Path, tmp_path: Path) -> None:
    found = manifests.load(backup)
    for stored in (found.segments[1], found.other("genesis")):
        assert stored is not None
        path = backup / stored.name
        content = path.read_bytes()
        spoiled(path, len(content) // 2)
        with pytest.raises(BadBackup, match=f"{path.name}: its SHA-256 is"):
            verify(backup, None, tmp_path)
        with pytest.raises(BadBackup, match=path.name):
            restore(backup, tmp_path / "again", None, is_home=True)
        assert not list((tmp_path / "again").iterdir())
        path.write_bytes(content[:-1])
        with pytest.raises(BadBackup, match="bytes, and the manifest says"):
            verify(backup, None, tmp_path)
        path.unlink()
        with pytest.raises(BadBackup, match="it is gone"):
            verify(backup, None, tmp_path)
        path.symlink_to("/etc/passwd")
        with pytest.raises(BadBackup, match="no plain file"):
            verify(backup, None, tmp_path)
        path.unlink()
        path.write_bytes(content)
    assert verify(backup, None, tmp_path).manifest == found


def test_every_byte_of_the_manifest_counts(backup: Path) -> None:
    path = backup / "manifest.json"
    content = path.read_bytes()
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes((content[offset] ^ 1,)) + content[offset + 1 :])
        with pytest.raises(BadBackup, match=r"manifest\.json"):
            manifests.load(backup)


def test_a_manifest_that_leaves_blocks_out_is_refused(backup: Path) -> None:
    found = manifests.load(backup)
    replace = msgspec.structs.replace
    for false in (
        replace(found, segments=found.segments[1:]),
        replace(found, segments=found.segments[:-1]),
        replace(found, segments=(*found.segments[:1], *found.segments[2:])),
        replace(found, others=()),
        replace(found, format="depoli/backup/2"),
        replace(found, height=found.height + 1),
    ):
        manifests.save(backup, false)
        with pytest.raises(BadBackup):
            manifests.load(backup)
    (backup / "manifest.json").write_bytes(b"{")
    with pytest.raises(BadBackup, match="cannot be read"):
        manifests.load(backup)


def test_a_name_that_leads_elsewhere_is_refused(backup: Path) -> None:
    found = manifests.load(backup)
    for name in ("../x", "/etc/passwd", "segments/../../x", "genesis.json\n"):
        stored = msgspec.structs.replace(found.others[0], name=name)
        manifests.save(backup, msgspec.structs.replace(found, others=(stored,)))
        with pytest.raises(BadBackup):
            manifests.load(backup)


def test_blocks_that_are_whole_and_not_true_are_named(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    """Who has the backup can change a block and every hash: execution finds it."""
    directory = home / "data" / "segments"
    first = first_heights(directory)[1]
    records = RECORDS[first - 1 : first_heights(directory)[2] - 1]
    false = bytearray(records[0])
    false[-40] ^= 1
    write_file(directory, first, GENESIS.chain_id, [bytes(false), *records[1:]])
    create(home, folder)
    with pytest.raises(BadBackup, match=f"block {first}: the block is whole, but not true"):
        verify(folder, None, tmp_path)


def test_another_end_than_the_manifest_says_is_refused(backup: Path, tmp_path: Path) -> None:
    found = manifests.load(backup)
    manifests.save(backup, msgspec.structs.replace(found, block="00" * 32))
    with pytest.raises(BadBackup, match=f"its blocks end with {LAST}"):
        verify(backup, None, tmp_path)


def test_a_folder_without_a_backup_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoBackup):
        verify(tmp_path, None, None)
    with pytest.raises(NoBackup):
        verify(tmp_path / "nowhere", None, None)
    assert not (tmp_path / "nowhere").exists()


# --- restoring --------------------------------------------------------------------------------


def test_nothing_is_ever_restored_over_a_node(home: Path, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(InTheWay):
        restore(backup, home, None, is_home=True)
    with pytest.raises(InTheWay):
        restore(backup, home / "data", None, is_home=False)
    (tmp_path / "file").touch()
    with pytest.raises(InTheWay):
        restore(backup, tmp_path / "file", None, is_home=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "anything").touch()
    with pytest.raises(InTheWay, match="anything"):
        restore(backup, tmp_path / "other", None, is_home=True)
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"anything"}


@pytest.mark.parametrize("is_home", [True, False])
def test_what_an_interrupted_restoration_left_is_removed(
    backup: Path, tmp_path: Path, *, is_home: bool
) -> None:
    target = tmp_path / "again"
    target.mkdir()
    (target / UNFINISHED / "data" / "segments").mkdir(parents=True)
    (target / UNFINISHED / "rest").touch()
    for name in ("data", "genesis.json") if is_home else ("state",):
        (target / name).touch()
    restore(backup, target, None, is_home=is_home)
    data = target / "data" if is_home else target
    assert {path.name for path in data.iterdir()} == {"journal", "lock", "segments", "state"}
    if is_home:
        names = {"config.toml", "data", "genesis.json", "operator.token", "tokens.toml"}
        assert {path.name for path in target.iterdir()} == names
    with pytest.raises(InTheWay):
        restore(backup, target, None, is_home=is_home)
    chain = Chain.open(data, GENESIS, SIGNATURES)
    assert chain.height == LAST
    chain.close()


def test_a_node_says_that_its_data_was_not_restored_to_the_end(
    backup: Path, tmp_path: Path
) -> None:
    """Killed before the last rename, it is ended by the same command, whatever was tried before."""
    target = tmp_path / "data"
    real = Path.rename

    def rename(path: Path, place: Path) -> Path:
        if place.name == "segments":
            raise KeyboardInterrupt  # nothing is taken back
        return real(path, place)

    cleared = patch("node.backup.restore.shutil.rmtree")
    with patch.object(Path, "rename", rename), cleared, pytest.raises(KeyboardInterrupt):
        restore(backup, target, None, is_home=False)
    assert (target / "state").is_dir()
    before = sorted(target.rglob("*"))
    with pytest.raises(HalfRestored) as refused:
        Chain.open(target, GENESIS, SIGNATURES)
    assert refused.value.hint == f"run again: depoli backup restore BACKUP --data {target}"
    assert sorted(target.rglob("*")) == before
    restore(backup, target, None, is_home=False)
    chain = Chain.open(target, GENESIS, SIGNATURES)
    assert chain.height == LAST
    chain.close()


def test_two_restorations_into_one_folder_are_refused(backup: Path, tmp_path: Path) -> None:
    target = tmp_path / "again"
    first = DirectoryLock(target / UNFINISHED)
    with pytest.raises(StoreLocked):
        restore(backup, target, None, is_home=True)
    first.release()
    restore(backup, target, None, is_home=True)


def test_what_comes_into_the_folder_meanwhile_stays(backup: Path, tmp_path: Path) -> None:
    target = tmp_path / "again"

    def init(_: object) -> None:
        (target / "config.toml").write_text("another's")

    with pytest.raises(InTheWay, match=r"config\.toml"):
        restore(backup, target, None, init, is_home=True)
    assert [path.name for path in target.iterdir()] == ["config.toml"]
    assert (target / "config.toml").read_text() == "another's"


def test_no_node_begins_in_the_folder_meanwhile(backup: Path, tmp_path: Path) -> None:
    target, tried = tmp_path / "data", list[object]()

    def start(_: object) -> None:
        with pytest.raises(StoreLocked):
            DirectoryLock(target)  # as a node does it before anything else
        tried.append(None)

    restore(backup, target, None, start, is_home=False)
    assert tried
    DirectoryLock(target).release()
    chain = Chain.open(target, GENESIS, SIGNATURES)
    assert list(chain.records(1)) == RECORDS
    chain.close()


# --- the command ------------------------------------------------------------------------------


def test_the_commands_say_what_they_did(home: Path, folder: Path, tmp_path: Path) -> None:
    done = run("create", folder, "--config", home, "--json")
    told = json.loads(done.stdout)
    assert (told["height"], told["block"]) == (LAST, STORY.state.header.hash.hex()), done.output
    assert told["bytes"] > told["copied_bytes"] > 0
    done = run("verify", folder, "--scratch", tmp_path)
    assert done.exit_code == Exit.OK, done.output
    assert STORY.state.digest.hash.hex() in done.stdout
    assert "compare the chain id" in done.stderr
    done = run("restore", folder, "--home", tmp_path / "again")
    assert done.exit_code == Exit.OK, done.output
    for said in ("Put node.seed, consensus.seed, checkpoint.seed into", "It signs nothing before"):
        assert said in done.stdout
    keys = tmp_path / "again" / "keys"
    keys.mkdir()
    (keys / "node.seed").touch()
    assert run("restore", folder, "--home", tmp_path / "again").exit_code == Exit.REJECTED
    done = run("restore", folder, "--data", tmp_path / "data", "--json")
    assert json.loads(done.stdout)["missing_keys"] == [], done.output
    assert run("restore", folder).exit_code == Exit.USAGE
    assert run("verify", tmp_path / "nothing").exit_code == Exit.NOT_INITIALISED
    spoiled(next(iter((folder / "segments").iterdir())), 100)
    done = run("verify", folder)
    assert done.exit_code == Exit.VERIFICATION_FAILED
    assert "hint:  take another backup" in done.stderr


# --- where blocks alone do not lead to the state ------------------------------------------------

AT, BEFORE = 8, 7  # height of the snapshot, and of the first block whose body stays


def pruned(home: Path) -> Path:
    """Make a home whose first blocks are bare, with a snapshot that stands for them."""
    make_home(home)
    grow(home, AT)
    chain = Chain.open(home / "data", GENESIS, SIGNATURES, segment_bytes=FILE_BYTES)
    with contextlib.closing(chain.view()) as view:
        snapshots.create(view, home / "data", GENESIS)
    chain.close()
    grow(home, LAST)
    segments = Segments.open(home / "data" / "segments", chain_id=GENESIS.chain_id)
    assert list(segments.prune(BEFORE))
    segments.close()
    return home


def joined(home: Path, source: Path) -> Path:
    """Make a home that began with the snapshot of another one."""
    make_home(home)
    snapshots.install(home / "data", snapshots.folder_of(source / "data", AT), GENESIS)
    shutil.copytree(source / "data" / "snapshots", home / "data" / "snapshots")
    grow(home, LAST, None)
    return home


def kept_of(home: Path) -> list[bytes]:
    segments = Segments.open(home / "data" / "segments", chain_id=GENESIS.chain_id)
    found = list(segments.iterate(segments.first_height))
    segments.close()
    return found


@pytest.mark.parametrize("kind", ["pruned", "joined"])
def test_what_was_pruned_or_joined_comes_back_with_its_snapshot(
    tmp_path: Path, folder: Path, kind: str
) -> None:
    home = pruned(tmp_path / "home")
    if kind == "joined":
        home = joined(tmp_path / "joined", home)
    copied = create(home, folder)
    first = {"pruned": BEFORE, "joined": AT + 1}[kind]
    assert (copied.manifest.snapshot, copied.manifest.first_whole) == (AT, first)
    proved = verify(folder, None, tmp_path)
    assert proved.state_digest == STORY.state.digest.hash
    restore(folder, tmp_path / "again", None, is_home=True)
    assert kept_of(tmp_path / "again") == kept_of(home)
    assert snapshots.heights(tmp_path / "again" / "data") == [AT]
    chain = Chain.open(tmp_path / "again" / "data", GENESIS, SIGNATURES)
    assert (chain.height, chain.state.digest.hash) == (LAST, STORY.state.digest.hash)
    assert (chain.first_body, chain.record(LAST)) == (first, RECORDS[-1])
    chain.close()
    before = inodes(folder / "snapshots" / f"{AT:012}")
    again = create(home, folder)
    assert (again.copied, again.manifest.files) == (0, copied.manifest.files)
    assert inodes(folder / "snapshots" / f"{AT:012}") == before
    assert create(tmp_path / "again", folder).manifest.snapshot == AT


def test_a_backup_follows_what_was_pruned(tmp_path: Path, folder: Path, whole: Path) -> None:
    before = create(whole, folder)
    home = pruned(tmp_path / "home")
    shutil.rmtree(home / "data" / "state")
    bodies = b"".join(path.read_bytes() for path in (folder / "segments").iterdir())
    copied = create(home, folder)
    assert copied.manifest.size < before.manifest.size + sum(
        each.size for each in copied.manifest.others if each.name.startswith("snapshots")
    )
    left = b"".join(path.read_bytes() for path in (folder / "segments").iterdir())
    transaction = STORY.blocks[0].block.body.transactions[0]
    assert (transaction in bodies, transaction in left) == (True, False)
    assert verify(folder, None, tmp_path).manifest.first_whole == BEFORE


def test_without_a_snapshot_no_backup_is_made_of_a_pruned_node(
    tmp_path: Path, folder: Path
) -> None:
    home = pruned(tmp_path / "home")
    shutil.rmtree(home / "data" / "snapshots")
    with pytest.raises(NoSnapshot, match=f"whole blocks begin with {BEFORE}"):
        create(home, folder)
    assert not (folder / "manifest.json").exists()


def test_a_snapshot_that_was_removed_meanwhile_is_looked_for_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, heights = pruned(tmp_path / "home"), snapshots.heights
    answers = iter([[LAST + 1], [LAST + 1]])
    monkeypatch.setattr(snapshots, "heights", lambda data: next(answers, None) or heights(data))
    assert create(home, folder).manifest.snapshot == AT
    assert next(answers, None) is None


def test_another_snapshot_takes_the_place_of_the_one_before(tmp_path: Path, folder: Path) -> None:
    home = pruned(tmp_path / "home")
    create(home, folder)
    chain = Chain.open(home / "data", GENESIS, SIGNATURES, segment_bytes=FILE_BYTES)
    with contextlib.closing(chain.view()) as view:
        snapshots.create(view, home / "data", GENESIS)
    chain.close()
    assert create(home, folder).manifest.snapshot == LAST
    assert [path.name for path in (folder / "snapshots").iterdir()] == [f"{LAST:012}"]
    assert verify(folder, None, tmp_path).manifest.height == LAST
    # One that is damaged at the node is passed over.
    (home / "data" / "snapshots" / f"{LAST:012}" / "manifest").write_bytes(b"no manifest")
    assert create(home, tmp_path / "other").manifest.snapshot == AT
    assert verify(tmp_path / "other", None, tmp_path).manifest.snapshot == AT


def test_damage_of_a_snapshot_is_named(tmp_path: Path, folder: Path) -> None:
    home = pruned(tmp_path / "home")
    create(home, folder)
    chunk = Path("snapshots") / f"{AT:012}" / "000000.chunk"
    spoiled(home / "data" / chunk, 50)
    with pytest.raises(NoSnapshot):  # a new one is not made of it, and that which was here stays
        create(home, tmp_path / "other")
    assert create(home, folder).copied == 0
    assert verify(folder, None, tmp_path).manifest.snapshot == AT
    spoiled(folder / chunk, 60)
    with pytest.raises(BadBackup, match=r"000000\.chunk: its SHA-256"):
        verify(folder, None, tmp_path)
    with pytest.raises(BadBackup, match=r"000000\.chunk"):
        restore(folder, tmp_path / "again", None, is_home=True)


def test_what_is_pruned_meanwhile_never_leaves_a_whole_block_below_a_bare_one(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file is being copied when it happens."""
    source = pruned(tmp_path / "source")
    count = len(first_heights(source / "data" / "segments"))
    written = manifests.write
    for moment in range(count):
        home = make_home(tmp_path / f"home-{moment}")
        grow(home, LAST)
        shutil.copytree(source / "data" / "snapshots", home / "data" / "snapshots")
        files_done: list[Path] = []

        def write(
            path: Path,
            content: Iterator[bytes],
            counted: Callable[[int], None],
            home: Path = home,
            done: list[Path] = files_done,
            moment: int = moment,
        ) -> str:
            if len(done) == moment:
                segments = Segments.open(home / "data" / "segments", chain_id=GENESIS.chain_id)
                assert list(segments.prune(BEFORE))
                segments.close()
            done.append(path)
            return written(path, content, counted)

        monkeypatch.setattr(manifests, "write", write)
        target = folder.with_name(f"backup-{moment}")
        made = create(home, target).manifest
        monkeypatch.undo()
        assert made.first_whole in {1, 4, BEFORE}
        assert verify(target, None, tmp_path).manifest.height == LAST
