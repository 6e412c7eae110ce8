"""Make a local network in `.devnet/`, start it and leave it running; stop it; say how it is."""

import argparse
import shutil
import sys
from pathlib import Path

from node import testnet
from node.cli.main import main as depoli
from node.testnet import FILE_NAME, NoNetwork

FOLDER = Path(__file__).parents[1] / ".devnet"


def main() -> None:
    """Do what is asked for with the network in `.devnet/`, through the commands of `depoli`."""
    parser = argparse.ArgumentParser(prog="scripts/devnet", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up|down|status|reset")
    up = verbs.add_parser("up", help="make the network where there is none, and start what is down")
    up.add_argument("--validators", type=int, default=4, help="how many nodes a new network has")
    up.add_argument("--shops", type=int, default=2, help="how many shops a new network has")
    verbs.add_parser("down", help="stop every node; the network and its chain stay")
    verbs.add_parser("status", help="show height, newest header, peers and process of each node")
    verbs.add_parser("reset", help="stop every node and delete the network")
    chosen = parser.parse_args()
    if chosen.verb == "up":
        if not (FOLDER / FILE_NAME).exists():
            size = ("--validators", chosen.validators, "--shops", chosen.shops)
            run("create", FOLDER, *size)
        run("start", FOLDER)
        run("status", FOLDER)
        print(f"homes to work from: {FOLDER}/shop-1/home, {FOLDER}/insurer-a/home, …")
        print("end it with: scripts/devnet down")
    elif chosen.verb == "reset":
        reset()
    elif not (FOLDER / FILE_NAME).exists():
        sys.exit("there is no network: make one with: scripts/devnet up")
    else:
        run({"down": "stop", "status": "status"}[chosen.verb], FOLDER)


def run(*words: object) -> None:
    """Run a verb of `depoli testnet`; end with its exit code where it fails."""
    try:
        depoli(["testnet", *map(str, words)])
    except SystemExit as end:
        if end.code:
            raise


def reset() -> None:
    """Stop and delete the network, if there is one."""
    try:
        testnet.load(FOLDER).stop()
    except NoNetwork:
        print("there was no network")
    if FOLDER.exists():
        shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
