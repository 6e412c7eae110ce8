"""A node as a process of this machine: started detached, known by a lock, stopped by a signal.

`node.pid` is locked by the process itself (it inherits the open file), so that a number that the
system has given to another program is never taken for a node, nor sent a signal.
"""

import contextlib
import errno
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node import files
from node.config import FILE_NAME, Address, load_config
from node.errors import NodeError, Unreachable

OPERATOR_TOKEN: Final = "operator.token"  # noqa: S105  (a file name) beside config.toml
PID_FILE: Final = "node.pid"
LOG_FILE: Final = "node.log"
READY_S: Final = 60.0  # four nodes start on one slow core within this
STOP_S: Final = 15.0  # a node ends its block and closes its files within this
ANSWER_S: Final = 5.0
_STARTING_S: Final = 1.0  # another command that looks, or starts it too, is done within this
MAX_ANSWER_BYTES: Final = 4 << 20
_POLL_S: Final = 0.02
_TAIL_BYTES: Final = 8 << 10


class Unsupported(NodeError):
    """This system cannot run detached nodes."""

    def __init__(self) -> None:
        super().__init__(
            "local networks need a POSIX system", hint="run each node with: depoli node run"
        )


class NodeDied(NodeError):
    """A node ended by itself instead of becoming ready; `tail` holds the end of its log."""

    def __init__(self, process: "Process") -> None:
        self.tail = tuple(process.tail())
        errors = [line.removeprefix("error: ") for line in self.tail if line.startswith("error: ")]
        why = (errors or list(self.tail) or ["its log is empty"])[-1]
        super().__init__(f"node {process.label} ended: {why}", hint=f"its log is {process.log}")


class NotReady(NodeError):
    """A node runs, but was not ready in time; `tail` holds the end of its log."""

    def __init__(self, process: "Process", seconds: float, reason: str) -> None:
        super().__init__(
            f"node {process.label} runs but is not ready after {seconds:g} s: {reason}",
            hint=f"its log is {process.log}",
        )
        self.tail = tuple(process.tail())


