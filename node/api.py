"""The HTTP API under /v1 and /tlog: transactions in, what concerns the asker out.

Bearer tokens with scopes: `submit` sends transactions of its member; `read` reads what concerns its
member; `audit` reads everything. What is not for the asker is answered as if it were not there.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from contracts import registry
from contracts.errors import UnknownVersion
from contracts.genesis import SignedGenesis
from ledger.block import MAX_EVIDENCE
from ledger.errors import LedgerError, NotKept
from ledger.plain import plain
from ledger.receipt import to_json as receipt_json
from ledger.transaction import Transaction, parse
from node import convictions, network_views, problems, views
from node.admission import Admission
from node.album import Album
from node.asking import (
    GRANT,
    MAX_BODY_BYTES,
    MAX_PAGE,
    bearer,
    may_read,
    not_found,
    parse_digits,
    parse_id,
    parse_number,
    parse_wait,
    read_transactions,
    require,
    unauthorised,
)
from node.audit.conviction import to_json as conviction_json
from node.audit.records import frame
from node.chain import Chain
from node.doctor.checkup import Checkup
from node.doctor.diagnosis import diagnose
from node.doctor.findings import to_json
from node.events import Events
from node.evidence import EvidencePool
from node.feed import ChainFeed
from node.log import Log
from node.mempool import Mempool
from node.notary import Notary
from node.organisations import Organisations
from node.pledges import Pledges
from node.post.api import PostApi
from node.post.parts import Post
from node.problems import Problem
from node.proofs import Proofs
from node.replica import Replica
from node.results import Committed, Pending, Refused, Result
from node.things import Things
from node.tlog import TransparencyLog, is_open
from node.tokens import NOBODY, Grant, Scope, TokenBook
from node.upgrade import outlook
from node.voting import Voting

MAX_ERAS: Final = 100  # in one answer: each may list a hundred members

T = TypeVar("T")


class Parts(Protocol):
    """The parts of a node that answer."""

    @property
    def chain(self) -> Chain: ...  # noqa: D102
    @property
    def mempool(self) -> Mempool: ...  # noqa: D102
    @property
    def admission(self) -> Admission: ...  # noqa: D102
    @property
    def replica(self) -> Replica: ...  # noqa: D102
    @property
    def checkup(self) -> Checkup: ...  # noqa: D102
    @property
    def album(self) -> Album: ...  # noqa: D102
    @property
    def pledges(self) -> Pledges: ...  # noqa: D102
    @property
    def evidence(self) -> EvidencePool: ...  # noqa: D102
    @property
    def notary(self) -> Notary: ...  # noqa: D102
    @property
    def reader(self) -> Executor: ...  # noqa: D102
    @property
    def log(self) -> Log: ...  # noqa: D102
    @property
    def post(self) -> Post: ...  # noqa: D102


class Api:
    """The handlers, over one node's parts."""

    def __init__(
        self, node: Parts, *, genesis: SignedGenesis, genesis_json: bytes, tokens: TokenBook
    ) -> None:
        self._chain, self._mempool = node.chain, node.mempool
        self._admission, self._replica = node.admission, node.replica
        self._worker, self._log, self._checkup = node.reader, node.log, node.checkup
        self._things = Things(node.chain, node.reader)
        self._organisations = Organisations(node.chain, genesis.genesis, node.reader)
        self._voting = Voting(node.chain, node.reader)
        feed = ChainFeed(node.chain)
        self._events = Events(feed, node.admission.bell, node.reader, node.log)
        self._proofs = Proofs(node.chain, node.reader)
        self._tlog = TransparencyLog(node.chain, node.notary, node.reader)
        self._pledges, self._evidence, self._album = node.pledges, node.evidence, node.album
        self._post = PostApi(node.post.office, self._unfit_for_post)
        self._genesis, self._genesis_json, self._tokens = genesis, genesis_json, tokens

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(
            middlewares=[problems.middleware(self._log), self._authenticate],
            client_max_size=MAX_BODY_BYTES,
        )
        router = application.router
        router.add_post("/v1/transactions", self.submit)
        router.add_get("/v1/transactions/{id}", self.transaction)
        self._things.add_routes(router)
        self._organisations.add_routes(router)
        self._voting.add_routes(router)
        self._proofs.add_routes(router)
        self._tlog.add_routes(router)
        self._events.add_to(application)
        self._post.add_to(application)
        router.add_get("/v1/blocks/{height}", self.block)
        router.add_get("/v1/receipts/{id}/{position}", self.receipt)
        router.add_get("/v1/status", self.status)
        router.add_get("/v1/diagnosis", self.diagnosis)
        router.add_get("/v1/validators", self.validators)
        router.add_get("/v1/upgrade", self.upgrade)
        router.add_get("/v1/genesis", self.genesis)
        router.add_get("/v1/chain", self.chain)
        router.add_get("/v1/proposals", self.proposals)
        router.add_get("/v1/evidence", self.list_evidence)
        router.add_get("/v1/evidence/{id}", self.evidence)
        return application

    # --- who asks ----------------------------------------------------------------------------

    @web.middleware
    async def _authenticate(
        self,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        grant = bearer(request, self._tokens)
        if grant is None and is_open(request.path):
            grant = NOBODY
        if grant is None:
            raise unauthorised()
        request[GRANT] = grant
        return await handler(request)

    # --- transactions ------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        """Admit transactions; with ?wait=SECONDS, answer when they are in blocks."""
        grant = require(request, Scope.SUBMIT)
        seconds = parse_wait(request)
        raws = await read_transactions(request)
        self._require_ready()
        try:
            results = await self._submitted(grant, raws)
        except UnknownVersion as error:  # the node is about to stop
            raise Problem(503, "not-ready", "the node is not ready", str(error)) from None
        if seconds and any(isinstance(result, Pending) for result in results):
            waiting = [each.id for each in results if isinstance(each, Pending)]
            known = await self._admission.wait(waiting, seconds)
            for index, each in enumerate(results):
                if isinstance(each, Pending):  # it may have been decided before we began to wait
                    found = known.get(each.id) or await self._committed(each.id)
                    results[index] = found or each
        shown = [views.result(result) for result in results]
        if all(isinstance(result, Refused) for result in results):
            first = shown[0]["problem"]
            full = all(
                each["problem"]["status"] == web.HTTPTooManyRequests.status_code for each in shown
            )
            status = first["status"] if full else web.HTTPUnprocessableEntity.status_code
            title = "no transaction was admitted"
            raise Problem(status, "rejected", title, first["title"], transactions=shown)
        pending = any(isinstance(result, Pending) for result in results)
        return web.json_response({"transactions": shown}, status=202 if pending else 200)

    async def _submitted(self, grant: Grant, raws: Sequence[bytes]) -> list[Result]:
        """Admit what is new, and tell what became of what is in the chain already."""
        if grant.member is not None:
            for raw in raws:
                with contextlib.suppress(LedgerError):  # refused as malformed, below
                    if grant.member not in self._may_send(parse(raw)):
                        raise Problem(403, "forbidden", "this token sends for another member")
        results = await self._admission.submit(raws, gossip=True)
        for index, each in enumerate(results):
            # What is in the chain may have expired since, or have lost its key: it is in the chain.
            if isinstance(each, Refused) and each.id is not None:
                results[index] = await self._committed(each.id) or each
        return results

    def _may_send(self, transaction: Transaction) -> tuple[bytes | None, ...]:
        """Return who may hand in a transaction: its sender, and who signed in the sender's name."""
        body = transaction.body
        return body.sender, registry.owner_of(self._chain.state.state, body.key_id)

    async def _committed(self, transaction_id: bytes) -> Committed | None:
        if transaction_id in self._mempool or self._chain.index.place(transaction_id) is None:
            return None
        return await self._in_worker(self._chain.committed, transaction_id)

    async def transaction(self, request: web.Request) -> web.Response:
        """Tell what became of a transaction; with ?wait=SECONDS, once it is in a block."""
        grant = require(request, Scope.READ, Scope.SUBMIT, Scope.AUDIT)
        id_ = parse_id(request)
        waiting = self._mempool.get(id_)
        if waiting is not None and may_read(grant, waiting.body.sender):
            known = await self._admission.wait([id_], parse_wait(request))
            became = known.get(id_) or await self._committed(id_) or Pending(waiting.id)
            return web.json_response(views.result(became))
        found = await self._committed(id_)
        # Of one that was pruned nobody knows any more whose it was: its id tells its height.
        if found is None or not (found.sender is None or may_read(grant, found.sender)):
            raise not_found("transaction", id_)
        return web.json_response(views.result(found))

    # --- the record --------------------------------------------------------------------------

    async def block(self, request: web.Request) -> web.Response:
        """Show a block's header and certificate; its transactions' ids to those who read all."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        name = request.match_info["height"]
        height = self._chain.height if name == "latest" else parse_digits(name, "height")
        if not 1 <= height <= self._chain.height:
            raise Problem(404, "not-found", f"there is no block {height} yet")
        try:
            committed = await self._in_worker(self._chain.block, height)
        except NotKept:
            head = await self._in_worker(self._chain.head, height)
            return web.json_response(views.bare_block(head))
        return web.json_response(views.block(committed, with_ids=grant.allows(Scope.AUDIT)))

    async def receipt(self, request: web.Request) -> web.Response:
        """Give the receipt of one call: what an outsider needs to check it."""
        grant = require(request, Scope.READ, Scope.AUDIT)
        id_ = parse_id(request)
        position = parse_digits(request.match_info["position"], "position")
        receipt = await self._in_worker(self._chain.receipt, id_, position)
        if receipt is None or not may_read(grant, *self._chain.concerned(receipt.entry)):
            raise not_found("entry", id_)
        return web.Response(text=receipt_json(receipt), content_type="application/json")

    async def chain(self, request: web.Request) -> web.StreamResponse:
        """Stream the blocks from a height on, framed as in the segment files."""
        require(request, Scope.AUDIT)
        first = parse_number(request, "from", 1, 1, 1 << 62)
        last, kept = self._chain.height, self._chain.first_body
        if first < kept:
            raise NotKept(first, kept, last)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream",
                                               "Depoli-Height": str(last)})  # fmt: skip
        await response.prepare(request)
        for height in range(first, last + 1):
            await response.write(frame(await self._in_worker(self._chain.record, height)))
        await response.write_eof()
        return response

    async def proposals(self, request: web.Request) -> web.StreamResponse:
        """Stream the proposals that this validator kept, framed as the blocks: they judge forks."""
        require(request, Scope.AUDIT)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        for proposal in await self._pledges.kept_proposals():
            await response.write(frame(proposal))
        await response.write_eof()
        return response

    async def list_evidence(self, request: web.Request) -> web.Response:
        """List who contradicted himself, as recorded, page by page; then what waits for a block."""
        require(request, Scope.AUDIT)
        limit = parse_number(request, "limit", 100, 1, MAX_PAGE)
        after = parse_number(request, "cursor", 0, 0, 1 << 62)
        page = await self._in_worker(self._evidence_page, divmod(after, MAX_EVIDENCE), limit)
        return web.json_response(page)

    def _evidence_page(self, after: tuple[int, int], limit: int) -> dict[str, object]:
        genesis = self._genesis.genesis
        deeds, then = convictions.recorded_deeds(self._chain, genesis, after=after, limit=limit)
        cursor = None if then is None else then[0] * MAX_EVIDENCE + then[1]
        if cursor is None:
            deeds += [convictions.waiting_deed(each, genesis) for each in self._evidence.waiting()]
        return {"evidence": msgspec.to_builtins(deeds), "cursor": cursor}

    async def evidence(self, request: web.Request) -> web.Response:
        """Give the file that convicts whoever did this: it proves itself to an outsider."""
        require(request, Scope.AUDIT)
        id_ = parse_id(request)
        accused = self._chain.accusation(id_)
        if accused is None:
            raise not_found("evidence", id_)
        found = await self._in_worker(convictions.conviction, self._chain, accused)
        text = conviction_json(found, self._genesis.genesis)
        return web.Response(text=text, content_type="application/json")

    # --- the network -------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.Response:
        """Tell where this node is."""
        require(request, *Scope)
        header, replica, seen = self._chain.header, self._replica, outlook(self._chain.state)
        joining = replica.exchange.joining
        return web.json_response(
            {
                "chain_id": header.chain_id.hex(),
                "height": header.height,
                "hash": header.hash.hex(),
                "time": header.time,
                "round": replica.round,
                "log_size": header.log_size,
                "mempool": len(self._mempool),
                "peers": sorted(link.peer.label for link in replica.exchange.links.values()),
                "trouble": dict(sorted(replica.exchange.trouble.items())),
                "twins": [views.twins(each) for each in replica.exchange.twins],
                "join": network_views.join(None if joining is None else joining.progress()),
                "sync": network_views.sync(replica.exchange.catchup.progress()),
                "fenced": replica.is_fenced,
                "silence": replica.standing.silence,
                "ready": not replica.not_ready(),
                "snapshot": {"height": self._album.height, "failure": self._album.failure},
                "kept_from": self._chain.first_body,
                "version": seen.in_force,
                "upgrade": seen.warning,
            }
        )

    async def diagnosis(self, request: web.Request) -> web.Response:
        """Tell the operator why there is no block, once the linked peers have said how they are."""
        require(request, Scope.ADMIN)
        return web.json_response(to_json(diagnose(await self._checkup.facts())))

    async def validators(self, request: web.Request) -> web.Response:
        """List who votes on the next block, who proposes it first, and who voted from when on."""
        require(request, *Scope)
        first = parse_number(request, "from", 0, 0, 1 << 31)
        eras = await self._in_worker(self._chain.eras, first, MAX_ERAS)
        state = self._chain.state
        n, height = len(state.validators), state.header.height + 1
        return web.json_response(
            {
                "height": height,
                "quorum": state.validators.quorum,
                "leader": state.turns.leader(n, height, 0),
                "passed_over": state.turns.passed_over(n, height),
                "validators": [plain(validator) for validator in state.validators.members],
                "next": [plain(validator) for validator in state.next_validators.members],
                "eras": [views.era(era) for era in eras],
            }
        )

    async def upgrade(self, request: web.Request) -> web.Response:
        """Tell which rules are in force, which are to follow, who is ready, what is known here."""
        require(request, *Scope)
        state = self._chain.state
        return web.json_response(
            network_views.upgrade(outlook(state), state.next_validators.members)
        )

    async def genesis(self, request: web.Request) -> web.Response:
        """Give the signed genesis."""
        require(request, *Scope)
        return web.Response(body=self._genesis_json, content_type="application/json")

    # --- small things ------------------------------------------------------------------------

    def _unfit_for_post(self) -> str:
        """Return why nobody's keys are known here, "" where they are."""
        joining = self._replica.exchange.joining
        return "" if joining is None else "the state of the chain is not here yet"

    def _require_ready(self) -> None:
        if reasons := self._replica.not_ready():
            raise Problem(503, "not-ready", "the node is not ready", "; ".join(reasons))

    async def _in_worker(self, doing: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._worker, doing, *arguments)
