"""Erasing: what goes, who is asked, what he answers, and that the same again finishes it."""

import base64
import copy
import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import calls, registry
from contracts import erasure as on_chain
from contracts.calls import ErasureOutcome
from contracts.erasure import State
from contracts.registry import Status
from contracts.state import Overlay
from ledger.transaction import created_id
from node.client import answering, doomed, erasures, holdings, lots, prescriptions, transactions
from node.client.acts import Acts
from node.client.answering import Answerer
from node.client.client import CallOutcome
from node.client.doomed import NothingToErase, Plan, Selection
from node.client.erasing import NOT_ASKED, Eraser
from node.client.errors import NotReadable, NotVerified, Undecided, Unreachable
from node.client.records import (
    AskedRecord,
    ClaimRecord,
    ErasureRecord,
    PrescriptionRecord,
    ReceivedRecord,
    Record,
    SettlementRecord,
    TallyRecord,
    TransactionRecord,
    Wanted,
    every,
    find,
    renew,
    update,
)
from node.client.settling import Order
from node.client.vault import Kind, Rotation
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.burglary import forced
from tests.node.client.street import NUMBERS, Street, run

ONE = "F2025-0003"  # the references of prescriptions are those of the claims
TODAY = "2026-11-27"
LONG_AGO = "2000-01-01"


@dataclass
class Parish(Street):
    """A street on which one is forgotten, on request."""

    letters: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    is_reached: bool = True

    def eraser(self) -> Eraser:
        async def deliver(recipient: bytes, erasure: bytes, message: bytes) -> bool:
            self.letters.append((recipient, erasure, message))
            return self.is_reached

        sender = desk.sender("shop", self.node)
        return Eraser(self.shop_vault, self.node, sender, deliver, wait_s=5, say=self.said.append)

    def answerer(self, keep_days: int = 0) -> Answerer:
        sender = desk.sender("insurer", self.node)
        return Answerer(
            self.payer_vault,
            self.node,
            sender,
            keep_days=keep_days,
            wait_s=5,
            say=self.said.append,
        )

    def settled(self) -> None:
        """Let all claims be accepted, settled and confirmed."""
        self.accept(*self.claims)
        ours = self.settlements("insurer")
        record = run(ours.create(Order(id_of("shop"))))
        self.confirm(ours.statement(record.id))

    def plan(self, selection: Selection) -> Plan:
        return run(self.eraser().plan(selection))[0]

    def erase(self, selection: Selection) -> ErasureRecord:
        eraser = self.eraser()
        eraser.erase(selection, run(eraser.plan(selection))[0], TODAY)
        run(eraser.go_on())
        return self.note()

    def note(self) -> ErasureRecord:
        *_, (_, record) = every(self.shop_vault, ErasureRecord)
        return record

    def answer(self, *, keep_days: int = 0, today: str = TODAY) -> None:
        """Let the payer read its letters and answer."""
        for recipient, _, message in self.letters:
            assert recipient == id_of("insurer")
            asked = run(answering.check(self.node, recipient, message, "letter"))
            with self.payer_vault.changes():
                answering.keep_asked(self.payer_vault, asked)
        run(self.answerer(keep_days).go_on(today))

    def kept(self, name: str, *types: type[Record]) -> list[str]:
        return [type_.__name__ for type_ in types for _ in every(self.vault(name), type_)]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Parish]]:
    """Return a street as it is submitted, and once it is settled: made once, and copied."""
    found = {}
    for name in ("submitted", "settled"):
        folder = tmp_path_factory.mktemp(name)
        made = Parish.of(folder)
        if name == "settled":
            made.settled()
        made.close()
        found[name] = folder, made
    return found


def copied(once: dict[str, tuple[Path, Parish]], name: str, folder: Path) -> Parish:
    before, made = once[name]
    for file in before.iterdir():
        shutil.copy(file, folder / file.name)
    shop, payer = (desk.open_vault(folder, name) for name in ("shop", "payer"))
    return Parish(copy.deepcopy(made.node), shop, payer, list(made.claims))


@pytest.fixture
def parish(once: dict[str, tuple[Path, Parish]], tmp_path: Path) -> Iterator[Parish]:
    made = copied(once, "submitted", tmp_path)
    yield made
    made.close()


@pytest.fixture
def settled(once: dict[str, tuple[Path, Parish]], tmp_path: Path) -> Iterator[Parish]:
    made = copied(once, "settled", tmp_path)
    yield made
    made.close()


