"""A network of real nodes whose wires run through a proxy, and what a test asks of it."""

import contextlib
import itertools
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import pytest

from contracts.calls import Call, PrescriptionCommit, encode_call
from contracts.parameters import Parameters
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.keys import Role, Signer, key_id
from ledger.transaction import Transaction, Unsigned
from node import testnet
from node.cli.home import load_home
from node.config import FILE_NAME, Address, load_config
from node.process import NoAnswer, Process, get_json
from node.testnet import LocalNetwork, Organisation
from scripts import kills
from tests.network.proxy import Proxy

DEADLINE_S: Final = 40.0  # of a condition: long, because machines are shared
WAIT_S: Final = 5  # a request waits so long for its block, then it is sent again
LOOK_S: Final = 0.02
ALTERED: Final = Path(__file__).parent / "altered"  # what a node's Python may find changed
PATIENCE: Final = 200  # blocks within which whoever was passed over leads again
# Rounds are short, so that a test that costs one costs little; a shared machine still keeps them.
PARAMETERS: Final[Mapping[str, int]] = {"base_timeout_ms": 500}

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """What a node said became of a transaction."""

    id: bytes
    height: int
    code: int  # of its one call; 0: applied


@dataclass
class FaultNetwork:
    """Real nodes, each pair with wires of its own that can be broken."""

    network: LocalNetwork
    proxy: Proxy
    told: dict[bytes, Told] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path, validators: int = 4, **parameters: int) -> Self:
        """Make a network whose nodes call each other through the proxy."""
        chosen = Parameters(**(dict(PARAMETERS) | parameters))
        return cls.route(testnet.create(folder, validators=validators, shops=1, parameters=chosen))

    @classmethod
    def route(cls, network: LocalNetwork) -> Self:
        """Let the nodes of a network call each other through a proxy."""
        kills.give_tokens(network)
        labels = [each.label for each in network.validators]
        pairs = list(itertools.permutations(labels, 2))
        ports = dict(zip(pairs, testnet._free_ports(len(pairs)), strict=True))
        targets = {label: load_config(network.process(label).home).p2p_listen for label in labels}
        for source in labels:
            _rewire(network.process(source).home / FILE_NAME, targets, source, ports)
        return cls(network, Proxy(targets, ports))

    def __enter__(self) -> Self:
        self.proxy.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.network.processes:  # whatever a test left it in, paused too
            process.kill()
        self.proxy.stop()

    @property
    def labels(self) -> tuple[str, ...]:
        return self.proxy.labels

    @property
    def sender(self) -> Organisation:
        """A shop: what it sends goes through whichever node is asked."""
        return self.network.shops[0]

    def process(self, label: str) -> Process:
        return self.network.process(label)

    def others(self, *labels: str) -> tuple[str, ...]:
        """All nodes but these."""
        return tuple(each for each in self.labels if each not in labels)

    # --- asking nodes ----------------------------------------------------------------------------

    def status(self, label: str) -> dict[str, Any]:
        return self.process(label).status()

    def height(self, label: str) -> int:
        """Return a node's height, -1 where it does not answer."""
        try:
            return int(self.status(label)["height"])
        except NoAnswer:
            return -1

    def submit(
        self, via: str, call: Call | None = None, *, sender: Organisation | None = None
    ) -> Told:
        """Send a call, a new prescription where none is given, until it is in a block."""
        made = transaction(self.network, sender or self.sender, call or new_prescription())
        return self.send(via, made)[0]

    def submit_many(self, via: str, count: int) -> list[Told]:
        """Send new prescriptions together, until all are in blocks."""
        made = (transaction(self.network, self.sender, new_prescription()) for _ in range(count))
        return self.send(via, *made)

    def send(self, via: str, *made: Transaction) -> list[Told]:
        """Send transactions through a node, again and again, until they are in blocks."""
        end, told = time.monotonic() + DEADLINE_S, dict[bytes, Told]()
        while len(told) < len(made):
            assert time.monotonic() < end, f"{via} does not get all into blocks: {self.heights()}"
            for result in post(self.network, via, [each.raw for each in made]):
                assert result["status"] in {"committed", "pending"}, result
                if result["status"] == "committed":
                    id_, outcome = bytes.fromhex(result["id"]), result["outcomes"][0]["code"]
                    told[id_] = Told(id_, int(result["height"]), int(outcome))
            if len(told) < len(made):
                time.sleep(LOOK_S)  # it does not take anything now
        self.told |= told
        return [told[each.id] for each in made]

    def until_level(self, *labels: str) -> int:
        """Wait until these nodes, or all, have the same last block; return its height."""
        chosen = labels or self.labels

        def heads() -> list[str]:
            with contextlib.suppress(NoAnswer):
                return [self.status(label)["hash"] for label in chosen]
            return []

        until(lambda: len(set(heads())) == 1, lambda: f"not level: {self.heights(chosen)}")
        return self.height(chosen[0])

    def until_height(self, height: int, *labels: str) -> None:
        """Wait until these nodes, or all, have that many blocks."""
        chosen = labels or self.labels
        until(
            lambda: all(self.height(label) >= height for label in chosen),
            lambda: f"not all come to {height}: {self.heights(chosen)}",
        )

    def until_ready(self, *labels: str) -> None:
        """Wait until these nodes, or all, would take traffic."""
        chosen = [self.process(label) for label in labels or self.labels]
        until(
            lambda: not any(process.not_ready() for process in chosen),
            lambda: f"not ready: {[(each.label, each.not_ready()) for each in chosen]}",
        )

    def leader(self, label: str) -> str:
        """Return who proposes first at the height that is open at a node."""
        return self.labels[int(self.ask(label, "/v1/validators")["leader"])]

    def ask(self, label: str, path: str) -> dict[str, Any]:
        """Return what a node answers to whoever may read everything."""
        address = load_config(self.process(label).home).api_listen
        return get_json(address, path, kills.token_of(self.network, label))

    def block(self, label: str, height: int) -> dict[str, Any]:
        """Return a block's header and certificate, as a node shows them."""
        return self.ask(label, f"/v1/blocks/{height}")

    def proposer(self, label: str) -> str:
        """Return who built the last block of a node."""
        member = self.ask(label, "/v1/blocks/latest")["header"]["proposer"]
        return next(each.label for each in self.network.validators if each.member.hex() == member)

    def drive(self, until_: Callable[[], bool], *via: str, together: int = 1) -> None:
        """Make blocks through these nodes in turn, or all, until a condition holds."""
        for _, label in zip(range(PATIENCE), itertools.cycle(via or self.labels), strict=False):
            self.submit_many(label, together)
            if until_():
                return
        raise AssertionError(f"it does not come within {PATIENCE} blocks")

    def heights(self, labels: Iterable[str] | None = None) -> dict[str, int]:
        return {label: self.height(label) for label in labels or self.labels}

    def require_whole(self, *labels: str) -> None:
        """Fail unless every transaction that was acknowledged stands once, where it was told."""
        self.until_level(*labels)
        for label in labels or self.labels:
            found = kills.read_chain(self.network, label)
            for told in self.told.values():
                assert found.get(told.id) == [told.height], (label, told)
            assert all(len(heights) == 1 for heights in found.values())

    def logged(self, label: str, event: str) -> list[dict[str, Any]]:
        """Return what a node has logged of an event."""
        lines = self.process(label).log.read_text("utf-8").splitlines()
        values = [json.loads(line) for line in lines if line.startswith("{")]
        return [value for value in values if value["event"] == event]

    @contextlib.contextmanager
    def loaded(self, *via: str) -> Iterator[None]:
        """Send prescriptions through each of these nodes, or all, one after the other, meanwhile.

        In the end everything that was sent has been acknowledged.
        """
        over, sent = threading.Event(), threading.Event()

        def send(label: str) -> None:
            while not over.is_set():
                self.submit(label)
                sent.set()

        with ThreadPoolExecutor() as threads:
            running = [threads.submit(send, label) for label in via or self.labels]
            try:
                until(sent.is_set, "nothing is committed")
                yield
            finally:
                over.set()
            for each in running:
                each.result()

    # --- treating nodes badly --------------------------------------------------------------------

    def pause(self, label: str) -> None:
        """Let a process stand still, its connections open."""
        self._signal(label, signal.SIGSTOP)

    def resume(self, label: str) -> None:
        self._signal(label, signal.SIGCONT)

    def start(self, *labels: str) -> None:
        """Start nodes and wait until each answers."""
        self.network.start(*labels)

    def mend(self) -> None:
        """Heal all wires, run all nodes, and wait until they are level and hold what was told."""
        self.proxy.heal()
        for process in self.network.processes:
            if (pid := process.pid()) is not None:
                os.kill(pid, signal.SIGCONT)
        self.start()
        self.until_ready()
        self.require_whole()

    def _signal(self, label: str, number: signal.Signals) -> None:
        pid = self.process(label).pid()
        assert pid is not None
        os.kill(pid, number)


