"""A busy day of claims on a real network, then a search of every byte that everybody holds.

Two shops claim of two insurers, who are shown what they may see, decide and settle. What goes
through the doors of the nodes in the clear is written down (`scripts/tap`). In the end every file
of every party, its logs, what its doors saw and what its vault holds once it is opened is searched
for what that party must not know, in every plain way of writing it. That the search finds what
is there is seen at the vaults of those who may know.
"""

import argparse
import base64
import copy
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from contracts.documents import CLAIM
from contracts.sd_jwt import parse as parse_sd_jwt
from ledger.store import open_store
from ledger.validators import MemberId
from node import testnet
from node.cli.home import load_home
from node.cli.main import main as depoli
from node.client.records import ClaimRecord, PrescriptionRecord, every
from node.client.vault import Kind, Vault
from node.testnet import LocalNetwork, Organisation
from scripts.make_claims import make_claims, rpps
from scripts.needles import Found, Needles, Secret, short_values, unwrapped

TAP: Final = Path(__file__).parent / "tap"
SHOPS: Final = ("shop-1", "shop-2")
INSURERS: Final = ("insurer-a", "insurer-b")
LOT: Final = 250
ROUNDS: Final = 10  # of post, which is soon there
_DECIDED: Final = frozenset(("accepted", "accepted-in-part", "review"))
_READ: Final = 4 << 20  # of a file at a time; a needle that is cut is in the overlap
_OVERLAP: Final = 4096

Say = Callable[[str], None]


class Leaked(Exception):
    """Somebody holds what he must not know, or the search does not find what is there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes that somebody holds, or saw."""

    party: str
    name: str
    pieces: Callable[[], Iterator[bytes]]
    is_open: bool = False  # what a vault holds, decrypted


@dataclass
class Day:
    """What was claimed, and who may know what of it."""

    nobody: list[Secret] = field(default_factory=list)  # never kept, not even by the shop
    shop: dict[str, list[Secret]] = field(default_factory=dict)  # shop -> what it alone knows
    # (shop, payer) -> what the two of them know
    shown: dict[tuple[str, str], list[Secret]] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    cents: set[int] = field(default_factory=set)

    def forbidden(self, place: Place) -> list[Secret]:
        """Return what must not stand in a place: at rest nobody holds anything in the clear."""
        found = list(self.nobody)
        for shop, known in self.shop.items():
            if not (place.is_open and place.party == shop):
                found += known
        for pair, known in self.shown.items():
            if not (place.is_open and place.party in pair):
                found += known
        return found

    def expected(self, party: str) -> list[Secret]:
        """Return what the opened vault of a party holds."""
        found = list(self.shop.get(party, ()))
        for pair, known in self.shown.items():
            if party in pair:
                found += known
        return found


def claims_of(count: int, seed: int, payers: Sequence[str]) -> list[dict[str, Any]]:
    """Return claims of patients who do not exist, each with things that can be looked for."""
    chance = random.Random(seed)  # noqa: S311 - nobody guards anything with it
    examples = [each for each in make_claims() if "secret" not in each]
    made = []
    for number in range(count):
        claim = copy.deepcopy(examples[number % len(examples)])
        tag = f"{chance.getrandbits(40):010X}"
        prescription = claim["prescription"]
        prescription["patient"] = {
            "reference": f"Patient/{tag}",
            "display": f"Nom-{chance.getrandbits(48):012x} Prénom-{chance.getrandbits(48):012x}",
        }
        prescription["prescriber"]["identifier"]["value"] = rpps(
            9_900_000_000 + chance.randrange(10_000_000)
        )
        for lens in prescription["lensSpecification"]:
            lens["note"] = [{"text": f"note-{chance.getrandbits(48):012x}"}]
            lens["brand"] = f"marque-{chance.getrandbits(48):012x}"
        claim["claim"] |= {
            "reference": f"F-{tag}",
            "payer": payers[number % len(payers)],
            "insured": f"ADH-{chance.getrandbits(48):012X}",
            "authorisation": f"PEC-{chance.getrandbits(48):012X}",
        }
        claim["prescription_reference"] = f"ORD-{tag}"
        # Six digits, so that no height, size or port is taken for an amount.
        amounts = claim["claim"]["amounts"]
        amounts["lenses"] = 100_001 + 2 * chance.randrange(200_000)
        if "frame" in amounts:
            amounts["frame"] = 100_000 + 2 * chance.randrange(200_000)
        made.append(claim)
    return made


