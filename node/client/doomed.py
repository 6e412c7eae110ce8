"""What an erasure would take: which records, who was shown what of them, and what is still open."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import msgspec

from contracts import documents
from contracts.documents import CLAIM, Value
from node.client import holdings
from node.client.agreements import authorisation_of
from node.client.client import NodeClient
from node.client.disclosure import parse_disclosure
from node.client.errors import USAGE, ClientError, NotFound
from node.client.holdings import Things
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    ReceivedRecord,
    Record,
    every,
)
from node.client.vault import Kind, Vault

# In these states nothing more is decided, paid or paid back of it, unless somebody begins anew.
OVER: Final = {
    Kind.CLAIM: frozenset(
        ("cancelled", "settled", "repaid", "abandoned", "resubmitted", "lapsed", "closed")
    ),
    Kind.AUTHORISATION: frozenset(("consumed", "cancelled", "expired")),
}
_ON_THE_CHAIN: Final = frozenset((Progress.COMMITTED, Progress.CANCELLED, Progress.ENDED))
Told: TypeAlias = tuple[bytes, bytes, bytes | None]  # recipient, what it is about, what stays


class StillOpen(ClientError):
    """Something rests on it that is not decided, or not paid: the evidence would be gone."""

    def __init__(self, open_: "list[Open]") -> None:
        more = f", and {len(open_) - 1} more are open" if len(open_) > 1 else ""
        super().__init__(
            f"{open_[0].what} {open_[0].name} is {open_[0].state}{more}: once it is erased nobody"
            " here can prove what was claimed",
            hint="wait until it is settled, or end it: depoli explain says how; to erase it all the"
            " same: --even-open",
        )
        self.open = open_


class NothingToErase(NotFound):
    """Nothing that was named is kept."""

    def __init__(self, references: Sequence[str] = ()) -> None:
        named = f" under {', '.join(references)}" if references else ""
        super().__init__(
            f"nothing that is to be erased is kept here{named}",
            hint="it never was, or is erased already: depoli erase status tells of what was",
        )


class ManyPeople(ClientError):
    """A reference is of several payers, each of which may call somebody else so."""

    exit_code = USAGE

    def __init__(self, insured: str) -> None:
        super().__init__(
            f"{insured} stands in claims to several payers: it may be of several people",
            hint="name the payer too: --payer LABEL",
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What somebody wants erased."""

    references: tuple[str, ...] = ()  # of prescriptions, with all that rests on them
    insured: str | None = None  # all of one person, by the payer's own reference, or its number
    before: str | None = None  # a day: what was written, and last invoiced, before it
    earlier: bool = False  # only the documents that were rectified since
    payer: bytes | None = None  # whose reference the insured's is

    @property
    def names(self) -> tuple[str, ...]:
        """Under which its erasure is found again until all have answered."""
        kind = "earlier" if self.earlier else "all"
        given = [*self.references, self.insured, self.before]
        if self.payer is not None:
            kind = f"{kind} {self.payer.hex()}"
        return tuple(f"{kind} {each}" for each in given if each is not None)


@dataclass(frozen=True, slots=True)
class Open:
    """A claim or a prior agreement that is not decided, or not paid."""

    what: str
    name: str  # our reference; of another's its id
    state: str


@dataclass(slots=True)
class Plan:
    """What would be erased, and who would be asked to erase it too."""

    prescriptions: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)  # and prior agreements
    received: list[str] = field(default_factory=list)  # ids of what others disclosed to us
    things: Things = field(default_factory=Things)
    destroyed: dict[int, Record] = field(default_factory=dict)  # by number
    renewed: dict[int, PrescriptionRecord | ClaimRecord] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    blocked: set[str] = field(default_factory=set)  # claims whose earlier documents stay

    @property
    def count(self) -> int:
        """How many records are destroyed or written anew."""
        return len(self.destroyed) + len(self.renewed)


def plan(vault: Vault, selection: Selection, blocked: Collection[str] = ()) -> Plan:
    """Return what is to be erased; raise `NothingToErase`, `ManyPeople`."""
    chosen = _prescriptions(vault, selection)
    resting = _resting_on(vault, {record.reference for _, record in chosen})
    found = Plan(blocked=set(blocked))
    if selection.earlier:
        _plan_earlier(found, chosen, resting)
    else:
        _plan_all(vault, found, selection, chosen, resting)
    missing = sorted(set(selection.references) - {record.reference for _, record in chosen})
    if missing or not found.count:
        raise NothingToErase(missing)
    return found


async def still_open(vault: Vault, node: NodeClient, selection: Selection) -> list[Open]:
    """Return what of a selection is not decided or not paid yet, as our node knows it.

    Of what was rectified: what rests on a document that would go.
    """
    chosen = _prescriptions(vault, selection)
    earlier = {bytes.fromhex(each) for _, record in chosen for each in record.earlier}
    found = []
    for _, claim in _resting_on(vault, {record.reference for _, record in chosen}):
        if selection.earlier and claim.prescription not in earlier:
            continue
        if claim.progress is Progress.REFUSED:
            continue
        state: str = claim.progress.value
        if claim.claim is not None and claim.progress in _ON_THE_CHAIN:
            state = await state_of(node, claim.KIND, claim.claim)
        if state not in OVER[claim.KIND]:
            found.append(Open(claim.KIND.name.lower(), claim.reference, state))
    if not selection.earlier:
        for _, record in _received(vault, selection):
            kind = kind_of(record)
            state = await state_of(node, kind, record.claim)
            if state not in OVER[kind]:
                found.append(Open(kind.name.lower(), record.claim.hex(), state))
    return found


