"""Who is in the network, as the genesis document tells it."""

import difflib
import re
from dataclasses import dataclass

from contracts.genesis import Founder, Genesis
from contracts.genesis_json import parse_signed_json
from ledger.validators import MEMBER_ID_BYTES, MemberId
from node.client.errors import NotFound


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one network."""

    genesis: Genesis

    def find(self, name: str) -> Founder:
        """Return the member of this label, or id in hexadecimal; raise `NotFound`."""
        for member in self.genesis.members:
            if name in (member.label, member.id.hex()):
                return member
        labels = [member.label for member in self.genesis.members]
        near = difflib.get_close_matches(name, labels, n=1)
        hint = f"did you mean {near[0]}?" if near else f"members: {', '.join(labels[:12])}"
        raise NotFound(f"no member of this network is called {name}", hint=hint)

    def id_of(self, name: str) -> MemberId:
        """Return the id of the member of this label, or `name` where it is an id itself.

        Who was admitted later has no label here. Raises `NotFound`.
        """
        if re.fullmatch(f"[0-9a-f]{{{2 * MEMBER_ID_BYTES}}}", name):
            return MemberId(bytes.fromhex(name))
        return self.find(name).id

    def label_of(self, id_: bytes) -> str:
        """Return the label of a member, or its id in hexadecimal if nobody knows it."""
        member = self.genesis.member(id_)
        return id_.hex() if member is None else member.label


def parse_members(genesis_json: bytes) -> Members:
    """Return the members in a signed genesis, every signature verified; raise `BadGenesis`."""
    signed = parse_signed_json(genesis_json)
    signed.verify()
    return Members(signed.genesis)
