"""Exports that lie, each in one way, for every verifier to name.

In most of them a whole quorum lies along: the forged header is certified by real keys, so that only
the lie itself can be found.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from contracts.calls import Call, MarkLock, encode_call
from ledger import merkle
from ledger import transaction as transactions
from ledger.block import Block, Body, CommittedBlock, Header
from ledger.certificate import CommitCertificate, Seal
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.hashing import Hash
from tests.chainmaker import Chain, some_bytes

replace = msgspec.structs.replace


@dataclass(frozen=True)
class Forgery:
    """Blocks with one lie, where it is, and what the fact is called by each verifier."""

    name: str
    blocks: list[CommittedBlock]
    height: int
    audit: str  # the field that `node.audit` names; "" where nothing is false
    recheck: str  # the field that scripts/recheck.py names; "" for what it cannot see
    forges: str = ""  # the one field of a struct that is not as it was: Header.time

    def __str__(self) -> str:
        return self.name


def forgeries(chain: Chain) -> list[Forgery]:
    """Return lies about a chain that `story` made."""
    return [
        *_structure(chain),
        *_certificates(chain),
        *_headers(chain),
        *_bodies(chain),
        *_results(chain),
        *_fields(chain),
    ]


def _structure(chain: Chain) -> list[Forgery]:
    one, two, three, *rest = chain.blocks
    return [
        Forgery("blocks swapped", [one, three, two, *rest], 2, "height", "height"),
        Forgery("a block left out", [one, three, *rest], 2, "height", "height"),
        Forgery("a block twice", [one, two, two, three, *rest], 3, "height", "height"),
        Forgery("the first block left out", [two, three, *rest], 1, "height", "height"),
    ]


def _certificates(chain: Chain) -> list[Forgery]:
    def forged(name: str, certificate: CommitCertificate, audit: str, recheck: str) -> Forgery:
        blocks = list(chain.blocks)
        blocks[3] = replace(blocks[3], certificate=certificate)
        return Forgery(name, blocks, 4, audit, recheck)

    header = chain.blocks[3].block.header
    true = chain.certify(4, header.hash, 3)
    first, second, third = true.seals
    stranger = Seal(2, first.signature)
    signers = "signers"
    return [
        forged("too few signers", replace(true, seals=(first, second)), signers, signers),
        forged("nobody signed", replace(true, seals=()), signers, signers),
        forged(
            "one signer counted twice",
            replace(true, seals=(first, second, second)),
            "seal order",
            "index of a signer",
        ),
        forged(
            "signers out of order",
            replace(true, seals=(second, first, third)),
            "seal order",
            "index of a signer",
        ),
        forged(
            "a signer who is no validator",
            replace(true, seals=(first, second, Seal(4, third.signature))),
            "signature",
            "index of a signer",
        ),
        forged(
            "a signature under another's name",
            replace(true, seals=(first, second, stranger)),
            "signature",
            "signature",
        ),
        forged("another round", replace(true, round=2), "signature", "signature"),
        forged(
            "the certificate of another height",
            chain.blocks[2].certificate,
            "height",
            "height of the certificate",
        ),
        forged(
            "a certificate of another block",
            chain.certify(4, some_bytes("other"), 3),
            "block",
            "block of the certificate",
        ),
        forged("a true certificate by others", chain.certify(4, header.hash, 0, (1, 2, 3)), "", ""),
    ]


def _headers(chain: Chain) -> list[Forgery]:
    def forged(field: str, value: object, audit: str = "", recheck: str = "") -> Forgery:
        last = chain.blocks[-1]
        header = replace(last.block.header, **{field: value})
        blocks = [*chain.blocks[:-1], _certified(chain, header, last.block.body, last.outcomes)]
        names = audit or field, recheck or field
        return Forgery(f"header: {field}", blocks, 8, *names, f"Header.{field}")

    wrong = some_bytes("wrong")
    last = chain.blocks[-1].block.header
    return [
        *(
            forged(field, wrong)
            for field in (
                "chain_id",
                "parent",
                "transactions_root",
                "log_root",
                "heads_root",
                "validators_hash",
                "next_validators_hash",
                "parent_commit_hash",
                "evidence_root",
            )
        ),
        Forgery(
            "header: state_digest",
            forged("state_digest", wrong).blocks,
            8,
            "state_digest",
            "",  # it would have to execute
            "Header.state_digest",
        ),
        forged("version", 2),
        forged("height", 9),
        forged("log_size", last.log_size + 1),
        forged("proposer", wrong[:16]),
        forged("built_round", last.built_round + 1, "proposer", "proposer"),
        forged("time", chain.blocks[-2].block.header.time - 1, "time", "time"),
        replace_name(
            "header: time, later", forged("time", last.time + 1, "expired", "valid_until")
        ),
    ]


def _bodies(chain: Chain) -> list[Forgery]:
    def forged(
        name: str, change: Callable[[Body], Body], audit: str, recheck: str, height: int = 8
    ) -> Forgery:
        blocks = list(chain.blocks[:height])
        old = blocks[-1]
        body = change(old.block.body)
        header = replace(
            old.block.header,
            transactions_root=_root(body.transactions),
            evidence_root=_root(body.evidence),
            parent_commit_hash=bytes(32) if body.parent_commit is None else body.parent_commit.hash,
        )
        blocks[-1] = _certified(chain, header, body, old.outcomes)
        return Forgery(name, blocks, height, audit, recheck)

    def with_(*raws: bytes) -> Callable[[Body], Body]:
        return lambda body: replace(body, transactions=(*body.transactions, *raws))

    recent = chain.blocks[6].block.body.transactions[0]
    good = chain.transaction("shop-b", *_calls(chain))
    strange = chain.transaction("shop-b", *_calls(chain), chain_id=some_bytes("chain"))
    unknown = chain.transaction("shop-b", *_calls(chain), key_id=bytes(8))
    late = chain.transaction("shop-b", *_calls(chain), valid_until=0)
    far = chain.transaction("shop-b", *_calls(chain), valid_for=86_401)
    nonsense = chain.transaction("shop-b", *_calls(chain), calls=(b"\x92\x0b\xc0",))
    unsigned = good.raw[:-1] + bytes((good.raw[-1] ^ 1,))
    parent = chain.certify(7, chain.blocks[6].block.header.hash, 5, (0, 2, 3))
    two_of_them = replace(parent, seals=parent.seals[:2])
    return [
        forged("no parent certificate", lambda b: replace(b, parent_commit=None), *_NO_PARENT),
        forged("parent certificate by two", lambda b: replace(b, parent_commit=two_of_them), *_FEW),
        forged(
            "a parent certificate of another block",
            lambda b: replace(b, parent_commit=chain.certify(7, some_bytes("x"))),
            "block",
            "block of the certificate",
        ),
        forged("evidence", lambda b: replace(b, evidence=(b"\xc0",)), *_EVIDENCE),
        forged("empty in round 0", lambda b: replace(b, transactions=()), *_EMPTY),
        forged("a transaction of another chain", with_(strange.raw), "wrong-chain", "chain_id"),
        forged("a transaction by an unknown key", with_(unknown.raw), "unknown-key", "key_id"),
        forged("an expired transaction", with_(late.raw), "expired", "valid_until"),
        forged("valid for too long", with_(far.raw), "too-far-ahead", "valid_until"),
        forged("a call that is none", with_(nonsense.raw), "malformed-call", "call 0"),
        forged("a bad signature", with_(unsigned), "wrong-signature", "signature"),
        forged("a transaction twice", with_(good.raw, good.raw), "already-seen", "outcomes"),
        forged("no transaction", with_(b"\x00"), "encoding", "transaction"),
        forged("a transaction of before", with_(recent), "expired", "valid_until"),
    ]


def _fields(chain: Chain) -> list[Forgery]:
    """One field after the other of what blocks hold, all else as it was: who knows, finds it."""
    old = chain.blocks[-1]
    header, body = old.block.header, old.block.body
    parent, own = body.parent_commit, old.certificate
    assert parent is not None
    seal, *others = own.seals
    outcome = old.outcomes[0]
    wire = transactions.parse(body.transactions[0])

    def named(field: str, block: CommittedBlock, audit: str, recheck: str) -> Forgery:
        blocks = [*chain.blocks[:-1], block]
        return Forgery(f"alone: {field}", blocks, 8, audit, recheck, field)

    def certificate(field: str, changed: CommitCertificate, audit: str, recheck: str) -> Forgery:
        return named(field, replace(old, certificate=changed), audit, recheck)

    def above(field: str, changed: object, audit: str, recheck: str) -> Forgery:
        """Change the certificate of the parent, and let the header say so."""
        forged = replace(parent, **{field: changed})
        block = _certified(
            chain,
            replace(header, parent_commit_hash=forged.hash),
            replace(body, parent_commit=forged),
            old.outcomes,
        )
        return replace_name(
            f"of the parent: {field}",
            named(f"CommitCertificate.{field}", block, audit, recheck),
        )

    def inside(field: str, changed: object, audit: str, recheck: str) -> Forgery:
        """Change what a transaction says under the signature that it has."""
        unsigned = encode(replace(wire.body, **{field: changed}))
        raw = encode((unsigned, wire.signature))
        forged = replace(body, transactions=(raw,))
        root = replace(header, transactions_root=_root((raw,)))
        block = _certified(chain, root, forged, old.outcomes)
        return named(f"Unsigned.{field}", block, audit, recheck)

    wrong = some_bytes("wrong")
    evidence = (chain.double_vote(1),)
    half = replace(body, parent_commit=None)
    return [
        named("Body.parent_commit", _with(old, half), "parent_commit is there", "parent_commit"),
        named("Body.evidence", _with(old, replace(body, evidence=evidence)), *_ROOT_OF_EVIDENCE),
        named(
            "Body.transactions",
            _with(old, replace(body, transactions=2 * body.transactions)),
            *_ROOT,
        ),
        certificate("CommitCertificate.height", replace(own, height=7), *_HEIGHT),
        certificate("CommitCertificate.round", replace(own, round=9), "signature", "signature"),
        certificate("CommitCertificate.block_id", replace(own, block_id=wrong), *_BLOCK),
        certificate("CommitCertificate.seals", replace(own, seals=()), "signers", "signers"),
        certificate(
            "Seal.validator",
            replace(own, seals=(*others, replace(seal, validator=3))),
            "signature",
            "signature",
        ),
        certificate(
            "Seal.signature",
            replace(own, seals=(replace(seal, signature=bytes(64)), *others)),
            "signature",
            "signature",
        ),
        above("height", 6, *_HEIGHT),
        above("round", 9, "signature", "signature"),
        above("block_id", wrong, *_BLOCK),
        above("seals", parent.seals[:2], "signers", "signers"),
        named(
            "Outcome.code",
            replace(old, outcomes=(replace(outcome, code=1),)),
            "outcome",
            "log_root",
        ),
        named(
            "Outcome.evidence",
            replace(old, outcomes=(replace(outcome, evidence=(7,)),)),
            "outcome",
            "log_root",
        ),
        named("CommittedBlock.outcomes", replace(old, outcomes=()), "outcomes", "outcomes"),
        inside("version", 2, "encoding", "transaction.version"),
        inside("chain_id", wrong, "wrong-chain", "chain_id"),
        inside("sender", wrong[:16], "unknown-sender", "sender"),
        inside("key_id", wrong[:8], "unknown-key", "key_id"),
        inside("valid_until", wire.body.valid_until - 1, "expired", "valid_until"),
        inside("nonce", wrong[:16], "wrong-signature", "signature"),
        inside("calls", (encode_call(MarkLock(wrong)),), "wrong-signature", "signature"),
    ]


_HEIGHT = ("height", "height of the certificate")
_BLOCK = ("block", "block of the certificate")
_ROOT = ("transactions_root", "transactions_root")
_ROOT_OF_EVIDENCE = ("evidence_root", "evidence_root")
_NO_PARENT = ("parent_commit is there", "parent_commit")
_FEW = ("signers", "signers")
_EVIDENCE = ("evidence", "evidence")
_EMPTY = ("nothing in a block of round 0", "body")


def _results(chain: Chain) -> list[Forgery]:
    def forged(name: str, outcomes: tuple[Outcome, ...], audit: str, recheck: str) -> Forgery:
        blocks = [*chain.blocks[:4], replace(chain.blocks[4], outcomes=outcomes)]
        return Forgery(name, blocks, 5, audit, recheck)

    *first, second = chain.blocks[4].outcomes
    return [
        forged("another refusal", (*first, Outcome(23)), "outcome", "log_root"),
        forged("applied, it says", (*first, Outcome(0)), "outcome", "log_root"),
        forged("other evidence", (*first, Outcome(second.code, (1,))), "outcome", "log_root"),
        forged("an outcome too few", tuple(first), "outcomes", "outcomes"),
        forged("an outcome too many", (*first, second, second), "outcomes", "outcomes"),
    ]


def _certified(
    chain: Chain, header: Header, body: Body, outcomes: tuple[Outcome, ...]
) -> CommittedBlock:
    certificate = chain.certify(header.height, header.hash)
    return CommittedBlock(Block(header, body), certificate, outcomes)


def _with(old: CommittedBlock, body: Body) -> CommittedBlock:
    """Put another body under a header, which no longer binds it."""
    return replace(old, block=Block(old.block.header, body))


def replace_name(name: str, forgery: Forgery) -> Forgery:
    """Return the same lie under another name."""
    return dataclasses.replace(forgery, name=name)


def _root(items: tuple[bytes, ...]) -> Hash:
    return merkle.root_of_leaves([merkle.leaf_hash(item) for item in items])


def _calls(chain: Chain) -> list[Call]:
    return [MarkLock(some_bytes("a lock", len(chain.transactions)))]
