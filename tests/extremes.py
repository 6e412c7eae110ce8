"""Chains in which calls are as large as they may be, and meet as much as they may meet."""

from contracts import keyring
from contracts.calls import (
    CertificateBind,
    ClaimAccept,
    Direction,
    JoinValidators,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    LeaveValidators,
    ReplaceValidator,
    SettlementAdd,
    SettlementOpen,
    SettlementRemove,
    Vote,
)
from contracts.calls.registry import MAX_LIVE_KEYS, RSA_BYTES
from contracts.calls.settlement import MAX_LISTED
from contracts.parameters import Parameters
from contracts.registry import Family
from ledger.keys import Algorithm, Role, key_id
from ledger.transaction import created_id
from ledger.validators import MAX_VALIDATORS
from tests.chainmaker import Chain, claim_of, found, key_of, member_of, some_bytes, table_of

_LOT = 64


def extremes() -> list[Chain]:
    """Return them all."""
    return [largest_settlement(), most_keys(), most_validators()]


def largest_settlement() -> Chain:
    """Return a chain in which as many claims as one call may list go into a settlement and out."""
    chain = Chain()
    claims = []
    for first in range(0, MAX_LISTED, _LOT):
        names = range(first, first + _LOT)
        made = [claim_of(chain, "shop-a", "insurer-a", f"claim {name}") for name in names]
        before = [call for calls, _ in made for call in calls]
        chain.block(chain.transaction("shop-a", *before))
        lot = chain.transaction("shop-a", *(claim for _, claim in made))
        chain.block(lot)
        claims += [created_id(lot.id, position) for position in range(_LOT)]
    for first in range(0, MAX_LISTED, _LOT):
        accepted = [ClaimAccept(id_, None) for id_ in claims[first : first + _LOT]]
        chain.block(chain.transaction("insurer-a", *accepted))
    begun = chain.transaction("insurer-a", SettlementOpen(member_of("shop-a"), Direction.PAYMENT))
    chain.block(begun)
    settlement = created_id(begun.id, 0)
    strange = (*claims[:-1], bytes(32))  # all but the last can be settled, or taken out
    for kind in (SettlementAdd, SettlementRemove):
        for listed in (strange, tuple(claims)):
            chain.block(chain.transaction("insurer-a", kind(settlement, listed)))
    return chain


def most_keys() -> Chain:
    """Return a chain in which a member has all the keys it may, and shows a long certificate."""
    chain, shop = Chain(), member_of("shop-a")

    def adding(number: int) -> KeyAdd:
        key = key_of(f"key {number}", Role.TRANSACTION)
        parts = (chain.chain_id, shop, Role.TRANSACTION, key.algorithm, key.public)
        proof = key.sign(keyring.possession_bytes(*parts))
        return KeyAdd(Role.TRANSACTION, key.algorithm, key.public, 0, None, proof)

    first, last, other = adding(1), adding(MAX_LIVE_KEYS - 1), adding(MAX_LIVE_KEYS)
    many = [adding(number) for number in range(2, MAX_LIVE_KEYS - 1)]
    for call in (first, *many, last):
        chain.block(chain.transaction("shop-a", call))
    proof = other.possession
    ending = (key_id(Role.TRANSACTION, Algorithm.ED25519, each.public) for each in (first, last))
    rotating = KeyRotate(next(ending), other.role, other.algorithm, other.public, 0, proof)
    chain.block(chain.transaction("shop-a", adding(MAX_LIVE_KEYS + 1)))  # refused: too many
    chain.block(chain.transaction("shop-a", rotating))
    chain.block(chain.transaction("shop-a", KeyRevoke(next(ending), 0)))
    own = key_id(Role.TRANSACTION, Algorithm.ED25519, key_of("shop-a", Role.TRANSACTION).public)
    modulus = b"\xff" * RSA_BYTES[-1]
    signature = b"\x7f" * RSA_BYTES[-1]  # refused, after all the work
    certificate = CertificateBind(own, some_bytes("a certificate"), modulus, signature)
    chain.block(chain.transaction("shop-a", certificate))
    return chain


def most_validators(count: int = MAX_VALIDATORS) -> Chain:
    """Return a chain in which the last validator that may be joins, and all others vote."""
    families = (Family.OPTICIAN, Family.OPERATOR, Family.INSURER, Family.AUDITOR)
    voters = [
        (f"validator-{number}", families[number % len(families)]) for number in range(count - 1)
    ]
    newcomers = (("newcomer", Family.PRESCRIBER), ("another", Family.PRESCRIBER))
    chain = Chain(found(voters, newcomers, Parameters(notice_blocks=2)))
    first, second = member_of("newcomer"), member_of("another")
    chain.agree(JoinValidators(first), ReplaceValidator(first, second), LeaveValidators(second))
    chain.block(built_round=1)
    chain.block(chain.transaction("newcomer", chain.joining("newcomer")))
    chain.block(built_round=1)
    chain.block(built_round=1)
    chain.block(chain.transaction("another", chain.replacing("newcomer", "another")))
    chain.block(built_round=1)
    rotating = chain.rotating("validator-3")
    chain.block(chain.transaction("validator-3", rotating))
    chain.block(built_round=1)
    chain.block(chain.transaction("validator-0", chain.leaving("another")))
    proposal = chain.propose("validator-0", table_of("a table"))
    few = count // 3
    votes = [chain.transaction(label, Vote(proposal, agrees=False)) for label, _ in voters[:few]]
    votes += [chain.transaction(label, Vote(proposal, agrees=True)) for label, _ in voters[few:]]
    chain.block(*votes)
    return chain
