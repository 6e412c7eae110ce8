"""What simulated nodes send each other besides what agreement says."""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.messages import Message
from ledger.block import Outline


@dataclass(frozen=True)
class Gossip:
    """Work that the sender knows of."""

    leaves: tuple[bytes, ...]


@dataclass(frozen=True)
class PullWork:
    """Send me your work."""


@dataclass(frozen=True)
class WantBlock:
    """Send me this block."""

    block_id: bytes


@dataclass(frozen=True)
class Block:
    """A block whole: here an outline stands for its body too."""

    outline: Outline


Packet: TypeAlias = Message | Gossip | PullWork | WantBlock | Block
