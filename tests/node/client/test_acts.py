"""What follows decisions: prior agreements, disputes, giving up, over lost answers and again."""

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from contracts.calls import (
    AuthorisationCancel,
    AuthorisationRefuse,
    ClaimAbandon,
    ClaimDispute,
    ClaimGround,
    ClaimReject,
    ClaimWithdraw,
    Reason,
)
from contracts.questions import Kind
from node.client import disclosure as disclosures
from node.client import inbox, lots, questions
from node.client.acts import Acts
from node.client.agreements import authorisation_of, authorisations_of
from node.client.decisions import Office
from node.client.errors import NetworkRefused, NotReadable, NotVerified, Refused, Unreachable
from node.client.records import (
    AuthorisationRecord,
    ClaimRecord,
    Progress,
    TransactionRecord,
    every,
)
from node.client.request import ClaimRequest, parse_authorisation
from node.client.vault import Vault
from tests.contracts.world import id_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, as_request, example, request

T = TypeVar("T")
DAY = 86_400


def run(doing: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(doing)


@dataclass
class Quarter:
    """A shop and a payer at their vaults, and the node of both."""

    node: MemoryNode
    vaults: dict[str, Vault]

    def acts(self, name: str) -> Acts:
        sender = desk.sender(name, self.node)
        return Acts(self.vaults[name], self.node, sender, wait_s=5, say=desk.silent)

    def office(self, name: str) -> Office:
        sender = desk.sender(name, self.node)
        return Office(self.vaults[name], self.node, sender, wait_s=5, say=desk.silent)

    def bring(
        self,
        asked: ClaimRequest,
        type_: type[ClaimRecord] = ClaimRecord,
        prior: ClaimRecord | None = None,
    ) -> ClaimRecord:
        """Bring a claim of the shop, or a request, onto the chain."""
        vault, sender = self.vaults["shop"], desk.sender("shop", self.node)
        with vault.changes():
            lots.prepare(vault, sender, asked, MEMBERS.id_of, type_, prior=prior)
        going = lots.submit(
            vault, self.node, sender, [asked.reference], type_, wait_s=5, say=desk.silent
        )
        (record,) = run(going)
        return record

    def disclose(self, record: ClaimRecord) -> None:
        """Hand the payer what it may see, which verifies it."""
        self.take("insurer", self.disclosed(record))

    def disclosed(self, record: ClaimRecord) -> bytes:
        """Return what the payer may see, as its file."""
        shop = self.vaults["shop"]
        prescription = lots.prescription_of(shop, record)
        opening = lots.opening_of(record)
        return disclosures.make(record, prescription, opening, now=int(time.time())).to_json()

    def take(self, name: str, data: bytes) -> Any:  # noqa: ANN401
        reader = inbox.Reader(id_of(name), MEMBERS, None)
        return run(inbox.take(self.vaults[name], self.node, reader, data, "file.json"))

    def state(self, claim: ClaimRecord) -> str:
        return run(self.node.claim(of(claim))).state

    def reject(self, claim: ClaimRecord) -> None:
        call = ClaimReject(of(claim), Reason.INSURED_UNKNOWN, automatic=False)
        assert run(self.acts("insurer").make(call)).code == 0


@pytest.fixture
def quarter(tmp_path: Path) -> Iterator[Quarter]:
    with desk.open_vault(tmp_path, "shop") as shop, desk.open_vault(tmp_path, "insurer") as insurer:
        yield Quarter(MemoryNode(), {"shop": shop, "insurer": insurer})


def of(record: ClaimRecord) -> bytes:
    assert record.claim is not None
    return record.claim


def asking(**changes: Any) -> ClaimRequest:  # noqa: ANN401
    document = example()
    asked = document.pop("claim")
    asked["quote_date"] = asked.pop("invoice_date")
    asked.pop("authorisation", None)
    asked |= {"reference": "PEC-1", "insured": "ADH-1"} | changes
    document |= {
        "format": "depoli/authorisation/1",
        "prescription_reference": "ORD-1",
        "authorisation": asked,
    }
    return parse_authorisation(json.dumps(document).encode(), "pec.json", today=desk.TODAY)


def claiming(**changes: Any) -> ClaimRequest:  # noqa: ANN401
    return as_request(example() | {"prescription_reference": "ORD-1"} | changes)


# --- prior agreements -----------------------------------------------------------------------------


def test_a_prior_agreement_goes_from_question_to_the_claim_that_consumes_it(
    quarter: Quarter,
) -> None:
    record = quarter.bring(asking(), AuthorisationRecord)
    id_ = of(record)
    quarter.disclose(record)
    outcome, asked = run(quarter.acts("insurer").ask(id_, Kind.LAST_REIMBURSEMENT_DATE))
    assert outcome.code == 0
    read = questions.parse_asked(asked.to_json(), "question.json")
    view = run(authorisation_of(quarter.node, id_))
    read.verify(view.questions, view.answers)
    outcome, given = run(quarter.acts("shop").answer(read, "2024-02-29", b"its proof"))
    assert outcome.code == 0
    back = questions.parse_asked(given.to_json(), "answer.json")
    view = run(authorisation_of(quarter.node, id_))
    back.verify(view.questions, view.answers)
    assert back.answer is not None
    assert questions.said(back.answer) == "2024-02-29"
    acts = quarter.acts("insurer")
    assert run(acts.grant(id_, 5_000, int(time.time()) + DAY)).code == 0
    quarter.take("shop", acts.statement(id_, of_claim=False).to_json())
    kept = lots.load(quarter.vaults["shop"], "PEC-1", AuthorisationRecord)[1]
    assert kept.accepted is not None
    claim = quarter.bring(claiming(authorisation_reference="PEC-1"))
    assert claim.progress is Progress.COMMITTED
    assert run(authorisation_of(quarter.node, id_)).claim == of(claim).hex()

    async def listed(state: str | None) -> list[str]:
        return [view.id async for view in authorisations_of(quarter.node, state)]

    assert run(listed("consumed")) == run(listed(None)) == [id_.hex()]
    assert run(listed("granted")) == []


def test_nothing_is_granted_unseen(quarter: Quarter) -> None:
    record = quarter.bring(asking(), AuthorisationRecord)
    sent = len(quarter.node.sent)
    with pytest.raises(Refused, match="none of"):
        run(quarter.acts("insurer").grant(of(record), None, int(time.time()) + DAY))
    assert len(quarter.node.sent) == sent


def test_asking_and_answering_again_is_the_same_question_and_answer(quarter: Quarter) -> None:
    id_ = of(quarter.bring(asking(), AuthorisationRecord))
    kind = Kind.EARLY_RENEWAL_QUALIFIES
    outcome, first = run(quarter.acts("insurer").ask(id_, kind))
    again, second = run(quarter.acts("insurer").ask(id_, kind))
    assert (outcome.code, again.code, first) == (0, 0, second)
    shop = quarter.acts("shop")
    outcome, first = run(shop.answer(first, questions.UNPROVABLE))
    again, second = run(shop.answer(second, questions.UNPROVABLE))
    assert (outcome.code, again.code, first) == (0, 0, second)
    with pytest.raises(Refused, match="answered before, for good"):
        run(shop.answer(first, "yes", b"its proof"))


def test_an_answer_is_only_that_of_the_question_on_the_chain(quarter: Quarter) -> None:
    id_ = of(quarter.bring(asking(), AuthorisationRecord))
    _, asked = run(quarter.acts("insurer").ask(id_, Kind.EARLY_RENEWAL_QUALIFIES))
    view = run(authorisation_of(quarter.node, id_))
    other = questions.new_question(id_, Kind.EARLY_RENEWAL_QUALIFIES)
    with pytest.raises(NotVerified, match="question"):
        other.verify(view.questions, view.answers)
    with pytest.raises(NotVerified, match="answer"):
        questions.new_answer(asked, "no").verify(view.questions, view.answers)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.EARLY_RENEWAL_QUALIFIES, "perhaps"),
        (Kind.LAST_REIMBURSEMENT_DATE, "yes"),
        (Kind.LAST_REIMBURSEMENT_DATE, "1969-12-31"),
        (Kind.LAST_REIMBURSEMENT_DATE, "2024-02-30"),
    ],
)
def test_an_answer_is_of_the_questions_kind(kind: Kind, text: str) -> None:
    with pytest.raises(Refused):
        questions.parse_value(kind, text)


