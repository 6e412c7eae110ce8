"""What must hold, checked from all signatures ever made and never from a node's own state.

Honest signatures count when they are durable (what was signed and lost before the fsync never
left), faulty ones when they are made. The lemmas are those of the safety proof: they break at the
first wrong step, where agreement itself breaks only in a rare conjunction. Nothing here is computed
by the functions under test: no quorum, no leader but the one that follows from decided headers.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from consensus.errors import ConsensusError
from consensus.evidence import Evidence, audit, culprit, height_of
from consensus.messages import (
    Commit,
    Decided,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    signatures,
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
from ledger.validators import ValidatorSet

NOTHING = root_of_leaves([])
PER_ROUND = 6  # promises: round change, proposal, kept, prepare, lock, commit
Claim = tuple[int, bytes]  # prepared round, prepared id
Vote = tuple[str, int, int, bytes]  # kind, height, round, block


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
        leader: Callable[[Header, int], int],
        is_signature: Callable[[bytes, bytes, bytes], bool],
        *,
        faulty: frozenset[bytes],
        forkable: bool = False,
    ) -> None:
        self.chain_id = chain_id
        self.validators = validators
        self.leader = leader  # of a round of the height of this header, on its parent
        self.is_signature = is_signature
        self.faulty = faulty  # consensus keys
        self.forkable = forkable  # more are faulty than the protocol bears
        self.headers: dict[bytes, Header] = {}
        self.votes: dict[Vote, set[int]] = defaultdict(set)
        self.claims: dict[tuple[int, int], dict[int, set[Claim]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self.wished: dict[int, dict[int, int]] = defaultdict(dict)  # height: signer: highest
        # by (round, block): what the leader of the round proposed
        self.proposed: dict[tuple[int, bytes], list[Proposal]] = defaultdict(list)
        self.contents: dict[tuple[bytes, str, int, int], bytes] = {}
        self.wish: dict[tuple[bytes, int], int] = defaultdict(int)
        self.lock: dict[tuple[bytes, int], int] = defaultdict(lambda: -1)
        self.highest: Counter[tuple[bytes, int]] = Counter()  # round in which anything was signed
        self.promises: Counter[tuple[bytes, int]] = Counter()
        self.prepared: dict[int, set[Claim]] = defaultdict(set)  # height: what a quorum prepared
        self.committed: dict[int, set[Claim]] = defaultdict(set)
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
        assert isinstance(message, Proposal | Prepare | Commit | RoundChange)
        height, round_ = message.height, message.round
        validators = self.validators(height)
        index = validators.index_of(key)
        if key not in self.faulty:
            self._honest(key, index, message)
        if index is None:
            return
        if key not in self.faulty or self._is_genuine(message):
            self.messages.append(message)
        match message:
            case Prepare() | Commit():
                kind = type(message).__name__
                voters = self.votes[(kind, height, round_, message.block_id)]
                voters.add(index)
                if len(voters) == self._quorum(height):
                    self._reached(kind, height, round_, message.block_id)
            case RoundChange():
                claim = (message.prepared_round, message.prepared_id)
                self.claims[(height, round_)][index].add(claim)
                self.wished[height][index] = max(round_, self.wished[height].get(index, 0))
            case _:
                if index == self.leader(self.headers[message.block_id], round_):
                    self.proposed[(round_, message.block_id)].append(message)

    def promised(self, key: bytes, height: int) -> None:
        """L10: what is written at one height is bounded by the rounds that were reached."""
        self.promises[(key, height)] += 1
        rounds = 1 + self.highest[(key, height)]
        if self.promises[(key, height)] > PER_ROUND * (rounds + 2):
            raise Violation("L10", f"{self.promises[(key, height)]} promises in {rounds} rounds")

    def decides(self, header: Header, certificate: CommitCertificate) -> None:
        height, block_id = certificate.height, certificate.block_id
        if header.hash != block_id or header.height != height:
            raise Violation("L3", "a certificate for another block")
        if len(self.votes[("Commit", height, certificate.round, block_id)]) < self._quorum(height):
            raise Violation("L3", f"height {height} decided without a quorum of commits")
        if header.built_round == 0 and header.transactions_root == NOTHING:
            raise Violation("L3", "an empty block of round 0")
        self._verify(header, certificate)
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
            self.marks["fork"] += 1
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
        content = signing_bytes(message, b"")
        if self.contents.setdefault((key, kind, height, round_), content) != content:
            raise Violation("L4", f"validator {index} signed two {kind}s of {height}/{round_}")
        wish = self.wish[(key, height)]
        self.highest[(key, height)] = max(self.highest[(key, height)], round_)
        match message:
            case RoundChange():
                if message.prepared_round < self.lock[(key, height)]:
                    raise Violation("L4", f"validator {index} forgot its lock")
                self._wished(message)
                self.lock[(key, height)] = message.prepared_round
                self.wish[(key, height)] = max(wish, round_)
                return
            case Prepare():
                self._prepared(message)
            case Commit():
                self.lock[(key, height)] = max(self.lock[(key, height)], round_)
                vote = Prepare(height, round_, message.block_id, index, message.signature)
                if self.contents.get((key, "Prepare", height, round_)) != signing_bytes(vote, b""):
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
        proposals = self.proposed[(round_, block_id)]
        if not proposals:
            raise Violation("L5", f"prepare of {height}/{round_} that its leader did not propose")
        if not any(self._is_justified(proposal) for proposal in proposals):
            raise Violation("L1", f"prepare of {height}/{round_} that no quorum justifies")

    def _is_justified(self, proposal: Proposal) -> bool:
        """Judge by the rulebook's words, not by consensus.justify."""
        height, round_, block_id = proposal.height, proposal.round, proposal.block_id
        built, why = proposal.outline.header.built_round, proposal.justification
        if round_ == 0 or why is None:
            return round_ == 0 and why is None and built == 0
        claims = {change.signer: change for change in why.round_changes}
        for signer, change in claims.items():
            claim = (change.prepared_round, change.prepared_id)
            if claim not in self.claims[(change.height, change.round)][signer]:
                return False  # it never said that
            if (change.height, change.round) != (height, round_):
                return False
        top = max(change.prepared_round for change in claims.values())
        if len(claims) < self._quorum(height):
            return False
        if top == -1:
            return built == round_
        locked = {change.prepared_id for change in claims.values() if change.prepared_round == top}
        return block_id in locked and (top, block_id) in self.prepared[height]

    def _wished(self, change: RoundChange) -> None:
        """L12: rounds do not run away. One's own timer, or f + 1 who want it too, ask for one."""
        height, round_ = change.height, change.round
        others = self.wished[height]
        n = len(self.validators(height))
        too = sum(wish >= round_ for signer, wish in others.items() if signer != change.signer)
        if too >= (n - 1) // 3 + 1 or round_ == 1:
            return
        below = round_ - 1  # the round whose timer ran out: a quorum began it, or its proposal
        begun = sum(wish >= below for wish in others.values())
        if begun < self._quorum(height):
            raise Violation("L12", f"round {round_} of {height} is asked for, {below} not begun")

    def _reached(self, kind: str, height: int, round_: int, block_id: bytes) -> None:
        """L6: above the round in which a block was committed, no quorum prepares another."""
        if kind == "Prepare":
            self.prepared[height].add((round_, block_id))
        else:
            self.committed[height].add((round_, block_id))
        if self.forkable:
            return
        for below, committed in self.committed[height]:
            for above, prepared in self.prepared[height]:
                if above > below and prepared != committed:
                    raise Violation("L6", f"height {height}: {below} committed, {above} prepared")

    def _verify(self, header: Header, certificate: CommitCertificate) -> None:
        """L7: a light client that knows the header below accepts this one."""
        validators = self.validators(certificate.height)
        below = self.headers.get(header.parent)
        announced = validators.hash if below is None else below.next_validators_hash
        if not header.validators_hash == validators.hash == announced:
            raise Violation("L7", f"height {header.height} is signed by others than announced")
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

    def _is_genuine(self, message: Message) -> bool:
        """Return whether all that it embeds was signed: an audit is of nothing else."""
        try:
            wanted = signatures(message, self.chain_id, self.validators(message.height))
        except ConsensusError:
            return False
        return all(self.is_signature(*one) for one in wanted)

    def _quorum(self, height: int) -> int:
        # Not the code's own formula: ceil(2n / 3).
        return -(-2 * len(self.validators(height)) // 3)
