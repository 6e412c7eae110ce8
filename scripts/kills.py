"""Kill validators under load, and show that nothing stops for long and that nothing is lost.

Real processes, TLS, fsync, SIGKILL. A client keeps a steady rate through a node that lives, and
sends again what was not acknowledged, as a gateway does. A gap is the time between two blocks as
that client learns of them. In the end every transaction must stand in every node's chain once.

First validators are killed one at a time, some of them when it is their turn; then two at once, so
that nothing is decided until one is back; then one for good, and what that adds to the latency of
a transaction is measured. With --commit the same is done to the code of another commit.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import aiohttp

from contracts import calls
from ledger import transaction as transactions
from ledger.block import CommittedBlock
from ledger.encoding import decode, encode
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import Transaction
from node import testnet
from node.audit.records import split_frames
from node.cli.home import load_home
from node.config import load_config
from node.initialise import give_token
from node.process import NoAnswer, Process, get_json, read_token
from node.testnet import LocalNetwork
from node.tokens import Scope

MAX_GAP_S: Final = 2.0  # between two blocks while one validator is dead
MAX_RESUME_S: Final = 5.0  # until the next block once a quorum is back, however long it was away
PATIENCE_S: Final = 30.0  # a node that takes longer has not caught up
DEAD_S: Final = (1.0, 3.0)  # how long a killed validator stays away
SETTLE_S: Final = 1.0  # after the death of one for good: its first missed turn is no steady state
MAX_WAITING: Final = 2000  # transactions; while so many wait, a gateway accepts no more
FINISH_S: Final = 0.5  # what a quorum has voted on is committed after they died
SLICE_S: Final = 0.02  # what is due within a slice is sent together
WAIT_S: Final = 10  # a request waits so long for its block, then it is sent again
RETRY_S: Final = 0.1  # after a node that does not take transactions now
LOOK_S: Final = 0.05  # between two looks at a node that catches up
BUSY: Final = 429  # a full mempool
UNREADY: Final = 503  # too few validators are linked
TOKEN: Final = "kills.token"  # noqa: S105  (a file name)

Summary: TypeAlias = dict[str, Any]

P = ParamSpec("P")
T = TypeVar("T")


class Failed(Exception):
    """The network did what it may not do; the run ends there."""


@dataclass
class Blocks:
    """When the client first learnt of a block that is higher than all before."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    @property
    def height(self) -> int:
        """The highest that is known."""
        return self.seen[-1][1] if self.seen else 0

    def learn(self, height: int) -> None:
        """Note that a block of this height is committed."""
        if height > self.height:
            self.seen.append((time.monotonic(), height))

    def longest_gap(self, start: float, end: float) -> float:
        """Return the longest time without a new block that touches `start` to `end`, in seconds."""
        times = [at for at, _ in self.seen]
        before = max((at for at in times if at <= start), default=start)
        after = min((at for at in times if at >= end), default=end)
        marks = [before, *(at for at in times if start < at < end), after]
        return max(later - earlier for earlier, later in pairwise(marks))

    def first_after(self, instant: float) -> float | None:
        """Return when the first new block after an instant was seen."""
        return next((at for at, _ in self.seen if at > instant), None)


@dataclass(frozen=True)
class Answer:
    """One lot of transactions that stands in a block."""

    sent: float
    answered: float
    count: int


