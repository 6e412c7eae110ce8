"""The wires between nodes: a TCP forwarder for each pair, which breaks them as it is told.

It stands between real nodes, so it sees TLS and forges nothing: what it can do is what a network
does. A *flow* is what one node says to another, whoever of the two has dialled.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from node.config import Address

CHUNK_BYTES: Final = 64 << 10
QUEUED_CHUNKS: Final = 64  # of a flow that is slow; then its sender waits
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset

T = TypeVar("T")


@dataclass
class Flow:
    """How what one node says reaches another."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: as fast as it goes
    passed: asyncio.Event = field(default_factory=asyncio.Event)  # unset: nothing comes through
    bytes: int = 0  # that came through


@dataclass(eq=False)
class Connection:
    """One that was dialled through the proxy, and its other end."""

    writers: list[asyncio.StreamWriter]

    def reset(self) -> None:
        """End both ends at once, as a machine that has lost its power does when it is back."""
        for writer in self.writers:
            if (tcp := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):  # it is closed already
                    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """All wires of one network. Its methods may be called from any thread; they act at once."""

    def __init__(
        self, targets: Mapping[str, Address], ports: Mapping[tuple[str, str], Address]
    ) -> None:
        self.labels = tuple(targets)
        self._targets, self._ports = targets, ports
        pairs = list(itertools.permutations(targets, 2))
        self._flows = {pair: Flow() for pair in pairs}
        self._cut: set[tuple[str, str]] = set()
        self._connections: dict[tuple[str, str], set[Connection]] = {pair: set() for pair in pairs}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._servers: list[asyncio.Server] = []
        for flow in self._flows.values():
            flow.passed.set()

    def start(self) -> None:
        """Listen on the port of every pair."""
        self._thread.start()
        self._await(self._listen)

    def stop(self) -> None:
        """End every connection, and listen no more."""
        self._await(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what befalls a network ------------------------------------------------------------------

    def cut(self, one: str, other: str) -> None:
        """Let two nodes reach each other no more: links are reset, and calls too."""
        self._do(self._cut_now, [(one, other)])

    def isolate(self, label: str) -> None:
        """Cut a node off from all others."""
        self._do(self._cut_now, [(label, each) for each in self.labels if each != label])

    def split(self, *groups: Iterable[str]) -> None:
        """Cut each group off from the others."""
        halves = itertools.combinations([tuple(group) for group in groups], 2)
        self._do(
            self._cut_now,
            [pair for left, right in halves for pair in itertools.product(left, right)],
        )

    def ring(self, labels: Iterable[str] | None = None, reach: int = 1) -> None:
        """Leave each node only those that are at most `reach` away from it on a circle."""
        circle = tuple(self.labels if labels is None else labels)
        n = len(circle)
        far = [
            (circle[i], circle[j])
            for i, j in itertools.combinations(range(n), 2)
            if min(j - i, n - (j - i)) > reach
        ]
        self._do(self._cut_now, far)

    def hold(self, source: str, target: str) -> None:
        """Let nothing that `source` says reach `target`, though the connection stands."""
        self._do(self._flows[source, target].passed.clear)

    def slow(
        self, source: str, target: str, *, delay_s: float = 0.0, bytes_per_s: float = 0.0
    ) -> None:
        """Let what `source` says come late, or slowly."""

        def set_now() -> None:
            flow = self._flows[source, target]
            flow.delay_s, flow.bytes_per_s = delay_s, bytes_per_s

        self._do(set_now)

    def reset(self, one: str, other: str) -> None:
        """End the connections of two nodes once; they may connect again."""
        self._do(self._reset_now, [(one, other)])

    def heal(self) -> None:
        """Let everything through again, at once."""

        def heal_now() -> None:
            self._cut.clear()
            for flow in self._flows.values():
                flow.delay_s = flow.bytes_per_s = 0.0
                flow.passed.set()

        self._do(heal_now)

    def connections(self, one: str, other: str) -> int:
        """Return how many connections two nodes have through the proxy."""
        return len(self._connections[one, other]) + len(self._connections[other, one])

    def carried(self, source: str, target: str) -> int:
        """Return how many bytes `source` has sent to `target`."""
        return self._flows[source, target].bytes

    # --- in the proxy's thread -------------------------------------------------------------------

    async def _listen(self) -> None:
        for (source, target), address in self._ports.items():
            self._servers.append(
                await asyncio.start_server(self._accepted(source, target), *address)
            )

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._reset_now(list(self._connections))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut_now(self, pairs: Iterable[tuple[str, str]]) -> None:
        for one, other in pairs:
            self._cut |= {(one, other), (other, one)}
            self._reset_now([(one, other)])

    def _reset_now(self, pairs: Iterable[tuple[str, str]]) -> None:
        for one, other in pairs:
            for connection in self._connections[one, other] | self._connections[other, one]:
                connection.reset()

    def _accepted(
        self, source: str, target: str
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection([writer])
            if (source, target) in self._cut:
                connection.reset()
                return
            self._connections[source, target].add(connection)
            try:
                # Refused where the node is down, as without us.
                far_reader, far_writer = await asyncio.open_connection(*self._targets[target])
                connection.writers.append(far_writer)
                if (source, target) in self._cut:
                    return
                async with asyncio.TaskGroup() as group:
                    out = self._forward(reader, far_writer, self._flows[source, target])
                    back = self._forward(far_reader, writer, self._flows[target, source])
                    group.create_task(out)
                    group.create_task(back)
            except* OSError:
                pass
            finally:
                connection.reset()
                self._connections[source, target].discard(connection)

        return serve

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: Flow
    ) -> None:
        """Carry bytes until one end is gone; raise OSError then, which ends the other way too."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)

        async def take() -> None:
            while data := await reader.read(CHUNK_BYTES):
                await queue.put((self._loop.time() + flow.delay_s, data))
            raise ConnectionResetError

        async def give() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if flow.bytes_per_s:
                    await asyncio.sleep(len(data) / flow.bytes_per_s)
                await flow.passed.wait()
                writer.write(data)
                await writer.drain()
                flow.bytes += len(data)

        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            group.create_task(give())

    # --- from other threads ----------------------------------------------------------------------

    def _do(self, doing: Callable[..., object], *arguments: object) -> None:
        async def call() -> None:
            doing(*arguments)

        self._await(call)

    def _await(self, doing: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await doing()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()
