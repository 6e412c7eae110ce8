"""The two proofs from shop to payer: what is learnt, and every use of them that is wrong."""

import json
import time
from base64 import urlsafe_b64decode as b64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import documents
from contracts import early as attestations
from contracts.calls import KeyRotate, PrescriptionRevoke
from contracts.documents import REIMBURSEMENT
from contracts.early import Qualifies, parse_attestation
from contracts.keyring import possession_bytes
from contracts.questions import Kind
from contracts.reference import TableKind, in_force, put_in_force
from contracts.reimbursement import Source, parse_last_reimbursement
from contracts.sd_jwt import make_disclosure, parse_disclosure
from contracts.state import Overlay
from ledger.encoding import encode
from ledger.keys import Role, SigningKey, key_id
from node.client import answers, day_proofs, early, inbox, lots, prescriptions, questions
from node.client.agreements import AuthorisationView, authorisation_of
from node.client.answers import Answered
from node.client.day_proofs import Carried
from node.client.errors import NotReadable, NotVerified, Refused
from node.client.inbox import Reader
from node.client.packaged import table_hashes
from node.client.questions import Asked
from node.client.records import AuthorisationRecord, ClaimRecord, ControlRecord, Facts, find
from node.client.request import HandedPrescription
from node.client.transactions import Sender
from tests.contracts.world import id_of, key_of
from tests.node.client import desk
from tests.node.client.desk import MEMBERS, MemoryNode, example
from tests.node.client.test_acts import Quarter, asking, of, run

NAMES = ("shop", "insurer", "mutual", "doctor")
DAY_TEXT = "2025-02-23"  # of the example's invoice
FACTS = Facts(last="2023-01-10", on="2025-03-01", age=40, has_frame=True)


@dataclass
class Proofs(Quarter):
    """The same, with a second payer, a prescriber, and the table of renewals in force."""

    @classmethod
    def at(cls, folder: Path) -> "Proofs":
        town = cls(MemoryNode(), {name: desk.open_vault(folder, name) for name in NAMES})
        town.put_table(table_hashes()[TableKind.OPTICS_RENEWAL])
        return town

    def put_table(self, table: bytes) -> None:
        world = self.node.world
        overlay = Overlay(world.state)
        put_in_force(overlay, TableKind.OPTICS_RENEWAL, table, world.height)
        world.state.apply(overlay.changes)

    def sender(self, name: str) -> Sender:
        return desk.sender(name, self.node)

    @property
    def chain_id(self) -> bytes:
        return self.node.world.chain_id

    def revoke(self, name: str) -> None:
        """Let a member have another key in the place of the one that it had."""
        old, new = key_of(name), SigningKey(sha256(name.encode()).digest())
        what = (Role.TRANSACTION, new.algorithm, new.public)
        proof = new.sign(possession_bytes(self.chain_id, id_of(name), *what))
        call = KeyRotate(key_id(Role.TRANSACTION, old.algorithm, old.public), *what, 0, proof)
        assert self.node.world.call(name, call) == 0

    def accepted(self, payer: str = "mutual") -> ClaimRecord:
        """Return an earlier claim of the shop that its payer accepted."""
        record = self.bring(claiming_to(payer))
        self.disclose_to(payer, record)
        for outcome in run(self.office(payer).accept([of(record)], None)):
            assert outcome.code == 0
        return record

    def disclose_to(self, payer: str, record: ClaimRecord) -> None:
        self.take(payer, self.disclosed(record))

    def proved(self, payer: str = "mutual") -> Carried:
        record = self.accepted(payer)
        view = run(self.node.claim(of(record)))
        return day_proofs.prove(self.vaults[payer], self.sender(payer), view)

    def asked(self, kind: Kind, control: int = 1_000, **changes: Any) -> Asked:  # noqa: ANN401
        """Return what the insurer asks about a prior agreement, as the shop reads it."""
        record = self.bring(asking(**changes), AuthorisationRecord)
        outcome, asked = run(self.acts("insurer").ask(of(record), kind, control))
        assert outcome.code == 0
        return questions.parse_asked(asked.to_json(), "question.json")

    def view(self, asked: Asked) -> AuthorisationView:
        return run(authorisation_of(self.node, asked.authorisation))

    def answered(self, asked: Asked, text: str, proof: bytes | None) -> Asked:
        """Answer, and return what the payer reads."""
        outcome, given = run(self.acts("shop").answer(asked, text, proof))
        assert outcome.code == 0
        return questions.parse_asked(given.to_json(), "answer.json")

    def verified(self, given: Asked, now: int | None = None) -> Answered:
        moment = int(time.time()) if now is None else now
        taking = answers.take(self.vaults["insurer"], self.node, given, self.chain_id, now=moment)
        return run(taking)

    def shown(self, carried: Carried, asked: Asked) -> bytes:
        now = int(time.time())
        return day_proofs.show(carried, asked, self.view(asked), self.sender("shop"), now)

    def keep_earlier(self, reference: str = "OLD", **changes: int) -> None:
        """Let the shop hold an earlier prescription, on the chain, that differs so."""
        prescribed = asking().prescribed
        assert prescribed is not None
        now = prescribed.prescription
        assert now.right is not None
        right = replace(now.right, **changes)  # type: ignore[arg-type] # of lengths alone
        earlier = replace(now, written="2022-01-05", right=right)
        vault, sender = self.vaults["shop"], self.sender("shop")
        with vault.changes():
            lots.add_prescription(vault, sender, HandedPrescription(None, earlier, None), reference)
        run(prescriptions.commit(vault, self.node, sender, reference, wait_s=5, say=desk.silent))

    def attested(self, asked: Asked, facts: Facts = FACTS, before: str = "OLD") -> bytes:
        made = early.attest(
            self.vaults["shop"],
            self.sender("shop"),
            asked,
            self.view(asked),
            before,
            facts,
            now=int(time.time()),
        )
        return encode(made)

    def qualifying(self, control: int = 1_000) -> tuple[Asked, bytes]:
        """Return a question, and an attestation in answer to it."""
        self.keep_earlier(sphere=-175)
        asked = self.asked(Kind.EARLY_RENEWAL_QUALIFIES, control)
        return asked, self.attested(asked)


