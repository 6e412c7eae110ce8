"""State in memory: it scans like a sorted map, whatever came and went."""

from hypothesis import given
from hypothesis import strategies as st

from node.audit.state import Memory

keys = st.binary(min_size=1, max_size=3)
changes = st.dictionaries(keys, st.none() | st.binary(max_size=2), max_size=8)


@given(st.lists(st.tuples(changes, keys, st.integers(0, 5)), max_size=12))
def test_it_scans_like_a_sorted_map(
    steps: list[tuple[dict[bytes, bytes | None], bytes, int]],
) -> None:
    memory, model = Memory(), dict[bytes, bytes]()
    for change, prefix, limit in steps:
        memory.apply(change)
        for key, value in change.items():
            model.pop(key, None)
            if value is not None:
                model[key] = value
        expected = sorted(pair for pair in model.items() if pair[0].startswith(prefix))[:limit]
        assert memory.scan(prefix, limit) == expected
        for key in change:
            assert memory.get(key) == model.get(key)
