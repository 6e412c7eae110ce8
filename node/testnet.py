"""A whole network on this machine: real organisations' folders, a real ceremony, real processes.

Each organisation has a folder of its own, as it would have a machine of its own: `keys/` (its
seeds and card), `node/` (where it runs one) and `home/` (where its people use `depoli`). Nothing
secret is shared between them; what passes are cards, the draft and signatures, in `ceremony/`.
"""

import itertools
import json
import random
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from contracts.parameters import DEFAULTS, Parameters
from ledger.keys import Role
from ledger.validators import MemberId, quorum
from node import card as cards
from node import ceremony, files, keystore
from node.config import Address, Mode, load_config
from node.errors import NodeError, NotFound, NotInitialised, Usage
from node.initialise import Settings, give_token, initialise
from node.process import READY_S, NoAnswer, Process, wait_ready
from node.tokens import Scope

MIN_VALIDATORS: Final = 1  # which tolerates nothing, but shows everything
MAX_VALIDATORS: Final = 31  # a machine ends before the protocol does
MAX_SHOPS: Final = 1000
FILE_NAME: Final = "testnet.json"
FORMAT: Final = "depoli/testnet/1"
HOST: Final = "127.0.0.1"
# Below what systems hand out to outgoing connections (Linux: from 32768): else a peer that dials a
# node that is down could take its port, or reach itself by a simultaneous open.
PORTS: Final = range(12_000, 32_000)
SHARE: Final = 500  # of them for one process: what it found stays free until its nodes listen
FOUNDERS: Final = (
    ("federation", "optician"),
    ("payment-operator", "operator"),
    ("insurer-a", "insurer"),
    ("insurer-b", "insurer"),
)
FAMILIES: Final = ("optician", "operator", "insurer")  # of further validators, in turn
AUDITOR: Final = "auditor"
_GENESIS: Final = "genesis.json"


class NotEmpty(NodeError):
    """A network would be made among other files."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not empty", hint="name a folder that does not exist yet")


class NoNetwork(NotInitialised):
    """There is no local network in a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds no local network", hint=f"make one with: depoli testnet create {path}"
        )


