"""How organisations agree on a genesis: cards in, a draft, one signature each, a signed genesis.

Only cards, the draft and signatures pass between them; each signs where its keys are.
"""

import re
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts import genesis as founding
from contracts import genesis_json
from contracts.errors import BadGenesis
from contracts.genesis import Founder, Genesis, GenesisSignature, MemberKey, SignedGenesis, Table
from contracts.parameters import DEFAULTS, Parameters
from contracts.registry import Family
from ledger.keys import Role, SigningKey, algorithm_of
from ledger.validators import MemberId
from node import card as cards
from node import files, keystore
from node.card import Card
from node.client.packaged import table_hashes
from node.errors import NotFound, Usage, VerificationFailed

MAX_SIGNATURE_BYTES: Final = 4 << 10
_ID: Final = re.compile(r"[0-9a-f]{32}")
_HINT: Final = "ask who drafted it, or make one with: depoli genesis draft"


class UnknownValidator(Usage):
    """Somebody is to validate who is no member, or has not the keys for it."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(
            f"{label} cannot be a validator: {reason}",
            hint="give the member.json of each validator, made with --runs validator",
        )


class BadFile(VerificationFailed):
    """A file is no genesis, or one that cannot be trusted."""

    def __init__(self, path: Path, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint)


class NoSuchMember(NotFound):
    """Nobody in the genesis has this name or id."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no member in the genesis is {name[:64]}",
            hint="depoli genesis show lists them; whoever was voted in later is named by its id",
        )


@dataclass(frozen=True, slots=True)
class Signed:
    """What `write_signature` wrote: whose signature of which chain, and where."""

    chain_id: bytes
    label: str
    path: Path


def write_draft(
    out: Path,
    members: Sequence[Path],
    validators: Sequence[str],
    *,
    network: str,
    parameters: Parameters = DEFAULTS,
) -> Genesis:
    """Write the genesis of a new chain, to be signed; `members` are the paths of their cards.

    Its time is now, its reference tables are those packaged with the program. Raises
    `UnknownValidator`, `BadFile`, `AlreadyThere`, and what cards are refused by.
    """
    found = [cards.load_card(path) for path in members]
    labels = [card.label for card in found]
    for label in validators:
        if label not in labels:
            raise UnknownValidator(label, "no member.json that was given is its own")
        if found[labels.index(label)].runs is not cards.Runs.VALIDATOR:
            raise UnknownValidator(label, "its member.json has not the keys of a validator")
    genesis = Genesis(
        version=founding.VERSION,
        network=network.encode("ascii", "replace")[: founding.MAX_NAME_BYTES + 1],
        time=int(clock.time()),
        parameters=parameters,
        members=tuple(map(founder_of, found)),
        validators=tuple(labels.index(label) for label in validators),
        tables=tuple(Table(kind, digest) for kind, digest in table_hashes().items()),
    )
    _check(genesis, out)
    files.create(out, genesis_json.genesis_json(genesis).encode())
    return genesis


def write_signature(draft: Path, keys: Path, out: Path | None = None) -> Signed:
    """Sign a draft with the keys in a folder; without `out`, to LABEL.signature.json here.

    Raises `BadFile` where these keys are no validator's in it, `AlreadyThere`, and what drafts and
    keys are refused by.
    """
    genesis = load_draft(draft)
    seed = keystore.load_seed(keys, Role.CONSENSUS)
    try:
        made = founding.sign(genesis, SigningKey(seed))
    except BadGenesis as error:
        raise BadFile(draft, str(error), "sign with the keys that made your member.json") from None
    member = genesis.member(made.validator)
    assert member is not None  # sign has found it
    path = Path(f"{member.label}.signature.json") if out is None else out
    files.create(path, genesis_json.signature_json(genesis.chain_id, made).encode())
    return Signed(genesis.chain_id, member.label, path)


