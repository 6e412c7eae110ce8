"""Scenarios of one validator: what it hears, step by step, and what it does."""

import msgspec
import pytest

from consensus.core import RULES, Core, timeout_ms
from consensus.errors import (
    BadOutline,
    BadRoundChange,
    Impersonated,
    NotLeader,
    Unjustified,
    WrongHeight,
)
from consensus.evidence import Amnesia, BadProposal, CrossVote, DoubleVote
from consensus.interface import (
    Build,
    Built,
    CancelTimer,
    Expired,
    Fetch,
    Judge,
    Judged,
    Outgoing,
    Pull,
    Ready,
    Received,
    SendDecided,
    SetTimer,
    Tick,
    Work,
)
from consensus.messages import Commit, Message, Prepare, Proposal, Status
from consensus.promises import Kept, Locked, Resumed, Said
from ledger.block import Outline
from ledger.hashing import NO_HASH
from ledger.turns import Absence, Turns
from tests.consensus.committee import CHAIN_ID, HEIGHT, Committee, asked, hear, key, said

C = Committee()
ME = 0  # leads rounds 3, 7, ... of height 5; validator 1 leads round 0, 2 round 1, 3 round 2
BLOCK = C.outline(0)
ID = BLOCK.header.hash


def ok(outline: Outline = BLOCK, *, given: bool = False) -> Judged:
    return Judged(outline.header.hash, ok=True, outline=outline if given else None)


# --- the normal case ------------------------------------------------------------------------------


def test_a_height_is_decided_in_three_steps() -> None:
    core = C.core(ME)
    [asks] = hear(core, C.proposal())
    assert asks.asks == (Judge(BLOCK, 1, fresh=True),)
    [accepted] = hear(core, ok())
    assert said([accepted]) == [C.prepare(ME, ID)]
    assert accepted.promises == (Said(C.prepare(ME, ID)),)
    assert accepted.timer == SetTimer(0, 1000)
    nothing, locked = hear(core, C.prepare(1, ID), C.prepare(2, ID))
    assert nothing.messages == ()
    certificate = C.prepared(ID)
    assert locked.promises == (Locked(certificate), Said(C.commit(ME, ID)))
    assert said([locked]) == [C.commit(ME, ID)]
    _, decided = hear(core, C.commit(2, ID), C.commit(3, ID))
    assert decided.decided is not None
    assert decided.decided.certificate == C.committed(ID, 0, (0, 2, 3))
    assert decided.timer == CancelTimer()
    assert core.decision == decided.decided


def test_the_leader_builds_once_there_is_work_and_the_interval_has_passed() -> None:
    core = C.core(1)
    work, ready, again = hear(core, Work(pending=True), Ready(), Work(pending=True))
    assert (work.asks, ready.asks, again.asks) == ((), (Build(0),), ())
    assert (work.timer, ready.timer) == (None, SetTimer(0, 1000))
    [built] = hear(core, Built(BLOCK))
    assert said([built]) == [C.proposal(), C.prepare(1, ID)]
    assert built.promises == (Said(C.proposal()), Said(C.prepare(1, ID)))
    assert hear(core, Built(C.outline(0, b"another")))[0].messages == ()


def test_votes_that_come_before_the_proposal_count() -> None:
    core = C.core(ME)
    votes: list[Message] = [C.prepare(1, ID), C.prepare(2, ID)]
    votes += [C.commit(1, ID), C.commit(2, ID)]
    hear(core, *votes, C.proposal())
    [output] = hear(core, ok())
    assert said([output]) == [C.prepare(ME, ID), C.commit(ME, ID)]
    assert output.decided is not None


def test_a_block_that_is_not_valid_is_not_prepared() -> None:
    core = C.core(ME)
    assert said(hear(core, C.proposal(), Judged(ID, ok=False), Tick())) == []


def test_commits_of_any_round_decide() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), *(C.change(i, 2) for i in (1, 2, 3)))
    assert core.round == 2
    _, _, output = hear(core, *(C.commit(i, ID) for i in (1, 2, 3)))
    assert output.decided is not None


