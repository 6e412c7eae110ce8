"""SHA-256 with a domain for each kind of thing, so that no hash of one kind is one of another."""

from enum import Enum
from hashlib import sha256
from typing import NewType

Hash = NewType("Hash", bytes)

HASH_BYTES = 32
NO_HASH = Hash(bytes(HASH_BYTES))  # stands where there is nothing to hash yet


class Domain(bytes, Enum):
    """The kinds of things that are hashed; the value is the prefix of what is hashed.

    No prefix is the prefix of another, because each ends at its only NUL byte.
    """

    GENESIS = b"depoli/genesis/1\x00"
    MEMBER = b"depoli/member/1\x00"
    KEY = b"depoli/key/1\x00"
    TRANSACTION = b"depoli/transaction/1\x00"
    CALL = b"depoli/call/1\x00"  # (transaction id, position) -> id of what the call creates
    HEADER = b"depoli/header/1\x00"
    VALIDATORS = b"depoli/validators/1\x00"
    CERTIFICATE = b"depoli/certificate/1\x00"
    EVIDENCE = b"depoli/evidence/1\x00"
    CHANGE = b"depoli/change/1\x00"  # of the validators: what approvals and possession sign
    OFFENCE = b"depoli/offence/1\x00"  # what was done: one deed, in however many pieces of evidence
    JUSTIFICATION = b"depoli/justification/1\x00"
    OUTLINE = b"depoli/outline/1\x00"
    HEAD = b"depoli/head/1\x00"  # (head, leaf) -> next head of a member's chain
    HEADS_LEAF = b"depoli/heads/leaf/1\x00"
    HEADS_NODE = b"depoli/heads/node/1\x00"
    STATE_ELEMENT = b"depoli/state/element/1\x00"
    STATE_DIGEST = b"depoli/state/digest/1\x00"
    MARK = b"depoli/mark/1\x00"
    LOCK = b"depoli/lock/1\x00"
    PAYMENT = b"depoli/payment/1\x00"  # (salt, reference) of a settlement's payment
    PARAMETERS = b"depoli/parameters/1\x00"
    QUESTION = b"depoli/question/1\x00"
    ANSWER = b"depoli/answer/1\x00"  # to a question, whose commitment it names
    ENVELOPE = b"depoli/envelope/1\x00"
    MAILBOX = b"depoli/mailbox/1\x00"
    ERASURE = b"depoli/erasure/1\x00"  # (salt, id of what was disclosed) that is to be erased
    ACKNOWLEDGEMENT = b"depoli/acknowledgement/1\x00"  # of what a member was told beside the chain
    PROOF = b"depoli/proof/1\x00"  # of what an answer says: the salt of that answer
    QUALIFIES = b"depoli/qualifies/1\x00"  # what is signed: that an early renewal qualifies
    DRAW = b"depoli/draw/1\x00"  # (header's hash, answer's commitment): whether it is looked into
    VERDICT = b"depoli/verdict/1\x00"  # what who looked into it signs


def hash_of(domain: Domain, *parts: bytes) -> Hash:
    """Return SHA-256(domain ‖ parts). Parts are of fixed length, but for the last."""
    digest = sha256(domain)
    for part in parts:
        digest.update(part)
    return Hash(digest.digest())
