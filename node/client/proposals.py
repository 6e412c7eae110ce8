"""Proposals, and the vote on each, as a node shows them."""

import msgspec

from node.client.client import Hex16, Hex32, NodeClient


class BallotView(msgspec.Struct, frozen=True):
    """What a member voted, nulls where it has not yet."""

    member: Hex16
    agrees: bool | None
    height: int | None
    is_elector: bool


class ProposalView(msgspec.Struct, frozen=True):
    """A proposal, and how the vote on it stands."""

    id: Hex32
    number: int
    proposer: Hex16
    kind: str
    encoded: str  # the subject, in hexadecimal
    state: str
    deadline: int
    effect: int
    last_vote: int  # the last height at which a vote counts
    height: int
    decided: int
    agree: int
    decline: int
    needed: int
    votes: tuple[BallotView, ...]


class GovernanceView(msgspec.Struct, frozen=True):
    """What is in force in the next block, and some of the proposals."""

    height: int
    time: int
    version: int
    parameters: dict[str, int]
    tables: dict[str, Hex32]
    electors: tuple[Hex16, ...]
    proposals: tuple[ProposalView, ...]
    next: int | None  # the number from which on there are more


async def governance_of(node: NodeClient, first: int = 0) -> GovernanceView:
    """Return what is in force, and the proposals from this number on, fifty at most."""
    return await node.get("/governance", GovernanceView, {"from": str(first)})


async def proposal_of(node: NodeClient, id_: bytes) -> ProposalView:
    """Return a proposal, and how the vote on it stands; raise `NotFound`."""
    return await node.get(f"/proposals/{id_.hex()}", ProposalView)