class Load:
    """A steady stream of signed transactions through the node `via`, each sent until it is in."""

    def __init__(self, network: LocalNetwork, session: aiohttp.ClientSession, rate: int) -> None:
        self._network, self._session, self._rate = network, session, rate
        self._sender = network.shops[0]
        self._key = load_home(self._sender.home).key()
        self.via = network.validators[0].label
        self.blocks = Blocks()
        self.offered: set[bytes] = set()
        self.acknowledged: dict[bytes, int] = {}  # transaction id -> height that was told
        self.answers: list[Answer] = []
        self.sent_again = 0
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Offer transactions until `end` is called, then wait until all are acknowledged."""
        loop = asyncio.get_running_loop()
        start, count = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not self._is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), SLICE_S)
                due = int((loop.time() - start) * self._rate) - count
                count += due
                if due > 0 and len(self.offered) - len(self.acknowledged) < MAX_WAITING:
                    group.create_task(self._send([self._transaction() for _ in range(due)]))

    @property
    def is_over(self) -> bool:
        """Whether nothing more is offered."""
        return self._is_over.is_set()

    def end(self) -> None:
        """Offer nothing more."""
        self._is_over.set()

    def _transaction(self) -> Transaction:
        call = calls.encode_call(calls.PrescriptionCommit(secrets.token_bytes(32)))
        body = transactions.Unsigned(
            transactions.VERSION,
            self._network.chain_id,
            self._sender.member,
            key_id(Role.TRANSACTION, Algorithm.ED25519, self._key.public),
            int(time.time()) + 3600,
            secrets.token_bytes(16),
            (call,),
        )
        return transactions.sign(body, self._key)

    async def _send(self, made: Sequence[Transaction]) -> None:
        """Send what is due to the node that is chosen now, until all of it is in blocks."""
        sent = time.monotonic()
        waiting = {transaction.id.hex(): transaction.raw for transaction in made}
        self.offered |= {transaction.id for transaction in made}
        while waiting:
            results = await self._submit(tuple(waiting.values()))
            for result in results:
                if result["status"] == "rejected" and result["problem"]["status"] != BUSY:
                    raise Failed(f"a good transaction was refused: {json.dumps(result)}")
                if result["status"] == "committed":
                    self.acknowledged[bytes.fromhex(result["id"])] = result["height"]
                    self.blocks.learn(result["height"])
                    del waiting[result["id"]]
            if waiting:
                self.sent_again += len(waiting)
                await asyncio.sleep(RETRY_S)
        self.answers.append(Answer(sent, time.monotonic(), len(made)))

    async def _submit(self, raws: tuple[bytes, ...]) -> list[dict[str, Any]]:
        """Return what became of transactions; nothing where the node does not take them now."""
        url = f"{self._network.api(self.via)}/v1/transactions?wait={WAIT_S}"
        headers = {
            "Authorization": f"Bearer {token_of(self._network, self.via)}",
            "Content-Type": "application/msgpack",
        }
        try:
            async with self._session.post(url, data=encode(raws), headers=headers) as answer:
                value: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError):
            return []  # it was killed, or does not answer
        if "transactions" not in value and value["status"] != UNREADY:
            raise Failed(f"{self.via} answered: {json.dumps(value)}")
        results: list[dict[str, Any]] = value.get("transactions", [])
        return results


class Campaign:
    """The kills, one after the other, under one load."""

    def __init__(self, network: LocalNetwork, load: Load, chance: random.Random) -> None:
        self._network, self._load, self._chance = network, load, chance
        self._labels = [each.label for each in network.validators]

    async def kill_one(self, *, proposer: bool) -> dict[str, Any]:
        """Kill a validator, let the others go on, restart it; return what was measured."""
        await self._until_all_agree()
        self._load.via = via = self._chance.choice(self._labels)
        others = [each for each in self._labels if each != via]
        victim = await self._leader_but(via) if proposer else self._chance.choice(others)
        process = self._network.process(victim)
        start, height = time.monotonic(), self._load.blocks.height
        await in_thread(process.kill)
        await self._until_seen(start + self._chance.uniform(*DEAD_S))
        late = await in_thread(count_late, self._network, via, height + 1)
        restarted = time.monotonic()
        process.start()
        await self._until_caught_up(victim)
        end = time.monotonic()
        found = {
            "victim": victim,
            "proposer": proposer,
            "via": via,
            "gap_s": round(self._load.blocks.longest_gap(start, end), 3),
            "late_blocks": late,
            "dead_s": round(restarted - start, 3),
            "caught_up_s": round(end - restarted, 3),
        }
        say(f"killed {victim}{', whose turn it was' if proposer else ''}: {found}")
        return found

    async def kill_two(self, outage_s: float) -> dict[str, Any]:
        """Kill two validators, see the chain stop, restart one; return what was measured."""
        await self._until_all_agree()
        first, second, *others = self._chance.sample(self._labels, len(self._labels))
        self._load.via = others[0]
        for victim in (first, second):
            await in_thread(self._network.process(victim).kill)
        killed = time.monotonic()
        await asyncio.sleep(outage_s)  # it is watched, not waited for: nothing may happen
        stopped_at = self._load.blocks.height
        late = self._load.blocks.first_after(killed + FINISH_S)
        restarted = time.monotonic()
        self._network.process(first).start()
        await self._until_livez(first)
        answers = time.monotonic()
        await self._until_seen(answers, patience_s=PATIENCE_S)
        resumed = self._load.blocks.first_after(restarted)
        assert resumed is not None  # it was waited for
        self._network.process(second).start()
        for label in (first, second):
            await self._until_caught_up(label)
        found = {
            "victims": [first, second],
            "stopped": late is None or late > restarted,
            "stopped_at": stopped_at,
            "resumed_s": round(resumed - restarted, 3),
            "resumed_after_it_answers_s": round(max(0.0, resumed - answers), 3),
        }
        say(f"killed two for {outage_s:g} s: {found}")
        return found

    async def kill_for_good(self, seconds: float) -> dict[str, Any]:
        """Measure for a while with all validators, and as long with one dead; then restart it."""
        await self._until_all_agree()
        via, victim = self._chance.sample(self._labels, 2)
        self._load.via = via
        with_all = await self._measure(via, seconds)
        await in_thread(self._network.process(victim).kill)
        await self._until_seen(time.monotonic() + SETTLE_S)
        with_one_dead = await self._measure(via, seconds)
        self._network.process(victim).start()
        await self._until_caught_up(victim)
        found = {
            "victim": victim,
            "seconds": seconds,
            "all": with_all,
            "one_dead": with_one_dead,
            "added_p50_ms": round(with_one_dead["p50_ms"] - with_all["p50_ms"], 1),
            "added_p99_ms": round(with_one_dead["p99_ms"] - with_all["p99_ms"], 1),
        }
        say(f"killed one for good: {found}")
        return found

    async def _measure(self, via: str, seconds: float) -> dict[str, Any]:
        """Return how long transactions wait that are sent from now on, and how blocks come."""
        start, first = time.monotonic(), (await self._status(via))["height"] + 1
        await asyncio.sleep(seconds)  # the length of the measurement
        end, last = time.monotonic(), (await self._status(via))["height"]
        await until(
            lambda: any(each.sent >= end for each in self._load.answers),
            PATIENCE_S,
            "what was sent is not acknowledged",
        )
        waits = sorted(
            1000 * (each.answered - each.sent)
            for each in self._load.answers
            if start <= each.sent < end
            for _ in range(each.count)
        )
        return {
            "transactions": len(waits),
            "p50_ms": round(percentile(waits, 50), 1),
            "p99_ms": round(percentile(waits, 99), 1),
            "max_ms": round(waits[-1], 1),
            "blocks": last - first + 1,
            "late_blocks": await in_thread(count_late, self._network, via, first, last),
        }

    async def check(self) -> dict[str, Any]:
        """Return what every node's chain says of what was acknowledged."""
        await self._until_all_agree()
        statuses = [await self._status(label) for label in self._labels]
        lost = twice = unequal = 0
        chains = [await in_thread(read_chain, self._network, label) for label in self._labels]
        for heights in chains:
            counts = {id_: len(found) for id_, found in heights.items()}
            lost += sum(id_ not in counts for id_ in self._load.acknowledged)
            twice += sum(count > 1 for count in counts.values())
            unequal += sum(
                heights.get(id_, [height])[0] != height
                for id_, height in self._load.acknowledged.items()
            )
        return {
            "offered": len(self._load.offered),
            "acknowledged": len(self._load.acknowledged),
            "sent_again": self._load.sent_again,
            "lost": lost,
            "twice": twice,
            "at_another_height": unequal,
            "height": statuses[0]["height"],
            "same_header": len({status["hash"] for status in statuses}) == 1,
        }

    # --- conditions ------------------------------------------------------------------------------

    async def _until_seen(self, instant: float, patience_s: float = PATIENCE_S) -> None:
        """Wait until a block was seen after an instant."""
        await until(
            lambda: self._load.blocks.first_after(instant) is not None,
            instant - time.monotonic() + patience_s,
            "no block is committed any more",
        )

    async def _until_livez(self, label: str) -> None:
        process = self._network.process(label)
        end = time.monotonic() + PATIENCE_S
        while await in_thread(process.not_ready, "/livez"):
            await self._look(process, end, "does not answer")

    async def _until_caught_up(self, label: str) -> None:
        """Wait until a node is ready and where a node that was never away has been."""
        process, end = self._network.process(label), time.monotonic() + PATIENCE_S
        goal = (await self._status(self._load.via))["height"]
        while True:
            with contextlib.suppress(NoAnswer):
                status = await self._status(label)
                if status["ready"] and status["height"] >= goal:
                    return
            await self._look(process, end, "did not catch up")

    async def _until_all_agree(self) -> None:
        """Wait until all nodes are ready and, where the load is over, at the same block."""
        end = time.monotonic() + PATIENCE_S
        while True:
            statuses = [await self._status(label) for label in self._labels]
            heights = [status["height"] for status in statuses]
            is_level = len(set(heights)) == 1 or not self._load.is_over
            if is_level and all(status["ready"] for status in statuses):
                return
            if time.monotonic() > end:
                raise Failed(f"the nodes are not level after {PATIENCE_S:g} s: {statuses}")
            await asyncio.sleep(LOOK_S)

    async def _leader_but(self, label: str) -> str:
        """Return who is to propose the next block, once that is not this node."""
        while True:
            found = await in_thread(ask, self._network, label, "/v1/validators")
            leader = self._labels[int(found.get("leader", found["height"] % len(self._labels)))]
            if leader != label:
                return leader
            await asyncio.sleep(LOOK_S / 10)

    async def _status(self, label: str) -> dict[str, Any]:
        return await in_thread(self._network.process(label).status)

    async def _look(self, process: Process, end: float, fault: str) -> None:
        """Let time pass between two looks; raise where the node is gone or time is up."""
        if process.pid() is None:
            raise Failed(f"{process.label} ended by itself: {process.tail()}")
        if time.monotonic() > end:
            raise Failed(f"{process.label} {fault} within {PATIENCE_S:g} s: {process.tail()}")
        await asyncio.sleep(LOOK_S)