def test_there_are_two_questions_and_each_says_its_name() -> None:
    assert [questions.parse_kind(questions.name_of(kind)) for kind in Kind] == list(Kind)
    with pytest.raises(Refused, match="there are two"):
        questions.parse_kind("who-is-it")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "depoli/question/2"},
        {"question": "00"},
        {"question": 7},
        {"answer": "00"},
        {"remark": "urgent"},
    ],
)
def test_a_file_that_is_no_question_is_not_read(changes: dict[str, object]) -> None:
    made = questions.new_question(bytes(32), Kind.EARLY_RENEWAL_QUALIFIES)
    value = json.loads(made.to_json()) | changes
    with pytest.raises(NotReadable):
        questions.parse_asked(json.dumps(value).encode(), "question.json")


def test_a_request_says_whose_it_is_and_names_no_agreement() -> None:
    with pytest.raises(Refused, match="insured"):
        asking(insured=None)
    with pytest.raises(Refused, match="authorisation"):
        asking(authorisation="PEC-7")


def test_a_cancelled_request_leaves_its_marks_to_a_claim(quarter: Quarter) -> None:
    record = quarter.bring(asking(), AuthorisationRecord)
    with pytest.raises(Refused, match="claimed already, under PEC-1"):
        quarter.bring(claiming())
    cancel = AuthorisationCancel(of(record))
    assert run(quarter.acts("shop").give_up(cancel)).code == 0
    assert run(quarter.acts("shop").give_up(cancel)).code == 0
    assert quarter.bring(claiming()).progress is Progress.COMMITTED


