"""A short campaign of faults under contending clients; scripts/jepsen runs long ones."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NEMESES = ("crash-all", "halves", "restore", "ring", "truncate", "twin")


def test_whatever_befalls_the_nodes_no_client_is_lied_to() -> None:
    options = ("--json", "--seed", "5", "--faults", str(len(NEMESES)), "--hold", "0.2")
    command = ("scripts/jepsen.py", *options, "--nemeses", ",".join(NEMESES))
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout)
    assert found["held"] is True, found["wrong"]
    assert found["acknowledged"] == found["offered"] > 0
    assert found["contests"] > 0
    assert found["nemeses"] == dict.fromkeys(NEMESES, 1)
    assert found["receipts_verified"] > 0