def now() -> int:
    return int(time.time())


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Proofs]:
    made = Proofs.at(tmp_path)
    yield made
    for vault in made.vaults.values():
        vault.close()


def claiming_to(payer: str) -> Any:  # noqa: ANN401
    document = example(payer=payer, reference="EARLIER")
    return desk.as_request(document | {"prescription_reference": "ORD-0"})


def forced(town: Proofs, asked: Asked, text: str, proof: bytes) -> Asked:
    """Answer on the chain with a proof that a shop's own program made."""
    return town.answered(asked, text, proof)


# --- the day of the last reimbursement ------------------------------------------------------------


def test_a_day_goes_from_one_payer_by_paper_and_shop_to_another(town: Proofs) -> None:
    carried = town.proved()
    for data in (carried.to_json(), carried.to_text().encode() + b"\r\n"):
        brought = day_proofs.parse_carried(data, "paper.txt")
        assert brought == carried
        kept = run(day_proofs.take(town.vaults["shop"], town.node, brought))
        assert (kept.day, kept.issuer, kept.claim) == (DAY_TEXT, id_of("mutual"), None)
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    given = town.answered(asked, DAY_TEXT, town.shown(carried, asked))
    assert town.verified(given) == Answered(
        Kind.LAST_REIMBURSEMENT_DATE, DAY_TEXT, (id_of("mutual"),)
    )


def test_of_an_earlier_claim_the_payer_of_both_is_shown_the_day_alone(town: Proofs) -> None:
    town.accepted("insurer")
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    day, proof = day_proofs.show_claim(
        town.vaults["shop"], "EARLIER", asked, town.view(asked), town.sender("shop"), 1_800_000_000
    )
    given = town.answered(asked, day, proof)
    answered = town.verified(given, now=1_800_000_000)
    assert (answered.text, answered.word_of) == (DAY_TEXT, (id_of("shop"),))


