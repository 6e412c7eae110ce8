"""What a policy says of one claim whose disclosure holds. Nothing is read, kept or sent here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from contracts.calls import Reason
from node.client import nomenclature
from node.client.disclosure import Disclosed
from node.client.errors import Refused
from node.client.policy import REASONS, Action, Finding, Policy
from node.client.records import TallyRecord

ACCEPT: Final = "accept"
PART: Final = "part"
REFUSE: Final = "refuse"
# Limits are no findings: they never lead to a refusal, only to a person.
OVER_LIMIT: Final = "over-limit"
OVER_DAY: Final = "over-day"
ALWAYS: Final = "shop-always-reviewed"
PROPOSED: Final = "policy-proposes-only"
REJECTED: Final = "rejected-by-a-person"
NOTHING_LEFT: Final = "nothing-left-to-pay"


@dataclass(frozen=True, slots=True)
class Case:
    """A claim, and what our own file says beside it."""

    disclosed: Disclosed
    today: str
    is_duplicate: bool = False
    last_paid: str | None = None  # invoice date of what was last paid for this reference
    was_rejected: bool = False  # by a person, whom no machine overrules
    has_agreement: bool = False  # it consumes a prior agreement on the chain
    agreed_cents: int | None = None  # under it, as far as that is known here


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, or is proposed to a person."""

    action: str  # ACCEPT, PART or REFUSE
    is_machines: bool  # False: a person decides
    why: tuple[str, ...]  # findings and limits
    part_cents: int | None = None
    reason: Reason | None = None


def judge(policy: Policy, case: Case, tally: TallyRecord) -> Verdict:
    """Return what the policy says of a claim, after what it decided today already.

    One doubt that is a person's outweighs all that a machine might do.
    """
    shown = case.disclosed
    found = list(_findings(policy, case))
    actions = {finding: policy.when[finding] for finding, _ in found}
    why = [finding.value for finding, action in actions.items() if action is not Action.PASS]
    needs_person = Action.REVIEW in actions.values()
    refused = [finding for finding, action in actions.items() if action is Action.REFUSE]
    # What goes to a person anyway is proposed as if each bound were paid up to.
    bounds = [most for _, most in found if most is not None]
    verdict: tuple[str, int | None, Reason | None]
    if refused:
        verdict = REFUSE, None, REASONS[refused[0]]
        if tally.refused >= policy.automatic.refuse_per_day_count:
            why.append(OVER_DAY)
            needs_person = True
    else:
        cents = min(bounds, default=shown.opening.amount)
        verdict = (ACCEPT, None, None) if not bounds else (PART, cents, None)
        limits = list(_limits(policy, shown.submitter, cents, tally))
        if not cents:
            limits.append(NOTHING_LEFT)
        why += limits
        needs_person = needs_person or bool(limits)
    shop = policy.shops.get(shown.submitter)
    for fact, is_so in (
        (REJECTED, case.was_rejected),
        (ALWAYS, shop and shop.always_review),
        (PROPOSED, not policy.decides),
    ):
        if is_so:
            why.append(fact)
            needs_person = True
    action, part_cents, reason = verdict
    return Verdict(action, not needs_person, tuple(why), part_cents, reason)


def count(tally: TallyRecord, verdict: Verdict, case: Case) -> None:
    """Add to a day's tally what the machine decided."""
    if not verdict.is_machines:
        return
    if verdict.action == REFUSE:
        tally.refused += 1
        return
    amount = case.disclosed.opening.amount if verdict.part_cents is None else verdict.part_cents
    shop = case.disclosed.submitter.hex()
    tally.accepted += 1
    tally.accepted_cents += amount
    tally.shops[shop] = tally.shops.get(shop, 0) + amount


def _limits(policy: Policy, shop: bytes, cents: int, tally: TallyRecord) -> Iterator[str]:
    """Yield which limits stand in the way of accepting so many cents."""
    limits, own = policy.automatic, policy.shops.get(shop)
    one, day = limits.accept_up_to_cents, limits.accept_per_shop_day_cents
    if own is not None:
        one = one if own.accept_up_to_cents is None else own.accept_up_to_cents
        day = day if own.accept_per_day_cents is None else own.accept_per_day_cents
    if cents > one:
        yield OVER_LIMIT
    if (
        tally.accepted >= limits.accept_per_day_count
        or tally.accepted_cents + cents > limits.accept_per_day_cents
        or tally.shops.get(shop.hex(), 0) + cents > day
    ):
        yield OVER_DAY


def _findings(policy: Policy, case: Case) -> Iterator[tuple[Finding, int | None]]:
    """Yield what is found, and up to how many cents may be paid because of it."""
    shown, amount = case.disclosed, case.disclosed.opening.amount
    if shown.leg not in policy.legs:
        yield Finding.LEG_NOT_OURS, None
    if policy.only_listed_shops and shown.submitter not in policy.shops:
        yield Finding.SHOP_NOT_LISTED, None
    contract = policy.contract_of(shown.insured)
    if contract is None and shown.insured is not None:
        yield Finding.INSURED_UNKNOWN, None
    elif contract is None and not case.has_agreement:  # it names nobody, but a number
        yield Finding.AUTHORISATION_UNCHECKED, None
    if case.is_duplicate:
        yield Finding.DUPLICATE, None
    above = policy.authorisation_above_cents
    if above is not None and amount > above and not case.has_agreement:
        is_missing = shown.authorisation is None
        found = Finding.AUTHORISATION_MISSING if is_missing else Finding.AUTHORISATION_UNCHECKED
        yield found, None
    if case.has_agreement:
        if case.agreed_cents is None:
            yield Finding.AGREEMENT_UNKNOWN, None
        elif amount > case.agreed_cents:
            yield Finding.OVER_AGREED, case.agreed_cents
    if contract != "free":
        most = _most_of(shown)
        if most is None:
            yield Finding.CEILING_UNKNOWN, None
        elif amount > most:
            yield Finding.OVER_CEILING, most
    cap = policy.caps.get((shown.leg, shown.category))
    if cap is not None:
        frame = shown.frame_cents or 0
        over_frame = 0 if cap.frame_cents is None else max(0, frame - cap.frame_cents)
        payable = min(cap.total_cents, amount - over_frame)
        if payable < amount:
            yield Finding.OVER_CAP, payable
    age = _days(shown.invoice_date, case.today)
    if age < 0:
        yield Finding.INVOICE_TO_COME, None
    elif policy.invoice_days is not None and age > policy.invoice_days:
        yield Finding.INVOICE_OLD, None
    if (
        policy.renewal_days is not None
        and case.last_paid is not None
        and _days(case.last_paid, shown.invoice_date) < policy.renewal_days
    ):
        yield Finding.RENEWED_EARLY, None


def _most_of(shown: Disclosed) -> int | None:
    try:
        return nomenclature.most_of(shown.codes, shown.lenses_cents, shown.frame_cents)
    except Refused:
        return None


def _days(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days
