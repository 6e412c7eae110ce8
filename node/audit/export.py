"""Write the chain of a node, running or stopped, into one file that anybody can verify.

An export is `MAGIC`, a record of the signed genesis, and a record of each committed block from
height 1; between them stand the proposals that the node kept (docs/format.md, section 19). It is
written beside the file that was asked for and takes its place when it is whole; what an interrupted
export had read is kept and gone on from.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from consensus import messages
from consensus.errors import ConsensusError
from consensus.messages import Proposal
from contracts.genesis import SignedGenesis
from ledger.block import CommittedBlock, Header
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.segments import Segments
from node.audit.errors import BadStream, NoBlocks, OtherChain, Pruned
from node.audit.records import MAGIC, Records, frame, is_proposal
from node.audit.report import Progress

Show = Callable[[Progress], None]


class Writer:
    """An export that grows; use it as a context, and `finish` it, or what was read is kept."""

    def __init__(self, path: Path, genesis: SignedGenesis) -> None:
        self._path, self._partial = path, path.with_name(path.name + ".partial")
        self.chain_id = genesis.chain_id
        self._tip: Header | None = None
        self._proposals: set[bytes] = set()  # SHA-256 of those in the file
        self._is_new = not self._partial.exists()
        is_copy = self._is_new and path.exists()
        if is_copy:
            shutil.copyfile(path, self._partial)  # extend what is there
        self._file: BinaryIO = self._partial.open("ab+")
        try:
            self._resume(MAGIC + frame(encode(genesis)))
        except BaseException:
            self._file.close()
            if is_copy:
                self._partial.unlink()
            raise
        self._begun = self.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        is_idle = not self._file.closed and self.size == self._begun
        self._file.close()
        if is_idle and self._is_new:
            self._partial.unlink()

    @property
    def height(self) -> int:
        """The last block's height, 0 before the first."""
        return 0 if self._tip is None else self._tip.height

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._file.tell()

    @property
    def proposals(self) -> int:
        """How many kept proposals it holds."""
        return len(self._proposals)

    def append(self, payload: bytes) -> None:
        """Add the block in `payload`; raise `BadStream` unless it is the next one.

        Or a kept proposal, where it is not there yet.
        """
        if is_proposal(payload):
            self._append_proposal(payload)
            return
        try:
            header = decode(payload, CommittedBlock).block.header
        except LedgerError as error:
            raise BadStream(str(error)) from None
        if header.height != self.height + 1:
            raise BadStream(f"block {header.height} after block {self.height}")
        if header.chain_id != self.chain_id:
            raise OtherChain(f"block {header.height} says its chain is {header.chain_id.hex()}")
        if self._tip is not None and header.parent != self._tip.hash:
            raise OtherChain(f"block {header.height} does not follow block {self._tip.height}")
        self._file.write(frame(payload))
        self._tip = header

    def _append_proposal(self, payload: bytes) -> None:
        proposal = parse_proposal(payload)
        if proposal.outline.header.chain_id != self.chain_id:
            raise OtherChain("a kept proposal is of another one")
        if (digest := sha256(payload).digest()) not in self._proposals:
            self._file.write(frame(payload))
            self._proposals.add(digest)

    def finish(self) -> None:
        """Put the whole file in its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)

    def _resume(self, beginning: bytes) -> None:
        """Find the last whole block of what is there, and cut off what follows it."""
        self._file.seek(0)
        found = self._file.read(len(beginning))
        if not beginning.startswith(found):
            raise OtherChain("it does not begin with the genesis of the node")
        end = 0
        if found == beginning:
            records, end = Records(self._file), len(beginning)
            with suppress(LedgerError):
                for payload in records:
                    if is_proposal(payload):
                        self._proposals.add(sha256(payload).digest())
                    else:
                        self._tip = decode(payload, CommittedBlock).block.header
                    end = len(beginning) + records.offset
        self._file.truncate(end)
        self._file.seek(end)
        if end == 0:
            self._file.write(beginning)


def parse_proposal(payload: bytes) -> Proposal:
    """Return the proposal in a record, or raise `BadStream`. Nothing of it is verified."""
    try:
        found = messages.decode(payload)
    except ConsensusError as error:
        raise BadStream(str(error)) from None
    assert isinstance(found, Proposal)  # by the tag with which it begins
    return found


def copy_blocks(writer: Writer, directory: Path, show: Show) -> None:
    """Append what a stopped node's segment files have.

    Raises `NoBlocks`, `Pruned`, `OtherChain`, and what `Segments` raises.
    """
    if not directory.is_dir():
        raise NoBlocks(directory)
    segments = Segments.open(directory, chain_id=writer.chain_id)
    try:
        if (following := writer.height + 1) < segments.first_whole:
            raise Pruned(following, segments.first_whole)
        for payload in segments.iterate(following):
            writer.append(payload)
            show(Progress(writer.height, writer.size))
    finally:
        segments.close()
