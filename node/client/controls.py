"""Control of what a shop attested: drawn by a later block, opened to who keeps secrets, judged.

Nothing of it goes on the chain. The shop opens two prescriptions to a health professional, on a
terminal in the shop or in a file sealed to that one; the payer is told conform, or not conform.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from contracts import documents
from contracts.control import Finding, Verdict, drawn_at, is_drawn, judge, parse_verdict
from contracts.documents import PRESCRIPTION, Value
from contracts.early import Attestation, attestation_id, parse_attestation
from contracts.errors import BadDocument
from contracts.sd_jwt import parse as parse_sd_jwt
from ledger.encoding import encode
from node.client import answers, prescriptions
from node.client.agreements import AuthorisationView, authorisation_of
from node.client.client import MemberView, NodeClient
from node.client.errors import NotFound, NotReadable, NotVerified, Refused
from node.client.grounds import header_of
from node.client.reading import parse_object
from node.client.records import ControlRecord, Facts, Opened, find, update
from node.client.signers import in_force, key_in_force
from node.client.transactions import Sender
from node.client.vault import Vault

OPENING: Final = "depoli/control/1"
VERDICT: Final = "depoli/verdict/1"
LIFETIME_S: Final = 3 * 86_400  # of a sealed opening, where the shop says nothing
_OPENING_FIELDS: Final = {"format", "attestation", "expires", "before", "after", "facts"}
_VERDICT_FIELDS: Final = {"format", "verdict"}
# What a professional is shown of a prescription: no secret and no mark, which serve for claims.
_SHOWN: Final = tuple(
    name for name in PRESCRIPTION.fields if name != "ordinal" and not name.startswith("mark_")
)
_EXPIRES_MAX: Final = 1 << 40
_MAX_BYTES: Final = 16 << 10  # of an attestation or a verdict in a file


@dataclass(frozen=True, slots=True)
class Draw:
    """Whether a later block draws an answer; anybody with its header computes the same."""

    answer: bytes  # its commitment, on the chain
    control: int  # of 1,000
    height: int  # of the block that draws
    header: bytes | None  # hash of that one's header; None: it is not made yet

    @property
    def is_drawn(self) -> bool | None:
        """Whether it is drawn; None where that is not known yet."""
        return None if self.header is None else is_drawn(self.header, self.answer, self.control)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a professional is handed: the prescriptions, or nothing of them for who saw them."""

    attestation: Attestation
    expires: int  # unix seconds
    before: str | None = None  # SD-JWTs with what may be shown
    after: str | None = None
    facts: Facts | None = None

    def to_json(self) -> bytes:
        """Return it as a file. With prescriptions it is for one pair of eyes: seal it."""
        value = {
            "format": OPENING,
            "attestation": encode(self.attestation).hex(),
            "expires": self.expires,
            "before": self.before,
            "after": self.after,
            "facts": None if self.facts is None else msgspec.to_builtins(self.facts),
        }
        return json.dumps(value, indent=2).encode() + b"\n"


async def draw(node: NodeClient, record: ControlRecord) -> Draw:
    """Return whether what is kept is drawn; raise `NotFound` where it was not answered with yet."""
    if record.answer is None:
        raise NotFound("it was not answered with yet")
    view = await authorisation_of(node, record.authorisation)
    return await draw_of(node, view, parse_attestation(record.attestation), record.answer)


async def draw_of(
    node: NodeClient, view: AuthorisationView, attestation: Attestation, answer: bytes
) -> Draw:
    """Return whether an answer is drawn that stands on the chain; raise `NotVerified`."""
    height = drawn_at(await answers.height_of(node, view, answer))
    header: bytes | None = None
    if (await node.head()).height >= height:
        header = await header_of(node, height)
    return Draw(answer, attestation.says.control, height, header)


async def require_drawn(node: NodeClient, record: ControlRecord) -> Draw:
    """Return the draw; raise `Refused` unless it is drawn."""
    found = await draw(node, record)
    if found.is_drawn is None:
        raise Refused("control", f"block {found.height} draws it, and is not made yet")
    if not found.is_drawn:
        raise Refused("control", f"block {found.height} did not draw it: nobody may look into it")
    return found


def load(vault: Vault, authorisation: bytes) -> tuple[int, ControlRecord]:
    """Return number and record of what was attested for a prior agreement; raise `NotFound`."""
    found = find(vault, ControlRecord, authorisation.hex())
    if found is None:
        raise NotFound(f"nothing was attested for {authorisation.hex()}")
    return found


def open_to(
    vault: Vault,
    record: ControlRecord,
    member: bytes | None,
    *,
    now: int,
    lifetime_s: int = LIFETIME_S,
) -> Opening:
    """Return both prescriptions for a professional, after writing down that they are shown.

    `member` is None for who stands at a terminal in the shop. Raises `NotFound` where a
    prescription was erased, `Refused` where the attestation is not ours.
    """
    if record.before is None or record.after is None:
        raise Refused("control", "the shop that attested it opens it, and nobody else")
    attestation = parse_attestation(record.attestation)
    shown = [
        _shown(vault, reference, commitment)
        for reference, commitment in (
            (record.before, attestation.says.before),
            (record.after, attestation.says.after),
        )
    ]
    with vault.changes():
        number, kept = load(vault, record.authorisation)
        kept.opened = [*kept.opened, Opened(member, now)]
        update(vault, number, kept)
    return Opening(attestation, now + lifetime_s, shown[0], shown[1], record.facts)


def slip_of(opening: Opening) -> Opening:
    """Return what a professional signs who saw the prescriptions in the shop: none is in it."""
    return Opening(opening.attestation, opening.expires)


