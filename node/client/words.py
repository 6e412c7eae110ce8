"""What happened to a thing and what may happen next, in words for the one who asks."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.questions import KINDS
from ledger.transaction import created_id
from node.client.events import EntryView
from node.client.explanations import EventView, ExplanationView, MarksView, StepView
from node.client.refusals import explain, moment

LabelOf = Callable[[bytes], str]
Who = Callable[[str | None], str]


@dataclass(frozen=True, slots=True)
class Deed:
    """A call in words: what was done, what may be done, and how we do it at a terminal."""

    done: str
    do: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """What somebody may or must do next, and with which commands where it is us."""

    sentence: str
    commands: tuple[str, ...]
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A thing in words."""

    headline: str
    marks: str  # whether it holds its marks; empty where it has none
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
    "MarkLock": Deed("locked a one-use mark", "lock a one-use mark", "depoli claim submit FILE"),
    "ClaimSubmit": Deed("submitted it", "submit it", "depoli claim submit FILE"),
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
        "asked a question",
        "ask a question",
        "depoli authorisation ask {name} --question QUESTION --output FILE",
    ),
    "AuthorisationAnswer": Deed(
        "answered",
        "answer the question",
        "depoli authorisation answer QUESTION-FILE --answer ANSWER --output FILE",
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
    "Propose": Deed("proposed it", "propose it"),
    "Vote": Deed("voted on it", "vote on it", "depoli proposal vote {name} yes|no"),
    "Withdraw": Deed("took it back", "take it back", "depoli proposal withdraw {name}"),
    "ValidatorJoin": Deed(
        "began to run a validator",
        "begin to run the validator",
        "depoli validator join --proposal {name} --keys FOLDER",
    ),
    "ValidatorLeave": Deed(
        "took the validator out",
        "take the validator out",
        "depoli validator leave --proposal {name}",
    ),
    "ValidatorReplace": Deed(
        "took the place of another validator",
        "take the place of the other validator",
        "depoli validator replace --proposal {name} --keys FOLDER",
    ),
    "SettlementOpen": Deed("opened it", "open it"),
    "SettlementAdd": Deed(
        "put claims into it", "put claims into it", "depoli settlement add {name} --all"
    ),
    "SettlementRemove": Deed(
        "took claims out of it",
        "take claims out of it",
        "depoli settlement remove {name} --claims CLAIM",
    ),
    "SettlementAnnounce": Deed(
        "announced what it pays",
        "announce what it pays",
        "depoli settlement announce {name} --output FILE",
    ),
    "SettlementConfirm": Deed("confirmed it", "confirm it", "depoli settlement confirm STATEMENT"),
    "SettlementDispute": Deed(
        "disputed it", "dispute it", "depoli settlement dispute {name} --ground GROUND"
    ),
    "SettlementInsist": Deed("stood by it", "stand by it", "depoli settlement insist {name}"),
    "SettlementWithdraw": Deed(
        "withdrew the dispute", "withdraw the dispute", "depoli settlement withdraw {name}"
    ),
    "SettlementCancel": Deed("gave it up", "give it up", "depoli settlement cancel {name}"),
    "DisclosureAcknowledge": Deed("acknowledged it", "acknowledge it"),
    "ErasureRequest": Deed("asked for it", "ask for it", "depoli erase records REFERENCE"),
    "ErasureStatement": Deed(
        "said what became of it", "say what became of it", "depoli erase answer"
    ),
}
# What a call is for another thing than the one that it is about.
FOR_OTHERS: Final = {
    ("claim", "ClaimSubmit"): Deed(
        "submitted another in its place",
        "submit another in its place",
        "depoli claim resubmit {name} FILE",
    ),
    ("claim", "SettlementAdd"): Deed(
        "put it into a settlement",
        "settle it",
        "depoli settlement create --beneficiary MEMBER --claims {id} --output FILE",
    ),
    ("claim", "SettlementRemove"): Deed(
        "took it out of the settlement", "take it out of the settlement"
    ),
    ("claim", "SettlementAnnounce"): Deed("announced the payment", "announce the payment"),
    ("claim", "SettlementConfirm"): Deed("confirmed the payment", "confirm the payment"),
    ("claim", "SettlementDispute"): Deed("disputed the settlement", "dispute the settlement"),
    ("claim", "SettlementInsist"): Deed("stood by the settlement", "stand by the settlement"),
    ("claim", "SettlementCancel"): Deed("gave the settlement up", "give the settlement up"),
    ("authorisation", "ClaimSubmit"): Deed(
        "submitted a claim on it", "submit a claim on it", "depoli claim submit FILE"
    ),
}
_CONSEQUENCES: Final = {
    ("claim", "cancelled"): "its marks are free",
    ("claim", "abandoned"): "its marks are free",
    ("claim", "reversed"): "its marks are free",
    ("claim", "resubmitted"): "another claim has its marks",
    ("claim", "rejection_disputed"): "its marks are held until that is answered",
    ("authorisation", "info_requested"): "the shop answers",
    ("authorisation", "requested"): "the payer decides",
    ("authorisation", "cancelled"): "its marks are free",
    ("authorisation", "consumed"): "the claim has its marks",
}
# Names of guards and conditions of the table: the ground that they stand for, and a person.
_GROUNDS: Final = {
    "ground_is_rejection": "rejection",
    "disputes_amount": "amount",
    "ground_is_payment": "payment-not-found",
    "ground_is_acceptance": "acceptance",
    "ground_is_recovery": "recovery",
}
_PERSON_AFTER_MACHINE: Final = {"person_answers", "person_decides"}
_PERSON: Final = "another_person_answers"
_IN_A_SETTLEMENT: Final = {"batched", "repaying"}
_KINDS: Final = {  # how the names of calls on a thing begin
    "Claim": "claim",
    "Authorisation": "authorisation",
    "Settlement": "settlement",
    "Prescription": "prescription",
    "Disclosure": "disclosure",
    "Erasure": "erasure",
    "Propose": "proposal",
    "Vote": "proposal",
    "Withdraw": "proposal",
    "Validator": "proposal",
}
# Field of a call that names what it is about, where it is not the kind.
_NAMED: Final = {"prescription": "commitment", "disclosure": "commitment", "erasure": "request"}
_MAKING: Final = {
    *("ClaimSubmit", "AuthorisationRequest", "SettlementOpen", "ErasureRequest", "Propose"),
}
_ID: Final = re.compile(r"[0-9a-f]{64}")
IN_PART: Final = {"ClaimAccept", "ClaimOverturn", "AuthorisationGrant"}


