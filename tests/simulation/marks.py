"""The situations that must be met: what was never walked through was never tested."""

from typing import Final

SEEDS_PER_MARK: Final = 1000  # each is met at least once in any so many seeds
MARKS: Final = frozenset(
    {
        *(f"decided in round {round_}" for round_ in (0, 1, 2, 3)),  # 3 stands for all above
        "decided a re-proposal",
        "decided by another round's commits",
        "decided by certificate",
        "decided by an observer",
        "an absent leader is passed over",
        "amplify",
        "jump by proposal",
        "round change with a lock",
        "body missing to propose again",
        "body missing when decided",
        "double timeout",
        "out of time",
        "crash",
        "crash between promise and send",
        "torn tail cut",
        "damage refused",
        "journal lost",
        "backup restored",
        "fence learnt",
        "change of validators under round change",
        *(f"validators {how}" for how in ("join", "leave", "replace", "rotate", "turn")),
        "flood",
        "silence",
        "fork",
        *("DoubleVote", "Amnesia", "CrossVote", "BadProposal"),
    }
)
