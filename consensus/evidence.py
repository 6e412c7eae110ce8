"""Who contradicted himself: signed statements, and nothing of the local situation.

Evidence is judged with the chain id and the validators of its height alone, so it means the same to
every node and to the auditor, whenever it is looked at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise, product
from typing import Final, TypeAlias, assert_never, cast

from consensus.errors import BadEvidence, ConsensusError, MalformedMessage
from consensus.justify import Context, require_justified
from consensus.messages import (
    BareProposal,
    Commit,
    Justification,
    Message,
    Prepare,
    Proposal,
    Round,
    RoundChange,
    SignatureBytes,
    Signer,
    Statement,
    consensus_key,
    justification_hash,
    justification_statements,
    signing_bytes,
    statements,
)
from ledger import encoding
from ledger.block import MAX_EVIDENCE_BYTES, Accusation, Header
from ledger.encoding import Struct
from ledger.errors import BadSignature, Malformed, NotEvidence
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import verify as verify_signature
from ledger.validators import Bytes32, ValidatorSet


class DoubleVote(Struct, tag=1):
    """Two different statements of one kind for one height and round, the lower encoding first."""

    first: Statement
    second: Statement


class Amnesia(Struct, tag=2):
    """A commit, and a round change above its round that forgets or changes the lock.

    Whoever commits is locked: every later round change claims that round or a higher one.
    """

    commit: Commit
    round_change: RoundChange


class CrossVote(Struct, tag=3):
    """A commit of another block than the one that its signer prepared in the same round."""

    prepare: Prepare
    commit: Commit


class BadProposal(Struct, tag=4):
    """A signed proposal that breaks the rule of justification, or carries a forged signature."""

    header: Header
    round: Round
    outline_hash: Bytes32
    justification: Justification | None
    signer: Signer
    signature: SignatureBytes

    @property
    def height(self) -> int:
        """The height of the proposed block."""
        return self.header.height


Evidence: TypeAlias = DoubleVote | Amnesia | CrossVote | BadProposal
Offence: TypeAlias = tuple[str, int, int, int, str]  # evidence, height, round, culprit, statement
ValidatorsAt: TypeAlias = Callable[[int], ValidatorSet | None]  # by height; None: not known

_KINDS: Final[dict[type, int]] = {DoubleVote: 1, Amnesia: 2, CrossVote: 3, BadProposal: 4}
# A proposal counts as the statement that it is, whole or bare.
_STATEMENTS: Final[dict[type, int]] = {
    Prepare: 2,
    Commit: 3,
    RoundChange: 4,
    BareProposal: 7,
    BadProposal: 7,
}


def encode(evidence: Evidence) -> bytes:
    """Return the one encoding of `evidence`, as block bodies carry it."""
    return encoding.encode(evidence)


def decode(data: bytes) -> Evidence:
    """Return the evidence whose encoding is `data`, or raise `MalformedMessage`."""
    if len(data) > MAX_EVIDENCE_BYTES:
        raise MalformedMessage("evidence", f"{len(data)} bytes, more than {MAX_EVIDENCE_BYTES}")
    try:
        return encoding.decode(data, cast("type[Evidence]", Evidence), kind="evidence")
    except Malformed as error:
        raise MalformedMessage("evidence", error.reason) from None


def evidence_id(evidence: Evidence) -> Hash:
    """Return the hash by which evidence is known."""
    return hash_of(Domain.EVIDENCE, encode(evidence))


def contradiction(one: Statement, other: Statement) -> Evidence | None:
    """Return what two statements of one signer at one height prove, or None.

    Signatures are not looked at; the order of the two does not matter.
    """
    if (one.signer, one.height) != (other.signer, other.height):
        return None
    match one, other:
        case (Commit() as commit, Prepare() as prepare) | (
            Prepare() as prepare,
            Commit() as commit,
        ):
            crossed = commit.round == prepare.round and commit.block_id != prepare.block_id
            return CrossVote(prepare, commit) if crossed else None
        case (Commit() as commit, RoundChange() as change) | (
            RoundChange() as change,
            Commit() as commit,
        ):
            return Amnesia(commit, change.bare()) if _forgets(commit, change) else None
        case _:
            return _doubled(one, other)


def bad_proposal(proposal: Proposal) -> BadProposal:
    """Return what convicts the signer of `proposal` if it is not justified; `verify` tells."""
    return BadProposal(
        proposal.outline.header,
        proposal.round,
        proposal.outline_hash,
        proposal.justification,
        proposal.signer,
        proposal.signature,
    )


def verify(evidence: Evidence, chain_id: bytes, validators: ValidatorSet) -> None:
    """Raise `BadEvidence` unless `evidence` convicts; `validators` are those of its height."""
    try:
        match evidence:
            case DoubleVote(first, second):
                _verify_pair(first, second, evidence, chain_id, validators)
            case Amnesia(commit, round_change):
                _verify_pair(commit, round_change, evidence, chain_id, validators)
            case CrossVote(prepare, commit):
                _verify_pair(prepare, commit, evidence, chain_id, validators)
            case BadProposal():
                _verify_bad_proposal(evidence, chain_id, validators)
            case _:
                assert_never(evidence)
    except BadSignature as error:
        raise BadEvidence(str(error)) from None


def culprit(evidence: Evidence) -> int:
    """Return the index of the validator that `evidence` accuses."""
    return _accused(evidence).signer


def height_of(evidence: Evidence) -> int:
    """Return the height whose validators judge `evidence`."""
    return _accused(evidence).height


def offence(evidence: Evidence) -> Offence:
    """Return what was done, so that one deed is not reported in many variants."""
    accused = _accused(evidence)
    statement = type(accused).__name__
    height = height_of(evidence)
    return (type(evidence).__name__, height, accused.round, accused.signer, statement)


def offence_key(evidence: Evidence) -> Hash:
    """Return what names the deed in the record for ever.

    Rounds do not count: one faulty validator cannot make any number of deeds at a height.
    """
    accused = _accused(evidence)
    return hash_of(
        Domain.OFFENCE,
        bytes((_KINDS[type(evidence)], _STATEMENTS[type(accused)], accused.signer)),
        accused.height.to_bytes(8),
    )


def judge(data: bytes, chain_id: bytes, validators_at: ValidatorsAt) -> Accusation:
    """Return whom the evidence in `data` convicts of what, or raise `NotEvidence`."""
    try:
        evidence = decode(data)
        height = height_of(evidence)
        validators = validators_at(height)
        if validators is None:
            raise NotEvidence(f"nobody is known to vote at height {height}")
        verify(evidence, chain_id, validators)
    except ConsensusError as error:
        raise NotEvidence(str(error)) from None
    member = validators.members[culprit(evidence)].member
    return Accusation(member, height, offence_key(evidence))


def audit(messages: Iterable[Message]) -> tuple[Evidence, ...]:
    """Return one piece of evidence for each offence that `messages` prove, in a fixed order.

    Signatures must have been verified. Statements embedded in certificates and justifications
    count; so from two certificates and the proposal between them every fork names its culprits.
    """
    return convict(statement for message in messages for statement in statements(message))


def convict(said: Iterable[Statement]) -> tuple[Evidence, ...]:
    """Return the same of statements: one piece for each offence, their signatures verified."""
    by_signer: dict[tuple[int, int], dict[bytes, Statement]] = {}
    for statement in said:
        mine = by_signer.setdefault((statement.height, statement.signer), {})
        mine.setdefault(_content(statement), statement)
    found: dict[Offence, Evidence] = {}
    for _, mine in sorted(by_signer.items()):
        for one, other in _suspects([statement for _, statement in sorted(mine.items())]):
            if (evidence := contradiction(one, other)) is not None:
                found.setdefault(offence(evidence), evidence)
    return tuple(found.values())


def _suspects(mine: Sequence[Statement]) -> Iterator[tuple[Statement, Statement]]:
    """Yield the pairs among one signer's different statements that may contradict each other."""
    slots: dict[tuple[str, int], list[Statement]] = {}
    for statement in mine:
        slots.setdefault((type(statement).__name__, statement.round), []).append(statement)
    changes = [statement for statement in mine if isinstance(statement, RoundChange)]
    for (kind, round_), same in slots.items():
        yield from pairwise(same)
        if kind == Commit.__name__:
            yield from product(same, slots.get((Prepare.__name__, round_), []))
            commits = [commit for commit in same if isinstance(commit, Commit)]
            forgotten = (pair for pair in product(commits, changes) if _forgets(*pair))
            yield from islice(forgotten, 1)


