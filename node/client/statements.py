"""What a payer tells a beneficiary beside the chain: what opens a sum, or a part accepted.

A statement is verified against the commitment on the chain before it is believed or confirmed.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from contracts.commitment import (
    SALT_BYTES,
    TOTAL_MAX,
    Opening,
    payment_commitment,
    verify_opening,
)
from contracts.errors import BadOpening
from node.client.errors import NotReadable, NotVerified
from node.client.reading import parse_object

SETTLEMENT: Final = "depoli/settlement/1"
ACCEPTANCE: Final = "depoli/acceptance/1"
AGREEMENT: Final = "depoli/agreement/1"
_FIELDS: Final = {"format", "id", "payer", "beneficiary", "cents", "blinding", "payment"}
# Of a payment, as a bank hands it on (SEPA's end-to-end identification has 35 characters).
REFERENCE: Final = re.compile(r"[A-Za-z0-9/?:().,'+ -]{1,35}", re.ASCII)
_HEX: Final = {"id": 32, "payer": 16, "beneficiary": 16, "blinding": 32}  # field -> bytes


@dataclass(frozen=True, slots=True)
class Payment:
    """The reference under which a settlement is paid, and what hides it on the chain."""

    reference: str
    salt: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """The opening of a settlement's sum, or of what is accepted of one claim."""

    format: str  # SETTLEMENT, ACCEPTANCE or AGREEMENT
    id: bytes  # of the settlement or the claim
    payer: bytes
    beneficiary: bytes
    opening: Opening
    payment: Payment | None = None  # of a settlement only

    def to_json(self) -> bytes:
        """Return the statement as a file. It holds a secret: seal it."""
        value = {
            "format": self.format,
            "id": self.id.hex(),
            "payer": self.payer.hex(),
            "beneficiary": self.beneficiary.hex(),
            "cents": self.opening.amount,
            "blinding": self.opening.blinding.hex(),
            "payment": None
            if self.payment is None
            else {"reference": self.payment.reference, "salt": self.payment.salt.hex()},
        }
        return json.dumps(value, indent=2).encode() + b"\n"

    def verify(self, commitment: bytes) -> None:
        """Raise `NotVerified` unless this opens `commitment`, as it stands on the chain."""
        try:
            verify_opening(commitment, self.opening)
        except BadOpening:
            raise NotVerified(
                "sum" if self.format == SETTLEMENT else "accepted amount",
                "what is stated does not open the commitment on the chain",
                hint="confirm nothing; ask the payer for the statement of this settlement",
            ) from None

    def verify_payment(self, commitment: bytes | None) -> None:
        """Raise `NotVerified` unless the payment is what `commitment` on the chain is to."""
        found = None
        if self.payment is not None:
            found = payment_commitment(self.payment.salt, self.payment.reference.encode())
        if found != commitment:
            raise NotVerified(
                "payment", "its reference is not the one to which the payer committed on the chain"
            )


def parse_statement(data: bytes, name: str) -> Statement:
    """Return the statement in a file; raise `NotReadable`. It is not verified yet."""
    value: dict[str, Any] = parse_object(data, name)
    if value.keys() != _FIELDS or value["format"] not in (SETTLEMENT, ACCEPTANCE, AGREEMENT):
        raise NotReadable(f"{name} is no statement of a settlement or of an acceptance")
    for field, size in _HEX.items():
        text = value[field]
        if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise NotReadable(f"{name}: {field} must be {2 * size} hexadecimal digits")
    cents = value["cents"]
    if isinstance(cents, bool) or not isinstance(cents, int) or not 0 <= cents <= TOTAL_MAX:
        raise NotReadable(f"{name}: cents must be a whole number from 0 to {TOTAL_MAX}")
    return Statement(
        value["format"],
        bytes.fromhex(value["id"]),
        bytes.fromhex(value["payer"]),
        bytes.fromhex(value["beneficiary"]),
        Opening(cents, bytes.fromhex(value["blinding"])),
        _parse_payment(value["payment"], name),
    )


def _parse_payment(value: object, name: str) -> Payment | None:
    match value:
        case None:
            return None
        case {"reference": str() as reference, "salt": str() as salt, **more} if (
            not more
            and REFERENCE.fullmatch(reference)
            and re.fullmatch(f"[0-9a-f]{{{2 * SALT_BYTES}}}", salt)
        ):
            return Payment(reference, bytes.fromhex(salt))
        case _:
            raise NotReadable(f"{name}: payment must be null, or a reference and its salt")
