"""What a backup consists of: one JSON file that is written last, and names all others.

    manifest.json                             what is here, with sizes and SHA-256
    genesis.json                              of the chain
    segments/blocks-FIRST-HASH.seg            a file of blocks, up to the end of a whole record
    snapshots/HEIGHT/                         where some blocks are bare, what stands for them
    kept-HASH.proposals                       what judges a fork, where the node kept any

A file of blocks has the beginning of its SHA-256 in its name, and is never written again: so what
an older manifest names stays whole until a newer one has taken its place, whenever the power fails.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from ledger.encoding import U63_MAX
from node import files
from node.backup.errors import BadBackup, NoBackup
from node.kept import write_all

FORMAT: Final = "depoli/backup/1"
FILE_NAME: Final = "manifest.json"
GENESIS: Final = "genesis.json"
SEGMENTS: Final = "segments"
SNAPSHOTS: Final = "snapshots"
MAX_BYTES: Final = 64 << 20  # a hundred thousand files of blocks
CHUNK_BYTES: Final = 1 << 20
_HASH_DIGITS: Final = 16  # of a SHA-256 in a name
_NAME: Final = (
    r"genesis\.json|kept-[0-9a-f]{16}\.proposals|segments/blocks-[0-9]{12}-[0-9a-f]{16}\.seg"
    r"|snapshots/[0-9]{12}/(manifest|decided|[0-9]{6}\.chunk)"
)
_NAMES: Final = re.compile(_NAME)

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a backup."""

    name: Annotated[str, msgspec.Meta(pattern=rf"^({_NAME})\Z")]
    size: Count
    sha256: Sha256


class Segment(Stored, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of blocks."""

    first: Count  # height of its first block
    last: Count  # and of its last one
    whole: Count  # of its first block that is not bare, one above the last where all are
    sealed: bool  # the node writes to it no more


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is in a backup."""

    format: str = FORMAT
    chain_id: Sha256
    height: Count  # of the last block
    block: Sha256  # its hash
    made: Count  # unix seconds
    software: str
    config: str  # the text of config.toml, as `portable` gives it
    segments: tuple[Segment, ...]  # in the order of heights, none missing
    others: tuple[Stored, ...]
    snapshot: Count = 0  # the height of the one that is here, 0: none is needed
    checksum: str = ""  # SHA-256 of this file as it is with "" here

    @property
    def files(self) -> tuple[Stored, ...]:
        """All files."""
        return (*self.segments, *self.others)

    @property
    def first_whole(self) -> int:
        """The lowest height whose block is not bare, one above the last where all are."""
        whole = (each.whole for each in self.segments if each.whole <= each.last)
        return next(whole, self.height + 1)

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(each.size for each in self.files)

    def other(self, start: str) -> Stored | None:
        """Return the file whose name begins so, None where there is none."""
        return next((each for each in self.others if each.name.startswith(start)), None)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as it stands on disk."""
    blank = _text(msgspec.structs.replace(manifest, checksum=""))
    checksum = hashlib.sha256(blank).hexdigest()
    return _text(msgspec.structs.replace(manifest, checksum=checksum))


def load(folder: Path) -> Manifest:
    """Return what the backup in `folder` consists of; raise `NoBackup`, `BadBackup`."""
    path = folder / FILE_NAME
    try:
        content = files.read_public(path, limit=MAX_BYTES, hint="")
    except files.Missing:
        raise NoBackup(folder) from None
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBackup(path, f"it cannot be read: {error}") from None
    if found.format != FORMAT:
        raise BadBackup(path, f"its format is {found.format[:64]}, not {FORMAT}")
    if encode(found) != content:
        raise BadBackup(path, "it is damaged: it does not have its own checksum")
    following = found.segments[0].first if found.segments else 0
    for each in found.segments:
        if each.first != following or each.last < each.first:
            raise BadBackup(path, f"it names no file that begins with block {following}")
        following = each.last + 1
    begins = 1 if found.snapshot == 0 else found.snapshot + 1
    is_whole = following == found.height + 1 and found.first_whole <= begins <= following
    if not is_whole or found.other(GENESIS) is None:
        raise BadBackup(path, "it does not name all that a backup needs")
    return found


def save(folder: Path, manifest: Manifest) -> None:
    """Let `folder` be this backup from now on, whatever happens; all files are durable."""
    files.replace(folder / FILE_NAME, encode(manifest), secret=True)


def segment_name(first: int, sha256: str) -> str:
    """Return what a file of blocks is called."""
    return f"{SEGMENTS}/blocks-{first:012}-{sha256[:_HASH_DIGITS]}.seg"


def snapshot_name(height: int, name: str) -> str:
    """Return what a file of a snapshot is called."""
    return f"{SNAPSHOTS}/{height:012}/{name}"


def kept_name(sha256: str) -> str:
    """Return what the file of kept proposals is called."""
    return f"kept-{sha256[:_HASH_DIGITS]}.proposals"


def is_name(name: str) -> bool:
    """Return whether a file of this name is one of a backup's."""
    return _NAMES.fullmatch(name) is not None


def read(folder: Path, stored: Stored) -> Iterator[bytes]:
    """Yield the content of a file, piece by piece; raise `BadBackup` where it is another."""
    path, digest, size = folder / stored.name, hashlib.sha256(), 0
    for piece in pieces(path):
        digest.update(piece)
        size += len(piece)
        yield piece
    if size != stored.size:
        raise BadBackup(path, f"it has {size} bytes, and the manifest says {stored.size}")
    if digest.hexdigest() != stored.sha256:
        raise BadBackup(path, f"its SHA-256 is {digest.hexdigest()}, not {stored.sha256}")


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a plain file; raise `BadBackup` where there is none."""
    try:
        if path.is_symlink() or not path.is_file():
            raise BadBackup(path, "it is gone" if not path.exists() else "it is no plain file")
        with path.open("rb", buffering=0) as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece
    except OSError as error:
        raise BadBackup(path, f"it cannot be read: {error.strerror or error}") from None


def write(path: Path, content: Iterator[bytes], counted: Callable[[int], None]) -> str:
    """Write a new durable file that only its owner reads, and return its SHA-256.

    What was left under this name is replaced; where writing fails, nothing stays.
    """
    path.unlink(missing_ok=True)
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for piece in content:
                with files.naming(path):
                    write_all(descriptor, piece)
                digest.update(piece)
                counted(len(piece))
            with files.naming(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except Exception:
        path.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _text(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
