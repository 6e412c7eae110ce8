"""Genesis: who may found a chain, what everyone signs, and the first state."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import genesis as founding
from contracts import reference, registry
from contracts.beginning import start
from contracts.errors import BadGenesis
from contracts.genesis import (
    Founder,
    Genesis,
    GenesisSignature,
    MemberKey,
    SignedGenesis,
    Table,
    assemble,
    is_name,
    sign,
)
from contracts.parameters import Parameters
from contracts.reference import TableKind
from contracts.registry import Family
from ledger.digest import StateDigest
from ledger.encoding import decode, encode
from ledger.errors import Malformed
from ledger.hashing import NO_HASH, Domain, hash_of
from ledger.keys import Algorithm, P256SigningKey, Role
from ledger.merkle import EMPTY_ROOT
from tests.contracts.world import (
    FAMILIES,
    TIME,
    VALIDATORS,
    Memory,
    bytes32,
    founder,
    genesis,
    key_of,
)

GENESIS = genesis()
CODES = Table(TableKind.OPTICS_CODES, bytes32("codes"))


def signatures(of: Genesis = GENESIS) -> list[GenesisSignature]:
    return [sign(of, key_of(name, Role.CONSENSUS)) for name in VALIDATORS]


SIGNED = encode(assemble(GENESIS, signatures()))


def replaced(index: int, **changes: object) -> Genesis:
    """Return the genesis with another founder at `index`."""
    members = list(GENESIS.members)
    members[index] = msgspec.structs.replace(members[index], **changes)
    return msgspec.structs.replace(GENESIS, members=tuple(members))


def of_families(*families: Family) -> Genesis:
    """Return a genesis in which these validate."""
    members = [
        Founder(
            f"v{n}".encode(),
            family,
            b"FR",
            tuple(
                MemberKey(role, Algorithm.ED25519, key_of(f"v{n}", role).public)
                for role in (Role.TRANSACTION, Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
            ),
        )
        for n, family in enumerate(families)
    ]
    indices = tuple(range(len(families)))
    return Genesis(1, b"test", TIME, Parameters(), tuple(members), indices)


def test_the_tables_of_the_genesis_are_in_force_from_the_beginning() -> None:
    state = Memory()
    state.apply(start(msgspec.structs.replace(GENESIS, tables=(CODES,))).changes)
    assert reference.versions(state, TableKind.OPTICS_CODES) == [(0, CODES.hash)]


def test_the_chain_id_is_the_hash_of_the_encoding() -> None:
    assert GENESIS.chain_id == hash_of(Domain.GENESIS, encode(GENESIS))
    other = msgspec.structs.replace(GENESIS, time=TIME + 1)
    assert other.chain_id != GENESIS.chain_id


def test_a_genesis_is_encoded_and_decoded() -> None:
    signed = assemble(GENESIS, signatures())
    assert decode(encode(signed), SignedGenesis) == signed
    signed.verify()


def test_it_is_assembled_whatever_the_order_and_however_often_one_is_given() -> None:
    made = signatures()
    assert assemble(GENESIS, [*reversed(made), made[0]]) == assemble(GENESIS, made)


def test_a_signature_that_lacks_is_named() -> None:
    with pytest.raises(BadGenesis, match="not signed yet by operator, mutual"):
        assemble(GENESIS, [signatures()[0], signatures()[2]])


def test_a_signature_of_another_genesis_is_refused() -> None:
    other = msgspec.structs.replace(GENESIS, time=TIME + 1)
    with pytest.raises(BadGenesis, match="federation does not verify"):
        assemble(GENESIS, [*signatures(other)[:1], *signatures()[1:]])
    with pytest.raises(BadGenesis):
        SignedGenesis(other, tuple(signatures())).verify()


def test_a_signature_under_another_name_is_refused() -> None:
    first, second, *rest = signatures()
    swapped = GenesisSignature(first.validator, second.signature)
    with pytest.raises(BadGenesis, match="does not verify"):
        assemble(GENESIS, [swapped, second, *rest])


def test_signatures_in_another_order_or_number_are_refused() -> None:
    made = signatures()
    for wrong in (made[::-1], made[:3], [*made, made[0]], [made[0], *made[:3]]):
        with pytest.raises(BadGenesis, match="one each, in order"):
            SignedGenesis(GENESIS, tuple(wrong)).verify()


def test_who_is_no_validator_does_not_sign() -> None:
    with pytest.raises(BadGenesis, match="no validator"):
        sign(GENESIS, key_of("shop", Role.CONSENSUS))
    with pytest.raises(BadGenesis, match="no validator"):  # the right member, the wrong key
        sign(GENESIS, key_of("insurer", Role.TRANSACTION))
    shop = GENESIS.members[list(FAMILIES).index("shop")].id
    with pytest.raises(BadGenesis, match="no validator"):
        assemble(GENESIS, [GenesisSignature(shop, bytes(64)), *signatures()])


def test_validators_are_the_members_with_their_keys_in_order() -> None:
    found = GENESIS.validator_set.members
    assert [validator.member for validator in found] == [founder(name).id for name in VALIDATORS]
    first = found[0]
    assert first.consensus_key == key_of("federation", Role.CONSENSUS).public
    assert first.checkpoint_key == key_of("federation", Role.CHECKPOINT).public
    assert first.node_key == key_of("federation", Role.TLS).public


P256 = P256SigningKey(bytes(range(1, 33))).public
FEDERATION = GENESIS.members[0]
SHOP = list(FAMILIES).index("shop")


CANNOT: list[tuple[Genesis, str]] = [
    (replaced(0, name=b"Federation"), "name of a member"),
    (replaced(0, name=b"-federation"), "name of a member"),
    (replaced(0, name=b"the federation"), "name of a member"),
    (replaced(0, name="fédération".encode()), "name of a member"),
    (replaced(0, name=b"operator"), "two members have the name operator"),
    (replaced(0, country=b"fr"), "country"),
    (replaced(0, country=b"F1"), "country"),
    (replaced(0, country=b"\xc3\x89"), "country"),
    (replaced(0, country=b"GB"), "the country of federation is none of the European Economic Area"),
    (replaced(SHOP, keys=FEDERATION.keys[1:]), "no transaction key"),
    (replaced(SHOP, keys=FEDERATION.keys[:1]), "two members have the id"),
    (replaced(SHOP, keys=(*GENESIS.members[SHOP].keys, FEDERATION.keys[1])), "registered"),
    (replaced(0, keys=FEDERATION.keys[:1] * 2 + FEDERATION.keys[1:]), "registered already"),
    (
        replaced(
            SHOP,
            keys=(
                *GENESIS.members[SHOP].keys,
                MemberKey(Role.SEALING, Algorithm.ED25519, b"\x01" + bytes(31)),
            ),
        ),
        "shop, sealing: unusable public key",
    ),
    (
        replaced(SHOP, keys=(MemberKey(Role.TRANSACTION, Algorithm.P256, bytes(33)),)),
        "shop, transaction: unusable public key",
    ),
    *(
        (
            replaced(
                0,
                keys=tuple(
                    MemberKey(role, Algorithm.P256, P256) if key.role is role else key
                    for key in FEDERATION.keys
                ),
            ),
            f"federation, {role.name.lower()}: unusable public key: a {role.name.lower()} key is",
        )
        for role in (Role.CONSENSUS, Role.CHECKPOINT, Role.TLS)
    ),
    (replaced(0, keys=FEDERATION.keys[:3]), "has 0 tls keys"),
    (replaced(0, keys=(FEDERATION.keys[0], *FEDERATION.keys[2:])), "has 0 consensus keys"),
    (
        replaced(
            0,
            keys=(
                *FEDERATION.keys,
                MemberKey(Role.CONSENSUS, Algorithm.ED25519, key_of("x", Role.CONSENSUS).public),
            ),
        ),
        "has 2 consensus keys",
    ),
    (msgspec.structs.replace(GENESIS, validators=(0, 1, 2, 2)), "listed twice"),
    (msgspec.structs.replace(GENESIS, validators=(0, 1, 2, 99)), "99 of 8 members"),
    (msgspec.structs.replace(GENESIS, validators=(0, 1, 2, SHOP)), "shop has 0 consensus"),
    (msgspec.structs.replace(GENESIS, network=b"a network"), "name of the network"),
    (msgspec.structs.replace(GENESIS, tables=(CODES, CODES)), "one of a kind"),
]


@pytest.mark.parametrize(("bad", "reason"), CANNOT, ids=map(str, range(len(CANNOT))))
def test_what_cannot_found_a_chain(bad: Genesis, reason: str) -> None:
    for use in (bad.check, lambda: start(bad), lambda: sign(bad, key_of("x"))):
        with pytest.raises(BadGenesis, match=reason):
            use()


O, P, I = Family.OPTICIAN, Family.OPERATOR, Family.INSURER  # noqa: E741


@pytest.mark.parametrize(
    ("families", "allowed"),
    [
        ((I,), True),
        ((I, I, I), True),  # too few to share
        ((I, I, I, O), False),
        ((I, I, P, O), True),
        ((I, I, I, P, O), True),  # four of five decide
        ((I, I, I, I, O), False),
        ((I, I, I, P, P, O), True),
        ((I, I, I, I, P, O), False),  # four of six decide
        ((I, I, I, I, P, P, O), True),
        ((I, I, I, I, I, P, O), False),
    ],
)
def test_no_family_decides_alone(families: tuple[Family, ...], *, allowed: bool) -> None:
    found = of_families(*families)
    if allowed:
        found.check()
    else:
        with pytest.raises(BadGenesis, match="insurer, which would decide alone"):
            found.check()


def test_what_everyone_signed_cannot_found_a_chain_for_all_that() -> None:
    bad = of_families(I, I, I, O)
    message = founding.signing_bytes(bad.chain_id)
    signed = tuple(
        GenesisSignature(member.id, key_of(member.label, Role.CONSENSUS).sign(message))
        for member in bad.members
    )
    with pytest.raises(BadGenesis, match="decide alone"):
        SignedGenesis(bad, signed).verify()


def test_the_beginning_is_block_0_that_nobody_signs() -> None:
    beginning = start(GENESIS)
    header = beginning.header
    assert (header.height, header.time, header.log_size) == (0, TIME, 0)
    assert header.chain_id == GENESIS.chain_id
    assert header.parent == header.parent_commit_hash == header.heads_root == NO_HASH
    assert header.transactions_root == header.log_root == header.evidence_root == EMPTY_ROOT
    assert header.validators_hash == header.next_validators_hash == GENESIS.validator_set.hash
    assert (header.proposer, header.built_round) == (bytes(16), 0)
    assert (beginning.entries, beginning.outcomes) == ((), ())


def test_the_first_state_is_members_keys_and_parameters() -> None:
    beginning = start(GENESIS)
    state = Memory()
    state.apply(beginning.changes)
    keys = sum(len(member.keys) for member in GENESIS.members)
    assert len(state.pairs) == 4 + 3 * len(GENESIS.members) + 3 * keys
    for member in GENESIS.members:
        found = registry.member(state, member.id)
        assert found is not None
        assert (found.family, found.country) == (member.family, member.country)
    assert state.get(b"g") == encode(GENESIS.parameters)
    assert state.get(b"e") == TIME.to_bytes(8)
    sum_ = StateDigest().updated((), state.pairs.items())
    assert sum_.hash == beginning.header.state_digest


def test_the_names_of_a_slug() -> None:
    for good in (b"a", b"a-b", b"opticiens-de-france", b"0", b"x" * 32):
        assert is_name(good)
    for bad in (b"", b"-", b"a-", b"-a", b"A", b"a b", b"a_b", b"x" * 33, b"a\n", b"\xc3\xa9"):
        assert not is_name(bad)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_signed_genesis_or_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data, SignedGenesis)


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    encoded = bytearray(SIGNED)
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Malformed, BadGenesis)):
        decode(bytes(encoded), SignedGenesis).verify()


def test_an_observer_with_a_node_key_may_found_with_the_others() -> None:
    key = MemberKey(Role.TLS, Algorithm.ED25519, key_of("shop", Role.TLS).public)
    found = replaced(SHOP, keys=(*GENESIS.members[SHOP].keys, key))
    found.check()
    shop = found.member(GENESIS.members[SHOP].id)
    assert shop is not None
    assert shop.key(Role.TLS) == key.public
    assert shop.key(Role.CONSENSUS) is None
    assert found.member(bytes(16)) is None
    assert (found.label, shop.label) == ("test", "shop")


def test_what_is_signed_is_the_chain_id_under_a_tag() -> None:
    assert founding.signing_bytes(b"x" * 32) == b"depoli/sign/genesis/1\x00" + b"x" * 32