def write_genesis(draft: Path, signatures: Sequence[Path], out: Path) -> SignedGenesis:
    """Put a draft and all its signatures together, verify the whole and write it.

    Raises `BadFile`, `AlreadyThere`.
    """
    genesis = load_draft(draft)
    given = [_load_signature(path, genesis) for path in signatures]
    try:
        made = founding.assemble(genesis, given)
        made.verify()
    except BadGenesis as error:
        raise BadFile(draft, str(error), "each validator signs with: depoli genesis sign") from None
    files.create(out, genesis_json.signed_json(made).encode())
    return made


def load_genesis(path: Path) -> SignedGenesis:
    """Return the signed genesis in a file, verified; raise `Missing`, `TooLong`, `BadFile`."""
    return parse_genesis(read(path), path)


def load_draft(path: Path) -> Genesis:
    """Return the draft in a file, checked; raise `Missing`, `TooLong`, `BadFile`."""
    return _parse_draft(read(path), path)


def load_either(path: Path) -> Genesis:
    """Return what a draft or a signed genesis founds; raise as these."""
    text = read(path)
    try:
        return parse_genesis(text, path).genesis
    except BadFile:
        return _parse_draft(text, path)


def read(path: Path) -> bytes:
    """Return the bytes of a genesis or a draft; raise `Missing`, `TooLong`."""
    return files.read_public(path, limit=genesis_json.MAX_BYTES, hint=_HINT)


def parse_genesis(text: bytes, path: Path) -> SignedGenesis:
    """Return the signed genesis that `text`, the content of `path`, holds; raise `BadFile`."""
    try:
        return genesis_json.parse_signed_json(text)
    except BadGenesis as error:
        raise BadFile(path, str(error), "get it again, and compare the chain id") from None


def find(genesis: Genesis, name: str) -> Founder:
    """Return the member with this label or hexadecimal id; raise `NoSuchMember`."""
    for member in genesis.members:
        if name in {member.label, member.id.hex()}:
            return member
    raise NoSuchMember(name)


def id_of(genesis: Genesis, name: str) -> MemberId:
    """Return the id of the member of this label, or the id that this is: of one admitted later.

    Raises `NoSuchMember`.
    """
    return MemberId(bytes.fromhex(name)) if _ID.fullmatch(name) else find(genesis, name).id


def describe(genesis: Genesis) -> dict[str, Any]:
    """Return what people compare before they sign."""
    packaged = table_hashes()
    return {
        "network": genesis.label,
        "chain_id": genesis.chain_id,
        "time": genesis.time,
        "members": [
            {
                "label": member.label,
                "family": member.family.name.lower(),
                "country": member.country.decode("ascii"),
                "member": member.id,
                "validates": index in genesis.validators,
                "keys": {
                    keystore.FILE_NAMES[key.role]: key.public
                    for key in member.keys
                    if key.role in keystore.FILE_NAMES
                },
            }
            for index, member in enumerate(genesis.members)
        ],
        "tables": [
            {
                "subject": table.kind.subject,
                "hash": table.hash,
                "packaged": table.hash == packaged[table.kind],  # with the program that is asked
            }
            for table in genesis.tables
        ],
    }


def _parse_draft(text: bytes, path: Path) -> Genesis:
    try:
        return genesis_json.parse_genesis_json(text)
    except BadGenesis as error:
        raise BadFile(path, str(error), _HINT) from None


def _check(genesis: Genesis, path: Path) -> None:
    try:
        genesis.check()
    except BadGenesis as error:
        raise BadFile(path, str(error)) from None


def founder_of(card: Card) -> Founder:
    """Return the member that a card is of."""
    return Founder(
        name=card.label.encode(),
        family=Family[card.family.upper()],
        country=card.country.encode(),
        keys=tuple(
            MemberKey(role, algorithm_of(public), public) for role, public in card.keys.items()
        ),
    )


def _load_signature(path: Path, genesis: Genesis) -> GenesisSignature:
    hint = "each validator makes one with: depoli genesis sign"
    text = files.read_public(path, limit=MAX_SIGNATURE_BYTES, hint=hint)
    try:
        return genesis_json.parse_signature_json(text, genesis.chain_id)
    except BadGenesis as error:
        raise BadFile(path, str(error), hint) from None
