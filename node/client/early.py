"""That an early renewal qualifies: attested by the shop for one question, verified by its payer.

The vault judges by the two prescriptions and what was typed; what leaves it says one word. The
vault keeps what it judged by, for the control that a later block may draw (node.client.controls).
"""

import secrets
from typing import Final

from contracts import early
from contracts.early import Attestation, Qualifies, Signed, parse_attestation
from contracts.errors import BadDocument
from contracts.nomenclature.renewal import EarlyRequest
from contracts.reference import TableKind
from ledger.encoding import encode
from node.client import nomenclature, prescriptions, questions, renewals
from node.client.agreements import AuthorisationView
from node.client.client import NodeClient
from node.client.errors import NotFound, NotVerified, Refused
from node.client.grounds import prescription_of
from node.client.packaged import table_hashes
from node.client.proposals import governance_of
from node.client.questions import Asked
from node.client.records import (
    AuthorisationRecord,
    ControlRecord,
    Facts,
    QuestionRecord,
    find,
    keep,
    update,
)
from node.client.signers import key_in_force
from node.client.transactions import Sender
from node.client.vault import Vault

LIFETIME_S: Final = 90 * 86_400  # as long as decisions take
_SALT_BYTES: Final = 32


def attest(
    vault: Vault,
    sender: Sender,
    asked: Asked,
    view: AuthorisationView,
    before: str,
    facts: Facts,
    *,
    now: int,
) -> Attestation:
    """Return our attestation in answer to a question, kept for a control; once given, the same.

    `before` is our reference of the earlier prescription; the later one is that of the prior
    agreement. Raises `Refused` where no rule is met, or the prescriptions are not on the chain.
    """
    given = find(vault, QuestionRecord, questions.name_of_record(asked))
    if given is not None and given[1].proof is not None:  # perhaps by a run that ended there
        return parse_attestation(given[1].proof)
    found = find(vault, ControlRecord, view.id)
    if found is not None and _is_same(found[1], asked, before, facts):
        return parse_attestation(found[1].attestation)
    request = find(vault, AuthorisationRecord, view.id)
    if request is None:
        raise NotFound(f"the vault holds no prior agreement {view.id}")
    after = request[1].prescription_reference
    judged = request_of(vault, before, after, facts)
    if not renewals.qualifies(judged):
        raise Refused(
            "renewal",
            "it does not qualify by the rules of the table",
            hint="answer no, or not-provable-here: depoli authorisation answer",
        )
    says = Qualifies(
        chain_id=sender.chain_id,
        optician=sender.member,
        recipient=bytes.fromhex(view.payer),
        authorisation=asked.authorisation,
        question=asked.question.commitment(),
        before=_committed(vault, before),
        after=bytes.fromhex(view.prescription),
        table=table_hashes()[TableKind.OPTICS_RENEWAL],
        control=asked.control,
        expires=now + LIFETIME_S,
        salt=secrets.token_bytes(_SALT_BYTES),
    )
    made = early.attest(says, early.sign(says.message(), sender.member, sender.key, sender.role))
    with vault.changes():
        record = ControlRecord(
            authorisation=asked.authorisation,
            attestation=encode(made),
            before=before,
            after=after,
            facts=facts,
        )
        if found is None:
            keep(vault, record, view.id)
        else:
            update(vault, found[0], record)
    return made


def _committed(vault: Vault, before: str) -> bytes:
    """Return the commitment to the earlier prescription; raise `NotFound`, `Refused`."""
    held = prescriptions.load(vault, before)[1]
    if not held.is_committed:
        raise Refused("before", f"{before} is not on the chain yet")
    return held.commitment


def countersign(attestation: Attestation, signed: Signed) -> Attestation:
    """Return the attestation with a prescriber's signature too."""
    return early.attest(attestation.says, attestation.signatures()[0], signed)


def replace(vault: Vault, attestation: Attestation) -> None:
    """Keep an attestation of ours that a prescriber signed too, before it is answered with."""
    with vault.changes():
        found = find(vault, ControlRecord, attestation.says.authorisation.hex())
        if found is None or found[1].before is None:
            raise Refused("attestation", "it is none of ours")
        if parse_attestation(found[1].attestation).says != attestation.says:
            raise Refused("attestation", "it says something else than ours")
        found[1].attestation = encode(attestation)
        update(vault, *found)


