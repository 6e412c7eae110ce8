"""Transactions of ours: signed, kept in the vault before they leave, sent until they are decided.

Sending one twice changes nothing, because its id is known: so whatever breaks, the same command is
run again and goes on where it stopped.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from contracts.calls import Call, encode_call
from ledger import transaction as transactions
from ledger.encoding import encode
from ledger.keys import KeyId, Role, Signer, key_id
from ledger.transaction import Transaction, Unsigned
from ledger.validators import MemberId
from node.client.client import MAX_WAIT_S, CallOutcome, NodeClient, Sent
from node.client.errors import NetworkRefused, Undecided
from node.client.records import TransactionRecord, find, keep
from node.client.vault import Vault

LIFETIME_S: Final = 3600  # long enough for a node to come back, short enough to sign anew
# What no block takes as it is, and another signature mends: its hour is over, or a clock was wrong.
_LAPSED: Final = frozenset(("urn:depoli:problem:expired", "urn:depoli:problem:too-far-ahead"))

Say = Callable[[str], None]
Heard = Callable[[bytes], None]  # the id of a transaction that is decided, or lapsed
Advance = Callable[[str, int, int], None]  # a step, and how many claims of how many are past it


@dataclass(frozen=True, slots=True)
class Sender:
    """A member that signs transactions for one chain."""

    chain_id: bytes
    member: MemberId
    key: Signer
    role: Role = Role.TRANSACTION  # of the key

    @property
    def key_id(self) -> KeyId:
        """The id of the key, by which the chain finds it."""
        return key_id(self.role, self.key.algorithm, self.key.public)

    def sign(self, calls: Iterable[Call], *, now: int) -> Transaction:
        """Return a transaction of these calls, valid for an hour from `now` (unix seconds)."""
        body = Unsigned(
            version=transactions.VERSION,
            chain_id=self.chain_id,
            sender=self.member,
            key_id=self.key_id,
            valid_until=now + LIFETIME_S,
            nonce=secrets.token_bytes(16),
            calls=tuple(encode_call(call) for call in calls),
        )
        return transactions.sign(body, self.key)


@dataclass(frozen=True, slots=True)
class Decided:
    """A transaction that is in a block."""

    id: bytes
    height: int
    outcomes: tuple[CallOutcome, ...]

    def outcome(self, position: int) -> CallOutcome:
        """Return what became of the call at `position`; raise `NetworkRefused` if nobody says."""
        if position >= len(self.outcomes):
            raise NetworkRefused(f"the node does not say what became of call {position}")
        return self.outcomes[position]


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A transaction that no block takes as it is: sign another, and remember this one.

    The node says so by its own clock: where that is wrong, a block may hold it after all.
    """

    id: bytes


def sign_and_keep(vault: Vault, sender: Sender, calls: Sequence[Call], *names: str) -> Transaction:
    """Sign a transaction and keep it. Call it inside `vault.changes()`."""
    made = sender.sign(calls, now=int(time.time()))
    record = TransactionRecord(id=made.id, raw=made.raw, valid_until=made.body.valid_until)
    keep(vault, record, made.id.hex(), *names)
    return made


async def once(
    vault: Vault, node: NodeClient, sender: Sender, calls: Sequence[Call], *, wait_s: int, say: Say
) -> list[CallOutcome]:
    """Make calls in one transaction and return what became of each.

    What an earlier run sent and did not hear of is not sent anew under another id: its outcome is
    this one's. Raises what `deliver` raises; then the same again does no harm.
    """
    name = f"unheard {_digest(sender, calls)}"
    for _ in range(2):  # one that expired on its way is signed anew
        with vault.changes():
            found = find(vault, TransactionRecord, name)
            id_ = sign_and_keep(vault, sender, calls, name).id if found is None else found[1].id
        result = (await deliver(vault, node, [id_], wait_s=wait_s, say=say))[id_]
        with vault.changes():
            vault.unname(TransactionRecord.KIND, name)
        if isinstance(result, Decided):
            if not result.outcomes:
                raise NetworkRefused(
                    f"it is in block {result.height}, and the node keeps no more what came of it",
                    hint="see how things stand, or ask a node that keeps all",
                )
            return list(result.outcomes)
    raise Undecided("it expired before any block took it, twice", hint="set the clock right")


