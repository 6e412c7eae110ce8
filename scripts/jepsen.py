"""Clients that claim while the network is broken in every way, and a check that it lied to none.

Real processes behind a proxy that breaks wires. Clients send prescriptions and claims through
whichever node they like, some of them against each other: two claims that use one mark, of which
one may win. Meanwhile one fault after the other befalls the nodes, each drawn from the seed. In the
end everything is mended, and `scripts.history` judges what clients were told by every node's chain.
"""

import argparse
import contextlib
import functools
import json
import os
import queue
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from contracts import calls
from contracts.calls import Call
from ledger.errors import LedgerError
from ledger.receipt import parse_json
from ledger.transaction import Transaction, parse
from node import ceremony, testnet
from node.config import FILE_NAME, load_config
from node.process import NoAnswer, Process, request
from scripts import bench, kills
from scripts.history import Block, Findings, Operation, judge
from scripts.kills import Failed, say
from tests.network.faultnet import FaultNetwork, key_of, post, transaction, until

HELD_S: Final = (1.5, 4.0)  # how long a fault lasts
BETWEEN_S: Final = (0.2, 1.0)  # how long nothing is wrong
RECOVERY_S: Final = 60.0  # after which it has not recovered
PATIENCE_S: Final = 60.0  # after which a client gives up on a transaction
RESEND_S: Final = 0.1
WAIT_S: Final = 3.0
LOOK_S: Final = 0.05
TORN_BYTES: Final = 300  # of the journal's end: some promises
SKEW_S: Final = 5.0  # more than any block's time may be off
SKEWED: Final = """\
import os, time
_skew = float(os.environ["DEPOLI_SKEW_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _skew
time.time_ns = lambda: _time_ns() + int(_skew * 1e9)
"""


# --- clients --------------------------------------------------------------------------------------


