"""The HTTP client of a node's `/v1` API; its errors say what to do.

The node may be another organisation's: its answers are bounded and parsed, and what matters in them
is verified elsewhere (`disclosure`, receipts), never believed.
"""

import http.client
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec

from ledger.encoding import encode
from node.client.connection import Connection, batches
from node.client.errors import ClientError
from node.client.mail import MAX_BATCH_BYTES, PostCalls
from node.client.trouble import MESSAGE, Trouble, problem, refusal, unreachable

MAX_ANSWER_BYTES: Final = 64 << 20
MAX_BATCH: Final = 1024  # transactions in one request
MAX_WAIT_S: Final = 60
CONNECT_S: Final = 10
ANSWER_S: Final = 30  # beyond what the node was asked to wait
PAGE: Final = 500
MAX_EVENT_BYTES: Final = 1 << 20
QUIET_S: Final = 45.0  # without a word a stream is dead: nodes say something every 15 s

T = TypeVar("T")


Hex16 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
HexKey = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}([0-9a-f]{2})?$")]


class BadAnswer(ClientError):
    """A node's answer is not what its API promises."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url} answers what no node of this version answers: {reason}",
            hint="look at `node` in client.toml, and compare versions with the node's operator",
        )


class CallOutcome(msgspec.Struct, frozen=True):
    """What became of one call; code 0 is applied."""

    code: int
    name: str
    evidence: tuple[int, ...] = ()
    text: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What a node says of a transaction."""

    status: Literal["pending", "committed", "rejected"]
    id: str | None = None  # in hexadecimal; None where the node could not read it
    height: int | None = None
    time: int | None = None
    outcomes: tuple[CallOutcome, ...] = ()
    problem: Trouble | None = None


class _Submitted(msgspec.Struct, frozen=True):
    transactions: tuple[Sent, ...]


class MarkView(msgspec.Struct, frozen=True):
    """A mark and the part of the equipment that it stands for."""

    part: Literal["lenses", "frame"]
    mark: Hex32


class ClaimView(msgspec.Struct, frozen=True):
    """A claim as it stands on the chain, bytes in hexadecimal."""

    id: Hex32
    submitter: Hex16
    payer: Hex16
    leg: Literal["base", "complementary"]
    prescription: Hex32
    document: Hex32
    amount: Hex32
    state: str
    marks: tuple[MarkView, ...]
    accepted_amount: Hex32 | None = None
    reason: str | None = None
    settlement: Hex32 | None = None
    height: int | None = None
    time: int | None = None
    transaction: Hex32 | None = None
    position: int | None = None
    signed_by: HexKey | None = None  # key that signed its submission; in a list it is not told
    authorisation: Hex32 | None = None  # prior agreement that it consumes

    @property
    def due(self) -> str:
        """The commitment to what is due if it is accepted."""
        return self.amount if self.accepted_amount is None else self.accepted_amount


class SettlementView(msgspec.Struct, frozen=True):
    """A settlement as it stands on the chain, bytes in hexadecimal."""

    id: Hex32
    payer: Hex16
    beneficiary: Hex16
    direction: Literal["payment", "repayment"]
    count: int
    sum: Hex32
    state: str
    payment: Hex32 | None = None
    ground: str | None = None  # of the last dispute
    since: int | None = None  # unix seconds: when it came into its state
    due: int | None = None  # by when somebody has to answer
    height: int | None = None
    time: int | None = None
    transaction: Hex32 | None = None
    position: int | None = None


class ValidatorView(msgspec.Struct, frozen=True):
    """A validator and its keys, in hexadecimal."""

    member: Hex16
    consensus_key: Hex32
    checkpoint_key: Hex32
    node_key: Hex32


class EraView(msgspec.Struct, frozen=True):
    """Who ran validators from a height on, in the order of their turns."""

    number: int
    from_height: int
    members: tuple[Hex16, ...]


