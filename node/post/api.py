"""Post in the HTTP API: envelopes in from who writes, out to whom they are for.

`submit` hands in envelopes of its member; `read` sees those addressed to its member, and how those
that it sent stand. Nobody else learns that an envelope exists.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from ledger import envelope as envelopes
from ledger import mailbox
from ledger.envelope import Envelope
from ledger.errors import LedgerError
from node.asking import (
    CONTENT_TYPE,
    not_found,
    parse_id,
    parse_number,
    parse_wait,
    read_envelopes,
    read_ids,
    require,
)
from node.post.errors import ManyWait, NoRoom, PostRefused
from node.post.office import Became, PostOffice
from node.post.store import Kept, State
from node.problems import Problem, slug
from node.tokens import Grant, Scope

MAX_LETTERS: Final = 100
MAX_LETTERS_BYTES: Final = 1 << 20  # of one answer; one more envelope may stand in it
_STATES: Final = {
    State.WAITING: "waiting",
    State.HANDED_ON: "handed-on",
    State.COLLECTED: "collected",
    State.EXPIRED: "expired",
}


class PostApi:
    """The handlers; `unfit` says why this node takes no post now, "" where it does."""

    def __init__(self, office: PostOffice, unfit: Callable[[], str]) -> None:
        self._office, self._registry, self._routes = office, office.registry, office.routes
        self._unfit = unfit

    def add_to(self, application: web.Application) -> None:
        """Add ours to an application, which lets those go who wait when it shuts down."""
        router = application.router
        router.add_post("/v1/post", _refusing(self.post))
        router.add_get("/v1/post", _refusing(self.mail))
        router.add_post("/v1/post/batch", _refusing(self.post_all))
        router.add_post("/v1/post/drop", _refusing(self.collected_all))
        router.add_get("/v1/post/mailbox", self.mailbox)
        router.add_put("/v1/post/mailbox", _refusing(self.place))
        router.add_get("/v1/post/{id}", _refusing(self.state))
        router.add_delete("/v1/post/{id}", _refusing(self.collected))
        application.on_shutdown.append(self._end)

    async def _end(self, _: web.Application) -> None:
        self._office.stop_waiting()

    async def post(self, request: web.Request) -> web.Response:
        """Take an envelope; the same again changes nothing, or sends it again."""
        grant = require(request, Scope.SUBMIT)
        self._require_fit()
        raw = await _body(request)
        found = envelopes.parse(raw)
        self._require_own(grant, found.body.sender, found.body.key_id)
        kept = await self._office.post(found)
        return web.json_response(_shown(kept), status=202)

    async def post_all(self, request: web.Request) -> web.Response:
        """Take envelopes together; each has its own answer, and none hinders the others."""
        grant = require(request, Scope.SUBMIT)
        self._require_fit()
        raws = await read_envelopes(request)
        read = [self._read(grant, raw) for raw in raws]
        posted = iter(
            await self._office.post_all([each for each in read if isinstance(each, Envelope)])
        )
        answers = [_answer(next(posted) if isinstance(each, Envelope) else each) for each in read]
        return web.json_response({"envelopes": answers}, status=202)

    def _read(self, grant: Grant, raw: bytes) -> Envelope | LedgerError | Problem:
        try:
            found = envelopes.parse(raw)
            self._require_own(grant, found.body.sender, found.body.key_id)
        except (LedgerError, Problem) as error:
            return error
        return found

    async def mail(self, request: web.Request) -> web.Response:
        """List what waits for the token's member, above a number; with ?wait=SECONDS, wait."""
        member = _member(require(request, Scope.READ))
        letters = await self._office.mail(
            member,
            after=parse_number(request, "after", 0, 0, (1 << 53) - 1),
            limit=parse_number(request, "limit", MAX_LETTERS, 1, MAX_LETTERS),
            most=MAX_LETTERS_BYTES,
            wait_s=parse_wait(request),
        )
        shown = [
            {"number": each.number, "id": each.id.hex(),
             "envelope": b64encode(each.raw).decode("ascii"), "key": await self._key(each.raw)}
            for each in letters
        ]  # fmt: skip
        cursor = letters[-1].number if letters else None
        return web.json_response({"envelopes": shown, "cursor": cursor})

    async def _key(self, raw: bytes) -> str | None:
        """Return the key that signs for the sender, None where none does, or it is not known here.

        Who acts for a member is for nobody to ask; who has its post has what it signed.
        """
        body = envelopes.parse(raw).body
        try:
            public = await self._registry.signing_key(body.sender, body.key_id)
        except PostRefused:
            return None
        return None if public is None else public.hex()

    async def state(self, request: web.Request) -> web.Response:
        """Tell its sender how an envelope stands."""
        grant = require(request, Scope.READ, Scope.SUBMIT)
        id_ = parse_id(request)
        kept = await self._office.look_up(id_)
        if kept is None or not _is_of(grant, kept.sender):
            raise not_found("envelope", id_)
        return web.json_response(_shown(kept))

    async def collected(self, request: web.Request) -> web.Response:
        """Forget an envelope that its recipient has; the same again changes nothing."""
        member = _member(require(request, Scope.READ))
        id_ = parse_id(request)
        if await self._office.collected([id_], member):
            raise not_found("envelope", id_)
        return web.Response(status=204)

    async def collected_all(self, request: web.Request) -> web.Response:
        """Forget envelopes that their recipient has, and tell which were never here for it."""
        member = _member(require(request, Scope.READ))
        unknown = await self._office.collected(await read_ids(request), member)
        return web.json_response({"unknown": [id_.hex() for id_ in unknown]})

    async def mailbox(self, request: web.Request) -> web.Response:
        """Tell to which node the token's member has its post brought, and which this one is."""
        member = _member(require(request, Scope.READ, Scope.SUBMIT))
        placed = self._routes.mailbox_of(member)
        own = self._routes.own_key
        nodes = self._registry.nodes_of(member)
        here = own in nodes if placed is None else placed.body.node_key == own
        return web.json_response(
            {
                "node": own.hex(),
                "here": here,
                "mailbox": None if placed is None else placed.body.node_key.hex(),
                "issued": None if placed is None else placed.body.issued,
            }
        )

    async def place(self, request: web.Request) -> web.Response:
        """Bring the post of the token's member here from now on, as it signed."""
        grant = require(request, Scope.SUBMIT)
        self._require_fit()
        raw = await _body(request)
        found = mailbox.parse(raw)
        self._require_own(grant, found.body.member, found.body.key_id)
        if found.body.node_key != self._routes.own_key:
            raise Problem(422, "other-node", "the mailbox names another node than this one")
        await self._office.place(found)
        return web.Response(status=204)

    def _require_fit(self) -> None:
        if reason := self._unfit():
            raise Problem(503, "not-ready", "the node is not ready", reason)

    def _require_own(self, grant: Grant, sender: bytes, key_id: bytes) -> None:
        """Raise `Problem` unless a token may hand in what its member, or its key, signed."""
        if grant.member is None or _is_of(grant, sender):
            return
        owner = self._registry.owner_of(key_id)
        if owner is None or not _is_of(grant, owner):
            raise Problem(403, "forbidden", "this token sends for another member")


