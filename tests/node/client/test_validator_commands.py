"""Validators join, leave, are replaced and change keys by commands, between several homes."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts import eras
from ledger.keys import Role
from node.cli.main import main
from node.cli.person import Person
from node.errors import Exit
from tests.contracts.world import VALIDATORS, id_of
from tests.node.client.desk import MemoryNode
from tests.node.client.test_commands import Town

VOTERS = ("federation", "operator", "insurer")  # a quorum of the four


class Council(Town):
    """Homes of the validators too."""

    def __init__(self, folder: Path, node: MemoryNode) -> None:
        super().__init__(folder, node)
        for name in ("federation", "operator", "mutual"):
            self._settle(name)

    def voters(self) -> list[str]:
        """Return who votes after the change that was made last."""
        names = {id_of(name): name for name in ("shop", "rival", *VALIDATORS)}
        return [names[each.member] for each in self.node.world.chain.next_validators.members]  # type: ignore[index]

    def keys(self, name: str, *options: str | Path) -> Path:
        folder = self.folder / f"{name}-keys-{len(list(self.folder.iterdir()))}"
        self.alone("validator", "new-keys", folder, *options)
        return folder

    def alone(self, *args: str | Path) -> Any:  # noqa: ANN401
        """Run a command that is of no home; return what it prints as JSON."""
        result = CliRunner().invoke(main, [*map(str, args), "--json"])
        assert result.exit_code == Exit.OK, result.stderr
        return json.loads(result.stdout)

    def propose(self, name: str, kind: str, *args: str | Path) -> Path:
        out = self.folder / f"{kind}-{len(list(self.folder.iterdir()))}.json"
        self.once(name, "validator", f"propose-{kind}", *args, "-o", out)
        return out

    def approvals(self, proposal: Path, names: tuple[str, ...] = VOTERS) -> list[Path]:
        made = [proposal.with_suffix(f".{name}.json") for name in names]
        for name, out in zip(names, made, strict=True):
            self.once(name, "validator", "approve", proposal, "-o", out)
        return made


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Council:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Council(tmp_path, node)


def test_a_member_joins_and_leaves_with_the_approval_of_a_quorum(town: Council) -> None:
    keys = town.keys("shop")
    proposal = town.propose("shop", "join", "--keys", keys)
    result = town.once(
        "shop", "validator", "submit", proposal, *town.approvals(proposal), "--keys", keys
    )
    assert result["says"] == "shop joins the validators"
    assert result["from_height"] == result["height"] + 2
    assert town.voters() == [*VALIDATORS, "shop"]
    leave = town.propose("operator", "leave", "shop")
    approvals = town.approvals(leave, (*VOTERS, "mutual"))
    said = town.call("operator", "validator", "submit", leave, *approvals)
    assert said.exit_code == Exit.OK, said.stderr
    assert "shop leaves the validators: decided in block" in said.stdout
    assert town.voters() == list(VALIDATORS)


def test_a_member_takes_anothers_place(town: Council) -> None:
    keys = town.keys("rival")
    proposal = town.propose("rival", "replace", "federation", "--keys", keys, "--days", "30")
    town.once("rival", "validator", "submit", proposal, *town.approvals(proposal), "--keys", keys)
    assert town.voters() == ["rival", *VALIDATORS[1:]]


def test_a_member_changes_its_keys_and_keeps_the_one_of_its_node(town: Council) -> None:
    old = town.folder / "old"
    old.mkdir()
    seed = old / "node.seed"
    seed.touch(0o600)
    seed.write_text(sha256(f"insurer/{Role.TLS.name}".encode()).hexdigest())
    keys = town.keys("insurer", "--keep", old)
    before = town.node.world.chain.next_validators.members[2]
    town.node.falls_behind = 2  # it is signed again with the block that is the newest by then
    result = town.once("insurer", "validator", "rotate", "--keys", keys)
    after = town.node.world.chain.next_validators.members[2]
    assert result["says"] == "insurer gives its validator other keys"
    assert (after.member, after.node_key) == (before.member, before.node_key)
    assert after.consensus_key != before.consensus_key
    error = town.refuses(Exit.REJECTED, "insurer", "validator", "rotate", "--keys", keys)
    assert "KEYS_UNCHANGED" in error


def test_a_proof_that_is_never_of_a_recent_block_is_refused_in_the_end(town: Council) -> None:
    town.node.falls_behind = 99
    keys = town.keys("insurer")
    error = town.refuses(Exit.REJECTED, "insurer", "validator", "rotate", "--keys", keys)
    assert "BLOCK_NOT_RECENT" in error
    assert len(town.node.sent) == 5


def test_who_votes_is_listed_with_its_history(town: Council) -> None:
    for name in VALIDATORS[:3]:
        town.once(name, "validator", "rotate", "--keys", town.keys(name))
    listed = town.once("shop", "validator", "list")
    assert listed["now"] == listed["next"] == list(VALIDATORS)
    assert [era["from_height"] for era in listed["history"]] == [0, 3, 4, 5]
    shown = town.call("shop", "validator", "list").stdout
    assert "after it" in shown  # other keys, the same members
    assert "federation, operator, insurer, mutual" in shown
    town.node.world.block()
    assert "after it" not in town.call("shop", "validator", "list").stdout
    assert eras.latest(town.node.world.state).term == listed["term"] == 0


def test_what_the_chain_would_refuse_is_not_proposed(town: Council) -> None:
    keys, out = town.keys("shop"), town.folder / "out.json"
    for words, name, *args in (
        ("insurer runs a validator already", "insurer", "join", "--keys", keys),
        ("insurer runs a validator already", "insurer", "replace", "mutual", "--keys", keys),
        ("rival runs no validator", "shop", "replace", "rival", "--keys", keys),
        ("shop runs no validator", "insurer", "leave", "shop"),
    ):
        kind, *rest = args
        said = town.refuses(Exit.USAGE, name, "validator", f"propose-{kind}", *rest, "-o", out)
        assert words in said
        assert not out.exists()
    town.propose("insurer", "replace", "insurer", "--keys", keys)  # other keys, sooner than a day


def test_what_a_proposal_does_is_shown_before_anything_is_signed(town: Council) -> None:
    proposal = town.propose("shop", "join", "--keys", town.keys("shop"))
    shown = town.once("insurer", "validator", "show", proposal)
    assert shown["says"] == "shop joins the validators"
    assert shown["change"] in town.call("insurer", "validator", "show", proposal).stdout


def test_of_several_files_the_wrong_one_is_named(town: Council) -> None:
    keys = town.keys("shop")
    proposal = town.propose("shop", "join", "--keys", keys)
    approval, *_ = town.approvals(proposal)
    said = town.refuses(
        Exit.USAGE,
        "shop", "validator", "submit", proposal, approval, proposal, "--keys", keys,
    )  # fmt: skip
    assert f"{proposal} is no approval" in said
    said = town.refuses(Exit.USAGE, "insurer", "validator", "show", approval)
    assert f"{approval} is no proposed change" in said


def test_too_few_approvals_are_told_with_who_is_missing(town: Council) -> None:
    keys = town.keys("shop")
    proposal = town.propose("shop", "join", "--keys", keys)
    approvals = town.approvals(proposal, ("federation", "mutual"))
    error = town.refuses(
        Exit.VERIFICATION_FAILED,
        "shop", "validator", "submit", proposal, *approvals, approvals[0], "--keys", keys,
    )  # fmt: skip
    assert "2 of the 3 that it takes; not yet of: insurer, operator" in error


def test_what_was_proposed_before_another_change_is_to_be_proposed_again(town: Council) -> None:
    keys = {name: town.keys(name) for name in ("shop", "rival")}
    proposals = {name: town.propose(name, "join", "--keys", keys[name]) for name in keys}
    approvals = {name: town.approvals(proposals[name]) for name in keys}
    town.once(
        "shop", "validator", "submit", proposals["shop"], *approvals["shop"], "--keys", keys["shop"]
    )
    late: tuple[str | Path, ...] = (
        proposals["rival"],
        *approvals["rival"],
        "--keys",
        keys["rival"],
    )
    approve = ("approve", proposals["rival"], "-o", town.folder / "x")
    for name, args in (("rival", ("submit", *late)), ("mutual", approve)):
        assert "propose it again" in town.refuses(Exit.USAGE, name, "validator", *args)


def test_mistakes_are_told_before_anything_is_sent(town: Council) -> None:
    keys, others = town.keys("shop"), town.keys("shop")
    proposal = town.propose("shop", "join", "--keys", keys)
    approvals = town.approvals(proposal)
    submit: tuple[str | Path, ...] = ("validator", "submit", proposal, *approvals)
    assert "--keys" in town.refuses(Exit.USAGE, "shop", *submit)
    assert "only shop" in town.refuses(Exit.USAGE, "rival", *submit, "--keys", keys)
    assert "not those" in town.refuses(Exit.USAGE, "shop", *submit, "--keys", others)
    approve = ("validator", "approve", proposal, "-o", town.folder / "a.json")
    assert "does not count" in town.refuses(Exit.USAGE, "shop", *approve)
    other = town.propose("shop", "join", "--keys", others)
    wrong: tuple[str | Path, ...] = ("validator", "submit", other, *approvals, "--keys", others)
    assert "approved another change" in town.refuses(Exit.VERIFICATION_FAILED, "shop", *wrong)
    assert town.node.sent == []


CHANGED = {
    "no JSON": (lambda _: "no", "is no proposed change"),
    "another chain": (lambda f: f | {"chain_id": "0" * 64}, "the file is of chain"),
    "another member": (lambda f: f | {"member": "0" * 32}, "the file says"),
    "no keys": (lambda f: f | {"keys": None}, "names no keys"),
    "one key twice": (
        lambda f: f | {"keys": f["keys"] | {"node": f["keys"]["consensus"]}}, "cannot be meant"
    ),
    "a negative term": (lambda f: f | {"term": -1}, "cannot be meant"),
    "nobody's place": (lambda f: f | {"kind": "replace"}, "cannot be meant"),
    "a field more": (lambda f: f | {"more": 1}, "is no proposed change"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_a_damaged_proposal_is_named(name: str, town: Council) -> None:
    proposal = town.propose("shop", "join", "--keys", town.keys("shop"))
    change, words = CHANGED[name]
    proposal.write_text(json.dumps(change(json.loads(proposal.read_text()))))  # type: ignore[no-untyped-call]
    result = town.call("mutual", "validator", "approve", proposal, "-o", town.folder / "a")
    assert result.exit_code in {Exit.USAGE, Exit.VERIFICATION_FAILED}
    assert words in result.stderr


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("signature", "00" * 64, "does not verify"),
        ("signature", "zz", "cannot be meant"),
        ("signature", "00" * 63, "cannot be meant"),
        ("key_id", "00", "cannot be meant"),
        ("chain_id", "0" * 64, "of chain"),
        ("format", "depoli/other/1", "is no approval"),
    ],
)
def test_a_damaged_approval_is_named(field: str, value: str, words: str, town: Council) -> None:
    keys = town.keys("shop")
    proposal = town.propose("shop", "join", "--keys", keys)
    first, *rest = town.approvals(proposal)
    first.write_text(json.dumps(json.loads(first.read_text()) | {field: value}))
    result = town.call("shop", "validator", "submit", proposal, first, *rest, "--keys", keys)
    assert result.exit_code in {Exit.USAGE, Exit.VERIFICATION_FAILED}
    assert words in result.stderr


def test_a_network_that_does_not_decide_is_told(town: Council) -> None:
    town.node.is_stuck = True
    keys = town.keys("insurer")
    error = town.refuses(
        Exit.PENDING, "insurer", "validator", "rotate", "--keys", keys, "--wait", "0"
    )
    assert "not in a block yet" in error


def test_a_transaction_that_the_network_does_not_take_is_told(town: Council) -> None:
    town.node.let_lapse = 1
    keys = town.keys("insurer")
    error = town.refuses(Exit.REJECTED, "insurer", "validator", "rotate", "--keys", keys)
    assert "too late" in error


def test_why_the_rules_refuse_is_told_with_what_can_be_done(town: Council) -> None:
    out = town.folder / "leave.json"
    leave = ("validator", "propose-leave", "mutual", "-o", out)
    error = town.refuses(Exit.REJECTED, "operator", *leave)
    assert not out.exists()
    assert "3 validators would be left" in error
    assert "propose-replace" in error
    first, second = town.keys("shop"), town.keys("rival")
    swap = town.propose("shop", "replace", "mutual", "--keys", first)
    town.once("shop", "validator", "submit", swap, *town.approvals(swap), "--keys", first)
    swap = town.propose("rival", "replace", "operator", "--keys", second)
    args: tuple[str | Path, ...] = (swap, *town.approvals(swap), "--keys", second)
    error = town.refuses(Exit.REJECTED, "rival", "validator", "submit", *args)
    assert "opticians would have a quorum" in error
    used = town.keys("mutual")
    for role in ("consensus", "checkpoint", "node"):  # those that the shop has
        (used / f"{role}.seed").write_text((first / f"{role}.seed").read_text())
    error = town.refuses(Exit.REJECTED, "insurer", "validator", "rotate", "--keys", used)
    assert "the consensus key was registered before" in error
