"""One claim or prescription within a file that holds others: where it stands, and its faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from node.client.errors import Refused, SocialSecurityNumber
from node.client.faults import Faults, faults_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a file says, in the fields of our own format; nothing of it is judged yet."""

    place: str  # the file, and where in it
    document: dict[str, Any]  # empty where the faults forbid to look further
    faults: tuple[Refused, ...] = ()  # what could not even be read
    columns: Mapping[str, str] = field(default_factory=dict)  # our field -> as the file names it
    left_out: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()  # fields of ours that faults kept from being read

    def judge(self, parse: Callable[[dict[str, Any]], T]) -> T:
        """Return what `parse` makes of the document; raise `Refused` with the faults of both.

        They come in the order of the file's columns. Of what could not be read it is not said again
        that it is missing.
        """
        faults = Faults()
        for fault in self.faults:
            faults.add(self._named(fault))
        said = {fault.field for fault in faults.found}
        found = None
        if self.document or not self.faults:
            try:
                found = parse(self.document)
            except Refused as refused:
                told = [each for each in faults_of(refused) if not self._is_unread(each.field)]
                for fault in map(self._named, told):
                    if fault.field not in said:
                        faults.add(fault)
        order = [*self.columns.values()]
        faults.found.sort(key=lambda fault: (*order, fault.field).index(fault.field))
        faults.require_none()
        assert found is not None  # what is refused was kept, and raised
        return found

    def _is_unread(self, field_: str) -> bool:
        return any(field_ == each or field_.startswith(f"{each}.") for each in self.unread)

    def _named(self, fault: Refused) -> Refused:
        """Return a fault under the name that the file has for the field."""
        name = self.columns.get(fault.field)
        if name is None:
            return fault
        if isinstance(fault, SocialSecurityNumber):
            return SocialSecurityNumber(name)
        return Refused(name, fault.reason, hint=fault.hint)
