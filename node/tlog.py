"""The log as others read logs, under /tlog: C2SP checkpoints, tiles and bundles of entries.

Checkpoints, hashes and certificates hold no entry: they are for anybody. Entries are for those who
may read all. What a path names never changes, but for the checkpoint.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from aiohttp import web

from ledger.decided import to_json
from ledger.encoding import encode
from ledger.errors import Malformed
from ledger.tiles import ENTRIES, Tile, encode_bundle, parse_path, tile_bytes
from node.asking import parse_digits, require
from node.chain import Chain
from node.notary import Notary
from node.problems import Problem
from node.tokens import Scope

PREFIX: Final = "/tlog"
_BUNDLES: Final = f"{PREFIX}/tile/entries/"
_FOR_EVER: Final = "max-age=31536000, immutable"
T = TypeVar("T")


def is_open(path: str) -> bool:
    """Return whether what is at this path is for anybody, with a token or without."""
    return path.startswith(f"{PREFIX}/") and not path.startswith(_BUNDLES)


class TransparencyLog:
    """The handlers, over a chain; `reader` is where it is read."""

    def __init__(self, chain: Chain, notary: Notary, reader: Executor) -> None:
        self._chain, self._notary, self._reader = chain, notary, reader

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add ours to an application's."""
        router.add_get(f"{PREFIX}/checkpoint", self.checkpoint)
        router.add_get(f"{PREFIX}/commit/{{height}}", self.commit)
        router.add_get(_BUNDLES + "{rest:.+}", self.bundle)
        router.add_get(f"{PREFIX}/tile/{{rest:.+}}", self.tile)

    async def checkpoint(self, _request: web.Request) -> web.Response:
        """Give the checkpoint of the last block, signed by this validator."""
        note = self._notary.note()
        if note is None:
            reason = "ask a node that validates now, once there is a block"
            raise Problem(404, "not-found", "this node signs no checkpoint", reason)
        text, headers = note.encode().decode(), {"Cache-Control": "no-cache"}
        return web.Response(text=text, headers=headers)  # text/plain; charset=utf-8

    async def commit(self, request: web.Request) -> web.Response:
        """Show who committed the block of a checkpoint, from genesis on."""
        height = parse_digits(request.match_info["height"], "height")
        if not 1 <= height <= self._chain.height:
            raise Problem(404, "not-found", f"there is no block {height} yet")
        decided = await self._in_reader(self._chain.decided, height)
        headers = {"Cache-Control": f"public, {_FOR_EVER}"}
        return web.Response(text=to_json(decided), headers=headers, content_type="application/json")

    async def tile(self, request: web.Request) -> web.Response:
        """Give the hashes in a tile."""
        tile = self._tile(f"tile/{request.match_info['rest']}")
        data = await self._in_reader(tile_bytes, tile, self._chain.log_node)
        return _bytes(data, f"public, {_FOR_EVER}")

    async def bundle(self, request: web.Request) -> web.Response:
        """Give entries to who may read all."""
        require(request, Scope.AUDIT)
        bundle = self._tile(f"tile/entries/{request.match_info['rest']}")
        response = _bytes(await self._in_reader(self._bundle, bundle), f"private, {_FOR_EVER}")
        response.enable_compression()
        return response

    def _tile(self, path: str) -> Tile:
        try:
            tile = parse_path(path)
        except Malformed as error:
            raise Problem(400, "malformed", str(error)) from None
        if not tile.is_in(self._chain.header.log_size):
            raise Problem(404, "not-found", f"the log is not so long that it has {path}")
        return tile

    def _bundle(self, bundle: Tile) -> bytes:
        assert bundle.level == ENTRIES
        entries = self._chain.entries(bundle.first, bundle.width)
        return encode_bundle([encode(entry) for entry in entries])

    async def _in_reader(self, doing: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, doing, *arguments)


def _bytes(data: bytes, caching: str) -> web.Response:
    headers = {"Cache-Control": caching}
    return web.Response(body=data, headers=headers, content_type="application/octet-stream")