def read_chain(network: LocalNetwork, label: str) -> dict[bytes, list[int]]:
    """Return the heights at which each transaction stands in a node's chain."""
    found: dict[bytes, list[int]] = {}
    for committed in read_blocks(network, label):
        for raw in committed.block.body.transactions:
            height = committed.block.header.height
            found.setdefault(transactions.parse(raw).id, []).append(height)
    return found


def read_blocks(network: LocalNetwork, label: str, first: int = 1) -> list[CommittedBlock]:
    """Return a node's blocks from a height on."""
    address = load_config(network.process(label).home).api_listen
    headers = {"Authorization": f"Bearer {token_of(network, label)}"}
    url = f"http://{address}/v1/chain?from={first}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        records, rest = split_frames(answer.read())
    if rest:
        raise Failed(f"the chain of {label} ends within a record")
    return [decode(record, CommittedBlock) for record in records]


def count_late(network: LocalNetwork, label: str, first: int, last: int | None = None) -> int:
    """Return how many of a node's blocks were not built by the first whose turn it was."""
    headers = [each.block.header for each in read_blocks(network, label, first)]
    return sum(each.built_round > 0 and (last is None or each.height <= last) for each in headers)


def ask(network: LocalNetwork, label: str, path: str) -> dict[str, Any]:
    """Return what a node answers to whoever may read everything."""
    address = load_config(network.process(label).home).api_listen
    return get_json(address, path, token_of(network, label))


