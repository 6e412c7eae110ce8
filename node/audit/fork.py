"""Two exports of one chain that differ: where, and who must have lied for that to happen.

Two blocks decided at one height need validators that contradicted themselves, f + 1 at least
(docs/protocol.md, section 10). Their names follow from the two certificates alone where both are of
one round; else from the proposal of the round in which the votes turned, which every validator that
prepared it keeps for ever. Nobody is named but by two of his own signatures.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from consensus.errors import BadEvidence, ConsensusError
from consensus.evidence import Evidence, bad_proposal, culprit, offence_key, verify
from consensus.evidence import convict as contradictions
from consensus.messages import (
    Proposal,
    Statement,
    commits,
    consensus_key,
    signing_bytes,
    statements,
)
from contracts.genesis import SignedGenesis
from ledger.block import CommittedBlock
from ledger.certificate import CommitCertificate
from ledger.encoding import decode
from ledger.errors import BadSignature, LedgerError
from ledger.keys import verify as verify_signature
from ledger.receipt import Change
from ledger.validators import ValidatorSet
from node.audit.conviction import Conviction, Decision, convict
from node.audit.errors import AuditError
from node.audit.export import parse_proposal
from node.audit.reading import blocks_in, each_of, naming, within
from node.audit.records import Records, is_proposal
from node.audit.replay import Replay, read_ahead, verify_outcomes
from node.audit.report import Progress
from node.audit.signatures import Ahead

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Missing:
    """The proposal without which not all culprits can be named, and who prepared it."""

    round: int
    block_id: bytes
    holders: tuple[bytes, ...]  # members that signed for this block in that round


@dataclass(frozen=True, slots=True)
class Agreement:
    """The exports do not contradict each other: they are equal, or one is the beginning."""

    height: int  # the last that both have
    longer: int | None  # which goes on: 0, 1, or neither


@dataclass(frozen=True, slots=True)
class Fork:
    """Two blocks were decided at one height."""

    height: int
    blocks: tuple[CommittedBlock, CommittedBlock]  # in the order of the exports
    shared: int  # as many culprits at least there are: what two quorums have in common
    faulty: int  # f, as many may be faulty without a fork
    convictions: tuple[Conviction, ...]
    missing: Missing | None

    @property
    def culprits(self) -> tuple[bytes, ...]:
        """The members that are convicted, each once."""
        return tuple(dict.fromkeys(each.member for each in self.convictions))


def compare(
    exports: tuple[Path, Path],
    genesis: SignedGenesis,
    *,
    also: Iterable[Path] = (),
    workers: int | None = None,
    show: Show = lambda _: None,
) -> Fork | Agreement:
    """Return the first height at which two exports differ, and whom that convicts.

    What both have in common is executed again. `also` are exports whose kept proposals count too.
    Raises `FalseFact` where an export holds something false up to there, OSError.
    """
    genesis.verify()
    total = exports[0].stat().st_size
    with (
        exports[0].open("rb") as first,
        exports[1].open("rb") as second,
        Ahead(workers) as ahead,
        Replay(genesis, ahead) as replay,
    ):
        changes: list[Change] = []
        left = (payload for payload, _ in each_of(exports[0].name, read_ahead(first, replay)))
        right = each_of(exports[1].name, blocks_in(second, genesis))
        while True:
            pair = next(left, None), next(right, None)
            if pair[0] is None or pair[1] is None:
                longer = 0 if pair[0] is not None else 1 if pair[1] is not None else None
                return Agreement(replay.header.height, longer)
            forked = _differ(exports, (pair[0], pair[1]), replay)
            if forked is not None:
                break
            with within(exports[0].name):
                executed = replay.add(pair[0])
            _note_change(replay, decode(pair[0], CommittedBlock), changes)
            with within(exports[1].name), naming(replay.header.height):
                other = decode(pair[1], CommittedBlock)
                other.block.outline().verify()  # it has the header that was found to be true
                verify_outcomes(executed, other.outcomes)
            show(Progress(replay.header.height, first.tell(), total, replay.report.entries))
        height, validators = replay.header.height + 1, replay.validators
        certificates = [block.certificate for block in forked]
        for side, following in enumerate((left, right)):
            certificates += _next_certificate(following, forked[side], replay.chain_id, validators)
    proposals = [
        proposal for path in (*exports, *also) for proposal in _proposals(path, height)
    ]  # fmt: skip
    court = _Court(replay.chain_id, validators)
    convictions = tuple(
        convict(evidence, validators, _decision(forked[0]), tuple(changes))
        for evidence in court.judge(certificates, proposals)
    )
    return Fork(
        height,
        forked,
        2 * validators.quorum - len(validators),
        (len(validators) - 1) // 3,
        convictions,
        court.missing(forked, proposals),
    )


class _Court:
    """Who contradicted himself at one height, judged by its validators."""

    def __init__(self, chain_id: bytes, validators: ValidatorSet) -> None:
        self._chain_id, self._validators = chain_id, validators

    def judge(
        self, certificates: Iterable[CommitCertificate], proposals: Iterable[Proposal]
    ) -> list[Evidence]:
        """Return one piece of evidence for each offence; what is not signed so counts for nothing.

        The certificates are verified.
        """
        said: list[Statement] = [*chain.from_iterable(map(commits, certificates))]
        bad: list[Evidence] = []
        for proposal in proposals:
            if not self._is_signed(proposal.bare()):
                continue  # anybody may have made it up
            said += filter(self._is_signed, statements(proposal))
            with suppress(BadEvidence):
                evidence = bad_proposal(proposal)
                verify(evidence, self._chain_id, self._validators)
                bad.append(evidence)
        found = {offence_key(evidence): evidence for evidence in (*contradictions(said), *bad)}
        for each in found.values():
            verify(each, self._chain_id, self._validators)
        return sorted(found.values(), key=culprit)

    def missing(
        self, forked: tuple[CommittedBlock, CommittedBlock], proposals: Iterable[Proposal]
    ) -> Missing | None:
        """Return what is lacked to name as many as two quorums share, None where nothing is.

        From the later certificate back: its block was proposed in that round, with the round in
        which it was prepared before, and so on, to the first round after the earlier certificate.
        """
        early, late = sorted((block.certificate for block in forked), key=lambda one: one.round)
        if early.round == late.round:
            return None
        tops: dict[int, tuple[int, tuple[int, ...]]] = {}  # round -> lowest justified claim below
        for proposal in proposals:
            if proposal.block_id != late.block_id or not self._is_justified(proposal):
                continue
            why = None if proposal.justification is None else proposal.justification.prepared
            signers = () if why is None else tuple(seal.validator for seal in why.seals)
            top = (-1 if why is None else why.round), signers
            tops[proposal.round] = min(top, tops.get(proposal.round, top))
        round_, holders = late.round, tuple(seal.validator for seal in late.seals)
        while round_ > early.round:
            if round_ not in tops:
                members = self._validators.members
                return Missing(
                    round_, late.block_id, tuple(members[index].member for index in holders)
                )
            round_, holders = tops[round_]
        return None

    def _is_signed(self, statement: Statement) -> bool:
        try:
            public = consensus_key(self._validators, statement.signer)
            message = signing_bytes(statement, self._chain_id)
            verify_signature(public, message, statement.signature, what="it")
        except (ConsensusError, BadSignature):
            return False
        return True

    def _is_justified(self, proposal: Proposal) -> bool:
        """Return whether its signer made it, all in it is signed, and it convicts nobody."""
        if not self._is_signed(proposal.bare()):
            return False
        try:
            verify(bad_proposal(proposal), self._chain_id, self._validators)
        except BadEvidence:
            return True
        return False


def _differ(
    exports: tuple[Path, Path], pair: tuple[bytes, bytes], replay: Replay
) -> tuple[CommittedBlock, CommittedBlock] | None:
    """Return the two blocks where they are different ones of the next height, both decided."""
    if pair[0] == pair[1]:
        return None
    blocks: list[CommittedBlock] = []
    for path, payload in zip(exports, pair, strict=True):
        with within(path.name), naming(replay.header.height + 1):
            blocks.append(decode(payload, CommittedBlock, kind="record"))
    one, other = blocks
    for path, block in zip(exports, blocks, strict=True):
        with within(path.name):
            replay.require_decided(block)
    is_same = one.block.header == other.block.header  # two certificates of one block are no fork
    return None if is_same else (one, other)


def _note_change(replay: Replay, committed: CommittedBlock, changes: list[Change]) -> None:
    header = committed.block.header
    if header.validators_hash != header.next_validators_hash:
        changes.append(Change(header, committed.certificate, replay.validators))


def _next_certificate(
    following: Iterator[bytes], forked: CommittedBlock, chain_id: bytes, validators: ValidatorSet
) -> list[CommitCertificate]:
    """Return the certificate that the next block of an export carries for `forked`, if it does."""
    try:
        payload = next(following, None)
        if payload is None:
            return []
        certificate = decode(payload, CommittedBlock).block.body.parent_commit
        if certificate is None or certificate.block_id != forked.block.header.hash:
            return []
        certificate.verify(chain_id, validators)
    except (AuditError, LedgerError):
        return []  # above the fork nothing need be true
    return [certificate] if certificate.height == forked.block.header.height else []


def _proposals(path: Path, height: int) -> Iterator[Proposal]:
    """Yield the kept proposals of a height in an export, as far as it can be read."""
    with path.open("rb") as file, suppress(AuditError, LedgerError):
        records = Records(file)
        records.read_magic()
        for payload in records:
            if is_proposal(payload) and (found := parse_proposal(payload)).height == height:
                yield found


def _decision(committed: CommittedBlock) -> Decision:
    return Decision(committed.block.header, committed.certificate)
