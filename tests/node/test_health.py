"""What a node says of its disk."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from node.health import free_bytes, shortage


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(("option", "is_writable"), [("rw", True), ("ro", False)])
def test_a_disk_that_is_read_only_has_no_room(
    tmp_path: Path, option: str, *, is_writable: bool
) -> None:
    words = ["mount", "-t", "tmpfs", "-o", f"size=1m,{option}", "tmpfs", str(tmp_path)]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert (free_bytes(tmp_path) > 0) is is_writable
        assert bool(shortage(tmp_path, 1)) is not is_writable
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_shortage_names_the_folder_what_is_free_and_what_is_needed(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert shortage(tmp_path, 0) == ""
    needed = (free >> 20) + (1 << 20)
    told = shortage(tmp_path, needed << 20)
    assert told.endswith(f"MiB free on the disk of {tmp_path}, {needed} needed")
    assert shortage(tmp_path, free >> 1) == ""
