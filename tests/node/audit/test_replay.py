"""Replay: what is true is accepted, and every lie is named with its block."""

import random
from pathlib import Path

import msgspec
import pytest

from contracts.calls import PrescriptionCommit
from contracts.parameters import Parameters
from ledger import merkle
from ledger.block import Block, Body, Header, evidence_root
from ledger.certificate import CommitCertificate, Seal
from ledger.encoding import encode
from ledger.entry import Outcome
from ledger.transaction import Unsigned
from node.audit.errors import FalseFact
from node.audit.records import MAGIC, frame
from node.audit.replay import verify_export
from node.audit.report import Report
from tests.chainmaker import Chain, export_of, found, some_bytes, story, upheaval
from tests.forgeries import Forgery, forgeries

CHAIN = story()
FORGERIES = forgeries(CHAIN)
FLIPS = 75  # of each kind


def verify(path: Path, content: bytes, *, contains: bytes | None = None) -> Report:
    path.write_bytes(content)
    return verify_export(path, CHAIN.genesis, contains=contains, workers=1)


def test_a_true_chain_is_accepted_and_counted(tmp_path: Path) -> None:
    report = verify(tmp_path / "e", export_of(CHAIN.genesis, CHAIN.blocks))
    entries = [entry for executed in CHAIN.executed for entry in executed.entries]
    assert report.header == CHAIN.state.header
    assert report.entries == len(entries)
    assert sum(report.refusals.values()) == sum(entry.outcome.code != 0 for entry in entries)
    assert report.to_json()["exceptions"]["late_blocks"] == {"count": 2, "first": [4, 6]}
    assert report.transactions == 19
    assert sum(member.transactions for member in report.members.values()) == 19
    labels = {activity.label: activity for activity in report.members.values()}
    assert labels["shop-a"].applied == 19
    assert report.to_json()["header"] == CHAIN.state.header.hash.hex()


def test_other_processes_verify_the_same(tmp_path: Path) -> None:
    path = CHAIN.export(tmp_path / "e")
    report = verify_export(path, CHAIN.genesis, workers=2)
    assert report.header == CHAIN.state.header
    forged = next(each for each in FORGERIES if each.name == "a bad signature")
    path.write_bytes(export_of(CHAIN.genesis, forged.blocks))
    with pytest.raises(FalseFact) as error:
        verify_export(path, CHAIN.genesis, workers=2)
    assert (error.value.field, error.value.height) == (forged.audit, forged.height)


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_lie_is_named(forgery: Forgery, tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, forgery.blocks)
    if not forgery.audit:
        verify(tmp_path / "e", content)
        return
    with pytest.raises(FalseFact) as error:
        verify(tmp_path / "e", content)
    assert (error.value.field, error.value.height) == (forgery.audit, forgery.height)


def test_every_field_of_what_blocks_hold_is_forged() -> None:
    held = (Header, Body, CommitCertificate, Seal, Unsigned, Outcome)
    every = {f"{type_.__name__}.{field}" for type_ in held for field in type_.__struct_fields__}
    assert {forgery.forges for forgery in FORGERIES} - {""} == every | {"CommittedBlock.outcomes"}


def test_the_transaction_that_is_false_is_named(tmp_path: Path) -> None:
    forged = next(each for each in FORGERIES if each.name == "a transaction twice")
    with pytest.raises(FalseFact, match="block 8, transaction 2: already-seen"):
        verify(tmp_path / "e", export_of(CHAIN.genesis, forged.blocks))
    forged = next(each for each in FORGERIES if each.name == "a bad signature")
    with pytest.raises(FalseFact, match="block 8, transaction 1: wrong-signature"):
        verify(tmp_path / "e", export_of(CHAIN.genesis, forged.blocks))
    forged = next(each for each in FORGERIES if each.name == "another refusal")
    with pytest.raises(FalseFact) as error:
        verify(tmp_path / "e", export_of(CHAIN.genesis, forged.blocks))
    told = error.value.to_json()
    assert (told["height"], told["transaction"], told["call"]) == (5, 2, 0)
    assert error.value.within("file").to_json() == told | {
        "file": "file",
        "place": "file: block 5, transaction 2, call 0",
    }


def test_a_block_may_carry_another_certificate_of_its_parent_by_who_voted_then(
    tmp_path: Path,
) -> None:
    chain = upheaval()
    blocks = []
    for height, block in enumerate(chain.blocks, 1):
        validators = chain.validators_at(height)
        last = range(len(validators) - validators.quorum, len(validators))  # not the first ones
        own = block.certificate
        other = chain.certify(height, own.block_id, own.round, last)
        assert other != own
        blocks.append(msgspec.structs.replace(block, certificate=other))
    path = tmp_path / "e"
    path.write_bytes(export_of(chain.genesis, blocks))
    assert verify_export(path, chain.genesis, workers=1).header == chain.state.header


