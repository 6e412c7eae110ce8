"""Control by sampling: who is drawn, who looks, and every verdict that is none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.control import DELAY, Finding, Verdict, is_drawn, judge
from contracts.early import attestation_id, parse_attestation
from ledger.encoding import encode
from ledger.keys import Role, SigningKey
from node.client import answers, controls, signers
from node.client.agreements import authorisation_of
from node.client.controls import Opening
from node.client.errors import NotFound, NotReadable, NotVerified, Refused
from node.client.inbox import Reader, check
from node.client.inbox import take as take_file
from node.client.questions import Asked
from node.client.records import ControlRecord
from tests.contracts.world import id_of, key_of
from tests.node.client.desk import MEMBERS
from tests.node.client.test_acts import run
from tests.node.client.test_proofs import Proofs, now


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Proofs]:
    made = Proofs.at(tmp_path)
    yield made
    for vault in made.vaults.values():
        vault.close()


def attested(town: Proofs, control: int = 1_000) -> Asked:
    """Let the shop attest, and the payer take it."""
    asked, proof = town.qualifying(control)
    given = town.answered(asked, "yes", proof)
    with town.vaults["shop"].changes():
        answers.keep_answered(town.vaults["shop"], given)
    town.verified(given)
    return given


def drawn(town: Proofs, control: int = 1_000) -> ControlRecord:
    """Return what the shop keeps of an attestation, after the block that draws it."""
    given = attested(town, control)
    for _ in range(DELAY):
        executed = town.node.world.block()
        town.node.headers[executed.header.height] = executed.header.hash.hex()
    return controls.load(town.vaults["shop"], given.authorisation)[1]


def opened(town: Proofs) -> Opening:
    return controls.open_to(town.vaults["shop"], drawn(town), id_of("doctor"), now=now())


def judged(opening: Opening, name: str = "doctor", role: Role = Role.TRANSACTION) -> Verdict:
    member = "insurer" if role is Role.HUMAN else name
    says = opening.attestation.says
    finding = Finding(
        says.chain_id,
        says.optician,
        says.recipient,
        says.authorisation,
        attestation_id(opening.attestation),
        conform=True,
    )
    return judge(finding, id_of(member), key_of(name, role), role)


def refused(town: Proofs, verdict: Verdict, error: type[Exception] = NotVerified) -> str:
    with pytest.raises(error) as caught:
        run(controls.check(town.vaults["insurer"], town.node, verdict, town.chain_id))
    return str(caught.value)


def test_shop_payer_and_anybody_compute_one_draw(town: Proofs) -> None:
    record = drawn(town, 500)
    theirs = controls.load(town.vaults["insurer"], record.authorisation)[1]
    mine, other = (run(controls.draw(town.node, each)) for each in (record, theirs))
    assert mine == other
    assert mine.header == town.node.world.chain.header.hash
    assert mine.is_drawn is is_drawn(mine.header, mine.answer, 500)
    view = run(authorisation_of(town.node, record.authorisation))
    assert mine.answer.hex() in view.answers  # it stood there before the block was made


def test_before_the_block_nobody_knows_and_nobody_looks(town: Proofs) -> None:
    given = attested(town)
    record = controls.load(town.vaults["shop"], given.authorisation)[1]
    found = run(controls.draw(town.node, record))
    assert (found.header, found.is_drawn) == (None, None)
    with pytest.raises(Refused, match="not made yet"):
        run(controls.require_drawn(town.node, record))


def test_what_was_not_answered_with_is_not_drawn(town: Proofs) -> None:
    asked, _ = town.qualifying()
    record = controls.load(town.vaults["shop"], asked.authorisation)[1]
    with pytest.raises(NotFound, match="not answered"):
        run(controls.draw(town.node, record))
    with pytest.raises(NotFound, match="nothing was attested"):
        controls.load(town.vaults["shop"], bytes(32))


def test_a_node_that_tells_another_story_of_the_answer_draws_nothing(town: Proofs) -> None:
    record = drawn(town)
    assert record.answer is not None
    view = run(authorisation_of(town.node, record.authorisation))
    with pytest.raises(NotVerified, match="does not show when"):
        run(answers.height_of(town.node, view, bytes(32)))


def test_a_professional_sees_both_prescriptions_and_no_secret(town: Proofs) -> None:
    opening = controls.parse_opening(opened(town).to_json(), "opened.json")
    read = controls.read(opening, now=now())
    assert read is not None
    for values in read:
        assert "right_sphere" in values
        assert not any(name.startswith("mark_") or name == "ordinal" for name in values)
    kept = controls.load(town.vaults["shop"], opening.attestation.says.authorisation)[1]
    assert [each.member for each in kept.opened] == [id_of("doctor")]
    assert kept.opened[0].at <= now()
    slip = controls.slip_of(opening)
    assert controls.read(slip, now=now()) is None
    with pytest.raises(NotVerified, match="read no more"):
        controls.read(opening, now=opening.expires + 1)


def test_an_opening_of_other_prescriptions_is_noticed(town: Proofs) -> None:
    opening = opened(town)
    for changed in (
        Opening(opening.attestation, opening.expires, opening.after, opening.before),
        Opening(opening.attestation, opening.expires, "x", opening.after),
    ):
        with pytest.raises(NotVerified):
            controls.read(changed, now=now())


def test_only_the_shop_that_attested_opens(town: Proofs) -> None:
    record = drawn(town)
    theirs = controls.load(town.vaults["insurer"], record.authorisation)[1]
    with pytest.raises(Refused, match="nobody else"):
        controls.open_to(town.vaults["insurer"], theirs, None, now=now())


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"},
        {"more": 1},
        {"expires": "1"},
        {"expires": -1},
        {"before": 1},
        {"facts": {"last": 1}},
        {"attestation": "zz"},
        {"attestation": "00"},
        {"attestation": 1},
    ],
)
def test_a_file_that_opens_nothing_is_said(town: Proofs, changes: dict[str, Any]) -> None:
    value = json.loads(opened(town).to_json()) | changes
    with pytest.raises(NotReadable):
        controls.parse_opening(json.dumps(value).encode(), "opened.json")


# --- verdicts -------------------------------------------------------------------------------------


def test_a_verdict_is_taken_by_the_payer_it_is_for(town: Proofs) -> None:
    data = controls.verdict_json(judged(opened(town)))
    verdict = controls.read_verdict(data, "verdict.json")
    vault = town.vaults["insurer"]
    reader = Reader(id_of("insurer"), MEMBERS, None)
    with pytest.raises(NotVerified, match="is the verdict of a control"):
        run(take_file(vault, town.node, reader, data, "verdict.json"))
    checked = run(check(vault, town.node, reader, data, "verdict.json", id_of("doctor")))
    with vault.changes():
        checked.keep()
    kept = controls.load(vault, verdict.finding.authorisation)[1]
    assert kept.verdict == encode(verdict)
    with pytest.raises(NotVerified, match="another member"):
        run(check(vault, town.node, reader, data, "verdict.json", id_of("rival")))
    other = Reader(id_of("mutual"), MEMBERS, None)
    with pytest.raises(NotVerified, match="for another member"):
        run(check(town.vaults["mutual"], town.node, other, data, "verdict.json"))


def test_a_person_with_a_key_of_its_own_may_judge(town: Proofs) -> None:
    verdict = judged(opened(town), "anne", Role.HUMAN)
    run(controls.check(town.vaults["insurer"], town.node, verdict, town.chain_id))


@pytest.mark.parametrize("name", ["insurer", "rival", "mutual"])
def test_nobody_judges_with_the_key_of_a_machine_but_a_prescriber(town: Proofs, name: str) -> None:
    assert "no prescriber" in refused(town, judged(opened(town), name))


def test_who_attested_does_not_judge(town: Proofs) -> None:
    assert "who attested" in refused(town, judged(opened(town), "shop"))


def test_a_verdict_that_was_changed_or_is_about_something_else_is_none(town: Proofs) -> None:
    opening = opened(town)
    good = judged(opening)
    turned = msgspec.structs.replace(good.finding, conform=False)
    assert "does not verify" in refused(town, msgspec.structs.replace(good, finding=turned))
    for field in ("chain_id", "attestation"):
        other = msgspec.structs.replace(good.finding, **{field: bytes(32)})
        made = judge(other, id_of("doctor"), key_of("doctor"), Role.TRANSACTION)
        assert "something else" in refused(town, made)
    elsewhere = msgspec.structs.replace(good.finding, authorisation=bytes(32))
    made = judge(elsewhere, id_of("doctor"), key_of("doctor"), Role.TRANSACTION)
    assert "nothing was attested" in refused(town, made, NotFound)


def test_a_verdict_that_was_given_stands(town: Proofs) -> None:
    """A shop that is told "not conform" finds nobody whose word takes its place."""
    opening = opened(town)
    vault, first = town.vaults["insurer"], judged(opening, "anne", Role.HUMAN)
    run(controls.check(vault, town.node, first, town.chain_id))
    with vault.changes():
        controls.keep_verdict(vault, first)
    run(controls.check(vault, town.node, first, town.chain_id))  # the same again is no other
    assert "stands" in refused(town, judged(opening))


def test_a_verdict_of_a_stranger_or_under_an_old_key_is_none(town: Proofs) -> None:
    opening = opened(town)
    good = judged(opening)
    stranger = judge(good.finding, bytes(16), SigningKey(bytes(32)), Role.TRANSACTION)
    assert "no member" in refused(town, stranger)
    town.revoke("doctor")
    assert "no longer" in refused(town, good)


def test_a_verdict_on_what_was_not_drawn_is_none(town: Proofs) -> None:
    record = drawn(town, 0)
    opening = Opening(parse_attestation(record.attestation), now())
    assert "no block drew it" in refused(town, judged(opening))


@pytest.mark.parametrize("value", [{"format": "depoli/verdict/1"}, {"format": "x", "verdict": ""}])
def test_a_file_without_a_verdict_is_said(value: dict[str, str]) -> None:
    with pytest.raises(NotReadable):
        controls.read_verdict(json.dumps(value).encode(), "verdict.json")
    broken = {"format": "depoli/verdict/1", "verdict": "00"}
    with pytest.raises(NotReadable):
        controls.read_verdict(json.dumps(broken).encode(), "verdict.json")


# --- whose signature counts -----------------------------------------------------------------------


def test_of_who_is_not_admitted_no_key_counts(town: Proofs) -> None:
    view = run(town.node.member(id_of("doctor")))
    assert len(signers.in_force(view)) == 1
    assert signers.in_force(msgspec.structs.replace(view, status="suspended")) == {}


def test_who_acted_for_a_member_signs_for_it_unless_that_key_was_its_own(town: Proofs) -> None:
    view = run(town.node.member(id_of("shop")))
    other = SigningKey(bytes(32)).public.hex()
    assert len(signers.in_force(view, other)) == 2
    town.revoke("shop")
    after = run(town.node.member(id_of("shop")))
    former = key_of("shop").public.hex()
    assert bytes.fromhex(former) not in signers.in_force(after, former).values()
