"""Claims that wait in the vault for the network, and for a moment that tells nothing of whose.

The clock is cut into windows. What is queued in one leaves in the next, at one moment drawn by
chance, all of it in one lot and in an order drawn by chance: so the chain tells in which window a
claim was made, how many others were, and nothing finer. Without a network it waits; what fails is
tried again, later each time. Every step is written before it is tried: whoever flushes, how often,
and wherever it breaks, each claim comes onto the chain once.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.errors import Refusal
from node.client import lots
from node.client.agreements import AuthorisationView, authorisation_of
from node.client.client import NodeClient
from node.client.errors import ClientError, DiskFull, Refused, VaultDamaged, VaultLocked
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    PrescriptionRecord,
    Progress,
    QueuedRecord,
    every,
    find,
    keep,
    update,
)
from node.client.refusals import moment
from node.client.transactions import Advance, Say, Sender, unnoticed
from node.client.vault import Vault

WINDOW_S: Final = 3600
MAX_WINDOW_S: Final = 24 * 3600
FIRST_RETRY_S: Final = 30
MAX_RETRY_S: Final = 15 * 60
KEPT_S: Final = 7 * 24 * 3600  # how long the queue shows what became of a claim
SPARE_S: Final = 3600  # before a prior agreement ends, its claim leaves
LOOK_S: Final = 10.0  # between two looks at what other commands queued
_EXPIRED: Final = "expired"  # as a node names the state, and the next three
_UNDECIDED: Final = frozenset(("requested", "info_requested", "under_review"))
_OURS: Final = (DiskFull, VaultDamaged, VaultLocked)  # no fault of the network
_chance: Final = secrets.SystemRandom()

Clock = Callable[[], int]  # unix seconds


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of so many seconds, aligned to the clock."""

    seconds: int = WINDOW_S

    def end(self, now: int) -> int:
        """Return when the window ends that is open now."""
        return (now // self.seconds + 1) * self.seconds

    def draw(self, end: int) -> int:
        """Return a moment of the next window, each as likely as any other."""
        return end + _chance.randrange(self.seconds)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush tried to send, and what stopped it, if anything did."""

    references: tuple[str, ...]
    error: ClientError | None = None


def put(vault: Vault, reference: str, windows: Windows, now: int) -> None:
    """Let a prepared claim wait for its window; one that waits, or is decided, is left as it is.

    Call it inside `vault.changes()`. Raises `NotFound`.
    """
    claim = lots.load(vault, reference)[1]
    found = find(vault, QueuedRecord, reference)
    if claim.progress not in lots.OPEN or (found is not None and found[1].ended is None):
        return
    end = windows.end(now)
    names = {reference}
    of_window = find(vault, QueuedRecord, f"window {end}")
    if of_window is None:
        names.add(f"window {end}")  # whoever comes next in this window takes its moment from here
    record = QueuedRecord(
        reference=reference,
        window=end,
        due=windows.draw(end) if of_window is None else of_window[1].due,
    )
    if claim.until is not None:
        record.no_later = max(now, claim.until - SPARE_S)
    if found is None:
        keep(vault, record, *names)
    else:
        update(vault, found[0], record)


async def flush(
    vault: Vault,
    node: NodeClient,
    sender: Sender,
    *,
    clock: Clock,
    at_once: bool = False,
    wait_s: int,
    say: Say,
    advance: Advance = unnoticed,
) -> Flushed:
    """Submit the claims that are due, `at_once` all that wait; put off what fails.

    Raises `VaultLocked`, `DiskFull` and `VaultDamaged` only.
    """
    now = clock()
    references = [
        record.reference
        for _, record in _known(vault, now)
        if record.ended is None and (at_once or is_due(record, now))
    ]
    if not references:
        return Flushed(())
    error = None
    try:
        in_time = await _in_time(vault, node, references, now)
        in_time.sort()  # so that nothing is left of the order in which they were queued
        _chance.shuffle(in_time)
        await lots.submit(vault, node, sender, in_time, wait_s=wait_s, say=say, advance=advance)
    except _OURS:
        raise
    except ClientError as raised:
        error = raised
    _write(vault, references, error, clock())
    return Flushed(tuple(references), error)


async def watch(
    vault: Vault,
    node_of: Callable[[], NodeClient],
    sender: Sender,
    *,
    clock: Clock,
    rest: Callable[[float], Awaitable[None]],
    wait_s: int,
    say: Say,
    tell: Callable[[Flushed], None],
) -> None:
    """Flush whenever something is due, for ever; `rest` waits so many seconds, or ends it.

    Raises `VaultDamaged`, and whatever `rest` raises.
    """
    while True:
        next_s = LOOK_S
        try:
            async with node_of() as node:
                flushed = await flush(vault, node, sender, clock=clock, wait_s=wait_s, say=say)
            if flushed.references:
                tell(flushed)
            now = clock()
            moments = (
                leaves_at(record) for _, record in every(vault, QueuedRecord) if not record.ended
            )
            next_s = min((at - now for at in moments), default=LOOK_S)
        except (DiskFull, VaultLocked) as error:
            say(f"{error}; looking again")
        await rest(min(LOOK_S, max(1.0, next_s)))


def leaves_at(record: QueuedRecord) -> int:
    """Return the moment at which it leaves, or is tried again."""
    if record.retry_at is not None:
        return record.retry_at
    return record.due if record.no_later is None else min(record.due, record.no_later)


def is_due(record: QueuedRecord, now: int) -> bool:
    """Return whether it leaves now."""
    if record.window > now + MAX_WINDOW_S:
        return True  # the clock was wrong when it was queued: it waited long enough
    if record.retry_at is not None and record.retry_at > now + 2 * MAX_RETRY_S:
        return True  # the same
    return leaves_at(record) <= now


def is_waiting(vault: Vault, reference: str) -> bool:
    """Return whether a claim waits in the queue, so that nobody else sends it."""
    found = find(vault, QueuedRecord, reference)
    return found is not None and found[1].ended is None


def waiting(vault: Vault) -> Iterator[tuple[QueuedRecord, ClaimRecord]]:
    """Yield what waits, and what was decided in the last days; without claims that were erased."""
    for _, record in every(vault, QueuedRecord):
        found = find(vault, ClaimRecord, record.reference)
        if found is not None:
            yield record, found[1]


def forget(vault: Vault, reference: str) -> None:
    """Erase that a claim was queued. Call it inside `vault.changes()`."""
    found = find(vault, QueuedRecord, reference)
    if found is not None:
        vault.erase(found[0])


def remove(vault: Vault, reference: str) -> None:
    """Take a claim back of which nothing was signed, so that it may be queued anew, mended.

    A prescription that came with it goes too. Call it inside `vault.changes()`. Raises `NotFound`,
    `Refused`.
    """
    number, claim = lots.load(vault, reference)
    is_signed = claim.lock_transaction is not None or claim.lapsed
    if is_signed or claim.progress not in {Progress.PREPARED, Progress.LOCKED}:
        raise Refused(
            "claim",
            f"{reference} is on its way, or decided",
            hint="what is on the chain is taken back by: depoli claim cancel",
        )
    lots.release(vault, claim)
    lots.give_back(vault, claim)
    forget(vault, reference)
    vault.erase(number)
    kept = find(vault, PrescriptionRecord, claim.prescription_reference)
    resting = (
        other.prescription_reference == claim.prescription_reference
        for type_ in (ClaimRecord, AuthorisationRecord)
        for _, other in every(vault, type_)
    )
    if kept is not None and not kept[1].is_committed and not any(resting):
        vault.erase(kept[0])


def note_end(vault: Vault, view: AuthorisationView) -> None:
    """Remember until when a prior agreement of ours is good, as a node says: for when none does."""
    known = find(vault, AuthorisationRecord, view.id)
    if known is None or known[1].until == view.until:
        return
    with vault.changes():
        found = find(vault, AuthorisationRecord, view.id)
        if found is not None:  # it may be erased meanwhile
            found[1].until = view.until
            update(vault, *found)


async def _in_time(
    vault: Vault, node: NodeClient, references: Sequence[str], now: int
) -> list[str]:
    """Return those that may be sent: whose claim is there, and whose agreement is in force.

    Of the others it is written that they are too late, or wait for the payer. By the chain's time:
    ours may be wrong.
    """
    in_time = []
    for reference in references:
        claim = lots.find_claim(vault, reference)
        if claim is None:
            continue  # it was erased
        if claim.agreement is not None and claim.progress is Progress.LOCKED:
            view = await authorisation_of(node, claim.agreement)
            with vault.changes():
                if not _is_in_time(vault, reference, view, now):
                    continue
        in_time.append(reference)
    return in_time


def _is_in_time(vault: Vault, reference: str, view: AuthorisationView, now: int) -> bool:
    """Return whether the agreement that a claim would use is in force; write where it is not."""
    number, claim = lots.load(vault, reference)
    if claim.progress is not Progress.LOCKED:
        return True  # another command was faster
    claim.until = view.until or claim.until
    if view.state == _EXPIRED:
        _miss(vault, claim, now)
    update(vault, number, claim)
    if view.state in _UNDECIDED and (found := find(vault, QueuedRecord, reference)) is not None:
        number, record = found
        record.retry_at, record.trouble = now + MAX_RETRY_S, "its prior agreement is not granted"
        record.hint = "it goes by itself once the payer grants it: depoli authorisation show"
        update(vault, number, record)
    return view.state != _EXPIRED and view.state not in _UNDECIDED


def _miss(vault: Vault, claim: ClaimRecord, now: int) -> None:
    """Write that a claim is too late to be sent, which frees its marks for another."""
    end = "" if claim.until is None else f" on {moment(claim.until)}"
    claim.progress = Progress.REFUSED
    claim.refusal = Refusal.AUTHORISATION_IN_WRONG_STATE.name
    claim.refusal_text = f"it was not sent: its prior agreement ended{end}"
    lots.release(vault, claim)
    found = find(vault, QueuedRecord, claim.reference)
    assert found is not None  # it was taken from the queue
    number, record = found
    record.ended, record.is_late, record.retry_at, record.trouble = now, True, None, None
    update(vault, number, record)


def _write(vault: Vault, references: Sequence[str], error: ClientError | None, now: int) -> None:
    """Write which claims are decided, and when the others are tried again: all of them together."""
    with vault.changes():
        found = [find(vault, QueuedRecord, reference) for reference in references]
        open_ = [each for each in found if each is not None and each[1].ended is None]
        retry_at = now + _backoff(max((record.tries for _, record in open_), default=0))
        for number, record in open_:
            claim = find(vault, ClaimRecord, record.reference)
            if claim is None or claim[1].progress not in lots.OPEN:
                record.ended, record.retry_at, record.trouble = now, None, None
            elif error is not None:
                record.retry_at, record.tries = retry_at, record.tries + 1
                record.trouble, record.hint = str(error), error.hint
            update(vault, number, record)


def _backoff(tries: int) -> int:
    """Return for how long to wait after so many failures: longer each time, never to the second."""
    longest = min(MAX_RETRY_S, FIRST_RETRY_S << min(tries, 10))
    return longest - _chance.randrange(longest // 4)


def _known(vault: Vault, now: int) -> list[tuple[int, QueuedRecord]]:
    """Return all that was queued, and erase what ended long ago; the claims themselves are kept."""
    known = list(every(vault, QueuedRecord))
    old = [number for number, record in known if (record.ended or now) < now - KEPT_S]
    if old:
        with vault.changes():
            for number in old:
                vault.erase(number)
    return [(number, record) for number, record in known if number not in old]
