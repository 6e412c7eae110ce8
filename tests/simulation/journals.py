"""One journal under power cuts: what was promised is there afterwards, whole, and nothing else.

    play(seed, folder)

appends, loses power at any write or sync, keeps of the unsynced end nothing, a part or something
damaged, and opens again; now and then a bit turns in the middle, or the folder is a copy. A model
says what must be found.
"""

import shutil
from pathlib import Path
from random import Random
from typing import Final
from unittest.mock import patch

from consensus import promises
from consensus.messages import Prepare
from ledger.errors import StoreDamaged
from node.journal import UNKNOWN_FENCE, Journal, Kind, Record
from tests.simulation.oracle import Violation
from tests.simulation.virtual import HEAD_BYTES, Disk, Power, PowerLost

IDENTITY: Final = bytes(range(64))
STEPS: Final = 60
RESERVED_BYTES: Final = 1 << 16
ROTATE_BYTES: Final = 1500

Held = tuple[int, list[bytes]]  # height, what is promised there


def play(seed: int, folder: Path) -> None:
    """Run one history; raise `Violation` where the journal forgets, invents or opens damage."""
    rng = Random(f"journal {seed}")
    power = Power(rng, rng.choice([0.02, 0.1, 0.3]), lambda: None)
    disk = Disk(power, lambda _: None, RESERVED_BYTES)
    with (
        patch("node.journal.os", disk),
        patch("node.kept.os", disk),
        patch("node.journal.RESERVED_BYTES", RESERVED_BYTES),
        patch("node.journal.ROTATE_BYTES", ROTATE_BYTES),
        patch("node.journal.secrets.token_bytes", rng.randbytes),
    ):
        _History(rng, power, disk, folder).run()


class _History:
    def __init__(self, rng: Random, power: Power, disk: Disk, folder: Path) -> None:
        self.rng, self.power, self.disk = rng, power, disk
        self.folder, self.chance = folder / "journal", power.chance
        self.held: Held = (0, [])
        self.fence = 0
        self.height, self.round = 1, 0

    def run(self) -> None:
        self.power.is_on, self.power.chance = True, 0.0
        journal = Journal.create(self.folder, IDENTITY)
        for _ in range(STEPS):
            self.power.chance = self.chance
            batch = self._batch()
            try:
                journal.append(batch)
            except PowerLost:
                journal = self._again(journal, batch)
                continue
            self.held = self._after(batch)
            if self.rng.random() < 0.05:
                journal = self._again(journal, [])
        journal.close()

    def _batch(self) -> list[Record]:
        """Return promises of the open height, or of one above it."""
        height = self.height = self.height + (self.rng.random() < 0.2)
        made = []
        for _ in range(self.rng.randint(1, 3)):
            self.round += 1
            vote = Prepare(height, self.round, self.rng.randbytes(32), 0, bytes(64))
            made.append(Record(height, Kind.PROMISE, promises.encode(promises.Said(vote))))
            if self.rng.random() < 0.3:
                made.append(Record(height, Kind.BODY, self.rng.randbytes(self.rng.randrange(400))))
        return made

    def _after(self, batch: list[Record]) -> Held:
        height = batch[0].height
        before = self.held[1] if height == self.held[0] else []
        return height, before + [each.data for each in batch if each.kind == Kind.PROMISE]

    def _again(self, journal: Journal, batch: list[Record]) -> Journal:
        """Open what a power cut left: all that was promised is there, and batches are whole."""
        self.power.is_on, self.power.chance = True, 0.0
        journal.close()
        self.disk.lose_power(self.folder, self.rng)
        if not batch and self.rng.random() < 0.5:
            self._turn_a_bit()
        is_copy = self.rng.random() < 0.1
        if is_copy:
            copy = self.folder.with_name("copy")
            shutil.copytree(self.folder, copy)
            shutil.rmtree(self.folder)
            copy.rename(self.folder)
        opened = Journal.open(self.folder, IDENTITY)
        if opened is None:
            raise Violation("L14", "the journal is gone")
        found = (opened.height, opened.promises(opened.height))
        if found not in ([self.held, self._after(batch)] if batch else [self.held]):
            raise Violation("L14", f"promised {len(self.held[1])} at {self.held[0]}, found {found}")
        if is_copy != bool(opened.doubt):
            raise Violation("L14", f"a copy: {is_copy}, and the journal says: {opened.doubt!r}")
        self.fence = UNKNOWN_FENCE if is_copy else self.fence
        if opened.fence != self.fence:
            raise Violation("L14", f"the fence is {opened.fence}, not {self.fence}")
        self.held = found
        if self.fence:  # a quorum of others tells it
            self.fence = found[0] + 2
            opened.set_fence(self.fence)
        return opened

    def _turn_a_bit(self) -> None:
        """Damage a batch that is not the last: to open that is to forget."""
        path = max(self.folder.glob("*.journal"))
        content = path.read_bytes()
        ends = [HEAD_BYTES]
        while ends[-1] < len(content):
            length = content[ends[-1] + 8 : ends[-1] + 12]
            ends.append(ends[-1] + 16 + int.from_bytes(length))
        if len(ends) < 3:
            return
        at = self.rng.randrange(HEAD_BYTES, ends[-2])
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes((content[at] ^ 1 << self.rng.randrange(8),)))
            file.flush()
            try:
                Journal.open(self.folder, IDENTITY)
            except StoreDamaged:
                pass
            else:
                raise Violation("L14", f"opened with a turned bit at {at} of {len(content)}")
            file.seek(at)
            file.write(content[at : at + 1])
