"""Who is in the network: the founders by the genesis document, others by cards that they gave."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from contracts.genesis import Founder, Genesis
from contracts.genesis_json import parse_signed_json
from ledger.validators import MemberId
from node.client.errors import NotFound

_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one network."""

    genesis: Genesis
    others: tuple[Founder, ...] = ()  # admitted later, as far as their cards are at hand

    @property
    def known(self) -> tuple[Founder, ...]:
        """All of them."""
        return self.genesis.members + self.others

    def find(self, name: str) -> Founder:
        """Return the member of this label, or id in hexadecimal; raise `NotFound`."""
        for member in self.known:
            if name in (member.label, member.id.hex()):
                return member
        labels = [member.label for member in self.known]
        near = difflib.get_close_matches(name, labels, n=1)
        hint = f"did you mean {near[0]}?" if near else f"members: {', '.join(labels[:12])}"
        raise NotFound(f"no member of this network is called {name}", hint=hint)

    def id_of(self, name: str) -> MemberId:
        """Return the id of the member of this label, or the id that this is; raise `NotFound`."""
        return MemberId(bytes.fromhex(name)) if _ID.fullmatch(name) else self.find(name).id

    def label_of(self, id_: bytes) -> str:
        """Return the label of a member, or its id in hexadecimal if nobody knows it."""
        found = next((member.label for member in self.known if member.id == id_), None)
        return id_.hex() if found is None else found


def parse_members(genesis_json: bytes, others: Iterable[Founder] = ()) -> Members:
    """Return the members in a signed genesis, every signature verified, and others.

    Raises `BadGenesis`.
    """
    return Members(parse_signed_json(genesis_json).genesis, tuple(others))
