"""Two members who write to each other by post, over nodes in memory, and can be killed at any step.

A step is what outlives a process: a commit of a vault, or what a node was told.
"""

import contextlib
import copy
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts import registry
from contracts.state import Overlay
from ledger import envelope as envelopes
from ledger import mailbox as mailboxes
from ledger.errors import Malformed
from ledger.keys import Algorithm, Role
from node.client import disclosure as disclosures
from node.client import inbox, lots
from node.client.deliveries import Letter as ToSend
from node.client.errors import ClientError, NetworkRefused
from node.client.mail import MAX_LETTERS, Letter, MailboxView, MailView, PostView
from node.client.post import Collected, Post
from node.client.records import AccessRecord, DeliveryRecord, PrescriptionRecord, every, find
from node.client.vault import Vault
from tests.contracts.world import World, id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import KEY, MEMBERS, MemoryNode
from tests.node.client.street import Street, run


class Killed(BaseException):
    """The process is gone, as by SIGKILL: nothing after this line was done."""


@dataclass
class Fate:
    """When the process is killed: before its step of this number, counted from 1."""

    at: int | None = None
    steps: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Killed


class MortalVault(Vault):
    """A vault whose process may be killed before it commits, and after."""

    fate = Fate()

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        with super().changes():
            yield
            self.fate.step()
        self.fate.step()


@dataclass
class Letterbox:
    """What nodes hold for members; envelopes that were fetched are not taken again."""

    waiting: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)  # recipient, envelope
    fetched: set[bytes] = field(default_factory=set)  # ids
    count: int = 0
    told: bytes | None = None  # key that nodes say signs for a sender
    placed: set[bytes] = field(default_factory=set)  # members whose post is brought here
    is_slow: bool = False  # nodes hand nothing on at once
    lost: int = 0  # so many envelopes are lost, once they were taken
    refused: set[bytes] = field(default_factory=set)  # contents of what nodes do not take
    all_time: list[bytes] = field(default_factory=list)


class PostedNode(MemoryNode):
    """A node in memory with the post of one member."""

    me: bytes = b""
    box: Letterbox
    fate: Fate

    def of(self, name: str) -> "PostedNode":
        """Return the same node as another member sees it."""
        node = copy.copy(self)
        node.me = id_of(name)
        return node

    async def post(self, raws: Sequence[bytes]) -> list[PostView | ClientError]:
        self.fate.step()
        posted = [self.take_in(each) for each in raws]
        self.fate.step()
        return posted

    def take_in(self, raw: bytes) -> PostView | ClientError:
        """Take one envelope of those that are handed in together."""
        parsed = envelopes.parse(raw)
        box = self.box
        if parsed.body.content in box.refused:
            return NetworkRefused("too much waits")
        box.all_time.append(raw)
        place = (parsed.body.recipient, raw)
        if place not in box.waiting.values() and parsed.id not in box.fetched:
            box.count += 1
            if box.lost:
                box.lost -= 1
            else:
                box.waiting[box.count] = place
        recipient, expires = parsed.body.recipient.hex(), parsed.body.expires
        if box.is_slow:
            return PostView(parsed.id.hex(), box.count, recipient, expires, "waiting")
        return PostView(parsed.id.hex(), box.count, recipient, expires, "handed-on")

    async def mail(self, after: int = 0, *, wait: int = 0, limit: int = MAX_LETTERS) -> MailView:
        del wait
        told = self.box.told
        mine = [
            Letter(number, bytes(32).hex(), raw, None if told is None else told.hex())
            for number, (recipient, raw) in self.box.waiting.items()
            if recipient == self.me and number > after
        ]
        return MailView(tuple(mine[:limit]))

    async def mailbox(self) -> MailboxView:
        return MailboxView(node="00" * 32, here=self.me in self.box.placed)

    async def place_mailbox(self, mailbox: bytes) -> None:
        placed = mailboxes.parse(mailbox)
        self.box.placed.add(placed.body.member)

    async def drop_mail(self, ids: Sequence[bytes]) -> list[bytes]:
        self.fate.step()
        for number, (_, raw) in list(self.box.waiting.items()):
            with contextlib.suppress(Malformed):
                if (id_ := envelopes.parse(raw).id) not in ids:
                    continue
                del self.box.waiting[number]
                self.box.fetched.add(id_)
        self.fate.step()
        return []


