"""The recipient's signed word on what came by post: that it was taken, or why it was refused.

It is signed over the envelope's id, which is the hash of all that the sender signed, so that both
sides hold who showed what to whom: the recipient the sender's signature, the sender this one.
"""

import dataclasses
import json
import re
import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Final, Self

import msgspec

from ledger.encoding import U63_MAX, Struct, encode
from ledger.envelope import Envelope
from ledger.errors import LedgerError
from ledger.hashing import HASH_BYTES, Domain, Hash, hash_of
from ledger.keys import KEY_ID_BYTES, SIGNATURE_BYTES, verify
from ledger.validators import MEMBER_ID_BYTES, Bytes16, Bytes32
from node.client.errors import ClientError, NotFound, NotReadable, NotVerified
from node.client.reading import parse_object
from node.client.transactions import Sender

FORMAT: Final = "depoli/acknowledgement/1"
SALT_BYTES: Final = 32
FACT: Final = re.compile("[a-z][a-z _]{0,39}")
_BYTES: Final = {
    "envelope": HASH_BYTES,
    "sender": MEMBER_ID_BYTES,
    "recipient": MEMBER_ID_BYTES,
    "salt": SALT_BYTES,
    "key_id": KEY_ID_BYTES,
    "signature": SIGNATURE_BYTES,
}
_FIELDS: Final = {"format", "verdict", "fact", "time", *_BYTES}
_RECIPIENT: Final = frozenset(("recipient", "beneficiary"))  # facts that say: not for us
_SIGNED: Final = b"depoli/sign/acknowledgement/1\x00"


class Verdict(IntEnum):
    """What the recipient says; the numbers never change."""

    TAKEN = 0
    WRONG_RECIPIENT = 1
    EXPIRED = 2
    NOT_ON_THE_CHAIN = 3
    NOT_VERIFIED = 4  # and which fact is false
    NOT_READABLE = 5  # sealed to another key, not sealed, or of no kind that we know

    @property
    def words(self) -> str:
        """The verdict as people and files write it."""
        return self.name.lower().replace("_", " ")


_VERDICTS: Final = {each.words: each for each in Verdict}


class _Said(Struct):
    """What is signed."""

    chain_id: Bytes32
    envelope: Bytes32
    sender: Bytes16
    recipient: Bytes16
    verdict: Annotated[int, msgspec.Meta(ge=0, le=255)]
    fact: bytes
    time: Annotated[int, msgspec.Meta(ge=0, le=U63_MAX)]
    salt: Bytes32


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A recipient's word on one envelope."""

    chain_id: bytes
    envelope: bytes  # its id
    sender: bytes  # of the envelope
    recipient: bytes  # of the envelope, who signs this
    verdict: Verdict
    fact: str  # that is false, where the verdict is NOT_VERIFIED; else empty
    time: int  # unix seconds by the recipient's clock, which nobody believes
    salt: bytes
    key_id: bytes = b""
    signature: bytes = b""

    @property
    def commitment(self) -> Hash:
        """What may stand on the chain: the same for every purpose, and hidden by the salt."""
        said = _Said(
            self.chain_id,
            self.envelope,
            self.sender,
            self.recipient,
            self.verdict,
            self.fact.encode(),
            self.time,
            self.salt,
        )
        return hash_of(Domain.ACKNOWLEDGEMENT, encode(said))

    def to_json(self) -> bytes:
        """Return it as a file."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "verdict": self.verdict.words,
            "fact": self.fact,
            "time": self.time,
        }
        value |= {name: getattr(self, name).hex() for name in _BYTES}
        return json.dumps(value, indent=2).encode() + b"\n"

    def signed(self, us: Sender) -> Self:
        """Return it signed with our key."""
        signature = us.key.sign(_SIGNED + self.commitment)
        return dataclasses.replace(self, key_id=us.key_id, signature=signature)

    def verify_in(self, envelope: Envelope, public: bytes) -> None:
        """Raise `NotVerified` unless it is of who wrote the envelope around it, and signed so."""
        carried = (envelope.body.chain_id, envelope.body.sender, envelope.body.key_id)
        if (self.chain_id, self.recipient, self.key_id) != carried:
            raise NotVerified("key", "who acknowledges signs its envelope with the same key")
        self.verify(public)

    def verify(self, public: bytes) -> None:
        """Raise `NotVerified` unless it is signed with this key."""
        try:
            verify(public, _SIGNED + self.commitment, self.signature, what="acknowledgement")
        except LedgerError:
            raise NotVerified("signature", "the acknowledgement was changed") from None


def acknowledge(
    us: Sender, envelope: bytes, sender: bytes, verdict: Verdict, fact: str, *, now: int
) -> Acknowledgement:
    """Return our signed word on the envelope of this id that `sender` wrote."""
    salt = secrets.token_bytes(SALT_BYTES)
    said = Acknowledgement(us.chain_id, envelope, sender, us.member, verdict, fact, now, salt)
    return said.signed(us)


def parse_acknowledgement(data: bytes, name: str, chain_id: bytes) -> Acknowledgement:
    """Return the acknowledgement in a file of this chain, not yet verified; raise `NotReadable`."""
    value = parse_object(data, name)
    fact, time = value.get("fact"), value.get("time")
    verdict = _VERDICTS.get(str(value.get("verdict")))
    if value.keys() != _FIELDS or value["format"] != FORMAT or verdict is None:
        raise NotReadable(f"{name} is no acknowledgement")
    for field, size in _BYTES.items():
        text = value[field]
        if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise NotReadable(f"{name}: {field} must be {2 * size} hexadecimal digits")
    is_false = verdict is Verdict.NOT_VERIFIED
    if not isinstance(fact, str) or (not fact) == is_false or (fact and not FACT.fullmatch(fact)):
        raise NotReadable(f"{name}: fact must be the one that is not verified, and else empty")
    if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time <= U63_MAX:
        raise NotReadable(f"{name}: time must be unix seconds")
    parts = {field: bytes.fromhex(value[field]) for field in _BYTES}
    return Acknowledgement(chain_id=chain_id, verdict=verdict, fact=fact, time=time, **parts)


def verdict_of(error: ClientError) -> tuple[Verdict, str]:
    """Return what the sender is told of why something was not taken, and the false fact."""
    match error:
        case NotFound():
            return Verdict.NOT_ON_THE_CHAIN, ""
        case NotReadable():
            return Verdict.NOT_READABLE, ""
        case NotVerified(fact=fact) if fact in _RECIPIENT:
            return Verdict.WRONG_RECIPIENT, ""
        case NotVerified(fact="expiry"):
            return Verdict.EXPIRED, ""
        case NotVerified(fact="seal"):
            return Verdict.NOT_READABLE, ""
        case NotVerified(fact=fact) if FACT.fullmatch(fact):
            return Verdict.NOT_VERIFIED, fact
        case _:
            return Verdict.NOT_VERIFIED, "content"
