"""The whole path, as people type it: two shops, two insurers, an operator for one, four validators.

Post travels between real nodes; nothing is handed over by hand but what a patient or a court takes.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node import testnet
from node.cli.main import main
from node.testnet import LocalNetwork
from tests.network.faultnet import until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "scripts" / "data"


class People:
    """Those who type at one home."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder

    def run(self, *args: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, [*map(str, args), "--home", str(self.home)])
        return done.exit_code, done.stdout, done.stderr

    def does(self, *args: object) -> Any:  # noqa: ANN401
        """Run a command that succeeds; return its result, or its results line by line."""
        code, out, err = self.run(*args, "--json")
        assert code == 0, (args, err)
        try:
            return json.loads(out)
        except ValueError:
            return [json.loads(line) for line in out.splitlines()]

    def fails(self, code: int, *args: object) -> str:
        """Run a command that ends with this code; return what it says."""
        found, _, err = self.run(*args)
        assert found == code, (args, err)
        return err

    def post(self) -> Any:  # noqa: ANN401
        return self.does("post", "run", "--once")

    def file(self, name: str, value: object) -> Path:
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path


@pytest.fixture
def net(tmp_path: Path) -> Iterator[LocalNetwork]:
    network = testnet.create(tmp_path / "net", shops=2)
    network.start()
    yield network
    for process in network.processes:
        process.kill()


def claim(number: int, payer: str, leg: str = "complementary") -> dict[str, Any]:
    found = json.loads((EXAMPLES / "claims" / f"f2025-{number:04}.json").read_text())
    found["claim"] |= {"payer": payer, "leg": leg}
    return found  # type: ignore[no-any-return]


