"""Changes of validators, proved by real keys, for chains that tests make."""

from contracts import membership
from contracts.calls import Change, Possession, ValidatorKeys
from ledger.keys import SigningKey

Keys = tuple[SigningKey, SigningKey, SigningKey]  # consensus, checkpoint, node


def public(keys: Keys) -> ValidatorKeys:
    consensus, checkpoint, node = keys
    return ValidatorKeys(consensus.public, checkpoint.public, node.public)


def prove(chain_id: bytes, change: Change, height: int, block_id: bytes, keys: Keys) -> Possession:
    """Return the signatures of new keys, with a block that is to be recent."""
    message = membership.possession_bytes(chain_id, change, height, block_id)
    consensus, checkpoint, node = (key.sign(message) for key in keys)
    return Possession(height, block_id, consensus, checkpoint, node)