class Clients:
    """Threads that send one transaction after the other, and remember what they were told."""

    def __init__(self, net: FaultNetwork, count: int, seed: int) -> None:
        self.net = net
        self.operations: list[Operation] = []
        self._rivals: queue.Queue[tuple[bytes, Transaction]] = queue.Queue()
        self._over = threading.Event()
        self._seed, self._count = seed, count
        shop = net.sender
        payer = net.network.organisation("insurer-a").member
        self._sender = bench.Sender(shop.member, key_of(shop), net.network.chain_id, payer)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let them work meanwhile; then wait until each has its answer."""
        with ThreadPoolExecutor(self._count) as threads:
            working = [
                threads.submit(self._work, random.Random(f"{self._seed}/{number}"))  # noqa: S311
                for number in range(self._count)
            ]
            try:
                yield
            finally:
                self._over.set()
            for each in working:
                each.result()
        self._over.clear()

    @property
    def acknowledged(self) -> int:
        """How many transactions are in a block, as clients were told."""
        return sum(each.height is not None for each in self.operations)

    def _work(self, chance: random.Random) -> None:
        while not self._over.is_set():
            try:
                contest, made = self._rivals.get_nowait()
            except queue.Empty:
                if chance.random() < 0.5:  # noqa: PLR2004  (even)
                    self._do(chance, self._made(calls.PrescriptionCommit(secrets.token_bytes(32))))
                else:
                    self._claim(chance)
            else:
                self._do(chance, made, contest)
        while not self._rivals.empty():  # a contest that nobody enters has no winner
            with contextlib.suppress(queue.Empty):
                self._do(chance, self._rivals.get_nowait()[1], None)

    def _claim(self, chance: random.Random) -> None:
        """Lock a mark, then use it in two claims that differ; another client sends the second."""
        before, (claim,) = bench.prepare(self._sender, 1)
        self._do(chance, parse(self._sender.transaction(before)))
        first = calls.parse_call(claim)
        assert isinstance(first, calls.ClaimSubmit)
        contest = first.marks[0].mark
        for _ in range(2):
            self._rivals.put((contest, self._made(_with_other_document(first))))

    def _do(self, chance: random.Random, made: Transaction, contest: bytes | None = None) -> None:
        """Send one transaction through one node after the other, until one says what it became."""
        started = time.monotonic()
        told: Mapping[str, Any] | None = None
        while told is None and time.monotonic() - started < PATIENCE_S:
            for result in self._post(chance.choice(self.net.labels), made):
                if result["status"] == "committed":
                    told = result
                elif result["status"] == "rejected":
                    raise Failed(f"a good transaction was refused: {json.dumps(result)}")
            if told is None:
                time.sleep(RESEND_S)  # before the same is sent again
        ended = time.monotonic()
        height: int | None = None
        codes: tuple[int, ...] = ()
        if told is not None:
            height = int(told["height"])
            codes = tuple(int(outcome["code"]) for outcome in told["outcomes"])
        self.operations.append(Operation(made.id, started, ended, height, codes, contest))

    def _post(self, via: str, made: Transaction) -> list[dict[str, Any]]:
        return post(self.net.network, via, [made.raw], wait_s=WAIT_S)

    def _made(self, call: Call) -> Transaction:
        return transaction(self.net.network, self.net.sender, call)


def _with_other_document(claim: calls.ClaimSubmit) -> calls.ClaimSubmit:
    return calls.ClaimSubmit(
        claim.payer,
        claim.leg,
        claim.prescription,
        secrets.token_bytes(32),
        claim.amount,
        claim.marks,
        claim.authorisation,
        claim.prior,
    )


# --- what befalls the nodes -----------------------------------------------------------------------


class Nemesis:
    """Faults by name: each is brought about, and its return value brought to an end."""

    def __init__(self, net: FaultNetwork, chance: random.Random, folder: Path) -> None:
        self._net, self._chance, self._folder = net, chance, folder
        self._copies = 0
        self.faults: dict[str, Callable[[], Callable[[], object]]] = {
            "crash": self._crash,
            "crash-all": functools.partial(self._crash, len(net.labels)),
            "pause": self._pause,
            "halves": self._halves,
            "isolate": self._isolate,
            "ring": self._ring,
            "mute": functools.partial(self._one_way, outwards=True),
            "deaf": functools.partial(self._one_way, outwards=False),
            "slow": self._slow,
            "flap": self._flap,
            "clock": self._clock,
            "truncate": self._truncate,
            "restore": self._restore,
            "twin": self._twin,
        }

    def _crash(self, count: int = 0) -> Callable[[], object]:
        """Kill some nodes at once."""
        count = count or self._chance.randint(1, len(self._net.labels) - 1)
        for label in self._chance.sample(self._net.labels, count):
            self._net.process(label).kill()
        return self._heal

    def _pause(self) -> Callable[[], object]:
        """Let a node stand still, its connections open."""
        label = self._chance.choice(self._net.labels)
        self._net.pause(label)
        return lambda: self._net.resume(label)

    def _halves(self) -> Callable[[], object]:
        """Cut the nodes into two halves that do not reach each other."""
        labels = self._shuffled()
        half = len(labels) // 2
        self._net.proxy.split(labels[:half], labels[half:])
        return self._heal

    def _isolate(self) -> Callable[[], object]:
        """Cut one node off."""
        self._net.proxy.isolate(self._chance.choice(self._net.labels))
        return self._heal

    def _ring(self) -> Callable[[], object]:
        """Let each node reach the nearest only: each a majority, and each another one."""
        labels = self._shuffled()
        self._net.proxy.ring(labels, reach=max(1, len(labels) // 3))
        return self._heal

    def _one_way(self, *, outwards: bool) -> Callable[[], object]:
        """Let one node not be heard, or hear nothing, over connections that stand."""
        label = self._chance.choice(self._net.labels)
        for other in self._net.others(label):
            self._net.proxy.hold(*((label, other) if outwards else (other, label)))
        return self._heal

    def _slow(self) -> Callable[[], object]:
        """Delay and throttle each wire by its own measure."""
        for source in self._net.labels:
            for target in self._net.others(source):
                delay_s, rate = self._chance.uniform(0, 0.2), self._chance.uniform(5e4, 1e6)
                self._net.proxy.slow(source, target, delay_s=delay_s, bytes_per_s=rate)
        return self._heal

    def _flap(self) -> Callable[[], object]:
        """Break links again and again."""
        over = threading.Event()

        def flap() -> None:
            chance = random.Random(self._chance.random())  # noqa: S311  (which link)
            while not over.wait(0.1):
                self._net.proxy.reset(*chance.sample(self._net.labels, 2))

        flapping = threading.Thread(target=flap)
        flapping.start()

        def end() -> None:
            over.set()
            flapping.join()

        return end

    def _clock(self) -> Callable[[], object]:
        """Let one node's clock be wrong, by more than a block's time may be."""
        label = self._chance.choice(self._net.labels)
        process = self._net.process(label)
        process.stop()
        folder = self._folder / "skewed"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(SKEWED)
        skew = self._chance.choice((-SKEW_S, SKEW_S))
        before = os.environ.get("PYTHONPATH")
        os.environ.update(PYTHONPATH=str(folder), DEPOLI_SKEW_S=str(skew))
        try:
            process.start()
        finally:
            os.environ.pop("DEPOLI_SKEW_S")
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before

        def end() -> None:
            process.stop()
            process.start()

        return end

    def _truncate(self) -> Callable[[], object]:
        """Cut the end off one node's journal, as a disk does that had not written what it said."""
        process = self._net.process(self._chance.choice(self._net.labels))
        process.kill()
        for path in (process.home / "data" / "journal").glob("*.journal"):
            os.truncate(path, max(0, path.stat().st_size - self._chance.randint(1, TORN_BYTES)))
        process.start()
        return self._heal

    def _restore(self) -> Callable[[], object]:
        """Put back a backup of one node's data, made while all went well some blocks ago."""
        process = self._net.process(self._chance.choice(self._net.labels))
        data, backup = process.home / "data", self._copy_name()
        process.stop()
        shutil.copytree(data, backup)
        process.start()

        def end() -> None:
            process.kill()
            shutil.rmtree(data)
            shutil.copytree(backup, data)
            process.start()

        return end

    def _twin(self) -> Callable[[], object]:
        """Run a copy of one node beside it: the same keys, and a copy of its data."""
        original = self._net.process(self._chance.choice(self._net.labels))
        original.stop()
        home = self._copy_name()
        shutil.copytree(original.home, home, ignore=shutil.ignore_patterns("node.*"))
        original.start()
        config = load_config(home)
        text = (home / FILE_NAME).read_text()
        addresses = (config.p2p_listen, config.api_listen, config.admin_listen)
        for old, new in zip(addresses, testnet._free_ports(3), strict=True):  # noqa: SLF001
            text = text.replace(f'listen = "{old}"', f'listen = "{new}"')
        (home / FILE_NAME).write_text(text)
        twin = Process(f"{original.label}-twin", home)
        twin.start()
        return twin.kill

    def _copy_name(self) -> Path:
        self._copies += 1
        return self._folder / f"copy-{self._copies}"

    def _shuffled(self) -> list[str]:
        return self._chance.sample(self._net.labels, len(self._net.labels))

    def _heal(self) -> None:
        self._net.proxy.heal()
        for process in self._net.network.processes:
            process.start()


