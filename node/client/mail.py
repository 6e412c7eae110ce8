"""Post in the HTTP client: envelopes are handed in, collected and dropped."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from ledger.encoding import encode
from ledger.envelope import MAX_ENVELOPE_BYTES
from node.client.connection import batches
from node.client.errors import ClientError
from node.client.trouble import Trouble

MAX_LETTERS: Final = 100  # in one answer, and in one request
MAX_IDS: Final = 500
MAX_BATCH_BYTES: Final = 3 << 20  # a node takes bodies of 4 MiB
MAX_WAIT_S: Final = 60

T = TypeVar("T")

Hex16 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
HexKey = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}([0-9a-f]{2})?$")]


class PostView(msgspec.Struct, frozen=True):
    """How an envelope stands, as far as the node knows that it was handed in at."""

    id: Hex32
    number: int
    recipient: Hex16
    expires: int
    state: Literal["waiting", "handed-on", "collected", "expired"]
    tries: int = 0
    trouble: str | None = None  # why the last try to hand it on failed


class Letter(msgspec.Struct, frozen=True):
    """An envelope that waits for its recipient: verify it, the node may be anybody's."""

    number: int  # of this node: it grows
    id: Hex32
    envelope: Annotated[bytes, msgspec.Meta(max_length=MAX_ENVELOPE_BYTES)]  # base64 in JSON
    key: HexKey | None = None  # that signs for the sender, where the node knows


class MailView(msgspec.Struct, frozen=True):
    """What waits, in its order; `cursor` is the last number, None where nothing waits."""

    envelopes: Annotated[tuple[Letter, ...], msgspec.Meta(max_length=MAX_LETTERS)]
    cursor: int | None = None


class MailboxView(msgspec.Struct, frozen=True):
    """To which node a member has its post brought."""

    node: Hex32  # the key of the node that answers
    here: bool  # whether that is where it is brought
    mailbox: Hex32 | None = None  # the node that the member named; None: it named none
    issued: int | None = None


class _Posted(msgspec.Struct, frozen=True):
    """How one of several envelopes stands, or why it is refused."""

    envelope: PostView | None = None
    problem: Trouble | None = None


class _AllPosted(msgspec.Struct, frozen=True):
    envelopes: tuple[_Posted, ...]


class _Dropped(msgspec.Struct, frozen=True):
    unknown: tuple[Hex32, ...]


class PostCalls(ABC):
    """The part of a node's client that is about post."""

    @abstractmethod
    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        data: bytes | None = None,
        allow: tuple[int, ...] = (200,),
    ) -> tuple[int, bytes]: ...

    @abstractmethod
    def parse(self, body: bytes, type_: type[T]) -> T:
        """Return what the node answered; raise `BadAnswer`."""

    @abstractmethod
    def refusal(self, trouble: Trouble) -> ClientError:
        """Return what it means that the node refused one of several things."""

    @abstractmethod
    def bad(self, reason: str) -> ClientError:
        """Return the error that an answer is not what the API promises."""

    async def post(self, envelopes: Sequence[bytes]) -> list[PostView | ClientError]:
        """Hand in encoded envelopes; return how each stands, which is on the node's disk then.

        Or why that one is refused: `NetworkRefused` (422: for good; 429: too much waits). The same
        again is safe: what was handed on and is not acknowledged is sent again. Raises
        `Unreachable`; what was handed in by then stands at the node.
        """
        posted: list[PostView | ClientError] = []
        for batch in batches(envelopes, count=MAX_LETTERS, size=MAX_BATCH_BYTES):
            body = (await self._ask("POST", "/post/batch", {}, data=encode(tuple(batch)),
                                    allow=(202,)))[1]  # fmt: skip
            answers = self.parse(body, _AllPosted).envelopes
            if len(answers) != len(batch):
                raise self.bad(f"{len(answers)} results for {len(batch)} envelopes")
            for each in answers:
                refused = self.refusal(each.problem or Trouble("refused without a reason"))
                posted.append(each.envelope or refused)
        return posted

    async def mail(self, after: int = 0, *, wait: int = 0, limit: int = MAX_LETTERS) -> MailView:
        """Return what waits for the token's member above a number; `wait` is in seconds."""
        query = {"after": str(after), "limit": str(limit), "wait": str(min(wait, MAX_WAIT_S))}
        return self.parse((await self._ask("GET", "/post", query))[1], MailView)

    async def drop_mail(self, ids: Sequence[bytes]) -> list[bytes]:
        """Let the node forget envelopes that are safe in the vault; return those it never had."""
        unknown: list[bytes] = []
        for start in range(0, len(ids), MAX_IDS):
            part = tuple(ids[start : start + MAX_IDS])
            body = (await self._ask("POST", "/post/drop", {}, data=encode(part)))[1]
            unknown += map(bytes.fromhex, self.parse(body, _Dropped).unknown)
        return unknown

    async def post_state(self, id_: bytes) -> PostView:
        """Return how an envelope of the token's member stands; raise `NotFound`."""
        return self.parse((await self._ask("GET", f"/post/{id_.hex()}", {}))[1], PostView)

    async def mailbox(self) -> MailboxView:
        """Return to which node the post of the token's member is brought."""
        return self.parse((await self._ask("GET", "/post/mailbox", {}))[1], MailboxView)

    async def place_mailbox(self, mailbox: bytes) -> None:
        """Have the member's post brought to this node: an encoded `Mailbox` that names it."""
        await self._ask("PUT", "/post/mailbox", {}, data=mailbox, allow=(204,))
