"""Look through a chain for what may not stand in it: shapes, personal data, salts used twice.

The chain is verified on the way. Every field of every call is held against the closed list of
`node.audit.shapes`; what its bytes look like is searched by `node.audit.leaks`; bytes that stand in
two places where they must be fresh are found, and hashes that can be guessed. What is found is told
by its place and its kind, never by what it says: a report must not spread what it warns of.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from contracts.calls import ClaimSubmit, parse_call
from contracts.execute import Executed
from contracts.genesis import SignedGenesis
from ledger.block import Header
from ledger.entry import APPLIED
from ledger.hashing import HASH_BYTES
from ledger.transaction import parse
from node.audit.guesses import Guesses
from node.audit.leaks import NUMBERED, SEARCHES, improbable
from node.audit.replay import Show, replayed
from node.audit.shapes import FRESH, SHAPES, STANDS, Stands, leaves
from node.audit.spill import Spill, Use

MAX_PLACES: Final = 100  # of one kind of finding that are told one by one; all are counted

NONCE: Final = "transaction.nonce"
_PATHS: Final = (*STANDS, NONCE)
_NUMBERS: Final = {path: number for number, path in enumerate(_PATHS)}
_STANDS: Final = (*STANDS.values(), Stands.NONCE)

CANNOT: Final = (
    "that 32 bytes are a salted digest: they can hide anything, if it is made to look random",
    "what signatures and keys hide: who makes one may try until some bits are as he likes",
    "a number or a day in binary, or in packed digits without a key: chance makes as many",
    "the hash of a social security number alone: 2·10¹¹ are too many to list here, not elsewhere",
    "the hash of anything together with what is not listed here: a name, the number of a file",
    "what stands in evidence against validators: it is recorded as it was signed, true or not",
    "what entries tell by right: who, when, how many, and which belong to one claim",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found."""

    height: int
    transaction: int
    call: int
    field: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "height": self.height,
            "transaction": self.transaction,
            "call": self.call,
            "field": self.field,
        }


@dataclass
class Finding:
    """Something of one kind that was found, how often, and how often chance would find it."""

    kind: str
    says: str
    expected: float = 0.0
    count: int = 0
    places: list[Place] = field(default_factory=list)
    is_alarm: bool = False

    def add(self, place: Place) -> None:
        """Count one more."""
        self.count += 1
        if len(self.places) < MAX_PLACES:
            self.places.append(place)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": self.kind,
            "says": self.says,
            "alarm": self.is_alarm,
            "found": self.count,
            "by_chance": float(f"{self.expected:.3g}"),
            "places": [place.to_json() for place in self.places],
        }


@dataclass
class Privacy:
    """What was looked for, and what was found."""

    chain_id: bytes
    header: Header
    names: tuple[
        str, ...
    ]  # the only text there is: of the network and its founders, in the genesis
    fields: Counter[str] = field(default_factory=Counter)  # path -> how many there were
    values: int = 0  # distinct ones that were searched
    guesses: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)  # lawful, but they tell something

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that chance does not explain."""
        return not any(finding.is_alarm for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "clean": self.is_clean,
            "chain_id": self.chain_id.hex(),
            "height": self.header.height,
            "header": self.header.hash.hex(),
            "findings": [each.to_json() for each in self.findings],
            "remarks": [each.to_json() for each in self.remarks],
            "names": list(self.names),
            "values": self.values,
            "fields": [
                {"field": path, "shape": str(shape), "count": self.fields[path]}
                for path, shape in SHAPES.items()
            ],
            "guesses": self.guesses,
            "cannot_show": list(CANNOT),
        }


def look_through(
    path: Path,
    genesis: SignedGenesis,
    guesses: Guesses,
    *,
    workers: int | None = None,
    show: Show = lambda _: None,
) -> Privacy:
    """Return what stands in an export that should not, `guesses` among it.

    Raises `FalseFact` where the export holds something false, OSError.
    """
    with TemporaryDirectory(prefix="depoli-") as folder:
        spill = Spill(Path(folder))
        reader = _Reader(spill)
        with replayed(path, genesis, watch=reader.read, workers=workers, show=show) as replay:
            founders = (member.label for member in genesis.genesis.members)
            names = genesis.genesis.label, *founders
            found = Privacy(genesis.chain_id, replay.header, names, reader.fields)
        search = _Search(guesses)
        for group in spill.groups():
            search.search(group)
    search.confirm()
    found.findings = [reader.misshapen, *search.findings()]
    found.remarks = [search.shared]
    found.values, found.guesses = search.values, guesses.counts
    return found


class _Reader:
    """Takes a chain apart into fields, and keeps what is in their bytes."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._senders: dict[bytes, int] = {}
        self.fields: Counter[str] = Counter()
        self.misshapen = Finding(
            "shape", "a field that is not on the list of fields, or holds what it may not hold"
        )

    def read(self, executed: Executed) -> None:
        """Take in a block."""
        height, number = executed.header.height, -1
        for entry in executed.entries:
            sender = self._senders.setdefault(entry.sender, len(self._senders))
            if entry.position == 0:
                number += 1
                nonce = parse(executed.body.transactions[number]).body.nonce
                self._spill.add(Use(nonce, _NUMBERS[NONCE], height, number, 0, sender))
            call = parse_call(entry.call)
            follows = isinstance(call, ClaimSubmit) and (call.authorisation or call.prior)
            for leaf in leaves(call, type(call).__name__):
                self.fields[leaf.path] += 1
                shape = SHAPES.get(leaf.path)
                if shape is None or not shape.allows(leaf.value):
                    place = Place(height, number, entry.position, leaf.path)
                    self.misshapen.add(place)
                if isinstance(leaf.value, bytes) and leaf.path in _NUMBERS:
                    use = Use(
                        leaf.value,
                        _NUMBERS[leaf.path],
                        height,
                        number,
                        entry.position,
                        sender,
                        entry.outcome.code == APPLIED,
                        bool(follows),
                    )
                    self._spill.add(use)
        self.misshapen.is_alarm = self.misshapen.count > 0


