"""Where the network stands, worked out from what its nodes say of themselves.

What peers say is not proved. Where it decides which height or round counts, f + 1 validators must
say so, one of whom is honest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median_low
from typing import Final

from ledger.validators import faulty
from node.doctor.findings import Verdict
from node.doctor.phrases import span
from node.health import Health, is_set
from node.upgrade import Outlook

STALLED_TIMEOUTS: Final = 10  # a height that takes as many times the base timeout does not move
STALLED_WISH: Final = 2  # and in which so high a round is asked for: one leader may well be down
STARTING_MS: Final = 5_000  # a node that started so lately may not have all its links yet
CLOCKS: Final = 3  # of fewer nobody can say which is wrong


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one node of the network."""

    label: str
    index: int | None  # which of the validators of the open height it is, by its node key
    address: str = ""  # where it is reached, "" where the configuration does not say
    is_linked: bool = False
    trouble: str = ""  # why there is no link, in words
    said: Health | None = None  # None: it was not asked, or did not answer in time
    heard_ms: int = 0  # our wall clock half way between the question and its answer
    round_trip_ms: int = 0

    @property
    def may_vote(self) -> bool:
        """Whether it says that it is the validator that it should be, and may sign."""
        said = self.said
        return said is not None and said.signs_as == self.index and not said.silence

    @property
    def offset_ms(self) -> int:
        """How far its clock is ahead of ours; it must have answered."""
        assert self.said is not None
        return self.said.clock_ms - self.heard_ms

    def is_linked_to(self, other: "Seen") -> bool:
        """Return whether it says that it has a link to another validator."""
        return (
            other.index is not None
            and self.said is not None
            and is_set(self.said.linked, other.index)
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two live nodes that speak with one node key."""

    label: str | None  # whose key it is, None: that of this node
    places: tuple[str, ...]  # from where they call
    told_by: str | None  # which peer says so, None: it was seen here


@dataclass(frozen=True, slots=True)
class Facts:
    """What was collected at one node; it stands first among the nodes, and has answered itself."""

    nodes: tuple[Seen, ...]
    validators: int
    quorum: int
    leader: Callable[[int], int]  # of a round of the open height here: an index
    base_timeout_ms: int
    precision_ms: int  # by which clocks may differ
    node_key_of: str | None  # whose registered node key this node has, None: nobody's
    votes_from: int | None = None  # from which height on it is a validator, where it is none yet
    twins: tuple[Pair, ...] = ()
    offences: tuple[tuple[int, int], ...] = ()  # by which validator, how many are proved
    passed_over: tuple[tuple[int, int], ...] = ()  # who has no turn, and at which height it has one
    outlook: Outlook | None = None  # the rules to come, where any are scheduled
    unready: tuple[str, ...] = ()  # who has not signalled that its node knows them
    kept_from: int = 0  # from where on peers keep blocks, where none keeps the next one
    damage: str = ""  # of a block on the disk of this node


@dataclass(frozen=True, slots=True)
class Votes:
    """What all that answered hold of one round of the height that is open here."""

    round: int
    proposal: bool
    prepares: frozenset[int]
    commits: frozenset[int]
    changes: frozenset[int]  # who asks for a higher round


class Situation:
    """What follows from the facts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.here = facts.nodes[0]
        assert self.here.said is not None  # a node answers itself
        self.health = self.here.said
        self.height = self.health.status.height  # that is open here
        self.voters = {node.index: node for node in facts.nodes if node.index is not None}
        self.heard = [(node, node.said) for node in facts.nodes if node.said is not None]

    def label(self, index: int) -> str:
        """Return the name of a validator."""
        node = self.voters.get(index)
        return f"validator {index}" if node is None else node.label

    # --- who can decide ------------------------------------------------------------------------

    @cached_property
    def reached(self) -> int:
        """How many validators are here or linked."""
        return sum(node.is_linked or node is self.here for node in self.voters.values())

    @cached_property
    def able(self) -> int:
        """How many validators answer, and may sign."""
        return sum(node.may_vote for node in self.voters.values())

    @cached_property
    def top(self) -> int:
        """The height that the network decides, as far as it is known."""
        return max(
            self.height,
            self._rank([said.status.height for node, said in self.heard if node.index is not None]),
        )

    @property
    def behind(self) -> int:
        """How many heights this node is below the network."""
        return self.top - self.height

    @cached_property
    def wish(self) -> int:
        """The highest round that somebody honest asks for at the open height."""
        status = self.health.status
        return max(status.wish, self.votes.round, self._rank(status.wishes))

    @cached_property
    def verdict(self) -> Verdict:
        """How things stand, in one word."""
        patience_ms = STALLED_TIMEOUTS * self.facts.base_timeout_ms
        stalled = self.wish >= STALLED_WISH and self.since_block_ms > patience_ms
        if self.behind <= 1 and (self.able < self.facts.quorum or stalled):
            return Verdict.STOPPED
        busy = self.is_waiting or self.wish or self.behind
        return Verdict.MOVING if busy else Verdict.IDLE

    @cached_property
    def is_waiting(self) -> bool:
        """Whether a transaction waits at any node that answered."""
        return any(said.waiting for _, said in self.heard)

    @cached_property
    def summary(self) -> str:
        """How things stand, in one sentence."""
        facts, last = self.facts, self.height - 1
        since = f"{span(self.since_block_ms)} ago"
        since = f"since block {last}, {since}" if last else f"since the chain began, {since}"
        if self.behind > 1:
            goes_on = "no peer keeps the next one" if facts.kept_from else "fetches them"
            return f"This node is {self.behind} blocks behind the others, and {goes_on}."
        if self.verdict is Verdict.IDLE:
            return f"Nothing waits at any node: that is why there is no block {since}."
        if self.verdict is Verdict.MOVING:
            return f"Block {self.height} is being decided. None came {since}."
        if self.able >= facts.quorum:
            return f"There is no block {since}: round after round fails."
        if self.reached < facts.quorum and self.here.index is None:
            return (
                f"This node reaches {self.reached} of {facts.validators} validators, too few to"
                f" know whether blocks are made: {facts.quorum} make one. None came {since}."
            )
        few, how = (
            (self.reached, "are reached")
            if self.reached < facts.quorum
            else (self.able, "may vote")
        )
        return (
            f"No block can be made: {few} of {facts.validators} validators {how}, "
            f"{facts.quorum} are needed. None came {since}."
        )

    # --- clocks --------------------------------------------------------------------------------

    @cached_property
    def since_block_ms(self) -> int:
        """How long ago the last block was, by the clock of most."""
        now_ms = self.health.clock_ms - self.skew_ms(self.here)
        return max(0, now_ms - self.health.block_time * 1000)

    def skew_ms(self, node: Seen) -> int:
        """Return how far a clock is ahead of most; its node must have answered."""
        return node.offset_ms - self._middle_ms

    def blur_ms(self, node: Seen) -> int:
        """Return how exactly a skew is known: half a round trip; for ours, that of most."""
        trips = [each.round_trip_ms for each, _ in self.heard if each is not self.here]
        return (median_low(trips or [0]) if node is self.here else node.round_trip_ms) // 2

    def is_off(self, node: Seen) -> bool:
        """Return whether a clock is further off than the protocol allows, beyond doubt."""
        return abs(self.skew_ms(node)) - self.blur_ms(node) > self.facts.precision_ms

    @cached_property
    def _middle_ms(self) -> int:
        return median_low(node.offset_ms for node, _ in self.heard)

    # --- the round that is under way -----------------------------------------------------------

    @cached_property
    def votes(self) -> Votes:
        """What is known of the round that the open height is in."""
        here = [(node, s.status) for node, s in self.heard if s.status.height == self.height]
        rounds = [status.round for node, status in here if node.index is not None]
        round_ = max(self.health.status.round, self._rank(rounds))
        held = [item for _, status in here for item in status.held if item.round == round_]
        asked = {
            index
            for _, status in here
            for index, wish in enumerate(status.wishes)
            if wish > round_ and index < self.facts.validators
        }
        return Votes(
            round_,
            any(item.proposal for item in held),
            self._known([item.prepares for item in held]),
            self._known([item.commits for item in held]),
            frozenset(asked),
        )

    @property
    def leader(self) -> int:
        """Who leads that round."""
        return self.facts.leader(self.votes.round)

    @cached_property
    def lacking(self) -> tuple[str, frozenset[int]]:
        """The first thing that the round lacks, and who has not given it."""
        votes, quorum = self.votes, self.facts.quorum
        everyone = frozenset(range(self.facts.validators))
        if votes.changes and len(votes.changes) < quorum:
            return "a quorum that gives it up", everyone - votes.changes
        if not votes.proposal:
            return "its proposal", frozenset({self.leader})
        if len(votes.prepares) < quorum:
            return "prepares", everyone - votes.prepares
        return "commits", everyone - votes.commits

    def _known(self, bitmaps: Sequence[bytes]) -> frozenset[int]:
        indices = range(self.facts.validators)
        return frozenset(i for i in indices if any(is_set(bits, i) for bits in bitmaps))

    def _rank(self, values: Sequence[int]) -> int:
        """Return what f + 1 validators reach at least, 0 where not so many say anything."""
        f = faulty(self.facts.validators)
        return sorted(values, reverse=True)[f] if len(values) > f else 0
