"""Why a node does not answer: looks at its lock, its log, its keys, its files and its ports.

Nothing is changed: what a start would mend (a torn tail) is left to the start.
"""

import errno
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.genesis import SignedGenesis
from ledger.errors import LedgerError, StoreLocked
from ledger.lock import FILE_NAME as LOCK_FILE
from ledger.lock import DirectoryLock
from node import ceremony
from node.config import Config, Mode
from node.doctor.findings import Diagnosis, Finding, Gravity, Verdict, by_gravity
from node.doctor.phrases import printable, sentence_of, size
from node.errors import NodeError
from node.health import free_bytes
from node.initialise import JOURNAL_FOLDER, NotInGenesis, find_ours
from node.journal import Journal
from node.keystore import NodeKeys, load_node_keys
from node.process import NoAnswer, Process, request
from node.tokens import parse_tokens

LOG_LINES: Final = 3  # at the end: what ended it, and what to do about that
_WAITS: Final = (
    "start it: it signs nothing until the chain is past what it may have signed. Restore no "
    "journal from a backup"
)


def examine(config: Config, no_answer: NoAnswer) -> Diagnosis:
    """Return why the node of `config`, on this machine, does not answer."""
    runs = _is_locked(config.data)
    found = list(_while_it_runs(config, no_answer) if runs else _while_it_does_not(config))
    if runs:
        return Diagnosis(Verdict.DOWN, "This node runs, but does not answer.", tuple(found))
    grave = any(finding.gravity is Gravity.STOPS for finding in found)
    down = _finding(
        "not-running",
        f"No process has {config.data} open.",
        [str(no_answer), *_last_words(config)],
        f"{'mend what is said below, then start it' if grave else 'start it'}: depoli node run, or "
        "systemctl; under systemd its log is in the journal of its unit",
    )
    return Diagnosis(Verdict.DOWN, "This node does not run.", by_gravity([down, *found]))


def _while_it_runs(config: Config, no_answer: NoAnswer) -> Iterator[Finding]:
    try:
        status, _ = request(config.admin_listen, "/livez")
        lives = f"{config.admin_listen}/livez answers {status}"
    except NoAnswer as error:
        lives = str(error)
    yield _finding(
        "no-answer",
        f"A process holds {config.data}, but nothing answers at {config.api_listen}.",
        [str(no_answer), lives, *_last_words(config)],
        "wait where it has just started: after a crash it executes its last blocks again. Else see "
        "its log, whether api.listen was changed since it started, and whether its disk hangs",
    )
    yield from _disk(config)


def _while_it_does_not(config: Config) -> Iterator[Finding]:
    yield from _rules(config)
    yield from _disk(config)
    keys = genesis = None
    try:
        keys = load_node_keys(config.keys, config.mode)
    except (NodeError, OSError) as error:
        yield _refused("keys", "The keys of this node cannot be read.", error)
    try:
        genesis = ceremony.load_genesis(config.genesis)
    except (NodeError, LedgerError, OSError) as error:
        yield _refused("genesis", "The genesis cannot be used.", error)
    try:
        parse_tokens(config.tokens)
    except (NodeError, OSError) as error:
        yield _refused("tokens", "The tokens of the HTTP API cannot be read.", error)
    if keys is not None and genesis is not None:
        yield from _keys(keys, genesis)
        if config.mode is Mode.VALIDATOR and keys.consensus is not None:
            yield from _journal(config.data, genesis.chain_id + keys.consensus.public)
    for name, address in (
        ("p2p.listen", config.p2p_listen),
        ("api.listen", config.api_listen),
        ("admin.listen", config.admin_listen),
    ):
        yield from _port(name, *address)


def _rules(config: Config) -> Iterator[Finding]:
    """Look whether it ended because the chain came to rules that it did not know."""
    for line in Process("", config.home).tail(LOG_LINES):
        said = _logged(line)
        if said.get("event") == "node halts" and "version" in said:
            version, height = said["version"], said.get("height")
            yield _finding(
                "upgrade",
                f"It stopped before block {height}, which is under version {version} of the rules.",
                [str(said.get("reason", ""))],
                f"install a release that knows version {version}, and start it: it has signed "
                "nothing there and goes on; then: depoli upgrade ready",
            )