def tell(view: ExplanationView, reader: bytes, label_of: LabelOf, name: str) -> Told:
    """Return the words; `name` is what the reader calls it, `label_of` names members."""

    def who(member: str | None) -> str:
        return _who(member, reader, label_of)

    state = "was refused" if view.state is None else _plain(view.state)
    past = tuple((event.time, _happened(event, view.kind, view.id, who)) for event in view.history)
    next_ = tuple(_next(view, who, name))
    return Told(f"{view.kind} {name}: {state}", _marks(view.marks), past, next_)


def _marks(marks: MarksView | None) -> str:
    if marks is None:
        return ""
    if not marks.held:
        return "it holds no mark"
    until = "" if marks.until is None else f" until {moment(marks.until)}"
    return f"its marks are held{until}: nobody else claims what it is for"


def tell_entry(entry: EntryView, reader: bytes, label_of: LabelOf) -> str:
    """Return an entry in one line: what it is about, who did what, and what became of it."""
    kind, id_ = about(entry)
    said = what_happened(entry, reader, label_of)
    return f"{kind} {id_}: {said}" if kind else said


def what_happened(entry: EntryView, reader: bytes, label_of: LabelOf) -> str:
    """Return who did what, and what became of it; what it is about is called "it"."""
    return _happened(entry, *about(entry), lambda member: _who(member, reader, label_of))


def about(entry: EntryView) -> tuple[str, str]:
    """Return the kind and the id of the thing that a call is about; "" where it is about none."""
    kind = next((kind for prefix, kind in _KINDS.items() if entry.call.startswith(prefix)), "")
    if entry.call in _MAKING:
        return kind, created_id(bytes.fromhex(entry.transaction), entry.position).hex()
    fields = entry.fields
    change = fields.get("change")  # of who runs validators
    named = (change if isinstance(change, dict) else fields).get(_NAMED.get(kind, kind))
    return (kind, named) if isinstance(named, str) and _ID.fullmatch(named) else ("", "")


def _who(member: str | None, reader: bytes, label_of: LabelOf) -> str:
    if member is None:
        return "every member with a vote"
    return "you" if member == reader.hex() else label_of(bytes.fromhex(member))


def _happened(event: EventView, kind: str, id_: str, who: Who) -> str:
    made = created_id(bytes.fromhex(event.transaction), event.position).hex()
    deed = _deed(event.call, "" if made == id_ else kind)
    if event.outcome.code:
        why = explain(event.outcome)
        ground = event.says.get("ground")
        do = f"{deed.do} ({_plain(ground)})" if isinstance(ground, str) else deed.do
        return f"{who(event.sender)} tried to {do}: {why} ({event.outcome.name})"
    said = f"{who(event.sender)} {deed.done}"
    if event.call in IN_PART and "amount" in event.gives:
        said += " in part"
    more = [_plain(value) for value in event.says.values() if isinstance(value, str)]
    if "agrees" in event.says:
        more.append("yes" if event.says["agrees"] else "no")
    if event.says.get("automatic"):
        more.append("decided by a machine")
    return f"{said}: {', '.join(more)}" if more else said


