"""Execution: what a block may hold, what it does, and that everybody computes the same."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import accusations, eras, recent, registry
from contracts.calls import (
    Call,
    ClaimAccept,
    ClaimCancel,
    Direction,
    MarkLock,
    PrescriptionCommit,
    SettlementAdd,
    SettlementAnnounce,
    SettlementOpen,
)
from contracts.commitment import sum_points
from contracts.errors import (
    AlreadyAccused,
    AlreadySeen,
    Expired,
    Inadmissible,
    KeyNotForTransactions,
    MalformedCall,
    NotDelegated,
    OverLimit,
    Refusal,
    SenderNotAdmitted,
    TooCostly,
    TooFarAhead,
    UnknownKey,
    UnknownSender,
    WrongChain,
    WrongSignature,
)
from contracts.execute import DirectSignatures, Executed, execute, require_includable
from contracts.parameters import Parameters
from contracts.registry import Member, Status
from contracts.state import Overlay
from ledger import merkle
from ledger.block import MAX_EVIDENCE, Body, Header
from ledger.certificate import CommitCertificate
from ledger.digest import StateDigest
from ledger.encoding import decode, encode
from ledger.entry import Entry, Outcome
from ledger.errors import BadSignature, Malformed, Mismatch, NotEvidence
from ledger.hashing import Hash
from ledger.heads import Head, first
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import (
    MAX_LIFETIME_S,
    MAX_TRANSACTION_BYTES,
    Transaction,
    Unsigned,
    created_id,
    sign,
)
from ledger.validators import MemberId, ValidatorSet
from tests.contracts.world import World, bytes32, judge, key_of, mark

SHOP = "shop"
COMMIT = PrescriptionCommit(bytes32("prescription"))


def changed(world: World, **changes: object) -> Transaction:
    """Return a transaction of the shop with other fields, signed as it stands."""
    body = world.transaction(SHOP, COMMIT).body
    return sign(msgspec.structs.replace(body, **changes), key_of(SHOP))


def wrong_signature(world: World) -> Transaction:
    return sign(world.transaction(SHOP, COMMIT).body, key_of("rival"))


def consensus_key(world: World) -> Transaction:
    key = key_of("insurer", Role.CONSENSUS)
    id_ = key_id(Role.CONSENSUS, Algorithm.ED25519, key.public)
    body = msgspec.structs.replace(
        world.transaction("insurer", COMMIT).body, sender=world.ids["insurer"], key_id=id_
    )
    return sign(body, key)


def key_of_another(world: World) -> Transaction:
    body = world.transaction("rival", COMMIT).body
    return sign(msgspec.structs.replace(body, sender=world.ids[SHOP]), key_of("rival"))


def suspended(world: World) -> Transaction:
    record = world.state.pairs[b"m" + world.ids["rival"]]
    after = msgspec.structs.replace(decode(record, Member), status=Status.SUSPENDED)
    world.state.pairs[b"m" + world.ids["rival"]] = encode(after)
    return world.transaction("rival", COMMIT)


def seen_before(world: World) -> Transaction:
    transaction = world.transaction(SHOP, COMMIT)
    world.block(transaction)
    return transaction


CASES: list[tuple[type[Inadmissible], Callable[[World], Transaction]]] = [
    (WrongChain, lambda world: changed(world, chain_id=bytes(32))),
    (Expired, lambda world: changed(world, valid_until=world.chain.header.time)),
    (
        TooFarAhead,
        lambda world: changed(world, valid_until=world.chain.header.time + 2 + MAX_LIFETIME_S),
    ),
    (UnknownSender, lambda world: changed(world, sender=bytes(16))),
    (SenderNotAdmitted, suspended),
    (UnknownKey, lambda world: changed(world, key_id=bytes(8))),
    (NotDelegated, key_of_another),
    (KeyNotForTransactions, consensus_key),
    (AlreadySeen, seen_before),
    (MalformedCall, lambda world: changed(world, calls=(b"\x00",))),
    (
        MalformedCall,
        lambda world: changed(world, calls=(encode((10, bytes(32))), encode((11, bytes(32))))),
    ),
    (WrongSignature, wrong_signature),
]


@pytest.mark.parametrize(("error", "make"), CASES, ids=map(str, range(len(CASES))))
def test_what_no_block_may_hold(
    error: type[Inadmissible], make: Callable[[World], Transaction]
) -> None:
    world = World()
    bad = make(world)
    time = world.chain.header.time + 1
    with pytest.raises(error):
        require_includable(bad, world.chain, time, DirectSignatures())
    with pytest.raises(error):
        world.execute([bad])
    good = world.transaction(SHOP, MarkLock(bytes(32)))
    kept = world.execute([bad, good], skip_invalid=True)
    assert kept.body.transactions == (good.raw,)
    assert [(skipped, type(reason)) for skipped, reason in kept.skipped] == [(bad, error)]
    assert kept.header == world.execute([good]).header  # it left no trace


def test_a_transaction_may_be_included_to_the_last_second() -> None:
    world = World()
    at = world.chain.header.time + 1
    for valid_until in (at, at + MAX_LIFETIME_S):
        world.execute([changed(world, valid_until=valid_until)])


def test_a_transaction_is_in_a_block_once() -> None:
    world = World()
    transaction = world.transaction(SHOP, COMMIT)
    with pytest.raises(AlreadySeen):
        world.execute([transaction, transaction])
    assert world.execute([transaction, transaction], skip_invalid=True).body.transactions == (
        transaction.raw,
    )


def test_another_signature_does_not_make_another_transaction() -> None:
    world = World()
    transaction = world.transaction(SHOP, COMMIT)
    world.block(transaction)
    forged = Transaction(
        encode((transaction.unsigned_bytes, bytes(64))),
        transaction.unsigned_bytes,
        transaction.body,
        bytes(64),
    )
    with pytest.raises(AlreadySeen):
        require_includable(forged, world.chain, world.chain.header.time, DirectSignatures())


def test_what_is_no_transaction_is_malformed() -> None:
    world = World()
    for raw in (b"", b"\x00", bytes(MAX_TRANSACTION_BYTES + 1)):
        with pytest.raises(Malformed):
            execute(
                world.chain,
                Body(None, (), (raw,)),
                time=world.chain.header.time,
                proposer=bytes(16),
                built_round=0,
                signatures=DirectSignatures(),
                judge=judge,
            )


def test_time_does_not_go_back() -> None:
    with pytest.raises(Mismatch, match="time"):
        World().execute([], after=-1)


class Refusing:
    """Knows no good signature; tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, transaction: Transaction, public: bytes) -> None:
        del transaction, public
        self.asked += 1
        raise BadSignature("anything")


