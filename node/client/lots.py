"""Claims of a shop, one or many: lock what they use, wait, then submit them under one signature.

Each step is written to the vault before it is tried, so that the same lot given again goes on where
it stopped and submits nothing twice. A single claim is a lot of one.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from contracts.calls import (
    AuthorisationRequest,
    Call,
    ClaimSubmit,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
    parse_call,
)
from contracts.commitment import Opening, blinding_from, lock_of, mark_of
from contracts.errors import Refusal
from ledger.transaction import MAX_CALLS, created_id, parse
from ledger.validators import MemberId
from node.client import documents
from node.client.attempts import Stands, became_of, find_under, sign_anew
from node.client.client import CallOutcome, NodeClient
from node.client.doubts import doubts
from node.client.errors import NotFound, Refused, Undecided
from node.client.objections import require_inherits, require_replaces, require_same
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    TransactionRecord,
    find,
    keep,
    update,
)
from node.client.refusals import explain
from node.client.request import (
    SECRET_BYTES,
    ClaimRequest,
    HandedPrescription,
    require_prescribed,
)
from node.client.transactions import (
    Advance,
    Decided,
    Lapsed,
    Say,
    Sender,
    counting,
    deliver,
    sign_and_keep,
    unnoticed,
)
from node.client.vault import Vault

# A lock or commitment that stood before is as good as one that was made now.
_STANDS: Final = frozenset((0, Refusal.MARK_ALREADY_LOCKED, Refusal.PRESCRIPTION_ALREADY_COMMITTED))
_CALLS_OF_ONE: Final = 3  # its prescription, two locks

OPEN: Final = frozenset((Progress.PREPARED, Progress.LOCKED, Progress.SUBMITTED))

_ROUNDS: Final = 3  # whoever waits an hour for a node signs anew; after three, a clock is wrong

PayerOf = Callable[[str], MemberId]
T = TypeVar("T")
Kept: TypeAlias = type[ClaimRecord]  # claims, or requests for prior agreements, which are alike


def add_prescription(
    vault: Vault, sender: Sender, handed: HandedPrescription, reference: str
) -> tuple[PrescriptionRecord, bool]:
    """Keep a prescription, or find it kept; return it, and whether it is new.

    Call it inside `vault.changes()`. Raises `Refused` where the reference names another one.
    """
    found = find(vault, PrescriptionRecord, reference)
    if found is not None:
        kept = found[1]
        same = kept.prescription == handed.prescription
        if not same or handed.secret not in {None, kept.secret}:
            raise Refused(
                "prescription_reference",
                f"another prescription is kept under {reference}",
                hint="give this one a reference of its own",
            )
        return kept, False
    secret = handed.secret or secrets.token_bytes(SECRET_BYTES)
    ordinal = handed.ordinal
    document = documents.issue_prescription(handed.prescription, secret, sender.key, ordinal)
    record = PrescriptionRecord(
        reference=reference,
        prescription=handed.prescription,
        secret=secret,
        document=str(document),
        commitment=document.commitment,
        ordinal=ordinal,
    )
    keep(vault, record, reference)
    return record, True


def doubts_of(vault: Vault, request: ClaimRequest) -> list[str]:
    """Return what looks wrong in a claim that was prepared, and is not refused."""
    kept = _kept_prescription(vault, request.prescription_reference)
    return doubts(request, kept.prescription)


def prepare(
    vault: Vault,
    sender: Sender,
    request: ClaimRequest,
    payer_of: PayerOf,
    type_: Kept = ClaimRecord,
    *,
    prior: ClaimRecord | None = None,
) -> int:
    """Make a claim's documents and keep them, or find the claim kept; return its number.

    With `prior` it takes that one's place. Call it inside `vault.changes()`. Raises `Refused` where
    the reference names another claim, or what is claimed is claimed already, `NotFound`.
    """
    payer = payer_of(request.payer)
    reference = request.prescription_reference
    prescription = _prescription_for(vault, sender, request)
    agreed = request.agreement
    agreement = None if agreed is None else load(vault, agreed, AuthorisationRecord)[1]
    before = agreement or prior
    found = find(vault, type_, request.reference)
    if found is not None:
        require_same(found[1], request, payer, reference)
        require_replaces(found[1], prior)
        return found[0]
    leg = Leg(request.leg)
    if before is not None:
        require_inherits(before, payer, leg)
    ordinal, rests_on = prescription.ordinal, prescription.commitment
    if before is not None and before.ordinal != ordinal:  # it was renewed since
        ordinal, rests_on = before.ordinal, before.prescription or rests_on
    marks = _marks(request, prescription.secret, ordinal)
    _require_free(vault, marks, reference, before)
    document = documents.issue_claim(request, rests_on, sender.key)
    record = type_(
        reference=request.reference,
        prescription_reference=reference,
        payer=payer,
        leg=leg,
        codes=request.codes,
        lenses_cents=request.lenses_cents,
        frame_cents=request.frame_cents,
        invoice_date=request.invoice_date,
        insured=request.insured,
        authorisation=request.authorisation,
        document=str(document),
        commitment=document.commitment,
        blinding=blinding_from(secrets.token_bytes(64)),
        marks=marks,
        # What comes before holds the marks already, and hands them on: nothing is locked.
        progress=Progress.PREPARED if before is None else Progress.LOCKED,
        agreement=agreement.claim if agreement else None,
        prior=None if prior is None else prior.claim,
        prescription=rests_on,
        ordinal=ordinal,
        until=agreement.until if agreement else None,
    )
    if before is not None:
        release(vault, before)
    return keep(vault, record, record.reference, *map(_mark_name, marks.values()))


def _prescription_for(vault: Vault, sender: Sender, request: ClaimRequest) -> PrescriptionRecord:
    if request.prescribed is not None:
        name = request.prescription_reference
        return add_prescription(vault, sender, request.prescribed, name)[0]
    kept = _kept_prescription(vault, request.prescription_reference)
    require_prescribed(request, kept.prescription)
    return kept


def holder_of(vault: Vault, mark: bytes) -> ClaimRecord | None:
    """Return which claim or request of the shop uses a mark."""
    for type_ in (ClaimRecord, AuthorisationRecord):
        found = find(vault, type_, _mark_name(mark))
        if found is not None:
            return found[1]
    return None


def opening_of(claim: ClaimRecord) -> Opening:
    """Return what opens the commitment to the amount of a claim."""
    return Opening(claim.amount_cents, claim.blinding)


async def submit(
    vault: Vault,
    node: NodeClient,
    sender: Sender,
    references: Sequence[str],
    type_: Kept = ClaimRecord,
    *,
    wait_s: int,
    say: Say,
    advance: Advance = unnoticed,
) -> list[ClaimRecord]:
    """Bring prepared claims onto the chain; return what became of each, in order.

    They stand in transactions in the order given. Raises what `deliver` raises; then the same again
    goes on where it stopped.
    """
    for _ in range(_ROUNDS):
        _sign_locks(vault, sender, references, type_)
        await _settle_locks(
            vault, node, sender, references, type_, wait_s=wait_s, say=say, advance=advance
        )
        _sign_claims(vault, sender, references, type_)
        await _settle_claims(
            vault, node, references, type_, wait_s=wait_s, say=say, advance=advance
        )
        claims = [claim for _, claim in _all(vault, references, type_)]
        if not any(claim.progress in OPEN for claim in claims):
            return claims
    raise Undecided(
        f"signed {_ROUNDS} times, and by the node's clock never for now",
        hint="set this machine's clock right, or ask the node's operator about its clock; then run"
        " the same again",
    )


def load(vault: Vault, name: str, type_: Kept = ClaimRecord) -> tuple[int, ClaimRecord]:
    """Return number and record of this reference, or id in hexadecimal; raise `NotFound`."""
    found = find(vault, type_, name)
    if found is None:
        noun = type_.KIND.name.lower()
        raise NotFound(f"the vault holds no {noun} {name}", hint=f"depoli {noun} list shows all")
    return found


def find_claim(vault: Vault, reference: str) -> ClaimRecord | None:
    """Return the claim of this reference, None where there is none (it was erased)."""
    found = find(vault, ClaimRecord, reference)
    return None if found is None else found[1]


def prescription_of(vault: Vault, claim: ClaimRecord) -> PrescriptionRecord:
    """Return the prescription that a claim rests on; raise `NotFound` where it was erased."""
    return _prescription(vault, claim)[1]


def release(vault: Vault, claim: ClaimRecord) -> None:
    """Let another claim of the shop use the marks of this one."""
    for mark in claim.marks.values():
        vault.unname(claim.KIND, _mark_name(mark))


def _sign_locks(vault: Vault, sender: Sender, references: Sequence[str], type_: Kept) -> None:
    """Sign what commits prescriptions and locks marks, for the claims that need it."""
    with vault.changes():
        todo = [
            (number, claim)
            for number, claim in _all(vault, references, type_)
            if claim.progress is Progress.PREPARED and claim.lock_transaction is None
        ]
        # A claim's calls stay together, so that one transaction says all of its outcomes.
        for batch in _batches(todo, MAX_CALLS // _CALLS_OF_ONE):
            calls: dict[bytes, Call] = {}
            for _, claim in batch:
                prescription = _prescription(vault, claim)[1]
                if not prescription.is_committed:
                    calls[prescription.commitment] = PrescriptionCommit(prescription.commitment)
                calls |= {lock: MarkLock(lock) for lock in _locks(sender, claim)}
            made = sign_and_keep(vault, sender, list(calls.values()))
            for number, claim in batch:
                claim.lock_transaction = made.id
                update(vault, number, claim)


async def _settle_locks(
    vault: Vault,
    node: NodeClient,
    sender: Sender,
    references: Sequence[str],
    type_: Kept,
    *,
    wait_s: int,
    say: Say,
    advance: Advance,
) -> None:
    """Send them, and write which claims may be submitted now."""
    waiting = [
        claim.lock_transaction
        for _, claim in _all(vault, references, type_)
        if claim.progress is Progress.PREPARED and claim.lock_transaction is not None
    ]
    if not waiting:
        return
    say(f"locking the marks of {_claims(waiting)}")
    heard = counting(waiting, "marks locked", advance)
    results = await deliver(
        vault, node, list(dict.fromkeys(waiting)), wait_s=wait_s, say=say, heard=heard
    )
    outcomes = {
        name: outcome
        for result in results.values()
        if isinstance(result, Decided)
        for name, outcome in zip(_named_calls(vault, result.id), result.outcomes, strict=False)
    }
    with vault.changes():
        for number, claim in _all(vault, references, type_):
            id_ = claim.lock_transaction
            if claim.progress is not Progress.PREPARED or id_ is None or id_ not in results:
                continue
            if isinstance(results[id_], Lapsed):
                claim.lock_transaction = None
                update(vault, number, claim)
                continue
            at, prescription = _prescription(vault, claim)
            found = [
                outcomes.get(name) for name in (prescription.commitment, *_locks(sender, claim))
            ]
            failed = [each for each in found if each is not None and each.code not in _STANDS]
            if failed:
                _refuse(vault, number, claim, failed[0])
                continue
            if not prescription.is_committed:
                prescription.is_committed = True
                update(vault, at, prescription)
            claim.progress = Progress.LOCKED
            update(vault, number, claim)


def _sign_claims(vault: Vault, sender: Sender, references: Sequence[str], type_: Kept) -> None:
    """Sign the claims whose marks are locked, as many as fit under one signature."""
    with vault.changes():
        todo = [
            (number, claim)
            for number, claim in _all(vault, references, type_)
            if claim.progress is Progress.LOCKED
        ]
        for batch in _batches(todo, MAX_CALLS):
            made = sign_and_keep(vault, sender, [_call(vault, claim) for _, claim in batch])
            for position, (number, claim) in enumerate(batch):
                claim.progress = Progress.SUBMITTED
                claim.transaction, claim.position = made.id, position
                claim.claim = created_id(made.id, position)
                vault.name(number, claim.KIND, [claim.claim.hex()])
                update(vault, number, claim)


async def _settle_claims(
    vault: Vault,
    node: NodeClient,
    references: Sequence[str],
    type_: Kept,
    *,
    wait_s: int,
    say: Say,
    advance: Advance,
) -> None:
    """Send them, and write what became of each."""
    waiting = [
        claim.transaction
        for _, claim in _all(vault, references, type_)
        if claim.progress is Progress.SUBMITTED and claim.transaction is not None
    ]
    if not waiting:
        return
    say(f"submitting {_claims(waiting)}")
    heard = counting(waiting, "submitted", advance)
    results = await deliver(
        vault, node, list(dict.fromkeys(waiting)), wait_s=wait_s, say=say, heard=heard
    )
    submitted = [claim for _, claim in _all(vault, references, type_)]
    became = await became_of(node, submitted, results)
    with vault.changes():
        for number, claim in _all(vault, references, type_):
            if claim.progress is not Progress.SUBMITTED or claim.transaction not in results:
                continue  # another command has written it
            match became[claim.transaction, claim.position]:
                case Lapsed():
                    sign_anew(vault, claim)
                case Stands() as stands:
                    find_under(vault, number, claim, stands)
                    claim.progress, claim.height = Progress.COMMITTED, stands.height
                case outcome:
                    _refuse(vault, number, claim, outcome)
                    continue
            update(vault, number, claim)


def _call(vault: Vault, claim: ClaimRecord) -> ClaimSubmit | AuthorisationRequest:
    asked = (
        claim.payer,
        Leg(claim.leg),
        claim.prescription or _prescription(vault, claim)[1].commitment,
        claim.commitment,
        opening_of(claim).commitment(),
        tuple(Mark(Part(part), mark) for part, mark in sorted(claim.marks.items())),
    )
    if isinstance(claim, AuthorisationRecord):
        return AuthorisationRequest(*asked)
    return ClaimSubmit(*asked, authorisation=claim.agreement, prior=claim.prior)


def _refuse(vault: Vault, number: int, claim: ClaimRecord, outcome: CallOutcome) -> None:
    """Write that the chain refused a claim, which frees its marks for another of the shop."""
    claim.progress = Progress.REFUSED
    claim.refusal, claim.refusal_text = outcome.name, explain(outcome)
    release(vault, claim)
    give_back(vault, claim)
    update(vault, number, claim)


def _marks(request: ClaimRequest, secret: bytes, ordinal: int) -> dict[int, bytes]:
    parts = [Part.LENSES] if request.frame_cents is None else [Part.LENSES, Part.FRAME]
    return {int(part): mark_of(secret, Leg(request.leg), part, ordinal) for part in parts}


def _require_free(
    vault: Vault, marks: dict[int, bytes], prescription: str, before: ClaimRecord | None
) -> None:
    """Raise `Refused` where another claim of ours than what comes before uses one of `marks`."""
    if before is not None and before.marks != marks:
        raise Refused("claim", f"{before.reference} is for other parts, or another prescription")
    for part, mark in marks.items():
        holder = holder_of(vault, mark)
        if holder is not None and (before is None or holder.reference != before.reference):
            noun = holder.KIND.name.lower()
            raise Refused(
                "claim",
                f"the {Part(part).name.lower()} of prescription {prescription} are claimed already,"
                f" under {holder.reference}",
                hint=f"cancel that {noun} first: depoli {noun} cancel {holder.reference}",
            )


def give_back(vault: Vault, claim: ClaimRecord) -> None:
    """Let what a refused claim was to replace use its marks again, as it does on the chain."""
    for id_, type_ in ((claim.prior, ClaimRecord), (claim.agreement, AuthorisationRecord)):
        found = None if id_ is None else find(vault, type_, id_.hex())
        if found is not None:
            vault.name(found[0], type_.KIND, map(_mark_name, claim.marks.values()))


def _all(vault: Vault, references: Iterable[str], type_: Kept) -> Iterator[tuple[int, ClaimRecord]]:
    for reference in references:
        yield load(vault, reference, type_)


def _prescription(vault: Vault, claim: ClaimRecord) -> tuple[int, PrescriptionRecord]:
    found = find(vault, PrescriptionRecord, claim.prescription_reference)
    if found is None:
        raise NotFound(f"the prescription of claim {claim.reference} was erased")
    return found


def _kept_prescription(vault: Vault, reference: str) -> PrescriptionRecord:
    found = find(vault, PrescriptionRecord, reference)
    if found is None:
        raise NotFound(
            f"no prescription is kept under {reference}",
            hint="depoli prescription add FILE, or put the prescription into the claim's file",
        )
    return found[1]


def _locks(sender: Sender, claim: ClaimRecord) -> list[bytes]:
    return [lock_of(sender.chain_id, sender.member, mark) for mark in claim.marks.values()]


def _named_calls(vault: Vault, transaction_id: bytes) -> list[bytes]:
    """Return the commitment or lock in each call of a transaction of ours, in their order."""
    found = find(vault, TransactionRecord, transaction_id.hex())
    assert found is not None  # it was kept before it was sent
    names = []
    for encoded in parse(found[1].raw).body.calls:
        call = parse_call(encoded)
        assert isinstance(call, PrescriptionCommit | MarkLock)  # as _sign_locks made it
        names.append(call.commitment if isinstance(call, PrescriptionCommit) else call.lock)
    return names


def _claims(some: Sequence[object]) -> str:
    return "1 claim" if len(some) == 1 else f"{len(some)} claims"


def _mark_name(mark: bytes) -> str:
    return f"mark {mark.hex()}"


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
