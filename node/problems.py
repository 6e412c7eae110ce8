"""RFC 9457 problem details: what every refusal of the HTTP API looks like."""

import json
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from contracts.errors import Inadmissible
from ledger.errors import HashNotKept, LedgerError, NotKept
from node.errors import NodeError
from node.log import Log

PRUNED: Final = (
    "this node pruned what is older, or began with a snapshot:"
    " ask a node that keeps more, or look into an export of the chain"
)


class Problem(Exception):
    """A request that is refused: its HTTP status, a stable type, and what a person reads."""

    def __init__(self, status: int, type_: str, title: str, detail: str = "", **more: Any) -> None:  # noqa: ANN401
        super().__init__(title)
        self.status = status
        self.body = {"type": f"urn:depoli:problem:{type_}", "title": title, "status": status}
        if detail:
            self.body["detail"] = detail
        self.body |= more

    def response(self) -> web.Response:
        """Return the answer."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}  # noqa: PLR2004
        return web.Response(
            status=self.status,
            text=json.dumps(self.body),
            content_type="application/problem+json",
            headers=headers,
        )


def problem_of(error: LedgerError | Inadmissible | NodeError) -> dict[str, object]:
    """Return the problem that a refused transaction's result carries."""
    return {
        "type": f"urn:depoli:problem:{slug(type(error).__name__)}",
        "title": str(error),
        "status": 429 if type(error).__name__ == "MempoolFull" else 422,
        "detail": getattr(error, "hint", ""),
    }


def middleware(log: Log) -> Middleware:
    """Return the middleware that turns every error into a problem; none shows our insides."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return problem.response()
        except (NotKept, HashNotKept) as error:
            return Problem(410, "pruned", str(error), PRUNED).response()
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004
                raise
            title = error.reason or "refused"
            return Problem(error.status, slug(title), title).response()
        except ConnectionResetError:  # who asked hung up: nobody is answered
            log.debug("who asked hung up", path=request.path)
            return Problem(499, "hung-up", "who asked hung up").response()
        except Exception as error:  # noqa: BLE001 - a client must not see it, an operator must
            log.error(  # noqa: TRY400 - not the logging module
                "request failed", path=request.path, error=repr(error)
            )
            return Problem(
                500, "internal", "the node failed to answer; its log says why"
            ).response()

    return answer


def slug(name: str) -> str:
    """Return the name of a class or a title as types of problems have it."""
    words = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).replace(" ", "-")
    return words.strip("-").replace("--", "-")
