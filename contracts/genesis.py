"""The document that founds a chain: who is in it, with which keys, who votes, by which parameters.

Every validator signs it with its consensus key; its hash is the chain id. The form for people is
JSON (`contracts.genesis_json`); what is hashed is the canonical encoding.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Final

import msgspec

from contracts import eras, reference, registry, seen
from contracts import parameters as chain_parameters
from contracts.countries import is_in_eea
from contracts.errors import BadGenesis, KeyInUse
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Country, Family
from contracts.state import Nothing, Overlay
from ledger import keys
from ledger.encoding import U63_MAX, Struct, encode
from ledger.errors import BadKey, BadSignature
from ledger.hashing import Domain, Hash, hash_of
from ledger.keys import Algorithm, PublicKey, Role, SigningKey
from ledger.validators import (
    MAX_VALIDATORS,
    Bytes16,
    Bytes32,
    MemberId,
    Validator,
    ValidatorSet,
    quorum,
)

VERSION: Final = 1
MAX_MEMBERS: Final = 1024
MAX_KEYS: Final = 8
MAX_TABLES: Final = 64
MAX_NAME_BYTES: Final = 32
_VALIDATOR_ROLES: Final = (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)

# a-z, 0-9 and inner hyphens
Name = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_NAME_BYTES)]


class MemberKey(Struct):
    """A key that a member brings."""

    role: Role
    algorithm: Algorithm
    public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=33)]


class Table(Struct):
    """A reference table that is in force from the beginning."""

    kind: TableKind
    hash: Bytes32  # SHA-256 of its file


class Founder(Struct, dict=True):
    """A member from the beginning. `name` tells people who it is; the rules never read it."""

    name: Name
    family: Family
    country: Country
    keys: Annotated[tuple[MemberKey, ...], msgspec.Meta(min_length=1, max_length=MAX_KEYS)]

    @property
    def label(self) -> str:
        """The name as text."""
        return self.name.decode("ascii")

    @cached_property
    def id(self) -> MemberId:
        """The member id, that of its first transaction key."""
        key = self.key(Role.TRANSACTION)
        assert key is not None  # check refuses a founder without
        return registry.member_id(key)

    def key(self, role: Role) -> PublicKey | None:
        """Return the first key of this role, None if it has none."""
        for key in self.keys:
            if key.role is role:
                return PublicKey(key.public)
        return None


class Genesis(Struct, dict=True):
    """What founds a chain."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    network: Name
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]  # unix seconds; no block is earlier
    parameters: Parameters
    members: Annotated[tuple[Founder, ...], msgspec.Meta(min_length=1, max_length=MAX_MEMBERS)]
    validators: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, lt=MAX_MEMBERS)], ...],
        msgspec.Meta(min_length=1, max_length=MAX_VALIDATORS),
    ]  # indices of members, in the order of their turns
    tables: Annotated[tuple[Table, ...], msgspec.Meta(max_length=MAX_TABLES)] = ()

    @property
    def label(self) -> str:
        """The name of the network as text."""
        return self.network.decode("ascii")

    @cached_property
    def chain_id(self) -> Hash:
        """The hash that names the chain."""
        return hash_of(Domain.GENESIS, encode(self))

    @cached_property
    def validator_set(self) -> ValidatorSet:
        """Who votes on the first blocks."""
        return ValidatorSet(tuple(_validator(self.members[index]) for index in self.validators))

    def member(self, id_: bytes) -> Founder | None:
        """Return the founder with this id, None where there is none."""
        return next((member for member in self.members if member.id == id_), None)

    def check(self) -> None:
        """Raise `BadGenesis` unless this can found a chain."""
        _require_name("the network", self.network)
        for member in self.members:
            _require_name("a member", member.name)
            _require_country(member)
            if member.key(Role.TRANSACTION) is None:
                raise BadGenesis(f"{member.label} has no transaction key")
        _require_distinct("name", [member.label for member in self.members])
        _require_distinct("id", [member.id.hex() for member in self.members])
        self._check_validators()
        kinds = [table.kind for table in self.tables]
        if kinds != sorted(set(kinds)):
            raise BadGenesis("the reference tables are not one of a kind, by ascending kind")
        initial_state(self)  # which refuses keys

    def _check_validators(self) -> None:
        n = len(self.validators)
        if len(set(self.validators)) != n:
            raise BadGenesis("a member is listed twice as validator")
        families: list[Family] = []
        for index in self.validators:
            if index >= len(self.members):
                raise BadGenesis(f"validator {index} of {len(self.members)} members")
            member = self.members[index]
            families.append(member.family)
            for role in _VALIDATOR_ROLES:
                found = sum(key.role is role for key in member.keys)
                if found != 1:
                    raise BadGenesis(
                        f"validator {member.label} has {found} {role.name.lower()} keys, not one"
                    )
        if (family := registry.ruling_family(families)) is not None:
            raise BadGenesis(
                f"{families.count(family)} of {n} validators are of the family"
                f" {family.name.lower()}, which would decide alone; at most {quorum(n) - 1} may be"
            )


