"""The call by which a member says which rules its validator's node knows."""

from typing import ClassVar

from ledger.block import Version
from ledger.encoding import Struct


class ReadySignal(Struct, tag=240):
    """The sender's validator runs software that knows the rules up to this version."""

    KIND: ClassVar[int] = 240
    version: Version

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2
