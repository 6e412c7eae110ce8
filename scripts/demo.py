"""From nothing to a settled, audited claim: what Dépoli promises, each promise checked.

Real processes, real keys, the same commands that a person types. Four organisations found a
network; a shop submits claims; payers verify, decide and settle; a validator is killed on the way;
an auditor takes the chain away and verifies it twice. Exit code 0: every check held.
"""

import argparse
import base64
import fcntl
import json
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import google_crc32c

from node import keystore, testnet
from node.cli.home import load_home
from node.client import sealing
from node.errors import NodeError
from scripts.checks import BOLD, DIM, GREEN, RED, Checks, Commands, Ran, Unmet, painter, require

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "scripts" / "data"
SHOP, OTHER_SHOP, AUDITOR = "shop-1", "shop-2", "auditor"
PAYER, KILLED = "insurer-a", "insurer-b"
OPERATOR = "payment-operator"
VALIDATORS = {"federation", OPERATOR, PAYER, KILLED}
AT_LEAST = 30  # claims read
SINGLY = 3  # claims submitted one by one; the others in lots
DEDUCTED = 10_00  # cents that are not accepted of a claim that is accepted in part
CATCH_UP_S = 60.0  # far above what it takes, far below what a person waits
SHOWN_BAD = (  # refused one by one; all bad ones are refused in a lot
    "axis-900.json",
    "sphere-1.13.json",
    "unknown-code.json",
    "social-security-number.json",
)
CHILDREN_FRAMES = {"M02", "M04"}
FAILED, VERIFICATION_FAILED, NOT_FOUND, REJECTED, UNREACHABLE = 1, 4, 5, 6, 13


class Busy(Exception):
    """Another demo is at work in the folder, or it holds something else."""


@dataclass
class Claim:
    """A claim of the example files, and what became of it."""

    file: Path
    document: dict[str, Any]
    id: str = ""
    transaction: str = ""
    height: int = 0
    decided: str = ""  # accepted, in part, rejected
    due: int = 0  # cents accepted

    @property
    def reference(self) -> str:
        """The shop's own reference."""
        return str(self.document["claim"]["reference"])

    @property
    def payer(self) -> str:
        """Label of who is to pay."""
        return str(self.document["claim"]["payer"])

    @property
    def cents(self) -> int:
        """What is claimed."""
        return sum(self.document["claim"]["amounts"].values())

    @property
    def lenses(self) -> list[dict[str, Any]]:
        """What is prescribed, an item per eye."""
        found: list[dict[str, Any]] = self.document["prescription"]["lensSpecification"]
        return found

    def disclosed(self) -> dict[str, Any]:
        """Return what the payer is to read of it."""
        claim = self.document["claim"]
        return {
            "submitter": SHOP,
            "leg": claim["leg"],
            "right": claim["codes"].get("right"),
            "left": claim["codes"].get("left"),
            "frame": claim["codes"].get("frame"),
            "supplements": sorted(claim["codes"]["supplements"]),
            "lenses_cents": claim["amounts"]["lenses"],
            "frame_cents": claim["amounts"].get("frame"),
            "cents": self.cents,
            "invoice_date": claim["invoice_date"],
            "insured": claim.get("insured"),
            "authorisation": claim.get("authorisation"),
        }