def unheard(_id: bytes) -> None:
    """Take no notice that a transaction is decided."""


def unnoticed(_step: str, _done: int, _of: int) -> None:
    """Take no notice of how far many claims have come."""


def counting(waiting: Sequence[bytes], step: str, advance: Advance) -> Heard:
    """Return what counts the claims of transactions; `waiting` is the transaction of each claim."""
    sizes, done = Counter(waiting), 0

    def heard(id_: bytes) -> None:
        nonlocal done
        done += sizes[id_]
        advance(step, done, len(waiting))

    return heard


async def deliver(
    vault: Vault,
    node: NodeClient,
    ids: Sequence[bytes],
    *,
    wait_s: int,
    say: Say,
    heard: Heard = unheard,
) -> dict[bytes, Decided | Lapsed]:
    """Send kept transactions until each is decided, or `wait_s` seconds are over.

    Raises `Undecided` then, `NetworkRefused` where the network will not take one, and what
    `NodeClient.submit` raises. Whatever is raised, doing it again does no harm.
    """
    decided: dict[bytes, Decided | Lapsed] = {}
    waiting = {id_: _kept(vault, id_).raw for id_ in ids}
    until = time.monotonic() + wait_s
    while waiting:
        left = max(0, min(MAX_WAIT_S, round(until - time.monotonic())))
        answers = await node.submit(list(waiting.values()), wait=left)
        for id_, answer in zip(list(waiting), answers, strict=True):
            if (result := _result(id_, answer)) is not None:
                decided[id_] = result
                del waiting[id_]
                heard(id_)
        if waiting and time.monotonic() >= until:
            raise Undecided(
                f"sent, and {len(waiting)} of {len(ids)} transactions are not in a block yet",
                hint="run the same command again: it goes on where it stopped",
            )
        if waiting:
            say(f"waiting for {len(waiting)} of {len(ids)} transactions")
    return decided


async def decide(node: NodeClient, transaction: Transaction, *, wait_s: int, hint: str) -> Decided:
    """Send a transaction that is kept nowhere until it is in a block.

    Raises `NetworkRefused` where the network will not take it, `Undecided` with `hint` when
    `wait_s` seconds are over.
    """
    until = time.monotonic() + wait_s
    while True:
        left = max(0, min(MAX_WAIT_S, round(until - time.monotonic())))
        (answer,) = await node.submit([transaction.raw], wait=left)
        if answer.status == "committed" and answer.height is not None and answer.outcomes:
            return Decided(transaction.id, answer.height, answer.outcomes)
        if answer.status == "rejected":
            problem = answer.problem
            words = "" if problem is None else f": {problem.title}: {problem.detail}"
            raise NetworkRefused(f"the network does not take this transaction{words}")
        if time.monotonic() >= until:
            raise Undecided("sent, and not in a block yet", hint=hint)


def _result(id_: bytes, answer: Sent) -> Decided | Lapsed | None:
    if answer.status == "pending":
        return None
    if answer.status == "committed":
        if answer.height is None:
            raise NetworkRefused("the node says that it is in a block, and not in which")
        # A node that lies is caught by the receipt, not here.
        return Decided(id_, answer.height, answer.outcomes)
    if answer.problem is not None and answer.problem.type in _LAPSED:
        return Lapsed(id_)
    problem = answer.problem
    words = "" if problem is None else f": {problem.title}"
    raise NetworkRefused(
        f"the network does not take this transaction{words}",
        hint="" if problem is None else problem.detail,
    )


def _kept(vault: Vault, id_: bytes) -> TransactionRecord:
    found = find(vault, TransactionRecord, id_.hex())
    assert found is not None  # it was kept before its id was written anywhere
    return found[1]


def _digest(sender: Sender, calls: Sequence[Call]) -> str:
    """Return what is the same for the same calls under the same key."""
    parts = (sender.chain_id, sender.member, sender.key.public, *map(encode_call, calls))
    return sha256(encode(parts)).hexdigest()
