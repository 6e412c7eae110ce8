"""What Hyperledger Fabric tries on SmartBFT, tried on us; docs/scenarios.md says which is which."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from contracts.errors import Refusal
from ledger.entry import APPLIED
from scripts import kills
from tests.network import faultnet
from tests.network.faultnet import FaultNetwork, post, until

CALLED_S = 10.0  # SmartBFT's callers come to wait 20 to 25 s between two calls


@pytest.fixture(autouse=True)
def _whole_at_last(net: FaultNetwork) -> Iterator[None]:
    yield
    net.mend()


def test_all_nodes_stopped_and_started_again_go_on(net: FaultNetwork) -> None:
    height = net.until_level()
    assert all(net.network.stop().values())
    assert net.heights() == dict.fromkeys(net.labels, -1)
    net.start()
    assert all(net.height(label) >= height for label in net.labels)
    for label in net.labels:
        net.submit(label)


def test_a_follower_that_was_away_catches_up_and_takes_part(net: FaultNetwork) -> None:
    follower = net.others(net.leader(net.labels[0]))[0]
    others = net.others(follower)
    net.process(follower).kill()
    for number in range(6):
        net.submit(others[number % 3])
    net.start(follower)
    net.until_level()
    net.process(others[0]).kill()  # now nothing is decided without it
    net.submit(follower)


def test_a_leader_that_was_away_catches_up_and_leads_again(net: FaultNetwork) -> None:
    leader = net.leader(net.labels[0])
    others = net.others(leader)
    net.process(leader).kill()
    for number in range(4):
        net.submit(others[number % 3])
    net.start(leader)
    net.until_level()
    net.drive(lambda: net.proposer(others[0]) == leader)


def test_the_next_leader_proposes_what_a_dead_one_did_not(net: FaultNetwork) -> None:
    leader = net.leader(net.labels[0])
    others = net.others(leader)
    net.process(leader).kill()
    made = faultnet.transaction(net.network, net.sender, faultnet.new_prescription())
    with ThreadPoolExecutor() as threads:  # to all followers, as a client does that is not answered
        told = list(threads.map(lambda label: net.send(label, made)[0], others))
    assert len(set(told)) == 1
    assert net.block(others[0], told[0].height)["header"]["built_round"] >= 1


def test_a_leader_that_stands_still_is_passed_over(net: FaultNetwork) -> None:
    leader = net.leader(net.labels[0])
    others = net.others(leader)
    net.pause(leader)  # its links stay up, and say nothing
    index = net.labels.index(leader)
    net.drive(
        lambda: (
            index in net.ask(others[0], "/v1/validators")["passed_over"]
            and in_time(net, others[0], 4)
        ),  # in turn, one of them would be its own
        *others,
    )
    net.resume(leader)
    net.until_level()
    net.drive(lambda: net.proposer(others[0]) == leader)
    assert index not in net.ask(others[0], "/v1/validators")["passed_over"]


def in_time(net: FaultNetwork, label: str, count: int) -> bool:
    """Whether each of a node's last blocks was built by the first whose turn it was."""
    height = net.height(label)
    last = range(height - count + 1, height + 1)
    return all(net.block(label, each)["header"]["built_round"] == 0 for each in last)


def test_a_transaction_with_a_corrupt_signature_is_refused_by_every_node(
    net: FaultNetwork,
) -> None:
    net.submit(net.labels[0])
    made = faultnet.transaction(net.network, net.sender, faultnet.new_prescription())
    corrupt = made.raw[:-1] + bytes((made.raw[-1] ^ 1,))
    for label in net.labels:
        (result,) = post(net.network, label, [corrupt])
        assert result["status"] == "rejected"
        assert "does not verify" in result["problem"]["title"]
        assert net.status(label)["mempool"] == 0
    assert made.id not in kills.read_chain(net.network, net.labels[0])


def test_blocks_hold_no_more_than_the_chain_allows(net: FaultNetwork) -> None:
    heights = [told.height for told in net.submit_many(net.labels[0], 40)]
    assert max(map(heights.count, heights)) == 16
    assert len(set(heights)) >= 3


def test_a_node_that_was_away_is_called_again_at_once(net: FaultNetwork) -> None:
    away = net.labels[2]
    net.process(away).kill()

    def is_given_up() -> bool:
        """Whether somebody says that it cannot be reached: the calls are as rare as they get."""
        return any(net.logged(label, "peer unreachable") for label in net.others(away))

    until(is_given_up, "nobody calls it")
    net.start(away)
    began = time.monotonic()
    until(lambda: len(net.status(away)["peers"]) == 3, "it is not linked")
    assert time.monotonic() - began < CALLED_S


def test_a_transaction_sent_through_every_node_stands_once_and_waits_nowhere(
    net: FaultNetwork,
) -> None:
    call = faultnet.new_prescription()
    made = [faultnet.transaction(net.network, net.sender, call) for _ in range(2)]
    outcomes = [APPLIED, Refusal.PRESCRIPTION_ALREADY_COMMITTED]
    with ThreadPoolExecutor() as threads:
        for told in list(threads.map(lambda label: net.send(label, *made), net.labels)):
            assert sorted(each.code for each in told) == outcomes
    net.until_level()
    until(lambda: not any(net.status(each)["mempool"] for each in net.labels), "one still waits")


def test_a_node_that_lost_all_its_data_fetches_the_chain_and_votes_again(
    net: FaultNetwork,
) -> None:
    label = net.labels[1]
    others = net.others(label)
    assert net.process(label).stop()
    shutil.rmtree(net.process(label).home / "data")
    net.start(label)
    net.until_level()
    net.drive(lambda: not net.status(label)["fenced"], *others)
    net.process(others[0]).kill()  # now nothing is decided without it
    net.submit(label)
