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

    As `read` and `keep_each`, with nothing between.
    """
    judged = read(documents, today=today)
    result: list[Judged] = []
    for kept in keep_each(vault, sender, judged, payer_of, all_or_none=all_or_none, then=then):
        result += kept
        advance("judged", len(result), len(judged))
    return result


def read(documents: Iterable[Document], *, today: str) -> list[Judged]:
    """Judge each claim of the documents by itself; nothing is kept, and no vault is needed."""
    return list(_read(documents, today))


def keep_each(
    vault: Vault,
    sender: Sender,
    judged: Sequence[Judged],
    payer_of: PayerOf,
    *,
    all_or_none: bool = False,
    then: Keep = nothing_more,
) -> Iterator[list[Judged]]:
    """Keep the claims of the good ones, and yield what became of each, some after each commit.

    `then` is called for each claim inside the commit that keeps it. With `all_or_none` nothing is
    kept where one is refused. Given again, nothing is kept twice.
    """
    if all_or_none and any(each.error for each in judged):
        yield [*judged]
        return
    size = max(len(judged), 1) if all_or_none else AT_ONCE
    for start in range(0, len(judged), size):
        kept: list[Judged] = []
        try:
            with vault.changes():
                kept = [
                    _keep(vault, sender, each, payer_of, then)
                    for each in judged[start : start + size]
                ]
                if all_or_none and any(each.error for each in kept):
                    raise _HeldBack  # noqa: TRY301  (it undoes the changes)
        except _HeldBack:
            pass
        yield kept


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
