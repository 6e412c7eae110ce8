"""Every script of a twin attack, enumerated: after Bano et al., Twins (OPODIS 2021).

Four validators, one of whom runs twice under one key with the honest rules on both sides. A script
says who leads each round and, for each round, how the five instances are split in two and which
kind of message is lost. A round is lock-step: each instance first says again what it said and gives
up its round if it has not decided, then messages pass until there are no more. What crosses the
split, and what is of the lost kind, never arrives. After the script the network heals.

Nothing is sampled. Three things keep the number of runs small, and lose none:

*   The three honest validators are alike but for the rounds that they lead, and the two instances
    of the twin are alike. A script and its image under a renaming that keeps the leaders give runs
    that are images of each other; one of each such class is walked (`_orbits`), and the count says
    how many it stands for.
*   A machine is a function of its state and of what it hears, and so is one side of a split: what
    they did once is looked up. Two machines count as one where they signed the same and differ only
    in what no rule looks at any more (`_state_of`): which signatures make up a quorum that is
    complete, votes of rounds that are over.
*   Scripts that lead to the same five states have the same future, and go on as one; where all
    honest instances have decided there is none. Whether they decide after healing depends on even
    less: on what they signed nothing depends but the lemmas.

With `lemmas=False` what was signed does not tell states apart at all: then agreement and the
decision after healing are checked for every script, but the lemmas are not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b, sha256
from itertools import permutations, product
from random import Random
from typing import Final, TypeAlias

from consensus.core import Core
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
WITHOUT_TWINS: Final = 0b11100  # a split
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
Leaders: TypeAlias = tuple[int, ...]  # keys, by round
Renaming: TypeAlias = tuple[int, ...]  # of instances
State: TypeAlias = "tuple[Local, ...]"  # of some instances
Item: TypeAlias = tuple[str, int, int, bytes, int]  # kind, key, round, block or claim, lock


@dataclass(eq=False, slots=True)
class Local:
    """One state of one instance."""

    number: int
    core: Core
    said: frozenset[Item]
    decided: tuple[int, bytes] | None  # round and block


@dataclass(slots=True)
class Told:
    """What came of an enumeration."""

    scripts: int = 0  # that were covered
    walked: int = 0  # rounds that were played
    states: int = 0  # different ones of all five, after a round
    healed: Counter[int] = field(default_factory=Counter)  # rounds after healing -> states

    def add(self, other: "Told") -> None:
        """Add what came of another part."""
        self.scripts += other.scripts
        self.walked += other.walked
        self.states += other.states
        self.healed.update(other.healed)


class Stage:
    """All that five instances do under one schedule of leaders; what they did is remembered."""

    def __init__(
        self, leaders: Leaders, core_type: type[Core] = Core, *, lemmas: bool = True
    ) -> None:
        self.turns, self.validators = _scripted(leaders), _validators()
        self._lemmas = lemmas
        self.headers: dict[bytes, Header] = {}
        self.outlines: dict[bytes, Outline] = {}
        self._locals: dict[object, Local] = {}
        self._moves: dict[tuple[object, ...], tuple[Local, tuple[Message, ...]]] = {}
        self._live: list[int] = []  # of each local state: the first that is as much alive
        self._lives: dict[object, int] = {}
        self._sides: dict[tuple[object, ...], State] = {}
        self._decides_in: dict[object, int] = {}
        self.first: State = tuple(self._first(instance, core_type) for instance in range(INSTANCES))
        self.walked = 0

    # --- one instance -------------------------------------------------------------------------

    def _first(self, instance: int, core_type: type[Core]) -> Local:
        key = KEYS[instance]

        class Instance(core_type):  # type: ignore[misc, valid-type]
            def _recognise(self, _: Statement) -> None:
                """A twin does not mind what the other signed; nobody else can sign for the rest."""

        core = Instance(key, _signer(key), _CHAIN, 1, self.validators, turns=self.turns)
        return self._local(instance, core, frozenset())

    def _local(self, instance: int, core: Core, said: frozenset[Item]) -> Local:
        decision = core.decision
        decided = None if decision is None else (decision.certificate.round, decision.block_id)
        state = _state_of(core)
        name = (instance, said if self._lemmas else None, decided, state)
        known = self._locals.get(name)
        if known is None:
            number = len(self._locals)
            known = self._locals[name] = Local(number, core, said, decided)
            self._live.append(self._lives.setdefault((instance, decided, state), number))
        return known

    def move(
        self, instance: int, local: Local, events: tuple[Event, ...]
    ) -> tuple[Local, tuple[Message, ...]]:
        """Return the state after `events`, and what is then said to all."""
        name = (local.number, *(_name_of(event) for event in events))
        known = self._moves.get(name)
        if known is None:
            known = self._moves[name] = self._moved(instance, local, events)
        return known

    def _moved(
        self, instance: int, local: Local, events: tuple[Event, ...]
    ) -> tuple[Local, tuple[Message, ...]]:
        core, said = _clone(local.core), set(local.said)
        sent: list[Message] = []
        waiting = list(events)
        if isinstance(waiting[0], Expired):
            waiting[0] = Expired(1, core.round)
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
        return self._local(instance, core, frozenset(said)), tuple(sent)

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

    # --- all five -----------------------------------------------------------------------------

    def play(self, state: State, letter: Letter, *, is_first: bool) -> State:
        """Return the states after one round under this split and this loss."""
        side, lost, deaf = letter
        now = list(state)
        for members in _SIDES[side]:
            locals_ = tuple(state[instance] for instance in members)
            after = self._play_side(members, locals_, lost, deaf, is_first=is_first)
            for instance, local in zip(members, after, strict=True):
                now[instance] = local
        return tuple(now)

    def _play_side(
        self, members: tuple[int, ...], before: State, lost: str, deaf: int, *, is_first: bool
    ) -> State:
        name = (members, *(local.number for local in before), lost, deaf)
        known = self._sides.get(name)
        if known is not None:
            return known
        self.walked += 1
        now = list(before)
        said: list[tuple[Message, ...]] = [()] * len(members)
        begin = BEGIN if is_first else AGAIN
        for place, instance in enumerate(members):
            now[place], said[place] = self.move(instance, now[place], begin)
        while any(said):
            heard, said = said, [()] * len(members)
            for place, to in enumerate(members):
                events = tuple(
                    Received(message)
                    for source, messages in enumerate(heard)
                    if source != place
                    for message in messages
                    if not (deaf >> to & 1 and type(message).__name__ == lost)
                )
                if events and now[place].decided is None:
                    now[place], said[place] = self.move(to, now[place], events)
        ended = tuple(self.move(i, local, END)[0] for i, local in zip(members, now, strict=True))
        self._sides[name] = ended
        return ended

    def heal(self, state: State) -> int:
        """Return within how many rounds all honest have decided: with the twins, and without."""
        return max(self._heal(state, 0), self._heal(state, WITHOUT_TWINS))

    def _heal(self, state: State, side: int) -> int:
        rounds = 0
        path: list[object] = []
        while any(state[instance].decided is None for instance in HONEST):
            name = (side, *(self._live[local.number] for local in state[2 if side else 0 :]))
            if (known := self._decides_in.get(name)) is not None:
                rounds = known
                break
            path.append(name)
            if len(path) > HEAL_ROUNDS:
                told = [(local.core.round, local.core.wish) for local in state]
                raise Violation("L9", f"no decision {HEAL_ROUNDS} rounds after healing: {told}")
            wanted = sorted(state[instance].core.wish for instance in HONEST)[-2]
            state = self.play(state, (side, NOTHING, 0), is_first=False)
            for local in (state[instance] for instance in HONEST):
                if local.decided is None and local.core.wish < wanted:
                    raise Violation("L13", f"f + 1 ask for round {wanted}, and not all do")
        blocks = {state[i].decided[1] for i in HONEST if state[i].decided}  # type: ignore[index]
        if len(blocks) > 1:
            raise Violation("L7", "two blocks are decided after healing")
        for passed in reversed(path):
            rounds += 1
            self._decides_in[passed] = rounds
        return rounds

    def check(self, state: State) -> None:
        """Check the lemmas on all that was ever signed in the runs that end in this state."""
        decided = {state[i].decided for i in HONEST} - {None}
        if len({block_id for _, block_id in decided}) > 1:  # type: ignore[misc]  # None is out
            raise Violation("L7", "two blocks are decided")
        if not self._lemmas:
            return
        signed = frozenset().union(*(local.said for local in state))
        counts = Counter((kind, round_, block_id) for kind, _, round_, block_id, _ in signed)
        for instance in HONEST:
            local = state[instance]
            for kind, _, round_, block_id, _ in local.said:
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
        leader = self.turns.leader(N, 1, round_)
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
    leaders: Leaders | None = None,
    lemmas: bool = True,
) -> Told:
    """Play every script of so many rounds; or those with these leaders alone."""
    told = Told()
    for schedule, weight in schedules(rounds):
        if leaders in (None, schedule):
            told.add(_play_all(Stage(schedule, core_type, lemmas=lemmas), schedule, weight))
    return told


def schedules(rounds: int) -> list[tuple[Leaders, int]]:
    """Return the schedules of leaders up to a renaming of the honest; and how many each is."""
    found: Counter[Leaders] = Counter()
    for leaders in product(range(N), repeat=rounds):
        names = {0: 0}
        for key in leaders:
            names.setdefault(key, len(names))
        found[tuple(names[key] for key in leaders)] += 1
    return sorted(found.items())


def _play_all(stage: Stage, leaders: Leaders, weight: int) -> Told:
    told = Told()
    level = {(stage.first, _stabiliser(leaders)): weight}
    for place in range(len(leaders)):
        following: Counter[tuple[State, frozenset[Renaming]]] = Counter()
        done: set[State] = set()
        rest = len(SPLITS) ** (len(leaders) - place - 1)
        for (state, kept), count in level.items():
            for letter, size, still in _orbits(kept):
                after = stage.play(state, letter, is_first=place == 0)
                if all(after[instance].decided for instance in HONEST):
                    told.scripts += count * size * rest
                    done.add(after)
                else:
                    following[(after, still)] += count * size
        level = dict(following)
        open_ = {state for state, _ in level}
        for state in done | open_:
            stage.check(state)
        for state in open_:
            told.healed[stage.heal(state)] += 1
        told.states += len(done | open_)
    told.scripts += sum(level.values())
    told.walked = stage.walked
    return told


def _stabiliser(leaders: Leaders) -> frozenset[Renaming]:
    """Return the renamings of instances under which this schedule stays as it is."""
    free = [instance for instance in HONEST if KEYS[instance] not in leaders]
    found = []
    for twins in permutations((0, 1)):
        for renamed in permutations(free):
            names = dict(zip(free, renamed, strict=True))
            found.append((*twins, *(names.get(instance, instance) for instance in HONEST)))
    return frozenset(found)


@cache
def _orbits(
    group: frozenset[Renaming],
) -> tuple[tuple[Letter, int, frozenset[Renaming]], ...]:
    """Return one letter of each orbit, the size of the orbit, and the renamings that keep it."""
    seen: set[Letter] = set()
    found = []
    for letter in SPLITS:
        if letter not in seen:
            images = {renaming: _image(letter, renaming) for renaming in group}
            seen.update(images.values())
            kept = frozenset(r for r, image in images.items() if image == letter)
            found.append((letter, len(set(images.values())), kept))
    return tuple(found)


def _image(letter: Letter, renaming: Renaming) -> Letter:
    side, kind, deaf = letter
    moved = sum((side >> i & 1) << renaming[i] for i in range(INSTANCES))
    if moved & 1:
        moved ^= EVERYONE  # the sides have no names
    return moved, kind, sum((deaf >> i & 1) << renaming[i] for i in range(INSTANCES))


def play_at_random(seed: int, scripts: int, core_type: type[Core] = Core) -> None:
    """Play so many scripts of all three alphabets, under one schedule of leaders."""
    rng = Random(f"twins {seed}")
    leaders = tuple(rng.randrange(N) for _ in range(4))
    stage = Stage(leaders, core_type)
    for _ in range(scripts):
        state = stage.first
        for place in range(rng.randint(1, len(leaders))):
            letter = rng.choice((SPLITS, DEAF, SHARP, SHARP)[rng.randrange(4)])
            state = stage.play(state, letter, is_first=place == 0)
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
BEGIN: Final[tuple[Event, ...]] = (Work(pending=True), Ready())
# What was said since the last tick is not said again: a tick ends each round, too.
END: Final[tuple[Event, ...]] = (Tick(),)
AGAIN: Final[tuple[Event, ...]] = (Expired(1, -1), Tick())


def _clone(core: Core) -> Core:
    made = copy(core)
    for name, value in vars(core).items():
        if isinstance(value, dict | set):
            setattr(made, name, value.copy())
        elif isinstance(value, Book):
            book = copy(value)
            for part, held in vars(value).items():
                if isinstance(held, list):
                    setattr(book, part, held.copy())
            book._slots = {
                kind: [rounds.copy() for rounds in signers]
                for kind, signers in value._slots.items()
            }
            made._book = book
    made._rules = tuple(getattr(made, rule.__name__) for rule in core._rules)
    return made


def _state_of(core: Core) -> tuple[object, ...]:
    """Return all that a rule may still look at."""
    if core.decision is not None:
        return ()
    round_, wish, said = core.round, core.wish, core._said
    held = core._book._slots
    live: list[Signed] = [m for rounds in held[Commit] for m in rounds.values()]
    if core.accepted is not None and (Commit, round_) not in said:
        votes = [rounds[round_] for rounds in held[Prepare] if round_ in rounds]
        live += [m for m in votes if isinstance(m, Prepare) and m.block_id == core.accepted]
    live += [m for rounds in held[Prepare] for m in rounds.values() if m.round > round_]
    for rounds in held[Proposal]:
        live += [m for m in rounds.values() if m.round >= wish and (Prepare, m.round) not in said]
    led = (Proposal, round_) in said
    live += [
        m
        for rounds in held[RoundChange]
        for m in rounds.values()
        if m.round > round_ or (m.round == round_ and not led)
    ]
    lock = -1 if core.prepared is None else core.prepared.round
    mine = [m for m in said.values() if m.round >= round_ or m.round == lock]
    certificates = (core.prepared, core._certificate, core._book._committed)
    return (
        *(round_, wish, core.accepted, core._me, core._timer),
        *(None if c is None else (c.round, c.block_id) for c in certificates),
        frozenset(map(_item, live)),
        frozenset(map(_item, mine)),
        tuple(max(round_, other) for other in core._book._wishes),
    )


def _item(message: Signed) -> Item:
    kind = type(message).__name__
    if isinstance(message, RoundChange):
        return kind, message.signer, message.round, message.prepared_id, message.prepared_round
    return kind, message.signer, message.round, message.block_id, -1


def _name_of(event: Event) -> object:
    if not isinstance(event, Received):
        return type(event).__name__
    message = event.message
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


def _scripted(leaders: Leaders) -> Turns:
    class Scripted(Turns):
        def leader(self, n: int, height: int, round_: int) -> int:  # noqa: ARG002
            return leaders[round_] if round_ < len(leaders) else round_ % n

    return Scripted()
