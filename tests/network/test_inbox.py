"""A payer's inbox on a real network, run by an operator that acts for it, and killed often.

Each kill is by SIGKILL, a little later than the one before, until a run comes to its end.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from node import files, testnet
from node.cli.home import load_home
from node.cli.main import main
from node.cli.person import Person
from node.client.client import ClaimView
from node.testnet import Organisation
from scripts import bench_inbox

COUNT = 12
ROOT = Path(__file__).parents[2]


def home_of_operator(insurer: Organisation, operator: Organisation, folder: Path) -> Path:
    """Make a home in which the operator's people act for the insurer, by the operator's key."""
    own, theirs = load_home(insurer.home), load_home(operator.home)
    folder.mkdir()
    for name, source in (("token", own.token_file), ("sealing.seed", own.sealing_key_file)):
        assert source is not None
        files.create(folder / name, source.read_bytes(), secret=True)
    files.create(folder / "vault.key", b"1" * 64, secret=True)
    lines = {
        "node": own.node,
        "member": own.member.hex(),
        "label": insurer.label,
        "key_file": str(theirs.key_file.resolve()),
        "token_file": "token",
        "vault": "vault.sqlite",
        "vault_key_file": "vault.key",
        "sealing_key_file": "sealing.seed",
        "genesis": str(own.genesis.resolve()),
    }
    text = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    (folder / "client.toml").write_text(text)
    return folder


def policy(folder: Path) -> Path:
    text = (bench_inbox.DATA / "policy.toml").read_text().partition("[settle]")[0]
    path = folder / "policy.toml"
    path.write_text(text.replace("invoice_days = 365", "invoice_days = 36500"))
    return path


def begun(home: Path, rules: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "node.cli.main", "inbox", "run", "--once", "--json"]
    command += ["--policy", str(rules), "--home", str(home)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )


async def claims_of(home: Path) -> list[ClaimView]:
    async with Person(load_home(home)).node() as node:
        return [view async for view in node.claims()]


async def decisions_of(home: Path, claims: list[ClaimView]) -> list[list[str]]:
    async with Person(load_home(home)).node() as node:
        stories = [
            await node.get(f"/claims/{view.id}/explanation", dict[str, object]) for view in claims
        ]
    history = [story["history"] for story in stories]
    assert all(isinstance(each, list) for each in history)
    return [[entry["call"] for entry in each] for each in history if isinstance(each, list)]


def test_an_operator_decides_for_an_insurer_however_often_it_is_killed(tmp_path: Path) -> None:
    network = testnet.create(tmp_path / "net", validators=4, shops=1)
    insurer = network.organisation(bench_inbox.PAYER)
    operator = network.organisation("payment-operator")
    home, rules = home_of_operator(insurer, operator, tmp_path / "acting"), policy(tmp_path)
    inbox = home / "inbox"
    inbox.mkdir()
    network.start()
    try:
        asyncio.run(bench_inbox.prepare(network, COUNT, inbox))
        for path in inbox.iterdir():
            os.utime(path, (1, 1))
        with begun(home, rules) as refused:
            _, said = refused.communicate(timeout=120)
        assert refused.returncode == 6, said  # nobody let it act yet
        assert b"neither of the member" in said
        delegate = ["member", "delegate", "payment-operator", "--scope", "claims"]
        result = CliRunner().invoke(main, [*delegate, "--home", str(insurer.home)])
        assert result.exit_code == 0, result.output

        delay_s, kills = 0.2, 0
        while True:
            process = begun(home, rules)
            try:
                out, said = process.communicate(timeout=delay_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                delay_s *= 1.25
                continue
            break
        assert process.returncode == 0, said
        assert b"payment-operator acts for insurer-a until" in said
        assert kills
        last = json.loads(out.splitlines()[-1])
        assert last["event"] == "summary"

        views = asyncio.run(claims_of(home))
        decisions = asyncio.run(decisions_of(home, views))
    finally:
        network.stop()
    assert [view.state for view in views] == ["accepted"] * COUNT
    assert decisions == [["ClaimSubmit", "ClaimAccept"]] * COUNT
    assert not list(inbox.iterdir())  # they are in the vault, where they can be erased