def test_the_transaction_that_is_one_too_many_is_named(tmp_path: Path) -> None:
    chain = Chain(found(parameters=Parameters(max_block_transactions=2)))
    chain.block(chain.transaction("shop-a", PrescriptionCommit(some_bytes("first"))))
    made = [
        chain.transaction("shop-a", PrescriptionCommit(some_bytes(name)))
        for name in ("one", "two", "three")
    ]
    last = chain.block(*made[:2])
    raws = tuple(each.raw for each in made)
    body = msgspec.structs.replace(last.block.body, transactions=raws)
    root = merkle.root_of_leaves([merkle.leaf_hash(raw) for raw in raws])
    header = msgspec.structs.replace(last.block.header, transactions_root=root)
    forged = msgspec.structs.replace(last, block=Block(header, body))
    path = tmp_path / "e"
    path.write_bytes(export_of(chain.genesis, [chain.blocks[0], forged]))
    with pytest.raises(FalseFact, match="block 2, transaction 2: over-limit"):
        verify_export(path, chain.genesis, workers=1)


def test_the_piece_of_evidence_that_convicts_nobody_again_is_named(tmp_path: Path) -> None:
    last = CHAIN.blocks[-1]
    pieces = (CHAIN.double_vote(2), CHAIN.double_vote(1), CHAIN.double_vote(1))
    body = msgspec.structs.replace(last.block.body, evidence=pieces)
    header = msgspec.structs.replace(last.block.header, evidence_root=evidence_root(pieces))
    forged = msgspec.structs.replace(last, block=Block(header, body))
    with pytest.raises(FalseFact, match=r"block 8, piece 2: evidence: .* is recorded already"):
        verify(tmp_path / "e", export_of(CHAIN.genesis, [*CHAIN.blocks[:-1], forged]))


def test_a_shorter_chain_is_true_unless_a_later_block_is_asked_for(tmp_path: Path) -> None:
    content = export_of(CHAIN.genesis, CHAIN.blocks[:3])
    assert verify(tmp_path / "e", content).header.height == 3
    _, second, third, *_, last = (block.block.header.hash for block in CHAIN.blocks)
    for known in (second, third):
        assert verify(tmp_path / "e", content, contains=known).header.height == 3
    with pytest.raises(FalseFact, match=last.hex()):
        verify(tmp_path / "e", content, contains=last)


def test_a_torn_export_is_named_wherever_it_is_torn(tmp_path: Path) -> None:
    whole = export_of(CHAIN.genesis, CHAIN.blocks)
    borders = record_borders()
    for cut in random.Random(1).sample(range(len(whole)), 60):
        if cut in borders[1:]:
            continue
        with pytest.raises(FalseFact) as error:
            verify(tmp_path / "e", whole[:cut])
        assert error.value.height == height_at(cut)


def test_the_genesis_of_another_chain_is_refused(tmp_path: Path) -> None:
    other = Chain(found(others=()))
    with pytest.raises(FalseFact, match="before the first block: genesis"):
        verify(tmp_path / "e", export_of(other.genesis, ()))


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_is_named_with_its_block(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    whole = bytearray(export_of(CHAIN.genesis, CHAIN.blocks))
    place = chance.randrange(len(whole))
    whole[place] ^= 1 << chance.randrange(8)
    with pytest.raises(FalseFact) as error:
        verify(tmp_path / "e", bytes(whole))
    assert error.value.height == height_at(place)


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_under_a_new_checksum_is_named_with_its_block(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    payloads = [bytearray(encode(each)) for each in (CHAIN.genesis, *CHAIN.blocks)]
    number = chance.choices(range(len(payloads)), [len(each) for each in payloads])[0]
    payload = payloads[number]
    payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)
    content = MAGIC + b"".join(frame(bytes(each)) for each in payloads)
    with pytest.raises(FalseFact) as error:
        verify(tmp_path / "e", content)
    assert error.value.height == (number or None)


def record_borders() -> list[int]:
    """Return where the records begin, that of the genesis first, and where the file ends."""
    records: list[object] = [CHAIN.genesis, *CHAIN.blocks]
    places = [len(MAGIC)]
    for record in records:
        places.append(places[-1] + len(frame(encode(record))))
    return places


def height_at(place: int) -> int | None:
    """Return the height of the block that has this byte, None before the first."""
    number = sum(border <= place for border in record_borders()) - 1
    return number if number > 0 else None
