"""Evidence in words: who did what, at which height and in which round."""

from typing import Final, assert_never

import msgspec

from consensus.evidence import (
    Amnesia,
    BadProposal,
    CrossVote,
    DoubleVote,
    Evidence,
    height_of,
    offence_key,
)
from consensus.messages import UNPREPARED
from contracts.genesis import Genesis
from ledger.block import Header

_STATEMENTS: Final = {
    "BareProposal": "proposals",
    "Prepare": "prepares",
    "Commit": "commits",
    "RoundChange": "round changes",
}


class Block(msgspec.Struct, frozen=True):
    """The block that evidence stands in."""

    height: int
    time: int  # unix seconds


class Deed(msgspec.Struct, frozen=True):
    """Evidence as lists show it: in words, with names."""

    id: str  # of the offence, by which it is recorded once
    kind: str
    member: str
    organisation: str
    height: int  # of the deed
    says: str
    recorded: Block | None  # None where it is on no chain yet


def deed_of(evidence: Evidence, member: bytes, genesis: Genesis, recorded: Header | None) -> Deed:
    """Return evidence that is true, as lists show it; `recorded` heads the block it stands in."""
    name = organisation_of(genesis, member)
    return Deed(
        offence_key(evidence).hex(),
        type(evidence).__name__,
        member.hex(),
        name,
        height_of(evidence),
        sentence(evidence, name),
        None if recorded is None else Block(recorded.height, recorded.time),
    )


def pruned_deed(
    offence: bytes, member: bytes, height: int, genesis: Genesis, recorded: Header
) -> Deed:
    """Return what is still known where the evidence was pruned with the block it stood in."""
    name = organisation_of(genesis, member)
    says = (
        f"{name} contradicted himself at height {height};"
        f" how, stood in block {recorded.height}, which was pruned"
    )
    return Deed(
        offence.hex(),
        "Pruned",
        member.hex(),
        name,
        height,
        says,
        Block(recorded.height, recorded.time),
    )


def organisation_of(genesis: Genesis, member: bytes) -> str:
    """Return what people call a member; its id in hexadecimal where the genesis has no name."""
    found = genesis.member(member)
    return member.hex() if found is None else found.label


def sentence(evidence: Evidence, who: str) -> str:
    """Return what `who` did, by evidence that is true, as a person reads it."""
    height = height_of(evidence)
    match evidence:
        case DoubleVote(first):
            what = _STATEMENTS[type(first).__name__]
            return f"{who} signed two different {what} at height {height}, round {first.round}"
        case CrossVote(prepare):
            return (
                f"{who} signed a prepare of one block and a commit of another"
                f" at height {height}, round {prepare.round}"
            )
        case Amnesia(commit, change):
            if change.prepared_round == UNPREPARED:
                claim = "no lock"
            elif change.prepared_round < commit.round:
                claim = "an older lock"
            else:
                claim = "another lock"
            return (
                f"{who} signed a commit at height {height}, round {commit.round},"
                f" and asked for round {change.round} claiming {claim}"
            )
        case BadProposal():
            return (
                f"{who} signed a proposal that nothing justifies"
                f" at height {height}, round {evidence.round}"
            )
        case _:
            assert_never(evidence)
