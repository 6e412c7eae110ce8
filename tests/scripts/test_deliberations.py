"""What was voted: the second opinion follows it, and names every lie of a quorum about it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from consensus.evidence import judge
from contracts import registry
from contracts.calls import Call, PrescriptionCommit, SetParameters, SuspendMember, Vote, Withdraw
from contracts.execute import DirectSignatures, execute
from contracts.genesis_json import signed_json
from contracts.governance import MAX_AHEAD_BLOCKS, State
from contracts.parameters import Parameters
from contracts.registry import Family
from contracts.state import Overlay
from ledger.block import Body, CommittedBlock
from ledger.entry import APPLIED, Outcome
from node.audit.errors import FalseFact
from node.audit.replay import verify_export
from tests.chainmaker import Chain, deliberation, export_of, found, member_of, some_bytes, table_of
from tests.forgeries import Forgery
from tests.scripts.test_recheck import check, recheck

CHAIN = deliberation()


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    path.write_text(signed_json(CHAIN.genesis))
    return path


def test_a_chain_of_votes_is_accepted_by_both(genesis: Path, tmp_path: Path) -> None:
    path = tmp_path / "e"
    told = check(path, export_of(CHAIN.genesis, CHAIN.blocks), genesis)
    assert told["header"] == CHAIN.state.header.hash
    assert verify_export(path, CHAIN.genesis, workers=1).header == CHAIN.state.header


@pytest.mark.parametrize("agree", [3, 4])
def test_both_count_families_and_thresholds_alike(agree: int, tmp_path: Path) -> None:
    """Three opticians of five are a majority, and one family; four are a quorum."""
    founders = [(f"optician-{n}", Family.OPTICIAN) for n in range(3)]
    founders += [("insurer-a", Family.INSURER), ("operator", Family.OPERATOR)]
    chain = Chain(found(founders))
    member, table = SuspendMember(member_of("shop-a")), table_of("one")
    made = [chain.propose("operator", subject) for subject in (member, table)]
    labels = [label for label, _ in founders][:agree]
    for label in labels:
        chain.block(chain.transaction(label, *(Vote(each, agrees=True) for each in made)))
    last = [outcome.evidence for outcome in chain.blocks[-1].outcomes]
    passed, waits = State.PASSED, State.OPEN
    assert (
        last
        == {
            3: [(waits, 3, 3), (waits, 3, 4)],
            4: [(passed, 4, 3), (passed, 4, 4)],
        }[agree]
    )
    genesis = tmp_path / "g"
    genesis.write_text(signed_json(chain.genesis))
    check(tmp_path / "e", export_of(chain.genesis, chain.blocks), genesis)


def test_both_leave_enough_who_can_decide(tmp_path: Path) -> None:
    chain = few()
    for label in ("insurer-b", "operator"):  # what another proposed is in nobody's way
        chain.block(chain.transaction(label, chain.proposing(table_of("by who was not"))))
        assert chain.blocks[-1].outcomes == (Outcome(APPLIED),)
    genesis = tmp_path / "g"
    genesis.write_text(signed_json(chain.genesis))
    check(tmp_path / "e", export_of(chain.genesis, chain.blocks), genesis)


def few() -> Chain:
    """Return a chain of four validators that voted to suspend two: only one of them is."""
    chain = Chain(CHAIN.genesis)
    chain.enact(SuspendMember(member_of("insurer-a")), SuspendMember(member_of("insurer-b")))
    return chain


def says(chain: Chain, name: str, sender: str, call: Call, *evidence: int) -> Forgery:
    """Let a quorum say that a call was applied, and what its entry says."""
    last = chain.state
    leader = last.turns.leader(len(last.validators), last.header.height + 1, 0)
    executed = execute(
        last,
        Body(chain.blocks[-1].certificate, (), (chain.transaction(sender, call).raw,)),
        time=last.header.time + 1,
        proposer=last.validators.members[leader].member,
        built_round=0,
        signatures=DirectSignatures(),
        judge=judge,
    )
    lie = Outcome(APPLIED, evidence)
    assert executed.outcomes != (lie,)
    certificate = chain.certify(executed.header.height, executed.header.hash)
    blocks = [*chain.blocks, CommittedBlock(executed.block, certificate, (lie,))]
    is_refused = executed.outcomes[0].code != APPLIED
    field = "outcome" if is_refused else "evidence of an applied call"
    return Forgery(name, blocks, executed.header.height, "outcome", field)


def lies() -> Iterator[Forgery]:
    chain, able = Chain(CHAIN.genesis), few()
    shop = member_of("shop-a")
    open_ = chain.propose("operator", SuspendMember(shop))
    closed = chain.propose("operator", table_of("one"))
    chain.block(chain.transaction("operator", Withdraw(closed)))
    chain.block(chain.transaction("operator", Vote(open_, agrees=True)))

    def lie(name: str, sender: str, call: Call, *evidence: int) -> Forgery:
        return says(chain, name, sender, call, *evidence)

    passed, agrees = (State.PASSED, 3, 3), Vote(open_, agrees=True)
    good = chain.proposing(table_of("two"))
    replace, time = msgspec.structs.replace, chain.state.header.time
    soon = chain.state.header.height + 2
    yield lie("it has passed", "federation", agrees, State.PASSED, 2, 3)
    yield lie("more agree", "federation", agrees, State.OPEN, 3, 3)
    yield lie("fewer must", "federation", agrees, State.OPEN, 2, 2)
    yield lie("a vote says nothing", "federation", agrees)
    yield lie("a vote twice", "operator", agrees, *passed)
    yield lie("another vote of the same", "operator", Vote(open_, agrees=False), State.OPEN, 0, 3)
    yield lie("an outsider votes", "shop-a", agrees, *passed)
    yield lie("a vote on nothing", "operator", Vote(bytes(32), agrees=True), *passed)
    yield lie("a vote on what is closed", "operator", Vote(closed, agrees=True), *passed)
    yield lie("an outsider proposes", "shop-a", good)
    yield lie("a deadline that is over", "operator", replace(good, deadline=time))
    yield lie("a deadline far off", "operator", replace(good, deadline=time + 91 * 86_400))
    yield lie("no notice", "operator", replace(good, effect=soon))
    yield lie("never", "operator", replace(good, effect=soon + MAX_AHEAD_BLOCKS))
    yield lie("the same once more", "operator", chain.proposing(SuspendMember(shop)))
    yield lie("what is so", "operator", chain.proposing(SetParameters(Parameters())))
    yield lie("a stranger", "operator", chain.proposing(SuspendMember(bytes(16))))
    needed = able.proposing(SuspendMember(member_of("insurer-b")))
    yield says(able, "who is needed is suspended", "operator", needed)
    yield lie("another withdraws", "insurer-a", Withdraw(open_))
    yield lie("withdrawn twice", "operator", Withdraw(closed))
    for number in range(8):
        chain.propose("operator", table_of(f"many {number}"), effect=99)
    yield lie("too many of one", "operator", chain.proposing(table_of("many")))
    chain.block(chain.transaction("federation", agrees))
    yield lie("after the deadline of notice", "insurer-a", agrees, *passed)
    suspended = Chain(CHAIN.genesis)
    suspended.enact(SuspendMember(shop))
    overlay = Overlay(suspended.memory)
    registry.reinstate(overlay, shop, 1)
    suspended.memory.apply(overlay.changes)
    suspended.block(
        suspended.transaction("shop-a", PrescriptionCommit(some_bytes("a suspended one's")))
    )
    height = suspended.state.header.height
    yield Forgery("who is suspended sends", suspended.blocks, height, "", "sender")
    limited = Chain(CHAIN.genesis)
    limited.enact(SetParameters(Parameters(max_block_transactions=1)))
    limited.state = dataclasses.replace(limited.state, parameters=Parameters())
    commits = [PrescriptionCommit(some_bytes(name)) for name in ("one", "two")]
    limited.block(*(limited.transaction("shop-a", each) for each in commits))
    height = limited.state.header.height
    yield Forgery("a block of two", limited.blocks, height, "", "max_block_transactions")


LIES = list(lies())


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_lie_about_a_vote_is_named_by_both(lie: Forgery, genesis: Path, tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, lie.blocks)
    with pytest.raises(recheck.FalseFact) as second:
        check(tmp_path / "e", content, genesis)
    assert (second.value.field, second.value.height) == (lie.recheck, lie.height)
    with pytest.raises(FalseFact) as first:
        verify_export(tmp_path / "e", CHAIN.genesis, workers=1)
    assert first.value.height == lie.height
