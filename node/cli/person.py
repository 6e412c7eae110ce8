"""What the people's commands share: whose home, which vault, which node, and how long to wait."""

import asyncio
import datetime as dt
import functools
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ledger.keys import Role
from node import files, keystore
from node.ceremony import founder_of
from node.cli import opening
from node.cli.home import DEFAULT, Home, load_home
from node.cli.output import note
from node.client import memberkeys, sealing
from node.client.acts import Acts
from node.client.answering import Answerer
from node.client.client import NodeClient
from node.client.decisions import Office
from node.client.erasing import Eraser, by_post
from node.client.errors import NotFound
from node.client.inbox import Reader
from node.client.lots import load as load_claim
from node.client.members import Members, parse_members
from node.client.post import Post
from node.client.reading import MAX_FILE_BYTES
from node.client.records import AuthorisationRecord, ClaimRecord
from node.client.settling import Settlements
from node.client.transactions import Sender
from node.client.vault import Vault
from node.errors import Usage

WAIT_S: Final = 60
ID: Final = re.compile(r"[0-9a-f]{64}")

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass
class Person:
    """Who types: the home, and what is opened from it when it is needed."""

    home: Home
    wait_s: int = WAIT_S
    _members: Members | None = field(default=None, repr=False)

    @property
    def members(self) -> Members:
        """The members of the network, by the genesis document, whose signatures are verified."""
        if self._members is None:
            given = map(founder_of, self.home.cards())
            self._members = parse_members(self.home.genesis_bytes(), given)
        return self._members

    @property
    def sender(self) -> Sender:
        """Our key, for the chain of the genesis document."""
        return Sender(self.members.genesis.chain_id, self.home.member, self.home.key())

    @property
    def human_sender(self) -> Sender:
        """The key of a person among us, who signs what no machine may; raise `NoPerson`."""
        key = self.home.human_key()
        return Sender(self.members.genesis.chain_id, self.home.member, key, Role.HUMAN)

    @property
    def sealing_seed(self) -> bytes | None:
        """The seed of the key that others seal files to, where there is one."""
        path = self.home.sealing_key_file
        return None if path is None else keystore.read_seed(path)

    async def sealed(self, plain: bytes, member: bytes) -> bytes:
        """Return `plain` sealed to a member, to the key that it has in the genesis.

        All validators signed that one. Of who has none there our node says which it has now.
        """
        async with self.node() as node:
            public = await memberkeys.sealing_key(node, self.members.genesis, member)
        return sealing.seal_to(plain, member, public)

    def vault(self) -> Vault:
        """Open the vault, which is made at its first use; raise as `Vault`."""
        way = opening.way_of(self.home, is_new=not self.home.vault.exists())
        return Vault(self.home.vault, way, self.home.keyring)

    def node(self) -> NodeClient:
        """Return the client of our node; connect with `async with`."""
        return NodeClient(self.home.node, self.home.token())

    def office(self, vault: Vault, node: NodeClient) -> Office:
        """Return us at work."""
        return Office(vault, node, self.sender, wait_s=self.wait_s, say=note)

    @property
    def reader(self) -> Reader:
        """Us as who reads what others hand us."""
        return Reader(self.home.member, self.members, self.sealing_seed)

    def post(self, vault: Vault, node: NodeClient) -> Post:
        """Return our post."""
        return Post(vault, node, self.sender, self.reader, say=note)

    def eraser(self, vault: Vault, node: NodeClient) -> Eraser:
        """Return us as who erases, and has it erased elsewhere."""
        deliver = by_post(self.post(vault, node), note)
        return Eraser(vault, node, self.sender, deliver, wait_s=self.wait_s, say=note)

    def answerer(self, vault: Vault, node: NodeClient) -> Answerer:
        """Return us as who was asked to erase something."""
        days, wait_s = self.home.keep_days, self.wait_s
        return Answerer(vault, node, self.sender, keep_days=days, wait_s=wait_s, say=note)

    def acts(self, vault: Vault, node: NodeClient, *, human: bool) -> Acts:
        """Return us at what follows decisions; `human` signs with the key of a person."""
        sender = self.human_sender if human else self.sender
        return Acts(vault, node, sender, wait_s=self.wait_s, say=note)

    def settlements(self, vault: Vault, node: NodeClient) -> Settlements:
        """Return our settlements."""
        return Settlements(vault, node, self.sender, wait_s=self.wait_s, say=note)


def at_home(command: F) -> F:
    """Give a command `--home`, and a `Person` as its argument `person`."""

    @click.option(
        "--home",
        envvar="DEPOLI_HOME",
        default=DEFAULT,
        show_default=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder with client.toml.",
    )
    @functools.wraps(command)
    def with_person(*args: Any, home: Path, **options: Any) -> Any:  # noqa: ANN401
        person = Person(load_home(home.expanduser()), options.pop("wait", WAIT_S))
        return command(*args, person=person, **options)

    return with_person  # type: ignore[return-value]


def wait_option(command: F) -> F:
    """Give a command `--wait`; `at_home` hands it on in the person."""
    return click.option(
        "--wait",
        type=click.IntRange(0, 3600),
        default=WAIT_S,
        show_default=True,
        help="Seconds to wait until it is in a block.",
    )(command)


def run(doing: Coroutine[Any, Any, T]) -> T:
    """Run to the end; return its result."""
    return asyncio.run(doing)


def read_input(path: Path, *, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a file that somebody handed us, or that the shop's software wrote."""
    try:
        return files.read_public(path, limit=limit, hint="")
    except files.Missing:
        raise Usage(f"there is no file {path}") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only we read; raise `AlreadyThere`."""
    files.create(path, content, secret=True)


def today() -> str:
    """Return the day it is here, YYYY-MM-DD."""
    return dt.datetime.now().astimezone().date().isoformat()


def parse_id(text: str) -> bytes:
    """Return the id in 64 hexadecimal digits, or raise `Usage`."""
    if not ID.fullmatch(text):
        raise Usage(
            f"{text[:80]} is no id: 64 hexadecimal digits, lower case",
            hint="depoli claim list, settlement list and proposal list show ids",
        )
    return bytes.fromhex(text)


def claim_id(vault: Vault, name: str) -> bytes:
    """Return the id of a claim that is named by it, or by our reference; raise `NotFound`."""
    return id_of(vault, name, ClaimRecord)


def authorisation_id(vault: Vault, name: str) -> bytes:
    """Return the id of a prior agreement, named so; raise `NotFound`."""
    return id_of(vault, name, AuthorisationRecord)


def id_of(vault: Vault, name: str, type_: type[ClaimRecord]) -> bytes:
    """Return the id of what is kept as `type_`, named by it or our reference; raise `NotFound`."""
    if ID.fullmatch(name):
        return bytes.fromhex(name)
    record = load_claim(vault, name, type_)[1]
    if record.claim is None:
        raise NotFound(
            f"{name} was not submitted: it is {record.progress.value}",
            hint="submit the same file again: it goes on where it stopped",
        )
    return record.claim


def euros(cents: int | None) -> str | None:
    """Return cents as people write an amount."""
    if cents is None:
        return None
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole},{rest:02} €"
