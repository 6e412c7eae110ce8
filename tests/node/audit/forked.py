"""Chains that forked, with real keys: who lied, in which rounds, and what was kept of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from consensus import messages
from consensus.messages import (
    UNPREPARED,
    Commit,
    Justification,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    signing_bytes,
)
from contracts.calls import PrescriptionCommit
from contracts.genesis import SignedGenesis
from contracts.registry import Family
from ledger.block import CommittedBlock
from ledger.certificate import Seal
from ledger.hashing import NO_HASH
from ledger.keys import Role, SigningKey
from ledger.transaction import Transaction
from node.audit.records import frame
from tests.chainmaker import Chain, export_of, found, key_of, some_bytes

FAMILIES = (Family.OPTICIAN, Family.OPERATOR, Family.INSURER)
M = TypeVar("M", Proposal, Prepare, Commit, RoundChange)


@cache
def genesis_of(n: int) -> SignedGenesis:
    return found([(f"house-{i}", FAMILIES[i % 3]) for i in range(n)])


@dataclass
class Forked:
    """Two exports that fork, and the truth about them."""

    genesis: SignedGenesis
    height: int
    evil: frozenset[int]
    sides: tuple[list[CommittedBlock], list[CommittedBlock]]
    kept: dict[int, Proposal]  # of the block that was decided later, by round
    noise: list[Proposal]

    @property
    def shared(self) -> int:
        validators = self.genesis.genesis.validator_set
        return 2 * validators.quorum - len(validators)

    def label(self, index: int) -> str:
        return self.genesis.genesis.members[index].label

    def export(self, path: Path, side: int, proposals: Iterable[Proposal]) -> Path:
        records = b"".join(frame(messages.encode(proposal)) for proposal in proposals)
        path.write_bytes(export_of(self.genesis, self.sides[side]) + records)
        return path


class Speakers:
    """The validators of one height, who sign whatever they are told to."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.height = chain.state.header.height + 1
        self.n = len(chain.state.validators)
        self.quorum = chain.state.validators.quorum

    def key(self, index: int) -> SigningKey:
        return key_of(self.chain.labels[index], Role.CONSENSUS)

    def signed(self, message: M) -> M:
        signature = self.key(message.signer).sign(signing_bytes(message, self.chain.chain_id))
        return msgspec.structs.replace(message, signature=signature)

    def prepared(self, block: bytes, round_: int, signers: Iterable[int]) -> PreparedCertificate:
        votes = [
            self.signed(Prepare(self.height, round_, block, i, bytes(64))) for i in sorted(signers)
        ]
        seals = tuple(Seal(vote.signer, vote.signature) for vote in votes)
        return PreparedCertificate(self.height, round_, block, seals)

    def change(
        self, signer: int, round_: int, lock: tuple[int, bytes] = (UNPREPARED, NO_HASH)
    ) -> RoundChange:
        return self.signed(RoundChange(self.height, round_, *lock, None, signer, bytes(64)))

    def proposal(
        self,
        block: CommittedBlock,
        round_: int,
        changes: Sequence[RoundChange],
        prepared: PreparedCertificate | None,
    ) -> Proposal:
        ordered = tuple(sorted(changes, key=lambda change: change.signer))
        leader = self.chain.state.turns.leader(self.n, self.height, round_)
        why = Justification(ordered, prepared) if round_ else None
        return self.signed(Proposal(round_, block.block.outline(), why, leader, bytes(64)))


