"""What is voted by commands, between several homes; validators come, go and change keys by it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from contracts import registry
from contracts.calls import SuspendMember
from contracts.parameters import Parameters
from contracts.reference import table_hash
from contracts.registry import Status
from ledger.keys import Role
from node.cli.main import main
from node.cli.person import Person
from node.errors import Exit
from tests.authority import anchor, private, text
from tests.contracts.world import VALIDATORS, id_of
from tests.node.client.desk import MemoryNode
from tests.node.client.test_commands import Town

VOTERS = ("federation", "operator", "insurer")  # a quorum of the four
SOON = ("--in-blocks", "15")
TABLES = Path(__file__).parents[3] / "contracts" / "tables"


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

    def propose(self, *args: str | Path, by: str = "federation") -> str:
        """Propose a change; return its number."""
        return str(self.once(by, "proposal", *args, *SOON)["number"])

    def agree(self, *args: str | Path, days: int = 7) -> str:
        """Let a quorum vote for a change, and blocks be made until it may be in force."""
        number = self.propose(*args, "--days", str(days))
        self.passes(number)
        return number

    def passes(self, number: str, names: tuple[str, ...] = VOTERS) -> str:
        """Let members agree to a proposal, and blocks be made; return its id."""
        said = [self.once(name, "proposal", "vote", number, "yes") for name in names]
        assert said[-1]["state"] == "passed"
        self.node.world.reach(said[-1]["effect"])
        return str(said[-1]["id"])


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Council:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Council(tmp_path, node)


# --- votes ----------------------------------------------------------------------------------------


def test_a_vote_shows_who_voted_what_is_missing_and_until_when(town: Council) -> None:
    made = town.once("operator", "proposal", "suspend", "shop", *SOON)
    assert (made["state"], made["says"]) == ("open", "shop is suspended")
    assert (
        made["missing"] == f"3 more must agree, by block {made['last_vote']}, of 2 families in all"
    )
    town.once("mutual", "proposal", "vote", "0", "yes")
    shown = town.once("insurer", "proposal", "vote", made["id"], "no")
    votes = {vote["label"]: vote["vote"] for vote in shown["votes"]}
    assert votes == {"federation": None, "operator": None, "insurer": "no", "mutual": "yes"}
    words = town.call("shop", "proposal", "show", "0").stdout
    for line in (
        "shop is suspended.",
        "more than half: 3 of 4",
        "2 more must agree",
        f"block {made['effect']}",
    ):
        assert line in words
    listed = town.once("shop", "proposal", "list")["proposals"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert "1 of 3, 1 against" in town.call("shop", "proposal", "list").stdout


def test_what_passed_is_made_at_its_height(town: Council) -> None:
    town.agree("suspend", "shop")
    found = registry.member(town.node.world.state, id_of("shop"))
    assert found is not None
    assert found.status is Status.SUSPENDED
    assert town.once("shop", "proposal", "list")["proposals"] == []
    assert "no proposal is open" in town.call("shop", "proposal", "list").stdout
    (over,) = town.once("shop", "proposal", "list", "--all")["proposals"]
    assert (over["state"], over["missing"]) == ("enacted", "nothing")
    town.agree("reinstate", "shop")
    town.agree("remove", "shop")
    found = registry.member(town.node.world.state, id_of("shop"))
    assert found is not None
    assert found.status is Status.REMOVED


def test_a_newcomer_is_admitted_by_its_card_and_gets_other_keys(town: Council) -> None:
    cards = [town.folder / name for name in ("newcomer", "again")]
    for card in cards:
        town.alone(
            "keys", "new", card, "--label", "newcomer", "--family", "optician", "--country", "BE"
        )
    certificate = town.folder / "organisation.pem"
    authority = anchor()
    issued = authority.issue("Newcomer", private("newcomer"))
    certificate.write_bytes(text(issued, authority.certificate))
    number = town.propose("admit", cards[0], "--certificate", certificate)
    words = town.call("insurer", "proposal", "show", number).stdout
    assert sha256(issued.public_bytes(Encoding.DER)).hexdigest() in words
    assert "becomes a member: optician, BE" in words
    town.passes(number)
    id_ = json.loads((cards[0] / "member.json").read_text())["keys"][0]["public"]
    member = registry.member_id(bytes.fromhex(id_))
    assert registry.admitted(town.node.world.state, member) is not None
    members = town.folder / "operator" / "members"
    members.mkdir()
    (members / "newcomer.json").write_bytes((cards[0] / "member.json").read_bytes())
    shown = town.once("operator", "proposal", "rekey", "newcomer", cards[1], *SOON)
    assert shown["says"] == "newcomer gets another transaction key, and its old ones end"
    assert member.hex() in town.once("mutual", "proposal", "show", "1")["says"]


def test_parameters_tables_and_versions_are_voted(town: Council) -> None:
    number = town.propose("parameters", "max_block_bytes=1000000", "min_interval_ms=30")
    shown = town.once("shop", "proposal", "show", number)
    assert shown["says"] == "parameters: min_interval_ms = 30, max_block_bytes = 1000000"
    town.once("federation", "proposal", "withdraw", number)
    town.agree("parameters", "min_interval_ms=30")
    assert town.node.world.chain.parameters == Parameters(min_interval_ms=30)
    file = TABLES / "optics-codes.json"
    town.agree("table", "optics-codes", file)
    shown = town.once("shop", "proposal", "list", "--all")["proposals"][-1]
    assert table_hash(file.read_bytes()).hex() in shown["says"]
    shown = town.once("operator", "proposal", "version", "2", *SOON)
    assert shown["says"].startswith("version 2 of the rules")


def test_what_cannot_be_meant_is_told_before_anything_is_sent(town: Council) -> None:
    for words, *args in (
        ("sets no parameter", "parameters", "gas=1"),
        ("sets no parameter", "parameters", "min_interval_ms=soon"),
        ("cannot be", "parameters", "min_interval_ms=5000"),
        ("<= 1048576 - at notice_blocks", "parameters", "notice_blocks=2000000"),
        ("is no table optics-codes", "table", "optics-codes", TABLES / "optics-renewal.json"),
        ("is no table optics-codes", "table", "optics-codes", Path(__file__)),
        ("no member of this network", "suspend", "nobody"),
    ):
        result = town.call("operator", "proposal", *args, *SOON)
        assert result.exit_code != Exit.OK
        assert words in result.stderr
    few = ("suspend", "shop", "--in-blocks", "10")
    assert "10 blocks of notice" in town.refuses(Exit.USAGE, "operator", "proposal", *few)
    said = town.refuses(Exit.USAGE, "shop", "proposal", "suspend", "rival", *SOON)
    assert "shop runs no validator" in said
    assert town.node.sent == []
    assert "names no proposal" in town.refuses(Exit.USAGE, "shop", "proposal", "show", "it")
    assert "no proposal 7" in town.refuses(Exit.NOT_FOUND, "shop", "proposal", "show", "7")


def test_what_the_rules_refuse_is_told(town: Council) -> None:
    number = town.propose("suspend", "shop")
    town.once("mutual", "proposal", "vote", number, "yes")
    again = town.refuses(Exit.REJECTED, "mutual", "proposal", "vote", number, "no")
    assert "ALREADY_VOTED" in again
    assert "NOT_GOVERNING" in town.refuses(Exit.REJECTED, "shop", "proposal", "vote", number, "yes")
    said = town.refuses(Exit.REJECTED, "federation", "proposal", "suspend", "shop", *SOON)
    assert "depoli proposal list" in said
    unfit = town.refuses(Exit.REJECTED, "operator", "proposal", "reinstate", "shop", *SOON)
    assert "the member is admitted, and does not allow this" in unfit
    never = ("suspend", "rival", "--in-blocks", str(1 << 25))
    assert "is the last that it may" in town.refuses(Exit.REJECTED, "operator", "proposal", *never)
    town.once("federation", "proposal", "withdraw", number)
    closed = town.refuses(Exit.REJECTED, "operator", "proposal", "vote", number, "yes")
    assert "the proposal is withdrawn, and does not allow this" in closed
    card = town.folder / "known"
    town.alone("keys", "new", card, "--label", "known", "--family", "optician", "--country", "BE")
    town.agree("admit", card)
    taken = town.refuses(Exit.REJECTED, "operator", "proposal", "rekey", "shop", card, *SOON)
    assert "the transaction key was registered before" in taken
    number = town.propose("suspend", "shop")
    for _ in range(9):
        town.node.world.block()
    late = town.refuses(Exit.REJECTED, "federation", "proposal", "vote", number, "yes")
    assert "--in-blocks" in late
    assert town.once("shop", "proposal", "show", number)["state"] == "expired"


def test_many_proposals_are_listed_page_by_page(town: Council) -> None:
    world = town.node.world
    for number in range(51):
        id_ = world.propose(SuspendMember(id_of("shop")), VALIDATORS[number % 4])
        world.vote(id_, "mutual", "insurer", agrees=False)
    listed = town.once("shop", "proposal", "list", "--all")["proposals"]
    assert [each["number"] for each in listed] == list(range(51))
    assert {each["state"] for each in listed} == {"failed"}


# --- validators -----------------------------------------------------------------------------------


def test_a_member_joins_and_leaves_as_a_quorum_voted(town: Council) -> None:
    keys = town.keys("shop")
    number = town.agree("join", "shop")
    shown = town.once("shop", "proposal", "show", number)
    assert shown["missing"].endswith(f"depoli validator join --proposal {shown['id']}")
    result = town.once("shop", "validator", "join", "--proposal", number, "--keys", keys)
    assert result["says"] == "shop joins the validators"
    assert result["from_height"] == result["height"] + 2
    assert town.voters() == [*VALIDATORS, "shop"]
    town.node.world.block()
    town.once("mutual", "proposal", "leave", "shop", *SOON)
    id_ = town.passes("1", (*VOTERS, "mutual"))
    said = town.call("operator", "validator", "leave", "--proposal", id_)
    assert said.exit_code == Exit.OK, said.stderr
    assert "shop leaves the validators: decided in block" in said.stdout
    assert town.voters() == list(VALIDATORS)


def test_a_member_takes_anothers_place(town: Council) -> None:
    keys = town.keys("rival")
    number = town.agree("replace", "federation", "rival", days=30)
    town.once("rival", "validator", "replace", "--proposal", number, "--keys", keys)
    assert town.voters() == ["rival", *VALIDATORS[1:]]


def test_a_member_gets_other_keys_sooner_by_a_vote(town: Council) -> None:
    town.once("insurer", "validator", "rotate", "--keys", town.keys("insurer"))
    keys = town.keys("insurer")
    number = town.agree("replace", "insurer", "insurer")
    result = town.once("insurer", "validator", "replace", "--proposal", number, "--keys", keys)
    assert result["says"] == "insurer gives its validator other keys, as was voted"
    assert "gives its validator other keys" in town.once("shop", "proposal", "show", number)["says"]


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


def test_a_proposal_that_allows_nothing_or_something_else_is_named(town: Council) -> None:
    keys = town.keys("shop")
    number = town.propose("join", "shop")
    join = ("validator", "join", "--keys", keys, "--proposal")
    said = town.refuses(Exit.USAGE, "shop", *join, number)
    assert f"proposal {number} is open" in said
    other = town.agree("suspend", "rival")
    said = town.refuses(Exit.USAGE, "shop", *join, other)
    assert f"proposal {other} is another one: rival is suspended" in said


def test_why_the_rules_refuse_is_told_with_what_can_be_done(town: Council) -> None:
    number = town.agree("leave", "mutual")
    error = town.refuses(Exit.REJECTED, "operator", "validator", "leave", "--proposal", number)
    assert "3 validators would be left" in error
    assert "depoli proposal replace" in error
    first, second = town.keys("shop"), town.keys("rival")
    number = town.agree("replace", "mutual", "shop")
    town.once("shop", "validator", "replace", "--proposal", number, "--keys", first)
    number = town.agree("replace", "operator", "rival")
    args: tuple[str | Path, ...] = ("replace", "--proposal", number, "--keys", second)
    error = town.refuses(Exit.REJECTED, "rival", "validator", *args)
    assert "opticians would have a quorum" in error
    used = town.keys("mutual")
    for role in ("consensus", "checkpoint", "node"):  # those that the shop has
        (used / f"{role}.seed").write_text((first / f"{role}.seed").read_text())
    error = town.refuses(Exit.REJECTED, "insurer", "validator", "rotate", "--keys", used)
    assert "the consensus key was registered before" in error


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