@functools.cache
def token_of(network: LocalNetwork, label: str) -> str:
    """Return the token that the load has at a node."""
    return read_token(network.process(label).home / TOKEN)


def give_tokens(network: LocalNetwork) -> None:
    """Let the load send its shop's transactions through every node, and read the chain."""
    for each in network.validators:
        tokens = load_config(each.node).tokens
        scopes = frozenset({Scope.SUBMIT, Scope.AUDIT})
        give_token(tokens, each.node / TOKEN, member=None, scopes=scopes, label="kills")


async def run(network: LocalNetwork, options: argparse.Namespace) -> Summary:
    """Return the figures of one campaign."""
    chance = random.Random(options.seed)  # noqa: S311  (who is killed when)
    turns = [True] * options.proposers + [False] * (options.kills - options.proposers)
    chance.shuffle(turns)
    timeout = aiohttp.ClientTimeout(total=WAIT_S + 5)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        load = Load(network, session, options.rate)
        campaign = Campaign(network, load, chance)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            each = [await campaign.kill_one(proposer=turn) for turn in turns]
            outages = [await campaign.kill_two(options.outage) for _ in range(options.outages)]
            dead = await campaign.kill_for_good(options.dead) if options.dead else None
            load.end()
        checked = await campaign.check()
    gaps, caught_up = ([one[name] for one in each] for name in ("gap_s", "caught_up_s"))
    resumed = [one["resumed_s"] for one in outages]
    whole = not any(checked[name] for name in ("lost", "twice", "at_another_height"))
    return {
        "seed": options.seed,
        "kills": options.kills,
        "proposers": options.proposers,
        "offered_per_s": options.rate,
        "gap_s": spread(gaps),
        "proposer_gap_s": spread([one["gap_s"] for one in each if one["proposer"]]),
        "caught_up_s": spread(caught_up),
        "outage_s": options.outage,
        "outages": len(outages),
        "stopped": all(one["stopped"] for one in outages),
        "resumed_s": spread(resumed),
        "one_dead": dead,
        **checked,
        "each": each,
        "each_outage": outages,
        "held": max(gaps, default=0.0) <= MAX_GAP_S
        and all(one["stopped"] for one in outages)
        and max(resumed, default=0.0) <= MAX_RESUME_S
        and checked["same_header"]
        and whole,
    }


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the least value that `percent` of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median and maximum."""
    return {"median": round(median(values), 3), "max": max(values)} if values else {}


async def until(condition: Callable[[], bool], seconds: float, fault: str) -> None:
    """Wait for a condition; raise `Failed` where it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(fault)
        await asyncio.sleep(LOOK_S / 10)


