"""Make .venv hold exactly what requirements/*.txt lock, and the package; twice changes nothing.

Standard library only: it runs before anything is installed, with whatever Python was found. Another
folder than .venv may be named, for an environment of another Python beside it.
"""

import fcntl
import hashlib
import json
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
KINDS = ("run", "dev")  # dev holds all of run, so an environment made for dev serves run too


class StepFailed(Exception):
    """A step of the setup failed: what it was, how to mend it, and the end of what it said."""

    def __init__(self, step: str, mend: str, output: str) -> None:
        tail = "".join(f"\n    {line}" for line in output.splitlines()[-12:])
        super().__init__(f"could not {step}. {mend} It said:{tail}")


def say(text: str) -> None:
    """Tell the person what happens, apart from what a script prints on stdout."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def fingerprint(kind: str) -> str:
    """Return the hash of all that an environment of this kind is made from."""
    digest = hashlib.sha256()
    version = ".".join(str(part) for part in sys.version_info[:3])
    digest.update(f"{kind} {version} {ROOT}\n".encode())
    for name in (f"requirements/{kind}.txt", "scripts/setup.py"):
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    built_from = [project["build-system"], project["project"], project["tool"]["hatch"]]
    digest.update(json.dumps(built_from, sort_keys=True).encode())
    return digest.hexdigest()


def run(command: list[str], step: str, mend: str) -> None:
    """Run a command quietly, or raise `StepFailed`."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise StepFailed(step, mend, done.stdout)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, which need not be there yet."""

    folder: Path = VENV

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    def stamp(self, kind: str) -> Path:
        """Return the file that is written last, when the environment is whole."""
        return self.folder / f"made-for-{kind}"

    def is_ready(self, kind: str) -> bool:
        """Whether it was made whole from today's lock files, for this kind or a wider one."""
        if not self.python.exists():
            return False
        stamps = [(self.stamp(each), each) for each in KINDS[KINDS.index(kind) :]]
        return any(
            path.is_file() and path.read_text(encoding="ascii") == fingerprint(each)
            for path, each in stamps
        )

    def is_usable(self) -> bool:
        """Whether it runs, has pip, was made at this path, and by the version that runs this."""
        config = self.folder / "pyvenv.cfg"
        if not self.python.exists() or f"{self.folder}\n" not in config.read_text("utf-8"):
            return False  # its commands name the path where it was made
        probe = "import pip, sys; print(*sys.version_info[:3])"
        command = [str(self.python), "-I", "-c", probe]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = done.stdout.split()
        return done.returncode == 0 and found == [str(n) for n in sys.version_info[:3]]

    def make(self, kind: str) -> None:
        """Create what is missing; interrupted anywhere, the next run goes on from there."""
        for each in KINDS:
            self.stamp(each).unlink(missing_ok=True)
        if not self.is_usable():
            say(f"creating {self.folder.name} with Python {sys.version.split()[0]}")
            run(
                [sys.executable, "-m", "venv", "--clear", str(self.folder)],
                f"create {self.folder.name}",
                "Is there space on the disk, and may you write here?",
            )
        lock = f"requirements/{kind}.txt"
        say(f"installing {lock}, every file checked against its hash (only this once)")
        python = str(self.python)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        run(
            [*pip, "--require-hashes", "-r", lock],
            f"install {lock}",
            "Is the network there, and does pip reach its package index? Mend that and run this "
            "again: what was fetched is kept.",
        )
        run(
            [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."],
            "install depoli itself",
            "Is pyproject.toml whole?",
        )
        self.stamp(kind).write_text(fingerprint(kind), encoding="ascii")
        say("ready")

    def setup(self, kind: str) -> None:
        """Make it ready; of two that run at once the second waits, then finds it made."""
        if self.is_ready(kind):
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(f"{self.folder.name}.lock").open("w") as lock:
            try:  # the kernel drops the lock of a setup that died
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another setup of this environment is at work; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_ready(kind):
                started = time.monotonic()
                self.make(kind)
                say(f"took {time.monotonic() - started:.0f} s")


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    match arguments:
        case ["is-ready", kind] if kind in KINDS:
            return 0 if Environment().is_ready(kind) else 1
        case [kind, *folder] if kind in KINDS and len(folder) <= 1:
            environment = Environment(*(Path(each).absolute() for each in folder))
        case _:
            print("usage: setup.py [is-ready] run|dev, or setup.py run|dev FOLDER", file=sys.stderr)
            return 2
    try:
        environment.setup(kind)
    except StepFailed as failed:
        say(str(failed))
    except OSError as error:
        say(f"{error}: is there space on the disk, and may you write to {ROOT}?")
    except KeyboardInterrupt:
        say("interrupted; run it again to go on")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
