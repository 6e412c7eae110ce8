"""Execute exports from genesis in this process, and print what each block comes to.

`scripts/determinism` runs it under many conditions and compares what it prints. Besides the blocks
it says under which conditions it really ran, so that none is believed to have been tried that was
not. It verifies nothing: `depoli audit verify` does.
"""

import argparse
import builtins
import gc
import json
import locale
import os
import platform
import random
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # whoever runs this

from consensus.evidence import judge
from contracts import execute as rules
from contracts.beginning import start
from contracts.errors import ContractsError
from contracts.execute import DirectSignatures, Executed
from contracts.genesis import SignedGenesis
from contracts.state import Overlay, Reader
from ledger.block import CommittedBlock
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.store import Store, open_store
from ledger.transaction import parse
from node.audit.records import Records, is_proposal
from node.audit.state import Memory
from tests import second

K = TypeVar("K")
V = TypeVar("V")

Apply = Callable[[Mapping[bytes, bytes | None]], None]
FRAMES = 30  # above the one that replays: what recurses with the size of its input needs more


class Disordered(dict[K, V]):
    """A dict that is walked in another order each time."""

    chance = random.Random(0)  # noqa: S311 - from a seed

    def __iter__(self) -> Iterator[K]:
        keys = list(super().__iter__())
        self.chance.shuffle(keys)
        return iter(keys)

    def keys(self) -> Any:  # noqa: ANN401 - a view that goes through __iter__
        """Return the keys."""
        return KeysView(self)

    def values(self) -> Any:  # noqa: ANN401 - a view that goes through __iter__
        """Return the values."""
        return ValuesView(self)

    def items(self) -> Any:  # noqa: ANN401 - a view that goes through __iter__
        """Return the pairs."""
        return ItemsView(self)


class DisorderedOverlay(Overlay):
    """Changes that come in no order; what is read is never the very object that was written."""

    def __init__(self, base: Reader) -> None:
        super().__init__(base)
        self._read = Disordered()
        self.changes = Disordered()

    def get(self, key: bytes) -> bytes | None:
        """Return a copy of the value of `key`, None if it has none."""
        found = super().get(key)
        return None if found is None else bytes(bytearray(found))


