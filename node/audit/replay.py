"""Verify an export from genesis, executing everything again; stop at the first false fact.

Nothing in the export is believed. The genesis document is the auditor's own: from it follow the
keys, the validators, the state, and then every header. What makes a block valid is judged by the
code of the node; `scripts/recheck.py` judges the same export by other code.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from consensus.evidence import ValidatorsAt, judge
from contracts import registry, versions
from contracts.beginning import start
from contracts.errors import (
    AlreadyAccused,
    ContractsError,
    Inadmissible,
    OverLimit,
    UnknownVersion,
)
from contracts.execute import ChainState, Executed, execute
from contracts.genesis import SignedGenesis
from contracts.state import Reader
from contracts.versions import Agenda
from ledger import merkle
from ledger.block import Accusation, Body, CommittedBlock, Header, evidence_root
from ledger.certificate import (
    KIND_COMMIT,
    CommitCertificate,
    Seal,
    verify_signers,
    vote_signing_bytes,
)
from ledger.encoding import decode
from ledger.entry import Outcome
from ledger.errors import (
    LedgerError,
    Malformed,
    Mismatch,
    NotEvidence,
)
from ledger.hashing import Hash
from ledger.transaction import Transaction, parse
from ledger.validators import ValidatorSet
from node.audit.errors import FalseFact, UnknownRules
from node.audit.reading import mismatch, naming, opened
from node.audit.records import is_proposal
from node.audit.report import Activity, Progress, Report, outcome_name
from node.audit.signatures import Ahead, Job
from node.audit.state import Scratch

_AHEAD_BYTES: Final = 4 << 20  # of blocks read before the one that is executed

Show = Callable[[Progress], None]
Watch = Callable[[Executed], None]


def verify_export(
    path: Path,
    genesis: SignedGenesis,
    *,
    contains: bytes | None = None,
    workers: int | None = None,
    show: Show = lambda _: None,
) -> Report:
    """Return what the export holds if every fact in it is true; raise `FalseFact` at the first.

    Raises `UnknownRules` where the rest is under rules that this software does not know.
    `genesis` is the auditor's own. With `contains` a block of this id must be among the blocks.
    `BadGenesis` where that genesis founds no chain, OSError where the file cannot be read.
    """
    met = False

    def watch(executed: Executed) -> None:
        nonlocal met
        met = met or executed.header.hash == contains

    with replayed(path, genesis, watch=watch, workers=workers, show=show) as replay:
        last = replay.header
    if contains is not None and not met and contains != replay.beginning.hash:
        expected = f"a chain with block {contains.hex()}"
        raise FalseFact("last block", expected, last.hash, height=last.height)
    return replay.report


@contextmanager
def replayed(
    path: Path,
    genesis: SignedGenesis,
    *,
    watch: Watch = lambda _: None,
    workers: int | None = None,
    show: Show = lambda _: None,
) -> Iterator["Replay"]:
    """Give the chain of an export after its last block; `watch` is told each block, once true.

    Raises as `verify_export`.
    """
    genesis.verify()
    begun = time.monotonic()
    total = path.stat().st_size
    with path.open("rb") as file, Ahead(workers) as ahead, Replay(genesis, ahead) as replay:
        for payload, done in read_ahead(file, replay):
            watch(replay.add(payload))
            show(Progress(replay.header.height, done, total, replay.report.entries))
        replay.report.agenda = replay.agenda
        replay.report.signatures = ahead.verified + len(genesis.signatures)
        replay.report.seconds = time.monotonic() - begun
        yield replay


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A block that was read ahead, and the transactions of it that could be parsed."""

    committed: CommittedBlock
    known: dict[bytes, Transaction]  # by their bytes


