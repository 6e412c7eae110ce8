"""A member's card, `member.json`: what an organisation tells the others of itself before a chain.

It holds public things only; the seeds beside it never leave the folder.
"""

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeGuard

from contracts.countries import is_in_eea
from contracts.registry import Family, member_id
from ledger.errors import BadKey
from ledger.keys import Algorithm, PublicKey, Role, algorithm_of, parse_public_key
from ledger.validators import MemberId
from node import files, keystore
from node.errors import Usage, VerificationFailed

FILE_NAME: Final = "member.json"
FORMAT: Final = "depoli/member/1"
FAMILIES: Final = tuple(family.name.lower() for family in Family)
LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
MAX_CARD_BYTES: Final = 64 << 10


class Runs(IntEnum):
    """What an organisation runs, and so which keys it needs."""

    NOTHING = 0  # a client of somebody's node
    OBSERVER = 1
    VALIDATOR = 2

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the keys it needs."""
        of_node = ((), (Role.TLS,), (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS))[self]
        return (Role.TRANSACTION, Role.SEALING, *of_node)


class BadCard(Usage):
    """A file is no member's card."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is no member's card: {reason}", hint="make one with: depoli keys new"
        )


class KeyMismatch(VerificationFailed):
    """A seed beside a card is not the seed of the key that the card shows."""

    def __init__(self, path: Path, role: Role) -> None:
        super().__init__(
            f"{path}: the key {keystore.FILE_NAMES[role]} is not that of the seed beside it",
            hint="one of the two was exchanged: find out which, and use neither until then",
        )


@dataclass(frozen=True, slots=True)
class Card:
    """One member: its name for people, its family, its country, its public keys."""

    label: str
    family: str
    country: str  # ISO 3166-1 alpha-2
    keys: dict[Role, PublicKey]

    @property
    def member(self) -> MemberId:
        """The member id: that of its first transaction key."""
        return member_id(self.keys[Role.TRANSACTION])

    @property
    def runs(self) -> Runs:
        """What its keys let it run."""
        return max(runs for runs in Runs if self.keys.keys() >= set(runs.roles))

    def as_json(self) -> dict[str, Any]:
        """Return what stands in the file."""
        return {
            "format": FORMAT,
            "label": self.label,
            "family": self.family,
            "country": self.country,
            "keys": [
                {
                    "role": keystore.FILE_NAMES[role],
                    "algorithm": algorithm_of(public).name.lower(),
                    "public": public.hex(),
                }
                for role, public in self.keys.items()
            ],
        }


def create_card(
    folder: Path,
    *,
    label: str,
    family: str,
    country: str,
    runs: Runs,
    signing: Algorithm = Algorithm.ED25519,
    has_person: bool = False,
) -> Card:
    """Draw an organisation's keys and write secrets and card to `folder`.

    Those that sign transactions are of the algorithm `signing`; with a person there is one more.
    Raises `AlreadyThere` before anything is written, `Usage` for a name that cannot stand.
    """
    path = folder / FILE_NAME
    if fault := _fault_of(label, family, country):
        raise Usage(fault, hint="nothing was made")
    if path.exists():
        raise files.AlreadyThere(path)
    roles = (*runs.roles, Role.HUMAN) if has_person else runs.roles
    made = keystore.create_keys(folder, roles, signing)
    card = Card(label, family, country, {role: key.public for role, key in made.items()})
    files.create(path, json.dumps(card.as_json(), indent=2).encode() + b"\n")
    return card


def load_card(path: Path) -> Card:
    """Return the card in a file or folder; raise `Missing`, `BadCard`."""
    if path.is_dir():
        path = path / FILE_NAME
    text = files.read_public(path, limit=MAX_CARD_BYTES, hint="make one with: depoli keys new")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCard(path, "not JSON") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BadCard(path, f"its format is not {FORMAT}")
    if unknown := value.keys() - {"format", "label", "family", "country", "keys"}:
        raise BadCard(path, f"there is no field {min(unknown)[:64]}")
    label, family, country = value.get("label"), value.get("family"), value.get("country")
    if fault := _fault_of(label, family, country):
        raise BadCard(path, fault)
    return Card(str(label), str(family), str(country), _parse_keys(path, value.get("keys")))


def verify_seeds(folder: Path, card: Card) -> None:
    """Raise `KeyMismatch` unless the seeds in `folder` are those of the card's keys."""
    for role, key in keystore.load_signers(folder, card.keys).items():
        if key.public != card.keys[role]:
            raise KeyMismatch(folder / FILE_NAME, role)


def _fault_of(label: object, family: object, country: object) -> str:
    """Return what is wrong with what a member is called, "" for nothing."""
    if not _matches(LABEL, label):
        return "a label is 1 to 32 of a-z, 0-9 and -, as in opticiens-de-france"
    if family not in FAMILIES:
        return f"a family is one of {', '.join(FAMILIES)}"
    if not isinstance(country, str) or not is_in_eea(country.encode(errors="replace")):
        return "a country is one of the European Economic Area, in two capitals, as FR"
    return ""


def _parse_keys(path: Path, value: object) -> dict[Role, PublicKey]:
    if not isinstance(value, list) or len(value) > len(keystore.FILE_NAMES):
        raise BadCard(path, "keys must be a list with one key for each role")
    roles = {name: role for role, name in keystore.FILE_NAMES.items()}
    algorithms = {algorithm.name.lower(): algorithm for algorithm in Algorithm}
    keys: dict[Role, PublicKey] = {}
    for item in value:
        if not isinstance(item, dict) or item.keys() != {"role", "algorithm", "public"}:
            raise BadCard(path, "a key has role, algorithm and public")
        role = roles.get(str(item["role"]))
        if role is None or role in keys:
            raise BadCard(path, f"each key has one role of {', '.join(roles)}")
        algorithm = algorithms.get(str(item["algorithm"]))
        if algorithm is None or not role.allows(algorithm):
            raise BadCard(path, "the algorithm of a key is ed25519; of a transaction key also p256")
        try:
            keys[role] = parse_public_key(algorithm, bytes.fromhex(str(item["public"])))
        except (ValueError, BadKey) as error:
            raise BadCard(path, str(error)) from None
    if keys.keys() - {Role.HUMAN} not in [set(runs.roles) for runs in Runs]:
        raise BadCard(path, "it has not the keys of a client, of an observer or of a validator")
    return keys


def _matches(pattern: re.Pattern[str], value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(pattern.fullmatch(value))