def forked(seed: int) -> Forked:
    """Return a fork that more than f validators made; everything is drawn from the seed."""
    chance = Random(seed)
    n = chance.choice((4, 4, 5, 6, 7))
    chain, other = Chain(genesis_of(n)), Chain(genesis_of(n))
    for number in range(chance.randrange(3)):
        _extend((chain, other), number)
    speakers = Speakers(chain)
    quorum = speakers.quorum
    everyone = chance.sample(range(n), n)
    evil = frozenset(everyone[: chance.randint(2 * quorum - n, quorum - 1)])
    honest = everyone[len(evil) :]
    cut = chance.randint(quorum - len(evil), len(honest) - (quorum - len(evil)))
    first, second = [*evil, *honest[:cut]], [*evil, *honest[cut:]]

    early, kind = chance.randrange(3), chance.choice(("same", "amnesia", "cross"))
    turn = early if kind == "same" else early + chance.randint(1, 3)
    _side(chain, "one", early)
    _side(other, "two", turn if kind == "amnesia" else early)
    one, two = chain.blocks[-1], other.blocks[-1]
    block, height = two.block.header.hash, speakers.height
    speakers.chain = Chain(genesis_of(n))  # of the validators before: nothing else of it is used

    kept: dict[int, Proposal] = {}
    last, voters = turn, list(second)
    if kind != "same":
        lock = (early, block) if kind == "cross" else (UNPREPARED, NO_HASH)
        claims = dict.fromkeys(_some(chance, second, quorum), lock)
        certificate = speakers.prepared(block, early, second) if kind == "cross" else None
        kept[turn] = speakers.proposal(
            two, turn, [speakers.change(i, turn, claim) for i, claim in claims.items()], certificate
        )
        for _ in range(chance.randrange(3)):
            certificate = speakers.prepared(block, last, _some(chance, voters, quorum))
            locks = dict.fromkeys(honest[:cut], (early, one.block.header.hash))
            locks |= dict.fromkeys(voters, (last, block))
            following = last + chance.randint(1, 2)
            asking = _some(chance, range(n), quorum)
            if not set(asking) & set(voters):
                asking = voters
            kept[following] = speakers.proposal(
                two,
                following,
                [speakers.change(i, following, locks[i]) for i in asking],
                certificate,
            )
            last = following
            voters = sorted({*voters, *honest[:cut]})  # lawfully: a higher round prepared it
    _decide(chain, height, early, _some(chance, first, quorum))
    _decide(other, height, last, _some(chance, voters, quorum))
    _extend((chain,), "after one", committed=early)
    _extend((other,), "after two", committed=last)
    sides = (chain.blocks, other.blocks)
    noise = _noise(chance, speakers, two, evil, honest[0])
    return Forked(genesis_of(n), height, evil, sides, kept, noise)


def _noise(
    chance: Random, speakers: Speakers, block: CommittedBlock, evil: frozenset[int], victim: int
) -> list[Proposal]:
    """Return proposals that would convict an honest validator, if signatures were not verified."""
    round_ = chance.randint(1, 9)
    liar = min(evil)
    changes = [speakers.change(i, round_) for i in evil]
    forged = msgspec.structs.replace(speakers.change(liar, round_), signer=victim)
    proposal = speakers.proposal(block, round_, [*changes, forged], None)
    as_liar, as_victim = (msgspec.structs.replace(proposal, signer=i) for i in (liar, victim))
    signed = speakers.signed(as_liar)
    return [signed, msgspec.structs.replace(as_victim, signature=signed.signature)]


def _side(chain: Chain, name: str, round_: int) -> None:
    chain.block(_commit(chain, name), built_round=round_)


def _extend(chains: Iterable[Chain], name: object, committed: int = 0) -> None:
    for chain in chains:
        chain.block(_commit(chain, name), committed_in=committed)


def _commit(chain: Chain, name: object) -> Transaction:
    return chain.transaction("shop-a", PrescriptionCommit(some_bytes("prescription", name)))


def _decide(chain: Chain, height: int, round_: int, signers: Iterable[int]) -> None:
    block = chain.blocks[-1]
    certificate = chain.certify(height, block.block.header.hash, round_, sorted(signers))
    chain.blocks[-1] = msgspec.structs.replace(block, certificate=certificate)


def _some(chance: Random, among: Iterable[int], least: int) -> list[int]:
    """Return a random quorum, or more, of these."""
    shuffled = chance.sample(sorted(among), len(list(among)))
    return shuffled[: chance.randint(least, len(shuffled))]
