"""Who comes in: programs on this machine that hold a token, and no page of a browser.

A page of any site can make a browser ask 127.0.0.1. It cannot read a token file, but a door that
looks twice costs nothing: a request that names another host (DNS rebinding) or that a page made
(`Origin`) is refused whatever it holds.
"""

import ipaddress
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from node import tokens
from node.asking import GRANT, bearer
from node.errors import NodeError, Usage
from node.problems import Problem
from node.tokens import NOBODY, TokenBook

OPEN: Final = "/openapi.json"  # the only path that needs no token: it tells nothing of anybody


class NotLoopback(Usage):
    """The gateway was to listen where other machines reach it."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} can be reached from other machines, and the gateway speaks without encryption",
            hint="listen on 127.0.0.1 or ::1, and run one gateway on each machine",
        )


def require_loopback(host: str) -> None:
    """Raise `NotLoopback` unless only this machine reaches an address."""
    if not _is_ours(host):
        raise NotLoopback(host)


class Doors:
    """The tokens of a file, read again when it changes: one that is removed opens nothing more."""

    def __init__(self, path: Path) -> None:
        """Read the tokens; raise as `tokens.parse_tokens`."""
        self._path = path
        self._seen = _stamp(path)
        self._book = tokens.parse_tokens(path)

    def book(self) -> TokenBook:
        """Return the tokens as they stand in the file; raise as `tokens.parse_tokens`."""
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._book = tokens.parse_tokens(self._path)
            self._seen = stamp
        return self._book

    def still_admits(self, request: web.Request) -> bool:
        """Return whether what let a request in has not changed since."""
        try:
            return bearer(request, self.book()) == request[GRANT]
        except NodeError:  # what the file says cannot be meant: it lets nobody in
            return False

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in, or raise `Problem`."""
        if not _is_ours(_name(request.host)):
            raise Problem(403, "other-host", "this gateway answers at 127.0.0.1 and localhost only")
        if hdrs.ORIGIN in request.headers:
            raise Problem(
                403,
                "from-a-page",
                "a page in a browser may not use the gateway",
                "ask it from the program that serves the page",
            )
        grant = bearer(request, self.book())
        if grant is None and request.path == OPEN:
            grant = NOBODY
        if grant is None:
            raise Problem(
                401,
                "unauthorised",
                "a bearer token that this gateway knows is needed",
                "make one: depoli gateway token new",
            )
        request[GRANT] = grant
        response = await handler(request)
        if not response.prepared:
            response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response


def _is_ours(host: str) -> bool:
    """Return whether a name or address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(host: str) -> str:
    """Return a Host header without its port, and an address without its brackets."""
    name, colon, port = host.rpartition(":")
    name = name if colon and port.isdigit() else host
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name.lower()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