class GenesisSignature(Struct):
    """One validator's signature over the chain id."""

    validator: Bytes16  # its member id
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class SignedGenesis(Struct):
    """A genesis and the signature of each of its validators, in the validators' order."""

    genesis: Genesis
    signatures: Annotated[
        tuple[GenesisSignature, ...], msgspec.Meta(min_length=1, max_length=MAX_VALIDATORS)
    ]

    @property
    def chain_id(self) -> Hash:
        """The hash that names the chain."""
        return self.genesis.chain_id

    def verify(self) -> None:
        """Raise `BadGenesis` unless this founds a chain and every validator signed it."""
        self.genesis.check()
        self.verify_signatures()

    def verify_signatures(self) -> None:
        """Raise `BadGenesis` unless every validator signed it; `genesis` has been checked."""
        validators = self.genesis.validator_set.members
        signers = [signature.validator for signature in self.signatures]
        if signers != [validator.member for validator in validators]:
            raise BadGenesis("the signatures are not those of the validators, one each, in order")
        for signature in self.signatures:
            verify_signature(self.genesis, signature)


def signing_bytes(chain_id: bytes) -> bytes:
    """Return what a validator signs to found the chain with this id."""
    return b"depoli/sign/genesis/1\x00" + chain_id


def sign(genesis: Genesis, key: SigningKey) -> GenesisSignature:
    """Return the signature by the validator whose consensus key this is.

    Raises `BadGenesis` where it is no validator's, or the genesis cannot found a chain.
    """
    genesis.check()
    index = genesis.validator_set.index_of(key.public)
    if index is None:
        raise BadGenesis(f"{key.public.hex()} is the consensus key of no validator in it")
    validator = genesis.validator_set.members[index]
    return GenesisSignature(validator.member, key.sign(signing_bytes(genesis.chain_id)))


def verify_signature(genesis: Genesis, signature: GenesisSignature) -> None:
    """Raise `BadGenesis` unless a validator of `genesis` signed it with its consensus key."""
    for validator in genesis.validator_set.members:
        if validator.member == signature.validator:
            break
    else:
        raise BadGenesis(f"{signature.validator.hex()} signed, and is no validator")
    member = genesis.member(signature.validator)
    assert member is not None
    message = signing_bytes(genesis.chain_id)
    what = f"validator {member.label}"
    try:
        keys.verify(validator.consensus_key, message, signature.signature, what=what)
    except BadSignature as error:
        raise BadGenesis(str(error)) from None


def assemble(genesis: Genesis, signatures: Iterable[GenesisSignature]) -> SignedGenesis:
    """Return `genesis` with its signatures put in order.

    Raises `BadGenesis` where one is missing or does not verify.
    """
    genesis.check()
    by_signer: dict[bytes, GenesisSignature] = {}
    for signature in signatures:
        verify_signature(genesis, signature)
        by_signer[signature.validator] = signature
    validators = genesis.validator_set.members
    missing = [v.member for v in validators if v.member not in by_signer]
    if missing:
        raise BadGenesis(f"not signed yet by {', '.join(_labels(genesis, missing))}")
    return SignedGenesis(genesis, tuple(by_signer[v.member] for v in validators))


def initial_state(genesis: Genesis) -> Overlay:
    """Return the first state; raise `BadGenesis` where a key may not be in it."""
    state = Overlay(Nothing())
    chain_parameters.save(state, genesis.parameters)
    for table in genesis.tables:
        reference.put_in_force(state, table.kind, table.hash, 0)
    seen.start(state, genesis.time)
    for member in genesis.members:
        registry.admit(state, member.id, member.family, member.country, 0)
        for key in member.keys:
            try:
                registry.register(state, member.id, key.role, key.algorithm, key.public, 0)
            except (BadKey, KeyInUse) as error:
                raise BadGenesis(f"{member.label}, {key.role.name.lower()}: {error}") from None
    eras.start(state, genesis.validator_set)
    return state


def _validator(member: Founder) -> Validator:
    consensus, checkpoint, node = (member.key(role) for role in _VALIDATOR_ROLES)
    assert consensus is not None  # check refuses a validator without
    assert checkpoint is not None
    assert node is not None
    return Validator(member.id, consensus, checkpoint, node)


def _labels(genesis: Genesis, ids: Sequence[bytes]) -> list[str]:
    return [member.label for member in genesis.members if member.id in ids]


def _require_name(whose: str, name: bytes) -> None:
    if not is_name(name):
        raise BadGenesis(
            f"the name of {whose} is not 1 to {MAX_NAME_BYTES} of a-z, 0-9 and inner hyphens:"
            f" {name.decode('ascii', 'replace')}"
        )


def is_name(name: bytes) -> bool:
    """Return whether `name` may name a member or a network: a slug, which holds no sentence."""
    allowed = b"abcdefghijklmnopqrstuvwxyz0123456789-"
    edges = name[:1] + name[-1:]
    return 1 <= len(name) <= MAX_NAME_BYTES and not name.strip(allowed) and b"-" not in edges


def _require_country(member: Founder) -> None:
    if not is_in_eea(member.country):
        raise BadGenesis(f"the country of {member.label} is none of the European Economic Area")


def _require_distinct(what: str, values: list[str]) -> None:
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise BadGenesis(f"two members have the {what} {value}")