def parse_opening(data: bytes, name: str) -> Opening:
    """Return what a file opens; raise `NotReadable`. `name` is the file's."""
    value: dict[str, Any] = parse_object(data, name)
    if value.get("format") != OPENING or value.keys() != _OPENING_FIELDS:
        raise NotReadable(f"{name} opens nothing to control")
    expires, texts = value["expires"], (value["before"], value["after"])
    if type(expires) is not int or not 0 <= expires <= _EXPIRES_MAX:
        raise NotReadable(f"{name}: expires must be seconds")
    if not all(text is None or isinstance(text, str) for text in texts):
        raise NotReadable(f"{name}: before and after must be documents")
    try:
        facts = value["facts"]
        facts = None if facts is None else msgspec.convert(facts, Facts)
        return Opening(parse_attestation(_hex(value["attestation"])), expires, *texts, facts)
    except (BadDocument, msgspec.ValidationError):
        raise NotReadable(f"{name}: what is to be controlled is not readable") from None


def read(opening: Opening, *, now: int) -> tuple[dict[str, Value], dict[str, Value]] | None:
    """Return both prescriptions, each the one that the attestation names; None where none is in it.

    Raises `NotVerified`.
    """
    if now > opening.expires:
        raise NotVerified("expiry", "it may be read no more", hint="ask the shop to open it again")
    if opening.before is None or opening.after is None:
        return None
    says = opening.attestation.says
    return (
        _verified("before", opening.before, says.before),
        _verified("after", opening.after, says.after),
    )


def sign(opening: Opening, sender: Sender, *, conform: bool) -> Verdict:
    """Return the verdict: that it is conform, or not, and nothing else."""
    says = opening.attestation.says
    finding = Finding(
        chain_id=sender.chain_id,
        optician=says.optician,
        recipient=says.recipient,
        authorisation=says.authorisation,
        attestation=attestation_id(opening.attestation),
        conform=conform,
    )
    return judge(finding, sender.member, sender.key, sender.role)


def verdict_json(verdict: Verdict) -> bytes:
    """Return a verdict as a file."""
    value = {"format": VERDICT, "verdict": encode(verdict).hex()}
    return json.dumps(value, indent=2).encode() + b"\n"


def read_verdict(data: bytes, name: str) -> Verdict:
    """Return the verdict in a file; raise `NotReadable`. `name` is the file's."""
    value = parse_object(data, name)
    if value.get("format") != VERDICT or value.keys() != _VERDICT_FIELDS:
        raise NotReadable(f"{name} is no verdict of a control")
    try:
        return parse_verdict(_hex(value["verdict"]))
    except BadDocument as error:
        raise NotReadable(f"{name}: {error}") from None


async def check(vault: Vault, node: NodeClient, verdict: Verdict, chain_id: bytes) -> None:
    """Raise `NotVerified` unless a verdict holds: drawn, about what was attested, by who may.

    Raises `NotFound` where nothing was attested to us for that prior agreement.
    """
    finding, signed = verdict.finding, verdict.signed
    record = load(vault, finding.authorisation)[1]
    attestation = parse_attestation(record.attestation)
    says = attestation.says
    wanted = Finding(
        chain_id,
        says.optician,
        says.recipient,
        says.authorisation,
        attestation_id(attestation),
        finding.conform,
    )
    if finding != wanted:
        raise NotVerified("verdict", "it is about something else than was attested here")
    if not (await draw(node, record)).is_drawn:
        raise NotVerified("draw", "nobody was to look into it: no block drew it")
    if record.verdict not in {None, encode(verdict)}:
        raise NotVerified("verdict", "another was given on it before, and stands")
    if signed.member in {each.member for each in attestation.signatures()}:
        raise NotVerified("signature", "who attested it does not control it")
    await _verify_professional(node, verdict)


def keep_verdict(vault: Vault, verdict: Verdict) -> None:
    """Keep a verdict that was checked; inside `changes()`."""
    number, record = load(vault, verdict.finding.authorisation)
    record.verdict = encode(verdict)
    update(vault, number, record)


async def _verify_professional(node: NodeClient, verdict: Verdict) -> None:
    """Raise `NotVerified` unless a prescriber signed, or a person with a key of its own."""
    signed = verdict.signed
    try:
        member = await node.member(signed.member)
    except NotFound:
        raise NotVerified("signature", "it is of no member of this network") from None
    people = _people(member)
    if member.family != "prescriber" and signed.key_id not in people:
        raise NotVerified(
            "signature", "it is of no prescriber, and of no person with a registered key"
        )
    public = key_in_force("signature", member, signed.key_id)
    try:
        signed.verify(verdict.finding.message(), public)
    except BadDocument as error:
        raise NotVerified("signature", str(error)) from None


def _people(member: MemberView) -> set[bytes]:
    human = {bytes.fromhex(key.id) for key in member.keys if key.role == "human"}
    return human & in_force(member).keys()


def _shown(vault: Vault, reference: str, commitment: bytes) -> str:
    record = prescriptions.load(vault, reference)[1]
    document = parse_sd_jwt(record.document_of(commitment))
    if document.commitment != commitment:
        raise NotFound(f"the prescription {reference} that was attested is kept no more")
    return str(documents.present(document, _SHOWN))


def _verified(which: str, text: str, commitment: bytes) -> dict[str, Value]:
    try:
        document, values = documents.parse(text, PRESCRIPTION)
    except BadDocument as error:
        raise NotVerified(which, str(error)) from None
    if document.commitment != commitment:
        raise NotVerified(which, "it is not the prescription that the attestation names")
    return values


def _hex(value: object) -> bytes:
    text = value if isinstance(value, str) and len(value) <= 2 * _MAX_BYTES else ""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadDocument("what is no hexadecimal text stands where one must") from None
