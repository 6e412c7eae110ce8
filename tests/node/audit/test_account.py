"""A report says of a chain what it holds, is signed or says that it is not, and can be printed."""

import json
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.calls import ClaimSubmit, Ground, SetParameters, SettlementDispute
from contracts.parameters import Parameters
from ledger.encoding import encode
from ledger.errors import BadSignature, Malformed
from ledger.keys import P256SigningKey, Signer, SigningKey
from ledger.transaction import created_id, parse
from node.audit.account import account
from node.audit.chronicle import Chronicle, Longest
from node.audit.errors import FalseFact
from node.audit.pairs import pairs
from node.audit.printed import LANGUAGES, page
from node.audit.report import MAX_LISTED
from node.audit.state import Memory
from node.audit.statement import FORMAT, MAX_NAME, Made, Statement, read, write
from tests.chainmaker import (
    Chain,
    chain_of,
    claim_of,
    deliberation,
    export_of,
    found,
    member_of,
    some_bytes,
    story,
    upheaval,
)
from tests.forgeries import forgeries
from tests.lifelines import lives

CHAIN, VOTES = story(), deliberation()
MADE = Made("A. Auditor", 1_800_000_000, "depoli 0")
KEY = SigningKey(some_bytes("auditor"))


def of(chain: Chain, folder: Path) -> dict[str, Any]:
    return account(chain.export(folder / "export"), chain.genesis, workers=1)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of(CHAIN, tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of(VOTES, tmp_path_factory.mktemp("votes"))


def test_it_says_which_chain_and_which_file_it_is_of(told: dict[str, Any]) -> None:
    content = export_of(CHAIN.genesis, CHAIN.blocks)
    assert told["export"] == {"bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert told["chain"]["last_block"] == CHAIN.state.header.hash.hex()
    assert told["chain"]["header"]["log_size"] == CHAIN.state.header.log_size
    assert told["counts"]["transactions"] == 19


def test_every_member_s_calls_and_refusals_are_counted(told: dict[str, Any]) -> None:
    entries = [entry for executed in CHAIN.executed for entry in executed.entries]
    for one in told["activity"]:
        own = [entry for entry in entries if entry.sender.hex() == one["member"]]
        assert one["entries"] == len(own) == one["applied"] + one["refused"]
        counts = one["calls"].values()
        assert sum(each["applied"] + each["refused"] for each in counts) == len(own)
        assert sum(one["refusals"].values()) == one["refused"]
    odd = told["exceptions"]["refused"]
    assert odd["count"] == len(odd["first"]) == sum(entry.outcome.code != 0 for entry in entries)
    assert sum(odd["reasons"].values()) == odd["count"]
    first = odd["first"][0]
    assert (first["height"], first["call"], first["reason"]) == (
        2,
        ClaimSubmit.__name__,
        "mark locked too late",
    )


def test_what_stands_where_is_counted(told: dict[str, Any]) -> None:
    assert told["things"]["claim"] == {"abandoned": 1, "settled": 2}
    assert told["things"]["settlement"] == {"cancelled": 1, "confirmed": 1}


def test_a_day_without_a_block_and_late_rounds_are_told(told: dict[str, Any]) -> None:
    assert told["exceptions"]["gaps"] == {
        "count": 1,
        "longest": [{"height": 8, "seconds": 86_400}],
    }
    assert told["exceptions"]["late_blocks"] == {
        "count": 2,
        "largest": [{"height": 4, "round": 2}, {"height": 6, "round": 1}],
    }


def test_an_hour_is_a_gap_and_the_time_before_the_first_block_is_none(tmp_path: Path) -> None:
    chain = Chain()
    for seconds in (9_999, 3_599, 3_600):
        chain.block(built_round=1, seconds=seconds)
    gaps = of(chain, tmp_path)["exceptions"]["gaps"]
    assert gaps == {"count": 1, "longest": [{"height": 3, "seconds": 3_600}]}


def test_proposals_stand_there_with_their_votes_and_what_became_of_them(
    voted: dict[str, Any],
) -> None:
    proposals = voted["proposals"]
    assert [one["number"] for one in proposals] == list(range(len(proposals)))
    by_kind = {one["kind"]: one for one in proposals}
    assert by_kind["rekey"]["about"] == ["shop-b"]
    assert by_kind["admit"]["about"][:2] == ["optician", "BE"]
    assert by_kind["admit"]["about"][2] == member_of("shop-c").hex()
    assert by_kind["parameters"]["changes"] == {
        "max_block_transactions": [Parameters().max_block_transactions, 2],
        "notice_blocks": [Parameters().notice_blocks, 3],
    }
    assert {one["state"] for one in proposals} == {"enacted", "failed", "withdrawn"}
    lost = next(one for one in proposals if one["state"] == "failed")
    assert not any(vote["agrees"] for vote in lost["votes"])
    assert {vote["organisation"] for vote in lost["votes"]} == {"federation", "insurer-b"}


def test_a_change_of_parameters_is_told_beside_those_of_its_time(tmp_path: Path) -> None:
    chain = Chain()
    before = Parameters(notice_blocks=3)
    chain.enact(SetParameters(before))
    chain.block(built_round=1)
    chain.enact(SetParameters(msgspec.structs.replace(before, max_block_transactions=9)))
    first, second = (one["changes"] for one in of(chain, tmp_path)["proposals"])
    assert first == {"notice_blocks": [Parameters().notice_blocks, 3]}
    assert second == {"max_block_transactions": [before.max_block_transactions, 9]}


def test_of_more_events_than_are_listed_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.audit.chronicle.MAX_EVENTS", 3)
    events = of(upheaval(), tmp_path)["member_events"]
    assert (events["count"], len(events["first"])) == (7, 3)


def test_members_stand_there_with_where_they_stood_and_their_keys(voted: dict[str, Any]) -> None:
    members = {one["organisation"]: one for one in voted["members"]}
    assert [each["status"] for each in members["shop-a"]["standings"]] == [
        "admitted",
        "suspended",
        "admitted",
        "suspended",
        "removed",
    ]
    assert [key["until_height"] is None for key in members["shop-b"]["keys"]] == [False, False]
    newcomer = members[member_of("shop-c").hex()]  # no genesis has its name
    assert (newcomer["country"], newcomer["status"]) == ("BE", "admitted")


def test_validators_and_their_offences_stand_there(tmp_path: Path) -> None:
    told = of(upheaval(), tmp_path)
    eras = told["validators"]
    assert eras[0]["from_height"] == 1
    assert [one["organisation"] for one in eras[0]["validators"]] == [
        "federation",
        "operator",
        "insurer-a",
        "insurer-b",
    ]
    assert len(eras) == 8
    assert len(told["evidence"]) == 7
    assert told["evidence"][0]["kind"] == "DoubleVote"
    assert "signed two different commits" in told["evidence"][0]["says"]
    events = told["member_events"]
    assert {one["call"] for one in events["first"]} == {
        "ValidatorJoin",
        "ValidatorLeave",
        "ValidatorReplace",
        "ValidatorRotate",
    }
    assert events["count"] == len(events["first"]) == len(eras) - 1
    assert "possession" not in json.dumps(events)


def test_what_is_overdue_and_what_is_disputed_is_told_with_who_should_act(tmp_path: Path) -> None:
    chain = Chain(found(parameters=Parameters(decision_due_s=60, answer_due_s=60)))
    before, claim = claim_of(chain, "shop-a", "insurer-a", "one")
    chain.block(chain.transaction("shop-a", *before))
    sent = chain.transaction("shop-a", claim)
    chain.block(sent)
    chain.block(built_round=1, seconds=61)
    told = of(chain, tmp_path)["exceptions"]
    assert told["overdue"]["by"] == {"insurer-a, claim": 1}
    assert told["overdue"]["first"][0]["id"] == created_id(sent.id, 0).hex()
    assert told["overdue"]["first"][0]["calls"] == ["ClaimAccept", "ClaimReject"]
    assert told["disputed"] == {"count": 0, "by": {}, "first": []}


def test_of_more_that_is_overdue_than_is_listed_the_earliest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.audit.account.MAX_LISTED", 2)
    chain = Chain(found(parameters=Parameters(decision_due_s=60)))
    sent = []
    for name in ("one", "two", "three", "four"):
        before, claim = claim_of(chain, "shop-a", "insurer-a", name)
        chain.block(chain.transaction("shop-a", *before))
        sent.append(chain.transaction("shop-a", claim))
        chain.block(sent[-1])
    chain.block(built_round=1, seconds=99)
    told = of(chain, tmp_path)["exceptions"]["overdue"]
    assert told["count"] == 4
    assert [one["id"] for one in told["first"]] == [created_id(one.id, 0).hex() for one in sent[:2]]
    assert told["first"][0]["due"] < told["first"][1]["due"]


def test_a_settlement_in_dispute_is_told(tmp_path: Path) -> None:
    chain = story()
    opened = chain.blocks[4].block.body.transactions[0]
    settlement = created_id(parse(opened).id, 0)
    short = chain_of(chain.genesis, chain.blocks[:6])  # it is announced, and not disputed yet
    dispute = SettlementDispute(settlement, Ground.PAYMENT_NOT_FOUND)
    short.block(short.transaction("shop-a", dispute))
    told = of(short, tmp_path)["exceptions"]["disputed"]
    assert told["by"] == {"settlement, disputed": 1}
    assert told["first"][0]["organisations"] == ["insurer-a", "shop-a"]


def test_the_same_export_gives_the_same_report(told: dict[str, Any], tmp_path: Path) -> None:
    assert of(CHAIN, tmp_path) == told


def test_a_chain_without_blocks_and_one_of_all_lives_have_a_report(tmp_path: Path) -> None:
    empty = of(Chain(), tmp_path)
    assert empty["chain"]["header"]["height"] == 0
    assert "no block yet" in page(Statement(empty, MADE, None), "en")
    full = of(lives(), tmp_path)
    assert full["things"]["authorisation"] == {"cancelled": 1, "consumed": 1}


def test_a_false_chain_has_none(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(export_of(CHAIN.genesis, forgeries(CHAIN)[0].blocks))
    with pytest.raises(FalseFact):
        account(path, CHAIN.genesis, workers=1)


# --- signed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, P256SigningKey(some_bytes("auditor"))])
def test_a_signed_report_is_read_back_with_its_signer(key: Signer, told: dict[str, Any]) -> None:
    statement = read(write(told, MADE, key))
    assert (statement.report, statement.made, statement.signer) == (told, MADE, key.public)
    assert len(statement.digest) == 64


def test_what_is_signed_is_as_the_page_for_auditors_says(told: dict[str, Any]) -> None:
    value = json.loads(write(told, MADE, KEY))
    both = {"made": value["made"], "report": value["report"]}
    text = json.dumps(both, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    message = b"depoli/sign/audit-report/1\x00" + sha256(text.encode()).digest()
    public = Ed25519PublicKey.from_public_bytes(KEY.public)
    public.verify(bytes.fromhex(value["signature"]["signature"]), message)


def test_a_report_that_nobody_signed_says_so(told: dict[str, Any]) -> None:
    assert read(write(told, MADE, None)).signer is None


def test_whatever_is_changed_in_a_signed_report_is_found(told: dict[str, Any]) -> None:
    text = write(told, MADE, KEY)
    for old, new in (
        ('"count": 1,', '"count": 0,'),
        ("A. Auditor", "B. Auditor"),
        ("shop-a", "shop-b"),
        ("applied", "refuged"),
    ):
        assert old in text
        with pytest.raises((BadSignature, Malformed)):
            read(text.replace(old, new, 1))
    other = json.loads(write(told, MADE, SigningKey(some_bytes("other"))))
    mixed = json.loads(text) | {"signature": other["signature"] | {"public": KEY.public.hex()}}
    with pytest.raises(BadSignature):
        read(json.dumps(mixed))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "depoli/audit-report/2"},
        {"more": 1},
        {"report": []},
        {"made": None},
        {"made": {"auditor": "A", "time": 1}},
        {"made": {"auditor": "A", "time": 1, "software": "s", "more": ""}},
        {"made": {"auditor": ["A"], "time": 1, "software": "s"}},
        {"made": {"auditor": "A", "time": True, "software": "s"}},
        {"made": {"auditor": "A\nsigned by  a court", "time": 1, "software": "s"}},
        {"made": {"auditor": "A\x1b[2J", "time": 1, "software": "s"}},
        {"made": {"auditor": "\ud800", "time": 1, "software": "s"}},
        {"made": {"auditor": "A", "time": 1, "software": "\u202e"}},
        {"made": {"auditor": "A" * (MAX_NAME + 1), "time": 1, "software": "s"}},
        {"signature": 1},
        {"signature": {}},
        {"signature": {"public": "zz", "signature": "00"}},
        {"signature": {"public": "00" * 32, "signature": "00" * 64, "algorithm": "rsa"}},
        {"signature": {"public": 7, "signature": [], "algorithm": "ed25519"}},
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    value = json.loads(write({}, MADE, None)) | change
    with pytest.raises(Malformed):
        read(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"format": 1.5}',
        '{"a":1,"a":2}',
        json.dumps({"format": FORMAT}),
        "[" * 99_999,
    ],
)
def test_what_is_no_json_of_ours_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read(text)


# --- printed --------------------------------------------------------------------------------------


class _Tags(HTMLParser):
    """Sees that tags are closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_whole_and_needs_nothing_from_elsewhere(
    language: str, voted: dict[str, Any]
) -> None:
    text = page(Statement(voted, MADE, KEY.public), language)
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.links == []
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert KEY.public.hex() in text
    assert f'lang="{language}"' in text


def test_whatever_a_name_says_is_no_markup(voted: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>&\"'"
    value = json.loads(json.dumps(voted).replace("shop-a", json.dumps(evil)[1:-1]))
    text = page(Statement(value, replace(MADE, auditor=evil), None), "en")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_page_of_every_chain_can_be_made_in_every_language(tmp_path: Path) -> None:
    for chain in (story(), upheaval(), lives(), Chain()):
        value = of(chain, tmp_path)
        for language in LANGUAGES:
            assert "</html>" in page(Statement(value, MADE, None), language)


def test_a_long_table_is_cut_and_says_so(told: dict[str, Any]) -> None:
    value = json.loads(json.dumps(told))
    value["members"] *= 100
    assert "200 more stand in the file of this report." in page(Statement(value, MADE, None), "en")


# --- in little memory -----------------------------------------------------------------------------


def test_of_many_numbers_the_largest_stay_and_all_are_counted() -> None:
    longest = Longest()
    for number in range(1_000):
        longest.add(number % 500, number)
    assert longest.count == 1_000
    assert longest.largest()[:3] == [(499, 499), (499, 999), (498, 498)]
    assert len(longest.largest()) == MAX_LISTED


def test_only_the_first_of_many_refusals_are_kept(tmp_path: Path) -> None:
    chain = Chain()
    _, claim = claim_of(chain, "shop-a", "insurer-a", "one")
    chain.block(chain.transaction("shop-a", *[claim] * (MAX_LISTED + 1)))
    odd = of(chain, tmp_path)["exceptions"]["refused"]
    assert (odd["count"], len(odd["first"])) == (MAX_LISTED + 1, MAX_LISTED)
    assert Chronicle(chain.genesis.genesis).refused == []


def test_all_pairs_of_a_state_are_met_in_order_however_many_there_are() -> None:
    memory = Memory()
    keys = sorted({b"a", *(b"a" + encode(number) for number in range(3_000)), b"b" + bytes(40)})
    memory.apply({key: key for key in keys})
    assert [key for key, _ in pairs(memory)] == keys
    assert [key for key, _ in pairs(memory, b"a")] == keys[:-1]
    assert list(pairs(memory, b"c")) == []
