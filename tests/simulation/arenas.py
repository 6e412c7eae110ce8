"""Where planted bugs are looked for: the seeded runs that show each kind of them."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.core import Core
from tests.simulation import bad_nodes, journals, mutants, twins
from tests.simulation.oracle import Violation
from tests.simulation.replicas import Plan as NodePlan
from tests.simulation.replicas import Replicas
from tests.simulation.world import Plan, World

SCRIPTS: Final = 40  # of twins, for one seed
MEMORY: Final = Path("/dev/shm")  # noqa: S108  # files of nodes are many and small
IN_TWINS: Final = ("lowest_prepared", "free_rounds", "no_skip")  # found there soonest


@dataclass(frozen=True)
class Caught:
    """Which oracle caught a bug, at which seed, and how long that took."""

    arena: str
    oracle: str
    seed: int
    what: str
    seconds: float


def clusters(seed: int, core_type: type[Core]) -> None:
    World(Plan.draw(seed), core_type).run()


def scripts(seed: int, core_type: type[Core]) -> None:
    twins.play_at_random(seed, SCRIPTS, core_type)


def nodes(seed: int, _: type[Core]) -> None:
    with _folder() as folder:
        Replicas(NodePlan.draw(seed), folder).run()


def disks(seed: int, _: type[Core]) -> None:
    with _folder() as folder:
        journals.play(seed, folder)


Arena = Callable[[int, type[Core]], None]
ARENAS: Final[Mapping[str, Arena]] = {
    "clusters": clusters,
    "twins": scripts,
    "nodes": nodes,
    "journals": disks,
}


def arena_of(name: str) -> str:
    """Return where the mutant of this name is looked for."""
    if name in bad_nodes.JOURNALS:
        return "journals"
    if name in bad_nodes.NODES:
        return "nodes"
    return "twins" if name in IN_TWINS else "clusters"


def every_mutant() -> tuple[str, ...]:
    return (*mutants.MUTANTS, *bad_nodes.JOURNALS, *bad_nodes.NODES)


def hunt(name: str, seeds: range, *, until_s: float = 1e9) -> Caught | None:
    """Plant one bug and run seeds until an oracle speaks; None where none does."""
    began, arena = time.monotonic(), arena_of(name)
    patches = {**bad_nodes.JOURNALS, **bad_nodes.NODES}.get(name, ())
    with mutants.mutated(name) as core_type, bad_nodes.planted(patches):
        for seed in seeds:
            if time.monotonic() - began > until_s:
                return None
            try:
                ARENAS[arena](seed, core_type)
            except Exception as error:  # noqa: BLE001  # an assertion of ours is an oracle too
                oracle = error.lemma if isinstance(error, Violation) else type(error).__name__
                seconds = round(time.monotonic() - began, 2)
                return Caught(arena, oracle, seed, str(error)[:200], seconds)
    return None


@contextmanager
def _folder() -> Iterator[Path]:
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