def note_documents(day: Day, shop: str, claims: Sequence[dict[str, Any]]) -> None:
    """Note what of these documents may be known to whom."""
    for claim in claims:
        asked, prescription = claim["claim"], claim["prescription"]
        patient = prescription["patient"]
        day.nobody += [
            Secret("a patient's name", name.encode())
            for name in (*patient["display"].split(" "), patient["reference"])
        ]
        for lens in prescription["lensSpecification"]:
            day.nobody.append(Secret("a note", lens["note"][0]["text"].encode()))
            day.nobody.append(Secret("a brand", lens["brand"].encode()))
        own = day.shop.setdefault(shop, [])
        own += [
            Secret("a shop's reference", asked["reference"].encode()),
            Secret("a prescription's reference", claim["prescription_reference"].encode()),
            Secret("a prescriber", prescription["prescriber"]["identifier"]["value"].encode()),
        ]
        shown = day.shown.setdefault((shop, asked["payer"]), [])
        shown += [
            Secret("an insured's reference", asked["insured"].encode()),
            Secret("an authorisation's number", asked["authorisation"].encode()),
        ]
        codes = asked["codes"]
        day.codes |= {codes.get("right"), codes.get("left"), codes.get("frame")} - {None}
        day.codes |= set(codes["supplements"])
        day.cents |= set(asked["amounts"].values())


def note_vault(day: Day, shop: str, vault: Vault, label_of: Callable[[bytes], str]) -> None:
    """Note salts, blindings, secrets and what was signed, as the shop's vault holds them."""
    own = day.shop.setdefault(shop, [])
    shown_of_prescription: dict[str, set[str]] = {}
    for _, claim in every(vault, ClaimRecord):
        shown = day.shown.setdefault((shop, label_of(claim.payer)), [])
        shown.append(Secret("a blinding", claim.blinding))
        for disclosure in parse_sd_jwt(claim.document).disclosures:
            assert disclosure.name in CLAIM.fields
            shown += _signed("of a claim", disclosure.text)
        # A payer is shown the marks that its claims use; the chain has these anyway.
        names = shown_of_prescription.setdefault(claim.prescription_reference, set())
        names |= {"lenses_mark", "frame_mark"}
    for _, prescription in every(vault, PrescriptionRecord):
        own.append(Secret("the secret of marks", prescription.secret))
        for disclosure in parse_sd_jwt(prescription.document).disclosures:
            if "mark" not in disclosure.name:
                own += _signed(f"{disclosure.name} of a prescription", disclosure.text)


def _signed(what: str, text: str) -> Iterator[Secret]:
    """Yield a disclosure of an SD-JWT and its salt."""
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    salt = json.loads(content)[0]
    yield Secret(f"a field {what}, signed", text.encode())
    yield Secret(f"a field {what}", content)
    yield Secret(f"a salt {what}", base64.urlsafe_b64decode(salt + "=" * (-len(salt) % 4)))


# --- the day --------------------------------------------------------------------------------------


def does(who: Organisation, *args: str | Path) -> Any:  # noqa: ANN401
    """Run a command of somebody's that succeeds; return its result."""
    command = [*map(str, args), "--home", str(who.home), "--json"]
    result = CliRunner().invoke(depoli, command)
    if result.exit_code:
        raise Leaked(f"{who.label}: depoli {' '.join(command[:2])}: {result.stderr[-500:]}")
    try:
        return json.loads(result.stdout)
    except ValueError:
        return [json.loads(line) for line in result.stdout.splitlines()]


