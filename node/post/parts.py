"""The parts of a node's post, put together over its file."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from node.log import Log
from node.post.carrier import Carrier
from node.post.office import PostOffice
from node.post.outside import Neighbours, Registry
from node.post.routes import Routes
from node.post.shelf import Shelf, now
from node.post.store import PostStore


@dataclass(frozen=True, slots=True)
class Post:
    """The post of one node: for members, and for peers."""

    office: PostOffice
    carrier: Carrier


def open_post(
    folder: Path,
    registry: Registry,
    neighbours: Neighbours,
    *,
    own_key: bytes,
    relays: Callable[[], bool],
    shortage: Callable[[], str] = lambda: "",
    closing: ExitStack,
    log: Log,
) -> Post:
    """Return the post over the file in `folder`; `closing` ends it. Raises `NoRoom`."""
    store = PostStore(folder, registry.chain_id, now())
    closing.callback(store.close)
    if store.set_aside:
        log.warning("post file damaged, begun anew", set_aside=store.set_aside)
    shelf = Shelf(store, closing.enter_context(ThreadPoolExecutor(1, "post")), shortage)
    routes = Routes(shelf, registry, neighbours, own_key=own_key, relays=relays)
    carrier = Carrier(shelf, routes, registry, neighbours, log)
    return Post(PostOffice(shelf, routes, registry, carrier), carrier)