def _disk(config: Config) -> Iterator[Finding]:
    folder = config.data if config.data.is_dir() else config.home
    free = free_bytes(folder)
    if free < config.least_free_bytes:
        yield _finding(
            "disk",
            f"The disk of {folder} is nearly full: {size(free)} free.",
            [f"{size(config.least_free_bytes)} should be: a node whose disk is full stops"],
            "free some space, or give it a larger disk; what was written so far is whole",
        )


def _keys(keys: NodeKeys, genesis: SignedGenesis) -> Iterator[Finding]:
    try:
        find_ours(genesis.genesis.members, keys)
    except NotInGenesis as error:
        yield _finding(
            "keys-of-nobody",
            "The keys are not those of a founder.",
            [str(error)],
            "nothing, where this node joined later or has changed its keys; else put the seeds "
            "back that belong to the registered keys",
            gravity=Gravity.NOTE,
        )


def _journal(data: Path, identity: bytes) -> Iterator[Finding]:
    folder = data / JOURNAL_FOLDER
    try:
        doubt = Journal.examine(folder, identity)
    except (LedgerError, OSError) as error:
        yield _finding(
            "journal",
            "The journal of signatures cannot be used.",
            [str(error)],
            "where the keys and the genesis are the right ones, and the disk can be read, move "
            f"{folder}/*.journal away and start: the node signs nothing until the chain is past "
            "what it may have signed",
        )
        return
    if doubt:
        yield _finding(
            "journal",
            "The journal of signatures is not provably the newest.",
            [f"{folder}: {doubt}"],
            _WAITS,
            gravity=Gravity.WARNS,
        )
    if doubt is None:
        yield _finding(
            "no-journal",
            "This consensus key has no journal of signatures.",
            [f"{folder} holds none of this key"],
            _WAITS,
            gravity=Gravity.WARNS,
        )


def _port(name: str, host: str, port: int) -> Iterator[Finding]:
    """Try to listen, as the node would."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        yield _finding(
            "port",
            f"{name} of config.toml, {host}:{port}, "
            f"{'is in use by another program' if taken else 'cannot be taken'}.",
            [str(error.strerror or error)],
            f"stop what listens there (ss -ltnp), or choose another {name}",
        )


def _is_locked(data: Path) -> bool:
    """Return whether a process has the node's data open."""
    if not (data / LOCK_FILE).exists():
        return False
    try:
        DirectoryLock(data).release()
    except StoreLocked:
        return True
    return False


def _last_words(config: Config) -> list[str]:
    """Return what the log ends with that is an error."""
    said = [*filter(None, map(_error, Process("", config.home).tail(LOG_LINES)))]
    return [f"its log ends: {printable(each)}" for each in said[-1:]]


def _error(line: str) -> str:
    """Return what a line of the log says that is an error, "" where it is none."""
    if line.startswith("error: "):
        return line.removeprefix("error: ")
    value = _logged(line)
    if value.get("level") != "error":
        return ""
    return f"{value.get('event')}: {value.get('reason', '')}"


def _logged(line: str) -> dict[str, Any]:
    """Return what a line of the log says, nothing where it is no line of ours."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _refused(cause: str, what: str, error: Exception) -> Finding:
    hint = getattr(error, "hint", "") or "mend what the reason names"
    shown = (printable(str(error)),)
    return Finding(Gravity.STOPS, cause, what, ("this node",), shown, printable(hint))


def _finding(
    cause: str,
    what: str,
    evidence: list[str],
    remedy: str,
    *,
    gravity: Gravity = Gravity.STOPS,
) -> Finding:
    shown = tuple(map(printable, evidence))
    return Finding(gravity, cause, what, ("this node",), shown, sentence_of(remedy))
