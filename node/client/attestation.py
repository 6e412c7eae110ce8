"""That a certificate vouches for a ledger key: as the chain has it, or as a file before that.

Who is no member yet cannot write on the chain. It hands a file to those who vote on it: what the
key in its certificate signed, for the key by which it is to be admitted.
"""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import msgspec

from contracts import certificates, registry
from ledger.keys import Role, algorithm_of, key_id
from node.client.client import Hex16, Hex32, MemberView
from node.client.errors import NotReadable, NotVerified
from node.client.transactions import Sender

FORMAT: Final = "depoli/attestation/1"
_LONG: Final = "^([0-9a-f]{2}){32,512}$"


@dataclass(frozen=True, slots=True)
class Attestation:
    """A certificate's key signed for a ledger key."""

    chain_id: bytes
    member: bytes
    key: bytes  # the ledger key
    certificate: bytes  # SHA-256 of its DER
    public: bytes  # the key in it
    signature: bytes

    def to_json(self) -> bytes:
        """Return it as a file."""
        value = {name: part.hex() for name, part in asdict(self).items()}
        return json.dumps({"format": FORMAT, **value}, indent=2).encode() + b"\n"

    def verify(
        self, chain_id: bytes, member: bytes, certificate: bytes, public: bytes
    ) -> list[str]:
        """Return the id of the ledger key; raise `NotVerified` naming what is not as expected."""
        for fact, expected, found in (
            ("chain_id", chain_id, self.chain_id),
            ("member", member, self.member),
            ("certificate", certificate, self.certificate),
            ("key", public, self.public),
        ):
            if expected != found:
                raise NotVerified(fact, f"the file says {found.hex()}, not {expected.hex()}")
        if registry.member_id(self.key) != member:
            raise NotVerified("member", "its id is not that of the key in the file")
        message = certificates.signed_bytes(chain_id, member, certificate, self.key)
        if not certificates.is_signed(public, message, self.signature):
            raise NotVerified("signature", "it is not by the key in the certificate")
        return [key_id(Role.TRANSACTION, algorithm_of(self.key), self.key).hex()]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    chain_id: Hex32
    member: Hex16
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}([0-9a-f]{2})?$")]
    certificate: Hex32
    public: Annotated[str, msgspec.Meta(pattern=_LONG)]
    signature: Annotated[str, msgspec.Meta(pattern=_LONG)]


def parse_attestation(data: bytes, name: str) -> Attestation:
    """Return what a file attests, nothing of it verified; raise `NotReadable`."""
    try:
        found = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotReadable(f"{name} attests nothing: {error}") from None
    if found.format != FORMAT:
        raise NotReadable(f"{name} is of another format than {FORMAT}")
    parts = (getattr(found, each) for each in _File.__struct_fields__[1:])
    return Attestation(*map(bytes.fromhex, parts))


def binding_message(sender: Sender, certificate: bytes, public: bytes) -> bytes:
    """Return what the key in a certificate signs for a ledger key of ours."""
    return certificates.signed_bytes(sender.chain_id, sender.member, certificate, public)


def bound_keys(member: MemberView, certificate: bytes, public: bytes) -> list[str]:
    """Return the ids of the keys that the chain has bound to a certificate; raise `NotVerified`."""
    bound = [
        (key.id, key.certificate)
        for key in member.keys
        if key.certificate is not None and key.certificate.hash == certificate.hex()
    ]
    if not bound:
        raise NotVerified(
            "certificate", f"no key of {member.label or member.id} is bound to it on the chain"
        )
    if any(each.public != public.hex() for _, each in bound):
        raise NotVerified("key", "the chain has another key for this certificate")
    return [id_ for id_, _ in bound]