class Replay:
    """A chain that is executed again, block by block; a context, in which its state is kept."""

    def __init__(self, genesis: SignedGenesis, ahead: Ahead) -> None:
        beginning = start(genesis.genesis)
        self.genesis, self.beginning = genesis, beginning.header
        self._ahead, self._state = ahead, Scratch()
        self._state.apply(beginning.changes)
        self._chain = beginning.chain(self._state)
        self._prepared: dict[bytes, _Prepared] = {}  # by what was parsed
        self._certificate: CommitCertificate | None = None  # of the last block
        self._signers = self._chain.validators  # of the last block
        members: dict[bytes, Activity] = {
            member.id: Activity(member.label) for member in genesis.genesis.members
        }
        self.report = Report(genesis.chain_id, beginning.header, members)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._state.close()

    @property
    def header(self) -> Header:
        """The header of the last block."""
        return self._chain.header

    @property
    def chain(self) -> ChainState:
        """The chain after the last block."""
        return self._chain

    @property
    def state(self) -> Reader:
        """The state after the last block."""
        return self._chain.state

    @property
    def agenda(self) -> Agenda:
        """The version of the rules in force, and the one that is to follow."""
        return versions.agenda(self._chain.state)

    @property
    def chain_id(self) -> bytes:
        """The id of the chain."""
        return self._chain.header.chain_id

    @property
    def validators(self) -> ValidatorSet:
        """Who votes on the next block."""
        return self._chain.validators

    def require_decided(self, committed: CommittedBlock) -> None:
        """Raise `FalseFact` unless a quorum decided this block on the last one, valid or not."""
        header, height = committed.block.header, self.header.height + 1
        with naming(height):
            for field, expected, found in (
                ("chain_id", self.chain_id, header.chain_id),
                ("height", height, header.height),
            ):
                if expected != found:
                    raise Mismatch(field, expected, found)
        self._verify_certificate(
            committed.certificate, header, self.validators, height, "certificate"
        )

    def prepare(self, payload: bytes) -> None:
        """Have the signatures of a later block verified ahead, as far as they can be guessed."""
        try:
            committed = decode(payload, CommittedBlock)
            prepared = self._prepared[payload] = _Prepared(committed, {})
            height = committed.block.header.height
            for raw in committed.block.body.transactions:
                transaction = prepared.known[raw] = parse(raw)
                body = transaction.body
                key = registry.transaction_key(self._chain.state, body.sender, body.key_id, height)
                self._ahead.add((key.public, transaction.signed_message, transaction.signature))
            for job in self._votes(committed.certificate, self._chain.validators):
                self._ahead.add(job)
        except (LedgerError, ContractsError, IndexError):
            return  # `add` says what is false, when all before it is known to be true

    def flush(self) -> None:
        """Let what was prepared be begun with."""
        self._ahead.flush()

    def add(self, payload: bytes) -> Executed:
        """Verify and execute the next block, and return what it did; raise `FalseFact`."""
        height, validators = self.header.height + 1, self._chain.validators
        prepared = self._prepared.pop(payload, None)
        with naming(height):
            if prepared is None:
                prepared = _Prepared(decode(payload, CommittedBlock, kind="record"), {})
            committed = prepared.committed
            header, body = committed.block.header, committed.block.body
            self._verify_place(header, body)
        executed = self._execute(header, body, prepared.known)
        verify_outcomes(executed, committed.outcomes)
        with naming(height):
            executed.verify_header(header)
        self._verify_certificate(committed.certificate, header, validators, height, "certificate")
        self._state.apply(executed.changes)
        self._chain = executed.chain(self._state)
        self._certificate, self._signers = committed.certificate, validators
        self.report.add(executed)
        return executed

    def _verify_place(self, header: Header, body: Body) -> None:
        """Raise unless this can be the next block, whatever it does."""
        chain, height = self._chain, self.header.height + 1
        leader = chain.turns.leader(len(chain.validators), height, header.built_round)
        for field, expected, found in (
            ("chain_id", chain.header.chain_id, header.chain_id),
            ("height", height, header.height),
            ("parent", chain.header.hash, header.parent),
            ("validators_hash", chain.validators.hash, header.validators_hash),
            ("next_validators_hash", chain.next_validators.hash, header.next_validators_hash),
            ("proposer", chain.validators.members[leader].member, header.proposer),
            ("parent_commit is there", height > 1, body.parent_commit is not None),
            ("nothing in a block of round 0", False, header.built_round == 0 and body.is_empty()),
            ("transactions_root", _root(body.transactions), header.transactions_root),
            ("evidence_root", evidence_root(body.evidence), header.evidence_root),
        ):
            if expected != found:
                raise Mismatch(field, expected, found)
        if body.parent_commit is not None and body.parent_commit != self._certificate:
            self._verify_certificate(
                body.parent_commit, chain.header, self._signers, height, "certificate of the parent"
            )

    def _execute(self, header: Header, body: Body, known: Mapping[bytes, Transaction]) -> Executed:
        before, pieces = self._ahead.verified, 0

        def judge_next(data: bytes, chain_id: bytes, validators_at: ValidatorsAt) -> Accusation:
            nonlocal pieces
            pieces += 1
            return judge(data, chain_id, validators_at)

        try:
            return execute(
                self._chain,
                body,
                time=header.time,
                proposer=header.proposer,
                built_round=header.built_round,
                signatures=self._ahead,
                judge=judge_next,
                known=known,
            )
        except UnknownVersion as error:
            last = self.header.height
            raise UnknownRules(error.version, error.height, error.known, last) from None
        except Mismatch as error:
            raise mismatch(error, header.height) from None
        except (NotEvidence, AlreadyAccused) as error:
            raise FalseFact(
                "evidence", "what convicts of what is not recorded", error, height=header.height,
                place=f"piece {pieces - 1}",
            ) from None  # fmt: skip
        except (Inadmissible, Malformed) as error:
            field = error.code if isinstance(error, Inadmissible) else "encoding"
            # The signature is what is judged last, so those verified count the good ones.
            number = self._ahead.verified - before - isinstance(error, OverLimit)
            raise FalseFact(
                field, "one that this block may hold", error, height=header.height,
                transaction=number,
            ) from None  # fmt: skip

    def _verify_certificate(
        self,
        certificate: CommitCertificate,
        header: Header,
        validators: ValidatorSet,
        height: int,
        place: str,
    ) -> None:
        """Raise `FalseFact` unless a quorum of `validators` committed the block of `header`."""
        with naming(height, place):
            for field, expected, found in (
                ("height", header.height, certificate.height),
                ("block", header.hash, certificate.block_id),
            ):
                if expected != found:
                    raise Mismatch(field, expected, found)
            verify_signers(certificate.seals, validators)
            jobs = self._votes(certificate, validators)
            for seal, job in zip(certificate.seals, jobs, strict=True):
                self._ahead.verify_job(job, what=f"validator {seal.validator}")

    def _votes(self, certificate: CommitCertificate, validators: ValidatorSet) -> Iterator[Job]:
        """Yield what each validator signed; raise IndexError where there is none."""
        message = vote_signing_bytes(
            KIND_COMMIT,
            self.header.chain_id,
            certificate.height,
            certificate.round,
            certificate.block_id,
        )
        for seal in certificate.seals:
            yield _key_of(seal, validators), message, seal.signature