class _Search:
    """Looks at every value once, and at how often it is used."""

    def __init__(self, guesses: Guesses) -> None:
        self._guesses = guesses
        self._found = {each.name: Finding(each.name, each.says) for each in SEARCHES}
        self._again = Finding(
            "a number again",
            "one social security number, four bits a digit or binary, in two values",
        )
        self._twice = Finding("used twice", "bytes that must be new each time, in two places")
        self._mixed = Finding("of two kinds", "the same bytes for two kinds of things")
        self._guessed: dict[str, Finding] = {}
        self._suspects: dict[bytes, Place] = {}
        self._numbered: dict[bytes, Place] = {}
        self._sizes: Counter[int] = Counter()  # of the values that were searched
        self.shared = Finding(
            "shared prescription", "a prescription that two members hold: the chain links them"
        )

    @property
    def values(self) -> int:
        """How many distinct values were searched."""
        return self._sizes.total()

    def search(self, group: Iterable[Use]) -> None:
        """Look at uses among which are all of each value that is among them."""
        met: dict[bytes, tuple[Stands, set[int]]] = {}  # what for, and who put it there anew
        for use in group:
            stands = _STANDS[use.field]
            if use.value not in met:
                met[use.value] = stands, set()
                self._search_value(use)
            before, holders = met[use.value]
            if stands is not before:
                self._mixed.add(_place(use))
            elif _PATHS[use.field] in FRESH and use.was_applied:
                if holders and not use.follows:
                    is_other = stands is Stands.PRESCRIPTION and use.sender not in holders
                    (self.shared if is_other else self._twice).add(_place(use))
                holders.add(use.sender)

    def confirm(self) -> None:
        """Make the guesses once more, where a value seems to be one of them."""
        if not self._suspects:
            return
        for what, values in self._guesses:
            for value in values:
                place = self._suspects.pop(value, None)
                if place is not None:
                    says = f"a hash that can be guessed: {what}"
                    self._guessed.setdefault(what, Finding("guessed", says)).add(place)

    def findings(self) -> list[Finding]:
        """Return all findings, those too that chance explains."""
        for search in SEARCHES:
            found = self._found[search.name]
            found.expected = sum(count * search.chance(size) for size, count in self._sizes.items())
            found.is_alarm = improbable(found.count, found.expected)
        sure = (self._again, self._twice, self._mixed, *self._guessed.values())
        for found in sure:
            found.is_alarm = found.count > 0
        return [*self._found.values(), *sure]

    def _search_value(self, use: Use) -> None:
        """Look at what a value looks like."""
        value = use.value
        if _STANDS[use.field] is Stands.COUNTRY:
            return  # two letters, as the list has them
        self._sizes[len(value)] += 1
        for search in SEARCHES:
            for number in search.find(value):
                self._found[search.name].add(_place(use))
                if search.name in NUMBERED:
                    if number in self._numbered:
                        self._again.add(_place(use))
                    self._numbered[number] = _place(use)
                break
        if len(value) == HASH_BYTES and self._guesses.may_have(value):
            self._suspects[value] = _place(use)


def _place(use: Use) -> Place:
    return Place(use.height, use.transaction, use.call, _PATHS[use.field])
