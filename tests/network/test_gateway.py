"""The gateway as a process of its own, at a real network: the examples of its page, and kill -9."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node import testnet
from node.cli.home import load_home
from tests.network.faultnet import FaultNetwork, until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gateway.md"
EXAMPLES = ROOT / "scripts" / "data" / "claims"
STAGES = ["prepared", "locked", "submitted", "committed"]
DEPOLI = [sys.executable, "-m", "node.cli.main"]


class Gateway:
    """A shop's gateway, and the token of one application."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.port = testnet._free_ports(1)[0].port
        self.token = folder / "application.token"
        self.run("gateway", "token", "new", "--label", "shop software", "--output", self.token)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *args: str | Path) -> Any:  # noqa: ANN401
        """Run a command of the shop that succeeds; return its result."""
        command = [*DEPOLI, *map(str, args), "--home", str(self.home), "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self) -> None:
        listen = ["--listen", f"127.0.0.1:{self.port}", "--home", str(self.home)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*DEPOLI, "gateway", "run", *listen], cwd=ROOT, stdout=log, stderr=log
            )
        until(self._answers, (self.folder / "log").read_text)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        headers = {"Authorization": f"Bearer {self.token.read_text().strip()}"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        with contextlib.closing(connection):
            connection.request(method, path, data, headers)
            return json.loads(connection.getresponse().read())

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError):
            return "version" in self.ask("GET", "/v1/status")
        return False


def example(language: str, number: int = 0) -> str:
    """Return a program of the page."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found[number])


def document(number: int) -> dict[str, Any]:
    """Return an example's claim, to a payer of this network."""
    found: dict[str, Any] = json.loads((EXAMPLES / f"f2025-{number:04}.json").read_text())
    found["claim"]["payer"] = "insurer-a"
    return found


@pytest.fixture(scope="module")
def gateway(net: FaultNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = net.network.organisation("shop-1").home
    made = Gateway(home, tmp_path_factory.mktemp("gateway"))
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def test_the_python_of_the_page_hands_in_a_folder_and_keeps_receipts(
    gateway: Gateway, tmp_path: Path
) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.json").write_text(json.dumps(document(number)))
    assert example("python").count("\n") <= 30
    program = tmp_path / "example.py"
    program.write_text(example("python"))
    for _ in range(2):  # again, it changes nothing
        done = subprocess.run(
            [sys.executable, "-I", program, gateway.url, gateway.token, tmp_path],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert [line.split()[:3] for line in done.stdout.splitlines()] == [
            ["F2025-0001", "committed", "insurer-a"],
            ["F2025-0002", "committed", "insurer-a"],
        ]
    genesis = load_home(gateway.home).genesis
    for number in (1, 2):
        receipt = str(tmp_path / f"{number}.receipt")
        check = [*DEPOLI, "receipt", "verify", receipt, "--genesis", str(genesis)]
        told = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=True)
        assert told.stdout.endswith("verified\n")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js runs the example")
def test_the_javascript_of_the_page_follows_a_claim(gateway: Gateway, tmp_path: Path) -> None:
    program, claim = tmp_path / "example.mjs", tmp_path / "claim.json"
    assert example("javascript").count("\n") <= 30
    program.write_text(example("javascript"))
    claim.write_text(json.dumps(document(3)))
    command = ["node", str(program), gateway.url, str(gateway.token), str(claim)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("F2025-0003 committed")
        gateway.ask("POST", "/v1/claims/F2025-0003/cancel")
        assert running.stdout.read().splitlines() == ["ClaimSubmit APPLIED", "ClaimCancel APPLIED"]
    assert running.returncode == 0


def test_the_python_without_the_gateway_works_beside_it(gateway: Gateway, tmp_path: Path) -> None:
    claim = tmp_path / "claim.json"
    claim.write_text(json.dumps(document(4)))
    done = subprocess.run(
        [sys.executable, "-c", example("python", 1), gateway.home, claim],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("F2025-0004 committed")
    assert gateway.ask("GET", "/v1/claims/F2025-0004")["chain"]["state"] == "submitted"


def test_a_claim_is_shown_to_its_payer_who_signs_for_it(
    gateway: Gateway, net: FaultNetwork
) -> None:
    gateway.ask("POST", "/v1/claims?wait=60", document(9))
    shown = gateway.ask("POST", "/v1/claims/F2025-0009/disclosure")
    assert shown["member"] == "insurer-a"
    assert shown["state"] in {"waiting", "handed-on"}
    payer = net.network.organisation("insurer-a").home
    command = [*DEPOLI, "post", "run", "--once", "--home", str(payer)]

    def acknowledged() -> bool:
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        (line,) = gateway.ask("GET", "/v1/disclosures")["disclosures"]
        return bool(line["state"] == "acknowledged")

    until(acknowledged, "the payer's word does not come")
    again = gateway.ask("POST", "/v1/claims/F2025-0009/disclosure")
    assert again["state"] == "acknowledged"
    assert len(gateway.ask("GET", "/v1/disclosures")["disclosures"]) == 1


def test_killed_with_claims_on_their_way_it_loses_and_doubles_none(gateway: Gateway) -> None:
    lot = [document(number) for number in (5, 6, 7, 8)]
    for cut, stage in enumerate(STAGES):  # later each time, so that another step is cut
        answers = gateway.ask("POST", "/v1/lots", {"claims": lot[: cut + 1]})
        assert all(item["claim"] for item in answers["items"])
        newest = f"/v1/claims/{lot[cut]['claim']['reference']}"
        until(
            lambda newest=newest, stage=stage: (  # type: ignore[misc]
                STAGES.index(gateway.ask("GET", newest)["progress"]) >= STAGES.index(stage)
            ),
            f"it does not come to {stage}",
        )
        gateway.end(signal.SIGKILL)
        gateway.start()
    until(lambda: gateway.ask("GET", "/v1/status")["waiting"] == 0, "claims wait for ever")
    claims = gateway.run("claim", "list")
    on_chain = [each["reference"] for each in claims["claims"]]
    expected = [each["claim"]["reference"] for each in lot]
    assert sorted(each for each in on_chain if each in expected) == expected
    assert not {each["progress"] for each in claims["unsent"]} & set(STAGES)


def test_asked_to_stop_it_ends_well_and_says_where_it_was(gateway: Gateway) -> None:
    assert gateway.end(signal.SIGTERM) == 0
    log = (gateway.folder / "log").read_text()
    assert f"the gateway of shop-1 listens on http://127.0.0.1:{gateway.port}" in log
    assert "Traceback" not in log
    gateway.start()


def test_a_second_one_at_the_same_port_says_so(gateway: Gateway) -> None:
    listen = ["--listen", f"127.0.0.1:{gateway.port}", "--home", str(gateway.home)]
    done = subprocess.run(
        [*DEPOLI, "gateway", "run", *listen], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "choose another --listen" in done.stderr
