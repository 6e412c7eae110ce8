"""The proof of the last reimbursement's day: made by a payer, carried on paper, shown by a shop.

A payer states the day of a claim that it accepted, and nothing else; its patient brings that to the
next shop, as a file or on paper, with the key that shows it. The shop shows it to one payer for one
question. Of a claim of its own a shop may show the invoice date by itself, to the payer of both.
"""

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from contracts import documents, key_binding
from contracts.documents import CLAIM, REIMBURSEMENT, SALT_BYTES
from contracts.errors import BadDocument
from contracts.key_binding import Presentation
from contracts.reimbursement import (
    LastReimbursement,
    Source,
    binding_to,
    parse_last_reimbursement,
)
from contracts.sd_jwt import decode_base64url, encode_base64url
from contracts.sd_jwt import parse as parse_sd_jwt
from ledger.encoding import encode
from ledger.keys import SEED_BYTES, SigningKey
from node.client import disclosure, lots
from node.client.agreements import AuthorisationView
from node.client.client import ClaimView, MemberView, NodeClient
from node.client.errors import NotFound, NotReadable, NotVerified, Refused
from node.client.questions import Asked
from node.client.reading import parse_object
from node.client.records import ProofRecord, ReceivedRecord, find, keep, update
from node.client.signers import in_force, key_in_force
from node.client.transactions import Sender
from node.client.vault import Vault

FORMAT: Final = "depoli/reimbursement/1"
LIFETIME_S: Final = 90 * 86_400  # of what is shown: as long as decisions take
_FIELDS: Final = {"format", "issuer", "holder", "document"}
_PREFIX: Final = "depoli-day:1:"  # of the text of a QR code
_SHOWN: Final = ("invoice_date",)
_PAYERS: Final = frozenset(("insurer", "operator"))
# A claim in one of these states was accepted, and was not taken back.
ACCEPTED: Final = frozenset(
    ("accepted", "accepted_in_part", "batched", "settled", "closed", "payment_disputed")
)


@dataclass(frozen=True, slots=True)
class Carried:
    """A proof as its patient carries it: who has it, may show it."""

    issuer: bytes
    holder: bytes  # seed
    document: str

    def to_json(self) -> bytes:
        """Return it as a file."""
        value = {
            "format": FORMAT,
            "issuer": self.issuer.hex(),
            "holder": encode_base64url(self.holder),
            "document": self.document,
        }
        return json.dumps(value, indent=2).encode() + b"\n"

    def to_text(self) -> str:
        """Return it as the text of a QR code."""
        holder = encode_base64url(self.holder)
        return f"{_PREFIX}{self.issuer.hex()}:{holder}:{self.document}"

    @property
    def day(self) -> str:
        """The day that it states; raise `NotVerified`."""
        day: str = _day_of(self.document)
        return day

    @property
    def name(self) -> str:
        """What tells it from others."""
        return parse_sd_jwt(self.document).commitment.hex()


async def require_key(node: NodeClient, sender: Sender) -> None:
    """Raise `Refused` unless what `sender` states is believed: by a key of the member itself."""
    if sender.key_id not in in_force(await node.member(sender.member)):
        raise Refused(
            "key",
            "the one here is no key of the member of client.toml, and nobody believes what it"
            " states in that one's name",
            hint="the payer's own people state days, with its own key: depoli renewal prove",
        )


def prove(vault: Vault, sender: Sender, claim: ClaimView) -> Carried:
    """Return our statement of the day of a claim that we accepted; the same for the same claim.

    It is for the patient. Raises `Refused` where it was not accepted, or not shown to us.
    """
    if claim.payer != sender.member.hex() or claim.state not in ACCEPTED:
        raise Refused("claim", f"it is {claim.state}, and what is proved was accepted by you")
    received = find(vault, ReceivedRecord, claim.id)
    if received is None:
        raise Refused(
            "disclosure",
            f"none of {claim.id} was verified here",
            hint="depoli disclosure verify FILE, with the file that the shop handed over",
        )
    text = disclosure.parse_disclosure(received[1].disclosure, "what was disclosed").claim_document
    day = documents.parse(text, CLAIM)[1]["invoice_date"]
    with vault.changes():
        found = find(vault, ProofRecord, claim.id)
        if found is not None and _is_current(found[1], sender, day):
            record = found[1]
        else:
            seed = secrets.token_bytes(SEED_BYTES)
            document = documents.issue(
                REIMBURSEMENT,
                {"invoice_date": day, "claim": claim.id},
                [secrets.token_bytes(SALT_BYTES) for _ in REIMBURSEMENT.fields],
                key_id=sender.key_id,
                key=sender.key,
                holder=SigningKey(seed).public,
            )
            record = ProofRecord(
                issuer=sender.member,
                day=day,
                document=str(document),
                holder=seed,
                claim=bytes.fromhex(claim.id),
            )
            if found is None:
                keep(vault, record, claim.id)
            else:
                update(vault, found[0], record)
    alone = documents.present(parse_sd_jwt(record.document), _SHOWN)
    return Carried(record.issuer, record.holder, str(alone))