def request_of(vault: Vault, before: str, after: str, facts: Facts) -> EarlyRequest:
    """Return what is judged; raise `NotFound` where a prescription was erased, `Refused`."""
    return EarlyRequest(
        nomenclature.as_day(facts.last, "last"),
        nomenclature.as_day(facts.on, "on"),
        facts.age,
        facts.has_frame,
        renewals.load_eyes(vault, before),
        renewals.load_eyes(vault, after),
        facts.by_ophthalmologist,
        facts.is_degraded,
        facts.listed_situation,
    )


async def verify(
    data: bytes, asked: Asked, view: AuthorisationView, node: NodeClient, chain_id: bytes, now: int
) -> Attestation:
    """Return an attestation that holds: for us, for this question, signed, its facts on the chain.

    Raises `NotVerified` naming the first false fact.
    """
    try:
        attestation = parse_attestation(data)
        signatures = attestation.signatures()
    except BadDocument as error:
        raise NotVerified("attestation", str(error)) from None
    says = attestation.says
    _verify_bound(says, asked, view, chain_id, now)
    await _verify_on_chain(says, node)
    for number, signed in enumerate(signatures):
        await _verify_signature(says, signed, node, None if number else view.signed_by)
    return attestation


def _is_same(kept: ControlRecord, asked: Asked, before: str, facts: Facts) -> bool:
    """Return whether this was attested already."""
    question = parse_attestation(kept.attestation).says.question
    wanted = (asked.question.commitment(), before, facts)
    return (question, kept.before, kept.facts) == wanted


def _verify_bound(
    says: Qualifies, asked: Asked, view: AuthorisationView, chain_id: bytes, now: int
) -> None:
    wanted = {
        "chain_id": ("network", chain_id, "it was made for another network"),
        "recipient": ("recipient", bytes.fromhex(view.payer), "it was made for another payer"),
        "optician": ("optician", bytes.fromhex(view.optician), "another shop made it"),
        "authorisation": ("authorisation", asked.authorisation, "it was made for another one"),
        "question": ("question", asked.question.commitment(), "it answers another question"),
        "after": (
            "prescription",
            bytes.fromhex(view.prescription),
            "it is of another than the prior agreement's",
        ),
        "control": ("control", asked.control, "it names another rate than was asked for"),
    }
    for name, (fact, value, reason) in wanted.items():
        if getattr(says, name) != value:
            raise NotVerified(fact, reason)
    if says.before == says.after:
        raise NotVerified("prescription", "it compares one prescription with itself")
    if now > says.expires:
        raise NotVerified("expiry", "the attestation has expired", hint="ask the shop for another")


async def _verify_on_chain(says: Qualifies, node: NodeClient) -> None:
    for name in ("before", "after"):
        try:
            held = await prescription_of(node, says.optician, getattr(says, name))
        except NotFound:
            raise NotVerified("prescription", f"the one {name} is not on the chain") from None
        if held.state != "committed":
            raise NotVerified("prescription", f"the one {name} is {held.state}")
    tables = (await governance_of(node)).tables
    if tables.get(TableKind.OPTICS_RENEWAL.subject) != says.table.hex():
        raise NotVerified(
            "table",
            "it was judged by a table of renewals that is not in force",
            hint="the shop makes a new one with the program that has the table in force",
        )


async def _verify_signature(
    says: Qualifies, signed: Signed, node: NodeClient, also: str | None
) -> None:
    try:
        member = await node.member(signed.member)
    except NotFound:
        raise NotVerified("signature", "it is of no member of this network") from None
    if signed.member != says.optician and member.family != "prescriber":
        raise NotVerified(
            "signature", f"of the family {member.family} nobody attests prescriptions"
        )
    public = key_in_force("signature", member, signed.key_id, also)
    try:
        signed.verify(says.message(), public)
    except BadDocument as error:
        raise NotVerified("signature", str(error)) from None
