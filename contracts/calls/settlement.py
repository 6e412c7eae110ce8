"""Calls about settlements."""

from typing import Annotated, ClassVar, Final

import msgspec

from contracts.calls.costs import POINT_COST
from ledger.encoding import Struct
from ledger.validators import Bytes16, Bytes32

MAX_SETTLED: Final = 256  # claims of one settlement: they fit in one call


class SettlementCreate(Struct, tag=40):
    """The payer settles accepted claims of one beneficiary together."""

    KIND: ClassVar[int] = 40
    beneficiary: Bytes16
    claims: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_SETTLED)]
    payment: Bytes32 | None  # commitment to a reference of the payment

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 1 + (2 + POINT_COST) * len(self.claims)


class SettlementConfirm(Struct, tag=41):
    """The beneficiary found the sum right."""

    KIND: ClassVar[int] = 41
    settlement: Bytes32

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2