def test_all_of_a_prescription_goes_and_its_payer_erases_it_too(settled: Parish) -> None:
    claim = settled.claims[0]
    others = len(settled.kept("shop", PrescriptionRecord, ClaimRecord))
    note = settled.erase(Selection((ONE,)))
    assert note.is_final
    assert not note.is_over
    shop = settled.shop_vault
    assert find(shop, PrescriptionRecord, ONE) is None
    assert find(shop, ClaimRecord, ONE) is None
    assert find(shop, ClaimRecord, claim.hex()) is None
    assert len(settled.kept("shop", PrescriptionRecord, ClaimRecord)) == others - 2
    (asked,) = note.requests
    assert asked.erasure is not None
    found = on_chain.load(settled.node.world.state, asked.erasure)
    assert found is not None
    assert (found.requester, found.recipient) == (id_of("shop"), id_of("insurer"))
    assert (found.commitment, found.state) == (asked.commitment, State.REQUESTED)

    settled.answer()
    assert find(settled.payer_vault, ReceivedRecord, claim.hex()) is None
    assert len(settled.kept("insurer", ReceivedRecord)) == 2
    run(settled.eraser().go_on())
    note = settled.note()
    assert (note.is_over, note.is_final) == (True, True)
    assert [(each.outcome, each.wanted) for each in note.requests] == [("ERASED", None)]


def test_what_is_left_of_an_erasure_says_nothing_of_what_was_erased(settled: Parish) -> None:
    claim = settled.record(settled.claims[0])
    held = find(settled.shop_vault, PrescriptionRecord, ONE)
    assert held is not None
    secrets = [held[1].secret, claim.blinding, claim.claim or b"", claim.commitment]
    secrets += [held[1].commitment, *claim.marks.values()]
    settled.erase(Selection((ONE,)))
    settled.answer()
    run(settled.eraser().go_on())
    for vault in (settled.shop_vault, settled.payer_vault):
        left = [content for kind in Kind for _, content in vault.all(kind)]
        assert left
        for content in left:
            said = content.decode()
            assert ONE not in said
            assert not [each for each in secrets if each.hex() in said or _in(each, said)]
    assert not settled.eraser().was_begun(Selection((ONE,)))


def _in(value: bytes, text: str) -> bool:
    """Return whether JSON says these bytes, as msgspec writes them."""
    return json.loads(msgspec.json.encode(value)) in text


def test_the_message_says_what_is_meant_and_the_commitment_does_not(settled: Parish) -> None:
    settled.erase(Selection((ONE,)))
    ((_, _, message),) = settled.letters
    _, wanted = erasures.parse_message(message, "letter")
    assert (wanted.subject, wanted.stays) == (settled.claims[0], None)
    assert wanted.commitment == settled.note().requests[0].commitment
    other = erasures.want(wanted.subject)
    assert other.commitment != wanted.commitment


@pytest.mark.parametrize("what", ["not reached", "reached"])
def test_a_message_is_kept_until_it_is_handed_over(
    settled: Parish, tmp_path: Path, what: str
) -> None:
    settled.is_reached = what == "reached"
    note = settled.erase(Selection((ONE,)))
    assert (note.requests[0].wanted is None) == settled.is_reached
    old = Path(shutil.copy(settled.shop_vault.files.path, tmp_path / "old.sqlite"))
    settled.is_reached = True
    run(settled.eraser().go_on())
    assert len(settled.letters) == 1 + (what == "not reached")
    assert settled.note().requests[0].wanted is None
    salt = erasures.parse_message(settled.letters[0][2], "letter")[1].salt
    ring = settled.shop_vault.files.keyring
    assert base64.b64encode(salt) not in b"".join(forced(old, ring, tmp_path / "forced"))
    settled.answer()
    run(settled.eraser().go_on())
    assert settled.note().requests[0].wanted is None


def test_the_same_again_finishes_what_was_begun_and_afterwards_there_is_nothing(
    settled: Parish,
) -> None:
    chosen = Selection((ONE,))
    settled.erase(chosen)
    with pytest.raises(NothingToErase, match=ONE):
        settled.plan(chosen)
    assert settled.eraser().was_begun(chosen)
    assert not settled.eraser().was_begun(Selection(("F2025-0004",)))
    before = settled.note()
    run(settled.eraser().go_on())
    assert settled.note() == before
    assert len(list(every(settled.shop_vault, ErasureRecord))) == 1


