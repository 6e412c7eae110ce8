"""Exports that lie about who votes, and about who broke the rules, for every verifier to name.

As in `forgeries` a whole quorum lies along. `chain` is one that `chainmaker.upheaval` made.
"""

from typing import Final

import msgspec

from consensus.evidence import BadProposal, DoubleVote, judge
from consensus.messages import (
    UNPREPARED,
    BareProposal,
    Commit,
    Justification,
    RoundChange,
    justification_hash,
    signing_bytes,
)
from contracts.calls import Call, JoinValidators, LeaveValidators, Subject, ValidatorJoin
from contracts.execute import DirectSignatures, execute
from ledger.block import Block, Body, CommittedBlock, Header, evidence_root
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.hashing import NO_HASH
from ledger.keys import Role
from tests.chainmaker import Chain, key_of, member_of, some_bytes
from tests.forgeries import Forgery

replace = msgspec.structs.replace
APPLIED: Final = Outcome(0)


def uprisings(chain: Chain) -> list[Forgery]:
    """Return lies about a chain that `upheaval` made."""
    return [*_sets(chain), *_evidence(chain), *_changes(chain)]


def _certified(chain: Chain, header: Header, old: CommittedBlock, body: Body) -> CommittedBlock:
    certificate = chain.certify(header.height, header.hash)
    return CommittedBlock(Block(header, body), certificate, old.outcomes)


def _sets(chain: Chain) -> list[Forgery]:
    """The fifth validator is announced by block 6 and votes from block 7 on."""

    def header(height: int, field: str, value: object) -> Forgery:
        old = chain.blocks[height - 1]
        forged = replace(old.block.header, **{field: value})
        blocks = [*chain.blocks[: height - 1], _certified(chain, forged, old, old.block.body)]
        return Forgery(f"block {height}: {field}", blocks, height, field, field)

    def votes(name: str, height: int, *, by: int, field: str) -> Forgery:
        """Let the validators of height `by` sign another height."""
        blocks = list(chain.blocks[:height])
        block = blocks[-1].block
        voters = chain.validators_at(by)
        seals = []
        for index in range(voters.quorum):
            vote = Commit(height, 0, block.header.hash, index, bytes(64))
            key = chain.voting[voters.members[index].consensus_key]
            signature = key.sign(signing_bytes(vote, chain.chain_id))
            seals.append(
                replace(blocks[-1].certificate.seals[0], validator=index, signature=signature)
            )
        certificate = replace(blocks[-1].certificate, round=0, seals=tuple(seals))
        blocks[-1] = replace(blocks[-1], certificate=certificate)
        return Forgery(name, blocks, height, field, field)

    before, after = (chain.validators_at(height).hash for height in (6, 7))
    return [
        header(5, "next_validators_hash", after),  # a block too early
        header(6, "next_validators_hash", before),
        header(7, "validators_hash", before),
        header(7, "next_validators_hash", before),
        votes("those of before decide", 7, by=6, field="signers"),
        votes("keys of before vote", 12, by=8, field="signature"),
        votes("keys that come vote", 8, by=9, field="signature"),
    ]


def _evidence(chain: Chain) -> list[Forgery]:
    def held(name: str, height: int, *proofs: bytes, field: str = "evidence") -> Forgery:
        """Let the block of this height hold this evidence besides its own."""
        old = chain.blocks[height - 1]
        body = replace(old.block.body, evidence=(*old.block.body.evidence, *proofs))
        header = replace(old.block.header, evidence_root=evidence_root(body.evidence))
        blocks = [*chain.blocks[: height - 1], _certified(chain, header, old, body)]
        return Forgery(name, blocks, height, "evidence", field)

    def pair(one: Commit, other: Commit) -> bytes:
        first, second = sorted((one, other), key=encode)
        return encode(DoubleVote(first, second))

    def vote(tag: str, signer: int = 1, height: int = 3, round_: int = 0) -> Commit:
        return chain.signed(Commit(height, round_, some_bytes(tag), signer, bytes(64)))

    recorded = chain.double_vote(2)
    other_round = chain.double_vote(2, round_=7)
    good = vote("one"), vote("two")
    foreign = replace(good[1], signature=good[0].signature)
    first = chain.blocks[3].block.header
    changes = tuple(
        chain.signed(RoundChange(4, 1, UNPREPARED, NO_HASH, None, signer, bytes(64)))
        for signer in range(3)
    )
    why = Justification(changes, None)
    proposer = next(
        index for index, voter in enumerate(chain.validators_at(4).members)
        if voter.member == first.proposer
    )  # fmt: skip
    fresh = replace(first, built_round=1)

    def proposal(header: Header, reason: Justification | None, round_: int = 1) -> bytes:
        outline = some_bytes("an outline")
        hashes = outline, justification_hash(reason)
        bare = BareProposal(header.height, round_, header.hash, *hashes, proposer, bytes(64))
        signature = chain.signed(bare).signature
        return encode(BadProposal(header, round_, outline, reason, proposer, signature))

    ahead = replace(good[0], height=9), replace(good[1], height=9)
    return [
        held("a deed twice in a block", 6, recorded),
        held("a deed once more", 12, recorded),
        held("a deed in another round once more", 12, other_round),
        held("the same vote twice", 12, pair(good[0], good[0])),
        held("votes of two rounds", 12, pair(good[0], vote("two", round_=1))),
        held("votes of two validators", 12, pair(good[0], vote("two", 0))),
        held("votes in the wrong order", 12, encode(DoubleVote(*reversed(_sorted(good))))),
        held("a vote with another's signature", 12, pair(good[0], foreign)),
        held("votes of a height to come", 7, pair(*ahead), field="height of the evidence"),
        held("votes by keys that were not there", 12, _by_new_key(chain)),
        held("votes by a signer beyond them", 12, pair(*(replace(v, signer=4) for v in good))),
        held("a justified proposal", 12, proposal(fresh, why)),
        held("a justified proposal of round 0", 12, proposal(first, None, 0)),
        held("no evidence at all", 12, b"\x91\x01"),
    ]


