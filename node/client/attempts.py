"""What became of a claim, also where a node was wrong in saying that it came too late.

A node whose clock runs ahead calls a transaction expired that other nodes still take. The claim is
signed anew then, and the chain takes one of the two, because both use the same marks. So where the
chain refuses a claim, what was signed for it before is looked for first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.transaction import created_id
from node.client.agreements import authorisation_of
from node.client.client import CallOutcome, NodeClient
from node.client.errors import NotFound, Pruned
from node.client.records import AuthorisationRecord, ClaimRecord, Progress
from node.client.transactions import Decided, Lapsed
from node.client.vault import Vault

MAX_LAPSED: Final = 64  # earlier signatures that are remembered for a claim


@dataclass(frozen=True, slots=True)
class Stands:
    """A claim is on the chain, by this transaction."""

    transaction: bytes
    position: int
    height: int


# A refusal is told by its outcome.
Became: TypeAlias = Stands | Lapsed | CallOutcome


async def became_of(
    node: NodeClient, claims: Iterable[ClaimRecord], results: Mapping[bytes, Decided | Lapsed]
) -> dict[tuple[bytes | None, int | None], Became]:
    """Return what became of claims by transaction and position, of those that `results` tells of.

    Raises `NetworkRefused` where nobody says, and what asking a node raises.
    """
    found: dict[tuple[bytes | None, int | None], Became] = {}
    for claim in claims:
        result = None if claim.transaction is None else results.get(claim.transaction)
        if result is not None:
            found[claim.transaction, claim.position] = (
                result if isinstance(result, Lapsed) else await _decided(node, claim, result)
            )
    return found


def sign_anew(vault: Vault, claim: ClaimRecord) -> None:
    """Write that the transaction of a claim came too late; a block that holds it is looked for."""
    assert claim.claim is not None  # the three were written when it was signed
    assert claim.transaction is not None
    assert claim.position is not None
    vault.unname(claim.KIND, claim.claim.hex())
    _remember(claim, claim.transaction, claim.position)
    claim.progress = Progress.LOCKED
    claim.transaction = claim.claim = claim.position = None


def find_under(vault: Vault, number: int, claim: ClaimRecord, stands: Stands) -> None:
    """Let a claim be found by the id under which it stands, which an earlier signature made."""
    assert claim.claim is not None  # the three were written when it was signed
    assert claim.transaction is not None
    assert claim.position is not None
    if claim.transaction != stands.transaction:
        vault.unname(claim.KIND, claim.claim.hex())
        _remember(claim, claim.transaction, claim.position)
        claim.transaction, claim.position = stands.transaction, stands.position
        claim.claim = created_id(stands.transaction, stands.position)
        vault.name(number, claim.KIND, [claim.claim.hex()])


def _remember(claim: ClaimRecord, transaction: bytes, position: int) -> None:
    """Keep under which signature a claim may stand too, or was to; with it that is erased."""
    claim.lapsed = [*claim.lapsed, (transaction, position)][-MAX_LAPSED:]


async def _decided(node: NodeClient, claim: ClaimRecord, result: Decided) -> Stands | CallOutcome:
    assert claim.position is not None  # it was written when it was signed
    here = Stands(result.id, claim.position, result.height)
    if not result.outcomes and await _is_on_chain(node, claim):
        return here  # the node keeps no more what came of each call
    outcome = result.outcome(claim.position)
    if not outcome.code:
        return here
    for transaction, position in claim.lapsed:
        try:
            sent = await node.transaction(transaction)
        except (NotFound, Pruned):
            continue
        if sent.height is not None and [each.code for each in sent.outcomes[position:]][:1] == [0]:
            return Stands(transaction, position, sent.height)
    return outcome


async def _is_on_chain(node: NodeClient, claim: ClaimRecord) -> bool:
    assert claim.claim is not None  # it was written when it was signed
    try:
        if isinstance(claim, AuthorisationRecord):
            await authorisation_of(node, claim.claim)
        else:
            await node.claim(claim.claim)
    except NotFound:
        return False
    return True
