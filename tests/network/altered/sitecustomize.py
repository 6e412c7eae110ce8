"""What the Python of a node finds changed: its clock, version, rules, and when it dies.

On PYTHONPATH of the node of a test alone; the node itself is the one that is delivered.
"""

import importlib.metadata
import os
import signal
import time

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

    def _dying(*arguments: object) -> object:
        if _moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        became = _doing(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)  # what it did is on the disk, and told to nobody
        return became

    setattr(PostStore, _function, _dying)
