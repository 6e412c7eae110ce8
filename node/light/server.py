"""One process, one light node: the parts put together, started in order, stopped in order."""

import asyncio
import contextlib
import gc
import importlib.metadata
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from contracts.dispatch import known
from contracts.genesis import Genesis, SignedGenesis
from ledger.keys import Role
from ledger.lock import DirectoryLock
from ledger.store import open_store
from node import ceremony
from node.config import Config
from node.errors import NotFound
from node.keystore import NodeKeys
from node.light.api import LightApi
from node.light.follow import Follower
from node.light.outbox import Outbox
from node.light.post import LightNeighbours, RecordRegistry
from node.light.record import Record
from node.light.staleness import Staleness
from node.link import PROTOCOL_VERSION, Hello
from node.listener import serve_http
from node.log import Log
from node.p2p import Network
from node.post.api import PostApi
from node.post.parts import Post, open_post
from node.stopping import first_error, log_end, told_to_stop
from node.tokens import TokenBook, parse_tokens

FOLDER: Final = "light"  # of the store, in the node's data
COLLECTION: Final = (5_000, 20, 20)


class WhoseNode(NotFound):
    """The node's key is of no founder, and the configuration names no member."""

    def __init__(self) -> None:
        super().__init__(
            "the genesis does not say whose node this is: its key is not in it",
            hint="set light.member in config.toml to the label or id of your organisation",
        )


@dataclass(frozen=True)
class LightNode:
    """The parts of a light node."""

    record: Record
    outbox: Outbox
    follower: Follower
    network: Network
    staleness: Staleness
    reader: ThreadPoolExecutor
    log: Log
    post: Post

    def api(self, genesis_json: bytes, tokens: TokenBook) -> LightApi:
        """Return the HTTP API over these parts."""
        return LightApi(
            self.record,
            self.follower,
            self.outbox,
            self.staleness,
            PostApi(self.post.office, lambda: ""),
            genesis_json=genesis_json,
            tokens=tokens,
            reader=self.reader,
            log=self.log,
        )


async def serve(config: Config, keys: NodeKeys) -> None:
    """Run a light node until SIGTERM or SIGINT. Raises what makes it impossible to go on."""
    log = Log(config.log_level)
    text = ceremony.read(config.genesis)
    genesis = ceremony.parse_genesis(text, config.genesis)
    with contextlib.ExitStack() as closing:
        closing.callback(DirectoryLock(config.data).release)
        node = assemble(config, keys, genesis, closing, log)
        doors = (
            (node.api(text, parse_tokens(config.tokens)).application(), config.api_listen, "api"),
            (admin(node), config.admin_listen, "admin"),
        )
        gc.freeze()
        gc.set_threshold(*COLLECTION)
        log.info(
            "light node starts", height=node.record.height, chain_id=genesis.chain_id,
            member=node.record.member,
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(each)
                    for each in (node.follower.run(), node.network.run(), node.post.carrier.run())
                ]
                running += [
                    tasks.create_task(serve_http(application, address, key=f"{key}.listen"))
                    for application, address, key in doors
                ]
                await told_to_stop()
                log.info("node stops", height=node.record.height)
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as group:
            error = first_error(group)
            log_end(log, error)
            raise error from group
    log.info("node stopped", height=node.record.height)


def assemble(
    config: Config, keys: NodeKeys, genesis: SignedGenesis, closing: contextlib.ExitStack, log: Log
) -> LightNode:
    """Return the parts of a light node, knowing each other; `closing` ends them in order."""
    founding = genesis.genesis
    member = member_of(founding, keys, config.light_member)
    store = open_store(config.data / FOLDER, "sqlite")  # of all engines the smallest in memory
    closing.callback(store.close)
    record = Record(founding, member, store)
    worker, reader = (
        closing.enter_context(ThreadPoolExecutor(1, name)) for name in ("worker", "reader")
    )
    outbox = Outbox(record)
    follower = Follower(record, outbox, addresses=dict(config.peers), worker=worker, log=log)
    instance = secrets.token_bytes(16)
    software = importlib.metadata.version("depoli").encode()
    network = Network(
        seed=keys.node_seed,
        node_key=keys.node.public,
        listen=None,
        peers=follower.peers(),
        hello=lambda: Hello(
            PROTOCOL_VERSION,
            founding.chain_id,
            record.height,
            instance,
            software,
            None,
            is_light=True,
        ),
        receiver=follower,
        log=log,
    )
    follower.network = network
    post = open_post(
        config.data,
        RecordRegistry(record, follower, keys.node.public),
        LightNeighbours(follower),
        own_key=keys.node.public,
        relays=lambda: False,
        closing=closing,
        log=log,
    )
    follower.post = post.carrier
    staleness = Staleness(record, follower, config.light_stale_s)
    return LightNode(record, outbox, follower, network, staleness, reader, log, post)


def member_of(genesis: Genesis, keys: NodeKeys, named: str) -> bytes:
    """Return whose node this is: as configured, else whose the genesis says that its key is."""
    if named:
        return ceremony.id_of(genesis, named)
    for founder in genesis.members:
        if founder.key(Role.TLS) == keys.node.public:
            return founder.id
    raise WhoseNode


def admin(node: LightNode) -> web.Application:
    """Return /livez, /readyz, /version and /metrics."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = node.staleness.not_ready()
        text = "".join(f"{line}\n" for line in reasons or ["ready"])
        return web.Response(status=503 if reasons else 200, text=text)

    async def version(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "depoli": importlib.metadata.version("depoli"),
                "protocol": PROTOCOL_VERSION,
                "rules": list(known()),
            }
        )

    async def metrics(_: web.Request) -> web.Response:
        record = node.record
        shown = {
            "height": record.height,
            "block_age_seconds": node.staleness.age_s,
            "entries": record.own,
            "receipts": record.tip.placed,
            "peers": len(node.follower.links),
            "waiting": len(node.outbox),
            "downloaded_bytes": node.follower.downloaded,
            "post_waiting": node.post.office.waiting,
            "post_bytes": node.post.office.weight,
            "post_oldest_seconds": node.post.office.age_s,
        }
        lines = (f"depoli_light_{name} {value}\n" for name, value in shown.items())
        return web.Response(text="".join(lines), content_type="text/plain")

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/version", version)
    application.router.add_get("/metrics", metrics)
    return application