def test_a_decided_block_whose_body_is_missing_is_fetched_from_those_who_signed() -> None:
    core = C.core(ME)
    outputs = hear(core, *(C.commit(i, ID) for i in (1, 2, 3)))
    assert asked(outputs, Fetch) == [Fetch(ID, (1, 2, 3))]
    assert asked(hear(core, C.commit(1, ID)), Fetch) == []
    assert asked(hear(core, Tick()), Fetch) == [Fetch(ID, (1, 2, 3))]
    [output] = hear(core, ok(given=True))
    assert output.decided is not None


def test_a_certificate_decides_whoever_sends_it() -> None:
    core = C.core(None)
    assert asked(hear(core, C.decided(BLOCK), C.decided(BLOCK)), Fetch) == [Fetch(ID, (0, 1, 2))]
    assert hear(core, ok())[0].decided is not None


def test_an_observer_follows_and_signs_nothing() -> None:
    core = C.core(None)
    outputs = hear(core, Work(pending=True), Ready(), C.proposal(), ok())
    outputs += hear(core, *(C.change(i, 1) for i in (1, 2, 3)), Expired(HEIGHT, 1), Tick())
    assert core.round == core.wish == 1
    assert [out.messages + out.promises for out in outputs] == [()] * len(outputs)
    assert all(output.timer is None for output in outputs)
    outputs = hear(core, *(C.commit(i, ID) for i in (1, 2, 3)), ok(given=True))
    assert outputs[-1].decided is not None


def test_one_validator_alone_decides_by_itself() -> None:
    alone = Committee(1)
    core = alone.core(0)
    outline = alone.outline()
    outputs = hear(core, Work(pending=True), Ready(), Built(outline))
    assert outputs[-1].decided is not None
    assert [type(message) for message in said(outputs)] == [Proposal, Prepare, Commit]


# --- rounds ---------------------------------------------------------------------------------------


def test_a_round_that_takes_too_long_ends_in_a_wish_and_no_vote_below_it() -> None:
    core = C.core(ME)
    hear(core, Work(pending=True), Ready())
    [output] = hear(core, Expired(HEIGHT, 0))
    assert output.promises == (Said(C.change(ME, 1)),)
    assert said([output]) == [C.change(ME, 1)]
    assert output.timer == CancelTimer()
    assert (core.round, core.wish) == (0, 1)
    late = hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID), C.prepare(3, ID))
    assert said(late) == []


def test_no_commit_in_a_round_that_was_asked_to_end() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), Expired(HEIGHT, 0))
    assert said(hear(core, C.prepare(2, ID), C.prepare(3, ID))) == []
    assert core.prepared is None


@pytest.mark.parametrize("event", [Expired(HEIGHT, 1), Expired(HEIGHT + 1, 0)])
def test_the_timer_of_another_round_or_height_says_nothing(event: Expired) -> None:
    core = C.core(ME)
    hear(core, Work(pending=True), Ready())
    assert said(hear(core, event)) == []


def test_a_timer_that_was_cancelled_says_nothing() -> None:
    core = C.core(ME)
    outputs = hear(core, Work(pending=True), Ready(), Work(pending=False), Expired(HEIGHT, 0))
    assert outputs[2].timer == CancelTimer()
    assert said(outputs) == []


def test_one_wish_moves_nobody_two_are_amplified_three_begin_the_round() -> None:
    core = C.core(ME)
    one, two = hear(core, C.change(1, 4), C.change(2, 3))
    assert said([one]) == []
    assert said([two]) == [C.change(ME, 3)]
    assert core.round == 3
    assert two.timer == SetTimer(3, 8000)
    assert core.wish == 3


def test_a_faulty_validator_alone_cannot_raise_the_round() -> None:
    core = C.core(ME)
    hear(core, *(C.change(1, r) for r in range(1, 50)))
    assert (core.round, core.wish) == (0, 0)


