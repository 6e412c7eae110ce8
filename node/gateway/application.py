"""The gateway as one aiohttp application, over a desk."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Final

import msgspec
from aiohttp import web

from node import problems
from node.asking import MAX_WAIT_S, require
from node.client import queue, rounds
from node.client.errors import ClientError
from node.gateway import openapi, troubles
from node.gateway.claims import ClaimDesk
from node.gateway.courier import Courier
from node.gateway.desk import Desk
from node.gateway.disclosures import DisclosureDesk
from node.gateway.doors import OPEN, Doors
from node.gateway.intake import IntakeDesk
from node.gateway.operations import Handle, Operation, answer
from node.gateway.prescriptions import PrescriptionDesk
from node.gateway.shapes import Status, Trouble
from node.gateway.streams import MAX_STREAMS, StreamDesk
from node.log import Log
from node.problems import Problem
from node.tokens import Scope

MAX_BODY_BYTES: Final = 8 << 20  # a lot of 500 claims has a quarter of it
# Whoever waits for the node holds one. A stream does all the time, and takes none from a claim.
_THREADS: Final = MAX_STREAMS + 48


class StatusDesk:
    """Who works here, and whether the node answers."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._desk, self._courier = desk, courier

    def operations(self) -> Sequence[Operation]:
        """Return what can be asked of the gateway itself."""
        return (
            Operation(
                "GET",
                "/v1/status",
                "status",
                "Show who works here, whether the node answers, and what waits.",
                self.status,
                Scope.READ,
                Status,
            ),
        )

    async def status(self, _: web.Request) -> web.Response:
        """Ask the node where it is, and answer in any case."""
        desk, trouble = self._desk, self._courier.trouble
        height: int | None = None
        with contextlib.suppress(ClientError):
            async with desk.connect() as node:
                height = (await node.head()).height
        return answer(
            Status(
                member=desk.sender.member.hex(),
                label=desk.label,
                network=desk.members.genesis.network.decode("ascii"),
                chain_id=desk.sender.chain_id.hex(),
                node=desk.url,
                height=height,
                waiting=self._courier.waiting,
                trouble=None if trouble is None else _shown(trouble),
                version=metadata.version("depoli"),
            )
        )


def _shown(trouble: Exception) -> Trouble:
    return Trouble(title=str(trouble), hint=getattr(trouble, "hint", ""))


def application(desk: Desk, doors: Doors, log: Log) -> web.Application:
    """Return the application; the courier works while it runs."""
    courier = Courier(desk, log)
    streams = StreamDesk(desk, doors)
    operations = [
        *StatusDesk(desk, courier).operations(),
        *PrescriptionDesk(desk).operations(),
        *IntakeDesk(desk, courier).operations(),
        *ClaimDesk(desk).operations(),
        *DisclosureDesk(desk).operations(),
        *streams.operations(),
    ]
    made = web.Application(
        middlewares=[problems.middleware(log), doors.guard, troubles.explain(log)],
        client_max_size=MAX_BODY_BYTES,
    )
    for each in operations:
        made.router.add_route(each.method, each.path, _scoped(each))
    body = msgspec.json.encode(openapi.document(operations, metadata.version("depoli")))

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    made.router.add_get(OPEN, describe, allow_head=False)
    made.on_shutdown.append(streams.end)
    made.cleanup_ctx.append(_working(desk, courier, log))
    return made


def _scoped(operation: Operation) -> Handle:
    """Return the handler of an operation, for whose token may ask it, and asks nothing unknown."""
    known = [each.name for each in operation.parameters if each.place == "query"]

    async def handle(request: web.Request) -> web.StreamResponse:
        require(request, operation.scope)
        if len(request.query) > len(set(request.query)) or not request.query.keys() <= {*known}:
            expected = f"known, once each: {', '.join(known)}" if known else "there are none here"
            raise Problem(400, "malformed", "the query is not one of this operation", expected)
        return await operation.handle(request)

    return handle


def _working(
    desk: Desk, courier: Courier, log: Log
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what runs beside the answers: claims on their way, now and in windows; the post."""

    async def watch() -> None:
        """Let what waits for its window go, when it is time."""
        await queue.watch(
            desk.vault,
            desk.connect,
            desk.sender,
            clock=desk.now,
            rest=asyncio.sleep,
            wait_s=MAX_WAIT_S,
            say=log.debug,
            tell=lambda flushed: log.info("claims of a window", count=len(flushed.references)),
        )

    async def post() -> None:
        """Send what we show others, and take what they show us."""
        async with desk.connect() as node:
            await rounds.keep_on(desk.post(node), lambda _: None, log.debug)

    async def keep_on(what: str, doing: Callable[[], Awaitable[None]]) -> None:
        """Do it again whatever it is refused: the other claims, and the answers, go on."""
        while True:
            try:
                await doing()
            except troubles.REFUSALS as error:
                log.warning("put off", what=what, why=str(error))
            except Exception as error:  # noqa: BLE001 - nor does a fault of ours end the gateway
                troubles.log_fault(log, f"{what} failed", error)
            await asyncio.sleep(rounds.AWAY_S)

    async def work(_: web.Application) -> AsyncIterator[None]:
        threads = ThreadPoolExecutor(_THREADS, "node")  # made when they are needed
        asyncio.get_running_loop().set_default_executor(threads)
        doing = (
            keep_on("the claims", courier.run),
            keep_on("the queue", watch),
            keep_on("the post", post),
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in doing]
            yield
            for task in running:
                task.cancel()

    return work
