"""The configuration of a node: one frozen value, parsed once from `config.toml`.

Unknown keys are refused, because a key that is misspelled would otherwise be a limit that is not
set. Relative paths start at the folder of the file.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from node.errors import Usage
from node.files import read_public
from node.log import Level
from node.mempool import Limits

FILE_NAME: Final = "config.toml"
MAX_CONFIG_BYTES: Final = 1 << 20
MAX_PEERS: Final = 1000
MAX_NAME: Final = 80
LEAST_FREE_BYTES: Final = 256 << 20  # four segments: an hour of a busy network, to make room in
ENGINES: Final = ("auto", "leveldb", "sqlite")

T = TypeVar("T")


class BadConfig(Usage):
    """A configuration file says something that cannot be meant."""

    def __init__(self, path: Path, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint or "docs/operator.md describes every key")


class Unfit(ValueError):
    """A value is not what its key takes; the file and the key are added where they are known."""


class Mode(StrEnum):
    """What a node does for its network."""

    VALIDATOR = "validator"  # proposes and votes
    OBSERVER = "observer"  # follows, executes and answers
    LIGHT = "light"  # keeps and answers what concerns its member


class Sync(StrEnum):
    """How a node that has no data yet comes to the state of the others."""

    BLOCKS = "blocks"  # executes every block from the genesis on
    SNAPSHOT = "snapshot"  # fetches the state at one height, and executes the blocks above it


class Address(NamedTuple):
    """Where something listens: a host name or IP address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return host:port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """How one node is set up."""

    home: Path  # the folder of config.toml
    mode: Mode
    log_level: Level
    genesis: Path
    keys: Path  # folder of the *.seed files
    tokens: Path
    data: Path  # folder of segments/, state/ and journal/
    p2p_listen: Address
    peers: Mapping[str, Address]  # by label or hexadecimal id of the member that runs the node
    api_listen: Address
    admin_listen: Address  # loopback only: /livez, /readyz, /metrics
    mempool: Limits
    sync: Sync
    store_engine: str | None  # None: the best there is
    store_cache_bytes: int
    scrub_days: int  # within which all sealed files of blocks are checked once, 0: never
    least_free_bytes: int  # on the disk of the data: with less it takes no more work
    light_member: str = ""  # label or id of whose light node it is; "": whose key it has
    light_stale_s: int = 3600  # age of the newest block from which it says that it may be behind


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: how it is read, what it is where it is absent, what it means."""

    name: str  # table.key
    parse: Callable[[object], object]  # raises Unfit with the reason
    default: str  # as it is written in TOML
    meaning: str


def parse_address(value: object) -> Address:
    """Return the address in "host:port", or raise `Unfit`."""
    if not isinstance(value, str):
        raise Unfit('must be "host:port"')
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed or set(host) & set("[] \t\n"):
        raise Unfit('must be "host:port", an IPv6 address in brackets')
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise Unfit("needs a port from 1 to 65535")
    return Address(host, int(port))


def _loopback(value: object) -> Address:
    address = parse_address(value)
    try:
        is_loopback = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        is_loopback = address.host == "localhost"
    if not is_loopback:
        raise Unfit("must be a loopback address: it asks nobody for a token")
    return address


def _one_of(*names: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in names:
            raise Unfit(f"must be one of {', '.join(names)}")
        return str(value)

    return parse


def _between(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Unfit(f"must be a whole number from {low} to {high}")
        return value

    return parse


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Unfit("must be a path")
    return Path(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_NAME:
        raise Unfit("must be a label or an id")
    return value


def _peers(value: object) -> Mapping[str, Address]:
    if not isinstance(value, dict) or len(value) > MAX_PEERS:
        raise Unfit(f"must be a table of at most {MAX_PEERS} peers")
    peers = {}
    for name, address in value.items():
        try:
            peers[name] = parse_address(address)
        except Unfit as error:
            raise Unfit(f"{name} {error}") from None
    return MappingProxyType(peers)


KEYS: Final = (
    Key("mode", _one_of(*Mode), '"validator"',
        "validator (proposes and votes), observer (follows) or light (keeps what concerns its "
        "member)"),
    Key("log_level", _one_of("debug", "info", "warning", "error"), '"info"',
        "the least grave event that is logged: debug, info, warning or error"),
    Key("genesis", _path, '"genesis.json"', "the signed genesis of the chain"),
    Key("keys", _path, '"keys"',
        "folder of the *.seed files; systemd credentials of the same names come first"),
    Key("tokens", _path, '"tokens.toml"', "who may use the HTTP API"),
    Key("data", _path, '"data"', "folder of the blocks, the state and the journal of signatures"),
    Key("p2p.listen", parse_address, '"127.0.0.1:7600"', "where other nodes reach this one"),
    Key("api.listen", parse_address, '"127.0.0.1:7680"',
        "where the HTTP API answers; plain HTTP, so put a TLS proxy before any other address"),
    Key("admin.listen", _loopback, '"127.0.0.1:7690"',
        "where /livez, /readyz and /metrics answer; loopback only"),
    Key("mempool.transactions", _between(1, 1_000_000), str(Limits().transactions),
        "how many transactions may wait"),
    Key("mempool.bytes", _between(1 << 20, 1 << 30), str(Limits().bytes),
        "how many bytes of transactions may wait"),
    Key("sync.mode", _one_of(*Sync), '"blocks"',
        "how a node without data begins: blocks (all from the genesis on) or snapshot"),
    Key("store.engine", _one_of(*ENGINES), '"auto"',
        "leveldb, sqlite, or auto: leveldb where plyvel is installed"),
    Key("store.cache_mb", _between(1, 65_536), "16",
        "memory for what was read of the state, in MiB"),
    Key("store.least_free_mb", _between(0, 1 << 20), str(LEAST_FREE_BYTES >> 20),
        "MiB that must be free on the disk of the data: with less the node says it is not ready; "
        "what the members voted (`least_free_mb`) counts where it is more"),
    Key("store.scrub_days", _between(0, 3650), "30",
        "within so many days each file of blocks is read once and checked for damage; 0: never"),
    Key("light.member", _name, '""',
        "label or id of the member whose light node it is; empty: whose node key it has"),
    Key("light.stale_s", _between(1, 31_536_000), "3600",
        "seconds since the newest block after which a light node says that it may be behind"),
    Key("peers", _peers, "{}", "member label or id = where its node listens"),
)  # fmt: skip


def load_config(path: Path) -> Config:
    """Return the configuration in a file, or in the `config.toml` of a folder.

    Raises `Missing`, `BadConfig`, `OSError`.
    """
    if path.is_dir():
        path = path / FILE_NAME
    hint = "make one with: depoli node init"
    return parse_config(read_public(path, limit=MAX_CONFIG_BYTES, hint=hint), path)


def parse_config(text: bytes, path: Path) -> Config:
    """Return the configuration that `text`, the content of `path`, describes; raise `BadConfig`."""
    try:
        tables = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadConfig(path, f"not a TOML file: {error}", "mend the line it names") from None
    given = _flat(path, tables)
    values: dict[str, Any] = {}
    for key in KEYS:
        value = given.pop(key.name) if key.name in given else _default(key)
        try:
            values[key.name] = key.parse(value)
        except Unfit as error:
            raise BadConfig(path, f"{key.name} {error}", f"it means: {key.meaning}") from None
    home = path.parent.absolute()
    engine = values["store.engine"]
    return Config(
        home=home,
        mode=Mode(values["mode"]),
        log_level=Level[values["log_level"].upper()],
        genesis=home / values["genesis"],
        keys=home / values["keys"],
        tokens=home / values["tokens"],
        data=home / values["data"],
        p2p_listen=values["p2p.listen"],
        peers=values["peers"],
        api_listen=values["api.listen"],
        admin_listen=values["admin.listen"],
        mempool=Limits(values["mempool.transactions"], values["mempool.bytes"]),
        sync=Sync(values["sync.mode"]),
        store_engine=None if engine == "auto" else engine,
        store_cache_bytes=values["store.cache_mb"] << 20,
        scrub_days=values["store.scrub_days"],
        least_free_bytes=values["store.least_free_mb"] << 20,
        light_member=values["light.member"],
        light_stale_s=values["light.stale_s"],
    )


def write_config(settings: Mapping[str, object], peers: Mapping[str, Address]) -> str:
    """Return the text of a `config.toml` with these settings, every key with what it means."""
    known = {key.name for key in KEYS}
    assert known.issuperset(settings)  # only this package calls
    lines = ["# A node of Dépoli. Keys that stand behind # have the value shown.", ""]
    table = ""
    for key in KEYS:
        if key.name == "peers":
            continue
        head, _, tail = key.name.rpartition(".")
        if head != table:
            table = head
            lines += ["", f"[{table}]"]
        lines.append(f"# {key.meaning}")
        if key.name in settings:
            lines.append(f"{tail} = {_quoted(settings[key.name])}")
        else:
            lines.append(f"#{tail} = {key.default}")
    lines += ["", "[peers]", f"# {KEYS[-1].meaning}"]
    lines += [f"{_quoted(name)} = {_quoted(address)}" for name, address in peers.items()]
    return "\n".join(lines) + "\n"


def portable(path: Path) -> str:
    """Return the text of a configuration for another machine: every key, and nothing else.

    Where the files of this machine are, but for the seeds, and whatever stands in comments, is left
    out. Raises as `load_config` does.
    """
    if path.is_dir():
        path = path / FILE_NAME
    config = load_config(path)
    given = _flat(path, tomllib.loads(path.read_text("utf-8")))
    places = {"genesis", "tokens", "data", "peers"}
    settings = {name: value for name, value in given.items() if name not in places}
    return write_config(settings, config.peers)


def _flat(path: Path, tables: dict[str, Any]) -> dict[str, object]:
    """Return table.key -> value; raise `BadConfig` for a name that no key has."""
    known = {key.name for key in KEYS}
    groups = {name.partition(".")[0] for name in known if "." in name}
    flat: dict[str, object] = {}
    for name, value in tables.items():
        if name in groups and isinstance(value, dict):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    for name in flat.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise BadConfig(path, f"there is no key {name[:64]}", hint)
    return flat


def _default(key: Key) -> object:
    return tomllib.loads(f"value = {key.default}")["value"]


def _quoted(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    assert escaped.isprintable()  # labels and paths, parsed before
    return f'"{escaped}"'
