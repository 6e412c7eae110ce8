"""One process, one node: the parts put together, started in order, stopped in order."""

import asyncio
import contextlib
import gc
import importlib.metadata
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from contracts import dispatch
from contracts.errors import UnknownVersion
from contracts.genesis import SignedGenesis
from ledger.keys import SigningKey
from ledger.lock import DirectoryLock
from node import ceremony
from node.admin import admin_application
from node.admission import Admission
from node.album import Album
from node.api import Api
from node.chain import Chain
from node.config import Config, Mode, Sync
from node.delivery import ChainNeighbours, ChainRegistry
from node.doctor.checkup import Checkup
from node.evidence import FILE_NAME as EVIDENCE_FILE
from node.evidence import EvidencePool
from node.exchange import Exchange
from node.health import Room
from node.joining import Joined, Joining
from node.journal import UNKNOWN_FENCE, Journal
from node.kept import KeptFile
from node.keystore import NodeKeys
from node.link import PROTOCOL_VERSION, Hello, Listening
from node.listener import serve_http
from node.log import Log
from node.mempool import Mempool
from node.metrics import Metrics
from node.notary import Notary
from node.p2p import Network
from node.part import Part
from node.peers import Peers
from node.pledges import Pledges
from node.post.parts import Post, open_post
from node.post.store import MAX_BYTES
from node.replica import Replica
from node.retention import Retention
from node.roster import Roster
from node.scrub import Scrub
from node.signatures import VerifiedSignatures
from node.stopping import first_error, log_end, told_to_stop
from node.tokens import parse_tokens

COLLECTION: Final = (20_000, 20, 20)  # objects between looks for cycles: most die without one


async def serve(config: Config, keys: NodeKeys) -> None:
    """Run a node until SIGTERM or SIGINT. Raises what makes it impossible to go on."""
    log = Log(config.log_level)
    text = ceremony.read(config.genesis)
    genesis = ceremony.parse_genesis(text, config.genesis)
    lock = DirectoryLock(config.data)
    try:
        while True:
            try:
                await _serve(config, keys, text, genesis, log)
            except Joined as joined:
                gc.unfreeze()
                log.info("node begins again, with the snapshot", height=joined.height)
            else:
                return
    finally:
        lock.release()


async def _serve(
    config: Config, keys: NodeKeys, text: bytes, genesis: SignedGenesis, log: Log
) -> None:
    """Run a node over the data that it has. Raises `Joined` where it has others now."""
    with contextlib.ExitStack() as closing:
        try:
            node = _assemble(config, keys, genesis, closing, log)
        except UnknownVersion as outdated:
            log_end(log, outdated)
            raise
        tokens = parse_tokens(config.tokens)
        api = Api(node, genesis=genesis, genesis_json=text, tokens=tokens)
        doors = (
            (api.application(), config.api_listen, "api.listen"),
            (admin_application(node.replica, node.metrics), config.admin_listen, "admin.listen"),
        )
        gc.freeze()  # what stands now stays: it need not be looked at again
        gc.set_threshold(*COLLECTION)
        log.info("node starts", height=node.chain.height, chain_id=genesis.chain_id)
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = (
                    node.replica.run(),
                    node.network.run(),
                    node.scrub.run(),
                    node.join(),
                    node.post.carrier.run(),
                )
                running = [tasks.create_task(each) for each in parts]
                running += [
                    tasks.create_task(serve_http(application, address, key=key))
                    for application, address, key in doors
                ]
                await told_to_stop()
                log.info("node stops", height=node.chain.height)
                node.admission.release()
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as group:
            error = first_error(group)
            if not isinstance(error, Joined):
                log_end(log, error)
            raise error from group
    log.info("node stopped", height=node.chain.height)


