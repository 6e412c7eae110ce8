"""What happened to a thing and what may happen next, in words for the one who asks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from node.client.explanations import EventView, ExplanationView, StepView
from node.client.refusals import explain

LabelOf = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Deed:
    """A call in words: what was done, what may be done, and how we do it at a terminal."""

    done: str
    do: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """What somebody may or must do next; `command` is empty where it is not us."""

    sentence: str
    command: str
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A thing in words."""

    headline: str
    past: tuple[tuple[int, str], ...]  # block time, what happened then
    next: tuple[Next, ...]


DEEDS: Final = {
    "PrescriptionCommit": Deed("committed to it", "commit to it", "depoli prescription add FILE"),
    "PrescriptionSupersede": Deed(
        "put another in its place",
        "put a rectified one in its place",
        "depoli prescription supersede {name} FILE",
    ),
    "PrescriptionRevoke": Deed("revoked it", "revoke it", "depoli prescription revoke {name}"),
    "ClaimSubmit": Deed(
        "submitted it",
        "submit another one in its place, with its marks",
    ),
    "ClaimAccept": Deed("accepted it", "accept it", "depoli claim accept {name}"),
    "ClaimReject": Deed("rejected it", "reject it", "depoli claim reject {name} --reason REASON"),
    "ClaimCancel": Deed("cancelled it", "cancel it", "depoli claim cancel {name}"),
    "ClaimAbandon": Deed("gave it up", "give it up", "depoli claim abandon {name}"),
    "ClaimReverse": Deed("reversed it", "reverse it, and repay it", "depoli claim reverse {name}"),
    "ClaimRecover": Deed(
        "asked it back", "ask it back as not owed", "depoli claim recover {name} --reason REASON"
    ),
    "ClaimConcede": Deed("agreed to repay it", "agree to repay it", "depoli claim concede {name}"),
    "ClaimDispute": Deed(
        "disputed it", "dispute it", "depoli claim dispute {name} --ground GROUND"
    ),
    "ClaimUphold": Deed(
        "stood by what is disputed", "stand by what is disputed", "depoli claim uphold {name}"
    ),
    "ClaimOverturn": Deed(
        "gave way in the dispute", "give way in the dispute", "depoli claim overturn {name}"
    ),
    "ClaimWithdraw": Deed("withdrew that", "withdraw that", "depoli claim withdraw {name}"),
    "ClaimClose": Deed("closed it", "close it", "depoli claim close {name}"),
    "ClaimSupersede": Deed(
        "rectified its document", "rectify its document", "depoli claim supersede {name} FILE"
    ),
    "AuthorisationRequest": Deed("asked for it", "ask for it", "depoli authorisation request FILE"),
    "AuthorisationAsk": Deed(
        "asked a question", "ask a question", "depoli authorisation ask {name} --question QUESTION"
    ),
    "AuthorisationAnswer": Deed(
        "answered", "answer the question", "depoli authorisation answer {name} QUESTION-FILE"
    ),
    "AuthorisationGrant": Deed("granted it", "grant it", "depoli authorisation grant {name}"),
    "AuthorisationRefuse": Deed(
        "refused it", "refuse it", "depoli authorisation refuse {name} --reason REASON"
    ),
    "AuthorisationCancel": Deed("cancelled it", "cancel it", "depoli authorisation cancel {name}"),
    "AuthorisationReview": Deed(
        "asked that a person decides",
        "ask that a person decides",
        "depoli authorisation review {name}",
    ),
    "SettlementCreate": Deed("put it into a settlement", "settle it", "depoli settlement create"),
    "SettlementOpen": Deed("opened it", "open it"),
    "SettlementAdd": Deed("put claims into it", "put claims into it"),
    "SettlementRemove": Deed("took claims out of it", "take claims out of it"),
    "SettlementAnnounce": Deed("announced what it pays", "announce what it pays"),
    "SettlementConfirm": Deed("confirmed it", "confirm it", "depoli settlement confirm STATEMENT"),
    "SettlementDispute": Deed(
        "disputed it", "dispute it", "depoli settlement dispute {name} --ground GROUND"
    ),
    "SettlementInsist": Deed("stood by it", "stand by it", "depoli settlement insist {name}"),
    "SettlementWithdraw": Deed(
        "withdrew the dispute", "withdraw the dispute", "depoli settlement withdraw {name}"
    ),
    "SettlementCancel": Deed("gave it up", "give it up", "depoli settlement cancel {name}"),
}
# In a claim's story, what is done to the settlement that it is in.
_OF_A_CLAIM: Final = {
    "SettlementAdd": Deed("put it into a settlement", "settle it", "depoli settlement create"),
    "SettlementRemove": Deed("took it out of the settlement", "take it out of the settlement"),
}
_CONSEQUENCES: Final = {
    ("claim", "cancelled"): "its marks are free",
    ("claim", "abandoned"): "its marks are free",
    ("claim", "reversed"): "its marks are free",
    ("authorisation", "cancelled"): "its marks are free",
}
_IN_PART: Final = {"ClaimAccept", "ClaimOverturn", "AuthorisationGrant"}


