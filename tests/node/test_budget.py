"""What a peer may cost: so much a second, some at once, and debts are waited for."""

import asyncio

import pytest

from node import turnstile
from node.budget import Budget
from node.turnstile import Turnstile
from tests.node.cluster import run, within


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("node.clock.monotonic", lambda: now[0])
    return now


def test_what_is_spent_comes_back_up_to_the_burst(clock: list[float]) -> None:
    budget = Budget(0.5, 2.0)
    assert budget.left == 2.0
    budget.spend(3.0)
    assert budget.left == -1.0
    clock[0] += 4
    assert budget.left == 1.0
    clock[0] += 1000
    assert budget.left == 2.0


def test_who_is_in_debt_waits_and_who_is_not_does_not() -> None:
    async def wait() -> None:
        budget = Budget(10.0, 1.0)
        loop = asyncio.get_running_loop()
        await within(budget.wait(), 0.05)
        budget.spend(2.0)
        began = loop.time()
        await budget.wait()
        assert loop.time() - began >= 0.09
        assert budget.left >= -0.01

    run(wait())


def test_a_flood_from_one_host_leaves_room_for_others(clock: list[float]) -> None:
    door = Turnstile()
    let_in = sum(door.lets_in("flood") for _ in range(10_000))
    assert let_in == turnstile.HOST_BURST
    assert door.turned_away == 10_000 - let_in
    assert door.lets_in("peer")
    clock[0] += 1
    assert sum(door.lets_in("flood") for _ in range(1000)) == turnstile.HOST_RATE


def test_hosts_without_number_cost_a_bounded_rate_and_memory(clock: list[float]) -> None:
    door = Turnstile()
    let_in = sum(door.lets_in(f"host {number}") for number in range(10_000))
    assert let_in == turnstile.BURST
    assert len(door._hosts) == turnstile.MAX_HOSTS
    clock[0] += 1
    assert sum(door.lets_in(f"other {number}") for number in range(1000)) == turnstile.RATE


def test_peers_do_not_count(clock: list[float]) -> None:
    del clock
    door = Turnstile()
    for _ in range(1000):
        assert door.lets_in("peer")
        door.give_back("peer")
    door.give_back("nobody")
