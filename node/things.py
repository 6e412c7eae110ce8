"""What the HTTP API tells of claims, settlements and whatever else has a life, and to whom."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from operator import attrgetter
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from aiohttp import web

from contracts import authorisation as authorisations
from contracts import batch
from contracts import claim as claims
from contracts import erasure as erasures
from contracts import prescription as prescriptions
from contracts import settlement as settlements
from contracts.calls import (
    MAX_SETTLED,
    SettlementAdd,
    SettlementOpen,
    SettlementRemove,
    parse_call,
)
from contracts.dispatch import LIVES
from contracts.explanation import Explanation, explain
from contracts.life import Life
from contracts.parameters import Parameters
from contracts.state import Reader
from ledger.block import Header
from ledger.entry import Entry
from ledger.hashing import Hash
from ledger.validators import EVERYONE
from node import views
from node.asking import (
    MAX_PAGE,
    may_read,
    not_found,
    parse_id,
    parse_member,
    parse_number,
    read_ids,
    require,
)
from node.index import Index
from node.problems import Problem
from node.tokens import Grant, Scope

_BUILDING: Final = (SettlementOpen, SettlementAdd, SettlementRemove)
MAX_EVENTS: Final = 100  # applied, and refused, of one thing in one answer
T = TypeVar("T")
View: TypeAlias = dict[str, Any]


class Listed(Protocol):
    """Which things of one kind concern a member: (entry number, id), in order, above `after`."""

    def __call__(self, member: bytes, *, after: int, limit: int) -> list[tuple[int, Hash]]: ...  # noqa: D102


class Now(Protocol):
    """What is asked of the chain after its last block."""

    @property
    def header(self) -> Header: ...  # noqa: D102
    @property
    def parameters(self) -> Parameters: ...  # noqa: D102
    @property
    def state(self) -> Reader: ...  # noqa: D102


class Readable(Protocol):
    """What is asked of a chain, or of the part of one that is kept."""

    @property
    def index(self) -> Index: ...  # noqa: D102
    @property
    def state(self) -> Now: ...  # noqa: D102

    def signed_by(self, transaction_id: bytes) -> bytes | None:
        """Return the public key that signed a transaction, None where that is not known."""

    def concerned(self, entry: Entry) -> tuple[bytes, ...]:
        """Return whom an entry concerns."""


class Things:
    """The handlers, over a chain; `reader` is where it is read."""

    def __init__(self, chain: Readable, reader: Executor) -> None:
        self._chain, self._reader = chain, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get("/v1/claims", self.list_claims)
        router.add_post("/v1/claims/query", self.query_claims)
        router.add_get("/v1/claims/{id}", self.claim)
        router.add_get("/v1/authorisations", self.list_authorisations)
        router.add_get("/v1/authorisations/{id}", self.authorisation)
        router.add_get("/v1/prescriptions/{id}", self.prescription)
        router.add_get("/v1/settlements", self.list_settlements)
        router.add_get("/v1/settlements/{id}", self.settlement)
        router.add_get("/v1/settlements/{id}/claims", self.settlement_claims)
        router.add_get("/v1/erasures", self.list_erasures)
        router.add_get("/v1/erasures/{id}", self.erasure)
        for life in LIVES:
            path = f"/v1/{life.name}s/{{id}}/explanation"
            router.add_get(path, partial(self.explanation, life))

    async def list_claims(self, request: web.Request) -> web.Response:
        """List the claims that concern the token's member, the oldest first, page by page."""
        return await self._list(request, "claims", self._chain.index.claims_of, self._claim)

    async def query_claims(self, request: web.Request) -> web.Response:
        """Tell the states of many claims at once, as `claim` tells one.

        What is not there, or not for the asker, or not known here for certain, is left out: who
        wants to know which of these asks for that one.
        """
        grant = require(request, Scope.READ, Scope.AUDIT)
        ids = await read_ids(request)
        return web.json_response({"claims": await self._in_reader(self._queried, grant, ids)})

    def _queried(self, grant: Grant, ids: tuple[bytes, ...]) -> list[View]:
        keys: dict[str, str | None] = {}
        found = []
        for id_ in dict.fromkeys(ids):
            try:
                shown = self._claim(id_)
            except Problem:
                continue
            parties = ("submitter", "payer")
            if shown is None or not may_read(grant, *(bytes.fromhex(shown[p]) for p in parties)):
                continue
            made = shown["transaction"]
            if made not in keys:  # many are of one lot
                key = self._chain.signed_by(bytes.fromhex(made))
                keys[made] = None if key is None else key.hex()
            found.append(shown | {"signed_by": keys[made]})
        return found

    async def list_authorisations(self, request: web.Request) -> web.Response:
        """List the authorisations that concern the token's member, in the same way."""
        listed = self._chain.index.authorisations_of
        return await self._list(request, "authorisations", listed, self._authorisation)

    async def list_settlements(self, request: web.Request) -> web.Response:
        """List the settlements that concern the token's member, in the same way."""
        listed = self._chain.index.settlements_of
        return await self._list(request, "settlements", listed, self._settlement)

    async def list_erasures(self, request: web.Request) -> web.Response:
        """List the erasures that concern the token's member, in the same way."""
        return await self._list(request, "erasures", self._chain.index.erasures_of, self._erasure)

    async def _list(
        self, request: web.Request, name: str, listed: Listed, view: Callable[[bytes], View | None]
    ) -> web.Response:
        grant = require(request, Scope.READ, Scope.AUDIT)
        member = parse_member(request) or grant.member
        if member is None or not may_read(grant, member):
            raise Problem(403, "forbidden", "name a ?member= that this token may read")
        limit = parse_number(request, "limit", 100, 1, MAX_PAGE)
        after = parse_number(request, "cursor", -1, -1, 1 << 62)
        wanted = request.query.get("state")

        def page() -> View:
            found = listed(member, after=after, limit=limit)
            views = [each for _, id_ in found if (each := view(id_)) is not None]
            shown = [each for each in views if wanted is None or each["state"] == wanted]
            return {name: shown, "cursor": found[-1][0] if len(found) == limit else None}

        return web.json_response(await self._in_reader(page))

    def _claim(self, id_: bytes) -> View | None:
        now = self._chain.state
        found = claims.load(now.state, id_)
        return None if found is None else views.claim(now.state, id_, found, time=now.header.time)

    def _authorisation(self, id_: bytes) -> View | None:
        now = self._chain.state
        found = authorisations.load(now.state, id_)
        if found is None:
            return None
        return views.authorisation(now.state, id_, found, time=now.header.time)

    def _settlement(self, id_: bytes) -> View | None:
        now = self._chain.state
        found = settlements.load(now.state, id_)
        if found is None:
            return None
        return views.settlement(now.state, now.parameters, id_, found)

    def _erasure(self, id_: bytes) -> View | None:
        found = erasures.load(self._chain.state.state, id_)
        return None if found is None else views.erasure(id_, found)

    async def claim(self, request: web.Request) -> web.Response:
        """Tell the state of a claim to those whom it concerns."""
        return await self._shown(request, "claim", self._claim, ("submitter", "payer"))

    async def authorisation(self, request: web.Request) -> web.Response:
        """Tell the state of an authorisation to its two parties."""
        parties = ("optician", "payer")
        return await self._shown(request, "authorisation", self._authorisation, parties)

    async def erasure(self, request: web.Request) -> web.Response:
        """Tell who asked for an erasure, and what became of it, to its two parties."""
        id_, grant = parse_id(request), require(request, Scope.READ, Scope.AUDIT)
        shown = self._erasure(id_)
        parties = ("requester", "recipient")
        if shown is None or not may_read(grant, *(bytes.fromhex(shown[each]) for each in parties)):
            raise not_found("erasure", id_)
        return web.json_response(shown)

    async def prescription(self, request: web.Request) -> web.Response:
        """Tell whether a member's prescription is in force to who was told its commitment.

        That is 32 bytes that nobody guesses; when it was committed, and what followed, is not told.
        """
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_, member = parse_id(request), parse_member(request) or grant.member or b""
        found = prescriptions.of(self._chain.state.state, member, id_)
        if found is None:
            raise not_found("prescription", id_)
        return web.json_response(views.prescription(member, id_, found))

    async def _shown(
        self,
        request: web.Request,
        kind: str,
        view: Callable[[bytes], View | None],
        parties: tuple[str, ...],
    ) -> web.Response:
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        shown = view(id_)
        if shown is None or not may_read(grant, *(bytes.fromhex(shown[each]) for each in parties)):
            raise not_found(kind, id_)
        made = bytes.fromhex(shown["transaction"])
        key = await self._in_reader(self._chain.signed_by, made)
        return web.json_response(shown | {"signed_by": None if key is None else key.hex()})

    async def settlement(self, request: web.Request) -> web.Response:
        """Tell the state of a settlement to its two parties."""
        return web.json_response(self._settlement(self._readable_settlement(request)))

    async def settlement_claims(self, request: web.Request) -> web.Response:
        """List the claims of a settlement to its two parties, by ascending id, page by page."""
        id_ = self._readable_settlement(request)
        limit = parse_number(request, "limit", 100, 1, MAX_PAGE)
        first = parse_number(request, "cursor", 0, 0, MAX_SETTLED)

        def page() -> dict[str, object]:
            found = batch.claims_of(self._chain.state.state, id_)
            shown = [self._claim(each) for each in found[first : first + limit]]
            then = first + limit
            return {"claims": shown, "cursor": then if then < len(found) else None}

        return web.json_response(await self._in_reader(page))

    def _readable_settlement(self, request: web.Request) -> bytes:
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        record = settlements.load(self._chain.state.state, id_)
        if record is None or not may_read(grant, record.payer, record.beneficiary):
            raise not_found("settlement", id_)
        return id_

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
        # What is kept under its member each sees of its own.
        key = (grant.member or b"") + id_ if life.by_member else id_
        found = explain(life, state.state, key, time=time, parameters=state.parameters)
        own = [] if found is None else [member for _, member in found.parties]
        everyone = [] if life.crowd is None else [EVERYONE]  # many have a part in it
        if not may_read(grant, *own, *everyone):
            found = None
        reader = None if grant.allows(Scope.AUDIT) else grant.member
        entries, is_whole = self._entries(id_, found, reader)
        if found is None and not entries:
            return None  # one always sees why one was refused, were it a call on what is not ours
        return views.explanation(life.name, id_, found, entries, time=time, is_whole=is_whole)

    def _entries(
        self, id_: bytes, found: Explanation | None, reader: bytes | None
    ) -> tuple[list[Entry], bool]:
        """Return what was done to a thing, and to the settlement that it is in, for `reader`.

        And whether that is all: what was pruned is left out.
        """
        index = self._chain.index
        entries = index.applied_on(id_, MAX_EVENTS) + index.refused_on(id_, reader, MAX_EVENTS)
        settlement = getattr(found and found.thing, "settlement", None)
        if settlement is not None:
            # How it was built is not of this claim: that names others.
            entries += [
                entry
                for entry in index.applied_on(settlement, MAX_EVENTS)
                if entry is None or not isinstance(parse_call(entry.call), _BUILDING)
            ]
        kept = [each for each in entries if each is not None]
        is_whole = len(kept) == len(entries)
        if reader is not None:
            mine = {reader, EVERYONE}
            kept = [each for each in kept if mine & set(self._chain.concerned(each))]
        return sorted(kept, key=attrgetter("height", "index")), is_whole

    async def _in_reader(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._reader, doing, *arguments)
