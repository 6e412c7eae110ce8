"""Keys of an organisation on disk: one seed a file, in hexadecimal, mode 0600.

A node takes them from systemd credentials (`$CREDENTIALS_DIRECTORY`) where it is given any, from
its folder of keys otherwise, and never from a prompt: a machine that restarts at night has nobody
to ask.
"""

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.keys import SEED_BYTES, Role, SigningKey
from node import files
from node.config import Mode
from node.errors import NodeError

SUFFIX: Final = ".seed"
FILE_NAMES: Final = {
    Role.TRANSACTION: "transaction",
    Role.SEALING: "sealing",
    Role.CONSENSUS: "consensus",
    Role.CHECKPOINT: "checkpoint",
    Role.TLS: "node",
}
_SEED_TEXT: Final = re.compile(rb"[0-9a-f]{%d}\n?" % (2 * SEED_BYTES))
_HINT: Final = "make keys with: depoli keys new"


class BadSeed(NodeError):
    """A key file holds something else than a seed; what it holds is not shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds no key: a seed is {2 * SEED_BYTES} hexadecimal digits, lower case",
            hint="put the file back from its backup; it is not to be edited",
        )


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The secret keys that a running node needs. It never prints them."""

    node: SigningKey
    node_seed: bytes = field(repr=False)  # TLS makes its own key from it
    consensus: SigningKey | None  # None for an observer, as the next one
    checkpoint: SigningKey | None


def load_node_keys(folder: Path, mode: Mode) -> NodeKeys:
    """Return the keys that a node of this mode uses.

    Raises `Missing`, `NotPlain`, `Exposed`, `Foreign`, `TooLong`, `BadSeed`.
    """
    seed = load_seed(folder, Role.TLS)
    if mode is Mode.OBSERVER:
        return NodeKeys(SigningKey(seed), seed, None, None)
    return NodeKeys(
        SigningKey(seed),
        seed,
        SigningKey(load_seed(folder, Role.CONSENSUS)),
        SigningKey(load_seed(folder, Role.CHECKPOINT)),
    )


def load_seed(folder: Path, role: Role) -> bytes:
    """Return the seed of a role: a systemd credential of that name, or the file in `folder`."""
    name = FILE_NAMES[role] + SUFFIX
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (path := Path(credentials) / name).exists():
        return read_seed(path, credential=True)
    return read_seed(folder / name)


def read_seed(path: Path, *, credential: bool = False) -> bytes:
    """Return the seed in one file, or raise as `load_node_keys` does."""
    text = files.read_secret(path, limit=2 * SEED_BYTES + 1, hint=_HINT, credential=credential)
    if not _SEED_TEXT.fullmatch(text):
        raise BadSeed(path)
    return bytes.fromhex(text.decode())


def create_keys(folder: Path, roles: Iterable[Role]) -> Mapping[Role, SigningKey]:
    """Draw a new key for each role and write its seed; raise `AlreadyThere` before writing any."""
    paths = {role: folder / (FILE_NAMES[role] + SUFFIX) for role in roles}
    for path in paths.values():
        if os.path.lexists(path):
            raise files.AlreadyThere(path)
    files.make_folder(folder)
    made = {}
    for role, path in paths.items():
        seed = secrets.token_bytes(SEED_BYTES)
        files.create(path, seed.hex().encode() + b"\n", secret=True)
        made[role] = SigningKey(seed)
    return made


def copy_key(folder: Path, role: Role, seed: bytes) -> SigningKey:
    """Write the seed of a role that is kept into another folder; raise `AlreadyThere`."""
    files.create(folder / (FILE_NAMES[role] + SUFFIX), seed.hex().encode() + b"\n", secret=True)
    return SigningKey(seed)


def load_keys(folder: Path, roles: Iterable[Role]) -> Mapping[Role, SigningKey]:
    """Return the keys of these roles from their files; raise as `load_node_keys` does."""
    return {role: SigningKey(load_seed(folder, role)) for role in roles}