def test_the_leader_of_a_later_round_builds_afresh_when_nobody_is_locked() -> None:
    core = C.core(ME)
    outputs = hear(core, *(C.change(i, 3) for i in (1, 2, 3)))
    assert asked(outputs, Build) == [Build(3)]
    empty = C.outline(3, empty=True)
    [output] = hear(core, Built(empty))
    # Its own wish came second, after f + 1 others: so the quorum is 0, 1 and 2.
    why = C.why(C.change(0, 3), C.change(1, 3), C.change(2, 3))
    proposal = C.proposal(3, empty, why)
    assert said([output]) == [proposal, C.prepare(ME, empty.header.hash, 3)]
    assert Said(proposal) in output.promises


def test_the_leader_proposes_again_what_is_locked_highest() -> None:
    core = C.core(ME)
    old, new = C.outline(0), C.outline(1, b"new")
    others = (1, 2, 3)
    locks = [C.prepared(old.header.hash, 0, others), C.prepared(new.header.hash, 1, others)]
    outputs = hear(core, C.change(1, 3), C.change(2, 3, locks[1]), C.change(3, 3, locks[0]))
    assert asked(outputs, Fetch) == [Fetch(new.header.hash, others)]
    [output] = hear(core, ok(new, given=True))
    proposal, prepare = said([output])
    assert isinstance(proposal, Proposal)
    assert proposal.outline == new
    assert proposal.justification is not None
    assert proposal.justification.prepared == locks[1]
    assert prepare == C.prepare(ME, new.header.hash, 3)


def test_a_lock_that_is_learnt_while_building_comes_first() -> None:
    core = C.core(ME)
    lock = C.prepared(ID, 0, (1, 2, 3))
    outputs = hear(core, C.change(1, 3), C.change(2, 3), C.change(3, 3, lock))
    assert [ask for output in outputs for ask in output.asks] == [
        *(Pull(1), Pull(2), Build(3), Pull(3)),
        Fetch(ID, (1, 2, 3)),
    ]
    assert said(hear(core, Built(C.outline(3)))) == []
    assert said(hear(core, ok(given=True)))[1] == C.prepare(ME, ID, 3)


def test_a_justified_proposal_carries_a_late_node_into_its_round() -> None:
    core = C.core(ME)
    fresh = C.outline(2, b"fresh")
    proposal = C.proposal(2, fresh, C.why(*(C.change(i, 2) for i in (1, 2, 3))))
    [ask] = hear(core, proposal)
    assert ask.asks == (Judge(fresh, 3, fresh=True),)
    [output] = hear(core, ok(fresh))
    assert (core.round, core.wish) == (2, 2)
    assert output.promises == (Kept(proposal), Said(C.prepare(ME, fresh.header.hash, 2)))
    assert output.timer == SetTimer(2, 4000)


def test_a_proposal_again_is_not_judged_on_its_time() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), Judged(ID, ok=False))
    lock = C.prepared(ID, 0, (1, 2, 3))
    changes = (C.change(1, 1), C.change(2, 1, lock), C.change(3, 1))
    [output] = hear(core, C.proposal(1, BLOCK, C.why(*changes)))
    assert output.asks == (Judge(BLOCK, 2, fresh=False),)
    assert said(hear(core, ok())) == [C.prepare(ME, ID, 1)]


def test_a_validator_tells_its_lock_and_keeps_it() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID))
    lock = core.prepared
    assert lock == C.prepared(ID)
    assert said(hear(core, Expired(HEIGHT, 0))) == [C.change(ME, 1, lock)]
    hear(core, *(C.change(i, 1) for i in (1, 2, 3)))
    assert said(hear(core, Expired(HEIGHT, 1))) == [C.change(ME, 2, lock)]


def test_the_lock_yields_to_what_a_quorum_justifies() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID))
    fresh = C.outline(1, b"fresh")
    changes = [C.change(i, 1) for i in (1, 2, 3)]
    outputs = hear(core, C.proposal(1, fresh, C.why(*changes)), ok(fresh))
    assert said(outputs) == [C.prepare(ME, fresh.header.hash, 1)]


