"""What docs/format.md says is so: its tables are those of the code, its example is recomputed.

`python -m tests.test_format` prints the example, to be pasted into the page when it changes.
"""

import re
from pathlib import Path
from typing import get_args
from unittest.mock import Mock

import msgspec
import pytest

from consensus.evidence import judge
from contracts import membership
from contracts.calls import (
    Call,
    ClaimSubmit,
    LeaveValidators,
    Leaving,
    Leg,
    Mark,
    MarkLock,
    Part,
    PrescriptionCommit,
    Propose,
    Reason,
    ValidatorLeave,
    Vote,
    encode_call,
)
from contracts.commitment import H_TAG, H, blinding_from, commit, lock_of, mark_of
from contracts.dispatch import rule_of
from contracts.documents import CLAIM, PRESCRIPTION, DocumentType
from contracts.errors import Refusal
from contracts.life import Life, Rule
from contracts.parameters import Parameters
from contracts.reference import MAX_TABLE_BYTES, TableKind
from contracts.registry import Family
from ledger import keys
from ledger.certificate import KIND_COMMIT, vote_signing_bytes
from ledger.encoding import encode
from ledger.errors import BadSignature
from ledger.hashing import Domain
from ledger.keys import Role
from ledger.snapshot import (
    CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_DECIDED_BYTES,
    MAX_FILE_BYTES,
    MAX_HEADS,
    MAX_MANIFEST_BYTES,
    Manifest,
)
from tests.chainmaker import (
    Chain,
    claim_of,
    export_of,
    found,
    key_of,
    member_of,
    some_bytes,
)
from tests.edwards import BASE, ORDER, TORSION, add, challenge, encoded, multiply

PAGE = Path(__file__).parent.parent / "docs" / "format.md"
WIDTH = 100


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def tables(heading: str) -> list[list[str]]:
    """Return the rows of the tables in the section whose heading begins so."""
    _, _, rest = page().partition(f"\n## {heading}")
    section = rest.partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|") and not line.startswith("|--")
    ]


def small_chain() -> Chain:
    """Return the chain of the example: one validator, one shop, two blocks."""
    genesis = found((("federation", Family.OPTICIAN),), (("shop-a", Family.OPTICIAN),))
    chain = Chain(genesis)
    before, claim = claim_of(chain, "shop-a", "federation", "one")
    chain.block(chain.transaction("shop-a", *before))
    chain.block(chain.transaction("shop-a", claim))  # refused: the federation is no payer
    return chain


