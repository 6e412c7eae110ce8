"""A shop's PC often runs Windows: what its people use needs nothing that is of POSIX alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "spwd", "crypt")
# What these modules have on POSIX only, or mean something else elsewhere.
NAMES = {
    "os": {
        *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "chown", "fchown", "fchmod"),
        *("lchown", "mkfifo", "mknod", "statvfs", "killpg", "setsid", "sysconf", "getloadavg"),
        *("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_SYNC", "pread", "pwrite"),
        *("openpty", "wait", "WNOHANG", "uname", "getpgid", "nice", "sched_getaffinity"),
    },
    "signal": {"SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "alarm", "pause"},
    "socket": {"AF_UNIX", "socketpair", "SO_REUSEPORT"},
    "time": {"tzset", "clock_gettime", "CLOCK_MONOTONIC"},
}


def client_files() -> list[Path]:
    return sorted((ROOT / "node" / "client").rglob("*.py"))


def of_posix(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what a file uses that is not everywhere."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for each in names:
                    if each.name.partition(".")[0] in MODULES:
                        yield node.lineno, each.name
            case ast.ImportFrom(module=str(module), names=names):
                if module in MODULES:
                    yield node.lineno, module
                for each in names:
                    if each.name in NAMES.get(module, ()):
                        yield node.lineno, f"{module}.{each.name}"
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                if name in NAMES.get(module, ()):
                    yield node.lineno, f"{module}.{name}"
            case _:
                pass


def test_the_client_uses_nothing_that_is_of_posix_alone() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in client_files()
        for line, what in of_posix(ast.parse(path.read_text("utf-8")))
    ]
    assert len(client_files()) > 40
    assert not found


@pytest.mark.parametrize(
    "code", ["import fcntl", "from os import fork", "import os\nos.geteuid()", "import pwd as p"]
)
def test_what_is_of_posix_is_found(code: str) -> None:
    assert list(of_posix(ast.parse(code)))


POISON = """
import os, signal, sys, time
for name in {modules!r}:
    sys.modules[name] = None
import asyncio, socket, subprocess, tempfile  # the standard library knows what is where
for module, names in {names!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
"""

SHOP = """
from pathlib import Path
from node.client import backups
from node.client.unlocking import Key, Passphrase
from node.client.vault import Kind, Vault
folder = Path(sys.argv[1])
path, key = folder / "vault.sqlite", Key(bytes(range(32)))
with Vault(path, key) as vault:
    with vault.changes():
        number = vault.add(Kind.CLAIM, b"content", ["F-1"])
        gone = vault.add(Kind.CLAIM, b"to go", ["F-2"])
    backups.backup(vault, folder / "disk", folder / "stick")
    with Vault(path, key) as other, other.changes():
        other.erase(gone)
    vault.rotate()
    assert vault.find(Kind.CLAIM, "F-1") == (number, b"content")
found = backups.restore(path, folder / "vault.keys", key, data=folder / "disk" / path.name,
                        keys=None, replaces=True)
assert (found.records, found.without_key) == (1, 1), found
"""

COMMAND = """
from node.cli.main import main
main(sys.argv[2:])
"""

EVERY = """
import importlib, pkgutil, node.client
for each in pkgutil.walk_packages(node.client.__path__, "node.client."):
    importlib.import_module(each.name)
"""


def run(code: str, *args: str | Path, lines: str = "") -> str:
    """Run code where POSIX is not; return what it prints."""
    poison = POISON.format(modules=MODULES, names=NAMES)
    done = subprocess.run(
        [sys.executable, "-c", poison + code, *args],
        input=lines,
        text=True,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_vault_lives_where_posix_is_not(tmp_path: Path) -> None:
    run(EVERY + SHOP, tmp_path)


def test_a_command_opens_it_where_posix_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "client.toml").write_text(
        f'node = "http://127.0.0.1:9"\nmember = "{bytes(16).hex()}"\nlabel = "shop"\n'
        'key_file = "key"\ntoken_file = "token"\nvault = "vault.sqlite"\ngenesis = "genesis.json"\n'
    )
    line = ("vault", "status", "--json", "--home", home)
    assert '"version": 2' in run(COMMAND, tmp_path, *line, lines="monture verre axe\n")