class UnknownLabel(NotFound):
    """The network has nobody of that name."""

    def __init__(self, what: str, label: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no {what} {label}", hint=f"there are: {', '.join(known)}")


class NoPort(NodeError):
    """Every port that may be used is in use."""

    def __init__(self) -> None:
        super().__init__(
            f"no port from {PORTS[0]} to {PORTS[-1]} is free", hint="stop what listens on them"
        )


class BadSize(Usage):
    """A network of that size is not made."""

    def __init__(self, what: str, low: int, high: int) -> None:
        super().__init__(f"a local network has {low} to {high} {what}")


@dataclass(frozen=True, slots=True)
class Organisation:
    """A member of the network, and the folder that stands for its machines."""

    label: str
    family: str
    member: MemberId
    folder: Path
    runs_node: bool

    @property
    def keys(self) -> Path:
        """The folder of its seeds and its card."""
        return self.folder / "keys"

    @property
    def node(self) -> Path:
        """The folder of its node, where it runs one."""
        return self.folder / "node"

    @property
    def home(self) -> Path:
        """The folder that its people give to `depoli --home`."""
        return self.folder / "home"


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A network that was made in a folder, whether it runs or not."""

    directory: Path
    chain_id: bytes
    organisations: tuple[Organisation, ...]  # validators, then shops, then the auditor

    @property
    def genesis(self) -> Path:
        """The signed genesis."""
        return self.directory / "ceremony" / _GENESIS

    @property
    def validators(self) -> tuple[Organisation, ...]:
        """Those who run a node."""
        return tuple(each for each in self.organisations if each.runs_node)

    @property
    def shops(self) -> tuple[Organisation, ...]:
        """Opticians without a node: they use that of the federation."""
        others = (each for each in self.organisations if not each.runs_node)
        return tuple(each for each in others if each.family == "optician")

    @property
    def auditor(self) -> Organisation:
        """Who reads everything and writes nothing."""
        return self.organisation(AUDITOR)

    @property
    def processes(self) -> tuple[Process, ...]:
        """The nodes, in the order of the validators."""
        return tuple(Process(each.label, each.node) for each in self.validators)

    def organisation(self, label: str) -> Organisation:
        """Return the member of that name, or raise `UnknownLabel`."""
        for found in self.organisations:
            if found.label == label:
                return found
        raise UnknownLabel("member", label, [known.label for known in self.organisations])

    def process(self, label: str) -> Process:
        """Return the node of that name, or raise `UnknownLabel`."""
        for found in self.processes:
            if found.label == label:
                return found
        raise UnknownLabel("node", label, [known.label for known in self.processes])

    def api(self, label: str) -> str:
        """Return the base URL of the HTTP API of a node."""
        return f"http://{load_config(self.process(label).home).api_listen}"

    def start(self, *labels: str, seconds: float = READY_S) -> list[str]:
        """Start these nodes, or all, and wait until each is ready; return which were down.

        Where too few run to decide anything, each only has to answer. Raises `NodeDied`,
        `NotReady`: the others are left running.
        """
        chosen = self._chosen(labels)
        started = [process.label for process in chosen if process.start()]
        running = sum(process.pid() is not None for process in self.processes)
        decides = running >= quorum(len(self.processes))
        wait_ready(chosen, seconds, path="/readyz" if decides else "/livez")
        return started

    def stop(self, *labels: str) -> dict[str, bool]:
        """Stop these nodes, or all; return for each that ran whether it ended when asked to."""
        running = [process for process in self._chosen(labels) if process.pid() is not None]
        for process in running:
            process.ask_to_stop()  # all at once: none waits for another
        return {process.label: process.await_end() for process in running}

    def kill(self, label: str) -> None:
        """End a node at once, as a power cut would."""
        self.process(label).kill()

    def status(self) -> list[dict[str, Any]]:
        """Return what each node says of itself, with its label and pid; `error` where none does."""
        found = []
        for process in self.processes:
            state: dict[str, Any] = {"label": process.label, "pid": process.pid()}
            if state["pid"] is not None:
                try:
                    state |= process.status()
                except NoAnswer as error:
                    state["error"] = str(error)
            found.append(state)
        return found

    def _chosen(self, labels: Sequence[str]) -> list[Process]:
        return [self.process(label) for label in labels] if labels else list(self.processes)


def create(
    directory: Path, *, validators: int = 4, shops: int = 2, parameters: Parameters = DEFAULTS
) -> LocalNetwork:
    """Make a network of `validators` nodes, `shops` opticians without a node, and an auditor.

    Raises `NotEmpty`, `BadSize`, `NoPort`.
    """
    for what, count, low, high in (
        ("validators", validators, MIN_VALIDATORS, MAX_VALIDATORS),
        ("shops", shops, 0, MAX_SHOPS),
    ):
        if not low <= count <= high:
            raise BadSize(what, low, high)
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()):
        raise NotEmpty(directory)
    organisations = tuple(_organisations(directory, validators, shops))
    founders = [each.label for each in organisations[:validators]]
    chain_id = _hold_ceremony(directory / "ceremony", organisations, founders, parameters)
    network = LocalNetwork(directory, chain_id, organisations)
    _make_nodes(network)
    for organisation in organisations:
        # A validator's people use their own node, shops and the auditor that of the federation.
        _make_home(
            network, organisation, organisation if organisation.runs_node else organisations[0]
        )
    files.create(directory / FILE_NAME, _dump(network))  # last: with it the network is made
    return network


def load(directory: Path) -> LocalNetwork:
    """Return the network that was made in `directory`; raise `NoNetwork`."""
    directory = directory.absolute()
    try:
        value = json.loads((directory / FILE_NAME).read_bytes())
        return LocalNetwork(
            directory,
            bytes.fromhex(value["chain_id"]),
            tuple(
                Organisation(
                    item["label"],
                    item["family"],
                    MemberId(bytes.fromhex(item["member"])),
                    directory / item["label"],
                    bool(item["runs_node"]),
                )
                for item in value["organisations"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise NoNetwork(directory) from None


def _plan(validators: int, shops: int) -> Iterator[tuple[str, str, cards.Runs]]:
    """Yield label, family and what it runs of every member; no family holds a quorum."""
    yield from ((*founder, cards.Runs.VALIDATOR) for founder in FOUNDERS[:validators])
    for number in range(len(FOUNDERS), validators):
        family = FAMILIES[number % len(FAMILIES)]
        yield f"{family}-{number + 1}", family, cards.Runs.VALIDATOR
    yield from ((f"shop-{n}", "optician", cards.Runs.NOTHING) for n in range(1, shops + 1))
    yield AUDITOR, "auditor", cards.Runs.NOTHING


def _organisations(directory: Path, validators: int, shops: int) -> Iterator[Organisation]:
    for label, family, runs in _plan(validators, shops):
        folder = directory / label
        made = cards.create_card(
            folder / "keys",
            label=label,
            family=family,
            country="FR",
            runs=runs,
            has_person=True,
        )
        yield Organisation(label, family, made.member, folder, runs is cards.Runs.VALIDATOR)


def _hold_ceremony(
    folder: Path,
    organisations: Sequence[Organisation],
    validators: Sequence[str],
    parameters: Parameters,
) -> bytes:
    """Do what organisations do with `depoli genesis`; return the chain id."""
    files.make_folder(folder)
    draft, genesis = folder / "draft.json", folder / _GENESIS
    members = [each.keys / cards.FILE_NAME for each in organisations]
    ceremony.write_draft(draft, members, validators, network="testnet", parameters=parameters)
    signatures = []
    for organisation in organisations:
        if organisation.runs_node:
            signatures.append(folder / f"{organisation.label}.signature.json")
            ceremony.write_signature(draft, organisation.keys, signatures[-1])
    return ceremony.write_genesis(draft, signatures, genesis).chain_id


def _make_nodes(network: LocalNetwork) -> None:
    validators = network.validators
    ports = _free_ports(3 * len(validators))
    p2p, api, admin = (
        dict(zip((each.label for each in validators), ports[part::3], strict=True))
        for part in range(3)
    )
    for organisation in validators:
        label = organisation.label
        settings = Settings(
            mode=Mode.VALIDATOR,
            keys=organisation.keys,
            p2p_listen=p2p[label],
            api_listen=api[label],
            admin_listen=admin[label],
            peers={other: address for other, address in p2p.items() if other != label},
            first_start=True,
        )
        initialise(organisation.node, network.genesis, settings)


def _make_home(network: LocalNetwork, organisation: Organisation, used: Organisation) -> None:
    """Write what the people of an organisation need to use a node."""
    home = organisation.home
    files.make_folder(home)
    is_auditor = organisation.family == AUDITOR
    give_token(
        load_config(used.node).tokens,
        home / "token",
        member=organisation.member,
        scopes=frozenset({Scope.READ, Scope.AUDIT} if is_auditor else {Scope.READ, Scope.SUBMIT}),
        label=f"people of {organisation.label}",
    )
    files.create(home / "vault.key", secrets.token_hex(32).encode() + b"\n", secret=True)
    transaction, sealing, human = (
        f"../keys/{keystore.FILE_NAMES[role]}{keystore.SUFFIX}"
        for role in (Role.TRANSACTION, Role.SEALING, Role.HUMAN)
    )
    settings = {
        "node": network.api(used.label),
        "member": organisation.member.hex(),
        "label": organisation.label,
        "key_file": transaction,
        "sealing_key_file": sealing,
        "human_key_file": human,
        "token_file": "token",
        "vault": "vault.sqlite",
        "vault_key_file": "vault.key",
        "genesis": f"../../ceremony/{_GENESIS}",
    }
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    files.create(home / "client.toml", lines.encode())


def _free_ports(count: int) -> list[Address]:
    """Return addresses of this machine on which nothing listens now."""
    found: list[Address] = []
    _, ports = _share()
    with ExitStack() as held:  # each until all are found, so that none is found twice
        for port in itertools.islice(ports, SHARE):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found.append(Address(HOST, port))
            if len(found) == count:
                return found
    raise NoPort


@cache
def _share() -> tuple[socket.socket, Iterator[int]]:
    """Return a socket, and in turn ports that no other process is given while that is open."""
    for first in random.sample(PORTS[::SHARE], len(PORTS) // SHARE):
        guard = socket.socket()
        try:
            guard.bind((HOST, first))
        except OSError:
            guard.close()
            continue
        return guard, itertools.cycle(random.sample(range(first + 1, first + SHARE), SHARE - 1))
    raise NoPort


def _dump(network: LocalNetwork) -> bytes:
    value = {
        "format": FORMAT,
        "chain_id": network.chain_id.hex(),
        "organisations": [
            {
                "label": each.label,
                "family": each.family,
                "member": each.member.hex(),
                "runs_node": each.runs_node,
            }
            for each in network.organisations
        ],
    }
    return json.dumps(value, indent=2).encode() + b"\n"
