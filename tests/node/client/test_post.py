"""What is sent by post arrives once, whatever is lost; what is false of it is refused by name."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import registry
from contracts.state import Overlay
from ledger import envelope as envelopes
from ledger.keys import Algorithm, Role, verify
from ledger.validators import MemberId
from node.client import acknowledgement, deliveries, sealing, words_back
from node.client import post as posts
from node.client.acknowledgement import Acknowledgement, Verdict, parse_acknowledgement
from node.client.deliveries import FIRST_RENEWAL_S, FIRST_RETRY_S, LIFETIME_S, NoSealingKey
from node.client.errors import NotReadable, NotVerified, Refused, Unreachable
from node.client.inbox import Reader
from node.client.mail import PostView
from node.client.post import SKEW_S
from node.client.records import DeliveryRecord, ReceivedRecord, Way, every
from tests.contracts.world import id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS
from tests.node.client.letterbox import Correspondence, Killed, PostedNode
from tests.node.client.street import run


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Correspondence]:
    made = Correspondence.of(tmp_path_factory.mktemp("post"))
    yield made
    made.close()


@pytest.fixture
def two(sent: Correspondence, tmp_path: Path) -> Iterator[Correspondence]:
    made = sent.again(tmp_path / "two")
    yield made
    made.close()


def test_a_disclosure_is_sent_taken_and_signed_for_by_both(two: Correspondence) -> None:
    (waiting,) = two.send()
    assert waiting.state is Way.HANDED_ON
    (taken,) = two.collect().taken
    (done,) = two.collect("shop").acknowledged
    assert (done.state, done.envelope, done.subject) == (Way.ACKNOWLEDGED, b"", two.claims[0])
    assert (taken.subject, taken.purpose) == (two.claims[0], "reimbursement")
    assert taken.acknowledgement == done.acknowledgement
    word = parse_acknowledgement(taken.acknowledgement, "a", two.node.world.chain_id)
    assert (word.envelope, word.sender, word.recipient) == (done.id, id_of("shop"), done.recipient)
    word.verify(key_of("insurer").public)
    # What the payer holds of the sender's signature needs nothing of what was disclosed.
    verify(taken.key, envelopes.signing_bytes(taken.id), taken.signature, what="envelope")
    assert taken.key == key_of("shop").public
    assert not two.node.box.waiting
    assert len(list(every(two.vaults["insurer"], ReceivedRecord))) == 1


def test_the_same_again_is_one_delivery(two: Correspondence) -> None:
    two.send()
    two.send(two.letter(), two.letter(1))
    assert len(two.deliveries()) == 2
    two.collect()
    two.collect("shop")
    assert two.send()[0].state is Way.ACKNOWLEDGED
    assert len(two.node.box.all_time) == 4  # two, and their acknowledgements
    assert len(two.deliveries()) == 2


def test_one_that_our_node_refuses_hinders_no_other(two: Correspondence) -> None:
    letters = [two.letter(index) for index in range(3)]
    two.node.box.lost = 3
    contents = [envelopes.parse(each.envelope).body.content for each in two.send(*letters)]
    two.node.box.refused.add(contents[1])
    two.now += 2 * FIRST_RENEWAL_S
    states = [(each.state, each.reason) for each in two.resend()]
    assert states == [(Way.HANDED_ON, None), (Way.HANDED_ON, "too much waits"),
                      (Way.HANDED_ON, None)]  # fmt: skip
    assert [text for text in two.said if "does not take the post" in text]
    assert len(two.collect().taken) == 2


def test_what_goes_together_is_written_and_told_together(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (posts, words_back):
        monkeypatch.setattr(module, "MAX_LETTERS", 2)
    two.send(*(two.letter(index) for index in range(3)))
    before = two.fate.steps
    assert len(two.collect().taken) == 3
    # Of one page: one write, two requests with our words, one that lets the node forget.
    assert two.fate.steps - before == 2 + 2 * 2 + 2
    before = two.fate.steps
    assert len(two.collect("shop").acknowledged) == 3
    assert two.fate.steps - before == 2 + 2


def test_a_word_that_our_node_refuses_hinders_no_other(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.send(*(two.letter(index) for index in range(3)))
    monkeypatch.setattr(sealing, "seal_to", lambda plain, *_: plain)
    made, refused = acknowledgement.acknowledge, two.node.box.refused

    def acknowledge(*arguments: Any, **named: Any) -> Acknowledgement:  # noqa: ANN401
        word = made(*arguments, **named)
        if len(refused) < 2:
            refused.add(word.to_json())
        return word

    monkeypatch.setattr(acknowledgement, "acknowledge", acknowledge)
    assert len(two.collect().taken) == 3
    assert len([text for text in two.said if "is told nothing: too much waits" in text]) == 2
    waiting = [each for each, _ in two.node.box.waiting.values()]
    assert waiting == [id_of("shop")]  # and the node forgot what came


def test_of_another_document_another_delivery_is_made(two: Correspondence) -> None:
    two.send()
    two.send(two.letter(version=b"rectified"))
    assert len(two.deliveries()) == 2


def test_what_is_lost_on_its_way_is_sent_again_and_taken_once(two: Correspondence) -> None:
    two.node.box.lost = 1
    two.send()
    assert not two.collect().taken
    assert two.resend() == []
    two.now += 2 * FIRST_RENEWAL_S
    (record,) = two.resend()
    assert record.state is Way.HANDED_ON
    two.collect()
    assert two.collect("shop").acknowledged[0].state is Way.ACKNOWLEDGED
    assert len(two.deliveries()) == len(two.accesses()) == 1


def test_an_acknowledgement_that_is_lost_comes_again_and_is_the_same(two: Correspondence) -> None:
    two.send()
    two.node.box.lost = 1
    (taken,) = two.collect().taken
    assert not two.collect("shop").acknowledged
    two.now += 2 * FIRST_RENEWAL_S
    two.resend()
    again = two.collect()
    assert (again.taken, again.refused) == ([], [])
    (done,) = two.collect("shop").acknowledged
    assert done.acknowledgement == taken.acknowledgement
    assert len(two.accesses()) == len(two.deliveries()) == 1
    assert two.resend() == []


def test_what_our_node_did_not_hand_on_is_asked_for_soon(two: Correspondence) -> None:
    two.node.box.is_slow = True
    (record,) = two.send()
    assert record.state is Way.WAITING
    assert two.now + FIRST_RETRY_S <= record.due <= two.now + 2 * FIRST_RETRY_S
    for _ in range(30):
        two.now = two.deliveries()[0].due
        assert len(two.resend()) == 1
    (record,) = two.deliveries()
    assert record.due - two.now >= deliveries.LAST_RETRY_S
    assert record.id == envelopes.parse(record.envelope).id  # the same all the time


def test_without_a_node_it_is_kept_and_sent_later(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> PostView:
        raise Unreachable("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(type(two.node), "post", gone)
        (record,) = two.send()
        assert (record.state, record.attempts) == (Way.WAITING, 0)
        with pytest.raises(Unreachable):
            two.resend()
    assert two.deliveries()[0].state is Way.WAITING
    assert two.resend()[0].state is Way.HANDED_ON


def test_what_nobody_acknowledges_expires_and_can_be_sent_anew(two: Correspondence) -> None:
    two.node.box.lost = 1
    two.send()
    two.now += LIFETIME_S + 1
    assert two.resend() == []
    (record,) = two.deliveries()
    assert (record.state, record.envelope) == (Way.EXPIRED, b"")
    assert two.send()[0].state is Way.HANDED_ON
    assert len(two.deliveries()) == 2
    two.collect()
    assert [each.state for each in two.deliveries()] == [Way.EXPIRED, Way.HANDED_ON]


def test_nothing_goes_by_post_that_cannot_be_sealed_or_answered(two: Correspondence) -> None:
    with pytest.raises(NoSealingKey, match=r"client\.toml"):
        run(two.post_of("shop", reader=Reader(id_of("shop"), MEMBERS, None)).send([two.letter()]))
    with pytest.raises(NoSealingKey, match="rival has no sealing key"):
        two.send(two.letter(recipient=id_of("rival")))
    assert two.deliveries() == []
    assert two.node.box.all_time == []


def test_what_is_too_long_is_refused_before_it_is_kept(two: Correspondence) -> None:
    with pytest.raises(Refused, match="65536"):
        two.send(two.letter(plain=b"x" * (50 << 10)))
    assert two.deliveries() == []


def test_a_kill_at_any_step_of_either_loses_nothing_and_doubles_nothing(
    sent: Correspondence, tmp_path: Path
) -> None:
    steps = 0
    for at in range(1, 100):
        two = sent.again(tmp_path / str(at))
        two.fate.at = at
        killed = not _correspond(two)
        for _ in range(3):  # whoever was killed is started again, and time goes by
            two.now += 2 * FIRST_RENEWAL_S
            _correspond(two)
        (delivery,) = two.deliveries()
        (access,) = two.accesses()
        assert delivery.state is Way.ACKNOWLEDGED, at
        assert delivery.acknowledgement == access.acknowledgement, at
        assert len(list(every(two.vaults["insurer"], ReceivedRecord))) == 1, at
        assert two.node.box.waiting == {}, at
        two.close()
        if not killed:
            break
        steps = at
    assert steps > 12  # commits and messages of both


def _correspond(two: Correspondence) -> bool:
    """Let both do what they do until nothing is left; return whether nobody was killed."""
    try:
        two.send()
        two.resend()
        two.collect()
        two.collect("shop")
    except Killed:
        two.fate.at = None
        two.open()
        return False
    return True


def test_a_kill_while_all_are_lost_leaves_one_of_each(two: Correspondence) -> None:
    two.node.box.lost = 3
    for at in range(2, 30, 3):
        two.fate.steps, two.fate.at = 0, at
        _correspond(two)
        two.now += 2 * FIRST_RENEWAL_S
    two.fate.at = None
    two.resend()
    two.collect()
    two.collect("shop")
    assert [each.state for each in two.deliveries()] == [Way.ACKNOWLEDGED]
    assert len(two.accesses()) == 1


# --- what is false -------------------------------------------------------------------------------


def hand_in(two: Correspondence, raw: bytes, to: str = "insurer") -> None:
    """Let a member's node hold this, whoever brought it."""
    two.node.box.count += 1
    two.node.box.waiting[two.node.box.count] = (id_of(to), raw)


