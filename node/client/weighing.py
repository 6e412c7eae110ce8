"""What was verified, weighed by the policy and by our own file, and written with what follows.

All of a batch is one write: what a day's limits leave is read in the same transaction in which it
is used up, whoever else works on the vault.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from contracts.commitment import Opening
from ledger.encoding import decode
from node.client import past
from node.client.inbox import UNDECIDED, keep_received
from node.client.judging import Case, Verdict, count, judge
from node.client.letters import Verified
from node.client.policy import Policy
from node.client.records import (
    ReceivedRecord,
    ReviewRecord,
    Standing,
    TallyRecord,
    find,
    keep,
    update,
)
from node.client.vault import Vault

# In such a state a claim asks for nothing: another one of the same is no duplicate of it.
DECIDED: Final = frozenset(("accepted", "accepted_in_part", "rejected"))
GONE: Final = frozenset(
    ("cancelled", "rejected", "abandoned", "resubmitted", "reversed", "repaying", "repaid")
)


def decide(
    vault: Vault,
    policy: Policy,
    each: Verified,
    states: Mapping[bytes, str],
    tally: TallyRecord,
    today: str,
) -> tuple[Verdict, Case]:
    """Return what the policy says of a claim, and add that to `tally`. Nothing is written."""
    shown = each.disclosed
    same = past.same_as(vault, shown)
    agreement = each.view.authorisation
    case = Case(
        shown,
        today,
        # What another program took a moment ago was submitted then.
        is_duplicate=same is not None and states.get(same, "submitted") not in GONE,
        last_paid=past.last_paid(vault, shown),
        was_rejected=past.was_rejected(vault, each.view),
        has_agreement=agreement is not None,
        agreed_cents=None if agreement is None else _agreed(vault, agreement),
    )
    verdict = judge(policy, case, tally)
    count(tally, verdict, case)
    return verdict, case


def put(
    vault: Vault,
    policy: Policy,
    batch: Sequence[Verified],
    states: Mapping[bytes, str],
    *,
    now: int,
    today: str,
) -> list[ReviewRecord | None]:
    """Keep what was verified and what is to be done of it; None for what was known before."""
    with vault.changes():
        at, tally = _tally(vault, today)
        results = [_put(vault, policy, each, states, tally, now, today) for each in batch]
        update(vault, at, tally)
    return results


def closed(vault: Vault, each: Verified, *, now: int) -> None:
    """Keep the disclosure of a claim that is decided already, and have it wait no more."""
    with vault.changes():
        number, received = keep_received(vault, each.disclosed, each.plain)
        if received.decision is None and each.view.state in DECIDED:
            received.decision, received.decided = each.view.state, now
            update(vault, number, received)
            if received.decision != "rejected":
                past.note_paid(vault, number, received)
        found = find(vault, ReviewRecord, each.disclosed.claim.hex())
        if found is not None and found[1].standing in UNDECIDED:
            vault.erase(found[0])


def tally_of(vault: Vault, today: str) -> TallyRecord:
    """Return what was decided today by machine."""
    found = find(vault, TallyRecord, today)
    return TallyRecord(day=today) if found is None else found[1]


def today() -> str:
    """Return the day it is in UTC, by which limits of a day are counted."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def _put(
    vault: Vault,
    policy: Policy,
    each: Verified,
    states: Mapping[bytes, str],
    tally: TallyRecord,
    now: int,
    today: str,
) -> ReviewRecord | None:
    shown, document = each.disclosed, bytes.fromhex(each.view.document)
    found = find(vault, ReviewRecord, shown.claim.hex())
    if found is not None:
        known = found[1]
        is_new = known.standing is Standing.NEW
        if not is_new and (known.document == document or known.standing not in UNDECIDED):
            return None
        vault.erase(found[0])  # it was rectified: what was said of the other document is void
    verdict, case = decide(vault, policy, each, states, tally, today)
    number, _ = keep_received(vault, shown, each.plain)
    if not case.is_duplicate:  # the first of the same is what others are held against
        past.remember(vault, number, shown, is_first=True)
    record = ReviewRecord(
        claim=shown.claim,
        submitter=shown.submitter,
        document=document,
        cents=shown.opening.amount,
        received=now,
        standing=Standing.CHOSEN if verdict.is_machines else Standing.REVIEW,
        action=verdict.action,
        policy=policy.digest,
        part_cents=verdict.part_cents,
        reason=None if verdict.reason is None else int(verdict.reason),
        is_automatic=verdict.is_machines,
        findings=list(verdict.why),
    )
    keep(vault, record, shown.claim.hex())
    return record


def _tally(vault: Vault, today: str) -> tuple[int, TallyRecord]:
    found = find(vault, TallyRecord, today)
    if found is not None:
        return found
    record = TallyRecord(day=today)
    return keep(vault, record, today), record


def _agreed(vault: Vault, agreement: str) -> int | None:
    """Return how much was agreed to, as far as its disclosure is here."""
    found = find(vault, ReceivedRecord, agreement)
    if found is None:
        return None
    kept = found[1]
    return decode(kept.opening if kept.accepted is None else kept.accepted, Opening).amount
