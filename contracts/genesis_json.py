"""The genesis as people read and hand it round: JSON, bytes in hexadecimal, names for numbers.

A draft has no `signatures`. A validator is named by its label; a member's id, the chain id and the
signers' ids are there for people, and checked. Source of the signed form: `contracts.genesis`.
"""

from enum import IntEnum
from functools import cache
from typing import Any, Final, TypeVar

from contracts import strict_json
from contracts.errors import BadGenesis
from contracts.genesis import (
    MAX_MEMBERS,
    VERSION,
    Founder,
    Genesis,
    GenesisSignature,
    SignedGenesis,
)
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family
from ledger.encoding import Struct, decode, encode
from ledger.errors import Malformed
from ledger.keys import Algorithm, Role

FORMAT: Final = "depoli/genesis/1"
SIGNATURE_FORMAT: Final = "depoli/genesis-signature/1"
MAX_BYTES: Final = 4 << 20  # 1,024 members of eight keys

_StructT = TypeVar("_StructT", bound=Struct)
_EnumT = TypeVar("_EnumT", bound=IntEnum)

_FIELDS: Final = (
    "format",
    "chain_id",
    "network",
    "time",
    "parameters",
    "members",
    "validators",
    "tables",
)
_MEMBER: Final = ("label", "id", "family", "country", "keys")
_KEY: Final = ("role", "algorithm", "public")
_SIGNATURE: Final = ("validator", "signature")
_SIGNATURE_FILE: Final = ("format", "chain_id", "validator", "signature")


def genesis_json(genesis: Genesis) -> str:
    """Return a genesis that is to be signed, as JSON."""
    return strict_json.indented(_shown(genesis))


def parse_genesis_json(text: str | bytes) -> Genesis:
    """Return the genesis in a draft, checked; raise `BadGenesis`."""
    return _genesis(strict_json.require_fields(_parse(text), _FIELDS, BadGenesis, "the draft"))


def signed_json(signed: SignedGenesis) -> str:
    """Return a signed genesis as JSON."""
    signatures = [
        {"validator": signature.validator.hex(), "signature": signature.signature.hex()}
        for signature in signed.signatures
    ]
    return strict_json.indented(_shown(signed.genesis) | {"signatures": signatures})


def parse_signed_json(text: str | bytes) -> SignedGenesis:
    """Return the signed genesis in JSON, verified; raise `BadGenesis`."""
    found = _parse(text)
    if isinstance(found, dict) and found.get("format") == FORMAT and "signatures" not in found:
        raise BadGenesis("the genesis is a draft: its validators have not signed it")
    names = (*_FIELDS, "signatures")
    found = strict_json.require_fields(found, names, BadGenesis, "the genesis")
    genesis = _genesis(found)
    signatures = tuple(
        _signature(strict_json.require_fields(item, _SIGNATURE, BadGenesis, "a signature"))
        for item in _list(found["signatures"], "signatures")
    )
    signed = SignedGenesis(genesis, signatures)
    signed.verify_signatures()
    return signed


def signature_json(chain_id: bytes, signature: GenesisSignature) -> str:
    """Return one validator's signature, as it is handed to who assembles the genesis."""
    return strict_json.indented(
        {
            "format": SIGNATURE_FORMAT,
            "chain_id": chain_id.hex(),
            "validator": signature.validator.hex(),
            "signature": signature.signature.hex(),
        }
    )


def parse_signature_json(text: str | bytes, chain_id: bytes) -> GenesisSignature:
    """Return the signature in JSON, which is of this chain and not yet verified.

    Raises `BadGenesis`.
    """
    what = "the signature"
    found = strict_json.require_fields(_parse(text), _SIGNATURE_FILE, BadGenesis, what)
    if found["format"] != SIGNATURE_FORMAT:
        raise BadGenesis(f"the format of a signature is {SIGNATURE_FORMAT}")
    signed = _hex(found["chain_id"], "chain_id")
    if signed != chain_id:
        raise BadGenesis(f"{signed.hex()} was signed, and this draft is {chain_id.hex()}")
    return _signature(found)


def _shown(genesis: Genesis) -> dict[str, Any]:
    parameters = genesis.parameters
    return {
        "format": FORMAT,
        "chain_id": genesis.chain_id.hex(),
        "network": genesis.label,
        "time": genesis.time,
        "parameters": {name: getattr(parameters, name) for name in Parameters.__struct_fields__},
        "members": [_shown_member(member) for member in genesis.members],
        "validators": [genesis.members[index].label for index in genesis.validators],
        "tables": {table.kind.subject: table.hash.hex() for table in genesis.tables},
    }


