"""Calls about what was told beside the chain: that it came, and that it is to be erased."""

from enum import IntEnum
from typing import ClassVar

from ledger.encoding import Struct
from ledger.validators import Bytes16, Bytes32


class ErasureOutcome(IntEnum):
    """What became of what somebody was asked to erase; the numbers never change."""

    ERASED = 1
    HELD_BY_LAW = 2  # it must be kept for some time yet, and is erased then
    NOTHING_HELD = 3


class DisclosureAcknowledge(Struct, tag=180):
    """The sender has what the counterpart disclosed: a commitment to its signed acknowledgement."""

    KIND: ClassVar[int] = 180
    cost: ClassVar[int] = 2
    counterpart: Bytes16
    commitment: Bytes32


class ErasureRequest(Struct, tag=181):
    """The sender asks who was told something to erase it: H(ERASURE, salt, id of what was told)."""

    KIND: ClassVar[int] = 181
    cost: ClassVar[int] = 3
    recipient: Bytes16
    commitment: Bytes32


class ErasureStatement(Struct, tag=182):
    """The sender says what became of what it was asked to erase."""

    KIND: ClassVar[int] = 182
    cost: ClassVar[int] = 3
    request: Bytes32  # id
    outcome: ErasureOutcome
