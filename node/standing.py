"""How this validator stands with the others: what they heard of it, and what it heard of them.

Of each validator the newest signature is remembered, to tell it when it starts again. Every one of
our own key that comes along is looked at: where our journal does not hold it, another instance runs
with our key, or the journal is old, and then nothing more is signed.
"""

from collections.abc import Container

from consensus.messages import (
    Decided,
    Message,
    Proposal,
    RoundChange,
    Statement,
    Status,
    commits,
    order,
)
from ledger.certificate import CommitCertificate
from node.chain import Chain
from node.log import Log
from node.metrics import Metrics
from node.pledges import Pledges
from node.sync import Head


class Standing:
    """One node's own signatures, as others see them, and theirs."""

    def __init__(self, chain: Chain, pledges: Pledges, metrics: Metrics, log: Log) -> None:
        self._chain, self._pledges = chain, pledges
        self._metrics, self._log = metrics, log
        self._newest: dict[bytes, Statement] = {}  # what was last heard of each, by consensus key

    @property
    def silence(self) -> str:
        """Why this validator signs nothing at the open height, "" where it may or is none."""
        return self._pledges.silence

    @property
    def is_signing(self) -> bool:
        """Whether this node signs at the open height."""
        return self._pledges.signer() is not None

    def reached(self, linked: Container[bytes]) -> int:
        """Return how many validators of the open height are this node, or among these node keys."""
        members = self._chain.state.validators.members
        return (self._pledges.index is not None) + sum(v.node_key in linked for v in members)

    def unheard(self) -> list[bytes]:
        """Return whom this validator must hear before it signs, by node key."""
        return self._pledges.unheard()

    def newest_of(self, node_key: bytes) -> Statement | None:
        """Return what the validator with this node key was last heard to sign."""
        for member in self._chain.state.validators.members:
            if member.node_key == node_key:
                key = member.consensus_key
                found = [self._newest[key]] if key in self._newest else []
                if (last := self._chain.certificate) is not None:
                    signers = self._chain.validators_at(last.height)
                    assert signers is not None
                    index = signers.index_of(key)
                    found += [commit for commit in commits(last) if commit.signer == index]
                return max(found, key=order, default=None)
        return None

    def take_head(self, node_key: bytes, head: Head) -> Statement | None:
        """Take what a peer answered; return the signature that it shows to be foreign, if any."""
        self._pledges.take_head(node_key, head)
        newest = head.newest
        return newest if newest is not None and self._pledges.is_foreign(newest) else None

    def overhear(self, message: Message) -> Statement | None:
        """Remember a verified message; return what it shows to be foreign, if anything."""
        state, height = self._chain.state, self._chain.height + 1
        if isinstance(message, Status | Decided) or message.height < height:
            return None
        validators = state.validators if message.height == height else state.next_validators
        if message.signer >= len(validators):
            return None  # a height was decided since its signatures were verified
        key = validators.members[message.signer].consensus_key
        statement = message.bare() if isinstance(message, Proposal | RoundChange) else message
        known = self._newest.get(key)
        if known is None or order(known) < order(statement):
            self._newest[key] = statement
        is_foreign = key == self._pledges.key and self._pledges.is_foreign(statement)
        return statement if is_foreign else None

    async def decided(self, certificate: CommitCertificate) -> None:
        """Look at who signed the open height."""
        index = self._pledges.index
        for commit in commits(certificate):
            if commit.signer == index:
                await self.suspect(commit, "in a certificate")

    async def suspect(self, statement: Statement, source: str) -> None:
        """Cease to sign if our key made this signature and our journal does not hold it."""
        if self._pledges.is_foreign(statement):
            await self.cease(type(statement).__name__, statement.height, statement.round, source)

    async def cease(self, kind: str, height: int, round_: int, source: str) -> None:
        """Sign nothing more until the fence is known: the journal is old, or there is a twin."""
        self._metrics.foreign.inc()
        self._log.error(
            "our key signed what our journal does not hold: another instance runs with it, or the "
            "journal is old; nothing is signed until that is safe",
            kind=kind,
            height=height,
            round=round_,
            source=source,
        )
        await self._pledges.doubt()