def test_timeouts_double_and_stop_growing() -> None:
    assert [timeout_ms(r) for r in (0, 1, 2, 6, 7)] == [1000, 2000, 4000, 64_000, 64_000]
    assert timeout_ms((1 << 32) - 1) == 64_000


def test_an_empty_block_of_our_own_shell_is_not_proposed_in_round_0() -> None:
    core = C.core(1)
    outputs = hear(core, Work(pending=True), Ready(), Built(C.outline(empty=True)))
    assert isinstance(outputs[-1].refusal, BadOutline)
    assert said(outputs) == []
    assert said(hear(core, Built(BLOCK)))[0] == C.proposal()


def test_a_block_built_for_another_round_is_put_aside() -> None:
    core = C.core(1)
    assert said(hear(core, Work(pending=True), Ready(), Built(C.outline(4)))) == []


def test_work_that_vanishes_and_comes_again_is_built_again() -> None:
    core = C.core(1)
    outputs = hear(core, Work(pending=True), Ready(), Work(pending=False), Work(pending=True))
    assert asked(outputs, Build) == [Build(0), Build(0)]


def test_a_wish_at_an_idle_validator_makes_it_ask_for_the_work() -> None:
    core = C.core(ME)
    assert asked(hear(core, C.change(1, 1), C.change(1, 1)), Pull) == [Pull(1)]
    hear(core, Work(pending=True))
    assert asked(hear(core, Tick(), C.change(2, 1)), Pull) == []


def test_what_was_asked_for_in_vain_is_asked_for_again_when_the_wish_is_said_again() -> None:
    core, wish = C.core(ME), C.change(1, 1)
    hear(core, wish)
    assert not core.wants(wish)  # once between two ticks
    hear(core, Tick())
    assert core.wants(wish)
    assert asked(hear(core, wish), Pull) == [Pull(1)]
    hear(core, Tick(), Work(pending=True))
    assert not core.wants(wish)


def test_an_idle_validator_says_nothing_and_has_no_timer() -> None:
    core = C.core(ME)
    for output in hear(core, Ready(), Tick(), Work(pending=False), Tick(), Ready(), Tick()):
        assert output == type(output)()


# --- hostile input --------------------------------------------------------------------------------


def test_a_proposal_that_is_not_justified_convicts_its_leader_and_changes_nothing() -> None:
    core = C.core(ME)
    fresh = C.outline(1)
    [output] = hear(core, C.proposal(1, fresh, None))
    assert isinstance(output.refusal, Unjustified)
    [evidence] = output.evidence
    assert isinstance(evidence, BadProposal)
    assert evidence.signer == 2
    assert hear(core, C.proposal(1, fresh, None))[0].evidence == ()


def test_a_stranger_is_refused_without_evidence() -> None:
    core = C.core(ME)
    for message in (C.proposal(0, signer=9), C.prepare(9, ID)):
        [output] = hear(core, message)
        assert output.refusal is not None
        assert output.evidence == ()


def test_a_lock_that_is_not_proved_is_refused_and_convicts_nobody() -> None:
    lie = C.change(2, 2, C.prepared(ID))
    bare = C.signed(msgspec.structs.replace(lie, certificate=None))
    [output] = hear(C.core(ME), bare)
    assert isinstance(output.refusal, BadRoundChange)
    assert output.evidence == ()


def test_a_proposal_out_of_turn_is_refused_and_convicts_nobody() -> None:
    core = C.core(ME)
    [output] = hear(core, C.proposal(0, signer=(C.leader(0) + 1) % C.n))
    assert isinstance(output.refusal, NotLeader)
    assert output.evidence == ()


def test_who_is_passed_over_does_not_lead() -> None:
    leader = C.leader(0)
    turns = Turns((Absence(leader, 1, C.height + 1),))
    core = Core(ME, key(ME).sign, CHAIN_ID, C.height, C.validators, turns=turns)
    [output] = hear(core, C.proposal(0))
    assert isinstance(output.refusal, NotLeader)
    following = turns.leader(C.n, C.height, 0)
    header = C.outline().header
    header = msgspec.structs.replace(header, proposer=C.validators.members[following].member)
    outline = msgspec.structs.replace(C.outline(), header=header)
    [output] = hear(core, C.proposal(0, outline, signer=following))
    assert output.refusal is None
    assert asked([output], Judge)


