"""What goes into the machine and what comes out: events, and one output for each.

A shell (node/replica) drives a `Core` of one height like this:

1.  Make `Core(me, sign, chain_id, height, validators, promises)` with the promises that the journal
    holds for this height. For every block whose body the journal still has, hand in
    `Judged(id, True, outline)`; then hand in the `core.future` of the previous height, one
    `Received` each (decided heights only ever buffer for the next), then one `Tick()`, which
    re-sends what was promised and sets the timer. Then `Work(pending)` as the mempool says, and
    `Ready()` once min_interval has passed since the parent was decided.
2.  From a peer: decode, check `message.height`, drop what `core.wants` does not, verify every
    signature that `messages.signatures(message, chain_id, validators of that height)` lists (height
    h or h + 1), and only then hand in `Received(message, sender)`. A `Status` has no signature: its
    sender is what the link says. Messages above h + 1 mean that this node is behind: sync. Lower
    ones may be handed in unverified: they are only answered.
3.  Take the `Output` in the order of its fields:
        promises   append to the journal (a `Prepare` or `Proposal`: with the block's body), fsync;
        decided    write the block and its certificate, durably; apply it; make the next core;
        messages   send: to everyone, or to one peer; own messages are counted already;
        timer      the one timer of the height: set (replacing), cancel, or leave (None);
        asks       start these; an ask stands until it is answered, and `Tick` repeats it, so drop
                   the ones already under way;
        evidence   keep, and put into a block;
        refusal    the peer sent what no honest validator sends: log it, perhaps close the link.
    `promises` before `messages` is what keeps a validator from contradicting itself after a crash.
    A shell that cannot write must stop: it may not hand in further events.
4.  `Tick()` about once a second (jittered) while the height is open; it sends nothing when there is
    nothing to do. A heartbeat of the shell broadcasts `core.status()`; that is all an idle network
    hears.

Answers to asks:
    Judge    verify the parent's certificate, assemble the body from the leaves (own mempool, then
             `source`), execute, compare the header; where `fresh`, also judge the header's time
             against the moment the proposal came. Answer `Judged(id, ok)`; ok promises that the
             body can be made durable. Where a body cannot be had, do not answer: it is asked again.
    Fetch    get the whole block by id from `holders`, judge it without its time, and answer
             `Judged(id, True, outline)`. A quorum prepared or committed it: if the block of that
             id, its outline being the true one, is *invalid*, this node has diverged and must stop.
    Build    make a block with `built_round = round` on the parent and judge it; answer
             `Built(outline)`. In round 0, where nothing is left to include, answer `Work(False)`.
             Above round 0 the block may be empty.
    SendDecided   send `Decided` of that height (rate-limited) to this peer, and the block if asked.
    Pull     a validator wants a new round and we know of no work: ask it for its mempool.

An observer is a core with `me = None`: it follows and decides, and signs nothing.
"""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.errors import ConsensusError
from consensus.evidence import Evidence
from consensus.messages import Message
from consensus.promises import Promise
from ledger.block import Outline
from ledger.certificate import CommitCertificate
from ledger.hashing import Hash

# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A message came, all its signatures verified.

    `sender` is the peer that the link names: the index of a validator, or any negative number by
    which the shell knows an observer. None where it does not matter; a `Status` needs it.
    """

    message: Message
    sender: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer to `Judge` or `Fetch`; to `Fetch`, and at a restart, with the outline."""

    block_id: Hash
    ok: bool
    outline: Outline | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """The answer to `Build`: a block of ours, which is therefore judged valid."""

    outline: Outline


@dataclass(frozen=True, slots=True)
class Expired:
    """The timer of this height and round ran out."""

    height: int
    round: int


@dataclass(frozen=True, slots=True)
class Work:
    """There is, or is no longer, something that needs a block."""

    pending: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The minimal interval since the parent was decided has passed."""


@dataclass(frozen=True, slots=True)
class Tick:
    """About a second has passed: say again what may have been lost."""


Event: TypeAlias = Received | Judged | Built | Expired | Work | Ready | Tick

# --- output -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """This block, whose body the shell has, is decided for ever."""

    block_id: Hash
    certificate: CommitCertificate


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Send this to everyone (`to` is None) or to the one peer that a `Received` named."""

    message: Message
    to: int | None = None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Arm the one timer, replacing what was set: then `Expired(height, round)`."""

    round: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """No timer any more."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Is this block valid? `source` proposed it; `fresh` means that its time is judged too."""

    outline: Outline
    source: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Build:
    """Make a block of ours for this round."""

    round: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a block that a quorum vouches for; these validators signed that they have its body."""

    block_id: Hash
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendDecided:
    """A peer is behind: send it the `Decided` of this height."""

    to: int
    height: int


@dataclass(frozen=True, slots=True)
class Pull:
    """A validator sees work that we do not: ask for its mempool."""

    validator: int


Ask: TypeAlias = Judge | Build | Fetch | SendDecided | Pull


@dataclass(frozen=True, slots=True)
class Output:
    """What to do, in the order of the fields: durable first, then sent."""

    promises: tuple[Promise, ...] = ()
    decided: Decision | None = None
    messages: tuple[Outgoing, ...] = ()
    timer: SetTimer | CancelTimer | None = None
    asks: tuple[Ask, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    refusal: ConsensusError | None = None
