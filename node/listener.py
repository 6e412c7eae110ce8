"""Where HTTP is answered: so many connections at once, and each must ask for something soon.

A proxy that faces the world has its own bounds; these hold where somebody reaches the port anyway.
"""

import asyncio
import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from node.errors import CannotListen

MAX_CONNECTIONS: Final = 1024  # each takes some 50 kB while it is idle
FIRST_REQUEST_S: Final = 10.0  # until the head of a connection's first request is complete
IDLE_S: Final = 75.0  # then a connection that asks nothing more is closed
STOP_S: Final = 2.0  # for requests under way when the node is told to stop
# What aiohttp would say of requests that are malformed quotes them, and so a token in one.
_SILENCE: Final = logging.getLogger("depoli.silence")
_SILENCE.setLevel(logging.CRITICAL + 1)


async def serve_http(application: web.Application, address: tuple[str, int], *, key: str) -> None:
    """Answer HTTP at `address` until cancelled, then finish what is under way.

    Raises `CannotListen`; `key` is that of the configuration.
    """
    loop = asyncio.get_running_loop()
    silent: dict[web.RequestHandler, None] = {}  # that have asked nothing yet, the oldest first

    @web.middleware
    async def hear(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.pop(request.protocol, None)
        return await handler(request)

    application.middlewares.insert(0, hear)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_SILENCE,
        keepalive_timeout=IDLE_S,
        shutdown_timeout=STOP_S,
    )
    await runner.setup()
    server = runner.server
    assert server is not None  # it is set up

    def close_if_silent(connection: web.RequestHandler) -> None:
        if connection in silent:
            del silent[connection]
            connection.force_close()

    def accept() -> asyncio.BaseProtocol:
        if len(server.connections) >= MAX_CONNECTIONS:
            if not silent:
                return _Turned()
            close_if_silent(next(iter(silent)))
        connection = server()
        silent[connection] = None
        loop.call_later(FIRST_REQUEST_S, close_if_silent, connection)
        return connection

    try:
        listening = await loop.create_server(accept, *address)
    except OSError as error:
        await runner.cleanup()
        raise CannotListen(key, address, error) from None
    try:
        await loop.create_future()
    finally:
        listening.close()
        await runner.cleanup()


class _Turned(asyncio.Protocol):
    """A connection too many: closed before it says anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