def test_a_request_whose_answer_was_lost_is_not_made_twice(settled: Parish) -> None:
    eraser, chosen = settled.eraser(), Selection((ONE,))
    eraser.erase(chosen, settled.plan(chosen), TODAY)
    settled.node.lose_answers = 1
    with pytest.raises(Unreachable):
        run(eraser.go_on())
    assert settled.note().requests[0].erasure is None
    run(settled.eraser().go_on())
    assert settled.note().requests[0].erasure is not None
    prefix = on_chain.LIFE.prefix
    assert sum(key[:1] == prefix for key in settled.node.world.state.pairs) == 1


def test_requests_that_came_too_late_are_signed_anew_and_each_is_answered(settled: Parish) -> None:
    settled.node.let_lapse, before = 1, len(settled.node.sent)
    note = settled.erase(Selection(tuple(f"F2025-{number:04}" for number in NUMBERS)))
    late, anew = settled.node.sent[before:]
    assert late != anew
    assert {each.transaction for each in note.requests} == {anew}
    assert len({each.erasure for each in note.requests} - {None}) == len(settled.claims)
    settled.answer()
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.ERASED)] * len(settled.claims)
    assert settled.kept("insurer", ReceivedRecord) == []
    run(settled.eraser().go_on())
    assert settled.note().is_over


def test_all_of_one_insured_goes_at_both_sides(settled: Parish) -> None:
    insured = settled.record(settled.claims[1]).insured
    assert insured is not None
    same = [claim for claim in settled.claims if settled.record(claim).insured == insured]
    plan = settled.plan(Selection(insured=insured))
    assert len(plan.prescriptions) == len(plan.told) == len(same)
    settled.erase(Selection(insured=insured))
    left = [record.insured for _, record in every(settled.shop_vault, ClaimRecord)]
    assert insured not in left
    payer = doomed.plan(settled.payer_vault, Selection(insured=insured))
    assert payer.received == [claim.hex() for claim in same]
    assert not payer.told


def test_what_is_older_than_a_day_goes_and_the_day_itself_stays(settled: Parish) -> None:
    days = sorted(settled.record(claim).invoice_date for claim in settled.claims)
    for vault in (settled.shop_vault, settled.payer_vault):
        for day in days:
            older = sum(each < day for each in days)
            try:
                plan = doomed.plan(vault, Selection(before=day))
            except NothingToErase:
                assert not older
            else:
                assert len(plan.prescriptions or plan.received) == older
        with pytest.raises(NothingToErase):
            doomed.plan(vault, Selection(before=LONG_AGO))


def test_what_is_open_is_named(parish: Parish) -> None:
    for bring, state in ((None, "submitted"), (parish.claims[0], "accepted")):
        if bring is not None:
            parish.accept(bring)
        (open_,) = run(parish.eraser().plan(Selection((ONE,))))[1]
        assert (open_.what, open_.name, open_.state) == ("claim", ONE, state)
    insured = parish.record(parish.claims[0]).insured
    sender = desk.sender("insurer", parish.node)
    theirs = Eraser(parish.payer_vault, parish.node, sender, None, wait_s=5, say=desk.silent)  # type: ignore[arg-type] # nothing is sent
    open_ = run(theirs.plan(Selection(insured=insured)))[1][0]
    assert (open_.name, open_.state) == (parish.claims[0].hex(), "accepted")


def test_what_was_settled_is_open_no_more(settled: Parish) -> None:
    assert run(settled.eraser().plan(Selection((ONE,))))[1] == []


def test_nothing_is_erased_by_a_plan_of_another_vault(parish: Parish) -> None:
    chosen = Selection((ONE, "F2025-0004"))
    plan = parish.plan(chosen)
    with parish.shop_vault.changes():
        found = lots.load(parish.shop_vault, ONE)
        parish.shop_vault.erase(found[0])
    with pytest.raises(Undecided, match="changed meanwhile"):
        parish.eraser().erase(chosen, plan, TODAY)
    assert find(parish.shop_vault, PrescriptionRecord, ONE) is not None


