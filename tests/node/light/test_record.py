"""The record of a light node leads to what the whole chain led to, and takes no lie."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import agenda, eras, parameters, registry
from contracts.calls import (
    ClaimAccept,
    Propose,
    RemoveMember,
    ReplaceValidator,
    Vote,
    parse_call,
)
from contracts.dispatch import LIVES
from contracts.errors import UnknownVersion
from contracts.execute import DirectSignatures
from contracts.life import Life
from contracts.parameters import Parameters
from contracts.state import Overlay, Reader
from ledger.encoding import decode, encode
from ledger.entry import APPLIED, Outcome
from ledger.errors import BadProof, LedgerError, Malformed, Mismatch, NoQuorum
from ledger.store import Store, open_store
from ledger.transaction import created_id
from ledger.validators import EVERYONE, MEMBER_ID_BYTES
from node import budget, clock, releases
from node.budget import Budgets
from node.chain import Chain
from node.light import record as records
from node.light.api import _KeptThings
from node.light.messages import (
    LightReply,
    NewestHeader,
    Proofs,
    PullHeader,
    PullHistory,
    PullProofs,
    Seen,
    Told,
    parse_pull,
    parse_reply,
)
from node.light.partial import Partial
from node.light.record import Incomplete, OtherMember, Record
from node.link import Link, Peer
from node.problems import Problem
from node.releases import Releases
from tests import chainmaker, chains, second
from tests.chainmaker import member_of
from tests.ledger.examples import spoiled as spoiled_bytes

SIGNATURES = DirectSignatures()
MADE = chains.chains()  # together every kind of call is applied in them


@pytest.fixture(params=range(len(MADE)), ids=lambda number: f"chain {number}")
def made(request: pytest.FixtureRequest) -> chainmaker.Chain:
    """Each of the chains."""
    return MADE[int(request.param)]


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self._pairs: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._pairs.get(key)

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> list[tuple[bytes, bytes]]:
        found = sorted(pair for pair in self._pairs.items() if pair[0].startswith(prefix))
        return [pair for pair in found if pair[0] > after or not after][:limit]

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self._pairs.pop(key, None)
            else:
                self._pairs[key] = value

    def view(self) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def close(self) -> None: ...


class Source:
    """A whole node's chain, and what it releases."""

    def __init__(self, folder: Path, made: chainmaker.Chain) -> None:
        self.made = made
        self.chain = Chain.open(folder / "whole", made.genesis.genesis, SIGNATURES)
        self._reader = ThreadPoolExecutor(1)
        self.releases = Releases(
            self.chain, owner=lambda _: None, budgets=Budgets(), reader=self._reader
        )

    def grow(self, height: int) -> None:
        for committed in self.made.blocks[self.chain.height : height]:
            executed = self.chain.execute(committed.block.body, committed.block.header, SIGNATURES)
            self.chain.commit(executed, committed.certificate)

    def close(self) -> None:
        self._reader.shutdown()
        self.chain.close()

    def reply(self, record: Record, pull: Any) -> LightReply:  # noqa: ANN401
        answer, cost = self.releases.reply(record.member, parse_pull(encode(pull)))
        assert cost > 0
        return parse_reply(encode(answer))

    def newest(self, record: Record) -> NewestHeader:
        found = self.reply(record, PullHeader(record.height, record.tip.changes))
        assert isinstance(found, NewestHeader)
        return found

    def told(self, record: Record, until: int = 0) -> Told:
        pull = PullHistory(record.own, record.everyone, until, record.tip.changes)
        found = self.reply(record, pull)
        assert isinstance(found, Told)
        return found

    def follow(self, record: Record) -> None:
        """Bring a record to the last block, as a node does."""
        until = 0
        while (seen := self.newest(record).seen) is not None:
            try:
                if not record.advance(seen):
                    record.take(self.told(record, until))
                until = 0
            except Incomplete as more:
                until = more.until


def opened(made: chainmaker.Chain, member: bytes, folder: Path) -> tuple[Record, Store]:
    store = open_store(folder, "sqlite")
    return Record(made.genesis.genesis, member, store), store


@pytest.fixture
def source(made: chainmaker.Chain, tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path, made)
    yield source
    source.close()


def things(life: Life[Any], state: Reader, member: bytes) -> dict[bytes, Any]:
    """Return the things of one kind in which a member has a part, without what no entry says."""
    found = {}
    for key, value in state.scan(life.prefix, 1 << 20):
        if len(key) < len(life.prefix) + MEMBER_ID_BYTES:
            continue
        try:
            thing = decode(value, life.thing)
        except LedgerError:
            continue  # another table's key
        if any(getattr(thing, holder) == member for holder in life.parties.values()):
            if hasattr(thing, "decided_by"):
                thing = msgspec.structs.replace(thing, decided_by=None)
            found[key] = thing
    return found


