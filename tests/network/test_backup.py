"""A validator that is lost and restored from an older backup, among real processes."""

import json
import re
import shutil
from pathlib import Path

from click.testing import CliRunner

from ledger.keys import Role, SigningKey
from node.cli.main import main
from node.config import load_config
from node.errors import Exit
from node.initialise import give_token
from node.journal import Journal
from node.keystore import load_seed
from node.process import wait_ready
from node.tokens import Scope
from scripts import kills
from tests.network import faultnet
from tests.network.faultnet import FaultNetwork, until
from tests.network.test_fence import contradictions, journal_of, metric, silence


def depoli(*words: object, code: Exit = Exit.OK) -> str:
    done = CliRunner().invoke(main, ["backup", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.stdout


def last_signed(net: FaultNetwork, label: str, scratch: Path) -> int:
    """Return the highest height for which a validator that was killed had promised anything."""
    home = net.process(label).home
    journal = shutil.copytree(load_config(home).data / "journal", scratch)
    key = SigningKey(load_seed(load_config(home).keys, Role.CONSENSUS))
    opened = Journal.open(journal, net.network.chain_id + key.public)
    assert opened is not None
    height = opened.height
    opened.close()
    return height


def test_a_validator_restored_from_an_older_backup_never_contradicts_its_old_self(
    net: FaultNetwork, tmp_path: Path
) -> None:
    label = net.labels[2]
    process, others = net.process(label), net.others(label)
    home, folder = process.home, tmp_path / "backup"
    keys, genesis = load_config(home).keys, net.network.genesis
    with net.loaded():  # online: blocks are written meanwhile
        made = [json.loads(depoli("create", folder, "--config", home, "--json"))]
        net.submit(label)
        made.append(json.loads(depoli("create", folder, "--config", home, "--json")))
    assert 0 < made[0]["height"] < made[1]["height"]
    depoli("verify", folder, "--genesis", genesis)

    for via in others:  # its old self goes on, and signs what is not decided when it is lost
        net.submit(via)
    height = net.until_level()
    for other in others[:2]:
        net.pause(other)
    promised = journal_of(load_config(home).data).stat().st_size
    waiting = faultnet.transaction(net.network, net.sender, faultnet.new_prescription())
    for via in (label, others[2]):
        faultnet.post(net.network, via, [waiting.raw], wait_s=1)
    until(
        lambda: journal_of(load_config(home).data).stat().st_size > promised,
        "it promises nothing",
    )
    process.kill()
    signed = last_signed(net, label, tmp_path / "journal")
    assert signed > height > made[1]["height"]
    shutil.rmtree(home)
    for other in others[:2]:
        net.resume(other)

    told = json.loads(depoli("restore", folder, "--home", home, "--genesis", genesis, "--json"))
    assert (told["keys"], told["missing_keys"]) == (str(keys), [])
    give_token(
        home / "tokens.toml",
        home / kills.TOKEN,
        member=None,
        scopes=frozenset({Scope.SUBMIT, Scope.AUDIT}),
        label="kills",
    )
    kills.token_of.cache_clear()  # its old self's is not known to it
    assert process.start()
    wait_ready([process], path="/livez")
    until(lambda: "nothing below height" in silence(process), lambda: silence(process))
    (first,) = map(int, re.findall(r"nothing below height (\d+)", silence(process)))
    assert first > signed
    net.send(others[2], waiting)
    net.drive(lambda: silence(process) == "", *others)
    assert net.height(label) + 1 >= first
    net.process(others[0]).kill()  # now nothing is decided without the one that was restored
    net.submit(label)
    net.mend()
    for each in net.labels:
        assert contradictions(net.process(each)) == 0
    assert metric(process, "depoli_foreign_signatures_total") == 0
    assert (
        metric(process, "depoli_disk_free_bytes") > metric(process, "depoli_disk_least_bytes") > 0
    )
    assert metric(process, "depoli_blocks_damaged") == 0
    depoli("create", folder, "--config", home)  # and its backup goes on where it ended
    depoli("verify", folder, "--genesis", genesis)
