"""What every question to the HTTP API is asked first: who asks, what for, and what may be read."""

import hmac
from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import hdrs, web

from ledger.encoding import decode
from ledger.errors import LedgerError
from ledger.transaction import MAX_TRANSACTION_BYTES
from ledger.validators import EVERYONE, MEMBER_ID_BYTES, Bytes32
from node.problems import Problem
from node.results import MAX_BATCH
from node.tokens import Grant, Scope, TokenBook

MAX_PAGE: Final = 500
MAX_BODY_BYTES: Final = 4 << 20
MAX_WAIT_S: Final = 60
CONTENT_TYPE: Final = "application/msgpack"
GRANT: Final = web.RequestKey("grant", Grant)

T = TypeVar("T")
Raws = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TRANSACTION_BYTES)], ...],
    msgspec.Meta(min_length=1, max_length=MAX_BATCH),
]
MAX_ENVELOPES: Final = 100  # handed in together
Envelopes = Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MAX_ENVELOPES)]
Ids = Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=MAX_PAGE)]


def bearer(request: web.Request, tokens: TokenBook) -> Grant | None:
    """Return what the bearer token of a request grants, None where this node knows it not."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return tokens.lookup(token.strip()) if scheme.lower() == "bearer" else None


def require(request: web.Request, *scopes: Scope) -> Grant:
    """Return what the asker may do, which includes one of these scopes; raise `Problem`."""
    grant = request[GRANT]
    if not any(grant.allows(scope) for scope in scopes):
        wanted = " or ".join(scopes)
        raise Problem(403, "forbidden", f"this token lacks the scope {wanted}")
    return grant


def unauthorised() -> Problem:
    """Return the answer for whom this node does not know."""
    return Problem(401, "unauthorised", "a bearer token that this node knows is needed")


def may_read(grant: Grant, *members: bytes | None) -> bool:
    """Return whether the asker may read what concerns these members."""
    if grant.allows(Scope.AUDIT):
        return True
    own = grant.member
    if own is not None and EVERYONE in members:
        return True
    return own is not None and any(
        member is not None and hmac.compare_digest(own, member) for member in members
    )


def not_found(kind: str, id_: bytes) -> Problem:
    """Return the answer for what is not there, or not for the asker."""
    return Problem(404, "not-found", f"there is no {kind} {id_.hex()} that this token may read")


def parse_id(request: web.Request) -> bytes:
    """Return the id in the path; raise `Problem`."""
    text = request.match_info["id"]
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32 or value.hex() != text:  # noqa: PLR2004
        raise Problem(400, "malformed", "an id is 64 hexadecimal digits in lower case")
    return value


def parse_member(request: web.Request) -> bytes | None:
    """Return the member that the query names, None where it names none; raise `Problem`."""
    text = request.query.get("member")
    if text is None:
        return None
    try:
        member = bytes.fromhex(text)
    except ValueError:
        member = b""
    if len(member) != MEMBER_ID_BYTES:
        raise Problem(400, "malformed", f"a member is {2 * MEMBER_ID_BYTES} hexadecimal digits")
    return member


def parse_number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """Return a number of the query; raise `Problem`."""
    text = request.query.get(name)
    if text is None:
        return default
    value = parse_digits(text, name)
    if not low <= value <= high:
        raise Problem(400, "malformed", f"{name} must be from {low} to {high}")
    return value


def parse_digits(text: str, name: str) -> int:
    """Return the number that a text is; raise `Problem`."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
        raise Problem(400, "malformed", f"{name} must be a whole number")
    return int(text)


def parse_wait(request: web.Request) -> int:
    """Return for how many seconds the asker waits; raise `Problem`."""
    return parse_number(request, "wait", 0, 0, MAX_WAIT_S)


async def read_transactions(request: web.Request) -> tuple[bytes, ...]:
    """Return the transactions in the body, not yet parsed; raise `Problem`."""
    return await _read(request, Raws, "list of transactions")


async def read_envelopes(request: web.Request) -> tuple[bytes, ...]:
    """Return the envelopes in the body, not yet parsed, of any length; raise `Problem`."""
    return await _read(request, Envelopes, "list of envelopes")


async def read_ids(request: web.Request) -> tuple[bytes, ...]:
    """Return the ids in the body, `MAX_PAGE` at most; raise `Problem`."""
    return await _read(request, Ids, "list of ids")


async def _read(request: web.Request, type_: type[T], kind: str) -> T:
    if request.content_type != CONTENT_TYPE:
        raise Problem(415, "media-type", f"the body must be {CONTENT_TYPE}")
    try:
        return decode(await request.read(), type_, kind=kind)
    except LedgerError as error:
        raise Problem(400, "malformed", str(error)) from None
