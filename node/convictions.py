"""What the API shows of evidence: deeds in words, and files that convict whoever did them."""

from itertools import groupby

from consensus.evidence import decode
from contracts.genesis import Genesis
from ledger.block import CommittedBlock
from node.audit.conviction import Conviction, Decision, convict, standing_of
from node.audit.words import Deed, deed_of
from node.chain import Accused, Chain
from node.evidence import Waiting


def recorded_deeds(
    chain: Chain, genesis: Genesis, *, after: tuple[int, int], limit: int
) -> tuple[list[Deed], tuple[int, int] | None]:
    """Return what stands in the chain above a cursor, and the next cursor, None at the end."""
    page = chain.accusations(after=after, limit=limit)
    deeds = [
        deed_of(
            decode(block.block.body.evidence[each.index]), each.member, genesis, block.block.header
        )
        for height, group in groupby(page, key=lambda each: each.included)
        for block in (chain.block(height),)
        for each in group
    ]
    return deeds, page[-1].cursor if len(page) == limit else None


def waiting_deed(waiting: Waiting, genesis: Genesis) -> Deed:
    """Return what stands in no block yet."""
    return deed_of(decode(waiting.data), waiting.accusation.member, genesis, recorded=None)


def conviction(chain: Chain, accused: Accused) -> Conviction:
    """Return the conviction for an offence that stands in the chain."""
    block = chain.block(accused.included)
    evidence = block.block.body.evidence
    validators = chain.validators_at(accused.height)
    assert validators is not None  # of a height that is decided
    data = evidence[accused.index]
    return convict(
        decode(data),
        validators,
        _decision(chain.block(accused.height)),
        chain.changes(accused.included),
        standing_of(data, evidence, _decision(block)),
    )


def _decision(committed: CommittedBlock) -> Decision:
    return Decision(committed.block.header, committed.certificate)
