"""Validators that come, change their keys and go, by the commands of docs/operator.md, for real.

That a newcomer votes is seen by stopping another: without the newcomer's vote nothing is decided.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimSubmit,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
)
from contracts.commitment import blinding_from, commit, lock_of, mark_of
from contracts.registry import member_id
from ledger.entry import APPLIED
from ledger.keys import Role
from ledger.transaction import Transaction, created_id
from node import keystore, testnet
from node.cli.main import main
from node.client.transactions import Sender
from node.config import FILE_NAME, load_config
from node.process import Process
from node.testnet import Organisation
from tests.network import faultnet
from tests.network.faultnet import FaultNetwork, until


def does(*args: str | Path) -> Any:  # noqa: ANN401
    """Run a command that succeeds; return its result."""
    result = CliRunner().invoke(main, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


class Registry:
    """The network's organisations at their commands."""

    def __init__(self, net: FaultNetwork, folder: Path) -> None:
        self.net, self.folder = net, folder

    def person(self, who: Organisation, *args: str | Path) -> Any:  # noqa: ANN401
        return does("validator", *args, "--home", who.home)

    def agree(self, count: int, *change: str) -> str:
        """Have this many validators vote for a change, which the first of them proposes."""
        chosen = [self.net.network.organisation(label) for label in self.net.labels[:count]]
        made = does("proposal", *change, "--in-blocks", "12", "--home", chosen[0].home)
        said = [does("proposal", "vote", made["id"], "yes", "--home", each.home) for each in chosen]
        assert said[-1]["state"] == "passed"
        self.in_force(made["effect"])
        return str(made["number"])

    def in_force(self, height: int) -> None:
        """Let blocks be made until the one from which a change counts is open."""
        via = self.net.labels[0]
        self.net.drive(lambda: self.net.height(via) >= height - 1, via)

    def node_of(self, who: Organisation, keys: Path) -> Process:
        """Make and start the node of a newcomer, which dials those that it knows."""
        p2p, api, admin = testnet._free_ports(3)
        peers = []
        for label in self.net.labels:
            address = load_config(self.net.process(label).home).p2p_listen
            peers += ["--peer", f"{label}={address}"]
        does(
            "node", "init", "--data", who.node, "--genesis", self.net.network.genesis,
            "--keys", keys, "--member", who.label, "--first-start",
            "--listen", str(p2p), "--api", str(api), "--admin", str(admin), *peers,
        )  # fmt: skip
        process = Process(who.label, who.node)
        process.start()
        return process


def change_keys(process: Process, old: Path, new: Path) -> None:
    """Restart a node with other keys, as the operator's page tells."""
    process.stop()
    path = process.home / FILE_NAME
    text = path.read_text("utf-8")
    assert str(old) in text
    path.write_text(text.replace(str(old), str(new)), "utf-8")
    process.start()


@pytest.mark.timeout(240)
def test_a_validator_joins_votes_changes_its_keys_and_leaves(tmp_path: Path) -> None:
    with faultnet.running(tmp_path / "net", notice_blocks=2) as net:
        registry = Registry(net, tmp_path)
        shop, first, last = net.sender, net.labels[0], net.labels[-1]
        keys = tmp_path / "keys"
        does("validator", "new-keys", keys)
        voted = registry.agree(3, "join", shop.label)
        made = registry.person(shop, "join", "--proposal", voted, "--keys", keys)
        newcomer = registry.node_of(shop, keys)
        try:
            registry.in_force(made["from_height"])
            until(lambda: not newcomer.not_ready(), newcomer.not_ready)
            listed = registry.person(shop, "list")
            assert listed["now"] == [*net.labels, shop.label]
            net.process(last).kill()  # five, and four of them decide
            net.submit(first)
            net.start(last)

            newer = tmp_path / "newer"
            does("validator", "new-keys", newer, "--keep", keys)
            made = registry.person(shop, "rotate", "--keys", newer)
            registry.in_force(made["from_height"])
            change_keys(newcomer, keys, newer)
            until(lambda: not newcomer.not_ready(), newcomer.not_ready)
            # It signs nothing until the network is past what a lost journal may have signed.
            net.drive(lambda: not newcomer.status()["fenced"], first)
            net.process(last).kill()
            net.submit(first)
            net.start(last)

            host, voted = net.network.organisation(first), registry.agree(4, "leave", shop.label)
            made = registry.person(host, "leave", "--proposal", voted)
            registry.in_force(made["from_height"])
            assert registry.person(shop, "list")["now"] == list(net.labels)
            height = net.submit(first).height
            until(lambda: newcomer.status()["height"] >= height, "it does not follow any more")
        finally:
            newcomer.kill()


@pytest.mark.timeout(240)
def test_a_newcomer_is_voted_in_and_paid_and_blocks_get_smaller(tmp_path: Path) -> None:
    with faultnet.running(tmp_path / "net", notice_blocks=2) as net:
        registry, via = Registry(net, tmp_path), net.labels[0]
        card = tmp_path / "newcomer"
        does("keys", "new", card, "--label", "newcomer", "--family", "optician", "--country", "BE")
        key = keystore.load_keys(card, (Role.TRANSACTION,))[Role.TRANSACTION]
        member = member_id(key.public)
        newcomer = Sender(net.network.chain_id, member, key)

        def sends(*calls: Call) -> Transaction:
            return newcomer.sign(calls, now=int(time.time()))

        with pytest.raises(AssertionError, match="no member has the id"):
            net.send(via, sends(PrescriptionCommit(bytes(32))))
        registry.agree(3, "admit", str(card))
        payer = next(each for each in net.network.validators if each.family == "insurer")
        mark = Mark(Part.LENSES, mark_of(bytes(32), Leg.COMPLEMENTARY, Part.LENSES, 0))
        lock = MarkLock(lock_of(net.network.chain_id, member, mark.mark))
        amount = commit(1_000, blinding_from(bytes(range(64))))
        claim = ClaimSubmit(
            payer.member, Leg.COMPLEMENTARY, bytes(32), bytes(32), amount, (mark,), None, None
        )
        net.send(via, sends(PrescriptionCommit(bytes(32)), lock))
        (told,) = net.send(via, sends(claim))
        assert told.code == APPLIED
        accept = ClaimAccept(created_id(told.id, 0), None)
        assert net.submit(via, accept, sender=payer).code == APPLIED

        registry.agree(3, "parameters", "max_block_transactions=1")
        heights = [told.height for told in net.submit_many(via, 6)]
        assert len(set(heights)) == 6  # as many as fitted into one before
        net.until_level()
