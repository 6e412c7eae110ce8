"""Why the chain refused a call, in words for who made it, and what can be done."""

from typing import Final

from contracts import batch, claim
from contracts.errors import Refusal
from contracts.registry import Family
from node.client.client import CallOutcome
from node.client.errors import NetworkRefused

_HINTS = {
    Refusal.MARK_ALREADY_USED: (
        "the mark's secret came with the prescription, so two shops cannot both claim it; a paper"
        " that each shop types has a secret in each, and only the payer's file tells"
    ),
    Refusal.SENDER_NOT_ELIGIBLE: "the member in client.toml is of a family that may not do this",
    Refusal.CLAIM_NOT_SETTLEABLE: "depoli claim list --state accepted shows what can be settled",
    Refusal.CHANGE_OUT_OF_DATE: "propose it again, and have it approved again",
    Refusal.CHANGE_NOT_IN_TIME: "propose it again, for longer: --days; or set the clock right",
    Refusal.TOO_FEW_VALIDATORS: "have it replaced by another: depoli validator propose-replace",
    Refusal.FAMILY_WOULD_DECIDE: "a member of another family must join, or take the place",
    Refusal.KEYS_UNCHANGED: "make others first: depoli validator new-keys",
    Refusal.KEY_TAKEN: "make others: depoli validator new-keys; a key is used once, for ever",
    Refusal.NEW_KEY_TAKEN: "a key is used once, for ever: name a file that is not there yet",
    Refusal.LAST_KEY: "depoli member add-key gives another one; or change it: rotate-key",
    Refusal.TOO_MANY_KEYS: "depoli member revoke-key ends one",
    Refusal.KEY_OF_VALIDATOR: "depoli validator rotate changes it",
    Refusal.BLOCK_NOT_RECENT: "the node in client.toml is behind: try again when it has caught up",
}
_KEYS: Final = ("consensus", "checkpoint", "node")


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
        case Refusal.SETTLEMENT_IN_WRONG_STATE.name if evidence in set(batch.State):
            state = batch.State(evidence).name.lower()
            return f"the settlement is {state}, and does not allow this"
        case Refusal.CLAIM_NOT_SETTLEABLE.name if evidence is not None:
            return f"claim {evidence + 1} of the list is not an accepted one of yours and theirs"
        case Refusal.KEY_TAKEN.name if evidence is not None and evidence < len(_KEYS):
            return f"the {_KEYS[evidence]} key was registered before, by you or by another"
        case Refusal.FAMILY_WOULD_DECIDE.name if evidence in set(Family):
            return f"{Family(evidence).name.lower()}s would have a quorum of the validators alone"
        case Refusal.TOO_FEW_VALIDATORS.name if evidence is not None:
            return f"{evidence} validators would be left, and they never become fewer than four"
        case _:
            text = (outcome.text or outcome.name).rstrip(".")
            return text[:1].lower() + text[1:]
