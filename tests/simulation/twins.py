"""Every script of a twin attack, enumerated: after Bano et al., Twins (OPODIS 2021).

Four validators, one of whom runs twice under one key with the honest rules on both sides. A script
says who leads each round and, for each round, how the five instances are split in two and which
kind of message is lost. A round is lock-step: each instance first says again what it said, then
messages pass until there are no more, and who has not decided gives up its round. What crosses the
split, and what is of the lost kind, never arrives. After the script the network heals, and the
validators lead in turn.

Nothing is sampled. The number of scripts is counted as they are played, with the number of scripts
that each step stands for, and must come out at 320 to the power of the rounds. What keeps the
number of steps small, and why it loses no script:

*   *Renaming.* The three honest validators are alike but for the rounds that they lead, and the two
    instances of the twin are alike. Scripts that are images of each other under a renaming give
    runs that are images of each other; one of them is walked (`_orbits`). (After the script the
    validators lead in an order that is renamed with them.)
*   *States.* Scripts that lead to the same five states have the same future, and go on as one;
    where all honest instances have decided there is none. Two machines count as one where no rule
    can tell them apart any more (`_state_of`): a complete quorum may be of any signatures, and
    nobody signs below the round that it asked for, so neither proposals nor prepares of those
    rounds count, nor who led them once all have asked for more (`leaders_after`). What was signed
    tells states apart for the sake of the lemmas only; with `lemmas=False` it does not: then
    agreement and the decision after healing are checked for every script, but the lemmas are not.
*   *Memory.* A machine does the same whenever it hears the same message in the same state, and so
    do the machines on one side of a split; both are looked up, whatever the rest of the network
    does (`_step`, `_play_side`). Who leads a round is a part of what is looked up only if somebody
    asked for it (`Known`): schedules of leaders share what does not depend on them.
*   *Losses.* To lose messages none of which changed anything, loses nothing: one that is held
    already leaves a machine as it is (`_play_side`).

A machine in memory is a row of values, its messages are numbers (`_pack`); to clone the object
would take some kilobytes for each of a million.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b, sha256
from itertools import permutations, product
from random import Random
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from consensus.core import RULES, Core
from consensus.interface import (
    Build,
    Built,
    Event,
    Expired,
    Fetch,
    Judge,
    Judged,
    Ready,
    Received,
    Tick,
    Work,
)
from consensus.messages import (
    Commit,
    Decided,
    Message,
    Prepare,
    Proposal,
    RoundChange,
    Signed,
    Statement,
)
from consensus.votes import Book
from ledger.block import Header, Outline, evidence_root, parent_commit_hash
from ledger.hashing import NO_HASH, Hash
from ledger.merkle import root_of_leaves
from ledger.turns import Turns
from ledger.validators import Validator, ValidatorSet
from tests.simulation.oracle import Violation

N: Final = 4
INSTANCES: Final = 5
KEYS: Final = (0, 0, 1, 2, 3)  # of each instance: the first two are the twins
HONEST: Final = (2, 3, 4)
QUORUM: Final = 3
KINDS: Final = ("Proposal", "Prepare", "Commit", "RoundChange")
NOTHING: Final = ""
HEAL_ROUNDS: Final = 6  # those of a script may all be led by a twin that is silent now
FORGOTTEN: Final = -1  # a leader of whom nothing depends any more
_SETS: Final = ("_valid", "_untimely", "_reported", "_recent", "_done")  # of a core
START, END = 0, 1  # numbers of events; those above are of messages
_CHAIN: Final = sha256(b"twins").digest()

# Who is on the other side of the split from the first instance, as bits; which kind of message is
# lost; and for whom, as bits. `SPLITS` is the alphabet of Bano et al.; in `DEAF` all hear each
# other, but some hear nothing of one kind: only so is a single honest validator locked.
Letter: TypeAlias = tuple[int, str, int]
EVERYONE: Final = (1 << INSTANCES) - 1
SPLITS: Final[tuple[Letter, ...]] = tuple(
    (side, kind, EVERYONE) for side in range(0, 1 << INSTANCES, 2) for kind in (NOTHING, *KINDS)
)
DEAF: Final[tuple[Letter, ...]] = tuple(
    (0, kind, deaf) for kind in KINDS for deaf in range(1, EVERYONE)
)
# One honest validator alone hears a kind, or is cut off while the others cannot decide: so they
# come to hold different locks.
SHARP: Final[tuple[Letter, ...]] = (
    (0, NOTHING, 0),
    *((0, kind, EVERYONE ^ 1 << one) for one in HONEST for kind in ("Prepare", "Commit")),
    *((1 << one, kind, EVERYONE) for one in HONEST for kind in ("Commit", NOTHING)),
)
K = TypeVar("K")
T = TypeVar("T")
Branch: TypeAlias = list[Any]
Packed: TypeAlias = tuple[Any, ...]
Leaders: TypeAlias = tuple[int, ...]  # keys, by round
Renaming: TypeAlias = tuple[int, ...]  # of instances
State: TypeAlias = tuple[int, ...]  # numbers of local states, of some instances
Step: TypeAlias = tuple[int, tuple[int, ...]]  # the local state, and numbers of messages
# The states after a round, what each asked for before its time was over, and the kinds of message
# that made a difference.
Side: TypeAlias = tuple[State, tuple[int, ...], frozenset[str]]
Node: TypeAlias = tuple[State, frozenset[Renaming]]
Orbit: TypeAlias = tuple[Letter, int, frozenset[Renaming]]
Item: TypeAlias = tuple[str, int, int, bytes, int]  # kind, key, round, block or claim, lock


@dataclass(slots=True)
class Told:
    """What came of an enumeration."""

    scripts: int = 0  # that were covered
    walked: int = 0  # rounds of one side that were played
    states: int = 0  # different ones of all five, after a round
    healed: Counter[int] = field(default_factory=Counter)  # rounds after healing -> states

    def add(self, other: "Told") -> None:
        """Add what came of another part."""
        self.scripts += other.scripts
        self.walked += other.walked
        self.states += other.states
        self.healed.update(other.healed)


class Known(Generic[K, T]):
    """What was found out before, by what was asked and by the leaders that had to be known.

    A branch is a list: the round whose leader must be known, and what is known under each leader.
    """

    def __init__(self, leader: Callable[[int], int]) -> None:
        self._leader = leader
        self.found: dict[K, Branch | T] = {}

    def get(self, name: K) -> T | None:
        """Return what is known, under the leaders of now."""
        found = self.found.get(name)
        while isinstance(found, list):
            found = found[1 + self._leader(found[0])]
        return found

    def put(self, name: K, leaders: dict[int, int], value: T) -> None:
        """Remember what holds where these rounds, asked for in this order, are led so."""
        row: Any = self.found
        place: Any = name
        for round_, leader in leaders.items():
            if place not in self.found if row is self.found else row[place] is None:
                row[place] = [round_, *[None] * N]
            row, place = row[place], 1 + leader
            assert row[0] == round_
        row[place] = value


class Stage:
    """All that five instances do; what they did is remembered."""

    def __init__(
        self, leaders: Leaders, core_type: type[Core] = Core, *, lemmas: bool = True
    ) -> None:
        self.leaders = leaders  # of the rounds of the script; then all lead in turn
        self.validators = _validators()
        self.walked = 0
        self.headers: dict[bytes, Header] = {}
        self.outlines: dict[bytes, Outline] = {}
        self._lemmas = lemmas
        self._asked: dict[int, int] = {}  # whose leader was asked for, and who it is
        self._messages: list[Message | None] = [None, None]  # START and END are none
        self._kinds: list[str] = [NOTHING, NOTHING]
        self._numbers: dict[object, int] = {}  # of messages
        self._cores: list[Packed] = []  # by local state
        self._wishes: list[int] = []
        self._items: dict[Item, int] = {}
        self._shared: dict[object, Any] = {}
        self._said: list[frozenset[Item]] = []
        self._decided: list[tuple[int, bytes] | None] = []
        self._live: list[int] = []  # the first that is as much alive
        self._lives: dict[object, int] = {}
        self._locals: dict[object, int] = {}
        self._steps: Known[int, Step] = Known(self.leader)
        self._sides: Known[object, Side] = Known(self.leader)
        self._heals: Known[State, int] = Known(self.leader)

        class Instance(core_type):  # type: ignore[misc, valid-type]
            def _recognise(self, _: Statement) -> None:
                """A twin does not mind what the other signed; nobody else can sign for the rest."""

        self._type: type[Core] = Instance
        self._names: tuple[str, ...] = ()
        self.first: State = tuple(map(self._first, range(INSTANCES)))

    def leader(self, round_: int) -> int:
        """Return who leads; what depends on that is remembered with it."""
        leader = self.leaders[round_] if round_ < len(self.leaders) else round_ % N
        assert leader != FORGOTTEN
        self._asked.setdefault(round_, leader)
        return leader

    # --- one instance -------------------------------------------------------------------------

    def _first(self, instance: int) -> int:
        key, turns = KEYS[instance], _scripted(self.leader)
        core = self._type(key, _signer(key), _CHAIN, 1, self.validators, turns=turns)
        self._names = tuple(name for name in vars(core) if name != "_book")
        return self._local(instance, core, frozenset())

    def _local(self, instance: int, core: Core, said: frozenset[Item]) -> int:
        decision = core.decision
        decided = None if decision is None else (decision.certificate.round, decision.block_id)
        state = self._state_of(core)
        name = (instance, said if self._lemmas else None, decided, state)
        known = self._locals.get(name)
        if known is None:
            known = self._locals[name] = len(self._cores)
            self._cores.append(self._pack(core))
            self._wishes.append(core.wish)
            self._said.append(said)
            self._decided.append(decided)
            self._live.append(self._lives.setdefault((instance, decided, state), known))
        return known

    def _step(self, instance: int, local: int, event: int) -> Step:
        """Return the state after one event, and the numbers of what is then said to all."""
        name = local << 16 | event
        known = self._steps.get(name)
        if known is None:
            outer, self._asked = self._asked, {}
            known = self._stepped(instance, local, event)
            self._steps.put(name, self._asked, known)
            outer.update(self._asked)
            self._asked = outer
        return known

    def _stepped(self, instance: int, local: int, event: int) -> Step:
        packed, message = self._cores[local], self._messages[event]
        late = isinstance(message, Proposal | Prepare) and message.round < self._wishes[local]
        if late or event in packed[-1]:
            return local, ()  # most of what is heard is said again
        core, said = self._unpack(packed), set(self._said[local])
        if event == START:
            waiting: list[Event] = (
                [Tick()] if local not in self.first else [Work(pending=True), Ready()]
            )
        elif event == END:
            waiting = [Expired(1, core.round), Tick()]
        else:
            assert message is not None
            waiting = [Received(message)]
        sent: list[Message] = []
        while waiting:
            output = core.handle(waiting.pop(0))
            for outgoing in output.messages:
                sent.append(outgoing.message)
                self._sign(instance, said, outgoing.message)
            for ask in output.asks:
                match ask:
                    case Judge(outline):
                        waiting.append(Judged(outline.header.hash, ok=True))
                    case Build(round_):
                        waiting.append(Built(self._block(instance, round_)))
                    case Fetch(block_id):
                        outline = self.outlines[block_id]
                        waiting.append(Judged(Hash(block_id), ok=True, outline=outline))
                    case _:
                        pass
        if core.decision is not None:
            certificate = core.decision.certificate
            sent.append(Decided(self.headers[certificate.block_id], certificate))
        numbers = () if event == END else tuple(map(self._number, sent))
        core._rules = ()  # else it would hold itself
        return self._local(instance, core, frozenset(said)), numbers

    def _number(self, message: Message) -> int:
        number = self._numbers.setdefault(_name_of(message), len(self._messages))
        if number == len(self._messages):
            self._messages.append(message)
            self._kinds.append(type(message).__name__)
        return number

    def _sign(self, instance: int, said: set[Item], message: Message) -> None:
        """Take down what an instance signs; what it said before binds it (L4)."""
        if not isinstance(message, Signed) or message.signer != KEYS[instance]:
            return
        item = _item(message)
        if item in said:
            return
        kind, key, round_, block_id, lock = item
        if instance in HONEST:
            wish = max((r for k, _, r, _, _ in said if k == "RoundChange"), default=0)
            locks = [r for k, _, r, _, _ in said if k == "Commit"]
            if any((k, r) == (kind, round_) for k, _, r, _, _ in said):
                raise Violation("L4", f"validator {key} signed two {kind}s of round {round_}")
            if kind != "RoundChange" and round_ < wish:
                raise Violation("L4", f"validator {key} signed a {kind} below its round change")
            if kind == "RoundChange" and lock < max(locks, default=-1):
                raise Violation("L4", f"validator {key} forgot its lock")
            if kind == "Commit" and ("Prepare", key, round_, block_id, -1) not in said:
                raise Violation("L4", f"validator {key} committed what it did not prepare")
        said.add(item)

    def _block(self, instance: int, round_: int) -> Outline:
        leaves = (sha256(b"%d %d" % (instance, round_)).digest(),)
        header = Header(
            *(1, _CHAIN, 1, 0, NO_HASH, root_of_leaves([Hash(leaf) for leaf in leaves]), 1),
            *(NO_HASH, NO_HASH, NO_HASH, self.validators.hash, self.validators.hash),
            *(self.validators.members[KEYS[instance]].member, round_),
            *(parent_commit_hash(None), evidence_root(())),
        )
        outline = Outline(header, None, (), leaves)
        self.headers[header.hash], self.outlines[header.hash] = header, outline
        return outline

    def _number_items(self, messages: Iterable[Signed]) -> tuple[int, ...]:
        items = self._items
        return tuple(sorted({items.setdefault(_item(m), len(items)) for m in messages}))

    # --- cores as values ----------------------------------------------------------------------

    def _pack(self, core: Core) -> Packed:
        """Return a core as few bytes: messages as numbers, and nothing held twice."""
        values = dict(vars(core))
        book = values.pop("_book")
        held = tuple(map(self._number, book.messages()))
        values["_said"] = tuple(map(self._number, core._said.values()))
        values["_outlines"] = tuple(core._outlines)
        if core.prepared is not None:
            lock = core.prepared.round, core.prepared.block_id
            values["prepared"] = self._shared.setdefault(lock, core.prepared)
        values["_rules"] = values["_draft"] = None
        assert not core._future
        for name in _SETS:
            values[name] = self._share(frozenset(values[name]))
        return (*values.values(), tuple(book._wishes), book._base, self._share(held))

    def _share(self, value: T) -> T:
        found: T = self._shared.setdefault(value, value)
        return found

    def _unpack(self, packed: Packed) -> Core:
        core: Core = object.__new__(self._type)
        *values, wishes, base, held = packed
        vars(core).update(zip(self._names, values, strict=True))
        for name in _SETS:
            setattr(core, name, set(vars(core)[name]))
        messages = cast("list[Signed]", self._messages)
        said = [messages[number] for number in cast("tuple[int, ...]", core._said)]
        core._said = {(type(m), m.round): m for m in said}
        core._outlines = {block_id: self.outlines[block_id] for block_id in core._outlines}
        core._future = {}
        core._rules = tuple(getattr(core, rule) for rule in RULES)
        core._book = book = Book(1, self.validators)
        book._base, book._wishes = base, list(wishes)
        book._ranked = sorted(wishes, reverse=True)
        for message in [messages[number] for number in held]:
            book._slots[type(message)][message.signer][message.round] = message
        book._order_proposals()
        return core

    def _state_of(self, core: Core) -> tuple[object, ...]:
        """Return all that a rule may still look at."""
        if core.decision is not None:
            return ()
        round_, wish, said = core.round, core.wish, core._said
        held = core._book._slots
        live: list[Signed] = []
        for rounds in held[Commit]:
            live += rounds.values()
        for rounds in held[Prepare]:
            live += [
                m for m in rounds.values() if m.round >= wish and (Commit, m.round) not in said
            ]
        for rounds in held[Proposal]:
            live += [
                m for m in rounds.values() if m.round >= wish and (Prepare, m.round) not in said
            ]
        asked = [
            m
            for rounds in held[RoundChange]
            for r, m in rounds.items()
            if r >= wish and said.get((RoundChange, r)) is not m
        ]
        leads = {r: core._context.leader(r) == core._me for r in sorted({m.round for m in asked})}
        live += [m for m in asked if leads[m.round] and (Proposal, m.round) not in said]
        lock = -1 if core.prepared is None else core.prepared.round
        mine = [said.get((RoundChange, wish)), said.get((Commit, lock))]
        mine += [said.get((kind, round_)) for kind in (Proposal, Prepare, Commit)]
        return (
            *(round_, wish, core.accepted if wish == round_ else None, core._ready),
            None if core.prepared is None else (lock, core.prepared.block_id),
            frozenset(leads.items()),
            self._number_items(live),
            self._number_items(filter(None, mine)),
            tuple(max(round_, other) for other in core._book._wishes),
        )

    # --- all five -----------------------------------------------------------------------------

    def play(self, state: State, letter: Letter) -> State:
        """Return the states after one round under this split and this loss."""
        side, lost, deaf = letter
        now = list(state)
        for members in _SIDES[side]:
            before = tuple([state[instance] for instance in members])
            after = self._play_side(members, before, lost, deaf)[0]
            for instance, local in zip(members, after, strict=True):
                now[instance] = local
        return tuple(now)

    def _play_side(self, members: tuple[int, ...], before: State, lost: str, deaf: int) -> Side:
        """Return what comes of one round on one side of the split."""
        if lost:
            plain = self._play_side(members, before, NOTHING, 0)
            if lost not in plain[2]:
                return plain
        name = (before, lost, deaf)
        known = self._sides.get(name)
        if known is None:
            outer, self._asked = self._asked, {}
            known = self._played(members, before, lost, deaf)
            self._sides.put(name, self._asked, known)
            outer.update(self._asked)
            self._asked = outer
        return known

    def _played(self, members: tuple[int, ...], before: State, lost: str, deaf: int) -> Side:
        self.walked += 1
        steps, decided, kinds = self._steps.found, self._decided, self._kinds
        now, mattered = list(before), set()
        said: list[list[int]] = []
        for place, instance in enumerate(members):
            now[place], sent = self._step(instance, now[place], START)
            said.append(list(sent))
        while any(said):
            heard, said = said, [[] for _ in members]
            for place, instance in enumerate(members):
                local, more = now[place], said[place]
                is_deaf = deaf >> instance & 1
                for source, messages in enumerate(heard):
                    if source == place:
                        continue
                    for message in messages:
                        if decided[local] or (is_deaf and kinds[message] == lost):
                            continue
                        found = steps.get(local << 16 | message)
                        if type(found) is not tuple:
                            found = self._step(instance, local, message)
                        after, sent = found
                        if after != local or sent:
                            mattered.add(kinds[message])
                            local = after
                            more += sent
                now[place] = local
        wishes = tuple(self._wishes[local] for local in now)
        ended = (self._step(i, local, END)[0] for i, local in zip(members, now, strict=True))
        return tuple(ended), wishes, frozenset(mattered)

    def leaders_after(self, state: State) -> Leaders:
        """Return the leaders of the rounds that somebody may still take part in."""
        wishes = [self._wishes[local] for local in state if not self._decided[local]]
        past = min([*wishes, len(self.leaders)]) * (not self._lemmas)
        return (FORGOTTEN,) * past + self.leaders[past:]

    def outcome(self, state: State) -> list[object]:
        """Return which block each instance decided in which round, or which round it asks for."""
        return [self._decided[local] or self._wishes[local] for local in state]

    def is_over(self, state: State) -> bool:
        """Return whether all honest instances have decided."""
        decided = self._decided
        return None not in [decided[state[instance]] for instance in HONEST]

    def heal(self, state: State) -> int:
        """Return within how many rounds all honest have decided: with the twins, and without."""
        return max(
            self._heal(tuple(range(INSTANCES)), state, HEAL_ROUNDS),
            self._heal(HONEST, state[2:], HEAL_ROUNDS),
        )

    def _heal(self, members: tuple[int, ...], state: State, left: int) -> int:
        honest = state[-3:]
        blocks = {self._decided[local] for local in honest}
        if None not in blocks:
            if len({block_id for _, block_id in blocks}) > 1:  # type: ignore[misc]  # None is out
                raise Violation("L7", "two blocks are decided after healing")
            return 0
        name = tuple([self._live[local] for local in state])
        known = self._heals.get(name)
        if known is None:
            outer, self._asked = self._asked, {}
            if not left:
                told = [self._wishes[local] for local in state]
                raise Violation("L9", f"no decision {HEAL_ROUNDS} rounds after healing: {told}")
            wanted = sorted(self._wishes[local] for local in honest)[-2]
            after, wishes, _ = self._play_side(members, state, NOTHING, 0)
            for local, wish in zip(after[-3:], wishes[-3:], strict=True):
                if self._decided[local] is None and wish < wanted:
                    raise Violation("L13", f"f + 1 ask for round {wanted}, and not all do")
            known = 1 + self._heal(members, after, left - 1)
            self._heals.put(name, self._asked, known)
            outer.update(self._asked)
            self._asked = outer
        return known

    def check(self, state: State) -> None:
        """Check the lemmas on all that was ever signed in the runs that end in this state."""
        decided = {self._decided[state[i]] for i in HONEST} - {None}
        if len({block_id for _, block_id in decided}) > 1:  # type: ignore[misc]  # None is out
            raise Violation("L7", "two blocks are decided")
        if not self._lemmas:
            return
        signed = frozenset().union(*(self._said[local] for local in state))
        counts = Counter((kind, round_, block_id) for kind, _, round_, block_id, _ in signed)
        for instance in HONEST:
            for kind, _, round_, block_id, _ in self._said[state[instance]]:
                if kind == "Prepare":
                    self._check_prepare(signed, counts, round_, block_id)
                elif kind == "Commit" and counts["Prepare", round_, block_id] < QUORUM:
                    raise Violation("L2", f"commit of round {round_} without its prepares")
                elif kind == "RoundChange" and round_ > 1:
                    _check_pace(signed, round_)
        for round_, block_id in decided:  # type: ignore[misc]  # None is taken out
            if counts["Commit", round_, block_id] < QUORUM:
                raise Violation("L3", "decided without a quorum of commits")
            for (kind, later, other), count in counts.items():
                if kind == "Prepare" and later > round_ and other != block_id and count >= QUORUM:
                    raise Violation("L6", f"{round_} decided, another prepared in {later}")

    def _check_prepare(
        self,
        signed: frozenset[Item],
        counts: Counter[tuple[str, int, bytes]],
        round_: int,
        block_id: bytes,
    ) -> None:
        leader = self.leader(round_)
        if ("Proposal", leader, round_, block_id, -1) not in signed:
            raise Violation("L5", f"prepare of round {round_} that its leader did not propose")
        built = self.headers[block_id].built_round
        if round_ == 0 or (built == round_ and _claims(signed, round_, -1) >= QUORUM):
            if built > round_:
                raise Violation("L1", "prepared in round 0 what was built later")
            return
        tops = {item[4] for item in signed if item[0] == "RoundChange" and item[3] == block_id}
        for top in tops:
            quorum = counts["Prepare", top, block_id] >= QUORUM
            if quorum and _claims(signed, round_, top) >= QUORUM:
                return
        raise Violation("L1", f"prepare of round {round_} that no quorum justifies")


def _check_pace(signed: frozenset[Item], round_: int) -> None:
    """L12: nobody asks for a round unless the one below began, or f + 1 others ask for it."""
    asked: dict[int, int] = defaultdict(int)
    for kind, key, wish, _, _ in signed:
        if kind == "RoundChange":
            asked[key] = max(asked[key], wish)
    begun = sum(wish >= round_ - 1 for wish in asked.values()) >= QUORUM
    if round_ > 1 and not begun and sum(wish >= round_ for wish in asked.values()) < 3:
        raise Violation("L12", f"round {round_} is asked for before the one below began")


def _claims(signed: frozenset[Item], round_: int, top: int) -> int:
    return len(
        {
            item[1]
            for item in signed
            if item[0] == "RoundChange" and item[2] == round_ and item[4] <= top
        }
    )


def enumerate_scripts(
    rounds: int,
    core_type: type[Core] = Core,
    *,
    lemmas: bool = True,
    tell: Callable[[Told], None] = lambda _: None,
) -> Told:
    """Play every script of so many rounds; `tell` hears now and then how far it is."""
    told = Told()
    stage = Stage((), core_type, lemmas=lemmas)
    level: dict[Leaders, Counter[Node]] = {(): Counter({(stage.first, EVERY_RENAMING): 1})}
    for place in range(rounds):
        following: dict[Leaders, Counter[Node]] = defaultdict(Counter)
        ended: dict[Leaders, set[State]] = defaultdict(set)
        rest = len(LETTERS) ** (rounds - place - 1)
        for before, leader in product(level, range(N)):
            stage.leaders = (*before, leader)
            for (state, kept), count in level[before].items():
                for letter, size, still in _orbits(kept)[leader]:
                    after = stage.play(state, letter)
                    leaders = stage.leaders_after(after)
                    ended[leaders].add(after)
                    if place == rounds - 1 or stage.is_over(after):
                        told.scripts += count * size * rest
                    else:
                        following[leaders][after, still] += count * size
            told.walked = stage.walked
            tell(told)
        for stage.leaders, states in ended.items():
            told.states += len(states)
            for state in states:
                stage.check(state)
                if not stage.is_over(state):
                    told.healed[stage.heal(state)] += 1
            told.walked = stage.walked
            tell(told)
        level = following
    return told


@cache
def _orbits(group: frozenset[Renaming]) -> tuple[list[Orbit], ...]:
    """Return by leader one letter of each orbit, its size, and the renamings that keep it."""
    seen: set[tuple[int, Letter]] = set()
    found: tuple[list[Orbit], ...] = tuple([] for _ in range(N))
    for leader, letter in LETTERS:
        if (leader, letter) not in seen:
            images = {r: (KEYS[r[leader + 1]], _image(letter, r)) for r in group}
            seen.update(images.values())
            kept = frozenset(r for r, image in images.items() if image == (leader, letter))
            found[leader].append((letter, len(set(images.values())), kept))
    return found


def _image(letter: Letter, renaming: Renaming) -> Letter:
    side, kind, deaf = letter
    moved = sum((side >> i & 1) << renaming[i] for i in range(INSTANCES))
    if moved & 1:
        moved ^= EVERYONE  # the sides have no names
    return moved, kind, sum((deaf >> i & 1) << renaming[i] for i in range(INSTANCES))


LETTERS: Final = tuple(product(range(N), SPLITS))  # of scripts: who leads, and what is lost
EVERY_RENAMING: Final = frozenset(
    (*twins, *honest) for twins in permutations((0, 1)) for honest in permutations(HONEST)
)


def play_at_random(seed: int, scripts: int, core_type: type[Core] = Core) -> None:
    """Play so many scripts of all three alphabets, under one schedule of leaders."""
    rng = Random(f"twins {seed}")
    leaders = tuple(rng.randrange(N) for _ in range(4))
    stage = Stage(leaders, core_type)
    for _ in range(scripts):
        state = stage.first
        for _ in range(rng.randint(1, len(leaders))):
            letter = rng.choice((SPLITS, DEAF, SHARP, SHARP)[rng.randrange(4)])
            state = stage.play(state, letter)
            stage.check(state)
        stage.heal(state)


# --- cores as values ------------------------------------------------------------------------------

_SIDES: Final = {
    side: tuple(
        members
        for other in (0, 1)
        if (members := tuple(i for i in range(INSTANCES) if (side >> i & 1) == other))
    )
    for side in range(0, 1 << INSTANCES, 2)
}


def _item(message: Signed) -> Item:
    kind = type(message).__name__
    if isinstance(message, RoundChange):
        return kind, message.signer, message.round, message.prepared_id, message.prepared_round
    return kind, message.signer, message.round, message.block_id, -1


def _name_of(message: Message) -> object:
    if isinstance(message, Decided):
        return message.certificate.round, message.certificate.block_id
    assert isinstance(message, Signed)
    return _item(message)


def _signer(key: int) -> Callable[[bytes], bytes]:
    secret = b"%d" % key
    return lambda message: blake2b(message, key=secret).digest()


def _validators() -> ValidatorSet:
    def member(key: int) -> Validator:
        one, two, three, four = (sha256(b"%d %d" % (key, part)).digest() for part in range(4))
        return Validator(one[:16], two, three, four)

    return ValidatorSet(tuple(map(member, range(N))))


def _scripted(leader_of: Callable[[int], int]) -> Turns:
    class Scripted(Turns):
        def leader(self, n: int, height: int, round_: int) -> int:  # noqa: ARG002
            return leader_of(round_)

    return Scripted()