class ValidatorsView(msgspec.Struct, frozen=True):
    """Who votes at `height`, who at the next, and who voted before."""

    height: int
    quorum: int
    validators: tuple[ValidatorView, ...]
    next: tuple[ValidatorView, ...]
    eras: tuple[EraView, ...]


class ScheduledView(msgspec.Struct, frozen=True):
    """A version of the rules that is to come."""

    version: int
    not_before: int  # height at which it may be announced
    from_height: int | None  # at which it is in force, None: too few are ready


class ReadinessView(msgspec.Struct, frozen=True):
    """Which version of the rules a validator's member signalled last, 0: none."""

    member: Hex16
    version: int


class UpgradeView(msgspec.Struct, frozen=True):
    """Which rules are in force and to come, who is ready, and which the node knows."""

    height: int
    known: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    in_force: int
    scheduled: ScheduledView | None
    quorum: int
    validators: tuple[ReadinessView, ...]


class CertificateView(msgspec.Struct, frozen=True):
    """The certificate that vouches for a key: hash and key, in hexadecimal."""

    hash: Hex32
    public: str
    height: int


class KeyView(msgspec.Struct, frozen=True):
    """A key of a member, in hexadecimal; good at heights [from_height, until_height)."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    role: Literal["transaction", "consensus", "checkpoint", "sealing", "tls", "human"]
    algorithm: Literal["ed25519", "p256"]
    public: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64}|[0-9a-f]{66})$")]
    from_height: int
    until_height: int | None = None
    certificate: CertificateView | None = None

    def is_in_force(self, height: int) -> bool:
        """Return whether the key is good at `height`."""
        return self.from_height <= height and not self.has_ended(height)

    def has_ended(self, height: int) -> bool:
        """Return whether the key is good no more."""
        return self.until_height is not None and self.until_height <= height


class DelegationView(msgspec.Struct, frozen=True):
    """To whom a member delegates what, until when."""

    delegate: Hex16
    scope: tuple[str, ...]
    since: int
    until: int
    in_force: bool


class StandingView(msgspec.Struct, frozen=True):
    """Where a member stood from a height on."""

    from_height: int
    status: str


class MemberView(msgspec.Struct, frozen=True):
    """A member as the chain has it; `height` is that of the next block."""

    id: Hex16
    family: str
    country: str
    status: str
    since: int
    height: int
    label: str | None = None
    history: tuple[StandingView, ...] = ()
    keys: tuple[KeyView, ...] = ()
    delegations: tuple[DelegationView, ...] = ()

    @property
    def sealing_key(self) -> bytes | None:
        """The key that messages are sealed to: the newest in force, None where there is none."""
        held = (key for key in self.keys if key.role == "sealing" and key.is_in_force(self.height))
        newest = max(held, key=lambda key: key.from_height, default=None)
        return None if newest is None else bytes.fromhex(newest.public)


class Head(msgspec.Struct, frozen=True):
    """A node's newest block."""

    height: int
    hash: Hex32


class _Page(msgspec.Struct, frozen=True):
    claims: tuple[ClaimView, ...] = ()
    settlements: tuple[SettlementView, ...] = ()
    cursor: int | str | None = None


