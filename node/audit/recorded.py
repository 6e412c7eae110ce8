"""The evidence that stands in an export, found while the chain is executed again from genesis."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from consensus.evidence import Evidence, culprit, decode, height_of, offence_key
from contracts.genesis import SignedGenesis
from ledger.block import CommittedBlock, Header
from ledger.encoding import decode as decode_struct
from ledger.hashing import Hash
from ledger.receipt import Change
from ledger.validators import ValidatorSet
from node.audit.conviction import Conviction, Decision, convict, standing_of
from node.audit.errors import NoEvidence
from node.audit.reading import blocks_in
from node.audit.replay import Replay, read_ahead
from node.audit.report import Progress
from node.audit.signatures import Ahead

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A piece of evidence, whom it accuses, and the block that it stands in."""

    id: Hash  # of the offence
    evidence: Evidence
    member: bytes
    header: Header


@dataclass
class _Walk:
    """What was met on the way up the chain."""

    sets: list[tuple[int, ValidatorSet]] = field(default_factory=list)  # from which height on
    changes: list[Change] = field(default_factory=list)

    def at(self, height: int) -> ValidatorSet:
        """Return who voted at a height that was passed."""
        return next(set_ for first, set_ in reversed(self.sets) if first <= height)


def evidence_in(
    path: Path, genesis: SignedGenesis, *, workers: int | None = None, show: Show = lambda _: None
) -> list[Recorded]:
    """Return all evidence in an export, in the order of the chain.

    Raises `FalseFact` where the export holds something false.
    """
    walk, found = _Walk(), []
    for committed in _walked(path, genesis, walk, workers, show):
        for data in committed.block.body.evidence:
            evidence = decode(data)
            member = walk.at(height_of(evidence)).members[culprit(evidence)].member
            found.append(Recorded(offence_key(evidence), evidence, member, committed.block.header))
    return found


def conviction_in(
    path: Path,
    genesis: SignedGenesis,
    id_: bytes,
    *,
    workers: int | None = None,
    show: Show = lambda _: None,
) -> Conviction:
    """Return the conviction by one piece of evidence in an export.

    Raises `NoEvidence` where it is not there, `FalseFact` where the export is false up to there.
    """
    walk = _Walk()
    for committed in _walked(path, genesis, walk, workers, show):
        for data in committed.block.body.evidence:
            evidence = decode(data)
            if offence_key(evidence) != id_:
                continue
            height, block = height_of(evidence), _decision(committed)
            standing = standing_of(data, committed.block.body.evidence, block)
            changes = [each for each in walk.changes if each.header.height < block.header.height]
            return convict(
                evidence,
                walk.at(height),
                _block_at(path, genesis, height),
                tuple(changes),
                standing,
            )
    raise NoEvidence(id_.hex())


def _walked(
    path: Path, genesis: SignedGenesis, walk: _Walk, workers: int | None, show: Show
) -> Iterator[CommittedBlock]:
    """Yield each block once it is known to be true."""
    genesis.verify()
    total = path.stat().st_size
    with path.open("rb") as file, Ahead(workers) as ahead, Replay(genesis, ahead) as replay:
        walk.sets.append((1, replay.validators))
        for payload, done in read_ahead(file, replay):
            replay.add(payload)
            committed = decode_struct(payload, CommittedBlock)
            header = committed.block.header
            if header.validators_hash != header.next_validators_hash:
                walk.sets.append((header.height + 1, replay.validators))
                walk.changes.append(Change(header, committed.certificate, replay.validators))
            show(Progress(header.height, done, total, replay.report.entries))
            yield committed


def _block_at(path: Path, genesis: SignedGenesis, height: int) -> Decision:
    """Return a block of an export that was walked up to there or further."""
    with path.open("rb") as file:
        payload = next(blocks_in(file, genesis, height))
    return _decision(decode_struct(payload, CommittedBlock))


def _decision(committed: CommittedBlock) -> Decision:
    return Decision(committed.block.header, committed.certificate)