def example() -> str:
    """Return the worked example as the page has it."""
    chain = small_chain()
    genesis, shop = chain.genesis, member_of("shop-a")
    first, second = chain.blocks
    transaction = chain.transactions[0]
    entry = chain.executed[0].entries[0]
    header, secret = first.block.header, some_bytes("secret", "one")
    mark = mark_of(secret, Leg.COMPLEMENTARY, Part.LENSES, 0)
    blinding = blinding_from(some_bytes("one", 1) + some_bytes("one", 2))
    seal = first.certificate.seals[0]
    rotation = chain.rotating("federation")
    leaving = Leaving(member_of("federation"), some_bytes("a proposal"))
    wanted = Propose(LeaveValidators(member_of("federation")), second.block.header.time + 3_600, 99)
    values: list[tuple[str, bytes | int]] = [
        (
            "seed of the federation's transaction key",
            some_bytes("key", "federation", "TRANSACTION"),
        ),
        ("its public key", key_of("federation", Role.TRANSACTION).public),
        ("id of the federation", member_of("federation")),
        ("seed of its consensus key", some_bytes("key", "federation", "CONSENSUS")),
        ("its public key", key_of("federation", Role.CONSENSUS).public),
        ("seed of the shop's transaction key", some_bytes("key", "shop-a", "TRANSACTION")),
        ("id of the shop", shop),
        ("Genesis", encode(genesis.genesis)),
        ("chain id", genesis.chain_id),
        ("signature of the genesis", genesis.signatures[0].signature),
        ("ValidatorSet", encode(genesis.genesis.validator_set)),
        ("its hash", genesis.genesis.validator_set.hash),
        ("state digest of genesis", chain.beginning.state_digest),
        ("block id of header 0", chain.beginning.hash),
        ("secret of the prescription", secret),
        ("mark: complementary, lenses, ordinal 0", mark),
        ("its lock by the shop", lock_of(chain.chain_id, shop, mark)),
        ("blinding of an amount of 12345", blinding),
        ("its commitment", commit(12_345, blinding)),
        ("Unsigned of the first transaction", transaction.unsigned_bytes),
        ("its id", transaction.id),
        ("signed bytes", transaction.signed_message),
        ("Transaction", transaction.raw),
        ("first Entry", encode(entry)),
        ("its leaf", entry.leaf()),
        ("Header of block 1", encode(header)),
        ("block id of block 1", header.hash),
        (
            "signed bytes of a commit in round 0",
            vote_signing_bytes(KIND_COMMIT, chain.chain_id, 1, 0, header.hash),
        ),
        ("its signature by the federation", seal.signature),
        ("hash of the CommitCertificate", first.certificate.hash),
        ("refused Outcome in block 2", encode(second.outcomes[0])),
        ("Rotating: other keys of the federation's validator", encode(rotation.change)),
        ("its id", membership.change_id(chain.chain_id, rotation.change)),
        (
            "signed bytes of its possession, with block 2",
            membership.possession_bytes(
                chain.chain_id,
                rotation.change,
                second.block.header.height,
                second.block.header.hash,
            ),
        ),
        ("ValidatorRotate, the call", encode_call(rotation)),
        ("Propose, the call: that the federation leaves", encode_call(wanted)),
        ("Vote, the call: for a proposal", encode_call(Vote(leaving.proposal, agrees=True))),
        ("ValidatorLeave, the call: as it says", encode_call(ValidatorLeave(leaving))),
        ("evidence: the federation committed two blocks at height 1", chain.double_vote(0)),
        ("its offence", judge(chain.double_vote(0), chain.chain_id, chain.validators_at).offence),
        ("the whole export", export_of(genesis, chain.blocks)),
    ]
    lines: list[str] = []
    for name, value in values:
        lines.append(name)
        digits = value.hex() if isinstance(value, bytes) else str(value)
        lines += [f"  {digits[i : i + WIDTH]}" for i in range(0, len(digits), WIDTH)]
    return "\n".join(lines)


def test_the_worked_example_is_what_the_code_makes() -> None:
    shown = (
        page().partition("\n## 21. Worked example")[2].partition("```\n")[2].partition("\n```")[0]
    )
    assert shown == example()


def test_the_page_lists_every_domain() -> None:
    listed = {row[0]: row[1].strip("`").encode() + b"\0" for row in tables("3. ")[1:]}
    assert listed == {domain.name: domain.value for domain in Domain}


def test_the_page_lists_every_call_and_what_it_costs() -> None:
    kinds = {type_.KIND: type_ for type_ in get_args(Call)}
    rows = {int(row[0]): row for row in tables("6. ") if row[0].isdigit()}
    assert rows.keys() == kinds.keys()
    for number, type_ in kinds.items():
        name = re.sub(r"(?<=.)([A-Z])", r" \1", type_.__name__).lower()
        assert rows[number][1] == name
        text = rows[number][2]
        places = [text.find(field) for field in type_.__struct_fields__]
        assert -1 not in places
        assert places == sorted(places)
    reasons = dict(re.findall(r"(\d+) ([a-zA-Z ]+?)(?: ·|$)", row_of("reason")))
    assert {int(code): name.upper().replace(" ", "_") for code, name in reasons.items()} == {
        reason.value: reason.name for reason in Reason
    }
    point = bytes(32)
    marks = (Mark(Part.LENSES, point), Mark(Part.FRAME, some_bytes(1)))
    claim = ClaimSubmit(bytes(16), Leg.BASE, point, point, point, marks, None, None)
    assert claim.cost == 4 + 2 * 2
    assert PrescriptionCommit(point).cost == MarkLock(point).cost == 2


def test_the_page_lists_every_call_that_concerns_others_than_its_sender() -> None:
    listed: set[int] = set()
    for row in tables("9. "):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", row[0]):
            listed.update(range(int(first), int(last or first) + 1))
    kinds = {type_.KIND for type_ in get_args(Call) if concerns_others(rule_of(type_))}
    assert listed & {type_.KIND for type_ in get_args(Call)} == kinds