def _sorted(votes: tuple[Commit, Commit]) -> list[Commit]:
    return sorted(votes, key=encode)


def _by_new_key(chain: Chain) -> bytes:
    """Return a double vote at a height below that from which its key votes."""
    pair = []
    for tag in ("one", "two"):
        said = Commit(8, 0, some_bytes(tag), 2, bytes(64))
        key = chain.voting[chain.validators_at(9).members[2].consensus_key]
        pair.append(replace(said, signature=key.sign(signing_bytes(said, chain.chain_id))))
    return encode(DoubleVote(*_sorted((pair[0], pair[1]))))


def _changes(chain: Chain) -> list[Forgery]:
    """A quorum says that a call was applied which had to be refused."""

    def applied(name: str, sender: str, call: Call) -> Forgery:
        last = chain.state
        leader = last.turns.leader(len(last.validators), last.header.height + 1, 0)
        transaction = chain.transaction(sender, call)
        executed = execute(
            last,
            Body(chain.blocks[-1].certificate, (), (transaction.raw,)),
            time=last.header.time + 1,
            proposer=last.validators.members[leader].member,
            built_round=0,
            signatures=DirectSignatures(),
            judge=judge,
        )
        assert executed.outcomes[0].code != 0
        certificate = chain.certify(executed.header.height, executed.header.hash)
        lie = CommittedBlock(executed.block, certificate, (APPLIED,))
        blocks = [*chain.blocks, lie]
        return Forgery(f"applied: {name}", blocks, executed.header.height, "outcome", "outcome")

    join = chain.joining("insurer-b")
    change, proof = join.change, join.possession

    def other(**fields: object) -> ValidatorJoin:
        """Return the join with another change."""
        return replace(join, change=replace(change, **fields))

    def voted(subject: Subject) -> ValidatorJoin:
        """Return the join on the vote for another change."""
        return other(proposal=chain.voted[subject])

    taken = replace(change.keys, node=key_of("operator", Role.TLS).public)
    weak = replace(change.keys, checkpoint=b"\x01" + bytes(31))
    stale = replace(proof, height=1, block_id=chain.blocks[0].block.header.hash)
    return [
        applied("sent by another", "shop-a", join),
        applied("on no vote", "insurer-b", other(proposal=bytes(32))),
        applied("on another's vote", "insurer-b", voted(join_of("operator"))),
        applied("on a vote to leave", "insurer-b", voted(LeaveValidators(member_of("operator")))),
        applied("on a vote that was used", "insurer-b", voted(join_of("auditor-a"))),
        applied("on no vote that passed", "shop-b", chain.joining("shop-b")),
        applied("a validator joins", "operator", chain.joining("operator")),
        applied("somebody's key", "insurer-b", other(keys=taken)),
        applied("an old block", "insurer-b", replace(join, possession=stale)),
        applied(
            "an unproved key",
            "insurer-b",
            replace(join, possession=replace(proof, node=proof.checkpoint)),
        ),
        applied("a leave without a vote", "shop-a", chain.leaving("operator")),
        applied("a leave of a stranger", "operator", chain.leaving("shop-a")),
        applied("keys changed lately", "operator-b", chain.rotating("operator-b")),
        applied("another's keys", "operator", chain.rotating("operator-b")),
        Forgery(
            "applied: an unusable key",
            applied("", "insurer-b", other(keys=weak)).blocks,
            chain.state.header.height + 1,
            "outcome",
            "public key",
        ),
        *_second_in_a_block(chain),
    ]


def join_of(label: str) -> JoinValidators:
    return JoinValidators(member_of(label))


def _second_in_a_block(chain: Chain) -> list[Forgery]:
    old = chain.blocks[8]
    lies = (old.outcomes[0], APPLIED, old.outcomes[2])
    blocks = [*chain.blocks[:8], replace(old, outcomes=lies)]
    return [Forgery("applied: the second in a block", blocks, 9, "outcome", "outcome")]
