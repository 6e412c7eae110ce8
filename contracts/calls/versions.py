"""The call by which a member says which rules its validator's node knows."""

from typing import ClassVar

from ledger.block import Version
from ledger.encoding import Struct


class ReadySignal(Struct, tag=240):
    """The sender's validator runs software that knows the rules up to this version."""

    KIND: ClassVar[int] = 240
    cost: ClassVar[int] = 2
    version: Version
