"""A shop changes its key while claims go on; what the old one signed is good, and then no more."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ledger.keys import Signer
from ledger.transaction import Transaction
from node import keystore
from node.cli.main import main
from node.errors import Exit
from node.testnet import Organisation
from tests.network.faultnet import FaultNetwork, new_prescription, post, running, transaction, until

RECHECK = Path(__file__).parents[2] / "scripts" / "recheck.py"
AHEAD = 60  # blocks, from the announcement to the change


def person(who: Organisation, *args: str | Path) -> Any:  # noqa: ANN401
    """Run a command of `depoli member` at an organisation's home; return its result."""
    words = ["member", *map(str, args), "--home", str(who.home), "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == Exit.OK, done.stderr
    return json.loads(done.stdout)


def name_key(who: Organisation, file: Path) -> None:
    """Let the organisation's home name another transaction key."""
    path = who.home / "client.toml"
    lines = path.read_text().splitlines()
    changed = [f'key_file = "{file}"' if line.startswith("key_file") else line for line in lines]
    path.write_text("\n".join(changed) + "\n")


def signed(net: FaultNetwork, key: Signer) -> Transaction:
    return transaction(net.network, net.sender, new_prescription(), key=key)


def test_a_shop_changes_its_key_under_load_and_history_stays_good(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        shop, (a, b, *_) = net.sender, net.labels
        old = keystore.read_signer(shop.keys / "transaction.seed")
        own = next(
            key["id"] for key in person(shop, "keys")["keys"] if key["public"] == old.public.hex()
        )
        person(shop, "add-key", tmp_path / "card.seed", "--algorithm", "p256")
        name_key(shop, tmp_path / "card.seed")  # with which the load is signed
        with net.loaded(a):
            height = net.height(b) + AHEAD
            options = ("--key", own, "--height", str(height))
            told = person(shop, "rotate-key", tmp_path / "new.seed", *options)
            (before,) = net.send(b, signed(net, old))
            assert told["block"] < told["from_height"] == height
            assert before.height < height
            until(lambda: net.height(b) >= height - 1, "the height does not come")
            (refused,) = post(net.network, b, [signed(net, old).raw])
            assert refused["problem"]["type"].endswith("key-not-in-force")
            (after,) = net.send(b, signed(net, keystore.read_signer(tmp_path / "new.seed")))
            assert after.height >= height
        net.require_whole()
        home = net.process(b).home
        net.network.stop(b)
        export, genesis = str(tmp_path / "export"), str(home / "genesis.json")
        for words in (
            ["audit", "export", "--data", str(home), "-o", export],
            ["audit", "verify", export, "--genesis", genesis, "--jobs", "1"],
        ):
            done = CliRunner().invoke(main, words)
            assert done.exit_code == Exit.OK, done.output
        command = [sys.executable, str(RECHECK), "chain", export, "--genesis", genesis, "--json"]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert checked.returncode == 0, checked.stderr or checked.stdout
        assert json.loads(checked.stdout)["height"] >= height
