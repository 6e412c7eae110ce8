"""Make the folder of a node: its configuration, the genesis it follows, who may use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.genesis import Founder, Genesis
from ledger.keys import Role
from ledger.validators import MemberId
from node import ceremony, files, tokens
from node.config import FILE_NAME, Address, Mode, write_config
from node.errors import NodeError, NotFound, VerificationFailed
from node.journal import Journal
from node.keystore import NodeKeys, load_node_keys
from node.process import OPERATOR_TOKEN

GENESIS_FILE: Final = "genesis.json"
TOKENS_FILE: Final = "tokens.toml"
DATA_FOLDER: Final = "data"
JOURNAL_FOLDER: Final = "journal"
OPERATOR_SCOPES: Final = frozenset({tokens.Scope.ADMIN, tokens.Scope.AUDIT})


class NotInGenesis(VerificationFailed):
    """Our keys belong to nobody who founds this chain."""

    def __init__(self, key: str, public: bytes) -> None:
        super().__init__(
            f"no member in the genesis has our {key} key {public.hex()}",
            hint="take the keys that made your member.json, or say with --member whose node it is:"
            " a validator that joins, or has other keys by now",
        )


class UnknownPeer(NotFound):
    """An address is given for no label of the genesis and no id, or for ourselves."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"{name} is no other member of this network", hint=f"there are: {', '.join(known[:12])}"
        )


class OtherSettings(NodeError):
    """The folder is a node's already, and is set up otherwise."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists and says something else; nothing was changed",
            hint="edit it yourself, or initialise another folder",
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator chooses for a node."""

    mode: Mode
    keys: Path  # folder of the *.seed files, read only
    p2p_listen: Address
    api_listen: Address
    admin_listen: Address
    peers: Mapping[str, Address]  # by label, or id of one admitted later
    first_start: bool  # these keys never signed for this chain
    member: str | None = None  # whose node it is, where its keys are not those of the genesis


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `initialise` made, or found made."""

    chain_id: bytes
    member: MemberId
    label: str
    is_new: bool


def initialise(folder: Path, genesis_file: Path, settings: Settings) -> Initialised:
    """Make `folder` that of a node of this genesis; the same again changes nothing.

    Nothing is written before everything is known to be right. Raises `NotInGenesis`,
    `NoSuchMember`, `UnknownPeer`, `OtherSettings`, and what genesis and keys are refused by.
    """
    text = ceremony.read(genesis_file)
    genesis = ceremony.parse_genesis(text, genesis_file)
    keys = load_node_keys(settings.keys, settings.mode)
    members = genesis.genesis.members
    if settings.member is None:
        member = find_ours(members, keys).id
    else:
        member = ceremony.id_of(genesis.genesis, settings.member)
    labels = {each.id: each.label for each in members}
    others = [
        label for each, label in labels.items() if each != member
    ]  # any may run a node by now
    for name in settings.peers:
        if _other(genesis.genesis, name) in (None, member):
            raise UnknownPeer(name, others)
    chosen: dict[str, object] = {
        "mode": settings.mode,
        "keys": settings.keys.absolute(),
        "p2p.listen": settings.p2p_listen,
        "api.listen": settings.api_listen,
        "admin.listen": settings.admin_listen,
    }
    if settings.mode is Mode.LIGHT and settings.member is not None:
        chosen["light.member"] = settings.member
    content = write_config(chosen, settings.peers).encode()
    for name, expected in ((GENESIS_FILE, text), (FILE_NAME, content)):
        _require_same(folder / name, expected)
    files.make_folder(folder)
    _settle(folder / GENESIS_FILE, text)
    is_begun = (folder / FILE_NAME).exists()  # a journal that is gone by now was lost
    if settings.first_start and not is_begun and keys.consensus is not None:
        _begin_journal(folder / DATA_FOLDER, genesis.chain_id + keys.consensus.public)
    if not (folder / OPERATOR_TOKEN).exists():
        give_token(
            folder / TOKENS_FILE,
            folder / OPERATOR_TOKEN,
            member=None,
            scopes=OPERATOR_SCOPES,
            label="operator",
        )
    is_new = _settle(folder / FILE_NAME, content)  # last: with it the folder is a node's
    return Initialised(genesis.chain_id, member, labels.get(member, member.hex()), is_new)


def give_token(
    book: Path,
    out: Path,
    *,
    member: MemberId | None,
    scopes: frozenset[tokens.Scope],
    label: str,
) -> None:
    """Draw a token, write it to the new 0600 file `out`, and its hash to `book`.

    Raises `AlreadyThere`, `BadLabel`, and what `book` is refused by.
    """
    token = tokens.new_token()
    grant = tokens.Grant(tokens.digest_of(token), member, scopes, label)
    tokens.load_grants(book)  # refuses a damaged book before anything is written
    files.create(out, token.encode() + b"\n", secret=True)
    tokens.add_grant(book, grant)


def find_ours(members: Sequence[Founder], keys: NodeKeys) -> Founder:
    """Return the member with all of our keys, or raise `NotInGenesis` for one that it has not."""
    ours = next((each for each in members if each.key(Role.TLS) == keys.node.public), None)
    if ours is None:
        raise NotInGenesis("node", keys.node.public)
    for role, key in ((Role.CONSENSUS, keys.consensus), (Role.CHECKPOINT, keys.checkpoint)):
        if key is not None and ours.key(role) != key.public:
            raise NotInGenesis(role.name.lower(), key.public)
    return ours


def _other(genesis: Genesis, name: str) -> MemberId | None:
    """Return the member of this label or id, who may have been admitted later, None for nobody."""
    try:
        return ceremony.id_of(genesis, name)
    except ceremony.NoSuchMember:
        return None


def _begin_journal(data: Path, identity: bytes) -> None:
    """Make the journal of a validator that has signed nothing; one that exists is kept."""
    files.make_folder(data)
    if not Journal.is_in(data / JOURNAL_FOLDER, identity):
        Journal.create(data / JOURNAL_FOLDER, identity).close()


def _require_same(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() != content:
        raise OtherSettings(path)


def _settle(path: Path, content: bytes) -> bool:
    """Write a file; return False where it is there with this content already."""
    if path.exists():
        return False
    files.create(path, content)
    return True