def give_sealing_keys(world: World, *names: str) -> None:
    """Register a sealing key of each, as if a transaction had."""
    state = Overlay(world.state)
    for name in names:
        public = key_of(name, Role.SEALING).public
        registry.register(state, id_of(name), Role.SEALING, Algorithm.ED25519, public, 1)
    world.state.apply(state.changes)


@dataclass
class Correspondence:
    """A shop that has three claims on the chain, and their payer, each with its post."""

    folder: Path
    node: PostedNode
    claims: list[bytes]
    fate: Fate = field(default_factory=Fate)
    now: int = 0
    said: list[str] = field(default_factory=list)
    vaults: dict[str, Vault] = field(default_factory=dict)
    posts: dict[str, Post] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "Correspondence":
        street = Street.of(folder)
        street.close()
        node = PostedNode()
        node.__dict__.update(street.node.__dict__)
        give_sealing_keys(node.world, "shop", "insurer")
        return cls(folder, node, street.claims).again(folder)

    def again(self, folder: Path) -> "Correspondence":
        """Return the same, of which nothing was sent, with its files in another folder."""
        if folder != self.folder:
            folder.mkdir()
            for name in ("shop", "payer"):
                for file in self.folder.glob(f"{name}.*"):
                    shutil.copy(file, folder / file.name)
        made = Correspondence(folder, copy.copy(self.node), self.claims, now=desk.now())
        made.node.box = Letterbox()
        made.open()
        return made

    def open(self) -> None:
        """Let both begin anew, as processes do."""
        self.close()
        self.node.fate = self.fate
        for name, file in (("shop", "shop"), ("insurer", "payer")):
            vault = MortalVault(self.folder / f"{file}.sqlite", KEY)
            vault.fate = self.fate
            self.vaults[name] = vault
            self.posts[name] = self.post_of(name)

    def close(self) -> None:
        for vault in self.vaults.values():
            vault.close()

    def post_of(self, name: str, **changes: Any) -> Post:  # noqa: ANN401
        node = changes.pop("node", self.node.of(name))
        options: dict[str, Any] = {
            "us": desk.sender(name, node),
            "reader": inbox.Reader(id_of(name), MEMBERS, desk.seed_of(name)),
            "say": self.said.append,
            "clock": lambda: self.now,
            "patience_s": 0,
        } | changes
        return Post(self.vaults[name], node, **options)

    def letter(self, index: int = 0, **changes: Any) -> ToSend:  # noqa: ANN401
        claim = self.claims[index]
        vault = self.vaults["shop"]
        record = lots.load(vault, claim.hex())[1]
        found = find(vault, PrescriptionRecord, record.prescription_reference)
        assert found is not None
        made = disclosures.make(record, found[1], lots.opening_of(record), now=self.now)
        fields: dict[str, Any] = {
            "recipient": record.payer,
            "format": disclosures.FORMAT,
            "purpose": made.purpose,
            "subject": claim,
            "version": record.commitment,
            "plain": made.to_json(),
        } | changes
        return ToSend(**fields)

    def send(self, *letters: ToSend) -> list[DeliveryRecord]:
        return run(self.posts["shop"].send(letters or [self.letter()]))

    def collect(self, name: str = "insurer") -> Collected:
        return run(self.posts[name].collect())

    def resend(self, name: str = "shop") -> list[DeliveryRecord]:
        return run(self.posts[name].resend())

    def deliveries(self, name: str = "shop") -> list[DeliveryRecord]:
        return [record for _, record in every(self.vaults[name], DeliveryRecord)]

    def accesses(self, name: str = "insurer") -> list[AccessRecord]:
        return [record for _, record in every(self.vaults[name], AccessRecord)]