def test_a_payer_that_is_no_member_now_is_not_asked_for_ever(settled: Parish) -> None:
    changes = Overlay(settled.node.world.state)
    registry.suspend(changes, id_of("insurer"), 1)
    settled.node.world.state.apply(changes.changes)
    assert registry.member(settled.node.world.state, id_of("insurer")).status is Status.SUSPENDED  # type: ignore[union-attr]
    note = settled.erase(Selection((ONE,)))
    (request,) = note.requests
    assert (request.outcome, request.wanted, request.erasure) == (NOT_ASKED, None, None)
    assert (note.is_over, note.is_final) == (True, True)


# --- who is asked ---------------------------------------------------------------------------------


def outcomes(parish: Parish) -> list[tuple[State, ErasureOutcome | None]]:
    prefix, state = on_chain.LIFE.prefix, parish.node.world.state
    ids = [key[1:] for key in state.pairs if key[:1] == prefix]
    found = [on_chain.load(state, id_) for id_ in ids]
    return [(each.state, each.outcome) for each in found if each is not None]


def test_what_the_law_has_kept_is_said_so_and_erased_later(settled: Parish) -> None:
    claim = settled.claims[0]
    invoiced = settled.record(claim).invoice_date
    settled.erase(Selection((ONE,)))
    settled.answer(keep_days=3_650)
    assert outcomes(settled) == [(State.HELD, ErasureOutcome.HELD_BY_LAW)]
    assert find(settled.payer_vault, ReceivedRecord, claim.hex()) is not None
    ((_, asked),) = every(settled.payer_vault, AskedRecord)
    assert asked.until is not None
    assert asked.until[:4] == str(int(invoiced[:4]) + 10) or asked.until[:4] > invoiced[:4]
    run(settled.eraser().go_on())
    assert not settled.note().is_over
    settled.answer(keep_days=3_650, today=asked.until)
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.ERASED)]
    assert find(settled.payer_vault, ReceivedRecord, claim.hex()) is None
    run(settled.eraser().go_on())
    assert settled.note().is_over


def test_who_holds_nothing_says_so(settled: Parish) -> None:
    settled.erase(Selection((ONE,)))
    with settled.payer_vault.changes():
        found = find(settled.payer_vault, ReceivedRecord, settled.claims[0].hex())
        assert found is not None
        settled.payer_vault.erase(found[0])
    settled.answer()
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.NOTHING_HELD)]


def test_what_is_not_settled_waits_for_that(parish: Parish) -> None:
    parish.accept(parish.claims[0])
    parish.erase(Selection((ONE,)))
    parish.answer()
    assert outcomes(parish) == [(State.REQUESTED, None)]
    assert find(parish.payer_vault, ReceivedRecord, parish.claims[0].hex()) is not None
    assert any("is accepted: erased later" in each for each in parish.said)


def test_what_another_command_heard_meanwhile_is_not_unlearned(settled: Parish) -> None:
    """Two commands go on with one erasure: the second finishes while the first still tells."""
    first = settled.eraser()
    deliver = first._deliver

    async def slowly(recipient: bytes, erasure: bytes, message: bytes) -> bool:
        first._deliver = deliver
        await settled.eraser().go_on()
        settled.letters = [(recipient, erasure, message)]
        asked = await answering.check(settled.node, recipient, message, "letter")
        with settled.payer_vault.changes():
            answering.keep_asked(settled.payer_vault, asked)
        await settled.answerer().go_on(TODAY)
        await settled.eraser().go_on()
        assert settled.note().is_over
        return True

    first._deliver = slowly
    chosen = Selection((ONE,))
    first.erase(chosen, settled.plan(chosen), TODAY)
    run(first.go_on())
    assert (settled.note().is_over, settled.note().is_final) == (True, True)
    assert settled.note().requests[0].outcome == "ERASED"