@dataclass(frozen=True)
class Node:
    """The parts of a running node."""

    chain: Chain
    mempool: Mempool
    admission: Admission
    replica: Replica
    pledges: Pledges
    evidence: EvidencePool
    network: Network
    checkup: Checkup
    album: Album
    notary: Notary
    metrics: Metrics
    log: Log
    reader: Executor
    scrub: Scrub
    post: Post

    async def join(self) -> None:
        """Return when the state is to come from blocks; raise `Joined` when it came otherwise."""
        exchange = self.replica.exchange
        if exchange.joining is not None:
            await exchange.joining.run()
            exchange.joining, exchange.catchup.is_held = None, False
            exchange.catchup.check()


def _assemble(
    config: Config, keys: NodeKeys, genesis: SignedGenesis, closing: contextlib.ExitStack, log: Log
) -> Node:
    """Return the parts of a node, knowing each other; `closing` ends them in order."""
    signatures, metrics, mempool = VerifiedSignatures(), Metrics(), Mempool(config.mempool)
    key = keys.consensus if config.mode is Mode.VALIDATOR else None
    chain, journal, waiting = _open_files(config, key, genesis, signatures, closing, log)
    room = Room(config.data, config.least_free_bytes, lambda: chain.state.parameters.least_free_mb)
    worker, verifier, disk, reader = (  # last, so that they end before the files are closed
        closing.enter_context(ThreadPoolExecutor(1, name))
        for name in ("worker", "verifier", "disk", "reader")
    )
    pledges = Pledges(key, journal, chain, metrics, disk)
    evidence = EvidencePool.open(chain, waiting, metrics=metrics, log=log, disk=disk)
    replica = Replica(
        chain=chain,
        pledges=pledges,
        mempool=mempool,
        evidence=evidence,
        signatures=signatures,
        metrics=metrics,
        log=log,
        worker=worker,
        shortage=room.shortage,
    )
    admission = Admission(
        mempool=mempool,
        state=lambda: chain.state,
        signatures=signatures,
        metrics=metrics,
        worker=verifier,
        added=replica.transactions_added,
    )
    roster = Roster(chain, genesis.genesis, config.peers)
    exchange = Exchange(
        chain=chain,
        data=config.data,
        mempool=mempool,
        admission=admission,
        evidence=evidence,
        machine=replica,
        signatures=signatures,
        roster=roster,
        worker=verifier,
        reader=reader,
        log=log,
    )
    network = _network(config, keys, chain, roster, exchange, log)
    known = (chain, mempool, pledges, evidence, replica, network)
    checkup = Checkup(config.data, room.least_bytes, keys.node.public, *known)
    replica.connect(exchange, admission)
    evidence.added = lambda: replica.transactions_added(())
    album = closing.enter_context(_album(config, chain, metrics, log, room))
    admission.network, exchange.network, exchange.checkup = network, network, checkup
    _join(config, keys, genesis, chain, exchange, room, log)
    post = _post(config, keys, chain, exchange, metrics, room, closing, log)
    metrics.disk.watch(room.free_bytes, room.least_bytes, lambda: chain.damage)
    scrub = Scrub(config.data, chain, config.scrub_days, metrics=metrics, log=log, reader=reader)
    parts = (chain, mempool, admission, replica, pledges, evidence, network, checkup, album)
    return Node(*parts, Notary(chain, keys.checkpoint), metrics, log, reader, scrub, post)


def _post(
    config: Config,
    keys: NodeKeys,
    chain: Chain,
    exchange: Exchange,
    metrics: Metrics,
    room: Room,
    closing: contextlib.ExitStack,
    log: Log,
) -> Post:
    """Return the post of this node; validators relay."""
    neighbours, own = ChainNeighbours(chain, exchange), keys.node.public
    post = open_post(
        config.data,
        ChainRegistry(chain),
        neighbours,
        own_key=own,
        relays=lambda: config.mode is Mode.VALIDATOR and neighbours.is_relay(own),
        shortage=room.shortage,
        closing=closing,
        log=log,
    )
    exchange.post = post.carrier
    metrics.post.watch(post.office, MAX_BYTES)
    return post


