"""The HTTP API of a light node: that of a whole one, as far as the record of one member answers it.

Each answer says in its head at which height and time the record stands, and whether that is stale.
What cannot be told from the record is not guessed: the answer is 501, and says where to ask.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from contracts import dispatch, eras, governance, parameters
from contracts.life import Life
from contracts.parameters import Parameters
from contracts.state import Reader
from ledger.block import CommittedBlock, Header
from ledger.entry import Entry
from ledger.plain import plain
from ledger.receipt import to_json as receipt_json
from ledger.validators import EVERYONE
from node import problems, views
from node.asking import (
    GRANT,
    MAX_BODY_BYTES,
    bearer,
    may_read,
    not_found,
    parse_digits,
    parse_id,
    parse_member,
    parse_number,
    parse_wait,
    read_transactions,
    require,
    unauthorised,
)
from node.events import Events
from node.index import Index
from node.light.follow import Follower, NotVouched
from node.light.outbox import Outbox
from node.light.record import Record
from node.light.staleness import Staleness
from node.log import Log
from node.organisations import parse_member_in_path, whole
from node.post.api import PostApi
from node.problems import Problem
from node.results import Pending, Refused, Result
from node.things import Listed, Things, View
from node.tokens import Scope, TokenBook

VOUCH_S: Final = 10.0
MAX_ERAS: Final = 100
MAX_POSITION: Final = 255  # of a call in its transaction
NOT_FOUND: Final = 404
COMMON: Final = ("/v1/members/", "/v1/blocks/")  # where nothing found means that there is nothing


@dataclass(frozen=True, slots=True)
class Moment:
    """The chain as the record has it."""

    header: Header
    parameters: Parameters
    state: Reader


class _KeptIndex(Index):
    """Names entries by their calls: the record holds no blocks."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.store, _no_block)
        self._record = record

    def entry(self, transaction_id: bytes, position: int) -> Entry:
        found = self._record.entry(transaction_id, position)
        assert found is not None, "the index names a call that is not kept"
        return found


