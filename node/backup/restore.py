"""Prove that a backup is whole and true, and make the folder of a node from it.

Every file is compared with the manifest, and every block verified and executed from the genesis on,
as `depoli db reindex` does it: so what is restored is the chain, whoever had the backup meanwhile.
There is no journal in it. A validator that starts without one signs nothing at heights at which its
old self may have signed: docs/decisions/041.
"""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.genesis import SignedGenesis
from ledger.errors import Mismatch, StoreDamaged
from ledger.keys import Role
from ledger.lock import FILE_NAME as LOCK
from ledger.lock import DirectoryLock
from ledger.segments import segment_path
from node import ceremony, files, keystore
from node.audit.report import Progress
from node.backup import manifest as manifests
from node.backup.errors import BadBackup, InTheWay, NoBackup, NoRoom, OtherBlocks
from node.backup.manifest import Manifest
from node.chain import SEGMENTS, STATE
from node.config import FILE_NAME, Config, Mode, load_config, parse_config
from node.foundation import NoFoundation
from node.health import free_bytes
from node.initialise import (
    DATA_FOLDER,
    GENESIS_FILE,
    JOURNAL_FOLDER,
    OPERATOR_SCOPES,
    TOKENS_FILE,
    give_token,
)
from node.installing import LAST_RESTORED, UNFINISHED
from node.kept import FILE_NAME as KEPT
from node.process import OPERATOR_TOKEN
from node.rebuild import Rebuild, Rebuilt
from node.signatures import VerifiedSignatures
from node.snapshots import FOLDER as SNAPSHOTS
from node.snapshots import BadSnapshot

