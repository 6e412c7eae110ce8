"""Certificates: the key in one signs for a ledger key; nobody parses it here."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from contracts import certificates, dispatch
from contracts.calls import CertificateBind, KeyRevoke
from contracts.certificates import Binding
from contracts.errors import Refusal
from ledger.encoding import encode
from ledger.keys import P256SigningKey, Role
from tests.contracts.test_keyring import adding, id_of
from tests.contracts.world import World, bytes32, key_of

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "wycheproof_rsa.json"
GROUPS: Final[list[dict[str, Any]]] = json.loads(VECTORS.read_text(encoding="ascii"))
SHORT: Final = P256SigningKey(bytes32("certificate"))
CERTIFICATE: Final = bytes32("the DER")
SHOP: Final = id_of(key_of("shop"))


def binding(world: World, *, key: bytes | None = None, certificate: bytes = CERTIFICATE) -> Any:  # noqa: ANN401
    public = key_of("shop").public if key is None else key
    message = certificates.signed_bytes(world.chain_id, world.ids["shop"], certificate, public)
    return CertificateBind(SHOP, CERTIFICATE, SHORT.public, SHORT.sign(message))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{len(group['modulus']) * 4} bits")
def test_every_verdict_of_wycheproof_is_ours(group: dict[str, Any]) -> None:
    modulus, verdicts = bytes.fromhex(group["modulus"]), set()
    for case in group["cases"]:
        message, signature = (bytes.fromhex(case[part]) for part in ("message", "signature"))
        found = certificates.is_signed(modulus, message, signature)
        assert found == (case["result"] == "valid"), case
        verdicts.add(case["result"])
    assert verdicts == {"valid", "invalid", "acceptable"}


def test_a_key_is_bound_by_a_certificate_of_p256() -> None:
    world = World()
    assert certificates.binding(world.state, world.ids["shop"], SHOP) is None
    height = world.height
    executed = world.block(world.transaction("shop", binding(world)))
    assert executed.outcomes[0].code == 0
    assert executed.concerned == (dispatch.concerned(world.state, executed.entries[0]),)
    found = certificates.binding(world.state, world.ids["shop"], SHOP)
    assert found is not None
    assert [value for _, value in certificates.pairs_of(world.state, world.ids["shop"])] == [
        encode(found)
    ]
    assert found == Binding(CERTIFICATE, SHORT.public, height)


def test_a_key_is_bound_by_a_certificate_of_rsa() -> None:
    world = World()
    key = rsa.generate_private_key(65_537, 2_048)
    modulus = key.public_key().public_numbers().n.to_bytes(256)
    message = certificates.signed_bytes(
        world.chain_id, world.ids["shop"], CERTIFICATE, key_of("shop").public
    )
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    call = CertificateBind(SHOP, CERTIFICATE, modulus, signature)
    assert world.call("shop", call) == 0
    found = certificates.binding(world.state, world.ids["shop"], SHOP)
    assert found is not None
    assert found.public == modulus
    higher = (int.from_bytes(signature) ^ 1).to_bytes(256)
    wrong = CertificateBind(SHOP, CERTIFICATE, modulus, higher)
    assert world.call("shop", wrong) == Refusal.CERTIFICATE_NOT_PROVED


def test_a_signature_for_anything_else_binds_nothing() -> None:
    world = World()
    for call in (
        binding(world, key=key_of("rival").public),
        binding(world, certificate=bytes32("another DER")),
        CertificateBind(SHOP, CERTIFICATE, SHORT.public, bytes(64)),
    ):
        assert world.call("shop", call) == Refusal.CERTIFICATE_NOT_PROVED
    elsewhere = certificates.signed_bytes(
        bytes(32), world.ids["shop"], CERTIFICATE, key_of("shop").public
    )
    call = CertificateBind(SHOP, CERTIFICATE, SHORT.public, SHORT.sign(elsewhere))
    assert world.call("shop", call) == Refusal.CERTIFICATE_NOT_PROVED
    assert certificates.binding(world.state, world.ids["shop"], SHOP) is None


def test_only_a_transaction_key_of_the_sender_in_force_is_bound() -> None:
    world = World()
    call = binding(world)
    assert world.call("rival", call) == Refusal.KEY_NOT_BINDABLE
    sealing = key_of("shop", Role.SEALING)
    assert world.call("shop", adding(world, sealing, Role.SEALING)) == 0
    other = CertificateBind(id_of(sealing, Role.SEALING), *_rest(call))
    assert world.call("shop", other) == Refusal.KEY_NOT_BINDABLE
    another = key_of("another")
    assert world.call("shop", adding(world, another)) == 0
    assert world.call("shop", KeyRevoke(SHOP, 0)) == 0
    transaction = world.transaction("shop", call, key=another)
    assert world.block(transaction).outcomes[0].code == Refusal.KEY_NOT_BINDABLE


def _rest(call: CertificateBind) -> tuple[bytes, bytes, bytes]:
    return call.certificate, call.public, call.signature


@pytest.mark.parametrize(
    ("public", "signature"),
    [
        (SHORT.public, bytes(256)),
        (bytes(34), bytes(64)),
        (b"\xff" * 255, bytes(255)),
        (b"\xff" * 257, bytes(257)),
        (b"\x7f" + b"\xff" * 255, bytes(256)),
        (b"\xff" * 256, bytes(64)),
        (b"\xff" * 384, bytes(256)),
    ],
)
def test_a_key_of_another_size_is_in_no_call(public: bytes, signature: bytes) -> None:
    with pytest.raises(ValueError, match="P-256, or RSA of 2048, 3072 or 4096"):
        CertificateBind(SHOP, CERTIFICATE, public, signature)
    for size in (256, 384, 512):
        CertificateBind(SHOP, CERTIFICATE, b"\xff" * size, bytes(size))
    assert not certificates.is_signed(b"\xff" * 256, b"m", bytes(64))
