"""A gateway on a free port of this machine, over a shop's vault and a node in memory."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from node.client.client import NodeClient
from node.client.errors import NotFound, Unreachable
from node.client.inbox import Reader
from node.client.mail import MailboxView
from node.client.post import Post
from node.client.queue import Windows
from node.gateway.application import application
from node.gateway.desk import Desk
from node.gateway.doors import Doors
from node.initialise import give_token
from node.log import Level, Log
from node.tokens import Scope
from tests.contracts.world import id_of
from tests.node.client import desk as desks
from tests.node.client.desk import MEMBERS, TODAY, MemoryNode

BEATS = 200  # of a stream, once the node speaks again


class AwayNode(MemoryNode):
    """A node that can be away, and has no receipts."""

    is_away = False

    def __init__(self) -> None:
        super().__init__()
        self.speaks = threading.Event()  # on its streams again, after a sign of life

    async def submit(self, raws: Any, *, wait: int = 0) -> Any:  # noqa: ANN401
        self._require_there()
        return await super().submit(raws, wait=wait)

    async def claim(self, id_: bytes) -> Any:  # noqa: ANN401
        self._require_there()
        return await super().claim(id_)

    async def head(self) -> Any:  # noqa: ANN401
        self._require_there()
        return await super().head()

    async def receipt(self, transaction_id: bytes, position: int) -> bytes:
        raise NotFound(f"no receipt of {transaction_id.hex()} {position}")

    async def mailbox(self) -> MailboxView:
        raise Unreachable("no post comes here")

    def stream(
        self, path: str, query: Mapping[str, str], *, last_id: str
    ) -> Iterator[tuple[str, bytes]]:
        del path, query, last_id
        yield "", b""
        assert self.speaks.wait(60)
        for _ in range(BEATS):
            yield "", b""

    def hang_up(self) -> None:
        """Leave the other streams as they are."""

    def _require_there(self) -> None:
        if self.is_away:
            raise Unreachable("no node answers", hint="start it")


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Gateway:
    folder: Path
    node: AwayNode
    port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "both",  # noqa: S107 - its name
        **headers: str,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {self.tokens.get(token, token)}")
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        with contextlib.closing(connection):
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            content = answer.read()
        is_json = "json" in answer.headers.get_content_type()
        shown = json.loads(content) if is_json else content.decode()
        return Answer(answer.status, shown, {k.lower(): v for k, v in answer.getheaders()})

    def get(self, path: str, **options: Any) -> Answer:  # noqa: ANN401
        return self.ask("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> Answer:  # noqa: ANN401
        return self.ask("POST", path, body, **options)


@contextlib.contextmanager
def open_gateway(folder: Path) -> Iterator[Gateway]:
    made = Gateway(folder, AwayNode())
    book = folder / "gateway.toml"
    for name, scopes in (("both", tuple(Scope)[:2]), ("reads", (Scope.READ,))):
        path = folder / f"{name}.token"
        if path.exists():
            made.tokens[name] = path.read_text().strip()
            continue
        give_token(book, path, member=id_of("shop"), scopes=frozenset(scopes), label=name)
        made.tokens[name] = path.read_text().strip()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        with desks.open_vault(folder, "shop") as vault:
            sender = desks.sender("shop", made.node)

            def posted(node: NodeClient) -> Post:
                reader = Reader(id_of("shop"), MEMBERS, desks.seed_of("shop"))
                return Post(vault, node, sender, reader, say=lambda _: None)

            desk = Desk(
                sender, "shop", MEMBERS, vault, "http://memory", lambda: made.node, posted,
                Windows(3600), lambda: int(time.time()),
                lambda: TODAY, lambda content: content.decode(), lambda content: content,
            )  # fmt: skip
            with (folder / "log").open("w") as stream:
                log = Log(Level.DEBUG, stream)
                runner = web.AppRunner(application(desk, Doors(book), log))
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                made.port = runner.addresses[0][1]
                started.set()
                await over.wait()
                await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(30)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