@contextmanager
def tapped(network: LocalNetwork, folder: Path) -> Iterator[None]:
    """Run the nodes, what goes through their doors written down for each."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "TAP")}
    os.environ["PYTHONPATH"] = str(TAP)
    try:
        for process in network.processes:
            os.environ["TAP"] = str(folder / process.label)
            process.start()
        network.start()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        network.stop()


def work(network: LocalNetwork, day: Day, count: int, inputs: Path, say: Say) -> None:
    """Let the shops claim, show, and be paid."""
    folders: dict[str, list[Path]] = {}
    for number, label in enumerate(SHOPS):
        share = count // len(SHOPS)
        made = claims_of(share, number, INSURERS)
        note_documents(day, label, made)
        for start in range(0, share, LOT):
            folder = inputs / f"{label}-{start}"
            folder.mkdir(parents=True)
            folders.setdefault(label, []).append(folder)
            for claim in made[start : start + LOT]:
                path = folder / f"{claim['claim']['reference']}.json"
                path.write_text(json.dumps(claim, default=_exact))
    for label in SHOPS:
        shop = network.organisation(label)
        for folder in folders[label]:
            done = does(shop, "lot", "submit", folder)["claims"]
            say(f"{label}: {len(done)} claims are on the chain")
        does(shop, "disclosure", "send", "--all")
        say(f"{label}: they are on their way to the payers")
    policy = inputs / "policy.toml"
    policy.write_text(_policy())
    for payer in INSURERS:
        _decide(network.organisation(payer), policy, inputs, count // len(INSURERS), say)
    for payer in INSURERS:
        for label in SHOPS:
            _settle(network.organisation(payer), network.organisation(label))
    for label in SHOPS:
        does(network.organisation(label), "post", "run", "--once")  # acknowledgements
    shutil.rmtree(inputs)  # what the shops' software wrote; it keeps its own


def _policy() -> str:
    """Return the example's policy for a day of dear glasses."""
    text = (Path(__file__).parent / "data" / "policy.toml").read_text()
    for name, value in (
        ("accept_up_to_cents", 10**8),
        ("accept_per_day_cents", 10**11),
        ("accept_per_shop_day_cents", 10**11),
        ("authorisation_above_cents", 10**8),
        ("invoice_days", 36_500),
    ):
        text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
    text = re.sub(r"(total|frame)_cents = \d+", r"\1_cents = 100000000", text)
    return text[: text.index("[settle]")]


def _decide(who: Organisation, policy: Path, inputs: Path, count: int, say: Say) -> None:
    """Let a payer's machine decide on what came by post."""
    decided: set[str] = set()
    for _ in range(ROUNDS):
        said = does(who, "inbox", "run", "--policy", policy, "--post", "--once", "--folder", inputs)
        decided |= {each["claim"] for each in said if each["event"] in _DECIDED}
        say(f"{who.label}: decided on {len(decided)} of {count}")
        if len(decided) == count:
            return
    raise Leaked(f"{who.label} decided on {len(decided)} claims, and {count} are its own")


def _settle(payer: Organisation, shop: Organisation) -> None:
    made = does(
        payer, "settlement", "create", "--beneficiary", shop.label, "--all",
        "--payment", f"VIR {payer.label} {shop.label}",
    )  # fmt: skip
    for _ in range(ROUNDS):
        came = does(shop, "post", "run", "--once")
        if refused := [each["what"] for each in came if each["verdict"] != "taken"]:
            raise Leaked(f"{shop.label} {refused[0]}")
        if any(each["purpose"] == "settlement" for each in came):
            break
    does(shop, "settlement", "confirm", made["settlement"])


def _exact(value: object) -> float:
    assert isinstance(value, Decimal)
    return float(value)


# --- the search -----------------------------------------------------------------------------------


def places(network: LocalNetwork, taps: Path) -> Iterator[Place]:
    """Yield everything that everybody holds or saw; the network has stopped."""
    for who in network.organisations:
        for path in sorted(each for each in who.folder.rglob("*") if each.is_file()):
            yield Place(who.label, str(path.relative_to(who.folder)), partial(_read, path))
        if who.runs_node:
            yield Place(who.label, "store", partial(_stored, who))
            for path in sorted((taps / who.label).glob("*.bytes")):
                yield Place(who.label, f"door {path.name}", partial(_read, path))
        if load_home(who.home).vault.exists():
            yield Place(who.label, "vault, opened", partial(_opened, who), is_open=True)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        before = b""
        while piece := file.read(_READ):
            yield before + piece
            before = piece[-_OVERLAP:]