def test_what_a_person_refused_is_not_reviewed_and_the_chain_says_so(quarter: Quarter) -> None:
    record = quarter.bring(asking(), AuthorisationRecord)
    refuse = AuthorisationRefuse(of(record), Reason.RIGHTS_CLOSED, automatic=False)
    assert run(quarter.acts("insurer").make(refuse)).code == 0
    assert run(authorisation_of(quarter.node, of(record))).state == "refused"


# --- claims ---------------------------------------------------------------------------------------


def test_a_rejected_claim_is_submitted_again_with_its_marks(quarter: Quarter) -> None:
    first = quarter.bring(claiming())
    quarter.reject(first)
    changed = example(reference="AGAIN", insured="ADH-2")
    again = as_request(changed | {"prescription_reference": "ORD-1"})
    second = quarter.bring(again, prior=first)
    assert second.progress is Progress.COMMITTED
    assert quarter.state(first) == "resubmitted"
    assert quarter.state(second) == "submitted"
    assert quarter.bring(again, prior=first).claim == second.claim


def test_a_claim_that_may_not_be_replaced_keeps_its_marks(quarter: Quarter) -> None:
    first = quarter.bring(claiming())
    again = as_request(example(reference="AGAIN") | {"prescription_reference": "ORD-1"})
    refused = quarter.bring(again, prior=first)
    assert refused.progress is Progress.REFUSED
    assert refused.refusal == "PRIOR_CLAIM_IN_WRONG_STATE"
    vault = quarter.vaults["shop"]
    for mark in first.marks.values():
        holder = lots.holder_of(vault, mark)
        assert holder is not None
        assert holder.reference == first.reference


def test_what_replaces_a_claim_is_for_the_same(quarter: Quarter) -> None:
    first = quarter.bring(claiming())
    quarter.reject(first)
    other = as_request(example(reference="AGAIN", leg="base") | {"prescription_reference": "ORD-1"})
    with pytest.raises(Refused, match="another payer or leg"):
        quarter.bring(other, prior=first)
    with pytest.raises(Refused, match="other parts, or another prescription"):
        quarter.bring(request(4, leg=example()["claim"]["leg"]), prior=first)


def test_an_abandoned_claim_leaves_its_marks_to_another(quarter: Quarter) -> None:
    first = quarter.bring(claiming())
    quarter.reject(first)
    abandon = ClaimAbandon(of(first))
    assert run(quarter.acts("shop").give_up(abandon)).code == 0
    assert lots.load(quarter.vaults["shop"], first.reference)[1].progress is Progress.ENDED
    again = as_request(example(reference="AGAIN") | {"prescription_reference": "ORD-1"})
    assert quarter.bring(again).progress is Progress.COMMITTED


