"""Disclosures as they come, many at once: each verified against the chain, its false fact named.

Whatever is sent to a payer lands here, from a folder or from the post. Nothing is kept or decided
here; what is no disclosure of a claim is for `inbox.take`.
"""

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from node.client import disclosure, sealing
from node.client.client import ClaimView, MemberView, NodeClient
from node.client.disclosure import Disclosed, Disclosure
from node.client.errors import NotFound, NotReadable, NotVerified
from node.client.inbox import Reader
from node.client.reading import MAX_FILE_BYTES, parse_object

REFUSED: Final = "refused"
_WRITTEN_S: Final = 5  # who writes a file has done so when nothing was added for so long
_FRESH_S: Final = 60  # how long a member's keys are believed without asking again


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that was sent to us; `name` says which it is."""

    name: str
    data: bytes
    is_fresh: bool = False  # it may be that it is still being written
    document: bytes | None = None  # commitment of the claim's, where it was verified before


@dataclass(frozen=True, slots=True)
class Verified:
    """A disclosure every word of which holds."""

    letter: Letter
    plain: bytes
    disclosed: Disclosed
    view: ClaimView


@dataclass(frozen=True, slots=True)
class Wrong:
    """What does not prove what it claims: nothing is decided by it."""

    letter: Letter
    fact: str
    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """What may yet prove it: the claim is not on the chain that our node knows."""

    letter: Letter
    reason: str


@dataclass(frozen=True, slots=True)
class Other:
    """No disclosure of a claim: a prior agreement's, or a statement."""

    letter: Letter


Found: TypeAlias = Verified | Wrong | Later | Other


class Intake:
    """Verifies what comes, a batch at a time; keys of members are asked for once in a while."""

    def __init__(self, node: NodeClient, reader: Reader) -> None:
        self._node, self._reader = node, reader
        self._members: dict[str, tuple[float, MemberView]] = {}

    async def verify(self, letters: Sequence[Letter]) -> list[Found]:
        """Return what each letter proves, in order. Raises what says nothing of a letter."""
        found: dict[int, Found] = {}
        parsed: list[tuple[int, bytes, Disclosure]] = []
        for index, letter in enumerate(letters):
            try:
                plain = sealing.unseal(letter.data, letter.name, self._reader.sealing_seed)
                made = _of_claim(plain, letter.name)
            except (NotReadable, NotVerified) as error:
                is_half = letter.is_fresh and isinstance(error, NotReadable)
                found[index] = Later(letter, str(error)) if is_half else wrong(letter, error)
                continue
            if made is None:
                found[index] = Other(letter)
            else:
                parsed.append((index, plain, made))
        wanted = list({made.claim for _, _, made in parsed})
        views = await self._node.claims_by_id(wanted) if wanted else {}
        for index, plain, made in parsed:
            letter = letters[index]
            try:
                view = views.get(made.claim)
                if view is None:  # why, it says for one
                    view = await self._node.claim(made.claim)
                if letter.document == bytes.fromhex(view.document):
                    disclosed = disclosure.verified_before(made, view)
                else:
                    disclosed = await self._verified(made, view)
                found[index] = Verified(letter, plain, disclosed, view)
            except NotVerified as error:
                found[index] = wrong(letter, error)
            except NotFound as error:
                has_time = time.time() <= made.expires
                late = NotVerified("claim", f"{error}, and the disclosure has expired")
                found[index] = Later(letter, str(error)) if has_time else wrong(letter, late)
        return [found[index] for index in range(len(letters))]

    async def _verified(self, made: Disclosure, view: ClaimView) -> Disclosed:
        recipient, now = self._reader.member, int(time.time())
        try:
            submitter = await self._member(view.submitter, fresh=False)
            return disclosure.verify(made, view, submitter, recipient=recipient, now=now)
        except NotVerified:  # by a key, perhaps, that was added since
            if not self._may_be_old(view.submitter):
                raise
        submitter = await self._member(view.submitter, fresh=True)
        return disclosure.verify(made, view, submitter, recipient=recipient, now=now)

    def _may_be_old(self, id_: str) -> bool:
        """Return whether a member's keys were asked for before this second."""
        return id_ in self._members and time.monotonic() - self._members[id_][0] > 1

    async def _member(self, id_: str, *, fresh: bool) -> MemberView:
        kept = self._members.get(id_)
        if kept is None or fresh or time.monotonic() - kept[0] > _FRESH_S:
            kept = (time.monotonic(), await self._node.member(bytes.fromhex(id_)))
            self._members[id_] = kept
        return kept[1]


class Folder:
    """A folder into which disclosures are put, a file each; what is done with goes away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[str] = deque()  # seen at the last look, and not read yet
        self._later: set[str] = set()  # what is to be tried again, at the next look

    def letters(self, most: int) -> list[Letter]:
        """Return the next files by name, read; raise `NotReadable` where there is no folder."""
        if not self._waiting:
            self._waiting.extend(sorted(set(self._names()) - self._later))
        letters: list[Letter] = []
        while self._waiting and len(letters) < most:
            name = self._waiting.popleft()
            # One that is gone was moved away by another run.
            with contextlib.suppress(FileNotFoundError):
                letters.append(_read(self._path / name))
        return letters

    def look_again(self) -> None:
        """Let what was left for later be found again."""
        self._later.clear()
        self._waiting.clear()

    def later(self, letter: Letter) -> None:
        """Leave a file where it is, for the next look."""
        self._later.add(letter.name)

    def taken(self, letter: Letter) -> None:
        """Delete a file that was kept: it is in the vault, where it can be erased."""
        (self._path / letter.name).unlink(missing_ok=True)

    def refused(self, letter: Letter, fact: str, reason: str) -> None:
        """Move a file away that proves nothing, with a note that says why."""
        folder = self._path / REFUSED
        folder.mkdir(mode=0o700, exist_ok=True)
        note = {"file": letter.name, "fact": fact, "reason": reason}
        (folder / f"{letter.name}.why").write_text(json.dumps(note, indent=2) + "\n")
        with contextlib.suppress(FileNotFoundError):  # another run has moved it away
            (self._path / letter.name).replace(folder / letter.name)

    def _names(self) -> Iterator[str]:
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                        yield entry.name
        except (FileNotFoundError, NotADirectoryError):
            raise NotReadable(
                f"there is no folder {self._path}", hint="make it, or name another: --folder"
            ) from None


def _read(path: Path) -> Letter:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
        age = time.time() - os.fstat(file.fileno()).st_mtime
    return Letter(path.name, data, is_fresh=age < _WRITTEN_S)


def _of_claim(plain: bytes, name: str) -> Disclosure | None:
    """Return the disclosure of a claim in a file; None where it is something else of ours."""
    value = parse_object(plain, name)
    if value.get("format") != disclosure.FORMAT:
        return None
    if value.get("purpose") == disclosure.AUTHORISATION:
        return None
    return disclosure.parse_value(value, name)


def wrong(letter: Letter, error: NotReadable | NotVerified) -> Wrong:
    """Return a letter as one that proves nothing, for this reason."""
    fact = error.fact if isinstance(error, NotVerified) else "file"
    return Wrong(letter, fact, str(error))
