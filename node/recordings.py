"""What a stopped node or an export holds of a chain, read alike: blocks, and perhaps a state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.genesis import SignedGenesis
from ledger.lock import DirectoryLock
from ledger.segments import Segments
from ledger.store import Store, open_store
from node.applied import tip_of
from node.audit.errors import NoBlocks
from node.audit.reading import blocks_in
from node.chain import SEGMENTS, STATE, state_folder
from node.config import FILE_NAME, load_config


@dataclass(frozen=True, slots=True)
class Recording:
    """The blocks that one source has, from a height on, and the state of a node, if it is one."""

    name: str
    path: Path
    first: int  # the lowest height that is kept
    first_whole: int  # the lowest one that is kept with its body
    _segments: Segments | None
    _genesis: SignedGenesis
    state: Store | None
    state_height: int  # that the state has applied, 0 where there is none

    @property
    def last(self) -> int:
        """The height of the last block; an export is read for it."""
        if self._segments is not None:
            return self._segments.last_height
        return sum(1 for _ in self.records())

    def records(self, height: int = 1) -> Iterator[bytes]:
        """Yield the records from a height on; raise `FalseFact`, or `StoreDamaged`."""
        if self._segments is not None:
            yield from self._segments.iterate(height)
            return
        with self.path.open("rb") as file:
            yield from blocks_in(file, self._genesis, height)


@contextmanager
def recording(path: Path, genesis: SignedGenesis, name: str = "") -> Iterator[Recording]:
    """Open an export, the folder of a stopped node, or the folder of its data.

    It is called by the `name` given, or as its file or folder is.

    Raises `StoreLocked` where the node runs, `NoBlocks`, `StoreDamaged`, OSError.
    """
    if path.is_file():
        yield Recording(name or path.name, path, 1, 1, None, genesis, None, 0)
        return
    data = load_config(path).data if (path / FILE_NAME).is_file() else path
    if not (data / SEGMENTS).is_dir():
        raise NoBlocks(data / SEGMENTS)
    with ExitStack() as closing:
        closing.callback(DirectoryLock(data).release)
        segments = Segments.open(data / SEGMENTS, chain_id=genesis.chain_id)
        closing.callback(segments.close)
        state = None
        if (data / STATE).is_dir() or state_folder(data).is_dir():
            state = open_store(data / STATE)
            closing.callback(state.close)
        height = 0 if state is None else tip_of(state)
        yield Recording(
            name or path.name,
            path,
            segments.first_height,
            segments.first_whole,
            segments,
            genesis,
            state if height else None,
            height,
        )