# In this order: with the last it is there.
_HOME: Final = (OPERATOR_TOKEN, TOKENS_FILE, GENESIS_FILE, DATA_FOLDER, FILE_NAME)
_DATA: Final = (JOURNAL_FOLDER, SNAPSHOTS, STATE, LAST_RESTORED)
_ROLES: Final = {
    Mode.OBSERVER: (Role.TLS,),
    Mode.VALIDATOR: (Role.TLS, Role.CONSENSUS, Role.CHECKPOINT),
}

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup that is whole and true."""

    manifest: Manifest
    state_digest: bytes  # as it was executed


@dataclass(frozen=True, slots=True)
class Restored:
    """What was made of a backup, and what it still lacks."""

    manifest: Manifest
    keys: Path | None  # folder in which the node looks for its seeds, None where only data is here
    missing: tuple[str, ...]  # seeds that are not there
    votes: bool  # it is the node of a validator


def verify(
    folder: Path, genesis: Path | None, scratch: Path | None, show: Show = lambda _: None
) -> Verified:
    """Return what the backup in `folder` is, once it was restored and executed in a scratch folder.

    `genesis` is the one that it must be of, where it is given. Raises `NoBackup`, `BadBackup`,
    `OtherBlocks`, `StoreLocked`, OSError.
    """
    with _opened(folder, genesis) as found:
        for stored in found.files:
            for _ in manifests.read(folder, stored):
                pass
        with tempfile.TemporaryDirectory(prefix="depoli-backup-", dir=scratch) as name:
            data = Path(name)
            (data / SEGMENTS).mkdir()
            for segment in found.segments:
                path = segment_path(data / SEGMENTS, segment.first)
                _link(path, (folder / segment.name).resolve())
            _copy_snapshot(folder, found, data)
            made = _executed(folder, found, data, None, show)
    return Verified(found, made.state_digest)


def restore(
    folder: Path, target: Path, genesis: Path | None, show: Show = lambda _: None, *, is_home: bool
) -> Restored:
    """Make `target`, which is empty or not there, the home of a node, or its folder of data alone.

    Nothing has its place before all of it is whole and true; what an interrupted one left is
    removed, and nothing that another program put there meanwhile. Raises `InTheWay`, `NoRoom`, and
    as `verify` does.
    """
    with _opened(folder, genesis) as found:
        names = _HOME if is_home else _DATA
        _require_empty(target, names)
        files.make_folder(target)
        building = target / UNFINISHED
        with contextlib.ExitStack() as closing:
            if not is_home:  # no node begins there meanwhile
                closing.callback(DirectoryLock(target).release)
            lock = DirectoryLock(building)
            closing.callback(shutil.rmtree, building, ignore_errors=True)
            closing.callback(lock.release)
            _require_empty(target, names)  # another one may have finished meanwhile
            _clear(target, names[:-1])
            needed, free = found.size, free_bytes(target)
            if free < needed:
                raise NoRoom(target, needed, free)
            placed = list[str]()
            try:
                config = _build(folder, found, building, show, is_home=is_home)
                files.sync_tree(building)
                for name in names:
                    made = (building if is_home else building / DATA_FOLDER) / name
                    if made.exists():
                        _place(made, target / name)
                        placed.append(name)
                        files.sync_folder(target)
            except Exception:
                _clear(target, placed[::-1])
                raise
        files.sync_folder(target.resolve().parent)
    votes = config.mode is Mode.VALIDATOR
    if not is_home:
        return Restored(found, None, (), votes)
    keys = load_config(target).keys
    return Restored(found, keys, tuple(_missing(keys, config.mode)), votes)


def _build(folder: Path, found: Manifest, building: Path, show: Show, *, is_home: bool) -> Config:
    """Make everything in a folder beside its place."""
    config = parse_config(found.config.encode(), building / FILE_NAME)
    data = building / DATA_FOLDER
    for inner in (SEGMENTS, JOURNAL_FOLDER):
        files.make_folder(data / inner)
    for segment in found.segments:
        path = segment_path(data / SEGMENTS, segment.first)
        manifests.write(path, manifests.read(folder, segment), lambda _: None)
    if (kept := found.other("kept-")) is not None:
        path = data / JOURNAL_FOLDER / KEPT
        manifests.write(path, manifests.read(folder, kept), lambda _: None)
    _copy_snapshot(folder, found, data)
    _executed(folder, found, data, config.store_engine, show)
    if is_home:
        stored = found.other(manifests.GENESIS)
        assert stored is not None  # `load` saw to it
        files.create(building / GENESIS_FILE, b"".join(manifests.read(folder, stored)))
        book, token = building / TOKENS_FILE, building / OPERATOR_TOKEN
        give_token(book, token, member=None, scopes=OPERATOR_SCOPES, label="operator")
        files.create(building / FILE_NAME, found.config.encode())
    return config


def _copy_snapshot(folder: Path, found: Manifest, data: Path) -> None:
    for stored in found.others:
        if stored.name.startswith(f"{manifests.SNAPSHOTS}/"):
            path = data / SNAPSHOTS / Path(stored.name).relative_to(manifests.SNAPSHOTS)
            files.make_folder(path.parent)
            manifests.write(path, manifests.read(folder, stored), lambda _: None)


def _executed(folder: Path, found: Manifest, data: Path, engine: str | None, show: Show) -> Rebuilt:
    """Execute all blocks; raise `BadBackup` where they are not what the manifest says."""
    names = {segment_path(data / SEGMENTS, each.first): each.name for each in found.segments}
    chain = _genesis(folder, found)
    try:
        with Rebuild(data, chain.genesis, VerifiedSignatures(), engine=engine, show=show) as run:
            made = run.reindex()
    except StoreDamaged as error:
        name = names.get(Path(error.path), manifests.SEGMENTS)
        raise BadBackup(folder / name, f"block {error.height}: {error.reason}") from None
    except (Mismatch, NoFoundation, BadSnapshot) as error:
        raise BadBackup(folder, str(error)) from None
    if (made.height, made.block_id.hex()) != (found.height, found.block):
        told = f"its blocks end with {made.height}, {made.block_id.hex()}"
        raise BadBackup(folder / manifests.FILE_NAME, told)
    return made


@contextlib.contextmanager
def _opened(folder: Path, genesis: Path | None) -> Iterator[Manifest]:
    """Return what a backup is, while nobody brings it up to date."""
    if not folder.is_dir():
        raise NoBackup(folder)
    with contextlib.ExitStack() as closing:
        try:
            closing.callback(DirectoryLock(folder).release)
        except OSError as error:
            if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
                raise  # where we cannot write it is read without a lock: what changes is noticed
        found = manifests.load(folder)
        ours = _genesis(folder, found)
        if genesis is not None and ceremony.load_genesis(genesis).chain_id != ours.chain_id:
            raise OtherBlocks(folder, f"it is of the chain {found.chain_id}, not that of {genesis}")
        yield found


def _genesis(folder: Path, found: Manifest) -> SignedGenesis:
    stored = found.other(manifests.GENESIS)
    assert stored is not None  # `load` saw to it
    text = b"".join(manifests.read(folder, stored))
    path = folder / manifests.GENESIS
    chain = ceremony.parse_genesis(text, path)
    if chain.chain_id.hex() != found.chain_id:
        raise BadBackup(path, f"it is the genesis of {chain.chain_id.hex()}, not {found.chain_id}")
    return chain


def _require_empty(target: Path, names: Sequence[str]) -> None:
    """Raise `InTheWay` where there is anything but what an interrupted restoration left."""
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if target.exists() and not target.is_dir():
        raise InTheWay(target, "a file")
    ours = {UNFINISHED, *names[:-1]} if UNFINISHED in there else set()
    for name in sorted(there - ours - ({LOCK} if names is _DATA else set())):
        raise InTheWay(target, name)


def _place(made: Path, place: Path) -> None:
    if place.exists():
        raise InTheWay(place.parent, place.name)
    made.rename(place)


def _clear(target: Path, names: Sequence[str]) -> None:
    """Remove what was not finished, but for the lock."""
    unfinished = [path for path in (target / UNFINISHED).iterdir() if path.name != LOCK]
    for path in [*unfinished, *(target / name for name in names)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:  # this file system has no links, or this user may make none
        shutil.copyfile(target, path)


def _missing(keys: Path, mode: Mode) -> Iterator[str]:
    """Yield the names of the seeds that a node needs and that are not there."""
    for role in _ROLES[mode]:
        name = keystore.FILE_NAMES[role] + keystore.SUFFIX
        if not (keys / name).exists():
            yield name