def test_what_a_payer_proves_is_the_same_again_until_its_key_is_another(town: Proofs) -> None:
    record = town.accepted()
    view = run(town.node.claim(of(record)))
    vault, sender = town.vaults["mutual"], town.sender("mutual")
    first = day_proofs.prove(vault, sender, view)
    assert day_proofs.prove(vault, sender, view) == first
    other = Sender(sender.chain_id, sender.member, SigningKey(bytes(32)))
    assert day_proofs.prove(vault, other, view).document != first.document


def test_who_acts_for_a_payer_states_nothing_that_nobody_believes(town: Proofs) -> None:
    run(day_proofs.require_key(town.node, town.sender("mutual")))
    acting = Sender(town.chain_id, id_of("mutual"), key_of("operator"))
    with pytest.raises(Refused, match="nobody believes"):
        run(day_proofs.require_key(town.node, acting))


def test_a_payer_proves_no_day_of_what_it_did_not_accept_or_see(town: Proofs) -> None:
    record = town.bring(claiming_to("mutual"))
    view = run(town.node.claim(of(record)))
    with pytest.raises(Refused, match="it is submitted"):
        day_proofs.prove(town.vaults["mutual"], town.sender("mutual"), view)
    accepted = msgspec.structs.replace(view, state="accepted")
    with pytest.raises(Refused, match="none of"):
        day_proofs.prove(town.vaults["mutual"], town.sender("mutual"), accepted)
    with pytest.raises(Refused, match="accepted by you"):
        day_proofs.prove(town.vaults["insurer"], town.sender("insurer"), accepted)


def test_a_day_or_a_yes_is_not_said_without_its_proof(town: Proofs) -> None:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    with pytest.raises(Refused, match="said with its proof"):
        run(town.acts("shop").answer(asked, DAY_TEXT))
    with pytest.raises(Refused, match="has no proof"):
        run(town.acts("shop").answer(asked, questions.UNPROVABLE, b"proof"))


@pytest.mark.parametrize("kind", Kind)
def test_what_cannot_be_proved_here_is_an_answer_and_no_refusal(town: Proofs, kind: Kind) -> None:
    given = town.answered(town.asked(kind), questions.UNPROVABLE, None)
    assert town.verified(given) == Answered(kind, "not-provable-here", ())
    assert town.view(given).state == "requested"