class Kept:
    """The record, as the handlers of a whole node ask a chain."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.index: Index = _KeptIndex(record)

    @property
    def state(self) -> Moment:
        """The chain as far as it is kept."""
        state = self._record.state
        return Moment(self._record.tip.header, parameters.load(state), state)

    def signed_by(self, transaction_id: bytes) -> None:
        """Return None: no entry says which key signed."""
        del transaction_id

    def concerned(self, entry: Entry) -> tuple[bytes, ...]:
        """Return whom an entry concerns."""
        return dispatch.concerned(self._record.state, entry)


class _KeptFeed:
    """The entries of the member, and those of everyone."""

    def __init__(self, record: Record, staleness: Staleness) -> None:
        self._record, self._staleness = record, staleness

    def concerning(self, member: bytes) -> int:
        record = self._record
        if member == EVERYONE:
            return record.everyone
        if member == record.member:
            return record.own
        raise other_member(record)

    def entries_concerning(
        self, member: bytes, *, after: int, limit: int
    ) -> list[tuple[int | None, Entry]]:
        return self._record.entries_concerning(member, after=after, limit=limit)

    def pruned(self, member: bytes) -> int:
        del member
        return 0  # what is in the record stays

    def standing(self) -> str:
        reason = self._staleness.reason()
        return f"block {self._record.height}" + (f", stale: {reason}" if reason else "")


class _KeptThings(Things):
    """Claims and the like, from the record alone."""

    def __init__(self, record: Record, reader: Executor) -> None:
        super().__init__(Kept(record), reader)
        self._record = record

    async def _list(
        self, request: web.Request, name: str, listed: Listed, view: Callable[[bytes], View | None]
    ) -> web.Response:
        if parse_member(request) not in {None, self._record.member}:
            raise elsewhere(f"the {name} of another member")
        return await super()._list(request, name, listed, view)

    def _readable_settlement(self, request: web.Request) -> bytes:
        id_ = super()._readable_settlement(request)
        self._require_told(id_)
        return id_

    def _claim(self, id_: bytes) -> View | None:
        shown = self._told(id_, super()._claim(id_))
        if shown is not None and shown["settlement"] is not None:  # where it stands follows from it
            self._require_told(bytes.fromhex(shown["settlement"]))
        return shown

    def _authorisation(self, id_: bytes) -> View | None:
        return self._told(id_, super()._authorisation(id_))

    def _settlement(self, id_: bytes) -> View | None:
        return self._told(id_, super()._settlement(id_))

    def _erasure(self, id_: bytes) -> View | None:
        return self._told(id_, super()._erasure(id_))

    async def explanation(self, life: Life[Any], request: web.Request) -> web.Response:
        if life is governance.LIFE:
            raise elsewhere("how a proposal stands")
        self._require_told(parse_id(request))
        return await super().explanation(life, request)

    def _told(self, id_: bytes, shown: View | None) -> View | None:
        """Return a view without what no entry says; raise `Problem` where more is not known."""
        self._require_told(id_)
        return shown if shown is None or "decided_by" not in shown else shown | {"decided_by": None}

    def _require_told(self, id_: bytes) -> None:
        if reason := self._record.untold(id_):
            raise elsewhere(f"the state of {id_.hex()}: {reason}")


class _Pairs:
    """What peers say of a member, as a state; of delegations, what the record says."""

    def __init__(self, pairs: Mapping[bytes, bytes], own: Reader) -> None:
        self._pairs, self._own = pairs, own

    def get(self, key: bytes) -> bytes | None:
        return self._pairs.get(key)

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = [pair for pair in sorted(self._pairs.items()) if pair[0].startswith(prefix)]
        return found[:limit] or self._own.scan(prefix, limit)


def _no_block(height: int) -> CommittedBlock:
    raise AssertionError(f"block {height} is not kept")


def elsewhere(what: str, why: str = "") -> Problem:
    """Return the answer where the record of one member does not tell what is asked."""
    detail = why or f"it cannot tell {what}"
    hint = "ask a whole node: one with mode observer or validator"
    title = "a light node keeps only what concerns its member"
    return Problem(501, "light-node", title, f"{detail}; {hint}")


def other_member(record: Record) -> Problem:
    """Return the answer where entries of another member are asked for."""
    own = record.member.hex()
    return elsewhere("entries of another member", f"this node keeps those of {own} only")


class LightApi:
    """The handlers, over the parts of a light node."""

    def __init__(
        self,
        record: Record,
        follower: Follower,
        outbox: Outbox,
        staleness: Staleness,
        post: PostApi,
        *,
        genesis_json: bytes,
        tokens: TokenBook,
        reader: Executor,
        log: Log,
    ) -> None:
        self._record, self._follower, self._outbox = record, follower, outbox
        self._staleness, self._log, self._reader = staleness, log, reader
        self._things = _KeptThings(record, reader)
        self._events = Events(_KeptFeed(record, staleness), follower.bell, reader, log)
        self._post, self._genesis_json, self._tokens = post, genesis_json, tokens

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(
            middlewares=[problems.middleware(self._log), self._authenticate],
            client_max_size=MAX_BODY_BYTES,
        )
        application.on_response_prepare.append(self._stamp)
        router = application.router
        router.add_post("/v1/transactions", self.submit)
        router.add_get("/v1/transactions/{id}", self.transaction)
        self._things.add_routes(router)
        self._events.add_to(application)
        router.add_get("/v1/members/{id}", self.member)
        router.add_get("/v1/blocks/{height}", self.block)
        router.add_get("/v1/receipts/{id}/{position}", self.receipt)
        router.add_get("/v1/status", self.status)
        router.add_get("/v1/validators", self.validators)
        router.add_get("/v1/genesis", self.genesis)
        self._post.add_to(application)
        router.add_route("*", "/{rest:.*}", self.rest)
        return application

    async def _stamp(self, _: web.Request, response: web.StreamResponse) -> None:
        """Let every answer say at which height and time it stands."""
        header = self._record.tip.header
        response.headers["Depoli-Height"] = str(header.height)
        response.headers["Depoli-Time"] = str(header.time)
        if reason := self._staleness.reason():
            response.headers["Depoli-Stale"] = reason

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        grant = bearer(request, self._tokens)
        if grant is None:
            raise unauthorised()
        if grant.member not in (None, self._record.member):
            raise other_member(self._record)
        request[GRANT] = grant
        try:
            return await handler(request)
        except Problem as problem:
            is_common = request.path.startswith(COMMON)
            if problem.status == NOT_FOUND and grant.member is None and not is_common:
                raise elsewhere("what concerns other members") from None  # which it may read
            raise

    # --- transactions ------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        """Hand transactions on to the peers; with ?wait=SECONDS, answer when they are in blocks."""
        require(request, Scope.SUBMIT)
        seconds = parse_wait(request)
        raws = await read_transactions(request)
        if not self._follower.links:
            raise Problem(503, "not-ready", "the node is not ready", "no peer is linked")
        results = self._outbox.submit(raws, self._follower.links)
        waiting = [each.id for each in results if isinstance(each, Pending)]
        if waiting and seconds:
            await self._outbox.wait(waiting, seconds)
            results = [self._became(each) for each in results]
        shown = [views.result(result) for result in results]
        if all(isinstance(result, Refused) for result in results):
            first = shown[0]["problem"]
            title = "no transaction was admitted"
            raise Problem(422, "rejected", title, first["title"], transactions=shown)
        pending = any(isinstance(result, Pending) for result in results)
        return web.json_response({"transactions": shown}, status=202 if pending else 200)

    async def transaction(self, request: web.Request) -> web.Response:
        """Tell what became of a transaction; with ?wait=SECONDS, once it is in a block."""
        grant = require(request, Scope.READ, Scope.SUBMIT, Scope.AUDIT)
        id_ = parse_id(request)
        await self._outbox.wait([id_], parse_wait(request))
        waiting = self._outbox.get(id_)
        pending = None if waiting is None else Pending(waiting.id)
        found = self._outbox.committed(id_) or self._outbox.refused(id_) or pending
        if found is None or not may_read(grant, self._record.member):
            raise not_found("transaction", id_)
        return web.json_response(views.result(found))

    def _became(self, result: Result) -> Result:
        """Return what became of a transaction by now, as far as is known here."""
        if not isinstance(result, Pending):
            return result
        return self._outbox.committed(result.id) or self._outbox.refused(result.id) or result

    # --- the record --------------------------------------------------------------------------

    async def receipt(self, request: web.Request) -> web.Response:
        """Give the receipt of one call: what an outsider needs to check it."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        position = parse_digits(request.match_info["position"], "position")
        entry = self._record.entry(id_, position) if position <= MAX_POSITION else None
        if entry is None or not may_read(grant, *dispatch.concerned(self._record.state, entry)):
            raise not_found("entry", id_)
        receipt = self._record.receipt(id_, position)
        if receipt is None:
            detail = "a peer is being asked for its place in the log; ask again in a moment"
            raise Problem(503, "not-ready", "the receipt is not here yet", detail)
        return web.Response(text=receipt_json(receipt), content_type="application/json")

    async def block(self, request: web.Request) -> web.Response:
        """Show the newest header and its certificate; others are not kept."""
        require(request, Scope.READ, Scope.AUDIT)
        name, tip = request.match_info["height"], self._record.tip
        height = tip.header.height if name == "latest" else parse_digits(name, "height")
        if height > tip.header.height or tip.certificate is None:
            raise Problem(404, "not-found", f"there is no block {height} yet")
        if height != tip.header.height:
            raise elsewhere(f"block {height}")
        return web.json_response(
            {
                "hash": tip.header.hash.hex(),
                "header": plain(tip.header),
                "certificate": plain(tip.certificate),
                "transactions": None,  # how many is not told
            }
        )

    async def member(self, request: web.Request) -> web.Response:
        """Tell of a member what enough validators say alike; of delegations, what we have of it."""
        grant = require(request, *Scope)
        id_ = parse_member_in_path(request)
        try:
            said = await self._follower.vouched(id_, VOUCH_S)
        except NotVouched as error:
            raise Problem(
                503, "not-vouched", "too few validators say the same", str(error)
            ) from None
        state = _Pairs(dict(said.pairs), self._record.state)
        now = Moment(self._record.tip.header, parameters.load(self._record.state), state)
        found = whole(now, self._record.genesis, id_, lambda each: may_read(grant, id_, each))
        if found is None:
            raise not_found("member", id_)
        return web.json_response(found)

    # --- the network -------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.Response:
        """Tell where this node is."""
        require(request, *Scope)
        record, follower, network = self._record, self._follower, self._follower.network
        header = record.tip.header
        assert network is not None
        trouble = {network.peers[key].label: why for key, why in network.trouble.items()}
        return web.json_response(
            {
                "mode": "light",
                "member": record.member.hex(),
                "chain_id": header.chain_id.hex(),
                "height": header.height,
                "hash": header.hash.hex(),
                "time": header.time,
                "log_size": header.log_size,
                "entries": record.own,
                "entries_of_everyone": record.everyone,
                "receipts": record.tip.placed,
                "mempool": len(self._outbox),
                "peers": sorted(link.peer.label for link in follower.links),
                "trouble": dict(sorted(trouble.items())),
                "twins": [views.twins(each) for each in network.twins],
                "silence": None,
                "downloaded": follower.downloaded,
                "stale": self._staleness.reason() or None,
                "ready": not self._staleness.not_ready(),
                "version": header.version,
                "upgrade": None,
            }
        )

    async def validators(self, request: web.Request) -> web.Response:
        """List who votes on the next block, and who voted from when on, as was verified."""
        require(request, *Scope)
        first = parse_number(request, "from", 0, 0, 1 << 31)
        state, height = self._record.state, self._record.height + 1
        last = eras.latest(state)
        shown = [eras.era(state, n) for n in range(first, min(first + MAX_ERAS, last.number + 1))]
        voters = eras.validators_at(state, height)
        return web.json_response(
            {
                "height": height,
                "quorum": voters.quorum,
                "leader": None,  # whose turn it is follows from all blocks
                "passed_over": None,
                "validators": [plain(each) for each in voters.members],
                "next": [plain(each) for each in last.validators.members],
                "eras": [views.era(era) for era in shown],
            }
        )

    async def genesis(self, request: web.Request) -> web.Response:
        """Give the signed genesis."""
        require(request, *Scope)
        return web.Response(body=self._genesis_json, content_type="application/json")

    async def rest(self, request: web.Request) -> web.Response:
        """Say that the record does not tell it."""
        raise elsewhere(request.path)