class NodeClient(PostCalls):
    """One node's API, as one member with its token. Use it in an `async with` statement."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"}
        self._connection = Connection(self._url, headers, connect_s=CONNECT_S)

    async def __aenter__(self) -> Self:
        """Return the client; nothing is opened yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def hang_up(self) -> None:
        """End what `stream` waits for in another thread, and the connection."""
        self._connection.hang_up()

    async def submit(self, raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        """Send transactions, in as many requests as they need; say what became of each, in order.

        Sending one again changes nothing. `wait` is in seconds, for each request. Raises
        `Unreachable`, `NetworkRefused` (429: the node's queue is full), `ClientError`.
        """
        results: list[Sent] = []
        for batch in batches(raws, count=MAX_BATCH, size=MAX_BATCH_BYTES):
            query = {"wait": str(min(wait, MAX_WAIT_S))}
            status, body = await self._ask(
                "POST", "/transactions", query, data=encode(tuple(batch)), allow=(200, 202, 422)
            )
            answer = self.parse(body, _Submitted).transactions if _has(body) else ()
            if len(answer) != len(batch):
                if status >= 400:  # noqa: PLR2004
                    raise problem(self._url, status, body)
                raise BadAnswer(self._url, f"{len(answer)} results for {len(batch)} transactions")
            results += answer
        return results

    async def transaction(self, id_: bytes, *, wait: int = 0) -> Sent:
        """Return what became of a transaction; raise `NotFound`."""
        query = {"wait": str(min(wait, MAX_WAIT_S))}
        return await self.get(f"/transactions/{id_.hex()}", Sent, query)

    async def claim(self, id_: bytes) -> ClaimView:
        """Return a claim; raise `NotFound`."""
        return await self.get(f"/claims/{id_.hex()}", ClaimView)

    async def claims_by_id(self, ids: Sequence[bytes]) -> dict[bytes, ClaimView]:
        """Return claims by their ids, in as many requests as they need.

        Left out is what is not there, not for us, or not known at the node: `claim` tells which.
        """
        found: dict[bytes, ClaimView] = {}
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            _, body = await self._ask("POST", "/claims/query", {}, data=encode(tuple(part)))
            found |= {bytes.fromhex(each.id): each for each in self.parse(body, _Page).claims}
        return {id_: found[id_] for id_ in ids if id_ in found}

    async def claims(self, state: str | None = None) -> AsyncIterator[ClaimView]:
        """Yield the claims that concern the token's member, oldest first; of one state, or all."""
        async for page in self._pages("/claims", state):
            for claim in page.claims:
                yield claim

    async def settlements(self, state: str | None = None) -> AsyncIterator[SettlementView]:
        """Yield the settlements that concern the token's member, likewise."""
        async for page in self._pages("/settlements", state):
            for settlement in page.settlements:
                yield settlement

    async def settlement_claims(self, id_: bytes) -> AsyncIterator[ClaimView]:
        """Yield the claims of a settlement, by ascending id; raise `NotFound`."""
        async for page in self._pages(f"/settlements/{id_.hex()}/claims", None):
            for claim in page.claims:
                yield claim

    async def _pages(self, path: str, state: str | None) -> AsyncIterator[_Page]:
        cursor: int | str | None = None
        while True:
            query = {"limit": str(PAGE)}
            if state is not None:
                query["state"] = state
            if cursor is not None:
                query["cursor"] = str(cursor)
            page = await self.get(path, _Page, query)
            yield page
            if page.cursor is None or page.cursor == cursor:
                return
            cursor = page.cursor

    async def settlement(self, id_: bytes) -> SettlementView:
        """Return a settlement; raise `NotFound`."""
        return await self.get(f"/settlements/{id_.hex()}", SettlementView)

    async def receipt(self, transaction_id: bytes, position: int) -> bytes:
        """Return the receipt of one call as the JSON file that outsiders check."""
        path = f"/receipts/{transaction_id.hex()}/{position}"
        return (await self._ask("GET", path, {}))[1]

    async def consistency(self, first: int, last: int | None) -> bytes:
        """Return the proof that the log at a height begins that at a later one, None: the last."""
        query = {"from": str(first)} | ({} if last is None else {"to": str(last)})
        return (await self._ask("GET", "/consistency", query))[1]

    async def history(self, member: bytes, first: int, last: int | None) -> bytes:
        """Return all entries that concern a member between two heights, with the proof of it."""
        query = {"member": member.hex(), "from": str(first)}
        query |= {} if last is None else {"to": str(last)}
        return (await self._ask("GET", "/history", query))[1]

    async def validators(self, first_era: int = 0) -> ValidatorsView:
        """Return who runs validators, and the eras from this one on, a hundred at most."""
        return await self.get("/validators", ValidatorsView, {"from": str(first_era)})

    async def upgrade(self) -> UpgradeView:
        """Return which rules are in force and to come, and which the node knows."""
        return await self.get("/upgrade", UpgradeView)

    async def member(self, id_: bytes) -> MemberView:
        """Return a member with its keys and delegations; raise `NotFound`."""
        return await self.get(f"/members/{id_.hex()}", MemberView)

    async def head(self) -> Head:
        """Return the newest block that the node has."""
        return await self.get("/status", Head)

    async def status(self) -> dict[str, Any]:
        """Return where the node is: height, header, time, chain id."""
        return await self.get("/status", dict[str, Any])

    async def get(self, path: str, type_: type[T], query: Mapping[str, str] | None = None) -> T:
        """Return what a path under /v1 answers; raise `NotFound`, `BadAnswer`, `Unreachable`."""
        return self.parse((await self._ask("GET", path, query or {}))[1], type_)

    def stream(
        self, path: str, query: Mapping[str, str], *, last_id: str
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the events of a stream, name and data, ("", b"") for a comment, until it ends.

        Raises as `get`; `Unreachable` also where the node goes. It blocks: nothing else runs.
        """
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
        try:
            answer = self._connection.open(f"/v1{path}", query, headers, seconds=QUIET_S)
            if answer.status != 200:  # noqa: PLR2004
                raise problem(self._url, answer.status, answer.read(MAX_ANSWER_BYTES))
            event, data = "message", b""
            while line := answer.readline(MAX_EVENT_BYTES + 1):
                if len(line) > MAX_EVENT_BYTES:
                    raise BadAnswer(self._url, f"an event of more than {MAX_EVENT_BYTES} bytes")
                name, _, value = line.rstrip(b"\r\n").partition(b":")
                match name:
                    case b"event":
                        event = value.strip().decode("ascii", errors="replace")
                    case b"data":
                        data = value.strip()  # our nodes put it into one line
                    case b"" if data:  # an empty line ends an event
                        yield event, data
                        event, data = "message", b""
                    case b"":
                        yield "", b""
                    case _:  # what resumes is the count in the data
                        pass
        except (http.client.HTTPException, TimeoutError, OSError, ValueError) as error:
            raise unreachable(self._url, error) from None
        finally:
            self._connection.close()

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        data: bytes | None = None,
        allow: tuple[int, ...] = (200,),
    ) -> tuple[int, bytes]:
        """Return status and body of an answer whose status is allowed; raise for every other."""
        try:
            status, body = await self._connection.exchange(
                method,
                f"/v1{path}",
                query,
                data=data,
                headers={"Content-Type": "application/msgpack"} if data is not None else {},
                seconds=int(query.get("wait", "0")) + ANSWER_S,
                limit=MAX_ANSWER_BYTES,
            )
        except (http.client.HTTPException, TimeoutError, OSError, ValueError) as error:
            raise unreachable(self._url, error) from None
        if len(body) > MAX_ANSWER_BYTES:
            raise BadAnswer(self._url, f"more than {MAX_ANSWER_BYTES} bytes")
        if status not in allow:
            raise problem(self._url, status, body)
        return status, body

    def refusal(self, trouble: Trouble) -> ClientError:
        """Return what it means that the node refused one of several things."""
        return refusal(self._url, trouble.status, trouble)

    def bad(self, reason: str) -> BadAnswer:
        """Return the error that an answer is not what the API promises."""
        return BadAnswer(self._url, reason)

    def parse(self, body: bytes, type_: type[T]) -> T:
        """Return what the node answered; raise `BadAnswer`."""
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(self._url, str(error)[:MESSAGE]) from None


def _has(body: bytes) -> bool:
    return b'"transactions"' in body
