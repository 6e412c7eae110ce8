"""A witness: it follows a chain without a vote in it, and says what it saw (c2sp.org/tlog-witness).

It cosigns a checkpoint that a quorum committed and that continues the last one it cosigned. What it
cosigns is durable before it signs. Two that do not continue each other it keeps as evidence, and
from then on it signs nothing.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from contracts.genesis import Genesis
from ledger.checkpoint import Checkpoint, Note, is_name, origin, parse_checkpoint, parse_note
from ledger.cosignature import Cosigner, cosign
from ledger.decided import Decided
from ledger.encoding import Struct
from ledger.errors import BadProof, Malformed
from ledger.hashing import NO_HASH
from ledger.keys import Algorithm, SigningKey
from ledger.lock import DirectoryLock
from ledger.merkle import consistency_proof, root_at, verify_consistency
from ledger.plain import load_json, parse_plain, plain
from ledger.receipt import MAX_JSON_LENGTH
from ledger.split_view import SplitView, to_json
from ledger.tiles import node_reader
from node import files, keystore
from node.errors import Usage, VerificationFailed
from node.log_source import LogSource

FORMAT: Final = "depoli/witness/1"
STATE_FILE: Final = "witness.json"
SEED_FILE: Final = f"witness{keystore.SUFFIX}"
PUBLIC: Final = "public"  # what a web server may serve: <hash of the origin>/checkpoint
_SPLIT: Final = "split-view-{}.json"


class Sight(StrEnum):
    """What came of a look."""

    COSIGNED = "cosigned"
    UNCHANGED = "unchanged"  # it was cosigned before
    BEHIND = "behind"  # the source shows less than was cosigned


class SplitViewKept(VerificationFailed):
    """Two checkpoints of the chain contradict each other; this witness signs no more."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"a quorum committed two logs that contradict each other: {path} proves it",
            hint="nothing is cosigned any more; show the file to all members and auditors",
        )


class Seen(Struct):
    """What a witness has cosigned last, under which name and of which chain."""

    name: bytes
    chain_id: bytes
    time: int  # of the cosignature, unix seconds; 0 before the first
    note: bytes  # the checkpoint as validators signed it; empty before the first
    decided: Decided | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a witness stands, for its operator."""

    cosigner: Cosigner
    seen: Seen
    split_views: tuple[Path, ...]

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What it cosigned last."""
        return parse_checkpoint(parse_note(self.seen.note).text) if self.seen.note else None