def _key_of(seal: Seal, validators: ValidatorSet) -> bytes:
    return validators.members[seal.validator].consensus_key


def _root(transactions: tuple[bytes, ...]) -> Hash:
    return merkle.root_of_leaves([merkle.leaf_hash(raw) for raw in transactions])


def verify_outcomes(executed: Executed, found: tuple[Outcome, ...]) -> None:
    """Raise `FalseFact` unless the block says of each call what became of it."""
    height, number = executed.header.height, -1
    for entry, outcome in zip(executed.entries, found, strict=False):
        number += entry.position == 0
        if outcome != entry.outcome:
            raise FalseFact(
                "outcome", outcome_name(entry.outcome), outcome_name(outcome), height=height,
                transaction=number, call=entry.position,
            )  # fmt: skip
    if len(executed.entries) != len(found):
        raise FalseFact("outcomes", len(executed.entries), len(found), height=height)


def read_ahead(file: BinaryIO, replay: Replay) -> Iterator[tuple[bytes, int]]:
    """Yield blocks and where in the file they end, each some time after `replay` prepared it."""
    records = opened(file, replay.genesis)
    waiting: deque[tuple[bytes, int]] = deque()
    held = 0
    failure: FalseFact | None = None
    while True:
        while failure is None and held < _AHEAD_BYTES:
            try:
                with naming(replay.header.height + len(waiting) + 1):
                    payload = next(records, None)
            except FalseFact as fact:
                failure = fact  # to be told when all before it is known to be true
                break
            if payload is None:
                break
            if is_proposal(payload):
                continue  # no fact of the chain: it counts when a fork is judged, if it is true
            replay.prepare(payload)
            waiting.append((payload, records.offset))
            held += len(payload)
        replay.flush()
        if not waiting:
            break
        payload, end = waiting.popleft()
        held -= len(payload)
        yield payload, end
    if failure is not None:
        raise failure
    replay.report.export_bytes, replay.report.export_digest = records.offset, records.digest