def test_what_changed_after_the_new_key_was_made_is_not_called_final(
    settled: Parish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command drops a message between the rotation and the note of it."""
    eraser, chosen, vault = settled.eraser(), Selection((ONE,)), settled.shop_vault
    eraser.erase(chosen, settled.plan(chosen), TODAY)
    real = vault.rotate

    def rotate() -> Rotation:
        found = real()
        ((number, record),) = every(vault, ErasureRecord)
        record.requests[0].wanted = None
        with vault.changes():
            renew(vault, number, record)
        return found

    monkeypatch.setattr(vault, "rotate", rotate)
    eraser._make_final()
    assert not settled.note().is_final
    monkeypatch.undo()
    eraser._make_final()
    assert settled.note().is_final


def test_two_commands_that_answer_at_once_answer_once(settled: Parish) -> None:
    settled.erase(Selection((ONE,)))
    ((recipient, _, message),) = settled.letters
    asked = run(answering.check(settled.node, recipient, message, "letter"))
    with settled.payer_vault.changes():
        answering.keep_asked(settled.payer_vault, asked)
    slow = settled.answerer()
    outcome = slow._outcome

    async def slowly(record: AskedRecord, today: str) -> ErasureOutcome | None:
        found = await outcome(record, today)
        await settled.answerer().go_on(TODAY)
        return found

    slow._outcome = slowly  # type: ignore[method-assign]
    run(slow.go_on(TODAY))
    ((_, asked),) = every(settled.payer_vault, AskedRecord)
    assert (asked.outcome, asked.is_stated, asked.subject) == (ErasureOutcome.ERASED, True, None)
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.ERASED)]


def test_what_is_to_be_stated_since_is_not_called_stated(
    settled: Parish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one command states that the law holds it, another erases it, and is not heard."""
    settled.erase(Selection((ONE,)))
    real = transactions.once

    async def slowly(*given: Any, **options: Any) -> list[CallOutcome]:  # noqa: ANN401
        said = await real(*given, **options)
        monkeypatch.undo()
        settled.node.lose_requests = 1
        with pytest.raises(Unreachable):
            await settled.answerer().go_on(TODAY)
        return said

    monkeypatch.setattr(answering, "once", slowly)
    settled.answer(keep_days=36_500)
    ((_, asked),) = every(settled.payer_vault, AskedRecord)
    assert (asked.outcome, asked.is_stated) == (ErasureOutcome.ERASED, False)
    settled.answer()
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.ERASED)]


def test_a_vault_of_before_the_request_finds_it_on_the_chain(settled: Parish) -> None:
    """A backup was made after the erasure, and before it was asked for; then the disk died."""
    eraser, chosen = settled.eraser(), Selection((ONE,))
    eraser.erase(chosen, settled.plan(chosen), TODAY)
    run(eraser.go_on())
    note = settled.note()
    assert settled.letters
    (number, _), *_ = every(settled.shop_vault, ErasureRecord)
    salt = json.loads(settled.letters[0][2])["salt"]
    before = msgspec.structs.replace(
        note.requests[0],
        erasure=None,
        transaction=None,
        wanted=Wanted(settled.claims[0], None, bytes.fromhex(salt)),
    )
    with settled.shop_vault.changes():
        update(settled.shop_vault, number, msgspec.structs.replace(note, requests=[before]))
    run(settled.eraser().go_on())
    assert settled.note().requests[0].erasure == note.requests[0].erasure
    assert settled.letters[0] == settled.letters[1]


def test_an_answer_that_was_lost_is_not_another(settled: Parish) -> None:
    settled.erase(Selection((ONE,)))
    settled.node.lose_answers = 1
    with pytest.raises(Unreachable):
        settled.answer()
    ((_, asked),) = every(settled.payer_vault, AskedRecord)
    assert (asked.outcome, asked.is_stated, asked.subject) == (ErasureOutcome.ERASED, False, None)
    with settled.payer_vault.changes():  # as if what it sent were forgotten
        for number, _ in list(every(settled.payer_vault, TransactionRecord)):
            settled.payer_vault.erase(number)
    settled.answer()
    ((_, asked),) = every(settled.payer_vault, AskedRecord)
    assert asked.is_stated
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.ERASED)]


def test_nobody_else_has_us_erase_what_a_shop_disclosed(settled: Parish) -> None:
    wanted = erasures.want(settled.claims[0])
    request = calls.ErasureRequest(id_of("insurer"), wanted.commitment)
    made = settled.node.world.transaction("rival", request)
    assert settled.node.world.block(made).outcomes[0].code == 0
    message = erasures.message(created_id(made.id, 0), wanted)
    settled.letters = [(id_of("insurer"), b"", message)]
    settled.answer()
    assert outcomes(settled) == [(State.STATED, ErasureOutcome.NOTHING_HELD)]
    assert find(settled.payer_vault, ReceivedRecord, settled.claims[0].hex()) is not None