def _accused(evidence: Evidence) -> Statement | BadProposal:
    match evidence:
        case DoubleVote(first, _):
            return first
        case Amnesia(commit, _) | CrossVote(_, commit):
            return commit
        case BadProposal():
            return evidence
        case _:
            assert_never(evidence)


def _doubled(one: Statement, other: Statement) -> DoubleVote | None:
    if type(one) is not type(other) or one.round != other.round or _content(one) == _content(other):
        return None
    first, second = sorted((_bare(one), _bare(other)), key=encoding.encode)
    return DoubleVote(first, second)


def _forgets(commit: Commit, change: RoundChange) -> bool:
    if change.round <= commit.round:
        return False  # it was signed first: a validator may still commit in the round it asked for
    if change.prepared_round == commit.round:
        return change.prepared_id != commit.block_id
    return change.prepared_round < commit.round


def _content(statement: Statement) -> bytes:
    return signing_bytes(statement, b"")


def _bare(statement: Statement) -> Statement:
    return statement.bare() if isinstance(statement, RoundChange) else statement


def _verify_pair(
    one: Statement,
    other: Statement,
    evidence: Evidence,
    chain_id: bytes,
    validators: ValidatorSet,
) -> None:
    if contradiction(one, other) != evidence:
        raise BadEvidence("the two statements do not contradict each other")
    for statement in (one, other):
        _verify_statement(statement, chain_id, validators)


def _verify_statement(statement: Statement, chain_id: bytes, validators: ValidatorSet) -> None:
    try:
        public = consensus_key(validators, statement.signer)
    except ConsensusError as error:
        raise BadEvidence(str(error)) from None
    message = signing_bytes(statement, chain_id)
    verify_signature(public, message, statement.signature, what=f"validator {statement.signer}")


def _verify_bad_proposal(evidence: BadProposal, chain_id: bytes, validators: ValidatorSet) -> None:
    header = evidence.header
    bare = BareProposal(
        header.height,
        evidence.round,
        header.hash,
        evidence.outline_hash,
        justification_hash(evidence.justification),
        evidence.signer,
        evidence.signature,
    )
    _verify_statement(bare, chain_id, validators)
    context = Context(chain_id, header.height, validators)
    try:
        require_justified(header, evidence.round, evidence.justification, evidence.signer, context)
    except ConsensusError:
        return
    for statement in justification_statements(evidence.justification):
        try:
            _verify_statement(statement, chain_id, validators)
        except BadSignature:
            return
    raise BadEvidence("the proposal is justified")