class Witness:
    """A witness of one chain in a folder that no other process uses. Use it as a context."""

    def __init__(self, directory: Path, name: str, genesis: Genesis) -> None:
        """Open the folder, or make it with a new key. Raises `Usage` where it is another's."""
        if not is_name(name):
            raise Usage(f"{name!r} is no name of a witness: no space, no plus sign")
        self._directory, self._name, self._genesis = directory, name, genesis
        self._reference: str | None = None  # who has the tiles of what was cosigned last
        self._lock = DirectoryLock(directory)
        try:
            self._seen, self._key = self._open()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def look(self, source: LogSource, *, time: int) -> Sight:
        """Cosign what `source` shows, if that is right; `time` is now, unix seconds.

        Raises `SplitViewKept`; `LedgerError` where what is shown is not true, and what `source`
        raises: then nothing is signed.
        """
        if kept := _split_views(self._directory):
            raise SplitViewKept(kept[0])
        shown = source.committed(self._genesis.chain_id, self._genesis.validator_set)
        decided, seen = shown.decided, self._seen.decided
        if seen is not None:
            if decided.header.height < seen.header.height:
                self._require_begun(decided, seen)
                return Sight.BEHIND
            self._require_continued(source, seen, decided)
            if decided.header == seen.header and self._published.exists():
                self._reference = source.url
                return Sight.UNCHANGED
        self._cosign(shown.note, decided, max(time, self._seen.time))
        self._reference = source.url
        return Sight.COSIGNED

    @property
    def _published(self) -> Path:
        name = sha256(origin(self._genesis.chain_id).encode()).hexdigest()
        return self._directory / PUBLIC / name / "checkpoint"

    def _cosign(self, note: Note, decided: Decided, time: int) -> None:
        seen = Seen(self._name.encode(), self._genesis.chain_id, time, note.encode(), decided)
        files.replace(self._directory / STATE_FILE, _encode(seen))  # durable before it is signed
        self._seen = seen
        line = cosign(note.text, self._name, self._key, time=time)
        self._published.parent.mkdir(parents=True, exist_ok=True)
        files.replace(self._published, Note(note.text, (*note.signatures, line)).encode())

    def _require_begun(self, shown: Decided, seen: Decided) -> None:
        """Raise where what is behind is no beginning of what was cosigned: another log, in hiding.

        Nothing is known of that before this process has found the tiles of what was cosigned.
        """
        if self._reference is not None:
            with LogSource(self._reference) as reference:
                self._require_continued(reference, shown, seen)

    def _require_continued(self, source: LogSource, seen: Decided, shown: Decided) -> None:
        """Raise unless the log of `shown`, whose tiles `source` has, continues that of `seen`.

        `seen` is not the later of the two.
        """
        old, new = seen.header, shown.header
        if old.hash == new.hash:
            return
        if old.height == new.height or new.log_size < old.log_size:
            self._keep(SplitView(seen, shown, NO_HASH, ()))
        node_at = node_reader(new.log_size, source.tile)
        if root_at(new.log_size, node_at) != new.log_root:
            raise BadProof(f"the tiles of {source.url} lead to another root than was committed")
        root = root_at(old.log_size, node_at)
        proof = consistency_proof(old.log_size, new.log_size, node_at)
        if root != old.log_root:
            self._keep(SplitView(seen, shown, root, proof))
        verify_consistency(old.log_root, old.log_size, new.log_root, new.log_size, proof)

    def _keep(self, found: SplitView) -> None:
        """Write evidence, once it is verified as others will; raise `SplitViewKept`."""
        found.verify(self._genesis.chain_id, self._genesis.validator_set)
        text = to_json(found).encode()
        path = self._directory / _SPLIT.format(sha256(text).hexdigest()[:16])
        files.create(path, text)
        raise SplitViewKept(path)

    def _open(self) -> tuple[Seen, SigningKey]:
        path, seed = self._directory / STATE_FILE, self._directory / SEED_FILE
        if path.exists():
            seen = load(self._directory)
            mine = (self._name.encode(), self._genesis.chain_id)
            if (seen.name, seen.chain_id) != mine:
                raise Usage(f"{path} is of another witness, or of another chain")
        else:  # a key whose memory was lost may have signed anything: it is not used again
            if seed.exists():
                raise files.AlreadyThere(seed)
            seen = Seen(self._name.encode(), self._genesis.chain_id, 0, b"", None)
            files.create(path, _encode(seen))
        if seen.decided is None and not seed.exists():
            keystore.create_key(seed, Algorithm.ED25519)
        return seen, SigningKey(keystore.read_seed(seed))


def standing(directory: Path) -> Standing:
    """Return how the witness in a folder stands, whether it runs or not."""
    seen = load(directory)
    key = SigningKey(keystore.read_seed(directory / SEED_FILE))
    return Standing(Cosigner(seen.name.decode(), key.public), seen, _split_views(directory))


def load(directory: Path) -> Seen:
    """Return what a witness remembers. Raises `Missing`, `Malformed`."""
    hint = "depoli witness run makes the folder of a witness"
    text = files.read_public(directory / STATE_FILE, limit=2 * MAX_JSON_LENGTH, hint=hint)
    value = load_json(text.decode(errors="replace"), kind="witness", max_length=2 * MAX_JSON_LENGTH)
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise Malformed("witness", f"not an object with format {FORMAT}")
    return parse_plain(value, Seen)


def _split_views(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob(_SPLIT.format("*"))))


def _encode(seen: Seen) -> bytes:
    return json.dumps({"format": FORMAT, **plain(seen)}, indent=1).encode()
