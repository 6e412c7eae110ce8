"""The chain on disk: blocks are the truth, the store follows from them, receipts prove them."""

import shutil
from itertools import combinations
from pathlib import Path

import pytest

from contracts.calls import Call, PrescriptionCommit
from contracts.execute import DirectSignatures
from ledger import segments
from ledger.block import CommittedBlock
from ledger.certificate import CommitCertificate, Seal
from ledger.encoding import decode, encode
from ledger.errors import (
    BadSignature,
    LedgerError,
    Mismatch,
    NoQuorum,
    NotKept,
    StoreDamaged,
    StoreLocked,
)
from ledger.history import parse_json as parse_history
from ledger.history import to_json as history_json
from ledger.keys import Role
from ledger.receipt import Change, Voters, parse_json, to_json
from ledger.store import open_store
from ledger.transaction import created_id, parse
from node.applied import Applied
from node.chain import Chain
from node.errors import HistoryTooLong
from tests import chainmaker
from tests.chainmaker import found, key_of, member_of, story, upheaval

SIGNATURES = DirectSignatures()
STORY = story()
GENESIS = STORY.genesis.genesis


def opened(folder: Path, engine: str | None = None) -> Chain:
    return Chain.open(folder, GENESIS, SIGNATURES, engine=engine)


def grown(folder: Path, blocks: int = len(STORY.blocks), engine: str | None = None) -> Chain:
    """Return a chain on disk with the first blocks of the story."""
    chain = opened(folder, engine)
    for committed in STORY.blocks[chain.height : blocks]:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    return chain


