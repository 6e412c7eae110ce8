"""Who is asked for which blocks: ranges from several peers, bounded, and nobody is believed."""

import io
import json
from collections.abc import Sequence

import pytest

from contracts.beginning import start
from ledger.validators import ValidatorSet
from node import catchup as module
from node.catchup import Catchup, Held
from node.log import Level, Log
from node.sync import MAX_BLOCKS, PullBlocks
from tests.chainmaker import found

VALIDATORS: ValidatorSet = start(found().genesis).validators
A, B, C, D = (each.node_key for each in VALIDATORS.members)
NAMES = dict(zip((A, B, C, D), "ABCD", strict=True))


class Desk:
    """A node that is behind, its clock, and what it asks and takes."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.height = clock, 0
        self.asked: list[tuple[str, int, int]] = []
        self.taking: list[Held] = []
        self.punished: list[str] = []
        self.log = io.StringIO()
        self.up = {A, B, C, D}
        self.catchup = Catchup(
            height=lambda: self.height,
            validators=lambda: VALIDATORS,
            ask=self.ask,
            take=self.taking.append,
            punish=lambda key, _: self.punished.append(NAMES[key]),
            label=NAMES.__getitem__,
            log=Log(Level.DEBUG, self.log),
        )

    def ask(self, key: bytes, wanted: PullBlocks) -> bool:
        if key not in self.up:
            return False
        self.asked.append((NAMES[key], wanted.first, wanted.last))
        return True

    def claim(self, **last: int) -> None:
        keys = {name: key for key, name in NAMES.items()}
        for name, height in last.items():
            self.catchup.heard(keys[name], height, is_status=True)
        self.catchup.check()

    def answer(self, key: bytes, first: int, count: int, kept_from: int = 1) -> None:
        self.catchup.came(key, first, (b"block",) * count, kept_from)

    def execute(self, fault: str | None = None, *, good: int | None = None) -> Held:
        """Execute what was handed out, up to a fault."""
        held = self.taking.pop(0)
        count = len(held.records) if good is None else good
        self.height = max(self.height, held.first + count - 1)
        self.catchup.taken(fault)
        return held

    def news(self) -> list[tuple[str, int, int]]:
        asked, self.asked = self.asked, []
        return asked

    def warnings(self) -> list[tuple[str, str]]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [(each["peer"], each["reason"]) for each in lines if each["level"] == "warning"]

    def said(self, event: str) -> list[dict[str, object]]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [each for each in lines if each["event"] == event]

    @property
    def in_memory(self) -> int:
        catchup = self.catchup
        return len(catchup._held) + len(catchup._asked)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    clock = [1000.0]
    monkeypatch.setattr("node.clock.monotonic", lambda: clock[0])
    return Desk(clock)


def spans(asked: Sequence[tuple[str, int, int]]) -> list[tuple[int, int]]:
    return [(first, last) for _, first, last in asked]


def test_ranges_are_asked_of_several_peers_at_once(desk: Desk) -> None:
    desk.claim(A=100, B=100, C=100, D=20)
    asked = desk.news()
    assert len({name for name, _, _ in asked}) == len(asked) >= 3  # each is asked for one range
    assert all(name != "D" or last <= 20 for name, _, last in asked)
    following = 1
    for first, last in spans(asked):
        assert first == following
        assert last - first < module.FIRST_RANGE
        following = last + 1
    desk.catchup.check()
    assert desk.news() == []


def test_blocks_are_executed_in_order_whoever_answers_first(desk: Desk) -> None:
    desk.claim(A=96, B=96, C=96)
    (one, *_), (two, *_), (three, *_) = desk.news()
    key = {name: key for key, name in NAMES.items()}
    desk.answer(key[three], 65, 32)
    desk.answer(key[two], 33, 32)
    assert desk.taking == []
    desk.answer(key[one], 1, 32)
    assert [desk.execute().first for _ in range(3)] == [1, 33, 65]
    assert desk.height == 96
    assert desk.catchup.progress() is None


def test_what_fits_into_no_answer_is_asked_for_again(desk: Desk) -> None:
    desk.claim(A=40)
    assert desk.news() == [("A", 1, 32)]
    desk.answer(A, 1, 10)
    assert desk.news() == [("A", 11, 40)]  # more at once: it answered quickly


def test_what_is_held_is_bounded_however_far_behind(desk: Desk) -> None:
    desk.claim(A=10_000, B=10_000, C=10_000, D=10_000)
    key = {name: key for key, name in NAMES.items()}
    head = desk.asked.pop(0)
    for _ in range(100):  # all but the first range come
        for name, first, last in desk.news():
            desk.answer(key[name], first, last - first + 1)
        assert desk.in_memory <= module.WINDOW
        desk.clock[0] += 0.001
        desk.catchup.check()
    assert desk.taking == []
    desk.answer(key[head[0]], head[1], head[2])
    while desk.taking:
        desk.execute()
    assert desk.height > 100
    assert desk.news() != []


def test_ranges_grow_with_quick_answers_and_shrink_with_late_ones(desk: Desk) -> None:
    desk.claim(A=100_000)
    sizes = []
    for _ in range(6):
        ((_, first, last),) = desk.news()[-1:]
        sizes.append(last - first + 1)
        desk.answer(A, first, last - first + 1)
        desk.execute()
    assert sizes == [32, 64, 128, 256, MAX_BLOCKS, MAX_BLOCKS]
    desk.claim(B=100_000, C=100_000)
    desk.news()
    desk.clock[0] += module.PATIENCE_S
    desk.catchup.check()
    assert desk.catchup._of(A).size == MAX_BLOCKS // 2


def test_who_does_not_answer_is_named_and_another_is_asked(desk: Desk) -> None:
    desk.claim(A=10, B=10, C=10)
    ((silent, first, last),) = desk.news()
    desk.clock[0] += module.PATIENCE_S
    desk.catchup.check()
    ((other, *rest),) = desk.news()
    assert other != silent
    assert rest == [first, last]
    assert desk.warnings() == [(silent, "no block 1 within 5.0 s")]
    assert desk.catchup.progress() is not None
    key = {name: key for key, name in NAMES.items()}
    desk.answer(key[silent], 1, 10)  # late, and taken all the same
    assert desk.execute().key == key[silent]
    desk.answer(key[other], 1, 10)  # which changes nothing
    assert desk.taking == []


def test_an_answer_is_late_sooner_where_others_are_quick(desk: Desk) -> None:
    desk.claim(A=1000, B=1000)
    (one, first, last), (other, *_) = desk.news()
    key = {name: key for key, name in NAMES.items()}
    desk.clock[0] += 0.01
    desk.answer(key[one], first, last)
    desk.clock[0] += module.PATIENCE_S
    desk.catchup.check()
    desk.news()
    assert desk.warnings()[0][0] == other
    desk.execute()
    desk.clock[0] += 1
    assert desk.catchup._patience_s(1) == module.HASTE_S


def test_a_liar_is_named_punished_and_avoided_longer_each_time(desk: Desk) -> None:
    for times in (1, 2, 3):
        desk.claim(A=500)
        ((name, first, _),) = desk.news()
        assert (name, first) == ("A", desk.height + 1)
        desk.answer(A, first, 5)
        assert desk.news() != []  # it is not known to lie yet
        desk.execute("a forged certificate", good=2)
        assert desk.punished == ["A"] * times
        assert desk.warnings() == [("A", "a forged certificate")] * times
        avoided_s = module.AVOIDED_S * 2 ** (times - 1)
        desk.catchup.unlinked(A)
        desk.claim(A=500)  # it reconnects, and has not paid
        desk.clock[0] += avoided_s - 1
        desk.catchup.check()
        assert desk.news() == []
        desk.claim(B=500)  # another is asked where the liar left off
        ((name, first, _),) = desk.news()
        assert (name, first) == ("B", desk.height + 1)
        desk.catchup.unlinked(B)
        desk.clock[0] += 2


def test_what_a_liar_sent_before_is_forgotten(desk: Desk) -> None:
    desk.claim(A=96)
    desk.answer(A, 1, 32)
    ((_, first, last),) = desk.news()[1:]
    desk.answer(A, first, last - first + 1)
    assert first in desk.catchup._held
    desk.execute("a lie", good=3)
    assert not desk.catchup._held
    desk.claim(B=96)
    assert desk.news()[-1] == ("B", 4, 35)


def test_heights_that_never_come_are_found_out(desk: Desk) -> None:
    desk.claim(A=10, B=10, C=10, D=10**9)
    asked = desk.news()
    key = {name: key for key, name in NAMES.items()}
    assert desk.catchup.target == 10
    for name, first, last in asked:
        desk.answer(key[name], first, max(0, min(10, last) - first + 1))
    while desk.taking:
        desk.execute()
    assert desk.height == 10
    desk.claim(D=10**9)
    for _, first, _ in desk.news():
        desk.answer(D, first, 0)
    assert ("D", "it claims 1000000000 blocks and has no block 11") in desk.warnings()
    desk.claim(D=10**9)
    assert desk.news() == []  # it is not asked again at once
    assert desk.catchup.progress() is None  # and nobody waits for it


def test_who_claims_and_says_nothing_is_asked_ever_more_rarely(desk: Desk) -> None:
    desk.claim(A=0, B=0, C=0, D=10**9)
    asked = 0
    for _ in range(1000):  # a second each
        desk.clock[0] += 1
        desk.catchup.check()
        asked += len(desk.news())
    assert 3 < asked < 20


def test_a_height_that_falls_is_named(desk: Desk) -> None:
    desk.claim(A=50, B=50)
    desk.news()
    desk.claim(B=20)
    assert desk.warnings() == [("B", "its height fell from 50 to 20")]
    for height in (50, 20, 50, 20):
        desk.claim(B=height)
    assert len(desk.warnings()) == 1  # while it is avoided for that, once
    desk.catchup.unlinked(B)
    desk.claim(B=10)  # another start of it may have less
    assert len(desk.warnings()) == 1


def test_votes_only_ever_raise_what_a_peer_claims(desk: Desk) -> None:
    desk.claim(A=50)
    desk.catchup.heard(A, 20, is_status=False)
    assert desk.catchup.claims[A] == 50
    desk.catchup.heard(A, 60, is_status=False)
    assert desk.catchup.claims[A] == 60
    desk.claim(A=55)  # a vote for the next height came before this status was made
    assert desk.warnings() == []


def test_where_all_are_slow_the_slow_are_asked(desk: Desk) -> None:
    desk.claim(A=10, B=10)
    for _ in range(2):
        desk.news()
        desk.clock[0] += module.PATIENCE_S
        desk.catchup.check()
    assert {name for name, _ in desk.warnings()} == {"A", "B"}
    assert desk.news() != []  # both are avoided, and one is asked: two claim what it is asked for


def test_who_is_far_slower_than_others_is_named(desk: Desk) -> None:
    desk.claim(A=1000, B=1000)
    (one, first, last), (other, *rest) = desk.news()
    key = {name: key for key, name in NAMES.items()}
    desk.clock[0] += 0.05
    desk.answer(key[one], first, last - first + 1)
    desk.clock[0] += 4
    desk.answer(key[other], rest[0], rest[1] - rest[0] + 1)
    assert (other, "slow: 7.9 blocks a second, not 640.0") in desk.warnings()


def test_a_block_that_was_not_asked_for_is_taken_only_if_it_is_the_next(desk: Desk) -> None:
    desk.height = 5
    desk.answer(A, 7, 1)
    desk.answer(A, 6, 2)
    desk.answer(A, 6, 0)
    assert desk.taking == []
    desk.answer(A, 6, 1)
    assert desk.execute().first == 6
    assert desk.height == 6


def test_a_link_that_dies_frees_what_it_was_asked_for(desk: Desk) -> None:
    desk.claim(A=10, B=10)
    ((asked, *span),) = desk.news()
    key = {name: key for key, name in NAMES.items()}
    desk.up.discard(key[asked])
    desk.catchup.unlinked(key[asked])
    ((other, *same),) = desk.news()
    assert (other != asked, same) == (True, span)


def test_more_than_was_asked_for_is_not_taken(desk: Desk) -> None:
    desk.claim(A=10)
    assert desk.news() == [("A", 1, 10)]
    desk.answer(A, 1, 11)
    assert desk.execute().last == 10  # to drop all of it would be to ask the quickest for ever
    assert desk.news() == []


def test_a_late_answer_may_be_longer_than_what_was_asked_for_since(desk: Desk) -> None:
    desk.claim(A=10_000)
    assert desk.news() == [("A", 1, 32)]
    desk.clock[0] += module.PATIENCE_S
    desk.catchup.check()
    desk.clock[0] += module.AVOIDED_S
    desk.catchup.check()
    assert ("A", 1, 16) in desk.news()
    desk.answer(A, 1, 32)
    assert desk.execute().last == 32


def test_the_next_block_is_taken_from_who_is_asked_for_others(desk: Desk) -> None:
    desk.claim(A=10)
    desk.height = 20  # by votes
    desk.claim(A=10)
    assert desk.catchup.came(A, 21, (b"block",))
    assert desk.execute().first == 21
    assert desk.warnings() == []


def test_what_nobody_asked_for_is_told_from_what_serves(desk: Desk) -> None:
    desk.claim(A=10)
    assert not desk.catchup.came(A, 50, (b"block",))
    assert not desk.catchup.came(B, 1, (b"block",) * 2)
    assert desk.catchup.came(B, 1, (b"block",))
    assert desk.catchup.came(A, 1, (b"block",) * 10)


def test_progress_is_told_now_and_then(desk: Desk) -> None:
    desk.claim(A=10_000, B=10_000, C=10_000)
    key = {name: key for key, name in NAMES.items()}
    assert len(desk.said("catching up")) == 1
    for _ in range(40):
        for name, first, last in desk.news():
            desk.answer(key[name], first, last - first + 1)
        if desk.taking:
            desk.execute()
        desk.clock[0] += 1
        desk.catchup.check()
    assert 4 <= len(desk.said("catching up")) <= 6
    progress = desk.catchup.progress()
    assert progress is not None
    assert progress.target == 10_000
    assert progress.height == desk.height
    assert progress.blocks_per_s > 10
    assert progress.left_s is not None
    assert abs(progress.left_s - (10_000 - desk.height) / progress.blocks_per_s) < 2
    while desk.height < 10_000:
        for name, first, last in desk.news():
            desk.answer(key[name], first, last - first + 1)
        desk.execute()
    (end,) = desk.said("caught up")
    assert end["blocks"] == 10_000
    assert desk.catchup.progress() is None


def test_a_peer_that_pruned_is_not_blamed_and_is_asked_for_what_it_keeps(desk: Desk) -> None:
    desk.claim(A=1000, B=1000)
    asked = {name: first for name, first, _ in desk.news()}
    late, early = sorted(asked, key=asked.__getitem__, reverse=True)  # of two ranges
    keys = {name: key for key, name in NAMES.items()}
    desk.answer(keys[early], 1, 0, kept_from=50)
    assert not desk.warnings()
    assert not desk.news()  # the other one has something to do
    desk.answer(keys[late], asked[late], 32)
    assert [(name, first) for name, first, _ in desk.news()] == [(late, 1), (early, 65)]
    progress = desk.catchup.progress()
    assert progress is not None
    assert progress.avoided == {early: "it keeps blocks from 50 on"}
    desk.answer(keys[late], 1, 32)
    desk.answer(keys[early], 65, 32, kept_from=50)
    while desk.taking:
        desk.execute()
    assert desk.height == 96
    assert not desk.warnings()
    assert desk.punished == []


def test_where_nobody_keeps_the_next_block_it_is_said_what_to_do(desk: Desk) -> None:
    desk.claim(A=100, B=100, C=100, D=2)
    keys = {name: key for key, name in NAMES.items()}
    for name, first, _ in desk.news():
        if name != "D":
            desk.answer(keys[name], first, 0, kept_from=60 + first)
    for name, first, _ in desk.news():
        desk.answer(keys[name], first, 0, kept_from=40)
    desk.catchup.unlinked(keys["D"])  # it had no more than the first two
    (told,) = desk.said("no peer keeps the next block")
    assert (told["height"], told["level"]) == (1, "error")
    assert 'sync.mode = "snapshot"' in str(told["hint"])
    desk.catchup.check()
    assert len(desk.said("no peer keeps the next block")) == 1  # and not at each look
    desk.clock[0] += module.REPORT_S
    desk.catchup.check()
    assert len(desk.said("no peer keeps the next block")) == 2
    assert desk.news() == []
    # Who comes back may have more than before.
    desk.catchup.unlinked(keys["A"])
    desk.claim(A=100)
    assert [(name, first) for name, first, _ in desk.news()] == [("A", 1)]
    assert desk.punished == []
