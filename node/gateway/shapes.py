"""What the gateway answers: one type for each, from which its OpenAPI document is made."""

from typing import Annotated, Any, Literal

import msgspec

from node.client.client import Hex16, Hex32
from node.client.records import Progress

Cents = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


class Refusal(Shape, frozen=True, kw_only=True):
    """Why the network refused a claim."""

    name: str  # of a closed list
    text: Text
    hint: Text


class OnChain(Shape, frozen=True, kw_only=True):
    """A claim as it stands on the chain, or stood when the node was asked."""

    state: str
    reason: str | None  # of a rejection
    accepted_in_part: bool
    accepted_cents: Cents | None  # known once the payer told it
    settlement: Hex32 | None
    height: int
    time: int  # unix seconds


class Claim(Shape, frozen=True, kw_only=True):
    """A claim of ours."""

    reference: str
    progress: Progress
    payer: str  # label, or id
    leg: Literal["base", "complementary"]
    amount_cents: Cents
    claim: Hex32 | None  # its id on the chain
    transaction: Hex32 | None
    position: int | None  # in its transaction
    height: int | None
    refusal: Refusal | None
    leaves: int | None = None  # of one that waits for its window: the moment, in unix seconds
    chain: OnChain | None = None  # of one claim only, where the node answers
    doubts: tuple[Text, ...] = ()  # what looks wrong in it, when it is handed in
    left_out: tuple[Text, ...] = ()  # fields of its prescription that were not kept


class Claims(Shape, frozen=True, kw_only=True):
    """Claims of ours, in the order in which they came."""

    claims: tuple[Claim, ...]
    cursor: int | None  # `after` of the next page


class Problem(Shape, frozen=True, kw_only=True):
    """RFC 9457: what is wrong, and what to do."""

    type: str
    title: Text
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: Text = ""
    field: Text = ""  # of what was handed in


class Item(Shape, frozen=True, kw_only=True):
    """What became of one document of a lot: a claim, or why it is refused at the door."""

    number: int  # in what was handed in, from 0
    place: Text  # where it stands there
    claim: Claim | None = None
    problem: Problem | None = None


class Lot(Shape, frozen=True, kw_only=True):
    """What became of each document of a lot, in order."""

    items: tuple[Item, ...]


class Verdict(Shape, frozen=True, kw_only=True):
    """A document that would be taken, and what looks wrong in it."""

    reference: str
    category: str | None  # of the equipment, a to f; of two lenses only
    doubts: tuple[Text, ...]
    left_out: tuple[Text, ...]


class Prescription(Shape, frozen=True, kw_only=True):
    """A prescription of the vault."""

    reference: str
    written: str  # YYYY-MM-DD
    commitment: Hex32
    committed: bool  # it stands on the chain
    left_out: tuple[Text, ...] = ()
    resource: dict[str, Any] | None = None  # FHIR, of one prescription only


class Prescriptions(Shape, frozen=True, kw_only=True):
    """Prescriptions of the vault, in the order in which they came."""

    prescriptions: tuple[Prescription, ...]
    cursor: int | None


class Disclosed(Shape, frozen=True, kw_only=True):
    """Something that one member was shown by another."""

    direction: Literal["sent", "received"]
    time: int  # unix seconds, by the clock here
    member: str  # the other one: label, or id
    purpose: str  # of a closed list; "" where it could not be read
    subject: str  # id of the claim, the prior agreement, the settlement; "" likewise
    reference: str | None  # ours, of that
    state: str  # how far it has come, one of `Way`; taken or refused if received
    reason: Text | None
    acknowledged: int | None  # when the other one's signed word on it came
    expires: int


class Disclosures(Shape, frozen=True, kw_only=True):
    """The log, oldest first."""

    disclosures: tuple[Disclosed, ...]
    cursor: int | None


class Trouble(Shape, frozen=True, kw_only=True):
    """Why claims wait."""

    title: Text
    hint: Text


class Status(Shape, frozen=True, kw_only=True):
    """Who works here, and whether the node answers."""

    member: Hex16
    label: str
    network: str
    chain_id: Hex32
    node: str  # URL
    height: int | None  # of the node's newest block; None: it does not answer
    waiting: int  # claims on their way
    trouble: Trouble | None
    version: str


class Event(Shape, frozen=True, kw_only=True):
    """An entry that concerns us: the data of an event of the stream."""

    count: int  # what `Last-Event-ID` and `after` take
    height: int
    time: int  # unix seconds
    call: str
    outcome: str
    sender: str  # label, or id
    kind: str  # of the thing that it is about: claim, settlement, …; "" where it is about none
    id: str
    reference: str | None  # ours, of a claim
    said: Text  # in a sentence
