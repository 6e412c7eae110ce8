"""What the Python of a node finds changed: its clock, the version installed, the rules it knows.

On PYTHONPATH of the node of a test alone; the node itself is the one that is delivered.
"""

import importlib.metadata
import os
import time

AHEAD_MS, VERSION = "TEST_CLOCK_AHEAD_MS", "TEST_VERSION"
KNOWS, SCHEDULED = "TEST_KNOWS_SECOND_RULES", "TEST_SECOND_RULES_FROM"

if AHEAD_MS in os.environ:
    _true_ns, _ahead_ns = time.time_ns, int(os.environ[AHEAD_MS]) * 1_000_000
    time.time_ns = lambda: _true_ns() + _ahead_ns

if VERSION in os.environ:
    _version = os.environ[VERSION]
    importlib.metadata.version = lambda distribution_name: _version  # noqa: ARG005

if KNOWS in os.environ or SCHEDULED in os.environ:
    import pytest

    from tests import second

    _patch = pytest.MonkeyPatch()  # never undone: the process is the node's
    if KNOWS in os.environ:
        second.know(_patch)
    if SCHEDULED in os.environ:
        second.schedule(_patch, int(os.environ[SCHEDULED]))