# --- the campaign ---------------------------------------------------------------------------------


def befall(net: FaultNetwork, clients: Clients, options: argparse.Namespace) -> Iterator[float]:
    """Bring about one fault after the other; yield how long it took to go on after each."""
    chance = random.Random(options.seed)  # noqa: S311  (which fault, when)
    nemesis = Nemesis(net, chance, net.network.directory.parent)
    names, end = options.nemeses or list(nemesis.faults), time.monotonic() + options.seconds
    if unknown := sorted(set(names) - nemesis.faults.keys()):
        sys.exit(f"there is no nemesis {unknown[0]}; there are: {', '.join(nemesis.faults)}")
    order: list[str] = []
    while time.monotonic() < end and options.befallen.total() < options.faults:
        order = order or chance.sample(names, len(names))  # each once before one comes again
        name = order.pop()
        time.sleep(chance.uniform(*BETWEEN_S) * options.hold)  # nothing is wrong
        mend = nemesis.faults[name]()
        time.sleep(chance.uniform(*HELD_S) * options.hold)  # as long as the fault lasts
        mend()
        recovered = _until_more(clients, f"nothing goes on after {name}")
        net.until_ready()
        # Of more than f that may not sign at once nobody would ever be let out again.
        until(lambda: not any(net.status(each)["fenced"] for each in net.labels), "still fenced")
        options.befallen[name] += 1
        say(f"{name}: went on after {recovered:.2f} s, at {net.height(net.labels[0])}")
        yield recovered


