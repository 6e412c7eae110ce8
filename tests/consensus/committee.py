"""Validators with real keys, and everything that they may say; for the tests of agreement."""

from functools import cache
from hashlib import sha256
from typing import TypeVar

import msgspec

from consensus.core import Core
from consensus.interface import Ask, Event, Output, Received
from consensus.justify import Context
from consensus.messages import (
    UNPREPARED,
    Commit,
    Decided,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    Proposal,
    RoundChange,
    signing_bytes,
)
from consensus.promises import Promise
from ledger.block import Header, Outline, evidence_root, parent_commit_hash
from ledger.certificate import CommitCertificate, Seal
from ledger.hashing import NO_HASH, Hash
from ledger.keys import SigningKey
from ledger.merkle import root_of_leaves
from ledger.validators import Validator, ValidatorSet

CHAIN_ID = sha256(b"a chain").digest()
HEIGHT = 5
M = TypeVar("M", Proposal, Prepare, Commit, RoundChange)
A = TypeVar("A", bound=Ask)


@cache
def key(index: int) -> SigningKey:
    return SigningKey(sha256(b"validator %d" % index).digest())


class Committee:
    """n validators at one height. Rounds are led in turn: `leader(r)` is an index."""

    def __init__(self, n: int = 4, height: int = HEIGHT) -> None:
        self.n, self.height = n, height
        self.validators = ValidatorSet(
            tuple(
                Validator(
                    sha256(b"%d" % i).digest()[:16],
                    key(i).public,
                    sha256(b"checkpoint %d" % i).digest(),
                    sha256(b"node %d" % i).digest(),
                )
                for i in range(n)
            )
        )
        self.context = Context(CHAIN_ID, height, self.validators)
        self.quorum = self.validators.quorum

    def leader(self, round_: int) -> int:
        return self.context.leader(round_)

    def core(self, me: int | None, promises: tuple[Promise, ...] = ()) -> Core:
        sign = None if me is None else key(me).sign
        return Core(me, sign, CHAIN_ID, self.height, self.validators, promises)

    # --- what they say ------------------------------------------------------------------------

    def signed(self, message: M, *, by: int | None = None) -> M:
        signer = message.signer if by is None else by
        signature = key(signer).sign(signing_bytes(message, CHAIN_ID))
        return msgspec.structs.replace(message, signature=signature)

    def outline(self, round_: int = 0, tag: bytes = b"a", *, empty: bool = False) -> Outline:
        leaves = () if empty else (sha256(tag).digest(),)
        header = Header(
            1,
            CHAIN_ID,
            self.height,
            1_700_000_000,
            sha256(b"parent").digest(),
            root_of_leaves([Hash(leaf) for leaf in leaves]),
            7,
            sha256(tag).digest(),
            NO_HASH,
            NO_HASH,
            self.validators.hash,
            self.validators.hash,
            self.validators.members[self.leader(round_)].member,
            round_,
            parent_commit_hash(None),
            evidence_root(()),
        )
        return Outline(header, None, (), leaves)

    def proposal(
        self,
        round_: int = 0,
        outline: Outline | None = None,
        why: Justification | None = None,
        signer: int | None = None,
    ) -> Proposal:
        signer = self.leader(round_) if signer is None else signer
        outline = self.outline(round_) if outline is None else outline
        return self.signed(Proposal(round_, outline, why, signer, bytes(64)))

    def prepare(self, signer: int, block_id: bytes, round_: int = 0) -> Prepare:
        return self.signed(Prepare(self.height, round_, block_id, signer, bytes(64)))

    def commit(self, signer: int, block_id: bytes, round_: int = 0) -> Commit:
        return self.signed(Commit(self.height, round_, block_id, signer, bytes(64)))

    def change(
        self, signer: int, round_: int, lock: PreparedCertificate | None = None
    ) -> RoundChange:
        prepared = (UNPREPARED, NO_HASH) if lock is None else (lock.round, lock.block_id)
        return self.signed(RoundChange(self.height, round_, *prepared, lock, signer, bytes(64)))

    def prepared(
        self, block_id: bytes, round_: int = 0, signers: tuple[int, ...] | None = None
    ) -> PreparedCertificate:
        chosen = range(self.quorum) if signers is None else signers
        seals = tuple(Seal(i, self.prepare(i, block_id, round_).signature) for i in chosen)
        return PreparedCertificate(self.height, round_, block_id, seals)

    def committed(
        self, block_id: bytes, round_: int = 0, signers: tuple[int, ...] | None = None
    ) -> CommitCertificate:
        chosen = range(self.quorum) if signers is None else signers
        seals = tuple(Seal(i, self.commit(i, block_id, round_).signature) for i in chosen)
        return CommitCertificate(self.height, round_, block_id, seals)

    def decided(
        self, outline: Outline, round_: int = 0, signers: tuple[int, ...] | None = None
    ) -> Decided:
        return Decided(outline.header, self.committed(outline.header.hash, round_, signers))

    def why(self, *changes: RoundChange) -> Justification:
        """Return the justification that an honest leader makes of these."""
        bare = tuple(c.bare() for c in sorted(changes, key=lambda c: c.signer))
        top = max(changes, key=lambda c: c.prepared_round)
        return Justification(bare, top.certificate)


def hear(core: Core, *events: Event | Message) -> list[Output]:
    """Hand in events, or messages as if a peer sent them, and return every output."""
    return [
        core.handle(e if not isinstance(e, Message) else Received(e, getattr(e, "signer", 0)))
        for e in events
    ]


def said(outputs: list[Output]) -> list[Message]:
    """Return what these outputs broadcast."""
    return [out.message for output in outputs for out in output.messages if out.to is None]


def asked(outputs: list[Output], kind: type[A]) -> list[A]:
    return [ask for output in outputs for ask in output.asks if isinstance(ask, kind)]
