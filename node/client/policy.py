"""A payer's policy file: what a machine decides of claims, within which limits, and what people do.

TOML, read strictly: a key that is not known, or is missing, or is not what it must be, is named
with its line, and then nothing is decided. Each limit must be written: none has a default that
lets something through. What a machine may do on a finding is a closed list too: it refuses only
where the chain has a reason that says so, and what it refuses is marked as automatic.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from contracts.calls import Leg, Reason
from node.client import nomenclature
from node.client.errors import NotFound, NotReadable
from node.client.members import Members

FORMAT: Final = "depoli/policy/1"
MAX_POLICY_BYTES: Final = 256 << 10
_MAX_CENTS: Final = 1 << 46
_KEY: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*[=.]""")
_PATH: Final = re.compile(r"`\$((?:\.[A-Za-z0-9_-]+|\[[^\]]*\])*)`")
_UNKNOWN: Final = re.compile(r"(?:unknown|required) field `([^`]{0,60})`")


class Action(StrEnum):
    """What is done where something is found."""

    PASS = "pass"  # noqa: S105 - nothing: it is let pass
    PART = "part"  # accepted for as much as may be paid
    REFUSE = "refuse"
    REVIEW = "review"  # a person looks


class Finding(StrEnum):
    """What may be found in a claim whose disclosure holds; the name stands in the policy."""

    LEG_NOT_OURS = "leg-not-ours"
    SHOP_NOT_LISTED = "shop-not-listed"
    INSURED_UNKNOWN = "insured-unknown"
    DUPLICATE = "duplicate"  # same insured, invoice date, codes and amount as another claim
    AUTHORISATION_MISSING = "authorisation-missing"
    AUTHORISATION_UNCHECKED = "authorisation-unchecked"  # a number that is in your own file alone
    AGREEMENT_UNKNOWN = "agreement-unknown"  # it consumes one whose disclosure is not here
    OVER_AGREED = "over-agreed"
    CEILING_UNKNOWN = "ceiling-unknown"
    OVER_CEILING = "over-ceiling"  # of responsible contracts, by the tables
    OVER_CAP = "over-cap"  # of this policy
    RENEWED_EARLY = "renewed-early"  # something was paid for the same reference not long ago
    INVOICE_OLD = "invoice-old"
    INVOICE_TO_COME = "invoice-to-come"


_PERSON: Final = frozenset((Action.REVIEW,))
_REFUSABLE: Final = frozenset((Action.REVIEW, Action.REFUSE))
_PARTIAL: Final = frozenset((Action.REVIEW, Action.PART))
_DOUBT: Final = frozenset((Action.REVIEW, Action.PASS))
# What a machine may do. A reference may stand for a family: nobody is refused because of another.
ALLOWED: Final[Mapping[Finding, frozenset[Action]]] = {
    Finding.LEG_NOT_OURS: _PERSON,
    Finding.SHOP_NOT_LISTED: _REFUSABLE,
    Finding.INSURED_UNKNOWN: _REFUSABLE,
    Finding.DUPLICATE: _REFUSABLE,
    Finding.AUTHORISATION_MISSING: _REFUSABLE,
    Finding.AUTHORISATION_UNCHECKED: _DOUBT,
    Finding.AGREEMENT_UNKNOWN: _PERSON,
    Finding.OVER_AGREED: _REFUSABLE | _PARTIAL,
    Finding.CEILING_UNKNOWN: _DOUBT,
    Finding.OVER_CEILING: _PARTIAL,
    Finding.OVER_CAP: _PARTIAL,
    Finding.RENEWED_EARLY: _DOUBT,
    Finding.INVOICE_OLD: _DOUBT,
    Finding.INVOICE_TO_COME: _PERSON,
}
REASONS: Final[Mapping[Finding, Reason]] = {
    Finding.SHOP_NOT_LISTED: Reason.PROVIDER_NOT_CONTRACTED,
    Finding.INSURED_UNKNOWN: Reason.INSURED_UNKNOWN,
    Finding.DUPLICATE: Reason.DUPLICATE,
    Finding.AUTHORISATION_MISSING: Reason.PEC_MISSING,
    Finding.OVER_AGREED: Reason.AMOUNT_OVER_PEC,
}

