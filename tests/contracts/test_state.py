"""The overlay: what a block sees of the state, and what it changes of it."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from contracts.state import Nothing, Overlay
from tests.contracts.world import Memory

keys = st.binary(min_size=1, max_size=3)
values = st.binary(max_size=3)


def test_a_change_hides_what_is_beneath() -> None:
    base = Memory()
    base.pairs = {b"a": b"1", b"b": b"2"}
    overlay = Overlay(base)
    overlay.put(b"a", b"9")
    overlay.delete(b"b")
    assert (overlay.get(b"a"), overlay.get(b"b")) == (b"9", None)
    assert base.pairs == {b"a": b"1", b"b": b"2"}


def test_what_comes_back_to_what_it_was_is_no_difference() -> None:
    base = Memory()
    base.pairs = {b"a": b"1"}
    overlay = Overlay(base)
    overlay.put(b"a", b"2")
    overlay.put(b"a", b"1")
    overlay.put(b"b", b"3")
    overlay.delete(b"b")
    assert overlay.difference() == ([], [])


def test_nothing_is_in_nothing() -> None:
    assert Nothing().get(b"a") is None
    assert Nothing().scan(b"a", 10) == []


def test_a_scan_looks_at_the_changes_under_its_prefix_alone() -> None:
    class Unwalked(dict[bytes, bytes | None]):
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("all changes are walked")

        items = keys = values = __iter__  # type: ignore[assignment]

    overlay = Overlay(Memory())
    overlay.put(b"a1", b"1")
    assert overlay.scan(b"a", 9) == [(b"a1", b"1")]
    overlay.changes = Unwalked(overlay.changes)
    overlay.put(b"a0", b"0")
    overlay.put(b"b", b"2")
    overlay.delete(b"a1")
    assert overlay.scan(b"a", 9) == [(b"a0", b"0")]


@given(
    st.dictionaries(keys, values),
    st.lists(st.tuples(keys, st.none() | values)),
    st.lists(st.binary(min_size=1, max_size=2), min_size=1, max_size=3),
    st.integers(0, 6),
)
def test_an_overlay_is_the_state_with_its_changes(
    pairs: dict[bytes, bytes],
    changes: list[tuple[bytes, bytes | None]],
    prefixes: list[bytes],
    limit: int,
) -> None:
    base = Memory()
    base.pairs = dict(pairs)
    overlay, model = Overlay(base), dict(pairs)
    for key, value in changes:
        if value is None:
            overlay.delete(key)
            model.pop(key, None)
        else:
            overlay.put(key, value)
            model[key] = value
        for prefix in prefixes:
            found = sorted((key, value) for key, value in model.items() if key.startswith(prefix))
            assert overlay.scan(prefix, limit) == found[:limit]
    assert all(overlay.get(key) == model.get(key) for key in {*pairs, *model})
    removed, added = overlay.difference()
    assert sorted({*pairs.items()} - {*removed} | {*added}) == sorted(model.items())
    assert {*removed} <= {*pairs.items()}
    assert not {*added} & {*pairs.items()}
