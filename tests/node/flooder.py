"""One Byzantine validator that sends what looks valid, as fast as it is taken, and strangers."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator

from consensus import messages
from consensus.messages import Commit, Prepare, Status
from ledger.encoding import encode
from ledger.keys import SigningKey
from ledger.transaction import Transaction
from node import tls
from node.link import PROTOCOL_VERSION, Channel, Hello, Transactions
from node.sync import PullBlocks, PullMempool

BATCH = 50


def frame(channel: Channel, payload: bytes) -> bytes:
    return len(payload).to_bytes(4) + bytes((channel,)) + payload


class Flooder:
    """A validator's keys, and no manners. `height` is the height that others decide."""

    def __init__(self, *, seed: bytes, key: SigningKey, index: int, chain_id: bytes) -> None:
        self._seed, self._key, self._index, self._chain_id = seed, key, index, chain_id
        self.height = 1
        self.sent = self.handshakes = self.links = 0
        self._round = 0

    def votes(self) -> Iterator[bytes]:
        """Yield signed votes for blocks that nobody proposed, each of a higher round."""
        for kind in (Prepare, Commit):
            self._round += 1
            for height in (self.height, self.height + 1):
                made = kind(height, self._round, secrets.token_bytes(32), self._index, bytes(64))
                signature = self._key.sign(messages.signing_bytes(made, self._chain_id))
                vote = kind(height, made.round, made.block_id, self._index, signature)
                yield frame(Channel.CONSENSUS, encode(vote))

    def rest(self, *known: Transaction) -> Iterator[bytes]:
        """Yield what is not signed: statuses, requests, and transactions that all have."""
        status = Status(self.height, self._round, self._round, bytes(32), (), ())
        yield frame(Channel.CONSENSUS, encode(status))
        yield frame(Channel.PULL, encode(PullBlocks(1, 1 << 40)))
        yield frame(Channel.PULL, encode(PullMempool()))
        if known:
            raws = tuple(each.raw for each in known) * (256 // len(known))
            yield frame(Channel.TRANSACTIONS, encode(Transactions(raws)))

    async def flood(
        self,
        address: tuple[str, int],
        server_key: bytes,
        *known: Transaction,
        standing: asyncio.Event | None = None,
    ) -> None:
        """Send to one node until cancelled, whatever becomes of the connection.

        `standing` is set once the node took a first lot of it.
        """
        context = tls.context(server=False, seed=self._seed, trusted=[server_key])
        hello = Hello(
            PROTOCOL_VERSION,
            self._chain_id,
            self.height - 1,
            secrets.token_bytes(16),
            b"flood",
            None,
        )
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(*address, ssl=context)
                listening = asyncio.create_task(self._listen(reader))
                self.links += 1
                try:
                    writer.write(frame(Channel.HELLO, encode(hello)))
                    while not listening.done():
                        for number in range(BATCH):
                            frames = self.rest(*known) if number % 10 == 0 else self.votes()
                            for each in frames:
                                writer.write(each)
                                self.sent += 1
                        await writer.drain()
                        if standing is not None:
                            standing.set()
                        await asyncio.sleep(0)  # which drain does only where a buffer is full
                finally:
                    listening.cancel()
                    writer.transport.abort()
            await asyncio.sleep(0.05)  # between two tries to get in again

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            head = await reader.readexactly(5)
            payload = await reader.readexactly(int.from_bytes(head[:4]))
            if head[4] == Channel.CONSENSUS:
                self.height = max(self.height, messages.decode(payload).height)

    async def knock(
        self, address: tuple[str, int], server_key: bytes, *, pause_s: float = 0
    ) -> None:
        """Shake hands with keys that nobody knows until cancelled."""
        while True:
            context = tls.context(server=False, seed=secrets.token_bytes(32), trusted=[server_key])
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*address, ssl=context)
                with contextlib.suppress(OSError):
                    await reader.read()
                writer.transport.abort()
            self.handshakes += 1
            await asyncio.sleep(pause_s)  # at zero, the others' turn
