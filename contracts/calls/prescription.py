"""Calls about prescriptions."""

from typing import ClassVar

from ledger.encoding import Struct
from ledger.validators import Bytes32


class PrescriptionCommit(Struct, tag=10):
    """The sender holds a prescription: the hash of its signed document."""

    KIND: ClassVar[int] = 10
    cost: ClassVar[int] = 2
    commitment: Bytes32


class PrescriptionSupersede(Struct, tag=11):
    """The sender puts a rectified document in the place of one that it committed."""

    KIND: ClassVar[int] = 11
    cost: ClassVar[int] = 4
    commitment: Bytes32
    successor: Bytes32


class PrescriptionRevoke(Struct, tag=12):
    """The sender withdraws a prescription that it committed: nothing new may rest on it."""

    KIND: ClassVar[int] = 12
    cost: ClassVar[int] = 2
    commitment: Bytes32
