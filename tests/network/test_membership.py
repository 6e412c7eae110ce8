"""Validators come and go under load and faults; each change needs those who may make it."""

from collections.abc import Iterator

import pytest

from contracts.calls import Joining, JoinValidators, ValidatorJoin, Withdraw
from contracts.errors import Refusal
from ledger.entry import APPLIED
from tests.network.faultnet import FaultNetwork, until
from tests.network.membership import Membership


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Membership]:
    """Ten nodes, four of which validate."""
    folder = tmp_path_factory.mktemp("members") / "net"
    made = Membership.create(folder, validators=4, members=10)
    with made.net:
        made.net.start()
        made.net.submit(made.validators[0])
        yield made


@pytest.fixture
def net(members: Membership) -> Iterator[FaultNetwork]:
    yield members.net
    members.net.mend()


def test_without_a_quorum_of_the_validators_nobody_joins(
    members: Membership, net: FaultNetwork
) -> None:
    label, via = members.followers[0], members.validators[0]
    member = members.organisation(label).member
    proposal, _, votes = members.vote(JoinValidators(member), via, 2 + 8, fewer=1)
    assert {each.code for each in votes} == {APPLIED}
    change = Joining(member, members._public(label), proposal)
    call = ValidatorJoin(change, members._possession(change, label, via))
    told = net.submit(via, call, sender=members.organisation(label))
    assert told.code == Refusal.PROPOSAL_IN_WRONG_STATE
    proposer = members.organisation(via)
    assert net.submit(via, Withdraw(proposal), sender=proposer).code == APPLIED
    assert len(net.ask(via, "/v1/validators")["validators"]) == 4


def test_a_validator_joins_votes_leaves_follows_and_joins_again(
    members: Membership, net: FaultNetwork
) -> None:
    label, via, other = members.followers[0], *members.validators[:2]
    members.join(label, via)
    net.process(other).kill()  # of five four must vote: now it is one of them
    net.submit(via)
    net.start(other)
    members.leave(label, via)
    net.until_level()  # it still follows
    members.join(label, via)  # with new keys
    net.drive(lambda: net.proposer(via) == label)
    members.leave(label, via)


def test_a_validator_gets_other_keys_and_votes_with_them(
    members: Membership, net: FaultNetwork
) -> None:
    label, via, other = members.validators[1], members.validators[0], members.validators[2]
    members.rotate(label, via)
    net.drive(lambda: net.proposer(via) == label)
    net.process(other).kill()  # of four three must vote
    net.submit(via)


def test_a_change_of_validators_passes_over_nobody(members: Membership, net: FaultNetwork) -> None:
    via, dead, label = members.validators[0], members.validators[3], members.followers[0]
    net.process(dead).kill()
    net.drive(lambda: bool(net.ask(via, "/v1/validators")["passed_over"]), via)
    members.join(label, via)
    assert net.ask(via, "/v1/validators")["passed_over"] == []
    net.start(dead)
    members.leave(label, via)


def test_from_four_to_ten_and_back_under_load_and_faults(
    members: Membership, net: FaultNetwork
) -> None:
    founders = list(members.validators)
    via = founders[0]
    with net.loaded(*founders[:2]):
        for number, label in enumerate(members.followers):
            victim = members.validators[-1] if number else founders[3]
            match number % 3:
                case 0:
                    net.process(victim).kill()
                case 1:
                    net.pause(victim)
                case _:
                    net.proxy.isolate(victim)
            members.join(label, via)
            net.proxy.heal()
            if number % 3 == 1:
                net.resume(victim)
            net.start(victim)
            net.until_height(net.height(via), *net.labels)
        assert len(members.validators) == 10
        members.leave(founders[3], via)
        members.take_place(members.validators[4], founders[3], via)
        net.process(members.validators[-1]).kill()  # it leaves because it is dead
        while len(members.validators) > 4:
            members.leave(members.validators[-1], via)
    net.start()
    until(lambda: not any(net.status(each)["fenced"] for each in net.labels), "still fenced")
