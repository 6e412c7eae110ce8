"""What we send to members by post, in the vault: kept before it is sent, until it is acknowledged.

One thing shown to one member for one purpose is one delivery. To send it again is to send the same
envelope again; only what was refused, has expired or says something else is put into another.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger import envelope as envelopes
from ledger.envelope import MAX_CONTENT_BYTES, Envelope, Unsigned
from node.client import sealing
from node.client.acknowledgement import Acknowledgement, Verdict
from node.client.errors import USAGE, ClientError, NotVerified, Refused
from node.client.records import DeliveryRecord, Way, find, keep, update
from node.client.transactions import Sender
from node.client.vault import Vault

LIFETIME_S: Final = 30 * 86_400  # nodes keep post for 90 days; who does not look for 30 is asked
FIRST_RETRY_S: Final = 30  # to ask our node again what became of it
LAST_RETRY_S: Final = 3600
# What the recipient's node has may wait for its people to come back, and is rarely lost.
FIRST_RENEWAL_S: Final = 6 * 3600
LAST_RENEWAL_S: Final = 7 * 86_400
NONCE_BYTES: Final = 16


class NoSealingKey(ClientError):
    """Nothing goes by post that is not sealed, and there is no key to seal it to."""

    exit_code = USAGE

    def __init__(self, who: str, *, is_ours: bool = False) -> None:
        makes = "depoli member add-key --role sealing"
        can = f"{makes} makes one" if is_ours else f"there {makes} makes one, and not here"
        super().__init__(
            f"{who} has no sealing key: nothing goes by post that is not sealed, and answered so",
            hint=f"{can}; or hand a file over by a way that is private itself: --output FILE, of"
            " claims with depoli disclosure make",
        )
        self.is_ours = is_ours


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that a member is to be told."""

    recipient: bytes
    format: str  # of the file
    purpose: str
    subject: bytes  # id of the claim, the prior agreement, the settlement that it is about
    version: bytes  # what differs where the same purpose is told something else
    plain: bytes  # the file
    lifetime_s: int = LIFETIME_S

    @property
    def name(self) -> str:
        """The name under which the vault finds its delivery."""
        return letter_name(self.purpose, self.subject, self.recipient, self.version)


def letter_name(purpose: str, subject: bytes, recipient: bytes, version: bytes) -> str:
    """Return the name under which the vault finds the delivery of what a member is told."""
    return f"letter {purpose} {subject.hex()} {recipient.hex()} {version.hex()}"


def begin(
    vault: Vault, us: Sender, letter: Letter, sealing_key: bytes, *, now: int
) -> tuple[int, DeliveryRecord]:
    """Return the delivery of a letter, kept now or before; call it inside `vault.changes()`.

    Raises `Refused` where it is too long.
    """
    found = find(vault, DeliveryRecord, letter.name)
    if found is not None:
        if found[1].state.is_open or found[1].state is Way.ACKNOWLEDGED:
            return found
        vault.unname(DeliveryRecord.KIND, letter.name)  # refused or expired: it is sent anew
    content = sealing.seal_to(letter.plain, letter.recipient, sealing_key)
    if len(content) > MAX_CONTENT_BYTES:
        raise Refused(letter.purpose, f"sealed, it has more than {MAX_CONTENT_BYTES} bytes")
    made = write(us, letter.recipient, content, expires=now + letter.lifetime_s)
    record = DeliveryRecord(
        id=made.id,
        recipient=letter.recipient,
        format=letter.format,
        purpose=letter.purpose,
        subject=letter.subject,
        version=letter.version,
        envelope=made.raw,
        created=now,
        expires=made.body.expires,
        due=now,
    )
    return keep(vault, record, made.id.hex(), letter.name), record


def written(vault: Vault, letter: Letter, content: bytes, *, now: int) -> None:
    """Note that a letter was written to a file; call it inside `vault.changes()`.

    Who may have seen what is known of files too. What goes by post as well is noted as that.
    """
    found = find(vault, DeliveryRecord, letter.name)
    if found is not None:
        if found[1].state not in {Way.REFUSED, Way.EXPIRED}:
            return
        vault.unname(DeliveryRecord.KIND, letter.name)
    record = DeliveryRecord(
        id=sha256(content).digest(),
        recipient=letter.recipient,
        format=letter.format,
        purpose=letter.purpose,
        subject=letter.subject,
        version=letter.version,
        envelope=b"",
        created=now,
        expires=now,
        due=now,
        state=Way.WRITTEN,
    )
    keep(vault, record, record.id.hex(), letter.name)


def write(us: Sender, recipient: bytes, content: bytes, *, expires: int) -> Envelope:
    """Return sealed content in an envelope, signed."""
    body = Unsigned(
        envelopes.VERSION,
        us.chain_id,
        us.member,
        us.key_id,
        recipient,
        secrets.token_bytes(NONCE_BYTES),
        expires,
        content,
    )
    return envelopes.sign(body, us.key)


def renew(vault: Vault, us: Sender, number: int, record: DeliveryRecord) -> None:
    """Put what is sent into a new envelope; call it inside `vault.changes()`.

    Nodes let nobody repeat an envelope that was fetched. The recipient knows it by its content, and
    repeats what it said of the first.
    """
    content = envelopes.parse(record.envelope).body.content
    made = write(us, record.recipient, content, expires=record.expires)
    record.envelope = made.raw
    vault.name(number, DeliveryRecord.KIND, [made.id.hex()])
    update(vault, number, record)


def must_be_renewed(us: Sender, record: DeliveryRecord) -> bool:
    """Return whether the same envelope would not be taken again: our key is another one now."""
    is_signed_so = envelopes.parse(record.envelope).body.key_id == us.key_id
    return record.state is Way.HANDED_ON or not is_signed_so


def tried(record: DeliveryRecord, state: Way, said: str | None, *, now: int) -> None:
    """Note in the record that it was sent, what came of it, and when it is sent again."""
    if state is not record.state:
        record.attempts = 0
    first, last = (
        (FIRST_RENEWAL_S, LAST_RENEWAL_S)
        if state is Way.HANDED_ON
        else (FIRST_RETRY_S, LAST_RETRY_S)
    )
    wait = min(last, first << min(record.attempts, 16))
    record.attempts += 1
    record.state, record.reason = state, said
    # Not all that lay waiting comes back at the same second.
    record.due = now + wait + secrets.randbelow(wait // 4 + 1)


def ended(record: DeliveryRecord, state: Way, reason: str | None = None) -> None:
    """Note in the record that it is sent no more; what was sent is dropped."""
    record.state, record.reason, record.envelope = state, reason, b""


def acknowledged(
    vault: Vault, us: Sender, said: Acknowledgement, data: bytes, *, now: int
) -> DeliveryRecord | None:
    """Keep a recipient's word, whose signature was verified; call it inside `vault.changes()`.

    Returns the delivery, None where it says nothing new. Raises `NotVerified` where we sent nothing
    like it.
    """
    found = find(vault, DeliveryRecord, said.envelope.hex())
    if found is None or (us.member, found[1].recipient) != (said.sender, said.recipient):
        raise NotVerified("envelope", "it acknowledges what was never sent to that member")
    number, record = found
    if record.acknowledgement is not None:
        return None
    record.acknowledgement, record.acknowledged = data, now
    if said.verdict is Verdict.TAKEN:
        ended(record, Way.ACKNOWLEDGED)
    else:
        false = f": {said.fact}" if said.fact else ""
        ended(record, Way.REFUSED, f"{said.verdict.words}{false}")
    update(vault, number, record)
    return record