class NoAnswer(Unreachable):
    """Nobody speaks HTTP at an address where a node should."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(
            f"no node answers at {address}: {reason}",
            hint="start it with: depoli node run; where it runs, ask: depoli doctor",
        )


class BadAnswer(NodeError):
    """A node answered, but not with what was asked for."""

    def __init__(self, address: Address, path: str, status: int, detail: str) -> None:
        super().__init__(f"{address}{path} answered {status}: {detail}", hint="see the node's log")
        self.status = status


@dataclass(frozen=True, slots=True)
class Process:
    """One node on this machine, running or not."""

    label: str
    home: Path  # absolute, with config.toml

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.home / LOG_FILE

    def pid(self) -> int | None:
        """Return the number of the running process, None where none runs."""
        path = self.home / PID_FILE
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if _lock(descriptor, shared=True):  # two who look do not take each other for a node
                _reap(descriptor)
                return None
            # Empty for an instant while another command starts it.
            if not _until(lambda: os.fstat(descriptor).st_size > 0, ANSWER_S):
                raise files.NotPlain(path)
            return int(os.read(descriptor, 32))
        finally:
            os.close(descriptor)

    def start(self) -> bool:
        """Start the node without waiting for it; return False where it runs already."""
        if self.pid() is not None:
            return False
        descriptor = os.open(self.home / PID_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _until(lambda: _lock(descriptor), _STARTING_S):
                return False
            os.ftruncate(descriptor, 0)
            os.set_inheritable(descriptor, True)  # noqa: FBT003  (the lock lives with the node)
            os.write(descriptor, f"{self._spawn()}\n".encode())
        finally:
            os.close(descriptor)
        return True

    def ask_to_stop(self) -> None:
        """Tell the node to end, without waiting for it."""
        self._signal(signal.SIGTERM)

    def await_end(self, seconds: float = STOP_S) -> bool:
        """Wait for a node that was asked to stop; return False where it had to be killed."""
        ended = _until(lambda: self.pid() is None, seconds)
        if not ended:
            self.kill()
        return ended

    def stop(self, seconds: float = STOP_S) -> bool:
        """Make the node end; return False where it had to be killed after `seconds`."""
        self.ask_to_stop()
        return self.await_end(seconds)

    def kill(self) -> None:
        """End the node at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        ended = _until(lambda: self.pid() is None, ANSWER_S)
        assert ended, "a process survived SIGKILL"

    def not_ready(self, path: str = "/readyz") -> str:
        """Return why the node does not take part yet, in its words; nothing where it does.

        With "/livez", why it does not answer yet.
        """
        address = load_config(self.home).admin_listen
        try:
            status, body = request(address, path)
        except NoAnswer as error:
            return str(error)
        return "" if status == http.client.OK else body.decode(errors="replace").strip()

    def status(self) -> dict[str, Any]:
        """Return what the node says of itself at /v1/status; raise as `ask`."""
        return self.ask("/v1/status")

    def ask(self, path: str) -> dict[str, Any]:
        """Return what the node's HTTP API answers its operator.

        Raises `NoAnswer`, `BadAnswer`, `Missing` without the operator's token.
        """
        config = load_config(self.home)
        return get_json(config.api_listen, path, read_token(self.home / OPERATOR_TOKEN))

    def tail(self, lines: int = 10) -> list[str]:
        """Return the last lines of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def _spawn(self) -> int:
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        source = str(Path(__file__).parent.parent)  # the same code, installed or not
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        run = ("-P", "-m", "node.cli.main", "node", "run", "--config", str(self.home / FILE_NAME))
        return os.posix_spawn(
            sys.executable,
            (sys.executable, *run),
            {**os.environ, "PYTHONPATH": path},
            setsid=True,  # Ctrl-C at the terminal is not for it
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), log, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
        )

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def wait_ready(
    processes: Iterable[Process], seconds: float = READY_S, *, path: str = "/readyz"
) -> None:
    """Return when every node is ready; raise `NodeDied` or `NotReady` as soon as one is not.

    With the path "/livez", when every one answers, though too few run for any to be ready.
    """
    end = time.monotonic() + seconds
    for process in processes:
        while reason := process.not_ready(path):
            if process.pid() is None:
                raise NodeDied(process)
            if time.monotonic() > end:
                raise NotReady(process, seconds, reason)
            time.sleep(_POLL_S)  # between two looks at the condition


def read_token(path: Path) -> str:
    """Return the bearer token in a 0600 file; raise as `files.read_secret`."""
    hint = "make one with: depoli node token new"
    return files.read_secret(path, limit=256, hint=hint).decode(errors="replace").strip()


def request(address: Address, path: str, token: str = "") -> tuple[int, bytes]:
    """Return status and body of a GET of at most 4 MiB; raise `NoAnswer`."""
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_S)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    except TimeoutError:
        raise NoAnswer(address, f"nothing was said for {ANSWER_S:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) else ""
        raise NoAnswer(address, reason or type(error).__name__) from None
    finally:
        connection.close()


def get_json(address: Address, path: str, token: str = "") -> dict[str, Any]:
    """Return the JSON object at `path`; raise `NoAnswer` or `BadAnswer`."""
    status, body = request(address, path, token)
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadAnswer(address, path, status, "no JSON object")
    if status != http.client.OK:
        raise BadAnswer(address, path, status, str(value.get("detail") or value.get("title")))
    return value


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file; return False where another process has it locked."""
    try:
        import fcntl  # noqa: PLC0415  (not on Windows)
    except ImportError:
        raise Unsupported from None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        return False
    return True


def _reap(descriptor: int) -> None:
    """Take leave of an ended node where this process is its parent, so that no zombie stays."""
    text = os.read(descriptor, 32)
    if text.strip().isdigit():
        with contextlib.suppress(ChildProcessError):  # somebody else's child, or reaped before
            os.waitpid(int(text), os.WNOHANG)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)  # between two looks at the condition
    return True
