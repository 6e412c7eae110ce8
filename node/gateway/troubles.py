"""What a refusal of the client's is over HTTP: RFC 9457 problems, with what to do."""

import traceback
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

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
from node.log import Log
from node.problems import Problem

# What is no fault of ours: somebody refused something, or said what does not hold.
REFUSALS: Final = (ClientError, LedgerError, ContractsError, NodeError)
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


def log_fault(log: Log, what: str, error: Exception) -> None:
    """Log what kind a fault of ours is, and where; its words may be a patient's."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(at.filename).name}:{at.lineno}"
    log.error(what, error=type(error).__name__, at=where)


def problem_of(error: ClientError) -> Problem:
    """Return the problem that an error is."""
    kinds = (found for kind, found in _STATUS.items() if isinstance(error, kind))
    status, type_ = next(kinds, (500, "failed"))
    more = {"field": error.field[:200]} if isinstance(error, Refused) else {}
    return Problem(status, type_, str(error), error.hint, **more)


def explain(log: Log) -> Middleware:
    """Return the middleware that turns what the client refuses into problems."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ClientError as error:
            raise problem_of(error) from None
        except REFUSALS as error:  # what the node said does not hold
            raise Problem(502, "not-verified", str(error), getattr(error, "hint", "")) from None
        except (Problem, web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - a client must not see it, an operator must
            log_fault(log, "request failed", error)
            title = "the gateway failed to answer; its log says where"
            raise Problem(500, "internal", title) from None

    return answer
