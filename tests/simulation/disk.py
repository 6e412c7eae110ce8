"""The disk of a simulated node: what node/journal keeps and what a power failure leaves of it."""

from dataclasses import dataclass, field
from random import Random

from consensus import promises
from consensus.promises import Promise
from ledger.block import Header, Outline
from ledger.certificate import CommitCertificate
from ledger.hashing import Hash


class Damaged(Exception):
    """A bad record stands before a good one: whoever wrote that, it was no power failure."""


@dataclass(frozen=True, slots=True)
class Link:
    """One decided height."""

    header: Header
    certificate: CommitCertificate
    outline: Outline


@dataclass
class Disk:
    """The decided blocks, the journal of promises, and the bodies that these need."""

    chain: list[Link] = field(default_factory=list)
    records: list[Promise | None] = field(default_factory=list)  # None: its checksum is wrong
    bodies: dict[Hash, Outline] = field(default_factory=dict)

    def copy(self) -> "Disk":
        """Return a backup."""
        return Disk(list(self.chain), list(self.records), dict(self.bodies))

    def tear(self) -> None:
        """Leave half a record at the end: the power failed while it was written."""
        self.records.append(None)

    def rot(self, rng: Random) -> bool:
        """Flip a bit of a record that stands before a good one; return whether there is one.

        One in the last good record looks like a torn tail, and no journal tells the two apart.
        """
        good = [index for index, record in enumerate(self.records) if record is not None]
        if len(good) < 2:
            return False
        self.records[rng.choice(good[:-1])] = None
        return True

    def lose_journal(self) -> None:
        self.records.clear()
        self.bodies.clear()

    def open(self) -> int:
        """Cut off a torn tail, as a start does; return how much. Raises `Damaged`."""
        whole = len(self.records)
        while self.records and self.records[-1] is None:
            self.records.pop()
        if None in self.records:
            raise Damaged
        return whole - len(self.records)

    def restore(self, height: int, *, decode: bool) -> list[Promise]:
        """Return the promises that bind `height`, and let go of those below it."""
        self.records = [p for p in self.records if p and promises.height_of(p) >= height]
        self.bodies = {k: v for k, v in self.bodies.items() if v.header.height >= height}
        kept = [promise for promise in self.records if promise is not None]
        return [promises.decode(promises.encode(p)) for p in kept] if decode else kept
