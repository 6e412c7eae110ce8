"""Make a chain of very many claims quickly: real signatures, real rules, real blocks, real files.

The network is one that `depoli testnet create` makes, and its chain stands in `chain` beside the
organisations' folders: made by the code of the node, without agreement and without its waits. What
was interrupted is gone on with. Afterwards `--give` has every node begin with that chain.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from consensus import promises
from consensus.messages import commits
from contracts.execute import DirectSignatures
from ledger.keys import Role, SigningKey
from node import keystore, testnet
from node.ceremony import load_genesis
from node.chain import SEGMENTS, STATE, Chain
from node.config import load_config
from node.journal import Journal, Kind, Record
from node.testnet import LocalNetwork

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # scripts are not installed

from scripts.trade import CLAIMS, Trade
from scripts.trade import SHOPS as WAVE_SHOPS

Show: TypeAlias = Callable[[int, int, float], None]  # claims made, of how many, in seconds

SHOPS: Final = 400
FOLDER: Final = "chain"


def main() -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--claims", type=int, default=0, metavar="N", help="go on to so many")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the network")
    parser.add_argument("--shops", type=int, default=SHOPS, help="of a new network")
    parser.add_argument("--give", action="store_true", help="have all nodes begin with it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    there = (options.out / testnet.FILE_NAME).exists()
    shops = len(testnet.load(options.out).shops) if there else options.shops
    if shops < WAVE_SHOPS:  # one would do in a block twice what it does once
        parser.error(f"{WAVE_SHOPS} shops are needed, and the network has {shops}: see --shops")
    network = network_in(options.out, shops)
    told = fill(network, options.claims, show=bar if sys.stderr.isatty() else lambda *_: None)
    if options.give:
        give(network)
    if options.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            print(f"{name:18} {value}")
    return 0


def network_in(folder: Path, shops: int = SHOPS) -> LocalNetwork:
    """Return the network in a folder, made where there is none yet."""
    if (folder / testnet.FILE_NAME).exists():
        return testnet.load(folder)
    return testnet.create(folder, shops=shops)


def open_chain(network: LocalNetwork, folder: Path) -> Chain:
    """Return the chain of a network in a folder, which may be empty yet."""
    return Chain.open(folder, load_genesis(network.genesis).genesis, DirectSignatures())


def fill(network: LocalNetwork, claims: int, *, show: Show = lambda *_: None) -> dict[str, Any]:
    """Go on with the chain until it holds `claims` claims, and return what it came to."""
    chain = open_chain(network, network.directory / FOLDER)
    begun, before = time.monotonic(), claims_in(chain)
    try:
        trade = Trade(network, load_genesis(network.genesis).genesis.time)
        while (made := claims_in(chain)) < claims:
            grow(chain, trade)
            show(made + CLAIMS - before, claims - before, time.monotonic() - begun)
        seconds = time.monotonic() - begun
        made = claims_in(chain)
        return {
            "claims": made,
            "height": chain.height,
            "entries": chain.header.log_size,
            "members": len(network.organisations),
            "log_root": chain.header.log_root.hex(),
            "seconds": round(seconds, 1),
            "claims_per_s": round((made - before) / seconds) if made > before else 0,
            "segments_mb": size_mb(network.directory / FOLDER / SEGMENTS),
            "state_mb": size_mb(network.directory / FOLDER / STATE),
        }
    finally:
        chain.close()


def claims_in(chain: Chain) -> int:
    """Return how many claims a chain holds that was made here."""
    return max(0, chain.height - 1) * CLAIMS


def grow(chain: Chain, trade: Trade) -> None:
    """Add a block."""
    executed = trade.execute(chain.state, chain.certificate)
    chain.commit(executed, trade.certify(executed, chain.state))


def give(network: LocalNetwork) -> None:
    """Let every node that was never started begin with the chain that was made.

    Their journals hold what they signed: without that they would fall silent, as they must.
    """
    chain = open_chain(network, network.directory / FOLDER)
    chain.close()
    said = {} if chain.certificate is None else {c.signer: c for c in commits(chain.certificate)}
    for organisation in network.validators:
        data = load_config(organisation.node).data
        copy_chain(network.directory / FOLDER, data)
        key = SigningKey(keystore.load_seed(organisation.keys, Role.CONSENSUS)).public
        where = data / "journal", network.chain_id + key
        journal = Journal.open(*where) or Journal.create(*where)
        index = chain.state.validators.index_of(key)
        if index in said:
            promise = promises.encode(promises.Said(said[index]))
            journal.append([Record(chain.height, Kind.PROMISE, promise)])
        journal.close()


def copy_chain(source: Path, target: Path) -> None:
    """Copy a chain that nobody has open; files that are never written again are shared."""
    last = max((source / SEGMENTS).glob("*.seg"))

    def copy(one: str, other: str) -> None:
        if one.endswith((".ldb", ".seg")) and Path(one) != last:
            Path(other).hardlink_to(one)
        else:
            shutil.copy2(one, other)

    for name in (SEGMENTS, STATE):
        shutil.copytree(source / name, target / name, copy_function=copy)


def size_mb(folder: Path) -> float:
    """Return what a folder takes."""
    return round(sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 1e6, 1)


def bar(done: int, total: int, seconds: float) -> None:
    """Show how far it is, in one line."""
    rate = done / max(seconds, 1e-9)
    left = max(0, total - done) / rate
    told = f"{done:,} of {total:,} claims, {rate:,.0f} a second, {left:,.0f} s left"
    print(f"\r{told:70}", end="" if left else "\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
