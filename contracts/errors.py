"""What the rules refuse.

Three kinds: `Inadmissible`, a transaction that may not be in a block; `Refused`, a call that a
contract's guard turns into a refused entry of the log; and what is wrong with a document (a
genesis, an opening, a disclosure) that somebody was handed.
"""

from enum import IntEnum
from typing import ClassVar, Self


class ContractsError(Exception):
    """Base of every refusal of this package: the input is at fault, not the program."""


# --- transactions that no block may hold ----------------------------------------------------------


class Inadmissible(ContractsError):
    """A transaction may not be in the next block; `code` is a stable name for programs."""

    code: ClassVar[str] = "inadmissible"


class WrongChain(Inadmissible):
    """It was signed for another chain."""

    code = "wrong-chain"

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(f"signed for chain {found.hex()}, this is {expected.hex()}")
        self.expected = expected
        self.found = found


class Expired(Inadmissible):
    """Its last second has passed."""

    code = "expired"

    def __init__(self, valid_until: int, time: int) -> None:
        super().__init__(f"valid until {valid_until}, and it is {time}")
        self.valid_until = valid_until
        self.time = time


class TooFarAhead(Inadmissible):
    """It would be valid longer than ids are remembered."""

    code = "too-far-ahead"

    def __init__(self, valid_until: int, latest: int) -> None:
        super().__init__(f"valid until {valid_until}, at most {latest} may be asked for now")
        self.valid_until = valid_until
        self.latest = latest


class AlreadySeen(Inadmissible):
    """It is in the chain already."""

    code = "already-seen"

    def __init__(self, transaction_id: bytes) -> None:
        super().__init__(f"transaction {transaction_id.hex()} is in the chain already")
        self.transaction_id = transaction_id


class UnknownSender(Inadmissible):
    """Its sender is no member."""

    code = "unknown-sender"

    def __init__(self, sender: bytes) -> None:
        super().__init__(f"no member has the id {sender.hex()}")
        self.sender = sender


class SenderNotAdmitted(Inadmissible):
    """Its sender is a member that is suspended or removed."""

    code = "sender-not-admitted"

    def __init__(self, sender: bytes, status: str) -> None:
        super().__init__(f"member {sender.hex()} is {status}")
        self.sender = sender
        self.status = status


class UnknownKey(Inadmissible):
    """Its sender has no such key."""

    code = "unknown-key"

    def __init__(self, sender: bytes, key_id: bytes) -> None:
        super().__init__(f"member {sender.hex()} has no key {key_id.hex()}")
        self.sender = sender
        self.key_id = key_id


class KeyNotForTransactions(Inadmissible):
    """The key that it names has another role."""

    code = "key-not-for-transactions"

    def __init__(self, key_id: bytes, role: str) -> None:
        super().__init__(f"key {key_id.hex()} is for {role}, not for transactions")
        self.key_id = key_id
        self.role = role


class KeyNotInForce(Inadmissible):
    """The key that it names is not valid yet, or no more."""

    code = "key-not-in-force"

    def __init__(self, key_id: bytes, height: int) -> None:
        super().__init__(f"key {key_id.hex()} is not in force at height {height}")
        self.key_id = key_id
        self.height = height


class MalformedCall(Inadmissible):
    """One of its calls is no call of this version."""

    code = "malformed-call"

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"call {position}: {reason}")
        self.position = position
        self.reason = reason


class TooCostly(Inadmissible):
    """It costs more than a whole block may."""

    code = "too-costly"

    def __init__(self, cost: int, limit: int) -> None:
        super().__init__(f"costs {cost}, a whole block may cost {limit}")
        self.cost = cost
        self.limit = limit


class WrongSignature(Inadmissible):
    """Its signature does not verify under the key that it names."""

    code = "wrong-signature"

    def __init__(self, transaction_id: bytes) -> None:
        super().__init__(f"the signature of transaction {transaction_id.hex()} does not verify")
        self.transaction_id = transaction_id