class Doorbell:
    """A place that calls itself a node, answers nobody and counts who came."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.rings = 0
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _listen(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                visitor, _ = self._socket.accept()
                self.rings += 1
                visitor.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@dataclass
class Demo:
    """The story, in a folder of its own."""

    folder: Path
    checks: Checks
    claims: list[Claim] = field(default_factory=list)
    refused_at_door: int = 0
    settled: Counter[str] = field(default_factory=Counter)  # payer -> cents
    height: int = 0  # of the whole chain, at the end
    headline: Claim | None = None  # whose receipt is kept

    def __post_init__(self) -> None:
        self.network = self.folder / "network"
        self.genesis = self.folder / "genesis.json"
        self.receipt = self.folder / "receipt.json"
        self.chain = self.folder / "chain.depoli"
        self.transcript = self.folder / "commands.txt"
        self.commands = Commands(self.transcript)
        self.depoli = self.commands.depoli

    def run(self) -> None:
        """Tell it from beginning to end; raise `Unmet` where a check does not hold."""
        self.found_network()
        self.turn_away_bad_claims()
        self.submit()
        self.decide_and_settle()
        self.lose_a_validator()
        self.audit()
        self.falsify()
        self.checks.step("What happened")
        with self.checks.check("stopped", "every node ends when it is asked to") as it:
            ended = self.depoli("testnet", "stop", self.network).value
            require("nodes that had to be killed", [], ended["killed"])
            require("nodes stopped", VALIDATORS, set(ended["stopped"]))
            it.detail = "four processes ended when they were asked to"

    # --- 1 -----------------------------------------------------------------------------------

    def found_network(self) -> None:
        """Make the network and start it."""
        self.checks.step("Four organisations found a network")
        with self.checks.check("genesis", "every validator signs one genesis") as it:
            self.depoli("testnet", "create", self.network)
            ceremony = self.network / "ceremony"
            signatures = sorted(ceremony.glob("*.signature.json"))
            require("signatures", 4, len(signatures))
            draft, too_few = ceremony / "draft.json", ceremony / "three-of-four.json"
            three = ("genesis", "assemble", draft, *signatures[:3], "--output", too_few)
            self.depoli(*three, code=VERIFICATION_FAILED)
            shutil.copy(ceremony / "genesis.json", self.genesis)
            members = self.depoli("genesis", "verify", self.genesis).value["members"]
            validators = {each["label"]: each["family"] for each in members if each["validates"]}
            require("validators", VALIDATORS, set(validators))
            require("families", {"optician", "operator", "insurer"}, set(validators.values()))
            it.detail = "four organisations signed one genesis; three signatures are too few"
        with self.checks.check("ready", "four nodes start") as it:
            self.depoli("testnet", "start", self.network)
            for node in self.status():
                require(f"{node['label']} is ready", expected=True, found=node.get("ready"))
                require(f"peers of {node['label']}", 3, len(node["peers"]))
            it.detail = "four nodes are ready, each linked to the three others over TLS"

    # --- 2 -----------------------------------------------------------------------------------

    def turn_away_bad_claims(self) -> None:
        """Read all claims, and show that bad ones stay in the shop."""
        self.checks.step("What must not leave the shop does not")
        with self.checks.check("claims-read", "claims are read") as it:
            for file in sorted((DATA / "claims").glob("*.json")):
                self.claims.append(Claim(file, json.loads(file.read_bytes())))
            it.detail = self._read()
        refusals = json.loads((DATA / "refusals.json").read_bytes())
        with self.checks.check("bad-claims", "bad claims are refused, each with its reason") as it:
            watched, bell = self._watched_home()
            heights = [node["height"] for node in self.status()]
            for name in SHOWN_BAD:
                submit = ("claim", "submit", DATA / "bad" / name)
                refused = self.depoli(*submit, home=watched, code=REJECTED)
                require(f"{name} is refused", refusals[name], refused.error)
            it.detail = f"{len(SHOWN_BAD)} bad claims are refused at the door, each with its reason"
            it.quotes = [refusals[name] for name in SHOWN_BAD]
        with self.checks.check("held-back", "a lot with bad claims is held back whole") as it:
            good = [each.file for each in self.claims[:SINGLY]]
            lot = ("lot", "submit", *good, DATA / "bad", "--all-or-none")
            said = self.depoli(*lot, home=watched, code=REJECTED).said.splitlines()
            for name, sentence in refusals.items():
                if f"{name}: {sentence}" not in said:
                    raise Unmet(f"{name}: {sentence}", said)
            self.refused_at_door = len(refusals)
            it.detail = (
                f"a lot of {len(good)} good claims and {len(refusals)} bad ones is held back whole"
            )
        with self.checks.check("nothing-left", "nothing left the shop") as it:
            require("connections to the node", 0, bell.rings)
            require("heights", heights, [node["height"] for node in self.status()])
            # The watch itself is checked: a good claim does ring.
            submit = ("claim", "submit", self.claims[0].file)
            self.depoli(*submit, home=watched, code=UNREACHABLE)
            if not bell.rings:
                raise Unmet("a good claim to ring where bad ones did not", "silence")
            it.detail = "nothing left the shop: no connection opened, no block made"
            bell.close()

    def _read(self) -> str:
        if len(self.claims) < AT_LEAST:
            raise Unmet(f"at least {AT_LEAST} claims", len(self.claims))
        progressive = sum(any("add" in lens for lens in each.lenses) for each in self.claims)
        one_eye = sum(len(each.lenses) == 1 for each in self.claims)
        children = sum(_codes(each).get("frame") in CHILDREN_FRAMES for each in self.claims)
        mixed = sum(_is_mixed(each) for each in self.claims)
        for what, count in (
            ("a progressive", progressive),
            ("a single-eye", one_eye),
            ("a child's", children),
            ("a mixed-class", mixed),
        ):
            if not count:
                raise Unmet(f"{what} claim", "none")
        return (
            f"{len(self.claims)} read: {children} of children, {progressive} progressive, "
            f"{one_eye} of one eye, {mixed} mixed A/B"
        )

    def _watched_home(self) -> tuple[Path, Doorbell]:
        """Return a home like the shop's, whose node is one that counts who comes."""
        bell = Doorbell()
        own = self.home(SHOP)
        watched = own.with_name("home-watched")
        shutil.copytree(own, watched)
        settings = watched / "client.toml"
        text = settings.read_text()
        settings.write_text(text.replace(tomllib.loads(text)["node"], bell.url))
        return watched, bell

    # --- 3 -----------------------------------------------------------------------------------

    def submit(self) -> None:
        """Bring what is for now onto the chain; what is left waits for the accident."""
        self.checks.step("A shop submits its claims")
        with self.checks.check("singly", "claims are submitted one by one") as it:
            for claim in self.claims[:SINGLY]:
                made = self.by(SHOP, "claim", "submit", claim.file)
                self._took(claim, made.value)
            it.detail = f"{SINGLY} claims submitted one by one, each answered with its block"
        now = self._lot_now()
        with self.checks.check("lot", "a lot is submitted") as it:
            self._submit_lot(now)
            require("signatures of the lot", 1, len({each.transaction for each in now}))
            it.detail = (
                f"{len(now)} claims in one lot, under one signature, in block {now[0].height}"
            )
        with self.checks.check("again", "the same lot again changes nothing") as it:
            before = [(each.id, each.height) for each in now]
            height = self.status()[0]["height"]
            self._submit_lot(now)
            require("ids and blocks", before, [(each.id, each.height) for each in now])
            require("height", height, self.status()[0]["height"])
            it.detail = "the same lot sent again changed nothing"

    def _lot_now(self) -> list[Claim]:
        """Return the claims of the first lot: all but half of those of the insurer that is hit."""
        others = self.claims[SINGLY:]
        now = [each for each in others if each.payer == PAYER]
        of_killed = [each for each in others if each.payer == KILLED]
        return now + of_killed[: len(of_killed) // 2]

    def _submit_lot(self, claims: Sequence[Claim]) -> None:
        files = [each.file for each in claims]
        made = self.by(SHOP, "lot", "submit", *files).value["claims"]
        by_reference = {view["reference"]: view for view in made}
        for claim in claims:
            self._took(claim, by_reference[claim.reference])

    def _took(self, claim: Claim, view: Mapping[str, Any]) -> None:
        require(f"{claim.reference} is", "committed", view["progress"])
        require(f"amount of {claim.reference}", claim.cents, view["amount_cents"])
        claim.id, claim.transaction = view["claim"], view["transaction"]
        claim.height = view["height"]

    # --- 4 -----------------------------------------------------------------------------------

    def decide_and_settle(self) -> None:
        """Let the first payer verify, decide and settle."""
        self.checks.step(f"{PAYER} verifies, decides and settles")
        mine = self._submitted_to(PAYER)
        first = mine[0]
        handed = self._disclose(mine)
        with self.checks.check("unseen", "nothing is accepted unseen") as it:
            self.by(PAYER, "claim", "accept", first.id, code=REJECTED)
            it.detail = "no claim is accepted before its disclosure was verified"
        with self.checks.check("for-the-payer", "only the payer can read a disclosure") as it:
            sealed = handed[first.id]
            self.by(KILLED, "disclosure", "verify", sealed, code=VERIFICATION_FAILED)
            self.by(KILLED, "claim", "show", first.id, code=NOT_FOUND)
            plain = self._unsealed(sealed, PAYER)
            names = [name for _, name, _ in _disclosures(plain["prescription_document"])]
            beyond = [name for name in names if not name.startswith("mark_complementary_")]
            require("fields of the prescription that are disclosed", [], beyond)
            it.detail = "only the payer can open a disclosure, and it shows no correction"
        with self.checks.check("changed-field", "a changed field fails") as it:
            fields = self._change_fields(plain)
            it.detail = f"with one field changed it fails: {', '.join(fields)}"
        self._verify(PAYER, mine, handed)
        self._decide(PAYER, mine)
        self._settle(PAYER)
        self._sell_twice(first)

    def _submitted_to(self, payer: str) -> list[Claim]:
        return [each for each in self.claims if each.payer == payer and each.id]

    def _disclose(self, claims: Sequence[Claim]) -> dict[str, Path]:
        """Return claim -> the file that the shop hands to its payer."""
        payer = claims[0].payer
        with self.checks.check(f"disclosed-{payer}", f"{SHOP} discloses to {payer}") as it:
            folder = self.folder / "handed" / payer
            names = [each.reference for each in claims]
            made = self.by(SHOP, "disclosure", "make", *names, "--folder", folder).value
            require("payers", {payer}, {item["payer"] for item in made})
            it.detail = f"{SHOP} sealed {len(made)} disclosures to {payer}"
        return {item["claim"]: Path(item["file"]) for item in made}

    def _unsealed(self, file: Path, reader: str) -> dict[str, Any]:
        """Return what a sealed file says, with the key of the one it is for."""
        home = load_home(self.home(reader))
        assert home.sealing_key_file is not None  # of every member of a local network
        seed = keystore.read_seed(home.sealing_key_file)
        value: dict[str, Any] = json.loads(sealing.unseal(file.read_bytes(), file.name, seed))
        return value

    def _change_fields(self, plain: Mapping[str, Any]) -> list[str]:
        """Show that a disclosure with one field changed is refused; return which were."""
        document = plain["claim_document"]
        changed: dict[str, dict[str, Any]] = {
            "amount": {"cents": plain["cents"] + 1},
            "blinding": {"blinding": f"{int(plain['blinding'], 16) ^ 1:064x}"},
            "code": {"claim_document": _with_field(document, "right_lens", "VU7")},
            "insured": {"claim_document": _with_field(document, "insured", "ADH-000000")},
        }
        folder = self.folder / "handed" / "changed"
        folder.mkdir()
        for name, change in changed.items():
            file = folder / f"{name.replace(' ', '-')}.json"
            file.write_text(json.dumps({**plain, **change}))
            self.by(PAYER, "disclosure", "verify", file, code=VERIFICATION_FAILED)
        file = folder / "nothing.json"  # as it was: it is the change that fails
        file.write_text(json.dumps(plain))
        self.by(PAYER, "disclosure", "verify", file)
        return list(changed)

    def _verify(self, payer: str, claims: Sequence[Claim], handed: Mapping[str, Path]) -> None:
        with self.checks.check(f"verified-{payer}", f"{payer} verifies disclosures") as it:
            files = [handed[each.id] for each in claims]
            found = self.by(payer, "disclosure", "verify", *files).value
            for claim, seen in zip(claims, found, strict=True):
                wanted = claim.disclosed()
                require(claim.reference, wanted, {name: seen[name] for name in wanted})
            it.detail = f"{payer} verified {len(files)} disclosures against the chain"

    def _decide(self, payer: str, claims: Sequence[Claim]) -> None:
        """Accept most, one in part, and reject two for two reasons; accept a few cents at once."""
        if sum(each.cents for each in claims) < DEDUCTED:
            self._accept_all(payer, claims)
            return
        part, *whole = claims
        rejected = [whole.pop(), whole.pop()]
        with self.checks.check(f"decided-{payer}", f"{payer} decides") as it:
            told = self.folder / "handed" / f"part-{payer}.json"
            self.by(payer, "claim", "accept", *(each.id for each in whole))
            part.due = part.cents - DEDUCTED
            only = ("--amount", part.due, "--output", told)
            self.by(payer, "claim", "accept", part.id, *only)
            (seen,) = self.by(SHOP, "disclosure", "verify", told).value
            require("amount that the shop is told", part.due, seen["cents"])
            by_hand, automatic = rejected
            self.by(payer, "claim", "reject", by_hand.id, "--reason", "rights-closed")
            why = ("--reason", "renewal-not-due", "--automatic")
            self.by(payer, "claim", "reject", automatic.id, *why)
            for each in whole:
                each.decided, each.due = "accepted", each.cents
            part.decided = "in part"
            for each in rejected:
                each.decided = "rejected"
            it.detail = (
                f"{payer} accepted {len(whole)}, one in part, and rejected "
                f"{len(rejected)} with reasons"
            )

    def _accept_all(self, payer: str, claims: Sequence[Claim]) -> None:
        with self.checks.check(f"decided-{payer}", f"{payer} decides") as it:
            self.by(payer, "claim", "accept", *(each.id for each in claims))
            for each in claims:
                each.decided, each.due = "accepted", each.cents
            it.detail = f"{payer} accepted all {len(claims)}"

    def _settle(self, payer: str) -> None:
        with self.checks.check(f"settled-{payer}", f"{payer} settles, {SHOP} confirms") as it:
            told = self.folder / "handed" / f"settlement-{payer}.json"
            batch = ("--beneficiary", SHOP, "--all", "--output", told)
            made = self.by(payer, "settlement", "create", *batch).value
            due = sum(each.due for each in self.claims if each.payer == payer)
            require("sum of the batch, in cents", due, made["cents"])
            if payer == PAYER:  # once is enough: a cent more is not confirmed
                wrong = told.with_name("settlement-one-cent-off.json")
                plain = self._unsealed(told, SHOP)
                wrong.write_text(json.dumps({**plain, "cents": plain["cents"] + 1}))
                self.by(SHOP, "settlement", "confirm", wrong, code=VERIFICATION_FAILED)
            confirmed = self.by(SHOP, "settlement", "confirm", told).value
            require("sum that the shop confirmed, in cents", due, confirmed["cents"])
            seen = self.by(SHOP, "settlement", "show", made["settlement"]).value
            require("settlement is", "confirmed", seen["state"])
            self.settled[payer] += due
            it.detail = f"{payer} settled {made['claims']} claims, {euros(due)}; {SHOP} confirmed"

    def _sell_twice(self, claim: Claim) -> None:
        with self.checks.check("second-shop", "a second shop is refused") as it:
            handed = self.folder / "handed" / "prescription.json"
            self.by(SHOP, "prescription", "export", claim.reference, "--output", handed)
            prescription = json.loads(handed.read_bytes())
            second = {
                **claim.document,
                "prescription": prescription["prescription"],
                "secret": prescription["secret"],
                "claim": {**claim.document["claim"], "reference": "AUTRE-0001"},
            }
            file = handed.with_name("second-claim.json")
            file.write_text(json.dumps(second))
            refused = self.by(OTHER_SHOP, "claim", "submit", file, code=REJECTED).value
            require("refusal", "MARK_ALREADY_USED", refused["refusal"])
            # It stands on the chain, so that the shop can prove that it was refused.
            proof = handed.with_name("refusal-receipt.json")
            at = ("--transaction", refused["transaction"], "--position", refused["position"])
            entry = self.by(OTHER_SHOP, "receipt", "export", *at, "--output", proof).value
            require("outcome of the entry", "MARK_ALREADY_USED", entry["outcome"])
            it.detail = (
                f"{OTHER_SHOP} is refused the same prescription: MARK_ALREADY_USED, "
                f"block {entry['height']}"
            )
        with self.checks.check("typed-twice", "what a mark does not stop") as it:
            # Typed from the paper, without the secret of the first shop, it is another mark.
            typed = {name: value for name, value in second.items() if name != "secret"}
            typed |= {"claim": {**claim.document["claim"], "reference": "PAPIER-0001"}}
            typed["prescription_reference"] = "PAPIER-0001"
            file = handed.with_name("typed-claim.json")
            file.write_text(json.dumps(typed))
            made = self.by(OTHER_SHOP, "claim", "submit", file).value
            require("progress of the typed claim", "committed", made["progress"])
            self.by(OTHER_SHOP, "claim", "cancel", "PAPIER-0001")
            it.detail = (
                f"not stopped: the same paper typed by {OTHER_SHOP} has a secret of its own; "
                "only the payer's file tells"
            )

    # --- 5 -----------------------------------------------------------------------------------

    def lose_a_validator(self) -> None:
        """Kill a validator while a lot is under way, go on, and bring it back."""
        self.checks.step(f"{KILLED} loses its node, and nobody waits")
        waiting = [each for each in self.claims if not each.id]
        *lot, last = waiting
        with self.checks.check("killed", f"{KILLED} is killed under a lot") as it:
            with ThreadPoolExecutor(1) as pool:
                submitted = pool.submit(self._submit_lot, lot)
                self.depoli("testnet", "stop", self.network, "--node", KILLED, "--kill")
                submitted.result()
            it.detail = (
                f"kill -9 of {KILLED} under a lot: all {len(lot)} claims of it are in blocks"
            )
        with self.checks.check("goes-on", "three validators go on") as it:
            made = self.by(SHOP, "claim", "submit", last.file)
            self._took(last, made.value)
            down = [node["label"] for node in self.status() if node["pid"] is None]
            require("nodes that are down", [KILLED], down)
            it.detail = f"three validators go on: {last.reference} is in block {last.height}"
        with self.checks.check("caught-up", f"{KILLED} comes back") as it:
            self.depoli("testnet", "start", self.network, "--node", KILLED)
            nodes = self._await_one_header(last.height)
            header = nodes[0]["hash"]
            it.detail = (
                f"{KILLED} is back: all four hold block {nodes[0]['height']}, "
                f"{header[:8]}…{header[-4:]}"
            )
        for payer in (KILLED, OPERATOR):
            mine = self._submitted_to(payer)
            self._verify(payer, mine, self._disclose(mine))
            self._decide(payer, mine)
            self._settle(payer)
        with self.checks.check("shop-sees", "the shop sees what became of all") as it:
            listed = self.by(SHOP, "claim", "list").value["claims"]
            states = Counter(view["state"] for view in listed)
            rejected = sum(each.decided == "rejected" for each in self.claims)
            wanted = Counter(settled=len(self.claims) - rejected, rejected=rejected)
            require("states of the claims", wanted, states)
            it.detail = (
                f"{SHOP} sees what became of all {len(listed)}: {states['settled']} settled, "
                f"{states['rejected']} rejected"
            )

    def _await_one_header(self, height: int) -> list[dict[str, Any]]:
        """Return the states of the nodes once all have one header at or above `height`."""
        deadline = time.monotonic() + CATCH_UP_S
        while True:
            nodes = self.status()
            headers = {node.get("hash") for node in nodes}
            if len(headers) == 1 and nodes[0]["height"] >= height:
                return nodes
            if time.monotonic() > deadline:
                raise Unmet(f"one header within {CATCH_UP_S:g} s", f"{len(headers)}: {nodes}")

    # --- 6 -----------------------------------------------------------------------------------

    def audit(self) -> None:
        """Keep a receipt, take the chain away, and verify both twice."""
        self.checks.step("An auditor takes the chain away and verifies it twice")
        self.headline = claim = self._submitted_to(PAYER)[0]
        with self.checks.check("receipt", "a receipt holds offline") as it:
            self.by(SHOP, "receipt", "export", claim.reference, "--output", self.receipt)
            seen = self.depoli("receipt", "verify", self.receipt, "--genesis", self.genesis).value
            require("block of the receipt", claim.height, seen["height"])
            again = self.recheck("receipt", self.receipt)
            require("block by the second opinion", claim.height, again["height"])
            it.detail = f"the receipt of {claim.reference} holds offline, by both verifiers"
        with self.checks.check("export", "the chain is exported") as it:
            node = load_home(self.home(AUDITOR)).node
            export = ("audit", "export", "--node", node, "--token-file")
            token = self.home(SHOP) / "token"
            kept_from = self.folder / "handed" / "not-for-shops"
            self.depoli(*export, token, "--output", kept_from, code=FAILED)
            token = self.home(AUDITOR) / "token"
            exported = self.depoli(*export, token, "--output", self.chain).value
            self.height = exported["height"]
            it.detail = (
                f"blocks 1 to {self.height} exported, {self.chain.stat().st_size:,} bytes; "
                f"{SHOP} may not"
            )
        with self.checks.check("audit-verify", "every block executed again") as it:
            (state,) = (node for node in self.status() if node["label"] == PAYER)
            report = self.depoli("audit", "verify", self.chain, "--genesis", self.genesis).value
            require("verified", expected=True, found=report["verified"])
            require("last block", (state["height"], state["hash"]), _tip(report))
            require("claims on the chain", len(self.claims) + 2, report["calls"]["ClaimSubmit"])
            require("entries refused", {"mark already used": 1}, report["refusals"])
            it.detail = f"depoli audit verify: {report['entries']} entries executed again, all true"
        with self.checks.check("recheck", "a second opinion") as it:
            opinion = self.recheck("chain", self.chain)
            require("last block", (state["height"], state["hash"]), _tip(opinion))
            for name in ("log_size", "log_root"):
                require(name, report[name], opinion[name])
            it.detail = "scripts/recheck.py: the same header, log and root, by other code"
        with self.checks.check("nothing-personal", "nothing personal is on the chain") as it:
            it.detail = self._look_for_people()

    def _look_for_people(self) -> str:
        """Look for every text of the claims that could lead to a person."""
        data = self.chain.read_bytes()
        texts = set()
        for claim in self.claims:
            prescription = claim.document["prescription"]
            texts |= {
                claim.reference,
                prescription["patient"]["reference"],
                prescription["prescriber"]["identifier"]["value"],
                *(claim.document["claim"].get(key) for key in ("insured", "authorisation")),
            }
        texts -= {None}
        found = sorted(text for text in texts if text.encode() in data)
        require("texts of the claims that are in the export", [], found)
        # The search itself is checked: what must be there is found.
        if bytes.fromhex(self._amount_commitment()) not in data:
            raise Unmet("a claim's commitment in the export", "none")
        return f"none of {len(texts)} names of insured, prescribers and files is in it"

    def _amount_commitment(self) -> str:
        assert self.headline is not None  # of `audit`
        shown = self.by(SHOP, "claim", "show", self.headline.id).value
        return str(shown["chain"]["commitments"]["amount"])

    def recheck(self, *words: object, code: int = 0) -> dict[str, Any]:
        """Run the second opinion; raise as `Commands.run`."""
        program = (sys.executable, ROOT / "scripts" / "recheck.py")
        done = self.commands.run(*program, *words, "--genesis", self.genesis, "--json", code=code)
        value: dict[str, Any] = done.value
        return value

    # --- 7 -----------------------------------------------------------------------------------

    def falsify(self) -> None:
        """Flip one bit of an amount in a copy of the export, and be found out."""
        self.checks.step("Somebody changes one byte; both verifiers name it")
        assert self.headline is not None  # of `audit`
        with self.checks.check("flipped", "one byte is flipped") as it:
            data = bytearray(self.chain.read_bytes())
            at = data.index(bytes.fromhex(self._amount_commitment()))
            (record,) = (each for each in _records(data) if at in each)
            data[at] ^= 1
            flipped = self.folder / "flipped.depoli"
            flipped.write_bytes(data)
            fact = self._name_the_lie(flipped)
            it.detail = f"one byte of an amount flipped: block {fact['height']}, {fact['field']}"
        with self.checks.check("forged", "the checksum is mended too") as it:
            mended = google_crc32c.value(bytes(data[record.start : record.stop]))
            struct.pack_into(">I", data, record.start - 4, mended)
            forged = self.folder / "forged.depoli"
            forged.write_bytes(data)
            fact = self._name_the_lie(forged)
            it.detail = f"its checksum mended too: block {fact['height']}, {fact['field']}"

    def _name_the_lie(self, file: Path) -> dict[str, Any]:
        """Return the first false fact, on which both verifiers agree."""
        assert self.headline is not None  # of `audit`
        verify = ("audit", "verify", file, "--genesis", self.genesis)
        fact: dict[str, Any] = self.depoli(*verify, code=VERIFICATION_FAILED).value
        second = self.recheck("chain", file, code=VERIFICATION_FAILED)
        require("block that is false", self.headline.height, fact["height"])
        same = ("verified", "height", "field")
        require("second opinion", {n: fact[n] for n in same}, {n: second[n] for n in same})
        return fact

    # --- what is common --------------------------------------------------------------------

    def home(self, label: str) -> Path:
        """Return the home of an organisation's people."""
        return self.network / label / "home"

    def by(self, label: str, *words: object, code: int = 0) -> Ran:
        """Run `depoli WORDS` as an organisation's people; raise as `Commands.depoli`."""
        return self.depoli(*words, home=self.home(label), code=code)

    def status(self) -> list[dict[str, Any]]:
        """Return what each node says of itself."""
        found: list[dict[str, Any]] = self.depoli("testnet", "status", self.network).value
        return found

    def stop(self) -> None:
        """Stop what runs, whatever happened."""
        with suppress(NodeError):  # it was not made yet
            testnet.load(self.network).stop()

    # --- 8 -----------------------------------------------------------------------------------

    def summary(self, failed: Unmet | None, seconds: float) -> dict[str, Any]:
        """Return all of it as JSON values."""
        made = self.checks.made
        result: dict[str, Any] = {
            "ok": failed is None and all(each.ok for each in made),
            "seconds": round(seconds, 1),
            "checks": [each.to_json() for each in made],
            "counts": {
                "checks": len(made),
                "commands": self.commands.count,
                "claims_read": len(self.claims),
                "claims_submitted": sum(bool(each.id) for each in self.claims),
                "refused_at_the_door": self.refused_at_door,
                **{
                    name.replace(" ", "_"): sum(each.decided == name for each in self.claims)
                    for name in ("accepted", "in part", "rejected")
                },
                "settlements": len(self.settled),
                "settled_cents": self.settled.total(),
                "blocks": self.height,
            },
            "paths": {
                name: str(path)
                for name, path in {
                    "folder": self.folder,
                    "receipt": self.receipt,
                    "export": self.chain,
                    "genesis": self.genesis,
                    "commands": self.transcript,
                    "network": self.network,
                }.items()
                if path.exists()
            },
        }
        if failed is not None:
            result["failed"] = {
                "name": made[-1].name if made else None,
                "expected": failed.expected,
                "found": failed.found,
                "logs": [str(path) for path in self.logs()],
            }
        return result

    def logs(self) -> list[Path]:
        """Return where to look when something went wrong."""
        logs = sorted(self.network.glob("*/node/node.log"))
        return [path for path in (self.transcript, *logs) if path.exists()]

    def table(self) -> str:
        """Return what happened, for a person."""
        rows = [("payer", "claims", "claimed", "accepted", "in part", "rejected", "settled")]
        payers = sorted({each.payer for each in self.claims})
        for payer in (*payers, ""):
            mine = [each for each in self.claims if payer in ("", each.payer)]
            decided = Counter(each.decided for each in mine)
            rows.append(
                (
                    payer,
                    str(len(mine)),
                    euros(sum(each.cents for each in mine)),
                    str(decided["accepted"]),
                    str(decided["in part"]),
                    str(decided["rejected"]),
                    euros(self.settled[payer] if payer else self.settled.total()),
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        rule = "─" * len(lines[0])
        return "\n".join(f"  {line}" for line in (lines[0], rule, *lines[1:-1], rule, lines[-1]))


def euros(cents: int) -> str:
    """Return cents as people write an amount."""
    return f"{cents // 100:,}".replace(",", "\N{NO-BREAK SPACE}") + f",{cents % 100:02} €"


def _codes(claim: Claim) -> dict[str, Any]:
    codes: dict[str, Any] = claim.document["claim"]["codes"]
    return codes


def _is_mixed(claim: Claim) -> bool:
    """Whether the frame is of one class and a lens of the other."""
    codes = _codes(claim)
    lenses = {codes[side].startswith("V0") for side in ("right", "left") if side in codes}
    return codes.get("frame") is not None and lenses != {codes["frame"] in {"M01", "M02"}}


def _disclosures(document: str) -> Iterator[list[Any]]:
    """Yield [salt, name, value] of what an SD-JWT discloses."""
    for part in document.split("~")[1:-1]:
        yield json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _with_field(document: str, name: str, value: object) -> str:
    """Return an SD-JWT in which one disclosed field has another value."""
    signed, *_ = document.split("~")
    changed = [
        [salt, each, value if each == name else old] for salt, each, old in _disclosures(document)
    ]
    encoded = (
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
        for each in changed
    )
    return "~".join((signed, *encoded, ""))


def _records(export: bytes | bytearray) -> Iterator[range]:
    """Yield where each record of an export lies, without its length and checksum."""
    at = export.index(b"\n") + 1
    while at < len(export):
        (length,) = struct.unpack_from(">I", export, at)
        yield range(at + 8, at + 8 + length)
        at += 8 + length


def _tip(report: Mapping[str, Any]) -> tuple[int, str]:
    return report["height"], report["header"]


@contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """Hold the folder, emptied of an earlier demo; raise `Busy` where it is not ours to empty."""
    lock = folder / ".lock"
    if folder.exists() and not lock.exists() and any(folder.iterdir()):
        raise Busy(f"{folder} holds other things than a demo: name another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another demo is at work in {folder}: wait for it, or name one with --folder"
            ) from None
        with suppress(NodeError):  # of a demo that was itself killed with -9
            testnet.load(folder / "network").stop()
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != lock:
                path.unlink()
        yield


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _near(path: Path) -> str:
    """Return a path as one types it from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _tell_failure(demo: Demo, failed: Unmet, seconds: float) -> None:
    """Say on standard error which check, what was expected and found, and where the logs are."""
    say, made = demo.checks.say, demo.checks.made
    say(f"    expected  {failed.expected}\n    found     {failed.found}")
    for number, path in enumerate(demo.logs()):
        say(f"    {'       ' if number else 'look at'}   {_near(path)}")
    held = sum(each.ok for each in made)
    mark = demo.checks.painted("✗", RED)
    say(f"\n{mark} {made[-1].name} does not hold; {held} checks before it did, {seconds:.0f} s")


def _tell_all(demo: Demo, seconds: float) -> None:
    """Print what happened, what is kept, and what one can do with it."""
    paint, genesis = painter(sys.stdout), _near(demo.genesis)
    kept = (
        (demo.receipt, "proves that a claim stands on the chain"),
        (demo.chain, "the whole chain, in one file"),
        (demo.genesis, "what both are verified against"),
        (demo.transcript, "every command that was run, and its answer"),
    )
    width = max(len(_near(path)) for path, _ in kept)
    held = f"{len(demo.checks.made)} checks held"
    lines = [
        "",
        demo.table(),
        "",
        f"  {demo.refused_at_door} bad claims never left the shop, and a second shop was refused.",
        f"  {KILLED} was killed and came back; {demo.height} blocks, verified twice.",
        "",
        *(f"  {_near(path).ljust(width)}   {paint(what, DIM)}" for path, what in kept),
        "",
        "  Look for yourself:",
        f"    .venv/bin/depoli receipt verify {_near(demo.receipt)} --genesis {genesis}",
        f"    .venv/bin/depoli audit verify {_near(demo.chain)} --genesis {genesis}",
        f"    .venv/bin/python scripts/recheck.py chain {_near(demo.chain)} --genesis {genesis}",
        "",
        f"{paint('✓', GREEN)} {paint(held, BOLD)} in {seconds:.0f} s",
    ]
    print("\n".join(lines))


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "demo-out",
        help="where the receipt, the export and the logs are kept (default: demo-out)",
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    started = time.monotonic()
    failed: Unmet | None = None
    try:
        with _taken(folder := options.folder.absolute()):
            demo = Demo(folder, Checks())
            try:
                demo.run()
            except Unmet as unmet:
                failed = unmet
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # for the moment that stopping takes
                demo.stop()
            seconds = time.monotonic() - started
            if failed is not None:
                _tell_failure(demo, failed, seconds)
            if options.json:
                print(json.dumps(demo.summary(failed, seconds), indent=2, ensure_ascii=False))
            elif failed is None:
                _tell_all(demo, seconds)
    except Busy as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the network is stopped", file=sys.stderr)
        return 130
    return 0 if failed is None else 1


if __name__ == "__main__":
    sys.exit(main())