def test_signatures_are_verified_by_what_is_handed_in_and_last() -> None:
    refusing = Refusing()
    for error, make in CASES[:-1]:
        world = World()
        bad, time = make(world), world.chain.header.time + 1
        with pytest.raises(error):
            require_includable(bad, world.chain, time, refusing)
    assert refusing.asked == 0
    world = World()
    good, time = world.transaction(SHOP, COMMIT), world.chain.header.time
    with pytest.raises(WrongSignature):
        require_includable(good, world.chain, time, refusing)
    assert refusing.asked == 1


# --- limits ---------------------------------------------------------------------------------------


def test_a_block_ends_before_what_would_overfill_it() -> None:
    world = World(Parameters(max_block_transactions=2))
    sent = [world.transaction(SHOP, MarkLock(bytes32(str(n)))) for n in range(3)]
    with pytest.raises(OverLimit, match="3 transactions, at most 2"):
        world.execute(sent)
    kept = world.execute(sent, skip_invalid=True)
    assert kept.body.transactions == (sent[0].raw, sent[1].raw)
    assert kept.skipped == ()  # it is good, and waits for the next block


def test_calls_bytes_and_cost_are_limited() -> None:
    calls = World(Parameters(max_block_calls=256))
    lot = [calls.transaction(SHOP, *[COMMIT] * 200) for _ in range(2)]
    with pytest.raises(OverLimit, match="400 calls"):
        calls.execute(lot)
    size = World(Parameters(max_block_bytes=1 << 16))
    lots = [size.transaction(SHOP, *[COMMIT] * 256) for _ in range(8)]
    with pytest.raises(OverLimit, match="bytes"):
        size.execute(lots)
    assert 1 < len(size.execute(lots, skip_invalid=True).body.transactions) < 8
    cost = World(Parameters(max_block_cost=1 << 14))
    settle = SettlementAdd(bytes(32), tuple(n.to_bytes(32) for n in range(256)))
    costly = [cost.transaction("insurer", *[settle] * 7) for _ in range(2)]
    with pytest.raises(OverLimit, match="units of cost"):
        cost.execute(costly)
    assert len(cost.execute(costly, skip_invalid=True).body.transactions) == 1


SMALL = World(Parameters(max_block_cost=1 << 14))


