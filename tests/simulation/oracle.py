"""What must hold, checked from all signatures ever made and never from a node's own state.

Honest signatures count when they are durable (what was signed and lost before the fsync never
left), faulty ones when they are made. The lemmas are those of the safety proof: they break at the
first wrong step, where agreement itself breaks only in a rare conjunction.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from consensus.evidence import Evidence, audit, culprit, height_of
from consensus.messages import (
    BareProposal,
    Commit,
    Decided,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    signing_bytes,
)
from ledger.block import Header
from ledger.certificate import (
    KIND_COMMIT,
    CommitCertificate,
    verify_signers,
    vote_signing_bytes,
)
from ledger.hashing import NO_HASH
from ledger.merkle import root_of_leaves
from ledger.turns import Turns
from ledger.validators import ValidatorSet

Vote = tuple[str, int, int, bytes]


class Violation(AssertionError):
    """A lemma does not hold."""

    def __init__(self, lemma: str, what: str) -> None:
        super().__init__(f"{lemma}: {what}")
        self.lemma = lemma


class Oracle:
    """God's view of one run."""

    def __init__(
        self,
        chain_id: bytes,
        validators: Callable[[int], ValidatorSet],
        is_signature: Callable[[bytes, bytes, bytes], bool],
        *,
        faulty: frozenset[bytes],
        forkable: bool = False,
    ) -> None:
        self.chain_id = chain_id
        self.validators = validators
        self.is_signature = is_signature
        self.faulty = faulty  # consensus keys
        self.forkable = forkable  # more are faulty than the protocol bears
        self.headers: dict[bytes, Header] = {}
        self.votes: dict[Vote, set[int]] = defaultdict(set)
        self.claims: dict[tuple[int, int], dict[int, set[tuple[int, bytes]]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self.proposed: dict[tuple[int, int], set[bytes]] = defaultdict(set)
        self.contents: dict[tuple[bytes, str, int, int], bytes] = {}
        self.wish: dict[tuple[bytes, int], int] = defaultdict(int)
        self.lock: dict[tuple[bytes, int], int] = defaultdict(lambda: -1)
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.decided: dict[int, bytes] = {}
        self.certificates: list[Decided] = []
        self.forks = 0
        self.messages: list[Message] = []
        self.marks: Counter[str] = Counter()

    # --- what is told to it -----------------------------------------------------------------

    def built(self, header: Header) -> None:
        self.headers[header.hash] = header

    def signed(self, key: bytes, message: Message) -> None:
        """A signature of `key` is durable (honest) or made (faulty)."""
        assert isinstance(message, Proposal | Prepare | Commit | RoundChange | BareProposal)
        height, round_ = message.height, message.round
        index = self.validators(height).index_of(key)
        if key not in self.faulty:
            self._honest(key, index, message)
        if index is None:
            return
        self.messages.append(message)
        match message:
            case Prepare() | Commit():
                self.votes[(type(message).__name__, height, round_, message.block_id)].add(index)
                self._committed(message)
            case RoundChange():
                claim = (message.prepared_round, message.prepared_id)
                self.claims[(height, round_)][index].add(claim)
            case _:
                if index == Turns().leader(len(self.validators(height)), height, round_):
                    self.proposed[(height, round_)].add(message.block_id)

    def decides(self, header: Header, certificate: CommitCertificate) -> None:
        height, block_id = certificate.height, certificate.block_id
        n = self._quorum(height)
        if header.hash != block_id or header.height != height:
            raise Violation("L3", "a certificate for another block")
        if len(self.votes[("Commit", height, certificate.round, block_id)]) < n:
            raise Violation("L3", f"height {height} decided without a quorum of commits")
        if header.built_round == 0 and header.transactions_root == root_of_leaves([]):
            raise Violation("L3", "an empty block of round 0")
        self._verify(certificate)
        self.certificates.append(Decided(header, certificate))
        self.marks[f"decided in round {min(certificate.round, 3)}"] += 1
        if header.built_round != certificate.round:
            self.marks["decided a re-proposal"] += 1
        known = self.decided.setdefault(height, block_id)
        if known != block_id:
            self.forks += 1
            if not self.forkable:
                raise Violation("L7", f"two blocks at height {height}")
        if not self.forkable and header.parent != self.decided.get(height - 1, NO_HASH):
            raise Violation("L3", f"the block of height {height} does not chain")

    def accused(self, evidence: Evidence, validators: ValidatorSet) -> None:
        self.marks[type(evidence).__name__] += 1
        if validators.members[culprit(evidence)].consensus_key not in self.faulty:
            raise Violation("L8", f"an honest validator is framed: {evidence}")

    def close(self) -> None:
        """Audit the whole run: nobody is framed, and every fork names at least 2q - n culprits."""
        for evidence in audit([*self.messages, *self.certificates]):
            self.accused(evidence, self.validators(height_of(evidence)))
        ids: dict[int, set[bytes]] = defaultdict(set)
        for decided in self.certificates:
            ids[decided.height].add(decided.certificate.block_id)
        forks = [height for height, blocks in ids.items() if len(blocks) > 1]
        if forks:
            self._convict(min(forks))

    def _convict(self, height: int) -> None:
        """All that an auditor needs: the certificates, and the proposals of rounds above 0."""
        proposals = [m for m in self.messages if isinstance(m, Proposal) and m.round > 0]
        found = [e for e in audit([*proposals, *self.certificates]) if height_of(e) == height]
        culprits = {culprit(evidence) for evidence in found}
        n = len(self.validators(height))
        if len(culprits) < 2 * self._quorum(height) - n:
            raise Violation("L8", f"a fork at height {height} of {n} names only {culprits}")

    # --- lemmas -------------------------------------------------------------------------------

    def _honest(
        self, key: bytes, index: int | None, message: Proposal | Prepare | Commit | RoundChange
    ) -> None:
        height, round_ = message.height, message.round
        kind = type(message).__name__
        if index is None:
            raise Violation("L0", f"a {kind} at height {height} from no validator")
        if message.signer != index:
            raise Violation("L0", "signed under another's index")
        content = signing_bytes(message, self.chain_id)
        if self.contents.setdefault((key, kind, height, round_), content) != content:
            raise Violation("L4", f"validator {index} signed two {kind}s of {height}/{round_}")
        wish = self.wish[(key, height)]
        match message:
            case RoundChange():
                if message.prepared_round < self.lock[(key, height)]:
                    raise Violation("L4", f"validator {index} forgot its lock")
                self.lock[(key, height)] = message.prepared_round
                self.wish[(key, height)] = max(wish, round_)
                return
            case Prepare():
                self._prepared(message)
            case Commit():
                self.lock[(key, height)] = max(self.lock[(key, height)], round_)
                vote = Prepare(height, round_, message.block_id, index, message.signature)
                if self.contents.get((key, "Prepare", height, round_)) != signing_bytes(
                    vote, self.chain_id
                ):
                    raise Violation("L4", f"validator {index} committed what it did not prepare")
                prepares = self.votes[("Prepare", height, round_, message.block_id)]
                if len(prepares) < self._quorum(height):
                    raise Violation("L2", f"commit of {height}/{round_} without its prepares")
            case Proposal():
                pass
        if round_ < wish:
            raise Violation("L4", f"validator {index} signed a {kind} below its round change")

    def _prepared(self, vote: Prepare) -> None:
        height, round_, block_id = vote.height, vote.round, vote.block_id
        if block_id not in self.proposed[(height, round_)]:
            raise Violation("L5", f"prepare of {height}/{round_} that its leader did not propose")
        built = self.headers[block_id].built_round
        if round_ == 0:
            if built != 0:
                raise Violation("L1", "prepared in round 0 what was built later")
            return
        claims = self.claims[(height, round_)]
        quorum = self._quorum(height)
        unlocked = sum(any(claim[0] == -1 for claim in mine) for mine in claims.values())
        if built == round_ and unlocked >= quorum:
            return
        for top in {claim[0] for mine in claims.values() for claim in mine if claim[1] == block_id}:
            if len(self.votes[("Prepare", height, top, block_id)]) < quorum:
                continue
            if sum(any(claim[0] <= top for claim in mine) for mine in claims.values()) >= quorum:
                return
        raise Violation("L1", f"prepare of {height}/{round_} that no quorum justifies")

    def _committed(self, vote: Prepare | Commit) -> None:
        if self.forkable:
            return
        height, round_, block_id = vote.height, vote.round, vote.block_id
        quorum = self._quorum(height)
        if isinstance(vote, Commit) and height not in self.committed:
            if len(self.votes[("Commit", height, round_, block_id)]) >= quorum:
                self.committed[height] = (round_, block_id)
        elif height in self.committed and isinstance(vote, Prepare):
            below, other = self.committed[height]
            prepares = len(self.votes[("Prepare", height, round_, block_id)])
            if round_ > below and block_id != other and prepares >= quorum:
                raise Violation("L6", f"height {height}: {below} committed, {round_} prepared")

    def _verify(self, certificate: CommitCertificate) -> None:
        validators = self.validators(certificate.height)
        verify_signers(certificate.seals, validators)
        signed = vote_signing_bytes(
            KIND_COMMIT,
            self.chain_id,
            certificate.height,
            certificate.round,
            certificate.block_id,
        )
        for seal in certificate.seals:
            key = validators.members[seal.validator].consensus_key
            if not self.is_signature(key, signed, seal.signature):
                raise Violation("L7", "a certificate with a forged seal")

    def _quorum(self, height: int) -> int:
        # Not the code's own formula: ceil(2n / 3).
        return -(-2 * len(self.validators(height)) // 3)
