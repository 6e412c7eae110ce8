"""What the rules refuse.

Three kinds: `Inadmissible`, a transaction that may not be in a block; `Refused`, a call that a
contract's guard turns into a refused entry of the log; and what is wrong with a document (a
genesis, an opening, a disclosure) that somebody was handed.
"""

from enum import IntEnum
from typing import ClassVar, Final


class ContractsError(Exception):
    """Base of every refusal of this package: the input is at fault, not the program."""


# --- transactions that no block may hold ----------------------------------------------------------


class Inadmissible(ContractsError):
    """A part of a block may not be in the next one; `code` is a stable name for programs."""

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


class NotDelegated(Inadmissible):
    """The key that it names is of a member who may not act for its sender."""

    code = "not-delegated"

    def __init__(self, sender: bytes, owner: bytes) -> None:
        super().__init__(f"member {owner.hex()}, whose key it is, may not act for {sender.hex()}")
        self.sender = sender
        self.owner = owner


class BeyondDelegation(Inadmissible):
    """It is signed by a delegate, and makes a call that he may not make."""

    code = "beyond-delegation"

    def __init__(self, position: int, kind: int) -> None:
        super().__init__(f"call {position}, of the kind {kind}, is beyond what was delegated")
        self.position = position
        self.kind = kind


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


class AlreadyAccused(Inadmissible):
    """What the evidence proves is recorded already."""

    code = "already-accused"

    def __init__(self, offence: bytes) -> None:
        super().__init__(f"the offence {offence.hex()} is recorded already")
        self.offence = offence


# --- rules that are newer than this software ------------------------------------------------------


class UnknownVersion(ContractsError):
    """From a height on the chain is under rules that this software does not know."""

    def __init__(self, version: int, height: int, known: tuple[int, ...]) -> None:
        here = ", ".join(map(str, known))
        super().__init__(
            f"from block {height} on version {version} of the rules is in force, and this software"
            f" knows {here}: install a release that knows version {version}"
        )
        self.version = version
        self.height = height
        self.known = known


# --- calls that become refused entries ------------------------------------------------------------


class Refusal(IntEnum):
    """Why a contract refused a call; the numbers stand in the record and never change."""

    SENDER_NOT_ELIGIBLE = 1
    TOO_EARLY = 2
    TOO_LATE = 3
    PRESCRIPTION_ALREADY_COMMITTED = 10
    PRESCRIPTION_NOT_IN_FORCE = 11
    MARK_ALREADY_LOCKED = 20
    MARK_NOT_LOCKED = 21
    MARK_LOCKED_TOO_LATE = 22
    MARK_ALREADY_USED = 23
    PAYER_UNKNOWN = 30
    PAYER_NOT_ELIGIBLE = 31
    PRESCRIPTION_NOT_COMMITTED = 32
    AMOUNT_NOT_A_POINT = 33
    AUTHORISATION_UNKNOWN = 34
    PRIOR_CLAIM_UNKNOWN = 35
    CLAIM_UNKNOWN = 36
    CLAIM_NOT_YOURS = 37
    CLAIM_IN_WRONG_STATE = 38
    BENEFICIARY_UNKNOWN = 40
    CLAIM_LISTED_TWICE = 41
    CLAIM_NOT_SETTLEABLE = 42
    SETTLEMENT_UNKNOWN = 43
    SETTLEMENT_NOT_YOURS = 44
    SETTLEMENT_IN_WRONG_STATE = 45
    CHANGE_UNDER_WAY = 50
    CHANGE_NOT_YOURS = 51
    NO_VALIDATOR = 54
    ALREADY_VALIDATOR = 55
    TOO_FEW_VALIDATORS = 56
    TOO_MANY_VALIDATORS = 57
    FAMILY_WOULD_DECIDE = 58
    KEYS_UNCHANGED = 60
    KEYS_CHANGED_LATELY = 61
    KEY_UNUSABLE = 62
    KEY_TAKEN = 63
    BLOCK_NOT_RECENT = 64
    POSSESSION_NOT_PROVED = 65
    AUTHORISATION_NOT_YOURS = 100
    AUTHORISATION_IN_WRONG_STATE = 101
    AUTHORISATION_DIFFERS = 102
    TOO_MANY_QUESTIONS = 103
    VALIDITY_NOT_POSSIBLE = 104
    DECIDED_BY_A_PERSON = 105
    PERSON_NEEDED = 106
    OTHER_PERSON_NEEDED = 107
    PRIOR_CLAIM_IN_WRONG_STATE = 130
    PRIOR_CLAIM_DIFFERS = 131
    DISPUTED_BEFORE = 132
    GROUND_NOT_FITTING = 133
    AMOUNT_NOT_WANTED = 134
    DOCUMENT_UNCHANGED = 135
    NEW_KEY_UNUSABLE = 200
    NEW_KEY_TAKEN = 201
    NEW_KEY_NOT_PROVED = 202
    KEY_NEVER_IN_FORCE = 203
    TOO_MANY_KEYS = 204
    KEY_UNKNOWN = 205
    KEY_ENDED = 206
    KEY_OF_VALIDATOR = 207
    KEY_OF_ANOTHER_ROLE = 208
    LAST_KEY = 209
    DELEGATE_IS_SENDER = 210
    DELEGATE_UNKNOWN = 211
    DELEGATION_NOT_IN_TIME = 212
    DELEGATION_UNKNOWN = 213
    KEY_NOT_BINDABLE = 215
    CERTIFICATE_NOT_PROVED = 216
    NOT_GOVERNING = 220
    PROPOSAL_UNKNOWN = 221
    PROPOSAL_NOT_YOURS = 222
    PROPOSAL_IN_WRONG_STATE = 223
    ALREADY_VOTED = 224
    DEADLINE_OUT_OF_BOUNDS = 225
    EFFECT_TOO_NEAR = 226
    EFFECT_TOO_FAR = 227
    TOO_MANY_OPEN = 228
    ALREADY_PROPOSED = 229
    AGENDA_FULL = 230
    MEMBER_UNKNOWN = 231
    ALREADY_MEMBER = 232
    MEMBER_STANDS_OTHERWISE = 233
    MEMBER_VALIDATES = 234
    NOTHING_WOULD_CHANGE = 235
    VERSION_CANNOT_FOLLOW = 236
    COUNTRY_NOT_IN_EEA = 237
    PROPOSAL_OF_ANOTHER_CHANGE = 238
    NOT_IN_EFFECT_YET = 239
    NOBODY_COULD_DECIDE = 240
    CLAIM_OF_OTHERS = 170
    CLAIM_NOT_IN_SETTLEMENT = 171
    SETTLEMENT_FULL = 172
    SETTLEMENT_EMPTY = 173
    SUM_DIFFERS = 174
    COUNTERPART_UNKNOWN = 180
    COUNTERPART_IS_SENDER = 181
    COMMITMENT_STANDS = 182
    ERASURE_UNKNOWN = 183
    ERASURE_NOT_YOURS = 184
    ERASURE_IN_WRONG_STATE = 185

    @property
    def text(self) -> str:
        """What it says to a person, in one sentence."""
        return _TEXTS[self]