def concerns_others(rule: Rule) -> bool:
    """Return whether an applied call that is judged so concerns more than its sender."""
    life = getattr(rule.concerned, "__self__", None)
    if isinstance(life, Life):
        return not life.by_member
    return rule.concerned(Mock(), Mock(), b"") != ()


def test_the_page_lists_every_reference_table() -> None:
    rows = {int(row[0]): row[1].strip("`") for row in tables("20. ") if row[0].isdigit()}
    assert rows == {kind.value: f"{kind.subject}.json" for kind in TableKind}
    assert f"{MAX_TABLE_BYTES:,} bytes" in page()


def row_of(name: str) -> str:
    return next(row[1] for row in tables("6. ") if row[0] == name)


def test_the_page_lists_every_refusal() -> None:
    rows = {int(row[0]): row[1] for row in tables("7. ") if row[0].isdigit()}
    assert rows.keys() == {refusal.value for refusal in Refusal}
    for refusal in Refusal:
        assert rows[refusal.value].startswith(refusal.name.lower().replace("_", " "))


def test_the_page_gives_the_bounds_of_every_parameter() -> None:
    rows = {
        row[0]: tuple(int(cell.replace(",", "")) for cell in row[1:3])
        for row in tables("14. ")
        if row[0].endswith(("_ms", "_s", "_blocks", "_mb")) or row[0].startswith("max_")
    }
    info = msgspec.inspect.type_info(Parameters)
    assert isinstance(info, msgspec.inspect.StructType)
    bounds = {
        field.name: (field.type.ge, field.type.le)
        for field in info.fields
        if isinstance(field.type, msgspec.inspect.IntType)
    }
    assert list(rows.items()) == list(bounds.items())


def test_the_page_tells_the_form_and_the_bounds_of_a_snapshot() -> None:
    _, _, rest = page().partition("| `Manifest` |")
    rows = [line.strip("|").split("|") for line in rest.partition("\n\n")[0].splitlines()[2:]]
    assert tuple(row[0].strip() for row in rows) == Manifest.__struct_fields__
    limits = {"peaks": 63, "heads": MAX_HEADS, "chunks": MAX_CHUNKS}
    kinds = {row[0].strip(): row[1] for row in rows}
    assert all(f"–{limit:,}" in kinds[name] for name, limit in limits.items())
    bounds = (CHUNK_BYTES, MAX_FILE_BYTES, MAX_MANIFEST_BYTES, MAX_DECIDED_BYTES)
    assert all(f"{bound:,} bytes" in page() for bound in bounds)


def test_the_second_generator_is_the_one_of_the_page() -> None:
    assert H.hex() in page()
    assert H_TAG.decode() in page()


@pytest.mark.parametrize("type_", [PRESCRIPTION, CLAIM], ids=lambda type_: type_.type)
def test_the_page_lists_every_field_of_a_document(type_: DocumentType) -> None:
    _, _, rest = page().partition(f"| type `{type_.type}` |")
    rows = [line.strip("|").split("|") for line in rest.partition("\n\n")[0].splitlines()[2:]]
    listed = {name.strip(): row[1] for row in rows for name in row[0].split(",")}
    assert set(listed) == set(type_.fields)
    # One who reads "or null" may write null, and nobody else.
    assert {name for name, value in listed.items() if "null" not in value} == type_.required


# Signatures of which libraries think differently: docs/format.md, section 4. T has order 8.
SCALAR, MESSAGE = 0x1234567890ABCDEF, b"depoli"


def test_a_signature_that_only_the_cofactored_equation_accepts_is_refused() -> None:
    """A build of libsodium that accepts it would fork from the others; do not run one."""
    public = encoded(multiply(SCALAR, BASE))
    for twist in range(8):
        point = add(multiply(7, BASE), multiply(twist, TORSION))
        k = challenge(encoded(point), public, MESSAGE)
        signature = encoded(point) + ((7 + k * SCALAR) % ORDER).to_bytes(32, "little")
        if twist == 0:
            keys.verify(public, MESSAGE, signature, what="it")
        else:
            with pytest.raises(BadSignature):
                keys.verify(public, MESSAGE, signature, what="it")


if __name__ == "__main__":
    print(example())  # noqa: T201 - its purpose
