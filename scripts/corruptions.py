"""Change one byte of an export, or of a node's data, by seed: it must be noticed, and named.

Of 0 to 999 the even seeds are of an export, the odd ones of a folder of data: blocks, pruned ones,
either store, journal, snapshots, kept proposals, waiting evidence. In every second export the
checksum of the record is mended as well, so that what lies under it must notice. A byte is harmless
only by proof: what is read of the damaged file is all that was read before. Exit code 1 where
anything failed.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from contracts.execute import DirectSignatures  # noqa: E402
from contracts.genesis_json import signed_json  # noqa: E402
from ledger.encoding import encode  # noqa: E402
from ledger.errors import StoreDamaged  # noqa: E402
from ledger.segments import Segments  # noqa: E402
from ledger.store import open_store  # noqa: E402
from node import snapshots  # noqa: E402
from node.applied import tip_of  # noqa: E402
from node.audit.errors import FalseFact  # noqa: E402
from node.audit.records import MAGIC, frame  # noqa: E402
from node.audit.replay import verify_export  # noqa: E402
from node.chain import Chain  # noqa: E402
from node.evidence import FILE_NAME as EVIDENCE  # noqa: E402
from node.journal import Journal, Kind, Record  # noqa: E402
from node.kept import FILE_NAME as PROPOSALS  # noqa: E402
from node.kept import KeptFile  # noqa: E402
from node.rebuild import Rebuild, Verdict  # noqa: E402
from scripts import recheck  # noqa: E402
from tests.chainmaker import story  # noqa: E402

SIGNATURES: Final = DirectSignatures()
RECHECKED: Final = 10  # every so many exports go to the second opinion too
ENGINES: Final = ("leveldb", "sqlite")
BATCHES: Final = 6  # in the journal
ITEMS: Final = (b"kept " * 40, b"proposal " * 30, b"evidence " * 50)

DETECTED: Final = "detected"
HARMLESS: Final = "harmless"
FAILED: Final = "failed"


@dataclass(frozen=True)
class Told:
    """What became of one corruption."""

    seed: int
    where: str
    verdict: str
    said: str


class Unnoticed(AssertionError):
    """A byte that means something was changed, and nobody said so."""


class Campaign:
    """A chain, its export and its data, and what is done to copies of them."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._story = story(story())
        self._genesis = self._story.genesis
        self._records = [encode(each) for each in self._story.blocks]
        self._export = self._story.export(scratch / "export").read_bytes()
        (scratch / "genesis.json").write_text(signed_json(self._genesis))
        self._data = {engine: self._grown(engine) for engine in ENGINES}
        self._contents = {engine: _contents(data) for engine, data in self._data.items()}
        for engine, data in list(self._data.items()):
            self._data[f"pruned {engine}"] = self._pruned(data)

    def run(self, seed: int) -> Told:
        """Return what became of the corruption of this seed."""
        rng = Random(seed)  # noqa: S311  (which byte)
        where = ""
        try:
            where, check = self._export_of(rng, seed) if seed % 2 == 0 else self._data_of(rng, seed)
            verdict, said = check()
        except Exception:  # noqa: BLE001  (a verifier that ends so has failed)
            verdict, said = FAILED, traceback.format_exc()
        return Told(seed, where, verdict, said)

    # --- an export ---------------------------------------------------------------------------

    def _export_of(self, rng: Random, seed: int) -> tuple[str, Callable[[], tuple[str, str]]]:
        path = self._scratch / "spoiled"
        if seed % 4 == 0:
            offset = rng.randrange(len(self._export))
            content, where = _flipped(self._export, offset, rng), f"export, byte {offset}"
        else:
            number = rng.randrange(len(self._records))
            offset = rng.randrange(len(self._records[number]))
            records = list(self._records)
            records[number] = _flipped(records[number], offset, rng)
            framed = (frame(each) for each in (encode(self._genesis), *records))
            content = MAGIC + b"".join(framed)
            where = f"export, block {number + 1}, byte {offset}, checksum mended"
        path.write_bytes(content)
        return where, partial(self._verified, path, rechecked=seed % (4 * RECHECKED) in (0, 2))

    def _verified(self, path: Path, *, rechecked: bool) -> tuple[str, str]:
        try:
            verify_export(path, self._genesis, workers=1)
        except FalseFact as fact:
            said = str(fact)
        else:
            raise Unnoticed
        if rechecked:
            options = argparse.Namespace(
                file=str(path), genesis=str(self._scratch / "genesis.json"), header=None, jobs=1
            )
            try:
                recheck.check_chain(options)  # type: ignore[no-untyped-call]  # it carries no types
            except recheck.FalseFact as fact:
                said += f"; recheck: {fact.where or 'file'}: {fact.field}"
            else:
                raise Unnoticed
        return DETECTED, said

    # --- a folder of data --------------------------------------------------------------------

    def _grown(self, engine: str) -> Path:
        """Make the data of a node, with something of everything that may be there."""
        data = self._scratch / engine
        genesis, most = self._genesis.genesis, max(map(len, self._records))
        chain = Chain.open(data, genesis, SIGNATURES, engine=engine, segment_bytes=3 * most)
        for committed in self._story.blocks:
            executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
            chain.commit(executed, committed.certificate)
        with contextlib.closing(chain.view()) as view:
            snapshots.create(view, data, genesis)
        chain.close()
        (data / "journal").mkdir()
        for path in (data / "journal" / PROPOSALS, data / EVIDENCE):
            kept = self._kept_file(path)
            kept.append(ITEMS)
            kept.close()
        return data

    def _kept_file(self, path: Path) -> KeptFile:
        is_journals = path.name == PROPOSALS
        identity = self._identity if is_journals else self._genesis.chain_id
        return KeptFile(path.parent, identity, path.name)

    def _pruned(self, data: Path) -> Path:
        """Make data in which all blocks but those of the last file are bare."""
        made = Path(shutil.copytree(data, data.with_name(f"pruned-{data.name}")))
        kept = Segments.open(made / "segments", chain_id=self._genesis.chain_id)
        assert list(kept.prune(len(self._records)))
        kept.close()
        return made

    @property
    def _identity(self) -> bytes:
        return self._genesis.chain_id + bytes(32)

    def _data_of(self, rng: Random, seed: int) -> tuple[str, Callable[[], tuple[str, str]]]:
        engine = ENGINES[seed // 2 % 2]
        part, check = (
            ("segments", self._blocks),
            ("state", self._state),
            ("segments", self._blocks),
            ("state", self._state),
            ("snapshots", self._snapshot),
            ("journal", self._journal),
            ("kept", self._kept),
            ("pruned", self._blocks),
        )[seed // 4 % 8]
        data = self._scratch / "data"
        shutil.rmtree(data, ignore_errors=True)
        if part == "pruned":
            engine, part = f"pruned {engine}", "segments"
        shutil.copytree(self._data[engine], data)
        if part == "journal":
            self._promise(data / "journal")
            paths = list((data / "journal").glob("*.journal"))
        elif part == "kept":
            paths = [data / "journal" / PROPOSALS, data / EVIDENCE]
        else:
            paths = [path for path in sorted((data / part).rglob("*")) if path.is_file()]
        path = rng.choice([path for path in paths if path.stat().st_size])
        content = path.read_bytes()
        offset = rng.randrange(len(content))
        with path.open("r+b") as file:  # the same inode: a journal knows its own
            file.write(_flipped(content, offset, rng))
        where = f"{engine}: {path.relative_to(data)}, byte {offset} of {len(content)}"
        return where, partial(check, data, path, engine)

    def _rebuild(self, data: Path) -> Rebuild:
        return Rebuild(data, self._genesis.genesis, SIGNATURES)

    def _found(self, data: Path) -> Verdict:
        """Return what `depoli db verify` finds."""
        with self._rebuild(data) as rebuild:
            return rebuild.verify()

    def _blocks(self, data: Path, path: Path, _engine: str) -> tuple[str, str]:
        """Damage of a block is found by who looks, and by who starts and reads."""
        damages = self._found(data).damages
        if not any(damage.path == path and damage.height for damage in damages):
            raise Unnoticed(damages)
        try:
            with contextlib.closing(self._opened(data)) as chain:
                for height in range(chain.first_height, chain.height + 1):
                    chain.head(height)
        except StoreDamaged as error:
            return DETECTED, f"{damages[0].error}; at a start: {error}"
        raise Unnoticed

    def _state(self, data: Path, _path: Path, engine: str) -> tuple[str, str]:
        """Damage of the store is found by who looks, or nothing was read otherwise than before."""
        copied = Path(shutil.copytree(data, data.with_name("looked")))
        try:
            verdict = self._found(copied)
        finally:
            shutil.rmtree(copied)
        if verdict.state:
            return DETECTED, verdict.state
        before = _height(data)
        self._opened(data).close()  # a store that lost its last writes has them executed again
        if _contents(data) != self._contents[engine]:
            raise Unnoticed
        again = len(self._records) - before
        return HARMLESS, f"{again} blocks are executed again" if again else "all is read as before"

    def _snapshot(self, _data: Path, path: Path, _engine: str) -> tuple[str, str]:
        try:
            snapshots.Snapshot.open(path.parent, self._genesis.genesis).verify()
        except snapshots.BadSnapshot as error:
            if error.path.parent == path.parent:
                return DETECTED, str(error)
        raise Unnoticed

    def _promise(self, folder: Path) -> None:
        journal = Journal.create(folder, self._identity)
        for number in range(1, BATCHES + 1):
            promise = Record(BATCHES, Kind.PROMISE, b"promise %d" % number * 9)
            journal.append([promise, Record(BATCHES, Kind.BODY, b"body %d" % number * 30)])
        journal.close()

    def _journal(self, data: Path, _path: Path, _engine: str) -> tuple[str, str]:
        """Damage of the journal stops the node, or makes it silent, or is told as a torn tail."""
        try:
            journal = Journal.open(data / "journal", self._identity)
        except StoreDamaged as error:
            return DETECTED, str(error)
        assert journal is not None
        journal.close()
        if journal.doubt:
            return DETECTED, journal.doubt
        if journal.truncated:
            return DETECTED, f"a torn tail of {journal.truncated} bytes"
        if len(journal.promises(BATCHES)) == len(journal.bodies(BATCHES)) == BATCHES:
            return HARMLESS, "all promises are there"
        raise Unnoticed

    def _kept(self, _data: Path, path: Path, _engine: str) -> tuple[str, str]:
        kept = self._kept_file(path)
        if lost := kept.lost():
            return DETECTED, "; ".join(f"{path}: {each}" for each in lost)
        if kept.read() == list(ITEMS):
            return HARMLESS, "all is read as before"
        raise Unnoticed

    def _opened(self, data: Path) -> Chain:
        return Chain.open(data, self._genesis.genesis, SIGNATURES)


def _flipped(content: bytes, offset: int, rng: Random) -> bytes:
    changed = content[offset] ^ rng.randrange(1, 256)
    return content[:offset] + bytes((changed,)) + content[offset + 1 :]


def _contents(data: Path) -> list[tuple[bytes, bytes]]:
    with contextlib.closing(open_store(data / "state")) as store:
        return store.scan(b"", 1 << 20)


def _height(data: Path) -> int:
    with contextlib.closing(open_store(data / "state")) as store:
        return tip_of(store)


def main() -> int:
    """Run the seeds that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", default="0-999", metavar="A-B", help="which; 0-999 if not said")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="corruptions-") as scratch:
        campaign = Campaign(Path(scratch))
        told = [*_shown(campaign, range(int(first), int(last or first) + 1), is_json=options.json)]
    counts = Counter(each.verdict for each in told)
    result: dict[str, Any] = {
        "corruptions": len(told),
        DETECTED: counts[DETECTED],
        HARMLESS: counts[HARMLESS],
        FAILED: counts[FAILED],
        "seconds": round(time.monotonic() - began, 1),
        "failures": [asdict(each) for each in told if each.verdict == FAILED],
    }
    print(json.dumps(result, indent=2) if options.json else _sentence(result))
    return 1 if counts[FAILED] or not told else 0


def _shown(campaign: Campaign, seeds: Sequence[int], *, is_json: bool) -> Iterator[Told]:
    for seed in seeds:
        told = campaign.run(seed)
        if not is_json:
            print(f"{seed:5d} {told.verdict:9} {told.where}: {told.said}", flush=True)
        yield told


def _sentence(result: dict[str, Any]) -> str:
    names = ("corruptions", DETECTED, HARMLESS, FAILED)
    return ", ".join(f"{result[name]} {name}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
