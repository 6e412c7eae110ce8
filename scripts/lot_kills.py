"""Kill a shop's commands at every step of a lot, and show that no claim is lost or stands twice.

A network of real nodes, real `depoli lot` commands, real SIGKILL. A step is whatever lasts: a
commit of the vault (killed just before and just after) and an exchange with the node (before the
request leaves, once it has left, once the answer is read). After each kill the same command is
typed again; then all is compared with the chain. Then the same at random moments, by two commands
at once, one of them killed, and with a node that dies under a lot.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from node import testnet
from node.testnet import LocalNetwork

CLAIMS: Final = 3  # of a lot
COMMAND_S: Final = 120
EXAMPLES: Final = Path(__file__).parent / "data" / "claims"
STEP, STEPS = "LOT_KILLS_STEP", "LOT_KILLS_STEPS"  # where a command ends; a file that counts
NOTHING: Final[Mapping[str, str]] = {}
SHOP: Final = "shop-1"
WAYS: Final = ("submit", "flush")

Summary = dict[str, Any]


class Failed(Exception):
    """A claim was lost or doubled, or a command did what it may not do."""


class Shop:
    """A shop of the network, its lots, and the commands that it types."""

    def __init__(self, network: LocalNetwork, folder: Path) -> None:
        self.home = network.organisation(SHOP).home
        self._folder, self.made = folder, 0

    def lot(self, count: int = CLAIMS) -> Path:
        """Return a new folder with so many claims that nobody claimed yet."""
        folder = self._folder / f"lot-{self.made}"
        folder.mkdir(parents=True)
        for source in sorted(EXAMPLES.glob("*.json"))[:count]:
            document = json.loads(source.read_text("utf-8"))
            self.made += 1
            name = f"K-{self.made:05}"
            document["claim"]["reference"] = document["prescription_reference"] = name
            (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
        return folder

    def start(
        self, *words: str | Path, environment: Mapping[str, str] = NOTHING
    ) -> subprocess.Popen[str]:
        """Start `depoli WORDS --json`."""
        command = [sys.executable, __file__, "--command", *map(str, words), "--home", self.home]
        return subprocess.Popen(
            [*map(str, command), "--json"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *words: str | Path, code: int = 0, environment: Mapping[str, str] = NOTHING
    ) -> Any:  # noqa: ANN401
        """Run it; return what it prints; raise `Failed` unless it ends with this code."""
        with self.start(*words, environment=environment) as running:
            out, said = running.communicate(timeout=COMMAND_S)
        if running.returncode != code or "Traceback" in said:
            raise Failed(f"{words} ended with {running.returncode}, not {code}: {said[-600:]}")
        return json.loads(out) if out else None

    def require_all_once(self) -> None:
        """Raise `Failed` unless the chain holds each claim that was made once, and no other."""
        listed = self.run("claim", "list")
        on_chain = [claim["reference"] for claim in listed["claims"]]
        made = {f"K-{number:05}" for number in range(1, self.made + 1)}
        if set(on_chain) != made or len(on_chain) != len(made) or listed["unsent"]:
            lost, strange = made - set(on_chain), [each for each in on_chain if each not in made]
            raise Failed(f"lost: {lost}, doubled or unknown: {strange}, unsent: {listed['unsent']}")


def steps_of(way: str, shop: Shop, folder: Path) -> int:
    """Return how many steps a way has, by going it whole."""
    counted = folder / f"steps-{way}"
    prepare(way, shop, lot := shop.lot())
    shop.run(*words_of(way, lot), environment={STEPS: str(counted)})
    return int(counted.read_text())


def prepare(way: str, shop: Shop, lot: Path) -> None:
    """Do what comes before the command that is killed."""
    if way == "flush":
        shop.run("lot", "queue", lot)


def words_of(way: str, lot: Path) -> Sequence[str | Path]:
    """Return the command that is killed."""
    return ("lot", "submit", lot) if way == "submit" else ("lot", "flush", "--now")


def kill_at_steps(
    shop: Shop, folder: Path, ways: Sequence[str], stride: int, say: Callable[[str], None]
) -> Summary:
    """Kill each command at each of its steps, `stride` apart, and type it again."""
    summary: Summary = {}
    for way in ways:
        steps = steps_of(way, shop, folder)
        killed = range(1, steps + 1, stride)
        for step in killed:
            say(f"{way}: killed at step {step} of {steps}")
            prepare(way, shop, lot := shop.lot())
            words = words_of(way, lot)
            shop.run(*words, code=-signal.SIGKILL, environment={STEP: str(step)})
            shop.run(*words)
        shop.require_all_once()
        summary[way] = {"steps": steps, "kills": len(killed)}
    return summary


def kill_at_random(shop: Shop, count: int, chance: random.Random) -> Summary:
    """Kill `lot submit` after a random time, again and again, until it is through."""
    kills = 0
    while kills < count:
        lot = shop.lot()
        while True:
            with shop.start("lot", "submit", lot) as running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.communicate(timeout=chance.uniform(0.1, 1.5))
                if running.returncode == 0:
                    break
                running.kill()
                kills += 1
            if kills >= count:
                shop.run("lot", "submit", lot)
                break
    shop.require_all_once()
    return {"kills": kills}


def flush_twice_at_once(shop: Shop, rounds: int) -> Summary:
    """Flush by two commands at once, and by three of which one is killed."""
    for number in range(rounds):
        shop.run("lot", "queue", shop.lot(10))
        flushing = [shop.start("lot", "flush", "--now") for _ in range(2 + number % 2)]
        if number % 2:
            flushing[0].kill()
        for running in flushing:
            running.communicate(timeout=COMMAND_S)
        shop.run("lot", "flush", "--now")
    shop.require_all_once()
    return {"rounds": rounds}


def node_dies(network: LocalNetwork, shop: Shop) -> Summary:
    """Kill the shop's node under a flush; what waits says so, and goes when the node is back."""
    label = network.validators[0].label
    shop.run("lot", "queue", shop.lot(10))
    network.kill(label)
    shop.run("lot", "flush", "--now", code=13)
    states = {claim["state"] for claim in shop.run("lot", "status")["claims"]}
    if "retry" not in states:
        raise Failed(f"with no node, the queue says {states}")
    network.start(label)
    with shop.start("lot", "flush", "--now") as running:
        network.kill(label)
        running.communicate(timeout=COMMAND_S)
    network.start(label)
    shop.run("lot", "flush", "--now")
    shop.require_all_once()
    return {"first_said": sorted(states)}


