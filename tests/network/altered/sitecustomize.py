"""What the Python of a node finds changed: its clock, version, rules, and when it dies.

On PYTHONPATH of the node of a test alone; the node itself is the one that is delivered.
"""

import contextlib
import importlib.metadata
import os
import signal
import time
from collections.abc import Iterator

AHEAD_MS, VERSION = "TEST_CLOCK_AHEAD_MS", "TEST_VERSION"
KNOWS = "TEST_KNOWS_SECOND_RULES"
LEAST = "TEST_LEAST_SNAPSHOT_BLOCKS"
DIES = "TEST_POST_DIES"  # function of the file of post, and whether before or after it

if AHEAD_MS in os.environ:
    _true_ns, _ahead_ns = time.time_ns, int(os.environ[AHEAD_MS]) * 1_000_000
    time.time_ns = lambda: _true_ns() + _ahead_ns

if VERSION in os.environ:
    _version = os.environ[VERSION]
    importlib.metadata.version = lambda distribution_name: _version  # noqa: ARG005

if LEAST in os.environ:
    from contracts import parameters

    vars(parameters)["MIN_SNAPSHOT_BLOCKS"] = int(os.environ[LEAST])

if KNOWS in os.environ:
    from tests import second

    _known = second.known()  # held, or it would end
    _known.__enter__()

if DIES in os.environ:
    from node.post.store import PostStore

    _function, _moment = os.environ[DIES].split(":")
    _doing = getattr(PostStore, _function)

    _together, _did = PostStore.together, list[str]()

    def _noting(*arguments: object) -> object:
        if _moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        became = _doing(*arguments)
        _did.append(_function)
        return became

    @contextlib.contextmanager
    def _dying(store: PostStore) -> Iterator[None]:
        with _together(store):
            yield
        if _did:  # what it did is on the disk, and told to nobody
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(PostStore, _function, _noting)
    setattr(PostStore, "together", _dying)  # noqa: B010 - of a class that mypy knows
