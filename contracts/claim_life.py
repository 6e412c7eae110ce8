"""The life of a claim, as a table: what may become of it, by whose call, until when."""

from typing import Final

from contracts.calls import (
    ClaimAbandon,
    ClaimAccept,
    ClaimCancel,
    ClaimClose,
    ClaimConcede,
    ClaimDispute,
    ClaimOverturn,
    ClaimRecover,
    ClaimReject,
    ClaimReverse,
    ClaimSubmit,
    ClaimSupersede,
    ClaimUphold,
    ClaimWithdraw,
    SettlementAdd,
    SettlementRemove,
)
from contracts.claim import (
    PREFIX,
    Claim,
    Party,
    State,
    accepted_in_part,
    another_person_answers,
    answer_is_due,
    authorisation_allows,
    begin_owing,
    consume_authorisation,
    consume_locks,
    decision_is_due,
    disputes_amount,
    document_is_another,
    drop_recovery,
    enter_settlement,
    forget_grounds,
    free_marks,
    ground_is_acceptance,
    ground_is_payment,
    ground_is_recovery,
    ground_is_rejection,
    hold_marks,
    hold_marks_in_window,
    keep_acceptance,
    keep_answer,
    keep_ground,
    keep_recovery,
    keep_rejection,
    leave_settlement,
    make,
    names_authorisation,
    names_prior,
    no_amount,
    not_disputed_before,
    open_window,
    payment_window_closes,
    payment_window_is_over,
    person_answers,
    prior_is_open,
    replace_document,
    settlement_is_due,
    state_of,
    was_settled,
    window_closes,
)
from contracts.context import Context
from contracts.errors import Refusal
from contracts.life import Effect, Guard, Life, Row
from contracts.requests import (
    amount_is_point,
    marks_are_locked_and_free,
    names_amount,
    payer_pays,
    prescription_is_in_force,
    sender_is_optician,
)
from ledger.encoding import Struct


def replace_prior(context: Context, _id: bytes, claim: Claim, call: ClaimSubmit) -> Claim:
    """Let the earlier claim be resubmitted."""
    assert call.prior is not None  # the row's condition
    LIFE.move(context, call.prior, call)
    return claim


def _acceptances(
    before: State, call: type[ClaimAccept | ClaimOverturn], *guards: Guard[Claim]
) -> tuple[Row[Claim], ...]:
    """Return how a payer accepts in `before`: in part, or as submitted."""
    due = decision_is_due if before is State.SUBMITTED else answer_is_due
    effects: tuple[Effect[Claim], ...] = (keep_acceptance, begin_owing, open_window)
    return (
        Row(
            before,
            call,
            Party.PAYER,
            State.ACCEPTED_IN_PART,
            when=names_amount,
            guards=(*guards, amount_is_point),
            effects=effects,
            due=due,
        ),
        Row(before, call, Party.PAYER, State.ACCEPTED, guards=guards, effects=effects, due=due),
    )


def _back_to_accepted(
    before: State,
    call: type[Struct],
    who: Party,
    *,
    also_settled: bool,
    guards: tuple[Guard[Claim], ...] = (),
    effects: tuple[Effect[Claim], ...] = (),
) -> tuple[Row[Claim], ...]:
    """Return how a dispute ends in what was disputed: settled, accepted in part, accepted."""
    due = None if call is ClaimWithdraw else answer_is_due
    ends = (
        (State.SETTLED, was_settled),
        (State.ACCEPTED_IN_PART, accepted_in_part),
        (State.ACCEPTED, None),
    )
    return tuple(
        Row(before, call, who, after, when=when, guards=guards, effects=effects, due=due)
        for after, when in ends[0 if also_settled else 1 :]
    )


_OPTICIAN_CLAIMS: Final = (sender_is_optician, payer_pays)