def _stored(who: Organisation) -> Iterator[bytes]:
    """Yield what a node's key-value store holds, which on disk is compressed."""
    with closing(open_store(who.node / "data" / "state")) as store:
        after = b""
        while page := store.scan(b"", 10_000, after):
            after = page[-1][0]
            yield b"\n".join(key + b" " + value for key, value in page)


def _opened(who: Organisation) -> Iterator[bytes]:
    home = load_home(who.home)
    key = home.vault_key()
    assert key is not None
    with Vault(home.vault, key) as vault:
        for kind in Kind:  # a signed document stands in a file, and that in a record
            yield from unwrapped(b"\n".join(content for _, content in vault.all(kind)), 2)


def messages(taps: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each message that a door saw, with the name of the door."""
    for path in sorted(taps.rglob("*.bytes")):
        lengths = path.with_suffix(".lengths").read_bytes()
        with path.open("rb") as file:
            for start in range(0, len(lengths), 4):
                yield path.stem, file.read(int.from_bytes(lengths[start : start + 4]))


def search(network: LocalNetwork, day: Day, taps: Path, say: Say) -> dict[str, Any]:
    """Search everything; return what was searched. Raises `Leaked`."""
    secret = [*day.nobody, *chain(*day.shop.values()), *chain(*day.shown.values())]
    needles = Needles(secret)
    say(f"{len(secret)} secrets, {needles.count} ways of writing them")
    searched = count = known = 0
    for place in places(network, taps):
        forbidden = {*map(id, day.forbidden(place))}
        seen: set[int] = set()
        for piece in place.pieces():
            searched += len(piece)
            for found in needles.search(piece):
                if id(found.secret) in forbidden:
                    raise Leaked(_told(place, found))
                seen.add(id(found.secret))
        count += 1
        if place.is_open:
            missed = [each for each in day.expected(place.party) if id(each) not in seen]
            if missed:
                raise Leaked(
                    f"the search does not find {missed[0].what} that {place.party} knows,"
                    f" nor {len(missed) - 1} others"
                )
            known += len(seen)
            say(f"{place.party}: knows {len(seen)} of them, and may")
    short = day.codes | day.cents
    letters = 0
    for door, message in messages(taps):
        letters += 1
        if leaked := short_values(message) & short:
            raise Leaked(f"{door}: a message has the field {min(map(str, leaked))}")
    return {
        "secrets": len(secret),
        "needles": needles.count,
        "places": count,
        "bytes": searched,
        "messages": letters,
        "found_where_they_may_be": known,
        "leaks": 0,
    }


def _told(place: Place, found: Found) -> str:
    return (
        f"{place.party}, {place.name}: {found.secret.what} stands there,"
        f" written {found.written}, at byte {found.offset} of a piece"
    )


def spend(folder: Path, count: int, say: Say) -> tuple[LocalNetwork, Day, Path]:
    """Make the network and the day in `folder`; return them, and what the doors saw."""
    network = testnet.create(folder / "net", shops=len(SHOPS))
    day, taps = Day(), folder / "taps"
    with tapped(network, taps):
        work(network, day, count, folder / "handed", say)
    labels = {each.member: each.label for each in network.organisations}
    for shop in SHOPS:
        home = load_home(network.organisation(shop).home)
        key = home.vault_key()
        assert key is not None
        with Vault(home.vault, key) as vault:
            note_vault(day, shop, vault, lambda member: labels[MemberId(member)])
    return network, day, taps


def main() -> int:
    """Run a day as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=1000, help="of the day (1000)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = search(*spend(Path(folder), arguments.claims, say), say)
        except Leaked as error:
            say(f"error: {error}")
            return 1
    result = {"claims": arguments.claims} | found
    print(json.dumps(result) if arguments.json else _human(result))
    return 0


def _human(result: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' ')}  {value}" for name, value in result.items())


if __name__ == "__main__":
    sys.exit(main())