def written(two: Correspondence, plain: bytes, sender: str = "shop", **changes: Any) -> bytes:  # noqa: ANN401
    """Return what a member writes to the payer, in an envelope."""
    us = changes.pop("us", desk.sender(sender, two.node))
    public = key_of(changes.pop("sealed_to", "insurer"), Role.SEALING).public
    recipient = changes.pop("recipient", id_of("insurer"))
    content = changes.pop("content", sealing.seal_to(plain, recipient, public))
    expires = changes.pop("expires", two.now + LIFETIME_S)
    return deliveries.write(us, recipient, content, expires=expires).raw


def refusal_of(two: Correspondence, raw: bytes) -> str:
    """Return with what word the payer refuses an envelope; nothing of it is kept."""
    hand_in(two, raw)
    result = two.collect()
    assert result.taken == []
    assert not list(every(two.vaults["insurer"], ReceivedRecord))
    (record,) = result.refused
    assert not run(two.node.of("insurer").mail()).envelopes
    word = parse_acknowledgement(record.acknowledgement, "a", two.node.world.chain_id)
    return f"{record.verdict}: {word.fact}" if word.fact else record.verdict


def test_what_is_for_another_member_is_refused(two: Correspondence) -> None:
    letter = two.letter()
    other = json.loads(letter.plain) | {"recipient": "00" * 16}
    assert refusal_of(two, written(two, json.dumps(other).encode())) == "wrong recipient"
    raw = written(two, letter.plain, recipient=id_of("rival"), sealed_to="insurer")
    hand_in(two, raw, "rival")
    astray = run(two.post_of("insurer", node=two.node.of("rival")).collect())
    assert [each.verdict for each in astray.refused] == ["wrong recipient"]


