"""The peers that a joining node asks: one answer for each question, and whom to ask no more.

Who is silent is avoided for a while, longer each time; who sends what no honest peer sends is a
liar, and its link ends too.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from node.errors import NodeError
from node.log import Log
from node.penalties import Penalties
from node.sync import Chunk, Offer, PullChunk, PullSnapshot

AVOIDED_S: Final = 5.0  # at first, doubled each time
MAX_AVOIDED_S: Final = 300.0

Pull = PullSnapshot | PullChunk
Reply = Offer | Chunk


class NoAnswer(NodeError):
    """A peer did not give what it was asked for; it need not be a liar."""


class LinkDown(NoAnswer):
    """The link to a peer went down before it answered."""


class Peers:
    """Those that are linked, by node key.

    `ask` sends a request to a peer; `punish` ends the link to a liar; `label` names a peer for
    people.
    """

    def __init__(
        self,
        *,
        ask: Callable[[bytes, Pull], bool],
        punish: Callable[[bytes, str], None],
        label: Callable[[bytes], str],
        log: Log,
    ) -> None:
        self._ask, self._punish, self.label, self._log = ask, punish, label, log
        self._awaited: dict[tuple[bytes, Pull], asyncio.Future[Reply]] = {}
        self._avoided = Penalties(AVOIDED_S, MAX_AVOIDED_S)
        self.links: set[bytes] = set()
        self.liars: set[bytes] = set()  # who ever lied

    def linked(self, key: bytes) -> None:
        """Learn that a link is up."""
        self.links.add(key)

    def unlinked(self, key: bytes) -> None:
        """Learn that a link is down: what its peer was asked for it does not answer."""
        self.links.discard(key)
        for (peer, _), answer in self._awaited.items():
            if peer == key and not answer.done():
                answer.set_exception(LinkDown("its link is down"))

    def came(self, key: bytes, reply: Reply) -> bool:
        """Take an answer; return whether this node waits for it."""
        wanted: Pull
        if isinstance(reply, Offer):
            wanted = PullSnapshot(reply.most)
        else:
            wanted = PullChunk(reply.height, reply.number)
        answer = self._awaited.get((key, wanted))
        if answer is None or answer.done():
            return False
        answer.set_result(reply)
        return True

    async def offer(self, key: bytes, most: int, patience_s: float) -> Offer:
        """Return the newest snapshot up to a height that a peer offers; raise `NoAnswer`."""
        answer = await self._answer(key, PullSnapshot(most), patience_s)
        assert isinstance(answer, Offer)
        return answer

    async def chunk(self, key: bytes, height: int, number: int, patience_s: float) -> bytes:
        """Return a chunk that a peer gives, empty where it has none; raise `NoAnswer`."""
        answer = await self._answer(key, PullChunk(height, number), patience_s)
        assert isinstance(answer, Chunk)
        return answer.data

    def is_avoided(self, key: bytes) -> bool:
        """Return whether a peer is not to be asked now."""
        return self._avoided.left(key) > 0

    @property
    def avoided(self) -> dict[str, str]:
        """Who is not asked now, by label, and why."""
        known = self.links | self.liars
        return {self.label(k): self._avoided.reason(k) for k in known if self.is_avoided(k)}

    @property
    def faults(self) -> dict[str, str]:
        """Who ever lied, by label, and what it did last."""
        return {self.label(key): self._avoided.reason(key) for key in self.liars}

    def avoid(self, key: bytes, fault: str) -> None:
        """Ask a peer nothing for a while."""
        seconds = self._avoided.add(key, fault)
        self._log.warning(
            "peer avoided in joining", peer=self.label(key), reason=fault, seconds=seconds
        )

    def lies(self, key: bytes, fault: str) -> None:
        """Hold against a peer what no honest one sends."""
        self.liars.add(key)
        self.avoid(key, fault)
        self._punish(key, fault)

    async def _answer(self, key: bytes, wanted: Pull, patience_s: float) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited[key, wanted] = answer
        try:
            if not self._ask(key, wanted):
                raise LinkDown("its link is down")
            async with asyncio.timeout(patience_s):
                return await answer
        except TimeoutError:
            raise NoAnswer(f"no answer within {patience_s:.1f} s") from None
        finally:
            del self._awaited[key, wanted]