@settings(max_examples=30)
@given(lots=st.lists(st.integers(min_value=1, max_value=7), max_size=8))
def test_a_block_holds_all_that_fits_by_cost_and_no_more(lots: list[int]) -> None:
    settle = SettlementAdd(bytes(32), tuple(map(bytes32, map(str, range(256)))))
    limit = SMALL.chain.parameters.max_block_cost
    costs = [settle.cost * calls for calls in lots]
    offered = [SMALL.transaction("insurer", *[settle] * calls) for calls in lots]
    kept = SMALL.execute(offered, skip_invalid=True).body.transactions
    assert kept == tuple(each.raw for each in offered[: len(kept)])
    assert sum(costs[: len(kept)]) <= limit
    assert len(kept) == len(lots) or sum(costs[: len(kept) + 1]) > limit


def test_what_costs_more_than_any_block_may_is_never_admitted() -> None:
    world = World()
    tight = msgspec.structs.replace(world.chain.parameters, max_block_cost=10)
    chain = replace(world.chain, parameters=tight)
    transaction = world.transaction(SHOP, *[COMMIT] * 6)
    with pytest.raises(TooCostly, match="costs 12, a whole block may cost 10"):
        require_includable(transaction, chain, chain.header.time, DirectSignatures())


def test_a_largest_transaction_fits_in_the_smallest_block() -> None:
    least = Parameters(
        max_block_bytes=1 << 16,
        max_block_transactions=1,
        max_block_calls=256,
        max_block_cost=1 << 14,
    )
    assert decode(encode(least), Parameters) == least
    world = World(least)
    both = [world.submission(f"a{n}") for n in range(256)]
    largest = world.transaction(SHOP, *both)
    assert len(largest.raw) <= MAX_TRANSACTION_BYTES
    world.execute([largest])


# --- what a block does ----------------------------------------------------------------------------


def story(world: World) -> list[Executed]:
    """Make blocks in which every kind of call is applied and several are refused."""
    made = [world.block(world.transaction(SHOP, COMMIT), world.transaction("insurer", COMMIT))]
    for name in ("a", "b", "c"):
        world.submit(name)
    ids = []
    for name in ("d", "e"):
        world.prescribe(SHOP, name)
        world.lock(SHOP, mark(name))
        transaction = world.transaction(SHOP, world.submission(name))
        made.append(world.block(transaction))
        ids.append(created_id(transaction.id, 0))
    begun = world.transaction("insurer", SettlementOpen(world.ids[SHOP], Direction.PAYMENT))
    settlement = created_id(begun.id, 0)
    total = sum_points(world.submission(name).amount for name in ("d", "e"))
    made.append(
        world.block(
            *(world.transaction("insurer", ClaimAccept(id_, None)) for id_ in ids),
            world.transaction("rival", ClaimCancel(ids[0]), ClaimCancel(bytes(32))),
            begun,
            world.transaction(
                "insurer",
                SettlementAdd(settlement, tuple(ids)),
                SettlementAnnounce(settlement, total, bytes32("payment")),
            ),
            after=3,
        )
    )
    made.append(world.block(after=4_000))
    return made


def test_a_header_binds_what_the_block_did() -> None:
    world = World()
    leaves: list[Hash] = []
    heads: dict[MemberId, Head] = {}
    state = dict(world.state.pairs)
    parent = world.chain.header

    def check(executed: Executed) -> None:
        nonlocal parent
        header = executed.header
        assert (header.height, header.parent) == (parent.height + 1, parent.hash)
        raws = executed.body.transactions
        assert header.transactions_root == merkle.root_of_leaves(
            [merkle.leaf_hash(raw) for raw in raws]
        )
        for index, (entry, concerned) in enumerate(
            zip(executed.entries, executed.concerned, strict=True)
        ):
            assert (entry.height, entry.index, entry.time) == (header.height, index, header.time)
            leaf = entry.leaf()
            leaves.append(leaf)
            assert concerned[0] == entry.sender
            for member in concerned:
                before = heads.get(member)
                heads[member] = first(leaf) if before is None else before.extend(leaf)
        assert header.log_size == len(leaves)
        assert header.log_root == merkle.root_of_leaves(leaves)
        for key, value in executed.changes.items():
            assert state.get(key) != value
            if value is None:
                del state[key]
            else:
                state[key] = value
        assert header.state_digest == StateDigest().updated((), state.items()).hash
        assert dict(executed.heads.items()) == heads
        assert header.heads_root == executed.heads.root
        assert header.validators_hash == world.chain.validators.hash
        parent = header

    original = world.execute

    def checked(transactions: list[Transaction], **options: Any) -> Executed:  # noqa: ANN401
        executed = original(transactions, **options)
        check(executed)
        return executed

    world.execute = checked  # type: ignore[assignment, method-assign]
    story(world)
    assert state == world.state.pairs


