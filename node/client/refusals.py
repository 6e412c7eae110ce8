"""Why the chain refused a call, in words for who made it, and what can be done."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from contracts import authorisation, batch, claim, erasure, governance, prescription
from contracts.errors import Refusal
from contracts.registry import Family, Status
from node.client.client import CallOutcome
from node.client.errors import NetworkRefused

PROPOSAL: Final = "the proposal"  # what a refused proposal is called
_HINTS = {
    Refusal.MARK_ALREADY_USED: (
        "the mark's secret came with the prescription, so two shops cannot both claim it; a paper"
        " that each shop types has a secret in each, and only the payer's file tells"
    ),
    Refusal.PERSON_NEEDED: (
        "the same command with --human signs with human_key_file of client.toml, a person's own"
    ),
    Refusal.OTHER_PERSON_NEEDED: "another person decides: with a human_key_file of his own",
    Refusal.DECIDED_BY_A_PERSON: "what a person decided is disputed: depoli claim dispute",
    Refusal.PRESCRIPTION_NOT_IN_FORCE: "depoli prescription show tells which document stands",
    Refusal.GROUND_NOT_FITTING: "depoli explain says on which grounds, and with which command",
    Refusal.TOO_EARLY: "depoli explain says from when on it may be done",
    Refusal.TOO_LATE: (
        "depoli explain says until when it could be done, and what may be done now; a proposal that"
        " is over is made again, for longer: --days"
    ),
    Refusal.SENDER_NOT_ELIGIBLE: "the member in client.toml is of a family that may not do this",
    Refusal.CLAIM_NOT_SETTLEABLE: "depoli claim list --state accepted shows what can be settled",
    Refusal.SUM_DIFFERS: "another command changed the settlement meanwhile: run it again",
    Refusal.TOO_FEW_VALIDATORS: "have it replaced by another: depoli proposal replace",
    Refusal.NOT_GOVERNING: "depoli validator list shows whose organisations vote",
    Refusal.PROPOSAL_IN_WRONG_STATE: "depoli proposal list shows what is open",
    Refusal.PROPOSAL_NOT_YOURS: "vote no on it, or propose something else",
    Refusal.ALREADY_VOTED: "a vote stands: depoli proposal show tells how",
    Refusal.TOO_MANY_OPEN: "withdraw one of yours, or wait until one is over: depoli proposal list",
    Refusal.EFFECT_TOO_FAR: "name fewer blocks: --in-blocks",
    Refusal.MEMBER_UNKNOWN: "depoli member show NAME looks for one by label or id",
    Refusal.ALREADY_MEMBER: "depoli proposal reinstate, or rekey, is for one that there is",
    Refusal.MEMBER_STANDS_OTHERWISE: "depoli member show tells where it stands, and since when",
    Refusal.NOTHING_WOULD_CHANGE: "depoli proposal list --all shows who voted for it",
    Refusal.EFFECT_TOO_NEAR: "too late for this one: propose it again, with more --in-blocks",
    Refusal.NOT_IN_EFFECT_YET: "wait until that block; depoli proposal show tells it",
    Refusal.ALREADY_PROPOSED: "vote on that one, or withdraw it: depoli proposal list",
    Refusal.MEMBER_VALIDATES: "its validator leaves first: depoli proposal leave",
    Refusal.NOBODY_COULD_DECIDE: "reinstate one that is suspended first: depoli proposal reinstate",
    Refusal.FAMILY_WOULD_DECIDE: "a member of another family must join, or take the place",
    Refusal.KEYS_UNCHANGED: "make others first: depoli validator new-keys",
    Refusal.KEY_TAKEN: (
        "a key is used once, for ever: make others, by depoli keys new, or for a validator by"
        " depoli validator new-keys"
    ),
    Refusal.NEW_KEY_TAKEN: "a key is used once, for ever: name a file that is not there yet",
    Refusal.KEY_ENDED: "depoli member keys lists which are in force, and until when",
    Refusal.KEY_NEVER_IN_FORCE: "give an --until above both --height and the next block, or none",
    Refusal.KEY_NOT_BINDABLE: "depoli member keys lists them, with their roles",
    Refusal.DELEGATE_IS_SENDER: "name another member: depoli member show lists whom you named",
    Refusal.DELEGATION_UNKNOWN: "depoli member show lists to whom you delegate, and until when",
    Refusal.LAST_KEY: "depoli member add-key gives another one; or change it: rotate-key",
    Refusal.TOO_MANY_KEYS: "depoli member revoke-key ends one",
    Refusal.KEY_OF_VALIDATOR: "depoli validator rotate changes it",
    Refusal.BLOCK_NOT_RECENT: "the node in client.toml is behind: try again when it has caught up",
}
_STATES: Final[dict[str, tuple[str, type[IntEnum]]]] = {
    Refusal.CLAIM_IN_WRONG_STATE.name: ("claim", claim.State),
    Refusal.PRIOR_CLAIM_IN_WRONG_STATE.name: ("earlier claim", claim.State),
    Refusal.AUTHORISATION_IN_WRONG_STATE.name: ("prior agreement", authorisation.State),
    Refusal.PRESCRIPTION_NOT_IN_FORCE.name: ("prescription", prescription.State),
    Refusal.SETTLEMENT_IN_WRONG_STATE.name: ("settlement", batch.State),
    Refusal.ERASURE_IN_WRONG_STATE.name: ("erasure", erasure.State),
    Refusal.PROPOSAL_IN_WRONG_STATE.name: ("proposal", governance.State),
    Refusal.MEMBER_STANDS_OTHERWISE.name: ("member", Status),
}
_KEYS: Final = ("consensus", "checkpoint", "node")
_OF_MEMBER: Final = ("transaction", "sealing")  # keys that a proposal gives


def refusal(outcome: CallOutcome, subject: str = "") -> NetworkRefused:
    """Return the error that says why a call was refused; `subject` is what it was about."""
    keys = _OF_MEMBER if subject == PROPOSAL else _KEYS
    return told(outcome.name, explain(outcome, keys), subject)


def told(name: str, words: str, subject: str = "") -> NetworkRefused:
    """Return that error from the refusal's name and words, as the vault keeps them."""
    known = Refusal.__members__.get(name)
    lead = f"{subject} was refused: " if subject else ""
    return NetworkRefused(f"{lead}{words} ({name})", hint=_HINTS.get(known, "") if known else "")


