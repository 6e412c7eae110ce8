"""Putting a snapshot in the place of a chain that has no block yet, whatever moment a crash takes.

The folders are made whole beside the old ones, in one that a rename makes the truth; from then on
every opening of the chain ends what is left to do.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from ledger import segments
from node import files
from node.errors import Locked, NodeError

UNFINISHED: Final = "restore.unfinished"  # where a backup is being restored, until it is whole
LAST_RESTORED: Final = "segments"  # with it all is there
BUILDING: Final = "joined.new"
JOINED: Final = "joined"
_REPLACED: Final = ".old"
_EMPTY_BYTES: Final = 64  # more than a file of blocks without a block has

T = TypeVar("T")


class HasBlocks(NodeError):
    """What would take the place of an empty chain finds one that has blocks."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"a snapshot is to be installed, but {path} holds blocks",
            hint=f"nothing was changed; to keep the blocks remove the folder {JOINED} of the data",
        )


class HalfRestored(Locked):
    """A backup was being restored here, and only some of it is in its place."""

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"{data} holds a backup that was not restored to the end",
            hint=f"run again: depoli backup restore BACKUP --data {data}",
        )


def prepare(data: Path, fill: Callable[[Path], T]) -> T:
    """Let the folders that `fill` makes take their places in `data` when that is next opened.

    Raises `HasBlocks`, and what `fill` raises: then everything is as it was.
    """
    building = data / BUILDING
    shutil.rmtree(building, ignore_errors=True)
    files.make_folder(building)
    try:
        made = fill(building)
        for each in building.iterdir():
            _require_empty(data / each.name)
        files.sync_tree(building)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    building.rename(data / JOINED)
    files.sync_folder(data)
    return made


def settle(data: Path) -> None:
    """Put in its place what `prepare` made, if it is not there yet; nobody else may use `data`.

    Raises `HasBlocks`, and `HalfRestored` before anything is changed.
    """
    if (data / UNFINISHED).is_dir() and not (data / LAST_RESTORED).is_dir():
        raise HalfRestored(data)
    joined = data / JOINED
    if not joined.is_dir():
        return
    for made in sorted(each for each in joined.iterdir() if not each.suffix):
        place = data / made.name
        _require_empty(place)
        if place.exists():
            place.rename(made.with_suffix(_REPLACED))
        made.rename(place)
        files.sync_folder(joined)
        files.sync_folder(data)
    shutil.rmtree(joined)


def _require_empty(folder: Path) -> None:
    for first in segments.first_heights(folder):
        path = segments.segment_path(folder, first)
        if path.stat().st_size > _EMPTY_BYTES:
            raise HasBlocks(path)
