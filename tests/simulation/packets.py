"""What simulated nodes send each other besides what agreement says."""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.messages import Decided, Message, Signed
from ledger.block import Outline


@dataclass(frozen=True, slots=True)
class Gossip:
    """Work that the sender knows of."""

    leaves: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PullWork:
    """Send me your work."""


@dataclass(frozen=True, slots=True)
class WantBlock:
    """Send me this block."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A block whole: here an outline stands for its body too."""

    outline: Outline


@dataclass(frozen=True, slots=True)
class WantHead:
    """What is the last block that you decided? My journal is gone."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last decided block of the sender, with its proof; None at the beginning."""

    decided: Decided | None


@dataclass(frozen=True, slots=True)
class Burst:
    """Many messages at once: one event of the simulation instead of many."""

    messages: tuple[Signed, ...]


Packet: TypeAlias = Message | Gossip | PullWork | WantBlock | Block | WantHead | Head | Burst
QUIET = frozenset({"Status", "Gossip", "PullWork", "WantHead", "Head"})  # heartbeats