def moment(seconds: int) -> str:
    """Return a moment as people say it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def explain(outcome: CallOutcome, keys: Sequence[str] = _KEYS) -> str:
    """Return one sentence, without a stop, that says why; `keys` are those that it was about."""
    evidence = outcome.evidence[0] if outcome.evidence else None
    match outcome.name:
        case Refusal.MARK_ALREADY_USED.name:
            return "this item of the prescription is claimed already, here or in another shop"
        case Refusal.GROUND_NOT_FITTING.name:
            return "as it stands it cannot be disputed on this ground"
        case name if name in _STATES and evidence in set(_STATES[name][1]):
            what, states = _STATES[name]
            state = states(evidence).name.lower().replace("_", " ")
            return f"the {what} is {state}, and does not allow this"
        case Refusal.TOO_EARLY.name if evidence is not None:
            return f"this may not be done before {moment(evidence)}"
        case Refusal.TOO_LATE.name if evidence is not None:
            return f"this could be done until {moment(evidence)}, and no more"
        case Refusal.CLAIM_NOT_SETTLEABLE.name if set(outcome.evidence[1:]) & set(claim.State):
            index, found = outcome.evidence[:2]
            name = claim.State(found).name.lower()
            return f"claim {index + 1} of the list is {name}, and cannot be settled"
        case Refusal.CLAIM_OF_OTHERS.name if evidence is not None:
            return f"claim {evidence + 1} of the list is not of the two whom the settlement is of"
        case Refusal.EFFECT_TOO_NEAR.name if evidence is not None:
            return f"there would be no notice: block {evidence} is the first it may be in force in"
        case Refusal.EFFECT_TOO_FAR.name if evidence is not None:
            return f"block {evidence} is the last that it may be in force from"
        case Refusal.KEY_TAKEN.name if evidence is not None and evidence < len(keys):
            return f"the {keys[evidence]} key was registered before, by you or by another"
        case Refusal.FAMILY_WOULD_DECIDE.name if evidence in set(Family):
            return f"{Family(evidence).name.lower()}s would have a quorum of the validators alone"
        case Refusal.TOO_FEW_VALIDATORS.name if evidence is not None:
            return f"{evidence} validators would be left, and they never become fewer than four"
        case _:
            text = (outcome.text or outcome.name).rstrip(".")
            return text[:1].lower() + text[1:]