def test_contradictions_are_reported_once() -> None:
    core = C.core(ME)
    other = C.outline(0, b"b").header.hash
    votes: list[Message] = [C.prepare(1, ID), C.prepare(1, other)]
    votes += [C.commit(1, other), C.change(1, 2)]
    outputs = hear(core, *votes, C.prepare(1, b"\1" * 32))
    kinds = [[type(e) for e in output.evidence] for output in outputs]
    assert kinds == [[], [DoubleVote], [CrossVote], [Amnesia], []]


def test_a_statement_embedded_in_a_certificate_is_evidence_too() -> None:
    core = C.core(ME)
    other = C.outline(0, b"b").header.hash
    lock = C.prepared(ID, 0, (1, 2, 3))
    outputs = hear(core, C.prepare(3, other), C.change(1, 1, lock))
    assert [type(e) for e in outputs[-1].evidence] == [DoubleVote]


def test_my_own_signature_that_i_never_promised_silences_me() -> None:
    core = C.core(ME)
    [output] = hear(core, C.prepare(ME, ID))
    assert isinstance(output.refusal, Impersonated)
    outputs = hear(core, C.proposal(), ok(), *(C.change(i, 1) for i in (1, 2, 3)))
    assert said(outputs) == []
    assert outputs[-1].timer is None
    outputs = hear(core, *(C.commit(i, ID) for i in (1, 2, 3)), ok(given=True))
    assert outputs[-1].decided is not None


def test_what_i_signed_before_my_operators_let_me_resume_is_no_alarm() -> None:
    lost = (C.prepare(ME, ID), C.commit(ME, ID), C.change(ME, 2), C.change(1, 1, C.prepared(ID)))
    core = C.core(ME, (Resumed(HEIGHT, 3), Said(C.change(ME, 3))))
    assert [output.refusal for output in hear(core, *lost)] == [None] * len(lost)
    outputs = hear(core, C.proposal(), ok(), C.change(1, 3), C.change(2, 3), Tick())
    assert core.round == 3
    assert C.change(ME, 3) in said(outputs)
    assert not any(isinstance(message, Prepare) for message in said(outputs))
    [output] = hear(core, C.prepare(ME, ID, 3))
    assert isinstance(output.refusal, Impersonated)


def test_my_own_signature_comes_back_unharmed() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID))
    outputs = hear(core, C.prepare(ME, ID), C.commit(ME, ID), C.change(1, 1, core.prepared))
    assert [output.refusal for output in outputs] == [None] * 3


def test_my_own_proposal_comes_back_unharmed_and_another_one_does_not() -> None:
    core = C.core(1)
    hear(core, Work(pending=True), Ready(), Built(BLOCK))
    back, foreign = hear(core, C.proposal(), C.proposal(0, C.outline(0, b"b")))
    assert back.refusal is None
    assert isinstance(foreign.refusal, Impersonated)


def test_what_an_observer_heard_lets_a_voter_go_on_where_it_stood() -> None:
    observer, after = C.core(None), Committee(4, HEIGHT + 1).prepare(2, ID)
    hear(observer, C.proposal(), C.prepare(1, ID), C.prepare(2, ID), after)
    core = C.core(ME)
    outputs = hear(core, *observer.heard, ok())
    assert {type(message) for message in said(outputs)} == {Prepare, Commit}
    assert core.future == (after,)


def test_what_i_signed_long_ago_and_forgot_is_no_alarm() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok())
    hear(core, *(C.change(i, 20) for i in (1, 2, 3)))
    [output] = hear(core, C.prepare(ME, ID))
    assert output.refusal is None


def test_what_is_of_another_chain_is_refused() -> None:
    core = C.core(ME)
    stranger = Committee(4, HEIGHT)
    header = stranger.outline().header
    foreign = Outline(
        type(header)(1, b"\7" * 32, *[getattr(header, f) for f in header.__struct_fields__[2:]]),
        None,
        (),
        stranger.outline().leaves,
    )
    [output] = hear(core, C.proposal(0, foreign))
    assert isinstance(output.refusal, WrongHeight)