class OverLimit(Inadmissible):
    """A block holds more than the parameters allow."""

    code = "over-limit"

    def __init__(self, what: str, found: int, limit: int) -> None:
        super().__init__(f"a block of {found} {what}, at most {limit}")
        self.what = what
        self.found = found
        self.limit = limit


# --- calls that become refused entries ------------------------------------------------------------


class Refusal(IntEnum):
    """Why a contract refused a call; the numbers stand in the record and never change."""

    text: str

    def __new__(cls, code: int, text: str) -> Self:
        """Return a member whose number is `code` and whose sentence is `text`."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.text = text
        return member

    SENDER_NOT_ELIGIBLE = 1, "Members of the sender's family may not make this call."
    PRESCRIPTION_ALREADY_COMMITTED = (
        10,
        "The sender committed this prescription before, at the height given.",
    )
    MARK_ALREADY_LOCKED = 20, "This lock stands already, since the height given."
    MARK_NOT_LOCKED = 21, "The sender has not locked the mark whose number is given."
    MARK_LOCKED_TOO_LATE = (
        22,
        "The mark whose number is given was locked in this very block; use it in a later one.",
    )
    MARK_ALREADY_USED = 23, "A live claim uses this mark already."
    PAYER_UNKNOWN = 30, "The payer is no admitted member."
    PAYER_NOT_ELIGIBLE = 31, "The payer is neither an insurer nor an operator, or is the sender."
    PRESCRIPTION_NOT_COMMITTED = 32, "The sender has not committed the prescription it names."
    AMOUNT_NOT_A_POINT = 33, "The amount is not the canonical encoding of a point of edwards25519."
    AUTHORISATION_UNKNOWN = 34, "The payer granted no authorisation with this id."
    PRIOR_CLAIM_UNKNOWN = 35, "No claim of the sender with this id is open to resubmission."
    CLAIM_UNKNOWN = 36, "There is no claim with this id."
    CLAIM_NOT_YOURS = 37, "The sender's part in this claim does not allow this call."
    CLAIM_IN_WRONG_STATE = 38, "The state of the claim, whose number is given, does not allow it."
    BENEFICIARY_UNKNOWN = 40, "The beneficiary is no admitted member."
    CLAIM_LISTED_TWICE = 41, "The claim at the index given is listed before."
    CLAIM_NOT_SETTLEABLE = (
        42,
        "At the index given there is no accepted claim of this payer and beneficiary to settle.",
    )
    SETTLEMENT_UNKNOWN = 43, "There is no settlement with this id."
    SETTLEMENT_NOT_YOURS = 44, "The sender's part in this settlement does not allow this call."
    SETTLEMENT_IN_WRONG_STATE = (
        45,
        "The state of the settlement, whose number is given, does not allow it.",
    )


class Refused(ContractsError):
    """A guard refuses the call: it changes nothing, and its entry says why."""

    def __init__(self, refusal: Refusal, *evidence: int) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.evidence = evidence


# --- documents that somebody was handed -----------------------------------------------------------


class BadOpening(ContractsError):
    """An amount and its blinding do not open the commitment."""

    def __init__(self) -> None:
        super().__init__("this amount and this blinding do not open the commitment")


class NotAPoint(ContractsError):
    """Bytes are not the canonical encoding of a point of edwards25519."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"{data.hex()} is not the canonical encoding of a point of edwards25519")
        self.data = data


class BadScalar(ContractsError):
    """A scalar or an amount is out of range; it is not repeated, it may be secret."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is out of range")
        self.what = what


class BadDocument(ContractsError):
    """A document or a disclosure of one of its fields is not what it must be."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadGenesis(ContractsError):
    """A genesis cannot found a chain, or was not signed by everyone who must."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyInUse(ContractsError):
    """A public key is registered already."""

    def __init__(self, public: bytes) -> None:
        super().__init__(f"the key {public.hex()} is registered already")
        self.public = public
