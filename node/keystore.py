"""Keys of an organisation on disk: one secret a file, in hexadecimal, mode 0600.

The secret of a P-256 key stands behind `p256:`; every other is the seed of an Ed25519 key.

A node takes them from systemd credentials (`$CREDENTIALS_DIRECTORY`) where it is given any, from
its folder of keys otherwise, and never from a prompt: a machine that restarts at night has nobody
to ask.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.errors import BadKey
from ledger.keys import SEED_BYTES, Algorithm, P256SigningKey, Role, Signer, SigningKey
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
    Role.HUMAN: "human",
}
_P256: Final = b"p256:"
_SEED_TEXT: Final = re.compile(rb"(p256:)?([0-9a-f]{%d})\n?" % (2 * SEED_BYTES))
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
    consensus: SigningKey | None  # None but for a validator, as the next one
    checkpoint: SigningKey | None


def load_node_keys(folder: Path, mode: Mode) -> NodeKeys:
    """Return the keys that a node of this mode uses.

    Raises `Missing`, `NotPlain`, `Exposed`, `Foreign`, `TooLong`, `BadSeed`.
    """
    seed = load_seed(folder, Role.TLS)
    if mode is not Mode.VALIDATOR:
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
    algorithm, seed = _read(path, credential=credential)
    if algorithm is not Algorithm.ED25519:
        raise BadSeed(path)
    return seed


def read_signer(path: Path) -> Signer:
    """Return the key in one file, of either algorithm; raise as `load_node_keys` does."""
    algorithm, secret = _read(path)
    try:
        return _signer(algorithm, secret)
    except BadKey:
        raise BadSeed(path) from None


def create_keys(
    folder: Path, roles: Iterable[Role], signing: Algorithm = Algorithm.ED25519
) -> Mapping[Role, Signer]:
    """Draw a new key for each role and write its secret; raise `AlreadyThere` before writing any.

    Those that sign transactions are of the algorithm `signing`, all others Ed25519.
    """
    paths = {role: folder / (FILE_NAMES[role] + SUFFIX) for role in roles}
    for path in paths.values():
        if os.path.lexists(path):
            raise files.AlreadyThere(path)
    files.make_folder(folder)
    made = {}
    for role, path in paths.items():
        made[role] = create_key(path, signing if role.signs_transactions else Algorithm.ED25519)
    return made


def create_key(path: Path, algorithm: Algorithm) -> Signer:
    """Draw a new key and write its secret; raise `AlreadyThere`."""
    made, secret = _draw(algorithm)
    mark = _P256 if algorithm is Algorithm.P256 else b""
    files.create(path, mark + secret.hex().encode() + b"\n", secret=True)
    return made


def copy_key(folder: Path, role: Role, seed: bytes) -> SigningKey:
    """Write the seed of a role that is kept into another folder; raise `AlreadyThere`."""
    files.create(folder / (FILE_NAMES[role] + SUFFIX), seed.hex().encode() + b"\n", secret=True)
    return SigningKey(seed)


def load_keys(folder: Path, roles: Iterable[Role]) -> Mapping[Role, SigningKey]:
    """Return the keys of these roles from their files; raise as `load_node_keys` does."""
    return {role: SigningKey(load_seed(folder, role)) for role in roles}


def load_signers(folder: Path, roles: Iterable[Role]) -> Mapping[Role, Signer]:
    """Return the keys of these roles, of either algorithm; raise as `load_node_keys` does."""
    return {role: read_signer(folder / (FILE_NAMES[role] + SUFFIX)) for role in roles}


def _read(path: Path, *, credential: bool = False) -> tuple[Algorithm, bytes]:
    limit = len(_P256) + 2 * SEED_BYTES + 1
    text = files.read_secret(path, limit=limit, hint=_HINT, credential=credential)
    found = _SEED_TEXT.fullmatch(text)
    if found is None:
        raise BadSeed(path)
    algorithm = Algorithm.ED25519 if found[1] is None else Algorithm.P256
    return algorithm, bytes.fromhex(found[2].decode())


def _signer(algorithm: Algorithm, secret: bytes) -> Signer:
    return SigningKey(secret) if algorithm is Algorithm.ED25519 else P256SigningKey(secret)


def _draw(algorithm: Algorithm) -> tuple[Signer, bytes]:
    """Return a new key and its secret; one draw in 2^32 is no secret of P-256."""
    while True:
        secret = secrets.token_bytes(SEED_BYTES)
        with contextlib.suppress(BadKey):
            return _signer(algorithm, secret), secret