def transaction(
    network: LocalNetwork, sender: Organisation, call: Call, *, key: Signer | None = None
) -> Transaction:
    """Return a call signed by a member, with this key of it if not that of its home."""
    key = key or key_of(sender)
    body = Unsigned(
        transactions.VERSION,
        network.chain_id,
        sender.member,
        key_id(Role.TRANSACTION, key.algorithm, key.public),
        int(time.time()) + 3600,
        secrets.token_bytes(16),
        (encode_call(call),),
    )
    return transactions.sign(body, key)


def key_of(sender: Organisation) -> Signer:
    return load_home(sender.home).key()


def new_prescription() -> PrescriptionCommit:
    return PrescriptionCommit(secrets.token_bytes(32))


def post(
    network: LocalNetwork, via: str, raws: Sequence[bytes], wait_s: float = WAIT_S
) -> list[dict[str, Any]]:
    """Return what a node says became of transactions; nothing where it takes none now."""
    address = load_config(network.process(via).home).api_listen
    connection = HTTPConnection(*address, timeout=wait_s + 5)
    headers = {
        "Authorization": f"Bearer {kills.token_of(network, via)}",
        "Content-Type": "application/msgpack",
    }
    try:
        connection.request(
            "POST", f"/v1/transactions?wait={wait_s:.0f}", encode(tuple(raws)), headers
        )
        value = json.loads(connection.getresponse().read())
    except (OSError, HTTPException):
        return []
    finally:
        connection.close()
    assert "transactions" in value or value["status"] == kills.UNREADY, value
    found: list[dict[str, Any]] = value.get("transactions", [])
    return [
        each
        for each in found
        if each["status"] != "rejected" or each["problem"]["status"] != kills.BUSY
    ]


def until(condition: Callable[[], object], fault: Callable[[], str] | str) -> None:
    """Wait for a condition; fail where it does not come."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(fault if isinstance(fault, str) else fault())
        time.sleep(LOOK_S)  # between two looks at the condition


@contextlib.contextmanager
def running(folder: Path, validators: int = 4, **parameters: int) -> Iterator[FaultNetwork]:
    """A network whose nodes all run and are ready."""
    with FaultNetwork.create(folder, validators, **parameters) as made:
        made.start()
        yield made


@contextlib.contextmanager
def changed_python(**environment: str) -> Iterator[None]:
    """Nodes that are started now find these things changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ALTERED))
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def _rewire(
    path: Path,
    targets: Mapping[str, Address],
    source: str,
    ports: Mapping[tuple[str, str], Address],
) -> None:
    """Let a node call each other one at the proxy's port for that pair."""
    text = path.read_text("utf-8")
    for target, address in targets.items():
        if target != source:
            line = f'"{target}" = "{address}"'
            assert line in text
            text = text.replace(line, f'"{target}" = "{ports[source, target]}"')
    path.write_text(text, "utf-8")
