"""Prior agreements as a node shows them."""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from node.client.client import PAGE, Hex16, Hex32, HexKey, MarkView, NodeClient
from node.client.explanations import Name


class AuthorisationView(msgspec.Struct, frozen=True):
    """A prior agreement as it stands on the chain, bytes in hexadecimal."""

    id: Hex32
    optician: Hex16
    payer: Hex16
    leg: Literal["base", "complementary"]
    prescription: Hex32
    document: Hex32
    amount: Hex32
    marks: tuple[MarkView, ...]
    state: Name
    questions: tuple[Hex32, ...] = ()
    answers: tuple[Hex32, ...] = ()
    granted_amount: Hex32 | None = None
    reason: Name | None = None
    until: int | None = None
    claim: Hex32 | None = None
    signed_by: HexKey | None = None  # key that signed its request; in a list it is not told

    @property
    def submitter(self) -> str:
        """Who asks, as of a claim."""
        return self.optician


class _Page(msgspec.Struct, frozen=True):
    authorisations: tuple[AuthorisationView, ...]
    cursor: int | None = None


async def authorisation_of(node: NodeClient, id_: bytes) -> AuthorisationView:
    """Return a prior agreement; raise `NotFound`."""
    return await node.get(f"/authorisations/{id_.hex()}", AuthorisationView)


async def authorisations_of(
    node: NodeClient, state: str | None = None
) -> AsyncIterator[AuthorisationView]:
    """Yield those that concern the token's member, oldest first; of one state, or all."""
    query = {"limit": str(PAGE)} | ({} if state is None else {"state": state})
    while True:
        page = await node.get("/authorisations", _Page, query)
        for each in page.authorisations:
            yield each
        if page.cursor is None:
            return
        query["cursor"] = str(page.cursor)
