"""What CometBFT's end-to-end tests do to nodes, and worse, under load; see docs/scenarios.md."""

from collections.abc import Iterator

import pytest

from tests.network.faultnet import FaultNetwork, new_prescription, post, transaction, until

BLOCKS = 3  # that must come while something is broken


@pytest.fixture(autouse=True)
def _whole_at_last(net: FaultNetwork) -> Iterator[None]:
    yield
    net.mend()


def go_on(net: FaultNetwork, *labels: str) -> None:
    """Wait until some more blocks have come to these nodes."""
    goal = max(net.height(label) for label in labels) + BLOCKS
    net.until_height(goal, *labels)


def stands_still(net: FaultNetwork) -> bool:
    """Whether no node takes anything, nor decides what it has."""
    before = net.heights()
    made = transaction(net.network, net.sender, new_prescription())
    taken = [post(net.network, label, [made.raw], wait_s=1) for label in net.labels]
    return not any(taken) and net.heights() == before


def test_kill(net: FaultNetwork) -> None:
    victim = net.labels[0]
    with net.loaded(*net.others(victim)):
        net.process(victim).kill()
        go_on(net, *net.others(victim))
        net.start(victim)
        go_on(net, victim)


def test_pause(net: FaultNetwork) -> None:
    victim = net.labels[1]
    with net.loaded(*net.others(victim)):
        net.pause(victim)
        go_on(net, *net.others(victim))
        net.resume(victim)
        go_on(net, victim)


def test_disconnect(net: FaultNetwork) -> None:
    victim = net.labels[2]
    with net.loaded(*net.others(victim)):
        net.proxy.isolate(victim)
        until(lambda: net.status(victim)["peers"] == [], "it still has peers")
        go_on(net, *net.others(victim))
        net.proxy.heal()
        go_on(net, victim)


def test_restart(net: FaultNetwork) -> None:
    victim = net.labels[3]
    with net.loaded(*net.others(victim)):
        assert net.process(victim).stop()
        go_on(net, *net.others(victim))
        net.start(victim)
        go_on(net, victim)


def test_upgrade_one_node_after_the_other(net: FaultNetwork) -> None:
    """Every node is stopped and started while the load goes on: what replaces a version does."""
    for victim in net.labels:
        with net.loaded(*net.others(victim)):
            assert net.process(victim).stop()
            net.start(victim)
            net.until_ready(victim)
            go_on(net, *net.labels)


def test_halves_decide_nothing_and_go_on_when_they_meet(net: FaultNetwork) -> None:
    one, other = net.labels[:2], net.labels[2:]
    with net.loaded(net.labels[0], net.labels[3]):
        net.proxy.split(one, other)
        until(
            lambda: all(len(net.status(label)["peers"]) == 1 for label in net.labels),
            "the halves are not apart",
        )
        until(lambda: stands_still(net), "something is decided")
        assert stands_still(net)
        heights = net.heights()
        assert max(heights.values()) - min(heights.values()) <= 1
        net.proxy.heal()
        go_on(net, *net.labels)
        assert max(heights.values()) < min(net.heights().values())


def test_in_a_ring_each_node_reaches_a_quorum_and_all_go_on(net: FaultNetwork) -> None:
    net.proxy.ring()
    with net.loaded():
        until(
            lambda: all(len(net.status(label)["peers"]) == 2 for label in net.labels),
            "it is no ring",
        )
        go_on(net, *net.labels)


def test_two_nodes_that_never_reach_each_other_stop_nobody(net: FaultNetwork) -> None:
    one, other = net.labels[0], net.labels[3]
    net.proxy.cut(one, other)
    with net.loaded(one, other):
        until(lambda: len(net.status(one)["peers"]) == 2, "they still reach each other")
        go_on(net, *net.labels)


def test_a_node_that_is_not_heard_holds_up_nobody_and_still_follows(net: FaultNetwork) -> None:
    mute = net.labels[1]
    with net.loaded(*net.others(mute)):
        for label in net.others(mute):
            net.proxy.hold(mute, label)
        go_on(net, *net.labels)


def test_a_node_that_hears_nobody_holds_up_nobody(net: FaultNetwork) -> None:
    deaf = net.labels[2]
    with net.loaded(*net.others(deaf)):
        for label in net.others(deaf):
            net.proxy.hold(label, deaf)
        go_on(net, *net.others(deaf))
        net.proxy.heal()
        go_on(net, *net.labels)


def test_long_and_thin_wires_are_slow_and_no_more(net: FaultNetwork) -> None:
    for source in net.labels:
        for target in net.others(source):
            net.proxy.slow(source, target, delay_s=0.03, bytes_per_s=200_000)
    with net.loaded():
        go_on(net, *net.labels)


def test_links_that_break_again_and_again_stop_nothing(net: FaultNetwork) -> None:
    with net.loaded():
        for number in range(12):
            one = net.labels[number % 4]
            for other in net.others(one):
                net.proxy.reset(one, other)
            net.until_height(net.height(one) + 1, one)