# --- the command that is killed -------------------------------------------------------------------


def command(words: Sequence[str]) -> None:
    """Be `depoli WORDS`; count steps, and end by SIGKILL at one of them where it is asked for."""
    from node.cli.main import main as depoli  # noqa: PLC0415  (a process of its own)
    from node.client.connection import Connection  # noqa: PLC0415
    from node.client.vault import Vault  # noqa: PLC0415

    ends_at, done = int(os.environ.get(STEP, "0")), 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == ends_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if STEPS in os.environ:
            Path(os.environ[STEPS]).write_text(str(done), "ascii")

    changes, request, exchange = Vault.changes, Connection._request, Connection._exchange  # noqa: SLF001

    @contextlib.contextmanager
    def mortal_changes(vault: Vault) -> Iterator[None]:
        with changes(vault):
            yield
            step()  # all is written but the commit
        step()

    def mortal_request(connection: Connection, *args: Any) -> Any:  # noqa: ANN401
        step()  # before it leaves
        answer = request(connection, *args)
        step()  # the node has it, and the answer is not read
        return answer

    def mortal_exchange(connection: Connection, *args: Any) -> Any:  # noqa: ANN401
        answer = exchange(connection, *args)
        step()
        return answer

    altered = {
        (Vault, "changes"): mortal_changes,
        (Connection, "_request"): mortal_request,
        (Connection, "_exchange"): mortal_exchange,
    }
    for (owner, name), method in altered.items():
        setattr(owner, name, method)
    depoli(list(words), prog_name="depoli")


def parse(args: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="what is killed")
    parser.add_argument("--stride", type=int, default=1, help="kill at every so manieth step")
    parser.add_argument("--random", type=int, default=20, help="kills at a random time")
    parser.add_argument("--rounds", type=int, default=4, help="of several commands at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(args)


def main() -> None:
    """Run a network of its own, kill, compare, and print the figures; exit 1 where a bar broke."""
    if sys.argv[1:2] == ["--command"]:
        command(sys.argv[2:])
        return
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end with it
    started = time.monotonic()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="depoli-lots-"))
    network = testnet.create(folder / "network", shops=1)
    try:
        network.start()
        shop = Shop(network, folder / "lots")
        summary: Summary = {"steps": kill_at_steps(shop, folder, options.ways, options.stride, say)}
        if options.random:
            chance = random.Random(options.seed)  # noqa: S311
            summary["random"] = kill_at_random(shop, options.random, chance)
        summary["at_once"] = flush_twice_at_once(shop, options.rounds)
        summary["node_dies"] = node_dies(network, shop)
        summary["claims"] = shop.made
    except Failed as failed:
        sys.exit(f"failed: {failed}")
    finally:
        network.stop()
        shutil.rmtree(folder, ignore_errors=True)
    summary["seconds"] = round(time.monotonic() - started, 1)
    print(
        json.dumps(summary) if options.json else "\n".join(f"{k}: {v}" for k, v in summary.items())
    )


if __name__ == "__main__":
    main()