def tell(view: ExplanationView, reader: bytes, label_of: LabelOf, name: str) -> Told:
    """Return the words; `name` is what the reader calls it, `label_of` names members."""

    def who(member: str) -> str:
        return "you" if member == reader.hex() else label_of(bytes.fromhex(member))

    state = "was refused" if view.state is None else _plain(view.state)
    past = tuple((event.time, _happened(event, view.kind, who)) for event in view.history)
    return Told(f"{view.kind} {name}: {state}", past, tuple(_next(view, who, name)))


def when(seconds: int) -> str:
    """Return a moment as people say it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _happened(event: EventView, kind: str, who: Callable[[str], str]) -> str:
    deed = _deed(event.call, kind)
    if event.outcome.code:
        why = explain(event.outcome)
        return f"{who(event.sender)} tried to {deed.do}: {why} ({event.outcome.name})"
    said = f"{who(event.sender)} {deed.done}"
    if event.call in _IN_PART and "amount" in event.gives:
        said += " in part"
    more = [_plain(value) for value in event.says.values() if isinstance(value, str)]
    if event.says.get("automatic"):
        more.append("decided by a machine")
    return f"{said}: {', '.join(more)}" if more else said


def _next(view: ExplanationView, who: Callable[[str], str], name: str) -> Iterator[Next]:
    """Yield a sentence for each call that somebody may make: what must be done, ours, theirs."""

    def order(step: StepView) -> tuple[bool, bool, bool]:
        return step.phase == "over", step.due is None, who(step.member) != "you"

    grouped = groupby(sorted(view.steps, key=order), lambda step: (step.call, step.member))
    for _, steps in grouped:
        group = tuple(steps)
        step, subject = group[0], who(group[0].member)
        deed = _deed(step.call, view.kind)
        sentence = f"{_modal(subject, step, deed)}{_then(view, group, deed)}"
        ours = subject == "you" and step.phase == "open"
        yield Next(sentence, deed.command.format(name=name) if ours else "", step.overdue)


def _modal(subject: str, step: StepView, deed: Deed) -> str:
    if step.phase == "over":
        return f"{subject} could {deed.do} until {when(step.closes or 0)}, and no more"
    if step.phase == "not-yet":
        said = f"from {when(step.opens or 0)} on {subject} may {deed.do}"
    elif step.overdue:
        said = f"{subject} must {deed.do}, and had to before {when(step.due or 0)}"
    elif step.due is not None:
        said = f"{subject} must {deed.do} before {when(step.due)}"
    else:
        said = f"{subject} may {deed.do}"
    return said if step.closes is None else f"{said}, until {when(step.closes)}"


def _then(view: ExplanationView, steps: Iterable[StepView], deed: Deed) -> str:
    """Say what comes of it, where that is not said by the deed's own name."""
    states = dict.fromkeys(step.after for step in steps if step.phase != "over")
    said = [
        f"it is {_plain(state)}"
        for state in states
        if state != view.state and _plain(state) not in deed.done
    ]
    said = [" or ".join(said)] if said else []
    said += dict.fromkeys(
        _CONSEQUENCES[view.kind, state] for state in states if (view.kind, state) in _CONSEQUENCES
    )
    return f"; then {', and '.join(said)}" if said else ""


def _deed(call: str, kind: str) -> Deed:
    if kind == "claim" and call in _OF_A_CLAIM:
        return _OF_A_CLAIM[call]
    return DEEDS.get(call, Deed(f"made the call {call}", f"make the call {call}"))


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