def test_what_has_expired_is_refused_and_within_the_skew_of_clocks_it_is_not(
    two: Correspondence,
) -> None:
    letter = two.letter()
    late = written(two, letter.plain, expires=two.now - SKEW_S - 1)
    assert refusal_of(two, late) == "expired"
    hand_in(two, written(two, letter.plain, expires=two.now - SKEW_S + 1))
    assert len(two.collect().taken) == 1


def test_a_disclosure_that_has_expired_inside_is_refused(two: Correspondence) -> None:
    value = json.loads(two.letter().plain) | {"expires": 1}
    assert refusal_of(two, written(two, json.dumps(value).encode())) == "expired"


def test_what_is_sealed_to_another_or_not_at_all_is_not_readable(two: Correspondence) -> None:
    plain = two.letter().plain
    assert refusal_of(two, written(two, plain, sealed_to="shop")) == "not readable"
    assert refusal_of(two, written(two, plain, content=plain)) == "not readable"
    assert refusal_of(two, written(two, b'{"format": "depoli/other/1"}')) == "not readable"
    assert refusal_of(two, written(two, b"no JSON")) == "not readable"


def test_a_claim_that_is_not_on_the_chain_is_refused(two: Correspondence) -> None:
    value = json.loads(two.letter().plain) | {"claim": "00" * 32}
    raw = written(two, json.dumps(value).encode())
    assert refusal_of(two, raw) == "not on the chain"


