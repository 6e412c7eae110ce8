"""An operator's way through the commands: keys, genesis, init, token, status."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli.main import main
from node.cli.node import status_text
from node.config import load_config
from node.errors import Exit
from node.process import read_token
from node.tokens import Scope, parse_tokens

FOUNDERS = {"federation": "optician", "operator": "operator", "a": "insurer", "b": "insurer"}


def run(*args: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def asked(*args: str | Path) -> Any:  # noqa: ANN401
    return json.loads(run(*args, "--json").stdout)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where four organisations held a ceremony by the commands alone."""
    folder = tmp_path_factory.mktemp("founded")
    for label, family in FOUNDERS.items():
        made = asked(
            "keys", "new", folder / label, "--label", label, "--family", family,
            "--runs", "validator",
        )  # fmt: skip
        shown = asked("keys", "show", folder / label)
        assert shown == made
    members = [part for label in FOUNDERS for part in ("--member", folder / label)]
    validators = [part for label in FOUNDERS for part in ("--validator", label)]
    draft, genesis = folder / "draft.json", folder / "genesis.json"
    drafted = asked("genesis", "draft", "--network", "n", *members, *validators, "--output", draft)
    assert asked("genesis", "show", draft) | {"draft": str(draft)} == drafted
    signatures = []
    for label in FOUNDERS:
        out = folder / f"{label}.signature.json"
        signed = asked("genesis", "sign", draft, "--keys", folder / label, "--output", out)
        assert signed["label"] == label
        signatures.append(out)
    assembled = asked("genesis", "assemble", draft, *signatures, "--output", genesis)
    verified = asked("genesis", "verify", genesis)
    assert verified["verified"] is True
    assert drafted["chain_id"] == assembled["chain_id"] == verified["chain_id"]
    return folder


def init(founded: Path, node: Path, *more: str) -> tuple[str | Path, ...]:
    return (
        "node", "init", "--data", node, "--genesis", founded / "genesis.json",
        "--keys", founded / "a", "--peer", "b=b.example:7600", *more,
    )  # fmt: skip


def test_seeds_are_shown_nowhere(founded: Path) -> None:
    said = (
        run("keys", "show", founded / "a").output
        + run("keys", "show", founded / "a", "--json").output
    )
    for seed in (founded / "a").glob("*.seed"):
        assert seed.read_text().strip() not in said


def test_the_keys_of_a_validator_that_joins_later_are_shown_too(tmp_path: Path) -> None:
    made = asked("validator", "new-keys", tmp_path / "keys")
    assert asked("keys", "show", tmp_path / "keys") == made
    assert made["keys"]["node"] in run("keys", "show", tmp_path / "keys").stdout
    missing = run("keys", "show", tmp_path, code=Exit.NOT_INITIALISED)
    assert "member.json does not exist" in missing.stderr


def test_a_status_is_for_people() -> None:
    """Who is not linked and which keys are used twice each have a line of their own."""
    place = "127.0.0.1:1"
    well = {
        "height": 7, "time": 1_800_000_000, "peers": ["b"], "trouble": {}, "twins": [],
        "join": None, "sync": None, "silence": "", "snapshot": {"height": 0, "failure": ""},
    }  # fmt: skip
    shown = status_text(well)
    assert "2027-01-15 08:00:00 UTC" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["trouble", "none"] in lines
    assert ["snapshot", "none"] in lines
    unmade = status_text(well | {"snapshot": {"height": 5, "failure": "block 10: disk full"}})
    assert "of block 5; the last one failed, block 10: disk full" in unmade
    ill = well | {
        "trouble": {"a": f"{place}: Connection refused"},
        "twins": [
            {"label": None, "places": [place], "told_by": "a"},
            {"label": "b", "places": [place, "127.0.0.1:2"], "told_by": None},
        ],
        "join": {"doing": "fetches a snapshot", "height": 9},
        "sync": {"height": 7, "target": 90},
    }
    assert status_text(ill).splitlines()[-3:] == [
        f"a: {place}: Connection refused",
        f"the key of this node is used at {place}, as a says",
        f"the key of b is used at {place}, 127.0.0.1:2",
    ]
    assert "height 7, target 90" in status_text(ill)
    mean = status_text(well | {"trouble": {"a": "refused us: \x1b[2J\nheight 9"}, "twins": [
        {"label": None, "places": ["\x1b[31m"], "told_by": "a"},
    ]})  # fmt: skip
    assert mean.splitlines()[-2] == "a: refused us: �[2J height 9"  # it does nothing to a terminal
    assert "\x1b" not in mean


def test_people_see_who_founds_the_chain(founded: Path) -> None:
    said = run("genesis", "verify", founded / "genesis.json").stdout
    for label, family in FOUNDERS.items():
        assert any(label in line and family in line for line in said.splitlines())
    assert said.endswith("signed by every validator\n")


def test_keys_exchanged_under_a_card_are_noticed(founded: Path, tmp_path: Path) -> None:
    (tmp_path / "member.json").write_bytes((founded / "a" / "member.json").read_bytes())
    for path in (founded / "b").glob("*.seed"):
        copy = tmp_path / path.name
        copy.touch(mode=0o600)
        copy.write_bytes(path.read_bytes())
    result = run("keys", "show", tmp_path, code=Exit.VERIFICATION_FAILED)
    assert "not that of the seed" in result.stderr


def test_a_node_is_initialised_once(founded: Path, tmp_path: Path) -> None:
    assert asked(*init(founded, tmp_path / "n"))["changed"] is True
    assert asked(*init(founded, tmp_path / "n"))["changed"] is False
    again = run(*init(founded, tmp_path / "n", "--mode", "observer"), code=Exit.FAILED)
    assert "nothing was changed" in again.stderr


def test_a_token_is_written_to_a_file_and_shown_nowhere(founded: Path, tmp_path: Path) -> None:
    run(*init(founded, tmp_path / "n"))
    out = tmp_path / "t"
    result = run(
        "node", "token", "new", "--config", tmp_path / "n", "--member", "b", "--scope", "read",
        "--scope", "submit", "--label", "billing", "--output", out,
    )  # fmt: skip
    token = read_token(out)
    assert token not in result.output
    grant = parse_tokens(load_config(tmp_path / "n").tokens).lookup(token)
    assert grant is not None
    assert grant.scopes == {Scope.READ, Scope.SUBMIT}
    assert grant.label == "billing"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--scope", "read"), Exit.USAGE),
        (("--scope", "read", "--member", "nobody"), Exit.NOT_FOUND),
        (("--scope", "submit", "--label", "two\nlines"), Exit.USAGE),
        (("--scope", "everything"), Exit.USAGE),
    ],
)
def test_a_token_that_cannot_be_meant_is_refused(
    founded: Path, tmp_path: Path, more: tuple[str, ...], code: Exit
) -> None:
    run(*init(founded, tmp_path / "n"))
    before = (tmp_path / "n" / "tokens.toml").read_bytes()
    run(
        "node",
        "token",
        "new",
        "--config",
        tmp_path / "n",
        "--output",
        tmp_path / "t",
        *more,
        code=code,
    )
    assert not (tmp_path / "t").exists()
    assert (tmp_path / "n" / "tokens.toml").read_bytes() == before


def test_a_node_that_is_down_is_unreachable(founded: Path, tmp_path: Path) -> None:
    run(*init(founded, tmp_path / "n", "--api", "127.0.0.1:9"))
    result = run("node", "status", "--config", tmp_path / "n", code=Exit.UNREACHABLE)
    assert "127.0.0.1:9" in result.stderr