class Stored:
    """A state in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if it has none."""
        return self._store.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` pairs whose keys begin with `prefix`, by ascending key."""
        return self._store.scan(prefix, limit)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write `changes`; None removes."""
        self._store.write(changes)


class Blindness:
    """While it holds, whoever asks for the time, for chance or for the system fails."""

    def __init__(self) -> None:
        self._holds = False
        sys.addaudithook(self._hear)

    def __enter__(self) -> None:
        self._kept = [(owner, name, getattr(owner, name)) for owner, name in self._senses()]
        for owner, name, _ in self._kept:
            setattr(owner, name, self._refuse)
        self._holds = True

    def __exit__(self, *exc: object) -> None:
        self._holds = False
        for owner, name, sense in self._kept:
            setattr(owner, name, sense)

    @staticmethod
    def _senses() -> Iterator[tuple[Any, str]]:
        clocks = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "localtime")
        yield from ((time, name) for name in clocks)
        yield from ((os, name) for name in ("urandom", "getpid", "getcwd", "environ", "getenv"))
        yield from ((random, name) for name in ("random", "randrange", "getrandbits", "shuffle"))
        yield from ((secrets, name) for name in ("token_bytes", "randbits"))
        yield from ((builtins, name) for name in ("id", "hash", "input", "print", "float"))
        yield socket, "socket"

    @staticmethod
    def _refuse(*_arguments: object, **_named: object) -> Any:  # noqa: ANN401 - it returns nothing
        raise AssertionError("a rule asked the world")

    def _hear(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self._holds and event.startswith(("open", "os.", "socket.", "subprocess.", "shutil.")):
            raise AssertionError(f"a rule asked the world: {event}")


def read(path: Path) -> tuple[SignedGenesis, list[CommittedBlock]]:
    """Return what an export holds."""
    with path.open("rb") as file:
        records = Records(file)
        records.read_magic()
        genesis = decode(next(records), SignedGenesis)
        blocks = [decode(each, CommittedBlock) for each in records if not is_proposal(each)]
    return genesis, blocks


def replay(
    genesis: SignedGenesis, blocks: list[CommittedBlock], state: Reader, apply: Apply
) -> list[dict[str, Any]]:
    """Return what genesis and each block come to, up to the first that cannot be executed."""
    beginning = start(genesis.genesis)
    found = [
        {
            "height": 0,
            "header": beginning.header.hash.hex(),
            "recorded": beginning.header.hash.hex(),
            "state": beginning.header.state_digest.hex(),
            "rest": digest(sorted(beginning.changes.items())),
        }
    ]
    apply(beginning.changes)
    chain = beginning.chain(state)
    for block in blocks:
        header, body = block.block.header, block.block.body
        told: dict[str, Any] = {"height": header.height, "recorded": header.hash.hex()}
        found.append(told)
        try:
            executed = rules.execute(
                chain,
                body,
                time=header.time,
                proposer=header.proposer,
                built_round=header.built_round,
                signatures=DirectSignatures(),
                judge=judge,
                known=Disordered({raw: parse(raw) for raw in body.transactions}),
            )
        except (ContractsError, LedgerError, AssertionError, RecursionError) as error:
            told["raised"] = f"{type(error).__name__}: {error}"
            break
        told |= comes_to(executed)
        apply(executed.changes)
        chain = executed.chain(state)
    return found


def comes_to(executed: Executed) -> dict[str, str]:
    """Return hashes of all that a block does."""
    return {
        "header": executed.header.hash.hex(),
        "state": executed.header.state_digest.hex(),
        "outcomes": digest(executed.outcomes),
        "rest": digest(
            (
                executed.entries,
                executed.concerned,
                sorted(executed.changes.items()),
                executed.log_nodes,
                executed.accusations,
                executed.validators,
                executed.next_validators,
                executed.turns,
                executed.parameters,
            )
        ),
    }


def digest(value: object) -> str:
    """Return a hash of a value."""
    return sha256(encode(value)).hexdigest()


def conditions() -> dict[str, Any]:
    """Return under which conditions this process runs."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "python": platform.python_version(),
        "seed": os.environ.get("PYTHONHASHSEED", "random"),
        "is_random": sys.flags.hash_randomization == 1,
        "hash": hash("depoli"),
        "optimize": sys.flags.optimize,
        "locale": locale.setlocale(locale.LC_ALL),
        "offset": -time.timezone,
        "encoding": locale.getencoding(),
        "umask": mask,
        "cwd": Path.cwd().name,
    }


def run(options: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """Return what every block of every export comes to."""
    exports = [read(path) for path in options.exports]
    if options.shuffle is not None:
        Disordered.chance.seed(options.shuffle)
        for module in tuple(sys.modules.values()):  # whoever makes one
            if module.__name__.startswith("contracts.") and "Overlay" in vars(module):
                vars(module)["Overlay"] = DisorderedOverlay
    if options.engine != "memory":
        with tempfile.TemporaryDirectory() as folder:
            return [
                replay_stored(export, Path(folder, str(number)), options)
                for number, export in enumerate(exports)
            ]
    if options.blind:
        for export in exports:  # what is imported late is imported now
            replay(*export, memory := Memory(), memory.apply)
        with Blindness():
            return replay_all(exports)
    if options.shallow:
        sys.setrecursionlimit(sum(1 for _ in walk_frames()) + FRAMES)
    return replay_all(exports)


def replay_all(exports: list[tuple[SignedGenesis, list[CommittedBlock]]]) -> list[list[Any]]:
    """Return what every block comes to, with the states in memory."""
    found = []
    for genesis, blocks in exports:
        memory = Memory()
        found.append(replay(genesis, blocks, memory, memory.apply))
    return found


def replay_stored(
    export: tuple[SignedGenesis, list[CommittedBlock]], path: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return what every block comes to, with the state in a store."""
    store = open_store(path, options.engine)
    state = Stored(store)
    try:
        return replay(*export, state, state.apply)
    finally:
        store.close()


def walk_frames() -> Iterator[object]:
    """Yield the frames of the stack."""
    frame: Any = sys._getframe()  # noqa: SLF001 - how deep we are
    while frame is not None:
        yield frame
        frame = frame.f_back


def main() -> None:
    """Replay, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exports", nargs="+", type=Path)
    parser.add_argument("--released", action="store_true", help="know no rules of tests.second")
    parser.add_argument("--engine", choices=("memory", "leveldb", "sqlite"), default="memory")
    parser.add_argument("--shuffle", type=int, help="walk dicts in orders from this seed")
    parser.add_argument("--blind", action="store_true", help="fail where a rule asks the world")
    parser.add_argument("--shallow", action="store_true", help="leave little room for recursion")
    parser.add_argument("--uncollected", action="store_true", help="never collect garbage")
    options = parser.parse_args()
    locale.setlocale(locale.LC_ALL, "")
    time.tzset()
    if options.uncollected:
        gc.disable()
    with nullcontext() if options.released else second.known():
        chains = run(options)
    print(json.dumps({"conditions": conditions(), "chains": chains}))


if __name__ == "__main__":
    main()
