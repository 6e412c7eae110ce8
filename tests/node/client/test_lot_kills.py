"""A lot is killed at each of its steps in turn, and goes on: no claim is lost, none stands twice.

A step is whatever lasts: a commit of the vault (killed just before and just after it), and an
exchange with the node (before the request leaves, and after the node has taken it).
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from node.client import intake, lots, queue
from node.client.client import Sent
from node.client.errors import DiskFull
from node.client.intake import Document
from node.client.queue import Windows
from node.client.records import ClaimRecord, Progress, every
from node.client.vault import Vault
from tests.node.client import desk
from tests.node.client.desk import KEY, MEMBERS, TODAY, MemoryNode, example

NUMBERS: Final = (3, 4, 29)
NOON: Final = 1_790_000_000


class Killed(BaseException):
    """The process ends here, as by kill -9."""


@dataclass
class Life:
    """Counts steps, and ends at one of them."""

    ends_at: int = 0  # 0: never
    steps: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.ends_at:
            raise Killed


class MortalVault(Vault):
    """A vault whose process may be killed just before a commit, and just after."""

    life = Life()

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        with super().changes():
            yield
            self.life.step("before a commit")
        self.life.step("after a commit")


class MortalNode(MemoryNode):
    """A node; its client may be killed before a request leaves, and before it has the answer."""

    life = Life()

    async def submit(self, raws: Sequence[bytes], *, wait: int = 0) -> list[Sent]:
        self.life.step("before a request")
        answers = await super().submit(raws, wait=wait)
        self.life.step("before an answer")
        return answers


def judge(vault: Vault, node: MemoryNode, then: intake.Keep = intake.nothing_more) -> None:
    documents = [
        Document(f"{n}.json", lambda n=n: json.dumps(example(n)).encode())  # type: ignore[misc]
        for n in NUMBERS
    ]
    sender = desk.sender("shop", node)
    judged = intake.judge(vault, sender, documents, MEMBERS.id_of, today=TODAY, then=then)
    assert not intake.refused(judged)


def submit(vault: Vault, node: MemoryNode) -> None:
    """Do what `depoli lot submit` does."""
    judge(vault, node)
    references = [f"F2025-{n:04}" for n in NUMBERS]
    sender = desk.sender("shop", node)
    asyncio.run(lots.submit(vault, node, sender, references, wait_s=0, say=desk.silent))


def queue_and_flush(vault: Vault, node: MemoryNode) -> None:
    """Do what `depoli lot queue` and `depoli lot flush` do."""
    judge(vault, node, lambda request: queue.put(vault, request.reference, Windows(), NOON))
    flushed = queue.flush(
        vault,
        node,
        desk.sender("shop", node),
        clock=lambda: NOON + 7200,
        wait_s=0,
        say=desk.silent,
    )
    assert asyncio.run(flushed).error is None


Way = Callable[[Vault, MemoryNode], None]


def live(folder: Path, way: Way, *, until: int) -> tuple[list[str], bool]:
    """Go a way, killed at a step, then again to its end; return the steps, and whether it was."""
    node, life, was_killed = MortalNode(), Life(until), False
    MortalVault.life = MortalNode.life = life
    folder.mkdir()
    try:
        with MortalVault(folder / "vault.sqlite", KEY) as vault:
            way(vault, node)
    except Killed:
        was_killed = True
    with desk.open_vault(folder, "vault") as vault:
        MortalNode.life = Life()
        way(vault, node)
        require_each_once(vault, node)
    return life.steps, was_killed


def require_each_once(vault: Vault, node: MemoryNode) -> None:
    """Every claim stands on the chain once, and the vault knows where."""
    records = [claim for _, claim in every(vault, ClaimRecord)]
    assert [claim.progress for claim in records] == [Progress.COMMITTED] * len(NUMBERS)
    documents = []
    for claim in records:
        assert claim.claim is not None
        view = asyncio.run(node.claim(claim.claim))
        assert view.height == claim.height
        documents.append(view.document)
    assert documents == [claim.commitment.hex() for claim in records]
    assert sum(key[:1] == b"c" for key in node.world.state.pairs) == len(NUMBERS)


@pytest.mark.parametrize("way", [submit, queue_and_flush])
def test_killed_at_any_step_a_lot_goes_on_and_brings_each_claim_once(
    tmp_path: Path, way: Way
) -> None:
    steps, was_killed = live(tmp_path / "whole", way, until=0)
    assert not was_killed
    assert set(steps) == {
        "before a commit",
        "after a commit",
        "before a request",
        "before an answer",
    }
    assert len(steps) >= 14
    for step in range(1, len(steps) + 1):
        _, was_killed = live(tmp_path / str(step), way, until=step)
        assert was_killed, step


@pytest.mark.parametrize("way", [submit, queue_and_flush])
def test_wherever_the_disk_is_full_a_lot_goes_on_once_there_is_room(
    tmp_path: Path, way: Way
) -> None:
    for room in range(60):  # pages of the vault
        node = MemoryNode()
        folder = tmp_path / str(room)
        folder.mkdir()
        with desk.open_vault(folder, "vault") as vault:
            database = vault.files.database
            (pages,) = database.execute("PRAGMA main.page_count").fetchone()
            database.execute(f"PRAGMA main.max_page_count = {pages + room}").fetchall()
            try:
                way(vault, node)
            except DiskFull:
                was_full = True
            else:
                was_full = False
        with desk.open_vault(folder, "vault") as vault:
            way(vault, node)
            require_each_once(vault, node)
        if not was_full:
            assert room > 5  # it was full at several steps before
            return
    pytest.fail("the lot never fitted")