def test_what_does_not_hold_is_refused_with_the_false_fact(two: Correspondence) -> None:
    value = json.loads(two.letter().plain)
    raw = written(two, json.dumps(value | {"cents": value["cents"] - 1}).encode())
    assert refusal_of(two, raw) == "not verified: amount"
    assert refusal_of(two, written(two, json.dumps(value).encode(), "rival")) == (
        "not verified: sender"
    )


def test_what_is_refused_is_told_and_can_be_sent_anew(two: Correspondence) -> None:
    value = json.loads(two.letter().plain)
    false = json.dumps(value | {"cents": value["cents"] - 1}).encode()
    two.send(two.letter(plain=false))
    two.collect()
    (told,) = two.collect("shop").acknowledged
    assert (told.state, told.reason) == (Way.REFUSED, "not verified: amount")
    assert told.acknowledgement
    two.send()
    assert len(two.collect().taken) == 1
    two.collect("shop")
    assert [each.state for each in two.deliveries()] == [Way.REFUSED, Way.ACKNOWLEDGED]


def test_a_byte_that_is_changed_anywhere_is_noticed_and_nobody_answers_for_it(
    two: Correspondence,
) -> None:
    two.send()
    ((_, raw),) = two.node.box.waiting.values()
    two.node.box.waiting.clear()
    for at in range(0, len(raw), 97):
        hand_in(two, bytes((*raw[:at], raw[at] ^ 1, *raw[at + 1 :])))
    assert len(two.node.box.waiting) > 50
    result = two.collect()
    assert (result.taken, result.refused, result.left) == ([], [], 0)
    assert two.accesses() == []
    assert two.deliveries()[0].state is Way.HANDED_ON  # nobody's word ended it
    two.node.box.waiting.clear()
    hand_in(two, raw)
    assert len(two.collect().taken) == 1


