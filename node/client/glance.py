"""A node as it answers while one batch is looked at: what is asked for again is remembered."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from node.client.client import ClaimView, Head, MemberView, NodeClient, SettlementView

T = TypeVar("T")


class Glance(NodeClient):
    """Answers for a node, whose connection it uses; let it go when the batch is done."""

    def __init__(self, node: NodeClient) -> None:  # the node has the connection
        self._node = node
        self._claims: dict[bytes, ClaimView] = {}
        self._members: dict[bytes, MemberView] = {}

    async def expect(self, claims: Sequence[bytes]) -> None:
        """Ask for these claims together; one that is not shown so is asked for by itself later."""
        if len(claims) > 1:
            self._claims |= await self._node.claims_by_id(claims)

    async def claim(self, id_: bytes) -> ClaimView:
        """Return a claim; raise `NotFound`."""
        return self._claims.get(id_) or await self._node.claim(id_)

    async def member(self, id_: bytes) -> MemberView:
        """Return a member with its keys and delegations; raise `NotFound`."""
        found = self._members.get(id_)
        if found is None:
            found = self._members[id_] = await self._node.member(id_)
        return found

    async def settlement(self, id_: bytes) -> SettlementView:
        """Return a settlement; raise `NotFound`."""
        return await self._node.settlement(id_)

    async def settlement_claims(self, id_: bytes) -> AsyncIterator[ClaimView]:
        """Yield the claims of a settlement, by ascending id; raise `NotFound`."""
        async for view in self._node.settlement_claims(id_):
            yield view

    async def head(self) -> Head:
        """Return how far the chain has come by the node."""
        return await self._node.head()

    async def get(self, path: str, type_: type[T], query: Mapping[str, str] | None = None) -> T:
        """Return what a path under /v1 answers; raise as the node does."""
        return await self._node.get(path, type_, query)
