"""What the HTTP API tells of claims, settlements and whatever else has a life, and to whom."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import web

from contracts import claim as claims
from contracts import settlement as settlements
from contracts.dispatch import LIVES
from contracts.explanation import explain
from contracts.life import Life
from node import views
from node.asking import MAX_PAGE, may_read, not_found, parse_id, parse_member, parse_number, require
from node.chain import Chain
from node.problems import Problem
from node.tokens import Grant, Scope

MAX_EVENTS: Final = 100  # applied, and refused, of one thing in one answer
T = TypeVar("T")


class Things:
    """The handlers, over a chain; `reader` is where it is read."""

    def __init__(self, chain: Chain, reader: Executor) -> None:
        self._chain, self._reader = chain, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get("/v1/claims", self.list_claims)
        router.add_get("/v1/claims/{id}", self.claim)
        router.add_get("/v1/settlements/{id}", self.settlement)
        for life in LIVES:
            path = f"/v1/{life.name}s/{{id}}/explanation"
            router.add_get(path, partial(self.explanation, life))

    async def list_claims(self, request: web.Request) -> web.Response:
        """List the claims that concern the token's member, the oldest first, page by page."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        member = parse_member(request) or grant.member
        if member is None or not may_read(grant, member):
            raise Problem(403, "forbidden", "name a ?member= that this token may read")
        limit = parse_number(request, "limit", 100, 1, MAX_PAGE)
        after = parse_number(request, "cursor", -1, -1, 1 << 62)
        wanted = request.query.get("state")
        page = await self._in_reader(self._claims_page, member, after, limit, wanted)
        return web.json_response(page)

    def _claims_page(
        self, member: bytes, after: int, limit: int, wanted: str | None
    ) -> dict[str, object]:
        found = self._chain.index.claims_of(member, after=after, limit=limit)
        state, time = self._chain.state.state, self._chain.state.header.time
        records = ((id_, claims.load(state, id_)) for _, id_ in found)
        shown = [
            views.claim(state, id_, record, time=time)
            for id_, record in records
            if record is not None
        ]
        if wanted is not None:
            shown = [view for view in shown if view["state"] == wanted]
        cursor = found[-1][0] if len(found) == limit else None
        return {"claims": shown, "cursor": cursor}

    async def claim(self, request: web.Request) -> web.Response:
        """Tell the state of a claim to those whom it concerns."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        chain = self._chain.state
        record = claims.load(chain.state, id_)
        if record is None or not may_read(grant, record.submitter, record.payer):
            raise not_found("claim", id_)
        shown = views.claim(chain.state, id_, record, time=chain.header.time)
        return web.json_response(shown)

    async def settlement(self, request: web.Request) -> web.Response:
        """Tell the state of a settlement to its two parties."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        record = settlements.load(self._chain.state.state, id_)
        if record is None or not may_read(grant, record.payer, record.beneficiary):
            raise not_found("settlement", id_)
        return web.json_response(views.settlement(id_, record))

    async def explanation(self, life: Life[Any], request: web.Request) -> web.Response:
        """Tell those with a part in a thing what happened to it, and what may happen next."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        shown = await self._in_reader(self._explained, grant, life, id_)
        if shown is None:
            raise not_found(life.name, id_)
        return web.json_response(shown)

    def _explained(self, grant: Grant, life: Life[Any], id_: bytes) -> dict[str, Any] | None:
        state = self._chain.state
        time = state.header.time
        found = explain(life, state.state, id_, time=time, parameters=state.parameters)
        if found is not None and not may_read(grant, *(each for _, each in found.parties)):
            found = None
        reader = None if grant.allows(Scope.AUDIT) else grant.member
        entries = self._chain.index.entries_on(id_, sender=reader, limit=MAX_EVENTS)
        if reader is not None:
            entries = [each for each in entries if reader in self._chain.concerned(each)]
        if found is None and not entries:
            return None  # one always sees why one was refused, were it a call on what is not ours
        return views.explanation(life.name, id_, found, entries, time=time)

    async def _in_reader(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._reader, doing, *arguments)