def test_memory_is_bounded_whatever_is_sent() -> None:
    core = C.core(ME)
    for round_ in range(1, 300):
        for block_id in (ID, bytes(32)):
            hear(core, C.prepare(1, block_id, round_ * 1000), C.commit(1, block_id, round_))
        hear(core, C.change(1, round_ * 999))
        hear(core, Received(Committee(4, HEIGHT + 1).prepare(1, ID, round_)))
    assert len(core) < 40


def test_of_a_leader_that_proposes_much_at_once_only_the_first_block_is_kept() -> None:
    core = C.core(ME)
    hear(core, C.proposal())
    held = len(core)
    hear(core, *(C.proposal(0, C.outline(0, bytes((n,)))) for n in range(50)))
    assert len(core) <= held + 1  # besides: that it was reported


# --- other heights, and those who are late --------------------------------------------------------


def test_what_can_change_nothing_is_not_worth_a_signature_check() -> None:
    core, after = C.core(ME), Committee(4, HEIGHT + 1)
    first, second, third = (C.prepare(1, block_id) for block_id in (ID, bytes(32), b"c" * 32))
    assert core.wants(first)
    hear(core, first)
    assert not core.wants(first)
    assert core.wants(second)  # which proves a double vote
    hear(core, second)
    assert not core.wants(third)  # which proves no more
    assert core.wants(C.proposal())
    assert core.wants(after.prepare(1, ID, 1))
    hear(core, after.prepare(1, ID, 1))
    assert not core.wants(after.prepare(1, ID, 0))
    assert core.wants(after.prepare(1, ID, 2))
    assert not core.wants(Committee(4, HEIGHT + 2).prepare(1, ID))
    assert core.wants(Committee(4, HEIGHT - 1).prepare(1, ID))  # it is answered
    assert core.wants(C.core(2).status())
    assert not core.wants(after.decided(after.outline()))
    assert core.wants(C.decided(BLOCK))
    hear(core, C.decided(BLOCK, 0, (1, 2, 3)))  # the body is not known yet
    assert not core.wants(C.decided(BLOCK))


def test_the_next_height_is_kept_one_message_for_each_signer_and_kind() -> None:
    core = C.core(ME)
    after = Committee(4, HEIGHT + 1)
    low, high = after.prepare(1, ID, 1), after.prepare(1, ID, 2)
    hear(core, low, high, after.prepare(1, ID, 0), after.commit(2, ID), after.change(1, 1))
    hear(core, after.decided(after.outline()))
    assert core.future == (high, after.change(1, 1), after.commit(2, ID))


def test_what_is_further_above_is_left_to_sync() -> None:
    core = C.core(ME)
    [output] = hear(core, Committee(4, HEIGHT + 2).prepare(1, ID))
    assert output == type(output)()
    assert core.future == ()


def test_who_speaks_of_an_older_height_is_sent_its_decision_once_a_tick() -> None:
    core = C.core(ME)
    before = Committee(4, HEIGHT - 1)
    outputs = hear(core, before.prepare(2, ID), before.prepare(2, ID))
    assert asked(outputs, SendDecided) == [SendDecided(2, HEIGHT - 1)]
    assert asked(hear(core, Tick(), before.commit(2, ID)), SendDecided) != []
    assert asked(hear(core, before.decided(before.outline())), SendDecided) == []
    nameless = core.handle(Received(before.prepare(3, ID)))
    assert nameless.asks == (SendDecided(3, HEIGHT - 1),)


def test_a_status_is_answered_with_what_its_sender_lacks_and_no_more() -> None:
    core, peer = C.core(ME), C.core(2)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), C.change(3, 1))
    [output] = hear(core, Received(peer.status(), 2))
    assert {out.to for out in output.messages} == {2}
    lacking: list[Message] = [C.proposal(), C.change(3, 1), C.prepare(0, ID), C.prepare(1, ID)]
    assert [out.message for out in output.messages] == lacking
    assert hear(core, Received(peer.status(), 2))[0].messages == ()  # until the next tick
    hear(peer, *lacking)
    assert hear(core, Tick(), Received(peer.status(), 2))[-1].messages == ()


