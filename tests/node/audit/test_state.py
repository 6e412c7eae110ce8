"""State in memory or in a scratch folder: it scans like a sorted map, whatever came and went."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.audit.state import Memory, Scratch

keys = st.binary(min_size=1, max_size=3)
changes = st.dictionaries(keys, st.none() | st.binary(max_size=2), max_size=8)


@given(st.lists(st.tuples(changes, keys, st.integers(0, 5)), max_size=12))
def test_it_scans_like_a_sorted_map(
    steps: list[tuple[dict[bytes, bytes | None], bytes, int]],
) -> None:
    judge(Memory(), steps)


@settings(max_examples=20, deadline=None)  # each makes a store
@given(st.lists(st.tuples(changes, keys, st.integers(0, 5)), max_size=12))
def test_so_does_what_was_put_away(
    steps: list[tuple[dict[bytes, bytes | None], bytes, int]],
) -> None:
    scratch = Scratch(at_hand=2)
    try:
        judge(scratch, steps)
    finally:
        scratch.close()


def judge(
    state: Memory | Scratch, steps: list[tuple[dict[bytes, bytes | None], bytes, int]]
) -> None:
    """Let a state and a sorted map go through the same."""
    model = dict[bytes, bytes]()
    for change, prefix, limit in steps:
        state.apply(change)
        for key, value in change.items():
            model.pop(key, None)
            if value is not None:
                model[key] = value
        expected = sorted(pair for pair in model.items() if pair[0].startswith(prefix))[:limit]
        assert state.scan(prefix, limit) == expected
        for key in change:
            assert state.get(key) == model.get(key)


def test_what_is_put_away_takes_a_folder_that_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = Scratch(at_hand=2)
    scratch.apply({b"a": b"1", b"b": b"2"})
    assert not [*tmp_path.iterdir()]  # few keys stay in memory
    scratch.apply({b"c": b"3", b"a": None})
    assert [*tmp_path.iterdir()]
    assert [scratch.get(key) for key in (b"a", b"b", b"c")] == [None, b"2", b"3"]
    scratch.close()
    assert not [*tmp_path.iterdir()]


def test_what_is_only_read_is_not_remembered_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch = Scratch(at_hand=4)
    scratch.apply({b"a": b"1", b"b": b"2"})
    found = [scratch.get(bytes((number,))) for number in range(97, 107)]  # of which none is written
    assert [*tmp_path.iterdir()]  # what was read counted: it was put away with what was written
    assert found == [b"1", b"2", *[None] * 8]
    assert (scratch.get(b"a"), scratch.get(b"z")) == (b"1", None)
    scratch.close()
