"""Calls about settlements: a batch of claims, opened, filled, announced, and confirmed."""

from enum import IntEnum
from typing import Annotated, ClassVar, Final

import msgspec

from contracts.calls.costs import POINT_COST
from ledger.encoding import Struct
from ledger.validators import Bytes16, Bytes32

MAX_SETTLED: Final = 10_000  # claims of one settlement
MAX_LISTED: Final = 256  # claims of one call: they fit in it
# The claim out of the state and in again, its place in the settlement, and judging it.
_CLAIM_COST: Final = 4 + POINT_COST

Listed = Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_LISTED)]


class Direction(IntEnum):
    """Which way a settlement pays: for accepted claims, or back, for reversed ones."""

    PAYMENT = 0
    REPAYMENT = 1  # a counter-batch: the shop pays whom it claimed from


class Ground(IntEnum):
    """Why a beneficiary disputes a settlement; a closed list."""

    SUM_WRONG = 1  # the claims' amounts do not come to the total that was stated
    PAYMENT_NOT_FOUND = 2
    PAYMENT_DIFFERS = 3  # another amount was paid than stated
    CLAIM_MISSING = 4
    CLAIM_UNEXPECTED = 5
    STATEMENT_MISSING = 6  # or it opens nothing
    OTHER = 7


class SettlementOpen(Struct, tag=170):
    """The sender begins to gather claims of which it pays the beneficiary."""

    KIND: ClassVar[int] = 170
    cost: ClassVar[int] = 2
    beneficiary: Bytes16
    direction: Direction


class SettlementAdd(Struct, tag=171):
    """The payer puts claims into an open settlement."""

    KIND: ClassVar[int] = 171
    settlement: Bytes32
    claims: Listed

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 + _CLAIM_COST * len(self.claims)


class SettlementRemove(Struct, tag=172):
    """The payer takes claims out of an open settlement."""

    KIND: ClassVar[int] = 172
    settlement: Bytes32
    claims: Listed

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2 + _CLAIM_COST * len(self.claims)


class SettlementAnnounce(Struct, tag=173):
    """The payer seals a settlement for the sum that it states, as what it pays or has paid."""

    KIND: ClassVar[int] = 173
    cost: ClassVar[int] = 2
    settlement: Bytes32
    sum: Bytes32  # of the commitments, as the payer knows how to open it
    payment: Bytes32 | None  # commitment to a reference of the payment


class SettlementConfirm(Struct, tag=41):
    """The beneficiary found the sum right."""

    KIND: ClassVar[int] = 41
    cost: ClassVar[int] = 2
    settlement: Bytes32


class SettlementDispute(Struct, tag=174):
    """The beneficiary does not find what was announced."""

    KIND: ClassVar[int] = 174
    cost: ClassVar[int] = 2
    settlement: Bytes32
    ground: Ground


class SettlementInsist(Struct, tag=175):
    """The payer answers a dispute: the settlement stands."""

    KIND: ClassVar[int] = 175
    cost: ClassVar[int] = 2
    settlement: Bytes32


class SettlementWithdraw(Struct, tag=176):
    """The beneficiary takes its dispute back, and has to confirm or dispute anew."""

    KIND: ClassVar[int] = 176
    cost: ClassVar[int] = 2
    settlement: Bytes32


class SettlementCancel(Struct, tag=177):
    """A settlement is given up; its claims stand as before they were in it."""

    KIND: ClassVar[int] = 177
    cost: ClassVar[int] = 2
    settlement: Bytes32
