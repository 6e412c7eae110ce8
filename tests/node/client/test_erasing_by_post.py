"""An erasure and its answer over the post, killed before and after every step of either side."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts import erasure as on_chain
from contracts.calls import ErasureOutcome
from node.client import disclosure as disclosures
from node.client import inbox
from node.client.answering import Answerer
from node.client.client import Sent
from node.client.deliveries import Letter
from node.client.doomed import Selection
from node.client.erasing import Eraser, by_post
from node.client.post import Post
from node.client.records import (
    AccessRecord,
    AskedRecord,
    ClaimRecord,
    DeliveryRecord,
    ErasureRecord,
    PrescriptionRecord,
    ReceivedRecord,
    every,
    find,
)
from node.client.vault import Vault
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import KEY, MEMBERS
from tests.node.client.letterbox import (
    Fate,
    Killed,
    Letterbox,
    MortalVault,
    PostedNode,
    give_sealing_keys,
)
from tests.node.client.street import Street, run
from tests.node.client.test_erasing import ONE, TODAY, Parish

FILES = {"shop": "shop", "insurer": "payer"}


class MortalNode(PostedNode):
    """One whose caller may be killed before it sends, and before it hears."""

    async def submit(self, raws: list[bytes], *, wait: int = 0) -> list[Sent]:  # type: ignore[override]
        self.fate.step()
        answers = await super().submit(raws, wait=wait)
        self.fate.step()
        return answers


@dataclass
class Forgetting:
    """A shop and a payer that write to each other; what was shown is settled."""

    folder: Path
    node: MortalNode
    claims: list[bytes]
    fate: Fate = field(default_factory=Fate)
    said: list[str] = field(default_factory=list)
    vaults: dict[str, Vault] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "Forgetting":
        street = Parish.of(folder)
        street.settled()
        street.close()
        node = MortalNode()
        node.__dict__.update(street.node.__dict__)
        give_sealing_keys(node.world, "shop", "insurer")
        node.box, node.fate = Letterbox(), Fate()
        return cls(folder, node, street.claims)

    def again(self, folder: Path) -> "Forgetting":
        folder.mkdir()
        for file in self.folder.iterdir():
            shutil.copy(file, folder / file.name)
        made = Forgetting(folder, copy.deepcopy(self.node), self.claims)
        made.open()
        return made

    def open(self) -> None:
        """Let both begin anew, as processes do."""
        self.close()
        self.node.fate = self.fate
        for name, file in FILES.items():
            vault = MortalVault(self.folder / f"{file}.sqlite", KEY)
            vault.fate = self.fate
            self.vaults[name] = vault

    def close(self) -> None:
        for vault in self.vaults.values():
            vault.close()

    def post(self, name: str, *, patience_s: int = 0) -> Post:
        node = self.node.of(name)
        reader = inbox.Reader(id_of(name), MEMBERS, desk.seed_of(name))
        say, us = self.said.append, desk.sender(name, node)
        return Post(self.vaults[name], node, us, reader, say=say, patience_s=patience_s)

    def erase(self, chosen: Selection | None = None) -> int:
        vault = self.vaults["shop"]
        sender = desk.sender("shop", self.node)
        deliver = by_post(self.post("shop"), self.said.append)
        eraser = Eraser(vault, self.node, sender, deliver, wait_s=5, say=self.said.append)
        return run(eraser.run(chosen or Selection((ONE,)), TODAY))

    def answer(self) -> None:
        run(self.post("insurer").collect())
        sender = desk.sender("insurer", self.node)
        say = self.said.append
        vault = self.vaults["insurer"]
        run(Answerer(vault, self.node, sender, keep_days=0, wait_s=5, say=say).go_on(TODAY))

    def outcomes(self) -> list[ErasureOutcome | None]:
        prefix, state = on_chain.LIFE.prefix, self.node.world.state
        found = [on_chain.load(state, key[1:]) for key in state.pairs if key[:1] == prefix]
        return [each.outcome for each in found if each is not None]

    def is_erased(self, name: str) -> bool:
        vault, claim = self.vaults[name], self.claims[0].hex()
        types = (PrescriptionRecord, ClaimRecord, ReceivedRecord)
        return not any(find(vault, type_, key) for type_ in types for key in (ONE, claim))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Forgetting:
    return Forgetting.of(tmp_path_factory.mktemp("before"))


@pytest.fixture
def two(before: Forgetting, tmp_path: Path) -> Iterator[Forgetting]:
    made = before.again(tmp_path / "two")
    yield made
    made.close()


def test_what_is_to_be_erased_is_told_by_post_and_answered_on_the_chain(two: Forgetting) -> None:
    assert two.erase()
    assert two.is_erased("shop")
    assert not two.is_erased("insurer")
    two.answer()
    assert two.is_erased("insurer")
    assert two.outcomes() == [ErasureOutcome.ERASED]
    run(two.post("shop").collect())
    assert two.erase() == 0
    ((_, note),) = every(two.vaults["shop"], ErasureRecord)
    assert (note.is_over, note.is_final, note.requests[0].wanted) == (True, True, None)
    assert list(every(two.vaults["shop"], DeliveryRecord)) == []  # sealed to who might open it


def test_what_was_disclosed_by_post_leaves_no_trace_of_what_it_was_about(two: Forgetting) -> None:
    """But that its envelope came: who kept a copy of it does not send it again."""
    street = Street(two.node, two.vaults["shop"], two.vaults["insurer"], two.claims)
    post = two.post("shop")
    claim, plain = two.claims[0], street.file(two.claims[0])
    letter = Letter(id_of("insurer"), disclosures.FORMAT, "reimbursement", claim, b"", plain)
    run(post.send([letter]))
    copies = dict(two.node.box.waiting)
    run(two.post("insurer").collect())
    run(post.collect())
    two.erase()
    two.answer()
    about = [record.subject for _, record in every(two.vaults["shop"], DeliveryRecord)]
    assert two.claims[0] not in about
    accesses = [record for _, record in every(two.vaults["insurer"], AccessRecord)]
    assert [each.subject for each in accesses if each.purpose == "erased"] == [b""]
    assert two.claims[0] not in [each.subject for each in accesses]
    two.node.box.waiting |= copies
    two.node.box.fetched.clear()
    assert run(two.post("insurer").collect()).taken == []
    assert two.is_erased("insurer")


def test_a_word_on_what_was_erased_since_is_not_waited_for(two: Forgetting) -> None:
    street = Street(two.node, two.vaults["shop"], two.vaults["insurer"], two.claims)
    claim, plain = two.claims[0], street.file(two.claims[0])
    letter = Letter(id_of("insurer"), disclosures.FORMAT, "reimbursement", claim, b"", plain)
    run(two.post("shop").send([letter]))
    run(two.post("insurer").collect())
    two.erase()
    patient = two.post("shop", patience_s=1000)
    assert (run(patient.collect()).left, run(patient.collect()).after) == (0, 0)
    assert "never sent" in two.said[-1]


@pytest.mark.parametrize("who", ["shop", "insurer"])
def test_a_kill_at_any_step_loses_nothing_and_the_same_again_finishes(
    before: Forgetting, tmp_path: Path, who: str
) -> None:
    if who == "insurer":
        asked = before.again(tmp_path / "asked")
        asked.erase()
        asked.close()
        before = asked
    for step in range(1, 99):
        two = before.again(tmp_path / f"{step}")
        do = two.erase if who == "shop" else two.answer
        two.fate.at = step
        was_killed = False
        try:
            do()
        except Killed:
            was_killed = True
        two.fate.at = None
        two.open()
        asked_for = two.outcomes()
        assert len(asked_for) <= 1
        if who == "shop" and not was_killed:
            assert step > 10  # there were as many steps
        if was_killed:
            do()
        assert two.is_erased(who), step
        assert two.outcomes() == [None if who == "shop" else ErasureOutcome.ERASED], step
        notes: list[ErasureRecord | AskedRecord] = [
            *(record for _, record in every(two.vaults[who], ErasureRecord)),
            *(record for _, record in every(two.vaults[who], AskedRecord)),
        ]
        assert [each.is_final for each in notes] == [True], step
        two.close()
        if not was_killed:
            return
    raise AssertionError("it never came to its end")