def test_log_nodes_are_all_that_proofs_need() -> None:
    world = World()
    nodes: dict[tuple[int, int], Hash] = {}
    entries: list[Entry] = []
    for executed in story(world):
        entries += executed.entries
    world = World()
    entries = []
    for number in range(9):
        executed = world.block(
            *(
                world.transaction(SHOP, MarkLock(bytes32(f"{number}/{n}")))
                for n in range(number % 4)
            )
        )
        nodes |= {(level, index): hash_ for level, index, hash_ in executed.log_nodes}
        entries += executed.entries
    header = world.chain.header
    for index, entry in enumerate(entries):
        proof = merkle.inclusion_proof(index, header.log_size, lambda level, at: nodes[level, at])
        merkle.verify_inclusion(header.log_root, header.log_size, index, entry.leaf(), proof)


def test_who_judges_finds_the_header_of_who_proposed() -> None:
    world = World()
    sent = [world.transaction(SHOP, COMMIT), world.transaction("rival", COMMIT)]
    proposed = world.execute(sent, skip_invalid=True)
    judged = world.execute(sent)
    judged.verify_header(proposed.header)
    assert judged.block == proposed.block
    for field in Header.__struct_fields__:
        value = getattr(proposed.header, field)
        other = value + 1 if isinstance(value, int) else bytes(len(value) - 1) + b"\x07"
        with pytest.raises(Mismatch, match=field):
            judged.verify_header(msgspec.structs.replace(proposed.header, **{field: other}))


def test_what_was_parsed_before_does_the_same() -> None:
    world = World()
    sent = [world.transaction(SHOP, COMMIT), world.transaction("rival", COMMIT, COMMIT)]
    time = world.chain.header.time + 1
    for transaction in sent:
        require_includable(transaction, world.chain, time, DirectSignatures())
    body = Body(None, (), tuple(transaction.raw for transaction in sent))
    executed = execute(
        world.chain,
        body,
        time=time,
        proposer=world.ids["federation"],
        built_round=0,
        signatures=DirectSignatures(),
        judge=judge,
        known={transaction.raw: transaction for transaction in sent},
    )
    assert executed.header == world.execute(sent).header
    assert executed.entries == world.execute(sent).entries


def test_the_body_is_bound_to_the_header() -> None:
    world = World()
    certificate = CommitCertificate(1, 0, bytes(32), ())
    body = Body(certificate, (b"1/0/deed",), (world.transaction(SHOP, COMMIT).raw,))
    executed = execute(
        world.chain,
        body,
        time=world.chain.header.time,
        proposer=world.ids["operator"],
        built_round=3,
        signatures=DirectSignatures(),
        judge=judge,
    )
    executed.block.outline().verify()
    assert executed.header.parent_commit_hash == certificate.hash
    assert (executed.header.proposer, executed.header.built_round) == (world.ids["operator"], 3)


def test_what_evidence_proves_is_recorded_once_for_ever() -> None:
    world = World()
    executed = world.block(evidence=(b"1/2/deed", b"1/0/deed"))
    insurer, federation = (world.ids[name] for name in ("insurer", "federation"))
    assert [accusation.member for accusation in executed.accusations] == [insurer, federation]
    assert executed.entries == ()
    found = accusations.conviction(world.state, executed.accusations[1].offence)
    assert found == accusations.Conviction(federation, 1, included=1, index=1)
    for again in ((b"1/2/deed",), (b"2/1/deed", b"2/1/deed")):
        with pytest.raises(AlreadyAccused):
            world.execute((), evidence=again)
    world.block(evidence=(b"1/2/another deed",))


@pytest.mark.parametrize("data", [b"1/4/nobody", b"0/0/genesis", b"2/0/the future"])
def test_evidence_that_convicts_nobody_makes_a_block_invalid(data: bytes) -> None:
    with pytest.raises(NotEvidence):
        World().execute((), evidence=(b"1/0/deed", data))


def test_a_proposer_leaves_out_evidence_that_no_block_may_hold() -> None:
    world = World()
    world.block(evidence=(b"1/0/deed",))
    offered = [b"1/0/deed", b"9/0/ahead", *(b"2/1/%d" % i for i in range(MAX_EVIDENCE + 1))]
    executed = world.execute((), evidence=offered, skip_invalid=True)
    assert executed.body.evidence == tuple(offered[2 : 2 + MAX_EVIDENCE])
    assert len(executed.accusations) == MAX_EVIDENCE