def acting(net: LocalNetwork, folder: Path) -> People:
    """Return the operator's people at a home in which they decide in insurer-b's name.

    It holds what the page tells: the operator's own signing key, a token of its own node for the
    insurer, and the insurer's sealing key, which opens what is sealed and signs nothing.
    """
    operator, insurer = (net.organisation(label) for label in ("payment-operator", "insurer-b"))
    home = folder / "acting"
    home.mkdir()
    made = CliRunner().invoke(
        main,
        [
            "node", "token", "new", "--config", str(operator.node), "--scope", "read",
            "--scope", "submit", "--member", "insurer-b", "--output", str(home / "token"),
        ],
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    net.stop("payment-operator")
    net.start("payment-operator")  # it lets the token in
    secret = home / "sealing.seed"
    shutil.copy(insurer.keys / "sealing.seed", secret)
    lines = {
        "node": net.api("payment-operator"),
        "member": insurer.member.hex(),
        "label": "insurer-b",
        "key_file": str(operator.keys / "transaction.seed"),
        "sealing_key_file": "sealing.seed",
        "token_file": "token",
        "vault": "vault.sqlite",
        "vault_key_file": str(insurer.home / "vault.key"),
        "genesis": str(net.genesis),
    }
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (home / "client.toml").write_text(text)
    return People(home, folder)


def until_posted(who: People, purpose: str) -> None:
    """Take post until something of this purpose came, and was taken."""

    def came() -> bool:
        found = [each["verdict"] for each in who.post() if each.get("purpose") == purpose]
        assert set(found) <= {"taken"}, found
        return bool(found)

    until(came, f"no {purpose} comes")


def until_decided(who: People, policy: Path, wanted: dict[str, str]) -> None:
    """Run the inbox until it said this of these claims."""
    said: dict[str, str] = {}

    def decided() -> bool:
        for each in who.does("inbox", "run", "--policy", policy, "--post", "--once"):
            if "claim" in each:
                said[each["claim"]] = each["event"]
        return wanted.items() <= said.items()

    until(decided, lambda: f"it said {said}, not {wanted}")


@pytest.mark.timeout(240)
def test_from_the_prescription_to_the_money_and_to_nothing(
    net: LocalNetwork, tmp_path: Path
) -> None:
    one, two, a, b = (
        People(net.organisation(label).home, tmp_path)
        for label in ("shop-1", "shop-2", "insurer-a", "insurer-b")
    )
    # An operator decides in the name of insurer-b.
    operator = acting(net, tmp_path)
    b.does("member", "delegate", "payment-operator", "--scope", "claims", "--days", "30")
    text = (
        (EXAMPLES / "policy.toml").read_text().replace("invoice_days = 365", "invoice_days = 3650")
    )
    policy = one.file("policy.toml", text)
    mandated = text[: text.index("[settle]")]  # who acts for an insurer settles nothing
    policy_of_b = one.file("policy-of-b.toml", mandated)

    # Shop 1 asks insurer-a beforehand; it asks back whether an early renewal qualifies.
    before = claim(3, "insurer-a")["prescription"] | {"dateWritten": "2022-01-05"}
    before["lensSpecification"][0]["sphere"] = 0
    one.does("prescription", "add", one.file("old.json", before), "--reference", "ORD-2022")
    early = claim(3, "insurer-a")
    asking = {name: value for name, value in early["claim"].items() if name != "authorisation"}
    asking["quote_date"] = asking.pop("invoice_date")
    request = {
        "format": "depoli/authorisation/1",
        "prescription": early["prescription"],
        "prescription_reference": "ORD-2024",
        "authorisation": asking | {"reference": "PEC-1"},
    }
    agreement = one.does("authorisation", "request", one.file("pec.json", request))
    agreement = agreement["authorisation"]
    one.does("disclosure", "send", "--authorisation", "PEC-1")
    until_posted(a, "authorisation")
    a.does("authorisation", "ask", agreement, "--question", "early-renewal-qualifies")
    until_posted(one, "question")
    one.does(
        "renewal", "attest", "PEC-1", "--before", "ORD-2022", "--last", "2023-01-10",
        "--on", "2025-03-01", "--age", "40", "--frame",
    )  # fmt: skip
    until_posted(a, "answer")
    a.does("authorisation", "grant", agreement)

    # It claims what was agreed; insurer-a's machine accepts.
    early["authorisation_reference"] = "PEC-1"
    early["prescription_reference"] = "ORD-2024"
    del early["prescription"]
    agreed = one.does("claim", "submit", one.file("early.json", early))["claim"]
    one.does("disclosure", "send", "--all")
    until_decided(a, policy, {agreed: "accepted"})

    # Shop 2 works without network, then flushes. The operator's machine decides for insurer-b, and
    # its people where an agreement should have been asked for.
    documents = [claim(number, "insurer-b") for number in (5, 7, 8)]
    documents[2]["claim"]["amounts"]["lenses"] += 50_000
    files = [two.file(f"{number}.json", each) for number, each in enumerate(documents)]
    two.does("lot", "queue", *files)
    flushed = two.does("lot", "flush", "--now")["claims"]
    cheap, other, dear = (each["claim"] for each in flushed)
    two.does("disclosure", "send", "--all")
    until_decided(operator, policy_of_b, {cheap: "accepted", other: "accepted", dear: "review"})
    assert [each["claim"] for each in operator.does("inbox", "list")] == [dear]
    operator.does("inbox", "decide", dear, "--reject", "rights-closed")
    two.does("claim", "dispute", "F2025-0008", "--ground", "rejection")
    # The insurer settles by itself: it is shown the same, and a person of it answers the dispute.
    folder = tmp_path / "shown"
    references = [each["claim"]["reference"] for each in documents]
    two.does("disclosure", "make", "--folder", folder, *references)
    assert len(b.does("disclosure", "verify", *sorted(folder.iterdir()))) == 3
    b.does("claim", "overturn", dear, "--human")

    # Both insurers pay, and both shops find the sum to be theirs.
    settled = {}
    for payer, shop, label in ((a, one, "shop-1"), (b, two, "shop-2")):
        made = payer.does(
            "settlement", "create", "--beneficiary", label, "--all", "--payment", f"VIR {label}"
        )
        settled[label] = made["settlement"]
        until_posted(shop, "settlement")
        shop.does("settlement", "confirm", settled[label])
    for shop, name in ((one, "F2025-0003"), (two, "F2025-0008")):
        assert shop.does("claim", "show", name)["chain"]["state"] == "settled"

    # What a shop keeps for a court, and for the patient who asks who saw what.
    genesis = ("--genesis", net.genesis)
    receipt, page = tmp_path / "receipt.json", tmp_path / "receipt.html"
    one.does("receipt", "export", "F2025-0003", "--output", receipt)
    for command in (("verify", receipt), ("print", receipt, "--output", page)):
        done = CliRunner().invoke(main, ["receipt", *map(str, command), *map(str, genesis)])
        assert done.exit_code == 0, done.stderr
    seen = one.does("disclosure", "list", "--prescription", "ORD-2024")
    assert {(each["member"], each["purpose"], each["state"]) for each in seen} == {
        ("insurer-a", "authorisation", "acknowledged"),
        ("insurer-a", "question", "taken"),
        ("insurer-a", "answer", "acknowledged"),
        ("insurer-a", "reimbursement", "acknowledged"),
    }

    # The patient wants to be forgotten: nothing is left at the shop, nor at who was shown it.
    assert len(a.does("erase", "--dry-run", "--insured", early["claim"]["insured"])) > 0
    asked = one.does("erase", "ORD-2024", "--yes")["erasures"][0]["requests"]
    assert {each["recipient"] for each in asked} == {"insurer-a"}
    until_posted(a, "erasure")
    assert {each["outcome"] for each in a.does("erase", "answer")} == {"erased"}
    (erasure,) = one.does("erase", "status")
    assert erasure["over"]
    assert {each["outcome"] for each in erasure["requests"]} == {"erased"}
    assert "ORD-2024" in one.fails(5, "prescription", "show", "ORD-2024")
    assert a.does("claim", "show", agreed)["disclosed"] is False

    # Whoever audits sees all of it, and nothing of a person.
    export, token = tmp_path / "chain.export", net.auditor.home / "token"
    node = net.api("federation")
    for audit in (
        ("export", "--node", node, "--token-file", token, "--output", export),
        ("verify", export, *genesis),
    ):
        done = CliRunner().invoke(main, ["audit", *map(str, audit)])
        assert done.exit_code == 0, (audit, done.stderr)
    second = [sys.executable, "scripts/recheck.py", "chain", *map(str, (export, *genesis))]
    subprocess.run(second, cwd=ROOT, check=True, capture_output=True)