def test_the_leader_of_a_round_is_sent_the_round_changes_for_it() -> None:
    core = C.core(ME)
    changes = [C.change(i, 1) for i in (1, 2, 3)]
    hear(core, *changes)
    ahead = Status(HEIGHT, 1, 1, NO_HASH, (), (0, 1, 1, 1))
    [output] = hear(core, Received(ahead, 2))
    assert Outgoing(C.change(3, 1), 2) in output.messages
    assert hear(core, Received(ahead, 3))[0].messages == ()
    behind = Status(HEIGHT, 0, 0, NO_HASH, (), ())
    [output] = hear(core, Received(behind, 3))
    assert [out.message for out in output.messages] == [C.change(0, 1), *changes]


def test_a_status_of_another_height_or_of_nobody() -> None:
    core = C.core(ME)
    lower = Status(HEIGHT - 2, 0, 0, NO_HASH, (), ())
    higher = Status(HEIGHT + 1, 0, 0, NO_HASH, (), ())
    assert hear(core, Received(lower, -3))[0].asks == (SendDecided(-3, HEIGHT - 2),)
    for received in (Received(higher, 1), Received(lower, None)):
        assert hear(core, received)[0] == type(hear(core, received)[0])()


def test_after_the_decision_only_the_next_height_and_the_late_are_heard() -> None:
    core = C.core(ME)
    hear(core, C.decided(BLOCK, 0, (1, 2, 3)), ok())
    outputs = hear(core, C.proposal(), C.prepare(2, ID), Tick(), Expired(HEIGHT, 0))
    assert all(output == type(output)() for output in outputs)
    assert asked(hear(core, Received(C.core(2).status(), 2)), SendDecided) == [
        SendDecided(2, HEIGHT)
    ]


# --- resend and restart ---------------------------------------------------------------------------


def test_a_tick_says_again_what_was_said_before_the_last_one() -> None:
    core = C.core(ME)
    hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID))
    first, second = hear(core, Tick(), Tick())
    assert said([first]) == []
    assert said([second]) == [C.commit(ME, ID), C.prepare(ME, ID)]
    hear(core, Expired(HEIGHT, 0), *(C.change(i, 1) for i in (1, 2, 3)), Tick())
    lock = C.prepared(ID)
    assert said(hear(core, Tick())) == [C.change(ME, 1, lock), C.commit(ME, ID)]


def test_a_restart_resends_the_same_bytes_and_goes_on() -> None:
    core = C.core(ME)
    outputs = hear(core, C.proposal(), ok(), C.prepare(1, ID), C.prepare(2, ID))
    promises = tuple(promise for output in outputs for promise in output.promises)
    again = C.core(ME, promises)
    assert (again.accepted, again.prepared, again.round) == (ID, core.prepared, 0)
    judged, tick = hear(again, ok(given=True), Tick())
    assert said([tick]) == [C.commit(ME, ID), C.prepare(ME, ID)]
    assert judged.timer == SetTimer(0, 1000)
    assert hear(again, C.commit(2, ID), C.commit(3, ID))[-1].decided is not None


def test_a_restarted_leader_proposes_nothing_else() -> None:
    core = C.core(1)
    outputs = hear(core, Work(pending=True), Ready(), Built(BLOCK))
    promises = tuple(promise for output in outputs for promise in output.promises)
    again = C.core(1, promises[:1])  # the prepare was lost, and so was never sent
    outputs = hear(again, ok(given=True), Tick(), Work(pending=True), Ready(), Built(C.outline()))
    assert said(outputs) == [C.prepare(1, ID), C.proposal()]
    assert asked(outputs, Build) == []


def test_every_rule_has_its_name() -> None:
    core = C.core(ME)
    assert all(callable(getattr(core, rule)) for rule in (*RULES, "timeout", "resend"))