def test_what_is_not_to_be_given_up_keeps_its_marks(quarter: Quarter) -> None:
    first = quarter.bring(claiming())
    outcome = run(quarter.acts("shop").give_up(ClaimAbandon(of(first))))
    assert outcome.name == "CLAIM_IN_WRONG_STATE"
    assert lots.load(quarter.vaults["shop"], first.reference)[1].progress is Progress.COMMITTED


def test_a_call_whose_answer_was_lost_is_not_made_twice(quarter: Quarter) -> None:
    claim = quarter.bring(claiming())
    quarter.reject(claim)
    dispute = ClaimDispute(of(claim), ClaimGround.REJECTION)
    quarter.node.lose_answers = 1
    with pytest.raises(Unreachable):
        run(quarter.acts("shop").make(dispute))
    kept = len(list(every(quarter.vaults["shop"], TransactionRecord)))
    assert run(quarter.acts("shop").make(dispute)).code == 0
    assert len(list(every(quarter.vaults["shop"], TransactionRecord))) == kept
    assert quarter.state(claim) == "rejection_disputed"


def test_where_a_node_pruned_what_came_of_a_call_that_is_said(quarter: Quarter) -> None:
    claim = quarter.bring(claiming())
    quarter.reject(claim)
    dispute = ClaimDispute(of(claim), ClaimGround.REJECTION)
    quarter.node.lose_answers = 1
    with pytest.raises(Unreachable):
        run(quarter.acts("shop").make(dispute))
    last, answer = next(reversed(quarter.node.decided.items()))
    quarter.node.decided[last] = msgspec.structs.replace(answer, outcomes=())
    said = f"in block {answer.height}, and the node keeps no more what came of it"
    with pytest.raises(NetworkRefused, match=said):
        run(quarter.acts("shop").make(dispute))
    assert run(quarter.acts("shop").make(dispute)).code == 0  # made again, it was the last


def test_a_call_that_came_too_late_is_signed_anew(quarter: Quarter) -> None:
    claim = quarter.bring(claiming())
    quarter.reject(claim)
    quarter.node.let_lapse = 1
    dispute = ClaimDispute(of(claim), ClaimGround.REJECTION)
    assert run(quarter.acts("shop").make(dispute)).code == 0


def test_done_before_by_us_is_done_and_by_another_it_is_not(quarter: Quarter) -> None:
    claim = quarter.bring(claiming())
    quarter.reject(claim)
    dispute = ClaimDispute(of(claim), ClaimGround.REJECTION)
    shop = quarter.acts("shop")
    assert [run(shop.make(dispute)).code for _ in range(2)] == [0, 0]
    withdraw = ClaimWithdraw(of(claim))
    assert [run(shop.make(withdraw)).code for _ in range(2)] == [0, 0]
    refused = run(shop.make(dispute))
    assert refused.name == "DISPUTED_BEFORE"


def test_a_rectified_document_takes_the_place_of_the_first(quarter: Quarter) -> None:
    claim = quarter.bring(claiming())
    shop = quarter.acts("shop")
    rectified = claiming(claim=example(insured="ADH-9")["claim"])
    before = claim.document
    quarter.disclose(claim)
    assert run(shop.supersede(claim.reference, rectified, claim.payer)).code == 0
    with pytest.raises(Refused, match="was rectified since its disclosure was verified"):
        run(quarter.office("insurer").accept([of(claim)]))
    kept = lots.load(quarter.vaults["shop"], claim.reference)[1]
    assert kept.insured == "ADH-9"
    quarter.disclose(kept)
    assert run(quarter.office("insurer").accept([of(kept)]))[0].code == 0
    claim.document = before
    with pytest.raises(NotVerified, match="claim document"):
        quarter.disclose(claim)
    dearer = claiming(claim=example(amounts={"lenses": 1, "frame": 1})["claim"])
    with pytest.raises(Refused, match="keeps reference, payer, leg and amounts"):
        run(shop.supersede(claim.reference, dearer, claim.payer))