def test_a_key_that_the_sender_never_had_or_has_no_more_signs_nothing(two: Correspondence) -> None:
    plain = two.letter().plain
    stranger = dataclasses.replace(desk.sender("shop", two.node), key=key_of("rival"))
    hand_in(two, written(two, plain, us=stranger))
    nobody = dataclasses.replace(desk.sender("shop", two.node), member=MemberId(bytes(16)))
    hand_in(two, written(two, plain, us=nobody))
    sealing_key = dataclasses.replace(
        desk.sender("shop", two.node), key=key_of("shop", Role.SEALING), role=Role.SEALING
    )
    hand_in(two, written(two, plain, us=sealing_key))
    two.collect()
    assert two.accesses() == []
    assert [text for text in two.said if "never had" in text]
    assert [text for text in two.said if "signs no post" in text]
    assert [text for text in two.said if "no member" in text]


def test_a_key_that_was_ended_signs_nothing_and_the_next_one_does(two: Correspondence) -> None:
    state = Overlay(two.node.world.state)
    old, new = key_of("shop/old"), key_of("shop/new")
    for key, until in ((old, 1), (new, None)):
        algorithm = Algorithm.ED25519
        registry.register(state, id_of("shop"), Role.TRANSACTION, algorithm, key.public, 1, until)
    two.node.world.state.apply(state.changes)
    plain = two.letter().plain
    shop = desk.sender("shop", two.node)
    hand_in(two, written(two, plain, us=dataclasses.replace(shop, key=old)))
    assert two.collect().taken == []
    assert "has no more" in two.said[-1]
    assert two.accesses() == []
    hand_in(two, written(two, plain, us=dataclasses.replace(shop, key=new)))
    assert len(two.collect().taken) == 1


def test_a_second_word_of_the_recipient_changes_nothing(two: Correspondence) -> None:
    two.send()
    two.collect()
    (done,) = two.collect("shop").acknowledged
    insurer = desk.sender("insurer", two.node)
    other = acknowledgement.acknowledge(
        insurer, done.id, id_of("shop"), Verdict.NOT_VERIFIED, "amount", now=two.now
    )
    raw = written(two, other.to_json(), us=insurer, recipient=id_of("shop"), sealed_to="shop")
    hand_in(two, raw, "shop")
    assert two.collect("shop").acknowledged == []
    assert two.deliveries() == [done]
    assert two.node.box.waiting == {}


def test_who_acts_for_the_sender_is_known_by_what_our_node_tells(two: Correspondence) -> None:
    us = dataclasses.replace(desk.sender("shop", two.node), key=key_of("operator"))
    raw = written(two, two.letter().plain, us=us)
    for told in (None, key_of("rival").public):
        two.node.box.told = told
        hand_in(two, raw)
        assert two.collect().taken == []
        assert "never had" in two.said[-1]
    two.node.box.told = us.key.public
    hand_in(two, raw)
    (taken,) = two.collect().taken
    assert (taken.sender, taken.key) == (id_of("shop"), us.key.public)


def test_what_our_node_may_not_have_seen_yet_is_left_and_judged_later(two: Correspondence) -> None:
    value = json.loads(two.letter().plain) | {"claim": "00" * 32}
    hand_in(two, written(two, json.dumps(value).encode()))
    post = two.post_of("insurer", patience_s=60)
    assert run(post.collect()).left == 1
    assert two.accesses() == []
    two.now += 61
    assert [each.verdict for each in run(post.collect()).refused] == ["not on the chain"]


def test_an_acknowledgement_is_believed_of_the_recipient_alone(two: Correspondence) -> None:
    two.send()
    (record,) = two.deliveries()
    rival, insurer = (desk.sender(name, two.node) for name in ("rival", "insurer"))
    posing = dataclasses.replace(rival, member=insurer.member)
    for writes, signs, fact in (
        (rival, rival, "never sent to that member"),
        (rival, posing, "signs its envelope with the same key"),
        (posing, posing, "never had"),
        (insurer, posing, "signs its envelope with the same key"),
    ):
        word = acknowledgement.acknowledge(
            signs, record.id, id_of("shop"), Verdict.TAKEN, "", now=two.now
        )
        raw = written(two, word.to_json(), us=writes, recipient=id_of("shop"), sealed_to="shop")
        hand_in(two, raw, "shop")
        assert two.collect("shop").acknowledged == []
        assert fact in two.said[-1]
    assert two.deliveries()[0].state is Way.HANDED_ON