def _shown_member(member: Founder) -> dict[str, Any]:
    return {
        "label": member.label,
        "id": member.id.hex(),
        "family": member.family.name.lower(),
        "country": member.country.decode("ascii"),
        "keys": [
            {
                "role": key.role.name.lower(),
                "algorithm": key.algorithm.name.lower(),
                "public": key.public.hex(),
            }
            for key in member.keys
        ],
    }


def _parse(text: str | bytes) -> object:
    return strict_json.parse(text, BadGenesis, limit=MAX_BYTES)


def _genesis(found: dict[str, Any]) -> Genesis:
    """Return the genesis in JSON, checked."""
    if found["format"] != FORMAT:
        raise BadGenesis(f"the format of a genesis is {FORMAT}")
    names = Parameters.__struct_fields__
    what = "parameters"
    parameters = strict_json.require_fields(found["parameters"], names, BadGenesis, what)
    members = [_member(item) for item in _list(found["members"], "members")]
    labels = [member.name for member in members]
    validators = []
    for item in _list(found["validators"], "validators"):
        label = _ascii(item, "validators")
        if label not in labels:
            raise BadGenesis(f"the validator {item} is no member")
        validators.append(labels.index(label))
    genesis = _decoded(
        (
            VERSION,
            _ascii(found["network"], "network"),
            found["time"],
            tuple(parameters[name] for name in names),
            tuple(members),
            tuple(validators),
            _tables(found["tables"]),
        ),
        Genesis,
    )
    genesis.check()
    for member, item in zip(members, found["members"], strict=True):
        if _hex(item["id"], "id") != member.id:
            raise BadGenesis(f"the id of {member.label} is {member.id.hex()}, from its first key")
    if _hex(found["chain_id"], "chain_id") != genesis.chain_id:
        raise BadGenesis(f"this is the genesis of chain {genesis.chain_id.hex()}")
    return genesis


def _tables(value: object) -> tuple[tuple[int, bytes], ...]:
    if not isinstance(value, dict):
        raise BadGenesis("tables must be the hash of each by its subject")
    subjects = {kind.subject: kind for kind in TableKind}
    tables = []
    for subject, table in value.items():
        if subject not in subjects:
            raise BadGenesis(f"there are no tables on {subject[:64]}")
        tables.append((subjects[subject], _hex(table, "tables")))
    return tuple(tables)


def _member(value: object) -> Founder:
    found = strict_json.require_fields(value, _MEMBER, BadGenesis, "a member")
    keys = []
    for item in _list(found["keys"], "keys"):
        key = strict_json.require_fields(item, _KEY, BadGenesis, "a key")
        role = _named(Role, key["role"], "role")
        algorithm = _named(Algorithm, key["algorithm"], "algorithm")
        keys.append((role, algorithm, _hex(key["public"], "public")))
    family = _named(Family, found["family"], "family")
    country = _ascii(found["country"], "country")
    return _decoded((_ascii(found["label"], "label"), family, country, tuple(keys)), Founder)


def _signature(found: dict[str, Any]) -> GenesisSignature:
    validator = _hex(found["validator"], "validator")
    return _decoded((validator, _hex(found["signature"], "signature")), GenesisSignature)


def _decoded(fields: tuple[object, ...], type_: type[_StructT]) -> _StructT:
    """Return the struct of these fields, their types and bounds checked."""
    try:
        return decode(encode(fields), type_)
    except (Malformed, OverflowError) as error:
        raise BadGenesis(str(error)) from None


def _named(enum: type[_EnumT], value: object, field: str) -> _EnumT:
    names = _names(enum)
    if not isinstance(value, str) or value not in names:
        raise BadGenesis(f"{field} must be one of {', '.join(names)}")
    found: _EnumT = names[value]
    return found


@cache
def _names(enum: type[_EnumT]) -> dict[str, _EnumT]:
    return {member.name.lower(): member for member in enum}


def _list(value: object, field: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_MEMBERS:
        raise BadGenesis(f"{field} must be a list of at most {MAX_MEMBERS}")
    return value


def _ascii(value: object, field: str) -> bytes:
    if not isinstance(value, str) or not value.isascii():
        raise BadGenesis(f"{field} must be plain text in ASCII")
    return value.encode("ascii")


def _hex(value: object, field: str) -> bytes:
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if not found or found.hex() != value:
        raise BadGenesis(f"{field} must be hexadecimal digits in lower case")
    return found
