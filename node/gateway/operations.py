"""What can be asked of the gateway, as a table: routes and OpenAPI document are made of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from node.asking import MAX_WAIT_S
from node.gateway.shapes import Shape
from node.problems import Problem
from node.tokens import Scope

MAX_PAGE: Final = 500
MAX_COUNT: Final = (1 << 62) - 1
JSON: Final = "application/json"
FHIR: Final = "application/fhir+json"
_NAME: Final = "^([A-Z0-9-]{1,20}|[0-9a-f]{64})$"
_REFERENCE: Final = "^[A-Z0-9-]{1,20}$"

Schema = Mapping[str, Any]
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something in the path or the query."""

    name: str
    about: str
    schema: Schema
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked, and by whom; `answer` is of the good statuses."""

    method: str
    path: str
    name: str
    about: str  # first a summary, ending with a stop; the rest says more
    handle: Handle
    scope: Scope
    answer: type[Shape] | str  # a shape, or a media type of which nothing more is said
    statuses: tuple[int, ...] = (200,)
    refusals: tuple[int, ...] = ()  # beside those that every operation has
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Schema] = field(default_factory=dict)  # media type -> schema


NAME: Final = Parameter(
    "name",
    "Your reference of it, or its id on the chain.",
    {"type": "string", "pattern": _NAME},
    "path",
    required=True,
)
REFERENCE: Final = Parameter(
    "reference",
    "Your reference of it.",
    {"type": "string", "pattern": _REFERENCE},
    "path",
    required=True,
)
WAIT: Final = Parameter(
    "wait",
    "For how many seconds to wait until it is decided; without it the answer comes at once.",
    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S},
)
AFTER: Final = Parameter(
    "after",
    "The `cursor` of the page before.",
    {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
)
LIMIT: Final = Parameter(
    "limit", "Most of one page.", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}
)


def answer(shape: Shape, status: int = 200) -> web.Response:
    """Return a shape as the answer."""
    return web.Response(status=status, body=msgspec.json.encode(shape), content_type=JSON)


async def read_body(request: web.Request, *types: str) -> bytes:
    """Return the body, which is of one of these media types; raise `Problem`."""
    wanted = types or (JSON,)
    if request.content_type not in wanted:
        raise Problem(415, "media-type", f"the body must be {' or '.join(wanted)}")
    return await request.read()