def test_a_word_that_was_given_is_given_again_under_the_key_of_today(two: Correspondence) -> None:
    two.send()
    two.node.box.lost = 1
    two.collect()
    state = Overlay(two.node.world.state)
    new = key_of("insurer/2")
    registry.register(state, id_of("insurer"), Role.TRANSACTION, Algorithm.ED25519, new.public, 1)
    two.node.world.state.apply(state.changes)
    us = dataclasses.replace(desk.sender("insurer", two.node), key=new)
    two.now += 2 * FIRST_RENEWAL_S
    two.resend()
    run(two.post_of("insurer", us=us).collect())
    (done,) = two.collect("shop").acknowledged
    (access,) = two.accesses()
    assert done.acknowledgement == access.acknowledgement
    word = parse_acknowledgement(access.acknowledgement, "a", two.node.world.chain_id)
    word.verify(new.public)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "perhaps"},
        {"verdict": None},
        {"fact": "amount"},
        {"verdict": "not verified"},
        {"verdict": "not verified", "fact": "A" * 41},
        {"time": -1},
        {"time": True},
        {"envelope": "00"},
        {"more": 1},
        {"format": "depoli/acknowledgement/2"},
    ],
)
def test_an_acknowledgement_that_is_none_is_not_read(
    two: Correspondence, change: dict[str, Any]
) -> None:
    us = desk.sender("insurer", two.node)
    word = acknowledgement.acknowledge(us, bytes(32), us.member, Verdict.TAKEN, "", now=1)
    value = json.loads(word.to_json())
    assert parse_acknowledgement(json.dumps(value).encode(), "a", us.chain_id) == word
    with pytest.raises(NotReadable):
        parse_acknowledgement(json.dumps(value | change).encode(), "a", us.chain_id)


@pytest.mark.parametrize("field", ["verdict", "fact", "time", "envelope", "sender", "salt"])
def test_every_word_of_an_acknowledgement_is_signed(two: Correspondence, field: str) -> None:
    us = desk.sender("insurer", two.node)
    word = acknowledgement.acknowledge(
        us, bytes(32), us.member, Verdict.NOT_VERIFIED, "amount", now=1
    )
    word.verify(us.key.public)
    other: dict[str, Any] = {"verdict": Verdict.EXPIRED, "fact": "mark", "time": 2}
    changed = dataclasses.replace(word, **{field: other.get(field, b"\1" * 32)})
    with pytest.raises(NotVerified):
        changed.verify(us.key.public)


def test_what_is_erased_while_it_is_sent_stops_nothing(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.node.box.is_slow = True
    two.send(two.letter(), two.letter(1))
    two.now += 2 * FIRST_RETRY_S
    post = type(two.node).post

    async def meanwhile(node: PostedNode, sent: list[bytes]) -> object:
        vault = two.vaults["shop"]
        (number, _), *_ = every(vault, DeliveryRecord)
        with vault.changes():
            vault.erase(number)
        return await post(node, sent)

    monkeypatch.setattr(PostedNode, "post", meanwhile)
    assert len(two.resend()) == 2
    (left,) = two.deliveries()
    assert left.attempts == 2


def test_refusals_without_end_fill_no_vault_and_are_answered(
    two: Correspondence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posts, "MAX_REFUSALS", 1)
    bad = [two.letter(n, version=bytes([n]), plain=b'{"format": "depoli/x/1"}') for n in range(3)]
    two.send(*bad, two.letter())
    came = two.collect()
    assert (len(came.refused), len(came.taken), len(two.accesses())) == (3, 1, 2)
    states = [each.state for each in two.collect("shop").acknowledged]
    assert states == [Way.REFUSED] * 3 + [Way.ACKNOWLEDGED]
    two.now += 86_400
    two.send(two.letter(2, version=b"9", plain=b'{"format": "depoli/y/1"}'))
    two.collect()
    assert len(two.accesses()) == 3