Cents: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MAX_CENTS)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
Days: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=36_600)]
Contract: TypeAlias = Literal["responsible", "free"]
LegName: TypeAlias = Literal["base", "complementary"]


class BadPolicy(NotReadable):
    """A policy says something that cannot be meant: nothing is decided by it."""

    def __init__(self, name: str, line: int | None, reason: str) -> None:
        where = name if line is None else f"{name}, line {line}"
        super().__init__(
            f"{where}: {reason}",
            hint="nothing was decided; docs/payer.md explains each key: depoli inbox check FILE",
        )


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what stands in a policy."""


class Automatic(_Part, frozen=True, forbid_unknown_fields=True):
    """Within which limits a machine decides; what is beyond goes to people."""

    accept_up_to_cents: Cents  # for one claim
    accept_per_day_count: Count
    accept_per_day_cents: Cents
    accept_per_shop_day_cents: Cents
    refuse_per_day_count: Count


class Cap(_Part, frozen=True, forbid_unknown_fields=True):
    """How much is paid for one equipment."""

    total_cents: Cents
    frame_cents: Cents | None = None


class ContractRule(_Part, frozen=True, forbid_unknown_fields=True):
    """Which contract those have whose reference begins so; the longest that fits counts."""

    insured: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9-]{1,20}$")]
    kind: Contract


class Shop(_Part, frozen=True, forbid_unknown_fields=True):
    """What is otherwise for one shop."""

    accept_up_to_cents: Cents | None = None
    accept_per_day_cents: Cents | None = None
    always_review: bool = False


class Settle(_Part, frozen=True, forbid_unknown_fields=True):
    """When accepted claims of one shop are put into a settlement; the first that is met counts."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    cents: Cents
    days: Days


