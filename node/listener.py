"""Where HTTP is answered: so many connections at once, and each must ask for something soon.

A proxy that faces the world has its own bounds; these hold where somebody reaches the port anyway.
"""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

MAX_CONNECTIONS: Final = 1024  # each takes some 50 kB while it is idle
FIRST_REQUEST_S: Final = 10.0  # until the head of a connection's first request is complete
IDLE_S: Final = 75.0  # then a connection that asks nothing more is closed
STOP_S: Final = 2.0  # for requests under way when the node is told to stop


async def serve_http(application: web.Application, address: tuple[str, int]) -> None:
    """Answer HTTP at `address` until cancelled, then finish what is under way. Raises OSError."""
    loop = asyncio.get_running_loop()
    silent: set[asyncio.BaseProtocol] = set()  # connections that have asked nothing yet

    @web.middleware
    async def hear(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    application.middlewares.insert(0, hear)
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=IDLE_S, shutdown_timeout=STOP_S
    )
    await runner.setup()
    server = runner.server
    assert server is not None  # it is set up

    def close_if_silent(connection: web.RequestHandler) -> None:
        if connection in silent:
            silent.discard(connection)
            connection.force_close()

    def accept() -> asyncio.BaseProtocol:
        if len(server.connections) >= MAX_CONNECTIONS:
            return _Turned()
        connection = server()
        silent.add(connection)
        loop.call_later(FIRST_REQUEST_S, close_if_silent, connection)
        return connection

    try:
        listening = await loop.create_server(accept, *address)
        try:
            await loop.create_future()
        finally:
            listening.close()
    finally:
        await runner.cleanup()


class _Turned(asyncio.Protocol):
    """A connection too many: closed before it says anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
