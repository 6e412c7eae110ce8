"""What is made durable before anything that depends on it is sent, and the fold that restores it.

Promises are what this validator said, not what it heard: a restart folds them and goes on, and the
others' messages come again by anti-entropy. They bind within one height only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never, cast

from consensus.errors import BadPromises, MalformedMessage
from consensus.messages import (
    MAX_MESSAGE_BYTES,
    Commit,
    Height,
    Prepare,
    PreparedCertificate,
    Proposal,
    Round,
    RoundChange,
    Signed,
)
from ledger import encoding
from ledger.encoding import Struct
from ledger.errors import Malformed
from ledger.hashing import Hash


class Said(Struct, tag=1):
    """This validator signed `message`. With a proposal or a prepare goes the block's body."""

    message: Signed


class Locked(Struct, tag=2):
    """This validator saw a quorum prepare the block that it accepted."""

    certificate: PreparedCertificate


class Kept(Struct, tag=3):
    """Somebody's proposal of a round above 0 that this validator prepared.

    Two certificates and such a proposal convict whoever forks the chain.
    """

    proposal: Proposal


class Resumed(Struct, tag=4):
    """What this validator signed at `height` in rounds below `round` is lost, by a ceremony.

    It signs nothing below that round, and hearing of what it signed there is no alarm.
    """

    height: Height
    round: Round


Promise: TypeAlias = Said | Locked | Kept | Resumed
Slot: TypeAlias = tuple[type[Signed], int]  # one content for each kind and round, for ever


@dataclass(slots=True)
class Restored:
    """What the promises of one height amount to."""

    round: int = 0  # highest in which it voted or proposed
    wish: int = 0  # highest round change, never below the round
    accepted: Hash | None = None  # prepared in `round`
    lost: int = 0  # in rounds below this one it may have signed what is not here
    prepared: PreparedCertificate | None = None
    said: dict[Slot, Signed] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)  # own and kept, by round


def encode(promise: Promise) -> bytes:
    """Return the one encoding of `promise`."""
    return encoding.encode(promise)


def decode(data: bytes) -> Promise:
    """Return the promise whose encoding is `data`, or raise `MalformedMessage`."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedMessage("promise", f"{len(data)} bytes, more than {MAX_MESSAGE_BYTES}")
    try:
        return encoding.decode(data, cast("type[Promise]", Promise), kind="promise")
    except Malformed as error:
        raise MalformedMessage("promise", error.reason) from None


def height_of(promise: Promise) -> int:
    """Return the height that `promise` binds."""
    match promise:
        case Said(message):
            return message.height
        case Locked(certificate):
            return certificate.height
        case Kept(proposal):
            return proposal.height
        case Resumed(height):
            return height
        case _:
            assert_never(promise)


def is_forever(promise: Promise) -> bool:
    """Return whether `promise` must outlive its height: a proposal of a round above 0."""
    match promise:
        case Said(Proposal() as proposal) | Kept(proposal):
            return proposal.round > 0
        case _:
            return False


def restore(promises: Iterable[Promise], height: int) -> Restored:
    """Return the fold of those `promises` that bind `height`.

    Raises `BadPromises` where they contradict each other: no core wrote them.
    """
    state = Restored()
    for promise in promises:
        if height_of(promise) != height:
            continue
        match promise:
            case Locked(certificate):
                if state.prepared is None or certificate.round >= state.prepared.round:
                    state.prepared = certificate
            case Kept(proposal):
                state.proposals[proposal.round] = proposal
            case Resumed(_, round_):
                state.lost = max(state.lost, round_)
            case Said(message):
                _said(state, message)
            case _:
                assert_never(promise)
    if (prepare := state.said.get((Prepare, state.round))) is not None:
        assert isinstance(prepare, Prepare)
        state.accepted = Hash(prepare.block_id)
    state.wish = max(state.wish, state.round, state.lost)
    return state


def _said(state: Restored, message: Signed) -> None:
    slot = (type(message), message.round)
    if state.said.setdefault(slot, message) != message:
        raise BadPromises(f"two {slot[0].__name__}s of round {message.round}")
    match message:
        case RoundChange():
            state.wish = max(state.wish, message.round)
        case Proposal():
            state.round = max(state.round, message.round)
            state.proposals[message.round] = message
        case Prepare() | Commit():
            state.round = max(state.round, message.round)
        case _:
            assert_never(message)
