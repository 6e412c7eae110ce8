"""What signs the checkpoints of the log, where this node is a validator."""

from ledger.block import Header
from ledger.checkpoint import Checkpoint, Note
from ledger.keys import SigningKey
from node.chain import Chain


class Notary:
    """The checkpoint key over a chain: it signs blocks that are durable here, and nothing else."""

    def __init__(self, chain: Chain, key: SigningKey | None) -> None:
        self._chain, self._key = chain, key
        self._last: tuple[Header, Note | None] | None = None

    def note(self) -> Note | None:
        """Return the signed checkpoint of the last block, the same until there is another.

        None before the first block, and where this node has no key that votes there.
        """
        header = self._chain.header
        if self._last is None or self._last[0] is not header:
            self._last = header, self._sign(header)
        return self._last[1]

    def _sign(self, header: Header) -> Note | None:
        validators = self._chain.validators_at(header.height)
        if self._key is None or validators is None:
            return None
        if self._key.public not in {each.checkpoint_key for each in validators.members}:
            return None
        checkpoint = Checkpoint.of(header)
        return Note(checkpoint.encode(), (checkpoint.sign(self._key),))
