"""Calls about prescriptions."""

from typing import ClassVar

from ledger.encoding import Struct
from ledger.validators import Bytes32


class PrescriptionCommit(Struct, tag=10):
    """The sender holds a prescription: the hash of its signed document."""

    KIND: ClassVar[int] = 10
    commitment: Bytes32

    @property
    def cost(self) -> int:
        """What it costs a block."""
        return 2