def _next(view: ExplanationView, who: Who, name: str) -> Iterator[Next]:
    """Yield a sentence for what somebody may do next: what must be done, then ours, then theirs."""

    def order(step: StepView) -> tuple[bool, bool, bool]:
        return step.phase == "over", step.due is None, who(step.member) != "you"

    if view.state in _IN_A_SETTLEMENT and view.settlement is not None:
        yield Next(
            "what it waits for is said of its settlement",
            (f"depoli explain settlement {view.settlement}",),
            is_overdue=False,
        )
    done = {ground.lower().replace("_", "-") for ground in view.disputed}
    groups: dict[object, list[StepView]] = {}
    for step in sorted(view.steps, key=order):
        if _ground(step) in done or _is_barred(view, step):
            continue  # no decision is disputed twice on one ground
        is_one_of = step.due is not None and step.phase == "open"
        what = None if is_one_of else (step.call, _ground(step))
        when_ = (step.phase, step.opens, step.closes, step.due)
        groups.setdefault((step.member, when_, what), []).append(step)
    for group in groups.values():
        subject = who(group[0].member)
        calls = {step.call: step for step in group}
        do = ", or ".join(_do(view, step) for step in calls.values())
        sentence = f"{_modal(subject, group[0], do)}{_then(view, group)}"
        ours = subject == "you" and group[0].phase == "open"
        commands = (_command(view, step, name) for step in calls.values() if ours)
        yield Next(sentence, tuple(filter(None, commands)), group[0].overdue)


def _is_barred(view: ExplanationView, step: StepView) -> bool:
    """Return whether a guard refuses a step for good, as what is told of the thing shows."""
    applied = [event.call for event in view.history if event.outcome.code == 0]
    match step.call:
        case "AuthorisationReview":
            return not view.automatic
        case "AuthorisationAsk":
            return applied.count("AuthorisationAsk") >= KINDS
        case "SettlementRemove":  # its settlement was announced since, and is not open any more
            turns = [call for call in applied if call in {"SettlementAdd", "SettlementAnnounce"}]
            return view.kind == "claim" and turns[-1:] == ["SettlementAnnounce"]
        case _:
            return False


def _do(view: ExplanationView, step: StepView) -> str:
    do, ground = _deed(step.call, view.kind).do, _ground(step)
    return do if ground is None else f"{do} ({_plain(ground)})"


def _command(view: ExplanationView, step: StepView, name: str) -> str:
    """Return the command with what the table says of it: the ground, and who must sign."""
    command = (
        _deed(step.call, view.kind)
        .command.format(name=name, id=view.id)
        .replace("GROUND", _ground(step) or "GROUND")
    )
    if view.state == "reversed" and step.call == "SettlementAdd":
        command += " --repayment"
    after_machine = view.automatic and not _PERSON_AFTER_MACHINE.isdisjoint(step.guards)
    by_person = after_machine or _PERSON in step.guards
    return f"{command} --human" if by_person else command


def _ground(step: StepView) -> str | None:
    """Return on which ground alone this step disputes, None where it is none of disputing."""
    named = (*step.guards, step.condition)
    return next((_GROUNDS[each] for each in named if each in _GROUNDS), None)


def _modal(subject: str, step: StepView, do: str) -> str:
    if step.phase == "over":
        return f"{subject} could {do} until {moment(step.closes or 0)}, and no more"
    if step.phase == "not_yet":
        said = f"from {moment(step.opens or 0)} on {subject} may {do}"
    elif step.overdue:
        said = f"{subject} must {do}, and had to before {moment(step.due or 0)}"
    elif step.due is not None:
        comma = "," if "," in do else ""
        said = f"{subject} must {do}{comma} before {moment(step.due)}"
    else:
        said = f"{subject} may {do}"
    return said if step.closes is None else f"{said}, until {moment(step.closes)}"


def _then(view: ExplanationView, steps: Sequence[StepView]) -> str:
    """Say what comes of one call, where its name does not say that."""
    if len({step.call for step in steps}) > 1 or steps[0].phase == "over":
        return ""
    states = dict.fromkeys(step.after for step in steps)
    keys = [(view.kind, state) for state in states]
    said = [_CONSEQUENCES[each] for each in keys if each in _CONSEQUENCES]
    known = {view.state, "batched", *_deed(steps[0].call, view.kind).done.split()}
    new = [_plain(state) for state in states if known.isdisjoint((state, *state.split("_")))]
    if new and not said:
        said = ["it is as it was before" if len(new) > 1 else f"it is {new[0]}"]
    return f"; then {', and '.join(said)}" if said else ""


def _deed(call: str, kind: str) -> Deed:
    """Return the words for a call on a thing of this kind."""
    unknown = Deed(f"made the call {call}", f"make the call {call}")
    return FOR_OTHERS.get((kind, call)) or DEEDS.get(call, unknown)


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