class _Document(_Part, frozen=True, forbid_unknown_fields=True):
    format: str
    mode: Literal["propose", "decide"]
    tables: tuple[str, ...]
    contract: Contract
    legs: tuple[LegName, ...]
    automatic: Automatic
    when: dict[str, Any]
    caps: dict[str, Any]
    only_listed_shops: bool = False
    only_listed_insured: bool = False
    authorisation_above_cents: Cents | None = None
    invoice_days: Days | None = None
    renewal_days: Days | None = None
    contracts: tuple[ContractRule, ...] = ()
    shops: dict[str, Any] = {}
    settle: Settle | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read whole."""

    decides: bool  # False: each decision is proposed to a person
    contract: Contract
    legs: frozenset[Leg]
    automatic: Automatic
    when: Mapping[Finding, Action]
    caps: Mapping[tuple[Leg, str | None], Cap]  # by category of the equipment, None for one lens
    only_listed_shops: bool
    only_listed_insured: bool
    authorisation_above_cents: int | None
    invoice_days: int | None
    renewal_days: int | None
    contracts: tuple[ContractRule, ...]
    shops: Mapping[bytes, Shop]
    settle: Settle | None
    digest: str  # which file it was: the first 16 digits of its SHA-256

    def contract_of(self, insured: str | None) -> Contract | None:
        """Return which contract a reference has; None where it must be listed and is not."""
        fitting = [rule for rule in self.contracts if (insured or "").startswith(rule.insured)]
        if fitting:
            return max(fitting, key=lambda rule: len(rule.insured)).kind
        return None if self.only_listed_insured else self.contract


def parse_policy(data: bytes, name: str, members: Members) -> Policy:
    """Return the policy in a file; raise `BadPolicy`. `name` is the file's."""
    if len(data) > MAX_POLICY_BYTES:
        raise BadPolicy(name, None, f"longer than {MAX_POLICY_BYTES} bytes")
    try:
        text = data.decode()
        table = tomllib.loads(text)
    except UnicodeDecodeError:
        raise BadPolicy(name, None, "not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadPolicy(name, None, f"not a TOML file: {str(error)[:120]}") from None
    reading = _Reading(text, name)
    if table.get("format") != FORMAT:
        raise reading.bad(("format",), f"must be {FORMAT!r}")
    found = reading.convert(table, _Document, ())
    ours = {each.name for each in nomenclature.current()}
    if unknown := [each for each in found.tables if each not in ours]:
        raise reading.bad(
            ("tables",),
            f"it was written for {unknown[0][:60]!r}, and this program has other tables: read what"
            " changed (depoli codes show), and name the new one",
        )
    return Policy(
        found.mode == "decide",
        found.contract,
        frozenset(Leg[each.upper()] for each in found.legs),
        found.automatic,
        reading.when(found.when),
        reading.caps(found.caps, found.legs),
        found.only_listed_shops,
        found.only_listed_insured,
        found.authorisation_above_cents,
        found.invoice_days,
        found.renewal_days,
        found.contracts,
        reading.shops(found.shops, members),
        found.settle,
        sha256(data).hexdigest()[:16],
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file while it is read: whatever is wrong is named with its line."""

    text: str
    name: str

    def bad(self, path: tuple[str, ...], reason: str) -> BadPolicy:
        where = ".".join(path)
        return BadPolicy(self.name, self._line(path), f"{where}: {reason}" if where else reason)

    def convert(self, value: object, type_: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401
        try:
            return msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            message = str(error)
            inside = _PATH.search(message)
            steps = re.findall(r"[A-Za-z0-9_-]+", inside[1]) if inside else []
            missing = _UNKNOWN.search(message)
            if missing:
                steps.append(missing[1])
            reason = message.partition(" - at `")[0]
            raise self.bad(
                (*path, *(each for each in steps if not each.isdigit())), reason
            ) from None

    def when(self, value: Mapping[str, Any]) -> dict[Finding, Action]:
        """Return what is done on each finding; every one must be there."""
        for key, said in value.items():
            if key not in set(Finding):
                raise self.bad(("when", key[:60]), "there is no such finding")
            allowed = ALLOWED[Finding(key)]
            if not isinstance(said, str) or said not in allowed:
                words = " or ".join(sorted(allowed))
                raise self.bad(("when", key), f"a machine may do one thing here: {words}")
        if missing := [each for each in Finding if each not in value]:
            raise self.bad(("when", missing[0]), "is missing: each finding has its action")
        return {Finding(key): Action(said) for key, said in value.items()}

    def caps(
        self, value: Mapping[str, Any], legs: tuple[str, ...]
    ) -> dict[tuple[Leg, str | None], Cap]:
        names: dict[str, str | None] = {
            **{each.name: each.name for each in nomenclature.current().categories.categories},
            "lens": None,
        }
        found = {}
        for leg, rows in value.items():
            if leg.upper() not in Leg.__members__ or not isinstance(rows, dict):
                raise self.bad(
                    ("caps", leg[:60]), "must be the table of a leg, base or complementary"
                )
            for category, row in rows.items():
                path = ("caps", leg, category[:60])
                if category not in names:
                    known = ", ".join(names)
                    raise self.bad(path, f"there is no such category; there are {known}")
                found[Leg[leg.upper()], names[category]] = self.convert(row, Cap, path)
        for leg in legs:
            for name, category in names.items():
                if (Leg[leg.upper()], category) not in found:
                    raise self.bad(("caps", leg, name), "is missing: each category has its cap")
        return found

    def shops(self, value: Mapping[str, Any], members: Members) -> dict[bytes, Shop]:
        found: dict[bytes, Shop] = {}
        for label, row in value.items():
            path = ("shops", label[:60])
            try:
                id_ = members.id_of(label)
            except NotFound as error:
                raise self.bad(path, str(error)) from None
            if id_ in found:
                raise self.bad(path, "this shop stands twice, by its label and by its id")
            found[id_] = self.convert(row, Shop, path)
        return found

    def _line(self, path: tuple[str, ...]) -> int | None:
        """Return the line of a key, or of the innermost table of its that is written."""
        best, depth, inside = None, 0, list[str]()
        for number, line in enumerate(self.text.splitlines(), 1):
            text = line.strip()
            if text.startswith("["):
                inside = [each.strip(" \"'") for each in text.strip("[] ").split("]")[0].split(".")]
                here = inside
            elif (key := _KEY.match(text)) is not None:
                here = [*inside, next(each for each in key.groups() if each is not None)]
            else:
                continue
            shared = len(here)
            if depth < shared <= len(path) and tuple(here) == path[:shared]:
                best, depth = number, shared
        return best