def _until_more(clients: Clients, fault: str) -> float:
    """Wait until something more is acknowledged; return for how many seconds."""
    start, known = time.monotonic(), clients.acknowledged
    while clients.acknowledged <= known:
        if time.monotonic() > start + RECOVERY_S:
            raise Failed(fault)
        time.sleep(LOOK_S)  # between two looks at the condition
    return time.monotonic() - start


def read(net: FaultNetwork) -> dict[str, list[Block]]:
    """Return every node's chain."""
    chains: dict[str, list[Block]] = {}
    for label in net.labels:
        chain = chains[label] = []
        for committed in kills.read_blocks(net.network, label):
            codes = iter(committed.outcomes)
            outcomes: dict[bytes, tuple[int, ...]] = {}
            for raw in committed.block.body.transactions:
                made = parse(raw)
                outcomes[made.id] = tuple(next(codes).code for _ in made.body.calls)
            chain.append(Block(committed.block.header.hash, outcomes))
    return chains


def verify_receipts(net: FaultNetwork, clients: Clients, limit: int) -> tuple[int, list[str]]:
    """Return how many receipts of what was acknowledged verify, and what is wrong with others."""
    genesis = ceremony.load_genesis(net.network.genesis)
    verified, bad = 0, []
    told = [each for each in clients.operations if each.height is not None]
    for number, each in enumerate(told[:: max(1, len(told) // limit)]):
        label = net.labels[number % len(net.labels)]
        address = load_config(net.process(label).home).api_listen
        path = f"/v1/receipts/{each.id.hex()}/0"
        _, body = request(address, path, kills.token_of(net.network, label))
        try:
            receipt = parse_json(body.decode())
            receipt.verify(genesis.chain_id, genesis.genesis.validator_set)
        except (LedgerError, UnicodeDecodeError) as error:
            bad.append(f"{each.id.hex()} at {label}: {error}")
            continue
        verified += 1
        if (receipt.entry.transaction, receipt.entry.height) != (each.id, each.height):
            bad.append(f"{each.id.hex()} at {label}: another entry")
    return verified, bad


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one campaign showed."""
    options.befallen = Counter()
    with FaultNetwork.create(folder / "network", options.validators) as net:
        net.start()
        clients = Clients(net, options.clients, options.seed)
        with clients.working():
            recovered = list(befall(net, clients, options))
        net.proxy.heal()
        net.until_ready()
        net.until_level()
        found: Findings = judge(clients.operations, read(net))
        verified, bad = verify_receipts(net, clients, options.receipts)
        stopped = net.network.stop()
        operations = clients.operations
        return {
            "seed": options.seed,
            "seconds": options.seconds,
            "validators": options.validators,
            "clients": options.clients,
            "nemeses": dict(sorted(options.befallen.items())),
            "offered": len(operations),
            "acknowledged": clients.acknowledged,
            "unknown": len(operations) - clients.acknowledged,
            "contests": len({each.contest for each in operations if each.contest}),
            **{name: len(what) for name, what in asdict(found).items()},
            "receipts_verified": verified,
            "receipts_bad": len(bad),
            "recovered_s": {
                "median": round(median(recovered), 3),
                "max": round(max(recovered), 3),
            },
            "wrong": [*(text for what in asdict(found).values() for text in what), *bad][:20],
            "held": found.hold and not bad and verified > 0 and all(stopped.values()),
        }


def main() -> None:
    """Run a campaign and print what it showed; exit 1 where something did not hold."""
    parser = argparse.ArgumentParser(description="Break a network while clients claim.")
    parser.add_argument("--seed", type=int, default=1, help="what befalls whom when")
    parser.add_argument("--seconds", type=float, default=120, help="no new fault after that")
    parser.add_argument("--faults", type=int, default=10_000, help="nor more than so many")
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--nemeses", type=lambda text: text.split(","), help="these only: a,b,c")
    parser.add_argument("--hold", type=float, default=1, help="faults last that many times longer")
    parser.add_argument("--receipts", type=int, default=500, help="about so many are verified")
    parser.add_argument("--folder", type=Path, help="keep the network's files and logs here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end with it
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="depoli-jepsen-"))
        )
        try:
            summary = run(folder, options)
        except (Failed, NoAnswer, AssertionError) as error:
            sys.exit(f"failed: {error}; replay with --seed {options.seed}")
    if options.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            print(f"{name:18} {value}")
    sys.exit(0 if summary["held"] else 1)


if __name__ == "__main__":
    main()
