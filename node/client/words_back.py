"""Our signed words on what came by post, on their way back to who sent it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from node.client import deliveries, memberkeys, sealing
from node.client.acknowledgement import Acknowledgement
from node.client.client import NodeClient
from node.client.errors import ClientError, Unreachable
from node.client.inbox import Reader
from node.client.mail import MAX_LETTERS
from node.client.transactions import Say, Sender

Clock = Callable[[], int]


class Words:
    """A member's words, by its node."""

    def __init__(
        self, node: NodeClient, us: Sender, reader: Reader, say: Say, clock: Clock
    ) -> None:
        self._node, self._us, self._reader, self._say, self._clock = node, us, reader, say, clock

    async def send(self, words: Sequence[Acknowledgement], node: NodeClient) -> None:
        """Send our words back, sealed; the same word may go twice, in two envelopes.

        Whom one does not reach sends again, and is answered again.
        """
        made: list[tuple[bytes, bytes]] = []  # for whom, envelope
        for word in words:
            with self._telling(word.sender):
                if (envelope := await self._sealed(word, node)) is not None:
                    made.append((word.sender, envelope))
        for first in range(0, len(made), MAX_LETTERS):
            part = made[first : first + MAX_LETTERS]
            with self._telling(*dict.fromkeys(sender for sender, _ in part)):
                stand = await self._node.post([envelope for _, envelope in part])
                for (sender, _), stands in zip(part, stand, strict=True):
                    with self._telling(sender):
                        if isinstance(stands, ClientError):
                            raise stands

    @contextlib.contextmanager
    def _telling(self, *senders: bytes) -> Iterator[None]:
        try:
            yield
        except Unreachable:
            raise
        except ClientError as error:  # the sender was suspended, say, or too much waits for it
            for sender in senders:
                self._say(f"{self._label(sender)} is told nothing: {error}")

    async def _sealed(self, word: Acknowledgement, node: NodeClient) -> bytes | None:
        key = await memberkeys.sealing_key(node, self._reader.members.genesis, word.sender)
        if key is None:
            self._say(f"{self._label(word.sender)} has no sealing key, and is told nothing")
            return None
        content = sealing.seal_to(word.to_json(), word.sender, key)
        expires = self._clock() + deliveries.LIFETIME_S
        return deliveries.write(self._us, word.sender, content, expires=expires).raw

    def _label(self, member: bytes) -> str:
        return self._reader.members.label_of(member)