# What "given" is stands as a number in the entry's evidence.
_TEXTS: Final = {
    Refusal.SENDER_NOT_ELIGIBLE: "Members of the sender's family may not make this call.",
    Refusal.TOO_EARLY: "This may not be done before the time given.",
    Refusal.TOO_LATE: "This could be done until the time given, and no more.",
    Refusal.PRESCRIPTION_ALREADY_COMMITTED: (
        "The sender committed this prescription before, at the height given."
    ),
    Refusal.PRESCRIPTION_NOT_IN_FORCE: (
        "The state of the prescription, whose number is given, does not allow this call."
    ),
    Refusal.MARK_ALREADY_LOCKED: "This lock stands already, since the height given.",
    Refusal.MARK_NOT_LOCKED: "The sender has not locked the mark at the index given.",
    Refusal.MARK_LOCKED_TOO_LATE: (
        "The mark at the index given was locked in this very block; use it in a later one."
    ),
    Refusal.MARK_ALREADY_USED: "This mark is used already.",
    Refusal.PAYER_UNKNOWN: "The payer is no admitted member.",
    Refusal.PAYER_NOT_ELIGIBLE: "The payer is neither an insurer nor an operator.",
    Refusal.PRESCRIPTION_NOT_COMMITTED: (
        "The sender has not committed the prescription that it names."
    ),
    Refusal.AMOUNT_NOT_A_POINT: (
        "The amount is not the canonical encoding of a point of edwards25519."
    ),
    Refusal.AUTHORISATION_UNKNOWN: "There is no authorisation with this id.",
    Refusal.PRIOR_CLAIM_UNKNOWN: "The sender made no claim with this id.",
    Refusal.CLAIM_UNKNOWN: "There is no claim with this id.",
    Refusal.AUTHORISATION_UNKNOWN: "The payer granted no authorisation with this id.",
    Refusal.PRIOR_CLAIM_UNKNOWN: "No claim of the sender with this id is open to resubmission.",
    Refusal.CLAIM_UNKNOWN: ("There is no claim with this id; in a list, at the index given."),
    Refusal.CLAIM_NOT_YOURS: "The sender's part in this claim does not allow this call.",
    Refusal.CLAIM_IN_WRONG_STATE: (
        "The state of the claim, whose number is given, does not allow this call."
    ),
    Refusal.BENEFICIARY_UNKNOWN: "The beneficiary is no admitted member.",
    Refusal.CLAIM_LISTED_TWICE: "The claim at the index given is listed before.",
    Refusal.CLAIM_NOT_SETTLEABLE: (
        "The claim at the index given is in a state, whose number is given, to settle nothing of."
    ),
    Refusal.SETTLEMENT_UNKNOWN: "There is no settlement with this id.",
    Refusal.SETTLEMENT_NOT_YOURS: "The sender's part in this settlement does not allow this call.",
    Refusal.SETTLEMENT_IN_WRONG_STATE: (
        "The state of the settlement, whose number is given, does not allow this call."
    ),
    Refusal.CHANGE_UNDER_WAY: "The validators change in this very block already; send it again.",
    Refusal.CHANGE_NOT_YOURS: "The sender is neither the member that comes in nor one with a vote.",
    Refusal.NO_VALIDATOR: "The member runs no validator.",
    Refusal.ALREADY_VALIDATOR: "The member runs a validator already.",
    Refusal.TOO_FEW_VALIDATORS: "Too few validators would be left: the number given.",
    Refusal.TOO_MANY_VALIDATORS: "There are as many validators as there may be.",
    Refusal.FAMILY_WOULD_DECIDE: (
        "One family, whose number is given, would have a quorum of the validators alone."
    ),
    Refusal.KEYS_UNCHANGED: "All the keys are those that the validator has.",
    Refusal.KEYS_CHANGED_LATELY: (
        "The member changed its validator's keys at the time given; once a day is allowed."
    ),
    Refusal.KEY_UNUSABLE: "The key at the index given is not of the prime-order subgroup.",
    Refusal.KEY_TAKEN: "Somebody registered the key at the index given before.",
    Refusal.BLOCK_NOT_RECENT: "The block that the proof of possession names is none of the last.",
    Refusal.POSSESSION_NOT_PROVED: "The key at the index given did not sign the proof.",
    Refusal.AUTHORISATION_NOT_YOURS: (
        "The sender's part in this authorisation does not allow this call."
    ),
    Refusal.AUTHORISATION_IN_WRONG_STATE: (
        "The state of the authorisation, whose number is given, does not allow this call."
    ),
    Refusal.AUTHORISATION_DIFFERS: (
        "The claim differs from the authorisation: in payer, leg, prescription, marks, by number."
    ),
    Refusal.TOO_MANY_QUESTIONS: "As many questions were asked as may be: the number given.",
    Refusal.VALIDITY_NOT_POSSIBLE: "It may be valid from the first to the second time given.",
    Refusal.DECIDED_BY_A_PERSON: "A person decided this; only what a machine refused is reviewed.",
    Refusal.PERSON_NEEDED: "A person must decide this.",
    Refusal.OTHER_PERSON_NEEDED: "The key that decided this may not decide on it again.",
    Refusal.PRIOR_CLAIM_IN_WRONG_STATE: (
        "The state of the earlier claim, whose number is given, does not allow to replace it."
    ),
    Refusal.PRIOR_CLAIM_DIFFERS: (
        "The claim differs from the earlier one: in payer, leg, marks, authorisation, by number."
    ),
    Refusal.DISPUTED_BEFORE: "This decision was disputed before, on this ground.",
    Refusal.GROUND_NOT_FITTING: "In its state it may be disputed on the ground given by number.",
    Refusal.AMOUNT_NOT_WANTED: "Nothing is accepted by this, so that it may name no amount.",
    Refusal.DOCUMENT_UNCHANGED: "The document is the one that the claim has.",
    Refusal.NEW_KEY_UNUSABLE: (
        "The new key is no canonical point of its algorithm, or its role wants another algorithm."
    ),
    Refusal.NEW_KEY_TAKEN: "Somebody registered the new key before.",
    Refusal.NEW_KEY_NOT_PROVED: "The new key did not sign that its owner holds it.",
    Refusal.KEY_NEVER_IN_FORCE: "The key would end before the height given, at which it begins.",
    Refusal.TOO_MANY_KEYS: "The sender has as many live keys as the number given; end one first.",
    Refusal.KEY_UNKNOWN: "The sender never had a key with this id.",
    Refusal.KEY_ENDED: "The key ends at the height given, which is not later.",
    Refusal.KEY_OF_VALIDATOR: "A validator runs with this key; change it as that of a validator.",
    Refusal.KEY_OF_ANOTHER_ROLE: "The key that ends is of the role whose number is given.",
    Refusal.LAST_KEY: "No other transaction key of the sender is good from then on; add one first.",
    Refusal.DELEGATE_IS_SENDER: "The sender names itself as its delegate.",
    Refusal.DELEGATE_UNKNOWN: "The delegate is no admitted member.",
    Refusal.DELEGATION_NOT_IN_TIME: (
        "The delegation would be over already, or end after the time given."
    ),
    Refusal.DELEGATION_UNKNOWN: "The sender delegates nothing to this member now.",
    Refusal.KEY_NOT_BINDABLE: "The sender has no such transaction key in force.",
    Refusal.CERTIFICATE_NOT_PROVED: "The key of the certificate did not sign for the ledger key.",
    Refusal.NOT_GOVERNING: "The sender runs no validator now, so that it has no vote.",
    Refusal.PROPOSAL_UNKNOWN: "There is no proposal with this id.",
    Refusal.PROPOSAL_NOT_YOURS: "Somebody else made this proposal.",
    Refusal.PROPOSAL_IN_WRONG_STATE: (
        "The state of the proposal, whose number is given, does not allow this call."
    ),
    Refusal.ALREADY_VOTED: "The sender voted before, at the height given; a vote is for good.",
    Refusal.DEADLINE_OUT_OF_BOUNDS: (
        "The deadline is over at the block time given, or more than 90 days ahead of it."
    ),
    Refusal.EFFECT_TOO_NEAR: (
        "The change would be in force before everyone had notice; the height given is the first."
    ),
    Refusal.EFFECT_TOO_FAR: "The change would be in force above the height given, the last.",
    Refusal.TOO_MANY_OPEN: "As many proposals are open as may be, the number given.",
    Refusal.ALREADY_PROPOSED: "The sender's open proposal of the number given says the same.",
    Refusal.AGENDA_FULL: "As many changes as may be take effect at this height.",
    Refusal.MEMBER_UNKNOWN: "There is no member with this id.",
    Refusal.ALREADY_MEMBER: "The owner of this key is a member, or was one.",
    Refusal.MEMBER_STANDS_OTHERWISE: (
        "The member's standing, whose number is given, does not allow this change."
    ),
    Refusal.MEMBER_VALIDATES: "The member runs a validator, which must leave first.",
    Refusal.NOTHING_WOULD_CHANGE: "This is in force already.",
    Refusal.VERSION_CANNOT_FOLLOW: (
        "This version of the rules is older than the one in force, whose number is given, or"
        " another one is announced."
    ),
    Refusal.PROPOSAL_OF_ANOTHER_CHANGE: "The proposal that it names is of another change.",
    Refusal.NOT_IN_EFFECT_YET: "The change may be made from the height given on.",
    Refusal.NOBODY_COULD_DECIDE: (
        "Too many members that run validators would be suspended: the others could decide nothing,"
        " nor reinstate them."
    ),
    Refusal.COUNTRY_NOT_IN_EEA: "Members are organisations of the European Economic Area.",
    Refusal.CLAIM_OF_OTHERS: (
        "The claim at the index given is not of the two whom the settlement is of."
    ),
    Refusal.CLAIM_NOT_IN_SETTLEMENT: "The claim at the index given is not in the settlement.",
    Refusal.SETTLEMENT_FULL: "More claims would be in it than may be: the number given.",
    Refusal.SETTLEMENT_EMPTY: "No claim is in the settlement.",
    Refusal.SUM_DIFFERS: "The sum stated is not that of the claims in the settlement.",
    Refusal.COUNTERPART_UNKNOWN: "The other party is no admitted member.",
    Refusal.COUNTERPART_IS_SENDER: "The sender names itself as the other party.",
    Refusal.COMMITMENT_STANDS: "The sender made this commitment before, at the height given.",
    Refusal.ERASURE_UNKNOWN: "Nobody asked for an erasure with this id.",
    Refusal.ERASURE_NOT_YOURS: "The sender's part in this erasure does not allow this call.",
    Refusal.ERASURE_IN_WRONG_STATE: (
        "The state of the erasure, whose number is given, does not allow this call."
    ),
}


class Refused(ContractsError):
    """A guard refuses the call: it changes nothing, and its entry says why."""

    def __init__(self, refusal: Refusal, *evidence: int) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.evidence = tuple(map(int, evidence))


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


class BadDay(ContractsError):
    """There is no such day, or it is not written YYYY-MM-DD; it is not repeated."""

    def __init__(self) -> None:
        super().__init__("this is no day of the years 1900 to 2099")


class BadTable(ContractsError):
    """A file is not the reference table that it should be."""

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