def test_what_nobody_asked_on_the_chain_is_refused(settled: Parish) -> None:
    wanted = erasures.want(settled.claims[0])
    message = erasures.message(bytes(32), wanted)
    with pytest.raises(NotVerified, match="nobody asked for it"):
        run(answering.check(settled.node, id_of("insurer"), message, "letter"))
    settled.erase(Selection((ONE,)))
    ((_, id_, good),) = settled.letters
    assert run(answering.check(settled.node, id_of("insurer"), good, "letter")).erasure == id_
    for member, said in (("insurer", erasures.message(id_, wanted)), ("mutual", good)):
        with pytest.raises(NotVerified, match="another one was asked for"):
            run(answering.check(settled.node, id_of(member), said, "letter"))


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "depoli/erasure/2"},
        {"salt": "00"},
        {"subject": None},
        {"erasure": "0"},
        {"stays": "x"},
        {"more": 1},
    ],
)
def test_no_other_message_asks_for_an_erasure(changed: dict[str, object]) -> None:
    value = json.loads(erasures.message(bytes(32), erasures.want(bytes(32)))) | changed
    with pytest.raises(NotReadable):
        erasures.parse_message(json.dumps(value).encode(), "letter")


# --- what was rectified ---------------------------------------------------------------------------


def rectified(parish: Parish) -> tuple[bytes, bytes]:
    """Rectify a prescription and its claim; return the commitments that they had."""
    old = parish.record(parish.claims[0])
    held = lots.prescription_of(parish.shop_vault, old)
    new = dataclasses.replace(held.prescription, right=held.prescription.left)
    acts = Acts(
        parish.shop_vault, parish.node, desk.sender("shop", parish.node), wait_s=5, say=desk.silent
    )
    superseding = prescriptions.supersede(
        parish.shop_vault, acts, desk.sender("shop", parish.node), ONE, new
    )
    assert run(superseding).code == 0
    return held.commitment, old.commitment


def test_the_earlier_document_of_what_was_rectified_goes_once_nothing_open_rests_on_it(
    parish: Parish,
) -> None:
    old, _ = rectified(parish)
    chosen = Selection((ONE,), earlier=True)
    with pytest.raises(NothingToErase):
        parish.plan(chosen)
    parish.settled()
    plan = parish.plan(chosen)
    assert plan.told == [(id_of("insurer"), parish.claims[0], None)]
    parish.erase(chosen)
    record = lots.prescription_of(parish.shop_vault, parish.record(parish.claims[0]))
    assert record.earlier == {}
    assert record.commitment != old
    parish.answer()
    assert find(parish.payer_vault, ReceivedRecord, parish.claims[0].hex()) is None
    with pytest.raises(NothingToErase):
        parish.plan(chosen)


@pytest.mark.parametrize("was_told_anew", [False, True])
def test_a_payer_erases_the_document_that_a_claim_had_before(
    parish: Parish, tmp_path: Path, *, was_told_anew: bool
) -> None:
    claim = parish.claims[0]
    parish.take(parish.file(claim))
    old = Path(shutil.copy(parish.payer_vault.files.path, tmp_path / "old.sqlite"))
    document = desk.example(3)
    document["claim"]["invoice_date"] = "2025-02-03"
    acts = Acts(
        parish.shop_vault, parish.node, desk.sender("shop", parish.node), wait_s=5, say=desk.silent
    )
    assert run(acts.supersede(ONE, desk.as_request(document), id_of("insurer"))).code == 0
    if was_told_anew:
        parish.take(parish.file(claim))
    chosen = Selection((ONE,), earlier=True)
    stays = parish.record(claim).commitment
    assert parish.plan(chosen).told == [(id_of("insurer"), claim, stays)]
    parish.erase(chosen)
    assert not parish.record(claim).is_rectified
    parish.answer()
    assert outcomes(parish) == [(State.STATED, ErasureOutcome.ERASED)]
    kept = find(parish.payer_vault, ReceivedRecord, claim.hex())
    assert (kept is not None) == was_told_anew
    told = b"".join(forced(old, parish.payer_vault.files.keyring, tmp_path / "forced"))
    assert b'"disclosure":' not in told  # there was one, in the copy


def test_every_kind_of_record_is_thought_about() -> None:
    """Whoever adds one says in `holdings` of what it is, or here that it is of nobody."""
    of_nobody = {SettlementRecord, ErasureRecord, AskedRecord, TallyRecord}
    kinds = set(_subclasses(Record))
    assert kinds == holdings.ABOUT.keys() | of_nobody
    assert {each.KIND for each in kinds} == set(Kind)


def _subclasses(type_: type[Record]) -> Iterator[type[Record]]:
    for each in type_.__subclasses__():
        yield each
        yield from _subclasses(each)
