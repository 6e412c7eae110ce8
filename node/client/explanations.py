"""What a node tells of a thing that has a life: what happened, and what may happen next."""

from typing import Annotated, Literal

import msgspec

from node.client.client import CallOutcome, Hex16, Hex32, NodeClient

# A node's words reach a terminal: names, and nothing that could write over it.
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]{1,64}$")]


class EventView(msgspec.Struct, frozen=True):
    """A call on the thing, and what became of it."""

    call: Name
    sender: Hex16
    height: int
    time: int
    transaction: Hex32
    position: int
    says: dict[Name, Name | bool]  # its fields of a closed list
    gives: tuple[Name, ...]  # its fields that are not empty
    outcome: CallOutcome


class StepView(msgspec.Struct, frozen=True):
    """A call that somebody may make next; times in unix seconds."""

    call: Name
    who: Name
    member: Hex16 | None  # None: each of many
    after: Name
    phase: Literal["not_yet", "open", "over"]
    overdue: bool
    condition: Name | None = None
    guards: tuple[Name, ...] = ()
    opens: int | None = None
    closes: int | None = None
    due: int | None = None


class MarksView(msgspec.Struct, frozen=True):
    """Whether a thing holds its marks; `until` is the last second, None: no end yet."""

    held: bool
    until: int | None = None


class ExplanationView(msgspec.Struct, frozen=True):
    """One thing at the time of the node's newest block; without a state it never came to be."""

    kind: Name
    id: Hex32
    time: int
    state: Name | None
    parties: dict[Name, Hex16]
    history: tuple[EventView, ...]
    steps: tuple[StepView, ...]
    marks: MarksView | None = None  # None: it has none
    automatic: bool = False  # a machine decided it
    disputed: tuple[Name, ...] = ()  # grounds on which the last decision was disputed
    settlement: Hex32 | None = None  # the last that a claim was put into
    pruned: bool = False  # the node keeps older events no more


async def explanation(node: NodeClient, kind: str, id_: bytes) -> ExplanationView:
    """Return what a node tells of a thing of this kind; raise `NotFound`."""
    return await node.get(f"/{kind}s/{id_.hex()}/explanation", ExplanationView)
