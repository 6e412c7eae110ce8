"""Changes of validators, approved and proved by real keys, for chains that tests make."""

from collections.abc import Iterable

from contracts import membership
from contracts.calls import Approval, Approved, Change, Possession, ValidatorKeys
from ledger.keys import Algorithm, Role, SigningKey, key_id

Keys = tuple[SigningKey, SigningKey, SigningKey]  # consensus, checkpoint, node


def public(keys: Keys) -> ValidatorKeys:
    consensus, checkpoint, node = keys
    return ValidatorKeys(consensus.public, checkpoint.public, node.public)


def prove(chain_id: bytes, change: Change, height: int, block_id: bytes, keys: Keys) -> Possession:
    """Return the signatures of new keys, with a block that is to be recent."""
    message = membership.possession_bytes(chain_id, change, height, block_id)
    consensus, checkpoint, node = (key.sign(message) for key in keys)
    return Possession(height, block_id, consensus, checkpoint, node)


def approve(
    chain_id: bytes, change: Approved, approvers: Iterable[tuple[bytes, SigningKey]]
) -> tuple[Approval, ...]:
    """Return the approvals of these members by their transaction keys, in their order."""
    message = membership.approval_bytes(chain_id, change)
    return tuple(
        Approval(member, key_id(Role.TRANSACTION, Algorithm.ED25519, key.public), key.sign(message))
        for member, key in sorted(approvers, key=lambda pair: pair[0])
    )
