"""Scripts that run networks of their own, run by a test: none of their nodes outlives it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent


def ended(script: str, *options: str) -> dict[str, Any]:
    """Return the JSON object that a script prints."""
    command = [sys.executable, f"scripts/{script}.py", "--json", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            out, said = running.communicate()
        except BaseException:
            running.terminate()  # the test took too long: it ends its nodes before it ends
            raise
    assert out, said
    found: dict[str, Any] = json.loads(out)
    return found