@contextlib.contextmanager
def _album(config: Config, chain: Chain, metrics: Metrics, log: Log, room: Room) -> Iterator[Album]:
    """Make snapshots of the chain as it grows, and prune what they stand for, until the end."""
    then = Retention(config.data, chain, metrics, log).prune
    with contextlib.closing(Album(config.data, chain, metrics, log, room.shortage, then)) as album:
        chain.block_added = album.block_added
        yield album


def _join(
    config: Config,
    keys: NodeKeys,
    genesis: SignedGenesis,
    chain: Chain,
    exchange: Exchange,
    room: Room,
    log: Log,
) -> None:
    """Let a node without data begin with a snapshot of others, where it is set up so."""
    if config.sync is not Sync.SNAPSHOT:
        return
    if chain.height > 0:
        if chain.segments.first_height == 1:  # it did not begin with one
            log.info("sync.mode changes nothing: the node has data", height=chain.height)
        Part.give_up_all(config.data)
        return
    exchange.catchup.is_held = True
    exchange.joining = Joining(
        Peers(ask=exchange.ask_of, punish=exchange.punish, label=exchange.label, log=log),
        data=config.data,
        chain_id=genesis.chain_id,
        validators=genesis.genesis.validator_set,
        own=keys.node.public,
        install=lambda part, show: part.install(
            config.data, genesis.genesis, config.store_engine, show
        ),
        shortage=room.shortage,
        log=log,
    )


def _open_files(
    config: Config,
    key: SigningKey | None,
    genesis: SignedGenesis,
    signatures: VerifiedSignatures,
    closing: contextlib.ExitStack,
    log: Log,
) -> tuple[Chain, Journal | None, KeptFile]:
    """Return the chain, the journal of a validator, and the file of the evidence that waits."""
    chain = Chain.open(
        config.data,
        genesis.genesis,
        signatures,
        engine=config.store_engine,
        cache_bytes=config.store_cache_bytes,
    )
    closing.callback(chain.close)
    dispatch.require_known(chain.state.state, chain.height + 1)
    if (torn := chain.torn_tail) is not None:
        log.warning("torn tail of the blocks cut off", height=torn.height, bytes=torn.length)
    journal = None if key is None else _journal(config, key, chain, log)
    if journal is not None:
        closing.callback(journal.close)
    waiting = KeptFile(config.data, chain.header.chain_id, EVIDENCE_FILE)
    closing.callback(waiting.close)
    for each in waiting.lost():  # others have it too: every node keeps what waits
        log.warning("waiting evidence damaged", reason=each)
    return chain, journal, waiting


def _network(
    config: Config, keys: NodeKeys, chain: Chain, roster: Roster, exchange: Exchange, log: Log
) -> Network:
    return Network(
        seed=keys.node_seed,
        node_key=keys.node.public,
        listen=config.p2p_listen if config.mode is Mode.VALIDATOR else None,
        peers=roster.peers(),
        hello=_hello(config, chain),
        receiver=exchange,
        log=log,
    )


def _journal(config: Config, key: SigningKey, chain: Chain, log: Log) -> Journal:
    """Return this validator's journal; a lost one is replaced by one that may sign nothing yet."""
    identity = chain.header.chain_id + key.public
    directory = config.data / "journal"
    journal = Journal.open(directory, identity)
    if journal is None:
        journal = Journal.create(directory, identity, fence=UNKNOWN_FENCE)
        journal.doubt = "there was none"
    if journal.truncated:
        log.warning("torn tail of the journal cut off", bytes=journal.truncated, folder=directory)
    if journal.doubt:
        log.warning("journal not current", reason=journal.doubt, folder=directory)
    return journal


def _hello(config: Config, chain: Chain) -> Callable[[], Hello]:
    """Return what says who this node is; another start of it is another instance."""
    instance = secrets.token_bytes(16)
    software = importlib.metadata.version("depoli").encode()
    listening = None
    if config.mode is Mode.VALIDATOR:
        host, port = config.p2p_listen
        listening = Listening(host.encode(), port)
    return lambda: Hello(
        PROTOCOL_VERSION, chain.header.chain_id, chain.height, instance, software, listening
    )
