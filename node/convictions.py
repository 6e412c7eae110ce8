"""What the API shows of evidence: deeds in words, and files that convict whoever did them."""

from itertools import groupby

from consensus.evidence import decode
from contracts.genesis import Genesis
from ledger.block import BareBlock
from ledger.errors import NotKept
from node.audit.conviction import Conviction, Decision, convict, standing_of
from node.audit.words import Deed, deed_of, pruned_deed
from node.chain import Accused, Chain
from node.evidence import Waiting


def recorded_deeds(
    chain: Chain, genesis: Genesis, *, after: tuple[int, int], limit: int
) -> tuple[list[Deed], tuple[int, int] | None]:
    """Return what stands in the chain above a cursor, and the next cursor, None at the end."""
    page = chain.accusations(after=after, limit=limit)
    deeds: list[Deed] = []
    for height, group in groupby(page, key=lambda each: each.included):
        try:
            block = chain.block(height).block
        except NotKept:
            header = chain.head(height).header
            deeds += [
                pruned_deed(each.offence, each.member, each.height, genesis, header)
                for each in group
            ]
            continue
        deeds += [
            deed_of(decode(block.body.evidence[each.index]), each.member, genesis, block.header)
            for each in group
        ]
    return deeds, page[-1].cursor if len(page) == limit else None


def waiting_deed(waiting: Waiting, genesis: Genesis) -> Deed:
    """Return what stands in no block yet."""
    return deed_of(decode(waiting.data), waiting.accusation.member, genesis, recorded=None)


def conviction(chain: Chain, accused: Accused) -> Conviction:
    """Return the conviction for an offence that stands in the chain.

    Raises `NotKept` where the evidence was pruned.
    """
    block = chain.block(accused.included)
    evidence = block.block.body.evidence
    validators = chain.validators_at(accused.height)
    assert validators is not None  # of a height that is decided
    data = evidence[accused.index]
    return convict(
        decode(data),
        validators,
        _decision(chain.head(accused.height)),
        chain.changes(accused.included),
        standing_of(data, evidence, Decision(block.block.header, block.certificate)),
    )


def _decision(head: BareBlock) -> Decision:
    return Decision(head.header, head.certificate)
