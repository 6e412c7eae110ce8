"""All that is wrong with a document, said at once: who mends it needs no second try for each."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from node.client.errors import ManyRefused, Refused

MOST: Final = 100  # faults of one document; who made that many has made one

T = TypeVar("T")
U = TypeVar("U")
P = ParamSpec("P")


def faults_of(refused: Refused) -> tuple[Refused, ...]:
    """Return each fault by itself, of an error that may stand for many."""
    return refused.faults if isinstance(refused, ManyRefused) else (refused,)


class Faults:
    """What was refused so far."""

    def __init__(self) -> None:
        self.found: list[Refused] = []
        self._said: set[str] = set()

    def take(self, instead: U, parse: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | U:
        """Return what `parse` returns; `instead`, where it refuses, which is kept."""
        try:
            return parse(*args, **options)
        except Refused as refused:
            self.add(refused)
            return instead

    def add(self, refused: Refused) -> None:
        """Keep one more; what was said already is not said again, and of many only the first."""
        for fault in faults_of(refused):
            if str(fault) not in self._said and len(self.found) < MOST:
                self._said.add(str(fault))
                self.found.append(fault)

    def require_none(self) -> None:
        """Raise `Refused`, or `ManyRefused`, unless nothing was refused."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise ManyRefused(self.found)
