"""What the HTTP API proves of the chain between two heights, to who keeps the proof as a file.

That the log only grew is shown without any entry: that is for every token. A member's history is
for the member, and for who may read all; that of everyone for all members.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from aiohttp import web

from ledger import consistency, history
from ledger.consistency import Certified, Consistency
from ledger.encoding import U63_MAX
from ledger.merkle import consistency_proof
from node.asking import may_read, parse_member, parse_number, require
from node.chain import Chain
from node.errors import HistoryTooLong
from node.problems import Problem
from node.tokens import Scope

MAX_SEVERAL: Final = 10_000  # entries of more blocks than one: two tenths of a second to write
_JSON: Final = "application/json"
T = TypeVar("T")


class Proofs:
    """The handlers, over a chain; `reader` is where it is read."""

    def __init__(self, chain: Chain, reader: Executor) -> None:
        self._chain, self._reader = chain, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get("/v1/consistency", self.consistency)
        router.add_get("/v1/history", self.history)

    async def consistency(self, request: web.Request) -> web.Response:
        """Prove that the log at ?from= begins the log at ?to=, the last block where not given."""
        require(request, *Scope)
        first, last = self._heights(request, 1)
        text = await self._in_reader(self._consistency, first, last)
        return web.Response(text=text, content_type=_JSON)

    def _consistency(self, first: int, last: int) -> str:
        return consistency.to_json(prove_consistency(self._chain, first, last))

    async def history(self, request: web.Request) -> web.Response:
        """Give all entries that concern ?member= above ?from= up to ?to=, and proof that it is all.

        Without ?member= the token's own; without ?from= from the beginning on.
        """
        grant = require(request, Scope.READ, Scope.AUDIT)
        member = parse_member(request) or grant.member
        if member is None or not may_read(grant, member):
            raise Problem(403, "forbidden", "name a ?member= that this token may read")
        first, last = self._heights(request, 0)
        try:
            text = await self._in_reader(self._history, member, first, last)
        except HistoryTooLong as error:
            raise Problem(422, "too-long", str(error), error.hint) from None
        return web.Response(text=text, content_type=_JSON)

    def _history(self, member: bytes, first: int, last: int) -> str:
        most = history.MAX_ENTRIES if last - first == 1 else MAX_SEVERAL
        return history.to_json(self._chain.history(member, first, last, most=most))

    def _heights(self, request: web.Request, least: int) -> tuple[int, int]:
        height = self._chain.height
        first = parse_number(request, "from", least, least, U63_MAX)
        last = parse_number(request, "to", height, 1, U63_MAX)
        if last > height:
            raise Problem(404, "not-found", f"there is no block {last} yet")
        if first >= last:
            raise Problem(
                400, "malformed", f"from must be below to, and {first} is not below {last}"
            )
        return first, last

    async def _in_reader(self, doing: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, doing, *arguments)


def prove_consistency(chain: Chain, first: int, second: int) -> Consistency:
    """Return the proof that the log at one height begins that at a later one; both were decided.

    Raises `StoreDamaged`, and `NotKept` or `HashNotKept` where a node that began with a snapshot
    lacks the first, or what is below it.
    """
    before, after = chain.head(first), chain.head(second)
    sizes = before.header.log_size, after.header.log_size
    return Consistency(
        Certified(before.header, before.certificate),
        Certified(after.header, after.certificate),
        consistency_proof(*sizes, chain.log_node),
        chain.changes(second),
    )
