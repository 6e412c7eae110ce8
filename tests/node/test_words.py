"""An explanation in words: short sentences, for the part that the reader has."""

from typing import Final

import click
import msgspec
import pytest

from contracts.dispatch import LIVES
from ledger.transaction import created_id
from node.cli.main import main
from node.client.client import CallOutcome
from node.client.explanations import EventView, ExplanationView, MarksView, StepView
from node.client.refusals import moment
from node.client.words import DEEDS, FOR_OTHERS, tell

SHOP, PAYER = "aa" * 16, "bb" * 16
DAY: Final = 1_790_000_000
APPLIED: Final = CallOutcome(0, "APPLIED")


def label_of(member: bytes) -> str:
    return {SHOP: "shop-1", PAYER: "insurer-a"}[member.hex()]


def view(*steps: StepView, history: tuple[EventView, ...] = ()) -> ExplanationView:
    return ExplanationView(
        "claim", "0" * 64, DAY, "accepted", {"submitter": SHOP, "payer": PAYER}, history, steps
    )


def event(call: str, sender: str, outcome: CallOutcome = APPLIED, **says: str | bool) -> EventView:
    return EventView(call, sender, 1, DAY, "1" * 64, 0, says, (), outcome)


def step(call: str, member: str = PAYER, after: str = "batched", **more: object) -> StepView:
    made = StepView(call, "payer", member, after, "open", overdue=False)
    return msgspec.structs.replace(made, **more)


def sentences(what: ExplanationView, reader: str = SHOP) -> list[str]:
    return [each.sentence for each in tell(what, bytes.fromhex(reader), label_of, "F-1").next]


def past(*history: EventView, reader: str = SHOP) -> list[str]:
    made = created_id(bytes.fromhex("1" * 64), 0).hex()
    told = tell(
        msgspec.structs.replace(view(history=history), id=made),
        bytes.fromhex(reader),
        label_of,
        "F-1",
    )
    return [said for _, said in told.past]


def test_the_reader_is_you_and_the_others_have_their_labels() -> None:
    events = (event("ClaimSubmit", SHOP), event("ClaimAccept", PAYER))
    assert past(*events) == ["you submitted it", "insurer-a accepted it"]
    assert past(*events, reader=PAYER) == ["shop-1 submitted it", "you accepted it"]


def test_what_another_claim_does_to_this_one_is_told_so() -> None:
    told = tell(view(history=(event("ClaimSubmit", SHOP),)), bytes.fromhex(SHOP), label_of, "F-1")
    assert [said for _, said in told.past] == ["you submitted another in its place"]


def test_what_a_decision_says_of_a_closed_list_is_told() -> None:
    rejected = event("ClaimReject", PAYER, reason="rights_closed", automatic=True)
    assert past(rejected) == ["insurer-a rejected it: rights closed, decided by a machine"]
    by_hand = event("ClaimReject", PAYER, reason="other", automatic=False)
    assert past(by_hand) == ["insurer-a rejected it: other"]
    part = msgspec.structs.replace(event("ClaimAccept", PAYER), gives=("claim", "amount"))
    assert past(part) == ["insurer-a accepted it in part"]


def test_a_refused_call_says_why() -> None:
    outcome = CallOutcome(23, "MARK_ALREADY_USED", (), "A live claim uses this mark already.")
    (said,) = past(event("ClaimSubmit", SHOP, outcome))
    assert said.endswith("claimed already, here or in another shop (MARK_ALREADY_USED)")


def test_what_must_be_done_comes_first_then_what_is_ours_and_has_a_command() -> None:
    told = tell(
        view(
            step("ClaimDispute", PAYER, "disputed"),
            step("ClaimCancel", SHOP, "cancelled"),
            step("ClaimReject", SHOP, "rejected", phase="over", closes=DAY),
            step("ClaimAccept", due=DAY),
        ),
        bytes.fromhex(SHOP),
        label_of,
        "F-1",
    )
    assert told.headline == "claim F-1: accepted"
    assert [(each.sentence, each.commands) for each in told.next] == [
        (f"insurer-a must accept it before {moment(DAY)}", ()),
        ("you may cancel it; then its marks are free", ("depoli claim cancel F-1",)),
        ("insurer-a may dispute it", ()),
        (f"you could reject it until {moment(DAY)}, and no more", ()),
    ]


def test_the_times_of_a_step_are_said() -> None:
    assert sentences(view(step("ClaimDispute", SHOP, "disputed", closes=DAY))) == [
        f"you may dispute it, until {moment(DAY)}"
    ]
    later = step("ClaimDispute", SHOP, "disputed", phase="not_yet", opens=DAY, closes=DAY + 1)
    assert sentences(view(later)) == [
        f"from {moment(DAY)} on you may dispute it, until {moment(DAY + 1)}"
    ]
    late = step("ClaimClose", PAYER, "closed", due=DAY, overdue=True)
    assert sentences(view(late)) == [f"insurer-a must close it, and had to before {moment(DAY)}"]


def test_steps_of_one_call_are_one_sentence_with_what_may_come_of_it() -> None:
    two = (step("ClaimWithdraw", PAYER, "settled"), step("ClaimWithdraw", PAYER, "paid"))
    assert sentences(view(*two)) == [
        "insurer-a may withdraw that; then it is as it was before",
    ]


