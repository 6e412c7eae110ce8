"""What others hand us, as files or by post: disclosures, statements of amounts, questions.

Each is unsealed, parsed, verified against the chain by our own node, and kept in the vault.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any, Final, TypeAlias

from contracts.commitment import Opening
from contracts.control import Verdict
from ledger.encoding import decode, encode
from node.client import (
    answering,
    answers,
    controls,
    disclosure,
    erasures,
    past,
    questions,
    sealing,
    settling,
    told,
)
from node.client.agreements import authorisation_of
from node.client.client import ClaimView, NodeClient
from node.client.disclosure import Asked, Disclosed
from node.client.errors import NotVerified
from node.client.members import Members
from node.client.reading import parse_object
from node.client.records import (
    AskedRecord,
    AuthorisationRecord,
    ClaimRecord,
    QuestionRecord,
    ReceivedRecord,
    ReviewRecord,
    Standing,
    find,
    keep,
    update,
)
from node.client.statements import ACCEPTANCE, AGREEMENT, Statement, parse_statement
from node.client.vault import Vault

OPEN: Final = "submitted"  # the state in which a claim is decided
UNDECIDED: Final = frozenset((Standing.NEW, Standing.REVIEW, Standing.CHOSEN))
ACCEPTED: Final = "acceptance"  # purposes of what is no disclosure
AGREED: Final = "agreement"
SETTLED: Final = "settlement"
ASKED: Final = "question"
ANSWERED: Final = "answer"
TO_ERASE: Final = "erasure"
CONTROLLED: Final = "verdict"

Found: TypeAlias = Disclosed | Statement | questions.Asked | AskedRecord | Verdict


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: our member id, the network we know, and the key that files are sealed to."""

    member: bytes
    members: Members
    sealing_seed: bytes | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What holds against the chain, and how it is kept: inside `vault.changes()`."""

    found: Found
    purpose: str
    subject: bytes  # id of the claim, the prior agreement, the settlement
    keep: Callable[[], None]


async def take(
    vault: Vault, node: NodeClient, reader: Reader, data: bytes, name: str
) -> Disclosed | Statement:
    """Return what a file proves, after keeping it. `name` is the file's.

    Raises `NotReadable`, `NotVerified` naming the false fact, `NotFound` for a claim or settlement
    that the chain does not show us.
    """
    plain = sealing.unseal(data, name, reader.sealing_seed)
    checked = await check(vault, node, reader, plain, name)
    if isinstance(checked.found, AskedRecord):
        raise NotVerified(
            "kind", f"{name} asks us to erase something", hint=f"depoli erase answer {name}"
        )
    if isinstance(checked.found, questions.Asked):
        raise NotVerified(
            "kind",
            f"{name} is a question about a prior agreement",
            hint=f"depoli authorisation answer {name}",
        )
    if isinstance(checked.found, Verdict):
        raise NotVerified(
            "kind", f"{name} is the verdict of a control", hint=f"depoli control verify {name}"
        )
    with vault.changes():
        checked.keep()
    return checked.found


async def check(
    vault: Vault,
    node: NodeClient,
    reader: Reader,
    plain: bytes,
    name: str,
    sender: bytes | None = None,
) -> Checked:
    """Return what a file proves that was unsealed, not yet kept; raise as `take`.

    What came by post must come from the `sender` whose it is.
    """
    match parse_object(plain, name).get("format"):
        case disclosure.FORMAT:
            checked, author = await _check_disclosure(vault, node, reader, plain, name)
        case erasures.FORMAT:
            checked, author = await _check_erasure(vault, node, reader, plain, name)
        case controls.VERDICT:
            checked, author = await _check_verdict(vault, node, reader, plain, name)
        case questions.FORMAT:
            checked, author = await _check_question(vault, node, reader, plain, name)
        case _:
            checked, author = await _check_statement(vault, node, reader, plain, name)
    if sender not in {None, author}:
        raise NotVerified("sender", "it came from another member than the one whose it is")
    return checked


async def _check_erasure(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> tuple[Checked, bytes]:
    asked = await answering.check(node, reader.member, plain, name)
    keep_it = lambda: answering.keep_asked(vault, asked)  # noqa: E731
    return Checked(asked, TO_ERASE, asked.erasure, keep_it), asked.requester


async def _check_verdict(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> tuple[Checked, bytes]:
    verdict = controls.read_verdict(plain, name)
    if verdict.finding.recipient != reader.member:
        raise NotVerified("recipient", "it is for another member, not for you")
    await controls.check(vault, node, verdict, reader.members.genesis.chain_id)
    keep_it = lambda: controls.keep_verdict(vault, verdict)  # noqa: E731
    subject = verdict.finding.authorisation
    return Checked(verdict, CONTROLLED, subject, keep_it), verdict.signed.member


def known(vault: Vault, claim: bytes) -> dict[str, Any]:
    """Return what was disclosed to us of a claim, as it is shown; nothing where nothing was."""
    found = find(vault, ReceivedRecord, claim.hex())
    if found is None:
        return {"disclosed": False}
    record = found[1]
    shown = {"disclosed": True, "claimed_cents": decode(record.opening, Opening).amount}
    if record.accepted is not None:
        shown["accepted_cents"] = decode(record.accepted, Opening).amount
    return shown


def keep_received(vault: Vault, disclosed: Disclosed, plain: bytes) -> tuple[int, ReceivedRecord]:
    """Keep what was verified; return number and record. Call it inside `vault.changes()`."""
    found = find(vault, ReceivedRecord, disclosed.claim.hex())
    if found is None:
        record = ReceivedRecord(
            claim=disclosed.claim,
            submitter=disclosed.submitter,
            disclosure=plain,
            opening=encode(disclosed.opening),
            leg=int(disclosed.leg),
            insured=disclosed.insured,
            invoice_date=disclosed.invoice_date,
            received=int(time()),
        )
        found = keep(vault, record, disclosed.claim.hex()), record
    else:  # of a document that was rectified since, perhaps
        found[1].disclosure, found[1].leg = plain, int(disclosed.leg)
        found[1].insured, found[1].invoice_date = disclosed.insured, disclosed.invoice_date
        update(vault, *found)
    if disclosed.purpose == disclosure.REIMBURSEMENT:
        past.remember(vault, found[0], disclosed, is_first=False)
    return found


def _wait(vault: Vault, disclosed: Disclosed, document: bytes) -> None:
    """Let a claim wait in the queue until our policy, or a person, decides it."""
    found = find(vault, ReviewRecord, disclosed.claim.hex())
    if found is not None:
        if found[1].document == document or found[1].standing not in UNDECIDED:
            return
        vault.erase(found[0])  # it was rectified: what was said of the other document is void
    record = ReviewRecord(
        claim=disclosed.claim,
        submitter=disclosed.submitter,
        document=document,
        cents=disclosed.opening.amount,
        received=int(time()),
        standing=Standing.NEW,
    )
    keep(vault, record, disclosed.claim.hex())


async def _check_disclosure(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> tuple[Checked, bytes]:
    parsed = disclosure.parse_disclosure(plain, name)
    view: Asked
    if parsed.purpose == disclosure.AUTHORISATION:
        view = await authorisation_of(node, parsed.claim)
    else:
        view = await node.claim(parsed.claim)
    submitter = await node.member(bytes.fromhex(view.submitter))
    disclosed = disclosure.verify(parsed, view, submitter, recipient=reader.member, now=int(time()))

    def keep_it() -> None:
        keep_received(vault, disclosed, plain)
        if isinstance(view, ClaimView) and view.state == OPEN:
            _wait(vault, disclosed, bytes.fromhex(view.document))

    checked = Checked(disclosed, disclosed.purpose, disclosed.claim, keep_it)
    return checked, disclosed.submitter


async def _check_statement(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> tuple[Checked, bytes]:
    statement = parse_statement(plain, name)
    if statement.beneficiary != reader.member:
        raise NotVerified("beneficiary", "this statement is for another member, not for you")
    if statement.format == ACCEPTANCE:
        purpose, payer = ACCEPTED, await _verify_acceptance(node, statement)
        keep_it = _keeping_part(vault, statement, ClaimRecord)
    elif statement.format == AGREEMENT:
        purpose, payer = AGREED, await _verify_agreement(node, statement)
        keep_it = _keeping_part(vault, statement, AuthorisationRecord)
    else:
        view = await settling.check(vault, node, statement)
        purpose, payer = SETTLED, view.payer
        keep_it = lambda: told.keep_statement(vault, view, statement)  # noqa: E731
    return Checked(statement, purpose, statement.id, keep_it), bytes.fromhex(payer)


async def _verify_acceptance(node: NodeClient, statement: Statement) -> str:
    view = await node.claim(statement.id)
    if view.accepted_amount is None:
        raise NotVerified("accepted amount", "the claim was not accepted in part")
    statement.verify(bytes.fromhex(view.accepted_amount))
    return view.payer


async def _verify_agreement(node: NodeClient, statement: Statement) -> str:
    view = await authorisation_of(node, statement.id)
    if view.granted_amount is None:
        raise NotVerified("agreed amount", "it was not agreed to in part")
    statement.verify(bytes.fromhex(view.granted_amount))
    return view.payer


def _keeping_part(
    vault: Vault, statement: Statement, type_: type[ClaimRecord]
) -> Callable[[], None]:
    def keep_it() -> None:
        found = find(vault, type_, statement.id.hex())
        if found is not None:
            found[1].accepted = encode(statement.opening)
            update(vault, *found)

    return keep_it


async def _check_question(
    vault: Vault, node: NodeClient, reader: Reader, plain: bytes, name: str
) -> tuple[Checked, bytes]:
    asked = questions.parse_asked(plain, name)
    view = await authorisation_of(node, asked.authorisation)
    recipient, author = view.optician, view.payer
    if asked.answer is not None:
        recipient, author = author, recipient
    if recipient != reader.member.hex():
        raise NotVerified("recipient", "it is for another member, not for you")
    if asked.answer is None:
        asked.verify(view.questions, view.answers)
    else:
        asked = answers.at_our_rate(vault, asked)
        await answers.verify(asked, node, reader.members.genesis.chain_id, now=int(time()))

    def keep_it() -> None:
        if asked.answer is not None:
            answers.keep_answered(vault, asked)
        elif find(vault, QuestionRecord, label := questions.name_of_record(asked)) is None:
            record = QuestionRecord(
                authorisation=asked.authorisation,
                question=asked.question.encode(),
                control=asked.control,
            )
            keep(vault, record, label)

    purpose = ASKED if asked.answer is None else ANSWERED
    return Checked(asked, purpose, asked.authorisation, keep_it), bytes.fromhex(author)
