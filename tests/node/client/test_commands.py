"""The people's commands, from the file that a shop's software writes to the settled batch."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.genesis import assemble, sign
from contracts.genesis_json import signed_json
from ledger.keys import Role
from node.cli.main import main
from node.cli.person import Person
from node.errors import Exit
from tests.contracts.world import VALIDATORS, genesis, id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import MemoryNode, example


class Town:
    """Homes of a shop, a rival and a payer, who all use one node."""

    def __init__(self, folder: Path, node: MemoryNode) -> None:
        self.folder, self.node = folder, node
        founding = genesis()
        signed = assemble(founding, [sign(founding, key_of(v, Role.CONSENSUS)) for v in VALIDATORS])
        self.genesis = folder / "genesis.json"
        self.genesis.write_text(signed_json(signed))
        for name in ("shop", "rival", "insurer"):
            self._settle(name)

    def _settle(self, name: str) -> None:
        home = self.folder / name
        home.mkdir()
        secrets = {
            "key": sha256(f"{name}/{Role.TRANSACTION.name}".encode()).hexdigest(),
            "token": "depoli_x",
            "vault.key": desk.KEY.hex(),
        }
        for file, text in secrets.items():
            (home / file).touch(0o600)
            (home / file).write_text(text)
        (home / "client.toml").write_text(
            f'node = "http://127.0.0.1:9"\nmember = "{id_of(name).hex()}"\nlabel = "{name}"\n'
            'key_file = "key"\ntoken_file = "token"\nvault = "vault.sqlite"\n'
            'vault_key_file = "vault.key"\ngenesis = "../genesis.json"\n'
        )

    def call(self, name: str, *args: str | Path) -> Result:
        line = [*map(str, args), "--home", str(self.folder / name)]
        return CliRunner().invoke(main, line)

    def does(self, name: str, *args: str | Path) -> Any:  # noqa: ANN401
        """Run a command that succeeds; return what it prints as JSON."""
        self.call(name, *args)  # for people, and nothing is done twice by doing it twice
        result = self.call(name, *args, "--json")
        assert result.exit_code == Exit.OK, result.stderr
        return json.loads(result.stdout)

    def once(self, name: str, *args: str | Path) -> Any:  # noqa: ANN401
        """Run a command once; return what it prints as JSON."""
        result = self.call(name, *args, "--json")
        assert result.exit_code == Exit.OK, result.stderr
        return json.loads(result.stdout)

    def refuses(self, code: Exit, name: str, *args: str | Path) -> str:
        """Run a command that fails; return its two lines."""
        result = self.call(name, *args)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert "fault of depoli" not in result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return result.stderr

    def file(self, name: str, document: dict[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    node = MemoryNode()
    monkeypatch.setattr(Person, "node", lambda _person: node)
    return Town(tmp_path, node)


def test_a_claim_goes_from_file_to_settled(town: Town) -> None:
    claim = town.does("shop", "claim", "submit", town.file("c.json", example()))
    assert claim["progress"] == "committed"
    disclosure = town.folder / "d.json"
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", disclosure)
    (seen,) = town.does("insurer", "disclosure", "verify", disclosure)
    assert (seen["right"], seen["cents"]) == ("V01", 13_000)
    assert seen["bearable_cents"] == 13_000
    (accepted,) = town.once("insurer", "claim", "accept", claim["claim"])
    assert accepted["outcome"] == "accepted"
    statement = town.folder / "s.json"
    settle = ("settlement", "create", "--beneficiary", "shop", "--all", "--output", statement)
    settled = town.once("insurer", *settle)
    assert (settled["claims"], settled["cents"]) == (1, 13_000)
    assert town.once("shop", "settlement", "confirm", statement)["state"] == "confirmed"
    shown = town.does("shop", "settlement", "show", settled["settlement"])
    assert (shown["state"], shown["cents"]) == ("confirmed", 13_000)
    assert town.does("shop", "claim", "show", "F2025-0003")["chain"]["state"] == "settled"
    assert town.does("insurer", "claim", "show", claim["claim"])["disclosed"]
    (listed,) = town.does("shop", "claim", "list")["claims"]
    assert (listed["reference"], listed["state"]) == ("F2025-0003", "settled")


def test_a_settlement_is_built_disputed_given_up_and_told_again(town: Town) -> None:
    claim = town.does("shop", "claim", "submit", town.file("c.json", example()))["claim"]
    disclosure, told, again = (town.folder / name for name in ("d.json", "s.json", "t.json"))
    town.once("shop", "disclosure", "make", "F2025-0003", "--output", disclosure)
    town.does("insurer", "disclosure", "verify", disclosure)
    town.once("insurer", "claim", "accept", claim)
    create = ("settlement", "create", "--beneficiary", "shop", "--all")
    town.refuses(Exit.USAGE, "insurer", *create)
    town.refuses(Exit.USAGE, "insurer", *create, "--output", disclosure)
    town.refuses(Exit.REJECTED, "insurer", *create, "--output", told, "--payment", "né")
    opened = town.once("insurer", *create, "--leave-open")
    id_ = opened["settlement"]
    town.once("insurer", "settlement", "remove", id_, "--claims", claim)
    town.refuses(Exit.REJECTED, "insurer", "settlement", "announce", id_, "--output", told)
    nowhere = ("--output", str(Path(told).parent / "none" / "told.json"))
    town.refuses(Exit.USAGE, "insurer", "settlement", "announce", id_, *nowhere)
    assert town.once("insurer", "settlement", "add", id_, "--all")["claims"] == 1
    announce = ("settlement", "announce", id_, "--payment", "VIR 7", "--output", told)
    assert town.once("insurer", *announce)["cents"] == 13_000
    assert town.once("insurer", "settlement", "statement", id_, "--output", again)
    town.does("shop", "disclosure", "verify", again)
    dispute = ("settlement", "dispute", id_, "--ground")
    assert "payment-not-found" in town.refuses(Exit.USAGE, "shop", *dispute, "cold")
    assert town.once("shop", *dispute, "payment-not-found")["state"] == "disputed"
    assert town.once("insurer", "settlement", "insist", id_)["state"] == "upheld"
    assert town.once("shop", "settlement", "withdraw", id_)["state"] == "announced"
    assert town.once("shop", *dispute, "sum-wrong")["ground"] == "SUM_WRONG"
    assert town.once("insurer", "settlement", "cancel", id_)["state"] == "cancelled"
    (listed,) = town.does("insurer", "settlement", "list", "--state", "cancelled")
    assert (listed["settlement"], listed["cents"], listed["payment"]) == (id_, 13_000, "VIR 7")
    town.refuses(Exit.NOT_FOUND, "insurer", "settlement", "statement", id_, "--output", "x.json")
    second = town.folder / "u.json"
    assert town.once("insurer", *create, "--output", second)["settlement"] != id_
    assert town.once("shop", "settlement", "confirm", second)["state"] == "confirmed"


def test_a_disclosure_given_with_the_decision_is_verified_first(town: Town) -> None:
    claim = town.once("shop", "claim", "submit", town.file("c.json", example()))["claim"]
    disclosure = town.folder / "d.json"
    town.once("shop", "disclosure", "make", claim, "--output", disclosure)
    value = json.loads(disclosure.read_text())
    false = town.file("false.json", value | {"cents": 1})
    accept = ("claim", "accept", claim)
    assert "amount" in town.refuses(
        Exit.VERIFICATION_FAILED, "insurer", *accept, "--disclosure", false
    )
    part = town.folder / "part.json"
    town.once("insurer", *accept, "--disclosure", disclosure, "--amount", "500", "--output", part)
    (seen,) = town.does("shop", "disclosure", "verify", part)
    assert (seen["kind"], seen["cents"]) == ("statement", 500)


def test_a_doubt_is_said_and_the_claim_goes_on(town: Town) -> None:
    doubtful = example()
    doubtful["claim"]["codes"]["right"] = "V02"
    file = town.file("c.json", doubtful)
    said = "look again: codes.right: V02 is claimed, and what is prescribed makes V01"
    for command in (("claim", "submit"), ("lot", "submit")):
        result = town.call("shop", *command, file)
        assert result.exit_code == Exit.OK
        assert said in result.stderr


def test_a_prescription_travels_with_its_secret_and_its_item_is_claimed_once(town: Town) -> None:
    resource = town.file("rx.json", example()["prescription"])
    kept = town.does("shop", "prescription", "add", resource, "--reference", "ORD-1")
    shown = town.does("shop", "prescription", "show", "ORD-1")
    assert shown["right"] == "-4.25 (+1.75) 75°"
    assert shown["commitment"] == kept["commitment"]
    document = example(reference="F-1")
    del document["prescription"]
    document["prescription_reference"] = "ORD-1"
    town.does("shop", "claim", "submit", town.file("c.json", document))
    handed = town.folder / "handed.json"
    town.once("shop", "prescription", "export", "ORD-1", "--output", handed)
    town.does("rival", "prescription", "add", handed)
    assert town.does("rival", "prescription", "list")[0]["reference"] == "ORD-1"
    stderr = town.refuses(Exit.REJECTED, "rival", "claim", "submit", town.folder / "c.json")
    assert "claimed already, here or in another shop" in stderr
    assert "secret" in stderr
    assert town.does("rival", "claim", "show", "F-1")["progress"] == "refused"
    town.once("shop", "claim", "cancel", "F-1")
    town.file("c.json", document | {"claim": document["claim"] | {"reference": "F-2"}})
    claim = town.does("rival", "claim", "submit", town.folder / "c.json")
    assert claim["progress"] == "committed"


def test_a_claim_is_rejected_with_a_reason_of_the_list(town: Town) -> None:
    claim = town.once("shop", "claim", "submit", town.file("c.json", example()))["claim"]
    stderr = town.refuses(Exit.USAGE, "insurer", "claim", "reject", claim, "--reason", "ugly")
    assert "code-inconsistent" in stderr
    town.once("insurer", "claim", "reject", claim, "--reason", "code-inconsistent")
    assert town.does("shop", "claim", "show", claim)["chain"]["reason"] == "CODE_INCONSISTENT"
    stderr = town.refuses(Exit.REJECTED, "insurer", "claim", "reject", claim, "--reason", "other")
    assert "the claim is rejected, and does not allow this" in stderr


@pytest.mark.parametrize(
    ("code", "args", "words"),
    [
        (Exit.USAGE, ("claim", "submit", "none.json"), "there is no file none.json"),
        (Exit.USAGE, ("claim", "accept", "xyz"), "xyz is no id"),
        (Exit.USAGE, ("claim", "accept", "0" * 64, "1" * 64, "--amount", "5"), "for one claim"),
        (Exit.REJECTED, ("claim", "accept", "0" * 64), "no disclosure of 0000"),
        (Exit.NOT_FOUND, ("claim", "show", "F-9"), "the vault holds no claim F-9"),
        (Exit.NOT_FOUND, ("claim", "show", "0" * 64), "no such claim"),
        (Exit.NOT_FOUND, ("claim", "cancel", "F-9"), "the vault holds no claim F-9"),
        (Exit.NOT_FOUND, ("prescription", "show", "X"), "the vault holds no prescription X"),
        (Exit.USAGE, ("disclosure", "make", "F-9"), "--output FILE for one"),
        (Exit.USAGE, ("disclosure", "verify", "none.json"), "there is no file"),
        (Exit.USAGE, ("settlement", "confirm", "none.json"), "there is no file"),
        (Exit.USAGE, ("receipt", "export", "--output", "r.json"), "name a claim"),
    ],
)
def test_a_wrong_use_is_told(town: Town, code: Exit, args: tuple[str, ...], words: str) -> None:
    assert words in town.refuses(code, "shop", *args)


def test_a_file_of_another_kind_is_told(town: Town) -> None:
    other = town.file("x.json", {"format": "depoli/other/1"})
    for noun, verb in (("disclosure", "verify"), ("settlement", "confirm")):
        assert "x.json is no" in town.refuses(Exit.USAGE, "shop", noun, verb, other)


def test_a_home_that_cannot_be_is_told(town: Town) -> None:
    path = town.folder / "shop" / "client.toml"
    right = path.read_text()
    for wrong, words in (
        (right + 'colour = "blue"\n', "there is no key colour"),
        (right.replace('label = "shop"\n', ""), "the key label is missing"),
        (right.replace(id_of("shop").hex(), "zz"), "member must be"),
        (right.replace("http://127.0.0.1:9", "ftp://x"), "node must be a URL"),
        ("[", "not a TOML file"),
    ):
        path.write_text(wrong)
        assert words in town.refuses(Exit.USAGE, "shop", "claim", "list")


def test_a_vault_key_of_another_vault_is_told(town: Town) -> None:
    town.once("shop", "prescription", "list")
    key = town.folder / "shop" / "vault.key"
    key.write_text("00" * 32)
    assert "does not open" in town.refuses(Exit.WRONG_PASSPHRASE, "shop", "prescription", "list")
    key.write_text("nonsense")
    stderr = town.refuses(Exit.USAGE, "shop", "prescription", "list")
    assert "nonsense" not in stderr


def test_a_passphrase_comes_from_standard_input(town: Town) -> None:
    path = town.folder / "shop" / "client.toml"
    path.write_text(path.read_text().replace('vault_key_file = "vault.key"\n', ""))
    line = ["prescription", "list", "--json", "--home", str(town.folder / "shop")]
    assert CliRunner().invoke(main, line, input="monture\n").exit_code == Exit.OK
    refused = CliRunner().invoke(main, line, input="verre\n")
    assert refused.exit_code == Exit.WRONG_PASSPHRASE
    assert "verre" not in refused.output


@pytest.mark.parametrize("content", ["", "{}", '{"format": "depoli/receipt/1"}', "\x00"])
def test_a_receipt_that_is_none_is_told(town: Town, content: str) -> None:
    path = town.folder / "r.json"
    path.write_text(content)
    result = CliRunner().invoke(
        main, ["receipt", "verify", str(path), "--genesis", str(town.genesis)]
    )
    assert result.exit_code == Exit.VERIFICATION_FAILED
    assert result.stderr.startswith("error: malformed receipt")
