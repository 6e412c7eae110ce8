"""Shops and a payer at their vaults, and a node that executes the real rules in memory."""

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from contracts import authorisation as authorisations
from contracts import batch, eras, governance, registry
from contracts import claim as claims
from contracts import erasure as erasures
from contracts import prescription as prescriptions
from contracts import settlement as settlements
from contracts.calls import parse_call
from contracts.dispatch import LIVES
from contracts.errors import Inadmissible
from contracts.explanation import explain, named
from contracts.genesis import Genesis
from contracts.life import Life
from ledger.entry import Entry, Outcome
from ledger.keys import Role
from ledger.plain import plain
from ledger.transaction import created_id, parse
from node import network_views, organisations, views, voting
from node.client.client import (
    CallOutcome,
    ClaimView,
    Head,
    MemberView,
    NodeClient,
    Sent,
    SettlementView,
    UpgradeView,
    ValidatorsView,
)
from node.client.errors import NotFound, Unreachable
from node.client.members import Members
from node.client.request import ClaimRequest, parse_claim
from node.client.transactions import Sender
from node.client.trouble import Trouble
from node.client.vault import Vault
from node.upgrade import outlook
from tests.contracts.world import World, genesis, id_of, key_of

KEY: Final = bytes(range(32))
T = TypeVar("T")

TODAY: Final = "2026-11-23"
EXAMPLES: Final = Path(__file__).parents[3] / "scripts" / "data" / "claims"
MEMBERS: Final = Members(genesis())


