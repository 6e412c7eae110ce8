"""What a refusal of the client's is over HTTP: RFC 9457 problems, with what to do."""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from contracts.errors import ContractsError
from ledger.errors import LedgerError
from node.client.errors import (
    ClientError,
    NetworkRefused,
    NotFound,
    NotReadable,
    NotVerified,
    Pruned,
    Refused,
    SocialSecurityNumber,
    Undecided,
    Unreachable,
    VaultLocked,
)
from node.errors import NodeError
from node.problems import Problem

_STATUS: Final = {  # the first that an error is of
    SocialSecurityNumber: (422, "social-security-number"),
    Refused: (422, "refused"),
    NotReadable: (400, "malformed"),
    NotFound: (404, "not-found"),
    Pruned: (410, "pruned"),
    NetworkRefused: (409, "network-refused"),
    Undecided: (504, "undecided"),
    Unreachable: (503, "node-unreachable"),
    VaultLocked: (503, "vault-locked"),
    NotVerified: (502, "not-verified"),
}


def problem_of(error: ClientError) -> Problem:
    """Return the problem that an error is."""
    kinds = (found for kind, found in _STATUS.items() if isinstance(error, kind))
    status, type_ = next(kinds, (500, "failed"))
    more = {"field": error.field[:200]} if isinstance(error, Refused) else {}
    return Problem(status, type_, str(error), error.hint, **more)


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what the client refuses into problems."""
    try:
        return await handler(request)
    except ClientError as error:
        raise problem_of(error) from None
    except (LedgerError, ContractsError, NodeError) as error:  # what the node said does not hold
        raise Problem(502, "not-verified", str(error), getattr(error, "hint", "")) from None