def test_validators_take_their_turn_two_heights_after_they_are_announced() -> None:
    world = World()
    members = world.chain.validators.members
    following, later = ValidatorSet(members[:3]), ValidatorSet(members[1:])
    state = Overlay(world.state)
    eras.begin(state, 2, later)
    world.state.apply(state.changes)
    world.chain = replace(world.chain, validators=following, next_validators=later)
    header = world.block().header
    assert header.validators_hash == following.hash
    assert header.next_validators_hash == later.hash
    assert (world.chain.validators, world.chain.next_validators) == (later, later)


def test_an_empty_block_remembers_the_block_below_and_nothing_else() -> None:
    world = World()
    before = world.chain.header
    executed = world.block(after=0)
    assert (executed.entries, executed.log_nodes) == ((), [])
    assert executed.changes == {b"r" + bytes(1): bytes(8) + before.hash}
    for _ in range(40):
        world.block(after=0)
    kept = {key: value for key, value in world.state.pairs.items() if key[:1] == b"r"}
    assert len(kept) == recent.BLOCKS
    assert sorted(int.from_bytes(value[:8]) for value in kept.values()) == list(range(9, 41))


def test_an_entry_holds_the_call_as_it_was_sent() -> None:
    world = World()
    lot = world.transaction(SHOP, COMMIT, COMMIT, MarkLock(bytes(32)))
    executed = world.block(lot)
    assert [entry.call for entry in executed.entries] == list(lot.body.calls)
    assert [entry.position for entry in executed.entries] == [0, 1, 2]
    assert {entry.transaction for entry in executed.entries} == {lot.id}
    assert executed.outcomes == (
        Outcome(0),
        Outcome(Refusal.PRESCRIPTION_ALREADY_COMMITTED, (1,)),
        Outcome(0),
    )
    for entry in executed.entries:
        assert decode(encode(entry), Entry) == entry


def test_a_refused_call_changes_nothing_but_the_log() -> None:
    world = World()
    id_ = world.submit("a")
    refused: list[tuple[str, Call]] = [
        (SHOP, PrescriptionCommit(bytes32("a"))),
        ("rival", ClaimCancel(id_)),
        ("rival", world.submission("a")),
        (SHOP, world.submission("a")),
        ("insurer", ClaimAccept(id_, b"\xff" * 32)),
        ("insurer", SettlementAdd(bytes(32), (id_,))),
        ("insurer", SettlementOpen(bytes(16), Direction.PAYMENT)),
        (SHOP, ClaimAccept(id_, None)),
        ("insurer", PrescriptionCommit(bytes(32))),
    ]
    for sender, call in refused:
        executed = world.block(world.transaction(sender, call), after=0)
        assert executed.outcomes[0].code != 0
        assert [key[:1] for key in executed.changes] == [b"r", b"s"]


def test_calls_of_a_lot_see_what_came_before_them() -> None:
    world = World()
    world.lock(SHOP, mark("a"))
    lot = world.transaction(SHOP, PrescriptionCommit(bytes32("a")), world.submission("a"))
    executed = world.block(lot)
    assert [outcome.code for outcome in executed.outcomes] == [0, 0]
    assert registry.member(world.state, world.ids[SHOP]) is not None


def test_the_state_that_was_executed_on_is_not_written() -> None:
    world = World()
    before = dict(world.state.pairs)
    world.execute([world.transaction(SHOP, COMMIT)])
    assert world.state.pairs == before


def test_a_transaction_of_another_version_is_malformed() -> None:
    world = World()
    body = world.transaction(SHOP, COMMIT).body
    other = sign(
        Unsigned(2, *(getattr(body, f) for f in Unsigned.__struct_fields__[1:])), key_of(SHOP)
    )
    with pytest.raises(Malformed):
        world.execute([other])


# --- the same everywhere --------------------------------------------------------------------------

PROGRAM = """
import json
from tests.contracts.test_execute import story
from tests.contracts.world import World
world = World()
made = story(world)
print(json.dumps([world.chain.header.hash.hex(), [e.header.hash.hex() for e in made],
                  [k.hex() for e in made for k in e.changes]]))
"""


def run(seed: str) -> object:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_processes_that_hash_differently_make_the_same_chain() -> None:
    world = World()
    story(world)
    one, other = run("1"), run("4242")
    assert one == other
    assert isinstance(one, list)
    assert one[0] == world.chain.header.hash.hex()