def parse_carried(data: bytes, name: str) -> Carried:
    """Return the proof in a file, JSON or the text of its QR code; raise `NotReadable`."""
    text = data.strip()
    if text.startswith(_PREFIX.encode()):
        parts = text[len(_PREFIX) :].decode("ascii", errors="replace").split(":")
    else:
        value: dict[str, Any] = parse_object(data, name)
        if value.get("format") != FORMAT or value.keys() != _FIELDS:
            raise NotReadable(f"{name} is no proof of the day of a reimbursement")
        parts = [value["issuer"], value["holder"], value["document"]]
    match parts:
        case [str(issuer), str(holder), str(document)] if re.fullmatch("[0-9a-f]{32}", issuer):
            try:
                seed = decode_base64url(holder)
            except BadDocument:
                seed = b""
            if len(seed) == SEED_BYTES:
                return Carried(bytes.fromhex(issuer), seed, document)
        case _:
            pass
    raise NotReadable(f"{name} is no proof of the day of a reimbursement, or is cut short")


async def take(
    vault: Vault, node: NodeClient, carried: Carried, reference: str | None = None
) -> ProofRecord:
    """Keep what a patient brought, verified by the key that its payer has on the chain.

    The same again is kept once. Raises `NotVerified`, and `Refused` where our reference names
    another.
    """
    await _verify_issuer(node, carried.issuer, carried.document)
    if parse_sd_jwt(carried.document).holder != SigningKey(carried.holder).public:
        raise NotVerified("holder", "the key that came with it is not the one that it names")
    record = ProofRecord(
        issuer=carried.issuer,
        day=carried.day,
        document=carried.document,
        holder=carried.holder,
    )
    with vault.changes():
        if reference is not None:
            kept = find(vault, ProofRecord, reference)
            if kept is not None and kept[1].document != carried.document:
                raise Refused("reference", f"another proof is kept under {reference}")
        found = find(vault, ProofRecord, carried.name)
        number = keep(vault, record, carried.name) if found is None else found[0]
        if reference is not None and find(vault, ProofRecord, reference) is None:
            vault.name(number, record.KIND, [reference])
    return record


def carried_of(vault: Vault, reference: str) -> Carried:
    """Return the proof that is kept under our reference; raise `NotFound`."""
    found = find(vault, ProofRecord, reference)
    if found is None:
        raise NotFound(
            f"no proof is kept under {reference}", hint="depoli renewal import FILE --reference"
        )
    return Carried(found[1].issuer, found[1].holder, found[1].document)


def show(
    carried: Carried, asked: Asked, view: AuthorisationView, sender: Sender, now: int
) -> bytes:
    """Return the proof bound to who asked and to its question, and to nothing else."""
    document = documents.present(parse_sd_jwt(carried.document), _SHOWN)
    binding = _binding(sender.chain_id, asked, view, issued=now)
    text = key_binding.present(document, binding, SigningKey(carried.holder))
    return encode(LastReimbursement(Source.PAYER, carried.issuer, text.encode()))


def show_claim(
    vault: Vault, reference: str, asked: Asked, view: AuthorisationView, sender: Sender, now: int
) -> tuple[str, bytes]:
    """Return the invoice date of an earlier claim of ours, and the proof of it, bound likewise.

    It serves with who may read that claim: the payer of both. Raises `NotFound`, `Refused`.
    """
    record = lots.load(vault, reference)[1]
    if record.claim is None:
        raise Refused("claim", f"{record.reference} is not on the chain yet")
    document = documents.present(parse_sd_jwt(record.document), _SHOWN)
    binding = _binding(sender.chain_id, asked, view, issued=now)
    text = key_binding.present(document, binding, sender.key)
    return record.invoice_date, encode(LastReimbursement(Source.CLAIM, record.claim, text.encode()))