def signing_keys(state: Reader, member: bytes) -> list[tuple[bytes, registry.Key]]:
    """Return the keys by which a member signs, or ever signed."""
    held = registry.keys_of(state, member)
    return [(id_, key) for id_, key in held if key.role.signs_transactions]


def test_every_members_things_stand_as_in_the_whole_chain(source: Source, tmp_path: Path) -> None:
    """At some heights on the way and at the last one, for each member that any entry concerns."""
    made, seen = source.made, 0
    last = len(made.blocks)
    stops = sorted({1, last // 3, last // 2, last - 1, last})
    members = {m for executed in made.executed for group in executed.concerned for m in group}
    records = {m: opened(made, m, tmp_path / m.hex()) for m in members - {EVERYONE}}
    for stop in stops:
        source.grow(stop)
        whole = source.chain.state
        for member, (record, _) in records.items():
            source.follow(record)
            assert record.tip.header == whole.header
            assert record.tip.own == whole.heads.get(member)
            assert record.tip.everyone == whole.heads.get(EVERYONE)
            assert parameters.load(record.state) == whole.parameters
            assert agenda.next_height(record.state) == agenda.next_height(whole.state)
            era = eras.latest(whole.state)
            for number in range(era.number + 1):
                assert eras.era(record.state, number) == eras.era(whole.state, number)
            assert eras.latest(record.state) == era
            assert not record.store.scan(b"?", 9)
            for life in LIVES[:-1]:
                expected = things(life, whole.state, member)
                assert things(life, record.state, member) == expected
                seen += len(expected)
            keys = signing_keys(whole.state, member)
            assert signing_keys(record.state, member) == keys
            seen += len(keys)
    assert seen
    for _, store in records.values():
        store.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_a_vote_finds_the_validators_that_there_were_at_its_height(
    tmp_path: Path,
    at_once: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A member that is to be removed runs a validator by then, so that nothing comes of it."""
    made = chainmaker.Chain(
        chainmaker.found(others=chainmaker.NEWCOMERS, parameters=Parameters(notice_blocks=2))
    )
    own, other = map(member_of, ("operator-b", "insurer-b"))
    until = made.state.header.time + 86_400
    proposed = made.transaction("federation", Propose(RemoveMember(own), until, 8))
    made.block(proposed)
    vote = Vote(created_id(proposed.id, 0), agrees=True)
    made.block(*(made.transaction(label, vote) for label in made.labels[:3]))
    made.agree(ReplaceValidator(other, own))
    for _ in range(2):
        made.block(built_round=1)
    made.block(made.transaction("operator-b", made.replacing("insurer-b", "operator-b")))
    assert made.state.header.height == 7  # the change is of 8, and who votes of 9
    made.agree(ReplaceValidator(own, other))
    for _ in range(2):
        made.block(built_round=1)
    made.block(made.transaction("insurer-b", made.replacing("operator-b", "insurer-b")))
    for _ in range(2):
        made.block(built_round=1)
    assert all(not outcome.code for each in made.blocks for outcome in each.outcomes)
    source, record = Source(tmp_path, made), Record(made.genesis.genesis, own, Shelf())
    for height in range(1, len(made.blocks) + 1):
        source.grow(height)
        if not at_once or height == len(made.blocks):
            source.follow(record)
    state = source.chain.state.state
    assert registry.members(record.state) == registry.members(state)
    assert signing_keys(record.state, own) == signing_keys(state, own)
    source.close()


LIES = 4  # the chain in which things live
VOTES = 2  # that in which everyone is concerned
OPTICIAN = "shop-a"


@pytest.fixture
def lied_to(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Source, Record]]:
    """A record of a shop at a third of a chain, and the whole chain."""
    source = Source(tmp_path, MADE[getattr(request, "param", LIES)])
    record, store = opened(source.made, chainmaker.member_of(OPTICIAN), tmp_path / "light")
    source.grow(len(source.made.blocks) // 3)
    source.follow(record)
    source.grow(len(source.made.blocks))
    yield source, record
    store.close()
    source.close()


def spoiled(told: Told) -> Iterator[tuple[str, Told]]:
    """Yield answers from which one entry is withheld, or to which something else is done."""
    for name in ("own", "everyone"):
        entries = list(getattr(told, name))
        replace = msgspec.structs.replace
        for at, entry in enumerate(entries):
            rest = entries[:at], entries[at + 1 :]
            other = replace(entry, outcome=Outcome(entry.outcome.code + 1))
            for lie, changed in (
                ("withheld", (*rest[0], *rest[1])),
                ("altered", (*rest[0], other, *rest[1])),
                ("moved", (*rest[0], *rest[1], entry)),
                ("added", (*rest[0], entry, entry, *rest[1])),
            ):
                if list(changed) != entries:
                    yield lie, replace(told, **{name: tuple(changed)})


@pytest.mark.parametrize("lied_to", [LIES, VOTES], indirect=True)
def test_no_entry_is_withheld_altered_moved_or_added(lied_to: tuple[Source, Record]) -> None:
    source, record = lied_to
    told, before = source.told(record), record.tip
    lies = dict.fromkeys(("withheld", "altered", "moved", "added"), 0)
    for lie, answer in spoiled(told):
        lies[lie] += 1
        with pytest.raises((Mismatch, Incomplete)) as refused:
            record.take(answer)
        if isinstance(refused.value, Incomplete):  # asked up to there, it would have to lie again
            assert lie == "withheld"
        assert record.tip == before
    assert all(lies.values())
    record.take(told)
    assert record.tip.header == source.chain.header


def test_a_header_of_another_chain_or_without_a_quorum_is_refused(
    lied_to: tuple[Source, Record],
) -> None:
    source, record = lied_to
    told, before = source.told(record), record.tip
    seen = told.seen
    assert seen is not None
    replace = msgspec.structs.replace
    few = replace(seen.certificate, seals=seen.certificate.seals[:1])
    older = source.told(record, until=record.height + 1).seen
    assert older is not None
    for false, error in (
        (replace(seen, certificate=few), NoQuorum),
        (replace(seen, header=replace(seen.header, height=seen.header.height + 1)), Mismatch),
        (replace(seen, header=replace(seen.header, heads_root=bytes(32))), Mismatch),
        (replace(seen, own=older.own), BadProof),
        (replace(seen, everyone=seen.own), BadProof),
    ):
        with pytest.raises(error):
            record.advance(false)
        with pytest.raises(error):
            record.take(replace(told, seen=false))
    assert record.tip == before


def test_two_headers_of_one_height_are_a_split_view(lied_to: tuple[Source, Record]) -> None:
    source, record = lied_to
    source.follow(record)
    tip, heads = record.tip, source.chain.state.heads
    assert tip.certificate is not None
    other = msgspec.structs.replace(tip.header, time=tip.header.time + 1)
    proofs = heads.prove(record.member), heads.prove(EVERYONE)
    assert record.advance(Seen(tip.header, tip.certificate, *proofs, ()))
    with pytest.raises(Mismatch, match="block of this height"):
        record.advance(Seen(other, source.made.certify(other.height, other.hash), *proofs, ()))


def test_a_header_below_a_change_that_is_known_is_of_those_who_voted_then(tmp_path: Path) -> None:
    source = Source(tmp_path, chainmaker.upheaval())
    source.grow(len(source.made.blocks))
    record = Record(source.made.genesis.genesis, member_of(OPTICIAN), Shelf())
    seen = source.newest(record).seen
    assert seen is not None
    assert not record.advance(seen)  # the changes alone are kept
    changes = record.changes(seen.header.height)
    heights = (each.header.height for each in changes)
    for until in sorted({*heights, *(height + 1 for height in heights), 1}):
        told = source.told(record, until)
        record.take(told)
        assert record.height == until
    assert len(changes) > 3
    assert record.height > changes[-2].header.height
    source.close()


def test_what_was_voted_is_in_force_from_its_very_height(tmp_path: Path) -> None:
    source = Source(tmp_path, MADE[VOTES])
    record = Record(source.made.genesis.genesis, member_of(OPTICIAN), Shelf())
    seen = set()
    for height in range(1, len(source.made.blocks) + 1):
        source.grow(height)
        source.follow(record)
        whole = source.chain.state
        assert parameters.load(record.state) == whole.parameters
        assert registry.members(record.state) == registry.members(whole.state)
        seen.add(whole.parameters)
    assert len(seen) > 1
    source.close()


def test_who_asks_pays_for_the_answer(
    lied_to: tuple[Source, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, record = lied_to
    monkeypatch.setattr(Releases, "reply", lambda *_: (NewestHeader(None), 5.0))
    sent: list[bytes] = []
    link = SimpleNamespace(peer=Peer("", bytes(32), None), send_reply=sent.append)
    asyncio.run(source.releases._reply(cast("Link", link), record.member, PullHeader(0, 0)))
    assert len(sent) == 1
    assert source.releases._budgets.of(bytes(32)).left < budget.PEER_BURST_S - 4


def test_whose_key_has_ended_is_told_nothing(lied_to: tuple[Source, Record]) -> None:
    source, _ = lied_to  # whose owner of every key is nobody
    stranger = cast("Link", SimpleNamespace(peer=Peer("", bytes(32), None)))
    source.releases.answer(stranger, encode(PullHeader(0, 0)))
    assert not source.releases._under_way
    with pytest.raises(Malformed):
        source.releases.answer(stranger, b"nothing that is asked")


def test_receipts_are_kept_and_verify(lied_to: tuple[Source, Record]) -> None:
    source, record = lied_to
    source.follow(record)
    entries = [record.entry(each.transaction, each.position) for each in source.told(record).own]
    assert entries == []
    while record.tip.placed < record.own:
        proofs = source.reply(record, PullProofs(record.tip.placed, 7, record.tip.changes))
        assert isinstance(proofs, Proofs)
        wrong = msgspec.structs.replace(proofs, places=proofs.places[::-1])
        if len(proofs.places) > 1:
            with pytest.raises(BadProof):
                record.take_proofs(wrong)
        assert record.take_proofs(proofs) == len(proofs.places)
    genesis = source.made.genesis.genesis
    count = 0
    for executed in source.made.executed:
        for entry, concerned in zip(executed.entries, executed.concerned, strict=True):
            receipt = record.receipt(entry.transaction, entry.position)
            if record.member in concerned:
                assert receipt is not None
                assert receipt.entry == entry
                receipt.verify(genesis.chain_id, genesis.validator_set)
                count += 1
            else:
                assert receipt is None
    assert count == record.own


def test_it_is_the_same_after_it_was_closed(tmp_path: Path) -> None:
    source = Source(tmp_path, MADE[LIES])
    source.grow(len(source.made.blocks))
    member = chainmaker.member_of(OPTICIAN)
    record, store = opened(source.made, member, tmp_path / "light")
    source.follow(record)
    tip = record.tip
    store.close()
    again, store = opened(source.made, member, tmp_path / "light")
    assert again.tip == tip
    other = chainmaker.member_of("shop-b")
    with pytest.raises(OtherMember, match="data is of the member"):
        Record(source.made.genesis.genesis, other, store)
    with pytest.raises(OtherMember, match="data is of the chain"):
        Record(MADE[1].genesis.genesis, member, store)
    store.close()
    source.close()


@pytest.mark.parametrize("bound", ["FIRST_BYTES", "MOST_READ"])
def test_what_does_not_fit_one_answer_comes_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The heads at the heights between are found again; each part is verified as a whole."""
    monkeypatch.setattr(releases, bound, 1)
    source = Source(tmp_path, MADE[LIES])
    source.grow(len(source.made.blocks))
    record, store = opened(source.made, chainmaker.member_of(OPTICIAN), tmp_path / "light")
    heights = set()
    until = 0
    while record.height < source.chain.height:
        try:
            record.take(source.told(record, until))
            heights.add(record.height)
            until = 0
        except Incomplete as more:
            assert not until
            until = more.until
    assert len(heights) > 3
    assert record.tip.own == source.chain.state.heads.get(record.member)
    store.close()
    source.close()


def test_no_question_makes_a_node_read_more_than_so_much(
    lied_to: tuple[Source, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for a member's whole history, up to a height that is far away at that."""
    source, record = lied_to
    read: list[int] = []
    honest = Chain.block

    def block(self: Chain, height: int) -> Any:  # noqa: ANN401
        read.append(height)
        return honest(self, height)

    monkeypatch.setattr(Chain, "block", block)
    monkeypatch.setattr(releases, "MOST_READ", 3)
    for until in (0, source.chain.height - 1):
        read.clear()
        told = source.releases.reply(record.member, PullHistory(0, 0, until, 0))[0]
        assert isinstance(told, Told)
        assert 0 < len(read) <= 6  # three blocks of one entry at the most, for each of the two
        assert len(set(read)) < source.chain.height / 2


def test_an_answer_is_charged_what_it_took(
    lied_to: tuple[Source, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, record = lied_to
    for pull in (PullHeader(0, 0), PullHistory(0, 0, 0, 0), PullProofs(0, 9, 0)):
        moments = iter((1.0, 9.0))
        monkeypatch.setattr(clock, "thread_s", lambda moments=moments: next(moments))
        _, cost = source.releases.reply(record.member, pull)
        assert cost == 8 + budget.STATUS_S


def test_a_node_of_a_member_is_given_nothing_of_others(lied_to: tuple[Source, Record]) -> None:
    source, record = lied_to
    told = source.told(record)
    concerned = {
        encode(entry): set(members)
        for executed in source.made.executed
        for entry, members in zip(executed.entries, executed.concerned, strict=True)
    }
    assert told.own
    for name, member in (("own", record.member), ("everyone", EVERYONE)):
        assert all(member in concerned[encode(entry)] for entry in getattr(told, name))


def test_many_changes_of_validators_come_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "MAX_CHANGES", 1)
    monkeypatch.setattr(records, "MAX_CHANGES", 1)
    source = Source(tmp_path, chainmaker.upheaval())
    source.grow(len(source.made.blocks))
    record, store = opened(source.made, chainmaker.member_of(OPTICIAN), tmp_path / "light")
    source.follow(record)
    assert record.tip.header == source.chain.header
    assert record.changes(record.height) == source.chain.changes(record.height)
    assert len(record.changes(record.height)) > 3
    store.close()
    source.close()


def test_rules_that_are_not_known_here_are_not_guessed(tmp_path: Path) -> None:
    made = chains.two_versions()
    with second.known():
        source = Source(tmp_path, made)
        source.grow(len(made.blocks))
    record, store = opened(made, chainmaker.member_of(OPTICIAN), tmp_path / "light")
    seen = source.newest(record).seen
    assert seen is not None
    with pytest.raises(UnknownVersion, match="version 2"):
        record.advance(seen)
    assert record.height == 0
    until = source.told(record, until=chains.FIRST - 1)  # what is below can be told
    record.take(until)
    assert record.height == chains.FIRST - 1
    store.close()
    source.close()


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Record]:
    """A true answer of all that concerns a shop, and a record that has nothing yet."""
    source = Source(tmp_path_factory.mktemp("near"), MADE[LIES])
    source.grow(len(source.made.blocks))
    record = Record(source.made.genesis.genesis, chainmaker.member_of(OPTICIAN), Shelf())
    answer = encode(source.told(record))
    source.close()
    return answer, record


def take(record: Record, payload: bytes) -> None:
    """Take what a peer sent, as a node that asked for a history does."""
    told = parse_reply(payload)
    if not isinstance(told, Told) or told.seen is None:
        raise Malformed("answer", "another one than was asked for")
    record.take(told)


@given(data=st.data())
def test_no_byte_of_an_answer_may_differ(
    data: st.DataObject, answered: tuple[bytes, Record]
) -> None:
    """Whatever a peer sends instead is refused, and nothing breaks."""
    answer, record = answered
    near, before = data.draw(spoiled_bytes(answer)), record.tip
    if near != answer:
        with pytest.raises((LedgerError, Incomplete)):
            take(record, near)
        assert record.tip.header == before.header


def test_a_thing_whose_state_cannot_be_told_is_marked(tmp_path: Path) -> None:
    """As where an entry is on a claim of which the record holds no submission."""
    source = Source(tmp_path, MADE[LIES])
    source.grow(len(source.made.blocks))
    record, store = opened(source.made, chainmaker.member_of(OPTICIAN), tmp_path / "light")
    accepted = next(
        entry
        for executed in source.made.executed
        for entry in executed.entries
        if isinstance(parse_call(entry.call), ClaimAccept) and entry.outcome.code == APPLIED
    )
    state = Overlay(record.state)
    ((thing, reason),) = Partial(source.made.genesis.chain_id).run(state, [accepted], 99)
    call = parse_call(accepted.call)
    assert isinstance(call, ClaimAccept)
    assert thing == call.claim
    assert "ClaimAccept" in reason
    assert state.get(b"c" + thing) is None
    store.close()
    source.close()


def test_a_claim_is_told_no_more_than_the_settlement_that_it_follows(
    lied_to: tuple[Source, Record],
) -> None:
    source, record = lied_to
    source.follow(record)
    with ThreadPoolExecutor(1) as reader:
        kept = _KeptThings(record, reader)
        index = kept._chain.index
        (_, settlement), *_ = index.settlements_of(record.member, after=-1, limit=9)
        claims = [id_ for _, id_ in index.claims_of(record.member, after=-1, limit=99)]
        shown = {id_: kept._claim(id_) for id_ in claims}
        paid = [id_ for id_, each in shown.items() if each and each["settlement"]]
        assert 0 < len(paid) < len(claims)
        record.store.write({b"?" + settlement: b"an entry on it could not be followed"})
        for id_ in claims:
            if id_ in paid:
                with pytest.raises(Problem):
                    kept._claim(id_)
            else:
                assert kept._claim(id_) == shown[id_]
