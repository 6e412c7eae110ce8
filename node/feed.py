"""The entries of members as a whole node has them, for `node.events`."""

from ledger.entry import Entry
from node.chain import Chain


class ChainFeed:
    """The entries of every member of a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def concerning(self, member: bytes) -> int:
        """Return how many entries concern `member` by now."""
        head = self._chain.state.heads.get(member)
        return 0 if head is None else head.count

    def entries_concerning(
        self, member: bytes, *, after: int, limit: int
    ) -> list[tuple[int, Entry]]:
        """Return them as the chain does; raise `NotKept`, `StoreDamaged`."""
        return self._chain.entries_concerning(member, after=after, limit=limit)

    def pruned(self, member: bytes) -> int:
        """Return how many of the first entries of `member` are in blocks that are bare here."""
        chain = self._chain
        first, newest = chain.first_body, chain.state.heads.get(member)
        if newest is None or first > chain.height:
            return self.concerning(member)
        committed = chain.block(first)
        begins = committed.block.header.log_size - len(committed.outcomes)
        head = chain.index.head_at(member, newest, begins)
        return 0 if head is None else head.count

    def standing(self) -> str:
        """Return the height of the last block."""
        return f"block {self._chain.height}"
