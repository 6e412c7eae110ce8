"""A chain on which a member keeps its keys: it adds, ends and changes them, and has another act."""

from contracts import certificates, keyring
from contracts.calls import (
    CertificateBind,
    DelegationGrant,
    DelegationWithdraw,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    MarkLock,
    Scope,
)
from ledger.keys import Algorithm, P256SigningKey, Role, Signer, key_id
from tests.chainmaker import Chain, key_of, member_of, some_bytes


def housekeeping() -> tuple[Chain, dict[str, Signer]]:
    """Return a chain on which a shop adds, ends and changes keys and lets another act for it.

    With it the keys by their names: `card` is P-256, `person` is held by one, `second` is Ed25519.
    """
    chain, shop = Chain(), member_of("shop-a")
    held: dict[str, Signer] = {
        "card": P256SigningKey(some_bytes("card")),
        "person": P256SigningKey(some_bytes("person")),
        "sealing": key_of("shop-a", Role.SEALING),
        "second": key_of("second", Role.TRANSACTION),
        "vendor": key_of("shop-b", Role.TRANSACTION),
    }

    def adding(name: str, role: Role, first: int = 0, until: int | None = None) -> KeyAdd:
        key = held[name]
        parts = (chain.chain_id, shop, role, key.algorithm, key.public)
        proof = key.sign(keyring.possession_bytes(*parts))
        return KeyAdd(role, key.algorithm, key.public, first, until, proof)

    def work() -> MarkLock:
        return MarkLock(some_bytes("lock", len(chain.transactions)))

    chain.block(
        chain.transaction(
            "shop-a",
            adding("card", Role.TRANSACTION),
            adding("person", Role.HUMAN, 3),
            adding("sealing", Role.SEALING, until=9),
            adding("card", Role.TRANSACTION),  # refused: it is taken
        )
    )
    own = key_id(Role.TRANSACTION, Algorithm.ED25519, key_of("shop-a", Role.TRANSACTION).public)
    card = key_id(Role.TRANSACTION, Algorithm.P256, held["card"].public)
    second = adding("second", Role.TRANSACTION)
    chain.block(
        chain.transaction("shop-a", work(), KeyRevoke(own, 4), key=held["card"]),
        chain.transaction("shop-a", KeyRevoke(card, 0)),  # refused: it is the last one
    )
    certificate = some_bytes("a certificate")
    message = certificates.signed_bytes(chain.chain_id, shop, certificate, held["card"].public)
    issuer = P256SigningKey(some_bytes("the key in it"))
    bind = CertificateBind(card, certificate, issuer.public, issuer.sign(message))
    until = chain.state.header.time + 1_000
    chain.block(
        chain.transaction("shop-a", work()),
        chain.transaction("shop-a", work(), key=held["person"], role=Role.HUMAN),
        chain.transaction("shop-a", bind, key=held["card"]),
        chain.transaction(
            "shop-a", DelegationGrant(member_of("shop-b"), Scope.CLAIMS, until), key=held["card"]
        ),
    )
    chain.block(
        chain.transaction("shop-a", work(), key=held["vendor"]),
        chain.transaction(
            "shop-a",
            KeyRotate(
                card,
                Role.TRANSACTION,
                Algorithm.ED25519,
                second.public,
                6,
                second.possession,
            ),
            key=held["person"],
            role=Role.HUMAN,
        ),
    )
    chain.block(
        chain.transaction("shop-a", work(), key=held["card"]),
        chain.transaction("shop-a", DelegationWithdraw(member_of("shop-b")), key=held["card"]),
    )
    chain.block(chain.transaction("shop-a", work(), key=held["second"]))
    return chain, held
