"""scripts/setup: what it says when it cannot, and that it does nothing when nothing is to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.setup import StepFailed, run

ROOT = Path(__file__).resolve().parent.parent.parent
BASH = shutil.which("bash") or "bash"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that locks nothing, beside a folder `bin` that is the whole PATH."""
    for name in ("scripts", "requirements", "bin"):
        (tmp_path / name).mkdir()
    for name in ("setup.sh", "setup.py"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    for name in ("run", "dev"):
        (tmp_path / "requirements" / f"{name}.txt").write_text("")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin" / "dirname").symlink_to(shutil.which("dirname") or "dirname")
    return tmp_path


def python(checkout: Path, name: str, *, lacks: str) -> None:
    """Put a Python on the PATH that refuses commands with a given word in them."""
    path = checkout / "bin" / name
    path.write_text(
        f'#!{BASH}\n[[ "$*" == *{lacks}* ]] && {{ echo "no {lacks} here" >&2; exit 1; }}\n'
        f'exec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)


def setup(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Source the setup as a script does, and print what it leaves."""
    return subprocess.run(
        [BASH, "-c", '. scripts/setup.sh run; echo "$PYTHON"'],
        cwd=checkout,
        env={"PATH": str(checkout / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def stand(checkout: Path) -> None:
    """Put an environment there as a finished setup leaves it."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    program = (
        "import sys; sys.path.insert(0, 'scripts'); import setup\n"
        "setup.Environment().stamp('dev').write_text(setup.fingerprint('dev'))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=checkout, check=True)


def test_without_a_new_enough_python_it_says_what_to_install(checkout: Path) -> None:
    python(checkout, "python3", lacks="version_info")
    done = setup(checkout)
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr == (
        "setup: no Python 3.11 or newer was found: install one, "
        "or name one: DEPOLI_PYTHON=/path/to/python3\n"
    )


def test_without_venv_it_names_the_package(checkout: Path) -> None:
    python(checkout, "python3", lacks="ensurepip")
    done = setup(checkout)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_python_that_was_named_is_the_only_one_tried(checkout: Path) -> None:
    python(checkout, "python3", lacks="nothing")
    done = setup(checkout, DEPOLI_PYTHON="python9")
    assert done.returncode == 1
    assert "no Python 3.11" in done.stderr


def test_a_step_that_fails_says_how_to_mend_it_and_what_was_said() -> None:
    command = [sys.executable, "-c", "print('no such host'); raise SystemExit(1)"]
    with pytest.raises(StepFailed) as failed:
        run(command, "install it", "Is the network there?")
    assert str(failed.value) == (
        "could not install it. Is the network there? It said:\n    no such host"
    )


def test_a_disk_that_refuses_is_a_sentence(checkout: Path) -> None:
    (checkout / ".venv").write_text("in the way")
    python(checkout, "python3", lacks="nothing")
    done = setup(checkout)
    assert done.returncode == 1
    assert "may you write to" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_stands_is_left_alone(checkout: Path) -> None:
    stand(checkout)
    done = setup(checkout)  # no Python on the PATH at all
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{checkout}/.venv/bin/python\n"


@pytest.mark.parametrize("name", ["requirements/dev.txt", "scripts/setup.py"])
def test_an_environment_of_other_locks_is_not_taken_for_one_of_these(
    checkout: Path, name: str
) -> None:
    stand(checkout)
    with (checkout / name).open("a") as file:
        file.write("# another\n")
    done = setup(checkout)
    assert done.returncode == 1
    assert "no Python" in done.stderr


def test_an_environment_of_another_python_stands_beside_it(checkout: Path) -> None:
    stand(checkout)
    other = checkout / "deeper" / "another"
    other.parent.mkdir()
    (checkout / ".venv").rename(other)  # made whole: nothing is to do
    command = [sys.executable, "-I", "scripts/setup.py", "run", "deeper/another"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (checkout / ".venv").exists()
