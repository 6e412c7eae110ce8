"""What clients did to a network, and whether its chains say the same: the checker of a campaign.

Pure: it is given what was seen, and finds what cannot be. That it finds it is tested
(tests/network/test_history.py), since a checker that finds nothing proves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.entry import APPLIED


@dataclass(frozen=True)
class Operation:
    """One transaction that a client sent, until it was told what became of it or gave up."""

    id: bytes
    started: float
    ended: float
    height: int | None  # as told; None where nobody said, so that it may stand or not
    codes: tuple[int, ...] = ()  # of its calls, as told
    contest: bytes | None = None  # of all operations with this name at most one is applied


@dataclass(frozen=True)
class Block:
    """One block of a node's chain."""

    hash: bytes
    outcomes: Mapping[bytes, tuple[int, ...]]  # by transaction, the codes of its calls


@dataclass(frozen=True)
class Findings:
    """What was wrong, each a list of sentences; all are empty where everything held."""

    lost: tuple[str, ...]  # acknowledged, and not in a chain
    doubled: tuple[str, ...]  # in one chain twice
    contradicted: tuple[str, ...]  # told otherwise than it stands
    disputed: tuple[str, ...]  # of a contest, more or fewer than one were applied
    reordered: tuple[str, ...]  # stands before what was acknowledged before it was sent
    forked: tuple[str, ...]  # two nodes, two blocks

    @property
    def hold(self) -> bool:
        """Whether nothing is wrong."""
        return not any(
            (
                self.lost,
                self.doubled,
                self.contradicted,
                self.disputed,
                self.reordered,
                self.forked,
            )
        )


def judge(operations: Sequence[Operation], chains: Mapping[str, Sequence[Block]]) -> Findings:
    """Return what the chains, each from height 1 on, do not share with what clients were told."""
    lost, doubled, contradicted, disputed = [], [], [], []
    for label, chain in chains.items():
        places: dict[bytes, int] = {}
        for height, block in enumerate(chain, 1):
            for id_ in block.outcomes:
                if id_ in places:
                    doubled.append(f"{id_.hex()} at {label}: {places[id_]} and {height}")
                places[id_] = height
        applied: dict[bytes, int] = {}
        for each in operations:
            found = places.get(each.id)
            if each.height is not None and found is None:
                lost.append(f"{each.id.hex()} at {label}, told {each.height}")
            if found is None:
                continue
            codes = chain[found - 1].outcomes[each.id]
            if each.height is not None and (each.height, each.codes) != (found, codes):
                contradicted.append(
                    f"{each.id.hex()} at {label}: {found} {codes}, told {each.height} {each.codes}"
                )
            if each.contest is not None:
                won = all(code == APPLIED for code in codes)
                applied[each.contest] = applied.get(each.contest, 0) + won
        disputed += [
            f"{name.hex()} at {label}: {count}" for name, count in applied.items() if count != 1
        ]
    return Findings(
        tuple(lost),
        tuple(doubled),
        tuple(contradicted),
        tuple(disputed),
        tuple(_reordered(operations)),
        tuple(_forked(chains)),
    )


def _reordered(operations: Sequence[Operation]) -> list[str]:
    """Return which stand no higher than what was acknowledged before they were sent."""
    told = [(each, each.height) for each in operations if each.height is not None]
    ended = sorted(told, key=lambda pair: pair[0].ended)
    found, highest, position = [], 0, 0
    for each, height in sorted(told, key=lambda pair: pair[0].started):
        while position < len(ended) and ended[position][0].ended < each.started:
            highest = max(highest, ended[position][1])
            position += 1
        if height <= highest:
            found.append(f"{each.id.hex()} at {height}, sent when {highest} was known")
    return found


def _forked(chains: Mapping[str, Sequence[Block]]) -> list[str]:
    found = []
    for height, blocks in enumerate(zip(*chains.values(), strict=False), 1):
        if len({block.hash for block in blocks}) > 1:
            found.append(f"height {height}")
    if len({len(chain) for chain in chains.values()}) > 1:
        found.append(f"lengths { ({label: len(chain) for label, chain in chains.items()}) }")
    return found