LIFE: Final[Life[Claim]] = Life(
    name="claim",
    thing=Claim,
    prefix=PREFIX,
    parties={Party.SUBMITTER: "submitter", Party.PAYER: "payer"},
    unknown=Refusal.CLAIM_UNKNOWN,
    not_yours=Refusal.CLAIM_NOT_YOURS,
    wrong_state=Refusal.CLAIM_IN_WRONG_STATE,
    make=make,
    state_of=state_of,
    rows=(
        # Submitted: again, on a prior agreement, or on its own.
        Row(
            None,
            ClaimSubmit,
            Party.SUBMITTER,
            State.SUBMITTED,
            when=names_prior,
            guards=(*_OPTICIAN_CLAIMS, prior_is_open, prescription_is_in_force, amount_is_point),
            effects=(replace_prior, hold_marks),
        ),
        Row(
            None,
            ClaimSubmit,
            Party.SUBMITTER,
            State.SUBMITTED,
            when=names_authorisation,
            guards=(
                *_OPTICIAN_CLAIMS,
                authorisation_allows,
                prescription_is_in_force,
                amount_is_point,
            ),
            effects=(consume_authorisation, hold_marks),
        ),
        Row(
            None,
            ClaimSubmit,
            Party.SUBMITTER,
            State.SUBMITTED,
            guards=(
                *_OPTICIAN_CLAIMS,
                prescription_is_in_force,
                marks_are_locked_and_free,
                amount_is_point,
            ),
            effects=(consume_locks, hold_marks),
        ),
        Row(
            State.SUBMITTED,
            ClaimSupersede,
            Party.SUBMITTER,
            State.SUBMITTED,
            guards=(document_is_another,),
            effects=(replace_document,),
        ),
        # Decided.
        *_acceptances(State.SUBMITTED, ClaimAccept),
        Row(
            State.SUBMITTED,
            ClaimReject,
            Party.PAYER,
            State.REJECTED,
            effects=(keep_rejection, open_window, hold_marks_in_window),
            due=decision_is_due,
        ),
        *(
            Row(before, ClaimCancel, Party.SUBMITTER, State.CANCELLED, effects=(free_marks,))
            for before in (State.SUBMITTED, State.ACCEPTED, State.ACCEPTED_IN_PART)
        ),
        # Rejected: given up, submitted again, disputed.
        Row(
            State.REJECTED,
            ClaimAbandon,
            Party.SUBMITTER,
            State.ABANDONED,
            effects=(free_marks,),
        ),
        Row(State.REJECTED, ClaimSubmit, Party.SUBMITTER, State.RESUBMITTED, closes=window_closes),
        Row(
            State.REJECTED,
            ClaimDispute,
            Party.SUBMITTER,
            State.REJECTION_DISPUTED,
            guards=(ground_is_rejection, not_disputed_before),
            effects=(keep_ground, hold_marks),
            closes=window_closes,
        ),
        Row(
            State.REJECTION_DISPUTED,
            ClaimUphold,
            Party.PAYER,
            State.REJECTED,
            guards=(person_answers,),
            effects=(keep_answer, open_window, hold_marks_in_window),
            due=answer_is_due,
        ),
        *_acceptances(State.REJECTION_DISPUTED, ClaimOverturn, person_answers),
        Row(
            State.REJECTION_DISPUTED,
            ClaimWithdraw,
            Party.SUBMITTER,
            State.REJECTED,
            effects=(open_window, hold_marks_in_window),
        ),
        # Accepted in part, which may be of next to nothing: a person answers, as for a rejection.
        Row(
            State.ACCEPTED_IN_PART,
            ClaimDispute,
            Party.SUBMITTER,
            State.AMOUNT_DISPUTED,
            when=disputes_amount,
            guards=(not_disputed_before,),
            effects=(keep_ground,),
            closes=window_closes,
        ),
        Row(
            State.AMOUNT_DISPUTED,
            ClaimUphold,
            Party.PAYER,
            State.ACCEPTED_IN_PART,
            guards=(another_person_answers,),
            due=answer_is_due,
        ),
        *_acceptances(State.AMOUNT_DISPUTED, ClaimOverturn, another_person_answers),
        Row(
            State.AMOUNT_DISPUTED,
            ClaimWithdraw,
            Party.SUBMITTER,
            State.ACCEPTED_IN_PART,
        ),
        # Accepted: the payer was wrong to; the optician agrees, and nothing is due.
        *(
            Row(
                before,
                ClaimDispute,
                Party.PAYER,
                State.ACCEPTANCE_DISPUTED,
                guards=(ground_is_acceptance, not_disputed_before),
                effects=(keep_ground,),
                closes=window_closes,
            )
            for before in (State.ACCEPTED, State.ACCEPTED_IN_PART)
        ),
        *_back_to_accepted(
            State.ACCEPTANCE_DISPUTED, ClaimUphold, Party.SUBMITTER, also_settled=False
        ),
        Row(
            State.ACCEPTANCE_DISPUTED,
            ClaimOverturn,
            Party.SUBMITTER,
            State.CANCELLED,
            guards=(no_amount,),
            effects=(free_marks,),
            due=answer_is_due,
        ),
        *_back_to_accepted(
            State.ACCEPTANCE_DISPUTED, ClaimWithdraw, Party.PAYER, also_settled=False
        ),
        # Paid.
        *(
            Row(
                before,
                SettlementAdd,
                Party.PAYER,
                State.BATCHED,
                effects=(enter_settlement,),
                due=settlement_is_due,
            )
            for before in (State.ACCEPTED, State.ACCEPTED_IN_PART)
        ),
        Row(
            State.BATCHED,
            SettlementRemove,
            Party.PAYER,
            State.ACCEPTED_IN_PART,
            when=accepted_in_part,
            effects=(leave_settlement,),
        ),
        Row(
            State.BATCHED,
            SettlementRemove,
            Party.PAYER,
            State.ACCEPTED,
            effects=(leave_settlement,),
        ),
        Row(
            State.REVERSED,
            SettlementAdd,
            Party.SUBMITTER,
            State.REPAYING,
            effects=(enter_settlement,),
            due=settlement_is_due,
        ),
        Row(
            State.REPAYING,
            SettlementRemove,
            Party.SUBMITTER,
            State.REVERSED,
            effects=(leave_settlement,),
        ),
        # The payment is not found. What is due does not change by that, whoever is right.
        *(
            Row(
                before,
                ClaimDispute,
                Party.SUBMITTER,
                State.PAYMENT_DISPUTED,
                guards=(ground_is_payment, not_disputed_before),
                effects=(keep_ground,),
                opens=settlement_is_due,
            )
            for before in (State.ACCEPTED, State.ACCEPTED_IN_PART)
        ),
        Row(
            State.SETTLED,
            ClaimDispute,
            Party.SUBMITTER,
            State.PAYMENT_DISPUTED,
            guards=(ground_is_payment, not_disputed_before),
            effects=(keep_ground,),
            closes=payment_window_closes,
        ),
        *_back_to_accepted(State.PAYMENT_DISPUTED, ClaimUphold, Party.PAYER, also_settled=True),
        *_back_to_accepted(
            State.PAYMENT_DISPUTED,
            ClaimOverturn,
            Party.PAYER,
            also_settled=True,
            guards=(no_amount,),
            effects=(forget_grounds,),
        ),
        *_back_to_accepted(
            State.PAYMENT_DISPUTED, ClaimWithdraw, Party.SUBMITTER, also_settled=True
        ),
        # Taken back after it was paid, by the optician or because the payer asks.
        *(
            Row(
                before,
                ClaimReverse,
                Party.SUBMITTER,
                State.REVERSED,
                effects=(begin_owing, free_marks),
            )
            for before in (State.SETTLED, State.CLOSED)
        ),
        Row(
            State.SETTLED,
            ClaimRecover,
            Party.PAYER,
            State.RECOVERY_ASKED,
            effects=(keep_recovery,),
        ),
        Row(
            State.RECOVERY_ASKED,
            ClaimConcede,
            Party.SUBMITTER,
            State.REVERSED,
            effects=(begin_owing, free_marks),
            due=answer_is_due,
        ),
        Row(
            State.RECOVERY_ASKED,
            ClaimDispute,
            Party.SUBMITTER,
            State.RECOVERY_DISPUTED,
            guards=(ground_is_recovery, not_disputed_before),
            effects=(keep_ground,),
            due=answer_is_due,
        ),
        Row(
            State.RECOVERY_ASKED,
            ClaimWithdraw,
            Party.PAYER,
            State.SETTLED,
            effects=(drop_recovery,),
        ),
        Row(
            State.RECOVERY_DISPUTED,
            ClaimUphold,
            Party.PAYER,
            State.RECOVERY_ASKED,
            due=answer_is_due,
        ),
        Row(
            State.RECOVERY_DISPUTED,
            ClaimOverturn,
            Party.PAYER,
            State.SETTLED,
            guards=(no_amount,),
            effects=(drop_recovery,),
            due=answer_is_due,
        ),
        Row(State.RECOVERY_DISPUTED, ClaimWithdraw, Party.SUBMITTER, State.RECOVERY_ASKED),
        Row(State.SETTLED, ClaimClose, Party.PAYER, State.CLOSED, opens=payment_window_is_over),
    ),
)
