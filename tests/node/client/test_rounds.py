"""The rounds of the post go on whatever is not there, and commit to what was taken if one wants."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import disclosure, registry
from node.client import post as posts
from node.client import rounds
from node.client.acknowledgement import parse_acknowledgement
from node.client.committing import Commitments
from node.client.errors import NetworkRefused, Unreachable
from node.client.mail import MailView
from node.client.post import Collected
from node.client.records import AccessRecord, Way, every, update
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.letterbox import Correspondence, PostedNode
from tests.node.client.street import run


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Correspondence]:
    made = Correspondence.of(tmp_path_factory.mktemp("rounds"))
    yield made
    made.close()


@pytest.fixture
def two(sent: Correspondence, tmp_path: Path) -> Iterator[Correspondence]:
    made = sent.again(tmp_path / "two")
    yield made
    made.close()


class Enough(Exception):
    """The test has seen what it wanted."""


def commitments(two: Correspondence, lost: int = 0) -> Commitments:
    node = two.node.of("insurer")
    node.lose_answers = lost
    us = desk.sender("insurer", node)
    return Commitments(two.vaults["insurer"], node, us, wait_s=0, say=two.said.append)


def stands(two: Correspondence, record: AccessRecord) -> int | None:
    word = parse_acknowledgement(record.acknowledgement, "a", two.node.world.chain_id)
    state = two.node.world.state
    return disclosure.stands_since(state, id_of("insurer"), word.commitment)


def test_one_round_sends_takes_and_commits(two: Correspondence) -> None:
    told: list[Collected] = []
    two.send(two.letter(), two.letter(1))
    assert id_of("insurer") not in two.node.box.placed
    run(rounds.once(two.posts["insurer"], told.append, commitments(two).commit))
    assert id_of("insurer") in two.node.box.placed
    assert len(told[0].taken) == 2
    assert all(record.is_committed for record in two.accesses())
    assert all(stands(two, record) is not None for record in two.accesses())
    run(rounds.once(two.posts["shop"], told.append))
    assert [each.state for each in two.deliveries()] == [Way.ACKNOWLEDGED] * 2


def test_nothing_is_committed_to_unless_somebody_wants_it(two: Correspondence) -> None:
    two.send()
    run(rounds.once(two.posts["insurer"], lambda _: None))
    (record,) = two.accesses()
    assert not record.is_committed
    assert stands(two, record) is None


def test_a_commitment_that_was_not_heard_of_is_not_made_twice(two: Correspondence) -> None:
    two.send()
    two.collect()
    made = commitments(two, lost=1)
    with pytest.raises(Unreachable):
        run(made.commit())
    height = stands(two, two.accesses()[0])
    assert run(made.commit()) == 1
    assert run(made.commit()) == 0
    assert two.accesses()[0].is_committed
    assert stands(two, two.accesses()[0]) == height
    two.send(two.letter(1))
    two.collect()
    assert run(commitments(two).commit()) == 1


def test_what_the_chain_holds_already_counts_as_committed_to(two: Correspondence) -> None:
    two.send()
    two.collect()
    assert run(commitments(two).commit()) == 1
    vault = two.vaults["insurer"]
    ((number, record),) = every(vault, AccessRecord)
    record.is_committed = False  # as where the process was killed before it could write it down
    with vault.changes():
        update(vault, number, record)
    assert run(commitments(two).commit()) == 1
    assert two.accesses()[0].is_committed
    assert two.said == []


def test_what_the_chain_refuses_is_not_asked_of_it_again_and_again(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.send()
    two.collect()
    made = commitments(two)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "admitted", lambda *_: None)  # as where the shop was suspended
        assert run(made.commit()) == 1
        assert "no admitted member" in two.said[-1]
        assert run(made.commit()) == 0
    assert not two.accesses()[0].is_committed
    assert run(commitments(two).commit()) == 1
    assert two.accesses()[0].is_committed


def test_what_was_refused_is_not_committed_to(two: Correspondence) -> None:
    two.send(two.letter(plain=b'{"format": "depoli/other/1"}'))
    (refused,) = two.collect().refused
    assert run(commitments(two).commit()) == 0
    assert stands(two, refused) is None


def test_a_node_that_goes_is_tried_again_later_each_time(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 9:
            raise Enough

    async def gone(*_: object, **__: object) -> MailView:
        raise Unreachable("nobody answers")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(PostedNode, "mail", gone)
    with pytest.raises(Enough):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert two.said[0] == "nobody answers; tried again in 1 s"


def test_what_could_not_be_judged_is_looked_at_from_the_beginning(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answers = [Collected(left=1, after=7), Collected(after=9), Collected(after=9)]

    async def collect(*, after: int = 0, wait: int = 0) -> Collected:
        del wait
        asked.append(after)
        if not answers:
            raise Enough
        return answers.pop(0)

    async def sleep(_: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(rounds, "PASS_S", 1e9)
    monkeypatch.setattr(two.posts["shop"], "collect", collect)
    with pytest.raises(Enough):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    assert asked == [0, 0, 9, 9]
    asked.clear()
    # Where more lies there, that is taken first, but not for ever.
    answers += [Collected(left=1, after=7, is_more=True), Collected(after=9), Collected(after=9)]
    with pytest.raises(Enough):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    assert asked == [0, 7, 0, 9]
    asked.clear()
    monkeypatch.setattr(rounds, "PASS_S", -1)
    answers += [Collected(left=1, after=7, is_more=True), Collected(after=9)]
    with pytest.raises(Enough):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    assert asked == [0, 0, 9]
    answers += [Collected(left=1)] * 3
    asked.clear()
    run(rounds.once(two.posts["shop"], lambda _: None))
    assert len(asked) == rounds.PATIENT_ROUNDS


def test_of_a_flood_a_part_is_taken_in_one_go_and_all_in_one_round(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Collected] = []
    mail = PostedNode.mail

    async def one(node: PostedNode, after: int = 0, *, wait: int = 0) -> MailView:
        return await mail(node, after, wait=wait, limit=1)

    monkeypatch.setattr(PostedNode, "mail", one)
    monkeypatch.setattr(posts, "MAX_PAGES", 1)
    two.send(*map(two.letter, range(3)))
    first = two.collect()
    assert (len(first.taken), first.is_more) == (1, True)
    run(rounds.once(two.posts["insurer"], told.append))
    assert [len(each.taken) for each in told] == [1, 1, 0]
    told.clear()
    monkeypatch.setattr(rounds, "MAX_GOES", 2)
    run(rounds.once(two.posts["shop"], told.append))
    assert [len(each.acknowledged) for each in told] == [1, 1]


def test_what_a_node_refuses_at_first_is_told_and_later_it_is_tried_again(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Exception | None] = [NetworkRefused("not this token")]

    async def collect(**_: int) -> Collected:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return Collected()

    async def sleep(_: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(two.posts["shop"], "collect", collect)
    with pytest.raises(NetworkRefused):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    outcomes += [None, NetworkRefused("too many"), None, Enough()]
    with pytest.raises(Enough):
        run(rounds.keep_on(two.posts["shop"], lambda _: None, two.said.append))
    assert two.said == ["too many; tried again in 1 s"]


def test_pages_are_taken_together_and_a_page_that_comes_late_by_itself(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    mail = PostedNode.mail

    async def one(node: PostedNode, after: int = 0, *, wait: int = 0) -> MailView:
        asked.append((after, wait))
        return await mail(node, after, wait=wait, limit=1)

    monkeypatch.setattr(PostedNode, "mail", one)
    monkeypatch.setattr(posts, "AT_ONCE", 2)
    two.send(*map(two.letter, range(3)))
    before = two.fate.steps
    taken = run(two.posts["insurer"].collect(wait=7))
    assert len(taken.taken) == 3
    assert not taken.is_more
    assert two.fate.steps - before == 2 * (2 + 2 + 2)  # two writes, of two pages and of one
    assert asked == [(0, 7), (1, 0), (2, 0), (3, 0), (3, 0)]
