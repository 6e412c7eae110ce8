"""Three honest processes and a validator that lies: the chain goes on, and nothing is lost."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from consensus import messages
from consensus.evidence import culprit, decode, offence_key
from consensus.messages import Commit, Prepare
from ledger.encoding import encode
from node.cli.main import main
from node.config import load_config
from node.errors import Exit
from node.link import MAX_CONSENSUS_BYTES, Channel, Transactions
from node.process import request
from scripts import kills
from tests.network import byzantine, faultnet
from tests.network.byzantine import Liar, Lie
from tests.network.faultnet import FaultNetwork, until


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultNetwork]:
    with faultnet.running(tmp_path_factory.mktemp("liars") / "net") as made:
        made.submit(made.labels[0])
        yield made


@pytest.fixture(scope="module")
def liar(net: FaultNetwork) -> Iterator[Liar]:
    """The last validator: its process is stopped, and it lies in this one."""
    label = net.labels[-1]
    assert net.process(label).stop()
    with Liar(net.process(label)) as made:
        yield made


@pytest.fixture(autouse=True)
def _honest_at_last(net: FaultNetwork, liar: Liar) -> Iterator[None]:
    """After each lie the three honest nodes are level and whole, and so is the liar's."""
    yield
    height = net.until_level(*honest(net))
    until(lambda: liar.height >= height, "the liar does not keep up")
    net.require_whole(*honest(net))
    for label in honest(net):
        deeds = net.ask(label, "/v1/evidence?limit=500")["evidence"]
        assert {deed["organisation"] for deed in deeds} <= {liar.label}


def honest(net: FaultNetwork) -> tuple[str, ...]:
    return net.labels[:-1]


def drive(net: FaultNetwork, until_: Callable[[], bool], *, together: int = 1) -> None:
    """Make blocks of some transactions through the honest nodes until a condition holds."""
    net.drive(until_, *honest(net), together=together)


def until_it_leads(net: FaultNetwork, liar: Liar) -> None:
    """Make blocks until the liar, which is honest now, has built one."""
    member = liar.parts.chain.state.validators.members[liar.index].member
    drive(net, lambda: liar.parts.chain.header.proposer == member)


