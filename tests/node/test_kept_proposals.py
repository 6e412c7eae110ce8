"""Proposals of later rounds: kept by whoever prepared them, and part of every export of theirs."""

import json
from pathlib import Path

from click.testing import CliRunner

from consensus import messages
from consensus.messages import Proposal
from contracts.genesis_json import signed_json
from node.audit.export import parse_proposal
from node.audit.fork import _proposals
from node.cli.main import main
from node.config import write_config
from node.errors import Exit
from tests.node.cluster import LABELS, Cluster, Node, prescription, run


def export(node: Node) -> Path:
    """Export the folder of a stopped node by the command that its operator uses."""
    (node.data / "config.toml").write_text(write_config({"data": "."}, {}))
    (node.data / "genesis.json").write_text(signed_json(node.cluster.genesis))
    output = node.data / "export"
    done = CliRunner().invoke(
        main, ["audit", "export", "--data", str(node.data), "-o", str(output), "--json"]
    )
    assert done.exit_code == Exit.OK, done.output
    assert json.loads(done.stdout)["height"] == 1
    return output


def test_a_round_whose_leader_is_dead_leaves_its_proposal_with_all(tmp_path: Path) -> None:
    kept: dict[str, list[bytes]] = {}

    async def test() -> None:
        async with Cluster(tmp_path) as cluster:
            up = [cluster[label] for label in LABELS if label != LABELS[1]]  # who leads round 0
            for node in up:
                node.start()
            await cluster.until_linked()
            await up[0].commit(prescription(cluster.genesis, 1))
            await cluster.until_level()
            header = up[0].running.chain.header
            assert header.built_round > 0
            for node in up:
                kept[node.label] = await node.running.pledges.kept_proposals()
            for node in up:
                await node.stop()
            for node in up:
                found = list(_proposals(export(node), 1))
                assert [messages.encode(each) for each in found] == kept[node.label]
                assert header.hash in {each.block_id for each in found}
            data = up[0].data
            command = ["audit", "verify", str(data / "export"), "--jobs", "1", "--genesis"]
            done = CliRunner().invoke(main, [*command, str(data / "genesis.json")])
            assert done.exit_code == Exit.OK, done.output

    run(test())
    proposal = parse_proposal(kept[LABELS[0]][0])
    assert isinstance(proposal, Proposal)
    assert proposal.round > 0
    assert proposal.justification is not None