def contents(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return everything that is in a closed chain's store."""
    store = open_store(folder / "state")
    found = store.scan(b"", 1 << 20)
    store.close()
    return found


def test_a_new_one_begins_with_its_genesis(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    assert chain.height == 0
    assert chain.header == STORY.beginning
    assert chain.certificate is None
    chain.close()


@pytest.mark.parametrize("engine", ["leveldb", "sqlite"])
def test_it_is_the_same_after_it_was_closed(tmp_path: Path, engine: str) -> None:
    chain = grown(tmp_path, engine=engine)
    before = (chain.header, chain.certificate, chain.state.digest.hash, chain.state.log.root)
    assert chain.header == STORY.state.header
    chain.close()
    again = opened(tmp_path)
    after = (again.header, again.certificate, again.state.digest.hash, again.state.log.root)
    assert after == before
    assert again.state.heads.root == STORY.state.heads.root
    assert again.state.validators == STORY.state.validators
    assert [decode(each, CommittedBlock) for each in again.records(1)] == STORY.blocks
    again.close()


def test_the_changes_of_validators_are_known_without_an_old_block(tmp_path: Path) -> None:
    story = upheaval()
    chain = Chain.open(tmp_path, story.genesis.genesis, SIGNATURES)
    for committed in story.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
        chain.changes(chain.height)  # what is remembered now is not all that will be
    expected = [
        Change(header, each.certificate, story.validators_at(header.height + 1))
        for each, header in ((each, each.block.header) for each in story.blocks)
        if header.validators_hash != header.next_validators_hash
    ]
    assert len(expected) > 5
    again = Applied(story.genesis.genesis, chain._store)  # which has no blocks
    for kept in (chain, again):
        for height in range(1, chain.height + 2):
            below = [each for each in expected if each.header.height < height]
            assert list(kept.changes(height)) == below
    chain.close()


def test_a_lost_store_is_made_again_from_the_blocks(tmp_path: Path) -> None:
    grown(tmp_path).close()
    before = contents(tmp_path)
    shutil.rmtree(tmp_path / "state")
    again = opened(tmp_path)
    assert again.header == STORY.state.header
    assert again.state.digest.hash == STORY.state.digest.hash
    again.close()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("behind", [1, 3])
def test_a_store_that_is_behind_follows(tmp_path: Path, behind: int) -> None:
    """As after a power cut: the store is never synced."""
    grown(tmp_path, len(STORY.blocks) - behind).close()
    shutil.copytree(tmp_path / "state", tmp_path / "older")
    grown(tmp_path).close()
    whole = contents(tmp_path)
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "older").rename(tmp_path / "state")
    again = opened(tmp_path)
    assert again.header == STORY.state.header
    again.close()
    assert contents(tmp_path) == whole


def test_a_store_that_is_ahead_of_the_blocks_is_refused(tmp_path: Path) -> None:
    grown(tmp_path).close()
    shutil.rmtree(tmp_path / "segments")
    with pytest.raises(StoreDamaged, match=r"\(block 1\): blocks 1 to 8 are gone that were there"):
        opened(tmp_path)
    shutil.rmtree(tmp_path / "state")  # and nothing is left locked
    opened(tmp_path).close()


def test_blocks_may_begin_where_the_state_came_from_elsewhere(tmp_path: Path) -> None:
    grown(tmp_path, 4).close()
    shutil.rmtree(tmp_path / "segments")
    (tmp_path / "segments").mkdir()
    segments.write_file(tmp_path / "segments", 5, STORY.genesis.chain_id)
    base = opened(tmp_path)
    assert (base.height, base.first_height) == (4, 5)
    with pytest.raises(NotKept, match="block 4 is not kept here: no block is"):
        base.block(4)
    base.close()
    whole = grown(tmp_path)
    assert whole.header == STORY.state.header
    with pytest.raises(NotKept, match="block 4 is not kept here: only blocks 5 to 8 are"):
        whole.block(4)
    hashes = [each.block.header.hash for each in STORY.blocks]
    assert [whole.has(n, hashes[n - 1]) for n in range(3, 9)] == [False, *[True] * 5]
    assert not any(whole.has(n, bytes(32)) for n in range(1, 10))
    whole.close()
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(StoreDamaged, match="at block 0, and the blocks that are kept begin with 5"):
        opened(tmp_path)


def test_the_files_of_another_chain_are_refused(tmp_path: Path) -> None:
    grown(tmp_path, 2).close()
    other = found(others=(*chainmaker.SHOPS, ("shop-c", chainmaker.SHOPS[0][1]))).genesis
    with pytest.raises(LedgerError, match="chain"):
        Chain.open(tmp_path, other, SIGNATURES)
    shutil.rmtree(tmp_path / "segments")
    with pytest.raises(Mismatch, match="chain id"):
        Chain.open(tmp_path, other, SIGNATURES)


def test_two_may_not_have_it_open(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    with pytest.raises(StoreLocked):
        opened(tmp_path)
    chain.close()


def test_a_block_that_does_something_else_than_its_header_says_is_refused(tmp_path: Path) -> None:
    chain = grown(tmp_path, 2)
    third, fourth = STORY.blocks[2:4]
    with pytest.raises(Mismatch):
        chain.execute(fourth.block.body, third.block.header, SIGNATURES)
    assert chain.height == 2
    chain.close()


def test_what_became_of_each_transaction_is_known(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    for committed, executed in zip(STORY.blocks, STORY.executed, strict=True):
        header = committed.block.header
        for raw in committed.block.body.transactions:
            transaction = parse(raw)
            became = chain.committed(transaction.id)
            assert became is not None
            assert (became.height, became.time) == (header.height, header.time)
            assert became.sender == transaction.body.sender
            assert became.outcomes == tuple(
                entry.outcome for entry in executed.entries if entry.transaction == transaction.id
            )
    assert chain.committed(bytes(32)) is None
    assert chain.index.place(bytes(32)) is None
    chain.close()


def test_every_entry_has_a_receipt_that_verifies(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    first = STORY.genesis
    validators = chain.state.validators
    count = 0
    for executed in STORY.executed:
        for entry in executed.entries:
            receipt = chain.receipt(entry.transaction, entry.position)
            assert receipt is not None
            assert receipt.entry == entry
            assert receipt.log_index == count
            parse_json(to_json(receipt)).verify(first.chain_id, validators)
            assert chain.receipt(entry.transaction, 1000) is None
            count += 1
    assert count == chain.header.log_size
    assert chain.receipt(bytes(32), 0) is None
    chain.close()


def test_an_entry_concerns_those_in_whose_chains_it_stands(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    for executed in STORY.executed:
        for entry, concerned in zip(executed.entries, executed.concerned, strict=True):
            assert set(chain.concerned(entry)) == set(concerned), entry
    chain.close()


def test_a_members_claims_are_listed_in_order_page_by_page(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    lot = parse(STORY.blocks[2].block.body.transactions[0])
    expected = [created_id(lot.id, position) for position in range(3)]
    for label in ("shop-a", "insurer-a"):
        member, after, seen = member_of(label), -1, []
        while page := chain.index.claims_of(member, after=after, limit=2):
            seen += [id_ for _, id_ in page]
            after = page[-1][0]
        assert seen == expected, label
    assert chain.index.claims_of(member_of("shop-b"), after=-1, limit=10) == []
    chain.close()


def test_every_members_history_between_any_two_heights_verifies(tmp_path: Path) -> None:
    """The heads of all at an older height are found again from the index."""
    chain = grown(tmp_path)
    genesis = STORY.genesis
    voters = Voters(0, genesis.genesis.validator_set)
    members = {m for executed in STORY.executed for group in executed.concerned for m in group}
    for start, end in combinations(range(chain.height + 1), 2):
        for member in (*sorted(members)[:4], bytes(16)):
            history = chain.history(member, start, end)
            assert parse_history(history_json(history)) == history
            history.verify(genesis.chain_id, voters)
            between = [
                entry
                for executed in STORY.executed[start:end]
                for entry, group in zip(executed.entries, executed.concerned, strict=True)
                if member in group
            ]
            assert list(history.entries) == between
    for height, executed in enumerate(STORY.executed, 1):
        assert chain.heads_at(height).root == executed.header.heads_root
    chain.close()


def test_a_history_is_never_longer_than_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = grown(tmp_path)
    member = member_of("shop-a")
    whole = chain.history(member, 0, chain.height)
    size = sum(len(entry.call) for entry in whole.entries)
    monkeypatch.setattr("node.chain.MAX_HISTORY_BYTES", size)
    assert chain.history(member, 0, chain.height) == whole
    monkeypatch.setattr("node.chain.MAX_HISTORY_BYTES", size - 1)
    with pytest.raises(HistoryTooLong, match=f"more than {len(whole.entries) - 1}"):
        chain.history(member, 0, chain.height)
    with pytest.raises(HistoryTooLong, match="more than 1"):
        chain.history(member_of("shop-a"), 0, chain.height, most=1)
    chain.close()


def test_entries_are_read_from_any_number_on(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    whole = [entry for executed in STORY.executed for entry in executed.entries]
    for first in range(len(whole)):
        for count in (1, len(whole) - first):
            assert chain.entries(first, count) == whole[first : first + count]
    assert chain.entries(len(whole), 0) == []
    chain.close()


def test_any_certificate_of_the_last_block_will_do_for_the_next(tmp_path: Path) -> None:
    chain = grown(tmp_path, 4)
    last = STORY.blocks[3]
    chain.require_parent_commit(last.certificate)
    block_id = last.certificate.block_id
    other = STORY.certify(4, block_id, round_=9, signers=(1, 2, 3))
    assert other != last.certificate
    chain.require_parent_commit(other)
    stranger = key_of("shop-a", Role.CONSENSUS)
    seals = tuple(Seal(index, stranger.sign(b"")) for index in range(3))
    forged = CommitCertificate(4, 0, block_id, seals)
    for bad, error in (
        (None, Mismatch),
        (STORY.blocks[2].certificate, Mismatch),
        (STORY.certify(4, bytes(32)), Mismatch),
        (STORY.certify(4, block_id, signers=(0, 1)), NoQuorum),
        (forged, BadSignature),
    ):
        with pytest.raises(error):
            chain.require_parent_commit(bad)
    chain.close()


def test_a_built_block_is_one_that_others_execute_alike(tmp_path: Path) -> None:
    chain = grown(tmp_path, 1)
    batch = [parse(raw) for raw in STORY.blocks[1].block.body.transactions]
    seen = parse(STORY.blocks[0].block.body.transactions[0])
    executed, skipped = chain.build(
        [seen, *batch],
        time=chain.header.time + 1,
        proposer=member_of("insurer-a"),
        built_round=0,
        signatures=SIGNATURES,
    )
    assert [transaction.id for transaction, _ in skipped] == [seen.id]
    assert executed.body.transactions == tuple(each.raw for each in batch)
    again = chain.execute(executed.body, executed.header, SIGNATURES)
    assert encode(again.header) == encode(executed.header)
    chain.close()


def test_what_the_state_remembers_is_never_older_than_the_store(tmp_path: Path) -> None:
    chain = grown(tmp_path)
    reader = chain.state.state
    state = dict(STORY.memory._values)
    for key, value in state.items():
        assert reader.get(key) == value
        assert reader.get(key) == value  # from memory
    assert reader.scan(b"", 1 << 20) == sorted(state.items())
    assert reader.get(b"nothing here") is None
    chain.close()


def test_what_evidence_proves_is_listed_in_the_order_of_the_chain(tmp_path: Path) -> None:
    made = chainmaker.Chain()
    proofs = [made.double_vote(signer) for signer in range(3)]
    made.block(made.transaction("shop-a", *_calls("one")), evidence=proofs[:2])
    made.block(evidence=proofs[2:])  # evidence is enough for a block
    chain = Chain.open(tmp_path, made.genesis.genesis, SIGNATURES)
    for committed in made.blocks:
        executed = chain.execute(committed.block.body, committed.block.header, SIGNATURES)
        chain.commit(executed, committed.certificate)
    listed = chain.accusations(limit=9)
    assert [chain.proof(each) for each in listed] == proofs
    assert [each.cursor for each in listed] == [(1, 0), (1, 1), (2, 0)]
    assert [each.member for each in listed] == [member_of(label) for label in made.labels[:3]]
    assert chain.accusations(after=listed[0].cursor, limit=1) == listed[1:2]
    assert chain.accusation(listed[2].offence) == listed[2]
    assert chain.accusation(bytes(32)) is None
    built, _ = chain.build(
        (), time=chain.header.time, proposer=bytes(16), built_round=0, signatures=SIGNATURES,
        evidence=[proofs[0], b"none", made.double_vote(3)],
    )  # fmt: skip
    assert built.body.evidence == (made.double_vote(3),)
    chain.close()


def test_who_votes_is_known_up_to_two_heights_ahead(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    assert chain.validators_at(2) == GENESIS.validator_set
    assert chain.validators_at(3) is None
    assert chain.validators_at(0) is None  # nobody voted on the genesis
    chain.close()


def _calls(name: str) -> list[Call]:
    return [PrescriptionCommit(chainmaker.some_bytes(name))]
