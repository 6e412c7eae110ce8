"""Catching up: which peer is asked for which decided blocks, and what is held until its turn.

Ranges of heights are asked of several peers at once, one each, the lowest first, within a window
that bounds the memory; they are executed in order, and each block is verified with the validators
of its height, which only the chain below it tells. Nobody is believed: who sends what no quorum
decided, who is slow or silent, who claims heights that never come or whose height falls is named in
the log and avoided for a while, longer each time, also when it reconnects. Nobody is avoided for
ever; and where blocks are known to be there, the slow are asked rather than nobody. A peer may have
pruned what is old: it says so, is not blamed, and is asked for what it keeps.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ledger.validators import ValidatorSet, faulty
from node import clock
from node.log import Log
from node.penalties import Penalties
from node.sync import MAX_BLOCKS, PullBlocks

WINDOW: Final = 8  # ranges asked for or held, of one frame each: 64 MiB at most, mostly far less
FIRST_RANGE: Final = 32  # blocks that are asked for at first; twice as many when they came quickly
PATIENCE_S: Final = 5.0  # for an answer at most; less once it is known how soon others answer
HASTE_S: Final = 1.0  # no answer is late before
SLOWER: Final = 8  # times slower than the quickest is slow
AVOIDED_S: Final = 5.0  # at first, doubled each time
MAX_AVOIDED_S: Final = 300.0
REPORT_S: Final = 10.0
BEHIND: Final = 3  # blocks: fewer are mostly under way, and no news
PACE_S: Final = 30.0  # over which progress is measured
NOBODY_KEEPS_IT: Final = (  # what to do then
    'stop the node, set sync.mode = "snapshot", move data/segments and data/state away (never '
    "data/journal), and start it; or link a node that keeps all"
)


@dataclass(frozen=True)
class Progress:
    """How far a node that is behind has come."""

    height: int
    target: int
    blocks_per_s: float
    left_s: int | None  # None: not known yet
    peers: tuple[str, ...]  # that are asked now
    avoided: dict[str, str]  # by label: why


@dataclass(frozen=True)
class Held:
    """Encoded blocks of consecutive heights that a peer sent, from `first` on."""

    key: bytes
    first: int
    records: tuple[bytes, ...]

    @property
    def last(self) -> int:
        """The last height."""
        return self.first + len(self.records) - 1


@dataclass
class _Asked:
    first: int
    last: int
    at: float
    until: float


@dataclass
class _Standing:
    """What is known of one peer, also while it is not linked."""

    size: int = FIRST_RANGE  # how many blocks it is asked for
    pace_s: float | None = None  # that a block took, lately
    is_liar: bool = False  # it sent what it cannot have got; else it is slow at worst
    late: _Asked | None = None  # what it was asked for and did not send in time
    kept_from: int = 1  # it says that it keeps no block below


@dataclass
class _Run:
    """One time of being behind."""

    first: int
    began: float
    told: float
    seen: deque[tuple[float, int]] = field(default_factory=deque)


class Catchup:
    """The blocks that this node lacks.

    `ask` sends a request to a peer; `take` hands blocks to who executes them, one range at a time,
    and is answered by `taken`; `punish` ends the link to a liar. `label` names a peer for people.
    """

    def __init__(
        self,
        *,
        height: Callable[[], int],
        validators: Callable[[], ValidatorSet],
        ask: Callable[[bytes, PullBlocks], bool],
        take: Callable[[Held], None],
        punish: Callable[[bytes, str], None],
        label: Callable[[bytes], str],
        log: Log,
    ) -> None:
        self._height, self._validators = height, validators
        self._ask, self._take, self._punish, self._label = ask, take, punish, label
        self._log = log
        self._claims: dict[bytes, int] = {}  # the last block that each linked peer says it has
        self._stated: dict[bytes, int] = {}  # the same, of its last `Status`
        self._asked: dict[bytes, _Asked] = {}
        self._held: dict[int, Held] = {}  # by first height
        self._taking: Held | None = None
        self._avoided = Penalties(AVOIDED_S, MAX_AVOIDED_S)
        self._standing: dict[bytes, _Standing] = {}
        self._run: _Run | None = None
        self._told_pruned = -REPORT_S  # when it was last said that nobody keeps what is lacking
        self.is_held = False  # no block is asked for, nor taken: the state comes otherwise

    # --- what peers say ----------------------------------------------------------------------

    @property
    def claims(self) -> dict[bytes, int]:
        """The last block that each linked peer says it has, by node key."""
        return self._claims

    def heard(self, key: bytes, last: int, *, is_status: bool) -> None:
        """Learn what a peer claims to have. Only its `Status` speaks of itself for certain."""
        if not is_status:
            self._claims[key] = max(last, self._claims.get(key, 0))
            return
        before = self._stated.get(key, 0)
        self._claims[key] = self._stated[key] = last
        if last < before and not (self._of(key).is_liar and self._avoided.left(key)):
            self._avoid(key, f"its height fell from {before} to {last}", lies=True)

    def unlinked(self, key: bytes) -> None:
        """Learn that a link is down: what it was asked for is asked of others."""
        for known in (self._claims, self._stated, self._asked):
            known.pop(key, None)
        self._of(key).kept_from = 1  # it may come back with more
        self.check()

    def came(self, key: bytes, first: int, records: tuple[bytes, ...], kept_from: int = 1) -> bool:
        """Take blocks that a peer sent; what it was not asked for only if it is the next block.

        It keeps none below `kept_from`.

        Returns whether this node asked for them, or can use them.
        """
        if self.is_held:
            return False
        now, standing = clock.monotonic(), self._of(key)
        asked, late = self._asked.get(key), standing.late
        due = [each.last for each in (asked, late) if each is not None and each.first == first]
        if asked is not None and asked.first == first:
            del self._asked[key]
            self._learn_pace(key, asked, len(records), now)
        elif due:
            standing.late = None
        elif len(records) == 1 and first == self._height() + 1 and self._taking is None:
            due = [first]
        else:
            return False
        standing.kept_from = kept_from
        if not records and kept_from > first:
            pass  # it pruned them: another is asked
        elif not records:
            claimed = self._claims.get(key, 0)
            self._claims[key] = min(claimed, first - 1)
            self._avoid(key, f"it claims {claimed} blocks and has no block {first}", lies=True)
        elif first not in self._held:
            self._held[first] = Held(key, first, records[: 1 + max(due) - first])
        self.check()
        return True

    def taken(self, fault: str | None) -> None:
        """Learn that the blocks handed out are executed, or at which fault that ended."""
        taken, self._taking = self._taking, None
        assert taken is not None
        if fault is not None:
            self._held = {first: h for first, h in self._held.items() if h.key != taken.key}
            self._avoid(taken.key, fault, lies=True)
            self._punish(taken.key, fault)
        self.check()

    # --- what is asked -----------------------------------------------------------------------

    def check(self) -> None:
        """Hand out what is next, give up on who is late, and ask for what is lacking."""
        if self.is_held:
            return
        now = clock.monotonic()
        for key, asked in list(self._asked.items()):
            if now >= asked.until:
                del self._asked[key]
                standing = self._of(key)
                standing.late, standing.size = asked, max(1, standing.size // 2)
                waited = asked.until - asked.at
                self._avoid(key, f"no block {asked.first} within {waited:.1f} s", lies=False)
        self._hand_out()
        while len(self._asked) + len(self._held) < WINDOW and (gap := self._gap()) is not None:
            if not self._request(*gap, now):
                break
        self._report(now)

    def _hand_out(self) -> None:
        following = self._height() + 1
        self._held = {first: h for first, h in self._held.items() if h.last >= following}
        if self._taking is None:
            for first in sorted(self._held):
                if first <= following:
                    self._taking = self._held.pop(first)
                    self._take(self._taking)
                    return

    def _gap(self) -> tuple[int, int] | None:
        """Return the lowest range that is neither here nor asked for."""
        following, top = self._height() + 1, max(self._claims.values(), default=0)
        here = [(each.first, each.last) for each in self._held.values()]
        here += [(each.first, each.last) for each in self._asked.values()]
        if self._taking is not None:
            here.append((self._taking.first, self._taking.last))
        for first, last in sorted(here):
            if following < first:
                return following, first - 1
            following = max(following, last + 1)
        return (following, top) if following <= top else None

    def _request(self, first: int, last: int, now: float) -> bool:
        """Ask the best peer that may have these blocks; return whether one was asked."""
        key = self._best(first)
        if key is None:
            return False
        standing = self._of(key)
        last = min(last, first + standing.size - 1, self._claims[key])
        if not self._ask(key, PullBlocks(first, last)):
            return False
        self._asked[key] = _Asked(first, last, now, now + self._patience_s(last - first + 1))
        return True

    def _best(self, first: int) -> bytes | None:
        """Return the quickest idle peer that claims to have a block; an avoided one at need.

        A slow peer is better than none where f + 1 validators say that the block is there.
        """
        idle = [
            key
            for key, last in self._claims.items()
            if self._of(key).kept_from <= first <= last and key not in self._asked
        ]
        good = [key for key in idle if not self._avoided.left(key)]
        if good:
            return min(good, key=lambda key: (self._of(key).pace_s or 0.0, key))
        slow = [key for key in idle if not self._of(key).is_liar]
        busy = any(not self._avoided.left(key) for key in self._asked)
        if not slow or busy or first > self.target:
            return None
        return min(slow, key=lambda key: (self._avoided.left(key), key))

    def _patience_s(self, blocks: int) -> float:
        paces = [each.pace_s for each in self._standing.values() if each.pace_s is not None]
        if not paces:
            return PATIENCE_S
        return min(PATIENCE_S, max(HASTE_S, SLOWER * min(paces) * blocks))

    def _learn_pace(self, key: bytes, asked: _Asked, blocks: int, now: float) -> None:
        standing = self._of(key)
        if not blocks:
            return
        took = now - asked.at
        standing.pace_s = took / blocks
        standing.late = None
        if took < HASTE_S:
            standing.size = min(MAX_BLOCKS, 2 * standing.size)
        others = [s.pace_s for k, s in self._standing.items() if k != key and s.pace_s is not None]
        if others and took > HASTE_S and standing.pace_s > SLOWER * min(others):
            rate, best = 1 / standing.pace_s, 1 / min(others)
            self._avoid(key, f"slow: {rate:.1f} blocks a second, not {best:.1f}", lies=False)

    def _avoid(self, key: bytes, fault: str, *, lies: bool) -> None:
        self._of(key).is_liar = lies
        seconds = self._avoided.add(key, fault)
        self._log.warning(
            "peer avoided in catching up", peer=self._label(key), reason=fault, seconds=seconds
        )

    def _of(self, key: bytes) -> _Standing:
        return self._standing.setdefault(key, _Standing())

    # --- how far it has come -----------------------------------------------------------------

    @property
    def target(self) -> int:
        """The height that at least one honest validator says it has: f of them may say anything."""
        validators = self._validators()
        claimed = sorted(self._claims.get(each.node_key, 0) for each in validators.members)
        return max(self._height(), claimed[-1 - faulty(len(validators))])

    @property
    def kept_from(self) -> int:
        """From where on peers keep blocks, where none that is further keeps the next; else 0."""
        following = self._height() + 1
        ahead = [key for key, last in self._claims.items() if last >= following]
        kept = min((self._of(key).kept_from for key in ahead), default=0)
        return kept if following <= self.target and kept > following else 0

    def progress(self) -> Progress | None:
        """Return how far this node has come, None where it is not behind."""
        if self._run is None:
            return None
        height, target, seen = self._height(), self.target, self._run.seen
        (then, low), (now, high) = seen[0], seen[-1]
        rate = (high - low) / (now - then) if now > then else 0.0
        avoided = {
            self._label(key): self._avoided.reason(key)
            for key in self._claims
            if self._avoided.left(key)
        }
        avoided |= {
            self._label(key): f"it keeps blocks from {self._of(key).kept_from} on"
            for key in self._claims
            if self._of(key).kept_from > height + 1
        }
        return Progress(
            height,
            target,
            round(rate, 1),
            round((target - height) / rate) if rate else None,
            tuple(sorted(map(self._label, self._asked))),
            avoided,
        )

    def _report(self, now: float) -> None:
        height, behind = self._height(), self.target - self._height()
        self._report_pruned(height + 1, now)
        run = self._run
        if run is None:
            if behind >= BEHIND:
                run = self._run = _Run(height, now, now)
                run.seen.append((now, height))
                self._log.info("catching up", height=height, target=self.target)
            return
        if now - run.seen[-1][0] >= PACE_S / 100:
            run.seen.append((now, height))
        while now - run.seen[0][0] > PACE_S and len(run.seen) > 1:
            run.seen.popleft()
        if behind <= 0 and self._taking is None:
            self._run = None
            blocks, seconds = height - run.first, round(now - run.began, 1)
            self._log.info("caught up", height=height, blocks=blocks, seconds=seconds)
        elif now - run.told >= REPORT_S:
            run.told = now
            progress = self.progress()
            assert progress is not None
            self._log.info(
                "catching up",
                height=progress.height,
                target=progress.target,
                blocks_per_s=progress.blocks_per_s,
                left_s=progress.left_s,
                peers=list(progress.peers),
            )

    def _report_pruned(self, following: int, now: float) -> None:
        """Say what to do where every peer that is further has pruned the next block."""
        if (kept_from := self.kept_from) and now - self._told_pruned >= REPORT_S:
            self._told_pruned = now
            self._log.error(
                "no peer keeps the next block",
                height=following,
                kept_from=kept_from,
                hint=NOBODY_KEEPS_IT,
            )
