"""Many documents at once: each is judged by itself, so that a bad one does not stop the others.

A document is whatever the shop's software writes: one claim, or a table or bundle of many. What is
judged well is kept, prepared, in the vault; nothing is sent from here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.client import importing, lots
from node.client.errors import ClientError, DiskFull, Refused, VaultDamaged, VaultLocked
from node.client.lots import PayerOf
from node.client.request import ClaimRequest
from node.client.transactions import Advance, Sender, unnoticed
from node.client.vault import Vault

AT_ONCE: Final = 25  # documents in one commit: other commands wait no longer than for these
_OURS: Final = (DiskFull, VaultDamaged, VaultLocked)  # no fault of a document

Keep = Callable[[ClaimRequest], None]


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was handed over; `read` gives its bytes, or raises `ClientError`."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a claim at the door: a request that is kept, or the error."""

    name: str  # of the document, and where in it
    request: ClaimRequest | None = None
    error: ClientError | None = None
    doubts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # names of fields that are never kept

    @property
    def reference(self) -> str | None:
        """The shop's own reference, where it could be read."""
        return None if self.request is None else self.request.reference


class _HeldBack(Exception):
    """One of all is refused, and none is to be kept."""


def nothing_more(_request: ClaimRequest) -> None:
    """Do nothing more for a claim that is kept."""


def judge(
    vault: Vault,
    sender: Sender,
    documents: Iterable[Document],
    payer_of: PayerOf,
    *,
    today: str,
    all_or_none: bool = False,
    then: Keep = nothing_more,
    advance: Advance = unnoticed,
) -> list[Judged]:
    """Judge documents and keep the claims of the good ones; return what became of each, in order.

    `then` is called for each claim inside the commit that keeps it. With `all_or_none` nothing is
    kept where one is refused. Given again, nothing is kept twice.
    """
    judged = list(_read(documents, today))
    if all_or_none and any(each.error for each in judged):
        return judged
    size = max(len(judged), 1) if all_or_none else AT_ONCE
    result: list[Judged] = []
    for start in range(0, len(judged), size):
        chunk = judged[start : start + size]
        try:
            with vault.changes():
                kept = [_keep(vault, sender, each, payer_of, then) for each in chunk]
                if all_or_none and any(each.error for each in kept):
                    result = kept
                    raise _HeldBack  # noqa: TRY301  (it undoes the changes)
        except _HeldBack:
            return result
        result += kept
        advance("judged", len(result), len(judged))
    return result


def refused(judged: Sequence[Judged]) -> list[Judged]:
    """Return those that are refused."""
    return [each for each in judged if each.error is not None]


def _read(documents: Iterable[Document], today: str) -> Iterator[Judged]:
    """Yield each claim of the documents; of two with one reference the second is refused."""
    seen: dict[str, str] = {}
    for document in documents:
        try:
            entries = importing.read_entries(document.read(), document.name, today=today)
        except ClientError as error:
            yield Judged(document.name, error=error)
            continue
        for entry in entries:
            judged = Judged(entry.place, entry.found, entry.fault, left_out=entry.left_out)
            reference = judged.reference
            if reference is not None:
                first = seen.setdefault(reference, entry.place)
                if first != entry.place:
                    why = f"{reference} stands twice, first in {first}"
                    judged = replace(judged, error=Refused("claim.reference", why))
            yield judged


def _keep(vault: Vault, sender: Sender, judged: Judged, payer_of: PayerOf, then: Keep) -> Judged:
    if judged.error is not None or judged.request is None:
        return judged
    try:
        with vault.attempt():
            lots.prepare(vault, sender, judged.request, payer_of)
            then(judged.request)
            return replace(judged, doubts=tuple(lots.doubts_of(vault, judged.request)))
    except _OURS:
        raise
    except ClientError as error:
        return replace(judged, error=error)