def counted(net: FaultNetwork, label: str, metric: str) -> float:
    """Return the sum of a metric over its labels."""
    _, text = request(load_config(net.process(label).home).admin_listen, "/metrics")
    lines = [line for line in text.decode().splitlines() if line.startswith(metric)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def refusals(net: FaultNetwork) -> int:
    """Return how many proposals were found wrong."""
    events = ("invalid proposal", "message refused")
    return sum(len(net.logged(label, event)) for label in honest(net) for event in events)


def test_a_leader_that_freezes_costs_one_round(net: FaultNetwork, liar: Liar) -> None:
    until_it_leads(net, liar)
    first = net.height(net.labels[0])
    with liar.telling(byzantine.frozen):
        # It may have been silent already, and the block that was due from it not be made yet.
        drive(net, lambda: kills.count_late(net.network, net.labels[0], first) >= 1)
    assert liar.lied > 0


WRONG: dict[str, Lie] = {
    "another state": byzantine.wrong(state_digest=bytes(32)),
    "another root": byzantine.wrong(transactions_root=bytes(32)),
    "a time to come": byzantine.wrong(time=lambda time_: time_ + 3600),
    "another round": byzantine.wrong(built_round=3),
    "another proposer": byzantine.wrong(proposer=bytes(16)),
    "another parent": byzantine.wrong(parent=bytes(32)),
    "without a reason": byzantine.unjustified,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_proposal_is_prepared_by_nobody(net: FaultNetwork, liar: Liar, name: str) -> None:
    until_it_leads(net, liar)
    lies: list[bytes] = []

    def lie(own: Liar, message: messages.Message, peer: int) -> list[messages.Message | bytes]:
        said = list(WRONG[name](own, message, peer))
        if said != [message]:
            lies.extend(each.block_id for each in said if isinstance(each, messages.Proposal))
        return said

    before = refusals(net)
    with liar.telling(lie):
        drive(net, lambda: len(lies) >= 3)
        until(lambda: refusals(net) > before, "nobody says what is wrong with it")
    votes = [each for each in liar.heard if isinstance(each, Prepare | Commit)]
    assert votes
    assert not any(each.block_id in lies for each in votes if not liar.is_own(each))


def test_two_blocks_of_one_leader_do_not_split_the_chain(net: FaultNetwork, liar: Liar) -> None:
    until_it_leads(net, liar)
    fork = byzantine.Forking()

    def voted() -> bool:
        """Whether an honest validator has voted for the second block: the lie is a good one."""
        votes = [each for each in liar.heard if isinstance(each, Prepare)]
        others = {executed.header.hash for executed in fork.others.values()}
        return any(each.block_id in others for each in votes if not liar.is_own(each))

    with liar.telling(fork):
        drive(net, voted, together=3)


def test_a_vote_for_two_blocks_is_found_and_stands_on_every_chain(
    net: FaultNetwork, liar: Liar, tmp_path: Path
) -> None:
    before = {label: counted(net, label, "depoli_evidence_total") for label in honest(net)}

    def is_found() -> bool:  # by each: a vote that comes when the height is over proves nothing
        after = {label: counted(net, label, "depoli_evidence_total") for label in before}
        return all(after[label] > before[label] for label in before)

    with liar.telling(byzantine.two_faced):
        drive(net, is_found)
    assert net.logged(honest(net)[0], "contradiction")[-1]["kind"] in {"DoubleVote", "CrossVote"}

    def stands(label: str) -> list[bytes]:
        blocks = kills.read_blocks(net.network, label)
        return [data for each in blocks for data in each.block.body.evidence]

    until(lambda: all(map(stands, honest(net))), "no chain holds the evidence")
    found = [{offence_key(decode(data)) for data in stands(label)} for label in honest(net)]
    assert set.intersection(*found)  # who is a block behind will have the rest
    for data in stands(honest(net)[0]):
        assert culprit(decode(data)) == liar.index
    _show_and_export(net, honest(net)[0], net.labels[liar.index], tmp_path)


def _show_and_export(net: FaultNetwork, label: str, guilty: str, folder: Path) -> None:
    """List the evidence of a running node, and take one piece away, by the commands for that."""
    config = load_config(net.process(label).home)
    token, file = folder / "token", folder / "evidence.json"
    token.write_text(kills.token_of(net.network, label))
    token.chmod(0o600)
    source = ["--node", f"http://{config.api_listen}", "--token-file", str(token)]
    trust = ["--genesis", str(config.genesis)]
    done = CliRunner().invoke(main, ["evidence", "list", *source, *trust, "--json"])
    assert done.exit_code == Exit.OK, done.output
    recorded = [deed for deed in json.loads(done.stdout)["evidence"] if deed["recorded"]]
    assert {deed["organisation"] for deed in recorded} == {guilty}
    words = ["export", recorded[0]["id"], *source, *trust, "-o", str(file)]
    done = CliRunner().invoke(main, ["evidence", *words])
    assert done.exit_code == Exit.OK, done.output
    done = CliRunner().invoke(main, ["evidence", "verify", str(file), *trust])
    assert done.stdout.startswith(recorded[0]["says"]), done.output


def test_a_body_that_is_kept_back_is_waited_for_no_longer_than_a_round(
    net: FaultNetwork, liar: Liar
) -> None:
    until_it_leads(net, liar)
    hidden = faultnet.transaction(net.network, net.sender, faultnet.new_prescription())
    with liar.telling(byzantine.proposing(hidden), hides=lambda leaf: leaf == hidden.leaf):
        drive(net, lambda: liar.lied > 0)
        until(lambda: liar.lied > 3, "nobody has asked for the body")
    found = kills.read_chain(net.network, honest(net)[0])
    assert hidden.id not in found


def test_a_vote_in_the_name_of_another_ends_the_link(net: FaultNetwork, liar: Liar) -> None:
    before = len(net.logged(honest(net)[0], "peer dropped"))
    with liar.telling(byzantine.forged):
        drive(net, lambda: len(net.logged(honest(net)[0], "peer dropped")) > before)
    assert "does not verify" in net.logged(honest(net)[0], "peer dropped")[-1]["error"]


def test_votes_of_old_heights_change_nothing(net: FaultNetwork, liar: Liar) -> None:
    for _ in range(3):
        net.submit(honest(net)[0])
    old = [message for message in liar.heard if message.height < liar.height]
    assert len({type(message) for message in old}) >= 3
    liar.say(*old)
    net.submit(honest(net)[1])


FRAMES = {
    "a channel that does not exist": b"\0\0\0\1\x63x",
    "more bytes than may come": (MAX_CONSENSUS_BYTES + 1).to_bytes(4) + bytes((Channel.CONSENSUS,)),
    "no message": b"\0\0\0\4" + bytes((Channel.CONSENSUS,)) + b"\xff\0\xff\0",
    "no request": b"\0\0\0\2" + bytes((Channel.PULL,)) + b"\x91\xc1",
    "a second hello": b"\0\0\0\1" + bytes((Channel.HELLO,)) + b"\x90",
    "no transactions": b"\0\0\0\1" + bytes((Channel.TRANSACTIONS,)) + b"\xc1",
}


@pytest.mark.parametrize("lot", [list(FRAMES)[:3], list(FRAMES)[3:]], ids=["once", "again"])
def test_a_bad_frame_ends_the_link_which_comes_back(
    net: FaultNetwork, liar: Liar, lot: list[str]
) -> None:
    until(lambda: len(liar.linked) == 3, "the liar is not linked")
    before = {label: len(net.logged(label, "peer dropped")) for label in honest(net)}
    for label, name in zip(honest(net), lot, strict=True):
        liar.throw(FRAMES[name], label)
    until(
        lambda: all(len(net.logged(each, "peer dropped")) > before[each] for each in before),
        "somebody keeps the link",
    )
    until(lambda: len(liar.linked) == 3, "the liar is not linked again")


def test_a_forged_transaction_that_is_forwarded_reaches_no_block(
    net: FaultNetwork, liar: Liar
) -> None:
    made, other = (
        faultnet.transaction(net.network, net.sender, faultnet.new_prescription()) for _ in range(2)
    )
    forged = other.raw[:-1] + bytes((other.raw[-1] ^ 1,))
    label = honest(net)[0]
    told = len(net.logged(label, "peer penalised"))
    for raw in (made.raw, forged):
        until(lambda: label in liar.linked, "the liar is not linked")
        payload = encode(Transactions((raw,)))
        liar.throw(len(payload).to_bytes(4) + bytes((Channel.TRANSACTIONS,)) + payload, label)
        until(
            lambda: made.id in kills.read_chain(net.network, label),
            "the good one is not in a block",
        )
    until(
        lambda: len(net.logged(label, "peer penalised")) > told,
        "who forwards what its sender did not sign is not penalised",
    )
    assert other.id not in kills.read_chain(net.network, label)


def test_a_validator_that_does_not_vote_stops_nothing(net: FaultNetwork, liar: Liar) -> None:
    with liar.telling(byzantine.silent):
        for label in honest(net):
            net.submit(label)
        drive(net, lambda: liar.lied > 0)  # the others decide without it, perhaps before it votes


def test_a_peer_that_keeps_blocks_back_does_not_hold_up_who_catches_up(
    net: FaultNetwork, liar: Liar
) -> None:
    away, *others = honest(net)
    net.process(away).kill()
    liar.keeps_blocks, liar.lied = True, 0
    for number in range(6):
        net.submit(others[number % 2])
    for other in others:
        net.proxy.cut(away, other)
    net.process(away).start()
    until(lambda: liar.lied > 0, "the liar is not asked, though nobody else is there")
    net.proxy.heal()
    net.until_height(net.until_level(*others), away)
    liar.keeps_blocks = False