async def in_thread(doing: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what a blocking function returns, while the load goes on."""
    return await asyncio.to_thread(doing, *arguments, **named)


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(text, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Kill validators under load.")
    parser.add_argument("--seed", type=int, default=1, help="who is killed when")
    parser.add_argument("--kills", type=int, default=30, help="how many, one at a time")
    parser.add_argument("--proposers", type=int, help="how many of them at their turn (a third)")
    parser.add_argument("--outages", type=int, default=10, help="how often two are killed at once")
    parser.add_argument("--outage", type=float, default=3, help="for how many seconds")
    parser.add_argument("--dead", type=float, default=20, help="measure with one dead: seconds")
    parser.add_argument("--rate", type=int, default=100, help="transactions offered per second")
    parser.add_argument("--folder", type=Path, help="keep the network's files and logs here")
    parser.add_argument("--commit", help="kill the nodes of this commit instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.proposers is None:
        options.proposers = options.kills // 3
    if options.rate < 1 or not 0 <= options.proposers <= options.kills:
        parser.error("rate must be positive, and proposers at most kills")
    return options


def run_at(commit: str) -> int:
    """Do the same with the code of another commit, this script being the same."""
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory(prefix="depoli-commit-") as folder:
        archive = subprocess.run(
            ["git", "-C", here.parent.parent, "archive", commit], stdout=subprocess.PIPE, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        copied = shutil.copy(here, Path(folder) / "scripts" / here.name)
        words = [word for word in sys.argv[1:] if not word.startswith("--commit=")]
        if "--commit" in words:
            at = words.index("--commit")
            del words[at : at + 2]
        return subprocess.run(
            [sys.executable, copied, *words], env={**os.environ, "PYTHONPATH": folder}, check=False
        ).returncode


def main() -> None:
    """Run a network of its own, kill, and print the figures; exit 1 where a bar was missed."""
    options = parse()
    if options.commit:
        sys.exit(run_at(options.commit))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end with it
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="depoli-kills-"))
        )
        network = testnet.create(folder / "network", shops=1)
        give_tokens(network)
        say("starting validators")
        try:
            network.start()
            summary = asyncio.run(run(network, options))
        except* Failed as group:
            sys.exit(f"failed: {group.exceptions[0]}")
        finally:
            ended = network.stop()
    summary["stopped_when_told"] = all(ended.values())
    summary["held"] = summary["held"] and summary["stopped_when_told"]
    if options.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            if name not in ("each", "each_outage"):
                print(f"{name:18} {value}")
    sys.exit(0 if summary["held"] else 1)


if __name__ == "__main__":
    main()
