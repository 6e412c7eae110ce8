"""The checker of a campaign finds each thing that a ledger may not do."""

from dataclasses import replace

import pytest

from scripts.history import Block, Operation, judge

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
CHAIN = (Block(b"1", {A: (0,)}), Block(b"2", {B: (10,)}), Block(b"3", {C: (0,)}))
CHAINS = {"one": CHAIN, "other": CHAIN}
GOOD = (
    Operation(A, 0.0, 1.0, 1, (0,), contest=b"x"),
    Operation(B, 0.5, 2.0, 2, (10,), contest=b"x"),
    Operation(C, 2.5, 3.0, None),  # nobody said; it stands
    Operation(b"d" * 32, 2.5, 3.0, None),  # nobody said; it does not
)


def test_what_is_as_it_was_told_holds() -> None:
    assert judge(GOOD, CHAINS).hold


@pytest.mark.parametrize(
    ("field", "operations", "chains"),
    [
        ("lost", (*GOOD, Operation(b"e" * 32, 4.0, 5.0, 4, (0,))), CHAINS),
        ("doubled", GOOD, {"one": (*CHAIN, Block(b"4", {A: (10,)}))}),
        ("contradicted", (replace(GOOD[0], height=2, ended=9.0), *GOOD[1:]), CHAINS),
        ("contradicted", (replace(GOOD[0], codes=(10,)), *GOOD[1:]), CHAINS),
        ("disputed", (*GOOD, Operation(C, 2.5, 3.0, None, contest=b"x")), CHAINS),
        ("disputed", (GOOD[1],), CHAINS),
        ("reordered", (*GOOD[:1], replace(GOOD[1], started=1.5, height=1)), CHAINS),
        ("forked", GOOD, CHAINS | {"third": (*CHAIN[:2], Block(b"4", {C: (0,)}))}),
        ("forked", GOOD, CHAINS | {"third": CHAIN[:2]}),
    ],
)
def test_what_cannot_be_is_found(
    field: str, operations: tuple[Operation, ...], chains: dict[str, tuple[Block, ...]]
) -> None:
    found = judge(operations, chains)
    assert getattr(found, field)
    assert not found.hold
