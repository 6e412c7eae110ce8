"""Why the chain refused a call, in words for who made it, and what can be done."""

from contracts import claim, settlement
from contracts.errors import Refusal
from node.client.client import CallOutcome
from node.client.errors import NetworkRefused

_HINTS = {
    Refusal.MARK_ALREADY_USED: (
        "the mark's secret came with the prescription, so two shops cannot both claim it; a paper"
        " that each shop types has a secret in each, and only the payer's file tells"
    ),
    Refusal.SENDER_NOT_ELIGIBLE: "the member in client.toml is of a family that may not do this",
    Refusal.CLAIM_NOT_SETTLEABLE: "depoli claim list --state accepted shows what can be settled",
}


def refusal(outcome: CallOutcome, subject: str = "") -> NetworkRefused:
    """Return the error that says why a call was refused; `subject` is what it was about."""
    return told(outcome.name, explain(outcome), subject)


def told(name: str, words: str, subject: str = "") -> NetworkRefused:
    """Return that error from the refusal's name and words, as the vault keeps them."""
    known = Refusal.__members__.get(name)
    lead = f"{subject} was refused: " if subject else ""
    return NetworkRefused(f"{lead}{words} ({name})", hint=_HINTS.get(known, "") if known else "")


def explain(outcome: CallOutcome) -> str:
    """Return one sentence, without a stop, that says why."""
    evidence = outcome.evidence[0] if outcome.evidence else None
    match outcome.name:
        case Refusal.MARK_ALREADY_USED.name:
            return "this item of the prescription is claimed already, here or in another shop"
        case Refusal.CLAIM_IN_WRONG_STATE.name if evidence in set(claim.State):
            return f"the claim is {claim.State(evidence).name.lower()}, and does not allow this"
        case Refusal.SETTLEMENT_IN_WRONG_STATE.name if evidence in set(settlement.State):
            state = settlement.State(evidence).name.lower()
            return f"the settlement is {state}, and does not allow this"
        case Refusal.CLAIM_NOT_SETTLEABLE.name if evidence is not None:
            return f"claim {evidence + 1} of the list is not an accepted one of yours and theirs"
        case _:
            text = (outcome.text or outcome.name).rstrip(".")
            return text[:1].lower() + text[1:]
