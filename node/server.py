"""One process, one node: the parts put together, started in order, stopped in order."""

import asyncio
import contextlib
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiohttp import web

from contracts.genesis import SignedGenesis
from contracts.genesis import parse_json as parse_genesis
from ledger.errors import StoreLocked
from ledger.keys import Role
from ledger.locks import DirectoryLock
from node.admin import admin_application
from node.admission import Admission
from node.api import Api
from node.chain import Chain
from node.config import Config, Mode
from node.errors import NodeError
from node.files import read_public
from node.journal import UNKNOWN_FENCE, Journal
from node.keystore import NodeKeys
from node.log import Log
from node.mempool import Mempool
from node.metrics import Metrics
from node.p2p import PROTOCOL_VERSION, Hello, Network, Peer
from node.replica import Replica
from node.signatures import VerifiedSignatures
from node.tokens import parse_tokens

MAX_GENESIS_BYTES: Final = 16 << 20
STOP_S: Final = 5.0  # for requests under way when a node is told to stop


async def serve(config: Config, keys: NodeKeys) -> None:
    """Run a node until SIGTERM or SIGINT. Raises what makes it impossible to go on."""
    log = Log(config.log_level)
    genesis = load_genesis(config.genesis)
    with DirectoryLock(config.data), contextlib.ExitStack() as closing:
        worker = closing.enter_context(ThreadPoolExecutor(1, "worker"))
        verifier = closing.enter_context(ThreadPoolExecutor(1, "verifier"))
        disk = closing.enter_context(ThreadPoolExecutor(1, "disk"))
        signatures, metrics = VerifiedSignatures(), Metrics()
        chain = Chain.open(config.data, genesis.genesis, signatures, engine=config.store_engine)
        closing.callback(chain.close)
        journal = _journal(config, keys, chain, log)
        if journal is not None:
            closing.callback(journal.close)
        mempool = Mempool(config.mempool)
        replica = Replica(
            key=keys.consensus if config.mode is Mode.VALIDATOR else None,
            chain=chain,
            journal=journal,
            mempool=mempool,
            signatures=signatures,
            metrics=metrics,
            log=log,
            worker=worker,
            disk=disk,
        )
        admission = Admission(
            mempool=mempool,
            state=lambda: chain.state,
            signatures=signatures,
            metrics=metrics,
            worker=verifier,
            added=replica.transactions_added,
        )
        network = Network(
            seed=keys.node_seed,
            node_key=keys.node.public,
            listen=config.p2p_listen if config.mode is Mode.VALIDATOR else None,
            peers=_peers(config, genesis),
            hello=lambda: Hello(PROTOCOL_VERSION, genesis.chain_id, chain.height),
            receiver=replica,
            log=log,
        )
        replica.admission, replica.network, admission.network = admission, network, network
        api = Api(chain=chain, admission=admission, replica=replica, mempool=mempool,
                  genesis=genesis, tokens=parse_tokens(config.tokens), worker=verifier)  # fmt: skip
        log.info("node starts", height=chain.height, chain_id=genesis.chain_id, mode=config.mode)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(replica.run(), name="replica"),
                    tasks.create_task(network.run(), name="network"),
                    tasks.create_task(_http(api.application(), config.api_listen), name="api"),
                    tasks.create_task(
                        _http(admin_application(replica, metrics), config.admin_listen),
                        name="admin",
                    ),
                ]
                await _told_to_stop()
                log.info("node stops", height=chain.height)
                for task in running:
                    task.cancel()
        except* OSError as group:
            log.error("node halts", reason=str(group.exceptions[0]))
            raise
    log.info("node stopped", height=chain.height)


def load_genesis(path: Path) -> SignedGenesis:
    """Return the signed genesis in a file, verified. Raises what `contracts.genesis` raises."""
    text = read_public(path, limit=MAX_GENESIS_BYTES, hint="get it from the ceremony's coordinator")
    genesis = parse_genesis(text)
    genesis.verify()
    return genesis


def _journal(config: Config, keys: NodeKeys, chain: Chain, log: Log) -> Journal | None:
    """Return this validator's journal; a lost one is replaced by one that may sign nothing yet."""
    if config.mode is not Mode.VALIDATOR or keys.consensus is None:
        return None
    identity = chain.header.chain_id + keys.consensus.public
    directory = config.data / "journal"
    journal = Journal.open(directory, identity)
    if journal is None:
        log.warning(
            "no journal: nothing is signed until the chain is safely past what may have been"
        )
        return Journal.create(directory, identity, fence=UNKNOWN_FENCE)
    if journal.truncated:
        log.warning("torn tail of the journal cut off", bytes=journal.truncated)
    return journal


def _peers(config: Config, genesis: SignedGenesis) -> list[Peer]:
    """Return everyone who has a registered node key, with where to reach those that we know of."""
    peers: list[Peer] = []
    for member in genesis.genesis.members:
        address = config.peers.get(member.label) or config.peers.get(member.id.hex())
        peers += [
            Peer(member.label, key.public, None if address is None else tuple(address))
            for key in member.keys
            if key.role == Role.TLS
        ]
    return peers


async def _http(application: web.Application, address: tuple[str, int]) -> None:
    """Serve HTTP until cancelled, then finish what is under way."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()


async def _told_to_stop() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends it otherwise
            loop.add_signal_handler(number, stop.set)
    await stop.wait()
