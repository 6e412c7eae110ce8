"""A conviction: evidence, and all that an outsider needs to see whom it convicts.

It starts from the genesis that the outsider holds, as a receipt does, and follows the validators to
the height of the deed: a block of that height, which they signed, shows that they were in office.
It says where the evidence stands in the chain, if it does: what a fork proves stands in none.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from consensus.evidence import Evidence, culprit, decode, encode, height_of, offence_key, verify
from contracts.genesis import Genesis
from ledger import merkle
from ledger.block import MAX_EVIDENCE, Header
from ledger.block import Evidence as EvidenceBytes
from ledger.certificate import CommitCertificate
from ledger.encoding import Struct
from ledger.errors import Malformed, Mismatch
from ledger.hashing import Hash
from ledger.plain import load_json, parse_plain, plain
from ledger.receipt import MAX_CHANGES, MAX_JSON_LENGTH, Change, verify_block
from ledger.validators import Bytes16, Bytes32, ValidatorSet
from node.audit.words import organisation_of

FORMAT: Final = "depoli/evidence/1"


class Decision(Struct):
    """A block that a quorum decided."""

    header: Header
    certificate: CommitCertificate


class Standing(Struct):
    """Where evidence stands: its number in a block, proved under the header's evidence root."""

    block: Decision
    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_EVIDENCE)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_EVIDENCE)]
    proof: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=4)]  # RFC 6962, 2.1.1


class Conviction(Struct):
    """Evidence, whom it accuses, and how to come to trust those who sat beside him."""

    evidence: EvidenceBytes
    member: Bytes16
    witness: Decision  # a block of the height of the deed
    standing: Standing | None
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_CHANGES)]  # all, in order

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> Evidence:
        """Return what is proved; `validators` are those of height 1.

        Raises `LedgerError` or `ConsensusError` naming the first false fact.
        """
        evidence = decode(self.evidence)
        height, below = height_of(evidence), 0
        judges: ValidatorSet | None = None
        for change in self.changes:
            if judges is None and change.header.height >= height:
                judges = validators
            verify_block(change.header, change.certificate, chain_id, validators, above=below)
            change.validators.verify_hash(change.header.next_validators_hash)
            below, validators = change.header.height, change.validators
        judges = judges or validators
        witness = self.witness
        verify_block(witness.header, witness.certificate, chain_id, judges, above=0)
        if witness.header.height != height:
            raise Mismatch("height of the witness", height, witness.header.height)
        if self.standing is not None:
            self._verify_standing(self.standing, chain_id, validators, max(below, height - 1))
        verify(evidence, chain_id, judges)
        accused = judges.members[culprit(evidence)].member
        if accused != self.member:
            raise Mismatch("member", accused, self.member)
        return evidence

    def _verify_standing(
        self, standing: Standing, chain_id: bytes, validators: ValidatorSet, above: int
    ) -> None:
        header = standing.block.header
        verify_block(header, standing.block.certificate, chain_id, validators, above=above)
        leaf = merkle.leaf_hash(self.evidence)
        merkle.verify_inclusion(
            header.evidence_root, standing.count, standing.index, leaf, standing.proof
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What a file of evidence was found to prove."""

    id: Hash  # of the offence
    evidence: Evidence
    member: bytes
    organisation: str
    recorded: Header | None  # of the block that it stands in


def standing_of(data: bytes, all_: tuple[bytes, ...], block: Decision) -> Standing:
    """Return where `data` stands among all the evidence of a block, which holds it."""
    leaves = [merkle.leaf_hash(item) for item in all_]
    index = all_.index(data)
    proof = merkle.inclusion_proof(
        index,
        len(leaves),
        lambda level, at: merkle.root_of_leaves(leaves[at << level : (at + 1) << level]),
    )
    return Standing(block, index, len(leaves), proof)


def convict(
    evidence: Evidence,
    validators: ValidatorSet,
    witness: Decision,
    changes: tuple[Change, ...],
    standing: Standing | None = None,
) -> Conviction:
    """Return the conviction by evidence that is true; `validators` are those of its height."""
    member = validators.members[culprit(evidence)].member
    return Conviction(encode(evidence), member, witness, standing, changes)


def to_json(conviction: Conviction, genesis: Genesis) -> str:
    """Return the conviction as a JSON object, for a file that people keep and show."""
    named = {"organisation": organisation_of(genesis, conviction.member)}
    return json.dumps({"format": FORMAT, **named, **plain(conviction)}, indent=1)


def verify_json(text: str, genesis: Genesis) -> Verified:
    """Return what this file proves to who holds `genesis`.

    Raises `LedgerError` or `ConsensusError` naming the first false fact.
    """
    value = load_json(text, kind="evidence", max_length=MAX_JSON_LENGTH)
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise Malformed("evidence", f"not an object with format {FORMAT}")
    organisation = value.pop("organisation", None)
    conviction = parse_plain(value, Conviction, kind="evidence")
    evidence = conviction.verify(genesis.chain_id, genesis.validator_set)
    name = organisation_of(genesis, conviction.member)
    if organisation != name:
        raise Mismatch("organisation", name, organisation)
    recorded = None if conviction.standing is None else conviction.standing.block.header
    return Verified(offence_key(evidence), evidence, conviction.member, name, recorded)