class MemoryNode(NodeClient):
    """A node that makes a block of whatever it is sent. It can be told to fail, once each way."""

    def __init__(self) -> None:
        super().__init__("http://memory", "token")
        self.world = World()
        self.decided: dict[bytes, Sent] = {}
        self.entries: list[Entry] = []
        self.sent: list[bytes] = []  # ids, in the order in which they came
        self.raws: dict[bytes, bytes] = {}  # id -> transaction
        self.headers: dict[int, str] = {}  # of the blocks that it made: height -> hash
        self.lose_requests = 0  # so many requests do not arrive
        self.lose_answers = 0  # so many arrive, and their answers are lost
        self.let_lapse = 0  # so many transactions come too late
        self.is_wrong = False  # of those it is mistaken: a block takes them all the same
        self.falls_behind = 0  # so many times it names a block that nobody knows
        self.is_stuck = False  # it takes everything and makes no block
        self.forgets = 0  # entries that it pruned, the oldest

    @property
    def genesis(self) -> Genesis:
        return MEMBERS.genesis

    async def submit(self, raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        del wait
        if self.lose_requests:
            self.lose_requests -= 1
            raise Unreachable("the request is lost")
        if self.is_stuck:
            return [Sent("pending", parse(raw).id.hex()) for raw in raws]
        answers = [self.include(raw) for raw in raws]
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("the answer is lost")
        return answers

    async def transaction(self, id_: bytes, *, wait: int = 0) -> Sent:
        del wait
        if id_ not in self.decided:
            raise NotFound("no such transaction")
        return self.decided[id_]

    async def claim(self, id_: bytes) -> ClaimView:
        found = claims.load(self.world.state, id_)
        if found is None:
            raise NotFound("no such claim")
        time = self.world.chain.header.time
        shown = views.claim(self.world.state, id_, found, time=time)
        return _through_json(shown | self._signed_by(found.transaction), ClaimView)

    async def claims_by_id(self, ids: Sequence[bytes]) -> dict[bytes, ClaimView]:
        """Answer as the API does, which leaves out what is not there."""
        known = [id_ for id_ in ids if claims.load(self.world.state, id_) is not None]
        return {id_: await self.claim(id_) for id_ in known}

    def _signed_by(self, transaction: bytes) -> dict[str, str]:
        """Return what the API says of who signed a transaction."""
        id_ = parse(self.raws[transaction]).body.key_id
        owner = registry.owner_of(self.world.state, id_)
        assert owner is not None
        key = registry.key(self.world.state, owner, id_)
        assert key is not None
        return {"signed_by": key.public.hex()}

    async def claims(self, state: str | None = None) -> AsyncIterator[ClaimView]:
        for key in sorted(self.world.state.pairs):
            if key[:1] == b"c":
                view = await self.claim(key[1:])
                if state in {None, view.state}:
                    yield view

    async def settlements(self, state: str | None = None) -> AsyncIterator[SettlementView]:
        for key in sorted(self.world.state.pairs):
            if key[:1] == batch.PREFIX:
                view = await self.settlement(key[1:])
                if state in {None, view.state}:
                    yield view

    async def settlement_claims(self, id_: bytes) -> AsyncIterator[ClaimView]:
        for claim in batch.claims_of(self.world.state, id_):
            yield await self.claim(claim)

    async def upgrade(self) -> UpgradeView:
        """Return what a node's API says, in JSON and back."""
        chain = self.world.chain
        shown = network_views.upgrade(outlook(chain), chain.next_validators.members)
        return _through_json(shown, UpgradeView)

    async def get(self, path: str, type_: type[T], query: Mapping[str, str] | None = None) -> T:
        """Answer as the API does of prior agreements, and of what happened to a thing."""
        state, time = self.world.state, self.world.chain.header.time
        match path.strip("/").split("/"):
            case ["authorisations"]:
                wanted = (query or {}).get("state")
                ids = [key[1:] for key in sorted(state.pairs) if key[:1] == b"a"]
                shown = [await self.get(f"/authorisations/{id_.hex()}", dict) for id_ in ids]
                found = [each for each in shown if wanted in {None, each["state"]}]
                return _through_json({"authorisations": found, "cursor": None}, type_)
            case ["authorisations", text]:
                id_ = bytes.fromhex(text)
                record = authorisations.load(state, id_)
                if record is None:
                    raise NotFound("no such prior agreement")
                seen = views.authorisation(state, id_, record, time=time)
                return _through_json(seen | self._signed_by(record.transaction), type_)
            case ["erasures"]:
                wanted = (query or {}).get("state")
                ids = [key[1:] for key in sorted(state.pairs) if key[:1] == b"E"]
                shown = [await self.get(f"/erasures/{id_.hex()}", dict) for id_ in ids]
                found = [each for each in shown if wanted in {None, each["state"]}]
                return _through_json({"erasures": found, "cursor": None}, type_)
            case ["erasures", text]:
                erased = erasures.load(state, bytes.fromhex(text))
                if erased is None:
                    raise NotFound("no such erasure")
                return _through_json(views.erasure(bytes.fromhex(text), erased), type_)
            case ["prescriptions", text]:
                member = bytes.fromhex((query or {})["member"])
                held = prescriptions.of(state, member, bytes.fromhex(text))
                if held is None:
                    raise NotFound("no such prescription")
                return _through_json(views.prescription(member, bytes.fromhex(text), held), type_)
            case ["blocks", text]:
                return _through_json({"hash": self.headers[int(text)]}, type_)
            case ["governance"]:
                first = int((query or {}).get("from", "0"))
                return _through_json(voting.in_force(self.world.chain, first), type_)
            case ["proposals", text]:
                proposal = governance.load(state, bytes.fromhex(text))
                if proposal is None:
                    raise NotFound("no such proposal")
                standing = voting.view(self.world.chain, bytes.fromhex(text), proposal)
                return _through_json(standing, type_)
            case [kinds, text, "explanation"]:
                (life,) = (each for each in LIVES if f"{each.name}s" == kinds)
                return _through_json(self._explained(life, bytes.fromhex(text), time), type_)
            case ["status"]:
                return _through_json(msgspec.to_builtins(await self.head()), type_)
            case _:
                raise AssertionError(path)

    def _explained(self, life: Life[Any], id_: bytes, time: int) -> dict[str, Any]:
        parameters, pairs = self.world.chain.parameters, self.world.state.pairs
        # A real node asks of which member its token is.
        key = next((k[1:] for k in pairs if k[:1] == life.prefix and k.endswith(id_)), id_)
        found = explain(life, self.world.state, key, time=time, parameters=parameters)
        entries = [
            entry
            for entry in self.entries
            if id_ in named(parse_call(entry.call), created_id(entry.transaction, entry.position))
        ]
        kept = [entry for entry in entries if entry in self.entries[self.forgets :]]
        is_whole = len(kept) == len(entries)
        return views.explanation(life.name, id_, found, kept, time=time, is_whole=is_whole)

    async def validators(self, first_era: int = 0) -> ValidatorsView:
        chain, state = self.world.chain, self.world.state
        eras_known = [eras.era(state, n) for n in range(eras.latest(state).number + 1)]
        shown = {
            "height": chain.header.height + 1,
            "quorum": chain.validators.quorum,
            "validators": [plain(each) for each in chain.validators.members],
            "next": [plain(each) for each in chain.next_validators.members],
            "eras": [views.era(each) for each in eras_known[first_era:][:2]],
        }
        return _through_json(shown, ValidatorsView)

    async def member(self, id_: bytes) -> MemberView:
        shown = organisations.whole(self.world.chain, self.genesis, id_, lambda _: True)
        if shown is None:
            raise NotFound("no such member")
        return _through_json(shown, MemberView)

    async def head(self) -> Head:
        header = self.world.chain.header
        if self.falls_behind:
            self.falls_behind -= 1
            return Head(header.height, bytes(32).hex())
        return Head(header.height, header.hash.hex())

    async def settlement(self, id_: bytes) -> SettlementView:
        found = settlements.load(self.world.state, id_)
        if found is None:
            raise NotFound("no such settlement")
        return _through_json(
            views.settlement(self.world.state, self.world.parameters, id_, found), SettlementView
        )

    def include(self, raw: bytes) -> Sent:
        transaction = parse(raw)
        self.sent.append(transaction.id)
        self.raws[transaction.id] = raw
        if transaction.id in self.decided:
            return self.decided[transaction.id]
        if self.let_lapse:
            lapse, self.let_lapse = self.let_lapse, 0
            if self.is_wrong:
                self.include(raw)
            self.let_lapse = lapse - 1
            problem = Trouble(title="too late", type="urn:depoli:problem:expired", status=422)
            return Sent("rejected", transaction.id.hex(), problem=problem)
        before = self.world.chain.header
        try:
            executed = self.world.block(transaction, after=max(1, now() - before.time))
        except Inadmissible as error:
            return Sent("rejected", transaction.id.hex(), problem=Trouble(title=str(error)))
        self.entries += executed.entries
        self.headers[executed.header.height] = executed.header.hash.hex()
        answer = Sent(
            "committed",
            transaction.id.hex(),
            executed.header.height,
            executed.header.time,
            tuple(map(_outcome, executed.outcomes)),
        )
        self.decided[transaction.id] = answer
        return answer


def sender(name: str, node: MemoryNode) -> Sender:
    return Sender(node.world.chain_id, id_of(name), key_of(name))


def seed_of(name: str) -> bytes:
    """Return the seed of a member's sealing key, as `key_of` makes it."""
    return sha256(f"{name}/{Role.SEALING.name}".encode()).digest()


def open_vault(folder: Path, name: str) -> Vault:
    return Vault(folder / f"{name}.sqlite", KEY)


def example(number: int = 3, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an example's document, to the payer of this world, its claim changed."""
    document: dict[str, Any] = json.loads((EXAMPLES / f"f2025-{number:04}.json").read_text())
    document["claim"] |= {"payer": "insurer"} | changes
    return document


def request(number: int = 3, **changes: Any) -> ClaimRequest:  # noqa: ANN401
    return as_request(example(number, **changes))


def as_request(document: dict[str, Any]) -> ClaimRequest:
    return parse_claim(json.dumps(document).encode(), "claim.json", today=TODAY)


def silent(text: str) -> None:
    """Say nothing."""
    del text


def _outcome(outcome: Outcome) -> CallOutcome:
    return _through_json(views.outcome(outcome), CallOutcome)


def _through_json(value: object, type_: type[T]) -> T:
    return msgspec.json.decode(json.dumps(value), type=type_)


def now() -> int:
    return int(time.time())