def test_of_what_one_must_do_the_choices_are_one_sentence_with_a_command_each() -> None:
    what = view(
        step("ClaimConcede", SHOP, "reversed", due=DAY),
        step("ClaimDispute", SHOP, "recovery_disputed", due=DAY, guards=("ground_is_recovery",)),
    )
    (only,) = tell(what, bytes.fromhex(SHOP), label_of, "F-1").next
    assert only.sentence == (
        f"you must agree to repay it, or dispute it (recovery), before {moment(DAY)}"
    )
    assert only.commands == (
        "depoli claim concede F-1",
        "depoli claim dispute F-1 --ground recovery",
    )


def test_what_a_machine_decided_is_answered_with_a_persons_key() -> None:
    asked = step("ClaimOverturn", SHOP, "accepted", due=DAY, guards=("person_answers",))
    by_hand = view(asked)
    for what, command in (
        (by_hand, "depoli claim overturn F-1"),
        (msgspec.structs.replace(by_hand, automatic=True), "depoli claim overturn F-1 --human"),
        (
            view(msgspec.structs.replace(asked, guards=("another_person_answers",))),
            "depoli claim overturn F-1 --human",
        ),
    ):
        (only,) = tell(what, bytes.fromhex(SHOP), label_of, "F-1").next
        assert only.commands == (command,)


def test_what_was_disputed_before_is_not_offered_again() -> None:
    dispute = step("ClaimDispute", SHOP, "amount_disputed", condition="disputes_amount")
    assert len(sentences(view(dispute))) == 1
    assert sentences(msgspec.structs.replace(view(dispute), disputed=("amount",))) == []


def test_a_thing_that_never_came_to_be_was_refused() -> None:
    nothing = msgspec.structs.replace(view(), state=None, parties={})
    assert tell(nothing, bytes.fromhex(SHOP), label_of, "F-1").headline == "claim F-1: was refused"


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (None, ""),
        (MarksView(held=False), "it holds no mark"),
        (MarksView(held=True), "its marks are held: nobody else"),
        (MarksView(held=True, until=DAY), f"its marks are held until {moment(DAY)}: nobody else"),
    ],
)
def test_whether_a_thing_holds_its_marks_is_said(marks: MarksView | None, said: str) -> None:
    told = tell(msgspec.structs.replace(view(), marks=marks), bytes.fromhex(SHOP), label_of, "F-1")
    assert told.marks.startswith(said)
    assert bool(told.marks) == bool(said)


def test_a_nodes_words_are_names_and_write_over_no_terminal() -> None:
    said = msgspec.json.encode(view(step("ClaimAccept")))
    assert msgspec.json.decode(said, type=ExplanationView).steps[0].call == "ClaimAccept"
    for bad in (rb"\u001b[2J", b"x" * 65, b""):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(said.replace(b"ClaimAccept", bad), type=ExplanationView)


def test_every_call_of_every_life_has_words() -> None:
    wanted = {call.__name__ for life in LIVES for call in life.calls}
    assert wanted - DEEDS.keys() == set()


@pytest.mark.parametrize(
    "command",
    sorted({deed.command for deed in (*DEEDS.values(), *FOR_OTHERS.values())} - {""}),
)
def test_every_command_that_is_named_can_be_typed_so(command: str) -> None:
    _, noun, verb, *words = command.format(name="F-1", id="0" * 64).replace("yes|no", "yes").split()
    group = main.get_command(click.Context(main), noun)
    assert isinstance(group, click.Group), noun
    found = group.get_command(click.Context(group), verb)
    assert found is not None, command
    found.make_context(verb, words)  # raises where an argument lacks, or is one too many


def test_what_a_guard_refuses_for_good_is_not_offered() -> None:
    review = view(step("AuthorisationReview", SHOP, "under_review"))
    assert sentences(review) == []  # a person refused it
    assert len(sentences(msgspec.structs.replace(review, automatic=True))) == 1
    ask = step("AuthorisationAsk", PAYER, "info_requested")
    asked = (event("AuthorisationAsk", PAYER), event("AuthorisationAsk", PAYER))
    again = CallOutcome(103, "TOO_MANY_QUESTIONS")
    assert len(sentences(view(ask, history=asked[:1]))) == 1
    refused = event("AuthorisationAsk", PAYER, again)
    assert len(sentences(view(ask, history=(*asked[:1], refused)))) == 1
    assert sentences(view(ask, history=asked)) == []


def test_a_claim_in_a_settlement_waits_for_what_becomes_of_that() -> None:
    remove = step("SettlementRemove", PAYER, "accepted")
    what = msgspec.structs.replace(
        view(remove, history=(event("SettlementAdd", PAYER),)),
        state="batched",
        settlement="5" * 64,
    )
    waits, takes_out = tell(what, bytes.fromhex(SHOP), label_of, "F-1").next
    assert waits.commands == (f"depoli explain settlement {'5' * 64}",)
    assert takes_out.sentence.startswith("insurer-a may take it out of the settlement")
    announced = (event("SettlementAdd", PAYER), event("SettlementAnnounce", PAYER))
    what = msgspec.structs.replace(what, history=announced)
    assert sentences(what) == [waits.sentence]  # it is not open any more


def test_what_is_reversed_is_settled_the_other_way_round() -> None:
    settle = step("SettlementAdd", SHOP, "repaying", due=DAY)
    what = msgspec.structs.replace(view(settle), state="reversed")
    (only,) = tell(what, bytes.fromhex(SHOP), label_of, "F-1").next
    assert only.commands[0].endswith(" --repayment")


def test_a_refused_dispute_says_on_which_ground() -> None:
    outcome = CallOutcome(132, "DISPUTED_BEFORE", (), "")
    (said,) = past(event("ClaimDispute", SHOP, outcome, ground="amount"))
    assert said.startswith("you tried to dispute it (amount): ")
