"""Ids against replay: kept until they expire, then removed, a bounded number per block."""

from hypothesis import given
from hypothesis import strategies as st

from contracts import seen
from contracts.parameters import Parameters
from contracts.state import Overlay
from ledger.transaction import MAX_LIFETIME_S
from tests.contracts.world import TIME, Memory, World


def kept(world: World) -> int:
    return len(world.state.scan(b"s", 10_000))


def cleared_to(world: World) -> int:
    found = world.state.get(b"e")
    assert found is not None
    return int.from_bytes(found)


def test_an_id_is_kept_until_its_last_second_has_passed() -> None:
    world = World()
    world.block(world.transaction("shop", world.submission("a"), valid_for=100))
    assert kept(world) == 1
    world.block(after=99)
    assert world.chain.header.time == TIME + 100
    assert kept(world) == 1
    world.block(after=1)
    assert kept(world) == 0
    assert cleared_to(world) == TIME + 101


def test_blocks_of_one_second_write_nothing_for_it() -> None:
    world = World()
    assert world.block(after=1).changes[b"e"] == (TIME + 1).to_bytes(8)
    assert b"e" not in world.block(after=0).changes


def test_a_block_removes_no_more_than_its_limit_and_the_next_goes_on() -> None:
    world = World(Parameters(max_expired_removals=3))
    for _ in range(2):
        sent = [world.transaction("shop", world.submission("a"), valid_for=50) for _ in range(4)]
        world.block(*sent)
    left = []
    for after in (60, 0, 0, 0):
        world.block(after=after)
        left.append(kept(world))
    assert left == [5, 2, 0, 0]
    assert cleared_to(world) == world.chain.header.time


def test_a_long_silence_is_jumped_over() -> None:
    world = World()
    world.block(world.transaction("shop", world.submission("a"), valid_for=MAX_LIFETIME_S))
    world.block(after=3 * 24 * 3600)
    world.block(after=0)
    assert kept(world) == 0
    assert cleared_to(world) == world.chain.header.time


class Counting(Memory):
    """Counts how often the state is scanned."""

    def __init__(self) -> None:
        super().__init__()
        self.scans = 0

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        self.scans += 1
        return super().scan(prefix, limit)


def test_the_work_of_a_block_is_bounded_however_long_the_silence() -> None:
    state = Counting()
    state.pairs[b"e"] = (0).to_bytes(8)
    # One id in every hundredth second: there is always another one to jump to.
    state.pairs |= {b"s" + (n * 100).to_bytes(8) + bytes(32): b"" for n in range(500)}
    overlay = Overlay(state)
    seen.clear(overlay, 60_000, 4_096)
    assert state.scans < 200
    assert 0 < sum(value is None for value in overlay.changes.values()) < 100


@given(
    st.dictionaries(st.integers(TIME, TIME + 400), st.integers(1, 3), max_size=12),
    st.lists(st.integers(0, 90), max_size=8),
    st.integers(1, 4),
)
def test_nothing_is_removed_early_and_all_in_the_end(
    ids: dict[int, int], waits: list[int], limit: int
) -> None:
    state = Memory()
    start = Overlay(state)
    seen.start(start, TIME)
    state.apply(start.changes)
    for second, count in ids.items():
        for number in range(count):
            state.pairs[b"s" + second.to_bytes(8) + number.to_bytes(32)] = b""
    now = TIME
    for wait in [*waits, 1_000, *[0] * 40]:
        now += wait
        overlay = Overlay(state)
        seen.clear(overlay, now, limit)
        removed = [key for key, value in overlay.changes.items() if value is None]
        assert len(removed) <= limit
        assert all(int.from_bytes(key[1:9]) < now for key in removed)
        state.apply(overlay.changes)
    assert state.pairs == {b"e": now.to_bytes(8)}
