"""Proposals in words: what each would change, who voted, what is missing, until when."""

from typing import Any

import msgspec

from contracts.ballot import FAMILIES, THRESHOLDS
from contracts.calls import (
    AdmitMember,
    JoinValidators,
    LeaveValidators,
    ReinstateMember,
    RekeyMember,
    RemoveMember,
    ReplaceTable,
    ReplaceValidator,
    ScheduleVersion,
    SetParameters,
    Subject,
    SuspendMember,
    parse_subject,
)
from contracts.parameters import Parameters
from contracts.registry import FAMILY_RULE_FROM, member_id
from ledger.errors import Malformed
from node.client.client import BadAnswer
from node.client.members import Members
from node.client.proposals import ProposalView


def subject_of(view: ProposalView) -> Subject:
    """Return what a proposal would change; raise `BadAnswer` where the node says nonsense."""
    try:
        return parse_subject(bytes.fromhex(view.encoded))
    except (ValueError, Malformed) as error:
        raise BadAnswer("the node", str(error)) from None


def describe(subject: Subject, members: Members, now: Parameters | None = None) -> str:
    """Return in words what a change does; of parameters those that differ from `now`."""
    label = members.label_of
    match subject:
        case AdmitMember(family, country, key):
            who, place = label(member_id(key.public)), country.decode("ascii", "replace")
            return f"{who} becomes a member: {family.name.lower()}, {place}"
        case SuspendMember(member):
            return f"{label(member)} is suspended"
        case ReinstateMember(member):
            return f"{label(member)} is reinstated"
        case RemoveMember(member):
            return f"{label(member)} is removed for ever"
        case RekeyMember(member):
            return f"{label(member)} gets another transaction key, and its old ones end"
        case JoinValidators(member):
            return f"{label(member)} joins the validators"
        case LeaveValidators(member):
            return f"{label(member)} leaves the validators"
        case ReplaceValidator(leaving, member) if leaving == member:
            return f"{label(member)} gives its validator other keys"
        case ReplaceValidator(leaving, member):
            return f"{label(member)} takes the place of {label(leaving)} among the validators"
        case ReplaceTable(kind, table):
            return f"the table {kind.subject} becomes that with SHA-256 {table.hex()}"
        case SetParameters(wanted):
            return f"parameters: {', '.join(_differences(wanted, now)) or 'as they are'}"
        case ScheduleVersion(version):
            return f"version {version} of the rules comes into force when a quorum is ready"


def as_json(view: ProposalView, members: Members, now: Parameters | None = None) -> dict[str, Any]:
    """Return a proposal as JSON values, with words and labels."""
    label = members.label_of
    return msgspec.to_builtins(view) | {  # type: ignore[no-any-return]
        "says": describe(subject_of(view), members, now),
        "proposed_by": label(bytes.fromhex(view.proposer)),
        "votes": [
            {
                "member": vote.member,
                "label": label(bytes.fromhex(vote.member)),
                "vote": _said(vote.agrees),
                "height": vote.height,
                "counts": vote.is_elector,
            }
            for vote in view.votes
        ],
        "missing": missing(view),
    }


def missing(view: ProposalView) -> str:
    """Return in words what an open proposal lacks, and by when; what a passed one waits for."""
    electors = sum(vote.is_elector for vote in view.votes)
    match view.state:
        case "open":
            lacks = max(0, view.needed - view.agree)
            words = f"{lacks} more must agree" if lacks else "another family must agree"
            return f"{words}, by block {view.last_vote}{_families(electors, lacks)}"
        case "passed" if view.kind in ("join", "leave", "replace"):
            return f"from block {view.effect} on: depoli validator {view.kind} --proposal {view.id}"
        case "passed":
            return f"nothing: it is made for block {view.effect}"
        case _:
            return "nothing"


def threshold_of(subject: Subject) -> str:
    """Return in words how many of the electors it takes."""
    return THRESHOLDS[type(subject)].value


def _families(electors: int, lacks: int) -> str:
    is_shared = electors >= FAMILY_RULE_FROM and lacks > 0
    return f", of {FAMILIES} families in all" if is_shared else ""


def _differences(wanted: Parameters, now: Parameters | None) -> list[str]:
    return [
        f"{name} = {getattr(wanted, name)}"
        for name in Parameters.__struct_fields__
        if now is None or getattr(wanted, name) != getattr(now, name)
    ]


def _said(agrees: bool | None) -> str | None:  # noqa: FBT001 - three values
    return None if agrees is None else "yes" if agrees else "no"