async def _body(request: web.Request) -> bytes:
    if request.content_type != CONTENT_TYPE:
        raise Problem(415, "media-type", f"the body must be {CONTENT_TYPE}")
    return await request.read()


def _member(grant: Grant) -> bytes:
    if grant.member is None:
        raise Problem(403, "forbidden", "this token is of no member, and nobody has it written to")
    return grant.member


def _is_of(grant: Grant, member: bytes) -> bool:
    return grant.member is not None and hmac.compare_digest(grant.member, member)


def _shown(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id.hex(),
        "number": kept.number,
        "recipient": kept.recipient.hex(),
        "expires": kept.expires,
        "state": _STATES[kept.state],
        "tries": kept.tries,
        "trouble": kept.trouble or None,
    }


def _answer(became: Became | Problem) -> dict[str, Any]:
    """Return what is answered of one envelope of several."""
    if isinstance(became, Kept):
        return {"envelope": _shown(became), "problem": None}
    refusal = became if isinstance(became, Problem) else _problem(became)
    return {"envelope": None, "problem": refusal.body}


def _problem(error: LedgerError | PostRefused) -> Problem:
    status = {ManyWait: 429, NoRoom: 503}.get(type(error), 422)
    return Problem(status, slug(type(error).__name__), str(error), getattr(error, "hint", ""))


def _refusing(handler: Handler) -> Handler:
    """Return a handler whose refusals are answered as problems."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (LedgerError, PostRefused) as error:
            raise _problem(error) from None

    return answer