def replaying(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    first = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    second = town.bring(
        replace(asking(reference="PEC-2"), prescription_reference="ORD-2"), AuthorisationRecord
    )
    _, asked = run(town.acts("insurer").ask(of(second), Kind.LAST_REIMBURSEMENT_DATE))
    return asked, town.shown(carried, first)


def to_another_payer(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    view = msgspec.structs.replace(town.view(asked), payer=id_of("mutual").hex())
    return asked, day_proofs.show(carried, asked, view, town.sender("shop"), int(time.time()))


def expired(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    long_ago = int(time.time()) - day_proofs.LIFETIME_S - 1
    return asked, day_proofs.show(carried, asked, town.view(asked), town.sender("shop"), long_ago)


def by_an_optician(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    return by_other(town, carried, id_of("rival"))


def by_a_stranger(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    return by_other(town, carried, bytes(16))


def by_another_payer(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    return by_other(town, carried, id_of("operator"))


def by_other(town: Proofs, carried: Carried, issuer: bytes) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    return asked, town.shown(replace(carried, issuer=issuer), asked)


def with_another_holder(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    return asked, town.shown(replace(carried, holder=bytes(32)), asked)


def with_a_revoked_key(town: Proofs, carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    town.revoke("mutual")
    return asked, town.shown(carried, asked)


def of_another_claim_than_the_chain(town: Proofs, _carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    view, sender = town.view(asked), town.sender("shop")
    _, proof = day_proofs.show_claim(town.vaults["shop"], "EARLIER", asked, view, sender, now())
    changed = msgspec.structs.replace(parse_last_reimbursement(proof), of=bytes(32))
    return asked, encode(changed)


def signed_by_a_former_key(town: Proofs, _carried: Carried) -> tuple[Asked, bytes]:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    sender = Sender(town.chain_id, id_of("shop"), SigningKey(bytes(32)))
    view = town.view(asked)
    return asked, day_proofs.show_claim(town.vaults["shop"], "EARLIER", asked, view, sender, now())[
        1
    ]


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        (replaying, "question"),
        (to_another_payer, "recipient"),
        (expired, "expiry"),
        (by_an_optician, "issuer"),
        (by_a_stranger, "issuer"),
        (by_another_payer, "issuer"),
        (with_another_holder, "proof"),
        (with_a_revoked_key, "issuer"),
        (of_another_claim_than_the_chain, "claim"),
        (signed_by_a_former_key, "signature"),
    ],
)
def test_a_day_is_not_believed(
    town: Proofs, wrong: Callable[[Proofs, Carried], tuple[Asked, bytes]], fact: str
) -> None:
    asked, proof = wrong(town, town.proved())
    given = forced(town, asked, DAY_TEXT, proof)
    with pytest.raises(NotVerified) as caught:
        town.verified(given)
    assert caught.value.fact == fact


@pytest.mark.parametrize("name", ["rival", "doctor", "auditor"])
def test_nobody_but_a_payer_states_a_day(town: Proofs, name: str) -> None:
    holder, sender = SigningKey(bytes(32)), town.sender(name)
    document = documents.issue(
        REIMBURSEMENT,
        {"invoice_date": DAY_TEXT, "claim": "ab" * 32},
        [bytes((number,)) * 32 for number in range(len(REIMBURSEMENT.fields))],
        key_id=sender.key_id,
        key=sender.key,
        holder=holder.public,
    )
    alone = documents.present(document, ["invoice_date"])
    carried = Carried(sender.member, bytes(32), str(alone))
    with pytest.raises(NotVerified, match="nobody reimburses"):
        run(day_proofs.take(town.vaults["shop"], town.node, carried))


def test_a_claim_that_was_not_accepted_or_is_anothers_proves_no_day(town: Proofs) -> None:
    town.bring(claiming_to("insurer"))
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    view, sender = town.view(asked), town.sender("shop")
    _, proof = day_proofs.show_claim(town.vaults["shop"], "EARLIER", asked, view, sender, now())

    def verify(seen: AuthorisationView) -> str:
        going = day_proofs.verify(proof, asked, seen, town.node, town.chain_id, now())
        with pytest.raises(NotVerified) as caught:
            run(going)
        return str(caught.value)

    assert "it is submitted" in verify(view)
    other = msgspec.structs.replace(view, optician=id_of("rival").hex())
    assert "another shop's" in verify(other)


def test_a_tampered_day_is_not_believed_nor_another_than_is_proved(town: Proofs) -> None:
    carried = town.proved()
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    given = forced(town, asked, "2025-02-22", town.shown(carried, asked))
    with pytest.raises(NotVerified, match="another day"):
        town.verified(given)
    jwt, disclosure, _ = carried.document.split("~")
    later = make_disclosure(bytes(32), "invoice_date", "2025-02-22").text
    for text in (f"{jwt}~{later}~", f"{jwt}~", f"{jwt}~{disclosure}~{disclosure}~"):
        with pytest.raises(NotVerified):
            run(day_proofs.take(town.vaults["shop"], town.node, replace(carried, document=text)))
    with pytest.raises(NotVerified, match="holder"):
        run(day_proofs.take(town.vaults["shop"], town.node, replace(carried, holder=bytes(32))))


def test_the_proof_on_the_chain_is_the_one_that_is_read(town: Proofs) -> None:
    carried = town.proved()
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    given = town.answered(asked, DAY_TEXT, town.shown(carried, asked))
    earlier = day_proofs.show(
        carried, asked, town.view(asked), town.sender("shop"), now() - 60
    )  # as good as the other, and not the one that was answered with
    for proof in (None, earlier):
        with pytest.raises(NotVerified, match="given with another"):
            town.verified(replace(given, proof=proof))


@pytest.mark.parametrize(
    "data",
    [
        b"depoli-day:1:",
        b"depoli-day:1:" + b"ab" * 16 + b":x:y",
        b"depoli-day:1:" + b"ab" * 16 + b":AA:y",
        b"depoli-day:1:\xff:x:y",
        b"{}",
        b'{"format":"depoli/reimbursement/1","issuer":1,"holder":2,"document":3}',
        b"paper",
    ],
)
def test_what_is_no_paper_of_a_payer_is_said(data: bytes) -> None:
    with pytest.raises(NotReadable):
        day_proofs.parse_carried(data, "paper.txt")


def test_a_payer_learns_the_day_and_whose_word_it_is(town: Proofs) -> None:
    claim = of(town.accepted())
    view = run(town.node.claim(claim))
    carried = day_proofs.prove(town.vaults["mutual"], town.sender("mutual"), view)
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    proof = parse_last_reimbursement(town.shown(carried, asked))
    assert (proof.source, proof.of) == (Source.PAYER, id_of("mutual"))
    jwt, disclosure, _binding = proof.presentation.decode().split("~")
    assert parse_disclosure(disclosure).value == DAY_TEXT
    header, payload, _ = (part + "=" * (-len(part) % 4) for part in jwt.split("."))
    assert set(json.loads(b64(header))) == {"alg", "kid", "typ"}
    assert set(json.loads(b64(payload))) == {"_sd", "_sd_alg", "cnf"}
    assert set(proof.parsed().binding.__slots__) == {"audience", "nonce", "issued", "expires"}
    for secret in (claim.hex().encode(), claim, carried.holder, carried.holder.hex().encode()):
        assert secret not in proof.presentation


# --- that an early renewal qualifies --------------------------------------------------------------


def test_that_a_renewal_qualifies_is_attested_and_verified(town: Proofs) -> None:
    asked, proof = town.qualifying()
    given = town.answered(asked, "yes", proof)
    assert town.verified(given) == Answered(Kind.EARLY_RENEWAL_QUALIFIES, "yes", (id_of("shop"),))
    assert town.attested(asked) == proof  # made once
    kept = find(town.vaults["insurer"], ControlRecord, asked.authorisation.hex())
    assert kept is not None
    assert (kept[1].before, kept[1].after, kept[1].facts) == (None, None, None)


def test_a_prescriber_signs_too_where_there_is_one(town: Proofs) -> None:
    asked, proof = town.qualifying()
    made = parse_attestation(proof)
    doctor = attestations.sign(made.says.message(), id_of("doctor"), key_of("doctor"))
    both = early.countersign(made, doctor)
    early.replace(town.vaults["shop"], both)
    assert town.attested(asked) == encode(both)
    given = town.answered(asked, "yes", encode(both))
    assert town.verified(given).word_of == (id_of("shop"), id_of("doctor"))


def test_what_does_not_qualify_is_not_attested(town: Proofs) -> None:
    town.keep_earlier(sphere=-400)  # a quarter of a dioptre on one lens
    asked = town.asked(Kind.EARLY_RENEWAL_QUALIFIES)
    with pytest.raises(Refused, match="does not qualify"):
        town.attested(asked)
    given = town.answered(asked, "no", None)
    assert town.verified(given).text == "no"


# Each of these meets another rule of the table, or the same by another change.
RULES: dict[str, tuple[dict[str, int], Facts]] = {
    "sphere": ({"sphere": -175}, FACTS),
    "cylinder": ({"cylinder": 100}, FACTS),
    "axis": ({"axis": 90}, FACTS),
    "child": (
        {},
        Facts(
            "2024-09-01", DAY_TEXT, 9, has_frame=False, by_ophthalmologist=True, is_degraded=True
        ),
    ),
    "listed": (
        {},
        Facts(
            "2024-09-01",
            DAY_TEXT,
            70,
            has_frame=True,
            by_ophthalmologist=True,
            listed_situation=True,
        ),
    ),
}


def test_whichever_rule_is_met_the_payer_sees_the_same(town: Proofs) -> None:
    asked = town.asked(Kind.EARLY_RENEWAL_QUALIFIES)
    seen = set()
    for name, (changes, facts) in RULES.items():
        town.keep_earlier(name.upper(), **changes)
        proof = town.attested(asked, facts, name.upper())
        says = parse_attestation(proof).says
        file = questions.new_answer(asked, "yes", proof).to_json()
        seen.add((len(proof), len(encode(says)), len(file), tuple(json.loads(file))))
    assert len(seen) == 1


def test_every_file_of_question_and_answer_has_one_length(town: Proofs) -> None:
    carried = town.proved()
    day = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    early_ = questions.new_question(bytes(32), Kind.EARLY_RENEWAL_QUALIFIES)
    answered = questions.new_answer(day, DAY_TEXT, town.shown(carried, day))
    _, of_claim = day_proofs.show_claim(
        town.vaults["shop"], "EARLIER", day, town.view(day), town.sender("shop"), now()
    )
    files = [
        day,
        early_,
        answered,
        questions.new_answer(day, DAY_TEXT, of_claim),
        questions.new_answer(day, questions.UNPROVABLE),
    ]
    assert {len(each.to_json()) for each in files} == {questions.FILE_BYTES}


@pytest.mark.parametrize(
    ("field", "value", "fact"),
    [
        ("chain_id", bytes(32), "network"),
        ("recipient", id_of("mutual"), "recipient"),
        ("authorisation", bytes(32), "authorisation"),
        ("question", bytes(32), "question"),
        ("before", bytes(32), "prescription"),
        ("after", bytes(32), "prescription"),
        ("table", bytes(32), "table"),
        ("control", 0, "control"),
        ("expires", 1_700_000_000, "expiry"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_attestation_of_something_else_is_not_believed(
    town: Proofs, field: str, value: bytes | int, fact: str
) -> None:
    asked, proof = town.qualifying()
    says = msgspec.structs.replace(parse_attestation(proof).says, **{field: value})
    assert refused(town, asked, resigned(says)) == fact


def test_a_shop_does_not_choose_how_many_of_its_attestations_are_looked_into(town: Proofs) -> None:
    """What its file says of the rate is its own word: ours stands in our vault."""
    asked, proof = town.qualifying(1_000)
    says = msgspec.structs.replace(parse_attestation(proof).says, control=0)
    given = town.answered(replace(asked, control=0), "yes", resigned(says))
    vault, reader = town.vaults["insurer"], Reader(id_of("insurer"), MEMBERS, None)
    for way in (
        lambda: run(inbox.check(vault, town.node, reader, given.to_json(), "answer.json")),
        lambda: town.verified(given),
    ):
        with pytest.raises(NotVerified) as caught:
            way()
        assert caught.value.fact == "control"
    assert find(vault, ControlRecord, asked.authorisation.hex()) is None


@pytest.mark.parametrize("taker", ["mutual", "shop", "insurer"])
def test_a_question_is_the_shops_and_its_answer_is_for_who_asked(town: Proofs, taker: str) -> None:
    asked = town.asked(Kind.LAST_REIMBURSEMENT_DATE)
    given = town.answered(asked, questions.UNPROVABLE, None)
    for file, whose in ((asked, "shop"), (given, "insurer")):
        reader = Reader(id_of(taker), MEMBERS, None)
        going = inbox.check(town.vaults[taker], town.node, reader, file.to_json(), "file.json")
        if taker == whose:
            assert run(going).subject == asked.authorisation
            continue
        with pytest.raises(NotVerified) as caught:
            run(going)
        assert caught.value.fact == "recipient"


def test_who_did_not_ask_knows_no_rate_and_takes_no_yes(town: Proofs) -> None:
    asked, proof = town.qualifying()
    given = town.answered(asked, "yes", proof)
    going = answers.take(town.vaults["mutual"], town.node, given, town.chain_id, now=now())
    with pytest.raises(NotVerified, match="not asked from this vault"):
        run(going)


def resigned(says: Qualifies, name: str = "shop", as_: str | None = None) -> bytes:
    signed = attestations.sign(says.message(), id_of(as_ or name), key_of(name))
    return encode(attestations.attest(says, signed))


def refused(town: Proofs, asked: Asked, proof: bytes) -> str:
    """Answer with this proof; return which fact the payer finds false."""
    with pytest.raises(NotVerified) as caught:
        town.verified(forced(town, asked, "yes", proof))
    return caught.value.fact


def test_an_attestation_of_one_prescription_with_itself_is_none(town: Proofs) -> None:
    asked, proof = town.qualifying()
    says = parse_attestation(proof).says
    assert (
        refused(town, asked, resigned(msgspec.structs.replace(says, before=says.after)))
        == "prescription"
    )


def test_an_attestation_is_signed_by_the_shop_with_a_key_in_force(town: Proofs) -> None:
    asked, proof = town.qualifying()
    says = parse_attestation(proof).says
    assert refused(town, asked, resigned(says, "rival", "shop")) == "signature"


def test_an_attestation_under_a_revoked_key_is_not_believed(town: Proofs) -> None:
    asked, proof = town.qualifying()
    given = town.answered(asked, "yes", proof)
    town.revoke("shop")
    with pytest.raises(NotVerified) as caught:
        town.verified(given)
    assert caught.value.fact == "signature"


@pytest.mark.parametrize("other", ["mutual", "rival"])
def test_nobody_but_a_prescriber_signs_beside_the_shop(town: Proofs, other: str) -> None:
    asked, proof = town.qualifying()
    made = parse_attestation(proof)
    signed = attestations.sign(made.says.message(), id_of(other), key_of(other))
    assert refused(town, asked, encode(early.countersign(made, signed))) == "signature"


def test_an_attestation_by_a_way_of_proving_that_is_not_known_is_not_believed(
    town: Proofs,
) -> None:
    asked, proof = town.qualifying()
    made = msgspec.structs.replace(parse_attestation(proof), how=2)
    assert refused(town, asked, encode(made)) == "attestation"


def test_an_attestation_of_a_prescription_that_was_revoked_is_not_believed(town: Proofs) -> None:
    asked, proof = town.qualifying()
    given = town.answered(asked, "yes", proof)
    before = parse_attestation(proof).says.before
    assert town.node.world.call("shop", PrescriptionRevoke(before)) == 0
    with pytest.raises(NotVerified, match="revoked"):
        town.verified(given)


def test_an_attestation_by_a_table_that_was_replaced_is_not_believed(town: Proofs) -> None:
    asked, proof = town.qualifying()
    given = town.answered(asked, "yes", proof)
    town.put_table(bytes(32))
    assert in_force(town.node.world.state, TableKind.OPTICS_RENEWAL) == bytes(32)
    with pytest.raises(NotVerified) as caught:
        town.verified(given)
    assert caught.value.fact == "table"


def test_an_answer_that_was_given_stays_whatever_is_typed_again(town: Proofs) -> None:
    """A run that ended before it had noted the answer goes on with that answer."""
    asked, proof = town.qualifying()
    town.answered(asked, "yes", proof)
    assert town.attested(asked, replace_facts(on="2025-03-02")) == proof
    kept = find(town.vaults["shop"], ControlRecord, asked.authorisation.hex())
    assert kept is not None
    assert (kept[1].attestation, kept[1].facts) == (proof, FACTS)


def test_until_it_is_answered_other_facts_make_another(town: Proofs) -> None:
    asked, proof = town.qualifying()
    other = town.attested(asked, replace_facts(age=41))
    assert other != proof
    with pytest.raises(Refused, match="says something else"):
        early.replace(town.vaults["shop"], parse_attestation(proof))
    with pytest.raises(Refused, match="none of ours"):
        early.replace(town.vaults["insurer"], parse_attestation(proof))


def replace_facts(**changes: Any) -> Facts:  # noqa: ANN401
    return msgspec.structs.replace(FACTS, **changes)