async def verify(
    data: bytes, asked: Asked, view: AuthorisationView, node: NodeClient, chain_id: bytes, now: int
) -> tuple[str, bytes]:
    """Return the day that a proof states, and the member whose word it is.

    That is all that is learnt. Raises `NotVerified` naming the first false fact.
    """
    try:
        proof = parse_last_reimbursement(data)
        presentation = proof.parsed()
        _verify_binding(presentation, asked, view, chain_id, now)
        if proof.source is Source.PAYER:
            await _verify_issuer(node, proof.of, presentation.shown)
            holder = parse_sd_jwt(presentation.shown).holder
            assert holder is not None  # as its type has it
            presentation.verify(holder)
            return _day_of(presentation.shown), proof.of
        await _verify_claim(node, proof.of, presentation, view)
        return _day_of(presentation.shown), bytes.fromhex(view.optician)
    except BadDocument as error:
        raise NotVerified("proof", str(error)) from None


async def _verify_issuer(node: NodeClient, issuer: bytes, text: str) -> None:
    """Raise `NotVerified` unless a payer signed that, whose key is good now, and shows one day."""
    try:
        document, values = documents.parse(text, REIMBURSEMENT)
        _require_day_alone(values)
        member = await _payer(node, issuer)
        document.verify(key_in_force("issuer", member, bytes.fromhex(document.key_id)))
    except (BadDocument, ValueError) as error:
        raise NotVerified("proof", str(error)) from None


async def _verify_claim(
    node: NodeClient, id_: bytes, presentation: Presentation, view: AuthorisationView
) -> None:
    """Raise `NotVerified` unless this is the document of an accepted claim of who shows it."""
    try:
        claim = await node.claim(id_)
    except NotFound:
        raise NotVerified(
            "claim",
            "the chain shows you no such claim",
            hint="only the payer of an earlier claim can be shown its document; another is shown"
            " what that payer states: depoli renewal prove",
        ) from None
    if claim.submitter != view.optician:
        raise NotVerified("claim", "it is another shop's than the one that answers")
    if claim.state not in ACCEPTED:
        raise NotVerified("claim", f"it is {claim.state}: nothing was reimbursed")
    shop = await node.member(bytes.fromhex(claim.submitter))
    values = disclosure.verify_claim_document(presentation.shown, claim, shop)
    _require_day_alone(values)
    for public in in_force(shop, view.signed_by).values():
        try:
            presentation.verify(public)
        except BadDocument:
            continue
        return
    raise NotVerified("signature", "no key that the shop has now signed that it is shown to you")


def _verify_binding(
    presentation: Presentation, asked: Asked, view: AuthorisationView, chain_id: bytes, now: int
) -> None:
    found = presentation.binding
    wanted = _binding(chain_id, asked, view, issued=found.issued)
    if found.audience != wanted.audience:
        raise NotVerified("recipient", "this proof was made for another payer")
    if found.nonce != wanted.nonce:
        raise NotVerified("question", "this proof was made for another question")
    if now > found.expires:
        raise NotVerified("expiry", "the proof has expired", hint="ask the shop for a new one")


def _binding(
    chain_id: bytes, asked: Asked, view: AuthorisationView, *, issued: int
) -> key_binding.Binding:
    return binding_to(
        chain_id,
        bytes.fromhex(view.payer),
        asked.authorisation,
        asked.question.commitment(),
        issued=issued,
        expires=issued + LIFETIME_S,
    )


async def _payer(node: NodeClient, id_: bytes) -> MemberView:
    try:
        member = await node.member(id_)
    except NotFound:
        raise NotVerified("issuer", "it is no member of this network") from None
    if member.family not in _PAYERS:
        raise NotVerified("issuer", f"of the family {member.family} nobody reimburses")
    return member


def _require_day_alone(values: Iterable[str]) -> None:
    if set(values) != set(_SHOWN):
        raise BadDocument("it must disclose the day, and nothing else")


def _day_of(text: str) -> str:
    try:
        days = {each.value for each in parse_sd_jwt(text).disclosures if each.name in _SHOWN}
    except BadDocument as error:
        raise NotVerified("proof", str(error)) from None
    (day,) = days
    return str(day)


def _is_current(record: ProofRecord, sender: Sender, day: str) -> bool:
    """Return whether what we stated is still so, signed by the key that we have now."""
    return record.day == day and parse_sd_jwt(record.document).key_id == sender.key_id.hex()
