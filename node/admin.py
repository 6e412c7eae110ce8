"""The operator's door, on loopback: is the node alive, is it ready, how is it doing."""

import importlib.metadata

from aiohttp import web

from contracts.dispatch import known
from node.link import PROTOCOL_VERSION
from node.metrics import CONTENT_TYPE, Metrics
from node.replica import Replica
from node.upgrade import outlook


def admin_application(replica: Replica, metrics: Metrics) -> web.Application:
    """Return /livez, /readyz, /version and /metrics."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = replica.not_ready()
        said = [*(reasons or ["ready"]), *filter(None, [outlook(replica.state).warning])]
        text = "".join(f"{line}\n" for line in said)
        return web.Response(status=503 if reasons else 200, text=text)

    async def version(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "depoli": importlib.metadata.version("depoli"),
                "protocol": PROTOCOL_VERSION,
                "rules": list(known()),
            }
        )

    async def metrics_text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    metrics.reach.watch(
        lambda: not replica.not_ready(),
        lambda: replica.state.validators,
        lambda: replica.standing.reached(replica.exchange.links),
    )
    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/version", version)
    application.router.add_get("/metrics", metrics_text)
    return application