async def state_of(node: NodeClient, kind: Kind, id_: bytes) -> str:
    """Return where a claim or a prior agreement stands; raise `NotFound`."""
    if kind is Kind.AUTHORISATION:
        return (await authorisation_of(node, id_)).state
    return (await node.claim(id_)).state


def kind_of(record: ReceivedRecord) -> Kind:
    """Return of what something was disclosed to us."""
    purpose = parse_disclosure(record.disclosure, "what was disclosed").purpose
    return Kind.AUTHORISATION if purpose == "authorisation" else Kind.CLAIM


def _plan_all(
    vault: Vault,
    found: Plan,
    selection: Selection,
    chosen: list[tuple[int, PrescriptionRecord]],
    resting: list[tuple[int, ClaimRecord]],
) -> None:
    things = found.things = Things(before=selection.before)
    for _, prescription in chosen:
        things.add_prescription(prescription)
    for _, claim in resting:
        things.add_claim(claim)
        found.told += _told(claim, None)
    received = [record.claim for _, record in _received(vault, selection)]
    things.ids |= set(received)
    found.destroyed = dict(holdings.of(vault, things))
    found.prescriptions = [record.reference for _, record in chosen]
    found.claims = [record.reference for _, record in resting]
    found.received = [id_.hex() for id_ in received]


def _plan_earlier(
    found: Plan,
    chosen: list[tuple[int, PrescriptionRecord]],
    resting: list[tuple[int, ClaimRecord]],
) -> None:
    stay = {claim.prescription for _, claim in resting if claim.reference in found.blocked}
    gone = set()
    for number, record in chosen:
        left = {name: text for name, text in record.earlier.items() if bytes.fromhex(name) in stay}
        if left != record.earlier:
            gone |= {bytes.fromhex(name) for name in record.earlier.keys() - left.keys()}
            found.renewed[number] = msgspec.structs.replace(record, earlier=left)
            found.prescriptions.append(record.reference)
    for number, claim in resting:
        if claim.prescription in gone:
            found.told += _told(claim, None)
        elif claim.is_rectified:
            found.told += _told(claim, claim.commitment)
        if claim.is_rectified:
            found.renewed[number] = msgspec.structs.replace(claim, is_rectified=False)
            found.claims.append(claim.reference)


def _told(claim: ClaimRecord, stays: bytes | None) -> list[Told]:
    """Return who was shown something of a claim, so far as it could be verified by anybody."""
    if claim.claim is None or claim.progress not in {*_ON_THE_CHAIN, Progress.SUBMITTED}:
        return []
    return [(claim.payer, claim.claim, stays)]


def _prescriptions(vault: Vault, selection: Selection) -> list[tuple[int, PrescriptionRecord]]:
    every_ = list(every(vault, PrescriptionRecord))
    if selection.references:
        return [each for each in every_ if each[1].reference in selection.references]
    if selection.insured is not None:
        theirs = _of_insured(vault, selection.insured, selection.payer)
        return [each for each in every_ if each[1].reference in theirs]
    claims: dict[str, list[ClaimRecord]] = {}
    for _, claim in _resting_on(vault, None):
        claims.setdefault(claim.prescription_reference, []).append(claim)

    def is_chosen(record: PrescriptionRecord) -> bool:
        resting = claims.get(record.reference, [])
        last = max([record.prescription.written, *(claim.invoice_date for claim in resting)])
        return selection.before is not None and last < selection.before

    return [each for each in every_ if is_chosen(each[1])]


def _of_insured(vault: Vault, insured: str, payer: bytes | None) -> set[str]:
    """Return our references of one person's prescriptions; raise `ManyPeople`.

    Two payers mean the same person where both paid for one prescription.
    """
    by_payer: dict[bytes, set[str]] = {}
    for _, claim in _resting_on(vault, None):
        if insured in {claim.insured, claim.authorisation} and payer in {None, claim.payer}:
            by_payer.setdefault(claim.payer, set()).add(claim.prescription_reference)
    found: set[str] = set()
    while joined := [whose for whose in by_payer if not found or found & by_payer[whose]]:
        found |= by_payer.pop(joined[0])
    if by_payer:
        raise ManyPeople(insured)
    return found


def _resting_on(vault: Vault, references: Collection[str] | None) -> list[tuple[int, ClaimRecord]]:
    """Return claims and requests for prior agreements on these prescriptions, or all."""
    return [
        (number, record)
        for type_ in (ClaimRecord, AuthorisationRecord)
        for number, record in every(vault, type_)
        if references is None or record.prescription_reference in references
    ]


def _received(vault: Vault, selection: Selection) -> Iterator[tuple[int, ReceivedRecord]]:
    """Yield what others disclosed to us and is to go: of one insured, or invoiced before a day."""
    if selection.insured is None and selection.before is None:
        return
    for number, record in every(vault, ReceivedRecord):
        is_theirs = selection.insured is not None and selection.insured in names_in(record)
        if is_theirs or (selection.before or "") > invoice_date_of(record):
            yield number, record


def names_in(record: ReceivedRecord) -> set[str | None]:
    """Return whose claim it is that was disclosed to us: our reference, the number that we gave."""
    values = _values(record)
    return {values["insured"], values["authorisation"]}


def invoice_date_of(record: ReceivedRecord) -> str:
    """Return the invoice date of what was disclosed to us."""
    return cast("str", _values(record)["invoice_date"])


def _values(record: ReceivedRecord) -> Mapping[str, Value]:
    shown = parse_disclosure(record.disclosure, "what was disclosed").claim_document
    return documents.parse(shown, CLAIM)[1]
